"""The load in tasks, on asyncio and on trio.

Owns: tasks, their cancellation, and the end of all that. Must not know: what is asked for
(`plans`), what goes wrong.
"""

from __future__ import annotations

import random
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio

import httpcore

from .plans import Plan, Tally, Thrown, make_plan
from .threads import ALLOWED, CONNECTIONS, PATIENCE, POOL_TIMEOUT

#: A thousand tasks have one processor between them, and wait for it.
SLOWER = 4.0


class AsyncClients:
    """The pools that the tasks share.

    Parameters:
        ports: of the servers.
        roots: path of their authority.
    """

    def __init__(self, ports: dict[str, int], roots: str) -> None:
        self.ports = ports
        context = ssl.create_default_context(cafile=roots)
        limits: Any = {"max_connections": 4 * CONNECTIONS, "keepalive_expiry": 5.0}
        self.pool = httpcore.AsyncConnectionPool(ssl_context=context, http2=True, **limits)
        self.prior = httpcore.AsyncConnectionPool(http1=False, http2=True, **limits)
        self.proxy = httpcore.Proxy(f"http://127.0.0.1:{ports['proxy']}")

    def pool_for(self, plan: Plan) -> httpcore.AsyncConnectionPool:
        """Return the pool that `plan` uses."""
        return self.prior if plan.way in ("http2", "http2-relay") else self.pool

    def extensions(self, plan: Plan) -> dict[str, Any]:
        """Return the extensions of a request."""
        found: dict[str, Any] = {"timeout": {"total": plan.total, "pool": POOL_TIMEOUT * SLOWER}}
        if plan.proxied:
            found["proxy"] = self.proxy
        return found

    async def aclose(self) -> None:
        """Close all of it."""
        await self.pool.aclose()
        await self.prior.aclose()

    def unsettled(self) -> list[str]:
        """Return what the pools still hold though no request is under way."""
        left = []
        for pool in (self.pool, self.prior):
            stats = pool.stats()
            busy = {name: stats[name] for name in ("active", "dialing", "requests", "waiting")}
            if any(busy.values()):
                left.append(f"{pool!r}: {busy} {stats['waiting_for']}")
        return left


async def _pieces(plan: Plan) -> AsyncIterator[bytes]:
    for part in plan.pieces():
        yield part


async def perform(clients: AsyncClients, plan: Plan, tally: Tally) -> None:
    """Send one request, and do with the response what `plan` says. Raises what the client does."""
    pool = clients.pool_for(plan)
    content: Any = _pieces(plan) if plan.body in ("iterator", "broken") else plan.content()
    options: Any = {
        "content": content,
        "headers": {"Expect": "100-continue"} if plan.upload == 5000 else {},
        "extensions": clients.extensions(plan),
    }
    url = plan.url(clients.ports)
    if plan.act == "read":
        response = await pool.request(plan.method, url, **options)
        whole = not response.stream.unclean_tls_eof
        tally.check(plan, response.status, _fields(response.headers), response.content, whole)
        return
    if plan.act == "drop":
        response = await pool.request(plan.method, url, stream=True, **options)
        body = await _first(response)
        tally.check(plan, response.status, _fields(response.headers), body, False)
        return
    async with pool.stream(plan.method, url, **options) as response:
        body = b""
        async for part in response.aiter_stream():
            body += part
            if plan.act != "stream":
                break
        whole = plan.act == "stream" and not response.stream.unclean_tls_eof
        tally.check(plan, response.status, _fields(response.headers), body, whole)
        if plan.act == "throw":
            raise Thrown


async def _first(response: httpcore.Response) -> bytes:
    async for part in response.aiter_stream():
        return part
    return b""


def _fields(headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"\n".join(name + b":" + value for name, value in headers)


class AsyncLoad:
    """Many tasks that send requests.

    Parameters:
        clients: what they share.
        seed: of what they ask for.
        tasks: how many.
        goes_on: called with the number of requests that a task has sent; False ends it.
        rate: the share of requests with a fault.
    """

    def __init__(
        self,
        clients: AsyncClients,
        seed: int,
        tasks: int,
        goes_on: Callable[[int], bool],
        rate: float,
    ) -> None:
        self.tally = Tally()
        self._clients = clients
        self._seed = seed
        self._tasks = tasks
        self._goes_on = goes_on
        self._rate = rate
        self._ways = [name for name in clients.ports if name != "proxy"]
        self._alive = 0

    async def run(self) -> Tally:
        """Run all of it, then wait until the pools are at rest."""
        async with anyio.create_task_group() as group:
            for number in range(self._tasks):
                group.start_soon(self._work, random.Random(self._seed * 1000 + number))
        with anyio.move_on_after(PATIENCE / 4):
            while self._clients.unsettled():
                await anyio.sleep(0.02)
        for text in self._clients.unsettled():
            self.tally.object_to(f"not at rest: {text}")
        return self.tally

    async def _work(self, rng: random.Random) -> None:
        sent = 0
        while self._goes_on(sent):
            await self._one(rng)
            sent += 1

    async def _one(self, rng: random.Random) -> None:
        plan = make_plan(rng, self._ways, self._rate, SLOWER)
        seconds = plan.cancel if plan.cancel is not None else PATIENCE
        with anyio.move_on_after(seconds) as scope:
            try:
                await perform(self._clients, plan, self.tally)
            except Exception as error:
                self.tally.fail(plan, error, ALLOWED)
            except BaseException as error:
                if plan.cancel is None:
                    places = "".join(traceback.format_tb(error.__traceback__)[-4:])
                    self.tally.object_to(f"{plan} hangs at\n{places}")
                raise
        self.tally.errors["cancelled"] += scope.cancelled_caught
