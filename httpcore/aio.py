"""The asynchronous front door, as 2019 wrote it: ``from httpcore import aio``.

Owns: the top-level function for async code, and the names `ConnectionPool` and `PoolManager` for
its pools. Must not know: how a pool works.
"""

from __future__ import annotations

from ._async import AsyncConnectionPool as ConnectionPool
from ._async import AsyncPoolManager as PoolManager
from ._models import Content, Extensions, HeaderTypes, Response
from ._url import URL


async def request(
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

        response = await httpcore.aio.request("GET", "https://www.example.com/")

    Parameters, exceptions: see `AsyncConnectionPool.request`.
    """
    pool = ConnectionPool()
    try:
        return await pool.request(
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


__all__ = ["ConnectionPool", "PoolManager", "request"]
