"""Many tasks, few connections: nothing leaks, nobody is overtaken, no work grows.

Owns: the tests of the asynchronous pool's limits under load, under faults and cancellations. Must
not know: how the pool keeps its books, except where they are watched.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import httpcore
from httpcore._core.scheduler import Scheduler, Waiter
from tests.support import PATIENCE
from tests.support.servers import LocalServer, pattern
from tests.support.tasks import Begun, Tasks, WasCancelled

pytestmark = [pytest.mark.anyio, pytest.mark.no_cover]

logger = logging.getLogger(__name__)

Pool = httpcore.AsyncConnectionPool


def at_rest(pool: Pool) -> bool:
    stats = pool.stats()
    return (stats["active"], stats["dialing"], stats["waiting"]) == (0, 0, 0)


@pytest.fixture
def quiet_server() -> Any:
    """The keep-alive server with routes, on which clients may hang up as they like."""
    with LocalServer(record=False) as running:
        yield running


# --- row 59: the queue ---


class Watched:
    """What a waiter sleeps on; calls `woken` when it is woken."""

    def __init__(self, inside: Any, woken: Callable[[], None]) -> None:
        self._inside = inside
        self._woken = woken

    def release(self) -> None:
        self._woken()
        self._inside.release()

    async def acquire(self, timeout: float | None = None) -> bool:
        return bool(await self._inside.acquire(timeout))


class Queue:
    """Watches the queue of all pools, for requests to one origin.

    Attributes:
        served: how many waiters got a slot, each of them before all that came after it.
        left: how many left the queue without one.
        overtaken: the places of waiters that were not the first, with that of the first.
        ran_out: what `stats` said where a pool timeout was over.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.served = self.left = self.longest = 0
        self.overtaken: list[tuple[int, int]] = []
        self.ran_out: list[dict[str, Any]] = []
        self._waiting: dict[int, None] = {}  # places, by arrival
        self._acquire = Scheduler.acquire
        self._wait = Pool._wait
        watch, queue = self._watch_wait, self

        def acquire(scheduler: Scheduler, *arguments: Any) -> Any:
            return queue._watch_acquire(scheduler, *arguments)

        async def wait(pool: Pool, *arguments: Any) -> None:
            await watch(pool, *arguments)

        monkeypatch.setattr(Scheduler, "acquire", acquire)
        monkeypatch.setattr(Pool, "_wait", wait)

    def _watch_acquire(self, scheduler: Scheduler, *arguments: Any) -> Any:
        got = self._acquire(scheduler, *arguments)
        if isinstance(got, Waiter):
            self._waiting[got.sequence] = None
            self.longest = max(self.longest, len(self._waiting))
        elif self._waiting:  # it came by and was served, while others wait
            self.overtaken.append((-1, next(iter(self._waiting))))
        return got

    async def _watch_wait(self, pool: Pool, waiter: Waiter, prepared: Any) -> None:
        def note() -> None:
            if waiter.served and waiter.sequence in self._waiting:
                first = next(iter(self._waiting))
                if first != waiter.sequence:
                    self.overtaken.append((waiter.sequence, first))
                del self._waiting[waiter.sequence]
                self.served += 1

        waiter.event = Watched(waiter.event, note)
        try:
            await self._wait(pool, waiter, prepared)
        except httpcore.PoolTimeout:
            self.ran_out.append(pool.stats())
            raise
        finally:
            if waiter.sequence in self._waiting:
                del self._waiting[waiter.sequence]
                self.left += 1


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    return Queue(monkeypatch)


class Crowd:
    """Rounds of a thousand requests at once, 30 % of which are cancelled, wherever they are.

    Each is to be cancelled when so many others have ended; half of the numbers are such that it
    has its turn just then.

    Attributes:
        seen: how requests ended.
    """

    SIZE = 1000

    def __init__(self, pool: Pool, url: str) -> None:
        self.seen: Counter[str] = Counter()
        self._pool = pool
        self._url = url
        self._chance = random.Random(59)

    async def play_round(self) -> None:
        """A thousand requests; all have ended at the end."""
        doomed = self._choose_doomed()
        ended = 0
        async with Tasks() as tasks:

            async def one(number: int) -> None:
                nonlocal ended
                try:
                    await self._request(number)
                finally:
                    ended += 1
                    for other in doomed.get(ended, ()):
                        begun[other].cancel()

            begun = [tasks.begin(one(number)) for number in range(self.SIZE)]
            for each in begun:
                await self._note_end(each)

    def _choose_doomed(self) -> dict[int, list[int]]:
        """The numbers of those to be cancelled, by how many have ended then."""
        doomed: dict[int, list[int]] = {}
        for number in self._chance.sample(range(50, self.SIZE), self.SIZE * 3 // 10):
            turn = number if self._chance.random() < 0.5 else self._chance.randrange(number)
            doomed.setdefault(max(1, turn - self._chance.randrange(20)), []).append(number)
        return doomed

    async def _request(self, number: int) -> None:
        limit = PATIENCE if number % 10 else self._chance.random() / 4
        timeout = {"pool": limit, "read": PATIENCE, "connect": PATIENCE}
        response = await self._pool.request(
            "GET", f"{self._url}/bytes/{number}", extensions={"timeout": timeout}
        )
        assert response.content == pattern(number)

    async def _note_end(self, begun: Begun[None]) -> None:
        try:
            await begun
            self.seen["answered"] += 1
        except WasCancelled:
            self.seen["cancelled"] += 1
        except httpcore.PoolTimeout:
            self.seen["ran out"] += 1


async def crowd_the_pool(
    server: LocalServer, queue: Queue, seconds: float
) -> tuple[Counter[str], dict[str, Any]]:
    """Rounds until so many seconds are over; checks what the row says after each."""
    end = time.monotonic() + seconds
    rounds = 0
    async with Pool(max_connections=10) as pool:
        crowd = Crowd(pool, server.url)
        while not rounds or time.monotonic() < end:
            await crowd.play_round()
            rounds += 1
            assert at_rest(pool)
            assert not queue.overtaken
            assert queue.longest <= Crowd.SIZE
            pool._slots.scheduler.check()
        assert crowd.seen.total() == rounds * Crowd.SIZE  # none is lost
        assert crowd.seen["cancelled"] > 0.2 * rounds * Crowd.SIZE
        assert crowd.seen["answered"] >= 0.5 * rounds * Crowd.SIZE
        for stats in queue.ran_out:
            assert (stats["idle"], stats["active"] + stats["dialing"]) == (0, 10), stats
        assert server.open <= 10 or server.wait_for(lambda: server.open <= 10)
        totals = pool.stats()["totals"]
        assert (await pool.request("GET", server.url)).status == 200
    return crowd.seen, totals


async def test_row_59_a_thousand_tasks(quiet_server: LocalServer, queue: Queue) -> None:
    """Row 59: "1,000 tasks on 10 connections, 30 % cancelled at random [...]: none lost, FIFO kept,
    no PoolTimeout while a slot is idle"; one round of them."""
    await crowd_the_pool(quiet_server, queue, seconds=0)
    assert queue.served > 500


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_row_59_a_thousand_tasks_for_a_minute(
    quiet_server: LocalServer, queue: Queue
) -> None:
    """Row 59: "[...] for a minute"; the figures are logged (``--log-cli-level INFO``)."""
    seen, totals = await crowd_the_pool(quiet_server, queue, seconds=60)
    figures = {"served": queue.served, "left": queue.left, "longest queue": queue.longest}
    logger.info("%s", {**seen, **figures, **totals})
