"""An event loop whose clock stands while tasks run and leaps over each wait: no test sleeps.

Owns: that loop. Must not know: what runs in it. For tasks that wait for each other and for timers;
whoever waits for a socket or a thread gets an error.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class LeapingSelector(selectors.DefaultSelector):
    """Finds nothing, at once; the time that it should have waited is in `waited`."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if timeout is None and not found:
            raise AssertionError("all tasks wait, and no timer is set: this would last for ever")
        if not found:
            self.waited += timeout or 0.0
        return found


class LeapingLoop(asyncio.SelectorEventLoop):
    """See above."""

    def __init__(self) -> None:
        self._leaping = LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.waited


def run_on_leaping_clock(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` as `asyncio.run` would."""
    loop = LeapingLoop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()
