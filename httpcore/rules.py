"""Small rules of HTTP that more than one layer keeps, and that libraries on top of this one need.

Owns: default ports, how host and port are written, the statuses without a body, and the limits of
names and credentials. Each is stated here and nowhere else. Must not know: anything else; this
module imports nothing of the package, so that importing it costs next to nothing.

Sources: RFC 9110 sections 4.2, 6.4.1 and 7.2, RFC 9112 section 6.3, RFC 1035 section 2.3.4,
RFC 1929 section 2, RFC 6874 section 4, RFC 7301.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = [
    "BODYLESS",
    "DEFAULT_PORTS",
    "HTTP11_ONLY",
    "HTTP2_FIRST",
    "MAX_LABEL",
    "MAX_SOCKS_FIELD",
    "UNTRUSTED",
    "fits_socks_field",
    "host_and_port",
    "host_header",
    "labels_fit",
]

DEFAULT_PORTS = {
    b"http": 80,
    b"https": 443,
    b"ws": 80,
    b"wss": 443,
    b"socks5": 1080,
    b"socks5h": 1080,
    b"socks4": 1080,
    b"socks4a": 1080,
}

BODYLESS = frozenset([204, 304])
"""Statuses of responses that end with their head, whatever their fields say. Interim ones and those
to HEAD do so as well."""

HTTP11_ONLY = ("http/1.1",)
"""The protocols that a client offers by ALPN where it was not asked for HTTP/2."""

HTTP2_FIRST = ("h2", "http/1.1")
"""Those that it offers where it was; best first."""

UNTRUSTED = frozenset([2, 18, 19, 20, 21])
"""OpenSSL's X509_V_ERR numbers for "nobody whom I trust has signed this": where more roots would
have helped. X509_verify_cert_error_string(3) lists them."""

CACHED_HOSTS = 256
"""Hosts whose text is kept: more than a program talks to at a time, and some 100 bytes each."""

MAX_LABEL = 63
"""Bytes between two dots of a host name."""

MAX_SOCKS_FIELD = 255
"""Bytes of a user name, a password or a host name for SOCKS 5: their length is sent in one."""


def labels_fit(host: bytes) -> bool:
    """Return whether DNS can have the name `host`: no label is empty or too long."""
    return all(0 < len(label) <= MAX_LABEL for label in host.removesuffix(b".").split(b"."))


def fits_socks_field(value: bytes) -> bool:
    """Return whether SOCKS 5 can send `value` as a user name or a password."""
    return 0 < len(value) <= MAX_SOCKS_FIELD


def host_and_port(host: str, port: int) -> str:
    """Return the text of an address: ``example.com:80``, ``[::1]:80``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@lru_cache(maxsize=CACHED_HOSTS)
def host_header(scheme: bytes, host: bytes, port: int | None) -> bytes:
    """Return the value of the field Host: the port only when it is not the scheme's own."""
    if port is None or port == DEFAULT_PORTS.get(scheme):
        return _in_brackets(host)
    return connect_target(host, port)


def connect_target(host: bytes, port: int) -> bytes:
    """Return the target of a CONNECT request, which always has a port."""
    return b"%b:%d" % (_in_brackets(host), port)


def _in_brackets(host: bytes) -> bytes:
    """Return `host` as the other side is to read it: IPv6 in brackets, without the zone, which is
    local (RFC 6874 section 4)."""
    return b"[%b]" % host.partition(b"%")[0] if b":" in host else host
