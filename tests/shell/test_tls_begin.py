"""TLS with contexts and sockets of other makes.

Owns: `httpcore._backends.tls_begin`, and what a stream does with sockets that are not the ssl
module's or the socket module's. Must not know: sessions, ALPN, requests.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from typing import Any

import pytest
import trustme

import httpcore
from httpcore._backends.sync import SyncStream
from tests.support import tls
from tests.support.clients import trusting
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import LocalServer, Peer, Serve


class Made:
    """A context of another make, which does its work with one of ours."""

    check_hostname = True
    verify_mode = ssl.CERT_REQUIRED

    def __init__(self, ca: trustme.CA) -> None:
        self.real = trusting(ca)


class Narrow(Made):
    """Takes what urllib3 passes, and nothing else."""

    def wrap_socket(self, sock: Any, server_hostname: Any = None) -> Any:
        return self.real.wrap_socket(sock, server_hostname=server_hostname)


class HandsOn(Made):
    """Says that it takes anything, and does not."""

    def wrap_socket(self, *args: Any, **kw: Any) -> Any:
        return Narrow.wrap_socket(self, *args, **kw)  # type: ignore[arg-type]


class Takes(Made):
    """Takes one of the two arguments."""

    def wrap_socket(
        self, sock: Any, server_hostname: Any = None, do_handshake_on_connect: bool = True
    ) -> Any:
        return self.real.wrap_socket(
            sock,
            server_hostname=server_hostname,
            do_handshake_on_connect=do_handshake_on_connect,
        )


class Least:
    """A socket that can do what urllib3 asks of one, and nothing else."""

    def __init__(self, sock: Any) -> None:
        self.real = sock

    def recv(self, size: int) -> bytes:
        return self.real.recv(size)  # type: ignore[no-any-return]

    def recv_into(self, buffer: Any) -> int:
        return self.real.recv_into(buffer)  # type: ignore[no-any-return]

    def sendall(self, data: bytes) -> None:
        self.real.sendall(data)

    def settimeout(self, timeout: float | None) -> None:
        self.real.settimeout(timeout)

    def close(self) -> None:
        self.real.close()


class Foreign(Made):
    """As pyOpenSSL's: the handshake is done at once, and what comes out is no socket."""

    def wrap_socket(self, sock: Any, server_hostname: Any = None) -> Any:
        twin = socket.socket(fileno=os.dup(sock.fileno()))
        twin.settimeout(sock.gettimeout())
        return Least(self.real.wrap_socket(twin, server_hostname=server_hostname))


def replaced(ca: trustme.CA) -> ssl.SSLContext:
    context = trusting(ca)
    wrap = context.wrap_socket
    context.wrap_socket = lambda sock, server_hostname=None: wrap(  # type: ignore[method-assign]
        sock, server_hostname=server_hostname
    )
    return context


def without_signature(ca: trustme.CA) -> Any:
    class Hidden(Narrow):
        __wrap = Narrow.wrap_socket

        @property
        def wrap_socket(self) -> Any:  # type: ignore[override]
            function = self._Hidden__wrap  # type: ignore[attr-defined]

            class Call:
                __signature__ = "none"

                def __call__(self, sock: Any, server_hostname: Any = None) -> Any:
                    return function(sock, server_hostname)

            return Call()

    return Hidden(ca)


MAKES = [Narrow, HandsOn, Takes, Foreign, replaced, without_signature]


@pytest.fixture(params=MAKES, ids=lambda make: make.__name__)
def context(request: Any, ca: trustme.CA) -> Any:
    return request.param(ca)


def test_a_context_of_another_make(context: Any, tls_server: LocalServer) -> None:
    with httpcore.ConnectionPool(ssl_context=context) as pool:
        for _ in range(2):  # the second one over the same connection
            assert pool.request("GET", f"{tls_server.url}/bytes/100000").status == 200
        body = os.urandom(2_000_000)
        sent = pool.request("POST", f"{tls_server.url}/upload", content=iter([body]))
        assert sent.status == 200
    assert tls_server.accepted == 1


def test_it_verifies(context: Any, serve: Serve) -> None:
    server = serve(lambda peer: None, tls=tls.server_context(trustme.CA()))
    with httpcore.ConnectionPool(ssl_context=context) as pool:
        with pytest.raises(httpcore.ConnectError, match="certificate verify failed"):
            pool.request("GET", server.url)
    server.handshake_errors.clear()


def test_its_handshake_times_out(context: Any, serve: Serve) -> None:
    server = serve(lambda peer: peer.wait_closed())
    with httpcore.ConnectionPool(ssl_context=context, timeout={"connect": 0.1}) as pool:
        with pytest.raises(httpcore.ConnectTimeout, match="timed out: not done within"):
            pool.request("GET", server.url.replace("http:", "https:"))


def test_its_handshake_is_ended_by_another_thread(context: Any, serve: Serve) -> None:
    come = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv(1)  # of the ClientHello: the handshake is under way
        come.set()
        peer.wait_closed()

    server = serve(handler)
    pool = httpcore.ConnectionPool(ssl_context=context)
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            pool.request("GET", server.url.replace("http:", "https:"))
        except httpcore.NetworkError as exc:
            failures.append(exc)

    thread = threading.Thread(target=ask)
    thread.start()
    assert come.wait(10)
    pool.close()
    thread.join(10)
    assert not thread.is_alive()
    assert failures


def test_its_response_is_ended_by_another_thread(context: Any, serve: Serve, ca: Any) -> None:
    come = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_request()
        come.set()
        peer.wait_closed()

    server = serve(handler, tls=tls.server_context(ca))
    pool = httpcore.ConnectionPool(ssl_context=context)
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            pool.request("GET", server.url)
        except httpcore.NetworkError as exc:
            failures.append(exc)

    thread = threading.Thread(target=ask)
    thread.start()
    assert come.wait(10)
    pool.close()
    thread.join(10)
    assert not thread.is_alive()
    assert failures


def test_a_cut_body_is_noticed(context: Any, serve: Serve, ca: trustme.CA) -> None:
    """Sockets of the ssl module hide a missing close_notify unless they are asked not to."""

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\ncut")
        peer.close(notify=False)

    if isinstance(context, Foreign):
        pytest.skip("its sockets are not the ssl module's")
    server = serve(handler, tls=tls.server_context(ca))
    with httpcore.ConnectionPool(ssl_context=context) as pool:
        with pool.stream("GET", server.url) as response:
            assert response.read() == b"cut"
            assert response.stream.unclean_tls_eof  # type: ignore[union-attr]


def test_other_makes_cannot_go_inside_another_tls(ca: trustme.CA, tls_server: LocalServer) -> None:
    with ProxyServer(tls=tls.server_context(ca)) as proxy:
        for proxy_context in (trusting(ca), Foreign(ca)):
            with httpcore.HTTPProxy(
                proxy.url,
                ssl_context=Narrow(ca),  # type: ignore[arg-type]
                proxy_ssl_context=proxy_context,  # type: ignore[arg-type]
            ) as pool:
                with pytest.raises(
                    httpcore.ConnectError, match="Narrow cannot be used inside another TLS"
                ):
                    pool.request("GET", tls_server.url)


def test_a_type_error_of_the_context_is_its_own(tls_server: LocalServer, ca: trustme.CA) -> None:
    class Broken(Made):
        def wrap_socket(self, *args: Any, **kw: Any) -> Any:
            raise TypeError("no such thing")

    with httpcore.ConnectionPool(ssl_context=Broken(ca)) as pool:  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="no such thing"):
            pool.request("GET", tls_server.url)


# --- sockets of other makes ---


@pytest.mark.parametrize("kind", ["function", "subclass"])
@pytest.mark.parametrize("secure", [True, False])
def test_another_thing_in_place_of_the_socket_class(
    tls_server: LocalServer,
    server: LocalServer,
    ca: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    secure: bool,
    kind: str,
) -> None:
    """As programs do to bind all their connections to one address, and PySocks to redirect them."""
    made: list[socket.socket] = []

    class Counted(socket.socket):
        def connect(self, *args: Any) -> None:
            made.append(self)
            super().connect(*args)

    def bound(*args: Any, **kw: Any) -> socket.socket:
        return Counted(*args, **kw)

    url = tls_server.url if secure else server.url
    with httpcore.ConnectionPool(ssl_context=trusting(ca)) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", bound if kind == "function" else Counted)
            assert pool.request("GET", url).status == 200
    assert made


# In a process of its own: the servers' sockets would be redirected, too.
PYSOCKS = """
import socket, sys
import httpcore, socks
socks.set_default_proxy(socks.SOCKS5, "127.0.0.1", int(sys.argv[1]))
socket.socket = socks.socksocket
with httpcore.ConnectionPool() as pool:
    for timeout in ({}, {"connect": 20.0, "read": 20.0}):
        answer = pool.request("GET", sys.argv[2], extensions={"timeout": timeout})
        print(answer.status, len(answer.content), len(pool.connections))
"""


@pytest.mark.parametrize("secure", [True, False])
def test_pysocks_in_place_of_the_socket_class(
    tls_server: LocalServer, server: LocalServer, ca_bundle: str, secure: bool
) -> None:
    pytest.importorskip("socks")
    url = f"{(tls_server if secure else server).url}/bytes/100000"
    with SocksServer() as proxy:
        done = subprocess.run(
            [sys.executable, "-c", PYSOCKS, str(proxy.port), url],
            env={**os.environ, "SSL_CERT_FILE": ca_bundle},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.stdout, done.stderr) == ("200 100000 1\n" * 2, "")
        assert len(proxy.requests) == 1


def test_a_function_in_place_of_the_socket_class_and_a_close(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    come = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_request()
        come.set()
        peer.wait_closed()

    server = serve(handler)
    real = socket.socket
    pool = httpcore.ConnectionPool()

    def close() -> None:
        come.wait(10)
        pool.close()

    thread = threading.Thread(target=close)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", lambda *args, **kw: real(*args, **kw))
        thread.start()
        with pytest.raises(httpcore.NetworkError):
            pool.request("GET", server.url)
    thread.join(10)


class Mock:
    """A socket that answers everything with None, as those of mocks do; its descriptor is a
    pipe's."""

    __slots__ = ("read_end", "said", "write_end")

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.said = b""

    def fileno(self) -> int:
        return self.read_end

    def send(self, data: bytes) -> int:
        self.said += bytes(data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self.write_end)


def test_nothing_optional_fails_with_a_mock() -> None:
    sock: Any = Mock()
    stream = SyncStream(sock, "a mock")
    assert stream.write_until_readable(memoryview(b"body"), 5.0, None) == 4
    assert stream.write_until_readable(memoryview(b" and"), None, 1e12) == 4
    assert stream.write_until_readable(memoryview(b" more"), 5.0, 1e12) == 5
    assert sock.said == b"body and more"
    assert not stream.sends_files
    assert stream.get_extra_info("unacknowledged") is None
    assert stream.get_extra_info("is_readable") is False
    stream.keep_session()
    stream.abort()
    stream.close()


class Bare:
    """A socket that has no descriptor, no family and no address."""

    gettimeout = recv = send = settimeout = staticmethod(lambda *args: None)


def test_nothing_optional_fails_with_a_bare_socket() -> None:
    sock: Any = Bare()
    stream = SyncStream(sock, "a bare socket")
    for info in ("unacknowledged", "client_addr", "server_addr", "ssl_object"):
        assert stream.get_extra_info(info) is None
    assert stream.get_extra_info("is_readable") is True  # nobody can say that it is alive
    assert not stream.sends_files
    stream.abort()


def test_pyopenssl(tls_server: LocalServer, ca: trustme.CA) -> None:
    pyopenssl = pytest.importorskip("urllib3.contrib.pyopenssl")
    context = pyopenssl.PyOpenSSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    with ca.cert_pem.tempfile() as path:
        context.load_verify_locations(path)
    with httpcore.ConnectionPool(ssl_context=context) as pool:
        for _ in range(2):
            assert pool.request("GET", f"{tls_server.url}/bytes/100000").status == 200
        body = os.urandom(2_000_000)
        assert pool.request("POST", f"{tls_server.url}/upload", content=iter([body])).status == 200
    assert tls_server.accepted == 1


def test_waiting_for_a_socket_where_the_class_is_a_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """HTTP/2 over a stream that can only block waits on the socket below it, if there is one."""
    from httpcore._backends.blocking import BlockingAdapter

    class Below(httpcore.NetworkStream):
        def __init__(self, sock: Any) -> None:
            self.sock = sock

        def get_extra_info(self, info: str) -> Any:
            return self.sock if info == "socket" else None

    real = socket.socket
    near, far = socket.socketpair()
    with near, far, monkeypatch.context() as patch:
        patch.setattr(socket, "socket", lambda *args, **kw: real(*args, **kw))
        waited = BlockingAdapter(Below(near))
        far.send(b"x")
        assert waited.wait(False, 10)
        BlockingAdapter(Below(Bare()))  # a mock's: nothing to wait on, and nothing fails
