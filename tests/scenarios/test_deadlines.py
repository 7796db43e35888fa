"""Row 9: one deadline over a whole request, wherever the time goes."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import httpcore
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, Serve

TOTAL = 0.5  # seconds
#: Seconds in which something comes of a server that drips: never a reason for a read timeout.
DRIP = 0.05
#: The row allows 100 ms per second; this machine may be busy.
LATEST = TOTAL + 0.3

LIMITS = {"connect": 10.0, "read": 10.0, "write": 10.0, "pool": 10.0, "total": TOTAL}


@contextmanager
def in_time(kind: type[Exception] = httpcore.TimeoutException) -> Iterator[Any]:
    start = time.monotonic()
    with pytest.raises(kind, match=rf"^total of {TOTAL} s is over") as caught:
        yield caught
    assert TOTAL - 0.02 < time.monotonic() - start < LATEST


def get(pool: httpcore.ConnectionPool, url: str, **options: Any) -> httpcore.Response:
    return pool.request("GET", url, extensions={"timeout": LIMITS}, **options)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200,
        b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1000,
    ],
    ids=["head", "length", "in-place", "chunked", "until-close"],
)
def test_row_9_a_server_that_drips(serve: Serve, answer: bytes) -> None:
    """1 byte now and then "in headers, in body"."""

    def handler(peer: Peer) -> None:
        peer.recv_request()
        head, mark, body = answer.partition(b"\r\n\r\n")
        if mark:
            peer.send(head + mark)
        peer.drip(body or head, DRIP)

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        with in_time(httpcore.ReadTimeout):
            get(pool, server.url)
        assert pool.stats()["connections"] == 0


def test_row_9_a_streamed_body(serve: Serve) -> None:
    """The time counts while the caller iterates, too."""

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        peer.drip(b"x" * 1000, DRIP)

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        parts = []
        with in_time(httpcore.ReadTimeout):
            with pool.stream("GET", server.url, extensions={"timeout": LIMITS}) as response:
                parts += response.iter_stream()
        with in_time(httpcore.ReadTimeout):
            with pool.stream("GET", server.url, extensions={"timeout": LIMITS}) as response:
                for part in response.iter_stream():
                    parts.append(part)
        assert len(parts) >= 2


@pytest.mark.parametrize("body", ["bytes", "parts"])
def test_row_9_a_stalled_upload(serve: Serve, body: str) -> None:
    """A server that takes a little now and then meets no write timeout."""

    def handler(peer: Peer) -> None:
        pause = peer.server.event()
        peer.recv_head()
        while peer.recv(4096):
            pause.wait(DRIP)

    server = serve(handler)
    size = 64 * 1024 * 1024
    content: Any = bytes(size) if body == "bytes" else (bytes(65536) for _ in range(1024))
    with httpcore.ConnectionPool() as pool:
        with in_time(httpcore.WriteTimeout) as caught:
            pool.request(
                "POST",
                server.url,
                headers={"Content-Length": str(size)},
                content=content,
                extensions={"timeout": LIMITS},
            )
        assert caught.value.phase == "maybe_processed"
        assert pool.stats()["connections"] == 0


def test_row_9_a_stuck_tls_handshake(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.wait_closed()

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        with in_time(httpcore.ConnectTimeout):
            get(pool, f"https://127.0.0.1:{server.port}")


def test_row_9_a_connect_that_never_ends(black_hole: tuple[str, int]) -> None:
    with httpcore.ConnectionPool(retries=5) as pool:
        with in_time(httpcore.ConnectTimeout):
            get(pool, "http://{}:{}".format(*black_hole))


def test_row_9_retries_of_the_connect(closed_port: int) -> None:
    """Backoff counts as well: it is 0, 0.5 and 1 second here."""
    with httpcore.ConnectionPool(retries=10) as pool:
        start = time.monotonic()
        with pytest.raises((httpcore.ConnectError, httpcore.ConnectTimeout)):
            get(pool, f"http://127.0.0.1:{closed_port}")
        assert time.monotonic() - start < LATEST


def test_row_9_a_proxy_that_drips(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_head()
        peer.drip(b"HTTP/1.1 200 Connection established\r\nX-Slow: " + b"x" * 1000, DRIP)

    proxy = serve(handler)
    with httpcore.HTTPProxy(proxy.url) as pool:
        with in_time(httpcore.ConnectTimeout):
            get(pool, "https://origin.test/")


def test_row_9_a_full_pool(server: LocalServer) -> None:
    with httpcore.ConnectionPool(max_connections=1) as pool:
        with pool.stream("GET", server.url + "/bytes/10000000") as held:
            with in_time(httpcore.PoolTimeout):
                get(pool, server.url)
            held.close()
        assert get(pool, server.url).status == 200


def test_row_9_a_resolver_that_blocks() -> None:
    """ "a resolver stub that blocks is bounded too" """
    release = threading.Event()

    def stuck(host: str, port: int, timeout: float | None) -> list[str]:
        release.wait(30)
        return []

    try:
        with httpcore.ConnectionPool(resolver=stuck) as pool:
            with in_time(httpcore.ConnectTimeout):
                get(pool, "http://origin.test/")
    finally:
        release.set()


def test_row_9_a_connection_by_hand(serve: Serve) -> None:
    """Connecting and the request share one total."""

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.wait_closed()

    class Slow(httpcore.SyncBackend):
        def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
            threading.Event().wait(TOTAL * 0.8)
            return super().connect_tcp(*args, **kwargs)

    server = serve(handler)
    origin = httpcore.Origin(b"http", b"127.0.0.1", server.port)
    with httpcore.HTTPConnection(origin, network_backend=Slow()) as connection:
        with in_time(httpcore.ReadTimeout):
            connection.request("GET", server.url, extensions={"timeout": LIMITS})


def test_the_next_request_on_the_connection_has_its_own_time(server: LocalServer) -> None:
    """A connection never keeps an earlier request's timeout (row 54)."""
    with httpcore.ConnectionPool() as pool:
        get(pool, server.url)
        threading.Event().wait(TOTAL)
        assert pool.request("GET", server.url).status == 200
        assert get(pool, server.url).status == 200
        [connection] = pool.connections
    assert server.accepted == 1
    assert "Request Count: 3" in repr(connection)


def test_a_total_that_is_enough_changes_nothing(
    proxy: ProxyServer, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    with httpcore.ConnectionPool(ssl_context=client_tls_context, timeout={"total": 30.0}) as pool:
        through = {"proxy": httpcore.Proxy(proxy.url)}
        for extensions in ({}, through, {}):
            response = pool.request(
                "POST", tls_server.url + "/bytes/300000", content=b"x" * 1000, extensions=extensions
            )
            assert len(response.content) == 300_000
            stream = response.extensions["network_stream"]
            assert stream.get_extra_info("ssl_object") is not None
        assert pool.stats()["idle"] == 2
