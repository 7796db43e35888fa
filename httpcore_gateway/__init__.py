"""A gateway: passes HTTP requests and WebSockets on to other servers, on httpcore's pool.

Run it with ``python -m httpcore_gateway --upstream http://127.0.0.1:8001``, or mount `Gateway`
in any ASGI program.

The names are loaded when they are first used (PEP 562), so that ``python -m httpcore_gateway`` can
say in one line what is not installed.
"""

from __future__ import annotations

import importlib
import typing

if typing.TYPE_CHECKING:
    from ._app import Gateway
    from ._settings import Breaker, Route, Settings, SettingsError, Timeouts, Upstream

__all__ = ["Breaker", "Gateway", "Route", "Settings", "SettingsError", "Timeouts", "Upstream"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module("._app" if name == "Gateway" else "._settings", __name__)
    value: object = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
