"""What a worker is told to do. Must not know: how any client works."""

from __future__ import annotations

import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

#: The same fields from everybody. Clients add Host and Content-Length themselves.
HEADERS = {"User-Agent": "benchmark", "Accept": "*/*", "Accept-Encoding": "identity"}


class Job(NamedTuple):
    """The first line on standard input.

    Parameters:
        peer: which client is used.
        kind: which program is run, see `__main__`.
        url: what is asked for.
        received: bytes in the body of each answer.
        upload: bytes in the body of each request; above zero makes it a POST.
        threads: how many threads, or tasks of an event loop, send requests at the same time.
        connections: the limit of the pool.
        authorities: the file of the CA bundle.
        variant: what is special about this contestant, see `connects` and `tasks`.
        file: a file of `received` or `upload` bytes, for the memory checks that need one.
        http2: whether the client is to speak HTTP/2.
        streams: how many streams a memory check opens, where it is their number that matters.
    """

    peer: str
    kind: str
    url: str
    received: int = 0
    upload: int = 0
    threads: int = 1
    connections: int = 1
    authorities: str = ""
    file: str = ""
    variant: str = ""
    http2: bool = False
    streams: int = 0

    @property
    def method(self) -> str:
        return "POST" if self.upload else "GET"

    @property
    def body(self) -> bytes | None:
        return bytes(self.upload) if self.upload else None

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        if not self.url.startswith("https:"):
            return None
        return ssl.create_default_context(cafile=self.authorities)
