"""Where a request goes.

Owns: `httpcore._core.routes`. Must not know: pools, connections.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

import httpcore
from httpcore._core.routes import (
    context_of,
    find_route,
    goes_through,
    hop_of,
    may_share,
    name_route,
    name_route_with_path,
)
from httpcore._core.scheduler import Route
from httpcore._settings import ConnectionSettings

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
OTHER = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
PROXY = httpcore.Proxy("http://user:secret@proxy:3128")
BOTH = ("h2", "http/1.1")


def route(url: str, settings: Any = None, **extensions: Any) -> Route:
    request = httpcore.Request("GET", url, extensions=extensions)
    return find_route(request, settings or ConnectionSettings())


def test_the_default_port_is_filled_in() -> None:
    assert route("http://a/b") == Route(b"http", b"a", 80)
    assert route("wss://a:8443/b") == Route(b"wss", b"a", 8443)


def test_only_tls_has_a_context() -> None:
    settings = ConnectionSettings(ssl_context=CONTEXT)
    assert route("http://a/", settings, ssl_context=OTHER).ssl_context is None
    assert route("https://a/", settings).ssl_context is CONTEXT
    assert context_of(route("https://a/", settings, ssl_context=OTHER)) is OTHER


def test_a_name_for_sni_tells_routes_apart() -> None:
    settings = ConnectionSettings(ssl_context=CONTEXT)
    named = route("https://a/", settings, sni_hostname="b")
    assert named != route("https://a/", settings)
    assert named == route("https://a/", settings, sni_hostname="b")
    assert context_of(named) is CONTEXT


def test_a_proxy_that_forwards_takes_all_origins() -> None:
    settings = ConnectionSettings(proxy=PROXY)
    assert route("http://a/", settings) == route("http://b:81/", settings)
    assert route("https://a/", settings) != route("https://b/", settings)
    assert hop_of(route("http://a/", settings, proxy=None)) is None
    assert hop_of(route("http://a/", proxy=PROXY)) is not None


def test_a_unix_socket_goes_before_a_proxy() -> None:
    settings = ConnectionSettings(proxy=PROXY)
    found = route("http://a/", settings, uds=Path("/s"))
    assert (found.uds, found.proxy) == ("/s", None)


@pytest.mark.parametrize(
    ("url", "extensions", "error"),
    [
        ("ftp://a/", {}, httpcore.UnsupportedProtocol),
        ("https://a/", {"ssl_context": True}, TypeError),
        ("http://a/", {"proxy": "http://p"}, TypeError),
        ("http://a/", {"uds": b"/s"}, TypeError),
    ],
)
def test_what_cannot_be(url: str, extensions: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        route(url, **extensions)


def test_what_may_be_shared() -> None:
    assert may_share(BOTH, route("https://a/"))
    assert not may_share(BOTH, route("http://a/"))
    assert may_share(("h2",), route("http://a/"))
    assert not may_share(("h2",), route("http://a/", proxy=PROXY))


def test_what_goes_through_a_proxy() -> None:
    chooses = goes_through(PROXY)
    assert chooses(hop_of(route("http://a/", proxy=PROXY)))
    assert chooses(hop_of(route("https://a/", proxy=PROXY)))
    assert not chooses(hop_of(route("https://a/", proxy=httpcore.Proxy("http://proxy:3128"))))
    assert not chooses(None)


def test_names_hold_no_secrets() -> None:
    assert name_route(route("https://a/")) == "https://a:443"
    assert name_route_with_path(route("http://a/", uds="/s")) == "http://a:80 at /s"
    tunnel = name_route_with_path(route("https://a/", proxy=PROXY))
    assert tunnel == "https://a:443 through http://proxy:3128"
    assert name_route_with_path(route("http://a/", proxy=PROXY)) == "http://proxy:3128"
