"""A response after many interim ones, over HTTP/1.1 cut in several ways, and over HTTP/2.

Owns: those. Must not know: the packages under test.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.support.servers import Peer

INTERIM = [
    (100, b"HTTP/1.1 100 Continue\r\n\r\n"),
    (102, b"HTTP/1.1 102 Processing\r\n\r\n"),
    (103, b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"),
    (103, b"HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\nX: y\r\n\r\n"),
    (103, b"HTTP/1.1 103 Early Hints\r\nLink: </c.css>; rel=preload\r\n\r\n"),
]
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: 1\r\n\r\nhello"
LINKS = [b"</a.css>; rel=preload", b"</b.css>; rel=preload", b"</c.css>; rel=preload"]


def splits() -> dict[str, list[bytes]]:
    whole = b"".join(text for _, text in INTERIM) + FINAL
    return {
        "one-packet": [whole],
        "one-each": [*(text for _, text in INTERIM), FINAL],
        "bytes": [whole[at : at + 1] for at in range(len(whole))],
        "odd": [whole[at : at + 37] for at in range(0, len(whole), 37)],
        "interim-then-final": [whole[: -len(FINAL)], FINAL],
    }


def interim_then_final(pieces: list[bytes]) -> Callable[[Peer], None]:
    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            for piece in pieces:
                peer.send(piece)

    return handler


INTERIM_FIELDS = [
    (100, []),
    (102, []),
    (103, [(b"link", b"</a.css>; rel=preload")]),
    (103, [(b"link", b"</b.css>; rel=preload"), (b"x", b"y")]),
    (103, [(b"link", b"</c.css>; rel=preload")]),
]
