"""The blocks of a request's body, for a task to take one after the other.

Owns: asking an asynchronous iterable for them. Must not know: how they are sent; what gives blocks
without waiting is asked by `_core.prepared`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from .._core import prepared as plain
from .._core.prepared import Framing, Prepared, to_part


def body_parts(prepared: Prepared) -> AsyncIterator[bytes]:
    """Return the body's blocks, of what is there, of a file or of an asynchronous iterable.

    They are read within the task: a file that is slow holds the event loop up.
    """
    return _BodyParts(prepared)


def framed_parts(prepared: Prepared) -> AsyncIterator[bytes]:
    """Return them as they go on the wire; see `_core.prepared.framed_parts`."""
    return _FramedParts(prepared)


class _BodyParts:
    """See `body_parts`."""

    __slots__ = ("_awaited", "_plain")

    def __init__(self, prepared: Prepared) -> None:
        source = prepared.request.stream
        self._awaited: Any = None
        if prepared.content is None and hasattr(source, "__aiter__"):
            self._awaited = source.__aiter__()
        else:
            self._plain = plain.body_parts(prepared)

    def __aiter__(self) -> _BodyParts:
        return self

    async def __anext__(self) -> bytes:
        if self._awaited is not None:
            part = await self._awaited.__anext__()
            return part if type(part) is bytes else to_part(part)
        for part in self._plain:
            return part
        raise StopAsyncIteration


class _FramedParts:
    """See `framed_parts`."""

    __slots__ = ("_framing", "_parts")

    def __init__(self, prepared: Prepared) -> None:
        self._parts = _BodyParts(prepared)
        self._framing = Framing(prepared.length)

    def __aiter__(self) -> _FramedParts:
        return self

    async def __anext__(self) -> bytes:
        framing = self._framing
        while not framing.ended:
            part = await anext(self._parts, None)
            framed = framing.end() if part is None else framing.frame(part)
            if framed:
                return framed
        raise StopAsyncIteration
