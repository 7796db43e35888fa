"""The blocks of a request's body, for a task to take one after the other.

Owns: asking an asynchronous iterable for them. Must not know: how they are sent; what gives blocks
without waiting is asked by `_core.prepared`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from .._core import prepared as plain
from .._core.prepared import Prepared, to_part


def body_parts(prepared: Prepared) -> AsyncIterator[bytes]:
    """Return the body's blocks, of what is there, of a file or of an asynchronous iterable.

    They are read within the task: a file that is slow holds the event loop up.
    """
    return _BodyParts(prepared)


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
