"""The nouns of a request: URL, Origin, Request, Response, Proxy.

Owns: their fields, how strings become bytes, which headers a body needs. Must not know:
connections, pools, I/O. Public names, signatures and reprs are those of httpcore 1.0.9;
``body``, ``status_code`` and calling ``response.stream()`` are the spellings of 2019.

Sources: RFC 3986 (URL), RFC 3987 section 3.1 (non-ASCII URLs), RFC 5891 through ``idna``,
RFC 9110 section 7.2 (Host), RFC 9112 section 6 (how a body is framed).
"""

from __future__ import annotations

import os
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
from typing import TYPE_CHECKING, Any

from ._exceptions import (
    DISCONNECTED,
    ProxyError,
    explain,
    explained,
)
from ._redact import SECURE, redact_target
from ._url import URL, read_credentials, split_user_info, to_bytes, to_text, to_url
from .rules import host_header

if TYPE_CHECKING:
    import ssl

HeaderList = list[tuple[bytes, bytes]]
HeadersAsSequence = Sequence[tuple[bytes | str, bytes | str]]
HeadersAsMapping = Mapping[bytes | str, bytes | str]
HeaderTypes = HeadersAsSequence | HeadersAsMapping | None
Extensions = Mapping[str, Any]
Content = bytes | Iterable[bytes] | AsyncIterable[bytes] | None


def to_headers(headers: HeaderTypes) -> HeaderList:
    """Return headers, given as a list of pairs or a mapping, as a new list of byte pairs."""
    if headers is None:
        return []
    pairs: Any = headers
    if type(headers) is dict or (type(headers) is not list and isinstance(headers, Mapping)):
        pairs = headers.items()
    what = "headers must be a mapping or sequence of two-tuples"
    try:
        # In one expression without calls of our own, for the two kinds that nearly all have.
        return [
            (name.encode("ascii"), value.encode("ascii"))
            if type(name) is str and type(value) is str
            else (name, value)
            if type(name) is bytes and type(value) is bytes
            else (to_bytes(name, "header name"), to_bytes(value, "header value"))
            for name, value in pairs
        ]
    except UnicodeEncodeError:
        pass  # it holds the value, so nothing may be chained to it
    except (TypeError, ValueError) as exc:
        if not hasattr(pairs, "__iter__"):
            raise TypeError(f"{what}, but got {type(headers).__name__}.") from None
        raise _explain_field(pairs) or TypeError(f"{what}: {exc}") from exc
    raise _explain_field(pairs) or TypeError(f"{what} of ASCII")


def _explain_field(pairs: Iterable[object]) -> TypeError | None:
    """Return what is wrong with the first field of `pairs` that is a pair and cannot be sent."""
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


class ByteStream:
    """A body that is all there already; can be sent again.

    Attributes:
        content: its bytes.
    """

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self.content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content

    def __len__(self) -> int:
        return len(self.content)

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} [{len(self.content)} bytes]>"


EMPTY = ByteStream(b"")


def to_stream(content: Content) -> Any:
    """Return a request's or response's content as something that can be iterated or read."""
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
            "content must be bytes, a file opened in binary mode or an iterable of bytes "
            f"(an asynchronous one in the asynchronous API), not {type(content).__name__}"
        )
    return content


def content_length(content: Any) -> int | None:
    """Return how many bytes `content` will give, or None when only reading it shows that."""
    if content is None:
        return 0
    if isinstance(content, (bytes, bytearray)):
        return len(content)
    if isinstance(content, memoryview):
        return content.nbytes
    if not hasattr(content, "read") or hasattr(content, "__aiter__"):
        return None
    try:
        position = content.tell()
        end = content.seek(0, os.SEEK_END)
        content.seek(position)
    except (AttributeError, OSError, ValueError):
        return None  # a pipe, or a file-like that only reads
    return max(0, int(end) - int(position)) if isinstance(end, int) else None


class Request:
    """An HTTP request, ready to be handed to a pool or a connection.

    Parameters:
        method: e.g. ``"GET"``; str or bytes, sent as given.
        url: `URL`, str or bytes.
        headers: mapping or sequence of pairs, str (ASCII) or bytes; sent in this order.
            They must hold Host and, with a body, Content-Length or ``Transfer-Encoding:
            chunked``: `ConnectionPool.request` adds them, this class does not.
        content: the body: bytes, a file opened in binary mode, or an iterable of bytes; for the
            asynchronous API an asynchronous iterable. An empty part means that there is nothing to
            send now: the connection, the total and the `CancelToken` are looked at before the next
            part is asked for. It should come after a pause, or the loop takes all of a processor.
        extensions: optional extras: ``timeout`` (dict of connect, read, write, pool in
            seconds), ``trace``, ``sni_hostname``, ``ssl_context``, ``target``, ``proxy``
            (a `Proxy`, or None for direct, in place of the pool's own), ``uds`` (the path of
            a Unix socket to connect to), ``cancel`` (a `CancelToken`), ``informational``
            (called with status and headers of each 1xx response), ``early_response`` (True:
            return the response when it has begun, although the body is still being sent; reading
            it sends on. By default that holds for responses that refuse the request alone).

    Attributes:
        log: whether a pool logs a line about it at INFO. `ConnectionPool.request` and ``stream``
            set it; False here, because libraries that call ``handle_request`` have logs of their
            own.

    Raises:
        TypeError: a field of the wrong type, named in the message.
        LocalProtocolError, UnsupportedProtocol: a URL that cannot be.
    """

    __slots__ = ("extensions", "headers", "log", "method", "stream", "url")

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
        self.log = False
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
    """Return method and target, for error texts."""
    method = request.method.decode("ascii", "backslashreplace")
    return f"{method} {redact_target(request.url.target).decode('ascii', 'backslashreplace')}"


def name_request(exc: Exception, request: Request) -> None:
    """Add to the text of `exc` which request it ended: a codec does not know that."""
    what = describe(request)
    if str(exc) == DISCONNECTED and what not in explain(exc):
        explained(exc, f"{exc} (in the answer to {what})")
    elif what not in explain(exc):
        exc.args = (f"{exc} (in the answer to {what})", *exc.args[1:])


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
        """Return the whole body. Raises RuntimeError when it has not been read yet."""
        if self._content is None:
            call = "response.read()" if _is_sync(self.stream) else "await response.aread()"
            raise RuntimeError(
                f"response.content is not there yet: the response is streamed. Call {call} first."
            )
        return self._content

    @property
    def status_code(self) -> int:
        """Return `status`, under the name of 2019."""
        return self.status

    @property
    def body(self) -> bytes:
        """Return `content`, under the name of 2019."""
        return self.content

    @property
    def trailers(self) -> HeaderList:
        """Return the trailer fields (RFC 9110 section 6.5); filled once the body has ended."""
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
                if not _is_sync(self.stream):
                    raise _wrong_half("asynchronous", "await response.aread()")
                self._content = b"".join(self.iter_stream())
            else:
                self._consumed = True
                self._content = read_all()
        return self._content

    def iter_stream(self) -> Iterator[bytes]:
        """Yield the body's pieces as they arrive; once only."""
        if not _is_sync(self.stream):
            raise _wrong_half("asynchronous", "async for part in response.aiter_stream()")
        if self._consumed:
            raise RuntimeError("the response body was consumed already; it streams only once")
        self._consumed = True
        yield from self.stream

    def close(self) -> None:
        """Give the connection back, or close it where the body is not at its end."""
        close = getattr(self.stream, "close", None)
        if close is not None:
            close()
        elif not _is_sync(self.stream):
            raise _wrong_half("asynchronous", "await response.aclose()")

    async def aread(self) -> bytes:
        """Read asynchronously; see `read`."""
        if self._content is None:
            read_all = getattr(self.stream, "aread", None)
            if read_all is None or self._consumed:
                if not hasattr(self.stream, "__aiter__"):
                    raise _wrong_half("synchronous", "response.read()")
                self._content = b"".join([part async for part in self.aiter_stream()])
            else:
                self._consumed = True
                self._content = await read_all()
        return self._content

    def aiter_stream(self) -> AsyncIterator[bytes]:
        """Iterate asynchronously; see `iter_stream`. (No generator: one that is left in the middle
        would be closed by the event loop, later.)"""
        if not hasattr(self.stream, "__aiter__"):
            raise _wrong_half("synchronous", "for part in response.iter_stream()")
        if self._consumed:
            raise RuntimeError("the response body was consumed already; it streams only once")
        self._consumed = True
        parts: AsyncIterator[bytes] = self.stream.__aiter__()
        return parts

    async def aclose(self) -> None:
        """Close asynchronously; see `close`."""
        close = getattr(self.stream, "aclose", None)
        if close is not None:
            await close()
        elif not hasattr(self.stream, "__aiter__"):
            raise _wrong_half("synchronous", "response.close()")


def received_response(
    status: int, headers: HeaderList, body: object, extensions: Extensions
) -> Response:
    """Return the response that a connection has received, its `body` still unread. Nothing is
    checked or converted: the codecs have done that."""
    response: Response = Response.__new__(Response)
    response.status = status
    response.headers = headers
    response.stream = body
    response.extensions = extensions
    response._content = None
    response._consumed = False
    return response


def _is_sync(stream: object) -> bool:
    return hasattr(stream, "__iter__")


def _wrong_half(kind: str, instead: str) -> RuntimeError:
    """Return the error for a response of that kind whose other half was called."""
    return RuntimeError(f"this response is {kind}: use '{instead}'")


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
        on_challenge: Callable[[ProxyError], HeaderTypes] | None = None,
    ) -> None:
        info = None
        if isinstance(url, (str, bytes)):
            url, info = _split_user_info(url)
        self.url = to_url(url)
        self.headers = to_headers(headers)
        self.ssl_context = ssl_context
        self.on_challenge = on_challenge
        self.auth: tuple[bytes, bytes] | None = None
        if auth is None and info:
            auth = read_credentials(info)
        if auth is not None:
            self.auth = (to_bytes(auth[0], "auth"), to_bytes(auth[1], "auth"))
            # RFC 7617: user-id and password joined by a colon, in base64.
            credentials = b64encode(b":".join(self.auth))
            self.headers.insert(0, (b"Proxy-Authorization", b"Basic " + credentials))

    def __repr__(self) -> str:
        url = self.url
        host = host_header(url.scheme, url.host, url.port).decode("ascii", "backslashreplace")
        secret = f", auth=(…, {SECURE!r})" if self.auth else ""
        return f"<{self.__class__.__name__} [{host}{secret}]>"


def _split_user_info(url: bytes | str) -> tuple[bytes | str, str | None]:
    """Return `url` as `to_url` takes it, and the user information that stands in it.

    That goes out of the URL where it has a backslash, which `to_url` refuses: the users of proxies
    in Windows domains are written ``DOMAIN\\user``, and the host of a proxy is configured, not
    given by a stranger.
    """
    rest, info = split_user_info(url if isinstance(url, str) else to_text(url))
    if info is not None and "\\" in info and "@" not in info:
        return rest, info
    return url, info


def build_request(
    method: bytes | str,
    url: URL | bytes | str,
    headers: HeaderTypes,
    content: Content,
    body: Content,
    extensions: Extensions | None,
) -> Request:
    """Return a request with Host, and what frames the body, where the caller left them out.

    RFC 9110 section 7.2 wants Host first; RFC 9112 section 6.1 wants either a
    Content-Length or chunked coding, never both.

    Raises TypeError, LocalProtocolError or UnsupportedProtocol where it cannot be.

    Parameters:
        body: the name of `content` in 2019.
        The others: as those of `Request`.
    """
    if body is not None:
        if content is not None:
            raise TypeError("content and body are two names of one thing; pass only one")
        content = body
    request = Request(method, url, headers=headers, content=content, extensions=extensions)
    request.log = True
    names = [name.lower() for name, _ in request.headers] if request.headers else ()
    if b"host" not in names:
        request.headers = [
            (b"Host", host_header(request.url.scheme, request.url.host, request.url.port)),
            *request.headers,
        ]
    if content is not None and b"content-length" not in names and b"transfer-encoding" not in names:
        length = content_length(content)
        if length is None:
            request.headers = [*request.headers, (b"Transfer-Encoding", b"chunked")]
        else:
            request.headers = [*request.headers, (b"Content-Length", b"%d" % length)]
    return request
