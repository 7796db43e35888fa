"""Recording real servers, and replaying them without a network.

Owns: `httpcore._testing.recording`, under a pool and under requests. Must not know: the format
and the matching in detail; that is `test_cassettes`.
"""

from __future__ import annotations

import os
import random
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

import httpcore
from httpcore._backends.interrupt import abort
from httpcore._testing.cassettes.exchange import CassetteError, NoRecordedAnswer
from httpcore_requests import HTTPAdapter
from tests.support import tls
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import LocalServer, Peer, Serve, closed_port, pattern


class Refusing(httpcore.NetworkBackend):
    """A network that is not there."""

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("there is no network")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.jsonl"


def record(path: Path, backend: httpcore.NetworkBackend | None = None, **options: Any) -> Any:
    return httpcore.RecordingBackend(backend, path, **options)


def both(path: Path) -> Iterator[Any]:
    """What records, and then what replays it."""
    yield record(path)
    yield httpcore.ReplayBackend(path)


def session_on(backend: httpcore.NetworkBackend, **options: Any) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://", "http+unix://"):
        session.mount(scheme, HTTPAdapter(network_backend=backend, **options))
    return session


def pool_on(backend: httpcore.NetworkBackend, **options: Any) -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(network_backend=backend, **options)


def requests_in(path: Path) -> list[str]:
    """What was asked for, as "METHOD PATH"."""
    lines = [line for line in path.read_text().splitlines() if line.startswith('{"request"')]
    pairs = [line.removeprefix('{"request": "').removesuffix('"}').split(" ") for line in lines]
    return [
        f"{method} {'/' + url.split('/', 3)[3] if '/' in url else url}" for method, url in pairs
    ]


# --- the same again, without the server ---


def tour(session: requests.Session, url: str) -> list[Any]:
    """One of everything a server may do."""

    def answer(method: str, target: str, **options: Any) -> Any:
        try:
            response = session.request(method, url + target, timeout=10, **options)
        except requests.RequestException as exc:
            return type(exc), str(exc)
        headers = {k: v for k, v in response.headers.items() if k != "Set-Cookie"}
        return response.status_code, response.reason, response.url, headers, response.content

    return [
        answer("GET", "/"),
        answer("GET", "/echo", params={"q": "ä b", "p": ["1", "2"]}),
        answer("POST", "/upload", data=b"\x00\xff" * 1000),
        answer("POST", "/upload", data=(pattern(1000, at) for at in range(3))),
        answer("POST", "/upload", files={"f": ("name", b"content")}),
        answer("POST", "/upload", json={"a": ["ä", 1.5, None]}),
        answer("HEAD", "/bytes/1000"),
        answer("GET", "/bytes/300000"),
        answer("GET", "/chunked/100000?size=777"),
        answer("GET", "/close/5000"),
        answer("GET", "/gzip/5000"),
        answer("GET", "/deflate/5000"),
        answer("GET", "/status/204"),
        answer("GET", "/status/304"),
        answer("GET", "/status/500"),
        answer("GET", "/redirect/3"),
        answer("GET", "/cookies/set?a=1"),
        answer("GET", "/truncated/1000"),
        answer("GET", "/drop"),
        answer("GET", "/basic-auth/me/s3cret", auth=("me", "s3cret")),
    ]


@pytest.mark.parametrize("encrypted", [False, True])
def test_all_that_requests_can_do_is_replayed(
    path: Path, encrypted: bool, server_tls_context: ssl.SSLContext, ca_bundle: str
) -> None:
    with LocalServer(tls=server_tls_context if encrypted else None) as server:
        with session_on(record(path)) as session:
            session.verify = ca_bundle
            recorded = tour(session, server.url)
        url = server.url
    assert len(recorded) == 20 and sum(type(one[0]) is int for one in recorded) == 18
    text = path.read_bytes()
    assert b"Authorization: Basic [filtered]" in text and b"bWU6czNjcmV0" not in text
    backend = httpcore.ReplayBackend(path)
    with session_on(backend) as session:  # which trusts nobody that the server has shown
        assert tour(session, url) == recorded
    assert backend.unused == []


def test_the_answers_are_those_of_the_order_in_which_they_came(
    path: Path, server: LocalServer
) -> None:
    with pool_on(record(path)) as pool:
        first = [pool.request("GET", server.url + "/").headers for _ in range(3)]
    with pool_on(httpcore.ReplayBackend(path)) as pool:
        assert [pool.request("GET", server.url + "/").headers for _ in range(3)] == first
        with pytest.raises(NoRecordedAnswer, match="was given as an answer already"):
            pool.request("GET", server.url + "/")
        assert pool.connections == []


def test_many_threads(path: Path, server: LocalServer) -> None:
    """More requests at a time than connections, all through one cassette."""
    sizes = list(range(200))

    def sizes_got(pool: httpcore.ConnectionPool) -> list[int]:
        def size(number: int) -> int:
            return len(pool.request("GET", f"{server.url}/bytes/{number}").content)

        with ThreadPoolExecutor(8) as threads:
            return list(threads.map(size, sizes))

    with pool_on(record(path), max_connections=4) as pool:
        assert sizes_got(pool) == sizes
    assert server.accepted == 4 and len(requests_in(path)) == 200
    backend = httpcore.ReplayBackend(path)
    with pool_on(backend, max_connections=4) as pool:
        assert sizes_got(pool) == sizes
    assert backend.unused == []


def test_keep_alive_is_kept(path: Path, server: LocalServer) -> None:
    for backend in both(path):
        with pool_on(backend) as pool:
            reused = [
                pool.request("GET", f"{server.url}/bytes/{n}").extensions["reused"]
                for n in range(3)
            ]
            assert reused == [False, True, True]
            assert len(pool.connections) == 1
    assert server.accepted == 1


def test_requests_finds_no_answer(path: Path, server: LocalServer) -> None:
    with session_on(record(path)) as session:
        session.get(server.url + "/bytes/1")
    with session_on(httpcore.ReplayBackend(path)) as session:
        with pytest.raises(requests.ConnectionError) as caught:
            session.get(server.url + "/bytes/2")
    text = str(caught.value)
    assert f"{path} has no answer for GET {server.url}/bytes/2" in text
    assert f"the nearest, in line 2, is GET {server.url}/bytes/1" in text


def test_a_retried_request_does_not_wait_when_it_is_replayed(
    path: Path, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class Counting(httpcore.SyncBackend):
        def sleep(self, seconds: float) -> None:
            waits.append(seconds)

    config = httpcore.RetryConfig(statuses={503})
    with pool_on(record(path, Counting()), retries=config) as pool:
        assert pool.request("GET", server.url + "/status/503").status == 503
    count = len(requests_in(path))
    assert count > 1 and len(waits) == count - 1
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits"))
    backend = httpcore.ReplayBackend(path)
    with pool_on(backend, retries=config) as pool:
        assert pool.request("GET", server.url + "/status/503").status == 503
    assert backend.unused == []


# --- roads ---


def test_recorded_through_proxies_and_replayed_without(
    path: Path, tls_server: LocalServer, server: LocalServer, proxy: ProxyServer, ca_bundle: str
) -> None:
    through = {"http": proxy.url, "https": proxy.url}
    urls = [server.url + "/bytes/10", tls_server.url + "/bytes/20"]
    with session_on(record(path)) as session:
        sizes = [len(session.get(u, proxies=through, verify=ca_bundle).content) for u in urls]
    assert sizes == [10, 20] and proxy.tunnels == 1
    assert requests_in(path) == ["GET /bytes/10", "GET /bytes/20"]
    nobody = {"http": f"http://127.0.0.1:{closed_port()}"}
    nobody["https"] = nobody["http"]
    for proxies in ({}, through, nobody):
        with session_on(httpcore.ReplayBackend(path)) as session:
            assert [len(session.get(u, proxies=proxies).content) for u in urls] == [10, 20]
    assert proxy.tunnels == 1


def test_a_refusing_proxy_refuses_again(path: Path, proxy: ProxyServer) -> None:
    proxy.credentials = ("me", "right")
    wrong = httpcore.Proxy(proxy.url, auth=("me", "wr0ng"))
    for backend in both(path):
        with pool_on(backend, proxy=wrong) as pool:
            with pytest.raises(httpcore.ProxyError) as caught:
                pool.request("GET", "https://origin.test/")
            assert (caught.value.status, caught.value.body) == (407, b"who are you?")
    assert requests_in(path) == ["CONNECT origin.test:443"]
    assert "wr0ng" not in path.read_text() and "bWU6" not in path.read_text()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "socks4a"])
def test_through_socks_proxies(
    path: Path, scheme: str, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    url = f"https://localhost:{tls_server.port}/bytes/10"
    with SocksServer() as socks:
        auth = ("me", "s3cret")
        socks.credentials = auth if scheme in ("socks5", "socks5h") else None
        way = httpcore.Proxy(f"{scheme}://{socks.address}", auth=auth)
        with pool_on(record(path), ssl_context=client_tls_context, proxy=way) as pool:
            assert len(pool.request("GET", url).content) == 10
    assert requests_in(path) == ["GET /bytes/10"] and "s3cret" not in path.read_text()
    for proxy in (None, way):
        with pool_on(httpcore.ReplayBackend(path), proxy=proxy) as pool:
            assert len(pool.request("GET", url).content) == 10


def test_through_an_https_proxy(
    path: Path,
    server: LocalServer,
    tls_server: LocalServer,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
) -> None:
    urls = [server.url + "/bytes/1", tls_server.url + "/bytes/2"]
    with ProxyServer(tls=server_tls_context) as proxy:
        way = httpcore.Proxy(proxy.url, ssl_context=client_tls_context)
        with pool_on(record(path), ssl_context=client_tls_context, proxy=way) as pool:
            assert [len(pool.request("GET", url).content) for url in urls] == [1, 2]
    text = path.read_text()
    assert f'"GET {server.url}/bytes/1"' in text and f'"GET {tls_server.url}/bytes/2"' in text
    for proxy_ in (None, way):
        with pool_on(httpcore.ReplayBackend(path), proxy=proxy_) as pool:
            assert [len(pool.request("GET", url).content) for url in urls] == [1, 2]


def test_unix_sockets(path: Path, tmp_path: Path) -> None:
    uds = str(tmp_path / "s")
    url = f"http+unix://{uds.replace('/', '%2F')}/bytes/7"
    with LocalServer(uds=uds):
        for mode in ("record", "new"):
            with session_on(record(path, mode=mode)) as session:
                assert len(session.get(url).content) == 7
    assert f'"GET {url}"' in path.read_text() and len(requests_in(path)) == 1
    with session_on(httpcore.ReplayBackend(path)) as session:
        assert len(session.get(url).content) == 7
        with pytest.raises(requests.ConnectionError, match="has no answer for"):
            session.get(url.replace("%2Fs/", "%2Fother/"))


def test_addresses_by_ipv6(path: Path) -> None:
    backend = record(path, httpcore.MockBackend([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]))
    with pool_on(backend) as pool:
        pool.request("GET", "http://[::1]:8080/")
    assert '"GET http://[::1]:8080/"' in path.read_text()


# --- what is odd about HTTP ---


def upgrade(pool: httpcore.ConnectionPool, url: str) -> list[bytes]:
    headers = [("Connection", "upgrade"), ("Upgrade", "x")]
    with pool.stream("GET", url, headers=headers) as response:
        assert response.status == 101
        stream = response.extensions["network_stream"]
        got = [stream.read(2)]
        stream.write(b"\x00ping")
        got.append(stream.read(100))
        got.append(stream.read(100))
        stream.close()
    return got


def switch(peer: Peer) -> None:
    peer.recv_request()
    peer.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhi")
    assert peer.recv_exactly(5) == b"\x00ping"
    peer.send(b"\x00pong")


@pytest.mark.parametrize("mode", ["record", "new"])
def test_an_upgraded_connection_is_recorded_as_it_is(path: Path, serve: Serve, mode: str) -> None:
    server = serve(switch)
    expected = [b"hi", b"\x00pong", b""]
    with pool_on(record(path, mode=mode)) as pool:
        assert upgrade(pool, server.url) == expected
    assert '{"raw": "sent", "base64": "AHBpbmc="}\n' in path.read_text()
    with pool_on(httpcore.ReplayBackend(path)) as pool:
        assert upgrade(pool, server.url) == expected


def test_an_upload_that_is_refused_before_its_end(path: Path, serve: Serve) -> None:
    def refuse(peer: Peer) -> None:
        peer.recv_request_head()
        peer.respond(413, b"too much")
        peer.wait_closed()

    server = serve(refuse)
    for backend in both(path):
        with pool_on(backend) as pool:
            body = (pattern(100_000, at) for at in range(200))
            response = pool.request("POST", server.url + "/", content=body)
            assert (response.status, response.content) == (413, b"too much")
    text = path.read_text()
    assert '{"stopped": true}' in text and len(text) < 20_000_000


@pytest.mark.parametrize("mode", ["record", "new"])
def test_a_client_that_asks_before_it_sends(path: Path, server: LocalServer, mode: str) -> None:
    def ask(backend: httpcore.NetworkBackend) -> None:
        with pool_on(backend) as pool:
            headers = [("Expect", "100-continue"), ("Content-Length", "5")]
            response = pool.request("POST", server.url + "/echo", headers=headers, content=b"hello")
            assert b'"body": "hello"' in response.content

    ask(record(path, mode=mode))
    assert '{"interim": "HTTP/1.1 100"}' in path.read_text()
    ask(httpcore.ReplayBackend(path))
    ask(record(path, Refusing(), mode="new"))


def test_a_server_that_is_too_slow_is_too_slow_again(path: Path, server: LocalServer) -> None:
    for backend in both(path):
        with session_on(backend) as session, pytest.raises(requests.ReadTimeout):
            session.get(server.url + "/hang", timeout=0.05)
    assert '{"end": "failed", "error": "ReadTimeout"' in path.read_text()


def test_a_response_that_is_closed_early(path: Path, server: LocalServer) -> None:
    with pool_on(record(path)) as pool:
        with pool.stream("GET", server.url + "/bytes/1000000") as response:
            piece = next(iter(response.stream))
    assert path.read_text().endswith('{"end": "left"}\n')
    with pool_on(httpcore.ReplayBackend(path)) as pool:
        with pool.stream("GET", server.url + "/bytes/1000000") as response:
            assert next(iter(response.stream)).startswith(piece[:1000])
        with pytest.raises(NoRecordedAnswer):
            pool.request("GET", server.url + "/bytes/1000000")
    with pool_on(httpcore.ReplayBackend(path)) as pool:
        with pytest.raises(CassetteError, match="the client closed the connection here"):
            pool.request("GET", server.url + "/bytes/1000000")


def test_a_malformed_answer_is_replayed_as_it_was(path: Path, serve: Serve) -> None:
    def answer(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nSet-Cookie : a=s3cret\r\nContent-Length: 2\r\n\r\nok")

    server = serve(answer)
    for backend in both(path):
        with pool_on(backend, parsing="lenient") as pool:
            assert [pool.request("GET", server.url + "/").content for _ in "12"] == [b"ok", b"ok"]
    assert "s3cret" not in path.read_text()
    with pool_on(httpcore.ReplayBackend(path), parsing="strict") as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            pool.request("GET", server.url + "/")


def test_a_connection_that_died_of_idleness_is_not_recorded(path: Path, serve: Serve) -> None:
    def answer_once(peer: Peer) -> None:
        peer.recv_request()
        peer.respond(200, b"ok")
        if peer.number == 1:
            peer.recv_request()  # and closes

    server = serve(answer_once)
    with pool_on(record(path)) as pool:
        for target in ("/1", "/2"):
            assert pool.request("GET", server.url + target).content == b"ok"
    assert requests_in(path) == ["GET /1", "GET /2"]
    with pool_on(httpcore.ReplayBackend(path)) as pool:
        for target in ("/1", "/2"):
            assert pool.request("GET", server.url + target).content == b"ok"


def test_a_tls_server_without_a_goodbye(
    path: Path, serve: Serve, server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext
) -> None:
    def cut(peer: Peer) -> None:
        peer.recv_request()
        peer.respond(200, b"all?", framing="close")
        peer.close(notify=False)

    server = serve(cut, tls=server_tls_context)
    for backend in both(path):
        with pool_on(backend, ssl_context=client_tls_context) as pool:
            with pool.stream("GET", server.url + "/") as response:
                assert response.read() == b"all?"
                assert response.stream.unclean_tls_eof
    assert path.read_text().endswith('{"end": "cut"}\n')


def test_a_request_that_another_thread_ends_is_not_recorded(
    path: Path, server: LocalServer
) -> None:
    with pool_on(record(path)) as pool:
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(pool.request, "GET", server.url + "/hang")
            assert server.wait_for(lambda: server.open == 1)
            while not server.requests:
                threading.Event().wait(0.001)
            pool.close()
            with pytest.raises(httpcore.NetworkError):
                waiting.result(10)
    assert requests_in(path) == []


def test_a_total_is_kept_while_recording(path: Path, server: LocalServer) -> None:
    timeout = {"timeout": {"total": 0.1}}
    with pool_on(record(path)) as pool:
        with pytest.raises(httpcore.ReadTimeout, match="total of"):
            pool.request("GET", server.url + "/drip/1000", extensions=timeout)


def whatever(rng: random.Random) -> tuple[bytes, bool]:
    """An answer that a server may give, or should not, and whether it closes after it."""
    body = rng.choice([b"", b"x", rng.randbytes(50), b'{"a": 1}\n' * 3, pattern(5000)])
    framing = rng.choice(["length", "chunked", "close", "malformed"])
    close = framing == "close" or rng.random() < 0.1
    head = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" if rng.random() < 0.1 else b""
    head += b"HTTP/1.1 %d %b\r\n" % (rng.choice([200, 200, 404]), rng.choice([b"OK", b""]))
    data = body
    if framing == "chunked":
        size = rng.randrange(1, 2000)
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        data += rng.choice([b"0\r\n\r\n", b"0\r\nT: u\r\n\r\n", b"0\r\n"])
        close = close or data.endswith(b"0\r\n")
        head += b"Transfer-Encoding: chunked\r\n"
    elif framing != "close":
        head += b"Content-Length: %d\r\n" % len(body)
    head += b"bad line\r\n" if framing == "malformed" else b""
    wire = head + b"\r\n" + data
    if rng.random() < 0.15:
        return wire[: rng.randrange(len(wire))], True
    return wire, close


@pytest.mark.parametrize("parsing", ["strict", "lenient"])
@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_server_does_is_done_again(
    path: Path, serve: Serve, seed: int, parsing: str, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(seed)
    answers = [whatever(rng) for _ in range(8)]
    methods = [rng.choice(["GET", "GET", "POST"]) for _ in answers]

    def converse(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            wire, close = answers[int(request.path[1:])]
            for at in range(0, len(wire), 700):
                peer.send(wire[at : at + 700])
            if close:
                return

    def talk(backend: httpcore.NetworkBackend) -> list[Any]:
        seen: list[Any] = []
        with pool_on(backend, parsing=parsing) as pool:
            for number, method in enumerate(methods):
                try:
                    response = pool.request(method, f"{server.url}/{number}")
                except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
                    seen.append((type(exc), str(exc)))
                else:
                    facts = (response.status, response.headers, response.content)
                    seen.append((*facts, response.trailers, response.extensions["reason_phrase"]))
        return seen

    server = serve(converse)
    recorded = talk(record(path))
    server.stop()
    assert talk(httpcore.ReplayBackend(path)) == recorded
    assert talk(record(path, Refusing(), mode="new")) == recorded


# --- HTTP/2 ---


def test_http2_is_refused_by_its_handshake(
    path: Path, serve: Serve, ca: Any, client_tls_context: ssl.SSLContext
) -> None:
    context = tls.server_context(ca)
    context.set_alpn_protocols(["h2"])
    server = serve(lambda peer: peer.wait_closed(), tls=context)
    offering = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(offering)
    offering.set_alpn_protocols(["h2", "http/1.1"])
    backend = record(path)
    stream = backend.connect_tcp("localhost", server.port)
    with pytest.raises(CassetteError, match=r"localhost:\d+: HTTP/2 was offered and chosen"):
        stream.start_tls(offering, "localhost")
    assert not backend.speaks_http2 and not httpcore.ReplayBackend(path).speaks_http2


def answer_recorded(peer: Peer) -> None:
    while peer.recv_request() is not None:
        peer.respond(200, b"recorded")


def test_a_pool_with_http2_is_recorded_over_http11(
    path: Path, ca: Any, serve: Serve, client_tls_context: ssl.SSLContext
) -> None:
    context = tls.server_context(ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    server = serve(answer_recorded, tls=context)
    for backend in both(path):
        pool = httpcore.ConnectionPool(client_tls_context, http2=True, network_backend=backend)
        with pool:
            response = pool.request("GET", server.url)
            assert response.content == b"recorded"
            assert response.extensions["http_version"] == b"HTTP/1.1"
    assert server.accepted == 1
    only = httpcore.ConnectionPool(http1=False, http2=True, network_backend=record(path))
    with only, pytest.raises(httpcore.ConnectError, match=r"cannot carry HTTP/2, and http1=False"):
        only.request("GET", server.url)


def test_an_adapter_with_http2_is_recorded_over_http11(
    path: Path, ca: Any, serve: Serve, ca_bundle: str
) -> None:
    context = tls.server_context(ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    server = serve(answer_recorded, tls=context)
    for backend in both(path):
        with session_on(backend, http2=True) as session:
            response = session.get(server.url, verify=ca_bundle)
            assert (response.content, response.raw.version) == (b"recorded", 11)
    assert server.accepted == 1


def test_http2_is_refused_by_its_first_bytes(path: Path, server: LocalServer) -> None:
    for backend in both(path):
        stream = backend.connect_tcp("localhost", server.port)
        with pytest.raises(CassetteError, match=r"it is HTTP/2, and cassettes are of HTTP/1\.1"):
            stream.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        stream.close()


# --- mode "new" ---


def test_what_is_missing_is_added_and_the_rest_replayed(path: Path, server: LocalServer) -> None:
    targets = ["/bytes/1", "/bytes/2", "/chunked/3", "/bytes/4"]
    with pool_on(record(path)) as pool:
        pool.request("GET", server.url + targets[1])
    first = path.read_bytes()
    with pool_on(record(path, mode="new")) as pool:
        bodies = [pool.request("GET", server.url + target).content for target in targets]
        assert len(pool.connections) == 1
    assert bodies == [pattern(n) for n in (1, 2, 3, 4)]
    assert [one.path for one in server.requests] == [
        "/bytes/2",
        "/bytes/1",
        "/chunked/3",
        "/bytes/4",
    ]
    assert path.read_bytes().startswith(first)
    assert requests_in(path) == [f"GET {targets[n]}" for n in (1, 0, 2, 3)]
    with pool_on(record(path, Refusing(), mode="new")) as pool:  # complete: it needs no network
        assert [pool.request("GET", server.url + target).content for target in targets] == bodies


def test_new_over_tls(
    path: Path, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    for accepted in (1, 1, 2):
        with pool_on(record(path, mode="new"), ssl_context=client_tls_context) as pool:
            for number in range(accepted):
                response = pool.request("GET", f"{tls_server.url}/bytes/{number}")
                assert response.content == pattern(number)
                stream = response.extensions["network_stream"]
                tls_object = stream.get_extra_info("ssl_object")
                assert tls_object.selected_alpn_protocol() in ("http/1.1", None)
        assert tls_server.accepted == accepted
    assert requests_in(path) == ["GET /bytes/0", "GET /bytes/1"]


def test_new_fails_where_the_network_does(path: Path) -> None:
    with pool_on(record(path, Refusing(), mode="new")) as pool:
        with pytest.raises(httpcore.ConnectError, match="there is no network"):
            pool.request("GET", "http://example.com/")
    assert requests_in(path) == []


def test_new_through_a_proxy(
    path: Path, tls_server: LocalServer, proxy: ProxyServer, client_tls_context: ssl.SSLContext
) -> None:
    url = tls_server.url + "/bytes/"
    for _ in range(2):
        with pool_on(
            record(path, mode="new"),
            ssl_context=client_tls_context,
            proxy=httpcore.Proxy(proxy.url),
        ) as pool:
            sizes = [len(pool.request("GET", url + target).content) for target in "123"]
            assert sizes == [1, 2, 3]
    assert [one.path for one in tls_server.requests] == ["/bytes/1", "/bytes/2", "/bytes/3"]
    assert requests_in(path) == [f"GET /bytes/{n}" for n in "123"]


@pytest.mark.parametrize("scheme", ["socks5h", "socks4a"])
def test_new_through_a_socks_proxy(path: Path, server: LocalServer, scheme: str) -> None:
    with SocksServer() as socks:
        way = httpcore.Proxy(f"{scheme}://{socks.address}")
        for _ in range(2):
            with pool_on(record(path, mode="new"), proxy=way) as pool:
                assert len(pool.request("GET", server.url + "/bytes/9").content) == 9
    assert len(server.requests) == 1 and requests_in(path) == ["GET /bytes/9"]


def test_a_connection_that_died_meanwhile_is_opened_again(path: Path, server: LocalServer) -> None:
    with pool_on(record(path)) as pool:
        pool.request("GET", server.url + "/bytes/2")
    with pool_on(record(path, mode="new")) as pool:
        pool.request("GET", server.url + "/bytes/1")
        server.close_connections()
        assert server.wait_for(lambda: server.open == 0)
        pool.request("GET", server.url + "/bytes/2")  # from the cassette
        assert len(pool.request("GET", server.url + "/bytes/3").content) == 3
    assert requests_in(path) == ["GET /bytes/2", "GET /bytes/1", "GET /bytes/3"]


def test_a_dead_tunnel_is_not_used_again(
    path: Path, tls_server: LocalServer, proxy: ProxyServer, client_tls_context: ssl.SSLContext
) -> None:
    way = httpcore.Proxy(proxy.url)
    with pool_on(record(path, mode="new"), ssl_context=client_tls_context, proxy=way) as pool:
        pool.request("GET", tls_server.url + "/bytes/1")
        tls_server.close_connections()
        assert tls_server.wait_for(lambda: tls_server.open == 0)
        assert len(pool.request("GET", tls_server.url + "/bytes/2").content) == 2
    assert proxy.tunnels == 2


def test_new_after_a_crash_goes_on_where_it_was_whole(path: Path, server: LocalServer) -> None:
    with pool_on(record(path)) as pool:
        pool.request("GET", server.url + "/bytes/1")
    whole = path.read_bytes()
    for torn in (
        b'{"request": "GET http://a/"}\n{"header": "Ho',
        b'{"request": "GET http://a/"}\n',
    ):
        path.write_bytes(whole + torn)
        backend = record(path, mode="new")
        with pool_on(backend) as pool:
            pool.request("GET", server.url + "/bytes/1")
            pool.request("GET", server.url + "/bytes/2")
        assert path.read_bytes().startswith(whole + b'{"request": "GET ' + server.url.encode())
        assert requests_in(path) == ["GET /bytes/1", "GET /bytes/2"]
    path.write_bytes(whole.removesuffix(b"\n"))  # an editor without line ends
    with pool_on(record(path, mode="new")) as pool:
        pool.request("GET", server.url + "/bytes/2")
    assert requests_in(path) == ["GET /bytes/1", "GET /bytes/2"]


def test_lines_of_what_was_added_are_counted(path: Path, server: LocalServer) -> None:
    backend = record(path, mode="new")
    with pool_on(backend) as pool:
        pool.request("GET", server.url + "/bytes/1")
        pool.request("GET", server.url + "/bytes/2")
        lines = path.read_text().splitlines()
        found = [n for n, line in enumerate(lines, 1) if line.startswith('{"request"')]
        assert [exchange.line for exchange in backend._cassette_file.cassette.exchanges] == found


def test_what_is_new_was_not_asked_for_before(path: Path, server: LocalServer) -> None:
    """In one run the same request goes to the network as often as it is made; with repeat once."""
    for repeat, count in ((False, 3), (True, 1)):
        path.unlink(missing_ok=True)
        with pool_on(record(path, mode="new", repeat=repeat)) as pool:
            for _ in range(3):
                pool.request("GET", server.url + "/")
        assert len(requests_in(path)) == count


# --- what may go wrong with the file ---


@pytest.mark.parametrize("mode", ["record", "new"])
def test_a_path_that_cannot_be_written(tmp_path: Path, mode: str) -> None:
    for path, why in [
        (tmp_path / "none" / "c.jsonl", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ]:
        with pytest.raises(httpcore.ConnectError, match=why) as caught:
            record(path, mode=mode)
        assert str(path) in str(caught.value)
        assert isinstance(caught.value.__cause__, OSError)


def test_a_cassette_that_cannot_be_written_any_more(path: Path, server: LocalServer) -> None:
    backend = record(path)
    with pool_on(backend) as pool:
        pool.request("GET", server.url + "/")
        path.unlink()
        path.mkdir()
        for _ in range(2):  # and all that come after: half a cassette is none
            with pytest.raises(CassetteError, match="cannot write the cassette") as caught:
                pool.request("GET", server.url + "/")
    assert caught.value.phase == "maybe_processed"
    assert isinstance(caught.value.__cause__, OSError)
    assert len(server.requests) == 2
    with pytest.raises(CassetteError, match="cannot write the cassette"):
        backend.close()


def test_what_failed_while_closing_is_told_later(path: Path, server: LocalServer) -> None:
    """A pool says nothing about a stream that cannot be closed, so the next connect does."""
    backend = record(path)
    with pool_on(backend) as pool:
        with pool.stream("GET", server.url + "/bytes/1000000"):
            path.unlink()
            path.mkdir()
        with pytest.raises(CassetteError, match="cannot write the cassette"):
            pool.request("GET", server.url + "/")
    with pytest.raises(CassetteError), backend:
        pass


def test_a_body_that_the_filters_cannot_look_into_is_an_error(path: Path, serve: Serve) -> None:
    def answer(peer: Peer) -> None:
        peer.recv_request()
        peer.respond(200, b"\x00packed", [("Content-Encoding", "br")])

    server = serve(answer)
    with session_on(record(path, filter_fields=["token"])) as session:
        with pytest.raises(requests.ConnectionError, match="Content-Encoding br"):
            session.get(server.url + "/")
    assert path.read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot read the cassette"),
        ("", "line 1: this is no cassette: the file is empty"),
        ('{"cassette": "httpcore", "version": 7}\n', "line 1: this cassette is of version 7"),
        ('{"cassette": "httpcore", "version": 1}\nx\n', "line 2: this is not a line of JSON"),
    ],
)
def test_a_cassette_that_cannot_be_read(path: Path, text: str | None, why: str) -> None:
    if text is not None:
        path.write_text(text)
    backends: list[Callable[[], Any]] = [lambda: httpcore.ReplayBackend(path)]
    if text is not None:
        backends.append(lambda: record(path, mode="new"))
    for make in backends:
        with pytest.raises(httpcore.ConnectError) as caught:
            make()
        assert str(path) in str(caught.value) and why in str(caught.value)
        assert path.exists() == (text is not None) and (text is None or path.read_text() == text)


def test_a_crash_leaves_what_was_recorded(path: Path, server: LocalServer) -> None:
    code = (
        "import os, sys, httpcore\n"
        "backend = httpcore.RecordingBackend(None, sys.argv[1])\n"
        "pool = httpcore.ConnectionPool(network_backend=backend)\n"
        "for n in range(3): pool.request('GET', sys.argv[2] + f'/bytes/{n}')\n"
        "stream = pool.stream('GET', sys.argv[2] + '/bytes/1000000')\n"
        "stream.__enter__()\n"
        "os._exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path), server.url], timeout=30)
    assert done.returncode == 7
    assert requests_in(path) == [f"GET /bytes/{n}" for n in range(3)]
    with pool_on(httpcore.ReplayBackend(path)) as pool:
        assert [len(pool.request("GET", f"{server.url}/bytes/{n}").content) for n in range(3)] == [
            *range(3)
        ]


def test_record_begins_anew(path: Path, server: LocalServer) -> None:
    for number in range(2):
        with record(path) as backend, pool_on(backend) as pool:
            pool.request("GET", f"{server.url}/bytes/{number}")
    assert requests_in(path) == ["GET /bytes/1"]


# --- the backends themselves ---


def test_arguments_that_cannot_be(path: Path) -> None:
    with pytest.raises(ValueError, match="mode must be 'record' or 'new', not 'append'"):
        record(path, mode="append")
    with pytest.raises(ValueError, match="match has 'uri'"):
        record(path, match=["uri"])
    with pytest.raises(TypeError, match="headers must be a list of names"):
        record(path, filter_headers="X-Key")
    assert not path.exists()


def test_a_closed_cassette_gives_no_connection_and_ends_those_it_gave(
    path: Path, server: LocalServer
) -> None:
    for make in (record, httpcore.ReplayBackend):
        with make(path) as backend, pool_on(backend) as pool:
            pool.request("GET", server.url + "/")
            stream = backend.connect_tcp("127.0.0.1", server.port)
            assert not stream.get_extra_info("is_readable")
            backend.close()
            assert stream.get_extra_info("is_readable")
            with pytest.raises(CassetteError, match="is closed: no connection is opened"):
                pool.request("GET", server.url + "/")
            stream.close()
    assert len(requests_in(path)) == 1


def test_nothing_is_written_after_close(path: Path, server: LocalServer) -> None:
    backend = record(path)
    with pool_on(backend) as pool, pool.stream("GET", server.url + "/bytes/1000000") as response:
        backend.close()
        assert len(response.read()) == 1000000
    assert requests_in(path) == []


def test_a_replayed_stream(path: Path) -> None:
    record(path)
    backend = httpcore.ReplayBackend(path)
    assert repr(backend) == f"<httpcore.ReplayBackend [{path}]>"
    assert repr(record(path)) == f"<httpcore.RecordingBackend [{path}]>"
    stream: Any = backend.connect_tcp("example.com", 443)
    assert stream.peer == "example.com:443" and stream.get_extra_info("ssl_object") is None
    assert stream.start_tls(ssl.create_default_context(), "example.com") is stream
    tls_object = stream.get_extra_info("ssl_object")
    facts = (tls_object.version(), tls_object.cipher(), tls_object.getpeercert(True))
    assert facts == (None, None, None) and stream.get_extra_info("socket") is None
    with pytest.raises(httpcore.ReadTimeout, match="nothing more was recorded"):
        stream.read(10, 0)
    assert not stream.get_extra_info("is_readable") and not stream.unclean_eof
    stream.close()
    assert stream.get_extra_info("is_readable")
    with pytest.raises(httpcore.ReadError, match="failed: it is closed"):
        stream.read(10)
    assert backend.resolve("example.com", 443) == ["example.com"]


def test_a_recorded_stream_is_the_one_inside(path: Path, server: LocalServer) -> None:
    backend = record(path)
    stream: Any = backend.connect_tcp("127.0.0.1", server.port)
    assert stream.peer == f"127.0.0.1:{server.port}"
    stream.peer = "the server"
    assert stream.stream.peer == "the server"
    assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
    stream.keep_session()
    stream.close()
    assert backend.resolve("127.0.0.1", 80) == ["127.0.0.1"]
    over: Any = record(path, httpcore.MockBackend([])).connect_tcp("a", 80)
    assert not hasattr(over, "peer") and over.write_until_readable is None
    over.keep_session()


def test_over_gives_the_same_cassette_another_network(path: Path, server: LocalServer) -> None:
    backend = record(path, Refusing())
    with pool_on(backend.over(httpcore.SyncBackend())) as pool:
        pool.request("GET", server.url + "/")
    assert requests_in(path) == ["GET /"]


def test_a_spliced_stream_that_was_not_needed_yet(path: Path, server: LocalServer) -> None:
    backend = record(path, mode="new")
    for end in ("close", "abort"):
        stream = backend.connect_tcp("127.0.0.1", server.port)
        assert stream.get_extra_info("socket") is None and not stream.unclean_eof
        abort(stream) if end == "abort" else stream.close()
        with pytest.raises(httpcore.ReadError, match="it is closed"):
            stream.read(1)
    stream = backend.connect_tcp("127.0.0.1", server.port)
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(1, 0)
    assert server.accepted == 0


def test_a_spliced_stream_can_be_aborted(path: Path, server: LocalServer) -> None:
    with pool_on(record(path, mode="new")) as pool:
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(pool.request, "GET", server.url + "/hang")
            assert server.wait_for(lambda: server.open == 1)
            while not server.requests:
                threading.Event().wait(0.001)
            pool.close()
            with pytest.raises(httpcore.NetworkError):
                waiting.result(10)
    assert requests_in(path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_the_lock_is_renewed_in_the_child_of_a_fork(path: Path) -> None:
    tape = record(path)._cassette_file
    held = tape.lock
    tape._renew_in_child()
    assert tape.lock is not held
