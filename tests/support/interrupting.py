"""Two ways to interrupt code that is under test: at a chosen point, and from another thread.

Owns: those. Must not know: what is interrupted.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import queue
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import httpcore

# The code whose points are counted: the package, and what stands between one of its context
# managers and their block.
_COUNTED = (os.path.dirname(httpcore.__file__) + os.sep, contextlib.__file__)


def interrupt_at(point: int, action: Callable[[], object], *, in_destructors: bool = False) -> bool:
    """Run `action` with a KeyboardInterrupt at the `point`-th place, from 1, where one can strike.

    CPython looks for pending interrupts when a function is entered and after a call of a C
    function; the profiler is called at just these. Those inside of destructors do not count, where
    what is raised goes nowhere; or none but those do, `in_destructors`. Nor does the garbage
    collector run meanwhile: it ends generators, which looks like a call of their function from any
    place. Returns False when `action` ended before, so all points are done. Raises what `action`
    raises in spite of, or because of, the interrupt.
    """
    seen = 0

    def strike(frame: FrameType, event: str, _: Any) -> None:
        nonlocal seen
        if event not in ("call", "c_return") or not frame.f_code.co_filename.startswith(_COUNTED):
            return
        caller: FrameType | None = frame
        while caller is not None and caller.f_code.co_name != "__del__":
            caller = caller.f_back
        if (caller is not None) is not in_destructors:
            return
        seen += 1
        if seen == point:
            raise KeyboardInterrupt

    gc.disable()
    sys.setprofile(strike)
    try:
        action()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
        gc.enable()
    return seen >= point


class Tally:
    """Counts up and down, like a semaphore, in threads that may be interrupted anywhere.

    `threading.Semaphore`, `Condition` and `Event` are written in Python: an interrupt between the
    step that takes their lock and the block that gives it back leaves it taken for good.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()

    def release(self) -> None:
        self._queue.put(None)

    def acquire(self, timeout: float = 0.0) -> bool:
        """Return whether there was something to count down, within `timeout` seconds."""
        try:
            if timeout:
                self._queue.get(timeout=timeout)
            else:
                self._queue.get_nowait()
        except queue.Empty:
            return False
        return True


class Interruptible(threading.Thread):
    """A thread that may be interrupted once, by `interrupt()` from any other.

    It calls `step()` until that returns False. An interrupted step counts as done. What a step
    raises besides ends the thread, and `failure` holds it. `sent` is True once an interrupt is on
    its way, `interrupted` once it has arrived: nearly always, but never where Python drops it.
    """

    def __init__(self, step: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self._step = step
        self._guard = threading.Lock()
        self.sent = False
        self._begun = False
        self._over = False
        self.interrupted = False
        self.failure: BaseException | None = None

    def interrupt(self) -> bool:
        """Raise KeyboardInterrupt in it, wherever it is; False if it is too early, too late, or
        was done. (Before `run`, it would never tell `start` that it has started.)"""
        with self._guard:
            if self.sent or self._over or not self._begun or self.ident is None:
                return False
            self.sent = True
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.ident), ctypes.py_object(KeyboardInterrupt)
            )
        return True

    def run(self) -> None:
        try:
            self._begun = True
            self._steps()
            with self._guard:
                self._over = True
            # One that was sent just before strikes here. If it does not, it struck in a destructor
            # or the like, where Python reports and drops it.
            for _ in range(1000):
                pass
        except KeyboardInterrupt:
            self.interrupted = True
            self._steps()
        self._over = True

    def _steps(self) -> None:
        try:
            while self._step():
                pass
        except Exception as exc:
            self.failure = exc
