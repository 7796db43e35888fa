"""A small real HTTP proxy on loopback: forwards and tunnels, and notes what it was sent.

Owns: one proxy's sockets and notes. Must not know: the packages under test.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.support.servers import RECV_SIZE, Peer, ReceivedRequest, ScriptedServer

UPSTREAM_TIMEOUT = 10.0  # seconds; an origin of a test that takes longer hangs

# What belongs to one hop only, RFC 9110 section 7.6.1.
_HOP_BY_HOP = {
    *(b"connection", b"proxy-connection", b"proxy-authorization", b"proxy-authenticate"),
    *(b"keep-alive", b"te", b"transfer-encoding", b"upgrade", b"content-length"),
}


@dataclass
class ProxyRequest:
    """One request as the proxy received it."""

    line: bytes
    headers: list[tuple[bytes, bytes]]
    connection: int

    def header(self, name: bytes) -> bytes | None:
        """The first value of that name, whatever its case; None when there is none."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


class ProxyServer(ScriptedServer):
    """Forwards absolute-form requests, tunnels CONNECT. Start it as a context manager.

    Attributes, to be set before the request they are for:
        requests: every request head it received, in order.
        credentials: (user, password) to ask for with a 407, or None for an open proxy.
        refusal: the bytes of a whole answer for every CONNECT, after which the proxy closes;
            None to connect.
        hosts: names that it connects elsewhere: {"origin.test": "127.0.0.1"}.
        tunnels: how many tunnels it opened.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(self._converse, **options)
        self.requests: list[ProxyRequest] = []
        self.credentials: tuple[str, str] | None = None
        self.refusal: bytes | None = None
        self.hosts: dict[str, str] = {}
        self.tunnels = 0

    def __enter__(self) -> ProxyServer:
        self.start()
        return self

    def _converse(self, peer: Peer) -> None:
        while (request := peer.recv_request_head()) is not None:
            line = request.head.split(b"\r\n", 1)[0]
            self.requests.append(ProxyRequest(line, request.headers, peer.number))
            body = b"".join(peer.iter_body(request))
            if not self._admits(request):
                peer.respond(407, b"who are you?", [("Proxy-Authenticate", 'Basic realm="test"')])
            elif request.method == b"CONNECT":
                self._tunnel(peer, request)
                return
            else:
                self._forward(peer, request, body)

    def _admits(self, request: ReceivedRequest) -> bool:
        if self.credentials is None:
            return True
        pair = base64.b64encode(":".join(self.credentials).encode())
        return request.header("proxy-authorization") == b"Basic " + pair

    def _forward(self, peer: Peer, request: ReceivedRequest, body: bytes) -> None:
        parts = urlsplit(request.target.decode("ascii"))
        if parts.scheme != "http" or not parts.hostname:
            peer.respond(400, b"this is a proxy: send an absolute http URL")
            return
        origin = http.client.HTTPConnection(
            self.hosts.get(parts.hostname, parts.hostname), parts.port or 80, UPSTREAM_TIMEOUT
        )
        try:
            # As it was written: urlsplit would lose an empty query.
            target = request.target.split(b"//", 1)[1].partition(b"/")[2]
            origin.putrequest(
                request.method.decode(),
                "/" + target.decode("ascii"),
                skip_host=True,
                skip_accept_encoding=True,
            )
            for name, value in request.headers:
                if name.lower() not in _HOP_BY_HOP:
                    origin.putheader(name, value)
            if body or request.header("content-length") is not None:
                origin.putheader("Content-Length", str(len(body)))
            origin.endheaders(body or None)
            answer = origin.getresponse()
            headers = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower().encode() not in _HOP_BY_HOP
            ]
            content = answer.read()
            peer.respond(answer.status, content, [*headers, ("Via", "1.1 test")])
        except OSError as exc:
            peer.respond(502, f"{type(exc).__name__}".encode())
        finally:
            origin.close()

    def _tunnel(self, peer: Peer, request: ReceivedRequest) -> None:
        if self.refusal is not None:
            peer.send(self.refusal)
            return
        host, _, port = request.target.decode("ascii").rpartition(":")
        host = host.strip("[]")
        try:
            upstream = socket.create_connection(
                (self.hosts.get(host, host), int(port)), UPSTREAM_TIMEOUT
            )
        except OSError as exc:
            peer.respond(502, f"{type(exc).__name__}".encode())
            return
        with upstream:
            self.tunnels += 1
            peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _relay(peer, upstream)


def _relay(peer: Peer, upstream: socket.socket) -> None:
    """Carry bytes both ways until one side ends."""
    while True:
        pending = isinstance(peer.sock, ssl.SSLSocket) and peer.sock.pending() > 0
        ready = [peer.sock] if pending else select.select([peer.sock, upstream], [], [])[0]
        for source in ready:
            data = peer.recv(RECV_SIZE) if source is peer.sock else upstream.recv(RECV_SIZE)
            if not data:
                return
            if source is peer.sock:
                upstream.sendall(data)
            else:
                peer.send(data)


@dataclass
class SocksRequest:
    """What one client asked a SOCKS server for."""

    version: int
    host: str
    port: int
    user: str | None
    password: str | None
    by_name: bool


class SocksServer(ScriptedServer):
    """SOCKS 4, 4A and 5 on one port. Start it as a context manager.

    Attributes:
        requests: what was asked for, in order.
        credentials: (user, password) to insist on, or None.
        reply: the code to answer with; None to connect.
        hosts: names that it connects elsewhere: {"origin.test": "127.0.0.1"}.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(self._converse, **options)
        self.requests: list[SocksRequest] = []
        self.credentials: tuple[str, str] | None = None
        self.reply: int | None = None
        self.hosts: dict[str, str] = {}

    def __enter__(self) -> SocksServer:
        self.start()
        return self

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def _converse(self, peer: Peer) -> None:
        version = peer.recv_exactly(1)[0]
        asked = self._read_5(peer) if version == 5 else self._read_4(peer)
        if asked is None:
            return
        self.requests.append(asked)
        if self.reply is not None:
            peer.send(self._answer(version, self.reply))
            return
        upstream = socket.create_connection(
            (self.hosts.get(asked.host, asked.host), asked.port), UPSTREAM_TIMEOUT
        )
        with upstream:
            peer.send(self._answer(version, 0 if version == 5 else 90))
            _relay(peer, upstream)

    def _answer(self, version: int, code: int) -> bytes:
        if version == 5:
            # Bound to a name, which is rare and has to be read to its end.
            return bytes([5, code, 0, 3, 4]) + b"here" + b"\x00\x50"
        return bytes([0, code]) + bytes(6)

    def _read_5(self, peer: Peer) -> SocksRequest | None:
        offered = peer.recv_exactly(peer.recv_exactly(1)[0])
        user = password = None
        wanted = 0 if self.credentials is None else 2
        if wanted not in offered:
            peer.send(b"\x05\xff")
            return None
        peer.send(bytes([5, wanted]))
        if wanted:
            peer.recv_exactly(1)
            user = peer.recv_exactly(peer.recv_exactly(1)[0]).decode()
            password = peer.recv_exactly(peer.recv_exactly(1)[0]).decode()
            right = (user, password) == self.credentials
            peer.send(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return None
        kind = peer.recv_exactly(4)[3]
        size = {1: 4, 4: 16}.get(kind) or peer.recv_exactly(1)[0]
        raw = peer.recv_exactly(size)
        host = raw.decode() if kind == 3 else str(ipaddress.ip_address(raw))
        port = int.from_bytes(peer.recv_exactly(2), "big")
        return SocksRequest(5, host, port, user, password, kind == 3)

    def _read_4(self, peer: Peer) -> SocksRequest | None:
        head = peer.recv_exactly(7)
        user = _until_nul(peer)
        named = head[3:6] == bytes(3) and head[6] != 0
        host = _until_nul(peer) if named else str(ipaddress.ip_address(head[3:]))
        return SocksRequest(4, host, int.from_bytes(head[1:3], "big"), user, None, named)


def _until_nul(peer: Peer) -> str:
    found = peer.recv_until(b"\0")
    assert found is not None
    return found[:-1].decode()


def basic(user: str, password: str = "secret") -> bytes:
    """The value of a field that logs this user in."""
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


SWITCHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def stuck_at(stage: str) -> Callable[[Peer], None]:
    """A proxy that goes along up to `stage` and is silent from then on. Its `reached` is set when
    it is there."""

    def handler(peer: Peer) -> None:
        if stage == "socks login":
            peer.recv_exactly(4)
            peer.send(b"\x05\x02")
        elif stage == "socks request":
            peer.recv_exactly(3)
            peer.send(b"\x05\x00")
        elif stage == "socks reply":
            peer.recv_exactly(3)
            peer.send(b"\x05\x00")
            peer.recv_exactly(10)
            peer.send(b"\x05\x00\x00")
        elif stage == "connect reply":
            peer.recv_head()
            peer.send(SWITCHED[:20])
        elif stage == "origin's tls":
            peer.recv_head()
            peer.send(SWITCHED)
        reached.set()
        peer.wait_closed()

    reached = threading.Event()
    handler.reached = reached  # type: ignore[attr-defined]
    return handler


# What a proxy is stuck at, its scheme, and whether it speaks TLS.
STUCK_STAGES = [
    ("greeting", "socks5", False),
    ("socks login", "socks5", False),
    ("socks request", "socks5h", False),
    ("socks reply", "socks5", False),
    ("greeting", "socks4a", False),
    ("greeting", "http", False),
    ("connect reply", "http", False),
    ("origin's tls", "http", False),
    ("greeting", "https", False),  # the proxy's own TLS never begins
    ("greeting", "https", True),
    ("origin's tls", "https", True),
]
