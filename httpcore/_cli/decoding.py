"""Taking the content encoding off a body, piece by piece.

Owns: gzip and deflate, and br and zstd where a package for them is there. Must not know: where the
pieces come from or go to. What is decoded at a time is bounded, so that a small body which stands
for a huge one takes no memory. A body that ends in the middle, or whose second member is broken,
is noticed; urllib3's decoders pass over both.

Sources: RFC 9110 section 8.4.1 (codings), RFC 1950 to 1952 (zlib, deflate, gzip), RFC 7932
(brotli), RFC 8878 (zstd).
"""

from __future__ import annotations

import contextlib
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


class Undecodable(Exception):
    """There is no decoder; the text says for what, and what would help."""


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
    for name, (make, follows) in [(name, _decoder(name)) for name in reversed(names)]:
        parts = _through(parts, name, make, follows)
    return parts


def accepted() -> bytes:
    """Return what can be asked for: the value of Accept-Encoding."""
    names = []
    for name in ("gzip", "deflate", "br", "zstd"):
        with contextlib.suppress(Undecodable):
            _decoder(name)
            names.append(name)
    return ", ".join(names).encode("ascii")


def _through(
    parts: Iterator[bytes], name: str, make: Callable[[bytes], Any], follows: bytes | None
) -> Iterator[bytes]:
    """Yield what `parts` stand for: one member, and others if they begin with `follows`. What else
    follows is padding."""
    member: Any = None
    held, full, first = b"", False, True
    for part in parts:
        data = held + part
        held = b""
        while data or full:
            if member is None:
                if not first and (follows is None or not data.startswith(follows)):
                    follows = None
                    break
                if make is _deflate and len(data) < 2:
                    held = data
                    break
                member, first = make(data), False
            try:
                piece = member.decompress(data, PIECE)
            except Exception as exc:
                raise Problem(Exit.ENCODING, f"the body is no valid {name}: {exc}") from exc
            full, data = len(piece) >= PIECE, getattr(member, "unconsumed_tail", b"")
            if member.eof:
                data, member, full = member.unused_data, None, False
            if piece:
                yield piece
    if member is not None or held:
        raise Problem(Exit.ENCODING, f"the body ends in the middle of its {name} encoding")


def _decoder(name: str) -> tuple[Callable[[bytes], Any], bytes | None]:
    """Return what makes the decoder of a member, by how that begins, and how a further member
    begins; None where there is one only."""
    if name in ("gzip", "x-gzip"):
        return lambda head: zlib.decompressobj(31), b"\x1f"  # 31: with a gzip header
    if name == "deflate":
        return _deflate, None
    if name == "br":
        brotli = _import("br", "brotli")
        return lambda head: _Brotli(brotli.Decompressor()), None
    if name == "zstd":
        zstd = _import("zstd", "compression.zstd", "backports.zstd")
        return lambda head: zstd.ZstdDecompressor(), b""
    raise Undecodable(f"the content encoding {name!r} is not known")


def _deflate(head: bytes) -> Any:
    """Return what decodes deflate, which some servers send without the zlib header."""
    # RFC 1950 section 2.2: the method is 8, and the two bytes are a multiple of 31.
    headed = head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return zlib.decompressobj() if headed else zlib.decompressobj(-15)


class _Brotli:
    """A decompressor of the package brotli, with the interface of zlib's."""

    unused_data = b""

    def __init__(self, module: Any) -> None:
        self._brotli = module

    def decompress(self, data: bytes, size: int) -> bytes:
        # Before brotli 1.2, a piece of the body is decoded whole.
        bounded = hasattr(self._brotli, "can_accept_more_data")
        limit = {"output_buffer_limit": size} if bounded else {}
        return bytes(self._brotli.process(data, **limit))

    @property
    def eof(self) -> bool:
        return bool(self._brotli.is_finished())


def _import(name: str, *modules: str) -> Any:
    for module in modules:
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError:
            continue
    raise Undecodable(f"the content encoding {name!r} needs the package {modules[-1]}")
