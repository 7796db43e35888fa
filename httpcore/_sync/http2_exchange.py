"""One request on an HTTP/2 connection: what waits for the connection and for the network.

Owns: the order of one request's steps, with the lock where they need it. Must not know: who reads
from the network (`http2`); what follows from what came (`_core.h2_exchange`); in which order a body
is sent (`_core.h2_upload`); what becomes of the response's body (`response_body`).
"""

from __future__ import annotations

import time
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from .._backends.base import NetworkStream
from .._backends.blocking import BlockingAdapter
from .._core.deadline import uncounted
from .._core.h1 import CHUNKED
from .._core.h2_election import Election
from .._core.h2_exchange import MORE_TO_SEND, TOO_EARLY, ExchangeState, not_sent
from .._core.h2_upload import CHANGE, NEXT_PART, WAIT, BodyUpload, Script
from .._core.limits import READ_SIZE
from .._core.prepared import Prepared, body_parts, framed_parts
from .._exceptions import NOT_SENT, TimeoutException, WriteTimeout
from .._models import Response, received_response
from .._timings import ConnectionInfo
from .._trace import Trace
from .deferred import Deferred, OwnedLock
from .response_body import ResponseBody

if TYPE_CHECKING:
    from .._core.h2 import Stream


class SharedConnection(Protocol):
    """What a request needs of the connection that it shares, beyond its `Session`.

    Attributes:
        lock: around the session, the codec and every call of the stream.
        deferred: what is to be done by whoever lets go of the lock.
        election: who reads for all.
        io: the stream, used without blocking.
        network_stream: the stream itself, for the caller.
        facts: about the connection, for the caller.
        is_occupied: this thread is in the middle of using it.
    """

    lock: OwnedLock
    deferred: Deferred
    election: Election
    io: Any
    network_stream: NetworkStream
    facts: ConnectionInfo

    @property
    def is_occupied(self) -> bool: ...

    def wait_until(
        self, exchange: HTTP2Exchange, ready: Callable[[], bool], timeout: float | None, write: bool
    ) -> None: ...

    def apply(self, change: Callable[..., Any], *arguments: Any) -> Any: ...

    def flush(self) -> None: ...

    def finish_deferred(self) -> None: ...

    def ring(self) -> None: ...

    def discard(self, exchange: HTTP2Exchange) -> None: ...

    def keep_session(self) -> None: ...

    def close_now(self) -> None: ...


class HTTP2Exchange(ExchangeState):
    """One request on an HTTP/2 connection: what a response's body takes for its connection.

    It belongs to one thread at a time; `abort` may come from any.

    Attributes:
        connection: the connection that carries it; set by that.
    """

    __slots__ = ("_upload", "connection")

    connection: SharedConnection
    _upload: BodyUpload | None  # the body, when it did not leave with the head

    protocol = "http2"  # of the names of its trace events
    unclean_eof = False

    def perform(self, prepared: Prepared, body: ResponseBody) -> Response:
        """Send the request and wait for its response's head."""
        self._upload = None
        self.since = body.marks.ready
        if body.aborted:
            self.aborted = True
        trace, timeout = body.trace, prepared.timeouts.read
        if trace is None:
            if self._open(prepared) or self.session.unsent:
                self._send_body(prepared)
            body.marks.sent = time.monotonic()
            self._receive_head(timeout)
        else:
            self._send_traced(prepared, trace)
            body.marks.sent = time.monotonic()
            self._receive_head_traced(timeout, trace)
        body.marks.headed = time.monotonic()
        return self._respond(timeout, body)

    def left(self, timeout: float | None) -> float | None:
        """Return what is left of `timeout` seconds from now, and of the total."""
        return timeout if self.deadline is None else self.deadline.left(timeout)

    def miss(self, began: float, seconds: float | None) -> float:
        """Return how much of a wait that came back empty the clock has not counted; the total of
        the request has."""
        missed = 0.0 if seconds is None else uncounted(began, seconds, time.monotonic())
        if self.deadline is not None:
            self.deadline.at -= missed
        return missed

    # Sending

    def _send_traced(self, prepared: Prepared, trace: Trace) -> None:
        """Send the request as `perform` does, with events for `trace`."""
        connection, session = self.connection, self.session
        if not session.request_count:
            with _TracedPhase(trace, "send_connection_init", request=self.request):
                with connection.lock:
                    connection.flush()
                if session.write_error is not None:
                    raise self.explain_write_error(session.write_error, NOT_SENT)
        # A stream gets its number in one step with being sent, so there is none to tell before.
        with _TracedPhase(trace, "send_request_headers", request=self.request, stream_id=None):
            more = self._open(prepared)
        assert self.stream is not None
        number = self.stream.id
        with _TracedPhase(trace, "send_request_body", request=self.request, stream_id=number):
            if more or session.unsent:
                self._send_body(prepared)

    def _open(self, prepared: Prepared) -> bool:
        """Send the head, and a small body with it; return whether there is more to send."""
        connection, session = self.connection, self.session
        request = prepared.request
        fields = session.request_fields(
            request.method, request.url.scheme, request.url.target, request.headers
        )
        if type(connection.io) is BlockingAdapter:
            connection.io.patience = prepared.timeouts.write
        while True:
            if not session.codec.settled:
                self._await_settings(prepared.timeouts.read)
            with connection.lock:
                outcome = self.open(prepared, fields, time.monotonic())
                if outcome is TOO_EARLY:
                    continue
                connection.flush()
                if session.write_error is not None:
                    raise self.explain_write_error(session.write_error, session.write_error.phase)
                break
        if connection.deferred:
            connection.finish_deferred()
        return outcome is MORE_TO_SEND

    def _await_settings(self, timeout: float | None) -> None:
        """Wait until it is known how many streams there may be. The answer is on its way."""
        try:
            self.connection.wait_until(self, self.is_settled, self.left(timeout), False)
        except TimeoutException as exc:
            raise not_sent(exc)

    def _send_body(self, prepared: Prepared) -> None:
        parts = body_parts if prepared.length == CHUNKED else framed_parts
        self._upload = upload = BodyUpload(self, prepared, parts(prepared))
        self._drive(upload.parts, upload.begin())

    def _drive(self, parts: Iterator[bytes], script: Script) -> None:
        """Do what the script of an upload asks for, until its end."""
        result: Any = None
        try:
            step = next(script)
            while True:
                try:
                    if step.action is NEXT_PART:
                        result = next(parts, None)
                    elif step.action is CHANGE:
                        result = self.connection.apply(step.call)
                    elif step.action is WAIT:
                        timeout = self.left(step.timeout)
                        self.connection.wait_until(self, step.call, timeout, True)
                    else:
                        result = self._listen(step.call, step.timeout)
                except BaseException as exc:
                    step = script.throw(exc)
                else:
                    step = script.send(result)
        except StopIteration:
            return

    def _listen(self, ready: Callable[[], bool], patience: float | None) -> bool:
        """Send nothing for so many seconds, or until `ready()`; return whether it is."""
        self.asks = True
        try:
            self.connection.wait_until(self, ready, self.left(patience), True)
        except WriteTimeout:
            if self.deadline is not None and self.deadline.passed:
                raise
            return False
        finally:
            self.asks = False
        return True

    def conclude(self) -> bool:
        """Send what the server wants of the body now that its response is whole. Return True: the
        connection can carry other requests, whatever becomes of this one."""
        if self._upload is not None:
            self._drive(self._upload.parts, self._upload.send_on())
        return True

    # Receiving

    def _receive_head_traced(self, timeout: float | None, trace: Trace) -> None:
        stream = self.stream
        assert stream is not None
        with _TracedPhase(
            trace, "receive_response_headers", request=self.request, stream_id=stream.id
        ) as details:
            self._receive_head(timeout)
            details["return_value"] = (stream.status, stream.headers)

    def _receive_head(self, timeout: float | None) -> None:
        """Wait for the head of the final response, and let the caller see the interim ones."""
        connection, stream = self.connection, self.stream
        assert stream is not None
        while stream.status is None or stream.informational:
            left = timeout if self.deadline is None else self.deadline.left(timeout)
            connection.wait_until(self, self.has_news, left, False)
            if stream.informational:
                with connection.lock:
                    informational, stream.informational = stream.informational, []
                if connection.deferred:
                    connection.finish_deferred()
                hook = self.request.extensions.get("informational")
                if hook is not None:
                    for status, headers in informational:
                        hook(status, headers)
            elif stream.status is None:
                raise self.failure()

    def _respond(self, timeout: float | None, body: ResponseBody) -> Response:
        """The response, with as much of its body as has arrived."""
        connection, stream = self.connection, self.stream
        assert stream is not None and stream.status is not None
        body.reader = stream
        body.timeout = timeout
        body.reusable = True
        if body.trace is not None:
            body.told = False
        network_stream = connection.network_stream
        if self._upload is not None and self._upload.continue_by_reading():
            body.upload = self
            body.reusable = False  # closed now, it ends the stream and reads nothing away
        if stream.parts:
            with connection.lock:
                body.pending = self.session.codec.take(stream, READ_SIZE)
            if connection.deferred:
                connection.finish_deferred()
        if stream.ended and not stream.parts:
            body.end()
        extensions = {
            "http_version": b"HTTP/2",
            "network_stream": network_stream,
            "stream_id": stream.id,
            "reused": self.reused,
            "timings": body.marks,
            "connection": connection.facts,
        }
        return received_response(stream.status, stream.headers, body, extensions)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Payload that has arrived, at least one byte; ``b""`` at the end of the body."""
        stream = self._await_payload(timeout)
        connection, session = self.connection, self.session
        with connection.lock:
            data: bytes = session.codec.take(stream, max_bytes)
            if session.codec.out:
                connection.flush()
        if connection.deferred:
            connection.finish_deferred()
        return data

    def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """As `read`, into `buffer`; 0 at the end of the body."""
        stream = self._await_payload(timeout)
        connection, session = self.connection, self.session
        with connection.lock:
            count: int = session.codec.take_into(stream, buffer)
            if session.codec.out:
                connection.flush()
        if connection.deferred:
            connection.finish_deferred()
        return count

    def _await_payload(self, timeout: float | None) -> Stream:
        """Wait until some of the body can be read, or raise why it never will."""
        connection, stream = self.connection, self.stream
        assert stream is not None
        if connection.lock.is_owned() or (not stream.readable and connection.is_occupied):
            raise self.refuse_handler()
        if not stream.readable:
            upload = self._upload
            try:
                if upload is not None:
                    self._drive(upload.parts, upload.send_while_reading(timeout))
                connection.wait_until(self, self.has_payload, self.left(timeout), False)
            except TimeoutException as exc:
                if self.deadline is not None:
                    self.deadline.explain(exc)
                raise
        if not stream.parts and not stream.ended:
            raise self.failure()
        return stream

    # The end

    def finish(self, reusable: bool, complete: bool) -> bool:
        """End the request; return whether the connection can take others."""
        connection, session = self.connection, self.session
        self._upload = None
        if connection.lock.is_owned():
            connection.deferred.append(partial(self._finish_now, complete))
        else:
            self._finish_now(complete)
            if session.ringing or connection.deferred:
                connection.finish_deferred()
            if session.codec.changes != session.changes_reported:
                session.report_changes()
        return not (session.codec.draining or session.closed or session.aborted)

    def _finish_now(self, complete: bool) -> None:
        connection, session = self.connection, self.session
        with connection.lock:
            wake_reader = self.leave(complete, time.monotonic())
            if complete and self.stream is not None and self.stream.id == 1:
                connection.keep_session()
            if session.codec.out:
                connection.flush()
            if wake_reader and connection.election.reader is self:
                connection.io.wake()
            if session.codec.draining or session.closed or session.aborted:
                if not session.exchanges:
                    connection.close_now()

    def discard(self) -> None:
        """Forget the request; called by the garbage collector."""
        self.connection.discard(self)

    def abort(self) -> None:
        """End this request, from another thread or from a signal handler, which may have struck a
        thread that has the lock; others on the connection go on."""
        connection = self.connection
        self.aborted = True
        if self.session.call(self):
            connection.ring()
        elif connection.election.reader is self:
            connection.io.wake()


class _TracedPhase:
    """A phase of a request, reported to its trace; what is put into it goes with the last event."""

    def __init__(self, trace: Trace, name: str, **details: Any) -> None:
        self._trace = trace
        self._name = f"http2.{name}"
        self._details = details

    def __enter__(self) -> dict[str, Any]:
        self._trace(f"{self._name}.started", self._details)
        self._result: dict[str, Any] = {}
        return self._result

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if exc_value is not None:
            self._trace(f"{self._name}.failed", {"exception": exc_value})
        else:
            self._trace(
                f"{self._name}.complete", {"return_value": self._result.get("return_value")}
            )
