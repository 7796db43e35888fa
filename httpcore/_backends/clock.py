"""Waits that the clock does not count.

Owns: that one rule. Must not know: clocks (`now` is passed in), what is waited for.

Most waits here are parts of a longer one: its end is a reading of `time.monotonic`, and what is
left until then is given to poll(2), a lock or a socket. Where that clock stands still (freezegun
freezes it in tests), what is left would never become less. But the system measures each wait by
itself. So a loop of waits calls `uncounted` when one came back empty, and moves the end of the
longer wait nearer by that much. A clock that runs has counted all of it, and nothing moves.
"""

from __future__ import annotations


def uncounted(began: float, seconds: float, now: float) -> float:
    """Return how many seconds of a wait that came back empty the clock has not counted.

    Parameters:
        began: the clock's reading before the wait.
        seconds: how long the wait was; it must not have ended sooner.
        now: the clock's reading after it.
    """
    return max(0.0, began + seconds - now)
