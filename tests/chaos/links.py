"""The end of a connection that can also do what no good server does.

Owns: reading a head and a body of HTTP/1.1, writing, resetting. Must not know: which fault is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

#: Bytes of a head, at most.
HEAD_LIMIT = 65536
#: Seconds of silence after which a connection is closed: a client of the load never thinks longer.
IDLE = 20.0


class Gone(Exception):
    """The connection has ended."""


class Link:
    """One connection.

    Parameters:
        reader, writer: asyncio's streams.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read_head(self) -> tuple[str, str, dict[str, str]]:
        """Return method, target and fields (names in lower case). Raises Gone."""
        try:
            data = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), IDLE)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, TimeoutError):
            raise Gone from None
        line, *lines = data.decode("latin-1").split("\r\n")
        method, _, rest = line.partition(" ")
        pairs = (text.partition(":") for text in lines)
        fields = {name.lower(): value.strip() for name, _, value in pairs}
        return method, rest.rpartition(" ")[0], fields

    async def read_body(self, fields: dict[str, str]) -> bytes:
        """Return the body of a request. Raises Gone."""
        try:
            if "chunked" in fields.get("transfer-encoding", ""):
                return await self._read_chunks()
            return await self.reader.readexactly(int(fields.get("content-length", "0")))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError):
            raise Gone from None

    async def _read_chunks(self) -> bytes:
        parts = []
        while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append((await self.reader.readexactly(size + 2))[:-2])
        await self.reader.readuntil(b"\r\n")
        return b"".join(parts)

    async def write(self, data: bytes) -> None:
        """Send `data`; return when most of it has left. Raises Gone."""
        try:
            if not self.writer.transport.is_closing():  # a closed one of TLS fails otherwise
                self.writer.write(data)
            await self.writer.drain()
        except OSError:
            raise Gone from None

    def half_close(self) -> None:
        """End the sending side. A TLS connection has none, and is closed."""
        with contextlib.suppress(OSError, RuntimeError):
            if self.writer.can_write_eof():
                self.writer.write_eof()
            else:
                self.writer.close()

    def reset(self) -> None:
        """End the connection by a RST."""
        # A TLS connection that was closed has no socket any more, and says so by AttributeError.
        with contextlib.suppress(OSError, AttributeError):
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        """End the connection when all was sent."""
        self.writer.close()


async def serve(
    talk: Callable[[Link], Awaitable[None]], host: str = "127.0.0.1", **options: object
) -> asyncio.Server:
    """Listen on a free port; call `talk` for each connection, and close that when it returns."""

    tasks = set()  # the loop itself holds them weakly

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer)
        task = asyncio.current_task()
        tasks.add(task)
        try:
            await talk(link)
        except (Gone, OSError, asyncio.CancelledError):
            pass
        finally:
            link.close()
            tasks.discard(task)

    server: asyncio.Server = await asyncio.start_server(
        connected,
        host,
        0,
        limit=HEAD_LIMIT,
        backlog=1024,
        **options,  # type: ignore[arg-type]
    )
    return server


def port_of(server: asyncio.Server) -> int:
    """Return the port that a server of `serve` listens on."""
    port: int = server.sockets[0].getsockname()[1]
    return port
