"""Row 33 in the asynchronous half: ending a request from another thread, wherever it is.

Owns: that. Must not know: what a cancelled task leaves behind (`shell/test_async_cancellation`).
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

import httpcore
from httpcore.exceptions import Aborted
from tests.support import MIB, PATIENCE
from tests.support.http2 import ServeH2
from tests.support.over_http2 import answer, hold
from tests.support.proxies import STUCK_STAGES, stuck_at
from tests.support.servers import Peer, Serve, black_hole
from tests.support.tasks import Begun, Tasks, in_thread, until

pytestmark = pytest.mark.anyio

Pool = httpcore.AsyncConnectionPool
# Longer than a test may take: what ends a request here is nothing but its being ended.
LIMITS = dict.fromkeys(("connect", "read", "write", "pool"), PATIENCE * 5)


@pytest.fixture
async def pool(anyio_backend: Any, client_tls_context: ssl.SSLContext) -> AsyncIterator[Pool]:
    async with Pool(ssl_context=client_tls_context, max_connections=1) as pool:
        yield pool
        assert pool.stats()["connections"] == pool.stats()["waiting"] == 0


@pytest.fixture
def token() -> httpcore.CancelToken:
    return httpcore.CancelToken()


@pytest.fixture(params=["token", "pool"])
def end(request: Any, pool: Pool, token: httpcore.CancelToken) -> Callable[[], None]:
    return token.cancel if request.param == "token" else pool.close


async def ask(
    pool: Pool, url: str, token: httpcore.CancelToken, **options: Any
) -> httpcore.Response:
    extensions = {"timeout": LIMITS, "cancel": token, **options.pop("extensions", {})}
    return await pool.request(options.pop("method", "GET"), url, extensions=extensions, **options)


async def ended(begun: Begun[Any], end: Callable[[], None], phase: str) -> None:
    """Call `end` in another thread, which does not wait; what was begun raises at once."""
    await in_thread(end)
    with anyio.fail_after(PATIENCE / 2), pytest.raises(Aborted) as caught:
        await begun
    assert "ended by a close or a CancelToken" in str(caught.value)
    assert caught.value.phase == phase


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
@pytest.mark.parametrize("how", ["token", "pool"])
async def test_row_33_in_connect(
    tasks: Tasks, how: str, addresses: list[str], closed_port: int, token: httpcore.CancelToken
) -> None:
    asked = threading.Event()

    def resolver(host: str, port: int, timeout: float | None) -> list[str]:
        asked.set()
        return addresses

    with black_hole("127.0.0.1", closed_port), black_hole("127.0.0.2", closed_port):
        async with Pool(resolver=resolver) as pool:
            begun = tasks.begin(ask(pool, f"http://h.test:{closed_port}", token))
            await until(asked.is_set)
            await anyio.sleep(0.02)  # let it wait; ended before, it would fail just the same
            await ended(begun, token.cancel if how == "token" else pool.close, "not_sent")
            assert pool.stats()["connections"] == 0


@pytest.mark.parametrize("how", ["token", "pool"])
async def test_row_33_in_a_look_up(tasks: Tasks, how: str, token: httpcore.CancelToken) -> None:
    asked, release = threading.Event(), threading.Event()

    def resolver(host: str, port: int, timeout: float | None) -> list[str]:
        asked.set()
        release.wait(PATIENCE)
        return []

    try:
        async with Pool(resolver=resolver) as pool:
            begun = tasks.begin(ask(pool, "http://h.test", token))
            await until(asked.is_set)
            await ended(begun, token.cancel if how == "token" else pool.close, "not_sent")
            assert pool.stats()["connections"] == 0
    finally:
        release.set()


async def test_row_33_in_tls(
    tasks: Tasks, serve: Serve, pool: Pool, token: Any, end: Callable[[], None]
) -> None:
    server = serve(lambda peer: peer.wait_closed() and None)
    begun = tasks.begin(ask(pool, f"https://127.0.0.1:{server.port}", token))
    await until(lambda: server.accepted)
    await ended(begun, end, "not_sent")


@pytest.mark.parametrize(("stage", "kind", "secure"), STUCK_STAGES)
async def test_row_33_in_a_handshake_with_a_proxy(
    tasks: Tasks,
    serve: Serve,
    pool: Pool,
    token: httpcore.CancelToken,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    stage: str,
    kind: str,
    secure: bool,
) -> None:
    """Row 33: "While thread A blocks in connect, TLS, [...] thread B calls `close()`/`cancel()`";
    on each road."""
    handler: Any = stuck_at(stage)
    server = serve(handler, tls=server_tls_context if secure else None)
    proxy = httpcore.Proxy(
        f"{kind}://127.0.0.1:{server.port}",
        auth=("user", "secret") if stage == "socks login" else None,
        ssl_context=client_tls_context if kind == "https" else None,
    )
    begun = tasks.begin(ask(pool, "https://127.0.0.1:9/", token, extensions={"proxy": proxy}))
    await until(handler.reached.is_set)
    await ended(begun, token.cancel, "not_sent")


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("reused", [False, True])
async def test_row_33_in_the_head(
    tasks: Tasks,
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    pool: Pool,
    token: Any,
    end: Callable[[], None],
    secure: bool,
    reused: bool,
) -> None:
    """On a reused connection, too, where a failure would be worth a second attempt."""
    asked = threading.Event()

    def handler(peer: Peer) -> None:
        if reused:
            peer.recv_request()
            peer.respond(200, b"ok")
        peer.recv_request()
        asked.set()
        peer.wait_closed()

    server = serve(handler, tls=server_tls_context if secure else None)
    if reused:
        assert (await pool.request("GET", server.url)).content == b"ok"
    begun = tasks.begin(ask(pool, server.url, token))
    await until(asked.is_set)
    await ended(begun, end, "maybe_processed")
    assert server.accepted == 1


HEADS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nx",  # to which the end of the connection is the end of the body
]


@pytest.mark.parametrize("head", HEADS, ids=["in-place", "length", "chunked", "until-close"])
@pytest.mark.parametrize("secure", [False, True])
async def test_row_33_in_the_body(
    tasks: Tasks,
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    pool: Pool,
    token: Any,
    end: Callable[[], None],
    head: bytes,
    secure: bool,
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(head)
        peer.wait_closed()

    server = serve(handler, tls=server_tls_context if secure else None)
    response = await ask(pool, server.url, token, stream=True)
    begun = tasks.begin(response.aread())
    await anyio.sleep(0.01)  # let it wait; ended before, it would fail by another name
    await ended(begun, end, "response_started")


@pytest.mark.parametrize("secure", [False, True])
async def test_row_33_by_closing_the_response(
    tasks: Tasks,
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    pool: Pool,
    token: Any,
    secure: bool,
) -> None:
    """`response.aclose()` while another task reads."""

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        peer.wait_closed()

    server = serve(handler, tls=server_tls_context if secure else None)
    response = await ask(pool, server.url, token, stream=True)
    parts = aiter(response.aiter_stream())
    assert await anext(parts) == b"12345"

    async def read() -> bytes:
        return await anext(parts)

    begun = tasks.begin(read())
    await anyio.sleep(0.01)
    with anyio.fail_after(PATIENCE / 2):
        await response.aclose()
    await ended(begun, lambda: None, "response_started")


async def test_row_33_in_an_upload(
    tasks: Tasks, serve: Serve, pool: Pool, token: Any, end: Callable[[], None]
) -> None:
    began = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_head()
        began.set()
        peer.server.event().wait(PATIENCE)

    server = serve(handler)
    begun = tasks.begin(ask(pool, server.url, token, method="POST", content=bytes(32 * MIB)))
    await until(began.is_set)
    await ended(begun, end, "maybe_processed")


async def test_row_33_in_the_queue(
    tasks: Tasks, serve: Serve, pool: Pool, token: httpcore.CancelToken
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        peer.wait_closed()

    server = serve(handler)
    async with pool.stream("GET", server.url):
        begun = tasks.begin(ask(pool, server.url, token))
        await until(lambda: pool.stats()["waiting"])
        await ended(begun, token.cancel, "not_sent")
        assert pool.stats()["waiting"] == 0


@pytest.mark.parametrize("place", ["head", "body"])
async def test_row_33_other_streams_go_on(
    tasks: Tasks, serve_h2: ServeH2, token: httpcore.CancelToken, place: str
) -> None:
    """Row 33: "[...] other h2 streams go on": the one that reads for the others is ended, too."""
    server = serve_h2(lambda link: link.serve(hold))
    async with Pool(http1=False, http2=True) as pool:
        begun = tasks.begin(ask(pool, server.url, token, stream=True))
        await until(lambda: server.links and server.links[0].opened == [1])
        others = [tasks.begin(ask(pool, server.url, httpcore.CancelToken())) for _ in range(3)]
        link = server.link
        await until(lambda: len(link.opened) == 4)
        phase = "maybe_processed"
        if place == "body":
            await in_thread(link.call, lambda: link.streams[1].head())
            response = await begun
            begun = tasks.begin(response.aread())  # type: ignore[arg-type]
            await anyio.sleep(0.01)
            phase = "response_started"
        await ended(begun, token.cancel, phase)
        await in_thread(answer, link, 3, 5, 7)
        assert [(await other).content for other in others] == [b"ok"] * 3
        assert server.accepted == 1
