"""From what requests passes to `urlopen` to what `httpcore.Request` takes.

Owns: header lines, the request target, how a body is framed. Must not know: pools, retries,
connections.

The header lines are those that urllib3 and http.client would send: Host first, then
``Accept-Encoding: identity`` and ``User-Agent`` where the caller set none, then the caller's,
in their order and case.

Sources: RFC 9110 section 7.2 (Host), section 8.6 (Content-Length), RFC 9112 section 6.1
(Transfer-Encoding), RFC 3986 (which characters a target may have).
"""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING, Any

import urllib3
import urllib3.exceptions
from requests.exceptions import UnrewindableBodyError
from requests.structures import CaseInsensitiveDict
from urllib3.util import SKIP_HEADER, Timeout, parse_url
from urllib3.util.url import _encode_target

from httpcore.redact import plain_start, without_query

from ._errors import (
    NOT_SENT,
    InvalidHeader,
    LocationParseError,
    make_error,
)
from ._timeout import Timeout as OurTimeout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from requests import PreparedRequest

# Files that give bytes for sure. Of all others it is not known before they are read: temporary
# files, `codecs` readers and wrappers of many makes give text without being an `io.TextIOBase`.
_BINARY_FILES = (io.BufferedIOBase, io.RawIOBase)

# An absolute URL without user and with a path; the path goes out as a plain one would.
_PLAIN_ABSOLUTE = re.compile(r"(?i:(https?://[a-z0-9\-.:\[\]]+))(/.*)", re.DOTALL).fullmatch

# A target in characters that all may stand there: it goes out as it is.
_PLAIN_TARGET = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*").fullmatch

# RFC 9110 section 9.3: other methods mean a body, so that its absence has to be said.
_NO_BODY_EXPECTED = frozenset(["GET", "HEAD", "DELETE", "TRACE", "OPTIONS", "CONNECT"])

_USER_AGENT = (b"User-Agent", f"python-urllib3/{urllib3.__version__}".encode())  # type: ignore[attr-defined]
_IDENTITY = (b"Accept-Encoding", b"identity")
_SKIPPABLE = frozenset(["accept-encoding", "host", "user-agent"])


def encode_target(url: str) -> bytes:
    """Return the request target for `url`: a path with query, or an absolute URL as proxies take
    it.

    Raises urllib3's LocationParseError for what is no URL.
    """
    if _PLAIN_TARGET(url) is None:
        absolute = _PLAIN_ABSOLUTE(url)
        if url.startswith("/"):
            url = _encode_target(url)
        elif absolute is not None:
            path = absolute.group(2)
            url = absolute.group(1) + (path if _PLAIN_TARGET(path) else _encode_target(path))
        else:
            return _slow_target(url)
    try:
        return url.encode("ascii")
    except UnicodeEncodeError:
        raise no_url(url) from None


def _slow_target(url: str) -> bytes:
    try:
        return parse_url(url)._replace(fragment=None).url.encode("ascii") or b"/"
    except (urllib3.exceptions.LocationParseError, UnicodeEncodeError):
        pass  # chained to it, ours would show the whole URL all the same
    raise no_url(url)


def no_url(url: str) -> LocationParseError:
    """Return the error for a `url` that is none."""
    return make_error(
        LocationParseError, f"Failed to parse: {without_query(url)!r}", NOT_SENT, location=url
    )


def no_method(method: str) -> InvalidHeader:
    """Return the error for a `method` that is no token, in the core's words."""
    text = f"illegal character in the method {plain_start(method)!r}..."
    return make_error(InvalidHeader, text, NOT_SENT)


def host_of(target: bytes, default: bytes) -> bytes:
    """Return what Host says for `target`: the same host where that is a whole URL (RFC 9112
    section 3.2.2), else `default`."""
    if target.startswith(b"/"):
        return default
    authority = without_query(target.decode("ascii")).partition("://")[2].partition("/")[0]
    return authority.encode("ascii") or default


def encode_headers(
    headers: Mapping[Any, Any],
    host: bytes,
    method: str,
    body: object,
    chunked: bool,
    withheld: frozenset[str] = frozenset(),
) -> list[tuple[bytes, bytes]]:
    """Return the header lines to send.

    Parameters:
        headers: the caller's; names and values are str (sent as latin-1) or bytes. All that
            its ``items()`` gives is sent, in this order; a multidict gives one name many times.
        host: what Host says where `headers` does not.
        method, body: decide whether a length has to be announced.
        chunked: send the body in chunks; a Content-Length in `headers` overrules it.
        withheld: names, in lower case, of fields that are not sent.

    Raises InvalidHeader, naming the field, for a value that cannot be sent.
    """
    if type(headers) is CaseInsensitiveDict:
        names: dict[str, tuple[object, object]] = headers._store  # type: ignore[attr-defined]
        fields: Any = names.values()
    else:
        fields = list(headers.items())
        names = {_text(name).lower(): (name, value) for name, value in fields}
    if not withheld.isdisjoint(names):
        fields = [line for line in fields if _text(line[0]).lower() not in withheld]
        names = {key: line for key, line in names.items() if key not in withheld}
    lines: list[tuple[bytes, bytes]] = []
    if "host" not in names:
        lines.append((b"Host", host))
    if "accept-encoding" not in names:
        lines.append(_IDENTITY)
    if "content-length" in names:
        if isinstance(body, io.StringIO):
            fields = _with_true_length(fields, body)
        if "transfer-encoding" in names:
            fields = [line for line in fields if _text(line[0]).lower() != "transfer-encoding"]
    elif "transfer-encoding" not in names:
        if body is not None or method not in _NO_BODY_EXPECTED:
            lines.append(_framing(body, chunked))
    if "user-agent" not in names:
        lines.append(_USER_AGENT)
    for key in _SKIPPABLE:
        if key in names and names[key][1] == SKIP_HEADER:
            fields = [line for line in fields if _text(line[0]).lower() != key]
    try:
        # White space at the end is no part of a value (RFC 9110 section 5.5); requests lets it
        # through, as it comes with tokens that were read from a file.
        lines += [
            (name.encode("ascii"), value.rstrip(" \t").encode("latin-1")) for name, value in fields
        ]
        return lines
    except (AttributeError, TypeError, UnicodeEncodeError):
        pass  # the last one holds the value, so ours is not chained to it
    return lines + [_line(name, value) for name, value in fields]


def _with_true_length(fields: Any, body: io.StringIO) -> list[tuple[Any, Any]]:
    """Return the header lines with the length of `body` in bytes. requests counts its
    characters."""
    text = body.getvalue()[body.tell() :]
    counted, true = str(len(text)), str(len(text.encode()))
    return [
        (name, true if _text(name).lower() == "content-length" and value == counted else value)
        for name, value in fields
    ]


def _text(name: object) -> str:
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)


def _framing(body: object, chunked: bool) -> tuple[bytes, bytes]:
    if body is None:
        return (b"Content-Length", b"0")
    if not chunked:
        whole = body.encode() if isinstance(body, str) else _buffer(body)
        if whole is not None:
            return (b"Content-Length", b"%d" % len(whole))
    return (b"Transfer-Encoding", b"chunked")


def _line(name: Any, value: Any) -> tuple[bytes, bytes]:
    """Return one header line, slowly; raise InvalidHeader, which says what is wrong."""
    problem = _problem(name, value)
    if problem is not None:
        # Without the value, whatever the name is: programs have secret fields of their own.
        raise make_error(InvalidHeader, f"header {plain_start(name)!r} {problem}", NOT_SENT)
    key = name if isinstance(name, bytes) else name.encode("ascii")
    if isinstance(value, int):
        value = str(value)
    return key, (value if isinstance(value, bytes) else value.encode("latin-1")).rstrip(b" \t")


def _problem(name: object, value: object) -> str | None:
    """Return why this header line cannot be sent; None where it can."""
    for part, given, kinds, known, code in (
        ("name", name, (str, bytes), "ASCII", 128),
        ("value", value, (str, bytes, int), "latin-1", 256),
    ):
        if not isinstance(given, kinds):
            return f"must have a {part} of str or bytes, not {type(given).__name__}"
        if isinstance(given, str) and any(ord(letter) >= code for letter in given):
            return f"has a {part} with characters outside {known}; encode it to bytes yourself"
    return None


def _buffer(body: Any) -> bytes | None:
    """Return the bytes of anything that is a buffer, such as bytearray and array; None for others.
    A file may be one too (mmap), and is read in blocks all the same."""
    if isinstance(body, bytes):
        return bytes(body)
    if hasattr(body, "read"):
        return None
    try:
        return bytes(memoryview(body))
    except TypeError:
        return None


def encode_body(body: Any) -> Any:
    """Return `body` as `httpcore.Request` takes it: str become UTF-8, files and bytes pass."""
    if body is None or type(body) is bytes:
        return body
    if isinstance(body, str):
        return body.encode()
    whole = _buffer(body)
    if whole is not None:
        return whole
    if hasattr(body, "read"):
        return body if isinstance(body, _BINARY_FILES) else _BytesFile(body)
    if not hasattr(body, "__iter__"):
        raise TypeError(
            "the request body must be str, bytes, a file or an iterable of them, "
            f"not {type(body).__name__}"
        )
    return _Once(body) if hasattr(body, "__next__") else _Pieces(body)


def _blocks(pieces: Iterable[str | bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if piece:  # an empty chunk would end a chunked body
            yield piece.encode() if isinstance(piece, str) else piece


class Spent:
    """Stands for a body that is gone, in a request that is asked for once more.

    Parameters:
        step: what cannot be done without it.
    """

    def __init__(self, step: str) -> None:
        self._step = step

    def __iter__(self) -> Iterator[bytes]:
        raise self.error()

    def error(self, request: PreparedRequest | None = None) -> UnrewindableBodyError:
        """Return the error for a `request` with this body."""
        return UnrewindableBodyError(
            f"cannot {self._step}: it asks for the body once more, and that cannot be sent again",
            request=request,
        )


def is_gone(body: object, sent: object) -> bool:
    """Return whether some of `body` has been taken and nothing leads back to its start: an
    iterator, or a file that does not go back. Whoever sends it again goes back in other files
    himself.

    Parameters:
        sent: what `encode_body` made of it. A server that answers before it has said "100
            Continue" was sent nothing.
    """
    if hasattr(body, "read"):
        goes_back = hasattr(body, "seek")
    else:
        goes_back = not hasattr(body, "__next__")
    return not goes_back and was_taken(sent)


def was_taken(sent: object) -> bool:
    """Return whether some of a body was taken, as far as that is known; True where it is not."""
    return getattr(sent, "taken", True) is True


class _BytesFile:
    """A file as bytes: text that it gives is sent as UTF-8, as urllib3 sends it. All else, such as
    going back to be sent again, is the file's.

    Attributes:
        taken: it has been read from.
    """

    def __init__(self, file: Any) -> None:
        self.taken = False
        self._file = file

    def read(self, size: int) -> bytes:
        self.taken = True
        data = self._file.read(size)
        return data.encode() if isinstance(data, str) else data or b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Once:
    """A body that can be iterated once, as bytes.

    Attributes:
        taken: it has been asked for a part.
    """

    def __init__(self, pieces: Iterable[str | bytes]) -> None:
        self.taken = False
        self._blocks = _blocks(pieces)

    def __iter__(self) -> _Once:
        return self

    def __next__(self) -> bytes:
        self.taken = True
        return next(self._blocks)


class _Pieces:
    """A body that can be iterated again, as bytes."""

    def __init__(self, pieces: Iterable[str | bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return _blocks(self._pieces)


def is_replayable(body: object, position: object) -> bool:
    """Return whether `body` gives the same bytes a second time.

    Parameters:
        position: where a file stood before it was first sent; anything but an int says that
            it is not known.
    """
    if body is None or isinstance(body, (bytes, bytearray, memoryview, str)):
        return True
    if hasattr(body, "read"):
        return isinstance(position, int) and hasattr(body, "seek")
    return not hasattr(body, "__next__")


def to_timeouts(
    timeout: Timeout, pool_timeout: float | None, end: float | None
) -> dict[str, float | None]:
    """Return httpcore's timeouts, in seconds, for those of urllib3 or our own `Timeout`.

    ``write`` is the read timeout where nothing else is said: a server that takes nothing more is as
    slow as one that answers nothing, while the connect timeout, which urllib3 uses there, is
    chosen for a handshake.

    Parameters:
        end: by `time.monotonic`, when the ``total`` is over; None where there is none.
    """
    # Its properties would subtract the time since start_connect(), which is not called here.
    connect: Any = timeout._connect
    read: Any = timeout._read
    if read is _DEFAULT:
        read = Timeout.resolve_default_timeout(read)
    if connect is _DEFAULT:
        connect = Timeout.resolve_default_timeout(connect)
    found = {"connect": connect, "read": read, "write": read, "pool": pool_timeout}
    if end is not None:
        found["total"] = left = _Left(max(0.0, end - time.monotonic()))
        left.given = timeout.total
    if type(timeout) is OurTimeout:
        if timeout.write is not None:
            found["write"] = timeout.write
        if timeout.pool is not None:
            found["pool"] = timeout.pool
    return found


class _Left(float):
    """Seconds that are left of the ``total`` that was `given`, which is what errors name."""

    given: object


def end_of(timeout: Timeout) -> float | None:
    """Return when, by `time.monotonic`, the ``total`` of a request that begins now is over, or
    None."""
    total: Any = timeout.total
    return None if total is None or total is _DEFAULT else time.monotonic() + total


_DEFAULT = Timeout.DEFAULT_TIMEOUT
