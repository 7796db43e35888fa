"""A server of HTTP/2 whose responses have the faults that their requests ask for.

Owns: these responses. Must not know: the client. The frames are those of h2, which the client under
test uses as well; tests/support/http2.py has a server that shares nothing with it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from .faults import ON_ACCEPT, Chance, fill
from .http11 import Asked, meet
from .links import Gone, Link

#: Codes of RST_STREAM that servers send.
CODES = (
    h2.errors.ErrorCodes.INTERNAL_ERROR,
    h2.errors.ErrorCodes.CANCEL,
    h2.errors.ErrorCodes.ENHANCE_YOUR_CALM,
    h2.errors.ErrorCodes.NO_ERROR,
)
#: Bytes that are read at once.
READ = 65536


class Server2:
    """Serves connections.

    Parameters:
        chance: for the faults of new connections, and what else is left to chance.
    """

    def __init__(self, chance: Chance) -> None:
        self._chance = chance

    async def talk(self, link: Link) -> None:
        """Serve one connection until it ends."""
        if not await meet(link, self._chance.choose(ON_ACCEPT)):
            await Conversation(link, self._chance).run()


class Conversation:
    """One connection, with a task for each stream.

    Parameters:
        link: the connection.
        chance: what is left to chance.
    """

    def __init__(self, link: Link, chance: Chance) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2: Any = h2.connection.H2Connection(config)
        self._link = link
        self._chance = chance
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._asked: dict[int, Asked] = {}
        self._moved = asyncio.Event()  # a window was opened, or a stream has ended

    async def run(self) -> None:
        """Serve until the client goes away."""
        self._h2.initiate_connection()
        self._h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 64})
        try:
            await self._flush()
            while data := await self._link.reader.read(READ):
                for event in self._h2.receive_data(data):
                    self._take(event)
                await self._flush()
        except h2.exceptions.ProtocolError:
            await self._flush()
        finally:
            for task in self._tasks.values():
                task.cancel()

    async def _flush(self) -> None:
        if data := self._h2.data_to_send():
            await self._link.write(data)

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            fields: Any = event.headers
            asked = Asked(dict(fields)[":path"])
            self._asked[event.stream_id] = asked
            if asked.fault == "early":
                self._begin(event.stream_id)
        elif isinstance(event, h2.events.DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._begin(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            task = self._tasks.pop(event.stream_id, None)
            if task is not None:
                task.cancel()
        self._moved.set()

    def _begin(self, stream_id: int) -> None:
        asked = self._asked.pop(stream_id, None)
        if asked is not None:  # else its response has begun before its end
            self._tasks[stream_id] = asyncio.ensure_future(self._respond(stream_id, asked))

    async def _respond(self, stream: int, asked: Asked) -> None:
        try:
            if await meet(self._link, asked.fault):
                self._link.close()
                return
            act = getattr(self, "_" + asked.fault.replace("-", "_"), self._plainly)
            await act(stream, asked)
            await self._flush()
        except (Gone, OSError, h2.exceptions.ProtocolError):
            pass
        finally:
            self._tasks.pop(stream, None)

    def _head(self, stream: int, asked: Asked, length: bool = True) -> None:
        fields = [(":status", "200")]
        if length:
            fields.append(("content-length", str(asked.size)))
        self._h2.send_headers(stream, [*fields, ("x-nonce", asked.nonce.decode("latin-1"))])

    async def _body(self, stream: int, data: bytes) -> None:
        """Send `data` as the windows allow, without the end of the stream."""
        while data:
            self._moved.clear()
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room > 0:
                self._h2.send_data(stream, data[:room])
                data = data[room:]
                await self._flush()
            else:
                await self._moved.wait()

    async def _begin_body(self, stream: int, asked: Asked) -> None:
        """Send the head and a part of the body. Where its length is not announced the part may be
        all of it, but for the end of the stream."""
        body, rng = fill(asked.nonce, asked.size), self._chance.rng
        length = bool(body) and rng.random() < 0.5
        self._head(stream, asked, length)
        await self._body(stream, body[: rng.randrange(len(body) + (not length))])

    async def _plainly(self, stream: int, asked: Asked) -> None:
        self._head(stream, asked)
        await self._body(stream, fill(asked.nonce, asked.size))
        self._h2.end_stream(stream)

    async def _delay(self, stream: int, asked: Asked) -> None:
        await asyncio.sleep(self._chance.delay())
        await self._plainly(stream, asked)

    async def _trickle(self, stream: int, asked: Asked) -> None:
        self._head(stream, asked)
        body = fill(asked.nonce, asked.size)
        step = max(len(body) // 8, 1)
        for cut in range(0, len(body), step):
            await self._body(stream, body[cut : cut + step])
            await asyncio.sleep(self._chance.delay() / 8)
        self._h2.end_stream(stream)

    async def _refuse_stream(self, stream: int, asked: Asked) -> None:
        self._h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)

    async def _reset_stream(self, stream: int, asked: Asked) -> None:
        self._h2.reset_stream(stream, self._chance.rng.choice(CODES))

    async def _cut_stream(self, stream: int, asked: Asked) -> None:
        """Reset the stream before the end of the body."""
        await self._begin_body(stream, asked)
        self._h2.reset_stream(stream, self._chance.rng.choice(CODES))

    async def _cut(self, stream: int, asked: Asked) -> None:
        """Close the connection before the end of the body."""
        await self._begin_body(stream, asked)
        self._link.close()

    async def _goaway(self, stream: int, asked: Asked) -> None:
        """Take no more streams, answer this one and those before, and close."""
        self._h2.close_connection(last_stream_id=stream)
        # h2 takes the connection for closed, and would frame nothing more.
        self._h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        await self._plainly(stream, asked)
        await self._flush()
        await asyncio.sleep(self._chance.delay())
        self._link.close()

    async def _goaway_all(self, stream: int, asked: Asked) -> None:
        """Take none of the streams that are under way, and close."""
        self._h2.close_connection(last_stream_id=0)
        await self._flush()
        self._link.close()

    async def _garbage(self, stream: int, asked: Asked) -> None:
        await self._flush()
        await self._link.write(self._chance.rng.randbytes(64))

    async def _ping(self, stream: int, asked: Asked) -> None:
        for _ in range(self._chance.rng.randint(1, 20)):
            self._h2.ping(self._chance.rng.randbytes(8))
        await self._plainly(stream, asked)

    async def _settings(self, stream: int, asked: Asked) -> None:
        """Change the limits in the middle."""
        codes, rng = h2.settings.SettingCodes, self._chance.rng
        self._h2.update_settings({
            codes.MAX_CONCURRENT_STREAMS: rng.randint(1, 64),
            codes.INITIAL_WINDOW_SIZE: rng.randint(1000, 100_000),
            codes.HEADER_TABLE_SIZE: rng.choice((0, 100, 4096)),
        })  # fmt: skip
        await self._plainly(stream, asked)

    async def _early(self, stream: int, asked: Asked) -> None:
        """Respond before the body of the request has come; it may be sent or not."""
        await self._plainly(stream, asked)
