"""Closing the streams of asynchronous code, where nothing can be awaited.

Owns: the streams that can only be closed by waiting, until somebody can. Must not know: pools,
HTTP.

A connection is given up in one step, so that a cancellation cannot cut it in half. Our own streams
have a `close` that does not wait. A stream of another make has only `aclose`: it is put into a
queue, its place in the pool is given back, and then it is awaited by the task that gave it up, or
by the next that passes here. That wait is shielded. So is that for the last words on such a stream,
which can only be written by waiting.

The async generator of a request's body is closed here as well, but in the task that has asked it
for its parts, and not shielded, as by `contextlib.aclosing`. A scope or a task group that it has
entered can be left in no other task, and a ``finally`` that waits for ever must not hold up a task
that is cancelled.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NamedTuple

from .._trace import debug
from .event_loops import running_loop
from .loops import loop_of

logger = logging.getLogger("httpcore.connection")

# Seconds that the last words on a connection may take: a task that is cancelled waits for them. A
# stream takes so few bytes at once, or after a round trip; unless its peer reads no more, and some
# streams of another make heed no timeout.
LAST_WORDS = 0.5

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
    """Something else that has to be awaited.

    Attributes:
        aclose: returns what is to be awaited.
        thread: whose loop has to do it; None for any.
        shielded: no cancellation stops it, for `LAST_WORDS`.
    """

    aclose: Callable[[], Awaitable[object]]
    thread: int | None
    shielded: bool


def await_later(call: Callable[[], Awaitable[object]], here: bool) -> None:
    """Let `close_rest` await what `call` returns, which no cancellation stops but the end of
    `LAST_WORDS`; where `here`, in the loop of this thread."""
    unclosed.append(_Left(call, threading.get_ident() if here else None, True))


def close_generator(generator: AsyncGenerator[Any, Any]) -> None:
    """Let `close_rest` close it, in the loop of this thread."""
    unclosed.append(_Left(generator.aclose, threading.get_ident(), False))


async def close_rest() -> None:
    """Close the streams that have to be awaited, which no cancellation stops, and the generators of
    this thread, which one does stop; and await what else was left."""
    passed = 0  # entries in a row that are another thread's
    while passed < len(unclosed):
        try:
            left = unclosed.popleft()
        except IndexError:  # another thread took the last one
            break
        passed += 1
        if type(left) is _Left and left.thread not in (None, threading.get_ident()):
            if left.thread in sys._current_frames():  # else its loop is gone, and nobody can
                unclosed.append(left)
            continue
        passed = 0
        if type(left) is _Left and not left.shielded:
            await _close(left)
        else:
            limit = LAST_WORDS if type(left) is _Left else None
            await loop_of(running_loop()).finish(_close(left), limit)


async def _close(stream: Any) -> None:
    try:
        await stream.aclose()
    except Exception as exc:
        # Nothing that a request could act on.
        debug(logger, "closing %r failed: %s", stream, exc)
