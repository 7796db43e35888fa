"""Row 66: clients that leave while the server does not read from them, under real servers.

Owns: that their requests end at once all the same, and what does not end them. Must not know:
private parts of the packages.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import ssl
import struct
import termios
from pathlib import Path

import pytest
import trustme

from httpcore._core import upload
from httpcore_gateway import Upstream
from tests.support import MIB, PATIENCE, gateways, servers
from tests.support.gateways import Caller, ServedGateway
from tests.support.tls import write_server_cert

pytestmark = pytest.mark.skipif(
    not hasattr(select, "EPOLLRDHUP"), reason="the system does not say that a peer has hung up"
)

HEAD = b" HTTP/1.1\r\nHost: example.com\r\n"
GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
#: Bytes of a body: more than all sockets on the way hold.
LARGE = 64 * MIB
#: Bytes that are sent at once.
PIECE = 16384


class Behind:
    """An upstream that takes nothing but the heads of requests until a test wants it to.

    It listens on a Unix socket, which holds the same each time.

    Attributes:
        takes: it takes requests, and answers those that come then.
    """

    def __init__(self, serve: servers.Serve, path: Path) -> None:
        self.server = serve(self._answer, uds=path)
        self.upstream = Upstream("http://behind", uds=str(path), max_connections=1)
        self.takes = self.server.event()
        self._held = 0

    def _answer(self, peer: servers.Peer) -> None:
        while (request := peer.recv_request_head()) is not None:
            if not self.takes.is_set():
                self._held = peer.number
                self.takes.wait(PATIENCE)
                peer.wait_closed()
                return
            peer.respond(200, b"%d %s" % (peer.number, request.target))

    def until_held(self, number: int) -> int:
        """Wait until it has the head of so many requests; return their number."""
        assert self.server.wait_for(lambda: self._held == number, PATIENCE)
        return number


@pytest.fixture
def behind(serve: servers.Serve, tmp_path: Path) -> Behind:
    return Behind(serve, tmp_path / "s")


def unsent(sock: socket.socket) -> int:
    """Return how many bytes are in the socket that the other end has not received."""
    result = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    return int(struct.unpack("i", result)[0])


def unread(sock: socket.socket) -> int:
    """Return how many bytes the other end has received from the socket, and not read."""
    ports = [f"{each[1]:04X}" for each in (sock.getpeername(), sock.getsockname())]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if [word.rpartition(":")[2] for word in words[1:3]] == ports:
            return int(words[4].rpartition(":")[2], 16)
    raise AssertionError("no such connection")


POST = b"POST /" + HEAD + b"Content-Length: %d\r\n\r\n" % LARGE


def send_until_stalled(caller: Caller) -> int:
    """Send until the other end takes nothing for a while; return how much that is."""
    caller.sock.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while True:
            sent += caller.sock.send(bytes(PIECE))
    caller.sock.settimeout(PATIENCE)
    return sent


def leave(caller: Caller, how: str) -> None:
    """End the connection; the other end hears of a half-closed one in the same way."""
    if how == "half-close":
        caller.sock.shutdown(socket.SHUT_WR)
    else:
        getattr(caller, how)()


def hold_up(served: ServedGateway, behind: Behind, how: str) -> Caller:
    """Return a client whose upload nobody takes.

    A reset passes by what is under way. The end of what is sent does not: there, another client
    finds out how much is received, so that this one sends a little less.
    """
    sent = LARGE
    if how != "reset":
        with call(served) as probe:
            probe.send(POST)
            sent = send_until_stalled(probe)
            assert unread(probe.sock) > 2 * PIECE
            sent -= unsent(probe.sock) + unread(probe.sock) - PIECE
            probe.reset()
        until_left(served, behind, 1)
    caller = call(served)
    caller.send(POST)
    if how == "reset":
        send_until_stalled(caller)
        return caller
    caller.send(bytes(sent))
    assert behind.server.wait_for(lambda: not unsent(caller.sock), PATIENCE)
    return caller


def ask_for_leave(served: ServedGateway, behind: Behind, how: str) -> Caller:
    """Return a client that asks whether its upload is wanted, which nobody answers."""
    caller = call(served)
    caller.send(b"POST /" + HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    return caller


WAYS = {"held up": hold_up, "asks": ask_for_leave}


def until_left(served: ServedGateway, behind: Behind, number: int) -> None:
    """Wait until a request has ended, and check that this was because the client has left."""
    assert behind.server.wait_for(lambda: served.active() == [0], PATIENCE)
    assert behind.server.wait_for(lambda: not served.tasks(), PATIENCE)
    [route, _] = served.gateway.stats()["routes"]
    assert route["client_left"] == number
    assert route["upstreams"][0]["failures"] == 0


def call(served: ServedGateway) -> Caller:
    caller = Caller(served.port)
    if served.url.startswith("https"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        caller.begin_tls(context)
    return caller


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("how", "tls"), [("close", False), ("half-close", False), ("reset", False), ("reset", True)]
)
@pytest.mark.parametrize("server", ["asyncio", "uvloop", "h11"])
def test_row_66_the_client_leaves_where_the_server_does_not_read(
    server: str,
    how: str,
    tls: bool,
    way: str,
    serve_gateway: gateways.ServeGateway,
    behind: Behind,
    ca: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody takes its upload, of which the gateway has as much as it keeps; or it waits for leave
    to begin."""
    monkeypatch.setattr(upload, "CONTINUE_PATIENCE", PATIENCE)
    served = serve_gateway(
        behind.upstream,
        use_uvloop=server == "uvloop",
        http="h11" if server == "h11" else "httptools",
        tls=write_server_cert(ca, tmp_path) if tls else None,
    )
    with WAYS[way](served, behind, how) as caller:
        number = behind.until_held(1 + (way == "held up" and how != "reset"))
        leave(caller, how)
        until_left(served, behind, number)
    behind.takes.set()
    with call(served) as caller:
        assert caller.ask(GET).body == b"%d /" % (number + 1)  # on a connection of its own
