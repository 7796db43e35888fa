"""Tasks of a test, on each event loop.

Owns: beginning tasks, cancelling them, waiting for them, and calling what blocks in a thread. Must
not know: the packages under test.

On asyncio and uvloop a task is one of theirs, and is cancelled by `Task.cancel`, once; on trio it
is cancelled by a scope around it, which raises at each ``await`` from then on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

T = TypeVar("T")


def on_asyncio() -> bool:
    """Whether this code runs in a loop of asyncio or uvloop; otherwise it is trio's."""
    return asyncio._get_running_loop() is not None


class WasCancelled(Exception):
    """The task that was waited for had been cancelled."""


class Begun(Generic[T]):
    """A task that was begun; await it for its result.

    Attributes:
        cancelled: it has ended because it was cancelled.
    """

    def __init__(self, work: Awaitable[T], group: anyio.abc.TaskGroup) -> None:
        self.cancelled = False
        self._outcome: list[T] = []
        self._failure: BaseException | None = None
        self._ended = anyio.Event()
        self._work = work
        self._scope = anyio.CancelScope()
        if on_asyncio():
            task = asyncio.ensure_future(self._run())
            task.add_done_callback(self._end)
            self.cancel: Callable[[], object] = task.cancel
        else:
            self.cancel = self._scope.cancel
            group.start_soon(self._run_in_scope)

    async def _run(self) -> None:
        try:
            self._outcome.append(await self._work)
        except Exception as exc:
            self._failure = exc

    def _end(self, task: asyncio.Task[None]) -> None:
        self.cancelled = task.cancelled()
        self._ended.set()

    async def _run_in_scope(self) -> None:
        with self._scope:
            await self._run()
        self.cancelled = self._scope.cancelled_caught
        self._ended.set()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    async def end(self) -> None:
        """Wait until it has ended, however it did."""
        await self._ended.wait()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._result().__await__()

    async def _result(self) -> T:
        await self.end()
        if self.cancelled:
            raise WasCancelled
        if self._failure is not None:
            raise self._failure
        (result,) = self._outcome
        return result


class Tasks:
    """Begins tasks; to be entered by ``async with``, whose end cancels those that go on."""

    def __init__(self) -> None:
        self._begun: list[Begun[Any]] = []

    async def __aenter__(self) -> Tasks:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    def begin(self, work: Awaitable[T]) -> Begun[T]:
        begun = Begun(work, self._group)
        self._begun.append(begun)
        return begun

    async def __aexit__(self, *exc_info: object) -> None:
        for begun in self._begun:
            if not begun.ended:
                begun.cancel()
        for begun in self._begun:
            await begun.end()
        await self._group.__aexit__(None, None, None)


@pytest.fixture
async def tasks(anyio_backend: Any) -> AsyncIterator[Tasks]:
    """Begins tasks; those that have not ended with the test are cancelled."""
    async with Tasks() as tasks:
        yield tasks


async def gather(*work: Awaitable[Any]) -> list[Any]:
    """Do all of it at once; return the results, and the exceptions that there were."""
    results: list[Any] = []
    async with Tasks() as tasks:
        for begun in [tasks.begin(each) for each in work]:
            try:
                results.append(await begun)
            except Exception as exc:
                results.append(exc)
    return results


async def checkpoint() -> None:
    """Let other tasks go on, once."""
    await (asyncio.sleep(0) if on_asyncio() else anyio.lowlevel.checkpoint())


async def until(condition: Callable[[], Any]) -> None:
    """Let other tasks go on until `condition` is true."""
    for _ in range(1000):
        if condition():
            return
        await anyio.sleep(0.01)
    raise AssertionError("it did not come to that")


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call it in a thread of its own, while other tasks go on."""
    results: list[T] = []
    failures: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function(*arguments))
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    await until(lambda: not thread.is_alive())
    if failures:
        raise failures[0]
    return results[0]
