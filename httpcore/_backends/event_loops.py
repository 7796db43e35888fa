"""The event loops: which one runs, and the calls that the asynchronous shell makes to one.

Owns: the list of what is asked (`EventLoop`), and finding the loop that runs this code. Must not
know: how a loop does it (`asyncio_loop`), sockets, pools, HTTP.

A loop of asyncio or uvloop is named by itself, a run of trio by its token: `running_loop` returns
that name, which costs one call. `loops.loop_of` returns the `EventLoop` for it.
"""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Any, Protocol


class Waker(Protocol):
    """An object that one task sleeps on. Like a `threading.Lock` that is held, and that another may
    release; asynchronous code waits for it."""

    def release(self) -> None:
        """Wake the task; from any thread. Raises RuntimeError where the loop is gone."""

    async def acquire(self, timeout: float | None = None) -> bool:
        """Wait until it is released; return False when that was not within `timeout` seconds."""
        raise NotImplementedError


class Watch(Protocol):
    """The watch that a task keeps while it waits for something that is not ours, such as the next
    part of a body.

    Attributes:
        token: a `CancelToken`, or None.
    """

    token: Any

    def left(self) -> float | None:
        """Return the seconds after which to wait no longer; None for never."""

    async def wait(self) -> object:
        """Wait until `wake`, or until there is something to look at."""

    def release(self) -> None:
        """End `wait`, or the next one if none is; from any thread."""

    async def goes_on(self) -> bool:
        """Look at what came; return whether to wait on."""


class EventLoop(Protocol):
    """The calls to a loop beside reading and writing."""

    def make_waker(self) -> Waker:
        """Return a `Waker` for a task of this loop."""

    def call_soon(self, function: Any, *arguments: object) -> None:
        """Call it in the loop's thread, soon; from any thread. Raises RuntimeError where the loop
        is gone."""

    def runs_here(self) -> bool:
        """Whether it runs this code; also False where a slower look would find that it does."""

    def is_gone(self) -> bool:
        """Whether it was closed, and runs nothing any more."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def finish(self, work: Coroutine[Any, Any, None], seconds: float | None = None) -> None:
        """Wait for `work`, which goes on where the task that waits is cancelled. It is cancelled
        itself after so many `seconds`; None: never."""

    async def ask(self, awaitable: Any, watch: Watch) -> Any:
        """Return what `awaitable` gives; ``b""`` where that is not there by the time at which
        `watch` says to wait no longer. It was cancelled then, and has ended. It runs in this
        task."""

    async def wait_writable(self, sockets: list[Any], waker: Waker, timeout: float | None) -> None:
        """Wait until one of `sockets` has connected or failed, until `waker` is released, or for
        `timeout` seconds. Their descriptors are not watched afterwards."""


def running_loop() -> Any:
    """Return the loop that runs this code, for comparison with another.

    Raises RuntimeError where none does.
    """
    trio: Any = sys.modules.get("trio")
    # First: trio may be a guest in a loop of asyncio (`start_guest_run`).
    if trio is not None and _is_trio_task(trio):
        return trio.lowlevel.current_trio_token()
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        loop = asyncio._get_running_loop()
        if loop is not None:
            return loop
    raise RuntimeError(
        "no event loop is running: httpcore's asynchronous API is to be awaited in a program of "
        "asyncio, uvloop or trio, such as asyncio.run(main()) or trio.run(main)"
    )


def _is_trio_task(trio: Any) -> bool:
    """Return whether a task of trio runs this code."""
    try:
        trio.lowlevel.current_task()
    except (RuntimeError, AttributeError):  # the latter: it is just being imported
        return False
    return True
