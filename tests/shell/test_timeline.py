"""`Timeline` as the trace hook of requests, in threads and tasks.

Owns: that the events of a pool make the phases that are documented. Must not know: how they are
counted (unit/test_timeline.py).
"""

from __future__ import annotations

import ssl

import pytest

import httpcore
from tests.support.http2 import ServeH2
from tests.support.servers import LocalServer, Peer, Serve

EXCHANGE = ["send", "wait", "receive"]


def names(timeline: httpcore.Timeline) -> list[str]:
    """Return the names of the phases."""
    return [phase.name for phase in timeline.phases]


def test_a_connection_is_opened_once(
    tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    first, second = httpcore.Timeline(), httpcore.Timeline()
    with httpcore.ConnectionPool(client_tls_context) as pool:
        for timeline in (first, second):
            pool.request("GET", tls_server.url, extensions={"trace": timeline})
    assert names(first) == ["connect", "tls", *EXCHANGE]
    assert names(second) == EXCHANGE
    assert (first.opened, second.opened, second.connection) == (1, 0, None)
    assert first.connection is not None and first.connection.verified
    ends = [moment for phase in first.phases for moment in phase[1:]]
    assert ends == sorted(ends)


def test_http2(serve_h2: ServeH2) -> None:
    timeline = httpcore.Timeline()
    with httpcore.ConnectionPool(http1=False, http2=True) as pool:
        pool.request("GET", serve_h2(secure=False).url, extensions={"trace": timeline})
    assert names(timeline) == ["connect", *EXCHANGE]


def test_a_request_that_fails(closed_port: int) -> None:
    """Where `Timings` has nothing to say."""
    timeline = httpcore.Timeline()
    url, extensions = f"http://127.0.0.1:{closed_port}/", {"trace": timeline}
    with httpcore.ConnectionPool() as pool, pytest.raises(httpcore.ConnectError):
        pool.request("GET", url, extensions=extensions)
    assert (names(timeline), timeline.attempts, timeline.opened) == (["connect"], 1, 0)


def test_a_proxy_that_refuses(serve: Serve) -> None:
    def refuse(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")

    timeline = httpcore.Timeline(proxied=True)
    extensions = {"trace": timeline}
    with httpcore.ConnectionPool(proxy=httpcore.Proxy(serve(refuse).url)) as pool:
        with pytest.raises(httpcore.ProxyError):
            pool.request("GET", "https://example.com/", extensions=extensions)
    assert (names(timeline), timeline.attempts) == (["connect", "tunnel"], 1)


@pytest.mark.anyio
async def test_a_task_awaits_it(server: LocalServer) -> None:
    timeline = httpcore.Timeline()
    async with httpcore.AsyncConnectionPool() as pool:
        await pool.request("GET", server.url, extensions={"trace": timeline})
    assert names(timeline) == ["connect", *EXCHANGE]
