"""The body of a request on an HTTP/2 connection, as scripts.

Owns: in which order the parts of the body are sent, waited for and given up (by the rules of
`upload`). Must not know: locks, sockets, clocks, where the body comes from.

The scripts are generators that yield what has to be done and get the result; each shell has one
short driver. They run only for bodies that do not leave together with the head.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from .._exceptions import MAYBE_PROCESSED, LocalProtocolError, ReadTimeout, WriteTimeout
from .._models import describe
from .h2_exchange import ExchangeState
from .limits import CONTINUE_PATIENCE
from .prepared import Prepared, expects_continue
from .upload import CLOSING_PATIENCE, HAND_OVER, LISTEN, SEND, STOP, T, UploadPlan, smaller

# What a shell is asked to do.
WAIT = "wait"  # wait until `call()`; WriteTimeout after `timeout` seconds without progress
NOW = "now"  # look at the clock
CHANGE = "change"  # `call()`, then send what it has left in the codec
LOOK = "look"  # take in what has arrived, without waiting
# Send parts of the body as long as `BodyUpload.goes_on`: take the next from `parts` if it
# `wants_part`, and `put` it; CHANGE by `send_some`; if that was True, WAIT until `is_ready`. One
# step for all, since there may be many short parts.
SEND_PARTS = "send parts"


class Step(NamedTuple):
    """One thing that a shell is asked to do.

    Attributes:
        action: WAIT, NOW, CHANGE, LOOK or SEND_PARTS.
        call: what is to be called with the lock: whether the wait is over, or the change.
        timeout: seconds that each wait may take; None for any number.
    """

    action: str
    call: Callable[[], Any] = bool
    timeout: float | None = None


Script = Generator[Step, Any, T]  # each step has a result of its own type


class BodyUpload:
    """The body of one request, as far as it did not leave with the head.

    Parameters:
        exchange: the request whose body it is.
        prepared: the same.
        parts: an iterator of the parts, which the shell asks: an asynchronous one has one that is
            awaited. Those that were not asked for yet are an attribute.

    Attributes:
        wants_part: all of the last one was sent.
    """

    __slots__ = ("_asks_first", "_disturbed", "_ends", "_exchange", "_finished", "_part", "_plan",
                 "_position", "_step", "_timeout", "parts", "wants_part")  # fmt: skip

    def __init__(self, exchange: ExchangeState, prepared: Prepared, parts: Any) -> None:
        self.parts = parts
        self._exchange = exchange
        self._asks_first = expects_continue(prepared)
        self._timeout = prepared.timeouts.write
        self.wants_part = True
        self._part = b""
        self._position = 0  # in the part: what went before it was sent
        self._ends = False  # there are no more parts
        self._finished = False
        self._disturbed = self._has_changed  # what else ends SEND_PARTS
        self._step = SEND
        self._plan = UploadPlan(prepared.wants_early)

    # Scripts

    def begin(self) -> Script[None]:
        """Send what is left of the head, then the body, or as much of it as the server wants
        before the caller has to read."""
        return self.send_on(begins=True)  # no generator around the other: each step would pass it

    def _wait_to_begin(self) -> Script[None]:
        """Send what is left of the head, and ask whether the server wants the body."""
        exchange = self._exchange
        stream = exchange.stream
        assert stream is not None
        if exchange.session.unsent:
            yield self._until(exchange.has_left_us, self._timeout)
        if stream.sent_all:
            self._finished = True
        elif self._asks_first:  # RFC 9110 section 10.1.1
            patience = smaller(CONTINUE_PATIENCE, self._timeout)
            yield from self._listen(exchange.has_news, patience)
            if stream.status is not None and not stream.informational:
                self._plan.decline()

    def send_on(self, begins: bool = False) -> Script[None]:
        """Send all of the body, or as much as the server wants before the caller has to read.

        Parameters:
            begins: nothing of it was sent yet.
        """
        if begins:
            yield from self._wait_to_begin()
        while not self._finished:
            self._step = self._look()
            if self._step in (STOP, HAND_OVER):
                break
            try:
                yield from self._advance(self._has_changed, self._plan.patience(self._timeout))
            except WriteTimeout:
                if not self._plan.stalled():
                    raise
        if self._step == STOP:
            yield from self._check_time()
            yield Step(CHANGE, self._exchange.take_as_whole)

    def _check_time(self) -> Script[None]:
        """Raise WriteTimeout where a stream that can only wait has not taken the body in time. The
        server reads nothing: an answer that is not there by now would be waited for in vain."""
        exchange = self._exchange
        stream, error = exchange.stream, exchange.session.write_error
        assert stream is not None
        if error is None or not isinstance(error.__cause__, WriteTimeout):
            return
        yield Step(LOOK)
        if stream.status is None and stream.failure is None:
            raise exchange.explain_write_error(error, MAYBE_PROCESSED)

    def send_while_reading(self, timeout: float | None) -> Script[None]:
        """Send until some of the response can be read. Nothing in either direction is a timeout,
        of reading (`timeout`) or of writing, whichever is shorter."""
        exchange, plan = self._exchange, self._plan
        stream = exchange.stream
        assert stream is not None
        limit = smaller(timeout, self._timeout)
        while not self._finished and not stream.readable:
            self._step = self._look()
            if self._step == STOP:
                yield Step(CHANGE, exchange.take_as_whole)
                return
            try:
                if self._step != LISTEN:
                    yield from self._advance(self._has_news, plan.patience(limit))
                else:
                    patience = smaller(CLOSING_PATIENCE, limit)
                    if not (yield from self._listen(self._has_news, patience)):
                        plan.listened()
            except WriteTimeout as exc:
                if plan.complete or limit != timeout:
                    if not plan.stalled():
                        raise
                    continue
                raise ReadTimeout(
                    f"{exc}; nor did a byte of the response to {describe(exchange.request)} "
                    "come while its body was being sent"
                ) from exc

    def _listen(self, ready: Callable[[], bool], patience: float | None) -> Script[bool]:
        """Send nothing for so many seconds, or until `ready()`; return whether it is. That they
        pass is no failure, unless the total does."""
        exchange = self._exchange
        exchange.asks = True
        try:
            yield Step(WAIT, ready, patience)
        except WriteTimeout:
            if exchange.deadline is not None and exchange.deadline.passed_at((yield Step(NOW))):
                raise
            return False
        finally:
            exchange.asks = False
        return True

    def _advance(self, disturbed: Callable[[], bool], timeout: float | None) -> Script[None]:
        """Send the body, waiting for room, to its end or until `disturbed()`; or until it has
        nothing to give now."""
        self._disturbed = disturbed
        try:
            yield Step(SEND_PARTS, timeout=timeout)
        except LocalProtocolError as exc:
            exc.phase = MAYBE_PROCESSED
            raise
        if self._is_idle:
            yield from self._pause()

    def _pause(self) -> Script[None]:
        """Look at the connection, since the body has nothing to give now. Raise WriteTimeout where
        the total is over, which no wait will notice."""
        yield Step(LOOK)
        deadline = self._exchange.deadline
        if deadline is None or self._disturbed():
            return
        now = yield Step(NOW)
        if deadline.passed_at(now):
            exc = WriteTimeout(f"the body of {describe(self._exchange.request)} gave no more")
            deadline.explain_at(exc, now)
            raise exc

    def _until(self, ready: Callable[[], bool], timeout: float | None) -> Step:
        """Return the step that waits for `ready()`, or until what comes from the server changes
        what is to be done."""
        return Step(WAIT, lambda: ready() or self._has_changed(), timeout)

    # What SEND_PARTS calls

    def put(self, part: bytes | None) -> None:
        """Take the next part of the body, None after the last, now that the one before was sent."""
        self._position = 0
        self._part = part or b""
        self._ends = part is None
        self.wants_part = not (part or self._ends)

    def send_some(self) -> bool:
        """Send some of the part; return whether to wait then. Called with the lock."""
        position = self._exchange.send_part(self._part, self._position, self._ends)
        if position < 0:
            self._plan.stopped = True
            return False
        self._position = position
        self.wants_part = not self._ends and position >= len(self._part)
        self._finished = self._ends
        return not self._ends

    def is_ready(self) -> bool:
        """Return whether there is room for more, or something else to be done. Also true where it
        is asked without the lock, if nothing was sent since: others only make room."""
        exchange = self._exchange
        ready = exchange.has_left_us() if self.wants_part else exchange.may_send()
        return ready or self._disturbed()

    def goes_on(self) -> bool:
        """Return whether the next part is to be sent."""
        return not (self._finished or self._is_idle or self._disturbed())

    @property
    def _is_idle(self) -> bool:
        """Whether the part that was taken last was empty: the body has nothing to give now."""
        return not (self._part or self._ends)

    def is_wanted(self) -> bool:
        """Return whether the part that is waited for is of use."""
        return self._look() != STOP

    # What follows from what came

    def continue_by_reading(self) -> bool:
        """Let reads of the response send from now on; False when there is nothing more to send."""
        self._plan.handed_over = True
        return not self._finished and self._look() != STOP

    def _look(self) -> str:
        """Tell the plan what came from the server, and ask what to do next."""
        stream, plan = self._exchange.stream, self._plan
        assert stream is not None
        if self._exchange.is_useless():
            plan.stopped = True
        elif stream.status is not None:
            plan.answer(stream.status, closing=False)
            plan.complete = stream.is_whole
            plan.held = stream.buffered
        return plan.next_step()

    def _has_changed(self) -> bool:
        return self._look() != self._step

    def _has_news(self) -> bool:
        stream = self._exchange.stream
        assert stream is not None
        return stream.readable or self._look() != self._step
