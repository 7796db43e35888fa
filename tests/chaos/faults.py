"""What can go wrong on the way, and the mark of a response.

Owns: the names of the faults, their chance, and nonces. Must not know: sockets, HTTP.

A request names the fault that it wants in its target, so that the load knows what to expect; the
faults of relays and of new connections come by chance. Each request carries a nonce, and its
response repeats it, in a field and all over its body. A nonce has check digits, so that bytes that
were garbled on the way cannot turn one into another: a well-formed nonce in a response to another
request is a response that went astray.
"""

from __future__ import annotations

import hashlib
import random
import re

#: Seconds for which a stalled peer says nothing: longer than every timeout of the load.
STALL = 5.0
#: Seconds of an ordinary delay, at most.
DELAY = 0.05

#: Faults of a connection, before anything was read from it.
ON_ACCEPT = ("reset", "close", "stall")
#: Faults of an HTTP/1.1 response.
HTTP11 = (
    *("delay", "reset", "close", "stall", "half-close", "garble-head", "interim", "early"),
    *("cut", "cut-reset", "cut-chunks", "trickle", "garble-chunks", "foreign", "junk"),
    *("lie-close", "lie-alive", "until-close", "late-close"),
)
#: Faults of an HTTP/2 stream or of its connection.
HTTP2 = (
    *("delay", "reset", "close", "stall", "refuse-stream", "reset-stream", "cut", "cut-stream"),
    *("goaway", "goaway-all", "garbage", "ping", "settings", "early", "trickle"),
)
#: Faults of a relay between the two, at any byte.
RELAY = ("delay", "reset", "close", "stall", "half-close", "garble", "split")
#: Faults of a proxy's answer to CONNECT.
CONNECT = ("refuse", "garble-head", "reset", "close", "stall", "interim", "delay")
#: A response with one of these is never complete, and has to be an error.
FATAL = {"reset", "close", "stall", "cut", "cut-reset", "cut-chunks", "cut-stream", "reset-stream"}
#: With these, what arrives may be anything but the response to another request.
GARBLED = {"garble-head", "garble-chunks"}

_NONCE = re.compile(rb"<([0-9a-f]{12})([0-9a-f]{6})>")
SIZE = 20  # bytes of a nonce


def make_nonce(rng: random.Random) -> bytes:
    """Return a nonce: SIZE bytes, in angle brackets."""
    name = b"%012x" % rng.getrandbits(48)
    return b"<" + name + _check_digits(name) + b">"


def _check_digits(name: bytes) -> bytes:
    return hashlib.blake2b(name, digest_size=3).hexdigest().encode()


def find_nonces(data: bytes) -> set[bytes]:
    """Return the well-formed nonces in `data`."""
    return {b"<" + a + b + b">" for a, b in set(_NONCE.findall(data)) if _check_digits(a) == b}


def fill(nonce: bytes, size: int) -> bytes:
    """Return a body of `size` bytes that consists of `nonce`."""
    return (nonce * (size // SIZE + 1))[:size]


class Chance:
    """Chooses what goes wrong.

    Parameters:
        rng: the source of chance.
        rate: the share of the chances that is taken, from 0 to 1.
    """

    def __init__(self, rng: random.Random, rate: float) -> None:
        self.rng = rng
        self._rate = rate

    def choose(self, kinds: tuple[str, ...]) -> str:
        """Return one of `kinds`, or "" for none."""
        return self.rng.choice(kinds) if self.rng.random() < self._rate else ""

    def garble(self, data: bytes) -> bytes:
        """Return `data` with some of its bytes changed."""
        changed = bytearray(data)
        for _ in range(self.rng.randint(1, 4)):
            changed[self.rng.randrange(len(changed))] = self.rng.randrange(256)
        return bytes(changed)

    def delay(self) -> float:
        """Return the seconds of a delay: many short ones, few long ones."""
        return DELAY * self.rng.random() ** 3
