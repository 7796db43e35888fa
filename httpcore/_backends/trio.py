"""The network for trio: sockets of our own, and trio's word on readiness.

Owns: waiting for sockets in a run of trio. Must not know: HTTP, pools.

Each wait is one call of `trio.lowlevel.wait_readable` or `wait_writable`, in one cancel scope where
it has a limit. Nothing is read while no task waits. trio raises in a cancelled scope at each
``await``, also where the task cleans up: so closing does not wait, and no byte that was taken from
the socket is held over a wait.

Sources: trio's reference of low-level operations; its rules of checkpoints, which `FAIR_SHARE`
stands in for here.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable
from typing import Any

import trio

from ..rules import host_and_port
from .async_sockets import FAIR_SHARE, AsyncSocketStream
from .async_tcp import connect_unix, look_up, open_tcp
from .base import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream
from .sockets import SEND_AGAIN, TLS_RECORD, default_options, make_poll
from .tcp import Resolver
from .trio_loop import TrioLoop, is_running, limited_to


class TrioStream(AsyncSocketStream):
    """A connected socket, plain or TLS, in a run of trio.

    Parameters:
        token: of the run; all but `close` and `abort` have to be called in its thread.
        The others, and attributes: see `SocketStream`.
    """

    __slots__ = (
        "_closed",
        "_eager",
        "_number",
        "_readers",
        "_token",
        "_waiting",
        "_woken",
        "_writers",
    )

    def __init__(self, sock: Any, peer: str, token: trio.lowlevel.TrioToken) -> None:
        super().__init__(sock, peer)
        self._token = token
        self._number = sock.fileno()
        self._eager = False  # more has most likely arrived already
        self._readers = self._writers = 0  # tasks that wait for data, and for room
        self._waiting: trio.CancelScope | None = None  # of `wait`
        self._woken = False
        self._closed = False

    # Reading

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._moved >= FAIR_SHARE:
            await self._let_others_go_on()
        if self._eager or timeout == 0:
            data = self._receive(max_bytes)
            if data is not None:
                return data
            if timeout == 0:
                return self._end_or_raise(TimeoutError("timed out"), timeout)
        if timeout is None:
            return await self._wait_and_receive(max_bytes)
        with limited_to(timeout):
            return await self._wait_and_receive(max_bytes)
        return self._end_or_raise(TimeoutError("timed out"), timeout)

    async def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Do as `read` does, straight into `buffer`; 0 at the end of the stream."""
        if self._moved >= FAIR_SHARE:
            await self._let_others_go_on()
        count = self._receive_into(buffer)
        if count is None:
            data = await self.read(min(len(buffer), TLS_RECORD), timeout)
            count = len(data)
            buffer[:count] = data
        return count

    async def _wait_and_receive(self, max_bytes: int) -> bytes:
        while not self._closed:
            await self._until_readable()
            data = self._receive(max_bytes)
            if data is not None:
                return data
        return self._end_or_raise(OSError(errno.EBADF, "the connection was closed"), None)

    def _receive(self, max_bytes: int) -> bytes | None:
        """Return what is there, ``b""`` at the end of the stream, None when there is nothing
        now."""
        try:
            data = self._recv(max_bytes)
        except SEND_AGAIN:
            self._eager = False
            return None
        except (OSError, ValueError) as exc:
            return self._end_or_raise(exc, None)
        self._note_received(len(data), max_bytes)
        return data

    def _receive_into(self, buffer: memoryview) -> int | None:
        """Do as `_receive` does, into `buffer`; return how many bytes."""
        try:
            count: int = self._sock.recv_into(buffer)
        except SEND_AGAIN:
            self._eager = False
            return None
        except (OSError, ValueError) as exc:
            return len(self._end_or_raise(exc, None))
        self._note_received(count, len(buffer))
        return count

    def _note_received(self, count: int, asked: int) -> None:
        self._moved += count
        # What OpenSSL holds is not on the wire any more: no wait would end for it.
        self._holds = self._tls and count == asked and self._sock.pending() > 0  # type: ignore[attr-defined]
        self._eager = self._holds or count >= TLS_RECORD

    def read_ready(self, max_bytes: int) -> bytes | None:
        """Return what is there, ``b""`` at the end of the stream, None when there is nothing
        now."""
        return self._receive(max_bytes)

    def has_arrived(self) -> bool:
        """Return whether there is something to read."""
        if self._holds or self._closed:
            return True
        poll = self._poll
        if poll is None:
            poll = self._poll = make_poll(self._number)
        return bool(poll())

    # Waiting

    async def wait(self, write: bool, timeout: float | None) -> bool:
        if self._closed:  # reading and writing will say so, once another thread's `close` was done
            await self._let_others_go_on()
            return True
        if self._holds or self._woken:
            self._woken = False
            return True
        ready = False
        try:
            with limited_to(timeout) as self._waiting:
                await (self._until_either() if write else self._until_readable())
                ready = True
        finally:
            self._waiting = None
        woken, self._woken = self._woken, False
        return ready or woken

    async def _until_either(self) -> None:
        self._check_writer()  # here: a nursery would put what is raised in it into a group
        self._check_reader()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_when_readable, nursery.cancel_scope)
            await self._until_writable()
            nursery.cancel_scope.cancel()

    async def _end_when_readable(self, scope: trio.CancelScope) -> None:
        await self._until_readable()
        scope.cancel()

    def wake(self) -> None:
        """Let `wait` return, or the next one if none is; from any thread."""
        if not is_running(self._token):
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self.wake)
            return
        self._woken = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def _wait_for_room(self, timeout: float | None) -> bool:
        with limited_to(timeout):
            await self._until_writable()
            return True
        return False

    async def _wait_for_peer(self, write: bool, timeout: float | None) -> bool:
        return await (self._wait_for_room(timeout) if write else self.wait(False, timeout))

    def _check_reader(self) -> None:
        if self._readers:
            raise RuntimeError(f"another task is reading from {self.peer} already")

    def _check_writer(self) -> None:
        if self._writers:
            raise RuntimeError(f"another task is writing to {self.peer} already")

    async def _until_readable(self) -> None:
        self._check_reader()
        if self._closed:
            return  # reading will say so
        self._moved = 0
        self._readers = 1
        try:
            await trio.lowlevel.wait_readable(self._number)
        except trio.ClosedResourceError:
            pass
        finally:
            self._readers = 0

    async def _until_writable(self) -> None:
        self._check_writer()
        self._writers = 1
        try:
            await trio.lowlevel.wait_writable(self._number)
        except trio.ClosedResourceError:
            pass  # writing will say so, too
        finally:
            self._writers = 0

    async def _let_others_go_on(self) -> None:
        self._moved = 0
        await trio.lowlevel.checkpoint()

    # Ending

    def _renewed(self, sock: Any) -> TrioStream:
        self._closed = True
        return TrioStream(sock, self.peer, self._token)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if is_running(self._token):
            self._close_here()
            return
        try:  # another thread, maybe its garbage collector
            self._token.run_sync_soon(self._close_here)
        except trio.RunFinishedError:
            self._sock.close()

    def _close_here(self) -> None:
        if self._readers or self._writers:
            trio.lowlevel.notify_closing(self._number)
        self._sock.close()

    def __repr__(self) -> str:
        return f"<httpcore.TrioStream [{self.peer}{', TLS' if self._tls else ''}]>"


class TrioBackend(AsyncNetworkBackend):
    """Opens sockets in the running trio, with TCP_NODELAY and TCP keep-alive on.

    Parameters:
        resolver: looks up host names in place of the system, see `SyncBackend`; it is called in a
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
        """Do as `SyncBackend.connect_tcp` does."""
        token = trio.lowlevel.current_trio_token()
        options = [*default_options(), *(socket_options or ())]
        lookup_time: list[float] = []
        sock = await open_tcp(
            TrioLoop(token),
            host,
            port,
            timeout,
            local_address,
            options,
            self._resolver,
            lookup_time,
        )
        stream = TrioStream(sock, host_and_port(host, port), token)
        stream.lookup_time = lookup_time[0]
        return stream

    async def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        """Do as `SyncBackend.resolve` does."""
        loop = TrioLoop(trio.lowlevel.current_trio_token())
        found = await look_up(loop, host, port, timeout, None, self._resolver)
        return [str(each) for each in found]

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Do as `SyncBackend.connect_unix_socket` does."""
        token = trio.lowlevel.current_trio_token()
        sock: socket.socket
        sock, shown = await connect_unix(TrioLoop(token), path, timeout, socket_options)
        return TrioStream(sock, shown, token)

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts to connect."""
        await trio.sleep(seconds)
