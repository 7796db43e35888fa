"""URLs and origins: what of them is valid, and how they are encoded.

Owns: `URL`, `Origin`, IDNA, and the text of hosts and ports. Must not know: requests, connections.

Sources: RFC 3986 (URIs), RFC 5890 (IDNA), RFC 9110 section 4 (http and https URIs).
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from ._exceptions import (
    LocalProtocolError,
    UnsupportedProtocol,
)
from ._redact import redact_target, redact_url
from .rules import CACHED_HOSTS, DEFAULT_PORTS, host_and_port, labels_fit

MAX_PORT = 65535  # 16 bits, RFC 9293 section 3.1


MAX_PORT_DIGITS = 9  # more is no mistake in a port's number, and int() refuses thousands


_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    # User information never leaves the client this way. A backslash in it ends the host for urllib3
    # and browsers, so a program that checks the host with those would check another one.
    r"(?:[^/?#@\\]*@)?"
    r"(?P<host>\[[^\]/?#]*\]|[^:/?#\[\]]*)"
    r"(?::(?P<port>[0-9]*))?"
    r"(?P<target>[/?][^#]*)?"
    r"(?:\#.*)?",
    re.DOTALL,
)


# Something stands where a scheme should, whether or not it can be one.
_ANY_SCHEME = re.compile(r"[^/?#]+://")


# Up to the last @ before the path: a password may be typed with an @ in it.
_USER_INFO = re.compile(r"(?P<before>[^:/?#]+://)(?P<info>[^/?#]*)@")


# reg-name of RFC 3986 section 3.2.2, or an IP literal's inside. Deliberately wider than DNS:
# names with `_` or `---` are served in the wild and DNS is the judge of them.
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:-]+")


def to_bytes(value: bytes | str, name: str) -> bytes:
    """Return `value` as ASCII bytes; TypeError names `name` when it cannot be."""
    if type(value) is bytes:
        return value
    if isinstance(value, str):
        # Asked before: a UnicodeEncodeError holds the value, and ours would be chained to it.
        if not value.isascii():
            raise TypeError(f"{name} strings may not include unicode characters.")
        return value.encode("ascii")
    if isinstance(value, bytes):
        return bytes(value)
    raise TypeError(f"{name} must be bytes or str, but got {type(value).__name__}.")


def encode_host(host: str) -> bytes:
    """Return a URL's host as it goes to DNS, SNI and the Host header.

    ASCII hosts are passed as given, in lower case (but for an IPv6 zone); others go through
    IDNA 2008 (with the UTS 46 mapping that browsers apply, which keeps e.g. capital letters
    working).

    Raises:
        LocalProtocolError: the host or one of its labels is empty, a label is too long, it has
            characters no host may have, or IDNA refuses it.
    """
    if host.isascii():
        encoded = host.encode("ascii")
    else:
        import idna  # its tables take a while to load

        try:
            encoded = idna.encode(host, uts46=True)
        except idna.IDNAError as exc:
            if "@" not in host:
                raise LocalProtocolError(f"URL host {host!r} cannot be encoded: {exc}") from exc
    if "@" in host:  # a password that has one, and everything behind it was read as the host
        raise LocalProtocolError(
            "URL host has characters that no host may have: an @ in a password is written %40, "
            "a backslash before the host %5C"
        )
    check_host(encoded)
    if b":" not in encoded:
        return encoded.lower()
    address, mark, zone = encoded.partition(b"%")
    return address.lower() + mark + zone  # zones are names of interfaces: Eth0 is not eth0


def split_user_info(url: str) -> tuple[str, str | None]:
    """Return `url` without its user information, and that as it stands there; None where there is
    none."""
    match = _USER_INFO.match(url)
    if match is None:
        return url, None
    return match["before"] + url[match.end() :], match["info"]


def read_credentials(info: str) -> tuple[bytes, bytes]:
    """Return user and password of a URL's user information, percent-decoded."""
    user, _, password = info.partition(":")
    return unquote_to_bytes(user), unquote_to_bytes(password)


def check_host(host: bytes) -> None:
    """Raise LocalProtocolError unless `host` has only characters that a host may have, and its
    labels fit into DNS. A NUL, say, would end the name for DNS but not for the certificate's
    check."""
    if _HOST.fullmatch(host) is None:
        reason = "has characters that no host may have" if host else "is missing"
    elif b":" not in host and not labels_fit(host):
        reason = "has a part of no or too many characters"
    else:
        return
    shown = host.decode("ascii", "backslashreplace")
    raise LocalProtocolError(f"URL host {shown!r} {reason}")


def shown_path(path: str) -> str:
    """Return the path of a Unix socket for people: an abstract one as ``@name``, as ss(8) has
    it."""
    return path.replace("\0", "@")


def to_server_name(value: object) -> str:
    """Return the ``sni_hostname`` of a request's extensions, checked before anything is opened."""
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"sni_hostname must be str or bytes, not {type(value).__name__}")
    try:
        name = encode_host(value if isinstance(value, str) else value.decode("ascii"))
    except (LocalProtocolError, UnicodeDecodeError) as exc:
        raise LocalProtocolError(f"sni_hostname {value!r} is no host name: {exc}") from exc
    return name.decode("ascii")


@lru_cache(maxsize=CACHED_HOSTS)
def _encode_authority(scheme: str, host: str, port: str | None) -> tuple[bytes, bytes, int | None]:
    """Return the parts of a URL before its path, checked. Without user information, so that no
    password stays in the cache."""
    encoded = scheme.lower().encode("ascii")
    if host[:1] == "[":
        host = host[1:-1]
    if not host and encoded not in DEFAULT_PORTS:
        raise UnsupportedProtocol(describe_scheme(encoded))
    name = encode_host(host)
    if not port:
        return encoded, name, None
    digits = port.lstrip("0") or "0"
    if len(digits) > MAX_PORT_DIGITS:
        raise LocalProtocolError(f"URL port {digits[:8]}... is no port: above {MAX_PORT}")
    return encoded, name, int(digits)


def _encode_target(target: str) -> bytes:
    if not target.isascii():
        # RFC 3987 section 3.1: only what is outside ASCII is escaped, the rest stays as given.
        target = "".join(
            char if char.isascii() else "".join(f"%{byte:02X}" for byte in char.encode())
            for char in target
        )
    return (target if target[0] == "/" else "/" + target).encode("ascii")


class Origin:
    """Scheme, host and port: what a connection leads to. Hashable and immutable by custom."""

    __slots__ = ("host", "port", "scheme")

    def __init__(self, scheme: bytes, host: bytes, port: int) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Origin)
            and self.host == other.host
            and self.port == other.port
            and self.scheme == other.scheme
        )

    def __hash__(self) -> int:
        return hash((self.scheme, self.host, self.port))

    def __str__(self) -> str:
        host = self.host.decode("ascii", "backslashreplace")
        scheme = self.scheme.decode("ascii", "backslashreplace")
        return f"{scheme}://{host_and_port(host, self.port)}"

    def __repr__(self) -> str:
        return f"<Origin {self}>"


class URL:
    """A URL in the parts that HTTP needs: scheme, host, port, and the request target.

    Parameters:
        url: the whole URL as bytes or ASCII str; path and query reach the server byte for
            byte. User information and fragment are dropped. (`Request` and the pool's methods
            take text outside ASCII too, and encode it.)
        scheme, host, target: alternatively the parts, as bytes or ASCII str, taken as given.
        port: None for the scheme's default. One above 65535 fails when it is connected to, with
            ConnectError.

    Raises:
        LocalProtocolError: not a URL, or a host that cannot be.
        UnsupportedProtocol: no scheme.
        TypeError: neither str nor bytes, or a str with characters outside ASCII.
    """

    __slots__ = ("host", "port", "scheme", "target")

    def __init__(
        self,
        url: bytes | str = "",
        *,
        scheme: bytes | str = b"",
        host: bytes | str = b"",
        port: int | None = None,
        target: bytes | str = b"",
    ) -> None:
        if url:
            if isinstance(url, str) and not url.isascii():
                raise TypeError("url strings may not include unicode characters.")
            self._parse(url)
        else:
            self.scheme = scheme if type(scheme) is bytes else to_bytes(scheme, "scheme")
            self.host = host if type(host) is bytes else to_bytes(host, "host")
            self.port = (
                port if port is None or (type(port) is int and port >= 0) else _to_port(port)
            )
            self.target = target if type(target) is bytes else to_bytes(target, "target")

    def _parse(self, url: bytes | str) -> None:
        if type(url) is not str:
            # latin-1 never fails; what is not ASCII is then refused by the host's or
            # escaped by the target's rule.
            url = to_text(url)
        match = _URL.fullmatch(url)
        if match is None:
            if _ANY_SCHEME.match(url) is None:
                raise UnsupportedProtocol(describe_scheme(b""))
            raise LocalProtocolError(f"URL {redact_url(url)!r} is malformed")
        scheme, host, port, target = match.groups()
        self.scheme, self.host, self.port = _encode_authority(scheme, host, port)
        self.target = b"/" if target is None else _encode_target(target)

    @property
    def origin(self) -> Origin:
        """Return scheme, host and port, the scheme's default port filled in.

        Raises UnsupportedProtocol when the port is missing and the scheme has no default.
        """
        port = self.port
        if port is None:
            port = DEFAULT_PORTS.get(self.scheme)
            if port is None:
                raise UnsupportedProtocol(describe_scheme(self.scheme))
        return Origin(self.scheme, self.host, port)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, URL)
            and other.scheme == self.scheme
            and other.host == self.host
            and other.port == self.port
            and other.target == self.target
        )

    def __hash__(self) -> int:
        return hash((self.scheme, self.host, self.port, self.target))

    def __bytes__(self) -> bytes:
        host = b"[%b]" % self.host if b":" in self.host else self.host
        if self.port is None:
            return b"%b://%b%b" % (self.scheme, host, self.target)
        return b"%b://%b:%d%b" % (self.scheme, host, self.port, self.target)

    def __str__(self) -> str:
        return bytes(self).decode("ascii", "backslashreplace")

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(scheme={self.scheme!r}, "
            f"host={self.host!r}, port={self.port!r}, target={redact_target(self.target)!r})"
        )


def _to_port(port: object) -> int:
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port must be a number or None, not {type(port).__name__}")
    if port < 0:
        raise LocalProtocolError(f"URL port {port} is negative")
    return port


def check_port(port: int) -> int:
    """Return `port`; raise LocalProtocolError where it is above 65535."""
    if port > MAX_PORT:
        raise LocalProtocolError(f"port {port} is above {MAX_PORT}")
    return port


def to_text(url: object) -> str:
    if not isinstance(url, (bytes, bytearray)):
        raise TypeError(f"url must be bytes or str, but got {type(url).__name__}.")
    try:
        return url.decode("ascii")
    except UnicodeDecodeError:
        pass  # its arguments hold the whole URL
    raise LocalProtocolError("url bytes must be ASCII; pass a str to have it encoded")


def describe_scheme(scheme: bytes) -> str:
    """Return the text of an `UnsupportedProtocol`, in httpcore 1.0's words: HTTPX shows it."""
    if not scheme:
        return "Request URL is missing an 'http://' or 'https://' protocol."
    text = scheme.decode("ascii", "backslashreplace")
    return f"Request URL has an unsupported protocol '{text}://'."


def to_url(url: URL | bytes | str) -> URL:
    if type(url) is not str and isinstance(url, URL):
        return url
    if not isinstance(url, (str, bytes, bytearray)):
        raise TypeError(f"url must be a URL, bytes, or str, but got {type(url).__name__}.")
    if not url:
        raise UnsupportedProtocol(describe_scheme(b""))
    made = URL.__new__(URL)
    made._parse(url)
    return made
