"""Happy Eyeballs without sockets: order and timing.

Owns: `httpcore._core.happy_eyeballs`. Must not know: who makes the attempts.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpcore._core.happy_eyeballs import ATTEMPT_DELAY, Address, Race, interleave

V4, V6 = 2, 10


def address(family: int, text: str) -> Address:
    return Address(family, 1, 6, (text, 80))


def test_the_families_take_turns_the_resolvers_first_family_first() -> None:
    found = [
        *(address(V6, text) for text in ("a::", "b::", "c::")),
        *(address(V4, text) for text in ("1", "2")),
    ]
    assert [str(each) for each in interleave(found)] == ["a::", "1", "b::", "2", "c::"]
    assert [str(each) for each in interleave(found[::-1])] == ["2", "c::", "1", "b::", "a::"]


@given(st.lists(st.builds(address, st.sampled_from([V4, V6]), st.sampled_from("abc"))))
def test_each_address_is_tried_once_in_its_familys_order(found: list[Address]) -> None:
    order = interleave(found)
    assert sorted(order) == sorted(set(found))
    for family in (V4, V6):
        mine = [each for each in dict.fromkeys(found) if each.family == family]
        assert [each for each in order if each.family == family] == mine


def test_the_second_one_waits_for_its_turn() -> None:
    race = Race("ab")
    assert race.next(10.0) == "a"
    assert race.next(10.0) is None
    assert race.pause(10.0) == ATTEMPT_DELAY
    assert race.next(10.0 + ATTEMPT_DELAY - 0.01) is None
    assert race.pause(10.0 + ATTEMPT_DELAY - 0.05) == pytest.approx(0.05)
    assert race.next(10.0 + ATTEMPT_DELAY) == "b"
    assert race.running == 2
    assert race.pause(11.0) is None
    assert race.next(99.0) is None


def test_a_failure_brings_the_next_one_at_once() -> None:
    race = Race("abc")
    assert race.next(10.0) == "a"
    race.failed()
    assert race.running == 0
    assert race.pause(10.0) == 0.0
    assert race.next(10.0) == "b"
    race.failed()
    assert race.next(10.0) == "c"
    race.failed()
    assert (race.next(10.0), race.running) == (None, 0)


def test_one_that_failed_late_lets_the_next_begin_while_another_runs() -> None:
    race = Race("abc")
    race.next(0.0)
    race.next(ATTEMPT_DELAY)
    race.failed()
    assert race.next(ATTEMPT_DELAY + 0.01) == "c"
    assert race.running == 2


def test_nobody_to_try() -> None:
    race = Race("")
    assert (race.next(0.0), race.pause(0.0), race.running) == (None, None, 0)
