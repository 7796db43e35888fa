"""Shows the facts of one run: ``--json``, ``--timing`` and ``-w``.

Owns: the members of the report and the variables of ``-w``, which docs/cli.rst describes and
scripts rely on: add to them, change none. Must not know: terminals, and how anything is measured,
which `httpcore.Timeline` and `httpcore.ConnectionInfo` do.

Sources: curl(1), "--write-out".
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from rich.cells import cell_len
from rich.text import Text

import httpcore

from .._timeline import CONNECT, DNS, PROXY_TLS, RECEIVE, SEND, TLS, TUNNEL, WAIT
from ..rules import host_and_port
from .exits import Exit, Problem, usage
from .output import status_line
from .reading import Body, Options
from .text import first_value, hidden, line, of_bytes


class Leg:
    """One request of a run, and what came of it.

    Attributes:
        trusted: it goes to the origin that the command names.
        sent: bytes of its body.
        timeline: its phases and attempts.
    """

    def __init__(
        self, method: str, url: httpcore.URL, body: Body | None = None, trusted: bool = True
    ) -> None:
        self.method, self.url, self.body, self.trusted = method, url, body, trusted
        self.proxy: httpcore.Proxy | None = None
        self.response: httpcore.Response | None = None
        self.sent = 0
        self.timeline = httpcore.Timeline()


class Facts:
    """The facts of one run.

    Attributes:
        legs: the requests, in their order.
        redirects: those of them that were answered by a redirect which was followed.
        received: bytes of the response's body, as they came.
        written: the same after decoding, as far as they were written.
    """

    def __init__(self, options: Options, clock: Callable[[], float] = time.perf_counter) -> None:
        self.options, self.clock = options, clock
        self.legs: list[Leg] = []
        self.redirects: list[Leg] = []
        self.received = self.written = 0
        self.start = 0.0

    def begin(self, leg: Leg) -> None:
        """Note that a request is about to be sent."""
        self.start = self.start if self.legs else self.clock()
        leg.timeline = httpcore.Timeline(leg.proxy is not None, self.clock)
        self.legs.append(leg)

    @property
    def last(self) -> Leg:
        """Return the last request, or the one that would have been sent."""
        return self.legs[-1] if self.legs else Leg(self.options.method, self.options.url)

    @property
    def total(self) -> float:
        """Return the seconds until the last event."""
        lasts = [leg.timeline.last for leg in self.legs]
        return max((last for last in lasts if last is not None), default=self.start) - self.start

    @property
    def connection(self) -> httpcore.ConnectionInfo | None:
        """Return the last connection that was opened."""
        opened = (leg.timeline.connection for leg in reversed(self.legs))
        return next(filter(None, opened), None)


def _address(value: object) -> str | None:
    """Return a socket's address as one writes it."""
    if isinstance(value, tuple):
        return host_and_port(*value[:2])
    return f"unix:{line(value)}" if isinstance(value, str) and value else None


# --json


def as_json(facts: Facts, problem: Problem | None) -> bytes:
    """Return the report: one line, ASCII, no control characters."""
    leg, response, over = facts.last, facts.last.response, facts.connection
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
        "attempts": leg.timeline.attempts,
        "proxy": None if leg.proxy is None else str(leg.proxy.url.origin),
        "remote_address": over and _address(over.remote_address),
        "local_address": over and _address(over.local_address),
        "tls": None if over is None or over.tls_version is None else _tls(over),
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


def _tls(over: httpcore.ConnectionInfo) -> dict[str, Any]:
    expires = over.expires
    return {
        "version": over.tls_version,
        "cipher": over.cipher,
        "alpn": over.alpn,
        "verified": over.verified,
        "subject": over.subject and line(over.subject),
        "issuer": over.issuer and line(over.issuer),
        "expires": expires and expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _extension(response: httpcore.Response | None, name: str) -> str | None:
    value = None if response is None else response.extensions.get(name)
    return None if value is None else of_bytes(value)


def _pairs(headers: Iterable[tuple[bytes, bytes]]) -> list[list[str]]:
    return [[of_bytes(name), of_bytes(value)] for name, value in headers]


def _timings(facts: Facts) -> dict[str, float | None]:
    """Return the seconds of the phases of the last attempt, by the names of
    ``extensions["timings"]``; None for what there was not."""
    last = {phase.name: phase.end - phase.start for phase in facts.last.timeline.phases}

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
        "total": round(facts.total, 6),
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
    total = max(facts.total, 1e-9)

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
        for name, start, end in leg.timeline.phases:
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
    leg, response, over = facts.last, facts.last.response, facts.connection
    headers = [] if response is None else response.headers
    version = _extension(response, "http_version") or ""
    status = f"{0 if response is None else response.status:03d}"
    ends = (None, None) if over is None else (over.remote_address, over.local_address)
    remote, local = (each if isinstance(each, tuple) else ("", "") for each in ends)
    seconds, phases = facts.total, leg.timeline.phases

    def at(moments: list[float]) -> str:
        """Return the seconds from the start of all to the last of `moments`; 0 without any."""
        return f"{max(moments, default=facts.start) - facts.start:.6f}"

    def end(*names: str) -> str:
        return at([phase.end for phase in phases if phase.name in names])

    return {
        "content_type": first_value(headers, b"content-type"),
        "filename_effective": facts.options.output or "",
        "http_code": status,
        "http_version": version.partition("/")[2] or "0",
        "local_ip": local[0],
        "local_port": local[1],
        "method": leg.method if facts.legs else "",
        "num_connects": sum(each.timeline.opened for each in facts.legs),
        "num_redirects": len(facts.redirects),
        "redirect_url": first_value(headers, b"location"),
        "remote_ip": remote[0],
        "remote_port": remote[1],
        "response_code": status,
        "scheme": str(leg.url).partition(":")[0] if facts.legs else "",
        "size_download": facts.received,
        "size_upload": leg.sent,
        "speed_download": f"{facts.received / seconds if seconds > 0 else 0:.0f}",
        "time_appconnect": end(PROXY_TLS, TUNNEL, TLS),
        "time_connect": end(CONNECT),
        "time_namelookup": end(DNS),
        "time_pretransfer": at([phase.start for phase in phases if phase.name == SEND]),
        "time_redirect": at([phases[0].start] if facts.legs[1:] and phases else []),
        "time_starttransfer": end(WAIT),
        "time_total": f"{seconds:.6f}",
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
