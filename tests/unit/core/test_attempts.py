"""What comes after a failure or a status.

Owns: `httpcore._core.attempts`. Must not know: pools, sockets, the clock.
"""

from __future__ import annotations

from typing import Any

import pytest

import httpcore
from httpcore._core.attempts import (
    ASK_AGAIN,
    MAX_MOVES,
    MOVE,
    RAISE,
    RAISE_ABORTED,
    RAISE_ENDED,
    REPLAY,
    Repeats,
    Replays,
    explain_ended,
)
from httpcore._core.deadline import DeadlineMath
from httpcore._core.prepared import Prepared, prepare
from httpcore._exceptions import MAYBE_PROCESSED, NOT_SENT, RESPONSE_STARTED, Aborted


class Connection:
    """A connection as far as the decisions look at it."""

    def __init__(self, protocol: str = "http11", served: int = 2, available: bool = False) -> None:
        self.protocol = protocol
        self.request_count = served
        self.available = available

    def is_available(self) -> bool:
        return self.available


def request(method: str = "GET", content: Any = None) -> Prepared:
    headers = [("Host", "a")]
    if content is not None:
        headers.append(("Transfer-Encoding", "chunked"))
    return prepare(httpcore.Request(method, "http://a/", headers=headers, content=content))


def failure(kind: type[Any] = httpcore.ReadError, phase: str = MAYBE_PROCESSED) -> Any:
    exc = kind("it failed")
    exc.phase = phase
    return exc


def test_a_reused_connection_that_died_is_replaced_once() -> None:
    replays = Replays(request())
    assert replays.after(failure(), False, Connection()) is REPLAY
    assert replays.fresh
    assert replays.after(failure(), False, Connection()) is RAISE


@pytest.mark.parametrize(
    ("prepared", "exc", "connection"),
    [
        (request(), failure(), None),
        (request(), failure(), Connection(served=1)),
        (request(), failure(phase=RESPONSE_STARTED), Connection()),
        (request(), failure(httpcore.ReadTimeout), Connection()),
        (request(), ValueError(), Connection()),
        (request(), failure(Aborted), Connection()),
        (request("POST"), failure(), Connection()),
        (request(content=iter([b"1"])), failure(phase=NOT_SENT), Connection()),
        (request(), failure(), Connection("http2", available=True)),
    ],
    ids=[
        *("no connection", "a new one", "an answer", "a timeout", "something else", "aborted"),
        *("not idempotent", "a body that is gone", "one stream of HTTP/2"),
    ],
)
def test_what_is_not_sent_again(prepared: Prepared, exc: Any, connection: Any) -> None:
    replays = Replays(prepared)
    assert replays.after(exc, False, connection) is RAISE
    assert not replays.fresh


def test_what_was_not_sent_is_sent_again_whatever_it_is() -> None:
    assert Replays(request("POST")).after(failure(phase=NOT_SENT), False, Connection()) is REPLAY


def test_a_refusal_moves_a_request_but_not_for_ever() -> None:
    replays = Replays(request("POST"))
    connection = Connection("http2", served=1, available=True)
    for _ in range(MAX_MOVES):
        refused = failure(httpcore.RemoteProtocolError, NOT_SENT)
        assert replays.after(refused, False, connection) is MOVE
    assert (
        replays.after(failure(httpcore.RemoteProtocolError, NOT_SENT), False, connection) is RAISE
    )
    assert not replays.fresh


def test_who_came_too_late_asks_again() -> None:
    exc = httpcore.ConnectionNotAvailable()
    assert Replays(request()).after(exc, False, Connection("http2")) is ASK_AGAIN


def test_new_connections_that_end_at_once_are_not_made_for_ever() -> None:
    """A GOAWAY or an end may have come before the request could be sent."""
    replays, exc = Replays(request("POST", iter([b"1"]))), httpcore.ConnectionNotAvailable("gone")
    for used in (Connection("http2", served=1), Connection("http2", served=0, available=True)):
        for _ in range(MAX_MOVES + 1):  # another request was faster; no streams for now
            assert replays.after(exc, False, used) is ASK_AGAIN
    for _ in range(MAX_MOVES):
        assert replays.after(exc, False, Connection("http2", served=0)) is ASK_AGAIN
    assert replays.after(exc, False, Connection("http2", served=0)) is RAISE_ENDED
    error = explain_ended(exc)
    assert (type(error), error.phase) == (httpcore.RemoteProtocolError, NOT_SENT)
    assert str(error).startswith("gone: it ended before the request could be sent, and so did 16")


def test_what_another_thread_ended_is_not_sent_again() -> None:
    assert Replays(request()).after(failure(), True, Connection()) is RAISE_ABORTED


def test_the_phase_is_that_of_all_attempts() -> None:
    replays = Replays(request())
    replays.after(failure(), False, Connection())
    second = failure(httpcore.ConnectError, NOT_SENT)
    assert replays.after(second, False, None) is RAISE
    assert second.phase == MAYBE_PROCESSED


class Once:
    """A file that goes back to its beginning when it is looked at, and then never again."""

    seeks = 0

    def read(self, size: int) -> bytes:
        return b""

    def tell(self) -> int:
        return 0

    def seek(self, position: int) -> None:
        self.seeks += 1
        if self.seeks > 1:
            raise OSError("gone")


def test_a_body_that_does_not_go_back() -> None:
    assert Replays(request(content=Once())).after(failure(), False, Connection()) is RAISE


# --- after a pause ---

CONFIG = httpcore.RetryConfig(backoff=1.0, attempts=2)


def test_a_failure_is_repeated_after_its_pause() -> None:
    repeats = Repeats(CONFIG, request())
    assert repeats.after_failure(failure(), 0.5, 0.0) == 0.5
    assert repeats.after_failure(failure(), 0.5, 0.0) == 1.0
    assert repeats.after_failure(failure(), 0.5, 0.0) is None
    assert (repeats.made, repeats.reason) == (2, "it failed")


def test_a_status_is_repeated_when_the_server_says() -> None:
    repeats = Repeats(CONFIG, request())
    assert repeats.after_status(503, [(b"Retry-After", b"7")], 0.5, 0.0, 0.0) == 7.0
    assert repeats.after_status(200, [], 0.5, 0.0, 0.0) is None
    assert repeats.reason == "status 200"


@pytest.mark.parametrize(("now", "delay"), [(0.0, 0.5), (9.4, 0.5), (9.5, None), (11.0, None)])
def test_the_deadline_has_the_last_word(now: float, delay: float | None) -> None:
    prepared = request()
    prepared.deadline = DeadlineMath(10.0, 0.0)
    assert Repeats(CONFIG, prepared).after_failure(failure(), 0.5, now) == delay


@pytest.mark.parametrize(
    ("kind", "delay"), [(httpcore.ConnectError, 0.5), (httpcore.WriteError, None)]
)
def test_a_body_that_was_asked_for_is_gone(kind: type[Any], delay: float | None) -> None:
    prepared = request(content=iter([b"1"]))
    exc = failure(kind, NOT_SENT)
    assert Repeats(CONFIG, prepared).after_failure(exc, 0.5, 0.0) == delay
