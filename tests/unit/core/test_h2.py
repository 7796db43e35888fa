"""The HTTP/2 codec without a network: against frames made by hand, and against h2.

Owns: `httpcore._core.h2` and `httpcore._core.hpack`. Must not know: sockets, threads (those are in
`test_http2`).
Each test runs on every engine that is installed.
Sources: RFC 9113, RFC 7541; h2's own client and server as the reference.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable
from struct import Struct
from types import SimpleNamespace
from typing import Any, NamedTuple

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hpack
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from httpcore._core import h2 as _h2
from httpcore._core import hpack as _hpack
from httpcore._core.h2 import (
    CONNECTION_REFILL,
    CONNECTION_WINDOW,
    CONTROL_BURST,
    LARGEST_WINDOW,
    MAX_CONTROL_BACKLOG,
    MAX_FRAME,
    MAX_HEADER_LIST,
    MAX_INFORMATIONAL,
    MAX_STREAM_ID,
    MAX_STREAMS,
    MAX_UPDATES_DUE,
    STREAM_REFILL,
    STREAM_WINDOW,
    Codec,
    Stream,
)
from httpcore._core.h2_request import request_fields
from httpcore._core.limits import MAX_FIELDS
from httpcore._exceptions import (
    MAYBE_PROCESSED,
    NOT_SENT,
    RESPONSE_STARTED,
    Aborted,
    ConnectionNotAvailable,
    IncompleteBody,
    LocalProtocolError,
    NetworkError,
    ProtocolError,
    ReadError,
    RemoteProtocolError,
    ServerDisconnected,
    WriteError,
    explain,
)
from tests.support.examples import examples
from tests.support.http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PREFACE,
    PRIORITIZED,
    Kind,
    encode_frame,
)
from tests.support.versions import needs

Headers = list[tuple[bytes, bytes]]

NOW = 1000.0  # seconds; any time will do, as long as the allowance for odd frames is whole

bounded = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

needs_jh2 = pytest.mark.skipif(
    "jh2" not in _hpack.CODERS, reason="jh2, the extra `speedups`, is not installed"
)
ENGINES = [pytest.param("h2", id="h2"), pytest.param("jh2", id="jh2", marks=needs_jh2)]
INSTALLED = sorted(_hpack.CODERS)


# --- frames made by hand ---------------------------------------------------------------------


# Error codes, RFC 9113 section 7.
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 5, 6, 7, 8
COMPRESSION_ERROR, ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED = 9, 11, 13

# Settings, RFC 9113 section 6.5.2 (and RFC 8441).
TABLE_SIZE, ENABLE_PUSH, CONCURRENT, INITIAL_WINDOW, FRAME_SIZE, HEADER_LIST, CONNECT = (
    *(1, 2, 3, 4, 5, 6),
    8,
)

_head = Struct(">LBL")
_long = Struct(">L")
_two_longs = Struct(">LL")
_setting = Struct(">HL")


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, stream: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    return encode_frame(kind, payload, flags, stream)


def data(stream: int, payload: bytes = b"", end: bool = False, pad: int | None = None) -> bytes:
    flags = END_STREAM if end else 0
    if pad is not None:
        flags |= PADDED
        payload = bytes([pad]) + payload + bytes(pad)
    return frame(Kind.DATA, stream, payload, flags)


def reset(stream: int, code: int) -> bytes:
    return frame(Kind.RST_STREAM, stream, _long.pack(code))


def goaway(last: int, code: int = NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(Kind.GOAWAY, 0, _two_longs.pack(last, code) + debug)


def window_update(stream: int, increment: int) -> bytes:
    return frame(Kind.WINDOW_UPDATE, stream, _long.pack(increment))


def settings_frame(*pairs: tuple[int, int]) -> bytes:
    return frame(Kind.SETTINGS, 0, b"".join(_setting.pack(*pair) for pair in pairs))


def ping(flags: int = 0) -> bytes:
    return frame(Kind.PING, 0, b"12345678", flags)


def parse(sent: bytes) -> list[Frame]:
    """The frames in `sent`, which must be whole."""
    found = []
    position = 0
    while position < len(sent):
        head, flags, stream = _head.unpack_from(sent, position)
        start = position + _head.size
        position = start + (head >> 8)
        assert position <= len(sent), "the last frame is cut"
        found.append(Frame(head & 0xFF, flags, stream, sent[start:position]))
    return found


def codes(frames: Iterable[Frame]) -> list[tuple[int, int]]:
    """(stream, error code) of the RST_STREAM frames."""
    return [(f.stream, _long.unpack(f.payload)[0]) for f in frames if f.kind == Kind.RST_STREAM]


def increments(frames: Iterable[Frame]) -> list[tuple[int, int]]:
    """(stream, bytes) of the WINDOW_UPDATE frames."""
    return [(f.stream, _long.unpack(f.payload)[0]) for f in frames if f.kind == Kind.WINDOW_UPDATE]


def farewells(frames: Iterable[Frame]) -> list[int]:
    """Error codes of the GOAWAY frames."""
    return [_two_longs.unpack_from(f.payload)[1] for f in frames if f.kind == Kind.GOAWAY]


def open_stream(
    codec: Codec, method: bytes, path: bytes, headers: Headers, end: bool = True
) -> Stream:
    """A request with these header fields; its frames are to be sent."""
    return codec.open_stream(codec.request_head(method, b"https", path, headers), path, end)


class Wire:
    """A codec, and the server's end of its wire, made by hand."""

    def __init__(self, engine: str, *, settled: bool = True) -> None:
        self.codec = Codec(engine)
        self.encoder: Any = hpack.Encoder()
        self.decoder: Any = hpack.Decoder()
        self.start = self.codec.data_to_send()
        if settled:
            self.send(settings_frame())
            assert parse(self.codec.data_to_send()) == [Frame(Kind.SETTINGS, ACK, 0, b"")]
            self.codec.touched.clear()
            self.codec.widened = False

    def send(self, *frames: bytes, now: float = NOW) -> None:
        self.codec.receive(b"".join(frames), now)

    def sent(self) -> list[Frame]:
        return parse(self.codec.data_to_send())

    def open(
        self,
        method: bytes = b"GET",
        path: bytes = b"/",
        end: bool = True,
        headers: Headers | None = None,
    ) -> Stream:
        """A request; its frames are taken off the wire."""
        fields = [(b"Host", b"a.test"), *(headers or [])]
        stream = open_stream(self.codec, method, path, fields, end)
        block = b"".join(f.payload for f in self.sent() if f.kind in (1, 9))
        self.decoder.decode(block, raw=True)
        return stream

    def block(self, fields: Headers) -> bytes:
        packed: bytes = self.encoder.encode(fields)
        return packed

    def headers(self, stream: int, fields: Headers, end: bool = False) -> bytes:
        flags = END_HEADERS | (END_STREAM if end else 0)
        return frame(Kind.HEADERS, stream, self.block(fields), flags)

    def head(
        self, stream: int, status: int = 200, fields: Headers | None = None, end: bool = False
    ) -> bytes:
        return self.headers(stream, [(b":status", b"%d" % status), *(fields or [])], end)

    def read(self, stream: Stream) -> bytes:
        return self.codec.take(stream, sys.maxsize)

    def raises(self, match: str, *frames: bytes, now: float = NOW) -> list[Frame]:
        """`frames` are the end of the connection; what the codec has to say to the server then."""
        with pytest.raises(RemoteProtocolError, match=match):
            self.send(*frames, now=now)
        last = self.sent()
        self.is_over()
        return last

    def is_over(self) -> None:
        with pytest.raises(ConnectionNotAvailable):
            self.open()
        assert not self.codec.out


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def wire(engine: str) -> Wire:
    return Wire(engine)


Road = Callable[[Wire, int, Headers, bool], bytes]


def plain_road(wire: Wire, stream: int, fields: Headers, end: bool) -> bytes:
    return wire.headers(stream, fields, end)


def padded_road(wire: Wire, stream: int, fields: Headers, end: bool) -> bytes:
    flags = END_HEADERS | PADDED | (END_STREAM if end else 0)
    return frame(Kind.HEADERS, stream, b"\x03" + wire.block(fields) + bytes(3), flags)


def priority_road(wire: Wire, stream: int, fields: Headers, end: bool) -> bytes:
    flags = END_HEADERS | PRIORITIZED | (END_STREAM if end else 0)
    return frame(Kind.HEADERS, stream, b"\0\0\0\0\x0f" + wire.block(fields), flags)


def continued_road(wire: Wire, stream: int, fields: Headers, end: bool) -> bytes:
    block = wire.block(fields)
    cut = len(block) // 2
    first = frame(Kind.HEADERS, stream, block[:cut], END_STREAM if end else 0)
    middle = frame(Kind.CONTINUATION, stream)
    return first + middle + frame(Kind.CONTINUATION, stream, block[cut:], END_HEADERS)


ROADS = [plain_road, padded_road, priority_road, continued_road]


@pytest.fixture(params=ROADS, ids=lambda road: road.__name__.removesuffix("_road"))
def road(request: pytest.FixtureRequest) -> Road:
    """A header block as one frame, with padding, with a priority, in pieces."""
    chosen: Road = request.param
    return chosen


# --- the beginning ---------------------------------------------------------------------------


def test_the_first_bytes(engine: str) -> None:
    codec = Codec(engine)
    start = codec.data_to_send()
    assert start.startswith(PREFACE)
    first, second = parse(start[len(PREFACE) :])
    assert (first.kind, first.flags, first.stream) == (Kind.SETTINGS, 0, 0)
    said = dict(_setting.iter_unpack(first.payload))
    assert said.pop(TABLE_SIZE, 4096) == 4096
    assert said.pop(FRAME_SIZE, 16384) == 16384
    assert said == {
        ENABLE_PUSH: 0,
        INITIAL_WINDOW: 16 * 1024 * 1024,
        HEADER_LIST: 128 * 1024,
    }
    assert second == Frame(Kind.WINDOW_UPDATE, 0, 0, _long.pack(2**30 - 65535))
    assert not codec.out
    assert codec.data_to_send() == b""


def test_the_engine_is_named() -> None:
    assert _h2.ENGINE in INSTALLED
    assert ("jh2" in INSTALLED) == (_h2.ENGINE == "jh2")


def test_nothing_but_one_stream_before_the_settings(engine: str) -> None:
    wire = Wire(engine, settled=False)
    assert (wire.codec.settled, wire.codec.max_streams) == (False, 1)
    wire.open()
    with pytest.raises(ConnectionNotAvailable, match="all of 1 streams are in use") as info:
        wire.open()
    assert info.value.phase == NOT_SENT
    assert not wire.codec.out
    wire.send(settings_frame((CONCURRENT, 2)))
    assert (wire.codec.settled, wire.codec.max_streams, wire.codec.widened) == (True, 2, True)
    assert wire.sent() == [Frame(Kind.SETTINGS, ACK, 0, b"")]
    assert wire.open().id == 3


def test_the_limit_of_streams(wire: Wire) -> None:
    codec = wire.codec
    assert codec.max_streams == MAX_STREAMS  # the server has set none
    for value in (100, 0, 1, 2**32 - 1):
        before = codec.changes
        wire.send(settings_frame((CONCURRENT, value)))
        assert codec.max_streams == min(value, MAX_STREAMS)
        assert codec.changes > before
    wire.send(settings_frame((CONCURRENT, 0)))
    wire.sent()
    with pytest.raises(ConnectionNotAvailable, match="all of 0 streams"):
        wire.open()
    wire.send(settings_frame((CONCURRENT, 2)))
    wire.sent()
    first, second = wire.open(), wire.open()
    wire.send(settings_frame((CONCURRENT, 1)))  # lowered below what is open: these go on
    with pytest.raises(ConnectionNotAvailable):
        wire.open()
    wire.send(wire.head(first.id, end=True))
    with pytest.raises(ConnectionNotAvailable):
        wire.open()
    wire.send(wire.head(second.id), data(second.id, end=True))
    wire.sent()
    assert wire.open().id == 5


def test_streams_that_end_make_room(wire: Wire) -> None:
    """However a stream ends, it does not count any more, to h2 either."""
    wire.send(settings_frame((CONCURRENT, 1)))
    wire.sent()
    codec = wire.codec
    endings: list[Callable[[Stream], None]] = [
        lambda s: wire.send(wire.head(s.id, end=True)),
        lambda s: wire.send(wire.head(s.id), data(s.id, b"x", end=True)),
        lambda s: wire.send(wire.head(s.id), wire.headers(s.id, [(b"a", b"b")], end=True)),
        lambda s: wire.send(padded_road(wire, s.id, [(b":status", b"200")], True)),
        lambda s: wire.send(reset(s.id, CANCEL)),
        lambda s: codec.close_stream(s),
        lambda s: wire.send(wire.head(s.id), data(s.id)) or codec.close_stream(s),
        lambda s: wire.send(wire.headers(s.id, [])),
        lambda s: wire.send(wire.head(s.id, fields=[(b"content-length", b"5")], end=True)),
    ]
    for ending in endings * 2:
        stream = wire.open()
        assert (codec.open_streams, codec.streams, codec.is_open(stream)) == (1, [stream], True)
        ending(stream)
        assert (codec.open_streams, codec.streams, codec.is_open(stream)) == (0, [], False)
        wire.sent()


def test_streams_are_opened_in_order(wire: Wire) -> None:
    opened = []
    for number in range(5):
        path, end = b"/%d" % number, number % 2 == 0
        opened.append(open_stream(wire.codec, b"GET", path, [(b"Host", b"a.test")], end))
    frames = wire.sent()
    assert [stream.id for stream in opened] == [f.stream for f in frames] == [1, 3, 5, 7, 9]
    assert [f.flags & END_STREAM for f in frames] == [1, 0, 1, 0, 1]
    for number, sent in enumerate(frames):
        assert dict(wire.decoder.decode(sent.payload, raw=True))[b":path"] == b"/%d" % number
    assert opened[0].describe() == "GET /0"


def test_stream_numbers_run_out(wire: Wire) -> None:
    wire.codec._next_id = MAX_STREAM_ID
    last = wire.open()
    assert last.id == 2**31 - 1
    with pytest.raises(ConnectionNotAvailable, match="numbers are used up") as info:
        wire.open()
    assert info.value.phase == NOT_SENT
    assert "used up" in wire.codec.draining
    wire.send(wire.head(last.id), data(last.id, b"all", end=True))
    assert wire.read(last) == b"all"
    with pytest.raises(ConnectionNotAvailable, match="used up"):
        wire.open()


# --- fields of requests ----------------------------------------------------------------------

PSEUDO: Headers = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"a.test"),
    (b":path", b"/"),
]


def _with(**changed: bytes) -> Headers:
    return [(name, changed.get(name[1:].decode(), value)) for name, value in PSEUDO]


@pytest.mark.parametrize(
    "fields",
    [
        [*PSEUDO, (b"X-Upper", b"a")],
        [*PSEUDO, (b"", b"a")],
        [*PSEUDO, (b"a b", b"c")],
        [*PSEUDO, (b"a:", b"c")],
        [*PSEUDO, (b"a\r", b"c")],
        [*PSEUDO, (b"a\n", b"c")],
        [*PSEUDO, (b"a\nb", b"c")],
        [*PSEUDO, (b"a\0", b"c")],
        [*PSEUDO, (b"\xff", b"c")],
        [*PSEUDO, (b"a", b"b"), (b":extra", b"c")],
        [*PSEUDO, (b":path", b"/")],
        [*PSEUDO, (b":protocol", b"websocket")],
        [*PSEUDO, (b":status", b"200")],
        [PSEUDO[0], PSEUDO[2], PSEUDO[1], PSEUDO[3]],
        [(b"a", b"b"), *PSEUDO],
        PSEUDO[:3],
        PSEUDO[:1],
        [*PSEUDO, (b"a", b"b\r")],
        [*PSEUDO, (b"a", b"b\nc")],
        [*PSEUDO, (b"a", b"\0")],
        _with(method=b"G\nT"),
        _with(authority=b"a\r\nb"),
        _with(path=b""),
        _with(path=b"a"),
        _with(path=b"https://a.test/"),
        _with(path=b"/\0"),
        _with(path=b"/\r\nx"),
        [*PSEUDO, (b"connection", b"close")],
        [*PSEUDO, (b"keep-alive", b"timeout=5")],
        [*PSEUDO, (b"proxy-connection", b"keep-alive")],
        [*PSEUDO, (b"transfer-encoding", b"gzip")],
        [*PSEUDO, (b"upgrade", b"websocket")],
        [*PSEUDO, (b"te", b"gzip")],
        [*PSEUDO, (b"te", b"trailers"), (b"te", b"trailers, gzip")],
    ],
    ids=repr,
)
def test_fields_that_must_not_be_sent(wire: Wire, fields: Headers) -> None:
    with pytest.raises(LocalProtocolError) as info:
        wire.codec.open_stream(wire.codec._writer.read_fields(list(fields)), b"/", True)
    assert info.value.phase == NOT_SENT
    assert wire.codec.data_to_send() == b""
    assert wire.codec.open_streams == 0
    assert wire.open().id == 1  # no number was lost either


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([(b"Host", b"b.test"), (b"X-A", b"B")], [(b"x-a", b"B")]),
        ([(b"host", b"b.test"), (b"TE", b"Trailers")], [(b"te", b"trailers")]),
        ([(b"host", b"b.test"), (b"TE", b"deflate;q=0.5, trailers")], [(b"te", b"trailers")]),
        ([(b"Host", b"b.test"), (b"TE", b"gzip")], []),
        ([(b"Host", b"b.test"), (b"Connection", b"keep-alive")], []),
        ([(b"Host", b"b.test"), (b"Connection", b"Close, Keep-Alive ,")], []),
        (
            [(b"Host", b"b.test"), (b"Connection", b"x-a"), (b"X-A", b"1"), (b"B", b"2")],
            [(b"b", b"2")],
        ),
        ([(b"Host", b"b.test"), (b"X-A", b"1"), (b"Connection", b"Keep-Alive, X-a")], []),
        ([(b"Host", b"b.test"), (b"Connection", b"x"), (b"Connection", b"y"), (b"Y", b"1")], []),
        (
            [(b"Host", b"b.test"), (b"TE", b"trailers"), (b"Connection", b"TE")],
            [(b"te", b"trailers")],
        ),
        (
            [
                (b"Host", b"b.test"),
                (b"Connection", b"upgrade, HTTP2-Settings"),
                (b"Upgrade", b"h2c"),
                (b"HTTP2-Settings", b"AAMAAABkAAQAAP__"),
            ],
            [],
        ),
        ([(b"Host", b"b.test"), (b"Proxy-Connection", b"keep-alive")], []),
        ([(b"Host", b"b.test"), (b"Transfer-Encoding", b"Chunked")], []),
        (
            [(b"Host", b"b.test"), (b"Transfer-Encoding", b"gzip, chunked")],
            [(b"transfer-encoding", b"gzip, chunked")],
        ),
        ([(b"Host", b"b.test"), (b"Upgrade", b"h2c")], []),
        ([(b"Host", b"b.test"), (b"Keep-Alive", b"timeout=5")], []),
        ([(b"Host", b"b.test"), (b"Cookie", b"a"), (b"Cookie", b"b")], [(b"cookie", b"a")] * 0),
    ],
    ids=repr,
)
def test_request_fields(given: Headers, sent: Headers) -> None:
    if given[-1][0] == b"Cookie":
        sent = [(b"cookie", b"a"), (b"cookie", b"b")]
    made = request_fields(b"PUT", b"http", b"/p?q", given)
    assert made == [
        (b":method", b"PUT"),
        (b":scheme", b"http"),
        (b":authority", b"b.test"),
        (b":path", b"/p?q"),
        *sent,
    ]


def test_connect_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="CONNECT"):
        request_fields(b"CONNECT", b"https", b"a.test:443", [(b"Host", b"a.test")])


SECRETS: Headers = [
    (b"Authorization", b"Basic c2VjcmV0OnNlY3JldA=="),
    (b"Proxy-Authorization", b"Basic c2VjcmV0"),
    (b"Cookie", b"pin=1234"),
]


def test_secrets_stay_out_of_the_table(wire: Wire) -> None:
    """RFC 7541 section 7.1.3: each time in full, and marked for those that pass it on."""
    for _ in range(3):
        headers = [(b"Host", b"a.test"), (b"Cookie", b"session=" + bytes(range(97, 123))), *SECRETS]
        open_stream(wire.codec, b"GET", b"/", headers)
        (sent,) = wire.sent()
        fields = wire.decoder.decode(sent.payload, raw=True)
        never = [tuple(f) for f in fields if isinstance(f, hpack.NeverIndexedHeaderTuple)]
        assert never == [(name.lower(), value) for name, value in SECRETS]
    assert not {name.lower() for name, _ in SECRETS[:2]} & {
        name for name, _ in wire.decoder.header_table.dynamic_entries
    }


def test_more_kinds_of_requests_than_are_remembered(wire: Wire) -> None:
    """Fields that are never in the table change nothing in it, so each of these could be."""
    for _ in range(2):
        for number in range(80):
            secret = (b"Authorization", b"Basic %04d" % number)
            block = wire.decoder.decode(_block(wire, secret), raw=True)
            assert block[-1] == (b"authorization", secret[1])
            wire.codec.close_stream(wire.codec.streams[-1])
            wire.sent()


def test_asterisk_and_unusual_methods(wire: Wire) -> None:
    open_stream(wire.codec, b"OPTIONS", b"*", [(b"Host", b"a.test")])
    (sent,) = wire.sent()
    assert (b":path", b"*") in wire.decoder.decode(sent.payload, raw=True)


@pytest.mark.parametrize("length", [126, 127, 128, 20000])
def test_long_paths(wire: Wire, length: int) -> None:
    """From 127 bytes on the length of a path takes more than one byte, from 16384 on a block more
    than one frame."""
    path = b"/" + b"p" * (length - 1)
    for _ in range(3):
        open_stream(wire.codec, b"GET", path, [(b"Host", b"a.test"), (b"X", b"y")])
        frames = wire.sent()
        assert [f.kind for f in frames] == [1, 9][: len(frames)]
        assert frames[-1].flags & END_HEADERS
        block = wire.decoder.decode(b"".join(f.payload for f in frames), raw=True)
        assert sorted(block) == sorted(
            request_fields(b"GET", b"https", path, [(b"Host", b"a.test"), (b"X", b"y")])
        )


# --- the table of our encoder ----------------------------------------------------------------


def _block(wire: Wire, *headers: tuple[bytes, bytes]) -> bytes:
    open_stream(wire.codec, b"GET", b"/", [(b"Host", b"a.test"), *headers])
    (sent,) = wire.sent()
    return sent.payload


@pytest.mark.parametrize(
    "sizes", [[100], [0], [100, 100], [0, 0, 4096], [100, 4096], [4096], [64, 0, 128]], ids=repr
)
def test_the_server_changes_the_table(wire: Wire, sizes: list[int]) -> None:
    """A smaller table is announced in the next block (RFC 7541 section 4.2), however often the
    server has changed its mind before."""
    for _ in range(2):
        wire.decoder.decode(_block(wire, (b"x-a", b"b" * 50)), raw=True)
    for size in sizes:
        wire.send(settings_frame((TABLE_SIZE, size)))
    wire.sent()
    wire.decoder.max_allowed_table_size = sizes[-1]
    for _ in range(3):
        fields = wire.decoder.decode(_block(wire, (b"x-a", b"b" * 50)), raw=True)
        assert (b"x-a", b"b" * 50) in fields
        assert wire.decoder.header_table_size == min(sizes[-1], 4096)


def test_a_huge_table_is_not_filled(wire: Wire) -> None:
    """The server may allow a table of 4 GiB; ours stays small, and so do the look-ups in it."""
    wire.send(settings_frame((TABLE_SIZE, 2**32 - 1)))
    wire.sent()
    wire.decoder.max_allowed_table_size = 2**32 - 1
    for number in range(200):
        stream = wire.codec.streams[-1] if wire.codec.streams else None
        if stream is not None:
            wire.codec.close_stream(stream)
            wire.sent()
        wire.decoder.decode(_block(wire, (b"x-id", b"%0100d" % number)), raw=True)
    assert wire.decoder.header_table_size == 4096
    assert wire.codec._writer.header_table_size == 4096


# --- sending: windows ------------------------------------------------------------------------


def test_the_window_into_which_we_send(wire: Wire) -> None:
    stream, other = wire.open(b"PUT", end=False), wire.open(b"PUT", end=False)
    codec = wire.codec
    assert codec.send_window(stream) == MAX_FRAME
    codec.send_data(stream, bytes(16384))
    codec.send_data(stream, bytes(16384))
    codec.send_data(stream, bytes(16384))
    assert codec.send_window(stream) == 65535 - 3 * 16384 == codec.send_window(other)
    codec.send_data(stream, bytes(16383))
    assert codec.send_window(stream) == codec.send_window(other) == 0
    wire.send(window_update(stream.id, 10))
    assert codec.widened
    assert codec.send_window(stream) == 0  # the connection's is used up
    wire.send(window_update(0, 7))
    assert (codec.send_window(stream), codec.send_window(other)) == (7, 7)
    wire.send(window_update(0, 100))
    assert (codec.send_window(stream), codec.send_window(other)) == (10, 107)
    codec.send_data(stream, bytes(10), end=True)
    frames = wire.sent()
    assert [len(f.payload) for f in frames] == [16384, 16384, 16384, 16383, 10]
    assert [f.flags for f in frames] == [0, 0, 0, 0, END_STREAM]
    assert stream.sent_all


def test_the_initial_window_changes(wire: Wire) -> None:
    wire.send(window_update(0, 2**20))
    stream = wire.open(b"PUT", end=False)
    codec = wire.codec
    codec.send_data(stream, bytes(10000))
    wire.send(settings_frame((INITIAL_WINDOW, 9000)))
    assert codec.send_window(stream) == 0  # it is -1000 now
    wire.send(window_update(stream.id, 1000))
    assert codec.send_window(stream) == 0
    codec.widened = False
    wire.send(window_update(stream.id, 5))
    assert (codec.send_window(stream), codec.widened) == (5, True)
    wire.send(settings_frame((INITIAL_WINDOW, 9100)))
    assert codec.send_window(stream) == 105
    assert codec.send_window(wire.open(b"PUT", end=False)) == 9100
    wire.send(settings_frame((INITIAL_WINDOW, 0)))
    assert codec.send_window(wire.open(b"PUT", end=False)) == 0


def test_the_frame_size_changes(wire: Wire) -> None:
    stream = wire.open(b"PUT", end=False)
    wire.send(settings_frame((FRAME_SIZE, 20000)))
    assert wire.codec.send_window(stream) == 20000
    wire.codec.send_data(stream, bytes(20000))
    assert [len(f.payload) for f in wire.sent()] == [0, 20000]
    wire.send(settings_frame((FRAME_SIZE, 2**24 - 1)))
    assert wire.codec.send_window(stream) == 65535 - 20000


def test_several_settings_before_we_look(wire: Wire) -> None:
    stream = wire.open(b"PUT", end=False)
    wire.send(
        settings_frame((INITIAL_WINDOW, 5), (CONCURRENT, 7)),
        settings_frame((INITIAL_WINDOW, 6)),
        settings_frame((99, 1), (INITIAL_WINDOW, 1), (INITIAL_WINDOW, 7)),
        frame(Kind.SETTINGS, 0, b"", ACK),
    )
    assert (wire.codec.send_window(stream), wire.codec.max_streams) == (7, 7)
    assert wire.sent() == [Frame(Kind.SETTINGS, ACK, 0, b"")] * 3


@pytest.mark.parametrize("count", [1, 10])
def test_unknown_settings_are_forgotten(wire: Wire, count: int) -> None:
    """They have to be ignored (RFC 9113 section 6.5.2): 65536 of them must not stay in memory."""
    known = len(wire.codec._h2.remote_settings)
    numbers = list(range(10, 65536))
    for start in range(0, len(numbers), 2700 // count):
        part = numbers[start : start + 2700 // count]
        wire.send(settings_frame(*[(number, 1) for number in part], (CONCURRENT, 20)))
    assert wire.codec.max_streams == 20
    assert len(wire.codec._h2.remote_settings) <= known + 1


def test_end_of_a_request_is_said_once(wire: Wire) -> None:
    stream = wire.open(b"PUT", end=False)
    wire.codec.end_request(stream)
    wire.codec.end_request(stream)
    assert wire.sent() == [Frame(Kind.DATA, END_STREAM, stream.id, b"")]
    assert stream.sent_all
    gone = wire.open(b"PUT", end=False)
    wire.codec.close_stream(gone)
    wire.codec.end_request(gone)
    wire.codec.close_stream(gone)
    assert codes(frames := wire.sent()) == [(gone.id, CANCEL)] and len(frames) == 1
    assert wire.codec.send_window(gone) == 0


def test_the_response_ends_before_the_request(wire: Wire) -> None:
    """The stream is open until both have ended; then the server may still reset it, or not."""
    codec = wire.codec
    for ending in ("ours", "reset", "close"):
        stream = wire.open(b"PUT", end=False)
        wire.send(wire.head(stream.id), data(stream.id, b"done", end=True))
        assert (stream.ended, stream.done, codec.is_open(stream)) == (True, False, True)
        assert codec.send_window(stream) > 0
        if ending == "ours":
            codec.send_data(stream, b"rest", end=True)
            assert [f.payload for f in wire.sent()] == [b"rest"]
        elif ending == "reset":
            codec.touched.clear()
            wire.send(reset(stream.id, NO_ERROR))  # RFC 9113 section 8.1
            assert codec.touched == [stream]
        else:
            codec.close_stream(stream)
            assert codes(wire.sent()) == [(stream.id, CANCEL)]
        assert not codec.is_open(stream)
        assert codec.send_window(stream) == 0
        left = b"" if ending == "close" else b"done"
        assert (wire.read(stream), stream.done, stream.failure) == (left, True, None)


# --- receiving: heads ------------------------------------------------------------------------


def test_a_response(wire: Wire, road: Road) -> None:
    stream = wire.open()
    assert (stream.readable, stream.done, stream.remaining) == (False, False, None)
    fields = [(b"content-length", b"3"), (b"x-a", b"1"), (b"x-a", b"2"), (b"x-empty", b"")]
    wire.send(road(wire, stream.id, [(b":status", b"404"), *fields], False))
    assert (stream.status, stream.headers) == (404, fields)
    assert all(type(field) is tuple for field in stream.headers)
    assert wire.codec.touched == [stream]
    assert (stream.length, stream.remaining, stream.readable) == (3, 3, False)
    wire.send(data(stream.id, b"abc", end=True))
    assert (stream.buffered, stream.readable, stream.done) == (3, True, False)
    assert (wire.read(stream), wire.read(stream)) == (b"abc", b"")
    assert (stream.done, stream.remaining, stream.buffered) == (True, 0, 0)
    assert (stream.trailers, stream.excess, stream.feed(b"x")) == ([], b"", b"x")
    stream.took(5)
    stream.feed_eof()
    assert (stream.taken, stream.done) == (3, True)


def test_a_response_without_a_body(wire: Wire, road: Road) -> None:
    stream = wire.open()
    wire.send(road(wire, stream.id, [(b":status", b"200")], True))
    assert (stream.status, stream.ended, stream.done, stream.readable) == (200, True, True, True)
    assert not wire.codec.is_open(stream)
    assert wire.sent() == []


def test_trailers(wire: Wire, road: Road) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id), data(stream.id, b"x"))
    wire.send(road(wire, stream.id, [(b"grpc-status", b"0"), (b"a", b" b\t")], True))
    assert stream.trailers == [(b"grpc-status", b"0"), (b"a", b"b")]
    assert (stream.ended, wire.read(stream), stream.failure) == (True, b"x", None)


def test_empty_trailers(wire: Wire, road: Road) -> None:
    if road is padded_road:
        pytest.skip("h2 takes padding around nothing for too much of it")
    stream = wire.open()
    wire.send(wire.head(stream.id), road(wire, stream.id, [], True))
    assert (stream.trailers, stream.ended, stream.failure) == ([], True, None)


def test_interim_responses(wire: Wire, road: Road) -> None:
    stream = wire.open(b"PUT", end=False)
    wire.send(road(wire, stream.id, [(b":status", b"100")], False))
    assert (stream.informational, stream.status) == ([(100, [])], None)
    wire.send(road(wire, stream.id, [(b":status", b"103"), (b"link", b" </a> ")], False))
    wire.send(wire.head(stream.id, 200))
    assert stream.informational == [(100, []), (103, [(b"link", b"</a>")])]
    assert stream.status == 200


@pytest.mark.parametrize("take", [False, True], ids=["kept", "taken"])
def test_too_many_interim_responses(wire: Wire, take: bool) -> None:
    stream, other = wire.open(), wire.open()
    for _ in range(MAX_INFORMATIONAL):
        wire.send(wire.head(stream.id, 103))
        if take:
            stream.informational.clear()
    assert stream.failure is None
    wire.send(wire.head(stream.id, 103))
    assert "more than 64 interim responses" in explain(stream.failure)
    assert codes(wire.sent()) == [(stream.id, PROTOCOL_ERROR)]
    wire.send(wire.head(other.id, end=True))
    assert other.done


@pytest.mark.parametrize(
    ("lengths", "length"),
    [
        ([b"05"], 5),
        ([b"000"], 0),
        ([b"0" * 40 + b"5"], 5),
        ([b"5", b"005"], 5),
        ([b"5", b"006"], None),
        ([b"1" * 21], None),
        ([b"+5"], None),
        ([b""], None),
    ],
)
def test_lengths_with_zeros_in_front(wire: Wire, lengths: list[bytes], length: int | None) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id, fields=[(b"content-length", each) for each in lengths]))
    assert stream.length == length
    assert (stream.failure is None) == (length is not None)


@pytest.mark.parametrize(
    ("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304), (b"HEAD", 304)]
)
@pytest.mark.parametrize("length", [[], [(b"content-length", b"1000")]], ids=["none", "1000"])
def test_responses_that_have_no_body(
    wire: Wire, method: bytes, status: int, length: Headers
) -> None:
    for end in (b"head", b"data", b"trailers"):
        stream = wire.open(method)
        wire.send(wire.head(stream.id, status, length, end=end == b"head"))
        if end == b"data":
            wire.send(data(stream.id), data(stream.id, end=True))
        elif end == b"trailers":
            wire.send(wire.headers(stream.id, [(b"a", b"b")], end=True))
        assert (stream.status, stream.done, stream.failure) == (status, True, None)
        assert stream.remaining == 0
    stream = wire.open(method)
    wire.send(wire.head(stream.id, status, length), data(stream.id, b"x"))
    text = f"DATA in a response {status} to {method.decode()}, which has no body"
    assert text in explain(stream.failure)
    assert codes(wire.sent()) == [(stream.id, PROTOCOL_ERROR)]


@pytest.mark.parametrize("end", ["data", "empty", "trailers", "head"])
@pytest.mark.parametrize("uploading", [False, True], ids=["sent", "uploading"])
def test_a_body_that_is_too_short(wire: Wire, end: str, uploading: bool) -> None:
    stream, other = wire.open(end=not uploading), wire.open()
    wire.send(wire.head(stream.id, fields=[(b"content-length", b"5")], end=end == "head"))
    if end == "data":
        wire.send(data(stream.id, b"1234", end=True))
    elif end == "empty":
        wire.send(data(stream.id, b"1234"), data(stream.id, end=True))
    elif end == "trailers":
        wire.send(data(stream.id, b"1234"), wire.headers(stream.id, [(b"a", b"b")], end=True))
    got = 0 if end == "head" else 4
    failure = stream.failure
    assert isinstance(failure, IncompleteBody)
    assert (failure.received, failure.expected, failure.phase) == (got, 5, RESPONSE_STARTED)
    assert f"after {got} of 5 body bytes" in str(failure) and "GET /" in str(failure)
    assert (wire.read(stream), stream.ended) == (b"1234"[:got], False)
    assert not wire.codec.is_open(stream)
    # The server has ended its half; ours has to be ended too, or the stream stays open there.
    assert codes(wire.sent()) == ([(stream.id, CANCEL)] if uploading else [])
    wire.send(wire.head(other.id, end=True))
    assert other.done


def test_a_body_that_is_too_long(wire: Wire) -> None:
    stream, other = wire.open(), wire.open()
    wire.send(wire.head(stream.id, fields=[(b"content-length", b"5")]), data(stream.id, b"12345"))
    assert stream.failure is None
    wire.send(data(stream.id, b"6"))
    assert isinstance(stream.failure, RemoteProtocolError)
    assert "more than the announced 5 bytes" in explain(stream.failure)
    assert (stream.failure.phase, wire.read(stream)) == (RESPONSE_STARTED, b"")
    assert codes(wire.sent()) == [(stream.id, PROTOCOL_ERROR)]
    wire.send(data(stream.id, b"7"), data(stream.id, b"8", end=True))  # under way, and ignored
    wire.send(wire.head(other.id, end=True))
    assert other.done and wire.sent() == []


@pytest.mark.parametrize(
    "lengths",
    [[b""], [b"-1"], [b"+5"], [b"5,5"], [b"0x5"], [b"5", b"6"], [b"9" * 21], [b"\xb2"]],
    ids=repr,
)
def test_lengths_that_are_none(wire: Wire, lengths: list[bytes]) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id, fields=[(b"content-length", value) for value in lengths]))
    assert "content-length" in explain(stream.failure)
    assert codes(wire.sent()) == [(stream.id, PROTOCOL_ERROR)]


def test_the_same_length_twice(wire: Wire) -> None:
    stream = wire.open()
    fields = [(b"content-length", b"2"), (b"content-length", b" 2")]
    wire.send(wire.head(stream.id, fields=fields), data(stream.id, b"ab", end=True))
    assert (stream.length, stream.done, wire.read(stream), stream.done) == (2, False, b"ab", True)


# --- receiving: what is malformed ------------------------------------------------------------

OK = (b":status", b"200")
MALFORMED_HEADS: list[Headers] = [
    [],
    [(b"a", b"b")],
    [(b"a", b"b"), OK],
    [(b":status", b"")],
    [(b":status", b"20")],
    [(b":status", b"2000")],
    [(b":status", b"000")],
    [(b":status", b"099")],
    [(b":status", b"2x0")],
    [(b":status", b"1x0")],
    [(b":status", b" 200")],
    [(b":status", b"200\n")],
    [(b":status", b"+20")],
    [OK, OK],
    [OK, (b":path", b"/")],
    [OK, (b":unknown", b"x")],
    [OK, (b"a", b"b"), (b":late", b"x")],
]
MALFORMED_FIELDS: list[Headers] = [
    [(b"Upper", b"x")],
    [(b"", b"x")],
    [(b"a b", b"x")],
    [(b"a:b", b"x")],
    [(b"a\0", b"x")],
    [(b"a\r", b"x")],
    [(b"a\n", b"x")],
    [(b"a\nb", b"x")],
    [(b"\n", b"x")],
    [(b"caf\xc3\xa9", b"x")],
    [(b"a", b"\0")],
    [(b"a", b"x\r\ny: z")],
    [(b"a", b"x\ny")],
    [(b"a", b"x\r")],
    [(b"a", b"x\n"), (b"b", b"")],
    [(b"connection", b"close")],
    [(b"a", b"b"), (b"keep-alive", b"timeout=5")],
    [(b"proxy-connection", b"close")],
    [(b"transfer-encoding", b"chunked")],
    [(b"upgrade", b"h2c")],
]


IN_TABLE = [(b"x-first", b"before"), (b"x-marker", b"in the table")]


def _check_that_others_go_on(wire: Wire, bad: Stream, other: Stream, told: bool = True) -> None:
    """The stream is reset, and the compression tables of both sides still agree."""
    assert isinstance(bad.failure, RemoteProtocolError)
    assert bad.failure.phase == RESPONSE_STARTED
    assert "GET /bad" in str(bad.failure)
    assert bad.readable and not wire.codec.is_open(bad)
    assert codes(wire.sent()) == [(bad.id, PROTOCOL_ERROR)] * told
    wire.send(wire.head(other.id, fields=IN_TABLE))
    assert other.headers == IN_TABLE
    wire.send(data(other.id, b"fine", end=True))
    assert (wire.read(other), other.done) == (b"fine", True)
    assert wire.open().id > other.id


@pytest.mark.parametrize(
    "fields", [*MALFORMED_HEADS, *([OK, *fields] for fields in MALFORMED_FIELDS)], ids=repr
)
def test_a_malformed_head_ends_one_stream(engine: str, fields: Headers) -> None:
    for road, end in itertools.product(ROADS, (False, True)):
        wire = Wire(engine)
        bad, other = wire.open(path=b"/bad"), wire.open()
        interim = bool(fields) and fields[0][0] == b":status" and fields[0][1].startswith(b"1")
        if interim and end and road is not plain_road:
            continue  # to h2 an interim response at the end is the end of the connection
        wire.send(road(wire, bad.id, [*fields, *IN_TABLE], end))
        # Where h2 has seen that both sides are done, there is nothing left to reset.
        _check_that_others_go_on(wire, bad, other, told=road is plain_road or not end)


@pytest.mark.parametrize("fields", [*MALFORMED_FIELDS, [OK], [(b":path", b"/")]], ids=repr)
def test_malformed_trailers_end_one_stream(engine: str, fields: Headers) -> None:
    for road in ROADS:
        wire = Wire(engine)
        bad, other = wire.open(path=b"/bad", end=False), wire.open()
        wire.send(wire.head(bad.id), data(bad.id, b"lost"))
        wire.send(road(wire, bad.id, [*fields, *IN_TABLE], True))
        assert (wire.read(bad), bad.trailers, bad.ended) == (b"", [], False)
        _check_that_others_go_on(wire, bad, other)


@pytest.mark.parametrize("fields", MALFORMED_FIELDS, ids=repr)
def test_malformed_interim_responses_end_one_stream(engine: str, fields: Headers) -> None:
    for road in ROADS:
        wire = Wire(engine)
        bad, other = wire.open(path=b"/bad"), wire.open()
        wire.send(road(wire, bad.id, [(b":status", b"103"), *fields, *IN_TABLE], False))
        assert bad.informational == []
        _check_that_others_go_on(wire, bad, other)


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        (lambda w, n: [w.head(n, 103, end=True)], "an interim response 103 that cannot be"),
        (lambda w, n: [w.head(n, 101)], "an interim response 101 that cannot be"),
        (lambda w, n: [w.head(n), w.head(n)], "trailers that do not end it"),
        (lambda w, n: [w.head(n), w.head(n, 103)], "trailers that do not end it"),
        (lambda w, n: [w.head(n), w.headers(n, [(b"a", b"b")])], "trailers that do not end it"),
        (lambda w, n: [data(n, b"x")], "DATA before its head"),
        (lambda w, n: [data(n, end=True)], "DATA before its head"),
        (lambda w, n: [w.head(n, 103), data(n, b"x")], "DATA before its head"),
        (lambda w, n: [w.head(n, end=True), data(n, b"x")], "DATA after its end"),
        (lambda w, n: [w.head(n), data(n, end=True), data(n)], "DATA after its end"),
        (lambda w, n: [w.head(n, end=True), w.head(n)], "HEADERS after its end"),
        (lambda w, n: [w.head(n), data(n, end=True), w.headers(n, [], True)], "HEADERS after"),
    ],
)
def test_frames_in_an_order_that_cannot_be(
    wire: Wire, frames: Callable[[Wire, int], list[bytes]], text: str
) -> None:
    bad, other = wire.open(path=b"/bad", end=False), wire.open()
    wire.send(*frames(wire, bad.id))
    assert text in str(bad.failure)
    _check_that_others_go_on(wire, bad, other)


@pytest.mark.parametrize(
    "value", [b" x", b"x ", b"\tx", b"x\t", b" \t x\t ", b"  ", b"x"], ids=repr
)
def test_white_space_around_a_value_is_trimmed(wire: Wire, road: Road, value: bytes) -> None:
    stream = wire.open()
    wire.send(road(wire, stream.id, [OK, (b"a", value), (b"b", b"y z")], False))
    assert stream.headers == [(b"a", value.strip(b" \t")), (b"b", b"y z")]


def test_values_may_hold_other_bytes(wire: Wire) -> None:
    value = bytes(range(1, 256)).translate(None, b"\r\n")
    stream = wire.open()
    wire.send(wire.head(stream.id, fields=[(b"a", b"x" + value + b"x")]))
    assert stream.headers == [(b"a", b"x" + value + b"x")]


def test_header_blocks_of_streams_that_are_gone_are_read(wire: Wire, road: Road) -> None:
    """Their fields are in the table that all later blocks refer to."""
    gone, other = wire.open(), wire.open()
    wire.codec.close_stream(gone)
    wire.sent()
    wire.send(road(wire, gone.id, [OK, (b"x-marker", b"in the table")], False))
    assert (gone.status, gone.headers) == (None, [])
    wire.send(wire.head(other.id, fields=[(b"x-marker", b"in the table")]))
    assert other.headers == [(b"x-marker", b"in the table")]


# --- receiving: bodies -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 10, 11, 64, 10**6])
def test_any_split(wire: Wire, size: int) -> None:
    first, second = wire.open(), wire.open()
    transcript = b"".join(
        [
            wire.head(first.id, 103),
            wire.head(second.id, fields=[(b"content-length", b"3")]),
            ping(),
            continued_road(wire, first.id, [OK, (b"a", b"b")], False),
            data(first.id, b"one "),
            data(second.id, b"abc", end=True, pad=5),
            data(first.id, b"two", pad=0),
            settings_frame((CONCURRENT, 5)),
            wire.headers(first.id, [(b"t", b"u")], end=True),
            goaway(second.id),
        ]
    )
    for start in range(0, len(transcript), size):
        wire.send(transcript[start : start + size])
    assert (wire.read(first), wire.read(second)) == (b"one two", b"abc")
    assert (first.trailers, first.done, second.done) == ([(b"t", b"u")], True, True)
    assert (wire.codec.max_streams, bool(wire.codec.draining)) == (5, True)
    assert [f.kind for f in wire.sent()] == [Kind.PING, Kind.SETTINGS]


def test_the_rest_of_a_frame_can_be_taken_back(wire: Wire) -> None:
    stream = wire.open()
    transcript = wire.head(stream.id) + data(stream.id, b"abc", end=True)
    wire.send(transcript[:-5])
    rest = wire.codec.take_rest()
    assert rest and transcript[:-5].endswith(rest)
    assert wire.codec.take_rest() == b""
    wire.send(rest + transcript[-5:])
    assert (wire.read(stream), stream.done) == (b"abc", True)


@pytest.mark.parametrize("pad", [0, 1, 255])
def test_padding(wire: Wire, pad: int) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id), data(stream.id, b"abc", pad=pad))
    wire.send(data(stream.id, b"", pad=pad), data(stream.id, b"", end=True, pad=pad))
    assert (wire.read(stream), stream.received, stream.done) == (b"abc", 3, True)


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x05abcd", b"\xff" + bytes(254)], ids=len)
def test_padding_longer_than_its_frame(wire: Wire, payload: bytes) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id))
    bad = frame(Kind.DATA, stream.id, payload, PADDED)
    assert farewells(wire.raises("padding that is longer", bad)) == [PROTOCOL_ERROR]


@pytest.mark.parametrize("gone", [True, False])
def test_padding_longer_than_its_frame_after_the_end(wire: Wire, gone: bool) -> None:
    """RFC 9113 section 6.1: it breaks the connection on whatever stream."""
    stream = wire.open(end=gone)
    wire.send(wire.head(stream.id, end=True))
    assert wire.codec.is_open(stream) is not gone
    bad = frame(Kind.DATA, stream.id, b"\x05abcd", PADDED)
    assert farewells(wire.raises("padding that is longer", bad)) == [PROTOCOL_ERROR]


def test_takes(wire: Wire) -> None:
    stream = wire.open()
    codec = wire.codec
    wire.send(wire.head(stream.id))
    assert (codec.take(stream, 10), codec.take_into(stream, memoryview(bytearray(5)))) == (b"", 0)
    whole = bytes(range(256)) * 32  # 8192
    for start, stop in [(0, 1), (1, 3), (3, 1500), (1500, 1501), (1501, 1502), (1502, 8192)]:
        wire.send(data(stream.id, whole[start:stop]))
    got = codec.take(stream, 2)
    got += codec.take(stream, 1)
    got += codec.take(stream, 100)
    view = bytearray(1400)
    assert codec.take_into(stream, memoryview(view)) == 1400
    got += view
    got += codec.take(stream, 2000)
    view = bytearray(10000)
    count = codec.take_into(stream, memoryview(view))
    got += view[:count]
    assert got == whole
    assert (stream.taken, stream.received, codec.take(stream, 1)) == (8192, 8192, b"")


def test_what_is_taken_is_bytes(wire: Wire) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id))
    for limit in (1, 2, 100):
        wire.send(data(stream.id, b"a"), data(stream.id, b"b"), data(stream.id, b"c"))
        assert type(wire.codec.take(stream, limit)) is bytes
        assert type(wire.read(stream)) is bytes


def test_small_parts_are_collected(wire: Wire) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id), *[data(stream.id, b"%d" % (n % 10)) for n in range(40000)])
    assert len(stream.parts) <= 4
    assert wire.read(stream) == b"0123456789" * 4000


def test_parts_of_many_sizes_stay_in_order(wire: Wire) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id))
    sizes = [1, 1023, 1, 1024, 1, 1, 16384, 1, 1025, 5, 5, 15000, 3000, 2, 16384, 900, 900]
    whole = b""
    for number, size in enumerate(sizes):
        part = bytes([number]) * size
        whole += part
        wire.send(data(stream.id, part))
    assert wire.read(stream) == whole


# --- receiving: windows ----------------------------------------------------------------------

FULL = bytes(MAX_FRAME)
PER_WINDOW = STREAM_WINDOW // MAX_FRAME


def _feed(wire: Wire, stream: Stream, count: int) -> None:
    for _ in range(count // 64):
        wire.send(data(stream.id, FULL) * 64)
    wire.send(data(stream.id, FULL) * (count % 64))


def test_the_window_goes_back_as_the_reader_takes(wire: Wire) -> None:
    stream = wire.open()
    codec = wire.codec
    wire.send(wire.head(stream.id))
    _feed(wire, stream, PER_WINDOW)  # just all of the window
    assert (stream.buffered, wire.sent()) == (STREAM_WINDOW, [])
    codec.take(stream, STREAM_REFILL - 1)
    while stream.taken < STREAM_REFILL - 1:
        codec.take(stream, STREAM_REFILL - 1 - stream.taken)
    assert wire.sent() == []
    codec.take(stream, 1)
    assert increments(wire.sent()) == [(stream.id, STREAM_REFILL)]
    buffer = memoryview(bytearray(STREAM_REFILL + 5))
    assert codec.take_into(stream, buffer) == STREAM_REFILL + 5
    assert increments(wire.sent()) == [(stream.id, STREAM_REFILL + 5)]
    _feed(wire, stream, 2 * STREAM_REFILL // MAX_FRAME)  # as much as was given back, but 5
    wire.send(data(stream.id, b"12345"))
    last = wire.raises(f"more than {STREAM_WINDOW} bytes on stream 1", data(stream.id, b"6"))
    assert farewells(last) == [FLOW_CONTROL_ERROR]


def test_padding_counts_for_the_window(wire: Wire) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id))
    padded = data(stream.id, b"x" * 256, pad=255)  # 512 bytes of the window for 256 of the body
    for _ in range(STREAM_WINDOW // 512 // 64):
        wire.send(padded * 64)
    assert (stream.buffered, wire.sent()) == (STREAM_WINDOW // 2, [])
    # Half of it is padding, which the reader never sees: it goes back with the first bytes.
    wire.codec.take(stream, 1)
    assert increments(wire.sent()) == [(stream.id, STREAM_WINDOW // 2 + 1)]
    wire.read(stream)
    assert increments(wire.sent()) == [(stream.id, STREAM_WINDOW // 2 - 1 + STREAM_WINDOW)]


@pytest.mark.parametrize("length", [0, 1, 5 * 2**20, STREAM_WINDOW])
def test_no_updates_where_all_fits(wire: Wire, length: int) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id, fields=[(b"content-length", b"%d" % length)]))
    for start in range(0, length, MAX_FRAME):
        wire.send(data(stream.id, FULL[: length - start]))
        wire.read(stream)
    wire.send(data(stream.id, end=True))
    assert (stream.received, stream.done, wire.sent()) == (length, True, [])


def test_updates_for_a_long_body_end_when_the_rest_fits(wire: Wire) -> None:
    length = STREAM_WINDOW + 2 * STREAM_REFILL + 1
    stream = wire.open()
    wire.send(wire.head(stream.id, fields=[(b"content-length", b"%d" % length)]))
    wire.send(data(stream.id, b"x"))  # stays unread, so the window does not grow
    given = []
    while stream.received < length:
        wire.send(data(stream.id, FULL[: length - stream.received]))
        wire.codec.take(stream, MAX_FRAME)
        given += increments(wire.sent())
    # Two times there is more to come than the window has left; then there is not.
    assert [number for number, _ in given] == [stream.id] * 2
    assert all(STREAM_REFILL <= size < STREAM_REFILL + MAX_FRAME for _, size in given)


def test_the_window_grows_while_the_reader_keeps_up(wire: Wire) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id))
    given = []
    for _ in range(5):
        _feed(wire, stream, STREAM_REFILL // MAX_FRAME)
        wire.read(stream)
        given += increments(wire.sent())
    assert given == [
        (stream.id, STREAM_REFILL + STREAM_WINDOW),
        (stream.id, STREAM_REFILL + 2 * STREAM_WINDOW),
        *[(stream.id, STREAM_REFILL)] * 3,
    ]
    assert LARGEST_WINDOW == 4 * STREAM_WINDOW
    _feed(wire, stream, LARGEST_WINDOW // MAX_FRAME)
    assert (stream.buffered, wire.sent()) == (LARGEST_WINDOW, [])
    wire.raises(f"more than {LARGEST_WINDOW} bytes on stream 1", data(stream.id, b"x"))


def test_the_window_does_not_grow_while_the_reader_is_behind(wire: Wire) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id), data(stream.id, b"x"))
    given = []
    for _ in range(5):
        _feed(wire, stream, STREAM_REFILL // MAX_FRAME)
        wire.codec.take_into(stream, memoryview(bytearray(STREAM_REFILL)))
        given += increments(wire.sent())
    assert given == [(stream.id, STREAM_REFILL)] * 5


@pytest.mark.parametrize("ending", ["end", "reset", "close"])
def test_no_updates_after_the_end(wire: Wire, ending: str) -> None:
    stream = wire.open(b"PUT", end=False)
    wire.send(wire.head(stream.id))
    _feed(wire, stream, PER_WINDOW - 1)
    if ending == "close":
        wire.codec.close_stream(stream)
    else:
        wire.send(data(stream.id, end=True) if ending == "end" else reset(stream.id, CANCEL))
    left = 0 if ending == "close" else STREAM_WINDOW - MAX_FRAME
    assert len(wire.read(stream)) == left
    assert increments(wire.sent()) == []


def test_the_connections_window_goes_back_as_bytes_arrive(wire: Wire) -> None:
    """On a stream that is gone, too: what was under way then has used the window."""
    for _ in range(CONNECTION_REFILL // STREAM_WINDOW + 1):
        stream = wire.open()
        wire.codec.close_stream(stream)
    wire.sent()
    part = data(stream.id, FULL) * 256
    for _ in range(CONNECTION_REFILL // MAX_FRAME // 256):
        wire.send(part)
    assert wire.sent() == []  # just half of it is left
    wire.send(data(stream.id, b"x"))
    assert increments(wire.sent()) == [(0, CONNECTION_REFILL + 1)]
    assert wire.codec._window == CONNECTION_WINDOW


@pytest.mark.parametrize("ending", ["reset", "end", "goaway"])
def test_streams_that_are_gone_get_no_more_than_their_windows(wire: Wire, ending: str) -> None:
    """More cannot have been under way: a server that goes on does so for ever, on a connection that
    nobody reads from."""
    stream, other = wire.open(), wire.open()
    wire.send(wire.head(stream.id), data(stream.id, FULL))
    if ending == "reset":
        wire.codec.close_stream(stream)
    elif ending == "end":
        wire.send(data(stream.id, end=True), wire.head(other.id, end=True))
    else:
        wire.send(goaway(0))
    gone = 1 if ending == "reset" else 2
    wire.sent()
    for _ in range(gone * PER_WINDOW - 1):
        wire.send(data(stream.id, FULL))
    assert wire.sent() == []
    last = wire.raises("more DATA on streams that are gone", data(stream.id, b"x"))
    assert farewells(last) == [FLOW_CONTROL_ERROR]


def test_no_more_is_under_way_than_the_window_of_the_connection(wire: Wire) -> None:
    for _ in range(CONNECTION_WINDOW // STREAM_WINDOW + 5):
        wire.codec.close_stream(wire.open())
    assert wire.codec._stray == CONNECTION_WINDOW


def test_padding_alone_gives_its_window_back(wire: Wire) -> None:
    """No reader will: there is nothing for it to take."""
    stream = wire.open()
    wire.send(wire.head(stream.id))
    padding = data(stream.id, pad=255)
    now, sent = NOW, 0
    while sent < 2 * STREAM_WINDOW:
        now += 1.0
        wire.send(padding * 100, now=now)
        sent += 100 * 256
    assert sum(increment for number, increment in increments(wire.sent()) if number) > STREAM_WINDOW
    wire.send(data(stream.id, b"at last", end=True), now=now)
    assert wire.read(stream) == b"at last" and stream.done


def test_an_unread_stream_holds_up_no_other(wire: Wire) -> None:
    unread, other = wire.open(), wire.open()
    wire.send(wire.head(unread.id), wire.head(other.id))
    _feed(wire, unread, PER_WINDOW)
    for _ in range(3):
        _feed(wire, other, STREAM_REFILL // MAX_FRAME)
        wire.codec.take(other, STREAM_REFILL - 1)
        assert wire.sent() == []
        wire.read(other)
        ((number, increment),) = increments(wire.sent())
        assert number == other.id and increment >= STREAM_REFILL
    assert unread.buffered == STREAM_WINDOW


# --- early ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["before", "head", "body"])
def test_closing_early(wire: Wire, point: str) -> None:
    stream, other = wire.open(), wire.open()
    codec = wire.codec
    if point != "before":
        wire.send(wire.head(stream.id))
    if point == "body":
        wire.send(data(stream.id, b"unread"))
    codec.close_stream(stream)
    codec.close_stream(stream)
    (sent,) = wire.sent()
    assert codes([sent]) == [(stream.id, CANCEL)]
    # What was under way is dropped, and the tables stay in step.
    codec.touched.clear()
    late = [wire.head(stream.id, fields=[(b"x-marker", b"1")])] if point == "before" else []
    wire.send(*late, data(stream.id, b"late"), data(stream.id, b"late", pad=3), reset(stream.id, 8))
    wire.send(wire.headers(stream.id, [(b"x-marker", b"2")], end=True))
    wire.send(window_update(stream.id, 5))
    assert codec.touched == []
    assert stream.failure is None
    assert {code for _, code in codes(wire.sent())} <= {STREAM_CLOSED}
    wire.send(wire.head(other.id, fields=[(b"x-marker", b"2")]), data(other.id, b"x", end=True))
    assert (other.headers, wire.read(other)) == ([(b"x-marker", b"2")], b"x")


@pytest.mark.parametrize(
    ("code", "name", "phases"),
    [
        (NO_ERROR, "NO_ERROR", (MAYBE_PROCESSED, RESPONSE_STARTED)),
        (INTERNAL_ERROR, "INTERNAL_ERROR", (MAYBE_PROCESSED, RESPONSE_STARTED)),
        (REFUSED_STREAM, "REFUSED_STREAM", (NOT_SENT, RESPONSE_STARTED)),
        (HTTP_1_1_REQUIRED, "HTTP_1_1_REQUIRED", (MAYBE_PROCESSED, RESPONSE_STARTED)),
        (0xABCDEF, "error 0xabcdef", (MAYBE_PROCESSED, RESPONSE_STARTED)),
    ],
)
@pytest.mark.parametrize("end", [True, False], ids=["sent", "uploading"])
def test_resets(wire: Wire, code: int, name: str, phases: tuple[str, str], end: bool) -> None:
    streams = [wire.open(b"POST", b"/r", end) for _ in phases]
    others = [wire.open() for _ in phases]
    for stream, other, phase in zip(streams, others, phases, strict=True):
        started = phase == RESPONSE_STARTED
        if started:
            wire.send(wire.head(stream.id), data(stream.id, b"read me"))
        wire.codec.touched.clear()
        wire.send(reset(stream.id, code))
        assert type(stream.failure) is RemoteProtocolError
        assert (stream.failure.phase, stream.ended) == (phase, False)
        assert str(stream.failure) == f"the stream of POST /r was reset: {name}"
        assert wire.codec.touched == [stream]
        assert not wire.codec.is_open(stream) and stream.readable
        assert wire.read(stream) == (b"read me" if started else b"")
        wire.send(wire.head(other.id, end=True))
        assert other.done and wire.sent() == []


def test_a_reset_after_the_end_is_nothing(wire: Wire) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id), data(stream.id, b"all", end=True), reset(stream.id, NO_ERROR))
    assert (wire.read(stream), stream.done, stream.failure) == (b"all", True, None)


# --- GOAWAY ----------------------------------------------------------------------------------


def test_goaway(wire: Wire) -> None:
    first, second, third = wire.open(), wire.open(b"POST", b"/two", end=False), wire.open()
    codec = wire.codec
    codec.touched.clear()
    before = codec.changes
    wire.send(goaway(first.id))
    assert codec.draining == "the server is going away (NO_ERROR)"
    assert codec.changes > before and codec.widened
    assert codec.touched == [second, third] and codec.streams == [first]
    for stream in (second, third):
        assert type(stream.failure) is RemoteProtocolError
        assert stream.failure.phase == NOT_SENT
    assert str(second.failure) == (
        "the server is going away (NO_ERROR): POST /two was not processed and can be sent again"
    )
    with pytest.raises(ConnectionNotAvailable, match="the server is going away") as info:
        wire.open()
    assert info.value.phase == NOT_SENT
    # What was accepted goes on to its end.
    wire.send(wire.head(first.id), data(first.id, b"still", end=True))
    assert (wire.read(first), first.done, codec.open_streams) == (b"still", True, 0)
    assert wire.sent() == []


def test_a_gentle_goaway_and_then_another(wire: Wire) -> None:
    """RFC 9113 section 6.8: first 2**31-1, then, a round trip later, the last one accepted."""
    first, second = wire.open(), wire.open()
    wire.send(goaway(2**31 - 1))
    assert (first.failure, second.failure, wire.codec.open_streams) == (None, None, 2)
    assert wire.codec.draining
    before = wire.codec.changes
    wire.send(goaway(first.id, INTERNAL_ERROR, b"going down"))
    assert wire.codec.changes > before
    assert wire.codec.draining == (
        "the server is going away (INTERNAL_ERROR), saying b'going down'"
    )
    assert first.failure is None
    assert second.failure is not None and second.failure.phase == NOT_SENT
    assert "going down" in str(second.failure)
    wire.send(wire.head(first.id, end=True), goaway(0))
    assert first.done and first.failure is None


@pytest.mark.parametrize("known", [False, True], ids=["", "in h2"])
def test_what_is_sent_on_a_stream_after_it_was_disowned(
    wire: Wire, road: Road, known: bool
) -> None:
    """A server may have been about to respond; the streams that it has accepted go on."""
    first, second = wire.open(), wire.open()
    if known:
        wire.send(ping())
        wire.sent()
    wire.send(goaway(first.id))
    assert wire.sent() == []
    wire.send(road(wire, second.id, [OK], False), data(second.id, b"x"))
    wire.send(window_update(second.id, 1), reset(second.id, NO_ERROR))
    wire.send(wire.head(first.id, end=True))
    assert first.done and second.failure is not None
    assert second.failure.phase == NOT_SENT


@pytest.mark.parametrize("status", [103, 200])
def test_goaway_that_disowns_a_response_that_has_begun(wire: Wire, status: int) -> None:
    """What has a final status was processed, whatever is said later: a POST is not sent again."""
    stream = wire.open(b"POST")
    wire.send(wire.head(stream.id, status))
    wire.send(goaway(0))
    assert stream.failure is not None
    assert stream.failure.phase == (NOT_SENT if status == 103 else RESPONSE_STARTED)
    assert ("but its response had begun" in explain(stream.failure)) == (status == 200)
    assert ("can be sent again" in explain(stream.failure)) == (status == 103)


def test_goaway_while_a_body_is_sent(wire: Wire) -> None:
    stream = wire.open(b"PUT", end=False)
    wire.send(goaway(2**31 - 1))
    wire.codec.send_data(stream, b"x")
    wire.codec.send_data(stream, b"y", end=True)
    assert [f.payload for f in wire.sent()] == [b"x", b"y"]
    wire.send(
        window_update(0, 5), settings_frame((CONCURRENT, 9)), ping(), wire.head(stream.id, end=True)
    )
    assert stream.done


def test_goaway_with_much_to_say(wire: Wire) -> None:
    wire.open()
    wire.send(goaway(0x80000000, 0x77, b"z" * 10000))  # the first bit has no meaning
    assert "error 0x77" in wire.codec.draining
    assert 150 < len(wire.codec.draining) < 300
    assert wire.codec.open_streams == 0


@pytest.mark.parametrize("then", ["GOAWAY", "DATA", "HEADERS"])
@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
def test_nothing_that_follows_a_reset_counts(wire: Wire, then: str, together: bool) -> None:
    """In one piece as in two: the stream had ended before."""
    stream = wire.open()
    if then == "DATA":
        wire.send(wire.head(stream.id))
    follows = {
        "GOAWAY": goaway(0),
        "DATA": data(stream.id, b"x", end=True),
        "HEADERS": wire.head(stream.id),
    }
    frames = [reset(stream.id, INTERNAL_ERROR), follows[then]]
    for part in [b"".join(frames)] if together else frames:
        wire.send(part)
    assert "was reset: INTERNAL_ERROR" in explain(stream.failure)
    assert stream.failure is not None
    assert stream.failure.phase == (RESPONSE_STARTED if then == "DATA" else MAYBE_PROCESSED)
    assert (stream.status, wire.read(stream)) == (200 if then == "DATA" else None, b"")


@pytest.mark.parametrize("payload", [b"", bytes(7)], ids=len)
def test_a_goaway_that_is_too_short(wire: Wire, payload: bytes) -> None:
    last = wire.raises("GOAWAY frame that is too short", frame(Kind.GOAWAY, 0, payload))
    assert farewells(last) == [FRAME_SIZE_ERROR]


def test_drain_and_goodbye(wire: Wire) -> None:
    stream = wire.open()
    codec = wire.codec
    before = codec.changes
    codec.drain("it is old")
    codec.drain("again")
    assert (codec.draining, codec.changes) == ("it is old", before + 1)
    with pytest.raises(ConnectionNotAvailable, match="it is old"):
        wire.open()
    wire.send(wire.head(stream.id, end=True))
    assert stream.done
    codec.say_goodbye()
    codec.say_goodbye()
    assert wire.sent() == [Frame(Kind.GOAWAY, 0, 0, bytes(8))]
    assert wire.raises("DATA on stream 2", data(2, b"x")) == []  # all was said


# --- the end of the connection ---------------------------------------------------------------


def test_eof_at_each_point(wire: Wire) -> None:
    fresh, hinted = wire.open(b"POST", b"/fresh"), wire.open(path=b"/hinted")
    begun, sized = wire.open(path=b"/begun"), wire.open(path=b"/sized")
    uploading, answered = wire.open(b"PUT", end=False), wire.open(b"PUT", end=False)
    done = wire.open()
    wire.send(wire.head(hinted.id, 103), wire.head(begun.id), data(begun.id, b"abc"))
    wire.send(wire.head(sized.id, fields=[(b"content-length", b"9")]), data(sized.id, b"ab"))
    wire.send(wire.head(answered.id, 413, end=True), wire.head(done.id, end=True))
    wire.codec.touched.clear()
    wire.codec.receive_eof()
    for stream, text in ((fresh, "POST /fresh"), (hinted, "GET /hinted"), (uploading, "PUT /")):
        assert type(stream.failure) is ServerDisconnected
        assert stream.failure.phase == MAYBE_PROCESSED
        assert f"before any byte of the answer to {text}; the request may" in explain(
            stream.failure
        )
    for stream, count, expected in ((begun, 3, None), (sized, 2, 9)):
        failure = stream.failure
        assert type(failure) is IncompleteBody
        assert (failure.received, failure.expected) == (count, expected)
        assert failure.phase == RESPONSE_STARTED
    assert "after 3 bytes of the answer to GET /begun" in str(begun.failure)
    assert "after 2 of 9 bytes of the answer to GET /sized" in str(sized.failure)
    assert (answered.failure, answered.done, done.failure) == (None, True, None)
    assert wire.codec.touched == [fresh, hinted, begun, sized, uploading, answered]
    assert (wire.codec.open_streams, wire.codec.widened) == (0, True)
    assert wire.codec.draining == "the server closed the connection"
    assert wire.read(begun) == b"abc"
    with pytest.raises(ConnectionNotAvailable, match="closed the connection"):
        wire.open()


def test_eof_after_goaway_says_both(wire: Wire) -> None:
    first, second = wire.open(), wire.open()
    wire.send(wire.head(second.id), goaway(2**31 - 1, ENHANCE_YOUR_CALM, b"slow down"))
    wire.codec.receive_eof()
    for stream in (first, second):
        assert "ENHANCE_YOUR_CALM" in explain(stream.failure) and "slow down" in explain(
            stream.failure
        )


class LineGone(ReadError):
    """An error of a stream of another make, which is made by its own rules."""

    def __init__(self, line: str, state: str) -> None:
        super().__init__(f"{line} is {state}")


@pytest.mark.parametrize(
    "exc",
    [
        ReadError("the network is down"),
        WriteError("the network is down"),
        Aborted("the network is down"),
        RemoteProtocolError("the network is down"),
        IncompleteBody("the network is down", 3, 4),
        LineGone("the network", "down"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_abandon(wire: Wire, exc: NetworkError | ProtocolError) -> None:
    fresh, begun = wire.open(path=b"/fresh"), wire.open(path=b"/begun")
    answered = wire.open(b"PUT", end=False)
    wire.send(wire.head(begun.id), data(begun.id, b"abc"), wire.head(answered.id, end=True))
    wire.codec.abandon(exc)
    for stream, phase in ((fresh, MAYBE_PROCESSED), (begun, RESPONSE_STARTED)):
        assert type(stream.failure) is type(exc) and stream.failure is not exc
        assert stream.failure.phase == phase
        assert str(stream.failure) == f"the network is down ({stream.describe()} was under way)"
    assert (answered.failure, wire.codec.open_streams) == (None, 0)
    assert wire.codec.draining == "the network is down"
    # Nothing that is still done to it says or raises anything.
    for stream in (fresh, begun, answered):
        wire.codec.close_stream(stream)
        wire.codec.end_request(stream)
        assert wire.codec.send_window(stream) == 0
    wire.codec.say_goodbye()
    wire.codec.ping(b"12345678")
    wire.is_over()


def test_pings(wire: Wire) -> None:
    wire.send(ping())
    wire.codec.ping(b"abcdefgh")
    assert wire.sent() == [
        Frame(Kind.PING, ACK, 0, b"12345678"),
        Frame(Kind.PING, 0, 0, b"abcdefgh"),
    ]
    assert wire.codec.pongs == 0
    wire.send(frame(Kind.PING, 0, b"abcdefgh", ACK))
    assert (wire.codec.pongs, wire.sent()) == (1, [])


# --- frames that end the connection ----------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (data(0, b"x"), PROTOCOL_ERROR),
        (data(2, b"x"), PROTOCOL_ERROR),
        (data(5, b"x"), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 0, b"\x88", END_HEADERS), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 2, b"\x88", END_HEADERS), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 2, b"\x88", END_HEADERS | END_STREAM), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 5, b"\x88", END_HEADERS), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 5, b"\x88"), PROTOCOL_ERROR),
        (frame(Kind.CONTINUATION, 1, b"\x88", END_HEADERS), PROTOCOL_ERROR),
        (frame(Kind.CONTINUATION, 0, b"\x88", END_HEADERS), PROTOCOL_ERROR),
        (frame(Kind.RST_STREAM, 0, bytes(4)), PROTOCOL_ERROR),
        (frame(Kind.RST_STREAM, 5, bytes(4)), PROTOCOL_ERROR),
        (frame(Kind.RST_STREAM, 2, bytes(4)), PROTOCOL_ERROR),
        (frame(Kind.RST_STREAM, 1, bytes(3)), None),
        (frame(Kind.PRIORITY, 0, bytes(5)), PROTOCOL_ERROR),
        (frame(Kind.SETTINGS, 1), PROTOCOL_ERROR),
        (frame(Kind.SETTINGS, 0, bytes(5)), None),
        (frame(Kind.SETTINGS, 0, bytes(6), ACK), None),
        pytest.param(settings_frame((ENABLE_PUSH, 1)), PROTOCOL_ERROR, marks=needs("h2", "4.4")),
        (settings_frame((ENABLE_PUSH, 2)), PROTOCOL_ERROR),
        (settings_frame((INITIAL_WINDOW, 2**31)), FLOW_CONTROL_ERROR),
        (settings_frame((FRAME_SIZE, 16383)), PROTOCOL_ERROR),
        (settings_frame((FRAME_SIZE, 2**24)), PROTOCOL_ERROR),
        (settings_frame((CONNECT, 2)), PROTOCOL_ERROR),
        (frame(Kind.PING, 1, bytes(8)), PROTOCOL_ERROR),
        (frame(Kind.PING, 0, bytes(7)), None),
        (frame(Kind.GOAWAY, 1, bytes(8)), PROTOCOL_ERROR),
        (window_update(0, 0), None),
        (window_update(5, 1), None),
        (frame(Kind.WINDOW_UPDATE, 0, bytes(3)), None),
        (frame(Kind.PUSH_PROMISE, 1, _long.pack(2) + b"\x82\x84\x86", END_HEADERS), PROTOCOL_ERROR),
        (
            frame(Kind.PUSH_PROMISE, 1, _long.pack(2) + b"\x82")
            + frame(Kind.CONTINUATION, 1, b"\x84", END_HEADERS),
            PROTOCOL_ERROR,
        ),
        (frame(Kind.PUSH_PROMISE, 0, _long.pack(2) + b"\x82", END_HEADERS), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 1, b"\x88") + ping(), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 1, b"\x88") + data(1, b"x"), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 1, b"\x88") + goaway(1), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 1, b"\x88") + frame(Kind.HEADERS, 1, b"\x88", 4), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 1, b"\x88") + frame(Kind.CONTINUATION, 3, b"", 4), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 1, b"\x88") + frame(0x77, 1), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 1, b"\x05\x88", END_HEADERS | PADDED), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 1, b"", END_HEADERS | PADDED), None),
        (frame(Kind.HEADERS, 1, b"\0\0\0", END_HEADERS | PRIORITIZED), None),
        (frame(Kind.HEADERS, 1, b"\0\0\0\x01\0\x88", END_HEADERS | PRIORITIZED), PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff", END_HEADERS), COMPRESSION_ERROR),
        (frame(Kind.HEADERS, 1, b"\x80", END_HEADERS), COMPRESSION_ERROR),
        (frame(Kind.HEADERS, 1, b"\xfe", END_HEADERS), COMPRESSION_ERROR),
        (frame(Kind.HEADERS, 1, b"@", END_HEADERS), COMPRESSION_ERROR),
        (frame(Kind.HEADERS, 1, b"\x40\x05ab", END_HEADERS), COMPRESSION_ERROR),
        (frame(Kind.HEADERS, 1, b"\x3f\xe2\x1f\x88", END_HEADERS), COMPRESSION_ERROR),
        (frame(Kind.HEADERS, 1, b"@", END_HEADERS | PADDED), None),
        (frame(Kind.HEADERS, 1, b"\0@", END_HEADERS | PADDED), None),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else str(value),
)
def test_frames_that_end_the_connection(
    wire: Wire, bad: bytes, code: int | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """With what h2 calls it where `code` is None."""
    stream, other = wire.open(path=b"/one"), wire.open()
    wire.send(wire.head(other.id))
    last = wire.raises("^the server broke HTTP/2: .", bad)
    assert len(farewells(last)) == 1
    if code is not None:
        assert farewells(last) == [code]
    wire.codec.abandon(RemoteProtocolError("gone"))
    assert isinstance(stream.failure, RemoteProtocolError)
    assert isinstance(other.failure, RemoteProtocolError)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "an HTTP/1.1 server: use http1=True"),
        (b"hello\n", r"begins with b'hello\\n' \(no HTTP/2 server"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "an SSH server"),
        (b"220 a\r\n", "an SMTP or FTP server"),
        (b"\x15\x03\x01\0\x02\x02\x46", "a TLS record: the scheme should be https"),
        (b"\r\n", r"begins with b'\\r\\n'"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "a request back"),
    ],
    ids=lambda value: repr(value) if isinstance(value, bytes) else "",
)
def test_an_answer_that_is_no_http2_is_refused_at_once(engine: str, data: bytes, text: str) -> None:
    """... whole, and at its first byte: its server may wait for us, too."""
    Wire(engine, settled=False).raises(text, data)
    Wire(engine, settled=False).raises("the answer begins with b", data[:1])


def test_settings_may_come_byte_by_byte(engine: str) -> None:
    wire = Wire(engine, settled=False)
    for byte in settings_frame():
        wire.send(bytes([byte]))
    assert wire.codec.settled


@pytest.mark.parametrize(
    "fine",
    [
        frame(0x77, 0, b"unknown"),
        frame(0x77, 1, b"unknown", 0xFF),
        frame(0xFF, 12345, b""),
        frame(Kind.ALTSVC, 0, b"\0\x06a.testh2"),
        frame(Kind.ALTSVC, 1, b"\0\0h2"),
        frame(0x10, 0, b"\0\0\0\x01u=1"),  # PRIORITY_UPDATE, RFC 9218
        frame(0xC, 0, b"\0\x06a.test"),  # ORIGIN, RFC 8336
        frame(Kind.PRIORITY, 1, b"\0\0\0\0\x01"),
        frame(Kind.PRIORITY, 99, b"\0\0\0\0\x01"),
        frame(Kind.SETTINGS, 0, b"", ACK),
        settings_frame((0x0A0A, 5), (0xFFFF, 2**32 - 1)),
        frame(Kind.PING, 0x80000000, bytes(8)),  # the first bit has no meaning
        frame(Kind.DATA, 0x80000003, b"fine"),
        frame(Kind.PING, 0, bytes(8), 0xFE),  # flags without meaning
        window_update(3, 1),
        window_update(0, 0x80000001),
    ],
    ids=bytes.hex,
)
def test_frames_that_are_fine(wire: Wire, fine: bytes) -> None:
    stream, other = wire.open(), wire.open()
    wire.send(wire.head(other.id))
    wire.send(fine)
    wire.send(wire.head(stream.id, end=True), data(other.id, end=True))
    assert stream.done and stream.failure is None and other.ended
    assert wire.open().id == 5


@pytest.mark.parametrize(
    "overflow",
    [
        lambda n: [window_update(0, 2**31 - 1 - 65535 + 1)],
        lambda n: [window_update(0, 2**31 - 1 - 65535), window_update(0, 1)],
        lambda n: [window_update(n, 2**31 - 1 - 65535), settings_frame((INITIAL_WINDOW, 65536))],
    ],
    ids=["at once", "twice", "by settings"],
)
def test_windows_that_overflow(wire: Wire, overflow: Callable[[int], list[bytes]]) -> None:
    stream = wire.open(b"PUT", end=False)
    *fine, bad = overflow(stream.id)
    wire.send(*fine)
    assert farewells(wire.raises("window|2147483647", bad)) == [FLOW_CONTROL_ERROR]


def test_a_streams_window_that_overflows(wire: Wire) -> None:
    """RFC 9113 section 6.9.1: of a stream, it ends the stream."""
    stream, other = wire.open(b"PUT", end=False), wire.open()
    wire.send(window_update(stream.id, 2**31 - 1 - 65535))
    assert stream.failure is None
    wire.codec.touched.clear()
    wire.send(window_update(stream.id, 1))
    assert "FLOW_CONTROL_ERROR" in explain(stream.failure)
    assert codes(wire.sent()) == [(stream.id, FLOW_CONTROL_ERROR)]
    assert wire.codec.touched == [stream] and not wire.codec.is_open(stream)
    wire.send(wire.head(other.id, end=True))
    assert other.done


@pytest.mark.parametrize("kind", [Kind.DATA, Kind.HEADERS, Kind.SETTINGS, 0x77])
def test_a_frame_that_is_too_large(wire: Wire, kind: int) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id))
    wire.send(data(stream.id, FULL), frame(0x77, 0, FULL))
    # The head of the frame is enough: nothing of it has to be waited for.
    bad = frame(kind, stream.id, bytes(MAX_FRAME + 1))[:9]
    last = wire.raises("a frame of 16385 bytes .the limit is 16384.", bad)
    assert farewells(last) == [FRAME_SIZE_ERROR]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"<html>no</html>"]
)
def test_a_server_that_does_not_speak_http2(engine: str, answer: bytes) -> None:
    wire = Wire(engine, settled=False)
    stream = wire.open()
    with pytest.raises(RemoteProtocolError) as info:
        wire.send(answer)
    assert repr(answer[:9])[:-1] in str(info.value)
    wire.codec.abandon(info.value)
    assert stream.failure is not None and stream.failure.phase == MAYBE_PROCESSED
    wire.is_over()


# --- limits: just under, just over -----------------------------------------------------------


def _fields_of(size: int) -> Headers:
    """Fields that count `size`, each with 32 bytes more; `:status` is one of them."""
    fields = [(b":status", b"200")]
    left = size - (7 + 3 + 32)
    while left > 2000:
        fields.append((b"a", b"x" * 967))
        left -= 1000
    fields.append((b"b", b"y" * (left - 33)))
    assert sum(len(name) + len(value) + 32 for name, value in fields) == size
    return fields


def _in_frames(stream: int, block: bytes, size: int = MAX_FRAME) -> list[bytes]:
    parts = [block[start : start + size] for start in range(0, len(block), size)] or [b""]
    kinds = [Kind.HEADERS] + [Kind.CONTINUATION] * (len(parts) - 1)
    flags = [0] * (len(parts) - 1) + [END_HEADERS]
    return [frame(k, stream, p, f) for k, p, f in zip(kinds, parts, flags, strict=True)]


def test_the_largest_header_list(wire: Wire) -> None:
    for size, fits in ((MAX_HEADER_LIST, True), (MAX_HEADER_LIST + 1, False)):
        stream = wire.open()
        block = hpack.Encoder().encode(_fields_of(size), huffman=False)
        frames = _in_frames(stream.id, block)
        if fits:
            wire.send(*frames)
            assert stream.headers == _fields_of(size)[1:]
        else:
            last = wire.raises("header (list|block)", *frames)
            assert farewells(last) == [ENHANCE_YOUR_CALM]


def test_a_header_bomb_in_one_frame(wire: Wire) -> None:
    """A large field in the table, and then a byte each time it is meant."""
    stream = wire.open()
    large = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000
    size = 1 + 4000 + 32
    fits = MAX_HEADER_LIST // size - 1
    wire.send(frame(Kind.HEADERS, stream.id, b"\x88" + large + b"\xbe" * (fits - 1), END_HEADERS))
    assert len(stream.headers) == fits
    stream = wire.open()
    bomb = frame(Kind.HEADERS, stream.id, b"\x88" + b"\xbe" * 12000, END_HEADERS)
    last = wire.raises("a header block that cannot be read", bomb)
    assert len(farewells(last)) == 1


def test_many_fields_of_no_size(wire: Wire) -> None:
    """Each counts 32 bytes, whatever is in it."""
    stream = wire.open()
    block = b"\x88" + b"\0\x01a\0" * ((MAX_HEADER_LIST - 42) // 33)
    wire.send(*_in_frames(stream.id, block))  # read, and too many
    assert "no more than 1000" in str(stream.failure)
    stream = wire.open()
    last = wire.raises("header", *_in_frames(stream.id, block + b"\0\x01a\0"))
    assert len(farewells(last)) == 1


@pytest.mark.parametrize("kind", ["head", "interim", "trailers"])
def test_the_number_of_fields_is_limited(engine: str, road: Road, kind: str) -> None:
    status = {"head": [(b":status", b"200")], "interim": [(b":status", b"103")], "trailers": []}
    for count in (MAX_FIELDS, MAX_FIELDS + 1):
        wire = Wire(engine)
        bad, other = wire.open(path=b"/bad", end=False), wire.open()
        if kind == "trailers":
            wire.send(wire.head(bad.id))
        fields = [(b"a", b"b")] * count
        wire.send(road(wire, bad.id, [*status[kind], *fields], kind == "trailers"))
        if count == MAX_FIELDS:
            found = {"head": bad.headers, "trailers": bad.trailers}
            assert found.get(kind) == fields or bad.informational == [(103, fields)]
            assert bad.failure is None
            continue
        assert "/bad" in str(bad.failure)
        assert f"{count} header fields, and no more than {MAX_FIELDS}" in str(bad.failure)
        _check_that_others_go_on(wire, bad, other)


def test_a_flood_of_continuations(wire: Wire) -> None:
    """CVE-2024-27316: a header block that never ends."""
    stream, other = wire.open(), wire.open()
    wire.send(
        frame(Kind.HEADERS, stream.id, b"\x88"),
        *[frame(Kind.CONTINUATION, stream.id)] * 62,
        frame(Kind.CONTINUATION, stream.id, b"", END_HEADERS),
    )
    assert stream.status == 200
    wire.send(frame(Kind.HEADERS, other.id, b"\x88"))
    wire.send(*[frame(Kind.CONTINUATION, other.id)] * 63)
    last = wire.raises("[Cc]ontinuation", frame(Kind.CONTINUATION, other.id))
    assert len(farewells(last)) == 1


def test_an_integer_without_end(wire: Wire) -> None:
    """RFC 7541 section 5.1: a megabyte of it would be minutes of work."""
    stream = wire.open()
    frames = _in_frames(stream.id, b"\x7f" + b"\xff" * (60 * MAX_FRAME))
    assert len(farewells(wire.raises("header block|integer", *frames))) == 1


def _gone(wire: Wire) -> int:
    stream = wire.open()
    wire.codec.close_stream(stream)
    wire.sent()
    return stream.id


FLOODS: dict[str, Callable[[Wire], bytes]] = {
    "SETTINGS": lambda wire: settings_frame(),
    "SETTINGS with values": lambda wire: settings_frame((INITIAL_WINDOW, 5)),
    "SETTINGS ACK": lambda wire: frame(Kind.SETTINGS, 0, b"", ACK),
    "PING": lambda wire: ping(),
    "PING ACK": lambda wire: ping(ACK),
    "RST_STREAM": lambda wire: reset(_gone(wire), CANCEL),
    "PRIORITIZED": lambda wire: frame(Kind.PRIORITY, 1, b"\0\0\0\0\x01"),
    "GOAWAY": lambda wire: goaway(2**31 - 1),
    "WINDOW_UPDATE": lambda wire: window_update(0, 1),
    "WINDOW_UPDATE of a stream": lambda wire: window_update(_gone(wire), 1),
    "HEADERS": lambda wire: frame(Kind.HEADERS, _gone(wire), b"\x88", END_HEADERS),
    "empty DATA": lambda wire: wire.send(wire.head(wire.open().id)) or data(1),
    "padding": lambda wire: wire.send(wire.head(wire.open().id)) or data(1, pad=255),
    "empty DATA of a stream that is gone": lambda wire: data(_gone(wire)),
    "unknown": lambda wire: frame(0x77, 0, b"x"),
    "ALTSVC": lambda wire: frame(Kind.ALTSVC, 0, b"\0\x06a.testh2"),
}


@pytest.mark.parametrize("name", FLOODS)
@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
def test_floods(wire: Wire, name: str, together: bool) -> None:
    """CVE-2019-9512 and its relatives: frames that cost us work, and the server none."""
    one = FLOODS[name](wire)
    later = NOW + 1000  # by now the allowance is whole
    if together:
        wire.send(one * CONTROL_BURST, now=later)
    else:
        for _ in range(CONTROL_BURST):
            wire.send(one, now=later)
    wire.sent()
    last = wire.raises(
        "a flood of frames that carry nothing.*limit is 1000 at once", one, now=later
    )
    assert farewells(last) == [ENHANCE_YOUR_CALM]


def test_a_steady_trickle_is_no_flood(wire: Wire) -> None:
    now = NOW + 1000
    wire.send(ping() * CONTROL_BURST, now=now)
    for _ in range(500):
        now += 0.0101
        wire.send(ping(), now=now)
        wire.sent()
    last = wire.raises("a flood", ping() * 20, now=now)
    assert farewells(last) == [ENHANCE_YOUR_CALM]


def test_rest_makes_good_for_no_more_than_one_burst(wire: Wire) -> None:
    wire.send(ping() * CONTROL_BURST, now=NOW + 10)
    wire.send(ping() * CONTROL_BURST, now=NOW + 10**6)
    wire.raises("a flood", ping(), now=NOW + 10**6)


def test_window_updates_during_an_upload_are_no_flood(wire: Wire) -> None:
    """A server that reads in small pieces says so in many frames, the last of them after our
    last."""
    stream = wire.open(b"PUT", end=False)
    wire.send(window_update(0, 2**24), window_update(stream.id, 2**24))
    for _ in range(2**24 // MAX_FRAME):
        wire.codec.send_data(stream, FULL)
    wire.sent()
    pair = window_update(0, 4096) + window_update(stream.id, 4096)
    for _ in range(1500):
        wire.send(pair)
    wire.codec.end_request(stream)
    for _ in range(2**24 // 4096 - 1500):
        wire.send(pair)
    wire.send(wire.head(stream.id, end=True))
    assert stream.done


def test_pings_during_an_upload_are_no_flood(wire: Wire) -> None:
    """grpc-go measures the path while a body comes in: a PING for each round trip."""
    stream = wire.open(b"PUT", end=False)
    wire.send(window_update(0, 2**26), window_update(stream.id, 2**26))
    for _ in range(2 * CONTROL_BURST):
        wire.codec.send_data(stream, FULL)
        wire.send(ping(), window_update(0, MAX_FRAME), window_update(stream.id, MAX_FRAME))
        assert [f.kind for f in wire.sent()] == [Kind.DATA, Kind.PING]


def test_window_updates_that_nothing_called_for_are_a_flood(wire: Wire) -> None:
    stream = wire.open(b"PUT", end=False)
    wire.codec.send_data(stream, FULL)
    wire.raises("a flood of frames", window_update(stream.id, 1) * 2000)


def test_window_updates_for_a_long_upload_are_no_licence(wire: Wire) -> None:
    wire.send(window_update(0, 2**28))
    stream = wire.open(b"PUT", end=False)
    wire.send(window_update(stream.id, 2**28))
    for _ in range(2000):
        wire.codec.send_data(stream, FULL)
        wire.codec.data_to_send()
    wire.send(window_update(0, 1) * MAX_UPDATES_DUE, now=NOW + 100)
    wire.send(window_update(0, 1) * CONTROL_BURST, now=NOW + 100)
    wire.raises("a flood of frames", window_update(0, 1), now=NOW + 100)


def test_a_few_odd_frames_with_each_request_are_no_flood(wire: Wire) -> None:
    for _ in range(500):
        stream = wire.open()
        wire.send(
            wire.head(stream.id),
            *[data(stream.id)] * 4,
            data(stream.id, b"x", end=True),
            *[window_update(0, 1), window_update(stream.id, 1)] * 2,
            reset(stream.id, NO_ERROR),
            ping(),
        )
        assert wire.read(stream) == b"x" and stream.done
        wire.codec.data_to_send()


def test_requests_are_no_licence(wire: Wire) -> None:
    for _ in range(500):
        wire.codec.close_stream(wire.open())
        wire.codec.data_to_send()
    wire.raises("a flood of frames", ping() * (CONTROL_BURST + 1))


def test_many_resets_of_one_stream_are_a_flood(wire: Wire) -> None:
    stream = wire.open()
    last = wire.raises("a flood of frames", reset(stream.id, CANCEL) * (CONTROL_BURST + 2))
    assert farewells(last) == [ENHANCE_YOUR_CALM]
    assert "was reset: CANCEL" in explain(stream.failure)


def test_answers_are_no_flood(wire: Wire) -> None:
    """However fast they come: each of them is the end, or the only beginning, of a request."""
    for _ in range(1500):
        early, broken = wire.open(b"PUT", end=False), wire.open()
        wire.send(wire.head(early.id, 103), wire.head(early.id, 413, end=True))
        wire.send(reset(early.id, NO_ERROR), reset(broken.id, INTERNAL_ERROR))
        assert early.done and broken.failure is not None
        wire.codec.touched.clear()


def test_answers_that_are_not_read(wire: Wire) -> None:
    now = NOW
    each = len(ping())
    fits = MAX_CONTROL_BACKLOG // each
    for _ in range(fits):
        now += 0.01
        wire.send(ping(), now=now)
    last = wire.raises("it does not read: 262157 bytes", ping(), now=now + 0.01)
    assert farewells(last) == [ENHANCE_YOUR_CALM]


def test_answers_that_are_read(wire: Wire) -> None:
    now = NOW
    for _ in range(2 * MAX_CONTROL_BACKLOG // len(ping())):
        now += 0.01
        wire.send(ping(), now=now)
        if now % 1 < 0.01:
            wire.sent()
    assert not wire.codec.draining


def test_what_we_send_ourselves_is_no_backlog(wire: Wire) -> None:
    wire.send(window_update(0, 2**20))
    stream = wire.open(b"PUT", end=False)
    wire.send(window_update(stream.id, 2**20))
    while window := wire.codec.send_window(stream):
        wire.codec.send_data(stream, bytes(window))
    wire.send(ping())
    assert len(wire.codec.data_to_send()) > 2**20


# --- against h2's server ---------------------------------------------------------------------


class Pair:
    """The codec and h2's server, joined."""

    def __init__(self, engine: str) -> None:
        self.codec = Codec(engine)
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.server = h2.connection.H2Connection(config)
        self.server.initiate_connection()
        self.events: list[Any] = []
        self.join()

    def join(self) -> None:
        """Carry bytes to and fro until both are silent."""
        while True:
            forth = self.codec.data_to_send()
            if forth:
                self.events += self.server.receive_data(forth)
            back = self.server.data_to_send()
            if back:
                self.codec.receive(back, NOW)
            if not forth and not back:
                return

    def seen(self, kind: type) -> list[Any]:
        return [found for found in self.events if isinstance(found, kind)]


def test_requests_as_h2s_server_sees_them(engine: str) -> None:
    pair = Pair(engine)
    headers = [(b"Host", b"a.test"), (b"X-A", b"1"), *SECRETS, (b"TE", b"trailers")]
    for number in range(40):
        path = b"/%d" % number * (number + 1)
        expected = request_fields(b"GET", b"https", path, headers)
        stream = open_stream(pair.codec, b"GET", path, headers)
        pair.join()
        (seen,) = pair.seen(h2.events.RequestReceived)
        assert seen.stream_id == stream.id
        assert sorted(map(tuple, seen.headers)) == sorted(map(tuple, expected))
        assert pair.seen(h2.events.StreamEnded)
        pair.events.clear()
        pair.server.send_headers(stream.id, [(b":status", b"200"), (b"x", path)], end_stream=True)
        pair.join()
        assert (stream.headers, stream.done) == ([(b"x", path)], True)


def test_bodies_both_ways_with_h2s_server(engine: str) -> None:
    """200 kB up, through windows of 64 kB, and 40 MB down, through ours."""
    pair = Pair(engine)
    stream = open_stream(pair.codec, b"POST", b"/", [(b"Host", b"a.test")], False)
    body = bytes(range(250)) * 800
    position = 0
    while position < len(body):
        if window := pair.codec.send_window(stream):
            pair.codec.send_data(stream, body[position : position + window])
            position = min(len(body), position + window)
        pair.join()
        for got in pair.seen(h2.events.DataReceived)[-1:]:
            pair.server.acknowledge_received_data(got.flow_controlled_length, stream.id)
    pair.codec.end_request(stream)
    pair.join()
    assert b"".join(got.data for got in pair.seen(h2.events.DataReceived)) == body

    pair.server.send_headers(stream.id, [(b":status", b"200")])
    left, received = 40 * 2**20, 0
    while left:
        window = pair.server.local_flow_control_window(stream.id)
        for _ in range(min(window, left) // MAX_FRAME):
            pair.server.send_data(stream.id, FULL)
            left -= MAX_FRAME
        pair.join()
        received += len(pair.codec.take(stream, 2**30))
    pair.server.end_stream(stream.id)
    pair.join()
    assert (received, stream.done) == (40 * 2**20, True)


# --- properties ------------------------------------------------------------------------------

names = st.sampled_from([b"server", b"x-a", b"x-b", b"set-cookie", b"date", b"etag"])
values = st.one_of(
    st.sampled_from([b"", b"1", b"nginx", b"Fri, 21 Nov 2025 09:21:00 GMT", b"v" * 200]),
    st.binary(max_size=20).map(lambda v: v.translate(None, b"\0\r\n").strip(b" \t")),
)
fields_of_servers = st.lists(st.tuples(names, values), max_size=5)
payloads = st.one_of(
    st.binary(max_size=40), st.integers(0, 5000).map(lambda n: (b"0123456789abcdef" * 320)[:n])
)


class Request(NamedTuple):
    method: bytes
    end: bool


class Script:
    """A valid transcript of a server, written as it is drawn."""

    def __init__(self, draw: Any, rich: bool) -> None:
        self.draw = draw
        self.rich = rich  # with what h2's own client has another opinion of
        self.encoder: Any = hpack.Encoder()
        self.frames: list[bytes] = [settings_frame((CONCURRENT, 100))]
        methods = st.sampled_from([b"GET", b"POST", b"HEAD"])
        self.requests = draw(
            st.lists(st.builds(Request, methods, st.booleans()), min_size=1, max_size=4)
        )
        self.states = dict.fromkeys((2 * n + 1 for n in range(len(self.requests))), "new")
        self.left: dict[int, int | None] = {}  # bytes that a content-length still asks for
        self.last = 2**31 - 1
        for _ in range(draw(st.integers(0, 14))):
            self.step()

    def step(self) -> None:
        alive = [n for n, state in self.states.items() if state != "over"]
        if not alive or self.draw(st.integers(0, 3)) == 0:
            self.control()
            return
        number = self.draw(st.sampled_from(alive))
        if self.draw(st.integers(0, 9)) == 0:
            code = self.draw(st.sampled_from([NO_ERROR, CANCEL, REFUSED_STREAM, 0x1234]))
            self.frames.append(reset(number, code))
            self.states[number] = "over"
        elif self.states[number] == "new":
            self.answer(number)
        else:
            self.go_on(number)

    def control(self) -> None:
        kinds = ["settings", "ping", "pong", "window", "unknown", "priority", "stray"]
        kind = self.draw(st.sampled_from(kinds + ["goaway"] * self.rich))
        over = [n for n, state in self.states.items() if state == "over"]
        if kind == "settings":
            setting = self.draw(
                st.sampled_from(
                    [(INITIAL_WINDOW, 10), (TABLE_SIZE, 50), (999, 1), (CONCURRENT, 90)]
                )
            )
            self.frames.append(settings_frame(setting))
        elif kind == "window":
            self.frames.append(window_update(self.draw(st.sampled_from([0, *self.states])), 9))
        elif kind == "goaway":
            self.last = self.draw(st.integers(0, min(self.last, 9)))
            self.frames.append(goaway(self.last, debug=b"bye"))
            for number in [n for n in self.states if n > self.last]:
                self.states.pop(number)
        elif kind == "stray" and over:
            self.frames.append(window_update(over[0], 1))
        else:
            frames = {"ping": ping(), "pong": ping(ACK), "unknown": frame(0x77, 0, b"xyz")}
            self.frames.append(frames.get(kind, frame(Kind.PRIORITY, 1, b"\0\0\0\0\x01")))

    def headers(self, number: int, fields: Headers, end: bool) -> None:
        block = self.encoder.encode(fields, huffman=self.draw(st.booleans()))
        flags = END_STREAM if end else 0
        shape = self.draw(st.sampled_from(["plain", "plain", "padded", "priority", "continued"]))
        if shape == "padded":
            block = b"\x02" + block + b"\0\0"
            flags |= PADDED
        elif shape == "priority":
            block = b"\0\0\0\0\x07" + block
            flags |= PRIORITIZED
        elif shape == "continued":
            cut = self.draw(st.integers(0, len(block)))
            self.frames.append(
                frame(Kind.HEADERS, number, block[:cut], flags)
                + frame(Kind.CONTINUATION, number, block[cut:], END_HEADERS)
            )
            return
        self.frames.append(frame(Kind.HEADERS, number, block, flags | END_HEADERS))

    def answer(self, number: int) -> None:
        method = self.requests[number // 2].method
        if self.draw(st.integers(0, 3)) == 0:
            self.headers(number, [(b":status", b"103"), *self.draw(fields_of_servers)], False)
            return
        status = self.draw(st.sampled_from([200, 204, 304, 404, 500, 999]))
        bare = method == b"HEAD" or status in (204, 304)
        fields = self.draw(fields_of_servers)
        self.left[number] = 0 if bare else None
        end = self.draw(st.integers(0, 3)) == 0
        if not bare and self.draw(st.booleans()):
            self.left[number] = length = 0 if end else self.draw(st.integers(0, 3000))
            fields = [*fields, (b"content-length", b"%d" % length)]
        self.headers(number, [(b":status", b"%d" % status), *fields], end)
        self.states[number] = "over" if end else "open"

    def go_on(self, number: int) -> None:
        left = self.left[number]
        payload = self.draw(payloads)
        if left is not None:
            payload = payload[:left]
            self.left[number] = left = left - len(payload)
        pad = self.draw(st.sampled_from([None, None, 0, 3, 255]))
        end = not left and self.draw(st.booleans())
        if end and self.draw(st.booleans()):
            self.frames.append(data(number, payload, pad=pad))
            self.headers(number, [(b"x-trailer", b"t"), *self.draw(fields_of_servers)], True)
        else:
            self.frames.append(data(number, payload, end, pad))
        if end:
            self.states[number] = "over"


@st.composite
def scripts(draw: Any, rich: bool = True) -> Script:
    return Script(draw, rich)


class Seen(NamedTuple):
    """Everything a caller can learn from one stream."""

    status: int | None
    headers: Headers
    interim: list[tuple[int, Headers]]
    body: bytes
    trailers: Headers
    ended: bool
    failure: tuple[str, str, str] | None


def _seen(codec: Codec, stream: Stream) -> Seen:
    failure = stream.failure
    return Seen(
        stream.status,
        stream.headers,
        stream.informational,
        codec.take(stream, sys.maxsize),
        stream.trailers,
        stream.ended,
        None if failure is None else (type(failure).__name__, str(failure), failure.phase),
    )


def _play(engine: str, requests: list[Request], pieces: list[bytes], eof: bool) -> Any:
    """What became of `requests` when the server said `pieces`."""
    wire = Wire(engine, settled=False)
    wire.codec.max_streams = 100  # all at once, before the server has said anything
    streams = [wire.open(request.method, end=request.end) for request in requests]
    for piece in pieces:
        wire.send(piece)
    said = sorted(wire.sent())
    if eof:
        wire.codec.receive_eof()
    codec = wire.codec
    state = (codec.draining, codec.max_streams, codec.pongs, codec.settled, codec.open_streams)
    windows = [codec.send_window(stream) for stream in streams]
    return [_seen(codec, stream) for stream in streams], said, state, windows


def _cut(transcript: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(transcript) + 1) for cut in cuts} | {0, len(transcript)})
    return [transcript[a:b] for a, b in itertools.pairwise(places)]


@pytest.mark.parametrize("installed", INSTALLED)
@settings(bounded, max_examples=examples(200))
@given(script=scripts(), cuts=st.lists(st.integers(0, 10**6), max_size=12), eof=st.booleans())
def test_any_cut_gives_the_same(installed: str, script: Script, cuts: list[int], eof: bool) -> None:
    transcript = b"".join(script.frames)
    whole = _play(installed, script.requests, [transcript], eof)
    event(f"{sum(seen.ended for seen in whole[0])} of {len(whole[0])} ended")
    assert _play(installed, script.requests, _cut(transcript, cuts), eof) == whole
    assert _play(installed, script.requests, script.frames, eof) == whole
    if len(transcript) < 2000:
        bytewise = [transcript[n : n + 1] for n in range(len(transcript))]
        assert _play(installed, script.requests, bytewise, eof) == whole


def _has_all(method: bytes, seen: Seen) -> bool:
    """Whether the head of a response has arrived, and as much of a body as it announced."""
    if seen.status is None:
        return False
    if method == b"HEAD" or seen.status in (204, 304):
        return True
    announced = dict(seen.headers).get(b"content-length")
    return announced is not None and len(seen.body) == int(announced)


def _by_h2(requests: list[Request], transcript: bytes) -> dict[int, Seen]:
    """The same, as h2's own client sees it."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    client.local_settings = h2.settings.Settings(
        client=True, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW}
    )
    client.initiate_connection()
    client.increment_flow_control_window(CONNECTION_WINDOW - 65535)
    for number, request in enumerate(requests):
        client.send_headers(2 * number + 1, _with(method=request.method), end_stream=request.end)
    result = {2 * n + 1: Seen(None, [], [], b"", [], False, None) for n in range(len(requests))}
    for found in client.receive_data(transcript):
        seen = result.get(getattr(found, "stream_id", None) or 0)
        if seen is None:
            continue
        if isinstance(found, h2.events.ResponseReceived):
            fields = [tuple(field) for field in found.headers]
            seen = seen._replace(status=int(fields[0][1]), headers=fields[1:])
        elif isinstance(found, h2.events.InformationalResponseReceived):
            fields = [tuple(field) for field in found.headers]
            seen.interim.append((int(fields[0][1]), fields[1:]))
        elif isinstance(found, h2.events.DataReceived):
            seen = seen._replace(body=seen.body + found.data)
        elif isinstance(found, h2.events.TrailersReceived):
            seen = seen._replace(trailers=[tuple(field) for field in found.headers])
        elif isinstance(found, h2.events.StreamEnded):
            seen = seen._replace(ended=True)
        elif isinstance(found, h2.events.StreamReset) and not seen.ended:
            method = requests[found.stream_id // 2].method
            if found.error_code == NO_ERROR and _has_all(method, seen):
                seen = seen._replace(ended=True)  # where we go further than h2 does
            else:
                seen = seen._replace(failure=("", _h2.error_name(int(found.error_code)), ""))
        result[found.stream_id] = seen
    return result


@pytest.mark.parametrize("installed", INSTALLED)
@settings(bounded, max_examples=examples(200))
@given(script=scripts(rich=False))
def test_the_same_as_h2s_client(installed: str, script: Script) -> None:
    transcript = b"".join(script.frames)
    theirs = _by_h2(script.requests, transcript)
    ours, _, _, _ = _play(installed, script.requests, [transcript], False)
    for number, seen in enumerate(ours):
        expected = theirs[2 * number + 1]
        assert seen._replace(failure=None) == expected._replace(failure=None)
        if expected.failure is None:
            assert seen.failure is None
        else:
            assert seen.failure[1].endswith(f"was reset: {expected.failure[1]}")


request_names = st.sampled_from(
    [b"accept", b"User-Agent", b"authorization", b"cookie", b"x-id", b"x-other", b"range"]
)
request_headers = st.lists(
    st.tuples(
        request_names,
        st.one_of(
            st.sampled_from([b"*/*", b"python-requests/2.32", b"a=b", b"c" * 30, b"x" * 5000, b""]),
            st.binary(max_size=12).map(lambda v: v.translate(None, b"\0\r\n")),
        ),
    ),
    max_size=6,
)
request_paths = st.one_of(
    st.sampled_from([b"/", b"/index.html", b"*", b"/" + b"p" * 126, b"/" + b"p" * 125]),
    st.binary(max_size=200).map(lambda p: b"/" + p.translate(None, b"\0\r\n")),
)


@pytest.mark.parametrize("installed", INSTALLED)
@settings(bounded, max_examples=examples(120))
@given(
    kinds=st.lists(request_headers, min_size=1, max_size=4),
    steps=st.lists(
        st.one_of(
            st.tuples(st.integers(0, 3), request_paths),
            st.sampled_from([0, 50, 200, 4096, 65536]),
        ),
        max_size=25,
    ),
)
def test_blocks_say_what_was_given(
    installed: str, kinds: list[Headers], steps: list[tuple[int, bytes] | int]
) -> None:
    """The same fields again, others between them, secrets, long paths, other table sizes: the
    server reads just these fields."""
    wire = Wire(installed)
    for step in steps:
        if isinstance(step, int):
            wire.send(settings_frame((TABLE_SIZE, step)))
            wire.sent()
            wire.decoder.max_allowed_table_size = step
            continue
        which, path = step
        headers = [(b"Host", b"a.test"), *kinds[which % len(kinds)]]
        expected = request_fields(b"GET", b"https", path, headers)
        stream = open_stream(wire.codec, b"GET", path, headers)
        block = b"".join(f.payload for f in wire.sent())
        read = wire.decoder.decode(block, raw=True)
        pseudo = [field for field in read if field[0].startswith(b":")]
        assert read[: len(pseudo)] == pseudo
        assert sorted(pseudo) == sorted(expected[:4])
        assert read[len(pseudo) :] == expected[4:]
        for field, given_field in zip(read[4:], expected[4:], strict=True):
            if given_field[1]:  # an empty one is in the static table
                secret = isinstance(given_field, hpack.NeverIndexedHeaderTuple)
                assert isinstance(field, hpack.NeverIndexedHeaderTuple) == secret
        wire.codec.close_stream(stream)
        wire.sent()


@pytest.mark.parametrize("installed", INSTALLED[:1])
@settings(bounded, max_examples=examples(60))
@given(
    sizes=st.lists(
        st.tuples(st.sampled_from([1, 1, 2, 33, 1023, 1024, 1025, 16384]), st.integers(1, 300)),
        min_size=1,
        max_size=12,
    ),
    taken=st.integers(0, 5000),
)
def test_memory_is_the_windows(installed: str, sizes: list[tuple[int, int]], taken: int) -> None:
    """What is kept of a body costs little more than the body, in whatever frames it came."""
    wire = Wire(installed)
    stream = wire.open()
    wire.send(wire.head(stream.id))
    budget = 512 * 1024
    for size, count in sizes:
        count = min(count, budget // size)
        budget -= size * count
        wire.send(data(stream.id, bytes(size)) * count)
    # One that alternates is the worst for whatever joins neighbours.
    wire.send((data(stream.id, bytes(1)) + data(stream.id, bytes(1024))) * 50)
    wire.codec.take(stream, taken)
    held = sum(sys.getsizeof(part) for part in stream.parts) + sys.getsizeof(stream.parts)
    assert sum(map(len, stream.parts)) == stream.buffered
    assert held <= stream.buffered * 1.15 + 8192


@pytest.mark.parametrize("installed", INSTALLED)
@settings(bounded, max_examples=examples(200))
@given(
    script=scripts(),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
    removed=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 40)), max_size=2),
    garbage=st.binary(max_size=60),
    cuts=st.lists(st.integers(0, 10**6), max_size=5),
)
def test_garbage_raises_one_kind_of_error(
    installed: str,
    script: Script,
    changes: list[tuple[int, int]],
    removed: list[tuple[int, int]],
    garbage: bytes,
    cuts: list[int],
) -> None:
    transcript = bytearray(b"".join(script.frames) + garbage)
    for place, value in changes:
        transcript[place % len(transcript)] = value
    for place, count in removed:
        start = place % len(transcript)
        del transcript[start : start + count]
        transcript += b"\0"
    wire = Wire(installed, settled=False)
    wire.codec.max_streams = 100
    streams = [wire.open(request.method, end=request.end) for request in script.requests]
    broken = None
    try:
        for piece in _cut(bytes(transcript), cuts):
            wire.send(piece)
    except RemoteProtocolError as exc:
        broken = exc
    event("broken" if broken else "fine")
    parse(wire.codec.data_to_send())
    if broken:
        wire.is_over()
        wire.codec.abandon(broken)
    else:
        wire.codec.receive_eof()
    assert wire.codec.open_streams == 0
    for stream in streams:
        assert stream.ended or stream.failure is not None
        assert len(wire.read(stream)) <= len(transcript)


# --- the coders ------------------------------------------------------------------------------

# Representations of RFC 7541 section 6: indexed, with indexing, without, never, and table sizes.
representations = st.one_of(
    st.integers(1, 70).map(lambda index: bytes([0x80 | index])),
    st.tuples(st.sampled_from([b"\x40", b"\0", b"\x10"]), names, st.binary(max_size=3)).map(
        lambda f: f[0] + bytes([len(f[1])]) + f[1] + bytes([len(f[2])]) + f[2]
    ),
    st.sampled_from([b"\x58\x01a", b"\x7e\x01b", b"\x20", b"\x30", b"\x3f\x41", b"\x3f\xe1\x1f"]),
    st.just(b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000),
)


@settings(bounded, max_examples=examples(300))
@given(
    kinds=st.lists(st.lists(representations, max_size=4).map(b"".join), min_size=1, max_size=5),
    order=st.lists(st.integers(0, 4), max_size=25),
)
def test_a_remembered_block_says_what_it_would_say_now(
    kinds: list[bytes], order: list[int]
) -> None:
    remembering, plain = _hpack.RememberingDecoder(hpack.Decoder()), hpack.Decoder()
    for number in order:
        block = kinds[number % len(kinds)]
        try:
            expected = plain.decode(block, raw=True)
        except hpack.HPACKError:
            with pytest.raises(hpack.HPACKError):
                remembering.decode(block)
            return
        assert remembering.decode(block) == expected


def test_what_a_decoder_remembers() -> None:
    decoder = _hpack.RememberingDecoder(hpack.Decoder())
    decoder.max_header_list_size = 5000
    assert decoder.max_header_list_size == 5000
    same = hpack.Encoder().encode([(b":status", b"200"), (b":method", b"GET")])
    assert decoder.decode(same) is decoder.decode(same)
    before = decoder.decode(same)
    decoder.decode(b"\x40\x01a\x01b")  # a new entry in the table
    assert decoder.decode(same) is not before
    before = decoder.decode(same)
    for number in range(_hpack._MOST_KNOWN):
        decoder.decode(b"\0\x01a\x02%02d" % number)
    assert decoder.decode(same) is not before
    secret = b"\0\x0aset-cookie\x01v"
    assert decoder.decode(secret) is not decoder.decode(secret)
    large = b"\0\x01a\x7f\xa1\x1e" + b"x" * 4000
    assert decoder.decode(large) is not decoder.decode(large)


def test_a_short_block_that_says_much_is_not_remembered() -> None:
    """Each of its bytes is an entry of the table, which a compiled decoder copies."""
    for new_decoder in (new for _, new in _hpack.CODERS.values()):
        decoder = new_decoder()
        decoder.max_header_list_size = MAX_HEADER_LIST
        decoder.decode(b"\x40\x01a\x7f\xa1\x0f" + b"x" * 2080)  # a new entry
        few, many = b"\xbe" * 3, b"\xbe" * 4
        assert decoder.decode(few) is decoder.decode(few)
        assert sum(len(value) for _, value in decoder.decode(many)) > _hpack._LARGEST_KNOWN
        assert decoder.decode(many) is not decoder.decode(many)


def test_the_same_head_again_is_a_head_of_its_own(wire: Wire) -> None:
    block = b"\x88\x00\x01x\x01y"  # it leaves the table alone
    seen = []
    for number in range(1, 9, 2):
        stream = wire.open()
        wire.send(frame(Kind.HEADERS, number, block, END_HEADERS | END_STREAM))
        assert (stream.status, stream.headers, stream.ended) == (200, [(b"x", b"y")], True)
        stream.headers.append((b"of the", b"caller"))
        seen.append(stream.headers)
    assert len(set(map(id, seen))) == 4


def test_the_same_malformed_head_again_is_refused_again(wire: Wire) -> None:
    block = b"\x88\x00\x01X\x01y"
    for number in range(1, 7, 2):
        stream = wire.open()
        wire.send(frame(Kind.HEADERS, number, block, END_HEADERS | END_STREAM))
        assert "malformed field name" in str(stream.failure)
        assert codes(wire.sent()) == [(number, PROTOCOL_ERROR)]


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (frame(Kind.HEADERS, 1, b"\x88", END_HEADERS), "HEADERS on stream 1, which has ended"),
        (window_update(0, 0), "increment must be between 1"),
        (frame(Kind.PING, 0, bytes(7)), "8 byte length: got 7"),
    ],
    ids=["headers", "window", "ping"],
)
def test_what_h2_refuses_is_explained(wire: Wire, bad: bytes, text: str) -> None:
    stream = wire.open()
    wire.send(wire.head(stream.id, end=True))
    wire.raises(text, bad)


@pytest.mark.parametrize("where", ["head", "trailers"])
def test_a_pseudo_header_out_of_place_is_named(wire: Wire, where: str) -> None:
    stream = wire.open()
    if where == "head":
        wire.send(wire.headers(stream.id, [OK, (b":path", b"/")]))
    else:
        wire.send(wire.head(stream.id), wire.headers(stream.id, [OK], end=True))
    name = "path" if where == "head" else "status"
    assert f"the pseudo-header b'{name}' where none may be" in explain(stream.failure)


# --- the compiled coder ----------------------------------------------------------------------


@needs_jh2
@settings(bounded, max_examples=examples(200))
@given(
    blocks=st.lists(st.lists(st.tuples(names, values), max_size=8), max_size=6),
    huffman=st.booleans(),
)
def test_both_coders_read_and_write_the_same(blocks: list[Headers], huffman: bool) -> None:
    plain_encoder = hpack.Encoder()
    coders = {
        name: (make_encoder(), make_decoder())
        for name, (make_encoder, make_decoder) in _hpack.CODERS.items()
    }
    reader = hpack.Decoder()
    for block in blocks:
        packed = plain_encoder.encode(block, huffman=huffman)
        for encoder, decoder in coders.values():
            assert decoder.decode(packed, raw=True) == block
            if encoder is coders["jh2"][0]:
                assert reader.decode(encoder.encode(block), raw=True) == block


@needs_jh2
@settings(bounded, max_examples=examples(300))
@given(
    block=st.lists(st.tuples(names, values), max_size=4),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    length=st.integers(0, 200),
)
def test_the_compiled_decoder_fails_as_a_decoder(
    block: Headers, changes: list[tuple[int, int]], length: int
) -> None:
    packed = bytearray(hpack.Encoder().encode(block) + b"@")
    for place, value in changes:
        packed[place % len(packed)] = value
    decoder = _hpack.CODERS["jh2"][1]()
    try:
        fields = decoder.decode(bytes(packed[:length]), raw=True)
    except hpack.HPACKError:
        return
    assert all(len(field) == 2 for field in fields)


class FakeDecoder:
    """Has the names of jh2's, and does one thing."""

    max_header_list_size = 100

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def decode(self, packed: bytes, raw: bool) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class PanicException(BaseException):
    """As jh2's, which has no name that could be imported."""


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (PanicException("index out of bounds"), hpack.HPACKDecodingError),
        (ValueError("of its own"), hpack.HPACKDecodingError),
        (type("OversizedHeaderListError", (Exception,), {})(), hpack.OversizedHeaderListError),
        ([(b"n" * 10, b"v" * 59, False)], hpack.OversizedHeaderListError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=repr,
)
def test_what_a_compiled_decoder_may_raise(answer: Any, expected: type[BaseException]) -> None:
    with pytest.raises(expected):
        _hpack.CompiledDecoder(FakeDecoder(answer)).decode(b"")


def test_the_limit_of_a_compiled_decoder() -> None:
    decoder = _hpack.CompiledDecoder(FakeDecoder([(b"n" * 10, b"v" * 58, False)]))
    assert decoder.decode(b"") == [(b"n" * 10, b"v" * 58)]
    decoder.max_header_list_size = 99
    assert decoder.max_header_list_size == 99
    with pytest.raises(hpack.OversizedHeaderListError, match="larger than 99"):
        decoder.decode(b"")


class GoodEncoder(hpack.Encoder):
    def encode(self, headers: Any, huffman: bool = True) -> bytes:
        return super().encode([(name, value) for name, value, _ in headers], huffman)


class GoodDecoder(hpack.Decoder):
    def decode(self, packed: bytes, raw: bool = False) -> Any:
        return [(*field, False) for field in super().decode(packed, raw)]


class OddEncoder(GoodEncoder):
    def encode(self, headers: Any, huffman: bool = True) -> bytes:
        return super().encode(headers[:1])


class OddDecoder(GoodDecoder):
    def decode(self, packed: bytes, raw: bool = False) -> Any:
        return super().decode(packed, raw)[:1]


@pytest.mark.parametrize(
    ("module", "found"),
    [
        (None, False),
        (SimpleNamespace(), False),
        (SimpleNamespace(Encoder=GoodEncoder, Decoder=GoodDecoder), False),
        (SimpleNamespace(Encoder=1, Decoder=2, ALTERNATIVE_HPACK=True), False),
        (SimpleNamespace(Encoder=GoodEncoder, Decoder=GoodDecoder, ALTERNATIVE_HPACK=False), False),
        (SimpleNamespace(Encoder=OddEncoder, Decoder=GoodDecoder, ALTERNATIVE_HPACK=True), False),
        (SimpleNamespace(Encoder=GoodEncoder, Decoder=OddDecoder, ALTERNATIVE_HPACK=True), False),
        (
            SimpleNamespace(Encoder=hpack.Encoder, Decoder=hpack.Decoder, ALTERNATIVE_HPACK=True),
            False,
        ),
        (SimpleNamespace(Encoder=GoodEncoder, Decoder=GoodDecoder, ALTERNATIVE_HPACK=True), True),
    ],
    ids=["absent", "empty", "old", "broken", "pure", "odd encoder", "odd decoder", "pairs", "good"],
)
def test_compiled_coders_are_used_if_they_do_what_they_should(
    module: Any, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jh2.connection", module)
    coders = _hpack._find_compiled()
    assert (coders is not None) == found
    if coders is not None:
        new_encoder, new_decoder = coders
        assert new_decoder().decode(new_encoder().encode(PSEUDO)) == PSEUDO


def test_ending_a_stream_that_has_ended_changes_nothing(engine: str) -> None:
    wire = Wire(engine)
    stream = wire.open()
    wire.send(wire.head(1, end=True))
    wire.sent()
    wire.codec.end_stream(stream)
    assert not wire.sent()


def test_more_than_the_window_of_the_connection_at_once(engine: str) -> None:
    wire = Wire(engine)
    wire.open()
    wire.send(wire.head(1))
    wire.codec._window = 0  # as if the server had used all of it, on many streams
    last = wire.raises(f"more than {CONNECTION_WINDOW} bytes at once", frame(Kind.DATA, 1, b"x"))
    assert farewells(last) == [FLOW_CONTROL_ERROR]
