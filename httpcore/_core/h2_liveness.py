"""Whether the peer of an HTTP/2 connection is still there: arithmetic on the time.

Owns: when a PING is due and when its answer, how long what was sent may stay unacknowledged, and
what follows from silence. Must not know: clocks (`now` is passed in), sockets, frames, threads.

A path can be gone without a sign: a NAT that forgot it, a laptop that slept, a cable. Then what is
sent vanishes, and no read ever ends. Two things are watched, while something is waited for:

- After a long silence, what is sent next must be acknowledged by the peer's system within
  ACK_PATIENCE. That costs nothing: the kernel knows.
- With an `interval`, so many seconds of silence are followed by a PING, and that must be answered
  within `timeout`.

A PING is sent as well where a response is late: at a read timeout, and where a request is given up
(a task that is cancelled, a `CancelToken`) after ACK_PATIENCE without a byte from the peer. Until
it is answered, no new requests join. Else a program that has timeouts of its own, of its event
loop, would send one request after the other to a server that hangs.

Sources: RFC 9113 section 6.7 (PING), RFC 6298 (retransmission).
"""

from __future__ import annotations

from .limits import ACK_PATIENCE

# What follows from silence.
NOTHING = ""
PING = "ping"  # ask for a sign of life
NOT_ACKNOWLEDGED = "not acknowledged"  # the path is dead: what was sent did not arrive
NOT_ANSWERED = "not answered"  # the path is dead: a PING was not answered


class Liveness:
    """The signs of life of the peer: when the last one came, and which one is due.

    Parameters:
        interval: seconds of silence, while a response is waited for, after which a PING is sent;
            None for never.
        timeout: seconds in which a PING must be answered.
        now: the time.

    Attributes:
        watched: there is something to do about silence: `patience` and `act` have to be asked.
        heard: since when there is silence while something is waited for.
        pinged: when the PING was sent that is not answered yet; None without one.
        ack_due: until when what was sent must be acknowledged; None when nothing must.
        unproven: it was silent for so long that the path may be gone.
        unheard: when the oldest request was sent since which nothing came; None without one.
    """

    __slots__ = (
        "_ack_count", "_interval", "_timeout", "ack_due", "heard", "pinged", "unheard", "unproven",
        "watched",
    )  # fmt: skip

    def __init__(self, interval: float | None, timeout: float, now: float) -> None:
        self.watched = interval is not None
        self.heard = now
        self.pinged: float | None = None
        self.ack_due: float | None = None
        self.unproven = False
        self.unheard: float | None = None
        self._interval = interval
        self._timeout = timeout
        self._ack_count = 0  # requests when `ack_due` was set

    # What has happened

    def hear(self, now: float) -> None:
        """Note that something came from the peer."""
        self.heard = now
        self.unproven = False
        self.ack_due = None
        self.watched = self._interval is not None

    def begin_waiting(self, now: float, requests: int) -> None:
        """Note that a request is sent while none was under way: silence counts from now on.

        Parameters:
            requests: how many the connection has carried, this one among them.
        """
        self.heard = now
        if self.unproven:
            self._expect_ack(now, requests)

    def ping(self, now: float) -> bool:
        """Note that a PING is about to be sent; False when one is still to be answered."""
        if self.pinged is not None:
            return False
        self.pinged = now
        return True

    # What follows from it

    def patience(self, left: float | None, now: float) -> float | None:
        """Return the seconds until something has to be done about silence, or `left`."""
        dues = [] if self.ack_due is None else [self.ack_due]
        if self._interval is not None:
            if self.pinged is None:
                dues.append(self.heard + self._interval)
            else:
                dues.append(self.pinged + self._timeout)
        if not dues:
            return left
        wait = max(0.0, min(dues) - now)
        return wait if left is None else min(wait, left)

    def miss(self, seconds: float) -> None:
        """Count a wait, or a part of one, that the clock has not counted."""
        self.heard -= seconds
        if self.pinged is not None:
            self.pinged -= seconds
        if self.ack_due is not None:
            self.ack_due -= seconds

    def is_hanging(self, now: float) -> bool:
        """Return whether nothing came since a request was sent ACK_PATIENCE ago or more."""
        return self.unheard is not None and now - self.unheard >= ACK_PATIENCE

    def is_ack_overdue(self, now: float) -> bool:
        """Return whether to ask the kernel now if all that was sent is acknowledged."""
        return self.ack_due is not None and now >= self.ack_due

    def act(self, now: float, requests: int, unacknowledged: bool) -> str:
        """Return what to do about the silence until `now`: NOTHING, PING, NOT_ACKNOWLEDGED or
        NOT_ANSWERED.

        Parameters:
            requests: how many the connection has carried.
            unacknowledged: the kernel says that some of what was sent is not acknowledged; asked
                when `is_ack_overdue`.
        """
        action = NOTHING
        if self.is_ack_overdue(now):
            self.ack_due = None
            if unacknowledged:
                if requests == self._ack_count:
                    return NOT_ACKNOWLEDGED
                # It may be what another request has sent just now.
                self._expect_ack(now, requests)
                action = PING
            self.watched = self._interval is not None or self.ack_due is not None
        if self._interval is None:
            return action
        if self.pinged is None:
            return PING if action or now >= self.heard + self._interval else NOTHING
        return NOT_ANSWERED if now >= self.pinged + self._timeout else action

    def _expect_ack(self, now: float, requests: int) -> None:
        self.ack_due = now + ACK_PATIENCE
        self._ack_count = requests
        self.watched = True

    def explain(self, action: str, origin: object) -> str:
        """Return why the connection to `origin` is given up, for an error text."""
        if action == NOT_ACKNOWLEDGED:
            return (
                f"{origin} has not acknowledged what was sent within {ACK_PATIENCE:g} s: "
                "the idle connection is dead"
            )
        return (
            f"{origin} has not answered a PING within {self._timeout:g} s: the connection is dead"
        )
