"""A TLS session over another stream, without what waits: in either world.

Owns: the beginning of a session on memory, what a handshake or a write that failed means, and what
can be read and written without waiting. Must not know: sockets, event loops, proxies, HTTP, how
records are carried when that takes time (`tls_in_tls`, `async_tls`), their order (`TLSPump`).
"""

from __future__ import annotations

import contextlib
import ssl
import time
from typing import Any

from .._core.tls_pump import RECORD_SIZE, TLSPump
from .._exceptions import (
    MAYBE_PROCESSED,
    ConnectTimeout,
    NetworkError,
    ReadError,
    TimeoutException,
    TLSError,
    WriteError,
    caused,
)
from .._ssl import explain_handshake
from .closing import close_stream
from .interrupt import abort
from .tcp import seconds
from .tls_begin import wrap_bio
from .tls_sessions import forget_session, keep_session, offer_session, session_key

# How OpenSSL says that the peer has ended: with close_notify, and without.
_ENDS = (ssl.SSLZeroReturnError, ssl.SSLEOFError)


class TLSRecords:
    """A TLS session on top of another stream, which it owns. To be mixed into a stream.

    Attributes:
        peer: the name of the other end, for error texts.
    """

    __slots__ = ("_below", "_pump", "_resumable", "peer")

    _pump: TLSPump[ssl.SSLObject]

    # The handshake

    def _set_below(
        self, below: object, ssl_context: ssl.SSLContext, server_hostname: str | None
    ) -> None:
        """Set the stream that carries the records, and the key of the session that is kept."""
        self._below: Any = below
        self.peer: str = getattr(below, "peer", "the peer")
        key = session_key(ssl_context, server_hostname, self.peer)
        self._resumable: tuple[ssl.SSLContext, Any] = ssl_context, key

    def _begin_session(self, server_hostname: str | None) -> None:
        """Make the session, before its handshake. A failure of either goes to `_end_handshake`."""
        ssl_context, key = self._resumable
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls: ssl.SSLObject = wrap_bio(
            ssl_context, incoming, outgoing, server_hostname=server_hostname
        )
        self._pump = TLSPump(tls, incoming, outgoing, ssl.SSLWantReadError, _ENDS)
        # The context may have been changed meanwhile, before this was made by it or after.
        if key != session_key(ssl_context, server_hostname, self.peer):
            key = None
        self._resumable = ssl_context, key
        offer_session(ssl_context, key, tls)

    def _end_handshake(self, exc: BaseException, timeout: float | None) -> BaseException:
        """Close the stream below after `exc`; return what to raise for it."""
        close_stream(self._below)
        forget_session(*self._resumable)
        if isinstance(exc, TimeoutException):
            text = f"TLS handshake with {self.peer} timed out: not done within {seconds(timeout)}"
            return caused(ConnectTimeout(text), exc)
        if isinstance(exc, (OSError, ValueError, NetworkError)):
            text = f"TLS handshake with {self.peer} failed: {exc}{explain_handshake(exc)}"
            return caused(TLSError(text), exc)
        return exc

    def keep_session(self) -> None:
        """Keep the TLS session for the next connection to this peer; once data was read."""
        keep_session(*self._resumable, self._pump.tls)

    # Failures and ends

    @property
    def unclean_eof(self) -> bool:
        """Return whether the peer ended without close_notify."""
        return self._pump.unclean_eof

    def _end_or_raise(self, exc: ssl.SSLError) -> bytes:
        """Return ``b""`` where a read that has failed is no more than the end."""
        if self._pump.note_end(exc):
            return b""
        raise ReadError(f"read from {self.peer} failed: {exc}") from exc

    def _note_failed_write(self, exc: ssl.SSLError | NetworkError | TimeoutException) -> None:
        """Raise WriteError for a failure of TLS; mark one of the stream below, to be raised as it
        is."""
        if isinstance(exc, ssl.SSLError):
            raise WriteError(f"write to {self.peer} failed: {exc}") from exc
        exc.phase = MAYBE_PROCESSED  # records before this one may have arrived

    # Without waiting, for a connection that threads or tasks share

    def wake(self) -> None:
        """Do as `WorksWithoutBlocking.wake` does."""
        self._below.wake()

    def read_ready(self, max_bytes: int) -> bytes | None:
        """Do as `WorksWithoutBlocking.read_ready` does. What TLS itself has to say to that is sent,
        too."""
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

    # Ending

    def close(self) -> None:
        """Close the stream, or note that it has to be awaited (see `closing`)."""
        close_stream(self._below)

    def abort(self) -> None:
        """End what another thread or task is doing on this stream; it has to close it then."""
        abort(self._below)

    def __repr__(self) -> str:
        return f"<httpcore.{type(self).__name__} [{self.peer}]>"


def left(deadline: float | None) -> float | None:
    """Return the seconds until `deadline`, a reading of the clock; None for no limit."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
