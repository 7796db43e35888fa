"""A connection to one origin, from the first dial to its end.

Owns: opening it once, with a network backend and one deadline, and ending that from another thread.
Must not know: what to open and what it says about itself (`_core.connection_state`), the order of
steps (`_core.dial`), HTTP framing (`_core.h1`), pools.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from .._backends.base import NetworkBackend
from .._backends.clock import Deadline
from .._backends.fork import renew_in_child
from .._backends.interrupt import Attempt, abort, begin, end, interrupt
from .._backends.sync import SyncBackend
from .._core.connection_state import ConnectionArguments, ConnectionState
from .._core.dial import Dialed
from .._core.prepared import Prepared
from .._models import Request, Response
from .._settings import ConnectionSettings
from .._shared.codecs import load_codecs
from .._shared.deferred import OwnedLock
from .._ssl import default_ssl_context
from .._trace import Trace, combined, debug, log_hook
from .._url import Origin
from .dialing import carry_out
from .http2 import HTTP2Connection
from .http11 import HTTP11Connection
from .interfaces import ConnectionInterface

logger = logging.getLogger("httpcore.connection")


class HTTPConnection(ConnectionArguments[NetworkBackend], ConnectionState, ConnectionInterface):
    """A connection to `origin` that opens itself with its first request.

    Parameters: as those of `ConnectionPool` with the same names. One request at a time over
    HTTP/1.1; over HTTP/2 as many as the server allows. Through a `proxy`, requests for http are
    forwarded, others go through a tunnel.
    """

    _load = staticmethod(load_codecs)
    opened: HTTP11Connection | HTTP2Connection | None

    def _set_up(self, origin: Origin, settings: ConnectionSettings) -> None:
        backend = SyncBackend() if settings.network_backend is None else settings.network_backend
        ConnectionState.__init__(self, origin, settings, backend)
        self._attempt: Attempt | None = None  # to open it, while that is under way
        self._lock = OwnedLock()
        renew_in_child(self)

    def handle_request(self, request: Request) -> Response:
        """Send `request`, connecting first if need be; the response's body is unread.

        Raises what `HTTP11Connection.handle_request` or `HTTP2Connection.handle_request` raises,
        and ConnectTimeout, ConnectError.
        """
        prepared = self.to_prepared(request)
        if self._lock.is_owned():
            raise self.being_opened()
        began = None  # when that was
        with self._lock:
            connection = self.opened
            if connection is None:
                if prepared.timeouts.total is not None:
                    prepared.deadline = Deadline(prepared.timeouts.total)
                trace = combined(log_hook(), request.extensions.get("trace"))
                began = time.monotonic()
                connection = self.connect(prepared, trace)
        response = connection.handle_prepared(prepared)
        if began is not None:
            body: Any = response.stream
            body.marks.began, body.marks.opening = began, self.opening
        return response

    def connect(
        self, prepared: Prepared, trace: Trace | None = None
    ) -> HTTP11Connection | HTTP2Connection:
        """Open the connection for its first request, each attempt within the connect timeout and
        all of them before the deadline. Raises ConnectTimeout or ConnectError."""
        dialed = None
        self._attempt = attempt = begin()
        try:
            attempts = self.begin_to_open(prepared, default_ssl_context)
            dialed = carry_out(attempts, self.backend, trace, self.watch)
            self.opened = connection = self._make_connection(dialed)
            if self.aborted:
                connection.abort()
            return connection
        except BaseException as exc:
            aborted = self.note_failure(exc)
            if dialed is not None:
                dialed.stream.close()
            if aborted is not None:
                raise aborted from exc
            raise
        finally:
            end(attempt)

    def _make_connection(self, dialed: Dialed) -> HTTP11Connection | HTTP2Connection:
        """Return the connection for the protocol that was agreed on."""
        if self.chose_http2(dialed):
            return HTTP2Connection.from_settings(self.origin, dialed.stream, self.settings)
        expiry, parsing = self.settings.keepalive_expiry, self.settings.parsing
        return HTTP11Connection(self.origin, dialed.stream, expiry, parsing=parsing)

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

    def _renew_in_child(self) -> None:
        """Become as good as new in the child of a fork; `opened` does that for itself."""
        self._lock = OwnedLock()
        self._attempt, self.stream_so_far = None, None

    def close(self) -> None:
        if self.opened is not None:
            debug(logger, "close.started")  # as 1.0.9 logs it; no hook gets it, there as here
            self.opened.close()
            debug(logger, "close.complete")
