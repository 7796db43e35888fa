"""The attributes that libraries find under `response.raw`: `_fp`, `_original_response`,
`connection.sock`.

Owns: the file that gives the body, and the faces of http.client and the socket behind it.
Must not know: decoding, how pieces are handed on, retries.

In urllib3 ``raw._fp`` and ``raw._original_response`` are one `http.client.HTTPResponse`, and
``raw._fp.fp.raw._sock`` is its socket. Authentication by channel binding, certificate pinning,
docker and users who stop a stream go all that way, so it leads to the same things here. Nothing
of it is made before somebody looks.

Sources: the documentation of `http.client.HTTPResponse`, `socket.SocketIO` and `io.RawIOBase`;
docker's ``api/client.py`` and ``types/daemon.py``, requests_ntlm, requests_kerberos for what is
called.
"""

from __future__ import annotations

import errno
import http
import io
import socket
from functools import cached_property, partial
from http.client import HTTPMessage
from typing import TYPE_CHECKING, Any, NoReturn

from httpcore import exceptions as finer
from httpcore.redact import without_query

from ._errors import FAILURES, from_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpcore

    from ._pool_shape import PoolShape

# Bytes asked for when the caller names no number: what one read of a socket gives at most.
READ_SIZE = 65536

# Statuses below this one (RFC 9110 section 15.2): the connection belongs to another protocol from
# here on, or the server said no more than that.
FIRST_FINAL = 200

# httpcore's name for the version of a response, and for each what http.client calls it (major * 10
# + minor) and its usual name.
HTTP2 = b"HTTP/2"
VERSIONS = {b"HTTP/1.0": (10, "HTTP/1.0"), HTTP2: (20, "HTTP/2")}
HTTP11 = (11, "HTTP/1.1")

# By status. HTTP/2 sends no reason phrase (RFC 9113 section 8.3.1); the usual one stands for it.
PHRASES = {int(status): status.phrase for status in http.HTTPStatus}

Fields = list[tuple[str, str]]


def names_chunked(codings: str) -> bool:
    """Return whether chunked is one of the `codings` of a Transfer-Encoding."""
    return "chunked" in [coding.strip() for coding in codings.lower().split(",")]


class BodyFile:
    """The file-like object under `raw`: our body, with urllib3's exceptions.

    Whatever else an `http.client.HTTPResponse` has is there too: it comes from an
    `OriginalResponse` made for the occasion. urllib3 takes a file with an attribute ``fp`` for
    one whose chunk framing is still there; `RawResponse` sees to it that it does not look.

    Attributes:
        body: the httpcore body object.
        response: the httpcore response it came with.
        left: bytes still to be read where Content-Length says so, else None.
        closed: True once everything was read, or after close().
        given_up: True when it was closed before everything was read.
        failure: httpcore's exception with which reading it failed, or None. Reads find an end
            then, as urllib3's do; what gives the whole body raises it again.
        enforce: False forgives a body that ends before its Content-Length.
        fields: the header lines.
        method, url: of the request.
    """

    __slots__ = (
        "__weakref__",
        "_pool",
        "body",
        "closed",
        "enforce",
        "failure",
        "fields",
        "given_up",
        "left",
        "method",
        "response",
        "url",
    )

    def __init__(
        self,
        response: httpcore.Response,
        left: int | None,
        enforce: bool,
        pool: PoolShape | None,
        fields: Fields,
        method: str,
        url: str,
    ) -> None:
        self.response = response
        self.body: Any = response.stream
        self.left = left
        self.enforce = enforce
        self.closed = self.given_up = False
        self.failure: Exception | None = None
        self.fields = fields
        self.method = method
        self.url = url
        self._pool = pool

    @property
    def sent(self) -> object:
        """Return the body of the request, as httpcore was given it; None where nobody knows."""
        return getattr(getattr(self.body, "request", None), "stream", None)

    # -- reading

    def read(self, amt: int | None = None) -> bytes:
        """Read `amt` bytes, fewer only at the end; all the rest without `amt`."""
        if self.closed:
            return b""
        if not self.enforce:
            return self._read_forgiving(amt)
        try:
            data: bytes = self.body.read() if amt is None else self.body.read(amt)
        except FAILURES as exc:
            raise self.failed(exc)
        self.took(len(data), amt is None or (not data and amt != 0))
        return data

    def read1(self, amt: int | None = None) -> bytes:
        """Read what has arrived, at least one byte before the end, at most `amt`."""
        if self.closed:
            return b""
        try:
            data: bytes = self.body.read1(READ_SIZE if amt is None or amt < 0 else amt)
        except FAILURES as exc:
            if not self.enforce and isinstance(exc, finer.IncompleteBody):
                self.closed = True
                return b""
            raise self.failed(exc)
        self.took(len(data), not data and amt != 0)
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Read like `read1`, into `buffer`, without a copy."""
        if self.closed:
            return 0
        try:
            count: int = self.body.readinto(buffer)
        except FAILURES as exc:
            if not self.enforce and isinstance(exc, finer.IncompleteBody):
                self.closed = True
                return 0
            raise self.failed(exc)
        self.took(count, not count and len(buffer) != 0)
        return count

    def readline(self, limit: int = -1) -> bytes:
        """Read up to and with the next line end, `limit` bytes at most."""
        line = io.BytesIO()
        while limit < 0 or line.tell() < limit:
            byte = self.read1(1)
            line.write(byte)
            if byte in (b"", b"\n"):
                break
        return line.getvalue()

    def _read_forgiving(self, amt: int | None) -> bytes:
        pieces = io.BytesIO()
        while amt is None or pieces.tell() < amt:
            piece = self.read1(READ_SIZE if amt is None else amt - pieces.tell())
            if not piece:
                break
            pieces.write(piece)
        return pieces.getvalue()

    def took(self, count: int, ended: bool) -> None:
        """Note that `count` bytes were read, and whether that was the end."""
        if self.left is not None:
            self.left -= count
            ended = ended or self.left <= 0
        if ended:
            self.closed = True
            if self.response.status < FIRST_FINAL:
                self._end_unasked()

    def _end_unasked(self) -> None:
        """Close a connection that was handed over though no upgrade was asked for: a caller that
        reads the body wants nothing of its socket. One that was asked for stays the caller's."""
        if self.response.extensions.get("unasked"):
            self.body.close()

    def failed(self, exc: Exception) -> Exception:
        """Return the exception to raise for `exc`; nothing more can be read."""
        self.closed = True
        self.failure = exc
        return from_body(exc, self._pool, f"{self.method} {without_query(self.url)}")

    def close(self) -> None:
        if not self.closed:
            self.closed = self.given_up = True
        self.body.close()

    def isclosed(self) -> bool:
        return self.closed

    def readable(self) -> bool:
        return True

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read1, b"")

    # -- what else an http.client.HTTPResponse has

    def __getattr__(self, name: str) -> Any:
        return getattr(OriginalResponse(self, True), name)

    @property
    def sock(self) -> Any:
        """The socket, under TLS an `ssl.SSLSocket`; None where there is none any more.

        Where all of the body has arrived but was not read yet, the connection is back in its
        pool and may serve somebody else: then it is a `PastSocket`. HTTP/2's are shared at any
        time: a `SharedSocket`.
        """
        stream = self.response.extensions.get("network_stream")
        if self.closed or stream is None:
            return None
        get = stream.get_extra_info
        sock = get("socket")
        if not hasattr(sock, "getpeercert"):
            sock = get("ssl_object") or sock
        if sock is None:
            return None
        if self.response.extensions.get("http_version") == HTTP2:
            return SharedSocket(sock, self)
        return PastSocket(sock) if self.body.closed else sock


class PastSocket:
    """The socket that a response came from and that is not the response's any more.

    What it knows can be asked for (certificate, addresses, TLS version). What would change it
    does nothing: there is nothing left on the way to stop or to wait for.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        if name in _CHANGES:
            return _do_nothing
        return getattr(self._sock, name)

    def __repr__(self) -> str:
        return f"<PastSocket of {self._sock!r}>"


class SharedSocket:
    """The socket of an HTTP/2 connection, as one of its responses may see it.

    What it knows can be asked for. `close` and `shutdown` end this response and no other; what
    sets the socket does nothing. Its bytes are those of all responses: none of them can be read or
    sent through it.
    """

    def __init__(self, sock: Any, wire: BodyFile) -> None:
        self._sock = sock
        self._wire = wire

    def close(self) -> None:
        """End the response."""
        self._wire.body.close()

    def shutdown(self, how: int) -> None:
        """End the response; a read that another thread is in fails."""
        self._wire.body.close()

    def __getattr__(self, name: str) -> Any:
        if name in _CHANGES:
            return _do_nothing
        if name in _TRANSFERS:
            return partial(_refuse_transfer, name)
        return getattr(self._sock, name)

    def __repr__(self) -> str:
        return f"<SharedSocket of {self._sock!r}>"


_CHANGES = frozenset(
    ["close", "detach", "setblocking", "setsockopt", "settimeout", "shutdown", "unwrap"]
)

_TRANSFERS = frozenset(
    [
        *("do_handshake", "dup", "makefile", "read", "write", "verify_client_post_handshake"),
        *("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into"),
        *("send", "sendall", "sendfile", "sendmsg", "sendmsg_afalg", "sendto"),
    ]
)


def _refuse_transfer(name: str, *args: object, **kwargs: object) -> NoReturn:
    raise OSError(
        errno.EOPNOTSUPP,
        f"{name}(): this socket has the bytes of other HTTP/2 responses too; read the response "
        "instead",
    )


def _do_nothing(*args: object, **kwargs: object) -> None:
    return None


class Connection:
    """The object in which ``raw.connection.sock`` and ``raw._connection.sock`` are found until the
    body was read."""

    def __init__(self, wire: BodyFile, pool: PoolShape) -> None:
        self._wire = wire
        self.host = pool.host
        self.port = pool.port

    @property
    def sock(self) -> Any:
        """The socket; None once everything was read."""
        return self._wire.sock

    @property
    def is_closed(self) -> bool:
        return self.sock is None

    @property
    def is_connected(self) -> bool:
        return self.sock is not None

    @property
    def is_verified(self) -> bool:
        """Whether the server's certificate was checked against an authority."""
        context = getattr(self.sock, "context", None)
        return bool(getattr(context, "verify_mode", 0))

    def close(self) -> None:
        self._wire.close()


class SocketFile(socket.SocketIO):
    """The object at ``raw._fp.fp`` and at ``raw._fp.fp.raw``.

    Reads what http.client's would: the body, without its chunk framing, or after an upgrade
    what the other protocol sends. Closing it ends the response; dropping it does not.
    """

    def __init__(self, wire: BodyFile, sock: Any) -> None:
        super().__init__(sock, "rb")
        self._wire = wire

    @property
    def raw(self) -> SocketFile:
        return self

    @property
    def sock(self) -> Any:
        return self._sock  # type: ignore[attr-defined]

    def readinto(self, buffer: Any) -> int:
        wire = self._wire
        if wire.response.status >= FIRST_FINAL:
            return wire.readinto(buffer)
        stream = wire.response.extensions["network_stream"]
        try:
            data: bytes = stream.read(len(buffer), self.sock.gettimeout())
        except FAILURES as exc:
            raise wire.failed(exc)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        io.RawIOBase.close(self)
        self._wire.close()

    def __del__(self) -> None:
        """Do nothing: io.IOBase would close the response when a program has merely looked at it."""


class OriginalResponse:
    """The part of ``raw._original_response`` that libraries look for, an
    `http.client.HTTPResponse`.

    Parameters:
        wire: the body, and what is known of its head.
        matters: what it is in a condition. False when the response sets no cookie: requests
            then does no cookie work at all.
    """

    def __init__(self, wire: BodyFile, matters: bool) -> None:
        self._wire = wire
        self._matters = matters

    def __bool__(self) -> bool:
        return self._matters

    # -- the head

    @property
    def version(self) -> int:
        return VERSIONS.get(self._wire.response.extensions.get("http_version", b""), HTTP11)[0]

    @property
    def status(self) -> int:
        return self._wire.response.status

    @property
    def code(self) -> int:
        return self._wire.response.status

    def getcode(self) -> int:
        return self._wire.response.status

    @property
    def reason(self) -> str:
        response = self._wire.response
        if response.extensions.get("http_version") == HTTP2:
            return PHRASES.get(response.status, "")
        phrase: bytes = response.extensions.get("reason_phrase", b"")
        return phrase.decode("latin-1").strip()

    @cached_property
    def msg(self) -> HTTPMessage:
        message: Any = HTTPMessage()
        # The list that a parsed message has; adding fields one by one is four calls for each.
        message._headers.extend(self._wire.fields)
        found: HTTPMessage = message
        return found

    @property
    def headers(self) -> HTTPMessage:
        return self.msg

    def info(self) -> HTTPMessage:
        return self.msg

    def getheader(self, name: str, default: Any = None) -> Any:
        values = self.msg.get_all(name)
        return ", ".join(values) if values else default

    def getheaders(self) -> Fields:
        return list(self._wire.fields)

    @property
    def _method(self) -> str:
        return self._wire.method

    # -- how the body is framed

    @property
    def chunked(self) -> bool:
        codings = self.getheader("Transfer-Encoding", "")
        return self._wire.left is None and names_chunked(codings)

    @property
    def chunk_left(self) -> int | None:
        """Bytes that can be read without waiting; None where there are none.

        http.client has the rest of the current chunk here. docker reads one byte, then this
        many, to hand on what has come.
        """
        ready: int = self._wire.body.buffered
        return ready or None if self.chunked else None

    @property
    def length(self) -> int | None:
        """Bytes still to be read, or None where that is not known."""
        return self._wire.left

    @property
    def will_close(self) -> bool:
        said = self.getheader("Connection", "").lower()
        if self.version == 10:
            return "keep-alive" not in said
        if self.version == 20:
            return False
        return "close" in said or (self._wire.left is None and not self.chunked)

    # -- the file

    @property
    def fp(self) -> SocketFile | None:
        """The file of the socket; None once everything was read."""
        return None if self._wire.closed else SocketFile(self._wire, self._wire.sock)

    @property
    def peer(self) -> Any:
        """(host, port) of the other end while the connection is open.

        http.client has no such thing; a recipe that many follow patches it in.
        """
        stream = self._wire.response.extensions.get("network_stream")
        return None if stream is None else stream.get_extra_info("server_addr")

    @property
    def closed(self) -> bool:
        return self._wire.closed

    def isclosed(self) -> bool:
        return self._wire.closed

    def close(self) -> None:
        self._wire.close()

    def read(self, amt: int | None = None) -> bytes:
        return self._wire.read(amt)

    def read1(self, amt: int | None = None) -> bytes:
        return self._wire.read1(amt)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        return self._wire.readinto(buffer)

    def fileno(self) -> int:
        sock = self._wire.sock
        if sock is None:
            raise OSError("the response has no socket any more")
        number: int = sock.fileno()
        return number

    def flush(self) -> None:
        """Do nothing: it is there for `io`."""
