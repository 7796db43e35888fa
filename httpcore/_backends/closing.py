"""Closing the streams of asynchronous code, where nothing can be awaited.

Owns: the streams that can only be closed by waiting, until somebody can. Must not know: pools,
HTTP.

A connection is given up in one step, so that a cancellation cannot cut it in half. Our own streams
have a `close` that does not wait. A stream of another make has only `aclose`: it is put into a
queue, its place in the pool is given back, and then it is awaited by the task that gave it up, or
by the next that passes here. That wait is shielded.

The async generator of a request's body is closed here as well, but in the task that has asked it
for its parts, and not shielded, as by `contextlib.aclosing`. A scope or a task group that it has
entered can be left in no other task, and a ``finally`` that waits for ever must not hold up a task
that is cancelled.
"""

from __future__ import annotations

import logging
from collections import deque
from types import AsyncGeneratorType
from typing import Any

from .._trace import debug
from .event_loops import running_loop
from .loops import loop_of

logger = logging.getLogger("httpcore.connection")

# Streams that have to be awaited; whoever has let go of one asks whether it is empty.
unclosed: deque[Any] = deque()


def close_stream(stream: Any) -> None:
    """Close `stream` now, or let `close_rest` do so."""
    close = getattr(stream, "close", None)
    if close is None:
        unclosed.append(stream)
    else:
        close()


async def close_rest() -> None:
    """Close the streams that have to be awaited, which no cancellation stops, and the generators,
    which one does stop."""
    while unclosed:
        stream = unclosed.popleft()
        if type(stream) is AsyncGeneratorType:
            await _close(stream)
        else:
            await loop_of(running_loop()).finish(_close(stream))


async def _close(stream: Any) -> None:
    try:
        await stream.aclose()
    except Exception as exc:
        # Nothing that a request could act on.
        debug(logger, "closing %r failed: %s", stream, exc)
