"""Opening a TCP connection with blocking sockets: look-up, race, connect.

Owns: what is asked to look up a name, and the race of addresses. Must not know: TLS,
streams, HTTP. `socket`, `select`, `threading` and `time` are looked up when used, so that
gevent and mocks are seen.

No thread is started for the race. A look-up with a limit is one of `lookup_threads`.

Sources: RFC 8305 (Happy Eyeballs), connect(2) for how a non-blocking connect ends.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Iterable

from .._core.deadline import uncounted
from .._core.happy_eyeballs import ATTEMPT_DELAY, Address, Race, interleave
from .._exceptions import ConnectError, ConnectTimeout, NameResolutionError
from ..rules import host_and_port
from .base import SOCKET_OPTION
from .fork import close_in_child
from .interrupt import clear_waker, set_waker, shut_down
from .lookup_threads import in_time

# Takes host, port and the seconds that are left (None: no limit), returns IP addresses as text.
Resolver = Callable[[str, int, "float | None"], Iterable[str]]

# connect_ex() of a non-blocking socket: on its way. EWOULDBLOCK is how Windows says it.
UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN)


def open_tcp(
    host: str,
    port: int,
    timeout: float | None,
    local_address: str | None,
    options: list[SOCKET_OPTION],
    resolver: Resolver | None = None,
    lookup_time: list[float] | None = None,
) -> socket.socket:
    """Return a socket connected to the first address of `host` that answers.

    Parameters: as those of `SyncBackend.connect_tcp`; `timeout` covers look-up and race. The
    seconds that the look-up took are added to `lookup_time`.

    Raises NameResolutionError, ConnectTimeout, ConnectError.
    """
    began = time.monotonic()
    deadline = None if timeout is None else began + timeout
    addresses = interleave(look_up(host, port, timeout, local_address, resolver))
    if lookup_time is not None:
        lookup_time.append(time.monotonic() - began)
    race = ConnectRace(addresses, local_address, options)
    try:
        return race.run(deadline)
    except OSError as exc:
        where = host_and_port(host, port)
        # Without a limit of ours, a TimeoutError is the system's answer like any other.
        if timeout is not None and isinstance(exc, (TimeoutError, BlockingIOError)):
            raise ConnectTimeout(
                f"connect to {where} ({race.tried}) timed out after {seconds(timeout)}"
            ) from exc
        raise ConnectError(f"connect to {where} ({race.tried}) failed: {exc}") from exc


def begin_socket(
    address: Address, options: Iterable[SOCKET_OPTION], local_address: str | None
) -> socket.socket:
    """Return a socket that may be connected to `address`."""
    sock = socket.socket(address.family, address.kind, address.proto)
    try:
        close_in_child(sock)
        for option in options:
            sock.setsockopt(*option)
        if local_address is not None:
            sock.bind((local_address, 0))
    except BaseException:
        sock.close()
        raise
    return sock


def seconds(timeout: float | None) -> str:
    return f"{timeout or 0:.3g} s"


class ConnectRace:
    """One race: the sockets of the addresses that have not answered yet."""

    def __init__(
        self, addresses: list[Address], local_address: str | None, options: list[SOCKET_OPTION]
    ) -> None:
        self._race = Race(addresses)
        self._alone = len(addresses) == 1
        self._local_address = local_address
        self._options = options
        self._sockets: dict[int, socket.socket] = {}
        self._tried: list[str] = []
        self._ended = False
        self._skipped = 0.0  # seconds of waits that the clock did not count
        self._failure: OSError = OSError("no address could be tried")

    @property
    def tried(self) -> str:
        return ", ".join(self._tried)

    def wake(self) -> None:
        """End the race without a winner. Called by another thread."""
        self._ended = True
        for sock in list(self._sockets.values()):
            shut_down(sock)

    def run(self, deadline: float | None) -> socket.socket:
        """Return the winner, blocking with what is left until `deadline`. Raise TimeoutError when
        time is over, else the last failure's OSError."""
        set_waker(self.wake)
        try:
            while True:
                now = time.monotonic() + self._skipped
                left = None if deadline is None else max(0.0, deadline - now)
                if self._ended:
                    raise OSError("another thread ended it")
                address = self._race.next(now)
                if address is not None:
                    winner = self._begin(address, left)
                elif not self._sockets:
                    raise self._failure
                elif left == 0.0:
                    raise TimeoutError("timed out")
                else:
                    pause = self._race.pause(now)
                    limits = [each for each in (pause, left) if each is not None]
                    winner = self._await(min(limits) if limits else None)
                if winner is not None:
                    winner.settimeout(left)
                    return winner
        finally:
            clear_waker()
            for sock in self._sockets.values():
                sock.close()
            del self._failure  # else it and a frame that has this race would keep each other

    def _begin(self, address: Address, left: float | None) -> socket.socket | None:
        """Start an attempt; the socket when it is through at once."""
        self._tried.append(str(address))
        sock = None
        try:
            sock = begin_socket(address, self._options, self._local_address)
            if not self._sockets:
                return self._connect_first(sock, address, left)
            sock.settimeout(0)
            problem = sock.connect_ex(address.address)
            if problem in UNDER_WAY:
                self._sockets[sock.fileno()] = sock
                return None
            if problem:
                raise OSError(problem, os.strerror(problem))
            return sock
        except OSError as exc:
            self._sockets.pop(sock.fileno() if sock is not None else -1, None)
            if sock is not None:
                sock.close()
            if self._alone:
                raise
            self._lost(exc)
            return None
        except BaseException:
            if sock is not None:
                sock.close()
            raise

    def _connect_first(
        self, sock: socket.socket, address: Address, left: float | None
    ) -> socket.socket | None:
        """Connect while no other attempt does, until it is the next one's turn: as cheap as if
        there were no race, as long as the first address answers."""
        if not self._alone:
            left = ATTEMPT_DELAY if left is None else min(ATTEMPT_DELAY, left)
        sock.settimeout(left)
        began = time.monotonic()
        number = sock.fileno()
        self._sockets[number] = sock
        try:
            sock.connect(address.address)
        except (TimeoutError, BlockingIOError) as exc:
            if self._alone or exc.errno not in (None, errno.EINPROGRESS):
                raise
            self._skipped += uncounted(began, left or 0.0, time.monotonic())
            return None  # it goes on in the kernel, and may still win
        del self._sockets[number]
        return sock

    def _await(self, timeout: float | None) -> socket.socket | None:
        """Wait until one answers or time is over; the winner, if there is one."""
        winner = None
        began = time.monotonic()
        ended = _writable(self._sockets, timeout)
        if not ended and timeout is not None:
            self._skipped += uncounted(began, timeout, time.monotonic())
        for fileno in ended:
            sock = self._sockets[fileno]
            problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem:
                del self._sockets[fileno]
                sock.close()
                self._lost(OSError(problem, os.strerror(problem)))
            elif winner is None:
                winner = self._sockets.pop(fileno)
        return winner

    def _lost(self, failure: OSError) -> None:
        self._failure = failure
        self._race.failed()


def _writable(sockets: dict[int, socket.socket], timeout: float | None) -> list[int]:
    """Return the file numbers of those whose connect has ended, well or badly."""
    if hasattr(select, "poll"):
        poller = select.poll()
        for fileno in sockets:
            poller.register(fileno, select.POLLOUT | select.POLLERR | select.POLLHUP)
        milliseconds = None if timeout is None else max(0, int(timeout * 1000) + 1)
        return [fileno for fileno, _ in poller.poll(milliseconds)]
    # Windows reports a failed connect among the exceptional ones.
    numbers = list(sockets)  # pragma: no cover
    _, written, failed = select.select([], numbers, numbers, timeout)  # pragma: no cover
    return list({*written, *failed})  # pragma: no cover


# Look-ups


def look_up(
    host: str,
    port: int,
    timeout: float | None,
    local_address: str | None = None,
    resolver: Resolver | None = None,
) -> list[Address]:
    """Return the addresses of `host`, at least one.

    Raises NameResolutionError when there is none, ConnectTimeout after `timeout` seconds.
    """
    family = 0
    if local_address is not None:
        family = socket.AF_INET6 if ":" in local_address else socket.AF_INET

    def work() -> list[Address]:
        return look_up_now(host, port, family, timeout, resolver)

    if timeout is None or is_literal(host):
        found = work()
    else:
        key = host, port, family, id(resolver or socket.getaddrinfo)
        began = time.monotonic()
        try:
            found = list(in_time(work, key, host, timeout))
        except NameResolutionError:
            in_half = time.monotonic() - began < timeout / 2
            if resolver is not None or not _is_getaddrinfo_replaced() or not in_half:
                raise
            # What programs put in its place may know names for the calling thread alone.
            found = work()
    return at_least_one(found, host)


def look_up_now(
    host: str, port: int, family: int, timeout: float | None, resolver: Resolver | None
) -> list[Address]:
    """Return what the system or `resolver` says, which may block.

    Parameters:
        timeout: seconds, for the resolver to know.
    """
    if resolver is None or is_literal(host):
        return _ask_system(host, port, family)
    return _ask_resolver(resolver, host, port, family, timeout)


def at_least_one(found: list[Address], host: str) -> list[Address]:
    """Return `found`; raise NameResolutionError where there is none."""
    if not found:
        raise NameResolutionError(f"look up {host} failed: it has no address")
    return found


def _is_getaddrinfo_replaced() -> bool:
    return getattr(socket.getaddrinfo, "__globals__", None) is not vars(socket)


def is_literal(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except (OSError, ValueError):  # the second: a NUL, or not ASCII
            continue
        return True
    return False


def _ask_system(host: str, port: int, family: int) -> list[Address]:
    try:
        # The host is encoded already; Python's own IDNA codec, an older one, leaves ASCII as it is.
        host.encode("ascii")
        # As str, which is what functions that programs put in place of this one compare.
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise NameResolutionError(f"look up {host} failed: {exc}") from exc
    return [Address(family, kind, proto, address) for family, kind, proto, _, address in found]


def _ask_resolver(
    resolver: Resolver, host: str, port: int, family: int, timeout: float | None
) -> list[Address]:
    try:
        texts = list(resolver(host, port, timeout))
    except Exception as exc:
        raise NameResolutionError(f"look up {host} failed: the resolver raised {exc!r}") from exc
    found: list[Address] = []
    for text in texts:
        if not isinstance(text, str) or not is_literal(text):
            raise NameResolutionError(
                f"look up {host} failed: the resolver gave {text!r}, which is no IP address"
            )
        wanted = socket.AF_INET6 if ":" in text else socket.AF_INET
        if family not in (0, wanted):
            continue
        if "%" in text:  # the number of a zone is the system's to know
            found += _ask_system(text, port, wanted)
        else:
            where = (text, port, 0, 0) if ":" in text else (text, port)
            found.append(Address(wanted, socket.SOCK_STREAM, socket.IPPROTO_TCP, where))
    return found
