"""The methods that everything that takes requests has in common.

Owns: `request` and `stream`, written once over `handle_request`. Must not know: pools,
sockets. Sources: httpcore 1.0.9 (names), the 2019 front door (``body=``, ``stream=True``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .._core.connection_state import ConnectionFacts
from .._models import Content, Extensions, HeaderTypes, Request, Response, build_request
from .._url import URL

Sender = TypeVar("Sender", bound="RequestInterface")


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
        request = build_request(method, url, headers, content, body, extensions)
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
        request = build_request(method, url, headers, content, body, extensions)
        response = self.handle_request(request)
        try:
            yield response
        finally:
            response.close()

    def handle_request(self, request: Request) -> Response:
        """Send `request` as it is and return the response, its body unread."""
        raise NotImplementedError(f"{type(self).__name__} does not implement handle_request()")

    def close(self) -> None:
        """Close it, with all connections."""
        raise NotImplementedError(f"{type(self).__name__} does not implement close()")

    def __enter__(self: Sender) -> Sender:
        return self

    def __exit__(self, exc_type: Any = None, exc_value: Any = None, traceback: Any = None) -> None:
        self.close()


class ConnectionInterface(RequestInterface, ConnectionFacts):
    """A connection, open or not yet, that a pool or a user can drive."""
