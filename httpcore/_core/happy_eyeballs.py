"""Decides which of a host's addresses to try, and when: Happy Eyeballs.

Owns: the order of the addresses and the moment each attempt begins. Must not know: sockets,
clocks (`now` is passed in), names.

A host with a dead IPv6 address in front of a live IPv4 one costs a quarter of a second, not
the whole connect timeout, and a host that answers at once costs nothing.

Sources: RFC 8305 sections 4 (order) and 5 (delay); RFC 6724 is the resolver's part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

# Seconds until the next attempt begins beside those that have not answered; RFC 8305 section 5
# recommends it, and allows 0.1 to 2.
ATTEMPT_DELAY = 0.25

A = TypeVar("A")


class Address(NamedTuple):
    """One entry of a resolver's answer, as `socket.getaddrinfo` has them.

    Attributes:
        family: what to make the socket of; only compared here.
        kind, proto: likewise, not looked at.
        address: what to connect to; its first item is the address as text.
    """

    family: int
    kind: int
    proto: int
    address: tuple[object, ...]

    def __str__(self) -> str:
        return str(self.address[0])


def interleave(addresses: Iterable[Address]) -> list[Address]:
    """Return `addresses` with the families taking turns, the first one's family first; each family
    in its own order. Repeated ones are left out."""
    families: dict[int, deque[Address]] = {}
    for each in dict.fromkeys(addresses):
        families.setdefault(each.family, deque()).append(each)
    order: list[Address] = []
    while families:
        for family in list(families):
            order.append(families[family].popleft())
            if not families[family]:
                del families[family]
    return order


class Race(Generic[A]):
    """Attempts at several addresses; the caller makes them and says what became of them.

    Parameters:
        runners: in the order in which they are to be tried.

    Take one with `next` whenever it gives one, wait `pause` seconds for an answer, and call
    `failed` for each that failed. The race is lost when `next` gives none and no attempt runs.
    """

    def __init__(self, runners: Iterable[A]) -> None:
        self._waiting = deque(runners)
        self._running = 0
        self._due = 0.0  # when the next one begins although others run; seconds

    @property
    def running(self) -> int:
        """Return how many attempts have neither answered nor failed."""
        return self._running

    def next(self, now: float) -> A | None:
        """Return the address to try at the time `now`, or None to wait first."""
        if not self._waiting or (self._running and now < self._due):
            return None
        self._running += 1
        self._due = now + ATTEMPT_DELAY
        return self._waiting.popleft()

    def pause(self, now: float) -> float | None:
        """Return the seconds until `next` may give another one; None when there is no other."""
        return max(0.0, self._due - now) if self._waiting else None

    def failed(self) -> None:
        """Note that one attempt failed: the next one need not wait for its turn."""
        self._running -= 1
        self._due = 0.0
