"""HTTP/2 in the asynchronous half: what one connection is to many tasks.

Owns: rows 6, 7, 45 and 46, and rows 15 and 43 over HTTP/2, held by tasks. Must not know: private
parts of the packages.
"""

from __future__ import annotations

import gc
import json
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

import httpcore
from tests.support import MIB, PATIENCE
from tests.support.http2 import Code, FrameServer, Kind, Link, ServeH2, Stream
from tests.support.interim import INTERIM_FIELDS
from tests.support.over_http2 import (
    STREAM_WINDOW,
    TIMEOUTS,
    Leaving,
    answer,
    header,
    hold,
    number_of,
    unanswering,
)
from tests.support.programs import Program
from tests.support.servers import pattern
from tests.support.tasks import Tasks, in_thread, until
from tests.support.uploads import GIB, AsyncParts, Endless

pytestmark = [pytest.mark.anyio, pytest.mark.no_cover]

Pool = httpcore.AsyncConnectionPool
MakePool = Callable[..., Pool]


@pytest.fixture
async def make_pool(
    anyio_backend: Any, client_tls_context: ssl.SSLContext
) -> AsyncIterator[MakePool]:
    """`make_pool(...)`: a pool that speaks HTTP/2 only, closed with the test."""
    made: list[Pool] = []

    def make(**options: Any) -> Pool:
        options = {"http1": False, "http2": True, "ssl_context": client_tls_context, **options}
        made.append(Pool(**options))
        return made[-1]

    yield make
    for pool in made:
        await pool.aclose()


@pytest.fixture
def pool(make_pool: MakePool) -> Pool:
    return make_pool()


async def get(pool: Pool, server: FrameServer, path: str = "/") -> httpcore.Response:
    return await pool.request("GET", server.url + path, extensions=TIMEOUTS)


async def opened(server: FrameServer, count: int) -> Link:
    """The first link, once the client has opened so many streams on it."""
    await until(lambda: server.links and len(server.links[0].opened) >= count)
    return server.links[0]


async def at_once(workers: int, work: Callable[[int], Any]) -> None:
    """That many tasks; the first failure is raised as it is."""
    async with Tasks() as tasks:
        for begun in [tasks.begin(work(number)) for number in range(workers)]:
            await begun


# --- row 6: tasks on one connection ---


async def share(pool: Pool, url: str, workers: int, each: int, path: str = "/echo?") -> None:
    """Each worker sends GET and POST in turns; every answer is its own request's."""

    async def work(worker: int) -> None:
        for count in range(each):
            nonce = f"{worker}-{count}"
            body = None if count % 2 else nonce.encode() * 50
            response = await pool.request(
                "GET" if body is None else "POST",
                f"{url}{path}{nonce}" if path else url,
                headers={"X-Nonce": nonce},
                content=body,
                extensions=TIMEOUTS,
            )
            assert response.status == 200
            assert header(response, b"x-nonce") == nonce.encode()
            if path:
                assert (b"/echo?%b" % nonce.encode()) in response.content
                assert body is None or body in response.content

    await at_once(workers, work)


@pytest.mark.parametrize("secure", [False, True])
async def test_row_6_tasks_share_one_connection(
    serve_h2: ServeH2, pool: Pool, secure: bool
) -> None:
    """Row 6: "40 threads, 2 000 GET+POST over one h2 connection [...]: 2 000 x 200, HEADERS in
    stream-id order on the wire, each response matches its request's nonce": tasks for threads, and
    1 000; the server itself takes no stream out of order."""
    server = serve_h2(secure=secure, settings={"max_concurrent_streams": 100})
    await share(pool, server.url, 40, 25)
    link = server.link
    assert link.opened == list(range(1, 2000, 2))
    assert [frame.stream_id for frame in link.seen(Kind.HEADERS)] == link.opened
    assert (server.accepted, link.open) == (1, 0)
    assert 1 < link.peak <= 40


# --- row 7: GOAWAY ---


@pytest.mark.parametrize("secure", [False, True])
async def test_row_7_goaway_every_50_streams(serve_h2: ServeH2, pool: Pool, secure: bool) -> None:
    """Row 7: "A server sends GOAWAY(NO_ERROR) every 1 000 streams: 20 threads x 10 000 GET/POST
    give 0 errors; streams ≤ last_stream_id finish on the old connection, higher ones are replayed
    on a new one (POST too)"; here every 50 streams, and 20 x 20 requests. Each was answered
    once."""
    script = Leaving(50)
    server = serve_h2(script, secure=secure)
    rounds = 0
    # Whether a stream crosses a GOAWAY is up to the moment: mostly in the first round.
    while rounds < 20 and not any(link.ignored for link in server.links):
        rounds += 1
        await share(pool, server.url, 20, 20)
    assert len(script.done) == 400
    assert set(script.done.values()) == {rounds}
    assert server.accepted >= 400 // script.count
    assert any(link.ignored for link in server.links)
    # Each connection ends when its last stream has.
    await until(lambda: server.open <= 1)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_row_7_goaway_every_1000_streams(serve_h2: ServeH2, pool: Pool) -> None:
    """Row 7 as it is written."""
    script = Leaving(1000)
    server = serve_h2(script, secure=True)
    await share(pool, server.url, 20, 10_000)
    assert len(script.done) == script.done.total() == 200_000
    assert server.accepted >= 200


async def test_row_7_streams_of_the_old_connection_finish(
    serve_h2: ServeH2, pool: Pool, tasks: Tasks
) -> None:
    """Row 7: "streams ≤ last_stream_id finish on the old connection, higher ones are replayed on a
    new one (POST too)"."""

    def script(link: Link) -> None:
        if link.number == 1:
            link.serve(hold, until=lambda: len(link.opened) == 6)
            link.goaway(last=link.opened[3])
        link.serve()

    server = serve_h2(script)
    jobs = []
    for count in range(1, 7):
        content = b"body" if count % 2 else None
        method = "POST" if content else "GET"
        url = f"{server.url}/{'hold' if count <= 4 else 'echo'}"
        jobs.append(tasks.begin(pool.request(method, url, content=content, extensions=TIMEOUTS)))
        old = await opened(server, count)
    # Only those above the last one have an answer: they were sent again.
    replayed = [await job for job in jobs[4:]]
    assert {header(response, b"x-connection") for response in replayed} == {b"2"}
    assert not any(job.ended for job in jobs[:4])
    await in_thread(answer, old, *old.opened[:4])
    for job in jobs[:4]:
        assert header(await job, b"x-connection") == b"1"
    await until(lambda: server.open == 1)
    assert (len(server.links[1].opened), len(pool.connections)) == (2, 1)


@pytest.mark.parametrize("secure", [False, True])
async def test_row_7_nginx_ends_connections_after_50_requests(
    nginx_http2: Program, pool: Pool, secure: bool
) -> None:
    """Row 7: "GOAWAY (nginx after 1 000 requests [...])": its `keepalive_requests` is 50 here, and
    8 its limit of streams at once."""
    url = ["http", "https"][secure] + f"://127.0.0.1:{nginx_http2.ports[not secure]}/"
    await share(pool, url, 16, 20, path="")
    assert pool.stats()["totals"]["opened"] >= 320 // 50
    assert len(pool.connections) >= 1


# --- row 15: an upload is refused early ---


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("body", [Endless, AsyncParts])
async def test_row_15_an_early_answer_over_http2(
    serve_h2: ServeH2, pool: Pool, body: Any, secure: bool
) -> None:
    """ "Server answers 413 after 64 KiB of a 1 GiB body [...]: the caller gets the 413 with its
    body, < 10 MiB was sent [...]; the same for h2 with response + RST_STREAM(NO_ERROR)". The
    connection itself is good for more."""
    server = serve_h2(secure=secure)
    headers = [("Content-Length", str(GIB))]
    for number in (1, 3, 5):
        content = body()
        response = await pool.request(
            "POST",
            f"{server.url}/early/65536",
            headers=headers,
            content=content,
            extensions=TIMEOUTS,
        )
        assert (response.status, response.content) == (413, b"too large")
        assert content.given < 10 * MIB
        assert server.link.streams[number].received < 10 * MIB
    response = await pool.request("POST", f"{server.url}/upload", content=b"small")
    assert response.status == 200
    assert (server.accepted, server.link.open) == (1, 0)


@pytest.mark.parametrize("windows", [True, False])
async def test_row_15_an_early_answer_without_a_reset(
    serve_h2: ServeH2, pool: Pool, windows: bool
) -> None:
    """The server has said all and reads on, or grants nothing more: then the client ends it."""

    def on_head(stream: Stream) -> None:
        stream.on_data = refuse

    def refuse(stream: Stream) -> None:
        if not stream.started:
            stream.link.refill = windows
            stream.respond(413, b"too large")

    server = serve_h2(lambda link: link.serve(on_head=on_head))
    content = AsyncParts()
    response = await pool.request("POST", server.url, content=content, extensions=TIMEOUTS)
    assert (response.status, response.content) == (413, b"too large")
    assert content.given < 10 * MIB
    stream = server.link.streams[1]
    await until(lambda: stream.reset_by_client is not None)
    assert stream.reset_by_client in (Code.NO_ERROR, Code.CANCEL)
    await until(lambda: server.link.open == 0)
    assert pool.stats()["active"] == 0


# --- row 43: interim answers ---


@pytest.mark.parametrize("split", [1, 37, None])
async def test_row_43_over_http2(serve_h2: ServeH2, pool: Pool, split: int | None) -> None:
    """ "100, 102 and three 103s before a 200, h1 and h2, split over packets: final 200 returned,
    hints reach an optional callback"; header blocks in pieces."""

    def respond(stream: Stream) -> None:
        for status, fields in INTERIM_FIELDS:
            head = [(b":status", b"%d" % status), *fields]
            stream.link.headers(stream.id, head, parts=3)
        stream.respond(200, b"hello", [("a", "1")])

    def script(link: Link) -> None:
        link.split = split
        link.serve(respond)

    server = serve_h2(script)
    hints: list[tuple[int, list[tuple[bytes, bytes]]]] = []
    told = {**TIMEOUTS, "informational": lambda status, fields: hints.append((status, fields))}
    # The second time without a callback, on the same connection: they do no harm to it.
    for extensions in (told, TIMEOUTS):
        response = await pool.request("GET", server.url, extensions=extensions)
        assert (response.status, response.content) == (200, b"hello")
        names = [name for name, _ in response.headers]
        assert names == [b"a", b"content-length", b"x-connection"]
        assert hints == INTERIM_FIELDS
    assert server.accepted == 1


async def test_row_43_before_an_upload_is_complete_over_http2(
    serve_h2: ServeH2, pool: Pool
) -> None:
    """A 100 that answers `Expect: 100-continue` is no final answer, and the body comes after it."""
    early: list[int] = []

    def on_head(stream: Stream) -> None:
        early.append(stream.received)
        stream.link.headers(stream.id, [(":status", "100")])

    server = serve_h2(lambda link: link.serve(on_head=on_head))
    response = await pool.request(
        "POST",
        f"{server.url}/upload",
        headers={"Expect": "100-continue"},
        content=b"x" * 1000,
        extensions=TIMEOUTS,
    )
    assert response.status == 200
    assert json.loads(response.content)["length"] == 1000
    assert early == [0]


# --- row 45: one slow reader ---


async def count_bytes(response: httpcore.Response) -> int:
    return sum([len(part) async for part in response.aiter_stream()])


@pytest.mark.parametrize("secure", [False, True])
async def test_row_45_an_unread_stream_stalls_no_other(
    serve_h2: ServeH2, pool: Pool, secure: bool
) -> None:
    """Row 45: "with one stream unread for 30 s, nine others reach full rate and memory stays ≤ the
    window sum". Here without a clock: nine others get all of their bodies while one stands still,
    and what is held for that one is its window."""
    server = serve_h2(secure=secure)
    size, others = 18 * MIB, 9
    url = f"{server.url}/bytes/{size}"
    async with pool.stream("GET", url, extensions=TIMEOUTS) as unread:
        link = server.link
        stream = link.streams[number_of(unread)]

        async def work(_: int) -> None:
            async with pool.stream("GET", url, extensions=TIMEOUTS) as response:
                assert await count_bytes(response) == size

        await at_once(others, work)
        # All of its window was used, and not more.
        assert (stream.sent, stream.granted) == (STREAM_WINDOW, 0)
        assert link.peak == others + 1
        found = 0
        async for part in unread.aiter_stream():
            assert part == pattern(len(part), found % (32 * 251))
            found += len(part)
        assert found == size
    assert server.accepted == 1


async def test_row_45_memory_of_unread_streams(serve_h2: ServeH2, pool: Pool) -> None:
    """Row 45: "memory stays ≤ the window sum", of two unread streams while a third is read."""
    server = serve_h2()
    size = 24 * MIB
    url = f"{server.url}/bytes/{size}"
    async with pool.stream("GET", url, extensions=TIMEOUTS):  # the server has made the body by now
        pass
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        async with (
            pool.stream("GET", url, extensions=TIMEOUTS),
            pool.stream("GET", url, extensions=TIMEOUTS),
            pool.stream("GET", url, extensions=TIMEOUTS) as read,
        ):
            assert await count_bytes(read) == size
            after, peak = tracemalloc.get_traced_memory()
            held = [stream.sent for stream in server.link.streams.values() if not stream.closed]
            assert held == [STREAM_WINDOW] * 2
    finally:
        tracemalloc.stop()
    assert after - before < 2 * STREAM_WINDOW + 2 * MIB
    assert peak - before < 3 * STREAM_WINDOW + 2 * MIB


# --- row 46: PING ---


async def test_row_46_pings_go_out_while_a_stream_is_open(
    serve_h2: ServeH2, make_pool: MakePool, tasks: Tasks
) -> None:
    """Row 46: "Opt-in PING during an open stream each N s"; as long as they are answered, the
    stream lives."""
    server = serve_h2()
    pool = make_pool(ping_interval=0.05)
    job = tasks.begin(get(pool, server, "/hold"))
    link = await opened(server, 1)
    await until(lambda: len(link.seen(Kind.PING)) >= 3)
    await in_thread(answer, link, 1)
    assert (await job).content == b"ok"
    assert all(frame.flags == 0 for frame in link.seen(Kind.PING))


async def test_row_46_there_are_none_unless_asked_for(serve_h2: ServeH2, pool: Pool) -> None:
    server = serve_h2()
    assert (await get(pool, server, "/drip/20?delay=0.005")).content == pattern(20)
    assert server.link.seen(Kind.PING) == []


@pytest.mark.parametrize("reads", [None, PATIENCE])
async def test_row_46_an_unanswered_ping_ends_the_stream(
    serve_h2: ServeH2, make_pool: MakePool, reads: float | None
) -> None:
    """Row 46: "unanswered → stream error within N + t, connection evicted"."""
    server = serve_h2(unanswering)
    pool = make_pool(ping_interval=0.1, ping_timeout=0.1)
    with anyio.fail_after(PATIENCE / 2):
        with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)) as caught:
            await pool.request("GET", f"{server.url}/hold", extensions={"timeout": {"read": reads}})
    assert "ping" in str(caught.value).lower()
    assert caught.value.phase == "maybe_processed"
    assert len(server.link.seen(Kind.PING)) == 1
    assert pool.stats()["connections"] == 0
    await until(lambda: server.open == 0)
    assert header(await get(pool, server), b"x-connection") == b"2"


async def test_row_46_nobody_joins_while_the_probe_is_out(
    serve_h2: ServeH2, make_pool: MakePool, tasks: Tasks
) -> None:
    """Row 46: "connection evicted while the probe is out, not handed to others"."""
    server = serve_h2(unanswering)
    pool = make_pool(ping_interval=0.1, ping_timeout=PATIENCE)
    job = tasks.begin(get(pool, server, "/hold"))
    link = await opened(server, 1)
    await until(lambda: link.seen(Kind.PING))
    for _ in range(3):
        assert header(await get(pool, server), b"x-connection") == b"2"
    # It is answered after all: the request that waits there was not disturbed.
    payload = link.seen(Kind.PING)[0].payload
    await in_thread(link.call, lambda: link.frame(Kind.PING, payload, 1))
    await in_thread(answer, link, 1)
    assert header(await job, b"x-connection") == b"1"
