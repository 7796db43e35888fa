"""Cancelling a task at a chosen ``await``.

Owns: counting the suspensions of a coroutine, and doing something at one of them. Must not know:
the packages under test, event loops.

A task is suspended where a coroutine yields to its loop. `Suspending` passes all of that on. Just
before the suspension of the given number it calls `act`: what that cancels is raised there.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Suspending(Generic[T]):
    """Awaits `work`, and calls `act` just before its suspension of this `number`, from 0 on.

    Attributes:
        act: to be set before it is awaited.
        count: how many suspensions there were.
    """

    def __init__(self, work: Coroutine[Any, Any, T], number: int) -> None:
        self._work = work
        self._number = number
        self.act: Callable[[], object] = list
        self.count = 0

    def __await__(self) -> Generator[Any, Any, T]:
        inner = self._work.__await__()
        try:
            waiting = inner.send(None)
            while True:
                if self.count == self._number:
                    self.act()
                self.count += 1
                try:
                    result = yield waiting
                except BaseException as exc:
                    waiting = inner.throw(exc)
                else:
                    waiting = inner.send(result)
        except StopIteration as end:
            value: T = end.value
            return value
