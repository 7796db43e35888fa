"""A scripted stream, HTTP/1.1 messages for it, far ends of streams, and a hook that notes what is
traced.

Owns: those. Must not know: private parts of the packages, but for the script of a `MockStream`.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
from tests.support import PATIENCE
from tests.support.servers import Peer

ORIGIN = httpcore.Origin(b"http", b"example.com", 80)
URL = "http://example.com/path"
HOST = (b"Host", b"example.com")
UPGRADE = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
HEAD = ("http11.receive_response_headers.complete", ["return_value"])
BODY_STARTED = ("http11.receive_response_body.started", ["request"])
BODY_COMPLETE = ("http11.receive_response_body.complete", ["return_value"])
RESPONSE_CLOSED = [
    ("http11.response_closed.started", []),
    ("http11.response_closed.complete", ["return_value"]),
]


class Script(httpcore.NetworkStream):
    """A stream that plays back a list and notes what is done to it.

    `reads`: bytes are given out, at most as many at a time as were asked for; ``b""`` is the end;
    an exception is raised; a function is called and its answer taken. When the list is empty, a
    read that waits is a mistake of the test, and one that does not wait times out.
    `writes`: for each write in order, an exception to raise or None.
    """

    def __init__(
        self,
        reads: Iterable[bytes | BaseException | Callable[[], bytes]] = (),
        writes: Iterable[BaseException | None] = (),
    ) -> None:
        self.reads = list(reads)
        self.writes = list(writes)
        self.written: list[bytes] = []
        self.timeouts: list[tuple[str, float | None]] = []
        self.closed = False
        self.readable: bool | None = False
        self.tls_started = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.timeouts.append(("read", timeout))
        if self.closed:
            raise httpcore.ReadError("closed")
        if not self.reads:
            assert timeout == 0, "a read that would wait for ever"
            raise httpcore.ReadTimeout("nothing there")
        step = self.reads.pop(0)
        if isinstance(step, BaseException):
            raise step
        data = step if isinstance(step, bytes) else step()
        if len(data) > max_bytes:
            self.reads.insert(0, data[max_bytes:])
        return data[:max_bytes]

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.timeouts.append(("write", timeout))
        error = self.writes.pop(0) if self.writes else None
        if error is not None:
            raise error
        self.written.append(bytes(buffer))

    def close(self) -> None:
        self.closed = True

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        self.tls_started = True
        return self

    def get_extra_info(self, info: str) -> Any:
        return self.readable if info == "is_readable" else None


class ReadsInto(Script):
    """A stream that can also read straight into a buffer, as the real one."""

    def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        data = self.read(len(buffer), timeout)
        buffer[: len(data)] = data
        return len(data)


def connect(
    *reads: bytes | BaseException | Callable[[], bytes], **options: Any
) -> tuple[httpcore.HTTP11Connection, Script]:
    stream = Script(reads)
    return httpcore.HTTP11Connection(ORIGIN, stream, **options), stream


def send(
    connection: httpcore.HTTP11Connection,
    method: str = "GET",
    headers: Iterable[tuple[bytes, bytes]] = (),
    content: Any = None,
    **extensions: Any,
) -> httpcore.Response:
    """One request as it is, without the headers that `request` would add (but Host)."""
    request = httpcore.Request(
        method, URL, headers=[HOST, *headers], content=content, extensions=extensions
    )
    return connection.handle_request(request)


def ok(body: bytes = b"", *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"", body])


def length(body: bytes, announced: int | None = None) -> bytes:
    """A response with Content-Length."""
    size = len(body) if announced is None else announced
    return ok(body, b"Content-Length: %d" % size)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return ok(body + end, b"Transfer-Encoding: chunked")


def one_by_one(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def content_length(size: int) -> tuple[bytes, bytes]:
    return (b"Content-Length", b"%d" % size)


def sent(stream: Script) -> bytes:
    return b"".join(stream.written).partition(b"\r\n\r\n")[2]


def write_error(phase: str = "maybe_processed") -> httpcore.WriteError:
    error = httpcore.WriteError("broken pipe")
    error.phase = phase
    return error


class Trace:
    """Notes events: names with the keys of their payload, and the payloads."""

    def __init__(self) -> None:
        self.events: list[tuple[str, list[str]]] = []
        self.payloads: dict[str, Any] = {}

    def __call__(self, name: str, info: dict[str, Any]) -> None:
        self.events.append((name, sorted(info)))
        self.payloads[name] = info


class MockEnd:
    """The far end of a mock stream: its script, and what was written."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def send(self, data: bytes) -> None:
        self.stream._buffer.append(data)

    def recv_exactly(self, size: int) -> bytes:
        written = b"".join(self.stream.written)
        assert len(written) == size
        return written

    def close(self) -> None:
        """Nothing: its script ends by itself."""


class Puppet:
    """A server whose connections are used by the test itself."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self._came = threading.Semaphore(0)

    def __call__(self, peer: Peer) -> None:
        done = peer.server.event()
        self.peers.append(peer)
        self._came.release()
        done.wait()

    def peer(self) -> Peer:
        assert self._came.acquire(timeout=PATIENCE)
        return self.peers.pop()
