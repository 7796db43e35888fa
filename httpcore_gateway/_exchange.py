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

from ._asgi import Message, Receive, Scope, Send
from ._client import BodyRefused, Client
from ._date import add_date
from ._fields import (
    BadRequest,
    Fields,
    add_via,
    are_well_formed,
    count_down,
    response_fields,
)
from ._http10 import MAX_COLLECTED, UntilClose, send_until_close
from ._passage import FAILURES, MAX_STATUS, Passage, is_unsent
from ._problems import Problem, Refused, encode_problem
from ._record import (
    BAD_REQUEST,
    BAD_RESPONSE,
    BODY_REFUSED,
    BROKEN_RESPONSE,
    CANCELLED,
    CLIENT_TIMEOUT,
    OTHER,
)
from ._routes import Target, read_timeouts
from ._writer import MAX_JOINED, write_response

logger = logging.getLogger("httpcore_gateway")

#: Methods of which two have the effect of one (RFC 9110 section 9.2.2).
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
#: Bytes of a response that are passed on at once: the most that the core reads at once. A request
#: holds two such pieces at most: one in the server's buffer, which waits for the client, and the
#: next one.
PIECE = 262144
#: The extension of ASGI for trailers, and the message that carries them.
TRAILERS = "http.response.trailers"


class BrokenResponse(Exception):
    """The upstream's response ended too early, and its beginning is with the client already.

    The application returns then: all servers close the connection of a response that is not
    complete, and log a line, where they log a traceback of what is raised. (But for HTTP/2 under
    hypercorn, which leaves the stream open in both cases.)
    """


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

    __slots__ = ("_body", "_client", "_collected", "_complete", "_hints", "_links", "_receive",
                 "_send", "_started")  # fmt: skip

    def __init__(self, gateway: Any, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(gateway, scope)
        self._receive = receive
        self._send = send
        self._body: bytes | Upload = b""
        self._client: Client | None = None
        self._collected = b""  # what of the response's body was read before it began
        self._complete = False  # the response was given to the server as a whole
        self._hints: asyncio.Task[None] | None = None
        self._links: list[list[bytes]] = []  # of 103 responses that are not sent yet
        self._started = False

    async def run(self) -> None:
        """Serve the request. A response that broke off is left incomplete, so that the server
        closes the client's connection."""
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
            # Servers send http.disconnect, too, after a complete response.
            record.client_left = not self._complete
            if self._client.failure:
                record.fail(CLIENT_TIMEOUT, self._client.failure)
        except BrokenResponse:
            if isinstance(self._send, UntilClose):
                self._send.abort()
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
            if self._hints is not None:
                self._hints.cancel()
            record.ended = self._loop.time()
            self._gateway.done(record)

    async def _try(self) -> Problem | None:
        """Pass the request on and the response back; return what is wrong instead."""
        try:
            problem = self._check()
            if problem is None and self._received.hops:
                problem = self._answer_for_itself()
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
        except Refused as exc:
            kind = BAD_REQUEST if isinstance(exc, BadRequest) else BODY_REFUSED
            self.record.fail(CLIENT_TIMEOUT if exc.status == 408 else kind, exc.reason)
            if self._started:
                raise BrokenResponse(exc.reason) from exc
            return Problem(exc.status, exc.reason, closes=exc.status != 413)

    # The request

    def _answer_for_itself(self) -> Problem | None:
        """Return the response to a request that is not to be passed on, by its Max-Forwards.

        TRACE is not answered, as by nginx and other servers: the answer would repeat the fields of
        the request, cookies and what proxies in front have added.
        """
        method = self._scope["method"]
        if method not in ("OPTIONS", "TRACE"):  # of others it may be ignored
            return None
        if count_down(self._received):
            self._fields = self._received.passed
            return None
        if method == "OPTIONS":
            return Problem(204, "")
        self.record.fail(BAD_REQUEST, "TRACE for the gateway itself")
        return Problem(405, "TRACE is not answered here", allow=b"OPTIONS")

    async def _read_body(self) -> None:
        """Begin to read the body, and add the field that frames it for the upstream."""
        received, settings = self._received, self._route.settings
        length, limit = received.length, settings.max_body
        patience = settings.timeouts.client
        client = Client(self._receive, self._loop, patience, limit, received.expects)
        self._client = client
        client.serve(self._task)
        if length is not None and limit is not None and length > limit:
            raise BodyRefused(413, f"the request's body is longer than {limit} bytes")
        # In HTTP/1, no body comes without either field. HTTP/2 and 3 need none: the stream ends.
        if not length and not received.chunked and self._is_http1:
            client.expect_no_body()
            if length is not None:
                self._fields.append((b"content-length", b"0"))
            return
        first, whole = b"", False
        if received.expects:  # the server says 100 to the client when it is asked for the body
            self._fields.append((b"expect", b"100-continue"))
        else:
            first, whole = await client.read_first()
        if whole:
            if length is not None and length != len(first):
                raise BadRequest(400, "the request's body is not as long as its Content-Length")
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
        total = self._route.settings.timeouts.total
        if total is not None:  # less the time that has passed
            left = max(0.0, total - (self._loop.time() - self.record.began))
            timeouts = {**read_timeouts(self._route.settings.timeouts), "total": left}
        if timeouts is not None:
            extensions["timeout"] = timeouts
        if isinstance(self._body, Upload):
            extensions["early_response"] = True
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
                target=self._target if self._target == b"*" else target.path + self._target,
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
        links = [
            value
            for name, value in headers
            if name.lower() == b"link" and are_well_formed((), [value])
        ]
        if status == 103 and links:
            self._links.append(links)
            if self._hints is None:
                self._hints = self._loop.create_task(self._send_hints())

    async def _send_hints(self) -> None:
        while self._links:
            await self._send({"type": "http.response.early_hint", "links": self._links.pop(0)})
        self._hints = None

    async def _relay(self, response: httpcore.Response) -> Problem | None:
        """Give the response to the client."""
        status = response.status
        if status > MAX_STATUS:
            self.record.fail(BAD_RESPONSE, f"the status is {status}")
            return Problem(502, "the answer of the server behind has no valid status")
        fields, via = response_fields(response.headers, status)
        version = response.extensions["http_version"].decode("ascii").rpartition("/")[2]
        add_via(fields, via, version, self._gateway.name)
        add_date(fields)
        fields.append((b"x-request-id", self.record.request_id.encode("ascii")))
        start: Message = {"type": "http.response.start", "status": status, "headers": fields}
        trailers = self._announce_trailers(start)
        if not trailers and self._write_whole(response, status, start["headers"]):
            return None
        if not are_well_formed(*zip(*fields, strict=True)):
            self.record.fail(BAD_RESPONSE, "a field has a control character")
            return Problem(
                502, "the answer of the server behind has a control character in a field"
            )
        try:
            if self._version < "1.1" and self._has_no_length(start):
                problem = await self._collect(response, start)
                if problem is not None:
                    return problem
            await self._start(start)
            await self._relay_body(response, trailers)
        except FAILURES as exc:
            self.record.fail(BROKEN_RESPONSE, f"{type(exc).__name__}: {exc}")
            logger.warning("%s: %s", self.record.request_id, self.record.failure)
            if not self._started:
                return Problem(502, "the connection to the server behind broke off")
            raise BrokenResponse(self.record.failure) from exc
        return None

    def _write_whole(self, response: httpcore.Response, status: int, fields: Fields) -> bool:
        """Return whether the server took the response in one step, as one that is small and there
        as a whole."""
        body: Any = response.stream
        client: Any = self._client
        if not (body.complete and client.ended) or client.asks or self._hints is not None:
            return False
        if self._version != "1.1" or body.buffered > MAX_JOINED:
            return False
        part = body.take(MAX_JOINED)
        if not write_response(self._send, status, fields, part):
            self._collected = part
            return False
        record = self.record
        record.status = status
        record.sent += len(part)
        self._started = self._complete = True
        return True

    def _has_no_length(self, start: Message) -> bool:
        """Return whether only chunks could say where the response ends."""
        if self._scope["method"] == "HEAD" or start["status"] in (204, 304):
            return False
        return all(name != b"content-length" for name, _ in start["headers"])

    async def _collect(self, response: httpcore.Response, start: Message) -> Problem | None:
        """Prepare a response of unknown length for a client of HTTP/1.0."""
        send = send_until_close(self._send)
        if send is not None:
            self._send = send
            return None
        body: Any = response.stream
        whole = bytearray()
        while part := await body.read1(PIECE):
            whole += part
            if len(whole) > MAX_COLLECTED:
                self.record.fail(BAD_REQUEST, "a long response without a length, for HTTP/1.0")
                return Problem(505, "the response has no length: use HTTP/1.1")
        _check_end(body)
        start["headers"].append((b"content-length", b"%d" % len(whole)))
        self._collected = bytes(whole)
        return None

    async def _start(self, start: Message) -> None:
        """Begin the response."""
        if self._hints is not None:
            await self._hints
        if self._client is not None and self._client.asks and self._is_http1:
            # It may send its body or not, and the server could take the next request for it.
            start["headers"].append((b"connection", b"close"))
        self.record.status = start["status"]
        self._started = True
        await self._send(start)

    async def _end(self, body: bytes) -> None:
        """Give the server the last piece of the response.

        A server may close the connection of a client that sends its body still, which takes the
        response away from it: so that is taken first, for a while.
        """
        client, record = self._client, self.record
        if client is not None and not (client.ended or client.asks) and self._is_http1:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            record.sent += len(body)
            await client.drain()
            body = b""
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        record.sent += len(body)
        self._complete = True

    def _announce_trailers(self, start: Message) -> bool:
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
        client: Any = self._client
        send, record = self._send, self.record
        part = self._collected
        while True:
            part = part or await body.read1(PIECE)
            # Where the end is known with the last piece, one message has both.
            if not part or (body.complete and not body.buffered):
                break
            client.taken = record.sent
            await send({"type": "http.response.body", "body": part, "more_body": True})
            client.taken = None
            record.sent += len(part)
            part = b""
        _check_end(body)
        if not client.ended:  # which takes time, and needs no upstream
            self._let_go()
            await response.aclose()
        client.taken = record.sent
        await self._end(part)
        if trailers:
            found, _ = response_fields(response.trailers, 200)
            fields = [(name, value) for name, value in found if are_well_formed([name], [value])]
            self._complete = False
            await send({"type": TRAILERS, "headers": fields, "more_trailers": False})
            self._complete = True

    async def _answer(self, problem: Problem) -> None:
        """Give the client a response of the gateway's own."""
        fields, body = encode_problem(problem, self.record.request_id)
        if self._client is None:
            self._client = self._unread_client()
        if problem.closes:
            self._client.asks = True
        await self._start(
            {"type": "http.response.start", "status": problem.status, "headers": fields}
        )
        await self._end(body)

    def _unread_client(self) -> Client:
        """Return the client of a request that was refused before its body was looked at."""
        client = Client(self._receive, self._loop, None, None)
        names = {name for name, _ in self._scope["headers"]}
        client.asks = b"expect" in names
        client.ended = not (b"content-length" in names or b"transfer-encoding" in names)
        return client


def _check_end(body: Any) -> None:
    """Raise IncompleteBody where a body ended with its connection, and TLS did not say that this
    was the end (RFC 9112 section 9.8): the client is to see that it may have been cut short."""
    if body.unclean_tls_eof:
        raise httpcore.exceptions.IncompleteBody("TLS ended without close_notify")
