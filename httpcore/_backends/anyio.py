"""The network over anyio: for event loops that do not say when a socket is ready.

Owns: anyio's streams in the place of ours. Must not know: HTTP, pools, which event loop it is.

asyncio's loop for Windows (Proactor) is the one in common use. Where a loop reports it,
`asyncio` and `trio` of this folder do the same with less, and more: sessions of TLS, files, and
uploads that listen need a socket of our own.

Sources: anyio's reference of streams and typed attributes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any

import anyio
import anyio.abc

from .._exceptions import (
    ConnectError,
    ConnectTimeout,
    ReadError,
    ReadTimeout,
    WriteError,
    WriteTimeout,
)
from ..rules import host_and_port
from .async_tcp import look_up
from .async_tls import AsyncTLSStream
from .base import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream
from .event_loops import running_loop
from .interrupt import shut_down
from .loops import loop_of
from .sockets import begin_unix, default_options, make_poll
from .tcp import Resolver, is_literal, seconds

# What anyio raises for a connection that is broken, closed, or used by two tasks at once.
BROKEN = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.BusyResourceError,
    OSError,
)

_FACTS: dict[str, Any] = {
    "client_addr": anyio.abc.SocketAttribute.local_address,
    "server_addr": anyio.abc.SocketAttribute.remote_address,
    "socket": anyio.abc.SocketAttribute.raw_socket,
}


class AnyIOStream(AsyncNetworkStream):
    """A connection of anyio's.

    Parameters:
        stream: anyio's stream; this one owns it.
        peer: the name of the other end, for error texts.
    """

    def __init__(self, stream: anyio.abc.SocketStream, peer: str) -> None:
        self._stream = stream
        self._loop = loop_of(running_loop())
        self.peer = peer

    def abort(self) -> None:
        """Do as `CanBeAborted.abort` does: the loop ends it, in its own thread."""
        with contextlib.suppress(RuntimeError):  # the loop is gone, and all that waited in it
            self._loop.call_soon(self._shut_down)

    def _shut_down(self) -> None:
        # uvloop's sockets have only a number. It is the stream's own while the loop's thread
        # is here, and a copy of it ends what is under way on both.
        number = _fact(self._stream, "socket").fileno()
        if number >= 0:
            with socket.socket(fileno=os.dup(number)) as sock:
                shut_down(sock)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            with anyio.fail_after(timeout):
                return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except TimeoutError as exc:
            text = f"read from {self.peer} timed out: no byte within {seconds(timeout)}"
            raise ReadTimeout(text) from exc
        except BROKEN as exc:
            raise ReadError(f"read from {self.peer} failed: {_say(exc)}") from exc

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        try:
            with anyio.fail_after(timeout):
                await self._stream.send(bytes(buffer))
        except TimeoutError as exc:
            text = f"write to {self.peer} timed out: not all taken within {seconds(timeout)}"
            raise WriteTimeout(text) from exc
        except BROKEN as exc:
            raise WriteError(f"write to {self.peer} failed: {_say(exc)}") from exc

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncNetworkStream:
        return await AsyncTLSStream.begin(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            number = _fact(self._stream, "socket").fileno()
            return number < 0 or bool(make_poll(number)())
        return _fact(self._stream, info) if info in _FACTS else None

    def __repr__(self) -> str:
        return f"<httpcore.AnyIOStream [{self.peer}]>"


class AnyIOBackend(AsyncNetworkBackend):
    """Opens connections by anyio, in any event loop that it knows.

    Parameters:
        resolver: looks up host names in place of anyio, see `SyncBackend`; it is called in a
            thread of its own.
    """

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._resolver = resolver

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Do as `SyncBackend.connect_tcp` does; with a `resolver`, one address after the other."""
        name = host_and_port(host, port)
        end = None if timeout is None else time.monotonic() + timeout
        addresses = [host]
        if self._resolver is not None and not is_literal(host):
            addresses = await self.resolve(host, port, timeout)
        options = [*default_options(), *(socket_options or ())]
        try:
            with anyio.fail_after(None if end is None else max(0.0, end - time.monotonic())):
                stream = await _connect_one(addresses, port, local_address)
            return await _make_stream(stream, name, options)
        except OSError as exc:
            raise _connect_failure(exc, name, timeout) from exc

    async def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        """Do as `SyncBackend.resolve` does."""
        loop = loop_of(running_loop())
        found = await look_up(loop, host, port, timeout, None, self._resolver)
        return [str(each) for each in found]

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Do as `SyncBackend.connect_unix_socket` does."""
        sock, shown = begin_unix(path, None)
        sock.close()  # it has been checked whether there can be one
        try:
            with anyio.fail_after(timeout):
                stream = await anyio.connect_unix(path)
            return await _make_stream(stream, shown, socket_options or ())
        except OSError as exc:
            raise _connect_failure(exc, shown, timeout) from exc

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts to connect."""
        await anyio.sleep(seconds)


async def _connect_one(
    addresses: list[str], port: int, local_address: str | None
) -> anyio.abc.SocketStream:
    """Return a connection to the first of `addresses` that answers; raise the last's OSError."""
    failure = OSError("no address could be tried")
    for address in addresses:
        try:
            return await anyio.connect_tcp(address, port, local_host=local_address)
        except OSError as exc:
            failure = exc
    try:
        raise failure
    finally:
        del failure  # else it and this frame would keep each other


async def _make_stream(
    stream: anyio.abc.SocketStream, name: str, options: Iterable[SOCKET_OPTION]
) -> AnyIOStream:
    """Set `options`; where the system refuses one, close the connection and raise its OSError."""
    try:
        for option in options:
            _fact(stream, "socket").setsockopt(*option)
    except OSError:
        await anyio.aclose_forcefully(stream)
        raise
    return AnyIOStream(stream, name)


def _connect_failure(exc: OSError, name: str, timeout: float | None) -> Exception:
    # The system's own TimeoutError has a number: it is an answer like any other.
    if isinstance(exc, TimeoutError) and exc.errno is None:
        return ConnectTimeout(f"connect to {name} timed out after {seconds(timeout)}")
    return ConnectError(f"connect to {name} failed: {_say(exc)}")


def _fact(stream: anyio.abc.SocketStream, info: str) -> Any:
    return stream.extra(_FACTS[info], None)  # noqa: S610 - anyio's, not Django's


def _say(exc: BaseException) -> str:
    """Return what `exc` says: anyio's own have a cause, or a name, for that."""
    return str(exc) or str(exc.__cause__ or "") or type(exc).__name__
