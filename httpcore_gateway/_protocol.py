"""uvicorn's HTTP connection, with limits of the head of a request.

Owns: how long a head may be and how long it may take, the responses to requests that no
application sees, and that head and body of a small response are one write. Must not know: the
gateway's routes.

httptools limits neither, and keeps whatever comes until a line of the head is complete. The bytes
of a head are counted read by read, and exactly only where a read brought more than is allowed:
most heads come whole in one read, and cost a comparison.

httptools takes all that follows a head with Upgrade for another protocol, and gives the request no
body. Of the protocols only WebSocket is spoken here, and a server ignores an Upgrade that it does
not know (clients that ask for h2c send bodies with it): such a head is read again without it, then
the body as any other. The same is done with an Upgrade to WebSocket where the request is no
handshake: its method is not GET, its version not 1.1, or it has a body.

uvicorn forgets the host of a target that is a whole URL, and stumbles over one without a path. The
head that it sees has the path as its target, and the URL's host as its Host.

Sources: RFC 9112 sections 2.2, 3.2.2 (absolute-form) and 9.3, RFC 9110 sections 6.5.1 (trailers
are no headers), 7.8 (Upgrade) and 15.5.9 (408), RFC 6585 section 5 (431).
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ._asgi import Receive, Scope, Send
from ._fields import BadRequest, check_host
from ._problems import NO_TUNNELS, Problem, encode_message, encode_problem
from ._record import RequestIds
from ._writer import MAX_JOINED

#: Between two requests, in a head, in a body.
IDLE, HEAD, BODY = range(3)
#: Bytes of a field line besides name and value, and of a request line besides the target.
LINE_EXTRA, REQUEST_LINE_EXTRA = 4, 16

INVALID = Problem(400, "the request is no valid HTTP")
#: llhttp has a list of methods, in capitals; RFC 9110 section 15.6.2 has the status.
UNKNOWN_METHOD = Problem(501, "the request begins with no method that this server knows")
TOO_LONG = Problem(431, "the head of the request is longer than this server takes")
TOO_SLOW = Problem(408, "the head of the request did not come in time")
#: Seconds until another try makes sense: requests end all the time.
BUSY = Problem(503, "this server has as many connections or requests as it takes", 1.0)

#: A target that is a whole URL: its host, with a port, and the rest.
_ABSOLUTE = re.compile(rb"https?://([^/?]+)(.*)", re.IGNORECASE | re.DOTALL)

_ids = RequestIds()


class HeadRefused(Exception):
    """Raised inside the parser to stop it: the head is refused."""


class Busy:
    """The application for a request above the limit, in place of uvicorn's.

    Parameters:
        request_id: of the request.
    """

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 503."""
        fields, body = encode_problem(BUSY, self._request_id)
        fields.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": BUSY.status, "headers": fields})
        await send({"type": "http.response.body", "body": body})


class JoiningTransport:
    """A transport that writes the head of a response together with what comes right after it.

    uvicorn writes head and body one after the other, which is a system call and a packet for each.
    What is held back leaves with the next write, or as soon as the loop has gone round, or when
    the connection is closed.

    Parameters:
        transport: the real one, which does everything else.
        loop: the event loop.

    Attributes:
        holds: the next write is held back.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self.holds = False
        # As they are, so that they cost no call of ours.
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write `data`, after what is held back."""
        if self._held:
            held, self._held = self._held, b""
            if len(data) <= MAX_JOINED:
                data = held + data
            else:
                self._transport.write(held)
            self._transport.write(data)
        elif self.holds:
            self.holds = False
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def write_whole(self, data: bytes) -> None:
        """Write a response that is complete, after what is held back."""
        if self._held:
            self.write(data)
        else:
            self._transport.write(data)

    def writelines(self, parts: Iterable[bytes]) -> None:
        """Write all `parts`, after what is held back."""
        self._flush()
        self._transport.writelines(parts)

    def write_eof(self) -> None:
        """End the sending side, after what is held back."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Close the connection when all was sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held and not self.is_closing():
            held, self._held = self._held, b""
            self._transport.write(held)


class LimitedProtocol(HttpToolsProtocol):
    """A connection of a client.

    Parameters:
        config: has `max_head` (bytes) and `head_timeout` (seconds) besides uvicorn's settings.
    """

    def __init__(self, config: Any, *args: Any, **options: Any) -> None:
        super().__init__(config, *args, **options)
        self._max_head: int = config.max_head
        self._head_timeout: float = config.head_timeout
        # uvicorn's own check has a response of its own, and refuses the last connection allowed.
        self._limit, self.limit_concurrency = self.limit_concurrency, None
        self._at = IDLE
        self._size = 0  # bytes of the unfinished head in earlier reads
        self._read = 0  # bytes of this read and of `_size`
        self._moved = False  # a head ended, or a piece of a body came, in this read
        self._refusal = INVALID
        self._ignored = False  # the head that has just ended has an Upgrade to be ignored
        self._upgrade_at = -1  # where in this read such a head ends
        self._timer: asyncio.TimerHandle | None = None
        self._served: Any = None  # uvicorn's object for the request that others have waited behind
        self._joining: JoiningTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._joining = JoiningTransport(transport, self.loop)
        super().connection_made(self._joining)  # type: ignore[arg-type]
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        served = self._served
        if served is not None and not served.response_complete:
            served.disconnected = True
            served.message_event.set()
        super().connection_lost(exc)  # which does the same for the last request that has come

    # The parser's callbacks

    def on_message_begin(self) -> None:
        self._at = HEAD
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._read > self._max_head and self._head_size() > self._max_head:
            self._refusal = TOO_LONG
            raise HeadRefused
        if not self.url.startswith(b"/"):
            self._read_target()
        upgrades = self.parser.should_upgrade()
        if upgrades and self.parser.get_method() != b"CONNECT" and not self._should_upgrade():
            self._ignored = True
            return
        self._moved = True
        if self._timer is not None:
            self._stop_timer()
        self._joining.holds = True
        before = self.cycle
        if self._limit is None or not self._is_busy(self._limit):
            super().on_headers_complete()
        else:
            self._refuse_busy()
        self._at = BODY  # uvicorn refuses targets: up to here it is the head that is wrong
        if self.pipeline:
            self._follow(before)
        if not upgrades:
            # The scope has the list with the fields of the head. The parser reports trailers in
            # the same way: they are no fields of the head, and nothing is done with them.
            self.headers = []

    def _read_target(self) -> None:
        """Put path and query in place of a target that is a whole URL, and its host in place of
        each Host. Raises HeadRefused for what is neither that nor ``*``."""
        if self.parser.get_method() == b"CONNECT":
            self._refusal = Problem(501, NO_TUNNELS)
            raise HeadRefused
        if self.url == b"*":
            return
        match = _ABSOLUTE.fullmatch(self.url)
        if match is None:
            raise HeadRefused
        try:
            host = check_host(match[1])
        except BadRequest as exc:
            self._refusal = Problem(exc.status, exc.reason)
            raise HeadRefused from None
        self.url = match[2] if match[2].startswith(b"/") else b"/" + match[2]
        # The scope has this list. How many Hosts there are is looked at later, as with a path.
        fields = self.headers
        fields[:] = [(name, host if name == b"host" else value) for name, value in fields]

    def _should_upgrade(self) -> bool:
        """Return whether this is the handshake of a WebSocket (RFC 6455 section 4.1). uvicorn would
        lose the body of another request, and wait for it."""
        if not super()._should_upgrade():
            return False
        if self.parser.get_method() != b"GET" or self.parser.get_http_version() != "1.1":
            return False
        return not any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self.headers
        )

    def _is_busy(self, limit: int) -> bool:
        """Return whether there are more connections or requests than allowed; the new connection
        is one of them already, and its request is not."""
        return len(self.connections) > limit or len(self.tasks) >= limit

    def _refuse_busy(self) -> None:
        """Have the request answered with 503."""
        request_id = _ids.make()
        self.logger.warning("%s: answered with 503, above limit_concurrency", request_id)
        app, self.app = self.app, Busy(request_id)
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def _follow(self, before: Any) -> None:
        """Note which request is served while the one whose head has just come waits behind
        `before`: only that one has to hear that the client has left."""
        if len(self.pipeline) == 1:
            self._served = before
        following = self.cycle

        def go_on() -> None:
            self._served = following
            self.on_response_complete()

        before.on_response = go_on

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._ignored:
            return
        self._at = IDLE
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Note where the head ends: uvicorn calls it while it handles the parser's exception."""
        if self._ignored:
            exc = sys.exc_info()[1]
            assert isinstance(exc, httptools.HttpParserUpgrade)
            self._upgrade_at = exc.args[0]

    def _head_without_upgrade(self) -> bytes:
        """Return the head that has just been read, as the client would have sent it without
        Upgrade. The fields that Connection lists beside it are dropped later as they would be."""
        version = self.parser.get_http_version().encode("ascii")
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection":
                options = [option.strip() for option in value.split(b",")]
                value = b", ".join(o for o in options if o.lower() != b"upgrade")
            if name != b"upgrade":
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    def _read_without_upgrade(self, data: bytes) -> None:
        """Read on where a head with an Upgrade to be ignored has ended in `data`."""
        rest = memoryview(data)
        while self._upgrade_at >= 0 and not self.transport.is_closing():
            rest = rest[self._upgrade_at :]
            self._ignored, self._upgrade_at = False, -1
            head = self._head_without_upgrade()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            super().data_received(head)
            if rest and not self.transport.is_closing():
                super().data_received(rest)  # type: ignore[arg-type]

    def _head_size(self) -> int:
        """Return the bytes of the head that is complete now."""
        lines = sum(len(name) + len(value) + LINE_EXTRA for name, value in self.headers)
        return len(self.url) + REQUEST_LINE_EXTRA + lines

    # What comes

    def data_received(self, data: bytes) -> None:
        # The head begins with this read, or earlier; where a body ends in it, later, and what is
        # counted too little then is one read at most.
        self._read = self._size + len(data)
        self._moved = False
        super().data_received(data)
        if self._upgrade_at >= 0:
            self._read_without_upgrade(data)
        if self._at == IDLE:
            self._size = 0
        elif self._moved:
            self._size = 0
            if self._at == HEAD:
                self._start_timer()
        elif not self.transport.is_closing():
            # Nothing but a part of a head; or of trailers, which the parser keeps as well.
            self._size = self._read
            if self._size > self._max_head:
                self._refuse(TOO_LONG)
            elif self._at == HEAD and self._timer is None:
                self._start_timer()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self._head_timeout, self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        self._timer = None
        if self._at == IDLE:  # not a byte of a request
            self.transport.close()
        elif not self.transport.is_closing():
            self._refuse(TOO_SLOW)

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser has not understood, or what a callback has refused."""
        unknown = isinstance(sys.exc_info()[1], httptools.HttpParserInvalidMethodError)
        self._refuse(UNKNOWN_METHOD if unknown else self._refusal)

    def _refuse(self, problem: Problem) -> None:
        """Answer, where the client would not take that for a part of another response or for the
        response to another request; close the connection."""
        self._stop_timer()
        cycle = self.cycle
        if self._at == BODY:
            answers = not cycle.response_started and not self.pipeline
        else:
            answers = cycle is None or cycle.response_complete
        if answers:
            self.transport.write(encode_message(problem, _ids.make()))
        self.transport.close()
