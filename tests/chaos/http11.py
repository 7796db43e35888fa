"""A server of HTTP/1.1 whose responses have the faults that their requests ask for.

Owns: these responses. Must not know: the client, chance.

A target is ``/NONCE/SIZE/FAULT``, percent-encoded or not; the body has SIZE bytes of the nonce.
"""

from __future__ import annotations

import asyncio
import random
from urllib.parse import unquote

from .faults import ON_ACCEPT, STALL, Chance, fill, find_nonces, make_nonce
from .links import Link

#: Bytes of a chunk.
CHUNK = 4096
LAST_CHUNK = b"0\r\n\r\n"
#: The response to a target that names no nonce: it was garbled.
REFUSAL = b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Asked:
    """What a target asks for.

    Attributes:
        nonce, size, fault: its parts.
    """

    def __init__(self, target: str) -> None:
        parts = unquote(target).rpartition("://")[2].split("/")
        self.nonce = parts[1].encode("latin-1", "replace") if len(parts) > 1 else b""
        self.size = int(parts[2]) if len(parts) > 2 and parts[2].isdigit() else 0
        self.fault = parts[3] if len(parts) > 3 else ""
        self.valid = find_nonces(self.nonce) == {self.nonce}


class Server11:
    """Serves connections.

    Parameters:
        chance: for the faults of new connections, and what else is left to chance.

    Attributes:
        mistakes: what clients did that no client may do.
    """

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self.mistakes: list[str] = []

    async def talk(self, link: Link) -> None:
        """Serve one connection until it ends."""
        if await meet(link, self._chance.choose(ON_ACCEPT)):
            return
        goes_on = True
        while goes_on:
            method, target, fields = await link.read_head()
            asked = Asked(target)
            if not asked.valid:
                await link.write(
                    b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            if asked.fault != "early":
                if "100" in fields.get("expect", ""):
                    await link.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await link.read_body(fields)
            goes_on = await self._respond(link, method, asked)

    async def _respond(self, link: Link, method: str, asked: Asked) -> bool:
        """Send the response; return whether the connection goes on."""
        if await meet(link, asked.fault):
            return False
        act = getattr(self, "_" + asked.fault.replace("-", "_"), self._plainly)
        goes_on: bool = await act(link, asked)
        return goes_on and method != "HEAD"

    async def _plainly(self, link: Link, asked: Asked) -> bool:
        await link.write(head(asked) + fill(asked.nonce, asked.size))
        return True

    async def _delay(self, link: Link, asked: Asked) -> bool:
        await asyncio.sleep(self._chance.delay())
        return await self._plainly(link, asked)

    async def _half_close(self, link: Link, asked: Asked) -> bool:
        await link.write(head(asked) + fill(asked.nonce, asked.size))
        link.half_close()
        await link.read_head()
        return False

    async def _garble_head(self, link: Link, asked: Asked) -> bool:
        await link.write(self._chance.garble(head(asked)) + fill(asked.nonce, asked.size))
        return False

    async def _interim(self, link: Link, asked: Asked) -> bool:
        early = b"HTTP/1.1 103 Early Hints\r\nX-Nonce: " + asked.nonce + b"\r\n\r\n"
        await link.write(early * self._chance.rng.randint(1, 5))
        return await self._plainly(link, asked)

    async def _early(self, link: Link, asked: Asked) -> bool:
        """Respond before the body of the request has come, and read no more."""
        await link.write(head(asked, "Connection: close") + fill(asked.nonce, asked.size))
        link.half_close()
        await asyncio.wait_for(link.reader.read(-1), STALL)
        return False

    async def _cut(self, link: Link, asked: Asked) -> bool:
        first, body = head(asked), fill(asked.nonce, asked.size)
        await link.write((first + body)[: self._somewhere(first, len(body))])
        return False

    def _somewhere(self, first: bytes, body_size: int) -> int:
        """Return where to cut: in the head, or before the end of the body. Not where a line of the
        head ends: a client like requests takes that for the end of the head."""
        cut = self._chance.rng.randrange(1, len(first) + max(body_size, 1) - 1)
        while cut < len(first) and first[:cut].endswith((b"\n", b"\n\r")):
            cut -= 1
        return cut

    async def _cut_reset(self, link: Link, asked: Asked) -> bool:
        await self._cut(link, asked)
        link.reset()
        return False

    async def _cut_chunks(self, link: Link, asked: Asked) -> bool:
        """Cut the chunks before the last one: a client like requests takes that for the end even
        where nothing follows it."""
        data = chunked(asked)[: -len(LAST_CHUNK)]
        cut = self._chance.rng.randrange(len(data) + 1)
        await link.write(head(asked, length=False) + data[:cut])
        return False

    async def _trickle(self, link: Link, asked: Asked) -> bool:
        data = head(asked, length=False) + chunked(asked)
        for cut in range(0, len(data), max(len(data) // 8, 1)):
            await link.write(data[cut : cut + max(len(data) // 8, 1)])
            await asyncio.sleep(self._chance.delay() / 8)
        return True

    async def _garble_chunks(self, link: Link, asked: Asked) -> bool:
        data = chunked(asked)
        await link.write(head(asked, length=False) + self._chance.garble(data[:64]) + data[64:])
        return False

    async def _foreign(self, link: Link, asked: Asked) -> bool:
        """Send another response right after, to a request that nobody has made."""
        other = Asked(f"/{make_nonce(self._chance.rng).decode()}/{asked.size}/")
        body = fill(asked.nonce, asked.size)
        await link.write(head(asked) + body + head(other) + fill(other.nonce, other.size))
        return False

    async def _junk(self, link: Link, asked: Asked) -> bool:
        body = fill(asked.nonce, asked.size)
        await link.write(head(asked) + body + self._chance.rng.randbytes(50))
        return False

    async def _lie_close(self, link: Link, asked: Asked) -> bool:
        """Announce the end of the connection, and let it live."""
        await link.write(head(asked, "Connection: close") + fill(asked.nonce, asked.size))
        _, target, _ = await link.read_head()
        self.mistakes.append(f"{target} was sent after 'Connection: close'")
        return False

    async def _lie_alive(self, link: Link, asked: Asked) -> bool:
        """Announce that the connection lives, and close it."""
        await link.write(head(asked, "Keep-Alive: timeout=60") + fill(asked.nonce, asked.size))
        return False

    async def _until_close(self, link: Link, asked: Asked) -> bool:
        await link.write(head(asked, length=False, chunks=False) + fill(asked.nonce, asked.size))
        return False

    async def _late_close(self, link: Link, asked: Asked) -> bool:
        """Close the connection while it is idle, or just as the next request comes."""
        await self._plainly(link, asked)
        await asyncio.sleep(self._chance.delay())
        return False


async def meet(link: Link, fault: str) -> bool:
    """Do what ends a connection before a response; return whether it did."""
    if fault == "reset":
        link.reset()
    elif fault == "stall":
        await asyncio.sleep(STALL * random.random())
    return fault in ("reset", "close", "stall")


def head(asked: Asked, *lines: str, length: bool = True, chunks: bool = True) -> bytes:
    """Return the head of the response to `asked`."""
    framing = f"Content-Length: {asked.size}" if length else "Transfer-Encoding: chunked"
    fields = [framing] if length or chunks else ["Connection: close"]
    text = "".join(f"{line}\r\n" for line in [*fields, *lines])
    nonce = asked.nonce.decode("latin-1")
    return f"HTTP/1.1 200 OK\r\n{text}X-Nonce: {nonce}\r\n\r\n".encode("latin-1")


def chunked(asked: Asked) -> bytes:
    """Return the body in chunks."""
    body = fill(asked.nonce, asked.size)
    cuts = range(0, len(body), CHUNK)
    parts = [b"%x\r\n%s\r\n" % (len(body[c : c + CHUNK]), body[c : c + CHUNK]) for c in cuts]
    return b"".join(parts) + LAST_CHUNK
