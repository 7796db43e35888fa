"""One deadline over many reads and writes of an asynchronous stream.

Owns: the stream that keeps to a deadline. Must not know: HTTP, pools, the arithmetic
(`_core.deadline`). A request without a total never meets any of this.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from .._exceptions import (
    MAYBE_PROCESSED,
    NetworkError,
    ReadTimeout,
    TimeoutException,
    WriteTimeout,
)
from .async_wrapped import AsyncForwardingStream
from .base import AsyncNetworkStream
from .clock import Deadline

# Bytes per write to a stream that cannot say how far it got: small, because the deadline is only
# looked at in between.
PIECE = 16384


class AsyncDeadlineStream(AsyncForwardingStream):
    """A stream on which every read and write ends at the deadline."""

    def __init__(self, stream: AsyncNetworkStream, deadline: Deadline) -> None:
        super().__init__(stream)
        self._inside: Any = stream  # for what it may offer
        self._deadline = deadline
        self._forwards_some = getattr(stream, "write_some", None) is not None
        self._asked = self._granted = 0.0  # when the last call began, and how long it may take
        own = self.__dict__
        for name in ("readinto", "write_until_readable"):
            if getattr(stream, name, None) is None:
                own[name] = None
        # Called with what is left.
        self.wait: Any = getattr(stream, "wait", None)
        self.wake: Any = getattr(stream, "wake", None)

    @property
    def sends_files(self) -> bool:
        """Return whether the stream inside sends files."""
        return bool(getattr(self.stream, "sends_files", False))

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return await self.stream.read(max_bytes, self._left(timeout, ReadTimeout))
        except TimeoutException as exc:
            self._explain(exc)
            raise

    async def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Do as `ReadsInPlace.readinto` does."""
        return await self._timed(ReadTimeout, timeout, self._inside.readinto, buffer)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        sent = False
        try:
            while view:
                view = view[await self._write_piece(view, self._left(timeout, WriteTimeout)) :]
                sent = True
        except (NetworkError, TimeoutException) as exc:
            if sent:
                exc.phase = MAYBE_PROCESSED
            if isinstance(exc, TimeoutException):
                self._explain(exc)
            raise

    async def _write_piece(self, view: memoryview, left: float) -> int:
        """Send a part of `view` that cannot take longer than `left` seconds; return its length."""
        if self._forwards_some:
            count: int = await self._inside.write_some(view, left)
            return count
        await self.stream.write(bytes(view[:PIECE]), left)
        return min(PIECE, len(view))

    async def write_some(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Do as `WritesSome.write_some` does."""
        return await self._timed(WriteTimeout, timeout, self._write_piece, buffer)

    async def _timed(
        self,
        kind: type[TimeoutException],
        timeout: float | None,
        call: Callable[[memoryview, float], Awaitable[int]],
        buffer: memoryview,
    ) -> int:
        try:
            return await call(buffer, self._left(timeout, kind))
        except TimeoutException as exc:
            self._explain(exc)
            raise

    async def write_until_readable(
        self, buffer: memoryview, timeout: float | None = None, until: float | None = None
    ) -> int:
        """Do as `WritesUntilReadable.write_until_readable` does."""
        return await self._send_until(self._inside.write_until_readable, (buffer,), timeout, until)

    async def send_file(
        self,
        file: int,
        offset: int,
        count: int,
        timeout: float | None = None,
        until: float | None = None,
    ) -> int:
        """Do as `SendsFiles.send_file` does."""
        return await self._send_until(self._inside.send_file, (file, offset, count), timeout, until)

    async def _send_until(
        self,
        send: Callable[..., Awaitable[int]],
        arguments: tuple[object, ...],
        timeout: float | None,
        until: float | None,
    ) -> int:
        at = self._deadline.at
        try:
            self._left(timeout, WriteTimeout)
            return await send(*arguments, timeout, at if until is None else min(at, until))
        except TimeoutException as exc:
            self._explain(exc)
            raise

    def _left(self, timeout: float | None, kind: type[TimeoutException]) -> float:
        now = time.monotonic()
        left = self._deadline.left_at(now, timeout)
        self._asked, self._granted = now, left
        if left <= 0 and timeout != 0:  # zero asks for what is there already
            raise kind()
        return left

    def _explain(self, exc: TimeoutException) -> None:
        now = time.monotonic()
        self._deadline.count_timeout(self._asked, self._granted, now)
        self._deadline.explain_at(exc, now)
