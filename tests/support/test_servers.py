"""The servers themselves, tried with stock clients and bare sockets."""

from __future__ import annotations

import hashlib
import http.client
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.leaks import LeakCheck
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve, pattern
from tests.support.tls import ClientCert


@pytest.fixture
def client(ca_bundle: str) -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(ca_certs=ca_bundle, retries=False) as manager:
        yield manager


def fetch(client: urllib3.PoolManager, url: str, method: str = "GET", **options: Any) -> Any:
    return client.request(method, url, **options)


def connect(server: ScriptedServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=5)


def test_pattern_windows_agree() -> None:
    whole = pattern(70_000)
    assert len(whole) == 70_000
    assert pattern(1000, 8_100) == whole[8_100:9_100]


def test_keeps_alive_and_counts(server: LocalServer, client: urllib3.PoolManager) -> None:
    first = fetch(client, server.url + "/")
    second = fetch(client, server.url + "/echo?a=1", "POST", body=b"x", headers={"A": "b"})
    assert first.headers["X-Connection"] == second.headers["X-Connection"] == "1"
    assert second.headers["X-Request"] == "2"
    assert second.json()["body"] == "x"
    assert server.accepted == 1
    assert [r.method for r in server.requests] == [b"GET", b"POST"]
    assert server.requests[1].header("a") == b"b"
    assert server.requests[1].query == [("a", "1")]


def test_tls(tls_server: LocalServer, client: urllib3.PoolManager) -> None:
    assert fetch(client, tls_server.url + "/bytes/100000").data == pattern(100_000)


def test_an_untrusted_ca_is_a_handshake_error(
    tls_server: LocalServer, client: urllib3.PoolManager
) -> None:
    context = ssl.create_default_context()
    raw = connect(tls_server)
    with raw, pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(raw, server_hostname="localhost")
    assert tls_server.wait_for(lambda: len(tls_server.handshake_errors) == 1)


def test_client_certificate(
    serve: Serve, mutual_tls_context: ssl.SSLContext, ca_bundle: str, client_cert: ClientCert
) -> None:
    seen = []

    def handler(peer: Peer) -> None:
        peer.recv_request()
        seen.append(peer.client_certificate)
        peer.respond(204)

    running = serve(handler, tls=mutual_tls_context)
    with urllib3.PoolManager(ca_certs=ca_bundle, cert_file=client_cert.combined) as manager:
        assert fetch(manager, running.url).status == 204
    assert "client@example.test" in str(seen)


@pytest.mark.parametrize("path", ["chunked", "close", "gzip", "deflate", "bytes"])
def test_bodies(server: LocalServer, client: urllib3.PoolManager, path: str) -> None:
    assert fetch(client, f"{server.url}/{path}/150000").data == pattern(150_000)


def test_drip_status_and_404(server: LocalServer, client: urllib3.PoolManager) -> None:
    assert fetch(client, server.url + "/drip/5?delay=0").data == pattern(5)
    assert fetch(client, server.url + "/status/204").status == 204
    assert fetch(client, server.url + "/status/503").data == b"status 503"
    assert fetch(client, server.url + "/nowhere").status == 404
    assert fetch(client, server.url + "/bytes/7", "HEAD").headers["Content-Length"] == "7"


def test_truncated_and_dropped(server: LocalServer, client: urllib3.PoolManager) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError, match="5 bytes read, 5 more expected"):
        fetch(client, server.url + "/truncated/10")
    with pytest.raises(urllib3.exceptions.ProtocolError, match="without response"):
        fetch(client, server.url + "/drop")


def test_redirects_cookies_auth(server: LocalServer, client: urllib3.PoolManager) -> None:
    final = fetch(client, server.url + "/redirect/3", retries=urllib3.Retry(3, redirect=3))
    assert final.json()["target"] == "/echo"
    assert len(server.requests) == 4
    moved = fetch(client, server.url + "/redirect-to?url=/x&status=307", redirect=False)
    assert (moved.status, moved.headers["Location"]) == (307, "/x")
    lines = fetch(client, server.url + "/cookies/set?a=1&b=2").headers.getlist("Set-Cookie")
    assert lines == ["a=1; Path=/", "b=2; Path=/"]
    sent = fetch(client, server.url + "/cookies", headers={"Cookie": "a=1; b=2"}).json()
    assert sent == {"a": "1", "b": "2"}
    assert fetch(client, server.url + "/basic-auth/u/p").status == 401
    headers = urllib3.make_headers(basic_auth="u:p")
    assert fetch(client, server.url + "/basic-auth/u/p", headers=headers).data == b"welcome"


def test_digest_auth_with_stock_requests(server: LocalServer) -> None:
    requests = pytest.importorskip("requests")
    auth = requests.auth.HTTPDigestAuth("u", "p")
    with requests.Session() as session:
        assert session.get(server.url + "/digest-auth/u/p", auth=auth).text == "welcome"


@pytest.mark.parametrize("chunked", [False, True])
def test_upload(server: LocalServer, client: urllib3.PoolManager, chunked: bool) -> None:
    body = pattern(300_000)
    answer = fetch(client, server.url + "/upload", "PUT", body=body, chunked=chunked).json()
    assert answer["length"] == 300_000
    assert answer["sha256"] == hashlib.sha256(body).hexdigest()
    assert answer["framing"] == ("chunked" if chunked else "length")


def test_expect_is_answered(server: LocalServer) -> None:
    with connect(server) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hi")
        assert sock.recv(17) == b"HTTP/1.1 200 OK\r\n"


def test_trailers_and_exact_head(serve: Serve) -> None:
    seen = []

    def handler(peer: Peer) -> None:
        seen.append(peer.recv_request())

    running = serve(handler)
    with connect(running) as sock:
        head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        sock.sendall(head + b"3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n")
        assert sock.recv(10) == b""
    assert (seen[0].body, seen[0].trailers, seen[0].head) == (b"abc", [(b"T", b"1")], head)


def test_reset_and_half_close(serve: Serve) -> None:
    left = []

    def handler(peer: Peer) -> None:
        if peer.number == 1:
            peer.recv(1)
            peer.reset()
        else:
            peer.shutdown_write()
            left.append(peer.wait_closed())

    running = serve(handler)
    with connect(running) as sock:
        sock.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    with connect(running) as sock:
        assert sock.recv(1) == b""
        sock.sendall(b"still heard")
    assert running.wait_for(lambda: running.open == 0)
    assert left == [b"still heard"]


@pytest.mark.parametrize("notify", [True, False])
def test_tls_end_with_and_without_close_notify(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    notify: bool,
) -> None:
    running = serve(lambda peer: peer.close(notify=notify), tls=server_tls_context)
    with client_tls_context.wrap_socket(
        connect(running), server_hostname="localhost", suppress_ragged_eofs=False
    ) as sock:
        if notify:
            assert sock.recv(1) == b""
        else:
            with pytest.raises(ssl.SSLEOFError):
                sock.recv(1)


def test_unix_socket(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "s"
    running = serve(lambda peer: peer.respond(200, b"over a path"), uds=path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert answer.read() == b"over a path"
        answer.close()
    running.stop()
    assert not path.exists()


def test_stop_wakes_reads_handshakes_and_events(server_tls_context: ssl.SSLContext) -> None:
    check = LeakCheck()
    entered = threading.Event()

    def handler(peer: Peer) -> None:
        waiting = peer.server.event()
        entered.set()
        waiting.wait()

    reading = ScriptedServer(lambda peer: peer.recv_head() and None).start()
    shaking = ScriptedServer(lambda peer: None, tls=server_tls_context).start()
    waiting = ScriptedServer(handler).start()
    clients = [connect(running) for running in (reading, shaking, waiting)]
    assert entered.wait(5)
    for running in (reading, shaking, waiting):
        assert running.wait_for(lambda running=running: running.open == 1)
        running.stop()
        assert running.open == 0
        assert running.errors == []
    for sock in clients:
        sock.close()
    assert check.leftovers() == []


def test_a_logger_that_was_set_is_left_behind() -> None:
    logger = logging.getLogger("httpcore.http11")
    check = LeakCheck()
    logger.setLevel(logging.WARNING)
    assert check.leftovers() == ["logger httpcore.http11 (level 30)"]
    logger.setLevel(logging.NOTSET)
    assert check.leftovers() == []
    assert not logger.isEnabledFor(logging.DEBUG)
    logger._cache[logging.DEBUG] = True  # type: ignore[attr-defined]
    assert check.leftovers() == ["logger httpcore.http11 (level 0, remembers True for 10)"]
    logger._cache.clear()  # type: ignore[attr-defined]


def test_handler_errors_are_kept() -> None:
    def handler(peer: Peer) -> None:
        raise AssertionError("not what was expected")

    with ScriptedServer(handler) as running, connect(running) as sock:
        assert sock.recv(1) == b""
        assert [str(error) for error in running.errors] == ["not what was expected"]


def test_leaks_are_found() -> None:
    check = LeakCheck()
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="left over", daemon=True)
    thread.start()
    with socket.socket():
        found = check._leftover_sockets()
    assert [line.partition(":")[0] for line in found] == ["socket"]
    assert [t.name for t in threading.enumerate() if t not in check._threads] == ["left over"]
    end.set()
    assert check.leftovers() == []


def test_refused_and_unanswered(closed_port: int, black_hole: tuple[str, int]) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", closed_port), timeout=5)
    with pytest.raises(TimeoutError):
        socket.create_connection(black_hole, timeout=0.05)
