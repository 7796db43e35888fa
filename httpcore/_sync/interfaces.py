"""What everything that takes requests has in common.

Owns: `request` and `stream`, written once over `handle_request`. Must not know: pools,
sockets. Sources: httpcore 1.0.9 (names), the 2019 front door (``body=``, ``stream=True``).
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from .._models import Content, Extensions, HeaderTypes, Request, Response, with_required_headers
from .._url import URL, Origin

Connection = TypeVar("Connection", bound="ConnectionInterface")


class RequestInterface:
    """Anything that can send a request."""

    def request(
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
            method: e.g. ``"GET"``.
            url: `URL`, str or bytes.
            headers: mapping or sequence of pairs; Host and what frames the body are added
                where missing.
            content: the body: bytes, a file opened in binary mode, or an iterable of bytes.
            body: the 2019 name of `content`.
            stream: True leaves the body unread; read or `Response.close` it yourself.
            extensions: see `Request`.

        Returns: the `Response`, read unless `stream` is true.

        Raises: any of the package's exceptions; TypeError for an argument of a wrong type.
        Nothing was sent when it is LocalProtocolError, UnsupportedProtocol or TypeError.
        """
        if body is not None:
            if content is not None:
                raise TypeError("content and body are two names of one thing; pass only one")
            content = body
        request = Request(method, url, headers=headers, content=content, extensions=extensions)
        request.headers = with_required_headers(request.headers, request.url, content)
        response = self.handle_request(request)
        if not stream:
            try:
                response.read()  # gives the connection back at its end
            except BaseException:
                response.close()
                raise
        return response

    @contextmanager
    def stream(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: HeaderTypes = None,
        content: Content = None,
        body: Content = None,
        extensions: Extensions | None = None,
    ) -> Iterator[Response]:
        """As `request`, but as a context manager over the unread response::

            with pool.stream("GET", url) as response:
                for part in response.iter_stream():
                    ...

        The response is closed on leaving.
        """
        response = self.request(
            method,
            url,
            headers=headers,
            content=content,
            body=body,
            stream=True,
            extensions=extensions,
        )
        try:
            yield response
        finally:
            response.close()

    def handle_request(self, request: Request) -> Response:
        """Send `request` as it is and return the response, its body unread."""
        raise NotImplementedError(f"{type(self).__name__} does not implement handle_request()")


class ConnectionInterface(RequestInterface):
    """A connection, open or not yet, that a pool or a user can drive."""

    def close(self) -> None:
        """Close the connection."""
        raise NotImplementedError(f"{type(self).__name__} does not implement close()")

    def info(self) -> str:
        """Protocol, state and request count, for people."""
        raise NotImplementedError(f"{type(self).__name__} does not implement info()")

    def can_handle_request(self, origin: Origin) -> bool:
        """Whether this connection leads to `origin`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement can_handle_request()")

    def is_available(self) -> bool:
        """Whether it can take a request now."""
        raise NotImplementedError(f"{type(self).__name__} does not implement is_available()")

    def has_expired(self) -> bool:
        """Whether it has been idle for too long, or the server has closed it."""
        raise NotImplementedError(f"{type(self).__name__} does not implement has_expired()")

    def is_idle(self) -> bool:
        """Whether it is open and between two requests."""
        raise NotImplementedError(f"{type(self).__name__} does not implement is_idle()")

    def is_closed(self) -> bool:
        """Whether it is closed for good."""
        raise NotImplementedError(f"{type(self).__name__} does not implement is_closed()")

    def __enter__(self: Connection) -> Connection:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: types.TracebackType | None = None,
    ) -> None:
        self.close()
