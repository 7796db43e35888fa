"""The network over anyio: not built yet.

Owns: the name of its backend, and one clear error.
"""

from __future__ import annotations

from .._exceptions import NotBuiltYet
from .base import AsyncNetworkBackend


class AnyIOBackend(AsyncNetworkBackend):
    """Not built yet: using it raises NotImplementedError."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise NotBuiltYet(f"httpcore.{type(self).__name__}: anyio is not built yet in this version")
