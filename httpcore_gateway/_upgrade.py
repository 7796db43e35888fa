"""uvicorn's WebSocket connection, with what it lacks against clients that mean harm.

Owns: the response to a handshake that cannot be read; the difference between a client that is lost
and one that closes; that a message takes no more memory than its bytes, and that no more is read
while a client does not take the answers to its pings. Must not know: HTTP before the handshake
(`_protocol`), upstreams.

`websockets` reads the head a second time, with limits of its own: 128 fields, and 8192 bytes in
each line. uvicorn does not look at what it has to say about others, so that such a client would
wait for ever.

Source: RFC 6585 section 5 (431).
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import SecurityError
from websockets.frames import Frame

from ._frames import LOST
from ._problems import Problem, encode_message
from ._record import RequestIds

TOO_LONG = Problem(
    431, "the head of the handshake has more or longer fields than a WebSocket's may"
)
INVALID = Problem(400, "the request is no valid handshake of a WebSocket")

_ids = RequestIds()


class AnsweringWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket of a client, from the handshake on."""

    _holds = False  # nothing is read until the client has taken something

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._parts = bytearray()  # of a message, from its second frame on

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn says 1005 then, as for a Close frame without a code. One that came has been said.
        if self.handshake_complete:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": LOST})
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        exc = self.conn.handshake_exc
        if exc is not None and not self.transport.is_closing():  # as after uvicorn's own refusal
            self._refuse(exc)

    def handle_cont(self, event: Frame) -> None:
        # uvicorn's list of the pieces takes some 100 bytes for each, and there may be nothing in
        # them.
        if self.frames:
            self._parts = bytearray(self.frames.pop())
        self._parts += event.data
        if event.fin:
            self.frames.append(bytes(self._parts))
            self._parts = bytearray()
            self.send_receive_event_to_app()

    def handle_ping(self) -> None:
        super().handle_ping()
        if not self.writable.is_set():
            self._holds = True
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._holds:
            self._holds = False
            if not self.read_paused:  # for a message that the gateway has not taken
                self.transport.resume_reading()

    def _refuse(self, exc: Exception) -> None:
        # Some versions have the reason as the cause.
        too_long = isinstance(exc, SecurityError) or isinstance(exc.__cause__, SecurityError)
        self.transport.write(encode_message(TOO_LONG if too_long else INVALID, _ids.make()))
        self.transport.close()
