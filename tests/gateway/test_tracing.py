"""``examples/gateway_tracing.py``: the gateway's trace hook, with OpenTelemetry's real SDK.

Owns: that the hook gets what spans need, and that the client's trace goes on unchanged. Must not
know: how the example keeps its spans beyond `open_spans`.
"""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import PATIENCE, ROOT
from tests.support.gateways import ServeGateway
from tests.support.servers import LocalServer
from tests.support.threads import until

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
CLIENTS_FIELDS = f"traceparent: {TRACEPARENT}\r\ntracestate: a=b\r\nbaggage: c=d\r\n"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, loaded as Python does that runs it: with its own folder to import from."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    path = ROOT / "examples" / "gateway_tracing.py"
    spec = importlib.util.spec_from_file_location("gateway_tracing", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["opentelemetry_spans"]


class Traced:
    """The hook of the example, and the spans that have ended."""

    def __init__(self, example: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.hook = example.UpstreamSpans(self.provider.get_tracer("tests"))

    @property
    def spans(self) -> tuple[Any, ...]:
        return self._exporter.get_finished_spans()

    @property
    def open_spans(self) -> int:
        return len(vars(self.hook)["_open"])


@pytest.fixture
def traced(example: Any) -> Iterator[Traced]:
    made = Traced(example)
    yield made
    assert made.open_spans == 0
    made.provider.shutdown()


def ask(port: int, path: str, fields: str = "") -> bytes:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        head = f"GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}Connection: close\r\n\r\n"
        sock.sendall(head.encode("ascii"))
        data = b""
        while part := sock.recv(65536):
            data += part
    return data


def test_a_span_in_the_clients_trace(
    server: LocalServer, traced: Traced, serve_gateway: ServeGateway
) -> None:
    served = serve_gateway(server.url, trace=traced.hook)
    answer = ask(served.port, "/bytes/10?token=hunter2", CLIENTS_FIELDS)
    assert answer.startswith(b"HTTP/1.1 200 ")
    [request] = server.requests
    assert request.header("traceparent") == TRACEPARENT.encode()
    assert request.header("tracestate") == b"a=b"
    assert request.header("baggage") == b"c=d"
    [span] = traced.spans
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert f"{span.parent.span_id:016x}" == SPAN_ID
    assert span.kind is SpanKind.CLIENT
    assert span.attributes["http.response.status_code"] == 200
    [request_id] = span.attributes["http.request.header.x-request-id"]
    assert request.header("x-request-id") == request_id.encode()
    assert f"x-request-id: {request_id}\r\n".encode() in answer
    assert span.attributes["url.full"] == f"{server.url}/bytes/10?token=[secure]"


def test_without_a_trace_of_the_client(
    server: LocalServer, traced: Traced, serve_gateway: ServeGateway
) -> None:
    served = serve_gateway(server.url, trace=traced.hook)
    ask(served.port, "/bytes/10")
    assert server.requests[0].header("traceparent") is None
    assert [span.parent for span in traced.spans] == [None]


def test_another_upstream(
    server: LocalServer, closed_port: int, traced: Traced, serve_gateway: ServeGateway
) -> None:
    """Two spans of one request; the first one failed."""
    served = serve_gateway(server.url, f"http://127.0.0.1:{closed_port}", trace=traced.hook)
    ask(served.port, "/bytes/10", CLIENTS_FIELDS)
    failed, answered = traced.spans
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes["server.port"] == closed_port
    assert answered.attributes["http.response.status_code"] == 200
    ids = {span.attributes["http.request.header.x-request-id"] for span in traced.spans}
    assert len(ids) == 1
    assert {f"{span.context.trace_id:032x}" for span in traced.spans} == {TRACE_ID}


def test_a_client_that_leaves(
    server: LocalServer, traced: Traced, serve_gateway: ServeGateway
) -> None:
    """The span ends with the request to the upstream."""
    served = serve_gateway(server.url, trace=traced.hook)
    with socket.create_connection(("127.0.0.1", served.port), PATIENCE) as sock:
        sock.sendall(b"GET /hang HTTP/1.1\r\nHost: a.test\r\n\r\n")
        until(lambda: server.requests)
        assert traced.open_spans == 1
    until(lambda: traced.spans)
    [span] = traced.spans
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "asyncio.exceptions.CancelledError"


def test_the_whole_program(
    example: Any, server: LocalServer, traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `main` serves is a gateway with the upstreams of the command line."""
    served: list[Any] = []
    monkeypatch.setattr("uvicorn.run", lambda app, **options: served.append(app))
    monkeypatch.setattr(sys, "argv", ["gateway_tracing.py", server.url])
    example.main()
    [gateway] = served
    assert [target.settings.url for target in gateway.targets] == [server.url]
