"""What a pool says about itself.

Owns: `httpcore._core.pool_report`. Must not know: pools, locks, the clock.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpcore
from httpcore._core.pool_report import (
    NAMED_HOLDERS,
    describe_pool,
    pool_timeout,
    report_stats,
)
from httpcore._core.scheduler import Route, Scheduler

A, B = Route(b"http", b"a", 80), Route(b"http", b"b", 80)


class Owner:
    def __init__(self, url: str = "http://a/") -> None:
        self.slot: Any = None
        self.aborted = False
        self.request = httpcore.Request("GET", url)


def connection(url: str, since: float) -> Any:
    serving = httpcore.Request("GET", url)
    return SimpleNamespace(opened=SimpleNamespace(serving=serving, since=since))


def test_a_repr() -> None:
    stats = {"active": 1, "dialing": 2, "idle": 3, "requests": 4, "waiting": 5}
    text = "<Pool [Requests: 4 active, 5 queued | Connections: 3 active, 3 idle]>"
    assert describe_pool("Pool", stats) == text


def test_routes_that_differ_in_what_is_not_shown_are_counted_together() -> None:
    scheduler = Scheduler(max_connections=2)
    for route in (A, A._replace(ssl_context=object())):
        scheduler.acquire(route, Owner(), 0.0)
    waiting = Owner("http://a/b?password=secret")
    scheduler.acquire(A, waiting, 1.0)
    found = report_stats(
        scheduler.stats(), scheduler.routes(), scheduler.totals(), scheduler.waiters(), 3.5
    )
    figures = {"active": 0, "idle": 0, "dialing": 2, "queued": 1}
    assert found["routes"] == {"http://a:80": figures}
    assert found["waiting"] == 1
    [waiter] = found["waiting_for"]
    assert (waiter["method"], waiter["seconds"]) == ("GET", 2.5)
    assert waiter["url"].startswith("http://a:80/b?")
    assert "secret" not in waiter["url"]


def held(scheduler: Scheduler, route: Route, url: str | None = None) -> Owner:
    owner = Owner()
    scheduler.acquire(route, owner, 0.0)
    if url is not None:
        scheduler.dialed(owner, connection(url, 1.0), 1.0)
    return owner


def explain(scheduler: Scheduler, **limits: int) -> str:
    return str(pool_timeout(A, 0.5, scheduler.slots(), limits, 3.0))


def test_a_timeout_names_the_limit_of_all() -> None:
    scheduler = Scheduler()
    held(scheduler, A, "http://a/x?key=1")
    held(scheduler, B)
    text = explain(scheduler, max_connections=2)
    assert text.startswith("no connection to http://a:80 became free within 0.5 s: ")
    assert "the limit is max_connections=2, held by 1 x GET http://a:80/x" in text
    assert "1 x http://b:80 (dialing) (for 3 s)" in text


def test_a_timeout_names_the_limit_of_a_host() -> None:
    scheduler = Scheduler()
    held(scheduler, A, "http://a/")
    held(scheduler, B)
    text = explain(scheduler, max_connections=2, max_per_route=1)
    assert text.endswith("max_connections_per_host=1, held by 1 x GET http://a:80/ (for 2 s)")


def test_a_timeout_without_a_limit_waits_for_a_dial() -> None:
    scheduler = Scheduler()
    held(scheduler, A)
    text = explain(scheduler, max_connections=2)
    assert "it may share the one that is being opened: 1 x http://a:80 (dialing)" in text
    assert explain(Scheduler()).endswith("opened: no request")


def test_a_timeout_names_only_some_holders() -> None:
    scheduler = Scheduler()
    for number in range(NAMED_HOLDERS + 2):
        held(scheduler, A, f"http://a/{number}")
    assert explain(scheduler, max_connections=7).endswith("; and 2 others")
