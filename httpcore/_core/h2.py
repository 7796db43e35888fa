"""The HTTP/2 client codec: requests in, bytes out; bytes in, responses out.

Owns: the streams of one connection, both directions of flow control, which frames end what, and
what a request that failed says about itself (may it be sent again?).
Must not know: sockets, clocks, locks, pools, URLs, content encodings.
Sources: RFC 9113 (HTTP/2), RFC 7541 (header compression), RFC 9110 (fields); for the floods
CVE-2019-9511 to 9518, CVE-2023-44487 and CVE-2024-27316.

Who does what
-------------
*h2* keeps the connection's rules: it reads header blocks, answers SETTINGS and PING, keeps the
states of streams and the windows into which we send. Four things are done here:

- HEADERS frames of requests, whose blocks `h2_request` writes. A stream is opened in h2 only when
  h2 needs it: before it sees a frame from the server, and before the stream has a body to
  send or is reset. Most streams are gone by then.
- DATA frames that arrive, and the windows for them. A long body is thousands of frames, and each
  costs h2 twenty microseconds; here it costs about one. h2 never sees them, nor the plain HEADERS
  frames of responses; a stream that has ended is taken out of its table.
- GOAWAY. h2 takes it for the end of everything; but the streams that the server has accepted go
  on (RFC 9113 section 6.8).
- Header fields. What h2 would end the connection for ends one stream here (RFC 9113 section
  8.1.1), and white space around a value, which real sites send, is trimmed. h2 gets to see
  only ``:method`` and ``:status``; a tap on its decoder has the rest.

A header block that is padded, in pieces, or of a stream that is gone goes to h2. While one is under
way (HEADERS without END_HEADERS), every frame does: anything but CONTINUATION is an error then, and
h2 says so.

Flow control
------------
The server may send STREAM_WINDOW bytes on a stream that nobody reads, and no more: window is given
back as the *reader* takes bytes, and grows to LARGEST_WINDOW while the reader takes all of them.
The connection's window is given back as bytes *arrive*. So an unread stream costs at most its
own window, and never holds up another one.

Nothing here is thread-safe: the shell calls under one lock. Each call either changes nothing, or
leaves what is to be sent in `data_to_send`, in order.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hpack import OversizedHeaderListError

from .._exceptions import (
    MAYBE_PROCESSED,
    NOT_SENT,
    RESPONSE_STARTED,
    ConnectionNotAvailable,
    IncompleteBody,
    NetworkError,
    ProtocolError,
    RemoteProtocolError,
    ServerDisconnected,
    explained,
    with_text,
)
from .._redact import redact_target, redact_text, shown_name
from ..rules import BODYLESS
from .greetings import explain_start
from .h2_request import CONNECTION_SPECIFIC, NAMES, Headers, HeadWriter, RequestHead, join_values
from .hpack import CODERS, ENGINE, HeaderDecoder, KnownBlock
from .limits import MAX_FIELDS

_HeadersEvent = (
    h2.events.ResponseReceived
    | h2.events.InformationalResponseReceived
    | h2.events.TrailersReceived
)

STREAM_WINDOW = 16 * 1024 * 1024
"""Bytes that may be under way on one stream. A connection is as fast as its window per round
trip: this is 1 Gbit/s over 130 ms. It is also the memory that one unread response may take."""

LARGEST_WINDOW = 64 * 1024 * 1024
"""Bytes to which the window of a stream grows, doubling, while its reader waits for the network and
not the network for its reader: 10 Gbit/s over 50 ms."""

STREAM_REFILL = 1024 * 1024
"""Bytes taken by the reader before their window is given back: rarely enough to cost nothing,
often enough that nearly all of the window stays open."""

CONNECTION_WINDOW = 2**30
"""Bytes that may be under way on all streams together, given back as they arrive. It is not a
limit, only large enough that the server never waits for us in between."""

CONNECTION_REFILL = CONNECTION_WINDOW // 2

MAX_FRAME = 16384
"""Bytes of payload in one frame from the server: the default, and the least that may be allowed
(RFC 9113 section 4.2). A TLS record holds as much; larger frames arrive later, not faster."""

MAX_HEADER_LIST = 128 * 1024
"""Bytes of one header section, each field counted with 32 bytes more (RFC 9113 section 6.5.2).
As HTTP/1.1 heads are limited here, with room for what that counting adds."""

MAX_INFORMATIONAL = 64
"""Interim (1xx) responses before the final one, as for HTTP/1.1."""

MAX_STREAMS = 250
"""Requests at once on one connection, where the server sets no limit or a higher one. Go's
servers allow as many; what a connection carries beyond is no gain, and each costs memory."""

MAX_STREAM_ID = 2**31 - 1

CONTROL_BURST = 1000
"""Frames that carry nothing (SETTINGS, PING, empty DATA, resets of what is gone...) that may come
at once. A busy server sends a handful a second; a flood is tens of thousands."""

CONTROL_RATE = 100.0
"""Frames a second by which that allowance recovers."""

CONTROL_PER_REQUEST = 10
"""Frames by which it recovers with each request: some responses have an empty DATA frame, window
updates, and a reset at their end, and a busy connection has thousands of them a second."""

SENT_PER_UPDATE = 512
"""Bytes that we have sent for each WINDOW_UPDATE or PING that does not count as such a frame.
Servers give window back on the stream and on the connection, some as they read, 4 KiB at a time;
grpc-go measures the path with one PING after the other while it receives a body."""

MAX_UPDATES_DUE = 32768
"""How many such frames may still come: two for each 4 KiB of 64 MiB under way."""

MAX_CONTROL_BACKLOG = 256 * 1024
"""Bytes of answers to the server's frames that wait to be sent, because it does not read."""

SMALL_PART = 1024
"""Bytes. Payloads below are collected: a body in frames of one byte would otherwise take forty
times its size."""

COLLECT_UP_TO = 16384
"""Bytes to which they are collected."""

# Frame types and flags, RFC 9113 section 6.
DATA, HEADERS, RST_STREAM, PUSH_PROMISE = 0x0, 0x1, 0x3, 0x5
SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0x4, 0x6, 0x7, 0x8, 0x9
ACK, END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

_FRAME_HEADER = Struct(">LBL")  # length and type in one, flags, stream
_FRAME_SIZE = 9  # bytes of a frame's header
_read_frame_header = _FRAME_HEADER.unpack_from
_GOAWAY = Struct(">LL")  # last stream, error code
_SETTING = 6  # bytes: an identifier of two, a value of four
_SETTINGS_KNOWN = frozenset(int(code).to_bytes(2, "big") for code in h2.settings.SettingCodes)

_NO_ERROR = int(h2.errors.ErrorCodes.NO_ERROR)
_REFUSED_STREAM = int(h2.errors.ErrorCodes.REFUSED_STREAM)
_UNUSUAL = END_HEADERS | PADDED | PRIORITY  # flags of which a plain HEADERS frame has the first

_are_response_names = re.compile(rb":status" + NAMES).fullmatch
_are_names = re.compile(NAMES).fullmatch
_find_outer_space = re.compile(rb"(?:^|\n)[ \t]|[ \t](?:\n|$)").search
_is_status = re.compile(rb"[1-9][0-9][0-9]").fullmatch


class Stream:
    """One request and its response.

    Attributes:
        id: odd, ascending.
        method, target: of the request, for texts.
        status, headers: of the final response; None and empty until it came.
        informational: interim responses that the shell has not taken yet.
        ended: the server has sent all of its response.
        sent_all: we have sent all of the request.
        trailers: the fields after the body.
        failure: what ended it otherwise; to be raised by whoever uses the stream.
        received: payload bytes that arrived.
        taken: payload bytes that the reader has.
        length: bytes that the head announced, or None.
        owner: free for the shell.
        excess: nothing: what follows belongs to other streams. As the readers of HTTP/1.1.
        doubtful: False, as theirs: frames say where a body ends.
    """

    __slots__ = (
        "_informed",
        "_owed",
        "_size",
        "_window",
        "ended",
        "failure",
        "headers",
        "id",
        "informational",
        "length",
        "method",
        "owner",
        "parts",
        "received",
        "sent_all",
        "status",
        "taken",
        "target",
        "trailers",
    )

    excess = b""
    doubtful = False

    def __init__(self, number: int, method: bytes, target: bytes) -> None:
        self.id = number
        self.method = method
        self.target = target
        self.status: int | None = None
        self.headers: Headers = []
        self.informational: list[tuple[int, Headers]] = []
        self.ended = False
        self.sent_all = False
        self.trailers: Headers = []
        self.owner: Any = None
        self.failure: NetworkError | ProtocolError | None = None
        self.received = 0
        self.taken = 0
        self.length: int | None = None
        self._informed = 0  # interim responses so far
        self.parts: deque[bytes | bytearray] = deque()
        self._size = STREAM_WINDOW  # bytes that may be under way or unread
        self._window = STREAM_WINDOW  # bytes that the server may still send
        self._owed = 0  # bytes taken whose window was not given back yet

    @property
    def readable(self) -> bool:
        """Whether a reader need not wait: there are bytes, or there will be no more."""
        return bool(self.parts) or self.ended or self.failure is not None

    @property
    def is_whole(self) -> bool:
        """Whether the response has arrived, as far as its head said how long it is: the frame that
        ends the stream may be waiting for the end of the request."""
        if self.ended or self.status is None:
            return self.ended
        return self.length is not None and self.received >= self.length

    @property
    def done(self) -> bool:
        """Whether the reader has the whole body."""
        return self.ended and not self.parts

    @property
    def buffered(self) -> int:
        """Bytes that arrived and were not taken."""
        return self.received - self.taken

    @property
    def remaining(self) -> int | None:
        """Bytes of the body that the reader does not have; None when nobody knows."""
        if self.ended:
            return self.received - self.taken
        return None if self.length is None else self.length - self.taken

    def describe(self) -> str:
        """Method and target, for error texts."""
        text = b"%b %b" % (self.method, redact_target(self.target))
        return text.decode("ascii", "backslashreplace")

    def feed(self, data: bytes) -> bytes:
        """Give the payload in `data`, which is all of it: the frames are off already."""
        return data

    def took(self, count: int) -> None:
        """Nothing: what was taken is counted when it is."""

    def feed_eof(self) -> None:
        """Nothing: a stream that ended too early says so when it is read."""


class StatusOnlyDecoder:
    """Stands in front of the decoder: keeps what it decoded, and shows h2 the status alone."""

    __slots__ = ("_decoder", "block")

    def __init__(self, decoder: HeaderDecoder) -> None:
        self._decoder = decoder
        self.block: list[tuple[bytes, bytes]] = []

    def decode(self, data: bytes, raw: bool = False) -> list[tuple[bytes, bytes]]:
        self.block = block = self._decoder.decode(data, raw=True)
        return block[:1] if block and block[0][0] == b":status" else []


class Codec:
    """The client's side of one HTTP/2 connection.

    Parameters:
        engine: whose header compression it uses, one of `_hpack.CODERS`.

    Attributes:
        max_streams: how many streams the server allows at once; 1 until it said so.
        settled: the server's SETTINGS arrived.
        draining: why no new stream can be opened any more, or "".
        touched: streams to which something happened in `receive`; the shell empties it.
        widened: more may be sent or opened than before, on any stream; the shell clears it.
        pongs: answers to our PINGs so far.
        request_head: reads a request's fields for `open_stream`; for any thread, see `HeadWriter`.
        changes: goes up when `max_streams` or `draining` changes.
        out: pieces of what has to be sent, in order; `data_to_send` takes them.
    """

    def __init__(self, engine: str = ENGINE) -> None:
        self.max_streams = 1
        self.settled = False
        self.draining = ""
        self.touched: list[Stream] = []
        self.widened = False
        self.pongs = 0
        self.changes = 0
        self._streams: dict[int, Stream] = {}
        self._next_id = 1
        self._first_unopened = 1  # the number of the first stream that is not open in h2
        self._updates_due = 0  # WINDOW_UPDATE and PING frames that what we have sent may bring
        self._failed = False
        self._stray = 0  # bytes of DATA that may still come for streams that are gone
        self._window = CONNECTION_WINDOW
        self._rest = b""  # the beginning of a frame
        self._in_block = False  # between HEADERS and END_HEADERS
        self._for_h2: list[bytes] = []  # frames that h2 has not received yet
        self._allowance = float(CONTROL_BURST)
        self._counted_at = 0.0  # seconds; when the allowance was last looked at
        self.out: list[bytes] = []
        self._backlog = 0  # bytes in `out` that answer frames of the server
        self._h2 = self._make_h2()
        new_encoder, new_decoder = CODERS[engine]
        self._decoder = new_decoder()
        self._decoder.max_header_list_size = MAX_HEADER_LIST
        self._tap = self._h2.decoder = StatusOnlyDecoder(self._decoder)
        self._writer = self._h2.encoder = HeadWriter(new_encoder())
        self.request_head = self._writer.read
        self._h2.initiate_connection()
        self._collect()
        self._send_window_update(0, CONNECTION_WINDOW - 65535)

    def _make_h2(self) -> Any:
        # Fields are checked here, in both directions.
        connection = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        codes = h2.settings.SettingCodes
        # Replaced, not updated: an update would be a second SETTINGS frame.
        connection.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                codes.ENABLE_PUSH: 0,
                codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                codes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST,
            },
        )
        # Known to few servers, and some close over it.
        del connection.local_settings[codes.ENABLE_CONNECT_PROTOCOL]
        return connection

    # What the shell asks

    @property
    def open_streams(self) -> int:
        """Return how many streams are not at their end."""
        return len(self._streams)

    @property
    def streams(self) -> list[Stream]:
        """The streams that are not at their end, the oldest first."""
        return list(self._streams.values())

    def is_open(self, stream: Stream) -> bool:
        """Whether `stream` still counts at the server."""
        return self._streams.get(stream.id) is stream

    def data_to_send(self) -> bytes:
        """All that has to be sent, in this order; it is the caller's from now on."""
        out = self.out
        self._backlog = 0
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    def _collect(self) -> None:
        """Take over what h2 has written, so that there is one order of everything."""
        data = self._h2.data_to_send()
        if data:
            self.out.append(data)

    # Sending

    def open_stream(self, head: RequestHead, target: bytes, end: bool) -> Stream:
        """Begin a request: number, header block and their order on the wire are one step.

        Parameters:
            head: as `request_head` makes it.
            target: for texts.
            end: the request has no body.

        Raises:
            ConnectionNotAvailable: no more streams on this connection, now or ever.
        """
        if self.draining or self._failed:
            raise ConnectionNotAvailable(f"no new streams here: {self.draining or 'it broke'}")
        if len(self._streams) >= self.max_streams:
            raise ConnectionNotAvailable(f"all of {self.max_streams} streams are in use")
        number = self._next_id
        if number > MAX_STREAM_ID:
            self.drain("its stream numbers are used up")
            raise ConnectionNotAvailable(self.draining)
        block = self._writer.write(head)
        if len(block) <= MAX_FRAME:  # which every server takes
            flags = END_HEADERS | END_STREAM if end else END_HEADERS
            self.out.append(_FRAME_HEADER.pack(len(block) << 8 | HEADERS, flags, number) + block)
        else:
            self._send_in_pieces(block, number, end)
        self._next_id = number + 2
        stream = Stream(number, head.known.method, target)
        stream.sent_all = end
        self._streams[number] = stream
        self._allowance = min(self._allowance + CONTROL_PER_REQUEST, CONTROL_BURST)
        return stream

    def _send_in_pieces(self, block: bytes, number: int, end: bool) -> None:
        """Send a header block that may be too large for one frame (RFC 9113 section 6.10)."""
        size: int = self._h2.max_outbound_frame_size
        kind, flags = HEADERS, END_STREAM if end else 0
        for start in range(0, len(block), size):
            piece = block[start : start + size]
            if start + size >= len(block):
                flags |= END_HEADERS
            self.out.append(_FRAME_HEADER.pack(len(piece) << 8 | kind, flags, number) + piece)
            kind, flags = CONTINUATION, 0

    def _open_in_h2(self) -> None:
        """Open in h2 the streams that were opened here since the last call: those that are still
        open, and the one of the highest number, by which h2 sees which ones have ended.

        A stream is the same to h2 now as it would have been when it was opened: h2 sees neither
        the heads nor the bodies of responses, and every frame that it does see comes after this.
        """
        if self._first_unopened == self._next_id or self._failed:
            return
        self._collect()
        unopened = [
            stream for stream in self._streams.values() if stream.id >= self._first_unopened
        ]
        for stream in unopened:
            fields = [(b":method", stream.method)]
            self._h2.send_headers(stream.id, fields, end_stream=stream.sent_all)
        last = self._next_id - 2
        if last not in self._streams:
            self._h2.send_headers(last, [(b":method", b"GET")], end_stream=True)
            del self._h2.streams[last]
        self._first_unopened = self._next_id
        self._h2.clear_outbound_data_buffer()  # it was sent long ago

    def send_window(self, stream: Stream) -> int:
        """Bytes of the body that may be sent now, at most one frame; 0 for a stream that ended."""
        if not self.is_open(stream):
            return 0
        if stream.id >= self._first_unopened:
            self._open_in_h2()
        window: int = self._h2.local_flow_control_window(stream.id)
        frame: int = self._h2.max_outbound_frame_size
        return max(0, min(window, frame))

    def send_data(self, stream: Stream, data: bytes, end: bool = False) -> None:
        """Send `data`, no more than `send_window` says, as one frame."""
        self._open_in_h2()
        self._h2.send_data(stream.id, data, end_stream=end)
        self._collect()
        due = self._updates_due + 2 + len(data) // SENT_PER_UPDATE
        self._updates_due = min(due, MAX_UPDATES_DUE)
        if end:
            self._sent_all(stream)

    def end_request(self, stream: Stream) -> None:
        """The request is complete; a stream that has ended already needs not be told."""
        if self.is_open(stream) and not stream.sent_all:
            self._open_in_h2()
            self._h2.end_stream(stream.id)
            self._collect()
            self._sent_all(stream)

    def _sent_all(self, stream: Stream) -> None:
        stream.sent_all = True
        if stream.ended:
            self._forget(stream)

    def end_stream(self, stream: Stream) -> None:
        """End a stream whose response `is_whole`, and whose request will not be sent to its end.
        What has arrived can still be read."""
        if self.is_open(stream):
            stream.ended = True
            self._reset(stream, h2.errors.ErrorCodes.CANCEL)

    def close_stream(self, stream: Stream) -> None:
        """End a stream of which nobody wants more; one that has ended is left alone."""
        if self.is_open(stream):
            self._reset(stream, h2.errors.ErrorCodes.CANCEL)
            stream.parts.clear()

    def ping(self, data: bytes) -> None:
        """Ask for a sign of life: eight bytes, that come back."""
        if not self._failed:
            self._h2.ping(data)
            self._collect()

    def say_goodbye(self) -> None:
        """Tell the server that the connection ends here (RFC 9113 section 6.8)."""
        if not self._failed:
            self._failed = True
            self._h2.close_connection()
            self._collect()

    def _reset(self, stream: Stream, code: int, quietly: bool = False) -> None:
        """End a stream, before its end. What is under way on it must not end the connection.

        Parameters:
            quietly: the server has given it up, and is not told.
        """
        self._open_in_h2()
        self._collect()
        try:
            self._h2.reset_stream(stream.id, code)
        except h2.exceptions.ProtocolError:
            pass  # to h2 it had ended already
        else:
            if quietly:
                self._h2.clear_outbound_data_buffer()
            self._collect()
        self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        """This stream does not count any more, here or there. What may be under way on it is no
        more than its window, and of all streams no more than the connection's."""
        self._streams.pop(stream.id, None)
        self._stray = min(self._stray + stream._window, CONNECTION_WINDOW)
        if stream.id >= self._first_unopened:
            return
        at_h2 = self._h2.streams.get(stream.id)
        if at_h2 is not None and not at_h2.closed:
            # What h2 has closed it remembers until it sweeps: frames may still be under way.
            del self._h2.streams[stream.id]

    # Reading

    def take(self, stream: Stream, limit: int) -> bytes:
        """Payload that arrived, at most `limit` bytes; its window goes back to the server."""
        parts = stream.parts
        if not parts:
            return b""
        data = parts.popleft()
        if len(data) > limit:
            parts.appendleft(data[limit:])
            data = data[:limit]
        elif parts:
            pieces = [data]
            size = len(data)
            while parts and size + len(parts[0]) <= limit:
                size += len(parts[0])
                pieces.append(parts.popleft())
            data = b"".join(pieces)
        self._credit(stream, len(data))
        return data if type(data) is bytes else bytes(data)

    def take_into(self, stream: Stream, view: memoryview) -> int:
        """As `take`, into `view`; returns how many bytes."""
        parts = stream.parts
        position, size = 0, len(view)
        while parts and position < size:
            part = parts.popleft()
            end = position + len(part)
            if end > size:
                cut = size - position
                parts.appendleft(part[cut:])
                part, end = part[:cut], size
            view[position:end] = part
            position = end
        self._credit(stream, position)
        return position

    def _credit(self, stream: Stream, count: int) -> None:
        stream.taken += count
        stream._owed += count
        if stream._owed < STREAM_REFILL or not self.is_open(stream) or stream.ended:
            return
        if stream.length is not None and stream.length - stream.received <= stream._window:
            return  # all that is to come fits
        increment = stream._owed
        if not stream.parts and stream._size < LARGEST_WINDOW:
            increment += stream._size
            stream._size *= 2
        self._send_window_update(stream.id, increment)
        stream._window += increment
        stream._owed = 0

    def _send_window_update(self, number: int, increment: int) -> None:
        self.out.append(
            _FRAME_HEADER.pack(4 << 8 | WINDOW_UPDATE, 0, number) + increment.to_bytes(4, "big")
        )

    # Receiving

    def take_rest(self) -> bytes:
        """Return what `receive` was given that is no whole frame. A caller that joins pieces puts
        it in front of them, and so saves `receive` a copy."""
        rest, self._rest = self._rest, b""
        return rest

    def receive(self, data: bytes, now: float) -> None:
        """Take in what arrived.

        Parameters:
            data: bytes from the server, in any pieces.
            now: seconds, by any clock that only goes forward.

        Raises:
            RemoteProtocolError: the server broke HTTP/2. The connection is of no use any more;
                `data_to_send` has a last word for it.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position, end = 0, len(data)
        backlog = len(self.out)
        streams, touched = self._streams, self.touched
        try:
            while end - position >= _FRAME_SIZE:
                head, flags, number = _read_frame_header(data, position)
                start = position + _FRAME_SIZE
                stop = start + (head >> 8)
                if stop - start > MAX_FRAME:
                    raise self._overlong(data, stop - start)
                if stop > end:
                    break
                kind = head & 0xFF
                if kind == DATA and not self._in_block:
                    stream = streams.get(number)
                    size = stop - start
                    # A piece from the middle of a long body, which most frames are: in a few lines
                    # what `_receive_data` does with it.
                    if (
                        not flags
                        and stream is not None
                        and size >= SMALL_PART
                        and stream.status is not None
                        and not stream.ended
                        and size <= stream._window
                        and (stream.length is None or stream.received + size <= stream.length)
                        and self._window - size >= CONNECTION_REFILL
                    ):
                        self._window -= size
                        stream._window -= size
                        stream.received += size
                        stream.parts.append(data[start:stop])
                        touched.append(stream)
                        position = stop
                        continue
                    self._receive_data(data, start, stop, flags, number & MAX_STREAM_ID, now)
                elif kind == HEADERS and not self._in_block:
                    self._receive_headers(data[position:stop], flags, number & MAX_STREAM_ID, now)
                elif kind == GOAWAY and not self._in_block:
                    self._receive_goaway(data[start:stop], number & MAX_STREAM_ID, now)
                else:
                    self._receive_control(
                        data[position:stop], kind, flags, number & MAX_STREAM_ID, now
                    )
                position = stop
            if self._for_h2:
                self._tell_h2(now)
        except h2.exceptions.ProtocolError as exc:
            self._collect()
            raise self._broken(_explain_h2(exc)) from exc
        if position < end:
            self._rest = data[position:]
            if not self.settled and self._rest[0]:
                # The first byte of SETTINGS is 0, as in every frame of at most MAX_FRAME bytes.
                # A server of another protocol may send no more than a short line and wait.
                raise self._overlong(self._rest, MAX_FRAME + 1)
        if len(self.out) > backlog:
            self._check_backlog(backlog)

    def _check_backlog(self, since: int) -> None:
        """The server must read the answers that it makes us write."""
        self._backlog += sum(map(len, self.out[since:]))
        if self._backlog > MAX_CONTROL_BACKLOG:
            self._terminate(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            raise self._broken(
                f"it does not read: {self._backlog} bytes of answers to its frames wait "
                f"(the limit is {MAX_CONTROL_BACKLOG})"
            )

    def _overlong(self, data: bytes, size: int) -> RemoteProtocolError:
        if not self.settled:  # with HTTP/1.1, or something else, in place of SETTINGS
            return self._broken(explain_start(data, "HTTP/2"))
        self._terminate(h2.errors.ErrorCodes.FRAME_SIZE_ERROR)
        return self._broken(f"a frame of {size} bytes (the limit is {MAX_FRAME})")

    def _broken(self, what: str) -> RemoteProtocolError:
        """The end of the connection, and of all its streams."""
        self._failed = True
        return RemoteProtocolError(f"the server broke HTTP/2: {what}")

    def _charge(self, now: float, what: str) -> None:
        """Count a frame that carries nothing; too many of them are an attack."""
        allowance = self._allowance + (now - self._counted_at) * CONTROL_RATE
        self._allowance = min(allowance, CONTROL_BURST) - 1
        self._counted_at = now
        if self._allowance < 0:
            self._terminate(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            raise self._broken(
                f"a flood of frames that carry nothing, the last one {what} "
                f"(the limit is {CONTROL_BURST} at once and {CONTROL_RATE:g} a second)"
            )

    def _terminate(self, code: int) -> None:
        if not self._failed:
            self._failed = True
            self._h2.close_connection(code)
            self._collect()

    # DATA, RFC 9113 section 6.1

    def _receive_data(
        self, data: bytes, start: int, stop: int, flags: int, number: int, now: float
    ) -> None:
        size = stop - start
        stream = self._streams.get(number)
        self._window -= size
        if self._window < CONNECTION_REFILL:
            self._refill()
        if flags & PADDED:  # of whatever stream it is
            start, stop = self._strip(data, start, stop)
        if stream is None or stream.ended or stream.status is None:
            self._receive_stray_data(stream, size, number, now)
            return
        stream._window -= size
        if stream._window < 0:
            self._terminate(h2.errors.ErrorCodes.FLOW_CONTROL_ERROR)
            raise self._broken(
                f"more than {stream._size} bytes on stream {number} before any was read"
            )
        count = stop - start
        stream._owed += size - count  # the padding, which no reader takes
        if count:
            stream.received += count
            if stream.length is not None and stream.received > stream.length:
                self._refuse(stream, _explain_excess(stream))
                return
            self._keep(stream, data[start:stop])
            self.touched.append(stream)
        elif not flags & END_STREAM:
            self._charge(now, "empty DATA")
            self._credit(stream, 0)  # padding: there is nothing to be read that gives it back
        if flags & END_STREAM:
            self._end(stream)

    def _refill(self) -> None:
        if self._window < 0:
            self._terminate(h2.errors.ErrorCodes.FLOW_CONTROL_ERROR)
            raise self._broken(f"more than {CONNECTION_WINDOW} bytes at once")
        self._send_window_update(0, CONNECTION_WINDOW - self._window)
        self._window = CONNECTION_WINDOW

    def _receive_stray_data(
        self, stream: Stream | None, size: int, number: int, now: float
    ) -> None:
        """DATA where there should be none."""
        if stream is not None:
            self._refuse(stream, "DATA after its end" if stream.ended else "DATA before its head")
            return
        self._check_opened(number, "DATA")
        # We have reset it, and this was under way. It counts for the connection alone.
        self._stray -= size
        if self._stray < 0:
            self._terminate(h2.errors.ErrorCodes.FLOW_CONTROL_ERROR)
            raise self._broken("more DATA on streams that are gone than their windows allowed")
        if not size:
            self._charge(now, "empty DATA of a stream that is gone")

    def _check_opened(self, number: int, what: str) -> None:
        """A frame of no open stream: of one that is gone, or of one that never was?"""
        if not number & 1 or number >= self._next_id:
            self._terminate(h2.errors.ErrorCodes.PROTOCOL_ERROR)
            raise self._broken(f"{what} on stream {number}, which was never opened")

    def _strip(self, data: bytes, start: int, stop: int) -> tuple[int, int]:
        """Return where the payload of a padded frame is."""
        if start == stop or data[start] > stop - start - 1:
            self._terminate(h2.errors.ErrorCodes.PROTOCOL_ERROR)
            raise self._broken("padding that is longer than its frame")
        return start + 1, stop - data[start]

    def _keep(self, stream: Stream, part: bytes) -> None:
        parts = stream.parts
        last = parts[-1] if parts else None
        if last is None or len(part) >= SMALL_PART or len(last) >= COLLECT_UP_TO:
            parts.append(part)
        elif type(last) is bytearray:
            last += part
        elif len(last) >= SMALL_PART:
            parts.append(part)
        else:
            parts[-1] = bytearray(last) + part

    def _end(self, stream: Stream) -> None:
        """The server has said all."""
        self.touched.append(stream)
        if stream.length is not None and stream.received < stream.length:
            if stream.sent_all:
                self._forget(stream)
            else:
                self._reset(stream, h2.errors.ErrorCodes.CANCEL)
            stream.failure = IncompleteBody(
                f"the server ended the response to {stream.describe()} after {stream.received} "
                f"of {stream.length} body bytes",
                stream.received,
                stream.length,
            )
            return
        stream.ended = True
        if stream.sent_all:
            self._forget(stream)

    # HEADERS, RFC 9113 sections 6.2 and 8.1

    def _receive_headers(self, frame: bytes, flags: int, number: int, now: float) -> None:
        stream = self._streams.get(number)
        if stream is None:
            self._check_opened(number, "HEADERS")
            self._charge(now, "HEADERS of a stream that is gone")
        if stream is None or flags & _UNUSUAL != END_HEADERS:
            self._in_block = not flags & END_HEADERS
            self._for_h2.append(frame)
            self._tell_h2(now)
            return
        try:
            block = self._decoder.decode(frame[_FRAME_SIZE:], raw=True)
        except Exception as exc:  # h2 knows more than one kind, too
            large = isinstance(exc, OversizedHeaderListError)
            codes = h2.errors.ErrorCodes
            self._terminate(codes.ENHANCE_YOUR_CALM if large else codes.COMPRESSION_ERROR)
            raise self._broken(f"a header block that cannot be read: {exc}") from exc
        self._receive_block(stream, block, bool(flags & END_STREAM))

    def _receive_block(self, stream: Stream, block: Headers, end: bool) -> None:
        """A header block is complete: an interim response, the head of the final one, or
        trailers."""
        try:
            if stream.ended:
                raise RemoteProtocolError("HEADERS after its end")
            if stream.status is not None:
                if not end:
                    raise RemoteProtocolError("trailers that do not end it")
                stream.trailers = read_fields(block)
            else:
                if type(block) is not KnownBlock:
                    status, headers = read_head(block)
                else:  # the same bytes as before, which was read already
                    block.head = block.head or read_head(block)
                    status, headers = block.head
                    headers = list(headers)  # the caller's from now on
                if status >= 200:
                    stream.length = body_length(stream.method, status, headers)
                    stream.headers, stream.status = headers, status
                elif end or status == 101:
                    raise RemoteProtocolError(f"an interim response {status} that cannot be")
                else:
                    self._receive_informational(stream, status, headers)
        except RemoteProtocolError as exc:
            self._refuse(stream, str(exc))
            return
        self.touched.append(stream)
        if end:
            self._end(stream)

    def _receive_informational(self, stream: Stream, status: int, headers: Headers) -> None:
        stream._informed += 1
        if stream._informed > MAX_INFORMATIONAL:
            raise RemoteProtocolError(f"more than {MAX_INFORMATIONAL} interim responses")
        stream.informational.append((status, headers))

    # Everything else

    def _receive_control(
        self, frame: bytes, kind: int, flags: int, number: int, now: float
    ) -> None:
        if kind == SETTINGS and not flags & ACK:
            frame = _without_unknown(frame)
        elif kind == WINDOW_UPDATE and frame[_FRAME_SIZE:] >= b"\x80":
            # The first bit has no meaning (RFC 9113 section 6.9), and h2 would refuse it.
            first = frame[_FRAME_SIZE] & 0x7F
            frame = frame[:_FRAME_SIZE] + bytes([first]) + frame[_FRAME_SIZE + 1 :]
        self._for_h2.append(frame)
        if kind in (CONTINUATION, PUSH_PROMISE):
            self._in_block = not flags & END_HEADERS
            self._tell_h2(now)
        elif kind in (WINDOW_UPDATE, PING) and self._updates_due > 0:
            self._updates_due -= 1
        elif kind == RST_STREAM and number in self._streams:
            # At once: no frame behind it is this stream's. There are no more of these than of our
            # requests, so they are no flood.
            self._tell_h2(now)
        else:
            if kind == RST_STREAM and not self._in_block:
                self._check_opened(number, "RST_STREAM")
            self._charge(now, f"of type {kind}")

    def _tell_h2(self, now: float) -> None:
        self._open_in_h2()
        data = b"".join(self._for_h2)
        self._for_h2.clear()
        for event in self._h2.receive_data(data):
            react = _REACTIONS.get(type(event))
            if react is not None:
                react(self, event, now)
        self._collect()

    def _on_headers(self, event: _HeadersEvent, now: float) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            end = getattr(event, "stream_ended", None) is not None
            self._receive_block(stream, self._tap.block, end)

    def _on_reset(self, event: h2.events.StreamReset, now: float) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        self._forget(stream)
        self.touched.append(stream)
        code = int(event.error_code)
        if code == _NO_ERROR and stream.is_whole:
            stream.ended = True
        if stream.ended:
            return  # RFC 9113 section 8.1: it only wants no more of the request
        failure = RemoteProtocolError(
            f"the stream of {stream.describe()} was reset: {error_name(code)}"
        )
        failure.phase = self._phase(stream)
        if code == _REFUSED_STREAM and stream.status is None:
            failure.phase = NOT_SENT  # RFC 9113 section 8.7
        stream.failure = failure

    def _on_settings(self, event: object, now: float) -> None:
        self.settled = True
        self.max_streams = min(self._h2.remote_settings.max_concurrent_streams, MAX_STREAMS)
        self.widened = True
        self.changes += 1

    def _on_window(self, event: object, now: float) -> None:
        self.widened = True

    def _on_pong(self, event: object, now: float) -> None:
        self.pongs += 1

    def _refuse(self, stream: Stream, what: str) -> None:
        """End one stream because of what the server sent on it."""
        failure = RemoteProtocolError(
            f"the server broke HTTP/2 in the response to {stream.describe()}: {what}"
        )
        failure.phase = RESPONSE_STARTED
        stream.failure = failure
        stream.parts.clear()
        self.touched.append(stream)
        self._reset(stream, h2.errors.ErrorCodes.PROTOCOL_ERROR)

    @staticmethod
    def _phase(stream: Stream) -> str:
        return MAYBE_PROCESSED if stream.status is None else RESPONSE_STARTED

    # The end

    def drain(self, reason: str) -> None:
        """Open no more streams; those that are open go on."""
        if not self.draining:
            self.draining = reason
            self.changes += 1

    def _receive_goaway(self, payload: bytes, number: int, now: float) -> None:
        """No new streams; those above the last one that the server has accepted were not processed,
        and can be sent again elsewhere (RFC 9113 section 6.8)."""
        self._charge(now, "GOAWAY")
        if number:
            self._terminate(h2.errors.ErrorCodes.PROTOCOL_ERROR)
            raise self._broken(f"GOAWAY on stream {number}, not on the connection")
        if len(payload) < _GOAWAY.size:
            self._terminate(h2.errors.ErrorCodes.FRAME_SIZE_ERROR)
            raise self._broken("a GOAWAY frame that is too short")
        last, code = _GOAWAY.unpack_from(payload)
        last &= MAX_STREAM_ID
        reason = f"the server is going away ({error_name(code)})"
        if len(payload) > _GOAWAY.size:
            said = redact_text(payload[_GOAWAY.size :][:200].decode("latin-1"))
            reason += f", saying {said.encode('latin-1')!r}"
        self.draining = ""  # the newest one counts
        self.drain(reason)
        self.widened = True
        for stream in self.streams:
            if stream.id > last:
                stream.failure = _explain_goaway(stream, reason)
                self.touched.append(stream)
                self._reset(stream, h2.errors.ErrorCodes.CANCEL, quietly=True)

    def receive_eof(self) -> None:
        """The server has closed the connection: what is not complete will never be."""
        reason = f" ({self.draining})" if self.draining else ""
        self.drain("the server closed the connection")
        self.widened = True
        for stream in self.streams:
            self._forget(stream)
            self.touched.append(stream)
            if stream.ended:
                continue
            if stream.status is None:
                stream.failure = explained(
                    ServerDisconnected("Server disconnected"),
                    f"the server closed the connection before any byte of the answer to "
                    f"{stream.describe()}{reason}; the request may have been processed",
                )
            else:
                of = "" if stream.length is None else f" of {stream.length}"
                stream.failure = IncompleteBody(
                    f"the server closed the connection{reason} after {stream.received}{of} bytes "
                    f"of the answer to {stream.describe()}",
                    stream.received,
                    stream.length,
                )

    @property
    def failed(self) -> bool:
        """Whether the connection is broken: nothing that is read makes a difference any more."""
        return self._failed

    def abandon(self, exc: NetworkError | ProtocolError) -> None:
        """The connection is broken, and why: no stream will get any further."""
        self._failed = True
        self.drain(str(exc))
        self.widened = True
        for stream in self.streams:
            self._forget(stream)
            self.touched.append(stream)
            if not stream.ended:
                failure = with_text(exc, f"{exc} ({stream.describe()} was under way)")
                failure.phase = self._phase(stream)
                stream.failure = failure


_REACTIONS: dict[type, Any] = {
    h2.events.ResponseReceived: Codec._on_headers,
    h2.events.InformationalResponseReceived: Codec._on_headers,
    h2.events.TrailersReceived: Codec._on_headers,
    h2.events.StreamReset: Codec._on_reset,
    h2.events.RemoteSettingsChanged: Codec._on_settings,
    h2.events.WindowUpdated: Codec._on_window,
    h2.events.PingAckReceived: Codec._on_pong,
}


# ---------------------------------------------------------------------------------------------
# Fields


def read_head(block: Headers) -> tuple[int, Headers]:
    """Status and fields of a decoded response head (RFC 9113 section 8.3.2), checked and trimmed.

    Raises:
        RemoteProtocolError: it is malformed (RFC 9113 section 8.2); says how.
    """
    if not block or block[0][0] != b":status":
        raise RemoteProtocolError("a head that does not begin with :status")
    status = bytes(block[0][1])
    if _is_status(status) is None:
        raise RemoteProtocolError(f"a malformed status, {status[:20]!r}")
    return int(status), _read_block(block, _are_response_names)[1:]


def read_fields(block: Headers) -> Headers:
    """The fields of a decoded block without pseudo-headers; raises as `read_head`."""
    if not block:
        return []
    return _read_block([(b"", b""), *block], _are_names)[1:]


def _read_block(block: Headers, are_names: Callable[[bytes], object]) -> Headers:
    if len(block) > MAX_FIELDS + 1:  # the first one is :status, or stands for it
        raise RemoteProtocolError(
            f"{len(block) - 1} header fields, and no more than {MAX_FIELDS} are read: does the "
            "server, or a proxy before it, repeat one without end?"
        )
    names, values = zip(*block, strict=True)
    lines = b"\n".join(names)
    if are_names(lines) is None or lines.count(b"\n") != len(names) - 1:
        bad = next(n for n in names[1:] if b"\n" in n or _are_names(b"\n" + n) is None)
        if bad[:1] == b":":
            raise RemoteProtocolError(f"the pseudo-header {shown_name(bad[1:])} where none may be")
        raise RemoteProtocolError(f"a malformed field name, {shown_name(bad)}")
    lines = join_values(values, RemoteProtocolError)
    if not CONNECTION_SPECIFIC.isdisjoint(names):
        name = next(filter(CONNECTION_SPECIFIC.__contains__, names))
        raise RemoteProtocolError(f"{name.decode()}, a field of HTTP/1.1 connections")
    if _find_outer_space(lines) is not None:
        return [(name, value.strip(b" \t")) for name, value in block]
    return list(map(tuple, block))  # type: ignore[arg-type]


def body_length(method: bytes, status: int, headers: Headers) -> int | None:
    """Return how many bytes of DATA will come, as far as the head says (RFC 9110 section 8.6)."""
    length = None
    for name, value in headers:
        if name == b"content-length":
            digits = value.lstrip(b"0") or b"0" if value.isdigit() else b""
            if (length is not None and digits != length) or not 1 <= len(digits) <= 20:
                raise RemoteProtocolError(f"a content-length that is none, {value[:40]!r}")
            length = digits
    if method == b"HEAD" or status in BODYLESS:
        return 0
    return None if length is None else int(length)


def _explain_h2(exc: h2.exceptions.ProtocolError) -> str:
    """Return what h2 has found wrong."""
    if isinstance(exc, h2.exceptions.StreamIDTooLowError):
        return f"HEADERS on stream {exc.stream_id}, which has ended"
    text = str(exc) or type(exc).__name__
    return text if exc.__cause__ is None else f"{text}: {exc.__cause__!s:.200}"


def _explain_goaway(stream: Stream, reason: str) -> RemoteProtocolError:
    """Return the failure of a stream above the last one that the server says it has accepted."""
    if stream.status is None:
        failure = RemoteProtocolError(
            f"{reason}: {stream.describe()} was not processed and can be sent again"
        )
        failure.phase = NOT_SENT
        return failure
    failure = RemoteProtocolError(
        f"{reason} and says that {stream.describe()} was not processed, but its response had begun"
    )
    failure.phase = RESPONSE_STARTED
    return failure


def _explain_excess(stream: Stream) -> str:
    """Return what is wrong with DATA beyond the length of the body."""
    if stream.method == b"HEAD" or stream.status in BODYLESS:
        return f"DATA in a response {stream.status} to {stream.method.decode()}, which has no body"
    return f"more than the announced {stream.length} bytes of the body"


def _without_unknown(frame: bytes) -> bytes:
    """A SETTINGS frame with the settings that h2 knows: it would keep any other for ever, and there
    are 65536 (RFC 9113 section 6.5.2: they must be ignored)."""
    payload = frame[_FRAME_SIZE:]
    pairs = [payload[n : n + _SETTING] for n in range(0, len(payload), _SETTING)]
    if not pairs or len(pairs[-1]) < _SETTING:
        return frame  # nothing in it, or a mistake that h2 will find
    known = b"".join([pair for pair in pairs if pair[:2] in _SETTINGS_KNOWN])
    _, flags, number = _read_frame_header(frame)
    return _FRAME_HEADER.pack(len(known) << 8 | SETTINGS, flags, number) + known


def error_name(code: int) -> str:
    """An error code of RFC 9113 section 7 by its name."""
    try:
        return h2.errors.ErrorCodes(code).name
    except ValueError:
        return f"error {code:#x}"
