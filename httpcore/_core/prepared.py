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

# Bytes per write of a body, and the largest body that leaves together with its head. Copying
# this much costs less than a second system call and a second packet.
WRITE_SIZE = 131072


class Prepared:
    """A request that was checked and encoded, with all that goes with it from here on.

    It is made before a connection is taken for it, by `prepare`, and belongs to one thread.

    Attributes:
        request: the request.
        head: the bytes of its head.
        length: of its body: 0 for none, CHUNKED, or the Content-Length in bytes.
        special: it is a CONNECT or an Upgrade, so the connection may change hands.
        content: the body when it is all there, else None.
        timeouts: the `Timeouts` that hold for it.
        start: where its body stood before it was sent, to be sent again from there; 0 for bytes;
            None for a body that can be sent only once.
        route: the pool's `Route` to its server; None on a connection that is driven by hand.
        deadline: when its total is over; None without a total.
    """

    __slots__ = (
        "content",
        "deadline",
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
        self.timeouts = timeouts
        self.start: int | None = 0
        self.route: Any = None
        self.deadline: Any = None  # a `Deadline`, which has a clock

    @property
    def is_repeatable(self) -> bool:
        """Whether the body can be sent again: the parts of an iterator are gone."""
        return self.start is not None or self.length == 0

    def rewind(self) -> None:
        """Let a file give its body again, from where it began. Raises OSError or ValueError where
        the file cannot do that any more."""
        if self.content is None and self.start is not None:
            stream: Any = self.request.stream
            stream.seek(self.start)


def prepare(request: Request, lenient: bool = False, default: Timeouts = NO_TIMEOUTS) -> Prepared:
    """Encode the head, check it against the body, and read the timeouts.

    Parameters:
        lenient: which header names are sent, see `encode_request`.
        default: the timeouts of a request that brings none.

    Raises LocalProtocolError, TypeError or ValueError; nothing has been sent then.
    """
    head, length, special = encode_request(
        request.method, request.url.target, request.headers, lenient
    )
    timeouts = default
    if request.extensions:
        check_hooks(request.extensions)
        timeout = request.extensions.get("timeout")
        if timeout is not None:
            timeouts = read_timeouts(timeout)
    stream = request.stream
    if type(stream) is not ByteStream:
        prepared = Prepared(request, head, length, special, None, timeouts)
        prepared.start = _position(stream)
        return prepared
    content = stream.content
    if length != len(content) and length != CHUNKED:
        raise LocalProtocolError(
            f"the body has {len(content)} bytes, but the headers announce {length}"
        )
    return Prepared(request, head, length, special, content, timeouts)


def _position(stream: Any) -> int | None:
    """Where a file body stands, so that it can be sent again from there; else None."""
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


def framed_parts(prepared: Prepared) -> Iterator[bytes]:
    """The body's blocks as they go on the wire.

    Raises LocalProtocolError when the body is not as long as its Content-Length, TypeError
    when it gives anything but bytes.
    """
    if prepared.length == CHUNKED:
        for part in body_parts(prepared):
            if part:  # an empty chunk would say that the body has ended
                yield encode_chunk(part)
        yield LAST_CHUNK
        return
    left = prepared.length
    for part in body_parts(prepared):
        left -= len(part)
        if left < 0:
            raise LocalProtocolError(
                f"the body is longer than its announced {prepared.length} bytes"
            )
        yield part
    if left:
        raise LocalProtocolError(
            f"the body ended after {prepared.length - left} of its announced "
            f"{prepared.length} bytes"
        )


def body_parts(prepared: Prepared) -> Iterator[bytes]:
    """The body's blocks: slices of bytes, reads of a file, or what an iterable gives."""
    content = prepared.content
    if content is not None:
        for start in range(0, len(content), WRITE_SIZE):
            yield content[start : start + WRITE_SIZE]
        return
    source: Any = prepared.request.stream
    parts = iter(lambda: source.read(WRITE_SIZE), b"") if hasattr(source, "read") else source
    if hasattr(parts, "__aiter__") and not hasattr(parts, "__iter__"):
        raise TypeError("an asynchronous request body cannot be sent by a synchronous client")
    for part in parts:
        if type(part) is not bytes:
            if not isinstance(part, (bytes, bytearray, memoryview)):
                kind = type(part).__name__
                raise TypeError(
                    f"the request body gave {kind}, not bytes; open files in binary mode"
                )
            part = bytes(part)
        yield part
