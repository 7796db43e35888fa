"""The changes that cannot be made at once because this thread holds the lock already.

Owns: a queue of changes, and that none gets lost. Must not know: what they change.

A signal handler or a destructor may strike a thread that holds the lock of a pool or of a
connection, and close that pool, cancel a request, or drop a response. The interrupted code cannot
let go before the handler returns, so to wait for the lock would be to wait for ever; and to take it
again would be to change what the interrupted code is in the middle of changing. So:

- Each of these locks is an RLock, which knows its owner: `OwnedLock.is_owned` is asked before it is
  taken, by whoever may have interrupted somebody.
- Who only reads takes it again, where what is read is valid at any moment.
- Who changes something puts the change into this queue first, and then looks whose the lock is. Its
  own thread's: the interrupted code does it after letting go. Hence each block that holds the lock
  is followed by a look into the queue. Nobody's or another thread's: it is carried out now, so that
  it is done when `close` or `cancel` returns.
- A change takes the lock itself. It is taken out of the queue when it was carried out, not before:
  an exception that comes from outside (KeyboardInterrupt) leaves it for the next look. So it must
  do no harm that it is carried out twice, and by two threads.
- A change does not look into the queue, in which it still stands.
- What neither reads nor can be put off (a request, reading a response) uses something else, or is
  refused.
"""

from __future__ import annotations

import _thread
import contextlib
from collections.abc import Callable
from typing import ClassVar


class OwnedLock(_thread.RLock):  # type: ignore[misc]  # final in the stubs only
    """An RLock that says whether the calling thread has it."""

    __slots__ = ()

    # Known to Python under its private name only; `threading.Condition` stands on it as well.
    is_owned: ClassVar[Callable[[OwnedLock], bool]] = _thread.RLock._is_owned  # type: ignore[attr-defined]

    def is_free(self) -> bool:
        """Return whether nobody has it at this moment. An interrupt in here leaves it as it was:
        one may strike when it has been taken, and before anybody knows."""
        if self.is_owned():
            return False
        try:
            return self.acquire(blocking=False)
        finally:
            try:  # the interrupt may come in these lines as well
                if self.is_owned():
                    self.release()
            finally:
                if self.is_owned():
                    self.release()


class Deferred(list[Callable[[], object]]):
    """A queue of changes. Each operation on it is a single step of Python's, without the GIL too:
    `list(queue)`, which goes through an iterator, is not, nor is a deque's `copy` in a class
    derived from it."""

    __slots__ = ()

    def carry_out(self) -> None:
        """Make the changes, the oldest first, until there are none. The lock is not this
        thread's."""
        while self:
            for change in self.copy():
                try:
                    change()
                except Exception:
                    self._take_out(change)  # it would fail again, in the next thread that looks
                    raise
                self._take_out(change)

    def _take_out(self, change: Callable[[], object]) -> None:
        with contextlib.suppress(ValueError):  # another thread was here, too
            self.remove(change)
