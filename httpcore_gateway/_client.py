"""The client of one request: the pieces of its body, and whether it is still there.

Owns: the calls of ASGI's ``receive``, of which there is never more than one at a time; the
cancellation of the request's task when the client leaves. Must not know: upstreams, responses.

ASGI says that a client has left only to those that wait in ``receive``, and that call may give a
piece of the body as well. A task that waits there costs as much as a small request, so it begins
only when the response does not come at once (`WATCH_AFTER`). From then on there is always one
call under way, unless AHEAD bytes of the body have come that the upstream has not taken: memory is
bounded by them. A client that waits for leave to send its body is not listened to, either, before
the upstream has given that leave, as the server gives it to the client by then. In both cases
`_hang_up` watches the connection, where it can; else the timeouts of the upstream end the request.

A client that has left ends the request as a timeout of asyncio would: the task is cancelled, the
cancellation ends whatever it waits for, and `left` takes it back.

Source: asgi.readthedocs.io, "HTTP & WebSocket ASGI Message Format" 2.5, Receive and Disconnect.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from ._asgi import Message, Receive
from ._hang_up import HangUp, watch_client
from ._problems import Refused

#: Seconds after which a task listens to the client. Half of the 100 ms in which the upstream's
#: request has to end once the client has left.
WATCH_AFTER = 0.05
#: Seconds that the upload waits for a piece before it says that there is none now, which lets the
#: connection look for a response that came early.
PAUSE = 0.1
#: Bytes of the body that may wait for the upstream to take them before the client is listened to no
#: more: what the kernel's buffers of an ordinary connection hold, a few pieces of the servers.
AHEAD = 256 * 1024
#: Seconds in which what is left of a body is taken after the response, and in which something of
#: it has to come. A server that closes the connection while the client sends resets it, which
#: can take the response away from the client: nginx waits 30 and 5 (lingering_time).
LINGER, LINGER_SILENT = 5.0, 1.0


class BodyRefused(Refused):
    """The request's body is longer, or comes more slowly, than the settings allow."""


class Client:
    """The client's side of one request, for the task that serves it.

    Iterate it asynchronously for the pieces of the body; an empty one means that none is there
    now.

    Parameters:
        receive: ASGI's.
        loop: the event loop.
        patience: seconds between two pieces of the body, and in which the client has to take
            something of the response; None for no limit.
        max_body: bytes of the body at most; None for no limit.
        asks: it waits for leave to send its body (Expect).

    Attributes:
        asks: it still waits for that.
        ended: whether all of the body was taken.
        failure: why it counts as gone though the server has not said so; empty for no reason.
        gone: whether it has left.
        received: bytes of the body that were taken.
        taken: how many pieces of the response it has taken; None while none is given to it.
    """

    __slots__ = ("_ahead", "_cancels", "_hang_up", "_late", "_loop", "_max_body", "_messages",
                 "_patience", "_reads", "_receive", "_served_by", "_taken", "_task", "_timer",
                 "_unwatched", "_waited", "_waiter", "_whole", "asks", "ended", "failure", "gone",
                 "received", "taken")  # fmt: skip

    def __init__(
        self,
        receive: Receive,
        loop: asyncio.AbstractEventLoop,
        patience: float | None = None,
        max_body: int | None = None,
        asks: bool = False,
    ) -> None:
        self._receive = receive
        self._loop = loop
        self._patience = patience
        self._max_body = max_body
        self._ahead = 0  # bytes of the messages that were not taken
        self._hang_up: HangUp | None = None
        self._late = False  # nothing came while the task waited in the server's own call
        self._messages: deque[Message] | None = None  # that came and were not taken
        self._reads = False  # the task that serves it waits in the server's own call
        self._taken: int | None = None  # when it was looked at last
        self._task: asyncio.Task[Message] | None = None
        self._unwatched = False  # nothing listens though it is time to
        self._waited = 0.0  # seconds since the last piece
        self._waiter: asyncio.Future[None] | None = None
        self._whole = False  # the last piece of the body has come
        self._served_by: asyncio.Task[Any] | None = None
        self._cancels = 0
        self._timer = loop.call_later(WATCH_AFTER, self._begin_watch)
        self.asks = asks
        self.ended = False
        self.failure = ""
        self.gone = False
        self.received = 0
        self.taken: int | None = None

    # Whether it is there

    def serve(self, task: asyncio.Task[Any] | None) -> None:
        """Note which task serves it, and is to be cancelled when it leaves."""
        self._served_by = task

    def _begin_watch(self) -> None:
        """Listen to it, and look from time to time whether it takes the response."""
        if self.asks:
            self._watch_connection()
        else:
            self._watch()
        if self._patience is not None:
            self._timer = self._loop.call_later(self._patience, self._look)

    def _look(self) -> None:
        """Take a client as gone that has not taken a piece of the response since the last look,
        or end the wait for the first piece of its body."""
        if self._reads:
            self._late = True
            self._cancel()
            return
        if self.taken is not None and self.taken == self._taken:
            self.failure = "the client does not take the response"
            self._leave()
            return
        self._taken = self.taken
        assert self._patience is not None
        self._timer = self._loop.call_later(self._patience, self._look)

    def _watch(self) -> None:
        if self._reads:
            self._unwatched = True
        elif self._task is None and not self.gone:
            if self._ahead < AHEAD:
                self._task = self._loop.create_task(_call(self._receive))
                self._task.add_done_callback(self._take_message)
            else:
                self._watch_connection()

    def _watch_connection(self) -> None:
        """Have the system say when it leaves, up to the next call of ``receive``."""
        if self._hang_up is None:
            self._hang_up = watch_client(self._receive, self._loop, self._take_hang_up)
        else:
            self._hang_up.hold()

    def _take_hang_up(self) -> None:
        hang_up, self._hang_up = self._hang_up, None
        # Where `receive` is called, the server reads on, and finds the end in its place.
        if hang_up is not None and self._task is None:
            hang_up.end_connection()
            self._leave()
            self._wake()

    def _take_message(self, task: asyncio.Task[Message]) -> None:
        self._task = None
        if task.cancelled():
            return
        if task.exception() is not None or task.result()["type"] == "http.disconnect":
            self._leave()
        else:
            if not (self.ended or self._whole):  # else it is empty: servers give that for nothing
                self._hold(task.result())
            self._loop.call_soon(self._watch)
        self._wake()

    def _hold(self, message: Message) -> None:
        if self._messages is None:
            self._messages = deque()
        self._messages.append(message)
        self._ahead += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)

    def _leave(self) -> None:
        if self.gone:
            return
        self.gone = True
        self._cancel()

    def _cancel(self) -> None:
        """Cancel the task that serves it."""
        if self._served_by is not None and not self._served_by.done():
            self._cancels = getattr(self._served_by, "cancelling", int)()
            self._served_by.cancel()

    def left(self) -> bool:
        """Return whether a cancellation that was caught is the one of a client that has left, and
        no other one came with it. It is taken back then."""
        return self.gone and self._take_back()

    def _take_back(self) -> bool:
        """Take a cancellation back; return whether it was the only one."""
        if self._served_by is None:
            return False
        uncancel = getattr(self._served_by, "uncancel", None)  # from Python 3.11 on
        return uncancel is None or uncancel() <= self._cancels

    def finish(self) -> None:
        """End the listening: the response is complete, or there will be none."""
        self._timer.cancel()
        self._served_by = None
        self._stop_hang_up()
        if self._task is not None:
            self._task.cancel()

    def _stop_hang_up(self) -> None:
        if self._hang_up is not None:
            self._hang_up.stop()
            self._hang_up = None

    # The body

    def expect_no_body(self) -> None:
        """Note that there is no body."""
        self.ended = True

    async def read_first(self) -> tuple[bytes, bool]:
        """Return the first piece of the body, and whether it is all. Raises BodyRefused."""
        if self._task is not None or self._messages:
            part = b""
            while not part and not self.ended:
                part = await self._next()
            return part, self.ended
        # Nearly always it is there already.
        self._reads = True
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            if self._late and self._take_back():
                raise _late() from None
            raise
        finally:
            self._reads = False
        if message["type"] == "http.disconnect":
            self._leave()
            await asyncio.sleep(0)  # where the cancellation arrives
        part = self._take(message)
        if self._unwatched:
            self._watch()
        return part, self.ended

    async def drain(self) -> None:
        """Take what is left of the body, for a while, now that the response is with the server.
        The client can no longer end the task that serves it."""
        self._timer.cancel()
        self._stop_hang_up()
        self._served_by = self._patience = self._max_body = None
        began = heard = self._loop.time()
        while not (self.ended or self.gone):
            if await self._next():
                heard = self._loop.time()
            now = self._loop.time()
            if now - began > LINGER or now - heard > LINGER_SILENT:
                return

    def __aiter__(self) -> Client:
        return self

    async def __anext__(self) -> bytes:
        if self.ended:
            raise StopAsyncIteration
        return await self._next()

    async def _next(self) -> bytes:
        """Return the next piece; empty where none came within PAUSE seconds."""
        self.asks = False
        if not self._messages:
            self._watch()
            await self._wait()
        if not self._messages:
            self._waited += PAUSE
            if self._patience is not None and self._waited >= self._patience:
                raise _late()
            return b""
        self._waited = 0.0
        message = self._messages.popleft()
        self._ahead -= len(message.get("body", b""))
        part = self._take(message)
        self._watch()
        return part

    async def _wait(self) -> None:
        """Wait for a message, PAUSE seconds at most."""
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(PAUSE, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self, message: Message) -> bytes:
        part: bytes = message.get("body", b"")
        self.ended = not message.get("more_body", False)
        self.received += len(part)
        if self._max_body is not None and self.received > self._max_body:
            raise BodyRefused(413, f"the request's body is longer than {self._max_body} bytes")
        return part


def _late() -> BodyRefused:
    return BodyRefused(408, "the request's body did not come in time")


async def _call(receive: Receive) -> Message:
    return await receive()
