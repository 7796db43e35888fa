"""One HTTP/1.1 connection and the body of its response, over scripted streams.

Owns: `httpcore._sync.http11` and `response_body`. Must not know: sockets, pools (that is
`test_connection_pool`).
How bytes are framed is `test_h1`'s; here it matters what is read when, and what becomes of the
connection.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import httpcore
from httpcore._backends.huge_pages import HUGE_FROM, use_huge_pages
from httpcore._core import body_state
from httpcore._core.body_state import DRAIN_LIMIT
from httpcore._core.limits import MAX_READ_SIZE, READ_SIZE, WRITE_SIZE
from httpcore._exceptions import ConflictingLengths, IncompleteBody, ServerDisconnected, explain
from httpcore._sync import http11, response_body
from tests.support.servers import pattern
from tests.support.streams import (
    BODY_COMPLETE,
    BODY_STARTED,
    HEAD,
    HOST,
    ORIGIN,
    RESPONSE_CLOSED,
    SWITCH,
    UPGRADE,
    ReadsInto,
    Script,
    Trace,
    chunked,
    connect,
    content_length,
    length,
    ok,
    one_by_one,
    send,
    sent,
    write_error,
)

# --- every kind of body ---

IDLE, CLOSED = "IDLE", "CLOSED"

# Method, response, body, what becomes of the connection. Where the end of the connection ends
# the body, `end` follows the response.
BODIES = [
    pytest.param("GET", length(b"hello"), b"hello", IDLE, id="length"),
    pytest.param("GET", length(b""), b"", IDLE, id="length 0"),
    pytest.param("GET", chunked(b"he", b"llo"), b"hello", IDLE, id="chunked"),
    pytest.param("GET", chunked(), b"", IDLE, id="chunked, empty"),
    pytest.param("GET", chunked(b"he", end=b"3;x=y\r\nllo\r\n0\r\nT: 1\r\n\r\n"), b"hello", IDLE,
                 id="chunked, extension and trailer"),
    pytest.param("GET", ok(b"hello"), b"hello", CLOSED, id="until the end"),
    pytest.param("GET", ok(b"hello", b"Content-Length: 5", b"Connection: close"), b"hello", CLOSED,
                 id="length, close"),
    pytest.param("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", CLOSED,
                 id="HTTP/1.0"),
    pytest.param("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b"", IDLE, id="204"),
    pytest.param("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"", IDLE,
                 id="304 with length"),
    pytest.param("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"", IDLE,
                 id="HEAD with length"),
    pytest.param("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"", IDLE,
                 id="HEAD chunked"),
    pytest.param("HEAD", b"HTTP/1.1 200 OK\r\n\r\n", b"", IDLE, id="HEAD without"),
    # Both: RFC 9112 section 6.3 says chunked counts, and not to trust such a connection.
    pytest.param("GET", ok(b"5\r\nhello\r\n0\r\n\r\n", b"Content-Length: 9",
                           b"Transfer-Encoding: chunked"), b"hello", CLOSED, id="both"),
]  # fmt: skip


def pieces(data: bytes, how: str, until_end: bool) -> list[bytes]:
    split = data.find(b"\r\n\r\n") + 4
    parts = {
        "whole": [data],
        "head first": [data[:split], data[split:]],
        "byte by byte": one_by_one(data),
    }[how]
    return [part for part in parts if part] + ([b""] if until_end else [])


@pytest.mark.parametrize("how", ["whole", "head first", "byte by byte"])
@pytest.mark.parametrize(("method", "data", "body", "state"), BODIES)
def test_bodies(method: str, data: bytes, body: bytes, state: str, how: str) -> None:
    connection, stream = connect(*pieces(data, how, data == ok(b"hello")))
    response = send(connection, method)
    assert response.read() == body
    assert stream.reads == []
    assert response.stream.complete
    assert response.stream.closed
    assert response.stream.received == len(body)
    assert connection.info().split(", ")[2] == state
    assert stream.closed is (state == CLOSED)


def test_the_response() -> None:
    connection, stream = connect(
        b"HTTP/1.1 404 Nothing Here\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"
    )
    response = send(connection)
    assert response.status == 404
    assert response.headers == [(b"X-A", b"1"), (b"x-a", b"2"), (b"Content-Length", b"0")]
    extensions = dict(response.extensions)
    assert extensions.pop("connection").protocol == "HTTP/1.1"
    assert extensions.pop("timings").total >= 0
    assert extensions == {
        "http_version": b"HTTP/1.1",
        "reason_phrase": b"Nothing Here",
        "network_stream": stream,
        "reused": False,
    }
    assert stream.written == [b"GET /path HTTP/1.1\r\nHost: example.com\r\n\r\n"]


def test_a_second_request_on_the_same_connection() -> None:
    connection, stream = connect(length(b"one"), length(b"two"))
    assert send(connection).read() == b"one"
    response = send(connection)
    assert response.extensions["reused"] is True
    assert response.read() == b"two"
    assert len(stream.written) == 2
    assert not stream.closed


def test_a_request_that_closes() -> None:
    connection, stream = connect(length(b"one"))
    assert send(connection, headers=[(b"Connection", b"close")]).read() == b"one"
    assert stream.closed
    assert connection.is_closed()


@pytest.mark.parametrize(
    ("method", "data", "body"),
    [
        ("GET", length(b"hello") + b"excess", b"hello"),
        ("GET", length(b"") + b"excess", b""),
        ("GET", chunked(b"hello") + b"excess", b"hello"),
        ("HEAD", ok(b"excess", b"Content-Length: 6"), b""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\nexcess", b""),
        ("GET", length(b"one") + length(b"two, unasked"), b"one"),
    ],
)
@pytest.mark.parametrize("how", ["whole", "head first"])
def test_bytes_after_the_end_end_the_connection(
    method: str, data: bytes, body: bytes, how: str
) -> None:
    connection, stream = connect(*pieces(data, how, False))
    assert send(connection, method).read() == body
    # Bytes that were not read with the rest are found by the probe before the next request.
    assert stream.closed or stream.reads
    assert connection.is_closed() or stream.reads


def test_bytes_after_a_body_that_ends_in_the_same_read() -> None:
    connection, stream = connect(length(b"", 5), b"hello" + b"excess")
    assert send(connection).read() == b"hello"
    assert stream.closed


def test_lenient_parsing() -> None:
    data = b"HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 2\r\n\r\nok"
    strict, _ = connect(data)
    with pytest.raises(httpcore.RemoteProtocolError):
        send(strict)
    lenient, _ = connect(data, parsing="lenient")
    response = send(lenient)
    assert response.read() == b"ok"
    assert (b"X", b"1") in response.headers


# --- the ways to read a body ---

BODY = pattern(1000)


def by_iteration(body: Any) -> list[bytes]:
    return list(body)


def by_calling(body: Any) -> list[bytes]:
    return list(body())


def by_read_all(body: Any) -> list[bytes]:
    return [body.read()]


def by_negative_amount(body: Any) -> list[bytes]:
    return [body.read(-1)]


def by_read(body: Any) -> list[bytes]:
    return list(iter(lambda: body.read(7), b""))


def by_read1(body: Any) -> list[bytes]:
    return list(iter(lambda: body.read1(7), b""))


def by_readinto(body: Any) -> list[bytes]:
    parts = []
    buffer = bytearray(7)
    while count := body.readinto(buffer):
        parts.append(bytes(buffer[:count]))
    return parts


def by_turns(body: Any) -> list[bytes]:
    parts = [body.read(3), body.read1(5), next(iter(body))]
    buffer = bytearray(2)
    parts.append(bytes(buffer[: body.readinto(buffer)]))
    parts.append(body.read())
    return [part for part in parts if part]  # the iterator may have taken all that was left


READERS = [by_iteration, by_calling, by_read_all, by_negative_amount, by_read, by_read1]
READERS += [by_readinto, by_turns]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "reads",
    [
        pytest.param([length(BODY)], id="whole"),
        pytest.param([length(b"", 1000), BODY], id="head first"),
        pytest.param([length(BODY[:10], 1000), BODY[10:20], BODY[20:]], id="in parts"),
        pytest.param([length(b"", 1000), *one_by_one(BODY)], id="byte by byte"),
        pytest.param([chunked(BODY[:500], BODY[500:])], id="chunked"),
        pytest.param(one_by_one(chunked(BODY[:500], BODY[500:])), id="chunked byte by byte"),
        pytest.param([ok(), BODY, b""], id="until the end"),
    ],
)
def test_reading(reader: Callable[[Any], list[bytes]], reads: list[bytes]) -> None:
    connection, stream = connect(*reads)
    body = send(connection).stream
    parts = reader(body)
    assert b"".join(parts) == BODY
    assert all(parts)
    assert stream.reads == []
    # The end lasts.
    assert body.read() == body.read(5) == body.read1() == b""
    assert body.readinto(bytearray(5)) == 0
    assert list(body) == []
    assert body.complete
    assert body.closed


def test_read_gives_exactly_what_was_asked_for() -> None:
    connection, _ = connect(length(b"12", 10), b"345", b"6789", b"0")
    body = send(connection).stream
    assert [body.read(4), body.read(4), body.read(4), body.read(4)] == [
        b"1234",
        b"5678",
        b"90",
        b"",
    ]


def test_read1_gives_what_is_there() -> None:
    connection, stream = connect(length(b"12", 10), b"345", b"67890")
    body = send(connection).stream
    assert body.read1(4) == b"12"
    assert len(stream.reads) == 2  # it did not read on
    assert body.read1(1) == b"3"
    assert body.read1() == b"45"
    assert body.read1(100) == b"67890"


def test_read1_asks_for_as_much_as_the_caller_takes() -> None:
    connection, _ = connect(length(b"", 400_000), b"x" * 400_000)
    body = send(connection).stream
    assert (len(body.read1(100)), body.buffered) == (100, READ_SIZE - 100)
    assert len(body.read1(READ_SIZE)) == READ_SIZE - 100
    assert len(body.read1(READ_SIZE + 1)) == READ_SIZE + 1
    assert len(body.read1(10**9)) == MAX_READ_SIZE


@pytest.mark.parametrize("call", [lambda body: body.read(0), lambda body: body.read1(0)])
def test_reading_nothing(call: Callable[[Any], bytes]) -> None:
    connection, stream = connect(length(b"", 5))
    body = send(connection).stream
    assert call(body) == b""
    assert not body.complete
    body.close()
    assert stream.closed


def test_readinto_any_buffer() -> None:
    connection, _ = connect(length(b"12345678"))
    body = send(connection).stream
    target = memoryview(bytearray(8)).cast("I")
    assert body.readinto(target) == 8
    assert target.tobytes() == b"12345678"


def test_what_a_body_says_about_itself() -> None:
    connection, stream = connect(length(b"12", 5), b"34", b"5")
    body = send(connection).stream
    assert repr(body) == "<ResponseBody [GET /path, open]>"
    assert (body.remaining, body.received, body.complete, body.closed) == (3, 2, False, False)
    assert body.connection is connection
    assert body.trailers == []
    assert body.read(3) == b"123"
    assert (body.remaining, body.received) == (1, 4)
    assert body.read() == b"45"
    assert repr(body) == "<ResponseBody [GET /path, complete]>"
    assert (body.remaining, body.received, body.complete, body.closed) == (0, 5, True, True)
    assert body.connection is None
    assert stream.reads == []


def test_nobody_knows_what_remains_of_a_chunked_body() -> None:
    connection, _ = connect(chunked(b"abc", end=b""))
    body = send(connection).stream
    assert body.remaining is None
    body.close()
    assert repr(body) == "<ResponseBody [GET /path, closed]>"


def test_trailers() -> None:
    connection, _ = connect(chunked(b"abc", end=b"0\r\nA: 1\r\nb: 2\r\n\r\n"))
    response = send(connection)
    response.read()
    assert response.trailers == [(b"A", b"1"), (b"b", b"2")]
    assert connection.is_idle()


@pytest.mark.parametrize("kind", [Script, ReadsInto])
@pytest.mark.parametrize("limit", [body_state.PREALLOCATE_LIMIT, 1])
@pytest.mark.parametrize("first", [0, 1, 1000])
def test_a_large_body_at_once(
    kind: type[Script], limit: int, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_state, "PREALLOCATE_LIMIT", limit)
    data = pattern(3 * READ_SIZE + 5)
    parts = [data[first : first + 70_000], data[first + 70_000 :]]
    stream = kind([length(data[:first], len(data)), *parts])
    connection = httpcore.HTTP11Connection(ORIGIN, stream)
    body = send(connection).stream
    assert body.read() == data
    assert body.received == len(data)
    assert connection.is_idle()


@pytest.mark.parametrize("kind", [Script, ReadsInto])
def test_a_body_in_huge_pages(kind: type[Script], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, bytes]] = []

    def use(view: memoryview) -> None:
        asked.append((len(view), bytes(view[:3])))
        use_huge_pages(view)

    monkeypatch.setattr(response_body, "use_huge_pages", use)
    data = pattern(HUGE_FROM + 5)
    connection = httpcore.HTTP11Connection(
        ORIGIN, kind([length(data[:3], len(data)), data[3:HUGE_FROM], data[HUGE_FROM:]])
    )
    assert send(connection).read() == data
    assert asked == [(len(data), b"\0\0\0")]  # before anything was written
    assert connection.is_idle()


@pytest.mark.parametrize("kind", [Script, ReadsInto])
def test_excess_after_a_large_body(kind: type[Script]) -> None:
    data = pattern(3 * READ_SIZE)
    stream = kind([length(b"", len(data)), data + b"excess"])
    connection = httpcore.HTTP11Connection(ORIGIN, stream)
    assert send(connection).read() == data
    assert stream.closed or b"".join(stream.reads) == b"excess"  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Script, ReadsInto])
def test_the_end_inside_a_large_body(kind: type[Script]) -> None:
    stream = kind([length(b"", 200_000), b"x" * 70_000, b""])
    with pytest.raises(IncompleteBody, match="70000 of 200000") as caught:
        send(httpcore.HTTP11Connection(ORIGIN, stream)).read()
    assert (caught.value.received, caught.value.expected) == (70_000, 200_000)
    assert caught.value.phase == "response_started"
    assert stream.closed


@pytest.mark.parametrize("kind", [Script, ReadsInto])
def test_a_failure_inside_a_large_body(kind: type[Script]) -> None:
    error = httpcore.ReadTimeout("late")
    stream = kind([length(b"", 200_000), b"x" * 70_000, error])
    body = send(httpcore.HTTP11Connection(ORIGIN, stream)).stream
    with pytest.raises(httpcore.ReadTimeout) as caught:
        body.read()
    assert caught.value is error
    assert error.phase == "response_started"
    assert stream.closed
    with pytest.raises(httpcore.ReadError, match="was closed while unread"):
        body.read()


def test_unclean_tls_end() -> None:
    for unclean in (False, True):
        stream = Script([ok(b"hel"), b"lo", b""])
        stream.unclean_eof = unclean  # type: ignore[attr-defined]
        body = send(httpcore.HTTP11Connection(ORIGIN, stream)).stream
        assert body.read() == b"hello"
        assert body.unclean_tls_eof is unclean


# --- closing early ---


@pytest.mark.parametrize(
    ("reads", "state"),
    [
        pytest.param([length(b"", 5), b"hello"], IDLE, id="rest is there"),
        pytest.param([length(b"h", 5), b"el", b"lo"], IDLE, id="rest is there in parts"),
        pytest.param([length(b"", 5), b"hel"], CLOSED, id="part of it is there"),
        pytest.param([length(b"", 5)], CLOSED, id="nothing is there"),
        pytest.param([length(b"", 5), b""], CLOSED, id="the server has closed"),
        pytest.param([length(b"", 5), httpcore.ReadError("reset")], CLOSED, id="reset"),
        pytest.param([length(b"", 5), b"hello, and more"], CLOSED, id="excess"),
        pytest.param([length(b"", DRAIN_LIMIT), b"x" * DRAIN_LIMIT], IDLE, id="at the limit"),
        pytest.param([chunked(end=b""), b"5\r\nhello\r\n0\r\n\r\n"], IDLE, id="chunked"),
        pytest.param([chunked(end=b""), b"5\r\nhel"], CLOSED, id="part of a chunk"),
        pytest.param([chunked(end=b""), b"what?\r\n"], CLOSED, id="no chunk"),
        pytest.param([chunked(end=b""), b"fffff\r\n" + b"x" * 0xFFFFF], CLOSED, id="long chunk"),
        pytest.param([ok()], CLOSED, id="until the end"),
    ],
)  # fmt: skip
def test_closing_early(reads: list[Any], state: str) -> None:
    connection, stream = connect(*reads)
    response = send(connection)
    response.close()
    assert response.stream.closed
    assert connection.info().split(", ")[2] == state
    assert stream.closed is (state == CLOSED)
    assert all(timeout == 0 for what, timeout in stream.timeouts[2:])  # it never waits
    response.close()


def test_closing_early_leaves_a_long_rest_alone() -> None:
    connection, stream = connect(length(b"", DRAIN_LIMIT + 1), b"x" * 10)
    send(connection).close()
    assert stream.closed
    assert stream.reads == [b"x" * 10]


def test_closing_early_with_some_of_it_unasked_for() -> None:
    connection, _ = connect(length(b"hello", 7), b"!!")
    body = send(connection).stream
    assert body.read1(2) == b"he"
    body.close()
    assert connection.is_idle()


def test_reading_after_closing_early() -> None:
    connection, _ = connect(length(b"hello", 7))
    body = send(connection).stream
    body.close()
    with pytest.raises(httpcore.ReadError, match="the response to GET /path was closed") as caught:
        body.read()
    assert caught.value.phase != "not_sent"


def test_closing_after_the_end_changes_nothing() -> None:
    connection, _ = connect(length(b"hello"))
    response = send(connection)
    response.read()
    response.close()
    assert connection.is_idle()
    assert response.read() == b"hello"


def test_the_connection_is_closed_by_somebody_else_while_a_body_is_read() -> None:
    connection, _ = connect(length(b"hello", 7), b"!!")
    body = send(connection).stream
    connection.close()
    with pytest.raises(httpcore.ReadError):
        body.read()
    assert body.closed
    assert connection.is_closed()


def test_the_connection_is_closed_by_somebody_else_before_the_last_byte() -> None:
    def close() -> bytes:
        connection.close()
        return b"!!"

    connection, _ = connect(length(b"hello", 7), close)
    assert send(connection).read() == b"hello!!"
    assert connection.is_closed()


# --- 1xx ---

EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    "reads",
    [
        [CONTINUE + EARLY + length(b"done")],
        [CONTINUE, EARLY, length(b"done")],
        one_by_one(CONTINUE + EARLY + length(b"done")),
    ],
)
def test_interim_responses(reads: list[bytes]) -> None:
    seen: list[tuple[int, list[tuple[bytes, bytes]]]] = []
    connection, _ = connect(*reads)
    response = send(connection, informational=lambda *args: seen.append(args))
    assert response.status == 200
    assert response.read() == b"done"
    assert seen == [(100, []), (103, [(b"Link", b"</a>")])]
    assert connection.is_idle()


def test_interim_responses_that_nobody_asked_to_see() -> None:
    connection, _ = connect(CONTINUE + length(b"done"))
    assert send(connection).read() == b"done"


def test_the_end_after_an_interim_response() -> None:
    connection, stream = connect(CONTINUE, b"")
    with pytest.raises(httpcore.RemoteProtocolError) as caught:
        send(connection)
    assert caught.value.phase == "response_started"
    assert stream.closed


def test_interim_responses_for_ever() -> None:
    connection, stream = connect(CONTINUE * 1000)
    with pytest.raises(httpcore.RemoteProtocolError, match="more than 64 interim"):
        send(connection)
    assert stream.closed


def test_an_informational_callback_that_fails() -> None:
    def fail(status: int, headers: list[tuple[bytes, bytes]]) -> None:
        raise RuntimeError("mine")

    connection, stream = connect(CONTINUE + length(b"done"))
    with pytest.raises(RuntimeError, match="mine"):
        send(connection, informational=fail)
    assert stream.closed


# --- changing hands ---


def upgraded(leftover: bytes, *reads: bytes) -> tuple[httpcore.Response, Script]:
    connection, stream = connect(SWITCH + leftover, *reads)
    response = send(connection, headers=UPGRADE)
    assert response.status == 101
    assert response.read() == b""
    assert not connection.is_available()
    assert not stream.closed
    return response, stream


def test_upgrade() -> None:
    response, stream = upgraded(b"", b"frame")
    network = response.extensions["network_stream"]
    assert network.read(100, 5) == b"frame"
    network.write(b"mine", 5)
    assert stream.written[-1] == b"mine"
    assert stream.timeouts[-2:] == [("read", 5), ("write", 5)]
    response.close()
    assert stream.closed
    assert response.stream.closed


def test_upgrade_with_leftover_bytes() -> None:
    response, stream = upgraded(b"first frame", b"second")
    network = response.extensions["network_stream"]
    assert network.get_extra_info("is_readable") is True
    assert [network.read(5), network.read(100), network.read(100)] == [
        b"first",
        b" frame",
        b"second",
    ]
    assert network.get_extra_info("is_readable") is False
    network.write(b"mine", 5)
    assert stream.written[-1] == b"mine"
    assert network.start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) is stream
    network.close()
    assert stream.closed


def test_leftover_bytes_must_not_become_part_of_tls() -> None:
    response, stream = upgraded(b"in plain text")
    with pytest.raises(httpcore.ReadError, match="before the TLS handshake"):
        response.extensions["network_stream"].start_tls(None)
    assert stream.closed
    assert not stream.tls_started


@pytest.mark.parametrize("leftover", [b"", b"early"])
def test_connect(leftover: bytes) -> None:
    connection, stream = connect(
        b"HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n" + leftover, b"later"
    )
    response = send(connection, "CONNECT", target=b"example.com:443")
    assert stream.written == [b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n"]
    # A length in the answer to CONNECT means nothing (RFC 9110 section 9.3.6).
    assert response.read() == b""
    network = response.extensions["network_stream"]
    assert network.read(5) == (leftover or b"later")
    assert not connection.is_available()


def test_connect_that_is_refused_is_a_response_like_others() -> None:
    connection, _ = connect(
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nno!"
    )
    response = send(connection, "CONNECT", target=b"example.com:443")
    assert response.read() == b"no!"
    assert connection.is_idle()


def test_upgrade_that_is_refused_is_a_response_like_others() -> None:
    connection, _ = connect(length(b"no"))
    assert send(connection, headers=UPGRADE).read() == b"no"
    assert connection.is_idle()


def test_an_unasked_switch() -> None:
    connection, stream = connect(SWITCH)
    with pytest.raises(httpcore.RemoteProtocolError):
        send(connection)
    assert stream.closed


# --- sending bodies ---


def post(
    content: Any, *headers: tuple[bytes, bytes], writes: Iterable[Any] = ()
) -> tuple[Script, httpcore.Response]:
    stream = Script([length(b"done")], writes)
    connection = httpcore.HTTP11Connection(ORIGIN, stream)
    response = send(connection, "POST", headers, content)
    assert response.read() == b"done"
    assert connection.is_idle()
    return stream, response


CHUNKED = (b"Transfer-Encoding", b"chunked")


class File:
    """Reads like a file opened in binary mode, and notes how much was asked for."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.asked: set[int] = set()

    def read(self, size: int) -> bytes:
        self.asked.add(size)
        return self.file.read(size)


class OldSequence:
    """Can be iterated by `__getitem__` only."""

    def __getitem__(self, index: int) -> bytes:
        return [b"he", b"llo"][index]


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"hello",
        lambda: bytearray(b"hello"),
        lambda: memoryview(b"hello"),
        lambda: io.BytesIO(b"hello"),
        lambda: File(b"hello"),
        lambda: [b"he", b"llo"],
        lambda: iter([b"", b"he", bytearray(b"l"), memoryview(b"lo"), b""]),
        OldSequence,
    ],
)
def test_bodies_of_every_kind(make: Callable[[], Any]) -> None:
    stream, _ = post(make(), content_length(5))
    assert sent(stream) == b"hello"
    stream, _ = post(make(), CHUNKED)
    framed = sent(stream)
    assert framed.endswith(b"0\r\n\r\n")
    assert framed.count(b"\r\n0\r\n") == 1  # an empty part is no chunk: it would end the body
    sizes = framed.split(b"\r\n")[0:-2:2]
    assert sum(int(size, 16) for size in sizes) == 5
    assert b"".join(framed.split(b"\r\n")[1:-2:2]) == b"hello"


@pytest.mark.parametrize("content", [b"", [], [b""], io.BytesIO()])
def test_empty_bodies(content: Any) -> None:
    stream, _ = post(content, content_length(0))
    assert sent(stream) == b""
    stream, _ = post(content, CHUNKED)
    assert sent(stream) == b"0\r\n\r\n"


def test_a_small_body_leaves_with_its_head() -> None:
    stream, _ = post(b"x" * WRITE_SIZE, content_length(WRITE_SIZE))
    assert len(stream.written) == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_body_leaves_in_blocks(framing: str) -> None:
    data = pattern(2 * WRITE_SIZE + 1)
    for content in (data, File(data)):
        header = CHUNKED if framing == "chunked" else content_length(len(data))
        stream, _ = post(content, header)
        assert len(stream.written) == (4 if framing == "chunked" else 3)
        assert max(map(len, stream.written)) < WRITE_SIZE + 200
        assert isinstance(content, bytes) or content.asked == {WRITE_SIZE}
    if framing == "length":
        assert sent(stream) == data


def test_a_file_is_sent_from_where_it_stands() -> None:
    file = io.BytesIO(b"skip, hello")
    file.seek(6)
    stream, _ = post(file, content_length(5))
    assert sent(stream) == b"hello"


def test_no_body_needs_no_framing() -> None:
    stream, _ = post(None)
    assert stream.written == [b"POST /path HTTP/1.1\r\nHost: example.com\r\n\r\n"]


# --- requests that cannot be sent ---


async def asynchronous() -> Any:
    yield b"hello"


# What is wrong is found before anything is sent.
UNSENDABLE = [
    pytest.param({"content": b"hello"}, httpcore.LocalProtocolError,
                 "the body has 5 bytes, but the headers announce 0", id="no framing"),
    pytest.param({"content": b"hello", "headers": [content_length(4)]},
                 httpcore.LocalProtocolError,
                 "the body has 5 bytes, but the headers announce 4", id="too long"),
    pytest.param({"headers": [content_length(4)]}, httpcore.LocalProtocolError,
                 "the body has 0 bytes, but the headers announce 4", id="no body"),
    pytest.param({"headers": [(b"A", b"1\r\nB: 2")]}, httpcore.LocalProtocolError,
                 "illegal value of header b'A'", id="injection"),
    pytest.param({"headers": [HOST]}, httpcore.LocalProtocolError,
                 "more than one Host", id="two hosts"),
    pytest.param({"method": "G T"}, httpcore.LocalProtocolError,
                 "illegal character in the method", id="method"),
    pytest.param({"target": b"/ /"}, httpcore.LocalProtocolError,
                 "illegal character in the request target", id="target"),
    pytest.param({"timeout": {"read": -1}}, httpcore.LocalProtocolError,
                 "read timeout must not be negative", id="timeout"),
    pytest.param({"timeout": 5}, TypeError, "must be a dict", id="timeout is no dict"),
    pytest.param({"trace": 5}, TypeError, "must be callable", id="trace"),
]  # fmt: skip

# The same, but only asking the body for its first part can tell.
UNSENDABLE_BODIES = [
    pytest.param(io.StringIO("hello"), [content_length(5)], TypeError,
                 "gave str, not bytes; open files in binary mode", id="text file"),
    pytest.param(["hello"], [CHUNKED], TypeError, "gave str, not bytes", id="str"),
    pytest.param([None], [CHUNKED], TypeError, "gave NoneType, not bytes", id="None"),
    pytest.param(asynchronous(), [CHUNKED], TypeError, "asynchronous request body", id="async"),
    pytest.param([b"hello"], [content_length(4)], httpcore.LocalProtocolError,
                 "longer than its announced 4 bytes", id="first part too long"),
    pytest.param([], [content_length(4)], httpcore.LocalProtocolError,
                 "ended after 0 of its announced 4 bytes", id="nothing"),
    pytest.param([b"hello"], [], httpcore.LocalProtocolError,
                 "longer than its announced 0 bytes", id="no framing"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "text"), UNSENDABLE)
@pytest.mark.parametrize("state", ["NEW", "IDLE"])
def test_what_cannot_be_sent_leaves_the_connection_usable(
    arguments: dict[str, Any], error: type[Exception], text: str, state: str
) -> None:
    connection, stream = connect(length(b"one"), length(b"two"))
    if state == "IDLE":
        send(connection)
    before = connection.info()
    stream.written.clear()
    with pytest.raises(error, match=text) as caught:
        send(connection, **arguments)
    assert getattr(caught.value, "phase", "not_sent") == "not_sent"
    assert stream.written == []
    assert connection.info() == before
    assert send(connection).read() in (b"one", b"two")


@pytest.mark.parametrize(("content", "headers", "error", "text"), UNSENDABLE_BODIES)
def test_a_body_that_cannot_be_sent(
    content: Any, headers: list[tuple[bytes, bytes]], error: type[Exception], text: str
) -> None:
    connection, stream = connect(length(b"one"))
    with pytest.raises(error, match=text) as caught:
        send(connection, "POST", headers, content)
    assert getattr(caught.value, "phase", "not_sent") == "not_sent"
    assert stream.written == []
    # As nothing was sent, the connection is as good as before.
    assert connection.is_available()
    assert not stream.closed


@pytest.mark.parametrize(
    ("parts", "error", "text"),
    [
        ([b"123", b"456"], httpcore.LocalProtocolError, "longer than its announced 5 bytes"),
        ([b"123"], httpcore.LocalProtocolError, "ended after 3 of its announced 5 bytes"),
        ([b"123", "45"], TypeError, "gave str, not bytes"),
    ],
)
def test_a_body_that_goes_wrong_half_way(
    parts: list[Any], error: type[Exception], text: str
) -> None:
    connection, stream = connect()
    with pytest.raises(error, match=text) as caught:
        send(connection, "POST", [content_length(5)], iter(parts))
    assert stream.closed  # the server would take what comes next for the rest of the body
    assert connection.is_closed()
    assert sent(stream) == b"123"
    assert getattr(caught.value, "phase", "maybe_processed") == "maybe_processed"


def test_an_iterator_that_raises() -> None:
    def parts() -> Iterator[bytes]:
        yield b"123"
        raise RuntimeError("mine")

    connection, stream = connect()
    with pytest.raises(RuntimeError, match="mine"):
        send(connection, "POST", [CHUNKED], parts())
    assert stream.closed
    assert b"0\r\n\r\n" not in b"".join(stream.written)


def test_a_request_for_somebody_else() -> None:
    connection, stream = connect()
    assert not connection.can_handle_request(httpcore.Origin(b"https", b"example.com", 80))
    with pytest.raises(RuntimeError, match=r"http://other:80 on a connection to http://example"):
        connection.handle_request(httpcore.Request("GET", "http://other/", headers=[HOST]))
    assert stream.written == []
    assert connection.is_available()


def test_one_request_at_a_time() -> None:
    connection, stream = connect(length(b"", 5), b"hello", length(b"next"))
    response = send(connection)
    assert not connection.is_available()
    with pytest.raises(httpcore.ConnectionNotAvailable, match="is ACTIVE"):
        send(connection)
    assert len(stream.written) == 1
    assert response.read() == b"hello"
    assert send(connection).read() == b"next"
    connection.close()
    with pytest.raises(httpcore.ConnectionNotAvailable, match="is CLOSED"):
        send(connection)


# --- when the network fails ---


BIG = b"x" * (2 * WRITE_SIZE)


def test_an_early_answer_to_a_body_that_nobody_wanted() -> None:
    refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!"
    stream = Script([refusal], [None, write_error("not_sent")])
    connection = httpcore.HTTP11Connection(ORIGIN, stream)
    response = send(connection, "POST", [content_length(len(BIG))], BIG)
    assert response.status == 413
    assert response.read() == b"no!"
    assert connection.is_closed()  # the server is still waiting for the rest of the body
    assert stream.closed


@pytest.mark.parametrize("end", [httpcore.ReadError("reset"), httpcore.ReadTimeout("late")])
def test_a_broken_write_without_an_answer(end: Any) -> None:
    error = write_error("not_sent")
    error.__cause__ = cause = BrokenPipeError()
    stream = Script([end], [None, error])
    with pytest.raises(httpcore.WriteError) as caught:
        send(httpcore.HTTP11Connection(ORIGIN, stream), "POST", [content_length(len(BIG))], BIG)
    assert caught.value is error
    assert error.__cause__ is cause
    assert error.phase == "maybe_processed"  # the first block did go out
    assert stream.closed


def test_a_broken_write_and_an_end_in_order() -> None:
    """As in 1.0.9, the server has closed; the write says how that was noticed."""
    error = write_error("not_sent")
    stream = Script([b""], [None, error])
    with pytest.raises(ServerDisconnected) as caught:
        send(httpcore.HTTP11Connection(ORIGIN, stream), "POST", [content_length(len(BIG))], BIG)
    assert str(caught.value) == "Server disconnected without sending a response."
    assert caught.value.__cause__ is error
    assert caught.value.phase == "maybe_processed"
    assert explain(caught.value) == (
        "http://example.com:80 closed the connection before any byte of the answer to POST /path; "
        "the request may have been processed"
    )
    assert stream.closed


@pytest.mark.parametrize("content", [b"small", BIG])
@pytest.mark.parametrize("phase", ["not_sent", "maybe_processed"])
def test_a_first_write_that_fails(content: bytes, phase: str) -> None:
    error = write_error(phase)
    stream = Script([httpcore.ReadError("reset")], [error])
    with pytest.raises(httpcore.WriteError) as caught:
        send(
            httpcore.HTTP11Connection(ORIGIN, stream),
            "POST",
            [content_length(len(content))],
            content,
        )
    assert caught.value is error
    assert error.phase == phase
    assert stream.closed


def test_a_write_that_takes_too_long() -> None:
    error = httpcore.WriteTimeout("late")
    error.phase = "not_sent"
    stream = Script([], [None, error])
    with pytest.raises(httpcore.WriteTimeout) as caught:
        send(httpcore.HTTP11Connection(ORIGIN, stream), "POST", [content_length(len(BIG))], BIG)
    assert caught.value is error
    assert error.phase == "maybe_processed"
    assert stream.closed


def test_timeouts_are_passed_on() -> None:
    connection, stream = connect(length(b"he", 5), b"l", b"lo")
    timeout = {"connect": 1.0, "read": 2.0, "write": 3.0, "pool": 4.0}
    send(connection, timeout=timeout).read()
    assert stream.timeouts == [("write", 3.0), ("read", 2.0), ("read", 2.0), ("read", 2.0)]


# What the server does, which error that is, and how far the request got.
FAILURES = [
    pytest.param([b""], ServerDisconnected, "maybe_processed",
                 r"^Server disconnected without sending a response\.", id="silent end"),
    pytest.param([httpcore.ReadTimeout("late")], httpcore.ReadTimeout, "maybe_processed", "late",
                 id="silent too long"),
    pytest.param([httpcore.ReadError("reset")], httpcore.ReadError, "maybe_processed", "reset",
                 id="silent reset"),
    pytest.param([b"HTTP/1.1 2"], httpcore.ReadTimeout, "response_started", "late",
                 id="late inside the head"),
    pytest.param([b"HTTP/1.1 2", httpcore.ReadError("reset")], httpcore.ReadError,
                 "response_started", "reset", id="reset inside the head"),
    pytest.param([b"HTTP/1.1 2", b""], httpcore.RemoteProtocolError, "response_started",
                 "10 bytes of an incomplete response head", id="end inside the head"),
    pytest.param([b"SSH-2.0-OpenSSH\r\n\r\n"], httpcore.RemoteProtocolError, "response_started",
                 "status line", id="not HTTP"),
    pytest.param([b"hello\n"], httpcore.RemoteProtocolError, "response_started",
                 r"begins with b'hello\\n' .* \(in the answer to GET /path\)", id="a line"),
    pytest.param([b"HTTP/2 200 OK\r\n\r\n"], httpcore.RemoteProtocolError, "response_started",
                 "HTTP/2", id="not HTTP/1"),
    pytest.param([ok(b"", b"Content-Length: 1", b"Content-Length: 2")], ConflictingLengths,
                 "response_started", "Content-Length", id="two lengths"),
    pytest.param([length(b"he", 5), b"l", b""], IncompleteBody, "response_started",
                 "3 of 5 body bytes", id="end inside the body"),
    pytest.param([length(b"he", 5)], httpcore.ReadTimeout, "response_started", "late",
                 id="late inside the body"),
    pytest.param([length(b"he", 5), httpcore.ReadError("reset")], httpcore.ReadError,
                 "response_started", "reset", id="reset inside the body"),
    pytest.param([chunked(b"hello", end=b""), b""], IncompleteBody, "response_started",
                 "after 5 body bytes", id="end between chunks"),
    pytest.param([chunked(b"hello", end=b"oops\r\n")], httpcore.RemoteProtocolError,
                 "response_started", "chunk", id="no chunk line, at once"),
    pytest.param([chunked(b"hello", end=b""), b"oops\r\n"], httpcore.RemoteProtocolError,
                 "response_started", "chunk", id="no chunk line, later"),
    pytest.param([ok(b"hello"), httpcore.ReadError("reset")], httpcore.ReadError,
                 "response_started", "reset", id="reset of a body until the end"),
]  # fmt: skip


@pytest.mark.parametrize(("reads", "error", "phase", "text"), FAILURES)
def test_failures(reads: list[Any], error: type[Exception], phase: str, text: str) -> None:
    if error is httpcore.ReadTimeout and isinstance(reads[-1], bytes):
        reads = [*reads, httpcore.ReadTimeout("late")]
    connection, stream = connect(*reads)
    with pytest.raises(error, match=text) as caught:
        send(connection).read()
    assert type(caught.value) is error or error is httpcore.RemoteProtocolError
    assert caught.value.phase == phase  # type: ignore[attr-defined]
    assert stream.closed
    assert connection.is_closed()


@pytest.mark.parametrize("where", ["head", "body"])
def test_an_interruption_closes_the_connection(where: str) -> None:
    reads = [KeyboardInterrupt()] if where == "head" else [length(b"", 5), KeyboardInterrupt()]
    connection, stream = connect(*reads)
    with pytest.raises(KeyboardInterrupt):
        send(connection).read()
    assert stream.closed
    assert connection.is_closed()


# --- states ---


def test_states_and_reprs() -> None:
    connection, stream = connect(length(b"", 5), b"hello")
    name = "<HTTP11Connection ['http://example.com:80', "
    assert repr(connection) == name + "NEW, Request Count: 0]>"
    assert connection.info() == "'http://example.com:80', HTTP/1.1, NEW, Request Count: 0"
    assert (connection.is_idle(), connection.is_closed()) == (False, False)
    assert connection.can_handle_request(ORIGIN)
    response = send(connection)
    assert repr(connection) == name + "ACTIVE, Request Count: 1]>"
    assert (connection.is_available(), connection.has_expired()) == (False, False)
    response.read()
    assert repr(connection) == name + "IDLE, Request Count: 1]>"
    assert (connection.is_available(), connection.is_idle()) == (True, True)
    with connection as same:
        assert same is connection
    assert repr(connection) == name + "CLOSED, Request Count: 1]>"
    assert (connection.is_available(), connection.is_idle()) == (False, False)
    assert connection.is_closed()
    assert stream.closed


def test_an_idle_connection_that_is_readable_has_expired() -> None:
    connection, stream = connect(length(b"one"))
    stream.readable = True
    assert not connection.has_expired()  # not idle yet
    send(connection)
    assert connection.has_expired()
    stream.readable = False
    assert not connection.has_expired()
    stream.readable = None  # a stream that cannot tell
    assert not connection.has_expired()


def test_keepalive_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(http11, "time", SimpleNamespace(monotonic=lambda: clock.now))
    connection, _ = connect(length(b"one"), length(b"two"), keepalive_expiry=5.0)
    send(connection)
    clock.now = 104.9
    assert not connection.has_expired()
    clock.now = 105.1
    assert connection.has_expired()
    send(connection)  # used all the same: now it counts from here
    assert not connection.has_expired()
    clock.now = 110.2
    assert connection.has_expired()


# --- trace events, as httpcore 1.0.9 sends them ---

SENT = [
    ("http11.send_request_headers.started", ["request"]),
    ("http11.send_request_headers.complete", ["return_value"]),
    ("http11.send_request_body.started", ["request"]),
    ("http11.send_request_body.complete", ["return_value"]),
    ("http11.receive_response_headers.started", ["request"]),
]


@pytest.mark.parametrize(
    ("method", "reads"),
    [
        pytest.param("GET", [length(b"hello")], id="whole"),
        pytest.param("GET", [length(b""), ], id="empty"),
        pytest.param("GET", [length(b"", 5), b"he", b"llo"], id="in parts"),
        pytest.param("GET", [length(b"h", 200_000), b"x" * 199_999], id="large"),
        pytest.param("GET", [chunked(b"hello")], id="chunked"),
        pytest.param("GET", [ok(b"hello"), b""], id="until the end"),
        pytest.param("GET", [b"HTTP/1.1 204 No Content\r\n\r\n"], id="204"),
        pytest.param("HEAD", [ok(b"", b"Content-Length: 5")], id="HEAD"),
    ],
)  # fmt: skip
def test_trace_of_a_response(method: str, reads: list[bytes]) -> None:
    trace = Trace()
    connection, _ = connect(*reads)
    response = send(connection, method, trace=trace)
    response.read()
    response.close()
    assert trace.events == [*SENT, HEAD, BODY_STARTED, BODY_COMPLETE, *RESPONSE_CLOSED]


@pytest.mark.parametrize(
    ("content", "framing"),
    [
        (b"hello", content_length(5)),
        (BIG, content_length(len(BIG))),
        ([b"he", b"llo"], CHUNKED),
    ],
)
def test_trace_of_a_request_with_a_body(content: Any, framing: tuple[bytes, bytes]) -> None:
    trace = Trace()
    connection, _ = connect(length(b"done"))
    send(connection, "POST", [framing], content, trace=trace).read()
    assert trace.events[:5] == SENT


def test_trace_payloads() -> None:
    trace = Trace()
    connection, _ = connect(b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\n", b"ok")
    send(connection, trace=trace).read()
    for name, info in trace.payloads.items():
        if "request" in info:
            assert info["request"].method == b"GET"
            assert info["request"].url.target == b"/path"
        elif name != "http11.receive_response_headers.complete" and info:
            assert info == {"return_value": None}
    assert trace.payloads["http11.receive_response_headers.complete"]["return_value"] == (
        b"HTTP/1.1",
        201,
        b"Made",
        [(b"Content-Length", b"2")],
    )


def test_trace_of_a_response_that_is_closed_early() -> None:
    trace = Trace()
    connection, _ = connect(length(b"", 5))
    send(connection, trace=trace).close()
    assert trace.events[-2:] == RESPONSE_CLOSED


@pytest.mark.parametrize(
    ("reads", "writes", "events"),
    [
        pytest.param([b""], [], [*SENT, ("http11.receive_response_headers.failed", ["exception"]),
                                 *RESPONSE_CLOSED], id="no answer"),
        pytest.param([length(b"he", 5), b""], [],
                     [*SENT, HEAD, BODY_STARTED,
                      ("http11.receive_response_body.failed", ["exception"]), *RESPONSE_CLOSED],
                     id="body cut short"),
    ],
)  # fmt: skip
def test_trace_of_failures(
    reads: list[bytes], writes: list[Any], events: list[tuple[str, list[str]]]
) -> None:
    trace = Trace()
    connection = httpcore.HTTP11Connection(ORIGIN, Script(reads, writes))
    with pytest.raises(httpcore.RemoteProtocolError) as caught:
        send(connection, trace=trace).read()
    assert trace.events == events
    failed = next(info for name, info in trace.payloads.items() if name.endswith(".failed"))
    assert failed["exception"] is caught.value


def test_trace_of_a_failed_write() -> None:
    trace = Trace()
    error = httpcore.WriteTimeout("late")
    connection = httpcore.HTTP11Connection(ORIGIN, Script([], [error]))
    with pytest.raises(httpcore.WriteTimeout):
        send(connection, trace=trace)
    assert trace.events == [
        SENT[0],
        ("http11.send_request_headers.failed", ["exception"]),
        *RESPONSE_CLOSED,
    ]
    assert trace.payloads["http11.send_request_headers.failed"]["exception"] is error


def test_trace_of_a_body_that_failed_to_leave() -> None:
    trace = Trace()
    error = httpcore.WriteTimeout("late")
    connection = httpcore.HTTP11Connection(ORIGIN, Script([], [None, error]))
    with pytest.raises(httpcore.WriteTimeout):
        send(connection, "POST", [content_length(len(BIG))], BIG, trace=trace)
    assert trace.events == [
        *SENT[:3],
        ("http11.send_request_body.failed", ["exception"]),
        *RESPONSE_CLOSED,
    ]


@pytest.mark.parametrize(
    "event",
    [
        "http11.send_request_headers.started",
        "http11.send_request_body.started",
        "http11.receive_response_headers.complete",
        "http11.receive_response_body.started",
        "http11.receive_response_body.complete",
        "http11.response_closed.started",
    ],
)
def test_a_trace_that_fails_does_not_leave_a_busy_connection(event: str) -> None:
    def trace(name: str, info: dict[str, Any]) -> None:
        if name == event:
            raise RuntimeError("mine")

    connection, stream = connect(length(b"hello"))
    with pytest.raises(RuntimeError, match="mine"):
        send(connection, trace=trace).read()
    # Before anything was written the connection is as good as it was.
    untouched = event == "http11.send_request_headers.started"
    assert connection.is_idle() == untouched
    assert connection.is_closed() == stream.closed != untouched
