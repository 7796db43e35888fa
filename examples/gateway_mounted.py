"""A program that answers some paths itself and passes others on, without a framework.

    python examples/gateway_mounted.py --upstream http://127.0.0.1:8001 --port 8000

``/hello`` is its own; what is below ``/shop`` goes to the upstreams, which see the path without
it and find it in X-Forwarded-Prefix. Frameworks do the same by their ``mount``.
"""

from __future__ import annotations

import argparse
from typing import Any

import uvicorn

from httpcore_gateway import Gateway

PREFIX = "/shop"


class Program:
    """An ASGI application with a gateway inside."""

    def __init__(self, upstreams: list[str]) -> None:
        self.gateway = Gateway(upstreams)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.gateway(scope, receive, send)  # which closes its connections at the end
        elif scope["path"].startswith(f"{PREFIX}/") or scope["path"] == PREFIX:
            root = scope.get("root_path", "") + PREFIX
            await self.gateway({**scope, "root_path": root}, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await answer(send, *((200, b"Hello.\n") if scope["path"] == "/hello" else (404, b"")))


async def answer(send: Any, status: int, body: bytes) -> None:
    fields = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    parser = argparse.ArgumentParser(description="Pass /shop on to other servers.")
    parser.add_argument("--upstream", action="append", required=True, metavar="URL")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    # The upstream's Server and Date pass, and the gateway reads X-Forwarded-* itself.
    uvicorn.run(
        Program(options.upstream),
        port=options.port,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )


if __name__ == "__main__":
    main()
