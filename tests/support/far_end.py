"""The stream below a TLS session, and in memory the TLS server at its other end.

Owns: those, for both halves, and a TLS object that fails. Must not know: sockets, event loops.
"""

from __future__ import annotations

import ssl
from typing import Any

import httpcore


class FarEnd(httpcore.NetworkStream):
    """The stream below, and in memory the TLS server at its other end.

    `room`: bytes that will be taken; None for any number. `failure`: what writing raises.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = context.wrap_bio(self._in, self._out, server_side=True)
        self.established = False
        self.received = b""
        self.room: int | None = None
        self.failure: Exception | None = None
        self.ended = False
        self.alert: ssl.SSLError | None = None
        self.waits: list[tuple[bool, float | None]] = []
        self.woken = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self.read_ready(max_bytes)
        if data is None:
            raise httpcore.ReadTimeout
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.write_ready(buffer)

    def wait(self, write: bool, timeout: float | None) -> bool:
        self.waits.append((write, timeout))
        return self._out.pending > 0 or self.ended or (write and self.room != 0)

    def wake(self) -> None:
        self.woken += 1

    def read_ready(self, max_bytes: int) -> bytes | None:
        data = self._out.read(max_bytes)
        return data or (b"" if self.ended else None)

    def write_ready(self, buffer: Any) -> int:
        if self.failure is not None:
            raise self.failure
        data = bytes(buffer if self.room is None else buffer[: self.room])
        if self.room is not None:
            self.room -= len(data)
        self._in.write(data)
        try:
            if not self.established:
                self.server.do_handshake()
                self.established = True
            while got := self.server.read(65536):
                self.received += got
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            self.alert = exc
        return len(data)

    def close(self) -> None:
        pass


class AsyncFarEnd(FarEnd):
    """The same for asynchronous code. Who listens while there is no more room hears a word."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # type: ignore[override]
        return super().read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # type: ignore[override]
        self.write_ready(buffer)

    async def wait(self, write: bool, timeout: float | None) -> bool:  # type: ignore[override]
        return super().wait(write, timeout)

    async def write_until_readable(
        self, buffer: memoryview, timeout: float | None = None, until: float | None = None
    ) -> int:
        count = self.write_ready(buffer)
        if count < len(buffer):
            self.server.write(b"!")
        return count

    def has_arrived(self) -> bool:
        return self._out.pending > 0 or self.ended

    async def aclose(self) -> None:
        self.close()


def spoil(stream: Any, failure: Exception) -> None:
    """Let each step of its TLS object raise `failure`."""

    def fail(*_: Any) -> Any:
        raise failure

    class Failing:
        read = write = staticmethod(fail)

        def pending(self) -> int:
            return 0

    stream._pump.tls = Failing()
