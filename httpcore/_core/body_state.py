"""The state of a response's body, and what follows from it.

Owns: the payload that has arrived and was not read yet, and the decisions at the end of a body:
whether the connection can be used again, whether a rest is worth reading away, what a failure
means. Must not know: streams, clocks, locks, how a connection is given back.

Sources: RFC 9112 sections 6 (bodies) and 9.3 (reuse), RFC 9110 sections 6.5 (trailers) and
7.8 (Upgrade).
"""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from .._exceptions import (
    RESPONSE_STARTED,
    Aborted,
    NetworkError,
    ProtocolError,
    ReadError,
    RemoteProtocolError,
    TimeoutException,
    caused,
    without_frames,
)
from .._models import Request, describe, name_request
from .._timings import Timings
from .._trace import Details
from .h1 import Head
from .limits import READ_SIZE
from .scheduler import CLOSED
from .slot_ends import OrphanOwner, SecondOwner

# Bytes of an announced body that are reserved before they have arrived. Reserving costs no
# memory until it is written, but a lying server should not exhaust the address space either.
PREALLOCATE_LIMIT = 256 * 1024 * 1024

# Bytes of an unread body that are worth reading away to keep the connection; opening a new
# one costs at least one round trip, in which about this much arrives.
DRAIN_LIMIT = 65536


_Body = TypeVar("_Body", bound="BodyState")


class BodyState:
    """The state of one response's body.

    Attributes:
        aborted: another thread wants this to end.
        closed: True once the connection was given back.
        complete: True once all of the body has arrived.
        failure: of what came with the head, or with payload; reading on raises it.
        log: writes a line about the request once the connection was given back; None while nobody
            asked for it.
        keep_for: seconds that the server keeps the connection open, where it said so.
        marks: when the phases of the request were over.
        offset: where in `pending` the next byte is.
        pending: payload that arrived and was not asked for yet.
        pool: what the connection goes back to; None for one that is driven by hand.
        reader: takes the payload out of the bytes of the connection.
        released: set by a caller who needs no more of it: dropping it unread is no mistake then.
        request: what this answers.
        second: gives the slot back where the body cannot; None while nothing is to be read.
        reusable: the connection can carry another request once the body was read.
        slot: set by the Scheduler while a connection of the pool is ours.
        source: what it comes from; None before there is a connection.
        timeout: seconds that each read may take.
        told: the trace knows that the body is being read.
        trace: the hook; None while nobody asked for events.
        unclean_tls_eof: True when a body that ends with the connection ended without TLS'
            close_notify: it may have been cut short.
        upgraded: the stream, once the connection was handed over to the caller.
        upload: of the request, while reading the response sends its rest.
        within: a thread is reading from the connection.
    """

    __slots__ = (
        "__weakref__",
        "aborted",
        "closed",
        "complete",
        "failure",
        "keep_for",
        "log",
        "marks",
        "offset",
        "pending",
        "pool",
        "reader",
        "released",
        "request",
        "reusable",
        "second",
        "slot",
        "source",
        "timeout",
        "told",
        "trace",
        "unclean_tls_eof",
        "upgraded",
        "upload",
        "within",
    )

    told: bool  # set with the head, where there is a trace

    def __init__(self, pool: Any, request: Request) -> None:
        self.slot: Any = None
        self.second: SecondOwner | None = None
        self.pool = pool
        self.request = request
        self.source: Any = None
        self.reader: Any = None
        self.failure: ProtocolError | NetworkError | None = None
        self.upload: Any = None
        self.pending = b""
        self.offset = 0
        self.timeout: float | None = None
        self.log: Any = None  # a `RequestLog`, which has a clock
        self.trace: Any = None  # an asynchronous shell has one that is awaited
        self.reusable = False
        self.keep_for: float | None = None
        self.upgraded: Any = None
        self.within = False
        # An object of its own: timings that a caller keeps must keep nothing else.
        self.marks = marks = Timings()
        marks.began = marks.ready = marks.sent = marks.headed = marks.ended = marks.opening = None
        self.aborted = False
        self.released = False
        self.closed = False
        self.complete = False
        self.unclean_tls_eof = False

    def __repr__(self) -> str:
        state = "complete" if self.complete else "closed" if self.closed else "open"
        return f"<{self.__class__.__name__} [{describe(self.request)}, {state}]>"

    def __call__(self: _Body) -> _Body:
        """Itself: ``response.stream()`` is how 2019 wrote ``response.stream``."""
        return self

    # The payload

    def take(self, amt: int) -> bytes:
        """Take up to `amt` bytes of what is pending."""
        pending, offset = self.pending, self.offset
        if not offset and len(pending) <= amt:
            self.pending = b""
            return pending
        end = offset + amt
        if end >= len(pending):
            self.pending = b""
            self.offset = 0
        else:
            self.offset = end
        return pending[offset:end]

    def take_all(self) -> bytes:
        """Take all that is pending."""
        pending, offset = self.pending, self.offset
        self.pending = b""
        self.offset = 0
        return pending[offset:] if offset else pending

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
        return len(self.pending) - self.offset

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        """The trailer fields, once the body has ended (RFC 9110 section 6.5)."""
        fields: list[tuple[bytes, bytes]] = self.reader.trailers
        return fields

    @property
    def connection(self) -> Any:
        """The connection the body comes from, until it is given back."""
        return None if self.closed else self.source

    def reserves(self) -> int:
        """Return how many bytes to reserve for the rest of the body, which is then read straight
        to where it stays; 0 where that is of no use, or nobody knows how long it is."""
        remaining = self.remaining
        if remaining is None or not READ_SIZE < remaining <= PREALLOCATE_LIMIT:
            return 0
        return remaining

    # What has happened

    def begin(self, head: Head, timeout: float | None, all_sent: bool) -> Details:
        """Note the `head` of the response, of HTTP/1.1, and take in what came with it. Return
        the extensions of the response.

        Parameters:
            timeout: seconds that each read may take.
            all_sent: the request is complete, so the connection may carry another one.
        """
        self.reader = reader = head.body
        self.timeout = timeout
        self.reusable = head.keep_alive and all_sent
        self.keep_for = head.keep_alive_timeout
        if self.trace is not None:
            self.told = False
        if head.rest:
            try:
                self.pending = reader.feed(head.rest)
            except RemoteProtocolError as exc:
                # There is a response, and its body is broken: reading that raises this.
                self.pending = self.note_fault(exc)
        if not reader.done:
            self.back_up()
        source = self.source
        return {
            "http_version": head.http_version,
            "reason_phrase": head.reason,
            "network_stream": source.plain,
            "reused": source.request_count > 1,
            "timings": self.marks,
            "connection": source.facts,
        }

    def back_up(self) -> None:
        """See to it that the slot is given back, even where a destructor cannot."""
        if self.pool is not None and self.slot is not None:
            self.second = SecondOwner(self.slot, self.pool, self.source)

    def was_closed(self) -> ReadError:
        """Return what reading from a body raises that was closed."""
        return ReadError(f"the response to {describe(self.request)} was closed while unread")

    def note_fault(self, exc: RemoteProtocolError) -> bytes:
        """Return what of the body came with the fault `exc` and before it. The next read raises
        that, without a look at the connection: the server may have said everything."""
        self.failure = without_frames(exc)
        payload, exc.payload = exc.payload, b""
        return payload

    def note_end(self, unclean: bool) -> None:
        """Note that the connection has ended; whether the body has, its framing says.

        Parameters:
            unclean: TLS did not say that this was the end.
        """
        if self.aborted or self.source.aborted:  # it was we who ended the stream
            raise ReadError("aborted while the body was read")
        self.reader.feed_eof()
        self.unclean_tls_eof = unclean

    def conclude(self, now: float) -> bool:
        """Note that all of the body has arrived; whether the connection can be used again."""
        self.complete = True
        self.marks.ended = now
        reader = self.reader
        # What came after the end was not asked for: the next request must not see it.
        return self.reusable and not reader.excess and not reader.doubtful

    def leftover(self) -> bytes:
        """Take what came after the head of a response that hands the connection over."""
        self.complete = True
        return self.take_all() + bytes(self.reader.excess)

    # What follows from it

    def drain_budget(self) -> int:
        """Return how many bytes are worth reading away to keep the connection."""
        if self.source is None or self.reader is None or not self.reusable or self.failure:
            return 0
        remaining = self.remaining
        return DRAIN_LIMIT if remaining is None or remaining <= DRAIN_LIMIT else 0

    def explain(self, exc: BaseException) -> BaseException:
        """Return what to raise for `exc`, with which reading has failed."""
        if isinstance(exc, (NetworkError, RemoteProtocolError, TimeoutException)):
            exc.phase = RESPONSE_STARTED
        if isinstance(exc, RemoteProtocolError):
            name_request(exc, self.request)
        if self.aborted or (self.source is not None and self.source.aborted):
            return self.explain_abort(exc)
        return exc

    def explain_abort(self, exc: BaseException) -> BaseException:
        """Return what to raise for `exc`, which came because another thread ended the request."""
        if not isinstance(exc, (NetworkError, ProtocolError, TimeoutException)):
            return exc
        error = Aborted(f"{describe(self.request)} was ended by a close or a CancelToken")
        error.phase = exc.phase
        return caused(error, exc)

    def explain_drop(self) -> str | None:
        """Return the warning for a body that nobody refers to any more, or None where nothing is
        wrong with that."""
        if self.reader is None or self.released or self.slot.state == CLOSED:
            return None  # the last: in the child of a fork, the response is the parent's
        what = describe(self.request)
        return f"unread response to {what} was dropped: read it to the end or close it"

    def with_stream(self, details: Details) -> Details:
        """Add the number of the stream to the `details` of an event, where there is one."""
        source = self.source
        if source is not None and source.protocol == "http2":
            stream = getattr(source, "stream", None)
            details["stream_id"] = None if stream is None else stream.id
        return details

    def __del__(self) -> None:
        try:
            self._drop()
        except BaseException:
            self._drop()  # what a signal handler raises in here goes nowhere
            raise

    def _drop(self) -> None:
        """Give back what the garbage collector has taken the body from; a second time, what was
        not given back the first time."""
        slot = getattr(self, "slot", None)  # missing when __init__ was interrupted
        source = getattr(self, "source", None)
        if source is not None and source.protocol == "http2" and not self.closed:
            source.discard()
        if slot is None or self.pool is None:
            return
        warning = None
        if not isinstance(slot, OrphanOwner):
            warning = self.explain_drop()
            # It gives back once, however often it is asked to. The second one may have been told
            # that it need not, by a release that was interrupted then.
            second: OrphanOwner | None = self.second
            if second is None or second.slot is None:
                second = OrphanOwner(slot)
            self.slot = slot = second
        # Releasing it here could deadlock: the garbage collector runs anywhere.
        self.pool.orphaned(slot)
        self.slot = None
        if warning is not None:
            warnings.warn(warning, ResourceWarning, stacklevel=3, source=self)
