"""The clients, each behind the same two verbs.

Owns: how one request is sent with each client, its body read to the end and its status
checked. Must not know: threads, clocks.

Each class is made once with a `Job`; `requester()` gives a function without arguments that
sends one request and returns how many bytes of body came. It is called once for each thread:
clients with a pool share it, the others make a connection for each. Nobody has a timeout.
"""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Callable
from typing import Any, Protocol

from job import HEADERS, Job

Requester = Callable[[], int]


class Peer(Protocol):
    """What `__main__` asks of a client."""

    version: str

    def __init__(self, job: Job) -> None: ...

    def requester(self) -> Requester: ...


def check(status: int) -> None:
    """Every client looks at the status, as every program does."""
    if status != 200:
        raise RuntimeError(f"the server answered {status}")


class Httpcore:
    """Ours and httpcore 1.0.9: one API, two interpreters."""

    def __init__(self, job: Job) -> None:
        import httpcore

        self.version = f"httpcore {httpcore.__version__}"
        if (job.peer == "httpcore-1.0.9") != (httpcore.__version__ == "1.0.9"):
            raise RuntimeError(f"{job.peer} was to run, but this is {httpcore.__file__}")
        self._job = job
        self._pool = httpcore.ConnectionPool(
            ssl_context=job.ssl_context, max_connections=job.connections
        )

    def requester(self) -> Requester:
        request, method, url = self._pool.request, self._job.method, self._job.url
        body = self._job.body

        def send() -> int:
            response = request(method, url, headers=HEADERS, content=body)
            check(response.status)
            return len(response.content)

        return send


class Urllib3:
    """A `PoolManager`, with the same limit of connections as the other pools."""

    def __init__(self, job: Job) -> None:
        import urllib3

        self.version = f"urllib3 {urllib3.__version__}"
        self._job = job
        self._pool = urllib3.PoolManager(
            maxsize=job.connections, block=True, ssl_context=job.ssl_context
        )

    def requester(self) -> Requester:
        request, method, url = self._pool.request, self._job.method, self._job.url
        body = self._job.body

        def send() -> int:
            response = request(method, url, headers=HEADERS, body=body)
            check(response.status)
            return len(response.data)

        return send


class HttpClient:
    """The standard library's client: a connection for each thread."""

    version = "http.client of the standard library"

    def __init__(self, job: Job) -> None:
        self._job = job

    def requester(self) -> Requester:
        job = self._job
        host, port = job.address
        connection: http.client.HTTPConnection
        if job.ssl_context is None:
            connection = http.client.HTTPConnection(host, port)
        else:
            connection = http.client.HTTPSConnection(host, port, context=job.ssl_context)
        method, path, body = job.method, job.path, job.body

        def send() -> int:
            connection.request(method, path, body, HEADERS)
            with connection.getresponse() as response:
                check(response.status)
                return len(response.read())

        return send


class Pycurl:
    """libcurl: a handle for each thread."""

    def __init__(self, job: Job) -> None:
        import pycurl

        self.version = f"pycurl {pycurl.version_info()[1]}"
        self._job = job

    def requester(self) -> Requester:
        import pycurl

        job = self._job
        url, body = job.url, job.body
        handle = pycurl.Curl()
        fields = [f"{name}: {value}" for name, value in HEADERS.items()]
        # Without this curl asks for `100 Continue` first, which nobody else does.
        handle.setopt(pycurl.HTTPHEADER, [*fields, "Expect:"])
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.PROXY, "")
        if job.authorities:
            handle.setopt(pycurl.CAINFO, job.authorities)

        def send() -> int:
            received = io.BytesIO()
            handle.setopt(pycurl.URL, url)
            handle.setopt(pycurl.WRITEDATA, received)
            if body is not None:
                handle.setopt(pycurl.POSTFIELDS, body)
            handle.perform()
            check(handle.getinfo(pycurl.RESPONSE_CODE))
            return len(received.getvalue())

        return send


class Socket:
    """The floor: the bytes of the request, and as little as will find the end of the answer.

    It keeps no body, and believes whatever the server says.
    """

    version = "socket of the standard library"

    #: Bytes of one receive; what fits in a loopback socket's buffer.
    _BLOCK = 256 * 1024

    def __init__(self, job: Job) -> None:
        self._job = job

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(self._job.address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = self._job.ssl_context
        if context is None:
            return sock
        return context.wrap_socket(sock, server_hostname=self._job.address[0])

    def _request(self) -> bytes:
        job = self._job
        fields = {"Host": "{}:{}".format(*job.address), **HEADERS}
        if job.upload:
            fields["Content-Length"] = str(job.upload)
        lines = [f"{job.method} {job.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return "\r\n".join([*lines, "", ""]).encode() + (job.body or b"")

    def requester(self) -> Requester:
        sock, request = self._connect(), self._request()
        sendall, recv, recv_into = sock.sendall, sock.recv, sock.recv_into
        block = memoryview(bytearray(self._BLOCK))

        def send() -> int:
            sendall(request)
            data = recv(65536)
            while (end := data.find(b"\r\n\r\n")) < 0:
                data += recv(65536)
            check(int(data[9:12]))
            start = data.index(b"Content-Length: ") + 16
            length = int(data[start : data.index(b"\r", start)])
            missing = length - (len(data) - end - 4)
            while missing > 0:
                missing -= recv_into(block)
            return length - missing

        return send


PEERS: dict[str, Any] = {
    "ours": Httpcore,
    "httpcore-1.0.9": Httpcore,
    "urllib3": Urllib3,
    "http.client": HttpClient,
    "pycurl": Pycurl,
    "socket": Socket,
}
