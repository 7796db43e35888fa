"""A gateway: passes HTTP requests and WebSockets on to other servers, on httpcore's pool.

Run it with ``python -m httpcore_gateway --upstream http://127.0.0.1:8001``, or mount `Gateway`
in any ASGI program.
"""

from __future__ import annotations

from ._app import Gateway
from ._settings import Breaker, Route, Settings, SettingsError, Timeouts, Upstream

__all__ = ["Breaker", "Gateway", "Route", "Settings", "SettingsError", "Timeouts", "Upstream"]
