"""A response's body: reads from the connection, and gives it back at the end.

Owns: the one object that owns a connection while a response is read, and the stream of an upgraded
connection. Must not know: how a request is sent, how a connection is chosen; when a body ends, and
what becomes of its connection then (that is `_core.body_state`).
"""

from __future__ import annotations

import io
import logging
import time
from typing import Any

from .._backends.base import NetworkStream
from .._backends.clock import Deadline
from .._backends.huge_pages import use_huge_pages
from .._backends.upgraded import UpgradedStream
from .._core.body_state import BodyState
from .._core.limits import MAX_READ_SIZE, READ_SIZE
from .._core.prepared import Prepared
from .._core.scheduler import ACTIVE
from .._exceptions import NetworkError, RemoteProtocolError, TimeoutException, raised_anew
from .._shared.pool_slots import PoolSlots
from .._trace import combined, log_event, logs_debug

# Bytes per read when the whole of a large body is wanted: fewer calls, and still small
# enough to stay in the processor's cache between the two copies.
LARGE_READ = 262144


class ResponseBody(BodyState):
    """A response's body; reads from the connection and gives it back at the end.

    Iterate it for the pieces as they arrive, or use `read`, `read1` and `readinto`. It is the
    one owner of its connection: when it ends, is closed, fails or is dropped, the connection
    goes back to the pool or is closed. One thread at a time; `close` may come from any, and from a
    signal handler. See `BodyState` for its attributes.
    """

    __slots__ = ()

    pool: PoolSlots | None
    source: Any  # an HTTP11Connection or an HTTP2Exchange, which import this module

    # What a reader calls

    def __iter__(self) -> ResponseBody:
        return self

    def __next__(self) -> bytes:
        """The next piece, as it arrives."""
        part = self.read1(READ_SIZE)
        if not part:
            raise StopIteration
        return part

    def read(self, amt: int | None = None) -> bytes:
        """The rest of the body, or exactly `amt` bytes of it unless it ends before.

        Raises ReadTimeout, ReadError or RemoteProtocolError; the connection is closed then.
        """
        if amt is None or amt < 0:
            return self.take_all() if self.complete else self._read_all()
        parts = []
        while amt and (part := self.read1(amt)):
            parts.append(part)
            amt -= len(part)
        return b"".join(parts)

    def read1(self, amt: int = READ_SIZE) -> bytes:
        """Return what is there, waiting for at least one byte: 1 to `amt` bytes, ``b""`` at the
        end."""
        if amt <= 0:
            return b""
        if not self.pending:
            if self.complete:
                return b""
            size = READ_SIZE if amt <= READ_SIZE else min(amt, MAX_READ_SIZE)
            self.pending = self._receive(size)
        return self.take(amt)

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
        if self.within:
            self.abort()  # whoever reads fails, and gives the connection back
            return
        if self.upgraded is not None:
            self.closed = True  # first: the trace's hook may close it, too
            self.give_back(False)
            return
        self.within = True  # for a signal handler that closes it, too
        try:
            self._drain()
        finally:  # whatever the trace's hook raises
            self.within = False
            self.abandon()
        self.take_all()

    def abort(self) -> None:
        """End the request, from another thread, wherever it is: waiting for a connection,
        connecting, sending, receiving. It fails there with `Aborted`."""
        self.aborted = True
        if self.pool is not None:
            self.pool.interrupt(self)
        elif self.source is not None and not self.closed:
            self.source.abort()

    # How it gets there

    def _read_all(self) -> bytes:
        first = self.take_all()
        # BytesIO hands its buffer over without copying it, so the body is in memory once. CPython:
        # `bytes(n)` is memory that the kernel has not touched yet; BytesIO takes it over and, since
        # nobody else refers to it, lets us write into it and hands it out again, all uncopied.
        reserved = self.reserves()
        whole = io.BytesIO(bytes(len(first) + reserved) if reserved else first)
        reader = self.reader
        if reserved:
            with whole.getbuffer() as view:
                use_huge_pages(view)  # before the first byte is written
                view[: len(first)] = first
                while not reader.done:
                    # Released here: the traceback of a failure would keep it, and with it all.
                    with view[len(view) - reader.remaining :] as rest:
                        self._receive(0, rest)
        whole.seek(0, io.SEEK_END)
        while not reader.done:
            whole.write(self._receive(LARGE_READ))
        return whole.getvalue()

    def _receive(self, size: int, rest: memoryview | None = None) -> bytes:
        """Return payload bytes, at least one unless the body has ended; or put them into `rest`,
        which the rest of the body fits into."""
        source, reader = self.source, self.reader
        self.within = True  # first: a signal handler that closes it may come at any place
        try:
            if source is None or self.closed:
                raise self.was_closed()
            if self.trace is not None:
                self._report_reading()
            if self.failure is not None:
                raise raised_anew(self.failure)
            part: bytes = b""
            while not part and not reader.done:
                if rest is not None:
                    count = source.readinto(rest, self.timeout)
                    if count:
                        reader.took(count)
                        break
                elif data := source.read(size, self.timeout):
                    try:
                        part = reader.feed(data)
                    except RemoteProtocolError as exc:
                        if not exc.payload:
                            raise
                        part = self.note_fault(exc)
                    continue
                self.note_end(source.unclean_eof)
            if reader.done:
                self.end()
            return part
        except BaseException as exc:
            raise self._fail(exc)  # a name for it would keep it and this frame together
        finally:
            self.within = False

    def end(self) -> None:
        """All of the body has arrived."""
        if self.upload is not None:
            upload, self.upload = self.upload, None
            self.reusable = upload.conclude()
        reusable = self.conclude(time.monotonic())
        if self.trace is None:
            self._let_go(reusable)
            return
        self._report_reading()
        self._report("receive_response_body.complete", {"return_value": None})
        self.give_back(reusable)

    def _fail(self, exc: BaseException) -> BaseException:
        """The body cannot be read to its end; returns what to raise."""
        exc = self.explain(exc)
        if not self.closed:
            if self.log is not None:
                self.log.failure = type(exc).__name__
            try:
                if self.trace is not None:
                    self._report("receive_response_body.failed", {"exception": exc})
            finally:
                self.abandon()
        return exc

    def abandon(self) -> None:
        """The body will not be read to its end: close the connection."""
        if not self.closed:
            self.give_back(False)

    def give_back(self, reusable: bool) -> None:
        """Let go of the connection, and report it to the trace."""
        told = self.trace is not None and self.source is not None  # else it was not even begun with
        try:
            if told:
                self._report("response_closed.started", self.with_stream({}))
        except BaseException:
            self._let_go(False)
            raise
        self._let_go(reusable)
        if told:
            self._report("response_closed.complete", {"return_value": None})

    def _report_reading(self) -> None:
        """The first time: that the body is being read."""
        if not self.told:
            self.told = True
            details = self.with_stream({"request": self.request})
            self._report("receive_response_body.started", details)

    def _report(self, event: str, details: dict[str, object]) -> None:
        assert self.trace is not None
        self.trace(f"{self.source.protocol}.{event}", details)

    def _let_go(self, reusable: bool) -> None:
        if self.upgraded is not None:  # it is the pool's no more
            self.closed = True
            self.upgraded.close()
            return
        source, pool, slot = self.source, self.pool, self.slot
        if self.second is not None:
            self.second.slot = None
        # After an interrupt in the middle of a release, the connection is no longer ours.
        if source is not None and (pool is None or (slot is not None and slot.state == ACTIVE)):
            # What is closed is closed before there is room for another: never one too many.
            reusable = source.finish(reusable, self.complete)
        if pool is not None:
            pool.release(self, reusable, self.keep_for)
        self.closed = True
        if self.log is not None:
            self.log.write(self)

    def _drain(self) -> None:
        """Read away what is left, and give the connection back, if that needs no waiting."""
        budget = self.drain_budget()
        try:
            while budget > 0 and (data := self.source.read(budget, 0)):
                budget -= len(data)
                self.reader.feed(data)
                if self.reader.done:
                    break
            else:
                return
        except (NetworkError, RemoteProtocolError, TimeoutException):
            return  # not there yet, or broken: either way not worth keeping
        self.end()

    def hand_over(self) -> NetworkStream:
        """The connection changes hands (1xx, or 2xx to CONNECT): it is the caller's now."""
        leftover = self.leftover()
        if self.pool is not None:
            self.pool.forget(self)
            if self.second is not None:
                self.second.slot = None
        stream: NetworkStream = self.source.detach()
        self.upgraded = UpgradedStream(stream, leftover) if leftover else stream
        return stream if not leftover else self.upgraded


def body_by_hand(prepared: Prepared, logger: logging.Logger) -> ResponseBody:
    """Return the body for a request on a connection that no pool has, and let its total begin."""
    if prepared.deadline is None and prepared.timeouts.total is not None:
        prepared.deadline = Deadline(prepared.timeouts.total)
    body = ResponseBody(None, prepared.request)
    body.marks.began = body.marks.ready = time.monotonic()
    log = log_event if logs_debug(logger) else None
    body.trace = combined(log, prepared.request.extensions.get("trace"))
    return body
