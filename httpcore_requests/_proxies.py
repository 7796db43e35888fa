"""The proxy that a request goes through, and what of the request the proxy may see.

Owns: the reading of proxy URLs, where `no_proxy` stands, and whose `Proxy-Authorization` is whose.
Must not know: pools, connections, what is sent to a proxy (httpcore knows that).

A proxy URL may hold a password. No text made here shows more of one than scheme, host and port,
and nothing at all of one that cannot be parsed, for then it is not known where its password is.

Sources: RFC 9110 section 11.7.2 (Proxy-Authorization is for the next proxy only),
psf/requests#5000, #4871.
"""

from __future__ import annotations

import functools
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests.utils
from requests.auth import _basic_auth_str
from requests.exceptions import InvalidProxyURL
from urllib3.exceptions import LocationValueError
from urllib3.util import Url, parse_url

import httpcore
from httpcore import rules

FORWARDED = "http"  # the scheme of origins whose requests a proxy sends on
HTTP = frozenset(["http", "https"])
SOCKS = frozenset(["socks4", "socks4a", "socks5", "socks5h"])

_requests: Any = requests.utils  # its stubs leave types out

# Those of the schemes of origins, as urllib3 writes them.
DEFAULT_PORTS = {scheme: rules.DEFAULT_PORTS[scheme.encode()] for scheme in ("http", "https")}

# Addresses and lists of rules whose reading is kept: more than a program uses at a time.
_MAX_READ = 1024

# URLs of servers whose proxy is remembered, with the proxies that there were to choose from.
_MAX_SELECTED = 256

AUTHORIZATION = "Proxy-Authorization"

_WITHOUT_HOST = re.compile(r"[A-Za-z][A-Za-z0-9]*:///?").fullmatch


# -- proxy URLs


def normalized(proxy: object) -> str:
    """Return `proxy` with a scheme, as requests hands it to `proxy_manager_for`.

    Raises InvalidProxyURL for what has no host or is no URL.
    """
    try:
        text: str = _requests.prepend_scheme_if_needed(proxy, FORWARDED)
        usable = bool(parse_url(text).host)
    except (AttributeError, TypeError, LocationValueError):
        usable = False
    # Raised out here: chained to urllib3's error it would bring the whole URL along.
    if not usable:
        raise _malformed()
    return text


def _malformed() -> InvalidProxyURL:
    return InvalidProxyURL(
        "the URL of a proxy is malformed, or its host is missing or cannot be one; it should be "
        "like http://user:password@proxy.example:3128 (it is not shown, for it may hold a password)"
    )


def parsed(proxy: object) -> Url:
    """Return `proxy` as `proxy_manager_for` takes it. Its host may be missing, as in urllib3: a
    manager is often made to see what it is given. Requests through it are refused.

    Raises InvalidProxyURL for what is no URL, and for a host that cannot be one.
    """
    if isinstance(proxy, str) and _WITHOUT_HOST(proxy) is not None:
        return Url(proxy.partition(":")[0].lower())
    url = parse_url(normalized(proxy))
    try:
        # urllib3 encodes what is not ASCII for http alone, and takes most of what is.
        host = parse_url(f"http://{url.host}").host
        httpcore.URL(f"http://{host}/")
    except (LocationValueError, httpcore.LocalProtocolError):
        host = None
    if host is None:
        raise _malformed()
    return url._replace(host=host)


def refuse_unsupported(url: Url) -> None:
    """Refuse a proxy of a scheme that is not supported, with InvalidProxyURL."""
    if url.scheme in HTTP or url.scheme in SOCKS:
        return
    raise InvalidProxyURL(
        f"cannot use the proxy {shown(url)}: its scheme must be "
        f"http, https, socks5, socks5h, socks4 or socks4a, not {url.scheme!r}"
    )


def headers_for(url: Url, make: Callable[[], Any]) -> Any:
    """Return the headers for the proxy at `url` that `make` makes of its credentials.

    Raises InvalidProxyURL where requests cannot encode them.
    """
    try:
        return make()
    except UnicodeEncodeError:
        pass  # it shows what it could not encode, so it is not even chained
    raise InvalidProxyURL(
        f"user or password for the proxy {shown(url)} have characters outside latin-1, which "
        "requests cannot send; override proxy_headers() to encode them"
    )


def shown(url: Url) -> str:
    """Return `url` without user, password and path."""
    return Url(url.scheme, None, url.host, url.port).url


class Challenged(NamedTuple):
    """A function that answers the 407s of one proxy. Two with the same hook and proxy are equal,
    since connections are looked up by it."""

    hook: Callable[[httpcore.ProxyError, str], Any]
    proxy: str

    def __call__(self, error: httpcore.ProxyError) -> Any:
        return self.hook(error, self.proxy)


def to_core(url: Url, headers: Mapping[str, str], hook: Any = None) -> httpcore.Proxy:
    """Return the HTTP proxy at `url`, without TLS settings.

    Parameters:
        headers: for it alone, credentials among them.
        hook: answers its 407s, see `HTTPAdapter`; None to give up at once.
    """
    lines = [(_to_bytes(name), _to_bytes(value)) for name, value in headers.items()]
    answers: Any = None if hook is None else Challenged(hook, shown(url))
    return httpcore.Proxy(_address_of(url), headers=lines, on_challenge=answers)


def socks_to_core(url: Url, user: str, password: str) -> httpcore.Proxy:
    """Return the SOCKS proxy at `url`; an empty `user` means that there is none.

    The scheme says where the origin's name is resolved: by the proxy for socks5h and socks4a.

    Raises InvalidProxyURL for credentials that SOCKS 5 cannot carry.
    """
    auth = (user.encode(), password.encode()) if user else None
    socks5 = str(url.scheme).startswith("socks5")
    if auth and socks5 and not all(map(rules.fits_socks_field, auth)):
        raise InvalidProxyURL(
            f"user and password for the proxy {shown(url)} must have 1 to "
            f"{rules.MAX_SOCKS_FIELD} bytes each"
        )
    return httpcore.Proxy(_address_of(url), auth=auth)


def _address_of(url: Url) -> httpcore.URL:
    return httpcore.URL(
        scheme=(url.scheme or FORWARDED).encode("ascii"),
        host=_bare(url.host or "").encode("ascii"),
        port=url.port,
        target=b"/",
    )


def _to_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("latin-1")


def _bare(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


_ABSOLUTE = re.compile(rb"(?i:([a-z][a-z0-9+.\-]*)://)([^/?#]*)(.*)", re.DOTALL).fullmatch


def split_absolute(target: bytes) -> tuple[tuple[bytes, bytes, int], bytes]:
    """Return ((scheme, host, port), target) of an absolute-form `target`.

    Raises urllib3's LocationValueError unless it is an http URL: nothing else is forwarded.
    """
    match = _ABSOLUTE(target)
    if match is None or match.group(1).lower() != b"http":
        raise LocationValueError("only an http:// URL can be forwarded by a proxy")
    return _origin(match.group(2)), match.group(3) or b"/"


@functools.lru_cache(_MAX_READ)
def _origin(authority: bytes) -> tuple[bytes, bytes, int]:
    url = parse_url("http://" + authority.decode("ascii"))
    if not url.host:
        raise LocationValueError("No host specified.")
    return b"http", _bare(url.host).encode("ascii"), url.port or DEFAULT_PORTS["http"]


# -- whose credentials


def withhold(
    headers: MutableMapping[str, Any], proxy: str | None, proxies: Mapping[str, str]
) -> None:
    """Take a Proxy-Authorization out of `headers` that is not for the next hop.

    requests puts one there after a redirect, for ``proxies[scheme]``, whichever proxy the request
    then takes: another one, by a key like ``http://host``, or none, where ``no_proxy`` says so.
    What a caller put there himself is for the proxy too, and no origin is one.

    Parameters:
        headers: the request's, which holds one; changed in place.
        proxy: the URL of the proxy that the request takes; None for none.
        proxies: all that it could have taken.
    """
    if proxy is None or headers[AUTHORIZATION] in _credentials_of_others(proxy, proxies):
        del headers[AUTHORIZATION]


def _credentials_of_others(proxy: str, proxies: Mapping[str, str]) -> list[str]:
    found = []
    for other in proxies.values():
        if isinstance(other, str) and other != proxy:
            try:
                found.append(_basic_auth_str(*_requests.get_auth_from_url(other)))
            except ValueError:
                pass  # no URL, or not latin-1: so requests could not make a header of it either
    return found


# -- which proxy

DICTS = (dict, OrderedDict)  # requests merges a session's proxies into the latter


@functools.lru_cache(_MAX_SELECTED)
def _selected(start: str, proxies: tuple[tuple[str, Any], ...]) -> str | None:
    proxy: str | None = _requests.select_proxy(start, dict(proxies))
    return proxy


def select(start: str, proxies: tuple[tuple[str, Any], ...]) -> str | None:
    """Return what requests' `select_proxy` does, which parses the URL each time.

    Parameters:
        start: a URL up to its path, on which nothing depends.
        proxies: items of the dict.
    """
    try:
        return _selected(start, proxies)
    except TypeError:  # a value that cannot be hashed
        proxy: str | None = _requests.select_proxy(start, dict(proxies))
        return proxy


# An http URL that requests' `urldefragauth` would return as it is: without user info, fragment
# and parameters, and with a query that is not empty.
_PLAIN = re.compile(
    r"http://[A-Za-z0-9._\-]+(?::[0-9]+)?/[A-Za-z0-9._~!$&'()*+,=:@%/\-]*"
    r"(?:\?[A-Za-z0-9._~!$&'()*+,=:@%/\-]+)?"
).fullmatch


def is_forwarded(url: Any, proxy: str) -> bool:
    """Return whether `proxy` is surely asked for `url` as it is."""
    if type(url) is not str or type(proxy) is not str:
        return False
    return proxy.startswith(("http://", "https://")) and _PLAIN(url) is not None


# -- no_proxy


def is_exempt(url: str, proxies: Mapping[str, str]) -> bool:
    """Return whether ``proxies["no_proxy"]``, or else the environment, exempts `url` from
    proxies."""
    rules = proxies.get("no_proxy")
    if rules is None:
        rules = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    parts = urlsplit(url)
    if not rules or parts.hostname is None:
        return False
    try:
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return False  # what is wrong with it is said when it is used
    return httpcore.bypasses_proxy(rules, parts.hostname, port)
