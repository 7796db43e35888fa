"""Connecting here but naming it there: `resolve` and `resolver` of a pool.

Owns: row 41, in the core. Must not know: how a look-up is bounded; `test_tcp` does.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import pytest

import httpcore
from httpcore._settings import read_resolve
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import LocalServer, closed_port


def seen_names(context: ssl.SSLContext, names: list[str | None]) -> None:
    """Note in `names` which SNI each client of a server with this context sends."""
    context.sni_callback = lambda sock, name, _: names.append(name)


@pytest.fixture
def named_server(server_tls_context: ssl.SSLContext) -> Iterable[tuple[LocalServer, list[Any]]]:
    names: list[Any] = []
    seen_names(server_tls_context, names)
    with LocalServer(tls=server_tls_context) as server:
        yield server, names
    server_tls_context.sni_callback = None


def test_the_name_stays_everywhere_but_in_the_address(
    named_server: tuple[LocalServer, list[Any]], client_tls_context: ssl.SSLContext
) -> None:
    """Row 41: `resolve={"h:443": "127.0.0.1"}`: "right SNI, cert check, Host and pool key"."""
    server, names = named_server
    host = f"example.test:{server.port}"
    with httpcore.ConnectionPool(
        ssl_context=client_tls_context, resolve={host: "127.0.0.1"}
    ) as pool:
        assert pool.request("GET", f"https://{host}/").status == 200
        assert pool.request("GET", f"https://EXAMPLE.test:{server.port}/").status == 200
        [connection] = pool.connections
        assert f"'https://{host}'" in repr(connection)
    assert names == ["example.test"]
    assert [request.header("host") for request in server.requests] == [host.encode()] * 2
    assert server.accepted == 1


def test_the_certificate_is_checked_against_the_name(
    tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    host = f"elsewhere.invalid:{tls_server.port}"
    with httpcore.ConnectionPool(
        ssl_context=client_tls_context, resolve={host: "127.0.0.1"}
    ) as pool:
        with pytest.raises(httpcore.ConnectError, match=f"TLS handshake with {host} failed"):
            pool.request("GET", f"https://{host}/")
    tls_server.handshake_errors.clear()


def test_through_a_tunnel_and_through_socks(
    proxy: ProxyServer, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    """Row 41: "also through a tunnel"."""
    host = f"example.test:{tls_server.port}"
    with SocksServer() as socks:
        for url in (proxy.url, f"socks5h://{socks.address}", f"socks5://{socks.address}"):
            with httpcore.ConnectionPool(
                ssl_context=client_tls_context,
                proxy=httpcore.Proxy(url),
                resolve={host: "127.0.0.1"},
            ) as pool:
                assert pool.request("GET", f"https://{host}/").status == 200
        assert [request.host for request in socks.requests] == ["127.0.0.1"] * 2
    assert proxy.requests[0].line == b"CONNECT 127.0.0.1:%d HTTP/1.1" % tls_server.port


def test_a_resolver(
    named_server: tuple[LocalServer, list[Any]], client_tls_context: ssl.SSLContext
) -> None:
    """Row 41: "or a resolver callable ...; resolver gets the deadline"."""
    server, names = named_server
    asked: list[tuple[str, int, float | None]] = []

    def resolver(host: str, port: int, timeout: float | None) -> list[str]:
        asked.append((host, port, timeout))
        return ["127.0.0.1"]

    with httpcore.ConnectionPool(ssl_context=client_tls_context, resolver=resolver) as pool:
        for _ in range(2):
            pool.request(
                "GET",
                f"https://example.test:{server.port}/",
                extensions={"timeout": {"connect": 7.0}},
            )
    assert asked == [("example.test", server.port, 7.0)]
    assert names == ["example.test"]


def test_other_hosts_and_ports_are_looked_up(server: LocalServer) -> None:
    elsewhere = {f"127.0.0.1:{closed_port()}": "192.0.2.1", f"other.test:{server.port}": "::1"}
    with httpcore.ConnectionPool(resolve=elsewhere) as pool:
        assert pool.request("GET", server.url).status == 200


def test_entries_as_they_are_understood() -> None:
    assert read_resolve({"[::1]:80": "[::2]", "Bücher.test:443": "192.0.2.1"}) == {
        (b"::1", 80): "::2",
        (b"xn--bcher-kva.test", 443): "192.0.2.1",
    }
    assert read_resolve(None) == {}


@pytest.mark.parametrize(
    ("resolve", "error", "text"),
    [
        ("h:1=::1", TypeError, "resolve must be a mapping, not str"),
        ({"h": "::1"}, ValueError, 'resolve takes {"host:port": "address"}, not \'h\''),
        ({":80": "::1"}, ValueError, "resolve takes"),
        ({"h:": "::1"}, ValueError, "resolve takes"),
        ({b"h:1": "::1"}, ValueError, "resolve takes"),
        ({"h:1": ["::1"]}, ValueError, "resolve takes"),
        ({"h:1": "other.test"}, ValueError, "the address of 'h:1' is none: 'other.test'"),
        ({"h:65536": "::1"}, httpcore.LocalProtocolError, "above 65535"),
        ({"h h:1": "::1"}, httpcore.LocalProtocolError, "characters that no host may have"),
    ],
)
def test_entries_that_cannot_be(resolve: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        httpcore.ConnectionPool(resolve=resolve)
    assert text in str(caught.value)


def test_a_backend_has_a_resolver_of_its_own() -> None:
    with pytest.raises(ValueError, match="resolver and network_backend exclude each other"):
        httpcore.ConnectionPool(
            resolver=lambda host, port, timeout: [], network_backend=httpcore.SyncBackend()
        )
