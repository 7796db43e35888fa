"""A pool and the event loops that it is used in.

Owns: several loops, one after the other or at once, threads, and loops that are closed while a
response is open. Must not know: what requests do otherwise.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio

import httpcore
import httpcore.aio
from httpcore import _ssl as ssl_module
from httpcore._core import pool_base
from tests.support import PATIENCE
from tests.support.http2 import ServeH2
from tests.support.loops import HAS_UVLOOP
from tests.support.servers import LocalServer, Peer, Serve
from tests.support.tasks import checkpoint, in_thread, on_asyncio, until

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def run_in_uvloop(main: Coroutine[Any, Any, Any]) -> Any:
    import uvloop

    return uvloop.run(main)


def run_in_trio(main: Coroutine[Any, Any, Any]) -> Any:
    async def run() -> Any:
        return await main

    return trio.run(run)


@pytest.fixture(
    params=[
        pytest.param(asyncio.run, id="asyncio"),
        pytest.param(
            run_in_uvloop,
            id="uvloop",
            marks=pytest.mark.skipif(not HAS_UVLOOP, reason="uvloop is not installed"),
        ),
        pytest.param(run_in_trio, id="trio"),
    ]
)
def run(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_row_60_three_loops_one_after_the_other(run: Run, server: LocalServer) -> None:
    """Row 60: what a closed loop has left is closed."""
    pool = httpcore.AsyncConnectionPool(max_connections=1)
    for number in range(3):
        assert run(pool.request("GET", server.url)).status == 200
        assert len(pool.connections) == 1
        assert server.accepted == number + 1
    run(pool.aclose())
    assert pool.connections == []


def test_row_60_closed_in_each_of_three_loops(run: Run, server: LocalServer) -> None:
    """Row 60: entering the pool opens it again."""
    pool = httpcore.AsyncConnectionPool()

    async def main() -> None:
        async with pool:
            for _ in range(2):
                assert (await pool.request("GET", server.url)).status == 200

    for number in range(3):
        run(main())
        assert pool.connections == []
        assert server.accepted == number + 1
    with pytest.raises(RuntimeError, match="this pool was closed"):
        run(pool.request("GET", server.url))


def test_a_response_that_outlives_its_loop(run: Run, server: LocalServer) -> None:
    pool = httpcore.AsyncConnectionPool(max_connections=1)
    response = run(pool.request("GET", f"{server.url}/bytes/1000000", stream=True))
    assert run(pool.request("GET", server.url)).status == 200

    async def read() -> None:
        with pytest.raises(httpcore.NetworkError):
            await response.aread()

    run(read())
    run(pool.aclose())


def test_a_pool_that_outlives_its_loop_and_is_closed_without_one(
    run: Run, server: LocalServer
) -> None:
    pool = httpcore.AsyncConnectionPool()
    run(pool.request("GET", server.url))
    pool.close()
    assert pool.connections == []


def test_row_60_another_loop_while_the_first_is_open(run: Run, server: LocalServer) -> None:
    """In another thread, too."""
    pool = httpcore.AsyncConnectionPool()
    failures: list[BaseException] = []

    async def elsewhere() -> None:
        try:
            await pool.request("GET", server.url)
        except RuntimeError as exc:
            failures.append(exc)

    async def main() -> None:
        await pool.request("GET", server.url)
        await in_thread(run, elsewhere())
        (failure,) = failures
        assert "make one pool for each loop" in str(failure)
        assert (await pool.request("GET", server.url)).extensions["reused"]
        await pool.aclose()
        # Now it has no connections in this loop.
        await in_thread(run, once())

    async def once() -> None:
        async with pool:
            await pool.request("GET", server.url)

    run(main())
    assert len(failures) == 1


def test_from_one_kind_of_loop_to_another(server: LocalServer) -> None:
    pool = httpcore.AsyncConnectionPool(max_connections=1)
    for run in (asyncio.run, run_in_trio, asyncio.run):
        assert run(pool.request("GET", server.url)).status == 200
    asyncio.run(pool.aclose())
    assert server.accepted == 3


def test_trio_as_a_guest_of_asyncio(server: LocalServer) -> None:
    """Its tasks are trio's, though a loop of asyncio runs, too."""
    results: list[Any] = []

    async def guest() -> None:
        async with httpcore.AsyncConnectionPool() as pool:
            response = await pool.request("GET", server.url, stream=True)
            results.append(type(response.extensions["network_stream"]).__name__)
            await response.aclose()

    async def host() -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=ended.set_result,
        )
        (await ended).unwrap()

    asyncio.run(host())
    assert results == ["TrioStream"]


def test_what_another_thread_may_do(run: Run, server: LocalServer) -> None:
    async def main() -> None:
        pool = httpcore.AsyncConnectionPool()
        for close in (pool.close_idle, pool.retire, pool.close):
            pool = await pool.__aenter__()
            await pool.request("GET", server.url)
            assert len(pool.connections) == 1
            await in_thread(close)
            assert pool.connections == []
            assert (await in_thread(pool.stats))["connections"] == 0
        await checkpoint()  # the sockets are closed in this thread

    run(main())


def test_a_response_that_is_dropped_without_a_loop(run: Run, server: LocalServer) -> None:
    pool = httpcore.AsyncConnectionPool(max_connections=1)
    responses = [run(pool.request("GET", f"{server.url}/bytes/1000000", stream=True))]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        responses.clear()
        gc.collect()
    assert [each.category for each in caught] == [ResourceWarning]
    assert pool.connections == []


def test_row_64_an_idle_connection_that_has_ended(run: Run, serve: Serve) -> None:
    """Row 64: no connection stays half closed until somebody wants to use it."""

    def once(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = serve(once)

    async def main() -> None:
        async with httpcore.AsyncConnectionPool() as pool:
            assert (await pool.request("GET", server.url)).content == b"ok"
            if on_asyncio():
                await until(lambda: not pool.connections)
            else:  # on trio nothing is read that no task waits for
                await until(lambda: not server.open)
                assert (await pool.request("GET", server.url)).content == b"ok"
            assert pool.stats()["totals"]["expired"] == 1

    run(main())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_row_64_the_loop_is_held_up(run: Run, method: str, serve: Serve) -> None:
    """Row 64: the event loop has not seen the end yet, but the socket has."""

    def once(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = serve(once)

    async def main() -> None:
        async with httpcore.AsyncConnectionPool() as pool:
            for number in range(3):
                response = await pool.request(method, server.url, content=b"x")
                assert response.content == b"ok"
                assert server.wait_for(lambda: not server.open)  # blocks this loop
                assert server.accepted == number + 1

    run(main())


def test_a_pool_that_is_dropped_closes_its_connections(run: Run, server: LocalServer) -> None:
    async def main() -> None:
        pool = httpcore.AsyncConnectionPool()
        await pool.request("GET", server.url)
        with pytest.warns(ResourceWarning, match="dropped with 1 open connections"):
            del pool
        await until(lambda: not server.open)

    run(main())


def test_row_63_a_slow_trust_store(
    run: Run, tls_server: LocalServer, ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 63: the roots are read in a thread."""
    threads = []
    make = ssl_module.create_ssl_context

    def noting(*arguments: Any, **options: Any) -> Any:
        threads.append(threading.current_thread().name)
        return make(*arguments, **options)

    monkeypatch.setattr(pool_base, "create_ssl_context", noting)

    async def main() -> None:
        config = httpcore.SSLConfig(verify=ca_bundle)
        async with httpcore.aio.PoolManager(ssl=config) as pool:
            for _ in range(2):
                assert (await pool.request("GET", tls_server.url)).status_code == 200
                pool.close_idle()

    run(main())
    assert threads == ["make a TLS context", threading.current_thread().name]


def fill_executor(release: threading.Event) -> None:
    """Leave no thread for what the loop would run in one, until `release` is set."""
    if on_asyncio():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        loop.run_in_executor(None, release.wait)
    else:
        limiter = trio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        limiter.acquire_on_behalf_of_nowait(release)


def test_row_63_look_ups_beside_a_full_executor(
    run: Run, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 63: look-ups have threads of their own, and keep their timeout."""
    release, asked = threading.Event(), []
    plain = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        asked.append((host, threading.current_thread() is threading.main_thread()))
        if host == "slow.test":
            release.wait(PATIENCE)
            raise socket.gaierror("slow.test is not known")
        return plain(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def main() -> None:
        fill_executor(release)
        async with httpcore.AsyncConnectionPool() as pool:
            url = f"http://localhost:{server.port}/"
            assert (await pool.request("GET", url)).status == 200
            timeout = {"connect": 0.05}
            with pytest.raises(httpcore.ConnectTimeout, match=r"slow\.test"):
                await pool.request("GET", "http://slow.test/", extensions={"timeout": timeout})
            assert not release.is_set()
        release.set()

    run(main())
    assert asked == [("localhost", False), ("slow.test", False)]


def test_a_trust_store_that_cannot_be_read(run: Run, tls_server: LocalServer) -> None:
    async def main() -> None:
        config = httpcore.SSLConfig(verify="/no/such/file.pem")
        async with httpcore.aio.PoolManager(ssl=config) as pool:
            with pytest.raises(OSError, match="no/such/file"):
                await pool.request("GET", tls_server.url)
            assert pool.connections == []

    run(main())


@pytest.mark.parametrize(("name", "package"), [("TrioBackend", "trio"), ("AnyIOBackend", "anyio")])
def test_a_package_that_is_not_installed(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is there, as in httpcore 1.0.9: programs import it, and all of the others."""
    backend: Any = getattr(httpcore, name)
    monkeypatch.delitem(vars(httpcore), name)
    monkeypatch.delitem(sys.modules, f"httpcore._backends.{package}")
    monkeypatch.setitem(sys.modules, package, None)  # importing it fails
    stand_in = getattr(httpcore, name)
    assert stand_in is not backend
    assert issubclass(stand_in, httpcore.AsyncNetworkBackend)
    assert repr(stand_in) == f"<class 'httpcore.{name}'>"
    with pytest.raises(RuntimeError, match=f"{name} needs {package}, which is not installed"):
        stand_in()


# A program that sends a request and prints the modules which that has loaded.
FIRST_REQUEST = """
import sys, ssl
import {kind}
import httpcore

def make_pool():
    context = httpcore.create_ssl_context({bundle!r}, protocols={protocols})
    return httpcore.AsyncConnectionPool(ssl_context=context, http2={http2})

async def main():
    pool = early or make_pool()
    before = set(sys.modules)
    response = await pool.request("GET", {url!r})
    loaded = set(sys.modules) - before
    assert response.status == 200
    assert response.extensions["http_version"] == {version!r}, response.extensions
    await pool.aclose()
    print(*loaded)

early = make_pool() if {is_early} else None
{kind}.run(main{call})
"""


@pytest.mark.parametrize("is_early", [False, True], ids=["made in the loop", "made before it"])
@pytest.mark.parametrize("protocol", ["plain", "tls", "h2"])
@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_row_63_the_first_request_loads_no_module(
    kind: str,
    protocol: str,
    is_early: bool,
    ca_bundle: str,
    server: LocalServer,
    tls_server: LocalServer,
    serve_h2: ServeH2,
) -> None:
    """Row 63: all that is needed was loaded when the pool was made."""
    http2 = protocol == "h2"
    servers = {"plain": server, "tls": tls_server, "h2": serve_h2(secure=True)}
    code = FIRST_REQUEST.format(
        kind=kind,
        bundle=ca_bundle,
        protocols=("h2", "http/1.1") if http2 else ("http/1.1",),
        http2=http2,
        url=servers[protocol].url,
        version=b"HTTP/2" if http2 else b"HTTP/1.1",
        is_early=is_early,
        call="()" if kind == "asyncio" else "",
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == []
