"""Cookies of the fast Session: its match of domain and path against http.cookiejar.

Owns: what is compared. Must not know: sessions, which ask it for such requests only.

An input is lines: scheme, host and path of the request, separated by spaces; then a cookie in each
line: domain, path, name, and letters for its attributes (s secure, e expired, l lives on,
v version 1).

What has to hold
----------------
- The header is the one that requests makes with http.cookiejar, cookie by cookie, and the jar has
  the same cookies afterwards.
- A cookie that is left to http.cookiejar (`Unusual`) is no fault.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from requests.cookies import RequestsCookieJar, create_cookie, get_cookie_header

from httpcore_requests._session_cookies import Unusual, add_all, header_for, new_jar

TOKENS = (
    b"http ", b"https ", b"a.test", b".a.test", b"b.a.test", b"test", b".", b"..", b" / ", b"/a",
    b"/a/", b"/ab", b" s", b" e", b" l", b" v", b"\n", b"127.0.0.1", b".local", b"localhost", b"n",
    b"xa.test", b"-", b"a.tes",
)  # fmt: skip

# What the fast Session asks for: lower case, no port, a path that is quoted.
_is_host = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?").fullmatch
_is_path = re.compile(r"/[A-Za-z0-9/._~-]*").fullmatch
_is_domain = re.compile(r"[A-Za-z0-9.-]*").fullmatch

#: Seconds since 1970: long ago, and not in the life of this program.
PAST, FUTURE = 10, 2**40


def one(data: bytes) -> None:
    """Try one input; see the top of the module."""
    first, *lines = data.decode("latin-1").split("\n")
    scheme, host, path = (*first.split(" "), "", "", "")[:3]
    if scheme not in ("http", "https") or not _is_host(host) or not _is_path(path):
        return
    source = RequestsCookieJar()
    for line in lines:
        domain, prefix, name, marks = (*line.split(" "), "", "", "", "")[:4]
        if _is_domain(domain) and (not prefix or _is_path(prefix)) and name:
            source.set_cookie(cookie(domain, prefix or "/", name, marks))
    fast = new_jar()
    try:
        add_all(fast, source)
    except Unusual:
        return
    ours = header_for(fast, scheme, host, path)
    stock = RequestsCookieJar()
    stock.update(source)
    request: Any = SimpleNamespace(url=f"{scheme}://{host}{path}", headers={})
    theirs = get_cookie_header(stock, request)  # type: ignore[no-untyped-call]
    assert ours == theirs, (ours, theirs)
    assert [vars(each) for each in fast] == [vars(each) for each in stock]


def cookie(domain: str, path: str, name: str, marks: str) -> Any:
    """Return a cookie; its value says where it is from."""
    expires = PAST if "e" in marks else FUTURE if "l" in marks else None
    return create_cookie(  # type: ignore[no-untyped-call]
        name=name,
        value=f"{domain}{path}",
        domain=domain,
        path=path,
        secure="s" in marks,
        expires=expires,
        version=int("v" in marks),
    )
