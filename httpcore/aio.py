"""The asynchronous front door: ``from httpcore import aio``. Not built yet.

Owns: the names `request`, `ConnectionPool` and `PoolManager` for async code, and until they
are there one clear error.
"""

from __future__ import annotations

from typing import NoReturn

from ._async import AsyncConnectionPool as ConnectionPool
from ._async import AsyncPoolManager as PoolManager
from ._exceptions import NotBuiltYet


async def request(*args: object, **kwargs: object) -> NoReturn:
    """Not built yet: raises NotImplementedError."""
    raise NotBuiltYet("httpcore.aio.request: the asynchronous side is not built yet")


__all__ = ["ConnectionPool", "PoolManager", "request"]
