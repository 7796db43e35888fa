"""What clients send that is no HTTP, or could be read in two ways, and what of it goes on.

Owns: a table of such requests, and arbitrary ones. Must not know: private parts of the packages.

Behind the gateway is an upstream that reads with h11, which is strict: whatever reaches it has to
be exactly the requests that were accepted, and each of them has its response.

Sources: RFC 9112 sections 2.2, 3.2, 5.1, 5.2, 6.1, 6.3, 7.1 and 11.2; portswigger.net/research on
request smuggling.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import h11
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from httpcore_gateway import Timeouts
from tests.support import gateways, servers
from tests.support.gateways import Caller


class Recorder:
    """An upstream that writes down what it gets, by the strict reading of h11.

    Attributes:
        seen: the Host of each whole request, and the request: method, target and body.
        faults: what h11 did not understand.
        begun: how many requests began.
    """

    def __init__(self) -> None:
        # One list, since late requests of an earlier input may come at any moment.
        self.seen: list[tuple[bytes, tuple[bytes, bytes, bytes]]] = []
        self.faults: list[str] = []
        self.begun = 0
        self.server = servers.ScriptedServer(self._read)

    @property
    def requests(self) -> list[tuple[bytes, bytes, bytes]]:
        return [request for _, request in self.seen]

    def _read(self, peer: servers.Peer) -> None:
        connection = h11.Connection(h11.SERVER)
        request: Any = None
        body = b""
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as exc:
                # The client has left in the middle of a body, and so has the gateway.
                if "complete" not in str(exc):
                    self.faults.append(str(exc))
                return
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    peer.send(connection.send(go_on))
                try:
                    connection.receive_data(peer.recv())
                except ConnectionError:
                    return
            elif isinstance(event, h11.Request):
                request, body = event, b""
                self.begun += 1
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                whole = (request.method, request.target, body)
                self.seen.append((dict(request.headers)[b"host"], whole))
                self._respond(peer, connection, request)
                if connection.our_state is not h11.DONE:
                    return
                connection.start_next_cycle()
            else:
                return

    def _respond(self, peer: servers.Peer, connection: h11.Connection, request: Any) -> None:
        headers = [("content-length", "0"), ("x-recorded", "1")]
        data = connection.send(h11.Response(status_code=200, headers=headers))
        peer.send((data or b"") + (connection.send(h11.EndOfMessage()) or b""))

    def clear(self) -> None:
        self.seen.clear()
        self.faults.clear()
        self.begun = 0


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    with made.server:
        yield made
    assert not made.server.errors


@pytest.fixture(params=["uvicorn", "granian", "hypercorn"])
def port(
    request: pytest.FixtureRequest,
    recorder: Recorder,
    serve_gateway: gateways.ServeGateway,
    start_gateway: gateways.StartGateway,
) -> int:
    """Of a gateway under each of the servers, in front of the recorder."""
    options = {"max_body": 100_000, "timeouts": Timeouts(client=0.5)}
    if request.param == "granian":
        return start_gateway(recorder.server.url, server="granian", **options).ports[0]
    return serve_gateway(recorder.server.url, server=request.param, **options).port


#: Sent after each input, so that the server closes the connection.
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def converse(port: int, data: bytes) -> list[gateways.Reply]:
    """Send `data` and a last request; return the responses until the connection is closed.
    Raises TimeoutError where it is not."""
    replies = []
    with Caller(port) as caller:
        try:
            caller.send(data + LAST)
            while True:
                replies.append(caller.reply())
        except (ConnectionError, EOFError):
            return replies


A = b" /a HTTP/1.1\r\nHost: a\r\n"
B = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"

#: By name: what is sent, and whether it may reach the upstream (as the target of one request, or
#: of several where the client has sent several). All that must not is answered by 4xx or 5xx, or
#: by the end of the connection. (Where both framings are there, hyper takes the chunks, as RFC 9112
#: section 6.3 allows, and closes the connection.)
TABLE: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "plain": (b"GET" + A + b"\r\n", (b"/a",)),
    "pipelined": (b"GET" + A + b"\r\n" + B, (b"/a", b"/smuggled")),
    "both framings": (
        b"POST" + A + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + B,
        (b"/a",),
    ),
    "both framings, other order": (
        b"POST" + A + b"Transfer-Encoding: chunked\r\nContent-Length: 50\r\n\r\n0\r\n\r\n" + B,
        (b"/a",),
    ),
    "two lengths": (
        b"POST" + A + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc" + B,
        (),
    ),
    "equal lengths": (b"POST" + A + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", (b"/a",)),
    "list of lengths": (b"POST" + A + b"Content-Length: 3, 3\r\n\r\nabc", (b"/a",)),
    "signed length": (b"POST" + A + b"Content-Length: +3\r\n\r\nabc" + B, ()),
    "negative length": (b"POST" + A + b"Content-Length: -1\r\n\r\n" + B, ()),
    "hex length": (b"POST" + A + b"Content-Length: 0x3\r\n\r\nabc" + B, ()),
    "huge length": (b"POST" + A + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n" + B, ()),
    "empty length": (b"POST" + A + b"Content-Length:\r\n\r\n" + B, (b"/a", b"/smuggled")),
    "underlined length": (b"POST" + A + b"Content-Length: 1_0\r\n\r\n" + B, ()),
    "chunked twice": (b"POST" + A + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNKS, ()),
    "chunked twice in two fields": (
        b"POST" + A + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
        (),
    ),
    "chunked and identity": (
        b"POST" + A + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKS + B,
        (),
    ),
    "xchunked": (b"POST" + A + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS + B, ()),
    "gzip, chunked": (b"POST" + A + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS, ()),
    "quoted chunked": (b"POST" + A + b'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNKS + B, ()),
    "chunked in capitals": (b"POST" + A + b"Transfer-Encoding: CHUNKED\r\n\r\n" + CHUNKS, (b"/a",)),
    "tab before chunked": (b"POST" + A + b"Transfer-Encoding:\tchunked\r\n\r\n" + CHUNKS, (b"/a",)),
    "vertical tab": (b"POST" + A + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKS + B, ()),
    "space before the colon": (
        b"POST" + A + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKS + B,
        (),
    ),
    "length with space before the colon": (
        b"POST" + A + b"Content-Length : %d\r\n\r\n" % len(B) + B,
        (),
    ),
    "no name": (b"GET" + A + b": b\r\n\r\n", ()),
    "no colon": (b"GET" + A + b"abc\r\n\r\n", ()),
    "folded": (b"GET" + A + b"X-A: b\r\n c\r\n\r\n", (b"/a",)),
    "folded coding": (
        b"POST" + A + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKS,
        (b"/a",),
    ),
    "folded first": (b"GET /a HTTP/1.1\r\n Host: a\r\n\r\n", ()),
    "bare CR": (b"GET" + A + b"X-A: b\rX-B: c\r\n\r\n", ()),
    "bare LF": (b"GET" + A + b"X-A: b\nX-B: c\r\n\r\n", (b"/a",)),
    "bare LF before a length": (
        b"POST" + A + b"X-A: b\nContent-Length: %d\r\n\r\n" % len(B) + B,
        (b"/a",),
    ),
    "NUL in a value": (b"GET" + A + b"X-A: b\x00c\r\n\r\n", ()),
    "NUL in a name": (b"GET" + A + b"X\x00A: b\r\n\r\n", ()),
    "odd name": (b"GET" + A + b"X[A]: b\r\n\r\n", ()),
    "negative chunk": (
        b"POST" + A + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n" + B,
        (),
    ),
    "huge chunk": (
        b"POST" + A + b"Transfer-Encoding: chunked\r\n\r\n1" + b"0" * 20 + b"\r\nabc" + B,
        (),
    ),
    "hex prefix of a chunk": (
        b"POST" + A + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n" + B,
        (),
    ),
    "chunk without its end": (
        b"POST" + A + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n" + B,
        (),
    ),
    "empty chunk size": (b"POST" + A + b"Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n" + B, ()),
    "no Host": (b"GET /a HTTP/1.1\r\n\r\n", ()),
    "two Hosts": (b"GET" + A + b"Host: b\r\n\r\n", ()),
    "equal Hosts": (b"GET" + A + b"Host: a\r\n\r\n", ()),
    "Host with a path": (b"GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n", ()),
    "Host with a user": (b"GET /a HTTP/1.1\r\nHost: a@b\r\n\r\n", ()),
    "Host with a space": (b"GET /a HTTP/1.1\r\nHost: a b\r\n\r\n", ()),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", ()),
    "no target": (b"GET HTTP/1.1\r\nHost: a\r\n\r\n", ()),
    "relative target": (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", ()),
    "star": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", ()),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", ()),
    "CONNECT to a path": (b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", ()),
    "version 0.9": (b"GET /a\r\n\r\n", ()),
    "version 1.2": (b"GET /a HTTP/1.2\r\nHost: a\r\n\r\n", (b"/a",)),
    "version 2.0": (b"GET /a HTTP/2.0\r\nHost: a\r\n\r\n", ()),
    "version 3.7": (b"GET /a HTTP/3.7\r\nHost: a\r\n\r\n", ()),
    "chunked 1.0": (
        b"POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS + B,
        (),
    ),
    "too long a body": (b"POST" + A + b"Content-Length: 100001\r\n\r\n" + b"x" * 100_001, ()),
    "other expectation": (b"GET" + A + b"Expect: 200-ok\r\n\r\n", ()),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ()),
    "upgrade with a body": (
        b"POST" + A + b"Connection: Upgrade\r\nUpgrade: other\r\nContent-Length: 3\r\n\r\nabc",
        (b"/a",),
    ),
    "upgrade with chunks": (
        b"POST" + A + b"Connection: Upgrade\r\nUpgrade: other\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS + B,
        (b"/a", b"/smuggled"),
    ),
    "length named in Connection": (
        b"POST" + A + b"Connection: content-length\r\nContent-Length: %d\r\n\r\n" % len(B) + B,
        (b"/a",),
    ),
    "underscored length": (
        b"POST" + A + b"Content_Length: 36\r\nContent-Length: 3\r\n\r\nabc",
        (b"/a",),
    ),
}


def check(port: int, recorder: Recorder, data: bytes, allowed: tuple[bytes, ...]) -> str:
    """Send one input; return what is wrong with what comes of it, empty for nothing."""
    recorder.clear()
    try:
        replies = converse(port, data)
    except TimeoutError:
        return "hangs"
    targets = tuple(target for _, target, _ in recorder.requests)
    if recorder.faults:
        return f"reached the upstream: {recorder.faults}"
    # A server may refuse more than it has to; then there is less.
    if targets != (*allowed, b"/last")[: len(targets)]:
        return f"requests for {targets}"
    passed = [reply for reply in replies if reply.get("x-recorded")]
    refused = [reply.status for reply in replies if not reply.get("x-recorded")]
    if len(passed) != len(targets) or len(refused) > 1:
        return f"{len(passed)} of {len(targets)} responses, and {refused}"
    if not all(400 <= status <= 599 for status in refused):
        return f"answered by {refused}"
    return ""


def test_the_table(port: int, recorder: Recorder) -> None:
    wrong = {}
    for name, (data, allowed) in TABLE.items():
        if text := check(port, recorder, data, allowed):
            wrong[name] = text
    assert not wrong


def strict(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Return the requests that h11 reads in `data`, up to what it does not understand. Empty lines
    before a request are left out (RFC 9112 section 2.2)."""
    found: list[tuple[bytes, bytes, bytes]] = []
    while data := data.lstrip(b"\r\n"):
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(data)
        connection.receive_data(b"")
        request: Any = None
        body = b""
        try:
            while type(event := connection.next_event()) is not h11.EndOfMessage:
                if isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    return found
        except h11.RemoteProtocolError:
            return found
        found.append((request.method, request.target, body))
        # A server that stays with HTTP takes what follows an Upgrade for the next request.
        stays = connection.their_state is h11.MIGHT_SWITCH_PROTOCOL and request.method != b"CONNECT"
        if connection.their_state is not h11.DONE and not stays:
            return found
        data = connection.trailing_data[0]
    return found


#: The Host of arbitrary requests; digits are put in its place, as many, that tell one input from
#: another one that is under way still.
HOST = b"Host: 0000"
UPGRADE = b"\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"
C = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n\r\n"
LINES = [
    *(
        b"Content-Length: 3",
        b"Content-Length: 0",
        b"Content-Length: %d" % len(C),
        b"content-length:3",
    ),
    *(b"Content-Length: 3, 5", b"Content-Length: 03", b"Content-Length: 3 ", b"Content_Length: 50"),
    *(b"Transfer-Encoding: chunked", b"transfer-encoding:chunked", b"Transfer-Encoding: x"),
    *(b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: chunked\t", b"Transfer-Encoding:"),
    *(
        b"Transfer-Encoding: chunked,",
        b"Transfer_Encoding: chunked",
        b"Transfer-Encoding : chunked",
    ),
    *(b"Connection: keep-alive", b"Connection: close", b"Connection: transfer-encoding, host"),
    *(b"Connection: Upgrade\r\nUpgrade: other", b"Expect: 100-continue", b"TE: trailers"),
    *(b"Host: b", b"X: \xff\xfe", b"X: a\x01b", b" folded", b"", b"X\xe9: y", b":", b"X: a\rb"),
    *(
        b"X: a\nContent-Length: %d" % len(C),
        b"X-Forwarded-For: a",
        b"Via: 1.1 x",
        b"Trailer: X",
        b"Age",
    ),
]
BODIES = [
    *(b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\n\r\n", b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", C),
    *(
        b"3;x=y\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"3\r\nabc0\r\n\r\n",
        b"-1\r\n",
        b"0x3\r\nabc\r\n",
    ),
    *(
        b"0\r\n\r\n" + C,
        b"%x\r\n" % len(C) + C + b"\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n00\r\n\r\n",
    ),
    *(
        b"ffffffffffffffff1\r\n",
        b"3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
        b"\r\n",
        b"\x00\x00",
    ),
]
REQUESTS = st.lists(
    st.builds(
        lambda method, target, version, lines, body: (
            method
            + b" "
            + target
            + b" "
            + version
            + b"\r\n"
            + b"\r\n".join([HOST, *lines])
            + b"\r\n\r\n"
            + body
        ),
        st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"PUT"]),
        st.sampled_from(
            [b"/a", b"/a?b", b"*", b"http://0000/a", b"a", b"/a%00", b"/\xc3", b"//", b""]
        ),
        st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1"]),
        st.lists(st.sampled_from(LINES), max_size=4),
        st.sampled_from(BODIES),
    ),
    min_size=1,
    max_size=3,
).map(b"".join)


@pytest.mark.parametrize("port", ["uvicorn", "hypercorn"], indirect=True)
def test_only_what_a_strict_reader_reads_goes_on(port: int, recorder: Recorder) -> None:
    """Whatever is sent: the upstream gets the requests that are there without doubt, or fewer."""

    numbers = itertools.count(1)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(REQUESTS)
    @example(
        b"GET /a HTTP/1.1\r\n" + HOST + UPGRADE + b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n\r\n" + C
    )
    def run(data: bytes) -> None:
        recorder.clear()
        host = b"%04d" % next(numbers)
        data = data.replace(b"0000", host)
        replies = converse(port, data)
        assert not recorder.faults
        expected = strict(data + LAST)
        got = [
            (method, target.removeprefix(b"http://" + host), body)
            for own, (method, target, body) in list(recorder.seen)
            if own == host
        ]
        clean = [(m, target.removeprefix(b"http://" + host), body) for m, target, body in expected]
        # hypercorn writes methods in capitals.
        clean = [(method.upper(), target, body) for method, target, body in clean]
        assert [request for request in got if request not in clean] == []
        assert len(got) <= len(clean)
        passed = [reply for reply in replies if reply.get("x-recorded")]
        assert len(passed) <= len(got) + 1  # `LAST` has a Host of its own

    run()


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\n",
        b"Content-Length: 5\r\n\r\nab",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    ],
)
@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn"])
def test_a_body_that_does_not_come_in_time(
    kind: str, body: bytes, recorder: Recorder, serve_gateway: gateways.ServeGateway
) -> None:
    served = serve_gateway(recorder.server.url, server=kind, timeouts=Timeouts(client=0.2))
    with Caller(served.port) as caller:
        reply = caller.ask(b"POST" + A + body)
        assert (reply.status, reply.get("connection")) == (408, "close")
        assert caller.closed()
    assert not recorder.requests
    assert recorder.server.wait_for(lambda: recorder.server.open == 0)
    assert served.active() == [0]
