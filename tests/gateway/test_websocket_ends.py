"""How a WebSocket ends where servers differ, and in moments that a real one does not hit each time.

Owns: what the gateway does when the ASGI server's `receive` and `send` fail, block or say the end
late. A scripted ASGI server in this process stands in front, real servers on loopback behind. Must
not know: what real servers do (``test_websocket``).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import httpcore
from httpcore_gateway import Gateway, Upstream, _websocket
from tests.support import PATIENCE
from tests.support.gateways import Kept, make_settings
from tests.support.loops import ASYNCIO
from tests.support.servers import Peer, Serve, closed_port
from tests.support.tasks import until
from tests.support.web_sockets import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    accept_key,
    close_frame,
    frame,
    read_frame,
    upgrade,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ASYNCIO)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def make(anyio_backend: Any) -> AsyncIterator[Callable[..., Kept]]:
    """`make(*upstreams, ...)` makes a gateway that is closed with the test, and then has nothing
    under way."""
    made: list[Kept] = []

    def make(*upstreams: Any, **options: Any) -> Kept:
        made.append(Kept(make_settings(*upstreams, **options)))
        return made[-1]

    yield make
    for gateway in made:
        stats = gateway.stats()
        assert stats["in_flight"] == {"http": 0, "websocket": 0}
        assert [each["active"] for each in stats["upstreams"]] == [0] * len(gateway.targets)
        await gateway.aclose()
    left = [task for task in asyncio.all_tasks() if "httpcore_gateway" in repr(task)]
    assert not left


Make = Callable[..., Kept]


class FakeServer:
    """The ASGI server and its client, for one WebSocket.

    Parameters:
        fails_at: the type of message whose `send` raises; that may be left to `fail`.
        blocks_at: the type of message whose `send` does not return.

    Attributes:
        sent: the messages that the gateway has sent.
    """

    def __init__(self, *, fails_at: str = "", blocks_at: str = "", extension: bool = True) -> None:
        self.scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"a.test")],
            "subprotocols": [],
            "client": ("192.0.2.1", 1234),
            "extensions": {"websocket.http.response": {}} if extension else {},
        }
        self.sent: list[Any] = []
        self.fails_at, self.blocks_at = fails_at, blocks_at
        self._incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.give({"type": "websocket.connect"})

    def give(self, message: Any) -> None:
        """Let `receive` return a message, or raise an exception."""
        self._incoming.put_nowait(message)

    def leave(self, code: int = 1006) -> None:
        self.give({"type": "websocket.disconnect", "code": code})

    async def receive(self) -> Any:
        message = await self._incoming.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def send(self, message: Any) -> None:
        if message["type"] == self.fails_at:
            raise OSError("the client is gone")
        self.sent.append(message)
        if message["type"] == self.blocks_at:
            await asyncio.get_running_loop().create_future()

    def has_sent(self, kind: str) -> bool:
        return any(message["type"] == kind for message in self.sent)

    async def call(self, gateway: Gateway) -> None:
        await asyncio.wait_for(gateway(self.scope, self.receive, self.send), PATIENCE)


def until_closed(frames: list[tuple[int, bytes]], *first: bytes) -> Callable[[Peer], None]:
    """Return a handler that opens a WebSocket, sends `first`, and notes what comes then."""

    def handler(peer: Peer) -> None:
        upgrade(peer)
        for data in first:
            peer.send(data)
        while True:
            frames.append(read_frame(peer))

    return handler


# --- before it is open ---


async def test_a_client_that_is_gone_at_once(make: Make) -> None:
    gateway, fake = make(f"http://127.0.0.1:{closed_port()}"), FakeServer()
    fake.scope["subprotocols"] = None
    await fake.receive()
    fake.leave()
    await fake.call(gateway)
    assert gateway.record.client_left and gateway.record.attempts == 0 and not fake.sent


@pytest.mark.parametrize(
    ("fails_at", "extension"),
    [
        ("websocket.http.response.start", True),
        ("websocket.http.response.body", True),
        ("websocket.close", False),
    ],
)
async def test_a_client_that_is_gone_when_it_is_refused(
    fails_at: str, extension: bool, make: Make
) -> None:
    gateway = make(f"http://127.0.0.1:{closed_port()}")
    await FakeServer(fails_at=fails_at, extension=extension).call(gateway)
    assert gateway.record.client_left and gateway.record.status == 0
    assert gateway.record.kind == "connect_error"


async def test_a_client_that_is_gone_when_it_is_accepted(make: Make, serve: Serve) -> None:
    frames: list[Any] = []
    server = serve(until_closed(frames))
    gateway = make(server.url)
    await FakeServer(fails_at="websocket.accept").call(gateway)
    assert gateway.record.client_left
    await until(lambda: server.open == 0 and server.accepted == 1)
    assert frames == []  # a connection that is lost: nobody has said why


async def test_a_client_that_leaves_in_the_middle_of_a_refusal(make: Make, serve: Serve) -> None:
    begun, ended = threading.Event(), threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_request_head()
        peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nbeginning")
        begun.set()
        peer.wait_closed()
        ended.set()

    gateway, fake = make(serve(handler).url), FakeServer()
    call = asyncio.ensure_future(fake.call(gateway))
    await until(begun.is_set)
    fake.leave()
    await call
    await until(ended.is_set)
    assert gateway.record.client_left and not fake.sent


async def test_a_status_that_no_server_can_send(make: Make, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request_head()
        peer.respond(600, b"")

    gateway, fake = make(serve(handler).url), FakeServer()
    await fake.call(gateway)
    assert fake.sent[0]["status"] == 502
    assert gateway.record.kind == "bad_response" and "600" in gateway.record.failure


async def test_a_cancellation_during_the_handshake(make: Make, serve: Serve) -> None:
    asked = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_request_head()
        asked.set()
        peer.wait_closed()

    server = serve(handler)
    gateway, fake = make(server.url), FakeServer()
    call = asyncio.ensure_future(fake.call(gateway))
    await until(asked.is_set)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: server.open == 0)
    assert gateway.record.kind == "cancelled"


async def test_scheme_and_certificate_are_those_of_http(make: Make, serve: Serve) -> None:
    requests = []

    def handler(peer: Peer) -> None:
        requests.append(upgrade(peer))
        peer.send(close_frame(1000))
        read_frame(peer)

    gateway = make(serve(handler).url)
    await FakeServer().call(gateway)
    assert requests[0].header("x-forwarded-proto") == b"https"


# --- while it is open ---


async def test_a_client_that_takes_no_message_and_says_why_later(make: Make, serve: Serve) -> None:
    frames: list[Any] = []
    server = serve(until_closed(frames, frame(TEXT, b"hello")))
    gateway, fake = make(server.url), FakeServer()
    send = fake.send

    async def fail(message: Any) -> None:
        if message["type"] == "websocket.send":
            asyncio.get_running_loop().call_later(0.01, fake.leave, 4001)
            raise OSError("the client is gone")
        await send(message)

    fake.send = fail  # type: ignore[method-assign]
    await fake.call(gateway)
    await until(lambda: server.open == 0)
    assert frames == [(CLOSE, b"\x0f\xa1")]
    assert gateway.record.sent == 0


async def test_a_client_that_takes_no_message_and_never_says_why(make: Make, serve: Serve) -> None:
    frames: list[Any] = []
    server = serve(until_closed(frames, frame(TEXT, b"hello")))
    gateway = make(server.url)
    await FakeServer(fails_at="websocket.send").call(gateway)
    await until(lambda: server.open == 0)
    assert frames == [] and gateway.record.client_left


async def test_a_server_whose_receive_fails(make: Make, serve: Serve) -> None:
    frames: list[Any] = []
    server = serve(until_closed(frames))
    gateway, fake = make(server.url), FakeServer()
    call = asyncio.ensure_future(fake.call(gateway))
    await until(lambda: fake.has_sent("websocket.accept"))
    fake.give(RuntimeError("the server is broken"))  # to the call that looks whether it is there
    await call
    assert gateway.record.client_left
    gateway.records.clear()
    fake = FakeServer()
    fake.give({"type": "websocket.receive", "text": "x"})
    fake.give(RuntimeError("the server is broken"))
    with pytest.raises(RuntimeError):
        await fake.call(gateway)
    assert fake.sent[-1] == {"type": "websocket.close", "code": 1011, "reason": ""}
    assert gateway.record.kind == "other" and "broken" in gateway.record.failure
    await until(lambda: server.open == 0)
    assert frames == [(TEXT, b"x"), (CLOSE, b"\x03\xf3")]


async def test_a_client_that_does_not_take_the_close(
    make: Make, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_websocket, "CLIENT_CLOSE_WAIT", 0.2)
    server = serve(until_closed([], close_frame(1000)))
    gateway, fake = make(server.url), FakeServer(blocks_at="websocket.close")
    call = asyncio.ensure_future(fake.call(gateway))
    await until(lambda: server.accepted and not server.open)
    # The upstream is let go before the client is given up.
    assert [target.active for target in gateway.targets] == [0]
    assert not call.done()
    await call
    assert gateway.record.failure == ""


async def test_an_upstream_that_does_not_answer_a_close(make: Make, serve: Serve) -> None:
    frames: list[Any] = []

    def handler(peer: Peer) -> None:
        upgrade(peer)
        frames.append(read_frame(peer))
        frames.append(peer.wait_closed())

    gateway, fake = make(serve(handler).url), FakeServer()
    call = asyncio.ensure_future(fake.call(gateway))
    await until(lambda: fake.has_sent("websocket.accept"))
    fake.leave(1001)
    await call
    await until(lambda: len(frames) == 2)
    assert frames == [(CLOSE, b"\x03\xe9"), b""]


async def test_an_upstream_that_sends_on_after_a_close(make: Make, serve: Serve) -> None:
    ended = threading.Event()

    def handler(peer: Peer) -> None:
        upgrade(peer)
        try:
            while True:
                peer.send(frame(BINARY, bytes(1000)))
        finally:
            ended.set()

    gateway, fake = make(serve(handler).url), FakeServer()
    call = asyncio.ensure_future(fake.call(gateway))
    await until(lambda: fake.has_sent("websocket.send"))
    fake.leave(1000)
    await call
    await until(ended.is_set)


async def test_a_cancellation_while_the_client_takes_nothing(make: Make, serve: Serve) -> None:
    frames: list[Any] = []
    server = serve(until_closed(frames, frame(TEXT, b"hello")))
    gateway, fake = make(server.url), FakeServer(blocks_at="websocket.send")
    call = asyncio.ensure_future(fake.call(gateway))
    await until(lambda: fake.has_sent("websocket.send"))
    fake.blocks_at = "websocket.close"
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: server.open == 0)
    assert frames == [(CLOSE, b"\x03\xf4the gateway stops")]
    assert gateway.record.kind == "cancelled"


async def test_the_upstream_may_close_the_connection_first(
    make: Make, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_websocket, "CLOSE_WAIT", PATIENCE)
    seen: list[Any] = []

    def handler(peer: Peer) -> None:
        upgrade(peer)
        seen.append(read_frame(peer))
        peer.sock.settimeout(0.1)
        try:
            seen.append(peer.recv(1))
        except TimeoutError:
            seen.append("still open")

    gateway, fake = make(serve(handler).url), FakeServer()
    call = asyncio.ensure_future(fake.call(gateway))
    await until(lambda: fake.has_sent("websocket.accept"))
    fake.leave(1000)
    await call
    assert seen == [(CLOSE, b"\x03\xe8"), "still open"]


async def test_pings_that_come_while_an_answer_is_sent(make: Make, serve: Serve) -> None:
    """The connection breaks while answers wait: the task that reads says so."""
    stopped = threading.Event()

    def handler(peer: Peer) -> None:
        upgrade(peer)
        for _ in range(3):
            peer.send(frame(PING, bytes(125)))
        assert peer.recv(1)
        stopped.set()
        peer.reset()

    gateway, fake = make(serve(handler).url), FakeServer()
    await fake.call(gateway)
    assert fake.sent[-1]["code"] == 1014
    assert stopped.is_set() and gateway.record.kind == "broken_response"


class BrokenStream:
    """A connection that takes nothing more; what has come before can be read, and then it is silent
    or ends.

    Parameters:
        parts: what can be read, when a write has failed.
        takes: how many writes do not fail.
        blocks: writes wait for ever in place of that.

    Attributes:
        writes: what was to be written.
    """

    def __init__(self, *parts: bytes, takes: int = 0, blocks: bool = False) -> None:
        self.writes: list[bytes] = []
        self._parts = list(parts)
        self._takes = takes
        self._blocks = blocks
        self._failed = asyncio.Event()
        self.closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await self._failed.wait()
        if not self._parts:
            await asyncio.get_running_loop().create_future()
        return self._parts.pop(0)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.writes.append(buffer)
        if self._blocks:
            await asyncio.get_running_loop().create_future()
        if len(self.writes) > self._takes:
            self._failed.set()
            raise httpcore.WriteError("broken pipe")

    async def aclose(self) -> None:
        self.closed = True


class UpgradingPool:
    """A pool whose only response is a 101 with `stream`."""

    def __init__(self, stream: BrokenStream) -> None:
        self._stream = stream

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        key = dict(request.headers)[b"sec-websocket-key"]
        fields = [(b"Upgrade", b"websocket"), (b"Sec-WebSocket-Accept", accept_key(key))]
        extensions = {"network_stream": self._stream, "http_version": b"HTTP/1.1"}
        return httpcore.Response(101, headers=fields, extensions=extensions)


async def serve_over(stream: BrokenStream, gateway: Kept, *messages: Any) -> FakeServer:
    """Serve a WebSocket whose upstream is at the other end of `stream`."""
    [target] = gateway.targets
    pool, target.pool = target.pool, UpgradingPool(stream)
    fake = FakeServer()
    for message in messages:
        fake.give(message)
    await fake.call(gateway)
    target.pool = pool
    assert stream.closed
    return fake


MESSAGE = {"type": "websocket.receive", "bytes": b"x"}
SILENT = "http://127.0.0.1:1"


async def test_the_last_words_of_an_upstream_that_takes_nothing_more(make: Make) -> None:
    """It has closed the WebSocket, and then the connection: a message crosses that."""
    gateway = make(SILENT)
    fake = await serve_over(BrokenStream(close_frame(4000, b"why")), gateway, MESSAGE)
    assert fake.sent[-1] == {"type": "websocket.close", "code": 4000, "reason": "why"}
    assert gateway.record.failure == ""


async def test_an_upstream_that_takes_nothing_more_and_says_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_websocket, "LAST_WORDS", 0.01)
    gateway = make(SILENT)
    fake = await serve_over(BrokenStream(), gateway, MESSAGE)
    assert fake.sent[-1]["code"] == 1014
    assert gateway.record.failure == "WriteError: broken pipe"


async def test_a_client_that_leaves_when_the_upstream_takes_nothing_more(make: Make) -> None:
    gateway = make(SILENT)
    end = {"type": "websocket.disconnect", "code": 1000}
    fake = await serve_over(BrokenStream(takes=1), gateway, MESSAGE, end)
    assert [message["type"] for message in fake.sent] == ["websocket.accept"]
    assert gateway.record.failure == ""


async def test_nothing_is_said_in_the_middle_of_a_frame(make: Make) -> None:
    gateway, stream = make(SILENT), BrokenStream(blocks=True)
    end = {"type": "websocket.disconnect", "code": 1000}
    await serve_over(stream, gateway, MESSAGE, end)
    assert len(stream.writes) == 1 and len(stream.writes[0]) == 7, "the message, and no Close"
    assert gateway.record.failure == ""


async def test_each_upstream_that_speaks_http2_has_a_pool_for_http1(make: Make) -> None:
    gateway = make(Upstream("https://127.0.0.1:1", http2=True), "http://127.0.0.1:1")
    second, plain = gateway.targets
    assert second.http1_pool is second.http1_pool is not second.pool
    assert plain.http1_pool is plain.pool
