"""One request without a pool of one's own.

Owns: the top-level functions. Each opens a connection and closes it after the response, as
in httpcore 1.0.9; for more than one request make a `ConnectionPool`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ._models import Content, Extensions, HeaderTypes, Response
from ._sync.connection_pool import ConnectionPool
from ._url import URL


def request(
    method: bytes | str,
    url: URL | bytes | str,
    *,
    headers: HeaderTypes = None,
    content: Content = None,
    body: Content = None,
    stream: bool = False,
    extensions: Extensions | None = None,
) -> Response:
    """Send one request and return the response, read unless `stream` is true::

        response = httpcore.request("GET", "https://www.example.com/")

    Parameters, exceptions: see `ConnectionPool.request`. Thread-safe.
    """
    pool = ConnectionPool()
    try:
        return pool.request(
            method,
            url,
            headers=headers,
            content=content,
            body=body,
            stream=stream,
            extensions=extensions,
        )
    finally:
        pool.retire()  # the response may still be unread


@contextmanager
def stream(
    method: bytes | str,
    url: URL | bytes | str,
    *,
    headers: HeaderTypes = None,
    content: Content = None,
    body: Content = None,
    extensions: Extensions | None = None,
) -> Iterator[Response]:
    """As `request`, but as a context manager over the unread response::

        with httpcore.stream("GET", "https://www.example.com/") as response:
            for part in response.iter_stream():
                ...

    Response and connection are closed on leaving.
    """
    with (
        ConnectionPool() as pool,
        pool.stream(
            method, url, headers=headers, content=content, body=body, extensions=extensions
        ) as response,
    ):
        yield response
