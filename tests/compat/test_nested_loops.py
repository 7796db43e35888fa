"""An event loop that is run inside one of its own tasks, as notebooks do it with nest_asyncio.

Owns: that requests go on at every depth. Must not know: how the loop is patched; that changes a
whole process, so it happens in one of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import LocalServer

pytest.importorskip("nest_asyncio")

PROGRAM = """
import asyncio
import sys

import nest_asyncio

import httpcore


async def nested(pool, url, depth):
    assert (await pool.request("GET", url)).content
    task = asyncio.current_task()
    if depth:
        asyncio.get_running_loop().run_until_complete(nested(pool, url, depth - 1))
    assert asyncio.current_task() is task
    assert (await pool.request("GET", url)).content


async def main(url):
    async with httpcore.AsyncConnectionPool(max_connections=20) as pool:
        await asyncio.gather(*(nested(pool, url, 3) for _ in range(10)))
        print(pool)


nest_asyncio.apply()
asyncio.run(asyncio.wait_for(main(sys.argv[1]), 30))
"""


def test_requests_in_loops_within_loops(server: LocalServer, tmp_path: Path) -> None:
    """Tasks must not be stepped from the callback of a stream, for one: their contexts are entered
    already where the loop runs within one of them."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), server.url + "/drip/3?delay=0.005"],
        capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Requests: 0 active, 0 queued" in done.stdout
    assert "Traceback" not in done.stderr
