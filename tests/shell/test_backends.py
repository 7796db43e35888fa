"""The network layers, the real one against real sockets on loopback.

Owns: `httpcore._backends`. Must not know: HTTP; what is sent here are plain bytes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme

import httpcore
from httpcore._backends import sockets
from httpcore._backends.sync import SyncStream
from httpcore._exceptions import NameResolutionError, TLSError
from tests.support import PATIENCE, leaks, tls
from tests.support.forks import in_child
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve
from tests.support.tls import ClientCert

BACKEND = httpcore.SyncBackend()

# Seconds. "Soon" is for what must time out; "late" bounds what must not, on a busy machine.
SOON = 0.05


def connect(server: ScriptedServer, **options: Any) -> SyncStream:
    options.setdefault("timeout", PATIENCE)
    if server.uds is not None:
        stream = BACKEND.connect_unix_socket(server.uds, **options)
    else:
        stream = BACKEND.connect_tcp(server.host, server.port, **options)
    assert isinstance(stream, SyncStream)
    return stream


def connect_tls(
    server: ScriptedServer, context: ssl.SSLContext, name: str = "localhost"
) -> SyncStream:
    stream = connect(server).start_tls(context, name, PATIENCE)
    assert isinstance(stream, SyncStream)
    return stream


def echo(peer: Peer) -> None:
    while data := peer.recv():
        peer.send(data)


def silent(peer: Peer) -> None:
    peer.wait_closed()


def wait_readable(stream: SyncStream) -> None:
    """Until bytes or an end have arrived at the socket; the test then asks what they are."""
    assert select.select([stream.get_extra_info("socket")], [], [], PATIENCE)[0]


# --- reading and writing ---


@pytest.fixture(params=["tcp", "tcp6", "tls", "unix"])
def echoing(
    request: pytest.FixtureRequest,
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    tmp_path: Path,
) -> Iterator[SyncStream]:
    """A stream to an echo server, over each kind of connection."""
    if request.param == "unix":
        stream = connect(serve(echo, uds=tmp_path / "s"))
    elif request.param == "tls":
        stream = connect_tls(serve(echo, tls=server_tls_context), client_tls_context)
    elif request.param == "tcp6":
        stream = connect(serve(echo, host="::1"))
    else:
        stream = connect(serve(echo))
    with closing(stream):
        yield stream


def test_write_and_read(echoing: SyncStream) -> None:
    for timeout in (None, PATIENCE, PATIENCE, None):
        echoing.write(b"ping", timeout)
        assert echoing.read(100, timeout) == b"ping"


def test_read_gives_no_more_than_asked(echoing: SyncStream) -> None:
    echoing.write(b"12345", PATIENCE)
    assert b"".join(echoing.read(1, PATIENCE) for _ in range(5)) == b"12345"


def test_read_into_a_buffer(echoing: SyncStream) -> None:
    buffer = bytearray(5)
    for timeout in (None, PATIENCE, PATIENCE, None):
        echoing.write(b"ping", timeout)
        assert echoing.readinto(memoryview(buffer), timeout) == 4
        assert buffer == b"ping\0"
    with pytest.raises(httpcore.ReadTimeout, match=r"no byte within 0\.05 s"):
        echoing.readinto(memoryview(buffer), SOON)
    echoing.close()
    with pytest.raises(httpcore.ReadError, match=r"read from .* failed"):
        echoing.readinto(memoryview(buffer), SOON)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_buffers_of_all_kinds_are_written(echoing: SyncStream, kind: Any) -> None:
    echoing.write(kind(b"abc"), PATIENCE)
    assert echoing.read(100, PATIENCE) == b"abc"


def test_a_read_that_takes_too_long(echoing: SyncStream) -> None:
    with pytest.raises(httpcore.ReadTimeout, match=r"timed out: no byte within 0\.05 s") as caught:
        echoing.read(1, SOON)
    assert str(caught.value).startswith(f"read from {echoing.peer} ")
    assert caught.value.phase == "maybe_processed"
    # A timeout breaks nothing.
    echoing.write(b"still there", PATIENCE)
    assert echoing.read(100, PATIENCE) == b"still there"


def test_a_read_without_waiting(echoing: SyncStream) -> None:
    with pytest.raises(httpcore.ReadTimeout, match="no byte within 0 s"):
        echoing.read(1, 0)
    echoing.write(b"x", PATIENCE)
    assert echoing.read(1, PATIENCE) == b"x"


def test_a_large_write_goes_out_whole(echoing: SyncStream) -> None:
    data = os.urandom(1 << 20) * 3
    got = bytearray()

    def collect() -> None:
        while len(got) < len(data):
            got.extend(echoing.read(1 << 16, PATIENCE))

    if echoing.get_extra_info("ssl_object") is not None:
        # One thread at a time: an SSL object is not made for reading and writing at once.
        for start in range(0, len(data), 1 << 14):
            part = data[start : start + (1 << 14)]
            echoing.write(part, PATIENCE)
            while len(got) < start + len(part):
                got.extend(echoing.read(1 << 16, PATIENCE))
    else:
        reader = threading.Thread(target=collect)
        reader.start()
        echoing.write(data, PATIENCE)
        reader.join(PATIENCE)
    assert got == data


def test_close_is_idempotent_and_final(echoing: SyncStream) -> None:
    echoing.close()
    echoing.close()
    with pytest.raises(httpcore.ReadError, match=r"read from .* failed"):
        echoing.read(1, PATIENCE)
    with pytest.raises(httpcore.WriteError, match=r"write to .* failed"):
        echoing.write(b"x", PATIENCE)
    assert echoing.get_extra_info("is_readable") is True


def test_repr_and_peer(echoing: SyncStream) -> None:
    tls = ", TLS" if echoing.get_extra_info("ssl_object") is not None else ""
    assert repr(echoing) == f"<httpcore.SyncStream [{echoing.peer}{tls}]>"


def test_end_of_stream(serve: Serve) -> None:
    with closing(connect(serve(lambda peer: peer.send(b"last words")))) as stream:
        got = b""
        while part := stream.read(100, PATIENCE):
            got += part
        assert got == b"last words"
        assert stream.read(100, PATIENCE) == b""
        assert stream.readinto(memoryview(bytearray(5)), PATIENCE) == 0
        assert stream.unclean_eof is False


def reset_after_a_byte(peer: Peer) -> None:
    """A reset that comes before the client is through would fail its connect."""
    peer.recv_exactly(1)
    peer.reset()


def test_reset_while_reading(serve: Serve) -> None:
    with closing(connect(serve(reset_after_a_byte))) as stream:
        stream.write(b"x", PATIENCE)
        with pytest.raises(httpcore.ReadError) as caught:
            stream.read(1, PATIENCE)
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert caught.value.phase == "maybe_processed"
    assert re.fullmatch(
        r"read from 127\.0\.0\.1:\d+ failed: \[Errno \d+\] Connection reset by peer",
        str(caught.value),
    )


def test_write_after_a_reset_sent_nothing(serve: Serve) -> None:
    with closing(connect(serve(reset_after_a_byte))) as stream:
        stream.write(b"x", PATIENCE)
        wait_readable(stream)
        with pytest.raises(httpcore.WriteError) as caught:
            stream.write(b"x", PATIENCE)
    assert caught.value.phase == "not_sent"
    assert isinstance(caught.value.__cause__, OSError)


# Bytes that fill every buffer between two sockets on loopback (at most about 10 MB on Linux).
MORE_THAN_BUFFERS = b"x" * (32 << 20)


def test_a_write_that_nobody_reads(serve: Serve) -> None:
    server = serve(lambda peer: peer.server.event().wait())
    with closing(connect(server)) as stream:
        with pytest.raises(httpcore.WriteTimeout) as caught:
            stream.write(MORE_THAN_BUFFERS, SOON)
    assert caught.value.phase == "maybe_processed"
    assert re.fullmatch(
        r"write to 127\.0\.0\.1:\d+ timed out: no byte of \d+ taken within 0\.05 s",
        str(caught.value),
    )
    left = int(re.findall(r"of (\d+) taken", str(caught.value))[0])
    assert 0 < left < len(MORE_THAN_BUFFERS)


def test_a_reset_in_the_middle_of_a_write(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_exactly(1)
        peer.reset()

    with closing(connect(serve(handler))) as stream:
        with pytest.raises(httpcore.WriteError) as caught:
            stream.write(MORE_THAN_BUFFERS, PATIENCE)
    assert caught.value.phase == "maybe_processed"


class FakeSocket:
    """A plain socket whose `send` answers from a list: a number of bytes, or an exception."""

    def __init__(self, answers: list[int | Exception]) -> None:
        self.answers = answers
        self.sent = b""

    def gettimeout(self) -> None:
        return None

    def settimeout(self, timeout: float | None) -> None:
        pass

    def recv(self, size: int) -> bytes:
        raise AssertionError("not read from")

    def send(self, data: bytes) -> int:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.sent += bytes(data[:answer])
        return answer


def test_partial_writes_are_continued() -> None:
    sock: Any = FakeSocket([2, 1, 4])
    SyncStream(sock, "peer").write(b"1234567")
    assert sock.sent == b"1234567"
    assert sock.answers == []


@pytest.mark.parametrize(
    ("answers", "kind", "phase"),
    [
        ([BrokenPipeError(errno.EPIPE, "Broken pipe")], httpcore.WriteError, "not_sent"),
        ([TimeoutError("timed out")], httpcore.WriteTimeout, "not_sent"),
        ([BlockingIOError()], httpcore.WriteTimeout, "not_sent"),
        ([ValueError("odd")], httpcore.WriteError, "not_sent"),
        ([1, BrokenPipeError()], httpcore.WriteError, "maybe_processed"),
        ([1, TimeoutError()], httpcore.WriteTimeout, "maybe_processed"),
    ],
)
def test_what_a_failed_write_says(
    answers: list[int | Exception], kind: type[Exception], phase: str
) -> None:
    cause = answers[-1]
    with pytest.raises(kind) as caught:
        SyncStream(FakeSocket(answers), "peer").write(b"abc", 1.0)  # type: ignore[arg-type]
    assert caught.value.__cause__ is cause
    assert caught.value.phase == phase  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("size", "phase"),
    [(sockets.TLS_RECORD, "not_sent"), (sockets.TLS_RECORD + 1, "maybe_processed")],
)
def test_a_failed_tls_write_may_have_sent_whole_records(size: int, phase: str) -> None:
    stream = SyncStream(FakeSocket([BrokenPipeError()]), "peer")  # type: ignore[arg-type]
    stream._tls = True
    with pytest.raises(httpcore.WriteError) as caught:
        stream.write(b"x" * size)
    assert caught.value.phase == phase


# --- TLS ---


def test_tls_handshake_and_extra_info(
    serve: Serve, server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext
) -> None:
    server = serve(echo, tls=server_tls_context)
    plain = connect(server)
    address = plain.get_extra_info("client_addr")
    assert plain.get_extra_info("ssl_object") is None
    stream = plain.start_tls(client_tls_context, "localhost", PATIENCE)
    with closing(stream):
        ssl_object = stream.get_extra_info("ssl_object")
        assert ssl_object.version() == "TLSv1.3"
        assert ssl_object.getpeercert()["subjectAltName"]
        assert stream.get_extra_info("socket") is ssl_object
        assert stream.get_extra_info("client_addr") == address
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
        assert stream.get_extra_info("unknown") is None


def test_a_client_certificate_is_shown(
    serve: Serve,
    mutual_tls_context: ssl.SSLContext,
    ca_bundle: str,
    client_cert: ClientCert,
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv(1)
        peer.send(repr(peer.client_certificate).encode())

    context = httpcore.create_ssl_context(ca_bundle, client_cert.combined)
    server = serve(handler, tls=mutual_tls_context)
    with closing(connect_tls(server, context)) as stream:
        stream.write(b"?", PATIENCE)
        assert b"client@example.test" in stream.read(10000, PATIENCE)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("other.example", "Hostname mismatch"),
        ("127.0.0.2", "IP address mismatch"),
        ("", "check_hostname requires server_hostname"),
    ],
)
def test_a_certificate_for_somebody_else(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    name: str,
    text: str,
) -> None:
    server = serve(silent, tls=server_tls_context)
    stream = connect(server)
    with pytest.raises(TLSError, match=text) as caught:
        stream.start_tls(client_tls_context, name or None, PATIENCE)
    assert str(caught.value).startswith(f"TLS handshake with {stream.peer} failed: ")
    assert isinstance(caught.value, httpcore.ConnectError)
    assert caught.value.phase == "not_sent"
    assert stream.get_extra_info("socket").fileno() == -1
    assert server.wait_for(lambda: server.open == 0)


def test_a_certificate_of_an_unknown_authority(
    serve: Serve, server_tls_context: ssl.SSLContext
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trustme.CA().configure_trust(context)
    with pytest.raises(TLSError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        connect(serve(silent, tls=server_tls_context)).start_tls(context, "localhost", PATIENCE)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


def test_a_server_that_speaks_no_tls(serve: Serve, client_tls_context: ssl.SSLContext) -> None:
    def handler(peer: Peer) -> None:
        peer.recv()
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with pytest.raises(TLSError, match="TLS handshake"):
        connect(serve(handler)).start_tls(client_tls_context, "localhost", PATIENCE)


def test_a_server_that_closes_in_the_handshake(
    serve: Serve, client_tls_context: ssl.SSLContext
) -> None:
    with pytest.raises(TLSError, match="TLS handshake"):
        connect(serve(lambda peer: peer.recv() and None)).start_tls(
            client_tls_context, "localhost", PATIENCE
        )


def test_a_handshake_that_takes_too_long(serve: Serve, client_tls_context: ssl.SSLContext) -> None:
    server = serve(silent)
    with pytest.raises(httpcore.ConnectTimeout) as caught:
        connect(server).start_tls(client_tls_context, "localhost", SOON)
    assert str(caught.value) == (
        f"TLS handshake with 127.0.0.1:{server.port} timed out: not done within 0.05 s"
    )
    assert caught.value.phase == "not_sent"
    assert server.wait_for(lambda: server.open == 0)


def test_an_interrupted_handshake_closes_the_socket(serve: Serve) -> None:
    class Interrupting:
        def wrap_socket(self, *args: Any, **kwargs: Any) -> Any:
            raise KeyboardInterrupt

    server = serve(silent)
    with pytest.raises(KeyboardInterrupt):
        connect(server).start_tls(Interrupting(), "localhost", PATIENCE)  # type: ignore[arg-type]
    assert server.wait_for(lambda: server.open == 0)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("notify", [True, False])
def test_tls_end_with_and_without_close_notify(
    serve: Serve, ca: trustme.CA, ca_bundle: str, version: ssl.TLSVersion, notify: bool
) -> None:
    def handler(peer: Peer) -> None:
        peer.send(b"body")
        peer.close(notify=notify)

    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(server_context)
    server_context.maximum_version = version
    context = httpcore.create_ssl_context(ca_bundle)
    with closing(connect_tls(serve(handler, tls=server_context), context)) as stream:
        assert stream.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
        assert stream.read(100, PATIENCE) == b"body"
        assert stream.unclean_eof is False
        assert stream.read(100, PATIENCE) == b""
        assert stream.unclean_eof is not notify
        assert stream.read(100, PATIENCE) == b""
        assert stream.readinto(memoryview(bytearray(5)), PATIENCE) == 0


# --- is_readable ---


def test_is_readable_after_data_end_and_reset(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_exactly(1)  # a reset before the client is through would fail its connect
        {1: lambda: peer.send(b"x"), 2: peer.shutdown_write, 3: peer.reset}[peer.number]()
        peer.wait_closed()

    server = serve(handler)
    for _ in range(3):
        with closing(connect(server)) as stream:
            stream.write(b"x", PATIENCE)
            wait_readable(stream)
            assert stream.get_extra_info("is_readable") is True


def test_a_silent_connection_is_not_readable(serve: Serve) -> None:
    with closing(connect(serve(echo))) as stream:
        assert stream.get_extra_info("is_readable") is False
        stream.write(b"x", PATIENCE)
        assert stream.read(1, PATIENCE) == b"x"
        assert stream.get_extra_info("is_readable") is False


def test_a_stream_that_another_thread_asks_just_now(serve: Serve) -> None:
    """A poll object serves one at a time, also where a signal handler interrupts its thread."""

    def busy() -> list[object]:
        raise RuntimeError("concurrent poll() invocation")

    with closing(connect(serve(echo))) as stream:
        setattr(stream, "_poll", busy)  # noqa: B010
        assert stream.get_extra_info("is_readable") is False


def test_a_closed_stream_is_readable_whoever_has_its_descriptor_now() -> None:
    ours, theirs = socket.socketpair()
    stream = SyncStream(ours, "a pair")
    with closing(theirs):
        assert stream.get_extra_info("is_readable") is False
        number = ours.fileno()
        stream.close()
        os.dup2(theirs.fileno(), number)  # a silent socket under the same number
        try:
            assert stream.get_extra_info("is_readable") is True
        finally:
            os.close(number)


def test_a_stream_that_cannot_be_asked_counts_as_readable(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fileno: int) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(sockets, "make_poll", fail)
    with closing(connect(serve(silent))) as stream:
        assert stream.get_extra_info("is_readable") is True


def test_tls_session_tickets_are_no_data(
    serve: Serve, server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext
) -> None:
    # TLS 1.3 servers send two session tickets right behind the handshake.
    with closing(connect_tls(serve(echo, tls=server_tls_context), client_tls_context)) as stream:
        wait_readable(stream)
        assert stream.get_extra_info("is_readable") is False
        stream.write(b"ping", PATIENCE)
        assert stream.read(100, PATIENCE) == b"ping"
        assert stream.get_extra_info("is_readable") is False


@pytest.mark.parametrize("ending", ["data", "notify", "eof", "reset"])
def test_tls_data_and_ends_are_readable(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    ending: str,
) -> None:
    def handler(peer: Peer) -> None:
        assert peer.recv(1) == b"?"
        {
            "data": lambda: peer.send(b"unasked"),
            "notify": peer.close,
            "eof": lambda: peer.close(notify=False),
            "reset": peer.reset,
        }[ending]()
        peer.closed or peer.wait_closed()

    with closing(connect_tls(serve(handler, tls=server_tls_context), client_tls_context)) as stream:
        wait_readable(stream)  # the tickets
        assert stream.get_extra_info("is_readable") is False
        stream.write(b"?", PATIENCE)
        wait_readable(stream)
        while not stream.get_extra_info("is_readable"):
            wait_readable(stream)  # it was another ticket


def test_tls_data_that_openssl_holds_is_readable(
    serve: Serve, server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext
) -> None:
    # A record is decrypted as a whole. What was not asked for waits in OpenSSL's buffer, where
    # polling the socket does not see it.
    def handler(peer: Peer) -> None:
        peer.send(b"asked, not asked")
        peer.wait_closed()

    with closing(connect_tls(serve(handler, tls=server_tls_context), client_tls_context)) as stream:
        assert stream.read(5, PATIENCE) == b"asked"
        assert stream.get_extra_info("is_readable") is True


# --- without blocking, for a connection that threads share ---


def read_all(stream: SyncStream, size: int, at_once: int = 65536) -> bytes:
    """So many bytes, waiting for them."""
    parts: list[bytes] = []
    while size:
        assert stream.wait(False, PATIENCE)
        data = stream.read_ready(min(size, at_once))
        if data is not None:
            assert data
            parts.append(data)
            size -= len(data)
    return b"".join(parts)


def write_all(stream: SyncStream, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[stream.write_ready(view) :]
        if view:
            assert stream.wait(True, PATIENCE)


def test_reading_and_writing_without_blocking(echoing: SyncStream) -> None:
    assert echoing.read_ready(100) is None
    assert not echoing.wait(False, 0)
    assert echoing.wait(True, 0)  # there is room
    assert echoing.write_ready(b"") == 0
    for _ in range(3):
        assert echoing.write_ready(b"ping") == 4
        assert echoing.wait(False, PATIENCE)
        assert read_all(echoing, 4) == b"ping"
    assert not echoing.wait(False, SOON)
    # And with blocking, as before.
    echoing.write(b"pong", PATIENCE)
    assert echoing.read(100, PATIENCE) == b"pong"
    echoing.close()
    with pytest.raises(httpcore.ReadError, match="failed"):
        echoing.wait(False, PATIENCE)
    with pytest.raises(httpcore.ReadError, match=r"read from .* failed"):
        echoing.read_ready(100)
    with pytest.raises(httpcore.WriteError, match=r"write to .* failed"):
        echoing.write_ready(b"x")


def test_more_than_the_kernel_takes(echoing: SyncStream) -> None:
    data = os.urandom(3_000_000)
    got: list[bytes] = []
    view = memoryview(data)
    while len(b"".join(got)) < len(data):
        sent = echoing.write_ready(view)
        view = view[sent:]
        if not sent:
            assert echoing.wait(bool(view), PATIENCE)
            while piece := echoing.read_ready(65536):
                got.append(piece)
    assert b"".join(got) == data


@pytest.mark.parametrize("secure", [False, True])
def test_an_end_without_blocking(
    secure: bool,
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
) -> None:
    def handler(peer: Peer) -> None:
        peer.send(b"last words")
        peer.close()

    server = serve(handler, tls=server_tls_context if secure else None)
    stream = connect_tls(server, client_tls_context) if secure else connect(server)
    with closing(stream):
        assert read_all(stream, 10) == b"last words"
        for _ in range(2):
            assert stream.wait(False, PATIENCE)
            data = stream.read_ready(100)
            while data is None:
                assert stream.wait(False, PATIENCE)
                data = stream.read_ready(100)
            assert data == b""


def test_what_openssl_holds_is_there(
    serve: Serve, server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext
) -> None:
    """It reads whole records: of one that is longer than the read, the rest is not on the wire any
    more, and poll(2) knows nothing of it."""

    def handler(peer: Peer) -> None:
        peer.send(b"x" * 10_000)  # one record
        peer.send(b"y" * 150)
        peer.wait_closed()

    server = serve(handler, tls=server_tls_context)
    with closing(connect_tls(server, client_tls_context)) as stream:
        assert read_all(stream, 100) == b"x" * 100
        sock: Any = stream.get_extra_info("socket")
        pending = sock.pending
        sock.pending = None  # whoever waits has no lock, and may not ask OpenSSL
        assert stream.wait(False, PATIENCE)
        sock.pending = pending
        assert read_all(stream, 9_900, 99) == b"x" * 9_900
        assert read_all(stream, 100) == b"y" * 100
        assert stream.wait(False, PATIENCE)
        assert stream.read_ready(100) == b"y" * 50
        assert not stream.wait(False, SOON)
        assert stream.read_ready(99) is None


def test_who_waits_is_woken(serve: Serve) -> None:
    with closing(connect(serve(silent))) as stream:
        stream.wake()  # before anybody has waited
        assert stream.wait(False, PATIENCE)
        assert not stream.wait(False, 0)
        for _ in range(100_000):  # however often: it is rung once
            stream.wake()
        assert stream.wait(False, PATIENCE)
        while stream.wait(False, 0):
            pass
        polling = threading.Event()
        woken: list[bool] = []

        def wait() -> None:
            polling.set()
            woken.append(stream.wait(False, PATIENCE))

        thread = threading.Thread(target=wait)
        thread.start()
        polling.wait(PATIENCE)
        stream.wake()
        thread.join(PATIENCE)
        assert woken == [True]
    stream.wake()  # closed: nobody waits


def test_no_descriptor_is_left_by_waiting(serve: Serve) -> None:
    before = leaks.sockets()
    server = serve(silent)
    stream = connect(server)
    assert not stream.wait(False, 0)
    stream.close()
    ours = {name for name in leaks.sockets() if name not in before}
    server.stop()
    assert not ours & set(leaks.sockets())


def test_no_descriptor_is_left_to_wait_with(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with closing(connect(serve(silent))) as stream:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socketpair", fail)
            with pytest.raises(httpcore.ReadError, match="Too many open files"):
                stream.wait(False, PATIENCE)
        assert not stream.wait(False, 0)


def test_a_timeout_that_somebody_has_set_on_the_socket(echoing: SyncStream) -> None:
    """Who reads a response may find the socket. Nobody else may wait for that."""
    assert echoing.read_ready(100) is None
    start = time.monotonic()
    echoing.get_extra_info("socket").settimeout(PATIENCE)
    assert echoing.read_ready(100) is None
    echoing.get_extra_info("socket").settimeout(PATIENCE)
    while echoing.write_ready(bytes(1_000_000)):
        pass  # until nothing fits any more
    assert time.monotonic() - start < PATIENCE / 2


@pytest.mark.parametrize("timeout", [1e7, 1e12, float("inf")])
def test_timeouts_of_months(timeout: float, echoing: SyncStream) -> None:
    """poll(2) takes milliseconds in an int."""
    echoing.write(b"ping", timeout if timeout < 1e9 else None)
    assert echoing.wait(False, timeout)
    assert read_all(echoing, 4) == b"ping"
    assert echoing.write_until_readable(memoryview(b"pong"), timeout) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_who_waits_in_a_parent_is_not_woken_by_its_child(serve: Serve) -> None:
    before = leaks.sockets()
    server = serve(silent)
    with closing(connect(server)) as stream:
        assert not stream.wait(False, 0)
        assert server.wait_for(lambda: server.accepted == 1)
        theirs = {peer.sock.fileno() for peer in server._peers} | {server._listener.fileno()}  # type: ignore[union-attr]
        ours = {
            name for name, fd in leaks.sockets().items() if name not in before and fd not in theirs
        }
        assert len(ours) == 3

        def child() -> set[str]:
            stream.wake()
            stream.close()
            return ours & set(leaks.sockets())

        assert in_child(child) == set()
        assert not stream.wait(False, 0)


# --- connecting ---


def test_socket_options_of_our_own(serve: Serve) -> None:
    with closing(connect(serve(silent))) as stream:
        sock = stream.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == sockets.KEEPALIVE_IDLE
        assert (
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == sockets.KEEPALIVE_INTERVAL
        )
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == sockets.KEEPALIVE_COUNT


def test_keepalive_options_where_the_system_names_them_differently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"):
        monkeypatch.delattr(socket, name)
    monkeypatch.setattr(socket, "TCP_KEEPALIVE", 0x10, raising=False)
    assert sockets.default_options() == [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, 0x10, sockets.KEEPALIVE_IDLE),
    ]


def test_socket_options_of_the_caller_win(serve: Serve) -> None:
    options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 0),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, b"\0\0\0\0"),
    ]
    with closing(connect(serve(silent), socket_options=iter(options))) as stream:
        sock = stream.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


def test_socket_options_on_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    server = serve(silent, uds=tmp_path / "s")
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    with closing(connect(server, socket_options=options)) as stream:
        sock = stream.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_a_socket_option_that_does_not_exist(serve: Serve) -> None:
    with pytest.raises(httpcore.ConnectError, match="Protocol not available"):
        connect(serve(silent), socket_options=[(socket.IPPROTO_TCP, 9999, 1)])


def test_local_address(serve: Serve) -> None:
    with closing(connect(serve(silent), local_address="127.0.0.2")) as stream:
        assert stream.get_extra_info("client_addr")[0] == "127.0.0.2"


@pytest.mark.parametrize(
    ("host", "local", "family"),
    [("::1", "::1", socket.AF_INET6), ("127.0.0.1", "127.0.0.1", socket.AF_INET)],
)
def test_local_address_picks_the_family(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, host: str, local: str, family: int
) -> None:
    asked = []
    server = serve(silent, host=host)

    def getaddrinfo(name: str, port: int, family: int, kind: int) -> list[Any]:
        asked.append((name, family, kind))
        return [(family, kind, 6, "", (host, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    stream = BACKEND.connect_tcp("both.example", server.port, PATIENCE, local_address=local)
    with closing(stream):
        assert stream.get_extra_info("client_addr")[0] == local
    assert asked == [("both.example", family, socket.SOCK_STREAM)]


def test_a_local_address_of_somebody_else(serve: Serve) -> None:
    with pytest.raises(httpcore.ConnectError, match="Cannot assign requested address"):
        connect(serve(silent), local_address="192.0.2.1")


def test_names_and_addresses_of_a_closed_stream(serve: Serve) -> None:
    stream = connect(serve(silent))
    stream.close()
    assert stream.get_extra_info("client_addr") is None
    assert stream.get_extra_info("server_addr") is None


def test_refused(closed_port: int) -> None:
    with pytest.raises(httpcore.ConnectError) as caught:
        BACKEND.connect_tcp("127.0.0.1", closed_port, PATIENCE)
    assert str(caught.value) == (
        f"connect to 127.0.0.1:{closed_port} (127.0.0.1) failed: [Errno 111] Connection refused"
    )
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert caught.value.phase == "not_sent"


def test_connect_that_takes_too_long(black_hole: tuple[str, int]) -> None:
    host, port = black_hole
    with pytest.raises(httpcore.ConnectTimeout) as caught:
        BACKEND.connect_tcp(host, port, SOON)
    assert str(caught.value) == f"connect to {host}:{port} ({host}) timed out after 0.05 s"
    assert caught.value.phase == "not_sent"
    assert isinstance(caught.value.__cause__, TimeoutError)


def test_connect_without_waiting(black_hole: tuple[str, int]) -> None:
    with pytest.raises(httpcore.ConnectTimeout, match="timed out after 0 s"):
        BACKEND.connect_tcp(*black_hole, 0)


def resolver(*hosts: str) -> Callable[..., list[Any]]:
    """A getaddrinfo that finds these IPv4 addresses for every name."""

    def getaddrinfo(host: str, port: int, *_: int) -> list[Any]:
        assert type(host) is str  # as every client passes it
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port)) for found in hosts]

    return getaddrinfo


def test_the_next_address_is_tried(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(silent)
    monkeypatch.setattr(socket, "getaddrinfo", resolver("127.0.0.9", "127.0.0.1"))
    stream = BACKEND.connect_tcp("two.example", server.port, PATIENCE)
    with closing(stream):
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)


def test_all_addresses_that_failed_are_named(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolver("127.0.0.9", "127.0.0.8"))
    with pytest.raises(httpcore.ConnectError) as caught:
        BACKEND.connect_tcp("two.example", closed_port)
    assert str(caught.value) == (
        f"connect to two.example:{closed_port} (127.0.0.9, 127.0.0.8) failed: "
        "[Errno 111] Connection refused"
    )


def test_the_system_giving_up_is_no_timeout_of_ours(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a timeout, ETIMEDOUT on the first address leaves the second one to try.
    class Slow(socket.socket):
        def connect(self, address: Any) -> None:
            if address[0] == "127.0.0.9":
                raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")
            super().connect(address)

    server = serve(silent)
    monkeypatch.setattr(socket, "getaddrinfo", resolver("127.0.0.9", "127.0.0.1"))
    monkeypatch.setattr(socket, "socket", Slow)
    stream = BACKEND.connect_tcp("two.example", server.port)
    stream.close()
    monkeypatch.setattr(socket, "getaddrinfo", resolver("127.0.0.9"))
    with pytest.raises(httpcore.ConnectError, match="Connection timed out"):
        BACKEND.connect_tcp("one.example", server.port)


def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NameResolutionError) as caught:
        BACKEND.connect_tcp("nowhere.test", 80, PATIENCE)
    assert str(caught.value) == "look up nowhere.test failed: [Errno -2] Name or service not known"
    assert isinstance(caught.value.__cause__, socket.gaierror)
    assert isinstance(caught.value, httpcore.ConnectError)
    assert caught.value.phase == "not_sent"


def test_a_name_that_resolves_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolver())
    with pytest.raises(NameResolutionError, match="look up h failed: it has no address"):
        BACKEND.connect_tcp("h", 80, PATIENCE)


def test_a_name_that_is_not_ascii() -> None:
    with pytest.raises(NameResolutionError, match="look up ä failed"):
        BACKEND.connect_tcp("ä", 80, PATIENCE)


def test_an_interrupted_connect_closes_the_socket(
    closed_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = []

    class Interrupting(socket.socket):
        def connect(self, address: Any) -> None:
            made.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(socket, "socket", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        BACKEND.connect_tcp("127.0.0.1", closed_port, PATIENCE)
    with pytest.raises(KeyboardInterrupt):
        BACKEND.connect_unix_socket(str(tmp_path / "s"), PATIENCE)
    assert [sock.fileno() for sock in made] == [-1, -1]


def test_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "missing")
    with pytest.raises(httpcore.ConnectError) as caught:
        BACKEND.connect_unix_socket(path, PATIENCE)
    assert str(caught.value) == (
        f"connect to unix:{path} failed: [Errno 2] No such file or directory"
    )
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize("path", ["x" * 200, "a\0b"])
def test_unix_socket_path_that_cannot_be(path: str) -> None:
    with pytest.raises(httpcore.ConnectError, match="connect to unix:"):
        BACKEND.connect_unix_socket(path, PATIENCE)


def test_unix_socket_that_takes_too_long(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with (
        closing(socket.socket(socket.AF_UNIX)) as listener,
        closing(socket.socket(socket.AF_UNIX)) as first,
        closing(socket.socket(socket.AF_UNIX)) as second,
    ):
        listener.bind(path)
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            try:
                filler.connect(path)
            except BlockingIOError:
                pass
        with pytest.raises(httpcore.ConnectTimeout) as caught:
            BACKEND.connect_unix_socket(path, SOON)
    assert str(caught.value) == f"connect to unix:{path} timed out after 0.05 s"


def test_modules_are_looked_up_when_used(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """gevent and mocks replace `socket.socket` after we were imported."""

    class Patched(socket.socket):
        pass

    server = serve(silent)
    monkeypatch.setattr(socket, "socket", Patched)
    with closing(connect(server)) as stream:
        assert isinstance(stream.get_extra_info("socket"), Patched)


def test_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    BACKEND.sleep(1.5)
    assert slept == [1.5]


# --- the mocks ---


def test_mock_stream() -> None:
    stream = httpcore.MockStream([b"one", b"two"])
    assert repr(stream) == "<httpcore.MockStream>"
    assert [stream.read(1), stream.read(100), stream.read(1), stream.read(1)] == [
        b"one",
        b"two",
        b"",
        b"",
    ]
    stream.write(bytearray(b"abc"))
    assert stream.written == [b"abc"]
    assert stream.get_extra_info("is_readable") is None
    assert stream.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    assert stream.start_tls(None) is stream  # type: ignore[arg-type]
    stream.close()
    with pytest.raises(httpcore.ReadError, match="closed"):
        stream.read(1)


def test_mock_stream_http2() -> None:
    stream = httpcore.MockStream([], http2=True)
    assert stream.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"


def test_mock_backend_gives_each_connection_its_own_copy() -> None:
    backend = httpcore.MockBackend([b"one"], http2=True)
    streams = [backend.connect_tcp("h", 1), backend.connect_unix_socket("/s")]
    assert [stream.read(100) for stream in streams] == [b"one", b"one"]
    assert streams[0].get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    backend.sleep(1e9)


def test_async_mocks() -> None:
    async def main() -> None:
        backend = httpcore.AsyncMockBackend([b"one"])
        await backend.sleep(1e9)
        for stream in (await backend.connect_tcp("h", 1), await backend.connect_unix_socket("/s")):
            assert isinstance(stream, httpcore.AsyncMockStream)
            assert repr(stream) == "<httpcore.AsyncMockStream>"
            assert await stream.read(100) == b"one"
            assert await stream.read(100) == b""
            await stream.write(b"abc")
            assert stream.written == [b"abc"]
            assert stream.get_extra_info("socket") is None
            ssl_object = stream.get_extra_info("ssl_object")
            assert ssl_object.selected_alpn_protocol() == "http/1.1"
            assert await stream.start_tls(None) is stream  # type: ignore[arg-type]
            await stream.aclose()
            with pytest.raises(httpcore.ReadError, match="closed"):
                await stream.read(1)

    asyncio.run(main())


# --- the interfaces ---


def test_what_a_stream_lacks_is_named() -> None:
    class Mine(httpcore.NetworkStream):
        pass

    stream = Mine()
    assert stream.get_extra_info("socket") is None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, arguments in [
        ("read", (1,)),
        ("write", (b"",)),
        ("close", ()),
        ("start_tls", (context,)),
    ]:
        with pytest.raises(NotImplementedError, match=rf"Mine does not implement {name}\(\)"):
            getattr(stream, name)(*arguments)


def test_what_a_backend_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = httpcore.NetworkBackend()
    with pytest.raises(NotImplementedError, match=r"NetworkBackend .* connect_tcp\(\)"):
        backend.connect_tcp("h", 1)
    with pytest.raises(NotImplementedError, match=r"NetworkBackend .* connect_unix_socket\(\)"):
        backend.connect_unix_socket("/s")
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    backend.sleep(2)
    assert slept == [2]


def test_what_an_async_stream_or_backend_lacks_is_named() -> None:
    async def main() -> None:
        stream, backend = httpcore.AsyncNetworkStream(), httpcore.AsyncNetworkBackend()
        assert stream.get_extra_info("socket") is None
        calls: list[tuple[Any, str, tuple[Any, ...]]] = [
            (stream, "read", (1,)),
            (stream, "write", (b"",)),
            (stream, "aclose", ()),
            (stream, "start_tls", (None,)),
            (backend, "connect_tcp", ("h", 1)),
            (backend, "connect_unix_socket", ("/s",)),
            (backend, "sleep", (1,)),
        ]
        for thing, name, arguments in calls:
            with pytest.raises(NotImplementedError, match=rf"does not implement {name}\(\)"):
                await getattr(thing, name)(*arguments)

    asyncio.run(main())


# --- what to try after a failed handshake ---


def answer_in_http(peer: Peer) -> None:
    peer.recv(1)
    peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    peer.wait_closed()


def test_https_to_a_server_of_plain_http(serve: Serve) -> None:
    url = serve(answer_in_http).url.replace("http:", "https:")
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(TLSError, match=r"the answer is not TLS: .* write http:// in its URL"):
            pool.request("GET", url)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_https_url_of_a_proxy_of_plain_http(serve: Serve, scheme: str) -> None:
    url = serve(answer_in_http).url.replace("http:", "https:")
    with httpcore.HTTPProxy(url) as pool:
        with pytest.raises(
            httpcore.ProxyError,
            match=f"cannot reach the proxy {url}: .* for a server that speaks plain HTTP, write http://",
        ):
            pool.request("GET", f"{scheme}://example.test/")


def test_plain_http_inside_the_tls_of_a_proxy(server: LocalServer, ca: trustme.CA) -> None:
    with ProxyServer(tls=tls.server_context(ca)) as proxy, ScriptedServer(answer_in_http) as plain:
        trusts = httpcore.create_ssl_context(ca_data=ca.cert_pem.bytes().decode())
        with httpcore.HTTPProxy(proxy.url, proxy_ssl_context=trusts) as pool:
            with pytest.raises(TLSError, match="write http:// in its URL"):
                pool.request("GET", plain.url.replace("http:", "https:"))


def test_a_certificate_that_nobody_trusts(tls_server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(TLSError, match=r"CERTIFICATE_VERIFY_FAILED.*; .* pass .* as verify="):
            pool.request("GET", tls_server.url)
    tls_server.handshake_errors.clear()


def test_a_wrong_name_is_no_matter_of_trust(tls_server: LocalServer, ca: trustme.CA) -> None:
    context = httpcore.create_ssl_context(ca_data=ca.cert_pem.bytes().decode())
    host = f"wrong.invalid:{tls_server.port}"
    with httpcore.ConnectionPool(ssl_context=context, resolve={host: "127.0.0.1"}) as pool:
        with pytest.raises(TLSError) as caught:
            pool.request("GET", f"https://{host}/")
    assert "verify=" not in str(caught.value)
    tls_server.handshake_errors.clear()
