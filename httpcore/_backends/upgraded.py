"""A stream that was taken over from HTTP: after a CONNECT, or a 101.

Owns: the bytes that came with the response. Must not know: the protocol that is spoken on it.

Sources: RFC 9110 sections 7.8 (Upgrade) and 9.3.6 (CONNECT).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._exceptions import (
    ReadError,
)
from .base import NetworkStream

if TYPE_CHECKING:
    import ssl


class UpgradedStream(NetworkStream):
    """A stream taken over from HTTP; first gives the bytes that came with the response."""

    def __init__(self, stream: NetworkStream, leading: bytes) -> None:
        self._stream = stream
        self._leading = leading

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._leading:
            part = self._leading[:max_bytes]
            self._leading = self._leading[max_bytes:]
            return part
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        if self._leading:
            # Bytes that came in plain text would be taken for part of the TLS stream, or lost.
            self.close()
            raise ReadError("the peer sent data before the TLS handshake")
        return self._stream.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._leading:
            return True
        return self._stream.get_extra_info(info)
