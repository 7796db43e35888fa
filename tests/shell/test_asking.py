"""Asking code of others for something, in a task of asyncio or uvloop, with the rest in view.

Owns: `AsyncioLoop.ask`. Must not know: bodies, connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import httpcore
from httpcore._backends.event_loops import running_loop
from httpcore._backends.loops import loop_of
from tests.support.loops import ASYNCIO
from tests.support.tasks import Begun, Tasks, WasCancelled, checkpoint

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", ASYNCIO, indirect=True),
]


class Ended:
    """A watch that waits until its test ends it, or lets it fail."""

    token: Any = None

    def __init__(self, look: Callable[[], bool] = lambda: False) -> None:
        self.look = look
        self.bell = loop_of(running_loop()).make_waker()

    def left(self) -> float | None:
        return None

    async def wait(self) -> None:
        await self.bell.acquire()

    def release(self) -> None:
        self.bell.release()

    async def goes_on(self) -> bool:
        return self.look()


def ask(work: Awaitable[Any], watch: Ended) -> Awaitable[Any]:
    return loop_of(running_loop()).ask(work, watch)


class Work:
    """Waits for ever, and notes how that ends.

    Attributes:
        steps: what has happened.
    """

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.cleaned: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait(self) -> bytes:
        try:
            return await self.future
        except asyncio.CancelledError:
            self.steps.append("cancelled")
            raise
        finally:
            self.steps.append("cleaning")
            await self.cleaned
            self.steps.append("cleaned")


async def settle() -> None:
    for _ in range(10):
        await checkpoint()


async def test_what_is_there_at_once_waits_for_nothing() -> None:
    async def at_once() -> bytes:
        return b"part"

    watch = Ended()
    watch.wait = None  # type: ignore[method-assign, assignment]
    assert await ask(at_once(), watch) == b"part"


async def test_giving_others_their_turn_is_no_wait() -> None:
    async def polite() -> bytes:
        await asyncio.sleep(0)
        return b"part"

    watch = Ended()
    watch.wait = None  # type: ignore[method-assign, assignment]
    assert await ask(polite(), watch) == b"part"


async def test_a_result_and_a_failure_that_come_later(tasks: Tasks) -> None:
    async def failing() -> bytes:
        await checkpoint()
        await asyncio.sleep(0.001)
        raise OSError("the disk is gone")

    work = Work()
    work.cleaned.set_result(None)
    begun = tasks.begin(ask(work.wait(), Ended()))
    await settle()
    work.future.set_result(b"part")
    assert await begun == b"part"
    with pytest.raises(OSError, match="the disk is gone"):
        await ask(failing(), Ended())


async def test_the_end_of_an_iterator() -> None:
    async def none() -> AsyncIterator[bytes]:
        await asyncio.sleep(0.001)
        return
        yield b""

    with pytest.raises(StopAsyncIteration):
        await ask(none().__anext__(), Ended())


async def given_up(tasks: Tasks, work: Work, look: Callable[[], bool] = bool) -> Begun[Any]:
    """Return a task whose work was cancelled because of what was seen, and is cleaning up."""
    watch = Ended(look)
    begun = tasks.begin(ask(work.wait(), watch))
    await settle()
    watch.release()
    await settle()
    assert work.steps == ["cancelled", "cleaning"] and not begun.ended
    return begun


async def test_it_has_ended_when_it_is_given_up(tasks: Tasks) -> None:
    work = Work()
    begun = await given_up(tasks, work)
    work.cleaned.set_result(None)
    assert await begun == b""
    assert work.steps[-1] == "cleaned"


async def test_a_look_that_fails(tasks: Tasks) -> None:
    def fail() -> bool:
        raise httpcore.WriteError("closed")

    work = Work()
    begun = await given_up(tasks, work, fail)
    work.cleaned.set_result(None)
    with pytest.raises(httpcore.WriteError, match="closed"):
        await begun


async def test_a_cleanup_that_fails_is_not_hidden(tasks: Tasks) -> None:
    work = Work()
    begun = await given_up(tasks, work)
    work.cleaned.set_exception(OSError("the disk is gone"))
    with pytest.raises(OSError, match="the disk is gone"):
        await begun


async def test_a_cancellation_after_it_was_given_up(tasks: Tasks) -> None:
    work = Work()
    begun = await given_up(tasks, work)
    begun.cancel()
    await settle()
    assert work.cleaned.cancelled()
    with pytest.raises(WasCancelled):
        await begun


@pytest.mark.parametrize("looks", [0, 2])
async def test_a_cancellation_of_the_task(tasks: Tasks, looks: int) -> None:
    watch, work = Ended(lambda: True), Work()
    work.cleaned.set_result(None)
    begun = tasks.begin(ask(work.wait(), watch))
    await settle()
    for _ in range(looks):
        watch.release()
        await settle()
    begun.cancel()
    with pytest.raises(WasCancelled):
        await begun
    assert work.steps == ["cancelled", "cleaning", "cleaned"]


async def test_a_cancellation_that_comes_with_the_result(tasks: Tasks) -> None:
    work = Work()
    work.cleaned.set_result(None)
    begun = tasks.begin(ask(work.wait(), Ended()))
    await settle()
    work.future.set_result(b"part")
    begun.cancel()
    with pytest.raises(WasCancelled):
        await begun
    assert "cleaned" in work.steps


async def test_what_is_given_in_place_of_a_cancellation_is_of_no_use(tasks: Tasks) -> None:
    """It was given up, so nobody takes it; nor is that the end of the iterator."""

    async def stubborn() -> AsyncIterator[bytes]:
        for part in (b"part", None):
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                if part is None:
                    return
                yield part

    iterator = aiter(stubborn())
    for _ in range(2):
        watch = Ended()
        begun = tasks.begin(ask(iterator.__anext__(), watch))
        await settle()
        watch.release()
        assert await begun == b""


async def test_a_task_that_is_waited_for_may_take_its_time(tasks: Tasks) -> None:
    work = Work()

    async def outer() -> bytes:
        return await asyncio.ensure_future(work.wait())

    watch = Ended()
    begun = tasks.begin(ask(outer(), watch))
    await settle()
    watch.release()
    await settle()
    assert work.steps == ["cancelled", "cleaning"] and not begun.ended
    work.cleaned.set_result(None)
    assert await begun == b""
