"""The phases of a request one after the other, with all its attempts, also where it fails.

Owns: from which trace event to which a phase lasts. Must not know: pools, sockets, how a phase is
shown.

A phase begins where the one before it ends: all of them happen in one thread or task, one after the
other. Only the look-up is no event; the stream says how long it took.

Sources: the trace events (docs/recipes/observing.rst).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ._exceptions import NameResolutionError
from ._timings import ConnectionInfo

DNS, CONNECT, PROXY_TLS, TUNNEL, TLS = "dns", "connect", "proxy tls", "tunnel", "tls"
SEND, WAIT, RECEIVE = "send", "wait", "receive"

# The phase that an event of opening a connection begins; all others of them are of a tunnel.
_OPENING = {"connect_tcp": CONNECT, "connect_unix_socket": CONNECT, "start_tls": TLS}
# The phase that an event of the exchange begins; None for none.
_EXCHANGE = {
    "send_connection_init.started": SEND,
    "send_request_headers.started": SEND,
    "send_request_headers.failed": None,
    "send_request_body.complete": WAIT,
    "send_request_body.failed": WAIT,  # the server may have answered all the same
    "receive_response_headers.complete": RECEIVE,
    "receive_response_headers.failed": None,
    "receive_response_body.complete": None,
    "receive_response_body.failed": None,
    "response_closed.started": None,
}


class Phase(NamedTuple):
    """One phase: its name, and when it began and ended, in seconds of the timeline's clock."""

    name: str
    start: float
    end: float


class _Done:
    """Something to await that is over already."""

    def __await__(self) -> Iterator[Any]:
        return iter(())


_DONE = _Done()


class Timeline:
    """A trace hook that notes the phases of one request, with those of attempts that failed.

    Pass one as ``extensions={"trace": timeline}``; on a pool of `httpcore.aio`, too. `Timings`
    are there without being asked for, but only where there is a response, and have no attempts
    before the last. Not safe for more than one request at a time.

    Parameters:
        proxied: the request goes through a proxy, and TLS with that is `proxy tls`.
        clock: returns seconds; default: `time.perf_counter`.

    Attributes:
        phases: list of ``(name, start, end)``, in their order. The names: ``dns``, ``connect``,
            ``proxy tls``, ``tunnel``, ``tls``, ``send``, ``wait`` (until the response's head is
            there) and ``receive``. A name that occurs again belongs to another attempt.
        attempts: how often the request was tried, failures to connect included.
        opened: how many connections were opened for it.
        connection: `ConnectionInfo` of the last of them, or None. Its `protocol` is empty: it is
            noted before that is known.
        last: when the last event came, by the clock; None before the first.
    """

    def __init__(
        self, proxied: bool = False, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.phases: list[Phase] = []
        self.attempts = self.opened = 0
        self.connection: ConnectionInfo | None = None
        self.last: float | None = None
        self._proxied, self._clock = proxied, clock
        self._open: tuple[str, float] | None = None  # the phase that is under way
        self._tunnels = False  # what is sent is a CONNECT
        self._refused = 0  # of `opened`, the connection on which a tunnel was refused
        self._host: object = None  # what is connected to

    def __call__(self, name: str, details: dict[str, Any]) -> _Done:
        """Take a trace event; what is returned can be awaited, and need not be."""
        room, _, what = name.partition(".")
        if room != "pool":
            now = self.last = self._clock()
            if room in ("http11", "http2"):
                self._exchange(now, what, details)
            else:
                self._connect(now, room, what, details)
        return _DONE

    def __repr__(self) -> str:
        shown = [f"{name} {1000 * (end - start):.3g} ms" for name, start, end in self.phases]
        return f"<{type(self).__name__} [{', '.join(shown)}]>"

    def _connect(self, now: float, room: str, what: str, details: dict[str, Any]) -> None:
        """Take an event of opening a connection."""
        step, _, state = what.rpartition(".")
        begins = None
        if state == "failed":
            self.attempts += 1
            if isinstance(details["exception"], NameResolutionError):
                self._rename(DNS)
        elif state == "complete":
            self._take(step, details.get("return_value"))
        elif step in _OPENING or step.startswith("setup_socks"):
            self._host = details.get("host")
            begins = _OPENING.get(step, TUNNEL)
            if begins == TLS and self._proxied and room == "connection":
                begins = PROXY_TLS
        self._switch(begins, now)

    def _take(self, step: str, stream: Any) -> None:
        """Note the connection that a step has opened or secured, and its look-up."""
        if step not in _OPENING:
            return
        self.connection = ConnectionInfo(stream, "")
        if step == "start_tls":
            return
        self.opened += 1
        looked_up, peer = stream.get_extra_info("lookup_time"), self.connection.remote_address
        if looked_up is None or self._open is None:
            return
        # What is an address already is looked up in no time, but that is no phase.
        if not isinstance(peer, tuple) or peer[0] != self._host:
            self._rename(DNS)
            self._switch(CONNECT, self._open[1] + looked_up)

    def _exchange(self, now: float, what: str, details: dict[str, Any]) -> None:
        """Take an event of a request that is sent, or of its response."""
        if what == "send_request_headers.started":
            self._tunnels = details["request"].method == b"CONNECT"
            if not self._tunnels:
                self.attempts += 1
            elif self._refused == self.opened > 0:
                self.attempts -= 1  # a challenge that is answered on the same connection
        if self._tunnels:
            self._tunnel(now, what, details)
        elif what in _EXCHANGE:
            self._switch(_EXCHANGE[what], now)

    def _tunnel(self, now: float, what: str, details: dict[str, Any]) -> None:
        """Take an event of a CONNECT: it ends the attempt only where there is no tunnel."""
        failed = what in ("send_request_headers.failed", "receive_response_headers.failed")
        answered = what == "receive_response_headers.complete"
        refused = answered and details["return_value"][1] >= 300
        self.attempts += failed or refused
        self._refused = self.opened if refused else 0
        self._tunnels = not (failed or answered)
        self._switch(TUNNEL if self._tunnels else None, now)

    def _rename(self, name: str) -> None:
        self._open = None if self._open is None else (name, self._open[1])

    def _switch(self, name: str | None, now: float) -> None:
        """End the phase that is open and begin `name`, unless that is what is open."""
        if self._open is not None:
            if self._open[0] == name:
                return
            self.phases.append(Phase(*self._open, now))
        self._open = None if name is None else (name, now)
