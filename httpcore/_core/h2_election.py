"""Decides which of the threads that share a connection reads from it, for all of them.

Owns: who is the reader. Must not know: threads and locks themselves, what is read.

A request that has to wait reads if nobody does; else it sleeps until something came for it, or
until the reader leaves and somebody else has to read on. So any thread may be the one that reads,
no thread waits while its data is there, and a request's timeout or end is its own. It is not needed
where an event loop reads.
"""

from __future__ import annotations


class Election:
    """The reader of one connection. Changed with the shell's lock held, except by `resign`.

    Attributes:
        reader: the request whose thread reads; None if nobody does.
        thread: the identity of the thread that reads, or was the last to do so.
        reads_only: the reader does not wait for room to write.
    """

    __slots__ = ("reader", "reads_only", "thread")

    def __init__(self) -> None:
        self.reader: object | None = None
        self.thread = 0
        self.reads_only = False

    def enter(self, exchange: object, thread: int, reads_only: bool) -> bool:
        """Let `exchange` be the reader if there is none; return whether it is."""
        if self.reader is not None:
            return False
        # First: a signal handler that finds a reader asks whether it has interrupted that.
        self.thread = thread
        self.reader = exchange
        self.reads_only = reads_only
        return True

    def resign(self, exchange: object) -> None:
        """Let `exchange` read no more, if it does. One step, for the reader itself: it may have
        been interrupted before it got the lock."""
        if self.reader is exchange:
            self.reader = None

    def must_wake_to_write(self) -> bool:
        """Return whether the reader has to be woken because there is something to write now; from
        then on it waits for room, too."""
        if self.reader is None or not self.reads_only:
            return False
        self.reads_only = False
        return True
