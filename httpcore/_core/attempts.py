"""Decides whether a request that failed, or was answered with a status, is sent again.

Owns: the rules for replaying a request at once (`Replays`) and after a pause (`Repeats`). Must not
know: locks, sleeping, the clock, random numbers (they are passed in), how a request is sent.

Three reasons to send a request again at once, whatever the pool's settings:

- The connection could not take it: another request was faster, or the server has just retired it.
- An HTTP/2 server has refused it unread (RFC 9113 section 8.7): it goes to another connection.
- A *reused* connection died before any byte of the answer. That is then likely the keep-alive race
  (RFC 9112 section 9.3.1), not an answer to this request: once more, on a new connection.

A pause comes before it where the pool has a `RetryConfig`. Body and deadline have the last word.
"""

from __future__ import annotations

from typing import Protocol

from .._exceptions import (
    NOT_SENT,
    RESPONSE_STARTED,
    Aborted,
    ConnectError,
    ConnectionNotAvailable,
    ConnectTimeout,
    NetworkError,
    RemoteProtocolError,
)
from .._models import HeaderList
from .prepared import Prepared
from .retry import IDEMPOTENT, Retries, RetryConfig

# How often a request goes to another connection because an HTTP/2 server has refused it unread.
# Each time others were served; but a server that refuses everything must not keep us for ever.
MAX_MOVES = 16

RAISE = "RAISE"  # the failure is the caller's
RAISE_ABORTED = "RAISE_ABORTED"  # another thread ended it: the failure is how that came out
RAISE_ENDED = "RAISE_ENDED"  # connections end before they can be used: see `explain_ended`
ASK_AGAIN = "ASK_AGAIN"  # nothing was tried: ask the pool for a connection once more
MOVE = "MOVE"  # to another connection; this one refuses for now
REPLAY = "REPLAY"  # on a connection that nobody has used before


class Opened(Protocol):
    """The part of a connection that these decisions look at.

    Attributes:
        request_count: how many requests it has carried, this one among them if it was sent.
        protocol: "http11" or "http2".
    """

    request_count: int
    protocol: str

    def is_available(self) -> bool:
        """Whether it can take a request now."""


class Replays:
    """The failures of one request so far. Made when something fails for the first time.

    Attributes:
        fresh: only a connection that nobody has used will do.
        moves: how often it went to another connection because it was refused, or because the server
            had ended one before any request was sent on it.
    """

    __slots__ = ("_phase", "_prepared", "fresh", "moves")

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._phase: str | None = None  # how far the attempt before got
        self.fresh = False
        self.moves = 0

    def after(self, exc: BaseException, aborted: bool, connection: Opened | None) -> str:
        """Return what follows `exc`: RAISE, RAISE_ABORTED, RAISE_ENDED, ASK_AGAIN, MOVE or REPLAY.
        For the last two the body was rewound.

        Parameters:
            aborted: another thread has ended this request.
            connection: the one that failed; None when there was none.
        """
        if isinstance(exc, ConnectionNotAvailable):
            if connection is None or connection.request_count or connection.is_available():
                return ASK_AGAIN  # another request was faster, and has got on
            # The server has ended a new one. It may do so with each, and we would dial for ever.
            self.moves += 1
            return ASK_AGAIN if self.moves <= MAX_MOVES else RAISE_ENDED
        if self._phase is not None and getattr(exc, "phase", None) == NOT_SENT:
            exc.phase = self._phase  # type: ignore[attr-defined]  # all attempts count
        if isinstance(exc, Aborted):
            return RAISE
        if aborted:
            return RAISE_ABORTED
        step = self._choose(exc, connection)
        if step is RAISE:
            return RAISE
        try:
            self._prepared.rewind()
        except (OSError, ValueError):
            return RAISE  # it went back before, and does not now
        self._phase = getattr(exc, "phase", None)
        if step is MOVE:
            self.moves += 1
        else:
            self.fresh = True
        return step

    def _choose(self, exc: BaseException, connection: Opened | None) -> str:
        if connection is None or not self._prepared.is_repeatable:
            return RAISE
        if not isinstance(exc, (NetworkError, RemoteProtocolError)):
            return RAISE
        if connection.protocol == "http2":
            refused = isinstance(exc, RemoteProtocolError) and exc.phase == NOT_SENT
            if refused and self.moves < MAX_MOVES:
                return MOVE
            if connection.is_available():
                return RAISE  # the server has ended this stream alone
        if self.fresh or connection.request_count < 2 or exc.phase == RESPONSE_STARTED:
            return RAISE
        safe = exc.phase == NOT_SENT or self._prepared.request.method in IDEMPOTENT
        return REPLAY if safe else RAISE


def explain_ended(exc: BaseException) -> RemoteProtocolError:
    """Return what to raise for `exc` after RAISE_ENDED."""
    error = RemoteProtocolError(
        f"{exc}: it ended before the request could be sent, and so did {MAX_MOVES} others before"
    )
    error.phase = NOT_SENT
    return error


class Repeats:
    """The repeats of one request of a pool with a `RetryConfig`, and whether it may be repeated
    once more. The pool's budget is asked after this.

    Attributes:
        reason: what was the reason last, for people.
    """

    __slots__ = ("_prepared", "_retries", "reason")

    def __init__(self, config: RetryConfig, prepared: Prepared) -> None:
        self._prepared = prepared
        self._retries = Retries(config, prepared.request.method)
        self.reason = ""

    @property
    def made(self) -> int:
        """Repetitions so far."""
        return self._retries.made

    def after_failure(self, exc: Exception, random: float, now: float) -> float | None:
        """Return the seconds to wait before it is sent again, or None where it is not.

        Parameters:
            random: from 0.0 to 1.0.
            now: by the clock of the request's deadline.
        """
        self.reason = str(exc)
        delay = self._retries.after_failure(exc, random)
        untouched = isinstance(exc, (ConnectError, ConnectTimeout))  # the body was not asked for
        return delay if self._fits(delay, now, untouched) else None

    def after_status(
        self, status: int, headers: HeaderList, random: float, wall_clock: float, now: float
    ) -> float | None:
        """As `after_failure`, for a response.

        Parameters:
            headers: its fields, pairs of bytes.
            wall_clock: the time of day in seconds since 1970, for a Retry-After that is a date.
        """
        self.reason = f"status {status}"
        delay = self._retries.after_status(status, headers, random, wall_clock)
        return delay if self._fits(delay, now, False) else None

    def _fits(self, delay: float | None, now: float, untouched: bool) -> bool:
        deadline = self._prepared.deadline
        if delay is None or (deadline is not None and delay >= deadline.left_at(now)):
            return False
        return untouched or self._prepared.is_repeatable
