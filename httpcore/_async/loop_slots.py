"""The slots of an asynchronous pool, and the event loop that they belong to.

Owns: noticing that a pool is used in another loop than before, or after it was closed. Must not
know: which request gets which connection, how a loop waits.

A connection belongs to the loop in which it was opened. A program may run several, one after the
other (`asyncio.run` makes a new one each time): what the old one has left is closed, and the pool
begins again. Two loops that are open at once cannot share a pool.

A pool that was closed refuses requests until it is entered again (``async with``): most likely its
user has made a mistake, and the connection that it would open is never closed.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

from .._backends.event_loops import EventLoop, running_loop
from .._backends.loops import load_loops, loop_of
from .._shared.pool_slots import PoolSlots
from .._trace import Trace


class LoopSlots(PoolSlots):
    """As `PoolSlots`, for the tasks of one event loop at a time.

    Attributes:
        native: what `running_loop` returned when the pool was used last; None before.
        loop: the `EventLoop` for it.
        entered: `native`, as long as a request in that loop needs no `enter` first; else None.
        closed: whether the pool was closed, and not opened again.
    """

    loop: EventLoop

    def __init__(self, hook: Trace | None, **limits: Any) -> None:
        self.native: Any = None
        self.entered: Any = None
        self.closed = False
        load_loops()
        super().__init__(hook, **limits)

    def enter(self) -> None:
        """Belong to the loop that runs this code.

        Raises RuntimeError where the pool was closed, where another loop is open that has
        connections of this pool, and where none runs.
        """
        native = running_loop()
        self._refuse_if_closed()
        if native is not self.native:
            self._move_to(native)
        self.entered = native
        self._refuse_if_closed()  # again: another thread may have closed it meanwhile

    def _refuse_if_closed(self) -> None:
        if self.closed:
            self.entered = None
            raise RuntimeError(
                "this pool was closed: make a new one, or open it again with 'async with pool:'"
            )

    def close(self) -> None:
        """Do as `PoolSlots.close` does, and refuse requests until `reopen` is called."""
        self.closed = True
        self.entered = None
        super().close()

    def _renew_in_child(self) -> None:
        self.entered = None  # the task that forked still counts as one that its loop runs
        super()._renew_in_child()

    def reopen(self) -> None:
        """Take requests, also after `close`."""
        self.closed = False

    def _move_to(self, native: Any) -> None:
        if self.native is not None:
            figures = self.ask(self.scheduler.stats)
            is_used = figures["connections"] or figures["waiting"]
            if is_used and not self.loop.is_gone():
                raise RuntimeError(
                    "this pool has connections in another event loop, which is still open: make "
                    "one pool for each loop, or close the pool there first"
                )
            self._leave_behind()
        self.native, self.loop = native, loop_of(native)

    def __del__(self) -> None:
        """Close what a pool has left that was not closed: its loop would watch it for ever."""
        with contextlib.suppress(Exception):  # it was never complete, or the interpreter shuts down
            found = [slot.connection for slot in self.scheduler.slots()]
            left = [each for each in found if each is not None and not each.is_closed()]
            for connection in left:
                connection.close()
            if left:
                text = f"a pool was dropped with {len(left)} open connections: close it"
                warnings.warn(text, ResourceWarning, stacklevel=2, source=self)

    def _leave_behind(self) -> None:
        """Close what belongs to a loop that is gone, and begin again."""
        connections = [slot.connection for slot in self.scheduler.slots()]
        self.scheduler.abandon()
        self._begin()
        for connection in connections:
            with contextlib.suppress(Exception):  # of a stream of another make
                if connection is not None:
                    connection.close()
