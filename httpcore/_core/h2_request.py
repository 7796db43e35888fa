"""The form of a request in HTTP/2: its fields, and the header block that says them.

Owns: which fields of an HTTP/1.1 request HTTP/2 has, what must not be sent, which fields may be
compressed, and what is remembered of the blocks. Must not know: frames, streams, sockets.

Remembering
-----------
The requests of a session differ in little but their path. Once all other fields are in the
compression table, writing them changes nothing in it, so the same fields give the same bytes until
something else changes the table. So a `KnownFields` is kept for each list of header fields, with
its block; a request with a known list is neither read again, nor checked again, nor compressed
again. Its path is always a literal: a path is of no use to the table.

Secrets
-------
Fields that may be secret (`_redact.is_secret`) are never compressed and never kept: neither in the
table, where a guess could be tested by the length of what is sent, nor with the known fields. They
go out as literals, in their places. All but long cookies say that whoever passes them on must not
compress them either.

Long values are literals, too. One that is larger than the table would only empty it, and hpack's
Huffman code takes time that grows with the square of the length: half a second for 64 KiB.

Sources: RFC 9113 sections 8.2 and 8.3 (fields), RFC 7541 sections 5 and 6 (how blocks are written)
and 7.1.3 (never indexed).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from hpack import NeverIndexedHeaderTuple

from .._exceptions import LocalProtocolError, ProtocolError
from .._redact import is_secret, redact_target, shown_name
from .hpack import HeaderEncoder, table_effect

Headers = list[tuple[bytes, bytes]]

MAX_TABLE = 4096
"""Bytes of our compression table, where the server allows more: it is searched from end to end for
each field, and the fields of one session fit."""

LONG_VALUE = 4096
"""Bytes from which on a value is neither compressed nor put into the table: all that it could do
there is push out everything else."""

MAX_KNOWN = 64
"""Lists of fields that are remembered with their blocks."""

MAX_KNOWN_SIZE = 2048
"""Bytes of a block that is remembered: more than a browser's, and they are 128 KiB at most."""

MAX_KNOWN_FIELDS = 4096
"""Bytes of names and values in a list that is remembered: what is more does not fit into the table,
and would be kept in vain. They are 256 KiB at most."""

MAX_NAMES = 512
"""Names of fields, as they were spelled, that are known to be secret or not. Programs use a few
dozen; one that makes names up must not fill the memory."""

CONNECTION_SPECIFIC = frozenset(
    [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"]
)
"""RFC 9113 section 8.2.2. Transfer-Encoding is one of them."""

# What Connection says in nearly all requests that have it; it names no field. (Joined with a comma
# in front.)
_USUAL_OPTIONS = frozenset([b",keep-alive", b",Keep-Alive", b",close"])

NAMES = rb"(?:\n[-!#$%&'*+.^_`|~0-9a-z]+)*"
"""A pattern for names, a line each: lower-case tokens (RFC 9113 section 8.2.1)."""

_are_request_names = re.compile(rb":method\n:scheme\n:authority\n:path" + NAMES).fullmatch
_find_bad_value = re.compile(rb"[\0\r]").search
_has_line_break = re.compile(rb"[\0\r\n]").search
_is_path = re.compile(rb"/[^\0\r\n]*|\*").fullmatch

# Values that must not enter the compression table of whoever passes them on (RFC 7541 section
# 7.1.3).
_SHORT_COOKIE = 20  # bytes; a longer one is too long to be guessed

# RFC 7541 section 6.2: the first byte of a literal field, in front of the number of its name.
_WITHOUT_INDEXING = 0x00
_NEVER_INDEXED = 0x10
# The numbers of names in the static table (RFC 7541 appendix A) that are written here.
_PATH = 4
_NUMBERS = {b"authorization": 23, b"cookie": 32, b"proxy-authorization": 49}


# ---------------------------------------------------------------------------------------------
# Fields


def request_fields(method: bytes, scheme: bytes, target: bytes, headers: Headers) -> Headers:
    """Return the fields of an HTTP/1.1 request as HTTP/2 has them (RFC 9113 section 8.3.1).

    Names become lower case, Host becomes ``:authority``. What concerns an HTTP/1.1 connection
    only (RFC 9113 section 8.2.2) has no meaning here and is left out: Connection and the fields
    that it names, Keep-Alive, Proxy-Connection, ``Transfer-Encoding: chunked``, Upgrade, and all
    of TE except ``trailers``. Headers that were copied from a browser have some of them.

    Parameters:
        method, scheme, target: of the request.
        headers: checked by `h1.encode_request` before; Host among them.

    Raises:
        LocalProtocolError: it asks for what HTTP/2 cannot do (CONNECT).
    """
    if method == b"CONNECT":
        raise LocalProtocolError("CONNECT over HTTP/2 is not built yet: use HTTP/1.1 for it")
    authority = b""
    rest: Headers = []
    for name, value in headers:
        name = name.lower()
        if name == b"host":
            authority = value
        elif name in CONNECTION_SPECIFIC:
            if name == b"transfer-encoding" and value.lower() != b"chunked":
                rest.append((name, value))  # it says what the body is, so it is refused
        elif name == b"te":
            if _names_trailers(value):
                rest.append((name, b"trailers"))
        elif _is_never_indexed(name, value):
            rest.append(NeverIndexedHeaderTuple(name, value))
        else:
            rest.append((name, value))
    options = _connection_options(headers)
    if options and options not in _USUAL_OPTIONS:
        rest = _without_named(rest, options)
    return [
        (b":method", method),
        (b":scheme", scheme),
        (b":authority", authority),
        (b":path", target),
        *rest,
    ]


def _is_never_indexed(name: bytes, value: bytes) -> bool:
    """Return whether nobody on the way may put this field into a compression table (RFC 7541
    section 7.1.3)."""
    if literal_start(name) is None:
        return False
    return name != b"cookie" or len(value) < _SHORT_COOKIE


def _connection_options(headers: Headers) -> bytes:
    """Return all that Connection says, each value with a comma in front."""
    return b"".join([b"," + value for name, value in headers if name.lower() == b"connection"])


def _names_trailers(value: bytes) -> bool:
    """Return whether a TE field says that trailers are accepted, the one thing it may say here."""
    return any(part.partition(b";")[0].strip() == b"trailers" for part in value.lower().split(b","))


def _without_named(fields: Headers, options: bytes) -> Headers:
    """Return the fields that Connection does not name (RFC 9110 section 7.6.1). TE, which it has to
    name in HTTP/1.1, stays: what is left of it is for the server."""
    named = {option.strip() for option in options.lower().split(b",")} - {b"te"}
    return [field for field in fields if field[0] not in named]


def check_fields(fields: Headers) -> None:
    """Raise LocalProtocolError for request fields that must not be sent (RFC 9113 section 8.2)."""
    names, values = zip(*fields, strict=True)
    lines = b"\n".join(names)
    if _are_request_names(lines) is None or lines.count(b"\n") != len(names) - 1:
        raise LocalProtocolError(
            "an HTTP/2 request has :method, :scheme, :authority and :path, then names in lower "
            f"case, not {', '.join(map(shown_name, names)):.400}"
        )
    path = values[3]
    if not path.startswith(b"/") and path != b"*":
        raise LocalProtocolError(
            f"the :path of an HTTP/2 request begins with /, not {redact_target(path)!r:.80}"
        )
    join_values(values, LocalProtocolError)
    if not CONNECTION_SPECIFIC.isdisjoint(names):
        name = next(filter(CONNECTION_SPECIFIC.__contains__, names))
        raise LocalProtocolError(
            f"{name.decode()} is a field of HTTP/1.1 connections and must not be sent over HTTP/2"
        )
    if b"te" in names and any(n == b"te" and v.lower() != b"trailers" for n, v in fields):
        raise LocalProtocolError("te may only be 'trailers' over HTTP/2")


def join_values(values: tuple[bytes, ...], kind: type[ProtocolError]) -> bytes:
    """Return the values, a line each; raise `kind` when one of them has a line break or a NUL."""
    lines = b"\n".join(values)
    if _find_bad_value(lines) is not None or lines.count(b"\n") != len(values) - 1:
        raise kind("a field value has a line break or a NUL in it")
    return lines


# ---------------------------------------------------------------------------------------------
# Header blocks


class KnownFields:
    """The fields of a request without its path and without the values that may be secret.

    Attributes:
        method: of the request.
        runs: fields to be compressed, in order; between two runs there is a secret one.
        blocks: the bytes of each run.
        epoch: the state of the table in which `blocks` say so; -1 for none.
    """

    __slots__ = ("blocks", "epoch", "method", "runs")

    def __init__(self, runs: list[Headers]) -> None:
        self.method = runs[0][0][1]
        self.runs = runs
        self.blocks: list[bytes] = []
        self.epoch = -1


class RequestHead(NamedTuple):
    """The checked fields of one request. It has its secrets: keep it no longer than the request.

    Parameters:
        known: the fields that other requests have, too.
        path: the field of the path, as it is written.
        secrets: the secret fields, as they are written.
    """

    known: KnownFields
    path: bytes
    secrets: list[bytes]


def _key(method: bytes, scheme: bytes, headers: Headers) -> tuple[object, ...]:
    """Return what requests with the same `KnownFields` have in common: secrets by name alone."""
    fields = [field if literal_start(field[0]) is None else field[0] for field in headers]
    return (method, scheme, *fields)


class HeadWriter:
    """Writes the header blocks of one connection.

    `read` may be called by any thread at any time; what it remembers is never changed in place.
    All else is for whoever has the connection.

    Parameters:
        encoder: compresses what is not remembered.
    """

    __slots__ = ("_encoder", "_epoch", "_known", "_size", "_smallest")

    def __init__(self, encoder: HeaderEncoder) -> None:
        self._encoder = encoder
        self._known: dict[tuple[object, ...], KnownFields] = {}
        self._epoch = 0  # goes up with each change of the table
        # What the server allows its copy of the table now, and allowed at the least since the last
        # block.
        self._size: int = encoder.header_table_size
        self._smallest = self._size

    # Reading

    def read(self, method: bytes, scheme: bytes, target: bytes, headers: Headers) -> RequestHead:
        """Return the fields of a request, for `write`. Arguments and errors are those of
        `request_fields` and `check_fields`."""
        known = self._known.get(_key(method, scheme, headers))
        if known is None or _is_path(target) is None:
            return self._read_new(method, scheme, target, headers)
        path = _PATH_START + _string(target)
        if len(known.runs) == 1:
            return RequestHead(known, path, [])
        secrets = [field for field in headers if literal_start(field[0]) is not None]
        if _has_line_break(b"".join([value for _, value in secrets])) is not None:
            return self._read_new(method, scheme, target, headers)
        return RequestHead(known, path, [_secret(*field) for field in secrets])

    def _read_new(
        self, method: bytes, scheme: bytes, target: bytes, headers: Headers
    ) -> RequestHead:
        """Do as `read` does, for fields that are not known, and remember them."""
        head = self.read_fields(request_fields(method, scheme, target, headers))
        options = _connection_options(headers)
        if options and options not in _USUAL_OPTIONS:
            return head  # a field that it names is left out, whatever else is known of that
        key = _key(method, scheme, headers)
        fields = [field for field in key if type(field) is tuple]
        if sum([len(name) + len(value) for name, value in fields]) > MAX_KNOWN_FIELDS:
            return head
        known = dict(self._known) if len(self._known) < MAX_KNOWN else {}
        known[key] = head.known
        self._known = known
        return head

    def read_fields(self, fields: Headers) -> RequestHead:
        """Return these fields, which `request_fields` has made, for `write`; raise as
        `check_fields` does."""
        check_fields(fields)
        runs: list[Headers] = [fields[:3]]
        secrets = []
        for name, value in fields[4:]:
            if literal_start(name) is None:
                runs[-1].append((name, value))
            else:
                secrets.append(_secret(name, value))
                runs.append([])
        return RequestHead(KnownFields(runs), _PATH_START + _string(fields[3][1]), secrets)

    # Writing

    def write(self, head: RequestHead) -> bytes:
        """Return the header block of a request, which has to be sent before any other."""
        known, path, secrets = head
        if known.epoch != self._epoch:
            return self._write_new(known, path, secrets)
        if not secrets:
            return path + known.blocks[0]
        return _join(path, known.blocks, secrets)

    def _write_new(self, known: KnownFields, path: bytes, secrets: list[bytes]) -> bytes:
        """Do as `write` does, with the encoder."""
        self._resize()
        # The pseudo-headers by themselves: a change of the table's size must be the first thing in
        # a block, and the path has to come before all other fields.
        pseudo = self._encode(known.runs[0][:3])
        blocks = [self._encode(known.runs[0][3:]), *map(self._encode, known.runs[1:])]
        whole = pseudo + _join(path, blocks, secrets)
        blocks[0] = pseudo + blocks[0]
        if not table_effect(b"".join(blocks), self._size)[0]:
            self._epoch += 1
        elif sum(map(len, blocks)) <= MAX_KNOWN_SIZE:
            known.blocks, known.epoch = blocks, self._epoch
        return whole

    def _encode(self, run: Headers) -> bytes:
        """Write some fields, those with long values without the encoder."""
        parts = []
        start = 0
        for position, (name, value) in enumerate(run):
            if len(value) >= LONG_VALUE:
                parts.append(self._compress(run[start:position]))
                parts.append(bytes([_WITHOUT_INDEXING]) + _string(name) + _string(value))
                start = position + 1
        parts.append(self._compress(run[start:]))
        return b"".join(parts)

    def _compress(self, run: Headers) -> bytes:
        return self._encoder.encode(run) if run else b""

    # The size of the table

    @property
    def header_table_size(self) -> int:
        """Bytes of the table; h2 sets what the server allows."""
        return self._size

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        self._size = min(value, MAX_TABLE)
        self._smallest = min(self._smallest, self._size)
        self._epoch += 1

    def _resize(self) -> None:
        """Let the next block begin with the smallest size since the last one, and the one that
        holds: neither less nor more (RFC 7541 section 4.2)."""
        for size in (self._smallest, self._size):
            if size != self._encoder.header_table_size:  # set twice alike, hpack forgets it
                self._encoder.header_table_size = size
        self._smallest = self._size

    def encode(self, headers: object) -> bytes:
        """Return any block, in place of h2's encoder: a stream is opened in h2 after its head was
        written, and what h2 writes for it is not sent."""
        return b"\x82"  # :method: GET


def _join(path: bytes, blocks: list[bytes], secrets: list[bytes]) -> bytes:
    """Return the path, then the blocks with a secret field between each two."""
    parts = [path, blocks[0]]
    for secret, block in zip(secrets, blocks[1:], strict=True):
        parts.append(secret)
        parts.append(block)
    return b"".join(parts)


# ---------------------------------------------------------------------------------------------
# How blocks are written (RFC 7541 sections 5 and 6)


def _integer(first: int, bits: int, value: int) -> bytes:
    """Return an integer with a prefix of `bits` bits, behind those that are set in `first`."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    digits = bytearray([first | most])
    value -= most
    while value >= 128:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)


_SHORT_LENGTHS = [bytes([length]) for length in range(127)]


def _string(value: bytes) -> bytes:
    """Return a string literal, without Huffman's code."""
    length = len(value)
    if length < 127:
        return _SHORT_LENGTHS[length] + value
    return _integer(0, 7, length) + value


@lru_cache(MAX_NAMES)
def literal_start(name: bytes) -> bytes | None:
    """Return how the literal of a field begins that may be secret; None for any other."""
    name = name.lower()
    if not is_secret(name):
        return None
    number = _NUMBERS.get(name)
    if number is None:
        return bytes([_NEVER_INDEXED]) + _string(name)
    return _integer(_WITHOUT_INDEXING if name == b"cookie" else _NEVER_INDEXED, 4, number)


def _secret(name: bytes, value: bytes) -> bytes:
    """Return the literal of a field that may be secret."""
    start = literal_start(name)
    assert start is not None
    if start == _COOKIE_START and len(value) < _SHORT_COOKIE:
        start = _SHORT_COOKIE_START
    return start + _string(value)


_PATH_START = _integer(_WITHOUT_INDEXING, 4, _PATH)
_COOKIE_START = _integer(_WITHOUT_INDEXING, 4, _NUMBERS[b"cookie"])
_SHORT_COOKIE_START = _integer(_NEVER_INDEXED, 4, _NUMBERS[b"cookie"])
