"""The parts of a pool, before any request: its arguments, checked, and what follows from them.

Owns: the signatures of the pools (`ConnectionPool`, `HTTPProxy`, `SOCKSProxy`, `PoolManager`), and
the way that a new connection has to take. Must not know: locks, network backends, how a request is
sent. The class of a shell derives from `PoolBase` and adds what waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from .._config import PoolLimits, SSLConfig, TimeoutConfig
from .._exceptions import UnsupportedProtocol
from .._models import HeaderTypes, Proxy, Request
from .._settings import (
    PING_TIMEOUT,
    SOCKET_OPTION,
    ConnectionSettings,
    SSLContext,
    check_backend,
    check_count,
    read_protocols,
    read_resolve,
)
from .._ssl import create_ssl_context
from .._timeouts import NO_TIMEOUTS, check_timeout, read_timeouts
from .._trace import Trace, check_hook, combined, log_hook, logs_requests, naming
from .._url import URL, Origin
from .connection_state import Backend
from .http_proxy import SOCKS, to_hop
from .pool_report import describe_pool
from .prepared import Prepared
from .retry import RetryBudget, RetryConfig
from .routes import TLS_SCHEMES, context_of, goes_through, hop_of, may_share
from .scheduler import Slot

if TYPE_CHECKING:
    from .body_state import BodyState

# As `Resolver` of the backends.
Resolver = Callable[[str, int, "float | None"], Iterable[str]]


class PoolBase(Generic[Backend]):
    """The arguments of a pool, and what each new connection gets of them.

    Attributes:
        _load: loads what requests need, from whether HTTP/2 is spoken.
        _make_backend: returns the backend for a pool that was given none, from its resolver.
        _make_slots: returns a Scheduler with a lock around it, from the pool's hook and limits.
    """

    asynchronous = False  # the shell
    _load: ClassVar[Callable[..., None]]
    _make_backend: ClassVar[Callable[..., Any]]
    _make_slots: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        ssl_context: SSLContext | None = None,
        proxy: Proxy | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int | RetryConfig = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: Backend | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
        *,
        max_connections_per_host: int | None = None,
        max_age: float | None = None,
        parsing: str = "strict",
        timeout: Mapping[str, float | None] | None = None,
        resolver: Resolver | None = None,
        resolve: Mapping[str, str] | None = None,
        ping_interval: float | None = None,
        ping_timeout: float = PING_TIMEOUT,
        trace: Trace | None = None,
    ) -> None:
        if trace is not None:
            check_hook(trace, "trace")
        self._log = log_hook()
        self._logs_requests = logs_requests()
        # None while nobody wants to know.
        self._trace = self._join_hooks(combined(trace, self._log), None)
        if resolver is not None and network_backend is not None:
            raise ValueError(
                "resolver and network_backend exclude each other: the backend looks names up"
            )
        check_backend(network_backend, self.asynchronous)
        self._retry_config = retries if isinstance(retries, RetryConfig) else None
        self._retry_budget = RetryBudget(self._retry_config) if self._retry_config else None
        backend = self._make_backend(resolver) if network_backend is None else network_backend
        self._settings = ConnectionSettings(
            ssl_context=ssl_context,
            proxy=proxy,
            keepalive_expiry=keepalive_expiry,
            protocols=read_protocols(http1, http2),
            retries=0 if isinstance(retries, RetryConfig) else retries,
            local_address=local_address,
            uds=uds,
            network_backend=backend,
            socket_options=socket_options,
            parsing=parsing,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            addresses=read_resolve(resolve),
        )
        if proxy is not None:
            to_hop(proxy, b"")  # what cannot be is said here, not at the first request
        self._load(http2)
        self._lenient = self._settings.lenient
        self._default_timeouts = (
            NO_TIMEOUTS if timeout is None else read_timeouts(timeout, "timeout")
        )
        limits = dict[str, object](
            max_connections=check_count(max_connections, "max_connections", 1),
            max_keepalive=check_count(max_keepalive_connections, "max_keepalive_connections", 0),
            max_per_route=check_count(max_connections_per_host, "max_connections_per_host", 1),
            keepalive_expiry=self._settings.keepalive_expiry,
            max_age=check_timeout(max_age, "max_age"),
            shares=partial(may_share, self._settings.protocols) if http2 else None,
        )
        self._slots = self._make_slots(trace, **limits)

    @staticmethod
    def _join_hooks(plain: Trace | None, own: Any) -> Any:
        """Return one hook for the events of a request, from a plain one and the request's own."""
        return combined(plain, own)

    def _look_for_log(self, body: BodyState) -> None:
        """Log from now on, if logging was set up since the pool was made; also for `body`."""
        before = self._trace
        self._log = log_hook()
        self._logs_requests = logs_requests()
        self._trace = self._join_hooks(combined(body.pool.hook, self._log), None)
        if before is None and body.trace is None:
            body.trace = self._trace

    def _read_extensions(self, request: Request) -> tuple[Any, Any]:
        """Return what gets the events of `request`, None for nobody, and its CancelToken, or
        None."""
        hook, trace, extensions = self._slots.hook, self._log, request.extensions
        if hook is not None:
            trace = combined(naming(hook, request), trace)
        own = extensions.get("trace")
        if trace is not None or own is not None:
            trace = self._join_hooks(trace, own)
        return trace, extensions.get("cancel")

    def create_connection(self, origin: Origin) -> Any:
        """A new connection to `origin`, not yet open and not part of the pool."""
        raise NotImplementedError(f"{type(self).__name__} does not implement create_connection()")

    def _make_connection(self, prepared: Prepared) -> Any:
        """Return a connection for `prepared` that is not open yet."""
        route = prepared.route
        connection = self.create_connection(Origin(route.scheme, route.host, route.port))
        address = self._settings.addresses.get((route.host, route.port))
        connection.set_path(hop_of(route), route.uds, address)
        context = context_of(route)
        if context is not None:
            connection.ssl_context = context
        elif route.scheme in TLS_SCHEMES and connection.ssl_context is None:
            self._choose_context(connection)
        return connection

    def _choose_context(self, connection: Any) -> None:
        """Say which TLS context a connection is to have that was given none: the default, here."""

    def _begin_to_dial(self, prepared: Prepared, body: BodyState, slot: Slot) -> Any:
        """Return the connection for `slot`, which is `body`'s; it is not open yet."""
        slot.connection = connection = self._make_connection(prepared)
        if slot.aborted or body.aborted:  # asked after it is in the slot, where others look for it
            connection.aborted = True
        self._look_for_log(body)
        return connection

    # Looking, closing

    def close_idle(self, proxy: Proxy | None = None) -> None:
        """Close idle connections now: all, or those through `proxy` with its credentials, however
        it was verified."""
        self._slots.close_idle(None if proxy is None else goes_through(proxy))

    def retire(self) -> None:
        """Close idle connections now, and those in use when their response ends. The pool stays
        usable. A signal handler may call it."""
        self._slots.retire()

    def __repr__(self) -> str:
        self._slots.settle_deferred()
        return describe_pool(self.__class__.__name__, self._slots.ask(self._slots.scheduler.stats))


class HTTPProxyBase(PoolBase[Backend]):
    """The arguments of a pool that sends everything through one HTTP proxy."""

    def __init__(
        self,
        proxy_url: URL | bytes | str,
        proxy_auth: tuple[bytes | str, bytes | str] | None = None,
        proxy_headers: HeaderTypes = None,
        ssl_context: SSLContext | None = None,
        proxy_ssl_context: SSLContext | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: Backend | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> None:
        proxy = Proxy(proxy_url, proxy_auth, proxy_headers, proxy_ssl_context)
        super().__init__(
            ssl_context=ssl_context,
            proxy=proxy,
            max_connections=max_connections,
            max_keepalive_connections=max_keepalive_connections,
            keepalive_expiry=keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            local_address=local_address,
            uds=uds,
            network_backend=network_backend,
            socket_options=socket_options,
        )
        self._proxy_url = proxy.url  # HTTPX's tests read it


class SOCKSProxyBase(PoolBase[Backend]):
    """The arguments of a pool that sends everything through one SOCKS proxy."""

    def __init__(
        self,
        proxy_url: URL | bytes | str,
        proxy_auth: tuple[bytes | str, bytes | str] | None = None,
        ssl_context: SSLContext | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        network_backend: Backend | None = None,
    ) -> None:
        proxy = Proxy(proxy_url, proxy_auth)
        if proxy.url.scheme not in SOCKS:
            scheme = proxy.url.scheme.decode("ascii", "backslashreplace")
            raise UnsupportedProtocol(f"{scheme}:// is no SOCKS proxy; use httpcore.HTTPProxy")
        super().__init__(
            ssl_context=ssl_context,
            proxy=proxy,
            max_connections=max_connections,
            max_keepalive_connections=max_keepalive_connections,
            keepalive_expiry=keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            network_backend=network_backend,
        )
        self._proxy_url = proxy.url  # HTTPX's tests read it


class PoolManagerBase(PoolBase[Backend]):
    """The arguments of the pool as 2019 designed it."""

    def __init__(
        self,
        *,
        ssl: SSLConfig | None = None,
        timeout: TimeoutConfig | None = None,
        limits: PoolLimits | None = None,
    ) -> None:
        for name, value, kind in (
            ("ssl", ssl, SSLConfig),
            ("timeout", timeout, TimeoutConfig),
            ("limits", limits, PoolLimits),
        ):
            if value is not None and not isinstance(value, kind):
                raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")
        super().__init__(**(limits or PoolLimits()).as_pool_arguments())  # type: ignore[arg-type]
        self._ssl_config = ssl or SSLConfig()
        if timeout is not None:
            self._default_timeouts = read_timeouts(timeout.as_extension())

    def _choose_context(self, connection: Any) -> None:
        connection.set_context_maker(self._create_context)

    def _create_context(self, protocols: tuple[str, ...]) -> SSLContext:
        config = self._ssl_config
        return create_ssl_context(config.verify, config.cert, protocols=protocols)
