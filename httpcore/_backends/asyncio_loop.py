"""A loop of asyncio or uvloop, as the asynchronous shell sees it.

Owns: wakers, calls from other threads, waiting for sockets that connect, and asking code of others
for something without losing sight of the rest. Must not know: streams, pools, HTTP.

Sources: the documentation of asyncio's event loop (what may be called from other threads).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from threading import get_ident
from typing import Any

from .event_loops import Waker, Watch

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


class _Asked:
    """An awaitable of somebody else, and a `Watch` that is kept in view while it waits.

    It is stepped by hand, in this task: what it enters (a timeout, a task group) belongs to the
    task; and a task of its own would cost something for each part that is there at once. Where it
    yields a Future, the watch is waited for in its place, and woken when that Future is done.

    Its `await` ends when it has ended, so it never goes on while other code of the task runs. That
    matters because what it has entered may cancel the task at any time: a cancellation that comes
    while it waits goes to its Future, as a Task would have done it, and it may well catch it.
    """

    __slots__ = ("_cancelled", "_failure", "_over", "_steps", "_watch", "_yielded")

    def __init__(self, steps: Any, yielded: Any, watch: Watch) -> None:
        self._steps = steps  # of the awaitable
        self._yielded = yielded  # by the first of them
        self._watch = watch
        self._over = False  # it was cancelled here, because of the watch
        self._cancelled = False  # and after that the task was
        self._failure: Exception | None = None  # of the watch

    def __await__(self) -> Generator[Any, Any, Any]:
        steps, yielded = self._steps, self._yielded
        step: Callable[[], Any]
        try:
            while True:
                try:
                    if getattr(yielded, "_asyncio_future_blocking", False):
                        yielded._asyncio_future_blocking = False
                        yield from self._until_done(yielded).__await__()
                    else:
                        yield yielded
                    step = partial(next, steps)
                except BaseException as exc:
                    step = partial(steps.throw, exc)
                try:
                    yielded = step()
                except StopIteration as end:
                    if not self._over:
                        return end.value
                    break
        except asyncio.CancelledError:
            if self._cancelled or not self._over:
                raise
        except StopAsyncIteration:
            if not self._over:
                raise
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # else it and this frame would keep each other
        return b""

    async def _until_done(self, future: asyncio.Future[Any]) -> None:
        """Wait until `future` is done. Cancel it when the watch, or the task, says so."""
        watch, cancelled = self._watch, self._over

        def wake(_: object) -> None:
            watch.release()

        future.add_done_callback(wake)
        try:
            while not future.done():
                try:
                    if cancelled:
                        await asyncio.wait([future])
                        continue
                    await watch.wait()
                    if future.done() or await watch.goes_on() or future.done():
                        continue
                except asyncio.CancelledError as exc:
                    self._cancelled = self._over
                    if not future.cancel(*exc.args):  # by its text, anyio knows its scopes
                        raise
                except Exception as exc:
                    self._over, self._failure = True, exc
                    future.cancel()
                else:
                    self._over = True
                    future.cancel()
                cancelled = True
        finally:
            future.remove_done_callback(wake)


class AsyncioLoop:
    """See `EventLoop`.

    Parameters:
        native: the loop.
    """

    __slots__ = ("_thread", "native")

    def __init__(self, native: asyncio.AbstractEventLoop) -> None:
        self.native = native
        self._thread = get_ident()

    def runs_here(self) -> bool:
        # A loop runs one task at a time, in one thread. To ask asyncio which loop runs is a system
        # call each time before Python 3.12: it compares process ids.
        return self._thread == get_ident() and asyncio.current_task(self.native) is not None

    def make_waker(self) -> Waker:
        return AsyncioWaker(self.native)

    def call_soon(self, function: Callable[..., object], *arguments: object) -> None:
        self.native.call_soon_threadsafe(function, *arguments)

    def is_gone(self) -> bool:
        return self.native.is_closed()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def finish(self, work: Coroutine[Any, Any, None], seconds: float | None = None) -> None:
        task = self.native.create_task(work)
        _finishing.add(task)
        task.add_done_callback(_finishing.discard)
        if seconds is not None:
            limit = self.native.call_later(seconds, task.cancel)
            task.add_done_callback(lambda done: limit.cancel())
        await asyncio.wait((task,))  # which neither cancels it nor is cancelled with it

    async def ask(self, awaitable: Any, watch: Watch) -> Any:
        steps = awaitable.__await__()
        try:
            yielded = next(steps)
        except StopIteration as end:
            return end.value  # it was there at once, which is the rule
        token = watch.token
        if token is None:
            return await _Asked(steps, yielded, watch)
        with token.rings(watch):
            return await _Asked(steps, yielded, watch)

    async def wait_writable(self, sockets: list[Any], waker: Waker, timeout: float | None) -> None:
        numbers = [sock.fileno() for sock in sockets]
        for number in numbers:
            self.native.add_writer(number, waker.release)
        try:
            await waker.acquire(timeout)
        finally:
            for number in numbers:
                self.native.remove_writer(number)
