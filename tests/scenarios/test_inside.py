"""What a pool, a response and a connection tell about themselves.

Owns: rows 32, 40 and 49 as far as they are about seeing inside; the other tests of 32 are in
`test_limits`, those of 49 in `test_routes` and `test_routes_requests`. Must not know: how the
figures are kept.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import requests

import httpcore
from httpcore._shared import pool_actions, pool_slots
from httpcore._sync import connection_pool
from httpcore_requests import HTTPAdapter
from tests.support import PATIENCE
from tests.support.calls import count
from tests.support.clients import with_trust_of
from tests.support.http2 import ServeH2
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve
from tests.support.threads import until


@contextmanager
def in_thread(job: Callable[[], object]) -> Iterator[threading.Thread]:
    """Runs beside the block; raises what the job raised."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            job()
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    yield thread
    thread.join(PATIENCE)
    assert not thread.is_alive(), "a thread hangs"
    if failures:
        raise failures[0]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`later(seconds)`: so much time has passed for the pool, which goes on from there."""
    offset = 0.0
    fake = SimpleNamespace(monotonic=lambda: time.monotonic() + offset, time=time.time)
    for module in (connection_pool, pool_actions, pool_slots):
        monkeypatch.setattr(module, "time", fake)

    def move(seconds: float) -> None:
        nonlocal offset
        offset += seconds

    return move


def held_for(text: str, what: str) -> float:
    """How long, in seconds, the error says that `what` is held."""
    found = re.search(re.escape(what) + r" \(for ([\d.e+]+) s\)", text)
    assert found, text
    return float(found[1])


# --- row 32: who holds the connections, and for how long ---


def test_row_32_for_how_long_the_holders_hold(
    server: LocalServer, later: Callable[[float], None]
) -> None:
    """Row 32: "a `pool` timeout raises an error that names the limit and the holders", and for how
    long: of equal ones the longest."""
    with httpcore.ConnectionPool(max_connections=3) as pool:
        slow = pool.request("GET", server.url + "/bytes/300000", stream=True)
        later(42.0)
        other = pool.request("GET", server.url + "/chunked/300000", stream=True)
        later(100.0)
        same = pool.request("GET", server.url + "/bytes/300000", stream=True)
        later(7.0)
        with pytest.raises(httpcore.PoolTimeout) as caught:
            pool.request("GET", server.url, extensions={"timeout": {"pool": 0.01}})
        text = str(caught.value)
        assert "the limit is max_connections=3, held by 2 x GET" in text
        assert held_for(text, f"2 x GET {server.url}/bytes/300000") == pytest.approx(149, abs=1)
        assert held_for(text, f"1 x GET {server.url}/chunked/300000") == pytest.approx(107, abs=1)
        for response in (slow, other, same):
            response.close()


def test_row_32_a_connection_that_is_being_opened_is_a_holder(
    black_hole: tuple[str, int], later: Callable[[float], None]
) -> None:
    """Row 32: "names the limit and the holders": nobody uses it yet, so it is named by its
    origin."""
    url = f"http://{black_hole[0]}:{black_hole[1]}/"
    cancel = httpcore.CancelToken()

    def hangs() -> None:
        with pytest.raises(httpcore.NetworkError):
            pool.request("GET", url, extensions={"cancel": cancel})

    with httpcore.ConnectionPool(max_connections=1) as pool, in_thread(hangs):
        until(lambda: pool.stats()["dialing"] == 1)
        later(5.0)
        with pytest.raises(httpcore.PoolTimeout) as caught:
            pool.request("GET", "http://other.test/", extensions={"timeout": {"pool": 0.01}})
        cancel.cancel()
    what = f"1 x {url[:-1]} (dialing)"
    assert held_for(str(caught.value), what) == pytest.approx(5, abs=1)


def test_row_32_requests_that_share_a_connection_are_counted(
    serve_h2: ServeH2, later: Callable[[float], None]
) -> None:
    """Row 32: "names the limit and the holders", over HTTP/2: the oldest request on the connection,
    and how many others there are."""
    server = serve_h2(settings={"max_concurrent_streams": 3})
    with httpcore.ConnectionPool(http1=False, http2=True, max_connections=1) as pool:
        pool.request("GET", server.url)  # the server's limit is known from here on
        held = []
        for number in range(3):
            url = f"{server.url}/bytes/{300_000 + number}"
            held.append(pool.request("GET", url, stream=True))
            later(10.0)
        with pytest.raises(httpcore.PoolTimeout) as caught:
            pool.request("GET", server.url, extensions={"timeout": {"pool": 0.01}})
        what = f"1 x GET {server.url}/bytes/300000 and 2 more on the same connection"
        assert held_for(str(caught.value), what) == pytest.approx(30, abs=1)
        for response in held:
            response.close()


def test_row_32_behind_a_proxy_the_holders_url_is_the_one_asked_for(
    proxy: ProxyServer, server: LocalServer
) -> None:
    """Row 32: "names the limit and the holders", without anybody's password."""
    through = httpcore.Proxy(f"http://me:s3cret@127.0.0.1:{proxy.port}")
    with httpcore.ConnectionPool(proxy=through, max_connections=1) as pool:
        with pool.stream("GET", server.url + "/bytes/300000"):
            with pytest.raises(httpcore.PoolTimeout) as caught:
                pool.request("GET", server.url, extensions={"timeout": {"pool": 0.01}})
    assert f"1 x GET {server.url}/bytes/300000 (for " in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_row_32_a_session_says_it_too(server: LocalServer, later: Callable[[float], None]) -> None:
    """Row 32: "an error that names the limit and the holders", through requests."""
    adapter = HTTPAdapter(max_connections=1, pool_timeout=0.01)
    with requests.Session() as session:
        session.mount("http://", adapter)
        with session.get(server.url + "/bytes/300000", stream=True):
            later(42.0)
            with pytest.raises(requests.ConnectionError) as caught:
                session.get(server.url)
    assert held_for(str(caught.value), f"{server.url}/bytes/300000") == pytest.approx(42, abs=1)


def test_row_32_who_waits_and_for_how_long(
    server: LocalServer, later: Callable[[float], None]
) -> None:
    """Row 32 before the timeout: `stats()` names the first 20 that wait, the oldest first."""
    with httpcore.ConnectionPool(max_connections=1) as pool:
        held = pool.request("GET", server.url + "/bytes/300000", stream=True)

        def wait(number: int) -> None:
            url = f"http://me:s3cret@127.0.0.1:{server.port}/status/{200 + number}"
            assert pool.request("POST", url, content=b"").status == 200 + number

        threads = [
            threading.Thread(target=wait, args=(number,), daemon=True) for number in range(25)
        ]
        for number, thread in enumerate(threads, start=1):
            thread.start()
            until(lambda number=number: pool.stats()["waiting"] == number)
            later(1.0)
        stats = pool.stats()
        assert stats["waiting"] == 25
        assert stats["routes"] == {
            f"http://127.0.0.1:{server.port}": {"active": 1, "idle": 0, "dialing": 0, "queued": 25}
        }
        waiting = stats["waiting_for"]
        assert [each["url"] for each in waiting] == [
            f"{server.url}/status/{200 + number}" for number in range(20)
        ]
        assert {each["method"] for each in waiting} == {"POST"}
        for place, each in enumerate(waiting):
            assert each["seconds"] == pytest.approx(25 - place, abs=2)
        assert "s3cret" not in repr(stats)
        held.close()
        for thread in threads:
            thread.join(PATIENCE)
        stats = pool.stats()
        assert (stats["waiting"], stats["waiting_for"], stats["active"]) == (0, [], 0)


# --- row 40: what each response and each pool tells ---


def facts_of(response: Any) -> tuple[Any, Any, bool]:
    """Of the core's response, or of one of requests."""
    if isinstance(response, httpcore.Response):
        found = response.extensions
        return found["timings"], found["connection"], found["reused"]
    return response.timings, response.connection_info, response.raw.reused


def check_facts(first: Any, second: Any, port: int, protocol: str, secure: bool) -> None:
    """`first` opened its connection, and `second` used it again."""
    for response, is_reused in ((first, False), (second, True)):
        timings, info, reused = facts_of(response)
        assert reused is is_reused
        opened = [timings.dns, timings.connect, timings.tls]
        assert [part is None for part in opened] == [is_reused, is_reused, is_reused or not secure]
        for part in (timings.queue, timings.send, timings.first_byte, timings.last_byte):
            assert 0.0 <= part <= timings.total
        assert info.protocol == protocol
        assert info.remote_address == ("127.0.0.1", port)
        assert info.local_address[0] == "127.0.0.1"
        assert info.alpn == ("h2" if protocol == "HTTP/2" else None)
        for part in (info.certificate, info.tls_version, info.cipher):
            assert bool(part) == secure


@pytest.mark.parametrize("road", ["http", "https", "http2"])
@pytest.mark.parametrize("door", ["core", "session"])
def test_row_40_each_response_says_how_it_came(
    server: LocalServer,
    tls_server: LocalServer,
    serve_h2: ServeH2,
    client_tls_context: ssl.SSLContext,
    door: str,
    road: str,
) -> None:
    """Row 40: "Each response gives queue wait, dns, connect, tls, send, ttfb, reused yes/no, remote
    address, ALPN, peer cert"."""
    origin: ScriptedServer = server if road == "http" else tls_server
    options: dict[str, Any] = {"ssl_context": client_tls_context}
    if road == "http2":
        origin = serve_h2(secure=True)
        options = {"ssl_context": with_trust_of(client_tls_context), "http2": True}
    protocol = "HTTP/2" if road == "http2" else "HTTP/1.1"
    with httpcore.ConnectionPool(**options) as pool, requests.Session() as session:
        session.mount("https://", HTTPAdapter(**options))
        session.mount("http://", HTTPAdapter())
        responses: list[Any] = []
        for _ in range(2):
            if door == "core":
                responses.append(pool.request("GET", origin.url + "/bytes/100000"))
            else:
                responses.append(session.get(origin.url + "/bytes/100000"))
    first, second = responses
    check_facts(first, second, origin.port, protocol, road != "http")


@pytest.mark.parametrize("door", ["core", "session"])
def test_row_40_a_full_pool_is_not_a_slow_server(
    serve: Serve, later: Callable[[float], None], door: str
) -> None:
    """Row 40: "Cannot tell a slow server from a full pool": the wait for a connection is `queue`,
    and nothing of it is in the others."""

    def answer(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/held":
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
                go.wait(PATIENCE)
                peer.send(b"ok")
            else:
                peer.respond(200, b"ok")

    server = serve(answer)
    go = server.event()
    found: list[Any] = []
    adapter = HTTPAdapter(max_connections=1)
    with closing(adapter), httpcore.ConnectionPool(max_connections=1) as core:
        session = requests.Session()
        session.mount("http://", adapter)
        pool = core if door == "core" else adapter.pool
        get: Any = session.get if door == "session" else lambda url: core.request("GET", url)
        held = pool.request("GET", server.url + "/held", stream=True)
        with in_thread(lambda: found.append(get(server.url))):
            until(lambda: pool.stats()["waiting"] == 1)
            later(30.0)
            go.set()
            held.read()
        [response] = found
        timings, _, reused = facts_of(response)
        assert timings.queue == pytest.approx(30, abs=5)
        assert reused and timings.connect is None


def test_row_40_the_trace_covers_the_pool(server: LocalServer, serve: Serve) -> None:
    """Row 40: "trace covers pool enqueue/assign/evict", through a session; each once, each with
    what it is about."""
    other = serve(lambda peer: peer.recv_request() and peer.respond(200, b"ok"))
    told: list[tuple[str, dict[str, Any]]] = []
    adapter = HTTPAdapter(
        max_connections=1, trace=lambda name, details: told.append((name, dict(details)))
    )
    with requests.Session() as session:
        session.mount("http://", adapter)
        held = session.get(server.url + "/bytes/300000", stream=True)
        del told[:]
        with in_thread(lambda: session.get(server.url)):
            until(lambda: adapter.pool.stats()["waiting"] == 1)
            assert len(held.content) == 300_000
        session.get(other.url)
        of_pool = [(name, details) for name, details in told if name.startswith("pool.")]
        assert [name for name, _ in of_pool] == [
            *("pool.enqueue", "pool.assign"),
            *("pool.evict", "pool.assign"),
        ]
        (_, enqueued), (_, assigned), (_, evicted), (_, last) = of_pool
        assert enqueued["route"] == server.url
        assert enqueued["request"] is assigned["request"]
        assert evicted["connection"] is assigned["connection"] is not last["connection"]


def test_row_40_what_a_pool_counts(server: LocalServer, serve: Serve, closed_port: int) -> None:
    """Row 40: "`pool.stats()`": by route, and in total; the same through a session."""

    def once(peer: Peer) -> None:
        if peer.recv_request() is not None:
            peer.respond(200, b"ok")
            peer.recv_request()  # and closes, without an answer

    dropping = serve(once)
    with requests.Session() as session:
        adapter = HTTPAdapter(max_connections=2, keepalive_expiry=None)
        session.mount("http://", adapter)
        pool = adapter.pool
        for _ in range(3):
            session.get(server.url)
        assert pool.stats()["totals"] == {
            "opened": 1, "reused": 2, "expired": 0, "evicted": 0, "replayed": 0, "failed": 0,
        }  # fmt: skip
        session.get(dropping.url)
        session.get(dropping.url)  # met a connection that died, and went to another
        totals = pool.stats()["totals"]
        assert (totals["opened"], totals["replayed"]) == (3, 1)
        with pytest.raises(requests.ConnectionError):
            session.get(f"http://127.0.0.1:{closed_port}/")
        totals = pool.stats()["totals"]
        assert (totals["failed"], totals["evicted"]) == (1, 1)
        assert pool.stats()["routes"].keys() <= {server.url, dropping.url}


def test_row_40_an_idle_connection_that_the_server_closed_has_expired(serve: Serve) -> None:
    """Row 40: "`pool.stats()`": found dead when it was taken; no request met it."""

    def answer(peer: Peer) -> None:
        if peer.recv_request() is not None:
            peer.respond(200, b"ok")

    server = serve(answer)
    with httpcore.ConnectionPool() as pool:
        for number in range(3):
            pool.request("GET", server.url)
            [connection] = pool.connections
            until(connection.has_expired)
            totals = pool.stats()["totals"]
            assert (totals["opened"], totals["expired"]) == (number + 1, number)
            assert totals["reused"] == totals["replayed"] == 0


@pytest.mark.parametrize("road", ["proxy", "tunnel", "unix"])
def test_row_40_routes_are_named_with_their_road(
    proxy: ProxyServer,
    server: LocalServer,
    tls_server: LocalServer,
    client_tls_context: ssl.SSLContext,
    tmp_path: Any,
    road: str,
) -> None:
    """Row 40: "`pool.stats()`": as text, without passwords."""
    through = httpcore.Proxy(f"http://me:s3cret@127.0.0.1:{proxy.port}")
    path = str(tmp_path / "s")
    urls = {"proxy": server.url, "tunnel": tls_server.url, "unix": "http://localhost/"}
    names = {
        "proxy": proxy.url,
        "tunnel": f"{tls_server.url} through {proxy.url}",
        "unix": f"http://localhost:80 at {path}",
    }
    extensions: dict[str, Any] = {"uds": path} if road == "unix" else {"proxy": through}
    with LocalServer(uds=path), httpcore.ConnectionPool(client_tls_context) as pool:
        assert pool.request("GET", urls[road], extensions=extensions).status == 200
        assert pool.stats()["routes"] == {
            names[road]: {"active": 0, "idle": 1, "dialing": 0, "queued": 0}
        }


def test_row_40_stats_are_cheap(serve: Serve) -> None:
    """Row 40: "`pool.stats()` is cheap": the calls it takes depend on the number of routes, not on
    that of connections and requests; and a request costs the same whether anybody looks."""

    def answer(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, b"ok")

    server = serve(answer)
    calls = {}
    with httpcore.ConnectionPool(max_connections=None) as pool:
        get = lambda: pool.request("GET", server.url)  # noqa: E731
        get()
        before = count(get).python.total()
        for number in (1, 40):
            held = [pool.request("GET", server.url, stream=True) for _ in range(number)]
            calls[number] = count(pool.stats).python.total()
            for response in held:
                response.close()
        assert count(get).python.total() == before
    assert calls[1] == calls[40] <= 30


# --- row 49: a connection that changes hands, seen from inside ---


def switch(peer: Peer) -> None:
    if peer.recv_request() is not None:
        peer.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nfirst")
        assert peer.recv_exactly(4) == b"ping"
        peer.send(b"later")
        peer.wait_closed()


UPGRADE = {"Host": "x", "Connection": "Upgrade", "Upgrade": "x"}


def talk(stream: Any) -> None:
    assert stream.read(100, PATIENCE) == b"first"
    stream.write(b"ping", PATIENCE)
    assert stream.read(100, PATIENCE) == b"later"


@pytest.mark.parametrize("secure", [False, True])
def test_row_49_an_upgrade_is_told_like_any_response(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    secure: bool,
) -> None:
    """Row 49: "the pool forgets the connection": it is no longer in its figures, and was neither
    evicted nor expired; the response has its timings and facts, and the trace sees its end."""
    server = serve(switch, tls=server_tls_context if secure else None)
    names: list[str] = []
    with httpcore.ConnectionPool(
        client_tls_context, trace=lambda name, details: names.append(name)
    ) as pool:
        with pool.stream("GET", server.url, headers=UPGRADE) as response:
            stats = pool.stats()
            assert (stats["connections"], stats["routes"]) == (0, {})
            talk(response.extensions["network_stream"])
            timings, info, reused = facts_of(response)
            assert (timings.last_byte, reused) == (None, False)
            assert timings.first_byte > 0.0 and timings.connect > 0.0
            assert info.remote_address == ("127.0.0.1", server.port)
            assert bool(info.certificate) == secure
            assert "http11.response_closed.started" not in names
        assert names[-2:] == ["http11.response_closed.started", "http11.response_closed.complete"]
        assert "pool.evict" not in names
        totals = pool.stats()["totals"]
        assert totals.pop("opened") == 1 and not any(totals.values())
    assert server.wait_for(lambda: server.open == 0)


def test_row_49_through_a_session_an_upgrade_has_its_facts(serve: Serve) -> None:
    """Row 49: "`r.raw.network_stream` returns those bytes first", and the response its facts."""
    server = serve(switch)
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter())
        response: Any = session.get(server.url, headers=UPGRADE, stream=True)
        talk(response.raw.network_stream)
        assert response.connection_info.remote_address == ("127.0.0.1", server.port)
        assert response.timings.first_byte > 0.0
        response.close()


@pytest.mark.parametrize("opened", [False, True], ids=["HTTPConnection", "HTTP11Connection"])
def test_row_49_on_a_connection_by_hand(serve: Serve, opened: bool) -> None:
    """Row 49: "101 [...] with payload in the same packet [...] returns those bytes first, writes
    work", on a connection of one's own: it is CLOSED to HTTP then."""
    server = serve(switch)
    origin = httpcore.URL(server.url).origin
    connection: Any = httpcore.HTTPConnection(origin)
    if opened:
        stream = httpcore.SyncBackend().connect_tcp("127.0.0.1", server.port)
        connection = httpcore.HTTP11Connection(origin, stream)
    with connection:
        with connection.stream("GET", server.url, headers=UPGRADE) as response:
            assert response.status == 101
            talk(response.extensions["network_stream"])
            assert not connection.is_available()
            with pytest.raises(httpcore.ConnectionNotAvailable):
                connection.request("GET", server.url)
    assert server.wait_for(lambda: server.open == 0)
