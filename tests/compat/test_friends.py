"""Packages that are used with requests, on the adapter: those of ``docs/friends.rst``, and
vcrpy, of ``docs/compatibility.rst``.

Owns: that each of them works with `HTTPAdapter` under it, and what it does goes through our pool.
Must not know: how the adapter does it. `test_raw_users` has what they look at in a response, and
`test_opentelemetry` what is in the spans.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
import trustme

import httpcore
import httpcore_requests
from httpcore_requests import HTTPAdapter
from tests.support import PATIENCE, ROOT
from tests.support.servers import LocalServer


def opened(session: requests.Session) -> int:
    """Return how many connections the pool of `session` has opened."""
    adapter: Any = session.get_adapter("http://")
    total: int = adapter.pool.stats()["totals"]["opened"]
    return total


def test_requests_cache_asks_once(server: LocalServer) -> None:
    requests_cache = pytest.importorskip("requests_cache")
    with requests_cache.CachedSession(backend="memory") as session:
        session.mount("http://", HTTPAdapter(timeout=PATIENCE))
        first = session.get(f"{server.url}/gzip/1000")
        second = session.get(f"{server.url}/gzip/1000")
        assert (first.from_cache, second.from_cache) == (False, True)
        assert first.content == second.content
        assert len(server.requests) == opened(session) == 1


def test_requests_cache_of_an_installed_adapter(server: LocalServer) -> None:
    requests_cache = pytest.importorskip("requests_cache")
    httpcore_requests.install(timeout=PATIENCE)
    try:
        with requests_cache.CachedSession(backend="memory") as session:
            assert isinstance(session.get_adapter("http://"), HTTPAdapter)
            for _ in range(2):
                assert session.get(server.url).status_code == 200
    finally:
        httpcore_requests.uninstall()
    assert len(server.requests) == 1


def test_cachecontrol_asks_once(server: LocalServer) -> None:
    cachecontrol = pytest.importorskip("cachecontrol")
    caching = type("CachingAdapter", (cachecontrol.CacheControlAdapter, HTTPAdapter), {})
    with requests.Session() as session:
        session.mount("http://", caching(timeout=PATIENCE))
        now = quote(formatdate(usegmt=True))  # without a Date, nothing is kept
        url = f"{server.url}/headers?Cache-Control=max-age=60&Date={now}"
        first, second = session.get(url), session.get(url)
        assert (first.from_cache, second.from_cache) == (False, True)  # type: ignore[attr-defined]
        assert first.content == second.content
        assert len(server.requests) == opened(session) == 1


def test_requests_toolbelt_streams_a_form_and_says_how_far_it_is(server: LocalServer) -> None:
    toolbelt = pytest.importorskip("requests_toolbelt")
    seen: list[int] = []
    parts = {"empty": "", "file": ("name.bin", bytes(300_000), "application/octet-stream")}
    body = toolbelt.MultipartEncoderMonitor(
        toolbelt.MultipartEncoder(parts), lambda monitor: seen.append(monitor.bytes_read)
    )
    with httpcore_requests.Session(timeout=PATIENCE) as session:
        headers = {"Content-Type": body.content_type}
        answer = session.post(f"{server.url}/upload", data=body, headers=headers).json()
    assert answer["length"] == body.len == seen[-1]
    assert len(seen) > 2
    assert seen == sorted(seen)


def test_requests_toolbelt_sessions_with_a_base(server: LocalServer) -> None:
    pytest.importorskip("requests_toolbelt")
    from requests_toolbelt.sessions import BaseUrlSession

    with BaseUrlSession(f"{server.url}/") as session:
        session.mount("http://", HTTPAdapter(timeout=PATIENCE))
        assert session.get("status/204").status_code == 204
        assert opened(session) == 1


def test_opentelemetry_makes_a_span_for_each_request(server: LocalServer) -> None:
    pytest.importorskip("opentelemetry.sdk")
    pytest.importorskip("opentelemetry.instrumentation.requests")
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    RequestsInstrumentor().instrument(tracer_provider=provider)
    try:
        with httpcore_requests.Session(timeout=PATIENCE) as session:
            session.get(server.url)
            session.get(f"{server.url}/status/500")
    finally:
        RequestsInstrumentor().uninstrument()
        provider.shutdown()
    codes = [
        (span.attributes or {}).get(
            "http.status_code", (span.attributes or {}).get("http.response.status_code")
        )
        for span in kept.get_finished_spans()
    ]
    assert codes == [200, 500]
    assert server.requests[0].header("traceparent")


GEVENT = """
from gevent import monkey

monkey.patch_all()

import sys

import gevent
import httpcore
import httpcore_requests

token = httpcore.CancelToken()
forever = httpcore_requests.Timeout(cancel=token)
session = httpcore_requests.Session(timeout=60)
hanging = gevent.spawn(session.get, sys.argv[1] + "/hang", timeout=forever)
# These are served while the first waits for its answer: the loop is not held up.
jobs = [gevent.spawn(session.get, sys.argv[1] + f"/bytes/{n}") for n in range(50)]
gevent.joinall(jobs, raise_error=True)
assert [len(job.value.content) for job in jobs] == list(range(50))
assert not hanging.ready()
token.cancel()
hanging.join()
print(type(hanging.exception).__name__)
session.close()
"""


def test_gevent_switches_where_a_pool_waits(server: LocalServer, tmp_path: Path) -> None:
    """In a process of its own, which gevent changes as a whole. Cancelling wakes one that waits."""
    pytest.importorskip("gevent")
    script = tmp_path / "script.py"
    script.write_text(GEVENT)
    done = subprocess.run(
        [sys.executable, str(script), server.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "ConnectionError"), done.stderr


def test_truststore_verifies(tls_server: LocalServer, ca: trustme.CA, tmp_path: Path) -> None:
    """By the authorities of the system, which a test cannot add one to: the test's is named."""
    truststore = pytest.importorskip("truststore")
    strict = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with httpcore_requests.Session(ssl_context=strict, timeout=PATIENCE) as session:
        with pytest.raises(requests.exceptions.SSLError):
            session.get(tls_server.url)
    trusting = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trusting.load_verify_locations(cafile=str(tmp_path / "ca.pem"))
    with httpcore_requests.Session(ssl_context=trusting, timeout=PATIENCE) as session:
        assert session.get(tls_server.url).status_code == 200
    with httpcore.ConnectionPool(ssl_context=trusting) as pool:
        assert pool.request("GET", tls_server.url).status == 200


def test_vcrpy_sees_nothing_of_the_adapter(server: LocalServer, tmp_path: Path) -> None:
    """It patches urllib3's connections, which are not used: so says the page on compatibility."""
    vcr = pytest.importorskip("vcr")
    for _ in range(2):
        with vcr.use_cassette(str(tmp_path / "tape.yaml")) as tape:
            with httpcore_requests.Session(timeout=PATIENCE) as session:
                assert session.get(server.url).status_code == 200
        assert (len(tape), tape.play_count) == (0, 0)
    assert len(server.requests) == 2
    assert not (tmp_path / "tape.yaml").exists()


def test_vcrpy_replays_where_the_stock_adapter_is_mounted(
    server: LocalServer, tmp_path: Path
) -> None:
    """The way out that the same page names, for tests with cassettes of vcrpy."""
    vcr = pytest.importorskip("vcr")
    for _ in range(2):
        with vcr.use_cassette(str(tmp_path / "tape.yaml")) as tape:
            with httpcore_requests.Session(timeout=PATIENCE) as session:
                session.mount("http://", requests.adapters.HTTPAdapter())
                assert session.get(server.url).status_code == 200
    assert tape.play_count == len(server.requests) == 1


def test_vcrpy_replays_httpx(server: LocalServer, tmp_path: Path) -> None:
    """It patches the transports of HTTPX, which call our pools only where nothing was recorded."""
    vcr, httpx = pytest.importorskip("vcr"), pytest.importorskip("httpx")
    bodies = []
    for _ in range(2):
        with vcr.use_cassette(str(tmp_path / "tape.yaml")) as tape, httpx.Client() as client:
            bodies.append(client.get(server.url, timeout=PATIENCE).content)
    assert tape.play_count == len(server.requests) == 1
    assert bodies[0] == bodies[1]
