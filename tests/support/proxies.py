"""A small real HTTP proxy on loopback: forwards and tunnels, and notes what it was sent.

Owns: one proxy's sockets and notes. Must not know: the packages under test.
"""

from __future__ import annotations

import base64
import http.client
import select
import socket
import ssl
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
