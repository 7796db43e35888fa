"""Finds threads and sockets that a test left behind.

Owns: the comparison before and after. Must not know: which test, or what made them.
"""

from __future__ import annotations

import gc
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


class LeakCheck:
    """Made before a test; `leftovers()` afterwards says what is there now and was not then."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._sockets = sockets()

    def leftovers(self) -> list[str]:
        """One line per leak. Waits up to GRACE seconds for threads that are ending."""
        threads = self._leftover_threads()
        left = self._leftover_sockets()
        if left:
            # A socket in a reference cycle is closed by the collector, which then also warns.
            gc.collect()
            left = self._leftover_sockets()
        return [f"thread {name}" for name in threads] + left

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
