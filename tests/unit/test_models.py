"""The nouns: how strings become bytes, which URLs there are, which headers a body needs.

Owns: `httpcore._models`. Must not know: connections.
"""

from __future__ import annotations

import array
import asyncio
import io
import os
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import httpcore
from httpcore import _models
from httpcore._exceptions import LocalProtocolError, UnsupportedProtocol

# --- URL ---


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "target"),
    [
        ("http://example.com", b"http", b"example.com", None, b"/"),
        ("HTTP://EXAMPLE.com/Path", b"http", b"example.com", None, b"/Path"),
        ("https://example.com:443/", b"https", b"example.com", 443, b"/"),
        ("http://example.com:/x", b"http", b"example.com", None, b"/x"),
        ("http://example.com:0/x", b"http", b"example.com", 0, b"/x"),
        ("http://example.com:65535/x", b"http", b"example.com", 65535, b"/x"),
        ("http://example.com?q=1", b"http", b"example.com", None, b"/?q=1"),
        ("http://example.com/a?b?c/d", b"http", b"example.com", None, b"/a?b?c/d"),
        ("http://example.com/a#frag?x", b"http", b"example.com", None, b"/a"),
        ("http://example.com#frag", b"http", b"example.com", None, b"/"),
        ("http://user:pw@example.com/", b"http", b"example.com", None, b"/"),
        ("http://[::1]:8080/x", b"http", b"::1", 8080, b"/x"),
        ("http://[FE80::1%25eth0]/", b"http", b"fe80::1%25eth0", None, b"/"),
        # The name of an interface has capital letters of its own.
        ("http://[FE80::A%25Eth0]/", b"http", b"fe80::a%25Eth0", None, b"/"),
        ("http://" + "A" * 63 + ".test./", b"http", b"a" * 63 + b".test.", None, b"/"),
        ("http://127.0.0.1:81/", b"http", b"127.0.0.1", 81, b"/"),
        ("http://under_score.example---x/", b"http", b"under_score.example---x", None, b"/"),
        ("http://example.com./", b"http", b"example.com.", None, b"/"),
        # Everything in ASCII goes through byte for byte: escapes, dots, doubled slashes, `;`.
        (
            "http://h/%7e/../a//b;p=1?x=%zz&y=[1]|",
            b"http",
            b"h",
            None,
            b"/%7e/../a//b;p=1?x=%zz&y=[1]|",
        ),
        # A port that cannot be is found out by whoever connects to it.
        ("http://h:65536/", b"http", b"h", 65536, b"/"),
        ("http://h:000123456/", b"http", b"h", 123456, b"/"),
        ("ws://h/", b"ws", b"h", None, b"/"),
        ("x+y.z-1://h/", b"x+y.z-1", b"h", None, b"/"),
    ],
)
def test_parsing_a_url(
    url: str, scheme: bytes, host: bytes, port: int | None, target: bytes
) -> None:
    parsed = httpcore.URL(url)
    assert (parsed.scheme, parsed.host, parsed.port, parsed.target) == (scheme, host, port, target)
    assert httpcore.URL(url.encode("ascii")) == parsed


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        # IDNA for the host, escaped UTF-8 for the rest (RFC 3987 section 3.1).
        ("http://bücher.example/", b"xn--bcher-kva.example", b"/"),
        ("http://BÜCHER.example/", b"xn--bcher-kva.example", b"/"),
        ("http://straße.example/", b"xn--strae-oqa.example", b"/"),
        ("http://h/ä?ö=€", b"h", b"/%C3%A4?%C3%B6=%E2%82%AC"),
        ("http://h/%C3%A4ä", b"h", b"/%C3%A4%C3%A4"),
    ],
)
def test_text_outside_ascii(url: str, host: bytes, target: bytes) -> None:
    """A request encodes it; `URL` refuses it, as in 1.0.9."""
    encoded = httpcore.Request("GET", url).url
    assert (encoded.host, encoded.target) == (host, target)
    assert httpcore.Proxy(url).url.host == host
    with pytest.raises(TypeError, match=r"^url strings may not include unicode characters\.$"):
        httpcore.URL(url)


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("example.com/path", UnsupportedProtocol, "is missing an 'http://' or 'https://' protocol"),
        ("/path", UnsupportedProtocol, "is missing an 'http://' or 'https://' protocol"),
        (
            "mailto:me@example.com",
            UnsupportedProtocol,
            "is missing an 'http://' or 'https://' protocol",
        ),
        ("://example.com", UnsupportedProtocol, "is missing an 'http://' or 'https://' protocol"),
        ("/path?next=http://h/", UnsupportedProtocol, "is missing an 'http://' or"),
        ("1http://example.com", LocalProtocolError, "malformed"),
        ("http://", LocalProtocolError, "host '' is missing"),
        ("http:///path", LocalProtocolError, "host '' is missing"),
        ("http://:80/", LocalProtocolError, "host '' is missing"),
        ("http://[]/", LocalProtocolError, "host '' is missing"),
        ("http://[::1/", LocalProtocolError, "malformed"),
        ("http://::1/", LocalProtocolError, "malformed"),
        ("http://h:x/", LocalProtocolError, "malformed"),
        ("http://h:-1/", LocalProtocolError, "malformed"),
        ("http://h:" + "9" * 5000 + "/", LocalProtocolError, "port 99999999... is no port"),
        ("http://a@b@c/", LocalProtocolError, "has characters that no host may have"),
        # Of a.test for urllib3 and for browsers.
        ("http://a.test\\@b.test/", LocalProtocolError, "a backslash before the host %5C"),
        ("http://a.test\\:b@b.test/", LocalProtocolError, "malformed"),
        ("http://a:b\\@b.test/", LocalProtocolError, "malformed"),
        ("http://a.test\\b.test/", LocalProtocolError, "has characters that no host may have"),
        ("http://a b/", LocalProtocolError, "has characters that no host may have"),
        ("http://a\r\nb/", LocalProtocolError, "has characters that no host may have"),
        ("http://a\0b/", LocalProtocolError, "has characters that no host may have"),
        # Row 52.
        ("http://.example.test/", LocalProtocolError, "a part of no or too many characters"),
        ("http://a..test/", LocalProtocolError, "a part of no or too many characters"),
        ("http://./", LocalProtocolError, "a part of no or too many characters"),
        ("http://" + "a" * 64 + ".test/", LocalProtocolError, "a part of no or too many"),
        (b"http://b\xfccher.example/", LocalProtocolError, "must be ASCII"),
    ],
)
def test_urls_that_cannot_be(url: str | bytes, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)) as caught:
        httpcore.URL(url)
    assert caught.value.phase == "not_sent"  # type: ignore[attr-defined]


@pytest.mark.parametrize("url", ["http://ex\u2028ample/", "http://" + "ä" * 64 + ".example/"])
def test_hosts_that_cannot_be_encoded(url: str) -> None:
    with pytest.raises(LocalProtocolError, match="cannot be encoded") as caught:
        httpcore.Request("GET", url)
    assert caught.value.phase == "not_sent"


@pytest.mark.parametrize("url", [5, ["http://h/"], object()])
def test_a_url_of_the_wrong_type(url: Any) -> None:
    with pytest.raises(TypeError, match="url must be"):
        httpcore.URL(url)


def test_url_bytearray() -> None:
    assert httpcore.URL(bytearray(b"http://h/")) == httpcore.URL("http://h/")  # type: ignore[arg-type]


def test_url_from_parts_is_taken_as_given() -> None:
    url = httpcore.URL(scheme="https", host=b"H", port=None, target="*")
    assert (url.scheme, url.host, url.port, url.target) == (b"https", b"H", None, b"*")
    empty = httpcore.URL()
    assert (empty.scheme, empty.host, empty.port, empty.target) == (b"", b"", None, b"")


@pytest.mark.parametrize("part", ["scheme", "host", "target"])
def test_url_parts_are_bytes_or_ascii(part: str) -> None:
    with pytest.raises(TypeError, match=f"^{part} strings may not include unicode characters"):
        httpcore.URL(**{part: "ä"})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=f"{part} must be bytes or str, but got int"):
        httpcore.URL(**{part: 5})  # type: ignore[arg-type]


def test_url_port_from_parts_is_checked() -> None:
    with pytest.raises(LocalProtocolError, match="port -1 is negative"):
        httpcore.URL(scheme=b"http", host=b"h", port=-1, target=b"/")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://h/x?y", "http://h/x?y"),
        ("http://h:81/", "http://h:81/"),
        ("http://[::1]/", "http://[::1]/"),
        ("http://[::1]:81/", "http://[::1]:81/"),
    ],
)
def test_url_as_bytes_and_str(url: str, text: str) -> None:
    parsed = httpcore.URL(url)
    assert str(parsed) == text
    assert bytes(parsed) == text.encode()
    assert httpcore.URL(str(parsed)) == parsed


def test_url_str_shows_odd_bytes() -> None:
    assert str(httpcore.URL(scheme=b"http", host=b"\xff", target=b"/")) == "http://\\xff/"


def test_url_equality_and_hash() -> None:
    base = httpcore.URL("http://h:80/x")
    assert base == httpcore.URL(scheme=b"http", host=b"h", port=80, target=b"/x")
    assert hash(base) == hash(httpcore.URL("http://h:80/x"))
    for other in ("https://h:80/x", "http://i:80/x", "http://h/x", "http://h:80/y"):
        assert base != httpcore.URL(other)
    assert base != "http://h:80/x"


@pytest.mark.parametrize(
    ("scheme", "port"),
    [("http", 80), ("https", 443), ("ws", 80), ("wss", 443), ("socks5", 1080), ("socks5h", 1080)],
)
def test_default_ports(scheme: str, port: int) -> None:
    assert httpcore.URL(f"{scheme}://h/").origin.port == port
    assert httpcore.URL(f"{scheme}://h:5/").origin.port == 5


def test_origin_of_a_scheme_without_a_default_port() -> None:
    assert httpcore.URL("gopher://h:70/").origin.port == 70
    with pytest.raises(UnsupportedProtocol, match="unsupported protocol 'gopher://'"):
        _ = httpcore.URL("gopher://h/").origin
    with pytest.raises(UnsupportedProtocol, match="is missing an"):
        _ = httpcore.URL(host=b"h").origin


# --- Origin ---


def test_origin() -> None:
    origin = httpcore.Origin(b"https", b"example.com", 443)
    assert str(origin) == "https://example.com:443"
    assert repr(origin) == "<Origin https://example.com:443>"
    assert str(httpcore.Origin(b"http", b"::1", 80)) == "http://[::1]:80"
    assert str(httpcore.Origin(b"http", b"\xe4", 80)) == "http://\\xe4:80"


def test_origin_equality_and_hash() -> None:
    origin = httpcore.Origin(b"https", b"h", 443)
    assert origin == httpcore.URL("https://h/").origin
    assert len({origin, httpcore.URL("https://h/").origin}) == 1
    for other in ((b"http", b"h", 443), (b"https", b"i", 443), (b"https", b"h", 444)):
        assert origin != httpcore.Origin(*other)
    assert origin != "https://h:443"


# --- headers ---


@pytest.mark.parametrize(
    ("given", "pairs"),
    [
        (None, []),
        ([], []),
        ([(b"A", b"1"), ("B", "2"), (b"C", "3")], [(b"A", b"1"), (b"B", b"2"), (b"C", b"3")]),
        ([[b"A", b"1"]], [(b"A", b"1")]),
        ({"A": "1", b"B": b"2"}, [(b"A", b"1"), (b"B", b"2")]),
        ((pair for pair in [(b"A", b"1")]), [(b"A", b"1")]),
    ],
)
def test_headers_become_byte_pairs(given: Any, pairs: list[tuple[bytes, bytes]]) -> None:
    assert httpcore.Request("GET", "http://h/", headers=given).headers == pairs


def test_headers_are_a_new_list() -> None:
    given = [(b"A", b"1")]
    assert httpcore.Request("GET", "http://h/", headers=given).headers is not given


class Bytes(bytes):
    """A subclass, as some libraries have for header values."""


def test_header_subclasses_of_bytes_become_bytes() -> None:
    pairs = httpcore.Request("GET", "http://h/", headers=[(Bytes(b"A"), Bytes(b"1"))]).headers
    assert [type(part) for pair in pairs for part in pair] == [bytes, bytes]


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"A": 1}, "header value must be bytes or str, but got int"),
        ({1: "A"}, "header name must be bytes or str, but got int"),
        ({"A": None}, "header value must be bytes or str, but got NoneType"),
        ({"A": "ü"}, "header value strings may not include unicode characters"),
        ({"Ä": "u"}, "header name strings may not include unicode characters"),
        ({"A": 5}, "^header value must be bytes or str, but got int[.] The header is 'A'[.]$"),
        ([("A", "b"), ("C", "\xe9")], "value strings may not .* The header is 'C'[.]$"),
        ({5: "a"}, "^header name must be bytes or str, but got int[.]$"),
        ({"\xe9": "a"}, "^header name strings may not include unicode characters[.]$"),
        ([("A",)], "sequence of two-tuples: "),
        ([("A", "b", "c")], "sequence of two-tuples: "),
        ("A: b", "sequence of two-tuples: "),
        (5, "^headers must be a mapping or sequence of two-tuples, but got int[.]$"),
    ],
)
def test_headers_of_the_wrong_type(headers: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        httpcore.Request("GET", "http://h/", headers=headers)


# --- Request ---


def test_request_fields() -> None:
    url = httpcore.URL("http://h/x")
    extensions = {"timeout": {"read": 1.0}}
    request = httpcore.Request("GET", url, extensions=extensions)
    assert request.method == b"GET"
    assert request.url is url
    assert request.extensions is extensions
    assert list(request.stream) == [b""]
    assert repr(request) == "<Request [b'GET']>"
    assert httpcore.Request(b"GET", "http://h/x").url == url
    assert httpcore.Request(b"GET", b"http://h/x").extensions == {}


def test_request_takes_urls_of_a_subclass() -> None:
    class Mine(httpcore.URL):
        pass

    url = Mine("http://h/")
    assert httpcore.Request("GET", url).url is url


def test_request_target_extension() -> None:
    request = httpcore.Request("OPTIONS", "http://h:81/x", extensions={"target": b"*"})
    assert request.url == httpcore.URL(scheme=b"http", host=b"h", port=81, target=b"*")


@pytest.mark.parametrize(("method", "text"), [(5, "method must be"), ("GÊT", "method strings may")])
def test_request_method_of_the_wrong_type(method: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        httpcore.Request(method, "http://h/")


@pytest.mark.parametrize("url", [None, 5, object()])
def test_request_url_of_the_wrong_type(url: Any) -> None:
    with pytest.raises(TypeError, match="url must be"):
        httpcore.Request("GET", url)


@pytest.mark.parametrize("url", ["", b""])
def test_request_url_that_is_empty(url: str | bytes) -> None:
    with pytest.raises(UnsupportedProtocol, match="missing an"):
        httpcore.Request("GET", url)


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


@pytest.mark.parametrize(
    "content",
    [
        io.BytesIO(b"x"),
        [b"a", b"b"],
        iter([b"a"]),
        _nothing(),
        type("Old", (), {"__getitem__": lambda self, index: [b"x"][index]})(),
        type("Reader", (), {"read": lambda self, size: b""})(),
    ],
)
def test_request_content_that_streams_is_kept(content: Any) -> None:
    assert httpcore.Request("POST", "http://h/", content=content).stream is content


@pytest.mark.parametrize("content", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_request_content_that_is_there(content: Any) -> None:
    stream: Any = httpcore.Request("POST", "http://h/", content=content).stream
    assert list(stream) == [b"abc"]
    assert len(stream) == 3
    assert repr(stream) == "<ByteStream [3 bytes]>"


@pytest.mark.parametrize("content", ["text", 5, {"a": 1}, object()])
def test_request_content_of_the_wrong_type(content: Any) -> None:
    with pytest.raises(TypeError, match=f"content must be .* not {type(content).__name__}"):
        httpcore.Request("POST", "http://h/", content=content)


# --- the headers a request needs ---


def required(url: str, content: Any = None, headers: Any = ()) -> list[tuple[bytes, bytes]]:
    return _models.build_request("GET", url, list(headers), content, None, None).headers


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://h/", b"h"),
        ("http://h:80/", b"h"),
        ("http://h:443/", b"h:443"),
        ("https://h:443/", b"h"),
        ("https://h:80/", b"h:80"),
        ("http://[::1]/", b"[::1]"),
        ("http://[::1]:81/", b"[::1]:81"),
        ("http://[fe80::1%eth0]:81/", b"[fe80::1]:81"),
        ("gopher://h:70/", b"h:70"),
    ],
)
def test_host_is_first(url: str, host: bytes) -> None:
    assert required(url, headers=[(b"A", b"1")]) == [(b"Host", host), (b"A", b"1")]


def test_host_that_is_there_stays() -> None:
    given = [(b"A", b"1"), (b"hOST", b"other")]
    assert required("http://h/", headers=given) == given


def file_at(position: int, content: bytes) -> io.BytesIO:
    file = io.BytesIO(content)
    file.seek(position)
    return file


@pytest.mark.parametrize(
    ("content", "framing"),
    [
        (None, None),
        (b"", (b"Content-Length", b"0")),
        (b"abc", (b"Content-Length", b"3")),
        (bytearray(b"abc"), (b"Content-Length", b"3")),
        (memoryview(b"abc"), (b"Content-Length", b"3")),
        (memoryview(array.array("I", [1, 2])), (b"Content-Length", b"8")),
        (file_at(0, b"abc"), (b"Content-Length", b"3")),
        (file_at(2, b"abc"), (b"Content-Length", b"1")),
        (file_at(5, b"abc"), (b"Content-Length", b"0")),
        ([b"abc"], (b"Transfer-Encoding", b"chunked")),
        (iter([b"abc"]), (b"Transfer-Encoding", b"chunked")),
    ],
)
def test_framing_of_a_body(content: Any, framing: tuple[bytes, bytes] | None) -> None:
    expected = [(b"Host", b"h")] + ([] if framing is None else [framing])
    assert required("http://h/", content) == expected


def test_nothing_is_no_bytes() -> None:
    assert _models.content_length(None) == 0


def test_measuring_a_file_leaves_its_position() -> None:
    file = file_at(1, b"abc")
    required("http://h/", file)
    assert file.tell() == 1


class ReadOnly:
    """Reads, and neither tells nor seeks."""

    def read(self, size: int) -> bytes:
        return b""


class SeeksToNone(ReadOnly):
    """A seek that returns nothing, as some old file-likes have."""

    def tell(self) -> int:
        return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        pass


@pytest.mark.parametrize("file", [ReadOnly(), SeeksToNone()])
def test_files_that_cannot_be_measured_are_chunked(file: Any) -> None:
    assert required("http://h/", file)[-1] == (b"Transfer-Encoding", b"chunked")


def test_a_pipe_is_chunked() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert required("http://h/", file)[-1] == (b"Transfer-Encoding", b"chunked")


def test_a_closed_file_is_chunked_and_fails_later() -> None:
    file = io.BytesIO()
    file.close()
    assert required("http://h/", file)[-1] == (b"Transfer-Encoding", b"chunked")


@pytest.mark.parametrize("given", [(b"content-LENGTH", b"9"), (b"transfer-ENCODING", b"chunked")])
def test_framing_that_is_there_stays(given: tuple[bytes, bytes]) -> None:
    assert required("http://h/", b"abc", [given]) == [(b"Host", b"h"), given]


# --- Response ---


def test_response_fields() -> None:
    response = httpcore.Response(200, headers={"A": "1"}, content=b"abc")
    assert (response.status, response.status_code) == (200, 200)
    assert response.headers == [(b"A", b"1")]
    assert response.extensions == {}
    assert repr(response) == "<Response [200]>"
    assert response.trailers == []
    assert response.read() == b"abc"
    assert response.read() == b"abc"
    assert (response.content, response.body) == (b"abc", b"abc")
    response.close()


def test_response_defaults() -> None:
    extensions = {"http_version": b"HTTP/1.1"}
    response = httpcore.Response(204, extensions=extensions)
    assert response.headers == []
    assert response.extensions is extensions
    assert response.read() == b""


def test_response_streams_once() -> None:
    response = httpcore.Response(200, content=iter([b"a", b"b"]))
    assert list(response.iter_stream()) == [b"a", b"b"]
    with pytest.raises(RuntimeError, match="only once"):
        list(response.iter_stream())
    with pytest.raises(RuntimeError, match="only once"):
        response.read()


def test_response_content_before_reading() -> None:
    with pytest.raises(RuntimeError, match=r"response.read\(\) first"):
        _ = httpcore.Response(200, content=iter([b"a"])).content


class AsyncBody:
    """An asynchronous stream with the attributes of ours."""

    trailers = ((b"T", b"1"),)

    def __init__(self) -> None:
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async def aclose(self) -> None:
        self.closed = True


def test_response_read_asynchronously() -> None:
    async def main() -> None:
        body = AsyncBody()
        response = httpcore.Response(200, content=body)
        with pytest.raises(RuntimeError, match=r"await response.aread\(\) first"):
            _ = response.content
        with pytest.raises(RuntimeError, match=r"asynchronous: use 'await response\.aread\(\)'"):
            response.read()
        with pytest.raises(
            RuntimeError, match=r"use 'async for part in response\.aiter_stream\(\)'"
        ):
            next(response.iter_stream())
        with pytest.raises(RuntimeError, match=r"asynchronous: use 'await response\.aclose\(\)'"):
            response.close()
        assert not body.closed
        assert await response.aread() == b"ab"
        assert await response.aread() == b"ab"
        assert response.content == b"ab"
        assert response.trailers == AsyncBody.trailers  # type: ignore[comparison-overlap]
        with pytest.raises(RuntimeError, match="only once"):
            [part async for part in response.aiter_stream()]
        await response.aclose()
        assert body.closed
        # A body that is all there can be read in either way.
        assert await httpcore.Response(200, content=b"abc").aread() == b"abc"
        await httpcore.Response(200, content=b"abc").aclose()

    asyncio.run(main())


def test_sync_response_read_asynchronously() -> None:
    async def main() -> None:
        response = httpcore.Response(200, content=iter([b"a"]))
        with pytest.raises(RuntimeError, match=r"is synchronous: use 'response\.read\(\)'"):
            await response.aread()
        with pytest.raises(RuntimeError, match=r"use 'for part in response\.iter_stream\(\)'"):
            response.aiter_stream()
        # It would leave the connection open, and nobody would hear of it.
        with pytest.raises(RuntimeError, match=r"is synchronous: use 'response\.close\(\)'"):
            await response.aclose()
        assert response.read() == b"a"

    asyncio.run(main())


class Body:
    """A synchronous stream that can be read at once and closed."""

    def __init__(self) -> None:
        self.closed = False
        self.reads = 0

    def __iter__(self) -> Iterator[bytes]:
        yield b"a"

    def read(self) -> bytes:
        self.reads += 1
        return b"all"

    def close(self) -> None:
        self.closed = True


def test_response_reads_a_stream_at_once_where_it_can() -> None:
    body = Body()
    response = httpcore.Response(200, content=body)
    assert response.read() == response.read() == b"all"
    assert body.reads == 1
    response.close()
    assert body.closed


# --- Proxy ---


def test_proxy() -> None:
    proxy = httpcore.Proxy("http://proxy:8080", headers=[("A", "1")])
    assert proxy.url == httpcore.URL("http://proxy:8080")
    assert proxy.headers == [(b"A", b"1")]
    assert (proxy.auth, proxy.ssl_context) == (None, None)
    assert repr(proxy) == "<Proxy [proxy:8080]>"
    assert repr(httpcore.Proxy("http://[::1]:8080")) == "<Proxy [[::1]:8080]>"
    assert repr(httpcore.Proxy("socks5://proxy")) == "<Proxy [proxy]>"


@pytest.mark.parametrize(
    "url", ["http://DOMAIN\\user:p\\w@proxy:80", b"http://DOMAIN\\user:p\\w@proxy:80"]
)
def test_the_user_of_a_proxy_may_have_a_backslash(url: str | bytes) -> None:
    proxy = httpcore.Proxy(url)
    assert (proxy.url.host, proxy.url.port) == (b"proxy", 80)
    assert proxy.auth == (b"DOMAIN\\user", b"p\\w")
    assert httpcore.Proxy(url, ("a", "b")).auth == (b"a", b"b")
    for other in (5, None):
        with pytest.raises(TypeError):
            httpcore.Proxy(other)  # type: ignore[arg-type]


def test_proxy_with_credentials_hides_them() -> None:
    proxy = httpcore.Proxy("http://proxy:8080", ("Aladdin", b"open sesame"), {"A": "1"})
    assert proxy.auth == (b"Aladdin", b"open sesame")
    # The example of RFC 7617 section 2.
    assert proxy.headers == [
        (b"Proxy-Authorization", b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        (b"A", b"1"),
    ]
    assert "sesame" not in repr(proxy)
    assert "Aladdin" not in repr(proxy)
    assert repr(proxy).startswith("<Proxy [proxy:8080")


def test_proxy_credentials_of_the_wrong_type() -> None:
    with pytest.raises(TypeError, match="auth must be"):
        httpcore.Proxy("http://proxy", (1, 2))  # type: ignore[arg-type]
