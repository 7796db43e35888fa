"""The routes of a running gateway: their upstreams with their connections.

Owns: making pools from settings, one for each upstream however many routes lead to it; what is
worked out once for each route. Must not know: ASGI.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpcore

from ._balance import Balancer, Member, UpstreamState
from ._settings import Route, Settings, Timeouts, Upstream, make_context, to_upstream, upstream_url

#: Seconds that a connection may be idle before it is closed: less than the 60 to 75 s after which
#: most servers close theirs.
KEEPALIVE = 50.0


class RouteState:
    """A route, ready to be used.

    Attributes:
        settings: its `Route`.
        number: its place in the settings.
        balancer: chooses among its upstreams.
        strip: what is taken away from the front of a path; empty for nothing.
        timeouts: as `httpcore` has them; None where they are those of the pools.
    """

    __slots__ = ("balancer", "number", "settings", "strip", "timeouts")

    def __init__(self, settings: Route, number: int, servers: list[Target], shared: bool) -> None:
        self.settings = settings
        self.number = number
        self.balancer = Balancer([TargetMember(server, settings) for server in servers])
        self.strip = settings.path.rstrip("/").encode("ascii") if settings.strip_path else b""
        self.timeouts = None if shared else read_timeouts(settings.timeouts)


class Target(UpstreamState):
    """An upstream with what each request to it needs.

    Attributes:
        scheme, host, port: where it is.
        host_field: its Host.
        path: what is put in front of each path; empty for nothing.
        timeouts: those of its pool.
    """

    __slots__ = ("_http1_pool", "_trace", "host", "host_field", "path", "port", "scheme",
                 "timeouts")  # fmt: skip

    def __init__(
        self, settings: Upstream, timeouts: Timeouts, trace: Callable[..., object] | None
    ) -> None:
        url = upstream_url(settings.url)
        self.scheme, self.host, self.port = url.scheme, url.host, url.port
        host = b"[" + url.host + b"]" if b":" in url.host else url.host
        self.host_field = host if url.port is None else host + b":%d" % url.port
        self.path = url.target.rstrip(b"/")
        self.timeouts = timeouts
        self._trace = trace
        self._http1_pool: httpcore.AsyncConnectionPool | None = None
        super().__init__(settings, self._make_pool(settings, settings.http2))

    def _make_pool(self, settings: Upstream, http2: bool) -> httpcore.AsyncConnectionPool:
        prior = http2 and self.scheme == b"http"  # without TLS there is no ALPN to choose it by
        return httpcore.AsyncConnectionPool(
            ssl_context=make_context(settings),
            max_connections=settings.max_connections,
            keepalive_expiry=KEEPALIVE,
            http1=not prior,
            http2=http2,
            uds=settings.uds,
            timeout=read_timeouts(self.timeouts),
            trace=self._trace,
        )

    @property
    def can_upgrade(self) -> bool:
        """Return whether it speaks HTTP/1.1, whose connections become WebSockets."""
        return not self.settings.http2 or self.scheme == b"https"

    @property
    def http1_pool(self) -> httpcore.AsyncConnectionPool:
        """Return the pool for what needs HTTP/1.1: where `pool` speaks HTTP/2, one of its own,
        made when it is needed first."""
        if not self.settings.http2:
            pool: httpcore.AsyncConnectionPool = self.pool
            return pool
        if self._http1_pool is None:
            self._http1_pool = self._make_pool(self.settings, False)
        return self._http1_pool

    async def aclose(self) -> None:
        """Close all connections to it."""
        await self.pool.aclose()
        if self._http1_pool is not None:
            await self._http1_pool.aclose()


class TargetMember(Member):
    """A member whose upstream is a `Target`."""

    __slots__ = ()
    server: Any

    def __init__(self, server: Target, route: Route) -> None:
        super().__init__(server, route.breaker)


def read_timeouts(timeouts: Timeouts) -> Mapping[str, float | None]:
    """Return the timeouts as `httpcore` has them."""
    return {
        "connect": timeouts.connect,
        "read": timeouts.read,
        "write": timeouts.write,
        "pool": timeouts.queue,
        "total": timeouts.total,
    }


def make_routes(
    settings: Settings, trace: Callable[..., object] | None
) -> tuple[list[RouteState], list[Target]]:
    """Return the routes in their order, and all upstreams, each once."""
    targets: dict[Upstream, Target] = {}
    routes = []
    for number, route in enumerate(settings.routes):
        servers = []
        for given in route.upstreams:
            upstream = to_upstream(given)
            if upstream not in targets:
                targets[upstream] = Target(upstream, route.timeouts, trace)
            servers.append(targets[upstream])
        shared = all(server.timeouts == route.timeouts for server in servers)
        routes.append(RouteState(route, number, servers, shared))
    return routes, list(targets.values())
