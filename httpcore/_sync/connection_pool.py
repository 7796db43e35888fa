"""The pool: waiting for a connection, opening it, sending, and sending again.

Owns: sleeping until a connection is free, and the calls for each step of a request. Must not know:
which request gets which connection (`_core.scheduler`), what comes after a failure
(`_core.attempts`), where a request goes (`_core.routes`), how HTTP is framed.

A signal handler may send a request while the thread that it has interrupted holds the lock of the
slots, or waits for a connection: it then gets one outside of the pool's books
(`_check_out_aside`). For everything else see `pool_slots`.
"""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
import types
from typing import Any

from .._backends.base import NetworkBackend
from .._backends.cancel_token import attach
from .._backends.clock import Deadline
from .._backends.sync import SyncBackend
from .._core.attempts import (
    RAISE,
    RAISE_ABORTED,
    RAISE_ENDED,
    Repeats,
    Replays,
    explain_ended,
)
from .._core.checkout import GO_ASIDE, QueueWait, is_running
from .._core.http_proxy import forwarded
from .._core.prepared import Prepared, prepare
from .._core.retry import RetryConfig
from .._core.routes import find_route
from .._core.scheduler import DIALING, Slot, Waiter
from .._exceptions import PoolTimeout, TimeoutException
from .._models import Request, Response
from .._shared.codecs import load_codecs
from .._shared.pool_actions import PoolActions
from .._shared.pool_slots import PoolSlots
from .._shared.request_log import log_response
from .._trace import debug
from .._url import Origin
from .connection import HTTPConnection
from .http2 import HTTP2Connection
from .http11 import HTTP11Connection
from .interfaces import ConnectionInterface, RequestInterface
from .response_body import ResponseBody

logger = logging.getLogger("httpcore.pool")

jitter = random.random  # it only spreads retries; nobody has to be unable to guess it


class ConnectionPool(PoolActions[NetworkBackend, ConnectionInterface], RequestInterface):
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
            gets the ``request`` with each, except ``pool.evict``. All but the pool's own are
            logged at DEBUG, without passwords and cookies, if that is on when the pool is made or
            opens a connection.

    Raises TypeError or ValueError for an argument that cannot be.
    """

    _slots: PoolSlots

    _make_slots = PoolSlots
    _make_backend = SyncBackend
    _load = staticmethod(load_codecs)

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
        route = find_route(request, self._settings)
        hop: Any = route.proxy
        if hop is not None and hop.forwards:
            request = forwarded(request, hop)
        prepared = prepare(request, self._lenient, self._default_timeouts, self.asynchronous)
        prepared.route = route
        if prepared.timeouts.total is not None:
            prepared.deadline = Deadline(prepared.timeouts.total)
        try:
            if self._retry_config is not None:
                return self._send_repeatedly(prepared, self._retry_config)
            return self._send(prepared)
        except BaseException as exc:
            self._report("pool.fail", {"request": request, "exception": exc})
            raise

    def _send(self, prepared: Prepared) -> Response:
        """Send it; more than once where `Replays` finds that safe and useful."""
        request = prepared.request
        trace, cancel = self._trace, None
        if trace is not None or request.extensions:
            trace, cancel = self._read_extensions(request)
        replays: Replays | None = None
        began: float | None = None
        while True:
            body = ResponseBody(self._slots, request)
            body.marks.began = began
            body.trace = trace
            connection: HTTP11Connection | HTTP2Connection | None = None
            try:
                if cancel is not None and attach(cancel, body):
                    raise PoolTimeout("aborted before there was a connection")
                connection = self._check_out(prepared, body, replays is not None and replays.fresh)
                response = connection.exchange(prepared, body)
                if self._logs_requests and request.log:
                    log_response(body, response)
                return response
            except BaseException as exc:
                body.abandon()
                if prepared.deadline is not None and isinstance(exc, TimeoutException):
                    prepared.deadline.explain(exc)
                if replays is None:
                    replays = Replays(prepared)
                step = replays.after(exc, body.aborted, connection)
                if step is RAISE:
                    self._log_failure(body, exc)
                    raise
                if step is RAISE_ABORTED:
                    raise self._log_failure(body, body.explain_abort(exc)) from exc
                if step is RAISE_ENDED:
                    raise self._log_failure(body, explain_ended(exc)) from exc
                failure = exc
            self._prepare_next(step, request, connection, failure)
            del failure  # its traceback has this frame, which has the body
            began = body.marks.began

    def _send_repeatedly(self, prepared: Prepared, config: RetryConfig) -> Response:
        """Send it as often as `config`, the pool's budget, the body and the deadline allow."""
        request, deadline = prepared.request, prepared.deadline
        repeats, budget = Repeats(config, prepared), self._retry_budget
        assert budget is not None
        self._slots.ask(budget.earn)
        while True:
            failure: Exception | None = None
            try:
                response = self._send(prepared)
            except Exception as exc:
                delay = repeats.after_failure(exc, jitter(), time.monotonic())
                if delay is None or not self._slots.ask(budget.spend):
                    raise
                failure = exc
            else:
                clocks = time.time(), time.monotonic()
                delay = repeats.after_status(response.status, response.headers, jitter(), *clocks)
                if delay is None or not self._slots.ask(budget.spend):
                    return response
            debug(logger, "retry %d in %.3g s after %s", repeats.made, delay, repeats.reason)
            if failure is None:
                response.close()
            self._note_replay(request, failure)
            failure = None  # its traceback has this frame
            prepared.rewind()
            cancel = request.extensions.get("cancel")
            now = time.monotonic()
            backend = self._settings.network_backend
            (backend.sleep if cancel is None else cancel.sleep)(delay)
            if deadline is not None:
                deadline.timed_out(now, delay)

    def _check_out(
        self, prepared: Prepared, body: ResponseBody, fresh: bool
    ) -> HTTP11Connection | HTTP2Connection:
        """Return a live connection for `body`, which owns its slot from here on."""
        slots: Any = body.pool
        scheduler, route = slots.scheduler, prepared.route
        while True:
            waiter = None
            now = time.monotonic()
            if body.marks.began is None:
                body.marks.began = now
            if slots.lock.is_owned():  # by the code that we, a signal handler, have interrupted
                return self._check_out_aside(prepared, body)
            with slots.lock:
                got = scheduler.acquire(route, body, now, fresh)
                if type(got) is Waiter:
                    waiter = got
                    waiter.event = threading.Lock()
                    waiter.event.acquire()
            if scheduler.closing or scheduler.woken or slots.deferred:
                slots.settle()
            if waiter is not None:
                if not self._queue(waiter, prepared, body, sys._getframe(1)):
                    return self._check_out_aside(prepared, body)
                now = time.monotonic()
            if body.aborted:
                slots.hand_back(body)
                raise PoolTimeout("aborted before there was a connection")
            slot = body.slot
            if slot.state is DIALING:
                return self._dial(prepared, body, slot)
            connection: HTTP11Connection | HTTP2Connection = slot.connection.opened
            if connection.is_usable(now - slot.idle_since):
                body.marks.ready = now
                if slots.hook is not None:
                    self._report_assigned(body, slot.connection)
                return connection
            if slots.refuse(body, connection) is GO_ASIDE:
                return self._check_out_aside(prepared, body)

    def _queue(
        self, waiter: Waiter, prepared: Prepared, body: ResponseBody, frame: types.FrameType
    ) -> bool:
        """Wait until `waiter` is served; whether that could be, `frame` being our caller's."""
        slots: Any = body.pool
        if is_running(_CHECK_OUT, self, frame):
            slots.give_up(waiter)
            return False
        if slots.hook is not None:
            self._report_queued(prepared)
        self._wait(waiter, prepared)
        if slots.scheduler.closing:
            slots.settle()  # the garbage collector has served us, and left this to us
        return True

    def _check_out_aside(
        self, prepared: Prepared, body: ResponseBody
    ) -> HTTP11Connection | HTTP2Connection:
        """Return a new connection outside of this pool's books, for a request that cannot have one
        of them because the thread was interrupted in the middle of using them."""
        body.pool = spare = self._slots.make_spare()
        try:
            return self._check_out(prepared, body, True)
        finally:
            spare.retire()  # it closes the connection when the response ends

    def _wait(self, waiter: Waiter, prepared: Prepared) -> None:
        slots = self._slots
        wait = QueueWait(prepared.timeouts.pool, prepared.deadline, time.monotonic())
        try:
            while not waiter.served and not waiter.owner.aborted:
                now = time.monotonic()
                seconds = wait.next_sleep(now)
                if not seconds:
                    break
                if not waiter.event.acquire(timeout=seconds):
                    wait.slept(now, seconds, time.monotonic())
                if slots.deferred:
                    slots.settle()
        except BaseException:
            if waiter.served:  # in the moment in which this was interrupted
                slots.hand_back(waiter.owner)
            raise
        finally:
            if not waiter.served:
                slots.give_up(waiter)
        if not waiter.served or waiter.cancelled:
            raise self._explain_timeout(waiter, wait)

    def _dial(
        self, prepared: Prepared, body: ResponseBody, slot: Slot
    ) -> HTTP11Connection | HTTP2Connection:
        connection: HTTPConnection = self._begin_to_dial(prepared, body, slot)
        opened = connection.connect(prepared, body.trace)
        self._note_dialed(body, connection, opened)
        return opened

    def create_connection(self, origin: Origin) -> HTTPConnection:
        """A new connection to `origin`, not yet open and not part of the pool."""
        return HTTPConnection.from_settings(origin, self._settings)


# By this a thread finds out what it was doing when a signal handler interrupted it.
_CHECK_OUT = ConnectionPool._check_out.__code__
