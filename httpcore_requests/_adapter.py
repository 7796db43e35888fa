"""`HTTPAdapter`: requests' adapter, standing on httpcore.

Owns: requests' adapter surface (every hook that subclasses override, pickling, close) and the
way from a prepared request to its pool. Must not know: HTTP, retries, how bodies are read.

`send` is requests' own, inherited: test tools patch it by name and subclasses rely on the
order in which it calls the hooks. What is overridden here are hooks that `send` calls, each
with a short way for the common case that is taken only when the hooks it leaves out are not
overridden themselves.
"""

from __future__ import annotations

import copy
import os
import warnings
from typing import TYPE_CHECKING, Any, cast

import requests.adapters
import requests.utils
import urllib3
from requests.exceptions import InvalidURL, RequestException
from requests.utils import get_auth_from_url
from urllib3.exceptions import URLSchemeUnknown

from . import _proxies, _response, _unix
from ._host_pool import HostPool, check_host
from ._pool_managers import PoolManager, ProxyManager, adopt, leave
from ._raw import RawResponse
from ._request import Spent
from ._settings import MIN_IDLE, PoolOptions, Settings, Transports, all_options, load_core

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest
    from typing_extensions import Unpack
    from urllib3 import BaseHTTPResponse
    from urllib3.connectionpool import HTTPConnectionPool
    from urllib3.util.retry import Retry

    import httpcore

    from ._settings import AdapterOptions, ConnectionOptions

    # What requests takes as ``verify``; whatever else is given is read by `_meant`.
    Verify = bool | str | None

# How many (origin, verify, cert) keep their way to a pool in mind. More than any program talks
# to at a time; past it the notes are thrown away and made again.
_MAX_FOUND = 1024

# Managers that have no mind of their own about which pool to give, so that a pool once found
# need not be asked for again.
_PREDICTABLE = (PoolManager, ProxyManager, urllib3.PoolManager, urllib3.ProxyManager)

# Stands for what the caller of the constructor left out, which may be what `install` was told.
_NOT_GIVEN: Any = type("NotGiven", (), {"__repr__": lambda self: "..."})()

# Options that the adapter checks and looks at itself; a pool that is made checks the others.
_NOT_OF_POOL = frozenset(
    ["timeout", "retries", "pool_connections", "pool_maxsize", "max_retries", "pool_block"]
)

if TYPE_CHECKING:
    _Base = requests.adapters.HTTPAdapter
else:
    _Base = requests.adapters.HTTPAdapter

# requests' stubs leave out the hooks that are public by use only.
_Stock: Any = requests.adapters.HTTPAdapter


class _Found:
    """Pools found before, and what that finding rested on."""

    __slots__ = ("keywords", "manager", "pools")

    def __init__(self, manager: urllib3.PoolManager) -> None:
        self.manager = manager
        self.keywords = {
            # Proxy headers and socket options may be changed in place.
            name: copy.copy(value) if type(value) in (dict, list) else value
            for name, value in manager.connection_pool_kw.items()
        }
        self.pools: dict[object, HostPool] = {}

    def __reduce__(self) -> Any:
        """Return None, to a copy of what refers to it: a subclass may pickle its whole __dict__."""
        return type(None), ()


class HTTPAdapter(_Base):
    """Sends a session's requests through httpcore: ``s.mount("https://", HTTPAdapter())``.

    Thread-safe: one adapter, and one session, may serve any number of threads.

    Parameters:
        pool_connections: kept for subclasses; idle connections are limited over all hosts to
            ``max(100, pool_connections * pool_maxsize)``.
        pool_maxsize: with `pool_block`, how many connections one host may have.
        max_retries: an int or any `urllib3.util.Retry`, which decides on how far a request got:
            what was not sent counts under ``connect`` and is repeated for any method, what may
            have been processed for ``allowed_methods`` only (an int: for idempotent ones).
        pool_block: True makes requests beyond `pool_maxsize` wait for a connection, first
            come, first served. False opens as many as there are requests at a time, and keeps
            them: none is discarded because a pool is "full".
        timeout: for requests that are given none, or ``timeout=None``: seconds to connect and
            without a byte from the server, ``(connect, read)``, a `Timeout` or a
            `urllib3.Timeout`. A request that is given one gets that and nothing of this one;
            ``timeout=Timeout(None)`` is no limit at all. None, the default, is requests' own: no
            limit.
        retries: another name for `max_retries`, as `Session` and `install` have it.
        ssl_context: how servers and https proxies are verified, instead of `verify` paths. It is
            never changed; a request that would need it changed (``verify=False``, ``cert=``, a path
            as `verify` that is not from the environment) is refused. Names are always checked.
            Only with `http2` the protocols that it offers (ALPN) are set, which Python has for
            whole contexts only: do not share it with other clients then.
        http2: True offers HTTP/2 to https origins, direct and through tunnels; those that do not
            take it get HTTP/1.1, as do http origins. All threads share a connection
            then, as far as the server lets them. ``raw.version`` is 20 for HTTP/2, which has
            no reason phrases: ``reason`` is the usual one for the status, or empty.
        max_connections: connections open at once over all hosts, or None; more requests wait.
        keepalive_expiry: seconds an idle connection may still be used, or None for ever; 60 if
            left out.
        max_age: seconds after which a connection is not used again, or None.
        parsing: ``"lenient"``, the default, repairs or skips malformed header lines, so that
            whatever requests can read today is read, and sends header names that are no tokens,
            such as ``a[0]``; ``"strict"`` refuses both as h11 does.
        network_backend: opens the sockets; by default `httpcore.SyncBackend()`.
        pool_timeout: seconds a request may wait for a connection before
            `requests.ConnectTimeout`; None for ever.
        trace: called with the name and the details of each event of each request, and of the pool
            (``pool.evict`` and others), by the thread that it happens in; see
            `httpcore.ConnectionPool`.
        respect_no_proxy: True lets ``proxies["no_proxy"]``, or else the variables ``no_proxy`` and
            ``NO_PROXY``, decide over every proxy, explicit ones too; requests itself asks them
            for proxies from the environment only. Entries, separated by commas: ``*``, a name
            (with all names below it), an address, a network such as ``10.0.0.0/8``, each of these
            but the last also with ``:port``. Nothing is looked up in DNS for it.
        resolve: where to find certain hosts, ``{"example.com:443": "127.0.0.1"}``, as curl's
            ``--resolve``: the name stays in SNI, certificate check and Host. A proxy is asked for
            a tunnel to the address; one that forwards looks up by itself.
        resolver: looks up all other names in place of the system: called with host, port and the
            seconds it has (None: no limit), from any thread, and returns addresses as text.
            Excludes `network_backend`.
        on_proxy_challenge: called when a proxy refuses a tunnel with 407, with the
            `httpcore.ProxyError` (its ``status``, ``headers`` and ``body`` are the proxy's answer)
            and the proxy's URL without credentials. The headers it returns go to that proxy, with
            a second CONNECT on the same connection; None gives up. At most 3 times for a tunnel.
        ping_interval: with `http2`, seconds without a word from the server after which it is
            asked, while a response is awaited or read, whether it is still there; None: never.
        ping_timeout: seconds it then has to answer; past them the connection's requests fail. 15
            if left out.
        max_decoded: bytes that a body with a Content-Encoding may decode to; one that goes past it
            is a `requests.exceptions.ContentDecodingError`, and decoding stops there. None, the
            default, is requests' own: no limit. Bodies that are not compressed are not counted.
        raise_on_truncated: True makes a compressed body that ends before its coding does, although
            its framing is whole, a `requests.exceptions.ChunkedEncodingError`, as a body is that
            ends before its Content-Length. False, the default, is requests' own: what there is, is
            taken for all of it.

    What is left out is as `install` was told, if it was called.

    Proxies are what requests makes of ``proxies=`` and the environment: http origins are asked for
    at the proxy, https ones through a tunnel. `Proxy-Authorization`, from the proxy's URL or from
    the caller, goes to the proxy and nowhere else. A refused tunnel is a
    `requests.exceptions.ProxyError`, whose ``args[0].reason`` has the proxy's answer: ``status``,
    ``headers`` (byte pairs) and ``body``. socks5, socks5h, socks4 and socks4a proxies work without
    PySocks; those with an ``h`` or ``a`` resolve the origin's name.

    https:// proxies are verified as the request asks for origins (`verify`, or the `ssl_context`),
    also on the way to http origins, unless ``proxy_manager_for`` is given urllib3's
    ``proxy_ssl_context``, ``proxy_assert_hostname`` or ``proxy_assert_fingerprint``. `cert` is
    shown to origins only.

    ``http+unix://%2Frun%2Fdocker.sock/path`` goes to that Unix socket, never through a proxy, once
    mounted: ``s.mount("http+unix://", HTTPAdapter())``. Redirects lead there only from that socket,
    where ``http://`` and ``https://`` are ours, too: requests' adapters do not note where they
    come from.

    Raises TypeError or ValueError for an argument that cannot be.
    """

    __attrs__ = [*_Stock.__attrs__, "_settings"]

    _settings: Settings | None = None
    _transports: Transports | None = None
    _found: _Found | None = None
    _found_through: dict[str, _Found] | None = None  # by proxy

    def __init__(
        self,
        pool_connections: int = _NOT_GIVEN,
        pool_maxsize: int = _NOT_GIVEN,
        max_retries: Retry | int | None = _NOT_GIVEN,
        pool_block: bool = _NOT_GIVEN,
        **options: Unpack[ConnectionOptions],
    ) -> None:
        load_core()
        given = cast("AdapterOptions", options)  # a dict of this call's own
        if pool_connections is not _NOT_GIVEN:
            given["pool_connections"] = pool_connections
        if pool_maxsize is not _NOT_GIVEN:
            given["pool_maxsize"] = pool_maxsize
        if max_retries is not _NOT_GIVEN:
            given["max_retries"] = max_retries
        if pool_block is not _NOT_GIVEN:
            given["pool_block"] = pool_block
        told = all_options(given)
        size = told.pop("pool_connections", requests.adapters.DEFAULT_POOLSIZE)
        maxsize = told.pop("pool_maxsize", requests.adapters.DEFAULT_POOLSIZE)
        policy = told.pop("max_retries", requests.adapters.DEFAULT_RETRIES)
        block = told.pop("pool_block", requests.adapters.DEFAULT_POOLBLOCK)
        self._settings = Settings(**told)
        self._transports = Transports(self._settings, max(MIN_IDLE, size * maxsize))
        super().__init__(size, maxsize, policy, block)
        if given.keys() - _NOT_OF_POOL or self._settings.http2:
            # An argument that cannot be is said here, not at the first request; h2 is loaded here.
            self.pool  # noqa: B018

    @property
    def pool(self) -> httpcore.ConnectionPool:
        """The `httpcore.ConnectionPool` under this adapter, for its ``connections`` and
        ``stats()``. A new one after `close()`."""
        block = self._pool_block and self._pool_maxsize > 0
        return self._own_transports().pool(PoolOptions(self._pool_maxsize if block else None))

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
        All of them are honoured but ``blocksize``, which has no effect: httpcore chooses how much
        to read and write at a time. Changes of ``poolmanager.connection_pool_kw`` hold from the
        next request on.

        Raises TypeError for a keyword that is not known.
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
        """Return the manager for `proxy`, made when first asked for and kept in
        `self.proxy_manager`.

        Override it to add urllib3's keywords (``ssl_context``, ``source_address``, and for https
        proxies ``proxy_ssl_context``, ...) and call this, or to return a `urllib3.ProxyManager` of
        your own.

        Of the managers made here no more are kept than there may be idle connections (100, where
        the pool's size does not say more), the newest; older ones are cleared.

        The host may be missing; sending through the manager then fails.

        Raises InvalidProxyURL; TypeError or ValueError for a keyword that cannot be honoured.
        """
        manager = self.proxy_manager.get(proxy)
        if manager is None:
            manager = self._new_proxy_manager(proxy, proxy_kwargs)
            self.proxy_manager[proxy] = manager
            for old in list(self.proxy_manager)[: -self._own_transports().max_idle]:
                self._forget_proxy(old)
        return manager

    def _new_proxy_manager(self, proxy: str, keywords: dict[str, Any]) -> Any:
        url = _proxies.parsed(proxy)
        keywords = {
            "num_pools": self._pool_connections,
            "maxsize": self._pool_maxsize,
            "block": self._pool_block,
            **keywords,
        }
        transports = self._own_transports()
        if (url.scheme or "").startswith("socks"):
            user, password = get_auth_from_url(proxy)
            # Looked up at each call: yt-dlp puts its own there. urllib3's would need PySocks.
            socks: Any = requests.adapters.SOCKSProxyManager
            if socks.__module__ not in _STOCK_SOCKS:
                return socks(proxy, username=user, password=password, **keywords)
            _proxies.refuse_unsupported(url)
            way = _proxies.socks_to_core(url, user, password)
            return PoolManager(transports, through=way, **keywords)
        _proxies.refuse_unsupported(url)
        headers = _proxies.headers_for(url, lambda: self.proxy_headers(proxy))
        put_there: Any = urllib3.poolmanager.ProxyManager  # tests put theirs there
        if put_there is not ProxyManager.__base__:
            return put_there(proxy_url=proxy, proxy_headers=headers, **keywords)
        return ProxyManager(transports, proxy, proxy_headers=headers, **keywords)

    def _forget_proxy(self, proxy: str) -> None:
        manager = self.proxy_manager.pop(proxy, None)
        if self._found_through is not None:
            self._found_through.pop(proxy, None)
        if manager is not None:
            manager.clear()
            if type(manager) is urllib3.ProxyManager:  # a subclass made it, and we adopted it
                leave(manager, self._own_transports())

    def get_connection_with_tls_context(
        self,
        request: PreparedRequest,
        verify: Verify,
        proxies: Mapping[str, str] | None = None,
        cert: object = None,
    ) -> HTTPConnectionPool:
        """Return the pool for `request` and its TLS settings."""
        url: Any = request.url
        # Keys must be told apart by what they mean: 0 == False, 1 == True.
        if verify is not True and verify is not False:
            verify = _meant(verify)
        cert = _as_text(cert) if cert else None
        manager: Any = self.poolmanager
        found = self._found
        proxy = None
        if proxies or requests.adapters.select_proxy is not _SELECT_PROXY:  # type: ignore[attr-defined]
            proxy = self._choose_proxy(request, proxies or {})
        predictable = getattr(self.build_connection_pool_key_attributes, "__func__", None)
        if proxy is not None:
            manager, found = self._found_for(proxy)
        # Where the authority ends; "https://" has 8 characters. A URL that was put in by hand may
        # have no path, and then goes the long way; so does http+unix.
        end = url.find("/", 8) if type(url) is str and url[4:5] != "+" else -1
        certain = verify is True or verify is False or type(verify) is str
        if end < 0 or predictable is not _BUILD_KEY or isinstance(cert, list) or not certain:
            return self._find_pool_by_hooks(request, verify, proxy, cert)
        key = (url[:end], verify, cert)  # all that a pool depends on
        if (
            found is not None
            and found.manager is manager
            and found.keywords == manager.connection_pool_kw
        ):
            known = found.pools.get(key)
            if known is not None:
                return known
        pool = self._find_pool_by_hooks(request, verify, proxy, cert)
        if type(pool) is HostPool:
            self._remember(key, pool, proxy)
        return pool

    def _found_for(self, proxy: str) -> tuple[Any, _Found | None]:
        found = self._found_through
        hook = getattr(self.proxy_manager_for, "__func__", None)
        if found is None or hook is not _MANAGER_FOR:
            return None, None
        return self.proxy_manager.get(proxy), found.get(proxy)

    def _remember(self, key: object, pool: HostPool, proxy: str | None) -> None:
        if proxy is None:
            manager, found = self.poolmanager, self._found
        else:
            if self._found_through is None:
                self._found_through = {}
            manager, found = self._found_for(proxy)
        if type(manager) not in _PREDICTABLE:
            return
        if (
            found is None
            or found.manager is not manager
            or found.keywords != manager.connection_pool_kw
            or len(found.pools) >= _MAX_FOUND
        ):
            found = _Found(manager)
            if proxy is None:
                self._found = found
            elif self._found_through is not None:
                # Full only if threads raced with `_forget_proxy`: it takes away what it drops.
                if len(self._found_through) >= _MAX_FOUND:
                    self._found_through.clear()
                self._found_through[proxy] = found
        found.pools[key] = pool

    def _find_pool_by_hooks(
        self, request: PreparedRequest, verify: Verify, proxy: str | None, cert: object
    ) -> HTTPConnectionPool:
        """Return the pool for `request`, by way of all hooks and managers."""
        if isinstance(cert, list):
            cert = tuple(cert)
        try:
            if proxy is not None:
                return self._pool_through(proxy, request, verify, cert)
            adopt(self.poolmanager, self._own_transports())
            if _unix.is_unix(request.url):
                _unix.check_redirect(request)
                return self._unix_pool(request.url)
            # Not by super(), which would select a proxy again.
            host, more = self._key_attributes(request, verify, cert)
            manager: urllib3.PoolManager = self.poolmanager
            return manager.connection_from_host(**host, pool_kwargs=more)
        except URLSchemeUnknown as exc:
            raise InvalidURL(_unsupported(request.url), request=request) from exc
        except RequestException as exc:
            exc.request = exc.request or request
            raise

    def _pool_through(
        self, proxy: str, request: PreparedRequest, verify: Verify, cert: object
    ) -> HTTPConnectionPool:
        manager = self._manager_through(proxy)
        host, more = self._key_attributes(request, verify, cert)
        scheme = host.get("scheme", "http")
        # urllib3's manager would have the proxy fetch whatever it is.
        if isinstance(manager, urllib3.ProxyManager) and scheme not in _proxies.DEFAULT_PORTS:
            raise URLSchemeUnknown(scheme)
        if host.get("host"):
            check_host(host["host"])  # a pool for all origins sees none of their names
        return manager.connection_from_host(**host, pool_kwargs=more)

    def _key_attributes(
        self, request: PreparedRequest, verify: Verify, cert: object
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            hook: Any = self.build_connection_pool_key_attributes
            host, more = hook(request, verify, cert)
        except ValueError as exc:
            raise InvalidURL(exc, request=request) from exc
        # What requests 2.32.4 takes for `verify=True` (certifi's roots alone, and HTTP/1.1) must
        # not stand in for the adapter's own context, or for the one that it was given.
        loaded = getattr(requests.adapters, "_preloaded_ssl_context", None)
        if loaded is not None and more.get("ssl_context") is loaded:
            more = {name: value for name, value in more.items() if name != "ssl_context"}
        return host, more

    def _manager_through(self, proxy: str) -> urllib3.PoolManager:
        manager: urllib3.PoolManager = self.proxy_manager_for(_proxies.normalized(proxy))
        if isinstance(manager, urllib3.PoolManager):
            adopt(manager, self._own_transports())
        return manager

    def _unix_pool(self, url: str) -> HTTPConnectionPool:
        manager: urllib3.PoolManager = self.poolmanager
        pool = manager.connection_from_host(_unix.path_of(url), scheme=_unix.SCHEME)
        _unix.teach_urljoin()
        return pool

    def _choose_proxy(self, request: PreparedRequest, proxies: Mapping[str, str]) -> str | None:
        """Return the proxy for `request`; none but that one gets to see its credentials."""
        proxy = self._proxy_for(request.url, proxies)
        if _proxies.AUTHORIZATION in request.headers:
            _proxies.withhold(request.headers, proxy, proxies)
        return proxy

    def _proxy_for(self, url: str | None, proxies: Mapping[str, str]) -> str | None:
        if _unix.is_unix(url):
            return None
        # Looked up at each call: yt-dlp puts its own in the place of requests' select_proxy.
        select: Any = requests.adapters.select_proxy  # type: ignore[attr-defined]
        if select is _SELECT_PROXY and type(url) is str and type(proxies) in _proxies.DICTS:
            end = url.find("/", 8)  # "https://" has 8 characters
            proxy: str | None = _proxies.select(
                url if end < 0 else url[:end], tuple(proxies.items())
            )
        else:
            proxy = select(url, proxies)
        if proxy and (self._transports or self._own_transports()).settings.respect_no_proxy:
            return None if _proxies.is_exempt(url or "", proxies) else proxy
        return proxy or None

    def get_connection(
        self, url: Any, proxies: Mapping[str, str] | None = None
    ) -> HTTPConnectionPool:
        """Return the pool for `url`. Deprecated by requests."""
        warnings.warn(
            "`get_connection` has been deprecated in favor of `get_connection_with_tls_context` "
            "by requests: override or call that instead",
            DeprecationWarning,
            stacklevel=2,
        )
        proxy = self._proxy_for(url, proxies or {})
        if proxy is not None:
            return self._manager_through(proxy).connection_from_url(url)
        manager: urllib3.PoolManager = self.poolmanager
        adopt(manager, self._own_transports())
        return manager.connection_from_url(url)

    def cert_verify(self, conn: Any, url: str, verify: Verify, cert: Any) -> None:
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
        if isinstance(conn, HostPool) and conn.scheme == "https":
            # For http through an https proxy requests would write that no certificate is verified.
            url = "https"
        super().cert_verify(conn, url, verify, _as_text(cert))  # type: ignore[no-untyped-call]
        if verify is True and isinstance(conn, HostPool):
            self._trust_default(conn)

    @staticmethod
    def _trust_default(conn: HostPool) -> None:
        # The pool manager's authorities, or httpcore's default (requests writes certifi's path,
        # and SSL_CERT_FILE would not be seen); never those of another request's `verify`.
        conn.ca_certs = conn.conn_kw.get("ca_certs")
        conn.ca_cert_dir = conn.conn_kw.get("ca_cert_dir")

    def request_url(self, request: PreparedRequest, proxies: Mapping[str, str] | None) -> str:
        """Return the request target: path and query, or the whole URL for a proxy that forwards
        it."""
        url = request.url
        body: Any = getattr(request, "body", None)
        if type(body) is Spent:
            raise body.error(request)
        plain = not proxies and requests.adapters.select_proxy is _SELECT_PROXY  # type: ignore[attr-defined]
        if plain and type(request) is requests.PreparedRequest and type(url) is str:
            start = url.find("/", 8)
            if start > 0 and url[4] != "+" and "#" not in url and "?" not in url[:start]:
                return url[start:]
        elif proxies:
            proxy = self._proxy_for(url, proxies)
            if proxy is None:
                proxies = None
            elif type(request) is requests.PreparedRequest and _proxies.is_forwarded(url, proxy):
                return url  # type: ignore[return-value]  # as requests' would make it
        # A dict in any case: what was put in the place of requests' select_proxy may need one.
        target: str = super().request_url(request, proxies or {})
        given = request.path_url
        if given.startswith("//") and target == f"/{given.lstrip('/')}":
            return given  # before 2.34, requests makes one of the slashes at the beginning
        return target

    def build_response(self, req: PreparedRequest, resp: BaseHTTPResponse) -> requests.Response:
        """Return the `requests.Response` for `resp`; ours reads `.content` in one go."""
        if type(resp) is not RawResponse or "headers" in resp.__dict__:
            stock: requests.Response = super().build_response(req, resp)
            if "location" in stock.headers:
                _unix.note_redirect(req, stock.headers["location"])
            return stock
        return _response.build(self, req, resp)

    def close(self) -> None:
        """Close idle connections now, and each busy one when its response ends.

        The adapter stays usable: the next request opens a new pool.
        """
        super().close()
        self._found = self._found_through = None
        self._own_transports().close()

    # -- pickling

    def __getstate__(self) -> dict[str, object]:
        stock: Any = super()
        state: dict[str, object] = stock.__getstate__()
        state["_settings"] = self._settings  # which a subclass's __attrs__ may leave out
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        load_core()
        self._settings = state.get("_settings")
        max_idle = state.get("_pool_connections", 0) * state.get("_pool_maxsize", 0)
        self._transports = Transports(self._settings or Settings(), max(MIN_IDLE, max_idle))
        # What was found is another adapter's; a subclass's __getstate__ may have copied it along.
        stock: Any = super()
        stock.__setstate__({k: v for k, v in state.items() if k not in _NOT_COPIED})


_SELECT_PROXY: Any = requests.utils.select_proxy
_BUILD_KEY = HTTPAdapter.build_connection_pool_key_attributes
_MANAGER_FOR = HTTPAdapter.proxy_manager_for

_NOT_COPIED = frozenset(["_transports", "_found", "_found_through"])

# Where requests' own SOCKSProxyManager is from: urllib3, or requests where PySocks is missing.
_STOCK_SOCKS = ("urllib3.contrib.socks", "requests.adapters")


def _meant(verify: Any) -> Any:
    """Return False where `cert_verify` will switch verification off, a path as text; else
    `verify`."""
    if not verify:
        return False
    return os.fsdecode(verify) if isinstance(verify, (bytes, os.PathLike)) else verify


def _as_text(cert: Any) -> Any:
    """Return `cert` with text for paths that are bytes: httpcore takes those for what is in the
    file."""
    if isinstance(cert, (tuple, list)):
        parts = [_as_text(part) for part in cert]
        return parts if isinstance(cert, list) else tuple(parts)
    return os.fsdecode(cert) if isinstance(cert, bytes) else cert


def _unsupported(url: str | None) -> str:
    scheme = (url or "").partition(":")[0].lower()
    if scheme == "https+unix":
        return "https+unix:// is not supported: Unix sockets are used without TLS, by http+unix://"
    return f"cannot fetch {scheme}:// URLs: HTTPAdapter supports http, https and http+unix"
