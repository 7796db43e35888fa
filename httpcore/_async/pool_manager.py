"""The pool as 2019 designed it.

Owns: `AsyncPoolManager`. Must not know: how a pool works, what its arguments mean
(`_core.pool_base`).
"""

from __future__ import annotations

from .._backends.base import AsyncNetworkBackend
from .._core.pool_base import PoolManagerBase
from .connection_pool import AsyncConnectionPool


class AsyncPoolManager(PoolManagerBase[AsyncNetworkBackend], AsyncConnectionPool):
    """The pool as 2019 designed it: three configuration objects.

    Parameters:
        ssl: how to verify servers and who we are.
        timeout: for requests that bring none of their own in ``extensions["timeout"]``.
        limits: how many connections.
    """
