"""The methods that everything that takes requests has in common.

Owns: `request` and `stream`, written once over `handle_async_request`. Must not know: pools,
sockets. Sources: httpcore 1.0.9 (names), the 2019 front door (``body=``, ``stream=True``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from .._core.connection_state import ConnectionFacts
from .._models import Content, Extensions, HeaderTypes, Request, Response, build_request
from .._url import URL

Sender = TypeVar("Sender", bound="AsyncRequestInterface")


class AsyncRequestInterface:
    """Anything that can send a request."""

    async def request(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: HeaderTypes = None,
        content: Content = None,
        body: Content = None,
        stream: bool = False,
        extensions: Extensions | None = None,
    ) -> Response:
        """Send a request and read the response.

        Parameters:
            content: the body: bytes, a file opened in binary mode, or an asynchronous iterable of
                bytes.
            body: the 2019 name of `content`.
            stream: True leaves the body unread; read it, or call its ``aclose``, yourself.
            extensions: see `Request`; ``trace`` is an async function.
            The others: see `ConnectionPool.request`.

        Returns: the ``Response``, read unless `stream` is true.

        Raises: any of the package's exceptions; TypeError for an argument of a wrong type.
        Nothing was sent when it is LocalProtocolError, UnsupportedProtocol or TypeError.
        """
        request = build_request(method, url, headers, content, body, extensions)
        response = await self.handle_async_request(request)
        if not stream:
            try:
                await response.aread()  # gives the connection back at its end
            except BaseException:
                await response.aclose()
                raise
        return response

    @asynccontextmanager
    async def stream(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: HeaderTypes = None,
        content: Content = None,
        body: Content = None,
        extensions: Extensions | None = None,
    ) -> AsyncIterator[Response]:
        """As `request`, but as a context manager over the unread response::

            async with pool.stream("GET", url) as response:
                async for part in response.aiter_stream():
                    ...

        The response is closed on leaving.
        """
        request = build_request(method, url, headers, content, body, extensions)
        response = await self.handle_async_request(request)
        try:
            yield response
        finally:
            await response.aclose()

    async def handle_async_request(self, request: Request) -> Response:
        """Send `request` as it is and return the response, its body unread."""
        raise NotImplementedError(
            f"{type(self).__name__} does not implement handle_async_request()"
        )

    async def aclose(self) -> None:
        """Close it, with all connections."""
        raise NotImplementedError(f"{type(self).__name__} does not implement aclose()")

    async def __aenter__(self: Sender) -> Sender:
        return self

    async def __aexit__(
        self, exc_type: Any = None, exc_value: Any = None, traceback: Any = None
    ) -> None:
        await self.aclose()


class AsyncConnectionInterface(AsyncRequestInterface, ConnectionFacts):
    """A connection, open or not yet, that a pool or a user can drive."""
