"""The roads to a server, in the core: what holds on each of them, whatever the proxy.

Owns: what of rows 2, 9, 19, 20, 33, 36 to 39, 47, 49 and 51 to 53 is said of roads, and is not
shown where the part itself is tested. Must not know: private parts of the package.
"""

from __future__ import annotations

import gc
import hashlib
import io
import itertools
import os
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

import httpcore
from httpcore.exceptions import Aborted, ProxyConnectTimeout
from tests.support import PATIENCE, leaks, tls
from tests.support.clients import Redirected, resident
from tests.support.proxies import STUCK_STAGES, ProxyServer, SocksServer, stuck_at
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve, black_hole
from tests.support.threads import Doing

PROXIES = ["http", "https", "socks5", "socks5h", "socks4", "socks4a"]
SCHEMES = ["http", "https"]


class Roads(NamedTuple):
    """A proxy of each kind, and what leads to it."""

    servers: dict[str, ProxyServer | SocksServer]
    context: ssl.SSLContext

    def to(self, kind: str, user: str | None = None, **options: Any) -> httpcore.Proxy | None:
        if kind == "direct":
            return None
        server = self.servers[kind[:5]]
        return httpcore.Proxy(
            f"{kind}://127.0.0.1:{server.port}",
            auth=None if user is None else (user, "secret"),
            ssl_context=self.context if kind == "https" else None,
            **options,
        )


@pytest.fixture
def roads(server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext) -> Any:
    with ExitStack() as stack:
        servers: dict[str, Any] = {
            "http": stack.enter_context(ProxyServer()),
            "https": stack.enter_context(ProxyServer(tls=server_tls_context)),
            "socks": stack.enter_context(SocksServer()),
        }
        yield Roads(servers, client_tls_context)
        for each in servers.values():
            assert not each.errors


@pytest.fixture
def pool(client_tls_context: ssl.SSLContext) -> Iterator[httpcore.ConnectionPool]:
    with httpcore.ConnectionPool(client_tls_context) as pool:
        yield pool


# --- row 2: keep-alive probes ---


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", PROXIES)
def test_row_2_tcp_keepalive_is_on_behind_a_proxy(
    roads: Roads,
    origins: dict[str, LocalServer],
    pool: httpcore.ConnectionPool,
    kind: str,
    scheme: str,
) -> None:
    """Row 2: "SO_KEEPALIVE on with idle ≤ 60 s (read back by getsockopt)"."""
    response = pool.request("GET", origins[scheme].url, extensions={"proxy": roads.to(kind)})
    sock = response.extensions["network_stream"].get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
    if idle is not None:
        assert 0 < sock.getsockopt(socket.IPPROTO_TCP, idle) <= 60


# --- rows 9, 33 and 38: every handshake ends ---

each_stage = pytest.mark.parametrize(("stage", "kind", "secure"), STUCK_STAGES)


def stuck_proxy(
    serve: Serve, roads: Roads, stage: str, kind: str, secure: bool, context: ssl.SSLContext
) -> tuple[httpcore.Proxy, threading.Event]:
    handler: Any = stuck_at(stage)
    server = serve(handler, tls=context if secure else None)
    login = ("user", "secret") if stage == "socks login" else None
    proxy = httpcore.Proxy(
        f"{kind}://127.0.0.1:{server.port}",
        auth=login,
        ssl_context=roads.context if kind == "https" else None,
    )
    return proxy, handler.reached


@each_stage
@pytest.mark.parametrize("limit", ["total", "connect"])
def test_row_9_a_proxy_that_is_stuck(
    serve: Serve,
    roads: Roads,
    pool: httpcore.ConnectionPool,
    server_tls_context: ssl.SSLContext,
    stage: str,
    kind: str,
    secure: bool,
    limit: str,
) -> None:
    """Rows 9 and 38: "a stuck TLS handshake", "timeouts cover the handshake"; of each hop."""
    proxy, _ = stuck_proxy(serve, roads, stage, kind, secure, server_tls_context)
    start = time.monotonic()
    with pytest.raises(httpcore.ConnectTimeout) as caught:
        pool.request(
            "GET",
            "https://127.0.0.1:9/",
            extensions={"proxy": proxy, "timeout": {limit: 0.2}},
        )
    assert 0.15 < time.monotonic() - start < 0.5
    if stage != "origin's tls":
        assert isinstance(caught.value, ProxyConnectTimeout)
    assert pool.stats()["connections"] == 0


@each_stage
def test_row_33_in_a_handshake_with_a_proxy(
    serve: Serve,
    roads: Roads,
    pool: httpcore.ConnectionPool,
    server_tls_context: ssl.SSLContext,
    stage: str,
    kind: str,
    secure: bool,
) -> None:
    """Row 33: "While thread A blocks in connect, TLS, [...] thread B calls `close()`/`cancel()`:
    B returns < 50 ms, A raises < 100 ms"; on each road."""
    proxy, reached = stuck_proxy(serve, roads, stage, kind, secure, server_tls_context)
    token = httpcore.CancelToken()
    extensions = {"proxy": proxy, "cancel": token, "timeout": {"connect": PATIENCE}}
    doing = Doing(lambda: pool.request("GET", "https://127.0.0.1:9/", extensions=extensions))
    assert reached.wait(PATIENCE)
    failure = doing.end(token.cancel)
    assert isinstance(failure, Aborted), failure
    assert failure.phase == "not_sent"
    assert pool.stats()["connections"] == pool.stats()["waiting"] == 0


# --- row 19: credentials ---


@pytest.mark.parametrize("start", [*itertools.product(SCHEMES, ["direct", *PROXIES])], ids="-".join)
def test_row_19_each_hop_gets_its_own_credentials(
    roads: Roads,
    origins: dict[str, LocalServer],
    pool: httpcore.ConnectionPool,
    start: tuple[str, str],
) -> None:
    """Row 19: "For each of http/https origin x http/https/SOCKS proxy x each [...] pair: the
    origin's log never holds Proxy-Authorization, and a proxy only gets its own"."""
    for target in itertools.product(SCHEMES, ["direct", *PROXIES]):
        for scheme, kind in (start, target, start):
            extensions = {"proxy": roads.to(kind, f"for-{kind[:5]}")}
            response = pool.request("GET", origins[scheme].url + "/echo", extensions=extensions)
            assert response.status == 200
            assert b"Proxy-Auth" not in response.content
    for origin in origins.values():
        for request in origin.requests:
            assert request.header("proxy-authorization") is None
    for kind in ("http", "https"):
        proxy = roads.to(kind, f"for-{kind}")
        assert proxy is not None
        http = roads.servers[kind]
        assert isinstance(http, ProxyServer)
        for line in http.requests:
            assert (
                line.header(b"proxy-authorization") == dict(proxy.headers)[b"Proxy-Authorization"]
            )
    socks = roads.servers["socks"]
    assert isinstance(socks, SocksServer)
    for asked in socks.requests:
        assert asked.user in ("for-socks", None)
        assert asked.password in ("secret", None)


# --- row 20: a dead address of the proxy ---


@pytest.mark.parametrize("kind", ["direct", "http", "https", "socks5h"])
def test_row_20_a_dead_address_first(
    roads: Roads,
    origins: dict[str, LocalServer],
    client_tls_context: ssl.SSLContext,
    kind: str,
) -> None:
    """Row 20: "a host with a black-holed ::-address first and a live IPv4 connects in < 500 ms; no
    thread is started"; the origin, or the proxy on the way."""
    origin = origins["http"]
    port = origin.port if kind == "direct" else roads.servers[kind[:5]].port
    pool = httpcore.ConnectionPool(
        client_tls_context, resolver=lambda host, port, timeout: ["::1", "127.0.0.1"]
    )
    proxy = None
    if kind != "direct":
        context = client_tls_context if kind == "https" else None
        proxy = httpcore.Proxy(f"{kind}://example.test:{port}", ssl_context=context)
    me, started = threading.current_thread(), []
    start_thread = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if threading.current_thread() is me:
            started.append(thread.name)
        start_thread(thread)

    host = "example.test" if kind == "direct" else "127.0.0.1"
    with black_hole("::1", port), pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        begun = time.monotonic()
        response = pool.request("GET", f"http://{host}:{origin.port}/", extensions={"proxy": proxy})
        took = time.monotonic() - begun
    assert response.status == 200
    assert took < 0.5
    assert started == []


# --- row 36: TLS in TLS ---


def client_context(trusted: trustme.CA, cert: tls.ClientCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted.configure_trust(context)
    context.load_cert_chain(cert.cert, cert.key)
    return context


def test_row_36_each_hop_has_its_own_authority_and_certificate(tmp_path: Path) -> None:
    """Row 36: "https origin via https proxy, sync, with separate CA/cert for each hop", the
    client's certificate as well; "cert errors say which hop failed"."""
    cas = {"proxy": trustme.CA(), "origin": trustme.CA()}
    certs, seen = {}, []
    for hop, ca in cas.items():
        (tmp_path / hop).mkdir()
        certs[hop] = tls.write_client_cert(ca, tmp_path / hop, f"{hop}@example.test")

    class Noting(ProxyServer):
        def _converse(self, peer: Peer) -> None:
            seen.append(("proxy", str(peer.client_certificate)))
            super()._converse(peer)

    def origin(peer: Peer) -> None:
        seen.append(("origin", str(peer.client_certificate)))
        while peer.recv_request() is not None:
            peer.respond(200, b"ok")

    contexts = {hop: client_context(ca, certs[hop]) for hop, ca in cas.items()}
    bare = {}
    for hop, ca in cas.items():
        bare[hop] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ca.configure_trust(bare[hop])
    with ExitStack() as stack:
        both = {hop: tls.server_context(ca, ask_client=True) for hop, ca in cas.items()}
        proxy = stack.enter_context(Noting(tls=both["proxy"]))
        server = stack.enter_context(ScriptedServer(origin, tls=both["origin"]))

        def ask(to_origin: ssl.SSLContext, to_proxy: ssl.SSLContext) -> bytes:
            with httpcore.ConnectionPool(
                to_origin, proxy=httpcore.Proxy(proxy.url, ssl_context=to_proxy)
            ) as pool:
                response = pool.request("GET", server.url)
                assert pool.request("GET", server.url).status == 200  # and it is kept
                return response.content

        assert ask(contexts["origin"], contexts["proxy"]) == b"ok"
        (first, proxys), (second, origins) = seen
        assert (first, second) == ("proxy", "origin")
        assert "proxy@example.test" in proxys
        assert "origin@example.test" in origins
        assert server.accepted == proxy.accepted == 1

        # Untrusted, each in its turn; and the other's context in either place.
        with pytest.raises(httpcore.ProxyError, match=r"cannot reach the proxy https://127"):
            ask(contexts["origin"], contexts["origin"])
        with pytest.raises(httpcore.ConnectError, match=r"through the proxy https://127") as caught:
            ask(contexts["proxy"], contexts["proxy"])
        assert not isinstance(caught.value, httpcore.ProxyError)
        assert "certificate verify failed" in str(caught.value)
        # Without the client's certificate. TLS 1.3 tells it after the handshake: where the first
        # write comes to the end of the connection before a read comes to the alert, that is all
        # there is to tell. Which hop it was is told always.
        why = r"(?i)(certificate.required|EOF|closed|broken pipe|reset)"
        with pytest.raises(httpcore.ProxyError, match=why) as early:
            ask(contexts["origin"], bare["proxy"])
        assert f"the proxy {proxy.url}" in str(early.value)
        lost = (httpcore.NetworkError, httpcore.RemoteProtocolError)
        with pytest.raises(lost, match=why) as late:
            ask(bare["origin"], contexts["proxy"])
        assert not isinstance(late.value, httpcore.ProxyError)
        assert f"127.0.0.1:{server.port}" in httpcore.exceptions.explain(late.value)


# --- row 37: a refusal ---


@pytest.mark.parametrize("kind", ["http", "https"])
@pytest.mark.parametrize("status", [407, 403, 502])
def test_row_37_a_refused_tunnel(
    roads: Roads, pool: httpcore.ConnectionPool, kind: str, status: int
) -> None:
    """Row 37: "ProxyError has `.status`, `.headers`, `.body` of the proxy's reply"."""
    server: Any = roads.servers[kind]
    server.refusal = (
        b"HTTP/1.1 %d No\r\nX-Why: rules\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\n"
        b"not today" % status
    )
    with pytest.raises(httpcore.ProxyError) as caught:
        pool.request("GET", "https://origin.test/", extensions={"proxy": roads.to(kind)})
    assert caught.value.status == status
    assert (b"X-Why", b"rules") in caught.value.headers
    assert caught.value.body == b"not today"


@pytest.mark.parametrize("kind", ["http", "https"])
def test_row_37_a_hook_answers_a_digest_challenge(
    serve: Serve,
    tls_server: LocalServer,
    pool: httpcore.ConnectionPool,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    kind: str,
) -> None:
    """Row 37: "a hook can answer 407 (digest/negotiate) on the same connection"."""
    seen: list[tuple[int, bytes | None]] = []

    class Strict(ProxyServer):
        def _admits(self, request: Any) -> bool:
            given = request.header("proxy-authorization")
            seen.append((request.connection, given))
            return given is not None and f'response="{answer}"'.encode() in given

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    # RFC 7616 without qop: the nonce is fixed, so the answer is too.
    target = f"127.0.0.1:{tls_server.port}"
    answer = md5(f"{md5('user:r:secret')}:n:{md5(f'CONNECT:{target}')}")

    def hook(error: httpcore.ProxyError) -> dict[str, str] | None:
        assert error.status == 407
        assert any(name.lower() == b"proxy-authenticate" for name, _ in error.headers)
        return {
            "Proxy-Authorization": f'Digest username="user", realm="r", nonce="n", uri="{target}", '
            f'response="{answer}"'
        }

    with Strict(tls=server_tls_context if kind == "https" else None) as strict:
        context = client_tls_context if kind == "https" else None
        proxy = httpcore.Proxy(strict.url, ssl_context=context, on_challenge=hook)
        assert pool.request("GET", tls_server.url, extensions={"proxy": proxy}).status == 200
        assert strict.accepted == 1
        assert [connection for connection, _ in seen] == [1, 1]
        assert seen[0][1] is None
    for request in tls_server.requests:
        assert request.header("proxy-authorization") is None


# --- row 39: many proxies ---


def many_proxies(
    roads: Roads, origins: dict[str, LocalServer], context: ssl.SSLContext, count: int
) -> int:
    """Requests through `count` distinct proxy URLs; by how much the memory grew, in bytes."""
    kinds = itertools.cycle(["http", "http", "http", "socks5h", "https"])
    schemes = itertools.cycle(["http", "http", "https"])
    for origin in origins.values():
        origin._record = False
    before = len(leaks.sockets())
    with httpcore.ConnectionPool(context, max_connections=10) as pool:

        def ask(number: int) -> None:
            proxy = roads.to(next(kinds), f"user{number}")
            response = pool.request("GET", origins[next(schemes)].url, extensions={"proxy": proxy})
            assert response.status == 200

        for number in range(100):  # caches, arenas, imports
            ask(-number)
        gc.collect()
        start = resident()
        for number in range(count):
            ask(number)
            if number % 50 == 0:
                for each in roads.servers.values():
                    each.requests.clear()  # type: ignore[union-attr]
                # The servers' own ends close when they have seen ours close.
                assert all(
                    each.wait_for(lambda each=each: each.open <= 10)  # type: ignore[misc]
                    for each in roads.servers.values()
                )
                assert len(pool.connections) <= 10
                # The servers are here, too: our end, both ends at the proxy, the origin's, and
                # the listeners. One of ours that stayed open each time would be 50 by now.
                assert len(leaks.sockets()) - before <= 4 * 10 + 5
        gc.collect()
        grown = resident() - start
    assert pool.stats()["connections"] == 0
    return grown


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_row_39_many_proxies(
    roads: Roads, origins: dict[str, LocalServer], client_tls_context: ssl.SSLContext
) -> None:
    """Row 39: "10 000 distinct proxy URLs: fds ≤ max_connections, RSS growth < 10 MiB", for 500."""
    assert many_proxies(roads, origins, client_tls_context, 500) < 10 * 2**20


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_row_39_ten_thousand_proxies(
    roads: Roads, origins: dict[str, LocalServer], client_tls_context: ssl.SSLContext
) -> None:
    """Row 39: "10 000 distinct proxy URLs: fds ≤ max_connections, RSS growth < 10 MiB"."""
    assert many_proxies(roads, origins, client_tls_context, 10_000) < 10 * 2**20


def test_row_39_a_collected_pool_closes_its_sockets(
    roads: Roads, origins: dict[str, LocalServer], client_tls_context: ssl.SSLContext
) -> None:
    """Row 39: "a replaced or collected adapter closes its sockets"; its pool."""
    before = set(leaks.sockets())
    for kind in ["direct", *PROXIES]:
        for scheme in SCHEMES:
            pool = httpcore.ConnectionPool(client_tls_context, proxy=roads.to(kind))
            stream = pool.request("GET", origins[scheme].url).extensions["network_stream"]
            sock = stream.get_extra_info("socket")
            assert pool.stats()["idle"] == 1
            assert sock.fileno() >= 0
            fd = f"socket:[{_inode(sock)}]"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # it was not closed, and says so
                del pool, stream, sock
                gc.collect()
            assert fd not in leaks.sockets()
    for each in (*roads.servers.values(), *origins.values()):
        assert each.wait_for(lambda each=each: each.open == 0)  # type: ignore[misc]
    assert set(leaks.sockets()) <= before


def _inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


# --- row 47: bodies that were under way ---


def fails_in_the_middle(sizes: list[int]) -> Callable[[Peer], None]:
    """Reads a part of the first request and resets; answers the others with what came."""

    def handler(peer: Peer) -> None:
        request = peer.recv_request_head()
        assert request is not None
        if peer.number == 1:
            sizes.append(len(peer.recv_exactly(100_000)))
            peer.reset()
            return
        body = b"".join(peer.iter_body(request))
        peer.respond(200, hashlib.sha256(body).hexdigest().encode())

    return handler


RETRYING = httpcore.RetryConfig(backoff=0.0)
LARGE = 8_000_000  # bytes; more than the buffers of the system take


@pytest.mark.parametrize("real", [True, False], ids=["on disk", "in memory"])
def test_row_47_a_file_that_fails_in_the_middle(serve: Serve, tmp_path: Path, real: bool) -> None:
    """Row 47: "A file at offset 100 fails mid-send: the retry starts at 100"."""
    data = bytes(range(256)) * (LARGE // 256)
    path = tmp_path / "body"
    path.write_bytes(data)
    sizes: list[int] = []
    server = serve(fails_in_the_middle(sizes))
    with httpcore.ConnectionPool(retries=RETRYING) as pool:
        with path.open("rb") if real else io.BytesIO(data) as file:
            file.seek(100)
            response = pool.request("PUT", server.url, content=file)
    assert response.content.decode() == hashlib.sha256(data[100:]).hexdigest()
    assert sizes == [100_000]
    assert server.accepted == 2


def test_row_47_a_generator_that_fails_in_the_middle(serve: Serve) -> None:
    """Row 47: "a generator or an unseekable file is never re-sent and the first error is kept"."""
    sizes: list[int] = []
    server = serve(fails_in_the_middle(sizes))
    with httpcore.ConnectionPool(retries=RETRYING) as pool:
        with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)) as caught:
            pool.request("PUT", server.url, content=(bytes(65536) for _ in range(LARGE // 65536)))
        assert caught.value.phase == "maybe_processed"
        first: Any = caught.value
        if isinstance(first, httpcore.RemoteProtocolError):
            # The system had told of the reset while writing; after that the end is in order.
            first = first.__cause__
        assert isinstance(first, (httpcore.WriteError, httpcore.ReadError))
        assert isinstance(first.__cause__, OSError)
        assert pool.stats()["connections"] == 0
    assert server.accepted == 1


# --- row 49: connections that change hands ---


@pytest.mark.parametrize("together", [True, False], ids=["one packet", "two packets"])
@pytest.mark.parametrize("how", ["101", "CONNECT"])
@pytest.mark.parametrize("road", ["plain", "tls", "unix", "tls-unix", "http", "https", "socks5h"])
def test_row_49_a_connection_that_is_taken_over(
    serve: Serve,
    roads: Roads,
    pool: httpcore.ConnectionPool,
    server_tls_context: ssl.SSLContext,
    tmp_path: Path,
    road: str,
    how: str,
    together: bool,
) -> None:
    """Row 49: "101 or CONNECT with payload in the same packet, plain, TLS and unix:
    `network_stream` returns those bytes first, writes work, the pool forgets the connection"."""
    payload = b"first bytes"
    got: list[bytes] = []

    def handler(peer: Peer) -> None:
        request = peer.recv_request_head()
        assert request is not None
        answer = b"HTTP/1.1 200 Ok\r\n\r\n"
        if how == "101":
            answer = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        peer.send(answer + payload if together else answer)
        got.append(peer.recv_exactly(4))
        if not together:
            peer.send(payload)
        peer.send(b"later")
        peer.wait_closed()

    secure = road in ("tls", "tls-unix", "http", "https", "socks5h")
    uds = str(tmp_path / "s") if road.endswith("unix") else None
    server = serve(handler, tls=server_tls_context if secure else None, uds=uds)
    scheme = "https" if secure else "http"
    url = f"{scheme}://127.0.0.1/" if uds else server.url
    extensions: dict[str, Any] = {"timeout": {"read": PATIENCE}}
    if uds:
        extensions["uds"] = uds
    if road in PROXIES:
        extensions["proxy"] = roads.to(road)
    headers = {"Connection": "Upgrade", "Upgrade": "tcp"} if how == "101" else {}
    method = "GET"
    if how == "CONNECT":
        method = "CONNECT"
        extensions["target"] = b"elsewhere.test:443"
    with pool.stream(method, url, headers=headers, extensions=extensions) as response:
        assert response.status == (101 if how == "101" else 200)
        assert pool.stats()["connections"] == pool.stats()["waiting"] == 0
        stream = response.extensions["network_stream"]
        if together:
            assert stream.read(5, PATIENCE) == payload[:5]
            assert stream.read(1000, PATIENCE).startswith(payload[5:])
        stream.write(b"ping", PATIENCE)
        received = b""
        wanted = b"later" if together else payload + b"later"
        while len(received) < len(wanted):
            received += stream.read(1000, PATIENCE)
        assert received == wanted
    assert got == [b"ping"]
    assert server.wait_for(lambda: server.open == 0), "closing the response closes the connection"


# --- row 51: zones ---


@pytest.mark.parametrize("written", ["%25eth10", "%eth10"])
def test_row_51_a_zone_is_for_the_connect_alone(server: LocalServer, written: str) -> None:
    """Row 51: "`http://[fe80::1%25eth10]/` connects with scope id and sends `Host: [fe80::1]`"."""
    backend = Redirected(server.port)
    with httpcore.ConnectionPool(network_backend=backend) as pool:
        assert pool.request("GET", f"http://[fe80::1{written}]/").status == 200
        assert pool.request("GET", f"http://[fe80::1{written}]:8080/").status == 200
    assert backend.asked == [("fe80::1%eth10", 80), ("fe80::1%eth10", 8080)]
    hosts = [request.header("host") for request in server.requests]
    assert hosts == [b"[fe80::1]", b"[fe80::1]:8080"]


def link_local() -> str | None:
    """An address of this machine that needs a zone, with it."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        digits, *_, name = line.split()
        if digits.startswith("fe80"):
            groups = [digits[at : at + 4] for at in range(0, 32, 4)]
            return f"{':'.join(groups)}%{name}"
    return None


@pytest.mark.skipif(link_local() is None, reason="no interface has a link-local address")
def test_row_51_a_real_zone() -> None:
    """Row 51: "connects with scope id"."""
    address = link_local()
    assert address is not None
    with LocalServer(host="::") as server, httpcore.ConnectionPool() as pool:
        url = f"http://[{address.replace('%', '%25')}]:{server.port}/"
        assert pool.request("GET", url).status == 200
        host = address.partition("%")[0]
        assert server.requests[0].header("host") == f"[{host}]:{server.port}".encode()


# --- row 52: odd names ---


@pytest.mark.parametrize(
    "host", ["under_score.example.test", "r2---sn-abc.example.test", "xn--bcher-kva.example.test"]
)
def test_row_52_names_go_as_they_are_given(
    server_tls_context: ssl.SSLContext, ca: trustme.CA, host: str
) -> None:
    """Row 52: "ASCII hosts with `_`, `---` or `xn--` go to DNS, SNI and Host as given"."""
    asked: list[str] = []
    names: list[str | None] = []

    def resolver(name: str, port: int, timeout: float | None) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"]

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    # OpenSSL lets no wildcard stand for a label with an underscore.
    context.check_hostname = "_" not in host
    server_tls_context.sni_callback = lambda sock, name, _: names.append(name)
    try:
        with LocalServer(tls=server_tls_context) as server:
            with httpcore.ConnectionPool(context, resolver=resolver) as pool:
                assert pool.request("GET", f"https://{host}:{server.port}/").status == 200
            assert server.requests[0].header("host") == f"{host}:{server.port}".encode()
    finally:
        server_tls_context.sni_callback = None
    assert (asked, names) == ([host], [host])


@pytest.mark.parametrize(
    "host", ["under_score.test", "r2---sn-abc.test", "xn--bcher-kva.test", "xn--a-b_c---.test"]
)
def test_row_52_names_go_to_the_systems_look_up_as_they_are_given(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Row 52: "go to DNS [...] as given": a str, and Python's own IDNA codec, which
    the system's look-up applies to it, changes nothing."""
    asked: list[Any] = []
    ask_system = socket.getaddrinfo

    def getaddrinfo(name: Any, *arguments: Any) -> Any:
        asked.append(name)
        return ask_system("127.0.0.1", *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with httpcore.ConnectionPool() as pool:
        assert pool.request("GET", f"http://{host}:{server.port}/").status == 200
    assert asked == [host]
    assert host.encode("idna") == host.encode()
    assert server.requests[0].header("host") == f"{host}:{server.port}".encode()


@pytest.mark.parametrize("host", [".example.test", "a" * 64 + ".test", "a..test"])
@pytest.mark.parametrize("kind", ["direct", "http", "socks5h"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_row_52_names_that_cannot_be(
    roads: Roads, pool: httpcore.ConnectionPool, host: str, kind: str, scheme: str
) -> None:
    """Row 52: "leading-dot and 64-char labels raise InvalidURL"; in the core LocalProtocolError,
    before anything is opened, also where a proxy would have to look it up."""
    proxy = {"proxy": roads.to(kind)}
    for url in (
        f"{scheme}://{host}/",
        httpcore.URL(scheme=scheme, host=host, target="/"),  # as HTTPX hands it on
    ):
        if kind == "http" and scheme == "http" and not isinstance(url, str):
            continue  # the origin's name is only passed on there
        with pytest.raises(httpcore.LocalProtocolError, match="a part of no or too many"):
            pool.request("GET", url, extensions=proxy)
    assert all(server.accepted == 0 for server in roads.servers.values())


# --- row 53: the path on the wire ---


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", ["direct", *PROXIES])
@pytest.mark.parametrize("path", ["//a/../b%2Fc?x=%7E", "/%7e/./a;b=c//?", "/?a=b?c/../d&%zz"])
def test_row_53_the_path_is_the_path_given(
    roads: Roads,
    origins: dict[str, LocalServer],
    pool: httpcore.ConnectionPool,
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    scheme: str,
    kind: str,
    path: str,
) -> None:
    """Row 53: "`//a/../b%2Fc?x=%7E` reaches the server byte-equal direct, forwarded and
    tunnelled"."""
    seen: list[bytes] = []

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            seen.append(request.target)
            peer.respond(200, b"ok")

    server = serve(handler, tls=server_tls_context if scheme == "https" else None)
    response = pool.request("GET", server.url + path, extensions={"proxy": roads.to(kind)})
    assert response.status == 200
    assert seen == [path.encode()]
    if (kind, scheme) in (("http", "http"), ("https", "http")):
        proxy = roads.servers[kind]
        assert isinstance(proxy, ProxyServer)
        assert proxy.requests[0].line == b"GET %b HTTP/1.1" % (server.url + path).encode()
