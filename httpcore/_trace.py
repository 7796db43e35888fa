"""Trace events: who is told what the connection does, as in httpcore 1.0.9.

Owns: how an event is sent. Must not know: what the events mean. A request carries a callable
in ``extensions["trace"]``; without one each phase costs one ``is None`` test.

The names are ``<room>.<phase>.started``, ``.complete`` and ``.failed``; HTTPX's command line
and its users match on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Trace = Callable[[str, dict[str, Any]], Any]


def get_trace(extensions: Any) -> Trace | None:
    """The request's trace function, or None. TypeError when it cannot be called."""
    trace = extensions.get("trace") if extensions else None
    if trace is not None and not callable(trace):
        raise TypeError(f"extensions['trace'] must be callable, not {type(trace).__name__}")
    return trace
