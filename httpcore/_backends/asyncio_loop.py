"""A loop of asyncio or uvloop, as the asynchronous shell sees it.

Owns: wakers, calls from other threads, waiting for sockets that connect. Must not know: streams,
pools, HTTP.

Sources: the documentation of asyncio's event loop (what may be called from other threads).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .event_loops import Waker

FOREVER = float("inf")  # seconds

# A loop refers to its tasks weakly only.
_finishing: set[asyncio.Task[None]] = set()


class AsyncioWaker:
    """See `Waker`: a Future for each time that it is waited for, made before."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[bool] = loop.create_future()

    def release(self) -> None:
        if asyncio._get_running_loop() is self._loop:
            self._set(True)
        else:
            self._loop.call_soon_threadsafe(self._set, True)

    def _set(self, woken: bool) -> None:
        if not self._future.done():
            self._future.set_result(woken)

    async def acquire(self, timeout: float | None = None) -> bool:
        if timeout is None or timeout == FOREVER:
            woken = await self._future
        else:
            timer = self._loop.call_later(timeout, self._set, False)
            try:
                woken = await self._future
            finally:
                timer.cancel()
        self._future = self._loop.create_future()  # for the next time
        return woken


class AsyncioLoop:
    """See `EventLoop`.

    Parameters:
        native: the loop.
    """

    __slots__ = ("native",)

    def __init__(self, native: asyncio.AbstractEventLoop) -> None:
        self.native = native

    def make_waker(self) -> Waker:
        return AsyncioWaker(self.native)

    def call_soon(self, function: Callable[..., object], *arguments: object) -> None:
        self.native.call_soon_threadsafe(function, *arguments)

    def is_gone(self) -> bool:
        return self.native.is_closed()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def finish(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.native.create_task(work)
        _finishing.add(task)
        task.add_done_callback(_finishing.discard)
        await asyncio.shield(task)

    async def wait_writable(self, sockets: list[Any], waker: Waker, timeout: float | None) -> None:
        numbers = [sock.fileno() for sock in sockets]
        for number in numbers:
            self.native.add_writer(number, waker.release)
        try:
            await waker.acquire(timeout)
        finally:
            for number in numbers:
                self.native.remove_writer(number)
