"""One asynchronous HTTP/2 connection, on streams on which a test plays the server.

Owns: `httpcore._async.http2` and `http2_exchange` where failures, interrupts and the order of
things count, as `test_http2` has them for threads. Must not know: frames (`test_h2`), event loops
that read (`test_async_http2`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import httpcore
from httpcore import AsyncHTTP2Connection
from httpcore._async import http2, http2_exchange, response_body
from httpcore._async.http2_exchange import AsyncHTTP2Exchange
from httpcore._backends import clock as backends_clock
from httpcore._core import h2 as _h2
from httpcore._core.prepared import prepare
from httpcore._exceptions import ServerDisconnected
from httpcore.exceptions import Aborted
from tests.support.http2 import Code, Kind
from tests.support.servers import pattern
from tests.support.tasks import Begun, Tasks, in_thread, until
from tests.support.wire import AsyncWire, Wire, silent

pytestmark = pytest.mark.anyio

ORIGIN = httpcore.Origin(b"https", b"example.com", 443)
URL = "https://example.com/path"

Connect = Callable[..., AsyncHTTP2Connection]


class Stop(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """`connect(wire, **options)`: a connection whose clock is the wire's. Nothing may be done on
    the wire that must not be."""
    wires: list[Wire] = []

    def make(wire: Wire, **options: Any) -> AsyncHTTP2Connection:
        if not wire.patient:
            clock = SimpleNamespace(monotonic=lambda: wire.now)
            for module in (http2, http2_exchange, response_body, backends_clock):
                monkeypatch.setattr(module, "time", clock)
        wires.append(wire)
        stream: Any = wire
        return AsyncHTTP2Connection(ORIGIN, stream, **options)

    yield make
    assert [wire.mistakes for wire in wires] == [[]] * len(wires)


def shared(answer: Any = silent, **options: Any) -> AsyncWire:
    """A wire that tasks wait on."""
    wire = AsyncWire(answer, **options)
    wire.patient = True
    return wire


def headed(wire: Wire, number: int) -> None:
    """An answer without its body."""
    wire.head(number)


async def send(
    connection: AsyncHTTP2Connection,
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
    return await connection.handle_async_request(request)


async def get(connection: AsyncHTTP2Connection, **extensions: Any) -> bytes:
    return await (await send(connection, **extensions)).aread()


async def opened(
    tasks: Tasks, connection: AsyncHTTP2Connection, wire: Wire, count: int
) -> list[Begun[bytes]]:
    """Tasks that have sent a request each, in this order, and wait for its response."""
    begun = []
    for _ in range(count):
        streams = len(wire.opened)
        begun.append(tasks.begin(get(connection)))
        await until(lambda streams=streams: len(wire.opened) > streams)
    await until(lambda: len(connection.sleepers) + bool(connection.election.reader) >= count)
    return begun


async def error_of(begun: Begun[Any]) -> BaseException:
    with pytest.raises(Exception) as caught:
        await begun
    return caught.value


# --- writing ---


async def test_what_is_not_taken_at_once_is_sent_when_there_is_room(
    connect: Connect, tasks: Tasks
) -> None:
    wire = shared(Wire.respond)
    connection = connect(wire)
    wire.room = 40  # less than the preface and the settings
    request = tasks.begin(get(connection))
    await until(lambda: (True, http2.MAX_SLEEP) in wire.waits or (True, None) in wire.waits)
    for _ in range(30):
        wire.make_room(7)
    wire.make_room()
    assert await request == b"ok"
    assert not connection.unsent


async def test_a_reader_that_waits_for_bytes_alone_learns_that_there_are_some_to_send(
    connect: Connect, tasks: Tasks
) -> None:
    wire = shared()
    connection = connect(wire)
    (first,) = await opened(tasks, connection, wire, 1)
    await until(lambda: not wire.waits[-1][0])
    wire.room = 3
    second = tasks.begin(get(connection))
    await until(lambda: wire.waits[-1][0])
    assert wire.opened == [1]
    wire.make_room()
    await until(lambda: wire.opened == [1, 3])
    for number in (1, 3):
        wire.respond(number)
    assert [await each for each in (first, second)] == [b"ok"] * 2


async def test_a_peer_that_reads_nothing(connect: Connect) -> None:
    wire = AsyncWire()
    connection = connect(wire)
    await get(connection)
    wire.answer = silent
    wire.room = 20_000
    patience = {"write": 5.0, "read": 7.0}
    with pytest.raises(httpcore.WriteTimeout, match="no byte taken within 5 s") as upload:
        await send(connection, "POST", bytes(300_000), timeout=patience)
    assert upload.value.phase == "maybe_processed"  # type: ignore[attr-defined]
    # It is not good for anything: nobody else is to join.
    assert not connection.is_available() and not connection.is_draining
    wire.make_room()
    wire.answer = Wire.respond
    assert await get(connection) == b"ok"
    wire.pong()
    assert connection.is_usable(0.0)
    assert set(wire.resets) == {3}


@pytest.mark.parametrize("traced", [False, True])
async def test_writing_fails(traced: bool, connect: Connect) -> None:
    """Not a byte of it was taken: it can be sent elsewhere."""
    wire = AsyncWire()
    connection = connect(wire)
    events: list[str] = []

    async def trace(name: str, details: object) -> None:
        events.append(name)

    wire.failure = httpcore.WriteError("broken pipe")
    wire.failure.phase = "not_sent"  # type: ignore[attr-defined]
    with pytest.raises(httpcore.WriteError, match=r"broken pipe \(GET /path\)") as caught:
        await send(connection, **({"trace": trace} if traced else {}))
    assert caught.value.phase == "not_sent"  # type: ignore[attr-defined]
    assert caught.value.__cause__ is wire.failure
    assert connection.is_closed() and wire.closed
    assert ("http2.send_connection_init.failed" in events) is traced


async def test_writing_fails_in_the_middle(connect: Connect) -> None:
    wire = AsyncWire()
    connection = connect(wire)
    await get(connection)
    real = wire.write_ready

    def write(buffer: Any) -> int:
        wire.failure = httpcore.WriteError("broken pipe")
        wire.failure.phase = "not_sent"  # type: ignore[attr-defined]
        wire.write_ready = real  # type: ignore[method-assign]
        return 10

    wire.write_ready = write  # type: ignore[method-assign]
    with pytest.raises(httpcore.WriteError) as caught:
        await send(connection, "POST", b"x" * 1000)
    assert caught.value.phase == "maybe_processed"  # type: ignore[attr-defined]


async def test_an_interrupt_while_something_is_written(connect: Connect, tasks: Tasks) -> None:
    """What the server has seen nobody knows: it ends for all."""
    wire = shared()
    connection = connect(wire)
    (other,) = await opened(tasks, connection, wire, 1)
    wire.failure = Stop()
    with pytest.raises(Stop):
        await send(connection)
    wire.failure = None
    wire.end()
    error = await error_of(other)
    assert isinstance(error, httpcore.ReadError)
    assert "sending to https://example.com:443 was interrupted" in str(error)
    assert not connection.is_available()


async def test_an_interrupt_while_a_body_is_cut_into_frames(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = AsyncWire()
    connection = connect(wire)
    await get(connection)

    def interrupted(*arguments: object) -> None:
        raise Stop

    monkeypatch.setattr(connection.codec, "send_data", interrupted)
    with pytest.raises(Stop):
        await send(connection, "POST", bytes(300_000))
    assert not connection.is_available() and connection.is_draining
    with pytest.raises(httpcore.ConnectionNotAvailable):
        await send(connection)


async def test_a_server_that_ends_its_side_and_reads_nothing(connect: Connect) -> None:
    wire = AsyncWire()
    connection = connect(wire)
    await get(connection)
    wire.room = 0
    wire.end()
    with pytest.raises(ServerDisconnected):
        await send(connection, "POST", bytes(1000))
    assert len(wire.waits) < 10


async def test_a_body_that_is_not_asked_for_is_sent_after_a_while(connect: Connect) -> None:
    """Within the request's total."""
    wire = AsyncWire()
    connection = connect(wire)
    await get(connection)
    asks = [("Expect", "100-continue")]
    response = await send(connection, "POST", b"body", asks, timeout={"total": 100.0})
    assert await response.aread() == b"ok"
    assert wire.bodies[3] == b"body"


# --- reading ---


async def test_an_interrupt_while_something_is_read(connect: Connect) -> None:
    wire = AsyncWire(silent)
    connection = connect(wire)
    wire.say(Stop())
    with pytest.raises(Stop):
        await send(connection)
    assert connection.is_draining and not connection.sleepers


async def test_the_network_fails(connect: Connect, tasks: Tasks) -> None:
    wire = shared()
    connection = connect(wire)
    requests = await opened(tasks, connection, wire, 3)
    wire.say(httpcore.ReadError("reset by peer"))
    for request in requests:
        error = await error_of(request)
        assert isinstance(error, httpcore.ReadError)
        assert str(error) == "reset by peer (GET /path was under way)"
        assert error.phase == "maybe_processed"
    assert connection.is_closed()


async def test_the_network_fails_behind_what_came(connect: Connect) -> None:
    """What was received before the failure is not lost."""
    body = pattern(16000)

    def answer(wire: Wire, number: int) -> None:
        wire.respond(number, body)
        wire.say(httpcore.ReadError("reset by peer"))

    connection = connect(AsyncWire(answer))
    assert await get(connection) == body
    assert not connection.is_usable(0.0)


async def test_a_long_body_is_taken_in_at_once(connect: Connect) -> None:
    """As far as `READ_AT_ONCE` goes; the rest stays where it is."""
    size = 40 * 16384

    def answer(wire: Wire, number: int) -> None:
        wire.head(number)
        for at in range(0, size, 16384):
            wire.data(number, bytes(16384), end=at + 16384 == size)

    wire = AsyncWire(answer)
    connection = connect(wire)
    response = await send(connection)
    waits = len(wire.waits)
    assert len(await response.aread()) == size
    assert len(wire.waits) - waits <= size // http2.READ_AT_ONCE + 1


async def test_looking_at_a_chatty_connection_has_an_end(connect: Connect) -> None:
    wire = AsyncWire()
    connection = connect(wire)
    for _ in range(50):
        wire.frame(Kind.PING, b"12345678")
    assert connection.is_usable(0.0)
    answered = len(wire.seen(Kind.PING))
    assert answered == http2.MAX_READS - 1  # the first was the server's SETTINGS


async def test_a_window_that_is_given_back_while_it_is_read(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_h2, "STREAM_REFILL", 10_000)
    wire = AsyncWire(headed)
    connection = connect(wire)
    response = await send(connection)
    wire.data(1, bytes(16000))
    before = len(wire.seen(Kind.WINDOW_UPDATE))
    assert await anext(aiter(response.stream)) == bytes(16000)
    assert len(wire.seen(Kind.WINDOW_UPDATE)) > before
    await response.aclose()


# --- the first stream, and how many there may be ---


async def test_the_number_of_streams_is_settled_first(connect: Connect, tasks: Tasks) -> None:
    """Until the server says how many there may be, there is one."""
    wire = shared(settings=None)
    connection = connect(wire)
    first = tasks.begin(get(connection))
    await until(lambda: wire.opened)
    others = [tasks.begin(get(connection)) for _ in range(2)]
    await until(lambda: len(connection.sleepers) == 2)
    assert wire.opened == [1]
    wire.settings(max_concurrent_streams=2)
    await until(lambda: len(wire.opened) == 2)
    await until(lambda: any(each.ended for each in others))
    refused, second = sorted(others, key=lambda each: not each.ended)
    assert isinstance(await error_of(refused), httpcore.ConnectionNotAvailable)
    wire.respond(1)
    wire.respond(3)
    assert await first == await second == b"ok"


async def test_another_task_is_first_before_the_settings_are_there(
    connect: Connect, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen that no stream is open."""
    wire = shared(settings=None)
    connection = connect(wire)
    await_settings = AsyncHTTP2Exchange._await_settings
    turns = iter([True])
    first: list[Begun[bytes]] = []

    async def late(exchange: AsyncHTTP2Exchange, timeout: float | None) -> None:
        await await_settings(exchange, timeout)
        if next(turns, False):
            first.append(tasks.begin(get(connection)))
            await until(lambda: wire.opened == [1])

    monkeypatch.setattr(AsyncHTTP2Exchange, "_await_settings", late)
    second = tasks.begin(get(connection))
    await until(lambda: len(connection.sleepers) == 1)
    wire.settings()
    await until(lambda: wire.opened == [1, 3])
    wire.respond(1)
    wire.respond(3)
    assert await first[0] == await second == b"ok"


# --- the end ---


@pytest.mark.parametrize("role", ["reader", "sleeper"])
async def test_a_request_that_is_aborted_ends_alone(
    role: str, connect: Connect, tasks: Tasks
) -> None:
    """From another thread."""
    wire = shared()
    connection = connect(wire)
    requests = await opened(tasks, connection, wire, 2)
    exchanges: list[Any] = list(connection.exchanges)
    assert connection.election.reader is exchanges[0]
    ended, other = (0, 1) if role == "reader" else (1, 0)
    await in_thread(exchanges[ended].abort)
    assert isinstance(await error_of(requests[ended]), Aborted)
    assert wire.resets == {2 * ended + 1: Code.CANCEL}
    wire.respond(2 * other + 1)
    assert await requests[other] == b"ok"
    assert connection.election.reader is None and not connection.sleepers


async def test_a_request_that_is_aborted_between_two_reads(connect: Connect) -> None:
    """Nobody waits for it then: the next read says so."""
    wire = AsyncWire(headed)
    connection = connect(wire)
    response = await send(connection)
    response.stream.abort()
    assert wire.resets == {}
    with pytest.raises(Aborted):
        await response.aread()
    assert wire.resets == {1: Code.CANCEL}
    wire.answer = Wire.respond
    assert await get(connection) == b"ok"


async def test_a_request_that_is_aborted_before_it_is_sent(connect: Connect) -> None:
    wire = AsyncWire()
    connection = connect(wire)
    prepared = prepare(httpcore.Request("GET", URL, headers=[("Host", "example.com")]))
    body = response_body.AsyncResponseBody(None, prepared.request)
    body.aborted = True
    with pytest.raises(Aborted) as caught:
        await connection.exchange(prepared, body)
    assert caught.value.phase == "not_sent"
    assert wire.opened == []
    assert await get(connection) == b"ok"


@pytest.mark.parametrize("role", ["reader", "sleeper"])
async def test_an_abort_just_before_the_wait(role: str, connect: Connect, tasks: Tasks) -> None:
    """Between the last look and the sleep."""
    wire = shared()
    connection = connect(wire)
    others = await opened(tasks, connection, wire, 1) if role == "sleeper" else []

    def abort_at_once() -> None:
        for exchange in list(connection.exchanges)[len(others) :]:
            exchange.aborted = True  # as `abort` does, which then finds nobody

    connection.on_change = abort_at_once
    connection.changes_reported = -1
    with pytest.raises(Aborted):
        await send(connection)
    for other in others:
        wire.respond(1)
        assert await other == b"ok"


async def test_all_of_a_connection_is_aborted(connect: Connect, tasks: Tasks) -> None:
    wire = shared(settings=None)
    connection = connect(wire)
    wire.answer = headed
    held = await send(connection)
    wire.answer = silent
    unsettled = tasks.begin(get(connection))
    await until(lambda: connection.election.reader is not None)
    sleeping = tasks.begin(get(connection))
    await until(lambda: len(connection.sleepers) == 1)
    await in_thread(connection.abort)
    for request in (unsettled, sleeping):
        error = await error_of(request)
        assert isinstance(error, Aborted)
        assert error.phase == "not_sent"
    with pytest.raises(Aborted):
        await held.aread()
    assert connection.is_closed() and wire.closed
    with pytest.raises(Aborted):
        await send(connection)


async def test_closing_while_tasks_wait(connect: Connect, tasks: Tasks) -> None:
    wire = shared()
    connection = connect(wire)
    requests = await opened(tasks, connection, wire, 3)
    connection.close()
    for request in requests:
        error = await error_of(request)
        assert isinstance(error, httpcore.ReadError)
        assert "the connection to https://example.com:443 was closed" in str(error)
    assert wire.closed and not wire.seen(Kind.GOAWAY)


async def test_closing_a_stream_that_fails(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "httpcore.http2")
    wire = AsyncWire()
    connection = connect(wire)

    def close() -> None:
        raise OSError("no")

    wire.close = close  # type: ignore[method-assign]
    await connection.aclose()
    assert connection.is_closed()
    assert "closing the connection to https://example.com:443 failed: no" in caplog.text


async def test_a_response_that_another_task_closes_while_it_is_read(
    connect: Connect, tasks: Tasks
) -> None:
    """The task that reads for all learns of it at once."""
    wire = shared(headed)
    connection = connect(wire)
    response = await send(connection)
    reading = tasks.begin(response.aread())
    await until(lambda: connection.election.reader is not None)
    await response.aclose()
    assert isinstance(await error_of(reading), (httpcore.NetworkError, RuntimeError))
    assert wire.resets == {1: Code.CANCEL}
    wire.answer = Wire.respond
    assert await get(connection) == b"ok"


async def test_an_exchange_that_ends_while_its_task_reads_for_all(
    connect: Connect, tasks: Tasks
) -> None:
    """It is woken, and another one reads on."""
    wire = shared(headed)
    connection = connect(wire)
    response = await send(connection)
    reading = tasks.begin(response.aread())
    await until(lambda: connection.election.reader is not None)
    wire.answer = silent
    (other,) = await opened(tasks, connection, wire, 1)
    exchange: Any = response.stream.source
    exchange.finish(False, False)
    error = await error_of(reading)
    assert isinstance(error, httpcore.ReadError) and "was closed" in str(error)
    wire.respond(3)
    assert await other == b"ok"


async def test_reading_in_code_that_has_interrupted_the_connection(connect: Connect) -> None:
    """A signal handler that carries out a coroutine by hand: it is refused, and nothing is lost."""
    wire = AsyncWire(headed)
    connection = connect(wire)
    response = await send(connection)
    exchange: Any = response.stream.source
    wire.data(1, b"x", end=True)
    with connection.lock:
        with pytest.raises(httpcore.ReadError, match="cannot be read by a signal handler"):
            await exchange.read(10)
    assert await response.aread() == b"x"


# --- what the garbage collector drops ---


async def test_a_response_that_is_dropped(connect: Connect) -> None:
    wire = AsyncWire(headed)
    connection = connect(wire)
    response = await send(connection)
    del response
    assert wire.resets == {1: Code.CANCEL}
    assert connection.is_idle()


async def test_a_response_that_is_dropped_while_the_lock_is_held(connect: Connect) -> None:
    """The collector runs anywhere; here in the thread that has the lock."""
    wire = AsyncWire(headed)
    connection = connect(wire)
    responses = [await send(connection) for _ in range(2)]
    with connection.lock:
        responses.clear()
    assert wire.resets == {}
    wire.answer = Wire.respond
    assert await get(connection) == b"ok"
    assert wire.resets == {1: Code.CANCEL, 3: Code.CANCEL}


async def test_a_response_that_is_closed_by_who_has_the_lock(connect: Connect) -> None:
    """As by a signal handler: it is done when the lock is free."""
    wire = AsyncWire(headed)
    connection = connect(wire)
    response = await send(connection)
    exchange: Any = response.stream.source
    with connection.lock:
        assert exchange.finish(False, False)
        assert wire.resets == {}
    connection.finish_deferred()
    assert wire.resets == {1: Code.CANCEL}


@pytest.mark.parametrize("place", ["open", "upload", "reading", "first part", "later part"])
async def test_responses_that_are_dropped_while_another_is_carried_out(
    place: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each place that holds the lock: done as soon as that lets go."""
    wire = AsyncWire(headed)
    connection = connect(wire)
    dropped = [await send(connection)]

    def collecting(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            dropped.clear()
            return real(*arguments)

        return call

    owner, name = {
        "open": (wire, "write_ready"),
        "upload": (connection.codec, "send_data"),
        "reading": (wire, "read_ready"),
    }.get(place, (connection.codec, "take"))
    if place == "later part":
        response = await send(connection)
        wire.data(3, b"y", end=True)
        monkeypatch.setattr(owner, name, collecting(getattr(owner, name)))
    else:
        wire.answer = lambda wire, number: wire.respond(number, b"y")
        monkeypatch.setattr(owner, name, collecting(getattr(owner, name)))
        content = bytes(100_000) if place == "upload" else None
        for number in (0, 3) if content else ():
            wire.window(number, 2**20)
        response = await send(connection, "POST", content)
        assert wire.resets == {1: Code.CANCEL}
    assert await response.aread() == b"y"
    assert wire.resets == {1: Code.CANCEL}
    assert connection.is_idle()
