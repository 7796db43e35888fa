"""Reused connections: the keep-alive race, silent drops, poisoned leftovers, timeouts.

Owns: the tests of what may go wrong because a connection has served a request before. Must not
know: how the pool decides, except where a test moves its clock.
Sources: RFC 9110 section 9.2.2 (what may be sent again), RFC 9112 sections 9.3 to 9.5 (reuse, and
either side closing at any time).
"""

from __future__ import annotations

import gc
import random
import select
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
import requests

import httpcore
from httpcore._shared import pool_actions, pool_slots
from httpcore._sync import connection_pool, http11
from httpcore_requests import HTTPAdapter
from tests.support import PATIENCE
from tests.support.babbling import UNASKED, Babbler
from tests.support.interrupting import Interruptible, Tally, interrupt_at
from tests.support.servers import Peer, ScriptedServer, Serve, pattern

pytestmark = pytest.mark.no_cover


# --- one way to send for both doors: the core, and requests on top of it ---


class Core:
    """Sends through `httpcore.ConnectionPool`."""

    failure: type[Exception] = httpcore.RemoteProtocolError
    read_timeout: type[Exception] = httpcore.ReadTimeout
    write_timeout: type[Exception] = httpcore.WriteTimeout

    def __init__(self, **options: Any) -> None:
        self.pool = httpcore.ConnectionPool(**options)

    def send(
        self, method: str, url: str, body: Any = None, timeout: Any = None, headers: Any = None
    ) -> Sent:
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        timeouts = {"connect": connect, "read": read, "write": read}
        extensions = {"timeout": timeouts}
        response = self.pool.request(
            method, url, content=body, headers=headers, extensions=extensions
        )
        return Sent(response.status, response.content, response.extensions["network_stream"])

    def close(self) -> None:
        self.pool.close()


class Session:
    """Sends through `requests.Session` with the adapter mounted."""

    failure = requests.ConnectionError
    read_timeout = requests.ReadTimeout
    # requests has no class for it: the adapter says it as a ReadTimeout.
    write_timeout = requests.ReadTimeout

    def __init__(self, **options: Any) -> None:
        self.adapter = HTTPAdapter(**options)
        self.session = requests.Session()
        self.session.mount("http://", self.adapter)
        self.session.mount("https://", self.adapter)

    @property
    def pool(self) -> httpcore.ConnectionPool:
        return self.adapter.pool

    def send(
        self, method: str, url: str, body: Any = None, timeout: Any = None, headers: Any = None
    ) -> Sent:
        response = self.session.request(method, url, data=body, timeout=timeout, headers=headers)
        raw: Any = response.raw
        return Sent(response.status_code, response.content, raw.network_stream)

    def close(self) -> None:
        self.session.close()


Client = Core | Session
both_doors = pytest.mark.parametrize("door", [Core, Session])


class Sent:
    def __init__(self, status: int, content: bytes, stream: httpcore.NetworkStream) -> None:
        self.status = status
        self.content = content
        self.stream = stream

    @property
    def socket(self) -> socket.socket:
        found: socket.socket = self.stream.get_extra_info("socket")
        return found


def wait_readable(sock: socket.socket) -> None:
    """Until something has arrived on a pooled socket, or the client has closed it."""
    if sock.fileno() >= 0:
        readable, _, _ = select.select([sock], [], [], PATIENCE)
        assert readable, "nothing arrived"


def in_threads(jobs: list[Callable[[], None]]) -> None:
    """Run all at once; the first failure is raised here."""
    failures: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# --- row 1: the keep-alive race ---


class Leaver:
    """A server that answers 1 to 5 requests per connection and then closes it at a random moment
    around the next one: before, while it is under way, or after it was read."""

    moments = ("at once", "soon", "first byte", "head", "request", "reset")

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.left: Counter[str] = Counter()
        self.swallowed: Counter[bytes] = Counter()  # requests that were read and not answered
        self.answered: Counter[bytes] = Counter()

    def __call__(self, peer: Peer) -> None:
        chance = random.Random(self.seed + peer.number)
        for _ in range(chance.randint(1, 5)):
            request = peer.recv_request()
            if request is None:
                return
            self.answered[request.target] += 1
            peer.respond(200, request.target + request.body, head_only=request.method == b"HEAD")
        moment = chance.choice(self.moments)
        self.left[moment] += 1
        getattr(self, moment.replace(" ", "_"))(peer, chance)

    def at_once(self, peer: Peer, chance: random.Random) -> None:
        peer.close()

    def soon(self, peer: Peer, chance: random.Random) -> None:
        # The next request comes within this time or it does not: this is the race itself.
        peer.sock.settimeout(chance.random() / 1000)
        try:
            peer.recv(1)
        except TimeoutError:
            pass
        peer.close()

    def first_byte(self, peer: Peer, chance: random.Random) -> None:
        peer.sock.recv(1)  # closing with unread bytes resets the connection
        peer.close()

    def head(self, peer: Peer, chance: random.Random) -> None:
        peer.recv_head()
        peer.close()

    def request(self, peer: Peer, chance: random.Random) -> None:
        request = peer.recv_request()
        if request is not None:
            self.swallowed[request.target] += 1
        peer.close()

    def reset(self, peer: Peer, chance: random.Random) -> None:
        request = peer.recv_request()
        if request is not None:
            self.swallowed[request.target] += 1
        peer.reset()


IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE")


def send_many(client: Client, url: str, count: int, threads: int, leaver: Leaver) -> None:
    """`count` idempotent requests; every one must be answered, and with its own answer."""

    def worker(first: int) -> None:
        chance = random.Random(first)
        for number in range(first, count, threads):
            method = chance.choice(IDEMPOTENT)
            body = pattern(chance.choice((10, 5000)), number) if method == "PUT" else None
            sent = client.send(method, f"{url}/{number}", body, timeout=PATIENCE)
            expected = b"" if method == "HEAD" else b"/%d" % number + (body or b"")
            assert (sent.status, sent.content) == (200, expected), (method, number)

    in_threads([lambda first=n: worker(first) for n in range(threads)])  # type: ignore[misc]
    assert len(leaver.answered) == count
    assert set(leaver.left) == set(leaver.moments)
    # Some did meet a connection that died under them, or the test shows nothing.
    assert leaver.swallowed
    assert max(leaver.swallowed.values()) == 1, "sent again over a connection that was not new"


@pytest.mark.parametrize(
    ("door", "count"),
    [
        (Core, 2_000),
        (Session, 2_000),
        pytest.param(Session, 10_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
    ],
)
def test_row_1_a_server_that_leaves_is_not_noticed(
    serve: Serve, door: type[Client], count: int
) -> None:
    """Row 1: "A loopback server closes each connection after k responses at a random moment around
    the next request: 10 000 GET/HEAD/PUT/DELETE through a default session give 0 exceptions".

    2 000 through each door; the soak has 10 000.
    """
    leaver = Leaver(seed=1)
    server = serve(leaver)
    with closing(door()) as client:
        send_many(client, server.url, count, 4, leaver)


@both_doors
def test_row_1_a_post_over_a_connection_seen_closed_succeeds(
    serve: Serve, door: type[Client]
) -> None:
    """Row 1: "a POST whose connection was seen closed before its first byte was written always
    succeeds"."""
    posts: Counter[bytes] = Counter()

    def once(peer: Peer) -> None:
        request = peer.recv_request()
        if request is not None:
            posts[request.body] += 1
            peer.respond(200, request.body)

    server = serve(once)
    with closing(door()) as client:
        for number in range(100):
            sent = client.send("POST", server.url, b"order %d" % number, timeout=PATIENCE)
            assert (sent.status, sent.content) == (200, b"order %d" % number)
            wait_readable(sent.socket)
    assert len(posts) == 100
    assert set(posts.values()) == {1}


@both_doors
@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("size", [12, 1_000_000])
def test_row_1_a_post_that_was_read_is_sent_once(
    serve: Serve, door: type[Client], ending: str, size: int
) -> None:
    """Row 1: "a POST the server did read then dropped is sent exactly once and raises
    ConnectionError flagged "may have been processed""."""
    heads: list[bytes] = []

    def drop_the_second(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            heads.append(request.target)
            if request.target == b"/pay":
                getattr(peer, ending)()
                return
            peer.respond(200, b"ok")

    server = serve(drop_the_second)
    failures = (httpcore.NetworkError, httpcore.RemoteProtocolError, requests.ConnectionError)
    with closing(door()) as client:
        client.send("POST", server.url + "/warm", b"x", timeout=PATIENCE)
        with pytest.raises(failures) as caught:
            client.send("POST", server.url + "/pay", pattern(size), timeout=PATIENCE)
        assert heads == [b"/warm", b"/pay"]
        assert server.accepted == 1
        assert phase_of(caught.value) == "maybe_processed"
        if door is Session:
            assert "may have been processed" in str(caught.value)
        # The pool is none the worse.
        assert client.send("POST", server.url + "/next", b"x", timeout=PATIENCE).status == 200
    assert heads == [b"/warm", b"/pay", b"/next"]


def phase_of(exc: BaseException | None) -> str | None:
    """The phase of the exception, or of the first one behind it that has one."""
    while exc is not None:
        for candidate in (exc, *exc.args):
            phase: str | None = getattr(candidate, "phase", None)
            if phase is not None:
                return phase
        exc = exc.__cause__ or exc.__context__
    return None


def test_row_1_a_body_that_cannot_be_repeated_is_not(serve: Serve) -> None:
    """Row 1, the border of the one safe replay: what an iterator gave is gone, so a PUT of one
    whose connection died under it raises and is not sent cut short."""
    bodies: list[bytes] = []

    def drop_the_second(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            bodies.append(request.body)
            if request.target == b"/2":
                return
            peer.respond(200)

    server = serve(drop_the_second)
    with httpcore.ConnectionPool() as pool:
        pool.request("PUT", server.url + "/1", content=iter([b"a", b"b"]))
        with pytest.raises(httpcore.RemoteProtocolError):
            pool.request("PUT", server.url + "/2", content=iter([b"c", b"d"]))
    assert bodies == [b"ab", b"cd"]


# --- row 2: connections that go silent ---


class Clock:
    """The pool's clock, moved by hand. Seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        fake = SimpleNamespace(monotonic=lambda: self.now)
        for module in (connection_pool, pool_actions, pool_slots):
            monkeypatch.setattr(module, "time", fake)
        monkeypatch.setattr(http11, "time", fake)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@both_doors
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_row_2_tcp_keepalive_is_on(
    serve: Serve,
    door: type[Client],
    scheme: str,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
) -> None:
    """Row 2: "Defaults: SO_KEEPALIVE on with idle ≤ 60 s (read back by getsockopt)"."""
    server = serve(echo_target, tls=server_tls_context if scheme == "https" else None)
    with closing(door(ssl_context=client_tls_context)) as client:
        sock = client.send("GET", server.url, timeout=PATIENCE).socket
        assert client.pool.stats()["idle"] == 1, "the socket is the pooled one"
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
        if idle is not None:
            assert 0 < sock.getsockopt(socket.IPPROTO_TCP, idle) <= 60


def echo_target(peer: Peer) -> None:
    while (request := peer.recv_request()) is not None:
        peer.respond(200, request.target, [("X-Connection", str(peer.number))])


def reuse(client: Client, clock: Clock, url: str, idle: float) -> bool:
    """Whether a request sent `idle` seconds after another one went over the same connection."""
    first = client.send("GET", url).socket.getsockname()
    clock.now += idle
    return bool(client.send("GET", url).socket.getsockname() == first)


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (lambda: Core(keepalive_expiry=7.0), 7.0),
        (lambda: Session(keepalive_expiry=7.0), 7.0),
        (Session, 60.0),  # the default
    ],
)
def test_row_2_past_keepalive_expiry(
    serve: Serve, clock: Clock, make: Callable[[], Client], limit: float
) -> None:
    """Row 2: "a connection idle past `keepalive_expiry` [...] is never reused"."""
    server = serve(echo_target)
    with closing(make()) as client:
        assert reuse(client, clock, server.url, limit - 0.01)
        assert not reuse(client, clock, server.url, limit)
        assert not reuse(client, clock, server.url, limit * 100)
        assert client.pool.stats()["connections"] == 1


@both_doors
@pytest.mark.parametrize("spelling", ["timeout=5", "timeout=5, max=100", "max=9,Timeout = 5"])
def test_row_2_past_the_servers_own_limit(
    serve: Serve, clock: Clock, door: type[Client], spelling: str
) -> None:
    """Row 2: "a connection idle past [...] the server's `Keep-Alive: timeout=N` [...] is never
    reused"."""

    def limited(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, b"", [("Keep-Alive", spelling)])

    server = serve(limited)
    with closing(door()) as client:
        assert reuse(client, clock, server.url, 4.99)
        assert not reuse(client, clock, server.url, 5.0)
        assert not reuse(client, clock, server.url, 59.0)


@both_doors
def test_row_2_a_limit_of_nothing_is_one(serve: Serve, clock: Clock, door: type[Client]) -> None:
    """Row 2: "past the server's `Keep-Alive: timeout=N`", for the N that ends reuse at once."""

    def limited(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, b"", [("Keep-Alive", "timeout=0")])

    server = serve(limited)
    with closing(door()) as client:
        assert client.send("GET", server.url).status == 200
        assert client.pool.stats()["connections"] == 0
        assert client.send("GET", server.url).status == 200
    assert server.accepted == 2


@both_doors
def test_row_2_older_than_max_age(serve: Serve, clock: Clock, door: type[Client]) -> None:
    """Row 2: "a connection [...] older than `max_age` is never reused", however busy it is."""
    server = serve(echo_target)
    with closing(door(max_age=10.0)) as client:
        used = []
        for _ in range(31):
            used.append(client.send("GET", server.url).socket.getsockname())
            clock.now += 1.0
    assert [len(list(group)) for group in runs(used)] == [10, 10, 10, 1]
    assert server.accepted == 4


def runs(values: list[Any]) -> Iterator[list[Any]]:
    """Neighbours that are equal, together."""
    run: list[Any] = []
    for value in values:
        if run and run[-1] != value:
            yield run
            run = []
        run.append(value)
    yield run


def test_row_2_a_waiter_is_not_handed_an_old_one(serve: Serve, clock: Clock) -> None:
    """Row 2: "older than `max_age` is never reused", nor by one who waits for just that one."""
    answering = threading.Event()
    server: ScriptedServer

    def slow(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/slow":
                answering.set()
                go.wait(PATIENCE)
            peer.respond(200, str(peer.number).encode())

    server = serve(slow)
    go = server.event()
    queued = threading.Event()

    class Watched(httpcore.ConnectionPool):
        def _wait(self, *arguments: Any) -> None:
            queued.set()
            super()._wait(*arguments)

    contents: dict[str, bytes] = {}

    def get(path: str) -> None:
        contents[path] = pool.request("GET", server.url + path).content

    with Watched(max_connections=1, max_age=10.0) as pool:
        holder = threading.Thread(target=get, args=("/slow",))
        holder.start()
        assert answering.wait(PATIENCE)
        waiter = threading.Thread(target=get, args=("/next",))
        waiter.start()
        assert queued.wait(PATIENCE)
        clock.now += 10.0
        go.set()
        holder.join(PATIENCE)
        waiter.join(PATIENCE)
        assert contents == {"/slow": b"1", "/next": b"2"}


class Hole(httpcore.NetworkBackend):
    """A network whose established paths can be cut without anyone being told.

    `cut()` makes each stream that is open swallow what is written and answer nothing. A read then
    takes its whole timeout, off the fake clock. `noticed` says that the kernel's own keep-alive
    probes have found out: the socket reports an error, as poll() tells it.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.streams: list[Holed] = []
        self.noticed = False

    def connect_tcp(self, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        inner = httpcore.SyncBackend().connect_tcp(*arguments, **options)
        self.streams.append(Holed(self, inner))
        return self.streams[-1]

    def cut(self) -> None:
        for stream in self.streams:
            stream.dead = True


class Holed(httpcore.NetworkStream):
    def __init__(self, hole: Hole, inner: httpcore.NetworkStream) -> None:
        self.hole = hole
        self.inner = inner
        self.dead = False
        self.touched_dead = 0  # writes and reads after the cut

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self.dead:
            return self.inner.read(max_bytes, timeout)
        self.touched_dead += 1
        assert timeout is not None, "this would hang for ever"
        self.hole.clock.now += timeout
        raise httpcore.ReadTimeout("no byte came")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.touched_dead += self.dead
        if not self.dead:
            self.inner.write(buffer, timeout)

    def close(self) -> None:
        self.inner.close()

    def get_extra_info(self, info: str) -> Any:
        if self.dead and info == "is_readable":
            return self.hole.noticed
        return self.inner.get_extra_info(info)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_row_2_a_black_hole_behind_an_idle_connection(
    serve: Serve, clock: Clock, method: str
) -> None:
    """Row 2: "when the idle path is black-holed the next request finishes within one fresh
    connect, not after the read timeout".

    A default session. The path is forgotten as soon as NATs do that, after a minute of silence.
    """
    server = serve(echo_target)
    hole = Hole(clock)
    with closing(Session(network_backend=hole)) as client:
        client.send("GET", server.url, timeout=(5.0, 300.0))
        hole.cut()
        clock.now += 60.0
        before = clock.now
        assert client.send(method, server.url, timeout=(5.0, 300.0)).status == 200
        assert clock.now == before, "some timeout was waited for"
    assert len(hole.streams) == 2
    assert hole.streams[0].touched_dead == 0


@both_doors
def test_row_2_a_black_hole_that_the_kernel_has_found(
    serve: Serve, clock: Clock, door: type[Client]
) -> None:
    """Row 2: "when the idle path is black-holed the next request finishes within one fresh
    connect, not after the read timeout", for connections that may be idle for ever.

    That is what SO_KEEPALIVE is for: its probes go unanswered, and the socket says so.
    """
    server = serve(echo_target)
    hole = Hole(clock)
    with closing(door(network_backend=hole, keepalive_expiry=None)) as client:
        client.send("GET", server.url, timeout=(5.0, 300.0))
        hole.cut()
        hole.noticed = True
        clock.now += 3600.0
        before = clock.now
        assert client.send("POST", server.url, b"x", timeout=(5.0, 300.0)).status == 200
        assert clock.now == before
    assert len(hole.streams) == 2
    assert hole.streams[0].touched_dead == 0


# --- row 28: what one response leaves behind must not reach another request ---


def babble(servers: list[ScriptedServer], babbler: Babbler, client: Client, count: int) -> None:
    """`count` requests over one pool, a thread for each server: only who alone talks to it can
    wait until what comes unasked has come, before the next request."""

    def worker(first: int) -> None:
        chance = random.Random(first)
        for number in range(first, count, len(servers)):
            place = chance.choice(("with", "after", "never", "never"))
            method = chance.choice(("GET", "GET", "HEAD", "PUT"))
            target = f"/{place}/{number}"
            got = babbler.expect(target, servers[first]) if place == "after" else None
            sent = client.send(method, servers[first].url + target, timeout=PATIENCE)
            expected = b"" if method == "HEAD" else target.encode()
            assert (sent.status, sent.content) == (200, expected)
            if place != "never":
                if got is not None:
                    got.set()
                wait_readable(sent.socket)

    in_threads([lambda first=n: worker(first) for n in range(len(servers))])  # type: ignore[misc]
    assert babbler.babbled > count // 3
    # Each connection that said too much was dropped, and none that did not.
    assert sum(server.accepted for server in servers) <= babbler.babbled + len(servers)


@pytest.mark.parametrize(("door", "count"), [(Core, 2_000), (Session, 1_000)])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_row_28_unasked_bytes_reach_nobody(
    serve: Serve,
    door: type[Client],
    count: int,
    scheme: str,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
) -> None:
    """Row 28: "Server pushes extra bytes or an unasked second response after a body, before or
    after the release: the connection is dropped and 10 000 nonce-tagged requests never see
    another's response".

    2 000 through the core, 1 000 through a session, a quarter of that over TLS; the soak has
    10 000 through each.
    """
    tls = server_tls_context if scheme == "https" else None
    babbler = Babbler()
    servers = [serve(babbler, tls=tls) for _ in range(4)]
    with closing(door(ssl_context=client_tls_context)) as client:
        babble(servers, babbler, client, count // 4 if tls else count)


@pytest.mark.soak
@pytest.mark.timeout(600)
@both_doors
def test_row_28_unasked_bytes_reach_nobody_10_000_times(serve: Serve, door: type[Client]) -> None:
    """Row 28: "10 000 nonce-tagged requests never see another's response"."""
    babbler = Babbler()
    servers = [serve(babbler) for _ in range(8)]
    with closing(door()) as client:
        babble(servers, babbler, client, 10_000)


@pytest.mark.parametrize("extra", UNASKED, ids=range(len(UNASKED)))
@pytest.mark.parametrize(
    ("method", "head", "body"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok"),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n0\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", b""),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b""),
    ],
)
def test_row_28_the_connection_is_dropped(
    serve: Serve, method: str, head: bytes, body: bytes, extra: bytes
) -> None:
    """Row 28: "Server pushes extra bytes or an unasked second response after a body, before or
    after the release: the connection is dropped", for each way a body ends."""
    got = threading.Event()

    def babble_once(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/with":
                peer.send(head + body + extra)
            elif request.target == b"/after":
                peer.send(head + body)
                got.wait(PATIENCE)
                peer.send(extra)
            else:
                peer.respond(200, b"mine")

    server = serve(babble_once)
    with httpcore.ConnectionPool() as pool:
        content = b"ok" if body else b""
        assert pool.request(method, server.url + "/with").content == content
        # It came with the body: dropped before anybody could take it.
        assert pool.stats()["connections"] == 0
        assert pool.request("GET", server.url).content == b"mine"
        assert pool.request(method, server.url + "/after").content == content
        assert pool.stats()["idle"] == 1
        assert server.accepted == 2
        stream = pool.connections[0].opened.network  # type: ignore[attr-defined]
        got.set()
        wait_readable(stream.get_extra_info("socket"))
        assert pool.request("POST", server.url, content=b"x").content == b"mine"
        assert server.accepted == 3


def drip(peer: Peer) -> None:
    """Answers with the target 200 times over, in pieces, framed by turns."""
    number = 0
    while (request := peer.recv_request()) is not None:
        number += 1
        pieces = [request.target * 20] * 10
        peer.respond(200, pieces, framing="chunked" if number % 2 else "length")


# An interrupted request may leave its response, or its socket, to the collector, which says so;
# and an interrupt that happens to strike in a destructor is reported and dropped by Python.
interrupting_anywhere = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_row_28_a_reader_interrupted_at_any_point(serve: Serve) -> None:
    """Row 28: "never see another's response, also when a reader thread was interrupted mid-body".

    At each point of the code, one after the other, where an interrupt can strike. The reader reads
    in small pieces and gives up half-way: so reading, ending and closing are all interrupted.
    """
    server = serve(drip)

    def read_some(target: str, pieces: int) -> None:
        with pool.stream("GET", server.url + target) as response:
            for _ in range(pieces):
                part: bytes = response.stream.read(100)
                assert part == (target.encode() * 200)[:100][: len(part)] or pieces > 1
                if not part:
                    break

    with httpcore.ConnectionPool(max_connections=1) as pool:
        for pieces in (3, 1000):
            point = 1
            while interrupt_at(point, lambda p=pieces, n=point: read_some(f"/cut/{n:05}", p)):  # type: ignore[misc]
                target = f"/whole/{pieces}/{point}"
                extensions = {"timeout": {"pool": PATIENCE, "read": PATIENCE}}
                whole = pool.request("GET", server.url + target, extensions=extensions)
                assert whole.content == target.encode() * 200
                point += 1 if point < 150 else 7
            assert point > 50
        gc.collect()
        stats = pool.stats()
        assert (stats["active"], stats["dialing"], stats["waiting"]) == (0, 0, 0)


@pytest.mark.alone
@interrupting_anywhere
@pytest.mark.parametrize(("readers", "each"), [(12, 60)])
def test_row_28_readers_interrupted_by_other_threads(serve: Serve, readers: int, each: int) -> None:
    """Row 28: "never see another's response, also when a reader thread was interrupted mid-body":
    readers share few connections, and each is interrupted once, wherever it is."""
    interrupt_readers(serve(drip), readers, each)


@pytest.mark.soak
@pytest.mark.timeout(600)
@interrupting_anywhere
def test_row_28_readers_interrupted_by_other_threads_10_000_requests(serve: Serve) -> None:
    """Row 28: "10 000 nonce-tagged requests never see another's response, also when a reader
    thread was interrupted mid-body"."""
    server = serve(drip)
    for _ in range(20):
        interrupt_readers(server, readers=20, each=25)


def interrupt_readers(server: ScriptedServer, readers: int, each: int) -> None:
    progress = Tally()
    left = dict.fromkeys(range(readers), each)
    over = threading.Event()

    def read_one(reader: int) -> bool:
        if over.is_set() or (left[reader] <= 0 and threads[reader].sent):
            return False
        left[reader] -= 1
        target = f"/{reader}/{left[reader]:05}".encode()
        progress.release()
        with pool.stream(
            "GET", server.url + target.decode(), extensions={"timeout": {"pool": PATIENCE}}
        ) as response:
            content = b"".join(response.stream)
        assert content == target * 200
        return True

    chance = random.Random(0)
    with httpcore.ConnectionPool(max_connections=readers // 3) as pool:
        threads = [Interruptible(lambda n=n: read_one(n)) for n in range(readers)]  # type: ignore[misc]
        for thread in threads:
            thread.start()
        try:
            for thread in chance.sample(threads, readers):
                for _ in range(each // 3):
                    assert progress.acquire(timeout=PATIENCE)
                assert thread.interrupt()
            for thread in threads:
                thread.join(PATIENCE)
        finally:
            over.set()
        for thread in threads:
            assert not thread.is_alive()
            if thread.failure is not None:
                raise thread.failure
        assert all(thread.sent for thread in threads)
        assert sum(thread.interrupted for thread in threads) > readers // 2
        gc.collect()
        stats = pool.stats()
        assert (stats["active"], stats["dialing"], stats["waiting"]) == (0, 0, 0)
        assert pool.request("GET", server.url + "/end").content == b"/end" * 200


# --- row 54: each request has its own timeout ---


@both_doors
@pytest.mark.parametrize("seconds", [0.8])
@pytest.mark.parametrize("what", ["head", "body", "upload"])
def test_row_54_the_second_timeout_is_the_second_requests(
    serve: Serve, door: type[Client], what: str, seconds: float
) -> None:
    """Row 54: "timeout=0.2 then timeout=5 on one connection: second upload/read may take 3 s".

    It takes 0.8 s here, four times the first request's timeout.
    """
    second_may_take(serve, door, what, seconds)


@pytest.mark.soak
@both_doors
@pytest.mark.parametrize("what", ["head", "body", "upload"])
def test_row_54_the_second_timeout_for_3_seconds(
    serve: Serve, door: type[Client], what: str
) -> None:
    """Row 54: "timeout=0.2 then timeout=5 on one connection: second upload/read may take 3 s"."""
    second_may_take(serve, door, what, 3.0)


# Bytes: more than both kernels' socket buffers take while nobody reads.
STUCK = 16_000_000


def second_may_take(serve: Serve, door: type[Client], what: str, seconds: float) -> None:
    server = serve(lambda peer: slow_second(peer, what, seconds))
    with closing(door()) as client:
        assert client.send("GET", server.url, timeout=0.2).content == b"ok"
        body = pattern(STUCK) if what == "upload" else None
        sent = client.send("POST", server.url, body, timeout=5)
        assert sent.content == b"slow"
    assert server.accepted == 1


def slow_second(peer: Peer, what: str, seconds: float) -> None:
    """Answers the first request at once and the second one late, in one of three ways."""
    never = peer.server.event()
    peer.recv_request()
    peer.respond(200, b"ok")
    request = peer.recv_request_head()
    if request is None:
        return
    if what == "upload":
        never.wait(seconds)
    for _ in peer.iter_body(request):
        pass
    if what == "head":
        never.wait(seconds)
    if what == "body":
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl")
        never.wait(seconds)
        peer.send(b"ow")
    else:
        peer.respond(200, b"slow")
    peer.wait_closed()


@both_doors
@pytest.mark.parametrize("what", ["head", "body", "upload"])
def test_row_54_nor_is_a_long_timeout_kept(serve: Serve, door: type[Client], what: str) -> None:
    """Row 54 the other way round: timeout=5 then timeout=0.2, and the second one does end."""
    server = serve(lambda peer: slow_second(peer, what, PATIENCE))
    failures = (door.read_timeout, door.write_timeout, requests.ConnectionError)
    with closing(door()) as client:
        assert client.send("GET", server.url, timeout=5).content == b"ok"
        body = pattern(STUCK) if what == "upload" else None
        with pytest.raises(failures, match="timed out"):
            client.send("POST", server.url, body, timeout=0.2)
        assert client.pool.stats()["connections"] == 0
    assert server.accepted == 1
