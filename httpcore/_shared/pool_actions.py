"""The actions of a pool that do not wait, in either shell.

Owns: the pool's own trace events, what is noted when a request is sent once more and when a
connection was opened, and what a pool says about itself. Must not know: waiting, the network, how a
request is sent (that is in the class of each shell, which derives from `PoolActions`).
"""

from __future__ import annotations

import time
import weakref
from functools import partial
from typing import Any, Generic, TypeVar

from .._core.attempts import MOVE, REPLAY
from .._core.body_state import BodyState
from .._core.checkout import QueueWait
from .._core.connection_state import Backend
from .._core.pool_base import PoolBase
from .._core.pool_report import pool_timeout, report_stats, take_snapshot
from .._core.prepared import Prepared
from .._core.routes import name_route
from .._core.scheduler import Waiter
from .._exceptions import PoolTimeout
from .._models import Request
from .pool_slots import PoolSlots
from .request_log import log_failure

Connection = TypeVar("Connection")  # the interface of connections; each shell has its own


class PoolActions(PoolBase[Backend], Generic[Backend, Connection]):
    """A pool, without what waits."""

    _slots: PoolSlots

    # Events, and what is noted on the way of a request

    def _report(self, name: str, details: dict[str, object]) -> None:
        """Call the pool's hook with one of the pool's own events."""
        if self._slots.hook is not None:
            self._slots.hook(name, details)

    def _report_queued(self, prepared: Prepared) -> None:
        """Report that a request waits for a connection."""
        details = {"request": prepared.request, "route": name_route(prepared.route)}
        self._report("pool.enqueue", details)

    def _report_assigned(self, body: BodyState, connection: object) -> None:
        """Report which connection a request has got, and give that back where the hook raises."""
        try:
            self._report("pool.assign", {"request": body.request, "connection": connection})
        except BaseException:
            body.pool.hand_back(body)
            raise

    def _prepare_next(
        self, step: str, request: Request, connection: Any, failure: BaseException
    ) -> None:
        """Before `request` is sent once more: see to the connection that has failed."""
        if step is not REPLAY and connection is not None and connection.protocol == "http2":
            if step is MOVE:
                connection.avoid(failure)
            else:  # most likely the pool has heard so by now; else it would give us this again
                self._slots.adjust(connection)
        if step is MOVE or step is REPLAY:
            self._note_replay(request, failure)

    def _note_replay(self, request: Request, failure: BaseException | None) -> None:
        """It is sent once more, for this failure or for its status."""
        self._slots.ask(self._slots.scheduler.count_replay)
        self._report("pool.replay", {"request": request, "exception": failure})

    def _note_dialed(self, body: BodyState, connection: Any, opened: Any) -> None:
        """`connection` is open, and `opened` is what does the work; `body` goes first."""
        slots: Any = body.pool
        body.marks.ready = time.monotonic()
        body.marks.opening = connection.opening
        streams = opened.max_streams if opened.protocol == "http2" else None
        opened.on_change = partial(_adjust, weakref.ref(slots), weakref.ref(opened))
        slots.dialed(body, connection, streams)
        if slots.hook is not None:
            self._report_assigned(body, connection)

    def _explain_timeout(self, waiter: Waiter, wait: QueueWait) -> PoolTimeout:
        """Return the error for a request that got no connection."""
        slots = self._slots
        held, now = slots.ask(slots.scheduler.slots), time.monotonic()
        return pool_timeout(waiter.route, wait.timeout, held, slots.limits, now)

    def _log_failure(self, body: BodyState, exc: BaseException) -> BaseException:
        """Log that the request of `body` has failed with `exc`, which is returned."""
        if self._logs_requests and body.request.log:
            log_failure(body, exc)
        return exc

    # Looking, closing

    @property
    def connections(self) -> list[Connection]:
        """The connections of the pool, a new list; look at them, do not use them."""
        found: Any = (slot.connection for slot in self._slots.ask(self._slots.scheduler.slots))
        return [connection for connection in found if connection is not None]

    def stats(self) -> dict[str, Any]:
        """Return what the pool is doing. A snapshot that costs some microseconds and nothing in
        between; thread-safe.

        Keys:
            connections, active, idle, dialing: how many there are, in which state.
            requests: how many requests have a connection or open one; over HTTP/2 they share.
            waiting: how many requests wait for a connection.
            routes: by URL of the server, with its proxy or Unix socket: how many connections are
                ``active``, ``idle``, ``dialing``, and how many requests are ``queued``. Those that
                go on from an HTTP proxy are counted under the proxy.
            waiting_for: the requests that wait longest, 20 at most, the oldest first: ``method``,
                ``url`` (without user, password and values of the query) and ``seconds`` so far.
            totals: since the pool was made (or the process was forked). Connections: ``opened``;
                ``failed``, which could not be opened; ``expired``, closed while idle because their
                time was up or the server was gone; ``evicted``, closed while idle to make room.
                Requests: ``reused``, which got a connection that others had used; ``replayed``,
                how often one was sent again.
        """
        self._slots.settle()  # a thread may have been interrupted before it could
        snapshot = self._slots.ask(partial(take_snapshot, self._slots.scheduler))
        return report_stats(*snapshot, time.monotonic())

    def close(self) -> None:
        """Close all connections now, and end the requests that are under way: wherever they are,
        they raise `httpcore.NetworkError` (more precisely `httpcore.exceptions.Aborted`) at once.

        Waits for nothing. Any thread may call it, and for a synchronous pool a signal handler too.
        A synchronous pool stays usable. An asynchronous one raises RuntimeError for requests after
        that, until ``async with`` opens it again. See `retire` for letting responses end.
        """
        self._slots.close()


def _adjust(slots: Any, connection: Any) -> None:
    """`PoolSlots.adjust`, for a connection that must not keep its pool alive."""
    slots, connection = slots(), connection()
    if slots is not None and connection is not None:
        slots.adjust(connection)
