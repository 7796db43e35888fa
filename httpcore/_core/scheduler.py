"""Decides, in one place, which request gets which connection.

Owns: the state of every slot of a pool, its shares, the queue for them, and the limits.
Must not know: sockets, locks, the time of day, and what a connection is. The caller passes
`now`, calls under its own lock, and acts outside of it on what `closing` and `woken` list.
Sources: RFC 9112 section 9 (persistent connections; 9.4 leaves their number to the client,
9.5 lets either side close an idle one at any time). RFC 9113 sections 5.1.2 (how many streams at
once; the server may change that at any time), 6.8 (a connection that takes no new ones) and
9.1 (one connection per peer should do).

How a slot lives
----------------
::

    acquire --> DIALING --dialed--> ACTIVE --release--> IDLE --acquire--> ACTIVE ...
                   |                  |                  |
                   +--release---------+--release,--------+--expired, evicted--> CLOSED
                                         forget

A *line* is all that belongs to one route: its slots, and its waiters. A waiter is either held up
by the limit of its own line, and then nothing that happens elsewhere can help it; or its line is
a *contender*, which needs room in the pool, and an idle slot of any line is room, for it can be
closed. Lines contend in a heap, by the arrival of their first waiter. So whatever comes free, the
oldest waiter that can use it is found without looking at the others.

How a slot is shared
--------------------
A connection of HTTP/2 serves many requests at once, each with a *stream* of its own. Its slot then
has `shares`; an owner holds one of these instead of the slot. ACTIVE means that there is at least
one. A free stream of an ACTIVE slot is of use to its own line only: it needs no heap of contenders,
it goes to the first waiter of the line. Only when the last share is given back does the connection
become idle, and with that room for any line.

Which protocol a connection uses is known when it is up. A line that may be shared is *patient*:
while it has a slot that is DIALING it does not contend for another, because one may do for all that
wait. Whenever a dial ends, the line learns: it was shared, then the line is patient; it was not, or
it failed, then all its waiters dial, as the limits allow.

When an exception strikes in the middle
---------------------------------------
A KeyboardInterrupt may come between any two bytecodes. Nothing here tries to undo. Instead there
are few facts, each changed by a single store, and everything else can be computed from them:

    `_slots` with the `state`, or else the `shares`, of each; `_waiting`; what a dial taught a
    line (`patient`); and the `slot` that each owner refers to.

An operation raises the flag `_mutating` and lowers it as its last act. The next operation that
finds it raised first computes everything else anew. The order of the stores makes that sound:

- Taking: the owner refers to the slot first, then the slot changes its state (or, a new one,
  enters `_slots`). Cut in between, the slot is still IDLE and the reference is worth nothing; and
  the repair replaces each idle slot by a new object, so that a worthless reference can never come
  to mean a slot that another owner has taken since.
- Taking a stream likewise: the owner refers to a new Share first, which then enters the `shares`.
  A reference to one that never did is worth nothing for ever, so a shared slot stays the same
  object when it is idle. Whether it is ACTIVE or IDLE follows from its shares.
- Dialed: the owner goes from the Slot to the first Share while the slot is still DIALING. Whichever
  it refers to, a release then ends it.
- Giving back: the state changes first, then the owner lets go. Cut in between, the owner refers
  to a slot that is no longer ACTIVE, which a second release just drops. A share leaves the `shares`
  first; what becomes of the connection (`expires`, that it retires) is noted before.
- Serving a waiter is taking, on its behalf. Cut after the state changed, the slot is taken, and
  the repair does the rest, waking included. A waiter may be woken twice; that must do no harm.

Hence the one duty of the caller: when an exception comes out of any method here, or anywhere
while an owner may hold a slot or wait for one, call `release(owner, ...)` once more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from itertools import islice
from sys import maxsize
from typing import Any, NamedTuple, Protocol

from ..rules import host_and_port

DIALING = "DIALING"  # reserved for its owner, which is opening the connection
ACTIVE = "ACTIVE"  # its owner is using the connection
IDLE = "IDLE"  # without an owner: open, and waiting for the next request
CLOSED = "CLOSED"  # no longer part of the pool; final

_FOREVER = float("inf")  # seconds; an expiry that never comes
_AT_ONCE = -_FOREVER  # seconds; an expiry that has always passed
_NO_ROUTE = {"active": 0, "idle": 0, "dialing": 0, "queued": 0}
_SLACK = 32  # entries; outdated ones a heap may hold beyond its size before it is swept


class Route(NamedTuple):
    """All that makes a connection fit for a request: equal routes may share connections.

    Parameters:
        scheme: b"http" or b"https".
        host: As it is sent in SNI and resolved by name.
        port: 1..65535.
        ssl_context: The TLS settings, compared by identity; None for the pool's own, or no TLS.
        proxy: The proxy on the way, hashable; None for the pool's own, or none.
        uds: The path of a Unix socket in place of host and port, or None.
    """

    scheme: bytes
    host: bytes
    port: int
    ssl_context: object | None = None
    proxy: object | None = None
    uds: str | None = None


class Owner(Protocol):
    """Anything that may hold a slot, or a share of one. The pool refers to an owner only while it
    waits, and does not compare owners: any owner that has taken over `slot` may release it."""

    slot: Slot | Share | None
    aborted: bool  # the caller's; not looked at here


class RouteState:
    """One route: how many slots it has, which of them are idle or have room, and its waiters."""

    __slots__ = (
        "count",
        "dialing",
        "idle",
        "open",
        "patient",
        "queued_as",
        "route",
        "shared",
        "waiters",
    )

    def __init__(self, route: Route, patient: bool) -> None:
        self.route = route
        self.patient = patient  # a fact: one dial at a time, for it may do for all that wait
        self.shared = False  # some of its slots are or were shared: `acquire` must look closer
        self.count = 0
        self.dialing = 0  # of `count`
        self.idle: dict[Slot, None] = {}  # newest last
        self.open: list[tuple[int, Slot]] = []  # heap of slots with free streams; see `_open`
        self.waiters: OrderedDict[int, Waiter] = OrderedDict()  # by sequence, oldest first
        self.queued_as = 0  # the sequence it contends under; 0 when it does not


class Slot:
    """Room for one connection. Only the Scheduler changes `state`; read it under the same lock.

    Attributes:
        route: What it connects to.
        state: DIALING, ACTIVE, IDLE or CLOSED.
        connection: The caller's object; None before `dialed` and after the slot was closed.
        created: When the connection was up (before that: when dialing began), in seconds.
        expires: While idle, when it must be closed, in seconds; infinity for never.
        idle_since: When it became idle last (before that: when dialing began), in seconds.
        served: Requests that it has carried and that are over.
        aborted: Free for the caller: its owner is to give up.
        shares: Its users, when several may use it at once; None when it serves one after the other.
        streams: How many may at once, as the server said last; more may, from before.
    """

    __slots__ = (
        "_due",
        "_listed",
        "_number",
        "_retires",
        "aborted",
        "connection",
        "created",
        "expires",
        "idle_since",
        "route",
        "route_state",
        "served",
        "shares",
        "state",
        "streams",
    )

    def __init__(self, line: RouteState, now: float) -> None:
        self.route = line.route
        self.state = DIALING
        self.connection: Any = None
        self.created = now
        self.expires = _FOREVER
        self.served = 0
        self.aborted = False
        self.shares: dict[Share, None] | None = None
        self.streams = 1
        self._number = 0  # of shared ones: the order in which they came up
        self._listed = False  # it has an entry in `open` of its line
        self.route_state = line
        self._retires = _FOREVER  # created + max_age
        self.idle_since = now
        self._due = _FOREVER  # when the heap of expiries will look at it; never after `expires`

    def __repr__(self) -> str:
        where = host_and_port(self.route.host.decode("ascii", "replace"), self.route.port)
        shares = "" if self.shares is None else f", shares {len(self.shares)}/{self.streams}"
        return f"<Slot [{where}, {self.state}, served {self.served}{shares}]>"


class Share:
    """One owner's share of a slot that several use at once: one stream of its connection.

    Attributes:
        slot: The slot. It stays the same as long as the connection is part of the pool.
        idle_since: When the connection had become idle, if it was when this was taken; else when
            this was taken. In seconds.
        aborted: Free for the caller: its owner is to give up.
    """

    __slots__ = ("aborted", "idle_since", "slot")

    def __init__(self, slot: Slot, idle_since: float) -> None:
        self.slot = slot
        self.idle_since = idle_since
        self.aborted = False

    @property
    def route(self) -> Route:
        """Return what the connection leads to."""
        return self.slot.route

    @property
    def connection(self) -> Any:
        """Return the caller's object, the same for all shares of a slot; None once that was
        closed."""
        return self.slot.connection

    @property
    def state(self) -> str:
        """Return ACTIVE; CLOSED once it was given back."""
        shares = self.slot.shares
        return self.slot.state if shares is not None and self in shares else CLOSED

    def __repr__(self) -> str:
        return f"<Share [{self.state}] of {self.slot!r}>"


class Waiter:
    """A place in the queue.

    Attributes:
        route, owner, fresh: As they were passed to `acquire`.
        sequence: Grows in order of arrival.
        since: When it arrived, in seconds.
        event: Free for the caller: what its thread sleeps on.
        served: True once `owner.slot` is set.
        cancelled: True once it was given up.
    """

    __slots__ = (
        "cancelled",
        "event",
        "fresh",
        "owner",
        "route",
        "route_state",
        "sequence",
        "served",
        "since",
    )

    def __init__(
        self, line: RouteState, owner: Owner, fresh: bool, sequence: int, since: float
    ) -> None:
        self.route_state = line
        self.route = line.route
        self.owner = owner
        self.fresh = fresh
        self.sequence = sequence
        self.since = since
        self.event: Any = None
        self.served = False
        self.cancelled = False


# What holds whenever no operation is under way (`check` asserts it, by these numbers):
#
#  1. There are never more slots than `max_connections`, nor more of one route than `max_per_route`.
#  2. There are never more idle slots than `max_keepalive`, and none that `close` has met.
#  3. A slot that is DIALING or ACTIVE has exactly one owner; one that is IDLE or CLOSED has none.
#     A shared one that is ACTIVE has shares, and each of these has exactly one owner.
#  4. No waiter sleeps while a slot could serve it: a line with waiters has no idle slot and no free
#     stream; and it is at its own limit, or waits for its own dial, or the pool is full and
#     nothing in it is idle.
#  5. What comes free goes to the oldest waiter that it can serve, and a newcomer is never served
#     before a waiter that the same slot could have served. Of slots with a free stream the oldest
#     is used first. Of idle slots the newest of its route is used first, and the oldest is closed
#     first.
#  6. No slot is lost: whatever is raised, and wherever, once each owner was released no slot is
#     DIALING or ACTIVE, and each connection is idle, listed in `closing`, or was forgotten.
#  7. A route without slots and without waiters leaves no trace.
#  8. An operation looks at O(1) slots and waiters, amortised, however many there are. (The two
#     heaps add a logarithm of comparisons in C, and not on the warm path.)
#  9. No slot is handed out past its expiry; and no owner joins one that is past `max_age`, was
#     drained, met `close`, was once released as not reusable, or has no free stream.


class Scheduler:
    """Hands out slots. Not thread-safe, not re-entrant: call it under a lock, and not from
    a destructor, which may run in the middle of any call (queue such owners, release them later).

    Parameters:
        max_connections: Limit of slots in all, >= 1; None for no limit.
        max_keepalive: Limit of idle slots, >= 0; None for no limit.
        max_per_route: Limit of slots of one route, >= 1; None for no limit.
        keepalive_expiry: Seconds that a slot may be idle; None for no limit.
        max_age: Seconds since dialing after which a connection is not reused; None for no limit.
        shares: Whether connections of a route may turn out to serve several requests at once;
            None if none do. Asked once per line. While such a line dials, the others wait for it.

    Attributes:
        closing: Connections to be closed. The caller takes the list and leaves a new one. After
            an interruption one may be listed a second time.
        woken: Waiters that were served, to be woken; their `owner.slot` is set. Likewise.
        touched: Slots and queue entries looked at off the warm path so far (for tests).
        opened, failed, expired, evicted: see `totals`.
        replayed: see `count_replay`.

    Raises:
        ValueError: A limit is too low.
    """

    __slots__ = (
        "_expiries",
        "_idle",
        "_keep",
        "_latest",
        "_lines",
        "_max",
        "_max_age",
        "_max_idle",
        "_max_per_route",
        "_mutating",
        "_ready",
        "_reap_at",
        "_reused",
        "_sequence",
        "_shares",
        "_slots",
        "_waiting",
        "closing",
        "evicted",
        "expired",
        "failed",
        "opened",
        "replayed",
        "touched",
        "woken",
    )

    def __init__(
        self,
        *,
        max_connections: int | None = None,
        max_keepalive: int | None = None,
        max_per_route: int | None = None,
        keepalive_expiry: float | None = None,
        max_age: float | None = None,
        shares: Callable[[Route], bool] | None = None,
    ) -> None:
        self._shares = shares
        self._max = _limit("max_connections", max_connections, 1)
        self._max_idle = _limit("max_keepalive", max_keepalive, 0)
        self._max_per_route = _limit("max_per_route", max_per_route, 1)
        self._keep = _FOREVER if keepalive_expiry is None else keepalive_expiry
        self._max_age = _FOREVER if max_age is None else max_age
        self.closing: list[Any] = []
        self.woken: list[Waiter] = []
        self.touched = 0
        # The facts.
        self._mutating = False
        self._slots: dict[Slot, None] = {}
        self._waiting: OrderedDict[int, Waiter] = OrderedDict()  # by id(owner), oldest first
        # What follows from them.
        self._lines: dict[Route, RouteState] = {}
        self._idle: OrderedDict[Slot, None] = OrderedDict()  # of all lines, newest last
        self._ready: list[
            tuple[int, RouteState]
        ] = []  # heap of contenders; outdated: queued_as differs
        self._expiries: list[tuple[float, int, Slot]] = []  # heap; outdated: _due differs
        self._reap_at = _FOREVER  # no idle slot expires before
        # For people; an interruption may cost them one.
        self.opened = self.failed = self.expired = self.evicted = self.replayed = 0
        self._reused = 0  # of slots that are closed
        # Bookkeeping.
        self._sequence = 0
        self._latest = _AT_ONCE  # the last `now` that passed off the warm path

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {value}" for name, value in self.stats().items() if value)
        return f"<Scheduler [{figures or 'empty'}]>"

    # The operations. Those that only look (`stats`, `routes`, `totals`, `waiters`, `waiter_of` and
    # `slots`) go by the facts, change nothing, and may be called in the middle of any other, by a
    # signal handler that has interrupted it in the same thread. The first lines of `acquire` and
    # `release` are the warm path, and on purpose call nothing that is written in Python.

    def acquire(
        self, route: Route, owner: Owner, now: float, fresh: bool = False
    ) -> Slot | Share | Waiter:
        """Ask for a slot, or for a share of one.

        Parameters:
            route: Where to.
            owner: On whose behalf. Its `slot` must be None, and is set with the answer.
            now: Monotonic time in seconds.
            fresh: Never an idle slot (for a replay, which must not meet another dead one). One
                that others are using will do.

        Returns:
            A Share of the oldest connection of the route that is in use and has a free stream.
            Or the connection of the route that became idle last: a Slot that is ACTIVE, or a
            Share of it. Or a Slot that is DIALING: the caller opens the connection, then calls
            `dialed`. Or a Waiter: its `owner.slot` will be set when it appears in `woken`.

        Raises:
            RuntimeError: The owner holds a slot, or waits for one.
        """
        if self._mutating:
            self._repair(now)
        if owner.slot is not None:
            raise RuntimeError("this owner holds a slot already; release it first")
        if now >= self._reap_at:
            self._reap(now)
        line = self._lines.get(route)
        if line is None or fresh or line.shared or not line.idle:
            return self._acquire_cold(line or self._new_line(route), owner, now, fresh)
        self._mutating = True
        slot = line.idle.popitem()[0]
        del self._idle[slot]
        owner.slot = slot  # before the state: a slot that is ACTIVE always has its owner
        slot.state = ACTIVE
        self._mutating = False
        return slot

    def release(
        self, owner: Owner, now: float, reusable: bool, keep_for: float | None = None
    ) -> None:
        """Give the slot back, whatever its state; also withdraw an owner that waits.

        May be called any number of times, and from any error handler: without a slot it does
        nothing. Afterwards `owner.slot` is None.

        Parameters:
            owner: The one that holds it.
            now: Monotonic time in seconds.
            reusable: May another request use the connection? Ignored while DIALING. Of a Share
                whose connection is not reusable the others go on; no other joins them.
            keep_for: Seconds that the server said it will keep it (`Keep-Alive: timeout=`).
        """
        slot = owner.slot
        if isinstance(slot, Share):
            return self._leave(slot, owner, now, reusable, keep_for)
        if slot is None or not reusable or slot.state != ACTIVE:
            return self._give_back(owner, now, _AT_ONCE, True)
        slot.served += 1
        expires = now + self._keep
        if slot._retires < expires:
            expires = slot._retires
        if keep_for is not None and now + keep_for < expires:
            expires = now + keep_for
        if self._mutating or self._waiting or expires <= now or len(self._idle) >= self._max_idle:
            line = slot.route_state
            if line.queued_as and not self._mutating and expires > now:
                if self._ready[0][0] == line.queued_as and not line.waiters[line.queued_as].fresh:
                    return self._pass_on(slot, line, owner, now, expires)
            return self._give_back(owner, now, expires)
        self._mutating = True
        slot.expires = expires  # before the state: the repair goes by it once the slot is IDLE
        slot.idle_since = now
        slot.state = IDLE
        slot.route_state.idle[slot] = None
        self._idle[slot] = None
        if expires < slot._due:
            self._watch(slot)
        owner.slot = None  # after the state: cut in between, a second release only drops the slot
        self._mutating = False
        return None

    def dialed(
        self, owner: Owner, connection: object, now: float, streams: int | None = None
    ) -> None:
        """Note that the owner's slot has its connection: DIALING becomes ACTIVE.

        Parameters:
            owner: The one that was dialing.
            connection: Any object but None; the pool only stores it, and lists it in `closing`.
            now: Monotonic time in seconds; the age of the connection counts from here.
            streams: How many requests the connection serves at once, >= 0; None: one, then the
                next. With a number, the owner's slot is a Share afterwards.

        Raises:
            RuntimeError: The owner holds no slot that is DIALING.
        """
        if self._mutating:
            self._repair(now)
        slot = owner.slot
        if not isinstance(slot, Slot) or slot.state != DIALING:
            raise RuntimeError("this owner has no slot that is being dialed")
        line = slot.route_state
        self._latest = now
        self._mutating = True
        slot.created = now
        if slot._retires == _FOREVER:  # else `close` was called while it was dialed
            slot._retires = now + self._max_age
        slot.connection = connection
        self.opened += 1
        line.patient = streams is not None
        if streams is not None:
            self._share(slot, owner, now, streams)
        slot.state = ACTIVE
        line.dialing -= 1
        if line.waiters:
            self._assign_streams(line, now)
            self._serve(now)
        self._mutating = False

    def resize(self, slot: Slot | Share, streams: int, now: float) -> None:
        """Note that the server changed how many requests a connection serves at once.

        Those that are under way go on, be they more. Of a connection that is closed, that was
        never shared or that this pool does not know, it changes nothing.

        Parameters:
            slot: The slot of the connection, or any share of it.
            streams: >= 0; with 0 no owner joins for now (and if it is idle, it is closed).
            now: Monotonic time in seconds.
        """
        if isinstance(slot, Share):
            slot = slot.slot
        if self._mutating:
            self._repair(now)
        if slot.shares is None or slot not in self._slots:
            return
        self._latest = now
        self._mutating = True
        slot.streams = streams
        if slot.state == ACTIVE:
            self._offer(slot)
            self._assign_streams(slot.route_state, now)
        elif slot.state == IDLE and not streams:
            self._expire(slot)
        self._mutating = False

    def drain(self, slot: Slot | Share, now: float) -> None:
        """Note that a connection takes no new requests, for good. It is closed when the last that
        is under way was released; at once if it is idle.

        Parameters:
            slot: The slot of the connection, or any share of it.
            now: Monotonic time in seconds.
        """
        if isinstance(slot, Share):
            slot = slot.slot
        if self._mutating:
            self._repair(now)
        if slot not in self._slots:
            return
        self._latest = now
        self._mutating = True
        slot._retires = _AT_ONCE
        if slot.state == IDLE:
            self._expire(slot)
        self._mutating = False

    def forget(self, owner: Owner) -> None:
        """Let the connection leave the pool with its owner (it has changed to another protocol).

        Its slot makes room; the connection is not put into `closing`, its user closes it.
        Without a slot it does nothing. One that others share stays with them: a Share is
        released, as not reusable.
        """
        if self._mutating:
            self._repair(self._latest)
        slot = owner.slot
        if isinstance(slot, Share):
            return self._leave(slot, owner, self._latest, False, None)
        if slot is not None and slot.state == ACTIVE:
            slot.connection = None
        return self._give_back(owner, self._latest, _AT_ONCE, True)

    def cancel(self, waiter: Waiter, now: float) -> None:
        """Take a waiter, which gives up, out of the queue.

        If it was served meanwhile, the slot goes back: to the idle ones if it came from there,
        with its expiry unchanged. Only for a slot that was not used; else call `release`.
        """
        if self._mutating:
            self._repair(now)
        if waiter.served and waiter.owner.slot is not None:
            waiter.cancelled = True
            self.hand_back(waiter.owner, now)
        elif not waiter.served and not waiter.cancelled:
            self._mutating = True
            self._withdraw(waiter)
            self._mutating = False

    def hand_back(self, owner: Owner, now: float) -> None:
        """Give back what the owner got and has not used: to the idle slots if it came from there,
        with its expiry unchanged. Without a slot, do nothing."""
        if self._mutating:
            self._repair(now)
        slot = owner.slot
        if isinstance(slot, Share):
            return self._leave(slot, owner, now, True, None, used=False)
        if slot is None:
            return None
        untouched = slot.state == ACTIVE and slot.served > 0
        expires = min(slot.expires, slot._retires) if untouched else _AT_ONCE
        return self._give_back(owner, now, expires)

    def discard(self, owner: Owner, now: float) -> None:
        """Give back what has died while it was idle: as `release`, not reusable; but it counts as
        expired, and not as reused."""
        if self._mutating:
            self._repair(now)
        slot = owner.slot
        if isinstance(slot, Share):
            self.expired += len(slot.slot.shares or ()) == 1  # else it was not idle
            return self._leave(slot, owner, now, False, None, used=False)
        self.expired += 1
        return self._give_back(owner, now, _AT_ONCE)

    def close_idle(self, chooses: Callable[[object], bool] | None = None) -> None:
        """Close all idle slots, or only those for whose route's proxy `chooses`, a predicate, is
        true. (No waiter can use the room: see invariant 4.)"""
        if self._mutating:
            self._repair(self._latest)
        chosen = [slot for slot in self._idle if chooses is None or chooses(slot.route.proxy)]
        self._mutating = True
        for slot in chosen:
            self._close(slot)
        self._mutating = False

    def close(self) -> None:
        """Close all idle slots now, and those in use when they are released.

        Slots that are made afterwards live as usual: a closed requests session can be used
        again, and so can an httpcore pool.
        """
        if self._mutating:
            self._repair(self._latest)
        self._mutating = True
        for slot in self._slots:
            slot._retires = _AT_ONCE
        while self._idle:
            self._close(next(iter(self._idle)))
        self._mutating = False

    def abandon(self) -> None:
        """End all slots as they are, whatever operation was under way; none is listed in `closing`.
        For the child of a fork, which then goes on with a new Scheduler: to that one, releasing a
        slot of this one is nothing."""
        for slot in list(self._slots):
            slot.state = CLOSED

    def stats(self) -> dict[str, int]:
        """Return how many there are: connections (all slots), active, idle, dialing; waiting
        requests; and requests that have a connection or are dialing one."""
        states = [slot.state for slot in self._slots]
        busy = [slot.shares for slot in self._slots if slot.state in (ACTIVE, DIALING)]
        return {
            "connections": len(states) - states.count(CLOSED),
            "active": states.count(ACTIVE),
            "idle": states.count(IDLE),
            "dialing": states.count(DIALING),
            "waiting": len(self._waiting),
            "requests": sum(1 if shares is None else len(shares) for shares in busy),
        }

    def routes(self) -> dict[Route, dict[str, int]]:
        """Return as much as `stats` for each route that has slots or waiters: active, idle,
        dialing, queued."""
        found: dict[Route, dict[str, int]] = {}
        for slot in self.slots():
            found.setdefault(slot.route, dict(_NO_ROUTE))[slot.state.lower()] += 1
        for waiter in self.waiters():
            found.setdefault(waiter.route, dict(_NO_ROUTE))["queued"] += 1
        return found

    def count_replay(self) -> None:
        """Count a request that is sent once more."""
        self.replayed += 1

    def totals(self) -> dict[str, int]:
        """Return what has happened so far. Connections: opened; failed, which could not be opened;
        expired, which were closed because their time was up while they were idle, or were found
        dead or retired by the server then; evicted, idle ones that were closed to make room.
        Requests: reused, which got a connection that had served another; replayed.
        """
        uses = [
            slot.served + (slot.state == ACTIVE if slot.shares is None else len(slot.shares))
            for slot in self._slots
        ]
        return {
            "opened": self.opened,
            "reused": self._reused + sum(count - 1 for count in uses if count),
            "expired": self.expired,
            "evicted": self.evicted,
            "replayed": self.replayed,
            "failed": self.failed,
        }

    def waiters(self, most: int | None = None) -> list[Waiter]:
        """Return the waiters, the oldest first; the first `most` of them."""
        return list(islice(self._waiting.values(), most))

    def waiter_of(self, owner: Owner) -> Waiter | None:
        """Return the place of `owner` in the queue, or None."""
        return self._waiting.get(id(owner))

    def slots(self) -> list[Slot]:
        """Return the slots of the pool, the oldest first."""
        return [slot for slot in self._slots if slot.state != CLOSED]

    def check(self) -> None:
        """Assert the invariants above, as far as one moment shows them. Not O(1); for tests.

        Raises:
            AssertionError: One of them does not hold; the number is in the text.
        """
        slots, lines = list(self._slots), self._lines
        idle = [slot for slot in slots if slot.state == IDLE]
        _must(not self._mutating, "no operation is under way")
        _must(len(slots) <= self._max, "1: max_connections")
        _must(len(idle) <= self._max_idle, "2: max_keepalive")
        _must(all(slot.state in (DIALING, ACTIVE, IDLE) for slot in slots), "3: states")
        _must(set(idle) == set(self._idle), "3: the idle ones are known")
        for slot in slots:
            if slot.shares is not None and slot.state != DIALING:
                _must(bool(slot.shares) == (slot.state == ACTIVE), "3: shares")
                _must(all(share.slot is slot for share in slot.shares), "3: what they share")
        ages = [slot.idle_since for slot in self._idle]
        _must(ages == sorted(ages), "5: the order of the idle ones")
        _must(set(lines) == {s.route for s in slots} | {w.route for w in self._queue()}, "7")
        for line in lines.values():
            self._check_line(line, [slot for slot in slots if slot.route_state is line])
        _must(len(self._ready) <= 2 * len(self._waiting) + _SLACK, "8: outdated contenders")
        _must(len(self._expiries) <= 2 * len(slots) + _SLACK, "8: outdated expiries")
        watched = {(due, key) for due, key, _ in self._expiries} | {(_FOREVER, id(s)) for s in idle}
        _must(all((s._due, id(s)) in watched for s in idle), "9: each that expires is watched")
        _must(all(self._reap_at <= s._due <= s.expires for s in idle), "9: and in time")
        _must(all(s.expires <= s._retires and s.streams for s in idle), "9: and fit for use")

    def _check_line(self, line: RouteState, mine: list[Slot]) -> None:
        route, listed = line.route, [slot for _, slot in line.open]
        queue = [waiter for waiter in self._queue() if waiter.route == route]
        full = len(self._slots) >= self._max and not self._idle
        busy = [slot for slot in mine if slot.shares is not None and slot.state == ACTIVE]
        free = [s for s in busy if len(s.shares or ()) < s.streams and s._retires > self._latest]
        _must(len(mine) == line.count <= self._max_per_route, "1: max_per_route")
        _must(line.dialing == [slot.state for slot in mine].count(DIALING), "3: dials")
        _must(all(slot.route == route for slot in mine), "3: the route of a slot")
        _must(line.shared or not busy, "3: a line knows that it has shares")
        _must(list(line.idle) == [s for s in self._idle if s.route_state is line], "5: newest last")
        _must(list(line.waiters.values()) == queue, "5: the queue of a line")
        contends = bool(queue) and self._may_dial(line)
        _must(not queue or not (line.idle or free), "4: one could be served")
        _must(full or not contends, "4: one could dial")
        queued_as = (line.queued_as, line)
        _must(
            not contends or (line.queued_as == queue[0].sequence and queued_as in self._ready), "4"
        )
        _must(set(free) <= set(listed), "4: each free stream is known")
        _must(all(slot._listed for slot in listed), "5: what is listed")
        _must(len(set(listed)) == len(listed) <= 3 * line.count + _SLACK, "8: outdated slots")

    def _queue(self) -> list[Waiter]:
        return list(self._waiting.values())

    # Taking and giving back, in full. From here on `_mutating` is up.

    def _new_line(self, route: Route) -> RouteState:
        return RouteState(route, self._shares is not None and self._shares(route))

    def _acquire_cold(
        self, line: RouteState, owner: Owner, now: float, fresh: bool
    ) -> Slot | Share | Waiter:
        if id(owner) in self._waiting:
            raise RuntimeError("this owner waits for a slot already")
        self._latest = now
        self._mutating = True
        slot = None if line.waiters else self._take(line, owner, now, fresh)
        if slot is not None:
            self._mutating = False
            return slot
        self._sequence += 1
        waiter = Waiter(line, owner, fresh, self._sequence, now)
        self._waiting[id(owner)] = waiter
        line.waiters[waiter.sequence] = waiter
        self._lines[line.route] = line
        if len(line.waiters) == 1:  # else its head contends already, or cannot
            self._update_contender(line)
        self._mutating = False
        return waiter

    def _take(self, line: RouteState, owner: Owner, now: float, fresh: bool) -> Slot | Share | None:
        """Give the owner a stream or an idle slot of the line, or a new one, if the limits
        allow."""
        self.touched += 1
        found = self._open(line, now) if line.shared else None
        if found is None and line.idle and not fresh:
            found = next(reversed(line.idle))
        if found is not None:
            return self._use(found, owner, now)
        if line.patient and line.dialing:
            # The caller will join the one that is coming. If it wants none of the idle ones, they
            # are of no use either to those that wait behind it.
            while line.idle:
                self._evict(next(iter(line.idle)))
            return None
        if line.count >= self._max_per_route or len(self._slots) >= self._max:
            # The oldest idle slot makes room: of this line if it has one, for then the caller
            # wants none of them; else of any line, but at its own limit that does not help.
            if line.idle:
                self._evict(next(iter(line.idle)))
            elif self._idle and line.count < self._max_per_route:
                self._evict(next(iter(self._idle)))
            else:
                return None
        slot = Slot(line, now)
        owner.slot = slot  # first: a slot that is listed and has no owner would stay for ever
        self._slots[slot] = None
        line.count += 1
        line.dialing += 1
        self._lines[line.route] = line
        return slot

    def _use(self, slot: Slot, owner: Owner, now: float) -> Slot | Share:
        """Give the owner an idle slot, or a stream of one that is shared."""
        if slot.state == IDLE:
            del slot.route_state.idle[slot]
            del self._idle[slot]
        if slot.shares is None:
            owner.slot = slot  # before the state, as in `acquire`
            slot.state = ACTIVE
            return slot
        share = Share(slot, slot.idle_since if slot.state == IDLE else now)
        owner.slot = share  # first: a share that the slot does not list is worth nothing
        slot.shares[share] = None
        slot.state = ACTIVE
        self._offer(slot)
        return share

    def _give_back(self, owner: Owner, now: float, expires: float, used: bool = False) -> None:
        """End the ownership. The slot becomes idle if `expires` is still to come, else it is
        closed; `used` if it served a request that is not counted in `served`."""
        if self._mutating:
            self._repair(now)
        slot = owner.slot
        if slot is None and not self._waiting:
            return
        self._latest = now
        self._mutating = True
        if slot is None:
            waiter = self._waiting.get(id(owner))
            if waiter is not None:
                self._withdraw(waiter)
        else:
            assert isinstance(slot, Slot)  # a Share ends in `_leave`
            if slot.state == ACTIVE and expires > now:
                self._rest(slot, now, expires)
            elif slot.state in (ACTIVE, DIALING):
                slot.served += used and slot.state == ACTIVE
                self._close(slot)
        owner.slot = None
        self._serve(now)
        self._trim()
        self._mutating = False

    def _rest(self, slot: Slot, now: float, expires: float) -> None:
        slot.expires = expires
        slot.idle_since = now
        slot.state = IDLE
        slot.route_state.idle[slot] = None
        self._idle[slot] = None
        if expires < slot._due:
            self._watch(slot)
        self._update_contender(slot.route_state)

    def _pass_on(
        self, slot: Slot, line: RouteState, owner: Owner, now: float, expires: float
    ) -> None:
        """Pass the slot from its owner straight to the oldest contender of all, which waits for
        this route.

        The same as `_give_back` would do in more steps; a busy pool lives on this.
        """
        self._latest = now
        waiter = line.waiters[line.queued_as]
        self._mutating = True
        slot.expires = expires
        slot.idle_since = now
        # Giving back and taking, in their usual orders. Cut in between, the slot is IDLE, and the
        # repair serves the waiter with it.
        slot.state = IDLE
        owner.slot = None
        waiter.owner.slot = slot
        slot.state = ACTIVE
        waiter.served = True
        self.woken.append(waiter)
        del self._waiting[id(waiter.owner)]
        del line.waiters[line.queued_as]
        if line.waiters:
            line.queued_as = next(iter(line.waiters))
            heapreplace(self._ready, (line.queued_as, line))
        else:
            line.queued_as = 0
            heappop(self._ready)
        self._mutating = False

    def _close(self, slot: Slot) -> None:
        self.touched += 1
        dialing = slot.state == DIALING
        if dialing:
            # It has failed: the requests that waited for it do not wait for another one.
            slot.route_state.patient = False
        slot.state = CLOSED  # before anything else: from here on no request can get it
        slot._due = _FOREVER
        self._hang_up(slot)
        if slot not in self._slots:  # the `acquire` that made it was interrupted
            return
        del self._slots[slot]
        self.failed += dialing
        self._reused += max(0, slot.served - 1)
        line = slot.route_state
        line.count -= 1
        line.dialing -= dialing
        if slot in self._idle:
            del self._idle[slot]
            del line.idle[slot]
        self._update_contender(line)
        self._sweep()
        if len(line.open) > 2 * line.count + _SLACK:
            line.open[:] = [entry for entry in line.open if entry[1].state != CLOSED]
            heapify(line.open)

    def _hang_up(self, slot: Slot) -> None:
        connection = slot.connection
        if connection is not None:
            if self.closing[-1:] != [connection]:  # one step: the shell takes entries out
                self.closing.append(connection)
            slot.connection = None

    def _expire(self, slot: Slot) -> None:
        self.expired += 1
        self._close(slot)

    def _evict(self, slot: Slot) -> None:
        self.evicted += 1
        self._close(slot)

    def _trim(self) -> None:
        """Close the oldest idle slots until no more than `max_keepalive` are left."""
        while len(self._idle) > self._max_idle:
            self._evict(next(iter(self._idle)))

    # Sharing. A slot with a free stream has one entry in `open` of its line, ordered by age. An
    # entry is not taken out when the last stream is: it is looked at, and dropped, when its turn
    # comes. So each costs what it did to put it there.

    def _share(self, slot: Slot, owner: Owner, now: float, streams: int) -> None:
        """Make a slot that is still DIALING a shared one, with its owner as the first."""
        share = Share(slot, now)
        self._sequence += 1
        slot._number = self._sequence
        slot.streams = streams
        slot.expires = _AT_ONCE  # until it has served once
        slot.shares = {share: None}
        owner.slot = share  # while the slot is DIALING: whichever it refers to, a release ends it
        slot.route_state.shared = True
        self._offer(slot)

    def _leave(
        self,
        share: Share,
        owner: Owner,
        now: float,
        reusable: bool,
        keep_for: float | None,
        used: bool = True,
    ) -> None:
        """End a share. The stream goes to the first waiter of the route; after the last the slot is
        idle, or is closed."""
        if self._mutating:
            self._repair(now)
        slot, shares = share.slot, share.slot.shares
        if shares is None or share not in shares or slot not in self._slots:
            owner.slot = None  # it was given back before, or never really taken
            return
        self._latest = now
        self._mutating = True
        slot.served += used
        if not reusable or slot.state == DIALING:  # `dialed` was interrupted
            slot._retires = _AT_ONCE
        elif used:
            slot.expires = now + self._keep if keep_for is None else now + min(self._keep, keep_for)
        slot.idle_since = now
        # What becomes of the connection is noted by now: without shares the slot counts as idle.
        del shares[share]
        owner.slot = None
        if not shares:
            self._vacate(slot, now)
        else:
            self._offer(slot)
            if slot.route_state.waiters:
                self._assign_streams(slot.route_state, now)
        self._mutating = False

    def _vacate(self, slot: Slot, now: float) -> None:
        """Let the slot become idle, or close it, after its last share was given back."""
        expires = min(slot.expires, slot._retires)
        if slot.streams and expires > now:
            self._rest(slot, now, expires)
        else:
            self._close(slot)
        self._serve(now)
        self._trim()

    def _offer(self, slot: Slot) -> None:
        """List the slot, unless it is, after a stream may have come free."""
        if slot._listed or slot.shares is None or len(slot.shares) >= slot.streams:
            return
        slot._listed = True
        heappush(slot.route_state.open, (slot._number, slot))

    def _open(self, line: RouteState, now: float) -> Slot | None:
        """Return the oldest slot of a line that is in use and has a free stream."""
        entries = line.open
        while entries:
            self.touched += 1
            slot = entries[0][1]
            if slot.state == ACTIVE and slot.shares is not None and slot._retires > now:
                if len(slot.shares) < slot.streams:
                    return slot
            slot._listed = False
            heappop(entries)
        return None

    def _assign_streams(self, line: RouteState, now: float) -> None:
        """Hand out the free streams of a line, which are of no use to any other."""
        while line.waiters:
            slot = self._open(line, now)
            if slot is None:
                break
            waiter = next(iter(line.waiters.values()))
            self._use(slot, waiter.owner, now)
            self._served(waiter)
        self._update_contender(line)

    # The queue.

    def _serve(self, now: float) -> None:
        """Hand out what is free, to the oldest contender first, until the next one must wait."""
        ready = self._ready
        while ready:
            sequence, line = ready[0]
            self.touched += 1
            if line.queued_as != sequence:
                heappop(ready)
                continue
            if not (line.idle or self._idle or len(self._slots) < self._max):
                return  # what the others could use, this one could: so they must wait too
            heappop(ready)
            line.queued_as = 0
            waiter = line.waiters[sequence]
            if self._take(line, waiter.owner, now, waiter.fresh) is not None:
                self._served(waiter)
                self._assign_streams(line, now)
            # Else what it contended for has gone to an older one.

    def _served(self, waiter: Waiter) -> None:
        waiter.served = True
        self.woken.append(waiter)
        self._dequeue(waiter)

    def _withdraw(self, waiter: Waiter) -> None:
        self.touched += 1
        waiter.cancelled = True
        self._dequeue(waiter)
        self._update_contender(waiter.route_state)

    def _dequeue(self, waiter: Waiter) -> None:
        del self._waiting[id(waiter.owner)]
        line = waiter.route_state
        del line.waiters[waiter.sequence]
        if line.queued_as == waiter.sequence:
            line.queued_as = 0

    def _may_dial(self, line: RouteState) -> bool:
        """Return whether the line itself allows one more connection."""
        return line.count < self._max_per_route and not (line.patient and line.dialing)

    def _update_contender(self, line: RouteState) -> None:
        """Let a line contend if it can, and drop an empty one; after any change to it."""
        if line.waiters:
            head = next(iter(line.waiters))
            if line.queued_as != head and (line.idle or self._may_dial(line)):
                line.queued_as = head
                heappush(self._ready, (head, line))
        elif not line.count:
            self._lines.pop(line.route, None)
        if len(self._ready) > 2 * len(self._waiting) + _SLACK:
            self._ready[:] = [entry for entry in self._ready if entry[1].queued_as == entry[0]]
            heapify(self._ready)

    # Expiry. A heap holds one valid entry per idle slot that can expire. It is not moved when the
    # slot is used and becomes idle again: when its time comes, it is looked at and moved then. So
    # a warm connection costs one entry per `keepalive_expiry`, not one per request.

    def _watch(self, slot: Slot) -> None:
        slot._due = slot.expires
        heappush(self._expiries, (slot._due, id(slot), slot))
        self._reap_at = self._expiries[0][0]
        self._sweep()

    def _sweep(self) -> None:
        if len(self._expiries) > 2 * len(self._slots) + _SLACK:
            self._expiries[:] = [entry for entry in self._expiries if entry[2]._due == entry[0]]
            heapify(self._expiries)

    def _reap(self, now: float) -> None:
        """Close each idle slot whose time has come."""
        mutating, self._mutating = self._mutating, True
        while self._expiries and self._expiries[0][0] <= now:
            due, _, slot = heappop(self._expiries)
            self.touched += 1
            if slot._due != due:
                continue
            slot._due = _FOREVER
            if slot.state != IDLE:
                continue  # it is in use; its release will watch it again
            if slot.expires <= now:
                self._expire(slot)
            else:
                self._watch(slot)
        self._reap_at = self._expiries[0][0] if self._expiries else _FOREVER
        self._mutating = mutating

    # The repair. Each step may itself be interrupted and done again from the start: it builds
    # something new and puts it in place with one store.

    def _repair(self, now: float) -> None:
        self._slots = self._salvage_slots()
        self._waiting = self._salvage_waiters()
        self._rebuild()
        self._reap(now)
        for line in list(self._lines.values()):
            self._assign_streams(line, now)
        self._serve(now)
        self._trim()
        self._mutating = False

    def _salvage_slots(self) -> dict[Slot, None]:
        kept: dict[Slot, None] = {}
        for slot in self._slots:
            if slot.state == CLOSED:
                self._hang_up(slot)
                continue
            if slot.shares is None:
                kept[_renewed(slot) if slot.state == IDLE else slot] = None
                continue
            if slot.state != DIALING or not slot.shares:
                slot.state = ACTIVE if slot.shares else IDLE
            kept[slot] = None
        return kept

    def _salvage_waiters(self) -> OrderedDict[int, Waiter]:
        kept: OrderedDict[int, Waiter] = OrderedDict()
        for key, waiter in self._waiting.items():
            if waiter.cancelled:
                continue
            slot = waiter.owner.slot
            whole = slot.slot if isinstance(slot, Share) else slot
            if slot and whole in self._slots and slot.state in (ACTIVE, DIALING):
                waiter.served = True
                self.woken.append(waiter)
            else:
                waiter.owner.slot = None
                kept[key] = waiter
        return kept

    def _rebuild(self) -> None:
        """Compute all that follows from the facts."""
        self._lines = self._rebuilt_lines()
        self._idle = OrderedDict()
        self._ready = []
        self._expiries = []
        self._reap_at = _FOREVER
        resting = [slot for slot in self._slots if slot.state == IDLE]
        for slot in sorted(resting, key=lambda slot: slot.idle_since):
            self._idle[slot] = None
            slot.route_state.idle[slot] = None
            slot.expires = min(slot.expires, slot._retires if slot.streams else _AT_ONCE)
            if slot.expires < _FOREVER:
                self._watch(slot)
        for line in self._lines.values():
            self._update_contender(line)

    def _rebuilt_lines(self) -> dict[Route, RouteState]:
        lines: dict[Route, RouteState] = {}
        for slot in self._slots:
            line = lines.setdefault(slot.route, RouteState(slot.route, slot.route_state.patient))
            slot.route_state = line
            slot._due = _FOREVER
            slot._listed = False
            line.count += 1
            line.dialing += slot.state == DIALING
            if slot.shares is not None:
                line.shared = True
                self._offer(slot)
        for waiter in self._waiting.values():
            line = lines.setdefault(
                waiter.route, RouteState(waiter.route, waiter.route_state.patient)
            )
            waiter.route_state = line
            line.waiters[waiter.sequence] = waiter
        return lines


def _limit(name: str, value: int | None, least: int) -> int:
    if value is None:
        return maxsize
    if value < least:
        raise ValueError(f"{name} must be at least {least}, or None for no limit, not {value}")
    return value


def _renewed(slot: Slot) -> Slot:
    """Return the same connection under a new identity, so that references to the old one are
    void."""
    new = Slot(slot.route_state, slot.idle_since)
    new.state = slot.state
    new.connection = slot.connection
    new.created = slot.created
    new.expires = slot.expires
    new.served = slot.served
    new._retires = slot._retires
    return new


def _must(condition: bool, invariant: str) -> None:
    if not condition:
        raise AssertionError(f"invariant {invariant}")
