"""A request that was checked and encoded, and everything that goes with it.

Owns: the one object that travels from the pool to a connection: head, body, timeouts, deadline,
and whether it can be sent again. Must not know: connections, sockets, locks, the clock.

Sources: RFC 9112 section 6 (how a body is framed), RFC 9110 section 10.1.1 (Expect).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._exceptions import LocalProtocolError
from .._models import ByteStream, Request
from .._timeouts import NO_TIMEOUTS, Timeouts, read_timeouts
from .._trace import check_hooks
from .h1 import CHUNKED, LAST_CHUNK, encode_chunk, encode_request
from .limits import WRITE_SIZE


class Prepared:
    """A request that was checked and encoded, with all that goes with it from here on.

    It is made before a connection is taken for it, by `prepare`, and belongs to one thread.

    Attributes:
        request: the request.
        head: the bytes of its head.
        length: of its body: 0 for none, CHUNKED, or the Content-Length in bytes.
        special: it is a CONNECT or an Upgrade, so the connection may change hands.
        content: the body when it is all there, else None.
        fits: head and body leave in one write.
        timeouts: the `Timeouts` that hold for it.
        start: where its body stood before it was sent, to be sent again from there; 0 for bytes;
            None for a body that can be sent only once.
        route: the pool's `Route` to its server; None on a connection that is driven by hand.
        deadline: when its total is over; None without a total.
    """

    __slots__ = (
        "content",
        "deadline",
        "fits",
        "head",
        "length",
        "request",
        "route",
        "special",
        "start",
        "timeouts",
    )

    def __init__(
        self,
        request: Request,
        head: bytes,
        length: int,
        special: bool,
        content: bytes | None,
        timeouts: Timeouts,
    ) -> None:
        self.request = request
        self.head = head
        self.length = length
        self.special = special
        self.content = content
        self.fits = content is not None and not content and not length
        self.timeouts = timeouts
        self.start: int | None = 0
        self.route: Any = None
        self.deadline: Any = None  # a `Deadline`, which has a clock

    @property
    def wants_early(self) -> bool:
        """Return whether the caller wants the response as soon as it has begun, also while the
        body is still being sent."""
        return bool(self.request.extensions.get("early_response"))

    @property
    def is_repeatable(self) -> bool:
        """Whether the body can be sent again: the parts of an iterator are gone."""
        return self.start is not None or self.length == 0

    def rewind(self) -> None:
        """Let a file give its body again, from where it began. Raises OSError or ValueError where
        the file cannot do that any more."""
        if self.content is None and self.start is not None:
            self.request.stream.seek(self.start)


def prepare(
    request: Request,
    lenient: bool = False,
    default: Timeouts = NO_TIMEOUTS,
    asynchronous: bool = False,
) -> Prepared:
    """Encode the head, check it against the body, and read the timeouts.

    Parameters:
        lenient: which header names are sent, see `encode_request`.
        default: the timeouts of a request that brings none.
        asynchronous: its body and its trace may be, because an asynchronous shell sends it.

    Raises LocalProtocolError, TypeError or ValueError; nothing has been sent then.
    """
    head, length, special = encode_request(
        request.method, request.url.target, request.headers, lenient
    )
    timeouts = default
    if request.extensions:
        check_hooks(request.extensions, asynchronous)
        timeout = request.extensions.get("timeout")
        if timeout is not None:
            timeouts = read_timeouts(timeout)
    stream = request.stream
    if type(stream) is not ByteStream:
        check_body(stream, asynchronous)
        prepared = Prepared(request, head, length, special, None, timeouts)
        prepared.start = _position(stream)
        return prepared
    content = stream.content
    if length != len(content) and length != CHUNKED:
        raise LocalProtocolError(
            f"the body has {len(content)} bytes, but the headers announce {length}"
        )
    prepared = Prepared(request, head, length, special, content, timeouts)
    if content:
        whole = length == len(content) <= WRITE_SIZE
        prepared.fits = whole and not expects_continue(prepared)
    return prepared


def check_body(stream: object, asynchronous: bool) -> None:
    """Raise TypeError for a body that this half of the API cannot send."""
    if hasattr(stream, "read"):
        return
    if not asynchronous:
        if hasattr(stream, "__aiter__") and not hasattr(stream, "__iter__"):
            raise TypeError("an asynchronous request body cannot be sent by a synchronous client")
    elif not hasattr(stream, "__aiter__"):
        raise TypeError(
            "the asynchronous API sends bytes, files and asynchronous iterables of bytes, not "
            f"{type(stream).__name__}: write an async generator that yields its parts"
        )


def _position(stream: Any) -> int | None:
    """Return where a file body stands, so that it can be sent again from there; else None."""
    if hasattr(stream, "__aiter__"):
        return None  # its methods have to be awaited
    try:
        position = stream.tell()
        stream.seek(position)
    except (AttributeError, OSError, ValueError):
        return None
    return position if isinstance(position, int) else None


def expects_continue(prepared: Prepared) -> bool:
    """Whether the request asks the server before it sends its body."""
    if b"100-continue" not in prepared.head.lower():
        return False
    return any(
        name.lower() == b"expect" and value.lower() == b"100-continue"
        for name, value in prepared.request.headers
    )


class Framing:
    """The framing of a body's parts in HTTP/1.1, and the check that they are as long as was
    announced.

    Attributes:
        ended: the last part was framed.
    """

    __slots__ = ("_left", "_length", "ended")

    def __init__(self, length: int) -> None:
        self._length = length
        self._left = length  # bytes that are still to come; of no meaning with CHUNKED
        self.ended = False

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, also before the body has said that it has ended."""
        return self.ended or self._left == 0

    def frame(self, part: bytes) -> bytes:
        """Return a part as it goes on the wire. Raises LocalProtocolError for one too many."""
        if self._length == CHUNKED:
            # An empty chunk would say that the body has ended.
            return encode_chunk(part) if part else b""
        self._left -= len(part)
        if self._left < 0:
            raise LocalProtocolError(f"the body is longer than its announced {self._length} bytes")
        return part

    def end(self) -> bytes:
        """Return what goes after the last part. Raises LocalProtocolError when some is missing."""
        if self._length == CHUNKED:
            self.ended = True
            return LAST_CHUNK
        if self._left:
            raise LocalProtocolError(
                f"the body ended after {self._length - self._left} of its announced "
                f"{self._length} bytes"
            )
        self.ended = True
        return b""


def framed_parts(prepared: Prepared) -> Iterator[bytes]:
    """The body's blocks as they go on the wire; empty ones too.

    Raises LocalProtocolError when the body is not as long as its Content-Length, TypeError
    when it gives anything but bytes.
    """
    framing = Framing(prepared.length)
    for part in body_parts(prepared):
        yield framing.frame(part)
    if last := framing.end():
        yield last


def body_parts(prepared: Prepared) -> Iterator[bytes]:
    """The body's blocks: slices of bytes, reads of a file, or what an iterable gives."""
    content = prepared.content
    if content is not None:
        for start in range(0, len(content), WRITE_SIZE):
            yield content[start : start + WRITE_SIZE]
        return
    source = prepared.request.stream
    parts = iter(lambda: source.read(WRITE_SIZE), b"") if hasattr(source, "read") else source
    for part in parts:
        yield part if type(part) is bytes else to_part(part)


def to_part(part: object) -> bytes:
    """Return a part of a body as bytes; raise TypeError for what is none."""
    if not isinstance(part, (bytes, bytearray, memoryview)):
        kind = type(part).__name__
        raise TypeError(f"the request body gave {kind}, not bytes; open files in binary mode")
    return bytes(part)
