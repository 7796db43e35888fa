"""Backends whose package is not installed.

Owns: the class that stands in for one. Must not know: the backends.
"""

from __future__ import annotations

from .base import AsyncNetworkBackend


def stand_in(name: str, package: str) -> type[AsyncNetworkBackend]:
    """Return a class of that `name`, which can be named and not be made: that raises RuntimeError,
    as in httpcore 1.0.9."""

    class Missing(AsyncNetworkBackend):
        def __init__(self, *args: object, **kwargs: object) -> None:
            raise RuntimeError(
                f"httpcore.{name} needs {package}, which is not installed: pip install {package}"
            )

    Missing.__name__ = Missing.__qualname__ = name
    Missing.__module__ = "httpcore"
    return Missing
