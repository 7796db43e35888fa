"""The pool as 2019 designed it.

Owns: `PoolManager`. Must not know: how a pool works, what its arguments mean
(`_core.pool_base`).
"""

from __future__ import annotations

from .._backends.base import NetworkBackend
from .._core.pool_base import PoolManagerBase
from .connection_pool import ConnectionPool


class PoolManager(PoolManagerBase[NetworkBackend], ConnectionPool):
    """The pool as 2019 designed it: three configuration objects. Thread-safe.

    Parameters:
        ssl: how to verify servers and who we are.
        timeout: for requests that bring none of their own in ``extensions["timeout"]``.
        limits: how many connections.
    """
