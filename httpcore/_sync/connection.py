"""A connection to one origin, from the first dial to its end.

Owns: carrying out the dial script with a network backend and one deadline, and what a
connection says about itself before it is open. Must not know: the order of steps (`_core.dial`),
HTTP framing (`_core.h1`), pools.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._backends.base import SOCKET_OPTION, NetworkBackend
from .._backends.clock import Deadline
from .._backends.fork import renew_in_child
from .._backends.interrupt import Attempt, abort, begin, end, interrupt
from .._backends.sync import SyncBackend
from .._core.dial import Dialed, Plan
from .._core.http_proxy import (
    FORWARDED,
    SOCKS,
    SOCKS_4,
    ProxyHop,
    forwarded,
    to_hop,
)
from .._core.prepared import Prepared, prepare
from .._core.routes import TLS_SCHEMES
from .._exceptions import (
    NOT_SENT,
    Aborted,
    ConnectError,
    ConnectionNotAvailable,
    NetworkError,
    ProxyError,
    RemoteProtocolError,
    TimeoutException,
)
from .._models import Proxy, Request, Response
from .._settings import PING_TIMEOUT, ConnectionSettings, read_protocols
from .._ssl import default_ssl_context
from .._timings import Opening
from .._trace import Trace, combined, debug, log_hook
from .._url import Origin, to_server_name
from .deferred import OwnedLock
from .dialing import carry_out
from .http2 import HTTP2Connection
from .http11 import HTTP11Connection
from .interfaces import ConnectionInterface

if TYPE_CHECKING:
    import ssl

logger = logging.getLogger("httpcore.connection")


class HTTPConnection(ConnectionInterface):
    """A connection to `origin` that opens itself with its first request.

    Parameters: as those of `ConnectionPool` with the same names. One request at a time over
    HTTP/1.1; over HTTP/2 as many as the server allows. Through a `proxy`, requests for http are
    forwarded, others go through a tunnel.
    """

    def __init__(
        self,
        origin: Origin,
        ssl_context: ssl.SSLContext | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: NetworkBackend | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
        *,
        proxy: Proxy | None = None,
        parsing: str = "strict",
        ping_interval: float | None = None,
        ping_timeout: float = PING_TIMEOUT,
    ) -> None:
        settings = ConnectionSettings(
            ssl_context=ssl_context,
            proxy=proxy,
            keepalive_expiry=keepalive_expiry,
            protocols=read_protocols(http1, http2),
            retries=retries,
            local_address=local_address,
            uds=uds,
            network_backend=network_backend,
            socket_options=socket_options,
            parsing=parsing,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
        )
        if http2:
            load_http2()
        self._set_up(origin, settings)

    @classmethod
    def from_settings(cls, origin: Origin, settings: ConnectionSettings) -> HTTPConnection:
        """Return a connection to `origin` that is not open yet."""
        connection = cls.__new__(cls)
        connection._set_up(origin, settings)
        return connection

    def _set_up(self, origin: Origin, settings: ConnectionSettings) -> None:
        self._origin = origin
        self._settings = settings
        proxy, backend = settings.proxy, settings.network_backend
        self._hop: ProxyHop | None = None if proxy is None else to_hop(proxy, origin.scheme)
        self.ssl_context = settings.ssl_context  # None for the default
        self._uds = settings.uds
        self._address: str | None = None  # where to find the origin, instead of looking it up
        self._backend: NetworkBackend = SyncBackend() if backend is None else backend
        self.opened: HTTP11Connection | HTTP2Connection | None = None
        self._failed = False
        self.opening: Opening | None = None  # how long it took, once it is open
        self.aborted = False  # another thread wants this to end
        self._attempt: Attempt | None = None  # to open it, while that is under way
        self._opening: Any = None  # the stream, as far as it is open
        self._lock = OwnedLock()
        renew_in_child(self)

    def set_path(self, hop: ProxyHop | None, uds: str | None, address: str | None) -> None:
        """Say how to get to the origin, before the connection is opened.

        Parameters:
            hop: the proxy on the way.
            uds: the path of a Unix socket in place of host and port.
            address: where to find the origin, instead of looking its name up.
        """
        self._hop, self._uds, self._address = hop, uds, address

    def handle_request(self, request: Request) -> Response:
        """Send `request`, connecting first if need be; the response's body is unread.

        Raises what `HTTP11Connection.handle_request` or `HTTP2Connection.handle_request` raises,
        and ConnectTimeout, ConnectError.
        """
        if not self.can_handle_request(request.url.origin):
            raise RuntimeError(f"request to {request.url.origin} on a connection to {self._origin}")
        if self._hop is not None and self._hop.forwards:
            request = forwarded(request, self._hop)
        prepared = prepare(request, self._settings.lenient)
        began = None  # when that was
        if self._lock.is_owned():
            raise ConnectionNotAvailable(
                f"the connection to {self._origin} is being opened by the code that this signal "
                "handler has interrupted; nothing was sent"
            )
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
            plan = self.plan(prepared.request.extensions.get("sni_hostname"))
            self.opening = opening = Opening()
            dialed = carry_out(
                plan,
                self._backend,
                prepared.timeouts.connect,
                trace,
                prepared.deadline,
                self._watch,
                opening,
            )
            connection = self._speak(dialed)
            self.opened = connection
            if self.aborted:
                connection.abort()
            return connection
        except BaseException as exc:
            self._failed = True
            if self.aborted and isinstance(exc, (NetworkError, TimeoutException, ProxyError)):
                aborted = Aborted(f"connecting to {self._origin} was ended by another thread")
                aborted.phase = NOT_SENT
                raise aborted from exc
            if dialed is not None:
                dialed.stream.close()
            raise
        finally:
            end(attempt)

    def _speak(self, dialed: Dialed) -> HTTP11Connection | HTTP2Connection:
        """The connection for the protocol that was agreed on."""
        stream = dialed.stream
        if dialed.protocol == "h2":
            if not getattr(self._backend, "speaks_http2", True):
                raise RemoteProtocolError(
                    f"{self._origin} chose HTTP/2, which {self._backend!r} cannot carry"
                )
            return HTTP2Connection.from_settings(self._origin, stream, self._settings)
        if "http/1.1" not in self._settings.protocols and not (self._hop and self._hop.forwards):
            raise ConnectError(
                f"{self._origin} did not choose HTTP/2 (ALPN), and http1=False: use http1=True"
            )
        return HTTP11Connection(
            self._origin,
            stream,
            self._settings.keepalive_expiry,
            parsing=self._settings.parsing,
        )

    def _watch(self, stream: Any) -> None:
        """Called before each step of dialling, with the stream so far."""
        self._opening = stream
        if self.aborted:
            raise ConnectError(f"connecting to {self._origin} was ended by another thread")

    def abort(self) -> None:
        """End, from another thread, whatever is going on: opening, sending, receiving. It fails
        there with `Aborted`."""
        self.aborted = True
        connection, opening, attempt = self.opened, self._opening, self._attempt
        if connection is not None:
            connection.abort()
            return
        if opening is not None:
            abort(opening)
        if attempt is not None:
            interrupt(attempt)  # also then: a handshake has taken the stream's socket over

    def _spoken(self) -> tuple[str, ...]:
        """The protocols to offer. Not every network can carry HTTP/2: not one that records."""
        if getattr(self._backend, "speaks_http2", True):
            return self._settings.protocols
        spoken = tuple(protocol for protocol in self._settings.protocols if protocol != "h2")
        if not spoken:
            raise ConnectError(f"{self._backend!r} cannot carry HTTP/2, and http1=False")
        return spoken

    def plan(self, server_hostname: Any) -> Plan:
        """What the dial script is to do; `server_hostname` is the request's, or None."""
        context = None
        hop = self._hop
        if hop is not None and hop.scheme == b"https" and hop.ssl_context is None:
            hop = hop.verified_by(default_ssl_context())
        if hop is not None and hop.forwards:
            return Plan(
                host=hop.host,
                port=hop.port,
                ssl_context=None,
                local_address=self._settings.local_address,
                socket_options=self._settings.socket_options,
                retries=self._settings.retries,
                hop=hop,
            )
        if self._origin.scheme in TLS_SCHEMES:
            context = self.ssl_context
            if context is None:
                context = default_ssl_context(self._spoken())
        if server_hostname is not None:
            server_hostname = to_server_name(server_hostname)
        return Plan(
            host=self._origin.host,
            port=self._origin.port,
            ssl_context=context,
            server_hostname=server_hostname,
            uds=self._uds,
            local_address=self._settings.local_address,
            socket_options=self._settings.socket_options,
            retries=self._settings.retries,
            hop=hop,
            address=self._address,
            protocols=self._spoken(),
        )

    def _renew_in_child(self) -> None:
        """In the child of a fork: `opened`, if there is one, sees to itself."""
        self._lock = OwnedLock()
        self._attempt, self._opening = None, None

    def close(self) -> None:
        if self.opened is not None:
            debug(logger, "close.started")  # as 1.0.9 logs it; no hook gets it, there as here
            self.opened.close()
            debug(logger, "close.complete")

    def can_handle_request(self, origin: Origin) -> bool:
        if self._hop is not None and self._hop.forwards:
            return origin.scheme == FORWARDED  # whichever: the proxy goes there
        return origin == self._origin

    def is_available(self) -> bool:
        return self.opened is not None and self.opened.is_available()

    def has_expired(self) -> bool:
        return self._failed if self.opened is None else self.opened.has_expired()

    def is_idle(self) -> bool:
        return self._failed if self.opened is None else self.opened.is_idle()

    def is_closed(self) -> bool:
        return self._failed if self.opened is None else self.opened.is_closed()

    @property
    def max_streams(self) -> int:
        """How many requests it can carry at once: 1 over HTTP/1.1, and until it is open."""
        return getattr(self.opened, "max_streams", 1)

    @property
    def open_streams(self) -> int:
        """How many requests are under way on it."""
        connection = self.opened
        if isinstance(connection, HTTP2Connection):
            return connection.open_streams
        return 0 if connection is None or connection.serving is None else 1

    def info(self) -> str:
        if self.opened is None:
            return "CONNECTION FAILED" if self._failed else "CONNECTING"
        return self.opened.info()

    def __repr__(self) -> str:
        name, hop = self.__class__.__name__, self._hop
        if hop is not None and name == "HTTPConnection":  # 1.0.9 has classes of these names
            if hop.scheme in SOCKS:
                name = "Socks4Connection" if hop.scheme in SOCKS_4 else "Socks5Connection"
            else:
                name = "ForwardHTTPConnection" if hop.forwards else "TunnelHTTPConnection"
        return f"<{name} [{self.info()}]>"


def load_http2() -> None:
    """Import h2 now: it takes a while, which no request should wait for."""
    from .._core import h2  # noqa: F401
