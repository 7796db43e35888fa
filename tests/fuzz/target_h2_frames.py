"""HTTP/2 frames from a hostile server: our codec against h2's own client.

Owns: what the two may differ in, and why. Must not know: connections, sockets.

The first byte of an input says how many requests are under way and which of them have a body still
to send; records follow: kind, flags, stream, length, and as many bytes. A kind below 0x20 makes a
frame of that type, RAW puts the bytes on the wire as they are, and ACT lets the client do something
(`_act`). LARGE stands for sixteen times the length, filled up with zeros.

What has to hold
----------------
- Nothing is raised but RemoteProtocolError, and nothing after that but ConnectionNotAvailable.
- What waits is limited: the beginning of one frame, answers to frames (MAX_CONTROL_BACKLOG), the
  unread bytes of each stream (its window). The bytes of each stream add up.
- As long as h2 accepts what came, each of our streams has the status, the bytes and the end that
  h2 gave; where h2 refuses, we have ended the connection or a stream, or have ended it before.

What may differ, and why
------------------------
- h2 ends everything at GOAWAY; streams that the server has accepted go on here (RFC 9113 section
  6.8). h2 ends the connection for malformed fields; here it is the stream (section 8.1.1).
  So h2 is not asked any more once either has happened.
- Our limits of frames that carry nothing, of interim responses and of answers that the server
  does not read are stricter. A connection that ended here need not have ended there.
- White space around a value is trimmed here, since real sites send it, and h2 refuses it.
- A reset with NO_ERROR ends a response well here if its body is as long as its head said.
- The first bit of a WINDOW_UPDATE has no meaning here (RFC 9113 section 6.9), and h2 refuses it.
- h2 refuses some frames by their header; here they are read once they are there as a whole.
- A stream that we have reset is forgotten at once here, and h2 remembers it for a while: what
  comes for it then is counted here, and may be an error there.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from httpcore import ConnectionNotAvailable, RemoteProtocolError
from httpcore._core import h2 as ours
from httpcore._core.h2 import Codec, Stream

Fields = list[tuple[bytes, bytes]]

RAW, ACT, LARGE = 0x20, 0x40, 0x80
MANY = 4  # requests at most

#: Bytes of a stream's window here, and of those taken before it is given back: reached by inputs.
WINDOW, REFILL = 3000, 1000

_HEADER = Struct(">LBL")
_FIELD = [(b"host", b"a.test")]

TOKENS = (
    b"\x04\x00\x00\x00", b"\x01\x04\x01\x01\x88", b"\x01\x05\x01\x01\x88", b"\x00\x01\x01\x05hello",
    b"\x00\x00\x01\x05hello", b"\x88", b"\x89", b"\x8d", b"\x00\x0econtent-length\x015",
    b"\x08\x03103", b"\x03\x00\x01\x04\x00\x00\x00\x08", b"\x03\x00\x01\x04\x00\x00\x00\x00",
    b"\x07\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00", b"\x06\x00\x00\x0812345678",
    b"\x08\x00\x00\x04\x00\x00\x01\x00", b"\x08\x00\x01\x04\x7f\xff\xff\xff",
    b"\x09\x04\x01\x00", b"\x01\x00\x01\x01\x88", b"\x05\x04\x01\x05\x00\x00\x00\x02\x88",
    b"\x04\x00\x00\x06\x00\x04\x00\x00\x00\x00", b"\x04\x00\x00\x06\x00\x03\x00\x00\x00\x01",
    b"\x04\x00\x00\x06\x00\x05\x00\x00\x40\x00", b"\x04\x00\x00\x06\x00\x01\x00\x00\x00\x00",
    b"\x40\x00\x01\x00", b"\x40\x01\x01\x00", b"\x40\x02\x01\x00", b"\x40\x03\x01\x00",
    b"\x40\x04\x01\x00", b"\x80\x00\x01\xa0", b"\x00\x08\x01\x03\x01a\x00",
    b"\x02\x00\x01\x05\0\0\0\0\0",
    b"\x0b\x00\x00\x00", b"\x20\x00\x00\x03\x00\x00\x05", b"\x3f\xe1\x1f",
    b"\x20", b"\x00\x01a\x01b",
    b"\x00\x01A\x01b", b"\x00\x01a\x02 b", b"\x00\nconnection\x01x", b"\x40\x01a\x01b", b"\xbe",
)  # fmt: skip


class Seen:
    """What h2 gave of one stream."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.ended = self.over = False


class Reference:
    """h2's client with the same requests, as long as it says anything of use.

    Attributes:
        speaks: it has not refused anything yet.
        streams: by their numbers.
    """

    def __init__(self) -> None:
        self.speaks = True
        self.streams: dict[int, Seen] = {}
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        codes = h2.settings.SettingCodes
        self.h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                codes.ENABLE_PUSH: 0,
                codes.INITIAL_WINDOW_SIZE: WINDOW,
                codes.MAX_HEADER_LIST_SIZE: ours.MAX_HEADER_LIST,
            },
        )
        self.h2.decoder.max_header_list_size = ours.MAX_HEADER_LIST
        self.h2.initiate_connection()

    def open(self, number: int, method: bytes, end: bool) -> None:
        """Send the head of a request."""
        fields = [
            (b":method", method), (b":scheme", b"https"), (b":path", b"/"),
            (b":authority", b"a.test"),
        ]  # fmt: skip
        self.h2.send_headers(number, fields, end_stream=end)
        self.streams[number] = Seen()

    def receive(self, data: bytes) -> str:
        """Take in what arrived; return why it was refused, or ""."""
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError as exc:
            self.speaks = False
            return str(exc) or type(exc).__name__
        for event in events:
            self._take(event)
        return ""

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self.speaks = False
        seen = self.streams.get(getattr(event, "stream_id", None) or 0)
        if seen is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            status = dict(event.headers)[b":status"]
            seen.status = int(status) if status.isdigit() else -1
        elif isinstance(event, h2.events.DataReceived):
            seen.body += event.data
        elif isinstance(event, h2.events.StreamEnded):
            seen.ended = True
        elif isinstance(event, h2.events.StreamReset):
            seen.over = True


class Client:
    """Our codec and h2's client, driven alike."""

    def __init__(self, first: int) -> None:
        self.codec = Codec("h2")
        self.reference = Reference()
        self.streams: list[Stream] = []
        self.bodies: dict[int, bytes] = {}
        self.closed: set[int] = set()
        self.broken = False
        self.send(b"\0\0\0\4\0\0\0\0\0")  # SETTINGS, so that more than one stream is allowed
        for number in range(1 + first % MANY):
            self.open(bool(first >> 4 & 1 << number))

    def open(self, end: bool) -> None:
        """Send a request in both."""
        method = b"GET" if end else b"POST"
        try:
            head = self.codec.request_head(method, b"https", b"/", _FIELD)
            stream = self.codec.open_stream(head, b"/", end)
        except ConnectionNotAvailable:
            return
        assert not self.broken
        self.streams.append(stream)
        self.bodies[stream.id] = b""
        if self.reference.speaks:
            self.reference.open(stream.id, method, end)

    def send(self, data: bytes, now: float = 0.0) -> None:
        """Let `data` come from the server, and compare."""
        if self.broken:
            return
        open_before = self.codec.open_streams
        try:
            self.codec.receive(data, now)
        except RemoteProtocolError as exc:
            self.broken = True
            self.codec.abandon(exc)
        asked = self.reference.speaks
        refused = self.reference.receive(data) if asked else ""
        waits = len(self.codec._rest) >= _HEADER.size
        reserved = "non-compliant data" in refused and ours.WINDOW_UPDATE in data
        # In trailers it counts for nothing (RFC 9110 section 6.5.1), and h2 reads it all the same.
        trailing = "content-length" in refused and any(stream.status for stream in self.streams)
        # These have no body, whatever length they announce (RFC 9113 section 8.1.1); h2 refuses it.
        bodiless = any(stream.status in (204, 304) for stream in self.streams)
        trailing = trailing or (bodiless and "InvalidBodyLengthError" in refused)
        if refused and not (waits or reserved or trailing) and "whitespace" not in refused:
            failed = any(stream.failure is not None for stream in self.streams)
            assert self.broken or failed or self.closed or open_before == 0, (data, refused)
        self.check()
        if self.broken:
            self.reference.speaks = False
        elif asked and not refused and self.reference.speaks:
            self.compare()
        self.codec.touched.clear()
        self.give_window()

    def give_window(self) -> None:
        """Let the reference open the windows that we have opened."""
        for kind, number, payload in frames(self.codec.data_to_send()):
            if kind == ours.WINDOW_UPDATE and self.reference.speaks:
                increment = int.from_bytes(payload, "big")
                try:
                    self.reference.h2.increment_flow_control_window(increment, number or None)
                except h2.exceptions.ProtocolError:
                    assert number  # a stream that is over there

    def check(self) -> None:
        """Check what is kept, and that the sums are right."""
        codec = self.codec
        assert len(codec._rest) < ours.MAX_FRAME + 9 and not (codec._for_h2 and not self.broken)
        assert codec._backlog <= ours.MAX_CONTROL_BACKLOG or self.broken
        assert codec._window <= ours.CONNECTION_WINDOW
        assert len(codec._h2.streams) <= 2 * len(self.streams) + 2
        for stream in self.streams:
            waits = sum(map(len, stream.parts))
            assert waits <= stream._size
            assert len(stream.informational) <= ours.MAX_INFORMATIONAL
            gone = stream.failure is not None or stream.id in self.closed
            assert gone or waits == stream.buffered, (waits, stream.buffered)
            assert stream.length is None or stream.received <= stream.length or stream.failure
            assert not self.broken or stream.readable or stream.id in self.closed

    def compare(self) -> None:
        """Check that each stream is where it is for h2."""
        for stream in self.streams:
            seen = self.reference.streams[stream.id]
            if stream.id in self.closed:
                continue
            if stream.failure is not None and not seen.over:
                # Ours alone is at its end: a rule that h2 does not have.
                self.reference.speaks = False
                return
            if stream.failure is not None:
                continue
            body = self.bodies[stream.id] + b"".join(stream.parts)
            assert (stream.status or 0, body) == (seen.status, seen.body), (stream.id, seen.status)
            assert stream.ended == (seen.ended or (seen.over and stream.is_whole)), stream.id

    def act(self, what: int, which: int, count: int) -> None:
        """Do what a program does with a stream."""
        if what % 5 == 4:
            self.open(bool(which & 1))
            return
        if not self.streams:
            return
        stream = self.streams[which % len(self.streams)]
        if what % 5 in (0, 1):
            self.bodies[stream.id] += self.codec.take(stream, 64 * count + 1 if what % 5 else 10**6)
        elif what % 5 == 2 and self.codec.is_open(stream):
            self.closed.add(stream.id)
            self.codec.close_stream(stream)
            if self.reference.speaks:
                self.reference.h2.reset_stream(stream.id)
        elif what % 5 == 3 and not stream.sent_all and not self.broken:
            self.upload(stream, count)
        self.give_window()

    def upload(self, stream: Stream, count: int) -> None:
        """Send a part of a body, or its end where `count` is 0, as the windows allow."""
        if not count:
            self.codec.end_request(stream)
            if self.reference.speaks and stream.sent_all:
                self.reference.h2.end_stream(stream.id)
            return
        size = min(count, self.codec.send_window(stream))
        if size:
            self.codec.send_data(stream, bytes(size))
        if size and self.reference.speaks:
            assert size <= self.reference.h2.local_flow_control_window(stream.id)
            self.reference.h2.send_data(stream.id, bytes(size))


def frames(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Give type, stream and payload of each frame, behind the preface if it is there."""
    at = 24 if data.startswith(b"PRI * ") else 0
    while at < len(data):
        head, _, number = _HEADER.unpack_from(data, at)
        start = at + _HEADER.size
        at = start + (head >> 8)
        assert at <= len(data)
        yield head & 0xFF, number, data[start:at]


def records(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Give the records of an input."""
    at = 0
    while at + 4 <= len(data):
        kind, flags, number, length = data[at : at + 4]
        payload = data[at + 4 : at + 4 + length]
        at += 4 + length
        yield kind & ~LARGE, flags, number, payload + bytes(15 * length if kind & LARGE else 0)


def one(data: bytes) -> None:
    """Try one input; see the top of the module."""
    before = ours.STREAM_WINDOW, ours.STREAM_REFILL, ours.LARGEST_WINDOW
    ours.STREAM_WINDOW, ours.STREAM_REFILL, ours.LARGEST_WINDOW = WINDOW, REFILL, 4 * WINDOW
    try:
        _run(data)
    finally:
        ours.STREAM_WINDOW, ours.STREAM_REFILL, ours.LARGEST_WINDOW = before


def _run(data: bytes) -> None:
    if not data:
        return
    client = Client(data[0])
    for kind, flags, number, payload in records(data[1:]):
        if kind & ACT:
            client.act(flags, number, len(payload))
        elif kind & RAW:
            client.send(payload)
        else:
            head = _HEADER.pack(len(payload) << 8 | kind, flags, number)
            client.send(head + payload)
    client.codec.receive_eof()
    client.broken = True
    client.check()
