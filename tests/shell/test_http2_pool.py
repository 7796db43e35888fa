"""A pool, and whatever else opens connections by itself, with HTTP/2: on streams on which a test
plays the server, and on sockets.

Owns: how `connection_pool` and `connection` go together with connections that are shared, the locks
between them, and what a fork or the garbage collector meets there. Must not know: which request
gets which slot (that is `test_scheduler`); what users see (that is `scenarios/test_http2`).
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

import httpcore
from httpcore._backends.sync import SyncStream
from httpcore._core import checkout
from httpcore._core import h2 as _h2
from httpcore._core.attempts import MAX_MOVES
from httpcore._core.h2_session import PING_DATA
from httpcore._exceptions import NOT_SENT
from httpcore._sync import http2, response_body
from httpcore._sync.http2 import HTTP2Connection
from httpcore.exceptions import Aborted
from tests.support.forks import in_child
from tests.support.http2 import Code, Kind, Link, ServeH2, Stream
from tests.support.leaks import sockets
from tests.support.over_http2 import break_off
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import pattern
from tests.support.threads import PATIENCE, Worker, until
from tests.support.wire import Wire, silent

URL = "http://example.com/path"
SLOW = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), PATIENCE)}


class Wires(httpcore.NetworkBackend):
    """Opens these streams, one after the other."""

    def __init__(self, wires: Iterable[Wire]) -> None:
        self.left = list(wires)
        self.opened: list[Wire] = []
        self.watch: Callable[[], object] = lambda: None

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        self.watch()
        self.opened.append(self.left.pop(0))
        return self.opened[-1]


@pytest.fixture
def make_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., httpcore.ConnectionPool]]:
    """`make_pool(wire, ..., **options)`: a pool that speaks HTTP/2 on these. No waiter and no
    sleeper is saved by looking for itself."""
    for module in (checkout, http2):
        monkeypatch.setattr(module, "MAX_SLEEP", 60.0)
    made: list[httpcore.ConnectionPool] = []
    wires: list[Wire] = []

    def make(*given: Wire, **options: Any) -> httpcore.ConnectionPool:
        for wire in given:
            wire.patient = True
            wires.append(wire)
        options.setdefault("http1", False)
        made.append(httpcore.ConnectionPool(http2=True, network_backend=Wires(given), **options))
        return made[-1]

    yield make
    for pool in made:
        pool._slots.scheduler.check()
        pool.close()
        assert pool.stats()["connections"] == 0
    assert [wire.mistakes for wire in wires] == [[]] * len(wires)


MakePool = Callable[..., httpcore.ConnectionPool]


def backend(pool: httpcore.ConnectionPool) -> Any:
    return pool._settings.network_backend


def begin(pool: httpcore.ConnectionPool, wire: Wire, method: str = "GET", **options: Any) -> Worker:
    """A thread whose request has been sent and waits for its response."""
    streams = len(wire.opened)
    worker = Worker(lambda: pool.request(method, URL, **options).content)
    until(lambda: len(wire.opened) > streams)
    return worker


def waiting(pool: httpcore.ConnectionPool, **options: Any) -> Worker:
    """A thread whose request waits for a connection."""
    before = pool.stats()["waiting"]
    worker = Worker(lambda: pool.request("GET", URL, **options).content)
    until(lambda: pool.stats()["waiting"] > before)
    return worker


def one(pool: httpcore.ConnectionPool) -> HTTP2Connection:
    (connection,) = pool.connections
    inner: Any = connection.opened  # type: ignore[attr-defined]
    return inner


# ---------------------------------------------------------------------------------------------
# What the pool learns, and when


def test_one_connection_for_all(make_pool: MakePool) -> None:
    wire = Wire(silent)
    pool = make_pool(wire)
    workers = [begin(pool, wire) for _ in range(5)]
    stats = pool.stats()
    assert (stats["connections"], stats["active"], stats["requests"]) == (1, 1, 5)
    (connection,) = pool.connections
    assert connection.info() == "'http://example.com:80', HTTP/2, ACTIVE, Request Count: 5"
    assert (connection.open_streams, connection.max_streams) == (5, _h2.MAX_STREAMS)  # type: ignore[attr-defined]
    for number in wire.opened:
        wire.respond(number)
    assert [worker.result() for worker in workers] == [b"ok"] * 5
    assert pool.stats()["requests"] == 0


def test_a_higher_limit_serves_waiters_while_somebody_reads(make_pool: MakePool) -> None:
    """The one who reads has no response yet, and is not to have one first."""
    wire = Wire(silent, settings={"max_concurrent_streams": 1})
    pool = make_pool(wire, max_connections=1)
    first = begin(pool, wire)
    until(lambda: one(pool).max_streams == 1)
    others = [waiting(pool) for _ in range(2)]
    wire.settings(max_concurrent_streams=2)
    until(lambda: wire.opened == [1, 3])
    wire.settings(max_concurrent_streams=3)
    until(lambda: wire.opened == [1, 3, 5])
    for number in wire.opened:
        wire.respond(number)
    assert [worker.result() for worker in (first, *others)] == [b"ok"] * 3


def test_goaway_lets_waiters_dial_while_somebody_reads(make_pool: MakePool) -> None:
    old, new = Wire(silent, settings={"max_concurrent_streams": 1}), Wire()
    pool = make_pool(old, new, max_connections=2, max_connections_per_host=2)
    first = begin(pool, old)
    until(lambda: one(pool).max_streams == 1)
    old.goaway(1)
    until(lambda: one(pool).is_draining)
    assert pool.request("GET", URL).content == b"ok"
    assert new.opened == [1]
    old.respond(1)
    assert first.result() == b"ok"
    until(lambda: old.closed)
    assert pool.stats()["connections"] == 1


def test_goaway_while_the_pool_is_full(make_pool: MakePool) -> None:
    """A waiter gets the place of the connection that goes away, when that has ended."""
    old, new = Wire(silent, settings={"max_concurrent_streams": 1}), Wire()
    pool = make_pool(old, new, max_connections=1)
    first = begin(pool, old)
    until(lambda: one(pool).max_streams == 1)
    late = waiting(pool)
    old.goaway(1)
    until(lambda: one(pool).is_draining)
    assert new.opened == []
    old.respond(1)
    assert [first.result(), late.result()] == [b"ok"] * 2
    assert old.closed


def test_a_lower_limit_is_kept_to(make_pool: MakePool) -> None:
    wire = Wire(silent, settings={"max_concurrent_streams": 3})
    pool = make_pool(wire, max_connections=1)
    workers = [begin(pool, wire) for _ in range(3)]
    wire.settings(max_concurrent_streams=1)
    until(lambda: one(pool).max_streams == 1)
    late = waiting(pool)
    for number in (1, 3):
        wire.respond(number)
        until(lambda number=number: not workers[number // 2].is_alive())
        assert wire.opened == [1, 3, 5]
    wire.respond(5)
    until(lambda: wire.opened == [1, 3, 5, 7])
    wire.respond(7)
    assert late.result() == b"ok"


def test_no_streams_at_all(make_pool: MakePool) -> None:
    """For now: the connection may end what it has, and new requests go elsewhere."""
    wire, other = Wire(silent, settings={"max_concurrent_streams": 1}), Wire()
    pool = make_pool(wire, other)
    first = begin(pool, wire)
    wire.settings(max_concurrent_streams=0)
    until(lambda: one(pool).max_streams == 0)
    assert pool.request("GET", URL).content == b"ok"
    assert other.opened == [1]
    wire.respond(1)
    assert first.result() == b"ok"


def test_a_change_that_the_pool_was_not_told(make_pool: MakePool) -> None:
    """Who should have told was interrupted. Nobody runs in circles about it."""
    wire = Wire(silent)
    pool = make_pool(wire, max_connections=1)
    first = begin(pool, wire)
    connection = one(pool)
    until(lambda: connection.max_streams == _h2.MAX_STREAMS)
    connection.on_change, told = None, connection.on_change
    wire.settings(max_concurrent_streams=1)
    until(lambda: connection.max_streams == 1)
    connection.on_change = told
    late = waiting(pool)
    wire.respond(1)
    assert first.result() == b"ok"
    until(lambda: len(wire.opened) == 2)
    wire.respond(3)
    assert late.result() == b"ok"


def test_a_timeout_of_one_keeps_the_connection_for_the_others(make_pool: MakePool) -> None:
    """Not for new ones, until it has answered."""
    wire, other = Wire(silent), Wire()
    pool = make_pool(wire, other)
    first = begin(pool, wire)
    with pytest.raises(httpcore.ReadTimeout):
        pool.request("GET", URL, extensions={"timeout": {"read": 0.01}})
    assert pool.request("GET", URL).content == b"ok"
    assert other.opened == [1]
    wire.pong()
    until(lambda: pool.connections[0].is_available())  # type: ignore[attr-defined]
    third = begin(pool, wire)
    assert wire.opened == [1, 3, 5]
    for number in (1, 5):
        wire.respond(number)
    assert [worker.result() for worker in (first, third)] == [b"ok"] * 2


def test_a_connection_that_cannot_be_joined_for_a_moment(make_pool: MakePool) -> None:
    """The pool was just about to hear of it."""
    wire, other = Wire(silent), Wire()
    pool = make_pool(wire, other)
    first = begin(pool, wire)
    connection = one(pool)
    look = connection.is_usable

    def suspect(idle_for: float) -> bool:
        connection.is_usable = look  # type: ignore[method-assign]
        connection.on_change, told = None, connection.on_change
        with connection.lock:
            connection.ping(0.0)
            connection.flush()
        connection.changes_reported = connection.codec.changes
        connection.on_change = told
        return look(idle_for)

    connection.is_usable = suspect  # type: ignore[method-assign]
    assert pool.request("GET", URL).content == b"ok"
    assert (wire.opened, other.opened) == ([1], [1])
    wire.pong()
    until(connection.is_available)
    third = begin(pool, wire)
    for number in (1, 3):
        wire.respond(number)
    assert [worker.result() for worker in (first, third)] == [b"ok"] * 2


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("how", ["goaway", "refused"])
def test_what_was_not_processed_goes_elsewhere(how: str, method: str, make_pool: MakePool) -> None:
    def refuse(wire: Wire, number: int) -> None:
        if how == "goaway":
            wire.goaway(0)
        else:
            wire.reset(number, Code.REFUSED_STREAM)

    wires = [Wire(refuse), Wire(refuse), Wire()]
    pool = make_pool(*wires)
    response = pool.request(method, URL, content=b"body" if method == "POST" else None)
    assert response.content == b"ok"
    assert wires[-1].bodies[wires[-1].opened[-1]] == (b"body" if method == "POST" else b"")


def test_a_server_that_refuses_everything(make_pool: MakePool) -> None:
    refuse = lambda wire, number: wire.reset(number, Code.REFUSED_STREAM)  # noqa: E731
    wires = [Wire(refuse) for _ in range(MAX_MOVES + 2)]
    pool = make_pool(*wires)
    with pytest.raises(httpcore.RemoteProtocolError, match="REFUSED_STREAM"):
        pool.request("GET", URL)
    assert [len(wire.opened) for wire in wires] == [1] * (MAX_MOVES + 1) + [0]


def test_a_server_that_ends_each_connection_before_it_is_used(make_pool: MakePool) -> None:
    """No request has been refused, so none counts its moves; yet each dials once more."""
    wires = [Wire(silent) for _ in range(MAX_MOVES + 2)]
    for wire in wires:
        wire.goaway(0)
    pool = make_pool(*wires)

    def trace(name: str, info: Any) -> None:
        if name == "http2.send_connection_init.started":
            assert not one(pool).is_usable(0.0)  # it has read what came

    with pytest.raises(httpcore.RemoteProtocolError, match=r"going away.*16 others") as info:
        pool.request("GET", URL, extensions={"trace": trace})
    assert info.value.phase == NOT_SENT
    assert len(backend(pool).opened) == MAX_MOVES + 1


def test_a_refusal_because_there_are_too_many(make_pool: MakePool) -> None:
    """The connection is good; it has just lowered its limit."""
    wire = Wire(silent)
    pool = make_pool(wire, max_connections=1)
    first = begin(pool, wire)
    until(lambda: one(pool).max_streams > 1)
    late = begin(pool, wire)
    wire.settings(max_concurrent_streams=1)
    wire.reset(3, Code.REFUSED_STREAM)
    until(lambda: pool.stats()["waiting"] == 1)
    wire.respond(1)
    assert first.result() == b"ok"
    until(lambda: wire.opened == [1, 3, 5])
    wire.respond(5)
    assert late.result() == b"ok"


def test_a_body_that_cannot_be_sent_again(make_pool: MakePool) -> None:
    wire = Wire(lambda wire, number: wire.reset(number, Code.REFUSED_STREAM))
    pool = make_pool(wire)
    with pytest.raises(httpcore.RemoteProtocolError, match="REFUSED_STREAM") as caught:
        pool.request("POST", URL, content=iter([b"body"]))
    assert caught.value.phase == "not_sent"
    assert len(wire.opened) == 1


# ---------------------------------------------------------------------------------------------
# The end


def test_closing_the_pool_ends_those_who_wait_for_settings_too(make_pool: MakePool) -> None:
    wire, other = Wire(silent, settings=None), Wire()
    pool = make_pool(wire, other)
    workers = [begin(pool, wire)]
    workers += [Worker(lambda: pool.request("GET", URL).content) for _ in range(3)]
    until(lambda: pool.stats()["requests"] == 4 and len(one(pool).sleepers) == 3)
    pool.close()
    assert [type(worker.error()) for worker in workers] == [Aborted] * 4
    assert other.frames == []
    until(lambda: wire.closed)
    assert pool.stats()["connections"] == 0


def test_retiring_lets_responses_end(make_pool: MakePool) -> None:
    old, new = Wire(silent), Wire()
    pool = make_pool(old, new)
    workers = [begin(pool, old) for _ in range(2)]
    pool.retire()
    assert pool.request("GET", URL).content == b"ok"
    assert new.opened == [1]
    for number in (1, 3):
        assert not old.closed
        old.respond(number)
        assert workers[number // 2].result() == b"ok"
    until(lambda: old.closed)
    assert old.frames[-1].kind == Kind.GOAWAY


@pytest.mark.parametrize("role", ["reader", "sleeper"])
def test_a_token_ends_its_request_alone(role: str, make_pool: MakePool) -> None:
    wire = Wire(silent)
    pool = make_pool(wire)
    token = httpcore.CancelToken()
    ended, other = {}, {}
    (ended if role == "reader" else other)["extensions"] = {"cancel": token}
    workers = [begin(pool, wire, **options) for options in (ended, other)]
    until(lambda: len(one(pool).sleepers) == 1)
    token.cancel()
    cancelled = 0 if role == "reader" else 1
    assert isinstance(workers[cancelled].error(), Aborted)
    wire.respond(3 - 2 * cancelled)
    assert workers[1 - cancelled].result() == b"ok"
    assert wire.resets == {1 + 2 * cancelled: Code.CANCEL}
    assert pool.stats()["idle"] == 1


def test_a_dropped_response_gives_its_stream_and_its_share_back(make_pool: MakePool) -> None:
    wire = Wire(lambda wire, number: wire.head(number), settings={"max_concurrent_streams": 1})
    pool = make_pool(wire, max_connections=1)
    response = pool.request("GET", URL, stream=True)
    wire.answer = Wire.respond
    late = waiting(pool)
    with pytest.warns(ResourceWarning, match="unread response to GET /path was dropped"):
        del response
    assert late.result() == b"ok"
    assert wire.resets == {1: Code.CANCEL}


def test_a_waiter_that_the_collector_has_served_closes_first(make_pool: MakePool) -> None:
    """There is never one connection too many."""
    old, new = Wire(lambda wire, number: wire.head(number)), Wire()
    pool = make_pool(old, new, max_connections=1)
    response = pool.request("GET", URL, stream=True)
    old.goaway(1)
    assert not one(pool).is_usable(0.0)
    late = waiting(pool)
    open_then: list[bool] = []
    backend(pool).watch = lambda: open_then.append(not old.closed)
    with pytest.warns(ResourceWarning):
        del response
    assert late.result() == b"ok"
    assert open_then == [False]


class Dropped:
    """A response that only the garbage collector finds."""

    def __init__(self, response: httpcore.Response) -> None:
        self.response = response
        self.itself = self


class CollectingWire(Wire):
    """Lets the garbage collector run in its midst, once."""

    on: str | None = None

    def _collect(self, here: str) -> None:
        if self.on == here:
            self.on = None
            with pytest.warns(ResourceWarning):
                gc.collect()

    def write_ready(self, buffer: Any) -> int:
        self._collect("write")
        return super().write_ready(buffer)

    def read_ready(self, max_bytes: int) -> bytes | None:
        self._collect("read")
        return super().read_ready(max_bytes)

    def close(self) -> None:
        self._collect("close")
        super().close()


@pytest.mark.parametrize("where", ["read", "write", "close"])
def test_a_response_that_is_collected_while_its_connection_is_locked(
    where: str, make_pool: MakePool
) -> None:
    """Whatever is left to do with the last share gone (here: closing the connection, for it goes
    away) must not wait for a lock that the same thread holds."""
    wire, other = CollectingWire(lambda wire, number: wire.head(number)), Wire()
    pool = make_pool(wire, other)
    Dropped(pool.request("GET", URL, stream=True))
    wire.goaway(1)
    connection = one(pool)
    assert not connection.is_usable(0.0)
    wire.on = where
    done = Worker(lambda: _use(connection, where))
    done.result()
    assert pool.request("GET", URL).content == b"ok"
    assert wire.closed
    assert pool.stats()["connections"] == 1


def _use(connection: HTTP2Connection, where: str) -> None:
    if where == "close":
        connection.close()
        return
    with connection.lock:
        if where == "read":
            connection.take_in()
        else:
            connection.codec.ping(PING_DATA)  # so that there is something to write
            connection.flush()


def test_a_connection_that_is_closed_by_the_pool_collects(make_pool: MakePool) -> None:
    """The collector runs while the pool closes a connection, and leaves that to it."""
    wires = [CollectingWire(lambda wire, number: wire.head(number)), CollectingWire(), Wire()]
    pool = make_pool(*wires)
    Dropped(pool.request("GET", URL, stream=True))
    wires[0].goaway(1)
    assert not one(pool).is_usable(0.0)
    assert pool.request("GET", URL).content == b"ok"
    wires[1].on = "write"  # its GOAWAY
    Worker(pool.close_idle).result()
    assert pool.request("GET", URL).content == b"ok"
    assert wires[0].closed and wires[1].closed
    assert pool.stats()["connections"] == 1


class DeepWire(Wire):
    """Notes how deep in the stack it is closed."""

    depth = 0

    def close(self) -> None:
        self.depth = self.depth or len(inspect.stack(0))
        super().close()


def test_many_connections_are_closed_one_after_the_other(make_pool: MakePool) -> None:
    """And not each inside of the close of another, which a large pool has no stack for."""
    wires = [DeepWire() for _ in range(10)]
    pool = make_pool(*wires)
    for number in range(len(wires)):
        assert pool.request("GET", f"http://{number}.example.com/").content == b"ok"
    assert pool.stats()["connections"] == len(wires)
    pool.close()
    depths = [wire.depth for wire in wires]
    assert all(depths) and len(set(depths)) == 1


class Watched:
    """A lock that knows who holds it, and fails a thread that waits for it where it must not."""

    held = threading.local()

    def __init__(self, kind: str, forbidden: str = "") -> None:
        self.lock: Any = threading.RLock()
        self.is_owned = self.lock._is_owned
        self.kind = kind
        self.forbidden = forbidden
        self.mistakes: list[str] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if blocking and getattr(self.held, self.forbidden or "-", 0):
            self.mistakes.append(f"waits for {self.kind} with {self.forbidden}")
        got = self.lock.acquire(blocking, timeout)
        if got:
            setattr(self.held, self.kind, getattr(self.held, self.kind, 0) + 1)
        return got

    def release(self) -> None:
        setattr(self.held, self.kind, getattr(self.held, self.kind) - 1)
        self.lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def test_the_order_of_locks(serve_h2: ServeH2) -> None:
    """The pool's lock is never taken while a connection's is held, nor the other way round; under
    all that happens at once."""

    def script(link: Link) -> None:
        link.serve(until=lambda: len(link.opened) > 20)
        link.settings(max_concurrent_streams=4)
        link.serve(until=lambda: len(link.opened) > 40)
        link.goaway()
        link.serve()

    server = serve_h2(script, settings={"max_concurrent_streams": 10})
    locks = [Watched("pool", forbidden="connection")]
    with httpcore.ConnectionPool(http1=False, http2=True, max_connections=3) as pool:
        pool._slots.lock = locks[0]  # type: ignore[assignment]
        create = pool.create_connection

        def made(origin: httpcore.Origin) -> Any:
            connection = create(origin)
            speak = connection._make_connection

            def spoken(dialed: Any) -> Any:
                inner: Any = speak(dialed)
                locks.append(Watched("connection", forbidden="pool"))
                inner.lock = locks[-1]
                return inner

            connection._make_connection = spoken  # type: ignore[method-assign]
            return connection

        pool.create_connection = made  # type: ignore[method-assign]

        def work(number: int) -> None:
            for turn in range(15):
                size = 30_000 if turn % 3 else 10
                with pool.stream("GET", f"{server.url}/bytes/{size}", extensions=SLOW) as response:
                    if turn % 5 != number % 5:
                        assert response.read() == pattern(size)
                if turn % 7 == number % 7:
                    with pytest.raises(httpcore.ReadTimeout):
                        pool.request(
                            "GET", f"{server.url}/hold", extensions={"timeout": {"read": 0.001}}
                        )

        workers = [Worker(lambda number=number: work(number)) for number in range(8)]
        for worker in workers:
            worker.result()
    assert [lock.mistakes for lock in locks] == [[]] * len(locks)
    assert len(locks) > 2


# ---------------------------------------------------------------------------------------------
# On sockets


@pytest.fixture
def tls_pool(client_tls_context: ssl.SSLContext) -> Iterator[httpcore.ConnectionPool]:
    with httpcore.ConnectionPool(client_tls_context, http2=True) as pool:
        yield pool


@pytest.mark.parametrize("secure", [False, True])
def test_forty_threads(secure: bool, serve_h2: ServeH2, client_tls_context: ssl.SSLContext) -> None:
    """Bodies both ways, windows and sockets that are full: each gets its own, in order."""
    server = serve_h2(secure=secure)
    with httpcore.ConnectionPool(client_tls_context, http1=secure, http2=True) as pool:

        def work(number: int) -> None:
            for turn in range(4):
                body = pattern(1 + 40_000 * (turn % 2), offset=number)
                response = pool.request("POST", server.url + "/echo", content=body)
                assert json.loads(response.content)["body"].encode("latin-1") == body
                size = 100_000 * (turn % 3) + number
                assert pool.request("GET", f"{server.url}/bytes/{size}").content == pattern(size)

        workers = [Worker(lambda number=number: work(number)) for number in range(40)]
        for worker in workers:
            worker.result()
    assert server.accepted == 1
    assert server.link.opened == sorted(server.link.opened)
    assert len(server.link.opened) == 320


class Passing(httpcore.NetworkStream):
    """Passes on what every stream has, and notes when two threads are in it at once."""

    def __init__(self, stream: httpcore.NetworkStream, mistakes: list[str]) -> None:
        self._stream = stream
        self._mistakes = mistakes
        self._using = threading.Lock()

    def _do(self, what: str, method: Callable[..., Any], *args: Any) -> Any:
        if not self._using.acquire(blocking=False):
            self._mistakes.append(f"{what} while another thread is in it")
            return method(*args)
        try:
            return method(*args)
        finally:
            self._using.release()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._do("read", self._stream.read, max_bytes, timeout)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._do("write", self._stream.write, buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return Passing(self._stream.start_tls(*args, **kwargs), self._mistakes)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class PassingBackend(httpcore.SyncBackend):
    def __init__(self) -> None:
        super().__init__()
        self.mistakes: list[str] = []

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return Passing(super().connect_tcp(*args, **kwargs), self.mistakes)


@pytest.mark.parametrize("secure", [False, True])
def test_a_stream_around_a_socket(
    secure: bool, serve_h2: ServeH2, client_tls_context: ssl.SSLContext
) -> None:
    """It has only what blocks. OpenSSL must not be in use by two threads all the same, nobody waits
    for who reads, and an abort is felt at once."""
    server = serve_h2(secure=secure)
    backend = PassingBackend()
    with httpcore.ConnectionPool(
        client_tls_context, http1=secure, http2=True, network_backend=backend
    ) as pool:
        token = httpcore.CancelToken()
        held = Worker(
            lambda: pool.request("GET", server.url + "/hold", extensions={"cancel": token})
        )
        link = server.wait_for_link()
        assert server.wait_for(lambda: bool(link.opened))

        def work() -> None:
            for size in (1, 100_000, 10):
                assert pool.request("GET", f"{server.url}/bytes/{size}").content == pattern(size)

        for worker in [Worker(work) for _ in range(4)]:
            worker.result()
        token.cancel()
        assert isinstance(held.error(), Aborted)
        connection = one(pool)
    assert backend.mistakes == []
    assert connection.io._poll is None  # and with it its sockets
    assert server.accepted == 1


def test_many_records_at_once(serve_h2: ServeH2, tls_pool: httpcore.ConnectionPool) -> None:
    """Of all sizes; nothing that OpenSSL has is waited for."""

    def script(link: Link) -> None:
        def answer(stream: Stream) -> None:
            link.split = 1 + (stream.id * 7919) % 20_000
            link.frame_size = 1 + (stream.id * 104729) % 16_384
            stream.respond(200, pattern(50_000, stream.id))

        link.serve(answer)

    server = serve_h2(script, secure=True)
    for _ in range(20):
        response = tls_pool.request("GET", server.url, extensions=SLOW)
        assert response.content == pattern(50_000, response.extensions["stream_id"])


@pytest.mark.parametrize("secure", [False, True])
def test_a_peer_that_reads_nothing(
    secure: bool,
    serve_h2: ServeH2,
    client_tls_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each request fails by its own timeout, the uploads and the small ones; and while they wait,
    they wait: nobody polls in circles."""

    def script(link: Link) -> None:
        link.settings(initial_window_size=2**30)
        link.window_update(0, 2**30)
        link.serve(until=lambda: len(link.opened) == 1)
        link.flush()
        link.reading = False
        link.run()

    server = serve_h2(script, secure=secure)
    polls: list[float | None] = []
    wait = SyncStream.wait
    monkeypatch.setattr(SyncStream, "wait", lambda *args: (polls.append(args[2]), wait(*args))[1])
    limits = {"timeout": {"write": 0.3, "read": 0.3, "connect": PATIENCE}}
    with httpcore.ConnectionPool(client_tls_context, http1=secure, http2=True) as pool:
        assert pool.request("GET", server.url, extensions=SLOW).status == 200
        url = server.url + "/upload"
        content = bytes(20_000_000)
        # It has all the time it needs to fill the path; the others find it full.
        filling = Worker(lambda: pool.request("POST", url, content=content, extensions=SLOW))
        until(lambda: one(pool).unsent)
        polls.clear()
        uploads = [
            Worker(lambda: pool.request("POST", url, content=content, extensions=limits))
            for _ in range(3)
        ]
        small = [
            Worker(lambda: pool.request("GET", server.url, extensions=limits)) for _ in range(5)
        ]
        assert {type(worker.error()) for worker in uploads} == {httpcore.WriteTimeout}
        # The system's buffers may have grown a little meanwhile, and taken a small one.
        kinds = {type(worker.error()) for worker in small}
        assert kinds <= {httpcore.WriteTimeout, httpcore.ReadTimeout}
        assert len(polls) < 60
        assert server.accepted == 1
    assert isinstance(filling.error(), httpcore.NetworkError)  # the pool was closed


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
def test_through_a_proxy(
    kind: str,
    serve_h2: ServeH2,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
) -> None:
    """In the tunnel; through an https proxy, TLS inside of TLS. Threads share it there as well."""
    server = serve_h2(secure=True)
    proxy: Any
    if kind == "socks5":
        proxy = SocksServer()
    else:
        proxy = ProxyServer(tls=server_tls_context if kind == "https" else None)
    with proxy:
        url = f"socks5://{proxy.address}" if kind == "socks5" else proxy.url
        options: dict[str, Any] = {"ssl_context": client_tls_context, "http2": True}
        maker: Any = httpcore.SOCKSProxy if kind == "socks5" else httpcore.HTTPProxy
        if kind == "https":
            options["proxy_ssl_context"] = client_tls_context
        with maker(url, **options) as pool:
            token = httpcore.CancelToken()
            held = Worker(
                lambda: pool.request("GET", server.url + "/hold", extensions={"cancel": token})
            )
            assert server.wait_for(lambda: bool(server.links and server.links[0].opened))

            def work(number: int) -> None:
                for size in (number, 200_000):
                    body = pattern(size)
                    url = f"{server.url}/bytes/{size}"
                    assert pool.request("GET", url, extensions=SLOW).content == body
                    response = pool.request(
                        "POST", server.url + "/upload", content=body, extensions=SLOW
                    )
                    assert json.loads(response.content)["length"] == size

            for worker in [Worker(lambda number=number: work(number)) for number in range(8)]:
                worker.result()
            token.cancel()
            assert isinstance(held.error(), Aborted)
            assert one(pool).election.reader is None
    assert server.accepted == 1


def test_a_single_connection(serve_h2: ServeH2, client_tls_context: ssl.SSLContext) -> None:
    """`HTTPConnection` opens itself, and says what it can carry."""
    server = serve_h2(secure=True)
    url = httpcore.URL(server.url + "/bytes/5")
    with httpcore.HTTPConnection(url.origin, client_tls_context, http2=True) as connection:
        assert (connection.max_streams, connection.open_streams) == (1, 0)
        together = threading.Barrier(5)

        def work() -> bytes:
            together.wait(PATIENCE)
            return connection.request("GET", url, extensions=SLOW).content

        assert [worker.result() for worker in [Worker(work) for _ in range(5)]] == [pattern(5)] * 5
        assert "HTTP/2, IDLE, Request Count: 5" in connection.info()
        with connection.stream("GET", server.url + "/bytes/5000000") as response:
            assert (connection.max_streams, connection.open_streams) == (_h2.MAX_STREAMS, 1)
            assert response.stream.read(10) == pattern(10)
        assert connection.open_streams == 0
    assert server.accepted == 1


def test_a_connection_by_hand(serve_h2: ServeH2, client_tls_context: ssl.SSLContext) -> None:
    server = serve_h2(secure=True)
    stream = httpcore.SyncBackend().connect_tcp(server.host, server.port, PATIENCE)
    client_tls_context.set_alpn_protocols(["h2"])
    stream = stream.start_tls(client_tls_context, "localhost", PATIENCE)
    origin = httpcore.URL(server.url).origin
    with httpcore.HTTP2Connection(origin, stream) as connection:
        for size in (0, 5, 500_000):
            url = f"{server.url}/bytes/{size}"
            assert connection.request("GET", url, extensions=SLOW).content == pattern(size)


# ---------------------------------------------------------------------------------------------
# Forks


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_fork
@pytest.mark.parametrize("secure", [False, True])
def test_a_fork(secure: bool, serve_h2: ServeH2, client_tls_context: ssl.SSLContext) -> None:
    """The child opens a connection of its own, and has none of its parent's sockets. What is under
    way in the parent goes on."""
    before = set(sockets())
    server = serve_h2(secure=secure)
    with httpcore.ConnectionPool(client_tls_context, http1=secure, http2=True) as pool:
        assert pool.request("GET", server.url, extensions=SLOW).status == 200
        held = Worker(lambda: pool.request("GET", server.url + "/hold", extensions=SLOW))
        link = server.wait_for_link()
        assert server.wait_for(lambda: len(link.opened) == 2)
        response = pool.request("GET", server.url + "/bytes/3000000", stream=True)
        connection = one(pool)
        until(lambda: connection.election.reader is not None)
        theirs = {server._listener.fileno(), *(peer.sock.fileno() for peer in server._peers)}  # type: ignore[union-attr]
        theirs |= {end.fileno() for end in (link._waker, link._woken)}
        fds = sockets()
        ours = {name for name, fd in fds.items() if name not in before and fd not in theirs}
        assert len(ours) == 3  # the connection, and the two by which its reader is woken

        def child() -> tuple[Any, ...]:
            left = ours & set(sockets())
            statuses = [pool.request("GET", server.url, extensions=SLOW).status for _ in range(2)]
            with pytest.raises(httpcore.ReadError, match="belongs to the parent process"):
                response.read()
            with pytest.raises(httpcore.ConnectionNotAvailable):
                connection.request("GET", server.url)
            connection.close()
            return left, statuses, connection.info(), pool.stats()["requests"]

        with connection.lock:  # as another thread would have it
            left, statuses, info, requests = in_child(child)
        assert (left, statuses, requests) == (set(), [200, 200], 0)
        assert "CLOSED" in info
        assert response.read() == pattern(3_000_000)
        link.call(lambda: link.streams[3].respond(200, b"late"))
        assert held.result().content == b"late"
        assert pool.request("GET", server.url, extensions=SLOW).status == 200
    assert server.accepted == 2


@needs_fork
def test_a_fork_within_a_request(serve_h2: ServeH2) -> None:
    """In the very thread that sends it. The parent's goes on, the child's says why it does not."""
    server = serve_h2()
    with httpcore.ConnectionPool(http1=False, http2=True) as pool:
        assert pool.request("GET", server.url, extensions=SLOW).status == 200
        results: list[Any] = []

        def body() -> Iterator[bytes]:
            yield b"one, "
            results.append(in_child(lambda: None))
            yield b"two"

        response = pool.request("POST", server.url + "/echo", content=body(), extensions=SLOW)
        assert json.loads(response.content)["body"] == "one, two"
        assert results == [None]
    assert server.accepted == 1


def test_http2_that_only_the_context_offers(
    serve_h2: ServeH2, client_tls_context: ssl.SSLContext
) -> None:
    """It is spoken, and its connection is shared, as in 1.0.9."""
    url = serve_h2(secure=True).url + "/bytes/5000000"
    client_tls_context.set_alpn_protocols(["h2", "http/1.1"])
    with httpcore.ConnectionPool(client_tls_context) as pool:
        with pool.stream("GET", url, extensions=SLOW) as held:
            assert held.extensions["http_version"] == b"HTTP/2"
            with pool.stream("GET", url, extensions=SLOW) as response:
                assert response.stream.read(5) == pattern(5)
                assert len(pool.connections) == 1
        pool._slots.scheduler.check()


@pytest.mark.filterwarnings("ignore:unread response")
def test_a_failure_does_not_hold_its_response(
    serve_h2: ServeH2, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt that strikes when a failure is to end the response leaves that to the garbage
    collector. The stream keeps the failure; the frames that it came through must not come along."""

    def strike(body: response_body.ResponseBody, exc: BaseException) -> BaseException:
        raise KeyboardInterrupt

    def read() -> None:
        url, extensions = f"{server.url}/fail", {"timeout": {"read": PATIENCE}}
        request = httpcore.Request("GET", url, headers={"Host": "h"}, extensions=extensions)
        response: Any = pool.handle_request(request)
        while response.stream.read1():
            pass

    server = serve_h2(lambda link: link.serve(break_off))
    with httpcore.ConnectionPool(http1=False, http2=True) as pool:
        with monkeypatch.context() as patches:
            patches.setattr(response_body.ResponseBody, "_fail", strike)
            with pytest.raises(KeyboardInterrupt) as caught:
                read()
        del caught
        gc.collect()
        assert pool.stats()["requests"] == 0
        assert pool.request("GET", server.url).content == b"good"
        assert pool.stats()["active"] == 0
