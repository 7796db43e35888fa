"""The settings of an adapter and its pools, checked, and the httpcore pools that follow from them.

Owns: the adapter's own settings, which of urllib3's keywords are known, and the httpcore pools of
one adapter. Must not know: requests, retries, single requests.

A keyword that cannot be honoured is refused by name, at the latest by the first request that
would need it: what is silently ignored is sooner or later somebody's security.

Sources: urllib3's `PoolKey`, which lists every keyword that its pools take.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import urllib3
from urllib3.poolmanager import PoolKey
from urllib3.util.retry import Retry

import httpcore

from ._decoded_limit import check_limit
from ._timeout import TimeoutGiven, default_timeout
from ._tls_settings import TLSSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Idle connections kept over all hosts, where pool_connections * pool_maxsize is less. Many
# threads on one host need theirs kept (psf/requests#3167 and its kin), and each costs a file
# descriptor; keepalive_expiry takes back what is not used.
MIN_IDLE = 100

# What a pool hands on to its connections; urllib3 calls it conn_kw. `blocksize` (bytes per read and
# write in http.client) is accepted and has no effect: httpcore chooses its own sizes.
_OF_CONNECTIONS = frozenset([*TLSSettings._fields, "source_address", "socket_options", "blocksize"])

# All that a pool manager may be given. `_socks_options` is left out: it says where to connect, and
# without urllib3's SOCKS pools a request would go there directly. urllib3 drops `strict` itself.
_OF_MANAGERS = frozenset(
    [
        *(name.removeprefix("key_") for name in PoolKey._fields if name != "key__socks_options"),
        "strict",
    ]
)


class ConnectionOptions(TypedDict, total=False):
    """The options that `HTTPAdapter` takes by name only; it documents them."""

    timeout: TimeoutGiven
    retries: Retry | int | None
    ssl_context: ssl.SSLContext | None
    http2: bool
    max_connections: int | None
    keepalive_expiry: float | None
    max_age: float | None
    parsing: str
    network_backend: httpcore.NetworkBackend | None
    pool_timeout: float | None
    trace: Callable[..., object] | None
    respect_no_proxy: bool
    resolve: Mapping[str, str] | None
    resolver: Callable[[str, int, float | None], Iterable[str]] | None
    on_proxy_challenge: Callable[[httpcore.ProxyError, str], Any] | None
    ping_interval: float | None
    ping_timeout: float
    max_decoded: int | None
    raise_on_truncated: bool


class AdapterOptions(ConnectionOptions, total=False):
    """All options of `HTTPAdapter`, which `Session` and `install` take, too."""

    pool_connections: int
    pool_maxsize: int
    max_retries: Retry | int | None
    pool_block: bool


# What `install` was given: the options of adapters made from then on that are not told otherwise.
# Never changed in place, so that a thread that reads it while another one installs sees one or the
# other.
_installed: AdapterOptions = {}

# Options that are requests' own, which its constructor takes.
_OF_REQUESTS = frozenset(["pool_connections", "pool_maxsize", "max_retries", "pool_block"])


def set_installed(**options: Unpack[AdapterOptions]) -> None:
    """Make `options` those of each adapter made from now on, where it is not told otherwise.

    Raises TypeError or ValueError for one that cannot be.
    """
    global _installed
    named = _named_as_in_requests(options)
    transports = Transports(Settings(**{k: v for k, v in named.items() if k not in _OF_REQUESTS}))
    if options:
        transports.pool(PoolOptions()).close()  # it checks what is for pools
    _installed = named


def all_options(given: AdapterOptions) -> AdapterOptions:
    """Return the options of an adapter that was `given` these: with those of `install`, and with
    ``retries`` under its name in requests, ``max_retries``.

    Raises TypeError where both names were given, or what is given for one is no such policy.
    """
    return {**_installed, **_named_as_in_requests(given)}


def _named_as_in_requests(given: AdapterOptions) -> AdapterOptions:
    options = given.copy()
    if "retries" in options:
        if "max_retries" in options:
            raise TypeError("retries and max_retries are one option: give one of them")
        options["max_retries"] = options.pop("retries")
    policy: object = options.get("max_retries")
    if policy is not None and not isinstance(policy, (int, Retry)):
        name = "retries" if "retries" in given else "max_retries"
        raise TypeError(f"{name} must be an int or a urllib3 Retry, not {type(policy).__name__}")
    return options


class Settings:
    """The settings of an adapter's connections; see `HTTPAdapter`. Not changed later.

    It is no dataclass, because importing `dataclasses` takes a third of the time that importing
    the adapter does. A pickle of an earlier version has fewer settings: the others are the
    defaults.
    """

    timeout: urllib3.Timeout | None = None
    ssl_context: ssl.SSLContext | None = None
    http2: bool = False
    max_connections: int | None = None
    keepalive_expiry: float | None = 60.0
    max_age: float | None = None
    parsing: str = "lenient"
    network_backend: httpcore.NetworkBackend | None = None
    pool_timeout: float | None = None
    trace: Callable[..., Any] | None = None
    respect_no_proxy: bool = False
    resolve: Mapping[str, str] | None = None
    resolver: Callable[[str, int, float | None], Iterable[str]] | None = None
    on_proxy_challenge: Callable[[httpcore.ProxyError, str], Any] | None = None
    ping_interval: float | None = None
    ping_timeout: float = 15.0
    max_decoded: int | None = None
    raise_on_truncated: bool = False

    def __init__(self, **given: object) -> None:
        for name in given.keys() - Settings.__annotations__.keys():
            raise _unknown_option(name)
        self.__dict__.update(given)
        if "timeout" in given:
            self.__dict__["timeout"] = default_timeout(given["timeout"])
        check_context(self.ssl_context)
        check_limit(self.max_decoded)
        for name in ("resolver", "on_proxy_challenge", "trace"):
            hook = getattr(self, name)
            if hook is not None and not callable(hook):
                raise TypeError(f"{name} must be callable, not {type(hook).__name__}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot set {name}: the settings of an adapter are not changed")

    def __eq__(self, other: object) -> bool:
        names = Settings.__annotations__
        return isinstance(other, Settings) and all(
            getattr(self, name) == getattr(other, name) for name in names
        )

    __hash__ = None  # type: ignore[assignment]  # `resolve` has no hash either

    def __getstate__(self) -> dict[str, object]:
        """Return what pickle and deepcopy keep; they ask for the adapter, too."""
        if self.ssl_context is not None:
            raise TypeError(
                "an HTTPAdapter with an ssl_context cannot be pickled or deep-copied, because an "
                "SSLContext cannot: pass verify= and cert= paths instead, or make the context in "
                "an overridden init_poolmanager(), which every copy calls anew"
            )
        return self.__dict__


def _unknown_option(name: str) -> TypeError:
    """Return the error for an option that no adapter has, with the one that was meant."""
    import difflib  # only where something is wrong

    known = sorted((*_OF_REQUESTS, *Settings.__annotations__))
    alike = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {alike[0]!r}?" if alike else ""
    return TypeError(f"HTTPAdapter() got an unexpected keyword argument {name!r}{hint}")


def check_context(context: object) -> None:
    """Refuse what is no TLS context, with TypeError. pyOpenSSL's and truststore's are taken."""
    if context is not None and not hasattr(context, "wrap_socket"):
        raise TypeError(f"ssl_context must be an ssl.SSLContext, not {type(context).__name__}")


def check_keywords(keywords: Mapping[str, object]) -> None:
    """Refuse what is no keyword of a `urllib3.PoolManager`, with TypeError."""
    _refuse_unknown(keywords, _OF_MANAGERS)
    check_context(keywords.get("ssl_context"))


def check_connection_keywords(keywords: Mapping[str, object]) -> None:
    """Refuse what is no keyword of a `urllib3.HTTPSConnectionPool`, with TypeError."""
    _refuse_unknown(keywords, _OF_CONNECTIONS)
    check_context(keywords.get("ssl_context"))


def check_proxy_config(proxy: Any, config: Any) -> None:
    """Refuse what a `urllib3.ProxyManager` for `proxy` was told and what cannot be honoured.

    Raises TypeError for what is no TLS context, ValueError for forwarding of https.
    """
    if config is None:
        return
    check_context(config.ssl_context)
    if config.use_forwarding_for_https and proxy.scheme == "https":
        raise ValueError(
            "use_forwarding_for_https=True is not supported: HTTPAdapter asks a proxy for https "
            "origins through a tunnel only, so that it cannot read what is said in it"
        )


def _refuse_unknown(keywords: Mapping[str, object], known: frozenset[str]) -> None:
    unknown = keywords.keys() - known
    if unknown:
        names = ", ".join(sorted(map(repr, unknown)))
        raise TypeError(
            f"the pool manager was given {names}, which HTTPAdapter does not know and so cannot "
            "honour; urllib3's PoolManager and HTTPSConnectionPool document what there is"
        )


class PoolOptions(NamedTuple):
    """The settings in which the httpcore pools of one adapter differ; nearly always there is
    one."""

    max_per_host: int | None = None
    local_address: str | None = None
    socket_options: tuple[httpcore.SOCKET_OPTION, ...] | None = None


def pool_options(maxsize: int, block: bool, keywords: Mapping[str, Any]) -> PoolOptions:
    """Return the options that urllib3's `keywords` ask for.

    Raises ValueError for a `source_address` that is no (host, port), or has a fixed port.
    """
    options = keywords.get("socket_options")
    return PoolOptions(
        max_per_host=maxsize if block and maxsize > 0 else None,
        local_address=_local_address(keywords.get("source_address")),
        socket_options=None if options is None else tuple(map(tuple, options)),
    )


def _local_address(source: object) -> str | None:
    if source is None:
        return None
    if not isinstance(source, (tuple, list)) or len(source) != 2:
        raise ValueError(f"source_address={source!r}: it must be (host, 0)")
    if source[1]:
        raise ValueError(
            f"source_address={source!r}: a fixed source port cannot be used for more than one "
            "connection and is not supported; use port 0"
        )
    return str(source[0])


def without_ip(road: PoolOptions) -> PoolOptions:
    """Return `road` for a Unix socket: no address to come from, no options of TCP and IP."""
    options: Iterable[httpcore.SOCKET_OPTION] = road.socket_options or ()
    kept = tuple(option for option in options if option[0] == socket.SOL_SOCKET)
    return PoolOptions(road.max_per_host, None, kept or None)


def load_core() -> None:
    """Load what requests need, which making a pool does: the first one may come from a destructor
    or a signal handler."""
    global _is_loaded
    if not _is_loaded:
        httpcore.ConnectionPool().close()
        _is_loaded = True


_is_loaded = False


class Transports:
    """The httpcore pools of one adapter, made when first needed. Thread-safe, and without a lock:
    each look at `open` is one step, so a signal handler may close a session that is in use."""

    def __init__(self, settings: Settings, max_idle: int = MIN_IDLE) -> None:
        self.settings = settings
        self.max_idle = max_idle
        self.open: dict[PoolOptions, httpcore.ConnectionPool] = {}

    def pool(self, road: PoolOptions) -> httpcore.ConnectionPool:
        """Return the pool for `road`."""
        pool = self.open.get(road)
        if pool is None:  # two threads may both make one; the first is kept
            pool = self.open.setdefault(road, self._make(road))
        return pool

    def _make(self, road: PoolOptions) -> httpcore.ConnectionPool:
        settings = self.settings
        return httpcore.ConnectionPool(
            ssl_context=settings.ssl_context,
            max_connections=settings.max_connections,
            max_keepalive_connections=self.max_idle,
            keepalive_expiry=settings.keepalive_expiry,
            http2=settings.http2,
            local_address=road.local_address,
            network_backend=settings.network_backend,
            socket_options=road.socket_options,
            max_connections_per_host=road.max_per_host,
            max_age=settings.max_age,
            parsing=settings.parsing,
            resolve=settings.resolve,
            resolver=settings.resolver,
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            trace=settings.trace,
        )

    def leave(self, proxy: httpcore.Proxy) -> None:
        """Close the idle connections that go through `proxy`."""
        for pool in list(self.open.values()):
            pool.close_idle(proxy)

    def close(self) -> None:
        """Close idle connections now, busy ones when their response ends. Usable afterwards:
        the next request makes a new pool."""
        for road in list(self.open):
            pool = self.open.pop(road, None)
            if pool is not None:  # else another thread closes it
                pool.retire()

    def __reduce__(self) -> Any:
        """Give a copy the same settings, and no connections."""
        return Transports, (self.settings, self.max_idle)

    def __del__(self) -> None:
        # An adapter that is dropped, never closed, gives its sockets back.
        for pool in list(self.open.values()):
            pool.retire()
