"""The real network for synchronous code: blocking sockets with timeouts.

Owns: waiting for sockets: opening them, TLS handshakes, reading and writing. Must not know: what a
socket says about itself and what its failures are called (`sockets`), HTTP. `socket`, `ssl` and
`time` are looked up when used, so that gevent, `truststore.inject_into_ssl()` and mocks are seen.

Sources: poll(2), sendfile(2).
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import ssl
import time
from _thread import RLock
from collections.abc import Callable, Iterable
from functools import partial

from .._exceptions import ReadError
from ..rules import host_and_port
from .base import SOCKET_OPTION, NetworkBackend, NetworkStream
from .fork import close_in_child
from .interrupt import clear_waker, set_waker, shut_down
from .sockets import SEND_AGAIN, SocketStream, begin_unix, default_options, unix_failure
from .tcp import Resolver, look_up, open_tcp
from .tls_in_tls import TLSInTLSStream
from .tls_sessions import forget_session

# Bytes in one sendfile(2), so that the peer is listened to now and then.
SENDFILE_SIZE = 1024 * 1024

# Seconds: poll(2) takes an int of milliseconds, which ends after 24 days.
MAX_POLL = 20 * 86400


class SyncStream(SocketStream, NetworkStream):
    """A connected socket, plain or TLS. Parameters and attributes: see `SocketStream`."""

    __slots__ = ("_closing", "_waiting", "_woken")

    def __init__(self, sock: socket.socket, peer: str) -> None:
        super().__init__(sock, peer)
        # May be taken again by its own thread, which a signal handler or a destructor interrupts.
        self._closing = RLock()
        self._waiting: WakeablePoll | None = None  # once it is waited on without blocking
        self._woken = False  # `wake` was called, maybe before there was a poll to end

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            if timeout != self._timeout:
                self._sock.settimeout(timeout)
                self._timeout = timeout
            return self._recv(max_bytes)
        except (OSError, ValueError) as exc:
            return self._end_or_raise(exc, timeout)

    def readinto(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Do as `read` does, straight into `buffer`; 0 at the end of the stream."""
        try:
            if timeout != self._timeout:
                self._sock.settimeout(timeout)
                self._timeout = timeout
            return self._sock.recv_into(buffer)
        except (OSError, ValueError) as exc:
            return len(self._end_or_raise(exc, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            # Ask the socket itself: the reader of a response may find the socket and set a timeout
            # of its own, which must end with that response.
            if timeout != self._sock.gettimeout():
                self._sock.settimeout(timeout)
            self._timeout = timeout
            sent = self._send(buffer)
        except (OSError, ValueError) as exc:
            raise self._write_failure(exc, 0, len(buffer), timeout) from exc
        if sent != len(buffer):
            self._write_rest(memoryview(buffer), sent, timeout)

    def write_some(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Send what is taken at once, at least one byte; returns how many."""
        try:
            if timeout != self._timeout:
                self._sock.settimeout(timeout)
                self._timeout = timeout
            return self._send(buffer)
        except (OSError, ValueError) as exc:
            raise self._write_failure(exc, 0, len(buffer), timeout) from exc

    def write_until_readable(
        self, buffer: memoryview, timeout: float | None = None, until: float | None = None
    ) -> int:
        """Send `buffer`, or as much of it as goes before the peer says something.

        Parameters:
            timeout: seconds without a byte being taken, after which WriteTimeout is raised.
            until: by `time.monotonic`, when it is raised however many were.

        Returns how many bytes were sent: less than all means that there is something to read.
        """
        if not self._can_poll():
            left = None if until is None else max(0.0, until - time.monotonic())
            self.write(bytes(buffer), timeout if left is None else min(left, timeout or left))
            return len(buffer)
        return self._send_listening(
            lambda sent: self._send(buffer[sent:]), len(buffer), timeout, until
        )

    def _send_listening(
        self,
        send: Callable[[int], int],
        size: int,
        timeout: float | None,
        until: float | None,
    ) -> int:
        """Call `send` with how much went so far, until `size` bytes did or the peer sends
        something."""
        sent = 0
        try:
            if self._timeout != 0:
                self._sock.settimeout(0)
                self._timeout = 0
            poller = select.poll()
            poller.register(self._sock.fileno(), select.POLLIN | select.POLLOUT)
            while sent < size:
                events = poller.poll(_milliseconds(timeout, until))
                if not events:
                    raise TimeoutError("timed out")
                if events[0][1] & select.POLLIN:
                    return sent
                try:
                    count = send(sent)
                except SEND_AGAIN:
                    continue  # room, but not for a whole TLS record
                if not count:
                    return sent  # a file that is shorter than it was
                sent += count
        except (OSError, ValueError) as exc:
            raise self._write_failure(exc, sent, size, timeout) from exc
        return sent

    def send_file(
        self,
        file: int,
        offset: int,
        count: int,
        timeout: float | None = None,
        until: float | None = None,
    ) -> int:
        """Do as `write_until_readable` does, from `offset` of an open file by sendfile(2), which
        copies nothing into this process.

        Returns how many bytes were sent: less than `count` means that there is something to read
        or that the file has no more.
        """
        out = self._sock.fileno()
        return self._send_listening(
            lambda sent: os.sendfile(out, file, offset + sent, min(count - sent, SENDFILE_SIZE)),
            count,
            timeout,
            until,
        )

    if not hasattr(select, "poll"):  # pragma: no cover - Windows, where uploads are not listened to
        write_until_readable = None  # type: ignore[assignment]

    # Without blocking, for a connection that threads share

    def wait(self, write: bool, timeout: float | None) -> bool:
        """Wait until there is something to read, until there is room if `write`, or until `wake`.

        Other threads may use `read_ready` and `write_ready` meanwhile, one at a time: nothing is
        asked of OpenSSL here, whose objects may not be used by two threads at once.

        Parameters:
            timeout: seconds; None for ever.

        Returns False when they have passed, or sooner where they are months.
        Raises ReadError when it cannot wait; the stream may still be good then.
        """
        if self._holds:
            return True
        waiting = self._waiting
        if waiting is None:
            try:
                waiting = self._waiting = WakeablePoll(self._sock)
            except (OSError, ValueError) as exc:
                raise ReadError(f"waiting for {self.peer} failed: {exc}") from exc
            if self._woken:
                return True
        return waiting.wait(write, timeout)

    if not hasattr(select, "poll"):  # pragma: no cover - Windows: HTTP/2 uses the blocking calls
        wait = None  # type: ignore[assignment]

    def wake(self) -> None:
        """Let `wait` return, in whatever thread it is; or the next one, if none is. Also from a
        signal handler."""
        self._woken = True
        waiting = self._waiting  # which has its descriptors as long as we have it
        if waiting is not None:
            waiting.wake()

    def _write_rest(self, buffer: memoryview, sent: int, timeout: float | None) -> None:
        while sent < len(buffer):
            try:
                sent += self._send(buffer[sent:])
            except (OSError, ValueError) as exc:
                raise self._write_failure(exc, sent, len(buffer), timeout) from exc

    def close(self) -> None:
        # Without the GIL, two threads that close a socket at the same time may close its descriptor
        # twice, and the second time it may be another file's.
        with self._closing:
            self._sock.close()
        self._waiting = None

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        if self._secured:
            return TLSInTLSStream(self, ssl_context, server_hostname, timeout)
        sock, key = self._sock, None
        try:
            sock, key = self._begin_tls(ssl_context, server_hostname, timeout)
            set_waker(partial(shut_down, sock))
            try:
                sock.do_handshake()
            finally:
                clear_waker()
        except BaseException as exc:
            sock.close()
            self._sock.close()
            forget_session(ssl_context, key)
            raise self._tls_failure(exc, timeout)
        stream = SyncStream(sock, self.peer)
        stream.note_secured(ssl_context, key)
        return stream

    def __repr__(self) -> str:
        return f"<httpcore.SyncStream [{self.peer}{', TLS' if self._tls else ''}]>"


def _milliseconds(timeout: float | None, until: float | None) -> int | None:
    """Return the timeout for poll(2), rounded up: until what comes first, or None for ever."""
    if until is not None:
        left = max(0.0, until - time.monotonic())
        timeout = left if timeout is None else min(left, timeout)
    return None if timeout is None else math.ceil(min(timeout, MAX_POLL) * 1000)


class WakeablePoll:
    """Waits on a socket until it is ready, or until another thread says so.

    Its own sockets are closed when nothing refers to it any more, and not before: a thread that is
    about to wake it must not write to a descriptor that belongs to another file by then.
    """

    __slots__ = ("_number", "_read", "_wake_reader", "_wake_writer", "_write")

    def __init__(self, sock: socket.socket) -> None:
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._number = sock.fileno()
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
            close_in_child(end)
        self._read, self._write = select.poll(), select.poll()
        for poller, events in (
            (self._read, select.POLLIN),
            (self._write, select.POLLIN | select.POLLOUT),
        ):
            poller.register(self._number, events)
            poller.register(self._wake_reader.fileno(), select.POLLIN)

    def wait(self, write: bool, timeout: float | None) -> bool:
        poller = self._write if write else self._read
        events = poller.poll(_milliseconds(timeout, None))
        if not events:
            return False
        if len(events) > 1 or events[0][0] != self._number:
            with contextlib.suppress(OSError):
                self._wake_reader.recv(4096)
        return True

    def wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it was woken already
            self._wake_writer.send(b"!")

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never complete
            self._wake_reader.close()
            self._wake_writer.close()


class SyncBackend(NetworkBackend):
    """Opens blocking sockets, with TCP_NODELAY and TCP keep-alive on. Thread-safe.

    They belong to the process that opened them: the child of a fork finds its copies closed.

    Parameters:
        resolver: looks up host names in place of the system: called with host, port and the
            seconds left (None: no limit), returns IP addresses as str. It may block: where
            there is a connect timeout it runs in a thread of its own.
    """

    _resolver: Resolver | None = None  # also for subclasses that do not call our constructor

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._resolver = resolver

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        """Connect to the first address of `host` that answers; a second one is tried when the
        first has not answered within 250 ms (RFC 8305).

        Parameters:
            host: name or address, ASCII.
            port: 1 to 65535.
            timeout: seconds for the look-up and all addresses together; None waits as long as
                the system does.
            local_address: address to bind to; it also picks the family.
            socket_options: arguments of setsockopt, set before connecting, after our own.

        Raises:
            NameResolutionError (a ConnectError), ConnectTimeout, ConnectError. The last
            failure's OSError is the cause.
        """
        options = [*default_options(), *(socket_options or ())]
        lookup_time: list[float] = []
        sock = open_tcp(host, port, timeout, local_address, options, self._resolver, lookup_time)
        stream = SyncStream(sock, host_and_port(host, port))
        stream.lookup_time = lookup_time[0]
        return stream

    def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        """Return the addresses of `host`, best first; raises NameResolutionError,
        ConnectTimeout."""
        return [str(each) for each in look_up(host, port, timeout, None, self._resolver)]

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        """Connect to the Unix socket at `path`; raises ConnectTimeout or ConnectError.

        A `path` that begins with a NUL is the name of an abstract socket (Linux, unix(7)).
        """
        sock, shown = begin_unix(path, socket_options)
        try:
            sock.settimeout(timeout)
            sock.connect(path)
        except BaseException as exc:
            sock.close()
            raise unix_failure(exc, shown, timeout)
        return SyncStream(sock, shown)
