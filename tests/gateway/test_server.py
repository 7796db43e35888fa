"""The server that runs the gateway, in this process: heads, the end, sockets, workers.

Owns: what uvicorn does with our settings and our connection. Must not know: how requests are passed
on. `test_command` has the same as a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import logging
import logging.config
import os
import runpy
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import msgspec
import pytest

import httpcore_gateway
from httpcore._core import upload
from httpcore_gateway import Gateway, Route, _command, _server
from httpcore_gateway.__main__ import main
from httpcore_gateway._config import Config, Server
from tests.support.raw_http import WAIT, Waiting, ask, read_all, read_until, until_refused
from tests.support.servers import LocalServer, Peer, Serve, closed_port


class Here:
    """The server in a thread, which takes signals by `GatewayServer.handle_exit`.

    Attributes:
        port: where it listens.
        server: uvicorn's.
    """

    def __init__(self, upstream: str, **options: Any) -> None:
        settings = Server(port=0, **options)
        config = Config(routes=(Route(upstreams=(upstream,)),), server=settings, access_log="off")
        self.app = Gateway(settings=config)
        self._serves = threading.Event()
        self._sockets = _server.listen(settings)
        self.port = self._sockets[0].getsockname()[1]
        self.server = _server.GatewayServer(
            _server.UvicornConfig(config, self.app),
            self.app,
            _server.listen_admin(settings),
            self._serves.set,
        )
        self._thread = threading.Thread(target=self.server.run, args=(self._sockets,))
        self._thread.start()
        assert self._serves.wait(WAIT)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), WAIT)

    def stop(self) -> None:
        """As a signal does. Idempotent."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.server.handle_exit(signal.SIGTERM, None)

    def wait(self) -> None:
        self._thread.join(WAIT)
        assert not self._thread.is_alive()


ServeHere = Callable[..., Here]


@pytest.fixture
def serve_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServeHere]:
    """`serve_here(upstream, **options)` starts one that ends with the test; the options are those
    of `Server`."""
    monkeypatch.setattr(_server, "make_log_config", lambda: None)  # it would be pytest's, too
    started: list[Here] = []

    def start(upstream: str, **options: Any) -> Here:
        started.append(Here(upstream, **options))
        return started[-1]

    yield start
    for here in started:
        here.stop()
        here.stop()
        here.wait()


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    with Waiting() as server:
        yield server


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


# --- heads ---


@pytest.fixture
def small(serve_here: ServeHere, server: LocalServer) -> Here:
    """A gateway that takes heads of 1024 bytes in one second."""
    return serve_here(server.url, max_head=1024, head_timeout=1)


def test_more_connections_than_allowed(
    serve_here: ServeHere, server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    """As many as that are served; one more is not, and the id in its response is in the log."""
    here = serve_here(server.url, limit_concurrency=2)
    get = b"GET /status/204 HTTP/1.1\r\nHost: a\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(here.connect())
            client.sendall(get)
            assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 204 ")
        with here.connect() as refused:
            refused.sendall(get)
            data = read_all(refused)
        assert b"\r\nretry-after: 1\r\n" in data
        problem = problem_of(data)
        assert problem["status"] == 503
        assert f"{problem['request_id']}: " in caplog.text
        client.sendall(get)
        assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 204 ")
    assert here.app.stats()["routes"][0]["requests"]["2xx"] == 3


def test_more_requests_than_allowed(serve_here: ServeHere, waiting: Waiting) -> None:
    """One that has waited behind another one counts, too."""
    here = serve_here(waiting.url, limit_concurrency=1)
    waiting.go.set()
    with here.connect() as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        first, _, second = read_all(client).partition(b"2\r\n0\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert problem_of(second)["status"] == 503


def problem_of(data: bytes) -> Any:
    """Return the fields and the document of a response."""
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
    assert fields["content-type"] == "application/problem+json"
    assert fields["connection"] == "close"
    assert fields["date"].endswith(" gmt")
    return json.loads(body)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1024 + b"\r\n\r\n",  # whole in one read
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1024,
        b"GET /" + b"x" * 1100,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 250,
    ],
)
def test_a_head_that_is_too_long(small: Here, server: LocalServer, head: bytes) -> None:
    with small.connect() as sock:
        sock.sendall(head)
        problem = problem_of(read_all(sock))
    assert problem["status"] == 431
    assert server.accepted == 0


def test_a_head_that_is_too_long_in_pieces(small: Here) -> None:
    with small.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                sock.sendall(b"X: yyyyyyyyyy\r\n")
        assert problem_of(read_all(sock))["status"] == 431


def test_a_head_may_have_all_that_is_allowed(small: Here) -> None:
    """And each on the same connection, also where two come at once after a long body."""
    head = b"GET /status/204 HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 900 + b"\r\n\r\n"
    post = b"POST /status/204 HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + bytes(9000)
    with small.connect() as sock:
        for _ in range(3):
            sock.sendall(head)
            assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 204 ")
            sock.sendall(post + head[:600])
            assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 204 ")
            sock.sendall(head[600:])
            assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize("first", [b"", b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_a_head_that_takes_too_long(small: Here, first: bytes) -> None:
    """Of the first request of a connection, and of a later one."""
    with small.connect() as sock:
        if first:
            sock.sendall(first)
            read_until(sock, b"}")
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        assert problem_of(read_all(sock))["status"] == 408


def test_a_connection_without_a_request_is_closed(small: Here) -> None:
    with small.connect() as sock:
        assert read_all(sock) == b""


def test_trailers_have_the_limit_of_a_head(small: Here) -> None:
    """The parser keeps them, and would keep all of them."""
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with small.connect() as sock:
        sock.sendall(head + b"1\r\nx\r\n0\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                sock.sendall(b"X: yyyyyyyyyy\r\n")
        assert problem_of(read_all(sock))["status"] == 431


CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"


@pytest.mark.parametrize("protocol", [b"h2c", b"other", b"h2c\r\nUpgrade: other"])
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(
    "framed", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS]
)
def test_an_upgrade_to_another_protocol_is_ignored(
    small: Here, server: LocalServer, framed: bytes, split: bool, protocol: bytes
) -> None:
    """With its body, and with the requests behind it."""
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: x, Upgrade\r\nX: y\r\nUpgrade: "
    data = (head + protocol + b"\r\n" + framed) * 3
    data += b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with small.connect() as client:
        if split:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(data), 7):
                client.sendall(data[at : at + 7])
        else:
            client.sendall(data)
        reply = read_all(client)
    assert reply.count(b"HTTP/1.1 200 OK") == 4
    assert [r.body for r in server.requests[:3]] == [b"abc"] * 3
    for request in server.requests[:3]:
        assert not {b"upgrade", b"x"} & {name.lower() for name, _ in request.headers}


def test_many_upgrades_in_one_read(small: Here, server: LocalServer) -> None:
    """Each is read anew, without recursion."""
    count = 1500
    one = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    last = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with small.connect() as client:
        client.sendall(one * count + last)
        assert read_all(client).count(b"HTTP/1.1 200 OK") == count + 1


@pytest.mark.parametrize("before", [b"", b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"])
@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://other/echo?x=1", b"other", b"/echo?x=1"),
        (b"HTTP://other:8/echo", b"other:8", b"/echo"),
        (b"https://other", b"other", b"/"),
        (b"http://other?x=1", b"other", b"/?x=1"),
    ],
)
def test_a_target_that_is_a_whole_url(
    small: Here, server: LocalServer, target: bytes, host: bytes, path: bytes, before: bytes
) -> None:
    """Its host is the one that counts (RFC 9112 section 3.2.2)."""
    with small.connect() as client:
        head = b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        client.sendall(before + head)
        assert read_all(client).count(b"HTTP/1.1 ") == (2 if before else 1)
    request = server.requests[-1]
    assert (request.header("Host"), request.target) == (host, path)
    assert request.header("X-Forwarded-Host") == host


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"CONNECT a:80", 501),
        (b"CONNECT http://a/", 501),
        (b"CONNECT /path", 501),
        (b"GET *", 400),
        (b"GET http:///path", 400),
        (b"GET ftp://a/path", 400),
        (b"GET http://user:word@a/path", 400),
        (b"GET a:80", 400),
    ],
)
def test_a_target_that_cannot_be_served(
    small: Here, line: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with small.connect() as client:
        client.sendall(line + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert problem_of(read_all(client))["status"] == status
    assert not [entry for entry in caplog.records if entry.levelno >= logging.ERROR]


@pytest.mark.parametrize("line", [b"CONNECT a:80", b"GET http:///path"])
def test_a_refused_target_is_no_response_to_another_request(
    serve_here: ServeHere, waiting: Waiting, line: bytes
) -> None:
    running = serve_here(waiting.url)
    with running.connect() as client:
        refused = line + b" HTTP/1.1\r\nHost: a\r\n\r\n"
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + refused)
        assert read_all(client) == b""


#: What a client sends to open a WebSocket, besides method, target and version.
OPENING = (
    b"Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(
    ("line", "framed", "body"),
    [
        (b"GET /echo HTTP/1.1", b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (b"GET /echo HTTP/1.1", b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS, b"abc"),
        (b"POST /echo HTTP/1.1", b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (b"GET /echo HTTP/1.0", b"\r\n", b""),
    ],
)
def test_an_upgrade_to_websocket_that_is_no_handshake_is_ignored(
    small: Here, server: LocalServer, line: bytes, framed: bytes, body: bytes
) -> None:
    with small.connect() as client:
        client.sendall(line + b"\r\n" + OPENING + framed)
        reply = read_until(client, b"\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 200 OK")
    [request] = server.requests
    assert (request.method, request.body) == (line.split()[0], body)
    assert request.header("Upgrade") is None


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"X: " + b"y" * 900 + b"\r\n", 502),  # it is passed on, to no WebSocket
        (b"X: y\r\n" * 200, 431),
    ],
)
def test_a_handshake_with_many_fields(serve_here: ServeHere, fields: bytes, status: int) -> None:
    running = serve_here(f"http://127.0.0.1:{closed_port()}", max_head=65536)
    with running.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + OPENING + fields + b"\r\n")
        assert problem_of(read_all(client))["status"] == status


def test_a_handshake_with_a_long_field(serve_here: ServeHere) -> None:
    running = serve_here(f"http://127.0.0.1:{closed_port()}")
    with running.connect() as client:
        cookie = b"Cookie: a=" + b"y" * 9000 + b"\r\n"
        client.sendall(b"GET / HTTP/1.1\r\n" + OPENING + cookie + b"\r\n")
        assert problem_of(read_all(client))["status"] == 431


def test_trailers_of_a_request_are_no_headers(small: Here, server: LocalServer) -> None:
    body = b"3\r\nabc\r\n0\r\nX-User: admin\r\n\r\n"
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    with small.connect() as client:
        client.sendall(head + b"Connection: close\r\n\r\n" + body)
        assert read_all(client).startswith(b"HTTP/1.1 200")
    [request] = server.requests
    assert request.body == b"abc"
    assert request.header("X-User") is None


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"GET nonsense\r\n\r\n", 400, "no valid HTTP"),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", 400, "no valid HTTP"),
        (b"LIST / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "no method that this server knows"),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "no method that this server knows"),
        (b"nonsense\r\n\r\n", 501, "no method that this server knows"),
    ],
)
def test_what_is_no_http(small: Here, data: bytes, status: int, says: str) -> None:
    with small.connect() as sock:
        sock.sendall(data)
        problem = problem_of(read_all(sock))
        assert problem["status"] == status and says in problem["detail"]


def test_a_refusal_is_no_part_of_another_response(serve_here: ServeHere, waiting: Waiting) -> None:
    running = serve_here(waiting.url)
    with running.connect() as sock:
        ask(sock, "/wait")
        read_until(sock, b"\r\n1\r\n")
        sock.sendall(b"nonsense\r\n\r\n")
        answer = read_all(sock)
        assert b"400" not in answer and b"501" not in answer


@pytest.mark.parametrize("served", [0, 1])
def test_a_client_leaves_that_has_sent_more_requests(
    serve_here: ServeHere, serve: Serve, served: int
) -> None:
    """The one that is served ends, and the next ones are not served."""

    def answer(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/%d" % served:
                reached.set()
                peer.wait_closed()
                left.set()
                return
            peer.respond(200, b"ok")

    behind = serve(answer)
    reached, left = behind.event(), threading.Event()
    here = serve_here(behind.url)
    with here.connect() as client:
        client.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(4)))
        assert reached.wait(WAIT)
    assert left.wait(WAIT)
    assert behind.wait_for(lambda: not here.server.server_state.tasks, WAIT)
    assert behind.accepted == 1


@pytest.mark.skipif(not hasattr(select, "EPOLLRDHUP"), reason="the system does not say so")
def test_a_client_leaves_that_waits_for_leave_to_send(
    serve_here: ServeHere, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system says so, through our transport; `test_hang_ups` has the other ways."""

    def answer(peer: Peer) -> None:
        if peer.recv_request_head() is not None:
            reached.set()
            peer.wait_closed()
            left.set()

    monkeypatch.setattr(upload, "CONTINUE_PATIENCE", 2 * WAIT)
    behind = serve(answer)
    reached, left = behind.event(), threading.Event()
    here = serve_here(behind.url)
    with here.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n")
        client.sendall(b"Content-Length: 5\r\n\r\n")
        assert reached.wait(WAIT)
    assert left.wait(WAIT)
    assert behind.wait_for(lambda: not here.server.server_state.connections, WAIT)


# --- the end ---


def test_a_stop_waits_for_a_request_and_health_says_so(
    serve_here: ServeHere, waiting: Waiting
) -> None:
    port = closed_port()
    here = serve_here(waiting.url, admin=f"127.0.0.1:{port}")
    assert get(port, "/health") == (200, b'{"status": "ok"}')
    with here.connect() as slow:
        ask(slow, "/wait")
        read_until(slow, b"\r\n1\r\n")
        here.stop()
        until_refused(here.port)
        assert get(port, "/health")[0] == 503
        waiting.go.set()
        assert read_all(slow).endswith(b"2\r\n0\r\n\r\n")
    here.wait()
    until_refused(port)


def test_a_second_signal_ends_requests(serve_here: ServeHere, waiting: Waiting) -> None:
    here = serve_here(waiting.url, stop_timeout=1000)
    with here.connect() as slow:
        ask(slow, "/wait")
        read_until(slow, b"\r\n1\r\n")
        here.stop()
        here.stop()
        assert read_all(slow) == b""
    here.wait()


def test_a_signal_before_the_start() -> None:
    """Nothing is served, and nothing is wrong."""
    config = Config(routes=(Route(upstreams=("http://127.0.0.1:1",)),))
    app = Gateway(settings=config)
    options: Any = SimpleNamespace(
        for_admin=lambda app: SimpleNamespace(), limit_max_requests=None, loaded=True
    )
    server = _server.GatewayServer(options, app, [], lambda: None)
    server.handle_exit(signal.SIGINT, None)
    server.handle_exit(signal.SIGINT, None)
    assert server.should_exit and server.force_exit


def test_nothing_is_said_where_the_start_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """uvicorn has said why."""

    async def fail(self: Any, sockets: Any) -> None:
        self.should_exit = True

    monkeypatch.setattr(_server, "make_log_config", lambda: None)
    monkeypatch.setattr(_server.uvicorn.Server, "startup", fail)
    config = Config(routes=(Route(upstreams=("http://127.0.0.1:1",)),))
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert _server.serve(config, [sock], [], lambda: said.append("serves")) == 0
    assert said == []


# --- sockets ---


def refusal(server: Server) -> tuple[str, str]:
    with pytest.raises(_server.CannotListen) as caught:
        _server.listen(server)
    return caught.value.setting, str(caught.value)


def test_all_addresses_of_a_name_have_one_port() -> None:
    sockets = _server.listen(Server(host="localhost", port=0))
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
    finally:
        for sock in sockets:
            sock.close()


def test_one_address_of_two_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket of the other one is closed."""
    # Addresses of this test alone: on 127.0.0.1 another process may have the port.
    own, others = "127.7.7.1", "127.7.7.2"
    here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (own, 0))
    with socket.create_server((others, 0)) as taken:
        there = (*here[:4], (others, 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **options: [here, there])
        assert refusal(Server(port=port)) == ("server.port", f"{port}: Address already in use")
        with socket.socket() as free:
            free.bind((own, port))


def test_sockets_that_cannot_be(tmp_path: Path) -> None:
    assert refusal(Server(host="192.0.2.1")) == (
        "server.host",
        "192.0.2.1: Cannot assign requested address",
    )
    setting, text = refusal(Server(host="a" * 70 + ".example"))
    assert setting == "server.host" and text.startswith("'aaa")
    (tmp_path / "file").touch()
    for path, says in (
        (tmp_path / "file", "Address already in use"),
        (tmp_path / "none" / "x", "No such file or directory"),
    ):
        assert refusal(Server(uds=str(path))) == ("server.uds", f"'{path}': {says}")
    assert (tmp_path / "file").is_file()


def test_unix_sockets(tmp_path: Path) -> None:
    server = Server(uds=str(tmp_path / "sock"))
    (first,) = _server.listen(server)
    assert refusal(server) == ("server.uds", f"'{server.uds}': Address already in use")
    first.close()
    (second,) = _server.listen(server)  # which nobody listens on any more
    second.close()


def test_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is one: on its own, and with brackets in its URL."""
    try:
        (sock,) = _server.listen(Server(host="::1", port=0))
    except _server.CannotListen:
        pytest.skip("there is no IPv6")
    with sock:
        port = sock.getsockname()[1]
        config = Config(routes=())
        assert _command.url_of(config, sock.getsockname()) == f"http://[::1]:{port}"


# --- workers ---


class FakeWorker:
    """Stands for uvicorn's process of one worker."""

    def __init__(self, exitcode: int | None = 0) -> None:
        self.process = self
        self.exitcode = exitcode
        self.calls: list[str] = []

    def kill(self) -> None:
        self.calls.append("kill")

    def terminate(self) -> None:
        self.calls.append("terminate")


@pytest.fixture
def keep_signals() -> Iterator[None]:
    """uvicorn's parent takes all kinds of signals."""
    numbers = [number for number in signal.Signals if number not in (9, 19)]
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.mark.usefixtures("keep_signals")
def test_the_parent_of_workers() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    config: Any = SimpleNamespace(workers=2)
    workers = _server.Workers(config, [sock])
    fakes = [FakeWorker(), FakeWorker()]
    workers.processes = fakes  # type: ignore[assignment]
    assert not workers.failed
    os.kill(os.getpid(), signal.SIGTERM)
    workers.terminate_all()
    assert sock.fileno() == -1
    assert [fake.calls for fake in fakes] == [["terminate"]] * 2
    os.kill(os.getpid(), signal.SIGTERM)
    assert [fake.calls for fake in fakes] == [["terminate", "kill"]] * 2
    fakes[0].exitcode = _server.STARTUP_FAILURE
    assert workers.failed


@pytest.mark.parametrize("failed", [False, True])
def test_workers_are_told_by_the_environment(monkeypatch: pytest.MonkeyPatch, failed: bool) -> None:
    made: list[Any] = []

    class FakeWorkers:
        def __init__(self, config: Any, sockets: Any) -> None:
            made.append(config)
            self.failed = failed

        def run(self) -> None:
            pass

    monkeypatch.setattr(_server, "make_log_config", lambda: None)
    monkeypatch.setattr(_server, "Workers", FakeWorkers)
    monkeypatch.setenv(_server.VARIABLE, "")
    route = Route(upstreams=("http://127.0.0.1:1",))
    config = Config(routes=(route,), server=Server(workers=2, max_head=2000))
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as sock:
        code = _server.serve(config, [sock], [], lambda: said.append("serves"))
        assert sock.get_inheritable()
    assert (code, said) == (_server.STARTUP_FAILURE if failed else 0, ["serves"])
    assert (made[0].workers, made[0].max_head, made[0].app) == (2, 2000, _server.FACTORY)
    thresholds = gc.get_threshold()
    try:
        assert _server.make_app().settings == config
        assert gc.get_threshold() == (_server.COLLECT_AFTER, *thresholds[1:])
        assert gc.get_freeze_count()
    finally:
        _server.restore_collector(thresholds)


def test_the_collector_is_as_before_when_the_server_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def run(server: Any, sockets: Any) -> None:
        seen.extend([gc.get_threshold()[0], gc.get_freeze_count()])
        raise KeyboardInterrupt

    monkeypatch.setattr(_server, "make_log_config", lambda: None)
    monkeypatch.setattr(_server.GatewayServer, "run", run)
    before = gc.get_threshold()
    config = Config(routes=(Route(upstreams=("http://127.0.0.1:1",)),))
    with pytest.raises(KeyboardInterrupt):
        _server.serve(config, [], [], lambda: None)
    assert seen[0] == _server.COLLECT_AFTER
    assert seen[1] > 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


# --- small rules ---


def test_without_httptools(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(_server.choose_protocol(), type)
    monkeypatch.setattr(_server, "is_installed", lambda name: False)
    assert _server.choose_protocol() == "h11"  # with a limit of heads of its own


def test_what_is_left_out_of_the_log() -> None:
    def shows(**more: Any) -> bool:
        return _server.NotOurs().filter(logging.makeLogRecord(more))

    assert shows(msg="a", exc_info=None)
    assert shows(msg="a", exc_info=(ValueError, ValueError(), None))
    cancelled = asyncio.CancelledError
    assert not shows(msg="a", exc_info=(cancelled, cancelled(), None))
    assert not shows(msg=_server.INCOMPLETE)


def test_the_configuration_of_logging_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handlers and filters can be made; here with loggers that nobody uses."""
    config = _server.make_log_config()
    config["loggers"] = {f"test.{name}": each for name, each in config["loggers"].items()}
    config["incremental"] = False
    logging.config.DictConfigurator(config).configure()
    names = ("test.uvicorn", "test.httpcore_gateway", "test.httpcore_gateway.access")
    assert all(logging.getLogger(name).handlers for name in names)
    for name in names:
        logging.getLogger(name).handlers.clear()


def test_the_command_serves_in_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(
        _command,
        "serve",
        lambda config, sockets, admin, say: (say(), 7)[1],  # its exit code
    )
    arguments = ["-u", "http://127.0.0.1:1", "--host", "127.0.0.1"]
    admin = closed_port()
    path = tmp_path / "sock"
    assert _command.run_command([*arguments, "--uds", str(path)]) == 7
    assert not path.exists()
    assert capsys.readouterr().err.startswith(f"httpcore_gateway: {path} serves */ -> ")

    def serve(config: Config, sockets: Any, admin_sockets: list[socket.socket], say: Any) -> int:
        say()
        for sock in admin_sockets:
            sock.close()
        return 0

    monkeypatch.setattr(_command, "serve", serve)
    assert _command.run_command([*arguments, "--port", "0", "--admin", f"127.0.0.1:{admin}"]) == 0
    line = capsys.readouterr().err
    assert line.startswith("httpcore_gateway: http://127.0.0.1:")
    assert line.endswith(f"; health, stats and metrics: http://127.0.0.1:{admin}\n")


def test_the_command_cannot_listen(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        base = ["-u", "http://127.0.0.1:1", "--port"]
        assert _command.run_command([*base, str(port)]) == 2
        assert _command.run_command([*base, "0", "--admin", f"127.0.0.1:{port}"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"httpcore_gateway: --port: {port}: Address already in use",
        f"httpcore_gateway: --admin: {port}: Address already in use",
    ]


def test_a_default_that_cannot_be_is_named_as_its_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listen(server: Server) -> list[socket.socket]:
        raise _server.CannotListen("server.port", f"{server.port}: Address already in use")

    monkeypatch.setattr(_command, "listen", listen)
    assert _command.run_command(["-u", "http://127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert said == "httpcore_gateway: --port: 8000: Address already in use\n"


def test_ctrl_c_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise click.Abort

    monkeypatch.setattr(_command.command, "main", interrupted)
    assert _command.run_command([]) == 130


def test_the_module_is_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["httpcore_gateway", "--version"])
    monkeypatch.delitem(sys.modules, "httpcore_gateway.__main__")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("httpcore_gateway", run_name="__main__")
    assert not caught.value.code
    assert capsys.readouterr().out.startswith("httpcore_gateway 1")


@pytest.mark.parametrize(("name", "ours"), [("click", True), ("httpcore_gateway._config", False)])
def test_packages_that_are_missing(
    name: str, ours: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "httpcore_gateway._command")
    monkeypatch.setitem(sys.modules, name, None)
    if ours:
        assert main([]) == 2
        assert 'pip install "httpcore[gateway]"' in capsys.readouterr().err
    else:  # a defect, which is not to be hidden
        with pytest.raises(ModuleNotFoundError):
            main([])


def test_public_names() -> None:
    assert set(httpcore_gateway.__all__) <= set(dir(httpcore_gateway))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        httpcore_gateway.Nothing  # type: ignore[attr-defined]  # noqa: B018
    assert msgspec.json.decode(json.dumps({"upstreams": ["http://a"]}), type=Route).path == "/"
