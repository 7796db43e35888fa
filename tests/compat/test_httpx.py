"""HTTPX, unmodified, on top: what a user of its clients and of its command sees.

Owns: that HTTP/1.1, HTTP/2, proxies, SOCKS, Unix sockets, timeouts and the command's trace work
through it, in both halves. Must not know: how; the tests of the shells say that.
"""

from __future__ import annotations

import re
import ssl
import sys
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from click.testing import CliRunner

from tests.support import PATIENCE
from tests.support.http2 import ServeH2
from tests.support.programs import Program
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import LocalServer, pattern
from tests.support.tasks import Tasks, gather, until

on_each_loop = pytest.mark.anyio


def client_of(**options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=PATIENCE, **options)


@pytest.fixture
def socksio(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPX looks for this package before it asks httpcore for SOCKS; httpcore needs none."""
    monkeypatch.setitem(sys.modules, "socksio", types.ModuleType("socksio"))


async def parts_of(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


# --- AsyncClient ---


@on_each_loop
async def test_http1(server: LocalServer, closed_port: int) -> None:
    async with client_of() as client:
        response = await client.get(server.url + "/bytes/100000")
        assert (response.http_version, response.content) == ("HTTP/1.1", pattern(100_000))
        content = parts_of(pattern(300_000), 7000)
        told = (await client.post(server.url + "/upload", content=content)).json()
        assert (told["length"], told["framing"]) == (300_000, "chunked")
        async with client.stream("GET", server.url + "/drip/30") as streamed:
            assert b"".join([part async for part in streamed.aiter_raw()]) == pattern(30)
        assert server.accepted == 1
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(server.url + "/truncated/100")
        with pytest.raises(httpx.ReadTimeout):
            await client.get(server.url + "/hang", timeout=httpx.Timeout(PATIENCE, read=0.01))
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{closed_port}")
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("invalid://example.org")


@on_each_loop
async def test_requests_at_once_wait_for_one_connection(server: LocalServer) -> None:
    async with client_of(limits=httpx.Limits(max_connections=1)) as client:
        found = await gather(*(client.get(f"{server.url}/bytes/{size}") for size in range(20)))
        assert [len(response.content) for response in found] == list(range(20))
    assert server.accepted == 1


@on_each_loop
async def test_a_cancelled_request_gives_its_place_back(tasks: Tasks, server: LocalServer) -> None:
    async with client_of(limits=httpx.Limits(max_connections=1)) as client:
        task = tasks.begin(client.get(server.url + "/hang"))
        await until(lambda: server.requests)
        task.cancel()
        await task.end()
        assert task.cancelled
        assert (await client.get(server.url)).status_code == 200


@on_each_loop
async def test_http2(serve_h2: ServeH2, client_tls_context: ssl.SSLContext) -> None:
    server = serve_h2(secure=True)
    async with client_of(http2=True, verify=client_tls_context) as client:
        paths = [f"{server.url}/bytes/{size}" for size in range(10)]
        for response in await gather(*map(client.get, paths)):
            assert response.http_version == "HTTP/2"
        content = parts_of(pattern(300_000), 7000)
        told = (await client.post(server.url + "/upload", content=content)).json()
        assert told["length"] == 300_000
    assert server.accepted == 1


@on_each_loop
async def test_hypercorn(hypercorn: Program, client_tls_context: ssl.SSLContext) -> None:
    url = f"https://127.0.0.1:{hypercorn.ports[0]}"
    async with client_of(http2=True, verify=client_tls_context) as client:
        for response in await gather(*(client.get(url) for _ in range(3))):
            assert response.http_version == "HTTP/2"


@on_each_loop
async def test_a_proxy(
    proxy: ProxyServer, origins: dict[str, LocalServer], client_tls_context: ssl.SSLContext
) -> None:
    proxy.credentials = ("user", "secret")
    url = f"http://user:secret@127.0.0.1:{proxy.port}"
    async with client_of(proxy=url, verify=client_tls_context) as client:
        for origin in origins.values():
            assert (await client.get(origin.url)).status_code == 200
    assert (len(proxy.requests), proxy.tunnels) == (2, 1)
    async with client_of(proxy=f"http://127.0.0.1:{proxy.port}") as client:
        assert (await client.get(origins["http"].url)).status_code == 407
        with pytest.raises(httpx.ProxyError, match="407"):
            await client.get(origins["https"].url)


@on_each_loop
async def test_a_proxy_behind_tls(
    server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext, tls_server: LocalServer
) -> None:
    with ProxyServer(tls=server_tls_context) as proxy:
        through = httpx.Proxy(f"https://127.0.0.1:{proxy.port}", ssl_context=client_tls_context)
        async with client_of(proxy=through, verify=client_tls_context) as client:
            assert (await client.get(tls_server.url)).status_code == 200
        assert proxy.tunnels == 1


@on_each_loop
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_socks(
    socksio: None,
    socks: SocksServer,
    origins: dict[str, LocalServer],
    client_tls_context: ssl.SSLContext,
    scheme: str,
) -> None:
    socks.credentials = ("user", "secret")
    url = f"{scheme}://user:secret@{socks.address}"
    async with client_of(proxy=url, verify=client_tls_context) as client:
        for origin in origins.values():
            assert (await client.get(origin.url)).status_code == 200
    assert len(socks.requests) == 2


@on_each_loop
async def test_a_unix_socket(tmp_path: Path) -> None:
    with LocalServer(uds=tmp_path / "socket") as server:
        transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "socket"))
        async with client_of(transport=transport) as client:
            assert (await client.get("http://name.test/")).status_code == 200
        assert server.requests[0].header("host") == b"name.test"


@on_each_loop
async def test_an_asynchronous_hook(server: LocalServer) -> None:
    seen = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        await anyio.sleep(0)
        seen.append(name)

    async with client_of() as client:
        await client.get(server.url, extensions={"trace": trace})
    assert seen[:2] == ["connection.connect_tcp.started", "connection.connect_tcp.complete"]
    assert seen[-1] == "http11.response_closed.complete"


# --- Client ---


def test_http2_in_a_thread(serve_h2: ServeH2, client_tls_context: ssl.SSLContext) -> None:
    server = serve_h2(secure=True)
    with httpx.Client(http2=True, verify=client_tls_context, trust_env=False) as client:
        response = client.get(server.url + "/bytes/1000")
        assert (response.http_version, response.content) == ("HTTP/2", pattern(1000))


def test_socks_and_a_unix_socket(
    socksio: None, socks: SocksServer, server: LocalServer, tmp_path: Path
) -> None:
    with httpx.Client(proxy=f"socks5://{socks.address}", trust_env=False) as client:
        assert client.get(server.url).status_code == 200
    assert len(socks.requests) == 1
    with LocalServer(uds=tmp_path / "socket"):
        transport = httpx.HTTPTransport(uds=str(tmp_path / "socket"))
        with httpx.Client(transport=transport, trust_env=False) as client:
            assert client.get("http://name.test/").status_code == 200


# --- the command ---


def run(*arguments: str) -> list[str]:
    """The lines that ``httpx`` prints."""
    done = CliRunner().invoke(httpx.main, arguments)
    assert done.exit_code == 0, done.output
    return [line.rstrip() for line in done.output.splitlines()]


def test_the_trace_of_the_command(server: LocalServer) -> None:
    lines = run("-v", f"{server.url}/echo")
    assert lines[:3] == [
        "* Connecting to '127.0.0.1'",
        f"* Connected to '127.0.0.1' on port {server.port}",
        "GET /echo HTTP/1.1",
    ]
    assert f"Host: 127.0.0.1:{server.port}" in lines
    assert "HTTP/1.1 200 OK" in lines


@pytest.fixture
def trusted(ca_bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command trusts the test CA. (Its ``--no-verify`` does nothing with click 8.5.)"""
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)


def test_the_trace_of_the_command_over_tls(trusted: None, tls_server: LocalServer) -> None:
    lines = run("-v", tls_server.url)
    established = re.compile(r"\* SSL established using 'TLSv1\.\d' / '\w+'").fullmatch
    assert any(map(established, lines))
    assert "* Selected ALPN protocol: None" in lines


def test_the_trace_of_the_command_over_http2(trusted: None, serve_h2: ServeH2) -> None:
    lines = run("-v", "--http2", serve_h2(secure=True).url)
    assert "* Selected ALPN protocol: 'h2'" in lines
    assert "GET / HTTP/2" in lines
    assert "HTTP/2 200 OK" in lines


def test_the_trace_of_the_command_through_a_proxy(server: LocalServer, proxy: ProxyServer) -> None:
    lines = run("-v", "--proxy", proxy.url, server.url)
    assert f"* Connected to '127.0.0.1' on port {proxy.port}" in lines
    assert f"GET {server.url}/ HTTP/1.1" in lines
    assert "HTTP/1.1 200 OK" in lines
