"""What a server may answer, and what the user then sees.

Owns: scenarios 13, 14, 16, 31, 43 and 48: odd heads, events as they come, truncated bodies, and
interim answers. Must not know: private parts of the packages.
Sources: RFC 9112 sections 5 to 8, RFC 9110 section 15.2, RFC 8297. Where a scenario says "what
requests gives today", the stock adapter gets the same bytes in the same test.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import ssl
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter as StockAdapter

import httpcore
from httpcore_requests import HTTPAdapter
from tests.support import PATIENCE
from tests.support.http2 import Link, ServeH2, Stream
from tests.support.interim import (
    INTERIM,
    INTERIM_FIELDS,
    LINKS,
    interim_then_final,
    splits,
)
from tests.support.servers import Peer, ScriptedServer, Serve

TIMEOUTS = {"timeout": {"connect": PATIENCE, "read": PATIENCE, "write": PATIENCE, "pool": PATIENCE}}

_is_token = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+").fullmatch
_has_controls = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search


class Seen(NamedTuple):
    """What a user gets to see of a response."""

    status: int
    body: bytes
    headers: list[tuple[str, str]]

    def well_formed(self) -> Counter[tuple[str, str]]:
        """The fields that are. White space around a value is none of it (RFC 9110 section 5.5),
        though http.client leaves it at the end."""
        return Counter(
            (name, value.strip(" \t"))
            for name, value in self.headers
            if _is_token(name) and not _has_controls(value)
        )


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> Iterator[requests.Session]:
    """A session on the adapter that requests ships, whatever `install()` did meanwhile."""
    assert StockAdapter.__module__ == "requests.adapters"
    # It logs a malformed line with a traceback, which pytest keeps, and with it the socket.
    monkeypatch.setattr(logging.getLogger("urllib3.connection"), "disabled", True)
    with requests.Session() as made:
        made.mount("http://", StockAdapter())
        yield made


@pytest.fixture
def lenient_pool() -> Iterator[httpcore.ConnectionPool]:
    with httpcore.ConnectionPool(parsing="lenient") as pool:
        yield pool


def by_session(session: requests.Session, url: str, method: str = "GET") -> Seen:
    response = session.request(method, url, timeout=PATIENCE)
    # HTTPHeaderDict.items() keeps repeated fields apart.
    return Seen(response.status_code, response.content, list(response.raw.headers.items()))


def by_core(pool: httpcore.ConnectionPool, url: str) -> Seen:
    response = pool.request("GET", url, extensions=TIMEOUTS)
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers]
    return Seen(response.status, response.content, pairs)


class Canned:
    """A handler: answers ``/whole/NAME`` with those raw bytes, ``/dripped/NAME`` byte by byte.

    The connection stays open for more unless the answer's end is its closing.
    """

    def __init__(self, answers: dict[str, bytes], closing: tuple[str, ...] = ()) -> None:
        self.answers = answers
        self.closing = closing

    def __call__(self, peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            _, how, name = request.target.decode("ascii").split("/")
            answer = self.answers[name]
            step = 1 if how == "dripped" else len(answer)
            for start in range(0, len(answer), step):
                peer.send(answer[start : start + step])
            if name in self.closing:
                return


# ---------------------------------------------------------------------------------------------
# 13: servers that requests accepts


def head_of_size(size: int) -> bytes:
    """An answer whose head has `size` bytes, in fewer lines than http.client's limit of 100."""
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
    line = b"X-%04d: " % 0 + b"v" * 1200 + b"\r\n"
    count = (size - len(start) - 2) // len(line) - 1
    lines = b"".join(b"X-%04d: " % n + b"v" * 1200 + b"\r\n" for n in range(count))
    missing = size - len(start) - len(lines) - 2 - len(b"X-Last: \r\n")
    return start + lines + b"X-Last: " + b"w" * missing + b"\r\n\r\n" + b"hello"


GOLDEN = {
    "plain": b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 5\r\nB: 2\r\n\r\nhello",
    "no-colon": b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 5\r\nno colon here\r\n\r\nhello",
    "name-with-space": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: 1\r\nMy Param: x\r\n\r\nhello",
    "name-then-space": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: 1\r\nName : v\r\n\r\nhello",
    "name-odd-bytes": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: 1\r\nX(\xe9)@: v\r\n\r\nhello",
    "empty-name": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: 1\r\n: v\r\n\r\nhello",
    "value-control": b"HTTP/1.1 200 OK\r\nA: a\x01b\r\nContent-Length: 5\r\nB: 2\r\n\r\nhello",
    "value-nul": b"HTTP/1.1 200 OK\r\nA: a\x00b\r\nContent-Length: 5\r\nB: 2\r\n\r\nhello",
    "value-vt-ff": b"HTTP/1.1 200 OK\r\nA: a\x0bb\x0cc\r\nContent-Length: 5\r\nB: 2\r\n\r\nhello",
    "value-latin": b"HTTP/1.1 200 OK\r\nA: caf\xe9\r\nContent-Length: 5\r\nB: 2\r\n\r\nhello",
    "obs-fold": b"HTTP/1.1 200 OK\r\nA: one\r\n two\r\n\tthree\r\nContent-Length: 5\r\nB: 2\r\n\r\n"
    b"hello",
    "bare-lf": b"HTTP/1.1 200 OK\nA: 1\nContent-Length: 5\nB: 2\n\nhello",
    "mixed-line-ends": b"HTTP/1.1 200 OK\r\nA: 1\nContent-Length: 5\r\nB: 2\n\r\nhello",
    "no-reason": b"HTTP/1.1 200\r\nA: 1\r\nContent-Length: 5\r\n\r\nhello",
    "empty-reason": b"HTTP/1.1 200 \r\nA: 1\r\nContent-Length: 5\r\n\r\nhello",
    "latin-reason": b"HTTP/1.1 200 D\xe9j\xe0\r\nA: 1\r\nContent-Length: 5\r\n\r\nhello",
    "status-600": b"HTTP/1.1 600 Odd\r\nA: 1\r\nContent-Length: 5\r\n\r\nhello",
    "status-999": b"HTTP/1.1 999 Request Denied\r\nA: 1\r\nContent-Length: 5\r\n\r\nhello",
    "equal-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: 1\r\nContent-Length: 5\r\n\r\n"
    b"hello",
    "equal-lengths-joined": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nA: 1\r\n\r\nhello",
    "chunked-upper": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nA: 1\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n",
    "chunked-trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: 1\r\n\r\n"
    b"5;x=y\r\nhello\r\n0\r\nT: 1\r\n\r\n",
    "chunked-no-final-crlf": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: 1\r\n\r\n"
    b"5\r\nhello\r\n0\r\n",
    "gzip-then-chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nA: 1\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n",
    "identity-coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n"
    b"A: 1\r\n\r\nhello",
    "no-space-after-colon": b"HTTP/1.1 200 OK\r\nA:1\r\nB:\t2 \r\nContent-Length:5\r\n\r\nhello",
    "double-space-status": b"HTTP/1.1  200  OK\r\nA: 1\r\nContent-Length: 5\r\n\r\nhello",
    "empty-value": b"HTTP/1.1 200 OK\r\nA:\r\nB: \r\nContent-Length: 5\r\n\r\nhello",
    "folded-length": b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length:\r\n 5\r\n\r\nhello",
    "no-headers": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "fold-first": b"HTTP/1.1 200 OK\r\n folded\r\nContent-Length: 5\r\nA: 1\r\n\r\nhello",
    "length-leading-zeros": b"HTTP/1.1 200 OK\r\nContent-Length: 0005\r\nA: 1\r\n\r\nhello",
    "http-1.0": b"HTTP/1.0 200 OK\r\nA: 1\r\nContent-Length: 5\r\n\r\nhello",
    "no-length": b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\nhello",
    "length-no-number": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\nA: 1\r\n\r\nhello",
    "no-content": b"HTTP/1.1 204 No Content\r\nA: 1\r\n\r\n",
    "head-100-kb": head_of_size(100 * 1024),
}
# Ended by closing; http.client takes "5, 5" for no number, and so for no length.
CLOSING = (
    *("http-1.0", "no-length", "length-no-number", "equal-lengths-joined"),
    *("chunked-no-final-crlf", "no-headers", "fold-first", "folded-length"),
)

# What a repair makes of a line that is not well-formed, so that no comparison covers it.
REPAIRED = {
    "name-then-space": ("Name", "v"),
    "value-nul": ("A", "a b"),
    "value-vt-ff": ("A", "a b c"),
    "obs-fold": ("A", "one two three"),
}


# Byte by byte only what is short: a hundred thousand packets show no more than a few hundred.
HOW = [("whole", name) for name in GOLDEN]
HOW += [("dripped", name) for name in GOLDEN if len(GOLDEN[name]) < 1000]


@pytest.mark.parametrize(("how", "name"), HOW)
def test_row_13_golden_responses(
    name: str,
    how: str,
    serve: Serve,
    session: requests.Session,
    stock: requests.Session,
    lenient_pool: httpcore.ConnectionPool,
) -> None:
    """ "A golden set of raw responses (bad name line, control byte in value, obs-fold, bare LF,
    missing reason, status 600-999, duplicate equal CL, [...] 100 kB head): status, body and every
    well-formed header equal what requests gives today." `TE: chunked, chunked` was one of them;
    it is refused now, see `REFUSED`."""
    server = serve(Canned(GOLDEN, CLOSING))
    url = f"{server.url}/{how}/{name}"

    theirs = by_session(stock, url)
    ours = by_session(session, url)
    core = by_core(lenient_pool, url)

    assert theirs.body == (b"" if name == "no-content" else b"hello")
    assert ours.status == core.status == theirs.status
    assert ours.body == core.body == theirs.body
    assert theirs.well_formed() <= ours.well_formed()
    assert theirs.well_formed() <= core.well_formed()
    if name in REPAIRED:
        assert REPAIRED[name] in ours.headers
        assert REPAIRED[name] in core.headers


def test_row_13_the_golden_set_holds_what_it_says(serve: Serve, stock: requests.Session) -> None:
    """The 100 kB head is one (the largest that is read), and requests sees every line of it."""
    assert GOLDEN["head-100-kb"].index(b"\r\n\r\n") + 4 == 100 * 1024
    server = serve(Canned(GOLDEN))
    seen = by_session(stock, f"{server.url}/whole/head-100-kb")
    assert sum(len(name) + len(value) + 4 for name, value in seen.headers) > 102_000


STRICTLY_REFUSED = [
    *("no-colon", "name-with-space", "name-then-space", "name-odd-bytes", "empty-name"),
    *("value-nul", "value-vt-ff", "length-no-number"),
]


@pytest.mark.parametrize("name", STRICTLY_REFUSED)
def test_row_13_leniency_is_a_switch(name: str, serve: Serve) -> None:
    """The same bytes under ``parsing="strict"`` are refused, in the core and in the adapter."""
    server = serve(Canned(GOLDEN, CLOSING))
    url = f"{server.url}/whole/{name}"
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError) as caught:
            by_core(pool, url)
        assert caught.value.phase == "response_started"
        assert pool.connections == []
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(parsing="strict"))
        with pytest.raises(requests.ConnectionError):
            by_session(session, url)


# Here two readers find two ends of the body, and one connection carries the responses of several
# requests; so it is refused, unlike by requests (RFC 9112 sections 6.1 and 6.3).
REFUSED = {
    "chunked-twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\nA: 1\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n",
    "chunked-two-lines": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunked-twice-and-length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n"
    b"Content-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "length-minus": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\nA: 1\r\n\r\nhello",
    "length-plus": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\nA: 1\r\n\r\nhello",
    "length-underscore": b"HTTP/1.1 200 OK\r\nContent-Length: 0_5\r\nA: 1\r\n\r\nhello",
    "length-other-digits": b"HTTP/1.1 200 OK\r\nContent-Length: \xd9\xa5\r\nA: 1\r\n\r\nhello",
}


@pytest.mark.parametrize("name", REFUSED)
def test_row_13_two_ends_of_a_body_are_refused(
    name: str, serve: Serve, session: requests.Session, lenient_pool: httpcore.ConnectionPool
) -> None:
    """ "[...] never leave a reusable connection"."""
    server = serve(Canned({**REFUSED, "plain": GOLDEN["plain"]}))
    url = f"{server.url}/whole/{name}"
    with pytest.raises(requests.ConnectionError, match=r"named twice|not digits alone"):
        by_session(session, url)
    with pytest.raises(httpcore.RemoteProtocolError) as caught:
        by_core(lenient_pool, url)
    assert caught.value.phase == "response_started"
    assert lenient_pool.connections == []
    assert by_session(session, f"{server.url}/whole/plain").body == b"hello"
    assert server.accepted == 3


CONFLICTS = {
    "unequal-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "unequal-joined": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
    "length-then-chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunked-then-length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 20\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
}
# http.client overlooks these fields and would read until the connection closes.
REPAIRED_FRAMING = {
    "chunked-repaired": b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n",
    "length-repaired": b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
}


def attempt(send: Callable[[], Seen]) -> tuple[int, bytes] | type[BaseException]:
    try:
        seen = send()
    except (requests.RequestException, httpcore.RemoteProtocolError) as exc:
        return type(exc)
    return seen.status, seen.body


@pytest.mark.parametrize("name", [*CONFLICTS, *REPAIRED_FRAMING])
def test_row_13_conflicts_never_leave_a_reusable_connection(
    name: str,
    serve: Serve,
    session: requests.Session,
    stock: requests.Session,
    lenient_pool: httpcore.ConnectionPool,
) -> None:
    """ "Unequal CLs and CL+TE conflicts never leave a reusable connection" (and are otherwise
    answered or refused as by requests today). The server keeps each connection open and would
    answer on it."""
    server = serve(Canned({**CONFLICTS, **REPAIRED_FRAMING, "plain": GOLDEN["plain"]}))
    url = f"{server.url}/whole/{name}"

    ours = attempt(lambda: by_session(session, url))
    core = attempt(lambda: by_core(lenient_pool, url))

    assert server.accepted == 2
    assert lenient_pool.connections == []
    assert by_session(session, f"{server.url}/whole/plain").body == b"hello"
    assert by_core(lenient_pool, f"{server.url}/whole/plain").body == b"hello"
    assert server.accepted == 4
    if name in CONFLICTS:
        assert ours == attempt(lambda: by_session(stock, url))
        # What requests refuses as InvalidHeader is a RemoteProtocolError in the core.
        refused = isinstance(ours, type)
        if refused:
            assert isinstance(core, type)
            assert issubclass(core, httpcore.RemoteProtocolError)
        else:
            assert core == ours
    else:
        assert ours == core == (200, b"hello")


# ---------------------------------------------------------------------------------------------
# 14: one malformed line


MALFORMED = {
    "My Param: x": [],
    "Name : v": [("Name", "v")],
    "Name\t: v": [("Name", "v")],
    "no colon at all": [],
    ": no name": [],
    "b\xe4d: name": [],
    "Value: a\x00b": [("Value", "a b")],
    "Value: a\rb": [("Value", "a b")],
}
LATER = [("Later", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Last", "end")]


def answer_with(line: str, times: int = 1) -> bytes:
    fields = [("First", "0"), ("Content-Length", "5")]
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in fields)]
    lines += [line] * times
    lines += [f"{name}: {value}" for name, value in LATER]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + b"hello"


@pytest.mark.parametrize("line", MALFORMED)
@pytest.mark.parametrize("through", ["adapter", "core"])
def test_row_14_malformed_line_in_the_middle(
    line: str,
    through: str,
    serve: Serve,
    session: requests.Session,
    lenient_pool: httpcore.ConnectionPool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """ "`My Param: x` or `Name : v` in the middle: the bad line is skipped or repaired and logged
    once; all later headers are present." """
    server = serve(Canned({"odd": answer_with(line, times=2)}))
    url = f"{server.url}/whole/odd"
    with caplog.at_level(logging.WARNING, logger="httpcore"):
        seen = by_session(session, url) if through == "adapter" else by_core(lenient_pool, url)

    first = [("First", "0"), ("Content-Length", "5")]
    assert seen.status == 200
    assert seen.body == b"hello"
    assert sorted(seen.headers) == sorted(first + MALFORMED[line] * 2 + LATER)
    (record,) = [record for record in caplog.records if record.name.startswith("httpcore")]
    assert record.levelno == logging.WARNING


def test_row_14_more_than_requests_gives_today(
    serve: Serve, session: requests.Session, stock: requests.Session
) -> None:
    """Live: the stock adapter loses what comes after the line; ours has that and all else."""
    server = serve(Canned({"odd": answer_with("My Param: x")}))
    theirs = by_session(stock, f"{server.url}/whole/odd")
    ours = by_session(session, f"{server.url}/whole/odd")
    assert (ours.status, ours.body) == (theirs.status, theirs.body)
    assert theirs.well_formed() < ours.well_formed()
    assert session.cookies.get_dict() == {"a": "1", "b": "2"}


def test_row_14_the_log_shows_no_value(
    serve: Serve, session: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    """A malformed line may hold a secret (a folded Set-Cookie); the log says only what it was."""
    answer = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie : id=hunter2\r\nSet-Cookie: a=b;\r\n secret=hunter2\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    server = serve(Canned({"odd": answer}))
    with caplog.at_level(logging.DEBUG):
        by_session(session, f"{server.url}/whole/odd")
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    assert "hunter2" not in caplog.text


# ---------------------------------------------------------------------------------------------
# 16: data as it comes


EVENTS = [b"data: event no. %04d\n" % number for number in range(5)]

FRAMINGS = ["chunked", "close", "gzip", "gzip-close", "deflate"]


class Eventful:
    """A handler that sends an event, and the next only once the client says that it has it."""

    def __init__(self, framing: str) -> None:
        self.framing = framing
        self.received: list[Any] = []

    def start(self, serve: Serve) -> ScriptedServer:
        server = serve(self)
        self.received = [server.event() for _ in EVENTS]
        return server

    def __call__(self, peer: Peer) -> None:
        assert peer.recv_request() is not None
        headers = [("Content-Type", "text/event-stream")]
        compress: Any = None
        if self.framing.startswith("gzip"):
            headers.append(("Content-Encoding", "gzip"))
            compress = zlib.compressobj(wbits=31)
        elif self.framing == "deflate":
            headers.append(("Content-Encoding", "deflate"))
            compress = zlib.compressobj()
        if self.framing == "length":
            headers.append(("Content-Length", str(sum(map(len, EVENTS)))))
        chunked = self.framing in ("chunked", "gzip", "deflate")
        framing = "chunked" if chunked else "close"
        peer.respond(200, self.pieces(compress), headers, framing=framing)

    def pieces(self, compress: Any) -> Iterator[bytes]:
        for event, received in zip(EVENTS, self.received, strict=True):
            if compress is None:
                yield event
            else:
                yield compress.compress(event) + compress.flush(zlib.Z_SYNC_FLUSH)
            if not received.wait(PATIENCE):
                raise TimeoutError("the client has not received the event")
        if compress is not None:
            yield compress.flush()


def pieces_of_iter_content(response: requests.Response) -> Iterator[bytes]:
    return response.iter_content(None)


def pieces_of_iter_content_small(response: requests.Response) -> Iterator[bytes]:
    return response.iter_content(512)


def pieces_of_iter_lines(response: requests.Response) -> Iterator[bytes]:
    return (line + b"\n" for line in response.iter_lines())


def pieces_of_read1(response: requests.Response) -> Iterator[bytes]:
    return iter(lambda: response.raw.read1(decode_content=True), b"")


def pieces_of_raw_stream(response: requests.Response) -> Iterator[bytes]:
    return response.raw.stream(decode_content=True)


READERS = [
    pieces_of_iter_content,
    pieces_of_iter_content_small,
    pieces_of_iter_lines,
    pieces_of_read1,
    pieces_of_raw_stream,
]


# With a known length the others fill their pieces, as urllib3 documents.
AT_ONCE = [(framing, reader) for framing in FRAMINGS for reader in READERS]
AT_ONCE += [("length", pieces_of_iter_content), ("length", pieces_of_read1)]


@pytest.mark.parametrize(
    ("framing", "reader"), AT_ONCE, ids=[f"{how}-{reader.__name__[10:]}" for how, reader in AT_ONCE]
)
def test_row_16_each_event_is_handed_on_at_once(
    framing: str, reader: Callable[..., Iterator[bytes]], serve: Serve, session: requests.Session
) -> None:
    """ "Server sends 20 bytes each 200 ms: `iter_content(None)`, `iter_lines()` and `raw.read1()`
    yield each within 20 ms on h1 chunked, h1 close-delimited, gzip." Without a clock: the server
    sends an event only after the client has the one before, so holding one back never ends."""
    handler = Eventful(framing)
    server = handler.start(serve)
    with session.get(server.url, stream=True, timeout=PATIENCE / 2) as response:
        number = -1
        for number, piece in enumerate(reader(response)):
            assert piece == EVENTS[number]
            handler.received[number].set()
    assert number == len(EVENTS) - 1


@pytest.mark.parametrize("reader", [*READERS, lambda response: [response.content]])
def test_row_16_a_compressed_body_in_single_bytes(
    reader: Callable[..., Iterator[bytes]], serve: Serve, session: requests.Session
) -> None:
    """Bytes that decode to nothing yet (the head of a gzip stream) are not the end of the body."""
    text = b"".join(EVENTS)
    packed = gzip.compress(text, mtime=0)

    def handler(peer: Peer) -> None:
        if peer.recv_request() is not None:
            pieces = (packed[at : at + 1] for at in range(len(packed)))
            peer.respond(200, pieces, [("Content-Encoding", "gzip")])

    with session.get(serve(handler).url, stream=True, timeout=PATIENCE) as response:
        assert b"".join(reader(response)) == text


@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
def test_row_16_in_the_core(framing: str, serve: Serve) -> None:
    """The same, one floor down: iterating the response, and `read1` on its body."""
    for reader in (iter, lambda body: iter(body.read1, b"")):
        handler = Eventful(framing)
        server = handler.start(serve)
        with httpcore.ConnectionPool() as pool:
            with pool.stream("GET", server.url, extensions=TIMEOUTS) as response:
                number = -1
                for number, piece in enumerate(reader(response.stream)):
                    assert piece == EVENTS[number]
                    handler.received[number].set()
        assert number == len(EVENTS) - 1


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("framing", ["none", "length"])
def test_row_16_over_http2(
    framing: str, secure: bool, serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool
) -> None:
    """ "[...] each within 20 ms on [...] h2": as above, the next event comes only when the client
    says that it has the one before."""

    def answer(stream: Stream) -> None:
        length = [("content-length", str(sum(map(len, EVENTS))))] if framing == "length" else []
        stream.head(200, [("content-type", "text/event-stream"), *length])
        stream.write(EVENTS[0])

    server = serve_h2(lambda link: link.serve(answer), secure=secure)
    for count, reader in enumerate([iter, lambda body: iter(body.read1, b"")]):
        with h2_pool.stream("GET", server.url, extensions=TIMEOUTS) as response:
            stream = server.link.streams[2 * count + 1]
            number = -1
            for number, piece in enumerate(reader(response.stream)):
                assert piece == EVENTS[number]
                rest = EVENTS[number + 1 : number + 2]
                server.link.call(
                    lambda: stream.write(b"".join(rest), end=not rest)  # noqa: B023
                )
        assert number == len(EVENTS) - 1
    assert (server.accepted, server.link.open) == (1, 0)


# ---------------------------------------------------------------------------------------------
# 31 and 48: truncated bodies


def send_and_close(answer: bytes, *, notify: bool = True) -> Callable[[Peer], None]:
    def handler(peer: Peer) -> None:
        if peer.recv_request() is not None:
            peer.send(answer)
            peer.close(notify=notify)

    return handler


SHORT_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED_HEAD = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
NO_TERMINATOR = CHUNKED_HEAD + b"5\r\nhello\r\n"

WAYS: dict[str, Callable[[requests.Response], Any]] = {
    "content": lambda response: response.content,
    "iter_content": lambda response: list(response.iter_content(1024)),
    "iter_content-none": lambda response: list(response.iter_content(None)),
    "iter_content-1": lambda response: list(response.iter_content(1)),
    "iter_lines": lambda response: list(response.iter_lines()),
}
RAW_WAYS: dict[str, Callable[[requests.Response], Any]] = {
    "raw.read": lambda response: response.raw.read(),
    "raw.read-amt": lambda response: response.raw.read(1024),
    "raw.read-decoded": lambda response: response.raw.read(decode_content=True),
    "raw.stream": lambda response: list(response.raw.stream(1024)),
    "raw.readinto": lambda response: [
        response.raw.readinto(bytearray(1024)),
        response.raw.readinto(bytearray(1024)),
    ],
}


@pytest.mark.parametrize("way", [*WAYS, *RAW_WAYS])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_row_31_short_content_length(
    way: str,
    tls: bool,
    serve: Serve,
    session: requests.Session,
    ca_bundle: str,
    server_tls_context: ssl.SSLContext,
) -> None:
    """ "Short Content-Length [...]: raise with bytes got/expected on `.content`, `iter_content`
    and `raw.read`." """
    server = serve(send_and_close(SHORT_LENGTH), tls=server_tls_context if tls else None)
    session.verify = ca_bundle
    with session.get(server.url, stream=True, timeout=PATIENCE) as response:
        expected = requests.exceptions.ChunkedEncodingError
        with pytest.raises(expected if way in WAYS else Exception) as caught:
            {**WAYS, **RAW_WAYS}[way](response)
    assert "5 of 10 body bytes" in str(caught.value)
    if way in RAW_WAYS:
        assert isinstance(caught.value, urllib3.exceptions.ProtocolError)


@pytest.mark.parametrize("way", [*WAYS, *RAW_WAYS])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_row_31_chunked_without_terminator(
    way: str,
    tls: bool,
    serve: Serve,
    session: requests.Session,
    ca_bundle: str,
    server_tls_context: ssl.SSLContext,
) -> None:
    """ "chunked without terminator [...]: raise with bytes got/expected on `.content`,
    `iter_content` and `raw.read`." (How many were expected, a chunked body does not say.)"""
    server = serve(send_and_close(NO_TERMINATOR), tls=server_tls_context if tls else None)
    session.verify = ca_bundle
    with session.get(server.url, stream=True, timeout=PATIENCE) as response:
        expected = requests.exceptions.ChunkedEncodingError
        with pytest.raises(expected if way in WAYS else Exception) as caught:
            {**WAYS, **RAW_WAYS}[way](response)
    assert "closed after 5 body bytes, chunk incomplete" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "received", "expected"), [(SHORT_LENGTH, 5, 10), (NO_TERMINATOR, 5, None)]
)
def test_row_31_in_the_core(
    answer: bytes, received: int, expected: int | None, serve: Serve
) -> None:
    """The numbers are on the exception; by `read`, by `read(n)` and by iterating."""
    for read in (
        lambda body: body.read(),
        lambda body: body.read(100),
        lambda body: list(body),
        lambda body: [body.read1(), body.read1()],
    ):
        server = serve(send_and_close(answer))
        with httpcore.ConnectionPool() as pool:
            with pool.stream("GET", server.url, extensions=TIMEOUTS) as response:
                with pytest.raises(httpcore.RemoteProtocolError) as caught:
                    read(response.stream)
            assert (caught.value.received, caught.value.expected) == (received, expected)  # type: ignore[attr-defined]
            assert caught.value.phase == "response_started"
            assert pool.connections == []


@pytest.mark.parametrize("length", [b"9" * 20, b"9" * 21, b"1" + b"0" * 40], ids=len)
def test_row_31_a_length_beyond_all_bounds(
    length: bytes, serve: Serve, session: requests.Session, stock: requests.Session
) -> None:
    """However large the announced length is, fewer bytes are fewer; as in requests today."""
    server = serve(send_and_close(HEAD + b"Content-Length: " + length + b"\r\n\r\nhello"))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        by_session(stock, server.url)
    with pytest.raises(requests.RequestException):
        by_session(session, server.url)


def test_row_31_content_stays_an_error(serve: Serve, session: requests.Session) -> None:
    """A truncated body is not empty, or complete, when it is asked for a second time."""
    server = serve(send_and_close(SHORT_LENGTH))
    response = session.get(server.url, stream=True, timeout=PATIENCE)
    for _ in range(2):
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            response.content  # noqa: B018


@pytest.mark.parametrize("notify", [True, False], ids=["close_notify", "cut"])
def test_row_31_tls_end_without_close_notify(
    notify: bool,
    serve: Serve,
    ca_bundle: str,
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
) -> None:
    """ "TLS EOF without close_notify on a close-delimited body: [...] is flagged." """
    answer = b"HTTP/1.1 200 OK\r\n\r\nhello"
    server = serve(send_and_close(answer, notify=notify), tls=server_tls_context)
    with httpcore.ConnectionPool(client_tls_context) as pool:
        with pool.stream("GET", server.url, extensions=TIMEOUTS) as response:
            assert response.read() == b"hello"
            assert response.stream.unclean_tls_eof is not notify


@pytest.mark.parametrize("notify", [True, False], ids=["close_notify", "cut"])
def test_row_31_tls_end_without_close_notify_through_requests(
    notify: bool,
    serve: Serve,
    session: requests.Session,
    ca_bundle: str,
    server_tls_context: ssl.SSLContext,
) -> None:
    """The flag is to be seen on ``response.raw``."""
    answer = b"HTTP/1.1 200 OK\r\n\r\nhello"
    server = serve(send_and_close(answer, notify=notify), tls=server_tls_context)
    session.verify = ca_bundle
    response = session.get(server.url, timeout=PATIENCE)
    assert response.content == b"hello"
    assert response.raw.unclean_tls_eof is not notify


BODYLESS = {
    "HEAD": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
    "HEAD chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET 204": b"HTTP/1.1 204 No Content\r\nContent-Length: 10\r\n\r\n",
    "GET 304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
    "GET 304 chunked": b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET 304 gzip": b"HTTP/1.1 304 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n",
    "HEAD gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n",
}


@pytest.mark.parametrize("case", BODYLESS)
@pytest.mark.parametrize("way", [*WAYS, *RAW_WAYS])
def test_row_31_no_body_is_no_truncation(
    case: str, way: str, serve: Serve, session: requests.Session
) -> None:
    """ "HEAD/204/304 never raise." """
    server = serve(send_and_close(BODYLESS[case]))
    with session.request(case.split()[0], server.url, stream=True, timeout=PATIENCE) as response:
        found = {**WAYS, **RAW_WAYS}[way](response)
    assert not found or found == [0, 0]


CUT_CHUNKS = {
    "in-the-chunk": (b"5\r\nhello\r\n8\r\nwor", 8),
    "after-a-chunk": (b"5\r\nhello", 5),
    "between-chunks": (b"5\r\nhello\r\n", 5),
    "in-the-size": (b"5\r\nhello\r\n1", 5),
    "before-the-first": (b"", 0),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CUT_CHUNKS)
def test_row_48_closed_inside_a_chunk(
    case: str, way: str, serve: Serve, session: requests.Session
) -> None:
    """ "Server closes mid-chunk: ChunkedEncodingError says "closed after N body bytes, chunk
    incomplete", with `.partial` length." """
    tail, received = CUT_CHUNKS[case]
    server = serve(send_and_close(CHUNKED_HEAD + tail))
    response = session.get(server.url, stream=True, timeout=PATIENCE)
    with pytest.raises(requests.exceptions.ChunkedEncodingError) as caught:
        WAYS[way](response)
    assert f"closed after {received} body bytes, chunk incomplete" in str(caught.value)
    assert caught.value.partial == received  # type: ignore[attr-defined]


def test_row_48_without_stream(serve: Serve, session: requests.Session) -> None:
    """The same when requests reads the body by itself; the text holds no parser detail."""
    server = serve(send_and_close(CHUNKED_HEAD + b"5\r\nhello\r\n8\r\nwor"))
    with pytest.raises(requests.exceptions.ChunkedEncodingError) as caught:
        session.get(server.url, timeout=PATIENCE)
    assert "closed after 8 body bytes, chunk incomplete" in str(caught.value)
    assert "InvalidChunkLength" not in str(caught.value)
    assert caught.value.partial == 8  # type: ignore[attr-defined]


# ---------------------------------------------------------------------------------------------
# 43: interim answers


@pytest.mark.parametrize("split", splits())
@pytest.mark.parametrize("parsing", ["strict", "lenient"])
def test_row_43_interim_answers_in_the_core(split: str, parsing: str, serve: Serve) -> None:
    """ "100, 102 and three 103s before a 200, h1 [...], split over packets: final 200 returned,
    hints reach an optional callback." """
    server = serve(interim_then_final(splits()[split]))
    hints: list[tuple[int, list[tuple[bytes, bytes]]]] = []
    extensions = {
        **TIMEOUTS,
        "informational": lambda status, fields: hints.append((status, fields)),
    }
    with httpcore.ConnectionPool(parsing=parsing) as pool:
        response = pool.request("GET", server.url, extensions=extensions)
        assert (response.status, response.content) == (200, b"hello")
        assert response.headers == [(b"Content-Length", b"5"), (b"A", b"1")]
        assert [status for status, _ in hints] == [status for status, _ in INTERIM]
        links = [value for _, fields in hints for name, value in fields if name == b"Link"]
        assert links == LINKS

        # Without a callback, and on the same connection: interim answers do no harm to it.
        response = pool.request("GET", server.url, extensions=TIMEOUTS)
        assert (response.status, response.content) == (200, b"hello")
    assert server.accepted == 1
    assert len(hints) == len(INTERIM)


@pytest.mark.parametrize("split", splits())
def test_row_43_interim_answers_through_requests(
    split: str, serve: Serve, session: requests.Session
) -> None:
    """The final 200 is what requests returns, and none of the hints' fields leak into it."""
    server = serve(interim_then_final(splits()[split]))
    for _ in range(2):
        response = session.get(server.url, timeout=PATIENCE)
        assert (response.status_code, response.content) == (200, b"hello")
        assert response.headers == {"content-length": "5", "a": "1"}
    assert server.accepted == 1


def test_row_43_upload_after_continue(serve: Serve, session: requests.Session) -> None:
    """A 100 that answers `Expect: 100-continue` is no final answer to the upload either."""

    def handler(peer: Peer) -> None:
        request = peer.recv_request_head()
        assert request is not None
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b"".join(peer.iter_body(request))
        peer.respond(201, json.dumps(len(body)).encode())

    server = serve(handler)
    response = session.post(
        server.url, data=b"x" * 1000, headers={"Expect": "100-continue"}, timeout=PATIENCE
    )
    assert (response.status_code, response.json()) == (201, 1000)


@pytest.mark.parametrize("split", [1, 37, None])
@pytest.mark.parametrize("parts", [1, 3])
def test_row_43_over_http2(
    split: int | None, parts: int, serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool
) -> None:
    """ "100, 102 and three 103s before a 200, h1 and h2, split over packets: final 200 returned,
    hints reach an optional callback"; header blocks whole and in pieces."""

    def answer(stream: Stream) -> None:
        for status, fields in INTERIM_FIELDS:
            head = [(b":status", b"%d" % status), *fields]
            stream.link.headers(stream.id, head, parts=parts)
        stream.respond(200, b"hello", [("a", "1")])

    def script(link: Link) -> None:
        link.split = split
        link.serve(answer)

    server = serve_h2(script)
    hints: list[tuple[int, list[tuple[bytes, bytes]]]] = []
    extensions = {
        **TIMEOUTS,
        "informational": lambda status, fields: hints.append((status, fields)),
    }
    response = h2_pool.request("GET", server.url, extensions=extensions)
    assert (response.status, response.content) == (200, b"hello")
    assert [name for name, _ in response.headers] == [b"a", b"content-length", b"x-connection"]
    assert hints == INTERIM_FIELDS

    # Without a callback, and on the same connection: interim answers do no harm to it.
    response = h2_pool.request("GET", server.url, extensions=TIMEOUTS)
    assert (response.status, response.content) == (200, b"hello")
    assert server.accepted == 1
    assert len(hints) == len(INTERIM_FIELDS)


def test_row_43_before_an_upload_is_complete_over_http2(
    serve_h2: ServeH2, h2_pool: httpcore.ConnectionPool
) -> None:
    """A 100 that answers `Expect: 100-continue` is no final answer, and the body comes after it."""
    early: list[int] = []

    def on_head(stream: Stream) -> None:
        early.append(stream.received)
        stream.link.headers(stream.id, [(":status", "100")])

    server = serve_h2(lambda link: link.serve(on_head=on_head))
    response = h2_pool.request(
        "POST",
        f"{server.url}/upload",
        headers={"Expect": "100-continue"},
        content=b"x" * 1000,
        extensions=TIMEOUTS,
    )
    assert response.status == 200
    assert json.loads(response.content)["length"] == 1000
    assert early == [0]


@pytest.mark.parametrize(
    "body", [b"2\nok\r\n0\r\n\r\n", b"2\r\nok\n0\r\n\r\n", b"2\nok\n0\n\n"], ids=repr
)
def test_chunk_lines_that_end_in_a_bare_lf(
    serve: Serve, lenient_pool: httpcore.ConnectionPool, body: bytes
) -> None:
    """Read, and the connection is used no more: whoever is on the way may have seen another end."""

    def handler(peer: Peer) -> None:
        assert peer.recv_request() is not None
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        peer.wait_closed()

    server = serve(handler)
    for _ in range(2):
        assert by_core(lenient_pool, server.url).body == b"ok"
    assert server.accepted == 2
    with httpcore.ConnectionPool() as strict, pytest.raises(httpcore.RemoteProtocolError):
        by_core(strict, server.url)
