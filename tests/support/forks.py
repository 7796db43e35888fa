"""Children of os.fork() that tell their parent what they found, and end without a trace.

Owns: forking, the pipe back, and the end of the child. Must not know: the packages under test.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from tests.support import PATIENCE


class Child:
    """A child process that runs `work()`. Start it by making it; then ask for its `result()`.

    The child leaves by os._exit: no fixture, no destructor and no exit handler of the test process
    runs a second time.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._reader, writer = os.pipe()
        self.pid = _fork()
        if self.pid == 0:
            _be_child(writer, work)
        os.close(writer)

    def result(self) -> Any:
        """What `work` returned, once the child has ended; AssertionError with what it raised."""
        try:
            answer = self._read()
        finally:
            os.close(self._reader)
            status = os.waitpid(self.pid, 0)[1]
        assert answer, f"the child said nothing and ended with status {status:#x}"
        done, value = pickle.loads(answer)
        assert done, f"the child raised\n{value}"
        return value

    def _read(self) -> bytes:
        parts: list[bytes] = []
        while True:
            if not select.select([self._reader], [], [], PATIENCE)[0]:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(f"the child {self.pid} hangs")
            data = os.read(self._reader, 65536)
            if not data:
                return b"".join(parts)
            parts.append(data)


def in_child(work: Callable[[], Any]) -> Any:
    """What `work()` returns in a child of this process."""
    return Child(work).result()


def _fork() -> int:
    with warnings.catch_warnings():
        # Since 3.12: "use of fork() may lead to deadlocks in the child". Here that is the subject.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _be_child(writer: int, work: Callable[[], Any]) -> None:
    try:
        signal.alarm(int(2 * PATIENCE))  # should the parent be gone
        try:
            answer = True, work()
        except BaseException:
            answer = False, traceback.format_exc()
        with open(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
    finally:
        os._exit(0)
