"""Recording what passes over an asynchronous network, and replaying it without one.

Owns: the streams and backends that are awaited. Must not know: the file of a cassette, and all that
`recording` shares with it. A cassette is the same for both worlds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from .._backends.async_wrapped import AsyncWrappedStream
from .._backends.auto import AutoBackend
from .._backends.base import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream
from ..rules import host_and_port
from .cassettes.player import Live, Player
from .cassettes.recorder import Recorder
from .cassettes.requests import Place
from .recording import (
    CassetteFile,
    PlayedStream,
    RecordedStream,
    RecordingSetup,
    ReplaySetup,
)

if TYPE_CHECKING:
    import ssl


class AsyncRecordingStream(RecordedStream, AsyncWrappedStream):
    """Passes everything on, and writes down what was said."""

    def __init__(self, stream: AsyncNetworkStream, recorder: Recorder, tape: CassetteFile) -> None:
        super().__init__(stream)
        self._begin_record(recorder, tape)

    def _received(self, data: bytes, max_bytes: int) -> None:
        self._record_received(data, self.unclean_eof)

    def _secured(self, stream: AsyncNetworkStream) -> AsyncNetworkStream:
        self._record_secured(stream)
        return AsyncRecordingStream(stream, self._recorder, self._cassette_file)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._cassette_file.record(self._recorder.closed)

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            self._cassette_file.record(self._recorder.closed)

    def abort(self) -> None:
        self._aborted = True
        super().abort()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._cassette_file.closed:
            return True  # so that it is not used again
        return super().get_extra_info(info)


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
        return await self._open(connect, timeout, host_and_port(host, port))

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        connect = partial(self._backend.connect_unix_socket, path, socket_options=socket_options)
        return await self._open(connect, timeout, f"unix:{path}", path)

    async def _open(
        self,
        connect: Callable[..., Awaitable[AsyncNetworkStream]],
        timeout: float | None,
        name: str,
        uds: str | None = None,
    ) -> AsyncNetworkStream:
        tape = self._cassette_file
        tape.check()

        async def record(timeout: float | None) -> AsyncRecordingStream:
            stream = await connect(timeout=timeout)
            return AsyncRecordingStream(stream, Recorder(Place(name, uds)), tape)

        if self._splices:
            player = Player(Place(name, uds), tape.cassette, live=True)
            return AsyncSplicedStream(record, player, tape)
        return await record(timeout)

    async def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        found: list[str] = await self._backend.resolve(host, port, timeout)
        return found

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class AsyncReplayStream(PlayedStream, AsyncNetworkStream):
    """A connection whose other end is a cassette."""

    def __init__(self, player: Player, tape: CassetteFile) -> None:
        self._begin_play(player, tape)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._play(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._hear(bytes(buffer))

    def close(self) -> None:
        """Close it, without waiting."""
        self._closed = True

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

    def get_extra_info(self, info: str) -> Any:
        return self._fact(info)

    @property
    def unclean_eof(self) -> bool:
        """Return whether the peer ended TLS without close_notify when it was recorded."""
        return self._was_cut()


class AsyncSplicedStream(AsyncReplayStream):
    """A connection that asks the network for what its cassette does not have.

    Parameters:
        record: opens a connection within so many seconds, and records it.
    """

    def __init__(
        self,
        record: Callable[[float | None], Awaitable[AsyncRecordingStream]],
        player: Player,
        tape: CassetteFile,
    ) -> None:
        super().__init__(player, tape)
        self._record = record
        self._handshakes: list[tuple[ssl.SSLContext, str | None]] = []  # to be made up for
        self._live: Any = None  # an AsyncRecordingStream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        step = self._next(max_bytes)
        if type(step) is not Live:
            return step if type(step) is bytes else self._play(max_bytes)
        await self._pass_on(timeout)
        stream = await self._network(timeout)
        data: bytes = await stream.read(max_bytes, timeout)
        with self._cassette_file.lock:
            self._player.heard(stream.idle, stream.switched)
        self._cassette_file.work_off()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._hear(bytes(buffer))
        if self._player.live:
            await self._pass_on(timeout)

    async def _pass_on(self, timeout: float | None) -> None:
        with self._cassette_file.lock:
            data = self._player.forward()
        self._cassette_file.work_off()
        if data:
            await (await self._network(timeout)).write(data, timeout)

    async def _network(self, timeout: float | None) -> Any:
        """Return the connection to the network, opened when it is first needed."""
        stream = self._live
        if stream is not None and stream.idle and not self._player.proxied:
            if stream.get_extra_info("is_readable"):  # it died while the cassette gave answers
                stream.close()
                stream = None
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
        return await super().start_tls(ssl_context, server_hostname, timeout)

    def close(self) -> None:
        super().close()
        if self._live is not None:
            self._live.close()

    def abort(self) -> None:
        """End what another task is doing on the stream."""
        self._closed = True
        if self._live is not None:
            self._live.abort()

    @property
    def unclean_eof(self) -> bool:
        live = self._live
        return self._was_cut() or (live is not None and live.unclean_eof)

    def get_extra_info(self, info: str) -> Any:
        stream = self._live
        if info == "is_readable":
            # A dead connection to the network is opened again, unless it was a proxy's.
            dead = self._player.proxied and stream is not None and stream.get_extra_info(info)
            return self._fact(info) or bool(dead)
        return self._fact(info) if stream is None else stream.get_extra_info(info)


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
        return self._open(Place(host_and_port(host, port)))

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        return self._open(Place(f"unix:{path}", path))

    def _open(self, place: Place) -> AsyncNetworkStream:
        return AsyncReplayStream(self._play_at(place), self._cassette_file)

    async def sleep(self, seconds: float) -> None:
        """Do nothing: what is waited for was recorded long ago."""
