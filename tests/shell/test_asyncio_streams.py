"""Sockets in a loop of asyncio or uvloop, without HTTP.

Owns: `httpcore._backends.asyncio`, `async_sockets`, `async_tcp`, `asyncio_loop`, `async_deadline`
and `async_wrapped`: what is read and written, waiting, timeouts, backpressure, closing. Must not
know: HTTP, pools.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import httpcore
from httpcore._backends import async_tcp, lookup_threads
from httpcore._backends.async_deadline import AsyncDeadlineStream
from httpcore._backends.async_wrapped import AsyncForwardingStream, AsyncUpgradedStream
from httpcore._backends.asyncio import MAX_BUFFERED, AsyncioBackend, AsyncioStream
from httpcore._backends.asyncio_loop import AsyncioLoop
from httpcore._backends.clock import Deadline
from httpcore._core.limits import WRITE_SIZE
from tests.support import PATIENCE
from tests.support.loops import ASYNCIO
from tests.support.servers import Peer, ScriptedServer, Serve, pattern
from tests.support.threads import Worker

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ASYNCIO)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The loops that these streams are for."""
    return request.param


@asynccontextmanager
async def connected(server: ScriptedServer, context: Any = None) -> AsyncIterator[AsyncioStream]:
    stream: Any = await AsyncioBackend().connect_tcp("127.0.0.1", server.port, PATIENCE)
    if context is not None:
        stream = await stream.start_tls(context, "127.0.0.1", PATIENCE)
    try:
        yield stream
    finally:
        await stream.aclose()


async def read_exactly(stream: httpcore.AsyncNetworkStream, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = await stream.read(size - len(found), PATIENCE)
        assert part
        found += part
    return found


async def repeatedly(call: Callable[[], Awaitable[object]]) -> None:
    """Call it until it raises: how much a system takes at once is its own affair."""
    for _ in range(1000):
        await call()


def echo(peer: Peer) -> None:
    while data := peer.recv():
        peer.send(data)


def silent(peer: Peer) -> None:
    peer.wait_closed()


@pytest.fixture(params=["plain", "TLS"])
def secure(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "TLS")


@pytest.fixture
def contexts(
    secure: bool, server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext
) -> tuple[Any, Any]:
    return (server_tls_context, client_tls_context) if secure else (None, None)


# --- reading and writing ---


async def test_what_is_sent_comes_back(serve: Serve, contexts: tuple[Any, Any]) -> None:
    server = serve(echo, tls=contexts[0])
    async with connected(server, contexts[1]) as stream:
        for size in (1, 100_000, 3_000_000):
            data = pattern(size)
            writing = asyncio.ensure_future(stream.write(data, PATIENCE))
            assert await read_exactly(stream, size) == data
            await writing
        await stream.write(b"abcdef")
        assert await stream.read(2, PATIENCE) == b"ab"
        assert await stream.read(2, PATIENCE) == b"cd"
        assert await stream.read(9, PATIENCE) == b"ef"


async def test_reading_into_a_place(serve: Serve, contexts: tuple[Any, Any]) -> None:
    size = 2_000_000
    server = serve(lambda peer: peer.send(pattern(size)), tls=contexts[0])
    async with connected(server, contexts[1]) as stream:
        place = memoryview(bytearray(size + 10))
        assert await stream.read(5, PATIENCE) == pattern(5)  # the buffer has more than that
        place[:5] = pattern(5)
        filled = 5
        while count := await stream.readinto(place[filled:], PATIENCE):
            filled += count
        assert bytes(place[:filled]) == pattern(size)
        assert await stream.readinto(place, PATIENCE) == 0
        assert await stream.read(1, PATIENCE) == b""


async def test_a_reader_that_is_cancelled_loses_nothing(
    serve: Serve, contexts: tuple[Any, Any]
) -> None:
    server = serve(echo, tls=contexts[0])
    async with connected(server, contexts[1]) as stream:
        place = memoryview(bytearray(10))
        for read in (stream.read(10), stream.readinto(place)):
            task: Any = asyncio.ensure_future(read)  # type: ignore[arg-type]
            await asyncio.sleep(0)
            await stream.write(b"data")
            while not (stream.has_arrived() or task.done()):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                found = await task
                if isinstance(found, int):
                    found = bytes(place[:found])
                assert found == b"data"
                continue
            assert await stream.read(10, PATIENCE) == b"data"


async def test_read_timeouts(serve: Serve, contexts: tuple[Any, Any]) -> None:
    server = serve(silent, tls=contexts[0])
    async with connected(server, contexts[1]) as stream:
        for timeout, shown in ((0.05, r"0\.05 s"), (0, "0 s"), (0.01, r"0\.01 s")):
            with pytest.raises(httpcore.ReadTimeout, match=f"no byte within {shown}"):
                await stream.read(1, timeout)
            with pytest.raises(httpcore.ReadTimeout, match=f"no byte within {shown}"):
                await stream.readinto(memoryview(bytearray(1)), timeout)
            assert await stream.wait(False, timeout) is False


async def test_a_short_wait_after_a_long_one(serve: Serve) -> None:
    """The timer of the stream is set for the one that is due first."""
    server = serve(echo)
    async with connected(server) as stream:
        await stream.write(b"x")
        assert await stream.read(1, 1000) == b"x"
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(1, 0.01)
        reading = asyncio.ensure_future(stream.read(1, 1000))
        await asyncio.sleep(0)
        with pytest.raises(httpcore.WriteTimeout, match="timed out"):
            await repeatedly(lambda: stream.write(bytes(10_000_000), 0.01))
        reading.cancel()
    server.errors.clear()


async def test_a_timer_that_comes_too_early_is_set_anew(serve: Serve) -> None:
    server = serve(echo)
    async with connected(server) as stream:
        await stream.write(b"x")
        assert await stream.read(1, 0.01) == b"x"
        with pytest.raises(httpcore.ReadTimeout):  # the first timer ends within this wait
            await stream.read(1, 0.05)


async def test_write_timeouts(serve: Serve, contexts: tuple[Any, Any]) -> None:
    server = serve(lambda peer: server.event().wait(PATIENCE) and None, tls=contexts[0])
    async with connected(server, contexts[1]) as stream:
        data = bytes(10_000_000)
        with pytest.raises(httpcore.WriteTimeout, match=r"taken within 0\.05 s"):
            await stream.write(data, 0.05)
        view = memoryview(data)
        with pytest.raises(httpcore.WriteTimeout):
            await repeatedly(lambda: stream.write_some(view, 0.01))
        with pytest.raises(httpcore.WriteTimeout):
            await repeatedly(lambda: stream.write_until_readable(view, 0.01))
        with pytest.raises(httpcore.WriteTimeout):
            await repeatedly(lambda: stream.write_until_readable(view, 10, 0.0))


async def test_two_tasks_at_once(serve: Serve) -> None:
    server = serve(lambda peer: server.event().wait(PATIENCE) and None)
    async with connected(server) as stream:
        reading = asyncio.ensure_future(stream.read(1))
        writing = asyncio.ensure_future(stream.write(bytes(30_000_000)))
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="another task is reading"):
            await stream.read(1)
        with pytest.raises(RuntimeError, match="another task is writing"):
            await stream.write(bytes(10_000_000))
        for task in (reading, writing):
            task.cancel()
        await asyncio.wait([reading, writing])


async def test_what_nobody_reads_is_bounded(serve: Serve) -> None:
    size = 30_000_000
    server = serve(lambda peer: peer.send(pattern(size)))
    async with connected(server) as stream:
        assert await stream.read(1, PATIENCE) == pattern(1)
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert len(stream._buffer) <= 2 * MAX_BUFFERED
        assert await read_exactly(stream, size - 1) == pattern(size - 1, 1)


async def test_what_comes_unasked(serve: Serve) -> None:
    said = threading.Event()

    def speak(peer: Peer) -> None:
        peer.recv()
        peer.send(b"first")
        said.wait(PATIENCE)
        peer.send(b"more")
        peer.wait_closed()

    server = serve(speak)
    async with connected(server) as stream:
        await stream.write(b"x")
        assert await stream.read(100, PATIENCE) == b"first"
        came = asyncio.Event()
        stream.on_unasked = came.set
        assert stream.get_extra_info("is_readable") is False
        said.set()
        await asyncio.wait_for(came.wait(), PATIENCE)
        assert stream.get_extra_info("is_readable") is True
        assert await stream.wait(False, 0) is True
        assert await stream.read(100, PATIENCE) == b"more"


def speak_and_reset(first: bytes, rest: bytes, done: threading.Event) -> Callable[[Peer], None]:
    """Return a handler that answers with `first`, and the next time with `rest` and a reset."""

    def speak(peer: Peer) -> None:
        peer.recv()
        peer.send(first)
        peer.recv()
        peer.send(rest)
        peer.reset()
        done.set()

    return speak


async def watched(stream: AsyncioStream, done: threading.Event) -> None:
    """Let the loop watch `stream`, and hold it up until what comes next has been followed by a
    reset: both are one event then."""
    await stream.write(b"x")
    assert await stream.read(100, PATIENCE) == b"first"
    await stream.write(b"x")
    assert done.wait(PATIENCE)


async def count_to_end(stream: AsyncioStream) -> int:
    """Read without a timeout until an end or a failure; return how many bytes there were."""
    count = 0
    with contextlib.suppress(httpcore.ReadError):
        while data := await stream.read(1000, None):
            count += len(data)
    return count


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_a_reset_right_behind_data(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    secure: bool,
) -> None:
    """It is met at once, also behind more data than one event takes in."""
    done, size = threading.Event(), 200_000
    server = serve(
        speak_and_reset(b"first", bytes(size), done), tls=server_tls_context if secure else None
    )
    async with connected(server, client_tls_context if secure else None) as stream:
        await watched(stream, done)
        count = await asyncio.wait_for(count_to_end(stream), PATIENCE)
        assert count > 1000


async def test_a_reset_right_behind_what_comes_unasked(serve: Serve) -> None:
    done = threading.Event()
    server = serve(speak_and_reset(b"first", b"more", done))
    async with connected(server) as stream:
        calls: list[bool] = []
        ended = asyncio.Event()

        def on_unasked() -> None:
            calls.append(stream._end is not None)
            if calls[-1]:
                ended.set()

        stream.on_unasked = on_unasked
        await watched(stream, done)
        await asyncio.wait_for(ended.wait(), PATIENCE)
        assert calls == [False, True]
        assert await stream.read(100, PATIENCE) == b"more"
        with pytest.raises(httpcore.ReadError):
            await stream.read(100, PATIENCE)


async def test_a_reset_where_the_loop_drives(serve: Serve) -> None:
    done = threading.Event()
    server = serve(speak_and_reset(b"first", b"more", done))
    async with connected(server) as stream:
        came: list[bytes | None] = []
        ended = asyncio.Event()

        def on_readable() -> None:
            try:
                came.append(stream.read_ready(3))
            except httpcore.ReadError:
                ended.set()

        await watched(stream, done)
        stream._unwatch()
        stream.drive(on_readable, bool)
        await asyncio.wait_for(ended.wait(), PATIENCE)
        assert came == [b"mor", b"e"]


async def test_a_look_for_room_right_after_a_reset(serve: Serve) -> None:
    """It does not fail, though the loop may have forgotten the socket this moment."""
    done = threading.Event()
    server = serve(speak_and_reset(b"first", b"more", done))
    async with connected(server) as stream:
        loop = asyncio.get_running_loop()
        failures: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, failure: failures.append(failure))
        room = asyncio.Event()

        def on_readable() -> None:
            with contextlib.suppress(httpcore.ReadError):
                if stream.read_ready(100) == b"more":
                    loop.call_soon(stream.wake)

        await watched(stream, done)
        stream._unwatch()
        stream.drive(on_readable, room.set)
        await asyncio.wait_for(room.wait(), PATIENCE)
        assert not failures


async def test_a_reset_while_a_task_waits_for_room(serve: Serve) -> None:
    """Both waits end, and so does the next one."""
    done = threading.Event()

    def speak(peer: Peer) -> None:
        peer.recv()
        peer.send(b"first")
        assert full.wait(PATIENCE)
        peer.send(b"more")
        peer.reset()
        done.set()

    server = serve(speak)
    full = server.event()
    async with connected(server) as stream:
        await stream.write(b"x")
        assert await stream.read(100, PATIENCE) == b"first"
        place = memoryview(bytes(WRITE_SIZE))
        while stream.write_ready(place):
            pass
        waiting = asyncio.ensure_future(stream.wait(True, None))
        await asyncio.sleep(0)
        full.set()
        assert done.wait(PATIENCE)
        assert await asyncio.wait_for(waiting, PATIENCE) is True
        assert await stream.read(100, PATIENCE) == b"more"
        with pytest.raises(httpcore.ReadError):
            await asyncio.wait_for(stream.read(100, None), PATIENCE)


async def test_a_reset_within_the_handshake(
    serve: Serve, client_tls_context: ssl.SSLContext
) -> None:
    def speak(peer: Peer) -> None:
        peer.recv()
        peer.send(b"\x16\x03\x03\x00\x7a\x02")  # the beginning of a ServerHello
        peer.reset()

    server = serve(speak)
    async with connected(server) as stream:
        with pytest.raises(httpcore.ConnectError):
            await asyncio.wait_for(
                stream.start_tls(client_tls_context, "127.0.0.1", None), PATIENCE
            )


async def test_closed_right_after_a_reset(serve: Serve) -> None:
    """Nothing is watched any more, though the loop may just have forgotten the socket."""
    done = threading.Event()
    server = serve(speak_and_reset(b"first", b"more", done))
    async with connected(server) as stream:
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()

        def close() -> None:
            stream.close()
            loop.call_soon(closed.set)

        stream.on_unasked = lambda: loop.call_soon(close)
        await watched(stream, done)
        await asyncio.wait_for(closed.wait(), PATIENCE)
        await asyncio.sleep(0)
        assert not stream._watched


async def test_others_have_their_turn(serve: Serve) -> None:
    """A fast peer does not keep the event loop for itself."""
    server = serve(lambda peer: peer.send(bytes(20_000_000)))
    async with connected(server) as stream:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.ensure_future(count())
        place = memoryview(bytearray(1_000_000))
        total = 0
        while got := await stream.readinto(place, PATIENCE):
            total += got
        counting.cancel()
        assert total == 20_000_000
        assert turns >= 10


# --- listening while writing ---


async def test_writing_until_there_is_something_to_read(
    serve: Serve, contexts: tuple[Any, Any]
) -> None:
    def interrupt(peer: Peer) -> None:
        peer.recv_exactly(1000)
        peer.send(b"stop")
        peer.wait_closed()

    server = serve(interrupt, tls=contexts[0])
    async with connected(server, contexts[1]) as stream:
        # OpenSSL counts a part as sent when all of it was, so they are as large as an upload's.
        part, count = memoryview(bytes(WRITE_SIZE)), 0
        while await stream.write_until_readable(part, PATIENCE) == len(part):
            count += 1
        assert 1 <= count < 1000
        assert await stream.read(100, PATIENCE) == b"stop"
    server.errors.clear()


async def test_all_is_written_where_nothing_comes(serve: Serve, contexts: tuple[Any, Any]) -> None:
    size = 3_000_000

    def read(peer: Peer) -> None:
        assert peer.recv_exactly(size) == pattern(size)
        peer.send(b"!")

    server = serve(read, tls=contexts[0])
    async with connected(server, contexts[1]) as stream:
        view = memoryview(pattern(size))
        sent = await stream.write_until_readable(view[:100], PATIENCE)
        assert sent == 100
        while sent < size:
            sent += await stream.write_until_readable(view[sent:], PATIENCE)
        assert await stream.read(1, PATIENCE) == b"!"


async def test_sending_a_file(serve: Serve, tmp_path: Path) -> None:
    size = 3_000_000

    def read(peer: Peer) -> None:
        assert peer.recv_exactly(size) == pattern(size)
        peer.send(b"!")

    server = serve(read)
    (tmp_path / "file").write_bytes(pattern(size))
    with open(tmp_path / "file", "rb") as file:
        async with connected(server) as stream:
            assert stream.sends_files
            sent = 0
            while sent < size:
                sent += await stream.send_file(file.fileno(), sent, size - sent, PATIENCE)
            assert await stream.read(1, PATIENCE) == b"!"
            assert await stream.send_file(file.fileno(), size, 10, PATIENCE) == 0


# --- the end ---


async def test_the_peer_ends(serve: Serve, contexts: tuple[Any, Any]) -> None:
    server = serve(lambda peer: peer.send(b"bye"), tls=contexts[0])
    async with connected(server, contexts[1]) as stream:
        assert await read_exactly(stream, 3) == b"bye"
        for _ in range(2):
            assert await stream.read(1, PATIENCE) == b""
        assert stream.get_extra_info("is_readable") is True
        assert not stream.unclean_eof


async def test_an_end_without_goodbye(
    serve: Serve, server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext
) -> None:
    server = serve(lambda peer: peer.close(notify=False), tls=server_tls_context)
    async with connected(server, client_tls_context) as stream:
        assert await stream.read(1, PATIENCE) == b""
        assert stream.unclean_eof


async def test_the_peer_resets(serve: Serve) -> None:
    def reset(peer: Peer) -> None:
        peer.recv()
        peer.reset()

    server = serve(reset)
    async with connected(server) as stream:
        await stream.write(b"x")
        with pytest.raises(httpcore.ReadError, match="failed"):
            await stream.read(1, PATIENCE)
        with pytest.raises(httpcore.ReadError, match="failed"):
            await stream.readinto(memoryview(bytearray(1)), PATIENCE)
        with pytest.raises(httpcore.WriteError, match="failed"):
            await repeatedly(lambda: stream.write(bytes(100_000), PATIENCE))


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("in_thread", [False, True])
async def test_ending_it_wakes_who_waits(end: str, in_thread: bool, serve: Serve) -> None:
    server = serve(lambda peer: server.event().wait(PATIENCE) and None)
    for doing in ("read", "readinto", "write"):
        async with connected(server) as stream:
            if doing == "read":
                waiting: Any = asyncio.ensure_future(stream.read(1))
            elif doing == "readinto":
                waiting = asyncio.ensure_future(stream.readinto(memoryview(bytearray(1))))
            else:
                waiting = asyncio.ensure_future(stream.write(bytes(30_000_000)))
            await asyncio.sleep(0.01)
            if in_thread:
                await asyncio.get_running_loop().run_in_executor(None, getattr(stream, end))
            else:
                getattr(stream, end)()
            if end == "abort" and doing != "write":
                assert not await asyncio.wait_for(waiting, PATIENCE)
            else:
                with pytest.raises((httpcore.ReadError, httpcore.WriteError)):
                    await asyncio.wait_for(waiting, PATIENCE)


async def test_a_closed_stream(serve: Serve) -> None:
    async with connected(serve(silent)) as stream:
        stream.close()
        stream.close()
        with pytest.raises(httpcore.ReadError):
            await stream.read(1)
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"x")
        with pytest.raises(httpcore.WriteError):
            await stream.write_some(memoryview(b"x"))
        assert stream.get_extra_info("is_readable") is True
        stream.wake()
        await asyncio.sleep(0)


async def test_facts(serve: Serve, contexts: tuple[Any, Any]) -> None:
    server = serve(echo, tls=contexts[0])
    async with connected(server, contexts[1]) as stream:
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
        assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
        assert (stream.get_extra_info("ssl_object") is None) == (contexts[0] is None)
        assert stream.get_extra_info("unknown") is None
        tls = ", TLS" if contexts[0] else ""
        assert repr(stream) == f"<httpcore.AsyncioStream [127.0.0.1:{server.port}{tls}]>"


# --- TLS ---


async def test_a_handshake_that_fails(serve: Serve, client_tls_context: ssl.SSLContext) -> None:
    def garbage(peer: Peer) -> None:
        peer.recv()
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.wait_closed()

    server = serve(garbage)
    async with connected(server) as stream:
        with pytest.raises(httpcore.ConnectError, match=r"TLS handshake with .* failed"):
            await stream.start_tls(client_tls_context, "127.0.0.1", PATIENCE)
        with pytest.raises(httpcore.ReadError):
            await stream.read(1)


async def test_a_peer_that_speaks_before_the_handshake(
    serve: Serve, client_tls_context: ssl.SSLContext
) -> None:
    def speak(peer: Peer) -> None:
        peer.send(b"hello, who are you?")
        peer.wait_closed()

    server = serve(speak)
    async with connected(server) as stream:
        assert await stream.read(5, PATIENCE) == b"hello"
        with pytest.raises(httpcore.ReadError, match="sent data before the TLS handshake"):
            await stream.start_tls(client_tls_context, "127.0.0.1", PATIENCE)


# --- opening ---


def answer(*addresses: str) -> Any:
    return lambda host, port, timeout: list(addresses)


async def test_the_first_address_that_answers(serve: Serve, closed_port: int) -> None:
    server = serve(echo)
    backend = AsyncioBackend(answer("127.0.0.9", "127.0.0.1"))
    # Nothing listens there on that port: it is refused at once.
    stream = await backend.connect_tcp("name.test", server.port, PATIENCE)
    assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
    assert stream.get_extra_info("lookup_time") >= 0
    await stream.aclose()


async def test_an_address_that_does_not_answer(
    serve: Serve, black_hole: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second attempt begins beside the first, and wins."""
    host, port = black_hole
    with ScriptedServer(echo, host="127.0.0.5") as server:
        addresses = [(host, port), ("127.0.0.5", server.port)]

        async def look_up(*arguments: Any) -> list[Any]:
            kind = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
            return [async_tcp.Address(*kind, each) for each in addresses]

        monkeypatch.setattr(async_tcp, "look_up", look_up)
        stream = await AsyncioBackend().connect_tcp("name.test", 1, PATIENCE)
        assert stream.get_extra_info("server_addr") == ("127.0.0.5", server.port)
        await stream.aclose()


async def test_no_address_answers(closed_port: int) -> None:
    backend = AsyncioBackend(answer("127.0.0.8", "127.0.0.9"))
    for timeout in (None, PATIENCE):
        with pytest.raises(httpcore.ConnectError, match=r"\(127\.0\.0\.8, 127\.0\.0\.9\) failed"):
            await backend.connect_tcp("name.test", closed_port, timeout)
    for given in (answer(), answer("no address"), lambda *_: 1 / 0):
        with pytest.raises(httpcore.ConnectError, match=r"look up name\.test failed"):
            await AsyncioBackend(given).connect_tcp("name.test", 1, PATIENCE)


async def test_a_local_address(serve: Serve) -> None:
    server = serve(echo)
    stream = await AsyncioBackend().connect_tcp(
        "127.0.0.1", server.port, PATIENCE, "127.0.0.7", [(socket.SOL_SOCKET, socket.SO_RCVBUF, 9)]
    )
    assert stream.get_extra_info("client_addr")[0] == "127.0.0.7"
    await stream.aclose()
    with pytest.raises(httpcore.ConnectError):  # it is not ours
        await AsyncioBackend().connect_tcp("127.0.0.1", server.port, PATIENCE, "192.0.2.1")
    with pytest.raises(httpcore.ConnectError):
        await AsyncioBackend(answer("127.0.0.1")).connect_tcp("name.test", 1, 1, "::1")


async def test_resolving() -> None:
    assert await AsyncioBackend(answer("192.0.2.1")).resolve("name.test", 1) == ["192.0.2.1"]
    assert await AsyncioBackend().resolve("127.0.0.1", 1) == ["127.0.0.1"]
    assert await httpcore.AsyncNetworkBackend().resolve("name.test", 1) == ["name.test"]


async def test_look_ups_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one name there is one thread; a failure that came of another's shorter limit is not
    taken over."""
    released = threading.Event()
    asked: list[str] = []

    def resolve(host: str, port: int, timeout: float | None) -> list[str]:
        asked.append(host)
        released.wait(PATIENCE)
        if len(asked) == 1:
            raise OSError("the first one fails")
        return ["192.0.2.1"]

    backend = AsyncioBackend(resolve)
    short = asyncio.ensure_future(backend.resolve("name.test", 1, PATIENCE / 2))
    await asyncio.sleep(0.01)
    long = asyncio.ensure_future(backend.resolve("name.test", 1, PATIENCE))
    same = asyncio.ensure_future(backend.resolve("name.test", 1, PATIENCE / 4))
    await asyncio.sleep(0.01)
    assert asked == ["name.test"]
    released.set()
    with pytest.raises(httpcore.ConnectError, match="the first one fails"):
        await short
    with pytest.raises(httpcore.ConnectError, match="the first one fails"):
        await same
    assert await long == ["192.0.2.1"]
    assert len(asked) == 2


async def test_a_look_up_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup_threads, "MAX_LOOKUPS", 1)
    released = threading.Event()

    def resolve(host: str, port: int, timeout: float | None) -> list[str]:
        released.wait(PATIENCE)
        return ["192.0.2.1"]

    backend = AsyncioBackend(resolve)
    first = asyncio.ensure_future(backend.resolve("a.test", 1))
    await asyncio.sleep(0.01)
    with pytest.raises(httpcore.ConnectTimeout, match="its turn did not come"):
        await backend.resolve("b.test", 1, 0.01)
    second = asyncio.ensure_future(backend.resolve("b.test", 1))
    given_up = asyncio.ensure_future(backend.resolve("c.test", 1))
    also = asyncio.ensure_future(backend.resolve("c.test", 1, PATIENCE))
    await asyncio.sleep(0.01)
    given_up.cancel()
    released.set()
    assert [await first, await second, await also] == [["192.0.2.1"]] * 3


async def test_a_unix_socket_whose_queue_is_full(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(0)
    filling: list[Any] = []
    loop = AsyncioLoop(asyncio.get_running_loop())

    async def connect() -> None:
        filling.append(await async_tcp.connect_unix(loop, path, 0.05, None))

    try:
        with pytest.raises(httpcore.ConnectTimeout, match="timed out after"):
            await repeatedly(connect)
        options = [(socket.SOL_SOCKET, -1, 1)]
        with pytest.raises(httpcore.ConnectError, match="connect to unix:"):
            await async_tcp.connect_unix(loop, path, 1, options)
    finally:
        for sock, _ in filling:
            sock.close()
        listener.close()


async def test_sleeping() -> None:
    await AsyncioBackend().sleep(0)


# --- around it ---


async def test_a_deadline(serve: Serve, tmp_path: Path) -> None:
    server = serve(echo)
    (tmp_path / "file").write_bytes(b"file")
    async with connected(server) as inside:
        stream = AsyncDeadlineStream(inside, Deadline(PATIENCE))
        await stream.write(b"one")
        assert await stream.read(3, None) == b"one"
        assert await stream.write_some(memoryview(b"two")) == 3
        assert await stream.readinto(memoryview(bytearray(3)), PATIENCE) == 3
        assert await stream.write_until_readable(memoryview(b"three"), None, 9e9) == 5
        with open(tmp_path / "file", "rb") as file:
            assert stream.sends_files
            assert await stream.send_file(file.fileno(), 0, 4) in (0, 4)
        late = AsyncDeadlineStream(inside, Deadline(0.0))
        calls: list[Any] = [
            lambda: late.write(b"x"),
            lambda: late.write_some(memoryview(b"x")),
            lambda: late.write_until_readable(memoryview(b"x")),
            lambda: late.read(1),
            lambda: late.readinto(memoryview(bytearray(1))),
        ]
        for call in calls:
            with pytest.raises(httpcore.TimeoutException, match=r"^total of 0 s is over"):
                await call()


class Basic(httpcore.AsyncNetworkStream):
    """Has no more than the interface asks for."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.failure: Exception | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return b"data"

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self.failure is not None and self.sent:
            raise self.failure
        self.sent.append(buffer)

    async def aclose(self) -> None:
        self.sent.append(b"closed")

    async def start_tls(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return self


async def test_a_deadline_over_a_basic_stream() -> None:
    inside = Basic()
    stream = AsyncDeadlineStream(inside, Deadline(PATIENCE))
    assert stream.readinto is None
    assert stream.write_until_readable is None
    assert not stream.sends_files
    await stream.write(bytes(40_000))
    assert [len(each) for each in inside.sent] == [16384, 16384, 7232]
    inside.sent.clear()
    inside.failure = httpcore.WriteError("broken")
    with pytest.raises(httpcore.WriteError) as caught:
        await stream.write(bytes(40_000))
    assert caught.value.phase == "maybe_processed"  # type: ignore[attr-defined]


async def test_a_stream_around_another() -> None:
    inside = Basic()
    stream = AsyncForwardingStream(inside)
    assert await stream.read(9) == b"data"
    await stream.write(b"x")
    stream.abort()
    stream.keep_session()
    assert stream.unclean_eof is False
    assert await stream.start_tls(ssl.create_default_context()) is inside
    assert stream.get_extra_info("socket") is None
    await stream.aclose()
    assert inside.sent == [b"x", b"closed"]


async def test_an_upgraded_stream() -> None:
    inside = Basic()
    stream = AsyncUpgradedStream(inside, b"lead")
    assert await stream.read(3) == b"lea"
    assert stream.get_extra_info("is_readable") is True
    with pytest.raises(httpcore.ReadError, match="before the TLS handshake"):
        await stream.start_tls(ssl.create_default_context())
    assert inside.sent == [b"closed"]
    assert await stream.read(3) == b"d"
    assert await stream.read(3) == b"data"
    assert stream.get_extra_info("is_readable") is None
    assert await stream.start_tls(ssl.create_default_context()) is inside


def test_a_stream_outlives_its_loop(serve: Serve) -> None:
    """It can be closed all the same, in any thread."""
    server = serve(echo)
    streams = [
        asyncio.run(AsyncioBackend().connect_tcp("127.0.0.1", server.port)) for _ in range(2)
    ]
    for stream in streams:
        stream.close()  # type: ignore[attr-defined]
        assert stream.get_extra_info("socket").fileno() < 0
    assert os.strerror(errno.EBADF)


# --- moments between two steps of the loop ---


def wait_readable(stream: AsyncioStream) -> None:
    """Without letting the loop see it."""
    assert select.select([stream.get_extra_info("socket")], [], [], PATIENCE)[0]


async def test_two_tasks_that_read_in_place(serve: Serve) -> None:
    server = serve(lambda peer: server.event().wait(PATIENCE) and None)
    async with connected(server) as stream:
        reading = asyncio.ensure_future(stream.readinto(memoryview(bytearray(1))))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task is reading"):
            await stream.readinto(memoryview(bytearray(1)))
        reading.cancel()
        await asyncio.wait([reading])


@pytest.mark.parametrize("end", ["cancelled", "late", "reset"])
async def test_a_place_is_free_after_a_failure(end: str, serve: Serve) -> None:
    """Although there is still a traceback that begins in the middle of reading."""

    def reset(peer: Peer) -> None:
        peer.recv()
        peer.reset()

    server = serve(reset if end == "reset" else silent)
    async with connected(server) as stream:
        place = bytearray(8)
        reading = asyncio.ensure_future(
            read_into(stream, place, 0.01 if end == "late" else PATIENCE)
        )
        await asyncio.sleep(0)
        if end == "cancelled":
            reading.cancel()
        else:
            await stream.write(b"go", PATIENCE)
        with pytest.raises((asyncio.CancelledError, httpcore.NetworkError, httpcore.ReadTimeout)):
            await reading
        place.append(1)  # BufferError, if anything still exported it


async def read_into(stream: AsyncioStream, place: bytearray, timeout: float = PATIENCE) -> int:
    with memoryview(place) as view:
        return await stream.readinto(view, timeout)


async def test_a_place_is_free_after_a_failure_behind_data(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure is kept for the next reader, with its traceback."""

    def receive(place: memoryview) -> int:
        if len(place) < 8:
            del place  # a socket, which is no Python, does not keep it either
            raise ConnectionResetError("by a test")
        place[:4] = b"abcd"
        return 4

    place = bytearray(8)
    async with connected(serve(silent)) as stream:
        with monkeypatch.context() as patched:
            patched.setattr(stream, "_sock", SimpleNamespace(recv_into=receive))
            assert await read_into(stream, place) == 4
        place.append(1)  # BufferError, if anything still exported it
        with pytest.raises(httpcore.ReadError, match="by a test"):
            await read_into(stream, place)


async def test_what_comes_before_the_woken_task_runs(serve: Serve) -> None:
    """It stays where it is: the place has been filled."""
    async with connected(serve(echo)) as stream:
        place = bytearray(8)
        reading = asyncio.ensure_future(stream.readinto(memoryview(place), PATIENCE))
        await asyncio.sleep(0)
        for data in (b"abcd", b"efgh"):
            stream._sock.send(data)
            wait_readable(stream)
            stream._on_readable()
        assert await reading == 4
        assert bytes(place) == b"abcd\0\0\0\0"
        assert await stream.read(8, PATIENCE) == b"efgh"


async def test_waking_who_was_woken(serve: Serve) -> None:
    async with connected(serve(echo)) as stream:
        waiting = asyncio.ensure_future(stream.wait(False, PATIENCE))
        await asyncio.sleep(0)
        for _ in range(2):
            stream.wake()
        assert await waiting
        assert not await stream.wait(False, 0.001)


async def test_waiting_for_room_on_what_is_closed(serve: Serve) -> None:
    called: list[str] = []
    async with connected(serve(silent)) as stream:
        stream.drive(lambda: called.append("readable"), lambda: called.append("room"))
        stream.close()
        stream.wake()
        assert await stream.wait(True, PATIENCE)
        await asyncio.sleep(0)
    assert called == []


async def test_a_wait_for_room_that_ends_while_another_thread_closes(serve: Serve) -> None:
    """The loop does not go on watching a number that the next socket gets."""
    server = serve(lambda peer: server.event().wait(PATIENCE) and None)
    async with connected(server) as stream:
        writing = asyncio.ensure_future(stream.write(bytes(30_000_000), PATIENCE))
        while stream._writer is None:
            await asyncio.sleep(0)
        number = stream._number
        writing.cancel()
        Worker(stream.close).result()
        await asyncio.wait([writing])
        while stream.get_extra_info("socket").fileno() != -1:
            await asyncio.sleep(0)
        assert not asyncio.get_running_loop().remove_writer(number)


async def test_one_timer_for_two_waits(serve: Serve) -> None:
    """It is set for the first of them that may end."""
    server = serve(lambda peer: server.event().wait(PATIENCE) and None)
    async with connected(server) as stream:
        reading = asyncio.ensure_future(stream.read(1, PATIENCE))
        writing = asyncio.ensure_future(stream.write(bytes(30_000_000), 2 * PATIENCE))
        while stream._writer is None:
            await asyncio.sleep(0)
        stream._on_time()
        assert stream._timer_at == stream._read_due < stream._write_due
        for task in (reading, writing):
            assert not task.done()
            task.cancel()
        await asyncio.wait([reading, writing])


async def test_a_loop_that_is_closed_in_the_moment_in_which_a_thread_closes(serve: Serve) -> None:
    def refuse(*arguments: object) -> None:
        raise RuntimeError("Event loop is closed")

    async with connected(serve(silent)) as stream:
        loop = stream._loop
        stream._loop = SimpleNamespace(  # type: ignore[assignment]
            is_closed=lambda: False, is_running=lambda: True, call_soon_threadsafe=refuse
        )
        stream.close()
        assert stream.get_extra_info("socket").fileno() < 0
        stream._loop = loop
