"""How long each phase of a request took, and what it came over: in the core and through requests.

Owns: the sums of `Timings` by a clock that only the network moves, and what `ConnectionInfo` knows
on each road. Must not know: how fast anything is.
"""

from __future__ import annotations

import copy
import gc
import pickle
import ssl
import time
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests

import httpcore
from httpcore._shared import pool_actions, pool_slots
from httpcore._sync import (
    connection,
    connection_pool,
    dialing,
    http2,
    http11,
    response_body,
)
from httpcore_requests import HTTPAdapter
from tests.support import PATIENCE
from tests.support.clients import with_trust_of
from tests.support.http2 import FrameServer, ServeH2
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import LocalServer, Peer, Serve

PHASES = ["queue", "dns", "connect", "tls", "send", "first_byte", "last_byte", "total"]


# --- how long it took, by a clock that only the network moves ---


class Slow(httpcore.NetworkBackend):
    """A network on which everything takes a certain time; seconds, all of them powers of two, so
    that sums are exact."""

    CONNECT, LOOK_UP, HANDSHAKE, WRITE, READ = 2.0, 0.5, 4.0, 8.0, 16.0

    def __init__(self, *reads: bytes, tells_lookup: bool = True) -> None:
        self.now = 1000.0
        self.reads = list(reads)
        self.tells_lookup = tells_lookup
        self.failures = 0

    def connect_tcp(self, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        self.now += self.CONNECT
        if self.failures:
            self.failures -= 1
            raise httpcore.ConnectError("no")
        return SlowStream(self)

    def connect_unix_socket(self, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        return self.connect_tcp()

    def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        self.now += 1.0
        return ["192.0.2.1"]

    def sleep(self, seconds: float) -> None:
        self.now += 64.0


class SlowStream(httpcore.NetworkStream):
    def __init__(self, network: Slow) -> None:
        self.network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.network.now += self.network.READ
        data = self.network.reads.pop(0)
        if len(data) > max_bytes:
            self.network.reads.insert(0, data[max_bytes:])
        return data[:max_bytes]

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.network.now += self.network.WRITE

    def start_tls(self, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        self.network.now += self.network.HANDSHAKE
        return self

    def close(self) -> None:
        pass

    def get_extra_info(self, info: str) -> Any:
        if info == "lookup_time" and self.network.tells_lookup:
            return self.network.LOOK_UP
        return None


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Slow]:
    def make(*reads: bytes, **options: Any) -> Slow:
        network = Slow(*reads, **options)
        fake = SimpleNamespace(monotonic=lambda: network.now, time=time.time)
        for module in (
            connection,
            dialing,
            connection_pool,
            pool_actions,
            pool_slots,
            http2,
            http11,
            response_body,
        ):
            monkeypatch.setattr(module, "time", fake)
        return network

    return make


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
WHOLE = HEAD + b"abc"


def told(response: httpcore.Response) -> dict[str, float | None]:
    timings = response.extensions["timings"]
    found: dict[str, float | None] = timings.as_dict()
    assert list(found) == PHASES
    assert [getattr(timings, name) for name in PHASES] == list(found.values())
    return found


def test_the_phases_of_a_request_follow_one_another(slow: Callable[..., Slow]) -> None:
    with httpcore.ConnectionPool(network_backend=slow(HEAD, b"a", b"bc")) as pool:
        first = pool.request("GET", "https://h/")
    assert told(first) == {
        "queue": 0.0,
        "dns": 0.5,
        "connect": 1.5,
        "tls": 4.0,
        "send": 8.0,
        "first_byte": 16.0,
        "last_byte": 32.0,
        "total": 62.0,
    }
    assert repr(first.extensions["timings"]) == (
        "<Timings [queue 0, dns 500, connect 1.5e+03, tls 4e+03, send 8e+03, first_byte 1.6e+04, "
        "last_byte 3.2e+04, total 6.2e+04 ms]>"
    )


def test_a_reused_connection_was_not_opened(slow: Callable[..., Slow]) -> None:
    with httpcore.ConnectionPool(network_backend=slow(WHOLE, WHOLE)) as pool:
        pool.request("GET", "https://h/")
        second = pool.request("GET", "https://h/")
    assert told(second) == {
        "queue": 0.0,
        "dns": None,
        "connect": None,
        "tls": None,
        "send": 8.0,
        "first_byte": 16.0,
        "last_byte": 0.0,
        "total": 24.0,
    }
    assert "connect" not in repr(second.extensions["timings"])


def test_what_is_not_over_is_none(slow: Callable[..., Slow]) -> None:
    with httpcore.ConnectionPool(network_backend=slow(HEAD, b"abc")) as pool:
        with pool.stream("GET", "http://h/") as response:
            assert told(response)["last_byte"] is None
            assert told(response)["total"] == 26.0
            response.read()
            assert told(response)["last_byte"] == 16.0
            assert told(response)["total"] == 42.0


def test_a_body_that_was_not_read_to_its_end_has_none(slow: Callable[..., Slow]) -> None:
    head = HEAD.replace(b"3", b"300000")
    with httpcore.ConnectionPool(network_backend=slow(head)) as pool:
        with pool.stream("GET", "http://h/") as response:
            pass
    assert told(response)["last_byte"] is None


def test_where_nobody_measured_the_look_up_it_is_part_of_connect(
    slow: Callable[..., Slow],
) -> None:
    with httpcore.ConnectionPool(network_backend=slow(WHOLE, tells_lookup=False)) as pool:
        response = pool.request("GET", "http://h/")
    assert (told(response)["dns"], told(response)["connect"]) == (None, 2.0)
    assert told(response)["tls"] is None


def test_a_unix_socket(slow: Callable[..., Slow]) -> None:
    with httpcore.ConnectionPool(network_backend=slow(WHOLE), uds="/s") as pool:
        response = pool.request("GET", "http://h/")
    assert (told(response)["dns"], told(response)["connect"]) == (None, 2.0)


def test_waiting_for_a_connection_is_queue(slow: Callable[..., Slow]) -> None:
    network = slow(HEAD, WHOLE)

    def trace(name: str, details: dict[str, Any]) -> None:
        if name == "pool.enqueue":
            network.now += 128.0
            held.close()  # another one is opened instead

    with httpcore.ConnectionPool(network_backend=network, max_connections=1, trace=trace) as pool:
        network.READ = 0.0
        held = pool.request("GET", "http://h/", stream=True)
        held.stream.reusable = False
        response = pool.request("GET", "http://h/")
    assert (told(response)["queue"], told(response)["connect"]) == (128.0, 1.5)
    assert told(response)["total"] == 128.0 + 2.0 + 8.0


def test_failed_attempts_and_the_waits_between_them_are_queue(slow: Callable[..., Slow]) -> None:
    network = slow(WHOLE)
    network.failures = 2
    with httpcore.ConnectionPool(network_backend=network, retries=2) as pool:
        response = pool.request("GET", "http://h/")
    assert told(response)["queue"] == 2 * network.CONNECT + 2 * 64.0
    assert told(response)["connect"] == 1.5
    assert told(response)["total"] == 132.0 + 2.0 + 8.0 + 16.0


def test_what_came_before_a_replay_is_queue(slow: Callable[..., Slow]) -> None:
    network = slow(WHOLE, b"", WHOLE)
    with httpcore.ConnectionPool(network_backend=network) as pool:
        pool.request("GET", "http://h/")
        response = pool.request("GET", "http://h/")
    assert told(response)["queue"] == network.WRITE + network.READ
    assert told(response)["connect"] == 1.5
    assert told(response)["first_byte"] == 16.0


def test_what_is_said_to_a_proxy_is_connect(slow: Callable[..., Slow]) -> None:
    network = slow(b"HTTP/1.1 200 OK\r\n\r\n", WHOLE)
    proxy = httpcore.Proxy("http://proxy/")
    with httpcore.ConnectionPool(network_backend=network, proxy=proxy) as pool:
        response = pool.request("GET", "https://h/")
    assert told(response)["connect"] == 1.5 + network.WRITE + network.READ
    assert (told(response)["dns"], told(response)["tls"]) == (0.5, 4.0)


def test_both_handshakes_of_an_https_proxy_are_tls(slow: Callable[..., Slow]) -> None:
    network = slow(b"HTTP/1.1 200 OK\r\n\r\n", WHOLE)
    proxy = httpcore.Proxy("https://proxy/")
    with httpcore.ConnectionPool(network_backend=network, proxy=proxy) as pool:
        response = pool.request("GET", "https://h/")
    assert told(response)["tls"] == 8.0


def test_a_look_up_for_socks_is_dns(slow: Callable[..., Slow]) -> None:
    network = slow(b"\x05\x00", b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50", WHOLE)
    proxy = httpcore.Proxy("socks5://proxy/")
    with httpcore.ConnectionPool(network_backend=network, proxy=proxy) as pool:
        response = pool.request("GET", "http://h/")
    assert told(response)["dns"] == 0.5 + 1.0
    assert told(response)["tls"] is None


def test_a_connection_by_hand_has_them_too(slow: Callable[..., Slow]) -> None:
    origin = httpcore.URL("https://h/").origin
    with httpcore.HTTPConnection(origin, network_backend=slow(WHOLE, WHOLE)) as one:
        first, second = (one.request("GET", "https://h/") for _ in range(2))
    assert told(first) | {"total": 0} == {
        "queue": 0.0,
        "dns": 0.5,
        "connect": 1.5,
        "tls": 4.0,
        "send": 8.0,
        "first_byte": 16.0,
        "last_byte": 0.0,
        "total": 0,
    }
    assert told(first)["total"] == 30.0
    assert told(second)["connect"] is None and told(second)["total"] == 24.0
    stream = SlowStream(slow(WHOLE))
    with httpcore.HTTP11Connection(origin, stream) as opened:
        assert told(opened.request("GET", "https://h/"))["connect"] is None


@pytest.mark.parametrize("secure", [False, True])
def test_http2(serve_h2: ServeH2, client_tls_context: ssl.SSLContext, secure: bool) -> None:
    """By the real clock: what there has to be, that it adds up, and that sharing opens nothing."""
    server = serve_h2(secure=secure)
    context = with_trust_of(client_tls_context) if secure else None
    with httpcore.ConnectionPool(context, http1=False, http2=True) as pool:
        first = pool.request("GET", server.url + "/bytes/200000")
        with pool.stream("GET", server.url + "/bytes/3000000"):
            second = pool.request("GET", server.url)
    found = told(first)
    assert (found["tls"] is not None) == secure
    assert all(found[name] is not None for name in PHASES if name != "tls")
    parts = sum(found[name] or 0.0 for name in PHASES if name != "total")
    assert found["total"] == pytest.approx(parts, abs=0.05)
    assert told(second)["dns"] is told(second)["connect"] is told(second)["tls"] is None
    assert min(value for value in found.values() if value is not None) >= 0.0


# --- what it came over ---


def test_a_plain_connection(server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        response = pool.request("GET", server.url)
        stream = response.extensions["network_stream"]
        ours = stream.get_extra_info("client_addr")
        again = pool.request("GET", server.url)
    info = response.extensions["connection"]
    assert (info.protocol, info.remote_address) == ("HTTP/1.1", ("127.0.0.1", server.port))
    assert info.local_address == ours
    assert info.alpn is info.tls_version is info.cipher is info.certificate is None
    assert repr(info) == f"<ConnectionInfo [HTTP/1.1, to 127.0.0.1:{server.port}]>"
    assert again.extensions["connection"] is info, "of the connection, not of the response"


def test_a_tls_connection(tls_server: LocalServer, client_tls_context: ssl.SSLContext) -> None:
    context = with_trust_of(client_tls_context)
    context.set_alpn_protocols(["http/1.1"])
    with httpcore.ConnectionPool(context) as pool:
        with pool.stream("GET", tls_server.url + "/bytes/300000") as response:
            tls = response.extensions["network_stream"].get_extra_info("ssl_object")
            expected = tls.version(), tls.cipher()[0], tls.getpeercert(True)
            tls_fields = tls.getpeercert()
    info = response.extensions["connection"]
    assert (info.tls_version, info.cipher, info.certificate) == expected
    assert info.alpn == "http/1.1"
    assert b"trustme" in info.certificate.lower()
    fields = dict(part for parts in tls_fields["issuer"] for part in parts)
    assert (info.verified, info.issuer) == (True, fields["organizationName"])
    assert info.subject == fields["organizationName"], "trustme's, too, has one and no common name"
    told = info.expires.strftime("%b %d %H:%M:%S %Y GMT").replace(" 0", "  ", 1)
    assert told == tls_fields["notAfter"]
    assert f"{info.tls_version} {info.cipher}]" in repr(info)


def test_an_http2_connection(serve_h2: ServeH2, client_tls_context: ssl.SSLContext) -> None:
    server: FrameServer = serve_h2(secure=True)
    with httpcore.ConnectionPool(with_trust_of(client_tls_context), http2=True) as pool:
        info = pool.request("GET", server.url).extensions["connection"]
    assert (info.protocol, info.alpn) == ("HTTP/2", "h2")
    assert info.remote_address == ("127.0.0.1", server.port)
    assert info.certificate and info.tls_version == "TLSv1.3"


def test_a_unix_socket_has_a_path(tmp_path: Any) -> None:
    path = str(tmp_path / "s")
    with LocalServer(uds=path), httpcore.ConnectionPool(uds=path) as pool:
        info = pool.request("GET", "http://localhost/").extensions["connection"]
    assert info.remote_address == path
    assert repr(info) == f"<ConnectionInfo [HTTP/1.1, to {path}]>"


def test_an_address_of_ipv6_is_shown_in_brackets() -> None:
    stream = SimpleNamespace(get_extra_info={"server_addr": ("::1", 80, 0, 0)}.get)
    info = httpcore.HTTP11Connection(httpcore.URL("http://h/").origin, stream).facts  # type: ignore[arg-type]
    assert repr(info) == "<ConnectionInfo [HTTP/1.1, to [::1]:80]>"


def test_behind_proxies_the_address_is_the_proxys(
    proxy: ProxyServer,
    socks: SocksServer,
    tls_server: LocalServer,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
) -> None:
    """The certificate is the server's, also where the proxy has one too."""
    with ProxyServer(tls=server_tls_context) as secure:
        for where in (proxy.url, f"socks5://{socks.address}", secure.url):
            through = httpcore.Proxy(where, ssl_context=client_tls_context)
            with httpcore.ConnectionPool(client_tls_context, proxy=through) as pool:
                info = pool.request("GET", tls_server.url).extensions["connection"]
            assert info.remote_address[1] == httpcore.URL(where).port
            assert info.local_address[0] == "127.0.0.1"
            assert info.tls_version and info.cipher and info.certificate
            assert info.alpn is None, "it was not offered"


def test_a_connection_that_ends_with_its_only_response(
    serve: Serve, server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext
) -> None:
    """It is closed before anybody can look at the response."""

    def answer(peer: Peer) -> None:
        if peer.recv_request() is not None:
            peer.respond(200, b"bye", [("Connection", "close")])

    server = serve(answer, tls=server_tls_context)
    with httpcore.ConnectionPool(client_tls_context) as pool:
        info = pool.request("GET", server.url).extensions["connection"]
        assert pool.stats()["connections"] == 0
    assert info.remote_address == ("127.0.0.1", server.port)
    assert info.local_address and info.tls_version and info.cipher and info.certificate


def test_a_server_that_resets_after_its_answer(serve: Serve) -> None:
    """As one does that wants no more of an upload. The socket has no peer any more by then."""

    def answer(peer: Peer) -> None:
        if peer.recv_request() is not None:
            peer.respond(200, b"bye", [("Connection", "close")])
            peer.reset()
            gone.set()

    def trace(name: str, details: dict[str, Any]) -> None:
        if name == "http11.receive_response_headers.started":
            assert gone.wait(PATIENCE)

    server = serve(answer)
    gone = server.event()
    with httpcore.ConnectionPool() as pool:
        try:
            response = pool.request("GET", server.url, extensions={"trace": trace})
        except httpcore.ReadError:
            pytest.skip("this system drops what came before a reset")
    assert response.extensions["connection"].remote_address == ("127.0.0.1", server.port)


def test_a_stream_that_tells_nothing() -> None:
    origin = httpcore.URL("http://h/").origin
    with httpcore.HTTP11Connection(origin, httpcore.MockStream([WHOLE])) as one:
        info = one.request("GET", "http://h/").extensions["connection"]
    assert info.protocol == "HTTP/1.1"
    assert info.local_address is info.remote_address is info.certificate is None
    assert repr(info) == "<ConnectionInfo [HTTP/1.1]>"


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ([("organizationName", "o"), ("commonName", "a\nb")], "a\nb"),
        ([("countryName", "DE"), ("organizationName", "o")], "o"),
        ([("countryName", "DE"), ("stateOrProvinceName", "B")], "DE, B"),
        ([], None),
    ],
)
def test_names_in_certificates(parts: list[tuple[str, str]], name: str | None) -> None:
    fields = {"subject": tuple((part,) for part in parts), "notAfter": "Jan  5 09:34:43 2068 GMT"}
    tls = SimpleNamespace(getpeercert=lambda binary=False: b"DER" if binary else fields)
    stream: Any = SimpleNamespace(get_extra_info={"ssl_object": tls}.get)
    info = httpcore.HTTP11Connection(httpcore.URL("https://h/").origin, stream).facts
    assert (info.subject, info.issuer, info.verified) == (name, None, True)
    assert info.expires is not None
    assert info.expires.isoformat() == "2068-01-05T09:34:43+00:00"


class Failing:
    """A TLS object whose connection is gone."""

    def version(self) -> str:
        raise OSError("gone")

    def getpeercert(self, binary_form: bool = False) -> bytes:
        raise ValueError("handshake not done yet")


def test_a_tls_object_that_fails_is_no_reason_to_fail() -> None:
    stream: Any = SimpleNamespace(get_extra_info={"ssl_object": Failing()}.get)
    info = httpcore.HTTP11Connection(httpcore.URL("https://h/").origin, stream).facts
    assert info.tls_version is info.certificate is info.alpn is info.cipher is None
    assert (info.verified, info.subject, info.issuer, info.expires) == (False, None, None, None)


# --- what is kept of a request keeps nothing else ---


def kept_of(pool: httpcore.ConnectionPool, site: Any, kind: str) -> tuple[Any, list[Any]]:
    """Something that a program may keep for long, and weak references to what it must let go."""
    payloads: list[Any] = []
    response = pool.request(
        "GET",
        site.url,
        extensions={"trace": lambda name, details: payloads.append((name, details))},
    )
    weak = [pool, response.stream]
    if kind != "trace":  # pool.assign hands it out
        weak += pool.connections
    if kind == "exception":
        path = "/hang" if type(site) is LocalServer else "/hold"
        with pytest.raises(httpcore.ReadTimeout) as caught:
            pool.request("GET", site.url + path, extensions={"timeout": {"read": 0.05}})
        each: BaseException | None = caught.value
        while each is not None:  # tracebacks have frames, and those have everything
            each.__traceback__ = None
            each = each.__cause__ or each.__context__
        payloads.append(caught.value)
        del caught, each
    kept = {
        "timings": lambda: response.extensions["timings"],
        "connection": lambda: response.extensions["connection"],
        "stats": pool.stats,
        "trace": lambda: payloads,
        "exception": lambda: payloads.pop(),
    }[kind]()
    return kept, [weakref.ref(each) for each in weak]


@pytest.mark.parametrize("kind", ["timings", "connection", "stats", "trace", "exception"])
@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_what_is_kept_keeps_neither_body_nor_pool(
    server: LocalServer, serve_h2: ServeH2, protocol: str, kind: str
) -> None:
    site = server if protocol == "http1" else serve_h2()
    with httpcore.ConnectionPool(http1=protocol == "http1", http2=protocol == "http2") as pool:
        kept, weak = kept_of(pool, site, kind)
    del pool
    gc.collect()
    assert [each() for each in weak if each() is not None] == []
    assert kept is not None


# --- through requests ---


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.verify = ca_bundle
        made.mount("http://", HTTPAdapter())
        made.mount("https://", HTTPAdapter(http2=True))
        yield made


def test_each_response_of_a_redirect_has_its_own(
    session: requests.Session, server: LocalServer
) -> None:
    response: Any = session.get(server.url + "/redirect/2")
    first, second = response.history
    assert first.timings.connect is not None and first.connection_info is not None
    assert second.timings.connect is response.timings.connect is None, "the connection was reused"
    assert len({id(each.timings) for each in (first, second, response)}) == 3
    assert first.connection_info is response.connection_info, "it was the same connection"
    for each in (first, second, response):
        assert each.timings.total == pytest.approx(
            sum(each.timings.as_dict()[name] or 0.0 for name in PHASES[:-1]), abs=0.05
        )
        assert each.connection_info.remote_address == ("127.0.0.1", server.port)
        assert each.elapsed.total_seconds() > 0
    assert [each.raw.reused for each in (first, second, response)] == [False, True, True]


def test_a_redirect_to_another_protocol(
    session: requests.Session, server: LocalServer, serve_h2: ServeH2
) -> None:
    secure: FrameServer = serve_h2(secure=True)
    response: Any = session.get(server.url + "/redirect-to", params={"url": secure.url})
    [first] = response.history
    assert (first.connection_info.protocol, first.connection_info.alpn) == ("HTTP/1.1", None)
    info = response.connection_info
    assert (info.protocol, info.alpn, info.tls_version) == ("HTTP/2", "h2", "TLSv1.3")
    assert info.certificate.startswith(b"\x30")
    assert first.timings.tls is None and response.timings.tls > 0.0


def test_a_streamed_response_has_a_last_byte_once_it_was_read(
    session: requests.Session, server: LocalServer
) -> None:
    response: Any = session.get(server.url + "/bytes/3000000", stream=True)
    assert response.timings.last_byte is None
    assert len(response.content) == 3_000_000
    assert response.timings.last_byte > 0.0


def test_they_are_read_only(session: requests.Session, server: LocalServer) -> None:
    response: Any = session.get(server.url)
    for name in ("timings", "connection_info"):
        with pytest.raises(AttributeError):
            setattr(response, name, None)


def test_a_response_that_did_not_come_from_us(
    session: requests.Session, server: LocalServer
) -> None:
    """Copies and pickles are plain responses of requests; one whose `raw` was replaced has none."""
    response: Any = session.get(server.url)
    for plain in (pickle.loads(pickle.dumps(response)), copy.copy(response)):
        assert type(plain) is requests.Response and plain.content == response.content
        assert not hasattr(plain, "timings") and not hasattr(plain, "connection_info")
    response.raw = None
    assert response.timings is response.connection_info is None


def test_the_trace_of_an_adapter_has_each_event_once(server: LocalServer) -> None:
    """Those of the pool too: it is the pool's hook, not one that is sent with each request."""
    names: list[str] = []
    with requests.Session() as made:
        made.mount("http://", HTTPAdapter(trace=lambda name, details: names.append(name)))
        made.get(server.url)
        first = list(names)
        assert len(set(first)) == len(first) and "pool.assign" in first
        assert "connection.connect_tcp.complete" in first and "pool.evict" not in first
        del names[:]
        made.get(server.url)
        assert names == first[2:]
        del names[:]
    assert names == ["pool.evict"]


@pytest.mark.parametrize("trace", [5, "print"])
def test_an_adapters_hook_has_to_be_callable(trace: Any) -> None:
    with pytest.raises(TypeError, match="trace must be callable, not"):
        HTTPAdapter(trace=trace)
