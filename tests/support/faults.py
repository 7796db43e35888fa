"""What goes wrong on the way: proxies that do, a name without an address, a hook that raises.

Owns: those, and a server of short answers to put under load. Must not know: the packages under
test.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from tests.support.proxies import SocksServer
from tests.support.servers import Peer, Serve


class HookError(Exception):
    """What a trace hook of these tests raises."""


class Proxies(NamedTuple):
    """The ports of proxies: one that works, and three that do not."""

    socks: int
    refusing: int
    silent: int
    broken: int


@contextmanager
def bad_proxies(serve: Serve) -> Iterator[Proxies]:
    """Start them; the one that works ends with the context, the others with the test."""

    def refuse(peer: Peer) -> None:
        if peer.recv_head() is not None:
            peer.respond(403, b"no")

    def stay_silent(peer: Peer) -> None:
        peer.wait_closed()

    def talk_nonsense(peer: Peer) -> None:
        peer.recv()
        peer.send(b"\xff nonsense\r\n\r\n")

    with SocksServer() as socks:
        ports = [serve(each).port for each in (refuse, stay_silent, talk_nonsense)]
        yield Proxies(socks.port, *ports)


def forget_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the name "nowhere.invalid" have no address, and ask nobody outside."""
    lookup = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any) -> Any:
        if host == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return lookup(host, *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000


def greet(peer: Peer) -> None:
    while (head := peer.recv_head()) is not None:
        if head.startswith(b"GET /long "):
            peer.send(LONG)
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
