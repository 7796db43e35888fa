"""pytest-httpbin's fixtures, with servers that speak HTTP/2.

Owns: ``httpbin`` (https, trusted by default) and ``httpbin_secure`` (trusted by
``httpbin_ca_bundle``); both speak HTTP/1.1 with who does not offer HTTP/2. Must not know: the
adapter.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from httpbin import app
from pytest_httpbin.serve import Server as PlainServer
from stand_in import served_over_http2

# Tests of requests that are about http:// URLs, and get them: by name, with what they are about.
PLAIN = {
    "test_auth_is_stripped_on_http_downgrade": "https to http",
    "test_basicauth_with_netrc_leak": "cuts the seven characters of http:// off",
    "test_http_with_certificate": "a certificate that is not looked at",
    "test_mixed_case_scheme_acceptable": "spellings of http",
    "test_proxy_error_on_bad_url": "proxies for http",
    "test_respect_proxy_env_on_get": "http_proxy",
    "test_respect_proxy_env_on_request": "http_proxy",
    "test_respect_proxy_env_on_send_self_prepared_request": "http_proxy",
    "test_respect_proxy_env_on_send_session_prepared_request": "http_proxy",
    "test_respect_proxy_env_on_send_with_redirects": "http_proxy",
    "test_uppercase_scheme_redirect": "a redirect to HTTP://",
    "test_urllib3_retries": "an adapter for http://",
}


class Server:
    """What tests use of pytest-httpbin's.

    Attributes:
        url: where it is, without a slash at its end.
        bundle: path of what to trust.
    """

    def __init__(self, port: int, bundle: str) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self.bundle = bundle


def _serve(folder: Path) -> Iterator[Server]:
    authority = trustme.CA()
    bundle, own = folder / "ca.pem", folder / "own.pem"
    authority.cert_pem.write_to_path(str(bundle))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(own))
    with served_over_http2(app, str(own)) as (_, port):
        yield Server(port, str(bundle))


@pytest.fixture(scope="session")
def trusted_httpbin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    for server in _serve(tmp_path_factory.mktemp("httpbin")):
        os.environ["SSL_CERT_FILE"] = server.bundle
        yield server
        del os.environ["SSL_CERT_FILE"]


@pytest.fixture(scope="session")
def other_httpbin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _serve(tmp_path_factory.mktemp("other_httpbin"))


@pytest.fixture(scope="session")
def plain_httpbin() -> Iterator[PlainServer]:
    with PlainServer(application=app) as server:
        yield server


@pytest.fixture
def httpbin(
    request: pytest.FixtureRequest, trusted_httpbin: Server, plain_httpbin: PlainServer
) -> Server | PlainServer:
    return plain_httpbin if request.node.originalname in PLAIN else trusted_httpbin


@pytest.fixture
def httpbin_secure(other_httpbin: Server) -> Server:
    return other_httpbin


@pytest.fixture
def httpbin_ca_bundle(other_httpbin: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", other_httpbin.bundle)


def pytest_collection_finish(session: pytest.Session) -> None:
    """A name above that no test has is a mistake, unless only some tests are run."""
    gone = PLAIN.keys() - {getattr(item, "originalname", "") for item in session.items}
    if gone and not session.config.option.keyword:
        raise pytest.UsageError(f"no test has the name of {', '.join(sorted(gone))}")
