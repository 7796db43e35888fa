"""Finds threads, sockets and changed loggers that a test left behind.

Owns: the comparison before and after. Must not know: which test, or what made them.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time

# Seconds, for all of a test's leftover threads together. They are ending already (their socket is
# closed), so this is spent only on a thread that will be reported.
GRACE = 3.0


def sockets() -> dict[str, int]:
    """Open sockets of this process: the kernel's name for each, and its descriptor.

    Empty where there is no /proc; ResourceWarning still catches what is collected there.
    """
    found: dict[str, int] = {}
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return found
    for name in names:
        try:
            link = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the descriptor of the listing itself
            continue
        if link.startswith("socket:"):
            found[link] = int(name)
    return found


def loggers() -> dict[str, str]:
    """Return how each of the project's loggers is set, by name: none is set for good."""
    found = {}
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.startswith("httpcore") and isinstance(logger, logging.Logger):
            found[name] = f"level {logger.level}"
            if logger.disabled:
                found[name] += ", disabled"
            if not logger.propagate:
                found[name] += ", alone"
            # What it remembers of its level would outlive a change that was broken off.
            for level, known in list(logger._cache.items()):  # type: ignore[attr-defined]
                if known != (logger.manager.disable < level >= logger.getEffectiveLevel()):
                    found[name] += f", remembers {known} for {level}"
    return found


class LeakCheck:
    """Made before a test; `leftovers()` afterwards says what is there now and was not then."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._sockets = sockets()
        self._loggers = loggers()

    def leftovers(self) -> list[str]:
        """One line per leak. Waits up to GRACE seconds for threads that are ending."""
        threads = self._leftover_threads()
        left = self._leftover_sockets()
        if left:
            # A socket in a reference cycle is closed by the collector, which then also warns.
            gc.collect()
            left = self._leftover_sockets()
        return [f"thread {name}" for name in threads] + left + self._changed_loggers()

    def _leftover_threads(self) -> list[str]:
        end = time.monotonic() + GRACE
        for thread in self._new_threads():
            thread.join(max(0.0, end - time.monotonic()))
        return [thread.name for thread in self._new_threads()]

    def _new_threads(self) -> list[threading.Thread]:
        # trio keeps its threads for ten seconds. anyio's plugin lets trio be a guest, which waits
        # for the network in one of them.
        return [
            thread
            for thread in threading.enumerate()
            if thread not in self._threads and not thread.name.startswith("Trio thread ")
        ]

    def _leftover_sockets(self) -> list[str]:
        return [f"{name} (fd {fd})" for name, fd in sockets().items() if name not in self._sockets]

    def _changed_loggers(self) -> list[str]:
        return [
            f"logger {name} ({state})"
            for name, state in loggers().items()
            if name in self._loggers and state != self._loggers[name]
        ]
