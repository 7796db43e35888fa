"""Adapters of others, and Unix sockets: every hook does what requests documents.

Owns: scenario 12. Must not know: private parts of the packages.
Sources: the scenario row; the adapters of docker, requests-unixsocket, locust and azure-core, for
how the hooks are used; psf/requests#6707, docker/docker-py#3256.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
import requests.adapters
import urllib3
from requests.exceptions import InvalidSchema, InvalidURL
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

import httpcore
import httpcore_requests
from httpcore_requests import HTTPAdapter
from tests.support.clients import STOCK
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve, pattern

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")


@pytest.fixture
def unix_server(tmp_path: Path) -> Iterator[LocalServer]:
    with LocalServer(uds=tmp_path / "a.sock") as running:
        yield running
    assert not running.errors


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A plain requests session, with the adapter mounted and nothing else changed."""
    with requests.Session() as one:
        one.mount("http+unix://", HTTPAdapter())
        yield one


def url_of(server: ScriptedServer, path: str = "/") -> str:
    assert server.uds is not None
    return "http+unix://" + quote(server.uds, safe="") + path


# ---------------------------------------------------------------------------------------------
# 12: Unix sockets


def test_row_12_a_unix_socket_works_out_of_the_box(
    session: requests.Session, unix_server: LocalServer
) -> None:
    """ "`http+unix://%2Ftmp%2Fx.sock/path` works out of the box." """
    for _ in range(2):
        response = session.get(url_of(unix_server, "/echo?x=1&y=%2F"))
    assert response.json()["target"] == "/echo?x=1&y=%2F"
    assert response.raw.reused
    # As docker's client and requests-unixsocket call it: the host is this one.
    assert dict(response.json()["headers"])["Host"] == "localhost"
    assert response.url == url_of(unix_server, "/echo?x=1&y=%2F")
    response = session.post(url_of(unix_server, "/upload"), data=b"x" * 100_000)
    assert response.json()["length"] == 100_000
    assert session.get(url_of(unix_server, "/basic-auth/user/pass"), auth=("user", "pass")).ok
    assert unix_server.accepted == 1


def test_row_12_the_packages_own_session_has_it_mounted(unix_server: LocalServer) -> None:
    """ "Works out of the box." """
    with httpcore_requests.Session() as session:
        assert session.get(url_of(unix_server)).ok
        with pickle.loads(pickle.dumps(session)) as copy:
            assert copy.get(url_of(unix_server)).ok


def test_row_12_spellings_of_one_socket(
    session: requests.Session, unix_server: LocalServer
) -> None:
    """Hex digits and scheme in either case; the path's own case is kept."""
    url = url_of(unix_server)
    for spelling in (url, url.replace("%2F", "%2f"), url.replace("http", "HTTP", 1)):
        assert session.get(spelling).ok
    assert unix_server.accepted == 1


@pytest.mark.parametrize(
    "name", ["A.sock", "with space", "caf\u00e9:80@x", "100%25", "b.sock/../c"]
)
def test_row_12_odd_paths(session: requests.Session, tmp_path: Path, name: str) -> None:
    """Two sockets whose paths differ in case only are two sockets."""
    (tmp_path / "b.sock").mkdir()
    for folder in ("upper", "UPPER"):
        (tmp_path / folder).mkdir()
    (tmp_path / "upper" / "b.sock").mkdir()
    (tmp_path / "UPPER" / "b.sock").mkdir()
    for folder in ("upper", "UPPER"):
        with LocalServer(uds=tmp_path / folder / name) as server:
            assert session.get(url_of(server, f"/{folder}")).status_code == 404
            assert [request.target for request in server.requests] == [f"/{folder}".encode()]


def test_row_12_two_sockets_are_two_pools(
    session: requests.Session, unix_server: LocalServer, tmp_path: Path
) -> None:
    with LocalServer(uds=tmp_path / "A.sock") as other:
        for server in (unix_server, other, unix_server, other):
            assert session.get(url_of(server)).ok
        assert (unix_server.accepted, other.accepted) == (1, 1)
        adapter: Any = session.get_adapter("http+unix://")
        assert len(adapter.poolmanager.pools) == 2
        adapter.close()
        assert adapter.pool.stats()["connections"] == 0


def test_row_12_environment_proxies_are_not_for_sockets(
    session: requests.Session,
    unix_server: LocalServer,
    proxy: ProxyServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A socket is on this machine, and no proxy's credentials are for who listens on it."""
    way = proxy.url.replace("://", "://user:secret@")
    for name in ("ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, way)
    assert session.get(url_of(unix_server, "/redirect/2")).ok
    assert session.get(url_of(unix_server), proxies={"http+unix": way}).ok
    assert not proxy.requests
    assert len(unix_server.requests) == 4
    assert not any(request.header("proxy-authorization") for request in unix_server.requests)


def test_row_12_redirects_stay_on_the_socket(
    session: requests.Session, unix_server: LocalServer
) -> None:
    """A relative Location leads to a path on the same socket."""
    response = session.get(url_of(unix_server, "/redirect/2"))
    assert response.url == url_of(unix_server, "/echo")
    assert [one.status_code for one in response.history] == [302, 302]
    response = session.get(url_of(unix_server, "/redirect-to?url=bytes/3"))
    assert response.url == url_of(unix_server, "/bytes/3")
    assert unix_server.accepted == 1


def redirecting_to(location: str, status: int) -> Callable[[Peer], None]:
    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(status, b"", [("Location", location)])

    return handler


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("scheme", ["http+unix", "HTTP+Unix", "http+u\tnix"])
@pytest.mark.parametrize("mounted", [True, False], ids=["mounted", "own session"])
def test_row_12_a_server_does_not_send_its_clients_to_a_socket(
    session: requests.Session,
    unix_server: LocalServer,
    serve: Serve,
    scheme: str,
    status: int,
    mounted: bool,
) -> None:
    """A redirect from the network is not followed to a socket of this machine."""
    url = serve(redirecting_to(url_of(unix_server).replace("http+unix", scheme), status)).url
    with httpcore_requests.Session() as own:
        one = session if mounted else own
        one.mount("http://", HTTPAdapter())
        with pytest.raises(InvalidSchema, match="from that socket") as caught:
            one.post(url, data=b"x")
        assert caught.value.request is not None
        response = one.post(url, data=b"x", allow_redirects=False)
        assert (response.status_code, response.request.hooks) == (status, {"response": []})
        following = pickle.loads(pickle.dumps(response.next))
        with pytest.raises(InvalidSchema, match="from that socket"):
            one.send(following)
        assert not unix_server.requests
        assert one.get(url_of(unix_server)).ok  # which the caller may always ask


def test_row_12_a_server_does_not_send_a_pool_manager_to_a_socket(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """urllib3's managers follow redirects, and take the host as it stands: a relative path."""
    monkeypatch.chdir(tmp_path)
    url = serve(redirecting_to("http+unix://a.sock/", 302)).url
    with LocalServer(uds=Path("a.sock")) as server, httpcore_requests.Session() as session:
        adapter: Any = session.get_adapter(url)
        for _ in range(2):
            with pytest.raises(urllib3.exceptions.URLSchemeUnknown):
                adapter.poolmanager.request("GET", url)
            assert session.get("http+unix://a.sock/").ok
        assert len(server.requests) == 2


def test_row_12_a_socket_does_not_redirect_to_another(
    session: requests.Session, unix_server: LocalServer, tmp_path: Path
) -> None:
    with LocalServer(uds=tmp_path / "b.sock") as other:
        for location in (url_of(other), url_of(other).partition(":")[2]):
            with pytest.raises(InvalidSchema, match="from that socket"):
                session.get(url_of(unix_server, "/redirect-to?url=" + quote(location)))
        assert not other.requests
    same = url_of(unix_server, "/bytes/3").replace("%2F", "%2f")
    assert session.get(url_of(unix_server, "/redirect-to?url=" + quote(same))).ok


def test_row_12_redirects_that_a_policy_has_looked_at_are_checked(
    unix_server: LocalServer, serve: Serve
) -> None:
    """requests builds the response where somebody has read the head of `raw`."""

    class Looking(HTTPAdapter):
        def build_response(self, req: Any, resp: Any) -> requests.Response:
            assert resp.headers
            return super().build_response(req, resp)

    url = serve(redirecting_to(url_of(unix_server), 302)).url
    with httpcore_requests.Session() as session:
        session.mount("http://", Looking())
        with pytest.raises(InvalidSchema, match="from that socket"):
            session.get(url)
    assert not unix_server.requests


def test_row_12_cookies_of_a_socket(session: requests.Session, unix_server: LocalServer) -> None:
    """The session jar takes them and gives them back, as for any host."""
    session.get(url_of(unix_server, "/cookies/set?a=1&b=2"))
    assert session.get(url_of(unix_server, "/cookies")).json() == {"a": "1", "b": "2"}


def test_row_12_http_origins_are_not_mixed_up_with_sockets(
    unix_server: LocalServer, server: LocalServer
) -> None:
    with httpcore_requests.Session() as session:
        for _ in range(2):
            assert session.get(url_of(unix_server)).ok
            assert session.get(server.url).ok
            assert session.get(server.url.replace("127.0.0.1", "localhost")).ok
    assert (len(unix_server.requests), len(server.requests)) == (2, 4)


def test_row_12_a_missing_socket_is_named(session: requests.Session, tmp_path: Path) -> None:
    path = str(tmp_path / "nobody.sock")
    with pytest.raises(requests.ConnectionError) as caught:
        session.get("http+unix://" + quote(path, safe=""))
    assert str(caught.value).startswith(f"connect to unix:{path} failed: [Errno 2]")
    assert caught.value.request is not None
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


def test_row_12_a_silent_socket_is_named(
    session: requests.Session, serve: Serve, tmp_path: Path
) -> None:
    server = serve(Peer.wait_closed, uds=tmp_path / "silent.sock")
    with pytest.raises(
        requests.ReadTimeout, match=f"read from unix:{server.uds} timed out: .*Read timed out"
    ):
        session.get(url_of(server), timeout=0.05)


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("http+unix://%2Ftmp%2Fa%00b/", InvalidURL, "NUL"),
        ("http+unix://%00gone/", requests.ConnectionError, "unix:@gone failed: .*refused"),
        ("http+unix:///tmp/x.sock", InvalidURL, "No host"),  # as requests says it
        (f"http+unix://%2F{'x' * 200}/", requests.ConnectionError, "unix:/x+ failed: .*too long"),
        ("https+unix://%2Ftmp%2Fx.sock/", InvalidURL, "Unix sockets are used without TLS"),
    ],
)
def test_row_12_bad_socket_urls(url: str, error: type[Exception], text: str) -> None:
    """ "Fail ... with one clear message." """
    with requests.Session() as session:
        for prefix in ("http+unix://", "https+unix://"):
            session.mount(prefix, HTTPAdapter())
        with pytest.raises(error, match=text) as caught:
            session.get(url)
    assert caught.value.request is not None or text == "No host"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
@pytest.mark.parametrize("name", ["a", "With Capitals/and#odd?%\u00e4", "with\0nul", "x" * 80])
def test_row_12_abstract_sockets(session: requests.Session, name: str) -> None:
    unique = f"\0{name}-{os.getpid()}-{time.monotonic_ns()}"
    with LocalServer(uds=unique) as server:
        answers = [session.get(url_of(server, "/bytes/5")) for _ in range(2)]
        assert [answer.content for answer in answers] == [pattern(5)] * 2
        assert [answer.raw.reused for answer in answers] == [False, True]
        other = session.get(url_of(server, "/redirect/1"))
        assert [step.status_code for step in other.history] == [302]
        with httpcore.ConnectionPool(uds=unique) as pool:
            assert pool.request("GET", "http://a.test/bytes/5").content == pattern(5)
        with httpcore.ConnectionPool() as pool:
            response = pool.request("GET", "http://a.test/bytes/5", extensions={"uds": unique})
            assert response.content == pattern(5)
            assert "\0" not in f"{pool!r} {pool.stats()}"


def test_row_12_the_core_never_cuts_a_path_at_a_nul(unix_server: LocalServer) -> None:
    with httpcore.ConnectionPool(uds=f"{unix_server.uds}\0other") as pool:
        with pytest.raises(httpcore.ConnectError, match="has a NUL inside"):
            pool.request("GET", "http://a.test/")
    assert unix_server.accepted == 0


def test_row_12_a_url_set_by_hand_without_a_socket(session: requests.Session) -> None:
    prepared = requests.Request("GET", "http+unix://x/").prepare()
    prepared.url = "http+unix://user:pass@/path"
    with pytest.raises(InvalidURL, match="needs the path of a socket") as caught:
        session.send(prepared)
    assert "pass" not in str(caught.value)


def test_row_12_settings_for_ip_do_not_break_sockets(unix_server: LocalServer) -> None:
    """A session's adapter may serve both; what only IP has does not apply to a socket."""

    class Tuned(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            kw["source_address"] = ("127.0.0.2", 0)
            kw["socket_options"] = [
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\x07" + b"\0" * 15),
            ]
            super().init_poolmanager(*args, **kw)

    with requests.Session() as session:
        session.mount("http+unix://", Tuned())
        response = session.get(url_of(unix_server, "/bytes/1000000"), stream=True)
        sock = response.raw.network_stream.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)[0] == 7
        assert len(response.content) == 1_000_000


def test_row_12_a_plain_pool_manager_serves_sockets_too(unix_server: LocalServer) -> None:
    class Style(HTTPAdapter):
        def init_poolmanager(self, connections: int, maxsize: int, block: bool = False) -> None:  # type: ignore[override]
            self.poolmanager = urllib3.PoolManager(connections, maxsize=maxsize, block=block)

    with requests.Session() as session:
        session.mount("http+unix://", Style(pool_maxsize=2, pool_block=True))
        for _ in range(3):
            response = session.get(url_of(unix_server))
        assert response.raw.reused


# ---------------------------------------------------------------------------------------------
# 12: hooks


class DockerConnection(HTTPConnection):
    """As docker's: an urllib3 connection that makes its own socket."""

    def __init__(self, path: str, timeout: Any) -> None:
        super().__init__("localhost", timeout=timeout)
        self.unix_path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(self.unix_path)
        self.sock = sock


class DockerPool(HTTPConnectionPool):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10, maxsize=10)
        self.unix_path = path

    def _new_conn(self) -> Any:
        return DockerConnection(self.unix_path, self.timeout.connect_timeout)


def test_row_12_an_adapter_like_dockers_goes_over_urllib3(unix_server: LocalServer) -> None:
    """ "`HTTPAdapter` subclasses overriding `get_connection*` behave as documented": a hook that
    returns a real urllib3 pool has that request go over urllib3."""

    class DockerAdapter(HTTPAdapter):
        __attrs__ = [*HTTPAdapter.__attrs__, "path"]

        def __init__(self, path: str) -> None:
            self.path = path
            self.unix_pool = DockerPool(path)
            super().__init__()

        def get_connection_with_tls_context(
            self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
        ) -> Any:
            return self.get_connection(request.url, proxies)

        def get_connection(self, url: str, proxies: Any = None) -> Any:
            return self.unix_pool

        def request_url(self, request: Any, proxies: Any) -> str:
            path: str = request.path_url
            return path

        def close(self) -> None:
            self.unix_pool.close()
            super().close()

    with requests.Session() as session:
        session.mount("http+docker://", DockerAdapter(os.fspath(unix_server.uds or "")))
        for _ in range(2):
            response = session.get("http+docker://localhost/v1.44/info?all=1", stream=True)
            assert type(response.raw) is urllib3.HTTPResponse
            assert response.status_code == 404
            response.content  # noqa: B018
    assert unix_server.accepted == 1
    assert unix_server.requests[0].target == b"/v1.44/info?all=1"


@pytest.mark.filterwarnings("ignore:`get_connection` has been deprecated")
def test_row_12_get_connection_that_tunes_the_pool(server: LocalServer) -> None:
    """As azure-core: the pool that the deprecated hook gives is changed and used."""

    class Bigger(HTTPAdapter):
        def get_connection(self, url: str, proxies: Any = None) -> Any:
            conn = super().get_connection(url, proxies)
            conn.conn_kw["blocksize"] = 32 * 1024
            return conn

        def get_connection_with_tls_context(
            self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
        ) -> Any:
            return self.get_connection(request.url, proxies)

    with requests.Session() as session:
        session.mount("http://", Bigger())
        for _ in range(2):
            response = session.get(server.url)
        assert response.raw.reused
    assert server.accepted == 1


def test_row_12_init_poolmanager_may_be_called_by_position(server: LocalServer) -> None:
    """ "`init_poolmanager(**kw)`": keystoneauth's tests call it with three numbers."""
    for base in (STOCK, HTTPAdapter):
        adapter: Any = base()
        adapter.init_poolmanager(1, 2, 3)
        sizes = (adapter._pool_connections, adapter._pool_maxsize, adapter._pool_block)
        assert sizes == (1, 2, 3)
        assert adapter.poolmanager.connection_pool_kw == {"maxsize": 2, "block": 3}
        with requests.Session() as session:
            session.mount("http://", adapter)
            assert session.get(server.url).ok


@pytest.mark.parametrize("ours", [False, True])
def test_row_12_a_pool_manager_shared_by_adapters(server: LocalServer, ours: bool) -> None:
    """As locust: one manager for many users' sessions; `init_poolmanager` keeps what is there."""

    class Shared(HTTPAdapter):
        def __init__(self, manager: Any) -> None:
            self.poolmanager = manager
            super().__init__()

        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            if self.poolmanager is None:
                super().init_poolmanager(*args, **kw)

    owner = HTTPAdapter()
    manager = owner.poolmanager if ours else urllib3.PoolManager(maxsize=5)
    sessions = [requests.Session() for _ in range(3)]
    for session in sessions:
        session.mount("http://", Shared(manager))
    for _ in range(2):
        for session in sessions:
            assert session.get(server.url).ok
    assert server.accepted == 1
    assert len(manager.pools) == 1
    sessions[1].close()
    assert sessions[0].get(server.url).ok
    for session in sessions:
        session.close()
    owner.close()


def test_row_12_hooks_see_what_requests_gives_them(server: LocalServer) -> None:
    """ "Overriding `send`, `add_headers`, `cert_verify` ... behave as documented": with the same
    arguments as under requests' own adapter, in the same order."""

    def watching(base: Any) -> list[Any]:
        calls: list[Any] = []

        class Watching(base):  # type: ignore[misc]
            def send(self, request: Any, **kw: Any) -> Any:
                calls.append(("send", sorted(kw), kw["timeout"]))
                return super().send(request, **kw)

            def get_connection_with_tls_context(self, request: Any, verify: Any, **kw: Any) -> Any:
                calls.append(("get_connection_with_tls_context", verify, kw))
                return super().get_connection_with_tls_context(request, verify, **kw)

            def build_connection_pool_key_attributes(self, request: Any, *more: Any) -> Any:
                calls.append(("build_connection_pool_key_attributes", *more))
                return super().build_connection_pool_key_attributes(request, *more)

            def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
                calls.append(("cert_verify", conn.host, conn.port, url, verify, cert))
                super().cert_verify(conn, url, verify, cert)

            def request_url(self, request: Any, proxies: Any) -> Any:
                calls.append(("request_url", dict(proxies)))
                return super().request_url(request, proxies)

            def add_headers(self, request: Any, **kw: Any) -> None:
                calls.append(("add_headers", sorted(kw)))
                request.headers["X-Added"] = "1"

            def build_response(self, request: Any, raw: Any) -> Any:
                calls.append(("build_response", isinstance(raw, urllib3.HTTPResponse)))
                return super().build_response(request, raw)

        with requests.Session() as session:
            session.mount("http://", Watching())
            session.get(server.url + "/echo", timeout=(3, 9), verify=False)
        return calls

    assert watching(HTTPAdapter) == watching(STOCK)
    assert [request.header("x-added") for request in server.requests] == [b"1", b"1"]


@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_row_12_proxy_hooks_see_what_requests_gives_them(
    server: LocalServer, proxy: ProxyServer, spelling: Callable[[str], str]
) -> None:
    """ "Overriding `proxy_manager_for`" and `proxy_headers`: called alike."""

    def watching(base: Any) -> list[Any]:
        calls: list[Any] = []

        class Watching(base):  # type: ignore[misc]
            def proxy_manager_for(self, *args: Any, **kw: Any) -> Any:
                calls.append(("proxy_manager_for", args, kw))
                return super().proxy_manager_for(*args, **kw)

            def proxy_headers(self, proxy: str) -> Any:
                calls.append(("proxy_headers", proxy))
                return super().proxy_headers(proxy)

        with requests.Session() as session:
            session.mount("http://", Watching())
            for _ in range(2):
                assert session.get(server.url, proxies={"http": spelling(proxy.url)}).ok
        return calls

    assert watching(HTTPAdapter) == watching(STOCK)
    assert len(proxy.requests) == 4
