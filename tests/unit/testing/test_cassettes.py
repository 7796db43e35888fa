"""Cassettes without files and sockets: the format, filtering, matching, listening, playing.

Owns: `httpcore._testing.cassettes`. Must not know: backends; `test_recording` records real servers.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import itertools
import json
import string
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import httpcore
from httpcore._testing.cassettes.exchange import (
    Answer,
    Asked,
    CassetteError,
    Exchange,
    NoRecordedAnswer,
    decompressed,
    to_bytes,
    to_text,
)
from httpcore._testing.cassettes.file import Contents, header_line, read_contents, to_lines
from httpcore._testing.cassettes.filters import Filters
from httpcore._testing.cassettes.matching import Cassette, fits
from httpcore._testing.cassettes.player import LIVE, Player
from httpcore._testing.cassettes.recorder import Recorder
from httpcore._testing.cassettes.requests import Place, RequestReader
from tests.support.examples import examples

URL = "http://example.com/"
HEADER = header_line()


def get(url: str = URL, **options: Any) -> Asked:
    return Asked("GET", url, [(b"Host", b"example.com")], **options)


def ok(body: bytes = b"", *headers: tuple[bytes, bytes]) -> Answer:
    lines = [*headers, (b"Content-Length", b"%d" % len(body))]
    return Answer(b"HTTP/1.1", 200, b"OK", lines, body)


def read(*lines: object) -> Contents:
    """What a cassette of these events has."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return read_contents(HEADER + text.encode(), "c.jsonl")


def written(exchange: Exchange) -> list[dict[str, Any]]:
    return [json.loads(line) for line in to_lines(exchange).splitlines()]


# --- the format ---


def test_a_cassette_reads_like_http() -> None:
    exchange = Exchange(
        Asked("POST", "http://example.com/a", [(b"Host", b"example.com")], b'{"a":1}'),
        [(103, [(b"Link", b"</x>")])],
        Answer(
            b"HTTP/1.1", 200, b"OK", [(b"A", b""), (b"B", b"c")], b"one\r\ntwo\n", [(b"T", b"u")]
        ),
    )
    assert (HEADER + to_lines(exchange)).decode() == (
        '{"cassette": "httpcore", "version": 1}\n'
        '{"request": "POST http://example.com/a"}\n'
        '{"header": "Host: example.com"}\n'
        '{"json": {"a": 1}}\n'
        '{"interim": "HTTP/1.1 103"}\n'
        '{"header": "Link: </x>"}\n'
        '{"response": "HTTP/1.1 200 OK"}\n'
        '{"header": "A:"}\n'
        '{"header": "B: c"}\n'
        '{"text": "one\\r\\n"}\n'
        '{"text": "two\\n"}\n'
        '{"trailer": "T: u"}\n'
        '{"end": "complete"}\n'
    )


# Of letters, not of a regular expression: that takes ten times as long to make an example.
TOKEN = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
VISIBLE = "".join(map(chr, (*range(0x21, 0x7F), *range(0x80, 0x100))))
FIELD_VALUE = st.text(VISIBLE + " ").map(lambda text: text.strip(" ").encode("latin-1"))
HEADERS = st.lists(st.tuples(st.text(TOKEN, min_size=1).map(str.encode), FIELD_VALUE), max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
JSON_BODIES = st.builds(
    lambda value, ascii_, separators, end: (
        json.dumps(value, ensure_ascii=ascii_, separators=separators) + end
    ).encode("utf-8", "surrogatepass"),
    JSON,
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,", ":")]),
    st.sampled_from(["", "\n", "\r\n"]),
)
BODIES = st.binary(max_size=200) | JSON_BODIES | st.text(max_size=200).map(str.encode)
ANSWERS = st.builds(
    Answer,
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0"]),
    st.integers(200, 999),
    st.text(VISIBLE[:94] + " \t\xe9").map(lambda text: text.encode("latin-1")),
    HEADERS,
    BODIES,
    HEADERS,
)
RAW = st.lists(st.tuples(st.sampled_from(["sent", "received"]), st.binary(min_size=1)), min_size=1)
REQUESTS = st.builds(
    Asked, st.sampled_from(["GET", "POST"]), st.just(URL), HEADERS, BODIES, st.booleans()
)
INTERIM = st.lists(st.tuples(st.integers(100, 199), HEADERS), max_size=2)
FAILED = st.tuples(st.sampled_from(["ReadTimeout", "ReadError"]), st.text(max_size=9))
EXCHANGES = st.one_of(
    st.builds(Exchange, REQUESTS, INTERIM, ANSWERS, st.just([]), st.sampled_from(["complete"])),
    st.builds(Exchange, REQUESTS, INTERIM, st.none() | ANSWERS, RAW, st.sampled_from(["left"])),
    st.builds(Exchange, REQUESTS, INTERIM, st.none(), st.just([]), st.just("failed"), FAILED),
)


def without_raw(exchange: Exchange) -> Exchange:
    """With raw pieces joined: long ones are several lines."""
    joined: list[tuple[str, bytes]] = []
    for way, data in exchange.raw:
        if joined and joined[-1][0] == way:
            joined[-1] = (way, joined[-1][1] + data)
        else:
            joined.append((way, data))
    exchange.raw, exchange.line = joined, 0
    return exchange


@settings(max_examples=examples(25))
@given(st.lists(EXCHANGES, max_size=3))
def test_what_is_written_is_read(exchanges: list[Exchange]) -> None:
    data = HEADER + b"".join(map(to_lines, exchanges))
    data.decode("utf-8")
    found = read_contents(data, "c.jsonl")
    assert list(map(without_raw, found.exchanges)) == list(map(without_raw, exchanges))
    assert (found.sound, found.torn) == (len(data), "")


@settings(max_examples=examples(40))
@given(EXCHANGES, st.data())
def test_a_cassette_that_was_cut_anywhere_can_be_read(exchange: Exchange, data: Any) -> None:
    first, second = to_lines(exchange), to_lines(exchange)
    cut = data.draw(st.integers(0, len(second) - 1))
    found = read_contents(HEADER + first + second[:cut], "c.jsonl")
    whole = cut == len(second) - 1  # only the last line break is missing
    assert len(found.exchanges) == (2 if whole else 1)
    assert bool(found.torn) == (0 < cut < len(second) - 1)
    if found.torn:
        assert found.sound == len(HEADER + first)


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"", []),
        (b"a", [{"text": "a"}]),
        (b"a\nb", [{"text": "a\n"}, {"text": "b"}]),
        ("é\u2028".encode(), [{"text": "é\u2028"}]),
        (b"\xff\xfe", [{"base64": "//4="}]),
        (b"a\0", [{"base64": "YQA="}]),
        (b'{"a": [1, "\xc3\xa9"]}', [{"json": {"a": [1, "é"]}, "spaces": True}]),
        (b'{"a":"\\u00e9"}\n', [{"json": {"a": "é"}, "ascii": True, "newline": True}]),
        (b'{"a":1.50}', [{"text": '{"a":1.50}'}]),
        (b'{"a":1,"a":1}', [{"text": '{"a":1,"a":1}'}]),
        (b"[NaN]", [{"text": "[NaN]"}]),
        (b'{"a":', [{"text": '{"a":'}]),
        (b"[" * 5000, [{"text": "[" * 5000}]),
        (b"7", [{"text": "7"}]),
    ],
)
def test_bodies(body: bytes, events: list[dict[str, Any]]) -> None:
    assert written(Exchange(get(), answer=ok(body)))[4:-1] == events


def test_long_data_is_several_lines() -> None:
    body = bytes(range(256)) * 40
    parts = [event["base64"] for event in written(Exchange(get(), answer=ok(body)))[4:-1]]
    assert len(parts) == 4 and max(map(len, parts)) == 4096
    assert b"".join(map(base64.b64decode, parts)) == body


@pytest.mark.parametrize("character", ["\u202e", "\u2028", "\ufeff", "\ue000"])
def test_what_cannot_be_seen_is_escaped(character: str) -> None:
    """A reviewer of a cassette has to see what is there."""
    lines = to_lines(Exchange(get(), answer=ok(character.encode())))
    assert lines.isascii() and f"\\u{ord(character):04x}".encode() in lines
    assert "ä".encode() in to_lines(Exchange(get(), answer=ok("ä".encode())))


def test_what_a_human_may_do_to_a_cassette() -> None:
    text = (
        '{"version": 1, "cassette": "httpcore", "comment": "by hand"}\r\n'
        '{"comment": "what follows is all there is"}\r\n'
        "\r\n"
        '{"request": "GET http://example.com/"}\r\n'
        '{"comment": "no headers"}\r\n'
        '{"response": "HTTP/1.1 404"}\r\n'
        '{"header": "X:   spaces  "}\r\n'
        '{"json": {"b": [1]}, "spaces": true}\r\n'
        '{"end": "complete"}'
    )
    contents = read_contents(b"\xef\xbb\xbf" + text.encode(), "c.jsonl")
    answer = Answer(b"HTTP/1.1", 404, b"", [(b"X", b"spaces")], b'{"b": [1]}')
    assert contents.exchanges == [Exchange(Asked("GET", URL), answer=answer, line=4)]
    assert contents.torn == ""


REQUEST = {"request": f"GET {URL}"}
RESPONSE = {"response": "HTTP/1.1 200 OK"}
END = {"end": "complete"}


def test_raw_bytes_that_are_none_are_not_kept() -> None:
    """An exchange of nothing but them is one without any, as it is when it was written again."""
    contents = read(REQUEST, {"raw": "sent", "base64": ""}, {"end": "cut"})
    assert [exchange.raw for exchange in contents.exchanges] == [[]]
    with pytest.raises(CassetteError, match="the exchange is complete, but has no response"):
        read(REQUEST, {"raw": "received", "text": ""}, END)


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([REQUEST, RESPONSE], ""),
        ([{"request": "GET"}], 'line 2: a request is "METHOD URL"'),
        ([{"request": 7}], "line 2: the request must be a string, not 7"),
        ([{"request": "GET \ud800"}], "line 2: the request has half a character in it"),
        ([REQUEST, REQUEST], "line 3: a request, but that of line 2 has no end"),
        ([END], "line 2: end outside of an exchange: a request has to come before"),
        ([REQUEST, {}], "line 3: none of the events raw, end, request"),
        ([REQUEST, {"haeder": "A: b"}], "or comment, but haeder"),
        ([REQUEST, ["header"]], "line 3: this is not a line of JSON: not an object"),
        ([REQUEST, {"header": "no colon"}], 'line 3: a header is "Name: value", on one line'),
        ([REQUEST, {"header": "A: b\r\nC: d"}], 'a header is "Name: value", on one line'),
        ([REQUEST, {"header": "A b: c"}], 'a header is "Name: value", on one line'),
        ([REQUEST, {"text": "x"}, {"header": "A: b"}], "line 4: a header after the body"),
        ([REQUEST, {"base64": "?"}], "line 3: this is no base64"),
        ([REQUEST, {"stopped": True}, {"text": "x"}], "line 4: a body where none can be"),
        ([REQUEST, {"interim": "HTTP/1.1 200"}], 'line 3: an interim response is "HTTP/1.1 1xx"'),
        ([REQUEST, {"response": "200 OK"}], 'line 3: a response is "HTTP/1.1 STATUS REASON"'),
        ([REQUEST, {"response": "HTTP/1.1 100 Continue"}], "other 1xx than 101 are interim"),
        ([REQUEST, {"trailer": "A: b"}], "line 3: a trailer before the response"),
        ([REQUEST, {"raw": "both", "text": "x"}], 'line 3: raw is "sent" or "received"'),
        ([REQUEST, {"raw": "sent"}], "line 3: raw needs text or base64"),
        ([REQUEST, {"end": "soon"}], "line 3: the end is complete, cut, left or failed"),
        ([REQUEST, END], "line 3: the exchange is complete, but has no response"),
        ([REQUEST, {"end": "failed", "error": "OSError"}], "line 3: the error is one of ReadError"),
        ([REQUEST, {"end": "failed", "error": ["x"]}], "line 3: the error is one of ReadError"),
        ([REQUEST, {"end": "failed", "error": {}}], "line 3: the error is one of ReadError"),
    ],
)
def test_broken_cassettes_are_told_by_file_and_line(events: list[Any], text: str) -> None:
    if not text:
        assert read(*events).torn == "the exchange of line 2 has no end"
        return
    with pytest.raises(CassetteError) as caught:
        read(*events)
    assert str(caught.value).startswith("c.jsonl, line ") and text in str(caught.value)
    assert isinstance(caught.value, httpcore.ConnectError)
    assert caught.value.phase == "not_sent"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "c.jsonl, line 1: this is no cassette: the file is empty"),
        (b"interactions:\n", "line 1: this is no cassette: the first line is not its header"),
        (b"[" * 10_000, "line 1: this is no cassette: the first line is not its header"),
        (b"[]\n", "the first line is not its header"),
        (b'{"cassette": "other"}\n', "the first line is not its header"),
        (b'{"cassette": "httpcore", "version": 2}\n', "of version 2 of the format"),
        (b'{"cassette": "httpcore"}\n', "of version None of the format"),
        (HEADER + b"<<<<<<< ours\n" + b"{}\n", "line 2: this is not a line of JSON"),
        (HEADER + b'{"text": "\xff"}\n', "line 2: this is not a line of JSON"),
        (HEADER + b"[" * 100_000 + b"\n", "line 2: this is not a line of JSON"),
    ],
)
def test_what_is_no_cassette(data: bytes, text: str) -> None:
    with pytest.raises(CassetteError) as caught:
        read_contents(data, "c.jsonl")
    assert text in str(caught.value)


@given(st.binary())
def test_any_bytes_are_text_and_back(data: bytes) -> None:
    assert to_bytes(to_text(data)) == data


# --- filtering ---


def exchange_of(
    request_headers: list[tuple[bytes, bytes]] = [],  # noqa: B006 - only read
    request_body: bytes = b"",
    response_headers: list[tuple[bytes, bytes]] = [],  # noqa: B006
    response_body: bytes = b"",
    url: str = URL,
) -> Exchange:
    asked = Asked("GET", url, request_headers, request_body)
    return Exchange(asked, answer=Answer(b"HTTP/1.1", 200, b"", response_headers, response_body))


def filtered_body(filters: Filters, body: bytes, *headers: tuple[bytes, bytes]) -> bytes:
    found = filters.apply(exchange_of(response_headers=list(headers), response_body=body))
    assert found.answer is not None
    return found.answer.body


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ((b"Authorization", b"Bearer s3cret"), b"Bearer [filtered]"),
        ((b"authorization", b"s3cret"), b"[filtered]"),
        ((b"Authorization", b'Digest username="s3cret", x="s3cret"'), b"Digest [filtered]"),
        ((b"Proxy-Authorization", b"Basic s3cret"), b"Basic [filtered]"),
        ((b"Cookie", b"a=s3cret; b=s3cret"), b"a=[filtered]; b=[filtered]"),
        ((b"Cookie", b"s3cret"), b"[filtered]"),
        ((b"Set-Cookie", b"a=s3cret; Path=/"), b"a=[filtered]; Path=/"),
        ((b"SET-COOKIE", b"s3cret"), b"[filtered]"),
        ((b"Location", b"http://me:s3cret@host/?a=b"), b"http://[filtered]@host/?a=b"),
        ((b"Location", b"//me:s3@cret@host/"), b"//[filtered]@host/"),
        ((b"Accept", b"text/html"), b"text/html"),
        ((b"X-Key", b"s3cret"), b"s3cret"),
    ],
)
def test_what_is_never_written(line: tuple[bytes, bytes], shown: bytes) -> None:
    found = Filters().apply(exchange_of([line], response_headers=[line]))
    assert found.asked.headers == [(line[0], shown)]
    assert found.answer is not None and found.answer.headers == [(line[0], shown)]


def test_named_headers_are_filtered_wherever_they_stand() -> None:
    secret = [(b"X-KEY", b"s3cret")]
    exchange = exchange_of(secret, response_headers=secret)
    exchange.interim = [(103, secret)]
    assert exchange.answer is not None
    exchange.answer.trailers = secret
    exchange.raw = [("received", b"HTTP/1.1 2OO\r\nx-key : s3cret\r\n  s3cret\r\nA: b\r\n\r\n")]
    data = to_lines(Filters(headers=["X-Key"]).apply(exchange))
    assert b"s3cret" not in data and data.count(b"[filtered]") == 5
    assert b"A: b" in data


def test_query_parameters_are_filtered_wherever_a_url_stands() -> None:
    filters = Filters(query=["api_key", "a[b]"])
    found = filters.apply(
        exchange_of(
            [(b"Referer", b"http://x/?api_key=s3cret#top"), (b"To", b"//x/#api_key=s3cret&p=2")],
            response_headers=[(b"Link", b'<http://x/?API_KEY=s3cret&p=2>; rel="next"')],
            response_body=b'{"next": "/?p=2\\u0026api_key=s3cret", "b": "/?p&amp;api_key=s3cret"}',
            url="http://example.com/?x=1&api_key=s3c'r;et&a%5Bb%5D=s3cret&y=2",
        )
    )
    data = to_lines(found)
    assert found.asked.url == ("http://example.com/?x=1&api_key=[filtered]&a%5Bb%5D=[filtered]&y=2")
    assert b"s3c" not in data and data.count(b"[filtered]") == 7
    assert b"p=2" in data and b"#top" in data


@pytest.mark.parametrize(
    ("kind", "body", "shown"),
    [
        (
            b"application/json",
            b'{"token": "s3\\"cret", "a": 1}',
            b'{"token": "[filtered]", "a": 1}',
        ),
        (b"application/json", b'{"a":[{"Token":12345}]}', b'{"a":[{"Token":"[filtered]"}]}'),
        (
            b"application/json",
            b'{"token":{"token":"x"},"a":"b"}',
            b'{"token":"[filtered]","a":"b"}',
        ),
        (b"text/event-stream", b'data: {"token": "x"}\n\n', b'data: {"token": "[filtered]"}\n\n'),
        (b"application/json", b'{"a":1,"token":"cut off', b'{"a":1,"token":"[filtered]"'),
        (b"text/javascript", b'{"token": undefined}', b'{"token": "[filtered]"}'),
        (
            b"application/x-www-form-urlencoded",
            b"token=s3cret&a=b&tok%65n=s3cret&c",
            b"token=[filtered]&a=b&tok%65n=[filtered]&c",
        ),
        (
            b"multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="token"\r\n\r\ns3cret\r\n--x--\r\n',
            b'--x\r\nContent-Disposition: form-data; name="token"\r\n\r\n[filtered]\r\n--x--\r\n',
        ),
        (b"text/plain", b"token=s3cret", b"token=[filtered]"),
    ],
)
def test_named_fields_are_filtered_in_bodies(kind: bytes, body: bytes, shown: bytes) -> None:
    headers = [(b"Content-Type", kind), (b"Content-Length", b"%d" % len(body))]
    found = Filters(fields=["token"]).apply(exchange_of(headers, body))
    assert found.asked.body == shown
    assert found.asked.headers[1] == (b"Content-Length", b"%d" % len(shown))


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        ("s3cret", b"a [filtered] b [filtered]"),
        (rb"a (\w+) b (\w+)", b"a [filtered] b [filtered]"),
        (r"a (?:(x)|(\w+)) b", b"a [filtered] b s3cret"),
        (r"(a (\w+)) b", b"[filtered] b s3cret"),
    ],
)
def test_patterns_are_filtered_in_bodies(pattern: str | bytes, shown: bytes) -> None:
    assert filtered_body(Filters(body=[pattern]), b"a s3cret b s3cret") == shown


def test_filters_look_into_compressed_bodies() -> None:
    body = b'{"token": "s3cret"}'
    raw = zlib.compressobj(wbits=-15)
    for coding, data in [
        (b"gzip", gzip.compress(body)),
        (b"gzip", gzip.compress(body[:9]) + gzip.compress(body[9:])),
        (b"deflate", zlib.compress(body)),
        (b"deflate", raw.compress(body) + raw.flush()),
    ]:
        headers = [(b"Content-Encoding", coding), (b"Content-Length", b"%d" % len(data))]
        for options in ({"fields": ["token"]}, {"body": ["s3cret"]}):
            found = Filters(**options).apply(
                exchange_of(response_headers=headers, response_body=data)
            )  # type: ignore[arg-type]
            assert found.answer is not None
            assert found.answer.body == b'{"token": "[filtered]"}'
            assert found.answer.headers == [(b"Content-Length", b"23")]
        assert filtered_body(Filters(decompress=True), data, *headers) == body
        assert filtered_body(Filters(), data, *headers) == data


def test_what_cannot_be_looked_into_is_not_written() -> None:
    for data, coding in [(b"x", b"br"), (b"no gzip", b"gzip")]:
        exchange = exchange_of(response_headers=[(b"Content-Encoding", coding)], response_body=data)
        with pytest.raises(CassetteError, match="Content-Encoding"):
            Filters(fields=["token"]).apply(exchange)
        with pytest.raises(CassetteError, match="the answer to GET"):
            Filters(body=["x"]).apply(exchange)
        with pytest.raises(CassetteError, match="ask for gzip or identity"):
            Filters(query=["x"]).apply(exchange)
        found = Filters(decompress=True).apply(exchange)  # nobody relies on it
        assert found.answer is not None and found.answer.body == data
    exchange = Exchange(
        get(), raw=[("received", b"HTTP/1.1 2OO\r\nContent-Encoding: gzip\r\n\r\n?")]
    )
    with pytest.raises(CassetteError, match="malformed and compressed"):
        Filters(body=["x"]).apply(exchange)
    assert Filters().apply(exchange) == exchange


def test_a_piece_of_a_body_keeps_its_announced_length() -> None:
    headers = [(b"Content-Length", b"100")]
    exchange = exchange_of(response_headers=headers, response_body=b'{"token": "s3cret')
    exchange.end = "cut"
    found = Filters(fields=["token"]).apply(exchange)
    assert found.answer is not None
    assert found.answer.headers == headers and found.answer.body == b'{"token": "[filtered]"'
    packed = gzip.compress(b"x" * 100)[:-9]
    headers = [(b"Content-Encoding", b"gzip"), (b"Content-Length", b"100")]
    exchange = exchange_of(response_headers=headers, response_body=packed)
    exchange.end = "cut"
    for filters, left in [(Filters(fields=["a"]), b""), (Filters(decompress=True), packed)]:
        found = filters.apply(exchange)
        assert found.answer is not None
        assert (found.answer.headers, found.answer.body) == (headers, left)


def test_rules_that_cannot_be() -> None:
    with pytest.raises(TypeError, match="headers must be a list of names, not one str"):
        Filters(headers="X-Key")
    with pytest.raises(TypeError, match="fields must be str, not int"):
        Filters(fields=[7])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="query must be str, not bytes"):
        Filters(query=[b"x"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
        Filters(body=["("])


def test_codings_that_cannot_be_taken_off() -> None:
    assert decompressed(b"x", b"br") is None
    assert decompressed(b"x", b"gzip") is None
    assert decompressed(gzip.compress(b"x") + b"more", b"gzip") is None


# --- matching ---


def cassette_of(*requests: Asked, **options: Any) -> Cassette:
    exchanges = [
        Exchange(asked, answer=ok(b"%d" % number), line=10 * number)
        for number, asked in enumerate(requests, 1)
    ]
    return Cassette("c.jsonl", Contents(exchanges, 0), **options)


def found_in(cassette: Cassette, asked: Asked) -> bytes | None:
    found = cassette.find(asked)
    return found.answer.body if found is not None and found.answer is not None else None


@pytest.mark.parametrize(
    ("recorded", "sent", "fit"),
    [
        (b"abc", b"abc", True),
        (b"abc", b"abd", False),
        (b"a[filtered]c", b"abc", True),
        (b"a[filtered]c", b"ac", True),
        (b"a[filtered]c", b"a", False),
        (b"ab[filtered]ba", b"aba", False),
        (b'{"n": "[filtered]"}', b'{"n": 12}', True),
        (b'{"n": "[filtered]"}', b'{"n": "x"}', True),
        (b"a[filtered]b[filtered]c", b"a1b2c", True),
        (b"a[filtered]b[filtered]c", b"a1c2c", False),
        (b"[filtered]", b"", True),
        (b"abc", b"a[filtered]c", False),
    ],
)
def test_what_was_filtered_matches_anything(recorded: bytes, sent: bytes, fit: bool) -> None:
    assert fits(recorded, sent) is fit


def test_each_exchange_is_given_once_in_the_order_of_the_file() -> None:
    cassette = cassette_of(get(), get("http://example.com/other"), get())
    assert [found_in(cassette, get()) for _ in range(3)] == [b"1", b"3", None]
    assert [str(exchange.asked) for exchange in cassette.unused] == ["GET http://example.com/other"]


def test_repeat_gives_the_last_one_again() -> None:
    cassette = cassette_of(get(), get(), get("http://example.com/other"), repeat=True)
    assert [found_in(cassette, get()) for _ in range(4)] == [b"1", b"2", b"2", b"2"]
    assert found_in(cassette, get("http://example.com/none")) is None


@pytest.mark.parametrize(
    ("match", "asked", "same"),
    [
        (("method",), Asked("GET", "http://other/"), True),
        (("method",), Asked("POST", URL), False),
        (("url",), Asked("GET", "HTTP://EXAMPLE.com:80"), True),
        (("url",), Asked("GET", "http://example.com:8080/"), False),
        (("url",), Asked("GET", "https://example.com/"), False),
        (("scheme",), Asked("GET", "http://other/x"), True),
        (("scheme",), Asked("GET", "https://example.com/"), False),
        (("host",), Asked("GET", "https://example.com:443/x"), True),
        (("host",), Asked("GET", "http://other/"), False),
        (("path",), Asked("GET", "https://other/?x=1"), True),
        (("path",), Asked("GET", "http://example.com/x"), False),
        (("query",), Asked("GET", "http://other/x"), True),
        (("query",), Asked("GET", "http://example.com/?x=1"), False),
        (("header:Accept",), Asked("GET", URL, [(b"ACCEPT", b"text/html")]), True),
        (("header:accept",), Asked("GET", URL, [(b"Accept", b"*/*")]), False),
        (("header:x-none",), Asked("GET", URL), True),
        (("headers",), Asked("GET", URL, [(b"accept", b"text/html")]), True),
        (("headers",), Asked("GET", URL, [(b"Accept", b"text/html"), (b"X", b"y")]), False),
        (("body",), Asked("GET", "http://other/"), True),
        (("body",), Asked("GET", URL, body=b"x"), False),
        ((), Asked("POST", "http://other/"), True),
    ],
)
def test_matching_rules(match: tuple[str, ...], asked: Asked, same: bool) -> None:
    recorded = Asked("GET", URL, [(b"Accept", b"text/html")])
    assert (found_in(cassette_of(recorded, match=match), asked) is not None) is same


def test_a_query_in_another_order() -> None:
    recorded = Asked("GET", "http://example.com/?a=1&b=2&key=[filtered]")
    asked = Asked("GET", "http://example.com/?key=s3cret&b=2&a=1")
    assert found_in(cassette_of(recorded), asked) is None
    assert found_in(cassette_of(recorded, match=["path", "query"]), asked) == b"1"


def test_urls_with_urls_in_them() -> None:
    recorded = get("http://example.com/?to=http://other/")
    assert found_in(cassette_of(recorded, match=["host"]), get("http://example.com/")) == b"1"
    tunnel = Asked("CONNECT", "example.com:443")
    assert found_in(cassette_of(tunnel), Asked("CONNECT", "EXAMPLE.com:443")) == b"1"


def test_bodies_that_mean_the_same() -> None:
    def multipart(boundary: bytes) -> Asked:
        kind = [(b"Content-Type", b'multipart/form-data; boundary="%b"' % boundary)]
        body = b"--%b\r\n\r\nx\r\n--%b--\r\n" % (boundary, boundary)
        return Asked("POST", URL, kind, body)

    assert found_in(cassette_of(multipart(b"1234")), multipart(b"abcdef")) == b"1"
    packed = Asked("POST", URL, [(b"Content-Encoding", b"gzip")], gzip.compress(b"x", mtime=1))
    later = Asked("POST", URL, [(b"Content-Encoding", b"gzip")], gzip.compress(b"x", mtime=2))
    assert found_in(cassette_of(packed), later) == b"1"
    assert found_in(cassette_of(Asked("POST", URL, body=b"x")), later) == b"1"


def test_the_order_may_matter() -> None:
    other = get("http://example.com/other")
    cassette = cassette_of(get(), other, match=["method", "url", "order"])
    assert found_in(cassette, other) is None
    assert "is not the next one, and the order" in cassette.explain(other)
    assert [found_in(cassette, get()), found_in(cassette, other)] == [b"1", b"2"]


def test_a_body_that_was_not_sent_matches_any() -> None:
    recorded = Asked("POST", URL, body=b"the beg", stopped=True)
    assert found_in(cassette_of(recorded), Asked("POST", URL, body=b"all of it")) == b"1"
    cassette = cassette_of(recorded, Asked("POST", URL, body=b"all of it"))
    partial = Asked("POST", URL, stopped=True)
    first = cassette.find(partial, partial=True)
    assert first is not None and first.asked.stopped and first.used
    second = cassette.find(partial, partial=True)
    assert second is not None and not second.asked.stopped and not second.used


@pytest.mark.parametrize(
    ("match", "error"),
    [
        (["method", "uri"], "match has 'uri'; there are method, url, scheme"),
        (["header:"], "match has 'header:'"),
        ([7], "match has 7"),
    ],
)
def test_rules_for_matching_that_cannot_be(match: list[Any], error: str) -> None:
    with pytest.raises(ValueError) as caught:
        cassette_of(match=match)
    assert error in str(caught.value)


def test_one_rule_is_not_a_list_of_them() -> None:
    with pytest.raises(TypeError, match="match must be a list of names, not 'method'"):
        cassette_of(match="method")


# --- no match ---


def test_the_nearest_request_is_named_and_what_differs() -> None:
    cassette = cassette_of(
        get("http://example.com/users"), get("http://example.com/items?page=1"), get("http://b/")
    )
    cassette.find(get("http://b/"))
    assert cassette.explain(get("http://example.com/items?page=2")) == (
        "c.jsonl has no answer for GET http://example.com/items?page=2: 2 of its 3 exchanges were "
        "not used yet, and none of these matches\n"
        "the nearest, in line 20, is GET http://example.com/items?page=1\n"
        "  url differs:\n"
        "    recorded http://example.com/items?page=1\n"
        "    sent     http://example.com/items?page=2"
    )


def test_what_differs_in_method_and_body() -> None:
    recorded = Asked("POST", URL, body=b'{"name": "pencil", "price": 3}')
    text = cassette_of(recorded).explain(Asked("PUT", URL, body=b'{"name": "pencil", "price": 4}'))
    assert "  method differs: recorded POST, sent PUT\n" in text
    assert "  body differs: at byte 28\n" in text
    assert '    recorded b\' "pencil", "price": 3}\'\n' in text
    assert '    sent     b\' "pencil", "price": 4}\'' in text
    text = cassette_of(recorded).explain(Asked("POST", URL, body=b'{"name'))
    assert "body differs: at byte 6\n" in text


def test_what_differs_in_headers_is_said_without_values() -> None:
    recorded = Asked("GET", URL, [(b"X-Key", b"s3cret1"), (b"Accept", b"*/*")])
    asked = Asked("GET", URL, [(b"X-Key", b"s3cret2"), (b"Accept", b"*/*")])
    text = cassette_of(recorded, match=["headers"]).explain(asked)
    assert "  headers differs: x-key is not the same" in text and "s3cret" not in text
    text = cassette_of(recorded, match=["header:X-Key"]).explain(asked)
    assert "  header:X-Key differs: X-Key is not the same" in text and "s3cret" not in text


def test_what_was_used_and_what_is_missing_is_said() -> None:
    cassette = cassette_of(get())
    cassette.find(get())
    assert "it matches, but was given as an answer already; repeat=True" in cassette.explain(get())
    torn = Cassette("c.jsonl", Contents([], 0, "line 7 ends in the middle"))
    assert torn.explain(get()) == (
        "c.jsonl has no answer for GET http://example.com/: 0 of its 0 exchanges were not used "
        "yet, and none of these matches\n(its end is missing: line 7 ends in the middle)"
    )


def test_an_error_shows_no_secret_that_the_cassette_hides() -> None:
    recorded = Asked("POST", "http://example.com/?api_key=[filtered]", body=b"pin=[filtered]")
    sent = Asked("POST", "http://me:s3cret@example.com/?api_key=s3cret&x=1", body=b"pan=s3cret")
    text = cassette_of(recorded).explain(sent)
    assert "s3cret" not in text
    assert "recorded 14 bytes (filtered), sent 10 bytes" in text


def test_an_error_shows_no_path_where_paths_are_filtered() -> None:
    exchange = exchange_of(
        response_headers=[(b"Location", b"http://example.com/bots3cret/x")],
        url="http://example.com/bots3cret/a",
    )
    found = Filters(url=[r"/bot([^/]+)/"]).apply(exchange)
    assert b"s3cret" not in to_lines(found)
    cassette = cassette_of(found.asked)
    sent = get("http://example.com/bots3cret/b")
    assert cassette.find(sent) is None
    assert "GET http://example.com/...: 1 of its 1" in cassette.explain(sent)
    assert "s3cret" not in cassette.explain(sent)
    assert found_in(cassette, get("http://example.com/bots3cret/a")) == b"1"


def test_a_used_request_is_not_the_nearest_if_another_is_as_near() -> None:
    cassette = cassette_of(get("http://example.com/1"), get("http://example.com/2"))
    cassette.find(get("http://example.com/1"))
    assert "in line 20" in cassette.explain(get("http://example.com/3"))


# --- reading requests ---


def requests_in(*pieces: bytes) -> list[Any]:
    reader = RequestReader(Place("example.com:80"))
    found = []
    for piece in pieces:
        found += reader.feed(piece)
    return found


POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
)
SIMPLE = b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"


@given(st.lists(st.integers(0, len(POST + CHUNKED + SIMPLE)), max_size=6))
def test_requests_are_cut_out_of_any_pieces(cuts: list[int]) -> None:
    data = POST + CHUNKED + SIMPLE
    edges = [0, *sorted(cuts), len(data)]
    found = requests_in(*(data[a:b] for a, b in itertools.pairwise(edges)))
    assert [bytes(one.raw) for one in found] == [POST, CHUNKED, SIMPLE]
    assert [bytes(one.body) for one in found] == [b"hello", b"abcde", b""]
    assert all(one.complete for one in found)


def test_a_request_is_seen_before_its_body() -> None:
    reader = RequestReader(Place("example.com:80"))
    (written,) = reader.feed(POST[:-2])
    asked = written.asked(Place("example.com:80"))
    assert (asked.method, asked.url, asked.body, asked.stopped) == (
        "POST",
        "http://a/",
        b"hel",
        True,
    )
    assert reader.feed(POST[-2:]) == [] and written.complete


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "it is HTTP/2, and cassettes are of HTTP/1.1"),
        (b"\x16\x03\x01 s3cret\r\n\r\n", "no HTTP/1.1 request"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: s3cret\x00\r\n\r\n",
            "it begins with b'GET'",
        ),
        (b"GET /?s3cret HTTP/1.1\r\n\r\n", "Missing mandatory Host"),
        (b"GET /?s3cret HTTP/3.0\r\n\r\n", "no HTTP/1.1 request (its version)"),
    ],
)
def test_what_is_no_request_is_refused_without_showing_it(data: bytes, text: str) -> None:
    with pytest.raises(CassetteError) as caught:
        requests_in(data)
    assert text in str(caught.value) and "example.com:80" in str(caught.value)
    assert "s3cret" not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("place", "head", "url"),
    [
        (Place("a:80"), b"GET /x HTTP/1.1\r\nHost: b:81\r\n\r\n", "http://b:81/x"),
        (Place("a:80"), b"GET http://o/x HTTP/1.1\r\nHost: o\r\n\r\n", "http://o/x"),
        (Place("a:80"), b"OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n", "http://b*"),
        (Place("a:80"), b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", "b:443"),
        (Place("a:80"), b"GET /x HTTP/1.0\r\n\r\n", "http://a:80/x"),
        (
            Place("unix:/run/a b", "/run/a b"),
            b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "http+unix://%2Frun%2Fa%20b/x",
        ),
    ],
)
def test_urls_of_requests(place: Place, head: bytes, url: str) -> None:
    (written,) = requests_in(head)
    assert written.asked(place).url == url
    place.tls = True
    assert written.asked(place).url == url.replace("http://b", "https://b").replace(
        "http://a", "https://a"
    )


# --- listening ---


class Tap:
    """A recorder, and what it has said."""

    def __init__(self) -> None:
        self.recorder = Recorder(Place("example.com:80"))
        self.exchanges: list[Exchange] = []

    def sent(self, data: bytes) -> Tap:
        self.exchanges += self.recorder.sent(data)
        return self

    def got(self, data: bytes) -> Tap:
        self.exchanges += self.recorder.received(data)
        return self

    def ended(self, clean: bool = True) -> Tap:
        self.exchanges += self.recorder.ended(clean)
        return self

    def closed(self) -> Tap:
        self.exchanges += self.recorder.closed()
        return self

    def failed(self, exc: Exception) -> Tap:
        self.recorder.failed(exc)
        return self

    @property
    def ends(self) -> list[str]:
        return [exchange.end for exchange in self.exchanges]

    @property
    def bodies(self) -> list[bytes | None]:
        return [None if e.answer is None else e.answer.body for e in self.exchanges]


A = b"GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n"
B = b"GET /b HTTP/1.1\r\nHost: example.com\r\n\r\n"
FIVE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CHUNKS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nT: u\r\n\r\n"
)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


@given(st.lists(st.integers(0, len(FIVE + CHUNKS) + 5), max_size=6))
def test_answers_are_cut_out_of_any_pieces(cuts: list[int]) -> None:
    """Two requests at once, two answers: pipelining."""
    tap = Tap().sent(A + B)
    data = FIVE + b"hello" + CHUNKS
    edges = [0, *sorted(cuts), len(data)]
    for start, stop in itertools.pairwise(edges):
        if start != stop:
            tap.got(data[start:stop])
    assert tap.bodies == [b"hello", b"abc"]
    assert tap.ends == ["complete", "complete"]
    assert [exchange.asked.url for exchange in tap.exchanges] == [
        "http://example.com/a",
        "http://example.com/b",
    ]
    answer = tap.exchanges[1].answer
    assert answer is not None and answer.trailers == [(b"T", b"u")]
    assert tap.recorder.idle


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 304 Not\r\nETag: x\r\n\r\n"]
)
def test_answers_without_a_body_end_with_their_head(head: bytes) -> None:
    tap = Tap().sent(A).got(head)
    assert tap.ends == ["complete"] and tap.bodies == [b""]


def test_answers_to_head_end_with_their_head() -> None:
    tap = Tap().sent(A.replace(b"GET", b"HEAD")).got(FIVE)
    assert tap.bodies == [b""] and tap.exchanges[0].answer is not None
    assert tap.exchanges[0].answer.headers == [(b"Content-Length", b"5")]


def test_interim_answers_are_kept() -> None:
    tap = Tap().sent(A).got(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + FIVE + b"hello")
    assert tap.exchanges[0].interim == [(103, [(b"Link", b"x")])]


def test_the_end_of_the_connection_ends_some_answers() -> None:
    assert Tap().sent(A).got(UNTIL_CLOSE + b"x").ended().ends == ["complete"]
    assert Tap().sent(A).got(UNTIL_CLOSE + b"x").ended(clean=False).ends == ["cut"]
    assert Tap().sent(A).got(FIVE + b"hel").ended().ends == ["cut"]
    assert Tap().sent(A).got(CHUNKS[:-9]).ended().ends == ["cut"]
    assert Tap().sent(A).got(b"HTTP/1.1 2").ended().exchanges[0].raw == [
        ("received", b"HTTP/1.1 2")
    ]
    assert Tap().sent(A).ended().ends == ["cut"]
    assert Tap().ended().closed().exchanges == []


def test_a_connection_that_died_of_idleness_is_no_news() -> None:
    """The client asks again on another one, and that is recorded; it would not happen again."""
    tap = Tap().sent(A).got(FIVE + b"hello").sent(B)
    assert tap.ended().closed().ends == ["complete"]
    tap = Tap().sent(A).got(FIVE + b"hello").sent(B).failed(httpcore.ReadError("reset"))
    assert tap.closed().ends == ["complete"]
    tap = Tap().sent(A).got(FIVE + b"hello").sent(B).failed(httpcore.ReadTimeout("5 s"))
    assert tap.closed().ends == ["complete", "failed"]
    tap = Tap().sent(A).got(FIVE + b"hello").sent(B).got(FIVE)
    assert tap.ended().closed().ends == ["complete", "cut"]
    # Nobody asks again by himself for what is not idempotent.
    assert Tap().sent(A).got(FIVE + b"hello").sent(POST).ended().ends == ["complete", "cut"]


def test_a_body_that_some_readers_take_for_complete_is_kept_as_it_is() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    tap = Tap().sent(A).got(data).ended()
    assert (tap.ends, tap.bodies) == (["cut"], [None])
    assert tap.exchanges[0].raw == [("received", data)]


def test_failures_are_kept_if_they_were_the_end() -> None:
    tap = Tap().sent(A).got(FIVE + b"he").failed(httpcore.ReadTimeout("5 s")).closed()
    assert tap.ends == ["failed"] and tap.exchanges[0].error == ("ReadTimeout", "5 s")
    assert tap.bodies == [b"he"]
    tap = Tap().sent(A).failed(httpcore.ReadTimeout("3 s")).got(FIVE + b"hello").closed()
    assert tap.ends == ["complete"]
    tap = Tap().sent(A).got(FIVE).failed(KeyboardInterrupt())  # type: ignore[arg-type]
    assert tap.closed().ends == ["left"]
    assert Tap().failed(httpcore.ReadError("x")).closed().exchanges == []


def test_clients_may_leave() -> None:
    assert Tap().sent(A).got(FIVE + b"he").closed().ends == ["left"]
    assert Tap().sent(A).got(FIVE + b"he").closed().closed().ends == ["left"]
    assert Tap().sent(A).closed().ends == []
    assert Tap().sent(POST[:-1]).closed().ends == []


def test_an_answer_may_come_before_the_body_was_sent() -> None:
    tap = Tap().sent(POST[:-2]).got(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n").closed()
    (exchange,) = tap.exchanges
    assert (exchange.end, exchange.asked.stopped, exchange.asked.body) == ("complete", True, b"hel")


def test_what_cannot_be_read_is_kept_as_it_is() -> None:
    bad = b"HTTP/1.1 200 OK\r\nNo colon\r\nContent-Length: 2\r\n\r\nab"
    tap = Tap().sent(A).got(bad[:20]).got(bad[20:]).sent(B).got(FIVE + b"hello")
    assert tap.ends == ["complete", "complete"] and tap.bodies == [None, b"hello"]
    assert tap.exchanges[0].raw == [("received", bad)]
    broken = CHUNKS[:60] + b"\r\nxx\r\n"
    tap = Tap().sent(A).got(broken).got(b"more").ended()
    assert tap.exchanges[0].raw == [("received", broken + b"more")]
    assert tap.ends == ["cut"]
    assert Tap().sent(A).got(broken).closed().ends == ["complete"]


def test_bytes_that_nobody_asked_for_are_nobodys() -> None:
    tap = Tap().got(b"HTTP/1.1 408 Late\r\n\r\n").sent(A).got(FIVE + b"hello" + b"surplus")
    assert tap.sent(B).got(FIVE + b"hello").bodies == [b"hello", b"hello"]


UPGRADE = b"GET /u HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"


def test_after_an_upgrade_everything_is_raw() -> None:
    tap = Tap().sent(UPGRADE).got(SWITCH + b"hi").sent(b"\x00one").got(b"two")
    assert tap.recorder.switched and not tap.recorder.idle and tap.exchanges == []
    raw = [("received", b"hi"), ("sent", b"\x00one"), ("received", b"two")]
    tap.ended()
    assert (tap.exchanges[0].raw, tap.ends) == (raw, ["complete"])
    tap = Tap().sent(UPGRADE).got(SWITCH).sent(A).closed()
    assert tap.ends == ["left"] and tap.exchanges[0].raw == [("sent", A)]
    tap = Tap().sent(UPGRADE).got(SWITCH).failed(httpcore.ReadTimeout("s")).got(b"x").closed()
    assert tap.ends == ["left"]
    assert Tap().sent(UPGRADE).got(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").sent(A).got(
        FIVE + b"hello"
    ).bodies == [b"", b"hello"]


CONNECT = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"
GRANTED = b"HTTP/1.1 200 OK\r\n\r\n"


def test_a_tunnel_is_a_way_and_no_exchange() -> None:
    tap = Tap().sent(CONNECT).got(GRANTED)
    tap.recorder.started_tls()
    tap.sent(A).got(FIVE + b"hello")
    assert [exchange.asked.url for exchange in tap.exchanges] == ["https://example.com/a"]
    tap = Tap().sent(CONNECT).got(GRANTED).sent(A).got(FIVE + b"hello").closed()
    assert [exchange.asked.url for exchange in tap.exchanges] == ["http://example.com/a"]
    assert Tap().sent(CONNECT).got(GRANTED).closed().exchanges == []


def test_a_tunnel_inside_tls_is_not_itself_tls() -> None:
    tap = Tap()
    tap.recorder.started_tls()  # to the proxy
    tap.sent(CONNECT).got(GRANTED).sent(A).got(FIVE + b"hello")
    assert [exchange.asked.url for exchange in tap.exchanges] == ["http://example.com/a"]


def test_a_tunnel_that_was_refused_is_an_exchange() -> None:
    no = b"HTTP/1.1 407 Who\r\nContent-Length: 2\r\n\r\nno"
    tap = Tap().sent(CONNECT).got(no).sent(CONNECT).got(GRANTED)
    assert [(e.asked.method, e.asked.url) for e in tap.exchanges] == [
        ("CONNECT", "example.com:443")
    ]
    assert tap.bodies == [b"no"]


@pytest.mark.parametrize("first", ["client", "server", "with the answer"])
def test_a_tunnel_for_something_else_is_raw(first: str) -> None:
    tap = Tap().sent(CONNECT).got(GRANTED + (b"SSH-2.0" if first == "with the answer" else b""))
    tap = tap.sent(b"SSH-2.0") if first == "client" else tap
    tap = tap.got(b"SSH-2.0") if first == "server" else tap
    tap.sent(b"mine").got(b"theirs").ended()
    assert tap.exchanges[0].raw[-2:] == [("sent", b"mine"), ("received", b"theirs")]
    assert len(tap.exchanges[0].raw) == 3


def test_what_is_said_to_a_socks_proxy_is_not_recorded() -> None:
    for messages in ([b"\x05\x01\x00", b"\x05\x01\x00\x03s3cret"], [b"\x04\x01s3cret\x00"]):
        tap = Tap()
        for message in messages:
            tap.sent(message).got(b"\x05\x00")
        assert tap.sent(A).got(FIVE + b"hello").bodies == [b"hello"]
        assert b"s3cret" not in to_lines(tap.exchanges[0])
    tap = Tap().sent(b"\x05\x01\x00").got(b"\x05\x00")
    tap.recorder.started_tls()
    tap.sent(POST[:-5]).sent(b"\x05ello").got(FIVE + b"hello")
    assert tap.exchanges[0].asked.body == b"\x05ello"


# --- playing ---


class Deck:
    """A player, and the cassette it plays."""

    def __init__(self, *exchanges: Exchange, live: bool = False, **options: Any) -> None:
        self.cassette = Cassette("c.jsonl", Contents(list(exchanges), 0), **options)
        self.player = Player(Place("example.com:80"), self.cassette, live)

    def sent(self, data: bytes) -> Deck:
        self.player.sent(data)
        return self

    def read_all(self) -> bytes:
        """All that is there to be read, and b"$" for the end."""
        data = b""
        while (step := self.player.next(65536)) is not None:
            assert isinstance(step, bytes)
            data += step or b"$"
            if not step:
                break
        return data


GET_A = Asked("GET", "http://example.com/a")
GET_B = Asked("GET", "http://example.com/b")


def test_answers_are_played_in_the_order_of_the_requests() -> None:
    deck = Deck(Exchange(GET_B, answer=ok(b"b")), Exchange(GET_A, answer=ok(b"a")))
    data = deck.sent(A + B).read_all()
    assert data == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"
    )
    assert deck.player.next(10) is None and not deck.player.readable


def test_reads_give_no_more_than_they_are_asked_for() -> None:
    deck = Deck(Exchange(GET_A, answer=ok(b"hello"))).sent(A)
    parts = []
    while (part := deck.player.next(7)) is not None:
        assert isinstance(part, bytes) and 0 < len(part) <= 7
        parts.append(part)
        assert deck.player.readable == (not b"".join(parts).endswith(b"hello"))
    assert b"".join(parts).endswith(b"\r\n\r\nhello")


def test_nothing_is_said_before_the_request_is_complete() -> None:
    deck = Deck(Exchange(Asked("POST", "http://a/", body=b"hello"), answer=ok(b"x")))
    assert deck.player.next(10) is None
    assert deck.sent(POST[:20]).player.next(10) is None
    assert deck.sent(POST[20:-1]).player.next(10) is None
    assert deck.sent(POST[-1:]).read_all().endswith(b"x")


@pytest.mark.parametrize(
    ("answer", "wire"),
    [
        (Answer(b"HTTP/1.0", 200, b"OK", [], b"body"), b"HTTP/1.0 200 OK\r\n\r\nbody$"),
        (
            Answer(b"HTTP/1.1", 200, b"", [(b"content-length", b"99")], b"edited"),
            b"HTTP/1.1 200 \r\ncontent-length: 6\r\n\r\nedited",
        ),
        (
            Answer(
                b"HTTP/1.1", 200, b"", [(b"Transfer-Encoding", b"chunked")], b"abc", [(b"T", b"u")]
            ),
            b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: u\r\n\r\n",
        ),
        (
            Answer(b"HTTP/1.1", 200, b"", [(b"Transfer-Encoding", b"chunked")]),
            b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (Answer(b"HTTP/1.1", 204, b"", [], b""), b"HTTP/1.1 204 \r\n\r\n"),
        (Answer(b"HTTP/1.1", 304, b"", [(b"E", b"x")]), b"HTTP/1.1 304 \r\nE: x\r\n\r\n"),
    ],
)
def test_how_answers_are_framed(answer: Answer, wire: bytes) -> None:
    assert Deck(Exchange(GET_A, answer=answer)).sent(A).read_all() == wire


def test_an_answer_to_head_announces_and_has_no_body() -> None:
    answer = Answer(b"HTTP/1.1", 200, b"OK", [(b"Content-Length", b"5")])
    deck = Deck(Exchange(Asked("HEAD", "http://example.com/a"), answer=answer))
    assert deck.sent(A.replace(b"GET", b"HEAD")).read_all() == FIVE


def test_interim_answers_are_played() -> None:
    interim: Any = [(100, []), (103, [(b"Link", b"x")])]
    deck = Deck(Exchange(GET_A, interim, ok(b"a")))
    assert (
        deck.sent(A)
        .read_all()
        .startswith(b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 \r\nLink: x\r\n\r\nHTTP/1.1 200 OK")
    )


@pytest.mark.parametrize(
    ("answer", "wire"),
    [
        (None, b"$"),
        (Answer(b"HTTP/1.1", 200, b"", [(b"Content-Length", b"9")], b"he"), b"\r\n\r\nhe$"),
        # Filtered, a piece may be longer than the whole was.
        (Answer(b"HTTP/1.1", 200, b"", [(b"Content-Length", b"3")], b"[filtered]"), b"\r\n\r\n[f$"),
        (Answer(b"HTTP/1.1", 200, b"", [(b"Content-Length", b"?")], b"he"), b"\r\n\r\nh$"),
        (
            Answer(b"HTTP/1.1", 200, b"", [(b"Transfer-Encoding", b"chunked")], b"he"),
            b"2\r\nhe\r\n$",
        ),
        (Answer(b"HTTP/1.1", 200, b"", [], b"he"), b"\r\n\r\nhe$"),
    ],
)
def test_what_was_cut_is_cut_again(answer: Answer | None, wire: bytes) -> None:
    deck = Deck(Exchange(GET_A, answer=answer, end="cut")).sent(A)
    assert deck.read_all().endswith(wire) and deck.player.cut
    assert deck.player.readable and deck.player.next(10) == b""
    assert deck.sent(B).player.next(10) == b""  # and stays so


def test_who_asks_again_because_of_idleness_is_told_the_same() -> None:
    """A pool asks again on a new connection where a used one gave no byte; and only there."""
    for end in (("cut", ("", "")), ("failed", ("ReadError", "reset"))):
        cut = Exchange(GET_B, end=end[0], error=end[1])
        deck = Deck(Exchange(GET_A, answer=ok(b"a")), cut)
        deck.sent(A).read_all()
        deck.player.sent(B)
        for _ in range(2):
            try:
                assert deck.player.next(10) == b""
            except httpcore.ReadError:
                assert end[0] == "failed"
            assert cut.used == (deck.player.place.authority == "again")
            deck.player = Player(Place("again"), deck.cassette)
            deck.player.sent(B)
    cut = Exchange(Asked("POST", "http://a/", body=b"hello"), end="cut")
    deck = Deck(Exchange(GET_A, answer=ok(b"a")), cut)
    deck.sent(A).read_all()
    assert deck.sent(POST).player.next(10) == b"" and cut.used


def test_what_failed_fails_again() -> None:
    error = ("ReadTimeout", "nobody there")
    deck = Deck(Exchange(GET_A, end="failed", error=error)).sent(A)
    for _ in range(2):
        with pytest.raises(httpcore.ReadTimeout, match="nobody there"):
            deck.player.next(10)
    assert deck.player.readable


def test_where_the_client_left_there_is_no_more() -> None:
    deck = Deck(Exchange(GET_A, answer=ok(b"hello"), end="left", line=7))
    deck.sent(A)
    assert isinstance(deck.player.next(65536), bytes)
    with pytest.raises(
        CassetteError, match=r"no more of the answer to GET .*/a \(line 7\)"
    ) as caught:
        deck.player.next(10)
    assert caught.value.phase == "maybe_processed"


def test_what_could_not_be_read_is_played_as_it_was() -> None:
    raw = [("received", b"HTTP/1.1 2OO"), ("received", b""), ("received", b"\r\n\r\n")]
    deck = Deck(Exchange(GET_A, raw=raw), Exchange(GET_B, answer=ok(b"b")))
    assert deck.sent(A).read_all() == b"HTTP/1.1 2OO\r\n\r\n"
    assert deck.sent(B).read_all().endswith(b"b")


def test_an_upgrade_is_played() -> None:
    headers = [(b"Connection", b"upgrade"), (b"Upgrade", b"x")]
    answer = Answer(b"HTTP/1.1", 101, b"Switching Protocols", headers)
    raw = [("received", b"hi"), ("sent", b"one"), ("received", b"two")]
    asked = Asked("GET", "http://a/u")
    deck = Deck(Exchange(asked, answer=answer, raw=raw)).sent(UPGRADE)
    assert deck.player.next(1000) == SWITCH
    deck.sent(b"\x00 no http")
    assert deck.read_all() == b"hitwo$"


def test_without_an_answer_it_says_so_again_and_again() -> None:
    deck = Deck(Exchange(GET_B, answer=ok(b"b"))).sent(A)
    for _ in range(2):
        with pytest.raises(NoRecordedAnswer, match="has no answer for GET"):
            deck.player.next(10)


EXPECT = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"


def test_a_client_that_expects_to_be_asked_is_asked() -> None:
    asked = Asked("POST", "http://a/", body=b"hello")
    deck = Deck(Exchange(asked, [(100, [])], answer=ok(b"x")))
    assert deck.sent(EXPECT).read_all() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert deck.sent(b"hello").read_all() == b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
    with pytest.raises(NoRecordedAnswer):
        deck.sent(EXPECT).read_all()


def test_a_client_whose_body_was_not_wanted_is_told_before() -> None:
    no = Answer(b"HTTP/1.1", 417, b"No", [(b"Content-Length", b"0")])
    deck = Deck(
        Exchange(Asked("POST", "http://a/", stopped=True), answer=no),
        Exchange(GET_A, answer=ok(b"a")),
    )
    assert deck.sent(EXPECT).read_all().startswith(b"HTTP/1.1 417 No")
    assert deck.sent(b"hello" + A).read_all().endswith(b"a")  # it may send it all the same


def test_tunnels_are_granted_unless_they_were_refused() -> None:
    refusal = Answer(b"HTTP/1.1", 407, b"Who", [(b"Content-Length", b"2")], b"no")
    deck = Deck(
        Exchange(Asked("CONNECT", "example.com:443"), answer=refusal),
        Exchange(Asked("GET", "https://example.com/a"), answer=ok(b"a")),
    )
    assert deck.sent(CONNECT).read_all() == b"HTTP/1.1 407 Who\r\nContent-Length: 2\r\n\r\nno"
    assert deck.sent(CONNECT).read_all() == GRANTED
    deck.player.started_tls()
    assert deck.sent(A).read_all().endswith(b"a")


def test_a_tunnel_for_something_else_is_played() -> None:
    answer = Answer(b"HTTP/1.1", 200, b"OK")
    raw = [("received", b"SSH-2.0")]
    deck = Deck(Exchange(Asked("CONNECT", "example.com:443"), answer=answer, raw=raw))
    assert deck.sent(CONNECT).read_all() == b"HTTP/1.1 200 OK\r\n\r\nSSH-2.0$"
    with pytest.raises(CassetteError, match=r"no HTTP/1\.1 request"):
        Deck().sent(CONNECT).read_all() and Deck().sent(b"SSH-2.0\r\n\r\n")


@pytest.mark.parametrize(
    "talk",
    [
        [(b"\x05\x01\x00", b"\x05\x00"), (b"\x05\x01\x00\x03x", b"\x05\x00\x00\x01" + bytes(6))],
        [(b"\x04\x01\x00\x50\x00\x00\x00\x01\x00", b"\x00\x5a" + bytes(6))],
    ],
)
def test_socks_proxies_are_played(talk: list[tuple[bytes, bytes]]) -> None:
    deck = Deck(Exchange(GET_A, answer=ok(b"a")))
    for said, answered in talk:
        assert deck.sent(said).read_all() == answered
    assert deck.sent(A).read_all().endswith(b"a")


# --- playing, and asking the network for the rest ---


def test_what_is_not_known_goes_to_the_network() -> None:
    deck = Deck(Exchange(GET_B, answer=ok(b"b")), live=True)
    player = deck.sent(A + B).player
    assert player.next(10) is LIVE and player.live
    assert player.forward() == A and player.forward() == b""
    player.heard(idle=False, switched=False)
    assert player.next(10) is LIVE
    player.heard(idle=True, switched=False)
    assert not player.live and deck.read_all().endswith(b"b")
    assert player.next(10) is None


def test_a_body_that_is_asked_for_goes_to_the_network_as_it_comes() -> None:
    player = Deck(live=True).sent(EXPECT).player
    assert player.next(10) is LIVE and player.forward() == EXPECT
    player.sent(b"hel")
    assert player.forward() == b"hel"
    player.heard(idle=True, switched=False)  # the answer came early
    assert player.live and player.next(10) is None
    player.sent(b"lo" + A)
    assert player.forward() == b"lo" and not player.live
    assert player.next(10) is LIVE and player.forward() == A


def test_an_upgrade_on_the_network_stays_there() -> None:
    player = Deck(live=True).sent(UPGRADE).player
    assert player.next(10) is LIVE and player.forward() == UPGRADE
    player.heard(idle=False, switched=True)
    player.sent(b"\x00frame")
    assert player.live and player.forward() == b"\x00frame" and player.next(10) is LIVE


def test_proxies_on_the_network_are_asked() -> None:
    deck = Deck(Exchange(Asked("GET", "https://example.com/a"), answer=ok(b"a")), live=True)
    player = deck.sent(CONNECT).player
    assert player.next(10) is LIVE and player.forward() == CONNECT
    player.heard(idle=True, switched=False)
    player.started_tls()
    assert player.proxied and deck.sent(A).read_all().endswith(b"a")
    for first in (b"SSH-2.0", b""):
        player = Deck(live=True).sent(CONNECT).player
        assert player.next(10) is LIVE and player.forward() == CONNECT
        player.heard(idle=True, switched=False)
        if first:
            player.sent(first)
        assert player.forward() == first and player.next(10) is LIVE


def test_socks_proxies_on_the_network_are_asked() -> None:
    deck = Deck(Exchange(GET_A, answer=ok(b"a")), live=True)
    player = deck.sent(b"\x05\x01\x00").player
    for _ in range(2):
        assert player.live and player.next(10) is LIVE
        player.heard(idle=True, switched=False)
    assert player.forward() == b"\x05\x01\x00" and player.proxied
    assert deck.sent(A).read_all().endswith(b"a")


# --- both together ---


@settings(max_examples=examples(60))
@given(EXCHANGES, st.integers(1, 50))
def test_what_was_played_would_be_recorded_again(exchange: Exchange, size: int) -> None:
    """A player's bytes, listened to by a recorder, give the exchange that was played."""
    answer = exchange.answer
    if answer is None or exchange.raw or answer.status in (204, 304):
        return
    own = (b"content-length", b"transfer-encoding", b"connection", b"content-encoding")
    answer.headers = [line for line in answer.headers if line[0].lower() not in own]
    answer.headers.append((b"Transfer-Encoding", b"chunked"))
    answer.trailers = [line for line in answer.trailers if line[0].lower() not in own]
    exchange.interim = [one for one in exchange.interim if one[0] != 101]
    exchange.asked = Asked("GET", "http://example.com/a")
    deck = Deck(exchange).sent(A)
    tap = Tap().sent(A)
    while data := deck.player.next(size):
        assert isinstance(data, bytes)
        tap.got(data)
    (again,) = tap.exchanges
    if again.answer is not None:  # else h11 refuses a field, and it is kept as it is
        assert again.answer.body == answer.body and again.answer.status == answer.status
        assert again.answer.headers == answer.headers


@pytest.mark.parametrize("depth", range(400, 1001, 20))
def test_json_of_any_depth_is_read_or_refused(depth: int) -> None:
    """Writing takes more of the stack than reading: some depths are between the two."""
    data = b'{"request": "GET http://a/"}\n{"json": %b%b}\n' % (b"[" * depth, b"]" * depth)
    with contextlib.suppress(CassetteError):
        assert read_contents(HEADER + data, "c.jsonl").torn


def test_json_that_cannot_be_written_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_deep(*_: Any) -> bytes:
        raise RecursionError

    monkeypatch.setattr("httpcore._testing.cassettes.file._write_json", too_deep)
    with pytest.raises(CassetteError, match="line 3: the json is nested too deeply"):
        read({"request": "GET http://a/"}, {"json": []})
