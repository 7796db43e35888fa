"""What a connection says about itself and how it gets to its origin, without a network.

Owns: `httpcore._core.connection_state`. Must not know: locks, streams.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import httpcore
from httpcore._core.connection_state import ConnectionState
from httpcore._core.dial import HTTP2_ONLY, Dialed
from httpcore._core.http_proxy import ProxyHop
from httpcore._exceptions import Aborted
from httpcore._settings import ConnectionSettings

HTTP = httpcore.Origin(b"http", b"a", 80)
HTTPS = httpcore.Origin(b"https", b"a", 443)
CONTEXT: Any = object()  # never touched, only passed on
RECORDER = SimpleNamespace(speaks_http2=False)


class HTTPConnection(ConnectionState):
    """Has the name whose repr follows that of 1.0.9."""


def made(
    origin: httpcore.Origin = HTTP, proxy: str | None = None, backend: Any = None, **settings: Any
) -> HTTPConnection:
    hop = None if proxy is None else httpcore.Proxy(proxy)
    return HTTPConnection(origin, ConnectionSettings(proxy=hop, **settings), backend)


def contexts(*protocols: Any) -> Any:
    return "a context for", *protocols


def test_the_plan_for_a_plain_origin() -> None:
    connection = made(retries=2, local_address="::1", uds="/s")
    plan = connection.plan(None, contexts)
    assert (plan.host, plan.port, plan.retries, plan.local_address) == (b"a", 80, 2, "::1")
    assert (plan.uds, plan.ssl_context, plan.hop) == ("/s", None, None)


@pytest.mark.parametrize(
    ("given", "backend", "context"),
    [
        (None, None, ("a context for", ("h2", "http/1.1"))),
        (None, RECORDER, ("a context for", ("http/1.1",))),
        (CONTEXT, None, CONTEXT),
    ],
)
def test_the_plan_for_an_https_origin(given: Any, backend: Any, context: Any) -> None:
    connection = made(HTTPS, ssl_context=given, backend=backend, protocols=("h2", "http/1.1"))
    plan = connection.plan("b", contexts)
    assert (plan.ssl_context, plan.server_hostname) == (context, "b")
    assert plan.protocols == (("http/1.1",) if backend else ("h2", "http/1.1"))


def test_the_plan_through_proxies() -> None:
    forwarded = made(proxy="https://p:3128").plan(None, contexts)
    assert (forwarded.host, forwarded.port, forwarded.protocols) == (b"p", 3128, None)
    assert forwarded.hop is not None
    assert forwarded.hop.ssl_context == ("a context for",)
    tunnelled = made(HTTPS, proxy="http://p:3128").plan(None, contexts)
    assert (tunnelled.host, tunnelled.port) == (b"a", 443)
    assert tunnelled.hop is not None
    assert not tunnelled.hop.forwards


@pytest.mark.parametrize(
    ("origin", "proxy", "given", "makes"),
    [
        (HTTP, None, None, False),
        (HTTP, "http://p", None, False),
        (HTTP, "https://p", None, True),
        (HTTPS, None, None, True),
        (HTTPS, None, CONTEXT, False),
        (HTTPS, "https://p", CONTEXT, True),
    ],
)
def test_whether_opening_it_makes_a_tls_context(
    origin: httpcore.Origin, proxy: str | None, given: Any, makes: bool
) -> None:
    assert made(origin, proxy, ssl_context=given).makes_context is makes


def test_another_path() -> None:
    connection = made()
    hop = ProxyHop(b"http", b"q", 1, (), False)
    connection.set_path(hop, None, "127.0.0.1")
    plan = connection.plan(None, contexts)
    assert (plan.hop, plan.address) == (hop, "127.0.0.1")


def test_a_network_that_cannot_carry_http2() -> None:
    connection = made(protocols=HTTP2_ONLY, backend=RECORDER)
    with pytest.raises(httpcore.ConnectError, match="cannot carry HTTP/2, and http1=False"):
        connection.plan(None, contexts)
    with pytest.raises(httpcore.RemoteProtocolError, match="chose HTTP/2, which"):
        connection.chose_http2(Dialed(None, "h2"))


def test_what_was_agreed_on() -> None:
    assert made().chose_http2(Dialed(None, "h2"))
    assert not made().chose_http2(Dialed(None, None))
    assert not made(proxy="http://p", protocols=HTTP2_ONLY).chose_http2(Dialed(None, None))
    with pytest.raises(httpcore.ConnectError, match="did not choose HTTP/2"):
        made(HTTPS, protocols=HTTP2_ONLY).chose_http2(Dialed(None, "http/1.1"))


@pytest.mark.parametrize(
    ("aborted", "error", "kind"),
    [
        (True, httpcore.ReadError(), Aborted),
        (True, httpcore.ConnectTimeout(), Aborted),
        (True, httpcore.ProxyError(), Aborted),
        (True, KeyboardInterrupt(), type(None)),
        (False, httpcore.ReadError(), type(None)),
    ],
)
def test_a_failure_that_another_thread_has_caused(aborted: bool, error: Any, kind: Any) -> None:
    connection = made()
    assert not connection.is_closed()
    connection.aborted = aborted
    failure = connection.note_failure(error)
    assert type(failure) is kind
    assert failure is None or failure.phase == "not_sent"
    assert connection.is_closed() and connection.is_idle() and connection.has_expired()
    assert repr(connection) == "<HTTPConnection [CONNECTION FAILED]>"


def test_an_aborted_connection_takes_no_further_step() -> None:
    connection = made()
    connection.watch(CONTEXT)
    assert connection.stream_so_far is CONTEXT
    connection.aborted = True
    with pytest.raises(httpcore.ConnectError, match="was ended by a close or a CancelToken"):
        connection.watch(None)


def test_the_requests_that_it_takes() -> None:
    connection = made(proxy="http://p")
    prepared = connection.to_prepared(httpcore.Request("GET", "http://b/x", headers={"Host": "b"}))
    assert prepared.head.startswith(b"GET http://b/x HTTP/1.1\r\n")
    with pytest.raises(RuntimeError, match="request to https://b:443 on a connection to"):
        connection.to_prepared(httpcore.Request("GET", "https://b/"))
    assert made(HTTPS).can_handle_request(HTTPS)
    assert not made(HTTPS).can_handle_request(HTTP)


def test_before_it_is_open() -> None:
    connection = made()
    assert (connection.max_streams, connection.open_streams) == (1, 0)
    assert not connection.is_available()
    assert "the connection to http://a:80 is being opened" in str(connection.being_opened())


def test_once_it_is_open_it_says_what_the_inner_one_says() -> None:
    connection = made()
    connection.opened = inner = SimpleNamespace(  # type: ignore[assignment]
        max_streams=7,
        open_streams=3,
        is_available=lambda: True,
        has_expired=lambda: "expired",
        is_idle=lambda: "idle",
        is_closed=lambda: "closed",
        info=lambda: "HTTP/2",
    )
    assert (connection.max_streams, connection.open_streams) == (7, 3)
    assert connection.is_available()
    for name in ("has_expired", "is_idle", "is_closed", "info"):
        assert getattr(connection, name)() == getattr(inner, name)()


@pytest.mark.parametrize(
    ("origin", "proxy", "name"),
    [
        (HTTP, None, "HTTPConnection"),
        (HTTP, "http://p", "ForwardHTTPConnection"),
        (HTTPS, "http://p", "TunnelHTTPConnection"),
        (HTTP, "socks5://p", "Socks5Connection"),
        (HTTP, "socks4a://p", "Socks4Connection"),
    ],
)
def test_the_repr(origin: httpcore.Origin, proxy: str | None, name: str) -> None:
    assert repr(made(origin, proxy)) == f"<{name} [CONNECTING]>"
