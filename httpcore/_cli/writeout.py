"""What ``-w`` writes: curl's variables, filled in.

Owns: the names and what each stands for. Must not know: where the text goes.

Sources: curl(1), "--write-out".
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .facts import Facts
from .options import usage
from .text import of_bytes
from .timings import CONNECT, DNS, PROXY_TLS, SEND, TLS, TUNNEL, WAIT, Phase

_VARIABLE = re.compile(r"%%|%\{([^}]*)\}|\\([nrt\\])")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


def _field(facts: Facts, name: bytes) -> str:
    found = [] if facts.response is None else facts.response.headers
    return next((of_bytes(value) for each, value in found if each.lower() == name), "")


def _address(value: str | None, part: int) -> str:
    host, _, port = (value or "").rpartition(":")
    return (host.strip("[]"), port)[part] if host else ""


def _phases(facts: Facts, *names: str) -> list[Phase]:
    """Return those of the last request with these names; all without any."""
    legs = facts.timeline.legs[-1:]
    return [each for leg in legs for each in leg.phases if each.name in names or not names]


def _at(facts: Facts, moments: list[float]) -> str:
    """Return the seconds from the start of all to the last of `moments`; 0 without any."""
    return f"{max(moments, default=facts.timeline.start) - facts.timeline.start:.6f}"


def _until(*phases: str) -> Callable[[Facts], str]:
    return lambda facts: _at(facts, [each.end for each in _phases(facts, *phases)])


def _redirecting(facts: Facts) -> str:
    """Return the seconds of all requests but the last."""
    several = len(facts.timeline.legs) > 1
    return _at(facts, [each.start for each in _phases(facts)[:1] if several])


def _status(facts: Facts) -> str:
    return f"{facts.response.status if facts.response else 0:03d}"


def _version(facts: Facts) -> str:
    if facts.response is None:
        return "0"
    return of_bytes(facts.response.extensions["http_version"]).partition("/")[2]


def _speed(facts: Facts) -> str:
    seconds = facts.timeline.end - facts.timeline.start
    return f"{facts.received / seconds if seconds > 0 else 0:.0f}"


VARIABLES: dict[str, Callable[[Facts], str]] = {
    "content_type": lambda facts: _field(facts, b"content-type"),
    "filename_effective": lambda facts: facts.options.output or "",
    "http_code": _status,
    "http_version": _version,
    "local_ip": lambda facts: _address(facts.local, 0),
    "local_port": lambda facts: _address(facts.local, 1),
    "method": lambda facts: facts.method,
    "num_connects": lambda facts: str(facts.connects),
    "num_redirects": lambda facts: str(len(facts.redirects)),
    "redirect_url": lambda facts: _field(facts, b"location"),
    "remote_ip": lambda facts: _address(facts.remote, 0),
    "remote_port": lambda facts: _address(facts.remote, 1),
    "response_code": _status,
    "scheme": lambda facts: "".join(facts.urls[-1:]).partition(":")[0],
    "size_download": lambda facts: str(facts.received),
    "size_upload": lambda facts: str(facts.sent),
    "speed_download": _speed,
    "time_appconnect": _until(PROXY_TLS, TUNNEL, TLS),
    "time_connect": _until(CONNECT),
    "time_namelookup": _until(DNS),
    "time_pretransfer": lambda facts: _at(facts, [each.start for each in _phases(facts, SEND)]),
    "time_redirect": _redirecting,
    "time_starttransfer": _until(WAIT),
    "time_total": lambda facts: _at(facts, [facts.timeline.end]),
    "url": lambda facts: str(facts.options.url),
    "url_effective": lambda facts: facts.urls[-1] if facts.urls else str(facts.options.url),
}


def check(template: str) -> None:
    """Raise Problem for a name that is not known, before anything is sent."""
    for match in _VARIABLE.finditer(template):
        if match[1] is not None and match[1] not in VARIABLES:
            raise usage(f"-w: the variable {match[1]!r} is not known; docs/cli.rst has them")


def filled(template: str, facts: Facts) -> str:
    """Return `template` with what its variables stand for."""

    def value(match: re.Match[str]) -> str:
        if match[1] is not None:
            return VARIABLES[match[1]](facts)
        return _ESCAPES[match[2]] if match[2] else "%"

    return _VARIABLE.sub(value, template)
