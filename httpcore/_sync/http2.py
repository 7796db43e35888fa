"""One HTTP/2 connection, shared by threads.

Owns: who reads from the connection and who waits, and the order of what is written. Must not
know: how a connection is chosen or opened; how HTTP/2 is framed (that is `_core.h2`); what becomes
of the response's body (`response_body`).

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
has to be done is left to whoever lets go of the lock (see `deferred`), who then calls `_settle`.
What cannot be put off is declined: `is_usable` is False then, a request by hand is a
ConnectionNotAvailable, and what of another response has not arrived yet cannot be read.

So any thread may be the one that reads, no thread waits while its data is there, and a request's
timeout or end is its own. What the network does not take at once stays in `_unsent`; the reader
sends it as soon as there is room.

Sources: RFC 9113; the reports in which this went wrong elsewhere: encode/httpx#3072 (writes out of
order), encode/httpx#3324 (GOAWAY), encode/httpcore#943 (streams closed early).
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import types
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .._backends.base import NetworkStream
from .._backends.blocking import BlockingAdapter, without_blocking
from .._backends.fork import ForkedStream, renew_in_child
from .._backends.interrupt import abort
from .._core.deadline import uncounted
from .._core.h1 import CHUNKED
from .._core.h2_liveness import PING, Liveness
from .._core.limits import ACK_PATIENCE, CONTINUE_PATIENCE, READ_SIZE, WRITE_SIZE
from .._core.prepared import (
    Prepared,
    body_parts,
    expects_continue,
    framed_parts,
    prepare,
)
from .._core.upload import CLOSING_PATIENCE, HAND_OVER, LISTEN, SEND, STOP, UploadPlan, smaller
from .._exceptions import (
    MAYBE_PROCESSED,
    NOT_SENT,
    ConnectionNotAvailable,
    LocalProtocolError,
    NetworkError,
    ProtocolError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    ServerDisconnected,
    TimeoutException,
    WriteError,
    WriteTimeout,
    without_frames,
)
from .._models import Request, Response, describe, received_response
from .._settings import PING_TIMEOUT, ConnectionSettings
from .._timings import ConnectionInfo
from .._trace import Trace, debug
from .._url import Origin
from .deferred import Deferred, OwnedLock
from .interfaces import ConnectionInterface
from .response_body import ResponseBody, body_by_hand

if TYPE_CHECKING:
    from .._core.h2 import Stream

logger = logging.getLogger("httpcore.http2")

# How many requests at once are taken to be possible until the server says it: what RFC 9113
# section 6.5.2 recommends as the least. Only one is sent before that.
ASSUMED_STREAMS = 100

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

PING_DATA = b"httpcore"  # eight bytes that come back


class HTTP2Connection(ConnectionInterface):
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
        from .._core.h2 import Codec, request_fields  # and h2 with it: not before it is needed

        self._origin = origin
        self._stream = stream
        self._request_fields = request_fields
        self._io, self._longest = without_blocking(stream)
        self._keepalive_expiry = keepalive_expiry
        self._codec = Codec()
        self._lock = OwnedLock()
        self._deferred = Deferred()  # what is to be done by whoever lets go of the lock
        self._exchanges: dict[Exchange, None] = {}
        # Those that the garbage collector has dropped, which may not take the lock.
        self._discarded: deque[Exchange] = deque()
        self._reader: Exchange | None = None
        self._reading = 0  # the thread of the reader
        self._reads_only = False  # the reader does not wait for room to write
        self._sleepers: dict[Exchange, threading.Lock] = {}
        self._ringing: list[threading.Lock] = []  # of those who are to be woken
        self._unsent: bytes | memoryview = b""
        self._taken = 0  # times that a part of it was taken
        self._emptied = 0  # times that all of it was
        self._write_error: WriteError | None = None
        self._closed = False
        self.request_count = 0
        self._expires: float | None = None
        self._liveness = Liveness(ping_interval, ping_timeout, time.monotonic())
        self._changes = 0  # of the codec, as far as `on_change` was told
        self.aborted = False  # another thread wants all of it to end
        self.facts = ConnectionInfo(stream, "HTTP/2")
        self.on_change: Callable[[], None] | None = None
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
            raise RuntimeError(f"request to {request.url.origin} on a connection to {self._origin}")
        return self.handle_prepared(prepare(request))

    def handle_prepared(self, prepared: Prepared) -> Response:
        """As `handle_request`, for a request that was checked and encoded before."""
        if self.is_occupied:
            raise ConnectionNotAvailable(
                f"the connection to {self._origin} is in use by the code that this signal handler "
                "has interrupted; nothing was sent"
            )
        try:
            return self.exchange(prepared, body_by_hand(prepared, logger))
        except RemoteProtocolError as exc:
            if exc.phase == NOT_SENT and self.is_draining:  # GOAWAY: another connection can take it
                raise ConnectionNotAvailable(str(exc)) from exc
            raise

    def exchange(self, prepared: Prepared, body: ResponseBody) -> Response:
        """Send one prepared request on a stream of its own and wait for its response's head."""
        exchange = Exchange(self, prepared)
        body.source = exchange
        exchange.since = body.marks.ready
        trace = body.trace
        try:
            if body.aborted:
                exchange.aborted = True
            if trace is None:
                exchange.send(prepared)
                body.marks.sent = time.monotonic()
                exchange.receive_head(prepared.timeouts.read)
            else:
                exchange.send_traced(prepared, trace)
                body.marks.sent = time.monotonic()
                exchange.receive_head_traced(prepared.timeouts.read, trace)
            body.marks.headed = time.monotonic()
            return exchange.respond(prepared.timeouts.read, body)
        except BaseException as exc:
            if not body.closed:
                body.give_back(False)
            if isinstance(exc, ConnectionNotAvailable):
                raise
            if prepared.deadline is not None and isinstance(exc, TimeoutException):
                prepared.deadline.explain(exc)
            if body.aborted or self.aborted or exchange.aborted:
                raise body.explain_abort(exc) from exc
            raise

    # WakeablePoll. `ready` is asked under the lock.

    def wait_until(
        self, exchange: Exchange, ready: Callable[[], bool], timeout: float | None, write: bool
    ) -> None:
        """Wait until `ready()`, reading for all streams if nobody else does. Comes back as well
        when the exchange was aborted or the connection closed.

        Raises ReadTimeout after `timeout` seconds; where `write`, WriteTimeout after as many
        without `_Progress`.
        """
        end = None if timeout is None else time.monotonic() + timeout
        progress = _Progress(self, exchange) if write and end is not None else None
        came: bool | None = None  # what our wait for the network gave, if we read
        missed = 0.0  # seconds of the last wait, which came back empty, that no clock has counted
        bell: threading.Lock | None = None  # if we sleep
        try:
            while True:
                # An interrupt may come at any place, but not between a lock and its block.
                with self._lock:
                    if came is not None:
                        self._reader = None
                        if came:
                            self._take_in()
                        elif self._liveness.watched:
                            self._look_after_silence(missed)
                        came = None
                    elif bell is not None:
                        self._sleepers.pop(exchange, None)
                        bell = None
                    if ready() or exchange.aborted or self._closed:
                        if self._reader is None and (self._sleepers or self._closed):
                            self._hand_over()
                        break
                    now = time.monotonic()
                    if progress is not None and progress.was_made():
                        end = now + (exchange._left(timeout) or 0.0)
                    left = None if end is None else end - now
                    if left is not None and left <= 0:
                        raise self._timed_out(timeout, write, exchange)
                    bell, patience = self._take_role(exchange, left)
                if self._ringing or self._deferred:
                    self._settle()
                if self._codec.changes != self._changes:
                    self._tell_pool()
                # Who aborts it says so first, and then looks who waits.
                woken: bool = exchange.aborted
                if bell is None:
                    woken = came = woken or self._io.wait(not self._reads_only, patience)
                elif not woken:
                    woken = bell.acquire(timeout=patience)  # type: ignore[arg-type]
                    if exchange.called and not write and ready():
                        return  # who woke us reads on
                missed = 0.0 if woken else exchange.miss(now, patience)
                if missed and end is not None:
                    end -= missed
        except BaseException:
            self._withdraw(exchange)
            raise
        if self._ringing or self._deferred:
            self._settle()
        if self._codec.changes != self._changes:
            self._tell_pool()

    def _take_role(
        self, exchange: Exchange, left: float | None
    ) -> tuple[threading.Lock | None, float | None]:
        """For how many seconds its thread should wait, and by which bell it is woken; without one
        it is the reader. Called with the lock."""
        if self._reader is None:
            self._reading = threading.get_ident()
            self._reader = exchange
            self._reads_only = not self._unsent
            if self._liveness.watched:
                left = self._liveness.patience(left, time.monotonic())
            return None, left if left is None else min(left, self._longest)
        bell = threading.Lock()
        bell.acquire()
        exchange.called = False
        self._sleepers[exchange] = bell
        return bell, MAX_SLEEP if left is None else min(left, MAX_SLEEP)

    def _withdraw(self, exchange: Exchange) -> None:
        """Neither read nor sleep any more, after an exception."""
        if self._reader is exchange:
            self._reader = None
        with self._lock:
            self._sleepers.pop(exchange, None)
            if self._reader is None and (self._sleepers or self._closed):
                self._hand_over()
        self._settle()
        if self._codec.changes != self._changes:
            self._tell_pool()

    # Who is to be woken is settled with the lock, and woken without it: it would run into it.

    def _hand_over(self) -> None:
        """Wake somebody to read on. Who reads last closes what was closed meanwhile."""
        if self._closed:
            self._close_stream()
        for exchange in list(self._sleepers):
            if self._call(exchange):
                return

    def _call(self, exchange: Exchange) -> bool:
        """Let its thread be woken, if it sleeps."""
        bell = self._sleepers.pop(exchange, None)
        if bell is None:
            return False
        self._ringing.append(bell)
        return True

    def _settle(self) -> None:
        """Do what was left to do without the lock: what was deferred, then wake. Where this thread
        holds the lock, it comes here again when it has let go."""
        if self._deferred and not self._lock.is_owned():
            self._deferred.carry_out()
            if self._codec.changes != self._changes:
                self._tell_pool()
        self._ring()

    def _ring(self) -> None:
        ringing = self._ringing
        while ringing:
            with contextlib.suppress(IndexError, RuntimeError):  # another thread was here, too
                ringing.pop().release()

    def _timed_out(
        self, timeout: float | None, write: bool, exchange: Exchange
    ) -> TimeoutException:
        """What to raise; and the connection has to show that it is alive."""
        refused = write and exchange.waits_for_server
        if timeout and (not write or (self._unsent and not refused)) and not self._codec.draining:
            self._ping()
        if write:
            why = "the server has opened no window" if refused else "no byte taken"
            return WriteTimeout(f"write to {self._origin} timed out: {why} within {timeout:g} s")
        return ReadTimeout(
            f"read from {self._origin} timed out: no byte of the response within {timeout:g} s"
        )

    # Reading

    def _take_in(self) -> None:
        """Read what is there and give each stream its part. Called with the lock."""
        codec = self._codec
        try:
            if self.aborted:
                raise ReadError(f"the connection to {self._origin} was ended by another thread")
            data = self._io.read_ready(READ_SIZE)
            if data and len(data) >= LARGE_RECORD:
                data = self._read_on(data)
            if data:
                now = time.monotonic()
                if self._liveness.watched or self._liveness.unproven:
                    self._liveness.hear(now)
                codec.receive(data, now)
                if self._liveness.pinged is not None and codec.pongs:
                    codec.pongs = 0
                    self._liveness.pinged = None
                    codec.changes += 1
            elif data is not None:
                codec.receive_eof()
        except (NetworkError, ProtocolError) as exc:
            codec.abandon(exc)
        except BaseException as exc:
            # Cut in the middle of a frame: what is true of the connection nobody knows any more.
            codec.abandon(ReadError(f"reading from {self._origin} was interrupted: {exc!r}"))
            raise
        finally:
            if self._discarded:
                self._sweep()
            if self._unsent or codec.has_data_to_send:
                self._flush()
            if codec.widened or self._sleepers:
                self._dispatch()
            codec.touched.clear()

    def _read_on(self, data: bytes) -> bytes:
        """A body is coming in: the more is taken in at once, the less each record costs."""
        parts = [self._codec.take_rest(), data]
        size = len(data)
        while size < READ_AT_ONCE:
            try:
                more = self._io.read_ready(READ_SIZE)
            except NetworkError:
                break
            if not more:
                break  # an end, or a failure, is met again the next time
            parts.append(more)
            size += len(more)
        return b"".join(parts)

    def _dispatch(self) -> None:
        """Wake the threads that something came for."""
        codec = self._codec
        if codec.widened:
            codec.widened = False
            for exchange in list(self._sleepers):
                self._call(exchange)
        elif self._sleepers:
            for stream in codec.touched:
                if stream.owner in self._sleepers:
                    stream.owner.called = True
                    self._call(stream.owner)

    # Writing

    def _flush(self) -> None:
        """Send as much as the network takes now; the rest is `_unsent`, and what comes behind it
        stays with the codec, which limits it. Called with the lock."""
        partly = False
        codec = self._codec
        try:
            data: bytes | memoryview = self._unsent or codec.data_to_send()
            while data:
                sent = self._io.write_ready(data)
                if not sent:
                    break
                partly = True
                if self._unsent or sent < len(data):
                    self._taken += 1
                if sent < len(data):
                    data = memoryview(data)[sent:]
                else:
                    data = codec.data_to_send() if codec.has_data_to_send else b""
            if not data:
                codec.widened = codec.widened or bool(self._unsent)
                self._unsent = b""
                self._emptied += 1
                return
            self._unsent = data
            if self._reader is not None and self._reads_only:
                self._reads_only = False
                self._io.wake()  # it waits for bytes to read, and now there are some to send
        except WriteError as exc:
            # What the server said before it closed may still be there to be read.
            if partly:
                exc.phase = MAYBE_PROCESSED
            if self._write_error is None:
                self._write_error = without_frames(exc)
            codec.drain(str(exc))
            codec.widened = True
            self._unsent = b""
        except BaseException:
            self._cut()
            raise

    def _cut(self) -> None:
        """Something was interrupted in the middle: what the server has seen nobody knows. Called
        with the lock."""
        self._unsent = b""
        self._codec.abandon(ReadError(f"sending to {self._origin} was interrupted"))

    def _sweep(self) -> None:
        """End the streams of requests that nobody holds any more. Called with the lock."""
        while self._discarded:
            exchange = self._discarded.popleft()
            self._leave(exchange)
            if exchange.stream is not None:
                exchange.stream.owner = None
                self._codec.close_stream(exchange.stream)

    def _sweep_now(self) -> None:
        with self._lock:
            self._sweep()
            self._flush()

    def _leave(self, exchange: Exchange) -> None:
        if self._exchanges.pop(exchange, 0) is None and not self._exchanges:
            if self._keepalive_expiry is not None:
                self._expires = time.monotonic() + self._keepalive_expiry

    # Signs of life

    def _ping(self) -> None:
        """Until the server has answered it, no request joins. Called with the lock."""
        if self._liveness.ping(time.monotonic()):
            self._codec.changes += 1
            self._codec.ping(PING_DATA)
            self._flush()

    def _look_after_silence(self, missed: float) -> None:
        """Act on silence that has lasted too long. Called with the lock by the reader, whose wait
        came back empty; the clock has not counted `missed` seconds of it."""
        liveness = self._liveness
        if missed:
            liveness.miss(missed)
        now = time.monotonic()
        unacknowledged = liveness.is_ack_overdue(now) and bool(
            self._stream.get_extra_info("unacknowledged")
        )
        action = liveness.act(now, self.request_count, unacknowledged)
        if action == PING:
            self._ping()
        elif action:
            self._give_up(liveness.explain(action, self._origin))

    def _give_up(self, why: str) -> None:
        self._codec.abandon(ReadError(why))
        self._codec.touched.clear()
        self._closed = True
        self._dispatch()

    def is_usable(self, idle_for: float) -> bool:
        """Whether it can take one more request now; an idle one is looked at first. PING, SETTINGS
        or GOAWAY may have arrived, or the end."""
        if self.is_occupied:
            return False
        with self._lock:
            if self._reader is None and not self._closed:
                if idle_for > ACK_PATIENCE:
                    self._liveness.unproven = True
                reads = 0
                while reads < MAX_READS and not self._codec.draining and self._io.wait(False, 0):
                    self._take_in()
                    reads += 1
        if self._ringing or self._deferred:
            self._settle()
        if self._codec.changes != self._changes:
            self._tell_pool()
        return self.is_available()

    def avoid(self, why: BaseException) -> None:
        """The server refused a request unread. Unless there were too many, it would refuse others,
        too: no new ones come here."""
        with self._lock:
            if self._codec.open_streams < self._codec.max_streams:
                self._codec.drain(str(why))
        if self._deferred:
            self._settle()
        if self._codec.changes != self._changes:
            self._tell_pool()

    def _tell_pool(self) -> None:
        self._changes = self._codec.changes
        if self.on_change is not None:
            self.on_change()

    # State

    @property
    def max_streams(self) -> int:
        """How many requests may be under way at once, now: what the server allows, and none while
        it owes us the answer to a PING."""
        if not self.is_available():
            return 0
        return self._codec.max_streams if self._codec.settled else ASSUMED_STREAMS

    @property
    def is_occupied(self) -> bool:
        """Whether this thread is in the middle of using it: who asks has interrupted that."""
        if self._lock.is_owned():
            return True
        return self._reader is not None and self._reading == threading.get_ident()

    @property
    def is_draining(self) -> bool:
        """Whether it takes no new requests any more, for good."""
        return bool(self._codec.draining) or self._closed or self.aborted

    @property
    def open_streams(self) -> int:
        """How many requests are under way."""
        return self._codec.open_streams

    @property
    def serving(self) -> Request | None:
        """The oldest request whose response is not at its end, for people and error texts."""
        for exchange in list(self._exchanges):
            return exchange.request
        return None

    @property
    def since(self) -> float | None:
        """When that one got its stream, by `time.monotonic`."""
        for exchange in list(self._exchanges):
            return exchange.since
        return None

    def abort(self) -> None:
        """End, from another thread, everything on this connection; it fails there with
        `Aborted`."""
        self.aborted = True
        self._codec.drain("it was ended by another thread")
        for exchange in list(self._exchanges):
            exchange.aborted = True
        abort(self._stream)

    def close(self) -> None:
        """Close the connection; what is under way on it fails. Any thread may, and a signal
        handler: then it is closed as soon as the interrupted code has let go of it."""
        self._deferred.append(self._close_now)
        self._settle()

    def _close_now(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                if not self._exchanges:
                    self._codec.say_goodbye()
                    self._flush()
                self._codec.abandon(ReadError(f"the connection to {self._origin} was closed"))
                self._codec.touched.clear()
                self._dispatch()
            if self._reader is not None:
                abort(self._stream)  # whoever reads closes it: the descriptor is in use
            else:
                self._close_stream()

    def _keep_session(self) -> None:
        """The peer has answered, so the next connection to it may resume this one's TLS."""
        keep = getattr(self._stream, "keep_session", None)
        if keep is not None:
            keep()

    def _close_stream(self) -> None:
        try:
            self._io.close()
        except Exception as exc:
            # Nothing that a request could act on; raised, it would keep the slot from its pool.
            debug(logger, "closing the connection to %s failed: %s", self._origin, exc)

    def _renew_in_child(self) -> None:
        """In the child of a fork: the connection is the parent's, and CLOSED here."""
        self._lock = OwnedLock()
        self._deferred = Deferred()
        self._reader = None
        self._sleepers = {}
        if self._closed:
            return
        self._closed = True
        why = (
            f"the connection to {self._origin} belongs to the parent process, and so do its "
            "responses; the child of a fork must send a request of its own"
        )
        self._stream = ForkedStream(self._stream, why)
        self._io, self._longest = without_blocking(self._stream)
        self._unsent = b""
        self._codec.abandon(ReadError(why))
        for exchange in self._exchanges:
            if exchange.stream is not None:  # also of what has arrived whole
                exchange.stream._parts.clear()
                exchange.stream.ended = False
                exchange.stream.failure = ReadError(f"{why} ({describe(exchange.request)})")

    def can_handle_request(self, origin: Origin) -> bool:
        return origin == self._origin

    def is_available(self) -> bool:
        return not (self._closed or self.aborted or self._codec.draining or self._liveness.pinged)

    def has_expired(self) -> bool:
        if self._exchanges or self._closed:
            return False
        expires = self._expires
        if expires is not None and time.monotonic() >= expires:
            return True
        return not (self.is_occupied or self.is_usable(0.0))

    def is_idle(self) -> bool:
        return not self._exchanges and not self._closed

    def is_closed(self) -> bool:
        return self._closed

    @property
    def _state(self) -> str:
        return "CLOSED" if self._closed else "ACTIVE" if self._exchanges else "IDLE"

    def info(self) -> str:
        origin = str(self._origin)
        return f"{origin!r}, HTTP/2, {self._state}, Request Count: {self.request_count}"

    def __repr__(self) -> str:
        origin = str(self._origin)
        return (
            f"<{self.__class__.__name__} [{origin!r}, {self._state}, "
            f"Request Count: {self.request_count}]>"
        )


class Exchange:
    """One request on an HTTP/2 connection: what a response's body takes for its connection.

    It belongs to one thread at a time; `abort` may come from any.
    """

    __slots__ = (
        "_asks",
        "_connection",
        "_deadline",
        "_queued",
        "_reused",
        "_state",
        "_upload",
        "aborted",
        "called",
        "request",
        "since",
        "stream",
    )

    protocol = "http2"  # of the names of its trace events
    unclean_eof = False

    def __init__(self, connection: HTTP2Connection, prepared: Prepared) -> None:
        self._connection = connection
        self._deadline = prepared.deadline
        self._queued = -1  # what `_emptied` was when it last gave bytes to be sent
        self._asks = False  # it waits for the server's leave to send the body
        self._state = "ACTIVE"
        self._reused = False
        self._upload: Upload | None = None  # the body, when it did not leave with the head
        self.request = prepared.request
        self.since: float | None = None
        self.stream: Stream | None = None
        self.aborted = False
        self.called = False  # it slept, and was woken because something came for it

    @property
    def waits_for_server(self) -> bool:
        """Whether the network has taken all of its bytes, and only the server can let it go on:
        by opening its window, or by its answer to ``Expect``."""
        if self._queued == self._connection._emptied:
            return False
        assert self.stream is not None
        return self._asks or not self._connection._codec.send_window(self.stream)

    def miss(self, began: float, seconds: float | None) -> float:
        """Return how much of a wait that came back empty the clock has not counted; the total of
        the request has."""
        missed = 0.0 if seconds is None else uncounted(began, seconds, time.monotonic())
        if self._deadline is not None:
            self._deadline.at -= missed
        return missed

    # Sending

    def send(self, prepared: Prepared) -> None:
        """Open the stream and send the request, as far as the server wants it."""
        if self._open(prepared) or self._connection._unsent:
            self._send_body(prepared, prepared.timeouts.write)

    def send_traced(self, prepared: Prepared, trace: Trace) -> None:
        """As `send`, telling `trace`."""
        connection = self._connection
        if not connection.request_count:
            with _Traced(trace, "send_connection_init", request=self.request):
                with connection._lock:
                    connection._flush()
                if connection._write_error is not None:
                    raise self._explain(connection._write_error, NOT_SENT)
        # A stream gets its number in one step with being sent, so there is none to tell before.
        with _Traced(trace, "send_request_headers", request=self.request, stream_id=None):
            more = self._open(prepared)
        assert self.stream is not None
        with _Traced(trace, "send_request_body", request=self.request, stream_id=self.stream.id):
            if more or connection._unsent:
                self._send_body(prepared, prepared.timeouts.write)

    def _open(self, prepared: Prepared) -> bool:
        """Send the head, and a small body with it; whether there is more to send."""
        connection, codec = self._connection, self._connection._codec
        request = prepared.request
        target = request.url.target
        fields = connection._request_fields(
            request.method, request.url.scheme, target, request.headers
        )
        if type(connection._io) is BlockingAdapter:
            connection._io.patience = prepared.timeouts.write
        content = prepared.content
        end = prepared.length == 0
        while True:
            if not codec.settled:
                self._await_settings(prepared.timeouts.read)
            with connection._lock:
                if (
                    self.aborted
                    or connection.aborted
                    or connection._closed
                    or connection._discarded
                ):
                    self._check_in()
                if not codec.settled and not self._is_settled():
                    continue  # another thread was first
                try:
                    self.stream = stream = codec.open_stream(fields, target, end)
                    stream.owner = self
                    self._reused = connection.request_count > 0
                    connection.request_count += 1
                    liveness = connection._liveness
                    if (liveness.unproven or liveness.watched) and not connection._exchanges:
                        liveness.begin_waiting(time.monotonic(), connection.request_count)
                    connection._exchanges[self] = None
                    self._queued = connection._emptied
                    if content is not None and not end:
                        if len(content) <= codec.send_window(stream) and not expects_continue(
                            prepared
                        ):
                            codec.send_data(stream, content, True)
                            end = True
                    connection._flush()
                except (ConnectionNotAvailable, LocalProtocolError):
                    raise
                except BaseException:
                    connection._cut()
                    raise
                if connection._write_error is not None:
                    raise self._explain(connection._write_error, connection._write_error.phase)
                break
        if connection._deferred:
            connection._settle()
        return not end

    def _check_in(self) -> None:
        """Raise what keeps the request from being sent here, or make room. Called with the lock."""
        connection = self._connection
        if self.aborted or connection.aborted:
            raise _not_sent(ReadError("aborted before it was sent"))
        if connection._closed:
            raise ConnectionNotAvailable(f"the connection to {connection._origin} is closed")
        if connection._discarded:
            connection._sweep()

    def _await_settings(self, timeout: float | None) -> None:
        """How many streams there may be is not known yet, so until then there is one. The answer is
        on its way."""
        try:
            self._connection.wait_until(self, self._is_settled, self._left(timeout), False)
        except TimeoutException as exc:
            raise _not_sent(exc)

    def _explain(self, failure: WriteError, phase: str) -> WriteError | WriteTimeout:
        """What to raise when the connection could not be written to."""
        kind = WriteTimeout if isinstance(failure.__cause__, WriteTimeout) else WriteError
        error = kind(f"{failure} ({describe(self.request)})")
        error.phase = phase
        error.__cause__ = failure
        return error

    def _send_body(self, prepared: Prepared, timeout: float | None) -> None:
        connection, stream = self._connection, self.stream
        assert stream is not None
        self._upload = upload = Upload(self, prepared, timeout)
        if connection._unsent:
            upload.wait(self._has_left_us, timeout)
        if stream.sent_all:
            self._upload = None
            return
        if expects_continue(prepared):
            upload.ask(timeout)
        upload.send_on()

    def _pass(self, part: bytes, position: int, end: bool = False) -> int:
        """Give what the windows allow of `part` to the network; how far that is, or -1 when the
        server wants no more."""
        connection, codec, stream = self._connection, self._connection._codec, self.stream
        assert stream is not None
        size = min(len(part), position + WRITE_SIZE)
        with connection._lock:
            if self._is_useless():
                return -1
            try:
                self._queued = connection._emptied
                while position < size:
                    window = codec.send_window(stream)
                    if not window:
                        break
                    codec.send_data(stream, part[position : position + window])
                    position = min(len(part), position + window)
                if end:
                    codec.end_request(stream)
                connection._flush()
            except BaseException:
                connection._cut()
                raise
        if connection._deferred:
            connection._settle()
        return position

    def _is_useless(self) -> bool:
        """Whether nobody takes any more of the body: the stream or the connection has ended."""
        stream = self.stream
        assert stream is not None
        if stream.failure is not None or self.aborted or self._connection._write_error is not None:
            return True
        return stream.status is not None and not self._connection._codec.is_open(stream)

    def _take_as_whole(self) -> None:
        """End the stream, if all that its response announced is there."""
        connection, stream = self._connection, self.stream
        assert stream is not None
        with connection._lock:
            if stream.is_whole and not stream.ended:
                try:
                    connection._codec.end_stream(stream)
                    connection._flush()
                except BaseException:
                    connection._cut()
                    raise
        if connection._deferred:
            connection._settle()

    def listen(self, ready: Callable[[], bool], patience: float | None) -> bool:
        """Send nothing for so many seconds, or until `ready()`; whether it is."""
        self._asks = True
        try:
            self._connection.wait_until(self, ready, self._left(patience), True)
        except WriteTimeout:
            if self._deadline is not None and self._deadline.passed:
                raise
            return False
        finally:
            self._asks = False
        return True

    # What is waited for

    def _is_settled(self) -> bool:
        codec = self._connection._codec
        return codec.settled or not codec.open_streams or bool(codec.draining)

    def _has_left_us(self) -> bool:
        return self._queued != self._connection._emptied or self._is_useless()

    def _may_send(self) -> bool:
        connection, stream = self._connection, self.stream
        assert stream is not None
        if self._is_useless():
            return True
        # Behind others' bytes there is always a place for some of its own: they would keep it out
        # for ever if it had to meet the moment in which there are none.
        left = self._queued != connection._emptied
        return left and connection._codec.send_window(stream) > 0

    def _has_news(self) -> bool:
        stream = self.stream
        assert stream is not None
        return stream.status is not None or bool(stream.informational) or stream.failure is not None

    def _has_payload(self) -> bool:
        stream = self.stream
        assert stream is not None
        return stream.readable

    # Receiving

    def receive_head_traced(self, timeout: float | None, trace: Trace) -> None:
        """As `receive_head`, telling `trace`."""
        stream = self.stream
        assert stream is not None
        with _Traced(
            trace, "receive_response_headers", request=self.request, stream_id=stream.id
        ) as details:
            self.receive_head(timeout)
            details["return_value"] = (stream.status, stream.headers)

    def receive_head(self, timeout: float | None) -> None:
        """Wait for the head of the final response."""
        stream = self.stream
        assert stream is not None
        while stream.status is None or stream.informational:
            left = timeout if self._deadline is None else self._deadline.left(timeout)
            self._connection.wait_until(self, self._has_news, left, False)
            if stream.informational:
                self._pass_on(stream)
            elif stream.status is None:
                raise self._failure()

    def _pass_on(self, stream: Stream) -> None:
        """Let the caller see the interim responses."""
        connection = self._connection
        with connection._lock:
            informational, stream.informational = stream.informational, []
        if connection._deferred:
            connection._settle()
        hook = self.request.extensions.get("informational")
        if hook is not None:
            for status, headers in informational:
                hook(status, headers)

    def respond(self, timeout: float | None, body: ResponseBody) -> Response:
        """The response, with as much of its body as has arrived."""
        connection, stream = self._connection, self.stream
        assert stream is not None and stream.status is not None
        body.reader = stream
        body.timeout = timeout
        body.reusable = True
        if body.trace is not None:
            body.told = False
        network_stream = connection._stream
        if self._upload is not None and self._upload.hand_over():
            body.upload = self._upload
            body.reusable = False  # closed now, it ends the stream and reads nothing away
        if stream._parts:
            with connection._lock:
                body.pending = connection._codec.take(stream, READ_SIZE)
            if connection._deferred:
                connection._settle()
        if stream.done:
            body.end()
        extensions = {
            "http_version": b"HTTP/2",
            "network_stream": network_stream,
            "stream_id": stream.id,
            "reused": self._reused,
            "timings": body.marks,
            "connection": connection.facts,
        }
        return received_response(stream.status, stream.headers, body, extensions)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Payload that has arrived, at least one byte; ``b""`` at the end of the body."""
        self._await_payload(timeout)
        connection, stream = self._connection, self.stream
        assert stream is not None
        with connection._lock:
            data = connection._codec.take(stream, max_bytes)
            if connection._codec.has_data_to_send:
                connection._flush()
        if connection._deferred:
            connection._settle()
        return data

    def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """As `read`, into `buffer`; 0 at the end of the body."""
        self._await_payload(timeout)
        connection, stream = self._connection, self.stream
        assert stream is not None
        with connection._lock:
            count = connection._codec.take_into(stream, buffer)
            if connection._codec.has_data_to_send:
                connection._flush()
        if connection._deferred:
            connection._settle()
        return count

    def _await_payload(self, timeout: float | None) -> None:
        connection, stream = self._connection, self.stream
        assert stream is not None
        if connection._lock.is_owned() or (not stream.readable and connection.is_occupied):
            raise ReadError(
                f"the response to {describe(self.request)} cannot be read by a signal handler that "
                "has interrupted this thread in the middle of using the same connection"
            )
        if not stream.readable:
            try:
                if self._upload is not None:
                    self._upload.send_while_waiting(timeout)
                self._connection.wait_until(self, self._has_payload, self._left(timeout), False)
            except TimeoutException as exc:
                if self._deadline is not None:
                    self._deadline.explain(exc)
                raise
        if not stream._parts and not stream.ended:
            raise self._failure()

    def _failure(self) -> BaseException:
        stream = self.stream
        if self.aborted or stream is None or stream.failure is None:
            return ReadError(f"{describe(self.request)} was ended by another thread")
        error = self._connection._write_error
        said_nothing = isinstance(stream.failure, (NetworkError, ServerDisconnected))
        if error is not None and stream.status is None and said_nothing:
            # The server went away while the request was sent, and left no word about it.
            return self._explain(error, MAYBE_PROCESSED)
        return stream.failure

    def _left(self, timeout: float | None) -> float | None:
        return timeout if self._deadline is None else self._deadline.left(timeout)

    # The end

    def finish(self, reusable: bool, complete: bool) -> bool:
        """The request is over; whether the connection can take others."""
        connection = self._connection
        self._upload = None
        self._state = "CLOSED"
        if connection._lock.is_owned():
            connection._deferred.append(partial(self._finish_now, complete))
            return not connection.is_draining
        self._finish_now(complete)
        if connection._ringing or connection._deferred:
            connection._settle()
        if connection._codec.changes != connection._changes:
            connection._tell_pool()
        return not connection.is_draining

    def _finish_now(self, complete: bool) -> None:
        connection, stream = self._connection, self.stream
        with connection._lock:
            connection._leave(self)
            if stream is not None:
                stream.owner = None
                if complete and stream.id == 1:
                    connection._keep_session()
                if not complete or not stream.sent_all:
                    self._end_early(stream, complete)
            if connection.is_draining and not connection._exchanges:
                connection._close_now()

    def _end_early(self, stream: Stream, complete: bool) -> None:
        """Give the stream up before its end. Called with the lock."""
        connection = self._connection
        if connection._codec.is_open(stream):
            try:
                connection._codec.close_stream(stream)
                connection._flush()
            except BaseException:
                connection._cut()
                raise
        if complete:
            return
        stream._parts.clear()
        stream.ended = False  # who reads on in another thread must not take this for the end
        # Also in place of one that was raised, whose traceback has the stream.
        stream.failure = ReadError(f"the response to {describe(self.request)} was closed")
        if not connection._call(self) and connection._reader is self:
            connection._io.wake()

    def discard(self) -> None:
        """Called by the garbage collector: at any place, maybe while this thread has the lock."""
        connection = self._connection
        connection._discarded.append(self)
        connection._deferred.append(connection._sweep_now)
        if not connection._lock.is_owned() and connection._lock.acquire(blocking=False):
            connection._lock.release()
            connection._settle()
        # Else the holder of the lock looks into the queue after it has let go.

    def abort(self) -> None:
        """End this request, from another thread or from a signal handler, which may have struck a
        thread that has the lock; others on the connection go on."""
        connection = self._connection
        self.aborted = True
        if connection._call(self):
            connection._ring()
        elif connection._reader is self:
            connection._io.wake()


class _Progress:
    """Whether the upload of one exchange goes on. Used with the connection's lock.

    While its own bytes are in front of the network, or behind others' that are, each part that the
    network takes is progress. While it waits for the server, what others send is none.
    """

    __slots__ = ("_connection", "_exchange", "_taken", "_waited")

    def __init__(self, connection: HTTP2Connection, exchange: Exchange) -> None:
        self._connection = connection
        self._exchange = exchange
        self._taken = connection._taken
        self._waited = exchange.waits_for_server

    def was_made(self) -> bool:
        """Return whether there was any since this was last asked."""
        waits, taken = self._exchange.waits_for_server, self._connection._taken
        made = not waits if self._waited else taken != self._taken
        self._waited, self._taken = waits, taken
        return made


class Upload:
    """What an exchange sends after its head.

    Parameters:
        exchange: whose body it is.
        prepared: the request.
        timeout: seconds in which the server has to take something.
    """

    __slots__ = ("_exchange", "_finished", "_part", "_parts", "_plan", "_position", "_step",
                 "_timeout")  # fmt: skip

    def __init__(self, exchange: Exchange, prepared: Prepared, timeout: float | None) -> None:
        parts = body_parts if prepared.length == CHUNKED else framed_parts
        self._exchange = exchange
        self._parts = parts(prepared)
        self._part = b""
        self._position = 0  # in the part: what went before it was sent
        self._finished = False
        self._step = SEND
        self._plan = UploadPlan()
        self._timeout = timeout

    def ask(self, timeout: float | None) -> None:
        """Wait until the server lets the body be sent, or does not (RFC 9110 section 10.1.1)."""
        stream = self._exchange.stream
        assert stream is not None
        self._exchange.listen(self._exchange._has_news, smaller(CONTINUE_PATIENCE, timeout))
        if stream.status is not None and not stream.informational:
            self._plan.decline()

    def send_on(self) -> None:
        """Send all of the body, or as much as the server wants before the caller has to read."""
        while not self._finished:
            self._step = self._look()
            if self._step in (STOP, HAND_OVER):
                break
            try:
                self._advance(self._has_changed, self._plan.patience(self._timeout))
            except WriteTimeout:
                if not self._plan.stalled():
                    raise
        if self._step == STOP:
            self._exchange._take_as_whole()

    def hand_over(self) -> bool:
        """Let reads of the response send from now on; False when there is nothing more to send."""
        self._plan.handed_over = True
        return not self._finished and self._look() != STOP

    def send_while_waiting(self, timeout: float | None) -> None:
        """Send until some of the response can be read. Nothing in either direction is a timeout,
        of reading or of writing, whichever is shorter."""
        stream = self._exchange.stream
        assert stream is not None
        limit = smaller(timeout, self._timeout)
        while not self._finished and not stream.readable:
            self._step = self._look()
            if self._step == STOP:
                self._exchange._take_as_whole()
                return
            try:
                if self._step != LISTEN:
                    self._advance(self._has_news, self._plan.patience(limit))
                elif not self._exchange.listen(self._has_news, smaller(CLOSING_PATIENCE, limit)):
                    self._plan.listened()
            except WriteTimeout as exc:
                if self._plan.complete or limit != timeout:
                    if not self._plan.stalled():
                        raise
                    continue
                raise ReadTimeout(
                    f"{exc}; nor did a byte of the response to {describe(self._exchange.request)} "
                    "come while its body was being sent"
                ) from exc

    def conclude(self) -> bool:
        """Send what the server wants of the body now that its response is whole. Return True: the
        connection can carry other requests, whatever becomes of this one."""
        self.send_on()
        return True

    def wait(self, ready: Callable[[], bool], timeout: float | None) -> None:
        """Wait until `ready()`, or until what comes from the server changes what is to be done."""
        self._wait(lambda: ready() or self._has_changed(), timeout)

    def _advance(self, disturbed: Callable[[], bool], timeout: float | None) -> None:
        """Send some of the body, and wait until there is room for more, or until `disturbed()`."""
        exchange = self._exchange
        while self._position >= len(self._part):
            part = self._next()
            if part is None:
                exchange._pass(b"", 0, end=True)
                self._finished = True
                return
            self._part, self._position = part, 0
        position = exchange._pass(self._part, self._position)
        if position < 0:
            self._plan.stopped = True
            return
        self._position = position
        ready = exchange._may_send if position < len(self._part) else exchange._has_left_us
        self._wait(lambda: ready() or disturbed(), timeout)

    def _next(self) -> bytes | None:
        try:
            return next(self._parts, None)
        except LocalProtocolError as exc:
            exc.phase = MAYBE_PROCESSED
            raise

    def _wait(self, ready: Callable[[], bool], timeout: float | None) -> None:
        exchange = self._exchange
        exchange._connection.wait_until(exchange, ready, exchange._left(timeout), True)

    def _look(self) -> str:
        """Tell the plan what came from the server, and ask what to do next."""
        stream, plan = self._exchange.stream, self._plan
        assert stream is not None
        if self._exchange._is_useless():
            plan.stopped = True
        elif stream.status is not None:
            plan.answer(stream.status, closing=False)
            plan.complete = stream.is_whole
            plan.held = stream.buffered
        return plan.next_step()

    def _has_changed(self) -> bool:
        return self._look() != self._step

    def _has_news(self) -> bool:
        stream = self._exchange.stream
        assert stream is not None
        return stream.readable or self._look() != self._step


def _not_sent(exc: NetworkError | TimeoutException) -> NetworkError | TimeoutException:
    exc.phase = NOT_SENT
    return exc


class _Traced:
    """A phase of a request, told to its trace; what is put into it goes with the last event."""

    def __init__(self, trace: Trace, name: str, **details: Any) -> None:
        self._trace = trace
        self._name = f"http2.{name}"
        self._details = details

    def __enter__(self) -> dict[str, Any]:
        self._trace(f"{self._name}.started", self._details)
        self._result: dict[str, Any] = {}
        return self._result

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if exc_value is not None:
            self._trace(f"{self._name}.failed", {"exception": exc_value})
        else:
            self._trace(
                f"{self._name}.complete", {"return_value": self._result.get("return_value")}
            )
