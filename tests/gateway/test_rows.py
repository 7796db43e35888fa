"""Rows 66, 67 and 70: clients that leave, slow ones, and upstreams that fail.

Owns: that requests end, memory is bounded, and others take over. Must not know: private parts of
the packages.

uvicorn runs in this process, granian in one of its own; both tell what goes on by the gateway's
own figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from httpcore_gateway import Breaker, Timeouts, Upstream
from tests.support import MIB, PATIENCE, gateways, servers
from tests.support.gateways import Caller

HEAD = b" HTTP/1.1\r\nHost: example.com\r\n"
GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"

Answer = Callable[[servers.Peer], None]


class Watched:
    """A gateway whose figures can be read.

    Parameters:
        port: where it listens.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def stats(self) -> Any:
        with Caller(self.port) as caller:
            return caller.ask(b"GET /-/stats" + HEAD + b"\r\n").json()

    def until(self, condition: Callable[[Any], bool]) -> Any:
        """Wait until the figures are as they should be; return them."""
        end = time.monotonic() + PATIENCE
        while True:
            stats = self.stats()
            if condition(stats):
                return stats
            assert time.monotonic() < end, stats
            time.sleep(0.01)

    def until_idle(self) -> Any:
        """Wait until nothing is under way; return the figures of the only upstream."""

        def idle(stats: Any) -> bool:
            return all(
                not upstream["active"] and not upstream["connections"]["active"]
                for upstream in stats["upstreams"]
            )

        return self.until(idle)["upstreams"][0]


Watch = Callable[..., Watched]


@pytest.fixture(params=["uvicorn", "uvloop", "granian"])
def watch(
    request: pytest.FixtureRequest,
    serve_gateway: gateways.ServeGateway,
    start_gateway: gateways.StartGateway,
) -> Watch:
    """`watch(*upstreams, **options)`: a gateway under each of the servers."""

    def start(*upstreams: Any, **options: Any) -> Watched:
        options["admin_path"] = "/-"
        if request.param == "granian":
            program = start_gateway(*upstreams, server="granian", **options)
            return Watched(program.ports[0])
        served = serve_gateway(*upstreams, use_uvloop=request.param == "uvloop", **options)
        return Watched(served.port)

    return start


@pytest.fixture
def watch_one(serve_gateway: gateways.ServeGateway) -> Watch:
    """As `watch`, under uvicorn alone."""

    def start(*upstreams: Any, **options: Any) -> Watched:
        served = serve_gateway(*upstreams, **{"admin_path": "/-", **options})
        return Watched(served.port)

    return start


# --- row 66: the client leaves ---


class Left:
    """An upstream whose first connection waits for the gateway to leave, as `way` says; the ones
    after it answer.

    Attributes:
        reached: it is where the client is to leave.
        ended: the gateway has left.
    """

    def __init__(self, serve: servers.Serve, way: str) -> None:
        self.server = serve(self._answer)
        self.reached = self.server.event()
        self.ended = threading.Event()
        self._way = way

    def _answer(self, peer: servers.Peer) -> None:
        if peer.number > 1:
            while peer.recv_request() is not None:
                peer.respond(200, b"%d" % peer.number)
            return
        request = peer.recv_request_head()
        assert request is not None
        if self._way == "mid-upload":
            peer.recv_exactly(1000)
        elif request.method == b"POST":
            b"".join(peer.iter_body(request))
        if self._way == "mid-response":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello")
        elif self._way == "blocked":
            self.reached.set()
            try:
                while True:
                    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
                    peer.send(bytes(MIB))
            except OSError:
                self.ended.set()
            return
        self.reached.set()
        peer.wait_closed()
        self.ended.set()


WAYS = {
    "before the first byte": GET,
    "after the upload": b"POST /" + HEAD + b"Content-Length: 5\r\n\r\nhello",
    "after a chunked upload": b"POST /"
    + HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "mid-upload": b"POST /" + HEAD + b"Content-Length: 5000\r\n\r\n" + bytes(2000),
    "mid-response": GET,
    "blocked": GET,
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("way", WAYS)
def test_row_66_the_client_leaves(way: str, how: str, watch: Watch, serve: servers.Serve) -> None:
    """The upstream's connection is closed, and the only place for one is free."""
    left = Left(serve, way)
    watched = watch(Upstream(left.server.url, max_connections=1))
    caller = Caller(watched.port)
    caller.send(WAYS[way])
    assert left.reached.wait(PATIENCE)
    if way == "mid-response":
        assert caller.head().status == 200
    getattr(caller, how)()
    assert left.ended.wait(PATIENCE)
    watched.until_idle()
    with Caller(watched.port) as caller:
        assert caller.ask(GET).body == b"2"  # on a connection of its own
    stats = watched.until(lambda stats: stats["routes"][0]["client_left"] == 1)
    assert stats["routes"][0]["upstreams"][0]["failures"] == 0


def test_row_66_the_client_leaves_the_queue(watch: Watch, serve: servers.Serve) -> None:
    """Its request is never sent; the one before it is not disturbed."""
    seen: list[bytes] = []

    def answer(peer: servers.Peer) -> None:
        while (request := peer.recv_request()) is not None:
            seen.append(request.target)
            if request.target == b"/first":
                go.wait(PATIENCE)
            peer.respond(200, b"ok")

    behind = serve(answer)
    go = behind.event()
    watched = watch(Upstream(behind.url, max_connections=1))
    with Caller(watched.port) as first:
        first.send(b"GET /first" + HEAD + b"\r\n")
        assert behind.wait_for(lambda: bool(seen))
        second = Caller(watched.port)
        second.send(b"GET /second" + HEAD + b"\r\n")
        watched.until(lambda stats: stats["upstreams"][0]["waiting"] == 1)
        second.close()
        stats = watched.until(lambda stats: stats["upstreams"][0]["waiting"] == 0)
        assert stats["upstreams"][0]["active"] == 1
        go.set()
        assert first.reply().body == b"ok"
        assert first.ask(b"GET /third" + HEAD + b"\r\n").body == b"ok"
    assert seen == [b"/first", b"/third"]


def test_row_66_the_client_leaves_during_the_connect(
    watch: Watch, black_hole: tuple[str, int]
) -> None:
    watched = watch(Upstream("http://{}:{}".format(*black_hole), max_connections=1))
    caller = Caller(watched.port)
    caller.send(GET)
    watched.until(lambda stats: stats["upstreams"][0]["connections"]["dialing"] == 1)
    caller.close()
    figures = watched.until_idle()
    assert figures["connections"] == {"active": 0, "idle": 0, "dialing": 0}
    assert watched.stats()["in_flight"]["http"] == 0


def test_row_66_a_whole_response_leaves_the_connection_alone(
    watch: Watch, server: servers.LocalServer
) -> None:
    """A client that leaves once its response is there is not one that has left."""
    watched = watch(Upstream(server.url, max_connections=1))
    for _ in range(5):
        with Caller(watched.port) as caller:
            assert caller.ask(b"GET /bytes/100" + HEAD + b"\r\n").whole
    figures = watched.until_idle()
    assert figures["opened"] == 1
    assert watched.stats()["routes"][0]["client_left"] == 0
    assert server.accepted == 1


def test_row_66_no_task_is_left(serve_gateway: gateways.ServeGateway, serve: servers.Serve) -> None:
    """Many clients that leave at once, at different moments."""
    behind = serve(lambda peer: None if peer.recv_request() is None else wait(peer))

    def wait(peer: servers.Peer) -> None:
        if peer.number % 2:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        peer.wait_closed()

    served = serve_gateway(behind.url)
    callers = [Caller(served.port) for _ in range(20)]
    for caller in callers:
        caller.send(GET)
    assert behind.wait_for(lambda: behind.open == 20, PATIENCE)
    for number, caller in enumerate(callers):
        caller.reset() if number % 3 else caller.close()
    assert behind.wait_for(lambda: behind.open == 0, PATIENCE)
    assert behind.wait_for(lambda: not served.tasks(), PATIENCE)
    assert served.active() == [0]


def test_row_66_a_client_that_reads_nothing_is_given_up(
    watch_one: Watch, serve: servers.Serve
) -> None:
    left = Left(serve, "blocked")
    watched = watch_one(left.server.url, timeouts=Timeouts(client=0.3))
    with Caller(watched.port) as caller:
        caller.send(GET)
        assert left.ended.wait(PATIENCE)
        watched.until_idle()
        stats = watched.stats()
    assert stats["routes"][0]["client_left"] == 1
    assert sum(stats["routes"][0]["failures"].values()) == 1


# --- row 67: slow sides ---

#: Bytes of a body: many times what all sockets on the way hold.
LARGE = 64 * MIB
#: Bytes that a gateway may grow by meanwhile.
GROWTH = 16 * MIB


def send_until_stalled(sock: socket.socket, data: memoryview) -> int:
    """Send until the other end takes nothing for a while; return how much it took."""
    sock.settimeout(0.5)
    sent = 0
    try:
        while sent < len(data):
            sent += sock.send(data[sent : sent + MIB])
    except TimeoutError:
        pass
    sock.settimeout(PATIENCE)
    return sent


@pytest.fixture(params=["uvicorn", "granian"])
def program(request: pytest.FixtureRequest, start_gateway: gateways.StartGateway) -> Any:
    """`program(upstream)`: a gateway in a process of its own, warmed up."""

    def start(upstream: str) -> Any:
        started = start_gateway(upstream, server=request.param)
        with Caller(started.ports[0]) as caller:
            assert caller.ask(b"GET /warm" + HEAD + b"\r\n").status == 200
        return started

    return start


def test_row_67_a_slow_client_and_a_large_body(program: Any, serve: servers.Serve) -> None:
    """The upstream is held up; the gateway keeps next to nothing."""
    body = memoryview(bytes(LARGE))
    stalled: list[int] = []

    def answer(peer: servers.Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/warm":
                peer.respond(200, b"ok")
                continue
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
            stalled.append(send_until_stalled(peer.sock, body))
            peer.send(body[stalled[0] :])

    behind = serve(answer)
    running = program(behind.url)
    before = running.resident()
    with Caller(running.ports[0]) as caller:
        caller.send(GET)
        assert behind.wait_for(lambda: bool(stalled), PATIENCE)
        assert stalled[0] < LARGE
        assert running.resident() - before < GROWTH
        assert caller.head().get("content-length") == str(LARGE)
        left = LARGE
        while left:
            left -= len(caller.recv(left))
        assert running.resident() - before < GROWTH


def test_row_67_a_slow_upstream_and_a_large_upload(program: Any, serve: servers.Serve) -> None:
    """The client is held up; the gateway keeps next to nothing."""

    def answer(peer: servers.Peer) -> None:
        while (request := peer.recv_request_head()) is not None:
            if request.target != b"/warm":
                go.wait(PATIENCE)
            length = sum(map(len, peer.iter_body(request)))
            peer.respond(200, b"%d" % length)

    behind = serve(answer)
    go = behind.event()
    running = program(behind.url)
    body = memoryview(bytes(LARGE))
    before = running.resident()
    with Caller(running.ports[0]) as caller:
        caller.send(b"POST /" + HEAD + b"Content-Length: %d\r\n\r\n" % LARGE)
        stalled = send_until_stalled(caller.sock, body)
        assert stalled < LARGE
        assert running.resident() - before < GROWTH
        go.set()
        caller.send(body[stalled:])
        assert caller.reply().body == b"%d" % LARGE
    assert running.resident() - before < GROWTH


# --- row 70: upstreams that fail ---


def reads_and(then: Callable[[servers.Peer], object]) -> Answer:
    """Return what reads a request and then does that."""

    def answer(peer: servers.Peer) -> None:
        if peer.recv_request() is not None:
            then(peer)

    return answer


def flood(peer: servers.Peer) -> None:
    for _ in range(1000):
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)


def sends(data: bytes) -> Answer:
    return reads_and(lambda peer: peer.send(data))


#: What an upstream does wrong before there is a response, and the status that the client gets.
BAD: dict[str, tuple[Answer, int, str]] = {
    "closes": (reads_and(lambda peer: peer.close()), 502, "closed the connection without"),
    "resets": (reads_and(lambda peer: peer.reset()), 502, "broke off"),
    "hangs": (reads_and(lambda peer: peer.wait_closed()), 504, "did not answer in time"),
    "hangs in the head": (
        reads_and(lambda peer: (peer.send(b"HTTP/1.1 200 OK\r\nA: "), peer.wait_closed())),
        504,
        "did not answer in time",
    ),
    "is no HTTP": (sends(b"SSH-2.0-OpenSSH_9.6\r\n"), 502, "is not HTTP"),
    "speaks TLS": (sends(b"\x15\x03\x01\x00\x02\x02\x16"), 502, "is not HTTP"),
    "ends in the head": (sends(b"HTTP/1.1 200 OK\r\nA: b\r\n"), 502, ""),
    "huge head": (sends(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 5_000_000), 502, "is not HTTP"),
    "many fields": (sends(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500_000), 502, "is not HTTP"),
    "flood of 1xx": (reads_and(flood), 502, "is not HTTP"),
    "switches": (sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nhi"), 502, ""),
    "no status": (sends(b"HTTP/1.1 2x0 OK\r\n\r\n"), 502, "is not HTTP"),
    "two lengths": (
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi"),
        502,
        "is not HTTP",
    ),
    "no length": (sends(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), 502, "is not HTTP"),
    "odd coding": (
        sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        502,
        "is not HTTP",
    ),
    "NUL": (sends(b"HTTP/1.1 200 OK\r\nA: b\x00c\r\nContent-Length: 0\r\n\r\n"), 502, "is not"),
    "line feed": (sends(b"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 0\r\n\r\n"), 502, "is not"),
}
POST = b"POST /" + HEAD + b"Content-Length: 5\r\n\r\nhello"


def good(serve: servers.Serve) -> tuple[servers.ScriptedServer, list[bytes]]:
    """Return an upstream that answers, and the methods that it gets."""
    methods: list[bytes] = []

    def answer(peer: servers.Peer) -> None:
        while (request := peer.recv_request()) is not None:
            methods.append(request.method)
            peer.respond(200, b"good")

    return serve(answer), methods


@pytest.mark.parametrize("kind", BAD)
def test_row_70_an_upstream_that_answers_badly(
    kind: str, watch_one: Watch, serve: servers.Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A GET is answered by the other one; a POST, which may have had its effect, is not sent again.
    The client's response names no upstream."""
    answer, status, says = BAD[kind]
    bad, (behind, methods) = serve(answer), good(serve)
    timeouts = Timeouts(read=0.3)
    breaker = Breaker(failures=0)
    watched = watch_one(bad.url, behind.url, timeouts=timeouts, breaker=breaker)
    statuses = []
    with Caller(watched.port) as caller:
        for _ in range(4):
            reply = caller.ask(GET)
            assert (reply.status, reply.body) == (200, b"good")
    assert methods == [b"GET"] * 4
    assert bad.accepted == 2  # each second one begins there
    for _ in range(2):
        with Caller(watched.port) as caller:
            reply = caller.ask(POST)
            statuses.append(reply.status)
            if reply.status != 200:
                assert reply.get("content-type") == "application/problem+json"
                told = reply.json()
                assert says in told["detail"]
                assert told["request_id"] == reply.get("x-request-id")
                text = str(reply.fields) + reply.body.decode()
                for secret in (str(bad.port), "127.0.0.1", "Error", "httpcore."):
                    assert secret not in text
    assert sorted(statuses) == [200, status]
    assert methods == [b"GET"] * 4 + [b"POST"]
    assert bad.accepted == 3
    figures = watched.until(lambda stats: not any(u["active"] for u in stats["upstreams"]))
    assert figures["routes"][0]["retries"] == 2
    assert not [record for record in caplog.records if record.exc_info]


def test_row_70_a_status_that_is_none(watch_one: Watch, serve: servers.Serve) -> None:
    watched = watch_one(serve(sends(b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n")).url)
    with Caller(watched.port) as caller:
        assert caller.ask(GET).status == 502
        assert caller.ask(GET).status == 502


@pytest.mark.parametrize("kind", ["refused", "black hole"])
@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
def test_row_70_an_upstream_that_cannot_be_reached(
    kind: str,
    request_: bytes,
    watch: Watch,
    serve: servers.Serve,
    closed_port: int,
    black_hole: tuple[str, int],
) -> None:
    """Nothing was sent, so that the other one gets it, whatever it is."""
    port = closed_port if kind == "refused" else black_hole[1]
    behind, methods = good(serve)
    bad = f"http://127.0.0.1:{port}"
    watched = watch(bad, behind.url, timeouts=Timeouts(connect=0.2), breaker=Breaker(failures=2))
    with Caller(watched.port) as caller:
        for _ in range(6):
            assert caller.ask(request_).body == b"good"
    assert len(methods) == 6
    upstream = watched.stats()["routes"][0]["upstreams"][0]
    assert (upstream["breaker"], upstream["failures"]) == ("open", 2)


@pytest.mark.parametrize("kind", ["refused", "black hole"])
def test_row_70_no_upstream_can_be_reached(
    kind: str, watch_one: Watch, closed_port: int, black_hole: tuple[str, int]
) -> None:
    port = closed_port if kind == "refused" else black_hole[1]
    urls = [f"http://127.0.0.1:{port}", f"http://localhost:{port}"]
    watched = watch_one(*urls, timeouts=Timeouts(connect=0.1), breaker=Breaker(failures=1))
    with Caller(watched.port) as caller:
        reply = caller.ask(POST)
        assert reply.status == (502 if kind == "refused" else 504)
        assert "could not be reached" in reply.json()["detail"]
        reply = caller.ask(GET)
        assert reply.status == 503
        assert int(reply.get("retry-after") or "") >= 1
        assert "left alone" in reply.json()["detail"]


#: How a response ends badly after its head.
BROKEN: dict[str, Answer] = {
    "short": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"),
    "no last chunk": sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    "bad chunk": sends(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n" + b"x" * 100
    ),
    "reset": reads_and(
        lambda peer: (peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"), peer.reset())
    ),
    "hangs": reads_and(
        lambda peer: (
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"),
            peer.wait_closed(),
        )
    ),
}


@pytest.mark.parametrize("kind", ["uvicorn", "granian", "hypercorn"])
def test_row_70_a_response_that_breaks_off(
    kind: str,
    serve: servers.Serve,
    serve_gateway: gateways.ServeGateway,
    start_gateway: gateways.StartGateway,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client's connection is closed, so that it does not take the rest for a whole; the logs
    have a line, and no traceback."""
    for name, answer in BROKEN.items():
        options: dict[str, Any] = {"server": kind, "timeouts": Timeouts(read=0.3)}
        upstream = serve(answer).url
        if kind == "granian":
            program = start_gateway(upstream, **options)
            port = program.ports[0]
        else:
            port = serve_gateway(upstream, **options).port
        caplog.clear()
        with Caller(port) as caller:
            caller.send(GET)
            try:
                reply = caller.reply()
            except ConnectionResetError:
                continue
            # granian sends the head with the first piece of the body, and 500 where there is none.
            assert reply.status >= 500 or not reply.whole
            assert reply.status >= 500 or caller.closed()
        if kind == "granian":
            assert "Traceback" not in program.output.read_text()
        else:
            ours = [record for record in caplog.records if record.name == "httpcore_gateway"]
            assert len(ours) == 1, name
            assert not [record for record in caplog.records if record.exc_info]


def test_row_70_an_upload_that_breaks_off_is_not_sent_again(
    watch_one: Watch, serve: servers.Serve
) -> None:
    """Not even an idempotent one, once more than its first piece was taken from the client."""

    def answer(peer: servers.Peer) -> None:
        peer.recv_request_head()
        peer.recv_exactly(500_000)
        peer.reset()

    behind, methods = good(serve)
    watched = watch_one(serve(answer).url, behind.url)
    seen = []
    for _ in range(2):
        with Caller(watched.port) as caller:
            caller.send(b"PUT /" + HEAD + b"Content-Length: 2000000\r\n\r\n" + bytes(2_000_000))
            seen.append(caller.reply().status)
    assert sorted(seen) == [200, 502]
    assert methods == [b"PUT"]


def test_row_70_the_breaker_opens_and_closes(
    watch_one: Watch, tmp_path: Path, serve: servers.Serve
) -> None:
    """After three failures nothing is sent; then one request tries, and its success closes it."""
    path = str(tmp_path / "s")
    breaker = Breaker(failures=3, seconds=0.3)
    watched = watch_one(Upstream("http://behind", uds=path), breaker=breaker, retries=0)

    def state() -> Any:
        return watched.stats()["routes"][0]["upstreams"][0]["breaker"]

    with Caller(watched.port) as caller:
        for _ in range(3):
            assert state() == "closed"
            assert caller.ask(GET).status == 502
        assert state() == "open"
        assert caller.ask(GET).status == 503
        watched.until(lambda stats: state() == "half-open")
        assert caller.ask(GET).status == 502  # the one that tries
        assert state() == "open"
        with servers.LocalServer(uds=path):
            watched.until(lambda stats: state() == "half-open")
            assert caller.ask(GET).status == 200
            assert state() == "closed"
            assert caller.ask(GET).status == 200


def test_row_70_only_one_request_tries_a_failed_upstream(
    watch_one: Watch, serve: servers.Serve
) -> None:
    def answer(peer: servers.Peer) -> None:
        while peer.recv_request() is not None:
            if peer.number > 1:
                go.wait(PATIENCE)
                peer.respond(200, b"ok")
            else:
                return

    behind = serve(answer)
    go = behind.event()
    breaker = Breaker(failures=1, seconds=0.1)
    watched = watch_one(behind.url, breaker=breaker, retries=0)
    with Caller(watched.port) as caller, Caller(watched.port) as other:
        assert caller.ask(GET).status == 502
        watched.until(lambda stats: stats["routes"][0]["upstreams"][0]["breaker"] == "half-open")
        caller.send(GET)
        assert behind.wait_for(lambda: behind.accepted == 2, PATIENCE)
        for _ in range(3):
            assert other.ask(GET).status == 503
        go.set()
        assert caller.reply().status == 200
        assert other.ask(GET).status == 200


def active(number: int) -> Callable[[Any], bool]:
    """Return whether so many requests are under way."""
    return lambda stats: sum(upstream["active"] for upstream in stats["upstreams"]) == number


def test_row_70_the_upstream_with_the_fewest_requests(
    watch_one: Watch, serve: servers.Serve
) -> None:
    def answer(peer: servers.Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/hold":
                go.wait(PATIENCE)
            peer.respond(200, b"%d" % peer.server.port)

    one, two = serve(answer), serve(answer)
    go = one.event()
    watched = watch_one(one.url, two.url)
    callers = [Caller(watched.port) for _ in range(6)]
    for number, caller in enumerate(callers, 1):
        caller.send(b"GET /hold" + HEAD + b"\r\n")
        stats = watched.until(active(number))
        assert abs(stats["upstreams"][0]["active"] - stats["upstreams"][1]["active"]) <= 1
    go.set()
    bodies = [caller.reply().body for caller in callers]
    assert sorted(bodies) == sorted([b"%d" % one.port, b"%d" % two.port] * 3)
    for caller in callers:
        caller.close()


def test_row_70_the_queue_has_a_limit_and_a_timeout(watch: Watch, serve: servers.Serve) -> None:
    seen: list[bytes] = []

    def answer(peer: servers.Peer) -> None:
        while (request := peer.recv_request()) is not None:
            seen.append(request.target)
            go.wait(PATIENCE)
            peer.respond(200, b"ok")

    behind = serve(answer)
    go = behind.event()
    upstream = Upstream(behind.url, max_connections=1, max_queue=1)
    watched = watch(upstream, timeouts=Timeouts(queue=1.0))
    with Caller(watched.port) as first, Caller(watched.port) as second:
        first.send(GET)
        assert behind.wait_for(lambda: bool(seen))
        second.send(GET)
        watched.until(lambda stats: stats["upstreams"][0]["waiting"] == 1)
        with Caller(watched.port) as third:
            reply = third.ask(GET)
            assert (reply.status, reply.get("retry-after")) == (503, "1")
            assert "too many requests wait" in reply.json()["detail"]
        reply = second.reply()
        assert (reply.status, reply.get("retry-after")) == (503, "1")
        assert "in use" in reply.json()["detail"]
        go.set()
        assert first.reply().status == 200
    stats = watched.until(lambda stats: not stats["upstreams"][0]["active"])
    assert stats["routes"][0]["failures"] == {"queue_full": 1, "queue_timeout": 1}
    assert stats["routes"][0]["upstreams"][0]["failures"] == 0


def test_row_70_a_request_has_a_time_in_all(watch_one: Watch, serve: servers.Serve) -> None:
    """Attempts share it; a response that drips is cut off."""

    def drips(peer: servers.Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        peer.drip(b"x" * 10_000, 0.05)

    hangs = serve(reads_and(lambda peer: peer.wait_closed()))
    watched = watch_one(hangs.url, serve(reads_and(drips)).url, timeouts=Timeouts(total=0.5))
    seen = set()
    for _ in range(2):
        with Caller(watched.port) as caller:
            caller.send(GET)
            reply = caller.reply()
            seen.add((reply.status, reply.whole))
    assert seen == {(504, True), (200, False)}


@pytest.mark.parametrize("where", ["before the response", "in its middle", "afterwards"])
def test_requests_that_a_stop_ends(
    where: str,
    serve: servers.Serve,
    serve_gateway: gateways.ServeGateway,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They are no failures of the upstream, and their clients get a response that says so."""

    def answer(peer: servers.Peer) -> None:
        peer.recv_request()
        if where == "in its middle":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        reached.set()
        peer.wait_closed()

    behind = serve(answer)
    reached = behind.event()
    served = serve_gateway(behind.url)
    with Caller(served.port) as caller:
        if where != "afterwards":
            caller.send(GET)
            assert reached.wait(PATIENCE)
        if where == "in its middle":
            assert caller.recv(4) == b"HTTP"
        asyncio.run_coroutine_threadsafe(served.gateway.aclose(), served.loop).result(PATIENCE)
        if where == "in its middle":
            with contextlib.suppress(EOFError):
                while caller.recv(1000):
                    pass
        else:
            reply = caller.ask(GET) if where == "afterwards" else caller.reply()
            assert (reply.status, reply.get("retry-after")) == (503, "1")
            assert "stopped" in reply.json()["detail"]
    assert served.gateway.stats()["routes"][0]["upstreams"][0]["failures"] == 0
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(("line", "status"), [(b"413 No", 413), (b"200 OK", 200)])
def test_an_upload_that_stalls_in_a_response(
    line: bytes, status: int, watch_one: Watch, serve: servers.Serve
) -> None:
    """The upstream answers while it reads, and the client sends no more. The response is with the
    client already, so its connection is closed in the middle of it."""

    def answer(peer: servers.Peer) -> None:
        request = peer.recv_request_head()
        assert request is not None
        head = b"HTTP/1.1 " + line + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        peer.send(head + b"5\r\nhello\r\n")
        peer.wait_closed()

    watched = watch_one(serve(answer).url, timeouts=Timeouts(client=0.3, read=2.0))
    with Caller(watched.port) as caller:
        caller.send(b"POST /" + HEAD + b"Content-Length: 1000\r\n\r\nhello")
        reply = caller.reply()
        assert (reply.status, reply.whole) == (status, False)
    stats = watched.until(lambda stats: not stats["upstreams"][0]["active"])
    assert sum(stats["routes"][0]["failures"].values()) == 1
