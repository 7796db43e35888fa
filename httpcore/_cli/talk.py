"""The lines of ``--verbose`` and ``--trace`` while a request is under way.

Owns: the lines for each trace event. Must not know: what is done with the response. Secrets are
masked, and what a server says is shown without its control characters (`text`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.text import Text

import httpcore

from .._core.h1_grammar import Headers
from .._exceptions import explain
from .._trace import Details, described
from .reading import Options
from .report import Facts
from .text import hidden, line, masked, of_bytes

Say = Callable[[Text | str], None]


class Talk:
    """Takes the trace events of a run for its facts, and says to `say` what the options ask for."""

    def __init__(self, say: Say, facts: Facts, options: Options) -> None:
        self._say, self._facts, self._options = say, facts, options
        self._start: float | None = None  # when the first event came

    def note(self, event: str, details: Details) -> None:
        """Take a trace event."""
        self._facts.last.timeline(event, details)
        if self._options.verbose:
            self._explain(event, details)
        if self._options.trace:
            self._log(event, details)

    def informational(self, status: int, headers: Headers) -> None:
        """Take a 1xx response."""
        self._say_head("<", str(status), headers)

    def _explain(self, event: str, details: Details) -> None:
        """Say what curl's ``-v`` does: ``*`` what we do, ``>`` what we send, ``<`` what comes."""
        room, _, what = event.partition(".")
        over = self._facts.last.timeline.connection
        if "exception" in details:
            self._do(f"{what.replace('.', ' ').replace('_', ' ')}: {_failure(details)}")
        elif what == "connect_tcp.started":
            self._do(f"connecting to {line(details['host'])} port {details['port']}")
        elif what == "connect_tcp.complete" and over is not None:
            peer, own = over.remote_address, over.local_address
            self._do(f"connected to {peer[0]} port {peer[1]}, from port {own[1]}")
        elif what == "connect_unix_socket.complete":
            self._do("connected to the Unix socket")
        elif what == "start_tls.complete" and over is not None:
            self._say_tls(over)
        elif what == "send_request_headers.started":
            request, version = details["request"], "HTTP/2" if room == "http2" else "HTTP/1.1"
            self._say_head(">", f"{_request(request)} {version}", request.headers)
        elif what == "receive_response_headers.complete":
            self._say_head("<", *_head(details["return_value"]))

    def _do(self, text: str) -> None:
        self._say(Text(f"* {text}", style="dim"))

    def _say_head(self, mark: str, first: str, headers: Headers) -> None:
        for each in [first, *masked(headers), ""]:
            self._say(f"{mark} {each}" if each else mark)

    def _say_tls(self, over: httpcore.ConnectionInfo) -> None:
        alpn = f", ALPN {line(over.alpn)}" if over.alpn else ""
        self._do(f"{over.tls_version}, {over.cipher}{alpn}")
        if over.verified:
            subject, issuer = (line(name or "") for name in (over.subject, over.issuer))
            self._do(f"certificate of {subject} by {issuer}, until {over.expires:%Y-%m-%d}")
        else:
            self._do("the certificate was NOT verified")

    def _log(self, event: str, details: Details) -> None:
        """Say the event as the log does, with the milliseconds since the first."""
        total, shown = self._facts.total, hidden(line(described(details)))
        self._start = total if self._start is None else self._start
        self._say(f"{(total - self._start) * 1000:>11.3f} ms  {line(event)} {shown}".rstrip())


def _request(request: httpcore.Request) -> str:
    return f"{of_bytes(request.method)} {hidden(of_bytes(request.url.target))}"


def _failure(details: Details) -> str:
    exc = details["exception"]
    text = explain(exc)
    return line(f"{type(exc).__name__}: {text}" if text else type(exc).__name__)


def _head(value: Any) -> tuple[str, Headers]:
    """Return status line and fields; HTTP/2 has no reason, and its events no version."""
    of_http2 = len(value) == 2
    version, status, reason, headers = (b"HTTP/2", value[0], b"", value[1]) if of_http2 else value
    parts = of_bytes(version), str(status), of_bytes(reason)
    return " ".join(part for part in parts if part), headers
