"""HTTP proxies through `requests`: managers, what goes over the wire, what failures become.

Owns: `_proxies`, `ProxyManager` and the adapter's hooks for them. Credentials and `no_proxy` are
in tests/scenarios/test_proxies.py. Where requests' own adapter does something, it does it here as
well, and the two are compared.
"""

from __future__ import annotations

import io
import pickle
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
import requests.adapters
import urllib3
from requests.exceptions import (
    ConnectTimeout,
    InvalidProxyURL,
    InvalidURL,
    ProxyError,
    ReadTimeout,
    SSLError,
)
from urllib3.util.retry import Retry

import httpcore
from httpcore_requests import HTTPAdapter
from tests.support.clients import STOCK, URLLIB3, MakeSession
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import LocalServer, Peer, Serve
from tests.support.versions import needs


def with_secret(proxy: ProxyServer) -> str:
    return proxy.url.replace("://", "://user:secret@")


def both(proxy: str) -> dict[str, str]:
    return {"http": proxy, "https": proxy}


# --- over the wire


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_forwarded_request_is_the_one_that_urllib3_sends(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer, method: str
) -> None:
    url = proxy.url.replace("://", "://user:pass@")
    body = b"abc" if method == "POST" else None
    for adapter in (STOCK(), HTTPAdapter()):
        session = make_session(adapter)
        response = session.request(method, server.url + "/echo?a=%20", data=body, proxies=both(url))
        assert (response.status_code, response.headers["Via"]) == (200, "1.1 test")
        assert response.json()["body"] == ("abc" if body else "")
    theirs, ours = proxy.requests
    assert ours.line == theirs.line == f"{method} {server.url}/echo?a=%20 HTTP/1.1".encode()
    assert sorted(ours.headers) == sorted(theirs.headers)
    assert ours.header(b"proxy-authorization") == b"Basic dXNlcjpwYXNz"


def test_a_tunnel_is_asked_for_as_by_urllib3_and_kept(
    make_session: MakeSession, proxy: ProxyServer, tls_server: LocalServer, ca_bundle: str
) -> None:
    url = proxy.url.replace("://", "://user:pass@")
    proxy.credentials = ("user", "pass")
    for adapter in (STOCK(), HTTPAdapter()):
        session = make_session(adapter)
        for _ in range(2):
            target = tls_server.url + "/echo"
            response = session.get(target, proxies=both(url), verify=ca_bundle)
            assert "Proxy-Authorization" not in dict(response.json()["headers"])
    theirs, ours = proxy.requests
    # Python before 3.12 asks with HTTP/1.0.
    assert ours.line == theirs.line.replace(b"HTTP/1.0", b"HTTP/1.1")
    assert ours.header(b"proxy-authorization") == theirs.header(b"proxy-authorization")
    assert ours.header(b"host") == b"127.0.0.1:%d" % tls_server.port
    assert proxy.tunnels == 2


@pytest.mark.parametrize("road", ["direct", "forwarded", "tunnelled"])
def test_the_target_on_the_wire_is_the_one_given(
    make_session: MakeSession,
    proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    ca_bundle: str,
    road: str,
) -> None:
    origin = tls_server if road == "tunnelled" else server
    proxies = {} if road == "direct" else both(proxy.url)
    prepared = requests.Request("GET", origin.url + "/").prepare()
    # Set here, because preparing a request already rewrites its URL.
    prepared.url = origin.url + "//a/../b%2fc;d?x=%7E#fragment"
    make_session().send(prepared, proxies=proxies, verify=ca_bundle)
    assert origin.requests[0].target == b"//a/../b%2fc;d?x=%7E"


def test_one_connection_to_the_proxy_serves_all_http_origins(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer
) -> None:
    proxy.hosts = {"a.test": "127.0.0.1", "b.test": "127.0.0.1"}
    session = make_session()
    for host in ("a.test", "b.test", "A.test"):
        response = session.get(f"http://{host}:{server.port}/", proxies=both(proxy.url))
        assert response.ok
    assert proxy.accepted == 1
    hosts = [request.header("host") for request in server.requests]
    assert hosts == [b"%b.test:%d" % (name, server.port) for name in (b"a", b"b", b"a")]


def test_direct_and_proxied_requests_do_not_share_connections(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer
) -> None:
    session = make_session()
    for proxies in ({}, both(proxy.url), {}, both(proxy.url)):
        assert session.get(server.url, proxies=proxies).ok
    assert len(proxy.requests) == 2
    assert session.get_adapter("http://").pool.stats()["idle"] == 2


def test_a_request_url_hook_that_gives_a_path_asks_the_proxy_itself(
    make_session: MakeSession, server: LocalServer
) -> None:
    """As in urllib3: what is for the proxy itself needs no credentials for going through it."""
    seen = []
    for base in (STOCK, HTTPAdapter):

        class Paths(base):  # type: ignore[misc, valid-type]
            def request_url(self, request: Any, proxies: Any) -> str:
                path: str = request.path_url
                return path

        proxies = {"http": server.url.replace("://", "://user:pass@")}
        response = make_session(Paths()).get("http://origin.test/echo", proxies=proxies)
        seen.append((response.json()["target"], sorted(map(tuple, response.json()["headers"]))))
    assert seen[0] == seen[1]
    assert seen[0][0] == "/echo"


def test_proxies_from_the_environment(
    make_session: MakeSession,
    proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    ca_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = make_session()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    session.get(server.url)
    assert len(proxy.requests) == 1
    session.get(tls_server.url, verify=ca_bundle)
    assert len(proxy.requests) == 1
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    session.get(tls_server.url, verify=ca_bundle)
    assert len(proxy.requests) == 2
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    session.get(server.url)
    assert len(proxy.requests) == 2
    session.trust_env = False
    monkeypatch.delenv("NO_PROXY")
    session.get(server.url)
    assert len(proxy.requests) == 2


# --- managers


def test_proxy_managers_are_what_requests_promises(proxy: ProxyServer) -> None:
    called = []

    class Adapter(HTTPAdapter):
        def proxy_headers(self, proxy: str) -> dict[str, str]:
            called.append(proxy)
            return {"X-Proxy": "1"}

    adapter = Adapter(pool_connections=7, pool_maxsize=3, pool_block=True)
    manager = adapter.proxy_manager_for(proxy.url, proxy_ssl_context=None, retries=2)
    assert isinstance(manager, urllib3.ProxyManager)
    assert adapter.proxy_manager == {proxy.url: manager}
    assert adapter.proxy_manager_for(proxy.url) is manager
    assert called == [proxy.url]
    assert manager.proxy_headers == {"X-Proxy": "1"}
    keywords = manager.connection_pool_kw
    assert (keywords["maxsize"], keywords["block"], keywords["retries"].total) == (3, True, 2)
    assert manager.pools._maxsize == 7
    pool = manager.connection_from_url("https://origin.test")
    assert (pool.scheme, pool.host, pool.proxy.port) == ("https", "origin.test", proxy.port)
    pool = manager.connection_from_url("http://origin.test")
    assert (pool.scheme, pool.host, pool.port) == ("http", "127.0.0.1", proxy.port)
    adapter.close()
    assert len(manager.pools) == 0


def test_a_pickled_adapter_has_no_managers(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer
) -> None:
    session = make_session()
    session.get(server.url, proxies=both(with_secret(proxy)))
    data = pickle.dumps(session)
    assert b"secret" not in data
    with pickle.loads(data) as copy:
        assert copy.get_adapter("http://").proxy_manager == {}
        assert copy.get(server.url, proxies=both(with_secret(proxy))).ok
    assert len(proxy.requests) == 2


@pytest.mark.parametrize("base", [STOCK, HTTPAdapter])
def test_https_is_never_forwarded_by_an_http_proxy(
    make_session: MakeSession,
    proxy: ProxyServer,
    tls_server: LocalServer,
    ca_bundle: str,
    base: Any,
) -> None:
    """urllib3 forwards https only to https proxies, and only if told so."""

    class Forwarding(base):  # type: ignore[misc]
        def proxy_manager_for(self, *args: Any, **kw: Any) -> Any:
            return super().proxy_manager_for(*args, use_forwarding_for_https=True, **kw)

    session = make_session(Forwarding())
    assert session.get(tls_server.url, proxies=both(proxy.url), verify=ca_bundle).ok
    assert proxy.tunnels == 1


def test_a_subclass_adds_keywords_and_calls_super(
    make_session: MakeSession,
    serve: Serve,
    tls_server: LocalServer,
    client_tls_context: ssl.SSLContext,
) -> None:
    peers: list[Any] = []

    class Proxying(ProxyServer):
        def _converse(self, peer: Peer) -> None:
            peers.append(peer.sock.getpeername()[0])
            super()._converse(peer)

    class Adapter(HTTPAdapter):
        def proxy_manager_for(self, *args: Any, **kw: Any) -> Any:
            kw["ssl_context"] = kw["proxy_ssl_context"] = client_tls_context
            kw["source_address"] = ("127.0.0.3", 0)
            return super().proxy_manager_for(*args, **kw)

    with Proxying() as proxy:
        session = make_session(Adapter())
        for _ in range(2):
            assert session.get(tls_server.url, proxies=both(proxy.url)).ok
        session.close()
    assert peers == ["127.0.0.3"]


def test_a_subclass_builds_urllib3s_manager_without_super(
    make_session: MakeSession,
    proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    client_tls_context: ssl.SSLContext,
) -> None:
    class Adapter(HTTPAdapter):
        def proxy_manager_for(self, proxy: str, **kw: Any) -> Any:
            if proxy not in self.proxy_manager:
                self.proxy_manager[proxy] = urllib3.ProxyManager(
                    proxy, ssl_context=client_tls_context, proxy_headers={"X-Mine": "1"}
                )
            return self.proxy_manager[proxy]

    session = make_session(Adapter())
    for url in (server.url, tls_server.url):
        response = session.get(url, proxies=both(proxy.url))
        assert type(response.raw).__name__ == "RawResponse"
    assert [request.header(b"X-Mine") for request in proxy.requests] == [b"1", b"1"]
    assert len(session.get_adapter("http://").proxy_manager) == 1


def test_a_manager_with_its_own_classes_goes_over_urllib3(
    make_session: MakeSession, server: LocalServer
) -> None:
    class Adapter(HTTPAdapter):
        def proxy_manager_for(self, proxy: str, **kw: Any) -> Any:
            manager = urllib3.PoolManager()
            manager.pool_classes_by_scheme = dict(manager.pool_classes_by_scheme)
            self.proxy_manager[proxy] = manager
            return manager

    session = make_session(Adapter())
    response = session.get(server.url, proxies=both("socks5://user:pass@h.test:1080"))
    assert type(response.raw) is urllib3.HTTPResponse


@pytest.mark.parametrize("path", ["/", "/x?y#z", "?q"])
@pytest.mark.parametrize("given", [None, {}, {"https": "http://unused.test"}])
def test_what_replaces_select_proxy_is_called_with_a_dict(
    make_session: MakeSession,
    server: LocalServer,
    proxy: ProxyServer,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    given: Any,
) -> None:
    """yt-dlp's asks ``"no" in proxies``; others choose a proxy out of nothing."""
    chosen: str | None = None

    def select_proxy(url: str, proxies: Any) -> str | None:
        assert type(proxies) is dict
        return proxies.get("no", chosen)

    monkeypatch.setattr("requests.adapters.select_proxy", select_proxy)
    adapter = HTTPAdapter()
    prepared = requests.Request("GET", server.url + path).prepare()
    for count in (0, 1):
        assert adapter.send(prepared, proxies=given).ok or path != "/"
        assert len(proxy.requests) == count
        chosen = proxy.url
    adapter.close()


@pytest.mark.parametrize("url", ["http://", "https://", "HTTP:///", "socks5://", "socks4a://"])
def test_a_proxy_manager_without_a_host_fails_when_it_is_used(
    make_session: MakeSession, server: LocalServer, url: str
) -> None:
    """streamlink's suite makes such managers, to see with which keywords."""
    adapter = HTTPAdapter(pool_maxsize=7)
    manager = adapter.proxy_manager_for(url, assert_hostname="a.test")
    assert adapter.proxy_manager_for(url) is manager
    assert manager.connection_pool_kw["maxsize"] == 7
    assert manager.connection_pool_kw["assert_hostname"] == "a.test"
    for origin in (server.url, "https://origin.test/"):
        with pytest.raises(urllib3.exceptions.LocationValueError, match="host"):
            manager.urlopen("GET", origin)
        with pytest.raises(InvalidProxyURL):
            make_session(adapter).get(origin, proxies=both(url))
    adapter.close()
    assert server.requests == []


def test_requests_own_names_are_looked_up_at_each_call(
    make_session: MakeSession,
    proxy: ProxyServer,
    server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = make_session()
    assert session.get(server.url, proxies=both(proxy.url)).ok
    with monkeypatch.context() as patched:
        patched.setattr("requests.adapters.select_proxy", lambda url, proxies: None)
        assert session.get(server.url, proxies=both(proxy.url)).ok
    assert len(proxy.requests) == 1

    made: list[Any] = []

    class Socks(urllib3.PoolManager):
        def __init__(self, url: str, **kw: Any) -> None:
            made.append((url, kw.pop("username"), kw.pop("password"), kw["maxsize"]))
            super().__init__(**kw)
            self.pool_classes_by_scheme = dict(self.pool_classes_by_scheme)

    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", Socks)
    url = "socks5h://us%20er:pass@h.test:1080"
    response = session.get(server.url, proxies=both(url))
    assert type(response.raw) is urllib3.HTTPResponse
    assert made == [(url, "us er", "pass", 10)]


def test_a_pool_once_found_is_not_asked_for_again(
    make_session: MakeSession,
    proxy: ProxyServer,
    server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = make_session()
    session.get(server.url, proxies=both(proxy.url))
    manager = session.get_adapter("http://").proxy_manager[proxy.url]
    asked: list[Any] = []
    find = manager.connection_from_host
    monkeypatch.setattr(
        manager, "connection_from_host", lambda *a, **kw: asked.append(kw) or find(*a, **kw)
    )
    session.get(server.url + "/echo", proxies=both(proxy.url))
    assert asked == []
    # What was found holds only as long as what it rests on.
    manager.proxy_headers["X-New"] = "1"
    session.get(server.url, proxies=both(proxy.url))
    assert len(asked) == 1
    assert proxy.requests[-1].header(b"X-New") == b"1"
    session.get_adapter("http://").proxy_manager.clear()
    session.get(server.url, proxies=both(proxy.url))
    assert proxy.requests[-1].header(b"X-New") is None


def test_managers_and_their_connections_are_bounded(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer
) -> None:
    adapter = HTTPAdapter()
    session = make_session(adapter)
    count = 130
    for number in range(count):
        url = proxy.url.replace("://", f"://user{number}:pass@")
        assert session.get(server.url, proxies=both(url)).ok
    assert proxy.accepted == count
    assert len(adapter.proxy_manager) == len(adapter._found_through or ()) == 100
    assert adapter.pool.stats()["connections"] == 100


def test_a_dropped_manager_gives_up_its_connections(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer
) -> None:
    adapter = HTTPAdapter()
    adapter._transports.max_idle = 2  # and so of managers
    session = make_session(adapter)
    ways = [both(proxy.url.replace("://", f"://{user}:pass@")) for user in "abc"]
    for number in (0, 1, 0, 2):  # the oldest manager is not the one whose connection is oldest
        assert session.get(server.url, proxies=ways[number]).ok
    assert len(adapter.proxy_manager) == 2
    assert session.get(server.url, proxies=ways[1]).raw.reused


def test_a_cleared_manager_closes_its_connections_and_no_others(
    make_session: MakeSession,
    proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    ca_bundle: str,
) -> None:
    adapter = HTTPAdapter()
    session = make_session(adapter)
    for name in ("a", "b"):
        url = proxy.url.replace("://", f"://{name}:pass@")
        session.get(server.url, proxies=both(url))
        session.get(tls_server.url, proxies=both(url), verify=ca_bundle)
    session.get(server.url)
    assert adapter.pool.stats()["idle"] == 5
    next(iter(adapter.proxy_manager.values())).clear()
    assert adapter.pool.stats()["idle"] == 3
    assert session.get(server.url).raw.reused
    url = proxy.url.replace("://", "://b:pass@")
    assert session.get(server.url, proxies=both(url)).raw.reused
    assert session.get(tls_server.url, proxies=both(url), verify=ca_bundle).raw.reused
    url = proxy.url.replace("://", "://a:pass@")
    assert not session.get(server.url, proxies=both(url)).raw.reused
    adapter.pool.close_idle()
    assert adapter.pool.stats()["connections"] == 0


def test_a_dropped_manager_of_a_subclass_gives_up_its_connections_too(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer
) -> None:
    class Adapter(HTTPAdapter):
        def proxy_manager_for(self, url: str, **kw: Any) -> Any:
            if url == proxy.url:
                return self.proxy_manager.setdefault(url, urllib3.ProxyManager(url))
            return super().proxy_manager_for(url, **kw)

    adapter = Adapter()
    adapter._transports.max_idle = 1  # and so of managers
    assert make_session(adapter).get(server.url, proxies=both(proxy.url)).ok
    assert adapter.pool.stats()["idle"] == 1
    adapter.proxy_manager_for("http://another.test")
    assert list(adapter.proxy_manager) == ["http://another.test"]
    assert adapter.pool.stats()["idle"] == 0


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_the_deprecated_get_connection_knows_proxies(
    proxy: ProxyServer, server: LocalServer
) -> None:
    adapter = HTTPAdapter()
    pool = adapter.get_connection(server.url, both(proxy.url))
    response = pool.urlopen("GET", server.url + "/bytes/5", assert_same_host=False)
    assert len(response.data) == 5
    assert len(proxy.requests) == 1
    with pytest.raises(InvalidProxyURL):
        adapter.get_connection(server.url, both("http://"))
    adapter.close()


def test_urllib3s_own_interface_of_the_manager(
    proxy: ProxyServer, server: LocalServer, tls_server: LocalServer, ca_bundle: str
) -> None:
    adapter = HTTPAdapter()
    manager = adapter.proxy_manager_for(proxy.url)
    assert manager.request("GET", server.url + "/redirect/2").status == 200
    manager.connection_pool_kw["ca_certs"] = ca_bundle
    assert manager.request("GET", tls_server.url).status == 200
    pool = manager.connection_from_url(server.url)
    response = pool.urlopen("GET", server.url + "/redirect/1", assert_same_host=False)
    assert response.status == 200
    with pytest.raises(urllib3.exceptions.LocationValueError, match="only an http:// URL"):
        pool.urlopen("GET", tls_server.url, assert_same_host=False)
    adapter.close()


# --- proxies that cannot be


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "bad",
    [
        "http:///",
        "http://",
        "http://:80",
        "http://user:secret@host:99999",
        "http://user:secret@host:port",
        "http://user:secret@[::1",
        "http://user:secret@ h:1",
        "h.test:1:2",
        "ftp://user:secret@h.test",
        "sock://user:secret@h.test",
    ],
)
def test_bad_proxy_urls(make_session: MakeSession, scheme: str, bad: str) -> None:
    origin = f"{scheme}://origin.test/"
    # Before 2.8 urllib3 tries to connect to a host with a blank in it.
    if " " not in bad or URLLIB3 >= (2, 8):
        with pytest.raises(InvalidURL) as theirs:
            make_session(STOCK()).get(origin, proxies=both(bad))
        assert issubclass(InvalidProxyURL, type(theirs.value))
    check_refused(make_session, origin, bad)


def check_refused(make_session: MakeSession, origin: str, bad: str) -> None:
    with pytest.raises(InvalidProxyURL) as ours:
        make_session().get(origin, proxies=both(bad))
    assert "secret" not in str(ours.value)
    assert ours.value.__context__ is None
    assert ours.value.request.url == origin


@pytest.mark.parametrize("proxy_scheme", ["http", "https", "socks5", "socks4a"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["h<", "h|x", "h{", "a..b.test", "a" * 64, "h\x7f", "ü<"])
def test_a_proxy_whose_host_cannot_be_one_is_named(
    make_session: MakeSession, scheme: str, proxy_scheme: str, host: str
) -> None:
    """The stock adapter looks it up. It is no fault of the request, nor of its host."""
    check_refused(make_session, f"{scheme}://origin.test/", f"{proxy_scheme}://secret@{host}:1")


@pytest.mark.parametrize("proxy_scheme", ["socks5", "socks5h", "socks4", "socks4a"])
def test_a_socks_proxy_with_a_name_outside_ascii(
    make_session: MakeSession, socks: SocksServer, server: LocalServer, proxy_scheme: str
) -> None:
    names = []

    def resolver(host: str, port: int, seconds: float | None) -> list[str]:
        names.append(host)
        return ["127.0.0.1"]

    port = urlsplit(socks.url).port
    session = make_session(resolver=resolver)
    url = f"{proxy_scheme}://user@bücher.test:{port}"
    assert session.get(server.url + "/echo", proxies=both(url)).status_code == 200
    assert names == ["xn--bcher-kva.test"]


@pytest.mark.parametrize("scheme", ["ws", "ftp"])
def test_what_a_proxy_is_not_asked_for(
    make_session: MakeSession, proxy: ProxyServer, scheme: str
) -> None:
    session = make_session()
    session.mount(f"{scheme}://", HTTPAdapter())
    with pytest.raises(InvalidURL, match=f"cannot fetch {scheme}:// URLs"):
        session.get(f"{scheme}://origin.test/", proxies={"all": proxy.url})
    assert not proxy.requests


# --- failures


def outcome(session: requests.Session, url: str, **options: Any) -> Any:
    with pytest.raises(requests.RequestException) as caught:
        session.get(url, **options)
    assert caught.value.request.url == url
    if isinstance(session.get_adapter(url), HTTPAdapter):
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), str(again)) == (type(caught.value), str(caught.value))
    return caught.value


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_unreachable_proxy(make_session: MakeSession, closed_port: int, scheme: str) -> None:
    proxies = both(f"http://user:secret@127.0.0.1:{closed_port}")
    theirs = outcome(make_session(STOCK()), f"{scheme}://origin.test/", proxies=proxies)
    ours = outcome(make_session(), f"{scheme}://origin.test/", proxies=proxies)
    assert type(ours) is type(theirs) is ProxyError
    reason = ours.args[0].reason
    assert isinstance(reason, urllib3.exceptions.ProxyError)
    assert isinstance(reason.original_error, type(theirs.args[0].reason.original_error))
    assert str(ours).startswith(f"cannot reach the proxy http://127.0.0.1:{closed_port}: connect")
    assert reason.phase == "not_sent"
    cause = reason
    while cause.__cause__ is not None:
        cause = cause.__cause__
    assert isinstance(cause, ConnectionRefusedError)


def test_a_proxy_without_an_address(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kw: Any) -> Any:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    error = outcome(make_session(), "http://origin.test/", proxies=both("http://proxy.test"))
    assert type(error) is ProxyError
    assert isinstance(error.args[0].reason.original_error, urllib3.exceptions.NewConnectionError)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connect_to_the_proxy_that_times_out(
    make_session: MakeSession, black_hole: tuple[str, int], scheme: str
) -> None:
    options: Any = {"proxies": both("http://{}:{}".format(*black_hole)), "timeout": 0.1}
    theirs = outcome(make_session(STOCK()), f"{scheme}://origin.test/", **options)
    ours = outcome(make_session(), f"{scheme}://origin.test/", **options)
    assert type(ours) is type(theirs) is ProxyError
    assert not isinstance(ours, ConnectTimeout)
    assert isinstance(ours.args[0].reason.original_error, urllib3.exceptions.ConnectTimeoutError)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_silent_proxy_is_a_read_timeout(
    make_session: MakeSession, serve: Serve, scheme: str
) -> None:
    silent = serve(Peer.wait_closed)
    options: Any = {"proxies": both(silent.url), "timeout": 0.1}
    for adapter in (STOCK(), HTTPAdapter()):
        error = outcome(make_session(adapter), f"{scheme}://origin.test/", **options)
        assert type(error) is ReadTimeout


@pytest.mark.parametrize(
    ("status", "reason"), [(407, b"Proxy Authentication Required"), (403, b"No"), (502, b"")]
)
def test_a_refused_tunnel_keeps_the_proxys_answer(
    make_session: MakeSession, proxy: ProxyServer, status: int, reason: bytes
) -> None:
    proxy.refusal = (
        b"HTTP/1.1 %d %b\r\nX-Why: policy\r\nProxy-Authenticate: Basic\r\nContent-Length: 6\r\n\r\n"
        b"not so" % (status, reason)
    )
    theirs = outcome(make_session(STOCK()), "https://origin.test/", proxies=both(proxy.url))
    ours = outcome(make_session(), "https://origin.test/", proxies=both(proxy.url))
    assert type(ours) is type(theirs) is ProxyError
    found = ours.args[0].reason
    assert (found.status, found.body) == (status, b"not so")
    assert (b"X-Why", b"policy") in found.headers
    assert isinstance(found.original_error, OSError)
    assert f"CONNECT origin.test:443 at the proxy {proxy.url} was refused: {status}" in str(ours)
    assert "retries" not in str(ours)
    again = pickle.loads(pickle.dumps(ours)).args[0].reason
    assert (again.status, again.headers, again.body) == (status, found.headers, b"not so")


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n"])
def test_a_proxy_that_breaks_off_or_speaks_nonsense(
    make_session: MakeSession, serve: Serve, answer: bytes
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_head()
        peer.send(answer)

    broken = serve(handler)
    for adapter in (STOCK(), HTTPAdapter()):
        error = outcome(make_session(adapter), "https://origin.test/", proxies=both(broken.url))
        assert isinstance(error, requests.ConnectionError)
    assert type(error) is ProxyError
    assert error.args[0].reason.status is None


def reset(peer: Peer) -> None:
    peer.recv_head()
    peer.reset()


def reset_inside_the_head(peer: Peer) -> None:
    peer.recv_request()
    peer.send(b"HTTP/1.1 200 OK\r\nX-A")
    peer.server.wait_for(lambda: False, timeout=0.1)  # so that the reset does not overtake it
    peer.reset()


BODIES = [None, b"small", b"x" * 20_000_000, "file", "pieces"]


@pytest.mark.parametrize(
    ("breaks", "body"),
    [
        *((reset, body) for body in BODIES),
        *((Peer.recv_head, body) for body in BODIES),  # and then its connection is closed
        *((Peer.reset, body) for body in BODIES),
        # With a body, stock sees the end of the upload or the head, as it happens.
        (reset_inside_the_head, None),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:6]),
)
def test_a_proxy_that_breaks_a_forwarded_request_off(
    make_session: MakeSession, serve: Serve, breaks: Any, body: Any
) -> None:
    broken = serve(breaks)
    large = b"x" * 20_000_000
    errors = []
    for adapter in (STOCK(), HTTPAdapter(max_retries=0)):
        data = {"file": io.BytesIO(large), "pieces": iter([large])}.get(body, body)
        with pytest.raises(requests.ConnectionError) as caught:
            make_session(adapter).post("http://origin.test/", data=data, proxies=both(broken.url))
        errors.append(caught.value)
    theirs, ours = errors
    assert type(ours) is type(theirs) is ProxyError
    reasons = [found.args[0].reason for found in errors]
    assert isinstance(reasons[1], urllib3.exceptions.ProxyError)
    # NewConnectionError where it was so early that nothing was sent.
    expected = (ConnectionError, urllib3.exceptions.NewConnectionError)
    assert all(isinstance(reason.original_error, expected) for reason in reasons)
    assert isinstance(pickle.loads(pickle.dumps(ours)), ProxyError)


@pytest.mark.parametrize(("method", "attempts"), [("POST", 1), ("GET", 3)])
def test_what_a_proxy_broke_off_is_retried_for_allowed_methods_only(
    make_session: MakeSession, serve: Serve, method: str, attempts: int
) -> None:
    broken = serve(Peer.recv_head)
    session = make_session(HTTPAdapter(max_retries=Retry(2, backoff_factor=0)))
    with pytest.raises(ProxyError):
        session.request(method, "http://origin.test/", proxies=both(broken.url))
    assert broken.accepted == attempts


def test_what_breaks_off_in_a_tunnel_is_the_origins(
    make_session: MakeSession,
    proxy: ProxyServer,
    serve: Serve,
    server_tls_context: Any,
    ca_bundle: str,
) -> None:
    origin = serve(Peer.recv_head, tls=server_tls_context)
    session = make_session()
    session.verify = ca_bundle
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(origin.url, proxies=both(proxy.url))
    assert type(caught.value) is requests.ConnectionError


def test_a_407_to_a_forwarded_request_is_a_response(
    make_session: MakeSession, proxy: ProxyServer, server: LocalServer
) -> None:
    proxy.credentials = ("user", "pass")
    response = make_session().get(server.url, proxies=both(proxy.url))
    assert (response.status_code, response.content) == (407, b"who are you?")
    assert not server.requests


def test_tls_that_fails_in_the_tunnel_is_the_origins(
    make_session: MakeSession, proxy: ProxyServer, tls_server: LocalServer
) -> None:
    for adapter in (STOCK(), HTTPAdapter()):
        error = outcome(make_session(adapter), tls_server.url + "/", proxies=both(proxy.url))
        assert type(error) is SSLError
        assert not isinstance(error, ProxyError)
    assert proxy.tunnels == 2


def test_verify_holds_in_the_tunnel(
    make_session: MakeSession, proxy: ProxyServer, tls_server: LocalServer, ca_bundle: str
) -> None:
    session = make_session()
    proxies = both(proxy.url)
    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        session.get(tls_server.url, proxies=proxies, verify=False)
    with pytest.raises(SSLError):  # the tunnel that nobody verified is not used
        session.get(tls_server.url, proxies=proxies)
    assert session.get(tls_server.url, proxies=proxies, verify=ca_bundle).ok
    assert session.get(tls_server.url, proxies=proxies, verify=ca_bundle).raw.reused


@pytest.mark.parametrize(
    ("retries", "asked"),
    [
        (Retry(2), 3),
        (Retry(5, other=1), 2),
        (Retry(0), 1),
    ],
)
def test_retries_count_a_refused_tunnel_as_urllib3_does(
    make_session: MakeSession, proxy: ProxyServer, retries: Retry, asked: int
) -> None:
    proxy.refusal = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    for number, base in enumerate((STOCK, HTTPAdapter), 1):
        session = make_session(base(max_retries=retries))
        with pytest.raises(ProxyError):
            session.post("https://origin.test/", data=b"x", proxies=both(proxy.url))
        assert len(proxy.requests) == number * asked


def test_retries_count_an_unreachable_proxy_as_a_connect_error(
    make_session: MakeSession, closed_port: int
) -> None:
    for base in (STOCK, HTTPAdapter):
        session = make_session(base(max_retries=Retry(9, connect=2, other=0)))
        with pytest.raises(ProxyError, match="Max retries exceeded"):
            session.get("https://origin.test/", proxies=both(f"http://127.0.0.1:{closed_port}"))


def test_an_unrepeatable_body_is_sent_once_a_tunnel_opens(
    make_session: MakeSession, proxy: ProxyServer, tls_server: LocalServer, ca_bundle: str
) -> None:
    proxy.refusal = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"

    class OpensLater(Retry):
        def increment(self, *args: Any, **kw: Any) -> Retry:
            proxy.refusal = None
            return super().increment(*args, **kw)

    session = make_session(HTTPAdapter(max_retries=OpensLater(1)))
    response = session.post(
        tls_server.url + "/upload",
        data=iter([b"a", b"b"]),
        proxies=both(proxy.url),
        verify=ca_bundle,
    )
    assert response.json()["length"] == 2


# --- SOCKS


@pytest.mark.parametrize("kind", ["socks4", "socks4a", "socks5", "socks5h", "SOCKS5H"])
def test_socks(
    make_session: MakeSession,
    socks: SocksServer,
    server: LocalServer,
    tls_server: LocalServer,
    ca_bundle: str,
    kind: str,
) -> None:
    """Without PySocks; the names with an h or a at the end have the proxy resolve the origin's."""
    session = make_session()
    proxies = both(f"{kind}://{socks.address}")
    for _ in range(2):
        for origin in (server, tls_server):
            url = origin.url.replace("127.0.0.1", "localhost") + "/echo?a=1"
            response = session.get(url, proxies=proxies, verify=ca_bundle)
            assert response.json()["target"] == "/echo?a=1"
            assert type(response.raw).__name__ == "RawResponse"
    assert response.raw.reused
    by_name = kind.lower() in ("socks5h", "socks4a")
    assert [request.by_name for request in socks.requests] == [by_name] * 2
    host = "localhost" if by_name else "127.0.0.1"
    assert [request.host for request in socks.requests] == [host] * 2
    [manager] = session.get_adapter("http://").proxy_manager.values()
    assert session.get_adapter("http://").pool.stats()["idle"] == 2
    manager.clear()
    assert session.get_adapter("http://").pool.stats()["idle"] == 0


def test_socks_users(make_session: MakeSession, socks: SocksServer, server: LocalServer) -> None:
    session = make_session()
    socks.credentials = ("us:er", "p@\u20ac")
    url = f"socks5h://us%3Aer:p%40%E2%82%AC@{socks.address}"
    assert session.get(server.url, proxies=both(url)).ok
    error = outcome(
        session, server.url + "/", proxies=both(f"socks5://us%3Aer:hush@{socks.address}")
    )
    assert isinstance(error, requests.ConnectionError)
    assert "hush" not in str(error)
    for bad in ("user:", f"user:{'hush' * 64}"):
        with pytest.raises(InvalidProxyURL, match="1 to 255 bytes") as caught:
            session.get(server.url, proxies=both(f"socks5://{bad}@{socks.address}"))
        assert "hush" not in str(caught.value)
    assert session.get(server.url, proxies=both(f"socks4a://user:@{socks.address}")).ok
    assert socks.requests[-1].user == "user"


def test_socks_failures(
    make_session: MakeSession,
    serve: Serve,
    socks: SocksServer,
    tls_server: LocalServer,
    closed_port: int,
) -> None:
    """As under urllib3 with PySocks, each is a ConnectionError; a slow proxy a ConnectTimeout."""
    session = make_session()
    url = tls_server.url + "/"
    error = outcome(session, url, proxies=both(f"socks5://127.0.0.1:{closed_port}"))
    assert isinstance(error, requests.ConnectionError)
    assert f"cannot reach the proxy socks5://127.0.0.1:{closed_port}" in str(error)
    error = outcome(session, url, proxies=both(f"socks5://{socks.address}"))
    assert type(error) is SSLError  # the origin's certificate, through the proxy
    socks.reply = 2
    error = outcome(session, url, proxies=both(f"socks5://{socks.address}"))
    assert isinstance(error, requests.ConnectionError)
    assert "Connection not allowed by ruleset" in str(error)
    silent = serve(Peer.wait_closed)
    proxies = both(f"socks5://127.0.0.1:{silent.port}")
    assert type(outcome(session, url, proxies=proxies, timeout=0.1)) is ConnectTimeout


def test_idle_connections_of_the_core_can_be_closed_by_proxy(
    proxy: ProxyServer, server: LocalServer
) -> None:
    way = httpcore.Proxy(proxy.url)
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        pool.request("GET", server.url, extensions={"proxy": way})
        pool.close_idle(httpcore.Proxy(proxy.url, auth=("other", "user")))
        assert pool.stats()["idle"] == 2
        pool.close_idle(way)
        assert pool.stats()["idle"] == 1
        pool.close_idle()
        assert pool.stats()["connections"] == 0


# --- Proxy-Authorization is for the next proxy, and for nobody else


@pytest.mark.parametrize("name", ["Proxy-Authorization", "proxy-AUTHORIZATION"])
@pytest.mark.parametrize(
    "proxies", [None, {}, {"https": "http://127.0.0.1:9"}, {"http": None}, {"http": ""}], ids=repr
)
def test_without_a_proxy_nobody_gets_its_credentials(
    make_session: MakeSession, server: LocalServer, proxies: Any, name: str
) -> None:
    session = make_session()
    session.trust_env = False
    headers = {name: "Basic c2VjcmV0", "X-Other": "1"}
    for path in ("/echo", "/redirect/1"):
        response = session.get(server.url + path, headers=headers, proxies=proxies)
        fields = {key.lower() for key, _ in response.json()["headers"]}
        assert "x-other" in fields
        assert "proxy-authorization" not in fields


@pytest.mark.parametrize("way", ["tunnel", "socks", "socks tls", "unix", "urlopen", "forwarded"])
def test_only_the_proxy_gets_its_credentials(
    make_session: MakeSession,
    proxy: ProxyServer,
    socks: SocksServer,
    server: LocalServer,
    tls_server: LocalServer,
    ca_bundle: str,
    tmp_path: Path,
    way: str,
) -> None:
    session = make_session()
    headers = {"Proxy-Authorization": "Basic c2VjcmV0", "X-Other": "1"}
    keywords: dict[str, Any] = {"headers": headers, "verify": ca_bundle}
    if way == "unix":
        session.mount("http+unix://", HTTPAdapter())
        path = tmp_path / "s"
        with LocalServer(uds=path) as listening:
            url = f"http+unix://{quote(str(path), safe='')}/echo"
            assert session.get(url, **keywords).json()["target"] == "/echo"
            [request] = listening.requests
    elif way == "urlopen":
        pool = session.get_adapter("http://").get_connection_with_tls_context(
            requests.Request("GET", server.url).prepare(), True
        )
        pool.urlopen("GET", "/echo", headers=headers)
        [request] = server.requests
    else:
        origin = server if way in ("socks", "forwarded") else tls_server
        address = f"socks5://{socks.address}" if way.startswith("socks") else proxy.url
        session.get(origin.url + "/echo", proxies=both(address), **keywords)
        [request] = origin.requests
    assert request.header("x-other") == b"1"
    assert request.header("proxy-authorization") is None
    if way == "forwarded":
        assert proxy.requests[0].header(b"proxy-authorization") == b"Basic c2VjcmV0"


# --- what is remembered ---

URLS = [
    "http://a.test/",
    "http://a.test",
    "http://a.test?b=/c",
    "http://a.test:8080/b/c?d=e&f=%20",
    "http://a.test/b?",
    "http://a.test/b;c",
    "http://a.test/b;c?d",
    pytest.param("http://a.test//b", marks=needs("requests", "2.34")),
    "http://a.test/b#c",
    "http://u:p@a.test/b",
    "http://[::1]:80/b",
    "http://A.test/b",
    "HTTP://a.test/b",
    "https://a.test/b",
    "http://a.test/b?c=http://d/;e",
]


@pytest.mark.parametrize(
    "proxy", ["http://p:1", "https://p:1", "socks5://p:1", "p:1", "HTTP://p:1"]
)
@pytest.mark.parametrize("url", URLS)
def test_the_target_is_what_requests_makes_it(url: str, proxy: str) -> None:
    request = requests.Request("GET", "http://x/").prepare()
    request.url = url  # as it is, whatever prepare() would make of it
    proxies = {"http": proxy}
    with closing(HTTPAdapter()) as ours, closing(requests.adapters.HTTPAdapter()) as theirs:
        for _ in range(2):
            assert ours.request_url(request, proxies) == theirs.request_url(request, proxies)


@pytest.mark.parametrize("url", URLS)
def test_the_proxy_is_the_one_that_requests_chooses(url: str) -> None:
    with closing(HTTPAdapter()) as adapter:
        for proxies in (
            {"http": "http://p", "https": "http://q"},
            {"http://a.test": "http://r", "all": "http://s"},
            {"all://a.test": "http://t"},
            {"http": None},
            {"http": ["http://not.hashable"]},
            {},
        ):
            for _ in range(2):  # the second time it is remembered
                chosen = requests.utils.select_proxy(url, proxies)  # type: ignore[arg-type]
                assert adapter._proxy_for(url, proxies) == (chosen or None)  # type: ignore[arg-type]
