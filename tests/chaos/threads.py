"""The load in threads.

Owns: threads, cancellations from another one, signals, forks, and the end of all that. Must not
know: what is asked for (`plans`), what goes wrong.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import os
import queue
import random
import signal
import ssl
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import requests

import httpcore
import httpcore_requests

from .plans import Plan, Tally, Thrown, make_plan

#: Errors that a request may end with.
ALLOWED = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.ProxyError,
    requests.RequestException,
    Thrown,
)
#: Connections of a pool, at most; fewer than threads, so that they wait for one another.
CONNECTIONS = 40
#: Seconds of a request's wait for a connection.
POOL_TIMEOUT = 2.0
#: Seconds within which the last request has ended; each one has a total timeout of one at most.
PATIENCE = 60.0
#: Seconds in which a child of a fork has to end.
CHILD = 20
#: Share of the requests that go through requests, and that look at the pool or close idle
#: connections meanwhile.
BY_REQUESTS, MEDDLES = 0.2, 0.02


class Canceller(threading.Thread):
    """Cancels tokens at their times.

    Tokens come by a queue that is made in C: a signal in the middle of a lock of Python's would
    leave that taken for good.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._tokens: queue.SimpleQueue[tuple[float, httpcore.CancelToken] | None]
        self._tokens = queue.SimpleQueue()
        self.start()

    def at(self, seconds: float) -> httpcore.CancelToken:
        """Return a token that is cancelled in so many seconds."""
        token = httpcore.CancelToken()
        self._tokens.put((time.monotonic() + seconds, token))
        return token

    def end(self) -> None:
        """Stop."""
        self._tokens.put(None)
        self.join()

    def run(self) -> None:
        due: list[tuple[float, int, httpcore.CancelToken]] = []
        while True:
            now = time.monotonic()
            while due and due[0][0] <= now:
                heapq.heappop(due)[2].cancel()
            try:
                asked = self._tokens.get(timeout=due[0][0] - now if due else None)
            except queue.Empty:
                continue
            if asked is None:
                return
            heapq.heappush(due, (asked[0], id(asked[1]), asked[1]))


class Clients:
    """The pools and the Session that the threads share.

    Parameters:
        ports: of the servers.
        roots: path of their authority.
    """

    def __init__(self, ports: dict[str, int], roots: str) -> None:
        self.ports = ports
        context = ssl.create_default_context(cafile=roots)
        limits: Any = {"max_connections": CONNECTIONS, "keepalive_expiry": 5.0}
        self.pool = httpcore.ConnectionPool(ssl_context=context, http2=True, **limits)
        self.prior = httpcore.ConnectionPool(http1=False, http2=True, **limits)
        self.proxy = httpcore.Proxy(f"http://127.0.0.1:{ports['proxy']}")
        self.session = httpcore_requests.Session(http2=True)
        self.session.verify = roots
        self.session.trust_env = False

    def pool_for(self, plan: Plan) -> httpcore.ConnectionPool:
        """Return the pool that `plan` uses."""
        return self.prior if plan.way in ("http2", "http2-relay") else self.pool

    def extensions(self, plan: Plan, canceller: Canceller | None) -> dict[str, Any]:
        """Return the extensions of a request."""
        found: dict[str, Any] = {"timeout": {"total": plan.total, "pool": POOL_TIMEOUT}}
        if plan.proxied:
            found["proxy"] = self.proxy
        if plan.cancel is not None and canceller is not None:
            found["cancel"] = canceller.at(plan.cancel)
        return found

    def close(self) -> None:
        """Close all of it."""
        self.pool.close()
        self.prior.close()
        self.session.close()

    def unsettled(self) -> list[str]:
        """Return what the pools still hold though no request is under way."""
        left = []
        for pool in (self.pool, self.prior):
            stats = pool.stats()
            busy = {name: stats[name] for name in ("active", "dialing", "requests", "waiting")}
            if any(busy.values()):
                left.append(f"{pool!r}: {busy} {stats['waiting_for']}")
        return left


def perform(clients: Clients, plan: Plan, canceller: Canceller | None, tally: Tally) -> None:
    """Send one request, and do with the response what `plan` says. Raises what the client does."""
    pool = clients.pool_for(plan)
    options: Any = {
        "content": plan.content(),
        "headers": {"Expect": "100-continue"} if plan.upload == 5000 else {},
        "extensions": clients.extensions(plan, canceller),
    }
    url = plan.url(clients.ports)
    if plan.act == "read":
        response = pool.request(plan.method, url, **options)
        whole = not response.stream.unclean_tls_eof
        tally.check(plan, response.status, _fields(response.headers), response.content, whole)
        return
    if plan.act == "drop":
        response = pool.request(plan.method, url, stream=True, **options)
        body = next(iter(response.iter_stream()), b"")
        tally.check(plan, response.status, _fields(response.headers), body, False)
        return
    with pool.stream(plan.method, url, **options) as response:
        body = b""
        for part in response.iter_stream():
            body += part
            if plan.act != "stream":
                break
        whole = plan.act == "stream" and not response.stream.unclean_tls_eof
        tally.check(plan, response.status, _fields(response.headers), body, whole)
        if plan.act == "throw":
            raise Thrown


def _fields(headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"\n".join(name + b":" + value for name, value in headers)


def perform_by_requests(clients: Clients, plan: Plan, tally: Tally) -> None:
    """The same by requests."""
    url, proxies = plan.url(clients.ports), {}
    if plan.proxied:
        proxies = {"all": f"http://127.0.0.1:{clients.ports['proxy']}"}
    timeout = httpcore_requests.Timeout(total=plan.total)
    whole = plan.act in ("read", "stream")
    response = clients.session.request(
        plan.method, url, data=plan.content(), timeout=timeout, stream=plan.act != "read",
        proxies=proxies,
    )  # fmt: skip
    body = response.content if whole else next(response.iter_content(1000), b"")
    raw: Any = response.raw
    whole = whole and not raw.unclean_tls_eof
    fields = "\n".join(f"{k}:{v}" for k, v in response.headers.items()).encode("latin-1", "replace")
    tally.check(plan, response.status_code, fields, body, whole)
    if plan.act == "throw":
        raise Thrown
    if plan.act == "close":
        response.close()


class Load:
    """Many threads that send requests.

    Parameters:
        clients: what they share.
        seed: of what they ask for.
        threads: how many.
        goes_on: called with the number of requests that a thread has sent; False ends it.
        rate: the share of requests with a fault.
    """

    def __init__(
        self, clients: Clients, seed: int, threads: int, goes_on: Callable[[int], bool], rate: float
    ) -> None:
        self.tally = Tally()
        self._clients = clients
        self._goes_on = goes_on
        self._rate = rate
        self._canceller = Canceller()
        self._guard = threading.Lock()
        self._ways = [name for name in clients.ports if name != "proxy"]
        self._threads = [
            threading.Thread(target=self._work, args=(random.Random(seed * 1000 + n),), daemon=True)
            for n in range(threads)
        ]

    def run(self, meanwhile: Callable[[Load], None] = lambda load: None) -> Tally:
        """Run all of it; `meanwhile` is called in this thread."""
        for thread in self._threads:
            thread.start()
        meanwhile(self)
        end = time.monotonic() + PATIENCE
        while self.alive() and time.monotonic() < end:
            time.sleep(0.01)
        hanging = self.alive()
        if hanging:
            self.tally.object_to(f"{hanging} threads hang: {self._clients.unsettled()}")
        self._canceller.end()
        return self.tally

    def alive(self) -> int:
        """Return how many threads have not ended."""
        return sum(thread.is_alive() for thread in self._threads)

    def warm_up(self) -> None:
        """Send requests of each kind until one of them was complete."""
        rng = random.Random(0)
        for way, by_requests in itertools.product(self._ways, (False, True)):
            tally = Tally()
            while not tally.complete and tally.requests < 20:
                plan = make_plan(rng, [way], 0.0)
                try:
                    if by_requests and "http2" not in way:
                        perform_by_requests(self._clients, plan, tally)
                    else:
                        perform(self._clients, plan, self._canceller, tally)
                except ALLOWED as error:
                    tally.fail(plan, error, ALLOWED)

    def one(self, rng: random.Random, tally: Tally) -> None:
        """Send one request and count what comes of it."""
        plan = make_plan(rng, self._ways, self._rate)
        by_requests = "http2" not in plan.way and rng.random() < BY_REQUESTS
        try:
            if by_requests:
                perform_by_requests(self._clients, plan, tally)
            else:
                perform(self._clients, plan, self._canceller, tally)
        except Exception as error:
            tally.fail(plan, error, ALLOWED)
        if rng.random() < MEDDLES:
            pool = self._clients.pool_for(plan)
            rng.choice((pool.stats, pool.close_idle, pool.connections.copy))()

    def _work(self, rng: random.Random) -> None:
        tally, sent = Tally(), 0
        try:
            while self._goes_on(sent):
                self.one(rng, tally)
                sent += 1
        except BaseException as error:
            tally.object_to(f"a thread ended: {error!r}")
        finally:
            with self._guard:
                self.tally.add(tally)


class Interrupted(BaseException):
    """Raised by a signal handler."""


class Striker(threading.Thread):
    """Sends SIGUSR1 to the main thread, again and again.

    Parameters:
        every: seconds between two of them, at most.
    """

    def __init__(self, rng: random.Random, every: float) -> None:
        super().__init__(daemon=True)
        self._rng = rng
        self._every = every
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(self._rng.random() * self._every):
            os.kill(os.getpid(), signal.SIGUSR1)

    def end(self) -> None:
        """Stop."""
        self._ended.set()
        self.join()


def with_can_be_trusted() -> bool:
    """Return whether a signal cannot strike between a lock and its `with` block, as it can in
    CPython 3.14 (python/cpython#148874): a lock that it leaves taken is nobody's to give back."""
    done = []

    class Manager:
        # In C, and some milliseconds, so that the signal comes in it and is seen when it returns.
        __enter__ = staticmethod(partial(sum, range(3_000_000)))

        def __exit__(self, *exc_info: object) -> None:
            done.append(True)

    def strike(signum: int, frame: object) -> None:
        raise Interrupted

    former = signal.signal(signal.SIGVTALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.001)
        with Manager():
            gc.collect()
    except Interrupted:
        pass
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, former)
    return bool(done)


class Dropped:
    """Notes what Python drops that is raised in a destructor or a callback, but for interrupts: one
    may strike there, and is of no use to anybody. Nothing is kept of what was raised."""

    def __enter__(self) -> Dropped:
        self.texts: list[str] = []
        self._former = sys.unraisablehook
        sys.unraisablehook = self._note
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.unraisablehook = self._former

    def _note(self, dropped: sys.UnraisableHookArgs) -> None:
        # A warning: of a socket that an interrupt kept from those that would have closed it.
        if not issubclass(dropped.exc_type, (Interrupted, Warning)):
            where = getattr(dropped.object, "__qualname__", type(dropped.object).__name__)
            self.texts.append(f"raised in {where} and dropped: {dropped.exc_value!r}")


def interrupt_and_fork(load: Load, seed: int, every: float = 0.05) -> None:
    """Send requests in the main thread that signals interrupt, and fork between them."""
    rng, tally = random.Random(seed), Tally()
    armed = False

    def strike(signum: int, frame: object) -> None:
        if armed:
            raise Interrupted

    arms = with_can_be_trusted()
    former = signal.signal(signal.SIGUSR1, strike)
    striker = Striker(random.Random(seed + 1), every)
    striker.start()
    with Dropped() as dropped:
        try:
            while load.alive():
                try:
                    armed = arms
                    load.one(rng, tally)
                    armed = False
                except Interrupted:
                    tally.errors["Interrupted"] += 1
                armed = False
                if rng.random() < 0.02:
                    tally.errors["forked"] += 1
                    fork(load, rng, tally, dropped)
        finally:
            armed = False
            striker.end()
            signal.signal(signal.SIGUSR1, former)
    for text in dropped.texts:
        tally.object_to(text)
    load.tally.add(tally)


def fork(load: Load, rng: random.Random, tally: Tally, dropped: Dropped) -> None:
    """Fork; the child sends requests with what it has inherited, and ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork are the subject
        pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        if status:
            tally.object_to(f"a child ended with status {status:#x}")
        return
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(CHILD)
        code = _be_child(load, rng)
        if dropped.texts:  # while the fork renewed what it inherited, before all
            print(os.getpid(), *dropped.texts, sep="\n", file=sys.stderr, flush=True)
            code = 3
    finally:
        os._exit(code)


def _be_child(load: Load, rng: random.Random) -> int:
    load._canceller = Canceller()  # its thread was not inherited
    tally = Tally()
    for _ in range(3):
        load.one(rng, tally)
    return 2 if tally.wrong else 0


def settle(clients: Any, tally: Tally) -> None:
    """Wait until the pools are at rest; note what does not come to it."""
    end = time.monotonic() + PATIENCE / 4
    gc.collect()
    while (left := clients.unsettled()) and time.monotonic() < end:
        time.sleep(0.02)
    for text in left:
        tally.object_to(f"not at rest: {text}")
