"""A server that says more than it was asked.

Owns: that. Must not know: the packages under test.
"""

from __future__ import annotations

import random
import threading

from tests.support import PATIENCE
from tests.support.servers import Peer, ScriptedServer

UNASKED = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nWRONG",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nWRONG\r\n0\r\n\r\n",
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
    b"\r\n",
    b"x",
    b"WRONG" * 5000,
)


class Babbler:
    """A server that sends more than it was asked for, on most requests.

    The request says by its target ``/PLACE/NUMBER`` where: "with" the end of the body, "after"
    the client has said that it has the response, or "never". The answer holds the target.
    """

    def __init__(self) -> None:
        self.babbled = 0
        self._lock = threading.Lock()
        self.got: dict[bytes, threading.Event] = {}

    def count(self) -> None:
        with self._lock:
            self.babbled += 1

    def __call__(self, peer: Peer) -> None:
        chance = random.Random(peer.number)
        while (request := peer.recv_request()) is not None:
            place = request.target.split(b"/")[1]
            extra = chance.choice(UNASKED)
            head_only = request.method == b"HEAD"
            if place == b"with":
                self.count()
                self.send(peer, self.answer(chance, request.target, head_only), chance, extra)
                continue
            if place == b"after":
                got = self.got[request.target]
                self.send(peer, self.answer(chance, request.target, head_only), chance)
                got.wait(PATIENCE)
                self.count()
                peer.send(extra)
                continue
            self.send(peer, self.answer(chance, request.target, head_only), chance)

    def answer(self, chance: random.Random, body: bytes, head_only: bool) -> bytes:
        if chance.random() < 0.5:
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        else:
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return head if head_only else head + body

    def send(self, peer: Peer, data: bytes, chance: random.Random, extra: bytes = b"") -> None:
        """In one piece or two; the second always holds the end of the body and what follows. (Were
        that to come by itself, the next request could be on its way already.)"""
        if chance.random() < 0.3:
            at = chance.randrange(1, len(data))
            peer.send(data[:at])
            data = data[at:]
        peer.send(data + extra)

    def expect(self, target: str, server: ScriptedServer) -> threading.Event:
        made = self.got[target.encode()] = server.event()
        return made
