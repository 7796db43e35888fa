"""Opening a connection without blocking an event loop: look-up, race, connect.

Owns: the race of addresses for tasks. Must not know: TLS, streams, HTTP, which loop it is.

A look-up always has a thread (`lookup_threads`), not one of the loop's own, which may all be busy:
the time limit has to hold then, too.

Sources: RFC 8305 (Happy Eyeballs), connect(2) for how a non-blocking connect ends, unix(7).
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - any look-up loads it
import errno
import os
import socket
import time
from collections.abc import Iterable

from .._core.happy_eyeballs import Address, Race, interleave
from .._exceptions import ConnectError, ConnectTimeout
from ..rules import host_and_port
from .base import SOCKET_OPTION
from .event_loops import EventLoop
from .interrupt import clear_task_waker, set_task_waker
from .lookup_threads import in_time_for_task
from .sockets import begin_unix, unix_failure
from .tcp import UNDER_WAY, Resolver, at_least_one, begin_socket, is_literal, look_up_now, seconds

# Seconds between two attempts at a Unix socket whose queue is full: connect(2) fails with EAGAIN
# there, and nothing says when there is room.
QUEUE_PAUSE = 0.01


async def look_up(
    loop: EventLoop,
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

    if is_literal(host):
        return at_least_one(work(), host)
    key = host, port, family, id(resolver or socket.getaddrinfo)
    return at_least_one(list(await in_time_for_task(loop, work, key, host, timeout)), host)


async def open_tcp(
    loop: EventLoop,
    host: str,
    port: int,
    timeout: float | None,
    local_address: str | None,
    options: list[SOCKET_OPTION],
    resolver: Resolver | None,
    lookup_time: list[float],
) -> socket.socket:
    """Return a non-blocking socket connected to the first address of `host` that answers.

    Parameters, raises: as those of `tcp.open_tcp`.
    """
    began = time.monotonic()
    end = None if timeout is None else began + timeout
    found = await look_up(loop, host, port, timeout, local_address, resolver)
    lookup_time.append(time.monotonic() - began)
    race = AsyncConnectRace(loop, interleave(found), local_address, options)
    try:
        return await race.run(end)
    except OSError as exc:
        where = host_and_port(host, port)
        # The system's own has a number: without a limit of ours it is an answer like any other.
        if isinstance(exc, TimeoutError) and exc.errno is None:
            raise ConnectTimeout(
                f"connect to {where} ({race.tried}) timed out after {seconds(timeout)}"
            ) from exc
        raise ConnectError(f"connect to {where} ({race.tried}) failed: {exc}") from exc


class AsyncConnectRace:
    """One race: the sockets of the addresses that have not answered yet."""

    def __init__(
        self,
        loop: EventLoop,
        addresses: list[Address],
        local_address: str | None,
        options: list[SOCKET_OPTION],
    ) -> None:
        self._loop = loop
        self._waker = loop.make_waker()
        self._race = Race(addresses)
        self._local_address = local_address
        self._options = options
        self._sockets: list[socket.socket] = []
        self._tried: list[str] = []
        self._ended = False
        self._failure: OSError = OSError("no address could be tried")

    @property
    def tried(self) -> str:
        return ", ".join(self._tried)

    def wake(self) -> None:
        """End the race without a winner; from any thread."""
        self._ended = True
        self._waker.release()

    async def run(self, end: float | None) -> socket.socket:
        """Return the winner. Raise TimeoutError when it is `end`, else the last failure's
        OSError."""
        set_task_waker(self.wake)
        try:
            while True:
                now = time.monotonic()
                if self._ended:
                    raise OSError("another thread ended it")
                address = self._race.next(now)
                if address is not None:
                    winner = self._begin(address)
                elif not self._sockets:
                    raise self._failure
                elif end is not None and now >= end:
                    raise TimeoutError("timed out")
                else:
                    left = None if end is None else end - now
                    limits = [each for each in (self._race.pause(now), left) if each is not None]
                    await self._loop.wait_writable(
                        self._sockets, self._waker, min(limits) if limits else None
                    )
                    winner = self._find_winner()
                if winner is not None:
                    return winner
        finally:
            clear_task_waker()
            for sock in self._sockets:
                sock.close()
            del self._failure  # else it and a frame that has this race would keep each other

    def _begin(self, address: Address) -> socket.socket | None:
        """Start an attempt; return the socket when it is through at once."""
        self._tried.append(str(address))
        sock = None
        try:
            sock = begin_socket(address, self._options, self._local_address)
            sock.settimeout(0)
            problem = sock.connect_ex(address.address)
        except OSError as exc:
            if sock is not None:
                sock.close()
            self._lost(exc)
            return None
        self._sockets.append(sock)
        if problem in UNDER_WAY:
            return None
        return self._decide(sock, problem)

    def _find_winner(self) -> socket.socket | None:
        """Return the first socket that has connected; None while there is none."""
        for sock in list(self._sockets):
            problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not problem and not _is_connected(sock):
                continue  # it is still on its way
            winner = self._decide(sock, problem)
            if winner is not None:
                return winner
        return None

    def _decide(self, sock: socket.socket, problem: int) -> socket.socket | None:
        """Return `sock`, whose attempt has ended, unless with a `problem`."""
        self._sockets.remove(sock)
        if not problem:
            return sock
        sock.close()
        self._lost(OSError(problem, os.strerror(problem)))
        return None

    def _lost(self, failure: OSError) -> None:
        self._failure = failure
        self._race.failed()


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError as exc:
        # EINVAL: macOS, when the peer has gone already. Reading will say so.
        return exc.errno == errno.EINVAL
    return True


async def connect_unix(
    loop: EventLoop,
    path: str,
    timeout: float | None,
    options: Iterable[SOCKET_OPTION] | None,
) -> tuple[socket.socket, str]:
    """Return a non-blocking socket connected to the Unix socket at `path`, and its name for texts.

    Raises ConnectTimeout after `timeout` seconds, or ConnectError.
    """
    sock, shown = begin_unix(path, options)
    end = None if timeout is None else time.monotonic() + timeout
    try:
        sock.settimeout(0)
        while True:
            try:
                sock.connect(path)
                return sock, shown
            except BlockingIOError:
                if end is not None and time.monotonic() >= end:
                    raise
            await loop.sleep(QUEUE_PAUSE)
    except BaseException as exc:
        sock.close()
        raise unix_failure(exc, shown, timeout)
