"""`urllib3.HTTPConnectionPool.urlopen` put aside by somebody else, as tracers and mocks do.

Owns: that ours is seen by them, and is as it was for everybody else.
"""

from __future__ import annotations

import functools
import io
import subprocess
import sys
from typing import Any
from unittest.mock import Mock

import pytest
import requests
import urllib3
from urllib3.util import Retry

from httpcore_requests import HTTPAdapter
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, Serve

Calls = list[tuple[str, str, int]]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Method, target and status of each call, noted by a wrapper that adds a header, which is
    what OpenTelemetry and Elastic APM do."""
    calls: Calls = []
    under = urllib3.HTTPConnectionPool.urlopen

    @functools.wraps(under)
    def wrapper(pool: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        kwargs["headers"] = {**kwargs["headers"], "Traceparent": f"00-{len(calls)}"}
        try:
            response = under(pool, method, url, *args, **kwargs)
        except Exception:
            calls.append((method, url, 0))
            raise
        calls.append((method, url, response.status))
        return response

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", wrapper)
    return calls


def test_a_wrapper_sees_the_request_and_changes_it(
    session: requests.Session, server: LocalServer, traced: Calls
) -> None:
    response = session.post(server.url + "/echo?a=b", data=b"body")
    assert response.json()["body"] == "body"
    assert ["Traceparent", "00-0"] in response.json()["headers"]
    assert traced == [("POST", "/echo?a=b", 200)]
    assert type(response.raw).__module__ == "httpcore_requests._raw"
    with session.get(server.url + "/bytes/100000", stream=True) as streamed:
        assert len(b"".join(streamed.iter_content(1000))) == 100_000
    assert session.get(server.url + "/redirect/2").history[1].status_code == 302
    assert [status for _, _, status in traced] == [200, 200, 302, 302, 200]
    assert server.accepted == 1


def test_errors_are_ours(
    session: requests.Session, closed_port: int, server: LocalServer, traced: Calls
) -> None:
    with pytest.raises(requests.ConnectionError, match=r"^connect to 127\.0\.0\.1:\d+ .* failed"):
        session.get(f"http://127.0.0.1:{closed_port}/")
    with pytest.raises(requests.ConnectionError, match="before any byte"):
        session.post(server.url + "/drop")
    with pytest.raises(requests.ReadTimeout):
        session.get(server.url + "/hang", timeout=0.05)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(server.url + "/truncated/10")
    assert [status for _, _, status in traced] == [0, 0, 0, 200]


def test_retries_are_ours(serve: Serve, traced: Calls) -> None:
    bodies: list[bytes] = []

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            bodies.append(request.body)
            peer.respond(503 if len(bodies) % 3 else 200, b"")

    policy = Retry(total=5, status_forcelist=[503], backoff_factor=0, allowed_methods=None)
    file = io.BytesIO(b"skipped body")
    file.seek(8)
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=policy))
        response = session.put(serve(handler).url, data=file)
    assert [attempt.status for attempt in response.raw.retries.history] == [503, 503]
    assert bodies == [b"body"] * 3
    assert len(traced) == 1


def test_tls_and_proxies(
    session: requests.Session,
    server: LocalServer,
    tls_server: LocalServer,
    ca_bundle: str,
    proxy: ProxyServer,
    traced: Calls,
) -> None:
    proxies = {"http": proxy.url, "https": proxy.url}
    session.verify = ca_bundle
    assert session.get(tls_server.url + "/", proxies=proxies).ok
    assert session.get(server.url + "/", proxies=proxies).ok
    assert [request.line.split()[0] for request in proxy.requests] == [b"CONNECT", b"GET"]
    assert len(traced) == 2


def test_a_mock_is_called_in_our_place(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = urllib3.HTTPResponse(body=io.BytesIO(b"mine"), status=200, preload_content=False)
    mock = Mock(return_value=answer)
    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", mock)
    assert session.get("http://nowhere.invalid/x").content == b"mine"
    assert mock.call_args.args == ("GET", "/x")


def test_one_that_brings_a_policy_of_its_own(
    session: requests.Session, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    under = urllib3.HTTPConnectionPool.urlopen
    first = {"/", "/status/500"}

    def wrapper(pool: Any, method: str, url: str, **kwargs: Any) -> Any:
        if url in first:  # else it is urllib3's loop that asks again
            first.discard(url)
            kwargs["retries"] = Retry(total=1, status_forcelist=[500], backoff_factor=0)
        return under(pool, method, url, **kwargs)

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", wrapper)
    assert session.get(server.url + "/").ok
    with pytest.raises(requests.exceptions.RetryError):
        session.get(server.url + "/status/500")
    assert [request.path for request in server.requests] == ["/", "/status/500", "/status/500"]


def test_a_proxy_manager_put_in_urllib3s_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """requests looks it up in `urllib3.poolmanager`; a test of requests-toolbelt counts on it."""
    made = Mock()
    monkeypatch.setattr(urllib3.poolmanager, "ProxyManager", made)
    adapter = HTTPAdapter()
    manager = adapter.proxy_manager_for("http://127.0.0.1:8888", ssl_version="x")
    assert manager is made.return_value is adapter.proxy_manager["http://127.0.0.1:8888"]
    assert made.call_args.kwargs["proxy_url"] == "http://127.0.0.1:8888"
    assert made.call_args.kwargs["ssl_version"] == "x"


def test_replaced_before_we_are_imported() -> None:
    code = """
import urllib3, functools
calls = []
under = urllib3.HTTPConnectionPool.urlopen
@functools.wraps(under)
def wrapper(*args, **kwargs):
    calls.append(args[1])
    return under(*args, **kwargs)
urllib3.HTTPConnectionPool.urlopen = wrapper
import httpcore_requests
try:
    httpcore_requests.Session().get("http://127.0.0.1:1/")
except Exception as exc:
    print(calls, exc)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("['GET'] connect to 127.0.0.1:1"), done.stderr
