"""Bad input, from the caller and from the server.

Owns: what happens to a request that is none, and to an answer that is none. Must not know:
private parts of the packages.
Sources: RFC 9110 sections 5.5, 9.1, RFC 9112 sections 3.2, 6.3, 7.1, 8, 11.1 and 11.2 (response
splitting, request smuggling).

From the caller: an exception that names the field, before a byte is sent, and the pool is as it
was. From the server: an exception, never wrong bytes, never a reused connection, never a hang.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from urllib3.util import Timeout

import httpcore
from httpcore_requests import HTTPAdapter
from tests.support import PATIENCE
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve
from tests.support.versions import needs

# Seconds within which a server that says nothing more is given up, where a test needs that.
SHORT = 0.2

NAN = math.nan


@pytest.fixture
def pool() -> Iterator[httpcore.ConnectionPool]:
    with httpcore.ConnectionPool() as made:
        yield made


# ---------------------------------------------------------------------------------------------
# From the caller


class Warm:
    """A server that notes each byte, and one idle connection to it."""

    def __init__(self, serve: Serve) -> None:
        self.heads: list[bytes] = []
        self.server = serve(self._handle)
        self.url = self.server.url

    def _handle(self, peer: Peer) -> None:
        while (head := peer.recv_head()) is not None:
            self.heads.append(head)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    def untouched(self) -> bool:
        """Whether there was one connection, with two requests that are as they should be."""
        return (
            self.server.accepted == 1
            and len(self.heads) == 2
            and all(head.startswith(b"GET /fine HTTP/1.1\r\n") for head in self.heads)
        )


@pytest.fixture
def refuses(serve: Serve, pool: httpcore.ConnectionPool) -> Any:
    """`refuses(error, text, *args, **kwargs)`: the warm pool refuses that request so."""

    def check(error: type[Exception], text: str, *args: Any, **kwargs: Any) -> None:
        warm = Warm(serve)
        assert pool.request("GET", warm.url + "/fine").content == b"hello"
        before = pool.stats()
        (connection,) = pool.connections
        method, url = args[0], args[1]
        if isinstance(url, str) and url.startswith("/"):
            url = warm.url + url
        with pytest.raises(error) as caught:
            pool.request(method, url, **kwargs)
        assert type(caught.value) is error or error is not TypeError
        assert text.lower() in str(caught.value).lower()
        if hasattr(caught.value, "phase"):
            assert caught.value.phase == "not_sent"
        assert pool.stats() == before
        assert pool.connections == [connection]
        assert pool.request("GET", warm.url + "/fine").content == b"hello"
        assert warm.untouched()

    return check


BAD_NAMES = [
    *(b"X\r\nInjected", b"X\nInjected", b"X\rInjected", b"X\0", b"X Y", b" X", b"X ", b"X:", b""),
    *(b"X\t", b"X\x7f", b"X\xe9", b"X\r\n\r\nGET /smuggled HTTP/1.1\r\nHost"),
]
# No token, yet nothing but a name: requests sends it, and so does its adapter.
ODD_NAME = b"X(Y)"
BAD_VALUES = [
    *(b"a\r\nInjected: b", b"a\nInjected: b", b"a\rb", b"a\0b", b" a", b"a ", b"\ta", b"a\t"),
    *(b"a\r\n b", b"\r\n", b"a\r\n", b"a\n", b" ", b"a\r\n\r\nGET /smuggled HTTP/1.1"),
    *(b"a\x0bb", b"a\x0cb"),
]


@pytest.mark.parametrize("name", [*BAD_NAMES, ODD_NAME], ids=ascii)
def test_header_name(name: bytes, refuses: Any) -> None:
    """ "Header names [...] with CR, LF, NUL or spaces where they may not be": the error shows how
    the name begins, and not what stands behind the fault, which may be a secret."""
    headers = [(b"Good", b"1"), (name, b"v"), (b"Also-Good", b"2")]
    begins = b"X" if name.startswith(b"X") else b""
    shown = f"header name {begins!r}" + ("..." if name else "")
    refuses(httpcore.LocalProtocolError, shown, "GET", "/", headers=headers)


@pytest.mark.parametrize("value", BAD_VALUES, ids=ascii)
def test_header_value(value: bytes, refuses: Any) -> None:
    """ "[...] or values with CR, LF, NUL or spaces where they may not be": the name is told."""
    headers = [(b"Good", b"1"), (b"X-Bad", value), (b"Also-Good", b"2")]
    refuses(httpcore.LocalProtocolError, "X-Bad", "GET", "/", headers=headers)


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding", "Connection"])
def test_value_of_a_header_that_steers(name: str, refuses: Any) -> None:
    """The headers that decide about framing and routing are no exception."""
    refuses(httpcore.LocalProtocolError, name, "GET", "/", headers={name: "5\r\nInjected: 1"})


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "Proxy-Authorization"])
def test_secrets_are_not_told(name: str, pool: httpcore.ConnectionPool) -> None:
    """The exception names the header, and keeps what it was to say."""
    with pytest.raises(httpcore.LocalProtocolError) as caught:
        pool.request("GET", "http://host.example/", headers={name: "hunter2\r\n"})
    assert name in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "5", "Transfer-Encoding": "chunked"},
        [("Content-Length", "5"), ("Content-Length", "6")],
        {"Content-Length": "-5"},
        {"Content-Length": "+5"},
        {"Content-Length": "5 5"},
        {"Content-Length": "\u0665".encode()},
        {"Content-Length": "4"},
        {"Content-Length": "6"},
        {"Transfer-Encoding": "gzip"},
        {"Transfer-Encoding": "gzip, chunked"},
    ],
    ids=ascii,
)
def test_framing_that_contradicts(headers: Any, refuses: Any) -> None:
    """A request whose end two readers would see in two places is refused."""
    refuses(httpcore.LocalProtocolError, "", "POST", "/", headers=headers, content=b"12345")


def test_two_hosts(refuses: Any) -> None:
    headers = [("Host", "a.example"), ("Host", "b.example")]
    refuses(httpcore.LocalProtocolError, "Host", "GET", "/", headers=headers)


@pytest.mark.parametrize(
    "method",
    ["GE\nT", "GET\r\n", "G ET", " GET", "GET ", "GET\0", "GET / HTTP/1.1\r\nX:", "", "(GET)"],
)
def test_method(method: str, refuses: Any) -> None:
    """ "A method [...] with control characters" """
    refuses(httpcore.LocalProtocolError, "method", method, "/")


@pytest.mark.parametrize("target", ["/a\nb", "/a\r\nX: y", "/a b", "/a\0", "/\x7f", "/a\tb", "/ "])
def test_target(target: str, refuses: Any) -> None:
    """ "[...] or target with control characters" """
    refuses(httpcore.LocalProtocolError, "target", "GET", target)


@pytest.mark.parametrize("target", [b"", b"/a b", b"/a\r\nX: y", b"/\xe9"])
def test_target_extension(target: bytes, refuses: Any) -> None:
    extensions = {"target": target}
    refuses(httpcore.LocalProtocolError, "target", "GET", "/fine", extensions=extensions)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http:///path", "host"),
        ("http://", "host"),
        ("http://:80/", "host"),
        ("http://a b/", "host"),
        ("http://a\nb/", "host"),
        ("http://a\0b/", "host"),
        ("http://[::1/", "URL"),
        ("http://\ud800/", "host"),
        ("http://xn--\u00fc/", "host"),
        ("http://" + "\u00fc" * 64 + ".example/", "host"),
        ("http://a..\u00fc/", "host"),
        ("http://host.example:8x/", "URL"),
    ],
    ids=ascii,
)
def test_host(url: str, text: str, refuses: Any) -> None:
    """ "A host that cannot be encoded" """
    refuses(httpcore.LocalProtocolError, text, "GET", url)


def test_port_that_no_server_has(serve: Serve, pool: httpcore.ConnectionPool) -> None:
    """As in httpcore 1.0, such a port is found out when it is connected to, before a look-up."""
    warm = Warm(serve)
    assert pool.request("GET", warm.url + "/fine").content == b"hello"
    (connection,) = pool.connections
    with pytest.raises(httpcore.ConnectError, match="port 99999 is above 65535") as caught:
        pool.request("GET", "http://host.example:99999/")
    assert caught.value.phase == "not_sent"
    assert pool.connections == [connection]
    assert pool.request("GET", warm.url + "/fine").content == b"hello"
    assert warm.untouched()


@pytest.mark.parametrize(
    "host", [b"127.0.0.1\0.example", b"a b", b"a\r\nb", b"\xff", b""], ids=ascii
)
def test_host_given_by_itself(host: bytes, serve: Serve, pool: httpcore.ConnectionPool) -> None:
    """The same for a URL made of its parts. C ends a name at its NUL, and so would go elsewhere."""
    warm = Warm(serve)

    def send() -> None:
        url = httpcore.URL(scheme="http", host=host, port=warm.server.port, target="/")
        pool.handle_request(httpcore.Request("GET", url, headers={"Host": "a.example"}))

    with pytest.raises(httpcore.LocalProtocolError, match="host"):
        send()
    assert warm.heads == []
    assert warm.server.accepted == 0


@pytest.mark.parametrize(
    "name", [7, b"\xff", "a\0b", "\u00fc" * 64], ids=["int", "bytes", "nul", "long-label"]
)
def test_sni_hostname(name: Any, pool: httpcore.ConnectionPool, serve: Serve) -> None:
    """And for the name that TLS sends: refused by name before anything is connected."""
    server = serve(lambda peer: None)
    with pytest.raises((TypeError, httpcore.LocalProtocolError), match="sni_hostname"):
        pool.request(
            "GET",
            f"https://127.0.0.1:{server.port}/",
            extensions={"sni_hostname": name, "timeout": {"connect": PATIENCE}},
        )
    assert pool.connections == []
    assert server.accepted == 0


@pytest.mark.parametrize("phase", ["connect", "read", "write", "pool"])
@pytest.mark.parametrize("seconds", [-1, -0.001, NAN, -math.inf], ids=str)
def test_timeout(phase: str, seconds: float, refuses: Any) -> None:
    """ "A negative or NaN timeout": it is named, and no socket is asked."""
    extensions = {"timeout": {phase: seconds}}
    refuses(httpcore.LocalProtocolError, phase, "GET", "/", extensions=extensions)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://host.example/", "'ftp://'"),
        ("file:///etc/passwd", "'file://'"),
        ("gopher://host.example/", "'gopher://'"),
        ("host.example/", "'https://'"),
        ("", "'https://'"),
    ],
)
def test_scheme(url: str, text: str, refuses: Any) -> None:
    """ "An unsupported scheme": it is named; where there is none, those that may stand there."""
    refuses(httpcore.UnsupportedProtocol, text, "GET", url)


WRONG_TYPES: list[tuple[str, tuple[Any, Any], dict[str, Any]]] = [
    ("method", (7, "/"), {}),
    ("method", (None, "/"), {}),
    ("url", ("GET", 7), {}),
    ("url", ("GET", ["http://host.example/"]), {}),
    ("header name", ("GET", "/"), {"headers": {7: "v"}}),
    ("header value", ("GET", "/"), {"headers": {"X": 7}}),
    ("header value", ("GET", "/"), {"headers": [("X", None)]}),
    ("headers", ("GET", "/"), {"headers": [("X", "y", "z")]}),
    ("headers", ("GET", "/"), {"headers": 7}),
    ("headers", ("GET", "/"), {"headers": [None]}),
    ("extensions", ("GET", "/"), {"extensions": 7}),
    ("informational", ("GET", "/"), {"extensions": {"informational": 7}}),
    ("trace", ("GET", "/"), {"extensions": {"trace": 7}}),
    ("target", ("GET", "/"), {"extensions": {"target": 7}}),
    ("content", ("POST", "/"), {"content": 7}),
    ("content", ("POST", "/"), {"content": "text"}),
    ("content", ("POST", "/"), {"content": {"a": "dict"}}),
    ("content", ("POST", "/"), {"content": Ellipsis}),
    ("timeout", ("GET", "/"), {"extensions": {"timeout": 7}}),
    ("connect", ("GET", "/"), {"extensions": {"timeout": {"connect": "7"}}}),
    ("read", ("GET", "/"), {"extensions": {"timeout": {"read": object()}}}),
    ("pool", ("GET", "/"), {"extensions": {"timeout": {"pool": True}}}),
]


@pytest.mark.parametrize(
    ("text", "args", "kwargs"),
    WRONG_TYPES,
    ids=[f"{text}-{args[0]}-{kwargs}"[:60] for text, args, kwargs in WRONG_TYPES],
)
def test_wrong_type(text: str, args: tuple[Any, Any], kwargs: dict[str, Any], refuses: Any) -> None:
    """ "A wrong type: [...] TypeError naming the field" """
    refuses(TypeError, text, *args, **kwargs)


@pytest.mark.parametrize("pieces", [["text"], [7], [None], [b"fine", "text"]], ids=str)
def test_body_of_wrong_pieces(pieces: list[Any], serve: Serve, pool: Any) -> None:
    """An iterator's type is known only as it is read; then TypeError, and no half-sent request
    is left on a connection for the next one."""
    warm = Warm(serve)
    assert pool.request("GET", warm.url + "/fine").content == b"hello"
    with pytest.raises(TypeError, match="body"):
        pool.request("POST", warm.url + "/", content=iter(pieces))
    assert pool.stats()["active"] == 0
    assert pool.request("GET", warm.url + "/fine").content == b"hello"
    assert [head[:4] for head in warm.heads if head[:4] != b"POST"] == [b"GET ", b"GET "]


@pytest.mark.parametrize("parts", [[b"x" * 1000], [b"x" * 5000, b"y" * 100_000, b"z" * 10_000]])
def test_body_of_wrong_length(parts: list[bytes], serve: Serve, pool: Any) -> None:
    """A body that is not as long as announced: the error says how far the request got, and the
    connection, on which the server waits for more, is gone."""
    warm = Warm(serve)
    headers = {"Content-Length": "115001"}
    with pytest.raises(httpcore.LocalProtocolError, match="115001") as caught:
        pool.request("POST", warm.url + "/", headers=headers, content=iter(parts))
    assert pool.connections == []
    assert caught.value.phase == "maybe_processed"


# Through requests. Much of this requests refuses by itself; what matters is that it is refused.

REFUSALS = (requests.RequestException, ValueError, TypeError)


@pytest.fixture
def requests_refuses(serve: Serve, session: requests.Session) -> Any:
    """`requests_refuses(errors, **kwargs)`: a warm session refuses that request so. Returns the
    exception."""

    def check(errors: Any, method: str = "GET", url: str = "/", **kwargs: Any) -> BaseException:
        warm = Warm(serve)
        assert session.get(warm.url + "/fine", timeout=PATIENCE).content == b"hello"
        core = session.get_adapter(warm.url).pool
        before = core.stats()
        with pytest.raises(errors) as caught:
            session.request(method, warm.url + url if url.startswith("/") else url, **kwargs)
        assert core.stats() == before
        assert session.get(warm.url + "/fine", timeout=PATIENCE).content == b"hello"
        assert warm.untouched()
        return caught.value

    return check


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if name], ids=ascii)
@pytest.mark.parametrize("kind", [bytes, str])
def test_header_name_through_requests(name: bytes, kind: type, requests_refuses: Any) -> None:
    headers = {name if kind is bytes else name.decode("latin-1"): "v"}
    # requests itself decodes names that are bytes, as ASCII.
    ours = kind is str or name.isascii()
    requests_refuses(
        requests.exceptions.InvalidHeader if ours else UnicodeDecodeError, headers=headers
    )


@pytest.mark.parametrize("kind", [bytes, str])
def test_odd_header_name_through_requests(
    kind: type, serve: Serve, session: requests.Session
) -> None:
    """It is sent as it is, in a line of its own."""
    warm = Warm(serve)
    session.get(warm.url, headers={ODD_NAME if kind is bytes else ODD_NAME.decode(): "v"})
    (head,) = warm.heads
    assert b"\r\n" + ODD_NAME + b": v\r\n" in head


SPACE_AT_THE_END = (b"a ", b"a\t")


@pytest.mark.parametrize("value", SPACE_AT_THE_END, ids=ascii)
@pytest.mark.parametrize("kind", [bytes, str])
def test_space_at_the_end_of_a_value_through_requests(
    value: bytes, kind: type, server: LocalServer, session: requests.Session
) -> None:
    """requests lets it through, and it is no part of the value (RFC 9110 section 5.5)."""
    text = value if kind is bytes else value.decode()
    answer = session.get(server.url + "/echo", headers={"X-Padded": text}, timeout=PATIENCE)
    assert dict(answer.json()["headers"])["X-Padded"] == "a"


@pytest.mark.parametrize("value", [v for v in BAD_VALUES if v not in SPACE_AT_THE_END], ids=ascii)
@pytest.mark.parametrize("kind", [bytes, str])
def test_header_value_through_requests(value: bytes, kind: type, requests_refuses: Any) -> None:
    headers = {"X-Bad": value if kind is bytes else value.decode("latin-1")}
    told = requests_refuses(requests.exceptions.InvalidHeader, headers=headers)
    assert "X-Bad" in str(told) or repr(value.decode("latin-1"))[1:-1] in str(told)


def test_header_value_that_cannot_be_encoded_through_requests(requests_refuses: Any) -> None:
    told = requests_refuses(REFUSALS, headers={"X-Bad": "\u20ac"})
    assert "X-Bad" in str(told)


@pytest.mark.parametrize("value", [7, 7.5, None, ["a"], Ellipsis], ids=str)
def test_header_of_wrong_type_through_requests(value: Any, requests_refuses: Any) -> None:
    if value is None:
        value = {"nested": None}  # None itself takes a header away
    told = requests_refuses(REFUSALS, headers={"X-Bad": value})
    assert "X-Bad" in str(told)


@pytest.mark.parametrize("method", ["GE\nT", "GET\r\nX: y", "G ET", "GET\0", "GET "])
def test_method_through_requests(method: str, requests_refuses: Any) -> None:
    told = requests_refuses(REFUSALS, method=method)
    assert "method" in str(told).lower()


@pytest.mark.parametrize("url", ["/a\r\nX: y", "/a b", "/a\0b", "/\u20ac", "/a\x7fb"], ids=ascii)
def test_target_through_requests(url: str, serve: Serve, session: requests.Session) -> None:
    """requests quotes what it can: the server sees one request line, and no other line."""
    warm = Warm(serve)
    session.get(warm.url + url, timeout=PATIENCE)
    (head,) = warm.heads
    line = head.partition(b"\r\n")[0]
    assert line.count(b" ") == 2
    assert line.startswith(b"GET /")
    assert b"\nX: y" not in head
    assert line.isascii()
    assert line.decode().isprintable()


@pytest.mark.parametrize("target", ["/a\r\nX: y", "/a b", "/a\0b"], ids=ascii)
def test_unquoted_target_through_the_adapter(
    target: str, serve: Serve, session: requests.Session
) -> None:
    """A prepared request whose URL was set by hand is quoted or refused too."""
    warm = Warm(serve)
    request = session.prepare_request(requests.Request("GET", warm.url))
    request.url = warm.url + target
    try:
        session.send(request, timeout=PATIENCE)
    except REFUSALS:
        assert warm.heads == []
    else:
        assert b"\nX: y" not in warm.heads[0]
        assert warm.heads[0].partition(b"\r\n")[0].count(b" ") == 2


# urllib3 2.7 makes %20 and %0A of them, and there is no such host.
BLANK, BREAK = (
    pytest.param(url, marks=needs("urllib3", "2.8"), id=ascii(url))
    for url in ("http://a b/", "http://a\nb/")
)


@pytest.mark.parametrize(
    "url",
    ["http://", BLANK, BREAK, "http://\ud800/", "http://*.example/",
     "http://.example/", "http://[::1/", "http://" + "\u00fc" * 64 + ".example/",
     "http://host.example:99999/", "http://host.example:8x/"],
    ids=ascii,
)  # fmt: skip
def test_host_through_requests(url: str, requests_refuses: Any) -> None:
    requests_refuses(requests.exceptions.InvalidURL, url=url)


@pytest.mark.parametrize(
    "timeout",
    [-1, NAN, (-1, 5), (5, -1), (NAN, 5), (5, NAN), Timeout(read=5.0, connect=NAN)],
    ids=str,
)
def test_timeout_through_requests(timeout: Any, requests_refuses: Any) -> None:
    """As with the stock adapter, ValueError."""
    told = requests_refuses(ValueError, timeout=timeout)
    assert "timeout" in str(told).lower()


@pytest.mark.parametrize("timeout", ["soon", object(), (1, "soon")], ids=["str", "object", "pair"])
def test_timeout_of_wrong_type_through_requests(timeout: Any, requests_refuses: Any) -> None:
    told = requests_refuses((ValueError, TypeError), timeout=timeout)
    assert "timeout" in str(told).lower()


@pytest.mark.parametrize("url", ["ftp://host.example/", "file:///etc/passwd", "gopher://a.example"])
def test_scheme_through_requests(url: str, requests_refuses: Any) -> None:
    requests_refuses(requests.exceptions.InvalidSchema, url=url)


@pytest.mark.parametrize("scheme", ["ftp", "socks5"])
def test_scheme_through_the_adapter(scheme: str, serve: Serve) -> None:
    """An adapter mounted for a scheme that it does not speak says so."""
    with requests.Session() as session:
        session.mount(scheme, HTTPAdapter())
        with pytest.raises(requests.RequestException) as caught:
            session.get(f"{scheme}://host.example/", timeout=PATIENCE)
    assert isinstance(caught.value, (requests.exceptions.InvalidSchema, ValueError))
    assert scheme in str(caught.value)


@pytest.mark.parametrize("body", [7, object()], ids=["int", "object"])
def test_body_of_wrong_type_through_requests(body: Any, requests_refuses: Any) -> None:
    told = requests_refuses((TypeError, requests.RequestException), method="POST", data=body)
    assert "body" in str(told).lower() or "stream" in str(told).lower() or "int" in str(told)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_connections", 0),
        ("max_connections", "7"),
        ("max_connections", -1),
        ("max_connections_per_host", 0),
        ("max_keepalive_connections", -1),
        ("keepalive_expiry", -1),
        ("keepalive_expiry", NAN),
        ("max_age", -1),
        ("max_age", "7"),
        ("retries", -1),
        ("retries", 1.5),
        ("parsing", "sloppy"),
    ],
)
def test_options_of_a_pool(option: str, value: Any) -> None:
    """An argument that cannot be is refused, by name, when the pool is made."""
    options: dict[str, Any] = {option: value}
    with pytest.raises((TypeError, ValueError)) as caught:
        httpcore.ConnectionPool(**options)
    assert option in str(caught.value)


# ---------------------------------------------------------------------------------------------
# From the server

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

# Answers that are wrong as they stand, though the connection stays open: the error comes at once.
WRONG_AT_ONCE = {
    "chunk-size-no-number": CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
    "chunk-size-negative": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "chunk-size-0x": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk-size-empty": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "chunk-size-huge": CHUNKED + b"f" * 30 + b"\r\nhello\r\n0\r\n\r\n",
    "chunk-too-short": CHUNKED + b"3\r\nhello\r\n0\r\n\r\n",
    "chunk-too-long": CHUNKED + b"6\r\nhello\r\n0\r\n\r\n",
    "chunk-after-good-one": CHUNKED + b"5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n",
    "chunk-line-endless": CHUNKED + b"5;" + b"x" * 110_000,
    "trailers-endless": CHUNKED + b"0\r\n" + b"X: y\r\n" * 20_000,
    "lengths-differ": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "lengths-differ-joined": HEAD + b"Content-Length: 5, 6\r\n\r\nhello",
    "head-over-100-kb": HEAD + b"X: y\r\n" * 17_067 + b"Content-Length: 5\r\n\r\nhello",
    "head-endless": HEAD + b"X: y\r\n" * 20_000,
    "head-one-endless-line": HEAD + b"X: " + b"y" * 110_000,
    "status-line-endless": b"HTTP/1.1 200 " + b"O" * 110_000,
    "interim-endless": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    "no-http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "tls-record": b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n",
    "http-0.9": b"<html>hello</html>\r\n\r\n",
    "http-2": b"HTTP/2.0 200 OK\r\n\r\n",
    "status-two-digits": b"HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello",
    "status-no-number": b"HTTP/1.1 abc OK\r\nContent-Length: 5\r\n\r\nhello",
}
# Refused as h11 does in strict mode only; requests reads them today.
WRONG_WHEN_STRICT = {
    "length-no-number": HEAD + b"Content-Length: five\r\n\r\nhello",
    "length-negative": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "coding-unknown": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "bad-header-line": HEAD + b"no colon\r\nContent-Length: 5\r\n\r\nhello",
    "value-nul": HEAD + b"X: a\0b\r\nContent-Length: 5\r\n\r\nhello",
    "chunk-bare-lf": CHUNKED + b"5\nhello\n0\n\n",
    "unasked-101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nhello",
}
# Wrong once the server closes.
TRUNCATED = {
    "no-byte": b"",
    "half-status-line": b"HTTP/1.1 2",
    "half-head": HEAD + b"Content-Length: 5\r\n",
    "half-body": HEAD + b"Content-Length: 10\r\n\r\nhello",
    "no-body": HEAD + b"Content-Length: 10\r\n\r\n",
    "half-chunk": CHUNKED + b"a\r\nhello",
    "half-chunk-line": CHUNKED + b"5\r\nhello\r\n5",
    "no-last-chunk": CHUNKED + b"5\r\nhello\r\n",
    "after-continue": b"HTTP/1.1 100 Continue\r\n\r\n",
}
# The response itself for requests, as any status but 100 is; cut for a strict reader.
CUT_WHEN_STRICT = {"after-interim": b"HTTP/1.1 103 Early Hints\r\n\r\n"}
GOOD = HEAD + b"Content-Length: 4\r\n\r\ngood"


class Misbehaving:
    """Answers ``/good`` well and anything else with `answer`, after which it closes or waits."""

    def __init__(self, answer: bytes, *, close: bool) -> None:
        self.answer = answer
        self.close = close

    def __call__(self, peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.path == "/good":
                peer.send(GOOD)
                continue
            peer.send(self.answer)
            if self.close:
                return
            peer.wait_closed()
            return


WITHIN = {"timeout": {"read": PATIENCE, "pool": PATIENCE}}

# What comes before the fault is right. A chunk that is said to be longer has the CR behind it.
BEFORE_THE_FAULT = b"hello\r"


def read_at_once(pool: httpcore.ConnectionPool, url: str) -> None:
    pool.request("POST", url, extensions=WITHIN)


def read_in_pieces(pool: httpcore.ConnectionPool, url: str) -> None:
    with pool.stream("POST", url, extensions=WITHIN) as response:
        for piece in response.stream:
            assert piece in BEFORE_THE_FAULT


def core_refuses(server: ScriptedServer, pool: httpcore.ConnectionPool) -> None:
    """The answer is an error, read in either way; no connection is reused."""
    assert pool.request("GET", server.url + "/good", extensions=WITHIN).content == b"good"
    for read in (read_at_once, read_in_pieces):
        with pytest.raises(httpcore.RemoteProtocolError) as caught:
            read(pool, server.url + "/bad")
        assert str(caught.value)
        assert caught.value.phase != "not_sent"
        assert pool.connections == []
    assert pool.request("GET", server.url + "/good", extensions=WITHIN).content == b"good"
    # One served /good and the first bad one; then one more each time.
    assert server.accepted == 3


def consume(session: requests.Session, url: str, stream: bool) -> None:
    response = session.post(url, stream=stream, timeout=PATIENCE)
    for piece in response.iter_content(3):
        assert piece in BEFORE_THE_FAULT


def requests_refuse(server: ScriptedServer, session: requests.Session, errors: Any) -> None:
    """The same through requests."""
    pool = session.get_adapter(server.url).pool
    assert session.get(server.url + "/good", timeout=PATIENCE).content == b"good"
    for stream in (False, True):
        with pytest.raises(errors):
            consume(session, server.url + "/bad", stream)
        assert pool.connections == []
    assert session.get(server.url + "/good", timeout=PATIENCE).content == b"good"
    assert server.accepted == 3


SERVER_ERRORS = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


@pytest.mark.parametrize("parsing", ["strict", "lenient"])
@pytest.mark.parametrize("name", WRONG_AT_ONCE)
def test_answer_that_is_wrong(name: str, parsing: str, serve: Serve) -> None:
    """ "Bad chunk, conflicting lengths, head over 100 kB: `RemoteProtocolError`, never wrong bytes,
    never a reused connection, never a hang": the server keeps the connection open."""
    server = serve(Misbehaving(WRONG_AT_ONCE[name], close=False))
    with httpcore.ConnectionPool(parsing=parsing) as pool:
        core_refuses(server, pool)


@pytest.mark.parametrize("name", WRONG_AT_ONCE)
def test_answer_that_is_wrong_through_requests(
    name: str, serve: Serve, session: requests.Session
) -> None:
    """ "(and requests' `ChunkedEncodingError`/`ConnectionError`)"; unequal lengths are requests'
    InvalidHeader, as with the stock adapter."""
    server = serve(Misbehaving(WRONG_AT_ONCE[name], close=False))
    conflict = name.startswith("lengths-differ")
    errors = requests.exceptions.InvalidHeader if conflict else SERVER_ERRORS
    requests_refuse(server, session, errors)


@pytest.mark.parametrize("name", WRONG_WHEN_STRICT)
def test_answer_that_is_wrong_when_read_strictly(name: str, serve: Serve) -> None:
    server = serve(Misbehaving(WRONG_WHEN_STRICT[name], close=False))
    with httpcore.ConnectionPool() as pool:
        core_refuses(server, pool)


@pytest.mark.parametrize("parsing", ["strict", "lenient"])
@pytest.mark.parametrize("name", TRUNCATED)
def test_answer_that_is_cut(name: str, parsing: str, serve: Serve) -> None:
    """ "Truncated body: `RemoteProtocolError` [...]" and a truncated head as well."""
    server = serve(Misbehaving(TRUNCATED[name], close=True))
    with httpcore.ConnectionPool(parsing=parsing) as pool:
        core_refuses(server, pool)


@pytest.mark.parametrize("name", CUT_WHEN_STRICT)
def test_answer_that_is_cut_when_read_strictly(name: str, serve: Serve) -> None:
    server = serve(Misbehaving(CUT_WHEN_STRICT[name], close=True))
    with httpcore.ConnectionPool() as pool:
        core_refuses(server, pool)


@pytest.mark.parametrize(
    ("answer", "status", "excess"),
    [
        (WRONG_WHEN_STRICT["unasked-101"], 101, b"hello"),
        (CUT_WHEN_STRICT["after-interim"], 103, b""),
    ],
)
def test_answer_that_hands_the_connection_over(
    answer: bytes, status: int, excess: bytes, serve: Serve
) -> None:
    """What a lenient reader returns in place of an error takes its connection along: the caller's
    to close, and never reused. What follows the head is no body."""
    server = serve(Misbehaving(answer, close=True))
    with httpcore.ConnectionPool(parsing="lenient") as pool:
        assert pool.request("GET", server.url + "/good", extensions=WITHIN).content == b"good"
        with pool.stream("GET", server.url + "/bad", extensions=WITHIN) as response:
            assert (response.status, response.read()) == (status, b"")
            assert response.extensions["network_stream"].read(100, PATIENCE) == excess
        assert pool.connections == []
        assert pool.request("GET", server.url + "/good", extensions=WITHIN).content == b"good"
    assert server.accepted == 2


@pytest.mark.parametrize("name", TRUNCATED)
def test_answer_that_is_cut_through_requests(
    name: str, serve: Serve, session: requests.Session
) -> None:
    server = serve(Misbehaving(TRUNCATED[name], close=True))
    requests_refuse(server, session, SERVER_ERRORS)


@pytest.mark.parametrize("name", [*TRUNCATED, *CUT_WHEN_STRICT])
def test_answer_that_stops(name: str, serve: Serve, session: requests.Session) -> None:
    """ "Never a hang beyond the timeout": the server stops in the middle and keeps the connection
    open. What times out is not reused either."""
    server = serve(Misbehaving({**TRUNCATED, **CUT_WHEN_STRICT}[name], close=False))
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(httpcore.ReadTimeout):
            pool.request("GET", server.url + "/bad", extensions={"timeout": {"read": SHORT}})
        assert pool.connections == []
    with pytest.raises((requests.Timeout, requests.ConnectionError)) as caught:
        session.get(server.url + "/bad", timeout=SHORT)
    assert "timed out" in str(caught.value)
    assert session.get_adapter(server.url).pool.connections == []


@pytest.mark.parametrize(
    "after", [HEAD + b"Content-Length: 10\r\n\r\nhello", CHUNKED + b"a\r\nhel"]
)
def test_answer_that_is_reset(after: bytes, serve: Serve, session: requests.Session) -> None:
    """An RST in the middle of a body is a failure of the network, and of the response."""

    def handler(peer: Peer) -> None:
        if peer.recv_request() is not None:
            peer.send(after)
            has_head.wait(PATIENCE)
            peer.reset()
            was_reset.release()

    server = serve(handler)
    has_head, was_reset = server.event(), threading.Semaphore(0)
    with httpcore.ConnectionPool() as pool:
        with pool.stream("GET", server.url, extensions=WITHIN) as response:
            has_head.set()
            assert was_reset.acquire(timeout=PATIENCE)
            with pytest.raises((httpcore.ReadError, httpcore.RemoteProtocolError)) as caught:
                response.read()
        assert caught.value.phase == "response_started"
        assert pool.connections == []
    response = session.get(server.url, stream=True, timeout=PATIENCE)
    with pytest.raises(SERVER_ERRORS):
        list(response.iter_content(3))
    assert session.get_adapter(server.url).pool.connections == []


AFTER_THE_END = {
    "length": HEAD + b"Content-Length: 5\r\n\r\nhello",
    "chunked": CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    "chunked-trailers": CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "empty": HEAD + b"Content-Length: 0\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "after-interim": b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello",
}
INJECTED = HEAD + b"Content-Length: 8\r\n\r\ninjected"


class Chatty:
    """Answers, and adds bytes that nobody asked for: with the answer, or as soon as the client
    has read it."""

    def __init__(self, answer: bytes, extra: bytes, *, later: bool) -> None:
        self.answer = answer
        self.extra = extra
        self.later = later
        self.read: Any = None
        self.sent: Any = None

    def start(self, serve: Serve) -> ScriptedServer:
        server = serve(self)
        self.read, self.sent = server.event(), server.event()
        return server

    def __call__(self, peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.path == "/good":
                peer.send(GOOD)
            elif self.later:
                peer.send(self.answer)
                self.read.wait(PATIENCE)
                peer.send(self.extra)
                self.sent.set()
            else:
                peer.send(self.answer + self.extra)


@pytest.mark.parametrize("later", [False, True], ids=["at-once", "later"])
@pytest.mark.parametrize("extra", [b"x", b"\r\n", INJECTED], ids=["byte", "line", "answer"])
@pytest.mark.parametrize("name", AFTER_THE_END)
def test_bytes_after_the_end(name: str, extra: bytes, later: bool, serve: Serve) -> None:
    """ "Bytes after the end: [...] never wrong bytes, never a reused connection." The answer
    itself is whole; what follows it is never the answer to the next request."""
    body = b"hello" if b"hello" in AFTER_THE_END[name] else b""
    for parsing in ("strict", "lenient"):
        handler = Chatty(AFTER_THE_END[name], extra, later=later)
        server = handler.start(serve)
        with httpcore.ConnectionPool(parsing=parsing) as pool:
            assert pool.request("GET", server.url + "/bad").content == body
            if later:
                handler.read.set()
                assert handler.sent.wait(PATIENCE)
            else:
                assert pool.connections == []
            assert pool.request("GET", server.url + "/good").content == b"good"
        assert server.accepted == 2


@pytest.mark.parametrize("later", [False, True], ids=["at-once", "later"])
@pytest.mark.parametrize("stream", [False, True], ids=["read", "streamed"])
@pytest.mark.parametrize("name", AFTER_THE_END)
def test_bytes_after_the_end_through_requests(
    name: str, stream: bool, later: bool, serve: Serve, session: requests.Session
) -> None:
    body = b"hello" if b"hello" in AFTER_THE_END[name] else b""
    handler = Chatty(AFTER_THE_END[name], INJECTED, later=later)
    server = handler.start(serve)
    response = session.get(server.url + "/bad", stream=stream, timeout=PATIENCE)
    assert b"".join(response.iter_content(2)) == body
    if later:
        handler.read.set()
        assert handler.sent.wait(PATIENCE)
    assert session.get(server.url + "/good", timeout=PATIENCE).content == b"good"
    assert server.accepted == 2


def test_body_of_an_answer_to_head(serve: Serve, session: requests.Session) -> None:
    """A body where none may be (RFC 9110 section 9.3.2) is bytes after the end."""
    handler = Chatty(HEAD + b"Content-Length: 5\r\n\r\n", b"hello", later=False)
    server = handler.start(serve)
    assert session.head(server.url + "/bad", timeout=PATIENCE).content == b""
    assert session.get(server.url + "/good", timeout=PATIENCE).content == b"good"
    assert server.accepted == 2
