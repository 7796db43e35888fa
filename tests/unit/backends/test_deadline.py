"""The deadline of a request and the stream that keeps to it, without sockets.

Owns: `httpcore._backends.deadline`. Must not know: pools; tests/scenarios/test_deadlines.py has
those.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

import httpcore
from httpcore._backends.clock import Deadline
from httpcore._backends.deadline import PIECE, DeadlineStream


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of day, in its one item; nobody else moves it."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


class Stream(httpcore.NetworkStream):
    """Each call takes `pace` seconds of the clock; one that has less time fails after it."""

    def __init__(self, clock: list[float], pace: float) -> None:
        self.clock = clock
        self.pace = pace
        self.timeouts: list[float | None] = []
        self.written = b""
        self.closed = False

    def _take(self, timeout: float | None, kind: type[Exception]) -> None:
        self.timeouts.append(timeout)
        if timeout is not None and timeout < self.pace:
            self.clock[0] += timeout
            raise kind(f"nothing within {timeout:g} s")
        self.clock[0] += self.pace

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._take(timeout, httpcore.ReadTimeout)
        return b"x"

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._take(timeout, httpcore.WriteTimeout)
        self.written += buffer

    def close(self) -> None:
        self.closed = True

    def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return self

    def get_extra_info(self, info: str) -> Any:
        return info


class Partial(Stream):
    """One that says how far it got, and reads in place."""

    unclean_eof = True

    def write_some(self, buffer: memoryview, timeout: float | None = None) -> int:
        self._take(timeout, httpcore.WriteTimeout)
        self.written += bytes(buffer[:10])
        return len(buffer[:10])

    def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        self._take(timeout, httpcore.ReadTimeout)
        buffer[:1] = b"y"
        return 1


def test_what_is_left(clock: list[float]) -> None:
    deadline = Deadline(2.0)
    assert deadline.left() == 2.0
    assert deadline.left(0.5) == 0.5
    assert deadline.left(5.0) == 2.0
    clock[0] += 1.5
    assert (deadline.left(), deadline.passed) == (0.5, False)
    clock[0] += 5.0
    assert (deadline.left(), deadline.passed) == (0.0, True)


def test_each_read_gets_what_is_left_and_no_more_than_its_own_timeout(clock: list[float]) -> None:
    below = Stream(clock, 0.6)
    stream = DeadlineStream(below, Deadline(2.0))
    assert [stream.read(1, 0.7), stream.read(1, None), stream.read(1, 9.0)] == [b"x"] * 3
    with pytest.raises(httpcore.ReadTimeout) as caught:
        stream.read(1, None)
    assert below.timeouts == pytest.approx([0.7, 1.4, 0.8, 0.2])
    assert str(caught.value) == "total of 2 s is over: nothing"
    with pytest.raises(httpcore.ReadTimeout, match=r"^total of 2 s is over$"):
        stream.read(1, None)
    assert len(below.timeouts) == 4  # there was no time to even ask


def test_a_read_timeout_of_its_own_is_not_the_deadlines(clock: list[float]) -> None:
    stream = DeadlineStream(Stream(clock, 1.0), Deadline(9.0))
    with pytest.raises(httpcore.ReadTimeout) as caught:
        stream.read(1, 0.5)
    assert str(caught.value) == "nothing within 0.5 s"


def test_what_has_arrived_can_be_asked_for_after_the_end(clock: list[float]) -> None:
    below = Stream(clock, 0.0)
    stream = DeadlineStream(below, Deadline(1.0))
    clock[0] += 5.0
    assert stream.read(1, 0) == b"x"


def test_reading_in_place(clock: list[float]) -> None:
    assert DeadlineStream(Stream(clock, 0.6), Deadline(1.0)).readinto is None
    stream = DeadlineStream(Partial(clock, 0.6), Deadline(1.0))
    buffer = bytearray(4)
    assert stream.readinto(memoryview(buffer)) == 1
    assert buffer[:1] == b"y"
    with pytest.raises(httpcore.ReadTimeout, match="total of 1 s is over"):
        stream.readinto(memoryview(buffer))


@pytest.mark.parametrize(
    ("kind", "size", "sent"), [(Stream, 3 * PIECE, 2 * PIECE), (Partial, 30, 20)]
)
def test_a_write_is_cut_at_the_deadline(
    clock: list[float], kind: type[Stream], size: int, sent: int
) -> None:
    """A peer that takes a little now and then never meets a write timeout."""
    below = kind(clock, 0.4)
    stream = DeadlineStream(below, Deadline(1.0))
    with pytest.raises(httpcore.WriteTimeout, match="total of 1 s is over") as caught:
        stream.write(b"x" * size, 0.9)
    assert len(below.written) == sent
    assert caught.value.phase == "maybe_processed"
    assert clock[0] == pytest.approx(101.0)


def test_a_write_that_never_began_is_not_sent(clock: list[float]) -> None:
    class Refusing(Stream):
        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            error = httpcore.WriteError("gone")
            error.phase = "not_sent"
            raise error

    stream = DeadlineStream(Refusing(clock, 0.0), Deadline(1.0))
    with pytest.raises(httpcore.WriteError, match=r"^gone$") as caught:
        stream.write(b"x")
    assert caught.value.phase == "not_sent"


def test_all_else_is_the_streams_own(clock: list[float]) -> None:
    below = Partial(clock, 0.0)
    stream = DeadlineStream(below, Deadline(1.0))
    assert stream.get_extra_info("socket") == "socket"
    assert stream.start_tls(None) is below  # type: ignore[arg-type]
    assert stream.unclean_eof
    assert not DeadlineStream(Stream(clock, 0.0), Deadline(1.0)).unclean_eof
    stream.close()
    assert below.closed


def test_an_error_without_a_text_gets_one(clock: list[float]) -> None:
    deadline = Deadline(0.25)
    clock[0] += 1.0
    error = httpcore.PoolTimeout()
    for _ in range(2):
        deadline.explain(error)
    assert str(error) == "total of 0.25 s is over"


@pytest.mark.parametrize(
    ("total", "number"), [(3, "3"), (3.0, "3"), (0.1, "0.1"), (86400.5, "86400.5")]
)
@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("connect to a:80 (::1) timed out after 2.87 s", "connect to a:80 (::1) timed out"),
        ("read from a:80 timed out: no byte within 2.87 s", "read from a:80 timed out: no byte"),
        ("no connection to a became free within 2.87 s: 1 x GET / (for 9 s)",
         "no connection to a became free: 1 x GET / (for 9 s)"),
        ("of another backend", "of another backend"),
    ],
)  # fmt: skip
def test_the_total_leads_in_the_number_that_was_given(
    clock: list[float], total: float, number: str, text: str, rest: str
) -> None:
    deadline = Deadline(total)
    clock[0] += 90000.0
    error = httpcore.ConnectTimeout(text)
    for _ in range(2):
        deadline.explain(error)
    assert str(error) == f"total of {number} s is over: {rest}"
