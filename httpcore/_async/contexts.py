"""Making TLS contexts without holding the event loop up.

Owns: the thread for that. Must not know: what a context is made of (`_ssl`), connections.

Reading the roots takes some ten milliseconds, which all other tasks would have to wait. It is done
once for the same settings and files, so only the first connection of a kind has a thread for it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from .._backends.event_loops import running_loop
from .._backends.loops import loop_of

T = TypeVar("T")

# The kinds of contexts that were made in this process, by what made them.
_made: set[object] = set()


async def without_blocking(work: Callable[[], T], kind: object) -> T:
    """Return `work()`, which makes a TLS context; in a thread, the first time for this `kind`."""
    if kind in _made:
        return work()
    results: list[Any] = []
    failures: list[BaseException] = []
    waker = loop_of(running_loop()).make_waker()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as exc:
            failures.append(exc)
        with contextlib.suppress(RuntimeError):  # the loop is gone
            waker.release()

    threading.Thread(target=run, name="make a TLS context", daemon=True).start()
    await waker.acquire()
    if failures:
        raise failures.pop()
    _made.add(kind)
    result: T = results[0]
    return result
