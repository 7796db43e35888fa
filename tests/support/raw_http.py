"""What tests of the gateway's process and of its server share: an upstream that waits, raw sockets.

Owns: reading from sockets without a client's rules. Must not know: the gateway.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.support.servers import Answer, LocalServer

# Seconds for anything that takes a fraction of one; reached only by a broken test.
WAIT = 30


class Waiting(LocalServer):
    """An upstream whose ``/wait`` sends one byte, and the rest when `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = self.event()

    def _answer(self, answer: Answer) -> None:
        if answer.request.path == "/wait":
            answer.send(200, self._parts(), [("Content-Type", "text/plain")])
        else:
            super()._answer(answer)

    def _parts(self) -> Iterator[bytes]:
        yield b"1"
        self.go.wait(WAIT)
        yield b"2"


def ask(sock: socket.socket, path: str) -> None:
    sock.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: a\r\n\r\n")


def read_all(sock: socket.socket) -> bytes:
    """Return what comes until the other end closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            data += part
    return data


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        part = sock.recv(65536)
        assert part, data
        data += part
    return data


def until_refused(port: int) -> None:
    """Wait until nothing listens there."""
    for _ in range(WAIT * 100):
        with socket.socket() as sock:
            sock.settimeout(WAIT)
            if sock.connect_ex(("127.0.0.1", port)):
                return
        threading.Event().wait(0.01)
    raise AssertionError("it still listens")
