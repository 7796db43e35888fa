"""HTTP/2 that is none: floods, broken frames, and fields that cannot be sent.

Owns: what a server may not do to a connection, or to a stream of it, and what a caller may not ask
for. Must not know: private parts of the packages.
Sources: RFC 9113; for the floods CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316.

Requests that are to fail are POST: what is safe to send again is, on a connection of its own.
"""

from __future__ import annotations

import itertools
import ssl
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import httpcore
from tests.support.http2 import (
    END_HEADERS,
    END_STREAM,
    Code,
    Kind,
    Link,
    ServeH2,
    Stream,
    encode_frame,
    routes,
)
from tests.support.over_http2 import (
    MIB,
    PATIENCE,
    STREAM_WINDOW,
    TIMEOUTS,
    answer,
    begin,
    get,
    header,
    hold,
    post,
    wait_opened,
    wait_readable,
)
from tests.support.servers import pattern
from tests.support.versions import needs

pytestmark = pytest.mark.no_cover


@pytest.fixture
def pool(client_tls_context: ssl.SSLContext) -> Iterator[httpcore.ConnectionPool]:
    with httpcore.ConnectionPool(client_tls_context, http1=False, http2=True) as made:
        yield made


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that are to wait."""
    with ThreadPoolExecutor(20) as executor:
        yield executor


# ---------------------------------------------------------------------------------------------
# Bad input, from the server: floods


def frames(kind: int, payload: bytes = b"", flags: int = 0, stream: bool = True) -> Any:
    """That frame without end, a hundred at a time."""

    def make(link: Link, stream_id: int) -> Iterator[bytes]:
        return itertools.repeat(
            encode_frame(kind, payload, flags, stream_id if stream else 0) * 100
        )

    return make


def headers_then_continuation(payload: bytes) -> Callable[[Link, int], Iterator[bytes]]:
    def make(link: Link, stream_id: int) -> Iterator[bytes]:
        yield encode_frame(Kind.HEADERS, link.pack([(":status", "200")]), 0, stream_id)
        while True:
            yield encode_frame(Kind.CONTINUATION, payload, 0, stream_id)

    return make


def interim_answers(link: Link, stream_id: int) -> Iterator[bytes]:
    first, later = (link.pack([(":status", "103"), ("link", "</a.css>")]) for _ in range(2))
    yield encode_frame(Kind.HEADERS, first, END_HEADERS, stream_id)
    # Out of the table now, so it stays the same.
    yield from itertools.repeat(encode_frame(Kind.HEADERS, later, END_HEADERS, stream_id) * 100)


def numbered(make: Callable[[int], bytes], start: int) -> Iterator[bytes]:
    """Frames of ever new streams, a hundred at a time."""
    for first in itertools.count(start, 200):
        yield b"".join(map(make, range(first, first + 200, 2)))


def headers_of_many_streams(link: Link, stream_id: int) -> Iterator[bytes]:
    """Of streams that the client has not opened."""
    block = link.pack([(":status", "200")])
    flags = END_HEADERS | END_STREAM
    return numbered(lambda n: encode_frame(Kind.HEADERS, block, flags, n), stream_id + 2)


def pushed_streams(link: Link, stream_id: int) -> Iterator[bytes]:
    fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")]

    def promise(number: int, block: bytes) -> bytes:
        payload = struct.pack(">L", number) + block
        return encode_frame(Kind.PUSH_PROMISE, payload, END_HEADERS, stream_id)

    yield promise(2, link.pack(fields))
    later = link.pack(fields)  # out of the table, so it stays the same
    yield from numbered(lambda n: promise(n, later), 4)


def head_then(then: Callable[[Link, int], Iterator[bytes]]) -> Any:
    def make(link: Link, stream_id: int) -> Iterator[bytes]:
        yield encode_frame(Kind.HEADERS, link.pack([(":status", "200")]), END_HEADERS, stream_id)
        yield from then(link, stream_id)

    return make


def done_then(then: Callable[[Link, int], Iterator[bytes]]) -> Any:
    """After the end of the stream."""

    def make(link: Link, stream_id: int) -> Iterator[bytes]:
        yield encode_frame(Kind.RST_STREAM, struct.pack(">L", Code.CANCEL), 0, stream_id)
        yield from then(link, stream_id)

    return make


def large_fields(link: Link, stream_id: int) -> Iterator[bytes]:
    """One field in the table, named again and again: 16 kB for 16 MB (an "HPACK bomb")."""
    yield encode_frame(
        Kind.HEADERS, link.pack([(":status", "200"), ("x", "v" * 3000)]), 0, stream_id
    )
    while True:
        yield encode_frame(Kind.CONTINUATION, b"\xbe" * 16000, 0, stream_id)


# Pieces of a flood, of one or a hundred frames each, after which the server gives up: ten times as
# many as the kernel's buffers hold.
MAX_PIECES = 1_000_000
WINDOW = struct.pack(">L", 1)
SETTING = struct.pack(">HL", 4, 70_000)
FLOODS: dict[str, Callable[[Link, int], Iterator[bytes]]] = {
    "interim HEADERS": interim_answers,
    "HEADERS of other streams": headers_of_many_streams,
    "PUSH_PROMISE": pushed_streams,
    "CONTINUATION": headers_then_continuation(b"\x00\x01a" + b"\x7f\x80\x01" + b"v" * 255),
    "empty CONTINUATION": headers_then_continuation(b""),
    "CONTINUATION from the table": large_fields,
    "SETTINGS": frames(Kind.SETTINGS, SETTING, stream=False),
    "empty SETTINGS": frames(Kind.SETTINGS, stream=False),
    "PING": frames(Kind.PING, b"12345678", stream=False),
    "unasked PING acknowledgements": frames(Kind.PING, b"12345678", 1, stream=False),
    "PRIORITY": frames(Kind.PRIORITY, bytes(5)),
    "RST_STREAM": frames(Kind.RST_STREAM, struct.pack(">L", 8)),
    "WINDOW_UPDATE": frames(Kind.WINDOW_UPDATE, WINDOW),
    "WINDOW_UPDATE of the connection": frames(Kind.WINDOW_UPDATE, WINDOW, stream=False),
    "GOAWAY": frames(Kind.GOAWAY, struct.pack(">LL", 2**31 - 1, 0), stream=False),
    "frames of unknown type": frames(0xBE, b"what is this", stream=False),
    "empty DATA": head_then(frames(Kind.DATA)),
    "empty padded DATA": head_then(frames(Kind.DATA, b"\x03\0\0\0", 0x8)),
    "HEADERS after the end": done_then(interim_answers),
    "RST_STREAM after the end": done_then(frames(Kind.RST_STREAM, struct.pack(">L", 8))),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_the_connection(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any, name: str
) -> None:
    """ "a HEADERS flood, SETTINGS flood, CONTINUATION flood, window overflow or RST flood ends the
    connection with a clear `RemoteProtocolError`; nothing grows without bound" """
    sent: list[int] = []

    def script(link: Link) -> None:
        if link.number > 1:
            return link.serve()
        link.serve(hold, until=lambda: len(link.opened) == 2)
        sent.append(link.flood(itertools.islice(FLOODS[name](link, 3), MAX_PIECES)))
        return link.run()

    server = serve_h2(script)
    jobs = [threads.submit(post, pool, server, "/hold")]
    wait_opened(server, 1)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        jobs.append(threads.submit(post, pool, server, "/hold"))
        for job in jobs:
            with pytest.raises(httpcore.RemoteProtocolError) as caught:
                job.result(PATIENCE)
            assert len(str(caught.value)) > 20
        assert server.wait_for(lambda: server.open == 0, PATIENCE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The client closed long before that, and most of what was sent is in the kernel's buffers.
    assert 0 < sent[0] < MAX_PIECES
    assert peak - before < 8 * MIB
    assert pool.stats()["connections"] == 0
    assert header(get(pool, server), b"x-connection") == b"2"


@pytest.mark.parametrize("name", ["SETTINGS", "PING", "frames of unknown type", "WINDOW_UPDATE"])
def test_a_flood_without_a_request(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, name: str
) -> None:
    """Nobody reads then; the next request does not pay for it."""
    waiting = threading.Event()

    def script(link: Link) -> None:
        if link.number > 1:
            return link.serve()
        link.serve(until=lambda: link.opened and link.open == 0)
        link.later(0, waiting.set)
        link.flood(itertools.islice(FLOODS[name](link, 1), 5000))
        return link.run()

    server = serve_h2(script)
    response = get(pool, server)
    assert waiting.wait(PATIENCE)
    stream = response.extensions["network_stream"]
    if stream.get_extra_info("socket").fileno() >= 0:  # else it came with the response
        wait_readable(stream)
    assert get(pool, server).status == 200


def test_a_server_that_does_not_read_our_answers(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool
) -> None:
    """PINGs that it wants answered, slowly enough, without ever reading an answer."""

    def script(link: Link) -> None:
        link.serve(hold, until=lambda: link.opened)
        link.reading = False
        pings = encode_frame(Kind.PING, b"12345678") * 10
        link.flood(pings for _ in range(1_000_000))

    server = serve_h2(script)
    with pytest.raises((httpcore.RemoteProtocolError, httpcore.NetworkError)):
        post(pool, server, "/hold")
    assert pool.stats()["connections"] == 0


def hints(stream: Stream) -> None:
    stream.link.headers(stream.id, [(":status", "103"), ("link", "</a.css>; rel=preload")])
    routes(stream)


def windows(stream: Stream) -> None:
    """As servers say when they have taken a body, of a stream or of the connection."""
    stream.link.window_update(stream.id, 1000)
    stream.link.window_update(0, 1000)
    routes(stream)


def resets(stream: Stream) -> None:
    """As servers do that want no more of the body (RFC 9113 section 8.1)."""
    stream.head()
    stream.link.data(stream.id, b"hello over HTTP/2\n", end=True)
    stream.link.reset(stream.id, Code.NO_ERROR)


def empty(stream: Stream) -> None:
    stream.head()
    stream.link.data(stream.id)
    stream.link.data(stream.id, b"hello over HTTP/2\n")
    stream.link.data(stream.id, end=True)


@pytest.mark.parametrize("respond", [hints, windows, resets, empty])
def test_a_busy_connection_is_no_flood(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any, respond: Any
) -> None:
    """Frames that carry nothing belong to good responses too: thousands of them are not a flood
    when there are as many requests."""
    server = serve_h2(lambda link: link.serve(respond))

    def work(_: int) -> None:
        for _ in range(150):
            assert post(pool, server, "/").content == b"hello over HTTP/2\n"

    list(threads.map(work, range(10)))
    assert server.accepted == 1


# ---------------------------------------------------------------------------------------------
# Bad input, from the server: single frames


def send(*sent: bytes) -> Callable[[Stream], None]:
    return lambda stream: [stream.link.send(data) for data in sent] and None


def send_frame(*arguments: Any) -> Callable[[Stream], None]:
    return send(encode_frame(*arguments))


def overflow(stream: Stream) -> None:
    """One byte more than the client allows; it reads nothing."""
    stream.head()
    for _ in range(STREAM_WINDOW // 16384):
        stream.link.data(stream.id, bytes(16384))
    stream.link.data(stream.id, b"x")


BAD_FRAMES: dict[str, Callable[[Stream], Any]] = {
    "SETTINGS of 5 bytes": send_frame(Kind.SETTINGS, bytes(5)),
    "SETTINGS on a stream": send_frame(Kind.SETTINGS, b"", 0, 1),
    "SETTINGS acknowledged with a payload": send_frame(Kind.SETTINGS, bytes(6), 1),
    "SETTINGS with a window of 2**31": send_frame(Kind.SETTINGS, struct.pack(">HL", 4, 2**31)),
    "SETTINGS with frames of 100 bytes": send_frame(Kind.SETTINGS, struct.pack(">HL", 5, 100)),
    "SETTINGS that enable push": send_frame(Kind.SETTINGS, struct.pack(">HL", 2, 1)),
    "PING of 7 bytes": send_frame(Kind.PING, bytes(7)),
    "PING on a stream": send_frame(Kind.PING, bytes(8), 0, 1),
    "WINDOW_UPDATE of nothing": send_frame(Kind.WINDOW_UPDATE, bytes(4)),
    "WINDOW_UPDATE of nothing for a stream": send_frame(Kind.WINDOW_UPDATE, bytes(4), 0, 1),
    "WINDOW_UPDATE past the largest": send_frame(Kind.WINDOW_UPDATE, b"\x7f\xff\xff\xff"),
    "WINDOW_UPDATE of 3 bytes": send_frame(Kind.WINDOW_UPDATE, bytes(3)),
    "WINDOW_UPDATE of an idle stream": send_frame(Kind.WINDOW_UPDATE, WINDOW, 0, 99),
    "RST_STREAM of 3 bytes": send_frame(Kind.RST_STREAM, bytes(3), 0, 1),
    "RST_STREAM of stream 0": send_frame(Kind.RST_STREAM, bytes(4)),
    "DATA on stream 0": send_frame(Kind.DATA, b"x"),
    "DATA on an idle stream": send_frame(Kind.DATA, b"x", 0, 99),
    "more padding than frame": send(
        encode_frame(Kind.HEADERS, b"\x88", END_HEADERS, 1),
        encode_frame(Kind.DATA, b"\x05x", 0x8, 1),
    ),
    "HEADERS on stream 0": send_frame(Kind.HEADERS, b"\x88", END_HEADERS),
    "HEADERS on an idle stream": send_frame(Kind.HEADERS, b"\x88", END_HEADERS, 99),
    "HEADERS that no decoder takes": send_frame(Kind.HEADERS, b"\xff\xff\xff", END_HEADERS, 1),
    "HEADERS that grow the table": send_frame(Kind.HEADERS, b"\x3f\xff\xff\x7f", 4, 1),
    "HEADERS in halves, and DATA between": send(
        encode_frame(Kind.HEADERS, b"\x88", 0, 1), encode_frame(Kind.DATA, b"x", 0, 1)
    ),
    "CONTINUATION of nothing": send_frame(Kind.CONTINUATION, b"\x88", END_HEADERS, 1),
    "PUSH_PROMISE": send_frame(Kind.PUSH_PROMISE, b"\0\0\0\2\x82", END_HEADERS, 1),
    "GOAWAY of 7 bytes": send_frame(Kind.GOAWAY, bytes(7)),
    "a frame larger than allowed": send_frame(Kind.DATA, bytes(16385), 0, 1),
    "a head larger than allowed": lambda stream: stream.link.headers(
        stream.id, [(":status", "200"), *((f"x-{n}", "v" * 1000) for n in range(1000))], parts=99
    ),
    "HTTP/1.1": send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
}


# h2 4.3 takes leave to push, of which no use can be made all the same.
NEEDS = {"SETTINGS that enable push": needs("h2", "4.4")}


@pytest.mark.parametrize("name", [pytest.param(n, marks=NEEDS.get(n, ())) for n in BAD_FRAMES])
def test_a_broken_frame_ends_the_connection(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any, name: str
) -> None:
    """All of its requests fail with a RemoteProtocolError, and the next has a new one."""

    def script(link: Link) -> None:
        if link.number == 1:
            link.serve(hold, until=lambda: len(link.opened) == 2)
            BAD_FRAMES[name](link.streams[1])
        link.serve()

    server = serve_h2(script)
    jobs = []
    for count in range(1, 3):
        jobs.append(threads.submit(post, pool, server, "/hold"))
        link = wait_opened(server, count)
    for job in jobs:
        with pytest.raises(httpcore.RemoteProtocolError) as caught:
            job.result(PATIENCE)
        assert len(str(caught.value)) > 20
    if name != "HTTP/1.1":  # which is spoken by somebody who would not understand
        assert server.wait_for(lambda: link.goaway_received is not None, PATIENCE)
        assert link.goaway_received is not None and link.goaway_received[1] != Code.NO_ERROR
    assert header(get(pool, server), b"x-connection") == b"2"


def test_a_stream_past_its_window(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any
) -> None:
    """ "window overflow [...] ends the connection with a clear RemoteProtocolError": nobody has
    read a byte of what came; the other request's thread sees it arrive."""

    def script(link: Link) -> None:
        link.serve(hold, until=lambda: len(link.opened) == 2)
        overflow(link.streams[3])
        link.serve()

    server = serve_h2(script)
    job = threads.submit(post, pool, server, "/hold")
    link = wait_opened(server, 1)
    response = begin(pool, server, "/hold")
    with pytest.raises(httpcore.RemoteProtocolError, match=r"(?i)window|bytes on stream 3"):
        job.result(PATIENCE)
    with pytest.raises(httpcore.RemoteProtocolError, match=r"(?i)window|bytes on stream 3"):
        response.read()
    assert server.wait_for(lambda: link.goaway_received is not None, PATIENCE)
    assert link.goaway_received is not None
    assert link.goaway_received[1] == Code.FLOW_CONTROL_ERROR


BAD_STREAMS: dict[str, Callable[[Stream], Any]] = {
    "DATA before HEADERS": lambda stream: stream.link.data(stream.id, b"x"),
    "interim answer that ends the stream": lambda stream: stream.link.headers(
        stream.id, [(":status", "103")], end=True
    ),
    "101": lambda stream: stream.link.headers(stream.id, [(":status", "101")]),
    "too little": lambda stream: (
        stream.link.headers(stream.id, [(":status", "200"), ("content-length", "10")]),
        stream.link.data(stream.id, b"five.", end=True),
    ),
    "too much": lambda stream: (
        stream.link.headers(stream.id, [(":status", "200"), ("content-length", "3")]),
        stream.link.data(stream.id, b"five.", end=True),
    ),
    "trailers that do not end it": lambda stream: (
        stream.head(),
        stream.link.data(stream.id, b"x"),
        stream.link.headers(stream.id, [("x-trailer", "v")]),
    ),
    "WINDOW_UPDATE past the largest": lambda stream: stream.link.window_update(
        stream.id, 2**31 - 1
    ),
}


@pytest.mark.parametrize("name", BAD_STREAMS)
def test_a_broken_stream_ends_alone(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, threads: Any, name: str
) -> None:
    def respond(stream: Stream) -> None:
        if stream.path == "/":
            BAD_STREAMS[name](stream)

    server = serve_h2(lambda link: link.serve(respond))
    other = threads.submit(get, pool, server, "/hold")
    link = wait_opened(server, 1)
    with pytest.raises(httpcore.RemoteProtocolError) as caught:
        get(pool, server)
    assert len(str(caught.value)) > 20
    answer(link, 1)
    assert other.result().content == b"ok"
    assert server.accepted == 1


def test_what_is_not_known_is_ignored(serve_h2: ServeH2, pool: httpcore.ConnectionPool) -> None:
    """RFC 9113 section 5.5: unknown frames, flags and settings; section 6.1: padding."""

    def respond(stream: Stream) -> None:
        link = stream.link
        link.frame(0xAB, b"what", 0xFF, stream.id)
        link.settings({0xABCD: 1})
        link.frame(Kind.PING, bytes(8), 0xF0)
        link.frame(Kind.PRIORITY, struct.pack(">LB", 0, 10), 0, stream.id)
        link.headers(stream.id, [(":status", "200")], padding=255)
        link.data(stream.id, b"o", padding=0)
        link.data(stream.id, padding=100)
        link.data(stream.id, b"k", padding=255, end=True)
        link.frame(Kind.WINDOW_UPDATE, WINDOW, 0, stream.id)
        link.reset(stream.id, Code.NO_ERROR)

    server = serve_h2(lambda link: link.serve(respond))
    for _ in range(3):
        assert get(pool, server).content == b"ok"
    assert server.accepted == 1


@pytest.mark.parametrize("split", [1, 7, None])
def test_any_split(serve_h2: ServeH2, pool: httpcore.ConnectionPool, split: int | None) -> None:
    """What comes may come in any pieces."""

    def script(link: Link) -> None:
        link.split = split
        link.serve()

    server = serve_h2(script)
    for count in range(3):
        response = pool.request(
            "POST", f"{server.url}/echo", content=b"abc" * count, extensions=TIMEOUTS
        )
        assert b'"body": "%b"' % (b"abc" * count) in response.content
    assert get(pool, server, "/bytes/3000").content == pattern(3000)
    assert get(pool, server, "/drip/20?delay=0").content == pattern(20)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, status: int
) -> None:
    server = serve_h2()
    assert pool.request("HEAD", f"{server.url}/bytes/1000", extensions=TIMEOUTS).content == b""
    response = get(pool, server, f"/status/{status}")
    assert (response.status, response.content) == (status, b"")
    assert (server.accepted, server.link.open) == (1, 0)


def test_trailers(serve_h2: ServeH2, pool: httpcore.ConnectionPool) -> None:
    def respond(stream: Stream) -> None:
        stream.respond(200, pattern(100_000), trailers=[("x-sum", "1"), ("x-sum", "2")])

    server = serve_h2(lambda link: link.serve(respond))
    response = get(pool, server)
    assert response.content == pattern(100_000)
    assert list(response.trailers) == [(b"x-sum", b"1"), (b"x-sum", b"2")]


# ---------------------------------------------------------------------------------------------
# Bad input, from the caller


REFUSED: dict[str, list[tuple[bytes, bytes]]] = {
    "pseudo-header": [(b":path", b"/other")],
    "pseudo-header after others": [(b"x", b"v"), (b":authority", b"other")],
    "unknown pseudo-header": [(b":protocol", b"websocket")],
    "transfer-encoding": [(b"Transfer-Encoding", b"gzip, chunked")],
    "crlf": [(b"X", b"a\r\nb: c")],
    "nul": [(b"X", b"a\0b")],
    "space in name": [(b"X Y", b"v")],
    "empty name": [(b"", b"v")],
    "lf in name": [(b"x\ny", b"v")],
    "two lengths": [(b"Content-Length", b"1"), (b"Content-Length", b"2")],
}


@pytest.mark.parametrize("name", REFUSED)
def test_fields_that_cannot_be_sent(
    serve_h2: ServeH2, pool: httpcore.ConnectionPool, name: str
) -> None:
    """ "pseudo-headers in the wrong place from the user: `LocalProtocolError` before a byte is
    sent". Connection-specific headers are left out, see below."""
    server = serve_h2()
    get(pool, server)
    seen = len(server.link.frames)
    with pytest.raises(httpcore.LocalProtocolError) as caught:
        pool.request("GET", server.url, headers=REFUSED[name], extensions=TIMEOUTS)
    assert caught.value.phase == "not_sent"
    assert pool.stats()["active"] == 0
    get(pool, server)
    assert server.link.opened == [1, 3]
    kinds = {frame.kind for frame in server.link.frames[seen:]}
    assert kinds <= {Kind.HEADERS, Kind.SETTINGS, Kind.WINDOW_UPDATE}


def test_fields_that_are_translated(serve_h2: ServeH2, pool: httpcore.ConnectionPool) -> None:
    """Names are sent in lower case, Host as :authority, and what HTTP/1.1 says about connections in
    requests' own headers is left out."""
    server = serve_h2()
    headers = [
        *[("Host", "other.test"), ("X-Mixed-Case", "Value"), ("Connection", "keep-alive")],
        *[("TE", "trailers"), ("Transfer-Encoding", "chunked"), ("Cookie", "a=1; b=2")],
        *[("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"), ("Upgrade", "h2c")],
        *[("Connection", "X-Own, TE"), ("X-Own", "v")],
    ]
    response = pool.request(
        "POST",
        f"{server.url}/upload",
        headers=headers,
        content=iter([b"ab", b"c"]),
        extensions=TIMEOUTS,
    )
    assert b'"length": 3' in response.content
    fields = server.link.streams[1].fields
    assert sorted(fields[:4]) == [
        (b":authority", b"other.test"),
        (b":method", b"POST"),
        (b":path", b"/upload"),
        (b":scheme", b"http"),
    ]
    assert fields[4:] == [
        (b"x-mixed-case", b"Value"),
        (b"te", b"trailers"),
        (b"cookie", b"a=1; b=2"),
    ]
