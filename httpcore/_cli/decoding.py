"""Taking the content encoding off a body, piece by piece.

Owns: gzip and deflate, and br and zstd where a package for them is there. Must not know: where the
pieces come from or go to. What is decoded at a time is bounded, so that a small body which stands
for a huge one takes no memory; a body that ends in the middle is noticed, which urllib3's decoders
do not report.

Sources: RFC 9110 section 8.4.1 (codings), RFC 1950 to 1952 (zlib, deflate, gzip), RFC 7932
(brotli), RFC 8878 (zstd).
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from .._core.h1 import Headers
from .exits import Exit, Problem
from .text import of_bytes

# Bytes that are decoded at a time.
PIECE = 256 * 1024
# Encodings over each other. Nobody needs two, and each may grow a body a thousandfold.
MOST = 3

_GZIP, _RAW = 31, -15  # zlib's `wbits`: a gzip header, none


class Undecodable(Exception):
    """There is no decoder; the text says for what, and what would help."""


class Decoder:
    """Decodes one coding of a body.

    Parameters:
        make: makes what decodes one member, by how that begins.
        follows: how a further member begins; None where there is one only. Other bytes behind a
            member are padding.
        head: bytes that `make` wants to see.

    Attributes:
        complete: whether the body may end here.
    """

    def __init__(
        self, make: Callable[[bytes], Any], follows: bytes | None = None, head: int = 1
    ) -> None:
        self._make, self._follows, self._head = make, follows, head
        self._member: Any = None
        self._held = b""  # less than a head
        self._full = False  # PIECE was reached
        self._over = False  # what comes, comes after a member
        self.complete = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode the next piece of a body."""
        data, self._held = self._held + data, b""
        while data or self._full:
            if self._member is None:
                if self._over and (self._follows is None or not data.startswith(self._follows)):
                    self._follows = None
                    return
                if len(data) < self._head:
                    self._held, self.complete = data, False
                    return
                self._member, self.complete = self._make(data), False
            part = self._member.decompress(data, PIECE)
            data = getattr(self._member, "unconsumed_tail", b"")
            self._full = len(part) >= PIECE
            if self._member.eof:
                data, self._member = self._member.unused_data, None
                self.complete, self._over, self._full = True, True, False
            if part:
                yield part


class _Brotli:
    """The package brotli, with the interface of zlib."""

    unused_data = b""

    def __init__(self, module: Any) -> None:
        self._brotli = module.Decompressor()
        # Without it (before 1.2), a piece of the body is decoded whole.
        bounded = hasattr(self._brotli, "can_accept_more_data")
        self._limit = {"output_buffer_limit": PIECE} if bounded else {}

    def decompress(self, data: bytes, size: int) -> bytes:
        part: bytes = self._brotli.process(data, **self._limit)
        return part

    @property
    def eof(self) -> bool:
        return bool(self._brotli.is_finished())


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
    for name, decoder in [(name, _decoder(name)) for name in reversed(names)]:
        parts = _through(parts, name, decoder)
    return parts


def _through(parts: Iterator[bytes], name: str, decoder: Decoder) -> Iterator[bytes]:
    for part in parts:
        try:
            yield from decoder.feed(part)
        except Exception as exc:
            raise Problem(Exit.ENCODING, f"the body is no valid {name}: {exc}") from exc
    if not decoder.complete:
        raise Problem(Exit.ENCODING, f"the body ends in the middle of its {name} encoding")


def _decoder(name: str) -> Decoder:
    if name in ("gzip", "x-gzip"):
        return Decoder(lambda head: zlib.decompressobj(_GZIP), follows=b"\x1f")
    if name == "deflate":
        return Decoder(_deflate, head=2)
    if name == "br":
        brotli = _import("br", "brotli")
        return Decoder(lambda head: _Brotli(brotli))
    if name == "zstd":
        zstd = _import("zstd", "compression.zstd", "backports.zstd")
        return Decoder(lambda head: zstd.ZstdDecompressor(), follows=b"")
    raise Undecodable(f"the content encoding {name!r} is not known")


def _deflate(head: bytes) -> Any:
    """Return what decodes deflate, which some servers send without the zlib header."""
    # RFC 1950 section 2.2: the method is 8, and the two bytes are a multiple of 31.
    headed = head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return zlib.decompressobj() if headed else zlib.decompressobj(_RAW)


def _import(name: str, *modules: str) -> Any:
    for module in modules:
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError:
            continue
    raise Undecodable(f"the content encoding {name!r} needs the package {modules[-1]}")


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
