"""TLS inside another stream: to an https origin through the TLS of an https proxy.

Owns: pumping records between an `ssl.SSLObject` and a stream. Must not know: sockets, proxies,
HTTP. The ssl module can lay TLS over a socket, but not over another TLS session; so here it
works on memory, and the stream below carries the records.

Sources: the ssl module's "Memory BIO support"; RFC 8446 sections 4.6.1 (tickets come at any
time) and 6.1 (close_notify).
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable
from typing import Any

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
from .base import NetworkStream
from .interrupt import abort
from .tcp import seconds
from .tls_begin import wrap_bio
from .tls_sessions import forget_session, keep_session, offer_session, session_key

# Bytes of payload in one record, at most (RFC 8446 section 5.1).
RECORD_PAYLOAD = 16384
# Bytes asked for in one read of the stream below: one record and its overhead, RFC 8446 5.2.
RECORD_SIZE = RECORD_PAYLOAD + 256 + 5


class TLSInTLSStream(NetworkStream):
    """A TLS session on top of another stream, which it owns.

    Parameters:
        below: the stream that carries the records.
        ssl_context, server_hostname: as for `NetworkStream.start_tls`.
        timeout: seconds for the handshake; None for ever.

    Attributes:
        peer: who is at the other end, for error texts.
        unclean_eof: True once the peer ended without close_notify.

    Raises ConnectTimeout, TLSError; the stream below is closed then.
    """

    __slots__ = (
        "_behind",
        "_below",
        "_claimed",
        "_ended",
        "_holds",
        "_incoming",
        "_object",
        "_outgoing",
        "_resumable",
        "peer",
        "unclean_eof",
    )

    def __init__(
        self,
        below: NetworkStream,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None,
        timeout: float | None,
    ) -> None:
        self._below = below
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.peer: str = getattr(below, "peer", "the peer")
        self.unclean_eof = False
        self._ended = False
        self._holds = True  # there may be input that was taken from the stream below
        self._behind: bytes | memoryview = b""  # records that it has not taken yet
        self._claimed = 0  # bytes of payload of the one that is to be reported when it has
        key = session_key(ssl_context, server_hostname, self.peer)
        try:
            self._object: ssl.SSLObject = wrap_bio(
                ssl_context, self._incoming, self._outgoing, server_hostname=server_hostname
            )
            # The context may have been changed meanwhile, before this was made by it or after.
            if key != session_key(ssl_context, server_hostname, self.peer):
                key = None
            self._resumable = ssl_context, key
            offer_session(ssl_context, key, self._object)
            self._pump(self._object.do_handshake, timeout)
        except BaseException as exc:
            below.close()
            forget_session(ssl_context, key)
            if isinstance(exc, TimeoutException):
                raise ConnectTimeout(
                    f"TLS handshake with {self.peer} timed out: not done within {seconds(timeout)}"
                ) from exc
            if isinstance(exc, (OSError, ValueError, NetworkError)):
                text = f"TLS handshake with {self.peer} failed: {exc}{explain_handshake(exc)}"
                raise TLSError(text) from exc
            raise

    def _pump(self, action: Callable[[], Any], timeout: float | None) -> Any:
        """`action()`, with records carried to and fro until it is done.

        Raises what `action` and the stream below raise.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                result = action()
            except ssl.SSLWantReadError:
                self._flush(deadline)
                data = self._below.read(RECORD_SIZE, _left(deadline))
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError:
                # The alert that says why; that it cannot be sent matters less.
                with contextlib.suppress(NetworkError, TimeoutException):
                    self._flush(deadline)
                raise
            else:
                self._flush(deadline)
                return result

    def _flush(self, deadline: float | None) -> None:
        if self._behind:
            self._collect()  # it may not overtake a record of which the stream below has a part
        elif self._outgoing.pending:
            self._below.write(self._outgoing.read(), _left(deadline))

    def _collect(self) -> None:
        """Put what is to be sent behind what the stream below has not taken yet."""
        if self._outgoing.pending:
            self._behind = b"".join([self._behind, self._outgoing.read()])

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data: bytes = self._pump(lambda: self._object.read(max_bytes), timeout)
            self._ended = not data  # after close_notify, ssl gives b"" and does not raise
            return data
        except ssl.SSLError as exc:
            return self._end_or_raise(exc)

    def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """As `read`, into `buffer`; 0 at the end of the stream."""
        try:
            count: int = self._pump(lambda: self._object.read(len(buffer), buffer), timeout)
            self._ended = not count
            return count
        except ssl.SSLError as exc:
            return len(self._end_or_raise(exc))

    def _end_or_raise(self, exc: ssl.SSLError) -> bytes:
        self._ended = True
        if isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            self.unclean_eof = isinstance(exc, ssl.SSLEOFError)
            return b""
        raise ReadError(f"read from {self.peer} failed: {exc}") from exc

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        try:
            if self._behind:  # `write_until_readable` was here, with the same bytes
                self._below.write(bytes(self._behind), timeout)
                self._behind = b""
            view, self._claimed = view[self._claimed :], 0
            while view:
                view = view[self._pump(lambda: self._object.write(view), timeout) :]  # noqa: B023
        except ssl.SSLError as exc:
            raise WriteError(f"write to {self.peer} failed: {exc}") from exc
        except (NetworkError, TimeoutException) as exc:
            exc.phase = MAYBE_PROCESSED  # records before this one may have arrived
            raise

    def write_until_readable(
        self, buffer: memoryview, timeout: float | None = None, until: float | None = None
    ) -> int:
        """As `SyncStream.write_until_readable`. A record counts when the stream below has all of
        it; come again with the same bytes first."""
        listening: Any = getattr(self._below, "write_until_readable", None)
        sent = 0
        try:
            while sent < len(buffer):
                if self._has_input():
                    return sent
                if not self._behind:
                    if listening is None:
                        self.write(bytes(buffer[sent:]), _smaller(timeout, _left(until)))
                        return len(buffer)
                    self._claimed = self._object.write(buffer[sent : sent + RECORD_PAYLOAD])
                    self._collect()
                count = listening(memoryview(self._behind), timeout, until)
                self._behind = self._behind[count:]
                if not self._behind:
                    sent += self._claimed
                    self._claimed = 0
        except ssl.SSLWantReadError:
            return sent  # TLS itself wants to be answered first
        except ssl.SSLError as exc:
            raise WriteError(f"write to {self.peer} failed: {exc}") from exc
        except (NetworkError, TimeoutException) as exc:
            exc.phase = MAYBE_PROCESSED  # as in `write`
            raise
        return sent

    def _has_input(self) -> bool:
        """Whether there is something to read, if only a record of TLS itself."""
        try:
            data = self._below.read(RECORD_SIZE, 0)
        except ReadTimeout:
            return bool(self._incoming.pending)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return True

    # Without blocking, for a connection that threads share; as those of `SyncStream`

    @property
    def wait(self) -> Callable[[bool, float | None], bool] | None:
        """As `SyncStream.wait`; None when the stream below cannot do that."""
        return None if getattr(self._below, "wait", None) is None else self._wait

    def _wait(self, write: bool, timeout: float | None) -> bool:
        below: Any = self._below
        ready: bool = self._holds or below.wait(write or bool(self._behind), timeout)
        return ready

    def wake(self) -> None:
        """As `SyncStream.wake`."""
        below: Any = self._below
        below.wake()

    def read_ready(self, max_bytes: int) -> bytes | None:
        """As `SyncStream.read_ready`. What TLS itself has to say to that is sent, too."""
        below: Any = self._below
        while True:
            try:
                data = self._object.read(max_bytes)
            except ssl.SSLWantReadError:
                self._push_answers()
                records = below.read_ready(RECORD_SIZE)
                if records is None:
                    self._holds = False
                    return None
                if records:
                    self._incoming.write(records)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError as exc:
                self._push_answers()  # the alert that says why
                return self._end_or_raise(exc)
            else:
                self._ended = not data
                self._holds = self._incoming.pending > 0 or self._object.pending() > 0
                return data

    def write_ready(self, buffer: bytes | memoryview) -> int:
        """As `SyncStream.write_ready`. A record counts when the stream below has all of it."""
        view = memoryview(buffer)
        sent = 0
        try:
            while view:
                if not self._claimed:
                    self._claimed = self._object.write(view[:RECORD_PAYLOAD])
                if not self._push():
                    return sent
                sent += self._claimed
                view = view[self._claimed :]
                self._claimed = 0
        except ssl.SSLError as exc:
            raise WriteError(f"write to {self.peer} failed: {exc}") from exc
        except WriteError as exc:
            if sent:  # else the peer has no whole record that it could act on
                exc.phase = MAYBE_PROCESSED
            raise
        return sent

    def _push_answers(self) -> None:
        """Send what TLS has to say to what came. If that fails, who writes next will be told."""
        with contextlib.suppress(WriteError):
            self._push()

    def _push(self) -> bool:
        """Give the stream below what it takes of our records; whether that was all."""
        below: Any = self._below
        self._collect()
        while self._behind:
            count: int = below.write_ready(self._behind)
            if not count:
                return False
            self._behind = memoryview(self._behind)[count:]
        self._behind = b""
        return True

    def close(self) -> None:
        self._below.close()

    def abort(self) -> None:
        """End what another thread is doing on this stream; it has to close it then."""
        abort(self._below)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        return TLSInTLSStream(self, ssl_context, server_hostname, timeout)

    def keep_session(self) -> None:
        """Keep the TLS session for the next connection to this peer; once data was read."""
        keep_session(*self._resumable, self._object)

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._object
        if info == "is_readable":
            return self._is_readable()
        return self._below.get_extra_info(info)

    def _is_readable(self) -> bool:
        """Whether data or an end has arrived; tickets and other records of TLS itself are not."""
        if self._ended or self._object.pending():
            return True
        # The stream below is read, not asked whether it is readable: it would answer by throwing
        # a byte away, since nobody reads an idle connection on.
        try:
            self.read(1, 0)
        except ReadTimeout:
            return False
        except NetworkError:
            return True
        return True

    def __repr__(self) -> str:
        return f"<httpcore.TLSInTLSStream [{self.peer}]>"


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _smaller(first: float | None, second: float | None) -> float | None:
    return min((each for each in (first, second) if each is not None), default=None)
