"""Recording what passes over an asynchronous network, and replaying it without one.

Owns: the streams and backends that are awaited. Must not know: what they have in common with those
that block (`recording_parts`), the file of a cassette. A cassette is the same for both worlds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from .._backends.async_wrapped import AsyncWrappedStream
from .._backends.auto import AutoBackend
from .._backends.base import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream
from .cassette_file import CassetteFile
from .cassettes.player import Player
from .cassettes.recorder import Recorder
from .cassettes.requests import Place
from .recording_parts import (
    PlayedStream,
    RecordedStream,
    RecordingSetup,
    ReplaySetup,
    SplicedParts,
    host_place,
    path_place,
)

if TYPE_CHECKING:
    import ssl


class AsyncRecordingStream(RecordedStream, AsyncWrappedStream):
    """Passes everything on, and writes down what was said."""

    def __init__(
        self, stream: AsyncNetworkStream, recorder: Recorder, cassette_file: CassetteFile
    ) -> None:
        super().__init__(stream)
        self._begin_record(recorder, cassette_file)

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            self._cassette_file.record(self._recorder.closed)


class AsyncRecordingBackend(RecordingSetup, AsyncNetworkBackend):
    """Writes all that passes over another asynchronous network layer into a cassette.

    Parameters, raises: as those of `RecordingBackend`; `backend` is an asynchronous one, None for
    what fits the event loop that runs.
    """

    _default = AutoBackend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        connect = partial(
            self._backend.connect_tcp,
            host,
            port,
            local_address=local_address,
            socket_options=socket_options,
        )
        return await self._open(connect, timeout, partial(host_place, host, port))

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        connect = partial(self._backend.connect_unix_socket, path, socket_options=socket_options)
        return await self._open(connect, timeout, partial(path_place, path))

    async def _open(
        self,
        connect: Callable[..., Awaitable[AsyncNetworkStream]],
        timeout: float | None,
        make_place: Callable[[], Place],
    ) -> AsyncNetworkStream:
        cassette_file = self._cassette_file
        cassette_file.check()

        async def record(timeout: float | None) -> AsyncRecordingStream:
            stream = await connect(timeout=timeout)
            return AsyncRecordingStream(stream, Recorder(make_place()), cassette_file)

        if self._splices:
            player = Player(make_place(), cassette_file.cassette, live=True)
            return AsyncSplicedStream(record, player, cassette_file)
        return await record(timeout)

    async def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        found: list[str] = await self._backend.resolve(host, port, timeout)
        return found

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class AsyncReplayStream(PlayedStream, AsyncNetworkStream):
    """A connection whose other end is a cassette."""

    def __init__(self, player: Player, cassette_file: CassetteFile) -> None:
        self._begin_play(player, cassette_file)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._play(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._hear(bytes(buffer))

    async def aclose(self) -> None:
        self.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        self._begin_tls()
        return self


class AsyncSplicedStream(SplicedParts, AsyncReplayStream):
    """A connection that asks the network for what its cassette does not have.

    Parameters:
        record: opens a connection within so many seconds, and records it.
    """

    def __init__(
        self,
        record: Callable[[float | None], Awaitable[AsyncRecordingStream]],
        player: Player,
        cassette_file: CassetteFile,
    ) -> None:
        self._begin_play(player, cassette_file)
        self._begin_splice(record)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        answer = self._answer(max_bytes)
        if answer is not None:
            return answer
        await self._pass_on(timeout)
        stream = await self._network(timeout)
        data = await stream.read(max_bytes, timeout)
        self._note_heard(stream)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._hear(bytes(buffer))
        if self._player.live:
            await self._pass_on(timeout)

    async def _pass_on(self, timeout: float | None) -> None:
        data = self._take_forward()
        if data:
            await (await self._network(timeout)).write(data, timeout)

    async def _network(self, timeout: float | None) -> AsyncNetworkStream:
        """Return the connection to the network, opened when it is first needed."""
        stream: AsyncNetworkStream | None = self._usable_network()
        if stream is None:
            stream = await self._record(timeout)
            for context, name in self._handshakes:
                stream = await stream.start_tls(context, name, timeout)
        self._live = stream
        return stream

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        if self._live is None:
            self._handshakes.append((ssl_context, server_hostname))
        else:
            self._live = await self._live.start_tls(ssl_context, server_hostname, timeout)
        self._begin_tls()
        return self


class AsyncReplayBackend(ReplaySetup, AsyncNetworkBackend):
    """Gives the answers that a cassette has. There is no network, and no certificate is looked at.

    Parameters, raises: as those of `ReplayBackend`.
    """

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        return self._open(host_place(host, port))

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        return self._open(path_place(path))

    def _open(self, place: Place) -> AsyncNetworkStream:
        return AsyncReplayStream(self._play_at(place), self._cassette_file)

    async def sleep(self, seconds: float) -> None:
        """Do nothing: what is waited for was recorded long ago."""
