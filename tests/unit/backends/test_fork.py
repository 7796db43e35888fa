"""What runs in the child of a fork, called here without a fork.

Owns: the two hooks, the lock of what is offered in handshakes, and the stream that a child has.
Must not know: processes. Real children are in tests/shell/test_fork.py.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import httpcore
from httpcore import _ssl
from httpcore._backends import fork
from httpcore._backends.fork import ForkedStream
from httpcore_requests import _fork


class Sock:
    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        if self.failure is not None:
            raise self.failure


class Thing:
    renewed = 0

    def _renew_in_child(self) -> None:
        self.renewed += 1


@pytest.fixture
def in_child(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Do what a child does, to what the test has named and to nothing else of this process."""
    monkeypatch.setattr(fork, "_sockets", weakref.WeakValueDictionary())
    monkeypatch.setattr(fork, "_renewables", weakref.WeakValueDictionary())
    return fork._in_child


def test_each_socket_is_closed_and_each_pool_renewed(in_child: Callable[[], None]) -> None:
    socks: list[Any] = [Sock(), Sock(ValueError("closed by its number")), Sock()]
    things = [Thing(), Thing()]
    for sock in socks:
        fork.close_in_child(sock)
    for thing in things:
        fork.renew_in_child(thing)
    assert fork.renewed_in_child() == things
    in_child()
    assert [sock.closed for sock in socks] == [1, 1, 1]
    assert [thing.renewed for thing in things] == [1, 1]


def test_what_is_the_callers_stays_open(in_child: Callable[[], None]) -> None:
    ours, theirs, other = Sock(), Sock(), Sock()
    socks: list[Any] = [ours, theirs]
    for sock in socks:
        fork.close_in_child(sock)
    fork.keep_in_child(theirs)
    fork.keep_in_child(other)  # never named: nothing to forget
    assert fork.is_closed_in_child(ours) and not fork.is_closed_in_child(theirs)
    in_child()
    assert (ours.closed, theirs.closed) == (1, 0)


def test_what_is_gone_is_forgotten(in_child: Callable[[], None]) -> None:
    kept, gone = Thing(), Thing()
    fork.renew_in_child(kept)
    fork.renew_in_child(gone)
    sock: Any = Sock()
    fork.close_in_child(sock)
    del gone, sock
    gc.collect()
    in_child()
    assert fork.renewed_in_child() == [kept] and kept.renewed == 1


def test_a_socket_without_weak_references_is_left_alone(in_child: Callable[[], None]) -> None:
    number: Any = 5
    fork.close_in_child(number)
    in_child()


def test_the_stream_of_a_child_explains_itself() -> None:
    stream = ForkedStream(httpcore.MockStream([]), "the connection is the parent's")
    with pytest.raises(httpcore.ReadError, match="the parent's"):
        stream.read(1)
    with pytest.raises(httpcore.WriteError, match="the parent's"):
        stream.write(b"x")
    stream.close()
    assert stream.get_extra_info("is_readable") is True
    assert stream.get_extra_info("socket") is None


def test_the_adapters_locks_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fork, "_locks", {})
    holder = Thing()
    holder.lock = 1  # type: ignore[attr-defined]
    holder.inner = SimpleNamespace(lock=1)  # type: ignore[attr-defined]
    gone = Thing()
    for name in ("lock", "inner.lock", "missing.lock"):
        _fork.renew_in_child(holder, name, lambda: 2)
    _fork.renew_in_child(gone, "lock", lambda: 2)
    del gone
    gc.collect()
    assert len(_fork._locks) == 3
    _fork._in_child()
    assert vars(holder) == {"lock": 2, "inner": SimpleNamespace(lock=2)}


def test_what_is_offered_gets_new_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    held, offer = threading.RLock(), SimpleNamespace(lock=threading.RLock())
    old = offer.lock
    monkeypatch.setattr(_ssl, "_lock", held)
    monkeypatch.setattr(_ssl, "_offers", {1: offer})
    _ssl._renew_lock()
    assert _ssl._lock is not held and offer.lock is not old
