"""A network layer that follows a script, for tests without a socket.

Owns: `MockBackend` and `MockStream` and their async twins, as in httpcore 1.0.9; what a script may
say; and the record of what was done. Must not know: HTTP.

A script is a list, taken from its beginning:

- bytes arrive, all in one read, however few it asks for, as in 1.0.9; ``read_size`` makes reads
  short; ``b""`` is the end of the stream;
- a number is so many seconds in which nothing happens: past the timeout of a call, they are a
  timeout. They are not waited for, unless `sleep` is given;
- an exception, or the class of one, is raised;
- None is what goes well: for what gives no bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .._exceptions import ConnectTimeout, ReadError, ReadTimeout, WriteTimeout
from ..rules import host_and_port
from .base import (
    SOCKET_OPTION,
    AsyncNetworkBackend,
    AsyncNetworkStream,
    NetworkBackend,
    NetworkStream,
)

if TYPE_CHECKING:
    import ssl

# Of bytes, numbers, exceptions and None; those of connecting have lists of them too.
Script = list[Any]
Sleep = Callable[[float], object]


class MockSSLObject:
    """Stands where an `ssl.SSLObject` would, with the protocol ALPN would have chosen."""

    def __init__(self, http2: bool) -> None:
        self._http2 = http2

    def selected_alpn_protocol(self) -> str:
        return "h2" if self._http2 else "http/1.1"


def _take(script: Script, timeout: float | None, late: Exception) -> tuple[float, object]:
    """Return how long the next step takes, and what it is: `late` if that is past the timeout, and
    None at the end of the script. What is left of a pause stays in it."""
    waited = 0.0
    while script and isinstance(script[0], (int, float)):
        seconds = script.pop(0)
        if timeout is not None and waited + seconds > timeout:
            script.insert(0, waited + seconds - timeout)
            return timeout, late
        waited += seconds
    return waited, script.pop(0) if script else None


def _raise_if_error(step: object, what: str) -> None:
    if isinstance(step, BaseException) or (
        isinstance(step, type) and issubclass(step, BaseException)
    ):
        raise step
    if step is not None:
        raise TypeError(f"{what} has {step!r:.40}: neither seconds, nor an exception, nor None")


def _seconds(timeout: float | None) -> str:
    return f"nothing within {timeout or 0:g} s, as its script says"


class _MockStream:
    """The part that both kinds of streams have.

    Attributes:
        written: what was written, an item for each call.
        log: all that was done, in order: ``("read", max_bytes)``, ``("write", data)``,
            ``("start_tls", server_hostname)``, ``("close", None)``.
        closed: it was closed.
    """

    def __init__(
        self,
        buffer: Script,
        http2: bool = False,
        *,
        writes: Iterable[object] = (),
        handshakes: Iterable[object] = (),
        read_size: int | None = None,
        sleep: Sleep | None = None,
    ) -> None:
        self._buffer = buffer
        self._http2 = http2
        self._writes = list(writes)
        self._handshakes = list(handshakes)
        self._read_size = read_size
        self._sleep = sleep
        self.closed = False
        self.written: list[bytes] = []
        self.log: list[tuple[str, object]] = []

    def _begin_read(self, max_bytes: int, timeout: float | None) -> tuple[float, object]:
        self.log.append(("read", max_bytes))
        if self.closed:
            raise ReadError("read from a mock stream that is closed")
        late = ReadTimeout(f"read from a mock stream timed out: {_seconds(timeout)}")
        return _take(self._buffer, timeout, late)

    def _end_read(self, step: object, max_bytes: int) -> bytes:
        if not isinstance(step, (bytes, bytearray)):
            _raise_if_error(step, "the buffer of a mock stream")
            return b""
        data = bytes(step)
        if self._read_size is None:
            return data
        size = min(max_bytes, self._read_size)
        if len(data) > size:
            self._buffer.insert(0, data[size:])
        return data[:size]

    def _begin_write(self, data: bytes, timeout: float | None) -> tuple[float, object]:
        self.log.append(("write", data))
        late = WriteTimeout(f"write to a mock stream timed out: {_seconds(timeout)}")
        return _take(self._writes, timeout, late)

    def _end_write(self, step: object, data: bytes) -> None:
        _raise_if_error(step, "the writes of a mock stream")
        self.written.append(data)

    def _begin_tls(self, name: str | None, timeout: float | None) -> tuple[float, object]:
        self.log.append(("start_tls", name))
        late = ConnectTimeout(f"TLS handshake with a mock stream timed out: {_seconds(timeout)}")
        return _take(self._handshakes, timeout, late)

    def _end_tls(self, step: object) -> None:
        try:
            _raise_if_error(step, "the handshakes of a mock stream")
        except BaseException:
            self.closed = True
            raise

    def _close(self) -> None:
        self.log.append(("close", None))
        self.closed = True

    def get_extra_info(self, info: str) -> Any:
        return MockSSLObject(http2=self._http2) if info == "ssl_object" else None


class MockStream(_MockStream, NetworkStream):
    """A stream that follows a script; at its end the stream has ended.

    Parameters:
        buffer: the script of reads: what the server "sends", in the pieces in which it arrives.
            The list is consumed.
        http2: whether ALPN would have chosen h2.
        writes: the script of writes: numbers, exceptions and None for one that is taken. What
            is written past its end is taken.
        handshakes: the same for `start_tls`.
        read_size: bytes that one read gives at most, and never more than it asked for.
        sleep: called with the seconds of each pause; by default there is no wait.

    Attributes:
        written: what was written, an item for each call.
        log: all that was done, in order: ``("read", max_bytes)``, ``("write", data)``,
            ``("start_tls", server_hostname)``, ``("close", None)``.
        closed: it was closed.

    Not thread-safe.
    """

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        seconds, step = self._begin_read(max_bytes, timeout)
        self._wait(seconds)
        return self._end_read(step, max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        data = bytes(buffer)
        seconds, step = self._begin_write(data, timeout)
        self._wait(seconds)
        self._end_write(step, data)

    def close(self) -> None:
        self._close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        seconds, step = self._begin_tls(server_hostname, timeout)
        self._wait(seconds)
        self._end_tls(step)
        return self

    def _wait(self, seconds: float) -> None:
        if seconds and self._sleep is not None:
            self._sleep(seconds)

    def __repr__(self) -> str:
        return "<httpcore.MockStream>"


class _MockBackend:
    """The part that both kinds of backends have."""

    def __init__(
        self,
        buffer: Script,
        http2: bool = False,
        *,
        connects: Iterable[object] = (),
        writes: Iterable[object] = (),
        handshakes: Iterable[object] = (),
        read_size: int | None = None,
        sleep: Sleep | None = None,
    ) -> None:
        self._buffer = buffer
        self._http2 = http2
        self._connects = list(connects)
        self._writes = list(writes)
        self._handshakes = list(handshakes)
        self._read_size = read_size
        self._sleep = sleep
        self.opened: list[str] = []
        self.streams: list[Any] = []

    def _begin(self, where: str, timeout: float | None) -> tuple[float, object]:
        self.opened.append(where)
        late = ConnectTimeout(f"connect to {where} timed out: {_seconds(timeout)}")
        return _take(self._connects, timeout, late)

    def _script(self, step: object) -> tuple[Script, dict[str, Any]]:
        """Return the script of the connection that `step` leads to, and its other settings."""
        buffer = step if isinstance(step, list) else self._buffer
        if buffer is not step:
            _raise_if_error(step, "the connects of a mock backend")
        settings = {
            "http2": self._http2,
            "writes": self._writes,
            "handshakes": self._handshakes,
            "read_size": self._read_size,
            "sleep": self._sleep,
        }
        return list(buffer), settings


class MockBackend(_MockBackend, NetworkBackend):
    """Opens connections that follow a script, see `MockStream`.

    Parameters:
        buffer: each connection plays back a copy of it.
        http2, writes, handshakes, read_size, sleep: as for `MockStream`, for each connection.
        connects: the script of connecting: numbers; exceptions; None, or a list that this
            connection plays back in place of `buffer`. Past its end all connects succeed.

    Attributes:
        streams: the connections that were opened, in order, to look at what they were sent.
        opened: where to, failed ones too: ``"example.com:443"``, ``"unix:/run/app.sock"``.
    """

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        return self._connect(host_and_port(host, port), timeout)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        return self._connect(f"unix:{path}", timeout)

    def _connect(self, where: str, timeout: float | None) -> NetworkStream:
        seconds, step = self._begin(where, timeout)
        if seconds:
            self.sleep(seconds)
        script, settings = self._script(step)
        stream = MockStream(script, **settings)
        self.streams.append(stream)
        return stream

    def sleep(self, seconds: float) -> None:
        """Call `sleep`, if it was given; otherwise do not wait."""
        if self._sleep is not None:
            self._sleep(seconds)


class AsyncMockStream(_MockStream, AsyncNetworkStream):
    """The asynchronous twin of `MockStream`; `sleep` may be asynchronous."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        seconds, step = self._begin_read(max_bytes, timeout)
        await self._wait(seconds)
        return self._end_read(step, max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        data = bytes(buffer)
        seconds, step = self._begin_write(data, timeout)
        await self._wait(seconds)
        self._end_write(step, data)

    async def aclose(self) -> None:
        self._close()

    def close(self) -> None:
        """Close the stream, without waiting."""
        self._close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        seconds, step = self._begin_tls(server_hostname, timeout)
        await self._wait(seconds)
        self._end_tls(step)
        return self

    async def _wait(self, seconds: float) -> None:
        if seconds:
            await _sleep(self._sleep, seconds)

    def __repr__(self) -> str:
        return "<httpcore.AsyncMockStream>"


class AsyncMockBackend(_MockBackend, AsyncNetworkBackend):
    """The asynchronous twin of `MockBackend`; `sleep` may be asynchronous."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        return await self._connect(host_and_port(host, port), timeout)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        return await self._connect(f"unix:{path}", timeout)

    async def _connect(self, where: str, timeout: float | None) -> AsyncNetworkStream:
        seconds, step = self._begin(where, timeout)
        if seconds:
            await self.sleep(seconds)
        script, settings = self._script(step)
        stream = AsyncMockStream(script, **settings)
        self.streams.append(stream)
        return stream

    async def sleep(self, seconds: float) -> None:
        """Call `sleep`, if it was given; otherwise do not wait."""
        await _sleep(self._sleep, seconds)


async def _sleep(sleep: Sleep | None, seconds: float) -> None:
    if sleep is not None:
        waiting = sleep(seconds)
        if inspect.isawaitable(waiting):
            await waiting
