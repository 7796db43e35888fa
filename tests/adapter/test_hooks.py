"""Subclasses and settings: every hook that the world overrides is still called.

Owns: REQUESTS' adapter surface as third-party adapters use it.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import requests.adapters
import urllib3
from requests.exceptions import ConnectionError, InvalidURL, SSLError
from urllib3.connectionpool import HTTPConnectionPool

from httpcore_requests import HTTPAdapter
from tests.support.clients import STOCK
from tests.support.servers import LocalServer, Peer, Serve
from tests.support.tls import ClientCert


@pytest.fixture
def send() -> Iterator[Callable[..., requests.Response]]:
    """`send(adapter, url, **kw)`: one GET through a session with that adapter mounted."""
    sessions: list[requests.Session] = []

    def get(adapter: requests.adapters.HTTPAdapter, url: str, **kw: Any) -> requests.Response:
        session = requests.Session()
        sessions.append(session)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session.get(url, **kw)

    yield get
    for session in sessions:
        session.close()


Send = Callable[..., requests.Response]


def test_every_hook_is_called(send: Send, server: LocalServer) -> None:
    called: list[str] = []

    class Watching(HTTPAdapter):
        def __init__(self, mine: str, **kw: Any) -> None:
            self.mine = mine  # before super().__init__, which calls init_poolmanager
            super().__init__(**kw)

        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            called.append(f"init_poolmanager {self.mine}")
            super().init_poolmanager(*args, **kw)

        def build_connection_pool_key_attributes(self, *args: Any, **kw: Any) -> Any:
            called.append("build_connection_pool_key_attributes")
            return super().build_connection_pool_key_attributes(*args, **kw)

        def get_connection_with_tls_context(self, *args: Any, **kw: Any) -> Any:
            called.append("get_connection_with_tls_context")
            return super().get_connection_with_tls_context(*args, **kw)

        def cert_verify(self, *args: Any, **kw: Any) -> None:
            called.append("cert_verify")
            super().cert_verify(*args, **kw)

        def request_url(self, *args: Any, **kw: Any) -> str:
            called.append("request_url")
            return super().request_url(*args, **kw) + "?mine"

        def add_headers(self, request: requests.PreparedRequest, **kw: Any) -> None:
            called.append("add_headers")
            request.headers["X-Mine"] = "1"

        def build_response(self, *args: Any, **kw: Any) -> requests.Response:
            called.append("build_response")
            return super().build_response(*args, **kw)

        def send(self, *args: Any, **kw: Any) -> requests.Response:
            called.append("send")
            return super().send(*args, **kw)

    adapter = Watching("first", pool_maxsize=3)
    for _ in range(2):
        response = send(adapter, server.url + "/echo")
        assert response.json()["target"] == "/echo?mine"
    assert ["X-Mine", "1"] in [list(pair) for pair in response.json()["headers"]]
    once = [
        "send",
        "get_connection_with_tls_context",
        "build_connection_pool_key_attributes",
        "cert_verify",
        "request_url",
        "add_headers",
        "build_response",
    ]
    assert called == ["init_poolmanager first", *once, *once]


def test_attributes_that_are_read(send: Send, server: LocalServer) -> None:
    adapter = HTTPAdapter(7, 8, 2, True)
    assert (adapter._pool_connections, adapter._pool_maxsize, adapter._pool_block) == (7, 8, True)
    assert adapter.max_retries.total == 2
    assert (adapter.config, adapter.proxy_manager) == ({}, {})
    assert isinstance(adapter.poolmanager, urllib3.PoolManager)
    assert adapter.poolmanager.connection_pool_kw == {"maxsize": 8, "block": True}
    assert set(requests.adapters.HTTPAdapter.__attrs__) <= set(HTTPAdapter.__attrs__)
    send(adapter, server.url)
    send(adapter, server.url)
    pool = adapter.poolmanager.connection_from_url(server.url)
    assert isinstance(pool, HTTPConnectionPool)
    assert (pool.scheme, pool.host, pool.port) == ("http", "127.0.0.1", server.port)
    send(adapter, server.url, verify=False)
    assert len(adapter.poolmanager.pools) >= 2
    adapter.poolmanager.clear()
    assert len(adapter.poolmanager.pools) == 0
    assert adapter.pool.stats()["idle"] == 0
    assert not send(adapter, server.url).raw.reused


def test_pool_counts(send: Send, server: LocalServer) -> None:
    adapter = HTTPAdapter()
    for _ in range(3):
        response = send(adapter, server.url)
    pool = adapter.get_connection_with_tls_context(response.request, True)
    assert (pool.num_connections, pool.num_requests) == (1, 3)


def test_pool_manager_built_by_the_subclass(
    send: Send, tls_server: LocalServer, ca_bundle: str
) -> None:
    class Style(HTTPAdapter):
        def init_poolmanager(self, connections: int, maxsize: int, block: bool = False) -> None:  # type: ignore[override]
            self.poolmanager = urllib3.PoolManager(
                num_pools=connections,
                maxsize=maxsize,
                block=block,
                ssl_minimum_version=ssl.TLSVersion.TLSv1_3,
            )

    adapter = Style()
    response = send(adapter, tls_server.url, verify=ca_bundle, stream=True)
    assert type(response.raw).__name__ == "RawResponse"
    assert response.raw.network_stream.get_extra_info("ssl_object").version() == "TLSv1.3"
    response.content  # noqa: B018
    assert send(adapter, tls_server.url, verify=ca_bundle).raw.reused


def test_settings_are_read_at_call_time(
    send: Send, tls_server: LocalServer, ca_bundle: str
) -> None:
    adapter = HTTPAdapter()
    assert send(adapter, tls_server.url, verify=ca_bundle).ok
    adapter.poolmanager.connection_pool_kw["assert_hostname"] = "other.name"
    with pytest.raises(SSLError, match=r"other\.name"):
        send(adapter, tls_server.url, verify=ca_bundle)
    adapter.poolmanager.connection_pool_kw["assert_hostname"] = "sub.example.test"
    assert send(adapter, tls_server.url, verify=ca_bundle).ok
    del adapter.poolmanager.connection_pool_kw["assert_hostname"]
    assert send(adapter, tls_server.url, verify=ca_bundle).raw.reused


def test_socket_options_that_are_changed_in_place(send: Send, server: LocalServer) -> None:
    """As in urllib3, where they are part of what a pool is found by."""
    adapter = HTTPAdapter()
    options: list[tuple[int, int, int]] = []
    adapter.poolmanager.connection_pool_kw["socket_options"] = options
    assert not send(adapter, server.url).raw.reused
    assert send(adapter, server.url).raw.reused
    options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    response = send(adapter, server.url, stream=True)
    assert response.raw.connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    response.close()


@pytest.mark.parametrize(
    "target", ["", "http://other.test/a", "http://u:p@other.test:81", "HTTPS://a.test?b"]
)
def test_targets_of_a_request_url_hook(send: Send, server: LocalServer, target: str) -> None:
    """Host is that of the target, where it is a whole URL (RFC 9112 section 3.2.2)."""
    seen = []
    for base in (STOCK, HTTPAdapter):

        class Targets(base):  # type: ignore[misc, valid-type]
            def request_url(self, request: Any, proxies: Any) -> str:
                return target

        send(Targets(), server.url)
        line, *fields = server.requests[-1].head.split(b"\r\n")
        host = next(field for field in fields if field.lower().startswith(b"host:"))
        seen.append((line, host.replace(b"u:p@", b"")))
    assert seen[0] == seen[1]


def test_real_urllib3_pool_from_a_hook_is_used(send: Send, server: LocalServer) -> None:
    with HTTPConnectionPool("127.0.0.1", server.port) as real:

        class Other(HTTPAdapter):
            def get_connection_with_tls_context(self, *args: Any, **kw: Any) -> Any:
                return real

        response = send(Other(), server.url + "/bytes/5")
        assert len(response.content) == 5
        assert type(response.raw) is urllib3.HTTPResponse
        assert real.num_requests == 1
        response.close()


def test_deprecated_get_connection_still_answers(server: LocalServer) -> None:
    adapter = HTTPAdapter()
    with pytest.deprecated_call():
        pool = adapter.get_connection(server.url)
    response = pool.urlopen("GET", "/bytes/5")
    assert len(response.data) == 5
    assert response.read() == b""
    adapter.close()


def test_pool_follows_redirects_when_asked(server: LocalServer) -> None:
    adapter = HTTPAdapter()
    pool = adapter.poolmanager.connection_from_url(server.url)
    response = pool.request("GET", "/redirect/2")
    assert (response.status, len(response.retries.history)) == (200, 2)
    assert b'"/echo"' in response.data
    with pytest.raises(urllib3.exceptions.MaxRetryError):
        pool.request("GET", "/redirect/3", retries=urllib3.Retry(redirect=1))
    with pytest.raises(urllib3.exceptions.HostChangedError):
        pool.urlopen("GET", "http://other.test/")
    adapter.close()


def test_source_address_and_socket_options(send: Send, serve: Serve) -> None:
    peers: list[Any] = []

    def handler(peer: Peer) -> None:
        peers.append(peer.sock.getpeername()[0])
        peer.recv_request()
        peer.respond(200, b"")

    class Bound(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, source_address=("127.0.0.2", 0), **kw)

    assert send(Bound(), serve(handler).url).ok
    assert peers == ["127.0.0.2"]


def test_settings_that_cannot_be_honoured_are_named(send: Send, server: LocalServer) -> None:
    class Odd(HTTPAdapter):
        def __init__(self, **extra: Any) -> None:
            self.extra = extra
            super().__init__()

        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, **self.extra, **kw)

    with pytest.raises(ValueError, match="source_address"):
        send(Odd(source_address=("127.0.0.1", 4321)), server.url)
    with pytest.raises(TypeError, match="nonsense"):
        send(Odd(nonsense=1), server.url)


# --- TLS


def test_verify_values(send: Send, tls_server: LocalServer, ca_bundle: str) -> None:
    adapter = HTTPAdapter()
    with pytest.raises(SSLError):
        send(adapter, tls_server.url)
    assert send(adapter, tls_server.url, verify=ca_bundle).ok
    with pytest.warns(urllib3.exceptions.InsecureRequestWarning, match=r"host '127\.0\.0\.1'"):
        assert not send(adapter, tls_server.url, verify=False).raw.reused
    with pytest.raises(SSLError):  # the connection made without verifying is not used
        send(adapter, tls_server.url)
    assert send(adapter, tls_server.url, verify=ca_bundle).raw.reused
    with pytest.raises(OSError, match="invalid path: /no/such"):
        send(adapter, tls_server.url, verify="/no/such")


def test_http_builds_no_context(
    send: Send, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("a TLS context was made for http")

    monkeypatch.setattr("httpcore.create_ssl_context", refuse)
    monkeypatch.setattr("ssl.SSLContext.load_verify_locations", refuse)
    assert send(HTTPAdapter(), server.url, cert=".").ok


def test_client_certificates(
    send: Send,
    serve: Serve,
    mutual_tls_context: ssl.SSLContext,
    ca_bundle: str,
    client_cert: ClientCert,
) -> None:
    seen: list[Any] = []

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            seen.append(peer.client_certificate)
            peer.respond(200, b"")

    server = serve(handler, tls=mutual_tls_context)
    adapter = HTTPAdapter()
    pair = (client_cert.cert, client_cert.key)
    assert send(adapter, server.url, verify=ca_bundle, cert=pair).ok
    assert send(adapter, server.url, verify=ca_bundle, cert=list(pair)).raw.reused
    assert not send(adapter, server.url, verify=ca_bundle, cert=client_cert.combined).raw.reused
    assert len(seen) == 3
    assert all(seen)
    with pytest.raises(OSError, match="TLS certificate file, invalid path: /no/such"):
        send(adapter, server.url, verify=ca_bundle, cert="/no/such")
    with pytest.raises(ConnectionError):
        send(adapter, server.url, verify=ca_bundle)
    assert len(seen) == 3


def test_given_ssl_context_is_used_and_not_changed(
    send: Send, tls_server: LocalServer, client_tls_context: ssl.SSLContext, client_cert: ClientCert
) -> None:
    adapter = HTTPAdapter(ssl_context=client_tls_context)
    before = (client_tls_context.verify_mode, client_tls_context.check_hostname)
    assert send(adapter, tls_server.url).ok
    with pytest.raises(SSLError, match="verify=False cannot be honoured"):
        send(adapter, tls_server.url, verify=False)
    with pytest.raises(SSLError, match="client certificate"):
        send(adapter, tls_server.url, cert=client_cert.combined)
    assert send(adapter, tls_server.url).raw.reused
    assert before == (client_tls_context.verify_mode, client_tls_context.check_hostname)

    class Style(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, ssl_context=client_tls_context, **kw)

    assert send(Style(), tls_server.url).ok


def test_fingerprint(
    send: Send, tls_server: LocalServer, ca_bundle: str, client_tls_context: ssl.SSLContext
) -> None:
    class Pinned(HTTPAdapter):
        def __init__(self, pin: str) -> None:
            self.pin = pin
            super().__init__()

        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, assert_fingerprint=self.pin, **kw)

    response = send(HTTPAdapter(), tls_server.url + "/bytes/2000000", verify=ca_bundle, stream=True)
    pin = hashlib.sha256(response.raw.connection.sock.getpeercert(True)).hexdigest()
    response.close()
    assert send(Pinned(pin), tls_server.url, verify=ca_bundle).ok
    with pytest.raises(SSLError, match="Fingerprints did not match"):
        send(Pinned("00" * 32), tls_server.url, verify=ca_bundle)


def test_server_hostname_and_cert_verify_override(
    send: Send, tls_server: LocalServer, ca_bundle: str
) -> None:
    class Named(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, server_hostname="nobody.test", **kw)

    with pytest.raises(SSLError, match=r"nobody\.test"):
        send(Named(), tls_server.url, verify=ca_bundle)

    class Insecure(HTTPAdapter):
        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
            super().cert_verify(conn, url, False, cert)

    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        assert send(Insecure(), tls_server.url).ok


def test_unusable_bundle_is_an_ssl_error(
    send: Send, tls_server: LocalServer, tmp_path: Any
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("no certificate")
    with pytest.raises(SSLError, match="cannot prepare TLS"):
        send(HTTPAdapter(), tls_server.url, verify=str(bundle))


def test_user_information_and_odd_authorities(send: Send, server: LocalServer) -> None:
    adapter = HTTPAdapter()
    with_user = server.url.replace("://", "://user:p%40ss@")
    assert send(adapter, with_user + "/basic-auth/user/p@ss").ok
    assert send(adapter, server.url.replace("http", "HTTP", 1) + "/bytes/1").raw.reused
    with pytest.raises(InvalidURL):
        send(adapter, "http://127.0.0.1:99999/")


def test_a_url_without_a_path_never_shares_a_pool_with_a_shorter_host() -> None:
    """requests adds the slash, but ``prepared.url`` may be set by hand: "http://h.co" must not be
    looked up as "http://h.c"."""
    with requests.Session() as session:
        adapter = HTTPAdapter()
        session.mount("http://", adapter)
        hosts = []
        for url in ("http://h.test.co/", "http://h.test.com"):
            prepared = requests.Request("GET", "http://other.test/").prepare()
            prepared.url = url
            hosts.append(adapter.get_connection_with_tls_context(prepared, True).host)
        assert hosts == ["h.test.co", "h.test.com"]


@pytest.mark.filterwarnings("ignore:`get_connection` has been deprecated")
@pytest.mark.parametrize("configured", [None, "/own/ca.pem"])
def test_verify_true_after_a_path_does_not_keep_the_paths_authorities(
    configured: str | None, ca_bundle: str
) -> None:
    """A pool from the deprecated `get_connection` is shared by all TLS settings of a host."""

    class Configured(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            if configured is not None:
                kwargs["ca_certs"] = configured
            super().init_poolmanager(*args, **kwargs)

    adapter = Configured()
    pool = adapter.get_connection("https://h.test/")
    adapter.cert_verify(pool, "https://h.test/", ca_bundle, None)
    assert pool.ca_certs == ca_bundle
    adapter.cert_verify(pool, "https://h.test/", True, None)
    assert (pool.cert_reqs, pool.ca_certs, pool.ca_cert_dir) == ("CERT_REQUIRED", configured, None)
    adapter.close()
