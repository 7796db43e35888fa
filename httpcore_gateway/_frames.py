"""The gateway's end of a WebSocket to an upstream, without I/O.

Owns: the fields of the handshake and the check of its answer, joining fragments, which close codes
can be sent. Must not know: ASGI, connections. Frames are read and written by `websockets`.

Sources: RFC 6455 sections 4.1 (handshake), 5 (frames) and 7.4 (close codes); the registry of close
codes at iana.org/assignments/websocket.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from ._fields import Fields

#: Appended to the key, for the proof that the server speaks WebSocket (RFC 6455 section 1.3).
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Fields of a handshake that concern one connection, as each has its own key. Extensions change
#: frames, which do not pass through: ASGI has messages.
HANDSHAKE_FIELDS = frozenset(
    (
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
    )
)

#: Codes that a Close frame may have below 3000; those from 3000 to 4999 are for programs.
CODES = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015)))
NORMAL, NO_CODE, LOST, BAD_DATA, TOO_BIG = 1000, 1005, 1006, 1007, 1009
INTERNAL_ERROR, RESTART, BAD_GATEWAY = 1011, 1012, 1014
#: Bytes of a Pong without what it answers with: two, and the mask.
PONG_HEAD = 6
#: Bytes of a reason at most: a control frame has 125, the code takes two.
MAX_REASON = 123


class BadHandshake(Exception):
    """The upstream's 101 does not open the WebSocket that was asked for; the text says why."""


class Close(NamedTuple):
    """The code and the reason with which a WebSocket is closed.

    Parameters:
        code: NO_CODE for a Close frame without one, LOST for none at all.
        reason: a text for people.
    """

    code: int
    reason: str = ""

    def for_client(self) -> Close:
        """Return what ASGI's ``websocket.close`` can say: always a code, none that is reserved."""
        code = self.code if is_sendable(self.code) else NORMAL
        if self.code == LOST:
            code = BAD_GATEWAY
        return Close(code, shorten(self.reason))


def is_sendable(code: int) -> bool:
    """Return whether a Close frame may have this code."""
    return code in CODES or 3000 <= code <= 4999


def shorten(reason: str) -> str:
    """Return as much of a reason as fits in a Close frame."""
    return reason.encode("utf-8")[:MAX_REASON].decode("utf-8", "ignore")


class Handshake:
    """The gateway's request for a WebSocket.

    Parameters:
        subprotocols: those that the client offers.
    """

    __slots__ = ("_key", "_subprotocols")

    def __init__(self, subprotocols: Sequence[str]) -> None:
        self._key = base64.b64encode(secrets.token_bytes(16))
        self._subprotocols = subprotocols

    def fields(self) -> Fields:
        """Return the fields that ask for it."""
        fields = [
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-key", self._key),
        ]
        if self._subprotocols:
            offered = ", ".join(self._subprotocols).encode("latin-1")
            fields.append((b"sec-websocket-protocol", offered))
        return fields

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return the subprotocol that a 101 with these fields chooses; None for none.

        Raises BadHandshake for an answer that a client has to refuse.
        """
        upgrade = accept = subprotocol = None
        for name, value in headers:
            name = name.lower()
            if name == b"upgrade":
                upgrade = value.strip().lower()
            elif name == b"sec-websocket-accept":
                accept = value.strip()
            elif name == b"sec-websocket-protocol":
                subprotocol = value.strip().decode("latin-1")
            elif name == b"sec-websocket-extensions":
                raise BadHandshake("it uses an extension that was not offered")
        if upgrade != b"websocket":
            raise BadHandshake("it does not upgrade to WebSocket")
        if accept != accept_of(self._key):
            raise BadHandshake("its Sec-WebSocket-Accept does not belong to our key")
        if subprotocol is not None and subprotocol not in self._subprotocols:
            raise BadHandshake("it chooses a subprotocol that was not offered")
        return subprotocol


def accept_of(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    # Not for secrecy: it only proves that the server has read the key.
    digest = hashlib.sha1(key + GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest)


class Frames:
    """The frames on a connection to an upstream, as its client.

    Parameters:
        max_message: bytes of a message from the upstream at most.

    Attributes:
        closed: how the upstream has closed the WebSocket; None while it has not.
        failure: what is wrong with its frames; empty for nothing. Nothing is read after that.
        pongs: bytes of the answers to its pings among what is to be sent.
        too_big: whether its message is longer than `max_message`.
    """

    __slots__ = ("_is_text", "_parts", "_protocol", "closed", "failure", "pongs", "too_big")

    def __init__(self, max_message: int) -> None:
        self._protocol = Protocol(Side.CLIENT, max_size=max_message, logger=_logger)
        self._parts = bytearray()  # of a message whose end has not come
        self._is_text = False
        self.closed: Close | None = None
        self.failure = ""
        self.pongs = 0
        self.too_big = False

    def receive(self, data: bytes) -> list[str | bytes]:
        """Take bytes from the upstream; return the messages that are complete. Afterwards there may
        be something to send: answers to pings, or a Close."""
        protocol = self._protocol
        protocol.receive_data(data)
        messages: list[str | bytes] = []
        for frame in protocol.events_received():
            if not isinstance(frame, Frame):
                raise AssertionError("the handshake is over")
            if frame.opcode <= Opcode.BINARY:
                message = self._join(frame)
                if self.failure:
                    return messages
                if message is not None:
                    messages.append(message)
            elif frame.opcode == Opcode.PING:
                self.pongs += PONG_HEAD + len(frame.data)
        received = protocol.close_rcvd
        if received is not None and protocol.parser_exc is None:
            self.closed = Close(int(received.code), received.reason)
        elif protocol.parser_exc is not None and not self.failure:
            self.too_big = isinstance(protocol.parser_exc, PayloadTooBig)
            self.failure = str(protocol.parser_exc)
        return messages

    def _join(self, frame: Frame) -> str | bytes | None:
        """Return the message that a frame ends; None where more of it follows."""
        data = frame.data
        if frame.opcode == Opcode.CONT:
            # Not a list of the pieces: with one byte in each, the list is what takes the memory.
            self._parts += data
            if not frame.fin:
                return None
            data, self._parts = self._parts, bytearray()
        else:
            self._is_text = frame.opcode == Opcode.TEXT
            if not frame.fin:
                self._parts += data
                return None
        if not self._is_text:
            return bytes(data)
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError:
            self.failure = "a text message is not UTF-8"
            self._protocol.fail(BAD_DATA, self.failure)
            return None

    def send(self, message: bytes, is_text: bool) -> None:
        """Note a message for the upstream; a text is in UTF-8."""
        if is_text:
            self._protocol.send_text(message)
        else:
            self._protocol.send_binary(message)

    def close(self, close: Close) -> None:
        """Note that the WebSocket is closed, for the upstream, unless that was noted before."""
        if not self.is_open or close.code == LOST:
            return
        if is_sendable(close.code):
            self._protocol.send_close(close.code, shorten(close.reason))
        else:
            self._protocol.send_close()

    @property
    def is_open(self) -> bool:
        """Return whether messages can be sent: no side has closed it."""
        return self._protocol.close_sent is None and not self.failure

    def to_send(self) -> bytes:
        """Return the bytes that have to be sent by now, and forget them."""
        self.pongs = 0
        return b"".join(self._protocol.data_to_send())


# At DEBUG, `websockets` would log the contents of messages, which no log may have.
_logger = logging.getLogger("httpcore_gateway.frames")
_logger.setLevel(logging.WARNING)
