"""The event loop that runs, as the asynchronous shell sees it.

Owns: the choice between the kinds of loops, and loading those that are to be expected. Must not
know: how one does what is asked of it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from .event_loops import EventLoop, running_loop


def loop_of(native: Any) -> EventLoop:
    """Return the `EventLoop` for what `running_loop` has returned."""
    if hasattr(native, "call_soon_threadsafe"):
        from .asyncio_loop import AsyncioLoop

        return AsyncioLoop(native)
    from .trio_loop import TrioLoop

    return TrioLoop(native)


def load_loops() -> None:
    """Import now what `loop_of` will need, so that no request waits for it."""
    for kind in expected_kinds():
        import_module(f"{__package__}.{kind}_loop")


def expected_kinds() -> list[str]:
    """Return the kinds of loops in which something that is made here may be used: that of the loop
    that runs. Where none runs yet, asyncio's, and trio's if the program has loaded trio."""
    try:
        native = running_loop()
    except RuntimeError:
        return ["asyncio", "trio"] if sys.modules.get("trio") is not None else ["asyncio"]
    return ["asyncio" if hasattr(native, "call_soon_threadsafe") else "trio"]
