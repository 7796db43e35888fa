"""The rarer ways through the asynchronous half, on scripts in place of sockets.

Owns: what `test_async_pool` and `test_async_http2` do not come to: failures at certain places, what
waits for one another, settings that are seldom used. Must not know: event loops.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import httpcore
from httpcore._async.body_parts import body_parts, framed_parts
from httpcore._async.part_watches import PartWatch
from httpcore._async.task_lock import TaskLock
from httpcore._backends import closing
from httpcore._core.prepared import prepare
from httpcore.exceptions import Aborted
from tests.support import PATIENCE
from tests.support.http2 import Code, Link, ServeH2, Stream
from tests.support.servers import LocalServer, Peer, Serve, pattern
from tests.support.tasks import Tasks, checkpoint, until

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ORIGIN = httpcore.Origin(b"http", b"a.test", 80)
PATIENT: dict[str, Any] = {
    "timeout": {"connect": PATIENCE, "read": PATIENCE, "write": PATIENCE, "pool": PATIENCE}
}


def pool_of(*scripts: Any, **options: Any) -> httpcore.AsyncConnectionPool:
    """A pool whose connections follow these scripts, in this order."""
    backend = httpcore.AsyncMockBackend([], connects=scripts)
    return httpcore.AsyncConnectionPool(network_backend=backend, **options)


# --- HTTP/1.1 ---


async def test_a_server_that_answers_and_resets_while_the_body_is_sent() -> None:
    broken = httpcore.WriteError("broken pipe")
    broken.phase = "maybe_processed"  # type: ignore[attr-defined]
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"

    class Breaking(httpcore.AsyncMockStream):
        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            if b"POST" not in buffer:
                raise broken

    stream = Breaking([refusal])
    async with httpcore.AsyncHTTP11Connection(ORIGIN, stream) as connection:
        response = await connection.request("POST", "http://a.test/", content=b"x" * 300_000)
        assert (response.status, response.content) == (413, b"no")

    class Silent(Breaking):
        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            raise httpcore.ReadError("reset")

    async with httpcore.AsyncHTTP11Connection(ORIGIN, Silent([])) as connection:
        with pytest.raises(httpcore.WriteError, match="broken pipe"):
            await connection.request("POST", "http://a.test/", content=b"x" * 300_000)


async def test_a_body_that_breaks_the_rules() -> None:
    bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a chunk\r\n"
    head, rest = bad[:-13], bad[-13:]
    for script in ([bad], [head, rest]):
        async with pool_of(script) as pool:
            response = await pool.request("GET", "http://a.test/", stream=True)
            with pytest.raises(httpcore.RemoteProtocolError):
                await response.aread()
            assert pool.connections == []


@pytest.mark.parametrize("split", ["whole", "head first", "in the chunk"])
async def test_what_comes_before_a_fault_is_given_first(split: str) -> None:
    bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnot a chunk\r\n"
    at = {"whole": 0, "head first": bad.index(b"3\r\n"), "in the chunk": bad.index(b"bc")}[split]
    # No end follows: a read more than is needed would be missed.
    script = [bad[:at], bad[at:]] if at else [bad]
    async with pool_of(script) as pool:
        response = await pool.request("GET", "http://a.test/", stream=True)
        got = await response.stream.read1()
        if len(got) < 3:
            got += await response.stream.read1()
        with pytest.raises(httpcore.RemoteProtocolError, match="illegal chunk line"):
            await response.stream.read1()
        assert (got, pool.connections) == (b"abc", [])


async def test_a_body_that_ends_with_the_connection() -> None:
    async with pool_of([b"HTTP/1.1 200 OK\r\n\r\n", b"one", b"two"]) as pool:
        assert (await pool.request("GET", "http://a.test/")).content == b"onetwo"


async def test_reading_a_long_body_of_a_stream_that_reads_into_no_place() -> None:
    size = 300_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    async with pool_of([head, *(pattern(100_000, at) for at in range(0, size, 100_000))]) as pool:
        assert (await pool.request("GET", "http://a.test/")).content == pattern(size)


async def test_a_short_rest_is_read_away() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
    async with pool_of([head, b"abc", b"def", OK], [OK]) as pool:
        response = await pool.request("GET", "http://a.test/", stream=True)
        await response.aclose()
        await response.aclose()
        assert pool.stats()["idle"] == 1
    async with pool_of([head, b"abc", httpcore.ReadError("reset")]) as pool:
        response = await pool.request("GET", "http://a.test/", stream=True)
        await response.aclose()
        assert pool.connections == []


async def test_the_total_of_a_connection_by_hand(server: LocalServer) -> None:
    origin = httpcore.URL(server.url).origin
    async with httpcore.AsyncHTTPConnection(origin) as connection:
        url, total = f"{server.url}/hang", {"timeout": {"total": 0.05}}
        with pytest.raises(httpcore.TimeoutException, match=r"total of 0\.05 s is over"):
            await connection.request("GET", url, extensions=total)
    async with httpcore.AsyncHTTP11Connection(ORIGIN, httpcore.AsyncMockStream([OK])) as by_hand:
        extensions = {"timeout": {"total": PATIENCE}}
        response = await by_hand.request("GET", "http://a.test/", extensions=extensions)
        assert response.content == b"ok"


async def test_ending_a_request_of_a_connection_by_hand(server: LocalServer) -> None:
    origin = httpcore.URL(server.url).origin
    async with httpcore.AsyncHTTPConnection(origin) as connection:
        response = await connection.request("GET", f"{server.url}/drip/1000", stream=True)
        failures: list[BaseException] = []

        async def read() -> None:
            try:
                await response.aread()
            except httpcore.NetworkError as exc:
                failures.append(exc)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            while not response.stream.within:
                await anyio.sleep(0)
            response.stream.abort()
        assert isinstance(failures[0], Aborted)
    server.errors.clear()


async def test_a_connection_that_is_aborted_while_it_is_opened() -> None:
    connection: httpcore.AsyncHTTPConnection

    class Aborting(httpcore.AsyncMockBackend):
        async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
            stream = await super().connect_tcp(*args, **options)
            connection.abort()
            return stream

    connection = httpcore.AsyncHTTPConnection(ORIGIN, network_backend=Aborting([OK]))
    with pytest.raises(Aborted):
        await connection.request("GET", "http://a.test/")
    await connection.aclose()


async def test_a_connection_whose_protocol_cannot_be_used() -> None:
    """The stream that was opened for it is closed."""
    backend = httpcore.AsyncMockBackend([OK], http2=False)
    connection = httpcore.AsyncHTTPConnection(
        httpcore.Origin(b"https", b"a.test", 443), http1=False, http2=True, network_backend=backend
    )
    backend.speaks_http2 = False  # type: ignore[attr-defined]
    with pytest.raises(httpcore.ConnectError, match="cannot carry HTTP/2"):
        await connection.request("GET", "https://a.test/")
    await connection.aclose()


async def test_tasks_open_a_connection_one_after_the_other() -> None:
    lock, order = TaskLock(), []

    async def enter(number: int) -> None:
        async with lock:
            order.append(number)
            await anyio.sleep(0.001)

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(enter, number)
            await anyio.sleep(0)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await enter(9)
    async with lock:
        assert order == [0, 1, 2]


async def test_closing_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(httpcore.AsyncMockStream):
        def close(self) -> None:
            raise OSError("it cannot be closed")

    class Waiting(httpcore.AsyncNetworkStream):
        async def aclose(self) -> None:
            raise OSError("it cannot be closed either")

    with caplog.at_level(logging.DEBUG, "httpcore"):
        connection = httpcore.AsyncHTTP11Connection(ORIGIN, Failing([OK]))
        await connection.aclose()
        waiting = httpcore.AsyncHTTP11Connection(ORIGIN, Waiting())
        await waiting.aclose()
    assert not closing.unclosed
    assert connection.is_closed()
    assert waiting.is_closed()
    assert caplog.text.count("cannot be closed") == 2


async def test_what_a_hook_of_the_pool_raises() -> None:
    def hook(name: str, details: dict[str, Any]) -> None:
        if name == "pool.assign":
            raise KeyError(name)

    async with pool_of([OK], trace=hook) as pool:
        with pytest.raises(KeyError, match=r"pool\.assign"):
            await pool.request("GET", "http://a.test/")
        assert pool.stats()["active"] == 0


async def test_the_log_of_a_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "httpcore"):
        async with pool_of([OK, OK]) as pool:
            await pool.request("GET", "http://a.test/")
            await pool.request("GET", "http://a.test/", extensions={"trace": seen})
        async with httpcore.AsyncHTTPConnection(
            ORIGIN, network_backend=httpcore.AsyncMockBackend([OK])
        ) as connection:
            await connection.request("GET", "http://a.test/")
    assert "send_request_headers.started" in caplog.text
    assert "close.complete" in caplog.text


async def seen(name: str, details: dict[str, Any]) -> None:
    pass


async def test_retries_within_a_total(serve: Serve) -> None:
    def busy(peer: Peer) -> None:
        for answer in (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", OK):
            if peer.recv_request() is None:
                return
            peer.send(answer)

    server = serve(busy)
    retries = httpcore.RetryConfig(attempts=1, statuses={503}, backoff=0.001)
    async with httpcore.AsyncConnectionPool(retries=retries) as pool:
        total = {"timeout": {"total": PATIENCE}}
        assert (await pool.request("GET", server.url, extensions=total)).content == b"ok"
    retries = httpcore.RetryConfig(attempts=1, connect=1, backoff=0.001)
    failing = httpcore.AsyncMockBackend([], connects=[httpcore.ConnectError("no")] * 2)
    async with httpcore.AsyncConnectionPool(retries=retries, network_backend=failing) as pool:
        with pytest.raises(httpcore.ConnectError):
            await pool.request("GET", "http://a.test/")


# --- HTTP/2 ---


@pytest.fixture
def h2() -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(http1=False, http2=True)


async def test_informational_responses(serve_h2: ServeH2, h2: httpcore.AsyncConnectionPool) -> None:
    def early(link: Link) -> None:
        def answer(stream: Stream) -> None:
            link.headers(stream.id, [(":status", "103"), ("link", "</a>")])
            stream.respond()

        link.serve(answer)

    server = serve_h2(early)
    found: list[int] = []
    extensions = {"informational": lambda status, headers: found.append(status)}
    async with h2 as pool:
        assert (await pool.request("GET", server.url, extensions=extensions)).status == 200
        assert (await pool.request("GET", server.url)).status == 200
    assert found == [103]


async def test_expecting_to_continue(serve_h2: ServeH2, h2: httpcore.AsyncConnectionPool) -> None:
    server = serve_h2()
    async with h2 as pool:
        headers = {"Expect": "100-continue"}
        url = f"{server.url}/upload"
        response = await pool.request("POST", url, headers=headers, content=b"x" * 100_000)
        assert response.status == 200


async def slow_parts() -> AsyncIterator[bytes]:
    for number in range(20):
        await anyio.sleep(0)
        yield pattern(50_000, number * 50_000)


async def test_an_early_refusal(serve_h2: ServeH2, h2: httpcore.AsyncConnectionPool) -> None:
    server = serve_h2()
    async with h2 as pool:
        for content in (b"x" * 1_000_000, slow_parts()):
            url = f"{server.url}/early/100000"
            response = await pool.request("POST", url, content=content, extensions=PATIENT)
            assert (response.status, response.content) == (413, b"too large")
        assert (await pool.request("GET", server.url, extensions=PATIENT)).status == 200


async def test_an_answer_while_the_request_is_sent(
    serve_h2: ServeH2, h2: httpcore.AsyncConnectionPool
) -> None:
    """A refusal goes to the caller at once; the reads of its body send the rest."""

    def refuse(stream: Stream) -> None:
        stream.head(413)
        stream.on_end = lambda stream: stream.write(b"too large", end=True)

    server = serve_h2(lambda link: link.serve(on_head=refuse))
    async with h2 as pool:
        response = await pool.request("POST", server.url, content=slow_parts(), extensions=PATIENT)
        assert (response.status, response.content) == (413, b"too large")


async def test_a_body_whose_total_is_over(
    serve_h2: ServeH2, h2: httpcore.AsyncConnectionPool
) -> None:
    server = serve_h2()
    async with h2 as pool:
        total = {"timeout": {"total": 0.2}}
        with pytest.raises(httpcore.ReadTimeout, match=r"total of 0\.2 s is over"):
            await pool.request("GET", f"{server.url}/drip/1000", extensions=total)


async def test_a_response_that_is_reset(
    serve_h2: ServeH2, h2: httpcore.AsyncConnectionPool
) -> None:
    def cut(link: Link) -> None:
        def answer(stream: Stream) -> None:
            if stream.path == "/":
                stream.respond()
                return
            stream.head()
            if stream.path == "/body":
                stream.write(b"some")
            stream.reset()

        link.serve(answer)

    server = serve_h2(cut)
    async with h2 as pool:
        for path in ("/body", "/none"):
            with pytest.raises(httpcore.RemoteProtocolError):
                await pool.request("GET", f"{server.url}{path}")
        assert (await pool.request("GET", server.url)).status == 200
        assert server.accepted == 1


async def test_settings_that_do_not_come(serve: Serve) -> None:
    """A second request waits for them, since only one is sent before."""
    server = serve(lambda peer: peer.wait_closed() and None)
    origin = httpcore.URL(server.url).origin
    failures: list[Any] = []

    async def get(connection: httpcore.AsyncHTTPConnection, seconds: float) -> None:
        extensions = {"timeout": {"read": seconds}}
        with pytest.raises(httpcore.ReadTimeout) as caught:
            await connection.request("GET", server.url, extensions=extensions)
        failures.append(caught.value.phase)  # type: ignore[attr-defined]

    async with httpcore.AsyncHTTPConnection(origin, http1=False, http2=True) as connection:
        async with anyio.create_task_group() as group:
            group.start_soon(get, connection, 1.0)
            await anyio.sleep(0.1)
            group.start_soon(get, connection, 0.1)
    assert sorted(failures) == ["maybe_processed", "not_sent"]


async def test_a_connection_that_cannot_be_written_to() -> None:
    class Broken(httpcore.AsyncMockStream):
        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            raise httpcore.WriteTimeout("it takes nothing")

        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            return b""

    async with httpcore.AsyncHTTP2Connection(ORIGIN, Broken([])) as connection:
        with pytest.raises((httpcore.WriteTimeout, httpcore.RemoteProtocolError)):
            await connection.request("GET", "http://a.test/")
        assert not connection.is_available()


async def test_an_interrupted_write_ends_the_connection() -> None:
    """Of a stream of another make nobody knows how much of it went."""

    class Interrupted(httpcore.AsyncMockStream):
        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            await anyio.sleep(PATIENCE)

    async with httpcore.AsyncHTTP2Connection(ORIGIN, Interrupted([])) as connection:
        with anyio.move_on_after(0.01) as scope:
            await connection.request("GET", "http://a.test/")
        assert scope.cancelled_caught
        assert not connection.is_available()


async def test_a_connection_that_has_expired(serve_h2: ServeH2) -> None:
    server = serve_h2()
    origin = httpcore.URL(server.url).origin
    from httpcore._backends.auto import AutoBackend

    stream = await AutoBackend().connect_tcp("127.0.0.1", server.port)
    async with httpcore.AsyncHTTP2Connection(origin, stream, 0.0) as connection:
        assert (await connection.request("GET", server.url)).status == 200
        assert connection.has_expired()
    stream = await AutoBackend().connect_tcp("127.0.0.1", server.port)
    async with httpcore.AsyncHTTP2Connection(origin, stream) as connection:
        await connection.request("GET", server.url)
        link = server.links[-1]
        link.call(lambda: link.goaway(), wait=False)
        with anyio.fail_after(PATIENCE):
            while connection.is_available():
                await anyio.sleep(0.01)
                connection.is_usable(10.0)  # type: ignore[attr-defined]
        with pytest.raises(httpcore.ConnectionNotAvailable):
            await connection.request("GET", server.url)


async def test_retiring_lets_responses_end(
    serve_h2: ServeH2, h2: httpcore.AsyncConnectionPool
) -> None:
    server = serve_h2()
    async with h2 as pool:
        response = await pool.request("GET", f"{server.url}/bytes/300000", stream=True)
        pool.retire()
        assert len(await response.aread()) == 300_000
        assert pool.connections == []


async def test_a_refusal_of_a_connection_by_hand(serve_h2: ServeH2) -> None:
    """Another connection can take the request where the server has retired this one."""

    def retire(link: Link) -> None:
        link.serve(lambda stream: link.goaway(0))

    server = serve_h2(retire)
    origin = httpcore.URL(server.url).origin
    async with httpcore.AsyncHTTPConnection(origin, http1=False, http2=True) as connection:
        with pytest.raises(httpcore.ConnectionNotAvailable):
            await connection.request("GET", server.url)

    def refuse(link: Link) -> None:
        link.serve(lambda stream: stream.reset(Code.REFUSED_STREAM))

    server = serve_h2(refuse)
    origin = httpcore.URL(server.url).origin
    async with httpcore.AsyncHTTPConnection(origin, http1=False, http2=True) as connection:
        with pytest.raises(httpcore.RemoteProtocolError):
            await connection.request("GET", server.url)


async def test_the_parts_of_a_body_are_their_own_iterator() -> None:
    request = httpcore.Request("POST", "http://a.test/", headers={"Host": "a.test"}, content=b"ab")
    request.headers.append((b"Content-Length", b"2"))
    for make in (body_parts, framed_parts):
        prepared = prepare(request)
        parts = make(prepared, PartWatch(prepared))
        assert aiter(parts) is parts
        assert [part async for part in parts] == [b"ab"]


async def test_a_token_that_was_used_before_over_http2(serve_h2: ServeH2) -> None:
    server = serve_h2()
    token = httpcore.CancelToken()
    async with httpcore.AsyncConnectionPool(http1=False, http2=True) as pool:
        await pool.request("GET", server.url, extensions={"cancel": token})
        token.cancel()
        with pytest.raises(Aborted):
            await pool.request("GET", server.url, extensions={"cancel": token})
        assert (await pool.request("GET", server.url, extensions=PATIENT)).status == 200


async def test_a_pause_that_a_token_ends() -> None:
    """A token between two attempts ends the pause, whichever comes first."""
    token = httpcore.CancelToken()
    await token.asleep(0.001)
    token.cancel()
    await token.asleep(PATIENCE)
    assert token.cancelled


# --- what a trace hears, and what ends early ---


@pytest.mark.parametrize("end", ["whole", "cut"])
async def test_the_events_of_a_body_that_comes_late(end: str) -> None:
    """Once that it is being read, and how that went."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
    rest: list[Any] = [b"one", b"two"] if end == "whole" else [b"one", b""]
    events: list[str] = []

    async def trace(name: str, details: dict[str, Any]) -> None:
        if "response_body" in name:
            events.append(name.removeprefix("http11.receive_response_body."))

    async with pool_of([head, *rest]) as pool:
        response = await pool.request(
            "GET", "http://a.test/", stream=True, extensions={"trace": trace}
        )
        if end == "whole":
            assert await response.aread() == b"onetwo"
        else:
            with pytest.raises(httpcore.RemoteProtocolError, match="3 of 6"):
                await response.aread()
    assert events == ["started", "complete" if end == "whole" else "failed"]


async def test_a_body_that_is_cut_while_it_is_read_in_place(serve: Serve) -> None:
    def cut(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n" + bytes(300_000))

    server = serve(cut)
    async with httpcore.AsyncConnectionPool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match="300000 of 600000"):
            await pool.request("GET", server.url, extensions=PATIENT)
        assert pool.connections == []


async def test_an_upgrade_of_a_connection_by_hand() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello"
    stream = httpcore.AsyncMockStream([switch])
    async with httpcore.AsyncHTTP11Connection(ORIGIN, stream) as connection:
        response = await connection.request(
            "GET", "http://a.test/", headers={"Connection": "Upgrade", "Upgrade": "x"}, stream=True
        )
        upgraded = response.extensions["network_stream"]
        assert await upgraded.read(100) == b"hello"
        assert connection.is_closed()
        await response.aclose()


async def test_ending_a_request_that_has_ended() -> None:
    stream = httpcore.AsyncMockStream([OK, OK])
    async with httpcore.AsyncHTTP11Connection(ORIGIN, stream) as connection:
        response = await connection.request("GET", "http://a.test/")
        response.stream.abort()  # no more than that: the connection is not this request's now
        assert (await connection.request("GET", "http://a.test/")).content == b"ok"


async def test_a_request_of_which_nothing_was_sent() -> None:
    broken = httpcore.WriteError("broken pipe")
    broken.phase = "not_sent"  # type: ignore[attr-defined]

    class Broken(httpcore.AsyncMockStream):
        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            raise broken

    async with httpcore.AsyncHTTP11Connection(ORIGIN, Broken([OK])) as connection:
        with pytest.raises(httpcore.WriteError, match="broken pipe") as caught:
            await connection.request("GET", "http://a.test/")
    assert caught.value.phase == "not_sent"  # type: ignore[attr-defined]


# --- connections by hand ---


class Plain(httpcore.AsyncNetworkStream):
    """A stream that can only be closed by waiting."""

    def __init__(self, inside: httpcore.AsyncMockStream, facts: BaseException | None) -> None:
        self.inside = inside
        self.facts = facts
        self.closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self.inside.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self.inside.write(buffer, timeout)

    async def aclose(self) -> None:
        await anyio.sleep(0)
        self.closed = True

    def get_extra_info(self, info: str) -> Any:
        if self.facts is not None:
            raise self.facts


class PlainBackend(httpcore.AsyncMockBackend):
    """Gives one stream like that, whose facts may be a failure."""

    def __init__(self, facts: BaseException | None = None) -> None:
        super().__init__([])
        self.plain = Plain(httpcore.AsyncMockStream([OK, OK]), facts)

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return self.plain


async def test_two_requests_and_the_end_of_a_connection_by_hand() -> None:
    backend = PlainBackend()
    connection = httpcore.AsyncHTTPConnection(ORIGIN, network_backend=backend)
    for _ in range(2):
        assert (await connection.request("GET", "http://a.test/")).content == b"ok"
    await connection.aclose()
    assert backend.plain.closed and connection.is_closed()


async def test_the_end_of_an_http2_connection_whose_stream_has_to_be_awaited() -> None:
    plain = Plain(httpcore.AsyncMockStream([]), None)
    connection = httpcore.AsyncHTTP2Connection(ORIGIN, plain)
    await connection.aclose()
    assert plain.closed and connection.is_closed()


async def test_a_stream_that_nobody_can_use_is_closed() -> None:
    backend = PlainBackend(LookupError("no facts"))
    connection = httpcore.AsyncHTTPConnection(ORIGIN, network_backend=backend)
    with pytest.raises(LookupError, match="no facts"):
        await connection.request("GET", "http://a.test/")
    await connection.aclose()
    assert backend.plain.closed


async def test_a_connection_that_is_aborted_before_it_is_used() -> None:
    backend = httpcore.AsyncMockBackend([OK])
    connection = httpcore.AsyncHTTPConnection(ORIGIN, network_backend=backend)
    connection.abort()
    with pytest.raises(Aborted):
        await connection.request("GET", "http://a.test/")
    await connection.aclose()


async def test_a_task_that_is_cancelled_when_the_lock_is_handed_to_it(tasks: Tasks) -> None:
    lock = TaskLock()

    async def enter() -> None:
        async with lock:
            await checkpoint()

    async with lock:
        waiting = tasks.begin(enter())
        await until(lambda: lock._waiting)
    waiting.cancel()
    await waiting.end()
    assert waiting.cancelled
    with anyio.fail_after(PATIENCE):
        async with lock:
            assert not lock._waiting
