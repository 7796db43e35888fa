"""What the tests over HTTP/2 have in common: a request in a word, and waiting for the server.

Owns: nothing that is tested. Must not know: private parts of the packages.
"""

from __future__ import annotations

import select
from collections import Counter
from typing import Any

import httpcore
from tests.support import MIB, PATIENCE
from tests.support.http2 import Code, FrameServer, Link, Stream, routes

# Bytes that the server may send on a stream that nobody reads.
STREAM_WINDOW = 16 * MIB
TIMEOUTS: dict[str, Any] = {
    "timeout": {"connect": PATIENCE, "read": PATIENCE, "write": PATIENCE, "pool": PATIENCE}
}


def get(
    pool: httpcore.ConnectionPool, server: FrameServer, path: str = "/", **extensions: Any
) -> httpcore.Response:
    return pool.request("GET", server.url + path, extensions={**TIMEOUTS, **extensions})


def post(pool: httpcore.ConnectionPool, server: FrameServer, path: str) -> httpcore.Response:
    """A request that is not sent again by itself, wherever it fails."""
    return pool.request("POST", server.url + path, content=b"x", extensions=TIMEOUTS)


def begin(pool: httpcore.ConnectionPool, server: FrameServer, path: str) -> httpcore.Response:
    """The response, its body unread."""
    headers = {"Host": f"127.0.0.1:{server.port}"}
    return pool.handle_request(
        httpcore.Request("GET", server.url + path, headers=headers, extensions=TIMEOUTS)
    )


def number_of(response: httpcore.Response) -> int:
    number = response.extensions["stream_id"]
    assert isinstance(number, int)
    return number


def header(response: httpcore.Response, name: bytes) -> bytes | None:
    return next((value for key, value in response.headers if key == name), None)


def wait_opened(server: FrameServer, count: int, link: int = 1) -> Link:
    """The link, once the client has opened so many streams on it."""
    found = server.wait_for_link(link)
    assert server.wait_for(lambda: len(found.opened) >= count, PATIENCE)
    return found


def break_off(stream: Stream) -> None:
    """Answer /fail with a byte and a reset, anything else well."""
    if stream.path == "/fail":
        stream.head()
        stream.link.data(stream.id, b"x")
        stream.reset(Code.INTERNAL_ERROR)
    else:
        stream.respond(body=b"good")


def hold(stream: Stream) -> None:
    """Answer that not: the test does, by `Link.call`."""


def answer(link: Link, *numbers: int, **options: Any) -> None:
    """From the test's thread: answer these streams."""
    link.call(lambda: [link.streams[number].respond(200, b"ok", **options) for number in numbers])


def wait_readable(stream: Any) -> None:
    """Until something has come on that `network_stream`, or its end."""
    assert select.select([stream.get_extra_info("socket")], [], [], PATIENCE)[0]


class Leaving:
    """A script: GOAWAY(NO_ERROR) once every `count` streams, when at least one more has come, so
    that there are streams above its last one.

    `done` maps nonces to how often their request was answered.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.done: Counter[bytes] = Counter()

    def __call__(self, link: Link) -> None:
        def answer(stream: Stream) -> None:
            if len(link.opened) <= self.count or stream.id <= link.opened[self.count - 1]:
                self.done[stream.header("x-nonce") or b""] += 1
                routes(stream)

        link.answer = answer
        if not link.run(until=lambda: len(link.opened) == self.count):
            return
        late: list[bool] = []  # the last requests of a test may not have one to follow them
        link.later(0.2, lambda: late.append(True))
        if link.run(until=lambda: late or len(link.opened) > self.count):
            link.goaway(last=link.opened[self.count - 1])
            link.run()


def unanswering(link: Link) -> None:
    """A script: the PINGs of the first connection are not answered."""
    link.answer_pings = link.number > 1
    link.serve()
