"""The log of requests: one line at INFO for each.

Owns: what stands in a line, and when it is written. Must not know: connections, pools, the network.

A line is written when the response is over: its body was read to the end, was closed, or failed. A
request that gets no response has a line when it fails. No line is written for a response that is
dropped: a destructor must not take the locks of a log.
"""

from __future__ import annotations

import time
from typing import Any

from .._core.body_state import BodyState
from .._exceptions import explain
from .._models import Request, Response
from .._redact import redact_target
from .._trace import info
from ..rules import host_header


class RequestLog:
    """Writes the line of one request whose response has begun to arrive.

    Parameters:
        body: of the response.

    Attributes:
        failure: the name of the exception that reading the body has ended with.
    """

    __slots__ = ("_request", "_reused", "_status", "_written", "failure")

    def __init__(self, request: Request, response: Response) -> None:
        self._request = _name(request)
        self._status = response.status
        self._reused = "reused" if response.extensions.get("reused") else "new"
        self._written = False
        self.failure: str | None = None

    def write(self, body: BodyState) -> None:
        """Write the line, once."""
        if self._written:
            return
        self._written = True
        marks = body.marks
        began: Any = marks.began  # there was a connection, so it is known
        seconds = (marks.ended or time.monotonic()) - began
        info(
            "%s %d %d bytes %.1f ms %s%s",
            self._request,
            self._status,
            body.received,
            1000 * seconds,
            self._reused,
            self._ending(body),
        )

    def _ending(self, body: BodyState) -> str:
        """Return what is to be added of a body that did not come to its end."""
        if body.complete:
            return ""
        return " closed early" if self.failure is None else f" broken off: {self.failure}"


def log_response(body: BodyState, response: Response) -> None:
    """Log `response` as soon as it is over, or at once where its connection changes hands."""
    line = RequestLog(body.request, response)
    body.log = line
    if body.closed or body.upgraded is not None:
        line.write(body)


def log_failure(body: BodyState, exc: BaseException) -> None:
    """Log that the request of `body` has failed with `exc` before there was a response."""
    began = body.marks.began
    now = time.monotonic()
    info(
        "%s failed after %.1f ms: %s: %s",
        _name(body.request),
        1000 * (now - (now if began is None else began)),
        type(exc).__name__,
        explain(exc),
    )


def _name(request: Request) -> str:
    """Return method and URL, without what is secret."""
    method, url = request.method, request.url
    target = redact_target(url.target)
    if target.startswith(b"/"):
        target = b"%b://%b%b" % (url.scheme, host_header(url.scheme, url.host, url.port), target)
    return (method + b" " + target).decode("ascii", "backslashreplace")
