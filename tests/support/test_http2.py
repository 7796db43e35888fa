"""The frame-level HTTP/2 server, tried with h2's client side over bare sockets."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from tests.support.http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PREFACE,
    ClientMistake,
    Code,
    FrameServer,
    Kind,
    Link,
    ServeH2,
    Stream,
    encode_frame,
)
from tests.support.servers import pattern


class Client:
    """h2 and a blocking socket."""

    def __init__(self, server: FrameServer, context: ssl.SSLContext | None = None) -> None:
        self.sock = socket.create_connection((server.host, server.port), 10)
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        config = h2.config.H2Configuration(
            client_side=True, header_encoding=None, validate_inbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.grant = True  # window for what has come
        self.h2.initiate_connection()
        self.events: list[Any] = []
        self.bodies: dict[int, bytearray] = {}
        self.push()

    def push(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def get(self, path: str, *fields: tuple[str, str], end: bool = True) -> int:
        number = self.h2.get_next_available_stream_id()
        head = [(":method", "GET" if end else "POST"), (":path", path), (":scheme", "http")]
        self.h2.send_headers(number, [*head, (":authority", "here"), *fields], end_stream=end)
        self.push()
        return number

    def pull(self) -> bool:
        """Take what comes next; False at its end."""
        data = self.sock.recv(65536)
        for event in self.h2.receive_data(data):
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived):
                self.bodies.setdefault(event.stream_id, bytearray()).extend(event.data)
                if self.grant:
                    size = event.flow_controlled_length
                    self.h2.acknowledge_received_data(size, event.stream_id)
        self.push()
        return bool(data)

    def pull_all(self, *, grant: bool = True) -> None:
        self.grant = grant
        while self.pull():
            pass

    def wait(self, kind: type, number: int | None = None) -> Any:
        """The first event of that kind on that stream."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and getattr(event, "stream_id", None) == number:
                    return event
            assert self.pull(), f"the server closed; so far: {self.events}"

    def response(self, number: int) -> tuple[dict[bytes, bytes], bytes]:
        self.wait(h2.events.StreamEnded, number)
        head = self.wait(h2.events.ResponseReceived, number)
        return dict(head.headers), bytes(self.bodies.get(number, b""))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()


@pytest.fixture
def h2_client_context(ca: Any) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def connect(
    request: pytest.FixtureRequest, serve_h2: ServeH2, h2_client_context: ssl.SSLContext
) -> Iterator[Callable[..., tuple[FrameServer, Client]]]:
    """`connect(script, settings=)`: a server and a client of it."""
    clients: list[Client] = []

    def start(*args: Any, **options: Any) -> tuple[FrameServer, Client]:
        server = serve_h2(*args, secure=request.param, **options)
        clients.append(Client(server, h2_client_context if request.param else None))
        return server, clients[-1]

    yield start
    for client in clients:
        client.sock.close()


Connect = Callable[..., tuple[FrameServer, Client]]


def test_routes(connect: Connect) -> None:
    server, client = connect(settings={"max_concurrent_streams": 8})
    numbers = [client.get("/echo", ("x-nonce", f"n{i}")) for i in range(5)]
    for i, number in enumerate(numbers):
        head, body = client.response(number)
        assert (head[b":status"], head[b"x-nonce"], head[b"x-connection"]) == (
            b"200",
            f"n{i}".encode(),
            b"1",
        )
        assert json.loads(body)["path"] == "/echo"
    assert client.response(client.get("/status/404"))[1] == b"status 404"
    assert client.response(client.get("/status/204"))[1] == b""
    assert client.response(client.get("/nowhere"))[0][b":status"] == b"404"
    assert client.response(client.get("/"))[1] == b"hello over HTTP/2\n"
    assert client.response(client.get("/drip/5?delay=0.001"))[1] == pattern(5)
    assert client.h2.remote_settings.max_concurrent_streams == 8
    assert server.link.opened == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    assert (server.link.open, server.link.limit) == (0, 8)


@pytest.mark.parametrize("length", [1, 16384, 16385, 200_000])
def test_bodies_heed_the_windows(connect: Connect, length: int) -> None:
    """h2 refuses what is past its windows, which are small by default."""
    server, client = connect()
    numbers = [client.get(f"/bytes/{length}") for _ in range(3)]
    for number in numbers:
        assert client.response(number)[1] == pattern(length)
    stream = server.link.streams[1]
    assert (stream.sent, stream.answered, stream.closed) == (length, True, True)


def test_uploads_are_granted_windows(connect: Connect) -> None:
    server, client = connect()
    number = client.get("/upload", ("content-length", "300000"), end=False)
    body = pattern(300_000)
    while body:
        size = min(client.h2.local_flow_control_window(number), 16384, len(body))
        if size == 0:
            client.pull()
            continue
        client.h2.send_data(number, body[:size], end_stream=size == len(body))
        body = body[size:]
        client.push()
    assert json.loads(client.response(number)[1])["length"] == 300_000
    assert server.link.streams[number].received == 300_000


def test_early_answer(connect: Connect) -> None:
    _, client = connect()
    number = client.get("/early/1000", end=False)
    client.h2.send_data(number, bytes(1000))
    client.push()
    reset = client.wait(h2.events.StreamReset, number)
    assert reset.error_code == Code.NO_ERROR
    assert client.response(number) == (client.response(number)[0], b"too large")


def test_a_held_answer_is_given_from_outside(connect: Connect) -> None:
    server, client = connect()
    number = client.get("/hold")
    assert server.wait_for(lambda: server.links and server.links[0].open == 1)
    link = server.link

    def answer() -> str:
        assert threading.current_thread() is not threading.main_thread()
        link.streams[number].respond(200, b"late")
        return "done"

    assert link.call(answer) == "done"
    assert client.response(number)[1] == b"late"
    with pytest.raises(ZeroDivisionError):
        link.call(lambda: 1 / 0)
    client.sock.close()
    assert server.wait_for(lambda: server.open == 0)
    with pytest.raises(ConnectionError):
        link.call(lambda: None)


def test_settings_and_ping(connect: Connect) -> None:
    def script(link: Link) -> None:
        link.serve(until=lambda: link.opened)
        link.settings(max_concurrent_streams=4, initial_window_size=10)
        link.ping(b"abcdefgh")
        link.serve()

    server, client = connect(script)
    client.response(client.get("/"))
    client.h2.ping(b"12345678")
    client.push()
    assert client.wait(h2.events.PingAckReceived).ping_data == b"12345678"
    assert client.h2.remote_settings.max_concurrent_streams == 4
    assert server.wait_for(lambda: server.link.pongs == [b"abcdefgh"])
    assert server.link.limit == 4
    assert server.link.their_initial_window == 10
    assert server.link.settings_received["initial_window_size"] == 65535
    acks = [frame.flags for frame in server.link.seen(Kind.SETTINGS)]
    assert acks == [0, ACK, ACK]


def test_goaway_leaves_streams_above_alone(connect: Connect) -> None:
    def script(link: Link) -> None:
        link.serve(until=lambda: len(link.opened) == 3)
        link.goaway(last=link.opened[1], debug=b"bye")
        link.serve()

    server, client = connect(script)
    numbers = [client.get("/hold") for _ in range(5)]
    event = client.wait(h2.events.ConnectionTerminated)
    assert (event.last_stream_id, event.error_code, event.additional_data) == (3, 0, b"bye")
    assert server.wait_for(lambda: len(server.link.opened) == 5)
    assert server.link.ignored == numbers[3:]
    assert server.link.open == 2
    server.link.call(lambda: [server.link.streams[n].respond(200, b"ok") for n in numbers[:2]])
    for number in numbers[:2]:
        # h2 takes no answers after a GOAWAY: look at what comes in its place.
        frame = client.sock.recv(9)
        while frame:
            length, kind = int.from_bytes(frame[:3], "big"), frame[3]
            client.sock.recv(length)
            if kind == Kind.DATA and frame[4] & END_STREAM:
                assert int.from_bytes(frame[5:9], "big") == number
                break
            frame = client.sock.recv(9)


def test_interim_answers_trailers_padding_and_continuation(connect: Connect) -> None:
    def answer(stream: Stream) -> None:
        link = stream.link
        link.headers(stream.id, [(":status", "103"), ("link", "a")])
        link.headers(stream.id, [(":status", "200"), ("x-long", "v" * 3000)], padding=7, parts=4)
        link.data(stream.id, b"one", padding=200)
        link.data(stream.id)
        link.data(stream.id, b"two")
        link.headers(stream.id, [("x-sum", "6")], end=True)

    def script(link: Link) -> None:
        link.split = 1
        link.serve(answer)

    server, client = connect(script)
    number = client.get("/")
    head, body = client.response(number)
    assert (body, head[b"x-long"]) == (b"onetwo", b"v" * 3000)
    assert client.wait(h2.events.InformationalResponseReceived, number)
    trailers = client.wait(h2.events.TrailersReceived, number)
    assert list(trailers.headers) == [(b"x-sum", b"6")]
    assert server.link.open == 0


def test_trailers_after_a_queued_body(connect: Connect) -> None:
    _, client = connect(
        lambda link: link.serve(lambda s: s.respond(200, pattern(100_000), trailers=[("t", "1")]))
    )
    number = client.get("/")
    assert client.response(number)[1] == pattern(100_000)
    assert client.wait(h2.events.TrailersReceived, number)


def test_fields_that_no_library_sends(connect: Connect) -> None:
    bad = [(b":status", b"200"), (b"X-Upper", b"v "), (b"nul", b"a\0b"), (b"connection", b"close")]
    bad += [(b":late", b"1")]
    _, client = connect(
        lambda link: link.serve(lambda stream: link.headers(stream.id, bad, end=True))
    )
    number = client.get("/")
    client.wait(h2.events.StreamEnded, number)
    assert list(client.wait(h2.events.ResponseReceived, number).headers) == bad


def test_data_past_the_window(connect: Connect) -> None:
    def answer(stream: Stream) -> None:
        stream.head()
        for _ in range(5):
            stream.link.data(stream.id, bytes(16384))

    _, client = connect(lambda link: link.serve(answer))
    client.get("/")
    with pytest.raises(h2.exceptions.FlowControlError):
        client.pull_all(grant=False)


def test_a_flood_ends_when_the_client_has_gone(serve_h2: ServeH2) -> None:
    counts: list[int] = []

    def script(link: Link) -> None:
        link.run(until=lambda: link.frames)
        frame = encode_frame(Kind.PING, b"12345678")
        counts.append(link.flood(frame for _ in range(10**9)))

    server = serve_h2(script)
    with Client(server) as client:
        client.sock.makefile("rb").read(10_000)
    assert server.wait_for(lambda: server.open == 0)
    assert counts[0] > 1


def test_a_server_that_stops_reading(connect: Connect) -> None:
    def script(link: Link) -> None:
        link.run(until=lambda: link.opened)
        link.reading = False
        link.run()

    server, client = connect(script)
    client.get("/")
    assert server.wait_for(lambda: server.links and server.link.opened == [1])
    client.sock.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.sock.sendall(bytes(100_000_000))


@pytest.mark.parametrize("way", ["close", "abort"])
def test_ends(serve_h2: ServeH2, way: str) -> None:
    def script(link: Link) -> None:
        link.run(until=lambda: link.opened)
        link.frame(99, b"unknown", 0xFF, 77)
        if way == "close":
            link.close()
        elif way == "abort":
            link.flush()
            link.abort()

    server = serve_h2(script)
    with Client(server) as client:
        client.get("/")
        if way == "abort":
            with pytest.raises(ConnectionResetError):
                client.pull_all()
        else:
            client.pull_all()
    assert server.wait_for(lambda: server.open == 0)


def test_settings_may_be_withheld(serve_h2: ServeH2) -> None:
    server = serve_h2(settings=None)
    with Client(server) as client:
        client.get("/")
        client.wait(h2.events.ResponseReceived, 1)
        assert not [e for e in client.events if isinstance(e, h2.events.RemoteSettingsChanged)]


# --- clients that break the rules ---

GET = bytes.fromhex("82848641 04 68657265")  # static: GET / http, and a literal :authority
OPEN = PREFACE + encode_frame(Kind.SETTINGS)
HEAD = encode_frame(Kind.HEADERS, GET, END_HEADERS | END_STREAM, 1)
POST = encode_frame(Kind.HEADERS, b"\x83" + GET[1:], END_HEADERS, 1)
UPPER = GET + b"\x00\x01X\x01v"


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "begins with"),
        (PREFACE + HEAD, "first frame"),
        (OPEN + HEAD + HEAD, "after the end"),
        (OPEN + encode_frame(Kind.HEADERS, GET, 5, 3) + HEAD, "after 3"),
        (OPEN + encode_frame(Kind.HEADERS, GET, 5, 2), "opens a stream"),
        (OPEN + encode_frame(Kind.HEADERS, GET, 1, 1) + HEAD, "in between"),
        (OPEN + encode_frame(Kind.HEADERS, UPPER, 5, 1), "a bad name"),
        (OPEN + encode_frame(Kind.HEADERS, b"\x82\x84", 5, 1), "are missing"),
        (OPEN + encode_frame(Kind.DATA, b"x", 0, 1), "idle"),
        (OPEN + encode_frame(Kind.RST_STREAM, b"\0\0\0\0", 0, 1), "idle"),
        (OPEN + encode_frame(Kind.WINDOW_UPDATE, b"\0\0\0\0"), "adds nothing"),
        (OPEN + encode_frame(Kind.WINDOW_UPDATE, b"\x7f\xff\xff\xff"), "too large"),
        (OPEN + encode_frame(Kind.SETTINGS, b"", ACK) * 2, "acknowledges no"),
        (OPEN + encode_frame(Kind.PING, b""), "broken"),
        (OPEN + encode_frame(Kind.PUSH_PROMISE, GET, 4, 1), "sent <PUSH"),
        (OPEN + encode_frame(Kind.DATA, bytes(16385), 0, 1), "larger than"),
        (OPEN + POST + encode_frame(Kind.DATA, bytes(16384), 0, 1) * 4, "past the"),
        (
            OPEN
            + encode_frame(Kind.SETTINGS, b"", ACK)
            + b"".join(encode_frame(Kind.HEADERS, GET[:3] + b"\xbe" * 0, 5, n) for n in (1, 3, 5)),
            "3 streams open, not 2",
        ),
    ],
)
def test_mistakes_are_noticed(serve_h2: ServeH2, sent: bytes, text: str) -> None:
    def script(link: Link) -> None:
        link.refill = False
        link.serve(lambda stream: None)

    server = serve_h2(script, settings={"max_concurrent_streams": 2})
    with socket.create_connection((server.host, server.port), 10) as sock:
        sock.sendall(sent)
        assert server.wait_for(lambda: bool(server.errors))
    (error,) = server.errors
    assert isinstance(error, ClientMistake)
    assert text in str(error)
    server.errors.clear()


def test_a_body_of_another_length_is_noticed(serve_h2: ServeH2) -> None:
    server = serve_h2()
    with Client(server) as client:
        number = client.get("/", ("content-length", "5"), end=False)
        # h2 itself would refuse it.
        client.sock.sendall(encode_frame(Kind.DATA, b"four", END_STREAM, number))
        assert server.wait_for(lambda: bool(server.errors))
    assert "announced b'5' bytes and sent 4" in str(server.errors.pop())


def test_frames_are_noted_in_order(serve_h2: ServeH2) -> None:
    server = serve_h2()
    with Client(server) as client:
        number = client.get("/hold")
        client.h2.reset_stream(number, Code.CANCEL)
        client.h2.increment_flow_control_window(1000)
        client.h2.close_connection(Code.NO_ERROR, b"done")
        client.push()
        assert server.wait_for(lambda: bool(server.links and server.link.goaway_received))
        link = server.link
    assert link.goaway_received == (0, 0, b"done")
    assert link.streams[number].reset_by_client == Code.CANCEL
    assert (link.granted, link.open, link.peak) == (1000, 0, 1)
    kinds = [frame.kind for frame in link.frames if not frame.flags & ACK or frame.kind == 1]
    assert kinds == [Kind.SETTINGS, Kind.HEADERS, Kind.RST_STREAM, Kind.WINDOW_UPDATE, Kind.GOAWAY]
    assert repr(link.frames[0]).startswith("<SETTINGS stream=0 flags=0x0 size=")
    assert struct.unpack(">L", link.seen(Kind.WINDOW_UPDATE)[0].payload) == (1000,)
    assert link.seen(Kind.RST_STREAM, 99) == []
