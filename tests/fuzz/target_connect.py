"""Answers of HTTP proxies to CONNECT, in any pieces.

Owns: when a tunnel is one. Must not know: sockets.

An input is one byte (`ANSWERS`: a hook answers 407), one that says how the answers are cut into
pieces, and all that the proxy says before it closes.

What has to hold
----------------
- The dialogue ends with a tunnel or with ProxyError, which says no password, and after a limited
  number of reads and requests.
- What is a tunnel for h11 is one for us: a 2xx of HTTP/1.x, and nothing behind it that was sent too
  early. (h11 takes other versions, too, which are refused here.)
- In one piece and in many it ends alike, but for what is sent too early: where it comes in a
  piece of its own, nobody has seen it yet.
"""

from __future__ import annotations

from typing import Any

import h11

from httpcore import ProxyError
from httpcore._core.http_proxy import (
    MAX_CHALLENGES,
    MAX_REFUSAL,
    MAX_REFUSAL_READS,
    ProxyHop,
    Read,
    Write,
    connect,
)

from .pieces import cut

#: Of the first byte: a hook answers 407.
ANSWERS = 1

TOKENS = (
    b"HTTP/1.1 200 Connection established\r\n\r\n", b"HTTP/1.0 200\r\n", b"HTTP/1.1 407 x\r\n",
    b"HTTP/1.1 502 x\r\n", b"HTTP/1.1 100 x\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Proxy-Authenticate: Basic\r\n", b"Connection: close\r\n", b"\r\n", b"\n", b"hello",
    b"5\r\nhello\r\n0\r\n\r\n", b"\0", b" ", b":", b"204", b"299", b"\x05\x00",
)  # fmt: skip


def run(answers: bool, pieces: list[bytes]) -> tuple[bool, int | None, bool]:
    """Drive the dialogue; return whether there is a tunnel, the status of a refusal, and whether
    anything was left to read."""
    secret = (b"Proxy-Authorization", b"Basic c2VjcmV0")
    hook = (lambda error: [secret]) if answers else None
    hop = ProxyHop(b"http", b"proxy.test", 3128, (secret,), False, None, None, hook)
    script = connect(object(), hop, b"a.test", 443)
    waiting = list(pieces)
    answer: Any = None
    requests = reads = 0
    try:
        while True:
            step = script.send(answer)
            answer = None
            if isinstance(step, Read):
                reads += 1
                piece = waiting.pop(0) if waiting else b""
                answer = piece[: step.max_bytes]
                if len(piece) > step.max_bytes:
                    waiting.insert(0, piece[step.max_bytes :])
            elif isinstance(step, Write):
                requests += 1
                assert requests <= 1 + MAX_CHALLENGES
            assert reads <= len(pieces) + (1 + MAX_CHALLENGES) * (MAX_REFUSAL_READS + 1)
    except StopIteration:
        return True, None, bool(waiting)
    except ProxyError as exc:
        assert "c2VjcmV0" not in str(exc)
        assert len(exc.body or b"") <= MAX_REFUSAL
        return False, exc.status, bool(waiting)


def is_tunnel(data: bytes) -> bool:
    """Return whether h11 takes `data` for a tunnel, and all of it for the head of the answer."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    fields = [(b"Host", b"a.test:443")]
    connection.send(h11.Request(method=b"CONNECT", target=b"a.test:443", headers=fields))
    connection.send(h11.EndOfMessage())
    try:
        connection.receive_data(data)
        events: list[Any] = [connection.next_event()]
        while isinstance(events[-1], h11.InformationalResponse):
            events.append(connection.next_event())
    except h11.RemoteProtocolError:
        return False
    heads = (h11.Response, h11.InformationalResponse)
    if any(not isinstance(event, heads) or event.http_version[:2] != b"1." for event in events):
        return False
    return events[-1].status_code // 100 == 2 and connection.trailing_data[0] == b""


def one(data: bytes) -> None:
    """Try one input; see the top of the module."""
    if len(data) < 2:
        return
    said = data[2:]
    answers = bool(data[0] & ANSWERS)
    whole = run(answers, [said] if said else [])
    split = run(answers, cut(said, data[1]))
    if not answers:
        if is_tunnel(said):
            assert whole[0], whole
        early = split[0] and split[2]
        assert early or whole[:2] == split[:2], (whole, split)
