"""What every asynchronous stream does, whatever it is made of, on each event loop.

Owns: `AsyncNetworkStream` as a promise, and what a stream may offer beyond it, as `test_streams`
does for the synchronous ones. Must not know: how one of them keeps it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import anyio
import pytest

import httpcore
from httpcore._backends import async_tcp
from httpcore._backends.async_deadline import AsyncDeadlineStream
from httpcore._backends.async_wrapped import AsyncForwardingStream, AsyncUpgradedStream
from httpcore._backends.asyncio import AsyncioStream
from httpcore._backends.auto import AutoBackend
from httpcore._backends.clock import Deadline
from httpcore._backends.closing import close_rest
from httpcore._backends.interrupt import abort
from httpcore._backends.trio import TrioStream
from tests.support import PATIENCE
from tests.support.http2 import Link as FrameLink
from tests.support.http2 import ServeH2
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, ScriptedServer, pattern
from tests.support.streams import MockEnd, Puppet
from tests.support.tasks import Tasks, in_thread, on_asyncio, until
from tests.support.threads import Worker

pytestmark = pytest.mark.anyio

SOON = 0.05  # seconds; a limit that is always reached
BIG = 4_000_000  # bytes: more than the buffers of a connection hold

LISTENING = {"write_until_readable"}
WITHOUT_WAITING = {"read_ready", "write_ready", "wait", "wake", "has_arrived"}
OWN = {"readinto", "write_some", "abort", "keep_session"} | LISTENING | WITHOUT_WAITING
# What each offers beyond `AsyncNetworkStream`.
OFFERED: dict[str, set[str]] = {
    "plain": OWN,
    "tls": OWN,
    "tls in tls": OWN - {"write_some"},
    "upgraded": {"abort", "keep_session"},
    "deadline": {"readinto", "write_some", "abort", "keep_session", "wait", "wake"} | LISTENING,
    "anyio": {"abort"},
    "anyio tls": {"readinto", "abort", "keep_session"},
    "recording": {"abort", "keep_session"} | LISTENING,
    "logging": {"abort", "keep_session"} | LISTENING,
    "mock": set(),
}
WITH_TLS = ("tls", "tls in tls", "anyio tls")
ON_SOCKETS = tuple(kind for kind in OFFERED if kind != "mock")


class Link(NamedTuple):
    """A stream, and the server's end of its connection."""

    kind: str
    stream: Any
    far: Any


@pytest.fixture(params=OFFERED)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def link(
    kind: str,
    anyio_backend: Any,
    serve: Callable[..., ScriptedServer],
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    tmp_path: Path,
) -> AsyncIterator[Link]:
    if kind == "mock":
        mock = httpcore.AsyncMockStream([], read_size=65536)
        yield Link(kind, mock, MockEnd(mock))
        return
    puppet = Puppet()
    tls = server_tls_context if kind in WITH_TLS else None
    server = serve(puppet, tls=tls)
    backend: httpcore.AsyncNetworkBackend = AutoBackend()
    if kind.startswith("anyio"):
        backend = httpcore.AnyIOBackend()
    elif kind == "recording":
        backend = httpcore.AsyncRecordingBackend(None, tmp_path / "c.jsonl")
    elif kind == "logging":
        backend = httpcore.AsyncLoggingBackend()
    with contextlib.ExitStack() as stack:
        at = stack.enter_context(ProxyServer(tls=tls)) if kind == "tls in tls" else server
        stream: Any = await backend.connect_tcp(at.host, at.port, PATIENCE)
        if kind in WITH_TLS:
            stream = await stream.start_tls(client_tls_context, "localhost", PATIENCE)
        if kind == "tls in tls":
            await stream.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % server.port, PATIENCE)
            assert (await stream.read(4096, PATIENCE)).startswith(b"HTTP/1.1 200")
            stream = await stream.start_tls(client_tls_context, "localhost", PATIENCE)
        elif kind == "upgraded":
            stream = AsyncUpgradedStream(stream, b"")
        elif kind == "deadline":
            stream = AsyncDeadlineStream(stream, Deadline(PATIENCE))
        await until(lambda: puppet.peers)
        far = puppet.peers.pop()
        if kind in WITH_TLS:  # TLS 1.3 sends tickets after the handshake: bytes, but no data
            far.send(b"!")
            assert await stream.read(1, PATIENCE) == b"!"
        elif kind == "recording":
            await leave_http(stream, far)
        yield Link(kind, stream, far)
        await stream.aclose()
        if kind == "tls in tls":
            far.reset()  # else the proxy would wait until it takes what was sent


async def leave_http(stream: Any, far: Peer) -> None:
    """Let a recorder take what follows for another protocol."""
    await stream.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    assert far.recv_until(b"\r\n\r\n")
    answer = b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    far.send(answer)
    assert await read_exactly(stream, len(answer)) == answer


async def read_exactly(stream: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await stream.read(min(65536, size - len(data)), PATIENCE)
        assert part
        data += part
    return data


def needs(link: Link, *names: str) -> None:
    if not OFFERED[link.kind].issuperset(names):
        pytest.skip("offers none")


def takes_much(link: Link) -> None:
    """Skip what needs more than the buffers of a connection can ever hold."""
    if link.kind == "recording":
        pytest.skip("writes all of it down, which takes too long")


on_sockets = pytest.mark.parametrize("kind", ON_SOCKETS, indirect=True)


# --- what all do ---


async def test_short_reads_and_the_end(link: Link) -> None:
    link.far.send(b"abcdef")
    assert await link.stream.read(2, PATIENCE) == b"ab"
    assert await read_exactly(link.stream, 4) == b"cdef"
    link.far.close()
    assert await link.stream.read(10, PATIENCE) == b""
    assert not getattr(link.stream, "unclean_eof", False)


async def test_writing_much(link: Link) -> None:
    taking = Worker(lambda: link.far.recv_exactly(BIG)) if link.kind != "mock" else None
    await link.stream.write(pattern(BIG), PATIENCE)
    got = link.far.recv_exactly(BIG) if taking is None else await in_thread(taking.result)
    assert got == pattern(BIG)
    await link.stream.write(b"", PATIENCE)


@on_sockets
async def test_reading_much(link: Link) -> None:
    sending = Worker(lambda: link.far.send(pattern(BIG)))
    assert await read_exactly(link.stream, BIG) == pattern(BIG)
    await in_thread(sending.result)


@on_sockets
async def test_a_read_that_timed_out_can_be_done_again(link: Link) -> None:
    with pytest.raises(httpcore.ReadTimeout):
        await link.stream.read(10, SOON)
    with pytest.raises(httpcore.ReadTimeout):
        await link.stream.read(10, 0)
    link.far.send(b"late")
    assert await read_exactly(link.stream, 4) == b"late"


@on_sockets
async def test_a_read_that_was_cancelled_can_be_done_again(link: Link, tasks: Tasks) -> None:
    for size in (1, 100):
        reading = tasks.begin(link.stream.read(size, PATIENCE))
        await anyio.sleep(0.01)
        reading.cancel()
        await reading.end()
        assert reading.cancelled
    link.far.send(b"late")
    assert await read_exactly(link.stream, 4) == b"late"


@on_sockets
async def test_a_write_that_nobody_takes_times_out(link: Link) -> None:
    takes_much(link)
    with pytest.raises(httpcore.WriteTimeout) as caught:
        await link.stream.write(pattern(16 * BIG), SOON)
    assert caught.value.phase == "maybe_processed"


@on_sockets
async def test_whether_it_is_readable(link: Link) -> None:
    assert not link.stream.get_extra_info("is_readable")
    link.far.send(b"ab")
    assert await link.stream.read(1, PATIENCE) == b"a"
    assert await link.stream.read(1, PATIENCE) == b"b"
    assert not link.stream.get_extra_info("is_readable")
    link.far.close()
    assert await link.stream.read(1, PATIENCE) == b""
    assert link.stream.get_extra_info("is_readable")


async def test_closing_more_than_once(link: Link) -> None:
    await link.stream.aclose()
    await link.stream.aclose()
    with pytest.raises(httpcore.ReadError):
        await link.stream.read(1, PATIENCE)
    if link.kind != "mock":
        with pytest.raises(httpcore.WriteError):
            await link.stream.write(b"x" * 100, PATIENCE)


@on_sockets
async def test_closing_while_another_task_reads(link: Link, tasks: Tasks) -> None:
    reading = tasks.begin(link.stream.read(1, PATIENCE))
    await anyio.sleep(0.01)
    await link.stream.aclose()
    with contextlib.suppress(httpcore.ReadError):
        assert await reading == b""


@on_sockets
async def test_abort_ends_the_read_of_another_task(link: Link, tasks: Tasks) -> None:
    reading = tasks.begin(link.stream.read(1, PATIENCE))
    await anyio.sleep(0.01)
    await in_thread(abort, link.stream)
    with contextlib.suppress(httpcore.ReadError):
        assert await reading == b""


@on_sockets
async def test_two_tasks_that_read(link: Link, tasks: Tasks) -> None:
    both = [tasks.begin(link.stream.read(1, PATIENCE)) for _ in range(2)]
    await until(lambda: any(each.ended for each in both))
    refused, reading = sorted(both, key=lambda each: not each.ended)
    with pytest.raises((RuntimeError, httpcore.ReadError)):
        await refused
    link.far.send(b"a")
    assert await reading == b"a"


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
@pytest.mark.parametrize("listening", [False, True])
async def test_two_tasks_that_write(listening: bool, link: Link, tasks: Tasks) -> None:
    """The second is refused, by an exception that stands alone."""
    takes_much(link)
    stream = link.stream
    writing = tasks.begin(stream.write(bytes(16 * BIG), PATIENCE))
    await anyio.sleep(0.01)
    write = stream.write_until_readable if listening else stream.write
    with pytest.raises(RuntimeError, match=r"another task is writing to 127\.0\.0\.1"):
        await write(memoryview(bytes(16 * BIG)), PATIENCE)
    writing.cancel()
    await writing.end()


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
async def test_listening_while_another_task_reads(link: Link, tasks: Tasks) -> None:
    takes_much(link)
    reading = tasks.begin(link.stream.read(1, PATIENCE))
    await anyio.sleep(0.01)
    if on_asyncio():  # there the loop reads for both
        reading.cancel()
        return
    with pytest.raises(RuntimeError, match="another task is reading"):
        await link.stream.write_until_readable(memoryview(bytes(16 * BIG)), PATIENCE)
    reading.cancel()
    await reading.end()


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
async def test_closing_while_another_task_writes(link: Link, tasks: Tasks) -> None:
    takes_much(link)
    writing = tasks.begin(link.stream.write(bytes(16 * BIG), PATIENCE))
    await anyio.sleep(0.01)
    link.stream.close()
    with pytest.raises(httpcore.WriteError):
        await writing


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
async def test_waiting_on_what_is_closed(link: Link) -> None:
    """There is nothing to wait for: reading and writing will say so."""
    stream = link.stream
    stream.close()
    for write in (False, True):
        assert await stream.wait(write, PATIENCE)
    with pytest.raises(httpcore.WriteError, match="failed"):
        stream.write_ready(b"x")


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
async def test_waiting_on_what_another_thread_has_closed_in_this_moment(link: Link) -> None:
    """The loop has to come to it: who waits again and again would else keep it from that."""
    stream = link.stream
    Worker(stream.close).result()
    assert stream.read_ready(1) is None  # it is still to be closed, by the loop
    for _ in range(1000):
        assert await stream.wait(True, PATIENCE)
        if stream.get_extra_info("socket").fileno() == -1:
            break
    with pytest.raises(httpcore.ReadError, match="failed"):
        stream.read_ready(1)


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
async def test_closing_a_stream_on_which_a_wait_begins(
    link: Link, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = link.stream
    if not isinstance(stream, TrioStream):
        pytest.skip("that waits for both in two tasks")

    async def close_first(stream: TrioStream) -> None:
        stream.close()

    monkeypatch.setattr(TrioStream, "_until_writable", close_first)
    assert await stream.wait(True, PATIENCE)


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
async def test_a_handshake_that_waits_for_room(link: Link) -> None:
    """And then for an answer, within what is left of its time."""
    stream = link.stream
    link.far.send(b"!")
    assert await stream.read(1, PATIENCE) == b"!"
    steps: list[Exception | None] = [ssl.SSLWantWriteError(), ssl.SSLWantReadError(), None]

    def shake_hands() -> None:
        step = steps.pop(0)
        if step is not None:
            if isinstance(step, ssl.SSLWantReadError):
                link.far.send(b"hello")
            raise step

    sock, stream._sock = stream._sock, SimpleNamespace(do_handshake=shake_hands)
    try:
        await stream._shake_hands(time.monotonic() + 2 * PATIENCE)
    finally:
        stream._sock = sock
    assert steps == []
    assert await stream.read(5, PATIENCE) == b"hello"


@on_sockets
async def test_what_is_known_about_it(link: Link) -> None:
    assert link.stream.get_extra_info("unheard of") is None
    server, client = (link.stream.get_extra_info(f"{who}_addr") for who in ("server", "client"))
    assert client == link.stream.get_extra_info("socket").getsockname()
    assert server == link.stream.get_extra_info("socket").getpeername()
    assert (link.stream.get_extra_info("ssl_object") is not None) == (link.kind in WITH_TLS)
    assert repr(link.stream).strip("<>").startswith("httpcore.")


# --- what they may offer ---


async def test_what_is_offered(link: Link) -> None:
    found = {name for name in OWN if getattr(link.stream, name, None) is not None}
    if link.kind == "anyio tls":  # they are of no use without `read_ready`, for which all ask
        found -= WITHOUT_WAITING - {"read_ready"}
    assert found == OFFERED[link.kind]


async def test_reading_in_place(link: Link) -> None:
    needs(link, "readinto")
    buffer = bytearray(4)
    link.far.send(b"abc")
    assert await link.stream.readinto(memoryview(buffer)[:2], PATIENCE) == 2
    assert await link.stream.readinto(memoryview(buffer)[2:], PATIENCE) == 1
    assert buffer == b"abc\0"
    with pytest.raises(httpcore.ReadTimeout):
        await link.stream.readinto(memoryview(buffer), SOON)
    sending = Worker(lambda: link.far.send(pattern(BIG)))
    place, count = memoryview(bytearray(BIG)), 0
    while count < BIG:
        count += await link.stream.readinto(place[count:], PATIENCE)
    assert place == pattern(BIG)
    await in_thread(sending.result)
    link.far.close()
    assert await link.stream.readinto(memoryview(buffer), PATIENCE) == 0
    await link.stream.aclose()
    if link.kind in ("plain", "tls"):
        with pytest.raises(httpcore.ReadError):
            await link.stream.readinto(memoryview(buffer), PATIENCE)


async def test_writing_some(link: Link) -> None:
    needs(link, "write_some")
    sent = await link.stream.write_some(memoryview(b"abc"), PATIENCE)
    assert link.far.recv_exactly(sent) == b"abc"[:sent]
    assert sent > 0
    view = memoryview(pattern(BIG))

    async def write() -> None:
        while True:
            assert await link.stream.write_some(view, SOON) > 0

    with pytest.raises(httpcore.WriteTimeout):
        await write()


async def test_writing_until_there_is_something_to_read(link: Link) -> None:
    needs(link, "write_until_readable")
    sent = 0
    while sent < 3:  # a record of TLS itself may come first
        sent += await link.stream.write_until_readable(memoryview(b"abc")[sent:], PATIENCE)
        with contextlib.suppress(httpcore.ReadTimeout):
            await link.stream.read(1, 0)
    assert link.far.recv_exactly(3) == b"abc"
    takes_much(link)
    size, heard = 8 * BIG, threading.Event()

    def answer_early() -> bytes:
        got: bytes = link.far.recv_exactly(BIG)
        link.far.send(b"!")
        assert heard.wait(PATIENCE)
        got += link.far.recv_exactly(size - BIG)
        return got

    answering = Worker(answer_early)
    view = memoryview(pattern(size))
    sent = await link.stream.write_until_readable(view, PATIENCE)
    assert sent < size
    assert await read_exactly(link.stream, 1) == b"!"
    heard.set()
    while sent < size - 100:
        sent += await link.stream.write_until_readable(view[sent:], PATIENCE)
    await link.stream.write(bytes(view[sent:]), PATIENCE)
    assert await in_thread(answering.result) == view


async def test_writing_until_nobody_takes_anything(link: Link) -> None:
    needs(link, "write_until_readable")
    takes_much(link)
    view = memoryview(pattern(8 * BIG))
    with pytest.raises(httpcore.WriteTimeout):
        await link.stream.write_until_readable(view, SOON)


@on_sockets
async def test_sending_a_file(link: Link, tmp_path: Path) -> None:
    if not getattr(link.stream, "sends_files", False):
        pytest.skip("offers none")
    path = tmp_path / "body"
    path.write_bytes(b"-abc-")
    with path.open("rb") as file:
        assert await link.stream.send_file(file.fileno(), 1, 3, PATIENCE) == 3
    assert link.far.recv_exactly(3) == b"abc"


async def test_without_waiting(link: Link) -> None:
    """What an HTTP/2 connection uses."""
    needs(link, *WITHOUT_WAITING)
    stream = link.stream
    while await stream.wait(False, SOON):  # it may be wrong until it was read
        assert stream.read_ready(10) is None
    assert not stream.has_arrived()
    link.far.send(b"abcd")
    for part in (b"ab", b"cd"):
        assert await stream.wait(False, PATIENCE)
        assert stream.has_arrived()
        assert stream.read_ready(2) == part
    assert stream.read_ready(2) is None
    left = memoryview(pattern(BIG))
    taking = Worker(lambda: link.far.recv_exactly(BIG + 3))
    while left:
        assert await stream.wait(True, PATIENCE)
        left = left[stream.write_ready(left) :]
    await stream.write(b"end", PATIENCE)
    assert await in_thread(taking.result) == pattern(BIG) + b"end"
    link.far.close()
    while (data := stream.read_ready(10)) is None:
        assert await stream.wait(False, PATIENCE)
    assert data == b""
    assert stream.has_arrived()
    stream.close()
    with pytest.raises(httpcore.WriteError):
        stream.write_ready(b"x")


@pytest.mark.parametrize("write", [False, True])
async def test_waking_who_waits(link: Link, tasks: Tasks, write: bool) -> None:
    needs(link, *WITHOUT_WAITING)
    stream = link.stream
    while not write and await stream.wait(False, 0):
        assert stream.read_ready(10) is None
    while write and (stream.write_ready(pattern(BIG)) or await stream.wait(True, SOON)):
        stream.read_ready(10)
    for wake in (stream.wake, lambda: threading.Thread(target=stream.wake).start()):
        waiting = tasks.begin(stream.wait(write, PATIENCE))
        await anyio.sleep(0.01)
        wake()
        assert await waiting
        stream.wake()  # nobody waits
        assert await stream.wait(write, PATIENCE)
    assert not await stream.wait(write, SOON)


async def test_the_session_is_kept(link: Link) -> None:
    needs(link, "keep_session")
    link.stream.keep_session()


# --- TLS over another stream ---


over_another = pytest.mark.parametrize("kind", ["tls in tls", "anyio tls"], indirect=True)


async def spoil(link: Link) -> None:
    """Let what is no record of TLS arrive."""
    os.write(link.far.sock.fileno(), b"this is no record of TLS")
    if link.kind == "tls in tls":
        await until(link.stream.has_arrived)


@over_another
@pytest.mark.parametrize("way", ["read", "readinto", "is_readable", "read_ready"])
async def test_what_is_no_record(link: Link, way: str) -> None:
    stream = link.stream
    await spoil(link)
    if way == "is_readable":
        await until(lambda: stream.get_extra_info("is_readable"))
        return
    with pytest.raises(httpcore.ReadError, match=r"read from .* failed"):
        await read_by(way, stream)


async def read_by(way: str, stream: Any) -> None:
    if way == "readinto":
        await stream.readinto(memoryview(bytearray(9)), PATIENCE)
    elif way == "read" or stream.read_ready is None:
        await stream.read(9, PATIENCE)
    else:
        while await stream.wait(False, PATIENCE):
            stream.read_ready(9)


@over_another
async def test_writing_after_a_failure_of_tls(link: Link) -> None:
    stream = link.stream
    await spoil(link)
    with pytest.raises(httpcore.ReadError):
        await stream.read(9, PATIENCE)
    with pytest.raises(httpcore.WriteError):
        await stream.write(b"x", PATIENCE)
    if stream.read_ready is not None:
        with pytest.raises(httpcore.WriteError):
            stream.write_ready(b"x")
        assert await stream.write_until_readable(memoryview(b"x"), PATIENCE) == 0  # there is more


@over_another
async def test_an_end_without_close_notify(link: Link) -> None:
    # Below TLS: the method of an SSLSocket would forget its session.
    socket.socket.shutdown(link.far.sock, socket.SHUT_WR)
    assert await link.stream.read(9, PATIENCE) == b""
    assert link.stream.unclean_eof


@over_another
async def test_one_task_reads_while_another_writes(link: Link, tasks: Tasks) -> None:
    echoing = Worker(lambda: link.far.send(link.far.recv_exactly(BIG)))
    reading = tasks.begin(read_exactly(link.stream, BIG))
    await link.stream.write(pattern(BIG), PATIENCE)
    assert await reading == pattern(BIG)
    await in_thread(echoing.result)


# --- beginnings that fail ---


@pytest.mark.parametrize("backend", [AutoBackend, httpcore.AnyIOBackend])
async def test_connecting_that_fails(
    backend: Any, closed_port: int, black_hole: tuple[str, int], tmp_path: Path
) -> None:
    network = backend()
    with pytest.raises(httpcore.ConnectError, match=rf"connect to 127\.0\.0\.1:{closed_port}"):
        await network.connect_tcp("127.0.0.1", closed_port, PATIENCE)
    with pytest.raises(httpcore.ConnectTimeout, match=r"timed out after 0\.05 s"):
        await network.connect_tcp(*black_hole, SOON)
    with pytest.raises(httpcore.ConnectError, match=r"connect to unix:.* failed"):
        await network.connect_unix_socket(str(tmp_path / "none"), PATIENCE)
    with pytest.raises(httpcore.ConnectError, match="NUL inside"):
        await network.connect_unix_socket("a\0b", PATIENCE)
    if backend is AutoBackend:  # anyio leaves a socket open then
        with pytest.raises(httpcore.ConnectError, match="failed"):
            await network.connect_tcp("127.0.0.1", closed_port, PATIENCE, "192.0.2.1")


@pytest.mark.parametrize("way", ["answered", "refused"])
async def test_an_attempt_that_ends_at_once(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an answer of the system, its own time limit here, or before it has begun."""
    made: list[socket.socket] = []

    class Ending(socket.socket):
        def connect_ex(self, address: object) -> int:
            if way == "answered":
                return errno.ETIMEDOUT
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def begin(*arguments: object) -> socket.socket:
        made.append(Ending())
        return made[-1]

    monkeypatch.setattr(async_tcp, "begin_socket", begin)
    number = errno.ETIMEDOUT if way == "answered" else errno.EACCES
    with pytest.raises(httpcore.ConnectError, match=os.strerror(number)) as caught:
        await AutoBackend().connect_tcp("127.0.0.1", 9, PATIENCE)
    assert not isinstance(caught.value, httpcore.ConnectTimeout)
    assert [sock.fileno() for sock in made] == [-1]


async def test_waiting_for_a_unix_socket_is_cancelled(tmp_path: Path, tasks: Tasks) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as filling:
        listener.bind(path)
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:  # until its queue is full
                sock = filling.enter_context(socket.socket(socket.AF_UNIX))
                sock.setblocking(False)
                sock.connect(path)
        waiting = tasks.begin(AutoBackend().connect_unix_socket(path, PATIENCE))
        await anyio.sleep(0.01)
        waiting.cancel()
        await waiting.end()
        assert waiting.cancelled


@pytest.mark.parametrize("backend", [AutoBackend, httpcore.AnyIOBackend])
async def test_what_a_backend_is_asked_for(
    backend: Any, server: LocalServer, tmp_path: Path
) -> None:
    found = backend(lambda host, port, timeout: ["192.0.2.1", "127.0.0.1"])
    assert await found.resolve("name.test", 80) == ["192.0.2.1", "127.0.0.1"]
    await found.sleep(0)
    network = backend(lambda host, port, timeout: ["127.0.0.1"])
    stream = await network.connect_tcp("name.test", server.port, PATIENCE, None, [(1, 2, 1)])
    assert stream.peer == f"name.test:{server.port}"
    await stream.aclose()
    with pytest.raises((httpcore.ConnectError, OSError)):
        await network.connect_tcp("127.0.0.1", server.port, PATIENCE, None, [(1, 9999, 1)])
    with LocalServer(uds=tmp_path / "socket") as at_path:
        stream = await network.connect_unix_socket(str(tmp_path / "socket"), PATIENCE, [(1, 2, 1)])
        await stream.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await stream.read(100, PATIENCE)).startswith(b"HTTP/1.1 200")
        await stream.aclose()
        assert at_path.accepted == 1


@pytest.mark.parametrize("kind", ["plain", "anyio", "tls in tls"], indirect=True)
async def test_a_handshake_that_fails(link: Link, client_tls_context: ssl.SSLContext) -> None:
    link.far.send(b"this is no TLS")
    with pytest.raises((httpcore.ConnectError, httpcore.ReadError), match="TLS handshake"):
        await link.stream.start_tls(client_tls_context, "localhost", PATIENCE)
    await close_rest()


@pytest.mark.parametrize("kind", ["plain", "anyio", "tls in tls"], indirect=True)
async def test_a_handshake_that_takes_too_long(
    link: Link, client_tls_context: ssl.SSLContext
) -> None:
    with pytest.raises(httpcore.ConnectTimeout, match=r"TLS handshake .* not done within 0\.05 s"):
        await link.stream.start_tls(client_tls_context, "localhost", SOON)
    await close_rest()


@pytest.mark.parametrize("kind", ["tls", "anyio"], indirect=True)
async def test_a_handshake_that_is_cancelled(
    link: Link, client_tls_context: ssl.SSLContext, tasks: Tasks
) -> None:
    handshake = tasks.begin(link.stream.start_tls(client_tls_context, "localhost", PATIENCE))
    await anyio.sleep(0.01)
    handshake.cancel()
    await handshake.end()
    assert handshake.cancelled
    await close_rest()


# --- over pools ---


async def test_https_through_an_https_proxy(
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    tls_server: LocalServer,
) -> None:
    with ProxyServer(tls=server_tls_context) as proxy:
        through = httpcore.Proxy(proxy.url, ssl_context=client_tls_context)
        async with httpcore.AsyncConnectionPool(client_tls_context, proxy=through) as pool:
            for _ in range(2):
                response = await pool.request("GET", f"{tls_server.url}/bytes/300000")
                assert response.content == pattern(300000)
            response = await pool.request(
                "POST", f"{tls_server.url}/upload", content=b"x" * 3_000_000
            )
            assert response.status == 200
        assert (proxy.tunnels, tls_server.accepted) == (1, 1)


async def test_http2_through_an_https_proxy(
    server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext, serve_h2: ServeH2
) -> None:
    server = serve_h2(FrameLink.serve, secure=True)
    with ProxyServer(tls=server_tls_context) as proxy:
        through = httpcore.Proxy(proxy.url, ssl_context=client_tls_context)
        async with httpcore.AsyncConnectionPool(
            client_tls_context, proxy=through, http2=True
        ) as pool:
            sizes: list[int] = []

            async def get(size: int) -> None:
                response = await pool.request("GET", f"{server.url}/bytes/{size}")
                assert response.extensions["http_version"] == b"HTTP/2"
                sizes.append(len(response.content))

            await get(1)
            async with anyio.create_task_group() as group:
                for size in range(10_000, 20_000, 1000):
                    group.start_soon(get, size)
            assert sorted(sizes) == [1, *range(10_000, 20_000, 1000)]
        assert proxy.tunnels == 1


@pytest.mark.parametrize("http2", [False, True])
async def test_a_pool_over_anyio(
    http2: bool, client_tls_context: ssl.SSLContext, tls_server: LocalServer, serve_h2: ServeH2
) -> None:
    url = serve_h2(FrameLink.serve, secure=True).url if http2 else tls_server.url
    async with httpcore.AsyncConnectionPool(
        client_tls_context, http2=http2, network_backend=httpcore.AnyIOBackend()
    ) as pool:
        for _ in range(2):
            response = await pool.request("GET", f"{url}/bytes/300000")
            assert len(response.content) == 300000
        assert pool.stats()["totals"]["opened"] == 1


def test_a_loop_that_does_not_tell_of_readiness(server: LocalServer) -> None:
    """As Windows' Proactor: anyio's streams are used."""

    class Silent(asyncio.SelectorEventLoop):
        add_reader = asyncio.AbstractEventLoop.add_reader
        add_writer = asyncio.AbstractEventLoop.add_writer

    async def main() -> str:
        async with httpcore.AsyncConnectionPool() as pool:
            response = await pool.request("GET", server.url, stream=True)
            await response.aread()
            return type(response.extensions["network_stream"]).__name__

    with contextlib.closing(Silent()) as loop:
        assert loop.run_until_complete(main()) == "AnyIOStream"


async def test_each_stream_of_the_package_is_here() -> None:
    def all_of(kind: type) -> set[type]:
        return {kind}.union(*[all_of(each) for each in kind.__subclasses__()])

    for name in httpcore.__all__:  # some are loaded when they are first used
        assert hasattr(httpcore, name)
    kinds = all_of(httpcore.AsyncNetworkStream)
    ours = {each.__name__ for each in kinds if each.__module__.startswith("httpcore")}
    here = {
        AsyncioStream.__name__,
        TrioStream.__name__,
        "AsyncTLSStream",
        "AnyIOStream",
        "AsyncMockStream",
    }
    here |= {"AsyncUpgradedStream", "AsyncDeadlineStream"}
    here |= {"AsyncRecordingStream", "AsyncLoggingStream"}
    bases = {"AsyncNetworkStream", "AsyncSocketStream", "AsyncForwardingStream"}
    bases |= {"AsyncWrappedStream"}
    of_cassettes = {"AsyncReplayStream", "AsyncSplicedStream"}  # test_async_recording
    assert ours == here | bases | of_cassettes
    assert issubclass(AsyncDeadlineStream, AsyncForwardingStream)
