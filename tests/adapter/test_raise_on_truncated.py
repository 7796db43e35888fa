"""`raise_on_truncated`: a compressed body that ends before its coding does is an error.

Owns: the error for every coding and way to read, what is given before it, and which bodies are
whole. Without the option, all is as in requests.
"""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3.exceptions
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.response import _get_decoder

import httpcore_requests
from httpcore.decoders import EndCheckingDecoder, with_ends
from httpcore.exceptions import IncompleteBody
from httpcore_requests import HTTPAdapter, Session
from tests.support.clients import URLLIB3
from tests.support.codings import BODY, WAYS, compress, encode, pieces_of
from tests.support.servers import Peer, Serve

# The codings, each with the Content-Encoding that it is sent with.
CODINGS = {
    "gzip": "gzip",
    "x-gzip": "x-gzip",
    "members": "gzip",
    "deflate": "deflate",
    "raw deflate": "deflate",
    "br": "br",
    "zstd": "zstd",
    "frames": "zstd",
    "gzip, br": "gzip, br",
    "zstd, gzip": "zstd, gzip",
    "deflate, deflate": "deflate, deflate",
}
# Where a second member of gzip, or a second frame, begins. No read ends there: requests would give
# the second member twice then.
HALF = 9001
# Ways of reading that give what could be decoded before they raise.
PIECEMEAL = ["iter", "iter at will", "read1", "stream"]
REFUSED = (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.ProtocolError)


def encoded(coding: str) -> bytes:
    halves = [BODY[:HALF], BODY[HALF:]]
    if coding == "raw deflate":
        made = zlib.compressobj(9, zlib.DEFLATED, -15)
        return made.compress(BODY) + made.flush()
    if coding == "frames":
        return b"".join(compress("zstd", [half]) for half in halves)
    return encode(coding.replace("x-gzip", "gzip"), halves)[1]


def answer(
    coding: str, data: bytes, framing: str = "length", fields: Any = (), status: int = 200
) -> Callable[[Peer], None]:
    head = [("Content-Encoding", coding), *fields]

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/next":
                peer.respond(200, b"next")
            else:
                body = [data[:50], data[50:]] if framing == "chunked" else data
                peer.respond(status, body, head, framing=framing)
                if framing == "close":
                    return

    return handler


def cut_in(data: bytes) -> list[bytes]:
    return [data[: len(data) // 2], data[:-1]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_that_is_cut_short_is_an_error(serve: Serve, coding: str, way: str) -> None:
    for data in cut_in(encoded(coding)):
        server = serve(answer(CODINGS[coding], data))
        with Session(raise_on_truncated=True) as session:
            response = session.get(server.url + "/cut?key=secret", stream=True)
            with pytest.raises(REFUSED, match="in the middle of its coding") as caught:
                WAYS[way](response)
            text = str(caught.value)
            assert f"ended after {len(data)} bytes, decoded to " in text
            assert f"({CODINGS[coding]})" in text
            assert "GET /cut" in text and "secret" not in text
            assert httpcore_requests.phase(caught.value) == "response_started"
            with pytest.raises(REFUSED, match="in the middle"):  # and it stays so
                response.raw.read(10, decode_content=True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("coding", CODINGS)
def test_a_whole_body_is_read_as_by_requests(serve: Serve, coding: str, way: str) -> None:
    server = serve(answer(CODINGS[coding], encoded(coding)))
    with Session(raise_on_truncated=True) as session, requests.Session() as stock:
        ours = WAYS[way](session.get(server.url, stream=True))
        assert ours == WAYS[way](stock.get(server.url, stream=True)) == BODY


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("way", ["content", "read", "read some", "read1", "stream"])
def test_framing_makes_no_difference(serve: Serve, framing: str, way: str) -> None:
    server = serve(answer("gzip", encoded("gzip"), framing))
    cut = serve(answer("gzip", encoded("gzip")[:-8], framing))
    with Session(raise_on_truncated=True) as session:
        assert WAYS[way](session.get(server.url, stream=True)) == BODY
        with pytest.raises(REFUSED, match="in the middle"):
            WAYS[way](session.get(cut.url, stream=True))


@pytest.mark.parametrize("way", PIECEMEAL)
@pytest.mark.parametrize("coding", CODINGS)
def test_what_could_be_decoded_is_given_first(serve: Serve, coding: str, way: str) -> None:
    data = cut_in(encoded(coding))[0]
    server = serve(answer(CODINGS[coding], data))
    pieces: list[bytes] = []
    with Session(raise_on_truncated=True) as session:
        response = session.get(server.url, stream=True)
        raw: Any = response.raw
        readings: dict[str, Callable[[], Iterator[bytes]]] = {
            "iter": lambda: response.iter_content(1000),
            "iter at will": lambda: response.iter_content(None),
            "read1": lambda: iter(lambda: raw.read1(1000, decode_content=True), b""),
            "stream": lambda: raw.stream(1000, decode_content=True),
        }
        with pytest.raises(REFUSED, match="in the middle") as caught:
            pieces.extend(readings[way]())
    given_out = b"".join(pieces)
    assert BODY.startswith(given_out)
    assert f"decoded to {len(given_out)}," in str(caught.value)
    decoder: Any = _get_decoder(CODINGS[coding])
    assert given_out == decoder.decompress(data)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, br"])
def test_without_the_option_it_is_short_as_in_requests(serve: Serve, coding: str) -> None:
    data = cut_in(encoded(coding))[0]
    server = serve(answer(coding, data))
    with Session() as session, requests.Session() as stock:
        short = session.get(server.url).content
        assert short == stock.get(server.url).content
        assert BODY.startswith(short) and short != BODY


def test_requests_exception_and_what_is_inside(serve: Serve) -> None:
    data = encoded("gzip")[:-8]
    server = serve(answer("gzip", data))
    with Session(raise_on_truncated=True) as session:
        with pytest.raises(requests.exceptions.ChunkedEncodingError) as caught:
            session.get(server.url)
        error = caught.value.args[0]
        assert isinstance(error, urllib3.exceptions.ProtocolError)
        cause = error.__cause__
        assert isinstance(cause, IncompleteBody)
        assert (cause.received, cause.expected) == (len(data), None)
        assert caught.value.partial == len(data)  # type: ignore[attr-defined]
        assert caught.value.response is not None and caught.value.response.status_code == 200
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


def test_the_connection_is_used_again(serve: Serve) -> None:
    server = serve(answer("br", encoded("br")[:-1]))
    with Session(raise_on_truncated=True) as session:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.get(server.url)
        following = session.get(server.url + "/next")
        raw: Any = following.raw
        assert (following.content, raw.reused) == (b"next", True)


def test_a_redirect_with_such_a_body_is_followed(serve: Serve) -> None:
    data = encoded("gzip")[:-8]
    server = serve(answer("gzip", data, fields=[("Location", "/next")], status=302))
    with Session(raise_on_truncated=True) as session:
        assert session.get(server.url).content == b"next"


def test_a_redirect_whose_body_breaks_off_is_followed(serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/next":
                peer.respond(200, b"next")
                continue
            head = b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Encoding: gzip\r\n"
            peer.send(head + b"Content-Length: 5000\r\n\r\n" + encoded("gzip")[:3000])
            return

    server = serve(handler)
    with Session(raise_on_truncated=True) as session:
        assert session.get(server.url).content == b"next"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
def test_no_body_is_whole(serve: Serve, coding: str, way: str) -> None:
    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.method == b"HEAD":
                head = (
                    f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 99\r\n\r\n"
                )
                peer.send(head.encode())
            else:
                status = int(request.path.strip("/"))
                peer.respond(status, b"", [("Content-Encoding", coding)])

    server = serve(handler)
    with Session(raise_on_truncated=True) as session:
        for method, path in [("GET", "/200"), ("GET", "/204"), ("GET", "/304"), ("HEAD", "/200")]:
            response = session.request(method, server.url + path, stream=True)
            assert WAYS[way](response) == b""


@pytest.mark.parametrize(
    "garbage", [b"\0", b"\n", b"\0" * 512, b"\r\n", b"garbage", b"\x1e\x8b", BODY]
)
@pytest.mark.parametrize("coding", ["gzip", "members", "deflate", "raw deflate"])
@pytest.mark.parametrize("checked", [False, True])
def test_garbage_behind_the_end_is_passed_over_as_by_requests(
    serve: Serve, checked: bool, coding: str, garbage: bytes
) -> None:
    server = serve(answer(CODINGS[coding], encoded(coding) + garbage))
    with Session(raise_on_truncated=checked) as session, requests.Session() as stock:
        for way in WAYS.values():
            assert way(session.get(server.url, stream=True)) == BODY
            # The stock one fails with some reads where urllib3 does not look for deflate's end.
            if "deflate" not in coding or URLLIB3 >= (2, 8):
                assert way(stock.get(server.url, stream=True)) == BODY


@pytest.mark.parametrize("coding", ["deflate", "raw deflate"])
def test_nothing_is_kept_of_garbage_behind_deflate(coding: str) -> None:
    """zlib keeps it all, and copies it with each further read."""
    decoder = with_ends(_get_decoder("deflate"))
    garbage = b"garbage" * 1000
    assert decoder.decompress(encoded(coding) + garbage) == BODY
    assert [decoder.decompress(garbage, 10) for _ in range(3)] == [b""] * 3
    assert (decoder.has_unconsumed_tail, decoder.flush()) == (False, b"")
    assert decoder._obj.unused_data == garbage


@pytest.mark.parametrize("begun", [b"\x1f", b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0"])
def test_a_further_member_that_has_begun_must_end(serve: Serve, begun: bytes) -> None:
    server = serve(answer("gzip", encoded("gzip") + begun))
    with Session(raise_on_truncated=True) as session:
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="in the middle"):
            session.get(server.url)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("coding", ["gzip", "deflate, gzip"])
def test_a_further_member_that_is_broken(serve: Serve, coding: str, way: str) -> None:
    """To urllib3 it is garbage, which is passed over."""
    whole = compress("gzip", [BODY])
    data = encoded(coding.replace("deflate, gzip", "deflate"))
    first, second = (data, whole) if coding == "gzip" else (compress("gzip", [data]), whole)
    for broken in (second[:-8] + b"12345678", second[:10] + b"\xff" * 1000):
        server = serve(answer(coding, first + broken))
        with Session(raise_on_truncated=True) as session:
            with pytest.raises(REFUSED, match="in the middle of its coding"):
                WAYS[way](session.get(server.url, stream=True))


def test_a_broken_coding_is_the_error_that_it_was(serve: Serve) -> None:
    server = serve(answer("gzip", b"no gzip at all"))
    with Session(raise_on_truncated=True) as session:
        with pytest.raises(requests.exceptions.ContentDecodingError, match="header check"):
            session.get(server.url)


def test_what_is_not_decoded_may_end_anywhere(serve: Serve) -> None:
    data = encoded("gzip")[:-8]
    server = serve(answer("gzip", data))
    with Session(raise_on_truncated=True) as session:
        with session.get(server.url, stream=True) as response:
            assert response.raw.read(decode_content=False) == data
        with session.get(server.url, stream=True) as response:
            assert response.raw.read(10, decode_content=True) == BODY[:10]
            response.raw.drain_conn()
        with session.get(server.url, stream=True) as response:
            assert next(response.iter_content(10)) == BODY[:10]


def test_a_body_that_breaks_off_is_the_error_that_it_was(serve: Serve) -> None:
    data = encoded("gzip")

    def handler(peer: Peer) -> None:
        if peer.recv_request() is not None:
            length = ("Content-Length", str(len(data)))
            peer.respond(200, data[:-9], [("Content-Encoding", "gzip"), length], framing="close")

    server = serve(handler)
    with Session(raise_on_truncated=True) as session:
        with pytest.raises(
            requests.exceptions.ChunkedEncodingError, match=r"after \d+ of \d+ body bytes"
        ):
            session.get(server.url)


@pytest.mark.parametrize("way", WAYS)
def test_both_limits_at_once(serve: Serve, way: str) -> None:
    data = encoded("gzip, br")
    server = serve(answer("gzip, br", data))
    cut = serve(answer("gzip, br", data[:-3]))
    with Session(raise_on_truncated=True, max_decoded=len(BODY)) as session:
        assert WAYS[way](session.get(server.url, stream=True)) == BODY
        with pytest.raises(REFUSED, match="in the middle"):
            WAYS[way](session.get(cut.url, stream=True))
    with Session(raise_on_truncated=True, max_decoded=len(BODY) // 3) as session:
        with pytest.raises(
            (requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError)
        ):
            WAYS[way](session.get(cut.url, stream=True))


@pytest.mark.parametrize("way", ["content", "iter", "read", "read some", "read1", "stream"])
def test_a_file_that_was_put_in_place_of_ours(serve: Serve, way: str) -> None:
    """CacheControl and requests-cache do that."""
    data = encoded("gzip")
    server = serve(answer("gzip", data))
    with Session(raise_on_truncated=True) as session:
        for body in (data, data[:-8]):
            response = session.get(server.url, stream=True)
            assert response.raw.read(decode_content=False) == data
            response.raw._fp = io.BytesIO(body)
            response.raw.length_remaining = len(body)
            if body == data:
                assert WAYS[way](response) == BODY
            else:
                with pytest.raises(REFUSED, match="in the middle"):
                    WAYS[way](response)


def test_install_takes_it_and_adapters_keep_it() -> None:
    httpcore_requests.install(raise_on_truncated=True)
    try:
        adapter = pickle.loads(pickle.dumps(HTTPAdapter()))
    finally:
        httpcore_requests.uninstall()
    fresh: Any = HTTPAdapter()
    assert adapter._settings.raise_on_truncated is True
    assert fresh._settings.raise_on_truncated is False


class CutShort(Exception):
    pass


def fail(decoded: int) -> Exception:
    return CutShort(decoded)


@given(
    st.sampled_from(sorted(CODINGS)),
    st.integers(0, 60_000),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(-1, 9000)), max_size=30),
    st.integers(1, 9000) | st.just(-1),
)
@example("deflate", 0, [], 1)
@example("raw deflate", 0, [(1, 1)], 1)
def test_any_reads_of_any_part(
    coding: str, missing: int, reads: list[tuple[int, int]], last: int
) -> None:
    """All that can be decoded is given; then the end, of a whole or empty body, or the error."""
    data = encoded(coding)
    part = data[: max(0, len(data) - missing)]
    rest, ended = part, False
    decoder = EndCheckingDecoder(_get_decoder(CODINGS[coding]), lambda _: ended, fail)
    given_out = b""
    for size, most in reads:
        given_out += decoder.decompress(rest[:size], most)
        rest = rest[size:]
    given_out += decoder.decompress(rest, last)
    ended, short = True, None
    try:
        while decoder.has_unconsumed_tail:
            given_out += decoder.decompress(b"", last)
        given_out += decoder.flush()
    except CutShort as exc:
        short = exc
    wholes = {b"": b"", data: BODY}
    if coding in ("members", "frames"):
        first = compress("gzip" if coding == "members" else "zstd", [BODY[:HALF]])
        wholes[first] = BODY[:HALF]
    if part in wholes:
        assert (given_out, short) == (wholes[part], None)
        return
    assert short is not None
    assert short.args == (len(given_out),)
    assert BODY.startswith(given_out)
    with pytest.raises(CutShort):
        decoder.decompress(b"")


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip", "deflate, gzip"])
@pytest.mark.parametrize("size", [1000, 3000, 9000])
def test_reads_that_end_with_a_member(serve: Serve, coding: str, size: int, checked: bool) -> None:
    """urllib3 2.8 gives the second one twice then."""
    data = BODY if coding == "gzip" else compress(coding.partition(",")[0], [BODY])
    members = b"".join(compress("gzip", [part]) for part in (data[:9000], data[9000:]))
    server = serve(answer(coding, members))
    with Session(raise_on_truncated=checked) as session:
        raw: Any = session.get(server.url, stream=True).raw
        assert pieces_of(lambda: raw.read(size, decode_content=True)) == BODY
        assert b"".join(session.get(server.url, stream=True).iter_content(size)) == BODY


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate"])
def test_reads_of_a_byte(coding: str) -> None:
    """zlib has bytes left for which it needs no more input, and urllib3's deflate does not ask."""
    ended = False
    decoder = EndCheckingDecoder(_get_decoder(CODINGS[coding]), lambda _: ended, fail)
    got = decoder.decompress(encoded(coding), 1)
    ended = True
    got += pieces_of(lambda: decoder.decompress(b"", 1))
    assert got == BODY
