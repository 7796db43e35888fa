"""What a signal handler may do to a pool or a request that it has interrupted: everything.

Owns: the operations, and that none waits for the interrupted thread, harms it or gets lost. Must
not know: how they manage that; only the tests of the queue do.

Three ways of interrupting, from sure to real: the test holds the lock itself; a trace function
strikes at a chosen line, as a handler would; and another process sends signals by the thousand.
"""

from __future__ import annotations

import contextlib
import gc
import linecache
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
import trustme

import httpcore
import httpcore_requests
from httpcore._shared.deferred import Deferred
from httpcore._sync import connection_pool
from httpcore_requests._caller_contexts import TLSRequirements, TrustRoots, adapt_shared
from tests.support.examples import examples
from tests.support.http2 import FrameServer
from tests.support.servers import LocalServer
from tests.support.threads import Worker, until

# They strike at each line by a trace function, or a thousand times: measuring makes them slow.
unmeasured = pytest.mark.no_cover

# Runs of one operation: about so many lines where a lock is held, and of the others. The long run
# (`tests.support.examples`) strikes at several times as many.
LOCKED_LINES, OTHER_LINES = examples(240), examples(120)

# Signals that each operation must have met.
SIGNALS = 1000

# What the interrupted request may fail with.
ENDED = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.PoolTimeout)


class World:
    """A pool and a request under way, for an operation to meddle with."""

    def __init__(self, url: str, http2: bool, **options: Any) -> None:
        self.url = url
        self.http2 = http2
        self.pool = httpcore.ConnectionPool(http1=not http2, http2=http2, **options)
        self.token = httpcore.CancelToken()
        self.response: httpcore.Response | None = None
        self.strikes = 0

    def converse(self) -> None:
        """One request whose body comes with the head, and one whose body is streamed."""
        extensions = {"cancel": self.token}
        self.pool.request("GET", self.url, extensions=extensions)
        self.response = self.pool.request(
            "GET", f"{self.url}/bytes/70000", stream=True, extensions=extensions
        )
        with contextlib.closing(self.response):
            self.response.read()

    def check(self) -> None:
        """Nothing is lost: the pool serves, and nobody has a connection that is not there."""
        self.token = httpcore.CancelToken()
        assert self.pool.request("GET", self.url).status == 200
        stats = self.pool.stats()
        assert {name: stats[name] for name in ("active", "dialing", "waiting", "requests")} == {
            "active": 0, "dialing": 0, "waiting": 0, "requests": 0
        }  # fmt: skip
        self.pool._slots.scheduler.check()
        assert not self.pool._slots.deferred
        for connection in self.pool.connections:
            assert not getattr(getattr(connection, "_connection", None), "_deferred", None)

    @contextlib.contextmanager
    def ended(self) -> Iterator[World]:
        with self.pool:
            yield self
        assert self.pool.connections == []
        self.response = None


def request(world: World) -> None:
    assert world.pool.request("GET", world.url).status == 200


def request_and_leave(world: World) -> None:
    """Its response is read by nobody, and dropped."""
    world.pool.request("GET", f"{world.url}/bytes/200000", stream=True).close()


def close_response(world: World) -> None:
    if world.response is not None:
        world.response.close()


def end_connections(world: World) -> None:
    for connection in world.pool.connections:
        connection.close()


def abort_connections(world: World) -> None:
    for connection in world.pool.connections:
        connection.abort()  # type: ignore[attr-defined]


def look(world: World) -> None:
    stats = world.pool.stats()
    assert stats["connections"] == stats["active"] + stats["idle"] + stats["dialing"]
    assert repr(world.pool).startswith("<ConnectionPool [")
    for connection in world.pool.connections:
        assert repr(connection)
        connection.is_idle(), connection.is_available(), connection.has_expired()


OPERATIONS: dict[str, Callable[[World], object]] = {
    "cancel": lambda world: world.token.cancel(),
    "close": lambda world: world.pool.close(),
    "retire": lambda world: world.pool.retire(),
    "close idle": lambda world: world.pool.close_idle(),
    "look": look,
    "close the response": close_response,
    "close connections": end_connections,
    "abort connections": abort_connections,
    "request": request,
    "request and leave": request_and_leave,
}

operations = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
protocols = pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])


@pytest.fixture
def url(http2: bool, request: pytest.FixtureRequest) -> str:
    """A server for the protocol. (Only the one that is needed is started.)"""
    server: Any = request.getfixturevalue("serve_h2")() if http2 else None
    found: FrameServer | LocalServer = server or request.getfixturevalue("server")
    return found.url.rstrip("/")


# --- the lock is held by this thread ---


@contextlib.contextmanager
def held(world: World, which: str) -> Iterator[None]:
    """Holds a lock as the interrupted code would, which looks what was left for it."""
    slots = world.pool._slots
    lock: Any = slots.lock
    settle: Any = slots.settle
    if which == "connection":
        [connection] = world.pool.connections
        opened: Any = connection.opened  # type: ignore[attr-defined]
        lock, settle = opened.lock, opened.finish_deferred
    with lock:
        yield
    settle()


@operations
@pytest.mark.parametrize(
    ("http2", "which"),
    [(False, "pool"), (True, "pool"), (True, "connection")],
    ids=["HTTP/1.1 pool", "HTTP/2 pool", "HTTP/2 connection"],
)
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in use"])
def test_the_lock_is_held_by_the_interrupted_code(
    url: str, http2: bool, which: str, busy: bool, operation: Callable[[World], object]
) -> None:
    with World(url, http2).ended() as world:
        world.pool.request("GET", url)
        if busy:
            world.response = world.pool.request(
                "GET", f"{url}/bytes/200000", stream=True, extensions={"cancel": world.token}
            )
        with held(world, which):
            operation(world)
        if world.response is not None:
            world.response.close()
        world.check()


@protocols
def test_what_was_left_is_done_when_the_lock_is_let_go(url: str, http2: bool) -> None:
    with World(url, http2).ended() as world:
        world.pool.request("GET", url)
        [first] = world.pool.connections
        with world.pool._slots.lock:
            world.pool.close()
            assert world.pool.stats()["idle"] == 1 and not first.is_closed()
        # The next that looks: the interrupted code itself, or whoever comes first.
        assert world.pool.stats()["connections"] == 0
        assert first.is_closed()


def test_a_connection_is_closed_when_its_lock_is_let_go(serve_h2: Callable[..., Any]) -> None:
    server = serve_h2()
    with httpcore.ConnectionPool(http1=False, http2=True) as pool:
        pool.request("GET", server.url)
        [connection] = pool.connections
        inner: Any = connection.opened  # type: ignore[attr-defined]
        with inner.lock:
            pool.close()
            assert pool.connections == [] and not connection.is_closed()
        inner.finish_deferred()
        assert connection.is_closed()


@protocols
@pytest.mark.parametrize("which", ["pool", "connection"])
def test_a_request_has_a_connection_of_its_own(url: str, http2: bool, which: str) -> None:
    """Beyond the limit, since it could never have that of the interrupted code; closed after it."""
    if which == "connection" and not http2:
        pytest.skip("a connection of HTTP/1.1 has no lock that a pool's request takes")
    with World(url, http2, max_connections=1).ended() as world:
        world.pool.request("GET", url)
        with held(world, which):
            response = world.pool.request("GET", f"{url}/bytes/200000", stream=True)
        assert response.extensions["reused"] is False
        assert world.pool.stats()["connections"] == 1
        assert len(response.read()) == 200000
        assert world.pool.request("GET", url).extensions["reused"] is True
        world.check()


@protocols
@pytest.mark.parametrize("end", ["cancel", "close"])
def test_a_request_with_a_connection_of_its_own_can_be_ended(
    url: str, http2: bool, end: str
) -> None:
    with World(url, http2).ended() as world:
        world.pool.request("GET", url)
        with held(world, "pool"):
            response = world.pool.request(
                "GET", f"{url}/bytes/20000000", stream=True, extensions={"cancel": world.token}
            )
        world.token.cancel() if end == "cancel" else world.pool.close()
        with pytest.raises(httpcore.NetworkError):
            response.read()
        del response
        gc.collect()
        assert not world.pool._slots.spares
        world.check()


def test_who_closes_from_another_thread_finds_it_done(server: LocalServer) -> None:
    """Only the thread that holds the lock leaves it to itself; others wait for it."""
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        [connection] = pool.connections
        with pool._slots.lock:
            closer = Worker(lambda: (pool.close(), connection.is_closed()))
            until(lambda: pool._slots.deferred)
            assert closer.is_alive()
        assert closer.result() == (None, True)


def test_a_response_of_the_connection_in_use_cannot_be_waited_for(
    serve_h2: Callable[..., Any],
) -> None:
    """Nor can a request by hand be sent on it; both say so at once, and harm nothing."""
    server = serve_h2()
    url = server.url.rstrip("/")
    with World(url, True).ended() as world:
        response = world.pool.request("GET", f"{url}/bytes/200000", stream=True)
        [connection] = world.pool.connections
        inner: Any = connection.opened  # type: ignore[attr-defined]
        with held(world, "connection"):
            with pytest.raises(httpcore.ConnectionNotAvailable, match="signal handler"):
                inner.request("GET", url)
            with pytest.raises(httpcore.ReadError, match="signal handler"):
                response.read()
        world.check()


@pytest.mark.parametrize("kind", ["HTTPConnection", "HTTP11Connection"])
def test_a_connection_by_hand_that_is_being_taken(server: LocalServer, kind: str) -> None:
    url = httpcore.URL(server.url)
    arguments: Any = ()
    if kind == "HTTP11Connection":
        arguments = (httpcore.SyncBackend().connect_tcp("127.0.0.1", server.port),)
    with getattr(httpcore, kind)(url.origin, *arguments) as connection:
        with connection._lock:
            with pytest.raises(httpcore.ConnectionNotAvailable, match="signal handler"):
                connection.request("GET", url)
        assert connection.request("GET", url).status == 200


# --- a trace function strikes at a line ---


def is_ours(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return "/httpcore/_" in name or "/httpcore_requests/_" in name


@contextlib.contextmanager
def striking(strike: Callable[[], object], where: str | tuple[str, ...] = "") -> Iterator[None]:
    """Calls `strike` before each line of ours that this thread comes to (in files whose names end
    with `where`), as a signal handler is called; not within itself."""

    def see(frame: FrameType, event: str, argument: object) -> Any:
        if not is_ours(frame) or not frame.f_code.co_filename.endswith(where):
            return None
        if event == "line":
            strike()
        return see

    previous = sys.gettrace()
    sys.settrace(see)
    try:
        yield
    finally:
        sys.settrace(previous)


def locked(world: World) -> bool:
    """Whether this thread holds a lock of the pool or of a connection, or reads for others."""
    pool = world.pool
    if pool._slots.lock.is_owned():
        return True
    inner = [getattr(each, "_connection", None) for each in pool.connections]
    return any(getattr(each, "is_occupied", False) for each in inner)


def places(world: World) -> list[int]:
    """The lines to strike at, by number."""
    seen: list[bool] = []
    with striking(lambda: seen.append(locked(world))):
        world.converse()
    others = [number for number, inside in enumerate(seen) if not inside]
    inside = [number for number, inside in enumerate(seen) if inside]
    step = 1 + len(others) // OTHER_LINES
    return sorted(inside[:: 1 + len(inside) // LOCKED_LINES] + others[::step])


def strike_at(world: World, place: int, action: Callable[[World], object]) -> None:
    """Let the two requests be interrupted once, by `action`."""
    number = 0

    def count() -> None:
        nonlocal number
        number += 1
        if number == place + 1:
            world.strikes += 1
            action(world)

    with striking(count):
        world.converse()


@unmeasured
@protocols
@operations
def test_at_any_line(url: str, http2: bool, operation: Callable[[World], object]) -> None:
    with World(url, http2).ended() as first:
        chosen = places(first)
    assert len(chosen) > OTHER_LINES
    strikes = 0
    for place in chosen:
        with World(url, http2, max_connections=2).ended() as world:
            with contextlib.suppress(*ENDED):
                strike_at(world, place, operation)
            strikes += world.strikes
            world.check()
    assert strikes > len(chosen) / 2


def can_be_raised_in(frame: FrameType) -> bool:
    """Python drops what is raised in a destructor; and it lets no signal handler run where the line
    of a ``with`` is left, where a trace function is called all the same."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return frame.f_code.co_name != "__del__" and not line.startswith("with ")


@unmeasured
# An interrupted request may leave its response, or its socket, to the collector, which says so; and
# what is raised in a destructor is reported and dropped by Python.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@protocols
def test_a_handler_that_cancels_and_raises_at_any_line(url: str, http2: bool) -> None:
    """SIGTERM's: end what is under way, then leave. What it left for the interrupted code is done
    by the next that comes."""

    def cancel(world: World) -> None:
        world.token.cancel()
        world.pool.close()
        struck = sys._getframe(3)
        assert is_ours(struck)
        if can_be_raised_in(struck):
            raise KeyboardInterrupt

    with World(url, http2).ended() as first:
        chosen = places(first)
    for place in chosen:
        with World(url, http2, max_connections=2).ended() as world:
            with contextlib.suppress(KeyboardInterrupt, *ENDED):
                strike_at(world, place, cancel)
            world.response = None
            gc.collect(1)
            world.check()


@protocols
def test_a_request_while_the_only_connection_is_opened_or_waited_for(url: str, http2: bool) -> None:
    """The interrupted request will not go on, so to wait for its connection would be for ever."""
    done: list[int] = []

    def hook(name: str, details: dict[str, Any]) -> None:
        if name == "connection.connect_tcp.started" and not done:
            done.append(0)
            done[0] = world.pool.request("GET", url).status

    with World(url, http2, max_connections=1, trace=hook).ended() as world:
        world.pool.request("GET", url)
        assert done == [200]
        world.check()


def test_only_who_would_have_to_wait_looks_who_was_interrupted(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []
    monkeypatch.setattr(connection_pool, "is_running", lambda *_: bool(looks.append(1)))
    with httpcore.ConnectionPool(max_connections=1) as pool:
        for _ in range(3):
            pool.request("GET", server.url)
        assert looks == []


# --- real signals ---

KILLER = """
import os, sys, time
parent = int(sys.argv[1])
while os.getppid() == parent:
    os.kill(parent, int(sys.argv[2]))
    time.sleep(0.0003)
"""


class Storm(NamedTuple):
    """Signals that come in all the time."""

    handled: list[int]

    @property
    def goes_on(self) -> bool:
        return self.handled[0] < SIGNALS


@contextlib.contextmanager
def storm(handler: Callable[[], object]) -> Iterator[Storm]:
    """Another process sends signals as quickly as it can; `handler` is called for each, unless it
    is under way."""
    state = Storm([0])
    inside = False

    def handle(*_: object) -> None:
        nonlocal inside
        if inside:
            return
        inside = True
        try:
            handler()
            state.handled[0] += 1
        finally:
            inside = False

    # The server is in this process: it shall not wait its usual turn of 5 ms for each request.
    turn = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)
    previous = signal.signal(signal.SIGUSR1, handle)
    killer = subprocess.Popen(
        [sys.executable, "-S", "-c", KILLER, str(os.getpid()), str(int(signal.SIGUSR1))]
    )
    try:
        yield state
    finally:
        inside = True
        killer.kill()
        killer.wait()
        signal.signal(signal.SIGUSR1, previous)
        sys.setswitchinterval(turn)


needs_signals = pytest.mark.skipif(
    not hasattr(signal, "SIGUSR1") or threading.current_thread() is not threading.main_thread(),
    reason="signals are handled by the main thread, and Windows has no SIGUSR1",
)


@unmeasured
@needs_signals
@protocols
@operations
def test_a_thousand_signals(url: str, http2: bool, operation: Callable[[World], object]) -> None:
    with World(url, http2).ended() as world:
        with storm(lambda: operation(world)) as signals:
            while signals.goes_on:
                world.token = httpcore.CancelToken()
                with contextlib.suppress(*ENDED):
                    world.converse()
        world.check()


@unmeasured
@needs_signals
@pytest.mark.parametrize("operation", ["close", "get"])
def test_a_thousand_signals_to_a_session(server: LocalServer, operation: str) -> None:
    with httpcore_requests.Session() as session:

        def handler() -> None:
            if operation == "close":
                session.close()
            else:
                assert session.get(server.url).status_code == 200

        with storm(handler) as signals:
            while signals.goes_on:
                assert session.get(server.url).status_code == 200
        assert session.get(server.url).status_code == 200


# --- what else has a lock: cassettes, contexts ---


def test_a_request_that_interrupts_the_recorder(server: LocalServer, tmp_path: Path) -> None:
    """At any line: both are recorded, each once and whole."""
    url = server.url.rstrip("/")
    files = ("/recording.py", "/recording_parts.py", "/cassette_file.py")

    def both(path: Path, place: int) -> bool:
        backend = httpcore.RecordingBackend(None, str(path))
        lines, struck = iter(range(place)), False
        with httpcore.ConnectionPool(network_backend=backend) as pool:

            def strike() -> None:
                nonlocal struck
                if next(lines, None) is None and not struck:
                    struck = True
                    assert pool.request("GET", f"{url}/bytes/20").content

            with striking(strike, files):
                assert pool.request("GET", f"{url}/bytes/10").content
        replayed = httpcore.ReplayBackend(str(path))
        with httpcore.ConnectionPool(network_backend=replayed) as pool:
            assert len(pool.request("GET", f"{url}/bytes/10").content) == 10
            assert not struck or len(pool.request("GET", f"{url}/bytes/20").content) == 20
        assert replayed.unused == []
        return struck

    place = 0
    while both(tmp_path / f"{place}.jsonl", place):
        place += 1
    assert place > 40


def subjects(context: ssl.SSLContext) -> list[str]:
    """Whom a context trusts."""
    return sorted(certificate["serialNumber"] for certificate in context.get_ca_certs())


@pytest.mark.parametrize("same", [False, True], ids=["other roots", "same roots"])
def test_a_request_that_interrupts_the_fitting_of_a_context(same: bool, tmp_path: Path) -> None:
    """At any line: each finds its own roots and those that the context had, never the other's."""
    files = [tmp_path / "a.pem", tmp_path / "b.pem"]
    for file in files:
        trustme.CA().cert_pem.write_to_path(str(file))
    wanted = [TrustRoots(str(files[0])), TrustRoots(str(files[0 if same else 1]))]
    expected = []
    for roots in wanted:
        expected.append(ssl.create_default_context(cafile=str(roots.verify)))

    def both(place: int) -> bool:
        given = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        own = trustme.CA()
        own.configure_trust(given)
        [mine] = subjects(given)
        lines, inner = iter(range(place)), []

        def strike() -> None:
            if next(lines, None) is None and not inner:
                inner.append(None)
                inner[0] = adapt_shared(given, TLSRequirements(True), wanted[1], None)

        with striking(strike, adapt_shared.__code__.co_filename):
            outer = adapt_shared(given, TLSRequirements(True), wanted[0], None)
        for found, roots in zip([outer, *inner], expected, strict=False):
            assert subjects(found._context) == sorted([mine, *subjects(roots)])
        return bool(inner)

    place = 0
    while both(place):
        place += 1
    assert place > 20


# --- the queue ---


def test_deferred_changes_are_made_in_order_and_taken_out() -> None:
    deferred, made = Deferred(), []
    deferred.extend([lambda: made.append(1), lambda: deferred.append(lambda: made.append(3))])
    deferred.append(lambda: made.append(2))
    deferred.carry_out()
    assert made == [1, 2, 3] and not deferred


def test_a_deferred_change_that_was_interrupted_is_made_again() -> None:
    deferred, made = Deferred(), []

    def change() -> None:
        made.append(1)
        if len(made) == 1:
            raise KeyboardInterrupt

    deferred.append(change)
    with pytest.raises(KeyboardInterrupt):
        deferred.carry_out()
    deferred.carry_out()
    assert made == [1, 1] and not deferred


def test_a_deferred_change_that_fails_fails_once() -> None:
    deferred, made = Deferred(), []
    deferred.extend([lambda: {}["missing"], lambda: made.append(1)])
    with pytest.raises(KeyError):
        deferred.carry_out()
    deferred.carry_out()
    assert made == [1]


def test_a_deferred_change_that_another_thread_took_out() -> None:
    deferred = Deferred()
    deferred.append(deferred.clear)
    deferred.carry_out()
    assert not deferred


# --- cancel tokens ---


def test_a_token_wakes_who_waits_between_two_attempts() -> None:
    token = httpcore.CancelToken()
    sleeper = Worker(lambda: token.sleep(600.0))
    until(lambda: token._sleepers)
    token.cancel()
    token.cancel()
    sleeper.result()
    assert not token._sleepers
    token.sleep(600.0)  # at once


def test_a_token_takes_no_lock(server: LocalServer) -> None:
    """At each line of its own, also of `cancel`, another `cancel` may come."""
    place, reached = 0, True
    while reached:
        place += 1
        with World(server.url.rstrip("/"), False).ended() as world:
            token, lines = world.token, iter(range(1, place))

            def strike(token: httpcore.CancelToken = token, lines: Iterator[int] = lines) -> None:
                if next(lines, None) is None:
                    token.cancel()

            with striking(strike):
                token.cancel()
                token.sleep(600.0)
            reached = next(lines, None) is None
    assert place > 10
