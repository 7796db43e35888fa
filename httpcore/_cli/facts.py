"""What is to be known about an exchange: addresses, TLS, sizes.

Owns: reading them from the streams, while those are open. Must not know: how they are shown.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..rules import host_and_port
from .text import line

# What a trace event is about, under names that depend on the event.
Details = dict[str, Any]


@dataclass
class TLSFacts:
    """What a handshake agreed on.

    Attributes:
        verified: whether the server's certificate was.
        subject, issuer, expires: of that certificate; empty where it was not verified.
    """

    version: str = ""
    cipher: str = ""
    alpn: str | None = None
    verified: bool = False
    subject: str = ""
    issuer: str = ""
    expires: str = ""


@dataclass
class Facts:
    """Of the last connection that was opened, and of what went over it.

    Attributes:
        method, proxy: of the last request; the proxy without its credentials.
        urls: of all requests, without credentials.
        redirects: URL and status of all responses but the last.
        connects: how many connections were opened.
        sent: bytes of the last request's body.
        received: bytes of the response's body, as they came.
        written: the same after decoding, as far as they were written.
    """

    method: str = ""
    urls: list[str] = field(default_factory=list)
    redirects: list[tuple[str, int]] = field(default_factory=list)
    proxy: str | None = None
    remote: str | None = None
    local: str | None = None
    tls: TLSFacts | None = None
    connects: int = 0
    sent: int = 0
    received: int = 0
    written: int = 0

    def note(self, now: float, event: str, details: Details) -> None:
        """Take a trace event."""
        stream: Any = details.get("return_value")
        if event.endswith((".connect_tcp.complete", ".connect_unix_socket.complete")):
            self.connects += 1
        if event.endswith(".connect_tcp.complete"):
            self.remote = address(stream.get_extra_info("server_addr"))
            self.local = address(stream.get_extra_info("client_addr"))
            self.tls = None
        elif event.endswith(".connect_unix_socket.complete"):
            self.remote, self.local = address(stream.get_extra_info("server_addr")), None
            self.tls = None
        elif event.endswith(".start_tls.complete"):
            self.tls = read_tls(stream.get_extra_info("ssl_object"))


def address(value: object) -> str | None:
    """Return a socket's address as one writes it."""
    if isinstance(value, tuple):
        return host_and_port(*value[:2])
    return f"unix:{line(value)}" if isinstance(value, str) else None


def read_tls(tls: Any) -> TLSFacts:
    """Return what `tls`, an open SSLSocket or SSLObject, says."""
    cipher = tls.cipher()
    certificate = tls.getpeercert() or {}  # empty where it was not verified
    return TLSFacts(
        version=tls.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=tls.selected_alpn_protocol(),
        verified=bool(certificate),
        subject=_name(certificate.get("subject")),
        issuer=_name(certificate.get("issuer")),
        expires=_date(certificate.get("notAfter")),
    )


def _date(text: str | None) -> str:
    """Return a certificate's date in UTC, as ISO 8601 writes it."""
    if text is None:
        return ""
    # Not by fromtimestamp: on some systems it knows no dates after 2038.
    moment = datetime(1970, 1, 1) + timedelta(seconds=ssl.cert_time_to_seconds(text))
    return f"{moment.isoformat()}Z"


def _name(parts: Any) -> str:
    """Return a distinguished name in short: its common name, else organisation, else all of it."""
    found = {key: value for part in parts or () for key, value in part}
    for key in ("commonName", "organizationName"):
        if key in found:
            return line(found[key])
    return line(", ".join(found.values()))
