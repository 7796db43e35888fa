"""Takes the content encoding off a body, piece by piece.

Owns: which codings are taken off, and what is said where that fails. Must not know: where the
pieces come from or go to, and how a coding works: urllib3's decoders do, and `decoders` adds to
them that a body must not end in the middle.

What is decoded at a time is bounded, so that a small body which stands for a huge one takes no
memory. So each coding takes from the one around it only what it needs: in urllib3's own chain of
decoders, the inner ones keep all that the outer ones give. urllib3 is loaded only where there is
something to decode.

Sources: RFC 9110 section 8.4.1 (codings).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from .._core.h1_grammar import Headers
from .exits import Exit, Problem
from .text import of_bytes

# Bytes that are decoded at a time.
PIECE = 256 * 1024
# The packages with which urllib3 knows a coding more.
_PACKAGES = {"br": "brotli", "zstd": "backports.zstd"}


class Undecodable(Exception):
    """There is no decoder; the text says for what, and what would help."""


def accepted() -> bytes:
    """Return what can be asked for: the value of Accept-Encoding."""
    from urllib3.util.request import ACCEPT_ENCODING

    return ACCEPT_ENCODING.encode("ascii")


def codings(headers: Headers) -> list[str]:
    """Return the content codings of a message, the outermost last."""
    values = [of_bytes(value) for name, value in headers if name.lower() == b"content-encoding"]
    names = [name.strip().lower() for name in ",".join(values).split(",")]
    return [name for name in names if name not in ("", "identity")]


def decoded(parts: Iterator[bytes], names: list[str]) -> Iterator[bytes]:
    """Yield `parts` without the codings `names`.

    Raises Undecodable, at once, where there is no decoder; Problem, while it is read, where a
    coding is broken.
    """
    if not names:
        return parts
    from urllib3.response import HTTPResponse, MultiDecoder

    if len(names) > MultiDecoder.max_decode_links:
        raise Undecodable(f"{len(names)} content encodings over each other")
    for name in names:
        if name not in HTTPResponse.CONTENT_DECODERS:
            package = _PACKAGES.get(name)
            why = "is not known" if package is None else f"needs the package {package}"
            raise Undecodable(f"the content encoding {name!r} {why}")
    for name in reversed(names):
        parts = _without(filter(None, parts), name)
    return filter(None, parts)


def _without(parts: Iterator[bytes], name: str) -> Iterator[bytes]:
    from urllib3.response import HTTPResponse, _get_decoder

    from ..decoders import EndCheckingDecoder, with_ends

    def cut_short(given: int) -> Problem:
        text = f"the body ends before its {name} encoding does: it was cut short, or is broken"
        return Problem(Exit.ENCODING, text)

    has_ended = False
    decoder = EndCheckingDecoder(
        with_ends(_get_decoder(name)), lambda flushed: has_ended, cut_short
    )
    try:
        for part in itertools.chain(parts, [b""]):
            has_ended = not part
            piece = decoder.decompress(part, PIECE)
            while piece or decoder.has_unconsumed_tail:
                yield piece
                piece = decoder.decompress(b"", PIECE)
    except HTTPResponse.DECODER_ERROR_CLASSES as exc:
        raise Problem(Exit.ENCODING, f"the body is no valid {name}: {exc}") from exc
