"""The facts of one run, and their texts: ``--json``, ``--timing`` and ``-w``.

Owns: reading addresses and TLS from the streams, while those are open; from which event to which a
phase lasts; the members of the report and the variables of ``-w``, which docs/cli.rst describes and
scripts rely on: add to them, change none. Must not know: terminals. This is the one place that
reads a clock.

A phase begins where the one before it ends, as all of them happen in one thread, one after the
other. Only the look-up is no event: the stream says how long it took. The timings of a response
have no start of each phase and not the attempts before, and a failure has none.

Sources: curl(1), "--write-out".
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.text import Text

import httpcore
from httpcore.exceptions import NameResolutionError

from ..rules import host_and_port
from .exits import Exit, Problem, usage
from .output import status_line
from .reading import Body, Options
from .text import first_value, hidden, line, of_bytes

# What a trace event is about, under names that depend on the event.
Details = dict[str, Any]

DNS, CONNECT, PROXY_TLS, TUNNEL, TLS = "dns", "connect", "proxy tls", "tunnel", "tls"
SEND, WAIT, RECEIVE = "send", "wait", "receive"

# The phase that an event begins; None for none. Of the events while a connection is opened, all
# but ``started`` begin none.
_OPENING = {"connect_tcp": CONNECT, "connect_unix_socket": CONNECT, "start_tls": TLS}
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
    """Seconds, by the clock of the `Facts`."""

    name: str
    start: float
    end: float


@dataclass
class Leg:
    """One request of a run, and what came of it.

    Attributes:
        trusted: it goes to the origin that the command names.
        sent: bytes of its body.
        attempts: how often it was tried.
        phases: of all attempts, in their order.
    """

    method: str
    url: httpcore.URL
    body: Body | None = None
    trusted: bool = True
    proxy: httpcore.Proxy | None = None
    response: httpcore.Response | None = None
    sent: int = 0
    attempts: int = 0
    phases: list[Phase] = field(default_factory=list)


class Facts:
    """The facts of one run. Addresses and TLS are those of the last connection.

    Attributes:
        legs: the requests, in their order.
        redirects: those of them that were answered by a redirect which was followed.
        connects: how many connections were opened.
        received: bytes of the response's body, as they came.
        written: the same after decoding, as far as they were written.
    """

    def __init__(self, options: Options, clock: Callable[[], float] = time.perf_counter) -> None:
        self.options, self.clock = options, clock
        self.legs: list[Leg] = []
        self.redirects: list[Leg] = []
        self.remote: str | None = None
        self.local: str | None = None
        self.tls: dict[str, Any] | None = None
        self.connects = self.received = self.written = 0
        self.start = self.end = clock()
        self._open: tuple[str, float] | None = None  # the phase that is under way
        self._tunnels = False  # what is sent is a CONNECT
        self._host: object = None  # what is connected to

    @property
    def last(self) -> Leg:
        """Return the last request, or the one that would have been sent."""
        return self.legs[-1] if self.legs else Leg(self.options.method, self.options.url)

    def begin(self, leg: Leg) -> None:
        """Note that a request is about to be sent."""
        now = self.clock()
        if not self.legs:
            self.start = now
        self._switch(None, now)
        self.legs.append(leg)

    def note(self, event: str, details: Details) -> None:
        """Take a trace event."""
        room, _, what = event.partition(".")
        if not self.legs or room == "pool":
            return
        now = self.end = self.clock()
        step, _, state = what.rpartition(".")
        if room in ("http11", "http2"):
            self._note_exchange(now, what, details)
        elif state == "failed":
            self.last.attempts += 1
            if isinstance(details["exception"], NameResolutionError):
                self._rename(DNS)
            self._switch(None, now)
        elif state == "started" and (step in _OPENING or step.startswith("setup_socks")):
            self._host = details.get("host")
            name = _OPENING.get(step, TUNNEL)
            by_proxy = name == TLS and room == "connection" and self.last.proxy is not None
            self._switch(PROXY_TLS if by_proxy else name, now)
        else:
            self._note_stream(step, details.get("return_value"))
            self._switch(None, now)

    def _note_stream(self, step: str, stream: Any) -> None:
        """Take what a step of opening a connection, which is over, came to."""
        if step == "start_tls":
            self.tls = read_tls(stream.get_extra_info("ssl_object"))
        elif step in _OPENING:
            peer = stream.get_extra_info("server_addr")
            self.connects, self.tls = self.connects + 1, None
            self.remote, self.local = address(peer), address(stream.get_extra_info("client_addr"))
            looked_up = stream.get_extra_info("lookup_time")
            # What is an address already is looked up in no time, but that is no phase.
            if looked_up is not None and self._open is not None and peer[0] != self._host:
                self._rename(DNS)
                self._switch(CONNECT, self._open[1] + looked_up)

    def _note_exchange(self, now: float, what: str, details: Details) -> None:
        if what == "send_request_headers.started":
            self._tunnels = details["request"].method == b"CONNECT"
            self.last.attempts += not self._tunnels
        if self._tunnels:
            headed = what.startswith("receive_response_headers") and not what.endswith("started")
            self._tunnels = not headed
            self._switch(None if headed else TUNNEL, now)
        elif what in _EXCHANGE:
            self._switch(_EXCHANGE[what], now)

    def _rename(self, name: str) -> None:
        self._open = None if self._open is None else (name, self._open[1])

    def _switch(self, name: str | None, now: float) -> None:
        """End the phase that is open and begin `name`, unless that is what is open."""
        if self._open is not None:
            if self._open[0] == name:
                return
            self.last.phases.append(Phase(*self._open, now))
        self._open = None if name is None else (name, now)


def address(value: object) -> str | None:
    """Return a socket's address as one writes it."""
    if isinstance(value, tuple):
        return host_and_port(*value[:2])
    return f"unix:{line(value)}" if isinstance(value, str) and value else None


def read_tls(tls: Any) -> dict[str, Any]:
    """Return what the handshake of `tls`, an open SSLSocket or SSLObject, agreed on."""
    cipher = tls.cipher()
    certificate = tls.getpeercert() or {}  # empty where it was not verified
    return {
        "version": tls.version() or "",
        "cipher": cipher[0] if cipher else "",
        "alpn": tls.selected_alpn_protocol(),
        "verified": bool(certificate),
        "subject": _name(certificate.get("subject")) or None,
        "issuer": _name(certificate.get("issuer")) or None,
        "expires": _date(certificate.get("notAfter")),
    }


def _date(text: str | None) -> str | None:
    """Return a certificate's date in UTC, as ISO 8601 writes it."""
    if text is None:
        return None
    # Not by fromtimestamp: on some systems it knows no dates after 2038.
    moment = datetime(1970, 1, 1) + timedelta(seconds=ssl.cert_time_to_seconds(text))
    return f"{moment.isoformat()}Z"


def _name(parts: Any) -> str:
    """Return a distinguished name in short: its common name, else organisation, else all of it."""
    found = {key: value for part in parts or () for key, value in part}
    shown = found.get("commonName") or found.get("organizationName") or ", ".join(found.values())
    return line(shown)


# --json


def as_json(facts: Facts, problem: Problem | None) -> bytes:
    """Return the report: one line, ASCII, no control characters."""
    leg, response = facts.last, facts.last.response
    found = {
        "url": str(leg.url),
        "method": leg.method,
        "status": None if response is None else response.status,
        "reason": _extension(response, "reason_phrase"),
        "http_version": _extension(response, "http_version"),
        "headers": [] if response is None else _pairs(response.headers),
        "trailers": [] if response is None else _pairs(response.trailers),
        "redirects": [
            {"url": str(each.url), "status": each.response and each.response.status}
            for each in facts.redirects
        ],
        "attempts": leg.attempts,
        "proxy": None if leg.proxy is None else str(leg.proxy.url.origin),
        "remote_address": facts.remote,
        "local_address": facts.local,
        "tls": facts.tls,
        "timings": _timings(facts),
        "sizes": {
            "request_body": leg.sent,
            "response_body": facts.received,
            "output": facts.written,
        },
        "output": facts.options.output,
        "error": None,
    }
    if problem is not None and problem.code is not Exit.OK:
        kind = None if problem.cause is None else type(problem.cause).__name__
        found["error"] = {
            "exit_code": int(problem.code),
            "message": problem.text,
            "type": kind,
            "phase": getattr(problem.cause, "phase", None),
        }
    # DEL is the one control character that JSON leaves as it is.
    return json.dumps(found).replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def _extension(response: httpcore.Response | None, name: str) -> str | None:
    value = None if response is None else response.extensions.get(name)
    return None if value is None else of_bytes(value)


def _pairs(headers: Iterable[tuple[bytes, bytes]]) -> list[list[str]]:
    return [[of_bytes(name), of_bytes(value)] for name, value in headers]


def _timings(facts: Facts) -> dict[str, float | None]:
    """Return the seconds of the phases of the last attempt, by the names of
    ``extensions["timings"]``; None for what there was not."""
    last = {phase.name: phase.end - phase.start for phase in facts.last.phases}

    def took(*names: str) -> float | None:
        found = [last[name] for name in names if name in last]
        return round(sum(found), 6) if found else None

    return {
        "dns": took(DNS),
        "connect": took(CONNECT, TUNNEL),
        "tls": took(PROXY_TLS, TLS),
        "send": took(SEND),
        "first_byte": took(WAIT),
        "last_byte": took(RECEIVE),
        "total": round(facts.end - facts.start, 6),
    }


# --timing: a bar for each phase, to one scale. It begins in the column in which its phase does, and
# is as long as its phase to an eighth of a column; what is too short to see has the thinnest bar.

STYLES = {DNS: "cyan", CONNECT: "blue", SEND: "yellow", WAIT: "green", RECEIVE: "bright_cyan"}
STYLES |= {PROXY_TLS: "magenta", TUNNEL: "magenta", TLS: "magenta", "total": "bold"}
LABEL_WIDTH = 11  # the longest, and two columns
TIME_WIDTH = 12  # "123456.7 ms", and one column before it
# Columns: wider, and the eye loses the line.
WIDEST = 100
NARROWEST = 40
EIGHTHS = " ▏▎▍▌▋▊▉█"


def waterfall(facts: Facts, width: int, encoding: str) -> Text:
    """Draw all phases, in `width` columns; in ASCII where `encoding` has no blocks."""
    draws = EIGHTHS.encode(encoding, "ignore").decode(encoding) == EIGHTHS
    width = min(max(width, NARROWEST), WIDEST)
    bars = width - LABEL_WIDTH - TIME_WIDTH
    total = max(facts.end - facts.start, 1e-9)

    def row(name: str, seconds: float, bar: str) -> Text:
        time = f"{seconds * 1000:.{2 if seconds < 0.01 else 1}f} ms"
        shown = (f"{bar if draws else re.sub(r'[^ ]', '#', bar):<{bars}}", STYLES[name])
        return Text.assemble(f"{name:<{LABEL_WIDTH}}", shown, f"{time:>{TIME_WIDTH}}")

    rows: list[Text] = []
    for leg in facts.legs:
        outcome = "failed" if leg.response is None else status_line(leg.response)
        title = Text(line(hidden(f"{leg.method} {leg.url}")), style="bold")
        title.truncate(max(width - cell_len(outcome) - 1, 10), overflow="ellipsis", pad=True)
        rows.append(Text.assemble(title, " ", outcome))
        for name, start, end in leg.phases:
            begins, ends = ((moment - facts.start) / total for moment in (start, end))
            rows.append(row(name, end - start, _bar(begins, ends, bars)))
    return Text("\n").join([*rows, row("total", total, "")])


def _bar(start: float, end: float, width: int) -> str:
    """Draw a bar from `start` to `end`, both from 0.0 to 1.0, in `width` columns."""
    first = min(int(start * width), width - 1)
    eighths = max(1, round((end - start) * width * 8))
    whole, rest = divmod(min(eighths, (width - first) * 8), 8)
    return " " * first + EIGHTHS[8] * whole + EIGHTHS[rest].strip()


# -w

_VARIABLE = re.compile(r"%%|%\{([^}]*)\}|\\([nrt\\])")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


def variables(facts: Facts) -> dict[str, object]:
    """Return curl's variables, by name."""
    leg, response = facts.last, facts.last.response
    headers = [] if response is None else response.headers
    version = _extension(response, "http_version") or ""
    status = f"{0 if response is None else response.status:03d}"
    remote, local = ((each or "").rpartition(":") for each in (facts.remote, facts.local))
    seconds = facts.end - facts.start

    def at(moments: list[float]) -> str:
        """Return the seconds from the start of all to the last of `moments`; 0 without any."""
        return f"{max(moments, default=facts.start) - facts.start:.6f}"

    def end(*names: str) -> str:
        return at([phase.end for phase in leg.phases if phase.name in names])

    return {
        "content_type": first_value(headers, b"content-type"),
        "filename_effective": facts.options.output or "",
        "http_code": status,
        "http_version": version.partition("/")[2] or "0",
        "local_ip": local[0].strip("[]"),
        "local_port": local[2] if local[0] else "",
        "method": leg.method if facts.legs else "",
        "num_connects": facts.connects,
        "num_redirects": len(facts.redirects),
        "redirect_url": first_value(headers, b"location"),
        "remote_ip": remote[0].strip("[]"),
        "remote_port": remote[2] if remote[0] else "",
        "response_code": status,
        "scheme": str(leg.url).partition(":")[0] if facts.legs else "",
        "size_download": facts.received,
        "size_upload": leg.sent,
        "speed_download": f"{facts.received / seconds if seconds > 0 else 0:.0f}",
        "time_appconnect": end(PROXY_TLS, TUNNEL, TLS),
        "time_connect": end(CONNECT),
        "time_namelookup": end(DNS),
        "time_pretransfer": at([phase.start for phase in leg.phases if phase.name == SEND]),
        "time_redirect": at([leg.phases[0].start] if facts.legs[1:] and leg.phases else []),
        "time_starttransfer": end(WAIT),
        "time_total": at([facts.end]),
        "url": facts.options.url,
        "url_effective": leg.url,
    }


def filled(template: str, facts: Facts) -> str:
    """Return `template` with what its variables stand for; Problem for one that is not known."""
    values = variables(facts)

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return _ESCAPES[match[2]] if match[2] else "%"
        if match[1] not in values:
            raise usage(f"-w: the variable {match[1]!r} is not known; docs/cli.rst has them")
        return str(values[match[1]])

    return _VARIABLE.sub(value, template)
