"""The interfaces of a network layer, so that it can be swapped.

Owns: the interfaces of streams and backends, sync and async, as in httpcore 1.0.9. Must not
know: HTTP. A subclass of these is all that logging, record/replay or a mock needs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._settings import SOCKET_OPTION as SOCKET_OPTION

if TYPE_CHECKING:
    import ssl


class NetworkStream:
    """A connected byte stream. One thread uses it at a time; `close` may come from any."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return up to `max_bytes` bytes, at least one, or ``b""`` at the end of the stream.

        Raises ReadTimeout after `timeout` seconds without a byte, ReadError on failure.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement read()")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of `buffer`.

        Raises WriteTimeout when the peer takes no byte for `timeout` seconds, else WriteError.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement write()")

    def close(self) -> None:
        """Close the stream; more than once does no harm."""
        raise NotImplementedError(f"{type(self).__name__} does not implement close()")

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        """Begin TLS and return the stream under it, the handshake done within `timeout` seconds.

        Raises ConnectTimeout or ConnectError; the stream is closed then.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement start_tls()")

    def get_extra_info(self, info: str) -> Any:
        """Return a fact: ``ssl_object``, ``client_addr``, ``server_addr``, ``socket`` or
        ``is_readable``; None for what is not known."""
        return None


class NetworkBackend:
    """Opens streams."""

    asynchronous = False  # which half it is for

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        """Return a TCP connection to `host`:`port`; raise ConnectTimeout after `timeout` seconds,
        or ConnectError."""
        raise NotImplementedError(f"{type(self).__name__} does not implement connect_tcp()")

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        """Return a connection to the Unix socket at `path`; raise ConnectTimeout after `timeout`
        seconds, or ConnectError."""
        raise NotImplementedError(f"{type(self).__name__} does not implement connect_unix_socket()")

    def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        """Return the addresses of `host` within `timeout` seconds, for a proxy that takes addresses
        only. A backend that cannot look it up returns the name itself, and the proxy looks it
        up."""
        return [host]

    def sleep(self, seconds: float) -> None:
        """Wait between two attempts to connect."""
        time.sleep(seconds)


class AsyncNetworkStream:
    """The asynchronous twin of `NetworkStream`."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        raise NotImplementedError(f"{type(self).__name__} does not implement read()")

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not implement write()")

    async def aclose(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not implement aclose()")

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        raise NotImplementedError(f"{type(self).__name__} does not implement start_tls()")

    def get_extra_info(self, info: str) -> Any:
        return None


class AsyncNetworkBackend:
    """The asynchronous twin of `NetworkBackend`."""

    asynchronous = True

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        raise NotImplementedError(f"{type(self).__name__} does not implement connect_tcp()")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        raise NotImplementedError(f"{type(self).__name__} does not implement connect_unix_socket()")

    async def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        return [host]

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not implement sleep()")
