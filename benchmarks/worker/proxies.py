"""Reverse proxies written by hand, as a careful user would on httpx and on aiohttp's client.

Owns: passing a request on and its answer back, with each client. Must not know: servers, clocks.

All of them stream both ways, take hop-by-hop fields out (RFC 9110 7.6.1), say where the request
came from in X-Forwarded-*, follow no redirect, keep no cookie and decode nothing. None of them
watches for a client that leaves, limits anything, or tries another upstream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

Fields = list[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

#: Seconds to connect, and between two pieces of an answer. Nobody waits for a connection of the
#: pool less long than it takes.
_CONNECT, _READ = 5.0, 60.0

_HOP_BY_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    )
)

#: What a client says of itself is not believed.
_FORWARDED = frozenset(
    (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto")
)


class Disconnected(Exception):
    """Raised when the client leaves before its body is complete."""


def _without_hops(fields: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Return the fields with lower-case names, without those that concern one connection."""
    lowered = [(name.lower(), value) for name, value in fields]
    listed = {
        option.strip().lower()
        for name, value in lowered
        if name == b"connection"
        for option in value.split(b",")
    }
    for field in lowered:
        if field[0] not in _HOP_BY_HOP and field[0] not in listed:
            yield field


def request_fields(scope: dict[str, Any]) -> Fields:
    """Return the fields of the request to the upstream."""
    fields = [field for field in _without_hops(scope["headers"]) if field[0] not in _FORWARDED]
    hosts = [value for name, value in fields if name == b"host"]
    fields += [
        (b"x-forwarded-for", scope["client"][0].encode("ascii")),
        (b"x-forwarded-proto", scope["scheme"].encode("ascii")),
        *((b"x-forwarded-host", host) for host in hosts),
    ]
    return fields


def response_fields(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Return the fields of the response to the client."""
    return list(_without_hops(fields))


def _target(scope: dict[str, Any]) -> str:
    query = scope["query_string"]
    return (scope["raw_path"] + (b"?" + query if query else b"")).decode("ascii")


def _body(scope: dict[str, Any], receive: Receive) -> AsyncIterator[bytes] | None:
    """Return the pieces of a request's body; None for a request without one."""
    if any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"]):
        return _pieces(receive)
    return None


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        more = message.get("more_body", False)
        if message.get("body"):
            yield message["body"]


class _Application:
    """The base class of the proxies: the calls of ASGI."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        raise NotImplementedError

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        started = False

        async def watched(message: dict[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.answer(scope, receive, watched)
        except Disconnected:
            return
        except Exception:
            if started:  # all that is left is to break the connection off, as the server does
                raise
            await _send_head(send, 502, [(b"content-length", b"0")])
            await _send_end(send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _send_head(send: Send, status: int, fields: Fields) -> None:
    await send({"type": "http.response.start", "status": status, "headers": fields})


async def _send_body(send: Send, pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await _send_end(send)


async def _send_end(send: Send) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class Hello(_Application):
    """Answers by itself, to measure the server without a proxy."""

    def __init__(self, size: int) -> None:
        self._body = bytes(size)
        self._fields = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % size)]

    async def answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await _send_head(send, 200, self._fields)
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


class HttpxProxy(_Application):
    """On `httpx.AsyncClient`."""

    def __init__(self, upstream: str, connections: int) -> None:
        self._upstream = upstream
        self._connections = connections

    async def open(self) -> None:
        import httpx

        self._httpx = httpx
        limits = httpx.Limits(
            max_connections=self._connections, max_keepalive_connections=self._connections
        )
        timeout = httpx.Timeout(_READ, connect=_CONNECT)
        self._client = httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)

    async def answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        # Not `build_request`: that one adds the client's own fields and cookies.
        request = self._httpx.Request(
            scope["method"],
            self._upstream + _target(scope),
            headers=request_fields(scope),
            content=_body(scope, receive),
            extensions={"target": _target(scope).encode("ascii")},  # it would resolve `..`
        )
        response = await self._client.send(request, stream=True)
        try:
            fields = response_fields(response.headers.raw)
            await _send_head(send, response.status_code, fields)
            await _send_body(send, response.aiter_raw())
        finally:
            await response.aclose()

    async def close(self) -> None:
        await self._client.aclose()


class AiohttpProxy(_Application):
    """On `aiohttp.ClientSession`."""

    def __init__(self, upstream: str, connections: int) -> None:
        self._upstream = upstream
        self._connections = connections

    async def open(self) -> None:
        import aiohttp
        import yarl

        self._url = yarl.URL
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_READ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            auto_decompress=False,
        )

    async def answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        fields = [(name.decode(), value.decode("latin-1")) for name, value in request_fields(scope)]
        async with self._session.request(
            scope["method"],
            self._url(self._upstream + _target(scope), encoded=True),
            headers=fields,
            data=_body(scope, receive),
            allow_redirects=False,
        ) as response:
            await _send_head(send, response.status, response_fields(response.raw_headers))
            await _send_body(send, response.content.iter_any())

    async def close(self) -> None:
        await self._session.close()
