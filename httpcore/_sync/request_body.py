"""Carries out the steps of an upload, with calls that wait.

Owns: which call each step of `_core.upload` and `_core.h1_exchange` is. Must not know: the order of
steps, how HTTP is framed, how a connection is chosen.

A server may answer before it has read the body: 413 for one that is too large, 401 for one that
may not be. So between two blocks, and whenever the connection takes nothing more, it is listened
to. Where the response is not whole by the time its caller gets it, the body's rest is sent by the
reads of the response's body: `Upload.read`.

Sources: RFC 9112 sections 9.5 and 9.6 (a final answer while sending), RFC 9110 sections 10.1.1
(Expect) and 15.2 (interim responses).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from .._backends.base import NetworkStream
from .._core.prepared import Prepared, body_parts
from .._core.upload import (
    FileSpan,
    NextPart,
    Now,
    Read,
    ReadFile,
    Script,
    SeekFile,
    SendFile,
    Step,
    T,
    UploadScript,
    Write,
    WriteAll,
    WriteParts,
    is_sendable,
)

S = TypeVar("S")  # a kind of step


class Upload(UploadScript):
    """One request whose body does not leave with its head.

    Parameters:
        stream: the connection's.
        prepared: the request.
        lenient: how the answer's head is read, see `ConnectionPool`.
    """

    __slots__ = ("_file", "_stream", "_write_listening", "parts")

    def __init__(self, stream: NetworkStream, prepared: Prepared, lenient: bool) -> None:
        self._stream: Any = stream
        # Streams of other makes are written to without listening.
        self._write_listening: Any = getattr(stream, "write_until_readable", None)
        super().__init__(prepared, lenient, deaf=self._write_listening is None)
        self.parts = body_parts(prepared)
        self._file: Any = None

    def first(self) -> bytes:
        """Return what is sent first."""
        first = self._run(self.begin())
        file = self.prepared.request.stream
        if getattr(self._stream, "sends_files", False) and is_sendable(file, self.prepared.length):
            self._file = file
            self.span = FileSpan(file.tell(), self.prepared.length, self.given)
        return first

    def send_rest(self, timeout: float | None) -> None:
        """Send all that follows, or as much as the server wants before the caller has to read."""
        self._run(self.send(timeout))

    def read(self, max_bytes: int, timeout: float | None) -> bytes:
        """Read from the connection, and send the body while nothing is there."""
        data = self._run(self.receive(max_bytes, timeout))
        if data is None:
            data = self._stream.read(max_bytes, timeout)
        return data

    def conclude(self) -> bool:
        """Send what the server wants of the body now that its response is whole. Return whether
        the connection can carry another request."""
        return self._run(self.finish())

    def lose(self, stream: NetworkStream) -> None:
        """Use `stream`, which fails: this is the child of a fork, made in the middle of the upload,
        and the connection is the parent's."""
        self._stream = stream
        self._write_listening = stream.write
        self.deaf = True

    def _run(self, script: Script[T]) -> T:
        return run(script, self._carry_out)

    def _carry_out(self, step: Step) -> Any:
        if type(step) is WriteParts:
            return self._write_parts(*step)
        if type(step) is Write:
            return self._write_listening(*step)
        if type(step) is NextPart:
            return next(self.parts, None)
        if type(step) is WriteAll:
            return self._stream.write(*step)
        if type(step) is SendFile:
            return self._stream.send_file(self._file.fileno(), *step)
        if type(step) is ReadFile:
            return os.pread(self._file.fileno(), step.size, step.offset)
        if type(step) is SeekFile:
            return self._file.seek(step.offset)
        return carry_out(step, self._stream)

    def _write_parts(self, data: memoryview, timeout: float | None) -> int:
        sent, size = 0, len(data)
        while True:
            if size:
                sent = self._write_listening(data, timeout)
            if sent < size or self.framing.ended:
                return sent
            block = self.put(next(self.parts, None))
            data, sent, size = memoryview(block), 0, len(block)
            if not size:
                return 0


def carry_out(step: Step, stream: NetworkStream) -> Any:
    """Carry out a step that needs only the connection's stream."""
    if type(step) is Read:
        return stream.read(*step)
    if type(step) is Now:
        return time.monotonic()
    return stream.get_extra_info("unacknowledged")


def run(script: Generator[S, Any, T], carry_out: Callable[[S], object]) -> T:
    """Carry out all steps of `script`, and return what it returns."""
    try:
        step = next(script)
        while True:
            try:
                result = carry_out(step)
            except BaseException as exc:
                step = script.throw(exc)
            else:
                step = script.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
