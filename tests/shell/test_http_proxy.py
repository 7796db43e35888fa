"""Pools and connections behind a real HTTP proxy on loopback.

Owns: `httpcore._sync.http_proxy`, and what pool and connection do with a proxy and with a Unix
socket of a request's own. Must not know: what is written to a proxy (that is
`unit/core/test_http_proxy`).
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

import httpcore
from httpcore.exceptions import ProxyConnectError, ProxyConnectTimeout, TLSError, explain
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve


def test_http_is_forwarded_on_one_connection_for_all_origins(
    proxy: ProxyServer, server: LocalServer
) -> None:
    proxy.hosts = {"a.test": "127.0.0.1", "b.test": "127.0.0.1"}
    with httpcore.HTTPProxy(proxy.url, proxy_headers={"X-For": "the proxy"}) as pool:
        for host in ("a.test", "b.test", "a.test"):
            response = pool.request("GET", f"http://{host}:{server.port}/echo?x=1")
            assert response.status == 200
        [connection] = pool.connections
        assert connection.can_handle_request(httpcore.Origin(b"http", b"c.test", 80))
        assert not connection.can_handle_request(httpcore.Origin(b"https", b"c.test", 443))
        assert repr(connection) == (
            f"<ForwardHTTPConnection ['http://127.0.0.1:{proxy.port}', HTTP/1.1, IDLE, "
            "Request Count: 3]>"
        )
    assert proxy.accepted == 1
    assert [request.line for request in proxy.requests] == [
        b"GET http://%b:%d/echo?x=1 HTTP/1.1" % (host, server.port)
        for host in (b"a.test", b"b.test", b"a.test")
    ]
    assert all(request.header(b"X-For") == b"the proxy" for request in proxy.requests)
    assert server.requests[0].header("host") == b"a.test:%d" % server.port


def test_https_goes_through_a_tunnel_that_is_kept(
    proxy: ProxyServer, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    proxy.credentials = ("user", "pass")
    with httpcore.HTTPProxy(
        proxy.url, proxy_auth=("user", "pass"), ssl_context=client_tls_context
    ) as pool:
        for _ in range(3):
            assert pool.request("GET", tls_server.url + "/echo").status == 200
        assert pool.stats()["idle"] == 1
    assert (proxy.accepted, proxy.tunnels, tls_server.accepted) == (1, 1, 1)
    [request] = proxy.requests
    assert request.line == b"CONNECT 127.0.0.1:%d HTTP/1.1" % tls_server.port
    assert not any(request.header("proxy-authorization") for request in tls_server.requests)


def test_a_proxy_of_the_requests_own(proxy: ProxyServer, server: LocalServer) -> None:
    through = {"proxy": httpcore.Proxy(proxy.url)}
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        pool.request("GET", server.url, extensions=through)
        pool.request("GET", server.url)
        pool.request("GET", server.url, extensions=through)
        assert pool.stats()["idle"] == 2
    assert proxy.accepted == 1
    assert len(proxy.requests) == 2


def test_none_goes_direct(proxy: ProxyServer, server: LocalServer) -> None:
    with httpcore.ConnectionPool(proxy=httpcore.Proxy(proxy.url)) as pool:
        pool.request("GET", server.url, extensions={"proxy": None})
    assert proxy.accepted == 0
    assert len(server.requests) == 1


def test_other_credentials_are_another_connection(proxy: ProxyServer, server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        for user in ("a", "b", "a"):
            one = httpcore.Proxy(proxy.url, auth=(user, "pass"))
            pool.request("GET", server.url, extensions={"proxy": one})
    assert proxy.accepted == 2


def test_credentials_in_the_url_of_a_proxy(proxy: ProxyServer, server: LocalServer) -> None:
    proxy.credentials = ("us:er", "p@ss")
    url = proxy.url.replace("://", "://us%3Aer:p%40ss@")
    with httpcore.HTTPProxy(url) as pool:
        # RFC 7617 section 2: a colon in the user's name cannot be told from the separator.
        assert pool.request("GET", server.url).status == 200
        assert pool._proxy_url == httpcore.URL(proxy.url)


def test_a_407_to_a_forwarded_request_is_a_response(
    proxy: ProxyServer, server: LocalServer
) -> None:
    proxy.credentials = ("user", "pass")
    with httpcore.HTTPProxy(proxy.url) as pool:
        assert pool.request("GET", server.url).status == 407
    assert not server.requests


def test_a_407_that_is_answered(
    proxy: ProxyServer, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    proxy.credentials = ("user", "pass")
    asked: list[httpcore.ProxyError] = []

    def on_challenge(error: httpcore.ProxyError) -> Any:
        asked.append(error)
        return httpcore.Proxy(proxy.url, auth=("user", "pass")).headers

    through = httpcore.Proxy(proxy.url, on_challenge=on_challenge)
    with httpcore.ConnectionPool(proxy=through, ssl_context=client_tls_context) as pool:
        for _ in range(2):
            assert pool.request("GET", tls_server.url).status == 200
    assert [error.status for error in asked] == [407]
    assert proxy.accepted == 1


def test_a_refused_tunnel(proxy: ProxyServer, closed_port: int) -> None:
    proxy.refusal = b"HTTP/1.1 403 Forbidden\r\nX-Why: policy\r\nContent-Length: 6\r\n\r\nnot so"
    with httpcore.HTTPProxy(proxy.url, retries=3) as pool:
        with pytest.raises(httpcore.ProxyError) as caught:
            pool.request("GET", f"https://127.0.0.1:{closed_port}")
        assert pool.stats()["connections"] == 0
    error = caught.value
    assert (error.status, error.body) == (403, b"not so")
    assert (b"X-Why", b"policy") in error.headers
    assert str(error) == "403 Forbidden"
    assert explain(error) == (
        f"CONNECT 127.0.0.1:{closed_port} at the proxy {proxy.url} was refused: 403 Forbidden"
    )
    assert proxy.accepted == 1


@pytest.mark.parametrize("timeout", [None, 60])
@pytest.mark.parametrize(
    "framing",
    [
        b"",  # it ends with the connection
        b"Connection: close\r\n",
        b"Content-Length: 9\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ],
)
def test_a_refusal_whose_end_never_comes(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, framing: bytes, timeout: float | None
) -> None:
    """The guard of the test suite ends a wait for the body."""
    monkeypatch.setattr("httpcore._core.http_proxy.REFUSAL_PATIENCE", 0.05)

    def refuse(peer: Peer) -> None:
        peer.recv_request_head()
        peer.send(b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n" + framing + b"\r\n")
        peer.wait_closed()

    proxy = serve(refuse)
    with httpcore.HTTPProxy(f"http://127.0.0.1:{proxy.port}") as pool:
        with pytest.raises(httpcore.ProxyError, match=r"^407 Who\b") as caught:
            pool.request("GET", "https://origin.test", extensions={"timeout": {"connect": timeout}})
        assert pool.stats()["connections"] == 0
    assert (caught.value.status, caught.value.body) == (407, b"")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there(closed_port: int, scheme: str) -> None:
    with httpcore.HTTPProxy(f"http://127.0.0.1:{closed_port}") as pool:
        with pytest.raises(ProxyConnectError) as caught:
            pool.request("GET", f"{scheme}://origin.test")
        assert pool.stats()["connections"] == 0
    assert str(caught.value).startswith(f"cannot reach the proxy http://127.0.0.1:{closed_port}: ")
    assert isinstance(caught.value, (httpcore.ConnectError, httpcore.ProxyError))
    cause = caught.value.__cause__
    assert cause is not None and isinstance(cause.__cause__, ConnectionRefusedError)


def test_a_proxy_that_does_not_answer(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.wait_closed()

    silent = serve(handler)
    with httpcore.HTTPProxy(silent.url) as pool:
        with pytest.raises(ProxyConnectTimeout, match="timed out"):
            pool.request(
                "GET", "https://origin.test", extensions={"timeout": {"connect": 0.1, "read": 30}}
            )
        assert pool.stats()["connections"] == 0


def test_tls_that_fails_in_a_tunnel_names_the_origin(
    proxy: ProxyServer, tls_server: LocalServer
) -> None:
    with httpcore.HTTPProxy(proxy.url) as pool:
        with pytest.raises(TLSError) as caught:
            pool.request("GET", tls_server.url)
    assert str(caught.value).startswith(
        f"TLS handshake with 127.0.0.1:{tls_server.port} through the proxy {proxy.url} failed: "
    )
    tls_server.handshake_errors.clear()


def test_the_trace_of_a_tunnel(
    proxy: ProxyServer, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    events: list[str] = []

    def trace(name: str, details: dict[str, Any]) -> None:
        events.append(name)

    with httpcore.HTTPProxy(proxy.url, ssl_context=client_tls_context) as pool:
        pool.request("GET", tls_server.url, extensions={"trace": trace})
    # The same as httpcore 1.0.9 tells.
    assert events[:11] == [
        "connection.connect_tcp.started",
        "connection.connect_tcp.complete",
        "http11.send_request_headers.started",
        "http11.send_request_headers.complete",
        "http11.send_request_body.started",
        "http11.send_request_body.complete",
        "http11.receive_response_headers.started",
        "http11.receive_response_headers.complete",
        "proxy.start_tls.started",
        "proxy.start_tls.complete",
        "http11.send_request_headers.started",
    ]


def test_a_hook_that_raises_inside_the_tunnel_loses_nothing(
    proxy: ProxyServer, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    def trace(name: str, details: dict[str, Any]) -> None:
        if name == raising:
            raise RuntimeError(name)

    with httpcore.HTTPProxy(proxy.url, ssl_context=client_tls_context, max_connections=1) as pool:
        for raising in (
            "http11.send_request_headers.started",
            "http11.receive_response_headers.complete",
            "proxy.start_tls.started",
        ):
            with pytest.raises(RuntimeError, match=raising):
                pool.request("GET", tls_server.url, extensions={"trace": trace})
            assert pool.stats()["connections"] == 0
        assert pool.request("GET", tls_server.url).status == 200


def test_a_connection_by_hand(
    proxy: ProxyServer, server: LocalServer, tls_server: LocalServer, client_tls_context: Any
) -> None:
    through = httpcore.Proxy(proxy.url)
    for one, origin in ((server, b"http"), (tls_server, b"https")):
        with httpcore.HTTPConnection(
            httpcore.Origin(origin, b"127.0.0.1", one.port),
            ssl_context=client_tls_context,
            proxy=through,
        ) as connection:
            for _ in range(2):
                assert connection.request("GET", one.url).status == 200
    assert [request.line.split()[0] for request in proxy.requests] == [b"GET", b"GET", b"CONNECT"]
    assert proxy.accepted == 2


def test_a_connection_that_the_pool_makes_goes_through_its_proxy(
    proxy: ProxyServer, server: LocalServer
) -> None:
    origin = httpcore.Origin(b"http", b"127.0.0.1", server.port)
    with httpcore.HTTPProxy(proxy.url) as pool, pool.create_connection(origin) as connection:
        assert connection.handle_request(
            httpcore.Request("GET", server.url, headers={"Host": "h"})
        ).read()
    assert len(proxy.requests) == 1


def test_a_local_address_holds_behind_a_proxy(proxy: ProxyServer, server: LocalServer) -> None:
    with httpcore.HTTPProxy(proxy.url, local_address="127.0.0.2") as pool:
        response = pool.request("GET", server.url)
        network_stream = response.extensions["network_stream"]
        assert network_stream.get_extra_info("client_addr")[0] == "127.0.0.2"


# --- a Unix socket of the request's own ---


def test_a_unix_socket_for_one_request(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "socket"

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, b"unix")

    with ScriptedServer(handler, uds=path) as local:
        with httpcore.ConnectionPool(proxy=httpcore.Proxy("http://nowhere.test")) as pool:
            for form in (str(path), path):
                response = pool.request("GET", "http://localhost/", extensions={"uds": form})
                assert response.content == b"unix"
            direct = {"proxy": None, "uds": None}
            assert pool.request("GET", server.url, extensions=direct).content != b"unix"
            assert pool.stats()["idle"] == 2
        assert local.accepted == 1
