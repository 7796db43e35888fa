"""Clears up in the child of a fork what it inherited.

Owns: the sockets that a child must close, the objects that it must renew, and the one hook that
does both. Must not know: pools, HTTP.

fork(2) copies descriptors, not connections. Two processes that use one connection mix their
requests, and over TLS each breaks it for the other (psf/requests#4323). So in the child, before
any of its own code runs:

- Each socket that `SyncBackend` opened is closed, by close(2) and nothing else: a shutdown(2) or
  a TLS close_notify would reach the server, and end the connection of the parent. Python's
  `SSLSocket.close` sends none. What is handed to the caller (an upgraded connection) is the
  caller's, and stays open.
- Each pool and connection is renewed: its connections are gone, its locks are new. Of the threads
  only the one that forked is in the child, so a lock that another one held would be held for
  ever. Hence nothing here waits for a lock, or believes that an operation was finished.

No request pays for this: process ids are not compared. The price is that a fork that Python does
not see (in uWSGI: without ``py-call-osafterfork``) is not noticed. And a socket that another thread
has made, but not yet listed here, stays open in the child, where nothing can use it.

Sources: fork(2), close(2), `os.register_at_fork`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import weakref
from typing import Any, Protocol

from .._exceptions import ReadError, WriteError
from .base import NetworkStream


class Renewable(Protocol):
    def _renew_in_child(self) -> None:
        """Become as good as new: called in the child of a fork, where there is no other thread."""


# By id; both forget what nothing else refers to. A store into either is one step, which another
# thread has done or not at the moment of the fork.
_sockets: weakref.WeakValueDictionary[int, socket.socket] = weakref.WeakValueDictionary()
_renewables: weakref.WeakValueDictionary[int, Renewable] = weakref.WeakValueDictionary()


def close_in_child(sock: socket.socket) -> None:
    """Let the child of a fork close its copy of `sock`, from now on."""
    with contextlib.suppress(TypeError):  # a mock's, that cannot be referred to weakly
        _sockets[id(sock)] = sock


def keep_in_child(sock: object) -> None:
    """Let the child of a fork keep `sock`, whatever it is, from now on."""
    if is_closed_in_child(sock):
        _sockets.pop(id(sock), None)


def is_closed_in_child(sock: object) -> bool:
    """Return whether a child would close its copy of `sock`."""
    return _sockets.get(id(sock)) is sock


def renew_in_child(thing: Renewable) -> None:
    """Let the child of a fork renew `thing`, from now on. Call it when `thing` is complete."""
    _renewables[id(thing)] = thing


def renewed_in_child() -> list[Renewable]:
    """Return all that a child would renew: among others, each pool of this process."""
    things = (reference() for reference in _renewables.valuerefs())
    return [thing for thing in things if thing is not None]


def _in_child() -> None:
    # `valuerefs` gives lists, so what the collector takes away meanwhile does not matter.
    for socket_reference in _sockets.valuerefs():
        sock = socket_reference()
        if sock is not None:
            with contextlib.suppress(
                Exception
            ):  # a mock's; or the descriptor was closed by its number
                sock.close()
    for thing in renewed_in_child():
        thing._renew_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)


class ForkedStream(NetworkStream):
    """Stands where a connection's stream was that belongs to the parent process.

    Parameters:
        stream: that stream, never touched again: its destructor might say goodbye to the peer.
        explanation: the text of the errors that its use raises.
    """

    def __init__(self, stream: NetworkStream, explanation: str) -> None:
        self._stream = stream
        self._explanation = explanation

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        raise ReadError(self._explanation)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        raise WriteError(self._explanation)

    def close(self) -> None:
        """Do nothing: the connection is the parent's."""

    def get_extra_info(self, info: str) -> Any:
        return True if info == "is_readable" else None  # readable while idle means dead
