"""That a gateway knows in which event loop it runs, without asking each time."""

from __future__ import annotations

import asyncio
import threading

import httpcore
from httpcore_gateway import Gateway, _app


async def is_found(gateway: Gateway) -> bool:
    for _ in range(2):
        expected = asyncio.get_running_loop(), asyncio.current_task()
        if gateway.look_around() != expected:
            return False
        await asyncio.sleep(0)
    return True


def test_one_loop_after_the_other() -> None:
    gateway = Gateway(["http://127.0.0.1:1"])
    assert all(asyncio.run(is_found(gateway)) for _ in range(3))


def test_a_loop_in_another_thread() -> None:
    """While a task of the first one still runs, as it waits for the thread."""
    gateway = Gateway(["http://127.0.0.1:1"])
    found: list[bool] = []

    async def main() -> bool:
        first = await is_found(gateway)
        thread = threading.Thread(target=lambda: found.append(asyncio.run(is_found(gateway))))
        thread.start()
        thread.join()
        return first and await is_found(gateway)

    assert asyncio.run(main())
    assert found == [True]


def test_a_fork_forgets_the_loop() -> None:
    """In the child, the task that forked still counts as the current one of the old loop."""
    gateway = Gateway(["http://127.0.0.1:1"])

    async def main() -> bool:
        gateway.look_around()
        _app._forget_loops()
        return gateway._loop is None and await is_found(gateway)

    assert asyncio.run(main())


def test_a_fork_forgets_the_loop_of_a_pool() -> None:
    async def main() -> None:
        async with httpcore.AsyncConnectionPool() as pool:
            slots = pool._slots
            slots.enter()
            assert slots.entered is asyncio.get_running_loop() and slots.loop.runs_here()
            slots._renew_in_child()
            assert slots.entered is None

    asyncio.run(main())
