"""The pool: waiting for a connection, opening it, sending, giving it back.

Owns: the lock around the Scheduler, sleeping and waking, and the one safe replay. Must not
know: which request gets which connection (that is `_core.scheduler`), nor how HTTP is framed.

Nothing blocks while the lock is held: dialling, probing and closing happen outside.

A signal handler or a destructor may call any operation while the thread that it has interrupted
holds the lock; `deferred` says what then happens. Here: `stats`, `connections` and the repr take
the lock again, for the Scheduler's facts are valid at any moment; what changes something goes
through `_do`, and each block that holds the lock is followed by `_settle`; a request gets a
connection outside of the pool's books (`_make_spare`).

Sources: RFC 9110 section 9.2.2 (which requests may be sent again), RFC 9112 section 9.3.1
(and when a client may do so by itself).
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from .._backends.base import SOCKET_OPTION, NetworkBackend
from .._backends.clock import Deadline
from .._backends.fork import renew_in_child
from .._backends.sync import SyncBackend
from .._backends.tcp import Resolver
from .._config import PoolLimits, SSLConfig, TimeoutConfig
from .._core.deadline import uncounted
from .._core.http_proxy import ProxyHop, forwarded, to_hop
from .._core.prepared import Prepared, prepare
from .._core.retry import IDEMPOTENT, Retries, RetryBudget, RetryConfig
from .._core.scheduler import ACTIVE, DIALING, Route, Scheduler, Share, Slot, Waiter
from .._exceptions import (
    NOT_SENT,
    RESPONSE_STARTED,
    Aborted,
    ConnectError,
    ConnectionNotAvailable,
    ConnectTimeout,
    NetworkError,
    PoolTimeout,
    RemoteProtocolError,
    TimeoutException,
    UnsupportedProtocol,
)
from .._models import Proxy, Request, Response
from .._redact import redact_target
from .._settings import (
    PING_TIMEOUT,
    ConnectionSettings,
    check_count,
    read_protocols,
    read_resolve,
)
from .._ssl import create_ssl_context
from .._timeouts import NO_TIMEOUTS, check_timeout, read_timeouts
from .._trace import Trace, check_hook, combined, debug, log_hook, naming
from .._url import DEFAULT_PORTS, Origin, describe_scheme, shown_path, to_server_name
from .cancel_token import attach
from .connection import TLS_SCHEMES, HTTPConnection, load_http2
from .deferred import Deferred
from .http2 import Exchange, HTTP2Connection
from .http11 import HTTP11Connection
from .interfaces import ConnectionInterface, RequestInterface
from .response_body import ResponseBody

if TYPE_CHECKING:
    import ssl

logger = logging.getLogger("httpcore.pool")

jitter = random.random  # it only spreads retries; nobody has to be unable to guess it

PLAIN_SCHEMES = (b"http", b"ws")

# How often a request goes to another connection because an HTTP/2 server has refused it unread.
# Each time others were served; but a server that refuses everything must not keep us for ever.
MAX_MOVES = 16

# Kinds of holders that a PoolTimeout names; more would not be read.
NAMED_HOLDERS = 5

# Waiters that `stats` names; their number is there too.
LISTED_WAITERS = 20

# In a URL, what stands before the host and is nobody's business.

# Seconds. A waiter that was served is woken at once; should the thread that served it be
# interrupted (KeyboardInterrupt) before it could wake it, the waiter looks by itself.
MAX_SLEEP = 1.0


class ConnectionPool(RequestInterface):
    """Keeps connections and reuses them. Thread-safe: share one among all threads.

    All of it may be called by a signal handler or a destructor, wherever that strikes: `close`,
    `retire` and `close_idle` are then carried out when the interrupted code can be disturbed,
    which may be after they return. A request of a handler works too. Where the interrupted
    code is in the middle of using what it would need, it gets a connection of its own, beyond
    `max_connections` and not seen in `stats`, which is closed after it. What waits for a free
    connection all the same should have a pool timeout: the interrupted request does not go on
    meanwhile.

    Safe to use before and after a fork: the child begins with no connections, and leaves those of
    its parent alone. A response that was not read to its end can be read in the parent only.

    Parameters:
        ssl_context: how to verify https servers; by default `default_ssl_context()`. It is
            never changed. If you change it, new connections see that; `close_idle` ends the others.
            Without `resume_tls_sessions` no TLS session is resumed on it.
        proxy: sends everything through this `Proxy`, unless a request brings its own in
            ``extensions["proxy"]`` (None there: goes direct). Requests for http are forwarded,
            others go through a tunnel (CONNECT).
        max_connections: how many connections may be open at once; more requests wait, first
            come, first served. None for no limit.
        max_keepalive_connections: how many of them may stay open while idle; None for all.
        keepalive_expiry: seconds a connection may be idle and still be reused; None for no
            limit. What the server says in ``Keep-Alive: timeout=`` holds as well.
        http1, http2: which protocols may be spoken. With both, https servers choose (ALPN);
            over plain http, HTTP/2 is spoken only where `http1` is False (prior knowledge).
            Requests share an HTTP/2 connection as long as the server allows more of them. On an
            `ssl_context` that you gave, `http2` sets the ALPN protocols.
        retries: how often to try again when connecting fails; or a `RetryConfig`, which says
            when to send a request again for whatever reason.
        local_address: local address to connect from; it also picks the address family.
        uds: path of a Unix socket to connect to instead of the URL's host; with a NUL in front,
            the name of an abstract socket.
        network_backend: what opens sockets; by default `SyncBackend()`.
        socket_options: arguments of setsockopt for each new TCP connection.
        max_connections_per_host: as `max_connections`, for each origin (and TLS context).
        max_age: seconds after which a connection is not reused any more, however busy, so
            that DNS changes are seen; None for no limit.
        parsing: ``"strict"`` reads responses as h11 does; ``"lenient"`` repairs or skips
            malformed header lines, as requests can read them, and sends header names that
            are no tokens, such as ``a[0]``, as requests sends them. A 101 that was not asked
            for, and an interim response that nothing follows, are then the response.
        timeout: seconds for requests that bring none in ``extensions["timeout"]``, with the same
            keys: connect, read, write, pool, and total, which covers all of a request from
            the wait for a connection to the last byte of the body.
        resolver: looks up host names in place of the system, see `SyncBackend`.
        resolve: where to find certain hosts, ``{"example.com:443": "127.0.0.1"}``, as curl's
            ``--resolve``. Name checks, SNI and Host are still those of the name. For a tunnel
            the proxy is asked for the address; a proxy that forwards looks up by itself.
        ping_interval: seconds of silence, while a response is waited for, after which an HTTP/2
            server is asked for a sign of life (PING); None for never. Many load balancers forget
            silent connections after a minute; but some servers count unasked PINGs as abuse.
        ping_timeout: seconds in which it must answer, else all requests on the connection fail.
        trace: called with the name and details of each event of each request, before a request's
            own ``extensions["trace"]``; and of the pool's own, which no other hook gets:
            ``pool.enqueue``, ``pool.assign``, ``pool.replay``, ``pool.fail``, ``pool.evict``. It
            is told the ``request`` with each, except ``pool.evict``. All but the pool's own are
            logged at DEBUG, without passwords and cookies, if that is on when the pool is made or
            opens a connection.

    Raises TypeError or ValueError for an argument that cannot be.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int | RetryConfig = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: NetworkBackend | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
        *,
        max_connections_per_host: int | None = None,
        max_age: float | None = None,
        parsing: str = "strict",
        timeout: Mapping[str, float | None] | None = None,
        resolver: Resolver | None = None,
        resolve: Mapping[str, str] | None = None,
        ping_interval: float | None = None,
        ping_timeout: float = PING_TIMEOUT,
        trace: Trace | None = None,
    ) -> None:
        if trace is not None:
            check_hook(trace, "trace")
        self._hook = trace
        self._log = log_hook()
        self._trace = combined(trace, self._log)  # None while nobody wants to know
        if resolver is not None and network_backend is not None:
            raise ValueError(
                "resolver and network_backend exclude each other: the backend looks names up"
            )
        self._retry_config = retries if isinstance(retries, RetryConfig) else None
        self._retry_budget = RetryBudget(self._retry_config) if self._retry_config else None
        self._settings = ConnectionSettings(
            ssl_context=ssl_context,
            proxy=proxy,
            keepalive_expiry=keepalive_expiry,
            protocols=read_protocols(http1, http2),
            retries=0 if isinstance(retries, RetryConfig) else retries,
            local_address=local_address,
            uds=uds,
            network_backend=SyncBackend(resolver) if network_backend is None else network_backend,
            socket_options=socket_options,
            parsing=parsing,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            addresses=read_resolve(resolve),
        )
        if proxy is not None:
            to_hop(proxy, b"")  # what cannot be is said here, not at the first request
        if http2:
            load_http2()
        self._lenient = self._settings.lenient
        self._max_connections = check_count(max_connections, "max_connections", 1)
        self._max_per_host = check_count(max_connections_per_host, "max_connections_per_host", 1)
        self._default_timeouts = (
            NO_TIMEOUTS if timeout is None else read_timeouts(timeout, "timeout")
        )
        self._make_scheduler = partial(
            Scheduler,
            max_connections=self._max_connections,
            max_keepalive=check_count(max_keepalive_connections, "max_keepalive_connections", 0),
            max_per_route=self._max_per_host,
            keepalive_expiry=self._settings.keepalive_expiry,
            max_age=check_timeout(max_age, "max_age"),
            shares=self._may_share if http2 else None,
        )
        self._begin()
        renew_in_child(self)

    def _begin(self) -> None:
        """Start with no connections, and with a lock that is free."""
        self._scheduler = self._make_scheduler()
        self._lock: Any = threading.RLock()
        self._deferred = Deferred()  # what is to be done by whoever lets go of the lock
        # Pools of one connection each, for requests of signal handlers.
        self._spares: weakref.WeakValueDictionary[int, ConnectionPool] = (
            weakref.WeakValueDictionary()
        )

    # Sending

    def handle_request(self, request: Request) -> Response:
        """Send `request` as it is and return the response, its body unread.

        The connection goes back to the pool when the body was read to its end or closed.
        When a *reused* connection turns out to be dead before any byte of the answer, the
        request is sent once more on a new one, if that is safe: nothing of it was sent, or
        it is idempotent; and its body can be sent again.

        Raises:
            LocalProtocolError, UnsupportedProtocol, TypeError: nothing was sent.
            PoolTimeout: no connection became free in time; names the limit and its holders.
            ConnectTimeout, ConnectError: no connection could be opened.
            ReadTimeout, WriteTimeout, ReadError, WriteError, RemoteProtocolError: see
                ``phase`` for how far the request got.
        """
        route = self._route(request)
        hop: Any = route.proxy
        if hop is not None and hop.forwards:
            request = forwarded(request, hop)
        prepared = prepare(request, self._lenient, self._default_timeouts)
        prepared.route = route
        if prepared.timeouts.total is not None:
            prepared.deadline = Deadline(prepared.timeouts.total)
        try:
            if self._retry_config is not None:
                return self._send_repeatedly(prepared)
            return self._send(prepared)
        except BaseException as exc:
            self._tell("pool.fail", {"request": request, "exception": exc})
            raise

    def _send(self, prepared: Prepared) -> Response:
        """Send it once, or twice when the connection was one that had died of idleness."""
        request = prepared.request
        cancel = None
        trace = self._trace
        if trace is not None and self._hook is not None:
            trace = combined(naming(self._hook, request), self._log)
        if request.extensions:
            cancel = request.extensions.get("cancel")
            own = request.extensions.get("trace")
            if own is not None:
                trace = combined(trace, own)
        fresh = False
        moves = 0
        began: float | None = None
        first: BaseException | None = None
        while True:
            body = ResponseBody(self, request)
            body.marks.began = began
            body.trace = trace
            connection: HTTP11Connection | HTTP2Connection | None = None
            try:
                if cancel is not None and attach(cancel, body):
                    raise PoolTimeout("aborted before there was a connection")
                connection = self._check_out(prepared, body, fresh)
                response = connection.exchange(prepared, body)
                first = None  # its traceback has this frame, which has the body
                return response
            except ConnectionNotAvailable:
                # Its last stream went to somebody else, or it takes no new ones. Most likely the
                # pool has heard so by now; else it would give us the same one again.
                if isinstance(connection, HTTP2Connection):
                    self._adjust(connection)
                began = body.marks.began
                continue
            except BaseException as exc:
                body.abandon()
                if prepared.deadline is not None and isinstance(exc, TimeoutException):
                    prepared.deadline.explain(exc)
                if first is not None and getattr(exc, "phase", None) == NOT_SENT:
                    exc.phase = first.phase  # type: ignore[attr-defined]
                if isinstance(exc, Aborted):
                    raise
                if body.aborted:
                    raise body.explain_abort(exc) from exc
                http2 = connection if isinstance(connection, HTTP2Connection) else None
                if http2 is not None and moves < MAX_MOVES and _was_refused(exc, prepared):
                    moves += 1
                    http2.avoid(exc)
                elif fresh or not _may_replay(exc, prepared, connection):
                    raise
                else:
                    fresh = True
                try:
                    prepared.rewind()
                except (OSError, ValueError):
                    raise exc from exc.__cause__  # it went back before, and does not now
                first = exc
            began = body.marks.began
            self._note_replay(request, first)

    def _send_repeatedly(self, prepared: Prepared) -> Response:
        """Send it as often as the pool's `RetryConfig`, its budget, the body and the deadline
        allow."""
        assert self._retry_config is not None and self._retry_budget is not None
        request, deadline = prepared.request, prepared.deadline
        retries = Retries(self._retry_config, request.method)
        failure: Exception | None = None
        with self._lock:
            self._retry_budget.earn()
        self._settle_deferred()
        while True:
            try:
                response = self._send(prepared)
            except Exception as exc:
                delay = retries.after_failure(exc, jitter())
                if delay is None or not self._may_repeat(exc, prepared, delay):
                    raise
                failure = exc
                debug(logger, "retry %d in %.3g s after %s", retries.made, delay, exc)
            else:
                status, headers = response.status, response.headers
                delay = retries.after_status(status, headers, jitter(), time.time())
                if delay is None or not self._may_repeat(None, prepared, delay):
                    return response
                debug(logger, "retry %d in %.3g s after status %d", retries.made, delay, status)
                response.close()
            self._note_replay(request, failure)
            failure = None  # its traceback has this frame
            prepared.rewind()
            cancel = request.extensions.get("cancel")
            now = time.monotonic()
            (self._settings.network_backend if cancel is None else cancel).sleep(delay)
            if deadline is not None:
                deadline.timed_out(now, delay)

    def _note_replay(self, request: Request, failure: BaseException | None) -> None:
        """It is sent once more, for this failure or for its status."""
        with self._lock:
            self._scheduler.replayed += 1
        self._settle_deferred()
        self._tell("pool.replay", {"request": request, "exception": failure})

    def _tell(self, name: str, details: dict[str, Any]) -> None:
        """Call the pool's hook with one of the pool's own events."""
        if self._hook is not None:
            self._hook(name, details)

    def _may_repeat(self, exc: Exception | None, prepared: Prepared, delay: float) -> bool:
        deadline = prepared.deadline
        if deadline is not None and delay >= deadline.left():
            return False
        untouched = isinstance(exc, (ConnectError, ConnectTimeout))  # the body was not asked for
        if not prepared.is_repeatable and not untouched:
            return False
        assert self._retry_budget is not None
        with self._lock:
            granted = self._retry_budget.spend()
        self._settle_deferred()
        return granted

    def _route(self, request: Request) -> Route:
        url = request.url
        scheme = url.scheme
        context = None
        if scheme in TLS_SCHEMES:
            context = self._settings.ssl_context
        elif scheme not in PLAIN_SCHEMES:
            raise UnsupportedProtocol(describe_scheme(scheme))
        port = url.port
        if port is None:
            port = DEFAULT_PORTS[scheme]
        proxy = self._settings.proxy
        uds = self._settings.uds
        extensions = request.extensions
        if extensions:
            if scheme in TLS_SCHEMES:
                context = _tls_settings(extensions, context)
            if "uds" in extensions:
                uds = _to_path(extensions["uds"])
            if "proxy" in extensions:
                proxy = extensions["proxy"]
        if proxy is not None and uds is None:
            hop = to_hop(proxy, scheme)
            if hop.forwards:  # one connection serves all origins
                return Route(hop.scheme, hop.host, hop.port, None, hop)
            return Route(scheme, url.host, port, context, hop)
        return Route(scheme, url.host, port, context, None, uds)

    def _check_out(
        self, prepared: Prepared, body: ResponseBody, fresh: bool
    ) -> HTTP11Connection | HTTP2Connection:
        """A live connection for `body`, which owns its slot from here on."""
        scheduler, route = self._scheduler, prepared.route
        while True:
            waiter = None
            now = time.monotonic()
            if body.marks.began is None:
                body.marks.began = now
            if self._lock._is_owned():  # by the code that we, a signal handler, have interrupted
                return self._check_out_aside(prepared, body)
            with self._lock:
                got = scheduler.acquire(route, body, now, fresh)
                if type(got) is Waiter:
                    waiter = got
                    waiter.event = threading.Lock()
                    waiter.event.acquire()
            if scheduler.closing or scheduler.woken or self._deferred:
                self._settle()
            if waiter is not None:
                if self._is_checking_out(sys._getframe(1)):
                    self._give_up(waiter)
                    return self._check_out_aside(prepared, body)
                if self._hook is not None:
                    self._hook("pool.enqueue", {"request": body.request, "route": _name(route)})
                self._wait(waiter, prepared)
                if scheduler.closing:
                    self._settle()  # the garbage collector has served us, and left this to us
                now = time.monotonic()
            if body.aborted:
                self._give_back_unused(body)
                raise PoolTimeout("aborted before there was a connection")
            slot = body.slot
            if slot.state is DIALING:
                return self._dial(prepared, body, slot)
            connection: HTTP11Connection | HTTP2Connection = slot.connection._connection
            if connection.is_usable(now - slot.idle_since):
                body.marks.ready = now
                if self._hook is not None:
                    self._tell_assigned(body, slot.connection)
                return connection
            if isinstance(connection, HTTP2Connection) and not connection.is_draining:
                occupied = connection.is_occupied
                if not occupied:
                    self._adjust(connection)  # for a moment: it owes an answer
                self._give_back_unused(body)
                if occupied:
                    return self._check_out_aside(prepared, body)
                continue
            with self._lock:
                scheduler.discard(body, now)
            self._settle()

    def _is_checking_out(self, frame: types.FrameType | None) -> bool:
        """Return whether this thread, from `frame` outwards, is in the middle of waiting for a
        connection of this pool, or of opening one: then whoever has interrupted it must not wait
        for that. Only asked of those that would have to wait."""
        while frame is not None:
            if frame.f_code is _CHECK_OUT and frame.f_locals.get("self") is self:
                return True
            frame = frame.f_back
        return False

    def _check_out_aside(
        self, prepared: Prepared, body: ResponseBody
    ) -> HTTP11Connection | HTTP2Connection:
        """A new connection outside of this pool's books, for a request that cannot have one of
        them because the thread was interrupted in the middle of using them."""
        spare = self._make_spare()
        body.pool = spare
        try:
            return spare._check_out(prepared, body, True)
        finally:
            spare.retire()  # it closes the connection when the response ends

    def _make_spare(self) -> ConnectionPool:
        """A pool like this one, with no connections and no limits."""
        spare = object.__new__(type(self))
        spare.__dict__.update(self.__dict__)
        spare._max_connections = spare._max_per_host = None
        spare._make_scheduler = partial(Scheduler, shares=self._make_scheduler.keywords["shares"])
        spare._begin()
        self._spares[id(spare)] = spare
        renew_in_child(spare)
        return spare

    def _tell_assigned(self, body: ResponseBody, connection: HTTPConnection) -> None:
        try:
            self._tell("pool.assign", {"request": body.request, "connection": connection})
        except BaseException:
            self._give_back_unused(body)
            raise

    def _give_back_unused(self, body: ResponseBody) -> None:
        with self._lock:
            self._scheduler.hand_back(body, time.monotonic())
        self._settle()

    def _wait(self, waiter: Waiter, prepared: Prepared) -> None:
        timeout, deadline = prepared.timeouts.pool, prepared.deadline
        if deadline is not None:
            timeout = deadline.left(timeout)
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while not waiter.served and not waiter.owner.aborted:
                left, now = MAX_SLEEP, time.monotonic()
                if end is not None:
                    left = min(left, end - now)
                    if left <= 0:
                        break
                if not waiter.event.acquire(timeout=left):
                    if end is not None:
                        end -= uncounted(now, left, time.monotonic())
                    if deadline is not None:
                        deadline.waited(now, left)
                if self._deferred:
                    self._settle()
        finally:
            if not waiter.served:
                self._give_up(waiter)
        if not waiter.served or waiter.cancelled:
            raise PoolTimeout(self._explain_wait(waiter.route, timeout))

    def _give_up(self, waiter: Waiter) -> None:
        with self._lock:
            if not waiter.served:  # else it was served in the last moment
                self._scheduler.cancel(waiter, time.monotonic())
        self._settle()

    def _explain_wait(self, route: Route, timeout: float | None) -> str:
        with self._lock:
            slots = self._scheduler.slots()
            total = self._max_connections
        self._settle_deferred()
        now = time.monotonic()
        here = [slot for slot in slots if slot.route == route]
        if self._max_per_host is not None and len(here) >= self._max_per_host:
            slots, why = (
                here,
                f"the limit is max_connections_per_host={self._max_per_host}, held by",
            )
        elif total is None or len(slots) < total:
            slots, why = here, "it may share the one that is being opened:"
        else:
            why = f"the limit is max_connections={total}, held by"
        holders: dict[str, list[float]] = {}
        for slot in slots:
            what, since = _holder(slot)
            holders.setdefault(what, []).append(now - since)
        most = sorted(holders.items(), key=lambda item: -len(item[1]))
        held = "; ".join(
            f"{len(ages)} x {what} (for {max(0.0, max(ages)):.3g} s)"
            for what, ages in most[:NAMED_HOLDERS]
        )
        others = len(holders) - NAMED_HOLDERS
        more = f"; and {others} others" if others > 0 else ""
        return (
            f"no connection to {_name(route)} became free within {timeout:g} s: "
            f"{why} {held or 'no request'}{more}"
        )

    def _dial(
        self, prepared: Prepared, body: ResponseBody, slot: Slot
    ) -> HTTP11Connection | HTTP2Connection:
        route: Route = prepared.route
        connection = self.create_connection(Origin(route.scheme, route.host, route.port))
        hop: Any = route.proxy
        address = self._settings.addresses.get((route.host, route.port))
        connection.set_path(hop, route.uds, address)
        context: Any = route.ssl_context
        if type(context) is tuple:
            context = context[0]
        if context is not None:
            connection.ssl_context = context
        if route.scheme in TLS_SCHEMES and connection.ssl_context is None:
            connection.ssl_context = self._make_ssl_context()
        slot.connection = connection
        if slot.aborted or body.aborted:
            connection.aborted = True
        trace = self._trace
        self._log = log_hook()  # logging may have been set up since
        self._trace = combined(self._hook, self._log)
        if trace is None and body.trace is None:
            body.trace = self._trace
        opened = connection.connect(prepared, body.trace)
        body.marks.ready = time.monotonic()
        body.marks.opening = connection.opening
        streams = None
        if isinstance(opened, HTTP2Connection):
            streams = opened.max_streams
            opened.on_change = partial(_adjust, weakref.ref(self), weakref.ref(opened))
        scheduler = self._scheduler
        with self._lock:
            scheduler.dialed(body, connection, time.monotonic(), streams)
        if scheduler.closing or scheduler.woken or self._deferred:
            self._settle()
        if self._hook is not None:
            self._tell_assigned(body, connection)
        return opened

    def _may_share(self, route: Route) -> bool:
        """Whether connections of `route` may turn out to be HTTP/2."""
        hop: Any = route.proxy
        if hop is not None and hop.forwards:
            return False
        return route.scheme in TLS_SCHEMES or "http/1.1" not in self._settings.protocols

    def _adjust(self, connection: HTTP2Connection) -> None:
        """A connection can carry more or fewer requests than before."""
        self._do(partial(self._adjust_now, connection))

    def _adjust_now(self, connection: HTTP2Connection) -> None:
        with self._lock:
            for slot in self._scheduler.slots():
                if getattr(slot.connection, "_connection", None) is connection:
                    now = time.monotonic()
                    if connection.is_draining:
                        self._scheduler.drain(slot, now)
                    else:
                        self._scheduler.resize(slot, connection.max_streams, now)

    def _make_ssl_context(self) -> ssl.SSLContext | None:
        return None  # the connection takes the default

    def create_connection(self, origin: Origin) -> HTTPConnection:
        """A new connection to `origin`, not yet open and not part of the pool."""
        return HTTPConnection.from_settings(origin, self._settings)

    # Giving back

    def _tell_evicted(self, connection: HTTPConnection) -> None:
        """What the hook raises here would meet a request that has nothing to do with it, and might
        keep the connection open."""
        try:
            self._tell("pool.evict", {"connection": connection})
        except Exception:
            logger.exception("the trace hook failed at pool.evict")

    def _release(self, owner: Any, reusable: bool, keep_for: float | None) -> None:
        if self._lock._is_owned():
            self._deferred.append(partial(self._release_now, owner, reusable, keep_for))
            return
        scheduler = self._scheduler
        with self._lock:
            scheduler.release(owner, time.monotonic(), reusable, keep_for)
        if scheduler.closing or scheduler.woken or self._deferred:
            self._settle()

    def _release_now(self, owner: Any, reusable: bool, keep_for: float | None) -> None:
        with self._lock:
            self._scheduler.release(owner, time.monotonic(), reusable, keep_for)

    def _forget(self, owner: Any) -> None:
        """The owner's connection is no longer HTTP and no longer the pool's."""
        with self._lock:
            self._scheduler.forget(owner)
        self._settle()

    def _do(self, change: Callable[[], None]) -> None:
        """Carry out `change`, which takes the lock: now, so that it is done when this returns; or
        when the code has let go that we have interrupted in this thread and that has the lock."""
        self._deferred.append(change)
        self._settle()

    def _orphaned(self, slot: Slot | Share) -> None:
        """Called by the garbage collector: at any place, maybe while this thread has the lock."""
        self._deferred.append(partial(self._release_orphan, slot))
        if not self._lock._is_owned() and self._lock.acquire(blocking=False):
            self._lock.release()
            self._settle(collecting=True)
        # Else the holder of the lock looks into the queue after it has let go.

    def _release_orphan(self, slot: Slot | Share) -> None:
        """Give back what the owner of `slot`, who is gone, did not."""
        if type(slot) is Slot and slot.state is ACTIVE and slot.connection is not None:
            slot.connection.close()
        with self._lock:
            # Of a connection that others share, only a stream is lost (`Exchange.discard`).
            self._scheduler.release(OrphanOwner(slot), time.monotonic(), type(slot) is Share)

    def _settle_deferred(self) -> None:
        """To be called after the lock was let go, where nothing else has to be done then."""
        if self._deferred:
            self._settle()

    def _settle(self, collecting: bool = False) -> None:
        """Do what is left to do without the lock: what was deferred, then close, then wake.

        In this order, so that a connection is closed before there is one in its place. Several
        threads may be here at once, and any may be interrupted: doing it twice does no harm, and a
        waiter that is not woken looks by itself. Where this thread holds the lock, it comes here
        again when it has let go.

        The garbage collector (`collecting`) may have struck a thread that holds the lock of a
        connection. So what several share, which cannot be closed without that, is left to whoever
        comes next.
        """
        if self._lock._is_owned():
            return
        if self._deferred:
            self._deferred.carry_out()
        self._close_and_wake(collecting)

    def _close_and_wake(self, collecting: bool) -> None:
        closing = self._scheduler.closing
        while closing:
            ours = [each for each in list(closing) if not (collecting and _is_shared(each))]
            if not ours:
                break
            connection = ours[-1]
            if self._hook is not None and not connection.is_closed():
                self._tell_evicted(connection)
            connection.close()
            with contextlib.suppress(ValueError):
                closing.remove(connection)
        woken = self._scheduler.woken
        while woken:
            try:
                event = woken.pop().event
                if event is not None:  # else the waiter has not gone to sleep yet
                    event.release()
            except (IndexError, RuntimeError):
                pass  # another thread took the last one, or has woken it before

    # Looking, closing

    @property
    def connections(self) -> list[ConnectionInterface]:
        """The connections of the pool, a new list; look at them, do not use them."""
        with self._lock:
            slots = self._scheduler.slots()
        self._settle_deferred()
        return [slot.connection for slot in slots if slot.connection is not None]

    def stats(self) -> dict[str, Any]:
        """What the pool is doing. A snapshot that costs some microseconds and nothing in between;
        thread-safe.

        Keys:
            connections, active, idle, dialing: how many there are, in which state.
            requests: how many requests have a connection or open one; over HTTP/2 they share.
            waiting: how many requests wait for a connection.
            routes: by URL of the server, with its proxy or Unix socket: how many connections are
                ``active``, ``idle``, ``dialing``, and how many requests are ``queued``. Those that
                go on from an HTTP proxy are counted under the proxy.
            waiting_for: the requests that wait longest, 20 at most, the oldest first: ``method``,
                ``url`` (without user, password and values of the query) and ``seconds`` so far.
            totals: since the pool was made (or the process was forked). Connections: ``opened``;
                ``failed``, which could not be opened; ``expired``, closed while idle because their
                time was up or the server was gone; ``evicted``, closed while idle to make room.
                Requests: ``reused``, which got a connection that others had used; ``replayed``,
                how often one was sent again.
        """
        self._settle_deferred()
        scheduler = self._scheduler
        with self._lock:
            by_route = scheduler.routes()
            found: dict[str, Any] = dict(scheduler.stats())
            totals = scheduler.totals()
            waiters = scheduler.waiters(LISTED_WAITERS)
        if scheduler.closing or scheduler.woken or self._deferred:
            self._settle()  # a thread was interrupted before it could
        routes: dict[str, dict[str, int]] = {}
        for route, figures in by_route.items():
            counts = routes.setdefault(_whole_name(route), dict.fromkeys(figures, 0))
            for state, count in figures.items():
                counts[state] += count
        now = time.monotonic()
        found["routes"] = routes
        found["waiting_for"] = [_waiting(waiter, now) for waiter in waiters]
        found["totals"] = totals
        return found

    def close_idle(self, proxy: Proxy | None = None) -> None:
        """Close idle connections now: all, or those through `proxy` with its credentials, however
        it was verified."""
        chooses = None
        if proxy is not None:
            hops = [to_hop(proxy, scheme) for scheme in (b"http", b"https")]
            chooses = partial(_is_one_of, frozenset(hop._replace(ssl_context=None) for hop in hops))
        self._do(partial(self._close_idle_now, chooses))

    def _close_idle_now(self, chooses: Any) -> None:
        with self._lock:
            self._scheduler.close_idle(chooses)

    def retire(self) -> None:
        """Close idle connections now, and those in use when their response ends. The pool stays
        usable. A signal handler may call it."""
        self._do(self._retire_now)

    def _retire_now(self) -> None:
        with self._lock:
            self._scheduler.close()

    def close(self) -> None:
        """Close all connections now, and end the requests that are under way: wherever they are,
        they raise `httpcore.NetworkError` (more precisely `httpcore.exceptions.Aborted`) at once.

        Thread-safe; a signal handler may call it. The pool stays usable. See `retire` for letting
        responses end.
        """
        self._do(self._close_now)
        for reference in self._spares.valuerefs():
            spare = reference()
            if spare is not None:
                spare.close()

    def _close_now(self) -> None:
        with self._lock:
            self._scheduler.close()
            for waiter in self._scheduler.waiters():
                waiter.owner.aborted = True
                _wake(waiter)
            for slot in self._scheduler.slots():
                _abort(slot)

    def _interrupt(self, owner: ResponseBody) -> None:
        """Let `owner` see, wherever it is, that it is not to go on."""
        exchange = owner.source
        if isinstance(exchange, Exchange):  # nobody else's, ever; the others on it go on
            exchange.abort()
        else:
            self._do(partial(self._interrupt_now, owner))

    def _interrupt_now(self, owner: ResponseBody) -> None:
        # Under the lock its connection cannot become somebody else's meanwhile.
        with self._lock:
            waiter = self._scheduler.waiter_of(owner)
            if waiter is not None:
                _wake(waiter)
            slot = owner.slot
            if type(slot) is Slot and slot.state in (ACTIVE, DIALING):
                _abort(slot)

    def _renew_in_child(self) -> None:
        """In the child of a fork: begin again, with no connections and a lock that is free.

        The connections see to themselves (`HTTP11Connection._renew_in_child`).
        """
        self._scheduler.abandon()
        self._begin()

    def __enter__(self) -> ConnectionPool:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: types.TracebackType | None = None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        self._settle_deferred()
        with self._lock:
            stats = self._scheduler.stats()
        self._settle_deferred()
        active = stats["active"] + stats["dialing"]
        return (
            f"<{self.__class__.__name__} [Requests: {stats['requests']} active, "
            f"{stats['waiting']} queued | Connections: {active} active, {stats['idle']} idle]>"
        )


# By this a thread finds out what it was doing when a signal handler interrupted it.
_CHECK_OUT = ConnectionPool._check_out.__code__


class PoolManager(ConnectionPool):
    """The pool as 2019 designed it: three configuration objects. Thread-safe.

    Parameters:
        ssl: how to verify servers and who we are.
        timeout: for requests that bring none of their own in ``extensions["timeout"]``.
        limits: how many connections.
    """

    def __init__(
        self,
        *,
        ssl: SSLConfig | None = None,
        timeout: TimeoutConfig | None = None,
        limits: PoolLimits | None = None,
    ) -> None:
        for name, value, kind in (
            ("ssl", ssl, SSLConfig),
            ("timeout", timeout, TimeoutConfig),
            ("limits", limits, PoolLimits),
        ):
            if value is not None and not isinstance(value, kind):
                raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")
        super().__init__(**(limits or PoolLimits()).as_pool_arguments())  # type: ignore[arg-type]
        self._ssl_config = ssl or SSLConfig()
        if timeout is not None:
            self._default_timeouts = read_timeouts(timeout.as_extension())

    def _make_ssl_context(self) -> ssl.SSLContext | None:
        config = self._ssl_config
        return create_ssl_context(config.verify, config.cert, protocols=self._settings.protocols)


def _is_shared(connection: Any) -> bool:
    return isinstance(getattr(connection, "_connection", None), HTTP2Connection)


class OrphanOwner:
    """Holds the slot of an owner that is gone, just long enough to release it."""

    __slots__ = ("aborted", "slot")

    def __init__(self, slot: Slot | Share) -> None:
        self.slot: Slot | Share | None = slot
        self.aborted = False


def _wake(waiter: Waiter) -> None:
    if waiter.event is not None:  # else it has not gone to sleep yet, and will look
        with contextlib.suppress(RuntimeError):  # it was woken already
            waiter.event.release()


def _abort(slot: Slot) -> None:
    """End what is going on on this slot's connection."""
    slot.aborted = True
    if slot.connection is not None:  # else it is about to be made, and its maker will look
        # What a stream of somebody's own make raises would meet whoever does what was deferred.
        with contextlib.suppress(Exception):
            slot.connection.abort()


def _adjust(pool: Any, connection: Any) -> None:
    """`ConnectionPool._adjust`, for a connection that must not keep its pool alive."""
    pool, connection = pool(), connection()
    if pool is not None and connection is not None:
        pool._adjust(connection)


def _tls_settings(extensions: Any, context: Any) -> Any:
    """What of the TLS settings makes a connection reusable: the context, and the name when
    it is not the host's, because the certificate was checked against it."""
    own = extensions.get("ssl_context")
    if own is not None:
        if not hasattr(own, "wrap_socket"):
            kind = type(own).__name__
            raise TypeError(f"extensions['ssl_context'] must be an ssl.SSLContext, not {kind}")
        context = own
    name = extensions.get("sni_hostname")
    return context if name is None else (context, to_server_name(name))


def _is_one_of(hops: frozenset[ProxyHop], hop: ProxyHop | None) -> bool:
    return hop is not None and hop._replace(ssl_context=None) in hops


def _to_path(path: Any) -> str | None:
    if path is None or type(path) is str:
        return path
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"extensions['uds'] must be a path or None, not {type(path).__name__}")
    return text


def _name(route: Route) -> str:
    return str(Origin(route.scheme, route.host, route.port))


def _whole_name(route: Route) -> str:
    name = _name(route)
    hop: Any = route.proxy
    if route.uds is not None:
        name += f" at {shown_path(route.uds)}"
    elif hop is not None and not hop.forwards:
        name += f" through {hop}"
    return name


def _holder(slot: Slot) -> tuple[str, float]:
    """What a slot is used for, and since when."""
    inner = getattr(slot.connection, "_connection", None)
    request = None if inner is None else inner.serving
    if inner is None or request is None:
        return f"{_name(slot.route)} ({slot.state.lower()})", slot.idle_since
    others = 0 if slot.shares is None else len(slot.shares) - 1
    more = f" and {others} more on the same connection" if others > 0 else ""
    return f"{_method(request)} {_url(request)}{more}", inner.since or slot.idle_since


def _waiting(waiter: Waiter, now: float) -> dict[str, Any]:
    owner: Any = waiter.owner
    request = owner.request
    return {
        "method": _method(request),
        "url": _url(request),
        "seconds": max(0.0, now - waiter.since),
    }


def _method(request: Request) -> str:
    return request.method.decode("ascii", "backslashreplace")


def _url(request: Request) -> str:
    """The URL for people: whoever reads it may be concerned with another request."""
    target = redact_target(request.url.target).decode("ascii", "backslashreplace")
    return f"{request.url.origin}{target}" if target.startswith("/") else target


def _was_refused(exc: BaseException, prepared: Prepared) -> bool:
    """Whether an HTTP/2 server said that it has not processed the request (RFC 9113 section 8.7),
    so that it can go elsewhere, whatever its method."""
    if not isinstance(exc, RemoteProtocolError):
        return False
    if not prepared.is_repeatable:
        return False
    return exc.phase == NOT_SENT


def _may_replay(
    exc: BaseException,
    prepared: Prepared,
    connection: HTTP11Connection | HTTP2Connection | None,
) -> bool:
    """Whether to send the request again on a new connection.

    Only when the connection had served requests before, and died: that is then likely the
    keep-alive race (RFC 9112 section 9.3.1), not an answer to this request.
    """
    if connection is None or connection._request_count < 2:
        return False
    if isinstance(connection, HTTP2Connection) and connection.is_available():
        return False  # the server has ended this stream alone
    if not isinstance(exc, (NetworkError, RemoteProtocolError)) or exc.phase == RESPONSE_STARTED:
        return False
    if not prepared.is_repeatable:
        return False
    return exc.phase == NOT_SENT or prepared.request.method in IDEMPOTENT
