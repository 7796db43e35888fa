"""One request on an HTTP/2 connection: what waits for the connection and for the network.

Owns: the order of one request's steps, with the lock where they need it. Must not know: who reads
from the network (`http2`); what follows from what came (`_core.h2_exchange`); in which order a body
is sent (`_core.h2_upload`); what becomes of the response's body (`response_body`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .._core.h1 import CHUNKED
from .._core.h2_election import Election
from .._core.h2_exchange import MORE_TO_SEND, TOO_EARLY, ExchangeState, not_sent
from .._core.h2_upload import CHANGE, LOOK, NOW, SEND_PARTS, BodyUpload, Step
from .._core.limits import READ_SIZE
from .._core.prepared import Prepared
from .._exceptions import NOT_SENT, TimeoutException
from .._models import Response
from .._shared.deferred import Deferred, OwnedLock
from .._trace import AsyncTrace
from .body_parts import body_parts, framed_parts
from .http11 import nothing, traced
from .part_watches import ExchangeWatch
from .request_body import run
from .response_body import AsyncResponseBody

if TYPE_CHECKING:
    from .._core.h2 import Stream

T = TypeVar("T")
U = TypeVar("U")


class SharedConnection(Protocol):
    """The connection that a request shares, as far as it needs more than its `Session`.

    Attributes:
        lock: around the session, the codec and every call of the stream.
        deferred: what is to be done by whoever lets go of the lock.
        election: who reads for all.
        io: the stream, used without blocking.
        driven: the event loop calls back what has arrived.
        is_occupied: this thread is in the middle of using it.
        The others: see `AsyncHTTP2Connection`.
    """

    lock: OwnedLock
    deferred: Deferred
    election: Election
    io: Any
    driven: bool

    @property
    def is_occupied(self) -> bool: ...

    async def wait_until(
        self,
        exchange: AsyncHTTP2Exchange,
        ready: Callable[[], bool],
        timeout: float | None,
        write: bool,
    ) -> None: ...

    def apply(self, change: Callable[[], T]) -> T: ...

    def flush(self) -> None: ...

    async def drain(self, timeout: float | None = None) -> None: ...

    async def look(self) -> None: ...

    def finish_deferred(self) -> None: ...

    def ring(self) -> None: ...

    def discard_exchange(self, exchange: AsyncHTTP2Exchange) -> None: ...

    def close_now(self) -> None: ...


class AsyncHTTP2Exchange(ExchangeState):
    """One request on an HTTP/2 connection: what a response's body takes for its connection.

    It belongs to one thread at a time; `abort` may come from any.

    Attributes:
        connection: the connection that carries it; set by that.
    """

    __slots__ = ("connection",)

    connection: SharedConnection
    stream: Stream  # once it is open
    upload: BodyUpload | None

    protocol = "http2"  # of the names of its trace events
    unclean_eof = False

    async def perform(self, prepared: Prepared, body: AsyncResponseBody) -> Response:
        """Send the request and wait for its response's head."""
        self.since = body.marks.ready
        if body.aborted:
            self.aborted = True
        trace, timeout = body.trace, prepared.timeouts.read
        if trace is None:
            if await self._open(prepared) or self.session.unsent:
                await self._send_body(prepared)
            body.marks.sent = time.monotonic()
            await self._receive_head(timeout)
        else:
            await self._send_traced(prepared, trace)
            body.marks.sent = time.monotonic()
            await self._receive_head_traced(timeout, trace)
        body.marks.headed = time.monotonic()
        connection, stream = self.connection, self.stream
        response = self.respond(body, timeout)
        if stream.parts:
            with connection.lock:
                body.pending = self.session.codec.take(stream, READ_SIZE)
            if connection.deferred:
                connection.finish_deferred()
        if stream.ended and not stream.parts:
            await body.end()
        return response

    # Sending

    async def _send_traced(self, prepared: Prepared, trace: AsyncTrace) -> None:
        request = {"request": self.request}
        if not self.session.request_count:
            await traced(trace, "http2.send_connection_init", request, self._send_preface)
        # A stream gets its number in one step with being sent, so there is none to report before.
        headed = {**request, "stream_id": None}
        begin = partial(self._open, prepared)
        more = await traced(trace, "http2.send_request_headers", headed, begin)
        send = partial(self._send_body, prepared) if more or self.session.unsent else nothing
        details = {**request, "stream_id": self.stream.id}
        await traced(trace, "http2.send_request_body", details, send)

    async def _send_preface(self) -> None:
        with self.connection.lock:
            self.connection.flush()
        if self.session.write_error is not None:
            raise self.explain_write_error(self.session.write_error, NOT_SENT)

    async def _open(self, prepared: Prepared) -> bool:
        """Send the head, and a small body with it; return whether there is more to send."""
        connection, session = self.connection, self.session
        request = prepared.request
        fields = session.request_fields(
            request.method, request.url.scheme, request.url.target, request.headers
        )
        while True:
            if not session.codec.settled:
                await self._await_settings(prepared.timeouts.read)
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

    async def _await_settings(self, timeout: float | None) -> None:
        """Wait until it is known how many streams there may be. The answer is on its way."""
        try:
            await self.connection.wait_until(self, self.is_settled, timeout, False)
        except TimeoutException as exc:
            raise not_sent(exc)

    async def _send_body(self, prepared: Prepared) -> None:
        parts = body_parts if prepared.length == CHUNKED else framed_parts
        self.upload = BodyUpload(self, prepared, parts(prepared, ExchangeWatch(self, prepared)))
        await run(self.upload.begin(), self._carry_out)

    async def _carry_out(self, step: Step) -> Any:
        """Carry out a step of the upload's script."""
        if step.action is SEND_PARTS:
            return await self._send_parts(step.timeout)
        if step.action is CHANGE:
            return self.connection.apply(step.call)
        if step.action is NOW:
            return time.monotonic()
        if step.action is LOOK:
            return await self.connection.look()
        return await self.connection.wait_until(self, step.call, step.timeout, True)

    async def _send_parts(self, timeout: float | None) -> None:
        connection, upload = self.connection, self.upload
        assert upload is not None
        while True:
            if upload.wants_part:
                if connection.io.pending:  # what comes next may depend on it, and may take long
                    await connection.drain(timeout)
                    if self.session.write_error is not None:
                        return
                upload.put(await anext(upload.parts, None))
            if connection.apply(upload.send_some) and not upload.is_ready():
                await connection.wait_until(self, upload.is_ready, timeout, True)
            if not upload.goes_on():
                return

    async def conclude(self) -> bool:
        """Send what the server wants of the body now that its response is whole. Return True: the
        connection can carry other requests, whatever becomes of this one."""
        if self.upload is not None:
            await run(self.upload.send_on(), self._carry_out)
        return True

    # Receiving

    async def _receive_head_traced(self, timeout: float | None, trace: AsyncTrace) -> None:
        stream = self.stream
        details = {"request": self.request, "stream_id": stream.id}
        receive = partial(self._receive_head, timeout)
        name = "http2.receive_response_headers"
        await traced(trace, name, details, receive, lambda _: (stream.status, stream.headers))

    async def _receive_head(self, timeout: float | None) -> None:
        """Wait for the head of the final response, and let the caller see the interim ones."""
        connection, stream = self.connection, self.stream
        while stream.status is None or stream.informational:
            await connection.wait_until(self, self.has_news, timeout, False)
            if stream.informational:
                for status, headers in connection.apply(self.take_informational):
                    self.request.extensions["informational"](status, headers)
            elif stream.status is None:
                raise self.failure()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return payload that has arrived, at least a byte; ``b""`` at the end of the body."""
        return await self._take(self.session.codec.take, max_bytes, timeout)

    async def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """As `read`, into `buffer`; 0 at the end of the body."""
        return await self._take(self.session.codec.take_into, buffer, timeout)

    async def _take(self, take: Callable[[Stream, T], U], what: T, timeout: float | None) -> U:
        """Take some of the body, or all that fits, as soon as there is any."""
        connection, stream = self.connection, self.stream
        if connection.lock.is_owned() or (not stream.readable and connection.is_occupied):
            raise self.refuse_handler()
        if not stream.readable:
            try:
                if self.upload is not None:
                    await run(self.upload.send_while_reading(timeout), self._carry_out)
                await connection.wait_until(self, self.has_payload, timeout, False)
            except TimeoutException as exc:
                if self.deadline is not None:
                    self.deadline.explain(exc)
                raise
        if not stream.parts and not stream.ended:
            raise self.failure()
        with connection.lock:
            taken = take(stream, what)
            if self.session.codec.out:
                connection.flush()
        if connection.deferred:
            connection.finish_deferred()
        return taken

    # The end

    def finish(self, reusable: bool, complete: bool) -> bool:
        """End the request; return whether the connection can take others."""
        connection, session = self.connection, self.session
        if self.upload is not None:
            self.upload.parts.abandon()
        self.upload = None
        if connection.lock.is_owned():
            connection.deferred.append(partial(self._finish_now, complete))
        else:
            self._finish_now(complete)
            changed = session.codec.changes != session.changes_reported
            if changed or session.ringing or connection.deferred:
                connection.finish_deferred()
        return not (session.codec.draining or session.closed or session.aborted)

    def _finish_now(self, complete: bool) -> None:
        connection, session = self.connection, self.session
        with connection.lock:
            wake_reader = self.leave(complete, time.monotonic())
            if complete and self.stream is not None and self.stream.id == 1:
                session.keep_session()
            if session.codec.out:
                connection.flush()
            if wake_reader and connection.election.reader is self:
                connection.io.wake()
            if session.codec.draining or session.closed or session.aborted:
                if not session.exchanges:
                    connection.close_now()

    def discard(self) -> None:
        """Forget the request; called by the garbage collector."""
        self.connection.discard_exchange(self)

    def abort(self) -> None:
        """End this request, from another thread or from a signal handler, which may have struck a
        thread that has the lock; others on the connection go on."""
        connection = self.connection
        self.aborted = True
        if self.session.call(self):
            connection.ring()
        elif connection.election.reader is self:
            connection.io.wake()
