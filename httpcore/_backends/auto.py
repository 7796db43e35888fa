"""The network for whichever event loop runs.

Owns: the choice. Must not know: sockets, HTTP.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from .base import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream
from .event_loops import running_loop
from .loops import expected_kinds
from .tcp import Resolver


def _tells_of_readiness(native: Any) -> bool:
    """Return whether a loop of asyncio watches sockets for us: Windows' Proactor does not."""
    import asyncio

    return getattr(type(native), "add_reader", None) is not asyncio.AbstractEventLoop.add_reader


def _kind_for(native: Any) -> Any:
    """Return the class of the backend for what `running_loop` has returned."""
    if not hasattr(native, "call_soon_threadsafe"):
        from .trio import TrioBackend

        return TrioBackend
    if _tells_of_readiness(native):
        from .asyncio import AsyncioBackend

        return AsyncioBackend
    from .anyio import AnyIOBackend

    return AnyIOBackend


class AutoBackend(AsyncNetworkBackend):
    """Opens connections in the event loop that runs: of asyncio, uvloop or trio. Where a loop does
    not say when a socket is ready, anyio does it.

    Making one loads the modules for the loop that runs (where none runs yet: for asyncio's, and for
    trio's if trio is loaded). So opening the first connection does not hold the loop up.

    Parameters:
        resolver: looks up host names in place of the system, see `SyncBackend`; it is called in a
            thread of its own.
    """

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._resolver = resolver
        try:
            native = running_loop()
        except RuntimeError:
            for kind in expected_kinds():
                import_module(f"{__package__}.{kind}")
        else:
            with contextlib.suppress(ImportError):  # anyio is missing: connecting says so
                _kind_for(native)

    def _choose(self) -> Any:
        return _kind_for(running_loop())(self._resolver)

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
