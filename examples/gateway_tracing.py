"""A gateway with a span for each request to an upstream, in the trace that the client began.

    pip install "httpcore[gateway]" opentelemetry-sdk
    python examples/gateway_tracing.py http://127.0.0.1:8001

prints the spans; a program exports them instead, by the SDK's own means. A span is a child of the
client's ``traceparent``, which goes on to the upstream as it came, as do ``tracestate`` and
``baggage``: the upstream's spans are children of the client's, too. The request's id is in the
span as it is in the gateway's log, in the upstream's request and in the client's response.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from opentelemetry import context
from opentelemetry.trace import Span, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry_spans import Spans  # beside this file

import httpcore
from httpcore.redact import redact_url
from httpcore_gateway import Gateway

PROPAGATOR = TraceContextTextMapPropagator()


class UpstreamSpans(Spans):
    """The hook. A request that is sent to a second upstream has two spans, with one id."""

    def _begin(self, request: httpcore.Request) -> Span:
        fields = {name.lower().decode(): value.decode() for name, value in request.headers}
        parent = context.attach(PROPAGATOR.extract(fields))
        try:
            span = super()._begin(request)
        finally:
            context.detach(parent)
        span.set_attribute("url.full", redact_url(bytes(request.url)))  # of others' requests
        span.set_attribute("http.request.header.x-request-id", [fields["x-request-id"]])
        return span


def make_gateway(upstreams: Iterable[str], tracer: Tracer) -> Gateway:
    """Return the ASGI application."""
    return Gateway(upstreams, trace=UpstreamSpans(tracer))


def main() -> None:
    import uvicorn
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    app = make_gateway(sys.argv[1:], provider.get_tracer("gateway"))
    uvicorn.run(app, host="127.0.0.1", port=8000, http="httptools", access_log=False)


if __name__ == "__main__":
    main()
