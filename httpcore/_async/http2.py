"""One HTTP/2 connection, shared by the tasks of an event loop.

Owns: the lock, how tasks wait, and every call of the network stream. Must not know: how a
connection is chosen or opened; how HTTP/2 is framed (`_core.h2`); what follows from what came or
failed (`_core.h2_session`, `_core.h2_exchange`); what becomes of the response's body
(`response_body`).

What has arrived is taken in for all streams at once, and wakes the tasks that it was for. Who takes
it in depends on the stream:

- One whose event loop calls back (`AsyncioStream`) is *driven*: the loop calls `_on_readable`. No
  task reads, so no task that is cancelled can cut a read, and there is no background task.
- On any other, one of the tasks that wait reads for all, as threads do it in the synchronous half
  (see there). It is cancelled like any other: then the next one reads on.

What the network does not take at once stays in `unsent`; it is sent as soon as there is room. So a
task that is cancelled while it sends resets its own stream, and nothing else.

The lock is never held over an ``await``. It is for destructors, which may run in any thread and
interrupt any code: what has to be done is then left to whoever holds the lock (see `deferred`).

Sources: RFC 9113; the reports in which this went wrong elsewhere: encode/httpx#3072 (writes out of
order), encode/httpx#3324 (GOAWAY), encode/httpcore#943 (streams closed early).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from .._backends.awaiting import without_awaiting
from .._backends.base import AsyncNetworkStream
from .._backends.closing import await_later, close_rest, unclosed
from .._backends.event_loops import Waker, running_loop
from .._backends.interrupt import abort
from .._backends.loops import loop_of
from .._core.h2_election import Election
from .._core.h2_exchange import Wait
from .._core.h2_liveness import Liveness
from .._core.h2_session import Session
from .._core.limits import ACK_PATIENCE, READ_SIZE
from .._core.prepared import Prepared, prepare
from .._exceptions import (
    NOT_SENT,
    ConnectionNotAvailable,
    NetworkError,
    ProtocolError,
    ReadError,
    RemoteProtocolError,
    TimeoutException,
    WriteError,
)
from .._models import Request, Response
from .._settings import PING_TIMEOUT, ConnectionSettings
from .._shared.deferred import Deferred, OwnedLock
from .._trace import debug
from .._url import Origin
from .http2_exchange import AsyncHTTP2Exchange
from .interfaces import AsyncConnectionInterface
from .response_body import AsyncResponseBody, body_by_hand

T = TypeVar("T")

logger = logging.getLogger("httpcore.http2")

# Seconds. A task that sleeps is woken; should the one that was to wake it be interrupted
# (KeyboardInterrupt) before it could, the sleeper looks by itself.
MAX_SLEEP = 1.0

# Reads in a row when a connection is looked at before use: what a server says to an idle
# connection fits into one or two.
MAX_READS = 16

# Bytes. A TLS record from here on is probably part of a body, with more behind it: nginx cuts a
# body into frames of 8 KiB, others into 16.
LARGE_RECORD = 4096
# Bytes taken in before their readers are woken: a large part of what a processor's cache holds.
READ_AT_ONCE = 262144


class AsyncHTTP2Connection(Session, AsyncConnectionInterface):
    """An open HTTP/2 connection that can be driven by hand. Several requests at once, from tasks of
    the event loop in which it was made.

    Parameters:
        origin: who is at the other end.
        stream: the open `AsyncNetworkStream`; the connection owns it. With `wait`, `read_ready` and
            `write_ready` (see `AsyncioStream`) only readiness is waited for; else its `read` and
            `write` are awaited, and a request that a `CancelToken` ends may take a second longer.
        keepalive_expiry: seconds it may be idle before `has_expired`; None for ever.
        ping_interval: seconds of silence, while a response is waited for, after which a PING is
            sent; None for never. Some servers count unasked PINGs as abuse.
        ping_timeout: seconds in which it must be answered, or all requests on the connection fail.

    Attributes:
        on_change: called, without arguments and by any thread, when `max_streams` has changed or no
            new requests are possible any more.
    """

    protocol = "http2"  # of the names of its trace events

    def __init__(
        self,
        origin: Origin,
        stream: AsyncNetworkStream,
        keepalive_expiry: float | None = None,
        *,
        ping_interval: float | None = None,
        ping_timeout: float = PING_TIMEOUT,
    ) -> None:
        liveness = Liveness(ping_interval, ping_timeout, time.monotonic())
        super().__init__(origin, stream, keepalive_expiry, liveness)
        # The same stream, used without waiting; and the seconds that one wait of it may take.
        self.io, self._longest = without_awaiting(stream)
        self.lock = OwnedLock()
        self.deferred = Deferred()  # what is to be done by whoever lets go of the lock
        self.election = Election()
        self.loop = loop_of(running_loop())
        drive = getattr(self.io, "drive", None)
        self.driven = drive is not None
        if drive is not None:
            drive(self._on_readable, self._on_room)

    @classmethod
    def from_settings(
        cls, origin: Origin, stream: AsyncNetworkStream, settings: ConnectionSettings
    ) -> AsyncHTTP2Connection:
        """Return a connection over `stream`, with what its pool says about all of them."""
        pings: dict[str, Any] = {
            "ping_interval": settings.ping_interval,
            "ping_timeout": settings.ping_timeout,
        }
        return cls(origin, stream, settings.keepalive_expiry, **pings)

    # Requests

    async def handle_async_request(self, request: Request) -> Response:
        """Send `request` and return its response, the body unread.

        Raises:
            ConnectionNotAvailable: no stream is free, or the connection takes no new ones;
                nothing was sent.
            LocalProtocolError: the request cannot be expressed; nothing was sent.
            ReadTimeout, WriteTimeout, RemoteProtocolError: this request failed; others on the
                connection may go on.
            ReadError, WriteError: the connection failed.
        """
        if not self.can_handle_request(request.url.origin):
            raise RuntimeError(f"request to {request.url.origin} on a connection to {self.origin}")
        return await self.handle_prepared(prepare(request, asynchronous=True))

    async def handle_prepared(self, prepared: Prepared) -> Response:
        """As `handle_async_request`, for a request that was checked and encoded before."""
        try:
            return await self.exchange(prepared, body_by_hand(prepared, logger))
        except RemoteProtocolError as exc:
            if exc.phase == NOT_SENT and self.is_draining:  # GOAWAY: another connection can take it
                raise ConnectionNotAvailable(str(exc)) from exc
            raise

    async def exchange(self, prepared: Prepared, body: AsyncResponseBody) -> Response:
        """Send one prepared request on a stream of its own and wait for its response's head."""
        exchange = AsyncHTTP2Exchange(self, prepared)
        exchange.connection = self
        body.source = exchange
        try:
            return await exchange.perform(prepared, body)
        except BaseException as exc:
            if not body.closed:
                await body.give_back(False)
            error = exchange.explain(exc, body, time.monotonic())
            try:
                if error is exc:
                    raise
                raise error from exc
            finally:
                del error  # its traceback has this frame

    # Waiting. `ready` is asked with the lock.

    async def wait_until(
        self,
        exchange: AsyncHTTP2Exchange,
        ready: Callable[[], bool],
        timeout: float | None,
        write: bool,
    ) -> None:
        """Wait until `ready()`, reading for all streams if nobody else does. Comes back as well
        when the exchange was aborted or the connection closed.

        Raises ReadTimeout after `timeout` seconds, or at the end of the total; where `write`,
        WriteTimeout after as many without progress (see `Wait`).
        """
        election, wait = self.election, Wait(exchange, timeout, write, time.monotonic())
        came: bool | None = None  # what our wait for the network gave, if we read
        bell: Waker | None = None  # if we sleep
        try:
            while True:
                if self.io.pending:
                    await self.drain(timeout)
                with self.lock:
                    if bell is not None:
                        self.sleepers.pop(exchange, None)
                    if came is not None:
                        election.reader = None
                        if came:
                            self.take_in()
                        elif self.liveness.watched:
                            self._act_on_silence(wait.missed)
                    if ready() or exchange.aborted or self.closed:
                        if self.sleepers and not self.driven and election.reader is None:
                            self.call_one()  # to read on
                        break
                    came = bell = None
                    reads = self.driven or election.reader is None
                    longest = self._longest if reads else MAX_SLEEP
                    patience = wait.next(time.monotonic(), longest, reads)
                    if self.driven or not election.enter(exchange, 0, not self.unsent):
                        bell = self._go_to_sleep(exchange)
                if self.ringing or self.deferred or self.codec.changes != self.changes_reported:
                    self.finish_deferred()
                # Who aborts it says so first, and then looks who waits.
                woken: bool = exchange.aborted
                if bell is None:
                    woken = came = woken or await self.io.wait(not election.reads_only, patience)
                elif not woken:
                    woken = await bell.acquire(patience)
                    if exchange.called and not write and ready():
                        return  # who woke us reads on
                if not woken:
                    came = False if self.driven else came
                    wait.came_back_empty(time.monotonic())
        except BaseException:
            self._withdraw(exchange)
            raise
        if self.ringing or self.deferred or self.codec.changes != self.changes_reported:
            self.finish_deferred()

    async def drain(self, timeout: float | None = None) -> None:
        """Write what a stream of another make can only write by waiting, and what had no place
        there; `timeout` as for `write_limit`."""
        try:
            limit = partial(self._write_limit, timeout)
            while await self.io.drain(limit) and self.unsent:
                with self.lock:
                    self.flush()
                    self.dispatch()
                self.finish_deferred()
        except (NetworkError, TimeoutException) as exc:
            error = WriteError(str(exc))
            error.__cause__ = exc
            with self.lock:
                self.fail_to_write(error, True)
        except BaseException:
            with self.lock:
                self.cut()
            raise

    def _write_limit(self, timeout: float | None) -> float | None:
        with self.lock:
            return self.write_limit(time.monotonic(), timeout)

    def _on_readable(self) -> None:
        """Handle the event loop's call: something has arrived."""
        with self.lock:
            pinged = self.liveness.pinged
            self.take_in()
            if self.codec.failed:
                # RFC 9113 section 5.4.1. A response that is still held would keep it open, and the
                # loop would read without end what a server goes on sending.
                self._close_stream()
            if pinged is not None and self.liveness.pinged is None:
                # All sleep until the answer to the PING was due; the next PING may be due before.
                for exchange in list(self.sleepers):
                    self.call(exchange)
        if self.ringing or self.deferred or self.codec.changes != self.changes_reported:
            self.finish_deferred()

    def _on_room(self) -> None:
        """Handle the event loop's call: there is room to write."""
        with self.lock:
            self.flush()
            self.dispatch()
        self.finish_deferred()

    def _act_on_silence(self, missed: float) -> None:
        """The reader has waited, and nothing came. Called with the lock."""
        self.act_on_silence(missed, time.monotonic())
        if self.codec.out:
            self.flush()

    def _go_to_sleep(self, exchange: AsyncHTTP2Exchange) -> Waker:
        """Return the bell by which the exchange is woken. Called with the lock."""
        bell = self.loop.make_waker()
        exchange.called = False
        self.sleepers[exchange] = bell
        return bell

    def _withdraw(self, exchange: AsyncHTTP2Exchange) -> None:
        """Neither read nor sleep any more, after an exception."""
        self.election.resign(exchange)
        with self.lock:
            self.sleepers.pop(exchange, None)
            if self.codec.out and not self.closed:
                self.flush()  # a PING, after a timeout
            if self.sleepers and not self.driven and self.election.reader is None:
                self.call_one()  # to read on
        self.finish_deferred()

    def finish_deferred(self) -> None:
        """Do what was left to do without the lock: what was deferred, then wake, then call
        `on_change`. Where this thread holds the lock, it comes here again when it has let go."""
        free = not self.lock.is_owned()
        if self.deferred and free:
            self.deferred.carry_out()
        self.ring()
        if free and self.codec.changes != self.changes_reported:
            self.report_changes()

    def ring(self) -> None:
        """Wake those who are to be woken."""
        ringing = self.ringing
        while ringing:
            with contextlib.suppress(IndexError, RuntimeError):  # another thread was here, too
                ringing.pop().release()

    # Reading and writing, with the lock

    def take_in(self) -> None:
        """Read what is there and give each stream its part."""
        codec = self.codec
        try:
            if self.aborted:
                what = f"the connection to {self.origin}"
                raise ReadError(f"{what} was ended by a close or a CancelToken")
            data = self.io.read_ready(READ_SIZE)
            if data is not None:
                if len(data) >= LARGE_RECORD:
                    data = self._read_on(data)
                self.receive(data, time.monotonic())
        except (NetworkError, ProtocolError) as exc:
            codec.abandon(exc)
        except BaseException as exc:
            self.break_off_reading(exc)
            raise
        finally:
            if self.discarded:
                self.sweep(time.monotonic())
            if self.unsent or codec.out:
                self.flush()
            if codec.widened or self.sleepers:
                self.dispatch()
            codec.touched.clear()

    def _take_in_arrived(self) -> None:
        """Take in what has arrived, without waiting; also after a failure to write, behind which
        there may be an answer or an end."""
        reads = 0
        while reads < MAX_READS and not self.codec.failed and self.io.has_arrived():
            self.take_in()
            reads += 1

    async def look(self) -> None:
        """Take in what has arrived, unless another reads for all or the connection has ended; for
        a request that has nothing to send and does not wait."""
        if self.io.pending:
            await self.drain()
        with self.lock:
            if self.election.reader is None and not self.closed:
                self._take_in_arrived()
        if self.ringing or self.deferred or self.codec.changes != self.changes_reported:
            self.finish_deferred()

    def _read_on(self, data: bytes) -> bytes:
        """A body is coming in: the more is taken in at once, the less each record costs."""
        parts = [self.codec.take_rest(), data]
        size = len(data)
        while size < READ_AT_ONCE:
            try:
                more = self.io.read_ready(READ_SIZE)
            except NetworkError:
                break
            if not more:
                break  # an end, or a failure, is met again the next time
            parts.append(more)
            size += len(more)
        return b"".join(parts)

    def flush(self) -> None:
        """Send as much as the network takes now; the session keeps the rest."""
        partly = False
        if self.write_error is not None:
            self.codec.data_to_send()  # for nobody: the last that was taken may be half a frame
            return
        try:
            data: bytes | memoryview = self.unsent or self.codec.data_to_send()
            while data:
                count = self.io.write_ready(data)
                if not count:
                    break
                partly = True
                data = self.took(data, count)
            if not data and not self.unsent:
                self.times_emptied += 1
            else:
                self.keep(data)
                if data and (self.driven or self.election.must_wake_to_write()):
                    self.io.wake()  # let it look for room, too
            if self.io.pending and not self.exchanges and self.loop.runs_here():
                await_later(self.drain, True)  # nobody waits here who would
        except WriteError as exc:
            self.fail_to_write(exc, partly)
        except BaseException:
            self.cut()
            raise

    def apply(self, change: Callable[[], T]) -> T:
        """Call `change` with the lock, send what it leaves in the codec, and return its result."""
        with self.lock:
            try:
                result = change()
            except BaseException:
                self.cut()
                raise
            if self.codec.out:
                self.flush()
        if self.deferred:
            self.finish_deferred()
        return result

    def _sweep_now(self) -> None:
        with self.lock:
            self.sweep(time.monotonic())
            self.flush()

    def discard_exchange(self, exchange: AsyncHTTP2Exchange) -> None:
        """Forget a request that the garbage collector has dropped: at any place, maybe while this
        thread has the lock."""
        self.discarded.append(exchange)
        self.deferred.append(self._sweep_now)
        if self.lock.is_free():
            self.finish_deferred()
        # Else the holder of the lock looks into the queue after it has let go.

    # State

    @property
    def is_occupied(self) -> bool:
        """Return False: no task interrupts another in the middle of using it."""
        return False

    def is_usable(self, idle_for: float) -> bool:
        """Whether it can take one more request now; an idle one is looked at first: the event loop
        may have been held up. PING, SETTINGS or GOAWAY may have arrived, or the end."""
        with self.lock:
            if self.election.reader is None and not self.closed:
                if idle_for > ACK_PATIENCE:
                    self.liveness.unproven = True
                self._take_in_arrived()
        if self.ringing or self.deferred or self.codec.changes != self.changes_reported:
            self.finish_deferred()
        return self.is_available()

    def has_expired(self) -> bool:
        if self.has_expired_at(time.monotonic()):
            return True
        return self.is_idle() and not self.is_usable(0.0)

    def avoid(self, why: BaseException) -> None:
        """Take no new requests, unless it was only for too many that the server refused one."""
        with self.lock:
            self.be_refused(why)
        self.finish_deferred()

    def abort(self) -> None:
        """End, from another thread, everything on this connection; it fails there with
        `Aborted`."""
        self.abort_all()
        abort(self.network_stream)

    def close(self) -> None:
        """Close the connection, without waiting; what is under way on it fails. Any thread may."""
        self.deferred.append(self.close_now)
        self.finish_deferred()

    async def aclose(self) -> None:
        self.close()
        if unclosed:
            await close_rest()

    def close_now(self) -> None:
        """As `close`, by code that may wait for the lock."""
        with self.lock:
            if not self.closed:
                self.closed = True
                if not self.exchanges:
                    self.codec.say_goodbye()
                    self.flush()
                self.lose(f"the connection to {self.origin} was closed")
            self._close_stream()

    def _close_stream(self) -> None:
        try:
            self.io.close()
        except Exception as exc:
            # Nothing that a request could act on; raised, it would keep the slot from its pool.
            debug(logger, "closing the connection to %s failed: %s", self.origin, exc)
