"""HTTP/1.1 in the asynchronous half: early answers, unasked ones, interim ones.

Owns: rows 15, 28 and 43, held by tasks. Must not know: private parts of the packages.
"""

from __future__ import annotations

import json
import random
import select
import ssl
import threading
from typing import Any

import anyio
import pytest

import httpcore
from tests.support import MIB, PATIENCE
from tests.support.babbling import UNASKED, Babbler
from tests.support.interim import INTERIM, LINKS, interim_then_final, splits
from tests.support.proxies import ProxyServer
from tests.support.servers import Peer, ScriptedServer, Serve
from tests.support.suspending import Suspending
from tests.support.tasks import Tasks, gather
from tests.support.uploads import (
    GIB,
    AsyncParts,
    Endless,
    refuse_and_close,
    refuse_and_read_on,
    refuse_and_reset,
    refuse_and_stop_reading,
)

pytestmark = [pytest.mark.anyio, pytest.mark.no_cover]

Pool = httpcore.AsyncConnectionPool
TIMEOUTS: dict[str, Any] = {
    "timeout": {"connect": PATIENCE, "read": PATIENCE, "write": PATIENCE, "pool": PATIENCE}
}


# --- row 15: an upload is refused early ---


async def post(
    pool: Pool, url: str, content: Any, *headers: tuple[str, str], **extra: Any
) -> httpcore.Response:
    extensions = {**TIMEOUTS, **extra}
    return await pool.request(
        "POST", url, headers=[*headers], content=content, extensions=extensions
    )


@pytest.mark.parametrize("body", [Endless, AsyncParts])
@pytest.mark.parametrize(
    "handler", [refuse_and_close, refuse_and_stop_reading, refuse_and_read_on, refuse_and_reset]
)
@pytest.mark.parametrize("secure", [False, True])
async def test_row_15_an_early_answer(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    body: Any,
    handler: Any,
    secure: bool,
) -> None:
    """ "Server answers 413 after 64 KiB of a 1 GiB body and closes: the caller gets the 413 with
    its body, < 10 MiB was sent, connection not reused" """
    server = serve(handler, tls=server_tls_context if secure else None)
    content = body()
    async with Pool(ssl_context=client_tls_context) as pool:
        response = await post(pool, server.url, content, ("Content-Length", str(GIB)))
        assert (response.status, response.content) == (413, b"too large")
        assert content.given < 10 * MIB
        assert pool.stats()["connections"] == 0
    server.disconnects.clear()


async def test_row_15_through_the_tls_of_a_proxy(
    serve: Serve, server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext
) -> None:
    server = serve(refuse_and_read_on, tls=server_tls_context)
    content = AsyncParts()
    with ProxyServer(tls=server_tls_context) as proxy:
        async with httpcore.AsyncHTTPProxy(
            proxy.url, ssl_context=client_tls_context, proxy_ssl_context=client_tls_context
        ) as pool:
            response = await post(pool, server.url, content)
            assert (response.status, response.content) == (413, b"too large")
            assert content.given < 10 * MIB


async def test_row_15_a_body_in_memory(serve: Serve) -> None:
    server = serve(refuse_and_stop_reading)
    async with Pool() as pool:
        response = await post(pool, server.url, bytes(32 * MIB))
        assert response.status == 413


# --- row 28: what one response leaves behind must not reach another request ---


async def arrived_or_closed(response: httpcore.Response) -> None:
    """Until more has come on its connection; an event loop that watches it closes it then."""
    sock = response.extensions["network_stream"].get_extra_info("socket")
    with anyio.fail_after(PATIENCE):
        while sock.fileno() >= 0 and not select.select([sock], [], [], 0)[0]:
            await anyio.sleep(0.001)


async def babble(
    servers: list[ScriptedServer], babbler: Babbler, context: ssl.SSLContext, count: int
) -> None:
    """`count` requests over one pool, a task for each server: only who alone talks to it can wait
    until what comes unasked has come, before the next request."""
    async with Pool(context) as pool:

        async def worker(first: int) -> None:
            chance = random.Random(first)
            for number in range(first, count, len(servers)):
                place = chance.choice(("with", "after", "never", "never"))
                method = chance.choice(("GET", "GET", "HEAD", "PUT"))
                target = f"/{place}/{number}"
                got = babbler.expect(target, servers[first]) if place == "after" else None
                response = await pool.request(
                    method, servers[first].url + target, extensions=TIMEOUTS
                )
                expected = b"" if method == "HEAD" else target.encode()
                assert (response.status, response.content) == (200, expected)
                if got is not None:
                    got.set()
                    await arrived_or_closed(response)

        assert await gather(*map(worker, range(len(servers)))) == [None] * len(servers)
    assert babbler.babbled > count // 3
    # Each connection that said too much was dropped, and none that did not.
    assert sum(server.accepted for server in servers) <= babbler.babbled + len(servers)


COUNTS = [200, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_row_28_unasked_bytes_reach_nobody(
    serve: Serve,
    count: int,
    scheme: str,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
) -> None:
    """Row 28: "Server pushes extra bytes or an unasked second response after a body, before or
    after the release: the connection is dropped and 10 000 nonce-tagged requests never see
    another's response"; the soak has 10 000."""
    tls = server_tls_context if scheme == "https" else None
    babbler = Babbler()
    servers = [serve(babbler, tls=tls) for _ in range(4)]
    await babble(servers, babbler, client_tls_context, count // 4 if tls else count)


@pytest.mark.parametrize(
    ("method", "head", "body"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok"),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n0\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", b""),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b""),
    ],
)
async def test_row_28_the_connection_is_dropped(
    serve: Serve, method: str, head: bytes, body: bytes
) -> None:
    """Row 28: "Server pushes extra bytes or an unasked second response after a body, before or
    after the release: the connection is dropped", for each way a body ends."""
    for extra in UNASKED:
        await drop(serve, method, head, body, extra)


async def drop(serve: Serve, method: str, head: bytes, body: bytes, extra: bytes) -> None:
    got = threading.Event()

    def babble_once(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/with":
                peer.send(head + body + extra)
            elif request.target == b"/after":
                peer.send(head + body)
                got.wait(PATIENCE)
                peer.send(extra)
            else:
                peer.respond(200, b"mine")

    server = serve(babble_once)
    async with Pool() as pool:
        content = b"ok" if body else b""
        assert (await pool.request(method, f"{server.url}/with")).content == content
        # It came with the body: dropped before anybody could take it.
        assert pool.stats()["connections"] == 0
        assert (await pool.request("GET", server.url)).content == b"mine"
        response = await pool.request(method, f"{server.url}/after")
        assert response.content == content
        assert pool.stats()["idle"] == 1
        assert server.accepted == 2
        got.set()
        await arrived_or_closed(response)
        response = await pool.request("POST", server.url, content=b"x")
        assert response.content == b"mine"
        assert server.accepted == 3


def drip(peer: Peer) -> None:
    """Answers with the target 200 times over, in pieces, framed by turns."""
    number = 0
    while (request := peer.recv_request()) is not None:
        number += 1
        pieces = [request.target * 20] * 10
        peer.respond(200, pieces, framing="chunked" if number % 2 else "length")


def drip_slowly(peer: Peer) -> None:
    """The same, with a pause before each piece, so that each has to be waited for."""
    pause = peer.server.event()
    while (request := peer.recv_request()) is not None:
        chunked = peer.served % 2
        piece = request.target * 50
        framing = b"Content-Length: %d" % (len(piece) * 4)
        if chunked:
            framing = b"Transfer-Encoding: chunked"
        peer.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
        for _ in range(4):
            pause.wait(0.002)
            peer.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            peer.send(b"0\r\n\r\n")


async def read_some(pool: Pool, url: str, target: str, pieces: int) -> None:
    """Read in small pieces, and give up after so many."""
    whole = target.encode() * 200
    async with pool.stream("GET", url + target, extensions=TIMEOUTS) as response:
        found = b""
        for _ in range(pieces):
            part = await response.stream.aread(100)  # type: ignore[union-attr]
            found += part
            if not part:
                break
        assert found == whole[: len(found)]
        assert len(found) == min(len(whole), 100 * pieces)


async def read_whole(pool: Pool, url: str, target: str) -> None:
    response = await pool.request("GET", url + target, extensions=TIMEOUTS)
    assert response.content == target.encode() * 200


async def test_row_28_a_reader_cancelled_at_each_await(serve: Serve, tasks: Tasks) -> None:
    """Row 28: "never see another's response, also when a reader thread was interrupted mid-body":
    a task, at each ``await``, of reading to the end and of giving up half-way."""
    server = serve(drip_slowly)

    async def awaited(work: Suspending[None]) -> None:
        await work

    async with Pool(max_connections=1) as pool:
        for pieces in (25, 1000):
            for number in range(1000):
                target = f"/cut/{number:05}"
                work = Suspending(read_some(pool, server.url, target, pieces), number)
                begun = tasks.begin(awaited(work))
                work.act = begun.cancel
                await begun.end()
                assert begun.cancelled or number >= work.count
                await read_whole(pool, server.url, f"/whole/{pieces}/{number}")
                if number >= work.count:
                    break
            assert number > 2
        stats = pool.stats()
        assert (stats["active"], stats["dialing"], stats["waiting"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("readers", "each"),
    [(12, 15), pytest.param(20, 500, marks=[pytest.mark.soak, pytest.mark.timeout(600)])],
)
async def test_row_28_readers_cancelled_anywhere(serve: Serve, readers: int, each: int) -> None:
    """Row 28: "10 000 nonce-tagged requests never see another's response, also when a reader
    thread was interrupted mid-body": readers share few connections, and a third of their requests
    are cancelled, wherever they are."""
    server = serve(drip)
    cancelled = 0
    async with Pool(max_connections=4) as pool:

        async def reader(worker: int) -> None:
            nonlocal cancelled
            chance = random.Random(worker)
            for number in range(each):
                target = f"/{worker}/{number}"
                if chance.random() < 0.3:
                    pieces = chance.choice((3, 1000))
                    work = Suspending(
                        read_some(pool, server.url, target, pieces), chance.randrange(4)
                    )
                    with anyio.CancelScope() as scope:
                        work.act = scope.cancel
                        await work
                    cancelled += scope.cancelled_caught
                else:
                    await read_whole(pool, server.url, target)

        assert await gather(*map(reader, range(readers))) == [None] * readers
        assert cancelled > readers * each // 20
        stats = pool.stats()
        assert (stats["active"], stats["dialing"], stats["waiting"]) == (0, 0, 0)


# --- row 43: interim answers ---


@pytest.mark.parametrize("split", splits())
@pytest.mark.parametrize("parsing", ["strict", "lenient"])
async def test_row_43_interim_answers(split: str, parsing: str, serve: Serve) -> None:
    """ "100, 102 and three 103s before a 200, h1 [...], split over packets: final 200 returned,
    hints reach an optional callback." """
    server = serve(interim_then_final(splits()[split]))
    hints: list[tuple[int, list[tuple[bytes, bytes]]]] = []
    told = {**TIMEOUTS, "informational": lambda status, fields: hints.append((status, fields))}
    async with Pool(parsing=parsing) as pool:
        # The second time without a callback, on the same connection: they do no harm to it.
        for extensions in (told, TIMEOUTS):
            response = await pool.request("GET", server.url, extensions=extensions)
            assert (response.status, response.content) == (200, b"hello")
            assert response.headers == [(b"Content-Length", b"5"), (b"A", b"1")]
            assert [status for status, _ in hints] == [status for status, _ in INTERIM]
            links = [value for _, fields in hints for name, value in fields if name == b"Link"]
            assert links == LINKS
    assert server.accepted == 1


async def test_row_43_upload_after_continue(serve: Serve) -> None:
    """A 100 that answers `Expect: 100-continue` is no final answer to the upload either."""

    def handler(peer: Peer) -> None:
        request = peer.recv_request_head()
        assert request is not None
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b"".join(peer.iter_body(request))
        peer.respond(201, json.dumps(len(body)).encode())

    server = serve(handler)
    async with Pool() as pool:
        response = await post(pool, server.url, b"x" * 1000, ("Expect", "100-continue"))
        assert (response.status, json.loads(response.content)) == (201, 1000)
