"""The client of one request: the pieces of its body, and whether it is still there.

Owns: the calls of ASGI's ``receive``, of which there is never more than one at a time; the
cancellation of the request's task when the client leaves. Must not know: upstreams, responses.

ASGI says that a client has left only to those that wait in ``receive``, and that call may give a
piece of the body as well. A task that waits there costs as much as a small request, so it begins
only when the response does not come at once (`WATCH_AFTER`). From then on there is always one
call under way, unless a piece of the body that it gave was not taken yet: memory is bounded by
that one piece, and a client that leaves while the upstream takes nothing is noticed by the
timeout of writing.

A client that has left ends the request as a timeout of asyncio would: the task is cancelled, the
cancellation ends whatever it waits for, and `left` takes it back.

Source: asgi.readthedocs.io, "HTTP & WebSocket ASGI Message Format" 2.5, Receive and Disconnect.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ._asgi import Message, Receive

#: Seconds after which a task listens to the client. Half of the 100 ms in which the upstream's
#: request has to end once the client has left.
WATCH_AFTER = 0.05
#: Seconds that the upload waits for a piece before it says that there is none now, which lets the
#: connection look for a response that came early.
PAUSE = 0.1


class BodyRefused(Exception):
    """The request's body is longer, or comes more slowly, than the settings allow.

    Attributes:
        status: of the answer.
        reason: what is wrong, for the client.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Client:
    """The client's side of one request, for the task that serves it.

    Iterate it asynchronously for the pieces of the body; an empty one means that none is there
    now.

    Parameters:
        receive: ASGI's.
        loop: the event loop.
        patience: seconds between two pieces of the body; None for no limit.
        max_body: bytes of the body at most; None for no limit.

    Attributes:
        gone: whether it has left.
        received: bytes of the body that were taken.
    """

    __slots__ = ("_cancels", "_ended", "_loop", "_max_body", "_message", "_patience",
                 "_receive", "_served_by", "_task", "_timer", "_waited", "_waiter", "gone",
                 "received")  # fmt: skip

    def __init__(
        self,
        receive: Receive,
        loop: asyncio.AbstractEventLoop,
        patience: float | None = None,
        max_body: int | None = None,
    ) -> None:
        self._receive = receive
        self._loop = loop
        self._patience = patience
        self._max_body = max_body
        self._ended = False  # all of the body was taken
        self._message: Message | None = None  # that came and was not taken
        self._task: asyncio.Task[Message] | None = None
        self._waited = 0.0  # seconds since the last piece
        self._waiter: asyncio.Future[None] | None = None
        self._served_by: asyncio.Task[Any] | None = None
        self._cancels = 0
        self._timer = loop.call_later(WATCH_AFTER, self._watch)
        self.gone = False
        self.received = 0

    # Whether it is there

    def serve(self, task: asyncio.Task[Any] | None) -> None:
        """Note which task serves it, and is to be cancelled when it leaves."""
        self._served_by = task

    def _watch(self) -> None:
        if self._task is None and self._message is None and not self.gone:
            self._task = self._loop.create_task(_call(self._receive))
            self._task.add_done_callback(self._take_message)

    def _take_message(self, task: asyncio.Task[Message]) -> None:
        self._task = None
        if task.cancelled():
            return
        if task.exception() is not None or task.result()["type"] == "http.disconnect":
            self._leave()
        elif self._ended:  # servers give an empty body to those that did not ask for it
            self._loop.call_soon(self._watch)
        else:
            self._message = task.result()
        self._wake()

    def _leave(self) -> None:
        if self.gone:
            return
        self.gone = True
        if self._served_by is not None and not self._served_by.done():
            self._cancels = getattr(self._served_by, "cancelling", int)()
            self._served_by.cancel()

    def left(self) -> bool:
        """Return whether a cancellation that was caught is the one of a client that has left, and
        no other one came with it. It is taken back then."""
        if not self.gone or self._served_by is None:
            return False
        uncancel = getattr(self._served_by, "uncancel", None)  # from Python 3.11 on
        return uncancel is None or uncancel() <= self._cancels

    def finish(self) -> None:
        """End the listening: the response is complete, or there will be none."""
        self._timer.cancel()
        self._served_by = None
        if self._task is not None:
            self._task.cancel()

    # The body

    def expect_no_body(self) -> None:
        """Note that there is no body."""
        self._ended = True

    @property
    def is_unread(self) -> bool:
        """Whether nothing of the body was taken, so that all of it can be sent."""
        return not self.received and not self._ended

    async def read_first(self) -> tuple[bytes, bool]:
        """Return the first piece of the body, and whether it is all. Raises BodyRefused."""
        if self._task is not None or self._message is not None:
            part = b""
            while not part and not self._ended:
                part = await self._next()
            return part, self._ended
        # Nearly always it is there already.
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._leave()
            await asyncio.sleep(0)  # where the cancellation arrives
        return self._take(message), self._ended

    def __aiter__(self) -> Client:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        return await self._next()

    async def _next(self) -> bytes:
        """Return the next piece; empty where none came within PAUSE seconds."""
        if self._message is None:
            self._watch()
            await self._wait()
        message, self._message = self._message, None
        if message is None:
            self._waited += PAUSE
            if self._patience is not None and self._waited >= self._patience:
                raise BodyRefused(408, "the request's body did not come in time")
            return b""
        self._waited = 0.0
        return self._take(message)

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
        self._ended = not message.get("more_body", False)
        self.received += len(part)
        if self._max_body is not None and self.received > self._max_body:
            raise BodyRefused(413, f"the request's body is longer than {self._max_body} bytes")
        return part


async def _call(receive: Receive) -> Message:
    return await receive()
