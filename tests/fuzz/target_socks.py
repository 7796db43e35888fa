"""Answers of SOCKS proxies, in any pieces.

Owns: what a right answer is, said a second time. Must not know: sockets.

An input is one byte for version, login and host, one that says how the answers are cut into pieces,
and all that the proxy says before it closes.

What has to hold
----------------
- The dialogue ends with the connection or with ProxyError; the pieces make no difference.
- It ends with the connection exactly where `expected` says so, and not a byte behind the last
  answer was asked for: what follows belongs to the origin.
"""

from __future__ import annotations

from typing import Any

from httpcore import ProxyError
from httpcore._core.http_proxy import ProxyHop, Read, Resolve
from httpcore._core.socks import connect

from .pieces import cut

#: Of the first byte.
VERSION_4, NAME_THERE, LOGIN = 1, 2, 4
HOSTS = ("a.test", "192.0.2.1", "2001:db8::1")
ADDRESS_SIZES = {1: 4, 4: 16}

TOKENS = (
    b"\x05\x00", b"\x05\x02", b"\x01\x00", b"\x01\x01", b"\x05\x00\x00\x01", b"\x05\x00\x00\x03",
    b"\x05\x00\x00\x04", b"\x05\x01\x00\x01", b"\0\0\0\0\0\0", b"\x00\x5a", b"\x00\x5b", b"\xff",
    b"HTTP/1.1 400\r\n\r\n", b"\x05\xff", b"\x05a.test\0P",
)  # fmt: skip


def hop_of(first: int) -> ProxyHop:
    """Return the proxy that the first byte asks for."""
    name = "socks4" if first & VERSION_4 else "socks5"
    if first & NAME_THERE:
        name += "a" if first & VERSION_4 else "h"
    auth = (b"user", b"secret") if first & LOGIN else None
    return ProxyHop(name.encode(), b"proxy.test", 1080, (), False, auth)


def expected(first: int, host: str, data: bytes) -> int | None:
    """Return how many bytes of `data` make the connection; None if they refuse it."""
    if first & VERSION_4:
        is_granted = len(data) >= 8 and data[:2] == b"\x00\x5a"
        return 8 if is_granted and ":" not in host else None
    if len(data) < 2 or data[0] != 5:
        return None
    at = 2
    if data[1] == 2 and first & LOGIN:
        if len(data) < 4 or data[3]:
            return None
        at = 4
    elif data[1]:
        return None
    reply = data[at:]
    if len(reply) < 5 or reply[:2] != b"\x05\x00":
        return None
    size = 1 + reply[4] if reply[3] == 3 else ADDRESS_SIZES.get(reply[3])
    if size is None or len(reply) < 4 + size + 2:
        return None
    return at + 4 + size + 2


def run(first: int, host: str, pieces: list[bytes]) -> tuple[bool, bytes]:
    """Drive the dialogue; return whether it ends well, and what was not read."""
    script = connect(object(), hop_of(first), host, 443)
    waiting = list(pieces)
    answer: Any = None
    try:
        while True:
            step = script.send(answer)
            answer = None
            if isinstance(step, Resolve):
                answer = ["192.0.2.7"]
            elif isinstance(step, Read):
                assert step.max_bytes > 0
                piece = waiting.pop(0) if waiting else b""
                answer = piece[: step.max_bytes]
                if len(piece) > step.max_bytes:
                    waiting.insert(0, piece[step.max_bytes :])
    except StopIteration:
        return True, b"".join(waiting)
    except ProxyError as exc:
        assert "secret" not in str(exc)
        return False, b"".join(waiting)


def one(data: bytes) -> None:
    """Try one input; see the top of the module."""
    if len(data) < 2:
        return
    host = HOSTS[(data[0] >> 4) % len(HOSTS)]
    said = data[2:]
    size = expected(data[0], host, said)
    for pieces in (cut(said, data[1]), [said] if said else []):
        connected, left = run(data[0], host, pieces)
        assert connected == (size is not None), (connected, size)
        assert not connected or left == said[size:]
