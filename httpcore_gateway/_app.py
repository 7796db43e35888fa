"""The ASGI application.

Owns: what the gateway is made of, and which part serves which kind of scope. Must not know: how
one request is served.

Source: asgi.readthedocs.io, "HTTP & WebSocket ASGI Message Format" 2.5, "Lifespan" 2.0.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from ._asgi import Receive, Scope, Send
from ._exchange import Exchange
from ._record import Record, RequestIds
from ._routes import make_routes
from ._routing import RouteTable
from ._settings import Route, Settings, Upstream, check_settings, read_networks


class Gateway:
    """Passes requests on to other servers; an ASGI application::

        from httpcore_gateway import Gateway

        app = Gateway(["http://127.0.0.1:8001", "http://127.0.0.1:8002"])

    Any ASGI server on asyncio runs it, and any ASGI framework mounts it below a path. It belongs to
    one event loop; each process of a server has its own.

    Parameters:
        upstreams: where everything goes, as URLs or `Upstream`; short for one `Route`.
        settings: all of it, in place of `upstreams`.
        trace: a plain function, called with name and details of each event of each request to
            an upstream, as that of `httpcore.AsyncConnectionPool`.

    Raises SettingsError for settings that cannot be; it names the place.
    """

    def __init__(
        self,
        upstreams: Iterable[str | Upstream] = (),
        *,
        settings: Settings | None = None,
        trace: Callable[..., object] | None = None,
    ) -> None:
        upstreams = tuple(upstreams)
        if settings is None:
            settings = Settings(routes=(Route(upstreams=upstreams),))
        elif upstreams:
            raise TypeError("give either upstreams or settings: the latter have upstreams, too")
        check_settings(settings)
        self.settings = settings
        self.name = settings.name.encode("ascii")
        self.ids = RequestIds()
        states, self.targets = make_routes(settings, trace)
        self.routes = RouteTable(
            (state.settings.host, state.settings.path, state) for state in states
        )
        self._trusted = read_networks(settings.trusted)
        self._known_peers: dict[str, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what the ASGI server has: a request, or the start and the end of the program."""
        kind = scope["type"]
        if kind == "http":
            await Exchange(self, scope, receive, send).run()
        elif kind == "lifespan":
            await self._live(receive, send)
        else:
            raise NotImplementedError(f"the gateway does not serve ASGI's {kind!r}")

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def aclose(self) -> None:
        """Close all connections to upstreams; requests that are under way fail."""
        for target in self.targets:
            await target.pool.aclose()

    def trusts(self, peer: Any) -> bool:
        """Return whether the fields of this client about earlier ones are believed."""
        if not self._trusted or not peer:
            return False
        address = peer[0]
        known = self._known_peers.get(address)
        if known is None:
            known = self._is_trusted(address)
            if len(self._known_peers) < MAX_PEERS:
                self._known_peers[address] = known
        return known

    def _is_trusted(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False  # the name of a Unix socket, or what another middleware has put there
        return any(address in network for network in self._trusted)

    def done(self, record: Record) -> None:
        """Note that a request has ended."""


#: Addresses whose trust is remembered: proxies in front are few, others are worked out anew.
MAX_PEERS = 1000
