"""The arithmetic of a request's total time.

Owns: what is left until a deadline, and the text of a timeout that the deadline caused. Must not
know: clocks (`now` is passed in), what is waited for.

A read timeout limits how long a peer may be silent; a peer that sends a byte now and then is never
silent, and can hold a request for ever (psf/requests#3099). So with a total, each wait gets what
is left of it.

Most waits are parts of a longer one, whose end is a reading of the clock. Where that clock stands
still (freezegun freezes it in tests), what is left would never become less, while the system
measures each wait by itself. So a loop of waits calls `uncounted` when one came back empty, and
moves the end of the longer wait nearer by that much. A clock that runs has counted all of it, and
nothing moves.
"""

from __future__ import annotations

import re

from .._exceptions import TimeoutException

# The limit in the text of a timeout, as `_backends.tcp.seconds` writes it.
_LIMIT = re.compile(r" (?:within|after) [0-9.e+-]+ s\b")


class DeadlineMath:
    """The end of a request's time; the subclass in `_backends.clock` reads the clock.

    Attributes:
        at: that moment, by the clock that `now` is a reading of.
        given: the seconds that the caller gave; more than `total` where it has an attribute
            ``given``, because an earlier attempt took some.
    """

    __slots__ = ("at", "given")

    def __init__(self, total: float, now: float) -> None:
        self.given: float = getattr(total, "given", total)
        self.at = now + total

    def left_at(self, now: float, timeout: float | None = None) -> float:
        """Return the seconds until it, or `timeout` if that is less; 0 at least."""
        left = max(0.0, self.at - now)
        return left if timeout is None else min(left, timeout)

    def passed_at(self, now: float) -> bool:
        """Return whether it is over."""
        return now >= self.at

    def count_wait(self, began: float, seconds: float, now: float) -> None:
        """Count a wait of `seconds`, begun when the clock said `began`, that came back empty."""
        self.at -= uncounted(began, seconds, now)

    def count_timeout(self, began: float, seconds: float, now: float) -> None:
        """Count a call that reported a timeout, or a sleep. Where the system gave up by itself
        (ETIMEDOUT), it did so sooner; so only a clock that stands still is not believed."""
        if now == began:
            self.at -= seconds

    def explain_at(self, exc: TimeoutException, now: float) -> None:
        """Begin the text of `exc` with this deadline, if it is over."""
        text = f"total of {self.given:.15g} s is over"
        happened = str(exc)
        if self.passed_at(now) and text not in happened:
            # What was left of the total is not a number that the caller knows.
            happened = _LIMIT.sub("", happened, count=1)
            exc.args = (f"{text}: {happened}" if happened else text,)


def uncounted(began: float, seconds: float, now: float) -> float:
    """Return how many seconds of a wait that came back empty the clock has not counted.

    Parameters:
        began: the clock's reading before the wait.
        seconds: how long the wait was; it must not have ended sooner.
        now: the clock's reading after it.
    """
    return max(0.0, began + seconds - now)
