"""What goes out: a request as it is sent, and the listening while a long body is.

Owns: the blocks of a request's body, `Expect: 100-continue`, and reading while sending. Must not
know: how a connection is chosen; how HTTP is framed (that is `_core.h1`); what an early answer
means for the body (that is `_core.upload`).

A server may answer before it has read the body: 413 for one that is too large, 401 for one that
may not be. So between two blocks, and whenever the connection takes nothing more, it is listened
to. Where the response is not whole by the time its caller gets it, the body's rest is sent by the
reads of the response's body: `UploadingStream`.

Sources: RFC 9112 sections 9.5 and 9.6 (a final answer while sending), RFC 9110 sections 10.1.1
(Expect) and 15.2 (interim responses).
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import time
from typing import TYPE_CHECKING, Any

from .._backends.base import NetworkStream
from .._backends.interrupt import abort
from .._core.h1 import (
    LAST_CHUNK,
    CloseReader,
    Head,
    Headers,
    HeadReader,
)
from .._core.prepared import WRITE_SIZE, Prepared, expects_continue, framed_parts
from .._core.upload import CLOSING_PATIENCE, HAND_OVER, LISTEN, STOP, UploadPlan, smaller
from .._exceptions import (
    LocalProtocolError,
    NetworkError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    WriteError,
    WriteTimeout,
    without_frames,
)
from .._models import describe
from .response_body import READ_SIZE

if TYPE_CHECKING:
    import ssl

# Bytes: at least as many as stand around the data of a chunk of WRITE_SIZE.
CHUNK_FRAME = 16
# Seconds that a server has to say "100 Continue" before the body is sent all the same: many do not
# know it. RFC 9110 section 10.1.1 forbids to wait for ever; curl waits as long.
CONTINUE_PATIENCE = 1.0


class Upload:
    """One request whose body does not leave with its head.

    Parameters:
        stream: the connection's.
        prepared: the request.
        lenient: how the answer's head is read, see `ConnectionPool`.

    Attributes:
        plan: what to do next.
        head: the final response's head, when it came before the body was sent.
        reader: has read what came early, or None when nothing did.
        failure: what went wrong with the response's body, when it came so early.
        timeout: seconds in which the server has to take something.
    """

    __slots__ = (
        "_asks",
        "_deaf",
        "_early",
        "_ended",
        "_finished",
        "_may_send",
        "_parts",
        "_prepared",
        "_source",
        "_stream",
        "_write",
        "failure",
        "head",
        "lenient",
        "plan",
        "reader",
        "timeout",
    )

    def __init__(self, stream: NetworkStream, prepared: Prepared, lenient: bool) -> None:
        self._stream = stream
        self._prepared = prepared
        self._parts = _Parts(prepared)
        self._source: _Parts | _File = self._parts
        self._asks = prepared.length != 0 and expects_continue(prepared)
        self._may_send = False
        # Streams of other makes are written to without listening.
        self._write = getattr(stream, "write_until_readable", None)
        self._deaf = self._write is None  # or there is nothing more to be heard
        self._ended = False  # the server has closed
        self._early: list[bytes] = []  # of the response's body
        self.plan = UploadPlan()
        self.lenient = lenient
        self.head: Head | None = None
        self.reader: HeadReader | None = None
        self.failure: RemoteProtocolError | NetworkError | None = None
        self._finished = False
        self.timeout: float | None = None

    @property
    def all_sent(self) -> bool:
        """Whether the request is complete, also where its source was not yet asked for more."""
        return self._finished or self._source.is_done

    def first(self) -> bytes:
        """Return what is sent first: the head, with the first block in the same segment unless
        the server is asked before."""
        given = 0
        head = self._prepared.head
        if not self._asks and (view := self._parts.current()) is not None:
            # Nobody listens while it is written, so it must be what the system takes at once.
            view = view[: WRITE_SIZE + CHUNK_FRAME]
            given = len(view)
            head += view
            self._parts.took(given)
        file = self._file()
        if file is not None:
            self._source = _File(file, self._prepared.length, given)
        return head

    def send_rest(self, timeout: float | None) -> None:
        """Send all that follows, or as much as the server wants before the caller has to read.

        Raises WriteError when the server has closed the connection; what the stream raises.
        """
        self.timeout = timeout
        if self._asks:
            self._await_permission(timeout)
        self._send_on()

    def _send_on(self) -> None:
        while not self._finished:
            step = self.plan.next_step()
            if step in (STOP, HAND_OVER):
                return
            try:
                heard = self._advance(self.plan.patience(self.timeout))
            except WriteTimeout:
                if not self.plan.stalled():
                    raise
                return
            if heard:
                self._listen(0)

    def _advance(self, timeout: float | None) -> bool:
        """Send some of the body; whether something may have come from the server."""
        source = self._source
        if self._deaf:
            part = source.next()
            if part is None:
                self._finished = True
            else:
                self._stream.write(part, timeout)
            return False
        if isinstance(source, _File):
            sent = source.send(self._stream, timeout)
            self._finished = not source.left
            return sent and not self._finished
        view = source.current()
        if view is None:
            self._finished = True
            return False
        assert self._write is not None
        count = self._write(view, timeout)
        source.took(count)
        return bool(count < len(view))

    def lose(self, stream: NetworkStream) -> None:
        """Use `stream`, which fails: this is the child of a fork, made in the middle of the upload,
        and the connection is the parent's."""
        self._stream = stream
        self._write = stream.write
        self._deaf = True

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

    # Listening, before the caller has the response

    def _await_permission(self, timeout: float | None) -> None:
        patience = CONTINUE_PATIENCE if timeout is None else min(CONTINUE_PATIENCE, timeout)
        deadline = time.monotonic() + patience
        while not self._may_send and self.head is None:
            left = deadline - time.monotonic()
            if left <= 0 or not self._listen(left):
                return
        if self.head is not None and not self._may_send:
            self.plan.decline()

    def _listen(self, timeout: float) -> bool:
        """Take in what the server says within `timeout` seconds; False when it said nothing."""
        try:
            data = self._stream.read(READ_SIZE, timeout)
        except ReadTimeout:
            return False
        except ReadError as exc:
            if self.head is None:
                raise
            self.failure = without_frames(exc)  # of the response's body: its reader raises it
            self._deaf = True
            self.plan.end(complete=False)
            return True
        if self.plan.complete:
            self._deaf = True  # an end, or what nobody asked for
            if data and self.head is not None:
                self.head.body.feed(data)
        elif not data:
            self._note_end()
        elif self.head is None:
            self._read_head(data)
        else:
            self._take(data)
        return True

    def _note_end(self) -> None:
        if self.head is None:
            what = describe(self._prepared.request)
            raise WriteError(
                f"the server closed the connection while the body of {what} was being sent"
            )
        self._deaf = self._ended = True
        self.plan.end(complete=type(self.head.body) is CloseReader)

    def _read_head(self, data: bytes) -> None:
        if self.reader is None:
            request = self._prepared.request
            self.reader = HeadReader(
                request.method, request.headers, lenient=self.lenient, informational=self._informed
            )
        head = self.head = self.reader.feed(data)
        if head is None:
            return
        self.plan.answer(head.status, closing=not head.keep_alive)
        if head.switched:
            self._deaf = self.plan.complete = True  # what comes now is no HTTP
            return
        rest, head.rest = head.rest, b""
        self._take(rest)

    def _take(self, data: bytes) -> None:
        """Take in a piece of the response's body."""
        assert self.head is not None
        body = self.head.body
        try:
            part = body.feed(data) if data else b""
        except RemoteProtocolError as exc:
            self.failure = without_frames(exc)
            self.plan.end(complete=False)
            return
        if part:
            self._early.append(part)
            self.plan.held += len(part)
        self.plan.complete = body.done

    def _informed(self, status: int, headers: Headers) -> None:
        if status == 100:
            self._may_send = True
        hook = self._prepared.request.extensions.get("informational")
        if hook is not None:
            hook(status, headers)

    # Once the caller has the response

    def hand_over(self) -> bytes:
        """Return what has arrived of the response's body: the caller reads the rest by `read`."""
        self.plan.handed_over = True
        early = b"".join(self._early)
        self._early.clear()
        return early

    @property
    def goes_on(self) -> bool:
        """Whether the reads of the response have to send, or to show an end that was read here."""
        return self._ended or not (self._finished or self.plan.next_step() == STOP)

    def read(self, max_bytes: int, timeout: float | None) -> bytes:
        """Read from the connection, and send the body while nothing is there."""
        while not (self._finished or self._ended):
            step = self.plan.next_step()
            if step == STOP:
                break
            if step == LISTEN:
                data = self._hear(max_bytes, smaller(CLOSING_PATIENCE, timeout))
                if data is None:
                    self.plan.listened()
            else:
                data = self._hear(max_bytes, 0)
                if data is None:
                    self._send_some(timeout)
            if data is not None:
                self._deaf = self._deaf or not data
                return data
        return b"" if self._ended else self._stream.read(max_bytes, timeout)

    def _hear(self, max_bytes: int, timeout: float | None) -> bytes | None:
        """Read within `timeout` seconds; None when nothing came."""
        try:
            return self._stream.read(max_bytes, timeout)
        except ReadTimeout:
            return None

    def _send_some(self, timeout: float | None) -> None:
        """Send until there is something to read. Nothing in either direction is a timeout, of
        reading or of writing, whichever is shorter."""
        limit = smaller(timeout, self.timeout)
        try:
            self._advance(limit)
        except WriteTimeout as exc:
            if limit == timeout:
                raise ReadTimeout(
                    f"{exc}; nor did a byte of the response to {describe(self._prepared.request)} "
                    "come while its body was being sent"
                ) from exc
            if not self.plan.stalled():
                raise
        except WriteError:
            self.plan.stopped = True  # what the server said before may still be there to be read

    def conclude(self) -> bool:
        """Send what the server wants of the body now that its response is whole. Return whether
        the connection can carry another request."""
        assert self.head is not None
        self.plan.complete = True
        with contextlib.suppress(WriteError):
            self._send_on()
        return self.all_sent and self.head.keep_alive


class UploadingStream(NetworkStream):
    """A stream whose reads send the rest of a request's body.

    Attributes:
        stream: the stream itself.
    """

    __slots__ = ("_upload", "stream")

    def __init__(self, stream: NetworkStream, upload: Upload) -> None:
        self.stream = stream
        self._upload = upload

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._upload.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, timeout)

    def close(self) -> None:
        self.stream.close()

    def abort(self) -> None:
        """End what another thread is doing on the stream."""
        abort(self.stream)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        return self.stream.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)

    @property
    def unclean_eof(self) -> bool:
        return bool(getattr(self.stream, "unclean_eof", False))


class _Parts:
    """The blocks of a body as they go on the wire, each of which may be taken in pieces."""

    __slots__ = ("_left", "_part", "_parts", "_position")

    def __init__(self, prepared: Prepared) -> None:
        self._parts = framed_parts(prepared)
        self._left = prepared.length  # bytes of it that no block had yet; CHUNKED or less: unknown
        self._part = b""
        self._position = 0

    @property
    def is_done(self) -> bool:
        """Whether the last byte was taken."""
        is_last = self._left == 0 or self._part is LAST_CHUNK
        return is_last and self._position >= len(self._part)

    def current(self) -> memoryview | None:
        """Return what is left of the current block, or the next one; None after the last."""
        while self._position >= len(self._part):
            part = next(self._parts, None)
            if part is None:
                return None
            self._part, self._position = part, 0
            self._left -= len(part)
        return memoryview(self._part)[self._position :]

    def took(self, count: int) -> None:
        """Note that so many bytes of the current block were sent."""
        self._position += count

    def next(self) -> bytes | None:
        """Take a block, or what is left of one; None after the last."""
        view = self.current()
        if view is None:
            return None
        start, self._position = self._position, len(self._part)
        return bytes(view) if start else self._part


class _File:
    """The rest of a body that is a regular file, which the system sends by itself.

    Attributes:
        left: bytes of the announced length that were not sent.
    """

    __slots__ = ("_file", "_length", "_offset", "left")

    def __init__(self, file: io.BufferedReader, length: int, given: int) -> None:
        self._file = file
        self._length = length
        self._offset = file.tell()
        self.left = length - given

    @property
    def is_done(self) -> bool:
        """Whether the last byte was taken."""
        return not self.left

    def send(self, stream: Any, timeout: float | None) -> bool:
        """Send until there is something to be read or all was; False when the latter.

        Raises LocalProtocolError when the file is not as long as it was.
        """
        sent = stream.send_file(self._file.fileno(), self._offset, self.left, timeout)
        self._took(sent)
        if self.left and not sent and not os.pread(self._file.fileno(), 1, self._offset):
            raise self._too_short()
        return bool(self.left)

    def next(self) -> bytes | None:
        """Take a block; None after the last."""
        if not self.left:
            return None
        part = os.pread(self._file.fileno(), min(self.left, WRITE_SIZE), self._offset)
        if not part:
            raise self._too_short()
        self._took(len(part))
        return part

    def _took(self, count: int) -> None:
        self._offset += count
        self.left -= count
        self._file.seek(self._offset)
        if not self.left and os.pread(self._file.fileno(), 1, self._offset):
            raise LocalProtocolError(f"the body is longer than its announced {self._length} bytes")

    def _too_short(self) -> LocalProtocolError:
        return LocalProtocolError(
            f"the body ended after {self._length - self.left} of its announced {self._length} bytes"
        )
