"""HTTP/1.1 responses: our readers against h11, llhttp (in httptools) and http.client.

Owns: what the four may differ in, and why. Must not know: connections.

An input is one byte for the request (`REQUESTS`, and whether the server closes in the end), one
that says how the response is cut into pieces, and the response.

What has to hold
----------------
- Nothing is raised but RemoteProtocolError and its kinds, and nothing else is kept than what came.
- The pieces make no difference.
- What the strict reader takes, h11 takes, with the same status, body and end; the lenient reader
  takes it too, with the same body.
- Where the lenient reader would use the connection again, every other reader that takes the
  response finds the same end of the same body. This is what keeps one user's response from
  reaching another.

What may differ, and why
------------------------
- h11 takes versions that are no HTTP/1.x; they are refused here, since no such server exists.
- h11 reports some faults later: at the end of a line or a head, where this package does at the
  first byte that cannot be right. So a refusal counts as the same if h11 refuses the input with
  that line and that head completed.
- h11 takes any number of fields; more than MAX_FIELDS are refused here.
- h11 would use a connection again after a length together with chunks; here it never is.
- The lenient reader takes heads that h11 and llhttp refuse: requests' users read such servers
  today. It is compared with http.client there, and only while it trusts the connection.
- http.client takes any status as the final one, but 100. Ours waits for the final response, as
  RFC 9110 section 15.2 says; so responses with interim ones are not compared with it.
- http.client ends the head at a line whose name is none, or has a space behind it, and so reads
  until the connection ends what has its framing further down. Ours reads on, as proxies and
  browsers do. Such heads are not compared with it. (A CR by itself, which is a line end for it
  and for others, leaves a connection that is not used again.)
- http.client knows no coding with a blank behind it, which is no part of the value (RFC 9110
  section 5.5), and reads until the connection ends. Such heads are not compared with it either.
- http.client closes after each response that names Connection: close or HTTP/1.0, and reads a
  response that has a length and names a coding other than chunked by its length. Both leave
  a connection that is not used again here, so nothing is compared.
- llhttp ends a message that is neither chunked nor has a length with the connection, as all do,
  but refuses many heads that are merely odd. A refusal by llhttp is never a fault.
"""

from __future__ import annotations

import http.client
import io
import re
from typing import Any, NamedTuple

import h11
import httptools

from httpcore import RemoteProtocolError
from httpcore._core.h1 import MAX_HEAD, MAX_SECTION, HeadReader
from httpcore._core.limits import MAX_FIELDS

from .pieces import cut

Fields = list[tuple[bytes, bytes]]

REQUESTS: list[tuple[bytes, Fields]] = [
    (b"GET", []),
    (b"HEAD", []),
    (b"POST", [(b"Connection", b"close")]),
    (b"GET", [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]),
    (b"CONNECT", []),
]
#: Of the first byte: whether the server closes in the end.
CLOSES = 0x80
#: Of the second byte: the last piece is sent again and again, until FLOOD bytes have come.
FLOODS = 0x80
FLOOD = 3 * MAX_HEAD

TOKENS = (
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 ", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 x\r\n",
    b"HTTP/1.1 204\r\n", b"HTTP/1.1 304\r\n", b"Content-Length: ", b"content-length:", b"5", b"+5",
    b"5, 5", b"0x5", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: ", b"chunked",
    b"gzip, ", b"identity", b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"\r\n",
    b"\n", b"\r", b"\r\n\r\n", b"\n\n", b" ", b"\t", b":", b"0\r\n\r\n", b"5\r\nhello\r\n",
    b"5;x=y\r\n", b"\0", b"\x0b", b"\x0c", b"\x85", b"\xff", b"Keep-Alive: timeout=5\r\n",
    b"Upgrade: websocket\r\n", b"X-A: b\r\n", b" folded\r\n", b"hello",
)  # fmt: skip


# A line at which http.client does not end the head.
_is_plain_line = re.compile(rb"[!-9;-~]*:.*|[ \t].*", re.DOTALL).fullmatch
# A coding with a blank, or a folded line, behind it.
_has_blank = re.compile(rb"^transfer-encoding:[^\n]*([ \t]\r?$|\n[ \t])", re.I | re.M).search


class Reading(NamedTuple):
    """What one reader makes of one response.

    Attributes:
        failed: it refuses it.
        status: of the final response; 0 before its head is there.
        interim: how many others came.
        fields: of the head, where they are compared.
        body: of what came.
        ended: the body is complete.
        excess: what came after the end.
        reusable: the connection may carry another request.
    """

    failed: bool
    status: int
    interim: int
    fields: Fields
    body: bytes
    ended: bool
    excess: bytes
    reusable: bool


def by_us(
    request: tuple[bytes, Fields], pieces: list[bytes], closes: bool, lenient: bool
) -> Reading:
    """Return what our reader makes of it, and check what it keeps on the way."""
    method, sent = request
    interim: list[int] = []
    reader = HeadReader(
        method, sent, lenient=lenient, informational=lambda status, _: interim.append(status)
    )
    head: Any = None
    body = after = b""
    failed = False
    try:
        for piece in pieces:
            if head is None:
                head = reader.feed(piece)
                assert reader._section.held <= MAX_SECTION
                piece = head.rest if head is not None else b""
            if head is not None and head.switched:
                after += piece
            elif head is not None:
                body += head.body.feed(piece)
        if closes and head is None:
            head = reader.feed_eof()
        if closes and not head.switched:
            head.body.feed_eof()
    except RemoteProtocolError:
        failed = True
    if head is None:
        return Reading(failed, 0, len(interim), [], b"", False, b"", False)
    reader_ = head.body
    ended = reader_.done and not head.switched
    clean = ended and not reader_.excess and not failed and not closes
    reusable = head.keep_alive and clean and not reader_.doubtful
    excess = reader_.excess + after
    return Reading(failed, head.status, len(interim), head.headers, body, ended, excess, reusable)


def by_h11(request: tuple[bytes, Fields], pieces: list[bytes], closes: bool) -> Reading:
    """Return what h11 makes of it."""
    method, sent = request
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a"), *sent]))
    connection.send(h11.EndOfMessage())
    status = interim = 0
    fields: Fields = []
    body = b""
    ended = switched = failed = odd = False
    try:
        for piece in [*pieces, b""] if closes else pieces:
            connection.receive_data(piece)
            while not ended and not switched:
                event = connection.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED):
                    break
                if isinstance(event, (h11.Response, h11.InformationalResponse)):
                    switched = connection.their_state is h11.SWITCHED_PROTOCOL
                    odd = odd or event.http_version[:2] != b"1."
                    if isinstance(event, h11.Response) or switched:
                        status, fields = event.status_code, event.headers.raw_items()
                    else:
                        interim += 1
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    ended = True
                else:
                    raise h11.RemoteProtocolError("closed")
    except h11.RemoteProtocolError:
        failed = True
    excess = connection.trailing_data[0] if ended or switched else b""
    done = (connection.our_state, connection.their_state) == (h11.DONE, h11.DONE)
    reusable = ended and done and not excess and not closes
    # A version that does not exist is refused here, and so counts as refused by h11.
    return Reading(failed or odd, status, interim, fields, body, ended, excess, reusable)


class _Llhttp:
    """Collects what llhttp calls back."""

    def __init__(self) -> None:
        self.body = b""
        self.messages = 0

    def on_body(self, part: bytes) -> None:
        if not self.messages:
            self.body += part

    def on_message_complete(self) -> None:
        self.messages += 1


def by_llhttp(data: bytes) -> tuple[int, bytes, bool] | None:
    """Return status, body and whether it is complete as llhttp reads it; None if it refuses."""
    events = _Llhttp()
    parser = httptools.HttpResponseParser(events)
    try:
        parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    return parser.get_status_code(), events.body, events.messages == 1


class _Wire(io.BytesIO):
    """Stands in for a socket of http.client."""

    def makefile(self, mode: str) -> _Wire:
        return self


def by_http_client(method: bytes, data: bytes) -> tuple[int, bytes, bytes] | None:
    """Return status, body, and what is left, as http.client reads it; None if it refuses."""
    wire = _Wire(data)
    wire.close = lambda: None  # type: ignore[method-assign]
    response = http.client.HTTPResponse(wire, method=method.decode())  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, ValueError):
        return None
    return response.status, body, wire.read()


def one(data: bytes) -> None:
    """Try one input; see the top of the module."""
    if len(data) < 2:
        return
    request = REQUESTS[(data[0] & ~CLOSES) % len(REQUESTS)]
    closes = bool(data[0] & CLOSES)
    response = data[2:]
    pieces = cut(response, data[1] & ~FLOODS)
    strict = by_us(request, pieces, closes, lenient=False)
    lenient = by_us(request, pieces, closes, lenient=True)
    whole = [response] if response else []
    check_pieces(strict, by_us(request, whole, closes, lenient=False))
    check_pieces(lenient, by_us(request, whole, closes, lenient=True))
    check_with_h11(request, pieces, closes, strict)
    if not strict.failed and strict.status:
        assert lenient[1:3] == strict[1:3] and lenient.body == strict.body, (strict, lenient)
        assert (lenient.ended, lenient.excess) == (strict.ended, strict.excess)
    if lenient.reusable:
        check_end(request, response, lenient)
    if data[1] & FLOODS and pieces:
        check_flood(request, pieces)


def check_pieces(split: Reading, whole: Reading) -> None:
    """Check that both say the same: of what failed, that it failed, since how much of the body
    came before depends on the pieces."""
    assert split.failed == whole.failed, (split, whole)
    if not split.failed:
        assert split == whole


def check_with_h11(
    request: tuple[bytes, Fields], pieces: list[bytes], closes: bool, ours: Reading
) -> None:
    """Check the strict reader against h11."""
    theirs = by_h11(request, pieces, closes)
    if ours.failed and b"".join(pieces).count(b"\n") > MAX_FIELDS:
        return
    if ours.failed and not theirs.failed:
        ends = b"\r\n" if ours.status else b"\r\n\r\n"
        theirs = by_h11(request, [*pieces, ends], closes)
    assert ours.failed == theirs.failed, (ours, theirs)
    if ours.failed:
        return
    names = {name.lower() for name, _ in theirs.fields}
    if {b"content-length", b"transfer-encoding"} <= names:
        assert not ours.reusable
        theirs = theirs._replace(reusable=False)
    assert ours == theirs, (ours, theirs)


def check_end(request: tuple[bytes, Fields], response: bytes, ours: Reading) -> None:
    """Check that the others find the end of the body where the lenient reader found it."""
    h11_ = by_h11(request, [response], False)
    if not h11_.failed:
        assert (ours.body, ours.ended) == (h11_.body, h11_.ended), (ours, h11_)
    if ours.interim or request[0] == b"CONNECT":
        return
    head = re.split(rb"\n\r?\n", response, maxsplit=1)[0]
    client = by_http_client(request[0], response)
    if client is not None and all(map(_is_plain_line, head.split(b"\n")[1:])):
        assert client == (ours.status, ours.body, b"") or _has_blank(head), (ours, client)
    if request[0] != b"HEAD":  # llhttp does not know the request
        llhttp = by_llhttp(response)
        if llhttp is not None:
            assert llhttp == (ours.status, ours.body, True), (ours, llhttp)


def check_flood(request: tuple[bytes, Fields], pieces: list[bytes]) -> None:
    """Check that a server which says the same for ever is not kept in memory."""
    reader = HeadReader(*request, lenient=True)
    head: Any = None
    count = FLOOD // len(pieces[-1]) + 1
    try:
        # In larger pieces than those of the network: what is kept depends on the bytes alone.
        for piece in [*pieces, pieces[-1] * (count // 8), *[pieces[-1] * (count // 8)] * 7]:
            if head is None:
                head = reader.feed(piece)
                assert reader._section.held <= MAX_SECTION
            elif head.switched or head.body.done:
                return
            else:
                head.body.feed(piece)
                held = getattr(head.body, "_partial", b"")
                assert len(held) <= MAX_HEAD
    except RemoteProtocolError:
        return
