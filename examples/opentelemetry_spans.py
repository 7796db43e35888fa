"""A client span for each request, with OpenTelemetry's names, from the trace hook.

    session.mount("https://", httpcore_requests.HTTPAdapter(trace=Spans(tracer)))

or ``httpcore.ConnectionPool(trace=Spans(tracer))``. A span is a child of the one that is current
where the request is made; it begins with the wait for a connection and ends with the body. A
hook cannot change the request: ``opentelemetry.propagate.inject`` puts the trace into its headers.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

import httpcore


class Spans:
    """The hook. Thread-safe: one may serve any number of pools."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: dict[httpcore.Request, Span] = {}
        self._answered: set[httpcore.Request] = set()

    def __call__(self, name: str, details: dict[str, Any]) -> None:
        room, _, event = name.partition(".")
        request = details.get("request")
        if request is None or request.method == b"CONNECT":
            return  # about a connection that is idle, or to a proxy, for a tunnel
        span = self._open.get(request) or self._begin(request)
        if event == "receive_response_headers.complete":
            self._answered.add(request)
            answer = details["return_value"]
            version, status = (b"HTTP/2", answer[0]) if room == "http2" else answer[:2]
            span.set_attribute("network.protocol.version", version[5:].decode())
            span.set_attribute("http.response.status_code", status)
            if status >= 400:
                self._fail(span, str(status))
        elif event in ("fail", "receive_response_body.failed"):
            error = details["exception"]
            self._fail(span, f"{type(error).__module__}.{type(error).__qualname__}", str(error))
        elif event == "replay":
            span.add_event("http.request.resend")
        if event == "fail" or (event == "response_closed.complete" and request in self._answered):
            self._answered.discard(request)
            self._open.pop(request).end()

    def _begin(self, request: httpcore.Request) -> Span:
        url = request.url
        if not url.target.startswith((b"/", b"*")):
            url = httpcore.URL(url.target)  # for a proxy that forwards
        method = request.method.decode()
        attributes = {
            "http.request.method": method,
            "server.address": url.host.decode(),
            "server.port": url.port or (443 if url.scheme == b"https" else 80),
            "url.full": bytes(url).decode(),
        }
        span = self._tracer.start_span(method, kind=SpanKind.CLIENT, attributes=attributes)
        self._open[request] = span
        return span

    @staticmethod
    def _fail(span: Span, kind: str, why: str | None = None) -> None:
        span.set_attribute("error.type", kind)
        span.set_status(StatusCode.ERROR, why)
