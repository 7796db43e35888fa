"""Responses that are closed, or whose connection is released, before they were read to the end.

Owns: that closing ends whatever reads on, quietly, for every framing and coding, and that releasing
the connection loses nothing. Stock requests does so too, except for chunked bodies, where its
readers fail with AttributeError. Must not know: how decoding works.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
import requests

from httpcore_requests import HTTPAdapter
from tests.support.http2 import FrameServer, ServeH2, Stream
from tests.support.servers import Peer, ScriptedServer, Serve

zstd = importlib.import_module(
    "backports.zstd" if sys.version_info < (3, 14) else "compression.zstd"
)

START = b"".join(b"%d\n" % number for number in range(5))
TEXT = START + b"".join(b"%d\n" % number for number in range(20_000))
REST = TEXT[len(START) :]


def deflated(bits: int) -> tuple[bytes, bytes]:
    coder = zlib.compressobj(wbits=bits)
    first = coder.compress(START) + coder.flush(zlib.Z_SYNC_FLUSH)
    return first, coder.compress(REST) + coder.flush()


def brotlied() -> tuple[bytes, bytes]:
    coder = brotli.Compressor()
    first = coder.process(START) + coder.flush()
    return first, coder.process(REST) + coder.finish()


def zstandard() -> tuple[bytes, bytes]:
    coder = zstd.ZstdCompressor()
    first = coder.compress(START, mode=coder.FLUSH_BLOCK)
    return first, coder.compress(REST, mode=coder.FLUSH_FRAME)


# START in a piece that can be decoded by itself, and what follows it.
CODED = {
    "identity": (START, REST),
    "gzip": deflated(31),
    "deflate": deflated(15),
    "br": brotlied(),
    "zstd": zstandard(),
}
FRAMINGS = ["length", "chunked", "close", "http2"]

Make = Callable[[str, str, bool], requests.Response]


@pytest.fixture
def respond(serve: Serve, serve_h2: ServeH2, ca_bundle: str) -> Iterator[Make]:
    """Gives a streamed response with a framing and a coding, of which the server has sent all or
    only the first part."""

    def make(framing: str, coding: str, whole: bool) -> requests.Response:
        first, rest = CODED[coding]
        data = first + rest
        part = data if whole else first
        fields = [("Content-Encoding", coding)] if coding != "identity" else []

        def handler(peer: Peer) -> None:
            assert peer.recv_request() is not None
            lines = b"".join(f"{name}: {value}\r\n".encode() for name, value in fields)
            if framing == "length":
                lines += b"Content-Length: %d\r\n" % len(data)
            elif framing == "chunked":
                lines += b"Transfer-Encoding: chunked\r\n"
            peer.send(b"HTTP/1.1 200 OK\r\n%b\r\n" % lines)
            peer.send(b"%x\r\n%b\r\n" % (len(part), part) if framing == "chunked" else part)
            if whole and framing == "chunked":
                peer.send(b"0\r\n\r\n")
            if not (whole and framing == "close"):
                peer.wait_closed()

        def on_head(stream: Stream) -> None:
            stream.head(200, [(name.lower(), value) for name, value in fields])
            stream.write(part, end=whole)

        server: ScriptedServer | FrameServer
        if framing == "http2":
            server = serve_h2(lambda link: link.serve(on_head=on_head), secure=True)
        else:
            server = serve(handler)
        server.disconnects.clear()
        return session.get(server.url, stream=True, timeout=20)

    with requests.Session() as session:
        session.verify = ca_bundle
        session.mount("http://", HTTPAdapter())
        session.mount("https://", HTTPAdapter(http2=True))
        yield make


READERS: dict[str, Callable[[requests.Response], Iterator[Any]]] = {
    "iter_content(1)": lambda response: response.iter_content(1),
    "iter_content(None)": lambda response: response.iter_content(None),
    "iter_lines": lambda response: response.iter_lines(chunk_size=1),
    "raw.stream": lambda response: response.raw.stream(3, decode_content=True),
    "undecoded": lambda response: response.raw.stream(3, decode_content=False),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_closed_in_a_loop_over_it(respond: Make, framing: str, coding: str, reader: str) -> None:
    response = respond(framing, coding, False)
    pieces = 0
    for _ in READERS[reader](response):
        pieces += 1
        if pieces == 1 + (reader != "iter_content(None)"):
            response.close()
    assert pieces == 1 + (reader != "iter_content(None)")


@pytest.mark.parametrize("part", [False, True])
@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_closed_before_its_content(respond: Make, framing: str, coding: str, part: bool) -> None:
    response = respond(framing, coding, False)
    if part:
        assert response.raw.read(1, decode_content=True) == TEXT[:1]
    response.close()
    assert response.content == b""
    assert response.text == ""


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_released_before_its_content(respond: Make, framing: str, coding: str) -> None:
    """The connection goes back when it was read, and nothing of it is lost."""
    response = respond(framing, coding, True)
    response.raw.release_conn()
    assert response.raw._connection is None
    assert response.content == TEXT


@pytest.mark.parametrize("framing", FRAMINGS)
def test_released_and_dropped(
    respond: Make, framing: str, recwarn: pytest.WarningsRecorder
) -> None:
    """Who released it has not forgotten it: no warning."""
    response = respond(framing, "identity", False)
    response.raw.release_conn()
    del response
    assert [warning for warning in recwarn if warning.category is ResourceWarning] == []
