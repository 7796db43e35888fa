"""WebSockets through the gateway: rows 66 and 68 of the table of behaviours.

Owns: what a client and an upstream see, under uvicorn in this process, and once under granian and
hypercorn, with `websockets` on both sides, and with a scripted upstream for what no library does.
Must not know: frames (``tests/unit/gateway``), how the gateway is made.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection

from httpcore_gateway import Breaker, Timeouts, Upstream
from httpcore_gateway._record import Record
from httpcore_gateway._upgrade import AnsweringWebSocket
from tests.support import MIB, PATIENCE
from tests.support.gateways import ServedGateway, ServeGateway, StartGateway
from tests.support.servers import Peer, Serve, closed_port
from tests.support.threads import until
from tests.support.tls import server_context, write_server_cert
from tests.support.web_sockets import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    WebSocketHandler,
    WebSocketServer,
    close_frame,
    closing,
    connect,
    echo,
    frame,
    handshake,
    read_frame,
    upgrade,
)

LIBRARIES = ("wsproto", "websockets-sansio")


class Gateways:
    """Starts gateways under uvicorn; keeps the records of the WebSockets through each."""

    def __init__(self, serve_gateway: ServeGateway) -> None:
        self._serve = serve_gateway
        self.records: list[Record] = []

    def __call__(self, *upstreams: Any, ws: str = "websockets-sansio", **options: Any) -> int:
        """Start one; return its port."""
        self.served: ServedGateway = self._serve(*upstreams, ws=ws, **options)
        done = self.served.gateway.done

        def keep(record: Record) -> None:
            done(record)
            self.records.append(record)

        self.served.gateway.done = keep  # type: ignore[method-assign]
        return self.served.port

    def record(self) -> Record:
        """Return the record of the only WebSocket so far, when it has ended."""
        until(lambda: self.records)
        [record] = self.records
        until(lambda: not self.served.tasks())
        assert self.served.active() == [0] * len(self.served.gateway.targets)
        return record


@pytest.fixture
def gateways(serve_gateway: ServeGateway) -> Gateways:
    return Gateways(serve_gateway)


@pytest.fixture
def upstream() -> Iterator[Callable[..., WebSocketServer]]:
    """`upstream(handler, ...)` starts a WebSocketServer that ends with the test."""
    started: list[WebSocketServer] = []

    def start(handler: WebSocketHandler = echo, **options: Any) -> WebSocketServer:
        server = WebSocketServer(handler, **options).__enter__()
        started.append(server)
        return server

    yield start
    for server in started:
        server.__exit__()


StartUpstream = Callable[..., WebSocketServer]

# Messages


@pytest.mark.parametrize("ws", LIBRARIES)
def test_row_68_messages_pass_in_both_directions(
    ws: str, gateways: Gateways, upstream: StartUpstream
) -> None:
    port = gateways(upstream().url, ws=ws)
    with connect(port) as client:
        for message in ("", "text ü", b"", b"\x00\xff", "x" * 70000, bytes(3 * MIB)):
            client.send(message)
            assert client.recv(timeout=PATIENCE) == message
    record = gateways.record()
    assert record.status == 101 and record.failure == "" and not record.client_left
    assert record.received == record.sent > 3 * MIB


def test_row_68_fragments_are_joined(gateways: Gateways, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        upgrade(peer)
        parts = "größe".encode()
        peer.send(frame(TEXT, parts[:3], end=False) + frame(PING, b"between"))
        peer.send(frame(CONTINUATION, parts[3:4], end=False) + frame(CONTINUATION, parts[4:]))
        for byte in frame(BINARY, b"abc"):
            peer.send(bytes([byte]))
        assert read_frame(peer) == (PONG, b"between")
        peer.send(close_frame(1000))
        assert read_frame(peer) == (CLOSE, b"\x03\xe8")
        peer.wait_closed()

    port = gateways(serve(handler).url)
    with connect(port) as client:
        assert client.recv(timeout=PATIENCE) == "größe"
        assert client.recv(timeout=PATIENCE) == b"abc"
        assert closing(client) == (1000, "")
    assert gateways.record().failure == ""


#: More messages of a MIB than the kernel, which may hold 36 MiB for one connection (`tcp_rmem`,
#: `tcp_wmem`), and two libraries keep between two programs.
COUNT = 128


def test_a_slow_upstream_slows_the_client(gateways: Gateways, upstream: StartUpstream) -> None:
    read_on = threading.Event()

    def handler(connection: ServerConnection) -> None:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        read_on.wait(PATIENCE)
        total = 0
        while (message := connection.recv()) != "end":
            total += len(message)
        connection.send(str(total))

    port = gateways(upstream(handler, max_queue=1).url)
    with connect(port) as client:
        sent = threading.Semaphore(0)

        def send() -> None:
            for _ in range(COUNT):
                client.send(bytes(MIB))
                sent.release()
            client.send("end")

        sender = threading.Thread(target=send)
        sender.start()
        passed = count_until_pause(sent)
        read_on.set()
        assert client.recv(timeout=PATIENCE) == str(COUNT * MIB)
        sender.join(PATIENCE)
    assert passed < COUNT, "the gateway takes all of it"
    assert gateways.record().received == COUNT * MIB + 3


def test_a_slow_client_slows_the_upstream(gateways: Gateways, upstream: StartUpstream) -> None:
    sent = threading.Semaphore(0)

    def handler(connection: ServerConnection) -> None:
        for _ in range(COUNT):
            connection.send(bytes(MIB))
            sent.release()

    port = gateways(upstream(handler).url)
    with connect(port, max_queue=1) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        passed = count_until_pause(sent)
        assert sum(len(client.recv(timeout=PATIENCE)) for _ in range(COUNT)) == COUNT * MIB
    assert passed < COUNT, "the gateway takes all of it"
    assert gateways.record().sent == COUNT * MIB


def count_until_pause(done: threading.Semaphore) -> int:
    """Return how often `done` is released before half a second passes without that."""
    count = 0
    while done.acquire(timeout=0.5):
        count += 1
    return count


def test_pings_are_answered_while_the_upstream_takes_nothing(
    gateways: Gateways, serve: Serve
) -> None:
    """An upstream that reads only when what it writes is taken does not stand still for a ping."""
    taken = threading.Event()

    def handler(peer: Peer) -> None:
        upgrade(peer)
        # The gateway has begun to write, and what it writes does not fit in any buffer.
        assert peer.sock.recv(1, socket.MSG_PEEK)
        # More than is read at once: the text is whole only after the ping was seen.
        peer.send(frame(PING, b"1") + frame(TEXT, b"x" * 100_000))
        assert taken.wait(PATIENCE)
        seen = [read_frame(peer) for _ in range(2)]
        assert [(opcode, len(payload)) for opcode, payload in seen] == [
            (BINARY, 16 * MIB),
            (PONG, 1),
        ]
        peer.send(close_frame(1000))
        read_frame(peer)

    port = gateways(serve(handler).url)
    with connect(port) as client:
        client.send(bytes(16 * MIB))
        assert client.recv(timeout=PATIENCE) == "x" * 100_000
        taken.set()
        assert closing(client) == (1000, "")


def test_an_upstream_of_pings_that_does_not_read_is_not_read_from(
    gateways: Gateways, serve: Serve
) -> None:
    stopped = threading.Event()

    def handler(peer: Peer) -> None:
        upgrade(peer)
        peer.sock.settimeout(0.5)
        pings = frame(PING, bytes(125)) * 500
        try:
            while True:
                peer.send(pings)
        except TimeoutError:
            stopped.set()
        peer.reset()

    port = gateways(serve(handler).url)
    with connect(port) as client:
        assert stopped.wait(PATIENCE)
        assert closing(client)[0] == 1014
    assert gateways.record().kind == "broken_response"


# The handshake


def test_what_the_upstream_is_asked(gateways: Gateways, upstream: StartUpstream) -> None:
    def handler(connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        connection.send(json.dumps([request.path, list(request.headers.raw_items())]))

    url = upstream(handler, subprotocols=["chat", "soap"]).url
    port = gateways(f"{url}/app")
    with connect(
        port,
        "/a%2Fb?c=d",
        subprotocols=["other", "chat"],
        origin="https://example.com",
        additional_headers={"Cookie": "a=b", "Authorization": "Bearer x", "X-Real-IP": "1.2.3.4"},
        compression="deflate",
        user_agent_header="tests",
    ) as client:
        assert client.subprotocol == "chat"
        path, items = json.loads(client.recv(timeout=PATIENCE))
    assert path == "/app/a%2Fb?c=d"
    fields = {name.lower(): value for name, value in items}
    assert len(fields) == len(items)
    key = fields.pop("sec-websocket-key")
    assert len(key) == 24
    assert fields.pop("x-request-id") == gateways.record().request_id
    assert fields == {
        "host": f"127.0.0.1:{port}",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-protocol": "other, chat",
        "origin": "https://example.com",
        "cookie": "a=b",
        "authorization": "Bearer x",
        "user-agent": "tests",
        "forwarded": f'for=127.0.0.1;host="127.0.0.1:{port}";proto=http',
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": f"127.0.0.1:{port}",
        "x-forwarded-proto": "http",
        "via": "1.1 httpcore-gateway",
    }


@pytest.mark.parametrize("ws", LIBRARIES)
def test_what_the_client_is_answered(ws: str, gateways: Gateways, upstream: StartUpstream) -> None:
    def add(connection: ServerConnection, request: Request, response: Response) -> Response:
        response.headers["Set-Cookie"] = "a=1"
        response.headers["Set-Cookie"] = "b=2"
        response.headers["X-Own"] = "yes"
        return response

    port = gateways(upstream(process_response=add, subprotocols=["b"]).url, ws=ws)
    with connect(port, subprotocols=["a", "b"]) as client:
        assert client.response is not None
        headers = client.response.headers
        assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert headers["X-Own"] == "yes"
        assert headers.get_all("Sec-WebSocket-Protocol") == ["b"]
        assert headers.get_all("Via") == ["1.1 httpcore-gateway"]
        assert len(headers.get_all("Sec-WebSocket-Accept")) == 1
        assert len(headers.get_all("Connection")) == 1


def test_over_tls_on_both_sides(
    gateways: Gateways,
    upstream: StartUpstream,
    client_tls_context: ssl.SSLContext,
    ca_bundle: str,
    ca: trustme.CA,
    tmp_path: Path,
) -> None:
    certificate = write_server_cert(ca, tmp_path)
    for http2 in (False, True):
        context = server_context(ca)
        # It would choose HTTP/2 where that is offered, and speaks HTTP/1.1 only.
        context.set_alpn_protocols(["h2", "http/1.1"])
        url = upstream(ssl=context).url
        port = gateways(Upstream(url, ca=ca_bundle, http2=http2), tls=certificate)
        with connect(port, ssl=client_tls_context, server_hostname="localhost") as client:
            client.send("hello")
            assert client.recv(timeout=PATIENCE) == "hello"


@pytest.mark.parametrize("ws", LIBRARIES)
def test_a_refusal_is_passed_on(ws: str, gateways: Gateways, upstream: StartUpstream) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(401, "who are you?\n")  # type: ignore[arg-type]
        response.headers["WWW-Authenticate"] = "Basic"
        del response.headers["Date"]
        return response

    port = gateways(upstream(process_request=refuse).url, ws=ws, date_header=False)
    with pytest.raises(InvalidStatus) as info, connect(port):
        pass
    response = info.value.response
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Basic"
    assert response.headers["Date"].endswith(" GMT")
    assert response.body == b"who are you?\n"
    record = gateways.record()
    assert (record.status, record.sent, record.failure) == (401, 13, "")


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_of_a_long_refusal_the_beginning(framing: str, gateways: Gateways, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request_head()
        peer.respond(503, b"x" * MIB, framing=framing)

    port = gateways(serve(handler).url)
    with pytest.raises(InvalidStatus) as info, connect(port):
        pass
    assert info.value.response.status_code == 503
    assert info.value.response.body == b"x" * 65536
    assert gateways.record().status == 503


def test_a_server_without_responses_to_a_handshake_answers_403(
    gateways: Gateways, upstream: StartUpstream
) -> None:
    def without(app: Any) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            scope.pop("extensions", None)
            await app(scope, receive, send)

        return wrapped

    port = gateways(f"http://127.0.0.1:{closed_port()}", wrap=without)
    with pytest.raises(InvalidStatus) as info, connect(port):
        pass
    assert info.value.response.status_code == 403
    record = gateways.record()
    assert (record.status, record.kind) == (403, "connect_error")


def problem(port: int, path: str = "/") -> tuple[int, str]:
    """Return status and detail of the gateway's own answer to a handshake."""
    with pytest.raises(InvalidStatus) as info, connect(port, path):
        pass
    response = info.value.response
    assert response.headers["Content-Type"] == "application/problem+json"
    document = json.loads(response.body or b"")
    assert document["request_id"] == response.headers["X-Request-ID"]
    return response.status_code, document["detail"]


def test_no_upstream(gateways: Gateways) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    port = gateways(url, breaker=Breaker(failures=2), path="/app")
    assert problem(port, "/elsewhere")[0] == 404
    assert problem(port, "/app") == (502, "the server behind could not be reached")
    assert problem(port, "/app/x")[0] == 502
    assert problem(port, "/app")[0] == 503
    until(lambda: len(gateways.records) == 4)
    kinds = [record.kind for record in gateways.records]
    assert kinds == ["no_route", "connect_error", "connect_error", "breaker_open"]


def test_another_upstream_takes_over(gateways: Gateways, upstream: StartUpstream) -> None:
    port = gateways(f"http://127.0.0.1:{closed_port()}", upstream().url)
    for _ in range(3):  # whichever is chosen first
        with connect(port) as client:
            client.send("x")
            assert client.recv(timeout=PATIENCE) == "x"
    until(lambda: len(gateways.records) == 3)
    assert {record.attempts for record in gateways.records} <= {1, 2}
    assert all(record.failure == "" for record in gateways.records)


def test_an_upstream_that_never_answers(gateways: Gateways, serve: Serve) -> None:
    server = serve(lambda peer: bool(peer.wait_closed()))
    port = gateways(server.url, timeouts=Timeouts(read=0.2), retries=0)
    assert problem(port) == (504, "the server behind did not answer in time")
    assert server.wait_for(lambda: server.open == 0)
    assert gateways.record().kind == "timeout"


def test_timeouts_do_not_hold_after_the_handshake(
    gateways: Gateways, upstream: StartUpstream
) -> None:
    later = threading.Event()

    def handler(connection: ServerConnection) -> None:
        later.wait(0.6)  # three times what the handshake may take
        connection.send("still there")

    port = gateways(upstream(handler).url, timeouts=Timeouts(read=0.2, connect=0.2, total=0.2))
    with connect(port) as client:
        assert client.recv(timeout=PATIENCE) == "still there"


@pytest.mark.parametrize(
    "changes",
    [
        {"sec_websocket_accept": "AAAA"},
        {"sec_websocket_accept": None},
        {"upgrade": "h2c"},
        {"sec_websocket_protocol": "unasked"},
        {"sec_websocket_extensions": "permessage-deflate"},
        {"x_odd": "a\x01b"},
    ],
)
def test_a_wrong_101(changes: dict[str, str | None], gateways: Gateways, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        upgrade(peer, **changes)
        peer.wait_closed()

    server = serve(handler)
    port = gateways(server.url)
    assert problem(port) == (502, "the server behind did not answer as a WebSocket server")
    assert server.wait_for(lambda: server.open == 0)
    record = gateways.record()
    assert record.kind == "bad_response" and "the 101 is wrong" in record.failure
    assert record.member is not None and record.member.failures == 1


def test_a_refusal_with_a_control_character(gateways: Gateways, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 403 No\r\nX-Odd: \x1b[31m\r\nContent-Length: 0\r\n\r\n")
        peer.wait_closed()

    port = gateways(serve(handler).url)
    assert problem(port) == (502, "the server behind did not answer as a WebSocket server")
    assert "the 403 is wrong: a field has a control character" in gateways.record().failure


@pytest.mark.parametrize("answer", [b"\x16\x03\x01garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r"])
def test_no_http_for_an_answer(answer: bytes, gateways: Gateways, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request_head()
        peer.send(answer)

    port = gateways(serve(handler).url, retries=0)
    assert problem(port)[0] == 502
    assert gateways.record().failure


def test_a_refusal_that_breaks_off(gateways: Gateways, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request_head()
        peer.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf")

    port = gateways(serve(handler).url)
    assert problem(port)[0] == 502
    assert gateways.record().kind == "bad_response"


def test_http2_without_http1_has_no_websockets(gateways: Gateways, upstream: StartUpstream) -> None:
    port = gateways(Upstream(f"http://127.0.0.1:{closed_port()}", http2=True))
    assert problem(port)[0] == 501
    assert gateways.record().attempts == 0
    gateways.records.clear()
    port = gateways(Upstream("http://127.0.0.1:1", http2=True), upstream().url, retries=0)
    for _ in range(2):
        with connect(port):
            pass
    until(lambda: len(gateways.records) == 2)
    assert [record.attempts for record in gateways.records] == [1, 1]


def test_a_host_that_is_sent_as_the_upstreams(gateways: Gateways, upstream: StartUpstream) -> None:
    server = upstream()
    port = gateways(server.url, host_header="upstream")
    with connect(port):
        until(lambda: server.connections)
        [connection] = server.connections
        assert connection.request is not None
        assert connection.request.headers["Host"] == f"127.0.0.1:{server.port}"


def test_a_request_that_cannot_be_passed_on(gateways: Gateways, upstream: StartUpstream) -> None:
    port = gateways(upstream().url)
    with handshake(port, "Via: " + "1.1 httpcore-gateway, " * 20 + "1.0 x\r\n") as sock:
        assert sock.recv(100).startswith(b"HTTP/1.1 508 ")
    assert gateways.record().kind == "bad_request"


# The end


@pytest.mark.parametrize("ws", LIBRARIES)
@pytest.mark.parametrize(
    ("code", "reason", "seen"),
    [
        (1000, "", (1000, "")),
        (1001, "bye", (1001, "bye")),
        (1012, "restart", (1012, "restart")),
        (3000, "", (3000, "")),
        (4999, "ü" * 61, (4999, "ü" * 61)),
        (None, "", (1000, "")),  # ASGI cannot say that there is none
    ],
)
def test_row_68_the_upstream_closes(
    code: int | None,
    reason: str,
    seen: tuple[int, str],
    ws: str,
    gateways: Gateways,
    serve: Serve,
) -> None:
    answers = []

    def handler(peer: Peer) -> None:
        upgrade(peer)
        peer.send(frame(TEXT, b"last"))
        peer.send(frame(CLOSE) if code is None else close_frame(code, reason.encode()))
        answers.append(read_frame(peer))

    port = gateways(serve(handler).url, ws=ws)
    with connect(port) as client:
        assert client.recv(timeout=PATIENCE) == "last"
        assert closing(client) == seen
    record = gateways.record()
    assert (record.status, record.failure, record.client_left) == (101, "", False)
    expected = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
    assert answers == [(CLOSE, expected)]


@pytest.mark.parametrize("ws", LIBRARIES)
@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (4001, "ü" * 61)])
def test_row_68_the_client_closes(
    code: int, reason: str, ws: str, gateways: Gateways, upstream: StartUpstream
) -> None:
    server = upstream()
    port = gateways(server.url, ws=ws)
    with connect(port) as client:
        client.close(code, reason)
    until(lambda: server.ended)
    [connection] = server.ended
    assert (connection.close_code, connection.close_reason) == (code, reason)
    record = gateways.record()
    assert (record.status, record.failure, record.client_left) == (101, "", False)


def test_row_68_the_client_closes_without_a_code(gateways: Gateways, serve: Serve) -> None:
    frames = []

    def handler(peer: Peer) -> None:
        upgrade(peer)
        frames.append(read_frame(peer))
        peer.wait_closed()

    server = serve(handler)
    port = gateways(server.url)
    with handshake(port) as sock:
        assert b" 101 " in sock.recv(65536)
        sock.sendall(frame(CLOSE, mask=b"abcd"))
        assert server.wait_for(lambda: server.accepted == 1 and server.open == 0)
    assert frames == [(CLOSE, b"")]


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_row_68_a_client_that_is_lost_has_not_closed(
    how: str, gateways: Gateways, serve: Serve
) -> None:
    """The upstream gets no Close frame either, which would say that the client had gone on its
    own account: 1006 to its library, and not 1005."""
    received = []

    def handler(peer: Peer) -> None:
        upgrade(peer)
        received.append(peer.wait_closed())

    server = serve(handler)
    with handshake(gateways(server.url, ws=AnsweringWebSocket)) as sock:
        assert b" 101 " in sock.recv(65536)
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert server.wait_for(lambda: server.accepted == 1 and server.open == 0)
    assert received == [b""]
    assert gateways.record().client_left


@pytest.mark.parametrize("ws", LIBRARIES)
def test_row_66_the_client_is_lost(ws: str, gateways: Gateways, upstream: StartUpstream) -> None:
    server = upstream()
    port = gateways(server.url, ws=ws)
    with handshake(port) as sock:
        assert b" 101 " in sock.recv(65536)
        until(lambda: server.connections)
    until(lambda: server.ended)
    gateways.record()


def test_row_66_the_client_leaves_before_the_upstream_has_answered(
    gateways: Gateways, serve: Serve
) -> None:
    asked = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_request_head()
        asked.set()
        peer.wait_closed()

    server = serve(handler)
    port = gateways(server.url)
    with handshake(port):
        assert asked.wait(PATIENCE)
    assert server.wait_for(lambda: server.open == 0)
    record = gateways.record()
    assert record.client_left and record.status == 0


def test_row_66_the_client_leaves_while_the_upstream_takes_nothing(
    gateways: Gateways, serve: Serve
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def handler(peer: Peer) -> None:
        upgrade(peer)
        assert peer.sock.recv(1, socket.MSG_PEEK)
        begun.set()  # the message is with the gateway as a whole, and fits in no buffer
        ended.wait(PATIENCE)

    server = serve(handler)
    port = gateways(server.url)
    with handshake(port) as sock:
        assert b" 101 " in sock.recv(65536)
        sock.sendall(frame(BINARY, bytes(16 * MIB - 1), mask=b"\0\0\0\0"))
        assert begun.wait(PATIENCE)
    gateways.record()
    ended.set()


def test_the_upstream_dies_in_the_middle_of_a_message(gateways: Gateways, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        upgrade(peer)
        peer.send(frame(BINARY, bytes(1000))[:500])

    port = gateways(serve(handler).url)
    with connect(port) as client:
        assert closing(client) == (1014, "the connection to the server behind was lost")
    record = gateways.record()
    assert record.kind == "broken_response" and "without a Close frame" in record.failure


def test_the_upstream_resets_while_the_client_sends(gateways: Gateways, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        upgrade(peer)
        read_frame(peer)
        peer.reset()

    port = gateways(serve(handler).url)
    with connect(port) as client:
        client.send("x")
        assert closing(client)[0] == 1014
    assert gateways.record().failure


def test_an_upstream_that_takes_nothing_for_too_long(gateways: Gateways, serve: Serve) -> None:
    ended = threading.Event()

    def handler(peer: Peer) -> None:
        upgrade(peer)
        ended.wait(PATIENCE)

    port = gateways(serve(handler).url, timeouts=Timeouts(write=0.3))
    with connect(port) as client:
        client.send(bytes(16 * MIB))
        assert closing(client)[0] == 1014
    assert "WriteTimeout" in gateways.record().failure
    ended.set()


@pytest.mark.parametrize(
    ("data", "code", "told"),
    [
        (frame(TEXT, b"x", mask=b"abcd"), 1014, 1002),  # a server's frames have no mask
        (b"\xff\xff\xff\xff", 1014, 1002),
        (frame(CONTINUATION, b"x"), 1014, 1002),
        (frame(PING, bytes(126)), 1014, 1002),
        (close_frame(1005), 1014, 1002),
        (frame(CLOSE, b"\x03"), 1014, 1002),
        (frame(TEXT, b"\xff\xfe"), 1014, 1007),
        (frame(BINARY, bytes(1001)), 1009, 1009),
        (frame(BINARY, bytes(600), end=False) + frame(CONTINUATION, bytes(401)), 1009, 1009),
        (b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), 1009, 1009),  # of which nothing more comes
    ],
)
def test_wrong_frames(data: bytes, code: int, told: int, gateways: Gateways, serve: Serve) -> None:
    answers = []

    def handler(peer: Peer) -> None:
        upgrade(peer)
        peer.send(frame(TEXT, b"before") + data)
        answers.append(read_frame(peer))
        peer.wait_closed()

    server = serve(handler)
    port = gateways(server.url, websocket_max_message=1000)
    with connect(port) as client:
        assert client.recv(timeout=PATIENCE) == "before"
        assert closing(client)[0] == code
    assert server.wait_for(lambda: server.open == 0)
    [(opcode, payload)] = answers
    assert opcode == CLOSE and int.from_bytes(payload[:2], "big") == told
    assert gateways.record().kind == "broken_response"


def test_a_message_of_the_client_that_is_too_long(
    gateways: Gateways, upstream: StartUpstream
) -> None:
    def handler(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(str(len(message)))

    server = upstream(handler)
    port = gateways(server.url, websocket_max_message=1000)
    with connect(port) as client:
        client.send(bytes(1000))
        assert client.recv(timeout=PATIENCE) == "1000"
        client.send("ü" * 501)
        assert closing(client) == (1009, "the message is too long")
    until(lambda: server.ended)
    assert server.ended[0].close_code == 1009
    assert gateways.record().kind == "broken_response"


@pytest.mark.parametrize("ws", LIBRARIES)
def test_the_server_stops(ws: str, gateways: Gateways, upstream: StartUpstream) -> None:
    server = upstream()
    port = gateways(server.url, ws=ws)
    with connect(port) as client:
        client.send("x")
        assert client.recv(timeout=PATIENCE) == "x"
        stopping = threading.Thread(target=gateways.served.stop)
        stopping.start()
        assert closing(client)[0] == 1012
        until(lambda: server.ended)
        stopping.join(PATIENCE)
    assert server.ended[0].close_code == 1012


def test_the_task_is_cancelled(gateways: Gateways, upstream: StartUpstream) -> None:
    """What a server does that does not wait any more."""
    server = upstream()
    tasks: list[Any] = []

    def keeping(app: Any) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "websocket":
                tasks.append(asyncio.current_task())
            await app(scope, receive, send)

        return wrapped

    port = gateways(server.url, wrap=keeping)
    with connect(port) as client:
        client.send("x")
        assert client.recv(timeout=PATIENCE) == "x"
        gateways.served.call(tasks[0].cancel)
        assert closing(client) == (1012, "the gateway stops")
    until(lambda: server.ended)
    assert (server.ended[0].close_code, server.ended[0].close_reason) == (
        1012,
        "the gateway stops",
    )
    assert gateways.record().kind == "cancelled"


# Under other servers


def test_row_68_under_granian(start_gateway: StartGateway, upstream: StartUpstream) -> None:
    server = upstream(subprotocols=["chat"])
    [port] = start_gateway(server.url, server="granian", options=("--ws",)).ports
    with connect(port, subprotocols=["chat"]) as client:
        assert client.subprotocol == "chat"
        for message in ("text", b"bytes", bytes(MIB)):
            client.send(message)
            assert client.recv(timeout=PATIENCE) == message
        client.close(4001)
    until(lambda: server.ended)
    assert server.ended[0].close_code == 4001
    with connect(port, subprotocols=["chat"]) as client:
        until(lambda: len(server.connections) == 2)
        server.connections[1].close(4002, "reason")
        assert closing(client) == (4002, "reason")
    with handshake(port, "Sec-WebSocket-Protocol: chat\r\n") as sock:
        assert b" 101 " in sock.recv(65536)
    until(lambda: len(server.ended) == 3)


def test_under_hypercorn(serve_gateway: ServeGateway, upstream: StartUpstream) -> None:
    """It says of every client that the connection was lost, so no code of theirs passes."""
    server = upstream()
    served = serve_gateway(server.url, server="hypercorn")
    with connect(served.port) as client:
        for message in ("text", b"bytes", bytes(MIB)):
            client.send(message)
            assert client.recv(timeout=PATIENCE) == message
    until(lambda: server.ended)
    with connect(served.port) as client:
        until(lambda: len(server.connections) == 2)
        server.connections[1].close(4002, "reason")
        assert closing(client) == (4002, "reason")
    until(lambda: served.active() == [0])


def test_problems_under_granian(start_gateway: StartGateway) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    [port] = start_gateway(url, server="granian", options=("--ws",)).ports
    assert problem(port) == (502, "the server behind could not be reached")
