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
from collections.abc import Callable
from functools import partial
from typing import Any

from .._backends.base import NetworkStream
from .._backends.deadline import DeadlineStream
from .._backends.fork import ForkedStream, keep_in_child, renew_in_child
from .._backends.interrupt import abort
from .._core.h1 import Head, read_head
from .._core.h1_exchange import H1State, details_of, read_on
from .._core.limits import READ_SIZE
from .._core.prepared import Prepared
from .._core.upload import Script, T
from .._exceptions import ReadError, WriteError
from .._models import Request, Response, received_response
from .._shared.deferred import OwnedLock
from .._timings import ConnectionInfo
from .._trace import Trace, debug
from .._url import Origin
from .interfaces import ConnectionInterface
from .request_body import Upload, carry_out, run
from .response_body import LARGE_READ, ResponseBody, body_by_hand

logger = logging.getLogger("httpcore.http11")


class HTTP11Connection(H1State, ConnectionInterface):
    """An open HTTP/1.1 connection that can be driven by hand.

    Parameters:
        origin: who is at the other end.
        stream: the open `NetworkStream`; the connection owns it.
        keepalive_expiry: seconds it may be idle before `has_expired`; None for ever.
        parsing: ``"strict"`` or ``"lenient"``, see `ConnectionPool`.

    It takes one request at a time: a second one raises ConnectionNotAvailable until the first
    response's body was read or closed. It belongs to the process that made it: in the child of a
    fork it is CLOSED.
    """

    protocol = "http11"  # of the names of its trace events
    on_change: Callable[[], None] | None = None  # never called: what it can carry never changes
    max_streams = 1

    def __init__(
        self, origin: Origin, stream: NetworkStream, keepalive_expiry: float | None = None,
        *, parsing: str = "strict",
    ) -> None:  # fmt: skip
        super().__init__(origin, stream, keepalive_expiry, parsing == "lenient")
        # By hand only, and not held over anything that waits. Who interrupts it may not claim the
        # connection, too: an RLock knows its owner.
        self._lock = OwnedLock()
        self._upload: Upload | None = None  # of the current request, when it takes a while
        self.facts = ConnectionInfo(stream, "HTTP/1.1")  # at once: a reset takes the address along
        renew_in_child(self)

    def handle_request(self, request: Request) -> Response:
        """Send `request` and return its response, the body unread. Raises ConnectionNotAvailable
        while the connection is busy or closed, and LocalProtocolError for a request that cannot be
        expressed: nothing was sent then. After any other error the connection is closed."""
        return self.handle_prepared(self.to_prepared(request))

    def handle_prepared(self, prepared: Prepared) -> Response:
        """As `handle_request`, for a request that was checked and encoded before."""
        if self._lock.is_owned():
            raise self.taken_below()
        with self._lock:
            self.claim()
        return self.exchange(prepared, body_by_hand(prepared, logger))

    def exchange(self, prepared: Prepared, body: ResponseBody) -> Response:
        """Send one prepared request and read the response's head; the caller has made sure
        that nobody else uses the connection. Closes it on failure, unless nothing was sent."""
        body.source = self
        self.state = "ACTIVE"
        if prepared.deadline is not None:
            self.network = DeadlineStream(self.plain, prepared.deadline)
        self.request_count += 1
        self.untouched = True
        self.serving = prepared.request
        self.since = body.marks.ready
        self._upload = failure = None
        try:
            if body.aborted or self.aborted:
                raise ReadError("aborted before it was sent")
            failure = self._send(prepared, body.trace)
            body.marks.sent = time.monotonic()
            head = self._receive(prepared, body.trace)
            body.marks.headed = time.monotonic()
            all_sent, failure = failure is None, None  # its traceback has this frame, and the body
            return self._respond(head, prepared.timeouts.read, body, all_sent)
        except BaseException as exc:
            error = self.explain(exc, failure, prepared.request)
            if not body.closed:  # else the connection may be somebody else's by now
                if self.untouched:
                    self.request_count -= 1
                body.give_back(self.untouched and not self.aborted)
            try:
                if body.aborted or self.aborted:
                    raise body.explain_abort(error) from error
                if error is exc:
                    raise
                raise error from error.__cause__
            finally:
                del error, failure  # their tracebacks have this frame, which has the body

    # Sending

    def _send(self, prepared: Prepared, trace: Trace | None) -> WriteError | None:
        """Send head and body. A connection that broke while the body was sent may still hold
        the server's answer, so that failure is returned and not raised."""
        try:
            if trace is None:
                self._send_first(prepared)
                if self._upload is not None:
                    self._send_rest(prepared)
            else:
                details = {"request": prepared.request}
                first, rest = (partial(f, prepared) for f in (self._send_first, self._send_rest))
                traced(trace, "http11.send_request_headers", details, first)
                traced(trace, "http11.send_request_body", details, rest)
        except WriteError as exc:
            if self.may_be_answered(exc):
                return exc
            raise
        return None

    def _send_first(self, prepared: Prepared) -> None:
        if prepared.fits:
            first = prepared.head + (prepared.content or b"")
        else:
            self._upload = Upload(self.network, prepared, self.lenient)
            first = self._upload.first()
        self.sent_body = len(first) > len(prepared.head)
        self.untouched = False
        self.network.write(first, prepared.timeouts.write)

    def _send_rest(self, prepared: Prepared) -> None:
        if self._upload is not None:
            self.sent_body = True
            self._upload.send_rest(prepared.timeouts.write)

    # Receiving

    def _receive(self, prepared: Prepared, trace: Trace | None) -> Head:
        if trace is not None:
            read = partial(self._receive, prepared, None)
            details = {"request": prepared.request}
            return traced(trace, "http11.receive_response_headers", details, read, details_of)
        upload, head = self._upload, None
        if upload is not None and upload.reader is not None:
            script = read_on(upload.reader, prepared.timeouts.read)
            return self._run(script) if upload.head is None else upload.head
        if self.doubted and prepared.length == 0:
            data = self._run(self.read_doubted(prepared))
        else:
            data = self.network.read(READ_SIZE, prepared.timeouts.read)
        if not prepared.special:
            head = read_head(data, prepared.request.method, self.lenient, self.origin)
        return self._run(self.read_unusual(prepared, data)) if head is None else head

    def _run(self, script: Script[T]) -> T:
        return run(script, partial(carry_out, stream=self.network))

    def _respond(
        self, head: Head, timeout: float | None, body: ResponseBody, all_sent: bool
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
            body.end()
        return received_response(head.status, head.headers, body, extensions)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some of the response's body, and send the request's while nothing is there."""
        if self._upload is not None:
            return self._upload.read(max_bytes, timeout)
        data: bytes = self.network.read(max_bytes, timeout)
        return data

    def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """As `read`, into `buffer`."""
        readinto = getattr(self.network, "readinto", None)
        if readinto is not None and self._upload is None:
            count: int = readinto(buffer, timeout)
            return count
        data = self.read(min(len(buffer), LARGE_READ), timeout)
        buffer[: len(data)] = data
        return len(data)

    # State

    def finish(self, reusable: bool, complete: bool) -> bool:
        """The request is over: idle, if `reusable`, else closed; whether it can take another."""
        self._upload = None  # it has the request's body
        if self.rest(reusable, complete, time.monotonic()):
            return True
        self.close()
        return False

    def detach(self) -> NetworkStream:
        """Give the stream to the caller, who goes on with it: to HTTP, the connection is CLOSED."""
        self.state = "CLOSED"
        stream: NetworkStream = self.plain
        self.network = stream
        keep_in_child(stream.get_extra_info("socket"))
        return stream

    def abort(self) -> None:
        """End, from another thread, what is being sent or received; it fails there with
        `Aborted`, and closes the connection."""
        self.aborted = True
        abort(self.network)

    def close(self) -> None:
        """Close the connection; a body that is being read fails then. Any thread may."""
        self.state = "CLOSED"
        self.serving = None
        try:
            self.network.close()
        except Exception as exc:
            # Nothing that a request could act on; raised, it would keep the slot from its pool.
            debug(logger, "closing the connection to %s failed: %s", self.origin, exc)

    def has_expired(self) -> bool:
        return self.has_expired_at(time.monotonic())

    def _renew_in_child(self) -> None:
        """In the child of a fork: the connection is the parent's, and CLOSED here."""
        self._lock = OwnedLock()
        if self.state == "CLOSED":
            return  # or its stream was handed to the caller, who may go on with it
        self.plain = self.network = ForkedStream(self.network, self.lose_in_child())
        if self._upload is not None:
            self._upload.lose(self.network)


def nothing() -> None:
    """Do nothing, for `traced`."""


def traced(
    trace: Trace,
    name: str,
    details: dict[str, Any],
    action: Callable[[], T],
    shown: Callable[[T], object] = lambda _: None,
) -> T:
    """Return what `action` does, and report to `trace` when it begins and how it ends."""
    trace(f"{name}.started", details)
    try:
        result = action()
    except BaseException as exc:
        trace(f"{name}.failed", {"exception": exc})
        raise
    trace(f"{name}.complete", {"return_value": shown(result)})
    return result
