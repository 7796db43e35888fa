"""What each request of the load asks for, does, and has to find.

Owns: the choice of all that, and the check of a response. Must not know: threads, tasks, clients.
"""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .faults import FATAL, GARBLED, HTTP2, HTTP11, fill, find_nonces, make_nonce

#: Bytes of the bodies of responses and requests. Some do not fit into the buffers of a connection.
SIZES = (0, 1, 100, 5_000, 70_000, 300_000)
#: What the load does with a response.
ACTS = ("read", "read", "read", "stream", "close", "drop", "throw")
#: What it sends.
BODIES = ("", "", "bytes", "iterator", "broken")
#: Seconds of a total timeout: some are over before anything can arrive, and all before a stall is.
TOTALS = (0.005, 0.03, 0.2, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


class Thrown(Exception):
    """Raised by the load, in the middle of a request or a response."""


@dataclass
class Plan:
    """One request.

    Attributes:
        way: which port it goes to; by a proxy where `proxied`.
        nonce, size, fault: what the target asks for.
        body: which kind of body is sent; upload: its bytes.
        act: what is done with the response.
        total: seconds of the total timeout.
        cancel: seconds after which it is cancelled, or None.
    """

    way: str
    proxied: bool
    nonce: bytes
    size: int
    fault: str
    body: str
    upload: int
    act: str
    total: float
    cancel: float | None

    @property
    def method(self) -> str:
        """The method that fits the body."""
        return "POST" if self.body else "GET"

    @property
    def may_be_garbled(self) -> bool:
        """Whether bytes may be changed on the way, and nobody can notice."""
        by_chance = self.proxied or self.way == "http11-relay"
        return self.fault in GARBLED or (by_chance and "tls" not in self.way)

    def url(self, ports: dict[str, int]) -> str:
        """Return the URL."""
        scheme = "https" if "tls" in self.way else "http"
        path = f"%3C{self.nonce[1:-1].decode()}%3E/{self.size}/{self.fault}"
        return f"{scheme}://127.0.0.1:{ports[self.way]}/{path}"

    def content(self) -> Any:
        """Return the body that is sent, or None."""
        if self.body in ("iterator", "broken"):
            return self.pieces()
        return bytes(self.upload) if self.body else None

    def pieces(self) -> Iterator[bytes]:
        """Yield the body in pieces; "broken" raises Thrown at half."""
        for _ in range(4):
            yield bytes(self.upload // 8)
        if self.body == "broken":
            raise Thrown
        yield bytes(self.upload - self.upload // 8 * 4)


def make_plan(rng: random.Random, ways: list[str], rate: float, patience: float = 1.0) -> Plan:
    """Return the next request: to one of `ways`, with a fault in the share `rate`, and with
    timeouts that are `patience` times as long."""
    way = rng.choice(ways)
    kinds = HTTP2 if "http2" in way else HTTP11
    return Plan(
        way=way,
        proxied="http2" not in way and "gateway" not in way and rng.random() < 0.2,
        nonce=make_nonce(rng),
        size=rng.choice(SIZES),
        fault=rng.choice(kinds) if rng.random() < rate else "",
        body=rng.choice(BODIES),
        upload=rng.choice(SIZES),
        act=rng.choice(ACTS) if rate else "read",
        total=rng.choice(TOTALS) * patience if rate else 60.0,
        cancel=rng.random() * 0.1 if rng.random() < rate / 3 else None,
    )


def calm_plan(rng: random.Random, ways: list[str]) -> Plan:
    """Return a small request without any fault."""
    plan = make_plan(rng, ways, 0.0)
    plan.body, plan.size, plan.proxied = rng.choice(("", "bytes")), rng.choice(SIZES[:4]), False
    plan.upload = min(plan.upload, 5000)
    return plan


@dataclass
class Tally:
    """What came of the load.

    Attributes:
        complete: responses that were complete and right.
        left: those that the load did not read to the end.
        errors: name of an exception -> how often it was raised.
        wrong: what must not be; the first hundred.
    """

    complete: int = 0
    left: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many requests there were."""
        return self.complete + self.left + self.errors.total()

    def add(self, other: Tally) -> None:
        """Add what came of another part of the load."""
        self.complete += other.complete
        self.left += other.left
        self.errors.update(other.errors)
        self.wrong += other.wrong[: 100 - len(self.wrong)]

    def object_to(self, text: str) -> None:
        """Note what must not be."""
        if len(self.wrong) < 100:
            self.wrong.append(text)

    def check(self, plan: Plan, status: int, fields: bytes, body: bytes, whole: bool) -> None:
        """Check what came: `fields` are the names and values, `whole` if `body` was read to its
        end, as it seemed."""
        self.complete += whole
        self.left += not whole
        strays = find_nonces(fields) | find_nonces(body)
        if strays - {plan.nonce}:
            self.object_to(f"{plan}: got the response to {sorted(strays - {plan.nonce})}")
        elif plan.may_be_garbled or status != 200:
            pass  # anything else may be in it
        elif whole and plan.fault in FATAL:
            self.object_to(f"{plan}: a response that was cut seemed complete: {len(body)} bytes")
        elif whole and body != fill(plan.nonce, plan.size):
            self.object_to(f"{plan}: the body is not the one that was sent: {len(body)} bytes")
        elif not whole and not fill(plan.nonce, plan.size).startswith(body):
            self.object_to(f"{plan}: the part of the body is not the one that was sent")

    def fail(
        self, plan: Plan, error: BaseException, allowed: tuple[type[BaseException], ...]
    ) -> None:
        """Count an error; one that is not `allowed` is wrong."""
        self.errors[type(error).__name__] += 1
        if not isinstance(error, allowed):
            places = "".join(traceback.format_tb(error.__traceback__)[-3:])
            self.object_to(f"{plan}: {error!r} at\n{places}")
