"""Bodies of a gigabyte, and servers that refuse them after the first 64 KiB.

Owns: those. Must not know: the packages under test.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from tests.support.servers import Peer

GIB = 1024 * 1024 * 1024


class Endless(io.RawIOBase):
    """A file of one GiB that takes no memory; counts what was read of it."""

    def __init__(self) -> None:
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        size = min(size, GIB - self.given)
        self.given += size
        return bytes(size)


class Parts:
    """The same as an iterable."""

    def __init__(self) -> None:
        self.given = 0

    def __iter__(self) -> Iterator[bytes]:
        block = bytes(65536)
        for _ in range(GIB // len(block)):
            self.given += len(block)
            yield block


class AsyncParts:
    """The same as an asynchronous iterator; not a generator, which somebody would have to close."""

    def __init__(self) -> None:
        self.given = 0

    def __aiter__(self) -> AsyncParts:
        return self

    async def __anext__(self) -> bytes:
        if self.given == GIB:
            raise StopAsyncIteration
        self.given += 65536
        return bytes(65536)


ANSWER = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n%b\r\ntoo large"


def refuse_and_close(peer: Peer) -> None:
    peer.recv_head()
    peer.recv_exactly(65536)
    peer.send(ANSWER % b"Connection: close\r\n")


def refuse_and_reset(peer: Peer) -> None:
    peer.recv_head()
    peer.recv_exactly(65536)
    peer.send(ANSWER % b"Connection: close\r\n")
    peer.reset()


def refuse_and_stop_reading(peer: Peer) -> None:
    peer.recv_head()
    peer.recv_exactly(65536)
    peer.send(ANSWER % b"")
    peer.server.event().wait(20)


def refuse_and_read_on(peer: Peer) -> None:
    """As servers do that want to be able to reuse the connection."""
    peer.recv_head()
    peer.recv_exactly(65536)
    peer.send(ANSWER % b"")
    peer.wait_closed()
