"""A few real requests of the installed package, with nothing but what it requires and requests.

Owns: the shortest proof that a wheel works on a system where the whole suite does not run. Must not
know: the checkout, pytest. Run by ``scripts/smoke``.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

import httpcore
import httpcore_requests

THREADS, REQUESTS = 16, 50


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send(self.path.encode())

    def do_POST(self) -> None:
        self.send(self.rfile.read(int(self.headers["Content-Length"])))

    def send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def core(url: str) -> None:
    with httpcore.ConnectionPool() as pool:
        assert pool.request("GET", url + "/a").content == b"/a"
        assert pool.request("POST", url, content=b"x" * 1_000_000).content == b"x" * 1_000_000
        assert len(pool.connections) == 1


def threads(url: str) -> None:
    """Many threads share one pool, and each gets its own answers."""
    wrong: list[object] = []
    with httpcore.ConnectionPool(max_connections=4) as pool:

        def run(name: int) -> None:
            for number in range(REQUESTS):
                path = f"/{name}/{number}"
                answer = pool.request("GET", url + path).content
                if answer != path.encode():
                    wrong.append((path, answer))

        running = [threading.Thread(target=run, args=(name,)) for name in range(THREADS)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        stats = pool.stats()
    assert not wrong, wrong[0]
    assert stats["active"] == 0, stats


async def tasks(url: str) -> None:
    async with httpcore.AsyncConnectionPool(max_connections=4) as pool:
        paths = [f"/{number}" for number in range(100)]
        answers = await asyncio.gather(*(pool.request("GET", url + path) for path in paths))
        assert [answer.content.decode() for answer in answers] == paths


def under_requests(url: str) -> None:
    with httpcore_requests.Session() as session:
        assert session.get(url + "/a?b=c").text == "/a?b=c"
        try:
            session.get("http://127.0.0.1:1/", timeout=5)
        except requests.ConnectionError as exc:
            text = str(exc)
        else:
            text = "nothing listens at port 1, and yet it answered"
    assert "127.0.0.1" in text, text


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        core(url)
        threads(url)
        asyncio.run(tasks(url))
        under_requests(url)
    finally:
        server.shutdown()
        server.server_close()
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    sys.stdout.write(f"ok: Python {sys.version.split()[0]}, GIL {'on' if gil else 'off'}\n")


if __name__ == "__main__":
    main()
