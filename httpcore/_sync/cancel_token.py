"""Ending requests from another thread, before there is a response to close.

Owns: which requests a token was given to. Must not know: where they are; the request's body
object does (`ResponseBody.abort`).
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from .._backends.fork import renew_in_child

if TYPE_CHECKING:
    from .response_body import ResponseBody


class CancelToken:
    """Ends the requests that carry it in ``extensions["cancel"]``. Thread-safe.

    One token may go with any number of requests, at once and one after the other. `cancel` ends
    those that are under way, wherever they are: waiting for a connection, connecting, sending,
    receiving; and each one that is sent with it afterwards. They raise `httpcore.NetworkError`
    (more precisely `httpcore.exceptions.Aborted`), and ``phase`` says how far they got.

    Attributes:
        cancelled: True after `cancel`.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self._event = threading.Event()  # for who waits between two attempts
        self._lock = threading.Lock()
        self._bodies: weakref.WeakSet[ResponseBody] = weakref.WeakSet()
        renew_in_child(self)

    def cancel(self) -> None:
        """End the requests. Returns at once; they fail in their own threads."""
        self.cancelled = True
        self._event.set()
        with self._lock:
            bodies = list(self._bodies)
        for body in bodies:
            body.abort()

    def _attach(self, body: ResponseBody) -> None:
        with self._lock:
            self._bodies.add(body)
        if self.cancelled:
            body.aborted = True

    def _renew_in_child(self) -> None:
        """In the child of a fork, where the thread that holds the lock does not exist."""
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until `cancel`."""
        self._event.wait(seconds)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{'cancelled' if self.cancelled else 'not cancelled'}]>"


def attach(token: Any, body: ResponseBody) -> bool:
    """Let `token` end the request of `body`; whether it has done so already.

    Raises TypeError when it is no `CancelToken`.
    """
    if not isinstance(token, CancelToken):
        raise TypeError(f"extensions['cancel'] must be a CancelToken, not {type(token).__name__}")
    token._attach(body)
    return token.cancelled
