"""The lines of ``--verbose`` and ``--trace`` while a request is under way.

Owns: the lines for each trace event. Must not know: what is done with the response. Secrets are
masked, and what a server says is shown without its control characters (`text`).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from rich.text import Text

import httpcore

from .._core.h1 import Headers
from .._exceptions import explain
from .reading import Options
from .report import Details, Facts
from .text import hidden, line, masked, of_bytes

Say = Callable[[Text | str], None]

# Columns before the name of an event: "  12345.678 ms  ".
_INDENT = " " * 16
# Columns, beyond which an event's details go to a line of their own.
_WIDTH = 80


class Talk:
    """Takes the trace events of a run for its facts, and says to `say` what the options ask for."""

    def __init__(self, say: Say, facts: Facts, options: Options) -> None:
        self._say, self._facts, self._options = say, facts, options
        self._start: float | None = None

    def note(self, event: str, details: Details) -> None:
        """Take a trace event."""
        self._facts.note(event, details)
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
        if "exception" in details:
            self._do(f"{what.replace('.', ' ').replace('_', ' ')}: {_failure(details)}")
        elif what == "connect_tcp.started":
            self._do(f"connecting to {line(details['host'])} port {details['port']}")
        elif what == "connect_tcp.complete":
            stream = details["return_value"]
            peer, own = (stream.get_extra_info(f"{side}_addr") for side in ("server", "client"))
            place = f"{peer[0]} port {peer[1]}, from port {own[1]}" if peer and own else "it"
            self._do(f"connected to {place}")
        elif what == "connect_unix_socket.complete":
            self._do("connected to the Unix socket")
        elif what == "start_tls.complete" and self._facts.tls is not None:
            self._say_tls(self._facts.tls)
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

    def _say_tls(self, tls: dict[str, Any]) -> None:
        alpn = f", ALPN {line(tls['alpn'])}" if tls["alpn"] else ""
        self._do(f"{tls['version']}, {tls['cipher']}{alpn}")
        if tls["verified"]:
            until = tls["expires"][:10]
            self._do(f"certificate of {tls['subject']} by {tls['issuer']}, until {until}")
        else:
            self._do("the certificate was NOT verified")

    def _log(self, event: str, details: Details) -> None:
        """Say the event, with the milliseconds since the first."""
        now = self._facts.end
        self._start = now if self._start is None else self._start
        shown, headers = _describe(event, details)
        time = f"{(now - self._start) * 1000:.3f} ms"
        head = f"{time:>14}  {line(event)}"
        fits = len(head) + 2 + len(shown) <= _WIDTH
        first = [f"{head}  {shown}".rstrip()] if fits else [head, _INDENT + shown]
        for each in [*first, *(_INDENT + field for field in masked(headers))]:
            self._say(each)


def _describe(event: str, details: Details) -> tuple[str, Headers]:
    """Return an event's details in short, and the header fields among them."""
    if "exception" in details:
        return _failure(details), []
    value = details.get("return_value")
    if isinstance(value, tuple):
        return _head(value)
    request = details.get("request")
    if isinstance(request, httpcore.Request) and "return_value" not in details:
        stream = f"  stream {details['stream_id']}" if details.get("stream_id") else ""
        fields = request.headers if event.endswith("send_request_headers.started") else []
        return _request(request) + stream, fields
    if set(details) == {"return_value"}:
        return "" if value is None else line(str(value)), []
    shown = [
        f"{name}={_show(each)}"
        for name, each in details.items()
        if each is not None and name not in ("auth", "request")
    ]
    return " ".join(shown), []


def _show(value: object) -> str:
    if isinstance(value, ssl.SSLContext):
        return type(value).__name__  # its repr says no more
    return line(f"{value:g}" if isinstance(value, float) else str(value))


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
