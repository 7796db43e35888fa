"""What urllib3's decoders pass over: a compressed body cut short, and what follows its end.

Owns: whether a body may end where it does, as its codings see it; where a member of gzip ends, and
where deflate does. Must not know: responses, pools, where the bytes come from. It is loaded by the
adapter and by the command, and needs urllib3, which this distribution brings only with an extra.

The framing of a body may be whole and its coding not: a server, or something on the way, was cut
off while it compressed, and sent what it had as if it were all. urllib3's decoders give what there
is and say nothing; nor do they where a further member of gzip is broken. Each of them keeps a
decompressor that knows, and these are asked here.

Sources: urllib3's decoders; RFC 1950 to 1952 (zlib, deflate, gzip), RFC 7932 (brotli), RFC 8878
(zstd); RFC 9110 section 8.4 (content codings).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from urllib3.response import (
    ContentDecoder,
    DeflateDecoder,
    GzipDecoder,
    GzipDecoderState,
    MultiDecoder,
)

__all__ = ["EndCheckingDecoder", "with_ends"]

# zlib's `wbits` for gzip: the largest window, and 16 more.
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
# The second byte of a gzip member (RFC 1952 section 2.3.1).
_GZIP_SECOND = b"\x8b"


class MemberDecoder(GzipDecoder):
    """urllib3's decoder of gzip, which gives a further member as often as it is there.

    Where a read ended with a member, urllib3 (2.8) gives the bytes behind it to that member's
    decompressor, which has them already, and so decodes them twice.
    """

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return what `data` decodes to: all of it, or `max_length` bytes."""
        if self._unconsumed_tail and self._obj.eof:
            self._obj = zlib.decompressobj(_GZIP_WINDOW)
            self._state = GzipDecoderState.OTHER_MEMBERS
        return super().decompress(data, max_length=max_length)


class EndingDeflateDecoder(DeflateDecoder):
    """urllib3's decoder of deflate, which passes over all that follows the end.

    urllib3 2.7 goes on with zlib's decompressor behind the end, which keeps all that follows, and
    fails or not by where the reads ended; 2.8 passes it over as well.
    """

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return what `data` decodes to: all of it, or `max_length` bytes."""
        return b"" if self._obj.eof else super().decompress(data, max_length=max_length)

    @property
    def has_unconsumed_tail(self) -> bool:
        """Return whether there is more to decode without further data."""
        return not self._obj.eof and super().has_unconsumed_tail


def with_ends(decoder: Any) -> Any:
    """Return urllib3's `decoder`, with ours in place of those that mistake where a coding ends."""
    if type(decoder) is GzipDecoder:
        return MemberDecoder()
    if type(decoder) is DeflateDecoder:
        return EndingDeflateDecoder()
    if type(decoder) is MultiDecoder:
        made: Any = decoder
        made._decoders = [with_ends(each) for each in made._decoders]
    return decoder


class EndCheckingDecoder(ContentDecoder):
    """A decoder of urllib3's that raises where a body ends before its coding does, or where a
    further member of gzip is broken.

    All that can be decoded is given first. The error then stands in the place of the end, and
    comes again with each call.

    Parameters:
        decoder: one of urllib3's; the decoders in a `MultiDecoder` are wrapped.
        has_ended: returns whether all of the body was passed to `decompress`. It is asked with
            True where urllib3 takes it for the end.
        fail: makes the exception. It is given the number of bytes that were decoded.
    """

    def __init__(
        self, decoder: Any, has_ended: Callable[[bool], bool], fail: Callable[[int], Exception]
    ) -> None:
        self._decoder = decoder
        self._links = [_Link(decoder)]
        if isinstance(decoder, MultiDecoder):
            made: Any = decoder
            made._decoders = self._links = [_Link(each) for each in made._decoders]
        else:
            self._decoder = self._links[0]
        self._has_ended = has_ended
        self._fail = fail
        self._given = 0

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return what `data` decodes to: all of it, or about `max_length` bytes."""
        piece: bytes = self._decoder.decompress(data, max_length=max_length)
        if not piece and not data and max_length != 0 and self._is_cut_short():
            piece = self._last_bytes()
        self._given += len(piece)
        return piece

    def flush(self) -> bytes:
        """Return what is left in the decoder. It is called at the end of the body."""
        short = self._is_cut_short(flushed=True)
        rest: bytes = self._last_bytes(flushed=True) if short else self._decoder.flush()
        self._given += len(rest)
        return rest

    @property
    def has_unconsumed_tail(self) -> bool:
        """Return whether there is more to decode without further data, or an error to raise."""
        return bool(self._decoder.has_unconsumed_tail) or self._is_cut_short()

    def _is_cut_short(self, flushed: bool = False) -> bool:
        return self._has_ended(flushed) and not all(link.is_complete for link in self._links)

    def _last_bytes(self, flushed: bool = False) -> bytes:
        """Return what zlib still holds though it was given all there is, which it may where the
        number of bytes was limited; raise if there is nothing."""
        piece = b""
        for link in reversed(self._links):
            piece = link.last_bytes(piece)
        if not piece and self._is_cut_short(flushed):
            raise self._fail(self._given)
        return piece


class _Link(ContentDecoder):
    """One of urllib3's decoders, and whether its coding has ended."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._begun = False

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        self._begun = self._begun or bool(data)
        piece: bytes = self._decoder.decompress(data, max_length=max_length)
        return piece

    def last_bytes(self, data: bytes) -> bytes:
        piece = self.decompress(data)
        if hasattr(self._decoder._obj, "unconsumed_tail"):  # zlib's
            piece += self._decoder.flush()
        return piece

    def flush(self) -> bytes:
        if not self._begun:
            return b""  # urllib3's decoder of zstd takes no bytes at all for too few
        rest: bytes = self._decoder.flush()
        return rest

    @property
    def has_unconsumed_tail(self) -> bool:
        return bool(self._decoder.has_unconsumed_tail)

    @property
    def is_complete(self) -> bool:
        """Return whether the body may end here. An empty one may, whatever it is said to be."""
        if not self._begun:
            return True
        inner = self._decoder._obj
        if hasattr(inner, "is_finished"):  # brotli
            return bool(inner.is_finished())
        return inner.eof or (
            isinstance(self._decoder, GzipDecoder) and _is_garbage(self._decoder, inner)
        )


def _is_garbage(decoder: Any, inner: Any) -> bool:
    """Return whether what came after a whole gzip member is no further one, but padding."""
    if decoder._state == GzipDecoderState.FIRST_MEMBER:
        return False
    # zlib looks at the first byte when it has the second, and says again why it has stopped.
    try:
        inner.copy().decompress(_GZIP_SECOND)
    except zlib.error as error:
        return "header check" in str(error)
    return False
