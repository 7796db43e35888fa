"""The way of a request to an upstream: what requests over HTTP and WebSockets have in common.

Owns: finding the route, what is sent to the upstream, choosing one and another one after a
failure, and the problem that the client gets for it. Must not know: how a body or a WebSocket is
passed on (`_exchange`, `_websocket`).

Sources: asgi.readthedocs.io, "HTTP & WebSocket ASGI Message Format" 2.5; RFC 9110 section 15.6.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import httpcore
from httpcore import exceptions

from ._asgi import Scope
from ._balance import Member
from ._fields import (
    BadRequest,
    Fields,
    Hop,
    ReceivedFields,
    add_forwarded,
    add_via,
    check_host,
    read_fields,
)
from ._problems import NO_TUNNELS, Problem
from ._record import (
    BAD_REQUEST,
    BAD_RESPONSE,
    BREAKER_OPEN,
    CANCELLED,
    CONNECT_ERROR,
    CONNECT_TIMEOUT,
    NETWORK_ERROR,
    NO_ROUTE,
    QUEUE_FULL,
    QUEUE_TIMEOUT,
    TIMEOUT,
    Record,
    accepts_id,
)
from ._routes import RouteState, Target

logger = logging.getLogger("httpcore_gateway")

#: Servers have no text for a higher status, and RFC 9110 section 15 no meaning.
MAX_STATUS = 599
#: Exceptions of the core that are the fault of an upstream.
FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.RemoteProtocolError)
#: Versions of HTTP by their names in scopes. granian calls 1.0 by its first number alone; and
#: servers that take other ones from the request line frame them as they frame 1.1.
VERSIONS = {
    **{f"1.{minor}": "1.1" for minor in range(1, 10)},
    "1.0": "1.0",
    "1": "1.0",
    "2": "2",
    "3": "3",
}
#: The detail of the response to a request that the core refuses to send.
NOT_HTTP = "the request cannot be passed on: it is no valid HTTP"
#: The scheme of a scope as HTTP has it: a WebSocket begins with a request of HTTP.
SCHEMES = {"ws": "http", "wss": "https"}


class Passage:
    """One request on its way to an upstream, in the task that the server made for it.

    Subclasses make the request for an upstream and choose the pool that sends it.

    Parameters:
        gateway: finds routes, knows what is trusted, counts.
        scope: ASGI's.

    Attributes:
        record: the facts of this request.
    """

    __slots__ = ("_fields", "_gateway", "_loop", "_member", "_probing", "_received", "_route",
                 "_scope", "_target", "_task", "_version", "record")  # fmt: skip

    #: Upstreams that cannot take the request, whether they are well or not.
    _left_out: tuple[Member, ...] = ()
    _received: ReceivedFields
    _route: RouteState

    def __init__(self, gateway: Any, scope: Scope) -> None:
        self._gateway = gateway
        self._loop, self._task = gateway.look_around()
        self._scope: Any = scope
        self._fields: Fields = []
        self._member: Member | None = None
        self._probing = 0  # see `Member.start`
        self._target = b""
        self._version = VERSIONS.get(scope["http_version"], "")
        self.record = Record(scope, gateway.ids.make(), self._loop.time())

    def _make_request(self, target: Target) -> tuple[httpcore.Request, Any]:
        """Return the request for an upstream, and the pool that sends it."""
        raise NotImplementedError

    def _may_repeat(self, exc: BaseException, repeats: int) -> bool:
        """Return whether the request may go to another upstream after this failure."""
        return repeats < self._route.settings.retries and isinstance(exc, FAILURES)

    def _check(self) -> Problem | None:
        """Find the route, and work out what is sent to the upstream."""
        scope, gateway, record = self._scope, self._gateway, self.record
        self._received = received = read_fields(scope["headers"], gateway.name)
        peer, scheme = scope.get("client"), scope.get("scheme", "http")
        hop = Hop(
            peer[0] if peer else "",
            SCHEMES.get(scheme, scheme),
            self._version,
            gateway.trusts(peer),
        )
        if hop.trusted:
            given = received.forwarded.get(b"x-request-id", b"")
            if accepts_id(given):
                record.request_id = given.decode("ascii")
        if not hop.version:
            raise BadRequest(505, "this version of HTTP is not supported: use HTTP/1.1")
        path, mount = path_of(scope)
        if not path.startswith(b"/") or scope.get("method") == "CONNECT":
            path = self._read_odd_target(path)
        if not received.host and hop.version == "1.1":
            raise BadRequest(400, "the request has no Host")
        if received.chunked and hop.version < "1.1":
            raise BadRequest(400, "HTTP/1.0 has no Transfer-Encoding")
        route: RouteState | None = gateway.routes.find(received.host, path)
        if route is None:
            record.fail(NO_ROUTE, "no route")
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

    def _read_odd_target(self, target: bytes) -> bytes:
        """Return the path in a target that begins with none: an absolute URL, whose host is the
        one that is asked for (RFC 9112 section 3.2.2), or the server as a whole."""
        method = self._scope.get("method", "GET")  # a WebSocket has none
        if method == "CONNECT":
            raise BadRequest(501, NO_TUNNELS)
        if target == b"*" and method == "OPTIONS":
            return target
        scheme, found, rest = target.partition(b"://")
        if not found or scheme.lower() not in (b"http", b"https"):
            raise BadRequest(400, "the target of the request is no path")
        authority, slash, path = rest.partition(b"/")
        self._received.host = check_host(authority)
        return slash + path or b"/"

    @property
    def _is_http1(self) -> bool:
        """Whether the client's connection carries one request at a time."""
        return self._version not in ("2", "3")

    async def _forward(self) -> httpcore.Response | Problem:
        """Send the request to an upstream, and to another one where that is safe after a failure.
        Return the response, or the problem for the client."""
        balancer, record, loop = self._route.balancer, self.record, self._loop
        tried = self._left_out
        problem: Problem | None = None
        while True:
            member: Any = balancer.choose(loop.time(), tried)
            if member is None:
                return problem or self._explain_none(balancer.retry_after(loop.time()))
            try:
                request, pool = self._make_request(member.server)
            except httpcore.LocalProtocolError as exc:  # the target is no valid URL
                record.fail(BAD_REQUEST, str(exc))
                return Problem(400, NOT_HTTP)
            record.attempts += 1
            record.member = self._member = member
            self._probing = member.start()
            try:
                response: httpcore.Response = await pool.handle_async_request(request)
            except BaseException as exc:
                self._let_go()
                problem = self._explain(exc, member)
                if problem is None:
                    raise
                if not self._may_repeat(exc, record.attempts - 1):
                    return problem
                tried += (member,)
            else:
                member.succeeded()
                if record.failure:
                    record.recover()
                return response

    def _let_go(self) -> None:
        """Note that the upstream has no more to do with this request."""
        member, self._member = self._member, None
        if member is not None:
            member.finish(self._probing)

    def _explain(self, exc: BaseException, member: Member) -> Problem | None:
        """Return the problem for the client after a failure, and record it; None for an exception
        that is no failure of an upstream."""
        record = self.record
        if self._gateway.closed and isinstance(exc, (*FAILURES, RuntimeError)):
            record.fail(CANCELLED, f"the gateway stops: {type(exc).__name__}: {exc}")
            return Problem(503, "the gateway is being stopped", 1.0)
        if isinstance(exc, httpcore.PoolTimeout):
            record.fail(QUEUE_TIMEOUT, str(exc))
            return Problem(503, "all connections to the server behind are in use", 1.0)
        if isinstance(exc, httpcore.LocalProtocolError):
            record.fail(BAD_REQUEST, str(exc))
            return Problem(400, NOT_HTTP)
        if not isinstance(exc, FAILURES):
            return None
        member.fail(self._loop.time())
        url = member.server.settings.url
        record.fail(kind_of(exc), f"{url}: {type(exc).__name__}: {exc}")
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

    def _explain_none(self, seconds: float | None) -> Problem:
        """Return the problem for the client when no upstream takes the request."""
        if seconds is None:
            self.record.fail(QUEUE_FULL, "all upstreams are full")
            return Problem(503, "too many requests wait for the server behind", 1.0)
        self.record.fail(BREAKER_OPEN, "all upstreams are left out after failures")
        return Problem(503, "the server behind has failed and is left alone for a while", seconds)


def is_unsent(exc: BaseException) -> bool:
    """Return whether no byte of the request has left."""
    return getattr(exc, "phase", None) == "not_sent"


def kind_of(exc: BaseException) -> str:
    """Return the kind of one of FAILURES: one of `_record.KINDS`."""
    if isinstance(exc, httpcore.TimeoutException):
        return CONNECT_TIMEOUT if is_unsent(exc) else TIMEOUT
    if isinstance(exc, httpcore.RemoteProtocolError):
        disconnected = isinstance(exc, exceptions.ServerDisconnected)
        return NETWORK_ERROR if disconnected else BAD_RESPONSE
    return CONNECT_ERROR if is_unsent(exc) else NETWORK_ERROR


def path_of(scope: Any) -> tuple[bytes, bytes]:
    """Return the path of a request as the client has sent it, below the place where the gateway
    is mounted, and that place."""
    path = scope.get("raw_path")
    if path is None:  # a server that keeps the decoded path only
        path = quote(scope["path"], safe="/:@!$&'()*+,;=~").encode("ascii")
    mount = scope.get("root_path", "")
    if not mount:
        return path, b""
    mount = mount.rstrip("/")
    prefix = quote(mount, safe="/:@!$&'()*+,;=~").encode("ascii")
    if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"/", b""):
        path = path[len(prefix) :]
    else:  # the client has encoded more of it than it had to
        wanted = mount.encode("utf-8")
        for end in range(len(prefix), len(path) + 1):
            if path[end : end + 1] in (b"/", b"") and unquote_to_bytes(path[:end]) == wanted:
                path = path[end:]
                break
    return path or b"/", prefix
