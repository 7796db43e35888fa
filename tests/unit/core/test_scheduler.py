"""The Scheduler: what it decides, that it decides in O(1), and that no slot is ever lost.

Four kinds of tests: examples of each rule; counters for cost and memory; a state machine beside
a model that is too simple to be wrong; and interruption at every single bytecode.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from sys import maxsize
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from httpcore._core import scheduler as _pool
from httpcore._core.scheduler import (
    ACTIVE,
    CLOSED,
    DIALING,
    IDLE,
    Route,
    Scheduler,
    Share,
    Slot,
    Waiter,
)
from tests.support.examples import examples

A = Route(b"https", b"a.example", 443)
B = Route(b"https", b"b.example", 443)
C = Route(b"http", b"c.example", 80)
ROUTES = (A, B, C)


class Owner:
    """The least that may hold a slot."""

    def __init__(self) -> None:
        self.slot: Slot | Share | None = None
        self.aborted = False


class Connection:
    """Stands for a connection; all that matters is which one it is."""

    def __init__(self, route: Route) -> None:
        self.route = route

    def __repr__(self) -> str:
        return f"<to {self.route.host.decode()}, {id(self):x}>"


def held(owner: Any) -> Slot:
    assert isinstance(owner.slot, Slot)
    return owner.slot


def share(owner: Any) -> Share:
    assert isinstance(owner.slot, Share)
    return owner.slot


def take(pool: Scheduler, route: Route, now: float = 0.0, fresh: bool = False) -> Owner:
    """An owner with a slot that is ACTIVE."""
    owner = Owner()
    slot = pool.acquire(route, owner, now, fresh)
    assert isinstance(slot, Slot) and owner.slot is slot
    if slot.state == DIALING:
        pool.dialed(owner, Connection(route), now)
    pool.check()
    return owner


def wait(pool: Scheduler, route: Route, now: float = 0.0, fresh: bool = False) -> Waiter:
    waiter = queue(pool, route, now, fresh)
    pool.check()
    return waiter


def queue(pool: Scheduler, route: Route, now: float = 0.0, fresh: bool = False) -> Waiter:
    """As `wait`, without the check, which takes its time when there are hundreds."""
    waiter = pool.acquire(route, Owner(), now, fresh)
    assert isinstance(waiter, Waiter) and not waiter.served and waiter.owner.slot is None
    return waiter


def give(pool: Scheduler, owner: Any, now: float = 0.0, keep_for: float | None = None) -> None:
    pool.release(owner, now, True, keep_for)
    assert owner.slot is None
    pool.check()


def figures(pool: Scheduler) -> tuple[int, int, int, int]:
    stats = pool.stats()
    assert stats["requests"] >= stats["active"] + stats["dialing"]
    assert stats["connections"] == stats["active"] + stats["idle"] + stats["dialing"]
    return stats["active"], stats["idle"], stats["dialing"], stats["waiting"]


# --- taking and giving back


def test_life_of_a_slot() -> None:
    pool = Scheduler()
    owner, connection = Owner(), Connection(A)
    slot = pool.acquire(A, owner, 1.0)
    assert isinstance(slot, Slot)
    assert (slot.state, slot.route, slot.connection, slot.created) == (DIALING, A, None, 1.0)
    pool.dialed(owner, connection, 1.5)
    assert (slot.state, slot.connection, slot.created, slot.served) == (ACTIVE, connection, 1.5, 0)
    assert pool.slots() == [slot]
    pool.release(owner, 2.0, True)
    assert (slot.state, slot.served, owner.slot) == (IDLE, 1, None)
    assert pool.acquire(A, owner, 3.0) is slot
    assert (slot.state, owner.slot) == (ACTIVE, slot)
    pool.release(owner, 4.0, False)
    assert (slot.state, slot.connection, owner.slot) == (CLOSED, None, None)
    assert pool.closing == [connection]
    assert pool.slots() == [] and figures(pool) == (0, 0, 0, 0)


def test_the_newest_idle_connection_is_taken_first() -> None:
    pool = Scheduler()
    owners = [take(pool, A) for _ in range(3)]
    order = [held(owner).connection for owner in owners]
    for owner in owners:
        give(pool, owner)
    assert [held(take(pool, A)).connection for _ in range(3)] == order[::-1]


@pytest.mark.parametrize("field", Route._fields)
def test_routes_that_differ_in_anything_share_nothing(field: str) -> None:
    pool = Scheduler()
    plain = Route(b"https", b"a.example", 443)
    give(pool, take(pool, plain))
    changes: dict[str, Any] = {field: "/run/socket" if field == "uds" else object()}
    other = plain._replace(**changes)
    assert held(take(pool, plain)).served == 1
    assert held(take(pool, other)).served == 0


def test_a_failed_dial_leaves_nothing() -> None:
    pool = Scheduler(max_connections=1)
    owner = Owner()
    pool.acquire(A, owner, 0.0)
    give(pool, owner)
    assert pool.closing == [] and figures(pool) == (0, 0, 0, 0)


def test_releasing_twice_gives_back_once() -> None:
    pool = Scheduler()
    first = take(pool, A)
    give(pool, first)
    second = take(pool, A)
    give(pool, first)
    assert held(second).state == ACTIVE and figures(pool) == (1, 0, 0, 0)


def test_at_the_limit_the_oldest_idle_connection_makes_room() -> None:
    pool = Scheduler(max_connections=2)
    a, b = take(pool, A), take(pool, B)
    oldest = held(b).connection
    give(pool, b, 1.0)
    give(pool, a, 2.0)
    take(pool, C, 3.0)
    assert pool.closing == [oldest] and figures(pool) == (1, 1, 0, 0)


def test_idle_connections_beyond_max_keepalive_are_closed_oldest_first() -> None:
    pool = Scheduler(max_keepalive=2)
    owners = [take(pool, route) for route in (A, B, A)]
    connections = [held(owner).connection for owner in owners]
    for owner in owners:
        give(pool, owner)
    assert pool.closing == connections[:1] and figures(pool) == (0, 2, 0, 0)


def test_max_keepalive_zero_keeps_nothing_but_hands_over() -> None:
    pool = Scheduler(max_connections=1, max_keepalive=0)
    owner = take(pool, A)
    connection = held(owner).connection
    waiter = wait(pool, A)
    give(pool, owner)
    assert waiter.served and pool.closing == []
    give(pool, waiter.owner)
    assert pool.closing == [connection] and figures(pool) == (0, 0, 0, 0)


def test_forgotten_connections_are_left_open_and_make_room() -> None:
    pool = Scheduler(max_connections=1)
    owner = take(pool, A)
    waiter = wait(pool, B)
    pool.forget(owner)
    pool.check()
    assert owner.slot is None and pool.closing == []
    assert waiter.served and held(waiter.owner).state == DIALING  # type: ignore[arg-type]
    pool.forget(owner)
    assert figures(pool) == (0, 0, 1, 0)


def test_closing() -> None:
    pool = Scheduler()
    idle, busy, dialing = take(pool, A), take(pool, A), Owner()
    pool.acquire(B, dialing, 0.0)
    connections = [held(idle).connection, held(busy).connection, Connection(B)]
    give(pool, idle)
    pool.close_idle()
    pool.check()
    assert pool.closing == connections[:1]
    pool.close()
    pool.dialed(dialing, connections[2], 0.0)
    give(pool, busy)
    give(pool, dialing)
    assert pool.closing == connections and figures(pool) == (0, 0, 0, 0)


def test_a_closed_pool_can_be_used_again() -> None:
    pool = Scheduler(max_connections=1)
    busy = take(pool, A)
    pool.close()
    give(pool, busy)
    assert figures(pool) == (0, 0, 0, 0)
    again = take(pool, A)
    give(pool, again)
    pool.check()
    assert len(pool.closing) == 1 and figures(pool) == (0, 1, 0, 0)


def test_a_connection_from_before_close_is_not_handed_over() -> None:
    pool = Scheduler(max_connections=1)
    owner = take(pool, A)
    waiter = wait(pool, A)
    pool.close()
    give(pool, owner)
    assert len(pool.closing) == 1 and pool.woken == [waiter]
    assert waiter.owner.slot is not None and waiter.owner.slot.state == DIALING


# --- expiry


@pytest.mark.parametrize(
    ("keepalive_expiry", "max_age", "keep_for", "expires"),
    [
        (5.0, None, None, 15.0),
        (5.0, None, 2.0, 12.0),
        (5.0, None, 9.0, 15.0),
        (5.0, 11.0, None, 11.0),
        (None, 11.0, 9.0, 11.0),
        (None, None, 9.0, 19.0),
        (None, None, None, float("inf")),
    ],
)
def test_the_earliest_limit_counts(
    keepalive_expiry: float | None, max_age: float | None, keep_for: float | None, expires: float
) -> None:
    pool = Scheduler(keepalive_expiry=keepalive_expiry, max_age=max_age)
    owner = take(pool, A, 0.0)
    slot = held(owner)
    give(pool, owner, 10.0, keep_for)
    assert slot.expires == expires
    before = min(expires, 1e6) - 0.001
    assert pool.acquire(A, owner, before) is slot
    pool.release(owner, before, False)


def test_an_expired_connection_is_closed_not_used() -> None:
    pool = Scheduler(keepalive_expiry=5.0)
    first = take(pool, A)
    connection = held(first).connection
    give(pool, first, 0.0)
    second = Owner()
    slot = pool.acquire(A, second, 5.0)
    assert isinstance(slot, Slot) and slot.state == DIALING
    assert pool.closing == [connection]


def test_expired_connections_of_all_routes_go_when_any_is_asked_for() -> None:
    pool = Scheduler()
    short, long = take(pool, A), take(pool, A)
    gone, kept = held(short).connection, held(long).connection
    give(pool, short, 0.0, keep_for=1.0)
    give(pool, long, 0.0, keep_for=60.0)
    take(pool, B, 2.0)
    assert pool.closing == [gone]
    assert held(take(pool, A, 3.0)).connection is kept


def test_use_puts_the_expiry_off() -> None:
    pool = Scheduler(keepalive_expiry=5.0)
    owner = take(pool, A)
    for now in range(20):
        give(pool, owner, float(now))
        owner = take(pool, A, float(now))
    assert held(owner).served == 20 and pool.closing == []
    give(pool, owner, 20.0)
    take(pool, B, 25.0)
    assert len(pool.closing) == 1


def test_an_expiry_that_came_while_in_use_is_set_again() -> None:
    pool = Scheduler(keepalive_expiry=5.0)
    owner = take(pool, A)
    give(pool, owner, 0.0)
    owner = take(pool, A, 4.0)
    other = take(pool, B, 6.0)
    give(pool, owner, 7.0)
    assert pool.closing == [] and figures(pool) == (1, 1, 0, 0)
    give(pool, other, 12.0)
    take(pool, B, 12.0)
    assert len(pool.closing) == 1 and figures(pool) == (1, 0, 0, 0)


def test_past_max_age_a_released_connection_is_closed() -> None:
    pool = Scheduler(max_age=10.0)
    owner = take(pool, A, 0.0)
    give(pool, owner, 10.0)
    assert len(pool.closing) == 1 and figures(pool) == (0, 0, 0, 0)


# --- waiting


def test_waiters_are_served_in_order() -> None:
    pool = Scheduler(max_connections=1)
    owner: Any = take(pool, A)
    connection = held(owner).connection
    waiters = [wait(pool, A) for _ in range(4)]
    for waiter in waiters:
        give(pool, owner)
        assert pool.woken == [waiter] and held(waiter.owner).state == ACTIVE  # type: ignore[arg-type]
        pool.woken = []
        owner = waiter.owner
    assert held(owner).connection is connection and held(owner).served == 4


def test_a_waiter_of_another_route_gets_the_room() -> None:
    pool = Scheduler(max_connections=1)
    owner = take(pool, A)
    connection = held(owner).connection
    waiter = wait(pool, B)
    give(pool, owner)
    assert pool.closing == [connection] and pool.woken == [waiter]
    assert waiter.owner.slot is not None and waiter.owner.slot.state == DIALING


def test_the_oldest_is_served_though_a_later_one_could_reuse() -> None:
    pool = Scheduler(max_connections=1)
    owner = take(pool, A)
    first, second = wait(pool, B), wait(pool, A)
    give(pool, owner)
    assert first.served and not second.served


def test_a_line_at_its_limit_holds_up_nobody_else() -> None:
    pool = Scheduler(max_connections=3, max_per_route=1)
    take(pool, A)
    held_up = wait(pool, A)
    b = take(pool, B)
    take(pool, C)
    later = wait(pool, B)
    give(pool, b)
    assert later.served and not held_up.served


def test_no_idle_connection_is_closed_for_one_whom_that_does_not_help() -> None:
    pool = Scheduler(max_connections=2, max_per_route=1)
    b = take(pool, B)
    take(pool, A)
    give(pool, b)
    wait(pool, A)
    assert pool.closing == [] and figures(pool) == (1, 1, 0, 1)


def test_order_holds_between_a_line_at_its_limit_and_the_rest() -> None:
    # While A is at its limit its waiters are no contenders. Once A's slot went to an older waiter
    # of C they are, and then they come before the one of C that arrived after them.
    pool = Scheduler(max_connections=2, max_per_route=1)
    a, b = take(pool, A), take(pool, B)
    first, second, third = wait(pool, C), wait(pool, A), wait(pool, A)
    give(pool, a)
    assert pool.woken == [first]
    fourth = wait(pool, C)
    give(pool, b)
    assert pool.woken == [first, second] and not third.served and not fourth.served
    assert figures(pool) == (0, 0, 2, 2)


def test_newcomers_do_not_overtake() -> None:
    pool = Scheduler(max_connections=1)
    owner: Any = take(pool, A)
    waiters = [wait(pool, A), wait(pool, B)]
    give(pool, owner)
    waiters.append(wait(pool, A))
    give(pool, waiters[0].owner)
    assert [waiter.served for waiter in waiters] == [True, True, False]


def test_release_withdraws_an_owner_who_waits() -> None:
    # Its thread was interrupted before it learned of its place in the queue.
    pool = Scheduler(max_connections=1)
    owner = take(pool, A)
    gone, waiter = wait(pool, A), wait(pool, A)
    give(pool, gone.owner)
    assert gone.cancelled and figures(pool)[3] == 1
    give(pool, owner)
    assert pool.woken == [waiter] and gone.owner.slot is None


def test_cancel_leaves_the_queue() -> None:
    pool = Scheduler(max_connections=1)
    owner = take(pool, A)
    first, second = wait(pool, B), wait(pool, A)
    pool.cancel(first, 0.0)
    pool.cancel(first, 0.0)
    pool.check()
    give(pool, owner)
    assert first.cancelled and not first.served and pool.woken == [second]


def test_cancel_after_a_handover_gives_the_connection_back_as_it_was() -> None:
    pool = Scheduler(max_connections=1, keepalive_expiry=5.0)
    owner = take(pool, A)
    slot = held(owner)
    waiter = wait(pool, A)
    give(pool, owner, 1.0)
    pool.cancel(waiter, 3.0)
    pool.cancel(waiter, 3.0)
    pool.check()
    assert (slot.state, slot.expires, slot.served) == (IDLE, 6.0, 1)
    assert waiter.owner.slot is None and pool.closing == []


def test_cancel_after_a_handover_passes_it_on() -> None:
    pool = Scheduler(max_connections=1)
    owner = take(pool, A)
    first, second = wait(pool, A), wait(pool, B)
    give(pool, owner)
    pool.cancel(first, 0.0)
    pool.check()
    assert second.served and pool.woken == [first, second]
    pool.cancel(second, 0.0)
    assert figures(pool) == (0, 0, 0, 0)


def test_cancel_once_the_connection_expired_closes_it() -> None:
    pool = Scheduler(max_connections=1, keepalive_expiry=5.0)
    owner = take(pool, A)
    waiter = wait(pool, A)
    give(pool, owner, 1.0)
    pool.cancel(waiter, 6.0)
    assert figures(pool) == (0, 0, 0, 0) and len(pool.closing) == 1


# --- fresh: never an idle connection


def test_fresh_dials_beside_an_idle_connection() -> None:
    pool = Scheduler(max_connections=2)
    give(pool, take(pool, A))
    assert held(take(pool, A, fresh=True)).served == 0
    assert pool.closing == [] and figures(pool) == (1, 1, 0, 0)


@pytest.mark.parametrize("limit", ["max_connections", "max_per_route"])
def test_fresh_at_the_limit_replaces_an_idle_connection_of_its_route(limit: str) -> None:
    pool = Scheduler(**{limit: 2})
    owner = take(pool, A)
    connection = held(owner).connection
    give(pool, owner)
    take(pool, A, fresh=True)
    assert pool.closing == []
    take(pool, A, fresh=True)
    assert pool.closing == [connection] and figures(pool) == (2, 0, 0, 0)


def test_a_fresh_waiter_gets_the_room_not_the_connection() -> None:
    pool = Scheduler(max_per_route=1)
    owner = take(pool, A)
    connection = held(owner).connection
    waiter = wait(pool, A, fresh=True)
    give(pool, owner)
    assert pool.closing == [connection] and pool.woken == [waiter]
    assert waiter.owner.slot is not None and waiter.owner.slot.state == DIALING


def test_who_stands_behind_a_fresh_waiter_goes_on_waiting() -> None:
    # For a moment, between the old connection and the new one, the line was below its limit.
    pool = Scheduler(max_per_route=1)
    owner = take(pool, A)
    first, second = wait(pool, A, fresh=True), wait(pool, A)
    give(pool, owner)
    assert pool.woken == [first]
    give(pool, first.owner)
    assert pool.woken == [first, second] and second.owner.slot is not None


# --- sharing: several requests on one connection


def sharing(**limits: Any) -> Scheduler:
    """A pool in which connections to A and B may be shared, and those to C may not."""
    return Scheduler(**limits, shares=lambda route: route in (A, B))


def dial(pool: Scheduler, owner: Any, streams: int | None = None, now: float = 0.0) -> Any:
    pool.dialed(owner, Connection(owner.slot.route), now, streams)
    pool.check()
    return owner


def start(pool: Scheduler, route: Route = A, now: float = 0.0, fresh: bool = False) -> Owner:
    """An owner whose slot is DIALING."""
    owner = Owner()
    slot = pool.acquire(route, owner, now, fresh)
    assert isinstance(slot, Slot) and slot.state == DIALING
    pool.check()
    return owner


def open_shared(pool: Scheduler, streams: int, route: Route = A, now: float = 0.0) -> Owner:
    return dial(pool, start(pool, route, now), streams, now)  # type: ignore[no-any-return]


def join(pool: Scheduler, route: Route = A, now: float = 0.0, fresh: bool = False) -> Owner:
    """An owner who was given a stream at once."""
    owner = Owner()
    answer = pool.acquire(route, owner, now, fresh)
    assert isinstance(answer, Share) and answer is owner.slot
    pool.check()
    return owner


def test_life_of_a_share() -> None:
    pool = sharing(keepalive_expiry=9.0)
    owner, connection = start(pool, now=1.0), Connection(A)
    slot = held(owner)
    pool.dialed(owner, connection, 1.5, 2)
    first = share(owner)
    assert (first.slot, first.route, first.connection) == (slot, A, connection)
    assert (first.state, first.idle_since, first.aborted) == (ACTIVE, 1.5, False)
    assert (slot.state, slot.created, slot.streams) == (ACTIVE, 1.5, 2)
    owner_of_second = join(pool, now=2.0)
    second = share(owner_of_second)
    assert (second.slot, second.state, second.idle_since) == (slot, ACTIVE, 2.0)
    assert second is not first and list(slot.shares or ()) == [first, second]
    give(pool, owner, 3.0)
    assert (first.state, second.state, slot.state) == (CLOSED, ACTIVE, ACTIVE)
    pool.release(owner_of_second, 4.0, False)
    assert (second.state, second.connection, slot.state) == (CLOSED, None, CLOSED)
    assert pool.closing == [connection] and figures(pool) == (0, 0, 0, 0)


def test_a_share_ends_once() -> None:
    pool = sharing()
    first = open_shared(pool, 2)
    second, old = join(pool), share(first)
    give(pool, first)
    first.slot = old
    give(pool, first)
    assert share(second).state == ACTIVE and figures(pool) == (1, 0, 0, 0)
    assert pool.stats()["requests"] == 1


def test_whoever_took_over_a_share_may_release_it() -> None:
    pool = sharing()
    gone, heir = open_shared(pool, 2), Owner()
    heir.slot = gone.slot
    give(pool, heir)
    assert figures(pool) == (0, 1, 0, 0)
    give(pool, gone)
    assert figures(pool) == (0, 1, 0, 0)


def test_after_its_last_share_a_connection_is_idle() -> None:
    pool = sharing(keepalive_expiry=5.0)
    first = open_shared(pool, 2)
    second, slot = join(pool), share(first).slot
    give(pool, first, 1.0)
    assert slot.state == ACTIVE
    give(pool, second, 2.0)
    assert (slot.state, slot.expires, slot.served) == (IDLE, 7.0, 2)
    third = share(join(pool, now=3.0))
    assert (third.slot, third.idle_since, slot.state) == (slot, 2.0, ACTIVE)
    assert share(join(pool, now=4.0)).idle_since == 4.0


def test_requests_are_counted_by_their_shares() -> None:
    pool = sharing()
    open_shared(pool, 3), join(pool), take(pool, C), start(pool, B)
    give(pool, open_shared(pool, 3, A._replace(port=1)))
    wait(pool, B)
    assert figures(pool) == (2, 1, 1, 1) and pool.stats()["requests"] == 4
    assert repr(pool).endswith("waiting 1, requests 4]>")


def test_who_comes_while_the_first_connection_is_dialed_waits_for_it() -> None:
    pool = sharing(max_connections=10)
    owner = start(pool)
    waiters = [wait(pool, A) for _ in range(49)]
    take(pool, C)
    assert pool.waiters() == waiters and pool.waiter_of(waiters[7].owner) is waiters[7]
    dial(pool, owner, 100)
    assert pool.woken == waiters and pool.stats()["requests"] == 51
    assert {share(waiter.owner).slot for waiter in waiters} == {share(owner).slot}
    assert figures(pool) == (2, 0, 0, 0)


def test_routes_that_cannot_be_shared_dial_at_once() -> None:
    pool = sharing()
    assert [start(pool, C) and figures(pool)[2] for _ in range(3)] == [1, 2, 3]


def test_a_line_is_asked_once_whether_it_may_be_shared() -> None:
    asked: list[Route] = []
    pool = Scheduler(max_connections=2, shares=lambda route: asked.append(route) or True)  # type: ignore[func-returns-value]
    owner = start(pool)
    for _ in range(3):
        queue(pool, A)
    dial(pool, owner, None)
    assert asked == [A]
    disturb(pool)
    wait(pool, A)
    assert asked == [A] and figures(pool)[3] == 3


def test_waiters_dial_when_the_first_connection_serves_one_at_a_time() -> None:
    pool = sharing(max_connections=3)
    owner = start(pool)
    waiters = [wait(pool, A) for _ in range(4)]
    dial(pool, owner, None)
    assert pool.woken == waiters[:2] and figures(pool) == (1, 0, 2, 2)
    for waiter in waiters[:2]:
        dial(pool, waiter.owner, None)
    give(pool, owner)
    assert held(waiters[2].owner).state == ACTIVE
    give(pool, waiters[0].owner)
    assert [waiter.served for waiter in waiters] == [True] * 4
    give(pool, waiters[1].owner)
    assert figures(pool) == (2, 1, 0, 0)


def test_when_the_dial_fails_all_who_waited_dial_at_once() -> None:
    pool = sharing(max_connections=10)
    owner = start(pool)
    waiters = [wait(pool, A) for _ in range(4)]
    give(pool, owner)
    assert pool.woken == waiters and figures(pool) == (0, 0, 4, 0)
    start(pool)
    # The first that comes up serves the others' successors; the line is patient again.
    dial(pool, waiters[0].owner, 2)
    join(pool)
    wait(pool, A)
    assert figures(pool) == (1, 0, 4, 1)


def test_no_more_streams_one_more_connection_is_dialed_at_a_time() -> None:
    pool = sharing(max_connections=3)
    open_shared(pool, 1)
    second = start(pool)
    waiters = [wait(pool, A) for _ in range(3)]
    dial(pool, second, 2)
    assert pool.woken == waiters[:2] and figures(pool) == (2, 0, 1, 1)
    dial(pool, waiters[1].owner, 1)
    assert figures(pool) == (3, 0, 0, 1)
    pool.cancel(waiters[2], 0.0)


def test_at_the_limit_streams_go_to_who_came_first() -> None:
    pool = sharing(max_connections=1)
    owners: list[Any] = [open_shared(pool, 2), join(pool)]
    slot = share(owners[0]).slot
    waiters = [wait(pool, A, fresh=number == 1) for number in range(4)]
    for waiter in waiters:
        give(pool, owners.pop(0))
        owners.append(waiter.owner)
        assert pool.woken.pop() is waiter and share(waiter.owner).slot is slot
    assert not pool.woken and slot.served == 4 and len(slot.shares or ()) == 2


def test_of_connections_in_use_the_oldest_is_joined_first() -> None:
    pool = sharing(max_connections=3)
    first, second, third = (open_shared(pool, 1) for _ in range(3))
    slots = [share(owner).slot for owner in (first, second, third)]
    for slot in slots[::-1]:
        pool.resize(slot, 2, 0.0)
        pool.check()
    assert [share(join(pool)).slot for _ in range(3)] == slots
    give(pool, third)
    give(pool, first)
    assert [share(join(pool)).slot for _ in range(2)] == [slots[0], slots[2]]


def test_a_connection_in_use_is_joined_before_an_idle_one_is_taken() -> None:
    pool = sharing(max_connections=2)
    first = open_shared(pool, 1)
    second = open_shared(pool, 1)
    used, idle = share(first).slot, share(second).slot
    give(pool, second)
    pool.resize(used, 2, 0.0)
    assert share(join(pool)).slot is used
    assert share(join(pool)).slot is idle


def test_the_newest_idle_connection_is_shared_first() -> None:
    pool = sharing()
    first = open_shared(pool, 1)
    second = open_shared(pool, 1)
    slots = [share(first).slot, share(second).slot]
    give(pool, first, 1.0)
    give(pool, second, 2.0)
    assert [share(join(pool, now=3.0)).slot for _ in range(2)] == slots[::-1]


def test_a_line_may_have_connections_of_both_kinds() -> None:
    # Behind a load balancer not all servers need speak the same.
    pool = sharing(max_connections=2)
    first = open_shared(pool, 1)
    second = dial(pool, start(pool), None)
    slots = [share(first).slot, held(second)]
    give(pool, first, 1.0)
    give(pool, second, 2.0)
    owners = [Owner(), Owner()]
    assert pool.acquire(A, owners[0], 3.0) is slots[1]
    answer = pool.acquire(A, owners[1], 3.0)
    assert isinstance(answer, Share) and answer.slot is slots[0]
    waiter = wait(pool, A, 3.0)
    give(pool, owners[0], 4.0)
    assert waiter.owner.slot is slots[1] and pool.closing == []


def test_fresh_joins_but_takes_nothing_idle() -> None:
    pool = sharing(max_connections=2)
    first = open_shared(pool, 2)
    joined = join(pool, fresh=True)
    slot = share(first).slot
    assert share(joined).slot is slot
    give(pool, first)
    give(pool, joined)
    assert slot.state == IDLE
    start(pool, fresh=True)
    assert pool.closing == [] and figures(pool) == (0, 1, 1, 0)


def test_fresh_gives_idle_connections_up_when_it_waits_for_another() -> None:
    # Else who came after it would wait behind it while there is an idle connection.
    pool = sharing()
    first, second = open_shared(pool, 1), open_shared(pool, 1)
    third = start(pool)
    connections = [share(first).connection, share(second).connection]
    give(pool, first)
    give(pool, second)
    waiters = [wait(pool, A, fresh=True), wait(pool, A)]
    assert pool.closing == connections and figures(pool) == (0, 0, 1, 2)
    dial(pool, third, 3)
    assert pool.woken == waiters


def test_a_fresh_waiter_has_its_idle_connection_replaced_at_the_limit() -> None:
    pool = sharing(max_connections=1)
    first = open_shared(pool, 1)
    connection = share(first).connection
    waiters = [wait(pool, A, fresh=True), wait(pool, A)]
    give(pool, first)
    assert pool.closing == [connection] and pool.woken == waiters[:1]
    dial(pool, waiters[0].owner, 2)
    assert pool.woken == waiters


def test_an_idle_connection_is_given_up_for_a_fresh_waiter_ahead_of_the_others() -> None:
    # One that serves one at a time, in a line that has learned meanwhile that it can be shared.
    pool = sharing(max_connections=3)
    old = dial(pool, start(pool), None)
    connection = held(old).connection
    open_shared(pool, 1)
    coming = start(pool)
    waiters = [wait(pool, A, fresh=True), wait(pool, A)]
    give(pool, old)
    assert pool.closing == [connection] and pool.woken == []
    dial(pool, coming, 3)
    assert pool.woken == waiters


def test_the_last_stream_given_back_is_room_for_the_oldest_of_all() -> None:
    pool = sharing(max_connections=1)
    first = open_shared(pool, 2)
    second, connection = join(pool), share(first).connection
    other, own = wait(pool, C), wait(pool, A)
    give(pool, first)
    assert pool.woken == [own] and not other.served  # it could not have used a stream
    give(pool, second)
    give(pool, own.owner)
    assert pool.closing == [connection] and pool.woken == [own, other]
    assert held(other.owner).state == DIALING


def test_a_line_that_waits_for_its_dial_makes_room_for_an_older_waiter_meanwhile() -> None:
    pool = sharing(max_connections=2)
    first = open_shared(pool, 1)
    coming = start(pool)
    other, own = wait(pool, C), wait(pool, A)
    give(pool, first)
    assert pool.woken == [other] and len(pool.closing) == 1 and figures(pool) == (0, 0, 2, 1)
    dial(pool, coming, 2)
    assert pool.woken == [other, own]


def test_a_connection_that_is_not_reusable_is_closed_after_its_last_share() -> None:
    pool = sharing(max_connections=2)
    first = open_shared(pool, 9)
    second, third, connection = join(pool), join(pool), share(first).connection
    pool.release(first, 0.0, False)
    pool.check()
    assert pool.closing == [] and figures(pool) == (1, 0, 0, 0)
    fourth = open_shared(pool, 1)
    waiter = wait(pool, A)
    give(pool, second)
    assert pool.closing == [] and not waiter.served
    give(pool, third)
    assert pool.closing == [connection] and held(waiter.owner).state == DIALING
    give(pool, fourth)
    assert figures(pool) == (0, 1, 1, 0)


@pytest.mark.parametrize("how", ["drain", "drain by a share", "close"])
def test_a_drained_connection_is_closed_after_its_last_share(how: str) -> None:
    pool = sharing()
    owner = open_shared(pool, 9)
    connection, slot = share(owner).connection, share(owner).slot
    if how == "close":
        pool.close()
    else:
        pool.drain(slot if how == "drain" else share(owner), 0.0)
    pool.check()
    assert start(pool).slot is not slot and figures(pool) == (1, 0, 1, 0)
    pool.resize(slot, 99, 0.0)
    wait(pool, A)
    assert pool.closing == []
    give(pool, owner)
    assert pool.closing == [connection] and slot.state == CLOSED
    pool.drain(slot, 0.0)
    pool.resize(slot, 1, 0.0)
    pool.check()
    assert figures(pool) == (0, 0, 1, 1)


def test_draining_what_is_idle_or_dialed() -> None:
    pool = sharing()
    idle, dialing = open_shared(pool, 1), start(pool)
    connection = share(idle).connection
    slot = share(idle).slot
    give(pool, idle)
    pool.drain(slot, 0.0)
    assert pool.closing == [connection] and figures(pool) == (0, 0, 1, 0)
    pool.drain(held(dialing), 0.0)
    waiter = wait(pool, A)
    dial(pool, dialing, 9)
    assert held(waiter.owner).state == DIALING  # it did not join
    give(pool, dialing)
    assert len(pool.closing) == 2 and figures(pool) == (0, 0, 1, 0)


def test_draining_works_without_sharing_too() -> None:
    pool = Scheduler()
    owner = take(pool, A)
    pool.drain(held(owner), 0.0)
    give(pool, owner)
    assert len(pool.closing) == 1 and figures(pool) == (0, 0, 0, 0)


def test_one_that_serves_one_at_a_time_cannot_be_resized() -> None:
    pool = Scheduler()
    owner = take(pool, A)
    slot = held(owner)
    for streams in (5, 0):
        pool.resize(slot, streams, 0.0)
        pool.check()
    assert start(pool).slot is not slot
    give(pool, owner)
    pool.resize(slot, 0, 0.0)
    pool.check()
    assert pool.acquire(A, Owner(), 0.0) is slot


def test_slots_of_another_pool_are_none_of_its_business() -> None:
    pool, other = sharing(), sharing()
    owner = open_shared(other, 1)
    slot = share(owner).slot
    pool.resize(slot, 5, 0.0)
    pool.drain(slot, 0.0)
    pool.release(owner, 0.0, True)
    pool.check()
    assert figures(other) == (1, 0, 0, 0) and owner.slot is None
    start(other)
    other.resize(slot, 2, 0.0)
    assert share(join(other)).slot is slot


def test_a_raised_limit_serves_waiters_and_a_lowered_one_holds_them_up() -> None:
    pool = sharing(max_connections=1)
    owners: list[Any] = [open_shared(pool, 2), join(pool)]
    slot = share(owners[0]).slot
    waiters = [wait(pool, A) for _ in range(4)]
    pool.resize(slot, 4, 0.0)
    pool.check()
    assert pool.woken == waiters[:2] and len(slot.shares or ()) == 4
    pool.resize(share(owners[0]), 2, 0.0)
    pool.check()
    for owner in [*owners, waiters[0].owner]:
        assert not waiters[2].served
        give(pool, owner)
    assert waiters[2].served and not waiters[3].served and len(slot.shares or ()) == 2


def test_with_no_streams_at_all_nobody_joins() -> None:
    pool = sharing(max_connections=2)
    owner = open_shared(pool, 5)
    slot = share(owner).slot
    pool.resize(slot, 0, 0.0)
    second = start(pool)
    waiter = wait(pool, A)
    pool.resize(slot, 2, 0.0)
    assert share(waiter.owner).slot is slot
    give(pool, second)


def test_an_idle_connection_without_streams_is_of_no_use() -> None:
    pool = sharing()
    first, second = open_shared(pool, 1), open_shared(pool, 1)
    connections = [share(first).connection, share(second).connection]
    slot = share(second).slot
    pool.resize(share(first), 0, 0.0)
    give(pool, first)
    give(pool, second)
    assert pool.closing == connections[:1] and slot.state == IDLE
    pool.resize(slot, 3, 0.0)
    assert slot.state == IDLE
    pool.resize(slot, 0, 0.0)
    pool.check()
    assert pool.closing == connections and figures(pool) == (0, 0, 0, 0)


def test_a_connection_that_came_up_without_streams_serves_its_owner_only() -> None:
    pool = sharing(max_connections=2)
    owner = start(pool)
    waiters = [wait(pool, A), wait(pool, A)]
    dial(pool, owner, 0)
    assert share(owner).state == ACTIVE and pool.woken == waiters[:1]
    assert held(waiters[0].owner).state == DIALING


def test_past_max_age_nobody_joins_a_connection_in_use() -> None:
    pool = sharing(max_age=10.0, max_connections=2)
    first = open_shared(pool, 2, now=0.0)
    join(pool, now=9.0)
    give(pool, first, 9.5)
    start(pool, now=10.0)
    waiter = wait(pool, A, 11.0)
    assert pool.closing == [] and not waiter.served and figures(pool) == (1, 0, 1, 1)


def test_past_max_age_a_stream_given_back_is_not_handed_on() -> None:
    pool = sharing(max_age=10.0, max_connections=1)
    first = open_shared(pool, 2, now=0.0)
    second = join(pool, now=1.0)
    waiter = wait(pool, A, 2.0)
    give(pool, first, 10.0)
    assert not waiter.served
    give(pool, second, 11.0)
    assert len(pool.closing) == 1 and held(waiter.owner).state == DIALING


def test_an_idle_shared_connection_expires() -> None:
    pool = sharing(keepalive_expiry=5.0)
    owner = open_shared(pool, 2)
    give(pool, owner, 0.0, keep_for=2.0)
    again = join(pool, now=1.0)
    assert share(again).slot.served == 1
    give(pool, again, 1.0)
    start(pool, now=6.0)
    assert len(pool.closing) == 1


def test_idle_shared_connections_count_against_max_keepalive() -> None:
    pool = sharing(max_keepalive=0, max_connections=1)
    first = open_shared(pool, 2)
    second = join(pool)
    give(pool, first)
    assert pool.closing == []
    give(pool, second)
    assert len(pool.closing) == 1 and figures(pool) == (0, 0, 0, 0)


def test_cancel_gives_an_unused_stream_back() -> None:
    pool = sharing(max_connections=1, keepalive_expiry=5.0)
    first = open_shared(pool, 1)
    slot = share(first).slot
    waiters = [wait(pool, A), wait(pool, A)]
    pool.resize(slot, 2, 0.0)
    give(pool, first, 1.0)
    assert pool.woken == waiters
    for waiter in waiters:
        pool.cancel(waiter, 3.0)
        pool.cancel(waiter, 3.0)
        pool.check()
    assert (slot.state, slot.expires, slot.served) == (IDLE, 6.0, 1)


def test_a_connection_on_which_nothing_was_read_is_not_kept() -> None:
    pool = sharing()
    owner = start(pool)
    waiter = wait(pool, A)
    give(pool, owner)
    dial(pool, waiter.owner, 2)
    pool.cancel(waiter, 0.0)
    assert len(pool.closing) == 1 and figures(pool) == (0, 0, 0, 0)


def test_a_share_cannot_leave_with_its_connection() -> None:
    pool = sharing()
    first = open_shared(pool, 3)
    second, connection = join(pool), share(first).connection
    pool.forget(first)
    pool.check()
    assert first.slot is None and share(second).connection is connection
    give(pool, second)
    assert pool.closing == [connection]


def test_shares_of_an_abandoned_pool_mean_nothing_to_the_next() -> None:
    pool = sharing()
    first = open_shared(pool, 3)
    held_share = share(first)
    pool.abandon()
    assert held_share.state == CLOSED
    pool = sharing()
    pool.release(first, 0.0, True)
    pool.resize(held_share, 9, 0.0)
    pool.drain(held_share, 0.0)
    pool.check()
    assert first.slot is None and pool.closing == [] and figures(pool) == (0, 0, 0, 0)


def test_reprs_of_what_is_shared() -> None:
    pool = sharing()
    owner = open_shared(pool, 3)
    whole = "<Slot [a.example:443, ACTIVE, served 0, shares 1/3]>"
    assert repr(share(owner).slot) == whole
    assert repr(owner.slot) == f"<Share [ACTIVE] of {whole}>"


# --- misuse


@pytest.mark.parametrize("name", ["max_connections", "max_per_route", "max_keepalive"])
def test_limits_that_make_no_sense_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least"):
        Scheduler(**{name: -1})


def test_an_owner_holds_one_slot_or_one_place_in_the_queue() -> None:
    pool = Scheduler(max_connections=1)
    owner = take(pool, A)
    with pytest.raises(RuntimeError, match="holds a slot already"):
        pool.acquire(A, owner, 0.0)
    waiter = wait(pool, A)
    with pytest.raises(RuntimeError, match="waits for a slot already"):
        pool.acquire(B, waiter.owner, 0.0)
    pool.check()
    assert figures(pool) == (1, 0, 0, 1)


def test_only_who_dials_has_dialed() -> None:
    pool = Scheduler()
    owner = take(pool, A)
    for wrong in (owner, Owner()):
        with pytest.raises(RuntimeError, match="no slot that is being dialed"):
            pool.dialed(wrong, Connection(A), 0.0)


def test_reprs_say_how_things_stand() -> None:
    pool = Scheduler(max_connections=1)
    assert repr(pool) == "<Scheduler [empty]>"
    owner = take(pool, A)
    wait(pool, A)
    assert repr(pool) == "<Scheduler [connections 1, active 1, waiting 1, requests 1]>"
    assert repr(owner.slot) == "<Slot [a.example:443, ACTIVE, served 0]>"


def test_check_finds_what_is_wrong() -> None:
    pool = Scheduler(max_connections=1)
    owner = take(pool, A)
    wait(pool, A)
    held(owner).state = IDLE
    with pytest.raises(AssertionError, match="invariant 3"):
        pool.check()


def test_no_io_no_lock_no_clock() -> None:
    tree = ast.parse(Path(_pool.__file__).read_text())
    nodes = list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    pure = {"__future__", "collections", "collections.abc", "heapq", "itertools", "sys", "typing"}
    pure.add("rules")  # which imports nothing of the package
    assert names <= pure


# --- cost and memory


def python_calls(action: Callable[[], object]) -> int:
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename == _pool.__file__

    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(previous)
    return calls


def test_the_warm_path_is_two_python_calls() -> None:
    pool = Scheduler(max_connections=2, max_keepalive=2, keepalive_expiry=5.0)
    owner = take(pool, A)
    give(pool, owner, 0.0)

    def warm() -> None:
        pool.acquire(A, owner, 1.0)
        pool.release(owner, 1.0, True, 3.0)

    warm()
    assert python_calls(warm) == 2


def cost(pool: Scheduler, actions: Iterable[Callable[[], object]]) -> float:
    """Slots and queue entries looked at per action."""
    before, number = pool.touched, 0
    for action in actions:
        action()
        number += 1
    return (pool.touched - before) / number


@pytest.mark.parametrize("crowd", [5, 500])
def test_cost_does_not_grow_with_those_held_up_by_their_line(crowd: int) -> None:
    pool = Scheduler(max_connections=200, max_per_route=2)
    bystanders = []
    for number in range(50):
        route = A._replace(port=number + 1)
        take(pool, route), take(pool, route)
        bystanders += [queue(pool, route) for _ in range(crowd // 50)]
    owners: list[Any] = [take(pool, B), take(pool, B)]
    line = [queue(pool, B) for _ in range(crowd)]

    def pass_on() -> None:
        pool.release(owners.pop(0), 0.0, True)
        owners.append(pool.woken.pop().owner)

    assert cost(pool, [pass_on] * crowd) <= 3
    assert all(waiter.served for waiter in line)
    assert not any(waiter.served for waiter in bystanders)
    pool.check()


@pytest.mark.parametrize("crowd", [20, 500])
def test_cost_does_not_grow_with_contenders(crowd: int) -> None:
    pool = Scheduler(max_connections=1)
    owner: list[Any] = [take(pool, A)]
    line = [queue(pool, A._replace(port=number + 1)) for number in range(crowd)]
    assert cost(pool, [partial(pool.cancel, waiter, 0.0) for waiter in line[::2]]) <= 3

    def pass_on() -> None:
        pool.release(owner.pop(), 0.0, True)
        owner.append(pool.woken.pop().owner)
        pool.dialed(owner[0], Connection(A), 0.0)

    assert cost(pool, [pass_on] * (crowd // 2)) <= 5
    assert all(waiter.served for waiter in line[1::2])


def test_cost_of_expiry_does_not_grow_with_idle_connections() -> None:
    # Each expires at a time of its own, so that each is looked for alone.
    pool = Scheduler(keepalive_expiry=10_000.0)
    owners = [take(pool, A) for _ in range(500)]
    for number, owner in enumerate(owners):
        pool.release(owner, 0.0, True, keep_for=1.0 + (number * 7) % 500)
    owner = take(pool, B)

    def tick() -> None:
        clock.append(clock[-1] + 1.0)
        pool.release(owner, clock[-1], True)
        pool.acquire(B, owner, clock[-1])

    clock = [0.5]
    assert cost(pool, [tick] * 500) <= 4
    assert len(pool.closing) == 500


@pytest.mark.parametrize("crowd", [5, 500])
def test_cost_does_not_grow_with_those_who_share_or_wait_to(crowd: int) -> None:
    pool = Scheduler(max_connections=100, shares=lambda route: True)
    for number in range(20):  # others, who wait for a dial of their own
        route = C._replace(port=number + 1)
        start(pool, route)
        newcomers = [partial(queue, pool, route) for _ in range(crowd)]
        assert cost(pool, newcomers) <= 1
    first = start(pool)
    waiters = [queue(pool, A) for _ in range(2 * crowd)]
    assert cost(pool, [partial(pool.dialed, first, Connection(A), 0.0, crowd + 1)]) <= crowd + 5
    assert pool.woken == waiters[: crowd + 1]  # the last of them dials
    owners = [first, *(waiter.owner for waiter in waiters[:crowd])]
    pool.woken = []

    def pass_on() -> None:
        pool.release(owners.pop(0), 0.0, True)
        owners.append(pool.woken.pop().owner)  # type: ignore[arg-type]

    assert cost(pool, [pass_on] * (crowd - 1)) <= 2
    assert all(waiter.served for waiter in waiters)
    pool.check()


@pytest.mark.parametrize("number", [4, 100])
def test_cost_does_not_grow_with_connections_in_use(number: int) -> None:
    pool = sharing()
    owners = [open_shared(pool, 1) for _ in range(number)]
    for owner in owners:
        pool.resize(share(owner), 2, 0.0)
    owners += [join(pool) for _ in range(number)]
    spare = open_shared(pool, 9)

    def come_and_go(owner: Owner) -> None:
        slot = share(owner).slot
        pool.release(owner, 0.0, True)
        assert pool.acquire(A, owner, 0.0).slot is slot  # type: ignore[union-attr]

    assert cost(pool, [partial(come_and_go, owner) for owner in owners[::-1]]) <= 4
    # The oldest has a free stream, so that what is outdated behind it is not met.
    for owner in owners[::-1]:
        pool.release(owner, 0.0, True)
        pool.release(spare, 0.0, True)
        assert cost(pool, [partial(pool.acquire, A, spare, 0.0)]) <= 2 * number + 2
    pool.check()


def test_cost_of_draining_and_ageing_does_not_grow_with_connections() -> None:
    pool = sharing(max_age=10.0)
    owners = [open_shared(pool, 1) for _ in range(200)]
    for owner in owners:
        pool.resize(share(owner), 2, 0.0)
    assert cost(pool, [partial(pool.drain, share(owner), 0.0) for owner in owners[:100]]) == 0
    newcomers = [Owner() for _ in range(100)]
    assert cost(pool, [partial(pool.acquire, A, owner, 5.0) for owner in newcomers]) <= 4
    assert cost(pool, [partial(pool.acquire, A, Owner(), 10.0) for _ in range(100)]) <= 3
    assert figures(pool) == (200, 0, 1, 99)


def test_connections_that_are_gone_leave_no_trace_behind_one_that_stays() -> None:
    pool = sharing(keepalive_expiry=5.0)
    owner = start(pool)
    waiters = [queue(pool, A) for _ in range(200)]
    pool.release(owner, 0.0, False)  # so that all dial at once
    for waiter in waiters:
        pool.dialed(waiter.owner, Connection(A), 0.0, 2)
    line = pool._lines[A]
    assert len(line.open) == 200
    for waiter in waiters[1:]:
        pool.release(waiter.owner, 0.0, True)
        pool.check()
    pool.close_idle()
    pool.check()
    assert len(line.open) < 50 and len(pool.closing) == 199
    assert share(join(pool)).slot is share(waiters[0].owner).slot


def test_routes_without_slots_and_waiters_leave_no_trace() -> None:
    pool = Scheduler(max_connections=3, keepalive_expiry=3600.0)
    for number in range(10_000):
        owner = Owner()
        pool.acquire(A._replace(port=number), owner, float(number) / 1000)
        pool.dialed(owner, Connection(A), float(number) / 1000)
        pool.release(owner, float(number) / 1000, True)
    pool.check()
    assert len(pool._lines) == len(pool._slots) == len(pool._idle) == 3
    assert len(pool.closing) == 10_000 - 3


def test_waiters_who_give_up_leave_no_trace_in_a_pool_that_is_stuck() -> None:
    pool = Scheduler(max_connections=1)
    take(pool, A)
    wait(pool, B)
    for number in range(1000):
        pool.cancel(wait(pool, C._replace(port=number)), 0.0)
    assert len(pool._lines) == 2 and len(pool._ready) < 50


def test_servers_that_lower_their_timeout_each_time_cost_no_memory() -> None:
    pool = Scheduler()
    owner = take(pool, A)
    for number in range(1000):
        pool.release(owner, 0.0, True, keep_for=10_000.0 - number)
        pool.acquire(A, owner, 0.0)
    assert len(pool._expiries) < 50


# --- the state machine: the Scheduler beside a model that is too simple to be wrong


class Entry:
    """A slot of the model."""

    def __init__(self, route: Route, number: int) -> None:
        self.route = route
        self.number = number  # what the real slot has as its connection, once dialed
        self.state = DIALING
        self.retires = float("inf")
        self.expires = float("inf")
        self.served = 0
        self.streams: int | None = None  # how many requests at once; None: one after the other
        self.users: list[Owner] = []
        self.came = 0  # shared ones in the order in which they came up


class Model:
    """The rules as one would say them: everybody queues, and the queue is tried from its start."""

    def __init__(self, **limits: Any) -> None:
        self.limits = limits
        self.entries: list[Entry] = []
        self.idle: list[Entry] = []  # newest last
        self.queue: list[tuple[Owner, Route, bool]] = []
        self.holds: dict[Owner, Entry] = {}
        self.closing: list[int] = []
        self.served: list[Owner] = []
        self.numbers = 0
        self.patient: dict[Route, bool] = {}

    def acquire(self, owner: Owner, route: Route, now: float, fresh: bool) -> None:
        for entry in [entry for entry in self.idle if entry.expires <= now]:
            self.close(entry)
        if route not in {entry.route for entry in self.entries} | {q[1] for q in self.queue}:
            self.patient[route] = route in MAYBE_SHARED
        self.queue.append((owner, route, fresh))
        self.serve(now)

    def serve(self, now: float) -> None:
        for place in list(self.queue):
            owner, route, fresh = place
            entry = self.find(route, fresh, now)
            if entry is not None:
                self.queue.remove(place)
                self.holds[owner] = entry
                entry.users.append(owner)
                self.served.append(owner)

    def find(self, route: Route, fresh: bool, now: float) -> Entry | None:
        everywhere = [entry for entry in self.entries if entry.route == route]
        free = [entry for entry in everywhere if entry.state == ACTIVE and entry.retires > now]
        free = [entry for entry in free if len(entry.users) < (entry.streams or 0)]
        if free:
            return min(free, key=lambda entry: entry.came)
        own = [entry for entry in self.idle if entry.route == route]
        if own and not fresh:
            self.idle.remove(own[-1])
            own[-1].state = ACTIVE
            return own[-1]
        if self.patient[route] and any(entry.state == DIALING for entry in everywhere):
            for entry in own:
                self.close(entry)
            return None
        if len(everywhere) >= (self.limits["max_per_route"] or 99):
            victims = own
        elif len(self.entries) >= (self.limits["max_connections"] or 99):
            victims = own or self.idle
        else:
            return self.new(route)
        if not victims:
            return None
        self.close(victims[0])
        return self.new(route)

    def new(self, route: Route) -> Entry:
        self.numbers += 1
        self.entries.append(Entry(route, self.numbers))
        return self.entries[-1]

    def dialed(self, entry: Entry, now: float, streams: int | None) -> None:
        entry.state, entry.streams = ACTIVE, streams
        entry.retires = min(entry.retires, now + (self.limits["max_age"] or float("inf")))
        self.patient[entry.route] = streams is not None
        if streams is not None:
            self.numbers += 1
            entry.came, entry.expires = self.numbers, float("-inf")
        self.serve(now)

    def close(self, entry: Entry, silently: bool = False) -> None:
        if entry.state == DIALING:
            self.patient[entry.route] = False
        elif not silently:
            self.closing.append(entry.number)
        self.entries.remove(entry)
        if entry in self.idle:
            self.idle.remove(entry)

    def release(self, owner: Owner, now: float, keep: bool, expires: float) -> None:
        entry = self.holds.pop(owner)
        entry.users.remove(owner)
        if keep:
            entry.expires = expires
        else:
            entry.retires = float("-inf")
        entry.expires = min(entry.expires, entry.retires)
        if not entry.users:
            useless = entry.state == DIALING or entry.expires <= now or entry.streams == 0
            if useless:
                self.close(entry)
            else:
                entry.state = IDLE
                self.idle.append(entry)
        self.serve(now)
        limit = self.limits["max_keepalive"]
        while limit is not None and len(self.idle) > limit:
            self.close(self.idle[0])

    def retire(self, entry: Entry) -> None:
        entry.retires = float("-inf")
        if entry in self.idle:
            self.close(entry)


MAYBE_SHARED = (A, B)
some = st.none() | st.integers(1, 4)


class SchedulerMachine(RuleBasedStateMachine):
    owners = Bundle("owners")

    @initialize(
        max_connections=some,
        max_per_route=some,
        max_keepalive=st.none() | st.integers(0, 3),
        keepalive_expiry=st.none() | st.integers(1, 9),
        max_age=st.none() | st.integers(5, 30),
    )
    def begin(self, **limits: Any) -> None:
        self.pool = Scheduler(**limits, shares=lambda route: route in MAYBE_SHARED)
        self.model = Model(**limits)
        self.now = 0.0
        self.waiters: dict[Owner, Waiter] = {}

    @rule(target=owners, route=st.sampled_from(ROUTES), fresh=st.sampled_from([False] * 4 + [True]))
    def acquire(self, route: Route, fresh: bool) -> Owner:
        owner = Owner()
        answer = self.pool.acquire(route, owner, self.now, fresh)
        self.model.acquire(owner, route, self.now, fresh)
        if isinstance(answer, Waiter):
            assert not answer.served and owner.slot is None
            self.waiters[owner] = answer
        else:
            assert answer is owner.slot
            self.model.served.remove(owner)
        return owner

    @rule(target=owners, owner=consumes(owners), streams=st.none() | st.integers(0, 4))
    def dial(self, owner: Owner, streams: int | None) -> Any:
        entry = self.model.holds.get(owner)
        if entry is not None and entry.state == DIALING:
            self.pool.dialed(owner, entry.number, self.now, streams)
            self.model.dialed(entry, self.now, streams)
        return owner

    @rule(
        owner=consumes(owners),
        reusable=st.sampled_from([True] * 3 + [False]),
        keep_for=st.none() | st.integers(0, 6),
    )
    def release(self, owner: Owner, reusable: bool, keep_for: int | None) -> None:
        self.pool.release(owner, self.now, reusable, keep_for)
        entry = self.model.holds.get(owner)
        if entry is None:
            self.model.queue = [place for place in self.model.queue if place[0] is not owner]
        else:
            entry.served += 1
            ages = [self.model.limits["keepalive_expiry"], keep_for, float("inf")]
            expires = self.now + min(age for age in ages if age is not None)
            self.model.release(owner, self.now, reusable, expires)
        assert owner.slot is None
        self.pool.release(owner, self.now, reusable)

    @rule(owner=consumes(owners))
    def forget(self, owner: Owner) -> None:
        entry = self.model.holds.get(owner)
        if entry is None or entry.streams is not None:
            self.release(owner, False, None)
            return
        self.pool.forget(owner)
        del self.model.holds[owner]
        self.model.close(entry, silently=True)
        self.model.serve(self.now)

    @rule(target=owners, owner=consumes(owners))
    def cancel(self, owner: Owner) -> Any:
        waiter, entry = self.waiters.get(owner), self.model.holds.get(owner)
        alone = entry is not None and entry.streams is None
        if waiter is None or (alone and entry.served == 0 and entry.state == ACTIVE):
            return owner  # it never waited, or went on to use what it got
        self.pool.cancel(waiter, self.now)
        if entry is None:
            self.model.queue = [place for place in self.model.queue if place[0] is not owner]
        else:
            keep = entry.streams is not None or not waiter.fresh
            self.model.release(owner, self.now, keep, entry.expires)
        assert waiter.cancelled and owner.slot is None
        self.pool.cancel(waiter, self.now)
        return multiple()

    @rule(target=owners, owner=consumes(owners), streams=st.integers(0, 5))
    def resize(self, owner: Owner, streams: int) -> Owner:
        if owner.slot is not None:
            self.pool.resize(owner.slot, streams, self.now)
            entry = self.model.holds[owner]
            if entry.streams is not None:
                entry.streams = streams
                self.model.serve(self.now)
        return owner

    @precondition(lambda self: self.model.idle)
    @rule(number=st.integers(0, 9), streams=st.integers(0, 5))
    def resize_idle(self, number: int, streams: int) -> None:
        entry = self.model.idle[number % len(self.model.idle)]
        self.pool.resize(self.slot_of(entry), streams, self.now)
        if entry.streams is not None:
            entry.streams = streams
            if not streams:
                self.model.close(entry)

    @precondition(lambda self: self.model.entries)
    @rule(number=st.integers(0, 9))
    def drain(self, number: int) -> None:
        entry = self.model.entries[number % len(self.model.entries)]
        self.pool.drain(self.slot_of(entry), self.now)
        self.model.retire(entry)

    def slot_of(self, entry: Entry) -> Slot:
        return self.pool.slots()[self.model.entries.index(entry)]

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @precondition(lambda self: self.model.idle)
    @rule()
    def close_idle(self) -> None:
        self.pool.close_idle()
        for entry in list(self.model.idle):
            self.model.close(entry)

    @rule(dice=st.integers(0, 9))
    def close(self, dice: int) -> None:
        if dice == 0:
            self.pool.close()
            for entry in list(self.model.entries):
                self.model.retire(entry)

    @invariant()
    def agrees(self) -> None:
        pool, model = self.pool, self.model
        pool.check()
        assert {owner: self.held(owner).state for owner in model.holds} == {
            owner: entry.state for owner, entry in model.holds.items()
        }
        for owner, entry in model.holds.items():
            connection = None if entry.state == DIALING else entry.number
            assert (
                self.held(owner).connection == connection and self.held(owner).route == entry.route
            )
            assert (entry.streams is not None) == isinstance(owner.slot, Share)
            if isinstance(owner.slot, Share):
                slot = owner.slot.slot
                assert slot.streams == entry.streams
                assert list(slot.shares or ()) == [user.slot for user in entry.users]
        assert len({owner.slot for owner in model.holds}) == len(model.holds)
        assert pool.stats()["requests"] == len(model.holds)
        idle = [(slot.connection, slot.expires) for slot in pool._idle]
        assert idle == [(entry.number, entry.expires) for entry in model.idle]
        assert [waiter.owner for waiter in pool._waiting.values()] == [q[0] for q in model.queue]
        assert len(pool.slots()) == len(model.entries)
        assert sorted(pool.closing) == sorted(model.closing)
        assert [waiter.owner for waiter in pool.woken] == model.served
        assert all(waiter.served for waiter in pool.woken)
        pool.closing, pool.woken, model.closing, model.served = [], [], [], []

    def held(self, owner: Owner) -> Slot | Share:
        assert owner.slot is not None
        return owner.slot

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        while self.model.holds:
            owner = next(iter(self.model.holds))
            self.release(owner, True, None)
            self.agrees()
        assert not self.model.queue
        self.pool.close()
        assert figures(self.pool) == (0, 0, 0, 0) and not self.pool._lines


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=examples(250), stateful_step_count=40, deadline=None)


# --- interruption: an exception before any bytecode of any operation


class Interruption(BaseException):
    """Stands for a KeyboardInterrupt."""


def interrupted(action: Callable[[], object], position: int) -> bool:
    """Runs the action, and raises before its bytecode number `position`. False: it was shorter."""
    left = position

    def strike() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            left = maxsize  # once only: what cleans up is not struck again
            raise Interruption

    watching = by_monitoring if sys.version_info >= (3, 12) else by_tracing
    try:
        with watching(strike):
            action()
    except Interruption:
        return True
    return False


@contextmanager
def by_tracing(strike: Callable[[], None]) -> Iterator[None]:
    def watch(frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename != _pool.__file__:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            strike()
        return watch

    previous = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(previous)


@contextmanager
def by_monitoring(strike: Callable[[], None]) -> Iterator[None]:
    """CPython 3.12 and later: tracing by opcode is no longer reliable there (PEP 669)."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    tool, event = monitoring.OPTIMIZER_ID, monitoring.events.INSTRUCTION
    monitoring.use_tool_id(tool, "interruption")
    monitoring.register_callback(tool, event, lambda code, offset: strike())
    codes = list(codes_of(_pool))
    for code in codes:
        monitoring.set_local_events(tool, code, event)
    try:
        yield
    finally:
        for code in codes:
            monitoring.set_local_events(tool, code, 0)
        monitoring.register_callback(tool, event, None)
        monitoring.free_tool_id(tool)


def codes_of(module: ModuleType) -> Iterator[CodeType]:
    """All code of a module's functions and methods, with what is nested in them."""
    found: list[Any] = []
    for thing in vars(module).values():
        if getattr(thing, "__module__", None) == module.__name__:
            found += vars(thing).values() if isinstance(thing, type) else [thing]
    found = [getattr(thing, "fget", thing) for thing in found]  # what a property is made of
    codes = [thing.__code__ for thing in found if isinstance(thing, FunctionType)]
    while codes:
        code = codes.pop()
        yield code
        codes += [nested for nested in code.co_consts if isinstance(nested, CodeType)]


def disturb(pool: Scheduler) -> None:
    """Leaves it to the next operation to repair the pool."""
    position = 0
    while not pool._mutating:
        assert interrupted(pool.close_idle, position)
        position += 1


class World:
    """A pool, all who ever asked it for something, and where each connection went.

    `streams`: how many requests a connection turns out to serve at once, for routes whose
    connections are shared.
    """

    def __init__(self, streams: dict[Route, int] | None = None, **limits: Any) -> None:
        self.streams = streams or {}
        self.pool = Scheduler(**limits, shares=self.streams.__contains__)
        self.now = 0.0
        self.owners: list[Owner] = []
        self.open: set[Connection] = set()
        self.woken: set[Owner] = set()
        self.most: dict[Slot, int] = {}  # streams that a connection has ever had
        self.sleeping: dict[Owner, Waiter] = {}

    def owner(self) -> Owner:
        self.owners.append(Owner())
        return self.owners[-1]

    def ask(self, route: Route, fresh: bool = False, dial: bool = True) -> Owner:
        owner = self.owner()
        answer = self.pool.acquire(route, owner, self.now, fresh)
        if isinstance(answer, Waiter):
            self.sleeping[owner] = answer
        return self.dial(owner) if dial else owner

    def dial(self, owner: Owner) -> Owner:
        slot = owner.slot
        if slot is not None and slot.state == DIALING:
            self.dialed(owner, self.streams.get(slot.route))
        return owner

    def dialed(self, owner: Owner, streams: int | None) -> None:
        """May be interrupted: it is the pool that closes the connection, once it knows of it."""
        slot = held(owner)
        connection = Connection(slot.route)
        self.open.add(connection)
        try:
            self.pool.dialed(owner, connection, self.now, streams)
        except Interruption:
            if slot.connection is not connection:
                self.open.discard(connection)
            raise

    def idle(self, *routes: Route, keep_for: float | None = None) -> None:
        """Idle connections, the last one for the longest: not in the order they were made."""
        for owner in [self.ask(route) for route in routes][::-1]:
            self.pool.release(owner, self.now, True, keep_for)
            self.now += 0.125

    def collect(self) -> None:
        """What the shell does after each operation, even one that failed."""
        self.open.difference_update(self.pool.closing)
        self.woken.update(waiter.owner for waiter in self.pool.woken)  # type: ignore[misc]
        self.pool.closing, self.pool.woken = [], []

    def verify(self) -> None:
        """Nothing is lost or shared, and nobody sleeps who has a slot."""
        self.pool.check()
        self.collect()
        for owner, waiter in self.sleeping.items():
            assert owner.slot is None or (waiter.served and owner in self.woken)
        owned = [owner.slot for owner in self.owners if owner.slot is not None]
        assert len(set(owned)) == len(owned)
        busy = [slot for slot in self.pool.slots() if slot.state != IDLE]
        assert {own.slot if isinstance(own, Share) else own for own in owned} == set(busy)
        shares = {share for slot in busy for share in slot.shares or ()}
        assert shares == {own for own in owned if isinstance(own, Share)}
        for slot in busy:
            self.most[slot] = max(self.most.get(slot, 1), slot.streams)
            assert len(slot.shares or ()) <= self.most[slot]
        known = {slot.connection for slot in self.pool.slots()} - {None}
        assert known == self.open

    def drain(self) -> None:
        """Each owner uses its slot and lets go, until all that waited have had their turn."""
        while any(owner.slot for owner in self.owners):
            for owner in self.owners:
                self.pool.release(self.dial(owner), self.now, True) if owner.slot else None
            self.verify()
        assert figures(self.pool) == (0, len(self.open), 0, 0)
        for waiter in self.sleeping.values():
            assert waiter.served != waiter.cancelled or waiter.owner in self.woken
        assert self.ask(A).slot is not None
        self.pool.close()
        for owner in self.owners:
            self.pool.release(owner, self.now, False)
        self.collect()
        assert not self.open and figures(self.pool) == (0, 0, 0, 0) and not self.pool._lines


Begin = Callable[[], tuple[World, Owner]]
Step = Callable[[World, Owner], object]


def asks(route: Route, fresh: bool = False) -> Step:
    return lambda world, owner: world.pool.acquire(route, owner, world.now, fresh)


def releases(reusable: bool = True, keep_for: float | None = None) -> Step:
    return lambda world, owner: world.pool.release(owner, world.now, reusable, keep_for)


def cancels(world: World, owner: Owner) -> None:
    world.pool.cancel(world.sleeping[owner], world.now)


def warm() -> tuple[World, Owner]:
    world = World(max_connections=2, keepalive_expiry=5.0)
    world.idle(A, B)
    return world, world.owner()


def expired() -> tuple[World, Owner]:
    world = World()
    world.idle(A, A, keep_for=1.0)
    world.idle(A, B, C, keep_for=9.0)
    world.now = 2.0
    return world, world.owner()


def crowded() -> tuple[World, Owner]:
    """One slot is in use; of each kind of waiter there is one."""
    world = World(max_connections=1, keepalive_expiry=5.0)
    owner = world.ask(A)
    for route, fresh in [(A, False), (B, False), (A, True), (A, False)]:
        world.ask(route, fresh)
    return world, owner


def lined_up() -> tuple[World, Owner]:
    """Waiters of A are held up by its limit; the pool has room left, and then it has not."""
    world = World(max_connections=3, max_per_route=1, max_keepalive=1)
    owner = world.ask(A)
    for route in (A, B, C, B, A):
        world.ask(route)
    return world, owner


def handed_over() -> tuple[World, Owner]:
    world, owner = crowded()
    world.pool.release(owner, world.now, True)
    return world, next(iter(world.sleeping))


def queued() -> tuple[World, Owner]:
    world, _ = crowded()
    return world, list(world.sleeping)[1]


def newcomer(crowd: Begin) -> Begin:
    def begin() -> tuple[World, Owner]:
        world, _ = crowd()
        return world, world.owner()

    return begin


def busy() -> tuple[World, Owner]:
    world = World(max_connections=3, max_keepalive=1, max_age=9.0)
    world.idle(A)
    world.ask(B)
    return world, world.ask(C)


def in_use() -> tuple[World, Owner]:
    """The limits are far away: the warm path."""
    world = World(max_connections=9, keepalive_expiry=5.0)
    world.idle(A)
    world.ask(B)
    return world, world.ask(A)


def dialing() -> tuple[World, Owner]:
    world, _ = crowded()
    world.pool.close_idle()
    first = next(owner for owner in world.owners if owner.slot)
    world.pool.release(first, world.now, False)
    return world, next(iter(world.sleeping))


def shared() -> tuple[World, Owner]:
    """Two use a connection that three may use, and one can be idle beside it."""
    world = World({A: 3}, max_connections=2, keepalive_expiry=5.0, max_age=30.0)
    owner = world.ask(A)
    world.ask(A)
    return world, owner


def alone() -> tuple[World, Owner]:
    world = World({A: 2}, max_connections=2, keepalive_expiry=5.0)
    world.idle(B)
    return world, world.ask(A)


def resting() -> tuple[World, Owner]:
    world = World({A: 2}, max_connections=2, keepalive_expiry=5.0)
    world.idle(A)
    return world, world.ask(B)


def oversubscribed(streams: int = 2) -> tuple[World, Owner]:
    """All streams of the one connection are in use; of each kind of waiter there is one."""
    world = World({A: streams}, max_connections=1, keepalive_expiry=5.0)
    owner = world.ask(A)
    for _ in range(streams - 1):
        world.ask(A)
    for route, fresh in [(A, True), (B, False), (A, False)]:
        world.ask(route, fresh)
    return world, owner


def patient() -> tuple[World, Owner]:
    """One is dialing, and others wait for what becomes of it."""
    world = World({A: 2}, max_connections=3, keepalive_expiry=5.0)
    owner = world.ask(A, dial=False)
    for fresh in (False, True, False):
        world.ask(A, fresh)
    return world, owner


def patient_beside_an_idle_one() -> tuple[World, Owner]:
    world = World({A: 1}, max_connections=3, keepalive_expiry=5.0)
    owner = world.ask(A)
    world.ask(A, dial=False)
    world.pool.release(owner, world.now, True)
    return world, owner


def too_old() -> tuple[World, Owner]:
    world, _ = shared()
    world.now = 30.0
    return world, world.owner()


def given_a_stream() -> tuple[World, Owner]:
    world, owner = oversubscribed()
    world.pool.release(owner, world.now, True)
    return world, next(iter(world.sleeping))


def resizes(streams: int) -> Step:
    return lambda world, owner: world.pool.resize(world.pool.slots()[0], streams, world.now)


def drains(world: World, owner: Owner) -> None:
    world.pool.drain(world.pool.slots()[0], world.now)


INTERRUPTED: dict[str, tuple[Begin, Step]] = {
    "acquire idle": (warm, asks(A)),
    "acquire new, evicting": (warm, asks(C)),
    "acquire fresh, evicting": (warm, asks(A, fresh=True)),
    "acquire after others expired": (expired, asks(A)),
    "acquire, to wait": (newcomer(crowded), asks(C)),
    "acquire, to wait for the line": (newcomer(lined_up), asks(A)),
    "release, warm": (in_use, releases()),
    "release, warm, for the first time": (in_use, releases(keep_for=1.0)),
    "release to idle": (busy, releases()),
    "release to idle, with a timeout": (busy, releases(keep_for=3.0)),
    "release to close": (busy, releases(False)),
    "release to a waiter": (crowded, releases()),
    "release to a waiter, closed": (crowded, releases(False)),
    "release in a line at its limit": (lined_up, releases()),
    "release while dialing": (dialing, releases()),
    "release a waiter": (queued, releases()),
    "cancel in the queue": (queued, cancels),
    "cancel after the handover": (handed_over, cancels),
    "close idle": (expired, lambda world, owner: world.pool.close_idle()),
    "close": (expired, lambda world, owner: world.pool.close()),
    "join": (newcomer(shared), asks(A)),
    "join, fresh": (newcomer(shared), asks(A, fresh=True)),
    "acquire idle, to share": (newcomer(resting), asks(A)),
    "acquire, to wait for a dial": (newcomer(patient), asks(A)),
    "acquire, to wait for a stream": (newcomer(oversubscribed), asks(A)),
    "acquire fresh, giving up idle ones": (
        newcomer(patient_beside_an_idle_one),
        asks(A, fresh=True),
    ),
    "acquire, past max_age": (too_old, asks(A)),
    "release a share": (shared, releases()),
    "release a share, not reusable": (shared, releases(False)),
    "release the last share": (alone, releases(keep_for=1.0)),
    "release the last share, not reusable": (alone, releases(False)),
    "release a share to a waiter": (oversubscribed, releases()),
    "release the only share to a waiter": (partial(oversubscribed, 1), releases()),
    "release while others wait for the dial": (patient, releases()),
    "dialed, shared": (patient, lambda world, owner: world.dialed(owner, 3)),
    "dialed, not shared": (patient, lambda world, owner: world.dialed(owner, None)),
    "cancel after a stream was given": (given_a_stream, cancels),
    "resize, for waiters": (oversubscribed, resizes(4)),
    "resize, in use": (shared, resizes(1)),
    "resize to nothing, idle": (resting, resizes(0)),
    "drain, in use": (shared, drains),
    "drain, idle": (resting, drains),
    "close, in use": (shared, lambda world, owner: world.pool.close()),
    "forget a share": (shared, lambda world, owner: world.pool.forget(owner)),
}


# An operation is interrupted at one bytecode of so many, in the long run at each.
STRIDE = 4 // examples(4)


def positions(name: str) -> range:
    """Where to interrupt the operation: not at the same places in all of them."""
    return range(len(name) % STRIDE, 10_000, STRIDE)


@pytest.mark.parametrize("name", INTERRUPTED)
def test_an_interrupted_operation_loses_nothing(name: str) -> None:
    """The owner releases, and everything goes on as if nothing had been asked."""
    begin, step = INTERRUPTED[name]
    for position in positions(name):
        world, owner = begin()
        happened = interrupted(partial(step, world, owner), position)
        world.collect()
        world.pool.release(owner, world.now, False)
        assert owner.slot is None
        world.verify()
        world.drain()
        if not happened:
            break
    assert 20 < position < 9_999


@pytest.mark.parametrize("name", INTERRUPTED)
def test_others_go_on_before_an_interrupted_owner_releases(name: str) -> None:
    """What it believes to hold may be theirs by now: a release must not take it from them."""
    begin, step = INTERRUPTED[name]
    for position in positions(name):
        world, owner = begin()
        happened = interrupted(partial(step, world, owner), position)
        others = []
        for route in ROUTES:
            others.append(world.ask(route))
            world.pool.check()
        world.collect()
        theirs = [other.slot for other in others]
        world.pool.release(owner, world.now, True)
        for other, slot in zip(others, theirs, strict=True):
            assert slot is None or (other.slot is slot and slot.state == ACTIVE)
        world.verify()
        world.drain()
        if not happened:
            break
    assert 20 < position < 9_999


@pytest.mark.parametrize("name", INTERRUPTED)
@settings(max_examples=examples(40), deadline=None)
@given(first=st.integers(0, 300), others=st.lists(st.integers(0, 900), min_size=1, max_size=3))
def test_a_repair_may_be_interrupted_too(name: str, first: int, others: list[int]) -> None:
    begin, step = INTERRUPTED[name]
    world, owner = begin()
    interrupted(lambda: step(world, owner), first)
    for position in others:
        world.collect()
        interrupted(lambda: world.pool.release(owner, world.now, True), position)
    world.collect()
    world.pool.release(owner, world.now, False)
    world.verify()
    world.drain()


FIRST_AFTER: dict[str, Step] = {
    "acquire": lambda world, owner: world.ask(A),
    "release": lambda world, owner: world.pool.release(owner, world.now, True),
    "dialed": lambda world, owner: world.dial(world.owners[2]),
    "resize": lambda world, owner: world.pool.resize(share(owner), 3, world.now),
    "drain": lambda world, owner: world.pool.drain(share(owner), world.now),
    "forget": lambda world, owner: world.pool.forget(owner),
    "cancel": lambda world, owner: world.pool.cancel(world.sleeping[world.owners[3]], world.now),
    "close_idle": lambda world, owner: world.pool.close_idle(),
    "close": lambda world, owner: world.pool.close(),
}


@pytest.mark.parametrize("name", FIRST_AFTER)
def test_whatever_comes_first_after_an_interruption_repairs(name: str) -> None:
    repaired = 0
    for position in range(10_000):
        world = World({A: 2}, max_connections=2)
        owner, victim, _ = world.ask(A), world.ask(A), world.ask(C, dial=False)
        world.ask(A)
        world.ask(B)
        happened = interrupted(partial(world.pool.release, victim, world.now, True), position)
        repaired += world.pool._mutating
        FIRST_AFTER[name](world, owner)
        world.pool.check()
        world.pool.release(victim, world.now, False)
        world.verify()
        world.drain()
        if not happened:
            break
    assert 20 < repaired < position < 9_999


def test_a_repair_keeps_what_is_known_of_the_idle_ones() -> None:
    def known() -> list[tuple[object, ...]]:
        names = ("route", "state", "connection", "created", "expires", "served")
        return [tuple(getattr(slot, name) for name in names) for slot in pool._idle]

    world = World(max_age=9.0)
    pool = world.pool
    world.idle(A, B, A, keep_for=3.0)
    before, old = known(), pool.slots()
    interrupted(lambda: pool.acquire(C, world.owner(), world.now), 100)
    assert pool._mutating
    world.dial(world.ask(C))
    assert known() == before and len(before) == 3
    assert not set(old) & set(pool.slots())
    give(pool, take(pool, A, 1.0), 1.0, keep_for=30.0)
    assert max(slot.expires for slot in pool.slots() if slot.route == A) == 9.0


@pytest.mark.parametrize("reusable", [True, False])
def test_an_interrupted_release_of_the_last_share_settles_what_becomes_of_it(
    reusable: bool,
) -> None:
    for position in range(10_000):
        world = World({A: 2}, keepalive_expiry=5.0)
        world.idle(A)
        owner = world.ask(A)
        slot = share(owner).slot
        happened = interrupted(partial(world.pool.release, owner, 3.0, reusable), position)
        world.pool.release(owner, 3.0, reusable)
        world.now = 3.0
        world.ask(B)
        known = (slot.state, slot.idle_since, slot.expires)
        assert known == (IDLE, 3.0, 8.0) if reusable else slot.state == CLOSED
        world.verify()
        if not happened:
            break
    assert 20 < position < 9_999


@pytest.mark.parametrize("answer", [True, False], ids=["dialing", "failed"])
@pytest.mark.parametrize("slots", [True, False], ids=["with slots", "waiters only"])
def test_a_repair_keeps_what_a_line_has_learned(answer: bool, slots: bool) -> None:
    world = World({A: 2}, max_connections=9 if slots else 2)
    pool, first = world.pool, world.ask(C)
    if slots:
        owner = world.ask(A, dial=False)
        if not answer:
            world.ask(A, dial=False), pool.release(owner, 0.0, False)
    elif answer:
        others = [first, world.ask(C)]
        world.ask(A), world.ask(A)
    else:
        owner, others = world.ask(A, dial=False), [first, world.ask(B)]
        world.ask(A), world.ask(A)
        pool.release(owner, 0.0, False)
    disturb(pool)
    interrupted(pool.close_idle, 60)  # in the repair itself
    disturb(pool)
    if slots:
        world.ask(A, dial=False)
    else:
        for other in others:
            pool.release(other, 0.0, False)
    dialing = [slot for slot in pool.slots() if slot.state == DIALING and slot.route == A]
    assert len(dialing) == (1 if answer else 2)
    pool.check()


def test_an_interrupted_forget_loses_no_slot() -> None:
    for position in positions("forget"):
        world, owner = crowded()
        world.open.discard(held(owner).connection)  # its new user closes it, whatever happens
        happened = interrupted(partial(world.pool.forget, owner), position)
        world.collect()
        world.pool.release(owner, world.now, False)
        world.verify()
        world.drain()
        if not happened:
            break
    assert 20 < position < 9_999


def test_an_interrupted_dial_is_given_up() -> None:
    for position in range(10_000):
        world, owner, connection = World(max_connections=1), Owner(), Connection(A)
        world.owners.append(owner)
        world.pool.acquire(A, owner, 0.0)
        happened = interrupted(partial(world.pool.dialed, owner, connection, 0.0), position)
        world.pool.release(owner, 0.0, False)
        assert set(world.pool.closing) <= {connection}
        world.verify()
        world.drain()
        if not happened:
            break
    assert 20 < position < 9_999


KINDS = ["ask", "ask", "ask fresh", "release", "release", "close", "cancel", "tick", "dial"]


def test_an_interrupted_dial_is_given_up_though_that_is_interrupted_too() -> None:
    # Between the store that makes its owner refer to a share and the one that makes it ACTIVE.
    def dials(position: int) -> tuple[World, Owner]:
        world, owner = patient()
        assert interrupted(partial(world.dialed, owner, 2), position)
        return world, owner

    between = next(p for p in range(10_000) if isinstance(dials(p)[1].slot, Share))
    for position in positions("dial"):
        world, owner = dials(between)
        assert share(owner).slot.state == DIALING
        happened = interrupted(partial(world.pool.release, owner, world.now, True), position)
        world.collect()
        world.ask(C)
        world.pool.release(owner, world.now, True)
        world.verify()
        world.drain()
        if not happened:
            break
    assert 20 < position < 9_999


steps = st.tuples(
    st.sampled_from([*KINDS, "resize", "drain"]),
    st.sampled_from(ROUTES),
    st.integers(0, 20),  # which owner
    st.none() | st.integers(0, 400),  # where it is interrupted
)


@settings(max_examples=examples(300), deadline=None)
@given(
    limits=st.fixed_dictionaries(
        {
            "max_connections": some,
            "max_per_route": some,
            "max_keepalive": st.none() | st.integers(0, 3),
            "keepalive_expiry": st.none() | st.integers(1, 9),
        }
    ),
    streams=st.dictionaries(st.sampled_from(ROUTES), st.integers(0, 3)),
    script=st.lists(steps, max_size=40),
)
def test_any_sequence_of_interrupted_operations(
    limits: Any, streams: dict[Route, int], script: list[Any]
) -> None:
    world = World(streams, **limits)
    pool = world.pool
    for kind, route, number, position in script:
        active = [owner for owner in world.owners if owner.slot]
        asleep = [owner for owner, w in world.sleeping.items() if not (w.served or w.cancelled)]
        among = asleep if kind == "cancel" else active
        owner = among[number % len(among)] if among and kind[:3] != "ask" else world.owner()

        def step(
            kind: str = kind, route: Route = route, owner: Owner = owner, number: int = number
        ) -> None:
            if kind[:3] == "ask":
                answer = pool.acquire(route, owner, world.now, kind == "ask fresh")
                if isinstance(answer, Waiter):
                    world.sleeping[owner] = answer
            elif kind == "cancel" and owner in world.sleeping:
                pool.cancel(world.sleeping[owner], world.now)
            elif kind == "tick":
                world.now += number
            elif kind == "dial":
                world.dial(owner)
            elif kind == "resize" and owner.slot is not None:
                pool.resize(owner.slot, number % 5, world.now)
            elif kind == "drain" and pool.slots():
                pool.drain(pool.slots()[number % len(pool.slots())], world.now)
            else:
                pool.release(owner, world.now, kind == "release")

        if position is None:
            step()
        elif interrupted(step, position):
            world.collect()
            if number % 2:
                world.ask(route)
            pool.release(owner, world.now, False)
        if number % 3:
            world.dial(owner)
        world.verify()
    world.drain()


# --- figures for people


def totals(pool: Scheduler) -> dict[str, int]:
    """Those that are not zero."""
    return {name: count for name, count in pool.totals().items() if count}


def test_what_is_counted_of_connections_used_one_request_at_a_time() -> None:
    pool = Scheduler(keepalive_expiry=5.0)
    assert set(pool.totals()) == {"opened", "reused", "expired", "evicted", "replayed", "failed"}
    owner = start(pool)
    assert totals(pool) == {}
    give(pool, dial(pool, owner))
    assert totals(pool) == {"opened": 1}
    give(pool, take(pool, A), 1.0)
    assert totals(pool) == {"opened": 1, "reused": 1}
    owner = take(pool, A, 2.0)
    assert totals(pool) == {"opened": 1, "reused": 2}  # from the moment on that it is used
    pool.release(owner, 2.0, False)
    assert totals(pool) == {"opened": 1, "reused": 2}  # and when it is gone
    pool.release(start(pool, B), 3.0, False)
    assert totals(pool) == {"opened": 1, "reused": 2, "failed": 1}
    give(pool, take(pool, A, 4.0), 4.0)
    take(pool, B, 9.0)
    assert totals(pool) == {"opened": 3, "reused": 2, "failed": 1, "expired": 1}
    pool.replayed += 1
    assert totals(pool)["replayed"] == 1


def test_a_request_that_is_over_too_late_for_reuse_counts_once() -> None:
    pool = Scheduler(max_age=5.0)
    give(pool, take(pool, A))
    give(pool, take(pool, A, 1.0), 6.0)
    assert totals(pool) == {"opened": 1, "reused": 1} and figures(pool) == (0, 0, 0, 0)


def test_what_a_handed_over_connection_counts() -> None:
    pool = Scheduler(max_connections=1)
    owner = take(pool, A)
    waiters = [wait(pool, A) for _ in range(3)]
    for waiter in waiters:
        give(pool, owner)
        owner = waiter.owner  # type: ignore[assignment]
    assert totals(pool) == {"opened": 1, "reused": 3}


@pytest.mark.parametrize(
    "limits", [{"max_connections": 1}, {"max_keepalive": 1}, {"max_keepalive": 0}]
)
def test_an_idle_connection_that_makes_room_is_evicted(limits: dict[str, int]) -> None:
    pool = Scheduler(**limits)  # type: ignore[arg-type]
    give(pool, take(pool, A))
    give(pool, take(pool, B))
    expected = 2 if limits == {"max_keepalive": 0} else 1
    assert totals(pool) == {"opened": 2, "evicted": expected}


@pytest.mark.parametrize("end", ["close", "close_idle"])
def test_what_the_caller_closes_is_neither_expired_nor_evicted(end: str) -> None:
    pool = Scheduler()
    give(pool, take(pool, A))
    getattr(pool, end)()
    assert totals(pool) == {"opened": 1} and len(pool.closing) == 1


def test_what_is_counted_of_shared_connections() -> None:
    pool = sharing()
    first = open_shared(pool, 3)
    second = join(pool)
    assert totals(pool) == {"opened": 1, "reused": 1}
    give(pool, first)
    third = join(pool)
    assert totals(pool) == {"opened": 1, "reused": 2}
    give(pool, second)
    pool.release(third, 0.0, False)
    assert totals(pool) == {"opened": 1, "reused": 2} and figures(pool) == (0, 0, 0, 0)


@pytest.mark.parametrize("leave", ["drain", "resize"])
def test_an_idle_connection_that_the_server_leaves_has_expired(leave: str) -> None:
    pool = sharing()
    owner = open_shared(pool, 2)
    slot = share(owner).slot
    give(pool, owner)
    pool.drain(slot, 1.0) if leave == "drain" else pool.resize(slot, 0, 1.0)
    assert totals(pool) == {"opened": 1, "expired": 1} and figures(pool) == (0, 0, 0, 0)


def test_figures_of_each_route() -> None:
    pool = sharing(max_connections=4)
    assert pool.routes() == {}
    open_shared(pool, 2), join(pool), start(pool, B)
    give(pool, take(pool, C))
    wait(pool, B), wait(pool, B)
    assert pool.routes() == {
        A: {"active": 1, "idle": 0, "dialing": 0, "queued": 0},
        B: {"active": 0, "idle": 0, "dialing": 1, "queued": 2},
        C: {"active": 0, "idle": 1, "dialing": 0, "queued": 0},
    }
    pool.close_idle()
    assert C not in pool.routes()
    only_queued = Scheduler(max_connections=1)
    take(only_queued, A), wait(only_queued, B)
    assert only_queued.routes()[B] == {"active": 0, "idle": 0, "dialing": 0, "queued": 1}


def test_who_waits_since_when() -> None:
    pool = Scheduler(max_connections=1)
    take(pool, A)
    waiters = [wait(pool, A, float(now)) for now in range(5)]
    assert [waiter.since for waiter in waiters] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert pool.waiters(2) == waiters[:2] and pool.waiters() == waiters


# --- what was not used


def test_what_was_not_used_goes_back_as_it_was() -> None:
    pool = Scheduler(keepalive_expiry=5.0)
    give(pool, take(pool, A))
    owner = take(pool, A, 4.0)
    slot = held(owner)
    pool.hand_back(owner, 4.0)
    pool.check()
    assert owner.slot is None and (slot.state, slot.expires, slot.served) == (IDLE, 5.0, 1)
    assert totals(pool) == {"opened": 1}
    pool.hand_back(owner, 4.0)
    assert figures(pool) == (0, 1, 0, 0)
    owner = take(pool, A, 4.0)
    pool.hand_back(owner, 5.0)
    assert figures(pool) == (0, 0, 0, 0) and totals(pool) == {"opened": 1}


def test_a_new_connection_that_was_not_used_is_closed() -> None:
    """Nobody knows how long its server keeps it."""
    pool = Scheduler()
    owner = take(pool, A)
    pool.hand_back(owner, 0.0)
    assert figures(pool) == (0, 0, 0, 0) and totals(pool) == {"opened": 1}
    dialing = start(pool)
    pool.hand_back(dialing, 0.0)
    assert figures(pool) == (0, 0, 0, 0) and totals(pool) == {"opened": 1, "failed": 1}


def test_what_was_not_used_goes_to_who_waits() -> None:
    pool = Scheduler(max_connections=1)
    give(pool, take(pool, A))
    owner = take(pool, A)
    waiter = wait(pool, A)
    pool.hand_back(owner, 1.0)
    assert pool.woken == [waiter] and held(waiter.owner).state == ACTIVE
    assert totals(pool) == {"opened": 1, "reused": 1}


def test_a_share_that_was_not_used_costs_the_others_nothing() -> None:
    pool = sharing()
    first = open_shared(pool, 2)
    second = join(pool)
    slot = share(first).slot
    pool.hand_back(second, 1.0)
    pool.check()
    assert (slot.state, slot.served, len(slot.shares or ())) == (ACTIVE, 0, 1)
    assert share(join(pool)).slot is slot


def test_what_died_while_it_was_idle_has_expired() -> None:
    pool = Scheduler()
    give(pool, take(pool, A))
    owner = take(pool, A)
    [connection] = [slot.connection for slot in pool.slots()]
    pool.discard(owner, 1.0)
    pool.check()
    assert pool.closing == [connection] and figures(pool) == (0, 0, 0, 0)
    assert totals(pool) == {"opened": 1, "expired": 1}


def test_a_shared_connection_that_died_while_it_was_idle_has_expired() -> None:
    pool = sharing()
    give(pool, open_shared(pool, 3))
    owners = [join(pool), join(pool)]
    for owner in owners:
        pool.discard(owner, 1.0)
        pool.check()
    assert figures(pool) == (0, 0, 0, 0) and totals(pool) == {"opened": 1, "expired": 1}


UNUSED: dict[str, tuple[Begin, Step]] = {
    "hand back": (in_use, lambda world, owner: world.pool.hand_back(owner, world.now)),
    "hand back to a waiter": (crowded, lambda world, owner: world.pool.hand_back(owner, world.now)),
    "hand back a share": (shared, lambda world, owner: world.pool.hand_back(owner, world.now)),
    "discard": (busy, lambda world, owner: world.pool.discard(owner, world.now)),
    "discard a share": (shared, lambda world, owner: world.pool.discard(owner, world.now)),
    "discard the last share": (alone, lambda world, owner: world.pool.discard(owner, world.now)),
}


@pytest.mark.parametrize("name", UNUSED)
def test_an_interrupted_return_of_what_was_not_used_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(INTERRUPTED, name, UNUSED[name])
    test_an_interrupted_operation_loses_nothing(name)
    test_others_go_on_before_an_interrupted_owner_releases(name)


def test_figures_of_each_route_after_an_interruption() -> None:
    pool = sharing(max_connections=2)
    open_shared(pool, 2), give(pool, take(pool, C))
    disturb(pool)
    found = pool.routes()
    assert pool._mutating, "who only looks may have interrupted who repairs"
    assert found[A] == {"active": 1, "idle": 0, "dialing": 0, "queued": 0}
    assert sum(sum(figures.values()) for figures in found.values()) == pool.stats()["connections"]
