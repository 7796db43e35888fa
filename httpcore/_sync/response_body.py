"""A response's body: reads from the connection, and gives it back at the end.

Owns: the one object that owns a connection while a response is read, what is done with it
when the body ends, fails, is closed or dropped; and the stream of an upgraded connection.
Must not know: how a request is sent, how a connection is chosen.

Sources: RFC 9112 sections 6 (bodies) and 9.3 (reuse), RFC 9110 sections 6.5 (trailers) and
7.8 (Upgrade).
"""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .._backends.base import NetworkStream
from .._backends.fork import keep_in_child
from .._backends.upgraded import UpgradedStream
from .._core.scheduler import ACTIVE, CLOSED
from .._exceptions import (
    RESPONSE_STARTED,
    Aborted,
    NetworkError,
    ProtocolError,
    ReadError,
    RemoteProtocolError,
    TimeoutException,
)
from .._models import Request, describe, name_request
from .._timings import Timings
from .._trace import Trace

if TYPE_CHECKING:
    from .http2 import Exchange
    from .http11 import HTTP11Connection
    from .pool_slots import PoolSlots

# Bytes asked for in one read. 64 KiB holds every usual head with a small body in one call,
# and is what the kernel hands out on a busy connection.
READ_SIZE = 65536
# Bytes per read when the whole of a large body is wanted: fewer calls, and still small
# enough to stay in the processor's cache between the two copies.
LARGE_READ = 262144
# Bytes of an announced body that are reserved before they have arrived. Reserving costs no
# memory until it is written, but a lying server should not exhaust the address space either.
PREALLOCATE_LIMIT = 256 * 1024 * 1024
# Bytes of an unread body that are worth reading away to keep the connection; opening a new
# one costs at least one round trip, in which about this much arrives.
DRAIN_LIMIT = 65536


class ResponseBody:
    """A response's body; reads from the connection and gives it back at the end.

    Iterate it for the pieces as they arrive, or use `read`, `read1` and `readinto`. It is the
    one owner of its connection: when it ends, is closed, fails or is dropped, the connection
    goes back to the pool or is closed. One thread at a time; `close` may come from any, and from a
    signal handler.

    Attributes:
        closed: True once the connection was given back.
        complete: True once all of the body has arrived.
        released: set by a caller who needs no more of it: dropping it unread is no mistake then.
        unclean_tls_eof: True when a body that ends with the connection ended without TLS'
            close_notify: it may have been cut short.
    """

    __slots__ = (
        "__weakref__",
        "_offset",
        "_upgraded",
        "_within",
        "aborted",
        "closed",
        "complete",
        "failure",
        "keep_for",
        "marks",
        "pending",
        "pool",
        "reader",
        "released",
        "request",
        "reusable",
        "slot",
        "source",
        "timeout",
        "told",
        "trace",
        "unclean_tls_eof",
        "upload",
    )

    told: bool  # that the body is being read; there is one with the head, where there is a trace

    def __init__(self, pool: PoolSlots | None, request: Request) -> None:
        self.slot: Any = None  # set by the Scheduler while a connection of the pool is ours
        self.pool = pool
        self.request = request
        self.source: HTTP11Connection | Exchange | None = None
        self.reader: Any = None
        self.failure: ProtocolError | NetworkError | None = None  # of what came with the head
        self.upload: Any = None  # of the request, while reading the response sends its rest
        self.pending = b""  # payload that arrived and was not asked for yet
        self._offset = 0  # where in it the next byte is
        self.timeout: float | None = None
        self.trace: Trace | None = None
        self.reusable = False
        self.keep_for: float | None = None
        self._upgraded: NetworkStream | None = None
        self._within = False  # a thread is reading from the connection
        # An object of its own: timings that a caller keeps must keep nothing else.
        self.marks = marks = Timings()
        marks.began = marks.ready = marks.sent = marks.headed = marks.ended = marks.opening = None
        self.aborted = False  # another thread wants this to end
        self.released = False
        self.closed = False
        self.complete = False
        self.unclean_tls_eof = False

    # What a reader calls

    def __iter__(self) -> Iterator[bytes]:
        """The pieces as they arrive."""
        while True:
            part = self.read1(READ_SIZE)
            if not part:
                return
            yield part

    def __call__(self) -> ResponseBody:
        """Itself: ``response.stream()`` is how 2019 wrote ``response.stream``."""
        return self

    def read(self, amt: int | None = None) -> bytes:
        """The rest of the body, or exactly `amt` bytes of it unless it ends before.

        Raises ReadTimeout, ReadError or RemoteProtocolError; the connection is closed then.
        """
        if amt is None or amt < 0:
            return self._read_all()
        part = self.read1(amt)
        if len(part) == amt or not part:
            return part
        parts = [part]
        missing = amt - len(part)
        while missing:
            part = self.read1(missing)
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def read1(self, amt: int = READ_SIZE) -> bytes:
        """What is there, waiting for at least one byte: 1 to `amt` bytes, ``b""`` at the end."""
        if amt <= 0:
            return b""
        pending = self.pending
        if not pending:
            if self.complete:
                return b""
            pending = self._receive(READ_SIZE)
        offset = self._offset
        if not offset and len(pending) <= amt:
            self.pending = b""
            return pending
        end = offset + amt
        if end >= len(pending):
            self.pending = b""
            self._offset = 0
        else:
            self.pending = pending
            self._offset = end
        return pending[offset:end]

    def readinto(self, buffer: Any) -> int:
        """As `read1`, into `buffer`; returns how many bytes."""
        view = memoryview(buffer).cast("B")
        part = self.read1(len(view))
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        """Give the connection back. When the rest of the body is short and has arrived, it is
        read away so that the connection can be used again; else the connection is closed."""
        if self.closed:
            return
        if self._within:
            self.abort()  # whoever reads fails, and gives the connection back
            return
        if self._upgraded is not None:
            self._close_upgraded(self._upgraded)
        else:
            self._within = True  # for a signal handler that closes it, too
            try:
                self._drain()
            finally:  # whatever the trace's hook raises
                self._within = False
                self.abandon()
        self.pending = b""
        self._offset = 0

    def abort(self) -> None:
        """End the request, from another thread, wherever it is: waiting for a connection,
        connecting, sending, receiving. It fails there with `Aborted`."""
        self.aborted = True
        if self.pool is not None:
            self.pool.interrupt(self)
        elif self.source is not None and not self.closed:
            self.source.abort()

    def explain_abort(self, exc: BaseException) -> BaseException:
        """What to raise for `exc`, which came because another thread ended the request."""
        if not isinstance(exc, (NetworkError, ProtocolError, TimeoutException)):
            return exc
        error = Aborted(f"{describe(self.request)} was ended by another thread")
        error.phase = exc.phase
        return error

    @property
    def remaining(self) -> int | None:
        """Bytes of the body that have not arrived yet; None when nobody knows."""
        remaining: int | None = getattr(self.reader, "remaining", None)
        return remaining

    @property
    def received(self) -> int:
        """Bytes of the body that have arrived."""
        count: int = self.reader.received
        return count

    @property
    def buffered(self) -> int:
        """Bytes that have arrived and were not read yet: as many can be had without waiting."""
        return len(self.pending) - self._offset

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        """The trailer fields, once the body has ended (RFC 9110 section 6.5)."""
        fields: list[tuple[bytes, bytes]] = self.reader.trailers
        return fields

    @property
    def connection(self) -> HTTP11Connection | Exchange | None:
        """The connection the body comes from, until it is given back."""
        return None if self.closed else self.source

    # How it gets there

    def _read_all(self) -> bytes:
        first = self.pending
        if first:
            first = first[self._offset :] if self._offset else first
            self.pending = b""
            self._offset = 0
        if self.complete:
            return first
        remaining = self.remaining
        if remaining is not None and READ_SIZE < remaining <= PREALLOCATE_LIMIT:
            return self._read_in_place(first, remaining)
        # BytesIO hands its buffer over without copying it, so the body is in memory once.
        whole = io.BytesIO()
        whole.write(first)
        reader = self.reader
        while not reader.done:
            whole.write(self._receive(LARGE_READ))
        return whole.getvalue()

    def _read_in_place(self, first: bytes, remaining: int) -> bytes:
        """The rest of a body of known length, read straight to where it stays.

        CPython: `bytes(n)` is memory that the kernel has not touched yet; BytesIO takes it over
        and, since nobody else refers to it, lets us write into it and hands it out again, all
        without a copy.
        """
        position = len(first)
        whole = io.BytesIO(bytes(position + remaining))
        with whole.getbuffer() as view:
            view[:position] = first
            reader = self.reader
            while not reader.done:
                position += self._receive_into(view, position)
        return whole.getvalue()

    def _receive(self, size: int) -> bytes:
        """Payload bytes, at least one unless the body has ended."""
        connection = self.source
        reader = self.reader
        self._within = True  # first: a signal handler that closes it may come at any place
        try:
            if connection is None or self.closed:
                raise self._was_closed()
            if self.trace is not None:
                self._tell_reading()
            if self.failure is not None:
                raise self.failure
            part: bytes = b""
            while not part and not reader.done:
                data = connection._stream.read(size, self.timeout)
                if data:
                    part = reader.feed(data)
                else:
                    self._note_end(connection)
            if reader.done:
                self.end()
            return part
        except BaseException as exc:
            failure = self._fail(exc)
            if failure is exc:
                raise
            raise failure from exc
        finally:
            self._within = False

    def _receive_into(self, view: memoryview, position: int) -> int:
        connection = self.source
        readinto = None if connection is None else getattr(connection._stream, "readinto", None)
        if readinto is None or self.closed or (self.trace is not None and not self.told):
            part = self._receive(LARGE_READ)
            view[position : position + len(part)] = part
            return len(part)
        reader = self.reader
        rest = view[position:]
        self._within = True  # as in `_receive`
        try:
            if self.closed:
                raise self._was_closed()
            count: int = readinto(rest, self.timeout)
            if count:
                reader.took(count)
            else:
                assert connection is not None
                self._note_end(connection)
            if reader.done:
                self.end()
            return count
        except BaseException as exc:
            failure = self._fail(exc)
            if failure is exc:
                raise
            raise failure from exc
        finally:
            self._within = False
            rest.release()  # a traceback would keep it, and with it the whole buffer

    def _was_closed(self) -> ReadError:
        return ReadError(f"the response to {describe(self.request)} was closed while unread")

    def _note_end(self, connection: HTTP11Connection | Exchange) -> None:
        """The stream has ended; whether the body has, its framing says."""
        if self.aborted or connection.aborted:  # it was we who ended the stream
            raise ReadError("aborted while the body was read")
        self.reader.feed_eof()
        self.unclean_tls_eof = getattr(connection._stream, "unclean_eof", False)

    def end(self) -> None:
        """All of the body has arrived."""
        if self.upload is not None:
            upload, self.upload = self.upload, None
            self.reusable = upload.conclude()
        self.complete = True
        self.marks.ended = time.monotonic()
        if self.trace is not None:
            self._tell_reading()
            self._tell("receive_response_body.complete", {"return_value": None})
        # What came after the end was not asked for: the next request must not see it.
        reader = self.reader
        self.give_back(self.reusable and not reader.excess and not reader.doubtful)

    def _fail(self, exc: BaseException) -> BaseException:
        """The body cannot be read to its end; returns what to raise."""
        if isinstance(exc, (NetworkError, RemoteProtocolError, TimeoutException)):
            exc.phase = RESPONSE_STARTED
        if isinstance(exc, RemoteProtocolError):
            name_request(exc, self.request)
        connection = self.source
        if self.aborted or (connection is not None and connection.aborted):
            exc = self.explain_abort(exc)
        if not self.closed:
            try:
                if self.trace is not None:
                    self._tell("receive_response_body.failed", {"exception": exc})
            finally:
                self.abandon()
        return exc

    def abandon(self) -> None:
        """The body will not be read to its end: close the connection."""
        if not self.closed:
            self.give_back(False)

    def give_back(self, reusable: bool) -> None:
        """Let go of the connection, and tell the trace so."""
        if self.trace is None or self.source is None:  # it was not even begun with
            self._let_go(reusable)
            return
        try:
            self._tell("response_closed.started", self._with_stream({}))
        except BaseException:
            self._let_go(False)
            raise
        self._let_go(reusable)
        self._tell("response_closed.complete", {"return_value": None})

    def _close_upgraded(self, stream: NetworkStream) -> None:
        self.closed = True
        try:
            if self.trace is not None:
                self._tell("response_closed.started", {})
        finally:
            stream.close()
        if self.trace is not None:
            self._tell("response_closed.complete", {"return_value": None})

    def _tell_reading(self) -> None:
        """The first time: that the body is being read."""
        if not self.told:
            self.told = True
            details = self._with_stream({"request": self.request})
            self._tell("receive_response_body.started", details)

    def _with_stream(self, details: dict[str, Any]) -> dict[str, Any]:
        """`details`, and the number of the stream where there is one."""
        if self.source is not None and self.source.protocol == "http2":
            stream = getattr(self.source, "stream", None)
            details["stream_id"] = None if stream is None else stream.id
        return details

    def _tell(self, event: str, details: dict[str, Any]) -> None:
        assert self.trace is not None and self.source is not None
        self.trace(f"{self.source.protocol}.{event}", details)

    def _let_go(self, reusable: bool) -> None:
        connection, pool, slot = self.source, self.pool, self.slot
        # After an interrupt in the middle of a release, the connection is no longer ours.
        if connection is not None and (pool is None or (slot is not None and slot.state == ACTIVE)):
            # What is closed is closed before there is room for another: never one too many.
            reusable = connection.finish(reusable, self.complete)
        if pool is not None:
            pool.release(self, reusable, self.keep_for)
        self.closed = True

    def _drain(self) -> None:
        """Read away what is left, and give the connection back, if that needs no waiting."""
        connection, reader = self.source, self.reader
        if connection is None or reader is None or not self.reusable or self.failure:
            return
        remaining = self.remaining
        budget = DRAIN_LIMIT
        if remaining is not None and remaining > budget:
            return
        try:
            while budget > 0:
                data = connection._stream.read(budget, 0)
                budget -= len(data)
                if not data:
                    return
                reader.feed(data)
                if reader.done:
                    break
            else:
                return
        except (NetworkError, RemoteProtocolError, TimeoutException):
            return  # not there yet, or broken: either way not worth keeping
        self.end()

    def hand_over(self) -> NetworkStream:
        """The connection changes hands (1xx, or 2xx to CONNECT): it is the caller's now."""
        connection: Any = self.source  # HTTP/1.1: no stream of HTTP/2 does that
        leftover = self.pending + self.reader.excess
        self.pending = b""
        self.complete = True
        if self.pool is not None:
            self.pool.forget(self)
        connection._state = "CLOSED"  # to HTTP; the stream lives on
        connection._drop_deadline()
        stream: NetworkStream = connection._stream
        keep_in_child(stream.get_extra_info("socket"))
        self._upgraded = UpgradedStream(stream, leftover) if leftover else stream
        return self._upgraded

    def __del__(self) -> None:
        slot = getattr(self, "slot", None)  # missing when __init__ was interrupted
        exchange = getattr(self, "source", None)
        if exchange is not None and exchange.protocol == "http2" and not self.closed:
            exchange.discard()
        if slot is None or self.pool is None:
            return
        gone = slot.state == CLOSED  # in the child of a fork: the response is the parent's
        # Releasing it here could deadlock: the garbage collector runs anywhere.
        self.pool.orphaned(slot)
        self.slot = None
        if self.reader is not None and not gone and not self.released:
            warnings.warn(
                f"unread response to {describe(self.request)} was dropped: read it to the end or "
                "close it",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __repr__(self) -> str:
        state = "complete" if self.complete else "closed" if self.closed else "open"
        return f"<{self.__class__.__name__} [{describe(self.request)}, {state}]>"
