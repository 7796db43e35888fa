"""Which upstream a request goes to, and the breaker, without a clock and without sockets.

Owns: the invariants at the head of `_balance`. Must not know: HTTP, ASGI.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from httpcore_gateway import Breaker, Upstream
from httpcore_gateway._balance import CLOSED, HALF_OPEN, OPEN, Balancer, Member, UpstreamState

BREAKER = Breaker(failures=2, seconds=1.0, longest=4.0)


def make(count: int = 1, breaker: Breaker = BREAKER, limit: int = 3) -> list[Member]:
    upstreams = [
        Upstream(f"http://h{number}", max_connections=limit, max_queue=0) for number in range(count)
    ]
    return [Member(UpstreamState(upstream, None), breaker) for upstream in upstreams]


class Machine(RuleBasedStateMachine):
    """Requests to three upstreams, one of them in two routes, that end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        members = make(3)
        self.balancers = [Balancer(members), Balancer([Member(members[0].server, BREAKER)])]
        self.running: list[tuple[Member, int, float]] = []

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 2.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(route=st.integers(0, 1), tried=st.sets(st.integers(0, 2)))
    def begin(self, route: int, tried: set[int]) -> None:
        balancer = self.balancers[route]
        members = balancer.members
        left = [members[number] for number in tried if number < len(members)]
        member = balancer.choose(self.now, left)
        fit = [
            each
            for each in members
            if each not in left and not each.is_open(self.now) and each.server.active < 3
        ]
        assert (member is not None) == bool(fit)
        if member is None:
            return
        assert member in fit
        assert member.server.active == min(each.server.active for each in fit)
        half_open = member.state(self.now) == HALF_OPEN
        number = member.start()
        assert bool(number) == half_open
        # Nobody else is let through until it has ended, or the breaker has closed.
        assert member.is_open(self.now) == half_open
        self.running.append((member, number, self.now))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 99), end=st.sampled_from(["succeeds", "fails", "leaves"]))
    def end(self, which: int, end: str) -> None:
        member, number, _ = self.running.pop(which % len(self.running))
        before = member.opened_until
        member.finish(number)
        if end == "succeeds":
            member.succeeded()
            assert member.state(self.now) == CLOSED
            assert member.failures == 0
        elif end == "fails":
            member.fail(self.now)
            # Where another one has succeeded meanwhile, this failure is the first one again.
            if number and 0 < before <= self.now:
                assert member.state(self.now) == OPEN
        else:
            assert member.opened_until == before
            if number and before and before <= self.now:
                assert not member.is_open(self.now) or any(
                    other is member and trying for other, trying, _ in self.running
                )

    @invariant()
    def active_is_what_runs(self) -> None:
        servers = {id(m.server): m.server for b in self.balancers for m in b.members}
        for server in servers.values():
            running = [1 for member, _, _ in self.running if member.server is server]
            assert server.active == len(running) <= server.limit

    @invariant()
    def open_means_failed(self) -> None:
        for balancer in self.balancers:
            for member in balancer.members:
                if member.opened_until:
                    assert member.failures >= BREAKER.failures
                    assert member.opened_until - self.now <= BREAKER.longest
                elif member.failures >= BREAKER.failures:
                    raise AssertionError("failed, and still closed")

    @invariant()
    def retry_after_is_told_where_all_are_open(self) -> None:
        for balancer in self.balancers:
            seconds = balancer.retry_after(self.now)
            all_open = all(member.is_open(self.now) for member in balancer.members)
            assert (seconds is not None) == all_open
            assert seconds is None or 0 <= seconds <= BREAKER.longest


TestMachine = Machine.TestCase


def test_in_turn_where_several_have_as_few() -> None:
    balancer = Balancer(make(3))
    chosen = []
    for _ in range(6):
        member: Any = balancer.choose(0.0)
        chosen.append(member.server.settings.url)
    assert sorted(chosen[:3]) == sorted(chosen[3:]) == ["http://h0", "http://h1", "http://h2"]


def test_another_one_is_no_turn() -> None:
    """One that fails is begun with by its share of requests, no more."""
    balancer = Balancer(members := make(2))
    first = []
    for _ in range(6):
        member: Any = balancer.choose(0.0)
        first.append(member)
        if member is members[0]:
            assert balancer.choose(0.0, (member,)) is members[1]
    assert first.count(members[0]) == 3


def test_the_pause_doubles_and_has_an_end() -> None:
    (member,) = make()
    now = 0.0
    member.fail(now)
    assert member.state(now) == CLOSED
    pauses = []
    for _ in range(4):
        member.fail(now)
        pauses.append(member.opened_until - now)
        member.fail(now)  # of a request that began before
        now = member.opened_until
    assert pauses == [1.0, 2.0, 4.0, 4.0]
    member.succeeded()
    for _ in range(2):
        member.fail(now)
    assert member.opened_until - now == 1.0


def test_the_first_pause_has_the_same_end() -> None:
    (member,) = make(breaker=Breaker(failures=1, seconds=60.0, longest=30.0))
    member.fail(0.0)
    assert member.opened_until == 30.0


def test_never_open_without_a_number_of_failures() -> None:
    (member,) = make(breaker=Breaker(failures=0))
    for _ in range(10):
        member.fail(0.0)
    assert (member.state(0.0), member.failures, member.failed) == (CLOSED, 10, 10)


def test_one_that_tried_before_does_not_end_the_try_of_another() -> None:
    """It was let through, others closed and opened the breaker again, and the next one tries."""
    (member,) = make()
    for _ in range(2):
        member.fail(0.0)
    old = member.start()
    member.succeeded()
    assert member.start() == 0
    for _ in range(2):
        member.fail(5.0)
    new = member.start()
    assert new not in (0, old)
    member.finish(old)
    assert member.is_open(9.0)
    member.finish(new)
    assert not member.is_open(9.0)


@pytest.mark.parametrize("full", [0, 1])
def test_a_full_one_is_passed_over(full: int) -> None:
    members = make(2)
    for _ in range(3):
        members[full].start()
    balancer = Balancer(members)
    for _ in range(3):
        member: Any = balancer.choose(0.0)
        assert member is members[1 - full]
        member.start()
    assert balancer.choose(0.0) is None
    assert balancer.retry_after(0.0) is None
