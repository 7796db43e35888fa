"""A relay and a proxy between client and server, with faults by chance.

Owns: passing bytes on, CONNECT, and the forwarding of plain requests. Must not know: what passes.
"""

from __future__ import annotations

import asyncio
import contextlib

from .faults import CONNECT, RELAY, STALL, Chance
from .http11 import meet
from .links import Gone, Link

#: Bytes that are passed on at once.
PIECE = 16384
#: Pieces after which a fault of a direction comes, at most.
LATEST = 12


class Relay:
    """Passes bytes on to one server.

    Parameters:
        port: the server's.
        chance: what goes wrong.
        garbles: whether bytes may be changed on the way.
    """

    def __init__(self, port: int, chance: Chance, garbles: bool = True) -> None:
        self._port = port
        self._chance = chance
        self._kinds = RELAY if garbles else tuple(kind for kind in RELAY if kind != "garble")

    async def talk(self, link: Link) -> None:
        """Pass on what comes over one connection, in both directions."""
        fault = self._chance.choose(("reset", "close", "stall"))
        if not await meet(link, fault):
            await self.connect(link, self._port)

    async def connect(self, link: Link, port: int) -> None:
        """Open the connection to the server, and pass on until one of them ends."""
        other = Link(*await asyncio.open_connection("127.0.0.1", port))
        try:
            await asyncio.gather(self._pass_on(link, other), self._pass_on(other, link))
        finally:
            other.close()

    async def _pass_on(self, source: Link, target: Link) -> None:
        """Pass on one direction; end the connection by an exception."""
        fault = self._chance.choose(self._kinds)
        left = self._chance.rng.randrange(LATEST)
        while data := await source.reader.read(PIECE):
            if fault and left <= 0:
                data = await self._meet(fault, data, source, target)
                fault = self._chance.choose(self._kinds)
                left = self._chance.rng.randrange(LATEST)
            left -= 1
            await target.write(data)
        target.half_close()

    async def _meet(self, fault: str, data: bytes, source: Link, target: Link) -> bytes:
        """Do what has to go wrong now; return what is passed on. Raises Gone."""
        cut = self._chance.rng.randrange(len(data))
        if fault in ("reset", "close", "half-close"):
            await target.write(data[:cut])
        if fault == "reset":
            source.reset()
            target.reset()
        elif fault == "half-close":
            target.half_close()
        elif fault in ("delay", "split"):
            await target.write(data[:cut])
            await asyncio.sleep(self._chance.delay())
            return data[cut:]
        elif fault == "garble":
            return self._chance.garble(data)
        elif fault == "stall":
            await asyncio.sleep(STALL * self._chance.rng.random())
        raise Gone


class Proxy(Relay):
    """An HTTP proxy: CONNECT, and plain requests, which it passes on one per connection.

    Parameters:
        ports: the servers that clients may reach.
        chance: what goes wrong.
    """

    def __init__(self, ports: set[int], chance: Chance) -> None:
        super().__init__(0, chance)
        self._ports = ports

    async def talk(self, link: Link) -> None:
        """Serve one connection."""
        if await meet(link, self._chance.choose(("reset", "close", "stall"))):
            return
        method, target, fields = await link.read_head()
        authority = target if method == "CONNECT" else target.split("/")[2]
        port = int(authority.rpartition(":")[2])
        if port not in self._ports:
            await link.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        elif method == "CONNECT":
            await self._tunnel(link, port)
        else:
            await self._forward(link, port, method, target, fields)

    async def _tunnel(self, link: Link, port: int) -> None:
        fault = self._chance.choose(CONNECT)
        answer = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 chaos\r\n\r\n"
        if await meet(link, fault):
            return
        if fault == "refuse":
            await link.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
            return
        if fault == "garble-head":
            answer = self._chance.garble(answer)
        elif fault == "interim":
            answer = b"HTTP/1.1 100 Continue\r\n\r\n" + answer
        elif fault == "delay":
            await asyncio.sleep(self._chance.delay())
        await link.write(answer)
        await self.connect(link, port)

    async def _forward(
        self, link: Link, port: int, method: str, target: str, fields: dict[str, str]
    ) -> None:
        """Send the request on, without keep-alive, and whatever comes back."""
        body = await link.read_body(fields)
        path = "/" + target.split("/", 3)[3]
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
        lines += [f"Content-Length: {len(body)}", "", ""]
        other = Link(*await asyncio.open_connection("127.0.0.1", port))
        try:
            await other.write("\r\n".join(lines).encode("latin-1") + body)
            other.writer.write_eof()
            with contextlib.suppress(Gone):
                await self._pass_on(other, link)
        finally:
            other.close()
