"""Health, stats and metrics over HTTP, for operators of a gateway.

Owns: the paths, the responses, the text for Prometheus. Must not know: how things are counted
(`_counters`), how requests are passed on.

Paths are compared byte for byte: one with an encoded character, another case or an additional
slash goes to an upstream like any other request.

Sources: prometheus.io/docs/instrumenting/exposition_formats and .../practices/naming; RFC 9110
sections 9.3.2 (HEAD) and 15.5.6 (405); RFC 9111 section 5.2.2.5 (no-store).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from ._asgi import Receive, Scope, Send
from ._balance import CLOSED, HALF_OPEN, OPEN
from ._counters import find_closed_routes
from ._passage import path_of
from ._problems import Problem, encode_problem
from ._record import KINDS

#: The prefix on a port of their own where the settings have no `admin_path`.
PREFIX = "/-"
JSON = "application/json"
#: The prefix of all names of metrics.
NAME = "httpcore_gateway"

#: Status, type and body of a response.
Response = tuple[int, str, bytes]

NOT_THERE = Problem(404, "there are /health, /stats and /metrics")
READ_ONLY = Problem(405, "only GET and HEAD can be used here", allow=b"GET, HEAD")


class Admin:
    """Shows the state of a gateway; an ASGI application, for a port or a path of its own.

    ``/health`` is 200 while each route has an upstream that takes requests, and 503 with the
    reason otherwise, also while the gateway stops. ``/stats`` is `Gateway.stats` as JSON,
    ``/metrics`` the same for Prometheus. All of them are found below the settings' `admin_path`
    (``/-`` without one), too. They are for GET and HEAD only.

    Requests for it are neither counted nor logged. It has no password: serve it where only
    operators can reach it.

    Parameters:
        gateway: the `Gateway`.
    """

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway
        pages: dict[str, Callable[[Scope], Response]] = {
            "/health": self._show_health,
            "/stats": self._show_stats,
            "/metrics": self._show_metrics,
        }
        prefix = (gateway.settings.admin_path or PREFIX).rstrip("/")
        below = {(prefix + path).encode("ascii"): page for path, page in pages.items()}
        #: The paths in the gateway itself; none without `admin_path`.
        self.paths = frozenset(below) if gateway.settings.admin_path is not None else frozenset()
        self._pages = {**{path.encode("ascii"): page for path, page in pages.items()}, **below}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request of an ASGI server."""
        kind = scope["type"]
        if kind == "lifespan":
            await _live(receive, send)
        elif kind == "http":
            await self._serve(scope, send)
        else:
            await send({"type": "websocket.close"})  # which is 403 before it was accepted

    async def _serve(self, scope: Scope, send: Send) -> None:
        page = self._pages.get(path_of(scope)[0])
        method = scope["method"]
        if page is None:
            status, fields, body = self._refuse(NOT_THERE)
        elif method not in ("GET", "HEAD"):
            status, fields, body = self._refuse(READ_ONLY)
        else:
            status, content_type, body = page(scope)
            fields = [
                (b"content-type", content_type.encode("ascii")),
                (b"content-length", b"%d" % len(body)),
                (b"cache-control", b"no-store"),
            ]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})

    def _refuse(self, problem: Problem) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        return problem.status, *encode_problem(problem, self._gateway.ids.make())

    def _show_health(self, scope: Scope) -> Response:
        gateway = self._gateway
        closed = find_closed_routes(gateway.route_states, time.monotonic())
        document: dict[str, Any] = {"status": "ok"}
        if gateway.stopping:
            document = {"status": "unavailable", "reason": "the gateway stops"}
        elif closed:
            reason = "all upstreams of a route are left out after failures"
            document = {"status": "unavailable", "reason": reason, "routes": closed}
        return 200 if document["status"] == "ok" else 503, JSON, _encode(document)

    def _show_stats(self, scope: Scope) -> Response:
        return 200, JSON, _encode(self._gateway.stats())

    def _show_metrics(self, scope: Scope) -> Response:
        # Loading it takes as long as loading the gateway, and most gateways never need it.
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        registry = CollectorRegistry()
        registry.register(_Collector(self._gateway.stats))
        accept = b", ".join(value for name, value in scope["headers"] if name == b"accept")
        encode, content_type = choose_encoder(accept.decode("latin-1"))
        return 200, content_type, encode(registry)


async def _live(receive: Receive, send: Send) -> None:
    """Confirm the start and the end of a server; there is nothing to do at either."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode("ascii")


class _Collector:
    """Gives prometheus_client the current figures of `Gateway.stats` each time it collects."""

    def __init__(self, stats: Callable[[], dict[str, Any]]) -> None:
        self._stats = stats

    def describe(self) -> list[Any]:
        """Return no names, so that the registry does not collect when this is registered."""
        return []

    def collect(self) -> Iterator[Any]:
        """Return the families of metrics."""
        stats = self._stats()
        yield from _describe_routes(stats["routes"])
        yield from _describe_upstreams(stats)
        yield _gauge(
            "requests_in_flight", "Requests that are under way.", "type", stats["in_flight"].items()
        )


def _describe_routes(routes: list[dict[str, Any]]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    def counter(name: str, text: str, *labels: str, unit: str = "") -> Any:
        return CounterMetricFamily(f"{NAME}_{name}", text, labels=["route", *labels], unit=unit)

    requests = counter("requests", "Requests that have ended, by the class of status.", "status")
    failures = counter("failures", "Requests without a whole response of an upstream.", "kind")
    retries = counter("retries", "How often a request was sent to one more upstream.")
    left = counter("client_left", "Requests of clients that did not wait for the end.")
    received = counter("received_bytes", "Bytes of requests' bodies that came.", unit="bytes")
    sent = counter("sent_bytes", "Bytes of responses' bodies that were sent.", unit="bytes")
    duration = HistogramMetricFamily(
        f"{NAME}_request_duration_seconds",
        "From the head of a request to the end of its response, without WebSockets.",
        labels=["route"],
        unit="seconds",
    )
    for route in routes:
        name, durations = route["route"], route["durations"]
        for status, count in route["requests"].items():
            requests.add_metric([name, status], count)
        for kind in KINDS:
            failures.add_metric([name, kind], route["failures"].get(kind, 0))
        retries.add_metric([name], route["retries"])
        left.add_metric([name], route["client_left"])
        received.add_metric([name], route["bytes_received"])
        sent.add_metric([name], route["bytes_sent"])
        buckets = [*durations["up_to"].items(), ("+Inf", durations["count"])]
        duration.add_metric([name], buckets, durations["seconds"])
    yield from (requests, failures, retries, left, received, sent, duration)


def _describe_upstreams(stats: dict[str, Any]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    upstreams = stats["upstreams"]
    for key, text in (
        ("active", "Requests that are under way to an upstream or wait for a connection."),
        ("waiting", "Requests that wait for a connection to an upstream."),
    ):
        values = [(upstream["upstream"], upstream[key]) for upstream in upstreams]
        yield _gauge(f"upstream_{key}", text, "upstream", values)
    connections = GaugeMetricFamily(
        f"{NAME}_upstream_connections", "Connections.", labels=["upstream", "state"]
    )
    for upstream in upstreams:
        for state, count in upstream["connections"].items():
            connections.add_metric([upstream["upstream"], state], count)
    yield connections
    labels = ["route", "upstream"]
    requests = CounterMetricFamily(
        f"{NAME}_upstream_requests", "Requests that were passed to an upstream.", labels=labels
    )
    failures = CounterMetricFamily(
        f"{NAME}_upstream_failures", "How often an upstream failed.", labels=labels
    )
    breaker = GaugeMetricFamily(
        f"{NAME}_upstream_breaker", "1 for the state that it is in.", labels=[*labels, "state"]
    )
    for route in stats["routes"]:
        for member in route["upstreams"]:
            both = [route["route"], member["upstream"]]
            requests.add_metric(both, member["requests"])
            failures.add_metric(both, member["failures"])
            for state in (CLOSED, OPEN, HALF_OPEN):
                breaker.add_metric([*both, state], int(member["breaker"] == state))
    yield from (requests, failures, breaker)


def _gauge(name: str, text: str, label: str, values: Any) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"{NAME}_{name}", text, labels=[label])
    for value, count in values:
        family.add_metric([value], count)
    return family
