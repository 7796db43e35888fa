"""Waiting for a connection, and what to do with one that turns out not to be usable.

Owns: how long a waiter sleeps, and that decision. Must not know: locks, sleeping, the clock (`now`
is passed in), how usability is found out.
"""

from __future__ import annotations

import types
from typing import Any

from .deadline import DeadlineMath, uncounted

# Seconds. A waiter that was served is woken at once; should the thread that served it be
# interrupted (KeyboardInterrupt) before it could wake it, the waiter looks by itself.
MAX_SLEEP = 1.0

DISCARD = "DISCARD"  # it has died while it was idle: close it, and ask for another one
HAND_BACK = "HAND_BACK"  # it can take no request for a moment: say so, give it back, ask again
GO_ASIDE = "GO_ASIDE"  # the interrupted code of this thread uses it: open one beside the books


def after_unusable(connection: Any) -> str:
    """Return what becomes of `connection`, an HTTP/1.1 or HTTP/2 connection which the Scheduler
    took for idle or for one with a free stream, and which is not usable."""
    if connection.protocol != "http2" or connection.is_draining:
        return DISCARD  # no other request is served on it, or those that are end it
    return GO_ASIDE if connection.is_occupied else HAND_BACK


def is_running(code: types.CodeType, owner: object, frame: types.FrameType | None) -> bool:
    """Return whether this thread, from `frame` outwards, is in the middle of `code`, a method of
    `owner`: of waiting for a connection of a pool, or of opening one. Then whoever has interrupted
    it must not wait for that. Only asked of those that would have to wait."""
    while frame is not None:
        if frame.f_code is code and frame.f_locals.get("self") is owner:
            return True
        frame = frame.f_back
    return False


class QueueWait:
    """The wait of one request for a connection, made of sleeps.

    Parameters:
        longest: seconds of one sleep, at most.

    Attributes:
        timeout: how long it may take in all, in seconds; None for no limit.
    """

    __slots__ = ("_deadline", "_end", "_longest", "timeout")

    def __init__(
        self,
        timeout: float | None,
        deadline: DeadlineMath | None,
        now: float,
        longest: float = MAX_SLEEP,
    ) -> None:
        if deadline is not None:
            timeout = deadline.left_at(now, timeout)
        self.timeout = timeout
        self._deadline = deadline
        self._longest = longest
        self._end = None if timeout is None else now + timeout

    def next_sleep(self, now: float) -> float:
        """Return the seconds to sleep next; 0 when the time is up."""
        longest = self._longest
        return longest if self._end is None else max(0.0, min(longest, self._end - now))

    def slept(self, began: float, seconds: float, now: float) -> None:
        """Count a sleep from which nobody woke the waiter (see `uncounted`)."""
        if self._end is not None:
            self._end -= uncounted(began, seconds, now)
        if self._deadline is not None:
            self._deadline.count_wait(began, seconds, now)
