"""TLS records over memory, without a socket.

Owns: what an `ssl.SSLObject` on two memory BIOs has to send, which of it the stream below has not
taken, and how much of the caller's data each record stands for. Must not know: sockets, waiting,
and the ssl module (its objects and exceptions are passed in).

A stream of any world drives it: it asks for what is to be sent, sends it, reads from the stream
below when TLS wants input, and feeds that.

Sources: the ssl module's "Memory BIO support"; RFC 8446 sections 4.6.1 (tickets come at any time)
and 6.1 (close_notify).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

# Bytes of payload in one record, at most (RFC 8446 section 5.1).
RECORD_PAYLOAD = 16384
# Bytes asked for in one read of the stream below: one record and its overhead, RFC 8446 5.2.
RECORD_SIZE = RECORD_PAYLOAD + 256 + 5


class MemoryBIO(Protocol):
    """The part of `ssl.MemoryBIO` that is used."""

    @property
    def pending(self) -> int: ...

    def read(self) -> bytes: ...

    def write(self, buf: bytes, /) -> int: ...

    def write_eof(self) -> None: ...


class TLSObject(Protocol):
    """The part of `ssl.SSLObject` that is used."""

    def pending(self) -> int: ...

    def write(self, data: memoryview, /) -> int: ...


TLS = TypeVar("TLS", bound=TLSObject)


class TLSPump(Generic[TLS]):
    """The state of a TLS session between a caller's bytes and records.

    Parameters:
        tls: the `ssl.SSLObject`.
        incoming, outgoing: its `ssl.MemoryBIO` objects.
        wants_input: the exception by which it asks for more records, `ssl.SSLWantReadError`.
        ends: the exceptions by which it says that the peer has ended, `ssl.SSLZeroReturnError` and
            `ssl.SSLEOFError`; the last one is an end without close_notify.

    Attributes:
        behind: records that the stream below has not taken yet. Nothing may overtake them: it may
            have taken a part of one.
        claimed: bytes of the caller's data in the record that `behind` ends with, to be reported as
            sent when the stream below has all of it.
        ended: the peer has ended.
        unclean_eof: it did so without close_notify.
        holds: there may be input that was taken from the stream below and not read.
    """

    __slots__ = (
        "_ends",
        "_incoming",
        "_outgoing",
        "_wants_input",
        "behind",
        "claimed",
        "ended",
        "holds",
        "tls",
        "unclean_eof",
    )

    def __init__(
        self,
        tls: TLS,
        incoming: MemoryBIO,
        outgoing: MemoryBIO,
        wants_input: type[Exception],
        ends: tuple[type[Exception], ...],
    ) -> None:
        self.tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self._wants_input = wants_input
        self._ends = ends
        self.behind: bytes | memoryview = b""
        self.claimed = 0
        self.ended = False
        self.unclean_eof = False
        self.holds = True

    # Records

    def feed(self, records: bytes) -> None:
        """Take what came from the stream below, ``b""`` for its end."""
        self.holds = True
        if records:
            self._incoming.write(records)
        else:
            self._incoming.write_eof()

    def collect(self) -> bytes | memoryview:
        """Return all that the stream below has to take; `took` must follow, unless it fails."""
        if self._outgoing.pending:
            self.behind = b"".join([self.behind, self._outgoing.read()])
        return self.behind

    def urgent(self) -> bytes:
        """Return what TLS itself has to say, to be sent now: nothing while records are behind."""
        if self.behind:
            self.collect()
            return b""
        data: bytes = self._outgoing.read()
        return data

    def took(self, count: int) -> None:
        """Note how many bytes of `collect` the stream below has taken."""
        self.behind = memoryview(self.behind)[count:] if count < len(self.behind) else b""

    @property
    def has_input(self) -> bool:
        """Whether records are there that were not read."""
        return bool(self._incoming.pending)

    # Steps of TLS

    def try_step(self, action: Callable[[], object]) -> tuple[bool, Any]:
        """Do `action`, a step of the TLS object; return whether it was done, and its result. If it
        was not, send what is to be sent, and feed more records."""
        try:
            return True, action()
        except self._wants_input:
            return False, None

    def note_read(self, count: int) -> None:
        """Note that so many bytes were read: after close_notify none, where ssl does not raise."""
        self.ended = not count
        self.holds = self.has_input or self.tls.pending() > 0

    def note_end(self, exc: Exception) -> bool:
        """Note the failure of a read; return whether it is no more than the end of the stream."""
        self.ended = True
        if isinstance(exc, self._ends):
            self.unclean_eof = isinstance(exc, self._ends[-1])
            return True
        return False

    # The caller's data

    def claim(self, view: memoryview) -> None:
        """Make a record of the beginning of `view`, unless the last one has not gone yet: then
        `view` begins with the same bytes."""
        if not self.claimed:
            self.claimed = self.tls.write(view[:RECORD_PAYLOAD])

    def settle(self) -> int:
        """Return the bytes of the caller's data that the stream below has now taken."""
        count, self.claimed = self.claimed, 0
        return count
