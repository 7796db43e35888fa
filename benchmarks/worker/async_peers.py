"""The asynchronous clients, each behind the same three verbs.

Owns: how one GET is sent with each client, its body read to the end and its status checked.
Must not know: event loops (but for the floor, which is asyncio's own), tasks, clocks.

Each class is made once with a `Job`, and everything else happens inside the running loop: `open`
makes what needs the loop, `requester` gives a function without arguments whose coroutine sends one
request and returns how many bytes of body came, `close` ends it. `requester` is called once for
each task: clients with a pool share it, the floor makes a connection for each. Nobody has a
timeout.
"""

from __future__ import annotations

import asyncio
import datetime
import importlib
import importlib.metadata
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from job import HEADERS, Job
from peers import MODULES, check, check_version

AsyncRequester = Callable[[], Awaitable[int]]

#: Seconds for which an idle connection is kept, so that it is still there after the turns of the
#: others: longer than any run.
_KEPT = 3600.0


class AsyncPeer:
    """What `tasks` asks of a client."""

    version: str

    def __init__(self, job: Job) -> None:
        self._job = job

    async def open(self) -> None: ...

    async def requester(self) -> AsyncRequester:
        raise NotImplementedError

    async def close(self) -> None: ...


class AsyncHttpcore(AsyncPeer):
    """Ours, httpcore 1.0.9 and httpcore2: one API, three interpreters."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._module = importlib.import_module(MODULES.get(job.peer, "httpcore"))
        self.version = f"{self._module.__name__} {self._module.__version__}"
        if (job.peer == "httpcore-1.0.9") != (self.version == "httpcore 1.0.9"):
            raise RuntimeError(f"{job.peer} was to run, but this is {self._module.__file__}")

    async def open(self) -> None:
        job = self._job
        self._pool = self._module.AsyncConnectionPool(
            ssl_context=job.ssl_context, max_connections=job.connections, http2=job.http2
        )
        if job.http2:
            response = await self._pool.request("GET", job.url, headers=HEADERS)
            check_version(response.extensions["http_version"].decode(), job)

    async def requester(self) -> AsyncRequester:
        request, url = self._pool.request, self._job.url

        async def send() -> int:
            response = await request("GET", url, headers=HEADERS)
            check(response.status)
            return len(response.content)

        return send

    async def close(self) -> None:
        await self._pool.aclose()


class Aiohttp(AsyncPeer):
    """A `ClientSession`. Its parser written in C has to be there."""

    def __init__(self, job: Job) -> None:
        import aiohttp
        from aiohttp import http_parser

        super().__init__(job)
        if http_parser.HttpResponseParser is http_parser.HttpResponseParserPy:
            raise RuntimeError("aiohttp has no C parser here")
        self.version = f"aiohttp {aiohttp.__version__} (C parser)"

    async def open(self) -> None:
        import aiohttp

        job = self._job
        context = job.ssl_context
        connector = aiohttp.TCPConnector(
            limit=job.connections,
            keepalive_timeout=_KEPT,
            ssl=True if context is None else context,
        )
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None, sock_connect=None)
        )

    async def requester(self) -> AsyncRequester:
        get, url = self._session.get, self._job.url

        async def send() -> int:
            async with get(url, headers=HEADERS) as response:
                check(response.status)
                return len(await response.read())

        return send

    async def close(self) -> None:
        await self._session.close()


class Httpx(AsyncPeer):
    """An `AsyncClient` on the `httpcore` that stands first in the path: ours, or 1.0.9.

    But for the timeout it is as it comes: up to 100 connections, of which 20 are kept when they are
    idle.
    """

    def __init__(self, job: Job) -> None:
        import httpx

        import httpcore

        super().__init__(job)
        self.version = f"httpx {httpx.__version__} on httpcore {httpcore.__version__}"
        if (job.peer == "ours") == (httpcore.__version__ == "1.0.9"):
            raise RuntimeError(f"{job.peer} was to run, but this is {httpcore.__file__}")

    async def open(self) -> None:
        import httpx

        job = self._job
        context = job.ssl_context
        self._client = httpx.AsyncClient(
            verify=True if context is None else context,
            http2=job.http2,
            timeout=None,
        )

    async def requester(self) -> AsyncRequester:
        get, url = self._client.get, self._job.url

        async def send() -> int:
            response = await get(url, headers=HEADERS)
            check(response.status_code)
            return len(response.content)

        return send

    async def close(self) -> None:
        await self._client.aclose()


class Niquests(AsyncPeer):
    """An `AsyncSession`. HTTP/3 is off, and HTTP/2 where the job does not ask for it."""

    def __init__(self, job: Job) -> None:
        import niquests

        super().__init__(job)
        self.version = f"niquests {niquests.__version__}"

    async def open(self) -> None:
        import niquests

        job = self._job
        self._session = niquests.AsyncSession(
            disable_http2=not job.http2, disable_http3=True, pool_maxsize=job.connections
        )
        if job.authorities:
            self._session.verify = job.authorities
            response = await self._session.get(job.url, headers=HEADERS)
            check_version("HTTP/2" if response.raw.version == 20 else "HTTP/1", job)

    async def requester(self) -> AsyncRequester:
        get, url = self._session.get, self._job.url

        async def send() -> int:
            response = await get(url, headers=HEADERS)
            check(response.status_code)
            return len(response.content)

        return send

    async def close(self) -> None:
        await self._session.close()


class Pyreqwest(AsyncPeer):
    """A `Client`: reqwest, which is written in Rust and has threads of its own."""

    def __init__(self, job: Job) -> None:
        import pyreqwest

        super().__init__(job)
        self.version = f"{pyreqwest.__name__} {importlib.metadata.version('pyreqwest')}"

    async def open(self) -> None:
        from pyreqwest.client import ClientBuilder

        job = self._job
        builder = ClientBuilder().no_proxy().http2(job.http2)
        builder = builder.max_connections(None if job.http2 else job.connections)
        builder = builder.pool_idle_timeout(datetime.timedelta(seconds=_KEPT))
        if job.authorities:
            # It takes one certificate, and has the others of the bundle built in; ours is the last.
            _, begin, rest = Path(job.authorities).read_text().rpartition("-----BEGIN CERTIFICATE")
            builder = builder.add_root_certificate_pem((begin + rest).encode())
        self._client = builder.build()
        if job.authorities:
            response = await self._client.get(job.url).headers(HEADERS).build().send()
            check_version("HTTP/2" if response.version.startswith("HTTP/2") else "HTTP/1", job)

    async def requester(self) -> AsyncRequester:
        get, url = self._client.get, self._job.url

        async def send() -> int:
            response = await get(url).headers(HEADERS).build().send()
            check(response.status)
            return len(await response.bytes())

        return send

    async def close(self) -> None:
        await self._client.close()


class _Wire(asyncio.Protocol):
    """One connection of the floor, which takes in one answer at a time and keeps no body."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[int] | None = None
        self._head = b""
        self._length = 0
        self._missing = 0

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, self._head = self._head, b""
            check(int(head[9:12]))
            start = head.index(b"Content-Length: ") + 16
            self._length = int(head[start : head.index(b"\r", start)])
            self._missing = self._length - (len(head) - end - 4)
        if self._missing <= 0:
            received, self._missing = self._length - self._missing, 0
            assert self.answer is not None
            self.answer.set_result(received)

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error or ConnectionError("the server closed"))


class AsyncioProtocol(AsyncPeer):
    """The floor: the bytes of the request, a transport of asyncio, and one future for each answer.

    It believes whatever the server says.
    """

    version = "asyncio of the standard library"

    async def requester(self) -> AsyncRequester:
        job = self._job
        loop = asyncio.get_running_loop()
        context: ssl.SSLContext | None = job.ssl_context
        transport, wire = await loop.create_connection(_Wire, *job.address, ssl=context)
        fields = {"Host": "{}:{}".format(*job.address), **HEADERS}
        lines = [f"GET {job.path} HTTP/1.1", *(f"{name}: {fields[name]}" for name in fields)]
        request = "\r\n".join([*lines, "", ""]).encode()
        write, create_future = transport.write, loop.create_future

        async def send() -> int:
            wire.answer = create_future()
            write(request)
            return await wire.answer

        return send


#: By the kind of the case, and the client.
PROGRAMS: dict[str, dict[str, Callable[[Job], AsyncPeer]]] = {
    "async": {
        "ours": AsyncHttpcore,
        "httpcore-1.0.9": AsyncHttpcore,
        "httpcore2-2.16.2": AsyncHttpcore,
        "httpx": Httpx,
        "aiohttp": Aiohttp,
        "niquests": Niquests,
        "pyreqwest": Pyreqwest,
        "asyncio": AsyncioProtocol,
    },
    "async-httpx": {"ours": Httpx, "httpx": Httpx},
}
