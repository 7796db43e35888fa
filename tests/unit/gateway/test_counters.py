"""The figures of a gateway.

Owns: what is counted, and that labels come from the settings alone. Must not know: how they are
shown, servers.
"""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from httpcore_gateway import Gateway, Route, Settings, Upstream
from httpcore_gateway._counters import (
    BUCKETS,
    Counters,
    find_closed_routes,
    name_route,
    name_upstreams,
)
from httpcore_gateway._record import Record

URL = "http://127.0.0.1:8001"


def make_record(scope_type: str = "http", **facts: Any) -> Record:
    record = Record({"type": scope_type}, "id", 10.0)
    for name, value in {"ended": 10.0, "status": 200, "route": 0, **facts}.items():
        setattr(record, name, value)
    return record


def test_what_is_counted() -> None:
    counters = Counters(2)
    counters.count(make_record(received=3, sent=5, attempts=1))
    counters.count(make_record(received=30, sent=50, attempts=3, status=404))
    counters.count(make_record(status=502, failure="x", kind="connect_error", attempts=1))
    counters.count(make_record(status=0, client_left=True))
    counters.count(make_record(route=1, status=301, failure="of a kind that nobody named"))
    first, second, none = counters.routes
    assert first.classes == [1, 0, 1, 0, 1, 1]
    assert (first.received, first.sent) == (33, 55)
    assert (first.retries, first.client_left) == (2, 1)
    assert {kind: count for kind, count in first.kinds.items() if count} == {"connect_error": 1}
    assert second.classes == [0, 0, 0, 1, 0, 0]
    assert second.kinds["other"] == 1
    assert sum(none.classes) == 0
    counters.count(make_record(route=None, status=404))
    assert none.classes[4] == 1


def test_durations() -> None:
    """A bucket takes what is as long as its end."""
    counters = Counters(1)
    for seconds in (0.0, 0.001, 0.0011, 60.0, 61.0):
        counters.count(make_record(began=0.0, ended=seconds))
    durations = counters.routes[0].durations
    assert [durations[0], durations[1], durations[-2], durations[-1]] == [2, 1, 1, 1]
    assert sum(durations) == 5
    assert counters.routes[0].seconds == pytest.approx(121.0021)
    counters.count(make_record("websocket", status=101, ended=5000.0))
    assert sum(durations) == 5  # it is no measure of WebSockets
    assert counters.routes[0].classes[1] == 1


def test_stats_are_plain_values() -> None:
    routes = (
        Route(upstreams=(URL, Upstream(URL, http2=True)), host="*.Example.com", path="/api/"),
        Route(upstreams=(URL,)),
    )
    gateway = Gateway(settings=Settings(routes=routes))
    gateway.done(make_record(began=10.0, ended=10.02, sent=7))
    stats = gateway.stats()
    assert json.loads(json.dumps(stats)) == stats
    first, second, none = stats["routes"]
    assert [route["route"] for route in stats["routes"]] == ["*.example.com/api", "*/", "none"]
    assert first["requests"]["2xx"] == 1
    assert first["bytes_sent"] == 7
    assert first["durations"]["count"] == 1
    up_to = first["durations"]["up_to"]
    assert [up_to["0.01"], up_to["0.025"], up_to["60.0"]] == [0, 1, 1]
    assert len(up_to) == len(BUCKETS)
    names = [[each["upstream"] for each in route["upstreams"]] for route in stats["routes"]]
    assert names == [[URL, f"{URL} #2"], [URL], []]
    assert [each["upstream"] for each in stats["upstreams"]] == [URL, f"{URL} #2"]
    assert second["requests"]["2xx"] == none["requests"]["2xx"] == 0
    assert 0 <= stats["seconds"] < 1000
    assert not stats["stopping"]


def test_the_breaker_is_shown() -> None:
    gateway = Gateway([URL])
    [member] = gateway.route_states[0].balancer.members
    for _ in range(3):
        member.start()
        member.fail(1e12)  # by a clock that is far ahead
        member.finish(probing=False)
    [shown] = gateway.stats()["routes"][0]["upstreams"]
    assert shown == {
        "upstream": URL,
        "breaker": "open",
        "requests": 3,
        "failures": 3,
        "failures_in_a_row": 3,
    }


def test_stats_from_another_thread() -> None:
    """While requests are counted: each figure is one that was there."""
    gateway = Gateway([URL])
    seen: list[tuple[int, int]] = []

    def look() -> None:
        while not seen or seen[-1][1] < 20_000:
            route = gateway.stats()["routes"][0]
            seen.append((route["requests"]["2xx"], route["durations"]["count"]))

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(20_000):
        gateway.done(make_record())
    thread.join()
    assert seen == sorted(seen)
    assert seen[-1] == (20_000, 20_000)


def test_names() -> None:
    assert name_route(Route(upstreams=(URL,))) == "*/"
    assert name_route(Route(upstreams=(URL,), host="A.test", path="/b/")) == "a.test/b"
    assert name_upstreams([Upstream("http://a"), Upstream("http://b"), Upstream("http://a")]) == [
        "http://a",
        "http://b",
        "http://a #2",
    ]


def test_closed_routes() -> None:
    """One upstream that takes requests is enough."""

    def route(path: str, *opened: bool) -> Any:
        members = [SimpleNamespace(is_open=lambda now, each=each: each) for each in opened]
        settings = Route(upstreams=(URL,), path=path)
        return SimpleNamespace(settings=settings, balancer=SimpleNamespace(members=members))

    routes = [route("/a", True, False), route("/b", True, True), route("/c", False)]
    assert find_closed_routes(routes, 0.0) == ["*/b"]
