"""A client that hangs up while the server does not read from it.

Owns: asking the system, once for all such connections of a loop; ending a connection under uvicorn.
Must not know: bodies, upstreams.

A server that reads no more from a connection does not see its end, either: event loops watch for
bytes to be read, of which there are plenty. Linux' epoll can watch for the end alone, and an epoll
object is a file that a loop can watch in its turn. Elsewhere, and under other servers, such a
client is noticed when the server reads on.

A reset is seen at once. A FIN stands behind everything that the client has sent: it is seen as
soon as all of that is in the buffers of this machine, and where they do not hold it, when the
server reads on.

uvicorn takes the end of what a client sends for its leaving, whether it has closed the connection
or only its sending side, and so does this.

Sources: epoll_ctl(2), EPOLLRDHUP; uvicorn, `protocols.http.httptools_impl` and `h11_impl`, class
RequestResponseCycle.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable
from typing import Any

from ._asgi import Receive

#: Where uvicorn defines the objects for one request, whose method ``receive`` is. What is used of
#: them is the same in both.
CYCLES = frozenset(("uvicorn.protocols.http.httptools_impl", "uvicorn.protocols.http.h11_impl"))


def watch_client(
    receive: Receive, loop: asyncio.AbstractEventLoop, notify: Callable[[], object]
) -> HangUp | None:
    """Stop the server from reading, and watch the client's connection for its end.

    Parameters:
        receive: ASGI's.
        notify: called when the other end has hung up, or had before.

    Returns None where the system or the server has no way to do it: nothing has changed then.
    """
    cycle: Any = getattr(receive, "__self__", None)
    if type(cycle).__module__ not in CYCLES or not hasattr(select, "EPOLLRDHUP"):
        return None
    watcher = _watchers.get(loop) or Watcher(loop)
    hang_up = HangUp(watcher, cycle, notify)
    watcher.add(hang_up)
    hang_up.hold()
    return hang_up


class HangUp:
    """The connection of one request under uvicorn, watched for its end.

    Parameters:
        watcher: the one of this loop.
        cycle: uvicorn's object for the request.
        notify: called when the other end has hung up.

    Attributes:
        descriptor: of the connection; -1 where it was closed before.
    """

    __slots__ = ("_cycle", "_watcher", "descriptor", "notify")

    def __init__(self, watcher: Watcher, cycle: Any, notify: Callable[[], object]) -> None:
        self._watcher = watcher
        self._cycle = cycle
        self.notify = notify
        self.descriptor = -1
        if not self._is_over():
            self.descriptor = cycle.transport.get_extra_info("socket").fileno()

    def _is_over(self) -> bool:
        """Return whether the server has seen the end, or has closed the connection."""
        return bool(self._cycle.disconnected or self._cycle.transport.is_closing())

    def hold(self) -> None:
        """Stop the server from reading, up to the next call of ``receive``. It would notice the
        end itself, but only those that wait in ``receive`` hear of that."""
        if self._is_over():
            self._watcher.loop.call_soon(self.notify)
        else:
            self._cycle.flow.pause_reading()

    def end_connection(self) -> None:
        """Close the connection of a client that has left, whose request gets no response."""
        self._cycle.disconnected = True
        self._cycle.message_event.set()
        self._cycle.transport.abort()

    def stop(self) -> None:
        """Stop watching. Idempotent."""
        self._watcher.remove(self)


class Watcher:
    """Watches the connections of one loop, as long as there are any.

    The number of a connection may be another one's as soon as it is closed. So each is known by
    its object, and is asked itself before it is taken as ended: a process that was forked meanwhile
    makes epoll report one that is closed here.

    Parameters:
        loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._epoll = select.epoll()
        self._hang_ups: dict[int, HangUp] = {}
        loop.add_reader(self._epoll.fileno(), self._look)
        _watchers[loop] = self

    def add(self, hang_up: HangUp) -> None:
        """Watch one more; do nothing for one that is closed."""
        if hang_up.descriptor >= 0:
            events = select.EPOLLRDHUP | select.EPOLLONESHOT
            self._epoll.register(hang_up.descriptor, events)
            self._hang_ups[hang_up.descriptor] = hang_up
        self._end_if_idle()

    def remove(self, hang_up: HangUp) -> None:
        """Watch one no more, if it still is."""
        if self._hang_ups.get(hang_up.descriptor) is hang_up:
            del self._hang_ups[hang_up.descriptor]
            with contextlib.suppress(OSError):  # the server has closed it
                self._epoll.unregister(hang_up.descriptor)
            self._end_if_idle()

    def _look(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            hang_up = self._hang_ups.get(descriptor)
            if hang_up is not None and _has_hung_up(descriptor):
                self.remove(hang_up)
                hang_up.notify()

    def _end_if_idle(self) -> None:
        if not self._hang_ups:
            self.loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            del _watchers[self.loop]


def _has_hung_up(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    return bool(poll.poll(0))


_watchers: dict[asyncio.AbstractEventLoop, Watcher] = {}
