"""An HTTP/2 server on loopback that can also do what no real server does, frame by frame.

Owns: one connection's bytes, frames and windows, and the notes of what the client did. Must not
know: httpcore, h2, or any other HTTP/2 implementation (header blocks are packed by hpack), so a
mistake shared with the client under test cannot hide.
Sources: RFC 9113, RFC 7541 (by hpack).

`FrameServer(script)` runs `script(link)` in one thread for each connection, and `link` is its end
of it. A script is a straight story of a few verbs::

    def script(link: Link) -> None:
        link.serve(until=lambda: len(link.opened) == 3)  # answers as `routes` says
        link.goaway(last=link.opened[1])
        link.serve()  # until the client goes away

Two kinds of verbs. Those of `Stream` (`respond`, `head`, `write`, `reset`) are what a good server
does, windows heeded. Those of `Link` with a stream's number (`headers`, `data`, `frame`, `send`)
send what they are told to, whatever it is. Nothing blocks in them: bytes go out, and the client's
frames come in, while `run` or one of its relatives `serve`, `flush`, `flood`, `close` is at work.

A client that breaks HTTP/2 ends its connection, and the test, with `ClientMistake`.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import heapq
import json
import math
import re
import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import hpack

from tests.support import PATIENCE
from tests.support.servers import RECV_SIZE, HeaderPairs, Peer, ScriptedServer, pattern, to_bytes

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Kind(enum.IntEnum):
    """Frame types, RFC 9113 section 6."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    ALTSVC = 10  # RFC 7838 section 4


# Flags of frames. END_STREAM and ACK are the same bit, of different types.
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20


class Code(enum.IntEnum):
    """Why a stream or a connection ends, RFC 9113 section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


# Settings by the names that `settings` takes, RFC 9113 section 6.5.2.
SETTINGS = {
    "header_table_size": 1,
    "enable_push": 2,
    "max_concurrent_streams": 3,
    "initial_window_size": 4,
    "max_frame_size": 5,
    "max_header_list_size": 6,
}

DEFAULT_WINDOW = 65535  # bytes, RFC 9113 section 6.9.2
LARGEST_WINDOW = 2**31 - 1  # bytes, section 6.9.1
SMALLEST_FRAME_LIMIT = 16384  # bytes of payload that each side takes, section 4.2
LAST_STREAM_ID = 2**31 - 1
# Bytes waiting to be written above which no more body is cut into frames.
HIGH_WATER = 256 * 1024
# Bytes of a request's body that are kept; past them they are only counted.
BODY_KEPT = 1024 * 1024

# RFC 9113 section 8.2.2; "te" may say "trailers".
CONNECTION_SPECIFIC = {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding"}
CONNECTION_SPECIFIC |= {b"upgrade"}

Fields = Sequence[tuple[bytes, bytes]]
Action = Callable[[], Any]


class ClientMistake(AssertionError):
    """The client broke HTTP/2."""


class Frame(NamedTuple):
    """One frame as it came over the wire. Of DATA the payload is not kept, only its `size`."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes
    size: int

    def __repr__(self) -> str:
        name = Kind(self.kind).name if self.kind in Kind._value2member_map_ else str(self.kind)
        return f"<{name} stream={self.stream_id} flags={self.flags:#x} size={self.size}>"


def encode_frame(kind: int, payload: bytes = b"", flags: int = 0, stream_id: int = 0) -> bytes:
    """The bytes of any frame, right or wrong."""
    length = struct.pack(">L", len(payload))[1:]
    return length + struct.pack(">BBL", kind, flags, stream_id) + payload


def pad(payload: bytes, length: int | None) -> bytes:
    """The payload of a PADDED frame; None leaves it as it is."""
    return payload if length is None else bytes([length]) + payload + bytes(length)


class Stream:
    """One request, and the ways to answer it. Used in its link's thread only.

    Attributes:
        id: its number.
        fields: of the request, as they came, pseudo-headers included.
        body: what came of the request's body, the first `BODY_KEPT` bytes; `received` says how
            many there were.
        ended: the request is complete.
        started: the head of its answer was sent; answered: all of it was.
        on_data: what is called with it after each piece of its body, or None; on_end, when it is
            complete, if not the link's `answer` (which is for streams that have no head yet).
        trailers: of the request.
        reset_by_client: the code of the client's first RST_STREAM, or None.
        closed: it does not count as open any more.
        sent: bytes of body sent, as flow control counts them.
        granted: bytes that the client added to its window.
    """

    def __init__(self, link: Link, stream_id: int, fields: Fields) -> None:
        self.link = link
        self.id = stream_id
        self.fields = fields
        self.body = bytearray()
        self.received = 0
        self.digest = hashlib.sha256()
        self.ended = False
        self.started = False
        self.answered = False
        self.trailers: Fields = []
        self.reset_by_client: int | None = None
        self.closed = False
        self.sent = 0
        self.granted = 0
        self.on_data: Callable[[Stream], object] | None = None
        self.on_end: Callable[[Stream], object] | None = None
        # How much we may send, and how much the client may.
        self.window = link.initial_window
        self.their_window = link.their_initial_window
        self._pieces: deque[memoryview] = deque()
        self._ending = False
        self._trailers: HeaderPairs | None = None

    def __repr__(self) -> str:
        return f"<Stream {self.id} {self.method} {self.path}>"

    def header(self, name: str) -> bytes | None:
        """The first value of that name (pseudo-headers: ":path"); None when there is none."""
        wanted = name.encode()
        return next((value for key, value in self.fields if key == wanted), None)

    @property
    def method(self) -> str:
        return (self.header(":method") or b"").decode("latin-1")

    @property
    def path(self) -> str:
        return (self.header(":path") or b"").decode("latin-1")

    # --- a good server's verbs ---

    def respond(
        self,
        status: int = 200,
        body: bytes = b"",
        headers: HeaderPairs = (),
        trailers: HeaderPairs | None = None,
    ) -> None:
        """Send a whole answer, with a content-length."""
        bare = self.method == "HEAD" or (not body and trailers is None)
        length = [] if status == 204 else [("content-length", str(len(body)))]
        self.head(status, [*headers, *length], end=bare)
        if not bare:
            self.write(body, end=True, trailers=trailers)

    def head(self, status: int = 200, headers: HeaderPairs = (), *, end: bool = False) -> None:
        """Send the head of an answer. It repeats the request's ``x-nonce`` and says the number of
        the connection in ``x-connection``."""
        fields = [(":status", str(status)), *headers, ("x-connection", str(self.link.number))]
        nonce = self.header("x-nonce")
        if nonce is not None:
            fields.append(("x-nonce", nonce))
        self.started = True
        self.link.headers(self.id, fields, end=end)

    def write(self, data: bytes, *, end: bool = False, trailers: HeaderPairs | None = None) -> None:
        """Queue a piece of the body; it goes out as the client's windows allow."""
        if data:
            self._pieces.append(memoryview(data))
        self._ending = end
        self._trailers = trailers
        self.link.unsent[self.id] = self

    def reset(self, code: int = Code.CANCEL) -> None:
        self.link.reset(self.id, code)

    def cut(self) -> bool:
        """Send one more frame of what is queued; False when there is none, or no window for it."""
        if self._pieces and not self.closed:
            first = self._pieces[0]
            size = min(self.link.frame_size, self.window, self.link.window, len(first))
            if size <= 0:
                return False
            if size == len(first):
                self._pieces.popleft()
            else:
                self._pieces[0] = first[size:]
            end = self._ending and not self._pieces and self._trailers is None
            self.link.data(self.id, bytes(first[:size]), end=end)
            return True
        self.link.unsent.pop(self.id)
        if self._ending and not self.answered and not self.closed:
            if self._trailers is None:
                self.link.data(self.id, b"", end=True)
            else:
                self.link.headers(self.id, self._trailers, end=True)
        return False


class Link:
    """The server's end of one HTTP/2 connection. Used by the one thread that runs its script;
    other threads may look at its notes, and `call`.

    Notes of what the client did:
        frames: every frame in order; `seen(kind)` picks some.
        opened: the streams' numbers in the order in which their HEADERS came.
        streams: all of them by number, answered ones too.
        open: how many are open now; `peak`, how many were at most.
        goaway_received: (last stream, code, debug data) of the client's GOAWAY, or None.
        settings_received: what the client has set, by name.
        ignored: those that came above the last stream of our GOAWAY; they get no answer.
        pongs: payloads of its PINGs' acknowledgements, in order.
        granted: bytes that the client added to the connection's window.
        gone: the client has closed.

    To be changed by scripts:
        answer: what is called with a stream as soon as its request is complete.
        on_head: what is called with it already when its HEADERS have come.
        frame_size: bytes of body in a DATA frame, at most.
        split: bytes in one write (TLS: record), at most; None for as many as there are.
        refill: whether the client's windows are made whole as soon as it used them.
        answer_pings, answer_settings: whether to acknowledge them.
        reading: False leaves the client's bytes to the kernel, until its buffers are full.
    """

    def __init__(self, peer: Peer, server: FrameServer) -> None:
        self.peer = peer
        self.server = server
        self.number = peer.number
        self.frames: list[Frame] = []
        self.opened: list[int] = []
        self.streams: dict[int, Stream] = {}
        self.open = self.peak = 0
        self.goaway_received: tuple[int, int, bytes] | None = None
        self.settings_received: dict[str, int] = {}
        self.ignored: list[int] = []
        self.pongs: list[bytes] = []
        self.granted = 0
        self.gone = False
        self.answer: Callable[[Stream], object] = routes
        self.on_head: Callable[[Stream], object] = routes_of_heads
        self.frame_size = SMALLEST_FRAME_LIMIT
        self.split: int | None = None
        self.refill = self.answer_pings = self.answer_settings = self.reading = True
        # What we may send: on the connection, and on a new stream.
        self.window = self.initial_window = DEFAULT_WINDOW
        # What the client may: the same, and what we have said since without an ACK so far.
        self.their_window = self.their_initial_window = DEFAULT_WINDOW
        self.limit: float = float("inf")  # of open streams, as acknowledged
        self._unacknowledged: deque[dict[int, int]] = deque()
        self.unsent: dict[int, Stream] = {}
        self._last_allowed = LAST_STREAM_ID
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder(max_header_list_size=2**24)
        self._block: Frame | None = None  # HEADERS that lack END_HEADERS
        self._in = bytearray()
        self._more = False  # than was read at once; over TLS the kernel does not say so
        self._preface = False
        self._out = bytearray()
        self._mute = False  # writing failed
        self._timers: list[tuple[float, int, Action]] = []
        self._calls: deque[tuple[Action, Future[Any]]] = deque()
        self._over = False
        self._waker, self._woken = socket.socketpair()
        peer.sock.setblocking(False)

    def __repr__(self) -> str:
        return f"<Link {self.number} of {self.server.url}, {self.open} open streams>"

    def seen(self, kind: int, stream_id: int | None = None) -> list[Frame]:
        """The client's frames of that kind; on that stream."""
        return [
            frame
            for frame in list(self.frames)
            if frame.kind == kind and stream_id in (None, frame.stream_id)
        ]

    def forget(self) -> None:
        """Drop the notes of what is over, as long runs do. Only while the client is at rest."""
        self.frames.clear()
        self.streams = {n: stream for n, stream in self.streams.items() if not stream.closed}
        self.frames.append(Frame(Kind.SETTINGS, 0, 0, b"", 0))  # it has begun

    # --- at work ---

    def serve(
        self,
        answer: Callable[[Stream], object] | None = None,
        *,
        on_head: Callable[[Stream], object] | None = None,
        until: Callable[[], object] | None = None,
    ) -> bool:
        """Answer requests until `until()` holds, which is tried after each frame, or until the
        client has gone. Whether it is still there."""
        self.answer = answer or self.answer
        self.on_head = on_head or self.on_head
        return self.run(until)

    def run(self, until: Callable[[], object] | None = None) -> bool:
        """As `serve`, with whatever was said there before."""
        while True:
            while self._take_frame():
                if until is not None and until():
                    return True
            self.server.tell()
            if until is not None and until():
                return True
            if self.gone:
                return False
            self._turn()

    def flush(self) -> bool:
        """Work until all is written that windows allow. Whether the client is still there."""
        return self.run(lambda: not self._out and not self._cut_bodies())

    def flood(self, pieces: Iterable[bytes]) -> int:
        """Send all of them, or until the client goes; how many that was, about."""
        count = 0
        for piece in pieces:
            if self._mute or self.gone:
                break
            self.send(piece)
            count += 1
            if len(self._out) > HIGH_WATER:
                self.run(lambda: not self._out)
        self.flush()
        return count

    def sleep(self, seconds: float) -> bool:
        """Work for that long. Whether the client is still there."""
        end: list[bool] = []
        self.later(seconds, lambda: end.append(True))
        return self.run(lambda: end)

    def later(self, seconds: float, action: Action) -> None:
        """Do it then, in this thread."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, id(action), action))

    def call(self, action: Action, *, wait: bool = True) -> Any:
        """From any other thread: do it in the link's; its result, or None without `wait`.

        With it, raises what `action` raises, and ConnectionError when the link's script has ended.
        """
        future: Future[Any] = Future()
        self._calls.append((action, future))
        with contextlib.suppress(OSError):  # it has just ended
            self._waker.send(b"x")
        if self._over:
            self._refuse_calls()
        return future.result(PATIENCE) if wait else None

    def close(self) -> None:
        """Send what there is and an end of the stream, then wait until the client closes too."""
        self.flush()
        with contextlib.suppress(OSError):
            self.peer.shutdown_write()
        self.run()

    def abort(self) -> None:
        """Close with a TCP reset."""
        self.peer.reset()
        self.gone = self._mute = True
        self._out.clear()

    def end(self) -> None:
        """Called once, when the script has ended."""
        self._over = self.gone = True
        self._waker.close()
        self._woken.close()
        self._refuse_calls()

    def _refuse_calls(self) -> None:
        while self._calls:
            self._calls.popleft()[1].set_exception(ConnectionError("the script has ended"))

    # --- saying whatever it is ---

    def send(self, data: bytes) -> None:
        """Those bytes."""
        if not self._mute:
            self._out += data

    def frame(self, kind: int, payload: bytes = b"", flags: int = 0, stream_id: int = 0) -> None:
        self.send(encode_frame(kind, payload, flags, stream_id))

    def settings(self, numbered: dict[int, int] | None = None, /, **values: int) -> None:
        """By number, or by name, see `SETTINGS`. What becomes tighter holds from the client's ACK
        on."""
        said = {**(numbered or {}), **{SETTINGS[name]: value for name, value in values.items()}}
        self._unacknowledged.append(said)
        self.frame(Kind.SETTINGS, b"".join(struct.pack(">HL", *item) for item in said.items()))

    def ping(self, payload: bytes = b"12345678") -> None:
        self.frame(Kind.PING, payload)

    def goaway(
        self, last: int | None = None, code: int = Code.NO_ERROR, debug: bytes = b""
    ) -> None:
        """`last`: by default that of the newest stream. Streams above it, also those that are
        there, get no answer."""
        if last is None:
            last = self.opened[-1] if self.opened else 0
        self._last_allowed = min(self._last_allowed, last)
        for stream in self.streams.values():
            if stream.id > last:
                self._close(stream)
        self.frame(Kind.GOAWAY, struct.pack(">LL", last, code) + debug)

    def reset(self, stream_id: int, code: int = Code.CANCEL) -> None:
        self.frame(Kind.RST_STREAM, struct.pack(">L", code), 0, stream_id)
        if stream_id in self.streams:
            self._close(self.streams[stream_id])

    def window_update(self, stream_id: int, increment: int) -> None:
        self.frame(Kind.WINDOW_UPDATE, struct.pack(">L", increment), 0, stream_id)
        if stream_id == 0:
            self.their_window += increment
        elif stream_id in self.streams:
            self.streams[stream_id].their_window += increment

    def headers(
        self,
        stream_id: int,
        fields: HeaderPairs,
        *,
        end: bool = False,
        padding: int | None = None,
        parts: int = 1,
    ) -> None:
        """Any fields, in any order and case; `parts` above 1 makes CONTINUATION frames."""
        block = self.pack(fields)
        size = max(1, -(-len(block) // parts))
        blocks = [block[at : at + size] for at in range(0, len(block), size)] or [b""]
        flags = (END_STREAM if end else 0) | (PADDED if padding is not None else 0)
        for number, piece in enumerate(blocks):
            last = END_HEADERS if number == len(blocks) - 1 else 0
            if number == 0:
                self.frame(Kind.HEADERS, pad(piece, padding), flags | last, stream_id)
            else:
                self.frame(Kind.CONTINUATION, piece, last, stream_id)
        if end:
            self._end_answer(stream_id)

    def pack(self, fields: HeaderPairs) -> bytes:
        """A header block, to be sent before any other one."""
        block: bytes = self._encoder.encode([(to_bytes(k), to_bytes(v)) for k, v in fields])
        return block

    def data(
        self, stream_id: int, data: bytes = b"", *, end: bool = False, padding: int | None = None
    ) -> None:
        """One DATA frame at once, whatever the windows say."""
        payload = pad(data, padding)
        flags = (END_STREAM if end else 0) | (PADDED if padding is not None else 0)
        self.frame(Kind.DATA, payload, flags, stream_id)
        self.window -= len(payload)
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.window -= len(payload)
            stream.sent += len(payload)
        if end:
            self._end_answer(stream_id)

    def _end_answer(self, stream_id: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.answered = True
            if stream.ended:
                self._close(stream)

    def _close(self, stream: Stream) -> None:
        if not stream.closed:
            stream.closed = True
            self.open -= 1

    # --- one turn: wait, write, read ---

    def _turn(self) -> None:
        now = time.monotonic()
        acted = False  # what an action has changed is looked at before the next wait
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
            acted = True
        busy = self._cut_bodies() or bool(self._out)
        self._write()
        if busy and not self._out:
            wait: float | None = 0.0  # there may be more to send
        elif self._more or acted:
            wait = 0.0
        else:
            wait = max(0.0, self._timers[0][0] - now) if self._timers else None
        if self._wait(wait):
            self._read()
        while self._calls:
            action, future = self._calls.popleft()
            try:
                future.set_result(action())
            except BaseException as exc:
                future.set_exception(exc)

    def _cut_bodies(self) -> bool:
        """Make DATA frames of what is queued; whether there were any to be made."""
        made = False
        moved = True
        while moved and len(self._out) < HIGH_WATER:
            moved = False
            for stream in list(self.unsent.values()):  # one frame each, so that all get on
                moved |= stream.cut()
            made |= moved
        return made

    def _write(self) -> None:
        while self._out:
            piece = bytes(self._out[: self.split or HIGH_WATER])
            try:
                sent = self.peer.sock.send(piece)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                # What the client said before it left can still be read.
                self._mute = True
                self._out.clear()
                return
            del self._out[:sent]

    def _wait(self, seconds: float | None) -> bool:
        """Wait until something can be done; whether to read."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        events = select.POLLIN if self.reading else 0
        poll.register(self.peer.sock, events | (select.POLLOUT if self._out else 0))
        ready = dict(poll.poll(None if seconds is None else math.ceil(seconds * 1000)))
        if self._woken.fileno() in ready:
            self._woken.recv(4096)
        told = ready.get(self.peer.sock.fileno(), 0)
        if not self.reading:
            # Both directions are shut: the server stops.
            self.gone = self.gone or bool(told & (select.POLLHUP | select.POLLERR))
            return False
        return self._more or bool(told & ~select.POLLOUT)

    def _read(self) -> None:
        self._more = False
        for _ in range(64):  # then its frames are taken
            try:
                data = self.peer.sock.recv(RECV_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                data = b""
            if not data:
                self.gone = True
                return
            self._in += data
        self._more = True

    # --- what the client says ---

    def _take_frame(self) -> bool:
        """Act on the next frame, if there is a whole one."""
        if not self._preface:
            start = bytes(self._in[: len(PREFACE)])
            self._insist(PREFACE.startswith(start), f"begins with {start!r}")
            if len(start) < len(PREFACE):
                return False
            del self._in[: len(PREFACE)]
            self._preface = True
        if len(self._in) < 9:
            return False
        length = int.from_bytes(self._in[:3], "big")
        if len(self._in) < 9 + length:
            return False
        kind, flags, stream_id = struct.unpack(">BBL", self._in[3:9])
        payload = bytes(self._in[9 : 9 + length])
        del self._in[: 9 + length]
        frame = Frame(kind, flags, stream_id & LAST_STREAM_ID, payload, length)
        self._insist(self.frames or kind == Kind.SETTINGS, f"its first frame is {frame}")
        self.frames.append(frame if kind != Kind.DATA else frame._replace(payload=b""))
        self._insist(length <= SMALLEST_FRAME_LIMIT, f"{frame} is larger than allowed")
        self._insist((self._block is None) == (kind != Kind.CONTINUATION), f"{frame} in between")
        take = _TAKERS.get(kind)
        self._insist(take is not None, f"sent {frame}")
        assert take is not None
        take(self, frame)
        return True

    def _insist(self, fact: object, otherwise: str) -> None:
        if not fact:
            raise ClientMistake(f"the client of {self}: {otherwise}")

    def _take_settings(self, frame: Frame) -> None:
        self._insist(frame.stream_id == 0 and frame.size % 6 == 0, f"sent a broken {frame}")
        if frame.flags & ACK:
            self._insist(self._unacknowledged and not frame.size, "acknowledges no SETTINGS")
            self._apply(self._unacknowledged.popleft())
            return
        names = {number: name for name, number in SETTINGS.items()}
        for number, value in struct.iter_unpack(">HL", frame.payload):
            name = names.get(number, str(number))
            self.settings_received[name] = value
            if name == "initial_window_size":
                self._insist(value <= LARGEST_WINDOW, f"sets a window of {value}")
                for stream in self.streams.values():
                    stream.window += value - self.initial_window
                self.initial_window = value
            elif name == "header_table_size":
                self._encoder.header_table_size = min(value, 4096)
        if self.answer_settings:
            self.frame(Kind.SETTINGS, b"", ACK)

    def _apply(self, ours: dict[int, int]) -> None:
        """The client has acknowledged these settings of ours."""
        self.limit = ours.get(SETTINGS["max_concurrent_streams"], self.limit)
        window = ours.get(SETTINGS["initial_window_size"], self.their_initial_window)
        for stream in self.streams.values():
            stream.their_window += window - self.their_initial_window
        self.their_initial_window = window
        self._decoder.max_allowed_table_size = ours.get(SETTINGS["header_table_size"], 4096)

    def _take_ping(self, frame: Frame) -> None:
        self._insist(frame.stream_id == 0 and frame.size == 8, f"sent a broken {frame}")
        if frame.flags & ACK:
            self.pongs.append(frame.payload)
        elif self.answer_pings:
            self.frame(Kind.PING, frame.payload, ACK)

    def _take_goaway(self, frame: Frame) -> None:
        last, code = struct.unpack(">LL", frame.payload[:8])
        self.goaway_received = (last, code, frame.payload[8:])

    def _take_window_update(self, frame: Frame) -> None:
        (increment,) = struct.unpack(">L", frame.payload)
        self._insist(increment > 0, f"adds nothing to the window of stream {frame.stream_id}")
        if frame.stream_id == 0:
            self.granted += increment
            self.window += increment
            self._insist(self.window <= LARGEST_WINDOW, "grants too large a window")
            return
        stream = self._known(frame)
        stream.granted += increment
        stream.window += increment
        self._insist(stream.window <= LARGEST_WINDOW, f"grants too large a window to {stream}")

    def _take_reset(self, frame: Frame) -> None:
        stream = self._known(frame)
        if stream.reset_by_client is None:
            (stream.reset_by_client,) = struct.unpack(">L", frame.payload)
        self._close(stream)

    def _known(self, frame: Frame) -> Stream:
        self._insist(frame.stream_id in self.streams, f"sent {frame} for a stream that is idle")
        return self.streams[frame.stream_id]

    def _take_priority(self, frame: Frame) -> None:
        self._insist(frame.stream_id and frame.size == 5, f"sent a broken {frame}")

    def _take_data(self, frame: Frame) -> None:
        stream = self._known(frame)
        data = _unpadded(frame)
        self.their_window -= frame.size
        self._insist(self.their_window >= 0, f"sent {frame} past the connection's window")
        if self.refill and frame.size:
            self.window_update(0, frame.size)
        if stream.closed:
            return  # sent before our RST_STREAM or GOAWAY was there
        self._insist(not stream.ended, f"sent {frame} after the end of it")
        stream.their_window -= frame.size
        self._insist(stream.their_window >= 0, f"sent {frame} past the stream's window")
        if self.refill and frame.size and not frame.flags & END_STREAM:
            self.window_update(stream.id, frame.size)
        stream.received += len(data)
        stream.digest.update(data)
        stream.body += data[: max(0, BODY_KEPT - len(stream.body))]
        if frame.flags & END_STREAM:
            self._end_request(stream)
        elif stream.on_data is not None:
            stream.on_data(stream)

    def _take_headers(self, frame: Frame) -> None:
        block = _unpadded(frame)[5 if frame.flags & PRIORITIZED else 0 :]
        self._block = frame._replace(payload=block)
        if frame.flags & END_HEADERS:
            self._take_block()

    def _take_continuation(self, frame: Frame) -> None:
        assert self._block is not None
        self._insist(frame.stream_id == self._block.stream_id, f"sent {frame} in between")
        self._block = self._block._replace(payload=self._block.payload + frame.payload)
        if frame.flags & END_HEADERS:
            self._take_block()

    def _take_block(self) -> None:
        assert self._block is not None
        frame, self._block = self._block, None
        fields = [(bytes(k), bytes(v)) for k, v in self._decoder.decode(frame.payload, raw=True)]
        stream = self.streams.get(frame.stream_id)
        if stream is None:
            self._open(frame, fields)
            return
        self._insist(frame.flags & END_STREAM, f"sent {frame} in the middle of {stream}")
        self._insist(not stream.ended or stream.closed, f"sent {frame} after the end of it")
        stream.trailers = fields
        if not stream.closed:
            self._end_request(stream)

    def _open(self, frame: Frame, fields: Fields) -> None:
        self._insist(frame.stream_id % 2 == 1, f"opens a stream with {frame}")
        newest = self.opened[-1] if self.opened else -1
        self._insist(frame.stream_id > newest, f"opens a stream with {frame} after {newest}")
        self._check_request(frame.stream_id, fields)
        stream = Stream(self, frame.stream_id, fields)
        self.streams[stream.id] = stream
        self.opened.append(stream.id)
        if stream.id > self._last_allowed:
            stream.closed = True
            self.ignored.append(stream.id)
            return
        self.open += 1
        self.peak = max(self.peak, self.open)
        self._insist(self.open <= self.limit, f"has {self.open} streams open, not {self.limit}")
        self.on_head(stream)
        if frame.flags & END_STREAM:
            self._end_request(stream)

    def _check_request(self, stream_id: int, fields: Fields) -> None:
        """RFC 9113 section 8.2 and 8.3."""
        names = [name for name, _ in fields]
        pseudo = [name for name in names if name.startswith(b":")]
        what = f"stream {stream_id}, {fields}"
        self._insist(names[: len(pseudo)] == pseudo, f"pseudo-headers are not first in {what}")
        required = {b":method", b":scheme", b":path"}
        self._insist(required <= set(pseudo), f"pseudo-headers are missing in {what}")
        self._insist(set(pseudo) <= required | {b":authority"}, f"unknown ones in {what}")
        self._insist(len(pseudo) == len(set(pseudo)), f"twice the same in {what}")
        for name, value in fields:
            self._insist(name and name == name.lower(), f"a bad name in {what}")
            self._insist(name not in CONNECTION_SPECIFIC, f"{name!r} in {what}")
            self._insist(name != b"te" or value == b"trailers", f"a bad TE in {what}")
            bad = value != value.strip(b" \t") or any(c in value for c in b"\r\n\0")
            self._insist(not bad, f"a bad value in {what}")

    def _end_request(self, stream: Stream) -> None:
        stream.ended = True
        length = stream.header("content-length")
        self._insist(
            length is None or int(length) == stream.received,
            f"announced {length!r} bytes and sent {stream.received} on {stream}",
        )
        if stream.answered:
            self._close(stream)
        elif stream.on_end is not None:
            stream.on_end(stream)
        elif not stream.started and not stream.closed:
            self.answer(stream)


def _unpadded(frame: Frame) -> bytes:
    if not frame.flags & PADDED:
        return frame.payload
    return frame.payload[1 : frame.size - frame.payload[0]]


_TAKERS: dict[int, Callable[[Link, Frame], None]] = {
    Kind.DATA: Link._take_data,
    Kind.HEADERS: Link._take_headers,
    Kind.PRIORITY: Link._take_priority,
    Kind.RST_STREAM: Link._take_reset,
    Kind.SETTINGS: Link._take_settings,
    Kind.PING: Link._take_ping,
    Kind.GOAWAY: Link._take_goaway,
    Kind.WINDOW_UPDATE: Link._take_window_update,
    Kind.CONTINUATION: Link._take_continuation,
}


# --- answers of a good server ---


def routes(stream: Stream) -> None:
    """What complete requests get by default. Each answer repeats the request's ``x-nonce`` and
    says the number of the connection in ``x-connection``.

    ====================  =====================================================================
    ``/``                 a short text
    ``/echo``             JSON: method, path, headers, body (latin-1)
    ``/bytes/N``          `pattern(N)`
    ``/drip/N?delay=S``   N frames of one byte, S seconds apart (default 0.01)
    ``/upload``           JSON: length and sha256 of the body
    ``/early/N``          413 once N bytes of the body have come, then RST_STREAM(NO_ERROR);
                          no more of it may come than the windows allow by then
    ``/status/N``         that status, body "status N"
    ``/hold``             nothing, until a script or `Link.call` says something
    ====================  =====================================================================
    """
    path = stream.path.partition("?")[0]
    for route, method in ROUTES:
        if found := route.fullmatch(path):
            method(stream, *found.groups())
            return
    stream.respond(404, b"no such route: " + path.encode("latin-1"))


def routes_of_heads(stream: Stream) -> None:
    """What requests get by default before their body has come: the part of ``/early/N``."""
    if found := re.fullmatch(r"/early/(\d+)", stream.path):
        limit = int(found[1])
        stream.on_data = lambda stream: _refuse(stream) if stream.received >= limit else None


def _refuse(stream: Stream) -> None:
    body = b"too large"
    stream.head(413, [("content-length", str(len(body)))])
    stream.link.data(stream.id, body, end=True)  # at once: it has to be out before the reset
    stream.reset(Code.NO_ERROR)


def _index(stream: Stream) -> None:
    stream.respond(200, b"hello over HTTP/2\n", [("content-type", "text/plain")])


def _echo(stream: Stream) -> None:
    told = {
        "method": stream.method,
        "path": stream.path,
        "headers": [[k.decode("latin-1"), v.decode("latin-1")] for k, v in stream.fields],
        "body": stream.body.decode("latin-1"),
    }
    stream.respond(200, json.dumps(told).encode(), [("content-type", "application/json")])


def _bytes(stream: Stream, length: str) -> None:
    stream.respond(200, stream.link.server.body(int(length)))


def _drip(stream: Stream, length: str) -> None:
    query = re.search(r"\?delay=([\d.]+)", stream.path)
    delay = float(query[1]) if query else 0.01
    total = int(length)
    stream.head()

    def drop(at: int) -> None:
        stream.write(pattern(1, at), end=at == total - 1)
        if at < total - 1 and not stream.closed:
            stream.link.later(delay, lambda: drop(at + 1))

    drop(0)


def _upload(stream: Stream) -> None:
    told = {"length": stream.received, "sha256": stream.digest.hexdigest()}
    stream.respond(200, json.dumps(told).encode(), [("content-type", "application/json")])


def _status(stream: Stream, code: str) -> None:
    bodiless = code in ("204", "304")
    stream.respond(int(code), b"" if bodiless else f"status {code}".encode())


def _hold(stream: Stream) -> None:
    pass


ROUTES: list[tuple[re.Pattern[str], Callable[..., None]]] = [
    (re.compile(text), method)
    for text, method in [
        (r"/", _index),
        (r"/echo", _echo),
        (r"/bytes/(\d+)", _bytes),
        (r"/drip/(\d+)", _drip),
        (r"/upload|/early/\d+", _upload),
        (r"/status/(\d{3})", _status),
        (r"/hold", _hold),
    ]
]


class FrameServer(ScriptedServer):
    """Runs `script(link)` for each connection, by default `Link.serve`. Also over TLS, where the
    context has to offer "h2".

    Parameters: `settings`, what is said first, by name (see `SETTINGS`; None: nothing is said,
    which no client has to accept); the others are those of `ScriptedServer`.

    `links` has one entry for each connection that was accepted; `wait_for(condition)` tries the
    condition again after each frame too.
    """

    def __init__(
        self,
        script: Callable[[Link], object] = Link.serve,
        *,
        settings: dict[str, int] | None = {},  # noqa: B006 -- never changed
        **options: Any,
    ) -> None:
        super().__init__(self._converse, **options)
        self.script = script
        self.settings = settings
        self.links: list[Link] = []
        self._bodies: dict[int, bytes] = {}

    def __enter__(self) -> FrameServer:
        self.start()
        return self

    @property
    def link(self) -> Link:
        """The only one."""
        (link,) = self.links
        return link

    def wait_for_link(self, number: int = 1) -> Link:
        """The `number`-th, from 1, as soon as it is there."""
        assert self.wait_for(lambda: len(self.links) >= number, PATIENCE)
        return self.links[number - 1]

    def tell(self) -> None:
        """Let who waits in `wait_for` look again."""
        with self._changed:
            self._changed.notify_all()

    def body(self, length: int) -> bytes:
        """`pattern(length)`, made once."""
        if length not in self._bodies:
            self._bodies[length] = pattern(length)
        return self._bodies[length]

    def _converse(self, peer: Peer) -> None:
        link = Link(peer, self)
        with self._changed:
            self.links.append(link)
            self._changed.notify_all()
        try:
            if self.settings is not None:
                link.settings(**self.settings)
            self.script(link)
            link.flush()
        finally:
            link.end()


#: The fixture `serve_h2`.
ServeH2 = Callable[..., FrameServer]
