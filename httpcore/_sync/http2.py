"""HTTP/2 connections: not built yet.

Owns: the name `HTTP2Connection`, so that code which only imports or tests for it keeps working, and
one clear error for code that uses it.
"""

from __future__ import annotations

from typing import Any

from .._exceptions import NotBuiltYet


class HTTP2Connection:
    """Not built yet: using it raises NotImplementedError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotBuiltYet(
            "httpcore.HTTP2Connection: HTTP/2 connections are not built yet in this version"
        )
