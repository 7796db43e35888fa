"""HTTP/1.1 requests that we send, read back by h11 and llhttp (in httptools).

Owns: what the three may differ in, and why. Must not know: connections.

An input is one byte (`LENIENT`), then parts that are separated by 0x1e: method, target, name,
value, name, value...

What has to hold
----------------
- `encode_request` raises LocalProtocolError, or gives one request; the same the second time, when
  it is remembered, and the third time, when it is made from memory.
- h11 reads the method, the target and the fields that were given, a repeated equal length left out,
  and with the announced body behind it exactly one request.
- llhttp reads the same, where it reads it.

What may differ, and why
------------------------
- Leniently a name may be no token; h11 refuses it, and so is not asked.
- llhttp knows its own list of methods alone, and refuses odd targets; its refusal is no fault. It
  stops behind the head of CONNECT and of an Upgrade, as it has to.
"""

from __future__ import annotations

from typing import Any

import h11
import httptools

from httpcore import LocalProtocolError
from httpcore._core import h1, h1_grammar
from httpcore._core.h1 import CHUNKED, LAST_CHUNK, encode_chunk, encode_request

Fields = list[tuple[bytes, bytes]]

SEPARATOR = b"\x1e"
LENIENT = 1
#: Bytes of a body that is sent where one of any length may be.
MAX_BODY = 1000

TOKENS = (
    SEPARATOR, b"GET", b"POST", b"CONNECT", b"/", b"*", b"http://a.test/", b"Host\x1ea.test\x1e",
    b"Content-Length\x1e5", b"content-length", b"Transfer-Encoding\x1echunked", b"Upgrade\x1ex",
    b"Connection\x1eclose", b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"%", b"%b", b"\x0b",
    b"\x0c", b"\x85", b"\xff", b"Cookie\x1ea=b", b"Authorization\x1ex", b"a[0]", b"HTTP/1.1",
    b"X-Request-ID\x1e1", b"\r\nX: y",
)  # fmt: skip


def one(data: bytes) -> None:
    """Try one input; see the top of the module."""
    method, target, *rest = [*data[1:].split(SEPARATOR), b""][: 2 + 40]
    fields = list(zip(rest[::2], rest[1::2], strict=False))
    lenient = bool(data[:1] and data[0] & LENIENT)
    h1._known_heads.clear()
    h1._seen_once.clear()
    try:
        made = encode_request(method, target, fields, lenient)
    except LocalProtocolError as exc:
        assert exc.phase == "not_sent"
        return
    assert encode_request(method, target, fields, lenient) == made
    assert encode_request(method, target, fields, lenient) == made
    head, length, special = made
    if length == CHUNKED:
        body, wire = b"hello", encode_chunk(b"he") + encode_chunk(b"llo") + LAST_CHUNK
    else:
        body = wire = b"x" * min(length, MAX_BODY)
    whole = length <= MAX_BODY
    sent = without_repeats(fields)
    if all(h1_grammar.is_token(name) is not None for name, _ in fields):
        check_with_h11((method, target, sent, body), head + wire, whole)
    if not special and whole:
        check_with_llhttp((method, target, sent, body), head + wire)


def without_repeats(fields: Fields) -> Fields:
    """Return the fields in the order of their names, a repeated length once."""
    kept: Fields = []
    for name, value in fields:
        is_length = name.lower() == b"content-length"
        if not is_length or not any(other.lower() == b"content-length" for other, _ in kept):
            kept.append((name, value))
    return lowered(kept)


def lowered(fields: Any) -> Fields:
    """Return fields with names in lower case, in their order."""
    return sorted((name.lower(), value) for name, value in fields)


def check_with_h11(sent: tuple[bytes, bytes, Fields, bytes], wire: bytes, whole: bool) -> None:
    """Check that h11 reads what was meant, and nothing behind it."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    server.receive_data(wire)
    request = server.next_event()
    assert isinstance(request, h11.Request), request
    body = b""
    event = server.next_event()
    while isinstance(event, h11.Data):
        body += event.data
        event = server.next_event()
    fields = [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in request.headers]
    wanted = [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in sent[2]]
    assert (request.method, request.target, sorted(fields), body) == (
        *sent[:2],
        sorted(wanted),
        sent[3],
    )
    assert isinstance(event, h11.EndOfMessage) is whole
    assert server.trailing_data[0] == b""


class _Llhttp:
    """Collects what llhttp calls back."""

    def __init__(self) -> None:
        self.target = self.body = b""
        self.fields: Fields = []
        self.begun = self.complete = 0

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.complete += 1


def check_with_llhttp(sent: tuple[bytes, bytes, Fields, bytes], wire: bytes) -> None:
    """Check that llhttp reads what was meant, if it reads it."""
    events = _Llhttp()
    parser = httptools.HttpRequestParser(events)
    try:
        parser.feed_data(wire)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        assert events.complete <= 1
        return
    read = parser.get_method(), events.target, lowered(events.fields), events.body
    assert read == sent, (read, sent)
    assert (events.begun, events.complete) == (1, 1)
