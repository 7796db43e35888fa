"""Cookies of a request, without asking a policy about each of them.

Owns: the jar that a prepared request carries, and its Cookie header. Must not know: sessions, how
URLs are prepared.

requests copies the session's cookies into a new jar for each request, with the default policy,
whatever the session's own policy is, and lets that jar write the header. Here the same jar is made
and the same header written for cookies whose attributes are of the usual types: for the default
policy and a host in lower case, what http.cookiejar asks of a cookie comes down to five
comparisons. Anything else is left to http.cookiejar (`merge` and `header_for` return None or
raise `Unusual`).

Sources: `http.cookiejar.DefaultCookiePolicy.return_ok` and `domain_return_ok`,
`http.cookiejar.CookieJar._cookie_attrs`, `requests.cookies`.
"""

from __future__ import annotations

import http.cookiejar
import threading
from http.cookiejar import Cookie, DefaultCookiePolicy
from typing import Any

from requests.cookies import RequestsCookieJar

#: Jars whose cookies can be read where they keep them: {domain: {path: {name: Cookie}}}.
PLAIN_JARS: Any = frozenset(
    [
        RequestsCookieJar,
        http.cookiejar.CookieJar,
        http.cookiejar.MozillaCookieJar,
        http.cookiejar.LWPCookieJar,
    ]
)

# A default policy, attribute by attribute: its constructor sets thirteen by keyword.
_POLICY = dict(vars(DefaultCookiePolicy()))

# Up to Python 3.10 a jar gives its cookies in the order of their keys, later as they were added.
_IS_SORTED = hasattr(http.cookiejar, "vals_sorted_by_key")

_cookiejar: Any = http.cookiejar

_TEXT_OR_NONE = (str, type(None))


class Unusual(Exception):
    """A cookie is not as requests and servers make them: http.cookiejar shall decide on it."""


def new_jar() -> RequestsCookieJar:
    """Return ``RequestsCookieJar()``, for a quarter of the time."""
    policy = DefaultCookiePolicy.__new__(DefaultCookiePolicy)
    policy.__dict__.update(_POLICY)
    jar = RequestsCookieJar.__new__(RequestsCookieJar)
    jar._policy = policy  # type: ignore[attr-defined]
    jar._cookies_lock = threading.RLock()  # type: ignore[attr-defined]
    jar._cookies = {}  # type: ignore[attr-defined]
    return jar


def add_all(jar: Any, source: Any) -> None:
    """Copy the cookies of `source` into `jar`, as ``jar.update(source)`` does.

    Parameters:
        jar: one that `new_jar` made.
        source: of a type in `PLAIN_JARS`. Other threads may change it meanwhile.

    Raises Unusual.
    """
    into = jar._cookies
    for by_path in _in_order(source._cookies):
        if type(by_path) is not dict:
            raise Unusual
        for by_name in _in_order(by_path):
            if type(by_name) is not dict:
                raise Unusual
            for cookie in _in_order(by_name):
                copied = _copied(cookie)
                into.setdefault(copied.domain, {}).setdefault(copied.path, {})[copied.name] = copied


def _in_order(level: dict[str, Any]) -> list[Any]:
    """Return the values of one level of a jar, in the order in which the jar gives them."""
    if _IS_SORTED:
        return [level.get(key) for key in sorted(level)]
    return list(level.values())


def _copied(cookie: Any) -> Cookie:
    """Return a copy of `cookie`, its value as `RequestsCookieJar.set_cookie` would have it."""
    if type(cookie) is not Cookie:
        raise Unusual
    copied = Cookie.__new__(Cookie)
    copied.__dict__.update(cookie.__dict__)
    value = copied.value
    if (
        type(copied.domain) is not str
        or type(copied.path) is not str
        or type(copied.name) is not str
        or type(value) not in _TEXT_OR_NONE
        or type(copied.version) is not int
        or copied.version < 0
        or type(copied.expires) not in (int, type(None))
        or copied.port is not None
    ):
        raise Unusual
    if value is not None and value.startswith('"') and value.endswith('"'):
        copied.value = value.replace('\\"', "")
    return copied


def header_for(jar: Any, scheme: str, host: str, path: str) -> str | None:
    """Return the Cookie header for a request, or None; drop expired cookies from `jar`.

    Parameters:
        jar: one that `add_all` filled.
        scheme, host, path: of the request; in lower case, the host without its port, the path
            quoted.
    """
    # A name without dots stands for one of the local domain (RFC 2965 section 1).
    dotted = f".{host}" if "." in host else f".{host}.local"
    now = _cookiejar.time.time()  # tests put a clock of their own there
    sent: list[Cookie] = []
    expired: list[Cookie] = []
    for domain, by_path in jar._cookies.items():
        fits = dotted.endswith(domain if domain[:1] in (".", "") else f".{domain}")
        for cookie_path, by_name in by_path.items():
            matches = fits and _path_matches(path, cookie_path)
            for cookie in by_name.values():
                if cookie.expires is not None and cookie.expires <= now:
                    expired.append(cookie)
                # Those of version 1 (RFC 2965) are switched off in the default policy.
                elif matches and not cookie.version and (not cookie.secure or scheme == "https"):
                    sent.append(cookie)
    for cookie in expired:
        del jar._cookies[cookie.domain][cookie.path][cookie.name]
    if not sent:
        return None
    # The longest path first (RFC 6265 section 5.4), else in the order of the jar.
    sent.sort(key=_path_length, reverse=True)
    return "; ".join([c.name if c.value is None else f"{c.name}={c.value}" for c in sent])


def _path_length(cookie: Cookie) -> int:
    return len(cookie.path)


def _path_matches(path: str, prefix: str) -> bool:
    return path == prefix or (
        path.startswith(prefix) and (prefix.endswith("/") or path[len(prefix)] == "/")
    )
