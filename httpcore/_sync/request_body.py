"""What goes out: a request as it is sent, and the listening while a long body is.

Owns: the blocks of a request's body, `Expect: 100-continue`, and when to stop sending. Must not
know: how a connection is chosen; how HTTP is framed (that is `_h1`).

A server may answer before it has read the body: 413 for one that is too large, 401 for one that
may not be. A client that only looks when it has sent everything sends it in vain, or never sees
the answer: the server closes, and the reset that follows may overtake it (psf/requests#2422).
So between two blocks, and whenever the connection takes nothing more, it is listened to.

Sources: RFC 9112 section 9.6 (a final answer while sending), RFC 9110 sections 10.1.1 (Expect)
and 15.2 (interim responses).
"""

from __future__ import annotations

import io
import os
import stat
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from .._backends.base import NetworkStream
from .._exceptions import LocalProtocolError, ReadTimeout, WriteError
from .._h1 import CHUNKED, LAST_CHUNK, Head, Headers, HeadReader, encode_chunk, encode_request
from .._models import ByteStream, Request, describe
from .._trace import check_hooks
from .response_body import READ_SIZE

# Bytes per write of a body, and the largest body that leaves together with its head. Copying
# this much costs less than a second system call and a second packet.
WRITE_SIZE = 131072
# Seconds that a server has to say "100 Continue" before the body is sent all the same: many do not
# know it. RFC 9110 section 10.1.1 forbids to wait for ever; curl waits as long.
CONTINUE_PATIENCE = 1.0


class Prepared(NamedTuple):
    """A request, checked and encoded; made before a connection is taken for it."""

    request: Request
    head: bytes
    length: int  # 0 none, CHUNKED, or the Content-Length in bytes
    special: bool  # CONNECT or Upgrade: the connection may change hands
    content: bytes | None  # the body when it is all there, else None


def prepare(request: Request, lenient: bool = False) -> Prepared:
    """Encode the head and check it against the body.

    Parameters:
        lenient: which header names are sent, see `encode_request`.

    Raises LocalProtocolError or TypeError; nothing has been sent then.
    """
    head, length, special = encode_request(
        request.method, request.url.target, request.headers, lenient
    )
    if request.extensions:
        check_hooks(request.extensions)
    stream = request.stream
    if type(stream) is not ByteStream:
        return Prepared(request, head, length, special, None)
    content = stream._content
    if length != len(content) and length != CHUNKED:
        raise LocalProtocolError(
            f"the body has {len(content)} bytes, but the headers announce {length}"
        )
    return Prepared(request, head, length, special, content)


class Upload:
    """One request whose body does not leave with its head.

    Parameters:
        stream: the connection's.
        prepared: the request.
        lenient: how the answer's head is read, see `ConnectionPool`.

    Attributes:
        head: the final response's head, when it came before the body was sent.
        reader: has read what came early, or None when nothing did.
        stopped: the body was not sent to its end, because nobody wants it.
    """

    __slots__ = (
        "_asks",
        "_given",
        "_may_send",
        "_parts",
        "_prepared",
        "_stream",
        "_write",
        "head",
        "lenient",
        "reader",
        "stopped",
    )

    def __init__(self, stream: NetworkStream, prepared: Prepared, lenient: bool) -> None:
        self._stream = stream
        self._prepared = prepared
        self._parts = framed_parts(prepared)
        self._asks = prepared.length != 0 and expects_continue(prepared)
        self._may_send = False
        self._given = 0  # bytes of the body that left with the head
        # Streams of other makes are written to without listening.
        self._write = getattr(stream, "write_until_readable", None)
        self.lenient = lenient
        self.head: Head | None = None
        self.reader: HeadReader | None = None
        self.stopped = False

    def first(self) -> bytes:
        """What is sent first: the head, with the first block in the same segment unless the
        server is asked before."""
        if self._asks:
            return self._prepared.head
        part = next(self._parts, b"")
        self._given = len(part)
        return self._prepared.head + part

    def send_rest(self, timeout: float | None) -> None:
        """Send all that follows, or stop when the server has answered that it does not want it.

        Raises WriteError when it has closed the connection; what the stream raises.
        """
        if self._asks:
            self._await_permission(timeout)
        file = self._file()
        if file is not None and not self.stopped:
            self._send_file(file, timeout)
            return
        for part in self._parts:
            if self.stopped:
                return
            if self._write is None or self.head is not None:
                self._stream.write(part, timeout)
            else:
                self._send_listening(part, timeout)

    def _file(self) -> io.BufferedReader | None:
        """The body, if the system can send it by itself: a regular file of known length."""
        source = self._prepared.request.stream
        if type(source) is not io.BufferedReader or self._prepared.length <= WRITE_SIZE:
            return None
        if not getattr(self._stream, "sends_files", False):
            return None
        try:
            return source if stat.S_ISREG(os.fstat(source.fileno()).st_mode) else None
        except (OSError, ValueError):
            return None

    def _send_file(self, file: io.BufferedReader, timeout: float | None) -> None:
        stream: Any = self._stream
        number = file.fileno()
        offset = file.tell()
        left = self._prepared.length - self._given
        try:
            while left and not self.stopped:
                if self.head is not None:  # what comes now is its body, and nobody reads it yet
                    part = os.pread(number, min(left, WRITE_SIZE), offset)
                    stream.write(part, timeout)
                    sent = len(part)
                else:
                    sent = stream.send_file(number, offset, left, timeout)
                offset += sent
                left -= sent
                heard = left and self.head is None and self._listen(0)
                if left and not sent and not heard:
                    raise LocalProtocolError(
                        f"the body ended after {self._prepared.length - left} of its announced "
                        f"{self._prepared.length} bytes"
                    )
            if not self.stopped and os.pread(number, 1, offset):
                raise LocalProtocolError(
                    f"the body is longer than its announced {self._prepared.length} bytes"
                )
        finally:
            file.seek(offset)

    def _send_listening(self, part: bytes, timeout: float | None) -> None:
        view = memoryview(part)
        while view and not self.stopped:
            if self.head is None:
                assert self._write is not None
                view = view[self._write(view, timeout) :]
                if view:
                    self._listen(0)
            else:
                self._stream.write(bytes(view), timeout)
                return

    def _await_permission(self, timeout: float | None) -> None:
        patience = CONTINUE_PATIENCE if timeout is None else min(CONTINUE_PATIENCE, timeout)
        deadline = time.monotonic() + patience
        while not self._may_send and self.head is None:
            left = deadline - time.monotonic()
            if left <= 0 or not self._listen(left):
                return
        self.stopped = self.head is not None

    def _listen(self, timeout: float) -> bool:
        """Read what the server says within `timeout` seconds; False when it said nothing."""
        try:
            data = self._stream.read(READ_SIZE, timeout)
        except ReadTimeout:
            return False
        if not data:
            raise WriteError(self._explain_end())
        if self.reader is None:
            request = self._prepared.request
            self.reader = HeadReader(
                request.method, request.headers, lenient=self.lenient, informational=self._informed
            )
        self.head = self.reader.feed(data)
        if self.head is not None:
            # A redirect or a success does not say that the body is unwanted, unless the server
            # goes away over it.
            status = self.head.status
            self.stopped = status >= 400 or (status >= 300 and not self.head.keep_alive)
        return True

    def _explain_end(self) -> str:
        what = describe(self._prepared.request)
        return f"the server closed the connection while the body of {what} was being sent"

    def _informed(self, status: int, headers: Headers) -> None:
        if status == 100:
            self._may_send = True
        hook = self._prepared.request.extensions.get("informational")
        if hook is not None:
            hook(status, headers)


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
