"""Health, stats and metrics, without a server.

Owns: paths, methods, the fields of responses, what Prometheus reads. Must not know: the figures
(``test_counters``), sockets.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from httpcore_gateway import Gateway, Route, Settings
from httpcore_gateway._counters import CLASSES
from httpcore_gateway._record import KINDS
from tests.support import ROOT
from tests.support.examples import examples

URL = "http://127.0.0.1:8001"


def make_gateway(admin_path: str | None = "/-") -> Gateway:
    return Gateway(settings=Settings(routes=(Route(upstreams=(URL,)),), admin_path=admin_path))


class Answer:
    """What an ASGI application gives for one request."""

    def __init__(self, app: Any, path: str, method: str = "GET", **scope: Any) -> None:
        self.sent: list[Any] = []
        default = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode("latin-1"),
            "query_string": b"",
            "headers": [(b"host", b"a.test")],
            "http_version": "1.1",
        }
        asyncio.run(app({**default, **scope}, self.receive, self.send))
        start, self.end = self.sent
        self.status: int = start["status"]
        self.fields = dict(start["headers"])
        self.body: bytes = self.end["body"]

    async def receive(self) -> Any:
        raise AssertionError("a body is not asked for")

    async def send(self, message: Any) -> None:
        self.sent.append(message)


def test_health() -> None:
    gateway = make_gateway()
    answer = Answer(gateway.admin, "/-/health")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})
    assert answer.fields[b"content-type"] == b"application/json"
    [member] = gateway.route_states[0].balancer.members
    for _ in range(3):
        member.fail(1e12)
    answer = Answer(gateway.admin, "/-/health")
    assert answer.status == 503
    found = json.loads(answer.body)
    assert found.pop("reason") == "all upstreams of a route are left out after failures"
    assert found == {"status": "unavailable", "routes": ["*/"]}
    member.succeeded()
    assert Answer(gateway.admin, "/-/health").status == 200
    gateway.stopping = True
    answer = Answer(gateway.admin, "/-/health")
    assert answer.status == 503
    assert json.loads(answer.body) == {"status": "unavailable", "reason": "the gateway stops"}


def test_stats() -> None:
    gateway = make_gateway()
    answer = Answer(gateway.admin, "/-/stats")
    found, expected = json.loads(answer.body), gateway.stats()
    assert found.pop("seconds") <= expected.pop("seconds")
    assert (answer.status, found) == (200, expected)


@pytest.mark.parametrize("page", ["health", "stats", "metrics"])
def test_methods_and_fields(page: str) -> None:
    admin = make_gateway().admin
    whole, head = Answer(admin, f"/-/{page}"), Answer(admin, f"/-/{page}", "HEAD")
    assert whole.fields[b"content-length"] == b"%d" % len(whole.body)
    assert (head.status, head.body) == (200, b"")
    assert set(head.fields) == set(whole.fields)
    assert whole.fields[b"cache-control"] == b"no-store"
    for method in ("POST", "DELETE", "OPTIONS", "get", "TRACE"):
        refused = Answer(admin, f"/-/{page}", method)
        assert refused.status == 405
        assert refused.fields[b"allow"] == b"GET, HEAD"
        assert refused.fields[b"cache-control"] == b"no-store"
        assert json.loads(refused.body)["status"] == 405


# --- metrics ---


def samples(families: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the values by name and labels, each once."""
    found: dict[Any, float] = {}
    for family in families:
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")
        assert family.name.startswith("httpcore_gateway_")
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def test_metrics() -> None:
    gateway = make_gateway()
    figures = gateway.counters.routes[0]
    figures.classes[2] = 3
    figures.kinds["timeout"] = 2
    figures.durations[0], figures.durations[-1], figures.seconds = 1, 1, 90.0
    figures.sent = 77
    answer = Answer(gateway.admin, "/-/metrics")
    kind = answer.fields[b"content-type"]
    assert kind.startswith(b"text/plain; version=")
    found = samples(parse_text(answer.body.decode("utf-8")))
    name = "httpcore_gateway"

    def value(metric: str, **labels: str) -> float:
        return found[f"{name}_{metric}", tuple(sorted(labels.items()))]

    assert value("requests_total", route="*/", status="2xx") == 3
    assert value("failures_total", route="*/", kind="timeout") == 2
    assert value("sent_bytes_total", route="*/") == 77
    assert value("request_duration_seconds_bucket", route="*/", le="0.001") == 1
    assert value("request_duration_seconds_bucket", route="*/", le="60.0") == 1
    assert value("request_duration_seconds_bucket", route="*/", le="+Inf") == 2
    assert value("request_duration_seconds_count", route="*/") == 2
    assert value("request_duration_seconds_sum", route="*/") == 90
    assert value("requests_in_flight", type="http") == 0
    assert value("upstream_connections", upstream=URL, state="idle") == 0
    assert value("upstream_breaker", route="*/", upstream=URL, state="closed") == 1
    assert value("upstream_breaker", route="*/", upstream=URL, state="open") == 0


def test_labels_are_bounded() -> None:
    """Their values are those of the settings, and of lists in the code."""
    gateway = make_gateway()
    for path in ("/x", "/y?z=1"):
        Answer(gateway, path, headers=[])  # 400 for want of a Host
    assert gateway.counters.routes[-1].classes[4] == 2
    body = Answer(gateway.admin, "/metrics").body.decode("utf-8")
    values: dict[str, set[str]] = {}
    for _, labels in samples(parse_text(body)):
        for name, value in labels:
            values.setdefault(name, set()).add(value)
    assert values.pop("le") >= {"+Inf"}
    assert values == {
        "route": {"*/", "none"},
        "status": set(CLASSES),
        "kind": set(KINDS),
        "type": {"http", "websocket"},
        "upstream": {URL},
        "state": {"active", "idle", "dialing", "closed", "open", "half-open"},
    }


def test_openmetrics() -> None:
    """For those that ask for it, as Prometheus does."""
    fields = [(b"accept", b"application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1")]
    answer = Answer(make_gateway().admin, "/-/metrics", headers=fields)
    assert answer.fields[b"content-type"].startswith(b"application/openmetrics-text; version=1")
    families = list(parse_openmetrics(answer.body.decode("utf-8")))
    units = {family.name: family.unit for family in families if family.unit}
    assert units == {
        "httpcore_gateway_received_bytes": "bytes",
        "httpcore_gateway_sent_bytes": "bytes",
        "httpcore_gateway_request_duration_seconds": "seconds",
    }


def test_prometheus_is_not_loaded_before() -> None:
    program = (
        "import sys\n"
        "from httpcore_gateway import Gateway\n"
        f"Gateway([{URL!r}]).stats()\n"
        "assert 'prometheus_client' not in sys.modules"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr


def test_the_page_names_all_there_is() -> None:
    text = (ROOT / "docs" / "recipes" / "gateway-observing.rst").read_text()
    table = text[text.index("\nMetrics\n") : text.index("\nTraces\n")]
    named = set(re.findall(r"^``(\w+)``  ", table, re.MULTILINE))
    body = Answer(make_gateway().admin, "/metrics").body.decode("utf-8")
    given = {line.split()[2] for line in body.splitlines() if line.startswith("# TYPE ")}
    assert {f"httpcore_gateway_{name}" for name in named} == given
    assert all(f"``{kind}``" in table for kind in KINDS)


# --- paths ---

SPELLINGS = (
    "/-/health/",
    "//-/health",
    "/-//health",
    "/%2D/health",
    "/-%2Fhealth",
    "/-/%68ealth",
    "/-/Health",
    "/-/./health",
    "/-/x/../health",
    "/-/health;a",
    "/-/health%00",
    "/-/health ",
    "/-",
    "/-/",
    "/",
    "/health",
)


def test_paths_of_the_gateway() -> None:
    """Only these, and only with `admin_path`; all others are for upstreams."""
    assert make_gateway(None).admin.paths == frozenset()
    assert make_gateway("/-").admin.paths == {b"/-/health", b"/-/stats", b"/-/metrics"}
    assert make_gateway("/ops/").admin.paths == {b"/ops/health", b"/ops/stats", b"/ops/metrics"}
    assert make_gateway("/").admin.paths == {b"/health", b"/stats", b"/metrics"}


@given(st.sampled_from(SPELLINGS) | st.text("/-%.healtH2DFf;", max_size=14).map("/".__add__))
@settings(max_examples=examples(400))
def test_other_spellings_are_not_found(path: str) -> None:
    expected = 200 if path in ("/-/health", "/health") else 404
    assert Answer(make_gateway(None).admin, path).status == expected


@pytest.mark.parametrize("prefix", ["", "/-"])
def test_on_a_port_of_its_own(prefix: str) -> None:
    """With and without the prefix, that of the settings too."""
    for page in ("health", "stats", "metrics"):
        assert Answer(make_gateway(None).admin, f"{prefix}/{page}").status == 200
    assert Answer(make_gateway("/ops").admin, "/ops/health").status == 200
    assert Answer(make_gateway("/ops").admin, "/-/health").status == 404


def test_below_a_mount() -> None:
    """As Starlette says it: the path is the whole one, and the mount in front of it."""
    answer = Answer(make_gateway(None).admin, "/inner/health", root_path="/inner")
    assert answer.status == 200


# --- other kinds of scopes ---


def test_lifespan_and_websockets() -> None:
    sent: list[Any] = []
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    admin = make_gateway().admin
    asyncio.run(admin({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    asyncio.run(admin({"type": "websocket", "path": "/-/health"}, receive, send))
    assert sent[2:] == ["websocket.close"]
