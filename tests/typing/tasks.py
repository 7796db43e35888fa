"""A program on the asynchronous pool, and on the front door of 2019."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpcore
from httpcore import aio

events: list[str] = []


async def note(name: str, details: dict[str, Any]) -> None:
    events.append(name)


async def fetch(pool: httpcore.AsyncConnectionPool, url: str) -> int:
    response = await pool.request("GET", url, extensions={"trace": note})
    timings: httpcore.Timings = response.extensions["timings"]
    assert timings.total is not None
    return response.status


async def main(url: str) -> None:
    async with httpcore.AsyncConnectionPool(max_connections=2, http2=True) as pool:
        print(await asyncio.gather(*[fetch(pool, url) for _ in range(4)]))
        async with pool.stream("GET", url + "/bytes/100000") as response:
            print(sum([len(part) async for part in response.aiter_stream()]))
        print(pool.stats()["waiting"], len(pool.connections) <= 2)
    whole: httpcore.Response = await aio.request("GET", url)
    print(whole.status_code)
    async with aio.ConnectionPool() as one, aio.PoolManager() as other:
        print((await one.request("GET", url)).status, (await other.request("GET", url)).status)
    again = await httpcore.aio.request("GET", url)
    print(again.status, bool(events))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
