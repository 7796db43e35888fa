"""One request over HTTP: from the client to an upstream, and the response back.

Owns: the order of things: check, read, send, relay. Must not know: how the upstream is found
(`_passage`), which fields are passed on (`_fields`), how HTTP is framed (`httpcore` and the ASGI
server).

Nothing is kept whole: each piece of a body is passed on before the next one is read, so that a
slow side slows the other one down.

Sources: asgi.readthedocs.io, "HTTP & WebSocket ASGI Message Format" 2.5 with the extensions
http.response.trailers and http.response.early_hint; RFC 9110 sections 7.6, 9.2.2 and 15.6;
RFC 8297 (103).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpcore

from ._asgi import Receive, Scope, Send
from ._client import BodyRefused, Client
from ._fields import BadRequest, Fields, add_via, response_fields
from ._passage import FAILURES, Passage, is_unsent
from ._problems import Problem, encode_problem
from ._record import BAD_REQUEST, BAD_RESPONSE, BODY_REFUSED, BROKEN_RESPONSE, CANCELLED, OTHER
from ._routes import Target, read_timeouts

logger = logging.getLogger("httpcore_gateway")

#: Bytes of a response's body that are passed on at once: what a connection reads.
PIECE = 65536
#: Methods of which two have the effect of one (RFC 9110 section 9.2.2).
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
#: The extension of ASGI for trailers, and the message that carries them.
TRAILERS = "http.response.trailers"
#: Servers have no text for a higher status, and RFC 9110 section 15 no meaning.
MAX_STATUS = 599


class BrokenResponse(Exception):
    """The upstream's response ended too early, and its beginning is with the client already. The
    server that runs the gateway closes the client's connection, which tells the client."""


class Upload:
    """The body of a request that is sent while it comes.

    Parameters:
        first: what of it is there.
        client: gives the rest.

    Attributes:
        begun: more than `first` was taken, so it cannot be sent again.
    """

    __slots__ = ("_client", "_first", "_given", "begun")

    def __init__(self, first: bytes, client: Client) -> None:
        self._first = first
        self._client = client
        self._given = False
        self.begun = False

    def __aiter__(self) -> Upload:
        self._given = not self._first
        return self

    async def __anext__(self) -> bytes:
        if not self._given:
            self._given = True
            return self._first
        self.begun = True
        return await self._client.__anext__()


class Exchange(Passage):
    """One request, in the task that the server made for it.

    Parameters:
        gateway: finds routes, knows what is trusted, counts.
        scope, receive, send: ASGI's.
    """

    __slots__ = ("_body", "_client", "_complete", "_hints", "_receive", "_send", "_started")

    def __init__(self, gateway: Any, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(gateway, scope)
        self._receive = receive
        self._send = send
        self._body: bytes | Upload = b""
        self._client: Client | None = None
        self._complete = False  # the response was given to the server as a whole
        self._hints: asyncio.Future[Any] | None = None
        self._started = False

    async def run(self) -> None:
        """Serve the request. Raises only what ends the client's connection."""
        record = self.record
        try:
            problem = await self._try()
            if problem is not None:
                await self._answer(problem)
        except asyncio.CancelledError:
            if self._client is None or not self._client.left():
                if not self._complete:
                    record.fail(CANCELLED, "cancelled by the server that runs the gateway")
                raise
            # A server says so, too, to those that listen when the response is complete.
            record.client_left = not self._complete
        except BrokenResponse:
            raise
        except BaseException as exc:
            # ASGI 2.4: what a server raises in `send` when the client has left.
            record.client_left = self._started and isinstance(exc, OSError)
            if not record.client_left:
                record.fail(OTHER, f"{type(exc).__name__}: {exc}")
                raise
        finally:
            if self._client is not None:
                self._client.finish()
                record.received = self._client.received
            record.ended = self._loop.time()
            self._gateway.done(record)

    async def _try(self) -> Problem | None:
        """Pass the request on and the response back; return what is wrong instead."""
        try:
            problem = self._check()
            if problem is not None:
                return problem
            await self._read_body()
            found = await self._forward()
            if isinstance(found, Problem):
                return found
            try:
                return await self._relay(found)
            finally:
                self._let_go()
                await found.aclose()
        except (BadRequest, BodyRefused) as exc:
            kind = BAD_REQUEST if isinstance(exc, BadRequest) else BODY_REFUSED
            self.record.fail(kind, exc.reason)
            if self._started:
                raise BrokenResponse(exc.reason) from exc
            return Problem(exc.status, exc.reason)

    # The request

    async def _read_body(self) -> None:
        """Begin to take the body, and say how it is framed for the upstream."""
        received, settings = self._received, self._route.settings
        length, limit = received.length, settings.max_body
        if length is not None and limit is not None and length > limit:
            raise BodyRefused(413, f"the request's body is longer than {limit} bytes")
        client = Client(self._receive, self._loop, settings.timeouts.client, limit)
        self._client = client
        client.serve(asyncio.current_task())
        # Without either field, HTTP/1 has no body; HTTP/2 and 3 say so by the end of the stream.
        if not length and not received.chunked and self._scope["http_version"][0] == "1":
            client.expect_no_body()
            if length is not None:
                self._fields.append((b"content-length", b"0"))
            return
        first, whole = b"", False
        if received.expects:  # the server says 100 to the client when it is asked for the body
            self._fields.append((b"expect", b"100-continue"))
        else:
            first, whole = await client.read_first()
        if whole and length is None:
            length = len(first)
        if length is None:
            self._fields.append((b"transfer-encoding", b"chunked"))
        elif first or length or received.length is not None:
            self._fields.append((b"content-length", b"%d" % length))
        self._body = first if whole else Upload(first, client)

    def _make_request(self, target: Target) -> tuple[httpcore.Request, Any]:
        """Return the request for an upstream, and the pool that sends it."""
        host = self._received.host
        if not host or self._route.settings.host_header == "upstream":
            host = target.host_field
        fields = [(b"Host", host), *self._fields]
        extensions: dict[str, object] = {}
        timeouts = self._route.timeouts
        if self.record.attempts and target.timeouts.total is not None:
            timeouts = read_timeouts(target.timeouts)
        if timeouts is not None:
            passed = self._loop.time() - self.record.began
            total = timeouts["total"]
            if total is not None:
                timeouts = {**timeouts, "total": max(0.0, total - passed)}
            extensions["timeout"] = timeouts
        offered = self._scope.get("extensions")
        if offered:
            if "http.response.early_hint" in offered:
                extensions["informational"] = self._take_interim
            if self._received.trailers and TRAILERS in offered:
                fields += [(b"te", b"trailers"), (b"connection", b"te")]
        request = httpcore.Request(
            self._scope["method"],
            httpcore.URL(
                scheme=target.scheme,
                host=target.host,
                port=target.port,
                target=target.path + self._target,
            ),
            headers=fields,
            content=self._body,
            extensions=extensions or None,
        )
        return request, target.pool

    def _may_repeat(self, exc: BaseException, repeats: int) -> bool:
        if isinstance(self._body, Upload) and self._body.begun:
            return False
        safe = is_unsent(exc) or self._scope["method"] in IDEMPOTENT
        return safe and super()._may_repeat(exc, repeats)

    # The response

    def _take_interim(self, status: int, headers: Fields) -> None:
        """Pass on a 103; nothing else that comes before the response is of use to a client."""
        if status != 103 or self._hints is not None:
            return
        links = [value for name, value in headers if name.lower() == b"link"]
        if links:
            message = {"type": "http.response.early_hint", "links": links}
            self._hints = asyncio.ensure_future(self._send(message))

    async def _relay(self, response: httpcore.Response) -> Problem | None:
        """Give the response to the client."""
        status = response.status
        if status > MAX_STATUS:
            self.record.fail(BAD_RESPONSE, f"the status is {status}")
            return Problem(502, "the answer of the server behind has no valid status")
        fields, via = response_fields(response.headers, status)
        version = response.extensions["http_version"].decode("ascii").rpartition("/")[2]
        add_via(fields, via, version, self._gateway.name)
        fields.append((b"x-request-id", self.record.request_id.encode("ascii")))
        start = {"type": "http.response.start", "status": status, "headers": fields}
        trailers = self._announce_trailers(start)
        if self._hints is not None:
            await self._hints
        self.record.status = status
        self._started = True
        await self._send(start)
        try:
            await self._relay_body(response, trailers)
        except FAILURES as exc:
            self.record.fail(BROKEN_RESPONSE, f"{type(exc).__name__}: {exc}")
            logger.warning("%s: %s", self.record.request_id, self.record.failure)
            raise BrokenResponse(self.record.failure) from exc
        return None

    def _announce_trailers(self, start: dict[str, Any]) -> bool:
        """Return whether trailers are passed on, and say so in `start`."""
        fields = start["headers"]
        offered = self._scope.get("extensions")
        if offered and TRAILERS in offered:
            for name, value in fields:
                if name == b"trailer" or (
                    name == b"content-type" and value.startswith(b"application/grpc")
                ):
                    start["trailers"] = True
                    return True
        else:
            start["headers"] = [field for field in fields if field[0] != b"trailer"]
        return False

    async def _relay_body(self, response: httpcore.Response, trailers: bool) -> None:
        body: Any = response.stream
        send, record = self._send, self.record
        more = True
        while more:
            part = await body.read1(PIECE)
            # The end is told with the last piece, where it is known by then.
            more = bool(part) and not (body.complete and not body.buffered)
            await send({"type": "http.response.body", "body": part, "more_body": more})
            record.sent += len(part)
        if trailers:
            fields, _ = response_fields(response.trailers, 200)
            await send({"type": TRAILERS, "headers": fields, "more_trailers": False})
        self._complete = True

    async def _answer(self, problem: Problem) -> None:
        """Give the client a response of the gateway's own."""
        self.record.status = problem.status
        fields, body = encode_problem(problem, self.record.request_id)
        self._started = True
        await self._send(
            {"type": "http.response.start", "status": problem.status, "headers": fields}
        )
        await self._send({"type": "http.response.body", "body": body})
        self._complete = True
        self.record.sent = len(body)
