"""A network layer for asynchronous code that says in the log what it does.

Owns: passing everything on. Must not know: what is logged, and what of it must not be seen
(`logging_backend`).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from .._backends.async_wrapped import AsyncWrappedStream
from .._backends.auto import AutoBackend
from .._backends.base import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream
from .._url import shown_path
from ..rules import host_and_port
from .logging_backend import LoggedStream, LoggingSetup, milliseconds_since

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")  # what an action returns


class AsyncLoggingStream(LoggedStream, AsyncWrappedStream):
    """Passes everything on, and logs it."""

    def __init__(self, stream: AsyncNetworkStream, name: str, backend: LoggingSetup) -> None:
        super().__init__(stream)
        self._begin_log(name, backend)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._started = time.perf_counter()
        return await super().read(max_bytes, timeout)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        self._started = time.perf_counter()
        return await super().start_tls(ssl_context, server_hostname, timeout)

    def _secured(self, stream: AsyncNetworkStream) -> AsyncNetworkStream:
        secured = AsyncLoggingStream(stream, self._name, self._backend)
        secured.quiet = self._log_secured(stream)
        return secured

    def close(self) -> None:
        self._log("close")
        super().close()

    async def aclose(self) -> None:
        self._log("close")
        await super().aclose()

    def abort(self) -> None:
        self._log("abort")
        super().abort()


class AsyncLoggingBackend(LoggingSetup, AsyncNetworkBackend):
    """Logs each operation of another asynchronous network layer at DEBUG.

    Parameters: as those of `LoggingBackend`; `backend` is an asynchronous one, None for what fits
    the event loop that runs.
    """

    def __init__(
        self,
        backend: AsyncNetworkBackend | None = None,
        *,
        logger: str = "httpcore.network",
        preview: int = 120,
        filter_headers: Iterable[str] = (),
        filter_query: Iterable[str] = (),
    ) -> None:
        network = AutoBackend() if backend is None else backend
        super().__init__(network, logger, preview, filter_headers, filter_query)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        return await self._connect(
            host_and_port(host, port),
            lambda: self._backend.connect_tcp(host, port, timeout, local_address, socket_options),
        )

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        return await self._connect(
            f"unix:{shown_path(path)}",
            lambda: self._backend.connect_unix_socket(path, timeout, socket_options),
        )

    async def _connect(
        self, where: str, connect: Callable[[], Awaitable[AsyncNetworkStream]]
    ) -> AsyncNetworkStream:
        name = f"#{next(self._numbers)} {where}"
        stream = await self._timed(f"{name} connect", connect)
        return AsyncLoggingStream(stream, name, self)

    async def _timed(self, what: str, action: Callable[[], Awaitable[T]]) -> T:
        started = time.perf_counter()
        try:
            result = await action()
        except BaseException as exc:
            self._log_failure(what, started, exc)
            raise
        self._log("%s done in %s", what, milliseconds_since(started))
        return result

    async def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        found: list[str] = await self._timed(
            f"resolve {host}", lambda: self._backend.resolve(host, port, timeout)
        )
        return found

    async def sleep(self, seconds: float) -> None:
        self._log("sleep %.3g s", seconds)
        await self._backend.sleep(seconds)
