"""The state of one connection of HTTP/1.1, and its decisions while it carries a request.

Owns: the states of a connection, what is read next and how long it may take, and what a failure of
writing or reading means. Must not know: sockets, clocks, locks; how HTTP is framed (that is `h1`);
how a long body is sent (`upload`); what becomes of the response's body (`body_state`).

The functions that wait for something are scripts, see `upload`. They are for what is rare: a plain
head is read by `h1.read_head` alone.

Sources: RFC 9112 sections 9.3 (reuse) and 9.6 (tear-down), RFC 9110 section 15.2 (interim
responses), tcp(7) (SIOCOUTQ).
"""

from __future__ import annotations

from typing import Any

from .._exceptions import (
    DISCONNECTED,
    NOT_SENT,
    RESPONSE_STARTED,
    ConnectionNotAvailable,
    NetworkError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    ServerDisconnected,
    TimeoutException,
    WriteError,
    explained,
)
from .._models import Request, describe, name_request
from .._url import Origin
from .h1 import Head, HeadReader
from .limits import ACK_PATIENCE, READ_SIZE
from .prepared import Prepared, prepare
from .upload import NOW, Read, Script, Unacknowledged

# Seconds of silence after which a path may be gone without a sign (a NAT that forgot it, a laptop
# that slept). Short, since doubt costs nothing unless the peer stays silent.
DOUBT_AFTER = 1.0

# Seconds that a final response has to follow an interim one of unknown status, in lenient mode.
# Servers that send interim responses send registered ones; http.client does not wait at all.
UNKNOWN_INTERIM_PATIENCE = 1.0


class H1State:
    """The state of one connection.

    Attributes:
        aborted: another thread wants this to end.
        doubted: it was idle for so long that the path may be gone without a sign.
        expires: when it has been idle for too long; None for never, or while it is in use.
        keepalive_expiry: seconds it may be idle; None for ever.
        lenient: how heads are read, see `ConnectionPool`.
        origin: who is at the other end.
        plain: the open stream, as it was given to the connection.
        request_count: requests that were begun on it.
        sent_body: some of the current request's body was written.
        serving: the request whose response is not at its end, for people and error texts.
        since: when it was given to that, in seconds of the shell's clock.
        state: NEW, ACTIVE, IDLE or CLOSED.
        stream: what is read from and written to: `plain`, maybe in a wrapper that keeps to the
            total of the current request.
        untouched: nothing of the current request was written yet.
    """

    asynchronous = False  # of the shell

    def __init__(
        self, origin: Origin, stream: Any, keepalive_expiry: float | None, lenient: bool
    ) -> None:
        self.origin = origin
        self.plain = stream
        self.network = stream
        self.keepalive_expiry = keepalive_expiry
        self.lenient = lenient
        self.state = "NEW"
        self.request_count = 0
        self.expires: float | None = None
        self.untouched = True
        self.sent_body = False
        self.aborted = False
        self.doubted = False
        self.serving: Request | None = None
        self.since: float | None = None

    # What others ask

    def can_handle_request(self, origin: Origin) -> bool:
        return origin == self.origin

    @property
    def open_streams(self) -> int:
        """Return how many requests are under way on it."""
        return 0 if self.serving is None else 1

    def is_available(self) -> bool:
        return self.state in ("NEW", "IDLE")

    @property
    def is_draining(self) -> bool:
        """Whether it takes no new requests any more, for good."""
        return self.state == "CLOSED"

    def is_idle(self) -> bool:
        return self.state == "IDLE"

    def is_closed(self) -> bool:
        return self.state == "CLOSED"

    def is_readable(self) -> bool:
        """Whether bytes or an end have arrived; on an idle connection both mean it is dead."""
        return bool(self.network.get_extra_info("is_readable"))

    def is_usable(self, idle_for: float) -> bool:
        """Whether it can take a request now, after `idle_for` seconds without one. Readable while
        idle means that the server has closed it, or said something unasked."""
        self.doubted = idle_for > DOUBT_AFTER
        return not self.network.get_extra_info("is_readable")

    def has_expired_at(self, now: float) -> bool:
        """Whether it was idle for too long, or the server has closed it."""
        if self.state != "IDLE":
            return False
        return (self.expires is not None and now >= self.expires) or self.is_readable()

    @property
    def unclean_eof(self) -> bool:
        """Whether TLS did not say that the end of the connection was one."""
        return bool(getattr(self.network, "unclean_eof", False))

    def info(self) -> str:
        origin = str(self.origin)
        return f"{origin!r}, HTTP/1.1, {self.state}, Request Count: {self.request_count}"

    def __repr__(self) -> str:
        origin = str(self.origin)
        return (
            f"<{self.__class__.__name__} [{origin!r}, {self.state}, "
            f"Request Count: {self.request_count}]>"
        )

    # What happens to it

    def to_prepared(self, request: Request) -> Prepared:
        """Return `request` as it goes out. Raises RuntimeError for a request to elsewhere, and
        what `prepare` raises."""
        if not self.can_handle_request(request.url.origin):
            raise RuntimeError(f"request to {request.url.origin} on a connection to {self.origin}")
        return prepare(request, self.lenient, asynchronous=self.asynchronous)

    def claim(self) -> None:
        """Take it for a request. Raises ConnectionNotAvailable while it has another, or when it
        is closed."""
        if self.state not in ("NEW", "IDLE"):
            raise ConnectionNotAvailable(f"the connection to {self.origin} is {self.state}")
        self.state = "ACTIVE"

    def taken_below(self) -> ConnectionNotAvailable:
        """Return the error for a signal handler that has interrupted `claim`."""
        return ConnectionNotAvailable(
            f"the connection to {self.origin} is being taken by the code that this signal "
            "handler has interrupted; nothing was sent"
        )

    def rest(self, reusable: bool, complete: bool, now: float) -> bool:
        """The request is over. Become idle, if `reusable`; False when it is to be closed.

        Parameters:
            complete: the whole response was read, so the next connection to this peer may resume
                this one's TLS session.
        """
        self.network = self.plain  # the next request, or the stream's next user, has another total
        # It may have been aborted in the moment in which its response ended.
        if not reusable or self.state == "CLOSED" or self.aborted:
            if complete:
                self._keep_session()
            return False
        self.state = "IDLE"
        if self.request_count == 1:
            self._keep_session()
        self.serving = None
        if self.keepalive_expiry is not None:
            self.expires = now + self.keepalive_expiry
        return True

    def _keep_session(self) -> None:
        keep = getattr(self.plain, "keep_session", None)
        if keep is not None:
            keep()

    def lose_in_child(self) -> str:
        """Become CLOSED: this is the child of a fork, and the connection is the parent's. Return
        what to say to those who still want to use it."""
        what = f"the connection to {self.origin} belongs"
        if self.serving is not None:
            what = f"the response to {describe(self.serving)}, as its connection, belongs"
        self.state = "CLOSED"
        self.serving = None
        return f"{what} to the parent process; the child of a fork must send a request of its own"

    # What a failure means

    def may_be_answered(self, exc: WriteError) -> bool:
        """Whether the server's answer may be there although writing has failed: it has seen the
        head, and closed because of the body."""
        return self.sent_body and exc.phase != NOT_SENT

    def explain(
        self, exc: BaseException, failure: WriteError | None, request: Request
    ) -> BaseException:
        """Return what to raise for `exc`, which has ended the exchange before there was a response.

        Parameters:
            failure: with which writing had ended, when an answer was waited for all the same.
        """
        if failure is not None and isinstance(exc, ServerDisconnected):
            exc.__cause__ = failure  # it ended in order, so 1.0.9 says the same
        elif failure is not None and isinstance(exc, Exception):
            # The server said nothing: the first failure stands, and so does what it came from.
            exc = failure
        if isinstance(exc, RemoteProtocolError):
            name_request(exc, request)
        return exc

    # Reading a head that is not plain

    def read_doubted(self, prepared: Prepared) -> Script[bytes]:
        """The first read after a long silence. NATs and firewalls forget idle connections and
        then drop what comes, without a sign; but a request that its peer's system does not even
        acknowledge is not worth waiting for. (With a body it could be a full window.)"""
        data: bytes
        timeout = prepared.timeouts.read
        if timeout is not None and timeout <= ACK_PATIENCE:
            data = yield Read(READ_SIZE, timeout)
            return data
        try:
            data = yield Read(READ_SIZE, ACK_PATIENCE)
            return data
        except ReadTimeout as exc:
            if (yield from _is_over(prepared)):
                raise
            if (yield Unacknowledged()):
                raise ReadError(
                    f"{self.origin} has not acknowledged {describe(prepared.request)} within "
                    f"{ACK_PATIENCE:g} s: the idle connection is dead"
                ) from exc
        try:
            data = yield Read(READ_SIZE, None if timeout is None else timeout - ACK_PATIENCE)
            return data
        except ReadTimeout as exc:
            if timeout is None or (yield from _is_over(prepared)):
                raise
            raise ReadTimeout(
                f"read from {self.origin} timed out: no byte within {timeout:g} s"
            ) from exc

    def read_unusual(self, prepared: Prepared, data: bytes) -> Script[Head]:
        """Read a head that `h1.read_head` has declined, or that has not come as a whole; `data`
        has come so far."""
        request = prepared.request
        if not data:
            raise explained(
                ServerDisconnected(DISCONNECTED),
                f"{self.origin} closed the connection before any byte of the answer to "
                f"{describe(request)}; the request may have been processed",
            )
        reader = HeadReader(
            request.method,
            request.headers,
            lenient=self.lenient,
            informational=request.extensions.get("informational"),
            peer=self.origin,
        )
        return (yield from read_on(reader, prepared.timeouts.read, data))


def read_on(reader: HeadReader, timeout: float | None, data: bytes = b"") -> Script[Head]:
    """Read the rest of a head that `reader` has begun with, and then `data`."""
    try:
        while True:
            head = reader.feed(data) if data else None
            if head is not None:
                return head
            if reader.may_be_final:
                data = yield from _read_after_unknown(timeout)
            else:
                data = yield Read(READ_SIZE, timeout)
            if not data:
                return reader.feed_eof()
    except (NetworkError, RemoteProtocolError, TimeoutException) as exc:
        exc.phase = RESPONSE_STARTED
        raise


def _read_after_unknown(timeout: float | None) -> Script[bytes]:
    """Return what follows an interim response of unknown status; empty when nothing does."""
    patience = UNKNOWN_INTERIM_PATIENCE
    if timeout is not None:
        patience = min(patience, timeout)
    try:
        data: bytes = yield Read(READ_SIZE, patience)
        return data
    except ReadTimeout:
        return b""


def _is_over(prepared: Prepared) -> Script[bool]:
    """Whether the total of the request is over, which then says so itself."""
    if prepared.deadline is None:
        return False
    now = yield NOW
    over: bool = prepared.deadline.passed_at(now)
    return over


def details_of(head: Head) -> tuple[bytes, int, bytes, list[tuple[bytes, bytes]]]:
    """Return what a trace shows of a head, as httpcore 1.0.9 does."""
    return head.http_version, head.status, head.reason, head.headers
