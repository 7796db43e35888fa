"""What is decided about an upload once its response has begun; no bytes are sent here."""

from __future__ import annotations

import pytest

from httpcore._core.upload import (
    EARLY_LIMIT,
    FINISH,
    HAND_OVER,
    LISTEN,
    SEND,
    STALL_LIMIT,
    STOP,
    UploadPlan,
    smaller,
)


def plan(status: int | None, closing: bool = False, *, held: int = 0, handed: bool = False,
         complete: bool = False, early: bool = False) -> UploadPlan:  # fmt: skip
    made = UploadPlan(early)
    if status is not None:
        made.answer(status, closing)
    made.held = held
    made.handed_over = handed
    made.complete = complete
    return made


@pytest.mark.parametrize(
    ("made", "step"),
    [
        (plan(None), SEND),
        (plan(200), SEND),
        (plan(200, True), SEND),
        (plan(307), SEND),
        (plan(200, held=EARLY_LIMIT), HAND_OVER),
        (plan(200, held=EARLY_LIMIT, handed=True), SEND),
        (plan(None, early=True), SEND),
        (plan(200, early=True), HAND_OVER),
        (plan(200, early=True, handed=True), SEND),
        (plan(200, early=True, complete=True), FINISH),
        (plan(413), HAND_OVER),
        (plan(307, True), HAND_OVER),
        (plan(413, handed=True), SEND),
        (plan(413, True, handed=True), LISTEN),
        (plan(307, True, handed=True), LISTEN),
        (plan(200, True, handed=True), SEND),
        (plan(200, complete=True), FINISH),
        (plan(200, True, complete=True), FINISH),
        (plan(307, complete=True), FINISH),
        (plan(307, True, complete=True), STOP),
        (plan(413, complete=True), STOP),
    ],
)
def test_the_next_step(made: UploadPlan, step: str) -> None:
    assert made.next_step() == step


def test_a_server_that_stays_silent_although_it_closes_gets_the_rest() -> None:
    made = plan(413, True, handed=True)
    made.listened()
    assert made.next_step() == SEND


@pytest.mark.parametrize("status", [200, 307, 413])
def test_the_server_was_asked_whether_it_wants_the_body(status: int) -> None:
    """Any answer but 100 means that it does not, unless it waits for the body."""
    made = plan(None)
    made.decline()
    made.answer(status, closing=False)
    assert made.is_refused and made.next_step() == HAND_OVER
    made.handed_over = True
    assert made.next_step() == LISTEN
    made.listened()
    assert made.next_step() == SEND
    made.complete = True
    assert made.next_step() == STOP


@pytest.mark.parametrize("status", [200, 307, 413])
@pytest.mark.parametrize("complete", [False, True])
def test_the_server_has_closed(status: int, complete: bool) -> None:
    made = plan(status)
    made.end(complete)
    assert made.next_step() == (FINISH if complete and status < 400 else STOP)


@pytest.mark.parametrize(
    ("complete", "ended", "stops"),
    [(False, False, False), (True, False, False), (True, True, True)],
)
def test_a_body_that_has_nothing_to_give(complete: bool, ended: bool, stops: bool) -> None:
    """It is waited for, unless the server has said all that it had to say and has closed."""
    made = plan(200, complete=complete)
    if ended:
        made.end(complete)
    made.pause()
    assert (made.next_step() == STOP) == stops


@pytest.mark.parametrize(
    ("made", "gives_up"),
    [
        (plan(None), False),
        (plan(200), False),
        (plan(413), False),
        (plan(200, handed=True), False),
        (plan(413, handed=True), True),
        (plan(200, complete=True), True),
    ],
)
def test_a_server_that_takes_nothing(made: UploadPlan, gives_up: bool) -> None:
    """It is a failure as long as the rest of the response is to come, unless that says anyhow that
    the body is of no use."""
    assert made.stalled() == gives_up
    assert (made.next_step() == STOP) == gives_up


@pytest.mark.parametrize(
    ("timeout", "before", "after"),
    [(None, None, STALL_LIMIT), (1.0, 1.0, 1.0), (60.0, 60.0, STALL_LIMIT)],
)
def test_patience_is_limited_once_the_response_is_whole(
    timeout: float | None, before: float | None, after: float
) -> None:
    made = plan(200)
    assert made.patience(timeout) == before
    made.complete = True
    assert made.patience(timeout) == after


def test_the_smaller_of_two_timeouts() -> None:
    assert smaller(None, None) is None
    assert smaller(1.0, None) == smaller(None, 1.0) == smaller(1.0, 2.0) == smaller(2.0, 1.0) == 1.0
