"""The state of a connection, and its way to its origin, before and after it is open.

Owns: the plan for the dial script, the choice between HTTP/1.1 and HTTP/2, what becomes of a failed
attempt, and what a connection says about itself. Must not know: sockets, locks, clocks, pools. The
class of a shell derives from `ConnectionState` and adds what waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Generic, Protocol, TypeVar

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
from .._models import Proxy, Request
from .._settings import (
    PING_TIMEOUT,
    SOCKET_OPTION,
    ConnectionSettings,
    SSLContext,
    check_backend,
    read_protocols,
)
from .._timings import Opening
from .._url import Origin, to_server_name
from .dial import Dialed, Plan
from .dial_attempt import DialAttempts
from .http_proxy import FORWARDED, SOCKS, SOCKS_4, ProxyHop, forwarded, to_hop
from .prepared import Prepared, prepare
from .routes import TLS_SCHEMES

Backend = TypeVar("Backend")  # what opens sockets; each shell has its own


class OpenConnection(Protocol):
    """The facts of a connection that is open, of whichever protocol."""

    @property
    def max_streams(self) -> int: ...

    @property
    def open_streams(self) -> int: ...

    def is_available(self) -> bool: ...

    def has_expired(self) -> bool: ...

    def is_idle(self) -> bool: ...

    def is_closed(self) -> bool: ...

    def info(self) -> str: ...


class ConnectionFacts:
    """The facts of each connection, open or not yet."""

    def info(self) -> str:
        """Protocol, state and request count, for people."""
        raise NotImplementedError(f"{type(self).__name__} does not implement info()")

    def can_handle_request(self, origin: Origin) -> bool:
        """Whether this connection leads to `origin`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement can_handle_request()")

    def is_available(self) -> bool:
        """Whether it can take a request now."""
        raise NotImplementedError(f"{type(self).__name__} does not implement is_available()")

    def has_expired(self) -> bool:
        """Whether it has been idle for too long, or the server has closed it."""
        raise NotImplementedError(f"{type(self).__name__} does not implement has_expired()")

    def is_idle(self) -> bool:
        """Whether it is open and between two requests."""
        raise NotImplementedError(f"{type(self).__name__} does not implement is_idle()")

    def is_closed(self) -> bool:
        """Whether it is closed for good."""
        raise NotImplementedError(f"{type(self).__name__} does not implement is_closed()")


class ConnectionState:
    """A connection to one origin that is opened by its first request.

    Parameters:
        origin: where it leads to.
        settings: of the pool, or of the caller.
        backend: opens streams; only asked here what it can carry.

    Attributes:
        hop: the proxy on the way, or None.
        ssl_context: for the origin; None for the default.
        opened: the connection that does the work, once it is open.
        opening: how long it took to open it, once that has begun.
        aborted: another thread wants this to end.
        stream_so_far: the last that was opened, while it is being opened.
    """

    asynchronous = False  # of the shell
    opened: OpenConnection | None

    def __init__(self, origin: Origin, settings: ConnectionSettings, backend: Any) -> None:
        self.origin = origin
        self.settings = settings
        self.backend = backend
        proxy = settings.proxy
        self.hop: ProxyHop | None = None if proxy is None else to_hop(proxy, origin.scheme)
        self.ssl_context = settings.ssl_context
        self.opened = None
        self.opening: Opening | None = None
        self.aborted = False
        self.stream_so_far: object = None
        self._uds = settings.uds
        self._address: str | None = None  # where to find the origin, instead of looking it up
        self._make_context: Callable[..., SSLContext] | None = None
        self._failed = False

    def set_context_maker(self, make_context: Callable[..., SSLContext]) -> None:
        """Say what makes the TLS context for the origin, in place of the default one; it takes the
        protocols to offer. It is called when the connection is opened."""
        self._make_context = make_context

    @property
    def makes_context(self) -> bool:
        """Whether opening it makes a TLS context, which may read files."""
        hop = self.hop
        if hop is not None and hop.scheme == b"https" and hop.ssl_context is None:
            return True
        return self.origin.scheme in TLS_SCHEMES and self.ssl_context is None

    def set_path(self, hop: ProxyHop | None, uds: str | None, address: str | None) -> None:
        """Say how to get to the origin, before the connection is opened.

        Parameters:
            hop: the proxy on the way.
            uds: the path of a Unix socket in place of host and port.
            address: where to find the origin, instead of looking its name up.
        """
        self.hop, self._uds, self._address = hop, uds, address

    # Opening it

    def to_prepared(self, request: Request) -> Prepared:
        """Return `request` as it goes out on this connection.

        Raises RuntimeError for a request to elsewhere, and what `prepare` raises.
        """
        if not self.can_handle_request(request.url.origin):
            raise RuntimeError(f"request to {request.url.origin} on a connection to {self.origin}")
        if self.hop is not None and self.hop.forwards:
            request = forwarded(request, self.hop)
        return prepare(request, self.settings.lenient, asynchronous=self.asynchronous)

    def being_opened(self) -> ConnectionNotAvailable:
        """Return the error for a signal handler that has interrupted the opening."""
        return ConnectionNotAvailable(
            f"the connection to {self.origin} is being opened by the code that this signal "
            "handler has interrupted; nothing was sent"
        )

    def plan(self, server_hostname: object, make_context: Callable[..., SSLContext]) -> Plan:
        """Return what the dial script is to do.

        Parameters:
            server_hostname: the request's, or None.
            make_context: returns the default TLS context; takes the protocols to offer, if any.
        """
        settings, hop = self.settings, self.hop
        if hop is not None and hop.scheme == b"https" and hop.ssl_context is None:
            hop = hop.verified_by(make_context())
        server: Origin | ProxyHop = self.origin
        uds, address = self._uds, self._address
        context = protocols = None
        if hop is not None and hop.forwards:
            server, server_hostname, uds, address = hop, None, None, None
        else:
            protocols = settings.protocols if self._carries_http2 else self._without_http2()
            if self.origin.scheme in TLS_SCHEMES:
                context = self.ssl_context
                if context is None:
                    context = (self._make_context or make_context)(protocols)
            if server_hostname is not None:
                server_hostname = to_server_name(server_hostname)
        return Plan(
            server.host,
            server.port,
            context,
            server_hostname,
            uds,
            settings.local_address,
            settings.socket_options,
            settings.retries,
            hop,
            address,
            protocols,
        )

    def begin_to_open(
        self, prepared: Prepared, make_context: Callable[..., SSLContext]
    ) -> DialAttempts:
        """Return the attempts to open it for its first request, each within the connect timeout and
        all of them before the deadline; `opening` gets their times."""
        plan = self.plan(prepared.request.extensions.get("sni_hostname"), make_context)
        self.opening = Opening()
        return DialAttempts(plan, prepared.timeouts.connect, prepared.deadline, self.opening)

    @property
    def _carries_http2(self) -> bool:
        """Whether the network can carry HTTP/2: one that records exchanges cannot."""
        return bool(getattr(self.backend, "speaks_http2", True))

    def _without_http2(self) -> tuple[str, ...]:
        """Return the protocols to offer on a network that cannot carry HTTP/2."""
        offered = tuple(protocol for protocol in self.settings.protocols if protocol != "h2")
        if not offered:
            raise ConnectError(f"{self.backend!r} cannot carry HTTP/2, and http1=False")
        return offered

    def chose_http2(self, dialed: Dialed) -> bool:
        """Return whether HTTP/2 was agreed on; HTTP/1.1 was, if not.

        Raises RemoteProtocolError or ConnectError for a protocol that cannot be used.
        """
        if dialed.protocol == "h2":
            if not self._carries_http2:
                raise RemoteProtocolError(
                    f"{self.origin} chose HTTP/2, which {self.backend!r} cannot carry"
                )
            return True
        forwards = self.hop is not None and self.hop.forwards
        if "http/1.1" not in self.settings.protocols and not forwards:
            raise ConnectError(
                f"{self.origin} did not choose HTTP/2 (ALPN), and http1=False: use http1=True"
            )
        return False

    def watch(self, stream: object) -> None:
        """Note the stream so far, before each step of dialling. Raises ConnectError when another
        thread has aborted this connection."""
        self.stream_so_far = stream
        if self.aborted:
            raise ConnectError(f"connecting to {self.origin} was ended by a close or a CancelToken")

    def note_failure(self, exc: BaseException) -> Aborted | None:
        """Note that it could not be opened. Return the error to raise in place of `exc`, if
        another thread has caused it."""
        self._failed = True
        if self.aborted and isinstance(exc, (NetworkError, TimeoutException, ProxyError)):
            aborted = Aborted(f"connecting to {self.origin} was ended by a close or a CancelToken")
            aborted.phase = NOT_SENT
            return aborted
        return None

    # What it says about itself

    def can_handle_request(self, origin: Origin) -> bool:
        if self.hop is not None and self.hop.forwards:
            return origin.scheme == FORWARDED  # whichever: the proxy goes there
        return origin == self.origin

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
        """Return how many requests it can carry at once: 1 over HTTP/1.1, and until it is open."""
        return 1 if self.opened is None else self.opened.max_streams

    @property
    def open_streams(self) -> int:
        """Return how many requests are under way on it."""
        return 0 if self.opened is None else self.opened.open_streams

    def info(self) -> str:
        if self.opened is None:
            return "CONNECTION FAILED" if self._failed else "CONNECTING"
        return self.opened.info()

    def __repr__(self) -> str:
        name, hop = self.__class__.__name__, self.hop
        prefix = "Async" if self.asynchronous else ""
        if hop is not None and name == prefix + "HTTPConnection":
            # 1.0.9 has classes of these names, and their asynchronous twins.
            if hop.scheme in SOCKS:
                name = "Socks4Connection" if hop.scheme in SOCKS_4 else "Socks5Connection"
            else:
                name = "ForwardHTTPConnection" if hop.forwards else "TunnelHTTPConnection"
            name = prefix + name
        return f"<{name} [{self.info()}]>"


Connection = TypeVar("Connection", bound="ConnectionArguments[Any]")


class ConnectionArguments(Generic[Backend]):
    """The signature of a connection that is not made by a pool.

    Attributes:
        _load: loads what requests need, from whether HTTP/2 is spoken.
    """

    asynchronous = False  # of the shell
    _load: ClassVar[Callable[..., None]]

    def __init__(
        self,
        origin: Origin,
        ssl_context: SSLContext | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: Backend | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
        *,
        proxy: Proxy | None = None,
        parsing: str = "strict",
        ping_interval: float | None = None,
        ping_timeout: float = PING_TIMEOUT,
    ) -> None:
        check_backend(network_backend, self.asynchronous)
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
        self._load(http2)
        self._set_up(origin, settings)

    @classmethod
    def from_settings(
        cls: type[Connection], origin: Origin, settings: ConnectionSettings
    ) -> Connection:
        """Return a connection to `origin` that is not open yet."""
        connection = cls.__new__(cls)
        connection._set_up(origin, settings)
        return connection

    def _set_up(self, origin: Origin, settings: ConnectionSettings) -> None:
        """Become a connection to `origin` that is not open yet."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _set_up()")
