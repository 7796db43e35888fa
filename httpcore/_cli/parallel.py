"""Several URLs at once, over one pool.

Owns: the threads, and that standard output has the bodies in the order of the URLs. Must not know:
how one URL is fetched; `run` does.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from types import SimpleNamespace

import httpcore

from .exits import Exit
from .reading import Options
from .terminal import Terminal

# Requests under way; as many connections as browsers open to one host, so that servers allow it.
AT_ONCE = 6
# Bytes of a body that wait in memory for their turn; more of them wait in a temporary file.
IN_MEMORY = 1024 * 1024

Fetch = Callable[[Options, Terminal, httpcore.CancelToken], Exit]


class Queued:
    """Standard output for one URL: what is written waits until those before it are done.

    Parameters: `write`: writes to the real standard output.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write, self._lock, self._is_next = write, Lock(), False
        self._waiting = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self.close = self._waiting.close

    def write(self, data: bytes) -> None:
        with self._lock:
            (self._write if self._is_next else self._waiting.write)(data)

    def flush(self) -> None:
        """Do nothing: what is written is flushed at once."""

    def begin(self) -> None:
        """Write what waits, and from now on without waiting."""
        with self._lock:
            self._is_next = True
            self._waiting.seek(0)
            shutil.copyfileobj(self._waiting, SimpleNamespace(write=self._write))


def fetch_all(jobs: Sequence[Options], terminal: Terminal, fetch: Fetch) -> Exit:
    """Fetch all of `jobs`; return the first code that is not `Exit.OK`, in their order."""
    cancel = httpcore.CancelToken()
    queues = [Queued(terminal.write) for _ in jobs]
    codes = []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        futures = [
            threads.submit(fetch, job, terminal.writing_to(queue), cancel)
            for job, queue in zip(jobs, queues, strict=True)
        ]
        try:
            for future, queue in zip(futures, queues, strict=True):
                queue.begin()
                codes.append(future.result())
        finally:
            cancel.cancel()  # those that still run, if this is an interruption
            threads.shutdown(cancel_futures=True)
            for queue in queues:
                queue.close()
    return next((code for code in codes if code is not Exit.OK), Exit.OK)
