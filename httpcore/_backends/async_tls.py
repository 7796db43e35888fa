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

from .._core.tls_pump import RECORD_SIZE, TLSPump
from .._exceptions import (
    MAYBE_PROCESSED,
    ConnectTimeout,
    NetworkError,
    ReadError,
    ReadTimeout,
    TimeoutException,
    TLSError,
    WriteError,
)
from .._ssl import explain_handshake
from .base import AsyncNetworkStream
from .closing import close_stream
from .interrupt import abort
from .tcp import seconds
from .tls_begin import wrap_bio
from .tls_sessions import forget_session, keep_session, offer_session, session_key

# How OpenSSL says that the peer has ended: with close_notify, and without.
_ENDS = (ssl.SSLZeroReturnError, ssl.SSLEOFError)


class AsyncTLSStream(AsyncNetworkStream):
    """A TLS session on top of another stream, which it owns; made by `begin`.

    One task may read while another writes.

    Attributes:
        peer: the name of the other end, for error texts.
        pending: nothing; all that was written and not taken is with the caller.
    """

    __slots__ = ("_below", "_flushing", "_pump", "_resumable", "peer")

    pending = b""

    def __init__(
        self,
        below: AsyncNetworkStream,
        pump: TLSPump[ssl.SSLObject],
        resumable: tuple[ssl.SSLContext, Any],
    ) -> None:
        self._below: Any = below
        self._pump = pump
        self._resumable = resumable
        self._flushing = False  # a task gives records to the stream below
        self.peer: str = getattr(below, "peer", "the peer")

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
        peer = getattr(below, "peer", "the peer")
        key = session_key(ssl_context, server_hostname, peer)
        try:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls: ssl.SSLObject = wrap_bio(
                ssl_context, incoming, outgoing, server_hostname=server_hostname
            )
            # The context may have been changed meanwhile, before this was made by it or after.
            if key != session_key(ssl_context, server_hostname, peer):
                key = None
            offer_session(ssl_context, key, tls)
            pump = TLSPump(tls, incoming, outgoing, ssl.SSLWantReadError, _ENDS)
            stream = cls(below, pump, (ssl_context, key))
            await stream._carry_out(tls.do_handshake, timeout)
            return stream
        except BaseException as exc:
            close_stream(below)
            forget_session(ssl_context, key)
            if isinstance(exc, TimeoutException):
                raise ConnectTimeout(
                    f"TLS handshake with {peer} timed out: not done within {seconds(timeout)}"
                ) from exc
            if isinstance(exc, (OSError, ValueError, NetworkError)):
                text = f"TLS handshake with {peer} failed: {exc}{explain_handshake(exc)}"
                raise TLSError(text) from exc
            raise

    @property
    def unclean_eof(self) -> bool:
        """Return whether the peer ended without close_notify."""
        return self._pump.unclean_eof

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
            self._pump.feed(await self._below.read(RECORD_SIZE, _left(deadline)))

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
                await self._below.write(records, _left(deadline))
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

    def _end_or_raise(self, exc: ssl.SSLError) -> bytes:
        if self._pump.note_end(exc):
            return b""
        raise ReadError(f"read from {self.peer} failed: {exc}") from exc

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
        except ssl.SSLError as exc:
            raise WriteError(f"write to {self.peer} failed: {exc}") from exc
        except (NetworkError, TimeoutException) as exc:
            exc.phase = MAYBE_PROCESSED  # records before this one may have arrived
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
        except ssl.SSLError as exc:
            raise WriteError(f"write to {self.peer} failed: {exc}") from exc
        except (NetworkError, TimeoutException) as exc:
            exc.phase = MAYBE_PROCESSED  # as in `write`
            raise
        return sent

    async def _has_input(self) -> bool:
        """Return whether there is something to read, if only a record of TLS itself."""
        try:
            self._pump.feed(await self._below.read(RECORD_SIZE, 0))
        except ReadTimeout:
            return self._pump.has_input
        return True

    # Without waiting, for a connection that tasks share

    @property
    def read_ready(self) -> Callable[[int], bytes | None] | None:
        """Do as `WorksWithoutBlocking.read_ready` does; None when the stream below cannot do that.
        What TLS itself has to say to that is sent, too."""
        return None if getattr(self._below, "read_ready", None) is None else self._read_ready

    def _read_ready(self, max_bytes: int) -> bytes | None:
        pump = self._pump
        while True:
            try:
                done, data = pump.try_step(lambda: pump.tls.read(max_bytes))
            except ssl.SSLError as exc:
                self._push_answers()  # the alert that says why
                return self._end_or_raise(exc)
            if done:
                pump.note_read(len(data))
                found: bytes = data
                return found
            self._push_answers()
            records = self._below.read_ready(RECORD_SIZE)
            if records is None:
                pump.holds = False
                return None
            pump.feed(records)

    def write_ready(self, buffer: bytes | memoryview) -> int:
        """Do as `WorksWithoutBlocking.write_ready` does. A record counts when the stream below has
        all of it."""
        view = memoryview(buffer)
        sent = 0
        try:
            while sent < len(view):
                self._pump.claim(view[sent:])
                if not self._push():
                    return sent
                sent += self._pump.settle()
        except ssl.SSLError as exc:
            raise WriteError(f"write to {self.peer} failed: {exc}") from exc
        except WriteError as exc:
            if sent:  # else the peer has no whole record that it could act on
                exc.phase = MAYBE_PROCESSED
            raise
        return sent

    def _push_answers(self) -> None:
        """Send what TLS has to say to what came. If that fails, the next write will, too."""
        with contextlib.suppress(WriteError):
            self._push()

    def _push(self) -> bool:
        """Give the stream below what it takes of our records; return whether that was all."""
        pump = self._pump
        pump.collect()
        while pump.behind:
            count: int = self._below.write_ready(pump.behind)
            if not count:
                return False
            pump.took(count)
        return True

    async def wait(self, write: bool, timeout: float | None) -> bool:
        """Do as `WorksWithoutBlocking.wait` does."""
        if self._pump.holds:
            return True
        ready: bool = await self._below.wait(write or bool(self._pump.behind), timeout)
        return ready

    def wake(self) -> None:
        """Do as `WorksWithoutBlocking.wake` does."""
        self._below.wake()

    def has_arrived(self) -> bool:
        """Return whether there is something to read, if only a record of TLS itself."""
        return self._pump.holds or self._pump.ended or bool(self._below.has_arrived())

    # Ending, and facts

    def close(self) -> None:
        """Close the stream, or note that it has to be awaited (see `closing`)."""
        close_stream(self._below)

    async def aclose(self) -> None:
        await self._below.aclose()

    def abort(self) -> None:
        """End what another task is doing on this stream; it has to close it then."""
        abort(self._below)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        return await AsyncTLSStream.begin(self, ssl_context, server_hostname, timeout)

    def keep_session(self) -> None:
        """Keep the TLS session for the next connection to this peer; once data was read."""
        keep_session(*self._resumable, self._pump.tls)

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
        if self.read_ready is None:
            return self._pump.has_input or bool(self._below.get_extra_info("is_readable"))
        # Read, not asked: the stream below would answer by throwing a byte away, since nothing
        # reads an idle connection.
        try:
            return self._read_ready(1) is not None
        except NetworkError:
            return True

    def __repr__(self) -> str:
        return f"<httpcore.AsyncTLSStream [{self.peer}]>"


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
