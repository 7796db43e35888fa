"""`response.raw` as libraries reach into it.

Owns: urllib3's and http.client's file and header surface on our responses.
"""

from __future__ import annotations

import gzip
import io
import shutil
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import requests
import urllib3
import urllib3.exceptions
from urllib3.response import GzipDecoder

import httpcore_requests
from httpcore_requests import HTTPAdapter
from tests.support.servers import LocalServer, Peer, Serve, pattern

FRAMINGS = ["/bytes/100000", "/chunked/100000", "/close/100000"]


@pytest.fixture
def open_raw(session: requests.Session, server: LocalServer) -> Callable[[str], Any]:
    return lambda path: session.get(server.url + path, stream=True).raw


def test_is_urllib3s_class(open_raw: Callable[[str], Any]) -> None:
    raw = open_raw("/bytes/10")
    assert isinstance(raw, urllib3.HTTPResponse)
    assert isinstance(raw, io.IOBase)
    assert (raw.status, raw.reason, raw.version, raw.version_string) == (200, "OK", 11, "HTTP/1.1")
    assert raw.readable()
    assert raw.reused is False
    assert raw.retries.history == ()
    assert raw.read() == pattern(10)


@pytest.mark.parametrize("path", FRAMINGS)
def test_ways_to_read(open_raw: Callable[[str], Any], path: str) -> None:
    whole = pattern(100_000)
    assert open_raw(path).read() == whole
    assert open_raw(path).data == whole
    assert b"".join(open_raw(path).stream(777)) == whole
    assert b"".join(open_raw(path).stream(None)) == whole
    raw = open_raw(path)
    assert raw.read(70_000) == whole[:70_000]
    assert raw.tell() == 70_000
    assert raw.read(70_000) == whole[70_000:]
    assert raw.read(1) == b""
    assert raw.closed
    assert raw.isclosed()
    raw = open_raw(path)
    pieces = list(iter(lambda: raw.read1(50_000), b""))
    assert b"".join(pieces) == whole
    copied = io.BytesIO()
    shutil.copyfileobj(open_raw(path), copied)
    assert copied.getvalue() == whole
    raw = open_raw(path)
    raw.auto_close = False
    assert io.BufferedReader(raw).read() == whole


@pytest.mark.parametrize("path", ["/gzip/5000", "/deflate/5000", "/chunked/5000", "/bytes/5000"])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_reading_again_when_nothing_is_left(
    session: requests.Session, server: LocalServer, method: str, path: str
) -> None:
    """Each way gives nothing, as urllib3's do; none minds that the body was decoded before."""
    raw = session.request(method, server.url + path).raw
    if "chunked" in path:
        assert list(raw.read_chunked()) == []
    assert list(raw.stream()) == list(raw.stream(10, decode_content=True)) == list(raw) == []
    if method == "HEAD":
        assert raw.read1() == raw.read1(5) == raw.read() == b""
        whole = session.head(server.url + path, stream=True).raw
        assert b"".join(whole.stream(7, decode_content=True)) == b"" == whole.read1()
    assert raw.read(decode_content=True) == b""


def test_lengths_and_flags(open_raw: Callable[[str], Any]) -> None:
    raw = open_raw("/bytes/100000")
    assert (raw.length_remaining, raw.chunked) == (100_000, False)
    raw.read(40_000)
    assert (raw.length_remaining, raw.closed) == (60_000, False)
    raw.read(60_000)
    assert (raw.length_remaining, raw.closed) == (0, True)
    raw = open_raw("/chunked/1000")
    assert (raw.length_remaining, raw.chunked, raw.supports_chunked_reads()) == (None, True, True)
    assert b"".join(raw.read_chunked(100)) == pattern(1000)
    with pytest.raises(urllib3.exceptions.ResponseNotChunked):
        list(open_raw("/bytes/1").read_chunked())


def test_bytes_as_they_came_after_decoded_ones(open_raw: Callable[[str], Any]) -> None:
    """No way to read gives the two in one body: they would be taken for one content."""
    for read in ("read", "readinto", "read1", "stream"):
        raw = open_raw("/gzip/1000")
        assert len(raw.read(1, decode_content=True)) == 1
        raw.decode_content = False
        with pytest.raises(RuntimeError, match="not supported after"):
            list(raw.stream()) if read == "stream" else getattr(raw, read)(
                bytearray(9) if read == "readinto" else 9
            )


@pytest.mark.parametrize("codings", ["xchunked", "chunked;q=1", "unchunked"])
def test_what_is_not_chunked(session: requests.Session, serve: Serve, codings: str) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {codings}\r\n\r\nbody".encode())

    raw = session.get(serve(handler).url, stream=True).raw
    assert (raw.chunked, raw._original_response.chunked) == (False, False)
    with pytest.raises(urllib3.exceptions.ResponseNotChunked):
        list(raw.read_chunked())
    assert raw.read() == b"body"


def test_lines(session: requests.Session, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.respond(200, [b"one\ntw", b"o\n", b"three"])

    raw = session.get(serve(handler).url, stream=True).raw
    assert list(raw) == [b"one\n", b"two\n", b"three"]


@pytest.mark.parametrize("amount", [None, 1000])
def test_decoding(open_raw: Callable[[str], Any], amount: int | None) -> None:
    raw = open_raw("/gzip/100000")
    assert gzip.decompress(raw.read()) == pattern(100_000)
    raw = open_raw("/gzip/100000")
    pieces = list(iter(lambda: raw.read(amount, decode_content=True), b""))
    assert b"".join(pieces) == pattern(100_000)
    raw = open_raw("/gzip/100000")
    raw.decode_content = True
    assert raw.read() == pattern(100_000)
    raw = open_raw("/gzip/100000")
    raw.decode_content = True
    buffer = bytearray(100)
    assert raw.readinto(buffer) == 100
    assert buffer == pattern(100)
    with pytest.raises(RuntimeError, match="decode_content=False"):
        raw.read(decode_content=False)


def test_partial_read_then_content_loses_no_byte(
    session: requests.Session, server: LocalServer
) -> None:
    for path in ("/gzip/100000", "/chunked/100000", "/bytes/100000"):
        response = session.get(server.url + path, stream=True)
        start = response.raw.read(1234, decode_content=True)
        assert start + response.content == pattern(100_000)


def test_decoder_may_be_replaced(open_raw: Callable[[str], Any]) -> None:
    wire: list[bytes] = []

    class Watching(GzipDecoder):
        def decompress(self, data: bytes, max_length: int = -1) -> bytes:
            wire.append(data)
            return super().decompress(data, max_length)

    raw = open_raw("/gzip/1000")
    raw._decoder = Watching()
    assert b"".join(raw.stream(100, decode_content=True)) == pattern(1000)
    assert gzip.decompress(b"".join(wire)) == pattern(1000)


def test_fp_may_be_replaced(session: requests.Session, server: LocalServer) -> None:
    class Tee:
        """What CacheControl puts in its place."""

        def __init__(self, fp: Any) -> None:
            self._under = fp
            self.seen = b""

        def __getattr__(self, name: str) -> Any:
            return getattr(self._under, name)

        def read(self, amt: int | None = None) -> bytes:
            data: bytes = self._under.read(amt)
            self.seen += data
            return data

    for path in FRAMINGS:
        response = session.get(server.url + path, stream=True)
        assert response.raw._fp.fp is not None
        tee = response.raw._fp = Tee(response.raw._fp)
        assert response.content == pattern(100_000) == tee.seen


def test_original_response(open_raw: Callable[[str], Any]) -> None:
    raw = open_raw("/headers?X-One=1&X-One=2")
    original = raw._original_response
    assert (original._method, original.version, original.status) == ("GET", 11, 200)
    assert original.msg.get_all("x-one") == ["1", "2"]
    assert ("X-One", "1") in original.msg._headers
    assert original.headers is original.msg
    assert original.getheader("X-One") == "1, 2"
    assert not original.isclosed()
    raw.read()
    assert original.isclosed()


def test_header_surface(open_raw: Callable[[str], Any]) -> None:
    raw = open_raw("/headers?X-One=1&x-one=2&X-Two=a")
    assert raw.headers["X-ONE"] == "1, 2"
    assert raw.headers.getlist("x-one") == ["1", "2"]
    assert raw.info() is raw.headers
    assert "x-two" in raw.headers
    raw.read()


def test_sockets(session: requests.Session, tls_server: LocalServer, ca_bundle: str) -> None:
    raw = session.get(tls_server.url + "/bytes/3000000", stream=True, verify=ca_bundle).raw
    assert isinstance(raw.connection.sock, ssl.SSLSocket)
    assert raw.connection.sock.getpeercert(True)
    assert raw._connection.sock.getpeername()[1] == tls_server.port
    assert raw.fileno() == raw.connection.sock.fileno()
    assert raw.network_stream.get_extra_info("socket") is raw.connection.sock
    raw.close()
    assert raw.connection is None
    with pytest.raises(OSError, match="no socket"):
        raw.fileno()
    with pytest.raises(ValueError, match="closed"):
        raw.shutdown()
    raw = session.get(tls_server.url + "/bytes/10", stream=True, verify=ca_bundle).raw
    raw.read()
    with pytest.raises(RuntimeError, match="released"):
        raw.shutdown()


def test_shutdown_ends_a_read(open_raw: Callable[[str], Any], serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.")
        peer.wait_closed()

    with httpcore_requests.Session() as session:
        raw = session.get(serve(handler).url, stream=True).raw
        assert raw.read(5) == b"half."
        raw.shutdown()
        with pytest.raises(urllib3.exceptions.ProtocolError):
            raw.read(5)


def test_drain_release_and_close_keep_or_drop_the_connection(
    session: requests.Session, server: LocalServer
) -> None:
    def opened(path: str) -> Any:
        return session.get(server.url + path, stream=True).raw

    opened("/bytes/2000000").drain_conn()
    raw = opened("/bytes/10")
    assert raw.reused
    raw.release_conn()
    raw = opened("/bytes/10")
    assert raw.reused
    raw.close()
    raw.close()
    assert raw.closed
    raw = opened("/bytes/2000000")
    assert raw.reused
    raw.close()
    assert raw.read() == b""
    raw = opened("/bytes/10")
    assert not raw.reused
    raw.read()


def test_trailers(session: requests.Session, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.send(b"2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n")

    response = session.get(serve(handler).url)
    assert response.raw.trailers == [(b"X-Sum", b"7")]


def test_http_10(session: requests.Session, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.0 200\r\n\r\nold")

    response = session.get(serve(handler).url)
    assert (response.raw.version, response.raw.version_string) == (10, "HTTP/1.0")
    assert (response.text, response.reason) == ("old", "")


def test_content_holds_the_body_once(session: requests.Session, server: LocalServer) -> None:
    response = session.get(server.url + "/bytes/1000", stream=True)
    response.iter_content = lambda *args: iter([b"mine"])  # type: ignore[method-assign,assignment]
    assert response.content == b"mine"

    class Adapter(HTTPAdapter):
        def build_response(self, req: Any, resp: Any) -> requests.Response:
            built = super().build_response(req, resp)
            built.reason = "mine"
            return built

    session.mount("http://", Adapter())
    response = session.get(server.url + "/bytes/1000")
    assert (response.reason, response.content) == ("mine", pattern(1000))
