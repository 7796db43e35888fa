"""Asynchronous streams around other ones.

Owns: passing everything on, with what a stream may offer beyond `AsyncNetworkStream`
(`_backends.capabilities`, its methods asynchronous where they wait); the stream after a CONNECT or
a 101; the base class of streams that look at what passes. Must not know: what its subclasses do
with that.

Sources: RFC 9110 sections 7.8 (Upgrade) and 9.3.6 (CONNECT).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._exceptions import ReadError
from .base import AsyncNetworkStream
from .closing import close_stream
from .interrupt import abort

if TYPE_CHECKING:
    import ssl


class AsyncForwardingStream(AsyncNetworkStream):
    """Passes on everything. Subclasses replace what they change, and say which abilities of the
    stream inside are offered.

    Attributes:
        stream: the stream inside.
    """

    def __init__(self, stream: AsyncNetworkStream) -> None:
        self.stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self.stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self.stream.write(buffer, timeout)

    def close(self) -> None:
        """Close the stream, or note that it has to be awaited (see `closing`)."""
        close_stream(self.stream)

    async def aclose(self) -> None:
        await self.stream.aclose()

    def abort(self) -> None:
        """End what another task is doing on the stream."""
        abort(self.stream)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        return await self.stream.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)

    def keep_session(self) -> None:
        """Do as `KeepsSession.keep_session` does, where the stream inside has it."""
        keep = getattr(self.stream, "keep_session", None)
        if keep is not None:
            keep()

    @property
    def unclean_eof(self) -> bool:
        """Return whether a TLS peer has closed without close_notify."""
        return bool(getattr(self.stream, "unclean_eof", False))


class AsyncUpgradedStream(AsyncForwardingStream):
    """A stream taken over from HTTP; first gives the bytes that came with the response."""

    def __init__(self, stream: AsyncNetworkStream, leading: bytes) -> None:
        super().__init__(stream)
        self._leading = leading

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._leading:
            part = self._leading[:max_bytes]
            self._leading = self._leading[max_bytes:]
            return part
        return await self.stream.read(max_bytes, timeout)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        if self._leading:
            # Bytes that came in plain text would be taken for part of the TLS stream, or lost.
            await self.aclose()
            raise ReadError("the peer sent data before the TLS handshake")
        return await self.stream.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._leading:
            return True
        return self.stream.get_extra_info(info)


class AsyncWrappedStream(AsyncForwardingStream):
    """The asynchronous twin of `wrapped.WrappedStream`: passes on every call, and lets its subclass
    see it. Subclasses fill in the methods that begin with an underscore."""

    def __init__(self, stream: AsyncNetworkStream) -> None:
        super().__init__(stream)
        if getattr(stream, "write_until_readable", None) is None:
            self.__dict__["write_until_readable"] = None

    def _sending(self, data: bytes) -> None:
        """See `WrappedStream`, here and below."""

    def _received(self, data: bytes, max_bytes: int) -> None: ...

    def _failed(self, doing: str, exc: BaseException) -> None: ...

    def _secured(self, stream: AsyncNetworkStream) -> AsyncNetworkStream:
        raise AssertionError(f"{type(self).__name__} does not say what is around TLS")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data = await self.stream.read(max_bytes, timeout)
        except BaseException as exc:
            if timeout != 0:  # else it was asked what is there, and that was nothing
                self._failed("read", exc)
            raise
        self._received(data, max_bytes)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._sending(bytes(buffer))
        try:
            await self.stream.write(buffer, timeout)
        except BaseException as exc:
            self._failed("write", exc)
            raise

    async def write_until_readable(
        self, buffer: memoryview, timeout: float | None = None, until: float | None = None
    ) -> int:
        """Do as `WritesUntilReadable.write_until_readable` does."""
        inside: Any = self.stream
        try:
            sent: int = await inside.write_until_readable(buffer, timeout, until)
        except BaseException as exc:
            self._failed("write", exc)
            raise
        if sent:
            self._sending(bytes(buffer[:sent]))
        return sent

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        try:
            stream = await self.stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException as exc:
            self._failed("start_tls", exc)
            raise
        return self._secured(stream)
