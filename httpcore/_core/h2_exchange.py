"""One request on an HTTP/2 connection: its state, and what follows from it.

Owns: when its stream may be opened, what it waits for, which failure its caller sees, how it ends.
Must not know: locks, sockets, clocks (`now` is passed in), how anybody waits.

Everything that is not told otherwise is called with the shell's lock held. Methods that change the
stream leave in the codec what has to be sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .._exceptions import (
    MAYBE_PROCESSED,
    NOT_SENT,
    ConnectionNotAvailable,
    LocalProtocolError,
    NetworkError,
    ReadError,
    ServerDisconnected,
    TimeoutException,
    WriteError,
    WriteTimeout,
    raised_anew,
)
from .._models import HeaderList, Response, describe, received_response
from .body_state import BodyState
from .deadline import uncounted
from .limits import WRITE_SIZE
from .prepared import Prepared, expects_continue

if TYPE_CHECKING:
    from .h2 import Stream
    from .h2_request import RequestHead
    from .h2_session import Session

# What became of an attempt to open a stream.
TOO_EARLY = "too early"  # the server has not said yet how many there may be, and there is one
MORE_TO_SEND = "more to send"
ALL_SENT = "all sent"


class Upload(Protocol):
    """The upload, as far as an exchange knows it (see `h2_upload.BodyUpload`)."""

    def continue_by_reading(self) -> bool:
        """Let reads of the response send from now on; False when there is nothing more to send."""


class ExchangeState:
    """One request on an HTTP/2 connection, and its response.

    Parameters:
        session: the connection's state.
        prepared: the request.

    Attributes:
        request: the request.
        deadline: when its total is over; None without a total.
        write_timeout: seconds in which the network must take some of it; None for any number.
        since: when it got its connection.
        stream: its stream; None until it is open.
        reused: the connection has carried others before.
        queued: what the session's `times_emptied` was when it last gave bytes to be sent.
        asks: it waits for the server's leave to send the body, or sends nothing for a while.
        aborted: another thread wants this request to end.
        called: it slept, and was woken because something came for it.
        upload: the body, when it did not leave with the head.
    """

    __slots__ = (
        "aborted", "asks", "called", "deadline", "queued", "request", "reused", "session", "since",
        "stream", "upload", "write_timeout",
    )  # fmt: skip

    def __init__(self, session: Session, prepared: Prepared) -> None:
        self.session = session
        self.request = prepared.request
        self.deadline = prepared.deadline
        self.write_timeout = prepared.timeouts.write
        self.since: float | None = None
        self.stream: Stream | None = None
        self.reused = False
        self.queued = -1
        self.asks = False
        self.aborted = False
        self.called = False
        self.upload: Upload | None = None

    @property
    def waits_for_server(self) -> bool:
        """Whether the network has taken all of its bytes, and only the server can let it go on:
        by opening its window, or by its answer to ``Expect``."""
        if self.queued == self.session.times_emptied:
            return False
        assert self.stream is not None
        return self.asks or not self.session.codec.send_window(self.stream)

    # Sending

    def open(self, prepared: Prepared, fields: RequestHead, now: float) -> str:
        """Open the stream with the request's head, and a small body with it; return TOO_EARLY,
        MORE_TO_SEND or ALL_SENT.

        Raises:
            ConnectionNotAvailable, ReadError, LocalProtocolError: it cannot be sent; nothing was.
        """
        session = self.session
        codec, liveness = session.codec, session.liveness
        if self.aborted or session.aborted or session.closed or session.discarded:
            self._check_in(now)
        if not codec.settled and not self.is_settled():
            return TOO_EARLY  # another thread was first
        content, end = prepared.content, prepared.length == 0
        try:
            self.stream = stream = codec.open_stream(fields, prepared.request.url.target, end)
            stream.owner = self
            self.reused = session.request_count > 0
            session.request_count += 1
            if (liveness.unproven or liveness.watched) and not session.exchanges:
                liveness.begin_waiting(now, session.request_count)
            session.exchanges[self] = None
            if liveness.unheard is None:
                liveness.unheard = now
            self.queued = session.times_emptied
            if content is not None and not end:
                if len(content) <= codec.send_window(stream) and not expects_continue(prepared):
                    codec.send_data(stream, content, True)
                    end = True
        except (ConnectionNotAvailable, LocalProtocolError):
            raise
        except BaseException:
            session.cut()
            raise
        return ALL_SENT if end else MORE_TO_SEND

    def _check_in(self, now: float) -> None:
        """Raise what keeps the request from being sent here, or make room."""
        session = self.session
        if self.aborted or session.aborted:
            raise not_sent(ReadError("aborted before it was sent"))
        if session.closed:
            raise ConnectionNotAvailable(f"the connection to {session.origin} is closed")
        if session.discarded:
            session.sweep(now)

    def explain_write_error(self, failure: WriteError, phase: str) -> WriteError | WriteTimeout:
        """Return what to raise when the connection could not be written to."""
        kind = WriteTimeout if isinstance(failure.__cause__, WriteTimeout) else WriteError
        error = kind(f"{failure} ({describe(self.request)})")
        error.phase = phase
        error.__cause__ = failure
        return error

    def send_part(self, part: bytes, position: int, end: bool) -> int:
        """Give the codec what the windows allow of `part`, from `position` on; return how far that
        is, or -1 when the server wants no more."""
        session, codec, stream = self.session, self.session.codec, self.stream
        assert stream is not None
        if self.is_useless():
            return -1
        size = min(len(part), position + WRITE_SIZE)
        while position < size:
            window = codec.send_window(stream)
            if not window:
                break
            self.queued = session.times_emptied
            codec.send_data(stream, part[position : position + window])
            position = min(len(part), position + window)
        if end:
            self.queued = session.times_emptied
            codec.end_request(stream)
        return position

    def take_as_whole(self) -> None:
        """End the stream, if all that its response announced is there."""
        stream = self.stream
        assert stream is not None
        if stream.is_whole and not stream.ended:
            self.session.codec.end_stream(stream)

    # The time

    def left(self, timeout: float | None, now: float) -> float | None:
        """Return what is left of `timeout` seconds from `now`, and of the total."""
        return timeout if self.deadline is None else self.deadline.left_at(now, timeout)

    def write_left(self, now: float) -> float | None:
        """Return the seconds that one write may take as far as this request goes."""
        return self.left(self.write_timeout, now)

    # What is waited for

    def is_settled(self) -> bool:
        """Return whether the stream may be opened, or never will be: how many there may be is not
        known until the server says it, so until then there is one."""
        codec = self.session.codec
        return codec.settled or not codec.open_streams or bool(codec.draining)

    def is_useless(self) -> bool:
        """Return whether nobody takes any more of the body: stream or connection has ended."""
        stream = self.stream
        assert stream is not None
        if stream.failure is not None or self.aborted or self.session.write_error is not None:
            return True
        return stream.status is not None and not self.session.codec.is_open(stream)

    def has_left_us(self) -> bool:
        """Return whether the network has all that the request has written."""
        return self.queued != self.session.times_emptied or self.is_useless()

    def may_send(self) -> bool:
        """Return whether there is room for more of the body, or never will be."""
        session, stream = self.session, self.stream
        assert stream is not None
        if self.is_useless():
            return True
        # Behind others' bytes there is always a place for some of its own: they would keep it out
        # for ever if it had to meet the moment in which there are none.
        left = self.queued != session.times_emptied
        return left and session.codec.send_window(stream) > 0

    def has_news(self) -> bool:
        """Return whether something came before the body of the response."""
        stream = self.stream
        assert stream is not None
        return stream.status is not None or bool(stream.informational) or stream.failure is not None

    def take_informational(self) -> list[tuple[int, HeaderList]]:
        """Take the interim responses that came; none where nobody wants to see them."""
        stream = self.stream
        assert stream is not None
        came, stream.informational = stream.informational, []
        return [] if self.request.extensions.get("informational") is None else came

    def has_payload(self) -> bool:
        """Return whether something of the body came, or its end."""
        stream = self.stream
        assert stream is not None
        return stream.readable

    # The response

    def respond(self, body: BodyState, timeout: float | None) -> Response:
        """Return the response, and let `body` read from the stream, with `timeout` seconds each.
        Called without the lock."""
        session, stream = self.session, self.stream
        assert stream is not None and stream.status is not None
        body.reader = stream
        if stream.parts or not stream.ended:
            body.back_up()
        body.timeout = timeout
        body.reusable = True
        if body.trace is not None:
            body.told = False
        if self.upload is not None and self.upload.continue_by_reading():
            body.upload = self
            body.reusable = False  # closed now, it ends the stream and reads nothing away
        extensions = {
            "http_version": b"HTTP/2",
            "network_stream": session.network_stream,
            "stream_id": stream.id,
            "reused": self.reused,
            "timings": body.marks,
            "connection": session.facts,
        }
        return received_response(stream.status, stream.headers, body, extensions)

    # Failures

    def explain(self, exc: BaseException, body: BodyState, now: float) -> BaseException:
        """Return what to raise for `exc`, with which the request has failed."""
        if isinstance(exc, ConnectionNotAvailable):
            return exc
        if self.deadline is not None and isinstance(exc, TimeoutException):
            self.deadline.explain_at(exc, now)
        if body.aborted or self.session.aborted or self.aborted:
            return body.explain_abort(exc)
        return exc

    def failure(self) -> BaseException:
        """Return what to raise when the response does not come."""
        session, stream = self.session, self.stream
        if self.aborted or stream is None or stream.failure is None:
            return ReadError(f"{describe(self.request)} was ended by a close or a CancelToken")
        error = session.write_error
        said_nothing = isinstance(stream.failure, (NetworkError, ServerDisconnected))
        if error is not None and stream.status is None and said_nothing:
            # The server went away while the request was sent, and left no word about it.
            return self.explain_write_error(error, MAYBE_PROCESSED)
        return raised_anew(stream.failure)

    def refuse_handler(self) -> ReadError:
        """Return what to raise when a signal handler would have to wait for the code that it has
        interrupted."""
        return ReadError(
            f"the response to {describe(self.request)} cannot be read by a signal handler that "
            "has interrupted this thread in the middle of using the same connection"
        )

    # The end

    def leave(self, complete: bool, now: float) -> bool:
        """Note that the request is over. Return whether another thread may be waiting for it that
        `Session.call` does not reach: the reader."""
        session, stream = self.session, self.stream
        if session.exchanges.pop(self, 0) is None and not session.exchanges:
            if session.keepalive_expiry is not None:
                session.expires = now + session.keepalive_expiry
        if stream is None:
            return False
        stream.owner = None
        if complete and stream.sent_all:
            return False
        try:
            session.codec.close_stream(stream)
            if not complete and session.liveness.is_hanging(now) and not session.codec.draining:
                session.ping(now)
        except BaseException:
            session.cut()
            raise
        if complete:
            return False
        stream.parts.clear()
        stream.ended = False  # who reads on in another thread must not take this for the end
        # Also in place of one that was raised, whose traceback has the stream.
        stream.failure = ReadError(f"the response to {describe(self.request)} was closed")
        return not session.call(self)


class Wait:
    """One wait of an exchange, which may be made of several: until when, and what each counts.

    A wait for room to write ends when nothing has gone on for its time. While the exchange's own
    bytes are in front of the network, or behind others' that are, each part that the network takes
    is progress. While it waits for the server, what others send is none.

    Parameters:
        exchange: the request that waits.
        timeout: seconds that it may take in all, or without progress; None for any number.
        write: it waits for room to write.

    Attributes:
        missed: seconds of the last part, which came back empty, that no clock has counted.
    """

    __slots__ = ("_began", "_end", "_exchange", "_seconds", "_taken", "_timeout", "_waited",
                 "_write", "missed")  # fmt: skip

    def __init__(
        self, exchange: ExchangeState, timeout: float | None, write: bool, now: float
    ) -> None:
        if exchange.deadline is not None:
            timeout = exchange.deadline.left_at(now, timeout)
        self._exchange = exchange
        self._timeout = timeout
        self._write = write
        self._end = None if timeout is None else now + timeout
        if write and timeout is not None:
            self._taken = exchange.session.parts_taken
            self._waited = exchange.waits_for_server

    def next(self, now: float, longest: float, reads: bool) -> float | None:
        """Return the seconds to wait next; None for any number.

        Parameters:
            longest: seconds that one part may take.
            reads: it is the reader, who acts on silence as well; else it is woken, or looks again.

        Raises ReadTimeout or WriteTimeout when the time is up.
        """
        exchange, left = self._exchange, None
        session = exchange.session
        if self._end is not None:
            if self._write and self._goes_on():
                self._end = now + (exchange.left(self._timeout, now) or 0.0)
            left = self._end - now
            if left <= 0:
                raise session.time_out(exchange, self._timeout, self._write, now)
        if reads and session.liveness.watched:
            left = session.liveness.patience(left, now)
        if left is None:
            left = None if reads else longest
        elif left > longest:
            left = longest
        self._began, self._seconds = now, left
        return left

    def _goes_on(self) -> bool:
        """Return whether there was progress since this was last asked."""
        waits, taken = self._exchange.waits_for_server, self._exchange.session.parts_taken
        made = not waits if self._waited else taken != self._taken
        self._waited, self._taken = waits, taken
        return made

    def came_back_empty(self, now: float) -> None:
        """Count the last part, which took as long as it might and in which nothing came."""
        seconds, deadline = self._seconds, self._exchange.deadline
        self.missed = 0.0 if seconds is None else uncounted(self._began, seconds, now)
        if self._end is not None:
            self._end -= self.missed
        if deadline is not None:
            deadline.at -= self.missed


def not_sent(exc: NetworkError | TimeoutException) -> NetworkError | TimeoutException:
    """Return `exc`, which says from now on that nothing was sent."""
    exc.phase = NOT_SENT
    return exc
