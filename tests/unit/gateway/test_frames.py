"""The gateway's end of a WebSocket to an upstream, without I/O.

Owns: the handshake, close codes, and that frames are read as wsproto reads them, however they are
cut. Must not know: connections, ASGI.
"""

from __future__ import annotations

import random
import tracemalloc

import pytest
from wsproto import events
from wsproto.connection import Connection, ConnectionType

from httpcore_gateway._frames import (
    BAD_GATEWAY,
    LOST,
    NO_CODE,
    NORMAL,
    BadHandshake,
    Close,
    Frames,
    Handshake,
    accept_of,
    is_sendable,
    shorten,
)
from tests.support.web_sockets import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_frame,
    frame,
)


def read_sent(frames: Frames) -> list[events.Event]:
    """Return what a server reads of what `frames` has to send."""
    server = Connection(ConnectionType.SERVER)
    server.receive_data(frames.to_send())
    return list(server.events())


def answer(handshake: Handshake, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    key = dict(handshake.fields())[b"sec-websocket-key"]
    return [
        (b"Upgrade", b"WebSocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", accept_of(key)),
        *more,
    ]


def test_the_example_of_the_rfc() -> None:
    assert accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_each_handshake_has_a_key_of_its_own() -> None:
    keys = {dict(Handshake(()).fields())[b"sec-websocket-key"] for _ in range(10)}
    assert len(keys) == 10


def test_a_handshake() -> None:
    handshake = Handshake(("a", "b"))
    assert dict(handshake.fields())[b"sec-websocket-protocol"] == b"a, b"
    assert handshake.check(answer(handshake)) is None
    assert handshake.check(answer(handshake, (b"Sec-WebSocket-Protocol", b"b"))) == "b"
    assert b"sec-websocket-protocol" not in dict(Handshake(()).fields())


@pytest.mark.parametrize(
    ("position", "field", "text"),
    [
        (0, (b"Upgrade", b"h2c"), "does not upgrade"),
        (0, (b"X", b"Y"), "does not upgrade"),
        (2, (b"X", b"Y"), "does not belong to our key"),
        (2, (b"Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "does not belong"),
        (1, (b"Sec-WebSocket-Protocol", b"c"), "subprotocol that was not offered"),
        (1, (b"Sec-WebSocket-Protocol", b"a, b"), "subprotocol that was not offered"),
        (1, (b"Sec-WebSocket-Extensions", b"permessage-deflate"), "extension"),
    ],
)
def test_a_wrong_handshake(position: int, field: tuple[bytes, bytes], text: str) -> None:
    handshake = Handshake(("a", "b"))
    fields = answer(handshake)
    fields[position] = field
    with pytest.raises(BadHandshake, match=text):
        handshake.check(fields)


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (Close(1000, "x"), Close(1000, "x")),
        (Close(4999), Close(4999)),
        (Close(NO_CODE), Close(NORMAL)),
        (Close(1015), Close(NORMAL)),
        (Close(2999), Close(NORMAL)),
        (Close(LOST), Close(BAD_GATEWAY)),
        (Close(1001, "ü" * 100), Close(1001, "ü" * 61)),
    ],
)
def test_what_a_client_can_be_told(given: Close, seen: Close) -> None:
    assert given.for_client() == seen


def test_codes() -> None:
    sendable = [code for code in range(66000) if is_sendable(code)]
    assert sendable == [1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)]
    assert shorten("x" * 124) == "x" * 123


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (Close(1001, "bye"), (1001, "bye")),
        (Close(1001, "ü" * 100), (1001, "ü" * 61)),
        (Close(NO_CODE, "ignored"), (NO_CODE, "")),
        (Close(1015), (NO_CODE, "")),
    ],
)
def test_a_close_for_the_upstream(given: Close, sent: tuple[int, str]) -> None:
    frames = Frames(1000)
    frames.close(given)
    frames.close(Close(1011))  # nothing can follow a Close
    [event] = read_sent(frames)
    assert isinstance(event, events.CloseConnection)
    assert (event.code, event.reason or "") == sent
    assert not frames.is_open


def test_nothing_is_said_of_a_client_that_is_lost() -> None:
    frames = Frames(1000)
    frames.close(Close(LOST))
    assert frames.to_send() == b"" and frames.is_open


def test_messages_for_the_upstream() -> None:
    frames = Frames(1000)
    frames.send("größe".encode(), True)
    frames.send(b"\xff" * 70000, False)
    text, data = read_sent(frames)
    assert isinstance(text, events.TextMessage) and text.data == "größe"
    assert isinstance(data, events.BytesMessage) and data.data == b"\xff" * 70000
    assert frames.to_send() == b""


def test_pings_are_answered() -> None:
    frames = Frames(1000)
    assert frames.receive(frame(PING, b"abc") + frame(PONG, b"unasked")) == []
    assert frames.pongs == 9
    assert [type(event) for event in read_sent(frames)] == [events.Pong]
    assert frames.pongs == 0


def test_a_close_of_the_upstream() -> None:
    frames = Frames(1000)
    assert frames.receive(frame(TEXT, b"x") + close_frame(4000, b"why") + b"more") == ["x"]
    assert frames.closed == Close(4000, "why") and not frames.failure and not frames.is_open
    [event] = read_sent(frames)
    assert isinstance(event, events.CloseConnection) and event.code == 4000
    frames = Frames(1000)
    frames.receive(frame(CLOSE))
    assert frames.closed == Close(NO_CODE)


def test_a_message_in_many_small_pieces_takes_no_more_than_its_bytes() -> None:
    frames, count = Frames(10**6), 20_000
    wire = frame(BINARY, b"xy", end=False) + frame(CONTINUATION, b"xy", end=False) * count
    tracemalloc.start()
    try:
        for at in range(0, len(wire), 3000):
            assert frames.receive(wire[at : at + 3000]) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 10 * count  # an object for each piece takes more than fifty
    assert frames.receive(frame(CONTINUATION)) == [b"xy" * (count + 1)]


@pytest.mark.parametrize("number", range(30))
def test_frames_are_read_as_wsproto_reads_them(number: int) -> None:
    chance = random.Random(number)
    wire, messages = bytearray(), []
    for _ in range(30):
        is_text = chance.random() < 0.5
        size = chance.choice((0, 1, 125, 126, 127, 65535, 65536, 70000))
        payload = ("ü" * size).encode()[: size & ~1] if is_text else chance.randbytes(size)
        messages.append(payload.decode() if is_text else payload)
        cuts = sorted(chance.randrange(size + 1) for _ in range(chance.randrange(4)))
        ends = [*cuts, len(payload)]
        for position, end in enumerate(ends):
            start = ends[position - 1] if position else 0
            opcode = CONTINUATION if position else TEXT if is_text else BINARY
            wire += frame(opcode, payload[start:end], end=position == len(cuts))
            if chance.random() < 0.3:
                wire += frame(chance.choice((PING, PONG)), chance.randbytes(chance.randrange(126)))
    wire += close_frame(1000)
    found: list[str | bytes] = []
    frames, theirs = Frames(10**6), Connection(ConnectionType.CLIENT)
    pongs, their_pongs = b"", 0
    rest = bytes(wire)
    while rest:
        size = chance.choice((1, 2, 3, 10, 1000, 65536))
        part, rest = rest[:size], rest[size:]
        found += frames.receive(part)
        theirs.receive_data(part)
        their_pongs += sum(isinstance(event, events.Ping) for event in theirs.events())
        pongs += frames.to_send()
    assert found == messages
    assert frames.closed == Close(1000)
    server = Connection(ConnectionType.SERVER)
    server.receive_data(pongs)
    answers = [event for event in server.events() if isinstance(event, events.Pong)]
    assert len(answers) == their_pongs


def test_garbage_is_a_failure_and_no_exception() -> None:
    for number in range(2000):
        chance = random.Random(number)
        frames = Frames(1000)
        for _ in range(3):
            frames.receive(chance.randbytes(chance.randrange(1, 50)))
            if frames.failure or frames.closed:
                break
        sent = frames.to_send()
        if frames.failure:
            assert sent[-1:] and not frames.is_open
