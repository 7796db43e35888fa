"""Taking the content encoding off a body, piece by piece.

Owns: gzip and deflate, and br and zstd where a package for them is there. Must not know: where the
pieces come from or go to. What is decoded at a time is bounded, so a small body that stands for a
huge one takes no memory.

Sources: RFC 9110 section 8.4.1 (codings), RFC 1950 to 1952 (zlib, deflate, gzip), RFC 7932
(brotli), RFC 8878 (zstd).
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from .._core.h1 import Headers
from .exits import Exit, Problem
from .text import of_bytes

# Bytes that are decoded at a time.
PIECE = 256 * 1024
# Encodings over each other. Nobody needs two, and each may grow a body a thousandfold.
MOST = 3

# zlib's `wbits`: a zlib header, a gzip header, none.
_ZLIB, _GZIP, _RAW = 15, 31, -15
_GZIP_BEGINS = b"\x1f"  # RFC 1952 section 2.3.1


class Undecodable(Exception):
    """There is no decoder; the text says for what, and what would help."""


class Decoder(Protocol):
    @property
    def complete(self) -> bool:
        """Return whether what was fed may end here."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode the next piece of a body."""


class Inflate:
    """gzip, with all its members, or deflate.

    Attributes:
        complete: whether what was fed may end here.
    """

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._zlib: Any = zlib.decompressobj(bits)
        self._members = 0
        self.complete = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        full = False  # zlib stopped because PIECE was reached
        while self._zlib is not None and (data or full):
            if self._members and self.complete and data[:1] != _GZIP_BEGINS:
                self._zlib = None  # padding after the last member
                return
            part = self._zlib.decompress(data, PIECE)
            self.complete = False
            full = len(part) == PIECE
            data = self._zlib.unconsumed_tail
            if self._zlib.eof:
                full, data = False, self._zlib.unused_data
                self._members += 1
                self.complete = True
                self._zlib = zlib.decompressobj(_GZIP) if self._bits == _GZIP else None
            if part:
                yield part


class Deflate:
    """deflate, which some servers send without the zlib header that belongs there."""

    def __init__(self) -> None:
        self._head = b""
        self._inflate: Inflate | None = None

    @property
    def complete(self) -> bool:
        return not self._head if self._inflate is None else self._inflate.complete

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            # RFC 1950 section 2.2: the method is 8, and the two bytes are a multiple of 31.
            headed = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inflate = Inflate(_ZLIB if headed else _RAW)
        yield from self._inflate.feed(data)


class Brotli:
    """br, by the package of that name."""

    def __init__(self, brotli: Any) -> None:
        self._brotli = brotli.Decompressor()
        # Without it (before 1.2), a piece of the body is decoded whole.
        self._bounded = hasattr(self._brotli, "can_accept_more_data")
        self.complete = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        limit = {"output_buffer_limit": PIECE} if self._bounded else {}
        while True:
            part = self._brotli.process(data, **limit)
            self.complete = self._brotli.is_finished()
            if part:
                yield part
            data = b""
            # It takes more although it may have more to give.
            if not self._bounded or (len(part) < PIECE and self._brotli.can_accept_more_data()):
                return


class Zstd:
    """zstd, by the standard library (3.14) or its backport; frames may follow each other."""

    def __init__(self, zstd: Any) -> None:
        self._make = zstd.ZstdDecompressor
        self._zstd: Any = None
        self.complete = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._zstd is None or self._zstd.needs_input):
            if self._zstd is None:
                self._zstd = self._make()
            part = self._zstd.decompress(data, PIECE)
            data, self.complete = b"", self._zstd.eof
            if self._zstd.eof:
                data, self._zstd = self._zstd.unused_data, None
            if part:
                yield part


def codings(headers: Headers) -> list[str]:
    """Return the content codings of a message, the outermost last."""
    values = [of_bytes(value) for name, value in headers if name.lower() == b"content-encoding"]
    names = [name.strip().lower() for value in values for name in value.split(",")]
    return [name for name in names if name not in ("", "identity")]


def decoded(parts: Iterator[bytes], names: list[str]) -> Iterator[bytes]:
    """Yield `parts` without the codings `names`.

    Raises Undecodable, at once, where there is no decoder; Problem, while it is read, where a
    coding is broken.
    """
    if len(names) > MOST:
        raise Undecodable(f"{len(names)} content encodings over each other")
    decoders = [(name, _decoder(name)) for name in reversed(names)]
    for name, decoder in decoders:
        parts = _through(parts, name, decoder)
    return parts


def _decoder(name: str) -> Decoder:
    make = _DECODERS.get(name)
    if make is None:
        raise Undecodable(f"the content encoding {name!r} is not known")
    return make()


def _through(parts: Iterator[bytes], name: str, decoder: Decoder) -> Iterator[bytes]:
    for part in parts:
        try:
            yield from decoder.feed(part)
        except Exception as exc:
            raise Problem(Exit.ENCODING, f"the body is no valid {name}: {exc}") from exc
    if not decoder.complete:
        raise Problem(Exit.ENCODING, f"the body ends in the middle of its {name} encoding")


def _brotli() -> Brotli:
    return Brotli(_import("br", "brotli"))


def _zstd() -> Zstd:
    return Zstd(_import("zstd", "compression.zstd", "backports.zstd"))


def _import(name: str, *modules: str) -> Any:
    for module in modules:
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError:
            continue
    raise Undecodable(f"the content encoding {name!r} needs the package {modules[-1]}")


def _gzip() -> Inflate:
    return Inflate(_GZIP)


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": Deflate,
    "br": _brotli,
    "zstd": _zstd,
}


def accepted() -> bytes:
    """Return what can be asked for: the value of Accept-Encoding."""
    names = []
    for name in ("gzip", "deflate", "br", "zstd"):
        try:
            _decoder(name)
        except Undecodable:
            continue
        names.append(name)
    return ", ".join(names).encode("ascii")
