"""The asynchronous pool as its callers see it, on each event loop.

Owns: `httpcore._async`: requests, bodies, limits, retries, errors, what is reported. Must not know:
how slots are chosen, how HTTP is framed; those have tests of their own, and so has what happens
when a task is cancelled (`test_async_cancellation`).
"""

from __future__ import annotations

import functools
import json
import ssl
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import httpcore
from httpcore import aio
from httpcore._core.limits import MAX_READ_SIZE
from httpcore.exceptions import Aborted
from tests.support import PATIENCE
from tests.support.servers import LocalServer, Peer, Serve, pattern
from tests.support.tasks import Tasks, checkpoint, gather, in_thread, until

pytestmark = pytest.mark.anyio

PATIENT: dict[str, Any] = {
    "timeout": {"connect": PATIENCE, "read": PATIENCE, "write": PATIENCE, "pool": PATIENCE}
}


def answering(*answers: bytes) -> Callable[[Peer], None]:
    """A handler that gives these to the requests of each connection, and closes it then."""

    def handle(peer: Peer) -> None:
        for answer in answers:
            if peer.recv_request() is None:
                return
            peer.send(answer)

    return handle


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


# --- requests and responses ---


async def test_requests_share_a_connection(server: LocalServer) -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        first = await pool.request("GET", server.url)
        second = await pool.request("GET", f"{server.url}/echo", headers={"X-Name": "value"})
        assert first.content == b"hello from the local server\n"
        assert ["X-Name", "value"] in json.loads(second.content)["headers"]
        assert (first.extensions["reused"], second.extensions["reused"]) == (False, True)
        assert pool.stats()["totals"]["opened"] == 1
        (connection,) = pool.connections
        assert connection.is_idle()
        assert isinstance(connection, httpcore.AsyncHTTPConnection)
        assert repr(pool) == (
            "<AsyncConnectionPool [Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]>"
        )
    assert pool.connections == []
    assert server.accepted == 1


async def test_over_tls(tls_server: LocalServer, client_tls_context: ssl.SSLContext) -> None:
    async with httpcore.AsyncConnectionPool(ssl_context=client_tls_context) as pool:
        for _ in range(2):
            response = await pool.request("GET", f"{tls_server.url}/bytes/300000")
            assert response.content == pattern(300000)
        assert response.extensions["connection"].tls_version.startswith("TLSv1")
        assert tls_server.accepted == 1


async def test_a_certificate_that_is_not_trusted(tls_server: LocalServer) -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        with pytest.raises(httpcore.ConnectError, match="certificate verify failed"):
            await pool.request("GET", tls_server.url)
        assert pool.connections == []
    tls_server.errors.clear()


async def test_a_session_is_resumed(
    tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    httpcore.resume_tls_sessions(client_tls_context)
    async with httpcore.AsyncConnectionPool(ssl_context=client_tls_context) as pool:
        for expected in (False, True):
            response = await pool.request("GET", tls_server.url)
            stream = response.extensions["network_stream"]
            assert stream.get_extra_info("ssl_object").session_reused is expected
            pool.close_idle()


@pytest.mark.parametrize("path", ["bytes/200000", "chunked/200000", "close/200000"])
async def test_a_body_in_pieces(server: LocalServer, path: str) -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        async with pool.stream("GET", f"{server.url}/{path}") as response:
            parts = [part async for part in response.aiter_stream()]
        assert b"".join(parts) == pattern(200000)
        assert len(parts) > 1
        with pytest.raises(RuntimeError, match="consumed"):
            response.aiter_stream()


async def test_read1_takes_no_more_at_once_than_is_read_at_once(server: LocalServer) -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        async with pool.stream("GET", f"{server.url}/bytes/1000000") as response:
            body: Any = response.stream
            parts = [await body.read1(10**9)]
            while parts[-1]:
                parts.append(await body.read1(10**9))
        assert b"".join(parts) == pattern(1_000_000)
        assert max(map(len, parts)) <= MAX_READ_SIZE


async def test_other_ways_to_read(server: LocalServer) -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        async with pool.stream("GET", f"{server.url}/bytes/1000") as response:
            body: Any = response.stream
            assert await body.aread(10) == pattern(10)
            assert await body.read1(5) == pattern(5, 10)
            assert await body.read1(0) == b""
            place = bytearray(20)
            assert await body.readinto(place) == 20
            assert bytes(place) == pattern(20, 15)
            assert await body.aread() == pattern(965, 35)
            assert await body.aread() == b""
            assert await body.read1() == b""
        response = await pool.request("GET", f"{server.url}/bytes/1000", stream=True)
        assert await response.aread() == pattern(1000)
        assert await response.aread() == pattern(1000)
        assert server.accepted == 1


async def test_a_synchronous_read_of_an_asynchronous_response(server: LocalServer) -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        async with pool.stream("GET", server.url) as response:
            with pytest.raises(RuntimeError, match="asynchronous"):
                response.read()
            with pytest.raises(RuntimeError, match=r"await response\.aread\(\)"):
                _ = response.content


async def test_a_truncated_body(server: LocalServer) -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match="GET /truncated/1000"):
            await pool.request("GET", f"{server.url}/truncated/1000")
        assert pool.connections == []


# --- bodies of requests ---


async def some_parts() -> AsyncGenerator[bytes, None]:
    yield b"one,"
    yield bytearray(b"two,")  # type: ignore[misc]
    yield b""
    yield b"three"


async def test_bodies(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(pattern(500000))
    async with httpcore.AsyncConnectionPool() as pool:

        async def upload(content: Any, **headers: str) -> Any:
            url = f"{server.url}/upload"
            response = await pool.request("POST", url, content=content, headers=headers)
            return json.loads(response.content)

        assert (await upload(b"x" * 1000))["length"] == 1000
        assert (await upload(b"x" * 1000000))["length"] == 1000000
        assert (await upload(some_parts()))["length"] == 13
        with open(path, "rb") as file:
            assert (await upload(file))["length"] == 500000
        assert (await upload(b"x" * 5, Expect="100-continue"))["length"] == 5
        assert server.accepted == 1


async def test_an_early_answer_to_a_large_body(serve: Serve) -> None:
    """The server answers from the head alone and reads no more; it is not waited for."""

    def refuse(peer: Peer) -> None:
        peer.recv_request_head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        peer.wait_closed()

    server = serve(refuse)
    async with httpcore.AsyncConnectionPool() as pool:
        response = await pool.request("POST", server.url, content=b"x" * 30_000_000)
        assert (response.status, response.content) == (413, b"no")
        assert pool.connections == []


async def test_an_echo_while_it_is_sent(serve: Serve) -> None:
    def echo(peer: Peer) -> None:
        request = peer.recv_request_head()
        assert request is not None
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in peer.iter_body(request):
            peer.send(b"%x\r\n%b\r\n" % (len(part), part))
        peer.send(b"0\r\n\r\n")

    server = serve(echo)
    async with httpcore.AsyncConnectionPool() as pool:
        content = pattern(3_000_000)
        response = await pool.request("POST", server.url, content=content, extensions=PATIENT)
        assert response.content == content


@pytest.mark.parametrize("content", [iter([b"one"]), [b"one"]], ids=["iterator", "list"])
async def test_a_synchronous_body_is_refused(server: LocalServer, content: Any) -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        with pytest.raises(TypeError, match="write an async generator that yields its parts"):
            await pool.request("POST", server.url, content=content)
    assert server.accepted == 0


async def test_text_as_a_body_is_refused() -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        with pytest.raises(TypeError) as caught:
            await pool.request("POST", "http://name.test/", content="text")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "content must be bytes, a file opened in binary mode or an iterable of bytes "
        "(an asynchronous one in the asynchronous API), not str"
    )


async def test_an_asynchronous_body_is_refused_by_the_synchronous_pool(server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(TypeError, match="cannot be sent by a synchronous client"):
            pool.request("POST", server.url, content=some_parts())
    assert server.accepted == 0


async def test_a_body_that_is_not_as_long_as_announced(server: LocalServer) -> None:
    parts = some_parts()
    async with httpcore.AsyncConnectionPool() as pool:
        with pytest.raises(httpcore.LocalProtocolError, match="longer than its announced 5"):
            await pool.request(
                "POST", f"{server.url}/upload", content=parts, headers={"Content-Length": "5"}
            )
        await parts.aclose()
        assert pool.connections == []
    server.errors.clear()


# --- limits and timeouts ---


async def test_more_requests_than_connections(server: LocalServer) -> None:
    async with httpcore.AsyncConnectionPool(max_connections=2) as pool:

        async def get(number: int) -> bytes:
            return (await pool.request("GET", f"{server.url}/bytes/{number}")).content

        bodies = await gather(*map(get, range(20)))
    assert [len(body) for body in bodies] == list(range(20))
    assert server.accepted <= 2


async def test_a_pool_timeout(server: LocalServer) -> None:
    async with httpcore.AsyncConnectionPool(max_connections=1) as pool:
        async with pool.stream("GET", f"{server.url}/bytes/1000000"):
            with pytest.raises(httpcore.PoolTimeout, match="max_connections=1, held by 1 x GET"):
                await pool.request("GET", server.url, extensions={"timeout": {"pool": 0.01}})


async def test_timeouts(server: LocalServer, black_hole: tuple[str, int]) -> None:
    host, port = black_hole
    async with httpcore.AsyncConnectionPool() as pool:
        with pytest.raises(httpcore.ConnectTimeout, match=r"timed out after 0\.05 s"):
            await pool.request(
                "GET", f"http://{host}:{port}/", extensions={"timeout": {"connect": 0.05}}
            )
        with pytest.raises(httpcore.ReadTimeout, match=r"no byte within 0\.05 s"):
            await pool.request("GET", f"{server.url}/hang", extensions={"timeout": {"read": 0.05}})
        with pytest.raises(httpcore.ReadTimeout, match=r"^total of 0\.1 s is over"):
            await pool.request(
                "GET", f"{server.url}/drip/1000", extensions={"timeout": {"total": 0.1}}
            )
        assert pool.connections == []
        response = await pool.request("GET", server.url, extensions={"timeout": {"total": 60}})
        assert response.status == 200


async def test_a_write_timeout(serve: Serve) -> None:
    server = serve(lambda peer: server.event().wait(PATIENCE) and None)
    async with httpcore.AsyncConnectionPool() as pool:
        with pytest.raises(httpcore.WriteTimeout, match="timed out"):
            await pool.request(
                "POST",
                server.url,
                content=b"x" * 30_000_000,
                extensions={"timeout": {"write": 0.05}},
            )
        assert pool.connections == []


async def test_a_name_that_cannot_be_looked_up() -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        with pytest.raises(httpcore.ConnectError, match=r"look up name\.invalid failed"):
            await pool.request("GET", "http://name.invalid/")


async def test_a_look_up_that_takes_too_long(tasks: Tasks, server: LocalServer) -> None:
    released = threading.Event()

    def resolve(host: str, port: int, timeout: float | None) -> list[str]:
        released.wait(PATIENCE)
        return ["127.0.0.1"]

    async with httpcore.AsyncConnectionPool(resolver=resolve) as pool:
        url = server.url.replace("127.0.0.1", "name.test")
        with pytest.raises(httpcore.ConnectTimeout, match=r"look up name\.test timed out"):
            await pool.request("GET", url, extensions={"timeout": {"connect": 0.05}})
        waiting = tasks.begin(pool.request("GET", url))
        await checkpoint()
        released.set()
        assert (await waiting).status == 200


# --- sending again ---


async def test_a_connection_that_has_died_while_idle(serve: Serve) -> None:
    server = serve(answering(OK))
    async with httpcore.AsyncConnectionPool() as pool:
        for _ in range(3):
            assert (await pool.request("POST", server.url, content=b"x")).content == b"ok"
            assert server.wait_for(lambda: not server.open)
        assert server.accepted == 3


async def test_a_connection_that_dies_with_the_request(serve: Serve) -> None:
    """The server has closed already when the second request comes, and nothing told us."""

    def handle(peer: Peer) -> None:
        if peer.recv_request() is not None:
            peer.send(OK)
        if peer.recv_request() is not None and peer.number > 1:
            peer.send(OK)

    server = serve(handle)
    async with httpcore.AsyncConnectionPool() as pool:
        for _ in range(2):
            assert (await pool.request("GET", server.url)).content == b"ok"
        assert pool.stats()["totals"]["replayed"] == 1
        assert server.accepted == 2


async def test_retries_after_a_status(serve: Serve) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    server = serve(answering(busy, busy, OK))
    retries = httpcore.RetryConfig(3, statuses={503}, backoff=0.001)
    async with httpcore.AsyncConnectionPool(retries=retries) as pool:
        assert (await pool.request("GET", server.url)).content == b"ok"


async def test_retries_of_connecting(closed_port: int) -> None:
    backend = CountingBackend()
    async with httpcore.AsyncConnectionPool(retries=2, network_backend=backend) as pool:
        with pytest.raises(httpcore.ConnectError, match="refused"):
            await pool.request("GET", f"http://127.0.0.1:{closed_port}/")
    assert backend.slept == [0.0, 0.5]


class CountingBackend(httpcore.AsyncNetworkBackend):
    """The real network, on which no time passes between two attempts."""

    def __init__(self) -> None:
        from httpcore._backends.auto import AutoBackend

        self.inside = AutoBackend()
        self.slept: list[float] = []

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return await self.inside.connect_tcp(*args, **options)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


# --- what is reported ---

EVENTS = [
    "connection.connect_tcp.started",
    "connection.connect_tcp.complete",
    "http11.send_request_headers.started",
    "http11.send_request_headers.complete",
    "http11.send_request_body.started",
    "http11.send_request_body.complete",
    "http11.receive_response_headers.started",
    "http11.receive_response_headers.complete",
    "http11.receive_response_body.started",
    "http11.receive_response_body.complete",
    "http11.response_closed.started",
    "http11.response_closed.complete",
]


async def test_the_events_of_a_request(server: LocalServer) -> None:
    seen: list[str] = []

    async def trace(name: str, details: dict[str, Any]) -> None:
        await checkpoint()
        seen.append(name)

    async with httpcore.AsyncConnectionPool() as pool:
        await pool.request("GET", server.url, extensions={"trace": trace})
        assert seen == EVENTS
        seen.clear()
        await pool.request("GET", server.url, extensions={"trace": functools.partial(trace)})
        assert seen == EVENTS[2:]


async def test_the_events_of_a_pool(server: LocalServer) -> None:
    seen: list[str] = []
    async with httpcore.AsyncConnectionPool(
        max_connections=1, trace=lambda name, details: seen.append(name)
    ) as pool:
        await gather(*(pool.request("GET", server.url) for _ in range(2)))
        await pool.request("GET", server.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(httpcore.UnsupportedProtocol):
            await pool.request("GET", "ftp://name.test/")
    assert [name for name in seen if name.startswith("pool.")] == [
        *("pool.enqueue", "pool.assign", "pool.assign"),
        *("pool.evict", "pool.assign"),  # for the other host
        "pool.evict",  # when the pool was closed
    ]


async def test_a_plain_trace_function_is_refused(server: LocalServer) -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        for hook in (print, lambda name, details: None):
            with pytest.raises(TypeError, match="must be an async function"):
                await pool.request("GET", server.url, extensions={"trace": hook})
        with pytest.raises(TypeError, match="must be callable, not int"):
            await pool.request("GET", server.url, extensions={"trace": 1})
        assert (await pool.request("GET", server.url)).status == 200


async def test_an_asynchronous_trace_of_a_pool_is_refused() -> None:
    async def trace(name: str, details: dict[str, Any]) -> None:
        pass

    with pytest.raises(TypeError, match="must be a plain function"):
        httpcore.AsyncConnectionPool(trace=trace)


async def test_what_a_hook_raises_is_raised_to_the_request(server: LocalServer) -> None:
    for event in EVENTS:

        async def trace(name: str, details: dict[str, Any], event: str = event) -> None:
            if name == event:
                raise KeyError(event)

        async with httpcore.AsyncConnectionPool(max_connections=1) as pool:
            with pytest.raises(KeyError, match=event):
                await pool.request("GET", server.url, extensions={"trace": trace})
            assert (await pool.request("GET", server.url, extensions=PATIENT)).status == 200


# --- ending ---


async def test_closing_the_pool_ends_what_is_under_way(tasks: Tasks, server: LocalServer) -> None:
    pool = httpcore.AsyncConnectionPool(max_connections=1)
    requests = [tasks.begin(pool.request("GET", f"{server.url}/hang")) for _ in range(2)]
    await until(lambda: pool.stats()["waiting"] == 1 and pool.stats()["active"] == 1)
    await pool.aclose()
    for failure in await gather(*requests):
        assert isinstance(failure, Aborted)
    async with pool:
        assert (await pool.request("GET", server.url)).status == 200


PROXY = "http://127.0.0.1:1"
CLOSABLE: dict[str, Callable[[], httpcore.AsyncConnectionPool]] = {
    "AsyncConnectionPool": httpcore.AsyncConnectionPool,
    "AsyncHTTPProxy": lambda: httpcore.AsyncHTTPProxy(PROXY),
    "AsyncSOCKSProxy": lambda: httpcore.AsyncSOCKSProxy("socks5://127.0.0.1:1"),
    "aio.PoolManager": aio.PoolManager,
    "retries": lambda: httpcore.AsyncConnectionPool(retries=httpcore.RetryConfig()),
}


async def test_closing_the_pool_in_the_moment_in_which_a_waiter_is_served(
    tasks: Tasks, server: LocalServer
) -> None:
    """It has a connection already, and has not come to use it: it does not open another one."""
    pool = httpcore.AsyncConnectionPool(max_connections=1)
    async with pool.stream("GET", f"{server.url}/bytes/2000000") as response:
        waiting = tasks.begin(pool.request("GET", server.url, extensions=PATIENT))
        await until(lambda: pool.stats()["waiting"] == 1)
        await response.aread()
        assert pool.stats()["waiting"] == 0
        pool.close()
    with pytest.raises(Aborted, match="was ended by a close or a CancelToken"):
        await waiting
    assert pool.stats()["totals"]["opened"] == 1


@pytest.mark.parametrize("name", CLOSABLE)
async def test_a_request_after_the_pool_was_closed(name: str) -> None:
    pool = CLOSABLE[name]()
    await pool.aclose()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"pool was closed: make a new one, .*'async with"):
            await pool.request("GET", "http://127.0.0.1:1/")
        assert pool.connections == []
        async with pool:
            with pytest.raises(httpcore.ConnectError):
                await pool.request("GET", "http://127.0.0.1:1/")


async def test_a_pool_that_was_used_and_closed_by_another_thread(server: LocalServer) -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        assert (await pool.request("GET", server.url)).status == 200
        await in_thread(pool.close)
        with pytest.raises(RuntimeError, match="this pool was closed"):
            await pool.request("GET", server.url)
        async with pool:
            assert (await pool.request("GET", server.url)).status == 200
    assert (server.accepted, pool.connections) == (2, [])


async def test_a_retired_pool_takes_requests(server: LocalServer) -> None:
    async with httpcore.AsyncConnectionPool() as pool:
        for number in range(2):
            assert (await pool.request("GET", server.url)).status == 200
            assert server.accepted == number + 1
            pool.retire()


async def test_a_pool_that_is_closed_between_two_attempts() -> None:
    """The request is not sent again."""

    class Backend(httpcore.AsyncMockBackend):
        async def sleep(self, seconds: float) -> None:
            await pool.aclose()

    backend = Backend([b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"])
    config = httpcore.RetryConfig(statuses={503})
    pool = httpcore.AsyncConnectionPool(retries=config, network_backend=backend)
    with pytest.raises(RuntimeError, match="this pool was closed"):
        await pool.request("GET", "http://name.test/")
    assert pool.stats()["totals"]["replayed"] == 1
    assert pool.connections == []


async def test_a_cancel_token(tasks: Tasks, server: LocalServer) -> None:
    """Of another thread, wherever the request is."""
    async with httpcore.AsyncConnectionPool() as pool:
        token = httpcore.CancelToken()
        request = tasks.begin(
            pool.request("GET", f"{server.url}/hang", extensions={"cancel": token})
        )
        await until(lambda: len(server.requests) == 1)
        await in_thread(token.cancel)
        with pytest.raises(Aborted, match="was ended by a close or a CancelToken"):
            await request
        with pytest.raises(Aborted):
            await pool.request("GET", server.url, extensions={"cancel": token})
        assert pool.connections == []


async def test_a_cancel_token_while_connecting(tasks: Tasks, black_hole: tuple[str, int]) -> None:
    host, port = black_hole
    released = threading.Event()

    def resolve(host: str, port: int, timeout: float | None) -> list[str]:
        released.wait(PATIENCE)
        return ["127.0.0.1"]

    async with httpcore.AsyncConnectionPool(resolver=resolve) as pool:
        for name in (host, "name.test"):
            token = httpcore.CancelToken()
            request = tasks.begin(
                pool.request("GET", f"http://{name}:{port}/", extensions={"cancel": token})
            )
            await until(lambda: pool.stats()["dialing"] == 1)
            await anyio.sleep(0.01)
            await in_thread(token.cancel)
            with pytest.raises(Aborted, match="ended by a close or a CancelToken"):
                await request
        assert pool.connections == []
        released.set()


async def test_a_cancel_token_between_two_attempts(tasks: Tasks, serve: Serve) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    server = serve(answering(busy, OK))
    retries = httpcore.RetryConfig(3, statuses={503}, backoff=PATIENCE)
    async with httpcore.AsyncConnectionPool(retries=retries) as pool:
        token = httpcore.CancelToken()
        request = tasks.begin(pool.request("GET", server.url, extensions={"cancel": token}))
        await until(lambda: pool.stats()["totals"]["replayed"] == 1)
        token.cancel()
        with pytest.raises(Aborted):
            await request


async def test_an_upgraded_connection(serve: Serve) -> None:
    def upgrade(peer: Peer) -> None:
        peer.recv_head()
        peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\nfirst"
        )
        peer.send(peer.recv_exactly(4).upper())

    server = serve(upgrade)
    async with httpcore.AsyncConnectionPool() as pool:
        headers = {"Connection": "upgrade", "Upgrade": "test"}
        async with pool.stream("GET", server.url, headers=headers) as response:
            assert response.status == 101
            assert pool.connections == []
            stream = response.extensions["network_stream"]
            assert stream.get_extra_info("is_readable") is True
            assert await stream.read(3, PATIENCE) == b"fir"
            assert await stream.read(3, PATIENCE) == b"st"
            await stream.write(b"more")
            assert await stream.read(100, PATIENCE) == b"MORE"


# --- without a pool ---


async def test_connections_by_hand(server: LocalServer) -> None:
    origin = httpcore.URL(server.url).origin
    async with httpcore.AsyncHTTPConnection(origin) as connection:
        assert connection.info() == "CONNECTING"
        requests = [connection.request("GET", f"{server.url}/bytes/3") for _ in range(2)]
        results: list[Any] = await gather(*requests)
        # They take turns to open it; the one that is served while the other has it is refused.
        assert {type(each) for each in results} <= {
            httpcore.Response,
            httpcore.ConnectionNotAvailable,
        }
        response = await connection.request("GET", server.url)
        assert response.extensions["reused"]
        assert connection.is_idle()
        with pytest.raises(RuntimeError, match="on a connection to"):
            await connection.request("GET", "http://other.test/")
    assert connection.is_closed()
    assert server.accepted == 1


async def test_an_http11_connection_by_hand() -> None:
    stream = httpcore.AsyncMockStream([OK[:-1], OK[-1:], OK])
    origin = httpcore.Origin(b"http", b"name.test", 80)
    async with httpcore.AsyncHTTP11Connection(origin, stream) as connection:
        response = await connection.request("GET", "http://name.test/", stream=True)
        assert not connection.is_available()
        with pytest.raises(httpcore.ConnectionNotAvailable):
            await connection.request("GET", "http://name.test/")
        await response.aclose()
        assert connection.is_available()
        assert not connection.has_expired()
        assert (await connection.request("GET", "http://name.test/")).content == b"ok"
    assert connection.is_closed()


async def test_the_lines_of_2019(server: LocalServer) -> None:
    response = await aio.request("GET", server.url)
    assert (response.status_code, response.body) == (200, b"hello from the local server\n")
    async with aio.PoolManager() as pool:
        response = await pool.request("GET", f"{server.url}/bytes/100000", stream=True)
        parts = [part async for part in response.stream()]
        assert b"".join(parts) == pattern(100000)
        response = await pool.request("GET", server.url)
        assert response.body == b"hello from the local server\n"
    assert isinstance(pool, httpcore.AsyncConnectionPool)


# --- streams of another make ---


class WaitingStream(httpcore.AsyncNetworkStream):
    """Has no more than `AsyncNetworkStream` asks for; closing it takes a while."""

    def __init__(self, *data: bytes) -> None:
        self.data = list(data)
        self.sent = b""
        self.closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await checkpoint()
        return self.data.pop(0) if self.data else b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await checkpoint()
        self.sent += buffer

    async def aclose(self) -> None:
        for _ in range(3):
            await checkpoint()
        self.closed = True


class OneStream(httpcore.AsyncNetworkBackend):
    """Opens these streams, one after the other."""

    def __init__(self, *streams: httpcore.AsyncNetworkStream) -> None:
        self.streams = list(streams)

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return self.streams.pop(0)


async def test_a_stream_that_has_to_be_awaited_to_be_closed() -> None:
    streams = [WaitingStream(OK), WaitingStream(OK[:-1])]
    async with httpcore.AsyncConnectionPool(
        max_connections=1, network_backend=OneStream(*streams)
    ) as pool:
        body = b"x" * 300_000
        response = await pool.request("POST", "http://a.test/", content=body)
        assert response.content == b"ok"
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("GET", "http://b.test/", extensions={"timeout": {"total": 60}})
        assert [each.closed for each in streams] == [True, True]
        assert streams[0].sent.endswith(body)


async def test_closing_such_a_stream_is_not_cut_short_by_a_cancellation(
    tasks: Tasks,
) -> None:
    stream = WaitingStream(OK)
    async with httpcore.AsyncConnectionPool(network_backend=OneStream(stream)) as pool:
        response = await pool.request("GET", "http://a.test/", stream=True)
        assert response.status == 200
        pool.retire()
        task = tasks.begin(pool.aclose())
        await checkpoint()
        task.cancel()
        await task.end()
        assert task.cancelled or stream.closed  # trio waits for it, and cancels what comes after
        await until(lambda: stream.closed)


def test_without_an_event_loop() -> None:
    pool = httpcore.AsyncConnectionPool()
    with pytest.raises(RuntimeError, match=r"no event loop is running.*asyncio\.run\(main\(\)\)"):
        pool.request("GET", "http://name.test/").send(None)
