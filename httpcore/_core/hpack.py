"""Header compression (RFC 7541): hpack's coders, or jh2's compiled ones where they are installed.

Owns: which coders there are, that both kinds answer alike, and what blocks do to the table.
Must not know: frames, streams, what a field means.

The heads that a server sends are often the same for a second (nginx writes them without its table,
Date and all), and what a block says depends on its bytes and the table alone: so a block that has
left the table as it was means the same until the table changes. It is remembered, whichever coder
has read it.

*jh2* is a fork of h2 whose encoder and decoder are compiled, and a header block is what an HTTP/2
request spends most of its time on. Only these two are taken from it; the rules of the connection
stay h2's. (jh2's send up to 6 MiB on a stream where the server has said nothing of windows, and
RFC 9113 section 6.9.2 says 65535.) It needs some care:

- Its fields are triples, with whether they are secret as the third.
- On a block that is cut short it panics, which arrives as an exception beside `Exception` (and as
  a line on stderr, which we cannot help).
- It limits a header list without the 32 bytes that each field counts (RFC 9113 section 6.5.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Protocol

from hpack import (
    Decoder,
    Encoder,
    HPACKDecodingError,
    HPACKError,
    NeverIndexedHeaderTuple,
    OversizedHeaderListError,
)

from .._redact import is_secret_field

TABLE_SIZE = 4096
"""Bytes that a table may have until somebody says otherwise (RFC 9113 section 6.5.2). We never
do."""

_MOST_KNOWN = 64  # blocks that are kept with their fields
_LONGEST_KNOWN = 1024  # bytes of a block that is kept
# Bytes of names and values in one. A block may say the same entry of the table again and again, and
# a compiled decoder copies it each time: 128 KiB from forty bytes.
_LARGEST_KNOWN = 8192


class HeaderEncoder(Protocol):
    """A writer of header blocks."""

    header_table_size: int

    def encode(self, headers: Iterable[tuple[bytes, bytes]], /) -> bytes: ...


class HeaderDecoder(Protocol):
    """A reader of header blocks."""

    max_header_list_size: int

    def decode(self, data: bytes, raw: bool = True) -> list[tuple[bytes, bytes]]: ...


Coders = tuple[Callable[[], HeaderEncoder], Callable[[], HeaderDecoder]]

_FIELD_OVERHEAD = 32  # bytes that a field counts beyond its name and value
_SAMPLE = [(b":status", b"200"), (b"x-sample", b"a value"), (b"x-sample", b"a value")]


class KnownBlock(list[tuple[bytes, bytes]]):
    """The fields of a block that is remembered. Not to be changed.

    Attributes:
        head: for whoever reads the fields: what they were found to mean; None until then.
    """

    __slots__ = ("head",)

    def __init__(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__(fields)
        self.head: Any = None


class RememberingDecoder:
    """A decoder that knows again what it has just read: a `KnownBlock` each time. Blocks with
    fields that may be secret are not remembered.

    Parameters:
        decoder: hpack's, or jh2's.
    """

    __slots__ = ("_decoder", "_known", "_size")

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._size = TABLE_SIZE
        self._known: dict[bytes, KnownBlock] = {}

    def decode(self, data: bytes, raw: bool = True) -> list[tuple[bytes, bytes]]:
        known = self._known.get(data)
        if known is not None:
            return known
        fields = list(self._decoder.decode(data, raw=True))
        alone, self._size = table_effect(data, self._size)
        if not alone:
            self._known.clear()
        elif len(data) <= _LONGEST_KNOWN:
            names = [name for name, _ in fields]
            size = sum([len(name) + len(value) for name, value in fields])
            if size <= _LARGEST_KNOWN and not any(map(is_secret_field, names)):
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                fields = self._known[data] = KnownBlock(fields)
        return fields

    @property
    def max_header_list_size(self) -> int:
        size: int = self._decoder.max_header_list_size
        return size

    @max_header_list_size.setter
    def max_header_list_size(self, value: int) -> None:
        self._decoder.max_header_list_size = value


class CompiledEncoder:
    """jh2's encoder, called as hpack's is."""

    __slots__ = ("_encoder",)

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def encode(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        block: bytes = self._encoder.encode(
            [(f[0], f[1], isinstance(f, NeverIndexedHeaderTuple)) for f in headers]
        )
        return block

    @property
    def header_table_size(self) -> int:
        size: int = self._encoder.header_table_size
        return size

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        self._encoder.header_table_size = value


class CompiledDecoder:
    """jh2's decoder, with the answers and the errors of hpack's."""

    __slots__ = ("_decoder", "_limit")

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._limit: int = decoder.max_header_list_size

    def decode(self, data: bytes, raw: bool = True) -> list[tuple[bytes, bytes]]:
        try:
            triples = self._decoder.decode(data, raw=True)
        except BaseException as exc:
            if type(exc).__name__ == "OversizedHeaderListError":
                raise OversizedHeaderListError(self._too_large()) from exc
            if isinstance(exc, Exception) or type(exc).__name__ == "PanicException":
                raise HPACKDecodingError(str(exc)) from exc
            raise
        block = [(name, value) for name, value, _ in triples]
        size = sum([len(name) + len(value) for name, value in block])
        if size + _FIELD_OVERHEAD * len(block) > self._limit:
            raise OversizedHeaderListError(self._too_large())
        return block

    def _too_large(self) -> str:
        return f"a header list larger than {self._limit}"

    @property
    def max_header_list_size(self) -> int:
        return self._limit

    @max_header_list_size.setter
    def max_header_list_size(self, value: int) -> None:
        self._limit = self._decoder.max_header_list_size = value


def _find_compiled() -> Coders | None:
    """Return jh2's coders, if they are there and do what they should: their names are not part of
    its promise."""
    try:
        module = import_module("jh2.connection")
        encoder, decoder = module.Encoder, module.Decoder
        if not module.ALTERNATIVE_HPACK:  # its pure Python ones are no faster than hpack's
            return None
        block = CompiledEncoder(encoder()).encode(_SAMPLE)
        if Decoder().decode(block, raw=True) != _SAMPLE:
            return None
        if CompiledDecoder(decoder()).decode(block) != _SAMPLE:
            return None
    except (ImportError, AttributeError, TypeError, ValueError, HPACKError):
        return None
    return (
        lambda: CompiledEncoder(encoder()),
        lambda: RememberingDecoder(CompiledDecoder(decoder())),
    )


CODERS: dict[str, Coders] = {"h2": (Encoder, lambda: RememberingDecoder(Decoder()))}
"""What makes an encoder and a decoder, by the name of the package they come with."""

_compiled = _find_compiled()
if _compiled is not None:
    CODERS["jh2"] = _compiled

ENGINE = "jh2" if _compiled is not None else "h2"
"""The coders that connections use: the compiled ones where they are installed."""


# ---------------------------------------------------------------------------------------------
# What a block does to the table (RFC 7541 sections 5.1 and 6)


def table_effect(block: bytes, size: int) -> tuple[bool, int]:
    """Return whether reading `block` leaves the table as it is, and how many bytes the table may
    have afterwards.

    It does when nothing in it changes the size, and when no field is added, or there is no room
    for any: nginx adds all fields to a table that it has set to 0 bytes.

    Parameters:
        block: one that a decoder has read, or an encoder has written.
        size: bytes that the table may have before.
    """
    alone = True
    position = 0
    while position < len(block):
        first = block[position]
        if first & 0x80:  # all of the field is in a table
            _, position = _read_integer(block, position, 7)
            continue
        if first & 0xE0 == 0x20:
            size, position = _read_integer(block, position, 5)
            alone = False
            continue
        if first & 0x40 and size:
            return False, size
        number, position = _read_integer(block, position, 6 if first & 0x40 else 4)
        for _ in range(1 if number else 2):
            length, position = _read_integer(block, position, 7)
            position += length
    return alone, size


def _read_integer(block: bytes, position: int, bits: int) -> tuple[int, int]:
    """Return the integer at `position`, and the position behind it."""
    most = (1 << bits) - 1
    value = block[position] & most
    position += 1
    if value < most:
        return value, position
    shift = 0
    while True:
        digit = block[position]
        position += 1
        value += (digit & 127) << shift
        shift += 7
        if digit < 128:
            return value, position
