"""The clients, each behind the same two verbs.

Owns: how one request is sent with each client, its body read to the end and its status
checked. Must not know: threads, clocks.

Each class is made once with a `Job`; `requester()` gives a function without arguments that
sends one request and returns how many bytes of body came. It is called once for each thread:
clients with a pool share it, the others make a connection for each. Nobody has a timeout.
"""

from __future__ import annotations

import http.client
import importlib
import io
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from job import HEADERS, Job

Requester = Callable[[], int]

#: Where a client is not called `httpcore`.
MODULES = {"httpcore2-2.16.2": "httpcore2"}


class Peer(Protocol):
    """What `__main__` asks of a client."""

    version: str

    def __init__(self, job: Job) -> None: ...

    def requester(self) -> Requester: ...


def check(status: int) -> None:
    """Every client looks at the status, as every program does."""
    if status != 200:
        raise RuntimeError(f"the server answered {status}")


def check_version(spoken: str, job: Job) -> None:
    """Looked at once, before the rounds: a client may fall back without a word."""
    if (spoken == "HTTP/2") != job.http2:
        raise RuntimeError(f"{job.peer} speaks {spoken}")


class Httpcore:
    """Ours, httpcore 1.0.9 and httpcore2: one API, three interpreters."""

    def __init__(self, job: Job) -> None:
        module = importlib.import_module(MODULES.get(job.peer, "httpcore"))
        self.version = f"{module.__name__} {module.__version__}"
        if (job.peer == "httpcore-1.0.9") != (self.version == "httpcore 1.0.9"):
            raise RuntimeError(f"{job.peer} was to run, but this is {module.__file__}")
        self._job = job
        self._pool = module.ConnectionPool(
            ssl_context=job.ssl_context, max_connections=job.connections, http2=job.http2
        )
        if job.http2:
            response = self._pool.request("GET", job.url, headers=HEADERS)
            check_version(response.extensions["http_version"].decode(), job)

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
    """libcurl: a handle for each thread.

    It does what a client does: it gets URL and fields for each request, and returns status,
    fields and body. In the variant "bare" the handle is set up once, and nobody asks for fields.
    """

    def __init__(self, job: Job) -> None:
        import pycurl

        self.version = f"pycurl {pycurl.version_info()[1]}"
        self._job = job

    def requester(self) -> Requester:
        handle = self._handle()
        send = self._bare(handle) if self._job.variant == "bare" else self._whole(handle)
        if self._job.http2:
            import pycurl

            send()
            number = handle.getinfo(pycurl.INFO_HTTP_VERSION)
            spoken = "HTTP/2" if number == pycurl.CURL_HTTP_VERSION_2_0 else "HTTP/1"
            check_version(spoken, self._job)
        return send

    def _handle(self) -> Any:
        import pycurl

        job = self._job
        handle = pycurl.Curl()
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.PROXY, "")
        if job.http2:
            handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        if job.authorities:
            handle.setopt(pycurl.CAINFO, job.authorities)
        return handle

    def _whole(self, handle: Any) -> Requester:
        import pycurl

        url, body = self._job.url, self._job.body

        def send() -> int:
            received = io.BytesIO()
            fields: list[tuple[bytes, bytes]] = []

            def keep(line: bytes) -> None:
                name, colon, value = line.partition(b":")
                if colon:
                    fields.append((name, value.strip()))

            handle.setopt(pycurl.URL, url)
            # Without "Expect:" curl asks for `100 Continue` first, which nobody else does.
            lines = [f"{name}: {value}" for name, value in HEADERS.items()]
            handle.setopt(pycurl.HTTPHEADER, [*lines, "Expect:"])
            handle.setopt(pycurl.HEADERFUNCTION, keep)
            handle.setopt(pycurl.WRITEDATA, received)
            if body is not None:
                handle.setopt(pycurl.POSTFIELDS, body)
            handle.perform()
            check(handle.getinfo(pycurl.RESPONSE_CODE))
            if not fields:
                raise RuntimeError("no header fields came")
            return len(received.getvalue())

        return send

    def _bare(self, handle: Any) -> Requester:
        import pycurl

        body = self._job.body
        handle.setopt(pycurl.URL, self._job.url)
        fields = [f"{name}: {value}" for name, value in HEADERS.items()]
        handle.setopt(pycurl.HTTPHEADER, [*fields, "Expect:"])
        if body is not None:
            handle.setopt(pycurl.POSTFIELDS, body)

        def send() -> int:
            received = io.BytesIO()
            handle.setopt(pycurl.WRITEDATA, received)
            handle.perform()
            check(handle.getinfo(pycurl.RESPONSE_CODE))
            return len(received.getvalue())

        return send


class Socket:
    """The floor: the bytes of the request, and as little as will find the end of the answer.

    It believes whatever the server says, and keeps no body; in the variant "kept" it does, in one
    buffer that was written to before, so that all its pages are there.
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
        kept = self._job.variant == "kept"
        # Not zeros: those would come from pages that are not there yet.
        block = memoryview(bytearray(b"\1" * (self._job.received if kept else self._BLOCK)))

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
                missing -= recv_into(block[-missing:] if kept else block)
            return length - missing

        return send


#: The switches of `h2` for what it checks and mends in header fields.
_CHECKS = (
    "validate_inbound_headers",
    "validate_outbound_headers",
    "normalize_inbound_headers",
    "normalize_outbound_headers",
)


class BareHTTP2:
    """The floor of HTTP/2 with `h2`: that library over a TLS socket, one request at a time.

    Or `jh2`, which has the same names. It keeps no body, and believes whatever the server says:
    the checks of the library are off. Its windows are so large that the server never waits.
    """

    _BLOCK = 64 * 1024
    _WINDOW = 16 * 1024 * 1024

    def __init__(self, job: Job) -> None:
        name = job.peer.partition("-")[2]
        self._module = importlib.import_module(name)
        self._connection = importlib.import_module(f"{name}.connection")
        self._config = importlib.import_module(f"{name}.config")
        self._events = importlib.import_module(f"{name}.events")
        self._settings = importlib.import_module(f"{name}.settings")
        self.version = f"{name} {self._module.__version__}"
        self._job = job

    def _connect(self) -> ssl.SSLSocket:
        context = self._job.ssl_context
        assert context is not None
        context.set_alpn_protocols(["h2"])
        sock = socket.create_connection(self._job.address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secure = context.wrap_socket(sock, server_hostname=self._job.address[0])
        check_version("HTTP/2" if secure.selected_alpn_protocol() == "h2" else "HTTP/1", self._job)
        return secure

    def _start(self) -> Any:
        """The engine, with its first words to be sent."""
        off = dict.fromkeys(_CHECKS, False)
        engine = self._connection.H2Connection(self._config.H2Configuration(**off))
        code = self._settings.SettingCodes.INITIAL_WINDOW_SIZE
        engine.local_settings = self._settings.Settings(
            client=True, initial_values={code: self._WINDOW}
        )
        engine.initiate_connection()
        engine.increment_flow_control_window(self._WINDOW)
        return engine

    def requester(self) -> Requester:
        sock, engine = self._connect(), self._start()
        data_received, ended = self._events.DataReceived, self._events.StreamEnded
        response_received = self._events.ResponseReceived
        fields = [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", "{}:{}".format(*self._job.address).encode()),
            (b":path", self._job.path.encode()),
            *((name.lower().encode(), value.encode()) for name, value in HEADERS.items()),
        ]

        def send() -> int:
            stream = engine.get_next_available_stream_id()
            engine.send_headers(stream, fields, end_stream=True)
            sock.sendall(engine.data_to_send())
            received = 0
            while True:
                for event in engine.receive_data(sock.recv(self._BLOCK)):
                    if isinstance(event, data_received):
                        received += len(event.data)
                        engine.acknowledge_received_data(event.flow_controlled_length, stream)
                    elif isinstance(event, response_received):
                        check(int(dict(event.headers)[b":status"]))
                    elif isinstance(event, ended):
                        return received
                if out := engine.data_to_send():
                    sock.sendall(out)

        return send


PEERS: dict[str, Any] = {
    "ours": Httpcore,
    "httpcore-1.0.9": Httpcore,
    "httpcore2-2.16.2": Httpcore,
    "urllib3": Urllib3,
    "http.client": HttpClient,
    "pycurl": Pycurl,
    "socket": Socket,
    "bare-h2": BareHTTP2,
    "bare-jh2": BareHTTP2,
}
