"""Waking a thread: that no order of steps loses it.

Owns: `httpcore._backends.interrupt`. Must not know: what is waited for;
tests/scenarios/test_abort.py does.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

import httpcore
from httpcore._backends import interrupt


@pytest.fixture
def attempt() -> Iterator[interrupt.Attempt]:
    """A connection that this thread opens."""
    thread = threading.get_ident()
    # A test that strikes between any two steps may have left one: it does no harm.
    before = interrupt._attempts.get(thread)
    attempt = interrupt.begin()
    yield attempt
    interrupt.end(attempt)
    assert interrupt._attempts.get(thread) is before


Attempt = interrupt.Attempt


def test_one_that_waits_is_woken(attempt: Attempt) -> None:
    woken: list[str] = []
    interrupt.set_waker(lambda: woken.append("now"))
    assert woken == []
    interrupt.interrupt(attempt)
    assert woken == ["now"]


def test_one_that_is_about_to_wait_is_woken_at_once(attempt: Attempt) -> None:
    """The word comes between the last look and the wait."""
    woken: list[str] = []
    interrupt.interrupt(attempt)
    interrupt.set_waker(lambda: woken.append("now"))
    assert woken == ["now"]


def test_a_word_of_before_concerns_nobody(attempt: Attempt) -> None:
    woken: list[str] = []
    interrupt.interrupt(attempt)
    second = interrupt.begin()
    interrupt.set_waker(lambda: woken.append("now"))
    interrupt.end(second)
    assert woken == []


def test_one_that_a_signal_handler_opens_meanwhile(attempt: Attempt) -> None:
    """Each is woken by its own word, the outer one also when its word came meanwhile."""
    woken: list[str] = []
    interrupt.set_waker(lambda: woken.append("outer"))
    inner = interrupt.begin()
    interrupt.set_waker(lambda: woken.append("inner"))
    interrupt.interrupt(attempt)
    assert woken == ["outer"]
    interrupt.interrupt(inner)
    assert woken == ["outer", "inner"]
    interrupt.clear_waker()
    interrupt.end(inner)
    interrupt.set_waker(lambda: woken.append("next step"))
    assert woken == ["outer", "inner", "next step"]


def test_a_task_that_is_about_to_wait_is_woken_at_once() -> None:
    """As a thread; it forgets the word with the attempt."""
    woken: list[str] = []
    attempt = interrupt.begin_in_task()
    try:
        interrupt.interrupt(attempt)
        interrupt.set_task_waker(lambda: woken.append("now"))
        assert woken == ["now"]
        interrupt.clear_task_waker()
    finally:
        interrupt.end_in_task(attempt)
    interrupt.set_task_waker(lambda: woken.append("later"))
    assert woken == ["now"]


def test_one_that_went_on_is_left_alone(attempt: Attempt) -> None:
    woken: list[str] = []
    interrupt.set_waker(lambda: woken.append("now"))
    interrupt.clear_waker()
    interrupt.interrupt(attempt)
    assert woken == []


def test_a_thread_that_opens_nothing_waits_for_nobody() -> None:
    woken: list[str] = []
    interrupt.set_waker(lambda: woken.append("now"))
    interrupt.clear_waker()
    assert woken == []


def test_a_stream_that_cannot_be_aborted_is_closed() -> None:
    class Plain(httpcore.NetworkStream):
        closed = False

        def close(self) -> None:
            self.closed = True

    stream = Plain()
    interrupt.abort(stream)
    assert stream.closed


def test_a_stream_of_anothers_make_that_has_a_socket_is_shut_down() -> None:
    """Closing would not wake the thread that reads."""
    mine, peers = socket.socketpair()

    class Wrapped(httpcore.NetworkStream):
        closed = False

        def close(self) -> None:
            self.closed = True

        def get_extra_info(self, info: str) -> object:
            return mine if info == "socket" else None

    with mine, peers:
        mine.settimeout(20.0)
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(mine.recv(1)))
        reader.start()
        stream = Wrapped()
        interrupt.abort(stream)
        reader.join(5.0)
        assert got == [b""]
        assert not stream.closed, "its owner does that"


def test_a_socket_that_is_not_connected_can_be_shut_down() -> None:
    with socket.socket() as sock:
        interrupt.shut_down(sock)
        interrupt.shut_down(sock)
        assert sock.fileno() >= 0
