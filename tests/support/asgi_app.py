"""An ASGI application for servers of others (hypercorn). Runs in their process.

Owns: what each path answers. Must not know: anything of this project, which it cannot import.
Source: asgi.readthedocs.io, HTTP 2.3.

====================  ==========================================================
``/``                 the protocol's version
``/bytes/N``          N bytes of value N % 251, in pieces of 64 KiB
``/echo``             the body, piece by piece as it comes
``/upload``           JSON: length and sha256 of the body
====================  ==========================================================

Each answer repeats the request's ``x-nonce``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    nonce = [(k, v) for k, v in scope["headers"] if k == b"x-nonce"]
    path = scope["path"]
    await send({"type": "http.response.start", "status": 200, "headers": nonce})
    if path == "/echo":
        async for piece in _body(receive):
            await _piece(send, piece)
    elif path == "/upload":
        digest, length = hashlib.sha256(), 0
        async for piece in _body(receive):
            digest.update(piece)
            length += len(piece)
        await _piece(send, json.dumps({"length": length, "sha256": digest.hexdigest()}).encode())
    elif path.startswith("/bytes/"):
        length = left = int(path.rpartition("/")[2])
        while left:
            size = min(left, 65536)
            await _piece(send, bytes([length % 251]) * size)
            left -= size
    else:
        await _piece(send, str(scope["http_version"]).encode())
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _piece(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        yield message.get("body", b"")
        if not message.get("more_body"):
            return
