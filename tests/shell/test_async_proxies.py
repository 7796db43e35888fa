"""Asynchronous pools behind proxies, and Unix sockets.

Owns: `httpcore._async.http_proxy`, `socks_proxy`, and what pool and connection do with a proxy and
a Unix socket. Must not know: what is written to a proxy (`_core.http_proxy`, `_core.socks`).
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

import httpcore
from httpcore.exceptions import Aborted, ProxyConnectError
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import LocalServer, Peer, Serve
from tests.support.suspending import Suspending
from tests.support.tasks import Tasks, in_thread

pytestmark = pytest.mark.anyio


async def test_http_is_forwarded_on_one_connection_for_all_origins(
    proxy: ProxyServer, server: LocalServer
) -> None:
    proxy.hosts = {"a.test": "127.0.0.1", "b.test": "127.0.0.1"}
    async with httpcore.AsyncHTTPProxy(proxy.url, proxy_headers={"X-For": "the proxy"}) as pool:
        for host in ("a.test", "b.test", "a.test"):
            response = await pool.request("GET", f"http://{host}:{server.port}/echo?x=1")
            assert response.status == 200
        [connection] = pool.connections
        assert connection.can_handle_request(httpcore.Origin(b"http", b"c.test", 80))
    assert proxy.accepted == 1
    assert all(request.header(b"X-For") == b"the proxy" for request in proxy.requests)


async def test_https_goes_through_a_tunnel_that_is_kept(
    proxy: ProxyServer, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    proxy.credentials = ("user", "pass")
    async with httpcore.AsyncHTTPProxy(
        proxy.url, proxy_auth=("user", "pass"), ssl_context=client_tls_context
    ) as pool:
        for _ in range(3):
            assert (await pool.request("GET", tls_server.url + "/echo")).status == 200
        assert pool.stats()["idle"] == 1
    assert (proxy.accepted, proxy.tunnels, tls_server.accepted) == (1, 1, 1)


async def test_a_tunnel_that_is_refused(proxy: ProxyServer, tls_server: LocalServer) -> None:
    proxy.credentials = ("user", "pass")
    async with httpcore.AsyncHTTPProxy(proxy.url) as pool:
        with pytest.raises(httpcore.ProxyError, match="407") as caught:
            await pool.request("GET", tls_server.url)
        assert caught.value.status == 407  # type: ignore[attr-defined]
        assert pool.connections == []


async def test_a_challenge_is_answered(
    proxy: ProxyServer, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    proxy.credentials = ("user", "pass")
    right = httpcore.Proxy(proxy.url, ("user", "pass")).headers
    through = httpcore.Proxy(proxy.url, on_challenge=lambda error: right)
    async with httpcore.AsyncConnectionPool(client_tls_context, through) as pool:
        assert (await pool.request("GET", tls_server.url)).status == 200


async def test_a_proxy_of_the_requests_own(proxy: ProxyServer, server: LocalServer) -> None:
    through = {"proxy": httpcore.Proxy(proxy.url)}
    async with httpcore.AsyncConnectionPool() as pool:
        for _ in range(2):
            await pool.request("GET", server.url)
            await pool.request("GET", server.url, extensions=through)
        assert pool.stats()["idle"] == 2
    assert (proxy.accepted, len(proxy.requests)) == (1, 2)


async def test_a_proxy_that_is_not_there(closed_port: int) -> None:
    async with httpcore.AsyncHTTPProxy(f"http://127.0.0.1:{closed_port}") as pool:
        for scheme in ("http", "https"):
            with pytest.raises(ProxyConnectError, match="cannot reach the proxy"):
                await pool.request("GET", f"{scheme}://name.test/")


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "socks4a"])
async def test_socks(
    scheme: str, socks: SocksServer, origins: dict[str, LocalServer], client_tls_context: Any
) -> None:
    url = f"{scheme}://127.0.0.1:{socks.port}"
    async with httpcore.AsyncSOCKSProxy(url, ssl_context=client_tls_context) as pool:
        for origin in ("http", "https"):
            at = origins[origin].url.replace("127.0.0.1", "localhost")
            assert (await pool.request("GET", at)).status == 200


async def test_socks_with_a_password(socks: SocksServer, server: LocalServer) -> None:
    socks.credentials = ("user", "pass")
    url = f"socks5://127.0.0.1:{socks.port}"
    async with httpcore.AsyncSOCKSProxy(url, proxy_auth=("user", "pass")) as pool:
        assert (await pool.request("GET", server.url)).status == 200
    async with httpcore.AsyncSOCKSProxy(url) as pool:
        with pytest.raises(httpcore.ProxyError):
            await pool.request("GET", server.url)
    socks.errors.clear()


async def test_a_url_that_is_no_socks_proxy() -> None:
    with pytest.raises(httpcore.UnsupportedProtocol, match="is no SOCKS proxy"):
        httpcore.AsyncSOCKSProxy("http://127.0.0.1:1")


async def test_row_58_at_each_await_of_a_tunnel(
    tasks: Tasks, proxy: ProxyServer, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    """Row 58: no connection is left in the pool, and no descriptor."""
    async with httpcore.AsyncHTTPProxy(
        proxy.url, ssl_context=client_tls_context, max_connections=1
    ) as pool:
        for number in range(1000):
            work = Suspending(pool.request("GET", tls_server.url), number)
            task = tasks.begin(awaited(work))
            work.act = task.cancel
            await task.end()
            assert pool.stats()["dialing"] == pool.stats()["active"] == 0
            pool.close_idle()
            if number >= work.count:
                break
            assert task.cancelled
        assert number > 2
        assert (await pool.request("GET", tls_server.url)).status == 200
    tls_server.errors.clear()
    proxy.errors.clear()


async def awaited(work: Suspending[Any]) -> object:
    return await work


async def test_a_cancel_token_while_the_proxy_is_silent(tasks: Tasks, serve: Serve) -> None:
    """The request that waits for the answer to its CONNECT is ended by another thread."""
    heads: list[bytes | None] = []

    def silent(peer: Peer) -> None:
        heads.append(peer.recv_head())
        peer.wait_closed()

    server = serve(silent)
    async with httpcore.AsyncHTTPProxy(server.url) as pool:
        token = httpcore.CancelToken()
        request = tasks.begin(
            pool.request("GET", "https://name.test/", extensions={"cancel": token})
        )
        assert await in_thread(server.wait_for, lambda: heads)
        await in_thread(token.cancel)
        with pytest.raises(Aborted):
            await request
        assert pool.connections == []


# --- Unix sockets ---


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with LocalServer(uds=path) as server:
        async with httpcore.AsyncConnectionPool(uds=str(path)) as pool:
            for _ in range(2):
                assert (await pool.request("GET", "http://name.test/")).status == 200
            assert pool.stats()["totals"]["opened"] == 1
        async with httpcore.AsyncConnectionPool() as pool:
            response = await pool.request("GET", "http://name.test/", extensions={"uds": path})
            assert response.status == 200
        assert server.accepted == 2


async def test_a_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    async with httpcore.AsyncConnectionPool(uds=str(tmp_path / "none")) as pool:
        with pytest.raises(httpcore.ConnectError, match=r"connect to unix:.* failed"):
            await pool.request("GET", "http://name.test/")
    for path in ("a\0b", "x" * 200):
        async with httpcore.AsyncConnectionPool(uds=path) as pool:
            with pytest.raises(httpcore.ConnectError, match="failed"):
                await pool.request("GET", "http://name.test/")
        assert pool.connections == []
