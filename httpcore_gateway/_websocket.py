"""One WebSocket: from the client to an upstream, and both ways from then on.

Owns: the order of things: handshake, accept or refuse, relay, close on both sides. Must not know:
how the upstream is found (`_passage`), frames (`_frames` and the ASGI server).

Each message is passed on before the next one is read, in both directions, so that a slow side
slows the other one down. ASGI has whole messages: that is what is kept, one for each direction,
up to ``websocket_max_message`` bytes.

Two tasks pass the messages on. The first of these ends the WebSocket: one side closes it, is
lost, or breaks the rules. An `Ending` has the Close for each side.

Sources: asgi.readthedocs.io, "HTTP & WebSocket ASGI Message Format" 2.5 with the extension
websocket.http.response; RFC 6455 section 7 (closing).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from typing import Any, NamedTuple

import httpcore

from ._asgi import Message, Receive, Scope, Send
from ._client import WATCH_AFTER
from ._date import add_date
from ._fields import BadRequest, Fields, add_via, are_well_formed, response_fields
from ._frames import (
    BAD_GATEWAY,
    HANDSHAKE_FIELDS,
    INTERNAL_ERROR,
    LOST,
    NORMAL,
    RESTART,
    TOO_BIG,
    BadHandshake,
    Close,
    Frames,
    Handshake,
)
from ._passage import FAILURES, MAX_STATUS, Passage
from ._problems import Problem, encode_problem
from ._record import BAD_REQUEST, BAD_RESPONSE, BROKEN_RESPONSE, CANCELLED, OTHER
from ._routes import Target, read_timeouts

logger = logging.getLogger("httpcore_gateway")

#: Bytes that are read from an upstream at once.
PIECE = 65536
#: Bytes of answers to pings that wait while an upstream takes nothing. An upstream that sends
#: pings and does not read is not read from, either.
MAX_PONGS = 16384
#: Bytes of the body of a response other than 101 that are passed on: a text that explains it.
#: Servers want it whole.
MAX_REFUSAL = 65536
#: Seconds in which an upstream may answer a Close before its connection is closed. RFC 6455 section
#: 7.1.1 lets the server close first; half of the 100 ms in which the connection has to end.
CLOSE_WAIT = 0.05
#: Seconds in which a client takes a Close: what was sent before may wait in front of it.
CLIENT_CLOSE_WAIT = 10.0
#: Seconds in which the reason why nothing can be written to an upstream may still be read.
LAST_WORDS = 1.0
#: The extension of ASGI for responses other than 101.
RESPONSE = "websocket.http.response"


class Ending(NamedTuple):
    """The Close for each side at the end; None for a side that has closed by itself.

    Parameters:
        failure: what went wrong, for the log; empty for a WebSocket that a side has closed.
    """

    client: Close | None
    upstream: Close | None
    failure: str = ""


class Refusal(NamedTuple):
    """A response of the upstream other than 101."""

    status: int
    fields: Fields
    body: bytes


class Opened(NamedTuple):
    """The upstream's side of a WebSocket."""

    stream: Any
    subprotocol: str | None
    fields: Fields


class WebSocketClient:
    """The client's side of a WebSocket.

    Parameters:
        receive, send: ASGI's.

    Attributes:
        left: set when the client has closed the WebSocket, or is lost: how.
    """

    __slots__ = ("_ahead", "_loop", "_receive", "_send", "_timer", "_writing", "left")

    def __init__(self, receive: Receive, send: Send, loop: asyncio.AbstractEventLoop) -> None:
        self._receive = receive
        self._send = send
        self._loop = loop
        self._ahead: asyncio.Task[Message] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing = False
        self.left: asyncio.Future[Close] = loop.create_future()

    async def next(self) -> Message | None:
        """Return its next message; None when it has left."""
        task, self._ahead = self._ahead, None
        self._writing = False
        message = await (self._receive() if task is None else task)
        if message["type"] == "websocket.disconnect":
            self._leave(message)
            return None
        return message

    def watch(self) -> None:
        """Notice when it leaves while its last message waits to be taken. ASGI says so only to
        those that ask for the next message, which is done when the last one waits for long."""
        self._writing = True
        if self._timer is None:  # one for many messages: it looks for the one that waits then
            self._timer = self._loop.call_later(WATCH_AFTER, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._writing:
            self.look_ahead()

    def look_ahead(self) -> None:
        """Begin to ask for the next message."""
        self._ahead = self._loop.create_task(_call(self._receive))
        self._ahead.add_done_callback(self._look_at)

    def _look_at(self, task: asyncio.Task[Message]) -> None:
        if task.cancelled():
            return
        if task.exception() is not None:
            self._leave({})
        elif task.result()["type"] == "websocket.disconnect":
            self._leave(task.result())

    def _leave(self, message: Message) -> None:
        if not self.left.done():
            close = Close(message.get("code", LOST), message.get("reason") or "")
            self.left.set_result(close)

    async def send(self, message: Message) -> bool:
        """Give the server a message; return whether the client is still there."""
        try:
            await self._send(message)
        except Exception:  # OSError by ASGI 2.4; servers also raise errors of their own
            return False
        return True

    async def finish(self) -> None:
        """Stop asking."""
        if self._timer is not None:
            self._timer.cancel()
        if self._ahead is not None:
            await end_tasks(self._ahead)


class WebSocket(Passage):
    """One WebSocket, in the task that the server made for it.

    Parameters:
        gateway: finds routes, knows what is trusted, counts.
        scope, receive, send: ASGI's.
    """

    __slots__ = ("_client", "_cut", "_frames", "_handshake", "_left_out", "_lock", "_pongs",
                 "_stream", "_write_timeout")  # fmt: skip

    def __init__(self, gateway: Any, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(gateway, scope)
        self._client = WebSocketClient(receive, send, self._loop)
        self._cut = False  # a frame to the upstream is not, or may never be, written to its end
        self._frames = Frames(gateway.settings.websocket_max_message)
        self._handshake = Handshake(tuple(scope.get("subprotocols") or ()))
        self._left_out = ()
        self._lock = asyncio.Lock()  # held while something is written to the upstream
        self._pongs: asyncio.Task[None] | None = None
        self._stream: Any = None
        self._write_timeout: float | None = None

    async def run(self) -> None:
        """Serve the WebSocket."""
        record = self.record
        try:
            await self._serve()
        except asyncio.CancelledError:
            record.fail(CANCELLED, "cancelled by the server that runs the gateway")
            raise
        except BaseException as exc:
            record.fail(OTHER, f"{type(exc).__name__}: {exc}")
            raise
        finally:
            self._let_go()
            record.ended = self._loop.time()
            self._gateway.done(record)
            await self._client.finish()
            await self._close_stream()

    async def _serve(self) -> None:
        if await self._client.next() is None:  # what comes first is websocket.connect
            self.record.client_left = True
            return
        try:
            found = self._check() or await self._watch_client(self._open())
        except BadRequest as exc:
            self.record.fail(BAD_REQUEST, exc.reason)
            found = Problem(exc.status, exc.reason)
        if found is None:
            self.record.client_left = True
        elif isinstance(found, Opened):
            await self._accept(found)
        else:
            await self._refuse(found)

    # The handshake

    async def _watch_client(
        self, opening: Coroutine[Any, Any, Problem | Refusal | Opened]
    ) -> Problem | Refusal | Opened | None:
        """Return what `opening` does; None where the client leaves before."""
        self._client.look_ahead()
        task = self._loop.create_task(opening)
        try:
            await asyncio.wait((task, self._client.left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            left = not task.done() or self._client.left.done()
            if left:
                await end_tasks(task)
                await self._close_stream()
        return None if left else task.result()

    def _make_request(self, target: Target) -> tuple[httpcore.Request, Any]:
        host = self._received.host
        if not host or self._route.settings.host_header == "upstream":
            host = target.host_field
        fields = [field for field in self._fields if field[0] not in HANDSHAKE_FIELDS]
        timeouts = self._route.timeouts or read_timeouts(target.timeouts)
        request = httpcore.Request(
            b"GET",
            httpcore.URL(
                scheme=target.scheme,
                host=target.host,
                port=target.port,
                target=target.path + self._target,
            ),
            headers=[(b"Host", host), *fields, *self._handshake.fields()],
            extensions={"timeout": {**timeouts, "total": None}},
        )
        return request, target.http1_pool

    async def _open(self) -> Problem | Refusal | Opened:
        """Ask an upstream for the WebSocket."""
        members: Any = self._route.balancer.members
        self._left_out = tuple(each for each in members if not each.server.can_upgrade)
        if len(self._left_out) == len(members):
            self.record.fail(BAD_RESPONSE, "http2 over http:// has no HTTP/1.1 for WebSockets")
            return Problem(501, "the server behind speaks HTTP/2 only, without WebSockets")
        found = await self._forward()
        if isinstance(found, Problem):
            return found
        if found.status != 101:
            return await self._read_refusal(found)
        self._stream = found.extensions["network_stream"]
        self._write_timeout = self._route.settings.timeouts.write
        try:
            subprotocol = self._handshake.check(found.headers)
            fields = self._response_fields(found)
        except BadHandshake as exc:
            await self._close_stream()
            return self._blame(f"the 101 is wrong: {exc}")
        return Opened(self._stream, subprotocol, fields)

    def _blame(self, failure: str) -> Problem:
        """Note that the upstream did not answer as it should; return the problem for the
        client."""
        member: Any = self._member
        member.fail(self._loop.time())
        self.record.fail(BAD_RESPONSE, f"{member.server.settings.url}: {failure}")
        logger.warning("%s: %s", self.record.request_id, self.record.failure)
        return Problem(502, "the server behind did not answer as a WebSocket server")

    def _response_fields(self, response: httpcore.Response) -> Fields:
        fields, via = response_fields(response.headers, response.status)
        fields = [field for field in fields if field[0] not in HANDSHAKE_FIELDS]
        if not are_well_formed([name for name, _ in fields], [value for _, value in fields]):
            raise BadHandshake("a field has a control character")
        add_via(fields, via, "1.1", self._gateway.name)
        fields.append((b"x-request-id", self.record.request_id.encode("ascii")))
        return fields

    async def _read_refusal(self, response: httpcore.Response) -> Problem | Refusal:
        """Return a response other than 101, with the beginning of its body."""
        body, whole = bytearray(), False
        source: Any = response.stream
        try:
            while len(body) < MAX_REFUSAL and not whole:
                part = await source.read1(MAX_REFUSAL - len(body))
                body += part
                whole = not part or (source.complete and not source.buffered)
        except FAILURES as exc:
            return self._blame(f"{type(exc).__name__}: {exc}")
        finally:
            await response.aclose()
        if response.status > MAX_STATUS:
            return self._blame(f"the status is {response.status}")
        try:
            fields = self._response_fields(response)
        except BadHandshake as exc:
            return self._blame(f"the {response.status} is wrong: {exc}")
        if not whole:
            fields = [field for field in fields if field[0] != b"content-length"]
        add_date(fields)
        return Refusal(response.status, fields, bytes(body))

    async def _refuse(self, found: Problem | Refusal) -> None:
        """Give the client a response other than 101."""
        if isinstance(found, Problem):
            fields, body = encode_problem(found, self.record.request_id)
            found = Refusal(found.status, fields, body)
        self._let_go()
        client, record = self._client, self.record
        if RESPONSE in (self._scope.get("extensions") or ()):
            start = {
                "type": "websocket.http.response.start",
                "status": found.status,
                "headers": found.fields,
            }
            answer = {"type": "websocket.http.response.body", "body": found.body}
            if await client.send(start) and await client.send({**answer, "more_body": False}):
                record.status, record.sent = found.status, len(found.body)
                return
        elif await client.send({"type": "websocket.close", "code": NORMAL}):
            record.status = 403  # by ASGI, that is what the server makes of it
            return
        record.client_left = True

    # Both ways

    async def _accept(self, opened: Opened) -> None:
        """Open the WebSocket to the client, and pass messages on until it ends."""
        fields = [field for field in opened.fields if field[0] != b"content-length"]
        try:
            self.record.status = 101
            accepted = await self._client.send(
                {"type": "websocket.accept", "subprotocol": opened.subprotocol, "headers": fields}
            )
            if accepted:
                await self._relay()
            else:
                await self._finish(Ending(None, Close(LOST)))
        finally:
            await self._close_stream()

    async def _relay(self) -> None:
        down = self._loop.create_task(self._pass_down())
        up = self._loop.create_task(self._pass_up())
        try:
            ended: set[Any] = {down, up, self._client.left}
            ended, _ = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
            if down in ended:  # it has the upstream's own words
                ending = down.result()
            elif self._client.left in ended:
                ending = Ending(None, self._client.left.result())
            else:
                ending = up.result()
        except asyncio.CancelledError:
            await end_tasks(down, up)
            restart = Close(RESTART, "the gateway stops")
            await self._finish(Ending(restart, restart), stops=True)
            raise
        except Exception:
            await end_tasks(down, up)
            await self._finish(Ending(Close(INTERNAL_ERROR), Close(INTERNAL_ERROR)))
            raise
        await end_tasks(down, up)
        await self._finish(ending)

    async def _pass_down(self) -> Ending:
        """Pass messages from the upstream to the client, until the upstream ends."""
        client, frames, record, stream = self._client, self._frames, self.record, self._stream
        while True:
            try:
                data = await stream.read(PIECE)
            except FAILURES as exc:
                return lost(f"{type(exc).__name__}: {exc}")
            if not data:
                return lost("the connection was closed without a Close frame")
            for message in frames.receive(data):
                kind = "text" if isinstance(message, str) else "bytes"
                if not await client.send({"type": "websocket.send", kind: message}):
                    return await self._wait_for_close()
                record.sent += size_of(message)
            if frames.closed is not None:
                return Ending(frames.closed, None)
            if frames.failure:
                code = TOO_BIG if frames.too_big else BAD_GATEWAY
                text = "the message is too long" if frames.too_big else "the server behind failed"
                return Ending(Close(code, text), None, frames.failure)
            await self._send_pongs()

    async def _wait_for_close(self) -> Ending:
        """Return how the client has left, which may be known a moment later than that it has."""
        await asyncio.wait((self._client.left,), timeout=CLOSE_WAIT)
        left = self._client.left
        return Ending(None, left.result() if left.done() else Close(LOST))

    async def _pass_up(self) -> Ending:
        """Pass messages from the client to the upstream, until the client ends."""
        client, frames, record = self._client, self._frames, self.record
        limit: int = self._gateway.settings.websocket_max_message
        while True:
            message = await client.next()
            if message is None:
                return Ending(None, client.left.result())
            text, data = message.get("text"), message.get("bytes")
            if data is None:
                data = (text or "").encode("utf-8")
            if len(data) > limit:
                close = Close(TOO_BIG, "the message is too long")
                return Ending(close, close, f"the client's message has {len(data)} bytes")
            record.received += len(data)
            frames.send(data, text is not None)
            client.watch()
            try:
                await self._flush()
            except httpcore.TimeoutException as exc:
                return lost(f"{type(exc).__name__}: {exc}")
            except FAILURES as exc:
                await asyncio.sleep(LAST_WORDS)  # the other task reads them, and ends this one
                return lost(f"{type(exc).__name__}: {exc}")

    async def _flush(self) -> None:
        """Send what is to be sent to the upstream."""
        async with self._lock:
            data = self._frames.to_send()
            if data:
                self._cut = True
                await self._stream.write(data, self._write_timeout)
                self._cut = False

    async def _send_pongs(self) -> None:
        """Send the answers to pings. Reading does not wait for that: an upstream may read no more
        until what it writes itself is taken."""
        if not self._frames.pongs:
            return
        if self._frames.pongs > MAX_PONGS and self._pongs is not None:
            await asyncio.wait((self._pongs,))
        if self._pongs is None or self._pongs.done():
            self._pongs = self._loop.create_task(self._flush_quietly())

    async def _flush_quietly(self) -> None:
        try:
            await self._flush()
        except FAILURES:
            pass  # the task that reads notices as well

    # The end

    async def _finish(self, ending: Ending, stops: bool = False) -> None:
        """Tell both sides; in a hurry where the server `stops`."""
        if ending.failure:
            self.record.fail(BROKEN_RESPONSE, ending.failure)
        self.record.client_left = ending.client is None and (
            ending.upstream is None or ending.upstream.code == LOST
        )
        if self._pongs is not None:
            await end_tasks(self._pongs)
        await asyncio.gather(
            self._close_client(ending.client, CLOSE_WAIT if stops else CLIENT_CLOSE_WAIT),
            self._close_upstream(ending.upstream),
        )

    async def _close_client(self, close: Close | None, wait: float) -> None:
        if close is None:
            return
        code, reason = close.for_client()
        message = {"type": "websocket.close", "code": code, "reason": reason}
        await within(wait, self._client.send(message))

    async def _close_upstream(self, close: Close | None) -> None:
        """Send the upstream a Close frame, if that is still possible, and close the connection
        when it has closed it, or soon after."""
        try:
            # In the middle of another frame, nothing can be said any more.
            if not self._cut:
                if close is not None:
                    self._frames.close(close)
                await within(CLOSE_WAIT, self._say_goodbye())
        finally:
            await self._close_stream()
            self._let_go()

    async def _say_goodbye(self) -> None:
        try:
            await self._flush()
            if not self._frames.is_open:
                while await self._stream.read(PIECE):
                    pass
        except FAILURES:
            pass

    async def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()


def size_of(message: str | bytes) -> int:
    """Return the bytes of a message; a text is in UTF-8."""
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return len(message.encode("utf-8"))


def lost(failure: str) -> Ending:
    """Return the ending where the connection to the upstream breaks off."""
    return Ending(Close(BAD_GATEWAY, "the connection to the server behind was lost"), None, failure)


async def within(seconds: float, awaitable: Awaitable[object]) -> None:
    """Wait for something, for so many seconds at most; it is cancelled then."""
    task = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait((task,), timeout=seconds)
    finally:
        await end_tasks(task)


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for their end; what they raise is of no use any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _call(receive: Receive) -> Message:
    return await receive()
