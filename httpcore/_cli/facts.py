"""What is to be known about one run: addresses, TLS, sizes, and the object that ``--json`` prints.

Owns: reading them from the streams, while those are open; the members of the report, which
docs/cli.rst describes and scripts rely on: add to them, change none. Must not know: how they are
shown.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpcore

from ..rules import host_and_port
from .exits import Exit, Problem
from .options import Options
from .text import line, of_bytes
from .timings import Details, Leg, Timeline


@dataclass
class Facts:
    """Of the last connection that was opened, and of what went over it.

    Attributes:
        response: to the last request, or None.
        method, proxy: of the last request; the proxy without its credentials.
        urls: of all requests, without credentials.
        redirects: URL and status of all responses but the last.
        connects: how many connections were opened.
        sent: bytes of the last request's body.
        received: bytes of the response's body, as they came.
        written: the same after decoding, as far as they were written.
    """

    options: Options
    timeline: Timeline
    response: httpcore.Response | None = None
    method: str = ""
    urls: list[str] = field(default_factory=list)
    redirects: list[tuple[str, int]] = field(default_factory=list)
    proxy: str | None = None
    remote: str | None = None
    local: str | None = None
    tls: dict[str, Any] | None = None
    connects: int = 0
    sent: int = 0
    received: int = 0
    written: int = 0

    def note(self, now: float, event: str, details: Details) -> None:
        """Take a trace event."""
        stream: Any = details.get("return_value")
        if event.endswith((".connect_tcp.complete", ".connect_unix_socket.complete")):
            self.connects += 1
            self.tls = None
            self.remote = address(stream.get_extra_info("server_addr"))
            self.local = address(stream.get_extra_info("client_addr"))
        elif event.endswith(".start_tls.complete"):
            self.tls = read_tls(stream.get_extra_info("ssl_object"))

    def report(self, problem: Problem | None) -> str:
        """Return the report as text: one line, ASCII, no control characters."""
        leg = self.timeline.legs[-1] if self.timeline.legs else Leg("")
        seconds = {**leg.durations(), "total": self.timeline.end - self.timeline.start}
        found = {
            "url": self.urls[-1] if self.urls else str(self.options.url),
            "method": self.method or self.options.method,
            **_read_response(self.response),
            "redirects": [{"url": each, "status": status} for each, status in self.redirects],
            "attempts": leg.attempts,
            "proxy": self.proxy,
            "remote_address": self.remote,
            "local_address": self.local,
            "tls": self.tls,
            "timings": {name: None if s is None else round(s, 6) for name, s in seconds.items()},
            "sizes": {
                "request_body": self.sent,
                "response_body": self.received,
                "output": self.written,
            },
            "output": self.options.output,
            "error": _read_problem(problem),
        }
        # DEL is the one control character that JSON leaves as it is.
        return json.dumps(found).replace("\x7f", "\\u007f")


def _read_response(response: httpcore.Response | None) -> dict[str, object]:
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


def _read_problem(problem: Problem | None) -> dict[str, object] | None:
    if problem is None or problem.code is Exit.OK:
        return None
    cause = problem.cause
    return {
        "exit_code": int(problem.code),
        "message": problem.text,
        "type": None if cause is None else type(cause).__name__,
        "phase": getattr(cause, "phase", None),
    }


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
