"""The choice of an upstream for each request, and the breaker that leaves failed ones out.

Owns: counting requests under way, the breaker of each upstream, the choice. Must not know: the
clock (`now` is passed in), connections, HTTP.

Invariants: `active` of an upstream is the number of requests between `start` and `finish`. At most
one request at a time is let through to an upstream whose breaker is half open.

Sources: nginx's ngx_http_upstream_module (least_conn, max_fails), Envoy's outlier detection.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ._settings import Breaker, Upstream

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"


class UpstreamState:
    """One upstream, shared by all routes that lead to it.

    Attributes:
        settings: its `Upstream`.
        limit: how many requests may be under way or wait for a connection.
        active: how many are or do.
        pool: its connections.
    """

    __slots__ = ("active", "limit", "pool", "settings")

    def __init__(self, settings: Upstream, pool: Any) -> None:
        self.settings = settings
        self.limit = settings.max_connections + settings.max_queue
        self.active = 0
        self.pool = pool


class Member:
    """An upstream of a route, with its health as seen by the requests of this route.

    Attributes:
        server: the upstream.
        failures: how many in a row.
        opened_until: when the breaker lets a request through again; 0.0 while it is closed.
        requests, failed: how many in all, for the statistics.
    """

    __slots__ = ("_breaker", "_pause", "_probing", "failed", "failures", "opened_until",
                 "requests", "server")  # fmt: skip

    def __init__(self, server: UpstreamState, breaker: Breaker) -> None:
        self.server = server
        self._breaker = breaker
        self._pause = breaker.seconds
        self._probing = 0  # the number of the request that tries it; 0 for none
        self.failures = 0
        self.opened_until = 0.0
        self.requests = 0
        self.failed = 0

    def state(self, now: float) -> str:
        """Return CLOSED, OPEN, or HALF_OPEN: one request may try."""
        if not self.opened_until:
            return CLOSED
        return HALF_OPEN if now >= self.opened_until else OPEN

    def is_open(self, now: float) -> bool:
        """Return whether requests have to go elsewhere."""
        if not self.opened_until:
            return False
        return self._probing != 0 or now < self.opened_until

    def start(self) -> int:
        """Count a request. Return its number if it is the one that tries a failed upstream, else 0;
        pass that to `finish`."""
        self.server.active += 1
        self.requests += 1
        if not self.opened_until:
            return 0
        self._probing = self.requests
        return self._probing

    def finish(self, probing: int) -> None:
        """Count a request that has ended, however that was."""
        self.server.active -= 1
        if probing and probing == self._probing:  # else a probe of an earlier opening
            self._probing = 0

    def succeeded(self) -> None:
        """Note that it answered: the breaker is closed."""
        if self.failures:
            self.failures = 0
            self.opened_until = 0.0
            self._pause = self._breaker.seconds
            self._probing = 0

    def fail(self, now: float) -> None:
        """Note a failure; enough of them in a row open the breaker."""
        self.failures += 1
        self.failed += 1
        breaker = self._breaker
        if not breaker.failures or self.failures < breaker.failures:
            return
        if now < self.opened_until:  # the failed request began before the breaker opened
            return
        pause = min(self._pause, breaker.longest)
        self.opened_until = now + pause
        self._pause = pause * 2


class Balancer:
    """Chooses among the upstreams of a route: the one with the fewest requests, in turn where
    several have as few.

    Parameters:
        members: the upstreams.
    """

    __slots__ = ("_turn", "members")

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self._turn = 0

    def choose(self, now: float, tried: Collection[Member] = ()) -> Member | None:
        """Return an upstream that takes a request now and is not in `tried`; None for none."""
        members = self.members
        count = len(members)
        if not tried:  # else each retry would skip the turn of an upstream
            self._turn = (self._turn + 1) % count
        turn = self._turn
        best = None
        for position in range(turn, turn + count):
            member = members[position % count]
            server = member.server
            if server.active >= server.limit or member in tried or member.is_open(now):
                continue
            if best is None or server.active < best.server.active:
                best = member
        return best

    def retry_after(self, now: float) -> float | None:
        """Return in how many seconds an upstream is tried again; None if one is not left out but
        full."""
        ends = [member.opened_until - now for member in self.members if member.is_open(now)]
        if len(ends) < len(self.members):
            return None
        return max(0.0, min(ends))
