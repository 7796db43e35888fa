"""Whether the peer of an HTTP/2 connection is still there, with times that the test chooses.

Owns: `httpcore._core.h2_liveness`. Must not know: connections, clocks (`test_http2` has both).
"""

from __future__ import annotations

import pytest

from httpcore._core.h2_liveness import (
    NOT_ACKNOWLEDGED,
    NOT_ANSWERED,
    NOTHING,
    PING,
    Liveness,
)
from httpcore._core.limits import ACK_PATIENCE


def watching(interval: float | None = 10.0, timeout: float = 4.0, now: float = 100.0) -> Liveness:
    return Liveness(interval, timeout, now)


def doubted(interval: float | None = None) -> Liveness:
    """The path was silent for long, and the connection's third request is sent at 100."""
    liveness = watching(interval, now=0.0)
    liveness.unproven = True
    liveness.begin_waiting(100.0, 3)
    return liveness


def test_nothing_is_watched_unless_asked_for() -> None:
    liveness = watching(interval=None)
    assert not liveness.watched
    assert liveness.patience(None, 1000.0) is None
    assert liveness.patience(5.0, 1000.0) == 5.0
    assert liveness.act(1000.0, 1, False) == NOTHING
    assert not watching(interval=None).is_ack_overdue(1e9)


@pytest.mark.parametrize(
    ("left", "now", "expected"),
    [(None, 100.0, 10.0), (3.0, 100.0, 3.0), (None, 104.0, 6.0), (30.0, 120.0, 0.0)],
)
def test_patience_until_a_ping_is_sent(left: float | None, now: float, expected: float) -> None:
    assert watching().patience(left, now) == expected


def test_a_peer_hangs_that_says_nothing_after_a_request() -> None:
    liveness = watching()
    assert not liveness.is_hanging(1e9)
    liveness.unheard = 100.0
    assert not liveness.is_hanging(100.0 + ACK_PATIENCE - 0.1)
    assert liveness.is_hanging(100.0 + ACK_PATIENCE)


def test_a_ping_after_silence_and_its_answer() -> None:
    liveness = watching()
    assert liveness.act(109.9, 1, False) == NOTHING
    assert liveness.act(110.0, 1, False) == PING
    assert liveness.ping(110.0)
    assert not liveness.ping(111.0), "one at a time"
    assert liveness.patience(None, 111.0) == 3.0
    liveness.hear(112.0)
    liveness.pinged = None
    assert liveness.act(114.0, 1, False) == NOTHING
    assert liveness.patience(None, 114.0) == 8.0


def test_a_ping_that_is_not_answered() -> None:
    liveness = watching()
    liveness.ping(110.0)
    assert liveness.act(113.9, 1, False) == NOTHING
    assert liveness.act(114.0, 1, False) == NOT_ANSWERED
    assert liveness.explain(NOT_ANSWERED, "https://a") == (
        "https://a has not answered a PING within 4 s: the connection is dead"
    )


def test_what_else_comes_does_not_stand_for_the_answer() -> None:
    liveness = watching()
    liveness.ping(110.0)
    liveness.hear(113.0)
    assert liveness.act(114.0, 1, False) == NOT_ANSWERED


def test_the_answer_to_a_ping_of_ours_is_not_waited_for_without_an_interval() -> None:
    """It was sent because a response was late: until it is answered no requests join, no more."""
    liveness = watching(interval=None)
    liveness.ping(100.0)
    assert not liveness.watched
    assert liveness.act(1000.0, 1, False) == NOTHING


def test_silence_counts_while_something_is_waited_for() -> None:
    liveness = watching()
    liveness.begin_waiting(500.0, 2)
    assert liveness.ack_due is None, "the path was proven"
    assert liveness.act(509.0, 2, False) == NOTHING
    assert liveness.act(510.0, 2, False) == PING


def test_an_acknowledgement_is_due_after_doubt() -> None:
    liveness = doubted()
    assert liveness.watched
    assert liveness.patience(None, 100.0) == ACK_PATIENCE
    assert liveness.patience(1.0, 100.0) == 1.0
    assert not liveness.is_ack_overdue(100.0 + ACK_PATIENCE - 0.1)
    assert liveness.is_ack_overdue(100.0 + ACK_PATIENCE)


def test_what_was_not_acknowledged_is_lost() -> None:
    liveness = doubted()
    assert liveness.act(100.0 + ACK_PATIENCE, 3, True) == NOT_ACKNOWLEDGED
    assert liveness.explain(NOT_ACKNOWLEDGED, "https://a") == (
        "https://a has not acknowledged what was sent within 3 s: the idle connection is dead"
    )


def test_what_was_acknowledged_proves_the_path() -> None:
    liveness = doubted()
    assert liveness.act(100.0 + ACK_PATIENCE, 3, False) == NOTHING
    assert not liveness.watched
    assert not liveness.is_ack_overdue(1e9)


@pytest.mark.parametrize("interval", [None, 10.0])
def test_a_byte_from_the_peer_proves_the_path(interval: float | None) -> None:
    liveness = doubted(interval)
    liveness.hear(101.0)
    assert not liveness.unproven
    assert not liveness.is_ack_overdue(1e9)
    assert liveness.watched is (interval is not None)


@pytest.mark.parametrize("interval", [None, 10.0])
def test_another_request_may_be_what_is_not_acknowledged(interval: float | None) -> None:
    liveness = doubted(interval)
    now = 100.0 + ACK_PATIENCE
    assert liveness.act(now, 4, True) == PING
    liveness.ping(now)
    assert liveness.watched
    assert liveness.act(now + ACK_PATIENCE - 0.1, 4, True) == NOTHING
    assert liveness.act(now + ACK_PATIENCE, 4, True) == NOT_ACKNOWLEDGED


def test_both_are_due() -> None:
    """What was not acknowledged is not the request's, and the PING was not answered either."""
    liveness = doubted(interval=10.0)
    liveness.ping(95.0)
    assert liveness.act(100.0 + ACK_PATIENCE, 4, True) == NOT_ANSWERED


def test_time_that_the_clock_has_not_counted() -> None:
    liveness = doubted(interval=10.0)
    liveness.ping(100.0)
    liveness.miss(2.0)
    assert (liveness.heard, liveness.pinged, liveness.ack_due) == (98.0, 98.0, 98.0 + ACK_PATIENCE)
    assert liveness.act(102.0, 3, False) == NOT_ANSWERED
    idle = watching()
    idle.miss(2.0)
    assert (idle.heard, idle.pinged, idle.ack_due) == (98.0, None, None)
