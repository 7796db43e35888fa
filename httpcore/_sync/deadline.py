"""One deadline over many reads and writes.

Owns: the stream that keeps to a deadline. Must not know: HTTP, pools, the arithmetic
(`_core.deadline`). A request without a total never meets any of this.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .._backends.base import NetworkStream
from .._backends.clock import Deadline
from .._backends.interrupt import abort
from .._exceptions import (
    MAYBE_PROCESSED,
    NetworkError,
    ReadTimeout,
    TimeoutException,
    WriteTimeout,
)

if TYPE_CHECKING:
    import ssl

# Bytes per write to a stream that cannot say how far it got: small, because the deadline is only
# looked at in between.
PIECE = 16384


class DeadlineStream(NetworkStream):
    """A stream on which every read and write ends at the deadline.

    Attributes:
        stream: the stream itself.
    """

    __slots__ = (
        "_asked",
        "_deadline",
        "_granted",
        "_write_listening",
        "_write_some",
        "stream",
        "write_until_readable",
    )

    def __init__(self, stream: NetworkStream, deadline: Deadline) -> None:
        self.stream = stream
        self._deadline = deadline
        self._asked = self._granted = 0.0  # when the last call began, and how long it may take
        self._write_some = getattr(stream, "write_some", None)
        self._write_listening = getattr(stream, "write_until_readable", None)
        # None tells that the stream cannot do that.
        self.write_until_readable = None if self._write_listening is None else self._write_until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self.stream.read(max_bytes, self._left(timeout, ReadTimeout))
        except TimeoutException as exc:
            self._explain(exc)
            raise

    def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """As `read`, into `buffer`."""
        readinto = getattr(self.stream, "readinto", None)
        if readinto is None:
            data = self.read(len(buffer), timeout)
            buffer[: len(data)] = data
            return len(data)
        try:
            count: int = readinto(buffer, self._left(timeout, ReadTimeout))
            return count
        except TimeoutException as exc:
            self._explain(exc)
            raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        sent = False
        try:
            while view:
                left = self._left(timeout, WriteTimeout)
                if self._write_some is not None:
                    view = view[self._write_some(view, left) :]
                else:
                    self.stream.write(bytes(view[:PIECE]), left)
                    view = view[PIECE:]
                sent = True
        except (NetworkError, TimeoutException) as exc:
            if sent:
                exc.phase = MAYBE_PROCESSED
            if isinstance(exc, TimeoutException):
                self._explain(exc)
            raise

    def _write_until(self, buffer: memoryview, timeout: float | None = None) -> int:
        assert self._write_listening is not None
        try:
            self._left(timeout, WriteTimeout)
            sent: int = self._write_listening(buffer, timeout, self._deadline.at)
            return sent
        except TimeoutException as exc:
            self._explain(exc)
            raise

    @property
    def sends_files(self) -> bool:
        return bool(getattr(self.stream, "sends_files", False))

    def send_file(self, file: int, offset: int, count: int, timeout: float | None = None) -> int:
        """As `SyncStream.send_file`."""
        stream: Any = self.stream
        try:
            self._left(timeout, WriteTimeout)
            sent: int = stream.send_file(file, offset, count, timeout, self._deadline.at)
            return sent
        except TimeoutException as exc:
            self._explain(exc)
            raise

    def _left(self, timeout: float | None, kind: type[TimeoutException]) -> float:
        left = self._deadline.left(timeout)
        self._asked, self._granted = time.monotonic(), left
        if left <= 0 and timeout != 0:  # zero asks for what is there already
            raise kind()
        return left

    def _explain(self, exc: TimeoutException) -> None:
        self._deadline.timed_out(self._asked, self._granted)
        self._deadline.explain(exc)

    def close(self) -> None:
        self.stream.close()

    def abort(self) -> None:
        """End what another thread is doing on the stream."""
        abort(self.stream)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        return self.stream.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)

    @property
    def unclean_eof(self) -> bool:
        return bool(getattr(self.stream, "unclean_eof", False))
