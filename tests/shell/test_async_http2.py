"""HTTP/2 in the asynchronous half: what the event loop calls back, and how tasks wait.

Owns: `httpcore._async.http2` and `http2_exchange`, on streams that an event loop drives, and on
streams of another make, which one of the tasks reads. Must not know: how HTTP/2 is framed
(`test_h2`), what follows from what came (`test_h2_session`).
"""

from __future__ import annotations

import gc
import json
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import anyio
import pytest

import httpcore
from httpcore._async import response_body
from httpcore._backends import closing
from httpcore._backends.auto import AutoBackend
from httpcore._core import h2_liveness
from httpcore._core.attempts import MAX_MOVES
from httpcore._exceptions import NOT_SENT
from httpcore.exceptions import Aborted
from tests.support import PATIENCE
from tests.support.http2 import Code, Kind, Link, ServeH2, Stream, encode_frame
from tests.support.over_http2 import break_off
from tests.support.servers import Peer, Serve, pattern
from tests.support.suspending import Suspending
from tests.support.tasks import (
    Tasks,
    WasCancelled,
    checkpoint,
    gather,
    in_thread,
    on_asyncio,
    until,
)

pytestmark = pytest.mark.anyio

PATIENT: dict[str, Any] = {
    "timeout": {"connect": PATIENCE, "read": PATIENCE, "write": PATIENCE, "pool": PATIENCE}
}


class PlainStream(httpcore.AsyncNetworkStream):
    """A stream that offers no more than `AsyncNetworkStream`."""

    def __init__(self, inside: httpcore.AsyncNetworkStream) -> None:
        self.inside = inside

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self.inside.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await checkpoint()
        await self.inside.write(buffer, timeout)

    async def aclose(self) -> None:
        await self.inside.aclose()

    async def start_tls(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return PlainStream(await self.inside.start_tls(*args, **options))

    def get_extra_info(self, info: str) -> Any:
        return self.inside.get_extra_info(info)


class PlainBackend(AutoBackend):
    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return PlainStream(await super().connect_tcp(*args, **options))


MakePool = Callable[..., httpcore.AsyncConnectionPool]


@pytest.fixture(params=[AutoBackend, PlainBackend], ids=["driven", "awaited"])
def make_pool(request: pytest.FixtureRequest) -> MakePool:
    def make(**options: Any) -> httpcore.AsyncConnectionPool:
        options.setdefault("http1", False)
        return httpcore.AsyncConnectionPool(http2=True, network_backend=request.param(), **options)

    return make


# --- requests and responses ---


async def test_requests_share_a_connection(serve_h2: ServeH2, make_pool: MakePool) -> None:
    server = serve_h2()
    async with make_pool() as pool:
        first = await pool.request("GET", server.url)
        assert (first.status, first.extensions["http_version"]) == (200, b"HTTP/2")
        responses = await gather(
            *(pool.request("GET", f"{server.url}/bytes/{number}") for number in range(50))
        )
        assert [response.content for response in responses] == [pattern(n) for n in range(50)]
        assert pool.stats()["totals"]["opened"] == 1
        (connection,) = pool.connections
        assert connection.info().endswith("HTTP/2, IDLE, Request Count: 51")
    assert pool.connections == []


async def test_over_tls_by_alpn(
    serve_h2: ServeH2, make_pool: MakePool, client_tls_context: ssl.SSLContext
) -> None:
    server = serve_h2(secure=True)
    async with make_pool(http1=True, ssl_context=client_tls_context) as pool:
        for _ in range(3):
            response = await pool.request("GET", f"{server.url}/bytes/1000000", extensions=PATIENT)
            assert response.content == pattern(1000000)
        assert response.extensions["connection"].alpn == "h2"
        assert server.accepted == 1


async def parts() -> AsyncGenerator[bytes, None]:
    for number in range(10):
        await checkpoint()
        yield pattern(100_000, number * 100_000)


async def test_bodies(serve_h2: ServeH2, make_pool: MakePool) -> None:
    server = serve_h2()
    async with make_pool() as pool:
        url = f"{server.url}/upload"
        for content in (b"short", pattern(1_000_000), parts()):
            response = await pool.request("POST", url, content=content, extensions=PATIENT)
            size = 1_000_000 if not isinstance(content, bytes) else len(content)
            assert json.loads(response.content)["length"] == size
        headers = {"Content-Length": "5"}
        with pytest.raises(httpcore.LocalProtocolError, match="longer than its announced 5"):
            await pool.request("POST", url, headers=headers, content=parts())
        assert (await pool.request("GET", server.url, extensions=PATIENT)).status == 200


async def test_a_body_in_pieces(serve_h2: ServeH2, make_pool: MakePool) -> None:
    server = serve_h2()
    async with make_pool() as pool:
        async with pool.stream("GET", f"{server.url}/bytes/3000000") as response:
            found = [part async for part in response.aiter_stream()]
        assert b"".join(found) == pattern(3000000)


EVENTS = [
    "http2.send_request_headers.started",
    "http2.send_request_headers.complete",
    "http2.send_request_body.started",
    "http2.send_request_body.complete",
    "http2.receive_response_headers.started",
    "http2.receive_response_headers.complete",
    "http2.receive_response_body.started",
    "http2.receive_response_body.complete",
    "http2.response_closed.started",
    "http2.response_closed.complete",
]


async def test_the_events_of_a_request(serve_h2: ServeH2, make_pool: MakePool) -> None:
    server = serve_h2()
    seen: list[str] = []

    async def trace(name: str, details: dict[str, Any]) -> None:
        await checkpoint()
        seen.append(name)

    async with make_pool() as pool:
        for _ in range(2):
            seen.clear()
            await pool.request("GET", server.url, extensions={"trace": trace})
            assert seen[-10:] == EVENTS


# --- one of many ---


def hold(link: Link) -> None:
    """Answers the path ``/`` only; other requests wait until the server ends."""

    def answer(stream: Stream) -> None:
        if stream.path == "/":
            stream.respond()

    link.serve(answer)


async def test_row_61_half_of_the_streams_are_cancelled(
    tasks: Tasks, serve_h2: ServeH2, make_pool: MakePool
) -> None:
    """Row 61: the others end, the server gets RST_STREAM, and the windows come back."""
    server = serve_h2()
    size = 500_000
    async with make_pool() as pool:

        async def read(number: int) -> int:
            async with pool.stream("GET", f"{server.url}/bytes/{size}") as response:
                count = 0
                async for part in response.aiter_stream():
                    count += len(part)
                    if number % 2:
                        await anyio.sleep(PATIENCE)
                return count

        begun = [tasks.begin(read(number)) for number in range(100)]
        for task in begun[::2]:
            await task.end()
        for task in begun[1::2]:
            task.cancel()
        results = await gather(*begun)
        assert results[::2] == [size] * 50
        assert all(isinstance(each, WasCancelled) for each in results[1::2])
        assert pool.stats()["requests"] == 0
        assert pool.stats()["connections"] == 1
        # More than the window of the connection would be, had those bytes been lost.
        response = await pool.request("GET", f"{server.url}/bytes/{size}", extensions=PATIENT)
        assert len(response.content) == size


async def test_a_cancelled_request_resets_its_stream(
    tasks: Tasks, serve_h2: ServeH2, make_pool: MakePool
) -> None:
    server = serve_h2(hold)
    async with make_pool() as pool:
        await pool.request("GET", server.url)
        task = tasks.begin(pool.request("GET", f"{server.url}/never"))
        link = server.link
        await until(lambda: len(link.opened) == 2)
        task.cancel()
        with pytest.raises(WasCancelled):
            await task
        # A stream of another make is written to by the next that waits.
        assert (await pool.request("GET", server.url, extensions=PATIENT)).status == 200
        await until(lambda: link.seen(Kind.RST_STREAM, 3))
        assert server.accepted == 1


async def test_requests_move_on_from_a_server_that_hangs(
    tasks: Tasks, serve_h2: ServeH2, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the tasks are cancelled, as timeouts of the event loop do, and none runs out of
    its own time."""
    monkeypatch.setattr(h2_liveness, "ACK_PATIENCE", 0.0)

    def script(link: Link) -> None:
        link.answer_pings = link.number > 1
        hold(link) if link.number == 1 else link.serve()

    server = serve_h2(script)
    async with make_pool() as pool:
        assert (await pool.request("GET", server.url)).status == 200
        task = tasks.begin(pool.request("GET", f"{server.url}/never"))
        await until(lambda: len(server.link.opened) == 2)
        task.cancel()
        with pytest.raises(WasCancelled):
            await task
        assert (await pool.request("GET", server.url, extensions=PATIENT)).status == 200
        assert server.accepted == 2


async def test_a_read_timeout_of_one(serve_h2: ServeH2, make_pool: MakePool) -> None:
    server = serve_h2(hold)
    async with make_pool() as pool:
        for kind in ("read", "total"):
            assert (await pool.request("GET", server.url)).status == 200  # it is open then
            with pytest.raises(httpcore.ReadTimeout, match=r"0\.05 s"):
                await pool.request(
                    "GET", f"{server.url}/never", extensions={"timeout": {kind: 0.05}}
                )
        assert (await pool.request("GET", server.url, extensions=PATIENT)).status == 200


async def test_cancelled_at_each_await(
    tasks: Tasks, serve_h2: ServeH2, make_pool: MakePool
) -> None:
    """The reader of a stream of another make as well: others go on."""
    server = serve_h2()

    async def trace(name: str, details: dict[str, Any]) -> None:
        await checkpoint()

    async def traced(pool: httpcore.AsyncConnectionPool) -> object:
        return await pool.request("GET", server.url, extensions={"trace": trace})

    async def posted(pool: httpcore.AsyncConnectionPool) -> object:
        async with aclosing(parts()) as content:
            return await pool.request("POST", f"{server.url}/upload", content=content)

    async def got(pool: httpcore.AsyncConnectionPool) -> object:
        return await pool.request("GET", f"{server.url}/bytes/300000")

    for kind in (got, posted, traced):
        async with make_pool(max_connections=1) as pool:
            for number in range(1000):
                work = Suspending(kind(pool), number)
                task = tasks.begin(_await(work))
                work.act = task.cancel
                await task.end()
                assert task.cancelled or number >= work.count, number
                stats = pool.stats()
                assert (stats["requests"], stats["dialing"], stats["waiting"]) == (0, 0, 0)
                response = await pool.request("GET", server.url, extensions=PATIENT)
                assert response.status == 200
                if number >= work.count:
                    break
            assert number > 0


async def _await(work: Suspending[Any]) -> object:
    return await work


async def test_the_reader_is_cancelled(
    tasks: Tasks, serve_h2: ServeH2, make_pool: MakePool
) -> None:
    server = serve_h2(hold)
    async with make_pool() as pool:
        assert (await pool.request("GET", server.url)).status == 200
        reader = tasks.begin(pool.request("GET", f"{server.url}/never"))
        link = server.link
        await until(lambda: len(link.opened) == 2)
        other = tasks.begin(pool.request("GET", f"{server.url}/later"))
        await until(lambda: len(link.opened) == 3)
        reader.cancel()
        await reader.end()
        link.call(lambda: link.streams[5].respond())
        assert (await other).status == 200


# --- the connection ends ---


async def test_goaway_moves_what_was_not_processed(serve_h2: ServeH2, make_pool: MakePool) -> None:
    def once(link: Link) -> None:
        if link.peer.number == 1:
            link.serve(lambda stream: stream.respond() if stream.id == 1 else link.goaway(1))
        else:
            link.serve()

    server = serve_h2(once)
    async with make_pool() as pool:
        assert (await pool.request("GET", server.url)).status == 200
        assert (await pool.request("POST", server.url, content=b"x")).status == 200
        assert server.accepted == 2


async def test_the_server_goes_away(tasks: Tasks, serve_h2: ServeH2, make_pool: MakePool) -> None:
    server = serve_h2(hold)
    async with make_pool() as pool:
        assert (await pool.request("GET", server.url)).status == 200
        tasks = [
            tasks.begin(pool.request("POST", f"{server.url}/never", content=b"x")) for _ in range(3)
        ]
        link = server.link
        await until(lambda: len(link.opened) == 4)
        link.call(link.abort, wait=False)
        for failure in await gather(*tasks):
            assert isinstance(failure, (httpcore.ReadError, httpcore.RemoteProtocolError))
        assert pool.connections == []


async def test_an_idle_connection_that_has_ended_is_closed_at_once(serve_h2: ServeH2) -> None:
    server = serve_h2()
    async with httpcore.AsyncConnectionPool(http1=False, http2=True) as pool:
        await pool.request("GET", server.url)
        link = server.link
        link.call(lambda: link.goaway(), wait=False)
        if on_asyncio():  # on trio nothing is read that no task waits for
            await until(lambda: pool.connections == [])
        assert (await pool.request("GET", server.url)).status == 200


async def test_a_server_that_ends_each_connection_before_it_is_used(
    serve_h2: ServeH2, make_pool: MakePool
) -> None:
    """The event loop reads a GOAWAY while a hook is awaited, before the request is sent. Else the
    request is refused. Neither goes on for ever."""
    server = serve_h2(lambda link: (link.goaway(last=0), link.run()))
    pool = make_pool()

    async def trace(name: str, info: Any) -> None:
        if name == "http2.send_connection_init.started" and on_asyncio():
            (connection,) = pool.connections
            if connection.opened.driven:  # type: ignore[attr-defined]
                await until(lambda: not connection.is_available())

    async with pool:
        with pytest.raises(httpcore.RemoteProtocolError, match="going away") as info:
            await pool.request("POST", server.url, content=b"x", extensions={"trace": trace})
    assert info.value.phase == NOT_SENT
    assert len(server.links) == MAX_MOVES + 1


async def test_a_broken_connection_is_closed_while_a_response_is_held(serve_h2: ServeH2) -> None:
    """The event loop would go on reading whatever the server sends."""

    def script(link: Link) -> None:
        link.serve(lambda stream: None, until=lambda: len(link.opened) == 1)
        link.headers(1, [(":status", "200")])
        link.data(1, b"begun")
        link.window_update(0, 0)
        link.run()

    server = serve_h2(script)
    async with httpcore.AsyncConnectionPool(http1=False, http2=True) as pool:
        async with pool.stream("GET", server.url) as response:
            if on_asyncio():  # on trio nothing is read that no task waits for
                await until(lambda: server.link.gone)
            with pytest.raises(httpcore.RemoteProtocolError, match="the server broke HTTP/2"):
                await response.aread()
        assert pool.connections == []


async def test_closing_the_pool_ends_all_requests(
    tasks: Tasks, serve_h2: ServeH2, make_pool: MakePool
) -> None:
    server = serve_h2(hold)
    pool = make_pool()
    tasks = [tasks.begin(pool.request("GET", f"{server.url}/x")) for _ in range(3)]
    await until(lambda: server.links and len(server.link.opened) == 3)
    await pool.aclose()
    for failure in await gather(*tasks):
        assert isinstance(failure, Aborted)
    await pool.aclose()


async def test_a_cancel_token(tasks: Tasks, serve_h2: ServeH2, make_pool: MakePool) -> None:
    server = serve_h2(hold)
    async with make_pool() as pool:
        await pool.request("GET", server.url)
        token = httpcore.CancelToken()
        task = tasks.begin(pool.request("GET", f"{server.url}/never", extensions={"cancel": token}))
        link = server.link
        await until(lambda: len(link.opened) == 2)
        await in_thread(token.cancel)
        with pytest.raises(Aborted):
            await task
        assert (await pool.request("GET", server.url, extensions=PATIENT)).status == 200
        assert server.accepted == 1


async def test_pings(serve: Serve, make_pool: MakePool) -> None:
    """Silence is answered with a PING, and more of it with the end of the connection."""
    frames: list[bytes] = []

    def mute(peer: Peer) -> None:
        peer.send(encode_frame(Kind.SETTINGS))
        frames.append(peer.wait_closed())

    server = serve(mute)
    async with make_pool(ping_interval=0.05, ping_timeout=0.2) as pool:
        with pytest.raises(httpcore.ReadError, match="has not answered a PING"):
            await pool.request("GET", server.url)
        assert pool.connections == []
    assert server.wait_for(lambda: frames)
    assert encode_frame(Kind.PING, b"httpcore") in frames[0]


async def test_a_server_that_reads_slowly(serve_h2: ServeH2, make_pool: MakePool) -> None:
    """What the network does not take at once is sent when there is room."""

    def slow(link: Link) -> None:
        link.settings(initial_window_size=2**30)
        link.window_update(0, 2**30)
        link.flush()
        link.sleep(0.2)
        link.serve()

    server = serve_h2(slow)
    async with make_pool() as pool:
        content = pattern(20_000_000)
        response = await pool.request(
            "POST", f"{server.url}/upload", content=content, extensions=PATIENT
        )
        assert json.loads(response.content)["length"] == len(content)


# --- by hand ---


class HeldStream(PlainStream):
    """A stream whose large writes last until its backend's gate is opened."""

    def __init__(self, inside: httpcore.AsyncNetworkStream, backend: HeldBackend) -> None:
        super().__init__(inside)
        self.backend = backend

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.backend.sizes.append(len(buffer))
        if len(buffer) >= 65536:
            await self.backend.gate.wait()
        await super().write(buffer, timeout)


class HeldBackend(AutoBackend):
    """Opens such streams, and notes the sizes of their writes."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = anyio.Event()
        self.sizes: list[int] = []

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return HeldStream(await super().connect_tcp(*args, **options), self)


@pytest.mark.parametrize("uploads", [1, 3])
async def test_an_upload_on_an_awaited_stream_is_not_taken_into_memory(
    tasks: Tasks, serve_h2: ServeH2, uploads: int
) -> None:
    """Where the windows are wide, nothing but the stream says how much the network takes."""

    def script(link: Link) -> None:
        link.window_update(0, 2**30)
        link.serve(lambda stream: stream.respond(200, b"%d" % stream.received))

    server = serve_h2(script, settings={"initial_window_size": 2**30})
    given = 0

    async def parts() -> AsyncGenerator[bytes, None]:
        nonlocal given
        for _ in range(50):
            given += 1
            yield bytes(65536)

    backend = HeldBackend()
    async with httpcore.AsyncConnectionPool(
        http1=False, http2=True, network_backend=backend
    ) as pool:
        await pool.request("GET", server.url)  # the windows are known then
        begun = [
            tasks.begin(pool.request("POST", server.url, content=parts())) for _ in range(uploads)
        ]
        await until(lambda: max(backend.sizes) >= 65536)
        for _ in range(50):
            await checkpoint()
        assert given <= 3 + 2 * uploads, "the others wait for the stream"
        backend.gate.set()
        for response in await gather(*begun):
            assert response.content == b"%d" % (50 * 65536)
        assert given == 50 * uploads
        assert max(backend.sizes) < 600_000


async def test_a_part_of_a_body_is_sent_before_the_next_is_asked_for(
    serve_h2: ServeH2, make_pool: MakePool
) -> None:
    """The next may depend on what the server does with it."""
    echo: Any = lambda stream: stream.respond(200, bytes(stream.body))  # noqa: E731
    server = serve_h2(lambda link: link.serve(echo))

    async def parts() -> AsyncGenerator[bytes, None]:
        for sent, part in enumerate((b"one", b"two", b"three")):
            await until(lambda sent=sent: server.links and len(server.link.seen(Kind.DATA)) == sent)
            yield part

    async with make_pool() as pool:
        response = await pool.request("POST", server.url, content=parts(), extensions=PATIENT)
        assert response.content == b"onetwothree"


@pytest.mark.parametrize("others", [False, True])
async def test_the_last_words_are_sent(
    tasks: Tasks, serve_h2: ServeH2, make_pool: MakePool, others: bool
) -> None:
    """RST_STREAM for a request that was cancelled, and GOAWAY when the pool is closed; also where
    nobody waits on the connection any more."""
    answer: Any = lambda stream: stream.path == "/answered" and stream.respond()  # noqa: E731
    server = serve_h2(lambda link: link.serve(answer))
    async with make_pool() as pool:
        await pool.request("GET", f"{server.url}/answered", extensions=PATIENT)
        silent = [
            tasks.begin(pool.request("GET", f"{server.url}/silent", extensions=PATIENT))
            for _ in range(2 if others else 1)
        ]
        link = server.link
        await until(lambda: link.open == len(silent))
        for request in silent:
            request.cancel()
            await request.end()
            await until(lambda: link.open < len(silent))
        await until(lambda: len(link.seen(Kind.RST_STREAM)) == len(silent))
        assert link.goaway_received is None
    await until(lambda: link.goaway_received is not None)
    assert server.accepted == 1


class HeldAtTheEnd(PlainStream):
    """Takes nothing any more once it is told so, and heeds no timeout."""

    held = False

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if HeldAtTheEnd.held:
            await anyio.sleep_forever()
        await self.inside.write(buffer, timeout)


class HeldAtTheEndBackend(AutoBackend):
    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return HeldAtTheEnd(await super().connect_tcp(*args, **options))


async def test_last_words_that_are_not_taken(
    tasks: Tasks, serve_h2: ServeH2, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are awaited where a cancellation does not reach, and not for ever."""
    monkeypatch.setattr(closing, "LAST_WORDS", 0.01)
    monkeypatch.setattr(HeldAtTheEnd, "held", False)
    server = serve_h2(lambda link: link.serve(lambda stream: None))
    with anyio.fail_after(PATIENCE):
        async with httpcore.AsyncConnectionPool(
            http1=False, http2=True, network_backend=HeldAtTheEndBackend()
        ) as pool:
            silent = tasks.begin(pool.request("GET", server.url, extensions=PATIENT))
            await until(lambda: server.links and server.link.open)
            HeldAtTheEnd.held = True
            silent.cancel()
            await silent.end()
            await until(lambda: pool.stats()["requests"] == 0)
    assert pool.connections == []


async def test_the_last_words_of_a_response_that_is_dropped(
    serve_h2: ServeH2, make_pool: MakePool
) -> None:
    """They are written by the next task that gives something back, to whatever it was."""
    server = serve_h2()
    async with make_pool() as pool, make_pool() as other:
        response = await pool.request("GET", f"{server.url}/bytes/1000000", stream=True)
        with pytest.warns(ResourceWarning, match="was dropped"):
            del response
        assert (await other.request("GET", server.url, extensions=PATIENT)).status == 200
        link = server.links[0]
        await until(lambda: link.seen(Kind.RST_STREAM))
        assert pool.stats()["requests"] == 0


async def test_a_connection_by_hand(serve_h2: ServeH2) -> None:
    server = serve_h2()
    origin = httpcore.URL(server.url).origin
    async with httpcore.AsyncHTTPConnection(origin, http1=False, http2=True) as connection:
        requests = [connection.request("GET", server.url) for _ in range(3)]
        assert {each.status for each in await gather(*requests)} == {200}
    assert connection.is_closed()
    stream = await AutoBackend().connect_tcp("127.0.0.1", origin.port)
    async with httpcore.AsyncHTTP2Connection(origin, stream) as by_hand:
        assert (await by_hand.request("GET", server.url)).status == 200
        assert not by_hand.has_expired()
        with pytest.raises(RuntimeError, match="on a connection to"):
            await by_hand.request("GET", "http://other.test/")
    with pytest.raises(httpcore.ConnectionNotAvailable):
        await by_hand.request("GET", server.url)


async def test_a_response_that_is_dropped(serve_h2: ServeH2, make_pool: MakePool) -> None:
    server = serve_h2()
    async with make_pool(max_connections=1) as pool:
        response = await pool.request("GET", f"{server.url}/bytes/1000000", stream=True)
        with pytest.warns(ResourceWarning, match="was dropped"):
            del response
        assert (await pool.request("GET", server.url, extensions=PATIENT)).status == 200
        link = server.link
        await until(lambda: link.seen(Kind.RST_STREAM))
        assert pool.stats()["requests"] == 0
        assert int.from_bytes(link.seen(Kind.RST_STREAM)[0].payload, "big") == Code.CANCEL


@pytest.mark.filterwarnings("ignore:unread response")
async def test_a_failure_does_not_hold_its_response(
    serve_h2: ServeH2, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt that strikes when a failure is to end the response leaves that to the garbage
    collector. The stream keeps the failure; the frames that it came through must not come along."""

    class Struck(BaseException):
        pass

    async def strike(body: response_body.AsyncResponseBody, exc: BaseException) -> BaseException:
        raise Struck

    async def read(pool: httpcore.AsyncConnectionPool) -> None:
        request = httpcore.Request(
            "GET", f"{server.url}/fail", headers={"Host": "h"}, extensions=PATIENT
        )
        response: Any = await pool.handle_async_request(request)
        while await response.stream.read1():
            pass

    server = serve_h2(lambda link: link.serve(break_off))
    async with make_pool() as pool:
        with monkeypatch.context() as patches:
            patches.setattr(response_body.AsyncResponseBody, "_fail", strike)
            with pytest.raises(Struck) as caught:
                await read(pool)
        del caught
        gc.collect()
        assert pool.stats()["requests"] == 0
        assert (await pool.request("GET", server.url)).content == b"good"
        assert pool.stats()["active"] == 0
