"""Sockets for asynchronous code: what is the same for every event loop.

Owns: writing, listening while writing, and TLS handshakes, over three ways to wait that a subclass
brings. Must not know: how a loop waits, HTTP.

Sources: OpenSSL's SSL_get_error(3), sendfile(2).
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from .._exceptions import ReadError
from .async_tls import AsyncTLSStream
from .base import AsyncNetworkStream
from .interrupt import clear_task_waker, set_task_waker, shut_down
from .sockets import SEND_AGAIN, SocketStream
from .tls_sessions import forget_session

# Bytes in one sendfile(2): a file that has to come from a disk first holds the loop up meanwhile.
SENDFILE_SIZE = 256 * 1024

# Bytes that go without waiting before other tasks get their turn. At the 200 MB/s of TLS that is
# 5 ms.
FAIR_SHARE = 1024 * 1024

Stream = TypeVar("Stream", bound="AsyncSocketStream")


class AsyncSocketStream(SocketStream, AsyncNetworkStream):
    """A connected socket, plain or TLS, that never blocks. One task may read while another writes.

    Parameters and attributes: see `SocketStream`.
    """

    __slots__ = ("_moved",)

    pending = b""  # all that was written and not taken is with the caller

    def __init__(self, sock: Any, peer: str) -> None:
        sock.settimeout(0)
        super().__init__(sock, peer)
        self._moved = 0  # bytes since other tasks had their turn

    # What a subclass brings

    async def wait(self, write: bool, timeout: float | None) -> bool:
        """Wait until there is something to read, or until there is room too if `write`. Return
        False when `timeout` seconds have passed."""
        raise NotImplementedError(f"{type(self).__name__} does not implement wait()")

    async def _wait_for_room(self, timeout: float | None) -> bool:
        """As `wait`, until there is room to write."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _wait_for_room()")

    async def _wait_for_peer(self, write: bool, timeout: float | None) -> bool:
        """As `wait`, for the handshake: nothing is read meanwhile."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _wait_for_peer()")

    async def _let_others_go_on(self) -> None:
        """Give other tasks their turn."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _let_others_go_on()")

    def has_arrived(self) -> bool:
        """Return whether there is something to read."""
        raise NotImplementedError(f"{type(self).__name__} does not implement has_arrived()")

    def _renewed(self: Stream, sock: Any) -> Stream:
        """Return the stream for `sock`, which has taken this one's descriptor over; this one does
        not use it any more."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _renewed()")

    def close(self) -> None:
        """Close the stream, without waiting; from any thread."""
        raise NotImplementedError(f"{type(self).__name__} does not implement close()")

    # Writing

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            sent = self._send(buffer)
        except SEND_AGAIN:
            sent = 0
        except (OSError, ValueError) as exc:
            raise self._write_failure(exc, 0, len(buffer), timeout) from exc
        if sent != len(buffer):
            await self._write_rest(memoryview(buffer), sent, timeout)

    async def _write_rest(self, buffer: memoryview, sent: int, timeout: float | None) -> None:
        try:
            while sent < len(buffer):
                await self._wait_until_taken(timeout)
                sent += self.write_ready(buffer[sent:])
        except (OSError, ValueError) as exc:
            raise self._write_failure(exc, sent, len(buffer), timeout) from exc

    async def _wait_until_taken(self, timeout: float | None) -> None:
        self._moved = 0
        if not await self._wait_for_room(timeout):
            raise TimeoutError("timed out")

    async def write_some(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Send what is taken at once, at least one byte; return how many."""
        while not (sent := self.write_ready(buffer)) and buffer:
            try:
                await self._wait_until_taken(timeout)
            except TimeoutError as exc:
                raise self._write_failure(exc, 0, len(buffer), timeout) from exc
        return sent

    async def write_until_readable(
        self, buffer: memoryview, timeout: float | None = None, until: float | None = None
    ) -> int:
        """Do as `WritesUntilReadable.write_until_readable` does."""
        return await self._send_listening(
            lambda sent: self._send(buffer[sent:]), len(buffer), timeout, until
        )

    async def send_file(
        self,
        file: int,
        offset: int,
        count: int,
        timeout: float | None = None,
        until: float | None = None,
    ) -> int:
        """Do as `SendsFiles.send_file` does."""
        out = self._sock.fileno()
        return await self._send_listening(
            lambda sent: os.sendfile(out, file, offset + sent, min(count - sent, SENDFILE_SIZE)),
            count,
            timeout,
            until,
        )

    async def _send_listening(
        self,
        send: Callable[[int], int],
        size: int,
        timeout: float | None,
        until: float | None,
    ) -> int:
        """Call `send` with how much went so far, until `size` bytes did or the peer sends
        something."""
        sent = 0
        try:
            while sent < size:
                if self.has_arrived():
                    break
                try:
                    count = send(sent)
                except SEND_AGAIN:
                    await self._wait_either(timeout, until)
                    continue
                if not count:
                    break  # a file that is shorter than it was
                sent += count
                await self._note_moved(count)
        except (OSError, ValueError) as exc:
            raise self._write_failure(exc, sent, size, timeout) from exc
        return sent

    async def _wait_either(self, timeout: float | None, until: float | None) -> None:
        if until is not None:
            left = max(0.0, until - time.monotonic())
            timeout = left if timeout is None else min(left, timeout)
        self._moved = 0
        if not await self.wait(True, timeout):
            raise TimeoutError("timed out")

    async def _note_moved(self, count: int) -> None:
        """Count bytes that went without waiting: others get their turn after FAIR_SHARE."""
        self._moved += count
        if self._moved >= FAIR_SHARE:
            self._moved = 0
            await self._let_others_go_on()

    # TLS

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        if self._secured:
            return await AsyncTLSStream.begin(self, ssl_context, server_hostname, timeout)
        sock, key, stream = self._sock, None, self
        end = None if timeout is None else time.monotonic() + timeout
        try:
            if self.has_arrived() and not self._tls:
                # Plain bytes would be taken for part of the TLS stream, or lost.
                raise ReadError(f"{self.peer} sent data before the TLS handshake")
            sock, key = self._begin_tls(ssl_context, server_hostname, 0)
            stream = self._renewed(sock)
            set_task_waker(partial(shut_down, sock))
            try:
                await stream._shake_hands(end)
            finally:
                clear_task_waker()
        except BaseException as exc:
            stream.close()
            sock.close()
            self.close()
            forget_session(ssl_context, key)
            raise self._tls_failure(exc, timeout)
        stream.note_secured(ssl_context, key)
        return stream

    async def _shake_hands(self, end: float | None) -> None:
        """Do the TLS handshake; raise TimeoutError when the time is `end`."""
        while True:
            try:
                return self._sock.do_handshake()  # type: ignore[attr-defined, no-any-return]
            except SEND_AGAIN as exc:
                write = not isinstance(exc, ssl.SSLWantReadError)
            left = None if end is None else max(0.0, end - time.monotonic())
            if not await self._wait_for_peer(write, left):
                raise TimeoutError("timed out")

    async def aclose(self) -> None:
        self.close()
