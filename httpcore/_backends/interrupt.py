"""Waking a thread that waits for the network, from another thread.

Owns: what each thread waits on while it opens a connection. Must not know: pools, HTTP.

An open connection is woken by shutting it down (`SyncStream.abort`). Before there is one, a thread
waits for a look-up, for several sockets at once, or in a handshake. It says here how it can be
woken, then looks whether it was to be; who wakes it does so in the other order: first leaves word,
then looks how. So neither can miss the other.

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
from functools import partial
from typing import Any

# By thread. Each operation on them is one step, so there is no lock to be held over a fork.
_waiting: dict[int, Callable[[], None]] = {}
_interrupted: set[int] = set()


def begin() -> None:
    """This thread opens another connection; what was left for it concerned an earlier one."""
    _interrupted.discard(threading.get_ident())


def waits(wake: Callable[[], None]) -> None:
    """From now on `interrupt` calls `wake` to end what this thread waits for; if it came already,
    that is done at once."""
    thread = threading.get_ident()
    _waiting[thread] = wake
    if thread in _interrupted:
        wake()


def goes_on() -> None:
    """This thread waits for nothing any more."""
    _waiting.pop(threading.get_ident(), None)


def interrupt(thread: int) -> None:
    """Wake the thread with this identifier, if it opens a connection."""
    _interrupted.add(thread)
    wake = _waiting.get(thread)
    if wake is not None:
        wake()


def abort(stream: Any) -> None:
    """End what another thread is doing on `stream`, a `NetworkStream` of whatever make."""
    end = getattr(stream, "abort", None)
    if end is None:
        sock = stream.get_extra_info("socket")
        end = partial(shut_down, sock) if hasattr(sock, "shutdown") else stream.close
    end()


def shut_down(sock: Any) -> None:
    """End all reads and writes on `sock`, of whatever make, those that are under way too."""
    # `socket.socket` is not asked: programs put functions and classes of their own there.
    of: Any = sock
    if isinstance(sock, ssl.SSLSocket):
        # Its own method would drop the TLS state that a reader is using.
        of = super(ssl.SSLSocket, sock)
    # Mocks may raise anything; a wake that is not possible must not fail who closes.
    with contextlib.suppress(Exception):
        of.shutdown(socket.SHUT_RDWR)
