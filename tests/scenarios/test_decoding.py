"""Row 26: small bodies that unpack to large ones."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import requests

from tests.support import MIB
from tests.support.codings import compress
from tests.support.servers import Peer, Serve, pattern

# Bytes of zeros in a bomb; reading any of it may take a small part of this.
UNPACKED = 128 * MIB
ALLOWED = 8 * MIB
ENCODINGS = ["gzip", "deflate", "br", "zstd"]
# Encodings that may have been put one on the other.
LONGEST_CHAIN = 5


@cache
def bomb(encoding: str) -> bytes:
    return compress(encoding, [bytes(MIB)] * (UNPACKED // MIB))


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < ALLOWED, f"{peak / MIB:.1f} MiB"


def read_some(response: requests.Response) -> None:
    assert response.raw.read(1024, decode_content=True) == bytes(1024)


def iterate(response: requests.Response) -> None:
    assert next(response.iter_content(1024)) == bytes(1024)


def leave(response: requests.Response) -> None:
    """Read nothing."""


def drain(response: requests.Response) -> None:
    response.raw.drain_conn()


@pytest.mark.parametrize("use", [read_some, iterate, leave, drain])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_row_26_a_bomb_takes_little_memory(
    serve: Serve, session: requests.Session, encoding: str, use: Callable[[Any], None]
) -> None:
    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, data, [("Content-Encoding", encoding)])

    data = bomb(encoding)
    assert len(data) < UNPACKED / 50
    server = serve(handler)
    with little_memory():
        for _ in range(2):
            with session.get(server.url, stream=True) as response:
                use(response)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_row_26_a_hook_may_close_a_redirect_before_requests_unpacks_it(
    serve: Serve, session: requests.Session, encoding: str
) -> None:
    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/end":
                peer.respond(200, b"end")
            else:
                fields = [("Content-Encoding", encoding), ("Location", "/end")]
                peer.respond(302, bomb(encoding), fields)

    def close_redirects(response: requests.Response, **keywords: object) -> None:
        if response.is_redirect:
            response.close()

    bomb(encoding)
    server = serve(handler)
    session.hooks["response"].append(close_redirects)
    with little_memory():
        response = session.get(server.url)
        assert (response.content, len(response.history)) == (b"end", 1)
        assert response.history[0].content == b""


@pytest.mark.parametrize("links", [LONGEST_CHAIN, LONGEST_CHAIN + 1])
def test_row_26_long_chains_of_encodings_are_refused(
    serve: Serve, session: requests.Session, links: int
) -> None:
    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, data, [("Content-Encoding", ", ".join(["gzip"] * links))])

    data = b"hello"
    for _ in range(links):
        data = compress("gzip", [data])
    server = serve(handler)
    if links <= LONGEST_CHAIN:
        assert session.get(server.url).content == b"hello"
    else:
        with pytest.raises(requests.exceptions.ContentDecodingError, match="encodings"):
            session.get(server.url)


@pytest.mark.parametrize("amount", [1, 1000, 40_000])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_row_26_what_was_read_in_part_is_not_lost(
    serve: Serve, session: requests.Session, encoding: str, amount: int
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.respond(200, compress(encoding, [body]), [("Content-Encoding", encoding)])

    body = pattern(100_000)
    with session.get(serve(handler).url, stream=True) as response:
        begun = response.raw.read(amount, decode_content=True)
        assert begun + response.content == body
