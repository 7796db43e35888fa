"""TLS inside TLS: as a stream on a scripted one and on sockets, and through an https proxy.

Owns: `httpcore._backends.tls_in_tls`. Must not know: what is said to a proxy.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import trustme

import httpcore
from httpcore._backends import tls_records
from httpcore._backends.tls_in_tls import TLSInTLSStream
from httpcore.exceptions import ProxyConnectError, TLSError
from tests.support import PATIENCE, tls
from tests.support.far_end import FarEnd, spoil
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve, pattern


@pytest.fixture
def https_proxy(server_tls_context: ssl.SSLContext) -> Iterator[ProxyServer]:
    with ProxyServer(tls=server_tls_context) as running:
        yield running
    assert not running.errors


@pytest.fixture
def open_stream(
    https_proxy: ProxyServer, client_tls_context: ssl.SSLContext
) -> Callable[[ScriptedServer], TLSInTLSStream]:
    """Opens a stream to a TLS server through the https proxy, by hand."""

    def connect(server: ScriptedServer, name: str = "localhost") -> TLSInTLSStream:
        outer = httpcore.SyncBackend().connect_tcp(https_proxy.host, https_proxy.port, PATIENCE)
        outer = outer.start_tls(client_tls_context, "localhost", PATIENCE)
        outer.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % server.port, PATIENCE)
        assert outer.read(4096, PATIENCE).startswith(b"HTTP/1.1 200")
        inner = outer.start_tls(client_tls_context, name, PATIENCE)
        assert isinstance(inner, TLSInTLSStream)
        return inner

    return connect


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_bytes_both_ways(
    serve: Serve, ca: trustme.CA, open_stream: Any, version: ssl.TLSVersion
) -> None:
    context = tls.server_context(ca)
    context.minimum_version = context.maximum_version = version
    size = 300_000

    def handler(peer: Peer) -> None:
        peer.send(peer.recv_exactly(size))
        peer.close()

    server = serve(handler, tls=context)
    with closing(open_stream(server)) as stream:
        assert repr(stream).startswith("<httpcore.TLSInTLSStream [127.0.0.1:")
        assert stream.get_extra_info("ssl_object").version() == version.name.replace("v1_", "v1.")
        assert stream.get_extra_info("server_addr")[1] != server.port  # it is the proxy's
        stream.write(pattern(size), PATIENCE)
        whole = bytearray(size)
        view = memoryview(whole)
        got = stream.readinto(view, PATIENCE)
        while got < size:
            data = stream.read(65536, PATIENCE)
            whole[got : got + len(data)] = data
            got += len(data)
        assert bytes(whole) == pattern(size)
        assert stream.read(1, PATIENCE) == b""
        assert stream.readinto(view, PATIENCE) == 0
        assert not stream.unclean_eof


def test_an_end_without_close_notify_is_noted(
    serve: Serve, server_tls_context: ssl.SSLContext, open_stream: Any
) -> None:
    def handler(peer: Peer) -> None:
        peer.send(b"body")
        peer.close(notify=False)

    with closing(open_stream(serve(handler, tls=server_tls_context))) as stream:
        assert stream.read(100, PATIENCE) == b"body"
        assert stream.read(100, PATIENCE) == b""
        assert stream.unclean_eof


def test_what_is_readable(
    serve: Serve, server_tls_context: ssl.SSLContext, open_stream: Any
) -> None:
    def handler(peer: Peer) -> None:
        for word in (b"first", b"second"):
            assert peer.recv_exactly(2) == b"go"
            peer.send(word)

    with closing(open_stream(serve(handler, tls=server_tls_context))) as stream:
        # TLS 1.3 sends tickets after the handshake: bytes, but no data.
        assert not stream.get_extra_info("is_readable")
        stream.write(b"go", PATIENCE)
        assert stream.read(1, PATIENCE) == b"f"
        assert stream.get_extra_info("is_readable")  # in memory already
        assert stream.read(100, PATIENCE) == b"irst"
        assert not stream.get_extra_info("is_readable")
        stream.write(b"go", PATIENCE)
        assert stream.read(100, PATIENCE) == b"second"
        assert stream.read(1, PATIENCE) == b""
        assert stream.get_extra_info("is_readable")  # the end


def test_a_read_that_times_out_can_go_on(
    serve: Serve, server_tls_context: ssl.SSLContext, open_stream: Any
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_exactly(2)
        peer.send(b"late")

    with closing(open_stream(serve(handler, tls=server_tls_context))) as stream:
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(100, 0.01)
        stream.write(b"go", PATIENCE)
        assert stream.read(100, PATIENCE) == b"late"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("rest", ["write", "write_until_readable"])
def test_a_peer_that_takes_no_more_is_heard(
    serve: Serve,
    ca: trustme.CA,
    client_tls_context: ssl.SSLContext,
    version: ssl.TLSVersion,
    rest: str,
) -> None:
    """Also in the middle of a record; nothing is lost or sent twice when it goes on."""
    context = tls.server_context(ca)
    context.minimum_version = context.maximum_version = version
    body = memoryview(pattern(32 * 1024 * 1024))

    def handler(peer: Peer) -> None:
        first = peer.recv_exactly(100_000)
        server.wait_for(lambda: False, 0.1)  # until the path is full, most likely
        peer.send(b"enough")
        assert heard.wait(PATIENCE)
        bodies.append(first + peer.recv_exactly(len(body) - len(first)))
        peer.send(b"thanks")

    bodies: list[bytes] = []
    server = serve(handler, tls=context)
    heard = server.event()
    tcp = httpcore.SyncBackend().connect_tcp(server.host, server.port, PATIENCE)
    with closing(TLSInTLSStream(tcp, client_tls_context, "localhost", PATIENCE)) as stream:
        sent, words = 0, b""
        while sent < len(body):
            if words and rest == "write":
                stream.write(bytes(body[sent:]), PATIENCE)
                break
            sent += stream.write_until_readable(body[sent:], PATIENCE)
            assert words or sent < len(body)
            with contextlib.suppress(httpcore.ReadTimeout):
                words += stream.read(100, 0)
                heard.set()
        assert words + stream.read(100, PATIENCE) == b"enoughthanks"
    assert bodies == [body]


def test_a_name_that_does_not_fit(
    serve: Serve, server_tls_context: ssl.SSLContext, open_stream: Any, https_proxy: ProxyServer
) -> None:
    server = serve(lambda peer: None, tls=server_tls_context)
    with pytest.raises(TLSError, match="certificate verify failed") as caught:
        open_stream(server, "elsewhere.test")
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    assert https_proxy.wait_for(lambda: https_proxy.open == 0)
    server.handshake_errors.clear()


def test_a_peer_that_stays_silent(
    serve: Serve, https_proxy: ProxyServer, client_tls_context: ssl.SSLContext
) -> None:
    def handler(peer: Peer) -> None:
        peer.wait_closed()

    silent = serve(handler)
    with httpcore.HTTPProxy(
        https_proxy.url, ssl_context=client_tls_context, proxy_ssl_context=client_tls_context
    ) as pool:
        with pytest.raises(httpcore.ConnectTimeout, match=r"TLS handshake with .* timed out"):
            pool.request(
                "GET",
                f"https://127.0.0.1:{silent.port}",
                extensions={"timeout": {"connect": 0.3}},
            )


class Below(httpcore.NetworkStream):
    """A stream that does what a test says."""

    def __init__(self, data: bytes = b"", failure: Exception | None = None) -> None:
        self.data = data
        self.failure = failure
        self.closed = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.failure is not None:
            raise self.failure
        data, self.data = self.data[:max_bytes], self.data[max_bytes:]
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("below", "text"),
    [
        (Below(), "EOF occurred"),
        (Below(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "failed: .*SSL"),
        (Below(failure=httpcore.ReadError("gone")), "failed: gone"),
    ],
)
def test_a_handshake_that_fails(
    below: Below, text: str, client_tls_context: ssl.SSLContext
) -> None:
    with pytest.raises(TLSError, match=text):
        TLSInTLSStream(below, client_tls_context, "localhost", PATIENCE)
    assert below.closed


def test_a_handshake_that_is_interrupted(client_tls_context: ssl.SSLContext) -> None:
    class Interrupted(Below):
        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            raise KeyboardInterrupt

    below = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        TLSInTLSStream(below, client_tls_context, "localhost", PATIENCE)
    assert below.closed


def test_failures_after_the_handshake(
    serve: Serve, server_tls_context: ssl.SSLContext, open_stream: Any
) -> None:
    server = serve(lambda peer: peer.wait_closed(), tls=server_tls_context)
    with closing(open_stream(server)) as stream:
        spoil(stream, ssl.SSLError(1, "bad record mac"))
        with pytest.raises(httpcore.ReadError, match=r"read from 127.* failed: .*bad record mac"):
            stream.read(1, PATIENCE)
        with pytest.raises(httpcore.WriteError, match=r"write to 127.* failed: .*bad record mac"):
            stream.write(b"x", PATIENCE)
        spoil(stream, httpcore.WriteError("gone"))
        with pytest.raises(httpcore.WriteError) as caught:
            stream.write(b"x", PATIENCE)
        assert caught.value.phase == "maybe_processed"  # type: ignore[attr-defined]
        stream._pump.feed(b"x")
        spoil(stream, ssl.SSLError(1, "bad record mac"))
        assert stream.get_extra_info("is_readable")  # in no state to be used again


# --- without blocking ---


def echo(peer: Peer) -> None:
    while data := peer.recv():
        peer.send(data)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_bytes_both_ways_without_blocking(
    serve: Serve, ca: trustme.CA, open_stream: Any, version: ssl.TLSVersion
) -> None:
    context = tls.server_context(ca)
    context.minimum_version = context.maximum_version = version
    data = pattern(1_000_000)
    with closing(open_stream(serve(echo, tls=context))) as stream:
        offered, sent, got = 10, 0, bytearray()
        while len(got) < len(data):
            sent += stream.write_ready(memoryview(data)[sent:offered])
            offered = min(len(data), offered + 300_000)
            assert stream.wait(sent < len(data), PATIENCE)
            while piece := stream.read_ready(5000):
                got += piece
        assert got == data
        assert not stream._pump.behind and not stream._pump.claimed
        assert stream.read_ready(100) is None
        assert not stream.wait(False, 0)
        # With blocking, as before.
        stream.write(b"ping", PATIENCE)
        assert stream.read(100, PATIENCE) == b"ping"


@pytest.fixture
def far_end(server_tls_context: ssl.SSLContext) -> FarEnd:
    return FarEnd(server_tls_context)


@pytest.fixture
def near_end(far_end: FarEnd, client_tls_context: ssl.SSLContext) -> TLSInTLSStream:
    stream = TLSInTLSStream(far_end, client_tls_context, "localhost", None)
    assert stream.read_ready(100) is None  # tickets
    return stream


def test_what_was_taken_from_the_stream_below_is_there(
    far_end: FarEnd, near_end: TLSInTLSStream
) -> None:
    """Of two records in one read, and of one that is longer than asked for."""
    assert near_end.wait is not None
    for data in (b"first", b"second", b"x" * 10_000):
        far_end.server.write(data)
    assert near_end.wait(False, None)
    assert near_end.read_ready(100) == b"first"
    far_end.waits.clear()
    for _ in range(2):
        assert near_end.wait(False, None)
        assert near_end.read_ready(3) in (b"sec", b"ond")
    assert near_end.wait(False, None)
    assert near_end.read_ready(9_999) == b"x" * 9_999
    assert near_end.wait(False, None)
    assert far_end.waits == []
    assert near_end.read_ready(100) == b"x"
    assert not near_end.wait(False, 7)
    assert far_end.waits == [(False, 7)]
    assert near_end.read_ready(100) is None


def test_half_a_record_is_nothing_yet(far_end: FarEnd, near_end: TLSInTLSStream) -> None:
    far_end.server.write(b"whole")
    record = far_end._out.read()
    far_end._out.write(record[:10])
    assert near_end.read_ready(100) is None
    assert near_end.wait is not None and not near_end.wait(False, 0)
    far_end._out.write(record[10:])
    assert near_end.read_ready(100) == b"whole"


def test_a_record_counts_when_all_of_it_was_taken(
    far_end: FarEnd, near_end: TLSInTLSStream
) -> None:
    data = pattern(40_000)
    far_end.room = 0
    assert near_end.write_ready(data) == 0
    assert near_end.wait is not None
    assert not near_end.wait(True, 5)
    assert not near_end.wait(False, 5)
    assert far_end.waits == [(True, 5)] * 2  # it has something to send, whatever is asked
    far_end.room = 16_500  # one record, and the beginning of the next
    assert near_end.write_ready(data + b"more") == 16_384
    far_end.room = 5
    assert near_end.write_ready(data[16_384:] + b"more") == 0
    far_end.room = None
    assert near_end.write_ready(data[16_384:] + b"more") == 40_004 - 16_384
    assert far_end.received == data + b"more"
    assert near_end.write_ready(b"") == 0


def test_what_tls_answers_is_sent(far_end: FarEnd, near_end: TLSInTLSStream) -> None:
    """Also when there is no room at first: who reads on sees to it."""
    far_end.room = 0
    assert near_end.write_ready(b"x") == 0
    far_end.room = None
    assert near_end.read_ready(100) is None
    assert far_end.received == b"x"
    assert near_end.write_ready(b"x") == 1
    assert far_end.received == b"x"


def test_waking(far_end: FarEnd, near_end: TLSInTLSStream) -> None:
    near_end.wake()
    assert far_end.woken == 1


@pytest.mark.parametrize("notify", [False, True])
def test_an_end_without_blocking(notify: bool, far_end: FarEnd, near_end: TLSInTLSStream) -> None:
    far_end.server.write(b"last words")
    if notify:
        with contextlib.suppress(ssl.SSLError):
            far_end.server.unwrap()
    far_end.ended = True
    assert near_end.read_ready(100) == b"last words"
    assert near_end.wait is not None and near_end.wait(False, 0)
    for _ in range(2):
        assert near_end.read_ready(100) == b""
    assert near_end.unclean_eof is not notify


def test_failures_without_blocking(far_end: FarEnd, near_end: TLSInTLSStream) -> None:
    far_end.failure = httpcore.WriteError("gone")
    far_end.failure.phase = "not_sent"
    with pytest.raises(httpcore.WriteError, match="gone") as caught:
        near_end.write_ready(b"x")
    assert caught.value.phase == "not_sent"  # no whole record
    # What there is to say cannot be said; what the peer says is read all the same.
    far_end.server.write(b"word")
    assert near_end.read_ready(100) == b"word"
    assert near_end.read_ready(100) is None
    far_end.failure = None
    assert near_end.write_ready(b"x") == 1

    def fails_later(buffer: Any) -> int:
        far_end.failure = httpcore.WriteError("gone")
        far_end.failure.phase = "not_sent"
        return len(buffer)

    with pytest.MonkeyPatch.context() as patch:
        steps = iter([fails_later, far_end.write_ready])
        patch.setattr(far_end, "write_ready", lambda buffer: next(steps)(buffer))
        with pytest.raises(httpcore.WriteError) as caught:
            near_end.write_ready(bytes(20_000))
    assert caught.value.phase == "maybe_processed"
    near_end._pump.claimed, near_end._pump.behind = 0, b""
    spoil(near_end, ssl.SSLError(1, "bad record mac"))
    with pytest.raises(httpcore.ReadError, match="bad record mac"):
        near_end.read_ready(1)
    with pytest.raises(httpcore.WriteError, match="bad record mac"):
        near_end.write_ready(b"x")


def test_failures_while_listening(far_end: FarEnd, near_end: TLSInTLSStream) -> None:
    write: Any = near_end.write_until_readable
    far_end.failure = httpcore.WriteError("gone")
    with pytest.raises(httpcore.WriteError, match="gone") as caught:
        write(memoryview(b"x"), 1.0)
    assert caught.value.phase == "maybe_processed"  # type: ignore[attr-defined]
    far_end.failure = None
    near_end._pump.claimed, near_end._pump.behind = 0, b""
    spoil(near_end, ssl.SSLWantReadError())  # it wants to be answered first
    far_end.write_until_readable = lambda *_: 0  # type: ignore[attr-defined]
    assert write(memoryview(b"x"), 1.0) == 0
    spoil(near_end, ssl.SSLError(1, "bad record mac"))
    with pytest.raises(httpcore.WriteError, match=r"write to .* failed: .*bad record mac"):
        write(memoryview(b"x"), 1.0)


def test_a_context_that_is_changed_while_a_session_begins(
    far_end: FarEnd, client_tls_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session is none to be resumed: nobody knows by which settings it was checked."""
    real = tls_records.wrap_bio

    def changing(context: ssl.SSLContext, *arguments: Any, **options: Any) -> Any:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return real(context, *arguments, **options)

    kept: list[Any] = []
    monkeypatch.setattr(tls_records, "wrap_bio", changing)
    monkeypatch.setattr(tls_records, "session_key", lambda context, *_: context.maximum_version)
    monkeypatch.setattr(tls_records, "keep_session", lambda context, key, tls: kept.append(key))
    TLSInTLSStream(far_end, client_tls_context, "localhost", None).keep_session()
    assert kept == [None]


def test_records_that_are_none(far_end: FarEnd, near_end: TLSInTLSStream) -> None:
    """The peer gets an alert that says why."""
    far_end._out.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(httpcore.ReadError, match="failed"):
        near_end.read_ready(100)
    assert "ALERT" in str(far_end.alert)


def test_on_a_stream_that_can_only_block(far_end: FarEnd, near_end: TLSInTLSStream) -> None:
    far_end.wait = None  # type: ignore[assignment]
    assert near_end.wait is None


# --- https proxies ---


def test_https_through_an_https_proxy(
    https_proxy: ProxyServer, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    """Row 36: "https origin via https proxy, sync"."""
    https_proxy.credentials = ("user", "pass")
    with httpcore.HTTPProxy(
        https_proxy.url,
        proxy_auth=("user", "pass"),
        ssl_context=client_tls_context,
        proxy_ssl_context=client_tls_context,
    ) as pool:
        for _ in range(3):
            response = pool.request("GET", tls_server.url + "/bytes/200000")
            assert response.content == pattern(200_000)
        assert pool.request("POST", tls_server.url + "/echo", content=b"x" * 50_000).status == 200
    assert (https_proxy.accepted, tls_server.accepted) == (1, 1)


def test_http_is_forwarded_by_an_https_proxy(
    https_proxy: ProxyServer, server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    with httpcore.HTTPProxy(https_proxy.url, proxy_ssl_context=client_tls_context) as pool:
        for _ in range(2):
            assert pool.request("GET", server.url).status == 200
    assert https_proxy.accepted == 1


def test_each_hop_has_an_authority_of_its_own(
    tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    """Row 36: "with separate CA/cert for each hop; cert errors say which hop failed"."""
    other = trustme.CA()
    trusts_other = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    other.configure_trust(trusts_other)
    with ProxyServer(tls=tls.server_context(other)) as proxy:

        def ask(origin: ssl.SSLContext, hop: ssl.SSLContext) -> httpcore.Response:
            with httpcore.HTTPProxy(proxy.url, ssl_context=origin, proxy_ssl_context=hop) as pool:
                return pool.request("GET", tls_server.url)

        assert ask(client_tls_context, trusts_other).status == 200
        with pytest.raises(ProxyConnectError, match=r"cannot reach the proxy https://127\.") as bad:
            ask(client_tls_context, client_tls_context)
        assert isinstance(bad.value.__cause__, TLSError)
        with pytest.raises(TLSError, match=r"127\.0\.0\.1:\d+ through the proxy https://127\."):
            ask(trusts_other, trusts_other)
        proxy.handshake_errors.clear()
    tls_server.handshake_errors.clear()


def test_an_https_proxy_is_verified_by_default(
    https_proxy: ProxyServer, server: LocalServer
) -> None:
    with httpcore.HTTPProxy(https_proxy.url) as pool:
        with pytest.raises(ProxyConnectError, match="certificate verify failed"):
            pool.request("GET", server.url)
    https_proxy.handshake_errors.clear()
