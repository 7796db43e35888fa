"""`response.raw` as other projects use it, next to stock.

Owns: one test for each way in which a published package goes below `requests.Response`. What
the same look shows on a response of stock requests is the expected value wherever stock has
one; the code of the packages is told in our own words.
"""

from __future__ import annotations

import functools
import gzip
import io
import select
import socket
import ssl
import struct
import tarfile
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
import urllib3.exceptions
from urllib3.response import GzipDecoder
from urllib3.util import Retry

import httpcore_requests
from httpcore_requests import HTTPAdapter
from tests.support.servers import LocalServer, Peer, Serve, pattern

Look = Callable[[requests.Response], Any]


def seen(make: Callable[[], requests.Session], look: Look, url: str, **how: Any) -> Any:
    """What `look` returns for a streamed response, or the class of what it raises, by name: our
    classes are subclasses of urllib3's."""
    how = {"method": "GET", "stream": True, "timeout": 5, **how}
    with make() as session:
        response = session.request(url=url, **how)
        try:
            return look(response)
        except Exception as exc:
            return type(exc).__name__
        finally:
            response.close()


def by_both(look: Look, url: str, **how: Any) -> tuple[Any, Any]:
    """What `look` shows with stock, and with ours."""
    stock = seen(requests.Session, look, url, **how)
    return stock, seen(httpcore_requests.Session, look, url, **how)


PATHS = [
    ("GET", "/bytes/10"),
    ("GET", "/bytes/200000"),
    ("GET", "/chunked/20"),
    ("GET", "/chunked/200000"),
    ("GET", "/close/20"),
    ("GET", "/gzip/1000"),
    ("GET", "/status/204"),
    ("HEAD", "/bytes/10"),
]


def count(pieces: Any) -> int:
    return sum(map(len, pieces))


def left_open(raw: Any) -> Any:
    raw.auto_close = False
    return raw


# Each is looked at with stock and with ours, for each of the paths, and must show the same.
LOOKS: dict[str, Look] = {
    # what requests, httpie, OpenTelemetry, toolbelt's dump and scrapers read of the head
    "status": lambda r: (r.raw.status, r.raw.reason, r.raw.version, r.raw.version_string),
    "msg": lambda r: (r.raw.msg, r.raw.get_redirect_location()),
    "headers": lambda r: (r.raw.getheader("nope", "x"), type(r.raw.getheaders())),
    "info": lambda r: r.raw.info() is r.raw.headers is r.raw.getheaders(),
    "urls": lambda r: (r.raw.url, r.raw.geturl(), r.raw._request_url),
    "retries": lambda r: (r.raw.retries.history, r.raw.retries.total),
    "pool": lambda r: (r.raw._pool.scheme, r.raw._pool.host, r.raw._pool.port),
    # its length and its framing
    "flags": lambda r: (r.raw.chunked, r.raw.chunk_left, r.raw.supports_chunked_reads()),
    "lengths": lambda r: (r.raw.length_remaining, r.raw.tell(), r.raw._fp_bytes_read),
    "settings": lambda r: (r.raw.auto_close, r.raw.decode_content, r.raw.enforce_content_length),
    "tell": lambda r: (r.raw.read(10), r.raw.tell(), r.raw.length_remaining),
    # http.client's face
    "original": lambda r: (r.raw._original_response.version, r.raw._original_response._method),
    "original status": lambda r: (r.raw._original_response.status, r.raw._original_response.reason),
    "original msg": lambda r: type(r.raw._original_response.msg),
    "original headers": lambda r: dict(r.raw._original_response.headers._headers).keys(),
    "original getheader": lambda r: r.raw._original_response.getheader("nope", "d"),
    "original getheaders": lambda r: len(r.raw._original_response.getheaders()),
    "original length": lambda r: r.raw._original_response.length,
    "original open": lambda r: (
        r.raw._original_response.isclosed(),
        r.raw._original_response.closed,
    ),
    "original closed": lambda r: (r.content, r.raw._original_response.isclosed()),
    "original fp": lambda r: r.raw._original_response.fp.raw._sock.getpeername(),
    "original fp read": lambda r: (r.content, r.raw._original_response.fp),
    "_fp head": lambda r: (r.raw._fp.version, r.raw._fp.status, r.raw._fp.reason, r.raw._fp.code),
    "_fp getcode": lambda r: r.raw._fp.getcode(),
    "_fp framing": lambda r: (r.raw._fp.chunked, r.raw._fp.length, r.raw._fp.will_close),
    "_fp fields": lambda r: (r.raw._fp.getheader("nope"), type(r.raw._fp.info())),
    "_fp file": lambda r: (r.raw._fp.readable(), r.raw._fp.flush(), r.raw._fp.isclosed()),
    "_fp read": lambda r: (r.raw._fp.read(3), r.raw._fp.isclosed()),
    "_fp read1": lambda r: len(r.raw._fp.read1(2)),
    "_fp readinto": lambda r: r.raw._fp.readinto(bytearray(2)),
    "_fp readline": lambda r: r.raw._fp.readline(4),
    "_fp unknown": lambda r: r.raw._fp.no_such_thing,
    # and the socket's
    "_fp.fp": lambda r: r.raw._fp.fp.raw._sock.getpeername(),
    "_fp.fp class": lambda r: isinstance(r.raw._fp.fp.raw, socket.SocketIO),
    "_fp.fp timeout": lambda r: r.raw._fp.fp.raw._sock.gettimeout(),
    "_fp.fp fileno": lambda r: r.raw._fp.fp.fileno() == r.raw._fp.fp.raw._sock.fileno(),
    "_fp.fp read": lambda r: (r.content, r.raw._fp.fp),
    "connection read": lambda r: (r.content, r.raw._connection, r.raw.connection),
    "connection released": lambda r: (r.raw.release_conn(), r.raw._connection),
    "fileno": lambda r: r.raw.fileno() > 0,
    "shutdown": lambda r: r.raw.shutdown(),
    "shutdown read": lambda r: (r.content, r.raw.shutdown()),
    "shutdown closed": lambda r: (r.raw.close(), r.raw.shutdown()),
    # ways to read
    "read all": lambda r: (len(r.raw.read()), r.raw.closed, r.raw.isclosed(), r.raw.read()),
    "read nothing": lambda r: (r.raw.read(0), r.raw.read1(0), r.raw.closed),
    "read negative": lambda r: len(r.raw.read(-1)),
    "read1 negative": lambda r: len(r.raw.read1(-1)) > 0,
    "data": lambda r: (len(r.raw.data), len(r.raw.data), r.raw.read()),
    "cached": lambda r: (len(r.raw.read(cache_content=True)), len(r.raw.data)),
    "readline": lambda r: r.raw.readline(5),
    "readlines": lambda r: count(r.raw.readlines()),
    "iteration": lambda r: count(r.raw),
    "stream": lambda r: (count(r.raw.stream(7)), r.raw._connection, r.raw.closed),
    "stream nothing": lambda r: list(r.raw.stream(0)),
    "stream all": lambda r: count(r.raw.stream(-1)),
    "read_chunked": lambda r: count(r.raw.read_chunked()),
    "read_chunked 5": lambda r: len(next(r.raw.read_chunked(5))),
    "iter_content": lambda r: count(r.iter_content(100)),
    "undecoded": lambda r: (r.raw.read(1, decode_content=True), r.raw.read(decode_content=False)),
    "json": lambda r: r.raw.json(),
    # as a file
    "file": lambda r: (r.raw.readable(), r.raw.writable(), r.raw.seekable(), r.raw.isatty()),
    "with": lambda r: r.raw.__enter__() is r.raw,
    "flush": lambda r: r.raw.flush(),
    "buffered": lambda r: len(io.BufferedReader(r.raw).read(5)),
    "buffered all": lambda r: len(io.BufferedReader(left_open(r.raw)).read()),
    "text": lambda r: len(io.TextIOWrapper(io.BufferedReader(left_open(r.raw)), "latin-1").read()),
    "auto_close": lambda r: (len(left_open(r.raw).read()), r.raw.closed, r.raw.read()),
    "auto_close closed": lambda r: (left_open(r.raw).close(), r.raw.closed),
    # letting go
    "close": lambda r: (r.raw.close(), r.raw.closed, r.raw.isclosed()),
    "close, read": lambda r: (r.raw.close(), r.raw.read(), r.raw.read(5)),
    "drain": lambda r: (r.raw.drain_conn(), r.raw.closed, r.raw._connection, r.raw.tell()),
    "drain, read": lambda r: (r.raw.drain_conn(), r.raw.read()),
}


@pytest.mark.parametrize("name", LOOKS)
def test_shows_what_stock_shows(server: LocalServer, name: str) -> None:
    for method, path in PATHS:
        stock, ours = by_both(LOOKS[name], server.url + path, method=method)
        assert ours == stock, f"{method} {path}"


# --- sockets and certificates: pyavd, pinning scripts, requests_gssapi, _ntlm, _kerberos ---

CERTIFICATES: dict[str, Look] = {
    "connection": lambda r: r.raw.connection.sock.getpeercert(True),
    "connection, decoded": lambda r: r.raw._connection.sock.getpeercert(),
    "_fp": lambda r: r.raw._fp.fp.raw._sock.getpeercert(True),
    "addresses": lambda r: (
        r.raw._connection.sock.getpeername(),
        r.raw._connection.sock.getsockname()[0],
    ),
    "version": lambda r: r.raw._fp.fp.raw._sock.version(),
    "facts": lambda r: (r.raw.connection.host, r.raw.connection.port, r.raw.connection.is_verified),
    "closed": lambda r: r.raw.connection.is_closed,
    "gone": lambda r: (r.content, r.raw.connection.sock.getpeercert(True)),
}


@pytest.mark.parametrize("path", ["/bytes/10", "/bytes/200000", "/chunked/20", "/status/204"])
@pytest.mark.parametrize("name", CERTIFICATES)
def test_the_servers_certificate_can_be_asked_for(
    tls_server: LocalServer, ca_bundle: str, name: str, path: str
) -> None:
    """Also where the whole response has already come, and its connection went back."""
    stock, ours = by_both(CERTIFICATES[name], tls_server.url + path, verify=ca_bundle)
    assert ours == stock
    assert stock == "AttributeError" if name == "gone" else stock is not None


def test_the_socket_of_a_past_response_harms_nobody(
    session: requests.Session, tls_server: LocalServer, ca_bundle: str
) -> None:
    session.verify = ca_bundle
    response = session.get(tls_server.url + "/bytes/10", stream=True)
    sock = response.raw._fp.fp.raw._sock
    assert sock.getpeername()[1] == tls_server.port
    assert "127.0.0.1" in repr(sock)
    response.raw.connection.sock.settimeout(0.0)
    sock.setblocking(False)
    response.raw.shutdown()
    sock.shutdown(socket.SHUT_RDWR)
    sock.close()
    assert response.content == pattern(10)
    again = session.get(tls_server.url + "/bytes/200000")
    assert again.content == pattern(200_000)
    assert again.raw.reused


def test_a_timeout_set_on_the_socket_ends_with_the_response(
    session: requests.Session, server: LocalServer
) -> None:
    for _ in range(2):
        response = session.get(server.url + "/bytes/2000000", stream=True, timeout=5)
        assert response.raw.connection.sock.gettimeout() == 5
        response.raw.connection.sock.settimeout(4)
        assert len(response.content) == 2_000_000
    assert response.raw.reused


def test_peer(session: requests.Session, server: LocalServer) -> None:
    """A recipe patches ``peer`` into http.client to learn a server's address."""
    for path in ("/bytes/10", "/bytes/200000"):
        response = session.get(server.url + path, stream=True)
        assert response.raw._original_response.peer == ("127.0.0.1", server.port)
        assert response.content
        assert response.raw._original_response.peer == ("127.0.0.1", server.port)


def test_looking_does_not_end_the_response(session: requests.Session, server: LocalServer) -> None:
    response = session.get(server.url + "/bytes/200000", stream=True)
    raw = response.raw
    assert raw._fp.fp.raw.sock is raw._fp.fp._sock is raw.connection.sock
    assert raw._fp.fp.read(3) == pattern(3)
    assert raw.read() == pattern(199_997, 3)
    raw = session.get(server.url + "/bytes/200000", stream=True).raw
    raw._fp.fp.close()
    assert raw.closed
    raw = session.get(server.url + "/bytes/200000", stream=True).raw
    raw.connection.close()
    assert raw.closed


# --- docker ---


def docker_chunks(response: requests.Response) -> Iterator[bytes]:
    """Each piece that came: one byte, then the rest of its chunk."""
    raw: Any = response.raw
    assert raw._fp.chunked
    while not raw.closed:
        data = raw.read(1)
        if not data:
            break
        if raw._fp.chunk_left:
            data += raw.read(raw._fp.chunk_left)
        yield data


def without_timeout(sock: Any) -> None:
    """docker switches timeouts off on the file and on the socket in it, where they have any."""
    for each in (sock, getattr(sock, "_sock", None)):
        if hasattr(each, "settimeout") and each.gettimeout():
            each.settimeout(None)


@pytest.mark.parametrize("make", [requests.Session, httpcore_requests.Session])
def test_docker_events_arrive_one_by_one(serve: Serve, make: Any) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(3):
            peer.send(b"5\r\n{%03d}\r\n" % number)
            asked.acquire()
        peer.send(b"0\r\n\r\n")

    asked = threading.Semaphore(0)
    with make() as session:
        response = session.get(serve(handler).url, stream=True, timeout=5)
        got = []
        for piece in docker_chunks(response):
            got.append(piece)
            asked.release()
    assert got == [b"{000}", b"{001}", b"{002}"]


@pytest.mark.parametrize("make", [requests.Session, httpcore_requests.Session])
def test_docker_logs_without_a_timeout(serve: Serve, make: Any) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert silence.wait(5)
        frame = struct.pack(">BxxxL", 1, 5) + b"hello"
        peer.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(frame), frame))

    silence = threading.Event()
    with make() as session:
        response = session.get(serve(handler).url, stream=True, timeout=0.05)
        without_timeout(response.raw._fp.fp.raw)
        timer = threading.Timer(0.2, silence.set)
        timer.start()
        header = response.raw.read(8)
        timer.join()
        _, length = struct.unpack(">BxxxL", header)
        assert response.raw.read(length) == b"hello"
        assert response.raw.read(8) == b""


@pytest.mark.parametrize("make", [requests.Session, httpcore_requests.Session])
def test_docker_cancels_a_stream_from_another_thread(serve: Serve, make: Any) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        peer.wait_closed()

    def cancel() -> None:
        file = response.raw._fp.fp.raw
        sock = file.sock if hasattr(file, "sock") else file._sock
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    with make() as session:
        response = session.get(serve(handler).url, stream=True)
        assert response.raw.read(2) == b"hi"
        canceller = threading.Timer(0.05, cancel)
        canceller.start()
        with pytest.raises(urllib3.exceptions.ProtocolError):
            response.raw.read(1)
        canceller.join()
        response.close()


@pytest.mark.parametrize("asks", [True, False], ids=["asked", "unasked"])
@pytest.mark.parametrize("head", ["101 UPGRADED", "200 OK", "150 ODD"])
@pytest.mark.parametrize("make", [requests.Session, httpcore_requests.Session, "unix"])
def test_docker_attach_talks_both_ways(
    serve: Serve,
    make: Any,
    head: str,
    asks: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """docker takes the connection over: with 101 where it may upgrade, else with a 200 whose
    body ends with the connection. Some servers say 101 although nobody has asked."""
    monkeypatch.setattr("httpcore._core.h1_exchange.UNKNOWN_INTERIM_PATIENCE", 0.1)

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(f"HTTP/1.1 {head}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        assert peer.recv_exactly(3) == b"ls\n"
        peer.send(b"a.txt\n")

    asked = {"Connection": "Upgrade", "Upgrade": "tcp"} if asks else {}
    if make == "unix":
        make, path = httpcore_requests.Session, str(tmp_path / "socket")
        serve(handler, uds=path)
        url = "http+unix://" + path.replace("/", "%2F") + "/attach"
    else:
        url = serve(handler).url
    with make() as session:
        response = session.post(url, headers=asked, stream=True, timeout=5)
        file = response.raw._fp.fp.raw
        file._response = response  # docker keeps the response alive like this
        without_timeout(file)
        file._sock.sendall(b"ls\n")
        assert select.select([file], [], [], 5)[0] == [file]
        assert file.read(100) == b"a.txt\n"
        assert file.read(100) == b""
        sock = file._sock
        response.close()
        sock.close()


def test_what_came_with_an_upgrade_is_not_lost(session: requests.Session, serve: Serve) -> None:
    """Stock loses it in its buffer."""

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst")
        peer.recv_exactly(1)
        peer.send(b"second")

    asked = {"Connection": "Upgrade", "Upgrade": "tcp"}
    response = session.get(serve(handler).url, headers=asked, stream=True)
    file = response.raw._fp.fp
    assert file.read(5) == b"first"
    file._sock.sendall(b"!")
    assert file.read(6) == b"second"
    file._sock.shutdown(socket.SHUT_RDWR)
    file._sock.close()
    with pytest.raises(urllib3.exceptions.ProtocolError):
        file.read(1)
    response.close()


# --- event streams ---


@pytest.mark.parametrize("make", [requests.Session, httpcore_requests.Session])
def test_select_waits_for_the_next_event(serve: Serve, make: Any) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        more.wait(5)
        peer.send(b"data: 1\n\n")

    more = threading.Event()
    with make() as session:
        response = session.get(serve(handler).url, stream=True, timeout=5)
        assert select.select([response.raw], [], [], 0)[0] == []
        more.set()
        assert select.select([response.raw], [], [], 5)[0] == [response.raw]
        assert response.raw.read1(100) == b"data: 1\n\n"
        response.close()


# --- CacheControl ---


class Watched:
    """Passes everything on to the file it wraps, keeps what is read, and calls back at the end:
    when the file has no ``fp`` any more, or says that it is closed."""

    def __init__(self, file: Any, callback: Callable[[bytes], None]) -> None:
        self._file = file
        self._kept = b""
        self._callback: Callable[[bytes], None] | None = callback

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _ended(self) -> bool:
        try:
            return self._file.fp is None
        except AttributeError:
            return bool(self._file.closed)

    def _close(self) -> None:
        if self._callback is not None:
            self._callback(self._kept)
        self._callback = None

    def read(self, amt: int | None = None) -> bytes:
        data: bytes = self._file.read(amt)
        self._kept += data
        if self._ended():
            self._close()
        return data

    def _safe_read(self, amt: int) -> bytes:
        data: bytes = self._file._safe_read(amt)
        if data != b"\r\n":
            self._kept += data
        return data


@pytest.mark.parametrize("make", [requests.Session, httpcore_requests.Session])
@pytest.mark.parametrize("path", ["/bytes/100000", "/chunked/100000", "/close/100000", "/gzip/50"])
@pytest.mark.parametrize("piece", [0, 100])
def test_cachecontrol_sees_the_body_and_its_end(
    server: LocalServer, make: Any, path: str, piece: int
) -> None:
    cached: list[bytes] = []
    with make() as session:
        response = session.get(server.url + path, stream=True)
        raw = response.raw
        raw._fp = Watched(raw._fp, cached.append)
        if raw.chunked:
            plain = type(raw)._update_chunk_length

            def with_end(weak: Any) -> None:
                plain(weak())
                if weak().chunk_left == 0:
                    weak()._fp._close()

            raw._update_chunk_length = functools.partial(with_end, weakref.ref(raw))
        body = b"".join(response.iter_content(piece)) if piece else response.content
    wire = gzip.compress(body, mtime=0) if "gzip" in path else body
    assert body == pattern(len(body))
    assert cached == [wire]


# --- requests-cache ---


def reset(raw: Any, body: bytes) -> None:
    raw._body = body
    raw._fp_bytes_read = 0
    raw._fp = io.BytesIO(body)
    raw.length_remaining = len(body)


def keep(response: requests.Response) -> Any:
    """Copy the body, and leave the response as if nobody had read it."""
    raw: Any = response.raw
    known = (raw.status, raw.reason, raw.version, raw._request_url, raw.decode_content)
    body = raw.read(decode_content=False)
    reset(raw, body)
    content = response.content
    reset(raw, body)
    start = raw.read(3) if content == body else b""  # once decoded, never undecoded again
    return known, body, content, start, raw.length_remaining, raw._fp_bytes_read, raw.data


@pytest.mark.parametrize("path", ["/bytes/1000", "/chunked/1000", "/gzip/1000", "/close/1000"])
def test_requests_cache_copies_and_resets(server: LocalServer, path: str) -> None:
    stock, ours = by_both(keep, server.url + path)
    assert ours == stock
    assert ours[2] == pattern(1000)


# --- google-cloud-storage ---


def hashed(response: requests.Response) -> Any:
    wire: list[bytes] = []

    class Hashing(GzipDecoder):
        def decompress(self, data: bytes, max_length: int = -1) -> bytes:
            wire.append(data)
            return super().decompress(data, max_length)

    assert response.raw.headers.get("content-encoding") == "gzip"
    response.raw._decoder = Hashing()
    body = b"".join(response.iter_content(8192, decode_unicode=False))
    return body, gzip.decompress(b"".join(wire))


def test_google_hashes_what_came_over_the_wire(server: LocalServer) -> None:
    stock, ours = by_both(hashed, server.url + "/gzip/100000")
    assert ours == stock == (pattern(100_000), pattern(100_000))


# --- azure-core ---


@pytest.mark.parametrize("enforce", [True, False])
def test_azure_sets_enforcement_after_the_head(server: LocalServer, enforce: bool) -> None:
    def download(response: requests.Response) -> int:
        response.raw.enforce_content_length = enforce
        assert response.raw.enforce_content_length is enforce
        return count(response.raw.stream(4096, decode_content=False))

    stock, ours = by_both(download, server.url + "/truncated/100000")
    assert ours == stock
    assert ours == ("ProtocolError" if enforce else 50_000)


# --- files: smart_open, gzip, tarfile, streamlink ---


def test_files_over_raw(session: requests.Session, serve: Serve) -> None:
    text = b"one\ntwo\n"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("a.txt")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            body = {"/tar": archive.getvalue(), "/gz": gzip.compress(text)}.get(request.path, text)
            peer.respond(200, [body[:7], body[7:]], framing="chunked")

    url = serve(handler).url

    def raw(path: str) -> Any:
        return session.get(url + path, stream=True).raw

    with tarfile.open(fileobj=raw("/tar"), mode="r|gz") as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            assert file.read() == text
    with gzip.GzipFile(fileobj=raw("/gz")) as unzipped:
        assert unzipped.read() == text
    reader = io.BufferedReader(left_open(raw("/text")))
    assert [reader.readline(), reader.read(), reader.read()] == [b"one\n", b"two\n", b""]
    reader.close()
    assert reader.raw.closed
    assert list(io.TextIOWrapper(io.BufferedReader(left_open(raw("/"))), "ascii")) == [
        "one\n",
        "two\n",
    ]


# --- policies ---


def test_the_history_of_retries(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        for status in (503, 503, 200):
            if peer.recv_request() is None:
                return
            peer.respond(status, b"now" if status == 200 else b"wait")

    def attempts(adapter: Any) -> Any:
        policy = Retry(total=5, status_forcelist=[503], backoff_factor=0)
        with requests.Session() as session:
            session.mount("http://", adapter(max_retries=policy))
            raw = session.get(serve(handler).url + "/x").raw
            return [(h.method, h.url, h.error, h.status) for h in raw.retries.history], raw.version

    stock = attempts(requests.adapters.HTTPAdapter)
    assert attempts(HTTPAdapter) == stock
    assert [entry[3] for entry in stock[0]] == [503, 503]


def test_the_class_of_the_socket(
    session: requests.Session, tls_server: LocalServer, ca_bundle: str
) -> None:
    response = session.get(tls_server.url + "/bytes/2000000", stream=True, verify=ca_bundle)
    assert isinstance(response.raw.connection.sock, ssl.SSLSocket)
    assert isinstance(response.raw._fp.fp.raw._sock, ssl.SSLSocket)
    response.close()
