"""Many threads on the same thing at once: what only a Python without a GIL may show.

Owns: a pool, a connection of HTTP/2, a Session and its jar, tokens and queues that threads use,
change, look at and close in the same moment. Must not know: how they are protected.
`scripts/free-threaded` runs it without the GIL.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import requests

import httpcore
import httpcore_requests
from httpcore._backends.sync import SyncStream
from httpcore._shared.deferred import Deferred
from httpcore.exceptions import Aborted
from tests.support import PATIENCE
from tests.support.http2 import ServeH2
from tests.support.servers import LocalServer
from tests.support.threads import Worker, until

pytestmark = pytest.mark.no_cover

#: Threads of each kind, and how often each does its work.
THREADS, TIMES = 8, 40
TIMEOUTS = {"timeout": {"total": PATIENCE}}

Work = Callable[[int], object]


def race(*works: Work, times: int = TIMES) -> None:
    """Call each of `works` in THREADS threads, so many times, each time with another number; raise
    what they raise. The last one is called once more for each call of the others that is over: it
    ends with them, and takes no more time than they do."""
    start = threading.Barrier(THREADS * len(works))
    turns = threading.Semaphore(0)
    *others, last = works

    def repeat(work: Work, thread: int) -> None:
        start.wait(PATIENCE)
        for count in range(times):
            try:
                work(thread * times + count)
            finally:
                turns.release()

    def take_turns(thread: int) -> None:
        start.wait(PATIENCE)
        for count in range(times * len(others)):
            last(thread * times * len(others) + count)
            turns.acquire(timeout=PATIENCE)

    jobs = [(repeat, work, thread) for work in others for thread in range(THREADS)]
    workers = [Worker(partial(*job)) for job in jobs]
    workers += [Worker(partial(take_turns, thread)) for thread in range(THREADS)]
    for worker in workers:
        worker.result()


def settled(pool: httpcore.ConnectionPool) -> bool:
    stats = pool.stats()
    return not any(stats[name] for name in ("active", "dialing", "requests", "waiting"))


def fetch(pool: httpcore.ConnectionPool, url: str, number: int, **more: Any) -> None:
    """Send a request, and look whether the response is its own."""
    nonce = f"n{number}n"
    extensions: Any = {**TIMEOUTS, **more}
    response = pool.request(
        "POST", f"{url}/echo?{nonce}", content=nonce.encode() * 100, extensions=extensions
    )
    assert response.status == 200 and f"/echo?{nonce}".encode() in response.content


def fetch_or_abort(pool: httpcore.ConnectionPool, url: str, number: int, **more: Any) -> None:
    """The same, where another thread may end it."""
    try:
        fetch(pool, url, number, **more)
    except Aborted:
        pass


# --- the queue of what was left to do ---


def test_a_queue_that_threads_fill_and_empty() -> None:
    deferred = Deferred()
    made: dict[int, None] = {}

    def put(number: int) -> None:
        deferred.append(lambda: made.setdefault(number))
        deferred.carry_out()

    race(put, lambda number: deferred.carry_out(), times=2000)
    assert len(made) == THREADS * 2000 and not deferred


# --- one pool ---


@pytest.fixture(params=["http11", "http2"])
def url(request: pytest.FixtureRequest) -> str:
    """Of a server; the pool below speaks with it."""
    if request.param == "http11":
        running: LocalServer = request.getfixturevalue("server")
        return running.url
    serve_h2: ServeH2 = request.getfixturevalue("serve_h2")
    return serve_h2(settings={"max_concurrent_streams": 100}).url


@pytest.fixture
def pool(url: str, request: pytest.FixtureRequest) -> Any:
    """Has fewer connections than there are threads."""
    http2 = "http2" in request.node.name
    with httpcore.ConnectionPool(max_connections=4, http1=not http2, http2=http2) as made:
        yield made


def test_requests_beside_stats(pool: httpcore.ConnectionPool, url: str) -> None:
    def look(number: int) -> None:
        stats = pool.stats()
        assert stats["connections"] <= 4 and len(pool.connections) <= 4
        assert repr(pool) and all(repr(each) for each in pool.connections)

    race(lambda number: fetch(pool, url, number), look)
    assert settled(pool)
    assert pool.stats()["totals"]["failed"] == 0


@pytest.mark.parametrize("way", ["close", "close_idle", "retire"])
def test_requests_beside_the_end_of_connections(
    pool: httpcore.ConnectionPool, url: str, way: str
) -> None:
    work = fetch_or_abort if way == "close" else fetch
    race(lambda number: work(pool, url, number), lambda number: getattr(pool, way)())
    until(lambda: settled(pool))
    fetch(pool, url, 0)


def test_responses_that_others_close(pool: httpcore.ConnectionPool, url: str) -> None:
    """Whoever reads gets all of it, or an error; nobody gets what is another's."""
    under_way: list[httpcore.Response] = []
    left = threading.Semaphore(0)

    def read(number: int) -> None:
        response = pool.request("GET", f"{url}/bytes/100000", stream=True, extensions=TIMEOUTS)
        under_way.append(response)
        left.release()
        try:
            assert len(b"".join(response.iter_stream())) == 100_000
        except httpcore.NetworkError:
            pass

    def close(number: int) -> None:
        if left.acquire(timeout=0.01):
            under_way.pop().close()

    race(read, close)
    for response in under_way:
        response.close()
    assert settled(pool)


def test_tokens_that_are_cancelled_beside_requests(pool: httpcore.ConnectionPool, url: str) -> None:
    """Each request gets its response or is ended; none of those with other tokens is."""
    tokens = [httpcore.CancelToken()]
    kept = httpcore.CancelToken()

    def cancel(number: int) -> None:
        tokens.append(httpcore.CancelToken())
        for token in tokens[-10:-1]:
            token.cancel()

    race(
        lambda number: fetch_or_abort(pool, url, number, cancel=tokens[-1]),
        lambda number: fetch(pool, url, number, cancel=kept),
        cancel,
        times=20,
    )
    until(lambda: settled(pool))
    kept.cancel()
    with pytest.raises(Aborted):
        fetch(pool, url, 0, cancel=kept)


class SlowToClose:
    """A socket whose first `close` waits; counts how many are in it at once."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.inside: list[int] = []
        self.go = threading.Event()

    def close(self) -> None:
        self.inside.append(threading.get_ident())
        assert self.go.wait(PATIENCE)
        self.sock.close()

    def gettimeout(self) -> None:
        return None

    recv = send = gettimeout


def test_one_thread_at_a_time_closes_a_socket() -> None:
    """Without the GIL, two that close it at the same time may close its descriptor twice: the
    second time it may be another file's."""
    sock: Any = SlowToClose(socket.socket())
    stream = SyncStream(sock, "peer")
    first = Worker(stream.close)
    until(lambda: sock.inside)
    second = Worker(stream.close)

    def is_closing() -> bool:
        frame = sys._current_frames().get(second.ident or 0)
        while frame is not None and frame.f_code is not SyncStream.close.__code__:
            frame = frame.f_back
        return frame is not None

    until(is_closing)
    assert len(sock.inside) == 1
    sock.go.set()
    first.result()
    second.result()
    assert sock.sock.fileno() == -1


# --- one Session ---


def test_a_session_whose_settings_and_cookies_change(server: LocalServer) -> None:
    """Each response is its request's, with a header of some thread's, and no cookie gets lost."""
    with httpcore_requests.Session() as session:
        session.trust_env = False

        def get(number: int) -> None:
            found = session.get(f"{server.url}/cookies/set?name{number}=value", timeout=PATIENCE)
            assert found.ok and session.cookies[f"name{number}"] == "value"
            nonce = f"n{number}n"
            echoed = session.get(f"{server.url}/echo", params={"q": nonce}, timeout=PATIENCE)
            assert nonce in echoed.text and "x-changing" in echoed.text.lower()

        def change(number: int) -> None:
            session.headers["X-Changing"] = f"{number}"
            session.cookies.set(f"own{number}", "1", domain="127.0.0.1", path="/")
            session.cookies.get_dict()
            session.params = {}
            session.proxies = {}

        session.headers["X-Changing"] = "0"
        race(get, change, times=10)
        names = {cookie.name for cookie in session.cookies}
        assert {f"name{number}" for number in range(THREADS * 10)} <= names


def test_a_session_that_is_closed_beside_requests(server: LocalServer) -> None:
    """Its connections are closed when their responses end: no request fails."""
    with httpcore_requests.Session() as session:
        session.trust_env = False

        def get(number: int) -> None:
            found = session.get(f"{server.url}/echo?n{number}n", timeout=PATIENCE)
            assert found.ok and f"n{number}n" in found.text

        race(get, lambda number: session.close())


def test_a_jar_that_grows_and_shrinks(server: LocalServer) -> None:
    with httpcore_requests.Session() as session:
        session.trust_env = False
        url = f"{server.url}/cookies"

        def prepare(number: int) -> None:
            request = requests.Request("GET", url, cookies={"mine": str(number)})
            header = session.prepare_request(request).headers["Cookie"]
            assert f"mine={number}" in header

        def change(number: int) -> None:
            session.cookies.set(f"own{number}", "1", domain="127.0.0.1", path=f"/{number % 3}")
            session.cookies.set(f"all{number}", "1", domain="127.0.0.1", path="/")
            session.cookies.clear("127.0.0.1", "/", f"all{number}")

        race(prepare, change)
