"""The methods that a stream may offer beyond `NetworkStream`.

Owns: the list of abilities, as Protocols, and which methods of `NetworkStream` each stands in for.
Must not know: which streams have them, which code uses them.

All of them are optional. A stream offers a Protocol as a whole or not at all; "not" is a missing
attribute, or None (where it depends on the system, or on the stream inside). Users ask for them
with ``getattr(stream, name, None)``, and have a way that needs `read` and `write` only.

A wrapper (`_backends.wrapped.ForwardingStream`) forwards all of them, with one exception that is
derived from the table below: where it does something else in `read` or `write`, the abilities that
would go past that are not offered, unless it brings its own.

Beside these there are the keys of `get_extra_info`: ``ssl_object``, ``client_addr``,
``server_addr``, ``socket`` and ``is_readable`` (whether data or an end has arrived), as in httpcore
1.0.9; ``unacknowledged`` (bytes sent that the peer's system has not acknowledged; None where that
cannot be known) and ``lookup_time`` (seconds that the look-up took). What is not known is None.
"""

from __future__ import annotations

from typing import Protocol


class ReadsInPlace(Protocol):
    def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Do as `NetworkStream.read` does, into `buffer`; 0 at the end of the stream."""


class WritesSome(Protocol):
    def write_some(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Send what is taken at once, at least one byte; return how many."""


class WritesUntilReadable(Protocol):
    def write_until_readable(
        self, buffer: memoryview, timeout: float | None = None, until: float | None = None
    ) -> int:
        """Send `buffer`, or as much of it as goes before there is something to read.

        Parameters:
            timeout: seconds without a byte being taken, after which WriteTimeout is raised.
            until: by `time.monotonic`, when it is raised however many were.

        Returns how many bytes were sent; after less than all, read and come again with the rest.
        """


class SendsFiles(Protocol):
    @property
    def sends_files(self) -> bool:
        """Return whether `send_file` can be used on this connection."""

    def send_file(
        self,
        file: int,
        offset: int,
        count: int,
        timeout: float | None = None,
        until: float | None = None,
    ) -> int:
        """Do as `WritesUntilReadable.write_until_readable` does, from `offset` of the open file
        `file`."""


class WorksWithoutBlocking(Protocol):
    """For a connection that threads share: one waits, and the holder of the lock reads or
    writes."""

    def wait(self, write: bool, timeout: float | None) -> bool:
        """Wait until there is something to read, until there is room if `write`, or until `wake`.
        Return False when `timeout` seconds have passed, or sooner where they are months."""

    def wake(self) -> None:
        """Let `wait` return, in whatever thread it is; or the next one, if none is."""

    def read_ready(self, max_bytes: int) -> bytes | None:
        """Return what is there, ``b""`` at the end of the stream, None for nothing now."""

    def write_ready(self, buffer: bytes | memoryview) -> int:
        """Send what is taken now; return how many bytes. After 0, come with the same bytes."""


class CanBeAborted(Protocol):
    def abort(self) -> None:
        """End what another thread is doing on this stream; that one has to close it then."""


class KeepsSession(Protocol):
    def keep_session(self) -> None:
        """Keep the TLS session for the next connection to this peer; once data was read."""


class NotesUncleanEnd(Protocol):
    unclean_eof: bool  # a TLS peer has closed without close_notify


class NamesPeer(Protocol):
    peer: str  # the name of the other end, for error texts


# The methods of each ability, and those of `NetworkStream` that it stands in for.
ABILITIES: tuple[tuple[type, tuple[str, ...], tuple[str, ...]], ...] = (
    (ReadsInPlace, ("readinto",), ("read",)),
    (WritesSome, ("write_some",), ("write",)),
    (WritesUntilReadable, ("write_until_readable",), ("write",)),
    (SendsFiles, ("sends_files", "send_file"), ("write",)),
    (WorksWithoutBlocking, ("wait", "wake", "read_ready", "write_ready"), ("read", "write")),
    (CanBeAborted, ("abort",), ()),
    (KeepsSession, ("keep_session",), ()),
    (NotesUncleanEnd, ("unclean_eof",), ()),
    (NamesPeer, ("peer",), ()),
)
