"""Waking a thread that waits for the network, from another thread.

Owns: what each thread waits on while it opens a connection. Must not know: pools, HTTP.

An open connection is woken by shutting it down (`SyncStream.abort`). Before there is one, a thread
waits for a look-up, for several sockets at once, or in a handshake. It registers here how it can be
woken, then looks whether it was to be. The thread that wakes it acts in the other order: it first
notes that the wait is to end, then looks how. So neither can miss the other. Nothing here takes a
lock: a signal handler may call all of it, and may open a connection of its own while the thread it
interrupted opens another.

Closing a socket would not do: a thread that waits on it is not woken by that, and the number of
the descriptor may be another file's when it is.

Sources: shutdown(2), close(2) ("Multithreaded processes and close()").
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any


class Attempt:
    """One connection that is being opened, by the thread that called `begin`."""

    __slots__ = ("interrupted", "outer", "wake")

    def __init__(self, outer: Attempt | None) -> None:
        self.outer = outer  # of the same thread: a signal handler interrupted it
        self.wake: Callable[[], None] | None = None
        self.interrupted = False


# The innermost of each thread. Each operation on it is one step, so no lock can be left held over a
# fork.
_attempts: dict[int, Attempt] = {}


def begin() -> Attempt:
    """Note that this thread opens a connection; `end` must follow."""
    thread = threading.get_ident()
    attempt = _attempts[thread] = Attempt(_attempts.get(thread))
    return attempt


def end(attempt: Attempt) -> None:
    """Note that this thread does not open it any more; goes on with the one outside of it."""
    thread = threading.get_ident()
    if attempt.outer is None:
        _attempts.pop(thread, None)
    else:
        _attempts[thread] = attempt.outer


def set_waker(wake: Callable[[], None]) -> None:
    """Let `interrupt` call `wake` to end what this thread waits for; if it came already, that is
    done at once."""
    attempt = _attempts.get(threading.get_ident())
    if attempt is not None:
        attempt.wake = wake
        if attempt.interrupted:
            wake()


def clear_waker() -> None:
    """Note that this thread waits for nothing any more."""
    attempt = _attempts.get(threading.get_ident())
    if attempt is not None:
        attempt.wake = None


def interrupt(attempt: Attempt) -> None:
    """Wake the thread that opens this connection."""
    attempt.interrupted = True
    wake = attempt.wake
    if wake is not None:
        wake()


# The same for tasks of an event loop, which share a thread. What wakes one has to be something that
# any thread may call.
_task_attempt: ContextVar[Attempt | None] = ContextVar("task_attempt", default=None)


def begin_in_task() -> Attempt:
    """Do as `begin` does, for the running task; `end_in_task` must follow."""
    attempt = Attempt(_task_attempt.get())
    _task_attempt.set(attempt)
    return attempt


def end_in_task(attempt: Attempt) -> None:
    """Do as `end` does, for the running task."""
    _task_attempt.set(attempt.outer)


def set_task_waker(wake: Callable[[], None]) -> None:
    """Do as `set_waker` does, for the running task."""
    attempt = _task_attempt.get()
    if attempt is not None:
        attempt.wake = wake
        if attempt.interrupted:
            wake()


def clear_task_waker() -> None:
    """Do as `clear_waker` does, for the running task."""
    attempt = _task_attempt.get()
    if attempt is not None:
        attempt.wake = None


def abort(stream: Any) -> None:
    """End what another thread is doing on `stream`, a `NetworkStream` of whatever make."""
    end = getattr(stream, "abort", None)
    if end is None:
        sock = stream.get_extra_info("socket")
        end = getattr(stream, "close", None)
        if hasattr(sock, "shutdown"):
            end = partial(shut_down, sock)
    if end is not None:  # an asynchronous stream of another make may have none
        end()


def shut_down(sock: Any) -> None:
    """End all reads and writes on `sock`, of whatever make, those that are under way too."""
    # `socket.socket` is not asked: programs put functions and classes of their own there.
    of: Any = sock
    if isinstance(sock, ssl.SSLSocket):
        # Its own method would drop the TLS state that a reader is using.
        of = super(ssl.SSLSocket, sock)
    # Mocks may raise anything; a failure to wake must not become one of the caller that closes.
    with contextlib.suppress(Exception):
        of.shutdown(socket.SHUT_RDWR)
