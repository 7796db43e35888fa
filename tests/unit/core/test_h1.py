"""The HTTP/1.1 codec: the same answers as h11, and the lenient reading where h11 refuses."""

from __future__ import annotations

import http.client
import io
import logging
import pickle
import sys
from itertools import pairwise
from typing import Any, NamedTuple

import h11
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from httpcore._core import h1 as _h1
from httpcore._core.h1 import (
    CHUNKED,
    MAX_HEAD,
    MAX_INFORMATIONAL,
    ChunkedReader,
    CloseReader,
    HeadReader,
    LengthReader,
    encode_chunk,
    encode_request,
    read_head,
)
from httpcore._core.limits import MAX_FIELDS
from httpcore._exceptions import (
    ConflictingLengths,
    IncompleteBody,
    LocalProtocolError,
    RemoteProtocolError,
    ServerDisconnected,
)
from tests.support.examples import examples

Headers = list[tuple[bytes, bytes]]

PLAIN = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nDate: Fri, 21 Nov 2025 09:21:00 GMT\r\n"
    b"Content-Type: text/html\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"
)

bounded = settings(
    max_examples=examples(400),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


# --- both codecs, driven alike ---------------------------------------------------------------


class Outcome(NamedTuple):
    """Everything a caller can learn from one response."""

    failed: bool
    interim: list[tuple[int, Headers]]
    head: tuple[bytes, int, bytes, Headers] | None
    payload: bytes
    ended: bool
    switched: bool
    trailers: Headers
    excess: bytes
    reusable: bool


def by_us(
    method: bytes, sent: Headers, pieces: list[bytes], eof: bool, lenient: bool = False
) -> Outcome:
    interim: list[tuple[int, Headers]] = []
    reader = HeadReader(
        method, sent, lenient=lenient, informational=lambda s, h: interim.append((s, h))
    )
    head = None
    payload = b""
    failed = False
    after = b""
    try:
        for piece in pieces:
            if head is None:
                head = reader.feed(piece)
                if head is not None:
                    if head.switched:
                        after += head.rest
                    else:
                        payload += head.body.feed(head.rest)
            elif head.switched:
                after += piece
            else:
                payload += head.body.feed(piece)
        if eof and head is None:
            head = reader.feed_eof()
        if eof and not head.switched:
            head.body.feed_eof()
    except RemoteProtocolError as exc:
        failed = True
        payload += exc.payload
    if head is None:
        return Outcome(failed, interim, None, b"", False, False, [], b"", False)
    body = head.body
    assert head.switched or body.received == len(payload) or failed
    return Outcome(
        failed,
        interim,
        (head.http_version, head.status, head.reason, head.headers),
        payload,
        body.done and not head.switched,
        head.switched,
        body.trailers,
        body.excess + after,
        head.keep_alive and body.done and not body.excess and not failed and not eof,
    )


def as_h11_shows(outcome: Outcome) -> Outcome:
    """With one length where h11 shows one, and the coding in lower case."""

    def shown(fields: Headers) -> Headers:
        result: Headers = []
        lengths = 0
        for name, value in fields:
            lower = name.lower()
            if lower == b"content-length":
                lengths += 1
                value = value.split(b",")[0].strip()
            elif lower == b"transfer-encoding":
                value = value.lower()
            if lower != b"content-length" or lengths == 1:
                result.append((name, value))
        return result

    interim = [(status, shown(fields)) for status, fields in outcome.interim]
    head = outcome.head and (*outcome.head[:3], shown(outcome.head[3]))
    return outcome._replace(interim=interim, head=head)


def by_h11(method: bytes, sent: Headers, pieces: list[bytes], eof: bool) -> Outcome:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a"), *sent]))
    connection.send(h11.EndOfMessage())
    interim: list[tuple[int, Headers]] = []
    head = None
    payload = b""
    trailers: Headers = []
    ended = switched = failed = False
    try:
        for piece in [*pieces, b""] if eof else pieces:
            if not piece and not eof:
                continue
            connection.receive_data(piece)
            while not ended and not switched:
                event = connection.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED):
                    break
                if type(event) in (h11.Response, h11.InformationalResponse):
                    fields = event.headers.raw_items()
                    switched = connection.their_state is h11.SWITCHED_PROTOCOL
                    if type(event) is h11.Response or switched:
                        version = b"HTTP/" + event.http_version
                        head = (version, event.status_code, event.reason, fields)
                    else:
                        interim.append((event.status_code, fields))
                elif type(event) is h11.Data:
                    payload += event.data
                elif type(event) is h11.EndOfMessage:
                    ended = True
                    trailers = event.headers.raw_items()
                elif type(event) is h11.ConnectionClosed:
                    failed = True
                    break
    except h11.RemoteProtocolError:
        failed = True
    excess = connection.trailing_data[0] if ended or switched else b""
    reusable = (
        ended
        and not excess
        and not eof
        and (connection.our_state, connection.their_state) == (h11.DONE, h11.DONE)
    )
    return Outcome(failed, interim, head, payload, ended, switched, trailers, excess, reusable)


def stricter(theirs: Outcome) -> bool:
    """Where this package refuses, on purpose, a head that h11 takes: not HTTP/1.x."""
    return theirs.head is not None and not theirs.head[0].startswith(b"HTTP/1.")


def untrusted(theirs: Outcome) -> bool:
    """Where this package does not reuse, on purpose, what h11 would: length and chunked."""
    names = {name.lower() for name, _ in theirs.head[3]} if theirs.head else set()
    return {b"content-length", b"transfer-encoding"} <= names


def assert_same(method: bytes, sent: Headers, pieces: list[bytes], eof: bool) -> Outcome:
    theirs = by_h11(method, sent, pieces, eof)
    ours = by_us(method, sent, pieces, eof)
    if stricter(theirs):
        assert ours.failed
        return ours
    if ours.failed and not theirs.failed:
        # A chunk line with a bare LF is refused at the LF, and a status line at the first byte
        # that cannot be in one; h11 waits for the end of the line or of the head to say so.
        theirs = by_h11(method, sent, [*pieces, b"\r\n" if ours.head else b"\r\n\r\n"], eof)
        assert theirs.failed or stricter(theirs)
        return ours
    assert ours.failed == theirs.failed, (ours, theirs)
    if ours.failed:
        assert (ours.interim, ours.payload) == (theirs.interim, theirs.payload)
        return ours
    if untrusted(theirs):
        assert not ours.reusable
        theirs = theirs._replace(reusable=False)
    assert ours == theirs
    return ours


# --- what servers send, well-formed and not --------------------------------------------------

status_lines = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 6
    + [
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 101 Switching Protocols",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 103",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.0 404 ",
        b"HTTP/1.1 404",
        b"HTTP/1.1 500  two  spaces ",
        b"HTTP/1.1 999 R\xe9ason\x01",
        b"HTTP/1.2 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.1 099 Low",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 200 NUL\0",
        b"HTTP/1.1 20",
        b"http/1.1 200 OK",
        b" HTTP/1.1 200 OK",
        b"ICY 200 OK",
        b"",
    ]
)
final_status_lines = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 8
    + [b"HTTP/1.1 404", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 "]
)
good_field_lines = st.sampled_from(
    [
        b"Server: nginx",
        b"Connection: close",
        b"connection: keep-alive",
        b"Keep-Alive: timeout=5, max=100",
        b"Set-Cookie: a=b; \x01\x7f",
        b"X-Empty:",
        b"X-Tabs:\t a \t b \t",
        b"X-Latin: \xe9\xff\x85\xa0\x1c",
    ]
)
field_lines = st.sampled_from(
    [
        b"Content-Length: 5",
        b"content-length:5",
        b"Content-Length: 5 ",
        b"Content-Length: 05",
        b"Content-Length: 5, 5",
        b"Content-Length: 6",
        b"Content-Length: -5",
        b"Content-Length: ",
        b"CONTENT-LENGTH: 123456789012345678901",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: Chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding:",
        b"Connection: close",
        b"Connection: keep-alive, CLOSE",
        b"connection: keep-alive",
        b"Connection: closed",
        b"Keep-Alive: timeout=5, max=100",
        b"Upgrade: websocket",
        b"Set-Cookie: a=b; \x01\x7f",
        b"X-Empty:",
        b"X-Empty: ",
        b"X-Tabs:\t a \t b \t",
        b"X-Latin: \xe9\xff\x85\xa0\x1c",
        b"X-Colons: a:b: c",
        b"X One: space in name",
        b"X-Before : colon",
        b": no name",
        b"no colon",
        b" folded",
        b"\t",
        b"X-Nul: a\0b",
        b"X-Vt: a\x0bb",
        b"X-Ff: \x0c",
        b"X-Cr: a\rb",
        b"X-Cr: a\r",
        b"X\xe9: y",
        b"",
    ]
)
line_ends = st.sampled_from([b"\r\n"] * 20 + [b"\n", b"\r", b"\n\r", b""])
chunks = st.sampled_from(
    [
        b"5\r\nhello\r\n",
        b"1\r\nx\r\n",
        b"00000000000000000003\r\nabc\r\n",
        b"A;name=value\r\n0123456789\r\n",
        b"a;\r;\r\n0123456789\r\n",
        b"3 \t\r\nabc\r\n",
        b"2;x \r\n\r\n\r\n",
        b"000000000000000000003\r\nabc\r\n",
        b"3 ;x\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"3\nabc\r\n",
        b"3;\n\r\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"\r\n",
        b"-1\r\n",
        b"+3\r\nabc\r\n",
        b"1_0\r\n",
    ]
)
plain_chunks = st.binary(min_size=1, max_size=40).map(lambda d: b"%x\r\n%b\r\n" % (len(d), d))
chunk_ends = st.sampled_from(
    [b"0\r\n\r\n"] * 4
    + [
        b"000;last\r\n\r\n",
        b"0\r\nX-Trailer: yes\r\n\r\n",
        b"0\r\nA: 1\r\nB:\t2 \n\n",
        b"0\r\n\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\nX: a\0\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nX: y",
        b"0\r\n",
        b"0\n\n",
        b"",
    ]
)


@st.composite
def heads(draw: Any) -> bytes:
    lines = [draw(status_lines), *draw(st.lists(field_lines, max_size=5))]
    return b"".join(line + draw(line_ends) for line in [*lines, b""])


@st.composite
def plausible_heads(draw: Any) -> bytes:
    """Heads of which most are valid, so that the bodies are reached."""
    framing = draw(
        st.sampled_from(
            [
                b"Content-Length: 5\r\n",
                b"Content-Length: 0\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                b"Content-Length: 5\r\nContent-Length: 5\r\n",
                b"",
            ]
        )
    )
    status = draw(st.one_of(final_status_lines, final_status_lines, status_lines))
    lines = st.one_of(good_field_lines, good_field_lines, good_field_lines, field_lines)
    other = draw(st.lists(lines.map(lambda line: line + b"\r\n"), max_size=2))
    return status + b"\r\n" + framing + b"".join(other) + b"\r\n"


good_chunked = st.tuples(st.lists(plain_chunks, max_size=4), chunk_ends).map(
    lambda pair: b"".join(pair[0]) + pair[1]
)
bodies = st.one_of(
    good_chunked,
    good_chunked,
    st.just(b"hello"),
    st.tuples(st.lists(st.one_of(chunks, plain_chunks, plain_chunks), max_size=4), chunk_ends).map(
        lambda pair: b"".join(pair[0]) + pair[1]
    ),
    st.binary(max_size=12),
)
interim_heads = st.sampled_from(
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
        b"HTTP/1.1 102\n\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    ]
)
responses = st.one_of(
    st.tuples(plausible_heads(), bodies).map(b"".join),
    st.tuples(plausible_heads(), bodies).map(b"".join),
    st.tuples(interim_heads, plausible_heads(), bodies).map(b"".join),
    st.tuples(heads(), plausible_heads(), bodies).map(b"".join),
    st.tuples(heads(), bodies).map(b"".join),
    st.binary(max_size=40),
)
requests = st.sampled_from(
    [(b"GET", [])] * 4
    + [
        (b"HEAD", []),
        (b"POST", [(b"Connection", b"close")]),
        (b"GET", [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]),
        (b"GET", [(b"Upgrade", b"")]),
        (b"CONNECT", []),
    ]
)


@st.composite
def mutated(draw: Any) -> bytes:
    """A response with up to two bytes put in, taken out or changed."""
    data = draw(responses)
    odd = st.sampled_from(
        [b"", b"\0", b"\r", b"\n", b" ", b"\t", b":", b";", b"0", b"\x0b", b"\xff"]
    )
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(odd) + data[at + draw(st.integers(0, 1)) :]
    return data


def feed_all(reader: Any, data: bytes, step: int) -> list[Any]:
    """Feed `data` in pieces of `step` bytes, and give every answer."""
    return [reader.feed(data[at : at + step]) for at in range(0, len(data), step)]


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in pieces, cut after the given positions; none is empty, that would mean EOF."""
    marks = [0, *sorted({c % (len(data) + 1) for c in cuts}), len(data)]
    return [data[a:b] for a, b in pairwise(marks) if a < b]


splits = st.one_of(
    st.just([]), st.lists(st.integers(0, 500), max_size=5), st.just(list(range(500)))
)


class TestSameAsH11:
    @bounded
    @given(requests, mutated(), splits, st.booleans())
    @example((b"GET", []), b"\n", [], False)
    @example((b"GET", []), b"\r", [], False)
    @example((b"GET", []), b"\x16\x03", [], False)
    @example((b"GET", []), b"HTTP/1.1 200 OK\n\n", [], False)
    @example((b"GET", []), b"HTTP/1.1 200 OK\nA: b\n\r\n", list(range(40)), True)
    @example((b"GET", []), PLAIN + b"hello", [], False)
    @example((b"GET", []), PLAIN + b"helloX", list(range(999)), False)
    @example((b"GET", []), PLAIN + b"hel", [], True)
    def test_any_bytes_in_any_split(
        self, request_: tuple[bytes, Headers], data: bytes, cuts: list[int], eof: bool
    ) -> None:
        method, sent = request_
        assert_same(method, sent, cut(data, cuts), eof)

    @bounded
    @given(mutated(), st.sampled_from([b"GET", b"HEAD", b"POST"]))
    def test_fast_path_declines_or_equals(self, data: bytes, method: bytes) -> None:
        head = read_head(data, method)
        theirs = by_h11(method, [], [data], False)
        if head is None:
            return
        assert theirs.head == (head.http_version, head.status, head.reason, head.headers)
        assert theirs.interim == []
        if not theirs.failed:
            try:
                payload = head.body.feed(head.rest)
            except RemoteProtocolError:
                assert by_h11(method, [], [data, b"\r\n"], False).failed
                return
            assert (payload, head.body.done) == (theirs.payload, theirs.ended)
            reusable = head.keep_alive and head.body.done and not head.body.excess
            assert reusable == theirs.reusable

    @bounded
    @given(st.lists(st.one_of(plain_chunks, chunks), max_size=6), chunk_ends, splits)
    def test_chunked_bodies(self, parts: list[bytes], end: bytes, cuts: list[int]) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert_same(b"GET", [], [head, *cut(b"".join(parts) + end, cuts)], False)

    @bounded
    @given(st.lists(st.binary(max_size=50), max_size=8), splits, st.binary(max_size=5))
    def test_every_good_chunked_body_is_read(
        self, parts: list[bytes], cuts: list[int], after: bytes
    ) -> None:
        wire = b"".join(map(encode_chunk, parts)) + _h1.LAST_CHUNK + after
        reader = ChunkedReader()
        assert b"".join(map(reader.feed, cut(wire, cuts))) == b"".join(parts)
        assert reader.done
        assert reader.excess == after

    @bounded
    @given(requests, responses, splits, st.booleans())
    def test_lenient_changes_nothing_that_strict_reads(
        self, request_: tuple[bytes, Headers], data: bytes, cuts: list[int], eof: bool
    ) -> None:
        method, sent = request_
        strict = by_us(method, sent, cut(data, cuts), eof)
        if not strict.failed and (strict.head is not None or not data[:1].isspace()):
            lenient = by_us(method, sent, cut(data, cuts), eof, lenient=True)
            assert as_h11_shows(lenient) == strict

    @bounded
    @given(requests, mutated(), splits, st.booleans())
    def test_lenient_fails_only_with_protocol_errors(
        self, request_: tuple[bytes, Headers], data: bytes, cuts: list[int], eof: bool
    ) -> None:
        method, sent = request_
        once = by_us(method, sent, cut(data, cuts), eof, lenient=True)
        whole = by_us(method, sent, [data] if data else [], eof, lenient=True)
        assert once.head == whole.head
        assert once.failed == whole.failed


# --- sending ---------------------------------------------------------------------------------

HOST = (b"Host", b"example.com")

sent_names = st.one_of(
    st.sampled_from(
        [
            b"Host",
            b"Content-Length",
            b"Transfer-Encoding",
            b"Connection",
            b"Upgrade",
            b"Accept",
            b"X-Y",
            b"",
            b"a b",
            b"a:",
            b"a\r\nb",
            b"\xe9",
            b"Host ",
        ]
    ),
    st.text("aZ0-_!", min_size=1, max_size=4).map(str.encode),
)
sent_values = st.one_of(
    st.sampled_from(
        [
            b"example.com",
            b"5",
            b"5",
            b"chunked",
            b"Chunked",
            b"close",
            b"5, 5",
            b"a b",
            b"",
            b" ",
            b"a ",
            b"\ta",
            b"a\r\nX: y",
            b"a\nb",
            b"a\rb",
            b"a\0",
            b"\x0b",
            b"a\x0cb",
            b"\xff\x01",
            b"x: y",
        ]
    ),
    st.binary(max_size=4),
)
sent_headers = st.lists(st.tuples(sent_names, sent_values), max_size=5)


class TestEncodeRequest:
    @bounded
    @given(
        st.sampled_from([b"GET", b"POST", b"", b"G T", b"GET\r\n", b"CONNECT", b"\xe9", b"M-S"]),
        st.sampled_from([b"/", b"/a?b=c", b"*", b"", b"/a b", b"/\r\nX: y", b"/\xe9", b"/\x7f"]),
        st.booleans(),
        sent_headers,
    )
    @example(b"GET", b"/", True, [(b"X", b"y\r\nA: b"), (b"A", b"b")])
    @example(b"GET", b"/", True, [(b"Content-Length", b"5"), (b"content-length", b"5")])
    def test_refuses_what_h11_refuses_and_sends_what_h11_reads(
        self, method: bytes, target: bytes, host: bool, headers: Headers
    ) -> None:
        headers = [HOST, *headers] if host else headers
        try:
            event = h11.Request(method=method, target=target, headers=headers)
            h11.Connection(h11.CLIENT).send(event)
        except h11.LocalProtocolError:
            event = None
        before = list(headers)
        try:
            head, length, special = encode_request(method, target, headers)
        except LocalProtocolError:
            names = {name.lower() for name, _ in headers}
            lists = [v for n, v in headers if n.lower() == b"content-length" and b"," in v]
            both = {b"content-length", b"transfer-encoding"} <= names
            assert event is None or both or lists
            return
        finally:
            assert headers == before
        assert event is not None
        server = h11.Connection(h11.SERVER)
        server.receive_data(head)
        read = server.next_event()
        assert type(read) is h11.Request
        assert (read.method, read.target) == (method, target)
        assert read.headers.raw_items()[0][0].lower() == b"host"
        assert sorted(read.headers) == sorted(event.headers)
        assert head.count(b"\n") == len(read.headers) + 2
        framing = dict(read.headers)
        if b"transfer-encoding" in framing:
            assert length == CHUNKED
        else:
            assert length == int(framing.get(b"content-length", b"0"))
        assert special or method != b"CONNECT"
        assert special or not framing.get(b"upgrade")

    def test_writes_the_fields_as_given(self) -> None:
        headers = [HOST, (b"aCCept", b"*/*"), (b"X-Empty", b"")]
        assert encode_request(b"GET", b"/x", headers) == (
            b"GET /x HTTP/1.1\r\nHost: example.com\r\naCCept: */*\r\nX-Empty: \r\n\r\n",
            0,
            False,
        )

    @pytest.mark.parametrize("value", [b"", b"a\tb", b"a:  b", b"\x01\xff", b"a" * 100_000])
    def test_unusual_values_are_sent_as_they_are(self, value: bytes) -> None:
        for headers in ([HOST, (b"X-Odd", value)], (HOST, (b"X-Odd", value))):
            head, _, _ = encode_request(b"GET", b"/", headers)  # type: ignore[arg-type]
            assert head.endswith(b"\r\nX-Odd: " + value + b"\r\n\r\n")

    def test_host_goes_first_and_the_rest_keeps_its_order(self) -> None:
        headers = [(b"B", b"1"), (b"A", b"2"), (b"hOST", b"h"), (b"A", b"3")]
        head, _, _ = encode_request(b"GET", b"/", headers)
        assert head == b"GET / HTTP/1.1\r\nhOST: h\r\nB: 1\r\nA: 2\r\nA: 3\r\n\r\n"
        assert headers[0] == (b"B", b"1")

    @pytest.mark.parametrize(
        ("method", "extra", "expected"),
        [
            (b"GET", [], (0, False)),
            (b"POST", [(b"content-length", b"12")], (12, False)),
            (b"POST", [(b"Transfer-Encoding", b"Chunked")], (CHUNKED, False)),
            (b"CONNECT", [], (0, True)),
            (b"GET", [(b"Upgrade", b"websocket")], (0, True)),
            (b"GET", [(b"Connection", b"keep-alive")], (0, False)),
            (b"GET", [(b"Connection", b"x"), (b"connection", b"Close")], (0, True)),
        ],
    )
    def test_body_length_and_special(
        self, method: bytes, extra: Headers, expected: tuple[int, bool]
    ) -> None:
        assert encode_request(method, b"/", [HOST, *extra])[1:] == expected

    @pytest.mark.parametrize(
        ("headers", "reason"),
        [
            ([], "Host header is missing"),
            ([HOST, (b"host", b"b")], "more than one Host header"),
            ([HOST, (b"Content-Length", b"5"), (b"Content-Length", b"6")], "two different"),
            ([HOST, (b"Content-Length", b"-5")], "1 to 20 digits, got b'-5'"),
            ([HOST, (b"Content-Length", b"1" * 21)], "1 to 20 digits"),
            ([HOST, (b"Content-Length", b"")], "1 to 20 digits"),
            ([HOST, (b"Transfer-Encoding", b"gzip, chunked")], "only chunked"),
            (
                [HOST, (b"Transfer-Encoding", b"chunked"), (b"TRANSFER-encoding", b"chunked")],
                "more than one Transfer-Encoding",
            ),
            ([HOST, (b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")], "both"),
            ([HOST, (b"X-A\n", b"v")], r"illegal header name b'X-A'\.\.\."),
            ([HOST, (b"X-A", b"v\r\nX-B: w")], "value of header b'X-A' "),
        ],
    )
    def test_says_what_is_wrong(self, headers: Headers, reason: str) -> None:
        with pytest.raises(LocalProtocolError, match=reason) as caught:
            encode_request(b"GET", b"/", headers)
        assert caught.value.phase == "not_sent"

    @pytest.mark.parametrize("extra", [[], [HOST], [(b"Content-Length", b"0")] * 2])
    def test_lenient_names(self, extra: Headers) -> None:
        # Each of the ways through: Host first, Host moved, repeats left out.
        headers = [*extra, (b"a[0]", b"v"), *([] if HOST in extra else [HOST])]
        head, _, _ = encode_request(b"GET", b"/", headers, lenient=True)
        assert head.startswith(b"GET / HTTP/1.1\r\nHost: example.com\r\n")
        assert head.endswith(b"\r\na[0]: v\r\n\r\n")
        with pytest.raises(LocalProtocolError, match="illegal header name"):
            encode_request(b"GET", b"/", headers)

    @pytest.mark.parametrize("byte", [*range(0x21), ord(":"), *range(0x7F, 0x100)])
    def test_lenient_names_are_still_names(self, byte: int) -> None:
        for name in (b"a%cb" % byte, b"%cb" % byte, b"a%c" % byte, b""):
            with pytest.raises(LocalProtocolError, match="illegal header name"):
                encode_request(b"GET", b"/", [HOST, (name, b"v")], lenient=True)

    @pytest.mark.parametrize("name", [b"Authorization", b"cookie", b"PROXY-AUTHORIZATION"])
    def test_never_shows_a_secret(self, name: bytes) -> None:
        with pytest.raises(LocalProtocolError) as caught:
            encode_request(b"GET", b"/", [HOST, (name, b"s3cret\n")])
        assert "s3cret" not in str(caught.value)
        assert name.decode() in str(caught.value)

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (("GET", b"/", [HOST]), "method"),
            ((b"GET", "/", [HOST]), "target"),
            ((b"GET", b"/", [HOST, ("X-A", b"b")]), "X-A"),
            ((b"GET", b"/", [HOST, (b"X-A", "b")]), "X-A"),
            ((b"GET", b"/", [HOST, (b"X-A", 5)]), "X-A"),
            ((b"GET", b"/", [HOST, (b"X-A", b"b", b"c")]), "X-A"),
            ((b"GET", b"/", [HOST, b"X-A"]), "X-A"),
        ],
    )
    def test_types(self, arguments: Any, named: str) -> None:
        with pytest.raises(TypeError, match=named):
            encode_request(*arguments)

    def test_request_line(self) -> None:
        with pytest.raises(LocalProtocolError, match="method b'G'\\.\\.\\."):
            encode_request(b"G T", b"/", [HOST])
        with pytest.raises(LocalProtocolError, match=r"request target b'/ HTTP/1\.1"):
            encode_request(b"GET", b"/ HTTP/1.1\r\nX: y\r\n", [HOST])

    def test_chunk(self) -> None:
        assert encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
        assert encode_chunk(b"") == b""


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """No head is remembered yet."""
    monkeypatch.setattr(_h1, "_known_heads", {})
    monkeypatch.setattr(_h1, "_seen_once", set())


def outcome_of(encode: Any, *arguments: Any) -> Any:
    try:
        return encode(*arguments)
    except (LocalProtocolError, TypeError, ValueError) as exc:
        return type(exc), str(exc)


secret_names = st.sampled_from(
    [b"Cookie", b"authorization", b"X-API-Key", b"Set-Cookie", b"X-Request-Id", b"forwarded"]
)
secret_values = st.one_of(
    st.sampled_from(
        [
            b"",
            b"a",
            b"a%b",
            b" a",
            b"a ",
            b"a\tb",
            b"a\r\nX: y",
            b"a\nb",
            b"\n",
            b"a\0",
            b"%b%b",
            b"\xe9",
        ]
    ),
    st.binary(max_size=6),
)
known_headers = st.lists(
    st.one_of(
        st.tuples(secret_names, secret_values),
        st.tuples(sent_names, sent_values),
        st.sampled_from([(b"X-%b", b"100%"), (b"Connection", b"close"), (b"Content-Length", b"0")]),
    ),
    max_size=4,
)


class TestRememberedHeads:
    @bounded
    @given(
        kinds=st.lists(known_headers, min_size=1, max_size=2),
        steps=st.lists(
            st.tuples(
                st.sampled_from([b"GET", b"M%b", b"CONNECT", b"G T"]),
                st.sampled_from([b"/", b"/%b?a=%s", b"/a b", b"", b"/\r\nX: y"]),
                st.integers(0, 1),
                st.booleans(),
                secret_values,
            ),
            max_size=12,
        ),
        host_first=st.booleans(),
    )
    def test_a_remembered_head_is_what_would_be_made_now(
        self, kinds: list[Headers], steps: list[Any], host_first: bool
    ) -> None:
        _h1._known_heads.clear()
        _h1._seen_once.clear()
        for method, target, which, lenient, secret in steps:
            fields = kinds[which % len(kinds)]
            changing = (b"Cookie", b"X-API-Key", b"X-Request-Id")
            fields = [(n, secret if n in changing else v) for n, v in fields]
            headers = [HOST, *fields] if host_first else [*fields, HOST]
            for _ in range(3):
                arguments = method, target, list(headers), lenient
                assert outcome_of(encode_request, *arguments) == outcome_of(
                    _h1._encode_new, *arguments
                )

    @pytest.mark.usefixtures("unknown")
    def test_from_the_third_time_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        headers = [HOST, (b"Accept", b"100%"), (b"Cookie", b"a"), (b"X-Token", b"b")]
        for _ in range(2):
            encode_request(b"GET", b"/", headers)
        monkeypatch.delattr(_h1, "_encode_new")
        headers[2:] = [(b"Cookie", b"c=%b"), (b"X-Token", b"\xe9")]
        assert encode_request(b"GET", b"/b?%20", headers) == (
            b"GET /b?%20 HTTP/1.1\r\nHost: "
            + HOST[1]
            + b"\r\nAccept: 100%\r\nCookie: c=%b\r\nX-Token: \xe9\r\n\r\n",
            0,
            False,
        )

    @pytest.mark.usefixtures("unknown")
    def test_identifiers_are_filled_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def headers_of(number: int) -> Headers:
            named = b"x-request-id", b"Traceparent", b"x-forwarded-for"
            return [HOST, *[(name, b"%d" % number) for name in named], (b"A", b"b")]

        heads = [encode_request(b"GET", b"/", headers_of(number)) for number in range(3)]
        monkeypatch.delattr(_h1, "_encode_new")
        made = encode_request(b"GET", b"/", headers_of(3))
        assert made[0] == heads[2][0].replace(b": 2", b": 3") != heads[2][0]

    @pytest.mark.usefixtures("unknown")
    @pytest.mark.parametrize(
        ("headers", "kept"),
        [
            ([HOST], 1),
            ([HOST, (b"Upgrade", b"h2c")], 1),
            ([HOST, (b"Content-Length", b"0")], 1),
            ([HOST, (b"Content-Length", b"1")], 0),
            ([HOST, (b"Transfer-Encoding", b"chunked")], 0),
            ([(b"A", b"b"), HOST], 0),  # it is sent in another order
            ([HOST, (b"Content-Length", b"0"), (b"Content-Length", b"0")], 0),
            ([HOST, (b"A", b"b" * _h1.MAX_KNOWN_HEAD)], 0),
        ],
    )
    def test_which_heads_are_remembered(self, headers: Headers, kept: int) -> None:
        heads = [encode_request(b"GET", b"/", headers) for _ in range(4)]
        assert heads == [heads[0]] * 4
        assert len(_h1._known_heads) == kept

    @pytest.mark.usefixtures("unknown")
    def test_what_is_remembered_is_bounded(self) -> None:
        for number in range(3 * _h1.MAX_KNOWN_HEADS):
            for _ in range(2 if number % 2 else 1):
                encode_request(b"GET", b"/", [HOST, (b"X-Id", b"%d" % number)])
            assert len(_h1._known_heads) <= _h1.MAX_KNOWN_HEADS
            assert len(_h1._seen_once) <= _h1.MAX_KNOWN_HEADS

    @pytest.mark.usefixtures("unknown")
    def test_secrets_are_not_remembered(self) -> None:
        names = [b"Authorization", b"cookie", b"Proxy-Authorization", b"X-API-Key"]
        headers = [HOST, *[(name, b"correct horse") for name in names]]
        for _ in range(4):
            head, _, _ = encode_request(b"GET", b"/?key=correct%20horse", headers)
            assert head.count(b"correct horse") == 4
        shown = repr(_h1._known_heads)
        assert "cookie" in shown and "horse" not in shown

    @pytest.mark.usefixtures("unknown")
    @pytest.mark.parametrize(
        "arguments",
        [
            ("GET", b"/", [HOST]),
            (b"GET", "/", [HOST]),
            (b"GET", b"/", [HOST, ("A", b"b")]),
            (b"GET", b"/", [HOST, (b"A", "b")]),
            (b"GET", b"/", [HOST, (b"Cookie", "b")]),
            (b"GET", b"/", [HOST, [b"A", b"b"]]),
            (b"GET", b"/", [HOST, (b"A", bytearray(b"b"))]),
            (b"GET", b"/", [HOST, (b"A", memoryview(bytearray(b"b")))]),
            (b"GET", b"/", [HOST, b"A"]),
            (b"GET", b"/", [HOST, 1]),
            (b"GET", b"/", [HOST, [b"Cookie", b"b"]]),
            (b"GET", b"/", [HOST, (b"Cookie", b"b", b"c")]),
            (b"GET", b"/", [HOST, (b"Cookie",)]),
        ],
    )
    def test_what_is_not_bytes_fails_as_ever(self, arguments: tuple[Any, ...]) -> None:
        expected = outcome_of(_h1._encode_new, *arguments)
        for _ in range(3):
            encode_request(b"GET", b"/", [HOST, (b"Cookie", b"a")])
            assert outcome_of(encode_request, *arguments) == expected


# --- heads -----------------------------------------------------------------------------------


def read_all(
    raw: bytes, method: bytes = b"GET", lenient: bool = False, sent: Headers | None = None
):
    """The head, and the whole body when it is ended by the peer closing."""
    reader = HeadReader(method, sent or [], lenient=lenient)
    head = reader.feed(raw)
    if head is None:
        head = reader.feed_eof()
    body = head.body.feed(head.rest)
    if not head.body.done:
        head.body.feed_eof()
    return head, body


class TestHeads:
    def test_plain(self) -> None:
        head = read_head(PLAIN + b"hello", b"GET")
        assert head is not None
        assert (head.http_version, head.status, head.reason) == (b"HTTP/1.1", 200, b"OK")
        assert head.headers[0] == (b"Server", b"nginx/1.24.0")
        assert len(head.headers) == 5
        assert (head.keep_alive, head.keep_alive_timeout, head.switched) == (True, None, False)
        assert type(head.body) is LengthReader
        assert head.rest == b"hello"

    def test_costs_three_python_calls(self) -> None:
        calls: list[str] = []

        def count(frame: Any, event: str, _argument: object) -> None:
            if event == "call":
                calls.append(frame.f_code.co_name)

        previous = sys.getprofile()
        sys.setprofile(count)
        try:
            read_head(PLAIN, b"GET")
        finally:
            sys.setprofile(previous)
        assert calls == ["read_head", "__init__", "__init__"]

    @pytest.mark.parametrize(
        "line", [b"X: y ", b"X:  y", b"X:\ty", b"X : y", b"X: a\0", b"X: a\x0b", b"X: a\rb", b" x"]
    )
    def test_fast_path_declines_odd_lines(self, line: bytes) -> None:
        assert read_head(PLAIN.replace(b"Server: nginx/1.24.0", line), b"GET") is None

    def test_fast_path_declines_the_rest(self) -> None:
        assert read_head(PLAIN, b"CONNECT") is None
        assert read_head(PLAIN[:-1], b"GET") is None
        for length in (b"1" * 21, b"-5", b"5, 5", b"5\r\nContent-Length: 5"):
            raw = PLAIN.replace(b"Content-Length: 5", b"Content-Length: " + length)
            assert read_head(raw, b"GET") is None
        assert read_head(PLAIN.replace(b"Length: 5", b"Length: " + b"1" * 20), b"GET") is not None

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (b"timeout=5", 5.0),
            (b"max=100, Timeout = 15", 15.0),
            (b'timeout="7"', 7.0),
            (b"max=5", None),
            (b"xtimeout=5", None),
            (b"timeout=-5", None),
        ],
    )
    @pytest.mark.parametrize("end", [b"\r\n", b"\n"])
    def test_keep_alive_timeout(self, value: bytes, seconds: float | None, end: bytes) -> None:
        lines = [b"HTTP/1.1 200 OK", b"Content-Length: 0", b"Keep-Alive: " + value, b"", b""]
        head, _ = read_all(end.join(lines))
        assert head.keep_alive_timeout == seconds
        assert head.keep_alive

    @pytest.mark.parametrize(
        ("sent", "raw", "kept"),
        [
            ([], b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
            (
                [(b"connection", b"x, Close")],
                b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                False,
            ),
            ([], b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", False),
            ([], b"HTTP/1.1 200 OK\r\n\r\n", False),
            ([], b"HTTP/1.1 200 OK\n\n", False),
            ([], b"HTTP/1.1 204 OK\r\n\r\n", True),
            (
                [],
                b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"0\r\n\r\n",
                False,
            ),
        ],
    )
    def test_keep_alive(self, sent: Headers, raw: bytes, kept: bool) -> None:
        assert read_all(raw, sent=sent)[0].keep_alive is kept

    @pytest.mark.parametrize(
        ("method", "status"), [(b"HEAD", b"200"), (b"GET", b"204"), (b"GET", b"304")]
    )
    def test_no_body(self, method: bytes, status: bytes) -> None:
        raw = b"HTTP/1.1 %b OK\r\nContent-Length: 5\r\n\r\nextra" % status
        head = HeadReader(method).feed(raw)
        assert head is not None
        assert (head.body.done, head.rest) == (True, b"extra")
        assert head.body.feed(head.rest) == b""
        assert head.body.excess == b"extra"

    @pytest.mark.parametrize("step", [1, 7, 1000])
    def test_upgrade(self, step: int) -> None:
        raw = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"
        reader = HeadReader(b"GET", [(b"Connection", b"upgrade"), (b"Upgrade", b"websocket")])
        after = b""
        head = None
        for at in range(0, len(raw), step):
            if head is None:
                head = reader.feed(raw[at : at + step])
                after = head.rest if head else b""
            else:
                after += raw[at : at + step]
        assert head is not None
        assert (head.status, head.switched, head.keep_alive) == (101, True, False)
        assert head.headers == [(b"Upgrade", b"websocket")]
        assert after == b"\x81\x05hello"

    def test_unasked_101(self) -> None:
        with pytest.raises(RemoteProtocolError, match="without having been asked to"):
            HeadReader(b"GET").feed(b"HTTP/1.1 101 Hi\r\n\r\n")

    def test_connect(self) -> None:
        head = HeadReader(b"CONNECT").feed(b"HTTP/1.1 200 Ok\r\nContent-Length: 9\r\n\r\n\x16")
        assert head is not None
        assert (head.switched, head.rest, head.body.done) == (True, b"\x16", True)
        refused, body = read_all(b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", b"CONNECT")
        assert (refused.switched, refused.keep_alive, body) == (False, True, b"no")

    def test_interim_responses(self) -> None:
        seen: list[tuple[int, Headers]] = []
        reader = HeadReader(
            b"GET", informational=lambda status, fields: seen.append((status, fields))
        )
        assert reader.feed(b"HTTP/1.1 100\r\n\r\nHTTP/1.1 103 Hints\r\nLink: <") is None
        head = reader.feed(b"/a>\r\n\r\n" + PLAIN + b"hello")
        assert seen == [(100, []), (103, [(b"Link", b"</a>")])]
        assert head is not None
        assert (head.status, head.rest) == (200, b"hello")

    def test_interim_responses_without_end(self) -> None:
        reader = HeadReader(b"GET")
        assert reader.feed(b"HTTP/1.1 100 Go\r\n\r\n" * MAX_INFORMATIONAL) is None
        with pytest.raises(RemoteProtocolError, match="more than 64 interim"):
            reader.feed(b"HTTP/1.1 100 Go\r\n\r\n")

    @pytest.mark.parametrize("step", [4096, MAX_HEAD + 1, 10**6])
    @pytest.mark.parametrize("lenient", [False, True])
    def test_head_limit(self, step: int, lenient: bool) -> None:
        start = b"HTTP/1.1 200 OK\r\nX: "
        fits = start + b"x" * (MAX_HEAD - len(start) - 2) + b"\r\n\r\n"
        assert len(fits) == MAX_HEAD + 2  # the empty line is not counted, as in h11
        reader = HeadReader(b"GET", lenient=lenient)
        assert feed_all(reader, fits, step)[-1] is not None
        assert step < len(fits) or read_head(fits, b"GET") is not None

        longer = fits.replace(b"xx", b"xxx", 1)
        assert read_head(longer, b"GET") is None
        reader = HeadReader(b"GET", lenient=lenient)
        with pytest.raises(RemoteProtocolError, match=f"response head longer than {MAX_HEAD}"):
            feed_all(reader, longer, step)

    @pytest.mark.parametrize("lines", [b"A: b\r\n", b"A: b\n", b"A:b\r\n", b"A: b\r\n c\r\n"])
    @pytest.mark.parametrize("lenient", [False, True])
    def test_the_number_of_fields_is_limited(self, lines: bytes, lenient: bool) -> None:
        # Folded lines count, too.
        fits = MAX_FIELDS // lines.count(b"\n")
        for count in (fits, fits + 1):
            head = b"HTTP/1.1 200 OK\r\n" + lines * count + b"\r\n"
            for step in (1000, len(head)):
                reader = HeadReader(b"GET", lenient=lenient)
                if count == fits:
                    assert len(feed_all(reader, head, step)[-1].headers) == fits
                    continue
                said = (
                    f"response head with {lines.count(10) * count} header lines, and no more than"
                )
                with pytest.raises(RemoteProtocolError, match=said) as caught:
                    feed_all(reader, head, step)
                assert caught.value.phase == "response_started"
            if lines == b"A: b\r\n":
                assert (read_head(head, b"GET") is None) == (count > fits)

    def test_the_fields_of_interim_and_unfinished_heads_are_limited(self) -> None:
        fields = b"A: b\r\n" * (MAX_FIELDS + 1)
        for lenient in (False, True):
            reader = HeadReader(b"GET", lenient=lenient)
            with pytest.raises(RemoteProtocolError, match="no more than 1000"):
                reader.feed(b"HTTP/1.1 103 Early Hints\r\n" + fields + b"\r\n")
        reader = HeadReader(b"GET", lenient=True)
        assert reader.feed(b"HTTP/1.1 200 OK\r\n" + fields) is None
        with pytest.raises(RemoteProtocolError, match="no more than 1000"):
            reader.feed_eof()

    # What begins an answer, how many bytes of it are enough to refuse it, and what is said.
    FOREIGN = {
        "lf-text": (b"hello\n", 1, r"begins with b'h"),
        "lower-case": (b"http/1.1 200 OK\r\n", 1, r"begins with b'h"),
        "almost": (b"HTTQ", 4, r"begins with b'HTTQ' \(no HTTP/1 server"),
        "no-status": (b"HTTP/1.1\r\n", 9, r"begins with b'HTTP/1.1\\r"),
        "no-number": (b"HTTP/1.1 abc\r\n", 10, r"begins with b'HTTP/1.1 a"),
        "long-number": (b"HTTP/1.1 2000 OK\r\n", 13, r"begins with b'HTTP/1.1 2000"),
        "low-number": (b"HTTP/1.1 099 Low\r\n", 10, r"begins with b'HTTP/1.1 0"),
        "short-number": (b"HTTP/1.1 20\r\n", 12, r"begins with b'HTTP/1.1 20\\r"),
        "two-digits": (b"HTTP/1.10 200 OK\r\n", 9, r"begins with b'HTTP/1.1"),
        "icy": (b"ICY 200 OK\r\n", 1, "begins with b'I"),
        "rtsp": (b"RTSP/1.0 400 Bad Request\r\nCSeq: 0\r\n\r\n", 1, "begins with b'R"),
        "ssh": (b"SSH-2.0-OpenSSH_9.2p1\r\n", 1, "SSH server: check the port|begins with b'S"),
        "smtp": (b"220 mail.example.com ESMTP\r\n", 1, "SMTP or FTP server|begins with b'2"),
        "ftp": (b"220-Welcome\r\n", 1, "SMTP or FTP server|begins with b'2"),
        "pop3": (b"+OK POP3 ready\r\n", 1, r"mail server|begins with b'\+"),
        "imap": (b"* OK IMAP4rev1\r\n", 1, r"mail server|begins with b'\*"),
        "redis": (b"-ERR unknown command 'GET'\r\n", 1, "begins with b['\"]-"),
        "mysql": (b"J\0\0\0\n8.0.36\0", 1, "begins with b'J"),
        "tls-alert": (b"\x15\x03\x01\0\x02\x02\x46", 1, r"should be https|begins with b'\\x15"),
        "settings": (b"\0\0\0\x04\0\0\0\0\0", 1, r"HTTP/2 frame|begins with b'\\x00"),
        "preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1, "sent a request|begins with b'P"),
        "page": (b"<!DOCTYPE html>\n", 1, r"without a head|begins with b'<"),
        "empty-line": (b"\r\n", 1, r"begins with b'\\r"),
        "bare-empty-line": (b"\nHTTP/1.1 200 OK\r\n", 1, r"begins with b'\\n"),
        "megabyte": (b"z" * 1_000_000, 1, "begins with b'z"),
        "later-version": (b"HTTP/2.0 200 OK\r\n", 6, "HTTP/2.* is not HTTP/1.x"),
        "earlier-version": (b"HTTP/0.9 200 OK\r\n", 6, "HTTP/0.* is not HTTP/1.x"),
    }  # fmt: skip

    @pytest.mark.parametrize("lenient", [False, True])
    @pytest.mark.parametrize("kind", FOREIGN)
    def test_an_answer_that_is_no_http_is_refused_at_once(self, kind: str, lenient: bool) -> None:
        """... whole, and at its first impossible byte: its server may wait for us, too."""
        data, enough, text = self.FOREIGN[kind]
        for interim in (b"", b"HTTP/1.1 103 Hints\r\n\r\n"):
            with pytest.raises(RemoteProtocolError, match=text) as caught:
                HeadReader(b"GET", lenient=lenient).feed(interim + data)
            assert caught.value.phase == "response_started"
            assert str(caught.value).startswith("illegal status line: ")
            assert len(str(caught.value)) < 200
            reader = HeadReader(b"GET", lenient=lenient)
            # White space may be doubled for a lenient reader, so a bad end is seen at the LF.
            loose = lenient and kind in ("no-status", "short-number")
            feed_all(reader, interim + data[: enough - 1], 1)
            with pytest.raises(RemoteProtocolError, match=text):
                feed_all(reader, data[enough - 1 : enough + loose], 1)

    def test_a_request_that_comes_back_is_not_shown(self) -> None:
        """An echo server sends all of it, its secrets too."""
        with pytest.raises(
            RemoteProtocolError, match="sent a request back, perhaps ours"
        ) as caught:
            HeadReader(b"GET").feed(b"GET /?token=s3cret HTTP/1.1\r\nHost: a\r\n\r\n")
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize("lenient", [False, True])
    @pytest.mark.parametrize(
        "line",
        [b"HTTP/1.1 200 OK", b"HTTP/1.0 404", b"HTTP/1.9 200 ", b"HTTP/1.1 999 " + b"x" * 9000],
    )
    def test_a_status_line_may_come_byte_by_byte(self, line: bytes, lenient: bool) -> None:
        for end in (b"\r\n\r\n", b"\n\n"):
            reader = HeadReader(b"GET", lenient=lenient)
            assert feed_all(reader, line + end, 1)[-1] is not None

    def test_only_a_lenient_reader_takes_white_space_first(self) -> None:
        raw = b" \t" * 200 + b"HTTP/1.1 200 OK\r\n\r\n"
        assert feed_all(HeadReader(b"GET", lenient=True), raw, 1)[-1] is not None
        with pytest.raises(RemoteProtocolError, match="begins with b' '"):
            HeadReader(b"GET").feed(raw[:1])

    @pytest.mark.parametrize("version", [b"2.0", b"0.9", b"3.1"])
    def test_other_versions(self, version: bytes) -> None:
        with pytest.raises(RemoteProtocolError, match=r"is not HTTP/1\.x"):
            HeadReader(b"GET").feed(b"HTTP/%b 200 OK\r\n\r\n" % version)

    def test_conflicting_lengths(self) -> None:
        raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
        for lenient in (False, True):
            with pytest.raises(ConflictingLengths) as caught:
                HeadReader(b"GET", lenient=lenient).feed(raw)
            assert caught.value.phase == "response_started"

    def test_closed_before_any_byte(self) -> None:
        with pytest.raises(ServerDisconnected) as caught:
            HeadReader(b"GET").feed_eof()
        assert caught.value.phase == "maybe_processed"

    @pytest.mark.parametrize(
        ("raw", "text"),
        [
            (b"HTTP/1.1 2", "after 10 bytes of an incomplete response head"),
            (b"HTTP/1.1 100 Go\r\n\r\n", "after 0 bytes .* and 1 interim"),
        ],
    )
    def test_closed_inside_the_head(self, raw: bytes, text: str) -> None:
        reader = HeadReader(b"GET")
        assert reader.feed(raw) is None
        with pytest.raises(RemoteProtocolError, match=text) as caught:
            reader.feed_eof()
        assert type(caught.value) is RemoteProtocolError
        assert caught.value.phase == "response_started"

    def test_long_offences_are_cut_short(self) -> None:
        with pytest.raises(RemoteProtocolError) as caught:
            HeadReader(b"GET").feed(b"HTTP/1.1 200 OK\r\n" + b"x" * 90_000 + b"\r\n\r\n")
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize("step", [1, 10**6])
    def test_h11_is_spared_its_slow_line(self, step: int) -> None:
        # Unscreened, this one line keeps h11's pattern busy for half a minute.
        raw = b"HTTP/1.1 200 OK\r\nX:" + b" " * 95_000 + b"\0\r\n\r\n"
        reader = HeadReader(b"GET")
        with pytest.raises(RemoteProtocolError, match="control character"):
            feed_all(reader, raw, step)


# --- bodies ----------------------------------------------------------------------------------


class TestBodies:
    def test_length(self) -> None:
        body = LengthReader(10)
        data = b"12345"
        assert body.feed(data) is data
        assert (body.remaining, body.received, body.done) == (5, 5, False)
        with pytest.raises(IncompleteBody, match="after 5 of 10 body bytes") as caught:
            body.feed_eof()
        assert (caught.value.received, caught.value.expected) == (5, 10)
        assert caught.value.phase == "response_started"
        body.took(3)
        assert body.feed(b"67890") == b"67"
        assert (body.done, body.received, body.excess, body.trailers) == (True, 10, b"890", [])
        assert body.feed(b"1") == b""
        assert body.excess == b"8901"
        body.feed_eof()

    def test_length_taken_past_the_reader(self) -> None:
        body = LengthReader(4)
        body.took(4)
        assert (body.done, body.remaining, body.received) == (True, 0, 4)
        body.feed_eof()

    def test_until_close(self) -> None:
        body = CloseReader()
        data = b"abc"
        assert body.feed(data) is data
        assert not body.done
        body.feed_eof()
        assert (body.done, body.received, body.excess, body.trailers) == (True, 3, b"", [])

    def test_chunked(self) -> None:
        body = ChunkedReader()
        assert body.feed(b"5;a=b\r\nhello\r\n3\r\nabc\r\nff\r\nx") == b"helloabcx"
        data = b"y" * 254
        assert body.feed(data) is data
        assert body.feed(b"\r") == b""
        assert body.feed(b"\n0") == b""
        assert body.feed(b"\r\n\r") == b""
        assert not body.done
        assert body.feed(b"\nnext") == b""
        assert (body.done, body.received, body.excess, body.trailers) == (True, 263, b"next", [])
        assert body.feed(b"!") == b""
        assert body.excess == b"next!"
        body.feed_eof()

    @pytest.mark.parametrize("line", [b"A: b\r\n", b"A: b\n", b"odd\r\n", b" odd\r\n"])
    def test_the_number_of_trailers_is_limited(self, line: bytes) -> None:
        for count in (MAX_FIELDS, MAX_FIELDS + 1):
            for lenient in (False, True):
                body = ChunkedReader(lenient)
                section = b"0\r\n" + line * count + b"\r\n"
                if count > MAX_FIELDS:
                    with pytest.raises(
                        RemoteProtocolError, match="trailer section with 1001 header"
                    ):
                        body.feed(section)
                elif lenient or line.startswith(b"A"):
                    body.feed(section)
                    assert len(body.trailers) == (count if line.startswith(b"A") else 0)

    def test_trailers(self) -> None:
        body = ChunkedReader()
        assert body.feed(b"1\r\nx\r\n0\r\nX-Sum: 1\r\nX-More:") == b"x"
        assert body.feed(b" 2 \r\n\r\nrest") == b""
        assert body.trailers == [(b"X-Sum", b"1"), (b"X-More", b"2")]
        assert (body.done, body.excess) == (True, b"rest")

    @pytest.mark.parametrize(
        "wire",
        [
            b"",
            b"5",
            b"5\r\n",
            b"5\r\nhel",
            b"5\r\nhello",
            b"5\r\nhello\r\n",
            b"0\r\n",
            b"0\r\nX: y",
        ],
    )
    def test_closed_inside_a_chunked_body(self, wire: bytes) -> None:
        body = ChunkedReader()
        count = len(body.feed(wire))
        with pytest.raises(IncompleteBody, match=f"closed after {count} body bytes, chunk incomp"):
            body.feed_eof()
        lenient = ChunkedReader(lenient=True)
        lenient.feed(wire)
        if wire.startswith(b"0\r\n"):
            lenient.feed_eof()
            assert lenient.done
        else:
            with pytest.raises(IncompleteBody):
                lenient.feed_eof()

    @pytest.mark.parametrize(
        ("wire", "doubtful"),
        [
            (b"5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n", False),
            (b"5\nhello\r\n3\r\nyou\r\n0\r\n\r\n", True),
            (b"5\r\nhello\r\n3\nyou\r\n0\r\n\r\n", True),
            (b"5\r\nhello\n3\r\nyou\r\n0\r\n\r\n", True),
            (b"5\r\nhello\r\n3\r\nyou\r\n0\n\r\n", True),
            (b"5\r\nhello\r\n3\r\nyou\n0\r\n\r\n", True),
            (b"5;x=y\nhello\n3 \nyou\n0\n\n", True),
            (b"5\nhello\n3\nyou\n0\nX: y\n\n", True),
        ],
    )
    @pytest.mark.parametrize("step", [1, 2, 3, 7, 10**6])
    def test_chunk_lines_that_end_in_a_bare_lf(
        self, wire: bytes, doubtful: bool, step: int
    ) -> None:
        """Stock requests and curl read them. Who else on the way does not know, so the connection
        is not reused."""
        body = ChunkedReader(lenient=True)
        assert b"".join(feed_all(body, wire, step)) == b"helloyou"
        assert (body.done, body.excess, body.received) == (True, b"", 8)
        assert body.doubtful == doubtful
        strict = ChunkedReader()
        if doubtful:
            with pytest.raises(RemoteProtocolError, match="chunk"):
                feed_all(strict, wire, step)
        else:
            assert b"".join(feed_all(strict, wire, step)) == b"helloyou"

    @pytest.mark.parametrize(
        "wire",
        [
            *(b"xyz\n", b"5\nhelloX", b"5\nhello\nxyz\n", b"5\nhello\n\n3\nyou", b"\n5\nhello"),
            # A size that counts the CR as well is wrong, and no line that ends in a bare LF.
            *(b"6\r\nhello\r\n0\r\n\r\n", b"2\r\nok\r\n6\r\nhello\r\n0\r\n\r\n"),
        ],
    )
    @pytest.mark.parametrize("step", [1, 10**6])
    def test_bare_lfs_do_not_excuse_anything_else(self, wire: bytes, step: int) -> None:
        with pytest.raises(RemoteProtocolError, match="chunk"):
            feed_all(ChunkedReader(lenient=True), wire, step)

    @pytest.mark.parametrize(
        ("wire", "text"),
        [
            (b"xyz\r\n", "illegal chunk line of 5 bytes"),
            (b"5\r\nhelloX", "malformed chunk end b'X'"),
            (b"5\r\nhello\rX", "malformed chunk end"),
            (b"5;" + b"x" * MAX_HEAD, f"chunk line longer than {MAX_HEAD}"),
            (b"0\r\nX:" + b"x" * (MAX_HEAD + 1), f"trailer section longer than {MAX_HEAD}"),
            (b"0\r\nX:" + b" " * 90_000 + b"\0\r\n\r\n", "control character"),
            (b"0\r\nno colon\r\n\r\n", "illegal header line"),
        ],
    )
    @pytest.mark.parametrize("step", [1, 10**6])
    def test_broken_chunked_bodies(self, wire: bytes, text: str, step: int) -> None:
        body = ChunkedReader()
        with pytest.raises(RemoteProtocolError, match=text) as caught:
            feed_all(body, wire, step)
        assert caught.value.phase == "response_started"

    def test_errors_pickle(self) -> None:
        with pytest.raises(IncompleteBody) as caught:
            LengthReader(3).feed_eof()
        copy = pickle.loads(pickle.dumps(caught.value))
        assert (str(copy), copy.received, copy.expected) == (str(caught.value), 0, 3)


# --- lenient reading -------------------------------------------------------------------------


def response(*lines: bytes, body: bytes = b"hi") -> bytes:
    return b"".join(line + b"\r\n" for line in (b"HTTP/1.1 200 OK", *lines, b"")) + body


LENGTH = (b"Content-Length", b"2")
A, B = (b"A", b"1"), (b"B", b"2")
CHUNKED_HI = b"2\r\nhi\r\n0\r\n\r\n"


class TestLenient:
    """What requests, with http.client and urllib3 below it, reads and h11 refuses."""

    @pytest.mark.parametrize(
        ("line", "expected", "logged"),
        [
            (b"My Param: x", [], "bad field name"),
            (b": x", [], "bad field name"),
            (b"N\xe9: x", [], "bad field name"),
            (b"garbage", [], "without colon"),
            (b"Name : v", [(b"Name", b"v")], "space before colon"),
            (b"Name\t:v", [(b"Name", b"v")], "space before colon"),
            (b"Name: a\0b", [(b"Name", b"a b")], "control character"),
            (b"Name: \x0ba\x0c", [(b"Name", b"a")], "control character"),
            *(
                (b"N%b: v" % odd, [(b"N" + odd, b"v")], "no token")
                for odd in (
                    b"[0]",
                    b"/",
                    b"(a)",
                    b'"a"',
                    b",",
                    b";",
                    b"=",
                    b"@",
                    b"<a>",
                    b"?",
                    b"\\",
                )
            ),
            (b"{a} : v\0w", [(b"{a}", b"v w")], "space before colon"),
            (b">From: x\r\n y", [(b">From", b"x y")], "folded line joined"),
            (b"Name: a\rb", [(b"Name", b"a b")], "control character"),
            (b"bad line\r\n folded", [], "folded line without"),
            (b"Name: a\0\r\n  b\r\n\tc", [(b"Name", b"a b c")], "folded line joined"),
        ],
    )
    def test_a_bad_line_costs_only_itself(
        self, line: bytes, expected: Headers, logged: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        raw = response(b"A: 1", line, b"Content-Length: 2", b"B: 2")
        with pytest.raises(RemoteProtocolError):
            read_all(raw)
        assert not caplog.records
        head, body = read_all(raw, lenient=True)
        assert (head.status, body) == (200, b"hi")
        assert head.headers == [A, *expected, LENGTH, B]
        doubtful = logged == "without colon" or line.startswith(b"bad line") or b"\rb" in line
        assert head.keep_alive is not doubtful
        [record] = [record for record in caplog.records if logged in record.getMessage()]
        assert (record.name, record.levelno) == ("httpcore.http11", logging.WARNING)

    @pytest.mark.parametrize("byte", [byte for byte in range(256) if byte not in b"\r\n\t "])
    def test_names_that_http_client_keeps_are_kept(self, byte: int) -> None:
        odd = bytes([byte])
        lines = [b"%bb: 1" % odd, b"a%bb: 2" % odd, b"a%b: 3" % odd, b"Content-Length%b: 9" % odd]
        for line in lines:
            raw = response(b"Content-Length: 2", line)
            head, body = read_all(raw, lenient=True)
            assert body == b"hi"
            lines_read = io.BytesIO(raw.partition(b"\r\n")[2])
            theirs = http.client.parse_headers(lines_read).items()
            ours = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers
            ]
            assert [name for name, _ in ours] == [name for name, _ in theirs]

    def test_each_kind_is_logged_once_and_without_values(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        raw = response(b"s3cret one", b"s3cret two", b"Cookie : s3cret", b"Content-Length: 2")
        read_all(raw, lenient=True)
        texts = [record.getMessage() for record in caplog.records]
        assert len(texts) == len(set(texts)) == 2
        assert "s3cret" not in "".join(texts)

    @pytest.mark.parametrize(
        "lengths",
        [
            [b"02"],
            [b"0" * 40 + b"2"],
            [b"2", b"002"],
            [b"002", b"2"],
            [b"0" * 40 + b"2, 2"],
            [b"0" * 5000 + b"2"],
        ],
        ids=lambda lengths: repr(lengths)[:50],
    )
    def test_lengths_with_zeros_in_front(self, lengths: list[bytes]) -> None:
        raw = response(*(b"Content-Length: " + length for length in lengths))
        head, body = read_all(raw, lenient=True)
        assert (body, head.keep_alive) == (b"hi", True)
        assert [value for _, value in head.headers] == lengths

    @pytest.mark.parametrize("lengths", [b"1" * 5000, b"1" * 5000 + b", 5", b"1" * 21])
    @pytest.mark.parametrize("lenient", [False, True])
    def test_lengths_of_too_many_digits(self, lengths: bytes, lenient: bool) -> None:
        """int() refuses thousands of them with a ValueError."""
        with pytest.raises(RemoteProtocolError, match="Content-Length"):
            read_all(response(b"Content-Length: " + lengths), lenient=lenient)

    def test_a_few_zeros_in_front_are_read_strictly_too(self) -> None:
        raw = response(b"Content-Length: 002")
        assert read_all(raw)[1] == b"hi"

    def test_first_line_folded(self) -> None:
        head, body = read_all(response(b" folded", b"Content-Length: 2", b"B: 2"), lenient=True)
        assert (head.headers, body) == ([LENGTH, B], b"hi")

    @pytest.mark.parametrize(
        ("fields", "body"),
        [
            ([b"Transfer-Encoding: gzip, chunked"], CHUNKED_HI),
            ([b"Transfer-Encoding:"], b"hi"),
            ([b"Transfer-Encoding:", b"Transfer-Encoding: chunked"], CHUNKED_HI),
            ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: ,"], CHUNKED_HI),
            ([b"A: \0", b"Transfer-Encoding: , chunked"], CHUNKED_HI),
            ([b"Transfer-Encoding: ,", b"Content-Length: 2"], b"hi"),
            ([b"Transfer-Encoding : chunked"], CHUNKED_HI),
            ([b"Content-Length: 3", b"Transfer-Encoding: chunked"], CHUNKED_HI),
            (
                [b"Content-Length: 3", b"Content-Length: 4", b"Transfer-Encoding: chunked"],
                CHUNKED_HI,
            ),
            ([b"Transfer-Encoding: identity", b"Content-Length: 2"], b"hi"),
            ([b"Transfer-Encoding: identity"], b"hi"),
            ([b"Content-Length: abc"], b"hi"),
            ([b"Content-Length: five"], b"hi"),
            ([b"Content-Length: 0x2"], b"hi"),
            ([b"Content-Length: 2.0"], b"hi"),
            ([b"Content-Length: 2 2"], b"hi"),
            ([b"Content-Length: 2_"], b"hi"),
            ([b"Content-Length: 2, five"], b"hi"),
            ([b"Content-Length: \xb2"], b"hi"),
            ([b"Content-Length:"], b"hi"),
            ([b"Content-Length: 2\0"], b"hi"),
            ([b"Content-Length : 2"], b"hi"),
            ([b"X: a\rContent-Length: 0", b"Content-Length: 2"], b"hi"),
            ([b"bad", b"Content-Length:\r\n 2"], b"hi"),
            ([b"no colon: here Content-Length 9", b"Content-Length: 2"], b"hi"),
        ],
    )
    def test_doubtful_framing_is_read_but_never_reused(
        self, fields: list[bytes], body: bytes
    ) -> None:
        head, payload = read_all(response(*fields, body=body), lenient=True)
        assert payload == b"hi"
        assert not head.keep_alive

    @pytest.mark.parametrize("step", [1, 1000])
    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 200 OK\r\nA: 1\rContent-Length: 2\r\n",
            b"HTTP/1.1 200 OK\r\nA: 1\rB: 2\r\nContent-Length: 2\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: 1\r\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: 1\r\n \rb\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA\rB: 1\r\n",
            b"HTTP/1.1 200 OK\rA: 1\r\nContent-Length: 2\r\n",
        ],
    )
    def test_a_cr_that_ends_a_line_for_others_costs_the_connection(
        self, head: bytes, step: int
    ) -> None:
        """http.client, for one, sees another field there, or the end of the head."""
        reader = HeadReader(b"GET", lenient=True)
        found = [head for head in feed_all(reader, head + b"\r\n", step) if head is not None]
        assert [head.keep_alive for head in found] == [False]

    @pytest.mark.parametrize("step", [1, 1000])
    @pytest.mark.parametrize(
        "value",
        [
            b"+2",
            b"-2",
            b"0_2",
            b"-0",
            b"2, +2",
            "\u0662".encode(),
            "\uff12".encode(),
            b"+" + b"1" * 99,
        ],
    )
    def test_a_length_that_only_python_can_read_is_refused(self, value: bytes, step: int) -> None:
        """RFC 9112 section 6.3: another reader of this head would find another end of the body."""
        for others in ((), (b"Content-Length: 2",)):
            reader = HeadReader(b"GET", lenient=True)
            with pytest.raises(RemoteProtocolError, match="which is not digits alone"):
                feed_all(reader, response(b"Content-Length: " + value, *others), step)

    @pytest.mark.parametrize(
        "fields",
        [
            [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
            [b"Transfer-Encoding: chunked, Chunked"],
            [b"Transfer-Encoding: chunked, gzip, chunked"],
            [b"Transfer-Encoding: chunked", b"Content-Length: 2", b"transfer-encoding: CHUNKED"],
        ],
    )
    def test_the_coding_chunked_twice_is_refused(self, fields: list[bytes]) -> None:
        with pytest.raises(RemoteProtocolError, match="named twice"):
            HeadReader(b"GET", lenient=True).feed(response(*fields, body=CHUNKED_HI))

    @pytest.mark.parametrize(
        ("trailers", "reusable"),
        [
            (b"A: 1\r\n", True),
            (b"bad: a\0\r\n", True),
            (b"bad\r\n", False),
            (b"A: 1\rB: 2\r\n", False),
            (b"", True),
        ],
    )
    def test_trailers_that_others_may_read_otherwise_leave_a_doubt(
        self, trailers: bytes, reusable: bool
    ) -> None:
        reader = ChunkedReader(lenient=True)
        reader.feed(b"2\r\nhi\r\n0\r\n" + trailers + b"\r\n")
        assert reader.done and reader.doubtful is not reusable

    def test_fields_are_shown_as_they_came(self) -> None:
        head, _ = read_all(
            response(b"Transfer-Encoding: GZip, Chunked", b"A: 1", body=CHUNKED_HI), lenient=True
        )
        assert head.headers == [(b"Transfer-Encoding", b"GZip, Chunked"), A]

    @pytest.mark.parametrize(
        "line",
        [
            b"HTTP/1.1  200   OK",
            b" HTTP/1.1 200 OK",
            b"HTTP/1.1\t200\tOK",
            b"HTTP/1.1 200 OK\0",
            b"HTTP/1.1 200 \x0bOK",
        ],
    )
    @pytest.mark.parametrize("step", [1, 1000])
    def test_status_lines(self, line: bytes, step: int) -> None:
        raw = line + b"\r\nContent-Length: 2\r\n\r\n"
        with pytest.raises(RemoteProtocolError):
            HeadReader(b"GET").feed(raw)
        reader = HeadReader(b"GET", lenient=True)
        head = feed_all(reader, raw, step)[-1]
        assert head is not None
        assert (head.status, head.reason, head.headers) == (200, b"OK", [LENGTH])

    @pytest.mark.parametrize("fields", [b"", b"no colon\r\n", b"Upgrade: x\r\n"])
    @pytest.mark.parametrize("sent", [[], [(b"Connection", b"close")], [(b"Upgrade", b"x")]])
    def test_an_unasked_101(self, fields: bytes, sent: Headers) -> None:
        reader = HeadReader(b"GET", sent, lenient=True)
        head = reader.feed(b"HTTP/1.1 101 Switching\r\n" + fields + b"\r\nrest")
        assert head is not None
        assert (head.status, head.switched, head.rest) == (101, True, b"rest")
        assert not head.keep_alive
        for method, lenient in ((b"CONNECT", True), (b"GET", False)):
            with pytest.raises(RemoteProtocolError):
                HeadReader(method, lenient=lenient).feed(b"HTTP/1.1 101 Switching\r\n\r\n")

    @pytest.mark.parametrize("status", [102, 103, 104, 105, 150, 199])
    def test_an_interim_response_that_nothing_follows(self, status: int) -> None:
        reader = HeadReader(b"GET", lenient=True)
        assert reader.feed(b"HTTP/1.1 %d X\r\nContent-Length: 3\r\n\r\n" % status) is None
        assert reader.may_be_final is (status > 104)
        head = reader.feed_eof()
        assert (head.status, head.switched, head.keep_alive) == (status, True, False)
        assert head.body.done
        for method, lenient in ((b"CONNECT", True), (b"GET", False)):
            reader = HeadReader(method, lenient=lenient)
            assert reader.feed(b"HTTP/1.1 %d X\r\n\r\n" % status) is None
            assert not reader.may_be_final
            with pytest.raises(RemoteProtocolError):
                reader.feed_eof()

    def test_an_interim_response_that_something_follows(self) -> None:
        reader = HeadReader(b"GET", lenient=True)
        assert reader.feed(b"HTTP/1.1 150 X\r\n\r\nHTTP/1.1 ") is None
        assert not reader.may_be_final
        head = reader.feed(b"200 OK\r\n\r\n")
        assert head is not None
        assert (head.status, head.switched) == (200, False)

    @pytest.mark.parametrize(
        "raw",
        [
            b"ICY 200 OK\r\n\r\n",
            b"\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 099 Low\r\n\r\n",
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"\x16\x03\x01",
            b" " * 300 + b"ICY 200 OK\r\n\r\n",  # more than the first bytes that are checked
        ],
    )
    def test_beyond_repair(self, raw: bytes) -> None:
        with pytest.raises(RemoteProtocolError):
            HeadReader(b"GET", lenient=True).feed(raw)

    @pytest.mark.parametrize(
        ("raw", "status", "count"),
        [
            (b"HTTP/1.1 200 OK\nContent-Length: 2\nB: 2\n\nhi", 200, 2),
            (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", 200, 1),
            (b"HTTP/1.1 600 No\r\nContent-Length: 2\r\n\r\nhi", 600, 1),
            (b"HTTP/1.1 999 No\r\nContent-Length: 2\r\n\r\nhi", 999, 1),
            (response(b"A: x\r\n  y", b"Content-Length: 2"), 200, 2),
            (response(*(b"X: " + b"v" * 2000 for _ in range(50)), b"Content-Length: 2"), 200, 51),
        ],
    )
    @pytest.mark.parametrize("lenient", [False, True])
    def test_odd_but_legal_enough_for_h11(
        self, raw: bytes, status: int, count: int, lenient: bool
    ) -> None:
        head, body = read_all(raw, lenient=lenient)
        assert (head.status, len(head.headers), body) == (status, count, b"hi")

    def test_a_repeated_length_is_shown_as_it_came(self) -> None:
        raw = response(b"Content-Length: 2", b"content-length: 2", b"A: b")
        strict, body = read_all(raw)
        assert (strict.headers, body) == ([(b"Content-Length", b"2"), (b"A", b"b")], b"hi")
        lenient, body = read_all(raw, lenient=True)
        assert (len(lenient.headers), body, lenient.keep_alive) == (3, b"hi", True)

    def test_bad_interim_head(self) -> None:
        seen: list[tuple[int, Headers]] = []
        reader = HeadReader(
            b"GET", lenient=True, informational=lambda status, fields: seen.append((status, fields))
        )
        head = reader.feed(b"HTTP/1.1 103 Hints\r\nbad\r\nA: 1\r\n\r\n" + PLAIN)
        assert head is not None
        assert seen == [(103, [A])]

    @pytest.mark.parametrize("plain", [True, False])
    def test_chunked_bodies_are_lenient_too(self, plain: bool) -> None:
        odd = [] if plain else [b"no colon"]
        raw = response(*odd, b"Transfer-Encoding: chunked", body=b"2\r\nhi\r\n0\r\n")
        head, body = read_all(raw, lenient=True)
        assert (body, head.body.done) == (b"hi", True)
        with pytest.raises(RemoteProtocolError):
            read_all(raw)
        fast = read_head(response(b"Transfer-Encoding: chunked"), b"GET", True)
        assert fast is not None
        assert fast.body.lenient

    @pytest.mark.parametrize(
        ("raw", "body"),
        [
            (b"HTTP/1.1 200 OK\r\n", b""),
            (b"HTTP/1.1 200 OK\nA: b\n", b""),
            (b"HTTP/1.1 200 OK\r\nA: b\r\n\r", b""),
            (b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nA : b\r\n", b""),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", b""),
            (b"HTTP/1.1 204 No Content\r\n", b""),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", None),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", None),
        ],
    )
    @pytest.mark.parametrize("step", [1, 10**6])
    def test_a_head_may_end_with_the_connection(
        self, raw: bytes, body: bytes | None, step: int
    ) -> None:
        """http.client reads these; a body that was announced is then missing, and said so."""
        outcomes = {}
        for lenient in (False, True):
            pieces = [raw[i : i + step] for i in range(0, len(raw), step)]
            outcomes[lenient] = by_us(b"GET", [], pieces, True, lenient)
        assert outcomes[False].failed and outcomes[False].head is None
        read = outcomes[True]
        assert read.head is not None
        assert read.head[1] in (200, 204)
        assert (read.failed, read.ended) == (body is None, body is not None)
        assert not read.reusable

    @pytest.mark.parametrize(
        "raw",
        [
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 200 OK\r",
            b"HTTP/1.1 200 OK\r\nContent-Length: 12",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"HTTP/1.1 100 Go\r\n",
            b"HTTP/1.1 100 Go\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n",
            b"nonsense\r\n",
            b"\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        ],
    )
    def test_a_head_cut_elsewhere_is_refused(self, raw: bytes) -> None:
        for method in (b"GET", b"CONNECT"):
            reader = HeadReader(method, lenient=True)
            with pytest.raises(RemoteProtocolError) as caught:  # noqa: PT012
                reader.feed(raw)
                reader.feed_eof()
            assert caught.value.phase == "response_started"

    def test_a_tunnel_is_not_opened_by_half_a_head(self) -> None:
        reader = HeadReader(b"CONNECT", lenient=True)
        assert reader.feed(b"HTTP/1.1 200 OK\r\n") is None
        with pytest.raises(RemoteProtocolError, match="incomplete response head"):
            reader.feed_eof()

    def test_bad_trailers_do_not_break_the_body(self) -> None:
        body = ChunkedReader(lenient=True)
        assert body.feed(b"2\r\nhi\r\n0\r\nbad line\r\nA: 1\0\r\n\r\nnext") == b"hi"
        assert (body.done, body.trailers, body.excess) == (True, [A], b"next")
