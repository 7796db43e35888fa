"""A connected socket, plain or TLS: what does not wait, for synchronous and asynchronous streams.

Owns: what a socket says about itself, reading and writing what goes without waiting, how TLS begins
on it, and what failures are called. Must not know: how to wait, threads, event loops, HTTP.
`socket` and `ssl` are looked up when used, so that gevent, `truststore.inject_into_ssl()` and mocks
are seen.

Sources: ip(7), tcp(7), RFC 9293 section 3.8.4 (keep-alives), OpenSSL's SSL_get_error(3).
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import stat
import sys
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
    caused,
)
from .._ssl import explain_handshake
from .._url import shown_path
from .base import SOCKET_OPTION
from .fork import close_in_child, is_closed_in_child
from .interrupt import shut_down
from .tcp import seconds
from .tls_begin import wrap_socket
from .tls_sessions import Key, keep_session, offer_session, session_key

if sys.platform == "linux":
    import fcntl
    import termios

# Seconds without traffic before the kernel probes the peer, between probes, and how many
# unanswered ones end the connection. NATs and load balancers forget silent connections after
# 60 s (the shortest in common use, AWS' old ELB) to 350 s; so the first probe comes before.
KEEPALIVE_IDLE = 45
KEEPALIVE_INTERVAL = 15
KEEPALIVE_COUNT = 4

# Bytes: one TLS record carries at most this much (RFC 8446 section 5.1). A failed first write
# of no more than one record left nothing at the server that it could act on.
TLS_RECORD = 16384

SEND_AGAIN = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


def default_options() -> list[tuple[int, int, int]]:
    """Return the options of each TCP socket, as arguments of setsockopt."""
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


class SocketStream:
    """A connected socket, plain or TLS; a subclass waits for it.

    Parameters:
        sock: the socket; the stream owns it from now on.
        peer: the name of the other end, for error texts.

    Attributes:
        unclean_eof: True once a TLS peer closed without close_notify: what came before may
            have been cut short by a third party (RFC 8446 section 6.1).
    """

    __slots__ = (
        "_holds",
        "_poll",
        "_pollable",
        "_recv",
        "_resumable",
        "_secured",
        "_send",
        "_sock",
        "_timeout",
        "_tls",
        "lookup_time",
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
        self.lookup_time: float | None = None
        self._holds = False  # OpenSSL has data that was read and not asked for
        self.peer = peer
        self.unclean_eof = False

    # Without waiting

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
        except SEND_AGAIN:
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
        except SEND_AGAIN:
            return 0
        except (OSError, ValueError) as exc:
            raise self._write_failure(exc, 0, len(buffer), None) from exc

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

    def abort(self) -> None:
        """End what another thread is doing on this stream; it has to close it then."""
        shut_down(self._sock)

    # Failures

    def _end_or_raise(self, exc: Exception, timeout: float | None) -> bytes:
        """Return ``b""`` where a failure of reading is the end of the stream; raise its error
        where it is not."""
        if isinstance(exc, (TimeoutError, *SEND_AGAIN)):
            raise ReadTimeout(
                f"read from {self.peer} timed out: no byte within {seconds(timeout)}"
            ) from exc
        if isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            self.unclean_eof = isinstance(exc, ssl.SSLEOFError)
            return b""
        raise ReadError(f"read from {self.peer} failed: {exc}") from exc

    def _write_failure(
        self, exc: Exception, sent: int, size: int, timeout: float | None
    ) -> Exception:
        """Return the error for a failure of writing after `sent` of `size` bytes."""
        error: WriteError | WriteTimeout
        if isinstance(exc, (TimeoutError, *SEND_AGAIN)):
            error = WriteTimeout(
                f"write to {self.peer} timed out: no byte of {size - sent} taken "
                f"within {seconds(timeout)}"
            )
        else:
            error = WriteError(f"write to {self.peer} failed: {exc}")
        untouched = sent == 0 and (not self._tls or size <= TLS_RECORD)
        error.phase = NOT_SENT if untouched else MAYBE_PROCESSED
        return error

    # TLS

    def _begin_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None, timeout: float | None
    ) -> tuple[Any, Key | None]:
        """Put TLS on the socket; return it, its handshake still to be done, and the key of its
        session."""
        sock = self._sock
        key = session_key(ssl_context, server_hostname, self.peer)
        sock.settimeout(timeout)
        secured = wrap_socket(ssl_context, sock, server_hostname=server_hostname)
        try:
            if is_closed_in_child(sock):
                close_in_child(secured)  # it has taken the descriptor over
            # The context may have been changed meanwhile, before the socket was wrapped or after.
            if key != session_key(ssl_context, server_hostname, self.peer):
                key = None
            offer_session(ssl_context, key, secured)
        except BaseException:
            secured.close()
            raise
        return secured, key

    def note_secured(self, ssl_context: ssl.SSLContext, key: Key | None) -> None:
        """Note that the handshake of this stream is done, and under which key its session is
        kept."""
        self._resumable = ssl_context, key
        self._secured = True

    def _tls_failure(self, exc: BaseException, timeout: float | None) -> BaseException:
        """Return what to raise for a failure of the handshake."""
        if isinstance(exc, (TimeoutError, *SEND_AGAIN)):
            text = f"TLS handshake with {self.peer} timed out: not done within {seconds(timeout)}"
            return caused(ConnectTimeout(text), exc)
        if isinstance(exc, (OSError, ValueError)):
            text = f"TLS handshake with {self.peer} failed: {exc}{explain_handshake(exc)}"
            return caused(TLSError(text), exc)
        return exc

    def keep_session(self) -> None:
        """Keep the TLS session for the next connection to this peer; once data was read."""
        if self._resumable is not None:
            keep_session(*self._resumable, self._sock)

    # Facts

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
            return self.lookup_time
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
                poll = self._poll = make_poll(fileno)
            try:
                ready = poll()
            except RuntimeError:  # another thread asks, or one that this signal handler interrupted
                ready = make_poll(fileno)()
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


def make_poll(fileno: int) -> Callable[[], Any]:
    """Return a function that says, without waiting, whether `fileno` is readable."""
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(fileno, select.POLLIN | select.POLLHUP | select.POLLERR)
        return partial(poller.poll, 0)
    return lambda: select.select([fileno], [], [], 0)[0]  # pragma: no cover - Windows


def begin_unix(path: str, options: Iterable[SOCKET_OPTION] | None) -> tuple[socket.socket, str]:
    """Return a Unix socket to be connected to `path`, and the name of that for texts.

    Raises ConnectError where that cannot be.
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
        for option in options or ():
            sock.setsockopt(*option)
    except OSError as exc:
        sock.close()
        raise ConnectError(f"connect to {shown} failed: {exc}") from exc
    return sock, shown


def unix_failure(exc: BaseException, shown: str, timeout: float | None) -> BaseException:
    """Return what to raise for a failure to connect to the Unix socket of name `shown`."""
    if isinstance(exc, (TimeoutError, BlockingIOError)):
        text = f"connect to {shown} timed out after {seconds(timeout)}"
        return caused(ConnectTimeout(text), exc)
    if isinstance(exc, (OSError, ValueError)):
        return caused(ConnectError(f"connect to {shown} failed: {exc}"), exc)
    return exc
