"""What every stream does, whatever it is made of, and what its wrappers let through.

Owns: `NetworkStream` and `httpcore._backends.capabilities` as promises, over each stream and each
wrapper of the package. Must not know: how one of them keeps them (each has tests of its own).
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import httpcore
from httpcore._backends import capabilities
from httpcore._backends.blocking import BlockingAdapter
from httpcore._backends.capabilities import ABILITIES
from httpcore._backends.clock import Deadline
from httpcore._backends.deadline import DeadlineStream
from httpcore._backends.fork import ForkedStream
from httpcore._backends.interrupt import abort
from httpcore._backends.upgraded import UpgradedStream
from httpcore._backends.wrapped import ForwardingStream
from tests.support import PATIENCE
from tests.support.proxies import ProxyServer
from tests.support.servers import Peer, ScriptedServer, pattern
from tests.support.streams import MockEnd, Puppet
from tests.support.threads import Worker

SOON = 0.05  # seconds; a limit that is always reached
BIG = 4_000_000  # bytes: more than the buffers of a connection hold

INFOS = ("ssl_object", "client_addr", "server_addr", "socket", "unacknowledged", "lookup_time")

PLAIN_ABILITIES = {
    capabilities.ReadsInPlace,
    capabilities.WritesSome,
    capabilities.WritesUntilReadable,
    capabilities.SendsFiles,
    capabilities.WorksWithoutBlocking,
    capabilities.CanBeAborted,
    capabilities.KeepsSession,
    capabilities.NotesUncleanEnd,
    capabilities.NamesPeer,
}
WITHOUT_BLOCKING = {capabilities.WorksWithoutBlocking}
IN_PLACE = {capabilities.ReadsInPlace}
# What each stream offers where the one inside offers all. It is less where a wrapper changes
# reading or writing, and has nothing of its own for the ability that stands in for that.
OFFERED: dict[str, set[type]] = {
    "plain": PLAIN_ABILITIES,
    "tls": PLAIN_ABILITIES,
    "tls in tls": PLAIN_ABILITIES - {capabilities.WritesSome, capabilities.SendsFiles},
    "upgraded": PLAIN_ABILITIES - IN_PLACE - WITHOUT_BLOCKING,
    "deadline": PLAIN_ABILITIES - WITHOUT_BLOCKING,
    "recording": PLAIN_ABILITIES
    - IN_PLACE
    - WITHOUT_BLOCKING
    - {capabilities.WritesSome, capabilities.SendsFiles},
    "logging": PLAIN_ABILITIES
    - IN_PLACE
    - WITHOUT_BLOCKING
    - {capabilities.WritesSome, capabilities.SendsFiles},
    "mock": set(),
}
WRAPPERS = ("upgraded", "deadline", "recording", "logging")
WITH_TLS = ("tls", "tls in tls")
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
def link(
    kind: str,
    request: pytest.FixtureRequest,
    serve: Callable[..., ScriptedServer],
    tmp_path: Path,
) -> Iterator[Link]:
    if kind == "mock":
        mock = httpcore.MockStream([], read_size=65536)
        yield Link(kind, mock, MockEnd(mock))
        return
    puppet = Puppet()
    with_tls = kind in WITH_TLS
    tls = request.getfixturevalue("server_tls_context") if with_tls else None
    server = serve(puppet, tls=tls)
    stream: Any
    if kind == "tls in tls":
        with ProxyServer(tls=tls) as proxy:
            stream = httpcore.SyncBackend().connect_tcp(proxy.host, proxy.port, PATIENCE)
            stream = start_tls(stream, request)
            stream.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % server.port, PATIENCE)
            assert stream.read(4096, PATIENCE).startswith(b"HTTP/1.1 200")
            stream = start_tls(stream, request)
            far = puppet.peer()
            take_tickets(stream, far)
            yield Link(kind, stream, far)
            stream.close()
            far.reset()  # else the proxy would wait until it takes what was sent
        return
    backends = {
        "recording": lambda: httpcore.RecordingBackend(None, tmp_path / "c.jsonl"),
        "logging": httpcore.LoggingBackend,
    }
    stream = backends.get(kind, httpcore.SyncBackend)().connect_tcp(
        "127.0.0.1", server.port, PATIENCE
    )
    if with_tls:
        stream = start_tls(stream, request)
    elif kind == "upgraded":
        stream = UpgradedStream(stream, b"")
    elif kind == "deadline":
        stream = DeadlineStream(stream, Deadline(PATIENCE))
    far = puppet.peer()
    if with_tls:
        take_tickets(stream, far)
    elif kind == "recording":
        leave_http(stream, far)
    yield Link(kind, stream, far)
    stream.close()


def take_tickets(stream: Any, far: Peer) -> None:
    """TLS 1.3 sends some after the handshake: bytes, but no data."""
    far.send(b"!")
    assert stream.read(1, PATIENCE) == b"!"


def leave_http(stream: Any, far: Peer) -> None:
    """Let a recorder take what follows for another protocol."""
    stream.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    assert far.recv_until(b"\r\n\r\n")
    answer = b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    far.send(answer)
    assert read_exactly(stream, len(answer)) == answer


def start_tls(stream: Any, request: pytest.FixtureRequest) -> Any:
    context: ssl.SSLContext = request.getfixturevalue("client_tls_context")
    return stream.start_tls(context, "localhost", PATIENCE)


def read_exactly(stream: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = stream.read(min(65536, size - len(data)), PATIENCE)
        assert part
        data += part
    return data


def needs(link: Link, ability: type) -> None:
    if ability not in OFFERED[link.kind]:
        pytest.skip("offers none")


def takes_much(link: Link) -> None:
    """Skip what needs more than the buffers of a connection can ever hold."""
    if link.kind == "recording":
        pytest.skip("writes all of it down, which takes too long")


on_sockets = pytest.mark.parametrize("kind", ON_SOCKETS, indirect=True)


# --- what all do ---


def test_short_reads_and_the_end(link: Link) -> None:
    link.far.send(b"abcdef")
    assert link.stream.read(2, PATIENCE) == b"ab"
    assert read_exactly(link.stream, 4) == b"cdef"
    link.far.close()
    assert link.stream.read(10, PATIENCE) == b""
    assert not getattr(link.stream, "unclean_eof", False)


def test_writing_much(link: Link) -> None:
    taking = Worker(lambda: link.far.recv_exactly(BIG)) if link.kind != "mock" else None
    link.stream.write(pattern(BIG), PATIENCE)
    got = link.far.recv_exactly(BIG) if taking is None else taking.result()
    assert got == pattern(BIG)


@on_sockets
def test_a_read_that_timed_out_can_be_done_again(link: Link) -> None:
    with pytest.raises(httpcore.ReadTimeout):
        link.stream.read(10, SOON)
    with pytest.raises(httpcore.ReadTimeout):
        link.stream.read(10, 0)
    link.far.send(b"late")
    assert read_exactly(link.stream, 4) == b"late"


@on_sockets
def test_a_write_that_nobody_takes_times_out(link: Link) -> None:
    takes_much(link)
    with pytest.raises(httpcore.WriteTimeout) as caught:
        link.stream.write(pattern(16 * BIG), SOON)
    assert caught.value.phase == "maybe_processed"


@on_sockets
def test_whether_it_is_readable(link: Link) -> None:
    assert not link.stream.get_extra_info("is_readable")
    link.far.send(b"ab")
    assert link.stream.read(1, PATIENCE) == b"a"
    assert link.stream.get_extra_info("is_readable")
    assert link.stream.read(1, PATIENCE) == b"b"
    assert not link.stream.get_extra_info("is_readable")
    link.far.close()
    assert link.stream.read(1, PATIENCE) == b""
    assert link.stream.get_extra_info("is_readable")


def test_closing_more_than_once(link: Link) -> None:
    link.stream.close()
    link.stream.close()
    with pytest.raises(httpcore.ReadError):
        link.stream.read(1, PATIENCE)


@on_sockets
def test_abort_ends_the_read_of_another_thread(link: Link) -> None:
    reading = threading.Event()

    def read() -> Any:
        reading.set()
        return link.stream.read(1, PATIENCE)

    worker = Worker(read)
    assert reading.wait(PATIENCE)
    abort(link.stream)
    try:
        assert worker.result() == b""
    except httpcore.ReadError:
        pass
    link.stream.close()


@on_sockets
def test_what_is_known_about_it(link: Link) -> None:
    assert link.stream.get_extra_info("unheard of") is None
    server, client = (link.stream.get_extra_info(f"{who}_addr") for who in ("server", "client"))
    assert client == link.stream.get_extra_info("socket").getsockname()
    assert server == link.stream.get_extra_info("socket").getpeername()
    assert (link.stream.get_extra_info("ssl_object") is not None) == (
        link.kind in ("tls", "tls in tls")
    )


# --- what they may offer ---


def offered_by(stream: Any) -> set[type]:
    """The abilities of `stream`. One is there as a whole or not at all."""
    offered = set()
    for ability, names, _ in ABILITIES:
        found = [getattr(stream, name, None) is not None for name in names if name != "sends_files"]
        assert all(found) or not any(found), f"{ability.__name__} is offered in part"
        if all(found):
            offered.add(ability)
    assert not getattr(stream, "sends_files", False) or capabilities.SendsFiles in offered
    return offered


def test_abilities_are_offered_as_a_whole(link: Link) -> None:
    assert offered_by(link.stream) == OFFERED[link.kind]


def test_reading_in_place(link: Link) -> None:
    needs(link, capabilities.ReadsInPlace)
    buffer = bytearray(4)
    link.far.send(b"abc")
    assert link.stream.readinto(memoryview(buffer)[:2], PATIENCE) == 2
    assert link.stream.readinto(memoryview(buffer)[2:], PATIENCE) == 1
    assert buffer == b"abc\0"
    with pytest.raises(httpcore.ReadTimeout):
        link.stream.readinto(memoryview(buffer), SOON)
    link.far.close()
    assert link.stream.readinto(memoryview(buffer), PATIENCE) == 0


def test_writing_some(link: Link) -> None:
    needs(link, capabilities.WritesSome)
    sent = link.stream.write_some(memoryview(b"abc"), PATIENCE)
    assert link.far.recv_exactly(sent) == b"abc"[:sent]
    assert sent > 0
    view = memoryview(pattern(BIG))

    def write() -> None:
        while True:
            assert link.stream.write_some(view, SOON) > 0

    with pytest.raises(httpcore.WriteTimeout):
        write()


def test_writing_until_there_is_something_to_read(link: Link) -> None:
    needs(link, capabilities.WritesUntilReadable)
    assert link.stream.write_until_readable(memoryview(b"abc"), PATIENCE) == 3
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
    sent = link.stream.write_until_readable(view, PATIENCE)
    assert sent < size
    assert read_exactly(link.stream, 1) == b"!"
    heard.set()
    while sent < size:
        sent += link.stream.write_until_readable(view[sent:], PATIENCE)
    assert answering.result() == view


def test_writing_until_nobody_takes_anything(link: Link) -> None:
    needs(link, capabilities.WritesUntilReadable)
    takes_much(link)
    with pytest.raises(httpcore.WriteTimeout):
        link.stream.write_until_readable(memoryview(pattern(8 * BIG)), SOON)


@on_sockets
def test_sending_a_file(link: Link, tmp_path: Path) -> None:
    if not getattr(link.stream, "sends_files", False):
        pytest.skip("offers none")
    path = tmp_path / "body"
    path.write_bytes(b"-abc-")
    with path.open("rb") as file:
        assert link.stream.send_file(file.fileno(), 1, 3, PATIENCE) == 3
    assert link.far.recv_exactly(3) == b"abc"


def without_blocking(link: Link) -> Any:
    """What an HTTP/2 connection uses."""
    if getattr(link.stream, "wait", None) is None:
        return BlockingAdapter(link.stream)
    return link.stream


@on_sockets
def test_reading_without_blocking_agrees_with_reading(link: Link) -> None:
    io = without_blocking(link)
    while io.wait(False, 0):  # it may be wrong until it was read
        assert io.read_ready(10) is None
    assert io.read_ready(10) is None
    link.far.send(b"abcdef")
    assert io.wait(False, PATIENCE)
    assert io.read_ready(2) == b"ab"
    assert io.wait(False, PATIENCE)
    assert io.read_ready(2) == b"cd"
    assert io.wait(False, PATIENCE)
    assert io.read_ready(2) == b"ef"
    while io.wait(False, 0):
        assert io.read_ready(10) is None
    with pytest.raises(httpcore.ReadTimeout):
        link.stream.read(1, 0)
    link.far.close()
    assert io.wait(False, PATIENCE)
    while (data := io.read_ready(10)) is None:
        assert io.wait(False, PATIENCE)
    assert data == b""
    link.stream.close()


def test_writing_without_blocking_agrees_with_writing(link: Link) -> None:
    needs(link, capabilities.WorksWithoutBlocking)
    left = memoryview(pattern(BIG))
    taking = Worker(lambda: link.far.recv_exactly(BIG + 3))
    while left:
        assert link.stream.wait(True, PATIENCE)
        left = left[link.stream.write_ready(left) :]
    link.stream.write(b"end", PATIENCE)
    assert taking.result() == pattern(BIG) + b"end"


def test_waking_who_waits(link: Link) -> None:
    needs(link, capabilities.WorksWithoutBlocking)
    waiting = Worker(lambda: link.stream.wait(False, PATIENCE))
    link.stream.wake()
    assert waiting.result()


# --- wrappers ---


@pytest.mark.parametrize("kind", WRAPPERS, indirect=True)
def test_what_wrappers_pass_on(link: Link) -> None:
    outer, inside = link.stream, link.stream.stream
    assert isinstance(outer, ForwardingStream)
    for info in INFOS:
        assert outer.get_extra_info(info) == inside.get_extra_info(info), info
    outer.peer = "the server"
    assert (inside.peer, outer.peer) == ("the server", "the server")
    inside.unclean_eof = True
    assert outer.unclean_eof
    outer.keep_session()
    outer.close()
    assert inside.get_extra_info("socket").fileno() == -1


def wrapped_in(kind: str, stream: Any, tmp_path: Path) -> Any:
    """`stream` in a wrapper of that kind."""

    class Given(httpcore.NetworkBackend):
        def connect_tcp(self, *args: Any, **kwargs: Any) -> Any:
            return stream

    if kind == "upgraded":
        return UpgradedStream(stream, b"")
    if kind == "deadline":
        return DeadlineStream(stream, Deadline(PATIENCE))
    if kind == "logging":
        return httpcore.LoggingBackend(Given()).connect_tcp("a", 80)
    return httpcore.RecordingBackend(Given(), tmp_path / "c.jsonl").connect_tcp("a", 80)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapper_offers_nothing_that_the_stream_inside_lacks(
    wrapper: str, tmp_path: Path
) -> None:
    outer = wrapped_in(wrapper, httpcore.MockStream([b"abc"]), tmp_path)
    harmless = {
        capabilities.CanBeAborted,
        capabilities.KeepsSession,
        capabilities.NotesUncleanEnd,
    }
    assert offered_by(outer) - harmless == set()
    assert not outer.sends_files
    assert not outer.unclean_eof
    assert outer.read(10) == b"abc"
    outer.write(b"x")
    outer.keep_session()
    abort(outer)
    outer.close()


class ReadsElsewhere(ForwardingStream):
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return b""


class WritesElsewhere(ForwardingStream):
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass


class Derived(WritesElsewhere):
    def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        return 7


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
@pytest.mark.parametrize(
    ("wrapper", "withheld"),
    [
        (ForwardingStream, set()),
        (ReadsElsewhere, {"readinto", "wait", "wake", "read_ready", "write_ready"}),
        (
            WritesElsewhere,
            {"write_some", "write_until_readable", "sends_files", "send_file"}
            | {"wait", "wake", "read_ready", "write_ready"},
        ),
    ],
)
def test_nothing_goes_past_what_a_wrapper_changes(
    link: Link, wrapper: type[ForwardingStream], withheld: set[str]
) -> None:
    outer = wrapper(link.stream)
    for _, names, basics in ABILITIES:
        for name in names if basics else ():
            assert bool(getattr(outer, name, None)) == (name not in withheld), name


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
def test_a_wrapper_of_a_wrapper(link: Link) -> None:
    outer: Any = Derived(link.stream)
    assert outer.readinto(memoryview(bytearray(9))) == 7
    assert getattr(outer, "write_some", None) is None


def test_each_stream_of_the_package_is_here_or_said_why_not() -> None:
    def all_of(kind: type) -> set[type]:
        return {kind}.union(*[all_of(each) for each in kind.__subclasses__()])

    kinds = all_of(httpcore.NetworkStream)
    # The command line's is a `SyncStream` that counts; it is there once that has been imported.
    ours = {
        each.__name__
        for each in kinds
        if each.__module__.startswith("httpcore") and "._cli." not in each.__module__
    }
    here = {"SyncStream", "TLSInTLSStream", "UpgradedStream", "DeadlineStream", "RecordingStream"}
    here |= {"LoggingStream", "MockStream"}
    bases = {"NetworkStream", "ForwardingStream", "WrappedStream"}
    of_cassettes = {"ReplayStream", "SplicedStream"}  # no network: tests/shell/test_recording.py
    elsewhere = {ForkedStream.__name__}  # fails always: tests/shell/test_fork.py
    assert ours == here | bases | of_cassettes | elsewhere
