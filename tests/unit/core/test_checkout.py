"""Waiting for a connection, and what becomes of one that is not usable.

Owns: `httpcore._core.checkout`. Must not know: pools, locks, the clock.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from httpcore._core.checkout import (
    DISCARD,
    GO_ASIDE,
    HAND_BACK,
    MAX_SLEEP,
    QueueWait,
    after_unusable,
)
from httpcore._core.deadline import DeadlineMath


@pytest.mark.parametrize(
    ("protocol", "draining", "occupied", "step"),
    [
        ("http11", False, False, DISCARD),
        ("http2", True, False, DISCARD),
        ("http2", False, True, GO_ASIDE),
        ("http2", False, False, HAND_BACK),
    ],
)
def test_what_becomes_of_it(protocol: str, draining: bool, occupied: bool, step: str) -> None:
    connection = SimpleNamespace(protocol=protocol, is_draining=draining, is_occupied=occupied)
    assert after_unusable(connection) is step


def test_a_wait_without_a_limit() -> None:
    wait = QueueWait(None, None, 5.0)
    assert wait.timeout is None
    wait.slept(5.0, MAX_SLEEP, 5.0)
    assert wait.next_sleep(1e9) == MAX_SLEEP


def test_a_wait_ends_at_its_timeout() -> None:
    wait = QueueWait(1.5, None, 10.0)
    assert wait.next_sleep(10.0) == MAX_SLEEP
    assert wait.next_sleep(11.0) == 0.5
    assert wait.next_sleep(11.5) == wait.next_sleep(12.0) == 0


def test_a_deadline_may_be_sooner() -> None:
    wait = QueueWait(5.0, DeadlineMath(2.0, 0.0), 1.0)
    assert wait.timeout == 1.0
    assert wait.next_sleep(2.0) == 0


def test_a_clock_that_stands_still() -> None:
    deadline = DeadlineMath(5.0, 0.0)
    wait = QueueWait(1.5, deadline, 0.0)
    wait.slept(0.0, 1.0, 0.0)
    assert wait.next_sleep(0.0) == 0.5
    assert deadline.left_at(0.0) == 4.0
    wait.slept(0.0, 0.5, 0.5)  # this time it ran
    assert wait.next_sleep(0.5) == 0
