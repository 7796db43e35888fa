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
import threading
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

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


class _Left(NamedTuple):
    """A generator that is to be closed, and the thread whose loop runs it."""

    generator: AsyncGenerator[Any, Any]
    thread: int


def close_generator(generator: AsyncGenerator[Any, Any]) -> None:
    """Let `close_rest` close it, in the loop of this thread."""
    unclosed.append(_Left(generator, threading.get_ident()))


async def close_rest() -> None:
    """Close the streams that have to be awaited, which no cancellation stops, and the generators of
    this thread, which one does stop."""
    others: list[_Left] = []
    try:
        while unclosed:
            try:
                left = unclosed.popleft()
            except IndexError:  # another thread took the last one
                break
            if type(left) is not _Left:
                await loop_of(running_loop()).finish(_close(left))
            elif left.thread == threading.get_ident():
                await _close(left.generator)
            else:
                others.append(left)
    finally:
        unclosed.extend(others)


async def _close(stream: Any) -> None:
    try:
        await stream.aclose()
    except Exception as exc:
        # Nothing that a request could act on.
        debug(logger, "closing %r failed: %s", stream, exc)
