"""The report of a pool about itself: its figures, its repr, and the text of a PoolTimeout.

Owns: which figures there are, how holders and waiters are described, and what is left out because
it is secret. Must not know: locks, sleeping, the clock (`now` is passed in).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._exceptions import PoolTimeout
from .._models import Request
from .._redact import redact_target
from .routes import name_route, name_route_with_path
from .scheduler import Route, Scheduler, Slot, Waiter

# Kinds of holders that a PoolTimeout names; more would not be read.
NAMED_HOLDERS = 5

# Waiters that `stats` names; their number is there too.
LISTED_WAITERS = 20


def describe_pool(name: str, stats: Mapping[str, int]) -> str:
    """Return the repr of a pool of class `name`."""
    active = stats["active"] + stats["dialing"]
    return (
        f"<{name} [Requests: {stats['requests']} active, {stats['waiting']} queued | "
        f"Connections: {active} active, {stats['idle']} idle]>"
    )


def take_snapshot(
    scheduler: Scheduler,
) -> tuple[dict[str, int], dict[Route, dict[str, int]], dict[str, int], list[Waiter]]:
    """Return what `report_stats` needs, all of one moment: under the pool's lock."""
    waiters = scheduler.waiters(LISTED_WAITERS)
    return scheduler.stats(), scheduler.routes(), scheduler.totals(), waiters


def report_stats(
    figures: Mapping[str, int],
    by_route: Mapping[Route, Mapping[str, int]],
    totals: dict[str, int],
    waiters: Sequence[Waiter],
    now: float,
) -> dict[str, object]:
    """Return what `ConnectionPool.stats` does, from what the Scheduler says.

    Parameters:
        figures, by_route, totals: the Scheduler's `stats`, `routes` and `totals`.
        waiters: those to be listed.
    """
    routes: dict[str, dict[str, int]] = {}
    for route, found in by_route.items():
        # Several routes may have one name: their TLS settings are not shown.
        counts = routes.setdefault(name_route_with_path(route), dict.fromkeys(found, 0))
        for state, count in found.items():
            counts[state] += count
    return {
        **figures,
        "routes": routes,
        "waiting_for": [_describe_waiter(waiter, now) for waiter in waiters],
        "totals": totals,
    }


def _describe_waiter(waiter: Waiter, now: float) -> dict[str, object]:
    owner: Any = waiter.owner
    return {
        "method": _method(owner.request),
        "url": _url(owner.request),
        "seconds": max(0.0, now - waiter.since),
    }


def pool_timeout(
    route: Route,
    timeout: float | None,
    slots: Sequence[Slot],
    limits: Mapping[str, int | None],
    now: float,
) -> PoolTimeout:
    """Return the error for a wait that took too long. It says what was waited for, which limit held
    it up, and what the connections under that limit were used for.

    Parameters:
        slots: all of the pool.
        limits: its ``max_connections`` and ``max_per_route``, as the Scheduler calls them.
    """
    here = [slot for slot in slots if slot.route == route]
    total, per_host = limits.get("max_connections"), limits.get("max_per_route")
    if per_host is not None and len(here) >= per_host:
        slots, why = here, f"the limit is max_connections_per_host={per_host}, held by"
    elif total is None or len(slots) < total:
        slots, why = here, "it may share the one that is being opened:"
    else:
        why = f"the limit is max_connections={total}, held by"
    within = "" if timeout is None else f" within {timeout:g} s"
    held = _describe_holders(slots, now) or "no request"
    return PoolTimeout(f"no connection to {name_route(route)} became free{within}: {why} {held}")


def _describe_holders(slots: Sequence[Slot], now: float) -> str:
    """Return what `slots` are used for, the most frequent use first."""
    ages: dict[str, list[float]] = {}
    for slot in slots:
        use, since = _describe_use(slot)
        ages.setdefault(use, []).append(now - since)
    most = sorted(ages.items(), key=lambda item: -len(item[1]))
    named = "; ".join(
        f"{len(each)} x {use} (for {max(0.0, max(each)):.3g} s)"
        for use, each in most[:NAMED_HOLDERS]
    )
    others = len(ages) - NAMED_HOLDERS
    return f"{named}; and {others} others" if others > 0 else named


def _describe_use(slot: Slot) -> tuple[str, float]:
    """Return what a slot is used for, and since when."""
    opened = getattr(slot.connection, "opened", None)
    request = None if opened is None else opened.serving
    if opened is None or request is None:
        return f"{name_route(slot.route)} ({slot.state.lower()})", slot.idle_since
    others = 0 if slot.shares is None else len(slot.shares) - 1
    more = f" and {others} more on the same connection" if others > 0 else ""
    return f"{_method(request)} {_url(request)}{more}", opened.since or slot.idle_since


def _method(request: Request) -> str:
    return request.method.decode("ascii", "backslashreplace")


def _url(request: Request) -> str:
    """Return the URL for people: whoever reads it may be concerned with another request."""
    target = redact_target(request.url.target).decode("ascii", "backslashreplace")
    return f"{request.url.origin}{target}" if target.startswith("/") else target
