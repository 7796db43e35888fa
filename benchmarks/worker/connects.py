"""A new connection for each request.

Owns: one request on a connection of its own, with each client. Must not know: threads, clocks.
The classes have the two verbs of `peers.Peer`. `job.variant` tells how ours connects:

    ""          a TLS session is resumed, which a context of the caller has to be allowed
    "full"      each TLS handshake is a full one
    "one", "two"    a name with so many addresses, of which the first one answers
"""

from __future__ import annotations

import socket
from typing import Any

from job import HEADERS, Job
from peers import Requester, check

#: A name that only our resolver knows.
_NAME = "benchmark.test"


class OursConnecting:
    """Our pool, which keeps no connection."""

    def __init__(self, job: Job) -> None:
        import httpcore

        self.version = f"httpcore {httpcore.__version__}"
        self._job = job
        addresses = {"one": ["127.0.0.1"], "two": ["127.0.0.1", "::1"]}.get(job.variant)
        options: dict[str, Any] = {}
        self._url = job.url
        if addresses is not None:
            options["resolver"] = lambda host, port, timeout: addresses
            self._url = job.url.replace("127.0.0.1", _NAME)
        context = job.ssl_context
        if context is not None and job.variant != "full":
            httpcore.resume_tls_sessions(context)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, max_keepalive_connections=0, **options
        )

    def requester(self) -> Requester:
        request, url = self._pool.request, self._url

        def send() -> int:
            response = request("GET", url, headers=HEADERS)
            check(response.status)
            return len(response.content)

        return send


class Urllib3Connecting:
    """urllib3, told to close after each response."""

    def __init__(self, job: Job) -> None:
        import urllib3

        self.version = f"urllib3 {urllib3.__version__}"
        self._job = job
        self._pool = urllib3.PoolManager(ssl_context=job.ssl_context)

    def requester(self) -> Requester:
        request, url = self._pool.request, self._job.url
        headers = {**HEADERS, "Connection": "close"}

        def send() -> int:
            response = request("GET", url, headers=headers)
            check(response.status)
            return len(response.data)

        return send


class SocketConnecting:
    """The floor: connect, sendall, recv until the body is there, close."""

    version = "socket and ssl of the standard library"

    def __init__(self, job: Job) -> None:
        self._job = job

    def requester(self) -> Requester:
        job = self._job
        address, context = job.address, job.ssl_context
        head = f"GET {job.path} HTTP/1.1\r\nHost: {address[0]}\r\n\r\n".encode()

        def send() -> int:
            with socket.create_connection(address) as plain:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if context is None:
                    return _exchange(plain, head)
                with context.wrap_socket(plain, server_hostname=address[0]) as secure:
                    return _exchange(secure, head)

        return send


def _exchange(sock: socket.socket, head: bytes) -> int:
    sock.sendall(head)
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += sock.recv(65536)
    check(int(data[9:12]))
    at = data.lower().index(b"content-length:")
    length = int(data[at + 15 : data.index(b"\r\n", at)])
    received = len(data) - end - 4
    while received < length:
        received += len(sock.recv(65536))
    return received


PROGRAMS: dict[str, Any] = {
    "ours": OursConnecting,
    "urllib3": Urllib3Connecting,
    "socket": SocketConnecting,
}
