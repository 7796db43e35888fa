"""Ending what is under way on the slots of a pool, from outside of its requests.

Owns: who is woken and what is aborted when a pool is closed, or one request ended; what stands for
an owner that is gone. Must not know: the pool's lock, which the caller holds; how a connection is
ended.
"""

from __future__ import annotations

import contextlib
from typing import Any

from .scheduler import ACTIVE, DIALING, Owner, Scheduler, Share, Slot, Waiter


class OrphanOwner:
    """Holds the slot of an owner that is gone, just long enough to release it."""

    __slots__ = ("aborted", "slot")

    def __init__(self, slot: Slot | Share) -> None:
        self.slot: Slot | Share | None = slot
        self.aborted = False


class SecondOwner(OrphanOwner):
    """Holds what a response holds on which more is to be read, and gives it back where the
    response is gone and has not done so.

    A signal handler may strike at the very beginning of the response's destructor. What it raises
    ends that, and goes nowhere. The one here follows.

    Parameters:
        slot: the response's; None once that was given back.
        pool: takes it back.
        source: the response's.
    """

    __slots__ = ("pool", "source")

    def __init__(self, slot: Slot | Share, pool: Any, source: Any) -> None:
        self.pool = pool
        self.source = source
        super().__init__(slot)

    def __del__(self) -> None:
        if getattr(self, "slot", None) is None:
            return
        if self.source.protocol == "http2":
            self.source.discard()
        self.pool.orphaned(self)


def end_all(scheduler: Scheduler) -> None:
    """Close the idle connections of `scheduler`, and end all requests that are under way."""
    scheduler.close()
    for waiter in scheduler.waiters():
        waiter.owner.aborted = True
        _wake(waiter)
    for slot in scheduler.slots():
        slot.aborted = True  # for who makes its connection, or has not come to use it yet
        _abort(slot)


def end_one(scheduler: Scheduler, owner: Owner) -> None:
    """Let the request of `owner` end, which is marked as aborted: it waits for a connection, or has
    one of its own."""
    waiter = scheduler.waiter_of(owner)
    if waiter is not None:
        _wake(waiter)
    slot = owner.slot
    if type(slot) is Slot and slot.state in (ACTIVE, DIALING):
        _abort(slot)


def is_ended(owner: Owner) -> bool:
    """Return whether `end_all` was called since `owner` got its slot."""
    slot = owner.slot
    if type(slot) is Share:
        slot = slot.slot
    return slot is not None and slot.aborted


def adjust(scheduler: Scheduler, connection: object, now: float) -> None:
    """Count how many requests `connection`, of HTTP/2, can carry now."""
    for slot in scheduler.slots():
        if slot.connection is not None and slot.connection.opened is connection:
            if connection.is_draining:
                scheduler.drain(slot, now)
            else:
                scheduler.resize(slot, connection.max_streams, now)


def is_shared(connection: object) -> bool:
    """Return whether several requests share `connection`."""
    opened = getattr(connection, "opened", None)
    return opened is not None and opened.protocol == "http2"


def ignore_changes(connection: object) -> None:
    """Hear no more of what `connection` can carry: it has no slot, and is about to be closed.

    Else each of many that are closed in a row would have the rest closed inside of its own close.
    """
    opened = getattr(connection, "opened", None)
    if opened is not None:
        opened.on_change = None


def next_to_close(closing: list[Any], spare_shared: bool) -> Any:
    """Return one of the connections that are to be closed; None where there is none.

    Parameters:
        spare_shared: leave those that several requests share.
    """
    for connection in reversed(list(closing)):  # a copy: other threads take out what they closed
        if not (spare_shared and is_shared(connection)):
            return connection
    return None


def wake_all(woken: list[Waiter]) -> None:
    """Wake those who have been served. Called without the pool's lock: the woken would run into
    it. Several threads may do so at once."""
    while woken:
        try:  # as `_wake` does, without its calls: a busy pool comes here for each request
            event = woken.pop().event
            if event is not None:
                event.release()
        except (IndexError, RuntimeError):
            pass  # another thread took the last one, or has woken it before


def _wake(waiter: Waiter) -> None:
    if waiter.event is not None:  # else it has not gone to sleep yet, and will look
        with contextlib.suppress(RuntimeError):  # it was woken already
            waiter.event.release()


def _abort(slot: Slot) -> None:
    """End what is going on on this slot's connection."""
    if slot.connection is not None:  # else it is about to be made, and its maker will look
        # What a stream of somebody's own make raises would meet whoever does what was deferred.
        with contextlib.suppress(Exception):
            slot.connection.abort()
