"""A stream that has to be awaited, behind the methods of one that does not.

Owns: reading in advance, and what was written and not awaited yet. Must not know: HTTP, which tasks
there are.

Streams of our own can be read from and written to without waiting. Those of other makes have
``read`` and ``write`` only, which are asynchronous. So what is written is kept in `pending` until
`drain` is awaited, and a task that waits for something to arrive reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._exceptions import NetworkError, ReadTimeout, raised_anew, without_frames
from .base import AsyncNetworkStream
from .closing import LAST_WORDS, await_later, close_stream
from .event_loops import running_loop

# Seconds that one wait may take: a task in it cannot be woken, so it looks now and then whether its
# request was ended.
MAX_AWAITED = 1.0

# Bytes that wait to be written, from which on no more are taken: an upload would be in memory as a
# whole, and keep the event loop to itself, where the peer's windows are wide.
MAX_PENDING = 131072

# Bytes read in advance: nothing but a read shows that there are some.
READ_AHEAD = 65536


class AwaitingAdapter:
    """A stream that has to be awaited, as one that does not.

    Attributes:
        pending: what was written and not awaited yet.
    """

    def __init__(self, stream: AsyncNetworkStream) -> None:
        self.pending = b""
        self._stream = stream
        self._loop = running_loop()
        self._draining = False
        self._data: bytes | None = None  # read in advance
        self._failure: NetworkError | None = None

    async def wait(self, write: bool, timeout: float | None) -> bool:
        """Wait until there is something to read, for at most `timeout` seconds; return whether
        there is. (There is always room to write.)"""
        if self._data is None and self._failure is None:
            timeout = MAX_AWAITED if timeout is None else min(timeout, MAX_AWAITED)
            try:
                self._data = await self._stream.read(READ_AHEAD, timeout)
            except ReadTimeout:
                return False
            except NetworkError as exc:
                self._failure = without_frames(exc)
        return True

    def wake(self) -> None:
        """Do nothing: what is written meanwhile is drained by the task that has written it."""

    def has_arrived(self) -> bool:
        """Return whether something was read in advance; more cannot be known without waiting."""
        return self._data is not None or self._failure is not None

    def read_ready(self, max_bytes: int) -> bytes | None:
        """Return what is there; None for nothing, ``b""`` for the end."""
        if self._failure is not None:
            raise raised_anew(self._failure)
        read, self._data = self._data, None
        return read

    def write_ready(self, buffer: bytes | memoryview) -> int:
        """Keep all of `buffer` for `drain` and return its length; 0 where enough is kept."""
        if len(self.pending) >= MAX_PENDING:
            return 0
        self.pending += bytes(buffer)
        return len(buffer)

    async def drain(self, limit: Callable[[], float | None]) -> bool:
        """Write what is pending, in the order in which it came; one task at a time does so. Return
        whether it was this one.

        Parameters:
            limit: returns the seconds that the next write may take; None for any number.

        Raises what the stream raises; what is pending then is dropped.
        """
        if self._draining:
            return False
        self._draining = True
        try:
            while self.pending:
                data, self.pending = self.pending, b""
                await self._stream.write(data, limit())
        except BaseException:
            self.pending = b""  # it would follow half a frame
            raise
        finally:
            self._draining = False
        return True

    def close(self) -> None:
        """Close the stream, or note that it has to be awaited (see `closing`)."""
        has_to_wait = getattr(self._stream, "close", None) is None
        if has_to_wait and self.pending and not self._draining:
            await_later(self._say_and_close, False)
        else:
            close_stream(self._stream)

    async def _say_and_close(self) -> None:
        """Write what is pending, which says why the connection ends, and close the stream. A loop
        that is not the stream's own writes nothing: the stream may be in use there."""
        try:
            if running_loop() is self._loop:
                await self.drain(lambda: LAST_WORDS)
        finally:
            close_stream(self._stream)


def without_awaiting(stream: Any) -> tuple[Any, float]:
    """Return what to use `stream` by, itself if it can be used without waiting; and the seconds
    that one of its waits may take."""
    if getattr(stream, "read_ready", None) is not None:
        return stream, float("inf")
    return AwaitingAdapter(stream), MAX_AWAITED
