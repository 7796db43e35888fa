"""Many tasks, few connections: nothing leaks, nobody is overtaken, no work grows.

Owns: the tests of the asynchronous pool's limits under load, under faults and cancellations. Must
not know: how the pool keeps its books, except where they are watched.
"""

from __future__ import annotations

import gc
import logging
import random
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import anyio
import anyio.abc
import pytest

import httpcore
from httpcore._core.scheduler import Scheduler, Waiter
from tests.support import PATIENCE
from tests.support.faults import HookError, Proxies, bad_proxies, forget_a_name
from tests.support.servers import LocalServer, Serve, pattern
from tests.support.suspending import Suspending
from tests.support.tasks import Begun, Tasks, WasCancelled, checkpoint, until

pytestmark = [pytest.mark.anyio, pytest.mark.no_cover]

logger = logging.getLogger(__name__)

Pool = httpcore.AsyncConnectionPool

# Seconds by which a wait on two busy cores may be longer than its timeout.
SLACK = 5.0


def at_rest(pool: Pool) -> bool:
    stats = pool.stats()
    return (stats["active"], stats["dialing"], stats["waiting"]) == (0, 0, 0)


@pytest.fixture
def quiet_server() -> Any:
    """The keep-alive server with routes, on which clients may hang up as they like."""
    with LocalServer(record=False) as running:
        yield running


# --- watching the queue ---


class Watched:
    """What a waiter sleeps on; calls `woken` when it is woken."""

    def __init__(self, inside: Any, woken: Callable[[], None]) -> None:
        self._inside = inside
        self._woken = woken

    def release(self) -> None:
        self._woken()
        self._inside.release()

    async def acquire(self, timeout: float | None = None) -> bool:
        return bool(await self._inside.acquire(timeout))


class Queue:
    """Watches the queue of all pools, for requests to one origin.

    Attributes:
        served: how many waiters got a slot, each of them before all that came after it.
        left: how many left the queue without one.
        overtaken: the places of waiters that were not the first, with that of the first.
        ran_out: what `stats` said where a pool timeout was over.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.served = self.left = self.longest = 0
        self.longest_wait = 0.0  # seconds
        self.overtaken: list[tuple[int, int]] = []
        self.ran_out: list[dict[str, Any]] = []
        self._waiting: dict[int, None] = {}  # places, by arrival
        self._acquire = Scheduler.acquire
        self._wait = Pool._wait
        watch, queue = self._watch_wait, self

        def acquire(scheduler: Scheduler, *arguments: Any) -> Any:
            return queue._watch_acquire(scheduler, *arguments)

        async def wait(pool: Pool, *arguments: Any) -> None:
            await watch(pool, *arguments)

        monkeypatch.setattr(Scheduler, "acquire", acquire)
        monkeypatch.setattr(Pool, "_wait", wait)

    def _watch_acquire(self, scheduler: Scheduler, *arguments: Any) -> Any:
        got = self._acquire(scheduler, *arguments)
        if isinstance(got, Waiter):
            self._waiting[got.sequence] = None
            self.longest = max(self.longest, len(self._waiting))
        elif self._waiting:  # it came by and was served, while others wait
            self.overtaken.append((-1, next(iter(self._waiting))))
        return got

    async def _watch_wait(self, pool: Pool, waiter: Waiter, prepared: Any) -> None:
        def note() -> None:
            if waiter.served and waiter.sequence in self._waiting:
                first = next(iter(self._waiting))
                if first != waiter.sequence:
                    self.overtaken.append((waiter.sequence, first))
                del self._waiting[waiter.sequence]
                self.served += 1

        inside = waiter.event
        waiter.event = Watched(inside, note)
        began = time.monotonic()
        try:
            await self._wait(pool, waiter, prepared)
        except httpcore.PoolTimeout:
            self.ran_out.append(pool.stats())
            raise
        finally:
            waiter.event = inside  # else a cycle would keep the response
            self.longest_wait = max(self.longest_wait, time.monotonic() - began)
            if waiter.sequence in self._waiting:
                del self._waiting[waiter.sequence]
                self.left += 1


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    return Queue(monkeypatch)


# --- row 3: faults at each step ---


class Faults:
    """Requests that go wrong in every way, each by its name, and some that do not.

    Attributes:
        group: to be set; where tasks are begun that end others.
        seen: how requests ended: the name alone, or with its error.
    """

    group: anyio.abc.TaskGroup

    kinds = (
        *("fine", "fine", "stream", "abandoned", "half"),
        *("refused", "unknown_host", "tls", "read_timeout", "no_room", "hook", "hook"),
        *("truncated", "dropped", "bad_argument"),
        *("proxy", "proxy_refuses", "proxy_hangs", "proxy_breaks", "no_proxy"),
        *("ended", "overdue", "cancelled", "cancelled"),
    )
    # Seconds. Long, so that on a busy machine each kind gets as far as its fault.
    pool_timeout = PATIENCE

    def __init__(self, pool: Pool, plain: str, tls: str, refused: int, proxies: Proxies) -> None:
        self.pool = pool
        self.plain = plain
        self.tls_url = tls
        self.refused_port = refused
        self.proxies = proxies
        self.seen: Counter[str] = Counter()

    async def send(self, kind: str, chance: random.Random) -> None:
        try:
            await getattr(self, kind)(chance)
            self.seen[kind] += 1
        except (
            httpcore.NetworkError,
            httpcore.TimeoutException,
            httpcore.ProtocolError,
            httpcore.ProxyError,
            HookError,
        ) as exc:
            self.seen[f"{kind}: {type(exc).__name__}"] += 1

    async def get(
        self, url: str, pool: float | None = None, **extensions: Any
    ) -> httpcore.Response:
        timeout = {
            "connect": extensions.pop("connect", PATIENCE),
            "read": extensions.pop("read", PATIENCE),
            "pool": self.pool_timeout if pool is None else pool,
            "total": extensions.pop("total", None),
        }
        return await self.pool.request(
            "GET", url, stream=True, extensions={"timeout": timeout, **extensions}
        )

    async def fine(self, chance: random.Random) -> None:
        size = chance.choice((0, 10, 100_000))
        response = await self.get(f"{self.plain}/bytes/{size}")
        assert len(await response.aread()) == size

    async def stream(self, chance: random.Random) -> None:
        response = await self.get(f"{self.plain}/chunked/50000?size=5000")
        assert sum([len(part) async for part in response.aiter_stream()]) == 50000

    async def abandoned(self, chance: random.Random) -> None:
        await self.get(f"{self.plain}/chunked/500000?size=5000")

    async def half(self, chance: random.Random) -> None:
        response = await self.get(f"{self.plain}/bytes/300000")
        await response.stream.aread(1000)  # type: ignore[union-attr]
        await response.aclose()

    async def refused(self, chance: random.Random) -> None:
        await self.get(f"http://127.0.0.1:{self.refused_port}/")

    async def unknown_host(self, chance: random.Random) -> None:
        await self.get("http://nowhere.invalid/")

    async def tls(self, chance: random.Random) -> None:
        await self.get(self.tls_url)  # a certificate that the default context does not trust

    async def read_timeout(self, chance: random.Random) -> None:
        await self.get(f"{self.plain}/hang", read=0.01)

    async def no_room(self, chance: random.Random) -> None:
        await (await self.get(self.plain, pool=0.001)).aread()

    async def truncated(self, chance: random.Random) -> None:
        await (await self.get(f"{self.plain}/truncated/1000")).aread()

    async def dropped(self, chance: random.Random) -> None:
        await self.get(f"{self.plain}/drop")

    async def bad_argument(self, chance: random.Random) -> None:
        await self.pool.request("GET", self.plain, headers={"Bad\r\nName": "x"})

    async def hook(self, chance: random.Random) -> None:
        left = chance.randrange(1, 20)

        async def trace(event: str, details: dict[str, Any]) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise HookError(event)

        await (await self.get(self.plain, trace=trace)).aread()

    # On the way through a proxy. What is asked for there is never forwarded: a tunnel is opened
    # for the TLS of the origin, and SOCKS always opens one.

    async def proxy(self, chance: random.Random) -> None:
        through = httpcore.Proxy(f"socks5h://127.0.0.1:{self.proxies.socks}")
        await (await self.get(f"{self.plain}/bytes/1000", proxy=through)).aread()

    async def proxy_refuses(self, chance: random.Random) -> None:
        through = httpcore.Proxy(f"http://127.0.0.1:{self.proxies.refusing}")
        await self.get(self.tls_url, proxy=through)

    async def proxy_hangs(self, chance: random.Random) -> None:
        await self._through_any(self.proxies.silent, chance, connect=0.01)

    async def proxy_breaks(self, chance: random.Random) -> None:
        await self._through_any(self.proxies.broken, chance)

    async def no_proxy(self, chance: random.Random) -> None:
        await self._through_any(self.refused_port, chance)

    async def _through_any(self, port: int, chance: random.Random, **options: Any) -> None:
        kind = chance.choice(("http", "https", "socks5", "socks4a"))
        through = httpcore.Proxy(f"{kind}://127.0.0.1:{port}")
        await self.get(self.tls_url, proxy=through, **options)

    # Ended from outside, wherever it is by then.

    async def ended(self, chance: random.Random) -> None:
        """By a token, in another task."""
        token = httpcore.CancelToken()
        self.group.start_soon(self._cancel_later, token, chance.random() / 20)
        await self.get(f"{self.plain}/hang", cancel=token)

    async def _cancel_later(self, token: httpcore.CancelToken, seconds: float) -> None:
        await anyio.sleep(seconds)
        token.cancel()

    async def overdue(self, chance: random.Random) -> None:
        path = chance.choice(("/hang", "/drip/1000", "/bytes/3000000"))
        await (await self.get(f"{self.plain}{path}", total=chance.random() / 5)).aread()

    async def cancelled(self, chance: random.Random) -> None:
        """At one of its first ``await``s, one of the others, or not at all."""
        other = chance.choice([kind for kind in self.kinds if kind not in ("cancelled", "ended")])
        work = Suspending(getattr(self, other)(chance), chance.choice((0, 0, 1, 2, 3, 5, 8)))
        with anyio.CancelScope() as scope:
            work.act = scope.cancel
            await work
        self.seen["cancellations"] += scope.cancelled_caught


@pytest.fixture
def proxies(serve: Serve) -> Iterator[Proxies]:
    with bad_proxies(serve) as made:
        yield made


@pytest.fixture
def untrusted_server(server_tls_context: ssl.SSLContext) -> Iterator[LocalServer]:
    """A TLS server whose certificate nobody trusts."""
    with LocalServer(tls=server_tls_context, record=False) as running:
        yield running


async def faulty_load(
    server: LocalServer, tls_server: LocalServer, refused: int, proxies: Proxies, each: int
) -> Counter[str]:
    """300 tasks on 10 connections, `each` requests per task. Checks what the row says is so
    afterwards."""
    async with Pool(max_connections=10) as pool:
        faults = Faults(pool, server.url, tls_server.url, refused, proxies)

        async def work(number: int) -> None:
            chance = random.Random(number)
            for _ in range(each):
                await faults.send(chance.choice(Faults.kinds), chance)

        async with anyio.create_task_group() as group:
            faults.group = group
            for number in range(300):
                group.start_soon(work, number)
        gc.collect()
        assert at_rest(pool), (pool.stats(), faults.seen)
        pool._slots.scheduler.check()
        await until(lambda: server.open + tls_server.open <= 10)
        assert (await pool.request("GET", server.url)).status == 200
        assert len(pool.connections) <= 10
    await until(lambda: server.open + tls_server.open == 0)
    return faults.seen


# A response that is forgotten is one of the faults.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_row_3_nothing_leaks_under_faults(
    quiet_server: LocalServer,
    untrusted_server: LocalServer,
    closed_port: int,
    proxies: Proxies,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 3: "300 threads on max_connections=10 with faults injected at each step (refused, TLS
    failure, timeout, exception in a trace hook, async-raised KeyboardInterrupt): afterwards stats
    show 0 active, 0 queued, open fds ≤ 10, and the next request succeeds; no request ever waits
    longer than its pool timeout": tasks for threads, cancellations for interrupts."""
    forget_a_name(monkeypatch)
    seen = await faulty_load(quiet_server, untrusted_server, closed_port, proxies, each=2)
    for fault in (
        *("refused: ConnectError", "tls: TLSError", "read_timeout: ReadTimeout"),
        *("proxy_refuses: ProxyError", "proxy_hangs: ProxyConnectTimeout"),
        *("proxy_breaks: ProxyError", "no_proxy: ProxyConnectError"),
        *("ended: Aborted", "overdue: PoolTimeout", "hook: HookError", "no_room: PoolTimeout"),
        *("proxy", "unknown_host: NameResolutionError", "truncated: IncompleteBody"),
    ):
        assert seen[fault], (fault, dict(seen))
    assert seen["fine"] > 10
    assert seen["cancellations"] > 10
    assert queue.longest_wait <= Faults.pool_timeout + SLACK


async def test_row_3_a_hook_that_raises_at_each_event(
    tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    """Row 3: "exception in a trace hook [...]: afterwards stats show 0 active, 0 queued, open fds
    ≤ 10, and the next request succeeds", for each event there is, over TLS."""
    url = f"{tls_server.url}/chunked/50000?size=10000"
    for step in range(1, 100):
        left = step

        async def trace(event: str, details: dict[str, Any]) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise HookError(event)

        extensions = {"trace": trace, "timeout": {"pool": PATIENCE}}
        async with Pool(client_tls_context, max_connections=1) as pool:
            raised = False
            try:
                await pool.request("GET", url, extensions=extensions)
            except HookError:
                raised = True
            assert at_rest(pool)
            assert len(pool.connections) <= 1
            extensions.pop("trace")
            assert (await pool.request("GET", url, extensions=extensions)).status == 200
        if not raised:
            break
    assert 12 <= step < 99
    await until(lambda: not tls_server.open)
    tls_server.errors.clear()


# --- row 10: the work per request does not grow with the pool ---


class Greeting(httpcore.AsyncNetworkStream):
    """Answers each request, when other tasks have had their turn."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await checkpoint()
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass

    async def aclose(self) -> None:
        pass

    def get_extra_info(self, info: str) -> Any:
        self._network.probes += info == "is_readable"
        return False if info == "is_readable" else None


class Network(httpcore.AsyncNetworkBackend):
    """A network of such streams: no thread of a server disturbs what is counted.

    Attributes:
        connects, probes: how many there were.
    """

    def __init__(self) -> None:
        self.connects = self.probes = 0

    async def connect_tcp(self, *arguments: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        self.connects += 1
        await checkpoint()
        return Greeting(self)


class Work:
    """What is done for requests, from here to `end`.

    Attributes:
        calls: of Python functions of this package.
        touched: slots and queue entries looked at.
        probes: of sockets.
    """

    def __init__(self, pool: Pool, network: Network) -> None:
        self._package = next(iter(httpcore.__path__))
        self._scheduler = pool._slots.scheduler
        self._network = network
        self.calls = 0
        self.touched = self._scheduler.touched
        self.probes = network.probes
        sys.setprofile(self._see)

    def _see(self, frame: FrameType, event: str, _: Any) -> None:
        self.calls += event == "call" and frame.f_code.co_filename.startswith(self._package)

    def end(self, requests: int) -> tuple[float, float, float]:
        """Calls, entries and probes for each of so many requests."""
        sys.setprofile(None)
        touched = self._scheduler.touched - self.touched
        probes = self._network.probes - self.probes
        return self.calls / requests, touched / requests, probes / requests


async def measure(workers: int, connections: int, each: int) -> tuple[float, float, float]:
    """The work for each request of so many tasks with so many connections, open before."""
    network = Network()
    async with Pool(max_connections=connections, network_backend=network) as pool:

        async def work() -> None:
            for _ in range(each):
                assert (await pool.request("GET", "http://name.test/")).status == 200

        async def all_of_them() -> None:
            async with anyio.create_task_group() as group:
                for _ in range(workers):
                    group.start_soon(work)

        await all_of_them()
        assert network.connects == connections
        counting = Work(pool, network)
        try:
            await all_of_them()
        finally:
            found = counting.end(workers * each)
        assert network.connects == connections
    return found


async def test_row_10_work_does_not_grow_with_tasks_and_connections() -> None:
    """Row 10: "Client CPU per request at 512 threads/100 connections is ≤ 1.2 x that at 16/16; pool
    work per request touches O(1) connections (counter asserted)": tasks for threads; counted, not
    timed. With 16 tasks on 16 connections nobody waits. With 256 on 50 nearly all do, as with 32
    on 6; waiting costs a fixed number of short calls."""
    free = await measure(workers=16, connections=16, each=16)
    queued = await measure(workers=32, connections=6, each=16)
    crowded = await measure(workers=256, connections=50, each=2)
    for calls, touched, probes in (free, queued, crowded):
        assert touched <= 4
        assert probes <= 1
        assert calls <= 110
    assert queued[0] <= free[0] + 30, (free, queued)
    assert crowded[0] <= 1.05 * queued[0] + 1, (queued, crowded)


async def test_row_10_idle_connections_cost_nothing() -> None:
    """Row 10: "pool work per request touches O(1) connections (counter asserted)", however many
    other connections lie idle: none is looked at, none is probed."""
    network = Network()
    async with Pool(
        max_connections=None, keepalive_expiry=PATIENCE * 3, network_backend=network
    ) as pool:
        found = []
        for idle in (1, 300):
            for number in range(idle):
                assert (await pool.request("GET", f"http://host-{number}.test/")).status == 200
            counting = Work(pool, network)
            try:
                for _ in range(50):
                    await pool.request("GET", "http://host-0.test/")
            finally:
                found.append(counting.end(50))
            assert pool.stats()["idle"] == idle
        assert network.connects == 300
        alone, among_many = found
        assert among_many[1:] == (0, 1)
        assert among_many[0] <= alone[0] + 1


# --- row 59: the queue ---


class Crowd:
    """Rounds of a thousand requests at once, 30 % of which are cancelled, wherever they are.

    Half of these are cancelled when so many others have ended; the others where they wait for the
    first, second or third time: in the queue, for the answer.

    Attributes:
        seen: how requests ended.
    """

    SIZE = 1000

    def __init__(self, pool: Pool, url: str) -> None:
        self.seen: Counter[str] = Counter()
        self._pool = pool
        self._url = url
        self._chance = random.Random(59)

    async def play_round(self) -> None:
        """A thousand requests; all have ended at the end."""
        doomed = self._choose_doomed()
        ended = 0
        async with Tasks() as tasks:

            async def one(number: int) -> None:
                nonlocal ended
                try:
                    await self._request(number)
                finally:
                    ended += 1
                    for other in doomed.get(ended, ()):
                        begun[other].cancel()

            works: dict[int, Suspending[None]] = {}
            for number in self._choose(50, self.SIZE * 15 // 100):
                works[number] = Suspending(one(number), self._chance.randrange(3))
            begun = [tasks.begin(works.get(number) or one(number)) for number in range(self.SIZE)]
            for number, work in works.items():
                work.act = begun[number].cancel
            for each in begun:
                await self._note_end(each)

    def _choose(self, first: int, count: int) -> list[int]:
        return self._chance.sample(range(first, self.SIZE), count)

    def _choose_doomed(self) -> dict[int, list[int]]:
        """The numbers of those to be cancelled, by how many have ended then."""
        doomed: dict[int, list[int]] = {}
        for number in self._choose(50, self.SIZE * 15 // 100):
            doomed.setdefault(self._chance.randrange(1, number + 1), []).append(number)
        return doomed

    async def _request(self, number: int) -> None:
        limit = PATIENCE if number % 10 else self._chance.random() / 4
        timeout = {"pool": limit, "read": PATIENCE, "connect": PATIENCE}
        response = await self._pool.request(
            "GET", f"{self._url}/bytes/{number}", extensions={"timeout": timeout}
        )
        assert response.content == pattern(number)

    async def _note_end(self, begun: Begun[None]) -> None:
        try:
            await begun
            self.seen["answered"] += 1
        except WasCancelled:
            self.seen["cancelled"] += 1
        except httpcore.PoolTimeout:
            self.seen["ran out"] += 1


async def crowd_the_pool(
    server: LocalServer, queue: Queue, seconds: float
) -> tuple[Counter[str], dict[str, Any]]:
    """Rounds until so many seconds are over; checks what the row says after each."""
    end = time.monotonic() + seconds
    rounds = 0
    async with Pool(max_connections=10) as pool:
        crowd = Crowd(pool, server.url)
        while not rounds or time.monotonic() < end:
            await crowd.play_round()
            rounds += 1
            assert at_rest(pool)
            assert not queue.overtaken
            assert queue.longest <= Crowd.SIZE
            pool._slots.scheduler.check()
        assert crowd.seen.total() == rounds * Crowd.SIZE  # none is lost
        assert crowd.seen["cancelled"] > 0.2 * rounds * Crowd.SIZE
        assert crowd.seen["answered"] >= 0.5 * rounds * Crowd.SIZE
        for stats in queue.ran_out:
            assert (stats["idle"], stats["active"] + stats["dialing"]) == (0, 10), stats
        await until(lambda: server.open <= 10)
        totals = pool.stats()["totals"]
        assert (await pool.request("GET", server.url)).status == 200
    return crowd.seen, totals


async def test_row_59_a_thousand_tasks(quiet_server: LocalServer, queue: Queue) -> None:
    """Row 59: "1,000 tasks on 10 connections, 30 % cancelled at random [...]: none lost, FIFO kept,
    no PoolTimeout while a slot is idle"; one round of them."""
    await crowd_the_pool(quiet_server, queue, seconds=0)
    assert queue.served > 500


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_row_59_a_thousand_tasks_for_a_minute(
    quiet_server: LocalServer, queue: Queue
) -> None:
    """Row 59: "[...] for a minute"; the figures are logged (``--log-cli-level INFO``)."""
    seen, totals = await crowd_the_pool(quiet_server, queue, seconds=60)
    figures = {"served": queue.served, "left": queue.left, "longest queue": queue.longest}
    logger.info("%s", {**seen, **figures, **totals})
