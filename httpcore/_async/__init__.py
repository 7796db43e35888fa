"""The asynchronous shells: not built yet.

Owns: their names, so that code which imports them, or tests for them, keeps working, and one
clear error for code that uses them.
"""

from __future__ import annotations

from .._exceptions import NotBuiltYet


class _NotBuiltYet:
    def __init__(self, *args: object, **kwargs: object) -> None:
        raise NotBuiltYet(
            f"httpcore.{type(self).__name__}: the asynchronous side is not built yet in this "
            "version"
        )


class AsyncConnectionInterface:
    """What an asynchronous connection looks like; see `ConnectionInterface`."""


class AsyncConnectionPool(_NotBuiltYet):
    """Not built yet: using it raises NotImplementedError."""


class AsyncHTTPConnection(_NotBuiltYet):
    """Not built yet: using it raises NotImplementedError."""


class AsyncHTTP11Connection(_NotBuiltYet):
    """Not built yet: using it raises NotImplementedError."""


class AsyncHTTP2Connection(_NotBuiltYet):
    """Not built yet: using it raises NotImplementedError."""


class AsyncHTTPProxy(_NotBuiltYet):
    """Not built yet: using it raises NotImplementedError."""


class AsyncSOCKSProxy(_NotBuiltYet):
    """Not built yet: using it raises NotImplementedError."""


class AnyIOBackend(_NotBuiltYet):
    """Not built yet: using it raises NotImplementedError."""


class TrioBackend(_NotBuiltYet):
    """Not built yet: using it raises NotImplementedError."""


class AsyncPoolManager(_NotBuiltYet):
    """Not built yet: using it raises NotImplementedError."""


__all__ = [
    "AnyIOBackend",
    "AsyncConnectionInterface",
    "AsyncConnectionPool",
    "AsyncHTTP2Connection",
    "AsyncHTTP11Connection",
    "AsyncHTTPConnection",
    "AsyncHTTPProxy",
    "AsyncPoolManager",
    "AsyncSOCKSProxy",
    "TrioBackend",
]
