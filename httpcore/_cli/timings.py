"""When what happened: the phases of each exchange, from the trace events.

Owns: from which event to which a phase lasts. Must not know: how it is shown. This is the one place
that reads a clock.

Responses carry timings too (``extensions["timings"]``), of the same phases; but here there may be
no response, or several attempts, and a waterfall needs to know when each phase began.

A phase begins where the one before it ends, as all of them happen in one thread, one after the
other. Only the look-up is no event: the stream says how long it took.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from httpcore.exceptions import NameResolutionError

# What a trace event is about, under names that depend on the event.
Details = dict[str, Any]

DNS, CONNECT, PROXY_TLS, TUNNEL, TLS = "dns", "connect", "proxy tls", "tunnel", "tls"
SEND, WAIT, RECEIVE = "send", "wait", "receive"

# Which phase an event of an exchange begins; None for none.
_NEXT = {
    ("send_connection_init", "started"): SEND,
    ("send_request_headers", "started"): SEND,
    ("send_request_headers", "failed"): None,
    ("send_request_body", "complete"): WAIT,
    ("send_request_body", "failed"): WAIT,  # the server may have answered all the same
    ("receive_response_headers", "complete"): RECEIVE,
    ("receive_response_headers", "failed"): None,
    ("receive_response_body", "complete"): None,
    ("receive_response_body", "failed"): None,
    ("response_closed", "started"): None,
}


class Phase(NamedTuple):
    """Seconds, by the clock of the `Timeline`."""

    name: str
    start: float
    end: float


@dataclass
class Leg:
    """One request and its response; with redirects there are several.

    Attributes:
        title: what was asked for.
        proxied: there is a proxy on the way.
        outcome: what came of it, for people.
        attempts: how often it was tried.
        phases: of all attempts, in their order.
    """

    title: str
    proxied: bool = False
    outcome: str = ""
    attempts: int = 0
    phases: list[Phase] = field(default_factory=list)

    def durations(self) -> dict[str, float | None]:
        """Return seconds, by the names of ``extensions["timings"]``, of the last attempt; None for
        what there was not."""
        last = {phase.name: phase.end - phase.start for phase in self.phases}
        return {
            name: sum(last.get(part, 0.0) for part in parts) if last.keys() & set(parts) else None
            for name, parts in _DURATIONS.items()
        }


_DURATIONS = {
    "dns": (DNS,),
    "connect": (CONNECT, TUNNEL),
    "tls": (PROXY_TLS, TLS),
    "send": (SEND,),
    "first_byte": (WAIT,),
    "last_byte": (RECEIVE,),
}


class Timeline:
    """Watches one run.

    Parameters: `clock`: seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.legs: list[Leg] = []
        self.start = self.end = clock()
        self._open: tuple[str, float] | None = None
        self._tunnels = False  # what is sent is a CONNECT
        self._looks_up = False  # what is connected to has a name

    def begin(self, title: str, proxied: bool = False) -> Leg:
        """Note that a request is about to be sent."""
        if not self.legs:
            self.start = self.clock()
        self._switch(None, self.clock())
        self.legs.append(Leg(title, proxied))
        return self.legs[-1]

    def note(self, now: float, event: str, details: Details) -> None:
        """Take a trace event."""
        room, _, what = event.partition(".")
        if not self.legs or room == "pool":
            return
        self.end = now
        step, _, state = what.rpartition(".")
        if room in ("http11", "http2"):
            self._note_exchange(now, step, state, details)
        else:
            self._note_opening(now, room, step, state, details)

    def _note_opening(self, now: float, room: str, step: str, state: str, details: Details) -> None:
        leg = self.legs[-1]
        if state == "failed":
            leg.attempts += 1
            if self._open is not None and isinstance(details["exception"], NameResolutionError):
                self._open = (DNS, self._open[1])
            self._switch(None, now)
        elif step in ("connect_tcp", "connect_unix_socket"):
            if state == "started":
                self._looks_up = "host" in details and not _is_address(details["host"])
                self._switch(CONNECT, now)
                return
            if self._looks_up:
                self._split(details["return_value"].get_extra_info("lookup_time"))
            self._switch(None, now)
        elif step.startswith("setup_socks"):
            self._switch(TUNNEL if state == "started" else None, now)
        elif step == "start_tls":
            name = PROXY_TLS if leg.proxied and room == "connection" else TLS
            self._switch(name if state == "started" else None, now)

    def _split(self, looked_up: float | None) -> None:
        """Note that the phase that is open began with a look-up of so many seconds."""
        if self._open is not None and looked_up is not None:
            name, start = self._open
            self.legs[-1].phases.append(Phase(DNS, start, start + looked_up))
            self._open = (name, start + looked_up)

    def _note_exchange(self, now: float, step: str, state: str, details: Details) -> None:
        if step == "send_request_headers" and state == "started":
            self._tunnels = details["request"].method == b"CONNECT"
            if not self._tunnels:
                self.legs[-1].attempts += 1
        if self._tunnels:
            self._tunnels = step != "receive_response_headers" or state == "started"
            self._switch(TUNNEL if self._tunnels else None, now)
        elif (step, state) in _NEXT:
            self._switch(_NEXT[step, state], now)

    def _switch(self, name: str | None, now: float) -> None:
        """End the phase that is open and begin `name`, unless that is what is open."""
        if self._open is not None:
            if self._open[0] == name:
                return
            self.legs[-1].phases.append(Phase(self._open[0], self._open[1], now))
        self._open = None if name is None else (name, now)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
