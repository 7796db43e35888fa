"""`max_decoded`: a compressed body stops where it grows past the limit.

Owns: the limit for every encoding and way to read, and that a body below it is read as without.
"""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import requests
import urllib3.exceptions
from hypothesis import given
from hypothesis import strategies as st
from urllib3.response import _get_decoder

import httpcore_requests
from httpcore_requests import HTTPAdapter, Session
from httpcore_requests._decoded_limit import STEP, LimitedDecoder
from tests.support import MIB
from tests.support.codings import BODY, WAYS, compress, encode
from tests.support.servers import Peer, Serve

LIMIT = 100_000
# What reading may take beside a body of LIMIT bytes; a bomb has 64 MiB.
ALLOWED = 3 * MIB
BOMB = [bytes(MIB)] * 64
ENCODINGS = ["gzip", "deflate", "br", "zstd", "gzip, gzip", "gzip, br", "members"]


def answer(encoding: str, pieces: list[bytes]) -> Callable[[Peer], None]:
    name, data = encode(encoding, pieces)

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, data, [("Content-Encoding", name)])

    return handler


REFUSED = (requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_stops_at_the_limit(serve: Serve, encoding: str, way: str) -> None:
    server = serve(answer(encoding, BOMB))
    with Session(max_decoded=LIMIT) as session:
        response = session.get(server.url + "/big?key=secret", stream=True)
        tracemalloc.start()
        try:
            with pytest.raises(REFUSED, match=f"more than max_decoded={LIMIT} bytes") as caught:
                WAYS[way](response)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < ALLOWED
        assert "GET /big" in str(caught.value)
        assert "secret" not in str(caught.value)
        assert httpcore_requests.phase(caught.value) == "response_started"
        with pytest.raises(REFUSED, match="max_decoded"):  # and it stays so
            response.raw.read(10, decode_content=True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_body_of_the_limit_is_read_as_by_requests(serve: Serve, encoding: str, way: str) -> None:
    server = serve(answer(encoding, [BODY[:7000], BODY[7000:]]))
    with Session(max_decoded=len(BODY)) as session, requests.Session() as stock:
        ours = WAYS[way](session.get(server.url, stream=True))
        assert ours == WAYS[way](stock.get(server.url, stream=True)) == BODY
    with (
        Session(max_decoded=len(BODY) - 1) as session,
        session.get(server.url, stream=True) as response,
        pytest.raises(REFUSED, match="max_decoded"),
    ):
        WAYS[way](response)


def test_the_connection_of_a_bomb_is_not_used_again(serve: Serve) -> None:
    name, data = encode("gzip", BOMB)

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/next":
                peer.respond(200, b"next")
                continue
            # The rest of the body does not come.
            head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {name}\r\nContent-Length: {len(data)}"
            peer.send(head.encode() + b"\r\n\r\n" + data[:20_000])

    server = serve(handler)
    with Session(max_decoded=LIMIT) as session:
        with pytest.raises(requests.exceptions.ContentDecodingError, match="max_decoded"):
            session.get(server.url)
        assert session.get_adapter(server.url).pool.connections == []
        following = session.get(server.url + "/next")
        assert (following.content, following.raw.reused) == (b"next", False)


def test_a_redirect_with_a_bomb_is_followed(serve: Serve) -> None:
    name, data = encode("gzip", BOMB)

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/end":
                peer.respond(200, b"end")
            else:
                peer.respond(302, data, [("Content-Encoding", name), ("Location", "/end")])

    server = serve(handler)
    with Session(max_decoded=LIMIT) as session:
        assert session.get(server.url).content == b"end"


def test_what_is_not_decoded_is_not_counted(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            fields = [("Content-Encoding", "gzip")] if request.target == b"/gzip" else []
            peer.respond(200, data, fields)

    data = compress("gzip", [BODY])
    server = serve(handler)
    with Session(max_decoded=10) as session:
        assert session.get(server.url).content == data
        with session.get(server.url + "/gzip", stream=True) as response:
            assert response.raw.read(decode_content=False) == data


def test_codings_over_each_other_are_limited(serve: Serve) -> None:
    for count in (5, 6):
        server = serve(answer(", ".join(["gzip"] * count), [BODY]))
        with Session() as session:
            if count == 5:
                assert session.get(server.url).content == BODY
                continue
            with pytest.raises(requests.exceptions.ContentDecodingError, match="Too many content"):
                session.get(server.url)


def test_the_error_pickles(serve: Serve) -> None:
    server = serve(answer("gzip", BOMB))
    with Session(max_decoded=LIMIT) as session:
        with pytest.raises(requests.exceptions.ContentDecodingError) as caught:
            session.get(server.url)
        error = caught.value.args[0]
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


@pytest.mark.parametrize(
    ("wrong", "error"), [("1", TypeError), (True, TypeError), (1.5, TypeError), (-1, ValueError)]
)
def test_what_is_no_limit_is_refused(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_decoded"):
        HTTPAdapter(max_decoded=wrong)


def test_install_takes_it_and_adapters_keep_it() -> None:
    httpcore_requests.install(max_decoded=LIMIT)
    try:
        adapter = pickle.loads(pickle.dumps(HTTPAdapter()))
    finally:
        httpcore_requests.uninstall()
    assert adapter._settings.max_decoded == LIMIT
    assert HTTPAdapter()._settings.max_decoded is None


class TooMuch(Exception):
    pass


@given(
    st.sampled_from(ENCODINGS),
    st.lists(st.tuples(st.integers(0, 6000), st.integers(-1, 9000)), max_size=30),
    st.integers(-1, 1),
)
def test_any_reads_give_what_the_decoder_gives(
    encoding: str, reads: list[tuple[int, int]], spare: int
) -> None:
    """Whatever pieces come and are asked for: all bytes, or the error if there are more."""
    name, data = encode(encoding, [BODY[:9000], BODY[9000:]])
    decoder = LimitedDecoder(_get_decoder(name), len(BODY) + spare, TooMuch)
    given_out = b""
    try:
        for size, most in reads:
            piece, data = data[:size], data[size:]
            given_out += decoder.decompress(piece, most)
        given_out += decoder.decompress(data)
        given_out += decoder.flush()
    except TooMuch:
        assert spare < 0
        with pytest.raises(TooMuch):
            decoder.decompress(b"")
    else:
        assert spare >= 0
        assert given_out == BODY
        assert not decoder.has_unconsumed_tail


def test_a_decoder_with_more_in_store_is_asked_again() -> None:
    class Stingy:
        left = 3
        has_unconsumed_tail = True

        def decompress(self, data: bytes, max_length: int) -> bytes:
            assert max_length > STEP
            self.left -= 1
            return b"x" if self.left >= 0 else b""

    assert LimitedDecoder(Stingy(), 10, TooMuch).decompress(b"data") == b"xxx"


@pytest.mark.parametrize("encoding", ["gzip", "gzip, br"])
def test_a_decoder_is_limited_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """urllib3 before 2.8 does not note that it made the decoder, and is asked with each read."""
    made = urllib3.HTTPResponse._init_decoder

    def forgetful(self: Any) -> None:
        made(self)
        self._decoder_initialized = False

    monkeypatch.setattr(urllib3.HTTPResponse, "_init_decoder", forgetful)
    server = serve(answer(encoding, [BODY]))
    with Session(max_decoded=len(BODY)) as session:
        assert b"".join(session.get(server.url, stream=True).iter_content(1)) == BODY
        raw: Any = session.get(server.url, stream=True).raw
        for _ in range(3):
            raw.read(1, decode_content=True)
        assert isinstance(raw._decoder, LimitedDecoder)
        assert not isinstance(raw._decoder._decoder, LimitedDecoder)
