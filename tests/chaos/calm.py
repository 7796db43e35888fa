"""Many requests without a fault, to see whether the client takes more and more.

Owns: these requests, in threads and in tasks, and what the process takes meanwhile. Must not know:
faults. The server is nginx; it closes an HTTP/2 connection after 50 requests, so connections come
and go.
"""

from __future__ import annotations

import os
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import trustme

import httpcore

from ..support import programs, tls
from .plans import Tally
from .resources import MIB, Resources

#: Threads, and tasks, that send.
THREADS, TASKS = 16, 100
#: How often resources are shown.
SHOWN = 10
#: MiB that the process may grow by after the first tenth.
GROWTH = 8


class Progress:
    """Counts requests, and shows what the process takes.

    Parameters:
        name: of the load.
        count: how many requests there will be.
        tally: gets what is wrong.
    """

    def __init__(self, name: str, count: int, tally: Tally) -> None:
        self._name = name
        self._step = max(count // SHOWN, 1)
        self._tally = tally
        self._first: Resources | None = None

    def at(self, sent: int) -> None:
        """Show the resources, each tenth; note where they have grown."""
        if sent % self._step:
            return
        now = Resources.now()
        print(f"{self._name} {sent} requests; {now}", flush=True)
        if self._first is None:
            self._first = now
        elif now.resident - self._first.resident > GROWTH * MIB:
            self._tally.object_to(f"{self._name}: memory grew: {self._first}, then {now}")
        elif now.descriptors > self._first.descriptors + THREADS:
            self._tally.object_to(f"{self._name}: descriptors grew: {self._first}, then {now}")


def _nonce(number: int) -> bytes:
    return b"%d-%d" % (number, os.getpid())


def _check(response: httpcore.Response, nonce: bytes, tally: Tally) -> None:
    tally.complete += 1
    if response.status != 200 or (b"x-nonce", nonce) not in [
        (name.lower(), value) for name, value in response.headers
    ]:
        tally.object_to(f"{nonce!r}: {response.status} {response.headers}")


def by_threads(url: str, count: int, name: str, **options: Any) -> Tally:
    """Send `count` requests in threads."""
    tally = Tally()
    progress = Progress(name, count, tally)
    numbers, guard = iter(range(1, count + 1)), threading.Lock()

    def work() -> None:
        while True:
            with guard:
                number = next(numbers, 0)
            if not number:
                return
            nonce = _nonce(number)
            response = pool.request("GET", url, headers={"x-nonce": nonce})
            _check(response, nonce, tally)
            progress.at(number)

    with httpcore.ConnectionPool(max_connections=THREADS, **options) as pool:
        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return tally


async def by_tasks(url: str, count: int, name: str, **options: Any) -> Tally:
    """Send `count` requests in tasks."""
    tally = Tally()
    progress = Progress(name, count, tally)
    numbers = iter(range(1, count + 1))

    async def work() -> None:
        for number in numbers:
            nonce = _nonce(number)
            response = await pool.request("GET", url, headers={"x-nonce": nonce})
            _check(response, nonce, tally)
            progress.at(number)

    async with httpcore.AsyncConnectionPool(max_connections=THREADS, **options) as pool:
        async with anyio.create_task_group() as group:
            for _ in range(TASKS):
                group.start_soon(work)
    return tally


def run(count: int) -> int:
    """Send `count` requests of each kind; return the exit status."""
    if programs.nginx_with_http2() is None:
        print("nginx with HTTP/2 is needed and was not found: install Debian's package nginx")
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder, ca = Path(name), trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ca.configure_trust(context)
        with programs.nginx_http2(folder, *tls.write_server_cert(ca, folder)) as nginx:
            url = f"https://127.0.0.1:{nginx.ports[0]}/"
            wrong = [
                text
                for protocol, http2 in (("HTTP/1.1", False), ("HTTP/2", True))
                for load in (_threads, _tasks)
                for text in load(url, count, protocol, ssl_context=context, http2=http2).wrong
            ]
    for text in wrong:
        print(f"  wrong: {text}")
    print(f"{4 * count} requests, {Resources.now()}: {len(wrong) or 'nothing'} wrong")
    return bool(wrong)


def _threads(url: str, count: int, protocol: str, **options: Any) -> Tally:
    return by_threads(url, count, f"{protocol} threads", **options)


def _tasks(url: str, count: int, protocol: str, **options: Any) -> Tally:
    run: Callable[..., Any] = anyio.run
    found: Tally = run(lambda: by_tasks(url, count, f"{protocol} tasks", **options))
    return found
