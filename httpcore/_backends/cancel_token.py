"""Ending requests from another thread, before there is a response to close.

Owns: which requests a token was given to. Must not know: where they are; the request's body
object does (`ResponseBody.abort`).
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator
from typing import Protocol


class Body(Protocol):
    """The part of a response's body that ends its request."""

    aborted: bool

    def abort(self) -> None:
        """End the request, from another thread."""


class Bell(Protocol):
    """An object that a thread, or a task, sleeps on."""

    def release(self) -> None:
        """Wake it. Raises RuntimeError where there is nothing to wake."""


class CancelToken:
    """Ends the requests that carry it in ``extensions["cancel"]``. Thread-safe.

    One token may go with any number of requests, at once and one after the other. `cancel` ends
    those that are under way, wherever they are: waiting for a connection, connecting, sending,
    receiving; and each one that is sent with it afterwards. They raise `httpcore.NetworkError`
    (more precisely `httpcore.exceptions.Aborted`), and ``phase`` says how far they got.

    `cancel` may be called from anywhere, a signal handler and a destructor included: nothing here
    takes a lock.

    Attributes:
        cancelled: True after `cancel`.
        carried_out: True once `cancel` has ended the requests that were under way.
    """

    def __init__(self) -> None:
        self.cancelled = self.carried_out = False
        # Each operation on these two is one step. Who is to be ended puts itself in and then looks
        # at `cancelled`; `cancel` sets that and then looks who is in: neither can miss the other.
        self._bodies: weakref.WeakValueDictionary[int, Body] = weakref.WeakValueDictionary()
        self._sleepers: dict[Bell, None] = {}  # between two attempts; held by each

    def cancel(self) -> None:
        """End the requests. Returns at once; they fail in their own threads."""
        self.cancelled = True
        for reference in self._bodies.valuerefs():
            body = reference()
            if body is not None:
                body.abort()
        self.carried_out = True
        for bell in list(self._sleepers):
            with contextlib.suppress(RuntimeError):  # it was released already
                bell.release()

    def attach(self, body: Body) -> None:
        """End the request of `body` with the others."""
        self._bodies[id(body)] = body
        if self.cancelled:
            body.aborted = True

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until `cancel`."""
        bell = threading.Lock()
        bell.acquire()
        self._sleepers[bell] = None
        try:
            if not self.cancelled:
                bell.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))
        finally:
            self._sleepers.pop(bell, None)

    async def asleep(self, seconds: float) -> None:
        """Do as `sleep` does, in a task of an event loop."""
        from .event_loops import running_loop
        from .loops import loop_of

        bell = loop_of(running_loop()).make_waker()
        self._sleepers[bell] = None
        try:
            if not self.cancelled:
                await bell.acquire(seconds)
        finally:
            self._sleepers.pop(bell, None)

    @contextlib.contextmanager
    def rings(self, bell: Bell) -> Iterator[None]:
        """Let `cancel` release `bell`, as long as this lasts, after it has ended the requests; at
        once if it was called."""
        self._sleepers[bell] = None
        try:
            if self.carried_out:
                bell.release()
            yield
        finally:
            self._sleepers.pop(bell, None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{'cancelled' if self.cancelled else 'not cancelled'}]>"


def attach(token: object, body: Body) -> bool:
    """Let `token` end the request of `body`; whether it has done so already.

    Raises TypeError when it is no `CancelToken`.
    """
    if not isinstance(token, CancelToken):
        raise TypeError(f"extensions['cancel'] must be a CancelToken, not {type(token).__name__}")
    token.attach(body)
    return token.cancelled
