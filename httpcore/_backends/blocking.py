"""A stream that can only block, behind the methods of one that does not.

Owns: how a thread waits for such a stream, and how another one wakes it. Must not know: HTTP, which
threads there are.

`SyncStream` can be used without ever blocking: ``wait``, ``wake``, ``read_ready`` and
``write_ready``. Streams of other makes have ``read`` and ``write`` only.
"""

from __future__ import annotations

import contextlib
from typing import Any

from .._exceptions import (
    NetworkError,
    ReadTimeout,
    WriteError,
    WriteTimeout,
    raised_anew,
    without_frames,
)
from .base import NetworkStream
from .sync import MAX_POLL, SyncStream, WakeablePoll

# Seconds that one wait may take where the thread cannot be woken: so late it sees that a request
# was cancelled.
MAX_BLOCKED = 1.0

# Bytes read in advance, where nothing but a read shows that there are some.
READ_AHEAD = 65536


class BlockingAdapter:
    """A stream that can only block, as one that does not; writing takes as long as it takes.

    If the stream says which socket is under it, that is waited on; the stream itself is used by one
    thread at a time, as OpenSSL wants it. Else what is waited for is read in advance, while others
    may write; and `wait` cannot be ended, so it returns now and then. That is for tests and
    special networks.

    Attributes:
        patience: seconds in which the next write must be done; None for any number.
    """

    def __init__(self, stream: NetworkStream) -> None:
        self.patience: float | None = None
        self._stream = stream
        self._more = False  # it may have data that was read from the socket and not asked for
        self._data: bytes | None = None  # read in advance
        self._failure: NetworkError | None = None
        self._poll: WakeablePoll | None = None
        sock = stream.get_extra_info("socket")
        # `socket.socket` is not asked for: programs put functions of their own there.
        if hasattr(sock, "fileno") and SyncStream.wait is not None:
            # No descriptors are left, or it is closed, or it is a mock's.
            with contextlib.suppress(OSError, ValueError, TypeError):
                self._poll = WakeablePoll(sock)

    def wait(self, write: bool, timeout: float | None) -> bool:
        """Wait until there may be something to read, for at most `timeout` seconds or until
        `wake`; return whether that was before. (There is always room to write.)"""
        poll = self._poll
        if poll is not None:
            return self._more or poll.wait(False, timeout)
        if self._data is not None or self._failure is not None:
            return True
        if timeout == 0 and not self._stream.get_extra_info("is_readable"):
            return False
        timeout = MAX_BLOCKED if timeout is None else min(timeout, MAX_BLOCKED)
        try:
            self._data = self._stream.read(READ_AHEAD, timeout)
        except ReadTimeout:
            return False
        except NetworkError as exc:
            self._failure = without_frames(exc)
        return True

    def wake(self) -> None:
        """End the `wait` of another thread, if it is one that can be ended."""
        poll = self._poll
        if poll is not None:
            poll.wake()

    def read_ready(self, max_bytes: int) -> bytes | None:
        """Return what is there; None for nothing, ``b""`` for the end."""
        if self._poll is not None:
            try:
                data = self._stream.read(max_bytes, 0)
            except ReadTimeout:
                self._more = False
                return None
            self._more = bool(data)
            return data
        if self._failure is not None:
            raise raised_anew(self._failure)
        read, self._data = self._data, None
        return read

    def write_ready(self, buffer: bytes | memoryview) -> int:
        """Write all of `buffer`, however long it takes; return its length."""
        try:
            self._stream.write(bytes(buffer), self.patience)
        except WriteTimeout as exc:
            error = WriteError(str(exc))
            error.phase = exc.phase
            raise error from exc
        return len(buffer)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()
        self._poll = None


def without_blocking(stream: NetworkStream) -> tuple[Any, float]:
    """Return what to use `stream` by, and the seconds that one of its waits may take; those of a
    `SyncStream` come back sooner from longer ones."""
    if getattr(stream, "wait", None) is not None:
        return stream, MAX_POLL
    return BlockingAdapter(stream), MAX_BLOCKED
