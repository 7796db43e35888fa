"""One HTTP/2 connection that several requests share: its state, and what follows from it.

Owns: which requests are under way, who has to be woken, what was written and not yet taken by the
network, why the connection takes no more requests, and what each failure means. Must not know:
locks, sockets, clocks (`now` is passed in), how anybody waits.

A shell puts a lock around all of it and moves the bytes: what it has read goes into `receive`;
what is `unsent`, then what the codec has, goes to the network, and `took` notes how much it has
taken. A request that has to wait puts itself into `sleepers`, with whatever its shell wakes it by;
`dispatch` moves from there into `ringing` those that something came for. How a shell decides which
thread reads for all is `h2_election`; a shell whose event loop reads needs none.

Sources: RFC 9113; the reports in which this went wrong elsewhere: encode/httpx#3072 (writes out of
order), encode/httpx#3324 (GOAWAY), encode/httpcore#943 (streams closed early).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from .._exceptions import (
    MAYBE_PROCESSED,
    ConnectionNotAvailable,
    ReadError,
    ReadTimeout,
    TimeoutException,
    WriteError,
    WriteTimeout,
    without_frames,
)
from .._models import Request, describe
from .._timings import ConnectionInfo
from .._url import Origin
from .h2_liveness import PING, Liveness
from .limits import ACK_PATIENCE

if TYPE_CHECKING:
    from .h2 import Stream

ASSUMED_STREAMS = 100
"""How many requests at once are taken to be possible until the server says it: what RFC 9113
section 6.5.2 recommends as the least. Only one is sent before that."""

PING_DATA = b"httpcore"
"""Eight bytes that come back (RFC 9113 section 6.7)."""


class Bell(Protocol):
    """The object that a shell wakes a request by: a lock that the request waits to take."""

    def release(self) -> None: ...


class Member(Protocol):
    """One of the requests on a connection: what its session knows of it (see `ExchangeState`)."""

    aborted: bool
    request: Request
    since: float | None

    @property
    def stream(self) -> Stream | None:
        """Its stream; None until that is open."""

    def leave(self, complete: bool, now: float) -> bool:
        """Note that the request is over; see `ExchangeState.leave`."""

    def write_left(self, now: float) -> float | None:
        """Return the seconds that one write may take as far as this request goes."""

    @property
    def waits_for_server(self) -> bool:
        """Whether the network has all of its bytes, and only the server can let it go on."""


class Session:
    """The state of one HTTP/2 connection. Everything but `is_available`, `is_draining` and what is
    for people is called with the shell's lock held.

    Parameters:
        origin: who is at the other end.
        network_stream: the stream below, for callers and for what it knows.
        keepalive_expiry: seconds it may be idle before it has expired; None for ever.
        liveness: when the server has to give a sign of life.

    Attributes:
        facts: about the connection, for callers.
        codec: reads and writes the frames.
        exchanges: the requests under way, the oldest first.
        discarded: requests that the garbage collector has dropped, which may not take the lock.
        sleepers: requests that wait, each with what its shell wakes it by.
        ringing: of those of them who are to be woken, once the lock is released.
        unsent: bytes that the network has not taken yet; they go before all others.
        parts_taken: times that a part of `unsent` was taken.
        times_emptied: times that all that was written had been taken.
        write_error: why nothing more can be written; None while it can.
        closed: nothing goes on here.
        aborted: another thread wants all of it to end.
        request_count: how many requests were sent.
        changes_reported: of the codec's `changes`, those that `on_change` was called for.
        on_change: called, without arguments and by any thread, when `max_streams` has changed or no
            new requests are possible any more.
    """

    def __init__(
        self,
        origin: Origin,
        network_stream: Any,
        keepalive_expiry: float | None,
        liveness: Liveness,
    ) -> None:
        from .h2 import Codec  # and h2 with it: not before it is needed

        self.origin = origin
        self.network_stream = network_stream
        # At once: a reset takes the peer's address along.
        self.facts = ConnectionInfo(network_stream, "HTTP/2")
        self.keepalive_expiry = keepalive_expiry
        self.liveness = liveness
        self.codec = Codec()
        self.request_fields = self.codec.request_head
        self.exchanges: dict[Member, None] = {}
        self.discarded: deque[Member] = deque()
        self.sleepers: dict[Member, Bell] = {}
        self.ringing: list[Bell] = []
        self.unsent: bytes | memoryview = b""
        self.parts_taken = 0
        self.times_emptied = 0
        self.write_error: WriteError | None = None
        self.closed = False
        self.aborted = False
        self.request_count = 0
        self.expires: float | None = None
        self.changes_reported = 0
        self.on_change: Callable[[], None] | None = None

    # Who is to be woken. Waking itself needs the lock to be free: the woken would run into it.

    def call(self, exchange: Member) -> bool:
        """Let a request be woken; return False if it does not sleep."""
        bell = self.sleepers.pop(exchange, None)
        if bell is None:
            return False
        self.ringing.append(bell)
        return True

    def call_one(self) -> None:
        """Let any one sleeper be woken, so that it reads on."""
        for exchange in list(self.sleepers):
            if self.call(exchange):
                return

    def dispatch(self) -> None:
        """Let those sleepers be woken that something came for."""
        codec = self.codec
        if codec.widened:  # more may be sent, or nothing any more: each looks for itself
            codec.widened = False
            for exchange in list(self.sleepers):
                self.call(exchange)
        elif self.sleepers:
            for stream in codec.touched:
                if stream.owner in self.sleepers:
                    stream.owner.called = True
                    self.call(stream.owner)

    def report_changes(self) -> None:
        """Call `on_change` for what has changed. Called without the lock."""
        self.changes_reported = self.codec.changes
        if self.on_change is not None:
            self.on_change()

    # Reading

    def receive(self, data: bytes, now: float) -> None:
        """Take in what has arrived; ``b""`` is the end. Raises RemoteProtocolError."""
        codec, liveness = self.codec, self.liveness
        if not data:
            codec.receive_eof()
            return
        liveness.unheard = None
        if liveness.watched or liveness.unproven:
            liveness.hear(now)
        codec.receive(data, now)
        if liveness.pinged is not None and codec.pongs:
            codec.pongs = 0
            liveness.pinged = None
            codec.changes += 1

    def break_off_reading(self, exc: BaseException) -> None:
        """Note that taking in was cut in the middle of a frame, maybe: what is true of the
        connection nobody knows any more."""
        self.codec.abandon(ReadError(f"reading from {self.origin} was interrupted: {exc!r}"))

    def keep_session(self) -> None:
        """Let the next connection to this peer resume this one's TLS: the peer has answered."""
        keep = getattr(self.network_stream, "keep_session", None)
        if keep is not None:
            keep()

    def sweep(self, now: float) -> None:
        """End the streams of requests that nobody holds any more."""
        while self.discarded:
            self.discarded.popleft().leave(False, now)

    # Writing

    def took(self, data: bytes | memoryview, count: int) -> bytes | memoryview:
        """Note that the network took `count` bytes of `data`; return what goes next."""
        if count < len(data):
            self.parts_taken += 1
            return memoryview(data)[count:]
        if self.unsent:
            self.parts_taken += 1
        return self.codec.data_to_send() if self.codec.out else b""

    def keep(self, data: bytes | memoryview) -> None:
        """Keep what the network takes no more of now, where `data` or `unsent` is not empty. What
        comes behind it stays with the codec, which limits it."""
        if not data:
            self.codec.widened = self.codec.widened or bool(self.unsent)
            self.times_emptied += 1
        self.unsent = data

    def write_limit(self, now: float, timeout: float | None = None) -> float | None:
        """Return the seconds that a write may take on a stream that can only wait; None for any
        number.

        After a write that failed all requests fail, whichever it was for. So the most patient one
        of those under way decides; an end that nobody waits for is not waited for long.

        Parameters:
            timeout: seconds that the request which waits for the write has; they count where there
                is no other.
        """
        if not self.exchanges:
            return ACK_PATIENCE if self.request_count else None
        forever = float("inf")
        lefts = [exchange.write_left(now) for exchange in self.exchanges]
        limit = max(forever if left is None else left for left in lefts)
        if timeout is not None and len(lefts) == 1:
            limit = min(limit, timeout)
        return None if limit == forever else limit

    def fail_to_write(self, exc: WriteError, partly: bool) -> None:
        """Note that nothing more can be written, after a part of it was. What the server said
        before it closed may still be there to be read."""
        if partly:
            exc.phase = MAYBE_PROCESSED
        if self.write_error is None:
            self.write_error = without_frames(exc)
        self.codec.drain(str(exc))
        self.codec.widened = True
        self.unsent = b""

    def cut(self) -> None:
        """Note that something was interrupted in the middle of sending: what the server has seen
        nobody knows."""
        self.unsent = b""
        self.codec.out.clear()
        self.codec.abandon(ReadError(f"sending to {self.origin} was interrupted"))

    # Signs of life

    def ping(self, now: float) -> None:
        """Send a PING: until the server has answered it, no request joins."""
        if self.liveness.ping(now):
            self.codec.changes += 1
            self.codec.ping(PING_DATA)

    def act_on_silence(self, missed: float, now: float) -> None:
        """Do what silence until `now` asks for, after a wait that came back empty.

        Parameters:
            missed: seconds of that wait which the clock has not counted.
        """
        liveness = self.liveness
        liveness.miss(missed)
        unacknowledged = liveness.is_ack_overdue(now) and bool(
            self.network_stream.get_extra_info("unacknowledged")
        )
        action = liveness.act(now, self.request_count, unacknowledged)
        if action == PING:
            self.ping(now)
        elif action:
            self.lose(liveness.explain(action, self.origin))

    def time_out(
        self, exchange: Member, timeout: float | None, write: bool, now: float
    ) -> TimeoutException:
        """Return what to raise when a wait took `timeout` seconds. The connection has to show that
        it is alive, unless only the server kept this one request from sending."""
        refused = write and exchange.waits_for_server
        if timeout and (not write or (self.unsent and not refused)) and not self.codec.draining:
            self.ping(now)
        if write:
            why = "the server has opened no window" if refused else "no byte taken"
            return WriteTimeout(f"write to {self.origin} timed out: {why} within {timeout:g} s")
        return ReadTimeout(
            f"read from {self.origin} timed out: no byte of the response within {timeout:g} s"
        )

    # The end

    def lose(self, why: str) -> None:
        """Close the session: all requests fail with `why`, and all sleepers are woken."""
        self.closed = True
        self.codec.abandon(ReadError(why))
        self.codec.touched.clear()
        self.dispatch()

    def be_refused(self, why: BaseException) -> None:
        """Take no new requests after the server refused one unread. Unless there were too many, it
        would refuse others, too."""
        if self.codec.open_streams < self.codec.max_streams:
            self.codec.drain(str(why))

    def abort_all(self) -> None:
        """Let all requests end with `Aborted`; by any thread, without the lock."""
        self.aborted = True
        self.codec.drain("it was ended by a close or a CancelToken")
        for exchange in list(self.exchanges):
            exchange.aborted = True

    def disown(self) -> str:
        """Become closed in the child of a fork, also for responses that have arrived whole; return
        why."""
        why = (
            f"the connection to {self.origin} belongs to the parent process, and so do its "
            "responses; the child of a fork must send a request of its own"
        )
        self.closed = True
        self.sleepers = {}
        self.unsent = b""
        self.codec.abandon(ReadError(why))
        # A list: what a stream lets go of may be the last to hold a response, which then leaves.
        for exchange in list(self.exchanges):
            if exchange.stream is not None:
                exchange.stream.parts.clear()
                exchange.stream.ended = False
                exchange.stream.failure = ReadError(f"{why} ({describe(exchange.request)})")
        return why

    # What others ask

    @property
    def max_streams(self) -> int:
        """Return how many requests may be under way at once, now: what the server allows, and none
        while it owes us the answer to a PING."""
        if not self.is_available():
            return 0
        return self.codec.max_streams if self.codec.settled else ASSUMED_STREAMS

    @property
    def open_streams(self) -> int:
        """Return how many requests are under way."""
        return self.codec.open_streams

    @property
    def is_draining(self) -> bool:
        """Whether it takes no new requests any more, for good."""
        return bool(self.codec.draining) or self.closed or self.aborted

    @property
    def serving(self) -> Request | None:
        """The oldest request whose response is not at its end, for people and error texts."""
        for exchange in list(self.exchanges):
            return exchange.request
        return None

    @property
    def since(self) -> float | None:
        """Return when that one got its stream."""
        for exchange in list(self.exchanges):
            return exchange.since
        return None

    def can_handle_request(self, origin: Origin) -> bool:
        """Return whether this connection leads to `origin`."""
        return origin == self.origin

    def is_available(self) -> bool:
        """Return whether it can take a request now."""
        if self.closed or self.aborted or self.codec.draining:
            return False
        return self.liveness.pinged is None

    def is_idle(self) -> bool:
        """Return whether it is open and between two requests."""
        return not self.exchanges and not self.closed

    def has_expired_at(self, now: float) -> bool:
        """Return whether it has been idle for too long."""
        return self.is_idle() and self.expires is not None and now >= self.expires

    def refuse_handler(self) -> ConnectionNotAvailable:
        """Return what a request raises in a signal handler that has interrupted the code which
        uses the connection."""
        return ConnectionNotAvailable(
            f"the connection to {self.origin} is in use by the code that this signal handler "
            "has interrupted; nothing was sent"
        )

    def is_closed(self) -> bool:
        """Return whether it is closed for good."""
        return self.closed

    @property
    def state(self) -> str:
        """CLOSED, ACTIVE or IDLE, for people."""
        return "CLOSED" if self.closed else "ACTIVE" if self.exchanges else "IDLE"

    def info(self) -> str:
        """Return protocol, state and request count, for people."""
        return f"{str(self.origin)!r}, HTTP/2, {self.state}, Request Count: {self.request_count}"

    def __repr__(self) -> str:
        origin = str(self.origin)
        return (
            f"<{self.__class__.__name__} [{origin!r}, {self.state}, "
            f"Request Count: {self.request_count}]>"
        )
