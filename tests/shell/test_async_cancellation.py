"""What a cancelled task leaves behind: nothing.

Owns: cancellation at each ``await`` of a request, event loops that end, responses that are left in
the middle. Must not know: what requests do otherwise (`test_async_pool`).
"""

from __future__ import annotations

import asyncio
import gc
import random
import ssl
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest
import trio

import httpcore
from tests.support import PATIENCE
from tests.support.servers import LocalServer, Serve
from tests.support.suspending import Suspending
from tests.support.tasks import Begun, Tasks, WasCancelled, checkpoint, gather, on_asyncio, until

pytestmark = pytest.mark.anyio

PATIENT: dict[str, Any] = {
    "timeout": {"connect": PATIENCE, "read": PATIENCE, "write": PATIENCE, "pool": PATIENCE}
}

Pool = httpcore.AsyncConnectionPool


# --- at each await ---


async def slow_parts() -> AsyncIterator[bytes]:
    for _ in range(3):
        await checkpoint()
        yield b"part"


async def trace(name: str, details: dict[str, Any]) -> None:
    await checkpoint()


async def get(pool: Pool, server: LocalServer) -> object:
    return await pool.request("GET", f"{server.url}/bytes/10")


async def get_by_name(pool: Pool, server: LocalServer) -> object:
    """With a look-up, which has a thread."""
    return await pool.request("GET", server.url.replace("127.0.0.1", "localhost"))


async def get_twice(pool: Pool, server: LocalServer) -> object:
    """On a connection that is open already."""
    await pool.request("GET", server.url)
    return await pool.request("GET", server.url)


async def get_in_pieces(pool: Pool, server: LocalServer) -> object:
    async with pool.stream("GET", f"{server.url}/drip/3?delay=0") as response:
        return [part async for part in response.aiter_stream()]


async def leave_early(pool: Pool, server: LocalServer) -> object:
    async with pool.stream("GET", f"{server.url}/drip/1000?delay=0.001", extensions={}) as response:
        async for part in response.aiter_stream():
            return part
    return None


async def post(pool: Pool, server: LocalServer) -> object:
    return await pool.request("POST", f"{server.url}/upload", content=b"x" * 3_000_000)


async def post_in_pieces(pool: Pool, server: LocalServer) -> object:
    return await pool.request("POST", f"{server.url}/upload", content=slow_parts())


async def traced(pool: Pool, server: LocalServer) -> object:
    return await pool.request("GET", server.url, extensions={"trace": trace})


async def with_a_total(pool: Pool, server: LocalServer) -> object:
    return await pool.request("GET", server.url, extensions={"timeout": {"total": PATIENCE}})


async def queued(pool: Pool, server: LocalServer) -> object:
    """Behind a request that has the only connection, and that ends in the meantime."""
    response = await pool.request("GET", f"{server.url}/bytes/1000000", stream=True)
    begin_apart(response.aclose)
    try:
        return await pool.request("GET", server.url)
    finally:
        await response.aclose()


def begin_apart(function: Callable[[], Any]) -> None:
    """Call it in a task that is not cancelled with this one."""
    if on_asyncio():
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: loop.create_task(function()))
    else:
        trio.lowlevel.spawn_system_task(function)


KINDS = [
    get,
    get_by_name,
    get_twice,
    get_in_pieces,
    leave_early,
    post,
    post_in_pieces,
    traced,
    with_a_total,
    queued,
]


Arm = Callable[[Callable[[], object]], None]


async def by_task(tasks: Tasks, work: Awaitable[object], arm: Arm) -> bool:
    """Cancel it with `Task.cancel`; return whether it was cancelled."""

    async def main() -> None:
        await work

    task = tasks.begin(main())
    arm(task.cancel)
    await task.end()
    return task.cancelled


async def by_timeout(tasks: Tasks, work: Awaitable[object], arm: Arm) -> bool:
    """Cancel it with `asyncio.timeout`, or with the deadline of a scope of trio."""
    if not on_asyncio():
        with trio.CancelScope() as scope:
            arm(lambda: setattr(scope, "deadline", trio.current_time()))
            await work
            await trio.sleep(0.001)
        return scope.cancelled_caught
    try:
        async with asyncio.timeout(None) as limit:  # type: ignore[attr-defined,unused-ignore]
            now = asyncio.get_running_loop().time()
            arm(lambda: None if limit.expired() else limit.reschedule(now))
            await work
            await anyio.sleep(0.001)  # it comes with the next turn of the loop
    except TimeoutError:
        return True
    return False


async def by_scope(tasks: Tasks, work: Awaitable[object], arm: Arm) -> bool:
    """Cancel it with a scope of anyio, which raises at each ``await`` from then on."""
    with anyio.CancelScope() as scope:
        arm(scope.cancel)
        await work
        await anyio.sleep(0)
    return scope.cancelled_caught


def twice(cancel: Callable[[], object]) -> Callable[[], object]:
    """Cancel now, and once more where the task cleans up."""

    def act() -> None:
        cancel()
        if on_asyncio():  # trio does so by itself, at each `await`
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, cancel)

    return act


def once(cancel: Callable[[], object]) -> Callable[[], object]:
    return cancel


WAYS: list[Any] = [
    by_task,
    pytest.param(
        by_timeout,
        marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="it is new in Python 3.11"),
    ),
    by_scope,
]


@pytest.mark.parametrize("often", [once, twice])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_row_56_cancelled_at_each_await(
    tasks: Tasks,
    kind: Callable[[Pool, LocalServer], Any],
    way: Callable[..., Any],
    often: Callable[..., Any],
    server: LocalServer,
) -> None:
    """Row 56: afterwards a pool of one connection still serves."""
    async with Pool(max_connections=1) as pool:
        await cancel_at_each_await(tasks, pool, lambda: kind(pool, server), way, often)
        assert (await pool.request("GET", server.url, extensions=PATIENT)).status == 200
        assert len(pool.connections) == 1
    server.errors.clear()  # it may have been left in the middle of an answer


def arm(work: Suspending[Any], often: Callable[..., Any], cancel: Callable[[], object]) -> None:
    work.act = often(cancel)


async def cancel_at_each_await(
    tasks: Tasks,
    pool: Pool,
    begin: Callable[[], Any],
    way: Callable[..., Any],
    often: Callable[..., Any],
) -> None:
    number = 0
    while True:
        work = Suspending(begin(), number)
        was_cancelled = await way(tasks, work, partial(arm, work, often))
        if number < work.count:
            assert was_cancelled, f"the cancellation at await {number} was swallowed"
        stats = pool.stats()
        assert (stats["active"], stats["dialing"], stats["waiting"]) == (0, 0, 0), number
        if number >= work.count:
            assert number > 0
            return
        number += 1


@pytest.mark.parametrize("often", [once, twice])
async def test_row_56_over_tls(
    tasks: Tasks,
    often: Callable[..., Any],
    tls_server: LocalServer,
    client_tls_context: ssl.SSLContext,
) -> None:
    async with Pool(ssl_context=client_tls_context, max_connections=1) as pool:

        async def fresh() -> object:
            pool.close_idle()
            return await pool.request("GET", f"{tls_server.url}/bytes/100000")

        await cancel_at_each_await(tasks, pool, fresh, by_task, often)
        response = await pool.request("GET", tls_server.url, extensions=PATIENT)
        assert response.status == 200
    tls_server.errors.clear()


# --- in the queue ---


async def test_row_57_cancelled_in_the_tick_in_which_it_was_served(
    tasks: Tasks,
    server: LocalServer,
) -> None:
    """Row 57: the next one gets its turn. On asyncio it gets the connection, too; trio cancels a
    task that is about to go on at its next ``await``, when the request is on its way."""
    async with Pool(max_connections=1) as pool:
        response = await pool.request("GET", f"{server.url}/drip/3", stream=True)
        first = tasks.begin(pool.request("GET", server.url, extensions=PATIENT))
        await until(lambda: pool.stats()["waiting"] == 1)
        second = tasks.begin(pool.request("GET", server.url, extensions=PATIENT))
        await until(lambda: pool.stats()["waiting"] == 2)
        await response.aread()
        first.cancel()
        with pytest.raises(WasCancelled):
            await first
        assert (await second).status == 200
    assert server.accepted == (1 if on_asyncio() else 2)
    server.errors.clear()


async def cancel_later(task: Begun[Any], seconds: float) -> None:
    await anyio.sleep(seconds)
    task.cancel()


@pytest.mark.parametrize("count", [300, pytest.param(30_000, marks=pytest.mark.soak)])
async def test_many_tasks_some_of_them_cancelled(
    tasks: Tasks, count: int, server: LocalServer
) -> None:
    """None is lost, and each connection is used again."""
    chance = random.Random(57)
    async with Pool(max_connections=5) as pool:
        done = []

        async def one(number: int) -> None:
            response = await pool.request("GET", f"{server.url}/bytes/{number % 100}")
            assert len(response.content) == number % 100
            done.append(number)

        for start in range(0, count, 100):
            begun = [tasks.begin(one(number)) for number in range(start, start + 100)]
            for task in begun:
                if chance.random() < 0.3:
                    tasks.begin(cancel_later(task, chance.random() * 0.05))
            for failure in await gather(*begun):
                assert failure is None or isinstance(failure, WasCancelled), failure
        stats = pool.stats()
        assert (stats["active"], stats["dialing"], stats["waiting"]) == (0, 0, 0)
        assert stats["connections"] <= 5
        assert len(done) >= 0.6 * count
    server.errors.clear()


# --- while connecting ---


async def test_row_58_while_connecting(tasks: Tasks, black_hole: tuple[str, int]) -> None:
    """Row 58: no connection is left in the pool, and no descriptor (the fixture `no_leaks`)."""
    host, port = black_hole
    released = threading.Event()

    def resolve(host: str, port: int, timeout: float | None) -> list[str]:
        released.wait(PATIENCE)
        return ["127.0.0.1"]

    async with Pool(resolver=resolve) as pool:
        for name in (host, "name.test"):
            request = tasks.begin(pool.request("GET", f"http://{name}:{port}/"))
            while pool.stats()["dialing"] == 0:
                await checkpoint()
            await anyio.sleep(0.01)
            request.cancel()
            with pytest.raises(WasCancelled):
                await request
            assert pool.connections == []
        released.set()


async def test_row_58_in_a_handshake(
    tasks: Tasks, serve: Serve, client_tls_context: ssl.SSLContext
) -> None:
    server = serve(lambda peer: peer.wait_closed() and None)
    async with Pool(ssl_context=client_tls_context) as pool:
        url = server.url.replace("http:", "https:")
        request = tasks.begin(pool.request("GET", url))
        await until(lambda: server.accepted == 1)
        request.cancel()
        with pytest.raises(WasCancelled):
            await request
        assert pool.connections == []
        with pytest.raises(httpcore.ConnectTimeout, match=r"TLS handshake .* timed out"):
            await pool.request("GET", url, extensions={"timeout": {"connect": 0.05}})
        assert pool.connections == []


# --- responses that are left ---


async def test_row_62_breaking_off(tasks: Tasks, server: LocalServer) -> None:
    """Row 62: the connection is free at once, and whoever waits gets it."""
    async with Pool(max_connections=1) as pool:
        for _ in range(3):
            async with pool.stream("GET", f"{server.url}/drip/1000") as response:
                waiter = tasks.begin(pool.request("GET", server.url, extensions=PATIENT))
                async for _part in response.aiter_stream():
                    break
            assert (await waiter).status == 200
    server.errors.clear()


async def test_row_62_dropped(tasks: Tasks, server: LocalServer) -> None:
    """Also by the garbage collector, in another thread; with a warning, as it is a mistake."""
    async with Pool(max_connections=1) as pool:
        for collect in (gc.collect, in_a_thread):
            response = await pool.request("GET", f"{server.url}/bytes/1000000", stream=True)
            cycle: list[Any] = [response]
            cycle.append(cycle)
            waiter = tasks.begin(pool.request("GET", server.url, extensions=PATIENT))
            while pool.stats()["waiting"] == 0:
                await checkpoint()
            del response, cycle
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                collect()
            assert [each.category for each in caught] == [ResourceWarning]
            assert "unread response to GET /bytes/1000000 was dropped" in str(caught[0].message)
            assert (await waiter).status == 200
    server.errors.clear()


def in_a_thread() -> None:
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()


async def test_an_iterator_that_is_left_leaves_nothing_to_the_loop(server: LocalServer) -> None:
    """It is no generator, which the loop would have to close later."""
    async with Pool() as pool:
        response = await pool.request("GET", f"{server.url}/bytes/1000000", stream=True)
        parts = response.aiter_stream()
        assert await anext(parts)
        del parts
        await response.aclose()
        assert pool.connections == []
        with pytest.raises(httpcore.ReadError, match="was closed while unread"):
            await response.stream.aread()


async def test_closing_a_response_that_another_task_reads(
    tasks: Tasks, server: LocalServer
) -> None:
    async with Pool(max_connections=1) as pool:
        response = await pool.request("GET", f"{server.url}/drip/1000", stream=True)
        reading = tasks.begin(response.aread())
        await anyio.sleep(0.01)
        await response.aclose()
        with pytest.raises(httpcore.NetworkError, match="was ended by a close or a CancelToken"):
            await reading
        assert (await pool.request("GET", server.url, extensions=PATIENT)).status == 200
    server.errors.clear()
