"""httpcore 1.0.9's public names, signatures and reprs, frozen; ours must fit wherever they fit.

Owns: the tables below, read off httpcore 1.0.9 once. Must not know: what the names do.

A signature fits when each call that was possible is possible still: the parameters of 1.0.9 in
their order with their defaults; after them there may be more, and keyword-only ones anywhere, if
they have defaults.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest

import httpcore
import httpcore.aio
from tests.support.servers import LocalServer, pattern


class Frozen(NamedTuple):
    """A class of 1.0.9: its public parent, and its own methods as they are called.

    A method without `self`, as a signature in text; None for a property.
    """

    parent: str | None
    methods: dict[str, str | None]


FUNCTIONS = {
    "default_ssl_context": "",
    "request": "method, url, *, headers=None, content=None, extensions=None",
    "stream": "method, url, *, headers=None, content=None, extensions=None",
}

CLASSES = {
    "AnyIOBackend": Frozen(
        "AsyncNetworkBackend",
        {
            "connect_tcp": "host, port, timeout=None, local_address=None, socket_options=None",
            "connect_unix_socket": "path, timeout=None, socket_options=None",
            "sleep": "seconds",
        },
    ),
    "AsyncConnectionInterface": Frozen(
        None,
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_async_request": "request",
            "aclose": "",
            "info": "",
            "can_handle_request": "origin",
            "is_available": "",
            "has_expired": "",
            "is_idle": "",
            "is_closed": "",
        },
    ),
    "AsyncConnectionPool": Frozen(
        None,
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_async_request": "request",
            "__init__": (
                "ssl_context=None, proxy=None, max_connections=10, "
                "max_keepalive_connections=None, keepalive_expiry=None, http1=True, http2=False, "
                "retries=0, local_address=None, uds=None, network_backend=None, "
                "socket_options=None"
            ),
            "create_connection": "origin",
            "connections": None,
            "aclose": "",
            "__aenter__": "",
            "__aexit__": "exc_type=None, exc_value=None, traceback=None",
        },
    ),
    "AsyncHTTP11Connection": Frozen(
        "AsyncConnectionInterface",
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_async_request": "request",
            "__init__": "origin, stream, keepalive_expiry=None",
            "aclose": "",
            "can_handle_request": "origin",
            "is_available": "",
            "has_expired": "",
            "is_idle": "",
            "is_closed": "",
            "info": "",
            "__aenter__": "",
            "__aexit__": "exc_type=None, exc_value=None, traceback=None",
        },
    ),
    "AsyncHTTP2Connection": Frozen(
        "AsyncConnectionInterface",
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_async_request": "request",
            "__init__": "origin, stream, keepalive_expiry=None",
            "aclose": "",
            "can_handle_request": "origin",
            "is_available": "",
            "has_expired": "",
            "is_idle": "",
            "is_closed": "",
            "info": "",
            "__aenter__": "",
            "__aexit__": "exc_type=None, exc_value=None, traceback=None",
        },
    ),
    "AsyncHTTPConnection": Frozen(
        "AsyncConnectionInterface",
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_async_request": "request",
            "__init__": (
                "origin, ssl_context=None, keepalive_expiry=None, http1=True, http2=False, "
                "retries=0, local_address=None, uds=None, network_backend=None, "
                "socket_options=None"
            ),
            "can_handle_request": "origin",
            "aclose": "",
            "is_available": "",
            "has_expired": "",
            "is_idle": "",
            "is_closed": "",
            "info": "",
            "__aenter__": "",
            "__aexit__": "exc_type=None, exc_value=None, traceback=None",
        },
    ),
    "AsyncHTTPProxy": Frozen(
        "AsyncConnectionPool",
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_async_request": "request",
            "__init__": (
                "proxy_url, proxy_auth=None, proxy_headers=None, ssl_context=None, "
                "proxy_ssl_context=None, max_connections=10, max_keepalive_connections=None, "
                "keepalive_expiry=None, http1=True, http2=False, retries=0, local_address=None, "
                "uds=None, network_backend=None, socket_options=None"
            ),
            "create_connection": "origin",
        },
    ),
    "AsyncMockBackend": Frozen(
        "AsyncNetworkBackend",
        {
            "__init__": "buffer, http2=False",
            "connect_tcp": "host, port, timeout=None, local_address=None, socket_options=None",
            "connect_unix_socket": "path, timeout=None, socket_options=None",
            "sleep": "seconds",
        },
    ),
    "AsyncMockStream": Frozen(
        "AsyncNetworkStream",
        {
            "__init__": "buffer, http2=False",
            "read": "max_bytes, timeout=None",
            "write": "buffer, timeout=None",
            "aclose": "",
            "start_tls": "ssl_context, server_hostname=None, timeout=None",
            "get_extra_info": "info",
        },
    ),
    "AsyncNetworkBackend": Frozen(
        None,
        {
            "connect_tcp": "host, port, timeout=None, local_address=None, socket_options=None",
            "connect_unix_socket": "path, timeout=None, socket_options=None",
            "sleep": "seconds",
        },
    ),
    "AsyncNetworkStream": Frozen(
        None,
        {
            "read": "max_bytes, timeout=None",
            "write": "buffer, timeout=None",
            "aclose": "",
            "start_tls": "ssl_context, server_hostname=None, timeout=None",
            "get_extra_info": "info",
        },
    ),
    "AsyncSOCKSProxy": Frozen(
        "AsyncConnectionPool",
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_async_request": "request",
            "__init__": (
                "proxy_url, proxy_auth=None, ssl_context=None, max_connections=10, "
                "max_keepalive_connections=None, keepalive_expiry=None, http1=True, http2=False, "
                "retries=0, network_backend=None"
            ),
            "create_connection": "origin",
        },
    ),
    "ConnectionInterface": Frozen(
        None,
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_request": "request",
            "close": "",
            "info": "",
            "can_handle_request": "origin",
            "is_available": "",
            "has_expired": "",
            "is_idle": "",
            "is_closed": "",
        },
    ),
    "ConnectionPool": Frozen(
        None,
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_request": "request",
            "__init__": (
                "ssl_context=None, proxy=None, max_connections=10, "
                "max_keepalive_connections=None, keepalive_expiry=None, http1=True, http2=False, "
                "retries=0, local_address=None, uds=None, network_backend=None, "
                "socket_options=None"
            ),
            "create_connection": "origin",
            "connections": None,
            "close": "",
            "__enter__": "",
            "__exit__": "exc_type=None, exc_value=None, traceback=None",
        },
    ),
    "HTTP11Connection": Frozen(
        "ConnectionInterface",
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_request": "request",
            "__init__": "origin, stream, keepalive_expiry=None",
            "close": "",
            "can_handle_request": "origin",
            "is_available": "",
            "has_expired": "",
            "is_idle": "",
            "is_closed": "",
            "info": "",
            "__enter__": "",
            "__exit__": "exc_type=None, exc_value=None, traceback=None",
        },
    ),
    "HTTP2Connection": Frozen(
        "ConnectionInterface",
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_request": "request",
            "__init__": "origin, stream, keepalive_expiry=None",
            "close": "",
            "can_handle_request": "origin",
            "is_available": "",
            "has_expired": "",
            "is_idle": "",
            "is_closed": "",
            "info": "",
            "__enter__": "",
            "__exit__": "exc_type=None, exc_value=None, traceback=None",
        },
    ),
    "HTTPConnection": Frozen(
        "ConnectionInterface",
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_request": "request",
            "__init__": (
                "origin, ssl_context=None, keepalive_expiry=None, http1=True, http2=False, "
                "retries=0, local_address=None, uds=None, network_backend=None, "
                "socket_options=None"
            ),
            "can_handle_request": "origin",
            "close": "",
            "is_available": "",
            "has_expired": "",
            "is_idle": "",
            "is_closed": "",
            "info": "",
            "__enter__": "",
            "__exit__": "exc_type=None, exc_value=None, traceback=None",
        },
    ),
    "HTTPProxy": Frozen(
        "ConnectionPool",
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_request": "request",
            "__init__": (
                "proxy_url, proxy_auth=None, proxy_headers=None, ssl_context=None, "
                "proxy_ssl_context=None, max_connections=10, max_keepalive_connections=None, "
                "keepalive_expiry=None, http1=True, http2=False, retries=0, local_address=None, "
                "uds=None, network_backend=None, socket_options=None"
            ),
            "create_connection": "origin",
        },
    ),
    "MockBackend": Frozen(
        "NetworkBackend",
        {
            "__init__": "buffer, http2=False",
            "connect_tcp": "host, port, timeout=None, local_address=None, socket_options=None",
            "connect_unix_socket": "path, timeout=None, socket_options=None",
            "sleep": "seconds",
        },
    ),
    "MockStream": Frozen(
        "NetworkStream",
        {
            "__init__": "buffer, http2=False",
            "read": "max_bytes, timeout=None",
            "write": "buffer, timeout=None",
            "close": "",
            "start_tls": "ssl_context, server_hostname=None, timeout=None",
            "get_extra_info": "info",
        },
    ),
    "NetworkBackend": Frozen(
        None,
        {
            "connect_tcp": "host, port, timeout=None, local_address=None, socket_options=None",
            "connect_unix_socket": "path, timeout=None, socket_options=None",
            "sleep": "seconds",
        },
    ),
    "NetworkStream": Frozen(
        None,
        {
            "read": "max_bytes, timeout=None",
            "write": "buffer, timeout=None",
            "close": "",
            "start_tls": "ssl_context, server_hostname=None, timeout=None",
            "get_extra_info": "info",
        },
    ),
    "Origin": Frozen(
        None,
        {
            "__init__": "scheme, host, port",
        },
    ),
    "Proxy": Frozen(
        None,
        {
            "__init__": "url, auth=None, headers=None, ssl_context=None",
        },
    ),
    "Request": Frozen(
        None,
        {
            "__init__": "method, url, *, headers=None, content=None, extensions=None",
        },
    ),
    "Response": Frozen(
        None,
        {
            "__init__": "status, *, headers=None, content=None, extensions=None",
            "content": None,
            "read": "",
            "iter_stream": "",
            "close": "",
            "aread": "",
            "aiter_stream": "",
            "aclose": "",
        },
    ),
    "SOCKSProxy": Frozen(
        "ConnectionPool",
        {
            "request": "method, url, *, headers=None, content=None, extensions=None",
            "stream": "method, url, *, headers=None, content=None, extensions=None",
            "handle_request": "request",
            "__init__": (
                "proxy_url, proxy_auth=None, ssl_context=None, max_connections=10, "
                "max_keepalive_connections=None, keepalive_expiry=None, http1=True, http2=False, "
                "retries=0, network_backend=None"
            ),
            "create_connection": "origin",
        },
    ),
    "SyncBackend": Frozen(
        "NetworkBackend",
        {
            "connect_tcp": "host, port, timeout=None, local_address=None, socket_options=None",
            "connect_unix_socket": "path, timeout=None, socket_options=None",
        },
    ),
    "TrioBackend": Frozen(
        "AsyncNetworkBackend",
        {
            "connect_tcp": "host, port, timeout=None, local_address=None, socket_options=None",
            "connect_unix_socket": "path, timeout=None, socket_options=None",
            "sleep": "seconds",
        },
    ),
    "URL": Frozen(
        None,
        {
            "__init__": "url='', *, scheme=b'', host=b'', port=None, target=b''",
            "origin": None,
        },
    ),
}

EXCEPTIONS = {
    "ConnectError": "NetworkError",
    "ConnectTimeout": "TimeoutException",
    "ConnectionNotAvailable": "Exception",
    "LocalProtocolError": "ProtocolError",
    "NetworkError": "Exception",
    "PoolTimeout": "TimeoutException",
    "ProtocolError": "Exception",
    "ProxyError": "Exception",
    "ReadError": "NetworkError",
    "ReadTimeout": "TimeoutException",
    "RemoteProtocolError": "ProtocolError",
    "TimeoutException": "Exception",
    "UnsupportedProtocol": "Exception",
    "WriteError": "NetworkError",
    "WriteTimeout": "TimeoutException",
}

BUILT = sorted(CLASSES)


def parameters(function: Callable[..., Any], *, bound: bool) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())[1 if bound else 0 :]


def frozen(text: str) -> list[inspect.Parameter]:
    return parameters(eval(f"lambda {text}: None"), bound=False)


def assert_fits(ours: list[inspect.Parameter], theirs: list[inspect.Parameter]) -> None:
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    in_order = [p for p in theirs if p.kind is not keyword_only]
    assert [(p.name, p.default, p.kind) for p in ours[: len(in_order)]] == [
        (p.name, p.default, p.kind) for p in in_order
    ]
    by_name = {p.name: p for p in ours}
    for wanted in theirs[len(in_order) :]:
        assert by_name[wanted.name].kind is keyword_only
        assert by_name[wanted.name].default == wanted.default
    names = {p.name for p in theirs}
    assert all(p.default is not p.empty for p in ours if p.name not in names)


def test_every_name_is_in_one_table() -> None:
    tables = [*FUNCTIONS, *CLASSES, *EXCEPTIONS, "SOCKET_OPTION"]
    assert len(tables) == len(set(tables)) == 49
    assert set(tables) <= set(httpcore.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    assert_fits(parameters(getattr(httpcore, name), bound=False), frozen(FUNCTIONS[name]))


@pytest.mark.parametrize("name", BUILT)
def test_classes(name: str) -> None:
    kind = getattr(httpcore, name)
    parent, methods = CLASSES[name]
    if parent is not None:
        assert issubclass(kind, getattr(httpcore, parent))
    for method, text in methods.items():
        ours = inspect.getattr_static(kind, method)
        if text is None:
            # A property there; a property or a slot here.
            assert not callable(ours), method
        else:
            assert_fits(parameters(ours, bound=True), frozen(text))


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions(name: str) -> None:
    assert getattr(httpcore, name).__base__.__name__ == EXCEPTIONS[name]


def test_a_signature_that_does_not_fit() -> None:
    theirs = frozen("a, b=1, *, c=2")
    assert_fits(frozen("a, b=1, d=4, *, c=2, e=5"), theirs)
    for text in ("a, *, b=1, c=2", "b=1, a=1, *, c=2", "a, b=2, *, c=2", "a, b=1, *, c=3"):
        with pytest.raises(AssertionError):
            assert_fits(frozen(text), theirs)
    with pytest.raises(AssertionError):
        assert_fits(frozen("a, b=1, *, c=2, e"), theirs)
    with pytest.raises(KeyError):
        assert_fits(frozen("a, b=1"), theirs)


def test_socket_option() -> None:
    """Either spelling of a union and of its tuples; what is in them must be the same."""
    options = typing.get_args(httpcore.SOCKET_OPTION)
    assert [typing.get_origin(option) for option in options] == [tuple, tuple, tuple]
    number, value, optlen = (typing.get_args(option) for option in options)
    assert number == (int, int, int)
    assert (value[:2], set(typing.get_args(value[2]))) == ((int, int), {bytes, bytearray})
    assert optlen in ((int, int, None, int), (int, int, type(None), int))


# --- reprs ---

ORIGIN = httpcore.Origin(b"https", b"example.com", 443)
ANSWER = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", b"x"]


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (  # 1.0.9 shows the value in the query
            httpcore.URL("https://www.example.com:8443/path?q=1"),
            "URL(scheme=b'https', host=b'www.example.com', port=8443, target=b'/path?q=[secure]')",
        ),
        (httpcore.Request("GET", "https://example.com/"), "<Request [b'GET']>"),
        (httpcore.Response(200), "<Response [200]>"),
        (httpcore.Response(200, content=b"abc").stream, "<ByteStream [3 bytes]>"),
        (httpcore.MockStream([]), "<httpcore.MockStream>"),
        (httpcore.AsyncMockStream([]), "<httpcore.AsyncMockStream>"),
        # 1.0.9 leaves these two to `object`.
        (ORIGIN, "<Origin https://example.com:443>"),
        (
            httpcore.Proxy("http://proxy:3128", ("me", "secret")),
            "<Proxy [proxy:3128, auth=(…, '[secure]')]>",
        ),
    ],
)
def test_reprs(thing: object, text: str) -> None:
    assert repr(thing) == text


def test_str_of_an_origin() -> None:
    assert str(ORIGIN) == "https://example.com:443"


def test_repr_of_an_http11_connection() -> None:
    connection = httpcore.HTTP11Connection(ORIGIN, httpcore.MockStream(list(ANSWER)))
    seen = [repr(connection)]
    headers = [("Host", "example.com")]
    response = connection.handle_request(
        httpcore.Request("GET", "https://example.com/", headers=headers)
    )
    seen.append(repr(connection))
    response.read()
    response.close()
    seen.append(repr(connection))
    assert connection.info() == "'https://example.com:443', HTTP/1.1, IDLE, Request Count: 1"
    connection.close()
    seen.append(repr(connection))
    assert seen == [
        f"<HTTP11Connection ['https://example.com:443', {state}, Request Count: {count}]>"
        for state, count in [("NEW", 0), ("ACTIVE", 1), ("IDLE", 1), ("CLOSED", 1)]
    ]


class Refusing(httpcore.NetworkBackend):
    """No connection is ever opened."""

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("no")


def test_repr_of_an_http_connection() -> None:
    connection = httpcore.HTTPConnection(ORIGIN, network_backend=httpcore.MockBackend(ANSWER))
    assert repr(connection) == "<HTTPConnection [CONNECTING]>"
    connection.request("GET", "https://example.com/")
    assert repr(connection) == (
        "<HTTPConnection ['https://example.com:443', HTTP/1.1, IDLE, Request Count: 1]>"
    )
    failed = httpcore.HTTPConnection(ORIGIN, network_backend=Refusing())
    with pytest.raises(httpcore.ConnectError):
        failed.request("GET", "https://example.com/")
    assert repr(failed) == "<HTTPConnection [CONNECTION FAILED]>"


@pytest.mark.parametrize(
    ("proxy", "scheme", "name"),
    [
        ("http", "http", "ForwardHTTPConnection"),
        ("https", "ws", "TunnelHTTPConnection"),
        ("http", "https", "TunnelHTTPConnection"),
        ("socks5", "http", "Socks5Connection"),
        ("socks5h", "https", "Socks5Connection"),
        ("socks4", "http", "Socks4Connection"),
        ("socks4a", "https", "Socks4Connection"),
    ],
)
def test_repr_of_a_connection_through_a_proxy(proxy: str, scheme: str, name: str) -> None:
    """1.0.9 has a class for each; SOCKS 4 is named alike."""
    origin = httpcore.Origin(scheme.encode(), b"example.com", 443)
    through = httpcore.Proxy(f"{proxy}://localhost:80")
    connection = httpcore.HTTPConnection(origin, proxy=through)
    assert repr(connection) == f"<{name} [CONNECTING]>"
    asynchronous = httpcore.AsyncHTTPConnection(origin, proxy=through)
    assert repr(asynchronous) == f"<Async{name} [CONNECTING]>"


def test_repr_of_a_pool() -> None:
    with httpcore.ConnectionPool(network_backend=httpcore.MockBackend(ANSWER)) as pool:
        seen = [(repr(pool), repr(pool.connections))]
        with pool.stream("GET", "https://example.com/") as response:
            seen.append((repr(pool), repr(pool.connections)))
            response.read()
        seen.append((repr(pool), repr(pool.connections)))
    name = "<ConnectionPool [Requests: %d active, 0 queued | Connections: %d active, %d idle]>"
    connection = "[<HTTPConnection ['https://example.com:443', HTTP/1.1, %s, Request Count: 1]>]"
    assert seen == [
        (name % (0, 0, 0), "[]"),
        (name % (1, 1, 0), connection % "ACTIVE"),
        (name % (0, 0, 1), connection % "IDLE"),
    ]


# --- HTTPX, which pins httpcore 1.x, on top ---


def test_httpx_finds_what_it_asks_of_a_response() -> None:
    with httpcore.ConnectionPool(network_backend=httpcore.MockBackend(ANSWER)) as pool:
        headers = [(b"Host", b"example.com")]
        response = pool.handle_request(
            httpcore.Request("GET", httpcore.URL("https://example.com/"), headers=headers)
        )
        assert isinstance(response.stream, typing.Iterable)
        assert response.extensions["http_version"] == b"HTTP/1.1"
        assert response.extensions["reason_phrase"] == b"OK"
        assert b"".join(response.stream) == b"x"
        response.close()


def test_httpx_on_top(server: LocalServer) -> None:
    with httpx.Client(trust_env=False) as client:
        response = client.get(server.url + "/bytes/100")
        assert (response.status_code, response.http_version) == (200, "HTTP/1.1")
        assert response.content == pattern(100)
        with client.stream("POST", server.url + "/echo", content=iter([b"he", b"llo"])) as streamed:
            assert "hello" in "".join(streamed.iter_text())
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(server.url + "/truncated/100")
        with pytest.raises(httpx.ReadTimeout):
            client.get(server.url + "/hang", timeout=0.01)
    assert server.accepted == 2


def test_httpx_over_tls_and_refused(
    tls_server: LocalServer, ca_bundle: str, closed_port: int
) -> None:
    context = httpcore.create_ssl_context(ca_bundle)
    with httpx.Client(verify=context, trust_env=False) as client:
        assert client.get(tls_server.url).status_code == 200
        with pytest.raises(httpx.ConnectError, match="Connection refused"):
            client.get(f"http://127.0.0.1:{closed_port}")
        with pytest.raises(httpx.ConnectError, match="port 123456 is above"):
            client.get("http://127.0.0.1:123456/")
        with pytest.raises(
            httpx.UnsupportedProtocol,
            match=r"^Request URL has an unsupported protocol 'invalid://'\.$",
        ):
            client.get("invalid://example.org")
        with pytest.raises(httpx.UnsupportedProtocol):
            client.get("gopher://example.com")
