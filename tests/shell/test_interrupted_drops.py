"""A response that is dropped, and a signal handler that raises while its destructor runs.

Owns: that its connection or stream is given back all the same, and that no lock stays taken. Must
not know: how.
"""

from __future__ import annotations

import itertools
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

import httpcore
from tests.support import PATIENCE
from tests.support.http2 import Link, ServeH2, Stream
from tests.support.interrupting import interrupt_at
from tests.support.servers import Peer, Serve
from tests.support.threads import Worker

PATIENT: dict[str, Any] = {"timeout": {"read": PATIENCE, "pool": PATIENCE}}


@pytest.fixture
def nothing_is_reported() -> Iterator[None]:
    """Let Python say nothing of what is raised in destructors."""
    former, sys.unraisablehook = sys.unraisablehook, lambda dropped: None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
    sys.unraisablehook = former


def half(peer: Peer) -> None:
    """Answer each request with half a body, and one for ``/whole`` with all of it."""
    with suppress(OSError):
        while (request := peer.recv_request()) is not None:
            if request.path == "/whole":
                peer.respond(200, b"ok")
            else:
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf")


def half_by_http2(link: Link) -> None:
    def answer(stream: Stream) -> None:
        stream.head(200, [("content-length", "2" if stream.path == "/whole" else "100000")])
        stream.write(b"ok", end=stream.path == "/whole")

    link.serve(answer)


@pytest.mark.no_cover
@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("others", [False, True])
@pytest.mark.usefixtures("nothing_is_reported")
def test_an_interrupt_at_every_point(
    http2: bool, others: bool, serve: Serve, serve_h2: ServeH2
) -> None:
    url = serve_h2(half_by_http2).url if http2 else serve(half).url
    for point in itertools.count(1):
        with httpcore.ConnectionPool(http1=not http2, http2=http2, max_connections=2) as pool:
            kept = pool.request("GET", url, stream=True, extensions=PATIENT) if others else None
            held = [pool.request("GET", url, stream=True, extensions=PATIENT)]
            done = not interrupt_at(point, held.clear, in_destructors=True)
            stats = pool.stats()
            assert (stats["requests"], stats["waiting"]) == (int(others), 0), point
            # From another thread, which could not take a lock that stayed taken.
            whole = Worker(lambda: pool.request("GET", f"{url}/whole", extensions=PATIENT))
            assert whole.result().content == b"ok", point
            assert pool.stats()["active"] == int(others), point  # the books were put in order
            if kept is not None:
                kept.close()
        if done:
            break
    assert point > 30


@pytest.mark.usefixtures("nothing_is_reported")
def test_a_response_that_has_arrived_as_a_whole_and_is_not_read(serve_h2: ServeH2) -> None:
    """Over HTTP/2 its end may be there, and more of it than is handed out at once."""
    arrived = threading.Event()

    def script(link: Link) -> None:
        link.serve(lambda stream: stream.respond(200, bytes(200_000)), until=lambda: link.opened)
        link.run(lambda: link.streams[1].answered)
        link.flush()
        arrived.set()
        link.run()

    def wait(name: str, details: dict[str, Any]) -> None:
        if name == "http2.receive_response_headers.started":
            assert arrived.wait(PATIENCE)

    url = serve_h2(script).url
    with httpcore.ConnectionPool(http1=False, http2=True) as pool:
        extensions = {**PATIENT, "trace": wait}
        held: list[Any] = [pool.request("GET", url, stream=True, extensions=extensions)]
        body = held[0].stream
        assert body.second is not None or body.released or body.closed
        del body
        interrupt_at(1, held.clear, in_destructors=True)
        assert pool.stats()["requests"] == 0


@pytest.mark.no_cover
@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.usefixtures("nothing_is_reported")
def test_a_close_that_was_interrupted_and_not_tried_again(
    http2: bool, serve: Serve, serve_h2: ServeH2
) -> None:
    url = serve_h2(half_by_http2).url if http2 else serve(half).url
    for point in itertools.count(1):
        with httpcore.ConnectionPool(http1=not http2, http2=http2, max_connections=1) as pool:
            response = pool.request("GET", url, stream=True, extensions=PATIENT)
            done = not interrupt_at(point, response.close)
            del response
            assert pool.stats()["requests"] == 0, point
            whole = Worker(lambda: pool.request("GET", f"{url}/whole", extensions=PATIENT))
            assert whole.result().content == b"ok", point
        if done:
            break
    assert point > 20


def test_a_response_that_was_given_back_is_not_given_back_again(
    serve: Serve, recwarn: pytest.WarningsRecorder
) -> None:
    """What stands behind its destructor must not take the connection from the next one."""
    url = serve(half).url
    with httpcore.ConnectionPool(max_connections=1) as pool:
        first = pool.request("GET", url, stream=True, extensions=PATIENT)
        first.close()
        second = pool.request("GET", url, stream=True, extensions=PATIENT)
        del first
        assert pool.stats()["active"] == 1
        assert next(second.iter_stream()) == b"half"
        second.close()
        assert pool.stats()["active"] == 0
    assert not recwarn.list
