"""The ASGI application.

Owns: making the parts of the gateway, and which one serves which kind of scope. Must not know: how
one request is served.

Source: asgi.readthedocs.io, "HTTP & WebSocket ASGI Message Format" 2.5, "Lifespan" 2.0.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import weakref
from collections.abc import Callable, Iterable
from threading import get_ident
from typing import Any

from ._admin import Admin
from ._asgi import Receive, Scope, Send
from ._counters import Counters, collect_stats
from ._exchange import Exchange
from ._log import AccessLog
from ._passage import path_of
from ._record import Record, RequestIds
from ._routes import make_routes
from ._routing import RouteTable
from ._settings import Route, Settings, Upstream, check_settings, read_networks
from ._websocket import WebSocket


class Gateway:
    """Passes requests on to other servers; an ASGI application::

        from httpcore_gateway import Gateway

        app = Gateway(["http://127.0.0.1:8001", "http://127.0.0.1:8002"])

    Any ASGI server on asyncio runs it, and any ASGI framework mounts it below a path. It belongs to
    one event loop; each process of a server has its own.

    Parameters:
        upstreams: URLs or `Upstream` objects that share all requests; short for one `Route`.
        settings: all settings, in place of `upstreams`.
        trace: a plain function, called with name and details of each event of each request to
            an upstream, as that of `httpcore.AsyncConnectionPool`.

    Attributes:
        closed: `aclose` was called, so that requests to upstreams fail.
        admin: an ASGI application with health, stats and metrics, to be served where only
            operators can reach it; `Settings.admin_path` has the same in the gateway itself.
        stopping: set it to True to make ``/health`` return 503, so that load balancers send no
            more requests. The end of ASGI's lifespan sets it, too, but servers begin that only
            when all requests have ended.

    Raises SettingsError for a wrong setting, with its place, and TypeError for both `upstreams`
    and `settings`.
    """

    def __init__(
        self,
        upstreams: Iterable[str | Upstream] = (),
        *,
        settings: Settings | None = None,
        trace: Callable[..., object] | None = None,
    ) -> None:
        upstreams = tuple(upstreams)
        if settings is None:
            settings = Settings(routes=(Route(upstreams=upstreams),))
        elif upstreams:
            raise TypeError("give either upstreams or settings, which contain upstreams")
        check_settings(settings)
        self.settings = settings
        self.name = settings.name.encode("ascii")
        self.ids = RequestIds()
        self.stopping = False
        self.closed = False
        states, self.targets = make_routes(settings, trace)
        self.route_states = states
        self.counters = Counters(len(states))
        self.admin = Admin(self)
        self._log = None if settings.access_log == "off" else AccessLog(settings.access_log)
        self.routes = RouteTable(
            (state.settings.host, state.settings.path, state) for state in states
        )
        self._trusted = read_networks(settings.trusted)
        self._known_peers: dict[str, bool] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0  # in which it ran
        _gateways.add(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope of the ASGI server: a request, a WebSocket, or the lifespan.

        Raises NotImplementedError for any other type.
        """
        kind = scope["type"]
        in_flight = self.counters.in_flight
        if kind in in_flight:
            if self.admin.paths and path_of(scope)[0] in self.admin.paths:
                await self.admin(scope, receive, send)
                return
            serving = Exchange if kind == "http" else WebSocket
            in_flight[kind] += 1
            try:
                await serving(self, scope, receive, send).run()
            finally:
                in_flight[kind] -= 1
        elif kind == "lifespan":
            await self._live(receive, send)
        else:
            raise NotImplementedError(f"the gateway does not serve ASGI's {kind!r}")

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self.stopping = True
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def aclose(self) -> None:
        """Close all connections to upstreams, for good; requests that are under way fail."""
        self.closed = True
        for target in self.targets:
            await target.aclose()

    def look_around(self) -> tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]:
        """Return the loop and the task that run this code.

        To ask asyncio for the loop is a system call each time before Python 3.12, as it compares
        process ids. The loop that it named before is this one where a task of it runs in its
        thread.
        """
        loop = self._loop
        if loop is not None and self._thread == get_ident():
            task = asyncio.current_task(loop)
            if task is not None:
                return loop, task
        self._loop = loop = asyncio.get_running_loop()
        self._thread = get_ident()
        return loop, asyncio.current_task(loop)

    def forget_loop(self) -> None:
        """Forget the loop, of which the child of a fork has a copy that runs nothing."""
        self._loop = None

    def trusts(self, peer: Any) -> bool:
        """Return whether this client is a trusted proxy, whose ``Forwarded`` and similar fields are
        kept."""
        if not self._trusted or not peer:
            return False
        address = peer[0]
        known = self._known_peers.get(address)
        if known is None:
            known = self._is_trusted(address)
            if len(self._known_peers) < MAX_PEERS:
                self._known_peers[address] = known
        return known

    def _is_trusted(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False  # the path of a Unix socket, or a text that a middleware has put there
        # A socket for both families has IPv4 clients as ::ffff:10.0.0.1.
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._trusted)

    def done(self, record: Record) -> None:
        """Count and log a request that has ended."""
        self.counters.count(record)
        if self._log is not None:
            self._log.write(record)

    def stats(self) -> dict[str, Any]:
        """Return the gateway's figures, as values that JSON has. Any thread may call this. The
        figures are those of this process.

        Keys:
            seconds: since the gateway was made.
            stopping: see `stopping`.
            in_flight: how many requests are under way: of ``http`` and ``websocket``.
            routes: for each route of the settings, and last for requests without a route:

                - ``route``: its host and path; ``none``.
                - ``requests``: that have ended, by the class of their status (``2xx``); ``none``
                  where the client got no response.
                - ``failures``: those without a whole response of an upstream, by kind.
                - ``retries``: how often a request was sent to one more upstream.
                - ``client_left``: requests of clients that did not wait for the end.
                - ``bytes_received``, ``bytes_sent``: of bodies, from and to clients.
                - ``durations``: of HTTP requests: their ``count``, the ``seconds`` that they took
                  together, and how many took no more than so many seconds (``up_to``).
                - ``upstreams``: ``upstream``, its URL; ``breaker``: ``closed``, ``open`` or
                  ``half-open``; how many ``requests`` were passed to it, the ``failures`` and
                  ``failures_in_a_row``, all as far as this route knows.
            upstreams: for each one, however many routes lead to it: ``upstream``, its URL;
                ``active``: requests that are under way or wait; ``waiting``: those that wait for a
                connection; ``connections`` that are ``active``, ``idle``, ``dialing``; and how
                many were ``opened`` or could not be (``not_opened``) so far.
        """
        return collect_stats(self.counters, self.route_states, self.targets, self.stopping)


_gateways: weakref.WeakSet[Gateway] = weakref.WeakSet()


def _forget_loops() -> None:
    for gateway in list(_gateways):
        gateway.forget_loop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_loops)

#: Addresses for which the result of `trusts` is kept. There are few proxies in front; for further
#: addresses it is computed each time.
MAX_PEERS = 1000
