"""Watches the deadline, the token and the server while a task waits for a part of a request's body.

Owns: the wait for the total timeout, for a `CancelToken` and for data from the server, where the
event loop can wait for all of them. Must not know: how the part is requested
(`_backends.event_loops.EventLoop.ask`), where it comes from, what follows from the server's data
(`_core.upload`, `_core.h2_upload`).

The wait for the part has ended, or was cancelled, before anything else happens in the task. So this
listens to the server only while no other code needs its data at once: before the caller has the
response (HTTP/2: before the response is complete).
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from .._backends.event_loops import running_loop
from .._backends.loops import loop_of
from .._core.h2_exchange import ExchangeState
from .._core.limits import READ_SIZE
from .._core.prepared import Prepared
from .._core.upload import UploadScript
from .._exceptions import ReadError, ReadTimeout, TimeoutException


class PartWatch:
    """The total and the token of a request.

    Parameters:
        prepared: the request.

    Attributes:
        loop: the event loop in which the request was begun.
        token: its `CancelToken`, or None.
    """

    __slots__ = ("_bell", "_deadline", "loop", "token")

    def __init__(self, prepared: Prepared) -> None:
        self._deadline = prepared.deadline
        self.token: Any = prepared.request.extensions.get("cancel")
        self.loop = loop_of(running_loop())
        self._bell = self.loop.make_waker()

    def left(self) -> float | None:
        """Return the seconds until the end of the total; None without one."""
        return None if self._deadline is None else self._deadline.left()

    async def wait(self) -> None:
        """Wait until `release`, or until the total is over."""
        await self._wait_until(self._bell.acquire)

    async def _wait_until(self, wait: Any, *arguments: object) -> None:
        left, began = self.left(), time.monotonic()
        if not await wait(*arguments, left) and left is not None:
            self._deadline.count_wait(began, left, time.monotonic())

    def release(self) -> None:
        """End `wait`, or the next one if none is; from any thread."""
        self._bell.release()

    async def goes_on(self) -> bool:
        """Return whether the part is to be waited for still."""
        if self.token is not None and self.token.carried_out:
            return False  # sooner, what follows would not be known to be caused by it
        return self._deadline is None or not self._deadline.passed


class UploadWatch(PartWatch):
    """The same, and the server of a request over HTTP/1.1.

    Parameters:
        upload: what sends the body.
        stream: the connection's.
        prepared: the request.
    """

    __slots__ = ("_listens", "_stream", "_upload", "_waits")

    def __init__(self, upload: UploadScript, stream: Any, prepared: Prepared) -> None:
        super().__init__(prepared)
        self._upload = upload
        self._stream = stream
        self._listens = False  # the stream is waited for, and not the bell
        self._waits = False  # it is now: woken later, it would end a read

    async def wait(self) -> None:
        self._listens = self._upload.may_hear and getattr(self._stream, "wake", None) is not None
        if not self._listens:
            await super().wait()
            return
        self._waits = True
        try:
            await self._wait_until(self._stream.wait, False)
        finally:
            self._waits = False

    def release(self) -> None:
        if self._waits:
            self._stream.wake()
        else:
            super().release()

    async def goes_on(self) -> bool:
        if not await super().goes_on():
            return False
        if not self._listens:
            return True
        upload = self._upload
        try:
            data = await self._stream.read(READ_SIZE, 0)
        except ReadTimeout:
            return True
        except ReadError as exc:
            upload.break_off(exc)
        else:
            upload.hear(data)
        return upload.wants_part()


class ExchangeWatch(PartWatch):
    """The same, and the server of a request over HTTP/2.

    Parameters:
        exchange: the request.
        prepared: the same.
    """

    __slots__ = ("_awake", "_exchange")

    def __init__(self, exchange: ExchangeState, prepared: Prepared) -> None:
        super().__init__(prepared)
        self._exchange: Any = exchange  # an AsyncHTTP2Exchange, whose module imports this one
        self._awake = False

    async def wait(self) -> None:
        exchange = self._exchange
        if not exchange.connection.driven:
            await super().wait()
            return
        with contextlib.suppress(TimeoutException):  # `goes_on` sees that the total is over
            await exchange.connection.wait_until(exchange, self._is_due, None, True)
        self._awake = False

    def _is_due(self) -> bool:
        upload = self._exchange.upload
        return self._awake or upload is None or not upload.is_wanted()

    def release(self) -> None:
        self._awake = True
        super().release()
        if self._exchange.session.call(self._exchange):
            self._exchange.connection.ring()

    async def goes_on(self) -> bool:
        upload = self._exchange.upload
        return await super().goes_on() and (upload is None or upload.is_wanted())
