"""TLS inside TLS: as a stream on a scripted one and on sockets, and through an https proxy.

Owns: `httpcore._backends.tls_in_tls`. Must not know: what is said to a proxy.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import trustme

import httpcore
from httpcore._backends.tls_in_tls import TLSInTLSStream
from httpcore.exceptions import ProxyConnectError, TLSError
from tests.support import tls
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, ScriptedServer, pattern

Serve = Callable[..., ScriptedServer]
LATE = 20.0  # seconds; a limit that is never reached


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
        outer = httpcore.SyncBackend().connect_tcp(https_proxy.host, https_proxy.port, LATE)
        outer = outer.start_tls(client_tls_context, "localhost", LATE)
        outer.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % server.port, LATE)
        assert outer.read(4096, LATE).startswith(b"HTTP/1.1 200")
        inner = outer.start_tls(client_tls_context, name, LATE)
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
        stream.write(pattern(size), LATE)
        whole = bytearray(size)
        view = memoryview(whole)
        got = stream.readinto(view, LATE)
        while got < size:
            data = stream.read(65536, LATE)
            whole[got : got + len(data)] = data
            got += len(data)
        assert bytes(whole) == pattern(size)
        assert stream.read(1, LATE) == b""
        assert stream.readinto(view, LATE) == 0
        assert not stream.unclean_eof


def test_an_end_without_close_notify_is_noted(
    serve: Serve, server_tls_context: ssl.SSLContext, open_stream: Any
) -> None:
    def handler(peer: Peer) -> None:
        peer.send(b"body")
        peer.close(notify=False)

    with closing(open_stream(serve(handler, tls=server_tls_context))) as stream:
        assert stream.read(100, LATE) == b"body"
        assert stream.read(100, LATE) == b""
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
        stream.write(b"go", LATE)
        assert stream.read(1, LATE) == b"f"
        assert stream.get_extra_info("is_readable")  # in memory already
        assert stream.read(100, LATE) == b"irst"
        assert not stream.get_extra_info("is_readable")
        stream.write(b"go", LATE)
        assert stream.read(100, LATE) == b"second"
        assert stream.read(1, LATE) == b""
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
        stream.write(b"go", LATE)
        assert stream.read(100, LATE) == b"late"


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
        TLSInTLSStream(below, client_tls_context, "localhost", LATE)
    assert below.closed


def test_a_handshake_that_is_interrupted(client_tls_context: ssl.SSLContext) -> None:
    class Interrupted(Below):
        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            raise KeyboardInterrupt

    below = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        TLSInTLSStream(below, client_tls_context, "localhost", LATE)
    assert below.closed


def spoil(stream: TLSInTLSStream, failure: Exception) -> None:
    def fail(*_: Any) -> Any:
        raise failure

    class Failing:
        read = write = staticmethod(fail)

        def pending(self) -> int:
            return 0

    stream._object = Failing()  # type: ignore[assignment]


def test_failures_after_the_handshake(
    serve: Serve, server_tls_context: ssl.SSLContext, open_stream: Any
) -> None:
    server = serve(lambda peer: peer.wait_closed(), tls=server_tls_context)
    with closing(open_stream(server)) as stream:
        spoil(stream, ssl.SSLError(1, "bad record mac"))
        with pytest.raises(httpcore.ReadError, match=r"read from 127.* failed: .*bad record mac"):
            stream.read(1, LATE)
        with pytest.raises(httpcore.WriteError, match=r"write to 127.* failed: .*bad record mac"):
            stream.write(b"x", LATE)
        spoil(stream, httpcore.WriteError("gone"))
        with pytest.raises(httpcore.WriteError) as caught:
            stream.write(b"x", LATE)
        assert caught.value.phase == "maybe_processed"  # type: ignore[attr-defined]
        stream._incoming.write(b"x")
        spoil(stream, ssl.SSLError(1, "bad record mac"))
        assert stream.get_extra_info("is_readable")  # in no state to be used again


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
