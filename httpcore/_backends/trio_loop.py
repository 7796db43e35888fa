"""A run of trio, as the asynchronous shell sees it.

Owns: wakers, calls from other threads, waiting for sockets that connect, and ending what code of
others waits for. Must not know: streams, pools, HTTP.

Sources: trio's reference of low-level operations (tokens, which may be used from any thread).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import trio

from .event_loops import Waker, Watch, running_loop


def is_running(token: trio.lowlevel.TrioToken) -> bool:
    """Return whether this code runs in the run of trio that `token` stands for."""
    try:
        return trio.lowlevel.current_trio_token() is token
    except RuntimeError:
        return False


def limited_to(seconds: float | None) -> trio.CancelScope:
    """Return a scope that ends after so many seconds; None for never."""
    if seconds is None:
        return trio.CancelScope()
    return trio.CancelScope(deadline=trio.current_time() + seconds)


class TrioWaker:
    """See `Waker`: an event for each time that it is waited for, made before."""

    __slots__ = ("_event", "_token")

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = token
        self._event = trio.Event()

    def release(self) -> None:
        if is_running(self._token):
            self._event.set()
        else:
            self._token.run_sync_soon(self._event.set)

    async def acquire(self, timeout: float | None = None) -> bool:
        event = self._event
        if timeout is None or timeout == float("inf"):
            await event.wait()
        else:
            with limited_to(timeout):
                await event.wait()
        self._event = trio.Event()  # for the next time
        return event.is_set()


class ScopeBell:
    """A cancel scope, to be cancelled from any thread."""

    __slots__ = ("_scope", "_token")

    def __init__(self, scope: trio.CancelScope, token: trio.lowlevel.TrioToken) -> None:
        self._scope = scope
        self._token = token

    def release(self) -> None:
        """Cancel it."""
        if is_running(self._token):
            self._scope.cancel()
        else:
            self._token.run_sync_soon(self._scope.cancel)


class TrioLoop:
    """See `EventLoop`.

    Parameters:
        native: the token of the run.
    """

    __slots__ = ("native",)

    def __init__(self, native: trio.lowlevel.TrioToken) -> None:
        self.native = native

    def runs_here(self) -> bool:
        return running_loop() is self.native

    def make_waker(self) -> Waker:
        return TrioWaker(self.native)

    def call_soon(self, function: Callable[..., object], *arguments: Any) -> None:
        self.native.run_sync_soon(function, *arguments)

    def is_gone(self) -> bool:
        try:
            self.native.run_sync_soon(_do_nothing)
        except trio.RunFinishedError:
            return True
        return False

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def finish(self, work: Coroutine[Any, Any, None], seconds: float | None = None) -> None:
        with limited_to(seconds) as scope:
            scope.shield = True
            await work

    async def ask(self, awaitable: Any, watch: Watch) -> Any:
        left, token = watch.left(), watch.token
        if left is None and token is None:
            return await awaitable
        # A task of trio waits for one thing only, so there is no look at the connection.
        with limited_to(left) as scope:
            if token is None:
                return await awaitable
            with token.rings(ScopeBell(scope, self.native)):
                return await awaitable
        return b""

    async def wait_writable(self, sockets: list[Any], waker: Waker, timeout: float | None) -> None:
        async with trio.open_nursery() as nursery:
            for sock in sockets:
                nursery.start_soon(_wake_when_writable, sock, waker)
            await waker.acquire(timeout)
            nursery.cancel_scope.cancel()


async def _wake_when_writable(sock: Any, waker: Waker) -> None:
    await trio.lowlevel.wait_writable(sock)
    waker.release()


def _do_nothing() -> None:
    pass
