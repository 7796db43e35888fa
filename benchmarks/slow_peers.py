"""Both neighbours of a gateway in a memory check: a client and an upstream, one of them slow.

Owns: sockets, HTTP/1.1 as far as these two speak it, when the receiver reads. Must not know: the
gateway between them, how memory is measured.

The slow one first reads nothing at all, until the other one can send no more: everything on the
way is full then. It goes on at `SLOW_RATE` for a while, and at last as fast as it can, so that a
check ends. Both read whatever comes, without a look at chunks: they count bytes of a body whose
length they know.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Bytes of one send and one receive.
BLOCK = 256 * 1024

#: Seconds in which a sender has sent nothing before it counts as stopped, and those between looks.
_STILL, _LOOK = 0.5, 0.02
#: Seconds for the sender to stop.
_PATIENCE = 10.0
#: Seconds for any one step of either peer.
_TIMEOUT = 60.0

#: Bytes a second of the slow time, and its seconds.
SLOW_RATE, SLOW_SECONDS = 4 * 1024 * 1024, 2.0

_HEAD_END = b"\r\n\r\n"


class PeerError(Exception):
    """Raised for an unexpected message; the text says what came."""


class Upstream:
    """A server that takes one request after the other, each on whatever connection it comes.

    GET / is answered with a small body, GET /body with `size` bytes, POST /sink with a small body
    once `size` bytes have come; these wait for leave to be read.

    Parameters:
        listener: where it accepts.
        size: bytes of the large body.
    """

    def __init__(self, listener: socket.socket, size: int) -> None:
        self.port: int = listener.getsockname()[1]
        #: Bytes of the large body so far.
        self.moved = 0
        #: Set when an upload may be read.
        self.may_read = threading.Event()
        self._listener = listener
        self._size = size
        self._open: set[socket.socket] = set()

    def serve(self) -> None:
        """Accept until the listener is closed."""
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(_TIMEOUT)
            self._open.add(sock)
            threading.Thread(target=self._answer_all, args=(sock,), daemon=True).start()

    def close(self) -> None:
        """End what is under way."""
        self.may_read.set()
        _end(self._listener)
        for sock in list(self._open):
            _end(sock)

    def _answer_all(self, sock: socket.socket) -> None:
        try:
            with sock:
                while (found := read_head(sock)) is not None:
                    self._answer(sock, *found)
        except OSError:
            pass  # the gateway has gone; its client says what is missing
        finally:
            self._open.discard(sock)

    def _answer(self, sock: socket.socket, head: bytes, rest: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path == b"/body":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self._size)
            send_body(sock, self._size, self._count)
            return
        if path == b"/sink":
            self.may_read.wait()
            self._count(len(rest))
            read_body(sock, self._size - len(rest), self._count)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def _count(self, size: int) -> None:
        self.moved += size


@contextmanager
def open_upstream(size: int) -> Iterator[Upstream]:
    """Serve on a free port of the loopback interface, in threads."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        upstream = Upstream(listener, size)
        thread = threading.Thread(target=upstream.serve, daemon=True)
        thread.start()
        try:
            yield upstream
        finally:
            upstream.close()
            thread.join()


def warm_up(port: int) -> None:
    """Send a small request, so that lazy imports are done and a connection is open."""
    with _connect(port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: benchmark\r\n\r\n")
        if _read_until(sock, b"ok")[:12] != b"HTTP/1.1 200":
            raise PeerError("the gateway did not answer with 200")


def download(port: int, upstream: Upstream, size: int) -> tuple[int, int]:
    """Fetch the large body through a gateway, slowly at first.

    Returns:
        How many bytes came, and how many the upstream had sent when it had to stop.
    """
    with _connect(port) as sock:
        sock.sendall(b"GET /body HTTP/1.1\r\nHost: benchmark\r\n\r\n")
        held = _wait_until_still(lambda: upstream.moved)
        found = read_head(sock)
        if found is None or not found[0].startswith(b"HTTP/1.1 200"):
            raise PeerError(f"the answer began with {found!r:.200}")
        moved = _Count(len(found[1]))
        read_body(sock, size - moved.total, moved.add, SLOW_SECONDS)
        return moved.total, held


def upload(port: int, upstream: Upstream, size: int) -> tuple[int, int]:
    """Send the large body through a gateway to an upstream that reads slowly at first.

    Returns:
        How many bytes arrived, and how many the client had sent when it had to stop.
    """
    with _connect(port) as sock:
        head = b"POST /sink HTTP/1.1\r\nHost: benchmark\r\nContent-Length: %d\r\n\r\n"
        sock.sendall(head % size)
        sent = _Count()
        sender = threading.Thread(target=_send_or_end, args=(sock, size, sent.add), daemon=True)
        sender.start()
        held = _wait_until_still(lambda: sent.total)
        upstream.may_read.set()
        answer = _read_until(sock, b"ok")
        sender.join()
        if not answer.startswith(b"HTTP/1.1 200"):
            raise PeerError(f"the answer was {answer!r:.200}")
        return upstream.moved, held


class _Count:
    """A number that another thread watches."""

    def __init__(self, total: int = 0) -> None:
        self.total = total

    def add(self, size: int) -> None:
        self.total += size


def read_head(sock: socket.socket) -> tuple[bytes, bytes] | None:
    """Return a head and what came with it; None where the other side has closed."""
    data = b""
    while _HEAD_END not in data:
        more = sock.recv(BLOCK)
        if not more:
            return None
        data += more
    head, _, rest = data.partition(_HEAD_END)
    return head, rest


def read_body(
    sock: socket.socket, size: int, count: Callable[[int], None], slow: float = SLOW_SECONDS
) -> None:
    """Read `size` bytes, in the first `slow` seconds at `SLOW_RATE`.

    Raises PeerError where fewer come.
    """
    buffer = bytearray(BLOCK)
    begin, missing = time.monotonic(), size
    while missing:
        got = sock.recv_into(buffer, min(missing, BLOCK))
        if not got:
            raise PeerError(f"{missing} of {size} bytes did not come")
        missing -= got
        count(got)
        early = (size - missing) / SLOW_RATE - (time.monotonic() - begin)
        if early > 0 and time.monotonic() - begin < slow:
            time.sleep(min(early, slow))


def send_body(sock: socket.socket, size: int, count: Callable[[int], None]) -> None:
    """Send `size` bytes."""
    block = memoryview(bytes(BLOCK))
    while size:
        sent = sock.send(block[: min(size, BLOCK)])
        size -= sent
        count(sent)


def _send_or_end(sock: socket.socket, size: int, count: Callable[[int], None]) -> None:
    try:
        send_body(sock, size, count)
    except OSError:
        _end(sock)  # the reader of the answer then says what came


def _wait_until_still(count: Callable[[], int]) -> int:
    """Wait until something has been sent and no more is taken; return the bytes sent."""
    deadline = time.monotonic() + _PATIENCE
    last, since = 0, time.monotonic()
    while (now := time.monotonic()) < deadline:
        if (total := count()) != last or not total:
            last, since = total, now
        elif now - since >= _STILL:
            return last
        time.sleep(_LOOK)
    raise PeerError(f"the sender did not stop within {_PATIENCE} seconds: {last} bytes")


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)


def _read_until(sock: socket.socket, end: bytes) -> bytes:
    """Return what comes until it ends so, or until the other side closes."""
    data = b""
    while not data.endswith(end) and (more := sock.recv(BLOCK)):
        data += more
    return data


def _end(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already
