"""Compressed bodies, and the ways to read them.

Owns: bodies in each coding that urllib3 decodes, and each way in which programs read a response of
requests. Must not know: what a test expects of them.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Any

import pytest

BODY = b"".join(b"%d, " % number for number in range(5000))


def compress(name: str, pieces: list[bytes]) -> bytes:
    if name == "br":
        made = pytest.importorskip("brotli").Compressor(quality=5)
        return b"".join([*map(made.process, pieces), made.finish()])
    if name == "zstd":
        module = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
        made = pytest.importorskip(module).ZstdCompressor()
    else:
        made = zlib.compressobj(9, zlib.DEFLATED, 31 if name == "gzip" else 15)
    return b"".join([*map(made.compress, pieces), made.flush()])


def encode(encoding: str, pieces: list[bytes]) -> tuple[str, bytes]:
    """Return the Content-Encoding and the bytes; "members" is gzip in as many as `pieces`."""
    if encoding == "members":
        return "gzip", b"".join(compress("gzip", [piece]) for piece in pieces)
    for name in encoding.split(", "):
        pieces = [compress(name, pieces)]
    return encoding, pieces[0]


def pieces_of(read: Callable[[], bytes]) -> bytes:
    return b"".join(iter(read, b""))


def readinto(raw: Any) -> bytes:
    raw.decode_content = True
    buffer = bytearray(3000)
    return pieces_of(lambda: bytes(buffer[: raw.readinto(buffer)]))


WAYS: dict[str, Callable[[Any], bytes]] = {
    "content": lambda response: response.content,
    "iter": lambda response: b"".join(response.iter_content(1000)),
    "iter at will": lambda response: b"".join(response.iter_content(None)),
    "lines": lambda response: b"".join(response.iter_lines()),
    "read": lambda response: response.raw.read(decode_content=True),
    "read some": lambda response: pieces_of(lambda: response.raw.read(1000, decode_content=True)),
    "read1": lambda response: pieces_of(lambda: response.raw.read1(1000, decode_content=True)),
    "stream": lambda response: b"".join(response.raw.stream(1000, decode_content=True)),
    "readinto": lambda response: readinto(response.raw),
}
