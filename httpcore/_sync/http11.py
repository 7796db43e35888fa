"""One HTTP/1.1 connection: writing requests, reading responses, and the response's body.

Owns: the order of reads and writes on one stream, and the body object that the caller reads
from. Must not know: how a connection is chosen or opened; how HTTP is framed (that is
`_h1`). The body object owns its connection's slot in the pool until the body has ended.

Sources: RFC 9112 sections 6 (bodies), 9.3 (reuse), 9.6 (tear-down); RFC 9110 section 7.8
(Upgrade) and 9.3.6 (CONNECT).
"""

from __future__ import annotations

import io
import threading
import time
import types
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .._backends.base import NetworkStream
from .._config import NO_TIMEOUTS, read_timeouts
from .._exceptions import (
    MAYBE_PROCESSED,
    NOT_SENT,
    RESPONSE_STARTED,
    ConnectionNotAvailable,
    LocalProtocolError,
    NetworkError,
    ReadError,
    RemoteProtocolError,
    ServerDisconnected,
    TimeoutException,
    WriteError,
)
from .._h1 import CHUNKED, LAST_CHUNK, Head, HeadReader, encode_chunk, encode_request, read_head
from .._models import ByteStream, Origin, Request, Response
from .._pool import ACTIVE
from .._trace import Trace, check_hooks
from .interfaces import ConnectionInterface

if TYPE_CHECKING:
    import ssl

    from .connection_pool import ConnectionPool

Timeouts = tuple["float | None", "float | None", "float | None", "float | None"]

# Bytes asked for in one read. 64 KiB holds every usual head with a small body in one call,
# and is what the kernel hands out on a busy connection.
READ_SIZE = 65536
# Bytes per read when the whole of a large body is wanted: fewer calls, and still small
# enough to stay in the processor's cache between the two copies.
LARGE_READ = 262144
# Bytes of an announced body that are reserved before they have arrived. Reserving costs no
# memory until it is written, but a lying server should not exhaust the address space either.
PREALLOCATE_LIMIT = 256 * 1024 * 1024
# Bytes per write of a body, and the largest body that leaves together with its head. Copying
# this much costs less than a second system call and a second packet.
WRITE_SIZE = 131072
# Bytes of an unread body that are worth reading away to keep the connection; opening a new
# one costs at least one round trip, in which about this much arrives.
DRAIN_LIMIT = 65536


NO_PARTS: Iterator[bytes] = iter(())


class Prepared(NamedTuple):
    """A request, checked and encoded; made before a connection is taken for it."""

    request: Request
    head: bytes
    length: int  # 0 none, CHUNKED, or the Content-Length in bytes
    special: bool  # CONNECT or Upgrade: the connection may change hands
    content: bytes | None  # the body when it is all there, else None


def prepare(request: Request) -> Prepared:
    """Encode the head and check it against the body.

    Raises LocalProtocolError or TypeError; nothing has been sent then.
    """
    head, length, special = encode_request(request.method, request.url.target, request.headers)
    if request.extensions:
        check_hooks(request.extensions)
    stream = request.stream
    if type(stream) is not ByteStream:
        return Prepared(request, head, length, special, None)
    content = stream._content
    if length != len(content) and length != CHUNKED:
        raise LocalProtocolError(
            f"the body has {len(content)} bytes, but the headers announce {length}"
        )
    return Prepared(request, head, length, special, content)


class HTTP11Connection(ConnectionInterface):
    """An open HTTP/1.1 connection that can be driven by hand.

    Parameters:
        origin: who is at the other end.
        stream: the open `NetworkStream`; the connection owns it.
        keepalive_expiry: seconds it may be idle before `has_expired`; None for ever.
        parsing: ``"strict"`` or ``"lenient"``, see `ConnectionPool`.

    It takes one request at a time: a second one raises ConnectionNotAvailable until the first
    response's body was read or closed.
    """

    def __init__(
        self,
        origin: Origin,
        stream: NetworkStream,
        keepalive_expiry: float | None = None,
        *,
        parsing: str = "strict",
    ) -> None:
        self._origin = origin
        self._stream = stream
        self._keepalive_expiry = keepalive_expiry
        self._lenient = parsing == "lenient"
        self._state = "NEW"
        self._request_count = 0
        self._expires: float | None = None
        self._lock = threading.Lock()
        self._untouched = True  # nothing of the current request was written yet
        # The request whose response is not at its end, for people and error texts.
        self.serving: Request | None = None

    def handle_request(self, request: Request) -> Response:
        """Send `request` and return its response, the body unread.

        Raises:
            ConnectionNotAvailable: the connection is busy or closed; nothing was sent.
            LocalProtocolError: the request cannot be expressed; nothing was sent and the
                connection stays usable.
            ReadTimeout, WriteTimeout, ReadError, WriteError, RemoteProtocolError: the
                connection is closed.
        """
        if not self.can_handle_request(request.url.origin):
            raise RuntimeError(f"request to {request.url.origin} on a connection to {self._origin}")
        return self.handle_prepared(prepare(request))

    def handle_prepared(self, prepared: Prepared) -> Response:
        """As `handle_request`, for a request that was checked and encoded before."""
        request = prepared.request
        timeout = request.extensions.get("timeout")
        timeouts = NO_TIMEOUTS if timeout is None else read_timeouts(timeout)
        with self._lock:
            if self._state not in ("NEW", "IDLE"):
                raise ConnectionNotAvailable(f"the connection to {self._origin} is {self._state}")
            self._state = "ACTIVE"
        return self.exchange(prepared, timeouts, ResponseBody(None, request))

    def exchange(self, prepared: Prepared, timeouts: Timeouts, body: ResponseBody) -> Response:
        """Send one prepared request and read the response's head; the caller has made sure
        that nobody else uses the connection. Closes it on failure, unless nothing was sent."""
        request = prepared.request
        body._connection = self
        body._trace = request.extensions.get("trace") if request.extensions else None
        self._state = "ACTIVE"
        self._request_count += 1
        self._untouched = True
        self.serving = request
        try:
            failure = self._send(prepared, timeouts[2], body._trace)
            head = self._receive_head(prepared, timeouts[1], body._trace, failure)
            return self._respond(head, timeouts[1], body, failure is None)
        except BaseException:
            if not body.closed:  # else the connection may be somebody else's by now
                if self._untouched:
                    self._request_count -= 1
                body._give_back(self._untouched)
            raise

    # Sending

    def _send(
        self, prepared: Prepared, timeout: float | None, trace: Trace | None
    ) -> WriteError | None:
        """Send head and body. A connection that broke while the body was sent may still hold
        the server's answer, so that failure is returned and not raised."""
        if trace is not None:
            trace("http11.send_request_headers.started", {"request": prepared.request})
        head = prepared.head
        content = prepared.content
        parts: Iterator[bytes] = NO_PARTS
        first = head
        try:
            if content is not None and prepared.length == len(content) <= WRITE_SIZE:
                if content:
                    first = head + content
            else:
                # The first block leaves in the same segment as the head.
                parts = framed_parts(prepared)
                first = head + next(parts, b"")
            self._untouched = False
            self._stream.write(first, timeout)
        except BaseException as exc:
            if trace is not None:
                trace("http11.send_request_headers.failed", {"exception": exc})
            if isinstance(exc, WriteError) and exc.phase != NOT_SENT and len(first) > len(head):
                return exc
            raise
        if trace is not None:
            trace("http11.send_request_headers.complete", {"return_value": None})
        elif parts is NO_PARTS:
            return None
        return self._send_rest(parts, prepared, timeout, trace)

    def _send_rest(
        self,
        parts: Iterator[bytes],
        prepared: Prepared,
        timeout: float | None,
        trace: Trace | None,
    ) -> WriteError | None:
        if trace is not None:
            trace("http11.send_request_body.started", {"request": prepared.request})
        try:
            for part in parts:
                self._stream.write(part, timeout)
        except BaseException as exc:
            if trace is not None:
                trace("http11.send_request_body.failed", {"exception": exc})
            if isinstance(exc, (NetworkError, TimeoutException, LocalProtocolError)):
                exc.phase = MAYBE_PROCESSED
            if isinstance(exc, WriteError):
                return exc
            raise
        if trace is not None:
            trace("http11.send_request_body.complete", {"return_value": None})
        return None

    # Receiving

    def _receive_head(
        self,
        prepared: Prepared,
        timeout: float | None,
        trace: Trace | None,
        failure: WriteError | None,
    ) -> Head:
        if trace is not None:
            trace("http11.receive_response_headers.started", {"request": prepared.request})
        try:
            data = self._stream.read(READ_SIZE, timeout)
            method = prepared.request.method
            head = None if prepared.special else read_head(data, method, self._lenient)
            if head is None:
                head = self._receive_unusual_head(prepared, data, timeout)
        except BaseException as exc:
            if trace is not None:
                trace("http11.receive_response_headers.failed", {"exception": exc})
            if failure is not None and isinstance(exc, Exception):
                raise failure from None  # the server said nothing: the first failure stands
            raise
        if trace is not None:
            trace(
                "http11.receive_response_headers.complete",
                {"return_value": (head.http_version, head.status, head.reason, head.headers)},
            )
        return head

    def _receive_unusual_head(self, prepared: Prepared, data: bytes, timeout: float | None) -> Head:
        request = prepared.request
        if not data:
            raise ServerDisconnected(
                f"{self._origin} closed the connection before any byte of the answer to "
                f"{_name(request)}; the request may have been processed"
            )
        reader = HeadReader(
            request.method,
            request.headers,
            lenient=self._lenient,
            informational=request.extensions.get("informational"),
        )
        try:
            while True:
                head = reader.feed(data)
                if head is not None:
                    return head
                data = self._stream.read(READ_SIZE, timeout)
                if not data:
                    reader.feed_eof()
        except (NetworkError, RemoteProtocolError, TimeoutException) as exc:
            exc.phase = RESPONSE_STARTED
            raise

    def _respond(
        self, head: Head, timeout: float | None, body: ResponseBody, all_sent: bool
    ) -> Response:
        reader = head.body
        body._reader = reader
        body._timeout = timeout
        body._reusable = head.keep_alive and all_sent
        body._keep_for = head.keep_alive_timeout
        reused = self._request_count > 1
        stream = self._stream
        if body._trace is not None:
            body._trace("http11.receive_response_body.started", {"request": body._request})
        if head.rest:
            body._pending = reader.feed(head.rest)
        if head.switched:
            stream = body._hand_over()
        elif reader.done:
            body._end()
        response: Response = Response.__new__(Response)
        response.status = head.status
        response.headers = head.headers
        response.stream = body
        response._content = None
        response._consumed = False
        response.extensions = {
            "http_version": head.http_version,
            "reason_phrase": head.reason,
            "network_stream": stream,
            "reused": reused,
        }
        return response

    # State

    def _idle(self) -> None:
        self._state = "IDLE"
        self.serving = None
        if self._keepalive_expiry is not None:
            self._expires = time.monotonic() + self._keepalive_expiry

    def close(self) -> None:
        """Close the connection; a body that is being read fails then. Any thread may."""
        self._state = "CLOSED"
        self.serving = None
        self._stream.close()

    def can_handle_request(self, origin: Origin) -> bool:
        return origin == self._origin

    def is_available(self) -> bool:
        return self._state in ("NEW", "IDLE")

    def is_readable(self) -> bool:
        """Whether bytes or an end have arrived; on an idle connection both mean it is dead."""
        return bool(self._stream.get_extra_info("is_readable"))

    def has_expired(self) -> bool:
        if self._state != "IDLE":
            return False
        expires = self._expires
        return (expires is not None and time.monotonic() >= expires) or self.is_readable()

    def is_idle(self) -> bool:
        return self._state == "IDLE"

    def is_closed(self) -> bool:
        return self._state == "CLOSED"

    def info(self) -> str:
        origin = str(self._origin)
        return f"{origin!r}, HTTP/1.1, {self._state}, Request Count: {self._request_count}"

    def __repr__(self) -> str:
        origin = str(self._origin)
        return (
            f"<{self.__class__.__name__} [{origin!r}, {self._state}, "
            f"Request Count: {self._request_count}]>"
        )

    def __enter__(self) -> HTTP11Connection:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: types.TracebackType | None = None,
    ) -> None:
        self.close()


def _name(request: Request) -> str:
    method = request.method.decode("ascii", "backslashreplace")
    return f"{method} {request.url.target.decode('ascii', 'backslashreplace')}"


# Request bodies


def framed_parts(prepared: Prepared) -> Iterator[bytes]:
    """The body's blocks as they go on the wire.

    Raises LocalProtocolError when the body is not as long as its Content-Length, TypeError
    when it gives anything but bytes.
    """
    if prepared.length == CHUNKED:
        for part in body_parts(prepared):
            if part:  # an empty chunk would say that the body has ended
                yield encode_chunk(part)
        yield LAST_CHUNK
        return
    left = prepared.length
    for part in body_parts(prepared):
        left -= len(part)
        if left < 0:
            raise LocalProtocolError(
                f"the body is longer than its announced {prepared.length} bytes"
            )
        yield part
    if left:
        raise LocalProtocolError(
            f"the body ended after {prepared.length - left} of its announced "
            f"{prepared.length} bytes"
        )


def body_parts(prepared: Prepared) -> Iterator[bytes]:
    """The body's blocks: slices of bytes, reads of a file, or what an iterable gives."""
    content = prepared.content
    if content is not None:
        for start in range(0, len(content), WRITE_SIZE):
            yield content[start : start + WRITE_SIZE]
        return
    source: Any = prepared.request.stream
    parts = iter(lambda: source.read(WRITE_SIZE), b"") if hasattr(source, "read") else source
    if hasattr(parts, "__aiter__") and not hasattr(parts, "__iter__"):
        raise TypeError("an asynchronous request body cannot be sent by a synchronous client")
    for part in parts:
        if type(part) is not bytes:
            if not isinstance(part, (bytes, bytearray, memoryview)):
                kind = type(part).__name__
                raise TypeError(
                    f"the request body gave {kind}, not bytes; open files in binary mode"
                )
            part = bytes(part)
        yield part


# Response bodies


class ResponseBody:
    """A response's body; reads from the connection and gives it back at the end.

    Iterate it for the pieces as they arrive, or use `read`, `read1` and `readinto`. It is the
    one owner of its connection: when it ends, is closed, fails or is dropped, the connection
    goes back to the pool or is closed. One thread at a time; `close` may come from any.

    Attributes:
        closed: True once the connection was given back.
        complete: True once all of the body has arrived.
        unclean_tls_eof: True when a body that ends with the connection ended without TLS'
            close_notify: it may have been cut short.
    """

    __slots__ = (
        "__weakref__",
        "_connection",
        "_keep_for",
        "_offset",
        "_pending",
        "_pool",
        "_reader",
        "_request",
        "_reusable",
        "_timeout",
        "_trace",
        "_upgraded",
        "closed",
        "complete",
        "slot",
        "unclean_tls_eof",
    )

    def __init__(self, pool: ConnectionPool | None, request: Request) -> None:
        self.slot: Any = None  # set by the Scheduler while a connection of the pool is ours
        self._pool = pool
        self._request = request
        self._connection: HTTP11Connection | None = None
        self._reader: Any = None
        self._pending = b""  # payload that arrived and was not asked for yet
        self._offset = 0  # where in it the next byte is
        self._timeout: float | None = None
        self._trace: Trace | None = None
        self._reusable = False
        self._keep_for: float | None = None
        self._upgraded: NetworkStream | None = None
        self.closed = False
        self.complete = False
        self.unclean_tls_eof = False

    # What a reader calls

    def __iter__(self) -> Iterator[bytes]:
        """The pieces as they arrive."""
        while True:
            part = self.read1(READ_SIZE)
            if not part:
                return
            yield part

    def __call__(self) -> ResponseBody:
        """Itself: ``response.stream()`` is how 2019 wrote ``response.stream``."""
        return self

    def read(self, amt: int | None = None) -> bytes:
        """The rest of the body, or exactly `amt` bytes of it unless it ends before.

        Raises ReadTimeout, ReadError or RemoteProtocolError; the connection is closed then.
        """
        if amt is None or amt < 0:
            return self._read_all()
        part = self.read1(amt)
        if len(part) == amt or not part:
            return part
        parts = [part]
        missing = amt - len(part)
        while missing:
            part = self.read1(missing)
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def read1(self, amt: int = READ_SIZE) -> bytes:
        """What is there, waiting for at least one byte: 1 to `amt` bytes, ``b""`` at the end."""
        if amt <= 0:
            return b""
        pending = self._pending
        if not pending:
            if self.complete:
                return b""
            pending = self._receive(READ_SIZE)
        offset = self._offset
        if not offset and len(pending) <= amt:
            self._pending = b""
            return pending
        end = offset + amt
        if end >= len(pending):
            self._pending = b""
            self._offset = 0
        else:
            self._pending = pending
            self._offset = end
        return pending[offset:end]

    def readinto(self, buffer: Any) -> int:
        """As `read1`, into `buffer`; returns how many bytes."""
        view = memoryview(buffer).cast("B")
        part = self.read1(len(view))
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        """Give the connection back. When the rest of the body is short and has arrived, it is
        read away so that the connection can be used again; else the connection is closed."""
        if self.closed:
            return
        if self._upgraded is not None:
            self.closed = True
            self._upgraded.close()
        elif not self._drain():
            self._abort()
        self._pending = b""
        self._offset = 0

    @property
    def remaining(self) -> int | None:
        """Bytes of the body that have not arrived yet; None when nobody knows."""
        remaining: int | None = getattr(self._reader, "remaining", None)
        return remaining

    @property
    def received(self) -> int:
        """Bytes of the body that have arrived."""
        count: int = self._reader.received
        return count

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        """The trailer fields, once the body has ended (RFC 9110 section 6.5)."""
        fields: list[tuple[bytes, bytes]] = self._reader.trailers
        return fields

    @property
    def connection(self) -> HTTP11Connection | None:
        """The connection the body comes from, until it is given back."""
        return None if self.closed else self._connection

    # How it gets there

    def _read_all(self) -> bytes:
        first = self._pending
        if first:
            first = first[self._offset :] if self._offset else first
            self._pending = b""
            self._offset = 0
        if self.complete:
            return first
        remaining = self.remaining
        if remaining is not None and READ_SIZE < remaining <= PREALLOCATE_LIMIT:
            return self._read_in_place(first, remaining)
        # BytesIO hands its buffer over without copying it, so the body is in memory once.
        whole = io.BytesIO()
        whole.write(first)
        reader = self._reader
        while not reader.done:
            whole.write(self._receive(LARGE_READ))
        return whole.getvalue()

    def _read_in_place(self, first: bytes, remaining: int) -> bytes:
        """The rest of a body of known length, read straight to where it stays.

        CPython: `bytes(n)` is memory that the kernel has not touched yet; BytesIO takes it over
        and, since nobody else refers to it, lets us write into it and hands it out again, all
        without a copy.
        """
        position = len(first)
        whole = io.BytesIO(bytes(position + remaining))
        with whole.getbuffer() as view:
            view[:position] = first
            reader = self._reader
            while not reader.done:
                position += self._receive_into(view[position:])
        return whole.getvalue()

    def _receive(self, size: int) -> bytes:
        """Payload bytes, at least one unless the body has ended."""
        connection = self._connection
        if connection is None or self.closed:
            raise ReadError(f"the response to {_name(self._request)} was closed while unread")
        reader = self._reader
        try:
            part: bytes = b""
            while not part and not reader.done:
                data = connection._stream.read(size, self._timeout)
                if data:
                    part = reader.feed(data)
                else:
                    reader.feed_eof()
                    self.unclean_tls_eof = getattr(connection._stream, "unclean_eof", False)
            if reader.done:
                self._end()
            return part
        except BaseException as exc:
            self._fail(exc)
            raise

    def _receive_into(self, view: memoryview) -> int:
        connection = self._connection
        readinto = None if connection is None else getattr(connection._stream, "readinto", None)
        if readinto is None or self.closed:
            part = self._receive(LARGE_READ)
            view[: len(part)] = part
            return len(part)
        reader = self._reader
        try:
            count: int = readinto(view, self._timeout)
            if count:
                reader.took(count)
            else:
                reader.feed_eof()
            if reader.done:
                self._end()
            return count
        except BaseException as exc:
            self._fail(exc)
            raise

    def _end(self) -> None:
        """All of the body has arrived."""
        self.complete = True
        if self._trace is not None:
            self._trace("http11.receive_response_body.complete", {"return_value": None})
        # What came after the end was not asked for: the next request must not see it.
        self._give_back(self._reusable and not self._reader.excess)

    def _fail(self, exc: BaseException) -> None:
        """The body cannot be read to its end."""
        if isinstance(exc, (NetworkError, RemoteProtocolError, TimeoutException)):
            exc.phase = RESPONSE_STARTED
        if self.closed:
            return
        try:
            if self._trace is not None:
                self._trace("http11.receive_response_body.failed", {"exception": exc})
        finally:
            self._abort()

    def _abort(self) -> None:
        """The body will not be read to its end: close the connection."""
        if not self.closed:
            self._give_back(False)

    def _give_back(self, reusable: bool) -> None:
        """Let go of the connection, and tell the trace so."""
        trace = self._trace
        if trace is None:
            self._let_go(reusable)
            return
        try:
            trace("http11.response_closed.started", {})
        except BaseException:
            self._let_go(False)
            raise
        self._let_go(reusable)
        trace("http11.response_closed.complete", {"return_value": None})

    def _let_go(self, reusable: bool) -> None:
        connection, pool, slot = self._connection, self._pool, self.slot
        # After an interrupt in the middle of a release, the connection is no longer ours.
        if connection is not None and (pool is None or (slot is not None and slot.state == ACTIVE)):
            if reusable and connection._state != "CLOSED":
                connection._idle()
            else:
                # Closed before there is room for another, so that there is never one too many.
                reusable = False
                connection.close()
        if pool is not None:
            pool._release(self, reusable, self._keep_for)
        self.closed = True

    def _drain(self) -> bool:
        """Read away what is left if that needs no waiting; True when the body has ended."""
        connection, reader = self._connection, self._reader
        if connection is None or reader is None or not self._reusable:
            return False
        remaining = self.remaining
        budget = DRAIN_LIMIT
        if remaining is not None and remaining > budget:
            return False
        try:
            while budget > 0:
                data = connection._stream.read(budget, 0)
                budget -= len(data)
                if not data:
                    return False
                reader.feed(data)
                if reader.done:
                    self._end()
                    return True
        except (NetworkError, RemoteProtocolError, TimeoutException):
            pass  # not there yet, or broken: either way not worth keeping
        return False

    def _hand_over(self) -> NetworkStream:
        """The connection changes hands (101, or 2xx to CONNECT): it is the caller's now."""
        connection = self._connection
        assert connection is not None
        leftover = self._pending + self._reader.excess
        self._pending = b""
        self.complete = True
        if self._pool is not None:
            self._pool._forget(self)
        connection._state = "CLOSED"  # to HTTP; the stream lives on
        stream = connection._stream
        self._upgraded = UpgradedStream(stream, leftover) if leftover else stream
        return self._upgraded

    def __del__(self) -> None:
        slot = getattr(self, "slot", None)  # missing when __init__ was interrupted
        if slot is None or self._pool is None:
            return
        # Releasing it here could deadlock: the garbage collector runs anywhere.
        self._pool._orphaned(slot)
        self.slot = None
        if self._reader is not None:
            warnings.warn(
                f"unread response to {_name(self._request)} was dropped: read it to the end or "
                "close it",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __repr__(self) -> str:
        state = "complete" if self.complete else "closed" if self.closed else "open"
        return f"<{self.__class__.__name__} [{_name(self._request)}, {state}]>"


class UpgradedStream(NetworkStream):
    """A stream taken over from HTTP; first gives the bytes that came with the response."""

    def __init__(self, stream: NetworkStream, leading: bytes) -> None:
        self._stream = stream
        self._leading = leading

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._leading:
            part = self._leading[:max_bytes]
            self._leading = self._leading[max_bytes:]
            return part
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        if self._leading:
            # Bytes that came in plain text would be taken for part of the TLS stream, or lost.
            self.close()
            raise ReadError("the peer sent data before the TLS handshake")
        return self._stream.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._leading:
            return True
        return self._stream.get_extra_info(info)
