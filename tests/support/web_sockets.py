"""WebSockets for the tests: servers and clients by `websockets`, and the bytes of frames.

Owns: a server in threads, clients, frames by hand for what no library sends. Must not know: the
packages under test.
Sources: websockets.readthedocs.io (the modules `websockets.sync`), RFC 6455 sections 4.2.2 and 5.2.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import websockets.sync.client
import websockets.sync.server
from websockets.sync.client import ClientConnection
from websockets.sync.server import ServerConnection

from tests.support import PATIENCE
from tests.support.servers import Peer, ReceivedRequest

#: Seconds that a library waits for the other side's Close; reached only by a broken test.
CLOSE_TIMEOUT = 5.0
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

WebSocketHandler = Callable[[ServerConnection], None]


class WebSocketServer:
    """Runs `handler(connection)` in a thread of its own for each WebSocket.

    Parameters:
        options: those of `websockets.sync.server.serve`.

    Attributes:
        connections: those that were opened, in their order.
        ended: the same, when their handlers have returned.
        port, url: where it listens.
    """

    def __init__(self, handler: WebSocketHandler, **options: Any) -> None:
        self.connections: list[ServerConnection] = []
        self.ended: list[ServerConnection] = []
        self._handler = handler
        scheme = "https" if options.get("ssl") is not None else "http"
        options = {"close_timeout": CLOSE_TIMEOUT, "max_size": None, **options}
        self._server = websockets.sync.server.serve(self._run, "127.0.0.1", 0, **options)
        self.port: int = self._server.socket.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._threads: list[threading.Thread] = []
        self._serving = threading.Thread(target=self._server.serve_forever, name="websockets")

    def _run(self, connection: ServerConnection) -> None:
        self._threads.append(threading.current_thread())
        self.connections.append(connection)
        try:
            self._handler(connection)
        except websockets.exceptions.ConnectionClosed:
            pass
        finally:
            connection.close()
            self.ended.append(connection)

    def __enter__(self) -> WebSocketServer:
        self._serving.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._serving.join(PATIENCE)
        for connection in self.connections:
            connection.close_socket()
        for thread in self._threads:
            thread.join(PATIENCE)


def echo(connection: ServerConnection) -> None:
    """Send back what comes, until the client ends."""
    for message in connection:
        connection.send(message)


@contextmanager
def connect(port: int, path: str = "/", **options: Any) -> Iterator[ClientConnection]:
    """Open a WebSocket to a server on this machine; closed at the end of the block."""
    scheme = "wss" if options.get("ssl") is not None else "ws"
    options = {
        "proxy": None,
        "open_timeout": PATIENCE,
        "close_timeout": CLOSE_TIMEOUT,
        "max_size": None,
        "compression": None,
        **options,
    }
    url = f"{scheme}://127.0.0.1:{port}{path}"
    with websockets.sync.client.connect(url, **options) as connection:
        yield connection


def closing(connection: ClientConnection) -> tuple[int | None, str]:
    """Read until the WebSocket is closed; return the code and the reason that the server sent,
    None and nothing where it sent none."""
    try:
        while True:
            connection.recv(timeout=PATIENCE)
    except websockets.exceptions.ConnectionClosed as exc:
        return (None, "") if exc.rcvd is None else (exc.rcvd.code, exc.rcvd.reason)


def handshake(port: int, fields: str = "", path: str = "/") -> socket.socket:
    """Send the request for a WebSocket, and return the socket: nothing was read yet."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"{fields}\r\n".encode("latin-1")
    )
    return sock


def accept_key(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def upgrade(peer: Peer, **changes: str | None) -> ReceivedRequest:
    """Read the request for a WebSocket and answer 101.

    Parameters:
        changes: fields that are different, underscores for hyphens; None for left out.
    """
    request = peer.recv_request_head()
    assert request is not None
    key = request.header("sec-websocket-key") or b""
    fields: dict[str, str | None] = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-accept": accept_key(key).decode("ascii"),
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    head = "HTTP/1.1 101 Switching Protocols\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    peer.send(head.encode("latin-1") + b"\r\n")
    return request


def frame(opcode: int, payload: bytes = b"", *, end: bool = True, mask: bytes = b"") -> bytes:
    """Return a frame."""
    length = len(payload)
    first = bytes([opcode | (0x80 if end else 0)])
    masked = 0x80 if mask else 0  # the bit that says so
    if length < 126:
        head = first + bytes([length | masked])
    elif length < 65536:
        head = first + bytes([126 | masked]) + length.to_bytes(2, "big")
    else:
        head = first + bytes([127 | masked]) + length.to_bytes(8, "big")
    return head + mask + (masked_with(payload, mask) if mask else payload)


def masked_with(payload: bytes, mask: bytes) -> bytes:
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(key), "big")


def read_frame(peer: Peer) -> tuple[int, bytes]:
    """Return opcode and payload of a frame that a client has sent: a whole one, with a mask."""
    first, second = peer.recv_exactly(2)
    assert first & 0x80 and second & 0x80, "a client's frame has a mask, and these are whole"
    length = second & 0x7F
    if length > 125:
        length = int.from_bytes(peer.recv_exactly(2 if length == 126 else 8), "big")
    mask = peer.recv_exactly(4)
    return first & 0x0F, masked_with(peer.recv_exactly(length), mask)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)
