"""The slots of a pool: the lock around the Scheduler, and what is done after it was let go.

Owns: taking the lock, giving slots back, ending what is under way, closing connections and waking
waiters. Must not know: which request gets which connection (that is `_core.scheduler`), how a
connection is opened, requests.

Nothing blocks while the lock is held: dialling, probing and closing happen outside.

A signal handler or a destructor may call any operation while the thread that it has interrupted
holds the lock; `deferred` says what then happens. Here: what only looks takes the lock again, for
the Scheduler's facts are valid at any moment; what changes something goes through `change`, and
each block that holds the lock is followed by `settle`.
"""

from __future__ import annotations

import contextlib
import logging
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from .._backends.fork import renew_in_child
from .._core.checkout import DISCARD, HAND_BACK, after_unusable
from .._core.scheduler import ACTIVE, Owner, Scheduler, Share, Slot, Waiter
from .._core.slot_ends import (
    OrphanOwner,
    adjust,
    end_all,
    end_one,
    ignore_changes,
    is_ended,
    next_to_close,
    wake_all,
)
from .._trace import Trace
from .deferred import Deferred, OwnedLock

logger = logging.getLogger("httpcore.pool")

Answer = TypeVar("Answer")


class PoolSlots:
    """A Scheduler that threads, signal handlers and destructors may use.

    Bodies refer to it, not to the pool.

    Parameters:
        hook: the pool's trace hook, which learns of evictions.
        limits: as the Scheduler's.

    Attributes:
        scheduler, lock: use the one while the other is held.
        deferred: what is to be done by the next thread that lets go of the lock.
        spares: slots without limits that were made for requests of signal handlers.
    """

    def __init__(self, hook: Trace | None, **limits: Any) -> None:
        self.hook = hook
        self.limits = limits
        self._begin()
        renew_in_child(self)

    def _begin(self) -> None:
        """Start with no connections, and with a lock that is free."""
        self.scheduler = Scheduler(**self.limits)
        self.lock = OwnedLock()
        self.deferred = Deferred()
        self.spares: weakref.WeakValueDictionary[int, PoolSlots] = weakref.WeakValueDictionary()

    def _renew_in_child(self) -> None:
        """In the child of a fork: begin again. The connections see to themselves."""
        self.scheduler.abandon()
        self._begin()

    def make_spare(self) -> PoolSlots:
        """Return slots without limits, for what may not wait for these."""
        spare = PoolSlots(self.hook, shares=self.limits["shares"])
        self.spares[id(spare)] = spare
        return spare

    # Giving back; `ConnectionPool` asks

    def dialed(self, owner: Owner, connection: object, streams: int | None) -> None:
        """The connection for the slot of `owner` is open."""
        self._settled(self.scheduler.dialed, owner, connection, time.monotonic(), streams)

    def release(self, owner: Owner, reusable: bool, keep_for: float | None) -> None:
        """Give back the slot of `owner`, whose connection was used; see `Scheduler.release`."""
        if self.lock.is_owned():
            self.deferred.append(partial(self._release_now, owner, reusable, keep_for))
            return
        scheduler = self.scheduler
        with self.lock:
            scheduler.release(owner, time.monotonic(), reusable, keep_for)
        if scheduler.closing or scheduler.woken or self.deferred:
            self.settle()

    def _release_now(self, owner: Owner, reusable: bool, keep_for: float | None) -> None:
        with self.lock:
            self.scheduler.release(owner, time.monotonic(), reusable, keep_for)

    def hand_back(self, owner: Owner) -> None:
        """Give back what `owner` has not used."""
        self._settled(self.scheduler.hand_back, owner, time.monotonic())

    def discard(self, owner: Owner) -> None:
        """Give back a connection that has died while it was idle."""
        self._settled(self.scheduler.discard, owner, time.monotonic())

    def refuse(self, owner: Owner, connection: Any) -> str:
        """Give back `connection`, which is not usable; returns what `after_unusable` does.

        If that is because the pool was closed just after `owner` had got it, `owner` ends as the
        other requests did, and asks for no new one.
        """
        step = after_unusable(connection)
        if is_ended(owner):
            owner.aborted = True
        if step is HAND_BACK:
            self.adjust(connection)  # for a moment: it owes an answer
        (self.discard if step is DISCARD else self.hand_back)(owner)
        return step

    def forget(self, owner: Owner) -> None:
        """Let the connection of `owner` go: it is no longer HTTP and no longer the pool's."""
        self._settled(self.scheduler.forget, owner)

    def give_up(self, waiter: Waiter) -> None:
        """Leave the queue; a slot that came in the last moment goes back."""
        with self.lock:
            if not waiter.served:
                self.scheduler.cancel(waiter, time.monotonic())
        self.settle()

    def adjust(self, connection: object) -> None:
        """`connection`, of HTTP/2, can carry more or fewer requests than before."""
        self.change(partial(self._adjust_now, connection))

    def _adjust_now(self, connection: object) -> None:
        self._locked(adjust, self.scheduler, connection, time.monotonic())

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Return what `question`, of the Scheduler, returns under the lock."""
        with self.lock:
            answer = question()
        self.settle_deferred()
        return answer

    # Ending

    def close_idle(self, chooses: Callable[[object], bool] | None) -> None:
        """Close the idle connections whose proxy `chooses` is true for; None for all."""
        self.change(partial(self._locked, self.scheduler.close_idle, chooses))

    def retire(self) -> None:
        """Close idle connections now, and those in use when their response ends."""
        self.change(partial(self._locked, self.scheduler.close))

    def close(self) -> None:
        """Close all connections now, and end the requests that are under way."""
        self.change(partial(self._locked, end_all, self.scheduler))
        for reference in self.spares.valuerefs():
            spare = reference()
            if spare is not None:
                spare.close()

    def interrupt(self, owner: Any) -> None:
        """Let `owner` see, wherever it is, that it is not to go on."""
        source = owner.source
        if source is not None and source.protocol == "http2":
            source.abort()  # its stream is nobody else's, ever; the others on it go on
        else:
            # Under the lock its connection cannot become somebody else's meanwhile.
            self.change(partial(self._locked, end_one, self.scheduler, owner))

    def orphaned(self, orphan: OrphanOwner) -> None:
        """Take the slot back whose owner is gone, and for which `orphan` stands. Called by the
        garbage collector: at any place, maybe while this thread has the lock; and maybe twice."""
        self.deferred.append(partial(self._release_orphan, orphan))
        if self.lock.is_free():
            self.settle(collecting=True)
        # Else the holder of the lock looks into the queue after it has let go.

    def _release_orphan(self, orphan: OrphanOwner) -> None:
        slot = orphan.slot
        if slot is None:
            return
        connection = slot.connection  # once: another thread may do the same
        if type(slot) is Slot and slot.state is ACTIVE and connection is not None:
            connection.close()
        # Of a connection that others share, only a stream is lost (`HTTP2Exchange.discard`).
        self._release_now(orphan, type(slot) is Share, None)

    # What is done without the lock

    def change(self, change: Callable[[], None]) -> None:
        """Carry out `change`, which takes the lock: now, so that it is done when this returns; or
        when the code has let go that we have interrupted in this thread and that has the lock."""
        self.deferred.append(change)
        self.settle()

    def _locked(self, operation: Callable[..., None], *arguments: object) -> None:
        with self.lock:
            operation(*arguments)

    def _settled(self, operation: Callable[..., None], *arguments: object) -> None:
        self._locked(operation, *arguments)
        self.settle()

    def settle_deferred(self) -> None:
        """To be called after the lock was let go, where nothing else has to be done then."""
        if self.deferred:
            self.settle()

    def settle(self, collecting: bool = False) -> None:
        """Do what is left to do without the lock: what was deferred, then close, then wake.

        In this order, so that a connection is closed before there is one in its place. Several
        threads may be here at once, and any may be interrupted: doing it twice does no harm, and a
        waiter that is not woken looks by itself. Where this thread holds the lock, it comes here
        again when it has let go.

        The garbage collector (`collecting`) may have struck a thread that holds the lock of a
        connection. So what several share, which cannot be closed without that, is left to whoever
        comes next.
        """
        if self.lock.is_owned():
            return
        if self.deferred:
            self.deferred.carry_out()
        closing = self.scheduler.closing
        while closing and (connection := next_to_close(closing, collecting)) is not None:
            if self.hook is not None and not connection.is_closed():
                self._report_eviction(connection)
            ignore_changes(connection)
            connection.close()
            with contextlib.suppress(ValueError):
                closing.remove(connection)
        wake_all(self.scheduler.woken)

    def _report_eviction(self, connection: Any) -> None:
        """Call the hook, and report what it raises: that would meet a request that has nothing to
        do with it, and might keep the connection open."""
        try:
            if self.hook is not None:
                self.hook("pool.evict", {"connection": connection})
        except Exception:
            logger.exception("the trace hook failed at pool.evict")
