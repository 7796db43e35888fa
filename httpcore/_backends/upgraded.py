"""A stream that was taken over from HTTP: after a CONNECT, or a 101.

Owns: the bytes that came with the response. Must not know: the protocol that is used on it.

Sources: RFC 9110 sections 7.8 (Upgrade) and 9.3.6 (CONNECT).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._exceptions import (
    ReadError,
)
from .base import NetworkStream
from .wrapped import ForwardingStream

if TYPE_CHECKING:
    import ssl


class UpgradedStream(ForwardingStream):
    """A stream taken over from HTTP; first gives the bytes that came with the response."""

    def __init__(self, stream: NetworkStream, leading: bytes) -> None:
        super().__init__(stream)
        self._leading = leading

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._leading:
            part = self._leading[:max_bytes]
            self._leading = self._leading[max_bytes:]
            return part
        return self.stream.read(max_bytes, timeout)

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
        return self.stream.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._leading:
            return True
        return self.stream.get_extra_info(info)
