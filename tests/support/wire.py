"""A network stream whose other end, an HTTP/2 server, is played by a test in the same process.

Owns: what is ready when, how much is taken, and the client's frames as they came. Must not know:
httpcore's private parts, h2. Header blocks are packed and read by hpack.

Nothing happens by itself: a `wait` ends because of what the test has said before, or says from
another thread, or by its timeout, which only moves the wire's own clock. A wait that nothing could
end is a mistake, and says so.
"""

from __future__ import annotations

import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import hpack

import httpcore
from tests.support import PATIENCE
from tests.support.http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PREFACE,
    SETTINGS,
    Code,
    Frame,
    Kind,
    encode_frame,
)

Pairs = Sequence[tuple[str, str]]


class Wire(httpcore.NetworkStream):
    """Has the non-blocking methods of `SyncStream`.

    Parameters:
        answer: called with the wire and a stream's number when a request is complete; by default
            it answers 200 with the body "ok".
        settings: what the server says first; None for nothing.

    Attributes:
        frames: the client's, in order; DATA with its payload.
        requests: the decoded fields by stream.
        bodies: what came of the requests' bodies, by stream.
        resets: codes of the client's RST_STREAM, by stream.
        room: bytes that will be taken; None for any number.
        now: seconds; moved by waits that time out.
        waits: the arguments of each `wait`.
        writes: the size of each write, as far as it was taken.
        info: what `get_extra_info` knows.
        failure: what the next write raises.
        patient: waits last until another thread says something, and timeouts are real.
    """

    def __init__(
        self,
        answer: Callable[[Wire, int], object] | None = None,
        settings: dict[str, int] | None = {},  # noqa: B006 -- never changed
    ) -> None:
        self.answer = answer or Wire.respond
        self.frames: list[Frame] = []
        self.requests: dict[int, list[tuple[bytes, bytes]]] = {}
        self.bodies: dict[int, bytes] = {}
        self.resets: dict[int, int] = {}
        self.room: int | None = None
        self.now = 1000.0
        self.waits: list[tuple[bool, float | None]] = []
        self.writes: list[int] = []
        self.info: dict[str, Any] = {}
        self.failure: BaseException | None = None
        self.closed = False
        self.patient = False
        self.mistakes: list[str] = []
        self._changed = threading.Condition()
        self._incoming: deque[bytes | BaseException] = deque()
        self._woken = False
        self._ended = False
        self._using = threading.Lock()
        self._in = bytearray()
        self._began = False
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        if settings is not None:
            self.settings(**settings)

    # --- what the client calls ---

    def wait(self, write: bool, timeout: float | None) -> bool:
        with self._changed:
            self.waits.append((write, timeout))
            while not self._is_ready(write):
                if timeout is not None and not (self.patient and timeout):
                    self.now += timeout
                    return False
                if self.patient and self._changed.wait(PATIENCE if timeout is None else timeout):
                    continue
                if timeout is not None:
                    return False
                self.mistakes.append("a wait that nothing would end")
                raise AssertionError(self.mistakes[-1])
            self._woken = False
            return True

    def _is_ready(self, write: bool) -> bool:
        if self.closed:
            self.mistakes.append("a wait on what is closed")
            return True
        if self._incoming or self._ended or self._woken:
            return True
        return write and self.room != 0

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def read_ready(self, max_bytes: int) -> bytes | None:
        self._enter("read")
        try:
            if not self._incoming:
                return b"" if self._ended else None
            data = self._incoming.popleft()
            if isinstance(data, BaseException):
                self._ended = self._ended or isinstance(data, Exception)  # as a socket
                raise data
            if len(data) > max_bytes:
                self._incoming.appendleft(data[max_bytes:])
            return data[:max_bytes]
        finally:
            self._using.release()

    def write_ready(self, buffer: bytes | memoryview) -> int:
        self._enter("write")
        try:
            if self.failure is not None:
                raise self.failure
            size = len(buffer) if self.room is None else min(self.room, len(buffer))
            if self.room is not None:
                self.room -= size
            self.writes.append(size)
            self._in += buffer[:size]
        finally:
            self._using.release()
        self._take_frames()
        return size

    def _enter(self, what: str) -> None:
        if not self._using.acquire(blocking=False):
            self.mistakes.append(f"a {what} while another thread used the stream")
            self._using.acquire()
        if self.closed:
            self._using.release()
            if what == "write":
                raise httpcore.WriteError("closed")
            raise httpcore.ReadError("closed")

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        self.end()

    def get_extra_info(self, info: str) -> Any:
        return self.info.get(info)

    # --- what the client said ---

    def _take_frames(self) -> None:
        if not self._began:
            if len(self._in) < len(PREFACE):
                return
            assert self._in.startswith(PREFACE)
            del self._in[: len(PREFACE)]
            self._began = True
        while len(self._in) >= 9:
            size = int.from_bytes(self._in[:3], "big")
            if len(self._in) < 9 + size:
                return
            kind, flags, number = struct.unpack(">BBL", self._in[3:9])
            frame = Frame(kind, flags, number, bytes(self._in[9 : 9 + size]), size)
            del self._in[: 9 + size]
            self.frames.append(frame)
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        number = frame.stream_id
        if frame.kind == Kind.HEADERS:
            assert frame.flags & END_HEADERS
            fields = self._decoder.decode(frame.payload, raw=True)
            self.requests[number] = [(bytes(name), bytes(value)) for name, value in fields]
            self.bodies[number] = b""
        elif frame.kind == Kind.DATA:
            self.bodies[number] += frame.payload
        elif frame.kind == Kind.RST_STREAM:
            (self.resets[number],) = struct.unpack(">L", frame.payload)
        if frame.kind in (Kind.HEADERS, Kind.DATA) and frame.flags & END_STREAM:
            self.answer(self, number)

    def seen(self, *kinds: int) -> list[Frame]:
        """The client's frames of these kinds."""
        return [frame for frame in self.frames if frame.kind in kinds]

    @property
    def opened(self) -> list[int]:
        """The streams' numbers in the order of their HEADERS."""
        return [frame.stream_id for frame in self.seen(Kind.HEADERS)]

    @property
    def left_open(self) -> set[int]:
        """Streams of which the client has neither sent all nor given up."""
        ended = {f.stream_id for f in self.seen(Kind.HEADERS, Kind.DATA) if f.flags & END_STREAM}
        return set(self.opened) - ended - set(self.resets)

    # --- what the server says ---

    def say(self, data: bytes | BaseException) -> None:
        """These bytes have arrived, as a read of their own; an exception fails that read."""
        with self._changed:
            self._incoming.append(data)
            self._changed.notify_all()

    def frame(self, kind: int, payload: bytes = b"", flags: int = 0, number: int = 0) -> None:
        self.say(encode_frame(kind, payload, flags, number))

    def join(self) -> None:
        """What has been said and not read yet comes in one read."""
        with self._changed:
            data = b"".join(part for part in self._incoming if isinstance(part, bytes))
            self._incoming = deque([data])

    def make_room(self, room: int | None = None) -> None:
        with self._changed:
            self.room = room
            self._changed.notify_all()

    def end(self) -> None:
        """The server has closed its side."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def settings(self, **values: int) -> None:
        pairs = ((SETTINGS[name], value) for name, value in values.items())
        self.frame(Kind.SETTINGS, b"".join(struct.pack(">HL", *pair) for pair in pairs))

    def head(
        self, number: int, status: int = 200, fields: Pairs = (), *, end: bool = False
    ) -> None:
        block = self._encoder.encode([(":status", str(status)), *fields])
        self.frame(Kind.HEADERS, block, END_HEADERS | (END_STREAM if end else 0), number)

    def trailers(self, number: int, fields: Pairs) -> None:
        block = self._encoder.encode(fields)
        self.frame(Kind.HEADERS, block, END_HEADERS | END_STREAM, number)

    def data(self, number: int, data: bytes = b"", *, end: bool = False) -> None:
        self.frame(Kind.DATA, data, END_STREAM if end else 0, number)

    def respond(self, number: int, body: bytes = b"ok", status: int = 200) -> None:
        """A whole response, in one read."""
        fields = [(":status", str(status)), ("content-length", str(len(body)))]
        block = self._encoder.encode(fields)
        head = encode_frame(Kind.HEADERS, block, END_HEADERS, number)
        self.say(head + encode_frame(Kind.DATA, body, END_STREAM, number))

    def reset(self, number: int, code: int = Code.CANCEL) -> None:
        self.frame(Kind.RST_STREAM, struct.pack(">L", code), 0, number)

    def goaway(self, last: int, code: int = Code.NO_ERROR) -> None:
        self.frame(Kind.GOAWAY, struct.pack(">LL", last, code))

    def window(self, number: int, size: int) -> None:
        self.frame(Kind.WINDOW_UPDATE, struct.pack(">L", size), 0, number)

    def pong(self) -> None:
        """Acknowledge the client's last PING."""
        ping = [frame for frame in self.seen(Kind.PING) if not frame.flags & ACK][-1]
        self.frame(Kind.PING, ping.payload, ACK)


class AsyncWire(Wire):
    """The same for tasks, which wait for it as for a stream that no event loop drives."""

    pending = b""

    async def wait(self, write: bool, timeout: float | None) -> bool:  # type: ignore[override]
        self.waits.append((write, timeout))
        end = None if timeout is None else time.monotonic() + timeout
        while not self._is_ready(write):
            if end is not None and not (self.patient and timeout):
                self.now += timeout or 0.0
                return False
            if end is not None and time.monotonic() >= end:
                return False
            if not self.patient:
                self.mistakes.append("a wait that nothing would end")
                raise AssertionError(self.mistakes[-1])
            await anyio.sleep(0.001)
            if self.closed:
                break
        self._woken = False
        return True

    def has_arrived(self) -> bool:
        return bool(self._incoming) or self._ended

    async def aclose(self) -> None:
        self.close()


def silent(wire: Wire, number: int) -> None:
    """An answer that does not come."""
