"""The limit on what a compressed body may grow to: `max_decoded` of `HTTPAdapter`.

Owns: counting what urllib3's decoders give, and stopping them. Must not know: responses, pools,
where the bytes come from.

A kilobyte of gzip can stand for a megabyte, and for a gigabyte if it was compressed twice. So no
decoder is asked for more than what is left of the limit and one step, also where the caller asks
for everything at once.

Sources: urllib3's `ContentDecoder`; RFC 9110 section 8.4 (content codings).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from urllib3.response import ContentDecoder

# Bytes that a decoder may give beyond the limit. Asked for single bytes, the decoders of a chain
# would copy what they hold for each of them.
STEP = 65536


class LimitedDecoder(ContentDecoder):
    """A decoder of urllib3's that stops once it has given more than `limit` bytes.

    Parameters:
        decoder: one of urllib3's.
        limit: bytes over the whole body.
        fail: makes the exception, and lets go of the response. It is called again for each call
            after the limit was passed.
    """

    def __init__(self, decoder: Any, limit: int, fail: Callable[[], Exception]) -> None:
        self._decoder = decoder
        self._room = limit
        self._fail = fail

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return what `data` decodes to: all of it, or about `max_length` bytes."""
        if self._room < 0:
            raise self._fail()
        if max_length >= 0:
            # A chain of decoders takes 0 for "no limit".
            most = min(max(max_length, 1), self._room + STEP)
            return self._counted(self._decoder.decompress(data, max_length=most))
        pieces = []
        piece = self._counted(self._decoder.decompress(data, max_length=self._room + STEP))
        while piece:
            pieces.append(piece)
            if not self._decoder.has_unconsumed_tail:
                break
            piece = self._counted(self._decoder.decompress(b"", max_length=self._room + STEP))
        return b"".join(pieces)

    def flush(self) -> bytes:
        """Return what is left in the decoder at the end of the body."""
        return self._counted(self._decoder.flush())

    @property
    def has_unconsumed_tail(self) -> bool:
        """Return whether there is more to decode without further data, or the limit was passed:
        a caller that reads on gets the error again, and no end."""
        return self._room < 0 or bool(self._decoder.has_unconsumed_tail)

    def _counted(self, piece: bytes) -> bytes:
        self._room -= len(piece)
        if self._room < 0:
            raise self._fail()
        return piece


def check_limit(limit: object) -> None:
    """Refuse what is no limit: TypeError for what is no int, ValueError for a negative one."""
    if limit is None:
        return
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"max_decoded must be a number of bytes, not {type(limit).__name__}")
    if limit < 0:
        raise ValueError(f"max_decoded={limit}: it must be 0 or more bytes, or None for no limit")
