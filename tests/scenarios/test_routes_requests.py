"""The roads to a server through requests: every kind of proxy, names and addresses, hijacked
connections.

Owns: what of rows 2, 3, 9, 19, 20, 24, 33, 36 to 39, 41, 49 and 51 to 53 is reached through the
adapter and is not in the files of its own. Must not know: private parts of the packages.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import requests.adapters
import truststore
from requests.exceptions import ConnectTimeout, InvalidURL, ProxyError, ReadTimeout, SSLError

import httpcore
import httpcore_requests
from httpcore_requests import HTTPAdapter
from tests.support import PATIENCE, leaks, tls
from tests.support.clients import STOCK, MakeSession, Redirected, resident
from tests.support.proxies import ProxyServer, SocksServer, basic
from tests.support.servers import LocalServer, Peer, Serve, black_hole, closed_port
from tests.support.versions import needs

pytestmark = pytest.mark.no_cover

Way = Callable[..., dict[str, str]]

PROXIES = ["http", "https", "socks5", "socks5h", "socks4a"]
SCHEMES = ["http", "https"]

FIRST, SECOND = "127.0.0.1", "localhost"


@pytest.fixture
def make_session(make_trusting_session: MakeSession) -> MakeSession:
    return make_trusting_session


@pytest.fixture
def servers(server_tls_context: ssl.SSLContext) -> Iterator[dict[str, Any]]:
    """A proxy of each kind."""
    with ProxyServer() as plain, ProxyServer(tls=server_tls_context) as secure:
        with SocksServer() as socks:
            yield {"http": plain, "https": secure, "socks": socks}
            for each in (plain, secure, socks):
                assert not each.errors


@pytest.fixture
def way(servers: dict[str, Any]) -> Way:
    """`way("https", "user")`: what `proxies` has to be for that kind of proxy."""

    def through(kind: str, user: str = "", password: str = "secret") -> dict[str, str]:
        if kind == "direct":
            return {}
        who = f"{user}:{password}@" if user else ""
        url = f"{kind}://{who}127.0.0.1:{servers[kind[:5]].port}"
        return {"http": url, "https": url}

    return through


def pool_of(session: requests.Session) -> httpcore.ConnectionPool:
    adapter: Any = session.get_adapter("http://")
    pool: httpcore.ConnectionPool = adapter.pool
    return pool


# --- row 2: TCP keep-alive


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", ["direct", *PROXIES])
def test_row_2_tcp_keepalive_is_on(
    make_session: MakeSession, way: Way, origins: dict[str, LocalServer], kind: str, scheme: str
) -> None:
    """Row 2: "SO_KEEPALIVE on with idle ≤ 60 s (read back by getsockopt)", on each road."""
    response = make_session().get(origins[scheme].url, proxies=way(kind))
    sock = response.raw.network_stream.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
    if idle is not None:
        assert sock.getsockopt(socket.IPPROTO_TCP, idle) <= 60


# --- row 3: nothing leaks


def test_row_3_nothing_leaks_under_faults(
    make_session: MakeSession,
    way: Way,
    servers: dict[str, Any],
    origins: dict[str, LocalServer],
    serve: Serve,
) -> None:
    """Row 3: "faults injected at each step (refused, TLS failure, timeout, exception in a trace
    hook [...]): afterwards stats show 0 active, 0 queued, open fds ≤ 10, and the next request
    succeeds; no request ever waits longer than its pool timeout"; 40 threads, on all roads."""
    silent = serve(Peer.wait_closed)
    local = threading.local()

    def trace(event: str, details: dict[str, Any]) -> None:
        local.left = getattr(local, "left", 0) - 1
        if local.left == 0:
            raise OSError("from the hook")

    session = make_session(max_connections=10, pool_timeout=PATIENCE, trace=trace)
    refused = {"all": f"https://127.0.0.1:{closed_port()}"}
    kinds = ["direct", *PROXIES]
    seen: set[str] = set()

    def run(number: int) -> None:
        for turn in range(12):
            proxies = way(kinds[(number + turn) % len(kinds)])
            origin = origins[SCHEMES[turn % 2]]
            url, more = origin.url, {}
            if turn % 6 == 1:
                proxies = refused
            elif turn % 6 == 2:
                url, more = silent.url, {"timeout": (5, 0.01)}
            elif turn % 6 == 3:
                more = {"verify": True}  # the test CA is none of certifi's
            elif turn % 6 == 4:
                local.left = 1 + (number + turn) % 5
            try:
                session.get(url, proxies=proxies, **more)
                seen.add("answered")
            except (requests.RequestException, OSError) as exc:
                seen.add(type(exc).__name__)
            local.left = 0

    threads = [threading.Thread(target=run, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 2)
    assert {"answered", "ProxyError", "SSLError", "ReadTimeout", "ConnectionError"} <= seen
    stats = pool_of(session).stats()
    assert (stats["active"], stats["dialing"], stats["waiting"]) == (0, 0, 0)
    assert stats["connections"] <= 10
    assert session.get(origins["https"].url, proxies=way("https")).ok
    session.close()
    silent.stop()  # the proxies wait for its answer
    for each in (*servers.values(), *origins.values()):
        assert each.wait_for(lambda each=each: each.open == 0)
        each.handshake_errors.clear()
        each.errors.clear()  # a proxy that was left in the middle of an answer
    silent.errors.clear()


# --- rows 9, 33 and 38: in each handshake


def stuck(serve: Serve, context: ssl.SSLContext, stage: str) -> tuple[dict[str, str], Any]:
    """`proxies` for a proxy that falls silent at `stage`, and an event for when it does."""
    reached = threading.Event()

    def handler(peer: Peer) -> None:
        if stage == "https connect":
            peer.recv_head()
        elif stage == "origin tls":
            peer.recv_head()
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        elif stage == "socks5 request":
            peer.recv_exactly(3)
            peer.send(b"\x05\x00")
        reached.set()
        peer.wait_closed()

    secure = stage in ("https connect", "origin tls")
    server = serve(handler, tls=context if secure else None)
    kind = "socks5h" if stage.startswith("socks5") else "https"
    return {"all": f"{kind}://127.0.0.1:{server.port}"}, reached


STAGES = ["proxy tls", "https connect", "origin tls", "socks5 greeting", "socks5 request"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("limit", ["connect", "total"])
def test_row_9_a_proxy_that_is_stuck(
    make_session: MakeSession,
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    stage: str,
    limit: str,
) -> None:
    """Rows 9 and 38: "a stuck TLS handshake", "timeouts cover the handshake"; of each hop."""
    proxies, _ = stuck(serve, server_tls_context, stage)
    kinds = (ConnectTimeout, ReadTimeout, ProxyError)  # as in requests, by how far it got
    start = time.monotonic()
    with pytest.raises(kinds, match=r"0\.[23]\d* s"):
        make_session().get(
            "https://origin.test/",
            proxies=proxies,
            timeout=httpcore_requests.Timeout(**{limit: 0.3}),
        )
    assert 0.28 < time.monotonic() - start < 0.6


@pytest.mark.parametrize("stage", STAGES)
def test_row_33_in_a_handshake_with_a_proxy(
    make_session: MakeSession, serve: Serve, server_tls_context: ssl.SSLContext, stage: str
) -> None:
    """Row 33: "While thread A blocks in connect, TLS, [...], thread B calls `close()`/`cancel()`:
    B returns < 50 ms, A raises < 100 ms"."""
    proxies, reached = stuck(serve, server_tls_context, stage)
    token = httpcore.CancelToken()
    ended: list[float] = []
    failures: list[requests.RequestException] = []
    session = make_session()

    def ask() -> None:
        try:
            limit = httpcore_requests.Timeout(cancel=token)
            session.get("https://origin.test/", proxies=proxies, timeout=limit)
        except requests.RequestException as exc:
            ended.append(time.monotonic())
            failures.append(exc)

    thread = threading.Thread(target=ask)
    thread.start()
    assert reached.wait(PATIENCE)
    start = time.monotonic()
    token.cancel()
    assert time.monotonic() - start < 0.05
    thread.join(PATIENCE)
    assert ended[0] - start < 0.1
    assert "ended by a close or a CancelToken" in str(failures[0])
    assert httpcore_requests.phase(failures[0]) == "not_sent"
    assert pool_of(session).stats()["connections"] == 0


# --- row 19: whose credentials

NODES = list(itertools.product(SCHEMES, ["direct", "http", "https", "socks5h"]))


@pytest.mark.parametrize("target", NODES, ids="-".join)
@pytest.mark.parametrize("start", NODES, ids="-".join)
def test_row_19_every_redirect_pair(
    make_session: MakeSession,
    way: Way,
    servers: dict[str, Any],
    origins: dict[str, LocalServer],
    start: tuple[str, str],
    target: tuple[str, str],
) -> None:
    """Row 19: "For each of http/https origin x http/https/SOCKS proxy x each redirect pair: the
    origin's log never holds Proxy-Authorization, and a proxy only gets its own"."""
    proxies = {}
    # requests takes what it adds after a redirect from the scheme's key, whatever the host's says.
    for scheme in SCHEMES:
        proxies[scheme] = way("http", "for-http")["http"]
    for (scheme, kind), host in ((start, FIRST), (target, SECOND)):
        proxies[f"{scheme}://{host}"] = way(kind, f"for-{kind}").get("http", "")
    location = f"{target[0]}://{SECOND}:{origins[target[0]].port}/echo"
    url = f"{start[0]}://{FIRST}:{origins[start[0]].port}/redirect-to?url={location}"

    response = make_session().get(url, proxies=proxies)

    assert (response.status_code, response.url) == (200, location)
    requested = [request for origin in origins.values() for request in origin.requests]
    assert len(requested) == 2
    assert all(request.header("proxy-authorization") is None for request in requested)
    passed = [kind for _, kind in (start, target)]
    for kind in SCHEMES:
        shown = [one.header(b"proxy-authorization") for one in servers[kind].requests]
        assert shown == [basic(f"for-{kind}")] * passed.count(kind)
    assert len(servers["socks"].requests) == passed.count("socks5h")


# --- row 20: Happy Eyeballs


@pytest.mark.parametrize("kind", ["direct", "http", "https", "socks5h"])
def test_row_20_a_black_hole_first(
    make_session: MakeSession, way: Way, servers: dict[str, Any], server: LocalServer, kind: str
) -> None:
    """Row 20: "On by default: a host with a black-holed ::-address first and a live IPv4 connects
    in < 500 ms; no thread is started; losers' sockets are closed"; the origin or its proxy."""
    port = server.port if kind == "direct" else servers[kind[:5]].port
    url = server.url.replace(FIRST, "example.test") if kind == "direct" else server.url
    proxies = {key: one.replace(FIRST, "example.test") for key, one in way(kind).items()}
    me, started = threading.current_thread(), []
    start_thread = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if threading.current_thread() is me:
            started.append(thread.name)
        start_thread(thread)

    session = make_session(resolver=lambda host, port, timeout: ["::1", FIRST])
    before = set(leaks.sockets())
    with black_hole("::1", port), pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        begun = time.monotonic()
        response = session.get(url, proxies=proxies)
        took = time.monotonic() - begun
    assert response.status_code == 200
    assert took < 0.5
    assert started == []
    session.close()
    for each in (server, *servers.values()):
        assert each.wait_for(lambda each=each: each.open == 0)
    assert set(leaks.sockets()) <= before


def test_row_20_the_timeout_covers_the_race(make_session: MakeSession) -> None:
    """Row 20: "connect timeout covers the whole race"."""
    with black_hole() as (_, port), black_hole("::1", port):
        session = make_session(resolver=lambda host, port, timeout: ["::1", FIRST] * 3)
        begun = time.monotonic()
        with pytest.raises(ConnectTimeout, match=r"\(::1, 127\.0\.0\.1.*timed out after 0.4 s"):
            session.get(f"http://example.test:{port}/", timeout=0.4)
        assert 0.38 < time.monotonic() - begun < 0.6


# --- row 24: Expect


def test_row_24_the_connection_is_clean_for_the_next(
    make_session: MakeSession, serve: Serve
) -> None:
    """Row 24: "zero-length body with 200 in the interim slot, and `HTTP/1.1 100` with no reason,
    both leave the connection clean for the next request"."""
    bodies: list[bytes] = []

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request_head()) is not None:
            if request.target == b"/nothing":
                peer.respond(200, b"at once")
                continue
            if request.header("expect"):
                peer.send(b"HTTP/1.1 100\r\n\r\n")
            bodies.append(b"".join(peer.iter_body(request)))
            peer.respond(200, bodies[-1])

    server = serve(handler)
    session = make_session()
    expect = {"Expect": "100-continue"}
    assert session.put(server.url + "/nothing", data=b"", headers=expect).text == "at once"
    assert session.put(server.url + "/body", data=b"sent", headers=expect).text == "sent"
    assert session.get(server.url).text == ""
    assert bodies == [b"sent", b""]
    assert server.accepted == 1


# --- row 36: TLS in TLS


def test_row_36_each_hop_has_its_own_authority_and_certificate(
    make_session: MakeSession, tmp_path: Path
) -> None:
    """Row 36: "https origin via https proxy, sync, with separate CA/cert for each hop"."""
    trustme = pytest.importorskip("trustme")
    cas = {"proxy": trustme.CA(), "origin": trustme.CA()}
    seen: list[tuple[str, str]] = []
    certs = {}
    for hop, ca in cas.items():
        (tmp_path / hop).mkdir()
        certs[hop] = tls.write_client_cert(ca, tmp_path / hop, f"{hop}@example.test")
    bundle = tmp_path / "origin.pem"
    cas["origin"].cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    cas["proxy"].configure_trust(context)
    context.load_cert_chain(certs["proxy"].cert, certs["proxy"].key)

    class Adapter(HTTPAdapter):
        def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
            return super().proxy_manager_for(proxy, proxy_ssl_context=context, **more)

    class Noting(ProxyServer):
        def _converse(self, peer: Peer) -> None:
            seen.append(("proxy", str(peer.client_certificate)))
            super()._converse(peer)

    contexts = {hop: tls.server_context(ca, ask_client=True) for hop, ca in cas.items()}
    with Noting(tls=contexts["proxy"]) as proxy, LocalServer(tls=contexts["origin"]) as origin:
        session = make_session(Adapter())
        cert = (certs["origin"].cert, certs["origin"].key)
        response = session.get(
            origin.url, proxies={"https": proxy.url}, verify=str(bundle), cert=cert
        )
        assert response.ok
        assert "proxy@example.test" in seen[0][1]
        session.close()
        # Each authority is trusted for its own hop alone.
        with pytest.raises(ProxyError, match=f"cannot reach the proxy {proxy.url}.*verify failed"):
            make_session().get(
                origin.url, proxies={"https": proxy.url}, verify=str(bundle), cert=cert
            )
        where = f"127.0.0.1:{origin.port} through the proxy {proxy.url}"
        with pytest.raises(SSLError, match=f"{where} failed.*verify failed"):
            make_session(Adapter()).get(origin.url, proxies={"https": proxy.url}, cert=cert)
        for each in (proxy, origin):
            each.handshake_errors.clear()


@pytest.mark.parametrize("how", ["ssl_context", "inject"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_row_25_truststore_for_the_proxy(
    make_session: MakeSession,
    way: Way,
    origins: dict[str, LocalServer],
    ca_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    scheme: str,
) -> None:
    """Row 25: "`HTTPAdapter(ssl_context=truststore.SSLContext(...))` and
    `truststore.inject_into_ssl()` both work for origin and for https proxy"."""
    monkeypatch.setenv("SSL_CERT_FILE", ca_bundle)  # the system's store, to truststore
    if how == "inject":
        truststore.inject_into_ssl()
        session = make_session()
    else:
        session = make_session(ssl_context=truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    try:
        session.verify = True
        assert session.get(origins[scheme].url, proxies=way("https")).ok
    finally:
        if how == "inject":
            truststore.extract_from_ssl()


# --- row 37: a tunnel that is refused


@pytest.mark.parametrize("status", [403, 407, 502])
@pytest.mark.parametrize("kind", SCHEMES)
def test_row_37_a_refused_tunnel(
    make_session: MakeSession, way: Way, servers: dict[str, Any], kind: str, status: int
) -> None:
    """Row 37: "ProxyError has `.status`, `.headers`, `.body` of the proxy's reply"."""
    servers[kind].refusal = (
        b"HTTP/1.1 %d No\r\nX-Why: rules\r\nContent-Length: 3\r\n\r\nnot" % status
    )
    with pytest.raises(ProxyError) as caught:
        make_session().get("https://origin.test/", proxies=way(kind))
    reason = caught.value.args[0].reason
    assert (reason.status, reason.body) == (status, b"not")
    assert (b"X-Why", b"rules") in reason.headers
    proxy = f"{kind}://127.0.0.1:{servers[kind].port}"
    assert f"CONNECT origin.test:443 at the proxy {proxy} was refused: {status}" in str(
        caught.value
    )


@pytest.mark.parametrize("kind", SCHEMES)
def test_row_37_a_hook_answers_a_challenge(
    make_session: MakeSession,
    way: Way,
    tls_server: LocalServer,
    servers: dict[str, Any],
    kind: str,
) -> None:
    """Row 37: "a hook can answer 407 (digest/negotiate) on the same connection"; here a challenge
    with a nonce, and each proxy's URL tells the hook whose credentials to use."""
    proxy = servers[kind]
    answers: list[str] = []

    def digest(nonce: str) -> str:
        return "Token " + hashlib.sha256(f"user:secret:{nonce}".encode()).hexdigest()

    def admits(request: Any) -> bool:
        right = digest("n0nce").encode()
        return bool(request.header("proxy-authorization") == right)

    def answer(error: httpcore.ProxyError, url: str) -> list[tuple[str, str]]:
        answers.append(url)
        assert (error.status, error.body) == (407, b"who are you?")
        assert any(name == b"Proxy-Authenticate" for name, _ in error.headers)
        return [("Proxy-Authorization", digest("n0nce"))]

    proxy._admits = admits
    session = make_session(on_proxy_challenge=answer)
    for _ in range(2):
        assert session.get(tls_server.url, proxies=way(kind)).ok
    assert answers == [f"{kind}://127.0.0.1:{proxy.port}"]
    assert proxy.accepted == 1
    assert [request.connection for request in proxy.requests] == [1, 1]
    assert all(one.header("proxy-authorization") is None for one in tls_server.requests)
    # None gives up, and so does a hook that is not there.
    for hook in (lambda error, url: None, None):
        with pytest.raises(ProxyError, match="was refused: 407") as caught:
            make_session(on_proxy_challenge=hook).get(tls_server.url, proxies=way(kind))
        assert caught.value.args[0].reason.body == b"who are you?"


# --- row 38: SOCKS


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", ["socks5", "socks5h", "socks4a"])
def test_row_38_who_looks_up(
    make_session: MakeSession,
    way: Way,
    servers: dict[str, Any],
    origins: dict[str, LocalServer],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    scheme: str,
) -> None:
    """Row 38: "with socks5h, `getaddrinfo` for the target is never called; [...] user/password
    work"."""
    looked_up: list[Any] = []
    find = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kw: Any) -> Any:
        looked_up.append(host)
        return find(FIRST if host == "example.test" else host, *args, **kw)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    socks = servers["socks"]
    socks.hosts = {"example.test": FIRST}
    if kind.startswith("socks5"):
        socks.credentials = ("us er", "p@ss")
    url = f"{scheme}://example.test:{origins[scheme].port}/"
    assert make_session().get(url, proxies=way(kind, "us%20er", "p%40ss")).ok
    [asked] = socks.requests
    assert ("example.test" in looked_up) == (kind == "socks5")
    assert asked.host == (FIRST if kind == "socks5" else "example.test")
    assert (asked.user, asked.password) == ("us er", None if kind == "socks4a" else "p@ss")


@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
def test_row_38_ipv6_targets(
    make_session: MakeSession, way: Way, servers: dict[str, Any], kind: str
) -> None:
    """Row 38: "IPv6 targets [...] work"."""
    with LocalServer(host="::1") as server:
        response = make_session().get(f"http://[::1]:{server.port}/", proxies=way(kind))
        assert response.status_code == 200
        assert server.requests[0].header("host") == b"[::1]:%d" % server.port
    [asked] = servers["socks"].requests
    assert (asked.host, asked.by_name) == ("::1", False)


# --- row 39: many proxies, adapters that go away


def many_proxies(
    make_session: MakeSession,
    way: Way,
    servers: dict[str, Any],
    origins: dict[str, LocalServer],
    count: int,
) -> int:
    """Requests through `count` distinct proxy URLs; by how many bytes the memory grew."""
    kinds = itertools.cycle(["http", "http", "socks5h", "https"])
    schemes = itertools.cycle(["http", "http", "https"])
    for origin in origins.values():
        origin._record = False
    session = make_session(max_connections=10)
    pool = pool_of(session)
    before = len(leaks.sockets())

    def ask(number: int) -> None:
        response = session.get(
            origins[next(schemes)].url, proxies=way(next(kinds), f"user{number}")
        )
        assert response.status_code == 200

    for number in range(120):  # caches, arenas, imports; and the 100 managers that are kept
        ask(-number)
    gc.collect()
    start = resident()
    for number in range(count):
        ask(number)
        if number % 50 == 0:
            for each in servers.values():
                each.requests.clear()
                assert each.wait_for(lambda each=each: each.open <= 10)
            assert len(pool.connections) <= 10
            # The servers are here, too: our end, both ends at the proxy, the origin's.
            assert len(leaks.sockets()) - before <= 4 * 10 + 5
    gc.collect()
    return resident() - start


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_row_39_many_proxies(
    make_session: MakeSession, way: Way, servers: dict[str, Any], origins: dict[str, LocalServer]
) -> None:
    """Row 39: "10 000 distinct proxy URLs: fds ≤ max_connections, RSS growth < 10 MiB", for 150."""
    assert many_proxies(make_session, way, servers, origins, 150) < 10 * 2**20


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_row_39_ten_thousand_proxies(
    make_session: MakeSession, way: Way, servers: dict[str, Any], origins: dict[str, LocalServer]
) -> None:
    """Row 39: "10 000 distinct proxy URLs: fds ≤ max_connections, RSS growth < 10 MiB"."""
    assert many_proxies(make_session, way, servers, origins, 10_000) < 10 * 2**20


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", ["direct", *PROXIES])
def test_row_39_an_adapter_that_goes_away(
    way: Way,
    servers: dict[str, Any],
    origins: dict[str, LocalServer],
    ca_bundle: str,
    kind: str,
    scheme: str,
) -> None:
    """Row 39: "a replaced or collected adapter closes its sockets"."""
    session = requests.Session()
    opened = origins[scheme] if kind == "direct" else servers[kind[:5]]
    for _ in range(2):  # the second replaces the first
        adapter = HTTPAdapter()
        session.mount(f"{scheme}://", adapter)
        assert session.get(origins[scheme].url, proxies=way(kind), verify=ca_bundle).ok
        seen = weakref.ref(adapter)
        assert opened.open == 1
        session.mount(f"{scheme}://", STOCK())
        del adapter
        gc.collect()
        assert seen() is None
        assert opened.wait_for(lambda: opened.open == 0)
    session.close()


# --- row 41: connect here but name it there


@pytest.mark.parametrize("kind", ["direct", "http", "https", "socks5h"])
def test_row_41_resolve(
    make_session: MakeSession,
    way: Way,
    servers: dict[str, Any],
    tls_server: LocalServer,
    server_tls_context: ssl.SSLContext,
    kind: str,
) -> None:
    """Row 41: "`resolve={"h:443": "127.0.0.1"}` [...]: right SNI, cert check, Host and pool key,
    also through a tunnel"."""
    names: list[Any] = []
    host = f"example.test:{tls_server.port}"
    wrong = f"elsewhere.invalid:{tls_server.port}"
    session = make_session(resolve={host: FIRST, wrong: FIRST})
    server_tls_context.sni_callback = lambda sock, name, _: names.append(name)
    try:
        for spelling in (host, host.upper()):
            assert session.get(f"https://{spelling}/", proxies=way(kind)).ok
        assert f"'https://{host}'" in repr(pool_of(session).connections)
        with pytest.raises(SSLError, match=r"elsewhere\.invalid"):
            session.get(f"https://{wrong}/", proxies=way(kind))
    finally:
        server_tls_context.sni_callback = None
    assert [name for name in names if name] == ["example.test", "elsewhere.invalid"]
    assert {request.header("host") for request in tls_server.requests} == {host.encode()}
    assert tls_server.accepted == 2  # the second request used the first one's connection
    for each in (tls_server, *servers.values()):
        each.handshake_errors.clear()


def test_row_41_a_resolver_gets_the_deadline(
    make_session: MakeSession, tls_server: LocalServer
) -> None:
    """Row 41: "or a resolver callable [...]; resolver gets the deadline"."""
    asked: list[tuple[str, int, float | None]] = []

    def resolver(host: str, port: int, timeout: float | None) -> list[str]:
        asked.append((host, port, timeout))
        return [FIRST]

    session = make_session(resolver=resolver, resolve={"other.test:1": FIRST})
    url = f"https://example.test:{tls_server.port}/"
    for timeout in (None, 7, httpcore_requests.Timeout(total=5)):
        headers = {"Connection": "close"}
        assert session.get(url, timeout=timeout, headers=headers).ok
    assert {one[:2] for one in asked} == {("example.test", tls_server.port)}
    none, connect, total = (one[2] for one in asked)
    assert none is None
    assert connect is not None and 6.5 < connect <= 7
    assert total is not None and 4.5 < total <= 5


# --- row 49: connections that are taken over


@pytest.mark.parametrize("together", [True, False], ids=["one packet", "two packets"])
@pytest.mark.parametrize("method", ["GET", "POST", "CONNECT"])
@pytest.mark.parametrize("road", ["plain", "tls", "unix", *PROXIES])
def test_row_49_a_connection_that_is_taken_over(
    make_session: MakeSession,
    way: Way,
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    tmp_path: Path,
    road: str,
    method: str,
    together: bool,
) -> None:
    """Row 49: "101 or CONNECT with payload in the same packet, plain, TLS and unix:
    `r.raw.network_stream` returns those bytes first, writes work, the pool forgets the
    connection"."""
    payload = b"first bytes"
    got: list[bytes] = []

    def handler(peer: Peer) -> None:
        assert peer.recv_request() is not None
        answer = b"HTTP/1.1 200 Ok\r\n\r\n"
        if method != "CONNECT":
            answer = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        peer.send(answer + payload if together else answer)
        got.append(peer.recv_exactly(4))
        if not together:
            peer.send(payload)
        peer.send(b"later")
        peer.wait_closed()

    secure = road not in ("plain", "unix")
    uds = str(tmp_path / "s") if road == "unix" else None
    server = serve(handler, tls=server_tls_context if secure else None, uds=uds)
    url = server.url
    if uds:
        url = "http+unix://" + uds.replace("/", "%2F") + "/containers/1/attach"
    session = make_session()
    response = session.request(
        method,
        url,
        stream=True,
        headers={"Connection": "Upgrade", "Upgrade": "tcp"},
        proxies=way(road) if road in PROXIES else {},
        timeout=PATIENCE,
    )
    assert response.status_code == (200 if method == "CONNECT" else 101)
    assert pool_of(session).stats()["connections"] == 0
    stream = response.raw.network_stream
    if together:
        assert stream.read(5, PATIENCE) == payload[:5]
    stream.write(b"ping", PATIENCE)
    received = payload[:5] if together else b""
    while len(received) < len(payload + b"later"):
        received += stream.read(1000, PATIENCE)
    assert received == payload + b"later"
    assert got == [b"ping"]
    response.close()
    assert server.wait_for(lambda: server.open == 0)


# --- row 51: zones


@pytest.mark.parametrize("written", ["%25eth10", "%eth10"])
def test_row_51_a_zone_is_for_the_connect_alone(
    make_session: MakeSession, server: LocalServer, written: str
) -> None:
    """Row 51: "`http://[fe80::1%25eth10]/` connects with scope id and sends `Host: [fe80::1]`"."""
    backend = Redirected(server.port)
    session = make_session(network_backend=backend)
    for port in ("", ":8080"):
        assert session.get(f"http://[fe80::1{written}]{port}/").ok
    assert backend.asked == [("fe80::1%eth10", 80), ("fe80::1%eth10", 8080)]
    hosts = [request.header("host") for request in server.requests]
    assert hosts == [b"[fe80::1]", b"[fe80::1]:8080"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_row_51_a_zone_of_the_proxys(
    make_session: MakeSession, proxy: ProxyServer, origins: dict[str, LocalServer], scheme: str
) -> None:
    """Row 51: a proxy may have one, too."""
    backend = Redirected(proxy.port)
    session = make_session(network_backend=backend)
    assert session.get(origins[scheme].url, proxies={"all": "http://[fe80::1%25eth10]:3128"}).ok
    assert backend.asked == [("fe80::1%eth10", 3128)]


# --- row 52: odd names


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "host", ["under_score.example.test", "r2---sn-abc.example.test", "xn--bcher-kva.example.test"]
)
def test_row_52_names_go_as_they_are_given(
    make_session: MakeSession,
    origins: dict[str, LocalServer],
    server_tls_context: ssl.SSLContext,
    ca_bundle: str,
    host: str,
    scheme: str,
) -> None:
    """Row 52: "ASCII hosts with `_`, `---` or `xn--` go to DNS, SNI and Host as given"."""
    asked: list[str] = []
    names: list[Any] = []

    def resolver(name: str, port: int, timeout: float | None) -> list[str]:
        asked.append(name)
        return [FIRST]

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            # OpenSSL lets no wildcard stand for a label with an underscore.
            hostname = {"assert_hostname": "example.test"} if "_" in host else {}
            super().init_poolmanager(*args, **kw, **hostname)

    origin = origins[scheme]
    server_tls_context.sni_callback = lambda sock, name, _: names.append(name)
    try:
        url = f"{scheme}://{host}:{origin.port}/"
        assert make_session(Adapter(resolver=resolver)).get(url).ok
    finally:
        server_tls_context.sni_callback = None
    assert asked == [host]
    assert names == ([host] if scheme == "https" else [])
    assert origin.requests[0].header("host") == f"{host}:{origin.port}".encode()


@pytest.mark.parametrize("host", [".leading.test", f"{'a' * 64}.test", "two..dots.test"])
@pytest.mark.parametrize("kind", ["direct", *PROXIES])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_row_52_names_that_cannot_be(
    make_session: MakeSession, way: Way, servers: dict[str, Any], host: str, kind: str, scheme: str
) -> None:
    """Row 52: "leading-dot and 64-char labels raise InvalidURL"."""
    with pytest.raises(InvalidURL):
        make_session().get(f"{scheme}://{host}/", proxies=way(kind))
    assert not any(each.accepted for each in servers.values())


# --- row 53: the path on the wire

ROADS = [("http", "direct"), ("https", "direct"), *itertools.product(SCHEMES, PROXIES)]


@pytest.mark.parametrize(("scheme", "kind"), ROADS)
def test_row_53_the_path_on_the_wire_is_the_path_given(
    make_session: MakeSession, way: Way, origins: dict[str, LocalServer], scheme: str, kind: str
) -> None:
    """Row 53: "`//a/../b%2Fc?x=%7E` reaches the server byte-equal direct, forwarded and
    tunnelled". Preparing a request already rewrites its URL, so what counts is the prepared one;
    requests' own adapter rewrites even that, and differently when a proxy forwards it."""
    origin = origins[scheme]
    prepared = requests.Request("GET", origin.url).prepare()
    prepared.url = f"{origin.url}//a/../b%2Fc?x=%7E"
    make_session().send(prepared, proxies=way(kind), verify=make_session().verify)
    assert origin.requests[-1].target == b"//a/../b%2Fc?x=%7E"


@needs("requests", "2.34")  # before, requests makes one of several slashes at the beginning
@pytest.mark.parametrize(("scheme", "kind"), ROADS)
def test_row_53_what_requests_prepares_is_what_is_sent(
    make_session: MakeSession, way: Way, origins: dict[str, LocalServer], scheme: str, kind: str
) -> None:
    """Row 53, with the rewriting of requests: it is the same on all roads, and as it is direct
    under requests' own adapter."""
    origin = origins[scheme]
    for path in ("//a/../b%2Fc?x=%7E", '/a|b?c d="e"&%zz', "/%7e/./x;y=1?#f", "?only=query"):
        make_session(STOCK()).get(origin.url + path)
        make_session().get(origin.url + path, proxies=way(kind))
        theirs, ours = origin.requests[-2:]
        assert ours.target == theirs.target
