"""Heads of HTTP/2 requests: what is remembered of them, and that h2's server reads what was meant.

Owns: `httpcore._core.h2_request`, and that a stream which is opened late in h2's state machine is
the same there as one that was opened at once. Must not know: sockets, threads.
Sources: RFC 9113, RFC 7541; h2's server and hpack's decoder as the reference.
"""

from __future__ import annotations

import gc
from struct import Struct
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from httpcore._core.h2 import Codec, Stream
from httpcore._core.h2_request import (
    LONG_VALUE,
    MAX_KNOWN,
    MAX_KNOWN_FIELDS,
    MAX_KNOWN_SIZE,
    HeadWriter,
    literal_start,
    request_fields,
)
from httpcore._core.hpack import CODERS, TABLE_SIZE, table_effect
from httpcore._exceptions import (
    ConnectionNotAvailable,
    LocalProtocolError,
    NetworkError,
    ProtocolError,
    RemoteProtocolError,
)
from tests.support.examples import examples

Headers = list[tuple[bytes, bytes]]

NOW = 1000.0  # seconds; any time will do
INSTALLED = sorted(CODERS)
HOST = (b"Host", b"a.test")
bounded = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_frame_head = Struct(">LBL")


def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return _frame_head.pack(len(payload) << 8 | kind, flags, stream) + payload


@pytest.fixture(params=INSTALLED)
def writer(request: pytest.FixtureRequest) -> HeadWriter:
    return HeadWriter(CODERS[request.param][0]())


def write(writer: HeadWriter, *headers: tuple[bytes, bytes], path: bytes = b"/") -> bytes:
    return writer.write(writer.read(b"GET", b"https", path, [HOST, *headers]))


def never_indexed(fields: list[Any]) -> list[tuple[bytes, bytes]]:
    return [tuple(field) for field in fields if isinstance(field, hpack.NeverIndexedHeaderTuple)]


# --- what is remembered ---


class Counting:
    """An encoder that counts what it is asked for."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self.count = 0
        self.header_table_size = encoder.header_table_size

    def encode(self, fields: Any) -> bytes:
        self.count += 1
        block: bytes = self.encoder.encode(fields)
        return block


@pytest.mark.parametrize("engine", INSTALLED)
def test_fields_in_the_table_are_compressed_no_more(engine: str) -> None:
    encoder = Counting(CODERS[engine][0]())
    writer = HeadWriter(encoder)
    decoder = hpack.Decoder()
    counts = []
    for number in range(6):
        headers = [(b"Accept", b"*/*"), (b"Cookie", b"n=%d" % number), (b"X-A", b"b")]
        block = write(writer, *headers, path=b"/%d" % number)
        fields = list(map(tuple, decoder.decode(block, raw=True)))
        assert sorted(fields[:4]) == sorted(
            [
                *[(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.test")],
                (b":path", b"/%d" % number),
            ]
        )
        assert fields[4:] == [(name.lower(), value) for name, value in headers]
        counts.append(encoder.count)
    assert counts[1:] == [6, *[6] * 4]  # two times three runs, and never again


def test_a_change_of_the_table_is_noticed(writer: HeadWriter) -> None:
    """A new entry moves all others, so what was written before says something else now."""
    decoder = hpack.Decoder()
    kinds = [[(b"X-A", b"1")], [(b"X-B", b"2")], [(b"X-A", b"1"), (b"X-C", b"3")]]
    for turn in (0, 0, 0, 1, 0, 1, 0, 2, 1, 0, 2, 2):
        fields = decoder.decode(write(writer, *kinds[turn]), raw=True)
        assert fields[4:] == [(name.lower(), value) for name, value in kinds[turn]]


def test_what_is_remembered_is_bounded(writer: HeadWriter) -> None:
    decoder = hpack.Decoder()
    for number in range(3 * MAX_KNOWN):
        decoder.decode(write(writer, (b"X-Id", b"%d" % number)), raw=True)
        assert len(writer._known) <= MAX_KNOWN
    long = [(b"X-%d" % number, b"c" * 60) for number in range(MAX_KNOWN_SIZE // 60)]
    for _ in range(3):
        assert len(decoder.decode(write(writer, *long), raw=True)) == 4 + len(long)


@pytest.mark.parametrize("size", [MAX_KNOWN_FIELDS, 500_000])
def test_large_fields_are_not_remembered(writer: HeadWriter, size: int) -> None:
    for value in (b"a" * (size // 2), b"b" * (size // 2)):
        write(writer, (b"x-one", value), (b"x-two", value))
    gc.collect()
    known = [value for each in writer._known.values() for run in each.runs for _, value in run]
    assert sum(map(len, known)) < MAX_KNOWN_FIELDS
    assert all(len(field) < MAX_KNOWN_FIELDS for key in writer._known for _, field in key[2:])


@pytest.mark.parametrize("length", [0, 1, 10, 13, 137, 138])
def test_a_secret_of_any_length_leaves_the_list_known(writer: HeadWriter, length: int) -> None:
    """The length itself is written as a byte, and may be that of a line break."""
    fields = [HOST, (b"Authorization", b"s" * length), (b"X-Api-Key", b"k" * length)]
    first = writer.read(b"GET", b"https", b"/", fields)
    again = writer.read(b"GET", b"https", b"/", fields)
    assert again.known is first.known
    assert again == first
    with pytest.raises(LocalProtocolError):
        writer.read(
            b"GET", b"https", b"/", [HOST, (b"Authorization", b"a\nb"), (b"X-Api-Key", b"")]
        )


def test_secrets_are_kept_nowhere(writer: HeadWriter) -> None:
    secret = b"correct horse battery %d" % id(writer)
    names = [b"Authorization", b"Cookie", b"Proxy-Authorization", b"X-API-Key", b"X-Auth-Token"]
    headers = [HOST, *[(name, secret) for name in names], (b"Accept", b"*/*")]
    for _ in range(3):
        writer.write(writer.read(b"GET", b"https", b"/?token=" + secret, headers))
    seen: set[int] = set()
    waiting: list[Any] = [writer]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, type):
            continue
        seen.add(id(found))
        if isinstance(found, (bytes, bytearray, str)):
            assert secret not in (found if isinstance(found, bytes) else bytes(str(found), "utf-8"))
        elif not callable(found) or found is writer:
            waiting += gc.get_referents(found)
    assert len(seen) > 20


@pytest.mark.parametrize(
    ("name", "value", "never"),
    [
        (b"Authorization", b"Basic abc", True),
        (b"authorization", b"x" * 5000, True),
        (b"Proxy-Authorization", b"Basic abc", True),
        (b"Cookie", b"pin=1234", True),
        (b"Cookie", b"x" * 19, True),
        (b"Cookie", b"x" * 20, False),
        (b"COOKIE", b"x" * 5000, False),
        (b"X-API-Key", b"x" * 100, True),
        (b"X-Csrf-Token", b"1", True),
        (b"X-Amz-Server-Side-Encryption-Customer-Key", b"1", True),
        (b"Ocp-Apim-Subscription-Key", b"1", True),
        (b"X-JWT-Assertion", b"1", True),
        (b"Accept", b"x" * 5000, False),
        (b"X-Anything", b"y" * 100000, False),
    ],
)
def test_fields_that_are_never_compressed(
    writer: HeadWriter, name: bytes, value: bytes, never: bool
) -> None:
    """RFC 7541 section 7.1.3, and what the table has no room for."""
    decoder = hpack.Decoder(max_header_list_size=2**20)
    sizes = []
    for path in (b"/", b"/", b"/b"):
        block = write(writer, (name, value), path=path)
        fields = decoder.decode(block, raw=True)
        assert (name.lower(), value) in fields
        assert never_indexed(fields) == ([(name.lower(), value)] if never else [])
        assert name.lower() not in {entry[0] for entry in decoder.header_table.dynamic_entries}
        assert value in block  # not Huffman's code either
        sizes.append(len(block))
    assert sizes[1:] == [sizes[1], sizes[1] + 1]


def test_values_of_the_longest_kind_are_in_the_table(writer: HeadWriter) -> None:
    value = b"v" * (LONG_VALUE // 2)
    assert len(write(writer, (b"X-A", value))) > len(value) // 2
    assert len(write(writer, (b"X-A", value))) < 30


def test_repeated_names_keep_their_order(writer: HeadWriter) -> None:
    headers = [(b"X-A", b"1"), (b"X-A", b"y" * LONG_VALUE), (b"Cookie", b"a=1"), (b"X-A", b"3")]
    headers += [(b"Cookie", b"b=" + b"2" * 40), (b"X-A", b"4"), (b"Cookie", b"c=3")]
    decoder = hpack.Decoder()
    for _ in range(3):
        fields = decoder.decode(write(writer, *headers), raw=True)
        assert fields[4:] == [(name.lower(), value) for name, value in headers]


def test_a_field_that_connection_names_is_left_out_if_it_is_secret(writer: HeadWriter) -> None:
    for _ in range(2):
        write(writer, (b"X-Token", b"a"))
    named = [(b"Connection", b"x-token"), (b"X-Token", b"a")]
    fields = hpack.Decoder().decode(write(HeadWriter(hpack.Encoder()), *named), raw=True)
    assert len(fields) == 4
    for _ in range(3):
        head = writer.read(b"GET", b"https", b"/", [HOST, *named])
        assert head.secrets == [] and head.known.runs[0][3:] == []


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ([(b"X-A", b"b\r")], b"/"),
        ([(b"Cookie", b"a\nb")], b"/"),
        ([(b"Authorization", b"a\0")], b"/"),
        ([(b"X Y", b"a")], b"/"),
        ([(b"X-A", b"b")], b"b"),
        ([(b"X-A", b"b")], b"/\n"),
        ([(b"X-A", b"b")], b"*/"),
        ([(b"X-A", b"b")], b""),
    ],
    ids=repr,
)
def test_what_cannot_be_sent_changes_nothing(
    writer: HeadWriter, headers: Headers, path: bytes, known: bool
) -> None:
    decoder = hpack.Decoder()
    usual = [(b"X-A", b"b"), (b"Cookie", b"a"), (b"Authorization", b"a")]
    alone = [(name, dict(usual).get(name, b"a")) for name, _ in headers if b" " not in name]
    if known:
        for _ in range(3):
            decoder.decode(write(writer, *alone), raw=True)
    with pytest.raises(LocalProtocolError):
        writer.read(b"GET", b"https", path, [HOST, *headers])
    fields = decoder.decode(write(writer, *alone), raw=True)
    assert fields[4:] == [(name.lower(), value) for name, value in alone]


def test_names_are_secret_however_they_are_spelled() -> None:
    assert literal_start(b"COOKIE") == literal_start(b"cookie") == b"\x0f\x11"
    assert literal_start(b"Authorization") == b"\x1f\x08"
    assert literal_start(b"proxy-authorization") == b"\x1f\x22"
    assert literal_start(b"X-Secret") == b"\x10\x08x-secret"
    assert literal_start(b"Accept") is None


@pytest.mark.parametrize(
    ("block", "size", "effect"),
    [
        (b"", 4096, (True, 4096)),
        (b"\x82\x86", 4096, (True, 4096)),
        (b"\xff\x80\x01\x82", 4096, (True, 4096)),  # an index of more than one byte
        (b"\x04\x01/", 4096, (True, 4096)),
        (b"\x0f\x11\x7f\x01" + b"x" * 128, 4096, (True, 4096)),
        (b"\x10\x01a\x01b\x82", 4096, (True, 4096)),
        (b"\x40\x01a\x01b", 4096, (False, 4096)),
        (b"\x10\x01a\x01b\x41\x01b", 4096, (False, 4096)),
        (b"\x20", 4096, (False, 0)),
        (b"\x3f\xe1\x1f\x82", 0, (False, 4096)),
        (b"\x20\x3f\x61\x40\x01a\x01b", 4096, (False, 128)),
        # nginx: without a table, nothing can be added to it
        (b"\x20\x88\x76\x02ab\x40\x01a\x01b", 4096, (False, 0)),
        (b"\x88\x76\x02ab\x40\x01a\x01b\x82", 0, (True, 0)),
        (b"\x7f\x00\x02ab\x82", 0, (True, 0)),
    ],
)
def test_which_blocks_leave_the_table_alone(
    block: bytes, size: int, effect: tuple[bool, int]
) -> None:
    assert table_effect(block, size) == effect


@settings(bounded, max_examples=examples(1200))
@given(
    blocks=st.lists(
        st.tuples(
            st.lists(
                st.tuples(
                    st.sampled_from([b"a", b"b" * 200, b":method", b"accept"]),
                    st.sampled_from([b"", b"GET", b"c" * 126, b"d" * 127, b"e" * 300]),
                    st.booleans(),
                ),
                max_size=5,
            ),
            st.sampled_from([None, None, None, 0, 100, 4096]),
        ),
        max_size=6,
    )
)
def test_what_a_block_does_to_the_table(blocks: list[Any]) -> None:
    """Never is a table taken for the same that has changed."""
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    size = TABLE_SIZE
    for fields, resize in blocks:
        if resize is not None:
            encoder.header_table_size = resize
        before = list(decoder.header_table.dynamic_entries)
        block = encoder.encode(fields)
        decoder.decode(block, raw=True)
        after = list(decoder.header_table.dynamic_entries)
        alone, size = table_effect(block, size)
        assert size == decoder.header_table_size
        assert before == after or not alone
        if resize is None and size == TABLE_SIZE:
            assert alone == (before == after)


# --- against h2's server ---


class Joined:
    """The codec and h2's server, joined."""

    def __init__(self, engine: str, codec: type[Codec] = Codec) -> None:
        self.codec = codec(engine)
        config = h2.config.H2Configuration(
            client_side=False,
            header_encoding=None,
            normalize_inbound_headers=False,  # it would join cookies
        )
        self.server = h2.connection.H2Connection(config)
        self.server.decoder.max_header_list_size = 2**24
        self.server.initiate_connection()
        self.join()

    def join(self) -> list[Any]:
        """Carry bytes to and fro until both are silent; return what the server has seen."""
        events: list[Any] = []
        while True:
            forth = self.codec.data_to_send()
            if forth:
                events += self.server.receive_data(forth)
            back = self.server.data_to_send()
            if back:
                self.codec.receive(back, NOW)
            if not forth and not back:
                return events


header_lists = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *[b"Accept", b"X-Id", b"X-Id", b"Cookie", b"authorization", b"X-API-Key"],
                *[b"Connection", b"TE", b"Keep-Alive", b"Range"],
            ]
        ),
        st.one_of(
            st.sampled_from(
                [
                    *[b"", b"*/*", b"a=b", b"c" * 30, b"<3000>", b"<20000>", b"<70000>"],
                    *[b"keep-alive", b"x-id", b"trailers", b"close, X-API-Key", b"cookie"],
                ]
            ),
            st.binary(max_size=12).map(lambda value: value.translate(None, b"\0\r\n").strip()),
        ),
    ),
    max_size=6,
)
request_paths = st.one_of(
    st.sampled_from([b"/", b"/a", b"*", b"/" + b"p" * 126, b"/<40000>"]),
    st.binary(max_size=40).map(lambda path: b"/" + path.translate(None, b"\0\r\n").strip()),
)
requests = st.tuples(
    st.sampled_from([b"GET", b"POST"]), request_paths, st.integers(0, 3), st.booleans()
)
changes = st.one_of(
    st.tuples(st.just("table"), st.sampled_from([0, 50, 200, 4096, 65536])),
    st.tuples(st.just("frame"), st.sampled_from([16384, 20000, 65536])),
    st.tuples(st.just("window"), st.sampled_from([0, 100, 65535, 10**6])),
    st.tuples(st.sampled_from(["reset", "close", "answer", "ping", "widen"]), st.integers(0, 4)),
)
SETTINGS = {
    "table": h2.settings.SettingCodes.HEADER_TABLE_SIZE,
    "frame": h2.settings.SettingCodes.MAX_FRAME_SIZE,
    "window": h2.settings.SettingCodes.INITIAL_WINDOW_SIZE,
}


def lengthened(text: bytes) -> bytes:
    """`text`, or as many bytes as it says: hypothesis refuses to show long ones."""
    start, _, rest = text.partition(b"<")
    number = rest[:-1]
    return start + b"l" * int(number) if rest[-1:] == b">" and number.isdigit() else text


def change(joined: Joined, what: str, size: int, streams: list[Stream]) -> None:
    """One thing that happens between two requests."""
    server = joined.server
    if what in SETTINGS:
        server.update_settings({SETTINGS[what]: size})
    elif what == "ping":
        server.ping(b"12345678")
    elif streams:
        stream = streams.pop(size % len(streams))
        if what == "reset":
            server.reset_stream(stream.id, h2.errors.ErrorCodes.REFUSED_STREAM)
        elif what == "close":
            joined.codec.close_stream(stream)
        elif what == "widen":
            server.increment_flow_control_window(1000, stream.id)
            streams.append(stream)
        else:
            server.send_headers(stream.id, [(b":status", b"200"), (b"x", b"y" * (size * 5000))])
            server.send_data(stream.id, b"", end_stream=True)


@pytest.mark.parametrize("engine", INSTALLED)
@settings(bounded, max_examples=examples(400))
@given(
    kinds=st.lists(header_lists, min_size=1, max_size=4),
    steps=st.lists(st.one_of(requests, changes), max_size=25),
)
def test_h2s_server_reads_what_was_meant(
    engine: str, kinds: list[Headers], steps: list[tuple[Any, ...]]
) -> None:
    """Header lists that come again and others, continued blocks, other tables, frames and windows,
    streams that end in all ways."""
    joined = Joined(engine)
    codec = joined.codec
    streams: list[Stream] = []
    for step in steps:
        if len(step) == 2:
            change(joined, *step, streams)
            joined.join()
            continue
        method, path, which, end = step
        path = lengthened(path)
        headers = [HOST, *[(name, lengthened(value)) for name, value in kinds[which % len(kinds)]]]
        stream = codec.open_stream(codec.request_head(method, b"https", path, headers), path, end)
        streams.append(stream)
        if not end and codec.send_window(stream) >= 10:
            codec.send_data(stream, b"0123456789", end=which % 2 == 0)
        seen = joined.join()
        (received,) = [one for one in seen if isinstance(one, h2.events.RequestReceived)]
        expected = request_fields(method, b"https", path, headers)
        pseudo = [field for field in received.headers if field[0].startswith(b":")]
        assert sorted(pseudo) == sorted(expected[:4])
        assert list(map(tuple, received.headers[4:])) == list(map(tuple, expected[4:]))
        assert never_indexed(received.headers) == never_indexed(expected)
        assert any(isinstance(one, h2.events.StreamEnded) for one in seen) == stream.sent_all


# --- against the same codec, which opens each stream in h2 at once ---


class Eager(Codec):
    """Opens each stream in h2 at once, as if h2 had written its head."""

    def open_stream(self, *args: Any) -> Stream:
        stream = super().open_stream(*args)
        self._open_in_h2()
        return stream


class Played:
    """What became of a script on one kind of codec."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.encoder = hpack.Encoder()
        self.streams: list[Stream] = []
        self.log: list[object] = []

    def play(self, step: tuple[Any, ...]) -> None:
        if self.codec._failed:
            return  # a session gives it up then
        try:
            self.log.append(getattr(self, step[0])(*step[1:]))
        except (ConnectionNotAvailable, RemoteProtocolError) as exc:
            self.log.append((type(exc).__name__, str(exc)))
        self.log.append(self.codec.data_to_send())
        self.log.append([shown(stream) for stream in self.streams])
        self.log.append((self.codec.max_streams, self.codec.draining, self.codec.open_streams))

    def open(self, method: bytes, end: bool) -> None:
        head = self.codec.request_head(method, b"https", b"/", [HOST])
        self.streams.append(self.codec.open_stream(head, b"/", end))

    def which(self, index: int) -> Stream | None:
        return self.streams[index % len(self.streams)] if self.streams else None

    def upload(self, index: int, size: int, end: bool) -> object:
        stream = self.which(index)
        if stream is None or stream.sent_all:
            return None
        window = self.codec.send_window(stream)
        if window:
            self.codec.send_data(stream, bytes(min(size, window)), end)
        elif end:
            self.codec.end_request(stream)
        return window

    def close(self, index: int) -> None:
        stream = self.which(index)
        if stream is not None:
            self.codec.close_stream(stream)

    def hear(self, kind: int, flags: int, index: int, beyond: int, payload: bytes) -> None:
        stream = self.which(index)
        number = 0 if kind in (4, 6) else (stream.id if stream else 1) + beyond
        if kind == 1:
            payload = self.encoder.encode([(b":status", b"200"), (b"x", payload)])
        self.codec.receive(frame(kind, number, payload, flags), NOW)


def shown(stream: Stream) -> object:
    failure: NetworkError | ProtocolError | None = stream.failure
    return (stream.id, stream.status, stream.ended, stream.sent_all, stream.received, str(failure))


indices = st.integers(0, 5)
played_steps = st.one_of(
    st.tuples(st.just("open"), st.sampled_from([b"GET", b"PUT"]), st.booleans()),
    st.tuples(st.just("open"), st.just(b"GET"), st.just(True)),
    st.tuples(st.just("upload"), indices, st.sampled_from([1, 20000]), st.booleans()),
    st.tuples(st.just("close"), indices),
    # DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION
    st.tuples(st.just("hear"), st.just(0), st.sampled_from([0, 1]), indices, st.just(0),
              st.sampled_from([b"", b"body"])),
    st.tuples(st.just("hear"), st.just(1), st.sampled_from([4, 5, 0]), indices,
              st.sampled_from([0, 0, 0, 2]), st.just(b"v")),
    st.tuples(st.just("hear"), st.just(2), st.just(0), indices, st.just(0),
              st.just(b"\0\0\0\0\x0f")),
    st.tuples(st.just("hear"), st.just(3), st.just(0), indices, st.sampled_from([0, 0, 2]),
              st.sampled_from([b"\0\0\0\x08", b"\0\0\0\0", b"\0\0\0\x07"])),
    st.tuples(st.just("hear"), st.just(4), st.just(0), indices, st.just(0),
              st.sampled_from([b"\0\x03\0\0\0\x02", b"\0\x03\0\0\0\x64", b"\0\x04\0\0\0\x0a",
                               b"\0\x04\0\x0f\0\0", b"\0\x05\0\0\x40\0", b"\0\x05\0\0\x80\0"])),
    st.tuples(st.just("hear"), st.just(6), st.just(0), indices, st.just(0), st.just(b"12345678")),
    st.tuples(st.just("hear"), st.just(8), st.just(0), indices, st.sampled_from([0, 0, 2]),
              st.sampled_from([b"\0\0\0\x01", b"\0\0\xff\xff", b"\x7f\xff\xff\xff"])),
    st.tuples(st.just("hear"), st.just(9), st.just(4), indices, st.just(0), st.just(b"")),
)  # fmt: skip


@settings(bounded, max_examples=examples(1200))
@given(steps=st.lists(played_steps, max_size=30))
def test_a_stream_may_be_opened_late_in_h2(steps: list[tuple[Any, ...]]) -> None:
    """Bytes, streams and errors are the same whether a stream is opened in h2 at once, or when h2
    needs it."""
    late, early = Played(Codec("h2")), Played(Eager("h2"))
    opening = [("hear", 4, 0, 0, 0, b""), ("open", b"GET", True)]
    for step in [*opening, *steps]:
        late.play(step)
        early.play(step)
        assert late.log == early.log
    if late.codec._failed:
        return
    late.codec._open_in_h2()
    assert set(late.codec._h2.streams) == set(early.codec._h2.streams)
    assert late.codec._h2.highest_outbound_stream_id == early.codec._h2.highest_outbound_stream_id


def test_plain_requests_open_no_stream_in_h2() -> None:
    played = Played(Codec("h2"))
    played.play(("hear", 4, 0, 0, 0, b""))
    for _ in range(3):
        played.play(("open", b"GET", True))
        played.play(("hear", 1, 5, -1, 0, b"v"))
    assert played.codec.open_streams == 0
    assert played.codec._h2.highest_outbound_stream_id == 0
    assert played.codec._h2.streams == {}
