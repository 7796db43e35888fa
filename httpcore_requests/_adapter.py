"""`HTTPAdapter`: requests' adapter, standing on httpcore.

Owns: requests' adapter surface (every hook that subclasses override, pickling, close) and the
way from a prepared request to its pool. Must not know: HTTP, retries, how bodies are read.

`send` is requests' own, inherited: test tools patch it by name and subclasses rely on the
order in which it calls the hooks. What is overridden here are hooks that `send` calls, each
with a short way for the common case that is taken only when the hooks it leaves out are not
overridden themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests.adapters
import urllib3
from requests.exceptions import ProxyError

from . import _response
from ._pools import MIN_IDLE, HostPool, PoolManager, Road, Settings, Transports, adopt
from ._raw import RawResponse

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from urllib3.util.retry import Retry

    import httpcore

# How many (origin, verify, cert) keep their way to a pool in mind. More than any program talks
# to at a time; past it the notes are thrown away and made again.
_MAX_FOUND = 1024

# requests' stubs leave out the hooks that are public by use only.
_Stock: Any = requests.adapters.HTTPAdapter


class _Found:
    """Pools found before, and what that finding rested on."""

    __slots__ = ("keywords", "manager", "pools")

    def __init__(self, manager: urllib3.PoolManager) -> None:
        self.manager = manager
        self.keywords = dict(manager.connection_pool_kw)
        self.pools: dict[Any, HostPool] = {}


class HTTPAdapter(_Stock):  # type: ignore[misc]
    """Sends a session's requests through httpcore: ``s.mount("https://", HTTPAdapter())``.

    Thread-safe: one adapter, and one session, may serve any number of threads.

    Parameters:
        pool_connections: kept for subclasses; idle connections are limited over all hosts to
            ``max(100, pool_connections * pool_maxsize)``.
        pool_maxsize: with `pool_block`, how many connections one host may have.
        max_retries: an int (connect failures only) or any `urllib3.util.Retry`.
        pool_block: True makes requests beyond `pool_maxsize` wait for a connection, first
            come, first served. False opens as many as there are requests at a time, and keeps
            them: none is discarded because a pool is "full".
        ssl_context: how servers are verified, instead of `verify` paths. It is never changed;
            a request that would need it changed (``verify=False``, ``cert=``) is refused.
        http2: not built yet: True raises NotImplementedError.
        max_connections: connections open at once over all hosts, or None; more requests wait.
        keepalive_expiry: seconds an idle connection may still be used, or None for ever.
        max_age: seconds after which a connection is not used again, or None.
        parsing: ``"lenient"`` repairs or skips malformed header lines, so that whatever
            requests can read today is read; ``"strict"`` refuses them as h11 does.
        network_backend: opens the sockets; by default `httpcore.SyncBackend()`.
        pool_timeout: seconds a request may wait for a connection before
            `requests.ConnectTimeout`; None for ever.
        trace: called with each trace event's name and details, see httpcore's trace extension.

    Raises TypeError or ValueError for an argument that cannot be.
    """

    __attrs__ = [*_Stock.__attrs__, "_settings"]

    # A subclass's __attrs__ may leave it out; then the defaults hold after unpickling.
    _settings: Settings | None = None
    _transports: Transports | None = None
    _found: _Found | None = None

    def __init__(
        self,
        pool_connections: int = requests.adapters.DEFAULT_POOLSIZE,
        pool_maxsize: int = requests.adapters.DEFAULT_POOLSIZE,
        max_retries: Retry | int | None = requests.adapters.DEFAULT_RETRIES,
        pool_block: bool = requests.adapters.DEFAULT_POOLBLOCK,
        *,
        ssl_context: ssl.SSLContext | None = None,
        http2: bool = False,
        max_connections: int | None = None,
        keepalive_expiry: float | None = 60.0,
        max_age: float | None = None,
        parsing: str = "lenient",
        network_backend: httpcore.NetworkBackend | None = None,
        pool_timeout: float | None = None,
        trace: Callable[..., Any] | None = None,
    ) -> None:
        self._settings = Settings(
            ssl_context=ssl_context,
            http2=http2,
            max_connections=max_connections,
            keepalive_expiry=keepalive_expiry,
            max_age=max_age,
            parsing=parsing,
            network_backend=network_backend,
            pool_timeout=pool_timeout,
            trace=trace,
        )
        max_idle = max(MIN_IDLE, pool_connections * pool_maxsize)
        self._transports = Transports(self._settings, max_idle)
        super().__init__(pool_connections, pool_maxsize, max_retries, pool_block)
        if self._settings != Settings():
            # An argument that cannot be is said here, not at the first request.
            self.pool  # noqa: B018

    @property
    def pool(self) -> httpcore.ConnectionPool:
        """The `httpcore.ConnectionPool` under this adapter, for its ``connections`` and
        ``stats()``. A new one after `close()`."""
        block = self._pool_block and self._pool_maxsize > 0
        return self._own_transports().pool(Road(self._pool_maxsize if block else None))

    def _own_transports(self) -> Transports:
        transports = self._transports
        if transports is None:  # a subclass did not call our constructor
            made = Transports(self._settings or Settings())
            transports = self.__dict__.setdefault("_transports", made)
        return transports

    # -- hooks that requests' send() calls

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any
    ) -> None:
        """Make `self.poolmanager`; called by the constructor and after unpickling.

        Override it to add urllib3's keywords (``ssl_context``, ``source_address``,
        ``assert_hostname``, ...) and call this, or to build a `urllib3.PoolManager` of your own.
        """
        self._pool_connections = connections
        self._pool_maxsize = maxsize
        self._pool_block = block
        self.poolmanager = PoolManager(
            self._own_transports(),
            num_pools=connections,
            maxsize=maxsize,
            block=block,
            **pool_kwargs,
        )

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Not built yet: raises `requests.exceptions.ProxyError`. Never goes direct instead."""
        raise ProxyError(
            f"cannot use the proxy {_masked(proxy)}: httpcore_requests.HTTPAdapter has no proxy "
            "support yet; mount requests.adapters.HTTPAdapter for this URL, or pass proxies={}"
        )

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: Any = None,
    ) -> Any:
        """The pool for `request` and its TLS settings."""
        url: Any = request.url
        manager = self.poolmanager
        found = self._found
        # Looked up at each call: yt-dlp puts its own in the place of requests' select_proxy.
        if proxies and requests.adapters.select_proxy(url, proxies):  # type: ignore[attr-defined]
            return self._slowly(request, verify, proxies, cert)
        key = None
        hook = self.build_connection_pool_key_attributes
        # Where the authority ends; "https://" has 8 characters. A URL that was put in by hand may
        # have no path, and then goes the long way.
        end = url.find("/", 8) if type(url) is str else -1
        if end > 0 and getattr(hook, "__func__", None) is _BUILD_KEY:
            key = (url[:end], verify, cert)  # all that a pool depends on
            if (
                found is not None
                and found.manager is manager
                and found.keywords == manager.connection_pool_kw
            ):
                pool = found.pools.get(key) if not isinstance(cert, list) else None
                if pool is not None:
                    return pool
        pool = self._slowly(request, verify, None, cert)
        if key is not None and type(pool) is HostPool and not isinstance(cert, list):
            self._remember(key, pool)
        return pool

    def _slowly(
        self, request: Any, verify: Any, proxies: Mapping[str, str] | None, cert: Any
    ) -> Any:
        adopt(self.poolmanager, self._own_transports())
        try:
            return super().get_connection_with_tls_context(
                request,
                verify,
                proxies=proxies,
                cert=tuple(cert) if isinstance(cert, list) else cert,
            )
        except ProxyError as exc:
            exc.request = request
            raise

    def _remember(self, key: Any, pool: HostPool) -> None:
        manager = self.poolmanager
        if type(manager) not in (PoolManager, urllib3.PoolManager):
            return  # it may have a mind of its own about which pool to give
        found = self._found
        if (
            found is None
            or found.manager is not manager
            or found.keywords != manager.connection_pool_kw
            or len(found.pools) >= _MAX_FOUND
        ):
            found = self._found = _Found(manager)
        found.pools[key] = pool

    def get_connection(self, url: str, proxies: Mapping[str, str] | None = None) -> Any:
        """Deprecated by requests; the pool for `url`."""
        adopt(self.poolmanager, self._own_transports())
        return super().get_connection(url, proxies)

    def cert_verify(self, conn: Any, url: str, verify: bool | str | None, cert: Any) -> None:
        """Write `verify` and `cert` onto the pool `conn`, which reads them at each request."""
        if isinstance(conn, HostPool) and not cert:
            if verify is True:
                conn.cert_reqs = "CERT_REQUIRED"
                self._trust_default(conn)
                return
            if verify is False:
                conn.cert_reqs = "CERT_NONE"
                conn.ca_certs = conn.ca_cert_dir = None
                return
        super().cert_verify(conn, url, verify, cert)
        if verify is True and isinstance(conn, HostPool):
            self._trust_default(conn)

    @staticmethod
    def _trust_default(conn: HostPool) -> None:
        # The pool manager's authorities, or httpcore's default (requests writes certifi's path,
        # and SSL_CERT_FILE would not be seen); never those of another request's `verify`.
        conn.ca_certs = conn.conn_kw.get("ca_certs")
        conn.ca_cert_dir = conn.conn_kw.get("ca_cert_dir")

    def request_url(
        self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None
    ) -> str:
        """The request target: path and query."""
        url = request.url
        if not proxies and type(request) is requests.PreparedRequest and type(url) is str:
            start = url.find("/", 8)
            if start > 0 and "#" not in url and "?" not in url[:start]:
                return url[start:]
        target: str = super().request_url(request, proxies)
        return target

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """The `requests.Response` for `resp`; ours reads `.content` in one go."""
        if type(resp) is not RawResponse or "headers" in resp.__dict__:
            stock: requests.Response = super().build_response(req, resp)
            return stock
        return _response.build(self, req, resp)

    def close(self) -> None:
        """Close idle connections now, and each busy one when its response ends.

        The adapter stays usable: the next request opens a new pool.
        """
        super().close()
        self._found = None
        self._own_transports().close()

    # -- pickling

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        settings = state.get("_settings")
        if settings is not None and settings.ssl_context is not None:
            raise TypeError(
                "an HTTPAdapter with an ssl_context cannot be pickled or copied: an SSLContext "
                "cannot; pass verify= and cert= paths instead, or mount a new adapter"
            )
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._settings = state.get("_settings")
        max_idle = state.get("_pool_connections", 0) * state.get("_pool_maxsize", 0)
        self._transports = Transports(self._settings or Settings(), max(MIN_IDLE, max_idle))
        super().__setstate__(state)


_BUILD_KEY = HTTPAdapter.build_connection_pool_key_attributes


def _masked(proxy: str) -> str:
    """`proxy` without its password."""
    scheme, separator, rest = proxy.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]
