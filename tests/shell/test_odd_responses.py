"""What is odd in a server's responses is logged once, with the server's name, in either world."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

import httpcore
from tests.support.servers import Peer, Serve

ODD = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
}


def ask(url: str, times: int) -> None:
    with httpcore.ConnectionPool(parsing="lenient") as pool:
        for _ in range(times):
            assert pool.request("GET", url).content == b"hello"


def ask_as_task(url: str, times: int) -> None:
    async def main() -> None:
        async with httpcore.AsyncConnectionPool(parsing="lenient") as pool:
            for _ in range(times):
                assert (await pool.request("GET", url)).content == b"hello"

    asyncio.run(main())


@pytest.mark.parametrize("world", [ask, ask_as_task])
@pytest.mark.parametrize("name", ODD)
def test_it_is_logged_once_for_each_server(
    serve: Serve, world: Callable[[str, int], None], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(peer: Peer) -> None:
        if peer.recv_request() is not None:
            peer.send(ODD[name])

    caplog.set_level(logging.WARNING, "httpcore")
    servers = [serve(handler), serve(handler)]
    for server in servers:
        world(server.url, 3)
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition("(from ")[2] for text in said] == [
        f"{server.url}; not logged again)" for server in servers
    ]
