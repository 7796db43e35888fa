"""Rows 15 and 24: answers that come while a body is being sent, and before it is."""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

import httpcore
from httpcore._core import limits, upload
from tests.support import MIB
from tests.support.examples import examples
from tests.support.http2 import Code, Link, ServeH2, Stream
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, Serve, pattern
from tests.support.uploads import (
    GIB,
    Endless,
    Parts,
    refuse_and_close,
    refuse_and_read_on,
    refuse_and_reset,
    refuse_and_stop_reading,
)

# Uploads one after another, of which no answer may be lost. The long run makes four times as many.
MANY = examples(60)


def post(
    pool: httpcore.ConnectionPool, url: str, content: Any, *headers: tuple[str, str], **extra: Any
) -> httpcore.Response:
    extensions = {"timeout": {"connect": 20.0, "read": 20.0, "write": 20.0}, **extra}
    return pool.request("POST", url, headers=[*headers], content=content, extensions=extensions)


@pytest.mark.parametrize("body", [Endless, Parts])
@pytest.mark.parametrize(
    "handler", [refuse_and_close, refuse_and_stop_reading, refuse_and_read_on, refuse_and_reset]
)
@pytest.mark.parametrize("secure", [False, True])
def test_row_15_an_early_answer(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    body: Any,
    handler: Any,
    secure: bool,
) -> None:
    """ "Server answers 413 after 64 KiB of a 1 GiB body and closes: the caller gets the 413 with
    its body, < 10 MiB was sent, connection not reused" """
    server = serve(handler, tls=server_tls_context if secure else None)
    content = body()
    with httpcore.ConnectionPool(ssl_context=client_tls_context) as pool:
        response = post(pool, server.url, content, ("Content-Length", str(GIB)))
        assert (response.status, response.content) == (413, b"too large")
        assert content.given < 10 * MIB
        assert pool.stats()["connections"] == 0
    server.disconnects.clear()


@pytest.mark.parametrize("handler", [refuse_and_close, refuse_and_stop_reading, refuse_and_read_on])
def test_row_15_no_answer_of_many_is_lost(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    handler: Any,
) -> None:
    """One after another over TLS: a reset that overtakes the answer would show in some of them."""
    server = serve(handler, tls=server_tls_context)
    with httpcore.ConnectionPool(ssl_context=client_tls_context) as pool:
        for _ in range(MANY):
            response = post(pool, server.url, Parts())
            assert (response.status, response.content) == (413, b"too large")
    server.disconnects.clear()


def test_row_15_through_the_tls_of_a_proxy(
    serve: Serve, server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext
) -> None:
    server = serve(refuse_and_read_on, tls=server_tls_context)
    content = Parts()
    with ProxyServer(tls=server_tls_context) as proxy:
        with httpcore.HTTPProxy(
            proxy.url, ssl_context=client_tls_context, proxy_ssl_context=client_tls_context
        ) as pool:
            response = post(pool, server.url, content)
            assert (response.status, response.content) == (413, b"too large")
            assert content.given < 10 * MIB


def test_row_15_a_body_in_memory(serve: Serve) -> None:
    server = serve(refuse_and_stop_reading)
    with httpcore.ConnectionPool() as pool:
        response = post(pool, server.url, bytes(64 * MIB))
        assert response.status == 413


@pytest.mark.parametrize("content", [bytes(5 * MIB), "parts"], ids=["bytes", "parts"])
@pytest.mark.parametrize("line", [b"", b"Connection: close\r\n"], ids=["keeps", "closes"])
def test_a_proxy_asks_for_credentials_before_it_takes_the_body(
    serve: Serve, content: Any, line: bytes
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 4\r\n")
        peer.send(line + b"\r\nwho?")
        peer.wait_closed()

    body = content if content != "parts" else (bytes(65536) for _ in range(80))
    with httpcore.HTTPProxy(serve(handler).url) as pool:
        response = post(pool, "http://origin.test/", body)
        assert (response.status, response.content) == (407, b"who?")


def test_a_total_bounds_it_too(serve: Serve) -> None:
    server = serve(refuse_and_stop_reading)
    with httpcore.ConnectionPool(timeout={"total": 20.0}) as pool:
        response = pool.request("POST", server.url, content=Parts())
        assert response.status == 413


def test_a_redirect_that_closes_stops_the_upload(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /\r\nConnection: close\r\n")
        peer.send(b"Content-Length: 0\r\n\r\n")
        peer.wait_closed()

    server = serve(handler)
    content = Parts()
    with httpcore.ConnectionPool() as pool:
        assert post(pool, server.url, content).status == 307
        assert content.given < 10 * MIB


@pytest.mark.parametrize("status", [200, 307])
def test_an_early_answer_that_wants_the_body_gets_it(serve: Serve, status: int) -> None:
    """Servers that answer while they read, such as ones that echo, are sent all of it."""
    size = 20 * MIB
    received: list[int] = []

    def handler(peer: Peer) -> None:
        for _ in range(2):
            request = peer.recv_request_head()
            assert request is not None
            peer.send(b"HTTP/1.1 %d Early\r\nContent-Length: 2\r\n\r\nok" % status)
            received.append(sum(map(len, peer.iter_body(request))))

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        for _ in range(2):
            response = post(pool, server.url, (bytes(65536) for _ in range(size // 65536)))
            assert (response.status, response.content) == (status, b"ok")
    assert server.wait_for(lambda: server.open == 0)
    assert received == [size, size]
    assert server.accepted == 1


def test_interim_responses_while_sending(serve: Serve) -> None:
    """102 and 103 are told, and do not stop an upload; the final answer is read after it."""
    hints: list[int] = []

    def handler(peer: Peer) -> None:
        request = peer.recv_request_head()
        assert request is not None
        for position, _ in enumerate(peer.iter_body(request)):
            if position == 1:
                peer.send(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hin")
        peer.send(b"ts\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        response = post(
            pool,
            server.url,
            (bytes(65536) for _ in range(300)),
            informational=lambda status, headers: hints.append(status),
        )
        assert response.content == b"ok"
    assert hints == [102, 103]


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 413 Too"])
def test_a_server_that_goes_away_without_an_answer(serve: Serve, said: bytes) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_exactly(65536)
        peer.send(said)
        peer.shutdown_write()
        peer.wait_closed()

    server = serve(handler)
    content = Parts()
    with httpcore.ConnectionPool() as pool:
        with pytest.raises((httpcore.WriteError, httpcore.RemoteProtocolError)) as caught:
            post(pool, server.url, content)
        assert caught.value.phase == "maybe_processed"
        assert pool.stats()["connections"] == 0
    assert content.given < 10 * MIB


# --- over HTTP/2 ---


@pytest.mark.parametrize("body", [Endless, Parts])
@pytest.mark.parametrize("secure", [False, True])
def test_row_15_an_early_answer_over_http2(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool, body: Any, secure: bool
) -> None:
    """ "Server answers 413 after 64 KiB of a 1 GiB body [...]: the caller gets the 413 with its
    body, < 10 MiB was sent [...]; the same for h2 with response + RST_STREAM(NO_ERROR)". The
    connection itself is good for more."""
    server = serve_h2(secure=secure)
    for number in (1, 3, 5):
        content = body()
        response = post(h2_pool, f"{server.url}/early/65536", content, ("Content-Length", str(GIB)))
        assert (response.status, response.content) == (413, b"too large")
        assert content.given < 10 * MIB
        assert server.link.streams[number].received < 10 * MIB
    assert post(h2_pool, f"{server.url}/upload", b"small").status == 200
    assert (server.accepted, server.link.open) == (1, 0)


@pytest.mark.parametrize("windows", [True, False])
def test_row_15_an_early_answer_without_a_reset(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool, windows: bool
) -> None:
    """The server has said all and reads on, or grants nothing more: then the client ends it."""

    def on_head(stream: Stream) -> None:
        stream.on_data = answer

    def answer(stream: Stream) -> None:
        if not stream.started:
            stream.link.refill = windows
            stream.respond(413, b"too large")

    server = serve_h2(lambda link: link.serve(on_head=on_head))
    content = Parts()
    response = post(h2_pool, server.url, content)
    assert (response.status, response.content) == (413, b"too large")
    assert content.given < 10 * MIB
    stream = server.link.streams[1]
    assert server.wait_for(lambda: stream.reset_by_client is not None)
    assert stream.reset_by_client in (Code.NO_ERROR, Code.CANCEL)
    assert server.link.open == 0
    assert h2_pool.stats()["active"] == 0


def test_a_body_in_memory_is_refused_over_http2(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool
) -> None:
    server = serve_h2()
    response = post(h2_pool, f"{server.url}/early/65536", bytes(64 * MIB))
    assert (response.status, response.content) == (413, b"too large")
    assert server.link.streams[1].received < 10 * MIB


@pytest.mark.parametrize("status", [200, 307])
def test_an_early_answer_over_http2_that_wants_the_body(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool, status: int
) -> None:
    """Servers that answer while they read, such as ones that echo, are sent all of it."""
    size = 5 * MIB

    def on_head(stream: Stream) -> None:
        stream.head(status)
        stream.write(b"first, ")
        stream.on_end = lambda stream: stream.write(b"%d" % stream.received, end=True)

    server = serve_h2(lambda link: link.serve(on_head=on_head))
    for _ in range(2):
        parts = (bytes(65536) for _ in range(size // 65536))
        response = post(h2_pool, server.url, parts)
        assert (response.status, response.content) == (status, b"first, %d" % size)
    assert (server.accepted, server.link.open) == (1, 0)


def test_a_file_over_http2(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool, big_file: Path
) -> None:
    server = serve_h2(secure=True)
    for offset in (0, 100):
        with big_file.open("rb") as file:
            file.seek(offset)
            response = h2_pool.request("PUT", f"{server.url}/upload", content=file)
            assert b'"length": %d' % (3 * MIB - offset) in response.content
    assert server.link.streams[3].digest.digest() == (
        hashlib.sha256(pattern(3 * MIB)[100:]).digest()
    )


def test_an_upload_waits_for_windows(serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool) -> None:
    """Windows of all sizes, shrunk below nothing and given back in crumbs; the server ends the
    test when one is exceeded."""

    def script(link: Link) -> None:
        link.refill = False
        link.on_head = lambda stream: link.later(0, lambda: grant(stream, 1))
        link.serve()

    def grant(stream: Stream, size: int) -> None:
        link = stream.link
        if size == 1:
            link.settings(initial_window_size=10)
        if not stream.ended:
            link.window_update(0, size)
            link.window_update(stream.id, size)
            link.later(0.001, lambda: grant(stream, min(50_000, size * 2)))

    server = serve_h2(script, settings={"initial_window_size": 70_000})
    response = post(h2_pool, f"{server.url}/upload", bytes(500_000))
    assert b'"length": 500000' in response.content


# --- files, which the system sends by itself over plain TCP ---


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(pattern(3 * MIB))
    return path


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("offset", [0, 100, 2 * MIB])
@pytest.mark.parametrize("headers", [[], [("Expect", "100-continue")]])
def test_a_file_arrives_whole(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    big_file: Path,
    secure: bool,
    offset: int,
    headers: list[tuple[str, str]],
) -> None:
    def handler(peer: Peer) -> None:
        for _ in range(2):
            request = peer.recv_request_head()
            assert request is not None
            if headers:
                peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = b"".join(peer.iter_body(request))
            peer.respond(200, b"%d" % (body == pattern(3 * MIB)[offset:]))

    server = serve(handler, tls=server_tls_context if secure else None)
    with httpcore.ConnectionPool(
        ssl_context=client_tls_context, timeout={"total": 30.0} if offset else None
    ) as pool:
        for _ in range(2):
            with big_file.open("rb") as file:
                file.seek(offset)
                response = pool.request("PUT", server.url, headers=headers, content=file)
                assert response.content == b"1"
                assert file.tell() == 3 * MIB
    assert server.accepted == 1


def test_a_file_takes_no_detour(
    serve: Serve, big_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows the first block is never in this process."""
    blocks: list[int] = []
    send_file = os.sendfile

    def noted(out: int, file: int, offset: int, count: int) -> int:
        blocks.append(offset)
        return send_file(out, file, offset, count)

    def handler(peer: Peer) -> None:
        assert peer.recv_request() is not None
        peer.respond(200, b"ok")

    monkeypatch.setattr(os, "sendfile", noted)
    server = serve(handler)
    with httpcore.ConnectionPool() as pool, big_file.open("rb") as file:
        assert pool.request("PUT", server.url, content=file).content == b"ok"
    assert blocks[0] == limits.WRITE_SIZE
    assert len(blocks) >= 2


@pytest.mark.parametrize(
    "handler", [refuse_and_close, refuse_and_stop_reading, refuse_and_read_on, refuse_and_reset]
)
def test_row_15_a_file(serve: Serve, tmp_path: Path, handler: Any) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as made:
        made.truncate(GIB)  # sparse
    with httpcore.ConnectionPool() as pool, path.open("rb") as file:
        server = serve(handler)
        response = post(pool, server.url, file)
        assert (response.status, response.content) == (413, b"too large")
        assert file.tell() < 10 * MIB
    server.disconnects.clear()


def test_a_file_is_sent_on_after_an_early_200(serve: Serve, big_file: Path) -> None:
    received: list[bytes] = []

    def handler(peer: Peer) -> None:
        request = peer.recv_request_head()
        assert request is not None
        peer.send(b"HTTP/1.1 200 Early\r\nContent-Length: 2\r\n\r\nok")
        received.append(b"".join(peer.iter_body(request)))

    server = serve(handler)
    with httpcore.ConnectionPool() as pool, big_file.open("rb") as file:
        assert pool.request("PUT", server.url, content=file).content == b"ok"
    assert server.wait_for(lambda: server.open == 0)
    assert received == [pattern(3 * MIB)]


@pytest.mark.parametrize("early", [False, True])
def test_a_file_that_got_shorter(serve: Serve, big_file: Path, early: bool) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_exactly(limits.WRITE_SIZE)
        if early:
            peer.send(b"HTTP/1.1 200 Early\r\nContent-Length: 2\r\n\r\nok")
        peer.wait_closed()

    server = serve(handler)
    with httpcore.ConnectionPool() as pool, big_file.open("rb") as file:
        with pytest.raises(httpcore.LocalProtocolError, match="the body ended after 3145728 of"):
            pool.request("PUT", server.url, headers={"Content-Length": str(4 * MIB)}, content=file)
        assert pool.stats()["connections"] == 0


def test_a_file_that_is_longer_than_announced(serve: Serve, big_file: Path) -> None:
    def handler(peer: Peer) -> None:
        peer.wait_closed()

    server = serve(handler)
    with httpcore.ConnectionPool() as pool, big_file.open("rb") as file:
        with pytest.raises(httpcore.LocalProtocolError, match="longer than its announced 2097152"):
            post(pool, server.url, file, ("Content-Length", str(2 * MIB)))
        assert pool.stats()["connections"] == 0


def test_a_file_that_is_none(serve: Serve) -> None:
    """A pipe looks like a file, and cannot be sent like one."""

    def handler(peer: Peer) -> None:
        request = peer.recv_request()
        assert request is not None
        peer.respond(200, b"%d" % len(request.body))

    reading, writing = os.pipe()
    size = 2 * limits.WRITE_SIZE
    feeder = threading.Thread(target=lambda: (os.write(writing, bytes(size)), os.close(writing)))
    feeder.start()
    with httpcore.ConnectionPool() as pool, open(reading, "rb") as pipe:
        response = post(pool, serve(handler).url, pipe, ("Content-Length", str(size)))
        assert response.content == b"%d" % size
    feeder.join()


# --- Expect: 100-continue ---

EXPECT = ("Expect", "100-continue")


@pytest.mark.parametrize("go_ahead", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100\r\n\r\n"])
@pytest.mark.parametrize("content", [b"small", bytes(500_000), "parts"])
def test_row_24_no_byte_of_the_body_before_100(serve: Serve, go_ahead: bytes, content: Any) -> None:
    """ "With the header set: no body byte before 100 or 1 s"; "`HTTP/1.1 100` with no reason,
    ... leave the connection clean for the next request" """

    def handler(peer: Peer) -> None:
        request = peer.recv_request_head()
        assert request is not None
        assert not peer._buffer  # nothing came with the head
        peer.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.sock.recv(1)
        peer.sock.setblocking(True)
        peer.send(go_ahead)
        size = sum(map(len, peer.iter_body(request)))
        peer.respond(200, b"%d" % size)
        assert peer.recv_request() is not None
        peer.respond(200, b"next")

    server = serve(handler)
    size = 300 if content == "parts" else len(content)
    body = (bytes(100) for _ in range(3)) if content == "parts" else content
    with httpcore.ConnectionPool() as pool:
        assert post(pool, server.url, body, EXPECT).content == b"%d" % size
        assert post(pool, server.url, b"x").content == b"next"
    assert server.accepted == 1


@pytest.mark.parametrize("status", [401, 413, 417, 200])
def test_row_24_a_final_answer_means_no_body_at_all(serve: Serve, status: int) -> None:
    """ "a final 4xx means no body at all" """
    leftovers: list[bytes] = []

    def handler(peer: Peer) -> None:
        peer.recv_head()
        peer.respond(status, b"no")
        leftovers.append(peer.wait_closed())

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        response = post(pool, server.url, b"x" * 1000, EXPECT)
        assert (response.status, response.content) == (status, b"no")
        # Whether the server still waits for the body, nobody knows.
        assert pool.stats()["connections"] == 0
    assert server.wait_for(lambda: server.open == 0)
    assert leftovers == [b""]


def test_row_24_a_server_that_does_not_know_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "no body byte before ... 1 s": then it is sent."""
    assert upload.CONTINUE_PATIENCE == 1.0
    monkeypatch.setattr(upload, "CONTINUE_PATIENCE", 0.05)

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            peer.respond(200, request.body)

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        assert post(pool, server.url, b"hello", EXPECT).content == b"hello"
        assert post(pool, server.url, b"again", EXPECT).content == b"again"
    assert server.accepted == 1


def test_row_24_a_late_100_is_no_answer(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "CONTINUE_PATIENCE", 0.01)

    def handler(peer: Peer) -> None:
        request = peer.recv_request()
        assert request is not None
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.respond(200, request.body)

    with httpcore.ConnectionPool() as pool:
        assert post(pool, serve(handler).url, b"hello", EXPECT).content == b"hello"


def test_row_24_nothing_to_send(serve: Serve) -> None:
    """ "zero-length body with 200 in the interim slot ... leave[s] the connection clean" """

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, b"ok")

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        for _ in range(2):
            assert post(pool, server.url, b"", EXPECT, ("Content-Length", "0")).content == b"ok"
    assert server.accepted == 1


def test_row_24_the_server_goes_away_instead(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_head()

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        with pytest.raises((httpcore.WriteError, httpcore.RemoteProtocolError)):
            post(pool, server.url, b"hello", EXPECT)
        assert pool.stats()["connections"] == 0


def test_other_expectations_are_sent_and_not_waited_for(server: LocalServer) -> None:
    with httpcore.ConnectionPool() as pool:
        start = threading.active_count()
        response = post(pool, server.url + "/upload", b"hello", ("Expect", "nothing"))
        assert response.status == 200
        assert threading.active_count() <= start + 1
