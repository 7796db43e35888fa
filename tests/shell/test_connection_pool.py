"""The pool as its callers see it, and the connection that opens itself.

Owns: `httpcore._sync.connection_pool`, `httpcore._sync.connection`, `httpcore._api`. Must not
know: how slots are chosen (`test_scheduler`), how HTTP is framed (`test_h1`).

Where the wire matters there is a server on loopback; where the order of things matters, a
`Backend` that hands out scripted streams and notes what it was asked for.
"""

from __future__ import annotations

import gc
import io
import json
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

import httpcore
from httpcore._core import checkout
from httpcore._core.dial_attempt import MIN_STEP
from httpcore._core.routes import find_route
from httpcore._exceptions import Aborted, ServerDisconnected, TLSError
from httpcore._shared import pool_actions, pool_slots
from httpcore._sync import connection as connection_module
from httpcore._sync import connection_pool, dialing
from httpcore._sync.http11 import HTTP11Connection
from httpcore._sync.response_body import ResponseBody
from tests.support import PATIENCE
from tests.support.http2 import Code, FrameServer, Stream
from tests.support.servers import LocalServer, Peer, Serve, pattern
from tests.support.streams import (
    RESPONSE_CLOSED,
    SWITCH,
    UPGRADE,
    Script,
    Trace,
    content_length,
    length,
    sent,
    write_error,
)
from tests.support.tls import ClientCert

PATIENT = {"timeout": {"connect": PATIENCE, "read": PATIENCE, "write": PATIENCE, "pool": PATIENCE}}


class Backend(httpcore.NetworkBackend):
    """Hands out streams in order; an exception in their place is raised. Notes each call."""

    def __init__(self, *streams: httpcore.NetworkStream | BaseException) -> None:
        self.streams = list(streams)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.slept: list[float] = []

    def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        assert not args
        return self._next("tcp", host=host, port=port, **kwargs)

    def connect_unix_socket(self, path: str, *args: Any, **kwargs: Any) -> Any:
        assert not args
        return self._next("unix", path=path, **kwargs)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def _next(self, kind: str, **arguments: Any) -> Any:
        self.calls.append((kind, arguments))
        stream = self.streams.pop(0)
        if isinstance(stream, BaseException):
            raise stream
        return stream


class Thread(threading.Thread):
    """Runs a function; `result()` gives what it returned or raises what it raised."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.function = function
        self.value: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.value = self.function()
        except BaseException as exc:
            self.error = exc

    def result(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        return self.value


Self = TypeVar("Self", bound="WatchedPool")


class WatchedPool(httpcore.ConnectionPool):
    """Says when a request has begun to wait for a connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting = threading.Semaphore(0)

    def __enter__(self: Self) -> Self:
        return self

    def _wait(self, *args: Any) -> None:
        self.waiting.release()
        super()._wait(*args)

    def in_background(self, url: str, **options: Any) -> Thread:
        """A request in a thread of its own, which is waiting for a connection now."""
        options.setdefault("extensions", PATIENT)
        thread = Thread(lambda: self.request("GET", url, **options))
        assert self.waiting.acquire(timeout=PATIENCE)
        return thread


class Clock:
    """Stands for the module `time` where the pool looks at it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (connection_pool, pool_actions, pool_slots):
        monkeypatch.setattr(module, "time", made)
    return made


@contextmanager
def pool_of(
    *streams: httpcore.NetworkStream | BaseException, **options: Any
) -> Iterator[tuple[httpcore.ConnectionPool, Backend]]:
    backend = Backend(*streams)
    with httpcore.ConnectionPool(network_backend=backend, **options) as pool:
        yield pool, backend


def stream_of(*reads: Any, writes: Iterable[Any] = ()) -> Script:
    return Script(reads, writes)


def counts(pool: httpcore.ConnectionPool) -> tuple[int, int]:
    stats = pool.stats()
    assert stats["connections"] == stats["active"] + stats["idle"] + stats["dialing"]
    return stats["active"] + stats["dialing"], stats["idle"]


# --- reuse ---


def test_a_connection_is_used_again(server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        responses = [pool.request("GET", server.url + "/bytes/10") for _ in range(3)]
        assert counts(pool) == (0, 1)
    assert [response.content for response in responses] == [pattern(10)] * 3
    assert [response.extensions["reused"] for response in responses] == [False, True, True]
    assert [request.number for request in server.requests] == [1, 2, 3]
    assert server.accepted == 1
    assert server.wait_for(lambda: server.open == 0)


def test_a_tls_connection_is_used_again(tls_server: LocalServer, ca_bundle: str) -> None:
    with httpcore.ConnectionPool(httpcore.create_ssl_context(ca_bundle)) as pool:
        for _ in range(3):
            assert pool.request("GET", tls_server.url + "/bytes/10").content == pattern(10)
    assert tls_server.accepted == 1


@pytest.mark.parametrize("path", ["/bytes/200000", "/chunked/200000", "/status/204", "/bytes/0"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_framing_leaves_a_reusable_connection(
    server: LocalServer, path: str, method: str
) -> None:
    with httpcore.ConnectionPool() as pool:
        for _ in range(2):
            response = pool.request(method, server.url + path)
            if method == "GET" and path.endswith("200000"):
                assert response.content == pattern(200_000)
            else:
                assert response.content == b""
    assert server.accepted == 1


def test_a_body_until_the_end_uses_up_its_connection(server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        for _ in range(2):
            assert pool.request("GET", server.url + "/close/100").content == pattern(100)
            assert counts(pool) == (0, 0)
    assert server.accepted == 2


def test_other_origins_have_their_own_connections() -> None:
    urls = ["http://a/", "http://a:81/", "http://b/", "ws://a/"]
    with pool_of(*(stream_of(length(b"%d" % n)) for n in range(4))) as (pool, backend):
        assert [pool.request("GET", url).content for url in urls] == [b"0", b"1", b"2", b"3"]
        assert counts(pool) == (0, 4)
    assert [call["port"] for _, call in backend.calls] == [80, 81, 80, 80]


def test_the_default_port_is_the_same_origin() -> None:
    with pool_of(stream_of(length(b"1"), length(b"2"))) as (pool, _):
        assert pool.request("GET", "http://a/").content == b"1"
        assert pool.request("GET", "http://A:80/").content == b"2"


def test_the_newest_idle_connection_is_taken() -> None:
    streams = [stream_of(length(b"", 1), b"1"), stream_of(length(b"", 1), b"2", length(b"3"))]
    with pool_of(*streams) as (pool, _):
        first = pool.request("GET", "http://a/", stream=True)
        second = pool.request("GET", "http://a/", stream=True)
        first.read()
        second.read()
        assert pool.request("GET", "http://a/").content == b"3"


def test_what_a_pool_says_about_itself() -> None:
    with pool_of(stream_of(length(b"", 1), b"1"), stream_of(length(b"2"))) as (pool, _):
        assert repr(pool) == (
            "<ConnectionPool [Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]>"
        )
        response = pool.request("GET", "http://a/", stream=True)
        pool.request("GET", "http://b/")
        assert repr(pool) == (
            "<ConnectionPool [Requests: 1 active, 0 queued | Connections: 1 active, 1 idle]>"
        )
        assert pool.stats() == {
            "connections": 2,
            "active": 1,
            "idle": 1,
            "dialing": 0,
            "waiting": 0,
            "requests": 1,
            "routes": {
                "http://a:80": {"active": 1, "idle": 0, "dialing": 0, "queued": 0},
                "http://b:80": {"active": 0, "idle": 1, "dialing": 0, "queued": 0},
            },
            "waiting_for": [],
            "totals": {
                "opened": 2,
                "reused": 0,
                "expired": 0,
                "evicted": 0,
                "replayed": 0,
                "failed": 0,
            },
        }
        assert [repr(connection) for connection in pool.connections] == [
            "<HTTPConnection ['http://a:80', HTTP/1.1, ACTIVE, Request Count: 1]>",
            "<HTTPConnection ['http://b:80', HTTP/1.1, IDLE, Request Count: 1]>",
        ]
        response.close()


# --- limits and waiting ---


def test_a_request_waits_for_a_connection() -> None:
    stream = stream_of(length(b"", 1), b"1", length(b"2"))
    with WatchedPool(max_connections=1, network_backend=Backend(stream)) as pool:
        response = pool.request("GET", "http://a/", stream=True)
        thread = pool.in_background("http://a/")
        assert pool.stats()["waiting"] == 1
        assert "1 active, 1 queued" in repr(pool)
        assert response.read() == b"1"
        assert thread.result().content == b"2"


def test_first_come_first_served() -> None:
    stream = stream_of(length(b"", 1), b"0", *(length(b"%d" % n) for n in range(1, 5)))
    with WatchedPool(max_connections=1, network_backend=Backend(stream)) as pool:
        response = pool.request("GET", "http://a/", stream=True)
        threads = [pool.in_background("http://a/") for _ in range(4)]
        response.read()
        assert [thread.result().content for thread in threads] == [b"1", b"2", b"3", b"4"]


def test_whoever_waits_gets_the_place_of_a_connection_that_closed() -> None:
    streams = [stream_of(length(b"", 1)), stream_of(length(b"2"))]
    with WatchedPool(max_connections=1, network_backend=Backend(*streams)) as pool:
        response = pool.request("GET", "http://a/", stream=True)
        thread = pool.in_background("http://b/")
        response.close()
        assert streams[0].closed
        assert thread.result().content == b"2"


def test_whoever_waits_gets_the_place_of_a_connection_that_failed() -> None:
    error = httpcore.ReadError("reset")
    streams = [stream_of(length(b"", 1), error), stream_of(length(b"2"))]
    with WatchedPool(max_connections=1, network_backend=Backend(*streams)) as pool:
        response = pool.request("GET", "http://a/", stream=True)
        thread = pool.in_background("http://a/")
        with pytest.raises(httpcore.ReadError):
            response.read()
        assert thread.result().content == b"2"


def test_an_idle_connection_makes_room_for_another_origin() -> None:
    streams = [stream_of(length(b"1")), stream_of(length(b"2"))]
    with pool_of(*streams, max_connections=1) as (pool, _):
        pool.request("GET", "http://a/")
        pool.request("GET", "http://b/")
        assert streams[0].closed
        assert not streams[1].closed
        assert counts(pool) == (0, 1)


def test_the_limit_per_host_leaves_other_hosts_alone() -> None:
    streams = [stream_of(length(b"", 1), b"1", length(b"2")), stream_of(length(b"3"))]
    backend = Backend(*streams)
    with WatchedPool(max_connections_per_host=1, network_backend=backend) as pool:
        response = pool.request("GET", "http://a/", stream=True)
        thread = pool.in_background("http://a/")
        assert pool.request("GET", "http://b/").content == b"3"
        response.read()
        assert thread.result().content == b"2"


def without_ages(exc: httpcore.PoolTimeout) -> tuple[str, list[float]]:
    """The text without how long the holders have been at it, and these, in seconds."""
    ages = re.findall(r" \(for ([0-9.e-]+) s\)", str(exc))
    return re.sub(r" \(for [0-9.e-]+ s\)", "", str(exc)), [float(age) for age in ages]


def test_pool_timeout_names_the_limit_and_the_holders() -> None:
    streams = [stream_of(length(b"", 1)) for _ in range(3)]
    with pool_of(*streams, max_connections=3) as (pool, _):
        responses = [pool.request("GET", "http://a:81/x?y", stream=True) for _ in range(2)]
        responses.append(pool.request("POST", "https://b/z", stream=True))
        with pytest.raises(httpcore.PoolTimeout) as caught:
            pool.request("GET", "http://c/", extensions={"timeout": {"pool": 0.01}})
        text, ages = without_ages(caught.value)
        assert text == (
            "no connection to http://c:80 became free within 0.01 s: the limit is "
            "max_connections=3, held by 2 x GET http://a:81/x?[secure]; 1 x POST https://b:443/z"
        )
        assert len(ages) == 2
        assert 0 <= ages[1] <= ages[0] <= PATIENCE  # of two that are alike, the older one's
        assert caught.value.phase == "not_sent"
        assert pool.stats()["waiting"] == 0
        for response in responses:
            response.close()


def test_pool_timeout_names_the_limit_per_host() -> None:
    streams = [stream_of(length(b"", 1)), stream_of(length(b"", 1))]
    with pool_of(*streams, max_connections_per_host=1) as (pool, _):
        responses = [pool.request("GET", url, stream=True) for url in ("http://a/", "http://b/")]
        with pytest.raises(httpcore.PoolTimeout) as caught:
            pool.request("GET", "http://a/", extensions={"timeout": {"pool": 0}})
        assert without_ages(caught.value)[0] == (
            "no connection to http://a:80 became free within 0 s: the limit is "
            "max_connections_per_host=1, held by 1 x GET http://a:80/"
        )
        for response in responses:
            response.close()


def test_pool_timeout_names_five_holders_at_most() -> None:
    with pool_of(*(stream_of(length(b"", 1)) for _ in range(7)), max_connections=7) as (pool, _):
        responses = [pool.request("GET", f"http://a/{n}", stream=True) for n in range(7)]
        with pytest.raises(httpcore.PoolTimeout, match=r"; and 2 others$"):
            pool.request("GET", "http://a/", extensions={"timeout": {"pool": 0}})
        for response in responses:
            response.close()


def test_pool_timeout_while_others_are_connecting() -> None:
    connecting, go_on = threading.Event(), threading.Event()

    class Slow(Backend):
        def connect_tcp(self, *args: Any, **kwargs: Any) -> Any:
            connecting.set()
            assert go_on.wait(PATIENCE)
            return super().connect_tcp(*args, **kwargs)

    backend = Slow(stream_of(length(b"1")))
    with httpcore.ConnectionPool(max_connections=1, network_backend=backend) as pool:
        thread = Thread(lambda: pool.request("GET", "http://a/"))
        assert connecting.wait(PATIENCE)
        assert pool.stats()["dialing"] == 1
        assert repr(pool.connections) == "[<HTTPConnection [CONNECTING]>]"
        with pytest.raises(
            httpcore.PoolTimeout, match=r"held by 1 x http://a:80 \(dialing\) \(for .* s\)$"
        ):
            pool.request("GET", "http://a/", extensions={"timeout": {"pool": 0}})
        go_on.set()
        assert thread.result().content == b"1"


def test_a_long_wait_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    # A waiter looks by itself now and then; that must not end its wait.
    monkeypatch.setattr(checkout, "MAX_SLEEP", 0.001)
    stream = stream_of(length(b"", 1), b"1", length(b"2"))
    with WatchedPool(max_connections=1, network_backend=Backend(stream)) as pool:
        response = pool.request("GET", "http://a/", stream=True)
        thread = pool.in_background("http://a/", extensions={})
        thread.join(0.02)  # some rounds; correct however many it is
        assert thread.is_alive()
        response.read()
        assert thread.result().content == b"2"


@pytest.mark.parametrize("limit", [0, 1])
def test_max_keepalive_connections(limit: int) -> None:
    streams = [stream_of(length(b"1")), stream_of(length(b"2"))]
    with pool_of(*streams, max_keepalive_connections=limit) as (pool, _):
        pool.request("GET", "http://a/")
        pool.request("GET", "http://b/")
        assert counts(pool) == (0, limit)
        assert [stream.closed for stream in streams] == [True, limit == 0]


def test_many_threads_share_few_connections(server: LocalServer) -> None:
    def work() -> list[bytes]:
        return [pool.request("GET", server.url + "/bytes/100").content for _ in range(10)]

    with httpcore.ConnectionPool(max_connections=3) as pool:
        threads = [Thread(work) for _ in range(8)]
        for thread in threads:
            assert thread.result() == [pattern(100)] * 10
        assert counts(pool)[0] == 0
    assert 1 <= server.accepted <= 3
    assert len(server.requests) == 80


# --- an interrupted wait ---


class Interrupting:
    """What a waiter sleeps on, for a thread that is interrupted just then."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.meanwhile = meanwhile

    def acquire(self, timeout: float = -1) -> bool:
        self.meanwhile()
        raise KeyboardInterrupt

    def release(self) -> None:
        pass


class InterruptedPool(WatchedPool):
    """The next request that waits is interrupted."""

    event: Any = None

    def _wait(self, waiter: Any, *args: Any) -> None:
        if self.event is not None:
            waiter.event, self.event = self.event, None
        super()._wait(waiter, *args)


def test_an_interrupted_wait_leaves_nothing_behind() -> None:
    stream = stream_of(length(b"", 1), b"1", length(b"2"))
    with InterruptedPool(max_connections=1, network_backend=Backend(stream)) as pool:
        response = pool.request("GET", "http://a/", stream=True)
        pool.event = Interrupting()
        with pytest.raises(KeyboardInterrupt):
            pool.request("GET", "http://a/")
        assert pool.stats()["waiting"] == 0
        assert response.read() == b"1"
        assert pool.request("GET", "http://a/").content == b"2"


def test_a_wait_that_is_interrupted_just_when_served_passes_the_place_on() -> None:
    """The connection, which nothing was sent on, stays open."""
    stream = stream_of(length(b"", 1), b"1", length(b"2"))
    with InterruptedPool(max_connections=1, network_backend=Backend(stream)) as pool:
        response = pool.request("GET", "http://a/", stream=True)
        pool.event = Interrupting(meanwhile=response.read)
        with pytest.raises(KeyboardInterrupt):
            pool.request("GET", "http://a/")
        assert counts(pool)[0] == 0
        assert pool.request("GET", "http://a/").content == b"2"


class HookedLock:
    """A lock that first calls `hook`, once: what happens just before it is ours."""

    def __init__(self) -> None:
        self.lock: Any = threading.RLock()
        self.is_owned = self.lock._is_owned
        self.hook: Callable[[], object] | None = None

    def __enter__(self) -> None:
        hook, self.hook = self.hook, None
        if hook is not None:
            hook()
        self.lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.lock.release()


def test_a_wait_that_is_served_in_the_last_moment(clock: Clock) -> None:
    lock = HookedLock()

    class Late(Interrupting):
        def acquire(self, timeout: float = -1) -> bool:
            clock.now += 5  # the time is up; and before the waiter can withdraw, it is served
            lock.hook = response.read
            return False

    stream = stream_of(length(b"", 1), b"1", length(b"2"))
    with InterruptedPool(max_connections=1, network_backend=Backend(stream)) as pool:
        pool._slots.lock = lock  # type: ignore[assignment]
        response = pool.request("GET", "http://a/", stream=True)
        pool.event = Late()
        extensions = {"timeout": {"pool": 5.0}}
        assert pool.request("GET", "http://a/", extensions=extensions).content == b"2"
        assert counts(pool) == (0, 1)


class Emptied:
    """A list that another thread empties just after it was looked at."""

    def __init__(self) -> None:
        self.looks = 0

    def __bool__(self) -> bool:
        self.looks += 1
        return self.looks < 3

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __getitem__(self, key: slice) -> list[Any]:
        return []

    def pop(self) -> Any:
        raise IndexError

    popleft = pop


def test_another_thread_was_faster_in_tidying_up() -> None:
    with pool_of() as (pool, _):
        scheduler = pool._slots.scheduler
        for name in ("closing", "woken"):
            before = getattr(scheduler, name)
            emptied = Emptied()
            setattr(scheduler, name, emptied)
            pool._slots.settle()
            assert emptied.looks
            setattr(scheduler, name, before)
        assert counts(pool) == (0, 0)


@pytest.mark.parametrize("event", [None, threading.Lock()])
def test_waking_who_is_awake_does_no_harm(event: Any) -> None:
    stream = stream_of(length(b"", 1), b"1", length(b"2"))
    with WatchedPool(max_connections=1, network_backend=Backend(stream)) as pool:
        # A lock that nobody holds was released already.
        pool._slots.scheduler.woken.append(SimpleNamespace(event=event))  # type: ignore[arg-type]
        response = pool.request("GET", "http://a/", stream=True)
        thread = pool.in_background("http://a/")
        response.read()
        assert thread.result().content == b"2"


# --- how long a connection is kept ---


def test_keepalive_expiry(clock: Clock) -> None:
    streams = [stream_of(length(b"1"), length(b"2")), stream_of(length(b"3"))]
    with pool_of(*streams, keepalive_expiry=5.0) as (pool, _):
        pool.request("GET", "http://a/")
        clock.now += 4.9
        assert pool.request("GET", "http://a/").content == b"2"
        clock.now += 5.1
        assert pool.request("GET", "http://a/").content == b"3"
        assert streams[0].closed


def test_idle_connections_of_other_origins_expire_too(clock: Clock) -> None:
    streams = [stream_of(length(b"1")), stream_of(length(b"2"))]
    with pool_of(*streams, keepalive_expiry=5.0) as (pool, _):
        pool.request("GET", "http://a/")
        clock.now += 6
        pool.request("GET", "http://b/")
        assert streams[0].closed
        assert counts(pool) == (0, 1)


def test_what_the_server_says_about_keeping(clock: Clock) -> None:
    kept = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nContent-Length: 1\r\n\r\n"
    streams = [stream_of(kept + b"1", kept + b"2"), stream_of(length(b"3"))]
    with pool_of(*streams) as (pool, _):
        pool.request("GET", "http://a/")
        clock.now += 4.9
        assert pool.request("GET", "http://a/").content == b"2"
        clock.now += 5.1
        assert pool.request("GET", "http://a/").content == b"3"


def test_max_age(clock: Clock) -> None:
    streams = [stream_of(length(b"1"), length(b"2"), length(b"3")), stream_of(length(b"4"))]
    with pool_of(*streams, max_age=10) as (pool, _):
        contents = []
        for _ in range(4):
            contents.append(pool.request("GET", "http://a/").content)
            clock.now += 4
        assert contents == [b"1", b"2", b"3", b"4"]


# --- connections that died while idle ---


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("how", ["close", "reset", "bytes"])
@pytest.mark.parametrize("tls", [False, True])
def test_a_dead_connection_is_not_used(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    method: str,
    how: str,
    tls: bool,
) -> None:
    ended = threading.Event()

    def handler(peer: Peer) -> None:
        assert peer.recv_request() is not None
        peer.respond(200, b"%d" % peer.number)
        if peer.number == 1:
            if how == "bytes":
                peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            elif how == "reset":
                peer.reset()
            else:
                peer.close()
            ended.set()
        if not peer.closed:
            peer.wait_closed()

    server = serve(handler, tls=server_tls_context if tls else None)
    with httpcore.ConnectionPool(client_tls_context) as pool:
        response = pool.request("GET", server.url)
        assert response.content == b"1"
        assert ended.wait(PATIENCE)
        assert pool.request(method, server.url, content=b"x").content == b"2"
        assert counts(pool) == (0, 1)


@pytest.mark.parametrize("tls", [False, True])
def test_bytes_behind_a_large_body_never_become_the_next_response(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    tls: bool,
) -> None:
    body = pattern(200_000)

    def handler(peer: Peer) -> None:
        assert peer.recv_request() is not None
        if peer.number == 1:
            peer.send(length(body[:-100], len(body)))
            # In one TLS record with the end of the body.
            peer.send(body[-100:] + length(b"nobody asked for this"))
            peer.wait_closed()
        else:
            peer.respond(200, b"mine")

    server = serve(handler, tls=server_tls_context if tls else None)
    with httpcore.ConnectionPool(client_tls_context) as pool:
        assert pool.request("GET", server.url).content == body
        assert pool.request("GET", server.url).content == b"mine"
    assert server.accepted == 2


def test_only_the_connection_that_is_taken_is_probed() -> None:
    probed: list[str] = []

    class Probed(Script):
        def get_extra_info(self, info: str) -> Any:
            if info == "is_readable":
                probed.append(info)
            return super().get_extra_info(info)

    streams = [Probed([length(b"1")]), Probed([length(b"2"), length(b"3")])]
    with pool_of(*streams) as (pool, _):
        pool.request("GET", "http://a/")
        pool.request("GET", "http://b/")
        assert probed == []
        pool.request("GET", "http://b/")
        assert probed == ["is_readable"]


def test_all_dead_connections_of_an_origin_are_passed_over() -> None:
    streams = [stream_of(length(b"", 1), b"1"), stream_of(length(b"", 1), b"2")]
    streams.append(stream_of(length(b"3")))
    with pool_of(*streams) as (pool, _):
        for response in [pool.request("GET", "http://a/", stream=True) for _ in range(2)]:
            response.read()
        assert counts(pool) == (0, 2)
        streams[0].readable = streams[1].readable = True
        assert pool.request("GET", "http://a/").content == b"3"
        assert streams[0].closed
        assert streams[1].closed
        assert counts(pool) == (0, 1)


def test_a_connection_that_the_user_closed_is_not_used(server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        pool.connections[0].close()
        assert pool.request("GET", server.url).status == 200
    assert server.accepted == 2


# --- the one safe replay ---


def race(peer: Peer) -> None:
    """Answers one request; closes after having read the second: the keep-alive race."""
    request = peer.recv_request()
    while request is not None:
        if peer.number == 1 and peer.served == 2:
            return
        peer.respond(200, b"%d:" % peer.number + request.body)
        request = peer.recv_request()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
def test_an_idempotent_request_is_sent_again(serve: Serve, method: str) -> None:
    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if peer.number == 1 and peer.served == 2:
                return
            peer.respond(200, b"%d" % peer.number, head_only=request.method == b"HEAD")

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        response = pool.request(method, server.url)
        assert response.content == (b"" if method == "HEAD" else b"2")
        assert response.extensions["reused"] is False
        assert counts(pool) == (0, 1)


@pytest.mark.parametrize("method", ["POST", "PATCH", "get", "CONNECT-ISH"])
def test_other_requests_are_not(serve: Serve, method: str) -> None:
    server = serve(race)
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        with pytest.raises(ServerDisconnected) as caught:
            pool.request(method, server.url)
        assert caught.value.phase == "maybe_processed"
        assert counts(pool) == (0, 0)
    assert server.accepted == 1


def test_a_first_request_is_never_sent_again(server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(ServerDisconnected):
            pool.request("GET", server.url + "/drop")
    assert len(server.requests) == 1


def test_a_request_is_sent_again_only_once(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        if peer.number == 1:
            peer.respond(200)
            peer.recv_request()

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        with pytest.raises(ServerDisconnected):
            pool.request("GET", server.url)
    assert server.accepted == 2


def test_a_replay_never_meets_another_old_connection() -> None:
    old = [stream_of(length(b"", 1), b"1", b""), stream_of(length(b"", 1), b"2", b"")]
    with pool_of(*old, stream_of(length(b"3")), max_connections=2) as (pool, _):
        for response in [pool.request("GET", "http://a/", stream=True) for _ in range(2)]:
            response.read()
        assert pool.request("GET", "http://a/").content == b"3"


def test_an_answer_that_began_is_never_asked_for_again() -> None:
    with pool_of(stream_of(length(b"1"), b"HTTP/1.1 2", b"")) as (pool, backend):
        pool.request("GET", "http://a/")
        with pytest.raises(httpcore.RemoteProtocolError) as caught:
            pool.request("GET", "http://a/")
        assert caught.value.phase == "response_started"
    assert len(backend.calls) == 1


def test_a_silent_server_is_not_asked_again() -> None:
    with pool_of(stream_of(length(b"1"), httpcore.ReadTimeout("late"))) as (pool, backend):
        pool.request("GET", "http://a/")
        with pytest.raises(httpcore.ReadTimeout):
            pool.request("GET", "http://a/")
    assert len(backend.calls) == 1


class FileLike:
    """Reads, tells and seeks, as a file; `position` is where it starts."""

    def __init__(self, data: bytes, position: int) -> None:
        self.file = io.BytesIO(data)
        self.file.seek(position)
        self.read, self.tell, self.seek = self.file.read, self.file.tell, self.file.seek


@pytest.mark.parametrize("framing", [content_length(5), (b"Transfer-Encoding", b"chunked")])
@pytest.mark.parametrize("kind", [lambda data, at: data[at:], FileLike])
def test_a_body_is_sent_again_from_where_it_stood(
    serve: Serve, kind: Callable[[bytes, int], Any], framing: tuple[bytes, bytes]
) -> None:
    server = serve(race)
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        response = pool.request(
            "PUT", server.url, headers=[framing], content=kind(b"skip,hello", 5)
        )
        assert response.content == b"2:hello"


def generator() -> Iterator[bytes]:
    yield b"hello"


class NoSeek(FileLike):
    """A pipe: it tells, and cannot go back."""

    def __init__(self) -> None:
        super().__init__(b"hello", 0)

        def seek(*args: Any) -> int:
            raise OSError("Illegal seek")

        self.seek = seek


class SeeksToNone(FileLike):
    """A position that is no number cannot be gone back to."""

    def __init__(self) -> None:
        super().__init__(b"hello", 0)
        self.tell = lambda: None  # type: ignore[assignment]
        self.seek = lambda *args: None  # type: ignore[assignment]


@pytest.mark.parametrize("make", [generator, NoSeek, SeeksToNone])
def test_a_body_that_is_gone_is_not_sent_again(serve: Serve, make: Callable[[], Any]) -> None:
    server = serve(race)
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        with pytest.raises(ServerDisconnected):
            pool.request("PUT", server.url, content=make())
    assert server.accepted == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_was_not_sent_is_sent_again_whatever_it_is(method: str) -> None:
    streams = [
        stream_of(length(b"1"), writes=[None, write_error("not_sent")]),
        stream_of(length(b"2")),
    ]
    with pool_of(*streams) as (pool, _):
        pool.request("GET", "http://a/")
        assert pool.request(method, "http://a/", content=b"hello").content == b"2"
        assert sent(streams[1]) == b"hello"


def test_what_was_not_sent_of_a_generator_is_gone_all_the_same() -> None:
    stream = stream_of(length(b"1"), writes=[None, write_error("not_sent")])
    with pool_of(stream) as (pool, _):
        pool.request("GET", "http://a/")
        with pytest.raises(httpcore.WriteError):
            pool.request("POST", "http://a/", content=generator())


# --- connecting ---


def test_retries() -> None:
    failures = [
        httpcore.ConnectError("1"),
        httpcore.ConnectTimeout("2"),
        httpcore.ConnectError("3"),
    ]
    with pool_of(*failures, stream_of(length(b"ok")), retries=3) as (pool, backend):
        assert pool.request("GET", "http://a/").content == b"ok"
    assert len(backend.calls) == 4
    assert backend.slept == [0.0, 0.5, 1.0]


def test_without_retries(closed_port: int) -> None:
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(httpcore.ConnectError, match=r"\[Errno 111\] Connection refused"):
            pool.request("GET", f"http://127.0.0.1:{closed_port}/")
        assert counts(pool) == (0, 0)


def test_a_failed_connect_makes_room_for_the_next() -> None:
    backend = Backend(httpcore.ConnectError("no"), stream_of(length(b"2")))
    with httpcore.ConnectionPool(max_connections=1, network_backend=backend) as pool:
        with pytest.raises(httpcore.ConnectError):
            pool.request("GET", "http://a/")
        assert pool.request("GET", "http://a/").content == b"2"


def test_an_interrupted_connect_makes_room_for_the_next() -> None:
    backend = Backend(KeyboardInterrupt(), stream_of(length(b"2")))
    with httpcore.ConnectionPool(max_connections=1, network_backend=backend) as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.request("GET", "http://a/")
        assert pool.request("GET", "http://a/").content == b"2"


def test_what_the_backend_is_asked_for() -> None:
    options = [(1, 2, 3)]
    with pool_of(
        stream_of(length(b"1")), local_address="127.0.0.2", socket_options=iter(options)
    ) as (pool, backend):
        pool.request("GET", "http://a:81/")
    assert backend.calls == [
        (
            "tcp",
            {
                "host": "a",
                "port": 81,
                "local_address": "127.0.0.2",
                "timeout": None,
                "socket_options": options,
            },
        )
    ]


def test_socket_options_from_an_iterator_serve_every_connection() -> None:
    options = [(1, 2, 3)]
    streams = [stream_of(length(b"1")), stream_of(length(b"2"))]
    with pool_of(*streams, socket_options=iter(options)) as (pool, backend):
        pool.request("GET", "http://a/")
        pool.request("GET", "http://b/")
    assert [call["socket_options"] for _, call in backend.calls] == [options, options]


def test_uds(serve: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    server = serve(lambda peer: peer.recv_request() and peer.respond(200, b"by path"), uds=path)
    with httpcore.ConnectionPool(uds=path) as pool:
        response = pool.request("GET", "http://whatever.example/")
        assert response.content == b"by path"
    assert server.accepted == 1


def test_uds_asks_the_backend() -> None:
    with pool_of(stream_of(length(b"1")), uds="/s") as (pool, backend):
        pool.request("GET", "http://a/")
    assert backend.calls == [("unix", {"path": "/s", "timeout": None, "socket_options": None})]


def test_the_connect_timeout_covers_tcp_and_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(dialing, "time", clock)
    given: list[float | None] = []

    class Slow(Backend):
        def connect_tcp(self, *args: Any, **kwargs: Any) -> Any:
            given.append(kwargs["timeout"])
            clock.now += 2
            return super().connect_tcp(*args, **kwargs)

    class Secure(Script):
        def start_tls(self, *args: Any, **kwargs: Any) -> Any:
            given.append(kwargs["timeout"])
            return self

    for seconds, left in ((5.0, 3.0), (1.0, MIN_STEP)):
        given.clear()
        with httpcore.ConnectionPool(network_backend=Slow(Secure([length(b"1")]))) as pool:
            pool.request("GET", "https://a/", extensions={"timeout": {"connect": seconds}})
        assert given == [seconds, left]


def test_each_retry_has_its_own_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(connection_module, "time", clock)

    class Slow(Backend):
        def _next(self, kind: str, **arguments: Any) -> Any:
            clock.now += 5
            return super()._next(kind, **arguments)

    backend = Slow(httpcore.ConnectTimeout("1"), stream_of(length(b"1")))
    with httpcore.ConnectionPool(network_backend=backend, retries=1) as pool:
        pool.request("GET", "http://a/", extensions={"timeout": {"connect": 5.0}})
    assert [call["timeout"] for _, call in backend.calls] == [5.0, 5.0]


class Secure(Script):
    """A stream that can be put under TLS; `protocol` is what ALPN chose."""

    protocol: str | None = "http/1.1"
    tls_arguments: dict[str, Any] | None = None

    def start_tls(self, *args: Any, **kwargs: Any) -> Any:
        assert not args
        self.tls_arguments = kwargs
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return SimpleNamespace(selected_alpn_protocol=lambda: self.protocol)
        return super().get_extra_info(info)


def test_http2_that_this_network_cannot_carry() -> None:
    stream = Secure([])
    stream.protocol = "h2"
    with pool_of(stream) as (pool, backend):
        backend.speaks_http2 = False
        with pytest.raises(httpcore.RemoteProtocolError, match=r"chose HTTP/2, which .* cannot"):
            pool.request("GET", "https://a/")
        assert counts(pool) == (0, 0)
    assert stream.closed


def test_a_failed_handshake_closes_the_stream() -> None:
    class Refusing(Script):
        def start_tls(self, *args: Any, **kwargs: Any) -> Any:
            raise httpcore.ConnectError("alert")

    streams = [Refusing([]), Refusing([])]
    with pool_of(*streams, retries=1) as (pool, _):
        with pytest.raises(httpcore.ConnectError, match="alert"):
            pool.request("GET", "https://a/")
        assert counts(pool) == (0, 0)
    assert [stream.closed for stream in streams] == [True, True]


def test_create_connection_can_be_replaced() -> None:
    class Pool(httpcore.ConnectionPool):
        def create_connection(self, origin: httpcore.Origin) -> httpcore.HTTPConnection:
            made.append(origin)
            return super().create_connection(origin)

    made: list[httpcore.Origin] = []
    with Pool(network_backend=Backend(stream_of(length(b"1")))) as pool:
        pool.request("GET", "http://a/")
    assert made == [httpcore.Origin(b"http", b"a", 80)]


# --- TLS settings ---


def test_a_context_of_the_requests_own_never_shares_a_connection(
    tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    careless = httpcore.create_ssl_context(False)
    with httpcore.ConnectionPool(client_tls_context) as pool:
        for context in (None, careless, None, careless, client_tls_context):
            extensions = {} if context is None else {"ssl_context": context}
            pool.request("GET", tls_server.url, extensions=extensions)
    # The pool's own context given once more is still the same context.
    assert [request.connection for request in tls_server.requests] == [1, 2, 1, 2, 1]


def test_a_connection_that_was_not_verified_serves_no_request_that_verifies(
    tls_server: LocalServer,
) -> None:
    careless = httpcore.create_ssl_context(False)
    with httpcore.ConnectionPool() as pool:  # certifi's roots: the test CA is not among them
        pool.request("GET", tls_server.url, extensions={"ssl_context": careless})
        with pytest.raises(TLSError, match="CERTIFICATE_VERIFY_FAILED"):
            pool.request("GET", tls_server.url)
        assert counts(pool) == (0, 1)


def test_a_context_means_nothing_without_tls(server: LocalServer) -> None:
    extensions = {"ssl_context": "nonsense", "sni_hostname": "nonsense"}
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        pool.request("GET", server.url, extensions=extensions)
    assert server.accepted == 1


@pytest.mark.parametrize("name", ["b.example.test", b"b.example.test"])
def test_sni_hostname(
    tls_server: LocalServer,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    name: Any,
) -> None:
    named: list[str | None] = []
    server_tls_context.sni_callback = lambda sock, sni, context: named.append(sni)
    try:
        with httpcore.ConnectionPool(client_tls_context) as pool:
            for extensions in ({}, {"sni_hostname": name}, {}, {"sni_hostname": name}):
                pool.request("GET", tls_server.url, extensions=extensions)
    finally:
        server_tls_context.sni_callback = None
    # SNI carries names only (RFC 6066 section 3); the certificate was checked against each.
    assert named == [None, "b.example.test"]
    assert [request.connection for request in tls_server.requests] == [1, 2, 1, 2]


def test_sni_hostname_with_a_context_of_the_requests_own() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stream = Secure([length(b"1")])
    with pool_of(stream) as (pool, _):
        pool.request("GET", "https://a/", extensions={"ssl_context": context, "sni_hostname": "b"})
    assert stream.tls_arguments == {
        "ssl_context": context,
        "server_hostname": "b",
        "timeout": None,
    }


def test_the_default_context_verifies() -> None:
    stream = Secure([length(b"1")])
    with pool_of(stream) as (pool, _):
        pool.request("GET", "https://a/")
    assert stream.tls_arguments is not None
    assert stream.tls_arguments["ssl_context"] is httpcore.default_ssl_context()
    assert stream.tls_arguments["server_hostname"] == "a"


# --- request() and stream() ---


def echoed(response: httpcore.Response) -> Any:
    return json.loads(response.read())


@pytest.mark.parametrize("name", ["content", "body"])
@pytest.mark.parametrize(
    ("content", "framing"),
    [
        (b"hello", ["Content-Length", "5"]),
        (io.BytesIO(b"hello"), ["Content-Length", "5"]),
        ([b"he", b"llo"], ["Transfer-Encoding", "chunked"]),
    ],
)
def test_request_with_a_body(
    server: LocalServer, name: str, content: Any, framing: list[str]
) -> None:
    if isinstance(content, io.BytesIO):
        content.seek(0)
    with httpcore.ConnectionPool() as pool:
        response = pool.request("POST", server.url + "/echo", **{name: content})
        seen = echoed(response)
    assert seen["body"] == "hello"
    assert seen["headers"] == [["Host", f"127.0.0.1:{server.port}"], framing]
    assert response.body == response.content


def test_request_with_both_names_of_a_body(server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(TypeError, match="content and body are two names of one thing"):
            pool.request("POST", server.url, content=b"a", body=b"b")
    assert server.accepted == 0


@pytest.mark.parametrize("kind", [str, lambda url: url.encode(), httpcore.URL])
@pytest.mark.parametrize("method", ["GET", b"GET"])
def test_request_spellings(server: LocalServer, kind: Callable[[str], Any], method: Any) -> None:
    with httpcore.ConnectionPool() as pool:
        response = pool.request(method, kind(server.url + "/echo?x=1"), headers={"A": "1"})
    seen = echoed(response)
    assert (seen["method"], seen["target"]) == ("GET", "/echo?x=1")
    assert ["A", "1"] in seen["headers"]


def test_request_reads_the_response_unless_asked_not_to(server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        response = pool.request("GET", server.url + "/bytes/200000", stream=True)
        assert counts(pool) == (1, 0)
        with pytest.raises(RuntimeError, match="not there yet"):
            _ = response.content
        assert b"".join(response.stream()) == pattern(200_000)
        assert counts(pool) == (0, 1)
        response = pool.request("GET", server.url + "/bytes/200000")
        assert counts(pool) == (0, 1)
        assert response.content == pattern(200_000)


def test_stream_closes_the_response_on_leaving(server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        with pool.stream("GET", server.url + "/bytes/10000000") as response:
            first = next(response.iter_stream())
            assert pattern(10_000_000).startswith(first)
        assert response.stream.closed
        assert counts(pool) == (0, 0)
        with pytest.raises(RuntimeError, match="mine"):
            with pool.stream("GET", server.url + "/drip/100?delay=0.001"):
                raise RuntimeError("mine")
        assert counts(pool) == (0, 0)


def test_handle_request_sends_what_it_is_given(server: LocalServer) -> None:
    headers = [("host", "other.example"), ("X", "1")]
    with httpcore.ConnectionPool() as pool:
        response = pool.handle_request(
            httpcore.Request("GET", server.url + "/echo", headers=headers)
        )
        assert counts(pool) == (1, 0) or response.stream.complete
        assert echoed(response)["headers"] == [list(pair) for pair in headers]


def test_target_extension() -> None:
    stream = stream_of(length(b""))
    with pool_of(stream) as (pool, _):
        pool.request("OPTIONS", "http://a/", extensions={"target": b"*"})
    assert stream.written[0].startswith(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n")


def test_parsing() -> None:
    odd = b"HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 0\r\n\r\n"
    with pool_of(stream_of(odd), parsing="lenient") as (pool, _):
        assert (b"X", b"1") in pool.request("GET", "http://a/").headers
    with pool_of(stream_of(odd)) as (pool, _):
        with pytest.raises(httpcore.RemoteProtocolError):
            pool.request("GET", "http://a/")


def test_top_level_request(server: LocalServer) -> None:
    response = httpcore.request(
        "POST", server.url + "/echo", headers={"A": "1"}, body=b"hello", extensions=PATIENT
    )
    assert echoed(response)["body"] == "hello"
    assert server.wait_for(lambda: server.open == 0)


def test_top_level_request_unread(server: LocalServer) -> None:
    response = httpcore.request("GET", server.url + "/bytes/300000", stream=True)
    assert response.read() == pattern(300_000)
    assert server.wait_for(lambda: server.open == 0)


def test_top_level_stream(server: LocalServer) -> None:
    with httpcore.stream("PUT", server.url + "/echo", content=b"hello") as response:
        assert echoed(response)["body"] == "hello"
    with httpcore.stream("GET", server.url + "/bytes/10000000") as response:
        assert response.status == 200
    assert server.wait_for(lambda: server.open == 0)


def test_interfaces_name_what_they_lack() -> None:
    class Mine(httpcore.ConnectionInterface):
        pass

    mine = Mine()
    origin = httpcore.Origin(b"http", b"a", 80)
    for name, arguments in [
        ("close", ()),
        ("info", ()),
        ("can_handle_request", (origin,)),
        ("is_available", ()),
        ("has_expired", ()),
        ("is_idle", ()),
        ("is_closed", ()),
        ("handle_request", (httpcore.Request("GET", "http://a/"),)),
    ]:
        with pytest.raises(NotImplementedError, match=rf"Mine does not implement {name}\(\)"):
            getattr(mine, name)(*arguments)


# --- requests that cannot be sent ---


async def asynchronous() -> Any:
    yield b"hello"


BAD = [
    ({"url": "example.com"}, httpcore.UnsupportedProtocol),
    ({"url": "ftp://example.com/"}, httpcore.UnsupportedProtocol),
    ({"url": "http://"}, httpcore.LocalProtocolError),
    ({"url": ""}, httpcore.UnsupportedProtocol),
    ({"url": 5}, TypeError),
    ({"url": httpcore.URL(host="a")}, httpcore.UnsupportedProtocol),
    ({"method": "G\r\nT"}, httpcore.LocalProtocolError),
    ({"method": 5}, TypeError),
    ({"method": ""}, httpcore.LocalProtocolError),
    ({"headers": {"A": "1\r\nB: 2"}}, httpcore.LocalProtocolError),
    ({"headers": {"A:": "1"}}, httpcore.LocalProtocolError),
    ({"headers": {"A": 1}}, TypeError),
    ({"headers": {"Content-Length": "5"}}, httpcore.LocalProtocolError),
    ({"content": "text"}, TypeError),
    ({"content": io.StringIO("text")}, TypeError),
    ({"content": ["text"]}, TypeError),
    ({"content": asynchronous()}, TypeError),
    ({"content": b"hello", "headers": {"Content-Length": "4"}}, httpcore.LocalProtocolError),
    ({"content": [b"hello"], "headers": {"Content-Length": "4"}}, httpcore.LocalProtocolError),
    ({"extensions": {"timeout": 5}}, TypeError),
    ({"extensions": {"timeout": {"read": -1}}}, httpcore.LocalProtocolError),
    ({"extensions": {"timeout": {"connect": "5"}}}, TypeError),
    ({"extensions": {"trace": "yes"}}, TypeError),
    ({"extensions": {"target": b"/a b"}}, httpcore.LocalProtocolError),
    ({"extensions": {"proxy": "http://proxy"}}, TypeError),
    ({"extensions": {"proxy": httpcore.Proxy("ftp://proxy")}}, httpcore.UnsupportedProtocol),
    ({"extensions": {"uds": 3}}, TypeError),
    ({"extensions": {"uds": b"/run/socket"}}, TypeError),
]


@pytest.mark.parametrize(("arguments", "error"), BAD)
def test_a_bad_request_leaves_the_pool_and_its_connection_alone(
    server: LocalServer, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with httpcore.ConnectionPool(max_connections=1) as pool:
        pool.request("GET", server.url)
        with pytest.raises(error):
            pool.request(**{"method": "POST", "url": server.url, **arguments})
        assert counts(pool) == (0, 1)
        pool.request("GET", server.url)
    assert [request.method for request in server.requests] == [b"GET", b"GET"]
    assert server.accepted == 1


def test_a_context_that_is_none(tls_server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(
            TypeError, match=r"extensions\['ssl_context'\] must be an ssl.SSLContext, not str"
        ):
            pool.request("GET", tls_server.url, extensions={"ssl_context": "certs.pem"})
        assert counts(pool) == (0, 0)
    assert tls_server.accepted == 0


# --- arguments of the pool ---


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"max_connections": 0}, ValueError, "max_connections must be at least 1, got 0"),
        (
            {"max_connections": "5"},
            TypeError,
            "max_connections must be an integer or None, not str",
        ),
        ({"max_connections": True}, TypeError, "max_connections must be an integer or None"),
        ({"max_keepalive_connections": -1}, ValueError, "max_keepalive_connections must be at"),
        ({"max_connections_per_host": 0}, ValueError, "max_connections_per_host must be at"),
        ({"retries": -1}, ValueError, "retries must be at least 0"),
        (
            {"retries": 1.5},
            TypeError,
            "retries must be an integer, a RetryConfig or None, not float",
        ),
        ({"keepalive_expiry": -1}, ValueError, "keepalive_expiry must not be negative"),
        ({"max_age": "5"}, TypeError, "max_age must be a number"),
        ({"parsing": "loose"}, ValueError, "parsing must be 'strict' or 'lenient', not 'loose'"),
        ({"http1": False}, ValueError, "http1 and http2 are both False"),
        ({"ping_interval": 0}, ValueError, "ping_interval not zero"),
        ({"ping_timeout": None}, ValueError, "ping_timeout must be a number"),
        ({"proxy": "http://p"}, TypeError, "a proxy must be an httpcore.Proxy or None, not str"),
        (
            {"proxy": httpcore.Proxy("socks5://p", auth=("u", "p" * 256))},
            httpcore.LocalProtocolError,
            "the password for a SOCKS 5 proxy has 256 bytes; 1 to 255 can be sent",
        ),
        (
            {"proxy": httpcore.Proxy("http://p"), "uds": "/s"},
            ValueError,
            "proxy and uds exclude each other",
        ),
    ],
)
def test_arguments_that_cannot_be(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        httpcore.ConnectionPool(**arguments)


def test_arguments_of_httpx() -> None:
    """What HTTPX 0.28 passes, limits switched off."""
    with httpcore.ConnectionPool(
        ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        max_connections=None,
        max_keepalive_connections=None,
        keepalive_expiry=None,
        http1=True,
        http2=False,
        uds=None,
        local_address=None,
        retries=0,
        socket_options=None,
    ) as pool:
        assert counts(pool) == (0, 0)


def test_retries_none_means_none() -> None:
    with pool_of(httpcore.ConnectError("no"), retries=None) as (pool, backend):
        with pytest.raises(httpcore.ConnectError):
            pool.request("GET", "http://a/")
    assert len(backend.calls) == 1


# --- PoolManager ---


def test_pool_manager(server: LocalServer) -> None:
    with httpcore.PoolManager() as pool:
        response = pool.request("GET", server.url + "/bytes/10")
        assert (response.status_code, response.body) == (200, pattern(10))
        assert repr(pool).startswith("<PoolManager [Requests: 0 active")
    assert server.wait_for(lambda: server.open == 0)


def test_pool_manager_verifies(tls_server: LocalServer, ca_bundle: str) -> None:
    with httpcore.PoolManager() as pool:
        with pytest.raises(TLSError, match="CERTIFICATE_VERIFY_FAILED"):
            pool.request("GET", tls_server.url)
    for verify in (ca_bundle, False):
        with httpcore.PoolManager(ssl=httpcore.SSLConfig(verify=verify)) as pool:
            assert pool.request("GET", tls_server.url).status == 200


def test_pool_manager_shows_a_certificate(
    serve: Serve, mutual_tls_context: ssl.SSLContext, ca_bundle: str, client_cert: ClientCert
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.respond(200, repr(peer.client_certificate).encode())

    server = serve(handler, tls=mutual_tls_context)
    config = httpcore.SSLConfig(cert=(client_cert.cert, client_cert.key), verify=ca_bundle)
    with httpcore.PoolManager(ssl=config) as pool:
        assert b"client@example.test" in pool.request("GET", server.url).content


def test_pool_manager_names_a_missing_file(tls_server: LocalServer) -> None:
    config = httpcore.SSLConfig(verify="/no/such/ca.pem")
    with httpcore.PoolManager(ssl=config) as pool:
        with pytest.raises(FileNotFoundError, match=r"/no/such/ca\.pem"):
            pool.request("GET", tls_server.url)
        assert counts(pool) == (0, 0)


def test_pool_manager_timeouts(server: LocalServer) -> None:
    with httpcore.PoolManager(timeout=httpcore.TimeoutConfig(PATIENCE, read_timeout=0.01)) as pool:
        with pytest.raises(httpcore.ReadTimeout, match=r"within 0\.01 s"):
            pool.request("GET", server.url + "/hang")
        with pytest.raises(httpcore.ReadTimeout, match=r"within 0\.02 s"):
            pool.request("GET", server.url + "/hang", extensions={"timeout": {"read": 0.02}})
        assert counts(pool) == (0, 0)


def test_pool_manager_limits(server: LocalServer) -> None:
    limits = httpcore.PoolLimits(max_hosts=2, conns_per_host=1, hard_limit=True)
    timeout = httpcore.TimeoutConfig(PATIENCE, pool_timeout=0.01)
    with httpcore.PoolManager(limits=limits, timeout=timeout) as pool:
        with pool.stream("GET", server.url + "/bytes/1000000"):
            with pytest.raises(httpcore.PoolTimeout, match="max_connections_per_host=1"):
                pool.request("GET", server.url)


def test_pool_manager_without_a_hard_limit_opens_more(server: LocalServer) -> None:
    with httpcore.PoolManager(limits=httpcore.PoolLimits(1, 1)) as pool:
        responses = [pool.request("GET", server.url, stream=True) for _ in range(3)]
        for response in responses:
            response.read()
        assert counts(pool) == (0, 1)


@pytest.mark.parametrize("name", ["ssl", "timeout", "limits"])
def test_pool_manager_wants_its_config_objects(name: str) -> None:
    wrong: dict[str, Any] = {name: 5}
    with pytest.raises(TypeError, match=f"{name} must be a (SSLConfig|TimeoutConfig|PoolLimits)"):
        httpcore.PoolManager(**wrong)


# --- closing ---


def test_retire_ends_idle_connections_now_and_busy_ones_later() -> None:
    streams = [stream_of(length(b"1")), stream_of(length(b"", 1), b"2")]
    pool = httpcore.ConnectionPool(network_backend=Backend(*streams))
    pool.request("GET", "http://a/")
    response = pool.request("GET", "http://b/", stream=True)
    pool.retire()
    assert [stream.closed for stream in streams] == [True, False]
    assert counts(pool) == (1, 0)
    assert response.read() == b"2"
    assert streams[1].closed
    assert counts(pool) == (0, 0)
    pool.retire()


def test_retire_lets_those_who_wait_finish() -> None:
    streams = [stream_of(length(b"", 1), b"1"), stream_of(length(b"2"), length(b"3"))]
    pool = WatchedPool(max_connections=1, network_backend=Backend(*streams))
    response = pool.request("GET", "http://a/", stream=True)
    threads = [pool.in_background("http://a/") for _ in range(2)]
    pool.retire()
    assert response.read() == b"1"
    assert streams[0].closed
    assert [thread.result().content for thread in threads] == [b"2", b"3"]
    pool.retire()
    assert streams[1].closed


def test_retire_meets_connections_that_are_being_opened() -> None:
    class Closing(Backend):
        def connect_tcp(self, *args: Any, **kwargs: Any) -> Any:
            pool.retire()
            return super().connect_tcp(*args, **kwargs)

    stream = stream_of(length(b"1"))
    with httpcore.ConnectionPool(network_backend=Closing(stream)) as pool:
        assert pool.request("GET", "http://a/").content == b"1"
        assert stream.closed


def test_closing_the_pool_just_before_a_connection_is_used(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request ends, as all others do, and does not open another one."""
    is_usable = HTTP11Connection.is_usable

    def close_first(connection: HTTP11Connection, idle_for: float) -> bool:
        pool.close()
        return is_usable(connection, idle_for)

    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        with monkeypatch.context() as patch:
            patch.setattr(HTTP11Connection, "is_usable", close_first)
            with pytest.raises(Aborted, match="was ended by a close or a CancelToken"):
                pool.request("GET", server.url)
        assert pool.stats()["totals"]["opened"] == 1
        assert pool.request("GET", server.url).status == 200


def test_a_closed_pool_can_be_used_again() -> None:
    streams = [stream_of(length(b"1")), stream_of(length(b"2"), length(b"3"))]
    with pool_of(*streams) as (pool, _):
        pool.request("GET", "http://a/")
        pool.close()
        assert streams[0].closed
        assert [pool.request("GET", "http://a/").content for _ in range(2)] == [b"2", b"3"]
        assert counts(pool) == (0, 1)
    assert streams[1].closed


# --- responses that are dropped ---


def drop_unread(pool: httpcore.ConnectionPool) -> None:
    """Take a response and let go of it."""
    response = pool.request("GET", "http://a/unread", stream=True)
    assert counts(pool)[0] == 1
    del response
    gc.collect()


def drop_while_locked(pool: httpcore.ConnectionPool, responses: list[httpcore.Response]) -> None:
    """Let go of a response as if the garbage collector ran inside an operation of the pool."""
    with pool._slots.lock:
        responses.clear()
        gc.collect()


def test_dropping_an_unread_response_warns_once_and_frees_its_place() -> None:
    streams = [stream_of(length(b"", 1)), stream_of(length(b"2"))]
    with pool_of(*streams, max_connections=1) as (pool, _):
        with pytest.warns(ResourceWarning, match="unread response to GET /unread") as caught:
            drop_unread(pool)
        assert len(caught) == 1
        assert streams[0].closed
        assert counts(pool) == (0, 0)
        assert pool.request("GET", "http://a/").content == b"2"


def test_dropping_responses_that_were_read_or_closed_is_silent() -> None:
    streams = [stream_of(length(b"1")), stream_of(length(b"", 1)), stream_of(b"")]
    with pool_of(*streams) as (pool, _), warnings.catch_warnings():
        warnings.simplefilter("error")
        pool.request("GET", "http://a/", stream=True)  # arrived as a whole
        pool.request("GET", "http://b/", stream=True).close()
        with pytest.raises(ServerDisconnected):
            pool.request("GET", "http://c/")
        gc.collect()
        assert counts(pool) == (0, 1)


def test_a_response_dropped_while_the_pool_is_busy_is_found_later() -> None:
    streams = [stream_of(length(b"", 1)), stream_of(length(b"2"))]
    with pool_of(*streams, max_connections=1) as (pool, _):
        responses = [pool.request("GET", "http://a/unread", stream=True)]
        with pytest.warns(ResourceWarning, match="unread response"):
            drop_while_locked(pool, responses)
        assert pool.request("GET", "http://a/", extensions=PATIENT).content == b"2"
        assert streams[0].closed


def test_a_response_dropped_while_the_pool_is_busy_makes_room_for_who_waits() -> None:
    streams = [stream_of(length(b"", 1)), stream_of(length(b"2"))]
    with WatchedPool(max_connections=1, network_backend=Backend(*streams)) as pool:
        responses = [pool.request("GET", "http://a/unread", stream=True)]
        thread = pool.in_background("http://a/", extensions={"timeout": {"pool": 3.0}})
        with pytest.warns(ResourceWarning, match="unread response"):
            drop_while_locked(pool, responses)
        # Nobody else sends a request now: who waits must find it.
        assert thread.result().content == b"2"


def test_a_place_that_is_dropped_before_its_response_is_freed_silently() -> None:
    request = httpcore.Request("GET", "http://a/")
    with pool_of() as (pool, _), warnings.catch_warnings():
        warnings.simplefilter("error")
        body = ResponseBody(pool._slots, request)
        pool._slots.scheduler.acquire(find_route(request, pool._settings), body, 0.0)
        assert counts(pool) == (1, 0)
        del body
        assert counts(pool) == (0, 0)


# --- changing hands ---


def test_an_upgraded_connection_leaves_the_pool() -> None:
    streams = [stream_of(SWITCH + b"frame"), stream_of(length(b"2"))]
    with pool_of(*streams, max_connections=1) as (pool, _):
        with pool.stream("GET", "http://a/", headers=UPGRADE) as response:
            assert response.status == 101
            assert counts(pool) == (0, 0)
            assert pool.request("GET", "http://a/").content == b"2"
            network = response.extensions["network_stream"]
            assert network.read(100) == b"frame"
            assert not streams[0].closed
        assert streams[0].closed


def test_an_upgraded_connection_makes_room_for_who_waits() -> None:
    go_on = threading.Event()

    def switch() -> bytes:
        assert go_on.wait(PATIENCE)
        return SWITCH

    streams = [stream_of(switch), stream_of(length(b"2"))]
    with WatchedPool(max_connections=1, network_backend=Backend(*streams)) as pool:
        upgrading = Thread(lambda: pool.request("GET", "http://a/", headers=UPGRADE, stream=True))
        while counts(pool)[0] == 0:  # the other thread is about to take it
            upgrading.join(0.001)
        waiting = pool.in_background("http://a/")
        go_on.set()
        assert waiting.result().content == b"2"
        response = upgrading.result()
        assert not streams[0].closed
        response.close()
    assert streams[0].closed


# --- tracing ---


def test_trace_of_a_new_and_a_used_connection() -> None:
    trace = Trace()
    stream = Secure([length(b"1"), length(b"2")])
    with pool_of(stream, socket_options=[(1, 2, 3)]) as (pool, _):
        pool.request("GET", "https://a/", extensions={"trace": trace})
        opening = [
            (
                "connection.connect_tcp.started",
                ["host", "local_address", "port", "socket_options", "timeout"],
            ),
            ("connection.connect_tcp.complete", ["return_value"]),
            ("connection.start_tls.started", ["server_hostname", "ssl_context", "timeout"]),
            ("connection.start_tls.complete", ["return_value"]),
        ]
        assert trace.events[:4] == opening
        assert trace.events[-2:] == RESPONSE_CLOSED
        assert trace.payloads["connection.connect_tcp.started"]["host"] == "a"
        assert trace.payloads["connection.connect_tcp.complete"]["return_value"] is stream
        used = Trace()
        pool.request("GET", "https://a/", extensions={"trace": used})
        assert used.events == trace.events[4:]


def test_trace_of_unix_sockets_failures_and_retries() -> None:
    trace = Trace()
    failures = [httpcore.ConnectError("1"), httpcore.ConnectError("2")]
    with pool_of(*failures, stream_of(length(b"1")), uds="/s", retries=2) as (pool, _):
        pool.request("GET", "http://a/", extensions={"trace": trace})
    started = ("connection.connect_unix_socket.started", ["path", "socket_options", "timeout"])
    failed = ("connection.connect_unix_socket.failed", ["exception"])
    assert trace.events[:10] == [
        started,
        failed,
        ("connection.retry.started", ["seconds"]),
        ("connection.retry.complete", ["return_value"]),
        started,
        failed,
        ("connection.retry.started", ["seconds"]),
        ("connection.retry.complete", ["return_value"]),
        started,
        ("connection.connect_unix_socket.complete", ["return_value"]),
    ]
    assert trace.payloads["connection.connect_unix_socket.failed"]["exception"] is failures[1]


@pytest.mark.parametrize(
    "event", ["connect_tcp.complete", "start_tls.started", "start_tls.complete"]
)
def test_a_trace_that_fails_while_connecting_leaves_no_stream_open(event: str) -> None:
    def trace(name: str, info: dict[str, Any]) -> None:
        if name == f"connection.{event}":
            raise RuntimeError("mine")

    stream = Secure([])
    with pool_of(stream) as (pool, _):
        with pytest.raises(RuntimeError, match="mine"):
            pool.request("GET", "https://a/", extensions={"trace": trace})
        assert counts(pool) == (0, 0)
    assert stream.closed


def test_a_trace_that_fails_after_the_end_closes_nobody_elses_connection() -> None:
    """The connection was given back, and who waited for it uses it already."""
    received = threading.Event()
    answer = threading.Event()

    def second() -> bytes:
        received.set()
        assert answer.wait(PATIENCE)
        return length(b"2")

    def trace(name: str, info: dict[str, Any]) -> None:
        if name == "http11.response_closed.complete":
            assert received.wait(PATIENCE)
            raise RuntimeError("mine")

    def first() -> bytes:
        waiting.append(pool.in_background("http://a/"))
        return length(b"1")

    waiting: list[Thread] = []
    with WatchedPool(max_connections=1, network_backend=Backend(stream_of(first, second))) as pool:
        with pytest.raises(RuntimeError, match="mine"):
            pool.request("GET", "http://a/", extensions={"trace": trace})
        answer.set()
        assert waiting[0].result().content == b"2"
        assert counts(pool) == (0, 1)
        assert pool.connections[0].is_idle()


def test_reused_is_about_this_request_not_about_the_next() -> None:
    """By the time the response is made, the connection may serve somebody else."""

    def trace(name: str, info: dict[str, Any]) -> None:
        if name == "http11.response_closed.complete":
            assert pool.request("GET", "http://a/").content == b"2"

    with pool_of(stream_of(length(b"1"), length(b"2"))) as (pool, backend):
        response = pool.request("GET", "http://a/", extensions={"trace": trace})
        assert response.content == b"1"
        assert len(backend.calls) == 1
        assert response.extensions["reused"] is False


# --- HTTPConnection ---

ORIGIN = httpcore.Origin(b"http", b"a", 80)


def test_http_connection_opens_itself() -> None:
    stream = stream_of(length(b"1"), length(b"", 1), b"2")
    backend = Backend(stream)
    connection = httpcore.HTTPConnection(ORIGIN, network_backend=backend)
    assert repr(connection) == "<HTTPConnection [CONNECTING]>"
    assert connection.info() == "CONNECTING"
    assert connection.can_handle_request(ORIGIN)
    states = ("is_available", "has_expired", "is_idle", "is_closed")
    assert [getattr(connection, state)() for state in states] == [False] * 4
    assert connection.request("GET", "http://a/").content == b"1"
    assert connection.info() == "'http://a:80', HTTP/1.1, IDLE, Request Count: 1"
    assert [getattr(connection, state)() for state in states] == [True, False, True, False]
    with connection as same:
        assert same is connection
        with connection.stream("GET", "http://a/") as response:
            assert not connection.is_available()
            with pytest.raises(httpcore.ConnectionNotAvailable):
                connection.request("GET", "http://a/")
            assert response.read() == b"2"
    assert connection.is_closed()
    assert stream.closed
    assert len(backend.calls) == 1


def test_http_connection_that_cannot_be_opened() -> None:
    connection = httpcore.HTTPConnection(
        ORIGIN, network_backend=Backend(httpcore.ConnectError("no")), retries=0
    )
    with pytest.raises(httpcore.ConnectError):
        connection.request("GET", "http://a/")
    assert connection.info() == "CONNECTION FAILED"
    assert repr(connection) == "<HTTPConnection [CONNECTION FAILED]>"
    assert (connection.has_expired(), connection.is_idle(), connection.is_closed()) == (True,) * 3
    assert not connection.is_available()
    connection.close()


def test_http_connection_refuses_other_origins_before_it_connects() -> None:
    backend = Backend(stream_of())
    connection = httpcore.HTTPConnection(ORIGIN, network_backend=backend)
    with pytest.raises(RuntimeError, match="http://b:80"):
        connection.request("GET", "http://b/")
    assert backend.calls == []


def test_http_connection_passes_timeouts_on() -> None:
    backend = Backend(stream_of(length(b"1")))
    connection = httpcore.HTTPConnection(ORIGIN, uds="/s", network_backend=backend)
    with closing(connection):
        connection.request("GET", "http://a/", extensions={"timeout": {"connect": 5.0}})
    [(kind, arguments)] = backend.calls
    assert kind == "unix"
    assert 0 < arguments["timeout"] <= 5.0


def test_http_connection_with_its_own_context() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stream = Secure([length(b"1")])
    origin = httpcore.Origin(b"https", b"a", 443)
    connection = httpcore.HTTPConnection(origin, context, network_backend=Backend(stream))
    with closing(connection):
        connection.request("GET", "https://a/")
    assert stream.tls_arguments is not None
    assert stream.tls_arguments["ssl_context"] is context


def test_an_http_connection_that_may_speak_nothing() -> None:
    with pytest.raises(ValueError, match="http1 and http2 are both False"):
        httpcore.HTTPConnection(httpcore.Origin(b"https", b"example.com", 443), http1=False)


def test_http_connection_on_the_wire(server: LocalServer) -> None:
    origin = httpcore.URL(server.url).origin
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)]
    with httpcore.HTTPConnection(origin, socket_options=options) as connection:
        response = connection.request("GET", server.url + "/bytes/10")
        assert response.content == pattern(10)
        network = response.extensions["network_stream"]
        assert network.get_extra_info("server_addr") == ("127.0.0.1", server.port)
        sock = network.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
    assert server.wait_for(lambda: server.open == 0)


class CannotClose(Script):
    def close(self) -> None:
        super().close()
        raise OSError("no")


@pytest.mark.parametrize("reads", [[b""], [length(b"", 9), b"half"], [length(b"done") + b"more"]])
def test_a_stream_that_cannot_be_closed_costs_no_slot(reads: list[bytes]) -> None:
    streams = [CannotClose(reads), CannotClose([length(b"ok")])]
    with httpcore.ConnectionPool(max_connections=1, network_backend=Backend(*streams)) as pool:
        response = None
        try:
            response = pool.request("POST", "http://a/", stream=True)
            response.stream.read1(2)
            response.close()
        except httpcore.RemoteProtocolError:
            assert response is None
        assert counts(pool) == (0, 0)
        assert pool.request("GET", "http://a/").content == b"ok"
    assert all(stream.closed for stream in streams)


# --- replays that fail in their turn ---


class SecondRefused(httpcore.SyncBackend):
    """Connects once."""

    def __init__(self) -> None:
        super().__init__()
        self.tried = 0

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        self.tried += 1
        if self.tried > 1:
            raise httpcore.ConnectError("refused")
        return super().connect_tcp(*args, **kwargs)


def one_answer_then_none(peer: Peer) -> None:
    peer.recv_request()
    peer.respond(200)
    peer.recv_request()


def test_a_failed_replay_does_not_say_that_nothing_was_sent(serve: Serve) -> None:
    """The first attempt may have been processed, whatever became of the second."""
    server = serve(one_answer_then_none)
    with httpcore.ConnectionPool(network_backend=SecondRefused()) as pool:
        pool.request("GET", server.url)
        with pytest.raises(httpcore.ConnectError) as caught:
            pool.request("PUT", server.url, content=b"x")
    assert caught.value.phase == "maybe_processed"


def test_an_aborted_replay_does_not_say_so_either(serve: Serve) -> None:
    token = httpcore.CancelToken()

    class Aborting(SecondRefused):
        def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
            if self.tried:
                token.cancel()
            return super().connect_tcp(*args, **kwargs)

    server = serve(one_answer_then_none)
    with httpcore.ConnectionPool(network_backend=Aborting()) as pool:
        pool.request("GET", server.url)
        with pytest.raises(Aborted) as caught:
            pool.request("PUT", server.url, content=b"x", extensions={"cancel": token})
    assert caught.value.phase == "maybe_processed"


def test_a_connection_aborted_as_its_response_ends_is_not_used_again(serve: Serve) -> None:
    """The word comes between the last byte and the release."""

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, b"ok")

    def trace(name: str, details: dict[str, Any]) -> None:
        if name == "http11.receive_response_body.complete":
            token.cancel()

    token = httpcore.CancelToken()
    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url, extensions={"cancel": token, "trace": trace})
        assert counts(pool) == (0, 0)
        assert pool.request("GET", server.url).content == b"ok"
    assert server.accepted == 2


def test_a_file_that_does_not_go_back_keeps_the_first_failure(serve: Serve) -> None:
    class ClosedAtTheEnd(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            if not data:
                self.close()
            return data

    server = serve(one_answer_then_none)
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        with pytest.raises(ServerDisconnected):
            pool.request("PUT", server.url, content=ClosedAtTheEnd(b"x"))
        assert counts(pool) == (0, 0)
    assert server.accepted == 1


BAD_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"


READERS: list[Callable[[Any], Any]] = [
    lambda stream: stream.read(),
    lambda stream: stream.read1(),
    list,
]


@pytest.mark.parametrize("read", READERS, ids=["read", "read1", "iterate"])
def test_a_body_that_is_broken_from_the_start_is_a_response_all_the_same(
    serve: Serve, read: Callable[[Any], Any]
) -> None:
    """Whether the bad chunk came with the head depends on timing; what the caller sees does not."""

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(BAD_CHUNK)
        peer.wait_closed()

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        response = pool.request("GET", server.url, stream=True)
        assert response.status == 200
        with pytest.raises(httpcore.RemoteProtocolError) as caught:
            read(response.stream)
        assert caught.value.phase == "response_started"
        assert counts(pool) == (0, 0)
        unread = pool.request("GET", server.url, stream=True)
        unread.close()
        assert counts(pool) == (0, 0)
    assert server.accepted == 2


def test_a_stream_that_was_reset_is_not_sent_again(serve_h2: Callable[..., FrameServer]) -> None:
    def answer(stream: Stream) -> None:
        if stream.path == "/reset":
            stream.reset(Code.INTERNAL_ERROR)
        else:
            stream.respond(200, b"fine")

    server = serve_h2(lambda link: link.serve(answer))
    with httpcore.ConnectionPool(http1=False, http2=True) as pool:
        assert pool.request("GET", server.url).content == b"fine"
        with pytest.raises(httpcore.RemoteProtocolError, match="INTERNAL_ERROR"):
            pool.request("GET", f"{server.url}/reset")
        assert pool.request("GET", server.url).content == b"fine"
    assert server.accepted == 1
    paths = [stream.path for stream in server.link.streams.values()]
    assert paths.count("/reset") == 1


def test_pool_timeout_while_the_connection_to_be_shared_is_opened() -> None:
    connecting, go_on = threading.Event(), threading.Event()

    class Slow(Backend):
        def connect_tcp(self, *args: Any, **kwargs: Any) -> Any:
            connecting.set()
            assert go_on.wait(PATIENCE)
            raise httpcore.ConnectError("never")

    with httpcore.ConnectionPool(http1=False, http2=True, network_backend=Slow()) as pool:
        thread = Thread(lambda: pool.request("GET", "http://a/"))
        assert connecting.wait(PATIENCE)
        with pytest.raises(httpcore.PoolTimeout) as caught:
            pool.request("GET", "http://a/", extensions={"timeout": {"pool": 0}})
        assert without_ages(caught.value)[0] == (
            "no connection to http://a:80 became free within 0 s: it may share the one that is "
            "being opened: 1 x http://a:80 (dialing)"
        )
        go_on.set()
        with pytest.raises(httpcore.ConnectError):
            thread.result()
