"""The figures of a gateway.

Owns: the counters, and `stats`, which puts them together with those of the upstreams. Must not
know: how they are shown (`_admin`), ASGI.

Counting is a few additions for each request, in the thread of the event loop and without a lock:
another thread reads figures that are each right, and may be one request apart from each other.
There is a fixed number of them: labels come from the settings and from lists here, never from a
client.

Source: prometheus.io/docs/practices/histograms.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from ._balance import Member
from ._record import KINDS, OTHER, Record
from ._settings import Route, Upstream

#: Upper ends of the histogram of durations, in seconds: from the time that the gateway itself takes
#: to the default timeout of reading.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: Classes of statuses; "none" where the client got no response.
CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
#: The name of the figures of requests without a route.
UNROUTED = "none"


class RouteCounters:
    """The figures of one route.

    Attributes:
        classes: how many requests had a status of each of `CLASSES`.
        kinds: how many failed, by the kind of the failure.
        retries: how often a request was sent to one more upstream.
        client_left: requests of clients that did not wait for the end.
        received, sent: bytes of bodies, from and to clients.
        durations: how many requests took as long as the bucket of `BUCKETS` says, one more for
            longer ones. WebSockets are not among them.
        seconds: that these took together.
    """

    __slots__ = ("classes", "client_left", "durations", "kinds", "received", "retries", "seconds",
                 "sent")  # fmt: skip

    def __init__(self) -> None:
        self.classes = [0] * len(CLASSES)
        self.kinds = dict.fromkeys(KINDS, 0)
        self.retries = 0
        self.client_left = 0
        self.received = 0
        self.sent = 0
        self.durations = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0


class Counters:
    """The figures of a gateway.

    Parameters:
        routes: how many there are.

    Attributes:
        in_flight: by the type of ASGI's scope, how many requests are under way.
        routes: those of each route; the last ones are of requests that came to none.
    """

    __slots__ = ("_began", "in_flight", "routes")

    def __init__(self, routes: int) -> None:
        self.in_flight = {"http": 0, "websocket": 0}
        self.routes = [RouteCounters() for _ in range(routes + 1)]
        self._began = time.monotonic()

    def count(self, record: Record) -> None:
        """Count a request that has ended."""
        route = self.routes[-1 if record.route is None else record.route]
        route.classes[record.status // 100] += 1
        route.received += record.received
        route.sent += record.sent
        if record.attempts > 1:
            route.retries += record.attempts - 1
        if record.failure:
            route.kinds[record.kind or OTHER] += 1
        if record.client_left:
            route.client_left += 1
        if record.scope["type"] == "http":
            seconds = record.ended - record.began
            route.durations[bisect_left(BUCKETS, seconds)] += 1
            route.seconds += seconds

    def age(self) -> float:
        """Return the seconds since the counters were made."""
        return time.monotonic() - self._began


def collect_stats(
    counters: Counters, routes: Sequence[Any], targets: Sequence[Any], stopping: bool
) -> dict[str, Any]:
    """Return what `Gateway.stats` does.

    Parameters:
        routes, targets: those of `make_routes`.
    """
    now = time.monotonic()  # what event loops have for a clock; theirs is only for their thread
    names = dict(zip(targets, name_upstreams(target.settings for target in targets), strict=True))
    found = []
    for number, figures in enumerate(counters.routes):
        state = routes[number] if number < len(routes) else None
        members = [] if state is None else state.balancer.members
        found.append(
            {
                "route": UNROUTED if state is None else name_route(state.settings),
                **_route_stats(figures),
                "upstreams": [_member_stats(each, names[each.server], now) for each in members],
            }
        )
    return {
        "seconds": counters.age(),
        "stopping": stopping,
        "in_flight": dict(counters.in_flight),
        "routes": found,
        "upstreams": [_target_stats(target, name) for target, name in names.items()],
    }


def _route_stats(figures: RouteCounters) -> dict[str, Any]:
    durations = list(figures.durations)  # the last ones are longer than all of BUCKETS
    return {
        "requests": dict(zip(CLASSES, figures.classes, strict=True)),
        "failures": {kind: count for kind, count in dict(figures.kinds).items() if count},
        "retries": figures.retries,
        "client_left": figures.client_left,
        "bytes_received": figures.received,
        "bytes_sent": figures.sent,
        "durations": {
            "count": sum(durations),
            "seconds": figures.seconds,
            "up_to": dict(zip(map(str, BUCKETS), accumulate(durations), strict=False)),
        },
    }


def _member_stats(member: Member, name: str, now: float) -> dict[str, Any]:
    return {
        "upstream": name,
        "breaker": member.state(now),
        "requests": member.requests,
        "failures": member.failed,
        "failures_in_a_row": member.failures,
    }


def _target_stats(target: Any, name: str) -> dict[str, Any]:
    pool = target.pool.stats()
    return {
        "upstream": name,
        "active": target.active,
        "waiting": pool["waiting"],
        "connections": {state: pool[state] for state in ("active", "idle", "dialing")},
        "opened": pool["totals"]["opened"],
        "not_opened": pool["totals"]["failed"],
    }


def name_route(route: Route) -> str:
    """Return host and path of a route, which no other one has."""
    return f"{(route.host or '*').lower()}{route.path.rstrip('/') or '/'}"


def name_upstreams(upstreams: Iterable[Upstream]) -> list[str]:
    """Return a name for each: its URL; where several have the same one, with a number."""
    names: list[str] = []
    for upstream in upstreams:
        name, number = upstream.url, 1
        while name in names:
            number += 1
            name = f"{upstream.url} #{number}"
        names.append(name)
    return names


def find_closed_routes(routes: Sequence[Any], now: float) -> list[str]:
    """Return the routes of which no upstream takes requests, as all have failed."""
    return [
        name_route(route.settings)
        for route in routes
        if all(member.is_open(now) for member in route.balancer.members)
    ]
