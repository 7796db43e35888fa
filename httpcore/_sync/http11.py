"""One HTTP/1.1 connection: writing a request, and reading the head of its response.

Owns: the order of reads and writes on one stream, and the state of the connection. Must not
know: how a connection is chosen or opened; how HTTP is framed (that is `_core.h1`); how a long body
is sent (`request_body`); what becomes of the response's body (`response_body`).

Sources: RFC 9112 sections 6 (bodies), 9.3 (reuse), 9.6 (tear-down); RFC 9110 section 9.3.6
(CONNECT).
"""

from __future__ import annotations

import logging
import time

from .._backends.base import NetworkStream
from .._backends.clock import Deadline
from .._backends.fork import ForkedStream, renew_in_child
from .._backends.interrupt import abort
from .._core.h1 import Head, HeadReader, read_head
from .._core.limits import ACK_PATIENCE
from .._core.prepared import WRITE_SIZE, Prepared, expects_continue, prepare
from .._exceptions import (
    DISCONNECTED,
    MAYBE_PROCESSED,
    NOT_SENT,
    RESPONSE_STARTED,
    ConnectionNotAvailable,
    LocalProtocolError,
    NetworkError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    ServerDisconnected,
    TimeoutException,
    WriteError,
    explained,
    without_frames,
)
from .._models import Request, Response, describe, name_request, received_response
from .._timings import ConnectionInfo
from .._trace import Trace, combined, debug, log_event, logs_debug
from .._url import Origin
from .deadline import DeadlineStream
from .deferred import OwnedLock
from .interfaces import ConnectionInterface
from .request_body import Upload, UploadingStream
from .response_body import READ_SIZE, ResponseBody

logger = logging.getLogger("httpcore.http11")

# Seconds of silence after which a path may be gone without a sign (a NAT that forgot it, a laptop
# that slept). Short, since doubt costs nothing unless the peer stays silent.
DOUBT_AFTER = 1.0

# Seconds that a final response has to follow an interim one of unknown status, in lenient mode.
# Servers that send interim responses send registered ones; http.client does not wait at all.
UNKNOWN_INTERIM_PATIENCE = 1.0


class HTTP11Connection(ConnectionInterface):
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
    on_change = None  # it never changes what it can carry
    max_streams = 1

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
        self.request_count = 0
        self._expires: float | None = None
        # By hand only, and not held over anything that waits. Who interrupts it may not claim the
        # connection, too: an RLock knows its owner.
        self._lock = OwnedLock()
        self._untouched = True  # nothing of the current request was written yet
        self._upload: Upload | None = None  # of the current request, when it takes a while
        self.facts = ConnectionInfo(stream, "HTTP/1.1")  # at once: a reset takes the address along
        self.aborted = False  # another thread wants this to end
        self.doubted = False  # idle for so long that the path may be gone without a sign
        # The request whose response is not at its end, for people and error texts.
        self.serving: Request | None = None
        self.since: float | None = None  # by time.monotonic: when it was given to that
        renew_in_child(self)

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
        return self.handle_prepared(prepare(request, self._lenient))

    def handle_prepared(self, prepared: Prepared) -> Response:
        """As `handle_request`, for a request that was checked and encoded before."""
        request = prepared.request
        if self._lock.is_owned():
            raise ConnectionNotAvailable(
                f"the connection to {self._origin} is being taken by the code that this signal "
                "handler has interrupted; nothing was sent"
            )
        with self._lock:
            if self._state not in ("NEW", "IDLE"):
                raise ConnectionNotAvailable(f"the connection to {self._origin} is {self._state}")
            self._state = "ACTIVE"
        if prepared.deadline is None and prepared.timeouts.total is not None:
            prepared.deadline = Deadline(prepared.timeouts.total)
        body = ResponseBody(None, request)
        body.marks.began = body.marks.ready = time.monotonic()
        log = log_event if logs_debug(logger) else None
        body.trace = combined(log, request.extensions.get("trace"))
        return self.exchange(prepared, body)

    def exchange(self, prepared: Prepared, body: ResponseBody) -> Response:
        """Send one prepared request and read the response's head; the caller has made sure
        that nobody else uses the connection. Closes it on failure, unless nothing was sent."""
        request = prepared.request
        body.source = self
        self._state = "ACTIVE"
        if prepared.deadline is not None:
            self._stream = DeadlineStream(self._stream, prepared.deadline)
        self.request_count += 1
        self._untouched = True
        self.serving = request
        self.since = body.marks.ready
        self._upload = None
        try:
            if body.aborted or self.aborted:
                raise ReadError("aborted before it was sent")
            failure = self._send(prepared, body.trace)
            body.marks.sent = time.monotonic()
            head = self._receive_head(prepared, body.trace, failure)
            body.marks.headed = time.monotonic()
            upload: Upload | None = self._upload
            all_sent = failure is None and (upload is None or upload.all_sent)
            if failure is not None and upload is not None:
                upload.plan.stopped = True
            failure = None  # its traceback has this frame, which has the body
            return self._respond(head, prepared.timeouts.read, body, all_sent)
        except BaseException as exc:
            if isinstance(exc, RemoteProtocolError):
                name_request(exc, request)
            if not body.closed:  # else the connection may be somebody else's by now
                if self._untouched:
                    self.request_count -= 1
                body.give_back(self._untouched and not self.aborted)
            if body.aborted or self.aborted:
                raise body.explain_abort(exc) from exc
            raise

    # Sending

    def _send(self, prepared: Prepared, trace: Trace | None) -> WriteError | None:
        """Send head and body. A connection that broke while the body was sent may still hold
        the server's answer, so that failure is returned and not raised."""
        if trace is not None:
            trace("http11.send_request_headers.started", {"request": prepared.request})
        head = prepared.head
        content = prepared.content
        first = head
        try:
            if content is None or prepared.length != len(content) or len(content) > WRITE_SIZE:
                self._upload = Upload(self._stream, prepared, self._lenient)
                first = self._upload.first()
            elif content:
                if expects_continue(prepared):
                    self._upload = Upload(self._stream, prepared, self._lenient)
                else:
                    first = head + content
            self._untouched = False
            self._stream.write(first, prepared.timeouts.write)
        except BaseException as exc:
            if trace is not None:
                trace("http11.send_request_headers.failed", {"exception": exc})
            if isinstance(exc, WriteError) and exc.phase != NOT_SENT and len(first) > len(head):
                return exc
            raise
        if trace is not None:
            trace("http11.send_request_headers.complete", {"return_value": None})
        elif self._upload is None:
            return None
        return self._send_rest(prepared, trace)

    def _send_rest(self, prepared: Prepared, trace: Trace | None) -> WriteError | None:
        if trace is not None:
            trace("http11.send_request_body.started", {"request": prepared.request})
        try:
            if self._upload is not None:
                self._upload.send_rest(prepared.timeouts.write)
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
        trace: Trace | None,
        failure: WriteError | None,
    ) -> Head:
        timeout = prepared.timeouts.read
        if trace is not None:
            trace("http11.receive_response_headers.started", {"request": prepared.request})
        try:
            if self._upload is not None and self._upload.reader is not None:
                head = self._upload.head or self._go_on(self._upload.reader, timeout)
            else:
                head = self._read_head(prepared, timeout)
        except BaseException as exc:
            if trace is not None:
                trace("http11.receive_response_headers.failed", {"exception": exc})
            if failure is not None and isinstance(exc, ServerDisconnected):
                raise exc from failure  # it ended in order, so 1.0.9 says the same
            if failure is not None and isinstance(exc, Exception):
                # The server said nothing: the first failure stands, and so does what it came from.
                raise failure from failure.__cause__
            raise
        if trace is not None:
            trace(
                "http11.receive_response_headers.complete",
                {"return_value": (head.http_version, head.status, head.reason, head.headers)},
            )
        return head

    def _read_head(self, prepared: Prepared, timeout: float | None) -> Head:
        if self.doubted and prepared.length == 0:
            data = self._read_doubted(prepared.request, timeout)
        else:
            data = self._stream.read(READ_SIZE, timeout)
        head = None
        if not prepared.special:
            head = read_head(data, prepared.request.method, self._lenient)
        return head or self._receive_unusual_head(prepared, data, timeout)

    def _read_doubted(self, request: Request, timeout: float | None) -> bytes:
        """The first read after a long silence. NATs and firewalls forget idle connections and
        then drop what comes, without a sign; but a request that its peer's system does not even
        acknowledge is not worth waiting for. (With a body it could be a full window.)"""
        if timeout is not None and timeout <= ACK_PATIENCE:
            return self._stream.read(READ_SIZE, timeout)
        try:
            return self._stream.read(READ_SIZE, ACK_PATIENCE)
        except ReadTimeout as exc:
            if self._stream.get_extra_info("unacknowledged"):
                raise ReadError(
                    f"{self._origin} has not acknowledged {describe(request)} within "
                    f"{ACK_PATIENCE:g} s: the idle connection is dead"
                ) from exc
        try:
            return self._stream.read(READ_SIZE, None if timeout is None else timeout - ACK_PATIENCE)
        except ReadTimeout as exc:
            raise ReadTimeout(
                f"read from {self._origin} timed out: no byte within {timeout:g} s"
            ) from exc

    def _receive_unusual_head(self, prepared: Prepared, data: bytes, timeout: float | None) -> Head:
        request = prepared.request
        if not data:
            raise explained(
                ServerDisconnected(DISCONNECTED),
                f"{self._origin} closed the connection before any byte of the answer to "
                f"{describe(request)}; the request may have been processed",
            )
        reader = HeadReader(
            request.method,
            request.headers,
            lenient=self._lenient,
            informational=request.extensions.get("informational"),
        )
        return self._go_on(reader, timeout, data)

    def _go_on(self, reader: HeadReader, timeout: float | None, data: bytes = b"") -> Head:
        """Read the rest of a head that `reader` has begun with, and then `data`."""
        try:
            while True:
                head = reader.feed(data) if data else None
                if head is not None:
                    return head
                if reader.may_be_final:
                    data = self._read_after_unknown(timeout)
                else:
                    data = self._stream.read(READ_SIZE, timeout)
                if not data:
                    return reader.feed_eof()
        except (NetworkError, RemoteProtocolError, TimeoutException) as exc:
            exc.phase = RESPONSE_STARTED
            raise

    def _read_after_unknown(self, timeout: float | None) -> bytes:
        """What follows an interim response of unknown status; empty when nothing does."""
        patience = UNKNOWN_INTERIM_PATIENCE
        if timeout is not None:
            patience = min(patience, timeout)
        try:
            return self._stream.read(READ_SIZE, patience)
        except ReadTimeout:
            return b""

    def _respond(
        self, head: Head, timeout: float | None, body: ResponseBody, all_sent: bool
    ) -> Response:
        reader = head.body
        body.reader = reader
        body.timeout = timeout
        body.reusable = head.keep_alive and all_sent
        body.keep_for = head.keep_alive_timeout
        reused = self.request_count > 1
        stream = self._stream
        if type(stream) is DeadlineStream:
            stream = stream.stream
        if body.trace is not None:
            body.told = False
        if head.rest:
            try:
                body.pending = reader.feed(head.rest)
            except RemoteProtocolError as exc:
                # There is a response, and its body is broken: who reads it is told.
                body.failure = without_frames(exc)
        if self._upload is not None and self._upload.head is not None:
            self._read_while_sending(body, self._upload)
        if head.switched:
            stream = body.hand_over()
        elif reader.done:
            body.end()
        extensions = {
            "http_version": head.http_version,
            "reason_phrase": head.reason,
            "network_stream": stream,
            "reused": reused,
            "timings": body.marks,
            "connection": self.facts,
        }
        return received_response(head.status, head.headers, body, extensions)

    def _read_while_sending(self, body: ResponseBody, upload: Upload) -> None:
        """Give the response's `body` what came while the request was sent, and let it send the
        rest where there is one."""
        early = upload.hand_over()
        if early:
            body.pending = early
        body.failure = upload.failure or body.failure
        if upload.goes_on:
            body.upload = upload
            self._stream = UploadingStream(self._stream, upload)

    # State

    def finish(self, reusable: bool, complete: bool) -> bool:
        """The request is over: idle, if `reusable`, else closed; whether it can take another."""
        if self._upload is not None:  # it has the request's body
            self._upload = None
            if type(self._stream) is UploadingStream:
                self._stream = self._stream.stream
        # It may have been aborted in the moment in which its response ended.
        if not reusable or self._state == "CLOSED" or self.aborted:
            if complete:
                self._keep_session()
            self.close()
            return False
        self._state = "IDLE"
        self._drop_deadline()
        if self.request_count == 1:
            self._keep_session()
        self.serving = None
        if self._keepalive_expiry is not None:
            self._expires = time.monotonic() + self._keepalive_expiry
        return True

    def abort(self) -> None:
        """End, from another thread, what is being sent or received; it fails there with
        `Aborted`, and closes the connection."""
        self.aborted = True
        abort(self._stream)

    def _keep_session(self) -> None:
        """The peer has answered, so the next connection to it may resume this one's TLS."""
        self._drop_deadline()
        keep = getattr(self._stream, "keep_session", None)
        if keep is not None:
            keep()

    def _drop_deadline(self) -> None:
        """The request is over: the next one, or whoever takes the stream over, has another."""
        if type(self._stream) is DeadlineStream:
            self._stream = self._stream.stream

    def close(self) -> None:
        """Close the connection; a body that is being read fails then. Any thread may."""
        self._state = "CLOSED"
        self.serving = None
        try:
            self._stream.close()
        except Exception as exc:
            # Nothing that a request could act on; raised, it would keep the slot from its pool.
            debug(logger, "closing the connection to %s failed: %s", self._origin, exc)

    def _renew_in_child(self) -> None:
        """In the child of a fork: the connection is the parent's, and CLOSED here."""
        self._lock = OwnedLock()
        if self._state == "CLOSED":
            return  # or its stream was handed to the caller, who may go on with it
        what = f"the connection to {self._origin} belongs"
        if self.serving is not None:
            what = f"the response to {describe(self.serving)}, as its connection, belongs"
        self._stream = ForkedStream(
            self._stream,
            f"{what} to the parent process; the child of a fork must send a request of its own",
        )
        if self._upload is not None:
            self._upload.lose(self._stream)
        self._state = "CLOSED"
        self.serving = None

    def can_handle_request(self, origin: Origin) -> bool:
        return origin == self._origin

    @property
    def open_streams(self) -> int:
        """How many requests are under way on it."""
        return 0 if self.serving is None else 1

    def is_available(self) -> bool:
        return self._state in ("NEW", "IDLE")

    def is_readable(self) -> bool:
        """Whether bytes or an end have arrived; on an idle connection both mean it is dead."""
        return bool(self._stream.get_extra_info("is_readable"))

    def is_usable(self, idle_for: float) -> bool:
        """Whether it can take a request now, after `idle_for` seconds without one. Readable while
        idle means that the server has closed it, or said something unasked."""
        self.doubted = idle_for > DOUBT_AFTER
        return not self._stream.get_extra_info("is_readable")

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
        return f"{origin!r}, HTTP/1.1, {self._state}, Request Count: {self.request_count}"

    def __repr__(self) -> str:
        origin = str(self._origin)
        return (
            f"<{self.__class__.__name__} [{origin!r}, {self._state}, "
            f"Request Count: {self.request_count}]>"
        )
