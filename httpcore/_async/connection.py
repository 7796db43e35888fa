"""A connection to one origin, from the first dial to its end.

Owns: opening it once, with a network backend and one deadline, and ending that from another thread.
Must not know: what to open and what it says about itself (`_core.connection_state`), the order of
steps (`_core.dial`), HTTP framing (`_core.h1`), pools.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

from .._backends.auto import AutoBackend
from .._backends.base import AsyncNetworkBackend
from .._backends.clock import Deadline
from .._backends.closing import close_rest, close_stream, unclosed
from .._backends.interrupt import Attempt, abort, begin_in_task, end_in_task, interrupt
from .._core.connection_state import ConnectionArguments, ConnectionState
from .._core.dial import Dialed
from .._core.prepared import Prepared
from .._models import Request, Response
from .._settings import ConnectionSettings
from .._shared.codecs import load_codecs
from .._ssl import default_ssl_context
from .._trace import AsyncTrace, awaited, debug, log_hook
from .._url import Origin
from .contexts import without_blocking
from .dialing import carry_out
from .http2 import AsyncHTTP2Connection
from .http11 import AsyncHTTP11Connection
from .interfaces import AsyncConnectionInterface
from .task_lock import TaskLock

logger = logging.getLogger("httpcore.connection")


class AsyncHTTPConnection(
    ConnectionArguments[AsyncNetworkBackend], ConnectionState, AsyncConnectionInterface
):
    """A connection to `origin` that opens itself with its first request.

    Parameters: as those of `AsyncConnectionPool` with the same names. One request at a time over
    HTTP/1.1; over HTTP/2 as many as the server allows. Through a `proxy`, requests for http are
    forwarded, others go through a tunnel.
    """

    asynchronous = True
    _load = staticmethod(load_codecs)
    opened: AsyncHTTP11Connection | AsyncHTTP2Connection | None

    def _set_up(self, origin: Origin, settings: ConnectionSettings) -> None:
        backend = AutoBackend() if settings.network_backend is None else settings.network_backend
        ConnectionState.__init__(self, origin, settings, backend)
        self._attempt: Attempt | None = None  # to open it, while that is under way
        self._lock = TaskLock()

    async def handle_async_request(self, request: Request) -> Response:
        """Send `request`, connecting first if need be; the response's body is unread.

        Raises what `AsyncHTTP11Connection.handle_async_request` raises, and ConnectTimeout,
        ConnectError.
        """
        prepared = self.to_prepared(request)
        began = None  # when that was
        async with self._lock:
            connection = self.opened
            if connection is None:
                if prepared.timeouts.total is not None:
                    prepared.deadline = Deadline(prepared.timeouts.total)
                trace = awaited(log_hook(), request.extensions.get("trace"))
                began = time.monotonic()
                connection = await self.connect(prepared, trace)
        response = await connection.handle_prepared(prepared)
        if began is not None:
            body: Any = response.stream
            body.marks.began, body.marks.opening = began, self.opening
        return response

    async def connect(
        self, prepared: Prepared, trace: AsyncTrace | None = None
    ) -> AsyncHTTP11Connection | AsyncHTTP2Connection:
        """Open the connection for its first request, each attempt within the connect timeout and
        all of them before the deadline. Raises ConnectTimeout or ConnectError."""
        dialed = None
        self._attempt = attempt = begin_in_task()
        try:
            begin = partial(self.begin_to_open, prepared, default_ssl_context)
            if self.makes_context:
                attempts = await without_blocking(begin, self.settings)
            else:
                attempts = begin()
            dialed = await carry_out(attempts, self.backend, trace, self.watch)
            self.opened = connection = self._make_connection(dialed)
            if self.aborted:
                connection.abort()
            return connection
        except BaseException as exc:
            aborted = self.note_failure(exc)
            if dialed is not None:
                close_stream(dialed.stream)
            if aborted is not None:
                raise aborted from exc
            raise
        finally:
            end_in_task(attempt)

    def _make_connection(self, dialed: Dialed) -> AsyncHTTP11Connection | AsyncHTTP2Connection:
        """Return the connection for the protocol that was agreed on."""
        if self.chose_http2(dialed):
            return AsyncHTTP2Connection.from_settings(self.origin, dialed.stream, self.settings)
        expiry, parsing = self.settings.keepalive_expiry, self.settings.parsing
        return AsyncHTTP11Connection(self.origin, dialed.stream, expiry, parsing=parsing)

    def abort(self) -> None:
        """End, from another thread, whatever is going on: opening, sending, receiving. It fails
        there with `Aborted`."""
        self.aborted = True
        connection, stream, attempt = self.opened, self.stream_so_far, self._attempt
        if connection is not None:
            connection.abort()
            return
        if stream is not None:
            abort(stream)
        if attempt is not None:
            interrupt(attempt)  # also then: a handshake has taken the stream's socket over

    def close(self) -> None:
        """Close the connection, without waiting."""
        if self.opened is not None:
            debug(logger, "close.started")  # as 1.0.9 logs it; no hook gets it, there as here
            self.opened.close()
            debug(logger, "close.complete")

    async def aclose(self) -> None:
        self.close()
        if unclosed:
            await close_rest()
