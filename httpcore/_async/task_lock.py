"""A lock for the tasks of one event loop.

Owns: its queue. Must not know: what it is for.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from .._backends.event_loops import Waker, running_loop
from .._backends.loops import loop_of


class TaskLock:
    """A lock that tasks take one after the other, in the order in which they came.

    It is handed on, and not let go of, so that no task that comes later can be faster. A task that
    is cancelled in the moment in which it got it hands it on.
    """

    __slots__ = ("_taken", "_waiting")

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[Waker] = deque()

    async def __aenter__(self) -> None:
        if not self._taken:
            self._taken = True
            return
        waker = loop_of(running_loop()).make_waker()
        self._waiting.append(waker)
        try:
            await waker.acquire()
        except BaseException:
            if waker in self._waiting:
                self._waiting.remove(waker)
            else:
                self._hand_on()
            raise

    async def __aexit__(self, *exception: Any) -> None:
        self._hand_on()

    def _hand_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().release()
        else:
            self._taken = False
