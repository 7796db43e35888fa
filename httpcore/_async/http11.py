"""One HTTP/1.1 connection: writing a request, and reading the head of its response.

Owns: the order of reads and writes on one stream. Must not know: how a connection is chosen or
opened; how HTTP is framed (that is `_core.h1`); its states, and what a failure means
(`_core.h1_exchange`); how a long body is sent (`request_body`); what becomes of the response's body
(`response_body`).

Sources: RFC 9112 sections 6 (bodies), 9.3 (reuse), 9.6 (tear-down); RFC 9110 section 9.3.6
(CONNECT).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from .._backends.async_deadline import AsyncDeadlineStream
from .._backends.base import AsyncNetworkStream
from .._backends.closing import close_rest, close_stream, unclosed
from .._backends.fork import keep_in_child
from .._backends.interrupt import abort
from .._core.h1 import Head, read_head
from .._core.h1_exchange import H1State, details_of, read_on
from .._core.limits import READ_SIZE
from .._core.prepared import Prepared
from .._core.upload import Script, T
from .._exceptions import ReadError, WriteError
from .._models import Request, Response, received_response
from .._timings import ConnectionInfo
from .._trace import AsyncTrace, debug
from .._url import Origin
from .interfaces import AsyncConnectionInterface
from .request_body import AsyncUpload, carry_out, run
from .response_body import LARGE_READ, AsyncResponseBody, body_by_hand

logger = logging.getLogger("httpcore.http11")


class AsyncHTTP11Connection(H1State, AsyncConnectionInterface):
    """An open HTTP/1.1 connection that can be driven by hand.

    Parameters:
        origin: who is at the other end.
        stream: the open `AsyncNetworkStream`; the connection owns it.
        keepalive_expiry: seconds it may be idle before `has_expired`; None for ever.
        parsing: ``"strict"`` or ``"lenient"``, see `AsyncConnectionPool`.

    It takes one request at a time: a second one raises ConnectionNotAvailable until the first
    response's body was read or closed. It belongs to the event loop of its stream.
    """

    asynchronous = True
    protocol = "http11"  # of the names of its trace events
    on_change: Callable[[], None] | None = None  # called when it has ended while it was idle
    max_streams = 1

    def __init__(
        self, origin: Origin, stream: AsyncNetworkStream, keepalive_expiry: float | None = None,
        *, parsing: str = "strict",
    ) -> None:  # fmt: skip
        super().__init__(origin, stream, keepalive_expiry, parsing == "lenient")
        self._upload: AsyncUpload | None = None  # of the current request, when it takes a while
        self.facts = ConnectionInfo(stream, "HTTP/1.1")  # at once: a reset takes the address along
        if getattr(stream, "on_unasked", self) is None:
            self.plain.on_unasked = self._end_if_idle

    async def handle_async_request(self, request: Request) -> Response:
        """Send `request` and return its response, the body unread. Raises ConnectionNotAvailable
        while the connection is busy or closed, and LocalProtocolError for a request that cannot be
        expressed: nothing was sent then. After any other error the connection is closed."""
        return await self.handle_prepared(self.to_prepared(request))

    async def handle_prepared(self, prepared: Prepared) -> Response:
        """As `handle_async_request`, for a request that was checked and encoded before."""
        self.claim()
        return await self.exchange(prepared, body_by_hand(prepared, logger))

    async def exchange(self, prepared: Prepared, body: AsyncResponseBody) -> Response:
        """Send one prepared request and read the response's head; the caller has made sure
        that nobody else uses the connection. Closes it on failure, unless nothing was sent."""
        body.source = self
        self.state = "ACTIVE"
        if prepared.deadline is not None:
            self.network = AsyncDeadlineStream(self.plain, prepared.deadline)
        self.request_count += 1
        self.untouched = True
        self.serving = prepared.request
        self.since = body.marks.ready
        self._upload = failure = None
        try:
            if body.aborted or self.aborted:
                raise ReadError("aborted before it was sent")
            failure = await self._send(prepared, body.trace)
            body.marks.sent = time.monotonic()
            head = await self._receive(prepared, body.trace)
            body.marks.headed = time.monotonic()
            all_sent, failure = failure is None, None  # its traceback has this frame, and the body
            return await self._respond(head, prepared.timeouts.read, body, all_sent)
        except BaseException as exc:
            error = self.explain(exc, failure, prepared.request)
            if not body.closed:  # else the connection may be somebody else's by now
                if self.untouched:
                    self.request_count -= 1
                await body.give_back(self.untouched and not self.aborted)
            try:
                if body.aborted or self.aborted:
                    raise body.explain_abort(error) from error
                if error is exc:
                    raise
                raise error from error.__cause__
            finally:
                del error, failure  # their tracebacks have this frame, which has the body

    # Sending

    async def _send(self, prepared: Prepared, trace: AsyncTrace | None) -> WriteError | None:
        """Send head and body. A connection that broke while the body was sent may still hold
        the server's answer, so that failure is returned and not raised."""
        try:
            if trace is None:
                await self._send_first(prepared)
                if self._upload is not None:
                    await self._send_rest(prepared)
            else:
                details = {"request": prepared.request}
                first, rest = (partial(f, prepared) for f in (self._send_first, self._send_rest))
                await traced(trace, "http11.send_request_headers", details, first)
                await traced(trace, "http11.send_request_body", details, rest)
        except WriteError as exc:
            if self.may_be_answered(exc):
                return exc
            raise
        return None

    async def _send_first(self, prepared: Prepared) -> None:
        if prepared.fits:
            first = prepared.head + (prepared.content or b"")
        else:
            self._upload = AsyncUpload(self.network, prepared, self.lenient)
            first = await self._upload.first()
        self.sent_body = len(first) > len(prepared.head)
        self.untouched = False
        await self.network.write(first, prepared.timeouts.write)

    async def _send_rest(self, prepared: Prepared) -> None:
        if self._upload is not None:
            self.sent_body = True
            await self._upload.send_rest(prepared.timeouts.write)

    # Receiving

    async def _receive(self, prepared: Prepared, trace: AsyncTrace | None) -> Head:
        if trace is not None:
            read = partial(self._receive, prepared, None)
            details = {"request": prepared.request}
            return await traced(trace, "http11.receive_response_headers", details, read, details_of)
        upload, head = self._upload, None
        if upload is not None and upload.reader is not None:
            script = read_on(upload.reader, prepared.timeouts.read)
            return await self._run(script) if upload.head is None else upload.head
        if self.doubted and prepared.length == 0:
            data = await self._run(self.read_doubted(prepared))
        else:
            data = await self.network.read(READ_SIZE, prepared.timeouts.read)
        if not prepared.special:
            head = read_head(data, prepared.request.method, self.lenient, self.origin)
        return await self._run(self.read_unusual(prepared, data)) if head is None else head

    async def _run(self, script: Script[T]) -> T:
        return await run(script, partial(carry_out, stream=self.network))

    async def _respond(
        self, head: Head, timeout: float | None, body: AsyncResponseBody, all_sent: bool
    ) -> Response:
        upload = self._upload
        if upload is not None:
            all_sent = upload.answered(all_sent)
        extensions = body.begin(head, timeout, all_sent)
        if upload is not None and upload.head is not None:
            upload.hand_over(body)
        if head.switched:
            extensions["network_stream"] = body.hand_over()
        elif head.body.done:
            await body.end()
        return received_response(head.status, head.headers, body, extensions)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some of the response's body, and send the request's while nothing is there."""
        if self._upload is not None:
            return await self._upload.read(max_bytes, timeout)
        data: bytes = await self.network.read(max_bytes, timeout)
        return data

    async def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """As `read`, into `buffer`."""
        readinto = getattr(self.network, "readinto", None)
        if readinto is not None and self._upload is None:
            count: int = await readinto(buffer, timeout)
            return count
        data = await self.read(min(len(buffer), LARGE_READ), timeout)
        buffer[: len(data)] = data
        return len(data)

    # State

    def finish(self, reusable: bool, complete: bool) -> bool:
        """The request is over: idle, if `reusable`, else closed; whether it can take another."""
        if self._upload is not None:
            self._upload.parts.abandon()
        self._upload = None  # it has the request's body
        if self.rest(reusable, complete, time.monotonic()):
            return True
        self.close()
        return False

    def detach(self) -> AsyncNetworkStream:
        """Give the stream to the caller, who goes on with it: to HTTP, the connection is CLOSED."""
        self.state = "CLOSED"
        stream: AsyncNetworkStream = self.plain
        self.network = stream
        keep_in_child(stream.get_extra_info("socket"))
        return stream

    def abort(self) -> None:
        """End, from another thread, what is being sent or received; it fails there with
        `Aborted`, and closes the connection."""
        self.aborted = True
        abort(self.network)

    def close(self) -> None:
        """Close the connection, without waiting; a body that is being read fails then. Any thread
        may."""
        self.state = "CLOSED"
        self.serving = None
        try:
            close_stream(self.network)
        except Exception as exc:
            # Nothing that a request could act on; raised, it would keep the slot from its pool.
            debug(logger, "closing the connection to %s failed: %s", self.origin, exc)

    def _end_if_idle(self) -> None:
        """Handle the stream's call: something has arrived that nobody waits for. Between two
        requests that is an end, or what nobody asked for."""
        if self.state == "IDLE":
            self.close()
            if self.on_change is not None:
                self.on_change()

    def has_expired(self) -> bool:
        return self.has_expired_at(time.monotonic())

    async def aclose(self) -> None:
        self.close()
        if unclosed:
            await close_rest()


async def nothing() -> None:
    """Do nothing, for `traced`."""


async def traced(
    trace: AsyncTrace,
    name: str,
    details: dict[str, Any],
    action: Callable[[], Awaitable[T]],
    shown: Callable[[T], object] = lambda _: None,
) -> T:
    """Return what `action` does, and report to `trace` when it begins and how it ends."""
    await trace(f"{name}.started", details)
    try:
        result = await action()
    except BaseException as exc:
        await trace(f"{name}.failed", {"exception": exc})
        raise
    await trace(f"{name}.complete", {"return_value": shown(result)})
    return result
