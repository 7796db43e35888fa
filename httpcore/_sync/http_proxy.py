"""HTTP proxies: not built yet.

Owns: the name `HTTPProxy`, so that code which only imports or tests for it keeps working, and
one clear error for code that uses it.
"""

from __future__ import annotations

from typing import Any

from .._exceptions import NotBuiltYet


class HTTPProxy:
    """Not built yet: using it raises NotImplementedError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotBuiltYet("httpcore.HTTPProxy: HTTP proxies are not built yet in this version")
