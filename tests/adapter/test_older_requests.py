"""What requests did before the version that is installed, in its place.

scripts/oldest runs all tests with the oldest versions; these two differences were worth a test that
runs with every version.
"""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import requests
import requests.adapters
import trustme

from httpcore_requests import HTTPAdapter
from tests.support.clients import MakeSession
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer


@pytest.fixture
def preloaded(monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The context that requests 2.32.4 has for all of a process, where `verify` is True and the
    pool manager has none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    attributes: Any = requests.adapters._urllib3_request_context  # type: ignore[attr-defined]

    def with_context(request: Any, verify: Any, cert: Any, manager: Any) -> Any:
        host, more = attributes(request, verify, cert, manager)
        if verify is True and not manager.connection_pool_kw.get("ssl_context"):
            more["ssl_context"] = context
        return host, more

    monkeypatch.setattr(requests.adapters, "_preloaded_ssl_context", context, raising=False)
    monkeypatch.setattr(requests.adapters, "_urllib3_request_context", with_context)
    return context


def test_a_given_context_is_the_one_that_counts(
    preloaded: ssl.SSLContext, make_session: MakeSession, tls_server: LocalServer, ca: trustme.CA
) -> None:
    given = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(given)
    assert make_session(HTTPAdapter(ssl_context=given)).get(tls_server.url).ok


def test_a_given_context_does_not_trust_more(
    preloaded: ssl.SSLContext, make_session: MakeSession, tls_server: LocalServer, ca: trustme.CA
) -> None:
    ca.configure_trust(preloaded)
    given = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trustme.CA().configure_trust(given)
    with pytest.raises(requests.exceptions.SSLError, match="trusts its own roots only"):
        make_session(HTTPAdapter(ssl_context=given)).get(tls_server.url)


def test_the_variables_count(
    preloaded: ssl.SSLContext,
    make_session: MakeSession,
    tls_server: LocalServer,
    ca_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)
    assert make_session().get(tls_server.url).ok


@pytest.mark.parametrize("road", ["direct", "tunnelled"])
def test_slashes_at_the_beginning_stay(
    make_session: MakeSession,
    proxy: ProxyServer,
    tls_server: LocalServer,
    ca_bundle: str,
    road: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """requests 2.33 makes one of them."""
    shortened: Any = lambda self, request, proxies: f"/{request.path_url.lstrip('/')}"  # noqa: E731
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "request_url", shortened)
    session = make_session()
    session.verify = ca_bundle
    proxies = {} if road == "direct" else {"https": proxy.url}
    session.get(f"{tls_server.url}//a?b#c", proxies=proxies)
    assert tls_server.requests[0].target == b"//a?b"
