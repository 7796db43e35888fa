"""Decides how the sending of a request's body goes on, before and after its response has begun.

Owns: when to send, when only to listen, when the caller gets the response, when to give up
(`UploadPlan`, which knows no version of HTTP); and the whole upload of HTTP/1.1 (`UploadScript`):
its blocks, `Expect: 100-continue`, and what arrives while it is being sent. Must not know: sockets,
clocks, locks.

The methods of `UploadScript` that wait for something are generators. They yield steps; a shell
carries each out, and sends its result back or throws its failure in. State is kept in the object
and not in the generators, so that one which was interrupted can be followed by another.

A server may answer before it has read the body. Three kinds of them have to be served alike:

- one that does not want the body, says so (413, 401) and closes, or stops reading. Whoever sends
  on sends in vain, and the reset that follows may overtake the answer;
- one that reads the body to its end, whatever its answer, and ends the answer then: mitmproxy,
  Node's streams. Whoever stops sending waits for ever;
- one that sends its answer while it reads, such as an echo. Whoever does not read meanwhile blocks
  the server, and is blocked by it.

So the body goes on being sent *while the response is read*, until the response is whole or the
server closes (RFC 9112 section 9.5 asks to stop only then). An answer from 400 on goes to the
caller at once, and the reads of its body send; the bodies of others are collected first, up to
EARLY_LIMIT, unless the caller wants those at once, too (a gateway). When the response is whole, an
answer that refused the request ends the upload, and any other one gets the rest of the body for as
long as the server takes something of it.

A body may have nothing to give for minutes: an iterable that waits for its own source. It says so
by an empty part. Then the connection is looked at before the next part is asked for, and so is the
total.

Sources: RFC 9110 section 10.1.1 (Expect); RFC 9112 sections 9.5 and 9.6; RFC 9113 section 8.1 (a
response that ends before its request); psf/requests#2422.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

from .._exceptions import (
    MAYBE_PROCESSED,
    LocalProtocolError,
    NetworkError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    TimeoutException,
    WriteError,
    WriteTimeout,
    without_frames,
)
from .._models import describe
from .body_state import BodyState
from .h1 import CloseReader, Head, HeadReader
from .h1_grammar import Headers
from .limits import CONTINUE_PATIENCE, READ_SIZE, WRITE_SIZE
from .prepared import Framing, Prepared, expects_continue

# Bytes: at least as many as stand around the data of a chunk of WRITE_SIZE.
CHUNK_FRAME = 16

EARLY_LIMIT = 1024 * 1024
"""Bytes of a response that are held while its request is still being sent. Then the caller gets it
and sends the rest by reading: memory must not depend on the server."""

STALL_LIMIT = 5.0
"""Seconds. When the response is whole and the server has taken nothing of the body for so long, it
will not take the rest. nginx, too, waits 5 s for more of a body that it only throws away."""

CLOSING_PATIENCE = 1.0
"""Seconds without a byte after which a server that has refused the request and said that it will
close is sent more of the body: it waits for that, or it would have closed. Sending sooner could
make its system reset the connection before the answer was read (RFC 9112 section 9.6). The same
goes for a server that was asked with ``Expect`` and gave its answer at once: it need not read the
body, but it may (RFC 9110 section 10.1.1)."""

# What to do next.
SEND = "send"  # and stop sending as soon as there is something to be read
LISTEN = "listen"  # and send nothing, for CLOSING_PATIENCE
FINISH = "finish"  # send the rest: there is nothing more to be read
HAND_OVER = "hand over"  # give the response to the caller, whose reads go on from here
STOP = "stop"  # send no more


class UploadPlan:
    """The next step with the body of one request.

    Parameters:
        early: the caller wants the response as soon as it has begun, whatever it says.

    Attributes:
        status: of the final response; None until its head was there.
        complete: all of the response has arrived.
        held: bytes of the response that have arrived and that the caller does not have.
        limit: so many may be held.
        handed_over: the caller has the response.
        stopped: no more of the body is to be sent.
    """

    __slots__ = ("_closing", "_declined", "_ended", "_listened", "complete", "handed_over", "held",
                 "limit", "status", "stopped")  # fmt: skip

    def __init__(self, early: bool = False) -> None:
        self.limit = 0 if early else EARLY_LIMIT
        self.status: int | None = None
        self.complete = False
        self.held = 0
        self.handed_over = False
        self.stopped = False
        self._closing = False
        self._declined = False
        self._ended = False
        self._listened = False

    # What has happened

    def answer(self, status: int, closing: bool) -> None:
        """Note the head of the final response, and whether the connection ends with it."""
        self.status = status
        self._closing = closing

    def decline(self) -> None:
        """Note that the final response came in place of a leave to send that was asked for
        (``Expect: 100-continue``)."""
        self._declined = True

    def end(self, complete: bool) -> None:
        """Note that nothing more will come from the server; whether that completes the response."""
        self._ended = True
        self.complete = self.complete or complete

    def listened(self) -> None:
        """Note that nothing came for CLOSING_PATIENCE."""
        self._listened = True

    def pause(self) -> None:
        """Note that the body has nothing to give now. A server that has given its whole response
        and closed is not kept waiting for it."""
        self.stopped = self.stopped or (self.complete and self._ended)

    def stalled(self) -> bool:
        """Note that the server took nothing for the whole of `patience`; False where that is a
        failure of the request, because its response is still to come."""
        self.stopped = self.stopped or self.complete or (self.handed_over and self.is_refused)
        return self.stopped

    # What follows from it

    @property
    def is_refused(self) -> bool:
        """Whether the response says that the body is of no use. A redirect or a success does not,
        unless the server goes away over a redirect, or has been asked before."""
        status = self.status
        if status is None:
            return False
        return self._declined or status >= 400 or (status >= 300 and self._closing)

    def next_step(self) -> str:
        """One of SEND, LISTEN, FINISH, HAND_OVER and STOP."""
        if self.stopped:
            return STOP
        if self.status is None:
            return SEND
        if self.complete:
            return STOP if self.is_refused else FINISH
        if self._ended:
            return STOP
        if not self.handed_over:
            return HAND_OVER if self.is_refused or self.held >= self.limit else SEND
        may_want_none = self._declined or (self._closing and self.is_refused)
        if may_want_none and not self._listened:
            return LISTEN
        return SEND

    def patience(self, timeout: float | None) -> float | None:
        """Seconds in which the server has to take something, where the caller allows `timeout`."""
        if not self.complete:
            return timeout
        return STALL_LIMIT if timeout is None else min(STALL_LIMIT, timeout)


def smaller(first: float | None, second: float | None) -> float | None:
    """The smaller of two timeouts; None stands for no limit."""
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


# The steps of a script, and what each gives.


class Read(NamedTuple):
    """Read from the connection: the bytes."""

    max_bytes: int
    timeout: float | None


class Write(NamedTuple):
    """Write `data`, or as much as goes before there is something to be read: how many bytes."""

    data: memoryview
    timeout: float | None


class WriteParts(NamedTuple):
    """As `Write`; and while all of it went, go on with what `UploadScript.put` makes of the next
    part, up to the last or to one of which nothing goes on the wire: how many bytes of the last
    block went. One step for all, since there may be many short parts."""

    data: memoryview
    timeout: float | None


class WriteAll(NamedTuple):
    """Write `data` without listening: nothing."""

    data: bytes
    timeout: float | None


class SendFile(NamedTuple):
    """Let the system send some of the body's file, as for `Write`: how many bytes."""

    offset: int
    size: int
    timeout: float | None


class ReadFile(NamedTuple):
    """Read some of the body's file, which stands where it stood: the bytes."""

    offset: int
    size: int


class SeekFile(NamedTuple):
    """Let the body's file stand at `offset`, for its owner to see: nothing."""

    offset: int


class NextPart(NamedTuple):
    """Take the next part of the body: the bytes, empty where there is nothing now, or None after
    the last."""


class Now(NamedTuple):
    """Look at the clock: seconds."""


class Unacknowledged(NamedTuple):
    """Ask the system for what its peer has not acknowledged: bytes, or None where nobody knows."""


Step = (
    Read
    | Write
    | WriteParts
    | WriteAll
    | SendFile
    | ReadFile
    | SeekFile
    | NextPart
    | Now
    | Unacknowledged
)
T = TypeVar("T")
Script = Generator[Step, Any, T]  # each step has a result of its own type

NEXT_PART = NextPart()
NOW = Now()


class FileSpan:
    """The rest of a body that is a regular file, which the system sends by itself.

    Parameters:
        offset: where in the file it begins.
        length: bytes of the whole body, as announced.
        given: bytes of it that were sent before.

    Attributes:
        left: bytes of the announced length that were not sent.
        offset: where in the file the next byte is.
    """

    __slots__ = ("_length", "left", "offset")

    def __init__(self, offset: int, length: int, given: int) -> None:
        self._length = length
        self.offset = offset
        self.left = length - given

    def took(self, count: int) -> None:
        """Note that so many bytes were sent."""
        self.offset += count
        self.left -= count

    def too_long(self) -> LocalProtocolError:
        """Return the error for a file that goes on after the announced length."""
        return LocalProtocolError(f"the body is longer than its announced {self._length} bytes")

    def too_short(self) -> LocalProtocolError:
        """Return the error for a file that has ended before the announced length."""
        return LocalProtocolError(
            f"the body ended after {self._length - self.left} of its announced {self._length} bytes"
        )


class UploadScript:
    """One request of HTTP/1.1 whose body does not leave with its head.

    Parameters:
        prepared: the request.
        lenient: how the answer's head is read, see `ConnectionPool`.
        deaf: the stream cannot say that there is something to be read while it is written to.

    Attributes:
        deaf: nothing is to be listened for, or there is nothing more to be heard.
        failure: what went wrong with the response's body, when it came so early.
        framing: how the parts go on the wire, and whether the last one did.
        given: bytes of the body that were sent with the head.
        head: the final response's head, when it came before the body was sent.
        plan: what to do next.
        reader: has read what came early, or None when nothing did.
        span: the rest of the body, where the system sends it by itself.
        timeout: seconds in which the server has to take something.
    """

    __slots__ = ("_asks", "_begun", "_early", "_ended", "_finished", "_lenient", "_may_send",
                 "_part", "_position", "deaf", "failure", "framing", "given", "head", "plan",
                 "prepared", "reader", "span", "timeout")  # fmt: skip

    def __init__(self, prepared: Prepared, lenient: bool, deaf: bool) -> None:
        self._asks = prepared.length != 0 and expects_continue(prepared)
        self._begun = False  # the head was sent
        self._early: list[bytes] = []  # of the response's body
        self._ended = False  # the server has closed
        self._finished = False  # all of the body was sent
        self._lenient = lenient
        self._may_send = False
        self._part = b""  # the current block, as it goes on the wire
        self._position = 0  # in it: what went before was sent
        self.deaf = deaf
        self.failure: RemoteProtocolError | NetworkError | None = None
        self.framing = Framing(prepared.length)
        self.given = 0
        self.head: Head | None = None
        self.plan = UploadPlan(prepared.wants_early)
        self.prepared = prepared
        self.reader: HeadReader | None = None
        self.span: FileSpan | None = None
        self.timeout: float | None = None

    @property
    def all_sent(self) -> bool:
        """Whether the request is complete, also where its source was not yet asked for more."""
        if self._finished:
            return True
        if self.span is not None:
            return not self.span.left
        return self.framing.complete and self._position >= len(self._part)

    @property
    def goes_on(self) -> bool:
        """Whether the reads of the response have to send, or to show an end that was read here."""
        return self._ended or not (self._finished or self.plan.next_step() == STOP)

    @property
    def _is_idle(self) -> bool:
        """Whether the part that was taken last was empty: the body has nothing to give now."""
        return not self._part and not self.framing.ended

    # Sending, before the caller has the response

    def begin(self) -> Script[bytes]:
        """Return what is sent first: the head, with the first block in the same segment unless
        there is none now, or the server is asked before."""
        head = self.prepared.head
        if self._asks:
            return head
        self.put((yield NEXT_PART))
        if self._is_idle:
            yield from self._pause()
        # Nobody listens while it is written, so it must be what the system takes at once.
        block = self._part[: WRITE_SIZE + CHUNK_FRAME]
        self.given = self._position = len(block)
        return head + block

    def send(self, timeout: float | None) -> Script[None]:
        """Send all that follows, or as much as the server wants before the caller has to read.

        Raises WriteError when the server has closed the connection; what the stream raises.
        """
        self.timeout = timeout
        self._begun = True
        try:
            if self._asks:
                yield from self._await_permission(timeout)
            elif self._is_idle and not self.deaf:
                yield from self._listen(0)
            yield from self._send_on()
        except (NetworkError, TimeoutException, LocalProtocolError) as exc:
            exc.phase = MAYBE_PROCESSED
            raise

    def _send_on(self) -> Script[None]:
        while not self._finished:
            step = self.plan.next_step()
            if step in (STOP, HAND_OVER):
                return
            patience = self.plan.patience(self.timeout)
            try:
                if self.deaf or self.span is not None:
                    heard = yield from self._advance(patience)
                else:
                    heard = yield from self._send_parts(patience)
                if heard:
                    yield from self._listen(0)
                if self._is_idle:
                    yield from self._pause()
            except WriteTimeout:
                if not self.plan.stalled():
                    raise
                return

    def _pause(self) -> Script[None]:
        """Note that the body has nothing to give now. Raise WriteTimeout where the total is over,
        which no write will notice."""
        self.plan.pause()
        deadline = self.prepared.deadline
        if deadline is None:
            return
        now = yield NOW
        if deadline.passed_at(now):
            exc = WriteTimeout(f"the body of {describe(self.prepared.request)} gave no more")
            deadline.explain_at(exc, now)
            raise exc

    def _send_parts(self, timeout: float | None) -> Script[bool]:
        """Send the body, up to its end or until it has nothing to give now; whether something may
        have come from the server before its end."""
        count: int = yield WriteParts(memoryview(self._part)[self._position :], timeout)
        self._position += count  # `put` has changed it meanwhile
        heard = self._position < len(self._part) or not self.framing.ended
        self._finished = not heard
        return heard

    def put(self, part: bytes | None) -> bytes:
        """Take the next part of the body, None after the last, now that the one before was sent.
        Return the block that goes on the wire, which may be empty."""
        self._position = 0  # first: after an interrupt, what is there does not count as sent
        self._part = self.framing.end() if part is None else self.framing.frame(part)
        return self._part

    def _advance(self, timeout: float | None) -> Script[bool]:
        """Send some of the body; whether something may have come from the server."""
        if self.span is not None:
            return (yield from self._advance_file(self.span, timeout))
        while self._position >= len(self._part):
            if self.framing.ended:
                self._finished = True
                return False
            self.put((yield NEXT_PART))
            if self._is_idle:
                return not self.deaf
        part, position = self._part, self._position
        if self.deaf:
            self._position = len(part)
            yield WriteAll(part[position:], timeout)
            return False
        count: int = yield Write(memoryview(part)[position:], timeout)
        self._position = position + count
        return self._position < len(part)

    def _advance_file(self, span: FileSpan, timeout: float | None) -> Script[bool]:
        """As `_advance`, for a file, which has to be as long as it was."""
        heard = False
        if not span.left:
            pass
        elif self.deaf:
            part = yield ReadFile(span.offset, min(span.left, WRITE_SIZE))
            if not part:
                raise span.too_short()
            yield from self._took(span, len(part))
            yield WriteAll(part, timeout)
        else:
            sent = yield SendFile(span.offset, span.left, timeout)
            yield from self._took(span, sent)
            if span.left and not sent and not (yield ReadFile(span.offset, 1)):
                raise span.too_short()
            heard = bool(span.left)
        self._finished = not span.left
        return heard

    def _took(self, span: FileSpan, count: int) -> Script[None]:
        span.took(count)
        yield SeekFile(span.offset)
        if not span.left and (yield ReadFile(span.offset, 1)):
            raise span.too_long()

    # Listening, before the caller has the response

    def _await_permission(self, timeout: float | None) -> Script[None]:
        patience = CONTINUE_PATIENCE if timeout is None else min(CONTINUE_PATIENCE, timeout)
        now = yield NOW
        end = now + patience
        while not self._may_send and self.head is None:
            now = yield NOW
            if now >= end or not (yield from self._listen(end - now)):
                return
        if self.head is not None and not self._may_send:
            self.plan.decline()

    def _listen(self, timeout: float) -> Script[bool]:
        """Take in what the server says within `timeout` seconds; False when it said nothing."""
        try:
            data = yield Read(READ_SIZE, timeout)
        except ReadTimeout:
            return False
        except ReadError as exc:
            self.break_off(exc)
        else:
            self.hear(data)
        return True

    def break_off(self, exc: ReadError) -> None:
        """Note that reading has failed; raise `exc` again where there is no response."""
        if self.head is None:
            raise exc
        self.failure = without_frames(exc)  # of the response's body: its reader raises it
        self.deaf = True
        self.plan.end(complete=False)

    def hear(self, data: bytes) -> None:
        """Take in what the server has said; raise WriteError at its end if that was nothing."""
        if self.plan.complete:
            self.deaf = True  # an end, or what nobody asked for
            if not data:
                self.plan.end(complete=True)
            elif self.head is not None:
                self.head.body.feed(data)
        elif not data:
            self._note_end()
        elif self.head is None:
            self._read_head(data)
        else:
            self._take(data)

    # Listening while the next part is waited for, in a shell that can wait for both

    @property
    def may_hear(self) -> bool:
        """Whether what the server says can be taken in now: the caller has no part in it yet, and
        it is not too much."""
        plan = self.plan
        if self.deaf or not self._begun:
            return False
        return plan.complete or not (plan.handed_over or plan.held >= max(plan.limit, 1))

    def wants_part(self) -> bool:
        """Return whether the part that is waited for is of use, after `hear` or `break_off`."""
        self.plan.pause()
        return self.plan.next_step() != STOP

    def _note_end(self) -> None:
        if self.head is None:
            what = describe(self.prepared.request)
            raise WriteError(
                f"the server closed the connection while the body of {what} was being sent"
            )
        self.deaf = self._ended = True
        self.plan.end(complete=type(self.head.body) is CloseReader)

    def _read_head(self, data: bytes) -> None:
        if self.reader is None:
            request = self.prepared.request
            self.reader = HeadReader(
                request.method,
                request.headers,
                lenient=self._lenient,
                informational=self._informed,
                peer=request.url.origin,
            )
        head = self.head = self.reader.feed(data)
        if head is None:
            return
        self.plan.answer(head.status, closing=not head.keep_alive)
        if head.switched:
            self.deaf = self.plan.complete = True  # what comes now is no HTTP
            return
        rest, head.rest = head.rest, b""
        self._take(rest)

    def _take(self, data: bytes) -> None:
        """Take in a piece of the response's body."""
        assert self.head is not None
        body = self.head.body
        try:
            part = body.feed(data) if data else b""
        except RemoteProtocolError as exc:
            self.failure = without_frames(exc)
            if exc.payload:
                self._early.append(exc.payload)
            self.plan.end(complete=False)
            return
        if part:
            self._early.append(part)
            self.plan.held += len(part)
        self.plan.complete = body.done

    def _informed(self, status: int, headers: Headers) -> None:
        if status == 100:
            self._may_send = True
        hook = self.prepared.request.extensions.get("informational")
        if hook is not None:
            hook(status, headers)

    # Once the caller has the response

    def answered(self, all_written: bool) -> bool:
        """Note that the response's head is there; whether the request is complete.

        Parameters:
            all_written: writing has not failed.
        """
        if not all_written:
            self.plan.stopped = True
        return all_written and self.all_sent

    def hand_over(self, body: BodyState) -> None:
        """Give the response's `body` what has arrived of it while the request was sent, and let its
        end send what the server wants of the rest. `receive` gives it what follows."""
        self.plan.handed_over = True
        early = b"".join(self._early)
        self._early.clear()
        if early:
            body.pending = early
        body.failure = self.failure or body.failure
        if self.goes_on:
            body.upload = self

    def receive(self, max_bytes: int, timeout: float | None) -> Script[bytes | None]:
        """Read from the connection, and send the body while nothing is there. None when there is
        no more to send: the connection is read as any other then."""
        while not (self._finished or self._ended):
            step = self.plan.next_step()
            if step == STOP:
                break
            wait = smaller(CLOSING_PATIENCE, timeout) if step == LISTEN else 0
            try:
                data: bytes = yield Read(max_bytes, wait)
            except ReadTimeout:
                if step == LISTEN:
                    self.plan.listened()
                    continue
            else:
                self.deaf = self.deaf or not data
                return data
            yield from self._send_some(timeout)
        return b"" if self._ended else None

    def _send_some(self, timeout: float | None) -> Script[None]:
        """Send until there is something to read. Nothing in either direction is a timeout, of
        reading or of writing, whichever is shorter."""
        limit = smaller(timeout, self.timeout)
        try:
            yield from self._advance(limit)
            if self._is_idle:
                yield from self._pause()
        except WriteTimeout as exc:
            if limit == timeout:
                raise ReadTimeout(
                    f"{exc}; nor did a byte of the response to {describe(self.prepared.request)} "
                    "come while its body was being sent"
                ) from exc
            if not self.plan.stalled():
                raise
        except WriteError:
            self.plan.stopped = True  # what the server said before may still be there to be read

    def finish(self) -> Script[bool]:
        """Send what the server wants of the body now that its response is whole. Return whether
        the connection can carry another request."""
        assert self.head is not None
        self.plan.complete = True
        with contextlib.suppress(WriteError):
            yield from self._send_on()
        return self.all_sent and self.head.keep_alive


def is_sendable(source: object, length: int) -> bool:
    """Return whether the system can send the body by itself: a regular file of known length."""
    if type(source) is not io.BufferedReader or length <= WRITE_SIZE:
        return False
    try:
        return stat.S_ISREG(os.fstat(source.fileno()).st_mode)
    except (OSError, ValueError):
        return False
