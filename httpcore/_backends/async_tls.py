"""TLS over another asynchronous stream: inside the TLS of an https proxy, or over a stream that is
no socket of ours.

Owns: carrying the records of a `TLSPump` over a stream. Must not know: sockets, event loops,
proxies, HTTP.

A task may be cancelled at each ``await``. What was read from the session is returned without one,
so no byte is lost to the next reader.

Sources: as `tls_in_tls`, the synchronous twin.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

from .._core.tls_pump import RECORD_SIZE
from .._exceptions import NetworkError, ReadTimeout, TimeoutException
from .base import AsyncNetworkStream
from .tls_records import TLSRecords, left


class AsyncTLSStream(TLSRecords, AsyncNetworkStream):
    """A TLS session on top of another stream, which it owns; made by `begin`.

    One task may read while another writes.

    Attributes:
        peer: the name of the other end, for error texts.
        pending: nothing; all that was written and not taken is with the caller.
    """

    __slots__ = ("_flushing",)

    pending = b""

    def __init__(
        self,
        below: AsyncNetworkStream,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None,
    ) -> None:
        self._set_below(below, ssl_context, server_hostname)
        self._flushing = False  # a task gives records to the stream below
        if getattr(below, "read_ready", None) is None:  # then this one cannot do that, either
            self.__dict__["read_ready"] = None

    @classmethod
    async def begin(
        cls,
        below: AsyncNetworkStream,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None,
        timeout: float | None,
    ) -> AsyncTLSStream:
        """Return a session over `below`, its handshake done.

        Parameters:
            below: the stream that carries the records.
            ssl_context, server_hostname: as for `NetworkStream.start_tls`.
            timeout: seconds for the handshake; None for ever.

        Raises ConnectTimeout, TLSError; the stream below is closed then.
        """
        stream = cls(below, ssl_context, server_hostname)
        await stream._shake_hands(server_hostname, timeout)
        return stream

    async def _shake_hands(self, server_hostname: str | None, timeout: float | None) -> None:
        try:
            self._begin_session(server_hostname)
            await self._carry_out(self._pump.tls.do_handshake, timeout)
        except BaseException as exc:
            raise self._end_handshake(exc, timeout)

    # Carrying records

    async def _carry(self, action: Callable[[], Any], deadline: float | None) -> Any:
        """Return the result of `action`, with records carried to and fro until it is done. What it
        has to send by then is left to `_flush`.

        Raises what `action` and the stream below raise.
        """
        while True:
            try:
                done, result = self._pump.try_step(action)
            except ssl.SSLError:
                # The alert that says why; that it cannot be sent matters less.
                with contextlib.suppress(NetworkError, TimeoutException):
                    await self._flush(deadline)
                raise
            if done:
                return result
            await self._flush(deadline)
            self._pump.feed(await self._below.read(RECORD_SIZE, left(deadline)))

    async def _carry_out(self, action: Callable[[], Any], timeout: float | None) -> Any:
        """Do as `_carry` does, and send all."""
        deadline = None if timeout is None else time.monotonic() + timeout
        result = await self._carry(action, deadline)
        await self._flush(deadline)
        return result

    async def _flush(self, deadline: float | None) -> None:
        if self._flushing:
            return  # that task takes what we have, too
        self._flushing = True
        try:
            while records := self._pump.urgent():
                await self._below.write(records, left(deadline))
        finally:
            self._flushing = False

    # Reading

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            data: bytes = await self._carry(lambda: self._pump.tls.read(max_bytes), deadline)
        except ssl.SSLError as exc:
            return self._end_or_raise(exc)
        self._pump.note_read(len(data))
        return data

    async def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Do as `ReadsInPlace.readinto` does."""
        deadline = None if timeout is None else time.monotonic() + timeout
        tls = self._pump.tls
        try:
            count: int = await self._carry(lambda: tls.read(len(buffer), buffer), deadline)
        except ssl.SSLError as exc:
            return len(self._end_or_raise(exc))
        self._pump.note_read(count)
        return count

    # Writing

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view, pump = memoryview(buffer), self._pump
        try:
            if pump.behind:  # `write_until_readable` was here, with the same bytes
                records = bytes(pump.collect())
                await self._below.write(records, timeout)
                pump.took(len(records))
            view = view[pump.settle() :]
            while view:
                sent = await self._carry_out(lambda: pump.tls.write(view), timeout)  # noqa: B023
                view = view[sent:]
        except (ssl.SSLError, NetworkError, TimeoutException) as exc:
            self._note_failed_write(exc)
            raise

    @property
    def write_until_readable(self) -> Callable[..., Awaitable[int]] | None:
        """Do as `WritesUntilReadable.write_until_readable` does; None when the stream below cannot
        do that. A record counts when the stream below has all of it; come again with the same bytes
        first."""
        has = getattr(self._below, "write_until_readable", None) is not None
        return self._write_until_readable if has else None

    async def _write_until_readable(
        self, buffer: memoryview, timeout: float | None = None, until: float | None = None
    ) -> int:
        pump, sent = self._pump, 0
        try:
            while sent < len(buffer):
                if await self._has_input():
                    return sent
                pump.claim(buffer[sent:])
                records = memoryview(pump.collect())
                pump.took(await self._below.write_until_readable(records, timeout, until))
                if not pump.behind:
                    sent += pump.settle()
        except ssl.SSLWantReadError:
            return sent  # TLS itself wants to be answered first
        except (ssl.SSLError, NetworkError, TimeoutException) as exc:
            self._note_failed_write(exc)
            raise
        return sent

    async def _has_input(self) -> bool:
        """Return whether there is something to read, if only a record of TLS itself."""
        try:
            self._pump.feed(await self._below.read(RECORD_SIZE, 0))
        except ReadTimeout:
            return self._pump.has_input
        return True

    # Without blocking, for a connection that tasks share

    async def wait(self, write: bool, timeout: float | None) -> bool:
        """Do as `WorksWithoutBlocking.wait` does."""
        if self._pump.holds:
            return True
        ready: bool = await self._below.wait(write or bool(self._pump.behind), timeout)
        return ready

    def has_arrived(self) -> bool:
        """Return whether there is something to read, if only a record of TLS itself."""
        return self._pump.holds or self._pump.ended or bool(self._below.has_arrived())

    # Ending, and facts

    async def aclose(self) -> None:
        await self._below.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        return await AsyncTLSStream.begin(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._pump.tls
        if info == "is_readable":
            return self._is_readable()
        return self._below.get_extra_info(info)

    def _is_readable(self) -> bool:
        """Return whether data or an end has arrived; tickets and other records of TLS itself are
        not."""
        if self._pump.ended or self._pump.tls.pending():
            return True
        take: Any = self.read_ready
        if take is None:
            return self._pump.has_input or bool(self._below.get_extra_info("is_readable"))
        # Read, not asked: the stream below would answer by throwing a byte away, since nothing
        # reads an idle connection.
        try:
            return take(1) is not None
        except NetworkError:
            return True
