"""A stream around another one: the part that all of them share.

Owns: passing everything on, with what the core may ask of a stream beyond `NetworkStream`. Must not
know: what its subclasses do with what passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import NetworkStream
from .interrupt import abort

if TYPE_CHECKING:
    import ssl


class WrappedStream(NetworkStream):
    """Passes on what it is told. Subclasses fill in the methods that begin with an underscore.

    It offers to listen while it writes where the stream inside can; it sends no files and reads
    into no buffers by itself, so that all bytes are seen.

    Attributes:
        stream: the stream inside.
    """

    def __init__(self, stream: NetworkStream) -> None:
        self.stream = stream
        self._write_listening = getattr(stream, "write_until_readable", None)
        # None tells that the stream cannot do that.
        self.write_until_readable = None if self._write_listening is None else self._write_until

    # What passes

    def _sending(self, data: bytes) -> None:
        """`data` is about to be sent. What this raises, nothing is sent after."""

    def _received(self, data: bytes, max_bytes: int) -> None:
        """`data` came, ``b""`` at the end."""

    def _failed(self, doing: str, exc: BaseException) -> None:
        """What was being done ("read", "write", "start_tls") failed."""

    def _secured(self, stream: NetworkStream) -> NetworkStream:
        """The wrapper for `stream`, which is the one inside under TLS."""
        raise AssertionError(f"{type(self).__name__} does not say what is around TLS")

    # Passing it on

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data = self.stream.read(max_bytes, timeout)
        except BaseException as exc:
            if timeout != 0:  # else it was asked what is there, and that was nothing
                self._failed("read", exc)
            raise
        self._received(data, max_bytes)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._sending(bytes(buffer))
        try:
            self.stream.write(buffer, timeout)
        except BaseException as exc:
            self._failed("write", exc)
            raise

    def _write_until(
        self, buffer: memoryview, timeout: float | None = None, until: float | None = None
    ) -> int:
        assert self._write_listening is not None
        try:
            sent: int = self._write_listening(buffer, timeout, until)
        except BaseException as exc:
            self._failed("write", exc)
            raise
        if sent:
            self._sending(bytes(buffer[:sent]))
        return sent

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        try:
            stream = self.stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException as exc:
            self._failed("start_tls", exc)
            raise
        return self._secured(stream)

    def close(self) -> None:
        self.stream.close()

    def abort(self) -> None:
        """End what another thread is doing on the stream."""
        abort(self.stream)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)

    def keep_session(self) -> None:
        """As `SyncStream.keep_session`, where the stream inside has it."""
        keep = getattr(self.stream, "keep_session", None)
        if keep is not None:
            keep()

    @property
    def peer(self) -> str:
        """Who is at the other end, where the stream inside says so."""
        inside: Any = self.stream
        name: str = inside.peer
        return name

    @peer.setter
    def peer(self, name: str) -> None:
        inside: Any = self.stream
        inside.peer = name

    @property
    def unclean_eof(self) -> bool:
        return bool(getattr(self.stream, "unclean_eof", False))


def name_of(host: str, port: int) -> str:
    """Host and port as one writes them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
