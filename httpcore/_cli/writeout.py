"""What ``-w`` writes: curl's variables, filled in.

Owns: the names and what each stands for. Must not know: where the text goes.

Sources: curl(1), "--write-out".
"""

from __future__ import annotations

import re
from collections.abc import Callable

import httpcore

from .facts import Facts
from .options import Options, usage
from .text import of_bytes
from .timings import CONNECT, DNS, PROXY_TLS, SEND, TLS, TUNNEL, WAIT, Timeline

_VARIABLE = re.compile(r"%%|%\{([^}]*)\}|\\([nrt\\])")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class Ended:
    """One run that is over, and what can be asked about it."""

    def __init__(
        self,
        options: Options,
        response: httpcore.Response | None,
        facts: Facts,
        timeline: Timeline,
    ) -> None:
        self.options = options
        self.response = response
        self.facts = facts
        self.timeline = timeline

    def header(self, name: bytes) -> str:
        found = [] if self.response is None else self.response.headers
        return next((of_bytes(value) for each, value in found if each.lower() == name), "")

    def address(self, value: str | None, part: int) -> str:
        host, _, port = (value or "").rpartition(":")
        return (host.strip("[]"), port)[part] if host else ""

    def until(self, *phases: str) -> str:
        """Return the seconds from the start of all to the end of the last of `phases`."""
        start = self.timeline.start
        leg = self.timeline.legs[-1:]
        ends = [phase.end - start for one in leg for phase in one.phases if phase.name in phases]
        return f"{max(ends, default=0):.6f}"

    def before_send(self) -> str:
        leg = self.timeline.legs[-1:]
        starts = [each.start for one in leg for each in one.phases if each.name == SEND]
        return f"{max(starts) - self.timeline.start if starts else 0:.6f}"

    def redirecting(self) -> str:
        """Return the seconds of all requests but the last."""
        legs = self.timeline.legs
        starts = [phase.start for phase in legs[-1].phases] if len(legs) > 1 else []
        return f"{min(starts) - self.timeline.start if starts else 0:.6f}"

    def speed(self) -> str:
        seconds = self.timeline.end - self.timeline.start
        return f"{self.facts.received / seconds if seconds > 0 else 0:.0f}"


VARIABLES: dict[str, Callable[[Ended], str]] = {
    "content_type": lambda end: end.header(b"content-type"),
    "filename_effective": lambda end: end.options.output or "",
    "http_code": lambda end: f"{end.response.status if end.response else 0:03d}",
    "http_version": lambda end: (
        of_bytes(end.response.extensions["http_version"]).partition("/")[2] if end.response else "0"
    ),
    "local_ip": lambda end: end.address(end.facts.local, 0),
    "local_port": lambda end: end.address(end.facts.local, 1),
    "method": lambda end: end.facts.method,
    "num_connects": lambda end: str(end.facts.connects),
    "num_redirects": lambda end: str(len(end.facts.redirects)),
    "redirect_url": lambda end: end.header(b"location"),
    "remote_ip": lambda end: end.address(end.facts.remote, 0),
    "remote_port": lambda end: end.address(end.facts.remote, 1),
    "response_code": lambda end: VARIABLES["http_code"](end),
    "scheme": lambda end: end.facts.urls[-1].partition(":")[0] if end.facts.urls else "",
    "size_download": lambda end: str(end.facts.received),
    "size_upload": lambda end: str(end.facts.sent),
    "speed_download": Ended.speed,
    "time_appconnect": lambda end: end.until(PROXY_TLS, TUNNEL, TLS),
    "time_connect": lambda end: end.until(CONNECT),
    "time_namelookup": lambda end: end.until(DNS),
    "time_pretransfer": Ended.before_send,
    "time_redirect": Ended.redirecting,
    "time_starttransfer": lambda end: end.until(WAIT),
    "time_total": lambda end: f"{end.timeline.end - end.timeline.start:.6f}",
    "url": lambda end: str(end.options.url),
    "url_effective": lambda end: end.facts.urls[-1] if end.facts.urls else str(end.options.url),
}


def check(template: str) -> None:
    """Raise Problem for a name that is not known, before anything is sent."""
    for match in _VARIABLE.finditer(template):
        if match[1] is not None and match[1] not in VARIABLES:
            raise usage(f"-w: the variable {match[1]!r} is not known; docs/cli.rst has them")


def filled(template: str, end: Ended) -> str:
    """Return `template` with what its variables stand for."""

    def value(match: re.Match[str]) -> str:
        if match[1] is not None:
            return VARIABLES[match[1]](end)
        return _ESCAPES[match[2]] if match[2] else "%"

    return _VARIABLE.sub(value, template)
