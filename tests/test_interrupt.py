"""Waking a thread: that no order of steps loses it.

Owns: `httpcore._backends.interrupt`. Must not know: what is waited for;
tests/scenarios/test_abort.py does.
"""

from __future__ import annotations

import socket
import threading

import pytest

import httpcore
from httpcore._backends import interrupt


@pytest.fixture(autouse=True)
def forgotten() -> None:
    interrupt.begin()
    interrupt.goes_on()


ME = threading.get_ident


def test_one_that_waits_is_woken() -> None:
    woken: list[str] = []
    interrupt.waits(lambda: woken.append("now"))
    assert woken == []
    interrupt.interrupt(ME())
    assert woken == ["now"]


def test_one_that_is_about_to_wait_is_woken_at_once() -> None:
    """The word comes between the last look and the wait."""
    woken: list[str] = []
    interrupt.interrupt(ME())
    interrupt.waits(lambda: woken.append("now"))
    assert woken == ["now"]


def test_a_word_of_before_concerns_nobody() -> None:
    woken: list[str] = []
    interrupt.interrupt(ME())
    interrupt.begin()
    interrupt.waits(lambda: woken.append("now"))
    assert woken == []


def test_one_that_went_on_is_left_alone() -> None:
    woken: list[str] = []
    interrupt.waits(lambda: woken.append("now"))
    interrupt.goes_on()
    interrupt.interrupt(ME())
    assert woken == []


def test_other_threads_are_left_alone() -> None:
    woken: list[str] = []
    interrupt.waits(lambda: woken.append("now"))
    interrupt.interrupt(ME() + 1)
    interrupt.interrupt(0)
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
