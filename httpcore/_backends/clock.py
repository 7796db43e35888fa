"""The clock of timeouts.

Owns: reading `time.monotonic` for a deadline. Must not know: the arithmetic
(`_core.deadline`), what is waited for.
"""

from __future__ import annotations

import time

from .._core.deadline import DeadlineMath
from .._exceptions import TimeoutException


class Deadline(DeadlineMath):
    """The end of a request's time: `total` seconds from now, by `time.monotonic`."""

    __slots__ = ()

    def __init__(self, total: float) -> None:
        super().__init__(total, time.monotonic())

    def left(self, timeout: float | None = None) -> float:
        """Do as `left_at` does, now."""
        return self.left_at(time.monotonic(), timeout)

    @property
    def passed(self) -> bool:
        """Return whether it is over now."""
        return self.passed_at(time.monotonic())

    def explain(self, exc: TimeoutException) -> None:
        """Do as `explain_at` does, now."""
        self.explain_at(exc, time.monotonic())

    def timed_out(self, began: float, seconds: float) -> None:
        """Do as `count_timeout` does, now."""
        self.count_timeout(began, seconds, time.monotonic())
