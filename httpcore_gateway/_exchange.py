"""One request over HTTP: from the client to an upstream, and the response back.

Owns: the order of things: check, choose, send, send again, relay. Must not know: which fields
are passed on (`_fields`), which upstream is chosen (`_balance`), how HTTP is framed (`httpcore`
and the ASGI server).

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
from urllib.parse import quote

import httpcore
from httpcore import exceptions

from ._asgi import Receive, Scope, Send
from ._balance import Member
from ._client import BodyRefused, Client
from ._fields import (
    BadRequest,
    Fields,
    Hop,
    add_forwarded,
    add_via,
    read_fields,
    response_fields,
)
from ._problems import Problem, encode_problem
from ._record import (
    BAD_REQUEST,
    BAD_RESPONSE,
    BODY_REFUSED,
    BROKEN_RESPONSE,
    CANCELLED,
    OTHER,
    Record,
    accepts_id,
)
from ._routes import RouteState, Target, read_timeouts

logger = logging.getLogger("httpcore_gateway")

#: Bytes of a response's body that are passed on at once: what a connection reads.
PIECE = 65536
#: Methods of which two have the effect of one (RFC 9110 section 9.2.2).
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
#: The extension of ASGI for trailers, and the message that carries them.
TRAILERS = "http.response.trailers"
#: Servers have no text for a higher status, and RFC 9110 section 15 no meaning.
MAX_STATUS = 599
#: What an upstream can do wrong.
FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.RemoteProtocolError)


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


class Exchange:
    """One request, in the task that the server made for it.

    Parameters:
        gateway: finds routes, knows what is trusted, counts.
        scope, receive, send: ASGI's.
    """

    __slots__ = ("_body", "_client", "_complete", "_fields", "_gateway", "_hints", "_loop",
                 "_member", "_prefix", "_probing", "_receive", "_received", "_route", "_scope",
                 "_send", "_started", "_target", "record")  # fmt: skip

    def __init__(self, gateway: Any, scope: Scope, receive: Receive, send: Send) -> None:
        self._gateway = gateway
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._scope: Any = scope
        self._send = send
        self._body: bytes | Upload = b""
        self._client: Client | None = None
        self._complete = False  # the response was given to the server as a whole
        self._fields: Fields = []
        self._hints: asyncio.Future[Any] | None = None
        self._member: Member | None = None
        self._prefix = b""
        self._probing = False
        self._started = False
        self._target = b""
        self.record = Record(scope, gateway.ids.make(), self._loop.time())

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
        except OSError:  # ASGI 2.4: what a server raises in `send` when the client has left
            if not self._started:
                raise
            record.client_left = True
        except BaseException as exc:
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

    def _check(self) -> Problem | None:
        """Find the route, and work out what is sent to the upstream."""
        scope, gateway, record = self._scope, self._gateway, self.record
        self._received = received = read_fields(scope["headers"], gateway.name)
        peer = scope.get("client")
        hop = Hop(
            peer[0] if peer else "",
            scope.get("scheme", "http"),
            scope["http_version"],
            gateway.trusts(peer),
        )
        if hop.trusted:
            given = received.forwarded.get(b"x-request-id", b"")
            if accepts_id(given):
                record.request_id = given.decode("ascii")
        if not received.host and hop.version == "1.1":
            raise BadRequest(400, "the request has no Host")
        path, mount = path_of(scope)
        route: RouteState | None = gateway.routes.find(received.host, path)
        if route is None:
            record.failure = "no route"
            return Problem(404, "nothing is served at this host and path")
        self._route = route
        record.route = route.number
        strip = route.strip
        if strip:
            path = path[len(strip) :] or b"/"
        query = scope["query_string"]
        self._target = path + b"?" + query if query else path
        self._fields = fields = received.passed
        add_forwarded(fields, received, hop, mount + strip)
        add_via(fields, received.via, hop.version, gateway.name)
        fields.append((b"x-request-id", record.request_id.encode("ascii")))
        return None

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

    def _make_request(self, target: Target) -> httpcore.Request:
        """Return the request for an upstream."""
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
        return httpcore.Request(
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

    async def _forward(self) -> httpcore.Response | Problem:
        """Send the request to an upstream, and to another one where that is safe after a failure.
        Return the response, or what the client is told."""
        balancer, record, loop = self._route.balancer, self.record, self._loop
        tried: tuple[Member, ...] = ()
        problem: Problem | None = None
        while True:
            member: Any = balancer.choose(loop.time(), tried)
            if member is None:
                return problem or self._explain_none(balancer.retry_after(loop.time()))
            request = self._make_request(member.server)
            record.attempts += 1
            record.member = self._member = member
            self._probing = member.start()
            try:
                response: httpcore.Response = await member.server.pool.handle_async_request(request)
            except BaseException as exc:
                self._let_go()
                problem = self._explain(exc, member)
                if problem is None:
                    raise
                if not self._may_repeat(exc, len(tried)):
                    return problem
                tried += (member,)
            else:
                member.succeeded()
                return response

    def _let_go(self) -> None:
        """Note that the upstream has no more to do with this request."""
        member, self._member = self._member, None
        if member is not None:
            member.finish(self._probing)

    def _explain(self, exc: BaseException, member: Member) -> Problem | None:
        """Return what the client is told of a failure, and note it; None for what is no failure
        of the upstream."""
        record = self.record
        if isinstance(exc, httpcore.PoolTimeout):
            record.failure = str(exc)
            return Problem(503, "all connections to the server behind are in use", 1.0)
        if isinstance(exc, httpcore.LocalProtocolError):
            record.failure = str(exc)
            return Problem(400, "the request cannot be passed on: it is no valid HTTP")
        if not isinstance(exc, FAILURES):
            return None
        member.fail(self._loop.time())
        record.failure = f"{member.server.settings.url}: {type(exc).__name__}: {exc}"
        logger.warning("%s: %s", record.request_id, record.failure)
        if isinstance(exc, httpcore.TimeoutException):
            what = "could not be reached" if is_unsent(exc) else "did not answer"
            return Problem(504, f"the server behind {what} in time")
        if isinstance(exc, httpcore.RemoteProtocolError):
            if isinstance(exc, exceptions.ServerDisconnected):
                return Problem(502, "the server behind closed the connection without an answer")
            return Problem(502, "the answer of the server behind is not HTTP")
        if is_unsent(exc):
            return Problem(502, "the server behind could not be reached")
        return Problem(502, "the connection to the server behind broke off")

    def _may_repeat(self, exc: BaseException, repeats: int) -> bool:
        """Return whether the request may go to another upstream after this failure."""
        if repeats >= self._route.settings.retries or not isinstance(exc, FAILURES):
            return False
        if isinstance(self._body, Upload) and self._body.begun:
            return False
        return is_unsent(exc) or self._scope["method"] in IDEMPOTENT

    def _explain_none(self, seconds: float | None) -> Problem:
        """Return what the client is told when no upstream takes the request."""
        if seconds is None:
            self.record.failure = "all upstreams are full"
            return Problem(503, "too many requests wait for the server behind", 1.0)
        self.record.failure = "all upstreams are left out after failures"
        return Problem(503, "the server behind has failed and is left alone for a while", seconds)

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


def is_unsent(exc: BaseException) -> bool:
    """Return whether no byte of the request has left."""
    return getattr(exc, "phase", None) == "not_sent"


def path_of(scope: Any) -> tuple[bytes, bytes]:
    """Return the path of a request as the client has sent it, below the place where the gateway
    is mounted, and that place."""
    path = scope.get("raw_path")
    if path is None:  # a server that keeps the decoded path only
        path = quote(scope["path"], safe="/:@!$&'()*+,;=~").encode("ascii")
    mount = scope.get("root_path", "")
    if not mount:
        return path, b""
    prefix = quote(mount.rstrip("/"), safe="/:@!$&'()*+,;=~").encode("ascii")
    if path.startswith(prefix):
        path = path[len(prefix) :]
    return path or b"/", prefix
