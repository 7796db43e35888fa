"""One HTTP/2 connection, on streams on which a test plays the server.

Owns: `httpcore._sync.http2`: who reads, who waits, what is sent in which order, what ends what.
Must not know: frames (that is `test_h2`), pools and sockets (`test_http2_pool`).
"""

from __future__ import annotations

import gc
import io
import itertools
import socket
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import httpcore
from httpcore._backends import clock as backends_clock
from httpcore._core import h2 as _h2
from httpcore._core import h2_upload
from httpcore._core.h2_session import ASSUMED_STREAMS
from httpcore._core.limits import ACK_PATIENCE, CONTINUE_PATIENCE
from httpcore._core.prepared import prepare
from httpcore._exceptions import MAYBE_PROCESSED, IncompleteBody, ServerDisconnected
from httpcore._sync import http2, http2_exchange, response_body
from httpcore._sync.http2 import HTTP2Connection
from httpcore._sync.http2_exchange import HTTP2Exchange
from httpcore.exceptions import Aborted
from tests.support import PATIENCE
from tests.support.http2 import Code, Kind
from tests.support.interrupting import interrupt_at
from tests.support.servers import pattern
from tests.support.threads import Worker, until
from tests.support.wire import Wire, silent

ORIGIN = httpcore.Origin(b"https", b"example.com", 443)
URL = "https://example.com/path"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., HTTP2Connection]]:
    """`connect(wire, **options)`: a connection whose clock is the wire's. Nothing may be done on
    the wire that must not be."""
    wires: list[Wire] = []
    # A sleeper must be woken; it is not to be saved by looking for itself.
    monkeypatch.setattr(http2, "MAX_SLEEP", 60.0)

    def make(wire: Wire, **options: Any) -> HTTP2Connection:
        clock = SimpleNamespace(monotonic=lambda: wire.now)
        if not wire.patient:
            for module in (http2, http2_exchange, response_body, backends_clock):
                monkeypatch.setattr(module, "time", clock)
        wires.append(wire)
        return HTTP2Connection(ORIGIN, wire, **options)

    yield make
    assert [wire.mistakes for wire in wires] == [[]] * len(wires)


Connect = Callable[..., HTTP2Connection]


def shared(answer: Any = silent, **options: Any) -> Wire:
    """A wire that threads wait on."""
    wire = Wire(answer, **options)
    wire.patient = True
    return wire


def send(
    connection: HTTP2Connection,
    method: str = "GET",
    content: Any = None,
    headers: Iterable[tuple[str, str]] = (),
    **extensions: Any,
) -> httpcore.Response:
    """One request; its response, the body unread."""
    fields = [("Host", "example.com"), *headers]
    if isinstance(content, bytes):
        fields.append(("Content-Length", str(len(content))))
    request = httpcore.Request(method, URL, headers=fields, content=content, extensions=extensions)
    return connection.handle_request(request)


def timeouts(**seconds: float) -> dict[str, Any]:
    return {"timeout": seconds}


def opened(connection: HTTP2Connection, wire: Wire, count: int = 1, path: str = "") -> list[Worker]:
    """Threads that have sent a request each, in this order, and wait for its response."""
    workers = []
    for _ in range(count):
        streams = len(wire.opened)
        workers.append(Worker(lambda: connection.request("GET", URL + path).content))
        until(lambda streams=streams: len(wire.opened) > streams)
    until(lambda: len(connection.sleepers) + (connection.election.reader is not None) >= count)
    return workers


# ---------------------------------------------------------------------------------------------
# One after the other


def test_a_request_and_its_response(connect: Connect) -> None:
    wire = Wire()
    with connect(wire) as connection:
        for number in (1, 3, 5):
            response = connection.request("GET", URL, headers=[("X-A", "b")])
            assert (response.status, response.content) == (200, b"ok")
            assert response.headers == [(b"content-length", b"2")]
            assert response.extensions["http_version"] == b"HTTP/2"
            assert response.extensions["stream_id"] == number
            assert response.extensions["network_stream"] is wire
            assert response.extensions["reused"] is (number > 1)
            assert "reason_phrase" not in response.extensions
        assert sorted(wire.requests[1]) == [
            (b":authority", b"example.com"),
            (b":method", b"GET"),
            (b":path", b"/path"),
            (b":scheme", b"https"),
            (b"x-a", b"b"),
        ]
    assert wire.closed


def test_what_it_says_about_itself(connect: Connect) -> None:
    wire = Wire(silent, settings={"max_concurrent_streams": 7})
    connection = connect(wire)
    name = "'https://example.com:443'"
    assert connection.info() == f"{name}, HTTP/2, IDLE, Request Count: 0"
    assert repr(connection) == f"<HTTP2Connection [{name}, IDLE, Request Count: 0]>"
    assert (connection.open_streams, connection.max_streams) == (0, ASSUMED_STREAMS)
    assert connection.serving is None and connection.since is None
    wire.head(1, 200)
    response = send(connection)
    assert connection.info() == f"{name}, HTTP/2, ACTIVE, Request Count: 1"
    assert (connection.open_streams, connection.max_streams) == (1, 7)
    assert connection.serving is not None and connection.serving.url.target == b"/path"
    assert connection.since == wire.now
    assert not connection.is_idle() and connection.is_available()
    response.close()
    assert connection.is_idle() and not connection.is_closed()
    connection.close()
    connection.close()
    assert connection.info() == f"{name}, HTTP/2, CLOSED, Request Count: 1"
    assert connection.is_closed() and not connection.is_available() and not connection.is_idle()
    assert connection.max_streams == 0


def test_a_request_to_somebody_else(connect: Connect) -> None:
    connection = connect(Wire())
    with pytest.raises(RuntimeError, match=r"request to https://other.* on a connection to https"):
        connection.request("GET", "https://other/")


def test_idle_connections_say_goodbye(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    connection.request("GET", URL)
    connection.close()
    assert wire.frames[-1].kind == Kind.GOAWAY
    with pytest.raises(httpcore.ConnectionNotAvailable, match="is closed"):
        connection.request("GET", URL)


def test_it_expires(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire, keepalive_expiry=5.0)
    assert not connection.has_expired()
    connection.request("GET", URL)
    wire.now += 4.9
    assert not connection.has_expired()
    wire.now += 0.2
    assert connection.has_expired()
    connection.close()
    assert not connection.has_expired()


def test_it_has_expired_when_the_server_has_gone(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    connection.request("GET", URL)
    assert not connection.has_expired()
    wire.end()
    assert connection.has_expired()


def test_a_body_in_pieces(connect: Connect) -> None:
    wire = Wire(lambda wire, number: wire.head(number))
    connection = connect(wire)
    response = send(connection)
    for piece in (b"one", b"two"):
        wire.data(1, piece)
        assert response.stream.read1() == piece
    buffer = bytearray(10)
    wire.data(1, b"three", end=True)
    assert response.stream.readinto(buffer) == 5
    assert response.stream.read1() == b""
    assert response.stream.closed and connection.is_idle()


def test_a_body_that_is_read_in_place(connect: Connect) -> None:
    body = pattern(300_000)

    def answer(wire: Wire, number: int) -> None:
        wire.head(number, 200, [("content-length", str(len(body)))])
        for at in range(0, len(body), 16384):
            wire.data(number, body[at : at + 16384], end=at + 16384 >= len(body))

    connection = connect(Wire(answer))
    assert connection.request("GET", URL).content == body


def test_trailers(connect: Connect) -> None:
    def answer(wire: Wire, number: int) -> None:
        wire.head(number)
        wire.data(number, b"body")
        wire.trailers(number, [("x-sum", "42")])

    connection = connect(Wire(answer))
    response = connection.request("GET", URL)
    assert response.trailers == [(b"x-sum", b"42")]


def test_windows_go_back_as_the_body_is_read(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_h2, "STREAM_REFILL", 20_000)
    wire = Wire(lambda wire, number: wire.head(number))
    connection = connect(wire)
    response = send(connection)
    for into in (False, True):
        before = len(wire.seen(Kind.WINDOW_UPDATE))
        for _ in range(2):
            wire.data(1, bytes(16384))
            if into:
                assert response.stream.source.readinto(memoryview(bytearray(16384))) == 16384
            else:
                assert response.stream.read1() == bytes(16384)
        assert [f.stream_id for f in wire.seen(Kind.WINDOW_UPDATE)[before:]] == [1]


def test_interim_responses(connect: Connect) -> None:
    def answer(wire: Wire, number: int) -> None:
        wire.head(number, 103, [("link", "</a>")])
        wire.head(number, 102)
        wire.respond(number)

    seen: list[Any] = []
    connection = connect(Wire(answer))
    hook = lambda status, headers: seen.append((status, headers))  # noqa: E731
    response = connection.request("GET", URL, extensions={"informational": hook})
    assert response.content == b"ok"
    assert seen == [(103, [(b"link", b"</a>")]), (102, [])]
    assert connection.request("GET", URL).content == b"ok"


def test_a_hook_that_raises_ends_its_request_alone(connect: Connect) -> None:
    wire = shared()
    connection = connect(wire)
    (other,) = opened(connection, wire)

    def hook(status: int, headers: object) -> None:
        raise ValueError("no")

    failing = Worker(lambda: connection.request("GET", URL, extensions={"informational": hook}))
    until(lambda: len(wire.opened) == 2)
    wire.head(3, 103)
    assert isinstance(failing.error(), ValueError)
    assert wire.resets == {3: Code.CANCEL}
    wire.respond(1)
    assert other.result() == b"ok"
    assert connection.election.reader is None and connection.is_idle()


# ---------------------------------------------------------------------------------------------
# Who reads


def test_one_reads_and_the_others_sleep(connect: Connect) -> None:
    wire = shared()
    connection = connect(wire)
    workers = opened(connection, wire, 5)
    assert len(connection.sleepers) == 4
    assert len(wire.waits) == 2  # the settings, and then nothing
    for number in (9, 5, 7, 3):
        wire.respond(number, b"%d" % number)
    assert [worker.result() for worker in workers[1:]] == [b"3", b"5", b"7", b"9"]
    wire.respond(1, b"1")
    assert workers[0].result() == b"1"
    assert connection.election.reader is None and not connection.sleepers


def test_a_reader_that_has_its_response_hands_over(connect: Connect) -> None:
    wire = shared()
    connection = connect(wire)
    workers = opened(connection, wire, 5)
    for index, number in enumerate((1, 3, 5, 7, 9)):
        wire.respond(number, b"%d" % number)
        assert workers[index].result() == b"%d" % number
        until(lambda rest=4 - index: len(connection.sleepers) == max(0, rest - 1))


def test_what_came_for_several_at_once_wakes_them_all(connect: Connect) -> None:
    wire = shared()
    connection = connect(wire)
    workers = opened(connection, wire, 8)
    with connection.lock:  # so that one read gets it all
        for number in reversed(wire.opened):
            wire.respond(number, b"%d" % number)
    assert [worker.result() for worker in workers] == [b"%d" % n for n in wire.opened]


class Stop(BaseException):
    """Stands for a KeyboardInterrupt."""


@pytest.mark.parametrize("where", ["polling", "reading"])
def test_a_reader_that_is_interrupted_hands_over(
    where: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = shared()
    connection = connect(wire)
    waiting = wire.wait
    stopped = threading.Event()

    def wait(write: bool, timeout: float | None) -> bool:
        ready = waiting(write, timeout)
        if stopped.is_set():
            stopped.clear()
            raise Stop
        return ready

    monkeypatch.setattr(wire, "wait", wait)
    workers = opened(connection, wire, 3)
    if where == "polling":
        stopped.set()
        wire.wake()
        assert isinstance(workers[0].error(), Stop)
        until(lambda: wire.resets == {1: Code.CANCEL})
        wire.respond(3)
        wire.respond(5)
        assert [worker.result() for worker in workers[1:]] == [b"ok"] * 2
    else:  # in the middle of a frame: what is true of the connection nobody knows
        wire.say(Stop())
        assert isinstance(workers[0].error(), Stop)
        for worker in workers[1:]:
            error = worker.error()
            assert isinstance(error, httpcore.ReadError)
            assert "was interrupted" in str(error)
        assert not connection.is_available()


def test_a_sleeper_that_is_interrupted(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = shared()
    connection = connect(wire)
    workers = opened(connection, wire, 1)

    class Bell:
        def __init__(self) -> None:
            self.rung = threading.Semaphore(0)
            self.first = True

        def acquire(self, timeout: float = -1) -> bool:
            if self.first:
                self.first = False
                return True
            raise Stop

        def release(self) -> None:
            self.rung.release()

    with monkeypatch.context() as patch:
        patch.setattr(http2, "threading", SimpleNamespace(Lock=Bell, get_ident=threading.get_ident))
        with pytest.raises(Stop):
            send(connection)
    assert wire.resets == {3: Code.CANCEL}
    assert not connection.sleepers
    wire.respond(1)
    assert workers[0].result() == b"ok"


def test_a_sleeper_whose_time_is_over_when_it_is_to_read(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was woken to read on, and its own time is over: somebody else must."""
    wire = shared()
    connection = connect(wire)
    (first,) = opened(connection, wire)
    late = Worker(lambda: connection.request("GET", URL, extensions=timeouts(read=PATIENCE)))
    until(lambda: len(connection.sleepers) == 1)
    last = Worker(lambda: connection.request("GET", URL).content)
    until(lambda: len(connection.sleepers) == 2)
    clock = SimpleNamespace(monotonic=lambda: 1e9)
    with connection.lock:
        wire.respond(1)
        monkeypatch.setattr(http2, "time", clock)
    assert first.result() == b"ok"
    assert isinstance(late.error(), httpcore.ReadTimeout)
    until(lambda: connection.election.reader is not None)
    wire.respond(5)
    assert last.result() == b"ok"


def test_threads_that_come_and_go(connect: Connect) -> None:
    """No request waits for ever, whoever reads, and however they end."""

    def answer(wire: Wire, number: int) -> None:
        if number % 5:
            wire.respond(number, b"%d" % number)
        else:
            wire.reset(number, Code.INTERNAL_ERROR)

    wire = shared(answer)
    connection = connect(wire)
    send(connection).close()
    results: list[Any] = []

    def work() -> None:
        for _ in range(50):
            response = None
            try:
                response = send(connection)
                number = response.extensions["stream_id"]
                results.append(response.read() == b"%d" % number)
            except httpcore.RemoteProtocolError:
                results.append(None)

    workers = [Worker(work) for _ in range(8)]
    for worker in workers:
        worker.result()
    assert len(results) == 400
    assert results.count(None) == 80
    assert False not in results
    assert wire.opened == sorted(wire.opened)
    assert connection.election.reader is None and not connection.sleepers and connection.is_idle()


def test_a_reader_tells_the_pool_at_once(connect: Connect) -> None:
    """What others wait for must not wait for the response of the one who reads."""
    wire = shared()
    connection = connect(wire)
    told: list[tuple[int, bool]] = []
    connection.on_change = lambda: told.append((connection.max_streams, connection.is_draining))
    (worker,) = opened(connection, wire)
    until(lambda: told == [(_h2.MAX_STREAMS, False)])
    wire.settings(max_concurrent_streams=3)
    until(lambda: told[1:] == [(3, False)])
    wire.goaway(1)
    until(lambda: told[2:] == [(0, True)])
    wire.respond(1)
    assert worker.result() == b"ok"


def test_all_places_where_a_reader_can_be_interrupted(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it strikes, no lock is held afterwards, somebody reads on, and what is on the wire
    is in order; or the connection knows that it is broken."""
    monkeypatch.setattr(http2, "MAX_SLEEP", 0.02)  # for who is struck with the bell in its hand
    position = 1
    while _interrupt_a_reader(connect, position):
        position += 1
    assert position > 60


def _interrupt_a_reader(connect: Connect, position: int) -> bool:
    wire = shared(lambda wire, number: wire.respond(number) if number not in (3, 5) else None)
    connection = connect(wire)
    assert connection.request("GET", URL).content == b"ok"
    main = threading.get_ident()
    others: list[Worker] = []
    wait = wire.wait

    def wait_with_another(write: bool, timeout: float | None) -> bool:
        if threading.get_ident() == main and not others and len(wire.opened) == 2:
            others.append(Worker(lambda: connection.request("GET", URL).content))
            until(lambda: connection.sleepers)
            wire.respond(3)
        return wait(write, timeout)

    wire.wait = wait_with_another  # type: ignore[method-assign]
    struck = interrupt_at(position, lambda: connection.request("GET", URL))
    assert connection.lock.acquire(timeout=5), f"the lock is held, {position}"
    connection.lock.release()
    wire.answer = Wire.respond
    wire.respond(5)
    try:
        for other in others:
            assert other.result() == b"ok"
        assert connection.request("GET", URL).content == b"ok"
    except (httpcore.ReadError, httpcore.ConnectionNotAvailable):
        assert connection.is_draining
    assert connection.election.reader is None and not connection.sleepers, position
    if not connection.is_draining:
        assert wire.left_open == set(), position
    return struck


def test_all_places_where_a_lone_request_can_be_interrupted(connect: Connect) -> None:
    """As above, on a body that is read in two pieces, one that is closed early, and an upload."""
    actions: list[Callable[[HTTP2Connection], object]] = [
        lambda connection: send(connection).read(),
        lambda connection: send(connection).close(),
        lambda connection: send(connection, "POST", b"x" * 30_000).read(),
    ]
    for action in actions:
        position = 1
        while _interrupt(connect, position, action):
            position += 1
        assert position > 60


def _interrupt(
    connect: Connect, position: int, action: Callable[[HTTP2Connection], object]
) -> bool:
    said = 1

    def answer(wire: Wire, number: int) -> None:
        nonlocal said
        wire.head(number)
        wire.data(number, b"one")
        wire.settings(max_concurrent_streams=50 + number)
        wire.data(number, b"two", end=True)
        said += 1

    wire = Wire(answer)
    connection = connect(wire)
    send(connection).read()
    struck = interrupt_at(position, lambda: action(connection))
    assert connection.lock.acquire(timeout=5), f"the lock is held, {position}"
    connection.lock.release()
    assert connection.election.reader is None and not connection.sleepers, position
    if not connection.is_draining:
        try:
            assert send(connection).read() == b"onetwo"
        except httpcore.ReadError:
            assert connection.is_draining
        else:
            assert wire.left_open == set(), position
            assert len(wire.seen(Kind.SETTINGS)) == 1 + said, position  # each acknowledged
            sent = sum(frame.size for frame in wire.seen(Kind.DATA))
            at_h2: Any = connection.codec._h2
            assert at_h2.outbound_flow_control_window == 65535 - sent, position
    return struck


# ---------------------------------------------------------------------------------------------
# Sending, and what the network does not take at once


def test_what_is_not_taken_at_once_is_sent_when_there_is_room(connect: Connect) -> None:
    wire = shared(Wire.respond)
    connection = connect(wire)
    wire.room = 40  # less than the preface and the settings
    worker = Worker(lambda: connection.request("GET", URL).content)
    until(lambda: (True, None) in wire.waits)
    for _ in range(30):
        wire.make_room(7)
    wire.make_room()
    assert worker.result() == b"ok"


def test_a_reader_that_waits_for_bytes_alone_learns_that_there_are_some_to_send(
    connect: Connect,
) -> None:
    wire = shared()
    connection = connect(wire)
    (first,) = opened(connection, wire)
    until(lambda: wire.waits[-1] == (False, None))
    wire.room = 3
    second = Worker(lambda: connection.request("GET", URL).content)
    until(lambda: wire.waits[-1] == (True, None))
    assert wire.opened == [1]
    polls = len(wire.waits)
    third = Worker(lambda: connection.request("GET", URL).content)
    until(lambda: len(connection.sleepers) == 2)
    assert len(wire.waits) == polls  # it was told already
    wire.make_room()
    until(lambda: wire.opened == [1, 3, 5])
    for number in (1, 3, 5):
        wire.respond(number)
    assert [worker.result() for worker in (first, second, third)] == [b"ok"] * 3


def test_a_window_that_is_given_back_by_who_does_not_wait(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it to be sent, but the reader sees to it."""
    monkeypatch.setattr(_h2, "STREAM_REFILL", 10_000)
    wire = shared()
    connection = connect(wire)
    (first,) = opened(connection, wire)
    wire.answer = lambda wire, number: wire.head(number)
    response = send(connection)
    wire.data(3, bytes(16000))
    until(lambda: connection.open_streams == 2 and response.stream.reader.buffered)
    before = len(wire.seen(Kind.WINDOW_UPDATE))
    wire.room = 0
    assert response.stream.read1() == bytes(16000)
    until(lambda: wire.waits[-1] == (True, None))
    wire.make_room()
    until(lambda: len(wire.seen(Kind.WINDOW_UPDATE)) > before)
    response.close()
    wire.respond(1)
    assert first.result() == b"ok"


def test_a_peer_that_reads_nothing(connect: Connect) -> None:
    """Each request fails by its own timeout, and nobody runs in circles meanwhile."""
    wire = Wire(silent)
    connection = connect(wire)
    send_one = {"timeout": {"write": 5.0, "read": 7.0}}
    wire.answer = lambda wire, number: wire.respond(number)
    send(connection).close()
    wire.answer = silent
    wire.room = 20_000
    polls = len(wire.waits)
    with pytest.raises(httpcore.WriteTimeout, match="no byte taken within 5 s") as upload:
        send(connection, "POST", bytes(300_000), **send_one)
    assert upload.value.phase == "maybe_processed"
    with pytest.raises(httpcore.WriteTimeout, match="no byte taken within 5 s"):
        send(connection, "GET", **send_one)
    assert len(wire.waits) - polls <= 4
    # It is not good for anything: nobody else is to join.
    assert not connection.is_available() and not connection.is_draining
    wire.make_room()
    wire.answer = Wire.respond
    assert send(connection).read() == b"ok"
    wire.pong()
    assert connection.is_usable(0.0)
    assert set(wire.resets) == {3, 5}


def test_a_slow_peer_is_no_timeout(connect: Connect) -> None:
    """As long as it takes something, however little."""
    wire = Wire()
    connection = connect(wire)
    send(connection).close()
    slow = wire.wait

    def wait(write: bool, timeout: float | None) -> bool:
        if write and timeout is not None and not wire._incoming:
            wire.now += 4.0
            wire.room = 3000
            return True
        return slow(write, timeout)

    wire.wait = wait  # type: ignore[method-assign]
    wire.room = 0
    began = wire.now
    content = pattern(60_000)
    response = send(connection, "POST", content, timeout={"write": 5.0})
    assert response.read() == b"ok"
    assert wire.bodies[3] == content
    assert wire.now - began > 60

    # But the total holds.
    wire.window(0, 60_000)
    with pytest.raises(httpcore.WriteTimeout, match="total of 30 s is over"):
        send(connection, "POST", content, timeout={"write": 5.0, "total": 30.0})


def busy(connect: Connect) -> tuple[Wire, HTTP2Connection, Worker]:
    """A connection on which one upload goes on as slowly as `feed` lets it."""
    wire = shared(Wire.respond, settings={"initial_window_size": 0})
    connection = connect(wire)
    send(connection).close()
    wire.answer = silent
    busy = Worker(lambda: connection.request("POST", URL, content=bytes(50_000_000)))
    until(lambda: len(wire.opened) == 2)
    wire.room = 0
    wire.window(0, 2**30)
    wire.window(3, 2**30)
    until(lambda: connection.unsent)
    return wire, connection, busy


ENDED = (httpcore.NetworkError, httpcore.RemoteProtocolError)


def feed(wire: Wire, worker: Worker) -> None:
    """Take a few bytes at a time until `worker` has ended."""

    def step() -> bool:
        wire.make_room(500)
        return not worker.is_alive()

    until(step)


@pytest.mark.parametrize("credit", [0, 1000])
def test_a_write_timeout_counts_its_own_stream_alone(connect: Connect, credit: int) -> None:
    """Another upload goes on; this one has no window, at all or any more."""
    wire, connection, other = busy(connect)
    content = bytes(100_000)
    upload = Worker(
        lambda: connection.request("POST", URL, content=content, extensions=timeouts(write=0.3))
    )
    until(lambda: (wire.make_room(500), len(wire.opened) == 3)[1])
    if credit:
        wire.window(5, credit)
        until(lambda: (wire.make_room(500), len(wire.bodies[5]) == credit)[1])
    taken = len(wire.bodies[3])
    feed(wire, upload)
    exc = upload.error()
    assert type(exc) is httpcore.WriteTimeout
    assert "the server has opened no window within 0.3 s" in str(exc)
    assert len(wire.bodies[3]) > taken
    assert other.is_alive()
    assert connection.is_available()  # it has done nothing wrong
    wire.end()
    wire.make_room()
    assert isinstance(other.error(), ENDED)


def test_the_wait_for_leave_to_send_is_not_stretched(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h2_upload, "CONTINUE_PATIENCE", 0.1)
    wire, connection, other = busy(connect)
    upload = Worker(
        lambda: connection.request("POST", URL, headers={"Expect": "100-continue"}, content=b"abc")
    )
    until(lambda: (wire.make_room(500), len(wire.opened) == 3)[1])
    wire.window(5, 1000)
    until(lambda: (wire.make_room(500), wire.bodies[5] == b"abc")[1])
    wire.respond(5)
    feed(wire, upload)
    assert upload.result().status == 200
    wire.end()
    wire.make_room()
    assert isinstance(other.error(), ENDED)


def test_an_upload_that_has_left_does_not_wait_for_others(connect: Connect) -> None:
    wire, connection, other = busy(connect)
    upload = Worker(
        lambda: connection.request(
            "POST", URL, content=bytes(1000), extensions=timeouts(write=0.3, read=10.0)
        )
    )
    until(lambda: (wire.make_room(500), len(wire.opened) == 3)[1])
    wire.window(5, 1000)  # just enough
    until(lambda: (wire.make_room(500), len(wire.bodies[5]) == 1000)[1])
    wire.respond(5)
    feed(wire, upload)
    assert upload.result().status == 200
    wire.end()
    wire.make_room()
    assert isinstance(other.error(), ENDED)


def test_writing_fails(connect: Connect) -> None:
    """Not a byte of it was taken: it can be sent elsewhere."""
    wire = Wire()
    connection = connect(wire)
    send(connection).close()
    wire.failure = httpcore.WriteError("broken pipe")
    wire.failure.phase = "not_sent"
    with pytest.raises(httpcore.WriteError, match=r"broken pipe \(GET /path\)") as caught:
        send(connection)
    assert caught.value.phase == "not_sent"
    assert caught.value.__cause__ is wire.failure
    assert connection.is_closed() and wire.closed


def test_writing_fails_in_the_middle(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    send(connection).close()

    def write(buffer: Any) -> int:
        wire.failure = httpcore.WriteError("broken pipe")
        wire.failure.phase = "not_sent"
        return 10

    with pytest.MonkeyPatch.context() as patch:
        taken = iter([write])
        real = wire.write_ready
        patch.setattr(wire, "write_ready", lambda data: next(taken, real)(data))
        with pytest.raises(httpcore.WriteError) as caught:
            send(connection, "POST", b"x" * 1000)
    assert caught.value.phase == "maybe_processed"


def test_what_the_server_said_before_writing_failed(connect: Connect) -> None:
    """It is heard: here, that the request was not processed."""
    wire = shared()
    connection = connect(wire)
    workers = opened(connection, wire, 2)
    failures = iter(["broken pipe", *["and again"] * 10])

    def write(data: Any) -> int:
        raise httpcore.WriteError(next(failures))

    wire.write_ready = write  # type: ignore[method-assign]
    late = Worker(lambda: connection.request("GET", URL))
    assert isinstance(late.error(), httpcore.WriteError)
    assert next(failures) == "and again"
    assert len(list(failures)) == 9, "nothing is written behind what may be half a frame"
    wire.write_ready = lambda data: 0  # type: ignore[method-assign, assignment]
    wire.goaway(1)
    error = workers[1].error()
    assert isinstance(error, httpcore.ConnectionNotAvailable)
    assert error.phase == "not_sent"  # type: ignore[attr-defined]
    wire.end()
    error = workers[0].error()
    assert isinstance(error, httpcore.WriteError)
    assert str(error) == "broken pipe (GET /path)"
    assert error.phase == "maybe_processed"  # type: ignore[attr-defined]
    assert connection.is_closed()


def test_a_server_that_ends_its_side_and_reads_nothing(connect: Connect) -> None:
    wire = Wire(silent)
    connection = connect(wire)
    wire.respond(1)
    wire.answer = lambda wire, number: None
    send(connection).close()
    wire.room = 0
    wire.end()
    with pytest.raises(ServerDisconnected):
        send(connection, "POST", bytes(1000))
    assert len(wire.waits) < 10


def test_streams_are_opened_in_order(connect: Connect) -> None:
    """40 threads, a network that takes a little at a time: each header block is whole, and the
    streams are in order."""
    wire = shared(Wire.respond)
    connection = connect(wire)
    together = threading.Barrier(40)
    wire.room = 0

    def work() -> None:
        together.wait(PATIENCE)
        for _ in range(5):
            assert send(connection, "POST", b"x" * 100).read() == b"ok"

    workers = [Worker(work) for _ in range(40)]
    rooms = itertools.cycle((50, 1997, 3))
    while any(worker.is_alive() for worker in workers):
        wire.make_room(next(rooms))
        until(lambda: wire.room == 0 or not any(worker.is_alive() for worker in workers))
    for worker in workers:
        worker.result()
    assert wire.opened == list(range(1, 401, 2))
    assert set(wire.bodies.values()) == {b"x" * 100}
    assert connection.is_idle() and not connection.unsent


def test_the_number_of_streams_is_settled_first(connect: Connect) -> None:
    """Until the server says how many there may be, there is one."""
    wire = shared(settings=None)
    connection = connect(wire)
    first = Worker(lambda: connection.request("GET", URL).content)
    until(lambda: wire.opened)
    others = [Worker(lambda: connection.request("GET", URL).content) for _ in range(2)]
    until(lambda: len(connection.sleepers) == 2)
    assert wire.opened == [1]
    wire.settings(max_concurrent_streams=2)
    until(lambda: len(wire.opened) == 2)
    until(lambda: not all(worker.is_alive() for worker in others))
    refused, second = sorted(others, key=Worker.is_alive)
    assert isinstance(refused.error(), httpcore.ConnectionNotAvailable)
    wire.respond(1)
    wire.respond(3)
    assert first.result() == second.result() == b"ok"


def test_another_thread_is_first_before_the_settings_are_there(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen that no stream is open."""
    wire = shared(settings=None)
    connection = connect(wire)
    await_settings = HTTP2Exchange._await_settings
    turns = iter([True])
    first: list[Worker] = []

    def late(exchange: HTTP2Exchange, timeout: float | None) -> None:
        await_settings(exchange, timeout)
        if next(turns, False):
            first.append(Worker(lambda: connection.request("GET", URL).content))
            until(lambda: wire.opened == [1])

    monkeypatch.setattr(HTTP2Exchange, "_await_settings", late)
    second = Worker(lambda: connection.request("GET", URL).content)
    until(lambda: len(connection.sleepers) == 1)
    wire.settings()
    until(lambda: wire.opened == [1, 3])
    wire.respond(1)
    wire.respond(3)
    assert first[0].result() == second.result() == b"ok"


def test_a_server_that_never_says_its_settings(connect: Connect) -> None:
    wire = shared(settings=None)
    connection = connect(wire)
    first = Worker(lambda: connection.request("GET", URL).content)
    until(lambda: wire.opened)
    late = Worker(lambda: connection.request("GET", URL, extensions=timeouts(read=0.01)))
    error = late.error()
    assert isinstance(error, httpcore.ReadTimeout)
    assert error.phase == "not_sent"  # type: ignore[attr-defined]
    second = Worker(lambda: connection.request("GET", URL).content)
    until(lambda: len(connection.sleepers) == 1)
    wire.respond(1)
    assert first.result() == b"ok"
    until(lambda: wire.opened == [1, 3])  # after the other: that is allowed without settings
    wire.respond(3)
    assert second.result() == b"ok"


# ---------------------------------------------------------------------------------------------
# Silence


def test_a_read_timeout_ends_its_request_alone(connect: Connect) -> None:
    wire = Wire(silent)
    connection = connect(wire)
    with pytest.raises(httpcore.ReadTimeout, match="no byte of the response within 5 s") as caught:
        send(connection, **timeouts(read=5.0))
    assert caught.value.phase == "maybe_processed"
    assert wire.resets == {1: Code.CANCEL}
    assert wire.now == 1005.0
    # The connection owes an answer, and is good again once it came.
    assert (connection.is_available(), connection.max_streams) == (False, 0)
    assert not connection.is_draining
    wire.pong()
    assert connection.is_usable(0.0)
    assert connection.max_streams == _h2.MAX_STREAMS
    wire.answer = Wire.respond
    assert send(connection).read() == b"ok"


def test_a_timeout_in_the_body(connect: Connect) -> None:
    wire = Wire(lambda wire, number: wire.head(number))
    connection = connect(wire)
    response = send(connection, **timeouts(read=5.0))
    wire.data(1, b"one")
    assert response.stream.read1() == b"one"
    with pytest.raises(httpcore.ReadTimeout) as caught:
        response.stream.read1()
    assert caught.value.phase == "response_started"
    assert wire.resets == {1: Code.CANCEL}


def test_what_comes_for_others_does_not_prolong_a_timeout(connect: Connect) -> None:
    wire = shared()
    connection = connect(wire)
    (other,) = opened(connection, wire)
    late = Worker(lambda: connection.request("GET", URL, extensions=timeouts(read=0.05)))
    until(lambda: len(wire.opened) == 2)
    wire.head(1)
    while late.is_alive():
        wire.data(1, b"x")
        threading.Event().wait(0.002)
    assert isinstance(late.error(), httpcore.ReadTimeout)
    wire.data(1, end=True)
    assert set(other.result()) == set(b"x")
    assert wire.resets == {3: Code.CANCEL}


@pytest.mark.parametrize("where", ["head", "body"])
def test_the_total_is_over(where: str, connect: Connect) -> None:
    def answer(wire: Wire, number: int) -> None:
        for _ in range(10):
            wire.head(number, 103)
        if where == "body":
            wire.head(number)

    wire = Wire(answer)
    connection = connect(wire)
    quick = wire.wait

    def wait(write: bool, timeout: float | None) -> bool:
        wire.now += 1.0
        return quick(write, timeout)

    wire.wait = wait  # type: ignore[method-assign]
    with pytest.raises(httpcore.ReadTimeout, match="total of 15 s is over"):
        send(connection, timeout={"read": 5.0, "total": 15.0}).read()
    assert 1014 < wire.now < 1020
    assert wire.resets == {1: Code.CANCEL}


def test_a_ping_is_sent_after_silence_while_a_response_is_waited_for(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire, ping_interval=10.0, ping_timeout=4.0)
    assert send(connection).read() == b"ok"
    wire.now += 1000  # idle: nobody waits
    wire.answer = silent
    with pytest.raises(httpcore.ReadTimeout):
        send(connection, **timeouts(read=9.0))
    assert len(wire.seen(Kind.PING)) == 1  # for the timeout
    wire.pong()
    assert connection.is_usable(0.0)
    with pytest.raises(httpcore.ReadTimeout):
        send(connection, **timeouts(read=13.0))
    assert len(wire.seen(Kind.PING)) == 2
    assert wire.waits[-2:] == [(False, 10.0), (False, 3.0)]


def test_a_ping_that_is_answered(connect: Connect) -> None:
    wire = Wire(silent)
    connection = connect(wire, ping_interval=10.0, ping_timeout=4.0)
    changes: list[int] = []
    connection.on_change = lambda: changes.append(connection.max_streams)
    wait = wire.wait

    def answering(write: bool, timeout: float | None) -> bool:
        if len(wire.seen(Kind.PING)) > len(pongs):
            pongs.append(wire.now)
            wire.now += 2.0
            wire.pong()
        elif len(pongs) == 3:
            wire.respond(1)
        return wait(write, timeout)

    pongs: list[float] = []
    wire.wait = answering  # type: ignore[method-assign]
    assert send(connection).read() == b"ok"
    assert pongs == [1010.0, 1022.0, 1034.0]
    assert changes == [250] + [0, 250] * 3


def test_a_ping_that_is_not_answered(connect: Connect) -> None:
    """All requests on the connection fail, in interval and timeout of the PING."""
    wire = Wire(silent)
    connection = connect(wire, ping_interval=10.0, ping_timeout=4.0)
    with pytest.raises(httpcore.ReadError, match=r"has not answered a PING within 4 s") as caught:
        send(connection)
    assert caught.value.phase == "maybe_processed"
    assert wire.now == 1014.0
    assert connection.is_closed() and wire.closed


def test_a_doubted_connection_whose_peer_acknowledges_nothing(connect: Connect) -> None:
    """Long idle: a NAT may have forgotten it."""
    wire = Wire()
    connection = connect(wire)
    send(connection).close()
    wire.answer = silent
    wire.info["unacknowledged"] = 90
    for idle_for in (http2.ACK_PATIENCE + 1, 0.0):  # asked for again before something is sent
        assert connection.is_usable(idle_for)
    with pytest.raises(httpcore.ReadError, match=r"not acknowledged .* within 3 s: the idle"):
        send(connection, **timeouts(read=60.0))
    assert wire.now == 1003.0
    assert connection.is_closed() and wire.closed


@pytest.mark.parametrize("unacknowledged", [0, None])
def test_a_doubted_connection_whose_peer_is_slow(
    unacknowledged: int | None, connect: Connect
) -> None:
    wire = Wire()
    connection = connect(wire)
    send(connection).close()
    wire.answer = silent
    wire.info["unacknowledged"] = unacknowledged
    assert connection.is_usable(10.0)
    with pytest.raises(httpcore.ReadTimeout):
        send(connection, **timeouts(read=60.0))
    assert wire.now == 1060.0


@pytest.mark.parametrize("alive", [False, True])
def test_a_doubted_connection_on_which_others_send(alive: bool, connect: Connect) -> None:
    """What is not acknowledged may have left just now; a PING tells."""
    wire = Wire()
    connection = connect(wire, ping_interval=None)
    send(connection).close()
    wire.answer = silent
    wire.info["unacknowledged"] = 90
    assert connection.is_usable(10.0)
    wait = wire.wait
    number = 0

    def busy(write: bool, timeout: float | None) -> bool:
        nonlocal number
        number += 1
        if number == 1:  # another request leaves in time
            connection.request_count += 1
        elif alive and wire.seen(Kind.PING):
            wire.pong()
            wire.respond(3)
        return wait(write, timeout)

    wire.wait = busy  # type: ignore[method-assign]
    if alive:
        assert send(connection).read() == b"ok"
        assert wire.now == 1003.0
        assert connection.is_available()
    else:
        with pytest.raises(httpcore.ReadError, match="not acknowledged"):
            send(connection)
        assert wire.now == 1006.0
        assert len(wire.seen(Kind.PING)) == 1


def test_data_proves_that_a_connection_is_alive(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    send(connection).close()
    wire.info["unacknowledged"] = 90
    assert connection.is_usable(10.0)
    wire.answer = lambda wire, number: wire.head(number)
    with pytest.raises(httpcore.ReadTimeout):
        send(connection, **timeouts(read=60.0)).read()


@pytest.mark.parametrize(
    ("say", "usable"),
    [
        (lambda wire: None, True),
        (lambda wire: wire.settings(max_concurrent_streams=5), True),
        (lambda wire: wire.frame(Kind.PING, b"12345678"), True),
        (lambda wire: wire.goaway(1), False),
        (lambda wire: wire.end(), False),
        (lambda wire: wire.say(httpcore.ReadError("reset")), False),
        (lambda wire: wire.say(b"\xff" * 20), False),
    ],
)
def test_an_idle_connection_is_looked_at_before_use(
    say: Callable[[Wire], None], usable: bool, connect: Connect
) -> None:
    wire = Wire()
    connection = connect(wire)
    told: list[bool] = []
    send(connection).read()
    connection.on_change = lambda: told.append(connection.is_draining)
    say(wire)
    assert connection.is_usable(1.0) is usable
    assert connection.is_draining is not usable
    assert told in ([], [not usable])


def test_looking_at_a_chatty_connection_has_an_end(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    for _ in range(50):
        wire.frame(Kind.PING, b"12345678")
    polls = len(wire.waits)
    assert connection.is_usable(0.0)
    assert len(wire.waits) - polls == http2.MAX_READS


def test_who_looks_wakes_those_for_whom_something_came(connect: Connect) -> None:
    """When nobody reads for a moment: one was woken to, and has not begun yet."""
    wire = Wire(lambda wire, number: wire.head(number))
    connection = connect(wire)
    response = send(connection)
    exchange: Any = response.stream.source
    connection.election.reader = exchange  # anybody
    bell = connection._go_to_sleep(exchange)
    connection.election.reader = None
    wire.data(1, b"x", end=True)
    assert connection.is_usable(0.0)
    assert bell.acquire(blocking=False)
    assert response.read() == b"x"


# ---------------------------------------------------------------------------------------------
# The end: of a request, of the connection


@pytest.mark.parametrize("role", ["reader", "sleeper"])
def test_a_request_that_is_aborted_ends_alone(role: str, connect: Connect) -> None:
    wire = shared()
    connection = connect(wire)
    workers = opened(connection, wire, 2)
    exchanges = list(connection.exchanges)
    assert connection.election.reader is exchanges[0]
    ended, other = (0, 1) if role == "reader" else (1, 0)
    exchanges[ended].abort()
    assert isinstance(workers[ended].error(), Aborted)
    assert wire.resets == {2 * ended + 1: Code.CANCEL}
    wire.respond(2 * other + 1)
    assert workers[other].result() == b"ok"
    assert connection.election.reader is None and not connection.sleepers


def test_an_abort_needs_no_lock(connect: Connect) -> None:
    """It may come from a signal handler, which may strike in the middle of anything."""
    wire = shared()
    connection = connect(wire)
    workers = opened(connection, wire, 2)
    exchanges = list(connection.exchanges)
    with connection.lock:
        exchanges[1].abort()
        exchanges[0].abort()
    assert [type(worker.error()) for worker in workers] == [Aborted] * 2


@pytest.mark.parametrize("role", ["reader", "sleeper"])
def test_an_abort_just_before_the_wait(role: str, connect: Connect) -> None:
    """Between the last look and the sleep."""
    wire = shared()
    connection = connect(wire)
    others = opened(connection, wire, 1) if role == "sleeper" else []

    def abort_at_once() -> None:
        for exchange in list(connection.exchanges)[len(others) :]:
            exchange.aborted = True  # as `abort` does, which then finds nobody

    with connection.lock:
        connection.on_change = abort_at_once
        connection.changes_reported = -1
    error = Worker(lambda: send(connection)).error()
    assert isinstance(error, Aborted)
    for worker in others:
        wire.respond(1)
        assert worker.result() == b"ok"


@pytest.mark.parametrize("waiting", ["flush", "window"])
@pytest.mark.parametrize("how", ["abort", "reset", "close", "end"])
def test_an_upload_that_cannot_go_on_is_ended(waiting: str, how: str, connect: Connect) -> None:
    """Whatever it waits for."""
    wire = shared()
    connection = connect(wire)
    opened(connection, wire, 0)
    wire.respond(1)
    send(connection).close()
    if waiting == "flush":
        wire.room = 100
    upload = Worker(lambda: send(connection, "POST", bytes(200_000)))
    until(lambda: connection.election.reader is not None and len(wire.waits) > 2)
    if how == "abort":
        next(iter(connection.exchanges)).abort()
    elif how == "reset":
        wire.reset(3)
    elif how == "close":
        connection.close()
    else:
        wire.end()
    error = upload.error()
    if how == "abort":
        assert isinstance(error, Aborted)
    elif how == "close":
        assert isinstance(error, httpcore.ReadError)
    else:
        assert isinstance(error, httpcore.RemoteProtocolError)
    assert connection.election.reader is None


def test_a_request_that_is_aborted_before_it_is_sent(connect: Connect) -> None:
    wire = shared(settings=None)
    connection = connect(wire)
    first = Worker(lambda: connection.request("GET", URL).content)
    until(lambda: wire.opened)
    body = response_body.ResponseBody(None, httpcore.Request("GET", URL))
    fields = [("Host", "example.com")]
    prepared = prepare(httpcore.Request("GET", URL, headers=fields))
    waiting = Worker(lambda: connection.exchange(prepared, body))
    until(lambda: len(connection.sleepers) == 1)
    body.abort()
    error = waiting.error()
    assert isinstance(error, Aborted)
    assert error.phase == "not_sent"
    wire.settings()
    wire.respond(1)
    assert first.result() == b"ok"
    assert wire.opened == [1]

    body = response_body.ResponseBody(None, httpcore.Request("GET", URL))
    body.aborted = True
    with pytest.raises(Aborted) as caught:
        connection.exchange(prepared, body)
    assert caught.value.phase == "not_sent"
    assert wire.opened == [1]


def test_all_of_a_connection_is_aborted(connect: Connect) -> None:
    wire = shared(settings=None)
    connection = connect(wire)
    wire.answer = lambda wire, number: wire.head(number)
    held = send(connection)
    wire.answer = silent
    unsettled = Worker(lambda: connection.request("GET", URL))
    until(lambda: connection.election.reader is not None)
    sleeping = Worker(lambda: connection.request("GET", URL))
    until(lambda: len(connection.sleepers) == 1)
    connection.abort()
    for worker in (unsettled, sleeping):
        error = worker.error()
        assert isinstance(error, Aborted)
        assert error.phase == "not_sent"
    with pytest.raises(Aborted):
        held.read()
    assert connection.is_closed() and wire.closed
    with pytest.raises(Aborted):
        send(connection)


def test_closing_while_another_thread_polls(connect: Connect) -> None:
    """The one who polls closes the descriptor."""
    wire = shared()
    connection = connect(wire)
    workers = opened(connection, wire, 3)
    closed_while_polling: list[bool] = []
    close = wire.close

    def watched() -> None:
        closed_while_polling.append(connection.election.reader is not None)
        close()

    wire.close = watched  # type: ignore[method-assign]
    connection.close()
    for worker in workers:
        error = worker.error()
        assert isinstance(error, httpcore.ReadError)
        assert "the connection to https://example.com:443 was closed" in str(error)
    assert wire.closed and True not in closed_while_polling
    assert not wire.seen(Kind.GOAWAY)


def test_nobody_waits_on_what_is_closed(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    connection.close()
    request = httpcore.Request("GET", URL, headers=[("Host", "example.com")])
    connection.wait_until(HTTP2Exchange(connection, prepare(request)), lambda: False, None, False)
    assert wire.waits == []


def test_closing_while_one_polls_and_another_reads_nothing(connect: Connect) -> None:
    """The last one to poll closes, whatever else is under way."""
    wire = shared()
    connection = connect(wire)
    (polling,) = opened(connection, wire)
    wire.answer = lambda wire, number: wire.head(number)
    held = send(connection)
    connection.close()
    assert isinstance(polling.error(), httpcore.ReadError)
    assert wire.closed
    with pytest.raises(httpcore.ReadError, match="was closed"):
        held.read()


def test_closing_a_stream_that_fails(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)

    def close() -> None:
        raise OSError("no")

    wire.close = close  # type: ignore[method-assign]
    connection.close()
    assert connection.is_closed()


def test_a_response_that_is_closed_early(connect: Connect) -> None:
    wire = Wire(lambda wire, number: wire.head(number))
    connection = connect(wire)
    response = send(connection)
    wire.data(1, b"some of it")
    response.close()
    assert wire.resets == {1: Code.CANCEL}
    assert connection.is_idle() and connection.is_available()
    with pytest.raises(httpcore.ReadError, match="closed while unread"):
        response.read()
    wire.data(1, b"more of it", end=True)
    wire.answer = Wire.respond
    assert send(connection).read() == b"ok"


def test_a_response_that_is_closed_when_all_of_it_is_there(connect: Connect) -> None:
    wire = Wire(lambda wire, number: wire.head(number))
    connection = connect(wire)
    response = send(connection)
    wire.data(1, b"all", end=True)
    assert connection.is_usable(0.0)
    response.close()
    assert wire.resets == {}


@pytest.mark.parametrize("complete", [False, True])
def test_a_response_that_another_thread_closes_just_before_a_read(
    complete: bool, connect: Connect
) -> None:
    """It has looked whether it is closed, not begun to read: no hang, no end that is none."""
    wire = Wire(lambda wire, number: wire.head(number))
    connection = connect(wire)
    response = send(connection)
    exchange: Any = response.stream.source
    if complete:
        for _ in range(5):
            wire.data(1, bytes(16384), end=_ == 4)
        assert connection.is_usable(0.0)
    response.close()
    with pytest.raises(httpcore.ReadError):
        exchange.read(100)
    with pytest.raises(httpcore.ReadError):
        exchange.readinto(memoryview(bytearray(10)))


@pytest.mark.parametrize("role", ["reader", "sleeper"])
def test_a_response_that_another_thread_closes_in_a_read(role: str, connect: Connect) -> None:
    wire = shared()
    connection = connect(wire)
    others = opened(connection, wire, 1) if role == "sleeper" else []
    number = 2 * len(others) + 1
    wire.answer = lambda wire, number: wire.head(number)
    response = send(connection)
    exchange: Any = response.stream.source
    reading = Worker(lambda: exchange.read(100))
    until(lambda: connection.election.reader is exchange or exchange in connection.sleepers)
    exchange.finish(False, False)
    assert isinstance(reading.error(), httpcore.ReadError)
    assert wire.resets == {number: Code.CANCEL}
    for worker in others:
        wire.respond(1)
        assert worker.result() == b"ok"


def test_a_response_that_is_dropped(connect: Connect) -> None:
    wire = Wire(lambda wire, number: wire.head(number))
    connection = connect(wire)
    response = send(connection)
    del response
    assert wire.resets == {1: Code.CANCEL}
    assert connection.is_idle()


def test_a_response_that_is_dropped_while_the_lock_is_held(connect: Connect) -> None:
    """The garbage collector runs anywhere; here in the thread that has the lock."""
    wire = Wire(lambda wire, number: wire.head(number))
    connection = connect(wire)
    responses = [send(connection) for _ in range(2)]
    with connection.lock:
        responses.clear()
    assert wire.resets == {}
    wire.answer = Wire.respond
    assert send(connection).read() == b"ok"
    assert wire.resets == {1: Code.CANCEL, 3: Code.CANCEL}
    responses.append(send(connection, "GET"))
    assert connection.open_streams == 0


def test_responses_that_are_dropped_while_one_is_ended(connect: Connect) -> None:
    wire = Wire(lambda wire, number: wire.head(number))
    connection = connect(wire)
    responses = [send(connection) for _ in range(3)]
    real = wire.write_ready

    def write(data: Any) -> int:
        if responses:
            responses.pop()  # the collector runs
        return real(data)

    wire.write_ready = write  # type: ignore[method-assign]
    responses.pop()
    assert wire.resets == dict.fromkeys((1, 3, 5), Code.CANCEL)


def test_nothing_is_left_to_the_garbage_collector(connect: Connect) -> None:
    def answer(wire: Wire, number: int) -> None:
        if number % 4 == 1:
            wire.respond(number)
        elif number % 4 == 3 and number % 8 == 3:
            wire.head(number)
            wire.data(number, bytes(16384))
        else:
            wire.reset(number)

    wire = Wire(answer)
    connection = connect(wire)
    send(connection).read()
    bodies = []
    kinds = (HTTP2Exchange, _h2.Stream, response_body.ResponseBody)
    gc.collect()
    before = {id(each) for each in gc.get_objects() if type(each) in kinds}
    gc.disable()
    try:
        for _ in range(8):
            try:
                response = send(connection)
            except httpcore.RemoteProtocolError:
                continue
            bodies.append(weakref.ref(response.stream))
            response.close()
            del response
        assert [body() for body in bodies] == [None] * 6
        left = [each for each in gc.get_objects() if type(each) in kinds]
        assert [each for each in left if id(each) not in before] == []
    finally:
        gc.enable()


def test_the_child_of_a_fork(connect: Connect) -> None:
    """Nothing is said on the connection, nor is it closed: it is the parent's."""
    wire = Wire(lambda wire, number: wire.head(number))
    connection = connect(wire)
    half, whole = send(connection), send(connection)
    wire.data(1, b"half")
    wire.data(3, b"whole", end=True)
    assert connection.is_usable(0.0)
    frames = len(wire.frames)
    for _ in range(2):
        connection._renew_in_child()
    for response in (half, whole):
        with pytest.raises(httpcore.ReadError, match="belongs to the parent process"):
            response.read()
    with pytest.raises(httpcore.ConnectionNotAvailable):
        send(connection)
    connection.close()
    assert not wire.closed and len(wire.frames) == frames
    assert connection.is_closed()


def test_the_server_goes_away(connect: Connect) -> None:
    """Streams it has accepted go on; others were not processed. Then the connection is over."""
    wire = shared()
    connection = connect(wire)
    workers = opened(connection, wire, 3)
    wire.goaway(3)
    error = workers[2].error()
    assert isinstance(error, httpcore.ConnectionNotAvailable)
    assert error.phase == "not_sent"  # type: ignore[attr-defined]
    with pytest.raises(httpcore.ConnectionNotAvailable, match="going away"):
        send(connection)
    wire.respond(3)
    assert workers[1].result() == b"ok"
    assert not connection.is_closed()
    wire.respond(1)
    assert workers[0].result() == b"ok"
    assert connection.is_closed() and wire.closed


def test_a_server_that_breaks_http2(connect: Connect) -> None:
    wire = shared()
    connection = connect(wire)
    workers = opened(connection, wire, 3)
    wire.frame(Kind.SETTINGS, b"12345")
    for worker in workers:
        error = worker.error()
        assert isinstance(error, httpcore.RemoteProtocolError)
        assert "the server broke HTTP/2" in str(error)
    assert wire.seen(Kind.GOAWAY)
    assert connection.is_closed() and wire.closed


def test_the_network_fails(connect: Connect) -> None:
    wire = shared()
    connection = connect(wire)
    workers = opened(connection, wire, 3)
    wire.say(httpcore.ReadError("reset by peer"))
    for worker in workers:
        error = worker.error()
        assert isinstance(error, httpcore.ReadError)
        assert str(error) == "reset by peer (GET /path was under way)"
        assert error.phase == "maybe_processed"
    assert connection.is_closed()


def test_the_network_fails_behind_what_came(connect: Connect) -> None:
    """What was received before the failure is not lost."""
    body = pattern(16000)
    wire = Wire(lambda wire, number: wire.respond(number, body))
    connection = connect(wire)
    wire.say(httpcore.ReadError("reset by peer"))
    with pytest.raises(httpcore.ReadError):
        send(connection)

    wire = Wire(
        lambda wire, number: (
            wire.respond(number, body)
            or wire.say(  # type: ignore[func-returns-value]
                httpcore.ReadError("reset by peer")
            )
        )
    )
    connection = connect(wire)
    response = send(connection)
    assert response.read() == body
    assert not connection.is_usable(0.0)


def test_a_body_that_is_cut(connect: Connect) -> None:
    def answer(wire: Wire, number: int) -> None:
        wire.head(number, 200, [("content-length", "10")])
        wire.data(number, b"12345")
        wire.end()

    connection = connect(Wire(answer))
    response = send(connection)
    with pytest.raises(IncompleteBody) as caught:
        response.read()
    assert (caught.value.received, caught.value.expected) == (5, 10)


# ---------------------------------------------------------------------------------------------
# Uploads


def test_a_small_body_leaves_with_its_head(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    send(connection).close()
    for content in (b"x", b"x" * 16384):
        writes = len(wire.writes)
        assert send(connection, "POST", content).read() == b"ok"
        assert len(wire.writes) == writes + 1
        assert wire.bodies[wire.opened[-1]] == content


class Unsized:
    """A file of which nobody knows the length."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(1000), b"")


UPLOAD = pattern(50_000)
BODIES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: UPLOAD,
    "a file": lambda: io.BytesIO(UPLOAD),
    "a generator": lambda: (UPLOAD[at : at + 700] for at in range(0, len(UPLOAD), 700)),
    "with empty parts": lambda: iter([b"", UPLOAD, b""]),
    "no file": lambda: Unsized(UPLOAD),
}


@pytest.mark.parametrize("announced", [False, True])
@pytest.mark.parametrize("make", BODIES.values(), ids=BODIES)
def test_bodies(make: Callable[[], Any], announced: bool, connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    content = make()
    name = ("Content-Length", str(len(UPLOAD))) if announced else ("Transfer-Encoding", "chunked")
    if isinstance(content, bytes):
        content = iter([content])
    assert send(connection, "POST", content, [name]).read() == b"ok"
    assert wire.bodies[1] == UPLOAD
    names = [name for name, _ in wire.requests[1]]
    assert b"transfer-encoding" not in names
    assert (b"content-length" in names) is announced
    assert wire.left_open == set()


def test_an_empty_body_that_is_not_announced(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    for content in (b"", iter([])):
        fields = [("Host", "example.com"), ("Transfer-Encoding", "chunked")]
        request = httpcore.Request("POST", URL, headers=fields, content=content)
        assert connection.handle_request(request).read() == b"ok"
    assert wire.bodies == {1: b"", 3: b""}


@pytest.mark.parametrize("size", [65_535, 65_536, 200_000])
def test_windows_are_kept_to(size: int, connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    most = 65_535
    wait = wire.wait

    def grant(write: bool, timeout: float | None) -> bool:
        nonlocal most
        if most < size and len(wire.bodies.get(1, b"")) == most:
            wire.window(0, 30_000)
            assert wait(write, 0.0)  # of no use yet
            wire.window(1, 20_000)
            most += 20_000
        return wait(write, timeout)

    wire.wait = grant  # type: ignore[method-assign]
    taken: list[int] = []
    real = wire.write_ready

    def write(data: Any) -> int:
        count = real(data)
        taken.append(len(wire.bodies.get(1, b"")))
        assert taken[-1] <= most
        return count

    wire.write_ready = write  # type: ignore[method-assign]
    body = pattern(size)
    assert send(connection, "POST", body).read() == b"ok"
    assert wire.bodies[1] == body


@pytest.mark.parametrize("length", [9, 11])
def test_a_body_of_another_length_than_announced(length: int, connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    fields = [("Content-Length", str(length))]
    with pytest.raises(httpcore.LocalProtocolError, match=r"announced|longer") as caught:
        send(connection, "POST", iter([b"12345", b"67890"]), fields)
    assert caught.value.phase == "maybe_processed"
    assert wire.resets == {1: Code.CANCEL}
    assert send(connection).read() == b"ok"


def test_a_body_that_raises(connect: Connect) -> None:
    def body() -> Iterator[bytes]:
        yield b"12345"
        raise KeyError("no")

    wire = Wire()
    connection = connect(wire)
    with pytest.raises(KeyError):
        send(connection, "POST", body(), [("Transfer-Encoding", "chunked")])
    assert wire.resets == {1: Code.CANCEL}
    assert send(connection).read() == b"ok"


@pytest.mark.parametrize("status", [413, 401])
def test_an_early_refusal(status: int, connect: Connect) -> None:
    """The rest of the body is not sent, and the stream is ended."""
    wire = Wire()
    connection = connect(wire)

    def body() -> Iterator[bytes]:
        yield b"x" * 30_000
        wire.respond(1, b"no", status)
        yield b"y" * 60_000
        raise AssertionError("nobody wants more")

    response = send(connection, "POST", body(), [("Transfer-Encoding", "chunked")])
    assert (response.status, response.read()) == (status, b"no")
    assert wire.resets == {1: Code.CANCEL}
    assert len(wire.bodies[1]) <= 65_535
    assert send(connection).read() == b"ok"


def test_an_early_refusal_and_a_reset(connect: Connect) -> None:
    """RFC 9113 section 8.1: RST_STREAM(NO_ERROR) asks to stop; the response is good."""
    for status in (200, 413):
        wire = Wire()
        connection = connect(wire)

        def body(wire: Wire = wire, status: int = status) -> Iterator[bytes]:
            yield b"x" * 65_535  # all of the window
            wire.respond(1, b"enough", status)
            wire.reset(1, Code.NO_ERROR)
            wire.join()
            yield b"y"
            yield b"z"

        response = send(connection, "POST", body(), [("Transfer-Encoding", "chunked")])
        assert (response.status, response.read()) == (status, b"enough")
        assert wire.resets == {}
        assert wire.bodies[1] == b"x" * 65_535
        assert send(connection).read() == b"ok"


def test_an_early_success_does_not_stop_the_body(connect: Connect) -> None:
    """A server may answer while it listens."""
    wire = Wire(silent)
    connection = connect(wire)

    def body() -> Iterator[bytes]:
        yield b"x" * 30_000
        wire.respond(1, b"go on")
        yield b"y" * 30_000

    response = send(connection, "POST", body(), [("Transfer-Encoding", "chunked")])
    assert response.read() == b"go on"
    assert wire.bodies[1] == b"x" * 30_000 + b"y" * 30_000
    assert wire.resets == {}
    assert connection.open_streams == 0


EXPECT = [("Expect", "100-continue")]


def test_a_body_that_is_asked_for(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    wait = wire.wait
    seen: list[Any] = []

    def permit(write: bool, timeout: float | None) -> bool:
        if timeout is not None and not asked:
            asked.append((timeout, dict(wire.bodies)))
            wire.head(1, 100)
        return wait(write, timeout)

    asked: list[Any] = []
    wire.wait = permit  # type: ignore[method-assign]
    hook = lambda status, headers: seen.append(status)  # noqa: E731
    response = send(connection, "POST", b"body", EXPECT, informational=hook)
    assert response.read() == b"ok"
    assert wire.bodies[1] == b"body"
    assert seen == [100]
    assert asked == [(CONTINUE_PATIENCE, {1: b""})]


def test_a_body_that_is_not_asked_for_is_sent_after_a_while(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    began = wire.now
    assert send(connection, "POST", b"body", EXPECT).read() == b"ok"
    assert wire.now - began == CONTINUE_PATIENCE
    assert not wire.seen(Kind.PING)  # the server need not know it
    with pytest.raises(httpcore.WriteTimeout, match=r"total of 0\.5 s is over"):
        send(connection, "POST", b"body", EXPECT, timeout={"total": 0.5})
    assert send(connection, "POST", b"body", EXPECT, timeout={"write": 0.5}).read() == b"ok"


@pytest.mark.parametrize("status", [200, 302, 417])
def test_a_body_that_is_refused_before_it_is_sent(status: int, connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    wait = wire.wait

    def refuse(write: bool, timeout: float | None) -> bool:
        if timeout is not None:
            wire.respond(1, b"no", status)
        return wait(write, timeout)

    wire.wait = refuse  # type: ignore[method-assign]
    response = send(connection, "POST", b"body", EXPECT)
    assert (response.status, response.read()) == (status, b"no")
    assert wire.bodies == {1: b""}
    assert wire.resets == {1: Code.CANCEL}


# ---------------------------------------------------------------------------------------------
# Traces


def test_what_a_trace_is_told(connect: Connect) -> None:
    """The names of httpcore 1.0.9, and its details; but that a stream has no number before it is
    opened."""
    wire = Wire()
    connection = connect(wire)
    for number in (1, 3):
        events: list[tuple[str, Any]] = []
        trace = lambda name, details: events.append((name, details))  # noqa: B023, E731
        response = send(connection, "POST", b"x", trace=trace)
        assert response.read() == b"ok"
        request = events[-2 if number == 3 else 0][1].get("request")
        phases = ["send_request_headers", "send_request_body", "receive_response_headers"]
        phases += ["receive_response_body", "response_closed"]
        if number == 1:
            phases.insert(0, "send_connection_init")
        names = [f"http2.{phase}.{end}" for phase in phases for end in ("started", "complete")]
        assert [name for name, _ in events] == names
        told = dict(events)
        request = told["http2.send_request_headers.started"]["request"]
        assert request.method == b"POST"
        for phase in phases[-4:-1]:
            assert told[f"http2.{phase}.started"] == {"request": request, "stream_id": number}
        assert told["http2.response_closed.started"] == {"stream_id": number}
        returned = told["http2.receive_response_headers.complete"]["return_value"]
        assert returned == (200, [(b"content-length", b"2")])
        assert told["http2.send_request_body.complete"] == {"return_value": None}


def test_what_a_trace_is_told_of_failures(connect: Connect) -> None:
    def failing(phase: str, say: Callable[[Wire, int], object], **options: Any) -> None:
        wire = Wire(say)
        connection = connect(wire)
        events: list[tuple[str, Any]] = []
        trace = lambda name, details: events.append((name, details))  # noqa: E731
        with pytest.raises(Exception) as caught:
            send(connection, trace=trace, **options).read()
        assert (f"http2.{phase}.failed", {"exception": caught.value}) in events
        names = [name for name, _ in events]
        assert names[-2:] == ["http2.response_closed.started", "http2.response_closed.complete"]
        assert f"http2.{phase}.complete" not in names

    failing("receive_response_headers", lambda wire, number: wire.reset(number))
    failing("receive_response_body", lambda wire, number: (wire.head(number), wire.reset(number)))
    failing("send_request_body", silent, method="POST", content=bytes(70_000), **timeouts(write=1))
    failing("send_request_headers", silent, method="CONNECT")


def test_a_first_write_that_fails_under_a_trace(connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)
    wire.failure = httpcore.WriteError("broken pipe")
    events: list[str] = []
    with pytest.raises(httpcore.WriteError, match="broken pipe"):
        send(connection, trace=lambda name, _: events.append(name))
    assert "http2.send_connection_init.failed" in events


@pytest.mark.parametrize("phase", ["send_request_headers", "receive_response_headers"])
@pytest.mark.parametrize("end", ["started", "complete"])
def test_a_trace_that_raises_ends_its_request_alone(phase: str, end: str, connect: Connect) -> None:
    wire = Wire()
    connection = connect(wire)

    def trace(name: str, details: object) -> None:
        if name == f"http2.{phase}.{end}":
            raise KeyError(name)

    with pytest.raises(KeyError):
        send(connection, trace=trace)
    assert connection.is_idle()
    assert send(connection).read() == b"ok"


# ---------------------------------------------------------------------------------------------
# Streams that can only block


class Blocking(httpcore.NetworkStream):
    """A wire with the methods that each stream has."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.failure: Exception | None = None
        self.reads: list[float | None] = []
        self.writes: list[tuple[bytes, float | None]] = []

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.reads.append(timeout)
        if not self.wire.wait(False, timeout):
            raise httpcore.ReadTimeout
        data = self.wire.read_ready(max_bytes)
        if data is None:
            raise httpcore.ReadTimeout
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.writes.append((buffer, timeout))
        if self.failure is not None:
            raise self.failure
        self.wire.write_ready(buffer)

    def close(self) -> None:
        self.wire.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return bool(self.wire._incoming) or self.wire._ended
        return self.wire.get_extra_info(info)


def blocking(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, answer: Any = None
) -> tuple[Wire, Blocking, HTTP2Connection]:
    monkeypatch.setattr(http2, "MAX_SLEEP", 1.0)
    wire = Wire(answer)
    connect(wire)  # for its clock
    stream = Blocking(wire)
    return wire, stream, HTTP2Connection(ORIGIN, stream)


def test_a_stream_that_can_only_block(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, stream, connection = blocking(connect, monkeypatch)
    for _ in range(2):
        assert send(connection, "POST", pattern(30_000), **timeouts(write=7)).read() == b"ok"
        assert connection.is_usable(0.0)
    assert {timeout for _, timeout in stream.writes} == {7}
    assert b"" not in [data for data, _ in stream.writes]
    assert max(timeout or 9.0 for timeout in stream.reads) <= 1.0  # it cannot be woken
    wire.answer = silent
    began = wire.now
    with pytest.raises(httpcore.ReadTimeout, match=r"within 5\.5 s"):
        send(connection, **timeouts(read=5.5))
    assert wire.now - began == 5.5
    wire.pong()
    assert connection.is_usable(0.0)
    wire.end()
    assert not connection.is_usable(0.0)
    connection.close()
    assert wire.closed


def test_nothing_is_written_when_there_is_nothing(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, stream, connection = blocking(
        connect, monkeypatch, lambda wire, number: wire.head(number)
    )
    response = send(connection)
    wire.data(1, b"all", end=True)
    assert connection.is_usable(0.0)
    del response
    assert b"" not in [data for data, _ in stream.writes]


class Buffered(httpcore.NetworkStream):
    """Takes all that its socket has, and hands it on in pieces."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.data = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self.data:
            self.sock.settimeout(timeout)
            try:
                self.data = self.sock.recv(65536)
            except OSError as exc:
                raise httpcore.ReadTimeout from exc
        piece, self.data = self.data[:20], self.data[20:]
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass

    def close(self) -> None:
        self.sock.close()

    def get_extra_info(self, info: str) -> Any:
        return self.sock if info == "socket" else None


def test_a_stream_that_has_more_than_its_socket() -> None:
    ours, theirs = socket.socketpair()
    wire = Wire()
    wire.respond(1, bytes(1000))
    wire.join()
    with theirs, HTTP2Connection(ORIGIN, Buffered(ours)) as connection:
        theirs.send(wire._incoming.popleft())  # type: ignore[arg-type]
        assert send(connection, **timeouts(read=PATIENCE)).read() == bytes(1000)


def test_a_blocking_stream_that_fails(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, _, connection = blocking(connect, monkeypatch, silent)
    wire.say(httpcore.ReadError("reset"))
    with pytest.raises(httpcore.ReadError, match=r"reset \(GET /path was under way\)"):
        send(connection)


@pytest.mark.parametrize("kind", [httpcore.WriteTimeout, httpcore.WriteError])
def test_a_blocking_stream_that_takes_nothing(
    kind: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stream, connection = blocking(connect, monkeypatch)
    stream.failure = kind("no")
    with pytest.raises(kind, match="no"):
        send(connection)
    assert connection.is_closed()


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("total", [False, True])
def test_an_upload_that_a_blocking_stream_does_not_take(
    answered: bool, total: bool, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its timeout is the end of the request, unless the answer is there; a total is one, too. What
    it has taken may end within a frame: nothing is written after it."""
    wire, stream, connection = blocking(connect, monkeypatch)
    assert send(connection).read() == b"ok"

    def parts() -> Iterator[bytes]:
        yield b"one"
        if answered:
            wire.respond(3)
        stream.failure = httpcore.WriteTimeout("no byte taken")
        yield b"two"

    chunked = [("Transfer-Encoding", "chunked")]
    limits: Any = {"total": 3600.0} if total else {"write": 7.0}
    written = len(stream.writes)
    if answered:
        assert send(connection, "POST", parts(), chunked, timeout=limits).read() == b"ok"
    else:
        with pytest.raises(httpcore.WriteTimeout, match="no byte taken") as info:
            send(connection, "POST", parts(), chunked, timeout=limits)
        assert info.value.phase == MAYBE_PROCESSED
    writes = stream.writes[written:]
    assert [b"two" in data for data, _ in writes] == [False] * (len(writes) - 1) + [True]
    assert all(0 < (timeout or 0.0) <= (3600.0 if total else 7.0) for _, timeout in writes)
    connection.close()
    assert len(stream.writes) == written + len(writes)


def test_the_most_patient_request_decides_how_long_a_blocking_stream_may_write(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails is the end of all of them, so the limit of one is not that of others; nor
    is that of one which is over."""
    _, stream, connection = blocking(connect, monkeypatch, lambda wire, number: wire.head(number))
    responses = []

    def written() -> set[float | None]:
        found = {timeout for _, timeout in stream.writes}
        stream.writes.clear()
        return found

    for limits, expected in [
        (timeouts(write=3.0), {None, 3.0}),  # None is that of the preface
        (timeouts(write=7.0), {7.0}),
        (timeouts(write=5.0), {7.0}),
        ({}, {None}),
    ]:
        responses.append(send(connection, **limits))
        assert written() <= expected
    assert connection.write_limit(0.0, 1.0) is None, "one of many that waits"
    for expected in ({7.0}, {5.0}, {3.0}, {ACK_PATIENCE}):
        if expected != {7.0}:
            responses.pop(1 if len(responses) > 1 else 0).close()
        else:
            responses.pop().close()
        assert written() == expected
    assert not responses


@pytest.mark.parametrize(
    ("own", "waits", "expected"),
    [(None, None, None), (None, 2.0, 2.0), (3.0, None, 3.0), (3.0, 2.0, 2.0), (0.0, 2.0, 0.0)],
)
def test_how_long_the_only_request_lets_a_stream_write(
    own: float | None, waits: float | None, expected: float | None, connect: Connect
) -> None:
    connection = connect(Wire(lambda wire, number: wire.head(number)))
    assert connection.write_limit(0.0, waits) is None, "nothing was sent yet"
    response = send(connection, **({} if own is None else timeouts(write=own)))
    assert connection.write_limit(0.0, waits) == expected
    response.close()
    assert connection.write_limit(0.0, waits) == ACK_PATIENCE


def test_what_a_blocking_stream_has_read_is_not_lost(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that has read it may be interrupted before it could say so."""
    wire, _, connection = blocking(connect, monkeypatch)
    send(connection).close()
    real: Any = connection.io.wait

    def interrupted(write: bool, timeout: float | None) -> bool:
        connection.io.wait = real
        real(write, timeout)
        raise Stop

    wire.answer = lambda wire, number: wire.settings(max_concurrent_streams=5)
    connection.io.wait = interrupted
    with pytest.raises(Stop):
        send(connection)
    wire.answer = Wire.respond
    assert send(connection).read() == b"ok"
    assert connection.max_streams == 5


def test_a_doubted_connection_that_can_only_block(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, _, connection = blocking(connect, monkeypatch)
    send(connection).close()
    wire.answer = silent
    wire.info["unacknowledged"] = 90
    assert connection.is_usable(10.0)
    began = wire.now
    with pytest.raises(httpcore.ReadError, match="not acknowledged"):
        send(connection)
    assert wire.now - began == http2.ACK_PATIENCE


def test_the_mock_backend() -> None:
    wire = Wire()
    for number in (1, 3):
        wire.respond(number)
    script = [wire._incoming.popleft() for _ in range(3)]
    backend = httpcore.MockBackend(script, http2=True)
    with httpcore.ConnectionPool(http2=True, network_backend=backend) as pool:
        for _ in range(2):
            response = pool.request("GET", URL)
            assert (response.status, response.content) == (200, b"ok")
            assert response.extensions["http_version"] == b"HTTP/2"
        assert repr(pool.connections[0]).startswith("<HTTPConnection ['https://example.com:443', H")
