"""The WebSocket connections of clients: pings, fragments, heads that are no handshake.

Owns: when it is read from, with a transport that only writes things down. Must not know: sockets.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from httpcore_gateway._upgrade import AnsweringWebSocket

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PING = b"\x89\x81\0\0\0\0x"
TEXT = b"\x81\x81\0\0\0\0x"


class RecordingTransport(asyncio.Transport):
    """Attributes:
    written: all of it.
    reads: whether reading is not paused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reads = True
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


Play = Callable[[AnsweringWebSocket, RecordingTransport], Any]


def run(play: Play) -> None:
    """Run `play` with a connection whose application accepts and waits for one message."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.Event().wait()

    async def main() -> None:
        config = Config(application, ws="websockets-sansio", lifespan="off", log_config=None)
        config.load()
        state = ServerState()
        transport = RecordingTransport()
        protocol = AnsweringWebSocket(config=config, server_state=state, app_state={})
        protocol.connection_made(transport)
        await play(protocol, transport)
        for task in list(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)
        protocol.connection_lost(None)

    asyncio.run(main())


async def accepted(protocol: AnsweringWebSocket, transport: RecordingTransport) -> None:
    protocol.data_received(HANDSHAKE)
    while not transport.written:
        await asyncio.sleep(0)


@pytest.mark.parametrize("message", [b"", TEXT])
def test_pings_of_a_client_that_reads_nothing(message: bytes) -> None:
    """No more is read until it has taken answers, and its message was taken."""

    async def play(protocol: AnsweringWebSocket, transport: RecordingTransport) -> None:
        await accepted(protocol, transport)
        protocol.data_received(PING)
        assert transport.reads
        protocol.pause_writing()
        assert transport.reads
        protocol.data_received(message + PING)
        assert not transport.reads
        protocol.resume_writing()
        assert transport.reads is not bool(message)

    run(play)


def test_a_client_that_sends_no_pings_is_read_from() -> None:
    """It may have to send before it reads."""

    async def play(protocol: AnsweringWebSocket, transport: RecordingTransport) -> None:
        await accepted(protocol, transport)
        protocol.pause_writing()
        protocol.data_received(TEXT[:3])
        protocol.resume_writing()
        assert transport.reads

    run(play)


@pytest.mark.parametrize("piece", [b"", b"x"])
@pytest.mark.parametrize(("opcode", "kind"), [(b"\x01", "text"), (b"\x02", "bytes")])
def test_a_message_of_many_pieces(opcode: bytes, kind: str, piece: bytes) -> None:
    """It takes no more memory than its bytes."""
    count = 20_000
    size = bytes([0x80 | len(piece)])
    more = b"\x00" + size + bytes(4) + piece

    async def play(protocol: AnsweringWebSocket, transport: RecordingTransport) -> None:
        await accepted(protocol, transport)
        tracemalloc.start()
        try:
            for _ in range(2):
                protocol.data_received(opcode + more[1:])
                for _ in range(count // 100):
                    protocol.data_received(more * 100)
                kept = tracemalloc.get_traced_memory()[0]
                assert kept < 4 * count, kept
                protocol.data_received(b"\x80" + more[1:])
                message = await protocol.receive()
                whole = piece * (count + 2)
                assert message.get(kind) == (whole.decode() if kind == "text" else whole)
        finally:
            tracemalloc.stop()

    run(play)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HANDSHAKE.replace(b"Host: a", b"Host : a"), b"400"),
        (HANDSHAKE.replace(b"Host: a", b"Host: " + b"a" * 9000), b"431"),
        (HANDSHAKE.replace(b"Host: a", b"X: a\r\n" * 200), b"431"),
    ],
)
def test_a_head_that_is_no_handshake(head: bytes, status: bytes) -> None:
    async def play(protocol: AnsweringWebSocket, transport: RecordingTransport) -> None:
        protocol.data_received(head)
        assert transport.closed
        assert transport.written.startswith(b"HTTP/1.1 " + status)
        protocol.data_received(b"x")

    run(play)
