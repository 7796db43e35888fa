"""Header compression (RFC 7541): hpack's coders, or jh2's compiled ones where they are installed.

Owns: which coders there are, and that both kinds answer alike.
Must not know: frames, streams, what a field means.

*hpack* is written in Python, and reads a Huffman code bit by bit. But the heads that a server sends
are often the same for a second (nginx writes them without its table, Date and all), and what a
block says depends on its bytes and the table alone: so a block that has left the table as it was
means the same until the table changes.

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

_MOST_KNOWN = 64  # blocks that are kept with their fields
_LONGEST_KNOWN = 1024  # bytes of a block that is kept


class HeaderEncoder(Protocol):
    """What writes header blocks."""

    header_table_size: int

    def encode(self, headers: Iterable[tuple[bytes, bytes]], /) -> bytes: ...


class HeaderDecoder(Protocol):
    """What reads header blocks."""

    max_header_list_size: int

    def decode(self, data: bytes, raw: bool = True) -> list[tuple[bytes, bytes]]: ...


Coders = tuple[Callable[[], HeaderEncoder], Callable[[], HeaderDecoder]]

_FIELD_OVERHEAD = 32  # bytes that a field counts beyond its name and value
_SAMPLE = [(b":status", b"200"), (b"x-sample", b"a value"), (b"x-sample", b"a value")]


class RememberingDecoder:
    """hpack's decoder, which knows again what it has just read. Its lists are not to be changed."""

    __slots__ = ("_decoder", "_known")

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._known: dict[bytes, list[tuple[bytes, bytes]]] = {}

    def decode(self, data: bytes, raw: bool = True) -> list[tuple[bytes, bytes]]:
        block = self._known.get(data)
        if block is not None:
            return block
        before = self._table()
        block = list(self._decoder.decode(data, raw=True))
        after = self._table()
        if after[0] is not before[0] or after[1:] != before[1:]:
            self._known.clear()
        elif len(data) <= _LONGEST_KNOWN:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[data] = block
        return block

    def _table(self) -> tuple[object, int, int]:
        """Return what distinguishes the table from any that comes after a change of it: its newest
        entry (each one is an object of its own), how many there are, and for how many bytes there
        is room."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return entries[0] if entries else None, len(entries), table.maxsize

    @property
    def max_header_list_size(self) -> int:
        return self._decoder.max_header_list_size

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
    return lambda: CompiledEncoder(encoder()), lambda: CompiledDecoder(decoder())


CODERS: dict[str, Coders] = {"h2": (Encoder, RememberingDecoder)}
"""What makes an encoder and a decoder, by the name of the package they come with."""

_compiled = _find_compiled()
if _compiled is not None:
    CODERS["jh2"] = _compiled

ENGINE = "jh2" if _compiled is not None else "h2"
"""The coders that connections use: the compiled ones where they are installed."""
