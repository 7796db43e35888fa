"""Connections that the server resets right behind the beginning of an answer.

Owns: that the reset is noticed in every loop though it comes together with data, over HTTP/1.1 with
and without TLS, over HTTP/2, and during an upload. Must not know: how a loop reports it, see
`tests/shell/test_asyncio_streams.py`.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import httpcore
from tests.support import PATIENCE
from tests.support.http2 import Link, ServeH2, Stream
from tests.support.loops import ASYNCIO
from tests.support.servers import Peer, Serve

pytestmark = pytest.mark.anyio

REPEATS = 50
PART = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"
FIRST = b"first"


class Resets:
    """Counts the resets of a server, so that a client can hold its loop up until the next one: what
    came before it and the reset are one event then."""

    def __init__(self) -> None:
        self._done = threading.Semaphore(0)

    def note(self) -> None:
        self._done.release()

    def hold_up(self) -> None:
        assert self._done.acquire(timeout=PATIENCE)

    async def trace(self, name: str, info: dict[str, Any]) -> None:
        """Hold the loop up when a request was sent."""
        if name.endswith("receive_response_headers.started"):
            self.hold_up()

    def handler(self, peer: Peer) -> None:
        """Answer a request in part, and reset."""
        peer.recv_head()
        peer.send(PART)
        peer.reset()
        self.note()

    def script(self, link: Link) -> None:
        """The same over HTTP/2."""
        link.serve(on_head=self._begin, until=lambda: bool(link.opened))
        link.abort()
        self.note()

    def _begin(self, stream: Stream) -> None:
        stream.head(200)
        stream.write(b"abc")


async def fail_to_read(url: str, method: str = "GET", **options: Any) -> None:
    """Send a request without a read timeout, and see it fail; many times."""
    body = options.pop("body", None)
    extensions = {"timeout": {"connect": PATIENCE}, "trace": options.pop("trace", None)}
    if extensions["trace"] is None:
        del extensions["trace"]
    with anyio.fail_after(PATIENCE):
        for _ in range(REPEATS):
            async with httpcore.AsyncConnectionPool(**options) as pool:
                with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)):
                    await pool.request(
                        method, url, content=None if body is None else body(), extensions=extensions
                    )
                assert pool.stats()["connections"] == 0


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_http1(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    secure: bool,
) -> None:
    resets = Resets()
    server = serve(resets.handler, tls=server_tls_context if secure else None)
    await fail_to_read(server.url, ssl_context=client_tls_context, trace=resets.trace)
    server.disconnects.clear()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_http2(serve_h2: ServeH2, client_tls_context: ssl.SSLContext, secure: bool) -> None:
    resets = Resets()
    server = serve_h2(resets.script, secure=secure)
    await fail_to_read(
        server.url, ssl_context=client_tls_context, http1=False, http2=True, trace=resets.trace
    )


async def test_an_upload_that_goes_on(serve: Serve) -> None:
    resets = Resets()

    async def body() -> AsyncIterator[bytes]:
        yield FIRST
        resets.hold_up()
        while True:
            yield FIRST
            await anyio.sleep(0)

    server = serve(resets.handler)
    await fail_to_read(server.url, "POST", body=body)
    server.disconnects.clear()


@pytest.mark.parametrize("anyio_backend", ASYNCIO, indirect=True)
@pytest.mark.parametrize("protocol", ["http1", "http2"])
async def test_an_upload_that_waits(serve: Serve, serve_h2: ServeH2, protocol: str) -> None:
    resets = Resets()

    async def body() -> AsyncIterator[bytes]:
        yield FIRST
        resets.hold_up()
        await anyio.sleep_forever()

    if protocol == "http1":
        server = serve(resets.handler)
        await fail_to_read(server.url, "POST", body=body)
        server.disconnects.clear()
    else:
        url = serve_h2(resets.script).url
        await fail_to_read(url, "POST", body=body, http1=False, http2=True)
