"""What users of requests do, over HTTP/2.

Owns: scenarios 15, 16, 18 and 43 as `HTTPAdapter(http2=True)` shows them: who speaks what with
whom, streams as they come, uploads, downloads, cookies, redirects, logins. Must not know: private
parts of the packages; how frames are made (`tests.support.http2`).

Most of it runs against a server of our own, frame by frame, and again against nginx and hypercorn,
which know nothing of us.
"""

from __future__ import annotations

import copy
import functools
import gzip
import hashlib
import io
import json
import pickle
import shutil
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
import urllib3
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

import httpcore
from httpcore_requests import HTTPAdapter
from tests.support import PATIENCE, programs
from tests.support.http2 import Code, FrameServer, Kind, ServeH2, Stream, routes
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import LocalServer, pattern
from tests.support.tls import server_context


class Impatient(requests.Session):
    """Gives every request a timeout."""

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", PATIENCE)
        return super().request(*args, **kwargs)


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    with Impatient() as made:
        made.mount("https://", HTTPAdapter(http2=True))
        made.verify = ca_bundle
        yield made


def pool_of(session: requests.Session) -> httpcore.ConnectionPool:
    adapter: Any = session.get_adapter("https://")
    pool: httpcore.ConnectionPool = adapter.pool
    return pool


# --- a site ---


def answer(stream: Stream) -> None:
    """`routes`, and what is in `SITE`."""
    path = stream.path.partition("?")[0]
    first = "/" + path.split("/")[1]
    SITE.get(first, routes)(stream)


def _set_cookies(stream: Stream) -> None:
    cookies = [("set-cookie", "one=1; Path=/"), ("set-cookie", "two=2; Path=/; HttpOnly")]
    stream.respond(200, b"", cookies)


def _redirect(stream: Stream) -> None:
    stream.respond(int(stream.path.split("/")[2]), b"over there", [("location", "/echo")])


def _private(stream: Stream) -> None:
    shown = (stream.header("authorization") or b"").decode()
    wanted = stream.path.split("/")[2].capitalize()
    challenge = {"Basic": 'Basic realm="r"', "Digest": 'Digest realm="r", nonce="n", qop="auth"'}
    if not shown.startswith(wanted):
        stream.respond(401, b"who are you?", [("www-authenticate", challenge[wanted])])
    else:
        stream.respond(200, shown.encode())


def _gzip(stream: Stream) -> None:
    body = gzip.compress(pattern(int(stream.path.split("/")[2])))
    stream.respond(200, body, [("content-encoding", "gzip")])


def _unannounced(stream: Stream) -> None:
    stream.head(200)
    stream.write(pattern(int(stream.path.split("/")[2])), end=True)


def _trailers(stream: Stream) -> None:
    stream.respond(200, b"body", trailers=[("x-checksum", "42")])


def _interim(stream: Stream) -> None:
    for status in (100, 102, 103, 103, 103):
        more = [("link", f"</{status}.css>; rel=preload")] if status == 103 else []
        stream.link.headers(stream.id, [(":status", str(status)), *more])
    stream.respond(200, b"final")


SITE = {
    "/set-cookies": _set_cookies,
    "/redirect": _redirect,
    "/private": _private,
    "/gzip": _gzip,
    "/unannounced": _unannounced,
    "/trailers": _trailers,
    "/interim": _interim,
}


@pytest.fixture
def site(serve_h2: ServeH2) -> FrameServer:
    return serve_h2(lambda link: link.serve(answer), secure=True)


# ---------------------------------------------------------------------------------------------
# 18: who speaks what


@pytest.mark.parametrize("speaks", ["h2", "h2 or http/1.1", "http/1.1", "no ALPN"])
def test_row_18_alpn_picks(
    speaks: str, session: requests.Session, serve_h2: ServeH2, ca: trustme.CA
) -> None:
    """ "`s.mount("https://", HTTPAdapter(http2=True))`: ALPN picks h2 or falls back with no user
    code, `r.raw.version == 20`." """
    context = server_context(ca)
    offered = {"h2": ["h2"], "h2 or http/1.1": ["h2", "http/1.1"], "http/1.1": ["http/1.1"]}
    if speaks == "no ALPN":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
    else:
        context.set_alpn_protocols(offered[speaks])
    http2 = speaks.startswith("h2")
    server: Any = FrameServer(tls=context) if http2 else LocalServer(tls=context)
    with server:
        for _ in range(2):
            response = session.get(server.url + "/status/404")
            said: Any = response.raw._original_response
            assert response.raw.version == said.version == (20 if http2 else 11)
            assert response.raw.version_string == ("HTTP/2" if http2 else "HTTP/1.1")
            assert response.reason == response.raw.reason == said.reason == "Not Found"
            assert response.text == "status 404"
        assert server.accepted == 1
    shown = repr(pool_of(session).connections)
    assert ("HTTP/2" if http2 else "HTTP/1.1") in shown


def test_row_18_without_it_nothing_changes(
    ca_bundle: str, ca: trustme.CA, server: LocalServer
) -> None:
    """HTTP/2 is for https, and for those who ask for it."""
    context = server_context(ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with LocalServer(tls=context) as both, requests.Session() as session:
        session.mount("https://", HTTPAdapter())
        session.mount("http://", HTTPAdapter(http2=True))
        assert session.get(both.url, verify=ca_bundle, timeout=PATIENCE).raw.version == 11
        assert session.get(server.url, timeout=PATIENCE).raw.version == 11


def test_row_18_fifty_threads_open_one_connection(
    session: requests.Session, site: FrameServer
) -> None:
    """ "50 threads to one origin open 1 connection": from the first request on, while nobody knows
    yet what the server speaks."""
    together = threading.Barrier(50)
    found: list[tuple[int, str]] = []

    def work(number: int) -> None:
        together.wait(PATIENCE)
        for turn in range(4):
            nonce = f"{number}-{turn}"
            response = session.get(site.url + "/bytes/3000", headers={"X-Nonce": nonce})
            assert response.content == pattern(3000)
            assert response.headers["X-Nonce"] == nonce
            found.append((response.raw.version, response.headers["x-connection"]))

    threads = [threading.Thread(target=work, args=[number]) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 200
    assert set(found) == {(20, found[0][1])}
    assert site.accepted == 1
    assert len(pool_of(session).connections) == 1


def test_row_18_fifty_threads_and_a_server_that_falls_back(
    session: requests.Session, tls_server: LocalServer
) -> None:
    """With HTTP/1.1, each has a connection of its own, as without `http2`."""
    together = threading.Barrier(10)
    found: list[int] = []

    def work() -> None:
        together.wait(PATIENCE)
        found.append(session.get(tls_server.url + "/bytes/3000").raw.version)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [11] * 10


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
def test_row_18_through_a_proxy(
    kind: str, session: requests.Session, site: FrameServer, server_tls_context: ssl.SSLContext
) -> None:
    """ "ALPN picks h2", inside of a tunnel too; the proxy itself is spoken to in HTTP/1.1."""
    proxy: Any
    if kind == "socks5":
        proxy = SocksServer()
        url = "socks5://{}"
    else:
        proxy = ProxyServer(tls=server_tls_context if kind == "https" else None)
        url = "{}"
    with proxy:
        address = url.format(proxy.address if kind == "socks5" else proxy.url)
        for _ in range(3):
            response = session.get(site.url + "/echo", proxies={"https": address})
            assert response.raw.version == 20
            names = [name for name, _ in response.json()["headers"]]
            assert "proxy-authorization" not in names
        session.close()
    assert site.accepted == 1


def test_row_18_on_a_context_of_the_callers_own(
    site: FrameServer, tls_server: LocalServer, ca_bundle: str, ca: trustme.CA
) -> None:
    """Whatever the door by which the context came in."""

    class Told(HTTPAdapter):
        def __init__(self, context: ssl.SSLContext) -> None:
            self.context = context
            super().__init__(http2=True)

        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, ssl_context=self.context, **kw)

    for door in (lambda context: HTTPAdapter(ssl_context=context, http2=True), Told):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ca.configure_trust(context)
        with Impatient() as session:
            session.mount("https://", door(context))
            assert session.get(site.url).raw.version == 20
            assert session.get(tls_server.url).raw.version == 11
        assert context.verify_mode == ssl.CERT_REQUIRED
        # An adapter without HTTP/2 on the same context gets what it speaks.
        willing = server_context(ca)
        willing.set_alpn_protocols(["h2", "http/1.1"])
        with LocalServer(tls=willing) as both, Impatient() as session:
            session.mount("https://", HTTPAdapter(ssl_context=context))
            assert session.get(both.url).raw.version == 11


# ---------------------------------------------------------------------------------------------
# 16 and 43: as it comes, and what comes before

EVENTS = [b"data: event %06d\n\n\n" % number for number in range(5)]  # 20 bytes each


def _read1(response: requests.Response) -> Iterator[bytes]:
    return iter(response.raw.read1, b"")


def _lines(response: requests.Response) -> Iterator[bytes]:
    return (line + b"\n\n\n" for line in response.iter_lines() if line)


def _whole_lines(response: requests.Response) -> Iterator[bytes]:
    return (line + b"\n\n\n" for line in response.iter_lines(chunk_size=512) if line)


READERS: list[Callable[..., Iterator[bytes]]] = [
    lambda response: response.iter_content(None),
    lambda response: response.iter_content(8192),
    _lines,
    _whole_lines,
    _read1,
    lambda response: response.raw.stream(),
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_row_16_each_event_is_handed_on_at_once(
    encoding: str, reader: Callable[..., Iterator[bytes]],
    session: requests.Session, site: FrameServer,
) -> None:  # fmt: skip
    """ "`iter_content(None)`, `iter_lines()` and `raw.read1()` yield each [...] on [...] h2."
    Without a clock: an event is sent only after the client has the one before."""
    packer = None if encoding == "identity" else gzip_pieces()
    headers = [] if packer is None else [("content-encoding", encoding)]
    site.script = lambda link: link.serve(lambda stream: stream.head(200, headers))

    def send(number: int) -> None:
        event = EVENTS[number] if number < len(EVENTS) else b""
        stream = link.streams[link.opened[-1]]
        stream.write(event if packer is None else packer(event), end=not event)

    with session.get(site.url + "/events", stream=True) as response:
        link = site.link
        response.raw.decode_content = True  # what requests' own readers ask for
        link.call(functools.partial(send, 0))
        number = -1
        for number, piece in enumerate(reader(response)):
            assert piece == EVENTS[number]
            link.call(functools.partial(send, number + 1))
    assert number == len(EVENTS) - 1


def gzip_pieces() -> Callable[[bytes], bytes]:
    """Compresses a stream so that each piece can be decoded when it comes; b"" ends it."""
    packer = zlib.compressobj(wbits=31)

    def pack(data: bytes) -> bytes:
        return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH if data else zlib.Z_FINISH)

    return pack


def test_row_16_others_go_on_meanwhile(session: requests.Session, site: FrameServer) -> None:
    """A stream that nobody reads, and one whose next event does not come, hold up no other."""
    with (
        session.get(site.url + "/bytes/3000000", stream=True) as unread,
        session.get(site.url + "/drip/2?delay=60", stream=True) as slow,
    ):
        assert next(slow.iter_content(None)) == pattern(1)
        for _ in range(3):
            assert session.get(site.url + "/bytes/2000000").content == pattern(2_000_000)
        assert unread.raw.read(10) == pattern(10)
    assert site.accepted == 1
    link = site.link
    assert site.wait_for(lambda: link.open == 0)
    assert link.streams[link.opened[1]].reset_by_client == Code.CANCEL


def test_row_43_interim_answers(session: requests.Session, site: FrameServer) -> None:
    """ "100, 102 and three 103s before a 200, [...] h2, split over packets: final 200
    returned." """
    for split in (None, 1):
        for link in site.links:
            link.split = split
        response = session.get(site.url + "/interim")
        assert (response.status_code, response.text) == (200, "final")
        assert "link" not in response.headers
    assert site.accepted == 1


# ---------------------------------------------------------------------------------------------
# Bodies of requests, and 15


class Unsized(io.RawIOBase):
    """A file of which nobody knows the length."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)


UPLOAD = pattern(300_000)  # more than the first window
UPLOADS: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda path: UPLOAD,
    "text": lambda path: UPLOAD.decode("latin-1").encode().decode(),
    "bytearray": lambda path: bytearray(UPLOAD),
    "a file": lambda path: path.open("rb"),
    "a file in memory": lambda path: io.BytesIO(UPLOAD),
    "a file of no length": lambda path: Unsized(UPLOAD),
    "a generator": lambda path: (UPLOAD[at : at + 7000] for at in range(0, len(UPLOAD), 7000)),
    "nothing": lambda path: b"",
}


@pytest.mark.parametrize("kind", UPLOADS)
def test_uploads(kind: str, session: requests.Session, site: FrameServer, tmp_path: Path) -> None:
    """Row 18: all that requests sends goes over HTTP/2 as well."""
    path = tmp_path / "upload"
    path.write_bytes(UPLOAD)
    body = UPLOADS[kind](path)
    sent = body.encode() if isinstance(body, str) else b"" if kind == "nothing" else UPLOAD
    try:
        told = session.post(site.url + "/upload", data=body).json()
    finally:
        if kind == "a file":
            body.close()
    assert told == {"length": len(sent), "sha256": hashlib.sha256(sent).hexdigest()}
    stream = site.link.streams[1]
    assert stream.header("transfer-encoding") is None
    announced = stream.header("content-length")
    unknown = kind in ("a generator", "a file of no length")
    assert announced == (None if unknown else str(len(sent)).encode())


def test_forms(session: requests.Session, site: FrameServer) -> None:
    told = session.post(site.url + "/echo", data={"a": "1", "b": ["2", "3"]}).json()
    assert told["body"] == "a=1&b=2&b=3"
    told = session.post(site.url + "/echo", json={"a": [1]}).json()
    assert json.loads(told["body"]) == {"a": [1]}
    file = ("name.bin", pattern(50_000), "application/x-thing")
    told = session.post(site.url + "/echo", files={"file": file}, data={"field": "value"}).json()
    kind = dict(told["headers"])["content-type"]
    assert kind.startswith("multipart/form-data; boundary=")
    body = told["body"].encode("latin-1")
    assert pattern(50_000) in body
    assert b'name="field"\r\n\r\nvalue' in body
    assert body.rstrip().endswith(kind.partition("=")[2].encode() + b"--")


def test_row_15_an_upload_that_is_refused_early(
    session: requests.Session, serve_h2: ServeH2
) -> None:
    """ "Server answers 413 after 64 KiB of a [...] body [...]: the caller gets the 413 with its
    body, [...] for h2 with response + RST_STREAM(NO_ERROR)"; and the connection goes on."""
    server = serve_h2(secure=True)
    asked = 0

    def endless() -> Iterator[bytes]:
        nonlocal asked
        while asked < 1000 * 2**20:
            asked += 65536
            yield bytes(65536)

    response = session.post(server.url + "/early/65536", data=endless())
    assert (response.status_code, response.reason) == (413, HTTPStatus(413).phrase)
    assert response.text == "too large"
    assert asked < 10 * 2**20
    assert session.get(server.url).ok
    assert server.accepted == 1


# ---------------------------------------------------------------------------------------------
# Responses


DOWNLOADS: dict[str, Callable[[requests.Response], bytes]] = {
    "content": lambda response: response.content,
    "iter_content": lambda response: b"".join(response.iter_content(10_000)),
    "iter_content(None)": lambda response: b"".join(response.iter_content(None)),
    "raw.read": lambda response: response.raw.read(),
    "raw.read(n)": lambda response: b"".join(iter(lambda: response.raw.read(77_777), b"")),
    "raw.readinto": lambda response: _by_readinto(response.raw),
    "copyfileobj": lambda response: _copied(response.raw),
    "raw.stream": lambda response: b"".join(response.raw.stream(5000)),
    "a buffered reader": lambda response: _buffered(response.raw),
}


def _by_readinto(raw: Any) -> bytes:
    found, buffer = bytearray(), bytearray(30_000)
    while count := raw.readinto(buffer):
        found += buffer[:count]
    return bytes(found)


def _copied(raw: Any) -> bytes:
    target = io.BytesIO()
    shutil.copyfileobj(raw, target)
    return target.getvalue()


def _buffered(raw: Any) -> bytes:
    raw.auto_close = False
    return io.BufferedReader(raw).read()


@pytest.mark.parametrize("way", DOWNLOADS)
def test_downloads(way: str, session: requests.Session, site: FrameServer) -> None:
    size = 1_500_000
    for path in ("/bytes", "/unannounced"):
        with session.get(f"{site.url}{path}/{size}", stream=True) as response:
            raw: Any = response.raw
            assert isinstance(raw, urllib3.HTTPResponse)
            assert raw.length_remaining == (size if path == "/bytes" else None)
            assert not raw.chunked
            assert DOWNLOADS[way](response) == pattern(size)
            assert raw.closed or way == "a buffered reader"
    assert site.accepted == 1
    assert not site.link.seen(Kind.RST_STREAM)


def test_compressed(session: requests.Session, site: FrameServer) -> None:
    url = site.url + "/gzip/300000"
    assert session.get(url).content == pattern(300_000)
    with session.get(url, stream=True) as response:
        assert b"".join(response.iter_content(5000)) == pattern(300_000)
    with session.get(url, stream=True) as response:
        assert gzip.decompress(response.raw.read()) == pattern(300_000)


def test_cookies(session: requests.Session, site: FrameServer) -> None:
    """Row 23: "Two Set-Cookie lines land in the session jar"."""
    response = session.get(site.url + "/set-cookies")
    assert response.cookies.get_dict() == {"one": "1", "two": "2"}
    assert response.raw.headers.getlist("set-cookie")[1].startswith("two=2")
    sent = session.get(site.url + "/echo").json()["headers"]
    crumbs = "; ".join(value for name, value in sent if name == "cookie")
    assert crumbs == "one=1; two=2"


@pytest.mark.parametrize(
    ("status", "method", "kept"),
    [(301, "GET", False), (302, "GET", False), (303, "GET", False), (307, "POST", True)],
)
def test_redirects(
    status: int, method: str, kept: bool, session: requests.Session, site: FrameServer
) -> None:
    response = session.post(f"{site.url}/redirect/{status}", data=b"body")
    told = response.json()
    assert (told["method"], told["body"]) == (method, "body" if kept else "")
    assert [step.status_code for step in response.history] == [status]
    assert response.history[0].text == "over there"
    assert response.url == site.url + "/echo"
    assert site.accepted == 1


@pytest.mark.parametrize(("kind", "login"), [("basic", HTTPBasicAuth), ("digest", HTTPDigestAuth)])
def test_logins(kind: str, login: Any, session: requests.Session, site: FrameServer) -> None:
    """The digest handler sends a second request by ``response.connection``, where the first was."""
    response = session.get(f"{site.url}/private/{kind}", auth=login("user", "password"))
    assert response.status_code == 200
    assert response.text.lower().startswith(kind)
    assert len(response.history) == (1 if kind == "digest" else 0)
    assert session.get(f"{site.url}/private/{kind}").reason == "Unauthorized"
    assert site.accepted == 1


def test_no_body(session: requests.Session, site: FrameServer) -> None:
    response = session.head(site.url + "/bytes/5000")
    assert response.headers["content-length"] == "5000"
    assert response.content == b""
    for status, reason in ((204, "No Content"), (304, "Not Modified")):
        response = session.get(f"{site.url}/status/{status}")
        assert (response.status_code, response.reason) == (status, reason)
        assert response.content == b""
        assert response.raw.closed
    assert site.accepted == 1
    assert not site.link.seen(Kind.RST_STREAM)


def test_statuses_without_a_phrase(session: requests.Session, site: FrameServer) -> None:
    response = session.get(site.url + "/status/599")
    assert (response.reason, response.raw.reason) == ("", "")
    with pytest.raises(requests.HTTPError, match="599 Server Error:  for url"):
        response.raise_for_status()


def test_trailers(session: requests.Session, site: FrameServer) -> None:
    response = session.get(site.url + "/trailers")
    raw: Any = response.raw
    assert response.text == "body"
    assert raw.trailers == [(b"x-checksum", b"42")]
    assert "x-checksum" not in response.headers


def test_what_requests_always_sends(session: requests.Session, site: FrameServer) -> None:
    """``Connection: keep-alive`` is in each of its requests, and has no place in HTTP/2."""
    for more in ({}, {"Connection": "close"}, {"Host": "example.test"}, {"Keep-Alive": None}):
        told = session.get(site.url + "/echo?q=%20x", headers=more).json()
        names = [name for name, _ in told["headers"]]
        assert not {"connection", "host", "transfer-encoding"} & set(names)
        assert names == [name.lower() for name in names]
        assert told["path"] == "/echo?q=%20x"
        fields = dict(told["headers"])
        expected = more.get("Host", site.url.partition("//")[2])
        assert fields[":authority"] == expected
        assert fields["user-agent"].startswith("python-requests/")
    assert site.accepted == 1


def test_headers_that_http2_cannot_have(session: requests.Session, site: FrameServer) -> None:
    """Refused before a byte is sent; the connection goes on."""
    assert session.get(site.url).ok
    with pytest.raises(requests.exceptions.InvalidHeader):
        session.get(site.url, headers={":path": "/other"})
    assert session.get(site.url, headers={"TE": "trailers"}).ok
    assert site.accepted == 1
    assert len(site.link.opened) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Keep-Alive": "timeout=5, max=100"},
        {"Proxy-Connection": "keep-alive"},
        {"Upgrade": "websocket", "Connection": "Upgrade"},
        {"TE": "gzip"},
        {"Connection": "X-ProxyHop", "X-ProxyHop": "1"},
    ],
    ids=str,
)
def test_headers_of_a_connection_are_left_out(
    session: requests.Session, site: FrameServer, headers: dict[str, str]
) -> None:
    """As they come with headers that were copied from a browser; httpx leaves them out too."""
    told = session.get(site.url + "/echo", headers=headers).json()
    names = {name for name, _ in told["headers"]}
    assert names.isdisjoint(name.lower() for name in headers)


def test_pickled_responses_and_sessions(
    session: requests.Session, site: FrameServer, ca_bundle: str
) -> None:
    """Row 50: "Pickle [...] of a used session give a working one with the same settings and no
    sockets." """
    response = session.get(site.url + "/echo")
    again = pickle.loads(pickle.dumps(response))
    assert (again.status_code, again.reason, again.content) == (200, "OK", response.content)
    assert type(again) is requests.Response
    for duplicate in (pickle.loads(pickle.dumps(session)), copy.deepcopy(session)):
        with duplicate:
            assert duplicate.get(site.url).raw.version == 20
    assert site.accepted == 3


# ---------------------------------------------------------------------------------------------
# Against others' servers

BODIES: list[Callable[[], Any]] = [
    lambda: UPLOAD,
    lambda: io.BytesIO(UPLOAD),
    lambda: (UPLOAD[at : at + 999] for at in range(0, len(UPLOAD), 999)),
]


def test_row_18_with_nginx(session: requests.Session, nginx_http2: programs.Program) -> None:
    """ "ALPN picks h2 [...] with no user code": uploads, downloads, ranges, HEAD."""
    site = f"https://127.0.0.1:{nginx_http2.ports[0]}"
    response = session.get(site)
    assert (response.raw.version, response.reason) == (20, "OK")
    assert response.text.startswith("HTTP/2.0 connection")
    url = site + "/files/ours.bin"
    for body in BODIES:
        response = session.put(url, data=body())
        assert response.status_code in (201, 204)
        assert response.content == b""
        assert session.get(url).content == UPLOAD
    assert session.head(url).headers["content-length"] == str(len(UPLOAD))
    response = session.get(url, headers={"Range": "bytes=100-199"})
    assert (response.status_code, response.reason) == (206, "Partial Content")
    assert response.content == UPLOAD[100:200]
    with session.get(site + "/files/large", stream=True) as response:
        assert b"".join(response.iter_content(None)) == programs.NGINX_FILE
    assert session.put(site + "/files/two.bin", data=bytes(2 * 2**20)).status_code == 413
    assert session.get(site + "/files/none").reason == "Not Found"


def test_row_18_with_nginx_and_threads(
    session: requests.Session, nginx_http2: programs.Program
) -> None:
    """Its connections take 8 requests at once, and end after 50 each; nobody notices, not even
    those who send what may not be repeated."""
    url = f"https://127.0.0.1:{nginx_http2.ports[0]}/"
    failures: list[object] = []

    def work(number: int) -> None:
        for turn in range(10):
            try:
                nonce = f"{number}-{turn}"
                response = session.post(url, data=b"x" * 100, headers={"X-Nonce": nonce})
                assert response.status_code == 200
                assert response.headers["x-nonce"] == nonce
                response = session.get(url + "files/large")
                assert response.content == programs.NGINX_FILE
                assert response.raw.version == 20
            except BaseException as exc:
                failures.append(exc)

    threads = [threading.Thread(target=work, args=[number]) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("name", ["hypercorn", "nghttpd"])
def test_row_18_with_others(
    name: str, session: requests.Session, request: pytest.FixtureRequest
) -> None:
    """ "ALPN picks h2 [...] with no user code": uploads that come back, on one connection."""
    if name == "hypercorn":
        program = request.getfixturevalue("hypercorn")
    else:
        program = request.getfixturevalue("start_nghttpd")(True)
    url = f"https://127.0.0.1:{program.ports[0]}/echo"
    for body in BODIES:
        response = session.post(url, data=body())
        assert (response.status_code, response.raw.version, response.reason) == (200, 20, "OK")
        assert response.content == UPLOAD
        raw: Any = response.raw
        assert raw.trailers == ([] if name == "hypercorn" else [(b"x-end", b"yes")])
    assert len(pool_of(session).connections) == 1
