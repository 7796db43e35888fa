"""The nouns of a request: URL, Origin, Request, Response, Proxy.

Owns: their fields, how strings become bytes, which headers a body needs. Must not know:
connections, pools, I/O. Public names, signatures and reprs are those of httpcore 1.0.9;
``body``, ``status_code`` and calling ``response.stream()`` are the spellings of 2019.

Sources: RFC 3986 (URL), RFC 3987 section 3.1 (non-ASCII URLs), RFC 5891 through ``idna``,
RFC 9110 section 7.2 (Host), RFC 9112 section 6 (how a body is framed).
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import idna

from ._exceptions import (
    DISCONNECTED,
    LocalProtocolError,
    UnsupportedProtocol,
    explain,
    explained,
)
from ._redact import redact_target, redact_url

if TYPE_CHECKING:
    import ssl

HeaderList = list[tuple[bytes, bytes]]
HeadersAsSequence = Sequence[tuple[bytes | str, bytes | str]]
HeadersAsMapping = Mapping[bytes | str, bytes | str]
HeaderTypes = HeadersAsSequence | HeadersAsMapping | None
Extensions = Mapping[str, Any]
Content = bytes | Iterable[bytes] | AsyncIterable[bytes] | None

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

# How many hosts' encoded names are remembered, about 300 bytes each: programs talk to few hosts
# many times.
CACHED_HOSTS = 256
MAX_LABEL = 63  # bytes between two dots, RFC 1035 section 2.3.4
MAX_PORT = 65535  # 16 bits, RFC 9293 section 3.1
MAX_PORT_DIGITS = 9  # more is no mistake in a port's number, and int() refuses thousands

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?:[^/?#@]*@)?"  # user information never leaves the client this way
    r"(?P<host>\[[^\]/?#]*\]|[^:/?#\[\]]*)"
    r"(?::(?P<port>[0-9]*))?"
    r"(?P<target>[/?][^#]*)?"
    r"(?:\#.*)?",
    re.DOTALL,
)
# Something stands where a scheme should, whether or not it can be one.
_ANY_SCHEME = re.compile(r"[^/?#]+://")
_USER_INFO = re.compile(r"[^:/?#]+://([^/?#@]+)@")
# reg-name of RFC 3986 section 3.2.2, or an IP literal's inside. Deliberately wider than DNS:
# names with `_` or `---` are served in the wild and DNS is the judge of them.
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:-]+")


def to_bytes(value: bytes | str, name: str) -> bytes:
    """`value` as ASCII bytes; TypeError names `name` when it cannot be."""
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


def to_headers(headers: HeaderTypes) -> HeaderList:
    """Headers given as a list of pairs or a mapping, as a new list of byte pairs."""
    if headers is None:
        return []
    pairs: Any = headers
    if type(headers) is dict or (type(headers) is not list and isinstance(headers, Mapping)):
        pairs = headers.items()
    try:
        return [
            (name, value)
            if type(name) is bytes and type(value) is bytes
            else (to_bytes(name, "header name"), to_bytes(value, "header value"))
            for name, value in pairs
        ]
    except (TypeError, ValueError) as exc:
        what = "headers must be a mapping or sequence of two-tuples"
        if not hasattr(pairs, "__iter__"):
            raise TypeError(f"{what}, but got {type(headers).__name__}.") from None
        raise _explain_field(pairs) or TypeError(f"{what}: {exc}") from exc


def _explain_field(pairs: Any) -> TypeError | None:
    """What is wrong with the first field of `pairs` that is a pair and cannot be sent."""
    for field in pairs:
        if not isinstance(field, (tuple, list)) or len(field) != 2:
            return None
        for part, what in zip(field, ("header name", "header value"), strict=True):
            try:
                to_bytes(part, what)
            except TypeError as exc:
                where = f" The header is {field[0]!r:.80}." if part is field[1] else ""
                return TypeError(f"{exc}{where}")
    return None


def encode_host(host: str) -> bytes:
    """A URL's host as it goes to DNS, SNI and the Host header.

    ASCII hosts are passed as given, in lower case (but for an IPv6 zone); others go through
    IDNA 2008 (with the UTS 46 mapping that browsers apply, which keeps e.g. capital letters
    working).

    Raises:
        LocalProtocolError: the host or one of its labels is empty, a label is too long, it has
            characters no host may have, or IDNA refuses it.
    """
    try:
        encoded = host.encode("ascii") if host.isascii() else idna.encode(host, uts46=True)
    except idna.IDNAError as exc:
        if "@" not in host:
            raise LocalProtocolError(f"URL host {host!r} cannot be encoded: {exc}") from exc
    if "@" in host:  # a password that has one, and everything behind it was read as the host
        raise LocalProtocolError(
            "URL host has characters that no host may have: an @ in a password is written %40"
        )
    check_host(encoded)
    if b":" not in encoded:
        return encoded.lower()
    address, mark, zone = encoded.partition(b"%")
    return address.lower() + mark + zone  # zones are names of interfaces: Eth0 is not eth0


def check_host(host: bytes) -> None:
    """LocalProtocolError unless `host` has only characters that a host may have, and its labels
    fit into DNS. A NUL, say, would end the name for DNS but not for the certificate's check."""
    if _HOST.fullmatch(host) is None:
        reason = "has characters that no host may have" if host else "is missing"
    elif b":" not in host and not _labels_fit(host):
        reason = "has a part of no or too many characters"
    else:
        return
    shown = host.decode("ascii", "backslashreplace")
    raise LocalProtocolError(f"URL host {shown!r} {reason}")


def _labels_fit(host: bytes) -> bool:
    return all(0 < len(label) <= MAX_LABEL for label in host.removesuffix(b".").split(b"."))


def shown_path(path: str) -> str:
    """The path of a Unix socket for people: an abstract one as ``@name``, as ss(8) has it."""
    return path.replace("\0", "@")


def to_server_name(value: Any) -> str:
    """The ``sni_hostname`` of a request's extensions, checked before anything is opened."""
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"sni_hostname must be str or bytes, not {type(value).__name__}")
    try:
        name = encode_host(value if isinstance(value, str) else value.decode("ascii"))
    except (LocalProtocolError, UnicodeDecodeError) as exc:
        raise LocalProtocolError(f"sni_hostname {value!r} is no host name: {exc}") from exc
    return name.decode("ascii")


@lru_cache(maxsize=CACHED_HOSTS)
def _encode_authority(scheme: str, host: str, port: str | None) -> tuple[bytes, bytes, int | None]:
    """The parts of a URL before its path, checked. Without user information, so that no
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
    """Scheme, host and port: who a connection talks to. Hashable and immutable by custom."""

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
        if ":" in host:
            host = f"[{host}]"
        return f"{self.scheme.decode('ascii', 'backslashreplace')}://{host}:{self.port}"

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
            self.port = None if port is None else _to_port(port)
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
        """Scheme, host and port, the scheme's default port filled in.

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


def _to_port(port: Any) -> int:
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


def to_text(url: Any) -> str:
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


class ByteStream:
    """A body that is all there already; can be sent again."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content

    def __len__(self) -> int:
        return len(self._content)

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} [{len(self._content)} bytes]>"


EMPTY = ByteStream(b"")


def to_stream(content: Content) -> Any:
    """A request's or response's content as something that can be iterated or read."""
    if content is None:
        return EMPTY
    if type(content) is bytes:
        return ByteStream(content)
    if isinstance(content, (bytes, bytearray, memoryview)):
        return ByteStream(bytes(content))
    if isinstance(content, (str, int, Mapping)) or not (
        hasattr(content, "__iter__")
        or hasattr(content, "__aiter__")
        or hasattr(content, "read")
        or hasattr(content, "__getitem__")
    ):
        raise TypeError(
            "content must be bytes, a file opened in binary mode or an iterable of bytes, "
            f"not {type(content).__name__}"
        )
    return content


def content_length(content: Any) -> int | None:
    """How many bytes `content` will give, or None when only reading it can tell."""
    if content is None:
        return 0
    if isinstance(content, (bytes, bytearray)):
        return len(content)
    if isinstance(content, memoryview):
        return content.nbytes
    if not hasattr(content, "read"):
        return None
    try:
        position = content.tell()
        end = content.seek(0, os.SEEK_END)
        content.seek(position)
    except (AttributeError, OSError, ValueError):
        return None  # a pipe, or a file-like that only reads
    return max(0, int(end) - int(position)) if isinstance(end, int) else None


def with_required_headers(headers: HeaderList, url: URL, content: Any) -> HeaderList:
    """`headers` with Host, and what frames the body, where the caller left them out.

    RFC 9110 section 7.2 wants Host first; RFC 9112 section 6.1 wants either a
    Content-Length or chunked coding, never both.
    """
    names = [name.lower() for name, _ in headers] if headers else ()
    if b"host" not in names:
        headers = [(b"Host", host_header(url.scheme, url.host, url.port)), *headers]
    if content is not None and b"content-length" not in names and b"transfer-encoding" not in names:
        length = content_length(content)
        if length is None:
            headers = [*headers, (b"Transfer-Encoding", b"chunked")]
        else:
            headers = [*headers, (b"Content-Length", b"%d" % length)]
    return headers


@lru_cache(maxsize=CACHED_HOSTS)
def host_header(scheme: bytes, host: bytes, port: int | None) -> bytes:
    """The Host field's value: the port only when it is not the scheme's own."""
    if b":" in host:
        host = b"[%b]" % host.partition(b"%")[0]  # a zone id is local, RFC 6874 section 4
    if port is None or port == DEFAULT_PORTS.get(scheme):
        return host
    return b"%b:%d" % (host, port)


class Request:
    """An HTTP request, ready to be handed to a pool or a connection.

    Parameters:
        method: e.g. ``"GET"``; str or bytes, sent as given.
        url: `URL`, str or bytes.
        headers: mapping or sequence of pairs, str (ASCII) or bytes; sent in this order.
            They must hold Host and, with a body, Content-Length or ``Transfer-Encoding:
            chunked``: `ConnectionPool.request` adds them, this class does not.
        content: the body: bytes, a file opened in binary mode, or an iterable of bytes.
        extensions: optional extras: ``timeout`` (dict of connect, read, write, pool in
            seconds), ``trace``, ``sni_hostname``, ``ssl_context``, ``target``, ``proxy``
            (a `Proxy`, or None for direct, in place of the pool's own), ``uds`` (the path of
            a Unix socket to connect to), ``cancel`` (a `CancelToken`), ``informational``
            (called with status and headers of each 1xx response).

    Raises:
        TypeError: a field of the wrong type, named in the message.
        LocalProtocolError, UnsupportedProtocol: a URL that cannot be.
    """

    __slots__ = ("extensions", "headers", "method", "stream", "url")

    def __init__(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: HeaderTypes = None,
        content: Content = None,
        extensions: Extensions | None = None,
    ) -> None:
        self.method = method if type(method) is bytes else to_bytes(method, "method")
        self.url: URL = url if type(url) is URL else to_url(url)
        self.headers = [] if headers is None else to_headers(headers)
        self.stream: Any = EMPTY if content is None else to_stream(content)
        if extensions is None:
            extensions = {}
        elif type(extensions) is not dict and not isinstance(extensions, Mapping):
            raise TypeError(f"extensions must be a mapping, not {type(extensions).__name__}")
        self.extensions: Extensions = extensions
        if extensions and "target" in extensions:
            self.url = URL(
                scheme=self.url.scheme,
                host=self.url.host,
                port=self.url.port,
                target=extensions["target"],
            )

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} [{self.method!r}]>"


def describe(request: Request) -> str:
    """Method and target, for error texts."""
    method = request.method.decode("ascii", "backslashreplace")
    return f"{method} {redact_target(request.url.target).decode('ascii', 'backslashreplace')}"


def name_request(exc: Exception, request: Request) -> None:
    """Add to the text of `exc` which request it ended: a codec does not know that."""
    what = describe(request)
    if str(exc) == DISCONNECTED and what not in explain(exc):
        explained(exc, f"{exc} (in the answer to {what})")
    elif what not in explain(exc):
        exc.args = (f"{exc} (in the answer to {what})", *exc.args[1:])


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


class Response:
    """An HTTP response.

    Attributes:
        status: the status code; `status_code` is the same (2019).
        headers: list of (name, value) byte pairs, in the order and case they arrived.
        stream: the body; iterate it, or call it first as in 2019 (``response.stream()``).
        extensions: ``http_version`` and ``reason_phrase`` as bytes, ``network_stream``,
            ``reused`` (whether the connection had served a request before).

    One response belongs to one thread at a time.
    """

    __slots__ = ("_consumed", "_content", "extensions", "headers", "status", "stream")

    def __init__(
        self,
        status: int,
        *,
        headers: HeaderTypes = None,
        content: Content = None,
        extensions: Extensions | None = None,
    ) -> None:
        self.status = status
        self.headers = to_headers(headers)
        self.stream = to_stream(content)
        self.extensions: Extensions = {} if extensions is None else extensions
        self._content: bytes | None = None
        self._consumed = False

    @property
    def content(self) -> bytes:
        """The whole body. RuntimeError when it has not been read yet."""
        if self._content is None:
            call = "response.read()" if _is_sync(self.stream) else "await response.aread()"
            raise RuntimeError(
                f"response.content is not there yet: the response is streamed. Call {call} first."
            )
        return self._content

    @property
    def status_code(self) -> int:
        """`status`, as 2019 called it."""
        return self.status

    @property
    def body(self) -> bytes:
        """`content`, as 2019 called it."""
        return self.content

    @property
    def trailers(self) -> HeaderList:
        """The trailer fields (RFC 9110 section 6.5); filled once the body has ended."""
        return getattr(self.stream, "trailers", [])

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} [{self.status}]>"

    def read(self) -> bytes:
        """Read the body to its end and return it; later calls return the same bytes.

        Raises: ReadTimeout, ReadError, RemoteProtocolError (IncompleteBody).
        """
        if self._content is None:
            read_all = getattr(self.stream, "read", None)
            if read_all is None or self._consumed:
                self._content = b"".join(self.iter_stream())
            else:
                self._consumed = True
                self._content = read_all()
        return self._content

    def iter_stream(self) -> Iterator[bytes]:
        """The body's pieces as they arrive; once only."""
        if not _is_sync(self.stream):
            raise RuntimeError("this response is asynchronous; use 'response.aiter_stream()'")
        if self._consumed:
            raise RuntimeError("the response body was consumed already; it streams only once")
        self._consumed = True
        yield from self.stream

    def close(self) -> None:
        """Give the connection back, or close it where the body is not at its end."""
        close = getattr(self.stream, "close", None)
        if close is not None:
            close()

    async def aread(self) -> bytes:
        """Asynchronous `read`."""
        if self._content is None:
            self._content = b"".join([part async for part in self.aiter_stream()])
        return self._content

    async def aiter_stream(self) -> AsyncIterator[bytes]:
        """Asynchronous `iter_stream`."""
        if not hasattr(self.stream, "__aiter__"):
            raise RuntimeError("this response is synchronous; use 'response.iter_stream()'")
        if self._consumed:
            raise RuntimeError("the response body was consumed already; it streams only once")
        self._consumed = True
        async for part in self.stream:
            yield part

    async def aclose(self) -> None:
        """Asynchronous `close`."""
        close = getattr(self.stream, "aclose", None)
        if close is not None:
            await close()


def _is_sync(stream: Any) -> bool:
    return hasattr(stream, "__iter__")


class Proxy:
    """A proxy to go through, with its credentials and extra headers.

    Parameters:
        url: the proxy's own URL. A user and password in it are taken where `auth` is None
            (percent-decoded, as UTF-8).
        auth: user name and password, sent to the proxy only.
        headers: extra headers for the proxy.
        ssl_context: how to verify an https proxy.
        on_challenge: called with the `ProxyError` when a tunnel is refused with 407; the headers
            it returns go with a second CONNECT on the same connection (several times, for
            schemes such as NTLM that take several). None gives up.

    Raises LocalProtocolError, UnsupportedProtocol, TypeError for what cannot be.
    """

    __slots__ = ("auth", "headers", "on_challenge", "ssl_context", "url")

    def __init__(
        self,
        url: URL | bytes | str,
        auth: tuple[bytes | str, bytes | str] | None = None,
        headers: HeaderTypes = None,
        ssl_context: ssl.SSLContext | None = None,
        *,
        on_challenge: Callable[[Any], HeaderTypes] | None = None,
    ) -> None:
        self.url = to_url(url)
        self.headers = to_headers(headers)
        self.ssl_context = ssl_context
        self.on_challenge = on_challenge
        self.auth: tuple[bytes, bytes] | None = None
        if auth is None and not isinstance(url, URL):
            auth = _user_info(url)
        if auth is not None:
            self.auth = (to_bytes(auth[0], "auth"), to_bytes(auth[1], "auth"))
            # RFC 7617: user-id and password joined by a colon, in base64.
            credentials = b64encode(b":".join(self.auth))
            self.headers.insert(0, (b"Proxy-Authorization", b"Basic " + credentials))

    def __repr__(self) -> str:
        host = self.url.host.decode("ascii", "backslashreplace")
        secret = ", auth=(…, '[secure]')" if self.auth else ""
        return f"<{self.__class__.__name__} [{host}:{self.url.port}{secret}]>"


def _user_info(url: bytes | str) -> tuple[bytes, bytes] | None:
    """User and password as they stand in `url`, percent-decoded; None where there is no user."""
    text = url if isinstance(url, str) else to_text(url)
    match = _USER_INFO.match(text)
    if match is None:
        return None
    user, _, password = match.group(1).partition(":")
    return unquote_to_bytes(user), unquote_to_bytes(password)
