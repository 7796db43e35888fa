"""The network for whichever event loop runs.

Owns: the choice. Must not know: sockets, HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .base import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream
from .event_loops import EventLoop, running_loop
from .tcp import Resolver


def loop_of(native: Any) -> EventLoop:
    """Return the `EventLoop` for what `running_loop` has returned."""
    from .asyncio_loop import AsyncioLoop

    return AsyncioLoop(native)


class AutoBackend(AsyncNetworkBackend):
    """Opens sockets in the running event loop, of asyncio or uvloop.

    Parameters:
        resolver: looks up host names in place of the system, see `SyncBackend`; it is called in a
            thread of its own.
    """

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._resolver = resolver

    def _choose(self) -> Any:
        running_loop()  # raises where none runs
        from .asyncio import AsyncioBackend

        return AsyncioBackend(self._resolver)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Do as `SyncBackend.connect_tcp` does."""
        backend: AsyncNetworkBackend = self._choose()
        return await backend.connect_tcp(host, port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Do as `SyncBackend.connect_unix_socket` does."""
        backend: AsyncNetworkBackend = self._choose()
        return await backend.connect_unix_socket(path, timeout, socket_options)

    async def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        """Do as `SyncBackend.resolve` does."""
        found: list[str] = await self._choose().resolve(host, port, timeout)
        return found

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts to connect."""
        await self._choose().sleep(seconds)
