"""TLS inside another stream: to an https origin through the TLS of an https proxy.

Owns: carrying the records of a `TLSPump` over a stream. Must not know: sockets, proxies, HTTP. The
ssl module can lay TLS over a socket, but not over another TLS session; so here it works on memory,
and the stream below carries the records.

Sources: the ssl module's "Memory BIO support"; RFC 8446 sections 4.6.1 (tickets come at any
time) and 6.1 (close_notify).
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable
from typing import Any

from .._core.tls_pump import RECORD_SIZE
from .._exceptions import NetworkError, ReadTimeout, TimeoutException
from .base import NetworkStream
from .tls_records import TLSRecords, left


class TLSInTLSStream(TLSRecords, NetworkStream):
    """A TLS session on top of another stream, which it owns.

    Parameters:
        below: the stream that carries the records.
        ssl_context, server_hostname: as for `NetworkStream.start_tls`.
        timeout: seconds for the handshake; None for ever.

    Attributes:
        peer: the name of the other end, for error texts.

    Raises ConnectTimeout, TLSError; the stream below is closed then.
    """

    __slots__ = ()

    def __init__(
        self,
        below: NetworkStream,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None,
        timeout: float | None,
    ) -> None:
        self._set_below(below, ssl_context, server_hostname)
        try:
            self._begin_session(server_hostname)
            self._carry(self._pump.tls.do_handshake, timeout)
        except BaseException as exc:
            raise self._end_handshake(exc, timeout)

    def _carry(self, action: Callable[[], Any], timeout: float | None) -> Any:
        """Return the result of `action`, with records carried to and fro until it is done.

        Raises what `action` and the stream below raise.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                done, result = self._pump.try_step(action)
            except ssl.SSLError:
                # The alert that says why; that it cannot be sent matters less.
                with contextlib.suppress(NetworkError, TimeoutException):
                    self._flush(deadline)
                raise
            self._flush(deadline)
            if done:
                return result
            self._pump.feed(self._below.read(RECORD_SIZE, left(deadline)))

    def _flush(self, deadline: float | None) -> None:
        records = self._pump.urgent()
        if records:
            self._below.write(records, left(deadline))

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data: bytes = self._carry(lambda: self._pump.tls.read(max_bytes), timeout)
        except ssl.SSLError as exc:
            return self._end_or_raise(exc)
        self._pump.note_read(len(data))
        return data

    def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Do as `ReadsInPlace.readinto` does."""
        try:
            count: int = self._carry(lambda: self._pump.tls.read(len(buffer), buffer), timeout)
        except ssl.SSLError as exc:
            return len(self._end_or_raise(exc))
        self._pump.note_read(count)
        return count

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view, pump = memoryview(buffer), self._pump
        try:
            if pump.behind:  # `write_until_readable` was here, with the same bytes
                records = bytes(pump.collect())
                self._below.write(records, timeout)
                pump.took(len(records))
            view = view[pump.settle() :]
            while view:
                view = view[self._carry(lambda: pump.tls.write(view), timeout) :]  # noqa: B023
        except (ssl.SSLError, NetworkError, TimeoutException) as exc:
            self._note_failed_write(exc)
            raise

    def write_until_readable(
        self, buffer: memoryview, timeout: float | None = None, until: float | None = None
    ) -> int:
        """Do as `WritesUntilReadable.write_until_readable` does. A record counts when the stream
        below has all of it; come again with the same bytes first."""
        listening: Any = getattr(self._below, "write_until_readable", None)
        pump, sent = self._pump, 0
        try:
            while sent < len(buffer):
                if self._has_input():
                    return sent
                if listening is None and not pump.behind:
                    self.write(bytes(buffer[sent:]), _smaller(timeout, left(until)))
                    return len(buffer)
                pump.claim(buffer[sent:])
                pump.took(listening(memoryview(pump.collect()), timeout, until))
                if not pump.behind:
                    sent += pump.settle()
        except ssl.SSLWantReadError:
            return sent  # TLS itself wants to be answered first
        except (ssl.SSLError, NetworkError, TimeoutException) as exc:
            self._note_failed_write(exc)
            raise
        return sent

    def _has_input(self) -> bool:
        """Return whether there is something to read, if only a record of TLS itself."""
        try:
            self._pump.feed(self._below.read(RECORD_SIZE, 0))
        except ReadTimeout:
            return self._pump.has_input
        return True

    # Without blocking, for a connection that threads share

    @property
    def wait(self) -> Callable[[bool, float | None], bool] | None:
        """Do as `WorksWithoutBlocking.wait` does; None when the stream below cannot do that."""
        return None if getattr(self._below, "wait", None) is None else self._wait

    def _wait(self, write: bool, timeout: float | None) -> bool:
        pump = self._pump
        ready: bool = pump.holds or self._below.wait(write or bool(pump.behind), timeout)
        return ready

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        return TLSInTLSStream(self, ssl_context, server_hostname, timeout)

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
        # The stream below is read, not asked whether it is readable: it would answer by throwing
        # a byte away, since nothing reads an idle connection.
        try:
            self.read(1, 0)
        except ReadTimeout:
            return False
        except NetworkError:
            return True
        return True


def _smaller(first: float | None, second: float | None) -> float | None:
    return min((each for each in (first, second) if each is not None), default=None)
