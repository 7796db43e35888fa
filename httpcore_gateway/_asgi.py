"""The types of ASGI, as far as the gateway uses them.

Owns: the names. Must not know: what is done with them.

Source: asgi.readthedocs.io, "HTTP & WebSocket ASGI Message Format" 2.5, "Lifespan" 2.0.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
