"""Row 33: ending a request from another thread, wherever it is."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import httpcore
from httpcore.exceptions import Aborted
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve, black_hole
from tests.support.threads import Doing

LIMITS = {"connect": 30.0, "read": 30.0, "write": 30.0, "pool": 30.0}


@pytest.fixture
def pool(client_tls_context: ssl.SSLContext) -> Iterator[httpcore.ConnectionPool]:
    with httpcore.ConnectionPool(ssl_context=client_tls_context, max_connections=1) as pool:
        yield pool
        assert pool.stats()["connections"] == pool.stats()["waiting"] == 0


@pytest.fixture
def token() -> httpcore.CancelToken:
    return httpcore.CancelToken()


@pytest.fixture(params=["token", "pool"])
def end(
    request: Any, pool: httpcore.ConnectionPool, token: httpcore.CancelToken
) -> Callable[[], None]:
    return token.cancel if request.param == "token" else pool.close


def ask(
    pool: httpcore.ConnectionPool, url: str, token: httpcore.CancelToken, **options: Any
) -> httpcore.Response:
    extensions = {"timeout": LIMITS, "cancel": token, **options.pop("extensions", {})}
    return pool.request(options.pop("method", "GET"), url, extensions=extensions, **options)


def is_aborted(failure: BaseException | None, phase: str) -> None:
    assert isinstance(failure, Aborted), failure
    assert "ended by a close or a CancelToken" in str(failure)
    assert failure.phase == phase


def reached(server: ScriptedServer) -> None:
    """Wait until a client is there, and what it does next has had time to block."""
    assert server.wait_for(lambda: server.accepted > 0)


def answers(peer: Peer) -> None:
    while peer.recv_request() is not None:
        peer.respond(200, b"ok")


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
def test_row_33_in_connect(
    token: httpcore.CancelToken, addresses: list[str], closed_port: int
) -> None:
    waiting = threading.Event()

    def resolver(host: str, port: int, timeout: float | None) -> list[str]:
        waiting.set()
        return addresses

    with black_hole("127.0.0.1", closed_port), black_hole("127.0.0.2", closed_port):
        for how in ("token", "pool"):
            token = httpcore.CancelToken()
            with httpcore.ConnectionPool(resolver=resolver) as pool:
                waiting.clear()
                doing = Doing(lambda: ask(pool, f"http://h.test:{closed_port}", token))  # noqa: B023
                assert waiting.wait(5)
                time.sleep(0.05)  # let it block; ended before, it would fail just the same
                is_aborted(doing.end(token.cancel if how == "token" else pool.close), "not_sent")
                assert pool.stats()["connections"] == 0


def test_row_33_in_a_look_up(token: httpcore.CancelToken) -> None:
    waiting, release = threading.Event(), threading.Event()

    def resolver(host: str, port: int, timeout: float | None) -> list[str]:
        waiting.set()
        release.wait(30)
        return []

    try:
        with httpcore.ConnectionPool(resolver=resolver) as pool:
            doing = Doing(lambda: ask(pool, "http://h.test", token))
            assert waiting.wait(5)
            is_aborted(doing.end(token.cancel), "not_sent")
    finally:
        release.set()


def test_row_33_in_tls(
    serve: Serve, pool: httpcore.ConnectionPool, token: Any, end: Callable[[], None]
) -> None:
    server = serve(lambda peer: peer.wait_closed())
    doing = Doing(lambda: ask(pool, f"https://127.0.0.1:{server.port}", token))
    reached(server)
    is_aborted(doing.end(end), "not_sent")


def test_row_33_in_connect_of_a_proxy(
    serve: Serve, pool: httpcore.ConnectionPool, token: Any, end: Callable[[], None]
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_head()
        peer.server.event().wait(30)

    server = serve(handler)
    through = {"proxy": httpcore.Proxy(server.url)}
    doing = Doing(lambda: ask(pool, "https://origin.test", token, extensions=through))
    reached(server)
    is_aborted(doing.end(end), "not_sent")


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("reused", [False, True])
def test_row_33_in_the_head(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    pool: httpcore.ConnectionPool,
    token: Any,
    end: Callable[[], None],
    secure: bool,
    reused: bool,
) -> None:
    """On a reused connection, too, where a failure would be worth a second attempt."""
    asked = threading.Event()

    def handler(peer: Peer) -> None:
        if reused:
            peer.recv_request()
            peer.respond(200, b"ok")
        peer.recv_request()
        asked.set()
        peer.wait_closed()

    server = serve(handler, tls=server_tls_context if secure else None)
    if reused:
        assert pool.request("GET", server.url).content == b"ok"
    doing = Doing(lambda: ask(pool, server.url, token))
    assert asked.wait(5)
    is_aborted(doing.end(end), "maybe_processed")
    assert server.accepted == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nx",  # to which the end of the connection is the end of the body
    ],
    ids=["in-place", "length", "chunked", "until-close"],
)
@pytest.mark.parametrize("secure", [False, True])
def test_row_33_in_the_body(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    pool: httpcore.ConnectionPool,
    token: Any,
    end: Callable[[], None],
    head: bytes,
    secure: bool,
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(head)
        peer.wait_closed()

    server = serve(handler, tls=server_tls_context if secure else None)
    response = ask(pool, server.url, token, stream=True)
    doing = Doing(response.read)
    is_aborted(doing.end(end), "response_started")


@pytest.mark.parametrize("secure", [False, True])
def test_row_33_by_closing_the_response(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    pool: httpcore.ConnectionPool,
    token: Any,
    secure: bool,
) -> None:
    """`response.close()` while another thread reads: U#2868."""

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        peer.wait_closed()

    server = serve(handler, tls=server_tls_context if secure else None)
    response = ask(pool, server.url, token, stream=True)
    parts = iter(response.stream)
    assert next(parts) == b"12345"
    within = threading.Event()

    def read() -> None:
        within.set()
        next(parts)

    doing = Doing(read)
    assert within.wait(5)
    time.sleep(0.05)  # closed before the read began, it would fail by another name
    is_aborted(doing.end(response.close), "response_started")


def test_row_33_in_an_upload(
    serve: Serve, pool: httpcore.ConnectionPool, token: Any, end: Callable[[], None]
) -> None:
    began = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_head()
        began.set()
        peer.server.event().wait(30)

    server = serve(handler)
    doing = Doing(
        lambda: ask(pool, server.url, token, method="POST", content=bytes(64 * 1024 * 1024))
    )
    assert began.wait(5)
    is_aborted(doing.end(end), "maybe_processed")


def test_row_33_in_the_queue(
    serve: Serve, pool: httpcore.ConnectionPool, token: httpcore.CancelToken
) -> None:
    server = serve(answers)
    held = pool.request("GET", server.url, stream=True, headers={"X": "held"})
    held_body = held  # its body is short, so take the slot by an unread long one
    held_body.close()

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        peer.wait_closed()

    busy = serve(handler)
    with pool.stream("GET", busy.url):
        doing = Doing(lambda: ask(pool, server.url, token))
        for _ in range(500):
            if pool.stats()["waiting"]:
                break
            time.sleep(0.01)
        is_aborted(doing.end(token.cancel), "not_sent")
        assert pool.stats()["waiting"] == 0


def test_closing_the_pool_ends_those_who_wait(
    serve: Serve, pool: httpcore.ConnectionPool, token: httpcore.CancelToken
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        peer.wait_closed()

    server = serve(handler)
    with pool.stream("GET", server.url) as response:
        doing = Doing(lambda: ask(pool, server.url, token))
        for _ in range(500):
            if pool.stats()["waiting"]:
                break
            time.sleep(0.01)
        is_aborted(doing.end(pool.close), "not_sent")
        with pytest.raises(Aborted):
            response.read()


def test_the_pool_is_whole_afterwards(
    serve: Serve, pool: httpcore.ConnectionPool, token: httpcore.CancelToken
) -> None:
    server = serve(answers)
    with httpcore.ConnectionPool(max_connections=2) as pool:
        for _ in range(20):
            token = httpcore.CancelToken()
            doing = Doing(lambda: ask(pool, server.url, token))  # noqa: B023
            token.cancel()
            doing._thread.join(10)
            assert doing.failure is None or isinstance(doing.failure, Aborted)
            assert pool.request("GET", server.url).content == b"ok"
        stats = pool.stats()
        assert (stats["active"], stats["waiting"], stats["dialing"]) == (0, 0, 0)


def test_a_token_that_was_cancelled_before(
    server: LocalServer, pool: httpcore.ConnectionPool, token: httpcore.CancelToken
) -> None:
    assert repr(token) == "<CancelToken [not cancelled]>"
    assert ask(pool, server.url, token).status == 200
    token.cancel()
    assert repr(token) == "<CancelToken [cancelled]>"
    with pytest.raises(Aborted) as caught:
        ask(pool, server.url, token)
    is_aborted(caught.value, "not_sent")
    assert pool.request("GET", server.url).status == 200
    assert len(server.requests) == 2
    assert server.accepted == 1  # the connection was not harmed
    pool.close()


def test_what_is_no_token(server: LocalServer, pool: httpcore.ConnectionPool) -> None:
    with pytest.raises(TypeError, match=r"extensions\['cancel'\] must be a CancelToken, not Event"):
        pool.request("GET", server.url, extensions={"cancel": threading.Event()})


def test_other_requests_are_left_alone(
    proxy: ProxyServer, server: LocalServer, token: httpcore.CancelToken
) -> None:
    with httpcore.ConnectionPool() as pool:
        with pool.stream("GET", server.url + "/bytes/10000000") as mine:
            with pool.stream(
                "GET", server.url + "/bytes/10000000", extensions={"cancel": token}
            ) as other:
                token.cancel()
                with pytest.raises(Aborted):
                    other.read()
            assert len(mine.read()) == 10_000_000


def test_by_hand(serve: Serve) -> None:
    asked = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_request()
        asked.set()
        peer.wait_closed()

    server = serve(handler)
    with httpcore.HTTPConnection(httpcore.Origin(b"http", b"127.0.0.1", server.port)) as connection:
        doing = Doing(lambda: connection.request("GET", server.url))
        assert asked.wait(5)
        is_aborted(doing.end(connection.abort), "maybe_processed")
