"""Small rules of the synchronous shell and of the backends, each asked by itself.

Owns: what the child of a fork makes of each object, called here without a fork; what is done for
streams, sockets and resolvers of other makes; and what is found to be over before it begins. Must
not know: servers.
"""

from __future__ import annotations

import gc
import os
import socket
import ssl
import weakref
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

import httpcore
from httpcore._backends import tcp, tls_begin
from httpcore._backends.blocking import BlockingAdapter
from httpcore._backends.fork import ForkedStream
from httpcore._backends.sync import SyncStream
from httpcore._backends.tls_in_tls import TLSInTLSStream, _smaller
from httpcore._backends.tls_sessions import session_key
from httpcore._backends.wrapped import WrappedStream
from httpcore._core.prepared import prepare
from httpcore._shared import pool_actions
from httpcore._ssl import resumes_tls_sessions
from httpcore._sync.request_body import Upload
from httpcore.exceptions import Aborted
from tests.support import tls
from tests.support.clients import trusting
from tests.support.streams import HOST, ORIGIN, URL, Script, connect, length, send

PEER = "example.com:80"


class Backend(httpcore.NetworkBackend):
    """Hands out one stream, after a call of `before`."""

    def __init__(self, stream: httpcore.NetworkStream, before: Any = lambda: None) -> None:
        self.stream = stream
        self.before = before

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        self.before()
        return self.stream


# -- the child of a fork


def test_a_connection_is_lost_in_the_child() -> None:
    connection, stream = connect(length(b"hello", 9))
    lock = connection._lock
    response = send(connection)
    connection._renew_in_child()
    assert connection._lock is not lock and connection.is_closed()
    with pytest.raises(httpcore.ReadError, match="belongs to the parent process"):
        response.read()
    assert not stream.closed


def test_a_closed_connection_stays_as_it_is_in_the_child() -> None:
    connection, stream = connect()
    connection.close()
    connection._renew_in_child()
    assert connection.network is stream


def test_an_upload_is_lost_in_the_child() -> None:
    fields = [HOST, (b"Transfer-Encoding", b"chunked")]
    request = httpcore.Request("POST", URL, headers=fields, content=iter([b"a", b"b"]))
    stream = Script()
    upload = Upload(stream, prepare(request), False)
    assert upload.first().endswith(b"1\r\na\r\n")
    upload.lose(ForkedStream(stream, "the connection is the parent's"))
    with pytest.raises(httpcore.WriteError, match="the parent's"):
        upload.send_rest(None)
    assert stream.written == []


def test_a_connection_in_the_middle_of_an_upload_is_lost_in_the_child() -> None:
    connection, _ = connect(length(b"no"))
    fields = [HOST, (b"Transfer-Encoding", b"chunked")]
    request = httpcore.Request("POST", URL, headers=fields, content=iter([b"a"]))
    connection._upload = upload = Upload(connection.network, prepare(request), False)
    connection._renew_in_child()
    assert upload._stream is connection.network and upload.deaf


def test_a_connection_that_opens_itself_begins_again_in_the_child() -> None:
    connection = httpcore.HTTPConnection(ORIGIN, network_backend=Backend(Script()))
    lock = connection._lock
    connection._attempt = connection.stream_so_far = SimpleNamespace()  # type: ignore[assignment]
    connection._renew_in_child()
    assert connection._lock is not lock
    assert connection._attempt is None and connection.stream_so_far is None


def test_a_pool_begins_again_in_the_child() -> None:
    stream = Script([length(b"hello")])
    with httpcore.ConnectionPool(network_backend=Backend(stream)) as pool:
        pool.request("GET", URL)
        slots = pool._slots
        lock, connections = slots.lock, pool.connections
        assert len(connections) == 1
        slots._renew_in_child()
        assert pool.connections == [] and slots.lock is not lock
        connections[0].close()


# -- ended before it begins


def test_a_request_that_is_aborted_before_it_is_sent() -> None:
    connection, stream = connect()
    connection.abort()
    with pytest.raises(Aborted):
        send(connection)
    assert stream.written == []


def test_a_connection_that_is_aborted_while_it_is_opened() -> None:
    stream = Script()
    connection = httpcore.HTTPConnection(
        ORIGIN, network_backend=Backend(stream, lambda: connection.abort())
    )
    with pytest.raises(httpcore.NetworkError):
        send(connection)  # type: ignore[arg-type]
    assert stream.written == []


def test_what_is_gone_is_not_adjusted() -> None:
    adjusted: list[object] = []

    class Thing:
        def adjust(self, connection: object) -> None:
            adjusted.append(connection)

    slots, connection = Thing(), Thing()
    pool_actions._adjust(weakref.ref(slots), weakref.ref(connection))
    assert adjusted == [connection]
    adjusted.clear()
    reference = weakref.ref(connection)
    del connection
    gc.collect()
    pool_actions._adjust(weakref.ref(slots), reference)
    assert adjusted == []


# -- streams and sockets of other makes


def test_a_blocking_stream_cannot_be_woken() -> None:
    BlockingAdapter(Script()).wake()  # and nothing happens


def test_a_wrapped_stream_reads_and_writes_what_is_inside() -> None:
    inside = Script([b"hello"])
    stream = WrappedStream(inside)
    assert stream.read(100) == b"hello"
    stream.write(b"x")
    assert inside.written == [b"x"]


def test_what_cannot_be_referred_to_resumes_no_sessions() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

    assert not resumes_tls_sessions(Unhashable())
    assert not resumes_tls_sessions(5)


def test_a_context_that_cannot_be_looked_at_has_no_key() -> None:
    class Broken:
        @property
        def verify_mode(self) -> ssl.VerifyMode:
            raise ValueError("not now")

        def __getattr__(self, name: str) -> Any:
            raise ValueError("not now")

    context = Broken()
    httpcore.resume_tls_sessions(context)  # type: ignore[arg-type]
    assert session_key(context, "h", PEER) is None


def test_a_socket_without_a_descriptor_has_no_twin() -> None:
    sock = SimpleNamespace(fileno=lambda: None)
    assert tls_begin._twin(sock) is None
    assert tls_begin._twin(object()) is None
    context = SimpleNamespace(wrap_socket=lambda sock, server_hostname: (sock, server_hostname))
    assert tls_begin._shake_hands_too(context, sock, "h", None) == (sock, "h")


def test_the_descriptor_of_a_twin_that_cannot_be_made_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers: list[int] = []

    def fail(fileno: int) -> Any:
        numbers.append(fileno)
        raise KeyboardInterrupt

    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        monkeypatch.setattr(tls_begin, "socket", SimpleNamespace(socket=fail))
        with pytest.raises(KeyboardInterrupt):
            tls_begin._twin(ours)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(numbers[0])


def test_the_zone_of_an_address_is_asked_of_the_system() -> None:
    found = tcp._ask_resolver(lambda *_: ["fe80::1%1", "127.0.0.1"], "h", 80, socket.AF_INET6, None)
    assert [each.address[:2] for each in found] == [("fe80::1", 80)] or found[0].address[3] == 1
    assert found[0].address[3] == 1


def test_what_the_system_has_not_acknowledged_is_known_on_linux_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from httpcore._backends import sockets

    ours, theirs = socket.socketpair()
    with closing(theirs):
        stream = SyncStream(ours, PEER)
        with closing(stream):
            assert stream.get_extra_info("unacknowledged") is None  # no TCP
            monkeypatch.setattr(sockets.sys, "platform", "other")
            assert stream.get_extra_info("unacknowledged") is None


# -- TLS inside a stream, whose other end is played in memory


class Below(httpcore.NetworkStream):
    """A stream to a TLS server that is played here, step by step."""

    def __init__(self, ca: trustme.CA) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = tls.server_context(ca)
        self.server = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.greeted = False
        self.failure: Exception | None = None
        self.closed = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.failure is not None:
            raise self.failure
        data = self.outgoing.read(max_bytes)
        if not data:
            raise httpcore.ReadTimeout("nothing there")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.incoming.write(buffer)
        if not self.greeted:
            try:
                self.server.do_handshake()
                self.greeted = True
            except ssl.SSLWantReadError:
                pass

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def below(ca: trustme.CA) -> Below:
    return Below(ca)


@pytest.fixture
def inner(ca: trustme.CA, below: Below) -> TLSInTLSStream:
    return TLSInTLSStream(below, trusting(ca), "localhost", 5.0)


def test_a_stream_below_that_cannot_listen(inner: TLSInTLSStream, below: Below) -> None:
    assert inner.get_extra_info("is_readable") is False  # but for tickets, which are read now
    assert inner.write_until_readable(memoryview(b"hello"), 1.0, None) == 5
    assert below.server.read(100) == b"hello"
    below.server.write(b"answer")
    assert inner.write_until_readable(memoryview(b"more")) == 0
    assert inner.read(100) == b"answer"


BROKEN = b"\x17\x03\x03\x00\x20" + b"x" * 32


def test_a_broken_record_is_a_failure_to_read(inner: TLSInTLSStream, below: Below) -> None:
    below.outgoing.write(BROKEN)
    with pytest.raises(httpcore.ReadError, match="read from the peer failed"):
        inner.readinto(memoryview(bytearray(100)))


def test_a_stream_below_that_fails_is_readable(inner: TLSInTLSStream, below: Below) -> None:
    assert inner.get_extra_info("is_readable") is False
    below.failure = httpcore.ReadError("reset")
    assert inner.get_extra_info("is_readable") is True


def test_data_that_is_there_is_readable(inner: TLSInTLSStream, below: Below) -> None:
    below.server.write(b"hello")
    assert inner.get_extra_info("is_readable") is True


def test_tls_can_be_inside_of_that_again(inner: TLSInTLSStream, below: Below, ca: Any) -> None:
    with pytest.raises(httpcore.ConnectTimeout):
        inner.start_tls(trusting(ca), "localhost", 0.0)
    assert below.closed


def test_the_smaller_timeout() -> None:
    assert _smaller(None, None) is None
    assert _smaller(1.0, None) == _smaller(None, 1.0) == _smaller(2.0, 1.0) == 1.0
