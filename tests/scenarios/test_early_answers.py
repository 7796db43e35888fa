"""Answers that begin before the request has ended, and that end only with it, or never.

Owns: bodies that are sent while the answer is read, over HTTP/1.1 and HTTP/2. (Answers that are
whole before the request is: `test_uploads`.) Must not know: how that is decided, see
`tests/unit/core/test_upload.py`.
"""

from __future__ import annotations

import contextlib
import gc
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import httpcore
from httpcore._core import h2_upload
from httpcore._core import upload as _upload
from httpcore.exceptions import Aborted
from tests.support import MIB
from tests.support.http2 import Code, Link, ServeH2, Stream
from tests.support.servers import Peer, Serve

BLOCK = bytes(65536)

# Seconds. Only a bound against hangs.
TIMEOUTS = {"connect": 20.0, "read": 20.0, "write": 20.0}


def parts(size: int) -> Iterator[bytes]:
    for _ in range(size // len(BLOCK)):
        yield BLOCK


@pytest.fixture(params=["bytes", "parts", "part", "file"])
def body(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[int], Any]]:
    """Makes bodies of a size: in memory, from an iterator (in many parts, in one), from a file."""
    files = []

    def make(size: int) -> Any:
        if request.param == "bytes":
            return bytes(size)
        if request.param == "parts":
            return parts(size)
        if request.param == "part":
            return iter([bytes(size)])
        path = tmp_path / f"{size}-{len(files)}"
        path.write_bytes(bytes(size))
        files.append(path.open("rb"))
        return files[-1]

    yield make
    for file in files:
        file.close()


def post(pool: httpcore.ConnectionPool, url: str, content: Any, **extra: Any) -> httpcore.Response:
    return pool.request("POST", url, content=content, extensions={"timeout": TIMEOUTS, **extra})


def start(peer: Peer, status: int, *lines: bytes) -> Any:
    request = peer.recv_request_head()
    if request is not None:
        head = b"".join(line + b"\r\n" for line in lines)
        peer.send(b"HTTP/1.1 %d Early\r\n%b\r\n" % (status, head))
    return request


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


EXPECT = [("Expect", "100-continue")]
CHUNKED = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize("status", [200, 307, 401, 413])
@pytest.mark.parametrize("secure", [False, True])
def test_the_answer_ends_with_the_request(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    body: Callable[[int], Any],
    status: int,
    secure: bool,
) -> None:
    """The head comes at once, the end when the request has ended; the connection is good for
    more."""

    def handler(peer: Peer) -> None:
        while request := start(peer, status, CHUNKED):
            peer.send(chunk(b"start, "))
            received = sum(map(len, peer.iter_body(request)))
            peer.send(chunk(b"%d" % received) + chunk(b""))

    server = serve(handler, tls=server_tls_context if secure else None)
    with httpcore.ConnectionPool(ssl_context=client_tls_context) as pool:
        for size in (3 * MIB, 65536 * 3, 3 * MIB):
            response = post(pool, server.url, body(size))
            assert (response.status, response.content) == (status, b"start, %d" % size)
    assert server.accepted == 1


def test_a_response_that_is_wanted_early_is_given_while_the_body_is_sent(serve: Serve) -> None:
    """The server sends its part when it has one of the client, and the client the next one when it
    has one of the server."""
    come: list[bytes] = []

    def handler(peer: Peer) -> None:
        while request := start(peer, 200, CHUNKED):
            for piece in peer.iter_body(request):
                peer.send(chunk(piece))
            peer.send(chunk(b""))

    def ask() -> Iterator[bytes]:
        for number in range(3):
            yield b"%d" % number
            while len(come) <= number:
                yield b""  # it has nothing to give before its answer is there

    with httpcore.ConnectionPool() as pool:
        extensions = {"timeout": TIMEOUTS, "early_response": True}
        url = serve(handler).url
        with pool.stream("POST", url, content=ask(), extensions=extensions) as response:
            for part in response.iter_stream():
                come.append(part)
        assert come == [b"0", b"1", b"2"]
        assert pool.stats()["idle"] == 1


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("status", [200, 413])
@pytest.mark.parametrize("read", ["read", "parts"])
def test_an_echo_that_reads_only_what_it_can_send(
    serve: Serve, body: Callable[[int], Any], status: int, read: str, early: bool
) -> None:
    """Whoever sends without reading, or reads without sending, waits for ever."""
    size = 24 * MIB

    def handler(peer: Peer) -> None:
        while request := start(peer, status, CHUNKED):
            for piece in peer.iter_body(request):
                peer.send(chunk(piece))
            peer.send(chunk(b""))

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        for _ in range(2):
            extensions = {"timeout": TIMEOUTS, "early_response": early}
            with pool.stream("POST", server.url, content=body(size), extensions=extensions) as got:
                assert got.status == status
                if read == "read":
                    assert len(got.read()) == size
                else:
                    assert sum(map(len, got.iter_stream())) == size
    assert server.accepted == 1


@pytest.mark.parametrize("lines", [[b"Connection: close", CHUNKED], [b"Connection: close"]])
def test_it_says_that_it_closes_and_waits_for_the_rest(
    serve: Serve,
    body: Callable[[int], Any],
    lines: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not sent anything as long as it may be about to close, but not for ever."""
    monkeypatch.setattr(_upload, "CLOSING_PATIENCE", 0.05)
    framed = chunk if CHUNKED in lines else bytes

    def handler(peer: Peer) -> None:
        request = start(peer, 413, *lines)
        peer.send(framed(b"start, "))
        received = sum(map(len, peer.iter_body(request)))
        peer.send(framed(b"%d" % received) + (chunk(b"") if CHUNKED in lines else b""))

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        response = post(pool, server.url, body(3 * MIB))
        assert (response.status, response.content) == (413, b"start, %d" % (3 * MIB))
        assert pool.stats()["connections"] == 0


@pytest.mark.parametrize("secure", [False, True])
def test_it_says_that_it_closes_and_takes_its_time(
    serve: Serve,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    secure: bool,
) -> None:
    """The answer comes in pieces until the connection ends: nothing of it is lost."""

    def handler(peer: Peer) -> None:
        start(peer, 413, b"Connection: close")
        for _ in range(20):
            peer.send(b"too large ")
            peer.server.wait_for(lambda: False, 0.005)
        peer.shutdown_write()
        peer.wait_closed()

    server = serve(handler, tls=server_tls_context if secure else None)
    with httpcore.ConnectionPool(ssl_context=client_tls_context) as pool:
        for _ in range(5):
            response = post(pool, server.url, parts(64 * MIB))
            assert (response.status, response.content) == (413, b"too large " * 20)
    server.disconnects.clear()


@pytest.mark.parametrize("status", [200, 307, 401, 413])
@pytest.mark.parametrize("size", [65536, 3 * MIB])
def test_it_was_asked_and_answers_but_waits_for_the_body(
    serve: Serve,
    body: Callable[[int], Any],
    status: int,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To a request that expects 100: the body need not be sent, unless the answer ends with it."""
    monkeypatch.setattr(_upload, "CLOSING_PATIENCE", 0.05)

    def handler(peer: Peer) -> None:
        while request := start(peer, status, CHUNKED):
            peer.send(chunk(b"start, "))
            received = sum(map(len, peer.iter_body(request)))
            peer.send(chunk(b"%d" % received) + chunk(b""))

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        for _ in range(2):
            extensions = {"timeout": TIMEOUTS}
            response = pool.request(
                "POST", server.url, headers=EXPECT, content=body(size), extensions=extensions
            )
            assert (response.status, response.content) == (status, b"start, %d" % size)
    assert server.accepted == 1


# --- servers that take no more ---


def test_a_refusal_is_heard_while_the_first_part_is_sent(serve: Serve) -> None:
    """It comes late, when the path is full already, and nobody set a time-out."""

    def handler(peer: Peer) -> None:
        assert peer.recv_request_head() is not None
        server.wait_for(lambda: False, 0.1)
        peer.send(b"HTTP/1.1 413 Late\r\nContent-Length: 2\r\n\r\nno")
        gone.wait(20)

    server = serve(handler)
    gone = server.event()
    with httpcore.ConnectionPool() as pool:
        response = pool.request("POST", server.url, content=iter([bytes(64 * MIB)]))
        assert (response.status, response.content) == (413, b"no")
    gone.set()
    server.disconnects.clear()


@pytest.mark.parametrize("status", [200, 307])
@pytest.mark.parametrize("lines", [[], [b"Connection: close"]])
def test_a_whole_answer_ends_an_upload_that_nobody_takes(
    serve: Serve,
    body: Callable[[int], Any],
    status: int,
    lines: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also without a write timeout. The connection is closed."""
    monkeypatch.setattr(_upload, "STALL_LIMIT", 0.05)

    def handler(peer: Peer) -> None:
        start(peer, status, b"Content-Length: 2", *lines)
        peer.send(b"ok")
        gone.wait(20)

    gone = threading.Event()
    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        response = pool.request("POST", server.url, content=body(64 * MIB))
        assert (response.status, response.content) == (status, b"ok")
        assert pool.stats()["connections"] == 0
    gone.set()
    server.disconnects.clear()


# A server that neither takes nor gives: its status, the timeouts, and which of them is over.
silent_servers = pytest.mark.parametrize(
    ("status", "timeouts", "error"),
    [
        (413, {"read": 0.1}, httpcore.ReadTimeout),
        (413, {"read": 0.1, "write": 0.1}, httpcore.ReadTimeout),
        (413, {"read": 0.2, "write": 0.1}, httpcore.ReadTimeout),
        (200, {"read": 20.0, "write": 0.1}, httpcore.WriteTimeout),
        (413, {"total": 0.3}, httpcore.ReadTimeout),
        (200, {"total": 0.3}, httpcore.WriteTimeout),
    ],
)


@silent_servers
def test_neither_takes_nor_gives(
    serve: Serve, status: int, timeouts: dict[str, float], error: type[Exception]
) -> None:
    def handler(peer: Peer) -> None:
        start(peer, status, CHUNKED)
        gone.wait(20)

    gone = threading.Event()
    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(error) as caught:
            pool.request(
                "POST", server.url, content=parts(64 * MIB), extensions={"timeout": timeouts}
            )
        if "total" in timeouts:
            assert str(caught.value).startswith("total of 0.3 s is over: ")
        assert pool.stats()["connections"] == 0
    gone.set()
    server.disconnects.clear()


def test_a_refusal_that_comes_late_is_read_although_nothing_is_taken(serve: Serve) -> None:
    """The write timeout is over, the read timeout is not."""

    def handler(peer: Peer) -> None:
        start(peer, 413, CHUNKED)
        server.wait_for(lambda: False, 0.5)
        peer.send(chunk(b"too large") + chunk(b""))
        gone.wait(20)

    gone = threading.Event()
    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        response = pool.request(
            "POST",
            server.url,
            content=parts(64 * MIB),
            extensions={"timeout": {"read": 20.0, "write": 0.1}},
        )
        assert response.content == b"too large"
    gone.set()
    server.disconnects.clear()


# --- ends ---


def test_the_server_closes_inside_its_answer(serve: Serve, body: Callable[[int], Any]) -> None:
    def handler(peer: Peer) -> None:
        start(peer, 413, b"Content-Length: 100")
        peer.send(b"cut")

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError)) as caught:
            post(pool, server.url, body(64 * MIB))
        assert caught.value.phase == "response_started"
        assert pool.stats()["connections"] == 0
    server.disconnects.clear()


@pytest.mark.parametrize("status", [200, 413])
def test_a_body_that_fails_while_the_answer_is_read(serve: Serve, status: int) -> None:
    def broken() -> Iterator[bytes]:
        yield from parts(4 * MIB)
        raise OSError("the disk is gone")

    def handler(peer: Peer) -> None:
        request = start(peer, status, CHUNKED)
        with contextlib.suppress(EOFError):
            for piece in peer.iter_body(request):
                peer.send(chunk(piece))

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(OSError, match="the disk is gone"):
            post(pool, server.url, broken())
        assert pool.stats()["connections"] == 0
    server.disconnects.clear()


@pytest.mark.parametrize("how", ["close", "drop", "part"])
def test_a_caller_who_does_not_read_sends_no_more(serve: Serve, how: str) -> None:
    def handler(peer: Peer) -> None:
        request = start(peer, 413, CHUNKED)
        peer.send(chunk(b"start"))
        with pytest.raises(EOFError):
            list(peer.iter_body(request))

    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        response = pool.request("POST", server.url, content=parts(64 * MIB), stream=True)
        if how == "part":
            assert response.stream.read1(3) == b"sta"
        if how == "drop":
            with pytest.warns(ResourceWarning, match="unread response"):
                del response
        else:
            response.close()
        assert pool.stats()["connections"] == 0
    server.disconnects.clear()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is dropped goes at once, or not before the end of the test."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("status", [200, 413])
@pytest.mark.parametrize("then", ["reset", "close", "nonsense", "nonsense with the head"])
def test_a_broken_answer_that_is_dropped_gives_its_connection_back(
    serve: Serve, no_collector: None, body: Callable[[int], Any], status: int, then: str
) -> None:
    """The failure that is kept for its reader does not keep it alive."""

    def handler(peer: Peer) -> None:
        assert peer.recv_request_head() is not None
        start = b"HTTP/1.1 %d Early\r\nTransfer-Encoding: chunked\r\n\r\n" % status
        peer.send(start + (b"zzz\r\n" if then == "nonsense with the head" else chunk(b"cut")))
        server.wait_for(lambda: False, 0.05)
        if then == "nonsense":
            peer.send(b"zzz\r\n")
        if then in ("reset", "close"):
            peer.reset() if then == "reset" else peer.close()
        else:
            peer.wait_closed()

    server = serve(handler)
    with httpcore.ConnectionPool(max_connections=1) as pool:
        for _ in range(2):
            response = pool.request(
                "POST",
                server.url,
                content=body(64 * MIB),
                stream=True,
                extensions={"timeout": {**TIMEOUTS, "pool": 5.0}},
            )
            with pytest.warns(ResourceWarning, match="unread response"):
                del response
            assert pool.stats()["active"] == 0
    server.disconnects.clear()


def test_a_broken_answer_without_an_upload_that_is_dropped(
    serve: Serve, no_collector: None
) -> None:
    def handler(peer: Peer) -> None:
        start(peer, 200, CHUNKED, b"", b"zzz")
        peer.wait_closed()

    with httpcore.ConnectionPool() as pool:
        response = pool.request("GET", serve(handler).url, stream=True)
        with pytest.warns(ResourceWarning, match="unread response"):
            del response
        assert pool.stats()["active"] == 0


def test_a_connection_that_is_kept_does_not_keep_what_it_has_sent(
    serve: Serve, no_collector: None
) -> None:
    class Source:
        def __iter__(self) -> Iterator[bytes]:
            return parts(MIB)

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, b"ok")

    source = Source()
    with httpcore.ConnectionPool() as pool:
        assert post(pool, serve(handler).url, source).content == b"ok"
        gone = weakref.ref(source)
        del source
        assert pool.stats()["idle"] == 1 and gone() is None


def test_a_cancelled_read_ends_the_upload_too(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        start(peer, 413, CHUNKED)
        started.wait(20)
        token.cancel()
        peer.wait_closed()

    token, started = httpcore.CancelToken(), threading.Event()
    server = serve(handler)
    with httpcore.ConnectionPool() as pool:
        extensions = {"cancel": token, "timeout": TIMEOUTS}
        with pool.stream("POST", server.url, content=parts(64 * MIB), extensions=extensions) as got:
            started.set()
            with pytest.raises(Aborted):
                got.read()
        assert pool.stats()["connections"] == 0
    server.disconnects.clear()


# --- over HTTP/2 ---


def started(status: int, *, refill: bool = True, first: bytes = b"start, ", length: bool = False,
            end: bool = False) -> Callable[[Any], None]:  # fmt: skip
    """What a link does: answers at once, with `first`; says the length of that, and ends with it,
    only if asked to."""

    def on_head(stream: Stream) -> None:
        stream.link.refill = refill
        stream.head(status, [("content-length", str(len(first)))] if length else [])
        stream.write(first, end=end)
        stream.on_end = lambda stream: stream.write(b"%d" % stream.received, end=True)

    return lambda link: link.serve(on_head=on_head)


@pytest.mark.parametrize("status", [200, 307, 401, 413])
@pytest.mark.parametrize("secure", [False, True])
def test_the_answer_ends_with_the_request_over_http2(
    serve_h2: ServeH2,
    h2_pool: httpcore.ConnectionPool,
    body: Callable[[int], Any],
    status: int,
    secure: bool,
) -> None:
    server = serve_h2(started(status), secure=secure)
    for size in (3 * MIB, 65536 * 3):
        response = post(h2_pool, server.url, body(size))
        assert (response.status, response.content) == (status, b"start, %d" % size)
    assert (server.accepted, server.link.open) == (1, 0)
    assert [stream.reset_by_client for stream in server.link.streams.values()] == [None, None]


@pytest.mark.parametrize("status", [200, 307, 401, 413])
@pytest.mark.parametrize("size", [65536, 3 * MIB])
def test_it_was_asked_and_answers_but_waits_for_the_body_over_http2(
    serve_h2: ServeH2,
    h2_pool: httpcore.ConnectionPool,
    body: Callable[[int], Any],
    status: int,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(h2_upload, "CLOSING_PATIENCE", 0.05)
    server = serve_h2(started(status))
    response = h2_pool.request(
        "POST", server.url, headers=EXPECT, content=body(size), extensions={"timeout": TIMEOUTS}
    )
    assert (response.status, response.content) == (status, b"start, %d" % size)
    assert (server.accepted, server.link.open) == (1, 0)
    assert server.link.streams[1].reset_by_client is None


def test_it_was_asked_and_ends_its_answer_without_the_body_over_http2(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool
) -> None:
    """Later than it began it, but it was given the time."""

    def on_head(stream: Stream) -> None:
        stream.head(413)
        stream.write(b"too ")
        stream.link.later(0.2, lambda: stream.write(b"large", end=True))

    server = serve_h2(lambda link: link.serve(on_head=on_head))
    response = h2_pool.request(
        "POST", server.url, headers=EXPECT, content=bytes(30), extensions={"timeout": TIMEOUTS}
    )
    assert (response.status, response.content) == (413, b"too large")
    assert server.link.streams[1].received == 0


@pytest.mark.parametrize("timeout", [{"read": 0.1}, {"total": 0.1}])
def test_it_was_asked_and_falls_silent_over_http2(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool, timeout: dict[str, float]
) -> None:
    server = serve_h2(started(413, refill=False))
    with pytest.raises(httpcore.ReadTimeout):
        h2_pool.request(
            "POST",
            server.url,
            headers=EXPECT,
            content=parts(4 * MIB),
            extensions={"timeout": timeout},
        )
    assert h2_pool.stats()["active"] == 0


@pytest.mark.parametrize("status", [200, 413])
def test_a_broken_answer_that_is_dropped_gives_its_stream_back(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool, no_collector: None, status: int
) -> None:
    def on_head(stream: Stream) -> None:
        stream.head(status)
        stream.write(b"cut")
        stream.link.later(0.05, lambda: ending.append(stream.link))

    def script(link: Link) -> None:
        if link.serve(on_head=on_head, until=lambda: link in ending):
            link.abort()

    ending: list[Link] = []
    server = serve_h2(script)
    for _ in range(2):
        response = h2_pool.request(
            "POST",
            server.url,
            content=parts(64 * MIB),
            stream=True,
            extensions={"timeout": TIMEOUTS},
        )
        with pytest.warns(ResourceWarning, match="unread response"):
            del response
        assert h2_pool.stats()["active"] == 0


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("status", [200, 413])
def test_an_echo_that_reads_only_what_it_can_send_over_http2(
    serve_h2: ServeH2,
    h2_pool: httpcore.ConnectionPool,
    body: Callable[[int], Any],
    status: int,
    early: bool,
) -> None:
    """Its windows are opened only when what it has to send has left it."""
    size = 20 * MIB  # more than our window, too

    def on_head(stream: Stream) -> None:
        link = stream.link
        link.refill = False
        stream.head(status)
        done = [0]

        def echo(stream: Stream) -> None:
            stream.write(bytes(stream.received - done[0]))
            done[0] = stream.received

        def grant() -> None:
            if not stream.ended and not stream.closed:
                used = 65535 - stream.their_window
                if used and stream.id not in link.unsent:
                    link.window_update(0, used)
                    link.window_update(stream.id, used)
                link.later(0.0005, grant)

        stream.on_data = echo
        stream.on_end = lambda stream: stream.write(bytes(size - done[0]), end=True)
        grant()

    server = serve_h2(lambda link: link.serve(on_head=on_head))
    response = post(h2_pool, server.url, body(size), early_response=early)
    assert (response.status, len(response.content)) == (status, size)
    assert server.link.open == 0


@pytest.mark.parametrize("refill", [False, True])
def test_a_refusal_of_known_length_over_http2(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool, refill: bool
) -> None:
    """All that it announced is there. Whether it ends the stream now or with the request, the
    client ends it."""
    server = serve_h2(started(413, first=b"too large", length=True, refill=refill))
    given = parts(64 * MIB)
    for stream in (1, 3):
        response = post(h2_pool, server.url, given)
        assert (response.status, response.content) == (413, b"too large")
        assert server.wait_for(lambda n=stream: server.link.streams[n].reset_by_client is not None)
        assert server.link.streams[stream].reset_by_client == Code.CANCEL
        assert server.link.streams[stream].received < 10 * MIB
        given = parts(64 * MIB)
    assert server.link.open == 0


@pytest.mark.parametrize("status", [200, 307])
@pytest.mark.parametrize("end", [False, True])
def test_a_whole_answer_ends_an_upload_that_nobody_takes_over_http2(
    serve_h2: ServeH2,
    h2_pool: httpcore.ConnectionPool,
    body: Callable[[int], Any],
    status: int,
    end: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_upload, "STALL_LIMIT", 0.05)
    server = serve_h2(started(status, first=b"ok", length=True, end=end, refill=False))
    response = h2_pool.request("POST", server.url, content=body(4 * MIB))
    assert (response.status, response.content) == (status, b"ok")
    assert server.wait_for(lambda: server.link.streams[1].reset_by_client is not None)
    assert server.link.open == 0
    assert h2_pool.stats()["active"] == 0


@silent_servers
def test_neither_takes_nor_gives_over_http2(
    serve_h2: ServeH2,
    h2_pool: httpcore.ConnectionPool,
    status: int,
    timeouts: dict[str, float],
    error: type[Exception],
) -> None:
    server = serve_h2(started(status, refill=False))
    with pytest.raises(error) as caught:
        h2_pool.request(
            "POST", server.url, content=parts(4 * MIB), extensions={"timeout": timeouts}
        )
    if "total" in timeouts:
        assert str(caught.value).startswith("total of 0.3 s is over: ")
    assert h2_pool.stats()["active"] == 0
    assert server.wait_for(lambda: server.link.open == 0)


def test_a_body_that_fails_while_the_answer_is_read_over_http2(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool
) -> None:
    def broken() -> Iterator[bytes]:
        yield from parts(MIB)
        raise OSError("the disk is gone")

    server = serve_h2(started(413))
    with pytest.raises(OSError, match="the disk is gone"):
        post(h2_pool, server.url, broken())
    assert server.wait_for(lambda: server.link.open == 0)
    assert post(h2_pool, server.url, parts(MIB)).content == b"start, %d" % MIB


@pytest.mark.parametrize("how", ["close", "drop", "part", "cancel"])
def test_a_caller_who_does_not_read_sends_no_more_over_http2(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool, how: str
) -> None:
    server = serve_h2(started(413))
    token = httpcore.CancelToken()
    given = parts(64 * MIB)
    response = h2_pool.request(
        "POST", server.url, content=given, stream=True, extensions={"cancel": token}
    )
    if how == "part":
        assert response.stream.read1(3) == b"sta"
    if how == "drop":
        with pytest.warns(ResourceWarning, match="unread response"):
            del response
        assert post(h2_pool, server.url, parts(MIB)).content == b"start, %d" % MIB
    elif how == "cancel":
        token.cancel()
        with pytest.raises(Aborted):
            response.read()
    else:
        response.close()
    assert server.wait_for(lambda: server.link.streams[1].reset_by_client is not None)
    assert server.link.streams[1].received < 10 * MIB
    assert h2_pool.stats()["active"] == 0


@pytest.mark.parametrize("complete", ["", "length", "end"])
def test_the_server_resets_the_stream_over_http2(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool, complete: str
) -> None:
    """With NO_ERROR after all that it had to say, it only wants no more; else the answer is
    cut."""

    def on_head(stream: Stream) -> None:
        length = [("content-length", "9")] if complete == "length" else []
        stream.head(413, length)
        stream.write(b"too large", end=complete == "end")
        stream.on_data = reset

    def reset(stream: Stream) -> None:
        if stream.sent == 9 and not stream.closed:
            stream.reset(Code.NO_ERROR)

    server = serve_h2(lambda link: link.serve(on_head=on_head))
    if complete:
        assert post(h2_pool, server.url, parts(64 * MIB)).content == b"too large"
    else:
        with pytest.raises(httpcore.RemoteProtocolError, match="NO_ERROR") as caught:
            post(h2_pool, server.url, parts(64 * MIB))
        assert caught.value.phase == "response_started"
    assert server.wait_for(lambda: server.link.open == 0)
    assert server.link.streams[1].received < 10 * MIB
    assert h2_pool.stats()["active"] == 0
