"""A link with delay in a process of its own: what goes in at one end comes out later at the other.

Started by its path with the port to connect to, the seconds that each way takes and the bytes a
second that it carries each way (0: as many as come); prints its own port as JSON and ends when
its standard input does. On a real interface this takes root; here it needs nothing. It ends the
TCP connections of both sides, so their windows and their slow start see no delay: what is
measured is only what the protocol above them makes of it.

Owns: when a byte may go on. Must not know: what the bytes mean, this package.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections import deque

#: Bytes of one receive: large enough that the interpreter is not what limits the rate.
BLOCK = 256 * 1024

#: Bytes on the way at most: 64 MiB in 25 ms are 2.6 GB/s, more than loopback gives. Beyond it
#: the sender has to wait, as it would when the receiver does not keep up.
CAPACITY = 64 * 1024 * 1024


class _Way:
    """One direction of one connection. Two threads: one puts blocks in, one takes them out."""

    def __init__(
        self, source: socket.socket, target: socket.socket, delay: float, rate: float
    ) -> None:
        self._source = source
        self._target = target
        self._delay = delay
        self._rate = rate
        self._free_at = 0.0  # when the last block has been put on the line
        self._changed = threading.Condition()
        self._blocks: deque[tuple[float, bytes]] = deque()
        self._size = 0

    def start(self) -> None:
        for work in (self._fill, self._drain):
            threading.Thread(target=work, daemon=True).start()

    def _fill(self) -> None:
        block = b"?"
        while block:
            try:
                block = self._source.recv(BLOCK)
            except OSError:
                block = b""
            due = self._put_on_line(len(block)) + self._delay
            with self._changed:
                while self._size > CAPACITY:
                    self._changed.wait()
                self._blocks.append((due, block))
                self._size += len(block)
                self._changed.notify_all()

    def _put_on_line(self, size: int) -> float:
        """When the last byte of a block that has come now can leave."""
        now = time.monotonic()
        if self._rate:
            self._free_at = now = max(now, self._free_at) + size / self._rate
        return now

    def _drain(self) -> None:
        """Send on what is due, until the empty block that says that the source has ended."""
        try:
            while data := self._due():
                self._target.sendall(data)
            self._target.shutdown(socket.SHUT_WR)
        except OSError:
            # Who should get it has gone: end the source too, and let nobody wait for room.
            _end(self._source)
            with self._changed:
                self._blocks.clear()
                self._size = 0
                self._changed.notify_all()

    def _due(self) -> bytes:
        """Wait for a block and for its time; all that are due then, in one piece."""
        with self._changed:
            while not self._blocks:
                self._changed.wait()
            first = self._blocks[0][0]
        if (early := first - time.monotonic()) > 0:
            time.sleep(early)
        pieces: list[bytes] = []
        now = time.monotonic()
        with self._changed:
            # An empty block stays until it is alone: it has to come out as one of its own.
            while self._blocks and self._blocks[0][0] <= now:
                if not self._blocks[0][1] and pieces:
                    break
                pieces.append(self._blocks.popleft()[1])
            data = b"".join(pieces)
            self._size -= len(data)
            self._changed.notify_all()
        return data


def _end(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already


def _accept(listener: socket.socket, port: int, delay: float, rate: float) -> None:
    while True:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", port))
        except OSError:
            near.close()
            continue
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _Way(near, far, delay, rate).start()
        _Way(far, near, delay, rate).start()


def main() -> None:
    port, delay, rate = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, port, delay, rate), daemon=True).start()
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    sys.stdin.read()
    os._exit(0)  # the threads hold nothing that needs an orderly end


if __name__ == "__main__":
    main()
