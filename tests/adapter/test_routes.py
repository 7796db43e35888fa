"""https proxies, `resolve`, `resolver` and `on_proxy_challenge` through the adapter.

Owns: whose TLS settings hold on which hop, and what becomes of the keywords. The rows of the
scenarios are in tests/scenarios/test_routes_requests.py. Must not know: how a proxy is spoken to.
"""

from __future__ import annotations

import hashlib
import pickle
import ssl
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import requests
import requests.adapters
import trustme
import urllib3
from requests.exceptions import ProxyError, SSLError
from urllib3.exceptions import InsecureRequestWarning

import httpcore
from httpcore_requests import HTTPAdapter
from tests.support import tls
from tests.support.clients import STOCK, MakeSession
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer

Adapter = requests.adapters.HTTPAdapter


@pytest.fixture
def proxy_ca() -> trustme.CA:
    """Another CA than the origins'."""
    return trustme.CA()


@pytest.fixture
def proxy_bundle(proxy_ca: trustme.CA, tmp_path: Any) -> str:
    path = str(tmp_path / "proxy-ca.pem")
    proxy_ca.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def proxy_context(proxy_ca: trustme.CA) -> ssl.SSLContext:
    """A client's, which trusts the proxy's CA and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    proxy_ca.configure_trust(context)
    return context


@pytest.fixture
def tls_proxy(server_tls_context: ssl.SSLContext) -> Iterator[ProxyServer]:
    """An https proxy of the origins' CA."""
    with ProxyServer(tls=server_tls_context) as running:
        yield running
    assert not running.errors


@pytest.fixture
def other_proxy(proxy_ca: trustme.CA) -> Iterator[ProxyServer]:
    """An https proxy of a CA of its own."""
    with ProxyServer(tls=tls.server_context(proxy_ca)) as running:
        yield running
    assert not running.errors


@pytest.fixture(params=["http", "https"])
def origin(request: pytest.FixtureRequest, server: LocalServer, tls_server: LocalServer) -> Any:
    """Each kind of origin in turn."""
    return server if request.param == "http" else tls_server


def both(proxy: ProxyServer) -> dict[str, str]:
    return {"http": proxy.url, "https": proxy.url}


def through(resolver: Any = None, **keywords: Any) -> HTTPAdapter:
    """An adapter whose proxy managers are given `keywords`."""

    class Told(HTTPAdapter):
        def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
            return super().proxy_manager_for(proxy, **{**more, **keywords})

    return Told(resolver=resolver)


def warned(expected: bool) -> Any:
    return pytest.warns(InsecureRequestWarning) if expected else nullcontext()


def look_up_here(host: str, port: int, timeout: float | None) -> list[str]:
    return ["127.0.0.1"]


def fingerprint(server: Any) -> str:
    pem = ssl.get_server_certificate((server.host, server.port))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


# --- https proxies: who verifies whom


def test_a_forwarded_request_over_tls_is_the_one_that_urllib3_sends(
    make_session: MakeSession, tls_proxy: ProxyServer, server: LocalServer, ca_bundle: str
) -> None:
    url = tls_proxy.url.replace("://", "://user:pass@")
    for adapter in (STOCK(), HTTPAdapter()):
        session = make_session(adapter)
        for _ in range(2):
            # Stock requests verifies no proxy on the way to http, and urllib3 warns of that.
            with warned(type(adapter) is STOCK):
                response = session.get(
                    server.url + "/echo?a=%20", proxies={"http": url}, verify=ca_bundle
                )
            assert response.headers["Via"] == "1.1 test"
    theirs, _, ours, again = tls_proxy.requests
    assert ours.line == theirs.line == f"GET {server.url}/echo?a=%20 HTTP/1.1".encode()
    assert sorted(ours.headers) == sorted(theirs.headers)
    assert again.connection == ours.connection


def test_a_proxy_is_verified_as_origins_are(
    make_session: MakeSession, tls_proxy: ProxyServer, origin: LocalServer, ca_bundle: str
) -> None:
    session = make_session()
    with pytest.raises(ProxyError, match=f"cannot reach the proxy {tls_proxy.url}: .*verify"):
        session.get(origin.url, proxies=both(tls_proxy))
    assert not tls_proxy.requests
    for verify in (ca_bundle, False, ca_bundle):
        with warned(verify is False):
            assert session.get(origin.url, proxies=both(tls_proxy), verify=verify).ok
    # Not on the connection that nobody verified.
    assert tls_proxy.accepted == 3
    assert len({request.connection for request in tls_proxy.requests}) == 2
    with pytest.raises(ProxyError, match="verify"):
        session.get(origin.url, proxies=both(tls_proxy))
    tls_proxy.handshake_errors.clear()


@pytest.mark.parametrize("verify", [True, "path"])
def test_the_request_decides_though_requests_writes_cert_none_for_http(
    make_session: MakeSession,
    other_proxy: ProxyServer,
    server: LocalServer,
    ca_bundle: str,
    verify: Any,
) -> None:
    """requests' cert_verify says CERT_NONE for http:// URLs, whatever the request asks."""
    session = make_session()
    verify = ca_bundle if verify == "path" else verify
    for cert in (None, ca_bundle):  # with one, another way of the code
        with pytest.raises(ProxyError, match="certificate verify failed"):
            session.get(server.url, proxies=both(other_proxy), verify=verify, cert=cert)
    assert not other_proxy.requests
    other_proxy.handshake_errors.clear()


def test_an_unverified_proxy_is_warned_of_once(
    make_session: MakeSession,
    tls_proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    ca_bundle: str,
    proxy_context: ssl.SSLContext,
) -> None:
    session = make_session()
    with pytest.warns(InsecureRequestWarning) as warned:
        session.get(server.url, proxies=both(tls_proxy), verify=False)
    assert [str(one.message)[:36] for one in warned] == ["The https proxy '127.0.0.1' is not v"]
    with pytest.warns(InsecureRequestWarning) as warned:
        session.get(tls_server.url, proxies=both(tls_proxy), verify=False)
    assert [str(one.message)[:24] for one in warned] == ["Unverified HTTPS request"]
    assert {one.filename for one in warned} == {urllib3.connectionpool.__file__}
    proxy_context.check_hostname = False
    proxy_context.verify_mode = ssl.CERT_NONE
    session = make_session(through(proxy_ssl_context=proxy_context))
    with pytest.warns(InsecureRequestWarning, match="The https proxy") as warned:
        session.get(tls_server.url, proxies=both(tls_proxy), verify=ca_bundle)
    assert len(warned) == 1


def test_the_name_of_the_proxy_is_checked(
    make_session: MakeSession, tls_proxy: ProxyServer, origin: LocalServer, ca_bundle: str
) -> None:
    wrong = tls_proxy.url.replace("127.0.0.1", "proxy.test")
    session = make_session(HTTPAdapter(resolver=look_up_here))
    with pytest.raises(ProxyError, match=r"proxy https://proxy\.test.*not valid for 'proxy\.test'"):
        session.get(origin.url, proxies={"all": wrong}, verify=ca_bundle)
    tls_proxy.handshake_errors.clear()


def test_a_context_for_the_proxy_alone(
    make_session: MakeSession,
    other_proxy: ProxyServer,
    origin: LocalServer,
    ca_bundle: str,
    proxy_context: ssl.SSLContext,
) -> None:
    """As in urllib3: the context decides over the proxy, `verify` over the origin."""
    session = make_session(through(proxy_ssl_context=proxy_context))
    for _ in range(2):
        assert session.get(origin.url, proxies=both(other_proxy), verify=ca_bundle).ok
    assert other_proxy.accepted == 1
    assert proxy_context.cert_store_stats()["x509"] == 1  # nothing was loaded into it


def test_a_context_for_the_proxy_of_a_manager_that_a_subclass_builds(
    make_session: MakeSession,
    other_proxy: ProxyServer,
    origin: LocalServer,
    ca_bundle: str,
    proxy_context: ssl.SSLContext,
) -> None:
    class Adapter(HTTPAdapter):
        def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
            return self.proxy_manager.setdefault(
                proxy, urllib3.ProxyManager(proxy, proxy_ssl_context=proxy_context)
            )

    adapter = Adapter()
    assert make_session(adapter).get(origin.url, proxies=both(other_proxy), verify=ca_bundle).ok
    assert adapter.pool.stats()["connections"] == 1  # ours, not urllib3's


def test_a_managers_context_is_the_origins_and_where_there_is_none_the_proxys(
    make_session: MakeSession,
    tls_proxy: ProxyServer,
    other_proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    ca_bundle: str,
    proxy_context: ssl.SSLContext,
) -> None:
    """As in urllib3: what is forwarded goes over the pool's connection, so its context holds."""
    session = make_session(through(ssl_context=proxy_context))
    assert session.get(server.url, proxies=both(other_proxy)).ok
    with pytest.raises(ProxyError, match="verify failed"):
        session.get(tls_server.url, proxies=both(tls_proxy))
    tls_proxy.handshake_errors.clear()


def test_the_adapters_own_context_is_for_both(
    make_session: MakeSession,
    tls_proxy: ProxyServer,
    origin: LocalServer,
    client_tls_context: ssl.SSLContext,
) -> None:
    session = make_session(HTTPAdapter(ssl_context=client_tls_context))
    for _ in range(2):
        assert session.get(origin.url, proxies=both(tls_proxy)).ok
    assert tls_proxy.accepted == 1
    with pytest.raises(SSLError, match="verify=False cannot be honoured"):
        session.get(origin.url, proxies=both(tls_proxy), verify=False)


def test_the_clients_certificate_is_for_the_origin_alone(
    make_session: MakeSession,
    mutual_tls_context: ssl.SSLContext,
    server: LocalServer,
    client_cert: tls.ClientCert,
    ca: trustme.CA,
    ca_bundle: str,
    tls_proxy: ProxyServer,
) -> None:
    cert = (client_cert.cert, client_cert.key)
    # TLS 1.3 says what is missing after the handshake only.
    context = tls.server_context(ca, ask_client=True)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with LocalServer(tls=mutual_tls_context) as strict, ProxyServer(tls=context) as curious:
        session = make_session()
        assert session.get(strict.url, proxies=both(tls_proxy), verify=ca_bundle, cert=cert).ok
        for origin in (server, strict):
            with pytest.raises(ProxyError, match=f"127.0.0.1:{curious.port} failed"):
                session.get(origin.url, proxies=both(curious), verify=ca_bundle, cert=cert)
        assert not curious.requests
        curious.handshake_errors.clear()


def test_a_client_certificate_for_the_proxy(
    make_session: MakeSession,
    mutual_tls_context: ssl.SSLContext,
    origin: LocalServer,
    client_cert: tls.ClientCert,
    ca: trustme.CA,
    ca_bundle: str,
) -> None:
    """ "With separate CA/cert for each hop": it is in the proxy's own context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    context.load_cert_chain(client_cert.cert, client_cert.key)
    with ProxyServer(tls=mutual_tls_context) as proxy:
        session = make_session(through(proxy_ssl_context=context))
        assert session.get(origin.url, proxies=both(proxy), verify=ca_bundle).ok
        session.close()
        assert not proxy.errors


# --- urllib3's assert_ keywords, for either hop


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request:urllib3.exceptions.HTTPWarning")
@pytest.mark.parametrize("right", [True, False])
def test_the_proxys_fingerprint(
    make_session: MakeSession, other_proxy: ProxyServer, origin: LocalServer, right: bool
) -> None:
    """It stands in place of name and chain, as for an origin."""
    seen = fingerprint(other_proxy)
    accepted = other_proxy.accepted
    asked = seen if right else seen.replace(seen[0], "0" if seen[0] != "0" else "1")
    session = make_session(through(proxy_assert_fingerprint=asked))
    if right:
        assert session.get(origin.url, proxies=both(other_proxy), verify=False).ok
        assert other_proxy.accepted == accepted + 1
    else:
        with pytest.raises(ProxyError, match="Fingerprints did not match"):
            session.get(origin.url, proxies=both(other_proxy), verify=False)
        assert not other_proxy.requests


@pytest.mark.parametrize("given", ["proxy_ssl_context", "verify"])
@pytest.mark.parametrize("name", ["example.test", "elsewhere.test", False])
def test_the_proxys_name(
    make_session: MakeSession,
    tls_proxy: ProxyServer,
    origin: LocalServer,
    ca_bundle: str,
    client_tls_context: ssl.SSLContext,
    name: Any,
    given: str,
) -> None:
    keywords = {"proxy_ssl_context": client_tls_context} if given != "verify" else {}
    session = make_session(through(look_up_here, proxy_assert_hostname=name, **keywords))
    # A name that the certificate does not have, so that what is asserted decides.
    proxies = {"all": tls_proxy.url.replace("127.0.0.1", "proxy.test")}
    if name == "elsewhere.test":
        with pytest.raises(ProxyError, match=r"proxy https://proxy.*elsewhere\.test"):
            session.get(origin.url, proxies=proxies, verify=ca_bundle)
        assert not tls_proxy.requests
    else:
        assert session.get(origin.url, proxies=proxies, verify=ca_bundle).ok


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"assert_fingerprint": "00" * 32}, "Fingerprints did not match"),
        ({"assert_hostname": "elsewhere.test"}, "elsewhere.test"),
    ],
)
def test_what_is_asserted_of_the_origin_holds_inside_the_proxys_tls(
    make_session: MakeSession,
    tls_proxy: ProxyServer,
    tls_server: LocalServer,
    ca_bundle: str,
    keywords: dict[str, str],
    text: str,
) -> None:
    """There the origin's context works on memory, not on a socket."""
    session = make_session(through(proxy_ssl_context=_trusting(ca_bundle), **keywords))
    with pytest.raises(SSLError, match=text) as caught:
        session.get(tls_server.url, proxies=both(tls_proxy), verify=ca_bundle)
    where = f"127.0.0.1:{tls_server.port} through the proxy {tls_proxy.url}"
    assert where in str(caught.value)
    assert not tls_server.requests
    tls_server.handshake_errors.clear()


def _trusting(bundle: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=bundle)


def test_what_is_asserted_of_the_origin_and_true(
    make_session: MakeSession, tls_proxy: ProxyServer, tls_server: LocalServer, ca_bundle: str
) -> None:
    seen = fingerprint(tls_server)
    accepted = tls_server.accepted
    for keywords in ({"assert_fingerprint": seen}, {"assert_hostname": "example.test"}):
        session = make_session(through(**keywords))
        for close in ("keep-alive", "close", "close"):  # the last one resumes a session
            assert session.get(
                tls_server.url,
                headers={"Connection": close},
                proxies=both(tls_proxy),
                verify=ca_bundle,
            ).ok
    assert tls_server.accepted == accepted + 4


def test_names_are_checked_of_a_context_that_does_not_inside_the_proxys_tls(
    make_session: MakeSession, tls_proxy: ProxyServer, tls_server: LocalServer, ca_bundle: str
) -> None:
    """As on a socket: `check_hostname=False` on a context switches nothing off."""
    context = _trusting(ca_bundle)
    context.check_hostname = False
    session = make_session(through(proxy_ssl_context=context, ssl_context=context))
    assert session.get(tls_server.url, proxies=both(tls_proxy), verify=ca_bundle).ok
    tls_proxy.hosts = {"elsewhere.test": "127.0.0.1"}
    with pytest.raises(SSLError, match=r"elsewhere\.test"):
        session.get(
            f"https://elsewhere.test:{tls_server.port}", proxies=both(tls_proxy), verify=ca_bundle
        )
    tls_server.handshake_errors.clear()


def test_forwarding_of_https_is_refused(
    make_session: MakeSession, tls_proxy: ProxyServer, tls_server: LocalServer, ca_bundle: str
) -> None:
    session = make_session(through(use_forwarding_for_https=True))
    with pytest.raises(ValueError, match="use_forwarding_for_https=True is not supported"):
        session.get(tls_server.url, proxies=both(tls_proxy), verify=ca_bundle)
    with pytest.raises(TypeError, match=r"ssl_context must be an ssl\.SSLContext, not str"):
        make_session(through(proxy_ssl_context="ca.pem")).get(
            tls_server.url, proxies=both(tls_proxy)
        )
    assert not tls_proxy.accepted


# --- https proxies: managers and pools


def test_a_cleared_manager_closes_its_connections_however_verified(
    make_session: MakeSession,
    tls_proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    ca_bundle: str,
) -> None:
    adapter = HTTPAdapter()
    session = make_session(adapter)
    for verify in (ca_bundle, False):
        with warned(verify is False):
            session.get(server.url, proxies=both(tls_proxy), verify=verify)
            session.get(tls_server.url, proxies=both(tls_proxy), verify=verify)
    session.get(server.url)
    assert adapter.pool.stats()["idle"] == 5
    next(iter(adapter.proxy_manager.values())).clear()
    assert adapter.pool.stats()["idle"] == 1
    assert tls_proxy.wait_for(lambda: tls_proxy.open == 0)


def test_an_origin_that_is_the_proxy(
    make_session: MakeSession, tls_proxy: ProxyServer, server: LocalServer, ca_bundle: str
) -> None:
    """Its pool is the one for http through it, and the two are told apart."""
    session = make_session()
    assert session.get(server.url, proxies=both(tls_proxy), verify=ca_bundle).ok
    answer = session.get(tls_proxy.url, proxies=both(tls_proxy), verify=ca_bundle)
    assert answer.status_code == 400  # "send an absolute http URL": it was asked as an origin
    assert session.get(server.url, proxies=both(tls_proxy), verify=ca_bundle).ok
    lines = [request.line.split()[0] for request in tls_proxy.requests]
    assert lines == [b"GET", b"CONNECT", b"GET", b"GET"]


def test_a_bundle_that_was_rewritten_is_read_again(
    make_session: MakeSession,
    other_proxy: ProxyServer,
    server: LocalServer,
    proxy_bundle: str,
    ca: trustme.CA,
) -> None:
    session = make_session()
    assert session.get(server.url, proxies=both(other_proxy), verify=proxy_bundle).ok
    ca.cert_pem.write_to_path(proxy_bundle)
    with pytest.raises(ProxyError, match="verify failed"):
        session.get(server.url, proxies=both(other_proxy), verify=proxy_bundle)
    assert len(other_proxy.requests) == 1
    other_proxy.handshake_errors.clear()


# --- resolve, resolver, on_proxy_challenge


def answer_nothing(error: httpcore.ProxyError, proxy: str) -> None:
    return None


def test_the_keywords_pickle(make_session: MakeSession, server: LocalServer) -> None:
    adapter = HTTPAdapter(
        resolve={f"a.test:{server.port}": "127.0.0.1"},
        resolver=look_up_here,
        on_proxy_challenge=answer_nothing,
    )
    make_session(adapter)
    session = make_session(pickle.loads(pickle.dumps(adapter)))
    for name in ("a.test", "b.test"):
        assert session.get(f"http://{name}:{server.port}").ok
    settings = session.get_adapter("http://")._settings  # type: ignore[attr-defined]
    assert settings.on_proxy_challenge is answer_nothing


@pytest.mark.parametrize(
    ("keywords", "error", "text"),
    [
        ({"resolve": {"a.test": "::1"}}, ValueError, "resolve takes"),
        ({"resolve": "a.test"}, TypeError, "resolve must be a mapping"),
        ({"resolver": "8.8.8.8"}, TypeError, "resolver must be callable, not str"),
        ({"on_proxy_challenge": ("u", "p")}, TypeError, "on_proxy_challenge must be callable"),
        (
            {"resolver": look_up_here, "network_backend": httpcore.SyncBackend()},
            ValueError,
            "exclude each other",
        ),
    ],
)
def test_keywords_that_cannot_be(
    keywords: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        HTTPAdapter(**keywords)


@pytest.mark.parametrize("answer", [[], RuntimeError("no DNS here")])
def test_a_resolver_that_fails(make_session: MakeSession, answer: Any) -> None:
    def resolver(host: str, port: int, timeout: float | None) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    session = make_session(HTTPAdapter(resolver=resolver))
    with pytest.raises((requests.ConnectionError, RuntimeError), match=r"h\.test|no DNS here"):
        session.get("http://h.test")
