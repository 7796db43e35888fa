"""The event loop that runs, as the asynchronous shell sees it.

Owns: the choice between the kinds of loops. Must not know: how one does what is asked of it.
"""

from __future__ import annotations

from typing import Any

from .event_loops import EventLoop


def loop_of(native: Any) -> EventLoop:
    """Return the `EventLoop` for what `running_loop` has returned."""
    if hasattr(native, "call_soon_threadsafe"):
        from .asyncio_loop import AsyncioLoop

        return AsyncioLoop(native)
    from .trio_loop import TrioLoop

    return TrioLoop(native)
