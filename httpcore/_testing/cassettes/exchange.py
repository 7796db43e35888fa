"""The contents of a cassette: requests and their outcomes.

Owns: the nouns, the two errors, and what can be asked of a message's header fields. Must not know:
how any of it is written, found or played.

Sources: RFC 9110 section 8.4 (content codings).
"""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import dataclass, field

from ..._core.h1_grammar import Headers
from ..._core.retry import IDEMPOTENT
from ..._exceptions import ConnectError, ReadError, ReadTimeout, WriteError, WriteTimeout
from ..._redact import FILTERED

MARK = FILTERED.encode("ascii")
"""Stands where a secret was. In a recorded request it matches whatever is sent in its place."""

# How an exchange ended.
COMPLETE, CUT, LEFT, FAILED = "complete", "cut", "left", "failed"

# What a stream may raise for the network, and so what can be recorded and raised again.
FAILURES: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (ReadError, ReadTimeout, WriteError, WriteTimeout)
}


class CassetteError(ConnectError):
    """A cassette cannot be read or written, or a connection cannot be recorded."""


class NoRecordedAnswer(CassetteError):
    """No exchange in the cassette matches the request; the text names the nearest one."""


@dataclass
class Asked:
    """A request: `stopped` says that its body was not sent to the end."""

    method: str
    url: str
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    stopped: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


@dataclass
class Answer:
    """A response, its body without framing, but with its content encoding."""

    version: bytes
    status: int
    reason: bytes
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    trailers: Headers = field(default_factory=list)


@dataclass
class Exchange:
    """A request and what came of it.

    Attributes:
        interim: status and fields of each 1xx response.
        answer: the response; None where none came, or none that could be read.
        raw: ("sent" or "received", bytes): what is no HTTP, in its order.
        end: COMPLETE; CUT: the server closed too early; LEFT: the client did; FAILED.
        error: for FAILED, name and text of the exception.
        line: where in the file it begins.
        used: it was given as an answer already.
    """

    asked: Asked
    interim: list[tuple[int, Headers]] = field(default_factory=list)
    answer: Answer | None = None
    raw: list[tuple[str, bytes]] = field(default_factory=list)
    end: str = COMPLETE
    error: tuple[str, str] = ("", "")
    line: int = 0
    used: bool = False

    @property
    def lost_keepalive_race(self) -> bool:
        """Return whether, on a connection that was used before, this says nothing about the server.

        Not a byte came: the connection had died while it was idle. A client that may do so by
        itself then asks again on another one (RFC 9112 section 9.3.1), and that is a case of its
        own."""
        if self.answer is not None or self.raw or self.interim:
            return False
        if self.asked.method.encode() not in IDEMPOTENT:
            return False
        return self.end == CUT or (self.end == FAILED and self.error[0] != "ReadTimeout")


def to_text(data: bytes) -> str:
    """Return any bytes as text; those that are no UTF-8 as lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """Return what `to_text` was given."""
    return text.encode("utf-8", "surrogateescape")


def joined(headers: Headers, name: bytes) -> bytes:
    """Return the values of a header field (`name` in lower case) as one, empty where there is
    none."""
    return b", ".join(value for key, value in headers if key.lower() == name)


def with_length(headers: Headers, length: int) -> Headers:
    """Return the fields with this Content-Length, where they have one."""
    return [
        (name, b"%d" % length if name.lower() == b"content-length" else value)
        for name, value in headers
    ]


def coding_of(headers: Headers) -> bytes:
    """Return the content coding of a message, empty where there is none."""
    coding = joined(headers, b"content-encoding").lower()
    return b"" if coding == b"identity" else coding


def decompressed(body: bytes, coding: bytes) -> bytes | None:
    """Return `body` without its content codings; None for one that cannot be taken off."""
    plain: bytes | None = body
    for name in reversed([part.strip() for part in coding.split(b",")]):
        if plain is None or name not in (b"", b"identity", *_INFLATED):
            return None
        if name in _INFLATED:
            plain = _inflated(plain)
    return plain if coding else None


_INFLATED = (b"gzip", b"x-gzip", b"deflate")


def _inflated(body: bytes) -> bytes | None:
    # 32 + 15: with the header of gzip or zlib. Some servers send "deflate" without one.
    for bits in (47, -15):
        parts = []
        rest = body
        try:
            while rest:  # gzip may have several members
                inflate = zlib.decompressobj(bits)
                parts.append(inflate.decompress(rest))
                if not inflate.eof:
                    raise zlib.error("it ends in the middle")
                rest = inflate.unused_data
        except zlib.error:
            continue
        return b"".join(parts)
    return None


def beginning(body: bytes, coding: bytes) -> bytes:
    """Return as much as can be read of a piece of a compressed body."""
    if coding.strip() not in _INFLATED:
        return b""
    for bits in (47, -15):
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(bits).decompress(body)
    return b""
