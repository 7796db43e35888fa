"""OpenTelemetry: the example that makes spans from the trace hook, with the real SDK; and the
instrumentation of requests, with the adapter mounted.

Owns: what is in the spans. Must not know: how the example keeps them.
"""

from __future__ import annotations

import importlib.util
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

import httpcore
from httpcore_requests import HTTPAdapter
from tests.support import PATIENCE, ROOT
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, Serve

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes import (
    error_attributes,
    http_attributes,
    network_attributes,
    server_attributes,
    url_attributes,
)
from opentelemetry.trace import SpanKind, StatusCode

from tests.support.http2 import ServeH2

EXAMPLE = ROOT / "examples" / "opentelemetry_spans.py"


KNOWN = {
    value
    for module in (
        error_attributes,
        http_attributes,
        network_attributes,
        server_attributes,
        url_attributes,
    )
    for name, value in vars(module).items()
    if name.isupper()
}


class Recorded:
    """Spans that have ended, and the tracer that makes them."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")

    @property
    def spans(self) -> tuple[Any, ...]:
        return self.exporter.get_finished_spans()

    @property
    def one(self) -> Any:
        [span] = self.spans
        return span


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    made = Recorded()
    yield made
    made.provider.shutdown()


@pytest.fixture
def spans(recorded: Recorded) -> Iterator[Any]:
    """The example's hook. At the end, no span that was begun is left."""
    spec = importlib.util.spec_from_file_location("opentelemetry_spans", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    hook = module.Spans(recorded.tracer)
    yield hook
    assert not hook._open and not hook._answered


@pytest.fixture
def session(spans: Any, ca_bundle: str) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.verify = ca_bundle
        made.mount("http://", HTTPAdapter(trace=spans))
        made.mount("https://", HTTPAdapter(trace=spans, http2=True))
        yield made


# --- the example ---


def test_a_request_of_a_session(
    session: requests.Session, recorded: Recorded, server: LocalServer
) -> None:
    session.get(server.url.replace("//", "//me:s3cret@") + "/bytes/10?a=b")
    span = recorded.one
    assert (span.name, span.kind, span.status.status_code) == (
        "GET", SpanKind.CLIENT, StatusCode.UNSET
    )  # fmt: skip
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "url.full": f"{server.url}/bytes/10?a=b",
    }
    assert span.attributes.keys() <= KNOWN
    assert span.end_time > span.start_time


def test_each_request_of_a_redirect_has_a_span_of_its_own(
    session: requests.Session, recorded: Recorded, server: LocalServer, serve_h2: ServeH2
) -> None:
    """The last one over HTTP/2."""
    secure = serve_h2(secure=True)
    with recorded.tracer.start_as_current_span("mine") as mine:
        session.get(server.url + "/redirect-to", params={"url": secure.url + "/status/404"})
    first, second, parent = recorded.spans
    assert parent.name == "mine"
    for span in (first, second):
        assert span.parent.span_id == mine.get_span_context().span_id
    assert (first.attributes["http.response.status_code"], first.status.status_code) == (
        302, StatusCode.UNSET
    )  # fmt: skip
    assert second.attributes["network.protocol.version"] == "2"
    assert second.attributes["http.response.status_code"] == 404
    assert second.attributes["error.type"] == "404"
    assert second.status.status_code is StatusCode.ERROR
    assert second.attributes["server.port"] == secure.port


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_span_ends_with_the_body(
    spans: Any, recorded: Recorded, server: LocalServer, serve_h2: ServeH2, version: str
) -> None:
    """Or when the response is closed; the connection has no span of its own."""
    url = server.url if version == "1.1" else serve_h2().url
    known = version == "2"
    with httpcore.ConnectionPool(http1=not known, http2=known, trace=spans) as pool:
        for read in (True, False):
            with pool.stream("GET", url + "/bytes/3000000") as response:
                assert not recorded.spans
                if read:
                    response.read()
            assert recorded.one.attributes["network.protocol.version"] == version
            recorded.exporter.clear()


def test_several_at_a_time_keep_apart(
    session: requests.Session, recorded: Recorded, server: LocalServer
) -> None:
    """Read and closed in any order, and in any thread."""
    responses = [session.get(f"{server.url}/bytes/{300_000 + n}", stream=True) for n in range(4)]
    for response in (responses[2], responses[0]):
        response.close()
    threads = [threading.Thread(target=lambda r=r: r.content) for r in (responses[3], responses[1])]
    for thread in threads:
        thread.start()
        thread.join(PATIENCE)
    ended = [span.attributes["url.full"] for span in recorded.spans]
    assert ended == [f"{server.url}/bytes/{300_000 + n}" for n in (2, 0, 3, 1)]


def test_many_threads(session: requests.Session, recorded: Recorded, serve_h2: ServeH2) -> None:
    server = serve_h2(secure=True)

    def run(number: int) -> None:
        for each in range(5):
            with recorded.tracer.start_as_current_span(f"{number}"):
                assert session.get(f"{server.url}/status/{200 + each}?{number}").ok

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    outer = {span.context.span_id: span.name for span in recorded.spans if span.name != "GET"}
    inner = [span for span in recorded.spans if span.name == "GET"]
    assert len(inner) == 40
    for span in inner:
        assert span.attributes["url.full"].endswith("?" + outer[span.parent.span_id])
        status = span.attributes["http.response.status_code"]
        assert f"/status/{status}?" in span.attributes["url.full"]


def failing(recorded: Recorded) -> tuple[str, str]:
    span = recorded.one
    assert span.status.status_code is StatusCode.ERROR
    return span.attributes["error.type"], span.status.description


def test_a_failed_connect(session: requests.Session, recorded: Recorded, closed_port: int) -> None:
    with pytest.raises(requests.ConnectionError):
        session.post(f"http://127.0.0.1:{closed_port}/x", data=b"1")
    kind, why = failing(recorded)
    assert kind == "httpcore.ConnectError" and "Connection refused" in why
    assert recorded.one.attributes["server.port"] == closed_port
    assert recorded.one.name == "POST"
    assert "http.response.status_code" not in recorded.one.attributes


def test_a_read_timeout(session: requests.Session, recorded: Recorded, server: LocalServer) -> None:
    with pytest.raises(requests.ReadTimeout):
        session.get(server.url + "/hang", timeout=(PATIENCE, 0.01))
    assert failing(recorded)[0] == "httpcore.ReadTimeout"


def test_a_pool_timeout(spans: Any, recorded: Recorded, server: LocalServer) -> None:
    with httpcore.ConnectionPool(max_connections=1, trace=spans) as pool:
        with pool.stream("GET", server.url + "/bytes/3000000"):
            with pytest.raises(httpcore.PoolTimeout):
                pool.request("GET", server.url, extensions={"timeout": {"pool": 0.01}})
            assert failing(recorded)[0] == "httpcore.PoolTimeout"


def test_a_body_that_was_cut_short(
    session: requests.Session, recorded: Recorded, server: LocalServer
) -> None:
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(server.url + "/truncated/300000")
    assert failing(recorded)[0].endswith("IncompleteBody")
    assert recorded.one.attributes["http.response.status_code"] == 200


def test_a_replay_is_an_event_of_the_span(
    session: requests.Session, recorded: Recorded, serve: Serve
) -> None:
    def once(peer: Peer) -> None:
        if peer.recv_request() is not None:
            peer.respond(200, b"ok")
            peer.recv_request()

    server = serve(once)
    for _ in range(2):
        session.get(server.url)
    first, second = recorded.spans
    assert [event.name for event in second.events] == ["http.request.resend"]
    assert not first.events and second.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_behind_a_proxy_the_span_is_about_the_origin(
    session: requests.Session,
    recorded: Recorded,
    proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    scheme: str,
) -> None:
    origin = server if scheme == "http" else tls_server
    session.get(origin.url, proxies={"all": f"http://me:s3cret@127.0.0.1:{proxy.port}"})
    span = recorded.one
    assert span.attributes["server.port"] == origin.port
    assert span.attributes["url.full"] == origin.url + "/"
    assert "s3cret" not in span.to_json()


def test_the_names_are_those_of_the_semantic_conventions() -> None:
    text = EXAMPLE.read_text()
    named = set(re.findall(r'"((?:http|server|url|network|error)\.[\w.]+)"', text))
    assert len(named - {"http.request.resend"}) == 7, "that one is the name of an event"
    assert named - {"http.request.resend"} <= KNOWN


# --- the instrumentation of requests ---


@pytest.fixture
def instrumented(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    module = pytest.importorskip(
        "opentelemetry.instrumentation.requests",
        reason="opentelemetry-instrumentation-requests is not installed",
    )
    instrumentor = module.RequestsInstrumentor()
    instrumentor.instrument(tracer_provider=recorded.provider)
    yield
    instrumentor.uninstrument()


def test_the_instrumentation_of_requests_still_works(
    instrumented: None, recorded: Recorded, server: LocalServer
) -> None:
    """A span for each request that was asked for, its parent, and the header that tells the
    server. (A redirect that is followed has none of its own there.)"""
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter())
        with recorded.tracer.start_as_current_span("mine") as mine:
            assert session.get(server.url + "/bytes/10").content
            assert session.get(server.url + "/redirect/1").ok
    *inner, outer = recorded.spans
    assert outer.name == "mine" and len(inner) == 2
    for span in inner:
        assert span.kind is SpanKind.CLIENT
        assert span.attributes["http.request.method"] == "GET"
        assert span.attributes["network.protocol.version"] == "1.1"
        assert span.context.trace_id == mine.get_span_context().trace_id
        assert span.attributes["http.response.status_code"] == 200
    assert len(server.requests) == 3
    told = {request.header("traceparent") for request in server.requests}
    assert told == {
        b"00-%032x-%016x-%02x" % (of.trace_id, of.span_id, of.trace_flags)
        for of in (span.context for span in inner)
    }


def test_the_instrumentation_sees_errors(
    instrumented: None, recorded: Recorded, closed_port: int
) -> None:
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter())
        with pytest.raises(requests.ConnectionError):
            session.get(f"http://127.0.0.1:{closed_port}/")
    assert recorded.one.status.status_code is StatusCode.ERROR
    assert recorded.one.attributes["error.type"] == "ConnectionError"


def test_the_example_and_the_instrumentation_together(
    instrumented: None, session: requests.Session, recorded: Recorded, server: LocalServer
) -> None:
    """Ours is the child of theirs: the try, inside of what was asked for."""
    session.get(server.url)
    ours, theirs = recorded.spans
    assert ours.parent.span_id == theirs.context.span_id
    assert ours.attributes["url.full"] == theirs.attributes["url.full"]
