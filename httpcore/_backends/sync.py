"""The real network for synchronous code: blocking sockets with timeouts.

Owns: opening sockets, TLS handshakes, reading and writing, and what failures are called.
Must not know: HTTP. `socket`, `ssl` and `time` are looked up when used, so that gevent,
`truststore.inject_into_ssl()` and mocks are seen.

Sources: ip(7), tcp(7), RFC 9293 section 3.8.4 (keep-alives), OpenSSL's SSL_get_error(3).
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import ssl
import stat
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from .._exceptions import (
    MAYBE_PROCESSED,
    NOT_SENT,
    ConnectError,
    ConnectTimeout,
    ReadError,
    ReadTimeout,
    TLSError,
    WriteError,
    WriteTimeout,
)
from .._ssl import explain_handshake
from .._url import shown_path
from .base import SOCKET_OPTION, NetworkBackend, NetworkStream
from .fork import close_in_child, is_closed_in_child
from .interrupt import clear_waker, set_waker, shut_down
from .tcp import Resolver, look_up, open_tcp, seconds
from .tls_begin import wrap_socket
from .tls_in_tls import TLSInTLSStream
from .tls_sessions import Key, forget_session, keep_session, offer_session, session_key

if sys.platform == "linux":
    import fcntl
    import termios

# Seconds without traffic before the kernel probes the peer, between probes, and how many
# unanswered ones end the connection. NATs and load balancers forget silent connections after
# 60 s (the shortest in common use, AWS' old ELB) to 350 s; so the first probe comes before.
KEEPALIVE_IDLE = 45
KEEPALIVE_INTERVAL = 15
KEEPALIVE_COUNT = 4

# Bytes in one sendfile(2), so that the peer is listened to now and then.
SENDFILE_SIZE = 1024 * 1024

# Bytes: one TLS record carries at most this much (RFC 8446 section 5.1). A failed first write
# of no more than one record left nothing at the server that it could act on.
TLS_RECORD = 16384

# Seconds: poll(2) takes an int of milliseconds, which ends after 24 days.
MAX_POLL = 20 * 86400

_SEND_AGAIN = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


def _default_options() -> list[tuple[int, int, int]]:
    options = [
        # Small writes must not wait for the peer's ACK (RFC 9293 section 3.7.4, Nagle).
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]
    for names, value in (
        (("TCP_KEEPIDLE", "TCP_KEEPALIVE"), KEEPALIVE_IDLE),
        (("TCP_KEEPINTVL",), KEEPALIVE_INTERVAL),
        (("TCP_KEEPCNT",), KEEPALIVE_COUNT),
    ):
        for name in names:  # the second name is macOS' for the first
            if hasattr(socket, name):
                options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
                break
    return options


class SyncStream(NetworkStream):
    """A connected socket, plain or TLS.

    Parameters:
        sock: the socket; the stream owns it from now on.
        peer: the name of the other end, for error texts.

    Attributes:
        unclean_eof: True once a TLS peer closed without close_notify: what came before may
            have been cut short by a third party (RFC 8446 section 6.1).
    """

    __slots__ = (
        "_holds",
        "_lookup_time",
        "_poll",
        "_pollable",
        "_recv",
        "_resumable",
        "_secured",
        "_send",
        "_sock",
        "_timeout",
        "_tls",
        "_waiting",
        "_woken",
        "peer",
        "unclean_eof",
    )

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self._sock = sock
        # Context and key of its TLS session.
        self._resumable: tuple[object, Key | None] | None = None
        self._tls = self._secured = isinstance(sock, ssl.SSLSocket)
        self._pollable: bool | None = None  # once it was asked
        # SSLSocket.recv and .send are Python functions around these two.
        self._recv: Callable[[int], bytes] = sock.read if self._tls else sock.recv  # type: ignore[attr-defined]
        self._send: Callable[[bytes | memoryview], int] = sock.send
        self._timeout = sock.gettimeout()
        self._poll: Any = None
        self._lookup_time: float | None = None
        self._holds = False  # OpenSSL has data that was read and not asked for
        self._waiting: WakeablePoll | None = None  # once it is waited on without blocking
        self._woken = False  # `wake` was called, maybe before there was a poll to end
        self.peer = peer
        self.unclean_eof = False

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

    def _end_or_raise(self, exc: Exception, timeout: float | None) -> bytes:
        if isinstance(exc, (TimeoutError, *_SEND_AGAIN)):
            raise ReadTimeout(
                f"read from {self.peer} timed out: no byte within {seconds(timeout)}"
            ) from exc
        if isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            self.unclean_eof = isinstance(exc, ssl.SSLEOFError)
            return b""
        raise ReadError(f"read from {self.peer} failed: {exc}") from exc

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
                except _SEND_AGAIN:
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

    @property
    def sends_files(self) -> bool:
        """Return whether `send_file` can be used: not over TLS, nor where the system has no
        sendfile(2) and poll(2)."""
        return (
            not self._secured
            and hasattr(os, "sendfile")
            and hasattr(select, "poll")
            and self._can_poll()
        )

    def _can_poll(self) -> bool:
        """Return whether waiting for the descriptor is waiting for the socket. Mocks give what is
        no socket, and other makes of TLS cannot go on after half a record."""
        if self._pollable is None:
            try:
                is_socket = stat.S_ISSOCK(os.fstat(self._sock.fileno()).st_mode)
            except (OSError, ValueError, TypeError, AttributeError):
                is_socket = sys.platform == "win32"  # where descriptors of sockets are no files'
            self._pollable = is_socket and self._tls == self._secured
        return self._pollable

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

    def read_ready(self, max_bytes: int) -> bytes | None:
        """Return what is there, ``b""`` at the end of the stream, None when there is nothing
        now."""
        self._holds = False
        try:
            # As in `write`: a reader that found the socket may have set a timeout.
            if self._sock.gettimeout() != 0:
                self._sock.settimeout(0)
            self._timeout = 0
            data = self._recv(max_bytes)
        except _SEND_AGAIN:
            return None
        except (OSError, ValueError) as exc:
            return self._end_or_raise(exc, 0)
        if self._tls and len(data) == max_bytes:
            # OpenSSL reads whole records: what did not fit is not on the wire any more.
            self._holds = self._sock.pending() > 0  # type: ignore[attr-defined]
        return data

    def write_ready(self, buffer: bytes | memoryview) -> int:
        """Send what is taken now; how many bytes. After 0, come again with the same bytes first."""
        if not buffer:
            return 0
        try:
            if self._sock.gettimeout() != 0:
                self._sock.settimeout(0)
            self._timeout = 0
            return self._send(buffer)
        except _SEND_AGAIN:
            return 0
        except (OSError, ValueError) as exc:
            raise self._write_failure(exc, 0, len(buffer), None) from exc

    def _write_rest(self, buffer: memoryview, sent: int, timeout: float | None) -> None:
        while sent < len(buffer):
            try:
                sent += self._send(buffer[sent:])
            except (OSError, ValueError) as exc:
                raise self._write_failure(exc, sent, len(buffer), timeout) from exc

    def _write_failure(
        self, exc: Exception, sent: int, size: int, timeout: float | None
    ) -> Exception:
        error: WriteError | WriteTimeout
        if isinstance(exc, (TimeoutError, *_SEND_AGAIN)):
            error = WriteTimeout(
                f"write to {self.peer} timed out: no byte of {size - sent} taken "
                f"within {seconds(timeout)}"
            )
        else:
            error = WriteError(f"write to {self.peer} failed: {exc}")
        untouched = sent == 0 and (not self._tls or size <= TLS_RECORD)
        error.phase = NOT_SENT if untouched else MAYBE_PROCESSED
        return error

    def close(self) -> None:
        self._sock.close()
        self._waiting = None

    def abort(self) -> None:
        """End what another thread is doing on this stream; it has to close it then."""
        shut_down(self._sock)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        if self._secured:
            return TLSInTLSStream(self, ssl_context, server_hostname, timeout)
        sock = self._sock
        key = session_key(ssl_context, server_hostname, self.peer)
        try:
            sock.settimeout(timeout)
            sock = wrap_socket(ssl_context, sock, server_hostname=server_hostname)
            if is_closed_in_child(self._sock):
                close_in_child(sock)  # it has taken the descriptor over
            # The context may have been changed meanwhile, before the socket was wrapped or after.
            if key != session_key(ssl_context, server_hostname, self.peer):
                key = None
            offer_session(ssl_context, key, sock)
            set_waker(partial(shut_down, sock))
            try:
                sock.do_handshake()
            finally:
                clear_waker()
        except BaseException as exc:
            sock.close()
            self._sock.close()
            forget_session(ssl_context, key)
            if isinstance(exc, (TimeoutError, *_SEND_AGAIN)):
                raise ConnectTimeout(
                    f"TLS handshake with {self.peer} timed out: not done within {seconds(timeout)}"
                ) from exc
            if isinstance(exc, (OSError, ValueError)):
                text = f"TLS handshake with {self.peer} failed: {exc}{explain_handshake(exc)}"
                raise TLSError(text) from exc
            raise
        stream = SyncStream(sock, self.peer)
        stream._resumable = ssl_context, key
        stream._secured = True
        return stream

    def keep_session(self) -> None:
        """Keep the TLS session for the next connection to this peer; once data was read."""
        if self._resumable is not None:
            keep_session(*self._resumable, self._sock)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._is_readable()
        if info == "ssl_object":
            return self._sock if self._tls else None
        if info == "socket":
            return self._sock
        if info == "unacknowledged":
            return self._unacknowledged()
        if info == "lookup_time":  # seconds
            return self._lookup_time
        try:
            if info == "client_addr":
                return self._sock.getsockname()
            if info == "server_addr":
                return self._sock.getpeername()
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # the socket is closed or the peer is gone, or it is a mock's
        return None

    def _unacknowledged(self) -> int | None:
        """Return how many bytes were sent that the peer's system has not acknowledged; None where
        that cannot be known."""
        if sys.platform != "linux":
            return None
        try:
            if self._sock.family not in (socket.AF_INET, socket.AF_INET6):
                return None
            # SIOCOUTQ of tcp(7), which has the number of TIOCOUTQ.
            answer = fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4))
            return int.from_bytes(answer, sys.byteorder)
        except (OSError, ValueError, TypeError, AttributeError):  # the last two: a mock's
            return None

    def _is_readable(self) -> bool:
        """Return whether something (data, end, error) has arrived; for an idle connection: it is
        dead."""
        sock = self._sock
        try:
            fileno = sock.fileno()
            if fileno < 0:
                return True  # closed; another file may have its number by now
            # OpenSSL reads whole records: what it holds is not on the wire any more.
            if self._tls and sock.pending():  # type: ignore[attr-defined]
                return True
            poll = self._poll
            if poll is None:
                poll = self._poll = _make_poll(fileno)
            try:
                ready = poll()
            except RuntimeError:  # another thread asks, or one that this signal handler interrupted
                ready = _make_poll(fileno)()
            if not ready:
                return False
        except (OSError, ValueError, TypeError, AttributeError):  # the last two: a mock's
            return True
        return not self._tls or self._tls_has_data()

    def _tls_has_data(self) -> bool:
        # TLS 1.3 servers may send session tickets at any time (RFC 8446 section 4.6.1): bytes
        # on the wire that are no data. Reading lets OpenSSL take them.
        self._sock.settimeout(0)
        self._timeout = 0
        try:
            self._recv(1)
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        except (OSError, ValueError):
            return True
        return True

    def __repr__(self) -> str:
        return f"<httpcore.SyncStream [{self.peer}{', TLS' if self._tls else ''}]>"


def _make_poll(fileno: int) -> Callable[[], Any]:
    """Return a function that says, without waiting, whether `fileno` is readable."""
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(fileno, select.POLLIN | select.POLLHUP | select.POLLERR)
        return partial(poller.poll, 0)
    return lambda: select.select([fileno], [], [], 0)[0]  # pragma: no cover - Windows


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
        options = [*_default_options(), *(socket_options or ())]
        lookup_time: list[float] = []
        sock = open_tcp(host, port, timeout, local_address, options, self._resolver, lookup_time)
        stream = SyncStream(sock, f"{host}:{port}")
        stream._lookup_time = lookup_time[0]
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
        shown = f"unix:{shown_path(path)}"
        if not hasattr(socket, "AF_UNIX"):  # pragma: no cover - Windows
            raise ConnectError(f"connect to {shown} failed: this system has no Unix sockets")
        if "\0" in path[1:] and path[0] != "\0":
            # The system would take the path to end there, and connect to that socket.
            raise ConnectError(f"connect to {shown} failed: the path has a NUL inside")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        close_in_child(sock)
        try:
            for option in socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(timeout)
            sock.connect(path)
        except BaseException as exc:
            sock.close()
            if isinstance(exc, (TimeoutError, BlockingIOError)):
                raise ConnectTimeout(
                    f"connect to {shown} timed out after {seconds(timeout)}"
                ) from exc
            if isinstance(exc, (OSError, ValueError)):
                raise ConnectError(f"connect to {shown} failed: {exc}") from exc
            raise
        return SyncStream(sock, shown)
