"""Every kind of wait ends although the clock stands still, as with freezegun.

Owns: that, for the waits of the whole package. Must not know: how long a wait takes; each test ends
long before the guard of `Worker`, or fails there.
"""

from __future__ import annotations

import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

import httpcore
import httpcore_requests
from httpcore._backends.clock import Deadline
from httpcore._backends.tcp import look_up, open_tcp
from httpcore._core.deadline import uncounted
from tests.support import PATIENCE
from tests.support.http2 import Link, ServeH2, Stream
from tests.support.proxies import ProxyServer
from tests.support.servers import Peer, Serve, black_hole
from tests.support.threads import Worker, until

SOON = 0.1  # seconds


@pytest.fixture(autouse=True)
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the packages under test, and nobody else, `time.monotonic` always says the same."""
    real = time.monotonic

    def reading() -> float:
        name = sys._getframe(1).f_globals.get("__name__", "")
        return 1000.0 if name.startswith("httpcore") else real()

    monkeypatch.setattr(time, "monotonic", reading)


def failure(action: Callable[[], object]) -> Any:
    return Worker(action).error()


def limits(**seconds: float) -> dict[str, Any]:
    return {"timeout": seconds}


def silent(peer: Peer) -> None:
    peer.wait_closed()


def hears(peer: Peer) -> None:
    """Read requests, answer none."""
    while peer.recv_head() is not None:
        pass


def test_the_rule() -> None:
    assert uncounted(10.0, 2.0, 10.0) == 2.0
    assert uncounted(10.0, 2.0, 11.5) == 0.5
    assert uncounted(10.0, 2.0, 12.0) == 0.0
    assert uncounted(10.0, 2.0, 13.0) == 0.0
    assert uncounted(10.0, 2.0, 9.0) == 3.0  # it was set back: the end is moved along


# --- HTTP/1.1 ---

WAYS = {"read": (httpcore.ReadTimeout, ""), "total": (httpcore.ReadTimeout, "total of 0.1 s")}


@pytest.mark.parametrize("kind", WAYS)
def test_http11_read(serve: Serve, kind: str) -> None:
    server = serve(hears)
    with httpcore.ConnectionPool() as pool:
        exc = failure(lambda: pool.request("GET", server.url, extensions=limits(**{kind: SOON})))
    expected, text = WAYS[kind]
    assert type(exc) is expected
    assert text in str(exc)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("kind", ["write", "total"])
def test_http11_upload(serve: Serve, kind: str, chunked: bool) -> None:
    ended = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_head()
        ended.wait(PATIENCE)

    server = serve(handler)
    content: Any = iter([bytes(100_000)] * 200) if chunked else bytes(20_000_000)
    try:
        with httpcore.ConnectionPool() as pool:
            exc = failure(
                lambda: pool.request(
                    "POST", server.url, content=content, extensions=limits(**{kind: SOON})
                )
            )
    finally:
        ended.set()
    assert type(exc) is httpcore.WriteTimeout
    assert ("total" in str(exc)) is (kind == "total")


def test_expect_100_continue(serve: Serve) -> None:
    """The body is sent although the server has not asked for it."""

    def handler(peer: Peer) -> None:
        request = peer.recv_request()
        assert request is not None
        peer.respond(body=request.body)

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        worker = Worker(
            lambda: (
                pool.request(
                    "POST", server.url, headers={"Expect": "100-continue"}, content=b"abc"
                ).content
            )
        )
        assert worker.result() == b"abc"


@pytest.mark.parametrize("secure", [False, True])
def test_tls_in_tls(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    secure: bool,
) -> None:
    """A server that is silent during the handshake inside a tunnel, and one that is after it."""
    server = serve(hears, tls=server_tls_context) if secure else serve(silent)
    with ProxyServer(tls=server_tls_context) as running:
        proxy = httpcore.Proxy(f"https://localhost:{running.port}/", ssl_context=client_tls_context)
        with httpcore.ConnectionPool(client_tls_context, proxy=proxy) as pool:
            url = f"https://localhost:{server.port}/"
            seconds = {"connect": PATIENCE if secure else 1.0, "read": SOON}
            exc = failure(lambda: pool.request("GET", url, extensions=limits(**seconds)))
    assert type(exc) is (httpcore.ReadTimeout if secure else httpcore.ConnectTimeout)


def test_a_proxy_that_does_not_answer_connect(serve: Serve) -> None:
    server = serve(hears)
    with httpcore.ConnectionPool(proxy=httpcore.Proxy(server.url)) as pool:
        exc = failure(
            lambda: pool.request("GET", "https://example.com/", extensions=limits(connect=SOON))
        )
    assert isinstance(exc, httpcore.TimeoutException)


# --- waiting for a slot, pauses ---


@pytest.mark.parametrize("kind", ["pool", "total"])
def test_the_wait_for_a_slot(serve: Serve, kind: str) -> None:
    server = serve(hears)
    with httpcore.ConnectionPool(max_connections=1) as pool:
        token = httpcore.CancelToken()
        holder = Worker(lambda: pool.request("GET", server.url, extensions={"cancel": token}))
        until(lambda: pool.stats()["active"] == 1)
        exc = failure(lambda: pool.request("GET", server.url, extensions=limits(**{kind: SOON})))
        token.cancel()
        assert isinstance(holder.error(), httpcore.NetworkError)
    assert type(exc) is httpcore.PoolTimeout
    assert ("total of 0.1 s" in str(exc)) is (kind == "total")


def test_a_total_counts_the_pauses_between_attempts(closed_port: int) -> None:
    retries = httpcore.RetryConfig(
        attempts=1000, connect=1000, reserve=1000, backoff=SOON, max_backoff=SOON
    )
    with httpcore.ConnectionPool(retries=retries) as pool:
        url = f"http://127.0.0.1:{closed_port}/"
        exc = failure(lambda: pool.request("GET", url, extensions=limits(total=3 * SOON)))
    assert isinstance(exc, httpcore.ConnectError)


def test_a_cancel_token_sleeps_and_returns() -> None:
    token = httpcore.CancelToken()
    Worker(lambda: token.sleep(SOON)).result()


# --- opening ---


@pytest.mark.parametrize("addresses", [1, 2, 3])
def test_the_race_ends(addresses: int) -> None:
    hosts = [f"127.0.0.{number}" for number in range(5, 5 + addresses)]
    with (
        black_hole(hosts[0]) as (_, port),
        black_hole("127.0.0.6", port),
        black_hole("127.0.0.7", port),
    ):
        exc = failure(lambda: open_tcp("h.test", port, 0.6, None, [], lambda *_: hosts))
    assert type(exc) is httpcore.ConnectTimeout
    assert all(host in str(exc) for host in hosts)


@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_the_next_address_has_its_turn(serve: Serve, timeout: float | None) -> None:
    server = serve(silent)
    hosts = ["127.0.0.5", "127.0.0.6", "127.0.0.1"]
    with black_hole(hosts[0], server.port), black_hole(hosts[1], server.port):
        worker = Worker(
            lambda: open_tcp("h.test", server.port, timeout, None, [], lambda *_: hosts)
        )
        with worker.result() as sock:
            assert sock.getpeername() == ("127.0.0.1", server.port)


def test_a_look_up() -> None:
    release = threading.Event()

    def resolver(*_: Any) -> list[str]:
        release.wait(PATIENCE)
        return []

    try:
        exc = failure(lambda: look_up("h", 80, SOON, None, resolver))
    finally:
        release.set()
    assert type(exc) is httpcore.ConnectTimeout


# --- HTTP/2 ---


@pytest.fixture
def h2_pool() -> Iterator[httpcore.ConnectionPool]:
    with httpcore.ConnectionPool(http1=False, http2=True) as pool:
        yield pool


def nothing(stream: Stream) -> None:
    """Answer nothing."""


@pytest.mark.parametrize("kind", ["read", "total"])
@pytest.mark.parametrize("answer", [nothing, Stream.head])
def test_http2_read(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool, answer: Any, kind: str
) -> None:
    server = serve_h2(lambda link: link.serve(answer))
    exc = failure(
        lambda: h2_pool.request("GET", server.url, extensions=limits(**{kind: SOON})).content
    )
    assert type(exc) is httpcore.ReadTimeout
    assert ("total of 0.1 s" in str(exc)) is (kind == "total")


@pytest.mark.parametrize("settings", [{}, None])
def test_http2_reader_and_sleepers(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool, settings: Any
) -> None:
    """One of them reads, the others sleep, or wait for the server's settings; each has a timeout
    of its own."""
    server = serve_h2(lambda link: link.serve(nothing), settings=settings)

    def send(read: float) -> Callable[[], object]:
        return lambda: h2_pool.request("GET", server.url, extensions=limits(read=read))

    workers = [Worker(send(read)) for read in (0.5, 0.1, 0.3)]
    assert {type(worker.error()) for worker in workers} == {httpcore.ReadTimeout}


@pytest.mark.parametrize("kind", ["write", "total"])
def test_http2_upload_without_a_window(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool, kind: str
) -> None:
    server = serve_h2(settings={"initial_window_size": 0})
    exc = failure(
        lambda: h2_pool.request(
            "POST", server.url, content=bytes(100_000), extensions=limits(**{kind: SOON})
        )
    )
    assert type(exc) is httpcore.WriteTimeout
    assert ("total of 0.1 s" in str(exc)) is (kind == "total")


def test_http2_ping(serve_h2: ServeH2) -> None:
    def script(link: Link) -> None:
        link.answer_pings = False
        link.serve(nothing)

    server = serve_h2(script)
    with httpcore.ConnectionPool(
        http1=False, http2=True, ping_interval=SOON, ping_timeout=SOON
    ) as pool:
        exc = failure(lambda: pool.request("GET", server.url))
    assert isinstance(exc, httpcore.ReadError)
    assert "has not answered a PING within 0.1 s" in str(exc)


# --- the deadline of a request ---


def test_a_deadline_does_not_take_the_systems_own_timeout_for_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ETIMEDOUT comes when the kernel gives up, which may be long before what was granted."""
    now = iter([100.0, 103.0, 103.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    deadline = Deadline(10.0)
    deadline.timed_out(100.0, 10.0)
    assert deadline.left() == 7.0


# --- the adapter ---


@pytest.mark.parametrize("timeout", [SOON, httpcore_requests.Timeout(total=SOON)])
def test_the_adapter(serve: Serve, timeout: Any) -> None:
    server = serve(hears)
    with requests.Session() as session:
        session.mount("http://", httpcore_requests.HTTPAdapter())
        exc = failure(lambda: session.get(server.url, timeout=timeout))
    assert isinstance(exc, requests.ReadTimeout)
