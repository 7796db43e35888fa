"""URLs: our parser against those of urllib3, yarl and httpx.

Owns: what they may differ in, and why. Must not know: requests.

An input is a URL.

What has to hold
----------------
- Nothing is raised but LocalProtocolError, UnsupportedProtocol and TypeError.
- A host has no character that could end it for DNS, TLS or a Host header, and the target none that
  could end the request line.
- A parser that takes the URL as well finds the same host and port, and the same path and query
  where it does not change their spelling. A program that checks a URL with one of them must not be
  led elsewhere by another.

What may differ, and why
------------------------
- Each of them refuses much that is taken here, and the other way round. No refusal is a fault.
- They spell the path in their own ways (escapes, dots), so paths are compared only where there is
  nothing to spell.
- yarl and httpx decode escapes in a host, or take its zone for a part of it; hosts with a % are
  compared with none.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import httpx
import urllib3.exceptions
import yarl
from urllib3.util import parse_url

from httpcore import URL, LocalProtocolError, UnsupportedProtocol
from httpcore.rules import DEFAULT_PORTS

TOKENS = (
    b"http://", b"https://", b"HTTP://", b"ws://", b"//", b"@", b":", b"/", b"\\", b"?", b"#", b"[",
    b"]", b"::1", b"%25", b"%2f", b"%40", b"%00", b"example.com", b"a.test", b"127.0.0.1", b"0x7f",
    b":80", b":0080", b":99999", b"..", b"/../", b"\t", b"\r\n", b" ", b"\0", b";", b"\xc3\xa4",
    b"\xe3\x80\x82", b"user:pass@", b"&", b"=", b"xn--", b".", b"-", b"_",
)  # fmt: skip

_is_host = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:-]+").fullmatch
_is_plain_path = re.compile(rb"/(?:[A-Za-z0-9_]+/)*[A-Za-z0-9_]*(?:\?[A-Za-z0-9_=]+)?").fullmatch


def one(data: bytes) -> None:
    """Try one input; see the top of the module."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    try:
        url = URL(text) if text.isascii() else URL(text.encode("utf-8"))
    except (LocalProtocolError, UnsupportedProtocol, TypeError):
        return
    if not text:
        return
    assert _is_host(url.host) is not None, url.host
    assert url.target[:1] == b"/" and url.target.isascii(), url.target
    assert url.port is None or url.port >= 0
    for name, parse in (("urllib3", by_urllib3), ("yarl", by_yarl), ("httpx", by_httpx)):
        theirs = parse(text)
        if theirs is None or b"%" in url.host:
            continue
        host, port, target = theirs
        assert same(host) == same(url.host.decode("ascii")), (name, host, url.host)
        if port is None:  # some leave the port of the scheme out
            port = DEFAULT_PORTS.get(url.scheme)
        assert port == default(url), (name, port, url.port)
        if _is_plain_path(url.target) is not None:
            assert target == url.target, (name, target, url.target)


def same(host: str) -> str:
    """Return a host in one spelling: yarl shortens addresses."""
    try:
        return str(ipaddress.ip_address(host)) if ":" in host else host
    except ValueError:
        return host


def default(url: URL) -> int | None:
    """Return the port of a URL, or that of its scheme."""
    if url.port is not None:
        return url.port
    return DEFAULT_PORTS.get(url.scheme)


def by_urllib3(text: str) -> tuple[str, int | None, bytes] | None:
    """Return host, port and target as urllib3 reads them; None if it refuses."""
    try:
        url = parse_url(text)
    except (urllib3.exceptions.LocationParseError, ValueError):
        return None
    if not url.host or not url.scheme:
        return None
    return url.host.strip("[]").lower(), url.port, url.request_uri.encode()


def by_yarl(text: str) -> tuple[str, int | None, bytes] | None:
    """Return host, port and target as yarl reads them; None if it refuses."""
    try:
        url = yarl.URL(text)
        host, port = url.raw_host, url.explicit_port
    except (ValueError, TypeError):
        return None
    if not host or not url.scheme:
        return None
    return host.lower(), port, url.raw_path_qs.encode()


def by_httpx(text: str) -> tuple[str, int | None, bytes] | None:
    """Return host, port and target as httpx reads them; None if it refuses."""
    try:
        url: Any = httpx.URL(text)
    except (httpx.InvalidURL, ValueError, TypeError):
        return None
    if not url.raw_host or not url.scheme:  # its `host` is decoded, which may fail
        return None
    return url.raw_host.decode().lower(), url.port, url.raw_path
