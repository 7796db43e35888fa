"""The network for asyncio and uvloop: sockets of our own, and the loop's word on readiness.

Owns: waiting for sockets in such a loop, what arrives while no task waits for it, and the timer of
a stream. Must not know: HTTP, pools.

The loop watches a socket for as long as it is open, not for each read: registering costs a system
call. So what arrives is taken in when it comes, whether or not a task waits for it; `read` takes it
from the buffer. A Future exists only while a task waits, and nothing is lost when that task is
cancelled.

- Backpressure: with `MAX_BUFFERED` bytes in the buffer that nobody has read, the loop watches no
  more, and again with the next read that has to wait.
- Errors: at an error, such as a reset, uvloop calls once more and then forgets the socket, though
  what came before the error may not be read yet. See `_on_forgotten`.
- Timeouts: one timer for each stream, which is set rarely. A wait notes when it is over; the timer
  looks whether that has come, and if not sets itself anew.

Sources: epoll(7) (level-triggered), the documentation of asyncio's event loop, libuv's uv_poll_t
(which stops at POLLERR) and uvloop's UVPoll.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from .._core.limits import READ_SIZE
from ..rules import host_and_port
from .async_sockets import AsyncSocketStream
from .async_tcp import connect_unix, look_up, open_tcp
from .asyncio_loop import AsyncioLoop
from .base import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream
from .sockets import SEND_AGAIN, TLS_RECORD, default_options, make_poll
from .tcp import Resolver

# Bytes that are kept for a task that does not read; as much again is in the system's buffer.
MAX_BUFFERED = 65536

# Bytes that one `readinto` takes without asking the layers above for another place.
MAX_IN_PLACE = 262144

_NEVER = float("inf")  # when a wait without a limit is over


class AsyncioStream(AsyncSocketStream):
    """A connected socket, plain or TLS, in a loop of asyncio or uvloop.

    Parameters:
        loop: the loop; all but `close`, `abort` and `wake` have to be called in its thread.
        The others: see `SocketStream`.

    Attributes:
        on_unasked: called when something has arrived that no task waits for, or an end; None for
            nobody.
        The others: see `SocketStream`.
    """

    __slots__ = (
        "_buffer",
        "_closed",
        "_driver",
        "_eager",
        "_end",
        "_filled",
        "_loop",
        "_number",
        "_place",
        "_read_due",
        "_reader",
        "_registered",
        "_timer",
        "_timer_at",
        "_watched",
        "_woken",
        "_write_due",
        "_writer",
        "on_unasked",
    )

    def __init__(self, sock: Any, peer: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(sock, peer)
        self._loop = loop
        self._number = sock.fileno()
        self._buffer = b""  # what has arrived and was not read
        self._end: bytes | Exception | None = None  # after the buffer: an end, or a failure
        self._eager = False  # more has most likely arrived already
        self._place: memoryview | None = None  # where a task that waits wants it
        self._filled = 0  # bytes that were put there
        self._watched = False  # the loop calls `_on_readable`
        self._registered: weakref.ref[Callable[[], object]] | None = None  # see `_on_forgotten`
        self._reader: asyncio.Future[bool] | None = None  # of the task that waits for data
        self._writer: asyncio.Future[bool] | None = None  # of the one that waits for room
        self._read_due = self._write_due = _NEVER  # when these waits are over
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _NEVER
        self._closed = False
        self.on_unasked: Callable[[], object] | None = None
        self._woken = False  # `wait` is to return at once
        # What the loop calls in place of our own methods: when something arrives, and for room.
        self._driver: tuple[Callable[[], object], Callable[[], object]] | None = None

    # Reading

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._buffer and self._end is None:
            if self._eager or timeout == 0:
                self._take_in(max_bytes)
                await self._note_moved(len(self._buffer))
            if not self._buffer and self._end is None:
                # As `_wait_for_data` does, without a coroutine: each is entered twice.
                reader = None if timeout == 0 else self._begin_to_wait(timeout)
                try:
                    ready = reader is not None and await reader
                finally:
                    self._reader, self._read_due = None, _NEVER
                if not ready:
                    return self._end_or_raise(TimeoutError("timed out"), timeout)
        data = self._buffer
        if data and len(data) <= max_bytes:
            self._buffer = b""
            return data
        return self._take(max_bytes)

    async def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Do as `read` does, straight into `buffer`; 0 at the end of the stream."""
        if self._buffer or self._end is not None or timeout == 0:
            data = await self.read(len(buffer), timeout)
            buffer[: len(data)] = data
            return len(data)
        if self._reader is not None:
            raise RuntimeError(f"another task is reading from {self.peer} already")
        # Released here: the traceback of a failure would keep it, and with it the caller's buffer.
        with buffer[:MAX_IN_PLACE] as place:
            count = self._receive_into(place)
            if count or self._end is not None:
                await self._note_moved(count)
            else:
                self._place, self._filled = place, 0
                try:
                    if not await self._wait_for_data(timeout):
                        return len(self._end_or_raise(TimeoutError("timed out"), timeout))
                except BaseException:
                    self._buffer = bytes(place[: self._filled]) + self._buffer
                    raise
                finally:
                    self._place = None
                count = self._filled
        return count or len(self._take(0))

    def _take(self, max_bytes: int) -> bytes:
        """Take up to `max_bytes` of the buffer; or what comes after it."""
        data = self._buffer
        if data:
            self._buffer = data[max_bytes:]
            return data[:max_bytes]
        end = self._end
        return b"" if end is None or isinstance(end, bytes) else self._end_or_raise(end, None)

    def _take_in(self, max_bytes: int) -> bool:
        """Read what is there into the buffer; False when nothing is there now."""
        try:
            data = self._recv(max_bytes)
        except SEND_AGAIN:
            self._eager = False
            return False
        except (OSError, ValueError) as exc:
            self._end = exc
        else:
            if data:
                self._eager = len(data) >= TLS_RECORD
                self._buffer = self._buffer + data if self._buffer else data
                return True
            self._end = b""
        self._unwatch()
        return True

    def _receive_into(self, buffer: memoryview) -> int:
        """Fill `buffer` with what is there; how many bytes."""
        count, size, sock, rest = 0, len(buffer), self._sock, buffer
        try:
            while count < size:
                # SSLSocket.recv_into is a Python function around `read`.
                rest = buffer[count:] if count else buffer
                got = sock.read(size - count, rest) if self._tls else sock.recv_into(rest)  # type: ignore[attr-defined]
                if not got:
                    self._end = b""
                    break
                count += got
        except SEND_AGAIN:
            return count
        except (OSError, ValueError) as exc:
            self._end = exc
        finally:
            rest = buffer  # the traceback of a failure keeps this, and no part of the buffer
        if self._end is not None:
            self._unwatch()
        return count

    def _on_readable(self) -> None:
        """Handle the loop's call: something has arrived."""
        reader = self._reader
        if self._place is not None:
            if not self._filled:  # else the task that waits was woken before
                self._filled = self._receive_into(self._place)
                if (self._filled or self._end is not None) and not reader.done():  # type: ignore[union-attr]
                    reader.set_result(True)  # type: ignore[union-attr]
        elif reader is None and len(self._buffer) >= MAX_BUFFERED:
            self._unwatch()
        elif self._take_in(READ_SIZE):
            if reader is None:
                if self.on_unasked is not None:
                    self.on_unasked()
            elif not reader.done():
                reader.set_result(True)

    def read_ready(self, max_bytes: int) -> bytes | None:
        """Return what is there, ``b""`` at the end of the stream, None when there is nothing
        now."""
        if not self._buffer and self._end is None and not self._take_in(max_bytes):
            return None
        return self._take(max_bytes)

    def has_arrived(self) -> bool:
        """Return whether there is something to read. Records of TLS itself, such as tickets, are
        not: they are taken in."""
        if self._buffer or self._end is not None:
            return True
        poll = self._poll
        if poll is None:
            poll = self._poll = make_poll(self._number)
        return bool(poll()) and self._take_in(READ_SIZE)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self.has_arrived()
        return super().get_extra_info(info)

    # Driven by the loop

    def drive(self, on_readable: Callable[[], object], on_room: Callable[[], object]) -> None:
        """Let the loop call `on_readable` whenever something has arrived, which reads it by
        `read_ready`; and, each time after `wake`, `on_room` when there is room to write."""
        self._driver = on_readable, on_room
        self._register(self._on_driven)

    def _on_driven(self) -> None:
        assert self._driver is not None
        self._driver[0]()
        if self._end is not None:
            self._unwatch()

    def wake(self) -> None:
        """Let the loop look for room to write; or, where it does not drive this stream, let `wait`
        return, or the next one if none is. From any thread."""
        loop = self._loop
        act = self._end_wait if self._driver is None else self._look_for_room
        if asyncio._get_running_loop() is loop:
            act()
        else:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(act)

    def _end_wait(self) -> None:
        reader = self._reader
        if reader is None:
            self._woken = True
        elif not reader.done():
            reader.set_result(True)

    def _look_for_room(self) -> None:
        if not self._closed:
            self._look_out_for_room(self._on_driven_room)

    def _on_driven_room(self) -> None:
        assert self._driver is not None
        self._loop.remove_writer(self._number)
        self._driver[1]()

    # Waiting

    async def wait(self, write: bool, timeout: float | None) -> bool:
        if self._closed:  # reading and writing will say so, once another thread's `close` was done
            await self._let_others_go_on()
            return True
        if self._woken:
            self._woken = False
            return True
        if not write:
            return bool(self._buffer) or self._end is not None or await self._wait_for_data(timeout)
        if not self._watched:
            self._watch()
        self._reader = self._loop.create_future()
        try:
            return await self._wait_for_room(timeout, self._reader)
        finally:
            self._reader = None

    def _begin_to_wait(self, timeout: float | None) -> asyncio.Future[bool]:
        """Return what is set when something has arrived; to False after `timeout` seconds."""
        if self._reader is not None:
            raise RuntimeError(f"another task is reading from {self.peer} already")
        if not self._watched:
            self._watch()
        reader = self._reader = self._loop.create_future()
        if timeout is not None:
            self._read_due = due = time.monotonic() + timeout
            if due < self._timer_at:
                self._set_timer(due, timeout)
        self._moved = 0
        return reader

    async def _wait_for_data(self, timeout: float | None) -> bool:
        reader = self._begin_to_wait(timeout)
        try:
            return await reader
        finally:
            self._reader, self._read_due = None, _NEVER

    async def _wait_for_room(
        self, timeout: float | None, writer: asyncio.Future[bool] | None = None
    ) -> bool:
        if self._writer is not None:
            raise RuntimeError(f"another task is writing to {self.peer} already")
        writer = self._writer = self._loop.create_future() if writer is None else writer
        self._look_out_for_room(self._on_writable)
        if timeout is not None:
            self._write_due = due = time.monotonic() + timeout
            if due < self._timer_at:
                self._set_timer(due, timeout)
        try:
            ready: bool = await writer
            return ready
        finally:
            self._writer = None
            self._write_due = _NEVER
            if not self._closed or self._sock.fileno() != -1:  # the loop is still to close it
                self._loop.remove_writer(self._number)

    def _on_writable(self) -> None:
        """Handle the loop's call: there is room."""
        writer = self._writer
        if writer is not None and not writer.done():
            writer.set_result(True)

    async def _wait_for_peer(self, write: bool, timeout: float | None) -> bool:
        if write:
            return await self._wait_for_room(timeout)
        self._loop.add_reader(self._number, self._on_writable)
        self._watched = True
        writer = self._writer = self._loop.create_future()
        if timeout is not None:
            self._write_due = due = time.monotonic() + timeout
            if due < self._timer_at:
                self._set_timer(due, timeout)
        try:
            ready: bool = await writer
            return ready
        finally:
            self._writer = None
            self._write_due = _NEVER
            self._unwatch()

    async def _let_others_go_on(self) -> None:
        await asyncio.sleep(0)

    def _watch(self) -> None:
        if not self._closed:
            self._register(self._on_readable if self._driver is None else self._on_driven)

    def _register(self, callback: Callable[[], object]) -> None:
        """Let the loop call `callback`, a bound method that is made for this and nobody else
        keeps."""
        if not isinstance(self._loop, asyncio.SelectorEventLoop):  # asyncio's own does not forget
            self._registered = weakref.ref(callback, self._on_forgotten)
        self._loop.add_reader(self._number, callback)
        self._watched = True

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._registered = None
            self._loop.remove_reader(self._number)

    def _on_forgotten(self, _: object) -> None:
        """Note that the loop has let go of the callback that it was given.

        uvloop does, unasked, where a socket is readable and has failed: it calls once, closes its
        handle, and does not say so. One call may take in what came before the failure and not get
        to the failure itself, which would then be met by nobody. To read twice at each event, or
        to look before each wait, would be a system call for every small answer; this costs nothing.
        """
        with contextlib.suppress(RuntimeError):  # the loop itself is being closed
            # Not at once: its handle is closed after this.
            self._loop.call_soon(self._watch_again)

    def _watch_again(self) -> None:
        if self._watched:
            self._unwatch()  # uvloop keeps its closed handle until this call
            self._watch()

    def _look_out_for_room(self, callback: Callable[[], object]) -> None:
        """Let the loop call `callback` when there is room to write."""
        if self._registered is not None and self._registered() is None:
            self._watch_again()  # uvloop refuses a writer beside a reader that it has forgotten
        self._loop.add_writer(self._number, callback)

    def _set_timer(self, due: float, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._on_time)
        self._timer_at = due

    def _on_time(self) -> None:
        """End the waits whose time is over, and set the timer for those that have more."""
        self._timer, self._timer_at = None, _NEVER
        now = time.monotonic()
        for future, due in ((self._reader, self._read_due), (self._writer, self._write_due)):
            if future is None or future.done() or due == _NEVER:
                continue
            if due <= now:
                future.set_result(False)
            elif due < self._timer_at:
                self._set_timer(due, due - now)

    # Ending

    def _renewed(self, sock: Any) -> AsyncioStream:
        self._forget_loop()
        self._closed = True
        self._end = OSError(errno.EBADF, "the connection is used with TLS now")
        return AsyncioStream(sock, self.peer, self._loop)

    def close(self) -> None:
        loop = self._loop
        if self._closed:
            return
        self._closed = True
        if loop.is_closed():
            self._sock.close()
        elif asyncio._get_running_loop() is loop or not loop.is_running():
            self._close_here()
        else:  # another thread, maybe its garbage collector
            try:
                loop.call_soon_threadsafe(self._close_here)
            except RuntimeError:  # it was closed this moment
                self._sock.close()

    def _close_here(self) -> None:
        self._forget_loop()
        self._sock.close()
        self._end = OSError(errno.EBADF, "the connection was closed")
        for future in (self._reader, self._writer):
            if future is not None and not future.done():
                future.set_result(True)

    def _forget_loop(self) -> None:
        """Let the loop, which is open, watch nothing any more."""
        self._unwatch()
        if self._writer is not None or self._driver is not None:
            self._loop.remove_writer(self._number)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __repr__(self) -> str:
        return f"<httpcore.AsyncioStream [{self.peer}{', TLS' if self._tls else ''}]>"


class AsyncioBackend(AsyncNetworkBackend):
    """Opens sockets in the running loop of asyncio or uvloop, with TCP_NODELAY and TCP keep-alive
    on.

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
        native = asyncio.get_running_loop()
        options = [*default_options(), *(socket_options or ())]
        lookup_time: list[float] = []
        sock = await open_tcp(
            AsyncioLoop(native),
            host,
            port,
            timeout,
            local_address,
            options,
            self._resolver,
            lookup_time,
        )
        stream = AsyncioStream(sock, host_and_port(host, port), native)
        stream.lookup_time = lookup_time[0]
        return stream

    async def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        """Do as `SyncBackend.resolve` does."""
        loop = AsyncioLoop(asyncio.get_running_loop())
        found = await look_up(loop, host, port, timeout, None, self._resolver)
        return [str(each) for each in found]

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Do as `SyncBackend.connect_unix_socket` does."""
        native = asyncio.get_running_loop()
        sock: socket.socket
        sock, shown = await connect_unix(AsyncioLoop(native), path, timeout, socket_options)
        return AsyncioStream(sock, shown, native)

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts to connect."""
        await asyncio.sleep(seconds)
