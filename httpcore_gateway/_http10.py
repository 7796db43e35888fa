"""Responses of unknown length to clients of HTTP/1.0, which know no chunks.

Owns: how such a response ends under each server. Must not know: upstreams, routes.

The end of the connection is the end of the response then. granian, hypercorn and uvicorn with h11
see to that. uvicorn with httptools sends chunks all the same; the object whose method its ``send``
is can be shown otherwise. Behind the ``send`` of a middleware, the server is not known: the
response is collected up to a limit, and given a length.

Source: RFC 9112 sections 6.1 (no Transfer-Encoding for HTTP/1.0) and 6.3 (8: until close).
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from ._asgi import Message, Send

#: Bytes of a response that are collected to give it a length.
MAX_COLLECTED = 1024 * 1024
#: Where servers that frame such a response rightly define the objects with ``send``.
SOUND = ("granian.", "hypercorn.", "uvicorn.protocols.http.h11_impl")
#: SO_LINGER, on, for no time: the socket is closed by a reset.
RESET = struct.pack("ii", 1, 0)
HTTPTOOLS = "uvicorn.protocols.http.httptools_impl"


class UntilClose:
    """The `send` of a response that ends with the connection, for uvicorn with httptools.

    Parameters:
        cycle: uvicorn's object for one request and its response.
    """

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        cycle.chunked_encoding = False

    async def __call__(self, message: Message) -> None:
        # No more and no less than what comes now.
        self._cycle.expected_content_length = len(message.get("body", b""))
        await self._cycle.send(message)

    def abort(self) -> None:
        """Reset the connection: its mere end would stand for the end of the response."""
        transport = self._cycle.transport
        # uvloop gives no access to options of its own socket.
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        transport.abort()


def send_until_close(send: Send) -> Send | UntilClose | None:
    """Return a `send` by which a response without a length ends with the connection; None where
    it is not known how the server frames it."""
    owner = getattr(send, "__self__", None)
    module = type(owner).__module__
    if module == HTTPTOOLS:
        return UntilClose(owner)
    return send if module.startswith(SOUND) else None
