"""Threads whose results a test can ask for, and waiting for what nobody announces.

Owns: that, and the bound against hangs. Must not know: what the threads do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tests.support import PATIENCE

#: Seconds after which the ended request has raised; the row says 0.1, this machine may be busy.
SOON = 0.3


class Worker(threading.Thread):
    """Runs a function; `result()` gives what it returned or raises what it raised."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as exc:
            self._error = exc

    def result(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive(), "the thread hangs"
        if self._error is not None:
            raise self._error
        return self._value

    def error(self) -> BaseException:
        """What it raised."""
        self.join(PATIENCE)
        assert not self.is_alive(), "the thread hangs"
        assert self._error is not None, f"the thread returned {self._value!r}"
        return self._error


class Doing:
    """One request in a thread of its own."""

    def __init__(self, request: Callable[[], Any]) -> None:
        self.failure: BaseException | None = None
        self.result: Any = None
        self.ended = 0.0
        self._request = request
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._request()
        except BaseException as exc:
            self.failure = exc
        self.ended = time.monotonic()

    def end(self, how: Callable[[], None]) -> BaseException | None:
        """Call `how` in this thread; what the request raised, which it did at once."""
        start = time.monotonic()
        how()
        assert time.monotonic() - start < 0.05 + 0.1, "who ends a request does not wait"
        self._thread.join(10)
        assert not self._thread.is_alive(), "the request goes on"
        assert self.ended - start < SOON
        return self.failure


def until(condition: Callable[[], Any]) -> None:
    """Wait for something that nobody announces."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, "it does not happen"
        threading.Event().wait(0.001)
