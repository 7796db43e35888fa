"""The blocks of a request's body, for a task to take one after the other.

Owns: asking an asynchronous iterable for them, and ending an async generator that gives more than
was sent. Must not know: how they are sent; what gives blocks without waiting is asked by
`_core.prepared`.
"""

from __future__ import annotations

from types import AsyncGeneratorType
from typing import Any

from .._backends.closing import close_generator
from .._core import prepared as plain
from .._core.prepared import Framing, Prepared, to_part
from .part_watches import PartWatch


def body_parts(prepared: Prepared, watch: PartWatch) -> BodyParts:
    """Return the body's blocks, of what is there, of a file or of an asynchronous iterable.

    They are read within the task: a file that is slow holds the event loop up. While an iterable is
    waited for, so is `watch`; where that says to wait no longer, the iterable was cancelled, and an
    empty part is given.
    """
    return BodyParts(prepared, watch)


def framed_parts(prepared: Prepared, watch: PartWatch) -> FramedParts:
    """Return them as they go on the wire; see `_core.prepared.framed_parts`."""
    return FramedParts(prepared, watch)


class BodyParts:
    """See `body_parts`."""

    __slots__ = ("_awaited", "_plain", "_watch")

    def __init__(self, prepared: Prepared, watch: PartWatch) -> None:
        source = prepared.request.stream
        self._awaited: Any = None
        self._watch = watch
        if prepared.content is None and hasattr(source, "__aiter__"):
            self._awaited = source.__aiter__()
        else:
            self._plain = plain.body_parts(prepared)

    def __aiter__(self) -> BodyParts:
        return self

    async def __anext__(self) -> bytes:
        if self._awaited is not None:
            part = await self._watch.loop.ask(self._awaited.__anext__(), self._watch)
            return part if type(part) is bytes else to_part(part)
        for part in self._plain:
            return part
        raise StopAsyncIteration

    def abandon(self) -> None:
        """Let `close_rest` close the generator that gives the blocks, if it has not ended.

        Else its ``finally`` would wait for the garbage collector, of which trio warns. An iterator
        of another kind, such as a response, may be of use to its owner still.
        """
        source = self._awaited
        if type(source) is AsyncGeneratorType and source.ag_frame is not None:
            close_generator(source)


class FramedParts:
    """See `framed_parts`."""

    __slots__ = ("_framing", "_parts")

    def __init__(self, prepared: Prepared, watch: PartWatch) -> None:
        self._parts = BodyParts(prepared, watch)
        self._framing = Framing(prepared.length)

    def __aiter__(self) -> FramedParts:
        return self

    async def __anext__(self) -> bytes:
        framing = self._framing
        if not framing.ended:
            part = await anext(self._parts, None)
            if part is not None:
                return framing.frame(part)
            if last := framing.end():
                return last
        raise StopAsyncIteration

    def abandon(self) -> None:
        """As `BodyParts.abandon`."""
        self._parts.abandon()
