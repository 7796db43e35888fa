"""What ``--json`` prints: one object about the exchange.

Owns: its members, which docs/cli.rst describes and scripts rely on: add to them, change none. Must
not know: where it is printed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import httpcore

from .exits import Exit, Problem
from .facts import Facts
from .options import Options
from .text import of_bytes
from .timings import Leg, Timeline


def report(
    options: Options,
    response: httpcore.Response | None,
    facts: Facts,
    timeline: Timeline,
    problem: Problem | None,
) -> str:
    """Return the object as text: one line, ASCII, no control characters."""
    leg = timeline.legs[-1] if timeline.legs else Leg("")
    url = facts.urls[-1] if facts.urls else str(options.url)
    found: dict[str, object] = {
        "url": url,
        "method": facts.method or options.method,
        **_response(response),
        "redirects": [{"url": each, "status": status} for each, status in facts.redirects],
        "attempts": leg.attempts,
        "proxy": facts.proxy,
        "remote_address": facts.remote,
        "local_address": facts.local,
        "tls": _tls(facts),
        "timings": _timings(leg, timeline),
        "sizes": {
            "request_body": facts.sent,
            "response_body": facts.received,
            "output": facts.written,
        },
        "output": options.output,
        "error": _error(problem),
    }
    # DEL is the one control character that JSON leaves as it is.
    return json.dumps(found).replace("\x7f", "\\u007f")


def _response(response: httpcore.Response | None) -> dict[str, object]:
    if response is None:
        return {"status": None, "reason": None, "http_version": None, "headers": [], "trailers": []}
    reason = response.extensions.get("reason_phrase")
    return {
        "status": response.status,
        "reason": None if reason is None else of_bytes(reason),
        "http_version": of_bytes(response.extensions["http_version"]),
        "headers": _pairs(response.headers),
        "trailers": _pairs(response.trailers),
    }


def _pairs(headers: Iterable[tuple[bytes, bytes]]) -> list[list[str]]:
    return [[of_bytes(name), of_bytes(value)] for name, value in headers]


def _tls(facts: Facts) -> dict[str, object] | None:
    tls = facts.tls
    if tls is None:
        return None
    return {
        "version": tls.version,
        "cipher": tls.cipher,
        "alpn": tls.alpn,
        "verified": tls.verified,
        "subject": tls.subject or None,
        "issuer": tls.issuer or None,
        "expires": tls.expires or None,
    }


def _timings(leg: Leg, timeline: Timeline) -> dict[str, float | None]:
    """Return the seconds of the last request, and of all in "total"."""
    found = {**leg.durations(), "total": timeline.end - timeline.start}
    return {name: None if value is None else round(value, 6) for name, value in found.items()}


def _error(problem: Problem | None) -> dict[str, object] | None:
    if problem is None or problem.code is Exit.OK:
        return None
    cause = problem.cause
    return {
        "exit_code": int(problem.code),
        "message": problem.text,
        "type": None if cause is None else type(cause).__name__,
        "phase": getattr(cause, "phase", None),
    }
