"""The pool in the place where requests' `send` expects a urllib3 pool.

Owns: the pool-shaped object that runs one request under a urllib3 `Retry` policy. Must not know:
requests' sessions and responses, HTTP framing, what the policy is asked (that is `_retry_policy`),
how the object is found (that is `_pool_managers`).

A `HostPool` holds no connections. It is a view on the adapter's one `httpcore.ConnectionPool`
for one (scheme, host, port, TLS settings, proxy) or one Unix socket, kept in a dict as urllib3
keeps its pools, because that is where everybody looks for ``cert_reqs``, ``num_connections`` and
``conn_kw``. As in urllib3, the pool for http through a proxy is that of the proxy, for all
origins, and is given absolute URLs; through an https proxy its scheme is "https", and the target
alone shows that the origin's is not.

Sources: urllib3's `HTTPConnectionPool.urlopen` for the contract, RFC 9110 section 9.2.2 for
what may be repeated, section 15.4 for redirects.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import urllib3.exceptions
from urllib3 import connectionpool
from urllib3.connectionpool import ConnectionPool as _ConnectionPool
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    HostChangedError,
    InsecureRequestWarning,
    LocationValueError,
)
from urllib3.util import Timeout
from urllib3.util.request import set_file_position
from urllib3.util.retry import Retry

import httpcore
from httpcore.redact import without_query
from httpcore.rules import host_and_port, host_header, labels_fit

from . import _replaced, _unix
from ._errors import FAILURES, NOT_SENT, LocationParseError, make_error
from ._pool_shape import PoolShape
from ._proxies import DEFAULT_PORTS, FORWARDED, split_absolute, to_core
from ._raw import RawResponse
from ._request import (
    encode_body,
    encode_headers,
    encode_target,
    end_of,
    host_of,
    no_method,
    no_url,
    to_timeouts,
)
from ._retry_policy import (
    after_failure,
    after_redirect,
    after_status,
    refuse_spent,
    without,
    without_body,
)
from ._settings import Transports, check_connection_keywords, pool_options, without_ip
from ._timeout import Timeout as OurTimeout
from ._timeout import says_nothing
from ._tls_settings import TLSPlan, TLSSettings, context_for, plan
from ._wire import FIRST_FINAL

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from urllib3._base_connection import ProxyConfig
    from urllib3.util import Url

# The line of the function there that warns of what is not verified.
_WARNS_AT = HTTPSConnectionPool._validate_conn.__code__.co_firstlineno

_NO_TIMEOUT_GIVEN = Timeout.DEFAULT_TIMEOUT

# What never reaches an origin, directly or through a tunnel: it is for the next proxy alone
# (RFC 9110 section 11.7.2).
_NOT_FOR_ORIGINS = frozenset(["proxy-authorization"])


class HostPool(PoolShape):
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
        _proxy: Url | None = None,
        _proxy_headers: Mapping[str, str] | None = None,
        _proxy_config: ProxyConfig | None = None,
        _socks: httpcore.Proxy | None = None,
        **conn_kw: Any,
    ) -> None:
        self.scheme = scheme
        self._uds = host if scheme == _unix.SCHEME else None
        _ConnectionPool.__init__(self, _unix.HOST if self._uds else host, port)
        check_connection_keywords(conn_kw)
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
        self._tls_plan: TLSPlan | None = None
        self._tls_context: ssl.SSLContext | None = None  # that of the last request
        self._pool_options = pool_options(maxsize, block, conn_kw)
        self._through = _socks
        if _proxy is not None:
            hook = transports.settings.on_proxy_challenge
            self._through = to_core(_proxy, self.proxy_headers, hook)
        self._proxy_plan: TLSPlan | None = None
        self._set_out()

    def _set_out(self) -> None:
        """Settle where requests go, which way they take, and what errors call the peer."""
        scheme, host = self.scheme, self.host
        if self._uds is None:
            self.peer = host_and_port(host, self.port or DEFAULT_PORTS[scheme])
            check_host(host)
        else:
            scheme, self.host, self.port = FORWARDED, self._uds, None
            self.peer = "unix:" + self._uds.replace("\0", "@")  # an abstract one, as ss(8) shows it
            self._pool_options = without_ip(self._pool_options)
        self._direct = self._uds is None and self._through is None
        if self._through is not None and not self._through.url.host:
            raise LocationValueError("the URL of the proxy has no host")
        self._guards = self.proxy is not None and self.proxy.scheme == "https"
        if self._through is not None:
            self._of_proxy = frozenset(
                name.decode("latin-1").lower() for name, _ in self._through.headers
            )
        port = self.port or DEFAULT_PORTS[scheme]
        self._origin = (scheme.encode(), host.encode("ascii"), port)
        self._host_header = host_header(scheme.encode(), host.encode("ascii"), port)

    def forwards(self, url: str) -> bool:
        """Return whether a proxy sends the request for `url` on itself: not through a tunnel, not
        SOCKS. Through an https proxy the target alone shows it."""
        return self.proxy is not None and (self.scheme == FORWARDED or not url.startswith("/"))

    def is_same_host(self, url: str) -> bool:
        """Return whether `url` is of this host, or a path. Raises LocationParseError for no URL."""
        try:
            return super().is_same_host(url)
        except urllib3.exceptions.LocationParseError:
            pass  # its text is the whole URL
        raise no_url(url)

    def __str__(self) -> str:
        """Return the text of urllib3's pool: users read it in "Max retries exceeded", and some
        match on it."""
        kind = "HTTPSConnectionPool" if self.scheme == "https" else "HTTPConnectionPool"
        return f"{kind}(host={self.host!r}, port={self.port!r})"

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
        body: object = None,
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
        _inner: bool = False,
        **response_kw: Any,
    ) -> RawResponse:
        """Send one request and return its response; urllib3 documents the parameters.

        Raises urllib3's exceptions, see `_errors`.
        """
        if HTTPConnectionPool.urlopen is not _replaced.GENUINE and not _inner:
            return self._urlopen_replaced(
                method, url, retries, redirect, body_pos, assert_same_host, pool_timeout,
                body=body, headers=headers, timeout=timeout, chunked=chunked,
                release_conn=release_conn, preload_content=preload_content,
                decode_content=decode_content, **response_kw,
            )  # fmt: skip
        if not isinstance(retries, Retry):
            retries = Retry.from_int(retries, redirect=redirect, default=self.retries)
        if assert_same_host and not self.is_same_host(url):
            raise HostChangedError(self, without_query(url), retries)
        if type(timeout) is not Timeout:
            timeout = self._get_timeout(timeout)
        default = self._transports.settings.timeout
        if default is not None and says_nothing(timeout):
            timeout = default
        headers = self.headers if headers is None else headers
        if body is not None and type(body) is not bytes:
            body_pos = set_file_position(body, body_pos)
            refuse_spent(body)
        enforce = response_kw.pop("enforce_content_length", True)
        target = encode_target(url)
        end = None if timeout.total is None else end_of(timeout)
        while True:
            try:
                response = self._send(
                    method, target, body, headers, timeout, pool_timeout, chunked, end
                )
            except FAILURES as exc:
                retries = after_failure(exc, self, retries, method, url, body, body_pos, end)
                continue
            raw = RawResponse(self, response, method, url, retries, decode_content, enforce)
            settings = self._transports.settings
            raw.max_decoded = settings.max_decoded
            raw.raise_on_truncated = settings.raise_on_truncated
            if redirect and raw.get_redirect_location():
                raw = self._follow(
                    raw, method, url, body, headers, retries, assert_same_host,
                    timeout=timeout, pool_timeout=pool_timeout, chunked=chunked,
                    body_pos=body_pos, decode_content=decode_content, **response_kw,
                )  # fmt: skip
            # A plain policy without counts, such as requests' default, has nothing to say here.
            elif type(retries) is not Retry or retries.total or retries.status_forcelist:
                again = after_status(raw, self, retries, method, url, body, body_pos, end)
                if again is not None:
                    retries = again
                    continue
            if preload_content:
                raw.preload()
            return raw

    def _urlopen_replaced(
        self,
        method: str,
        url: str,
        retries: Retry | bool | int | None,
        redirect: bool,
        body_pos: Any,
        assert_same_host: bool,
        pool_timeout: float | None,
        **seen: Any,
    ) -> RawResponse:
        """Send by what somebody put in the place of urllib3's ``urlopen``. It sees no retries and
        no redirects: these are kept for our own loop, to which it is expected to come back."""
        shared = {
            "body_pos": body_pos,
            "assert_same_host": assert_same_host,
            "pool_timeout": pool_timeout,
        }
        ours = {"retries": retries, "redirect": redirect, **shared}
        response: RawResponse = _replaced.through(
            super().urlopen, method, url, ours, **shared, **seen
        )
        return response

    # urllib3's own urlopen comes back by these, see `_replaced`.

    def _get_conn(self, timeout: float | None = None) -> _replaced.NoConnection:  # type: ignore[override]
        return _replaced.NoConnection()

    def _put_conn(self, conn: object) -> None:
        """Do nothing: our connections are not here."""

    def _make_request(  # type: ignore[override]
        self, conn: object, method: str, url: str, retries: object = None, **how: Any
    ) -> RawResponse:
        how.pop("response_conn", None)
        return self.urlopen(method, url, _inner=True, **_replaced.ours_of(retries), **how)

    def _send(
        self,
        method: str,
        target: bytes,
        body: object,
        headers: Mapping[str, str],
        timeout: Timeout,
        pool_timeout: float | None,
        chunked: bool,
        end: float | None,
    ) -> httpcore.Response:
        self.num_requests += 1
        transports = self._transports
        settings = transports.settings
        if pool_timeout is None:
            pool_timeout = settings.pool_timeout
        extensions: dict[str, object] = {"timeout": to_timeouts(timeout, pool_timeout, end)}
        if type(timeout) is OurTimeout and timeout.cancel is not None:
            extensions["cancel"] = timeout.cancel
        scheme, host, port = self._origin
        if self._direct:
            if self.scheme == "https":
                self._add_tls(extensions)
            named = self._host_header if target[:1] == b"/" else host_of(target, self._host_header)
            lines = encode_headers(headers, named, method, body, chunked, _NOT_FOR_ORIGINS)
        else:
            (scheme, host, port), target, host_header, withheld = self._detour(target, extensions)
            lines = encode_headers(headers, host_header, method, body, chunked, withheld)
        if isinstance(method, str) and not method.isascii():
            raise no_method(method)
        request = httpcore.Request(
            method,
            httpcore.URL(scheme=scheme, host=host, port=port, target=target),
            headers=lines,
            content=encode_body(body),
            extensions=extensions,
        )
        request.log = True
        pool = transports.open.get(self._pool_options) or transports.pool(self._pool_options)
        response = pool.handle_request(request)
        if transports.open.get(self._pool_options) is not pool:
            pool.retire()  # the session was closed meanwhile, by a signal handler or a thread
        known: Any = response.extensions
        if response.status < FIRST_FINAL and not any(n.lower() == b"upgrade" for n, _ in lines):
            known["unasked"] = True
        if not known.get("reused"):
            self.num_connections += 1
        return response

    def _detour(
        self, target: bytes, extensions: dict[str, object]
    ) -> tuple[tuple[bytes, bytes, int], bytes, bytes, frozenset[str]]:
        """Return origin, target, Host, and the names of header lines to leave out, for a request
        that does not go straight to a host."""
        absolute = not target.startswith(b"/")
        here = self._origin, target, self._host_header
        if absolute and (self._uds is not None or self.proxy is None):  # no proxy forwards it
            here = self._origin, target, host_of(target, self._host_header)
        if self._uds is not None:
            extensions["uds"] = self._uds
            return *here, _NOT_FOR_ORIGINS
        tls = self.scheme == "https" and not (absolute and self._guards)
        if tls:
            self._add_tls(extensions)
        through = self._verified_proxy(tls) if self._guards else self._through
        if tls or self.proxy is None:  # the latter through SOCKS
            extensions["proxy"] = through
            return *here, _NOT_FOR_ORIGINS
        if not absolute:  # it is for the proxy itself, as in urllib3
            return *here, frozenset()
        extensions["proxy"] = through
        origin, target = split_absolute(target)
        host = host_header(*origin)
        return origin, target, host, self._of_proxy

    def _verified_proxy(self, tunnels: bool) -> httpcore.Proxy:
        """Return the https proxy, with the TLS context that this pool's settings mean for it."""
        settings, own = self._settings_for_proxy(tunnels)
        tls = self._proxy_plan
        if tls is None or tls.settings != settings:
            tls = self._proxy_plan = plan(settings, own)
        context = context_for(tls)
        proxy: Any = self._through
        if proxy.ssl_context is not context:
            given, proxy = proxy, httpcore.Proxy(proxy.url, on_challenge=proxy.on_challenge)
            proxy.headers, proxy.ssl_context = given.headers, context
            self._through = proxy
        if tls.unverified and not (tunnels and self._tls_plan and self._tls_plan.unverified):
            _warn_unverified(
                f"The https proxy '{self.proxy.host}' is not verified: anyone on the way to it "  # type: ignore[union-attr]
                "can read and change what is forwarded, and its credentials",
            )
        return proxy  # type: ignore[no-any-return]

    def _settings_for_proxy(self, tunnels: bool) -> tuple[TLSSettings, ssl.SSLContext | None]:
        """Return those of the settings that are for an https proxy, and the context that goes
        before them.

        As in urllib3 they are those of the origin, except for its client certificate and the
        names to find; a context of its own, ``proxy_ssl_context``, stands in place of all.
        """
        config = self.proxy_config
        own = None if config is None else config.ssl_context
        settings = TLSSettings()
        if own is None:
            own = self._transports.settings.ssl_context
            settings = TLSSettings(
                ssl_context=None if tunnels else self.ssl_context,
                cert_reqs=self.cert_reqs,
                ca_certs=self.ca_certs,
                ca_cert_dir=self.ca_cert_dir,
                ca_cert_data=self.ca_cert_data,
                ssl_version=self.ssl_version,
                ssl_minimum_version=self.ssl_minimum_version,
                ssl_maximum_version=self.ssl_maximum_version,
            )
        if config is not None:
            settings = settings._replace(
                assert_hostname=config.assert_hostname, assert_fingerprint=config.assert_fingerprint
            )
        return settings, own

    def _add_tls(self, extensions: dict[str, object]) -> None:
        settings = (
            self.ssl_context, self.cert_reqs, self.ca_certs, self.ca_cert_dir, self.ca_cert_data,
            self.cert_file, self.key_file, self.key_password, self.ssl_version,
            self.ssl_minimum_version, self.ssl_maximum_version, self.assert_hostname,
            self.assert_fingerprint, self.server_hostname,
        )  # fmt: skip
        tls = self._tls_plan
        if (
            tls is None
            or tls.settings != settings
            # False switches the check of the name off, 0 does not.
            or tls.settings.assert_hostname is not self.assert_hostname
        ):
            told = self._transports.settings
            network = told.network_backend or httpcore.SyncBackend
            http2 = told.http2 and getattr(network, "speaks_http2", True)
            tls = self._tls_plan = plan(TLSSettings(*settings), told.ssl_context, http2)
        # Kept here, or the sessions that can be resumed would go with the last connection.
        extensions["ssl_context"] = self._tls_context = context_for(tls)
        if tls.server_name is not None:
            extensions["sni_hostname"] = tls.server_name
        if tls.unverified:
            _warn_unverified(
                f"Unverified HTTPS request is being made to host '{self.host}'. Adding "
                "certificate verification is strongly advised. See: "
                "https://urllib3.readthedocs.io/en/latest/advanced-usage.html#tls-warnings",
            )

    def _follow(
        self,
        raw: RawResponse,
        method: str,
        url: str,
        body: object,
        headers: Mapping[str, str],
        retries: Retry,
        assert_same_host: bool,
        **more: Any,
    ) -> RawResponse:
        """Return the response at the end of a redirect; requests follows redirects itself."""
        location = urljoin(url, raw.folded["location"][1])
        if raw.status == 303:
            # RFC 9110 section 15.4.4: the other resource is fetched, without this body.
            method, body = "GET", None
            more.update(chunked=False, body_pos=None)
            headers = without_body(headers)
        if retries.remove_headers_on_redirect and not self.is_same_host(location):
            headers = without(headers, retries.remove_headers_on_redirect)
        again = after_redirect(raw, self, retries, method, url, location, body, more["body_pos"])
        if again is None:
            return raw
        return self.urlopen(
            method, location, body, headers, again, True, assert_same_host,
            preload_content=False, **more,
        )  # fmt: skip


def _warn_unverified(text: str) -> None:
    """Warn as if urllib3's pool did, which is where programs that filter by module expect it."""
    warnings.warn_explicit(
        text,
        InsecureRequestWarning,
        connectionpool.__file__,
        _WARNS_AT,
        connectionpool.__name__,
        connectionpool.__dict__.setdefault("__warningregistry__", {}),
    )


def check_host(host: str) -> None:
    """Refuse, with `LocationParseError`, a name that DNS cannot have."""
    # DNS would say so too, but as a UnicodeError from deep below (psf/requests#3687).
    if not host.isascii():
        raise _no_host(host, "cannot be encoded")
    if ":" not in host and not labels_fit(host.encode("ascii")):
        raise _no_host(host, "label empty or too long")


def _no_host(host: str, why: str) -> LocationParseError:
    return make_error(
        LocationParseError, f"Failed to parse: {host!r}, {why}", NOT_SENT, location=host
    )
