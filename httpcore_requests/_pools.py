"""Where requests' `send` expects urllib3: a pool manager, and the pools it hands out.

Owns: the adapter's httpcore pools, the pool-shaped object that runs one request under a
urllib3 `Retry` policy, and the manager that finds it. Must not know: requests' sessions and
responses, HTTP framing.

A `HostPool` holds no connections. It is a view on the adapter's one `httpcore.ConnectionPool`
for one (scheme, host, port, TLS settings), kept in a dict as urllib3 keeps its pools, because
that is where everybody looks for ``cert_reqs``, ``num_connections`` and ``conn_kw``.

Sources: urllib3's `HTTPConnectionPool.urlopen` for the contract, RFC 9110 section 9.2.2 for
what may be repeated, section 15.4 for redirects.
"""

from __future__ import annotations

import functools
import logging
import ssl
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin

import urllib3
from urllib3 import HTTPHeaderDict
from urllib3.connectionpool import ConnectionPool as _ConnectionPool
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HostChangedError,
    InsecureRequestWarning,
    LocationParseError,
    MaxRetryError,
)
from urllib3.poolmanager import pool_classes_by_scheme
from urllib3.util import Timeout
from urllib3.util.request import rewind_body, set_file_position
from urllib3.util.retry import Retry

import httpcore

from ._errors import FAILURES, InvalidHeader, from_request, not_retried
from ._raw import RawResponse
from ._request import (
    encode_body,
    encode_headers,
    encode_target,
    is_replayable,
    to_timeouts,
)
from ._tls import TLSPlan, TLSSettings, context_for, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# urllib3's name: pip and others filter and rewrite the retry warning there.
log = logging.getLogger("urllib3.connectionpool")

_NO_TIMEOUT_GIVEN = Timeout.DEFAULT_TIMEOUT

# Idle connections kept over all hosts, where pool_connections * pool_maxsize is less. Many
# threads on one host need theirs kept (psf/requests#3167 and its kin), and each costs a file
# descriptor; keepalive_expiry takes back what is not used.
MIN_IDLE = 100

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Settings:
    """What an adapter was told about its connections; see `HTTPAdapter`."""

    ssl_context: ssl.SSLContext | None = None
    http2: bool = False
    max_connections: int | None = None
    keepalive_expiry: float | None = 60.0
    max_age: float | None = None
    parsing: str = "lenient"
    network_backend: httpcore.NetworkBackend | None = None
    pool_timeout: float | None = None
    trace: Callable[..., Any] | None = None


class Road(NamedTuple):
    """What differs between the httpcore pools of one adapter; nearly always there is one."""

    max_per_host: int | None = None
    local_address: str | None = None
    socket_options: tuple[Any, ...] | None = None


class Transports:
    """The httpcore pools of one adapter, made when first needed. Thread-safe."""

    def __init__(self, settings: Settings, max_idle: int = MIN_IDLE) -> None:
        self.settings = settings
        self.max_idle = max_idle
        self.open: dict[Road, httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()

    def pool(self, road: Road) -> httpcore.ConnectionPool:
        """The pool for `road`."""
        with self._lock:
            pool = self.open.get(road)
            if pool is None:
                pool = self.open[road] = self._make(road)
        return pool

    def _make(self, road: Road) -> httpcore.ConnectionPool:
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
        )

    def close(self) -> None:
        """Close idle connections now, busy ones when their response ends. Usable afterwards:
        the next request makes a new pool."""
        with self._lock:
            pools, self.open = list(self.open.values()), {}
        for pool in pools:
            pool.close()

    def __del__(self) -> None:
        # An adapter that is dropped, never closed, gives its sockets back.
        for pool in self.open.values():
            pool.close()


class HostPool(HTTPConnectionPool):
    """One host's pool as urllib3's users know it; sends over the adapter's httpcore pool.

    Parameters: the adapter's transports, then those of `urllib3.HTTPSConnectionPool`.

    ``urlopen`` is thread-safe. The TLS attributes (``cert_reqs``, ``ca_certs``, ...) are read
    at each request, so that whatever a `cert_verify` writes here holds for it.
    """

    def __init__(
        self,
        transports: Transports,
        scheme: str,
        host: str,
        port: int | None = None,
        timeout: Any = _NO_TIMEOUT_GIVEN,
        maxsize: int = 1,
        block: bool = False,
        headers: Mapping[str, str] | None = None,
        retries: Any = None,
        _proxy: Any = None,
        _proxy_headers: Any = None,
        _proxy_config: Any = None,
        **conn_kw: Any,
    ) -> None:
        self.scheme = scheme
        _ConnectionPool.__init__(self, host, port)
        _check_host(self.host)
        self.headers = headers or {}
        self.timeout = timeout if isinstance(timeout, Timeout) else Timeout.from_float(timeout)
        self.retries = Retry.DEFAULT if retries is None else retries
        self.block = block
        self.proxy = _proxy
        self.proxy_headers = _proxy_headers or {}
        self.proxy_config = _proxy_config
        self.num_connections = 0
        self.num_requests = 0
        self.conn_kw = conn_kw
        for name in TLSSettings._fields:
            setattr(self, name, conn_kw.get(name))
        self.pool = None  # urllib3's queue of connections; ours are not here
        self._transports = transports
        self._road = _road(maxsize, block, conn_kw)
        self._tls_plan: TLSPlan | None = None
        self._port = self.port or _DEFAULT_PORTS[scheme]
        self._host_header = _host_header(self.host, self._port, scheme)
        self._origin = (scheme.encode(), self.host.encode("ascii"), self._port)

    ssl_context: ssl.SSLContext | None
    cert_reqs: int | str | None
    ca_certs: str | None
    ca_cert_dir: str | None
    ca_cert_data: str | bytes | None
    cert_file: str | None
    key_file: str | None
    key_password: str | None
    ssl_version: int | str | None
    ssl_minimum_version: int | None
    ssl_maximum_version: int | None
    assert_hostname: str | bool | None
    assert_fingerprint: str | None
    server_hostname: str | None

    def urlopen(  # type: ignore[override]
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        retries: Retry | bool | int | None = None,
        redirect: bool = True,
        assert_same_host: bool = True,
        timeout: Any = _NO_TIMEOUT_GIVEN,
        pool_timeout: float | None = None,
        release_conn: bool | None = None,
        chunked: bool = False,
        body_pos: Any = None,
        preload_content: bool = True,
        decode_content: bool = True,
        **response_kw: Any,
    ) -> RawResponse:
        """Send one request and return its response; urllib3 documents the parameters.

        Raises urllib3's exceptions, see `_errors`.
        """
        if not isinstance(retries, Retry):
            retries = Retry.from_int(retries, redirect=redirect, default=self.retries)
        if assert_same_host and not self.is_same_host(url):
            raise HostChangedError(self, url, retries)
        if type(timeout) is not Timeout:
            timeout = self._get_timeout(timeout)
        if headers is None:
            headers = self.headers
        if body is not None and type(body) is not bytes:
            body_pos = set_file_position(body, body_pos)
        again: Retry | None = None
        enforce = response_kw.pop("enforce_content_length", True)
        target = encode_target(url)
        while True:
            if again is not None:  # not the first attempt
                retries = again
                if is_replayable(body, body_pos) and body_pos is not None:
                    rewind_body(body, body_pos)
            try:
                response = self._send(method, target, body, headers, timeout, pool_timeout, chunked)
            except FAILURES as exc:
                again = self._after_failure(exc, retries, method, url, body, body_pos)
                continue
            raw = RawResponse(self, response, method, url, retries, decode_content, enforce)
            if redirect and raw.get_redirect_location():
                raw = self._follow(
                    raw, method, url, body, headers, retries, assert_same_host,
                    timeout=timeout, pool_timeout=pool_timeout, chunked=chunked,
                    body_pos=body_pos, decode_content=decode_content, **response_kw,
                )  # fmt: skip
            # A plain policy without counts, such as requests' default, has nothing to say here.
            elif type(retries) is not Retry or retries.total or retries.status_forcelist:
                again = self._after_status(raw, retries, method, url, body, body_pos)
                if again is not None:
                    continue
            if preload_content and raw._body is None:
                raw._body = raw.read(decode_content=decode_content)
            return raw

    def _send(
        self,
        method: str,
        target: bytes,
        body: Any,
        headers: Mapping[str, str],
        timeout: Timeout,
        pool_timeout: float | None,
        chunked: bool,
    ) -> httpcore.Response:
        self.num_requests += 1
        transports = self._transports
        settings = transports.settings
        if pool_timeout is None:
            pool_timeout = settings.pool_timeout
        extensions: dict[str, Any] = {"timeout": to_timeouts(timeout, pool_timeout)}
        if self.scheme == "https":
            self._add_tls(extensions)
        if settings.trace is not None:
            extensions["trace"] = settings.trace
        scheme, host, port = self._origin
        request = httpcore.Request(
            method,
            httpcore.URL(scheme=scheme, host=host, port=port, target=target),
            headers=encode_headers(headers, self._host_header, method, body, chunked),
            content=encode_body(body),
            extensions=extensions,
        )
        pool = transports.open.get(self._road) or transports.pool(self._road)
        response = pool.handle_request(request)
        if not response.extensions.get("reused"):
            self.num_connections += 1
        return response

    def _add_tls(self, extensions: dict[str, Any]) -> None:
        settings = (
            self.ssl_context, self.cert_reqs, self.ca_certs, self.ca_cert_dir, self.ca_cert_data,
            self.cert_file, self.key_file, self.key_password, self.ssl_version,
            self.ssl_minimum_version, self.ssl_maximum_version, self.assert_hostname,
            self.assert_fingerprint, self.server_hostname,
        )  # fmt: skip
        tls = self._tls_plan
        if tls is None or tls.settings != settings:
            own = self._transports.settings.ssl_context
            tls = self._tls_plan = plan(TLSSettings(*settings), own)
        extensions["ssl_context"] = context_for(tls)
        if tls.server_name is not None:
            extensions["sni_hostname"] = tls.server_name
        if tls.unverified:
            warnings.warn(
                f"Unverified HTTPS request is being made to host '{self.host}'. Adding "
                "certificate verification is strongly advised. See: "
                "https://urllib3.readthedocs.io/en/latest/advanced-usage.html#tls-warnings",
                InsecureRequestWarning,
                stacklevel=4,
            )

    # -- what comes after an attempt

    def _after_failure(
        self, exc: Exception, retries: Retry, method: str, url: str, body: Any, body_pos: Any
    ) -> Retry:
        """The policy for the next attempt; raises when there is none."""
        error = from_request(exc, self, url)
        if isinstance(error, (ValueError, InvalidHeader)):
            raise error from exc  # the request itself is wrong
        # A body that cannot be sent again may be sent once a connection could not be opened;
        # after any other failure some of it may be gone, and the first error is the true one.
        if not is_replayable(body, body_pos) and not isinstance(exc, _BEFORE_THE_BODY):
            raise _final(error, self, url) from exc
        try:
            again = retries.increment(
                method, url, error=error, _pool=self, _stacktrace=exc.__traceback__
            )
        except MaxRetryError as failure:
            if failure.reason is error and not retries.history:
                raise not_retried(error, self, url) from error
            raise
        except ConnectTimeoutError as failure:
            raise _final(failure, self, url) from exc
        again.sleep()
        log.warning(
            "Retrying (%r) after connection broken by '%r': %s",
            again,
            error,
            url,
            extra={"__urllib3-retry-warning": {"host": self.host}},
        )
        return again

    def _after_status(
        self, raw: RawResponse, retries: Retry, method: str, url: str, body: Any, body_pos: Any
    ) -> Retry | None:
        """The policy for asking again because of the response's status; None to keep it."""
        has_retry_after = "retry-after" in raw.folded and bool(raw.folded["retry-after"][1])
        if not retries.is_retry(method, raw.status, has_retry_after):
            return None
        if not is_replayable(body, body_pos):
            return None
        try:
            again = retries.increment(method, url, response=raw, _pool=self)
        except MaxRetryError as failure:
            if not retries.raise_on_status:
                return None
            raw.drain_conn()
            if retries.history or failure.reason is None:
                raise
            raise not_retried(failure.reason, self, url) from failure.reason
        raw.drain_conn()
        again.sleep(raw)
        log.debug("Retry: %s", url)
        return again

    def _follow(
        self,
        raw: RawResponse,
        method: str,
        url: str,
        body: Any,
        headers: Mapping[str, str],
        retries: Retry,
        assert_same_host: bool,
        **more: Any,
    ) -> RawResponse:
        """The response at the end of a redirect; requests follows redirects itself."""
        location = urljoin(url, raw.folded["location"][1])
        if raw.status == 303:
            # RFC 9110 section 15.4.4: the other resource is fetched, without this body.
            method, body = "GET", None
            more.update(chunked=False, body_pos=None)
            headers = _without(headers, _ABOUT_THE_BODY)
        if retries.remove_headers_on_redirect and not self.is_same_host(location):
            headers = _without(headers, retries.remove_headers_on_redirect)
        try:
            again = retries.increment(method, url, response=raw, _pool=self)
        except MaxRetryError:
            if not retries.raise_on_redirect:
                return raw
            raw.drain_conn()
            raise
        raw.drain_conn()
        again.sleep_for_retry(raw)
        log.debug("Redirecting %s -> %s", url, location)
        return self.urlopen(
            method, location, body, headers, again, True, assert_same_host,
            preload_content=False, **more,
        )  # fmt: skip


# Failures before the first byte of a body was asked for.
_BEFORE_THE_BODY = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout)

# What describes a body that a redirect leaves behind.
_ABOUT_THE_BODY = frozenset(
    [
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-type",
        "digest",
        "last-modified",
        "transfer-encoding",
    ]
)


def _without(headers: Mapping[str, str], names: Any) -> HTTPHeaderDict:
    kept = HTTPHeaderDict(headers)
    for name in names:
        kept.pop(name, None)
    return kept


def _final(error: Exception, pool: HostPool, url: str) -> Exception:
    """`error` as requests' `send` can sort it: its connect errors come wrapped."""
    return not_retried(error, pool, url) if isinstance(error, ConnectTimeoutError) else error


def _check_host(host: str) -> None:
    # RFC 1035 section 2.3.4: a label has 1 to 63 octets. DNS would say so too, but as a
    # UnicodeError from deep below (psf/requests#3687).
    labels = host.removesuffix(".").split(".")
    if ":" not in host and not all(0 < len(label) < 64 for label in labels):
        raise LocationParseError(f"{host!r}, label empty or too long")
    if not host.isascii():
        raise LocationParseError(f"{host!r}, cannot be encoded")


def _host_header(host: str, port: int, scheme: str) -> bytes:
    if ":" in host:
        host = f"[{host.partition('%')[0]}]"  # a zone id is local, RFC 6874 section 4
    return (host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}").encode("ascii")


def _road(maxsize: int, block: bool, conn_kw: dict[str, Any]) -> Road:
    source = conn_kw.get("source_address")
    if source is not None and source[1]:
        raise ValueError(
            f"source_address={source!r}: a fixed source port cannot be used for more than one "
            "connection and is not supported; use port 0"
        )
    options = conn_kw.get("socket_options")
    return Road(
        max_per_host=maxsize if block and maxsize > 0 else None,
        local_address=None if source is None else source[0],
        socket_options=None if options is None else tuple(map(tuple, options)),
    )


class PoolManager(urllib3.PoolManager):
    """A `urllib3.PoolManager` whose pools are `HostPool`.

    Parameters: the adapter's transports, then those of `urllib3.PoolManager`.
    """

    def __init__(self, transports: Transports, num_pools: int = 10, **kw: Any) -> None:
        super().__init__(num_pools, **kw)
        self._transports = transports
        adopt(self, transports)

    def clear(self) -> None:
        """Forget all pools; idle connections are closed, busy ones when their response ends."""
        super().clear()
        self._transports.close()


def adopt(manager: urllib3.PoolManager, transports: Transports) -> None:
    """Make `manager` hand out pools of ours from now on, unless it was given its own classes.

    Adapters that build a plain `urllib3.PoolManager` themselves are served this way;
    ``pool_classes_by_scheme`` is what urllib3 lets its users set for this.
    """
    if manager.pool_classes_by_scheme is pool_classes_by_scheme:
        ours: Any = {
            scheme: functools.partial(HostPool, transports, scheme) for scheme in _DEFAULT_PORTS
        }
        manager.pool_classes_by_scheme = ours
