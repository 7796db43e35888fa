"""`response.raw`: a `urllib3.HTTPResponse` that reads from our body object.

Owns: the translation of one response into urllib3's shape, lazily where it is rarely looked
at. Must not know: adapters, retries, how connections are pooled.

Libraries test for `urllib3.HTTPResponse`, so this is a subclass. Its constructor is not
urllib3's: that one parses headers and sets thirty attributes, most of which are never read.
Reading through a decoder is urllib3's code (its limits against decompression bombs, at most
five chained codings); reading the plain body is ours. A `_fp` that somebody replaced, as
CacheControl does, is read by urllib3's code throughout.

What a response looks like from outside is listed in urllib3's `HTTPResponse` and in
`http.client.HTTPResponse`, RFC 9112 section 6 says where a body ends.
"""

from __future__ import annotations

import io
import socket
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import urllib3.exceptions
from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.response import BytesQueueBuffer

from httpcore.decoders import EndCheckingDecoder, with_ends
from httpcore.rules import BODYLESS

from ._decoded_limit import LimitedDecoder
from ._errors import coding_cut_short, decoded_too_large
from ._wire import (
    HTTP2,
    HTTP11,
    PHRASES,
    READ_SIZE,
    VERSIONS,
    BodyFile,
    Connection,
    OriginalResponse,
    names_chunked,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from urllib3.util.retry import Retry

    import httpcore

    from ._pool_shape import PoolShape


class RawResponse(HTTPResponse):
    """A response as urllib3's users know it, fed by an httpcore response.

    Parameters:
        pool: the pool-shaped object that sent the request.
        response: the httpcore response, its body unread.
        method, url: of the request; `url` is the target that was sent.
        retries: the urllib3 policy as it stood when this response came, for its history.
        decode_content: whether reads undo Content-Encoding unless they say otherwise.
        enforce: whether a body shorter than its Content-Length is an error.

    Beside urllib3's attributes: ``max_decoded`` (bytes that the body may decode to, or None),
    ``raise_on_truncated`` (whether a body that ends before its coding is an error), ``reused`` (did
    the request find an open connection), ``network_stream`` (httpcore's), ``trailers`` (list of
    byte pairs, filled at the end of the body), ``fields`` (the header lines as pairs of str).

    Not thread-safe, like every file: one thread reads it at a time.
    """

    # What urllib3's constructor sets on each response and hardly any response changes.
    auto_close = True
    chunk_left: int | None = None
    msg = None
    _body: Any = None
    _decoder = None
    _decoder_initialized = False
    _has_decoded_content = False
    _uncached_read_occurred = False
    _sock_shutdown = None
    _connection_gone = False
    _was_closed = False
    max_decoded: int | None = None
    raise_on_truncated = False

    def __init__(
        self,
        pool: PoolShape,
        response: httpcore.Response,
        method: str,
        url: str,
        retries: Retry | None,
        decode_content: bool,
        enforce: bool = True,
    ) -> None:
        extensions = response.extensions
        status = self.status = response.status
        http = extensions.get("http_version", b"")
        self.version, self.version_string = VERSIONS.get(http, HTTP11)
        if http == HTTP2:
            self.reason = PHRASES.get(status, "")
        else:
            self.reason = extensions.get("reason_phrase", b"").decode("latin-1").strip()
        # http.client reads header lines as latin-1, and so does everybody above it.
        fields = self.fields = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers
        ]
        folded = self.folded = {}
        for name, value in fields:
            lower = name.lower()
            if lower in folded:
                value = f"{folded[lower][1]}, {value}"
                name = folded[lower][0]
            folded[lower] = (name, value)
        self.chunked = False
        if status in BODYLESS or status < 200 or method == "HEAD":
            length: int | None = 0
        elif "transfer-encoding" in folded:
            self.chunked = names_chunked(folded["transfer-encoding"][1])
            length = None
        else:
            length = _length(folded)
        self.length_remaining = length
        self.decode_content = decode_content
        self._fp = self.wire = BodyFile(response, length, enforce, pool, fields, method, url)
        self._fp_bytes_read = 0
        self._encoded = "content-encoding" in folded
        self.sets_cookies = "set-cookie" in folded or "set-cookie2" in folded
        self.extensions = extensions
        self._pool = pool
        self._request_url = url
        if retries is not None and retries.history:
            self.retries = retries
        else:
            self._retries = retries

    folded: dict[str, tuple[str, str]]
    wire: BodyFile
    _fp: Any

    # -- looked at rarely, made when they are

    @cached_property
    def headers(self) -> HTTPHeaderDict:  # type: ignore[override]
        """All header fields; repeated ones stay apart under `getlist`."""
        headers = HTTPHeaderDict()
        for name, value in self.fields:
            headers.add(name, value)
        return headers

    @cached_property
    def _original_response(self) -> OriginalResponse:  # type: ignore[override]
        return OriginalResponse(self.wire, self.sets_cookies)

    @cached_property
    def _decoded_buffer(self) -> BytesQueueBuffer:  # type: ignore[override]
        return BytesQueueBuffer()

    @property
    def enforce_content_length(self) -> bool:
        return self.wire.enforce

    @enforce_content_length.setter
    def enforce_content_length(self, value: bool) -> None:
        self.wire.enforce = value

    @property
    def reused(self) -> bool:
        """Whether the request went out on a connection that had served another."""
        return bool(self.extensions.get("reused", False))

    @property
    def network_stream(self) -> Any:
        """httpcore's network stream; after an upgrade it is the caller's to use."""
        return self.extensions.get("network_stream")

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        """The fields that followed a chunked body; complete once the body was read."""
        found: list[tuple[bytes, bytes]] = self.wire.body.trailers
        return found

    @property
    def unclean_tls_eof(self) -> bool:
        """True when a body that ends with its connection ended without TLS' close_notify: it
        may have been cut short (RFC 8446 section 6.1)."""
        return bool(self.wire.body.unclean_tls_eof)

    @property
    def _connection(self) -> Any:
        if self._connection_gone or self.wire.closed or self._pool is None:
            return None
        pool: Any = self._pool
        return Connection(self.wire, pool)

    @_connection.setter
    def _connection(self, value: object) -> None:
        self._connection_gone = value is None

    # -- reading

    def _needs_decoding(self) -> bool:
        if self._decoder is None and not self._encoded and "headers" not in self.__dict__:
            return False
        self._init_decoder()
        return self._decoder is not None

    def _init_decoder(self) -> None:
        """Make the decoder, where the body needs one, with what watches over it."""
        if self._decoder_initialized:
            return
        given: Any = self._decoder  # somebody's own, which is left as it is
        super()._init_decoder()
        decoder: Any = self._decoder
        if decoder is not given:
            decoder = with_ends(decoder)
            if self.raise_on_truncated:
                decoder = EndCheckingDecoder(decoder, self._has_ended, self._cut_short)
        if decoder is not None and self.max_decoded is not None:
            decoder = LimitedDecoder(decoder, self.max_decoded, self._too_large)
        self._decoder = decoder
        self._decoder_initialized = True  # which urllib3 says from 2.8 on

    def _has_ended(self, flushed: bool = False) -> bool:
        """Return whether all of the body was read. What replaced `_fp` may not say so; then urllib3
        knows, and has the decoder `flushed`."""
        wire = self.wire
        if self._fp is wire:
            return wire.closed and not wire.given_up and wire.failure is None
        return flushed or bool(getattr(self._fp, "closed", False))

    def _cut_short(self, decoded: int) -> Exception:
        """Return the error for a body that ended before its coding, after `decoded` bytes."""
        self._forget_decoded()
        wire, pool = self.wire, cast("PoolShape | None", self._pool)
        codings = self.folded.get("content-encoding", ("", ""))[1]
        return coding_cut_short(codings, self.tell(), decoded, pool, wire.method, wire.url)

    def _too_large(self) -> Exception:
        """Let go of the response, and return the error for a body that grew past its limit."""
        wire, pool = self.wire, cast("PoolShape | None", self._pool)
        self.close()
        self._forget_decoded()
        return decoded_too_large(self.max_decoded, pool, wire.method, wire.url)

    def _forget_decoded(self) -> None:
        """Hand nothing out after an error, as if it were the rest of the body."""
        self.__dict__.pop("_decoded_buffer", None)
        # requests reads the rest of a redirect that it cannot decode as it is: there is none.
        self._has_decoded_content = False

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """Read what has arrived, at least one byte before the end, at most `amt`."""
        held = len(self._decoded_buffer)
        if held and self.raise_on_truncated and self._has_ended():
            # The decoder, which urllib3's code asks first, may have nothing but an error left.
            if self.decode_content if decode_content is None else decode_content:
                return self._decoded_buffer.get(held if amt is None or amt < 0 else min(amt, held))
        return super().read1(amt, decode_content)

    @property
    def data(self) -> bytes:
        """The whole body, which is kept; where it broke off before, that failure again."""
        if self._body is None and self.wire.failure is not None:
            raise self.wire.failed(self.wire.failure)
        return super().data

    def preload(self) -> None:
        """Read the whole body, and keep it for ``data``."""
        if self._body is None:
            self._body = self.read(decode_content=self.decode_content)

    def read_rest(self) -> bytes:
        """Read all that is left of the body, decoded, in one allocation where nothing is
        decoded."""
        wire = self.wire
        if wire.failure is not None:
            raise wire.failed(wire.failure)
        if self._fp is wire and not self._needs_decoding() and not self._has_decoded_content:
            data: bytes = wire.read()
            self._count(len(data))
            return data
        pieces = io.BytesIO()
        for piece in self.stream(READ_SIZE, decode_content=True):
            pieces.write(piece)
        return pieces.getvalue()

    def _count(self, count: int) -> None:
        self._fp_bytes_read += count
        if self.length_remaining is not None:
            self.length_remaining -= count

    def stream(
        self, amt: int | None = READ_SIZE, decode_content: bool | None = None
    ) -> Generator[bytes, None, None]:
        """Give the body in pieces, as it comes.

        Parameters:
            amt: the most bytes in a piece. A body of known length comes in pieces of exactly
                `amt`; one whose length only its end shows (chunked, or until the connection
                closes) and one that is decoded is handed on as it arrives, so that an event
                is never held back to fill a piece. None stands for "as it arrives" always.
            decode_content: whether to undo Content-Encoding; None takes `self.decode_content`.
        """
        if amt is not None and amt < 0:
            amt = None
        wire = self.wire
        if self._fp is not wire:
            yield from super().stream(amt, decode_content)
            return
        if wire.failure is not None:
            raise wire.failed(wire.failure)
        if amt == 0:
            return
        if decode_content is None:
            decode_content = self.decode_content
        if self._has_decoded_content or (decode_content and self._needs_decoding()):
            if wire.left == 0:
                wire.read()  # the end
            if wire.closed and not self._holds_decoded():
                return  # before the decoder is asked, which counts as having decoded
            while not wire.given_up:
                piece = self.read1(READ_SIZE if amt is None else amt, decode_content)
                if not piece:
                    break
                yield piece
            return
        read = wire.read1 if amt is None or wire.left is None else wire.read
        while not wire.closed:
            piece = read(amt)
            if piece:
                self._count(len(piece))
                yield piece

    def _holds_decoded(self) -> bool:
        """Return whether something that was read is still to be handed out."""
        decoder: Any = self._decoder
        return len(self._decoded_buffer) > 0 or (
            decoder is not None and decoder.has_unconsumed_tail
        )

    def readinto(self, b: Any) -> int:
        """Read what has arrived into `b`; straight from the socket when nothing is decoded."""
        wire = self.wire
        if (
            self._fp is not wire
            or self._has_decoded_content  # then urllib3 gives no bytes as they came
            or (self.decode_content and self._needs_decoding())
        ):
            return super().readinto(b)
        count: int = wire.readinto(b)
        self._count(count)
        return count

    def supports_chunked_reads(self) -> bool:
        """Return whether `read_chunked` may be used. What replaced `_fp` has no framing to be read,
        even where it passes on our file's ``fp``."""
        return self._fp is self.wire

    def read_chunked(
        self, amt: int | None = None, decode_content: bool | None = None
    ) -> Generator[bytes, None, None]:
        """Give the body as it arrives; the framing is already gone."""
        if not self.chunked:
            # A head alone may announce chunks that never come (RFC 9112 section 6.3).
            if names_chunked(self.folded.get("transfer-encoding", ("", ""))[1]):
                return
            raise urllib3.exceptions.ResponseNotChunked(
                "Response is not chunked. Header 'transfer-encoding: chunked' is missing."
            )
        yield from self.stream(amt, decode_content)

    # -- letting go

    def release_conn(self) -> None:
        """Say that the connection is not needed. It goes back when all of the body was read, as
        ever, or when the response is closed or dropped: until then, the body can be read."""
        self.wire.body.released = True
        self._connection_gone = True

    def close(self) -> None:
        if self._fp is not self.wire and self._fp is not None:
            self._fp.close()
        self.wire.close()
        self._was_closed = True
        if not self.auto_close:
            io.IOBase.close(self)

    def shutdown(self) -> None:
        """Stop a read that another thread is in: shuts the reading half of the socket. Over
        HTTP/2, where others use it too, this response alone ends."""
        if self._was_closed:
            raise ValueError("cannot shut down the socket of a response that was closed")
        connection = self._connection
        if connection is None or connection.sock is None:
            raise RuntimeError(
                "cannot shut down the socket: the connection was already released to the pool"
            )
        connection.sock.shutdown(socket.SHUT_RD)

    def __del__(self) -> None:
        """Do nothing: io.IOBase would close a response that was dropped, and no warning would be
        given. The body object under it gives the connection back and warns."""


def _length(folded: dict[str, tuple[str, str]]) -> int | None:
    """Return Content-Length, where it is one; equal ones that were repeated count as one."""
    if "content-length" not in folded:
        return None
    first = folded["content-length"][1].partition(",")[0].strip()
    return int(first) if first.isascii() and first.isdigit() else None
