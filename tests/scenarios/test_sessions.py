"""Many threads on one session, responses that nobody reads, and what a failed connect says.

Owns: scenarios 8, 17, 20 (the text only) and 21. Must not know: private parts of the packages.
Sources: the scenario rows; psf/requests#3461, #6576, urllib3#3167.
"""

from __future__ import annotations

import errno
import gc
import logging
import pickle
import socket
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import requests
from urllib3.util.retry import Retry

import httpcore
from tests.support import PATIENCE
from tests.support.clients import MakeSession
from tests.support.servers import LocalServer, Peer, Serve, pattern
from tests.support.threads import until

pytestmark = pytest.mark.no_cover


def stats(session: requests.Session) -> dict[str, int]:
    found: dict[str, int] = session.get_adapter("http://").pool.stats()
    return found


def in_threads(count: int, work: Callable[[], None]) -> None:
    """Run `work` in `count` threads that begin together; the first failure is raised."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        try:
            barrier.wait(PATIENCE)
            work()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


# ---------------------------------------------------------------------------------------------
# 8: more threads than "pool size"

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def quick(peer: Peer) -> None:
    """The least work per request that a server can do, since it runs in this process too."""
    while peer.recv_head() is not None:
        peer.send(ANSWER)


@pytest.mark.parametrize(
    "count",
    [2_000, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])],
)
def test_row_8_many_threads(
    count: int, serve: Serve, make_session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    """ "64 threads, default adapter, one host, 10 000 requests: no warning logged, server accepts
    <= 64 connections in all." 2 000 here; the soak has 10 000."""
    threads = 64
    requests_each = -(-count // threads)
    server = serve(quick)
    session = make_session()
    request = session.prepare_request(requests.Request("GET", server.url))
    answered: list[bytes] = []

    def work() -> None:
        for _ in range(requests_each):
            answered.append(session.send(request, timeout=PATIENCE * 3).content)

    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        in_threads(threads, work)

    assert len(answered) == threads * requests_each >= count
    assert set(answered) == {b"hello"}
    assert caplog.records == []
    assert server.accepted <= threads
    found = stats(session)
    assert found["active"] == found["waiting"] == found["dialing"] == 0
    assert found["idle"] == server.accepted


@pytest.mark.parametrize(
    "limits", [{"pool_maxsize": 3, "pool_block": True}, {"max_connections": 3}], ids=str
)
def test_row_8_a_low_limit_makes_threads_queue(
    limits: dict[str, Any],
    serve: Serve,
    make_session: MakeSession,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """ "A low limit makes threads queue instead of opening more." The server answers nobody
    until three requests have come and thirteen wait; so a fourth connection would be seen."""
    threads, limit = 16, 3
    arrived = threading.Semaphore(0)

    def handler(peer: Peer) -> None:
        while peer.recv_head() is not None:
            arrived.release()
            answer_now.wait(PATIENCE)
            peer.send(ANSWER)

    server = serve(handler)
    answer_now = server.event()
    session = make_session(**limits)
    done = threading.Semaphore(0)

    def work() -> None:
        assert session.get(server.url, timeout=PATIENCE * 3).content == b"hello"
        done.release()

    crowd = threading.Thread(target=in_threads, args=(threads, work), daemon=True)
    with caplog.at_level(logging.WARNING):
        crowd.start()
        for _ in range(limit):
            assert arrived.acquire(timeout=PATIENCE)
        until(lambda: stats(session)["waiting"] == threads - limit)
        counted = {name: n for name, n in stats(session).items() if isinstance(n, int)}
        assert counted == {
            "connections": limit,
            "active": limit,
            "idle": 0,
            "dialing": 0,
            "waiting": threads - limit,
            "requests": limit,
        }
        assert not arrived.acquire(blocking=False)
        answer_now.set()
        crowd.join(60)
    for _ in range(threads):
        assert done.acquire(blocking=False)
    assert server.accepted == limit
    assert caplog.records == []


# ---------------------------------------------------------------------------------------------
# 17: responses that nobody reads to the end


class Streams:
    """Answers ``/length/N`` and ``/chunked/N`` whole; ``/broken/N`` half, then it closes;
    ``/stalled/N`` half, and the rest when the client has gone."""

    def __call__(self, peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            _, kind, size = request.target.decode("ascii").split("/")
            body = pattern(int(size))
            if kind == "chunked":
                peer.respond(200, [body[:1000], body[1000:]])
            elif kind == "length":
                peer.respond(200, body)
            else:
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                peer.send(head + body[: len(body) // 2])
                if kind == "stalled":
                    peer.wait_closed()
                return


def close_unread(session: requests.Session, url: str) -> None:
    session.get(url, stream=True, timeout=PATIENCE).close()


def close_half_read(session: requests.Session, url: str) -> None:
    with session.get(url, stream=True, timeout=PATIENCE) as response:
        assert response.raw.read(10) == pattern(10)


def stop_iterating(session: requests.Session, url: str) -> None:
    response = session.get(url, stream=True, timeout=PATIENCE)
    for piece in response.iter_content(10):
        assert piece == pattern(10)
        break
    response.close()


def drop(session: requests.Session, url: str) -> None:
    session.get(url, stream=True, timeout=PATIENCE)


def drop_half_read(session: requests.Session, url: str) -> None:
    response = session.get(url, stream=True, timeout=PATIENCE)
    assert next(response.iter_content(10)) == pattern(10)


def break_off(session: requests.Session, url: str) -> None:
    response = session.get(url, stream=True, timeout=PATIENCE)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        list(response.iter_content(1000))


ABANDONED = [
    *[(how, f"{kind}/{size}") for how in (close_unread, close_half_read, stop_iterating)
      for kind in ("length", "chunked", "stalled") for size in (20_000, 2_000_000)],
    *[(how, f"{kind}/2000000") for how in (drop, drop_half_read)
      for kind in ("length", "chunked", "stalled")],
    (break_off, "broken/2000"),
    (break_off, "broken/2000000"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("how", "path"), ABANDONED, ids=[f"{how.__name__}-{path}" for how, path in ABANDONED]
)
def test_row_17_never_hangs(
    how: Callable[[requests.Session, str], None],
    path: str,
    serve: Serve,
    make_session: MakeSession,
) -> None:
    """ "pool_block, maxsize=3: 50 streamed responses, each closed unread, dropped without close,
    or broken mid-body, never hang." Each needs a connection, and there are three."""
    server = serve(Streams())
    session = make_session(pool_block=True, pool_maxsize=3, pool_timeout=PATIENCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(50):
            how(session, f"{server.url}/{path}")
    response = session.get(f"{server.url}/length/5", timeout=PATIENCE)
    assert response.content == pattern(5)
    assert stats(session)["active"] == stats(session)["waiting"] == 0
    assert stats(session)["connections"] <= 3


def test_row_17_dropped_in_a_cycle(serve: Serve, make_session: MakeSession) -> None:
    """A response that only the garbage collector finds frees its connection too, and wakes the
    thread that waits for it."""
    server = serve(Streams())
    session = make_session(pool_block=True, pool_maxsize=1, pool_timeout=PATIENCE)
    bodies: list[bytes] = []
    waiting = threading.Thread(
        target=lambda: bodies.append(session.get(f"{server.url}/length/5", timeout=30).content),
        daemon=True,
    )
    gc.collect()  # what earlier tests have left would warn here
    gc.disable()  # the collector must not come by itself, before there is a thread that waits
    try:
        response: Any = session.get(f"{server.url}/stalled/2000", stream=True, timeout=PATIENCE)
        response.itself = response
        del response
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            waiting.start()
            until(lambda: stats(session)["waiting"] == 1)
            gc.collect()
            waiting.join(PATIENCE)
    finally:
        gc.enable()
    assert bodies == [pattern(5)]
    assert ["/stalled/2000" in str(warning.message) for warning in caught] == [True]


def test_row_17_in_the_core(serve: Serve) -> None:
    """The same for a pool of three without requests: closed, dropped, and broken."""
    server = serve(Streams())
    extensions = {"timeout": {"read": PATIENCE, "pool": PATIENCE}}
    with httpcore.ConnectionPool(max_connections=3) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for path in ("length/2000000", "chunked/2000000", "stalled/2000", "broken/2000"):
            for turn in range(51):
                response = pool.request(
                    "GET", f"{server.url}/{path}", stream=True, extensions=extensions
                )
                if turn % 3 == 0:
                    response.close()
                elif turn % 3 == 1:
                    assert next(iter(response.stream))
                elif path == "broken/2000":
                    with pytest.raises(httpcore.RemoteProtocolError):
                        response.read()
        del response
        last = pool.request("GET", f"{server.url}/length/5", extensions=extensions)
        assert last.content == pattern(5)
        assert pool.stats()["active"] == pool.stats()["waiting"] == 0


@pytest.mark.parametrize("kind", ["length", "chunked"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_row_17_short_remainders_are_drained(
    kind: str,
    tls: bool,
    ca_bundle: str,
    server_tls_context: Any,
    serve: Serve,
    make_session: MakeSession,
) -> None:
    """ "Remainders <= 64 KiB already received are drained so the connection is reused." That all
    has arrived is known: the server has sent it, in one piece, before the client looks."""
    sent = threading.Semaphore(0)
    size = 60_000

    def handler(peer: Peer) -> None:
        while peer.recv_head() is not None:
            body = pattern(size)
            if kind == "chunked":
                head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            else:
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            peer.send(head + body[:100])
            client_has_head.acquire(timeout=PATIENCE)
            peer.send(body[100:])
            sent.release()

    client_has_head = threading.Semaphore(0)
    server = serve(handler, tls=server_tls_context if tls else None)
    session = make_session(pool_block=True, pool_maxsize=3)
    session.verify = ca_bundle
    for _ in range(5):
        response = session.get(server.url, stream=True, timeout=PATIENCE)
        client_has_head.release()
        assert sent.acquire(timeout=PATIENCE)
        response.close()
    assert server.accepted == 1


def test_row_17_long_remainders_are_not(serve: Serve, make_session: MakeSession) -> None:
    """Reading away a long rest would cost more than a new connection."""
    server = serve(Streams())
    session = make_session(pool_block=True, pool_maxsize=3)
    for _ in range(2):
        close_unread(session, f"{server.url}/length/2000000")
    assert server.accepted == 2


def test_row_17_closing_does_not_wait(serve: Serve, make_session: MakeSession) -> None:
    """A short rest that has not arrived is not waited for: the server never sends it."""
    server = serve(Streams())
    session = make_session(pool_block=True, pool_maxsize=3)
    response = session.get(f"{server.url}/stalled/2000", stream=True, timeout=None)
    response.close()
    assert stats(session)["connections"] == 0


@pytest.mark.parametrize("how", [drop, drop_half_read])
def test_row_17_one_warning_names_the_response(
    how: Callable[[requests.Session, str], None],
    serve: Serve,
    make_session: MakeSession,
) -> None:
    """ "One ResourceWarning names an abandoned response." """
    server = serve(Streams())
    session = make_session(pool_block=True, pool_maxsize=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        how(session, f"{server.url}/length/2000000")
        gc.collect()
    (warning,) = caught
    assert warning.category is ResourceWarning
    assert "GET /length/2000000" in str(warning.message)


@pytest.mark.parametrize("how", [close_unread, close_half_read, stop_iterating, break_off])
def test_row_17_no_warning_for_what_was_closed(
    how: Callable[[requests.Session, str], None],
    serve: Serve,
    make_session: MakeSession,
) -> None:
    """Closed, or broken by the server: that is nobody's mistake."""
    server = serve(Streams())
    session = make_session(pool_block=True, pool_maxsize=3)
    kind = "broken" if how is break_off else "length"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        how(session, f"{server.url}/{kind}/2000000")
        session.get(f"{server.url}/length/5", timeout=PATIENCE)
        gc.collect()
    assert caught == []


# ---------------------------------------------------------------------------------------------
# 20 and 21: what a failed connect says


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Let every name have these addresses."""

    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        found = []
        for host, port in addresses:
            v6 = ":" in host
            family = socket.AF_INET6 if v6 else socket.AF_INET
            address = (host, port, 0, 0) if v6 else (host, port)
            found.append((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address))
        return found

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def causes_of(exc: requests.RequestException) -> list[BaseException]:
    """What an exception of requests stands on, by ``__cause__`` alone.

    Its own first link is ``args[0]`` and ``__context__``: requests' `HTTPAdapter.send`, which
    adapters inherit, raises it without a ``from``.
    """
    assert exc.__context__ is exc.args[0]
    link = exc.__context__
    found: list[BaseException] = []
    while link is not None:
        found.append(link)
        link = link.__cause__
    return found


def test_row_20_the_text_names_every_address_tried(
    monkeypatch: pytest.MonkeyPatch,
    closed_port: int,
    make_session: MakeSession,
) -> None:
    """Of row 20 only the text: a failed connect says which host, which addresses, and why."""
    resolve_to(monkeypatch, ("::1", closed_port), ("127.0.0.1", closed_port))
    expected = (
        f"connect to two.example:{closed_port} (::1, 127.0.0.1) failed: "
        f"[Errno {errno.ECONNREFUSED}] Connection refused"
    )
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(httpcore.ConnectError) as caught:
            pool.request("GET", f"http://two.example:{closed_port}/")
    assert str(caught.value) == expected
    with pytest.raises(requests.ConnectionError) as told:
        make_session().get(f"http://two.example:{closed_port}/", timeout=PATIENCE)
    assert str(told.value).startswith(f"{expected} (GET /, ")


def test_row_20_the_text_names_the_address_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
    black_hole: tuple[str, int],
    make_session: MakeSession,
) -> None:
    """A connect that is not answered names the address, and the limit that it hit."""
    host, port = black_hole
    resolve_to(monkeypatch, ("::1", 9), black_hole)
    expected = f"connect to slow.example:{port} (::1, {host}) timed out after 0.2 s"
    with httpcore.ConnectionPool() as pool:
        extensions = {"timeout": {"connect": 0.2}}
        with pytest.raises(httpcore.ConnectTimeout) as caught:
            pool.request("GET", f"http://slow.example:{port}/", extensions=extensions)
    assert str(caught.value) == expected
    with pytest.raises(requests.ConnectTimeout) as told:
        make_session().get(f"http://slow.example:{port}/", timeout=(0.2, PATIENCE))
    assert str(told.value).startswith(f"{expected} (GET /, ")


def test_row_20_a_dead_address_first(
    monkeypatch: pytest.MonkeyPatch,
    server: LocalServer,
    make_session: MakeSession,
) -> None:
    """An address that refuses does not keep the next from being tried."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as refusing:
        refusing.bind(("::1", 0))
        resolve_to(monkeypatch, ("::1", refusing.getsockname()[1]), (server.host, server.port))
        response = make_session().get(f"http://two.example:{server.port}/", timeout=PATIENCE)
    assert response.status_code == 200


def test_row_20_an_unknown_name(make_session: MakeSession) -> None:
    """A name that cannot be resolved is called that. (`.invalid` never exists, RFC 2606.)"""
    with pytest.raises(requests.ConnectionError) as told:
        make_session().get("http://nowhere.invalid/", timeout=PATIENCE)
    assert str(told.value).startswith("look up nowhere.invalid failed: ")
    assert isinstance(causes_of(told.value)[-1], socket.gaierror)


def refused_text(port: int) -> str:
    return (
        f"connect to 127.0.0.1:{port} (127.0.0.1) failed: "
        f"[Errno {errno.ECONNREFUSED}] Connection refused"
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_row_21_a_refused_port(
    scheme: str, method: str, closed_port: int, make_session: MakeSession
) -> None:
    """ "Refused port: `requests.ConnectionError` whose text is "connect to host:port (ip) failed:
    [Errno 111] ...", no "retries" unless a retry was made." """
    with pytest.raises(requests.ConnectionError) as caught:
        make_session().request(method, f"{scheme}://127.0.0.1:{closed_port}/", timeout=PATIENCE)
    assert str(caught.value).startswith(f"{refused_text(closed_port)} ({method} /, ")
    assert "retries" not in str(caught.value)
    assert type(caught.value) is requests.ConnectionError
    assert caught.value.request is not None
    assert caught.value.request.method == method


def test_row_21_the_cause_is_the_oserror(closed_port: int, make_session: MakeSession) -> None:
    """ "`__cause__` chain reaches the OSError." """
    with pytest.raises(requests.ConnectionError) as caught:
        make_session().get(f"http://127.0.0.1:{closed_port}/", timeout=PATIENCE)
    causes = causes_of(caught.value)
    assert isinstance(causes[-1], ConnectionRefusedError)
    assert any(isinstance(exc, httpcore.ConnectError) for exc in causes)

    with httpcore.ConnectionPool() as pool, pytest.raises(httpcore.ConnectError) as core:
        pool.request("GET", f"http://127.0.0.1:{closed_port}/")
    assert str(core.value) == refused_text(closed_port)
    assert isinstance(core.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize("retries", [Retry(2), Retry(connect=2), 2], ids=str)
def test_row_21_retries_are_named_when_they_were_made(
    retries: Any, closed_port: int, make_session: MakeSession
) -> None:
    """ "No "retries" unless a retry was made": here two were, and the cause is still told."""
    session = make_session(max_retries=retries)
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(f"http://127.0.0.1:{closed_port}/", timeout=PATIENCE)
    assert "retries" in str(caught.value)
    assert refused_text(closed_port) in str(caught.value)
    assert isinstance(causes_of(caught.value)[-1], ConnectionRefusedError)


CORE_FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)


def assert_pickles(exc: BaseException) -> None:
    copy = pickle.loads(pickle.dumps(exc))
    assert type(copy) is type(exc)
    assert str(copy) == str(exc)
    assert getattr(copy, "phase", None) == getattr(exc, "phase", None)
    assert getattr(copy, "partial", None) == getattr(exc, "partial", None)


def failing(peer: Peer) -> None:
    """Fails in the way the target names."""
    request = peer.recv_request()
    assert request is not None
    if request.path == "/cut-length":
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    elif request.path == "/cut-chunk":
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello")
    elif request.path == "/nonsense":
        peer.send(b"\x15\x03\x01\r\n\r\n")
    elif request.path == "/conflict":
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhe")
    elif request.path == "/silent":
        peer.wait_closed()


@pytest.mark.parametrize(
    "path", ["/refused", "/cut-length", "/cut-chunk", "/nonsense", "/conflict", "/silent", "/drop"]
)
def test_row_21_exceptions_pickle(
    path: str, closed_port: int, serve: Serve, make_session: MakeSession
) -> None:
    """ "Exceptions pickle": those of requests, of the adapter below them, and of the core."""
    server = serve(failing)
    url = f"http://127.0.0.1:{closed_port}" if path == "/refused" else server.url + path
    with pytest.raises(requests.RequestException) as caught:
        make_session().get(url, timeout=0.3)
    seen: BaseException | None = caught.value
    links = 0
    while seen is not None:
        if not isinstance(seen, OSError) or isinstance(seen, requests.RequestException):
            assert_pickles(seen)
        seen = seen.__cause__ or seen.__context__
        links += 1
    assert links > 1

    with httpcore.ConnectionPool() as pool:
        with pytest.raises(CORE_FAILURES) as core:
            pool.request("GET", url, extensions={"timeout": {"read": 0.3}})
    assert_pickles(core.value)


def test_row_21_a_failure_is_told_once(closed_port: int, make_session: MakeSession) -> None:
    """The text has the operating system's reason once, and no object's repr."""
    with pytest.raises(requests.ConnectionError) as caught:
        make_session().get(f"http://localhost:{closed_port}/", timeout=PATIENCE)
    text = str(caught.value)
    assert text.count("Errno") == 1
    assert "object at 0x" not in text
    assert "Max retries" not in text
