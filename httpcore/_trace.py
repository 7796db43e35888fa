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

HOOKS = ("trace", "informational")


def check_hooks(extensions: Any) -> None:
    """TypeError when a function among the request's extensions cannot be called; asked before
    anything is sent."""
    for name in HOOKS:
        hook = extensions.get(name)
        if hook is not None and not callable(hook):
            raise TypeError(f"extensions[{name!r}] must be callable, not {type(hook).__name__}")
