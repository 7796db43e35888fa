"""The HTTP/1.1 client codec: bytes in, bytes out.

Owns: what a request head looks like on the wire, where a response's head and body end, and
whether the connection may carry another request afterwards.
Must not know: sockets, clocks, locks, pools, URLs, content encodings.
Sources: RFC 9112 (message syntax), RFC 9110 (field and method semantics), and h11, which is
the reference: where this file and h11 disagree, this file is wrong.

Two readers stand behind each other:

- *Plain* messages, nearly all of them, are read here: `read_head`, then one of the body
  readers. A head is plain when it is ``HTTP/1.x NNN reason``, then lines ending in CRLF with
  nothing odd in them, at most one Content-Length or ``Transfer-Encoding: chunked``.
- Anything else goes, bytes untouched, to a fresh `h11.Connection` that was given the same
  request. The fast reader may decline; it may never differ.

Where this file is stricter than h11, it is on purpose: a head longer than MAX_HEAD is refused
however it arrives, and so are more than MAX_FIELDS fields, a version other than HTTP/1.x is
refused, bytes that cannot begin a status line and a chunk line with a bare LF are refused without
waiting for more, a request never has both Content-Length and Transfer-Encoding, and a response that
has both never leaves a reusable connection.

`HeadReader(lenient=True)` and `ChunkedReader(lenient=True)` are the places that read what h11
refuses; see `h1_repairs` for odd lines and lengths, `HeadReader.feed_eof` for heads that end with
the connection, and `_LOOSE_CHUNK_LINE`.

Nothing here is thread-safe: one message is read by one thread at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from .._exceptions import (
    DISCONNECTED,
    IncompleteBody,
    LocalProtocolError,
    RemoteProtocolError,
    ServerDisconnected,
)
from .._redact import is_secret_field, redact_target, shown_name
from ..rules import BODYLESS
from .greetings import explain_start
from .h1_grammar import (
    CONTROLS_TO_SPACES,
    ILLEGAL_STATUS_LINE,
    MAX_LENGTH_DIGITS,
    TOKEN,
    Headers,
    broken,
    is_loose_name,
    is_token,
    match_loose_status,
    shown_length,
    tokens,
)
from .limits import MAX_FIELDS
from .oddities import report

if TYPE_CHECKING:
    # Loaded with the first message that is not plain: many programs never meet one.
    import h11

MAX_HEAD = 100 * 1024
"""Bytes. The longest head, chunk line or trailer section that is read. Six times h11's default:
servers with many cookies or long policies send 64 KiB heads, none is known to send more."""

MAX_SECTION = MAX_HEAD + 2
"""Bytes. A head or trailer section of MAX_HEAD with the empty line that ends it, which h11 does not
count."""

_KNOWN_INTERIM = frozenset([100, 102, 103, 104])
"""Interim responses that are registered, and so are followed by the final one."""

MAX_INFORMATIONAL = 64
"""Interim (1xx) responses before the final one. Real servers send a handful; a server that
sends them for ever must not keep us reading for ever."""

CHUNKED = -1
"""The body length `encode_request` gives for ``Transfer-Encoding: chunked``."""

LAST_CHUNK = b"0\r\n\r\n"
"""What ends a chunked body without trailers (RFC 9112 section 7.1)."""

MAX_STATUS_START = 256
"""Bytes of an answer in which its first bytes are checked; more than any status line needs to be
distinguished from something else, and few enough to look at again with each byte that arrives."""

# ---------------------------------------------------------------------------------------------
# The grammar, with what `h1_grammar` has of it
#
# The speed of this file is the speed of these patterns, so each is written for the regular
# expression engine: `.` (anything but LF) is its fastest class, and every pattern is linear,
# whatever the peer sends. `.` lets bytes through that a field value must not have, so fields are
# only believed when the head has exactly two _CONTROLS for each of them and four for its first
# line and its end: then no line failed to match, and none has a control character in it.

_match_status = re.compile(rb"(HTTP/1\.[01]) ([2-9][0-9][0-9])(?: (.*))?\r\n").match
_is_request_line = re.compile(TOKEN + rb" [!-~]+ HTTP/1\.1\r\n").fullmatch

# One (name, value) for each line of the plainest kind: one space after the colon, then a value
# that is not empty and does not end with a space. `^` ties the search to line starts.
_find_fields = re.compile(rb"(?m)^(" + TOKEN + rb"): (\S.*)(?<! )\r\n").findall


def _beginnings(*steps: bytes) -> bytes:
    """Return a pattern for all that may still become `steps`, one after the other."""
    pattern = b""
    for step in reversed(steps):
        pattern = b"(?:%b%b)?" % (step, pattern)
    return pattern


# A status line as far as it came, without its LF: as h11 reads it, and as `h1_repairs` does.
_HTTP_1 = (b"H", b"T", b"T", b"P", b"/", b"1", rb"\.", b"[0-9]")
_STATUS_CODE = (b"[1-9]", b"[0-9]", b"[0-9]")
_may_begin = re.compile(_beginnings(*_HTTP_1, b" ", *_STATUS_CODE, rb"[ \r].*")).fullmatch
_may_begin_loose = re.compile(
    rb"[ \t]*" + _beginnings(*_HTTP_1, rb"[ \t]+", *_STATUS_CODE, rb"[ \t].*")
).fullmatch
_is_begun = re.compile(rb"HTTP/1\.[0-9] [1-9][0-9][0-9](?:[ \r].*)?").fullmatch

# What a field value must not have (RFC 9110 section 5.5, and h11's field-value), and HTAB, which
# is allowed but rare enough to be declined.
_CONTROLS = b"\0\t\n\v\f\r"

# The same in a head split into lines, where LF and CR LF are at home.
_find_bad_control = re.compile(rb"[\0\v\f]|\r(?!\n)").search

# Where a head or a trailer section ends; bare LF counts, as it does for h11.
_find_blank_line = re.compile(rb"\n\r?\n").search

# A chunk line: the size, then extensions that are not read, or white space some servers add.
_CHUNK_LINE = rb"([0-9A-Fa-f]{1,20})(?:;.*|[ \t]*)\r\n"
_match_first_chunk = re.compile(_CHUNK_LINE).match
_match_next_chunk = re.compile(rb"\r\n" + _CHUNK_LINE).match

# The same with a bare LF for any CR LF, as http.client and curl read it.
_LOOSE_CHUNK_LINE = rb"([0-9A-Fa-f]{1,20})(?:;.*|[ \t]*)\r?\n"
_match_loose_first_chunk = re.compile(_LOOSE_CHUNK_LINE).match
_match_loose_next_chunk = re.compile(rb"\r?\n" + _LOOSE_CHUNK_LINE).match

_search_timeout = re.compile(rb"(?i)(?:^|[,; \t])timeout[ \t]*=[ \t]*\"?([0-9]{1,9})").search

# Header names that decide how a message is framed or what becomes of its connection.
_RESPONSE_STEERING = frozenset(
    [b"content-length", b"transfer-encoding", b"connection", b"keep-alive"]
)
_REQUEST_STEERING = frozenset(
    [b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade"]
)


# ---------------------------------------------------------------------------------------------
# Sending

MAX_KNOWN_HEADS = 64
"""Lists of header fields whose heads are remembered: those of a few sessions."""

MAX_KNOWN_HEAD = 2048
"""Bytes of a head that is remembered; a browser's is half as long."""

#: Fields whose values are another one in each request, or for each client of a gateway.
_CHANGING = frozenset(
    [b"x-request-id", b"x-correlation-id", b"traceparent", b"forwarded", b"x-forwarded-for"]
)


def _is_gap(name: bytes) -> bool:
    """Return whether a remembered head leaves the value of the field `name` out."""
    return is_secret_field(name) or name.lower() in _CHANGING


_leaves_out = lru_cache(512)(_is_gap)

# Heads of requests without a body, with a gap for the target and one for each value that may be
# secret, or that changes; whether there are any of these; and whether the request is special. By
# everything else.
_known_heads: dict[tuple[object, ...], tuple[bytes, bool, bool]] = {}

# Hashes of keys that were seen once. The heads of programs that number their requests never come
# again.
_seen_once: set[int] = set()

_TUPLE = {tuple}


def encode_request(
    method: bytes, target: bytes, headers: Headers, lenient: bool = False
) -> tuple[bytes, int, bool]:
    """Write a request head, refusing everything that is not exactly one request.

    Most requests of a session differ in the target alone, and in identifiers. So the head that a
    list of fields makes is remembered, without the target and the values that may be secret or
    change each time: those are checked, and filled in.

    Parameters:
        method: the method, a token such as ``b"GET"``.
        target: the request target (RFC 9112 section 3.2), visible ASCII.
        headers: name and value pairs in the order to send; exactly one Host among them. Not
            changed. Host is sent first (RFC 9110 section 7.2).
        lenient: accept names that are no tokens, such as ``a[0]``: visible ASCII, no colon.

    Returns:
        The bytes of the head; the body's length in bytes, or CHUNKED; and whether the answer
        depends on more of the request than its method (CONNECT, Upgrade, Connection: close),
        so that it must be read by a `HeadReader` that was given the same headers.

    Raises:
        LocalProtocolError: a part is not valid HTTP; the text names it, and never shows the
            value of a header that carries credentials.
        TypeError: a part is not bytes.
    """
    key: tuple[object, ...] | None = None
    try:
        fields = [field[0] if _leaves_out(field[0]) else field for field in headers]
        key = (lenient, method, *fields)
        known = _known_heads.get(key)
        if known is not None and _is_target(target) is not None:
            template, has_gaps, special = known
            if not has_gaps:
                return template % target, 0, special
            values = [value for name, value in headers if _leaves_out(name)]
            lines = b"\n".join(values)
            # A value with a line break in it would be two lines.
            are_whole = lines.count(b"\n") < len(values) and set(map(type, headers)) == _TUPLE
            if are_whole and _are_values(lines) is not None:
                return template % (target, *values), 0, special
    except (TypeError, ValueError, AttributeError, LookupError):
        key = None  # a part is not bytes, a field is no pair: `_encode_new` says which
    made = _encode_new(method, target, headers, lenient)
    if key is not None and not made[1] and len(made[0]) <= MAX_KNOWN_HEAD:
        _remember(key, made[0], made[2], target, headers)
    return made


def _remember(
    key: tuple[object, ...], head: bytes, special: bool, target: bytes, headers: Headers
) -> None:
    """Remember a head that was made for the second time, where its fields are as they were given:
    Host is moved to the front, and a repeated length left out."""
    mark = hash(key)
    if mark not in _seen_once:
        if len(_seen_once) >= MAX_KNOWN_HEADS:
            _seen_once.clear()
        _seen_once.add(mark)
        return
    values = [value for name, value in headers if _leaves_out(name)]
    lines = [head[: head.index(b" ")].replace(b"%", b"%%") + b" %b HTTP/1.1"]
    for name, value in headers:
        shown = b"%b" if _leaves_out(name) else value.replace(b"%", b"%%")
        lines.append(name.replace(b"%", b"%%") + b": " + shown)
    template = b"\r\n".join([*lines, b"", b""])
    if template % (target, *values) == head:
        if len(_known_heads) >= MAX_KNOWN_HEADS:
            _known_heads.clear()
        _known_heads[key] = template, bool(values), special


def _encode_new(
    method: bytes, target: bytes, headers: Headers, lenient: bool = False
) -> tuple[bytes, int, bool]:
    """Do what `encode_request` does, for fields that are not remembered.

    The head is built and then read back: the fields that come out must be the fields that went
    in, so no value can smuggle a line in, however it is spelled. Where they are not, or where
    the head is not plain, each part is checked by itself.
    """
    try:
        start = b"%b %b HTTP/1.1\r\n" % (method, target)
        head = start + b"\r\n".join(map(b": ".join, headers)) + b"\r\n\r\n"
    except TypeError:
        _check_request(method, target, headers)
        raise
    fields: Headers = _find_fields(head, len(start))
    if (
        fields != headers
        or _is_request_line(start) is None
        or len(head) - len(head.translate(None, _CONTROLS)) != 2 * len(fields) + 4
    ):
        _check_request(method, target, headers, lenient)
        fields = list(headers)

    seen: dict[bytes, bytes] = {}
    for name, value in fields:
        name = name.lower()
        if name in _REQUEST_STEERING:
            if name in seen:
                if name == b"content-length" and value == seen[name]:
                    return _encode_new(method, target, _without_repeats(fields), lenient)
                value = _combined(name, seen[name], value)
            seen[name] = value
    if b"host" not in seen:
        raise LocalProtocolError("Host header is missing")
    if fields[0][0].lower() != b"host":
        # sorted() is stable: Host moves to the front, the others keep their order.
        fields.sort(key=lambda field: field[0].lower() != b"host")
        return _encode_new(method, target, fields, lenient)
    length = 0
    if b"content-length" in seen or b"transfer-encoding" in seen:
        length = _request_length(seen)
    special = method == b"CONNECT" or b"upgrade" in seen
    if b"connection" in seen and b"close" in seen[b"connection"].lower():
        special = True
    return head, length, special


def _combined(name: bytes, first: bytes, second: bytes) -> bytes:
    """Return the one field that two request fields of the same name amount to, where that is
    allowed at all."""
    if name == b"host":
        raise LocalProtocolError("more than one Host header")
    if name == b"transfer-encoding":
        raise LocalProtocolError("more than one Transfer-Encoding header")
    if name == b"content-length":
        raise LocalProtocolError("two different Content-Length headers")
    return first + b", " + second


def _without_repeats(headers: Headers) -> Headers:
    """Return the fields with one Content-Length where several agree, as h11 sends them."""
    first = next(i for i, field in enumerate(headers) if field[0].lower() == b"content-length")
    return [
        field
        for i, field in enumerate(headers)
        if i == first or field[0].lower() != b"content-length"
    ]


def _request_length(seen: dict[bytes, bytes]) -> int:
    """Return the body length of a request that announces one (RFC 9112 section 6)."""
    coding = seen.get(b"transfer-encoding")
    length = seen.get(b"content-length", b"")
    if coding is not None:
        if coding.lower() != b"chunked":
            raise LocalProtocolError("Transfer-Encoding: only chunked can be sent")
        if b"content-length" in seen:
            # RFC 9112 section 6.2: a sender MUST NOT. It is what request smuggling is made of.
            raise LocalProtocolError("both Content-Length and Transfer-Encoding are set")
        return CHUNKED
    if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
        raise LocalProtocolError(
            f"Content-Length must be 1 to {MAX_LENGTH_DIGITS} digits, got {shown_length(length)}"
        )
    return int(length)


_is_target = re.compile(rb"[!-~]+").fullmatch
_VALUE = rb"(?:|[^\0\s](?:[^\0\n\v\f\r]*[^\0\s])?)"
_is_value = re.compile(_VALUE).fullmatch
_are_values = re.compile(_VALUE + rb"(?:\n" + _VALUE + rb")*").fullmatch  # a line for each


def _check_request(
    method: object, target: object, headers: Iterable[object], lenient: bool = False
) -> None:
    """Name the part of a request that cannot be sent, if there is one."""
    for part, label, is_valid in (
        (method, "method", is_token),
        (target, "request target", _is_target),
    ):
        if not isinstance(part, bytes):
            raise TypeError(f"the {label} must be bytes, not {type(part).__name__}")
        if is_valid(part) is None:
            shown = shown_name(part) if part is method else repr(redact_target(part)[:80])
            raise LocalProtocolError(f"illegal character in the {label} {shown}")
    # No value is shown, whatever its name: programs have secret fields of their own.
    for field in headers:
        if not isinstance(field, tuple) or len(field) != 2:
            first = field[0] if isinstance(field, (tuple, list)) and field else field
            kind = f"{type(field).__name__} that begins with {shown_name(first)}"
            raise TypeError(f"each header must be a (name, value) tuple, not a {kind}")
        name, value = field
        for label, part in (("name", name), ("value", value)):
            if not isinstance(part, bytes):
                kind = type(part).__name__
                shown = shown_name(name)
                raise TypeError(f"the {label} of header {shown} must be bytes, not {kind}")
        if is_token(name) is None and (not lenient or is_loose_name(name) is None):
            raise LocalProtocolError(f"illegal header name {shown_name(name)}")
        if _is_value(value) is None:
            raise LocalProtocolError(
                f"illegal value of header {shown_name(name)} "
                "(a line break, NUL, or white space at an end)"
            )


def encode_chunk(data: bytes) -> bytes:
    """Write one chunk (RFC 9112 section 7.1).

    Parameters:
        data: payload bytes. Empty gives empty: a chunk of size 0 would end the body.

    Returns:
        The bytes to send.
    """
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


# ---------------------------------------------------------------------------------------------
# Receiving: bodies


class LengthReader:
    """A body of known length (RFC 9112 section 6.3, rules 1 and 6).

    Attributes:
        length: bytes announced.
        remaining: bytes still to come.
        done: the body is complete.
        excess: bytes that came after the end; a connection with any is never reused.
        doubtful: False: the end of such a body is certain.
    """

    __slots__ = ("done", "excess", "length", "remaining")

    doubtful = False

    def __init__(self, length: int) -> None:
        self.length = length
        self.remaining = length
        self.done = length == 0
        self.excess = b""

    @property
    def received(self) -> int:
        """Return how many bytes of payload have arrived."""
        return self.length - self.remaining

    @property
    def trailers(self) -> Headers:
        """Return no trailers: only a chunked body can have them."""
        return []

    def feed(self, data: bytes) -> bytes:
        """Give the payload in `data`: all of it, uncopied, unless the body ends inside."""
        remaining = self.remaining - len(data)
        if remaining > 0:
            self.remaining = remaining
            return data
        self.done = True
        if remaining < 0:
            cut = self.remaining
            self.excess += data[cut:]
            data = data[:cut]
        self.remaining = 0
        return data

    def took(self, count: int) -> None:
        """Note that `count` payload bytes were read past this reader, into a caller's buffer."""
        self.remaining -= count
        if self.remaining <= 0:
            self.remaining = 0
            self.done = True

    def feed_eof(self) -> None:
        """Note that the peer closed.

        Raises:
            IncompleteBody: the body had not ended.
        """
        if not self.done:
            raise IncompleteBody(
                f"server closed the connection after {self.received} of {self.length} body bytes",
                self.received,
                self.length,
            )


class CloseReader:
    """A body that ends when the connection does (RFC 9112 section 6.3, rule 8)."""

    __slots__ = ("done", "excess", "received")

    doubtful = False

    def __init__(self) -> None:
        self.received = 0
        self.done = False
        self.excess = b""

    @property
    def trailers(self) -> Headers:
        """Return no trailers: only a chunked body can have them."""
        return []

    def feed(self, data: bytes) -> bytes:
        """Give the payload in `data`, which is all of it."""
        self.received += len(data)
        return data

    def feed_eof(self) -> None:
        """Note that the peer closed, which is the legal end of this body."""
        self.done = True


class ChunkedReader:
    """A chunked body (RFC 9112 section 7.1).

    Chunk lines have h11's grammar exactly, so a line that is refused here h11 refuses too;
    trailers, where there are any, are read by h11. A lenient reader goes on with
    `_LOOSE_CHUNK_LINE` from the first line on that h11 refuses.

    The reader is always in one of three places: inside a chunk (`_left` > 0 bytes of it to
    come), before a chunk line (`_partial` holds the part of it that came), or after the last
    chunk line (`_section` collects the trailers).

    Parameters:
        lenient: see the attribute.
        peer: the origin that sends it, for the log.

    Attributes:
        lenient: end of connection after the last chunk line is a legal end, malformed
            trailer lines are skipped, and lines may end in a bare LF, as for http.client.
        doubtful: a line did end in a bare LF; the connection is not reused, since others on the
            way may have seen another end of the body.
        received: payload bytes so far.
        done: the body is complete.
        excess: bytes that came after the end; a connection with any is never reused.
        trailers: the trailer fields, once the body is complete.
    """

    __slots__ = (
        "_ends_in_cr",
        "_left",
        "_match_line",
        "_partial",
        "_peer",
        "_section",
        "done",
        "doubtful",
        "excess",
        "lenient",
        "received",
        "trailers",
    )

    def __init__(self, lenient: bool = False, peer: object = None) -> None:
        self.lenient = lenient
        self._peer = peer
        self.doubtful = False
        self.received = 0
        self.done = False
        self.excess = b""
        self.trailers: Headers = []
        self._ends_in_cr = False
        self._left = 0
        self._match_line = _match_first_chunk
        self._partial = bytearray()
        self._section: _Section | None = None

    def feed(self, data: bytes) -> bytes:
        """Give the payload in `data`, in order, without the framing.

        Data that lies inside one chunk is given as it is, uncopied.

        Raises:
            RemoteProtocolError: the chunk framing or a trailer is not valid. Its ``payload`` is
                what came before the fault, in the same `data`.
        """
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            self.received += len(data)
            return data
        if left:
            return self._walk(data, [data[:left]], left)
        if self.done or self._section is not None:
            self._feed_section(data)
            return b""
        if self._partial:
            if len(self._partial) > 1 and b"\n" not in data:
                self._keep(data)
                return b""
            data = bytes(self._partial) + data
            self._partial.clear()
        return self._walk(data, [], 0)

    def _walk(self, data: bytes, parts: list[bytes], position: int) -> bytes:
        """Go from chunk to chunk; `position` is where a chunk line is due."""
        size = len(data)
        match_line = self._match_line
        match_next = _match_loose_next_chunk if self.doubtful else _match_next_chunk
        left = 0
        while match := match_line(data, position):
            match_line = match_next
            position = match.end()
            left = int(match[1], 16)
            if not left:
                if data.startswith(b"\r\n", position):
                    self.done = True
                    self.excess = data[position + 2 :]
                    position = size
                else:
                    self._section = _Section("trailer section", start=b"\n")
                break
            stop = position + left
            parts.append(data[position:stop])
            left = stop - size
            if left >= 0:
                position = size
                break
            left = 0
            position = stop
        self._match_line = match_line
        self._left = left
        payload = parts[0] if len(parts) == 1 else b"".join(parts)
        self.received += len(payload)
        if payload:
            self._ends_in_cr = payload[-1] == 13
        if position < size:
            try:
                if self._section is None and self._starts_to_doubt(data[position:]):
                    return payload + self._walk(data[position:], [], 0)
                self._feed_rest(data[position:])
            except RemoteProtocolError as exc:
                exc.payload = payload + exc.payload
                raise
        return payload

    def _starts_to_doubt(self, rest: bytes) -> bool:
        """Return whether `rest` can only be read with bare LFs for line ends; then lines are read
        so."""
        if not self.lenient or self.doubtful or b"\n" not in rest:
            return False
        first = self._match_line is _match_first_chunk
        match_line = _match_loose_first_chunk if first else _match_loose_next_chunk
        if match_line(rest) is None and (first or rest[:1] != b"\n"):
            return False
        if not first and rest[:1] == b"\n" and self._ends_in_cr:
            return False  # CR LF, one byte too late: the chunk is longer than what was meant
        report(self._peer, "malformed chunked body: a chunk line or a chunk ends in a bare LF")
        self.doubtful = True
        self._match_line = match_line
        return True

    def _feed_rest(self, rest: bytes) -> None:
        """Take what follows the last whole chunk line: trailers, or the start of a line."""
        if self._section is not None:
            self._feed_section(rest)
            return
        line = rest
        if self._match_line in (_match_next_chunk, _match_loose_next_chunk):
            end = b"\n" if self.doubtful and rest[:1] == b"\n" else b"\r\n"
            if not end.startswith(rest[: len(end)]):
                raise broken(f"malformed chunk end {rest[:2]!r}, expected CR LF")
            line = rest[len(end) :]
        if b"\n" in line:
            # Complete, since no chunk line may have a bare LF in it, and yet it did not match.
            raise broken(f"illegal chunk line of {line.index(10) + 1} bytes")
        self._keep(rest)

    def _keep(self, data: bytes) -> None:
        """Keep a piece of a chunk line that has not ended yet."""
        self._partial += data
        if len(self._partial) > MAX_HEAD:
            raise broken(f"chunk line longer than {MAX_HEAD} bytes")

    def _feed_section(self, data: bytes) -> None:
        """Take what follows the last chunk line: the trailer section, then excess."""
        if self.done:
            self.excess += data
            return
        assert self._section is not None
        block = self._section.feed(data)
        if block is not None:
            self.trailers, trusted = _read_trailers(block, self.lenient, self._peer)
            self.doubtful = self.doubtful or not trusted
            self.excess = self._section.rest()
            self.done = True

    def feed_eof(self) -> None:
        """Note that the peer closed.

        Raises:
            IncompleteBody: the last chunk, or the blank line after it, had not come. A lenient
                reader lets the blank line be missing, as http.client does.
        """
        if self.lenient and self._section is not None:
            self.done = True
        if not self.done:
            raise _incomplete_chunk(self.received)


BodyReader = LengthReader | ChunkedReader | CloseReader


# ---------------------------------------------------------------------------------------------
# Receiving: heads


class Head:
    """The head of a final response, and what follows from it.

    Attributes:
        http_version: ``b"HTTP/1.1"`` or ``b"HTTP/1.0"`` (another minor version as it came).
        status: 200 to 999, or 101 when the connection switched protocols; leniently any other
            1xx but 100, when nothing followed it.
        reason: the reason phrase, possibly empty.
        headers: the fields in order, names in their original case.
        body: the reader of the body; `rest` has not been fed to it yet.
        keep_alive: whether the connection may be reused once ``body.done`` with no ``excess``.
        keep_alive_timeout: seconds the server says it keeps an idle connection, or None.
        switched: the connection now belongs to another protocol (1xx, or 2xx to CONNECT);
            `rest` is its first bytes.
        rest: the bytes that came after the head.
    """

    __slots__ = (
        "body",
        "headers",
        "http_version",
        "keep_alive",
        "keep_alive_timeout",
        "reason",
        "rest",
        "status",
        "switched",
    )

    def __init__(
        self,
        http_version: bytes,
        status: int,
        reason: bytes,
        headers: Headers,
        body: BodyReader,
        keep_alive: bool,
        keep_alive_timeout: float | None,
        switched: bool,
        rest: bytes,
    ) -> None:
        self.http_version = http_version
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.keep_alive_timeout = keep_alive_timeout
        self.switched = switched
        self.rest = rest


def read_head(
    data: bytes, method: bytes, lenient: bool = False, peer: object = None
) -> Head | None:
    """Read a plain final head at the start of `data`, or decline.

    Parameters:
        data: everything received since the request was sent.
        method: the request's method; it decides whether there is a body. The answer to a
            request that `encode_request` calls special is for a `HeadReader`.
        lenient, peer: passed on to a chunked body; heads are read the same either way.

    Returns:
        The head, or None when it is incomplete or not plain. Nothing is consumed then.
    """
    end = data.find(b"\r\n\r\n") + 4
    match = _match_status(data)
    if match is None or not 4 <= end <= MAX_SECTION or method == b"CONNECT":
        return None
    fields: Headers = _find_fields(data, match.end(), end)
    head = data[:end]
    count = len(fields)
    if end - len(head.translate(None, _CONTROLS)) != 2 * count + 4 or count > MAX_FIELDS:
        return None
    version, status_digits, reason = match.groups()

    length = coding = timeout = None
    keep_alive = version == b"HTTP/1.1"
    for name, value in fields:
        name = name.lower()
        if name in _RESPONSE_STEERING:
            if name == b"content-length":
                if length is not None or not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
                    return None
                length = int(value)
            elif name == b"transfer-encoding":
                if coding is not None or value != b"chunked":
                    return None
                coding = value
            elif name == b"connection":
                if value != b"keep-alive" and b"close" in tokens(value):
                    keep_alive = False
            else:
                timeout = _keep_alive_timeout(value)
    if coding is not None and length is not None:
        return None

    status = int(status_digits)
    body: BodyReader
    if method == b"HEAD" or status in BODYLESS:
        body = LengthReader(0)
    elif coding is not None:
        body = ChunkedReader(lenient, peer)
    elif length is not None:
        body = LengthReader(length)
    else:
        body = CloseReader()
        keep_alive = False
    rest = data[end:]
    return Head(version, status, reason or b"", fields, body, keep_alive, timeout, False, rest)


class HeadReader:
    """Reads the head of the final response to one request, from bytes in any split.

    Parameters:
        method: the request's method.
        headers: the request's fields; only Connection and Upgrade are looked at.
        lenient: read malformed heads as http.client and urllib3 do; see `h1_repairs` and
            `feed_eof`. A 101 is accepted although the request asked for no upgrade.
        informational: called with status and fields of each interim (1xx) response.
        peer: the origin that answers, for the log: each oddity is logged once for each.
    """

    def __init__(
        self,
        method: bytes,
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        lenient: bool = False,
        informational: Callable[[int, Headers], None] | None = None,
        peer: object = None,
    ) -> None:
        self._method = method
        self._lenient = lenient
        self._peer = peer
        self._informational = informational
        self._passed = [
            field for field in headers if field[0].lower() in (b"connection", b"upgrade")
        ]
        self._plain = method != b"CONNECT"
        self._keep_alive = True
        for name, value in self._passed:
            if name.lower() == b"upgrade":
                self._plain = False
            elif b"close" in tokens(value):
                self._keep_alive = False
        self._section = _Section("response head")
        self._begun = False  # the status line is there, or more than MAX_STATUS_START bytes
        self._interim = 0
        # The last interim response, where it becomes the final one if nothing follows.
        self._last: Head | None = None
        self._accepts_any = lenient and method != b"CONNECT"
        if self._accepts_any and self._plain:
            self._passed.append((b"Upgrade", b"any"))  # to h11 alone, which then lets a 101 pass

    @property
    def may_be_final(self) -> bool:
        """Return whether the last thing that came, as a whole, was an interim response of unknown
        status. Leniently it is taken for the final one if nothing follows: programs answer with any
        status, and http.client takes it for the response at once."""
        last = self._last
        return last is not None and last.status not in _KNOWN_INTERIM and not self._section.held

    def feed(self, data: bytes) -> Head | None:
        """Add bytes from the server.

        Returns:
            The final head once it is complete, else None.

        Raises:
            RemoteProtocolError: this is not an HTTP/1.x response head, or it is longer than
                MAX_HEAD, or has more than MAX_FIELDS lines, or more than MAX_INFORMATIONAL interim
                responses came. It is raised with the first byte that cannot be part of a status
                line: a server of another protocol may wait for us while we would wait for it.
            ConflictingLengths: two different Content-Lengths.
        """
        while True:
            if not self._begun:
                self._check_start(data)
            block = self._section.feed(data)
            if block is None:
                return None
            self._begun = False
            head = self._read_block(block)
            if head is not None:
                head.rest = self._section.rest()
                return head
            data = b""

    def feed_eof(self) -> Head:
        """Note that the peer closed before the final head was complete, or, where
        `may_be_final`, that nothing followed for a while.

        Returns:
            When reading leniently, the head of a server that closed after a whole line, as if
            the blank line had come: http.client takes the end of the data for it. Its body was
            not read, and its framing shows whether anything is missing. Where nothing at all
            followed an interim response, that one, with the connection handed over.

        Raises:
            ServerDisconnected: no byte came at all.
            RemoteProtocolError: part of an answer came.
        """
        held = self._section.held
        if not held and not self._interim:
            raise ServerDisconnected(DISCONNECTED)
        if not held and self._last is not None:
            report(self._peer, f"interim response {self._last.status} taken for the final one")
            return self._last
        head = self._read_cut() if self._lenient else None
        if head is not None:
            return head
        raise broken(
            f"server closed the connection after {held} bytes of an incomplete response head"
            + (f" and {self._interim} interim responses" if self._interim else "")
        )

    def _read_cut(self) -> Head | None:
        """Return the final head in what is held, where it ends with a line.

        A line without its end is not believed, unlike by http.client: it may be half a length
        or half a name. Nor is what hands the connection over.
        """
        block = self._section.rest()
        if self._method == b"CONNECT" or not block.endswith((b"\n", b"\n\r")):
            return None
        head = self._read_block(block.removesuffix(b"\r") + b"\r\n")
        if head is None or head.switched:
            return None
        report(self._peer, "malformed response head: ended by the end of the connection")
        head.keep_alive = False
        return head

    def _check_start(self, data: bytes) -> None:
        """Refuse what cannot become a status line without waiting for the rest of it.

        http.client decides when it has a line, and waits for ever for one of a TLS or HTTP/2
        server; a lenient reader lets white space come first, as http.client does.
        """
        start = (self._section.start(MAX_STATUS_START) + data)[:MAX_STATUS_START]
        line, newline, _ = start.partition(b"\n")
        self._begun = bool(newline) or len(start) == MAX_STATUS_START
        if self._lenient and line[:1] not in b"\0\v\f\r":
            # CR ends the line here, or is one of the control characters that become spaces.
            line = line.translate(CONTROLS_TO_SPACES)
            fits = match_loose_status if newline else _may_begin_loose
        else:
            fits = _is_begun if newline else _may_begin
        if fits(line) is None:
            raise broken(f"{ILLEGAL_STATUS_LINE}: {explain_start(start)}")

    def _read_block(self, block: bytes) -> Head | None:
        """Read one complete head; None when it is an interim one."""
        _check_count("response head", block.count(b"\n") - 2)  # its first line, and the blank one
        if self._plain:
            head = read_head(block, self._method, self._lenient, self._peer)
            if head is not None:
                head.keep_alive = head.keep_alive and self._keep_alive
                return head
        try:
            event = self._read_with_h11(block)
            # h11 drops a repeated length and changes the case of a coding; a lenient reader
            # shows what the server said, as http.client does.
            fields: Headers = (
                _read_odd_fields(block, 1, self._peer)[0]
                if self._lenient
                else event.headers.raw_items()
            )
            trusted = True
        except RemoteProtocolError:
            repaired = _repair_head(block, self._peer) if self._lenient else None
            if repaired is None:
                raise
            block, fields, trusted = repaired
            event = self._read_with_h11(block)
        if event.status_code < 200 and event.status_code != 101:
            self._note_interim(event.status_code, fields)
            # http.client skips 100 as well.
            if self._accepts_any and event.status_code != 100:
                self._last = self._interpret(event, fields, trusted)
            return None
        return self._interpret(event, fields, trusted)

    def _read_with_h11(self, block: bytes) -> h11.Response | h11.InformationalResponse:
        """Return one complete head as h11 reads it."""
        import h11

        event = _ask_h11(_h11_connection(self._method, self._passed), block)
        assert isinstance(event, (h11.Response, h11.InformationalResponse))
        if event.http_version[:2] != b"1.":
            version = event.http_version.decode("ascii")
            raise broken(f"illegal status line: HTTP/{version} is not HTTP/1.x")
        return event

    def _note_interim(self, status: int, fields: Headers) -> None:
        self._interim += 1
        if self._interim > MAX_INFORMATIONAL:
            raise broken(f"more than {MAX_INFORMATIONAL} interim (1xx) responses")
        if self._informational is not None:
            self._informational(status, fields)

    def _interpret(
        self,
        event: h11.Response | h11.InformationalResponse,
        fields: Headers,
        trusted: bool,
    ) -> Head:
        """Return what a head that h11 read means; the same decisions as in `read_head`."""
        length = coding = timeout = None
        keep_alive = self._keep_alive and trusted and event.http_version >= b"1.1"
        for name, value in event.headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                coding = value
            elif name == b"connection":
                keep_alive = keep_alive and b"close" not in tokens(value)
            elif name == b"keep-alive":
                timeout = _keep_alive_timeout(value)
        status = event.status_code
        switched = status < 200 or (self._method == b"CONNECT" and 200 <= status < 300)
        body: BodyReader
        if switched or self._method == b"HEAD" or status in BODYLESS:
            body = LengthReader(0)
        elif coding is not None:
            body = ChunkedReader(self._lenient, self._peer)
        elif length is not None:
            body = LengthReader(length)
        else:
            body = CloseReader()
            keep_alive = False
        # RFC 9112 section 6.3, rule 3: both at once ought to be handled as an error. It is
        # read, as h11 and http.client do, and the connection is not trusted afterwards.
        if switched or (coding is not None and length is not None):
            keep_alive = False
        version = b"HTTP/" + event.http_version
        return Head(version, status, event.reason, fields, body, keep_alive, timeout, switched, b"")


class _Section:
    """Collects bytes up to a blank line, looking at each byte once.

    Parameters:
        what: the name of the section for the error text.
        start: bytes that count as already there, without being given back. A trailer section
            begins after a line end, so that a blank line at once is an empty section.
    """

    def __init__(self, what: str, start: bytes = b"") -> None:
        self._what = what
        self._start = len(start)
        self._buffer = bytearray(start)
        self._searched = 0

    @property
    def held(self) -> int:
        """Return the bytes that wait."""
        return len(self._buffer) - self._start

    def start(self, count: int) -> bytes:
        """Return the first `count` bytes that wait, or all of them if there are fewer."""
        return bytes(self._buffer[self._start : self._start + count])

    def feed(self, data: bytes) -> bytes | None:
        """Add bytes; give the section, blank line included, once it is complete."""
        self._buffer += data
        match = _find_blank_line(self._buffer, self._searched)
        end = len(self._buffer) if match is None else match.end()
        if end - self._start > MAX_SECTION:
            raise broken(f"{self._what} longer than {MAX_HEAD} bytes")
        if match is None:
            # The blank line may begin in the last two bytes.
            self._searched = max(0, end - 2)
            return None
        section = bytes(self._buffer[self._start : end])
        del self._buffer[:end]
        self._searched = self._start = 0
        return section

    def rest(self) -> bytes:
        """Take the bytes after the section."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


def _keep_alive_timeout(value: bytes) -> float | None:
    """Return the seconds in ``Keep-Alive: timeout=N, max=M`` (RFC 2068 section 19.7.1.1)."""
    match = _search_timeout(value)
    return None if match is None else float(match[1])


def _check_count(what: str, lines: int) -> None:
    """Refuse too many fields, in each way of reading. Folded lines count, too."""
    if lines > MAX_FIELDS:
        raise broken(
            f"{what} with {lines} header lines, and no more than {MAX_FIELDS} are read: does the "
            "server, or a proxy before it, repeat a field without end?"
        )


def _incomplete_chunk(received: int) -> IncompleteBody:
    return IncompleteBody(
        f"server closed after {received} body bytes, chunk incomplete", received, None
    )


# ---------------------------------------------------------------------------------------------
# h11, brought to the same point


def _h11_connection(method: bytes, passed: Headers) -> h11.Connection:
    """Return an h11 connection that has sent the request and waits for the answer.

    Only the method, Connection and Upgrade change how an answer is read, so only they are passed.
    """
    import h11

    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    try:
        request = h11.Request(method=method, target=b"/", headers=[(b"Host", b"peer"), *passed])
        connection.send(request)
        connection.send(h11.EndOfMessage())
    except h11.LocalProtocolError as error:
        raise LocalProtocolError(str(error)) from error
    return connection


def _ask_h11(connection: h11.Connection, block: bytes) -> object:
    """Return the event that h11 reads in these bytes.

    h11's field pattern takes quadratic time on a line of spaces that ends in a control
    character: half a minute for one head of 100 KiB. It refuses such a line in the end, so
    refusing it first changes nothing but the time.
    """
    import h11

    control = _find_bad_control(block)
    if control is not None:
        raise broken(f"control character {control[0]!r} in a header line")
    connection.receive_data(block)
    try:
        return connection.next_event()
    except h11.RemoteProtocolError as error:
        text = _without_quotation(str(error))
        error.__traceback__ = None  # h11 has a name for it in a frame that it came through
        if "_SWITCH_" in text:  # h11's name for it
            text = "it switched protocols (101) without having been asked to"
    raise broken(text)  # out here: h11's error quotes what came, which may hold a secret


def _without_quotation(text: str) -> str:
    """Return what h11 says, less the bytes that it quotes."""
    return re.sub(r"[:,]?\s*(?:bytearray\()?b(['\"]).*\1\)?", "", text, flags=re.DOTALL)


def _read_trailers(block: bytes, lenient: bool, peer: object) -> tuple[Headers, bool]:
    """Return the fields of a trailer section, blank line included, and whether what is odd about
    them leaves the framing certain."""
    if block in (b"\r\n", b"\n"):
        return [], True
    _check_count("trailer section", block.count(b"\n") - 1)
    import h11

    connection = _h11_connection(b"GET", [])
    _ask_h11(connection, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    try:
        event = _ask_h11(connection, b"0\r\n" + block)
    except RemoteProtocolError:
        if not lenient:
            raise
        # http.client throws trailers away unread, so they must not break the body here.
        return _read_odd_fields(block, 0, peer)
    assert isinstance(event, h11.EndOfMessage)
    return event.headers.raw_items(), True


# ---------------------------------------------------------------------------------------------
# Lenient reading: what `h1_repairs` reads, with a log of what was odd


def _repair_head(block: bytes, peer: object) -> tuple[bytes, Headers, bool] | None:
    """Return a head that h11 refuses, rewritten for it; its fields; and whether the framing can be
    trusted. None when even the status line is beyond repair."""
    from . import h1_repairs

    repaired = h1_repairs.repair_head(block)
    if repaired is None:
        return None
    head, read = repaired
    _report_each(read.oddities, peer)
    return head, read.fields, read.trusted


def _read_odd_fields(block: bytes, first: int, peer: object) -> tuple[Headers, bool]:
    """Return the fields of a section from its line `first` on, and whether what is odd about them
    leaves the framing certain."""
    from . import h1_repairs

    read = h1_repairs.read_fields(h1_repairs.split_lines(block)[first:])
    _report_each(read.oddities, peer)
    return read.fields, read.trusted


def _report_each(oddities: list[str], peer: object) -> None:
    for oddity in oddities:
        report(peer, f"malformed response fields: {oddity}")
