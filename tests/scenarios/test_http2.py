"""HTTP/2 in the core: what one connection is to many threads.

Owns: scenarios 6, 7, 29, 44, 45 and 46, the ways to HTTP/2 (ALPN, prior knowledge, proxies), what
ends one request alone. Rows 15, 16 and 43 are with those of HTTP/1.1, in test_uploads.py and
test_reading.py; what a server may not do is in test_http2_bad_input.py; rates are measured by the
benchmarks. Must not know: private parts of the packages.
Source: RFC 9113.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import random
import ssl
import subprocess
import sys
import sysconfig
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import httpcore
from httpcore.exceptions import Aborted
from tests.support.clients import resident
from tests.support.forks import in_child
from tests.support.http2 import Code, FrameServer, Kind, Link, ServeH2, Stream, encode_frame, routes
from tests.support.interrupting import Interruptible, interrupt_at
from tests.support.over_http2 import (
    MIB,
    PATIENCE,
    STREAM_WINDOW,
    TIMEOUTS,
    Leaving,
    answer,
    begin,
    get,
    header,
    hold,
    number_of,
    post,
    unanswering,
    wait_opened,
    wait_readable,
)
from tests.support.programs import Program
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import LocalServer, pattern

pytestmark = pytest.mark.no_cover

MakePool = Callable[..., httpcore.ConnectionPool]


@pytest.fixture
def make_pool(client_tls_context: ssl.SSLContext) -> Iterator[MakePool]:
    """`make_pool(...)`: a pool that speaks HTTP/2 only, closed with the test."""
    made: list[httpcore.ConnectionPool] = []

    def make(**options: Any) -> httpcore.ConnectionPool:
        options = {"http1": False, "http2": True, "ssl_context": client_tls_context, **options}
        made.append(httpcore.ConnectionPool(**options))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


@pytest.fixture
def pool(make_pool: MakePool) -> httpcore.ConnectionPool:
    return make_pool()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that are to wait."""
    with ThreadPoolExecutor(200) as executor:
        yield executor


# ---------------------------------------------------------------------------------------------
# How HTTP/2 is come by


@pytest.mark.parametrize("secure", [False, True])
def test_what_a_response_says(serve_h2: ServeH2, make_pool: MakePool, secure: bool) -> None:
    """Over TLS by ALPN; over TCP where HTTP/1.1 is switched off, with prior knowledge."""
    server = serve_h2(secure=secure)
    pool = make_pool(http1=secure)
    origin = f"{server.scheme}://127.0.0.1:{server.port}" if not secure else server.url
    for number in (1, 3, 5):
        response = get(pool, server, "/bytes/70000")
        assert (response.status, response.content) == (200, pattern(70_000))
        assert response.extensions["http_version"] == b"HTTP/2"
        assert response.extensions["reused"] is (number > 1)
        assert "reason_phrase" not in response.extensions
        assert number_of(response) == number
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
    (connection,) = pool.connections
    assert connection.info() == f"'{origin}', HTTP/2, IDLE, Request Count: 3"
    assert connection.is_idle() and not connection.is_closed()
    assert server.accepted == 1


def test_introspection(serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any) -> None:
    server = serve_h2(settings={"max_concurrent_streams": 7})
    get(pool, server)
    jobs = [threads.submit(get, pool, server, "/hold") for _ in range(3)]
    link = wait_opened(server, 4)
    (connection,) = pool.connections
    assert (connection.open_streams, connection.max_streams) == (3, 7)
    assert connection.info() == f"'{server.url}', HTTP/2, ACTIVE, Request Count: 4"
    assert (pool.stats()["active"], pool.stats()["requests"]) == (1, 3)
    answer(link, 3, 5, 7)
    assert [job.result().content for job in jobs] == [b"ok"] * 3
    assert connection.open_streams == 0
    assert connection.is_idle()


def test_alpn_falls_back_to_http_1(tls_server: LocalServer, make_pool: MakePool) -> None:
    pool = make_pool(http1=True)
    for _ in range(2):
        response = pool.request("GET", tls_server.url, extensions=TIMEOUTS)
        assert response.extensions["http_version"] == b"HTTP/1.1"
    (connection,) = pool.connections
    assert (connection.open_streams, connection.max_streams) == (0, 1)
    assert "HTTP/1.1" in connection.info()
    assert tls_server.accepted == 1


def test_threads_that_meet_http_1_instead(
    tls_server: LocalServer, make_pool: MakePool, threads: Any
) -> None:
    """Those that waited for the first to share its connection open their own."""
    pool = make_pool(http1=True, max_connections=4)
    jobs = [
        threads.submit(pool.request, "GET", tls_server.url, extensions=TIMEOUTS) for _ in range(20)
    ]
    assert [job.result().status for job in jobs] == [200] * 20
    assert tls_server.accepted <= 4


def test_http_urls_speak_http_1_unless_it_is_off(server: LocalServer, make_pool: MakePool) -> None:
    response = make_pool(http1=True).request("GET", server.url, extensions=TIMEOUTS)
    assert response.extensions["http_version"] == b"HTTP/1.1"


@pytest.mark.parametrize(
    ("road", "secure"),
    [
        *[("http", True), ("https", True), ("socks5", True), ("socks5h", True), ("socks4a", True)],
        *[("socks5", False), ("socks5h", False), ("socks4a", False)],
    ],
)
def test_through_proxies(
    serve_h2: ServeH2,
    make_pool: MakePool,
    client_tls_context: ssl.SSLContext,
    server_tls_context: ssl.SSLContext,
    threads: Any,
    road: str,
    secure: bool,
) -> None:
    """Through CONNECT and SOCKS tunnels. (An HTTP proxy forwards http URLs, over HTTP/1.1.)"""
    server = serve_h2(secure=secure)
    kind: Any = SocksServer if road.startswith("socks") else ProxyServer
    tls = server_tls_context if road == "https" else None
    with kind(tls=tls) as proxy:
        settings = httpcore.Proxy(
            f"{road}://127.0.0.1:{proxy.port}",
            ssl_context=client_tls_context if road == "https" else None,
        )
        pool = make_pool(proxy=settings)
        assert get(pool, server).extensions["http_version"] == b"HTTP/2"
        jobs = [threads.submit(get, pool, server, "/bytes/100000") for _ in range(10)]
        assert {job.result().content for job in jobs} == {pattern(100_000)}
        assert (proxy.accepted, server.accepted, len(pool.connections)) == (1, 1, 1)
        pool.close()


# ---------------------------------------------------------------------------------------------
# 6: threads on one connection


def share(pool: httpcore.ConnectionPool, server: FrameServer, workers: int, each: int) -> None:
    """Each worker sends GET and POST in turns; every answer is its own request's."""

    def work(worker: int) -> None:
        for count in range(each):
            nonce = f"{worker}-{count}"
            body = None if count % 2 else nonce.encode() * 50
            response = pool.request(
                "GET" if body is None else "POST",
                f"{server.url}/echo?{nonce}",
                headers={"X-Nonce": nonce},
                content=body,
                extensions=TIMEOUTS,
            )
            assert response.status == 200
            assert header(response, b"x-nonce") == nonce.encode()
            told = response.content
            assert (b"/echo?%b" % nonce.encode()) in told
            assert body is None or body in told

    with ThreadPoolExecutor(workers) as executor:
        list(executor.map(work, range(workers)))


@pytest.mark.parametrize("secure", [False, True])
def test_row_6_threads_share_one_connection(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, secure: bool
) -> None:
    """Row 6: "40 threads, 2 000 GET+POST over one h2 connection, GIL [...]: 2 000 x 200, HEADERS in
    stream-id order on the wire, each response matches its request's nonce"; the server itself
    takes no stream out of order."""
    server = serve_h2(secure=secure, settings={"max_concurrent_streams": 100})
    share(pool, server, 40, 50)
    link = server.link
    assert link.opened == list(range(1, 4000, 2))
    assert [frame.stream_id for frame in link.seen(Kind.HEADERS)] == link.opened
    assert (server.accepted, link.open) == (1, 0)
    assert 1 < link.peak <= 40


def test_row_6_without_the_gil() -> None:
    """Row 6: "[...] and `PYTHON_GIL=0`", in a process of its own."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this interpreter has a GIL; row 6 without one needs a free-threaded build")
    test = f"{__file__}::{test_row_6_threads_share_one_connection.__name__}"
    done = subprocess.run(
        [sys.executable, "-X", "gil=0", "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        env={**os.environ, "PYTHON_GIL": "0"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout


# ---------------------------------------------------------------------------------------------
# 7: GOAWAY


def survive_goaways(
    pool: httpcore.ConnectionPool, server: FrameServer, script: Leaving, workers: int, each: int
) -> None:
    rounds = 0
    # Whether a stream crosses a GOAWAY is up to the moment: mostly in the first round.
    while rounds < 20 and not any(link.ignored for link in server.links):
        rounds += 1
        share(pool, server, workers, each)
    assert len(script.done) == workers * each
    assert set(script.done.values()) == {rounds}
    assert server.accepted >= workers * each // script.count
    assert any(link.ignored for link in server.links)
    # Each connection ends when its last stream has.
    assert server.wait_for(lambda: server.open <= 1)


@pytest.mark.parametrize("secure", [False, True])
def test_row_7_goaway_every_50_streams(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, secure: bool
) -> None:
    """Row 7: "A server sends GOAWAY(NO_ERROR) every 1 000 streams: 20 threads x 10 000 GET/POST
    give 0 errors; streams ≤ last_stream_id finish on the old connection, higher ones are replayed
    on a new one (POST too)"; here every 50 streams, and 20 x 40 requests. Each was answered
    once."""
    script = Leaving(50)
    survive_goaways(pool, serve_h2(script, secure=secure), script, 20, 40)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_row_7_goaway_every_1000_streams(serve_h2: ServeH2, pool: httpcore.ConnectionPool) -> None:
    """Row 7 as it is written."""
    script = Leaving(1000)
    survive_goaways(pool, serve_h2(script, secure=True), script, 20, 10_000)


def test_row_7_streams_of_the_old_connection_finish(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any
) -> None:
    """Row 7: "streams ≤ last_stream_id finish on the old connection, higher ones are replayed on a
    new one (POST too)"."""

    def script(link: Link) -> None:
        if link.number == 1:
            link.serve(hold, until=lambda: len(link.opened) == 6)
            link.goaway(last=link.opened[3])
        link.serve()

    server = serve_h2(script)
    jobs = []
    for count in range(1, 7):
        content = b"body" if count % 2 else None
        method = "POST" if content else "GET"
        url = f"{server.url}/{'hold' if count <= 4 else 'echo'}"
        jobs.append(threads.submit(pool.request, method, url, content=content, extensions=TIMEOUTS))
        old = wait_opened(server, count)
    # Only those above the last one have an answer: they were sent again.
    replayed = [job.result() for job in jobs[4:]]
    assert {header(response, b"x-connection") for response in replayed} == {b"2"}
    assert not any(job.done() for job in jobs[:4])
    answer(old, *old.opened[:4])
    for job in jobs[:4]:
        assert header(job.result(), b"x-connection") == b"1"
    assert server.wait_for(lambda: server.open == 1)
    assert (len(server.links[1].opened), len(pool.connections)) == (2, 1)


@pytest.mark.parametrize("secure", [False, True])
def test_row_7_nginx_ends_connections_after_50_requests(
    nginx_http2: Program, pool: httpcore.ConnectionPool, secure: bool
) -> None:
    """Row 7: "GOAWAY (nginx after 1 000 requests [...])": its `keepalive_requests` is 50 here, and
    8 its limit of streams at once."""
    url = ["http", "https"][secure] + f"://127.0.0.1:{nginx_http2.ports[not secure]}/"

    def work(worker: int) -> list[bytes]:
        answers = []
        for count in range(20):
            response = pool.request(
                "POST" if count % 2 else "GET",
                url,
                headers={"x-nonce": f"{worker}-{count}"},
                content=b"abc" if count % 2 else None,
                extensions=TIMEOUTS,
            )
            assert response.status == 200
            assert header(response, b"x-nonce") == f"{worker}-{count}".encode()
            answers.append(response.content)
        return answers

    with ThreadPoolExecutor(20) as executor:
        answers = [text for part in executor.map(work, range(20)) for text in part]
    assert len(answers) == 400
    assert all(text.startswith(b"HTTP/2.0 connection ") for text in answers)
    assert len({text.split()[2] for text in answers}) >= 8


def test_goaway_on_an_idle_connection(serve_h2: ServeH2, pool: httpcore.ConnectionPool) -> None:
    """A POST that comes after it goes to a new connection: it cannot fail by the old one."""
    left: list[int] = []

    def script(link: Link) -> None:
        link.serve(until=lambda: link.opened and link.open == 0)
        link.goaway()
        link.flush()
        left.append(link.number)
        link.serve()

    server = serve_h2(script)
    for number in range(1, 6):
        response = pool.request("POST", server.url, content=iter([b"x"]), extensions=TIMEOUTS)
        assert header(response, b"x-connection") == b"%d" % number
        assert server.wait_for(lambda: len(left) == number)  # noqa: B023
    assert len(pool.connections) <= 1


def test_goaway_with_an_error(serve_h2: ServeH2, pool: httpcore.ConnectionPool) -> None:
    """Whose streams it ends says why; nothing is replayed that may have been processed."""

    def script(link: Link) -> None:
        link.serve(hold, until=lambda: link.opened)
        link.goaway(code=Code.ENHANCE_YOUR_CALM, debug=b"too_many_pings")
        link.close()

    server = serve_h2(script)
    with pytest.raises(httpcore.RemoteProtocolError) as caught:
        pool.request("POST", server.url, content=b"x", extensions=TIMEOUTS)
    told = httpcore.exceptions.explain(caught.value)
    assert "calm" in told.lower() or "too_many" in told
    assert caught.value.phase == "maybe_processed"
    assert server.accepted == 1


@pytest.mark.parametrize("body", ["bytes", "iterator"])
def test_a_refused_stream(serve_h2: ServeH2, pool: httpcore.ConnectionPool, body: str) -> None:
    """REFUSED_STREAM says that nothing was processed: POST is sent again too, elsewhere, if its
    body can be."""

    def script(link: Link) -> None:
        if link.number == 1:
            link.on_head = lambda stream: stream.reset(Code.REFUSED_STREAM)
        link.serve()

    server = serve_h2(script)
    content: Any = b"x" * 100 if body == "bytes" else iter([b"x"])
    if body == "bytes":
        response = pool.request("POST", server.url, content=content, extensions=TIMEOUTS)
        assert header(response, b"x-connection") == b"2"
    else:
        with pytest.raises(httpcore.RemoteProtocolError) as caught:
            pool.request("POST", server.url, content=content, extensions=TIMEOUTS)
        assert caught.value.phase == "not_sent"


def test_a_server_that_always_refuses(serve_h2: ServeH2, pool: httpcore.ConnectionPool) -> None:
    """It is not asked for ever."""

    def script(link: Link) -> None:
        link.serve(on_head=lambda stream: stream.reset(Code.REFUSED_STREAM))

    server = serve_h2(script)
    with pytest.raises(httpcore.RemoteProtocolError) as caught:
        get(pool, server)
    assert caught.value.phase == "not_sent"
    assert sum(len(link.opened) for link in server.links) <= 20


# ---------------------------------------------------------------------------------------------
# 29: the server's limit of streams


def test_row_29_the_limit_goes_down_and_up(
    serve_h2: ServeH2, make_pool: MakePool, threads: Any
) -> None:
    """Row 29: "Server limit 8, later lowered to 4 then raised to 100: 64 threads all succeed, peak
    open streams never above the current limit, a second connection opens only if the pool
    allows." The server ends the test when there is one stream more than it allows."""
    server = serve_h2(settings={"max_concurrent_streams": 8})
    pool = make_pool(max_connections=1)
    assert get(pool, server).status == 200
    jobs = [threads.submit(get, pool, server, "/hold") for _ in range(64)]
    link = server.link

    def held() -> list[int]:
        return [stream.id for stream in link.streams.values() if not stream.closed]

    wait_opened(server, 1 + 8)
    (connection,) = pool.connections
    assert (connection.open_streams, connection.max_streams) == (8, 8)
    link.call(lambda: link.settings(max_concurrent_streams=4))
    assert server.wait_for(lambda: link.limit == 4, PATIENCE)
    for count in (13, 17):
        answer(link, *held())
        wait_opened(server, count)
        assert (link.open, connection.open_streams, connection.max_streams) == (4, 4, 4)
    assert link.peak == 8
    link.call(lambda: link.settings(max_concurrent_streams=100))
    wait_opened(server, 1 + 64)
    assert link.open == 64 - 8 - 4
    answer(link, *held())
    assert [job.result().content for job in jobs] == [b"ok"] * 64
    assert (server.accepted, connection.max_streams) == (1, 100)


@pytest.mark.parametrize("connections", [1, 2, 4])
def test_row_29_under_load_from_the_start(
    serve_h2: ServeH2, make_pool: MakePool, connections: int
) -> None:
    """Row 29: "peak open streams never above the current limit, a second connection opens only if
    the pool allows", for threads that all begin at once, when no limit is known yet."""

    def script(link: Link) -> None:
        link.serve(until=lambda: len(link.opened) == 40)
        link.settings(max_concurrent_streams=4)
        link.serve(until=lambda: len(link.opened) == 80)
        link.settings(max_concurrent_streams=100)
        link.serve()

    server = serve_h2(script, secure=True, settings={"max_concurrent_streams": 8})
    pool = make_pool(max_connections=connections)
    barrier = threading.Barrier(64)

    def work(_: int) -> None:
        barrier.wait()
        for _ in range(5):
            assert get(pool, server, "/drip/3?delay=0.001").content == pattern(3)

    with ThreadPoolExecutor(64) as executor:
        list(executor.map(work, range(64)))
    assert server.accepted <= connections
    assert sum(len(link.opened) for link in server.links) == 320
    assert connections == 1 or server.accepted > 1
    for link in server.links:
        assert len(link.opened) > 40 or link.peak <= 8


def test_row_29_no_streams_for_now(serve_h2: ServeH2, make_pool: MakePool, threads: Any) -> None:
    """A limit of 0 is one: who comes waits, with the pool's timeout, until it is raised."""
    server = serve_h2()
    pool = make_pool(max_connections=1)
    held = threads.submit(get, pool, server, "/hold")
    link = wait_opened(server, 1)
    link.call(lambda: link.settings(max_concurrent_streams=0))
    assert server.wait_for(lambda: link.limit == 0, PATIENCE)
    first = threads.submit(get, pool, server, "/")
    timeout = {"timeout": {"pool": 0.2, "connect": PATIENCE, "read": PATIENCE}}
    with pytest.raises(httpcore.PoolTimeout):
        pool.request("GET", server.url, extensions=timeout)
    assert not first.done()
    link.call(lambda: link.settings(max_concurrent_streams=2))
    assert first.result().status == 200
    answer(link, 1)
    assert held.result().status == 200
    assert server.accepted == 1


def test_another_connection_only_when_the_first_is_full(
    serve_h2: ServeH2, make_pool: MakePool, threads: Any
) -> None:
    """One connection per route while streams are free, another when the limits allow."""
    server = serve_h2(settings={"max_concurrent_streams": 5})
    pool = make_pool(max_connections=2)
    jobs = []
    for count in range(10):
        jobs.append(threads.submit(get, pool, server, "/hold"))
        link = wait_opened(server, count % 5 + 1, count // 5 + 1)
        assert server.accepted == count // 5 + 1
    waiting = threads.submit(get, pool, server, "/hold")
    for link in list(server.links):
        answer(link, *link.opened[:5])
    assert server.wait_for(lambda: sum(len(link.opened) for link in server.links) == 11, PATIENCE)
    link = next(link for link in server.links if len(link.opened) == 6)
    answer(link, link.opened[5])
    assert [job.result().content for job in [*jobs, waiting]] == [b"ok"] * 11
    assert server.accepted == 2


# ---------------------------------------------------------------------------------------------
# 44: fields as sites send them


GOOD = [(b":status", b"200"), (b"content-length", b"2")]


@pytest.mark.parametrize(
    ("value", "seen"),
    [(b"a ", b"a"), (b" a", b"a"), (b"\ta\t ", b"a"), (b" ", b""), (b"a b ", b"a b")],
)
def test_row_44_white_space_around_a_value(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, value: bytes, seen: bytes
) -> None:
    """Row 44: "Trailing-space value is trimmed and accepted"."""

    def respond(stream: Stream) -> None:
        stream.link.headers(stream.id, [*GOOD, (b"x-value", value)])
        stream.link.data(stream.id, b"ok")
        stream.link.headers(stream.id, [(b"x-trailer", value)], end=True)

    server = serve_h2(lambda link: link.serve(respond))
    for _ in range(2):  # the second time it comes out of the table of header fields
        response = get(pool, server)
        assert response.content == b"ok"
        assert header(response, b"x-value") == seen
        assert list(response.trailers) == [(b"x-trailer", seen)]
    assert server.accepted == 1


BAD_FIELDS = {
    "upper-case": [*GOOD, (b"X-Upper", b"v")],
    "empty name": [*GOOD, (b"", b"v")],
    "space in name": [*GOOD, (b"a b", b"v")],
    "colon in name": [*GOOD, (b"a:b", b"v")],
    "nul in name": [*GOOD, (b"a\0b", b"v")],
    "nul": [*GOOD, (b"x", b"a\0b")],
    "cr": [*GOOD, (b"x", b"a\rb")],
    "lf": [*GOOD, (b"x", b"a\nb")],
    "crlf": [*GOOD, (b"x", b"a\r\nset-cookie: b")],
    "connection": [*GOOD, (b"connection", b"close")],
    "keep-alive": [*GOOD, (b"keep-alive", b"timeout=5")],
    "proxy-connection": [*GOOD, (b"proxy-connection", b"close")],
    "transfer-encoding": [*GOOD, (b"transfer-encoding", b"chunked")],
    "upgrade": [*GOOD, (b"upgrade", b"h2c")],
    "no status": [(b"content-length", b"2")],
    "two statuses": [(b":status", b"200"), *GOOD],
    "status after a field": [(b"x", b"v"), *GOOD],
    "a request's pseudo-header": [(b":path", b"/"), *GOOD],
    "unknown pseudo-header": [*GOOD[:1], (b":reason", b"OK"), *GOOD[1:]],
    "pseudo-header after a field": [*GOOD, (b":late", b"v")],
    "status that is none": [(b":status", b"20x"), *GOOD[1:]],
    "status of two digits": [(b":status", b"99"), *GOOD[1:]],
    "empty status": [(b":status", b""), *GOOD[1:]],
    "length that is none": [(b":status", b"200"), (b"content-length", b"two")],
    "two lengths": [*GOOD, (b"content-length", b"3")],
    "negative length": [(b":status", b"200"), (b"content-length", b"-2")],
}
BAD_TRAILERS = {
    "trailer upper-case": [(b"X-Upper", b"v")],
    "trailer nul": [(b"x", b"a\0b")],
    "trailer connection": [(b"connection", b"close")],
    "trailer pseudo-header": [(b":status", b"200")],
}


@pytest.mark.parametrize("name", [*BAD_FIELDS, *BAD_TRAILERS])
def test_row_44_malformed_fields_reset_their_stream_only(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any, name: str
) -> None:
    """Row 44: "upper-case, NUL/CR/LF, connection-specific or misplaced pseudo-headers reset that
    stream only, others go on"."""

    def respond(stream: Stream) -> None:
        link = stream.link
        if stream.path == "/hold":
            return
        if name in BAD_TRAILERS:
            link.headers(stream.id, GOOD)
            link.data(stream.id, b"ok")
            link.headers(stream.id, BAD_TRAILERS[name], end=True)
        else:
            link.headers(stream.id, BAD_FIELDS[name])
            link.data(stream.id, b"ok")

    server = serve_h2(lambda link: link.serve(respond))
    other = threads.submit(get, pool, server, "/hold")
    link = wait_opened(server, 1)
    for number in (3, 5):  # the second time it comes out of the table of header fields
        with pytest.raises(httpcore.RemoteProtocolError) as caught:
            get(pool, server)
        assert str(caught.value)
        assert caught.value.phase == "response_started"
        if name not in BAD_TRAILERS:
            stream = link.streams[number]
            assert server.wait_for(lambda: stream.reset_by_client is not None, PATIENCE)  # noqa: B023
            assert stream.reset_by_client == Code.PROTOCOL_ERROR
    answer(link, 1)
    assert other.result().content == b"ok"
    assert (server.accepted, pool.stats()["active"]) == (1, 0)


def test_the_table_of_fields_changes_its_size(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool
) -> None:
    """What is sent is what arrives, whatever the server allows the compression to remember."""
    server = serve_h2()
    dice = random.Random(7541)
    for count in range(300):
        names = {f"x-{dice.randrange(6)}" for _ in range(dice.randrange(5))}
        sent = {name: "v" * dice.choice([1, 10, 200, 3000]) for name in sorted(names)}
        sent["cookie"] = f"a={dice.randrange(3)}"
        path = "/echo?" + "p" * dice.choice([1, 120, 121, 122, 500])
        response = pool.request("GET", server.url + path, headers=sent, extensions=TIMEOUTS)
        told = json.loads(response.content)
        assert told["path"] == path
        assert {k: v for k, v in told["headers"] if not k.startswith(":")} == sent
        if count % 10 == 0:
            size = dice.choice([0, 30, 100, 4096, 65536])
            server.link.call(lambda: server.link.settings(header_table_size=size))  # noqa: B023
    assert server.accepted == 1


# ---------------------------------------------------------------------------------------------
# 45: one slow reader


def read_with(read: Callable[[Any], Iterable[bytes]], stream: Any) -> int:
    return sum(map(len, read(stream)))


@pytest.mark.parametrize("secure", [False, True])
def test_row_45_an_unread_stream_stalls_no_other(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, secure: bool
) -> None:
    """Row 45: "with one stream unread for 30 s, nine others reach full rate and memory stays ≤ the
    window sum". Here without a clock: nine others get all of their bodies while one stands still,
    and what is held for that one is its window."""
    server = serve_h2(secure=secure)
    size, others = 18 * MIB, 9
    with pool.stream("GET", f"{server.url}/bytes/{size}", extensions=TIMEOUTS) as unread:
        link = server.link
        stream = link.streams[number_of(unread)]

        def work(_: int) -> None:
            with pool.stream("GET", f"{server.url}/bytes/{size}", extensions=TIMEOUTS) as response:
                assert sum(map(len, response.stream)) == size

        with ThreadPoolExecutor(others) as executor:
            list(executor.map(work, range(others)))
        # All of its window was used, and not more.
        assert (stream.sent, stream.granted) == (STREAM_WINDOW, 0)
        assert link.peak == others + 1
        digest = 0
        for part in unread.stream:
            assert part == pattern(len(part), digest % (32 * 251))
            digest += len(part)
        assert digest == size
    assert server.accepted == 1


def test_row_45_memory_of_unread_streams(serve_h2: ServeH2, pool: httpcore.ConnectionPool) -> None:
    """Row 45: "memory stays ≤ the window sum", of two unread streams while a third is read."""
    server = serve_h2()
    size = 40 * MIB
    url = f"{server.url}/bytes/{size}"
    with pool.stream("GET", url, extensions=TIMEOUTS):  # the server has made the body by now
        pass
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        with (
            pool.stream("GET", url, extensions=TIMEOUTS),
            pool.stream("GET", url, extensions=TIMEOUTS),
            pool.stream("GET", url, extensions=TIMEOUTS) as read,
        ):
            assert sum(map(len, read.stream)) == size
            after, peak = tracemalloc.get_traced_memory()
            held = [stream.sent for stream in server.link.streams.values() if not stream.closed]
            assert held == [STREAM_WINDOW] * 2
    finally:
        tracemalloc.stop()
    assert after - before < 2 * STREAM_WINDOW + 2 * MIB
    assert peak - before < 3 * STREAM_WINDOW + 2 * MIB


def test_a_body_of_small_frames_takes_no_more_memory(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool
) -> None:
    """An unread body that comes in frames of ten bytes is not held in objects of ten bytes."""
    size = 200_000

    def respond(stream: Stream) -> None:
        stream.link.frame_size = 10
        routes(stream)

    server = serve_h2(lambda link: link.serve(respond))
    server.body(size)
    tracemalloc.start()
    try:
        with (
            pool.stream("GET", f"{server.url}/bytes/{size}", extensions=TIMEOUTS) as unread,
        ):
            get(pool, server, "/status/200")
            stream = server.link.streams[1]
            assert server.wait_for(lambda: stream.answered, PATIENCE)
            get(pool, server, "/status/200")  # which was sent after it
            now, _ = tracemalloc.get_traced_memory()
            assert now < 4 * size
            assert b"".join(unread.stream) == pattern(size)
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------------------------------------
# 46: PING


def test_row_46_pings_go_out_while_a_stream_is_open(
    serve_h2: ServeH2, make_pool: MakePool, threads: Any
) -> None:
    """Row 46: "Opt-in PING during an open stream each N s"; as long as they are answered, the
    stream lives."""
    server = serve_h2()
    pool = make_pool(ping_interval=0.05)
    job = threads.submit(get, pool, server, "/hold")
    link = wait_opened(server, 1)
    assert server.wait_for(lambda: len(link.seen(Kind.PING)) >= 3, PATIENCE)
    answer(link, 1)
    assert job.result().content == b"ok"
    assert all(frame.flags == 0 for frame in link.seen(Kind.PING))


def test_row_46_there_are_none_unless_asked_for(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool
) -> None:
    server = serve_h2()
    assert get(pool, server, "/drip/20?delay=0.005").content == pattern(20)
    assert server.link.seen(Kind.PING) == []


@pytest.mark.parametrize("reads", [None, PATIENCE])
def test_row_46_an_unanswered_ping_ends_the_stream(
    serve_h2: ServeH2, make_pool: MakePool, reads: float | None
) -> None:
    """Row 46: "unanswered → stream error within N + t, connection evicted"."""
    server = serve_h2(unanswering)
    pool = make_pool(ping_interval=0.2, ping_timeout=0.3)
    start = time.monotonic()
    with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)) as caught:
        pool.request("GET", f"{server.url}/hold", extensions={"timeout": {"read": reads}})
    assert 0.4 < time.monotonic() - start < 1.5
    assert "ping" in str(caught.value).lower()
    assert caught.value.phase == "maybe_processed"
    assert len(server.link.seen(Kind.PING)) == 1
    assert pool.stats()["connections"] == 0
    assert server.wait_for(lambda: server.open == 0)
    assert header(get(pool, server), b"x-connection") == b"2"


def test_row_46_nobody_joins_while_the_probe_is_out(
    serve_h2: ServeH2, make_pool: MakePool, threads: Any
) -> None:
    """Row 46: "connection evicted while the probe is out, not handed to others"."""
    server = serve_h2(unanswering)
    pool = make_pool(ping_interval=0.1, ping_timeout=PATIENCE)
    job = threads.submit(get, pool, server, "/hold")
    link = wait_opened(server, 1)
    assert server.wait_for(lambda: link.seen(Kind.PING), PATIENCE)
    for _ in range(3):
        assert header(get(pool, server), b"x-connection") == b"2"
    # It is answered after all: who waits there was not disturbed.
    link.call(lambda: link.frame(Kind.PING, link.seen(Kind.PING)[0].payload, 1))
    answer(link, 1)
    assert header(job.result(), b"x-connection") == b"1"


def test_pings_of_the_server_are_answered(serve_h2: ServeH2, pool: httpcore.ConnectionPool) -> None:
    def respond(stream: Stream) -> None:
        stream.link.ping(b"abcdefgh")
        stream.link.run(until=lambda: stream.link.pongs)
        routes(stream)

    server = serve_h2(lambda link: link.serve(respond))
    assert get(pool, server).status == 200
    assert server.link.pongs == [b"abcdefgh"]


# ---------------------------------------------------------------------------------------------
# Connections that are dead, or only quiet


WAYS_TO_DIE: dict[str, Callable[[Link], None]] = {
    "closed": lambda link: link.close(),
    "reset": lambda link: link.abort(),
    "goaway and closed": lambda link: (link.goaway(), link.close()),  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("way", WAYS_TO_DIE)
def test_a_dead_idle_connection_is_found_before_use(
    serve_h2: ServeH2, make_pool: MakePool, way: str, secure: bool
) -> None:
    """A POST with a body that cannot be repeated: it would fail if it were sent there."""
    server = serve_h2(secure=secure)
    pool = make_pool(max_connections=1)
    for number in range(1, 6):
        response = pool.request("POST", server.url, content=iter([b"x"]), extensions=TIMEOUTS)
        assert header(response, b"x-connection") == b"%d" % number
        link = server.links[-1]
        link.call(lambda: WAYS_TO_DIE[way](link), wait=False)  # noqa: B023
        stream = response.extensions["network_stream"]
        wait_readable(stream)
    assert len(pool.connections) == 1


@pytest.mark.parametrize("secure", [False, True])
def test_an_idle_connection_on_which_something_came_is_not_dead(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, secure: bool
) -> None:
    """SETTINGS, PING and WINDOW_UPDATE come on idle connections too."""
    server = serve_h2(secure=secure)
    for number in range(1, 4):
        response = get(pool, server)
        server.link.call(lambda: server.link.ping(b"%08d" % number))  # noqa: B023
        server.link.call(lambda: server.link.settings(max_concurrent_streams=9))
        server.link.call(lambda: server.link.window_update(0, 1000))
        wait_readable(response.extensions["network_stream"])
    get(pool, server)
    assert server.wait_for(lambda: len(server.link.pongs) == 3, PATIENCE)
    assert server.accepted == 1


def test_a_server_that_goes_away_with_streams_open(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any
) -> None:
    """All of them end, none hangs; each says how far it got."""
    server = serve_h2(secure=True)
    jobs = [threads.submit(post, pool, server, "/hold") for _ in range(5)]
    link = wait_opened(server, 5)
    begun = threads.submit(begin, pool, server, "/hold")
    wait_opened(server, 6)
    last = link.opened[-1]
    link.call(lambda: (link.streams[last].head(), link.data(last, b"half")))
    response = begun.result()
    link.call(link.abort, wait=False)
    for job in jobs:
        with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)) as caught:
            job.result()
        assert caught.value.phase == "maybe_processed"
    with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)) as caught:
        response.read()
    assert caught.value.phase == "response_started"
    assert pool.stats()["connections"] == 0


# ---------------------------------------------------------------------------------------------
# What ends one request, and no other


@pytest.fixture
def neighbours(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any
) -> Iterator[tuple[FrameServer, Link]]:
    """A server with two requests under way: one without an answer, one whose body has begun. Both
    have to end well."""
    server = serve_h2()
    waiting = threads.submit(get, pool, server, "/hold")
    wait_opened(server, 1)
    reading = threads.submit(get, pool, server, "/hold")
    link = wait_opened(server, 2)
    link.call(lambda: (link.streams[3].head(), link.streams[3].write(b"half, ")))
    yield server, link
    link.call(lambda: link.streams[1].respond(200, b"late"))
    link.call(lambda: link.streams[3].write(b"and half", end=True))
    assert waiting.result().content == b"late"
    assert reading.result().content == b"half, and half"
    assert (server.accepted, len(server.links)) == (1, 1)
    assert (pool.stats()["active"], pool.stats()["requests"]) == (0, 0)
    assert get(pool, server).status == 200
    assert server.accepted == 1


Neighbours = tuple[FrameServer, Link]


def was_cancelled(server: FrameServer, link: Link, number: int) -> bool:
    stream = link.streams[number]
    assert server.wait_for(lambda: stream.closed, PATIENCE)
    assert stream.reset_by_client == Code.CANCEL
    return True


def test_a_server_that_reads_no_more(serve_h2: ServeH2, pool: httpcore.ConnectionPool) -> None:
    """Neither windows nor the kernel's buffers are endless: a write timeout, and nobody else is
    sent there."""

    def script(link: Link) -> None:
        link.window_update(0, 2**30)
        link.serve(until=lambda: link.number == 1 and link.opened)
        link.reading = False
        link.run()

    server = serve_h2(script, settings={"initial_window_size": 2**30})
    with pytest.raises(httpcore.WriteTimeout) as caught:
        pool.request(
            "POST", server.url, content=bytes(64 * MIB), extensions={"timeout": {"write": 0.2}}
        )
    assert caught.value.phase == "maybe_processed"
    assert header(get(pool, server), b"x-connection") == b"2"


@pytest.mark.parametrize("kind", ["read", "total"])
def test_a_timeout_ends_its_stream_alone(
    neighbours: Neighbours, pool: httpcore.ConnectionPool, kind: str
) -> None:
    server, link = neighbours
    start = time.monotonic()
    with pytest.raises(httpcore.ReadTimeout) as caught:
        pool.request("GET", f"{server.url}/hold", extensions={"timeout": {kind: 0.1}})
    assert 0.09 < time.monotonic() - start < 2.0
    assert caught.value.phase == "maybe_processed"
    assert was_cancelled(server, link, 5)


def test_a_timeout_within_the_body(neighbours: Neighbours, pool: httpcore.ConnectionPool) -> None:
    server, link = neighbours
    with pytest.raises(httpcore.ReadTimeout) as caught:
        pool.request("GET", f"{server.url}/drip/3?delay=20", extensions={"timeout": {"read": 0.1}})
    assert caught.value.phase == "response_started"
    assert was_cancelled(server, link, 5)


def test_an_upload_that_is_not_taken(neighbours: Neighbours, pool: httpcore.ConnectionPool) -> None:
    """The server grants no window: a write timeout, which the others do not feel."""
    server, link = neighbours
    link.call(lambda: setattr(link, "refill", False))
    with pytest.raises(httpcore.WriteTimeout):
        pool.request(
            "POST",
            f"{server.url}/hold",
            content=bytes(60_000 + 100_000),
            extensions={"timeout": {"write": 0.1, "read": 0.1}},
        )
    assert was_cancelled(server, link, 5)
    link.call(lambda: link.window_update(0, 1_000_000))


def test_a_token_ends_its_stream_alone(
    neighbours: Neighbours, pool: httpcore.ConnectionPool, threads: Any
) -> None:
    server, link = neighbours
    tokens = [httpcore.CancelToken() for _ in range(3)]
    jobs = [threads.submit(get, pool, server, "/hold", cancel=token) for token in tokens]
    wait_opened(server, 5)
    for token in tokens:
        token.cancel()
    for job in jobs:
        with pytest.raises(Aborted) as caught:
            job.result(2.0)
        assert caught.value.phase == "maybe_processed"
    assert all(was_cancelled(server, link, number) for number in (5, 7, 9))


def test_closing_a_response_from_another_thread(
    neighbours: Neighbours, pool: httpcore.ConnectionPool, threads: Any
) -> None:
    server, link = neighbours
    with pool.stream("GET", f"{server.url}/drip/3?delay=20", extensions=TIMEOUTS) as response:
        first = threading.Event()

        def read() -> None:
            for _ in response.stream:
                first.set()

        job = threads.submit(read)
        assert first.wait(PATIENCE)
        response.close()
        with pytest.raises(Aborted):
            job.result(2.0)
    assert was_cancelled(server, link, 5)


@pytest.mark.parametrize("begun", [False, True])
def test_a_reset_by_the_server_ends_its_stream_alone(
    neighbours: Neighbours, pool: httpcore.ConnectionPool, threads: Any, begun: bool
) -> None:
    server, link = neighbours
    job = threads.submit(pool.request, "POST", f"{server.url}/hold", content=b"x")
    wait_opened(server, 3)
    if begun:
        link.call(lambda: link.streams[5].head())
    link.call(lambda: link.reset(5, Code.INTERNAL_ERROR))
    with pytest.raises(httpcore.RemoteProtocolError, match=r"(?i)internal") as caught:
        job.result(PATIENCE)
    assert caught.value.phase == ("response_started" if begun else "maybe_processed")


def test_an_interrupt_ends_its_stream_alone(
    neighbours: Neighbours, pool: httpcore.ConnectionPool
) -> None:
    """Whoever is interrupted while waiting may be the one that reads for all."""
    server, link = neighbours
    for number in (5, 7, 9):
        waits = threading.Event()

        def note(event: str, details: Any, waits: threading.Event = waits) -> None:
            if event == "http2.receive_response_headers.started":
                waits.set()

        thread = Interruptible(one_step(lambda: get(pool, server, "/hold", trace=note)))
        thread.start()
        wait_opened(server, number // 2 + 1)
        assert waits.wait(PATIENCE)
        assert thread.interrupt()
        # A thread that waits in C is interrupted when it comes back.
        link.call(lambda: link.streams[number].head())  # noqa: B023
        link.call(lambda: link.streams[number].write(b"x"))  # noqa: B023
        thread.join(PATIENCE)
        assert thread.interrupted and thread.failure is None
        assert was_cancelled(server, link, number)


def one_step(action: Callable[[], object]) -> Callable[[], bool]:
    left = iter([action])

    def step() -> bool:
        for action in left:
            action()
        return False

    return step


def test_an_interrupt_at_any_point(serve_h2: ServeH2, pool: httpcore.ConnectionPool) -> None:
    """Wherever it strikes: the stream is ended, the connection is good or closed, nothing hangs."""
    server = serve_h2()
    for point in itertools.count(1):
        if not interrupt_at(point, lambda: get(pool, server, "/bytes/20000").content):
            break
        assert pool.stats()["requests"] == pool.stats()["active"] == 0, point
        assert get(pool, server, "/bytes/10").content == pattern(10), point
        assert len(pool.connections) == 1
    assert point > 50
    assert server.wait_for(lambda: not any(link.open for link in server.links if not link.gone))


# ---------------------------------------------------------------------------------------------
# Who reads


def test_who_reads_may_leave(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any
) -> None:
    """Any thread may be the one that reads; none is lost when that one is done."""
    server = serve_h2()
    jobs = []
    for count in range(1, 11):
        jobs.append(threads.submit(get, pool, server, "/hold"))
        link = wait_opened(server, count)
    for number, job in zip(link.opened, jobs, strict=True):  # the one that reads is the first
        answer(link, number)
        assert job.result(PATIENCE).content == b"ok"


@pytest.mark.parametrize("backwards", [False, True])
def test_who_reads_may_time_out(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any, backwards: bool
) -> None:
    """Or be the one that fails."""
    server = serve_h2()
    timeouts = [{"timeout": {"read": 0.05 * count}} for count in range(1, 5)]
    timeouts.append(TIMEOUTS)
    jobs = []
    for count, extensions in enumerate(reversed(timeouts) if backwards else timeouts, 1):
        jobs.append(threads.submit(get, pool, server, "/hold", **extensions))
        link = wait_opened(server, count)
    position = 0 if backwards else 4
    for job in jobs:
        if job is not jobs[position]:
            with pytest.raises(httpcore.ReadTimeout):
                job.result(PATIENCE)
    answer(link, link.opened[position])
    assert jobs[position].result(PATIENCE).content == b"ok"


def test_a_reader_of_a_body_reads_for_the_others(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any
) -> None:
    """And one that stops to read does not keep them from their data."""
    server = serve_h2()
    job = threads.submit(begin, pool, server, "/hold")
    link = wait_opened(server, 1)
    others = [threads.submit(get, pool, server, "/hold") for _ in range(3)]
    wait_opened(server, 4)
    link.call(lambda: (link.streams[1].head(), link.streams[1].write(b"x" * 100)))
    response = job.result(PATIENCE)
    answer(link, 3)
    assert response.stream.read1() == b"x" * 100
    # Nobody is in a call with stream 1 now.
    answer(link, 5, 7)
    assert [other.result(PATIENCE).content for other in others] == [b"ok"] * 3
    link.call(lambda: link.streams[1].write(b"y", end=True))
    assert response.read() == b"y"


# ---------------------------------------------------------------------------------------------
# Responses that are closed early


def close_early(
    pool: httpcore.ConnectionPool, server: FrameServer, workers: int, each: int, size: int
) -> None:
    url = f"{server.url}/bytes/{size}"

    def work(_: int) -> None:
        for count in range(each):
            with pool.stream("GET", url, extensions=TIMEOUTS) as response:
                assert response.status == 200
                if count % 2:
                    assert response.stream.read(1000) == pattern(1000)

    with ThreadPoolExecutor(workers) as executor:
        list(executor.map(work, range(workers)))


def test_responses_closed_early(serve_h2: ServeH2, pool: httpcore.ConnectionPool) -> None:
    """ "10,000 early-closed 4 MB streams: no hang, memory flat", for 100 of them."""
    server = serve_h2(secure=True)
    close_early(pool, server, 4, 2, 4 * MIB)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        close_early(pool, server, 4, 25, 4 * MIB)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2 * MIB
    link = server.link
    assert server.wait_for(lambda: link.open == 0)
    # What had arrived in whole by then needs no RST_STREAM.
    cancelled = sum(s.reset_by_client == Code.CANCEL for s in link.streams.values())
    assert cancelled > 0
    assert all(s.reset_by_client in (None, Code.CANCEL) for s in link.streams.values())
    assert get(pool, server, f"/bytes/{4 * MIB}").content == pattern(4 * MIB)
    assert (server.accepted, pool.stats()["active"]) == (1, 0)


def test_what_nobody_reads_is_given_back_to_the_connection(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool
) -> None:
    """585 MiB of bodies that were closed early, more than half of the connection's window: the rest
    of it would not be enough for as much again."""

    def respond(stream: Stream) -> None:
        if stream.path != "/flood":
            return routes(stream)
        stream.head()
        # Whatever the client says meanwhile.
        stream.link.send(encode_frame(Kind.DATA, bytes(16384), 0, stream.id) * (13 * 64))
        stream.link.window -= 13 * MIB
        return None

    server = serve_h2(lambda link: link.serve(respond))
    for _ in range(45):
        begin(pool, server, "/flood").close()
    assert get(pool, server, f"/bytes/{MIB}").content == pattern(MIB)
    assert server.link.window > 585 * MIB
    assert server.accepted == 1


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_responses_closed_early_10_000_times(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool
) -> None:
    """ "10,000 early-closed 4 MB streams: no hang, memory flat" """
    server = serve_h2(secure=True)
    close_early(pool, server, 4, 250, 4 * MIB)
    before = resident()
    for _ in range(10):
        close_early(pool, server, 4, 250, 4 * MIB)
        server.link.call(server.link.forget)
    gc.collect()
    assert resident() - before < 16 * MIB
    assert get(pool, server, f"/bytes/{MIB}").content == pattern(MIB)
    assert server.accepted == 1


# ---------------------------------------------------------------------------------------------
# Around the connection


def test_closing_the_pool_ends_what_is_under_way(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any
) -> None:
    server = serve_h2(secure=True)
    jobs = [threads.submit(get, pool, server, "/hold") for _ in range(5)]
    wait_opened(server, 5)
    response = begin(pool, server, "/drip/3?delay=20")
    pool.close()
    for job in jobs:
        with pytest.raises(Aborted) as caught:
            job.result(2.0)
        assert caught.value.phase == "maybe_processed"
    with pytest.raises(Aborted):
        response.read()
    assert server.wait_for(lambda: server.open == 0)
    assert pool.stats()["connections"] == 0
    assert get(pool, server).status == 200  # it opens again


def test_keepalive_expiry(
    serve_h2: ServeH2, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, threads: Any
) -> None:
    """An idle connection ends; one with a request on it does not, however old."""
    server = serve_h2()
    pool = make_pool(keepalive_expiry=5.0)
    clock = time.monotonic
    later = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: clock() + later)
    held = threads.submit(pool.request, "GET", f"{server.url}/hold")
    link = wait_opened(server, 1)
    expected = [(10.0, b"1"), (20.0, b"1")]
    for later, number in expected:  # noqa: B007 -- the clock reads it
        assert header(pool.request("GET", server.url), b"x-connection") == number
    answer(link, 1)
    assert held.result(PATIENCE).content == b"ok"
    later = 24.0
    assert header(pool.request("GET", server.url), b"x-connection") == b"1"
    later = 30.0
    assert header(pool.request("GET", server.url), b"x-connection") == b"2"


@pytest.mark.parametrize("replayed", [False, True])
def test_a_response_that_is_dropped(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, replayed: bool
) -> None:
    """Its stream is ended by reference counting alone, also when the request was sent twice."""

    def script(link: Link) -> None:
        if replayed and link.number == 1:
            link.serve(hold, until=lambda: link.opened)
            link.goaway(last=0)
        link.serve()

    server = serve_h2(script)
    gc.disable()
    try:
        response = begin(pool, server, f"/bytes/{32 * MIB}")
        number = number_of(response)
        with pytest.warns(ResourceWarning, match="unread response"):
            del response
        assert pool.stats()["requests"] == 0
    finally:
        gc.enable()
    assert was_cancelled(server, server.links[-1], number)
    assert get(pool, server).status == 200
    assert server.accepted == 1 + replayed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("secure", [False, True])
def test_a_fork(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any, secure: bool
) -> None:
    """A child begins with no connections, and leaves those of its parent alone, also while other
    threads of the parent wait for theirs."""
    server = serve_h2(secure=secure)
    jobs = [threads.submit(get, pool, server, "/hold") for _ in range(3)]
    link = wait_opened(server, 3)
    before = len(link.frames)
    for number in (2, 3):
        told = in_child(lambda: [header(get(pool, server), b"x-connection") for _ in range(3)])
        assert told == [b"%d" % number] * 3
    assert len(link.frames) == before
    answer(link, *link.opened)
    assert [job.result().content for job in jobs] == [b"ok"] * 3
    assert header(get(pool, server), b"x-connection") == b"1"


class Crowd:
    """Threads that each do what comes to their mind, until `end`; every answer is checked."""

    def __init__(self, pool: httpcore.ConnectionPool, server: FrameServer, seconds: float) -> None:
        self.pool = pool
        self.server = server
        self.end = time.monotonic() + seconds
        self.done: Counter[str] = Counter()

    def run(self, count: int) -> None:
        with ThreadPoolExecutor(count) as executor:
            list(executor.map(self._work, range(count)))

    def _work(self, worker: int) -> None:
        dice = random.Random(worker)
        acts = [self.reads, self.uploads, self.leaves, self.is_late, self.cancels, self.is_refused]
        while time.monotonic() < self.end:
            act = dice.choice(acts)
            act(dice, f"{worker}-{self.done.total()}")
            self.done[act.__name__] += 1

    def _ask(self, method: str, path: str, nonce: str, **options: Any) -> httpcore.Response:
        extensions = {**TIMEOUTS, **options.pop("extensions", {})}
        url, headers = self.server.url + path, {"X-Nonce": nonce}
        response = self.pool.request(method, url, headers=headers, extensions=extensions, **options)
        assert header(response, b"x-nonce") == nonce.encode()
        return response

    def reads(self, dice: random.Random, nonce: str) -> None:
        length = dice.choice([0, 1, 100, 16384, 70_000, MIB])
        assert self._ask("GET", f"/bytes/{length}", nonce).content == self.server.body(length)

    def uploads(self, dice: random.Random, nonce: str) -> None:
        length = dice.choice([0, 1, 10_000, 300_000])
        response = self._ask("POST", "/upload", nonce, content=bytes(length))
        assert b'"length": %d,' % length in response.content

    def leaves(self, dice: random.Random, nonce: str) -> None:
        url = f"{self.server.url}/bytes/{MIB}"
        with self.pool.stream("GET", url, extensions=TIMEOUTS) as response:
            length = dice.choice([0, 1, 1000, 300_000])
            assert response.stream.read(length) == self.server.body(MIB)[:length]

    def is_late(self, dice: random.Random, nonce: str) -> None:
        timeout = {"read": dice.choice([0.001, 0.01, 0.05]), "pool": PATIENCE}
        with pytest.raises(httpcore.ReadTimeout):
            self._ask("GET", "/hold", nonce, extensions={"timeout": timeout})

    def cancels(self, dice: random.Random, nonce: str) -> None:
        token = httpcore.CancelToken()
        timer = threading.Timer(dice.choice([0, 0.001, 0.01, 0.05]), token.cancel)
        timer.start()
        with pytest.raises(Aborted):
            self._ask("GET", "/hold", nonce, extensions={"cancel": token})
        timer.join()

    def is_refused(self, dice: random.Random, nonce: str) -> None:
        response = self._ask("POST", "/early/1000", nonce, content=bytes(200_000))
        assert (response.status, response.content) == (413, b"too large")


def crowd(serve_h2: ServeH2, make_pool: MakePool, secure: bool, seconds: float) -> None:
    def script(link: Link) -> None:
        if link.serve(until=lambda: len(link.opened) >= 20 * link.number):
            link.goaway()
            link.serve()

    server = serve_h2(script, secure=secure, settings={"max_concurrent_streams": 20})
    pool = make_pool(max_connections=3)
    everyone = Crowd(pool, server, seconds)
    everyone.run(30)
    assert len(everyone.done) == 6
    assert pool.stats()["requests"] == pool.stats()["active"] == pool.stats()["waiting"] == 0
    assert server.wait_for(lambda: not any(link.open for link in server.links if not link.gone))
    assert len(pool.connections) <= 3
    assert get(pool, server).status == 200


@pytest.mark.parametrize("secure", [False, True])
def test_everything_at_once(serve_h2: ServeH2, make_pool: MakePool, secure: bool) -> None:
    """Reading, sending, timing out, cancelling and closing in 30 threads, while the server says
    GOAWAY now and then: every answer is right, and nothing is left over."""
    crowd(serve_h2, make_pool, secure, 1.0)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("secure", [False, True])
def test_everything_at_once_for_long(serve_h2: ServeH2, make_pool: MakePool, secure: bool) -> None:
    crowd(serve_h2, make_pool, secure, 60.0)
