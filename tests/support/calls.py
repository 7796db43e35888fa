"""Counting the function calls that an action leads to.

What is counted are `call` events of `sys.setprofile`: functions written in Python that are
entered, generators each time they are resumed. Functions written in C are not; they are shown
beside it. Only the calling thread is seen, so a server may run in this process.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, NamedTuple

#: Requests before the one that is counted: the connection is opened, caches are filled.
WARM_UP = 3
#: Times that the warm request is counted; the smallest count is free of chance events such as
#: a weak reference that dies just then.
REPEATS = 5


class Calls(NamedTuple):
    """What one call of an action led to: entered Python functions by name, and C functions."""

    python: Counter[str]
    c: int

    def __str__(self) -> str:
        rows = [f"{count:5} {name}" for name, count in self.python.most_common()]
        return "\n".join([f"{self.python.total()} Python calls, {self.c} C calls:", *rows])


class Counting:
    """Sees the events of `sys.setprofile`."""

    def __init__(self) -> None:
        self.python: Counter[str] = Counter()
        self.c = 0

    def see(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            code = frame.f_code
            self.python[f"{code.co_filename}:{code.co_firstlineno} {code.co_name}"] += 1
        elif event == "c_call":
            self.c += 1

    def calls(self) -> Calls:
        return Calls(self.python, self.c - 1)  # less the `setprofile` that ended it


def count_once(action: Callable[[], object]) -> Calls:
    counting = Counting()
    previous = sys.getprofile()
    sys.setprofile(counting.see)
    try:
        action()
    finally:
        sys.setprofile(previous)
    return counting.calls()


async def count_awaited(action: Callable[[], Awaitable[object]]) -> Calls:
    """The calls of ``await action()`` once it is warm, and of the event loop meanwhile."""
    found = []
    for _ in range(WARM_UP + REPEATS):
        counting = Counting()
        previous = sys.getprofile()
        sys.setprofile(counting.see)
        try:
            await action()
        finally:
            sys.setprofile(previous)
        found.append(counting.calls())
    return min(found[WARM_UP:], key=lambda calls: calls.python.total())


def count(action: Callable[[], object]) -> Calls:
    """The calls of `action` once it is warm."""
    for _ in range(WARM_UP):
        action()
    gc.disable()
    try:
        return min((count_once(action) for _ in range(REPEATS)), key=lambda c: c.python.total())
    finally:
        gc.enable()
