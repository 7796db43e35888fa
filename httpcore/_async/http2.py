"""One HTTP/2 connection: not built yet.

Owns: its name, and one clear error.
"""

from __future__ import annotations

from typing import Any

from .._exceptions import NotBuiltYet
from .interfaces import AsyncConnectionInterface


def refuse_http2() -> None:
    """Raise NotImplementedError."""
    AsyncHTTP2Connection()


class AsyncHTTP2Connection(AsyncConnectionInterface):
    """Not built yet: using it raises NotImplementedError."""

    on_change: Any
    max_streams: int
    open_streams: int
    protocol: str
    request_count: int
    serving: Any
    exchange: Any
    avoid: Any
    abort: Any
    close: Any
    handle_prepared: Any
    is_usable: Any

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise NotBuiltYet(
            "httpcore.AsyncHTTP2Connection: HTTP/2 is not built yet in the asynchronous API"
        )

    @classmethod
    def from_settings(cls, *args: object) -> AsyncHTTP2Connection:
        """Raise NotImplementedError."""
        return cls()
