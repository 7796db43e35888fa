"""Real HTTP servers on loopback, for the tests and the demo.

Owns: accepting, one thread per connection, reading requests, writing answers, ending without a
leaked thread or socket. Must not know: httpcore, requests, or any HTTP library. What comes in is
read by a few lines of its own, so a mistake shared with the client under test cannot hide.
Sources: RFC 9112 (framing), RFC 7616 (digest authentication).

Two servers:

- `ScriptedServer(handler)` calls `handler(peer)` once per connection; the handler decides byte by
  byte what the client sees.
- `LocalServer()` is a plain keep-alive server with routes; `LocalServer.__doc__` lists them.

Both are context managers. Leaving one closes every socket and joins every thread; a handler that is
blocked in a read is woken by that, and one that waits on an event is woken if the event came from
`server.event()`.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import gzip
import hashlib
import json
import os
import random
import re
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

Handler = Callable[["Peer"], None]
HeaderPairs = Iterable[tuple["bytes | str", "bytes | str"]]

# Bytes asked of the kernel at a time: large enough that a 100 MB upload is not bound by the server.
RECV_SIZE = 256 * 1024
# Bytes in one chunk of a chunked answer, and in one write of a long body.
PIECE_SIZE = 64 * 1024
# Seconds a server waits for a handler whose socket is gone. Reached only by a broken test.
JOIN_TIMEOUT = 10.0
# Seconds until `wait_for` looks again though no connection came or went.
LOOK = 0.02

REASONS = {
    100: "Continue",
    101: "Switching Protocols",
    200: "OK",
    201: "Created",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


def to_bytes(value: bytes | str) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else value


def pattern(length: int, offset: int = 0) -> bytes:
    """`length` bytes that are the same on each call, look random, and differ by position.

    `offset` asks for a window further on: `pattern(n, o) == pattern(n + o)[o:]`.
    """
    block = _PATTERN_BLOCK
    start = offset % len(block)
    copies = (start + length) // len(block) + 1
    return (block * copies)[start : start + length]


# 251 is prime, so a piece that is lost or doubled moves every later byte against any power of two.
_PATTERN_BLOCK = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(251))


@dataclass
class ReceivedRequest:
    """One request as it came over the wire. All of it is bytes, header names in their own case."""

    method: bytes
    target: bytes
    version: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    # The head as it was sent, blank line included, for tests of the exact bytes.
    head: bytes = b""
    # On which connection of the server (1 = first accepted), and as which request there.
    connection: int = 0
    number: int = 0

    def header(self, name: bytes | str) -> bytes | None:
        """The first value of that name, whatever its case; None when there is none."""
        values = self.header_all(name)
        return values[0] if values else None

    def header_all(self, name: bytes | str) -> list[bytes]:
        wanted = to_bytes(name).lower()
        return [value for key, value in self.headers if key.lower() == wanted]

    @property
    def path(self) -> str:
        return urlsplit(self.target.decode("latin-1")).path

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.target.decode("latin-1")).query, keep_blank_values=True)

    @property
    def wants_close(self) -> bool:
        tokens = b",".join(self.header_all(b"connection")).lower()
        return self.version != b"HTTP/1.1" or b"close" in tokens


class Peer:
    """The server's end of one connection. Used by the one thread that runs its handler."""

    def __init__(self, sock: socket.socket, number: int, server: ScriptedServer) -> None:
        self.sock = sock
        self.number = number
        self.server = server
        self.served = 0
        self.closed = False
        self._buffer = b""

    # --- reading ---

    def recv(self, size: int = RECV_SIZE) -> bytes:
        """Some bytes: what is buffered, else one read. b"" at EOF."""
        if self._buffer:
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            return data
        return self.sock.recv(size)

    def recv_exactly(self, size: int) -> bytes:
        """Exactly `size` bytes; EOFError says how many there were when the client stopped early."""
        parts = []
        missing = size
        while missing:
            data = self.recv(missing)
            if not data:
                raise EOFError(f"the client closed after {size - missing} of {size} bytes")
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def recv_until(self, mark: bytes) -> bytes | None:
        """The bytes through `mark`; None when EOF comes first, EOFError when it comes half-way."""
        searched = 0
        while (at := self._buffer.find(mark, searched)) < 0:
            searched = max(0, len(self._buffer) - len(mark) + 1)
            data = self.sock.recv(RECV_SIZE)
            if not data:
                if not self._buffer:
                    return None
                raise EOFError(f"the client closed after {self._buffer[-80:]!r}")
            self._buffer += data
        end = at + len(mark)
        found, self._buffer = self._buffer[:end], self._buffer[end:]
        return found

    def recv_head(self) -> bytes | None:
        """The bytes through the blank line; None when the client closed instead."""
        return self.recv_until(b"\r\n\r\n")

    def recv_request_head(self) -> ReceivedRequest | None:
        """Method, target and headers, the body still unread (see `iter_body`); None at EOF."""
        head = self.recv_head()
        if head is None:
            return None
        self.served += 1
        first, *lines = head[:-4].split(b"\r\n")
        method, target, version = first.split(b" ")
        headers = [_split_field(line) for line in lines]
        return ReceivedRequest(
            method, target, version, headers, head=head, connection=self.number, number=self.served
        )

    def iter_body(self, request: ReceivedRequest) -> Iterator[bytes]:
        """The body of that request in pieces, as they arrive, chunked framing taken off."""
        if b"chunked" in (request.header(b"transfer-encoding") or b"").lower():
            yield from self._iter_chunked(request)
            return
        missing = int(request.header(b"content-length") or b"0")
        while missing:
            data = self.recv(min(missing, RECV_SIZE))
            if not data:
                raise EOFError(f"the client closed with {missing} body bytes missing")
            missing -= len(data)
            yield data

    def _iter_chunked(self, request: ReceivedRequest) -> Iterator[bytes]:
        while size := self._recv_chunk_size():
            while size:
                data = self.recv(min(size, RECV_SIZE))
                if not data:
                    raise EOFError(f"the client closed with {size} bytes of a chunk missing")
                size -= len(data)
                yield data
            if (end := self.recv_exactly(2)) != b"\r\n":
                raise ValueError(f"a chunk ends in {end!r}")
        while (line := self.recv_until(b"\r\n")) != b"\r\n":
            if line is None:
                raise EOFError("the client closed inside the trailers")
            request.trailers.append(_split_field(line[:-2]))

    def _recv_chunk_size(self) -> int:
        line = self.recv_until(b"\r\n")
        if line is None:
            raise EOFError("the client closed between two chunks")
        return int(line.split(b";")[0], 16)

    def recv_request(self) -> ReceivedRequest | None:
        """A whole request with its body; None when the client closed instead."""
        request = self.recv_request_head()
        if request is not None:
            request.body = b"".join(self.iter_body(request))
        return request

    def wait_closed(self) -> bytes:
        """Read until the client closes; returns what came before that. A reset counts as closed."""
        parts = []
        with contextlib.suppress(OSError):
            while data := self.recv():
                parts.append(data)
        return b"".join(parts)

    # --- writing ---

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes, pause: float) -> None:
        """Send `data` byte by byte, with `pause` seconds between two; without a pause once the
        server is stopped."""
        ended = self.server.event()
        for position in range(len(data)):
            self.send(data[position : position + 1])
            ended.wait(pause)

    def respond(
        self,
        status: int = 200,
        body: bytes | Iterable[bytes] = b"",
        headers: HeaderPairs = (),
        *,
        reason: str | None = None,
        version: str = "HTTP/1.1",
        framing: str = "auto",
        head_only: bool = False,
    ) -> None:
        """Send one answer.

        `framing` is "length", "chunked", "close" (no length: the caller closes afterwards), or
        "auto": length for bytes, chunked for an iterable, none for 1xx, 204 and 304.
        `head_only` leaves the body out and keeps the head, as an answer to HEAD.
        """
        if framing == "auto":
            bodiless = status < 200 or status in (204, 304)
            framing = "close" if bodiless else "length" if isinstance(body, bytes) else "chunked"
        reason = REASONS.get(status, "") if reason is None else reason
        lines = [f"{version} {status} {reason}".encode("latin-1")]
        lines += [to_bytes(name) + b": " + to_bytes(value) for name, value in headers]
        if framing == "length":
            body = body if isinstance(body, bytes) else b"".join(body)
            lines.append(b"Content-Length: %d" % len(body))
        elif framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        if head_only:
            self.send(head)
        elif isinstance(body, bytes) and framing != "chunked":
            self.send(head + body if len(body) <= PIECE_SIZE else head)
            if len(body) > PIECE_SIZE:
                self.send(body)
        else:
            self._send_pieces(head, [body] if isinstance(body, bytes) else body, framing)

    def _send_pieces(self, head: bytes, pieces: Iterable[bytes], framing: str) -> None:
        self.send(head)
        for piece in pieces:
            if framing != "chunked":
                self.send(piece)
            elif piece:
                self.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        if framing == "chunked":
            self.send(b"0\r\n\r\n")

    # --- ending ---

    def close(self, *, notify: bool = True) -> None:
        """Close. Over TLS a close_notify is sent first unless `notify` is False. Idempotent."""
        if self.closed:
            return
        self.closed = True
        if notify and isinstance(self.sock, ssl.SSLSocket):
            # Not waiting for the client's own close_notify: unwrap() sends ours, then would block.
            with contextlib.suppress(OSError, ValueError):
                self.sock.settimeout(0)
                self.sock.unwrap().close()
        self.sock.close()

    def reset(self) -> None:
        """Close with RST in place of FIN. Idempotent."""
        if self.closed:
            return
        with contextlib.suppress(OSError):
            # struct linger: on, for zero seconds. That is how an RST is asked for.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close(notify=False)

    def shutdown_write(self) -> None:
        """Send FIN and go on reading (plain TCP, and TLS without a close_notify)."""
        # The base class's method: SSLSocket.shutdown() would also drop the TLS state.
        socket.socket.shutdown(self.sock, socket.SHUT_WR)

    @property
    def client_certificate(self) -> dict[str, object] | None:
        """What the client showed over TLS, as `ssl` decodes it; None without one."""
        if not isinstance(self.sock, ssl.SSLSocket):
            return None
        return self.sock.getpeercert() or None


def _split_field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon:
        raise ValueError(f"a header line without a colon: {line!r}")
    return name, value.strip(b" \t")


class ScriptedServer:
    """Runs `handler(peer)` in a thread of its own for each connection, and closes it afterwards.

    Parameters: `tls`, a server-side `ssl.SSLContext`; `uds`, a path to listen on in place of TCP;
    `host`, "127.0.0.1" or "::1"; `backlog`, connections the kernel may hold unaccepted.

    Attributes: `host`, `port`, `url` ("http://127.0.0.1:1234", no slash at the end), `accepted`
    (connections so far), `open` (connections now), `errors` (what handlers raised, apart from the
    next), `disconnects` (OSError and EOFError: the client went away), `handshake_errors`.
    """

    scheme = "http"

    def __init__(
        self,
        handler: Handler,
        *,
        tls: ssl.SSLContext | None = None,
        uds: str | os.PathLike[str] | None = None,
        host: str = "127.0.0.1",
        backlog: int = 1024,
    ) -> None:
        self.handler = handler
        self.tls = tls
        self.uds = None if uds is None else os.fspath(uds)
        self.host = host
        self.port = 0
        self.accepted = 0
        self.errors: list[BaseException] = []
        self.disconnects: list[BaseException] = []
        self.handshake_errors: list[BaseException] = []
        self._backlog = backlog
        self._listener: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._threads: set[threading.Thread] = set()
        self._peers: set[Peer] = set()
        self._events: list[threading.Event] = []
        self._changed = threading.Condition()
        self._stopping = False

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        if self.uds is not None:
            return f"{scheme}://localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def open(self) -> int:
        with self._changed:
            return len(self._peers)

    def event(self) -> threading.Event:
        """An event for a handler to wait on. `stop` sets it, so no handler outlives its server."""
        made = threading.Event()
        with self._changed:
            if self._stopping:
                made.set()
            self._events.append(made)
        return made

    def wait_for(self, condition: Callable[[], bool], timeout: float = 5.0) -> bool:
        """Wait until `condition()` holds; it is tried again whenever a connection was accepted or
        has ended, and every `LOOK` seconds, for what a handler notes. Returns whether it held
        within `timeout` seconds."""
        end = time.monotonic() + timeout
        with self._changed:
            while not self._changed.wait_for(condition, LOOK):
                if time.monotonic() >= end:
                    return False
            return True

    # --- life ---

    def __enter__(self) -> ScriptedServer:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> ScriptedServer:
        if self.uds is not None:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            address: object = self.uds
        else:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            listener = socket.socket(family, socket.SOCK_STREAM)
            address = (self.host, 0)
        try:
            listener.bind(address)
            listener.listen(self._backlog)
        except BaseException:
            listener.close()
            raise
        if self.uds is None:
            self.port = listener.getsockname()[1]
        self._listener = listener
        self._accepting = threading.Thread(
            target=self._accept_loop, args=(listener,), name=f"accept {self.url}", daemon=True
        )
        self._accepting.start()
        return self

    def stop(self) -> None:
        """Close every socket and join every thread. Idempotent.

        Raises RuntimeError when a handler does not end: it waits for something this server cannot
        wake, and would leak.
        """
        if self._listener is None or self._accepting is None:
            return
        with self._changed:
            self._stopping = True
            for event in self._events:
                event.set()
        self._wake_accept(self._listener)
        self._accepting.join(JOIN_TIMEOUT)
        self._listener.close()
        self._listener = None
        if self.uds is not None and not self.uds.startswith("\0"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.uds)
        self._end_connections()

    def close_connections(self) -> None:
        """Shut every open connection down, as a restarting server does; the listener stays."""
        with self._changed:
            for peer in self._peers:
                with contextlib.suppress(OSError):
                    # The base class's method: SSLSocket.shutdown() changes state a reader is using.
                    socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)

    def _end_connections(self) -> None:
        self.close_connections()
        with self._changed:
            threads = list(self._threads)
        for thread in threads:
            thread.join(JOIN_TIMEOUT)
        stuck = [thread.name for thread in threads if thread.is_alive()]
        if stuck:
            raise RuntimeError(f"handlers did not end within {JOIN_TIMEOUT} s: {stuck}")

    def _wake_accept(self, listener: socket.socket) -> None:
        try:
            listener.shutdown(socket.SHUT_RDWR)  # Linux: a blocked accept() returns with an error
        except OSError:  # elsewhere a listener cannot be shut down: knock instead
            with contextlib.suppress(OSError), socket.socket(listener.family) as knock:
                knock.settimeout(1.0)
                knock.connect(listener.getsockname())

    def _accept_loop(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError as exc:
                if self._stopping or exc.errno not in (errno.ECONNABORTED, errno.EMFILE):
                    return
                continue
            with self._changed:
                if self._stopping:
                    sock.close()
                    return
                self.accepted += 1
                peer = Peer(sock, self.accepted, self)
                thread = threading.Thread(
                    target=self._serve, args=(peer,), name=f"peer {self.accepted}", daemon=True
                )
                self._peers.add(peer)
                self._threads.add(thread)
                self._changed.notify_all()
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            if self._prepare(peer):
                self._run(peer)
        finally:
            peer.close()
            with self._changed:
                self._peers.discard(peer)
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()

    def _prepare(self, peer: Peer) -> bool:
        if self.uds is None:
            with contextlib.suppress(OSError):
                peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is None:
            return True
        try:
            # Two steps, the first under the lock: stop() always finds the socket that is in use,
            # so it can shut a stuck handshake down.
            with self._changed:
                if self._stopping:
                    return False
                wrapped = self.tls.wrap_socket(
                    peer.sock, server_side=True, do_handshake_on_connect=False
                )
                peer.sock = wrapped
            wrapped.do_handshake()
        except (OSError, ValueError) as exc:
            if not self._stopping:
                self.handshake_errors.append(exc)
            return False
        return True

    def _run(self, peer: Peer) -> None:
        try:
            self.handler(peer)
        except (OSError, EOFError) as exc:
            if not self._stopping:
                self.disconnects.append(exc)
        except BaseException as exc:
            # After stop() a handler may see its socket in any half-closed form.
            if not self._stopping:
                self.errors.append(exc)


class LocalServer(ScriptedServer):
    """A keep-alive server with routes. `requests` lists what came (no bodies past 64 KiB).

    Each answer says `X-Connection: N` (which connection of this server) and `X-Request: N` (which
    request on it). HEAD works everywhere. `Expect: 100-continue` is answered.

    ====================================  =======================================================
    ``/``                                 a short text
    ``/echo``                             JSON: method, target, headers, body (latin-1)
    ``/bytes/N``                          `pattern(N)` with a Content-Length
    ``/chunked/N``                        `pattern(N)` in chunks of 64 KiB (``?size=`` for others)
    ``/close/N``                          `pattern(N)`, no length, ended by closing
    ``/truncated/N``                      says N, sends half, closes
    ``/drip/N?delay=S``                   N chunks of one byte, S seconds apart (default 0.01)
    ``/gzip/N``, ``/deflate/N``           `pattern(N)` compressed
    ``/upload``                           JSON: length, sha256 and framing of the body, not kept
    ``/status/N``                         that status, body "status N" where one is allowed
    ``/headers?Name=value``               those header lines, in order
    ``/redirect/N``                       N times 302, then ``/echo``
    ``/redirect-to?url=U&status=N``       Location: U
    ``/cookies``                          JSON object of the cookies received
    ``/cookies/set?name=value``           one Set-Cookie line each
    ``/basic-auth/USER/PASSWORD``         401 or 200
    ``/digest-auth/USER/PASSWORD``        401 or 200 (MD5, qop=auth)
    ``/hang``                             reads the request, never answers
    ``/drop``                             reads the request, closes without a byte
    ====================================  =======================================================
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        uds: str | os.PathLike[str] | None = None,
        host: str = "127.0.0.1",
        record: bool = True,
    ) -> None:
        super().__init__(self._converse, tls=tls, uds=uds, host=host)
        self.requests: list[ReceivedRequest] = []
        self._record = record

    def __enter__(self) -> LocalServer:
        self.start()
        return self

    def _converse(self, peer: Peer) -> None:
        while (request := peer.recv_request_head()) is not None:
            if (request.header(b"expect") or b"").lower() == b"100-continue":
                peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            if request.path != "/upload":
                request.body = b"".join(peer.iter_body(request))
            if self._record:
                self.requests.append(request)
            self._answer(Answer(peer, request))
            if len(request.body) > PIECE_SIZE:
                request.body = b""
            if peer.closed or request.wants_close:
                return

    def _answer(self, answer: Answer) -> None:
        for route, method in ROUTES:
            if found := route.fullmatch(answer.request.path):
                method(answer, *found.groups())
                return
        answer.send(404, b"no such route: " + answer.request.target)


class Answer:
    """One request of `LocalServer` and the ways to answer it."""

    def __init__(self, peer: Peer, request: ReceivedRequest) -> None:
        self.peer = peer
        self.request = request
        self.query = dict(request.query)

    def send(
        self,
        status: int = 200,
        body: bytes | Iterable[bytes] = b"",
        headers: HeaderPairs = (),
        framing: str = "auto",
    ) -> None:
        request = self.request
        lines = [
            *headers,
            ("X-Connection", str(request.connection)),
            ("X-Request", str(request.number)),
        ]
        if request.wants_close or framing == "close":
            lines.append(("Connection", "close"))
        head_only = request.method == b"HEAD"
        self.peer.respond(status, body, lines, framing=framing, head_only=head_only)

    def json(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode("ascii")
        self.send(status, body, [("Content-Type", "application/json")])

    # --- routes; each takes the strings its pattern captured ---

    def index(self) -> None:
        self.send(200, b"hello from the local server\n", [("Content-Type", "text/plain")])

    def echo(self) -> None:
        request = self.request
        self.json(
            {
                "method": request.method.decode("latin-1"),
                "target": request.target.decode("latin-1"),
                "headers": [[k.decode("latin-1"), v.decode("latin-1")] for k, v in request.headers],
                "body": request.body.decode("latin-1"),
            }
        )

    def bytes(self, length: str) -> None:
        self.send(200, pattern(int(length)), [("Content-Type", "application/octet-stream")])

    def chunked(self, length: str) -> None:
        size = int(self.query.get("size", PIECE_SIZE))
        total = int(length)
        starts = range(0, total, size)
        self.send(200, (pattern(min(size, total - at), at) for at in starts), framing="chunked")

    def until_close(self, length: str) -> None:
        self.send(200, pattern(int(length)), framing="close")
        self.peer.close()

    def truncated(self, length: str) -> None:
        body = pattern(int(length) // 2)
        self.send(200, [body], [("Content-Length", length)], framing="close")
        self.peer.close()

    def drip(self, length: str) -> None:
        delay = float(self.query.get("delay", "0.01"))
        stopped = self.peer.server.event()

        def pieces() -> Iterator[bytes]:
            for at in range(int(length)):
                if stopped.wait(delay):
                    raise EOFError("the server is stopping")
                yield pattern(1, at)

        self.send(200, pieces(), framing="chunked")

    def gzip(self, length: str) -> None:
        body = gzip.compress(pattern(int(length)), mtime=0)
        self.send(200, body, [("Content-Encoding", "gzip")])

    def deflate(self, length: str) -> None:
        self.send(200, zlib.compress(pattern(int(length))), [("Content-Encoding", "deflate")])

    def upload(self) -> None:
        digest = hashlib.sha256()
        length = 0
        for piece in self.peer.iter_body(self.request):
            digest.update(piece)
            length += len(piece)
        chunked = self.request.header(b"transfer-encoding") is not None
        framing = "chunked" if chunked else "length"
        self.json({"length": length, "sha256": digest.hexdigest(), "framing": framing})

    def status(self, code: str) -> None:
        status = int(code)
        bodiless = status < 200 or status in (204, 304)
        self.send(status, b"" if bodiless else b"status %d" % status)

    def headers(self) -> None:
        self.send(200, b"", self.request.query)

    def redirect(self, count: str) -> None:
        left = int(count) - 1
        self.send(302, b"", [("Location", f"/redirect/{left}" if left > 0 else "/echo")])

    def redirect_to(self) -> None:
        self.send(int(self.query.get("status", "302")), b"", [("Location", self.query["url"])])

    def cookies(self) -> None:
        pairs = [
            pair.strip().partition(b"=")
            for line in self.request.header_all(b"cookie")
            for pair in line.split(b";")
        ]
        self.json({name.decode("latin-1"): value.decode("latin-1") for name, _, value in pairs})

    def set_cookies(self) -> None:
        lines = [("Set-Cookie", f"{name}={value}; Path=/") for name, value in self.request.query]
        self.send(200, b"", lines)

    def basic_auth(self, user: str, password: str) -> None:
        wanted = b"Basic " + base64.b64encode(f"{user}:{password}".encode())
        if self.request.header(b"authorization") == wanted:
            self.send(200, b"welcome")
        else:
            self.send(401, b"who?", [("WWW-Authenticate", 'Basic realm="tests"')])

    def digest_auth(self, user: str, password: str) -> None:
        given = (self.request.header(b"authorization") or b"").decode("latin-1")
        parts = dict(re.findall(r'(\w+)="?([^",]+)"?', given))
        if parts and parts.get("response") == self._digest(user, password, parts):
            self.send(200, b"welcome")
            return
        challenge = 'Digest realm="tests", nonce="fixed", qop="auth", algorithm=MD5'
        self.send(401, b"who?", [("WWW-Authenticate", challenge)])

    def _digest(self, user: str, password: str, parts: dict[str, str]) -> str:
        def md5(text: str) -> str:
            return hashlib.md5(text.encode("latin-1")).hexdigest()

        method = self.request.method.decode("latin-1")
        secret = md5(f"{user}:tests:{password}")
        action = md5(f"{method}:{self.request.target.decode('latin-1')}")
        counters = f"fixed:{parts.get('nc')}:{parts.get('cnonce')}:auth"
        return md5(f"{secret}:{counters}:{action}")

    def hang(self) -> None:
        self.peer.wait_closed()
        self.peer.close()

    def drop(self) -> None:
        self.peer.close()


ROUTES: list[tuple[re.Pattern[str], Callable[..., None]]] = [
    (re.compile(text), method)
    for text, method in [
        (r"/", Answer.index),
        (r"/echo", Answer.echo),
        (r"/bytes/(\d+)", Answer.bytes),
        (r"/chunked/(\d+)", Answer.chunked),
        (r"/close/(\d+)", Answer.until_close),
        (r"/truncated/(\d+)", Answer.truncated),
        (r"/drip/(\d+)", Answer.drip),
        (r"/gzip/(\d+)", Answer.gzip),
        (r"/deflate/(\d+)", Answer.deflate),
        (r"/upload", Answer.upload),
        (r"/status/(\d{3})", Answer.status),
        (r"/headers", Answer.headers),
        (r"/redirect/(\d+)", Answer.redirect),
        (r"/redirect-to", Answer.redirect_to),
        (r"/cookies", Answer.cookies),
        (r"/cookies/set", Answer.set_cookies),
        (r"/basic-auth/([^/]+)/([^/]+)", Answer.basic_auth),
        (r"/digest-auth/([^/]+)/([^/]+)", Answer.digest_auth),
        (r"/hang", Answer.hang),
        (r"/drop", Answer.drop),
    ]
]


def closed_port(host: str = "127.0.0.1") -> int:
    """A port on which nothing listens: connecting to it is refused.

    Not one that the system chooses: it would soon choose it again, for another test's server.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = random.randrange(*UNCHOSEN_PORTS)
        with socket.socket(family, socket.SOCK_STREAM) as sock, contextlib.suppress(OSError):
            sock.bind((host, port))
            return port


#: Ports below those that Linux chooses from (ip_local_port_range in ip(7)).
UNCHOSEN_PORTS = (15_000, 32_000)


@contextlib.contextmanager
def black_hole(host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[str, int]]:
    """An address where a connect never completes: a listener whose queue is full (Linux)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(8):  # more than any kernel adds to a backlog of 0
            filler = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()[:2]


#: The fixture `serve`.
Serve = Callable[..., ScriptedServer]
