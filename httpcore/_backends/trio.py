"""The network over trio: not built yet.

Owns: the name of its backend, and one clear error.
"""

from __future__ import annotations

from .._exceptions import NotBuiltYet
from .base import AsyncNetworkBackend


class TrioBackend(AsyncNetworkBackend):
    """Not built yet: using it raises NotImplementedError."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise NotBuiltYet(f"httpcore.{type(self).__name__}: trio is not built yet in this version")
