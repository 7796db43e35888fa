"""Requests from tasks of an event loop.

Owns: the loop, which outlives the rounds; the tasks and their clocks. Must not know: how a request
is sent. `job.variant` says which loop it is: "uvloop", "trio", or "" for asyncio's own.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import gc
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from async_peers import PROGRAMS, AsyncRequester
from job import Job

#: Requests of each task before the first round: connections are opened and lazy imports done.
#: Fewer than with threads: the slowest take 15 ms for each.
_WARM_UP = 1

Work = Callable[[], Awaitable[None]]


class Loop(Protocol):
    """An event loop that stands still between two calls of `run`."""

    def run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Run one coroutine to its end; what it returns."""

    async def together(self, functions: Sequence[Work]) -> None:
        """Run a task for each function, until all of them end. None of them raises."""


class AsyncioLoop:
    """A loop of asyncio or uvloop in this thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        return self._loop.run_until_complete(function())

    async def together(self, functions: Sequence[Work]) -> None:
        await asyncio.gather(*(function() for function in functions))


class TrioLoop:
    """A loop of trio. It cannot stop and go on, so it waits in a thread of its own."""

    def __init__(self) -> None:
        import trio
        import trio.from_thread
        import trio.lowlevel

        self._trio = trio
        self._started = threading.Event()
        threading.Thread(target=trio.run, args=(self._wait,), daemon=True).start()
        self._started.wait()

    async def _wait(self) -> None:
        self._token = self._trio.lowlevel.current_trio_token()
        self._started.set()
        await self._trio.sleep_forever()

    def run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        return self._trio.from_thread.run(function, trio_token=self._token)

    async def together(self, functions: Sequence[Work]) -> None:
        async with self._trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)


def _make_loop(variant: str) -> Loop:
    if variant == "trio":
        return TrioLoop()
    if variant == "uvloop":
        import uvloop

        return AsyncioLoop(uvloop.new_event_loop())
    return AsyncioLoop(asyncio.new_event_loop())


class Tasks:
    """One client in one loop, with as many tasks as the job has threads."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._loop = _make_loop(job.variant)
        self._peer = PROGRAMS[job.kind][job.peer](job)
        self.version = self._peer.version
        self._requesters: list[AsyncRequester] = self._loop.run(self._open)
        # aiohttp complains about a session that nobody closes.
        atexit.register(self._loop.run, self._peer.close)
        self.run(_WARM_UP * job.threads)

    async def _open(self) -> list[AsyncRequester]:
        await self._peer.open()
        return [await self._peer.requester() for _ in range(self._job.threads)]

    def run(self, requests: int) -> dict[str, Any]:
        """One round of about `requests` requests, at least one from each task."""
        gc.collect()
        each = max(1, round(requests / self._job.threads))
        wall, cpu = self._loop.run(functools.partial(self._send_from_all, each))
        return {"requests": each * self._job.threads, "wall": wall, "cpu": cpu}

    async def _send_from_all(self, each: int) -> tuple[float, float]:
        """`each` requests from each task; wall and CPU seconds."""
        failures: list[Exception] = []
        work = [
            functools.partial(_send, requester, each, self._job.received, failures)
            for requester in self._requesters
        ]
        cpu, wall = time.process_time(), time.perf_counter()
        if len(work) == 1:
            await work[0]()
        else:
            await self._loop.together(work)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if failures:
            raise failures[0]
        return wall, cpu


async def _send(
    requester: AsyncRequester, count: int, expected: int, failures: list[Exception]
) -> None:
    try:
        for _ in range(count):
            received = await requester()
            if received != expected:
                raise RuntimeError(f"{received} of {expected} bytes came")
    except Exception as error:
        failures.append(error)
