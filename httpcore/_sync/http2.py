"""One HTTP/2 connection, shared by threads.

Owns: the lock, how threads wait, and every call of the network stream. Must not know: how a
connection is chosen or opened; how HTTP/2 is framed (`_core.h2`); what follows from what came or
failed (`_core.h2_session`, `_core.h2_exchange`); what becomes of the response's body
(`response_body`).

One lock is around the codec and around every call of the network stream, and nothing waits while
it holds it: the socket is non-blocking. (OpenSSL's connection objects may not be used by two
threads at once, not even one reading and one writing.) A thread that needs something which is not
there yet does one of two things, both without the lock:

- If nobody reads, it becomes the *reader*: it waits for the network, with the timeout of its own
  request, then takes in whatever came, for all streams, and wakes those it was for.
- Else it sleeps until it is woken: because something came for it, or because the reader has what
  it wanted and leaves, and somebody else has to read on.

A signal handler or a destructor may interrupt a thread that holds the lock, or that is the reader.
It may not wait for what that thread would do next, nor touch what it is in the middle of. So what
has to be done is left to whoever lets go of the lock (see `deferred`), who then calls
`finish_deferred`.
What cannot be put off is declined: `is_usable` is False then, a request by hand is a
ConnectionNotAvailable, and what of another response has not arrived yet cannot be read.

So any thread may be the one that reads, no thread waits while its data is there, and a request's
timeout or end is its own. What the network does not take at once stays in `unsent`; the reader
sends it as soon as there is room.

Sources: RFC 9113; the reports in which this went wrong elsewhere: encode/httpx#3072 (writes out of
order), encode/httpx#3324 (GOAWAY), encode/httpcore#943 (streams closed early).
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from .._backends.base import NetworkStream
from .._backends.blocking import BlockingAdapter, without_blocking
from .._backends.fork import ForkedStream, renew_in_child
from .._backends.interrupt import abort
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
    WriteError,
)
from .._models import Request, Response
from .._settings import PING_TIMEOUT, ConnectionSettings
from .._shared.deferred import Deferred, OwnedLock
from .._trace import debug
from .._url import Origin
from .http2_exchange import HTTP2Exchange
from .interfaces import ConnectionInterface
from .response_body import ResponseBody, body_by_hand

T = TypeVar("T")

logger = logging.getLogger("httpcore.http2")

# Seconds. A thread that sleeps is woken; should the one that was to wake it be interrupted
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


class HTTP2Connection(Session, ConnectionInterface):
    """An open HTTP/2 connection that can be driven by hand. Thread-safe: several requests at once,
    from any threads.

    Parameters:
        origin: who is at the other end.
        stream: the open `NetworkStream`; the connection owns it. With `wait`, `read_ready` and
            `write_ready` (see `SyncStream`) it is used without ever blocking; else with its
            blocking methods, and then a request that is cancelled ends up to a second later.
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
        stream: NetworkStream,
        keepalive_expiry: float | None = None,
        *,
        ping_interval: float | None = None,
        ping_timeout: float = PING_TIMEOUT,
    ) -> None:
        liveness = Liveness(ping_interval, ping_timeout, time.monotonic())
        super().__init__(origin, stream, keepalive_expiry, liveness)
        # The same stream, used without blocking; and the seconds that one wait of it may take.
        self.io, self._longest = without_blocking(stream)
        self.lock = OwnedLock()
        self.deferred = Deferred()  # what is to be done by whoever lets go of the lock
        self.election = Election()
        renew_in_child(self)

    @classmethod
    def from_settings(
        cls, origin: Origin, stream: NetworkStream, settings: ConnectionSettings
    ) -> HTTP2Connection:
        """Return a connection over `stream`, with what its pool says about all of them."""
        pings: dict[str, Any] = {
            "ping_interval": settings.ping_interval,
            "ping_timeout": settings.ping_timeout,
        }
        return cls(origin, stream, settings.keepalive_expiry, **pings)

    # Requests

    def handle_request(self, request: Request) -> Response:
        """Send `request` and return its response, the body unread. Thread-safe.

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
        return self.handle_prepared(prepare(request))

    def handle_prepared(self, prepared: Prepared) -> Response:
        """As `handle_request`, for a request that was checked and encoded before."""
        if self.is_occupied:
            raise self.refuse_handler()
        try:
            return self.exchange(prepared, body_by_hand(prepared, logger))
        except RemoteProtocolError as exc:
            if exc.phase == NOT_SENT and self.is_draining:  # GOAWAY: another connection can take it
                raise ConnectionNotAvailable(str(exc)) from exc
            raise

    def exchange(self, prepared: Prepared, body: ResponseBody) -> Response:
        """Send one prepared request on a stream of its own and wait for its response's head."""
        exchange = HTTP2Exchange(self, prepared)
        exchange.connection = self
        body.source = exchange
        try:
            return exchange.perform(prepared, body)
        except BaseException as exc:
            if not body.closed:
                body.give_back(False)
            error = exchange.explain(exc, body, time.monotonic())
            try:
                if error is exc:
                    raise
                raise error from exc
            finally:
                del error  # its traceback has this frame

    # Waiting. `ready` is asked with the lock.

    def wait_until(
        self, exchange: HTTP2Exchange, ready: Callable[[], bool], timeout: float | None, write: bool
    ) -> None:
        """Wait until `ready()`, reading for all streams if nobody else does. Comes back as well
        when the exchange was aborted or the connection closed.

        Raises ReadTimeout after `timeout` seconds, or at the end of the total; where `write`,
        WriteTimeout after as many without progress (see `Wait`).
        """
        election, wait = self.election, Wait(exchange, timeout, write, time.monotonic())
        came: bool | None = None  # what our wait for the network gave, if we read
        bell: threading.Lock | None = None  # if we sleep
        try:
            while True:
                # An interrupt may come at any place, but not between a lock and its block.
                with self.lock:
                    if came is not None:
                        election.reader = None
                        if came:
                            self.take_in()
                        elif self.liveness.watched:
                            self._act_on_silence(wait.missed)
                    elif bell is not None:
                        self.sleepers.pop(exchange, None)
                    if ready() or exchange.aborted or self.closed:
                        if election.reader is None and (self.sleepers or self.closed):
                            self._stop_reading()
                        break
                    came = bell = None
                    # Only then does it read or sleep: it need not leave either for a timeout.
                    reads = election.reader is None
                    longest = self._longest if reads else MAX_SLEEP
                    patience = wait.next(time.monotonic(), longest, reads)
                    if not election.enter(exchange, threading.get_ident(), not self.unsent):
                        bell = self._go_to_sleep(exchange)
                if self.ringing or self.deferred or self.codec.changes != self.changes_reported:
                    self.finish_deferred()
                # Who aborts it says so first, and then looks who waits.
                woken: bool = exchange.aborted
                if bell is None:
                    woken = came = woken or self.io.wait(not election.reads_only, patience)
                elif not woken:
                    woken = bell.acquire(timeout=patience)  # type: ignore[arg-type]
                    if exchange.called and not write and ready():
                        return  # who woke us reads on
                if not woken:
                    wait.came_back_empty(time.monotonic())
        except BaseException:
            self._withdraw(exchange)
            raise
        if self.ringing or self.deferred or self.codec.changes != self.changes_reported:
            self.finish_deferred()

    def _act_on_silence(self, missed: float) -> None:
        """The reader has waited, and nothing came. Called with the lock."""
        self.act_on_silence(missed, time.monotonic())
        if self.codec.out:
            self.flush()

    def _go_to_sleep(self, exchange: HTTP2Exchange) -> threading.Lock:
        """Return the bell by which the exchange is woken. Called with the lock."""
        bell = threading.Lock()
        bell.acquire()
        exchange.called = False
        self.sleepers[exchange] = bell
        return bell

    def _withdraw(self, exchange: HTTP2Exchange) -> None:
        """Neither read nor sleep any more, after an exception."""
        self.election.resign(exchange)
        with self.lock:
            self.sleepers.pop(exchange, None)
            if self.codec.out and not self.closed:
                self.flush()  # a PING, after a timeout
            if self.election.reader is None and (self.sleepers or self.closed):
                self._stop_reading()
        self.finish_deferred()

    def _stop_reading(self) -> None:
        """Let somebody else read on. Who reads last closes what was closed meanwhile."""
        if self.closed:
            self._close_stream()
        self.call_one()

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
        while reads < MAX_READS and not self.codec.failed and self.io.wait(False, 0):
            self.take_in()
            reads += 1

    def look(self) -> None:
        """Take in what has arrived, unless another reads for all or the connection has ended; for
        a request that has nothing to send and does not wait."""
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
        if type(self.io) is BlockingAdapter:
            self.io.patience = self.write_limit(time.monotonic())
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
                if data and self.election.must_wake_to_write():
                    self.io.wake()
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

    def discard_exchange(self, exchange: HTTP2Exchange) -> None:
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
        """Whether this thread is in the middle of using it: who asks has interrupted that."""
        if self.lock.is_owned():
            return True
        election = self.election
        return election.reader is not None and election.thread == threading.get_ident()

    def is_usable(self, idle_for: float) -> bool:
        """Whether it can take one more request now; an idle one is looked at first. PING, SETTINGS
        or GOAWAY may have arrived, or the end."""
        if self.is_occupied:
            return False
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
        return self.is_idle() and not (self.is_occupied or self.is_usable(0.0))

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
        """Close the connection; what is under way on it fails. Any thread may, and a signal
        handler: then it is closed as soon as the interrupted code has let go of it."""
        self.deferred.append(self.close_now)
        self.finish_deferred()

    def close_now(self) -> None:
        """As `close`, by a thread that may wait for the lock."""
        with self.lock:
            if not self.closed:
                self.closed = True
                if not self.exchanges:
                    self.codec.say_goodbye()
                    self.flush()
                self.lose(f"the connection to {self.origin} was closed")
            if self.election.reader is not None:
                abort(self.network_stream)  # whoever reads closes it: the descriptor is in use
            else:
                self._close_stream()

    def _close_stream(self) -> None:
        try:
            self.io.close()
        except Exception as exc:
            # Nothing that a request could act on; raised, it would keep the slot from its pool.
            debug(logger, "closing the connection to %s failed: %s", self.origin, exc)

    def _renew_in_child(self) -> None:
        """In the child of a fork: the connection is the parent's, and CLOSED here."""
        self.lock = OwnedLock()
        self.deferred = Deferred()
        self.election.reader = None
        if not self.closed:
            self.network_stream = ForkedStream(self.network_stream, self.disown())
            self.io, self._longest = without_blocking(self.network_stream)
