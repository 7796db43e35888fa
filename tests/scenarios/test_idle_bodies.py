"""Bodies that have nothing to give for a while; some say so by an empty part.

Owns: what is noticed then, in both halves, over HTTP/1.1 and HTTP/2: an early answer, an end of the
connection, the total, a `CancelToken`; and what a task notices of it where the body does not say so
and only waits. Must not know: how that is decided, see
`tests/unit/core/test_h1_scripts.py` and `test_h2_session.py` there.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import anyio
import pytest

import httpcore
from httpcore.exceptions import Aborted
from tests.support import PATIENCE
from tests.support.http2 import Link, ServeH2, Stream
from tests.support.loops import ASYNCIO
from tests.support.servers import Peer, Serve
from tests.support.tasks import Tasks, until

TIMEOUTS = {"connect": PATIENCE, "read": PATIENCE, "write": PATIENCE}
FIRST = b"first"
# Seconds between two empty parts, and how many of them there are at most: four PATIENCEs.
PAUSE = 0.01
LOOKS = 8000

CHUNKED = ("Transfer-Encoding", "chunked")
LENGTH = ("Content-Length", "1000")


class IdleBody:
    """A body that gives one part, and then nothing but empty ones.

    Parameters:
        begins: its first part.
        when: what it waits for before it is idle.
        then: what it calls first then.

    Attributes:
        looked: how many empty parts were taken.
    """

    def __init__(
        self, when: threading.Event, then: Callable[[], object] = bool, begins: bytes = FIRST
    ) -> None:
        self.begins, self.when, self.then = begins, when, then
        self.looked = 0

    def __iter__(self) -> Iterator[bytes]:
        yield self.begins
        assert self.when.wait(PATIENCE)
        self.then()
        for self.looked in range(1, LOOKS):
            yield b""
            threading.Event().wait(PAUSE)
        raise AssertionError("it was asked for more in vain")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.begins
        with anyio.fail_after(PATIENCE):
            while not self.when.is_set():
                await anyio.sleep(PAUSE)
        self.then()
        for self.looked in range(1, LOOKS):
            yield b""
            await anyio.sleep(PAUSE)
        raise AssertionError("it was asked for more in vain")


class Server(NamedTuple):
    """A server of one protocol.

    Attributes:
        url: its URL.
        options: those of a pool that speaks this protocol.
        said: it has said what it says at first.
        go_on: let it say the rest.
    """

    url: str
    options: dict[str, Any]
    said: threading.Event
    go_on: threading.Event


Start = Callable[[str], Server]


@pytest.fixture(params=["http1", "http2"])
def start(request: pytest.FixtureRequest, serve: Serve, serve_h2: ServeH2) -> Start:
    """Starts a server that does one thing with a request: ``refuse`` it at its head; at the first
    part of its body, ``begin`` to refuse it, and end that only when it is let, or ``close``; or be
    ``silent``."""
    return lambda what: (start_h2 if request.param == "http2" else start_h1)(
        serve_h2 if request.param == "http2" else serve, what
    )


def start_h1(serve: Serve, what: str) -> Server:
    head = b"HTTP/1.1 413 No\r\nContent-Length: 7\r\n\r\n"

    def handler(peer: Peer) -> None:
        if peer.recv_head() is None:
            return
        if what != "refuse":
            while FIRST not in (came := peer.recv()):
                if not came:
                    return
        if what == "refuse":
            peer.send(head + b"refused")
        elif what == "begin":
            peer.send(head)
        elif what == "close":
            peer.close()
        said.set()
        if what == "begin":
            assert go_on.wait(PATIENCE)
            peer.send(b"refused")
        if what != "close":
            peer.wait_closed()

    server = serve(handler)
    server.disconnects.clear()
    said, go_on = server.event(), server.event()
    return Server(server.url, {}, said, go_on)


def start_h2(serve: ServeH2, what: str) -> Server:
    said, go_on = threading.Event(), threading.Event()

    def on_head(stream: Stream) -> None:
        if what == "refuse":
            act(stream)
        else:
            stream.on_data = act

    def act(stream: Stream) -> None:
        stream.on_data = None
        if what in ("refuse", "begin"):
            stream.head(413)
        if what == "refuse":
            stream.write(b"refused", end=True)
        if what == "begin":
            look(stream)
        stream.link.later(0.0, said.set)

    def look(stream: Stream) -> None:
        if go_on.is_set():
            stream.write(b"refused", end=True)
        else:
            stream.link.later(PAUSE, lambda: look(stream))

    def script(link: Link) -> None:
        if link.serve(on_head=on_head, until=lambda: what == "close" and said.is_set()):
            link.abort()

    server = serve(script)
    return Server(server.url, {"http1": False, "http2": True}, said, go_on)


def extensions(**extra: Any) -> dict[str, Any]:
    total = extra.pop("total", PATIENCE)
    return {"timeout": {**TIMEOUTS, "total": total}, **extra}


framings = pytest.mark.parametrize("framing", [CHUNKED, LENGTH], ids=["chunked", "length"])
beginnings = pytest.mark.parametrize("begins", [FIRST, b""], ids=["a part", "nothing"])


# --- threads ---


@framings
@beginnings
def test_an_early_answer(start: Start, framing: tuple[str, str], begins: bytes) -> None:
    server = start("refuse")
    body = IdleBody(server.said, begins=begins)
    with httpcore.ConnectionPool(**server.options) as pool:
        response = pool.request(
            "POST", server.url, headers=[framing], content=body, extensions=extensions()
        )
        assert (response.status, response.content) == (413, b"refused")
        assert pool.stats()["active"] == 0


@framings
def test_the_rest_of_an_early_answer(start: Start, framing: tuple[str, str]) -> None:
    server = start("begin")
    body = IdleBody(server.said)
    with httpcore.ConnectionPool(**server.options) as pool:
        with pool.stream(
            "POST", server.url, headers=[framing], content=body, extensions=extensions()
        ) as response:
            before = body.looked
            timer = threading.Timer(0.1, server.go_on.set)
            timer.start()
            assert (response.status, response.read()) == (413, b"refused")
            timer.join()
            assert body.looked > before
        assert pool.stats()["active"] == 0


@framings
def test_the_server_closes(start: Start, framing: tuple[str, str]) -> None:
    server = start("close")
    body = IdleBody(server.said)
    with httpcore.ConnectionPool(**server.options) as pool:
        with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)):
            pool.request(
                "POST", server.url, headers=[framing], content=body, extensions=extensions()
            )
        assert pool.stats()["connections"] == 0
    assert body.looked


@framings
@pytest.mark.parametrize("what", ["silent", "begin"])
def test_the_total(start: Start, framing: tuple[str, str], what: str) -> None:
    server = start(what)
    body = IdleBody(server.said)
    with httpcore.ConnectionPool(**server.options) as pool:
        with pytest.raises(httpcore.TimeoutException, match=r"^total of 0\.5 s is over: "):
            pool.request(
                "POST",
                server.url,
                headers=[framing],
                content=body,
                extensions=extensions(total=0.5),
            )
        assert pool.stats()["active"] == 0
    server.go_on.set()


@framings
@pytest.mark.parametrize("what", ["silent", "begin"])
def test_a_token(start: Start, framing: tuple[str, str], what: str) -> None:
    server = start(what)
    token = httpcore.CancelToken()
    body = IdleBody(server.said, token.cancel)
    with httpcore.ConnectionPool(**server.options) as pool:
        with pytest.raises(Aborted):
            pool.request(
                "POST",
                server.url,
                headers=[framing],
                content=body,
                extensions=extensions(cancel=token),
            )
        assert pool.stats()["active"] == 0
    server.go_on.set()


# --- tasks ---


@pytest.mark.anyio
@framings
@beginnings
async def test_an_early_answer_in_a_task(
    start: Start, framing: tuple[str, str], begins: bytes
) -> None:
    server = start("refuse")
    body = IdleBody(server.said, begins=begins)
    async with httpcore.AsyncConnectionPool(**server.options) as pool:
        response = await pool.request(
            "POST", server.url, headers=[framing], content=body, extensions=extensions()
        )
        assert (response.status, response.content) == (413, b"refused")
        assert pool.stats()["active"] == 0


@pytest.mark.anyio
@framings
async def test_the_rest_of_an_early_answer_in_a_task(
    start: Start, framing: tuple[str, str]
) -> None:
    server = start("begin")
    body = IdleBody(server.said)
    async with httpcore.AsyncConnectionPool(**server.options) as pool:
        async with pool.stream(
            "POST", server.url, headers=[framing], content=body, extensions=extensions()
        ) as response:
            before = body.looked
            timer = threading.Timer(0.1, server.go_on.set)
            timer.start()
            assert (response.status, await response.aread()) == (413, b"refused")
            timer.join()
            assert body.looked > before
        assert pool.stats()["active"] == 0


@pytest.mark.anyio
@framings
async def test_the_server_closes_in_a_task(start: Start, framing: tuple[str, str]) -> None:
    server = start("close")
    body = IdleBody(server.said)
    async with httpcore.AsyncConnectionPool(**server.options) as pool:
        with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)):
            await pool.request(
                "POST", server.url, headers=[framing], content=body, extensions=extensions()
            )
        assert pool.stats()["connections"] == 0


@pytest.mark.anyio
@framings
@pytest.mark.parametrize("what", ["silent", "begin"])
async def test_the_total_in_a_task(start: Start, framing: tuple[str, str], what: str) -> None:
    server = start(what)
    body = IdleBody(server.said)
    async with httpcore.AsyncConnectionPool(**server.options) as pool:
        with pytest.raises(httpcore.TimeoutException, match=r"^total of 0\.5 s is over: "):
            await pool.request(
                "POST",
                server.url,
                headers=[framing],
                content=body,
                extensions=extensions(total=0.5),
            )
        assert pool.stats()["active"] == 0
    server.go_on.set()


@pytest.mark.anyio
@framings
@pytest.mark.parametrize("what", ["silent", "begin"])
async def test_a_token_in_a_task(start: Start, framing: tuple[str, str], what: str) -> None:
    server = start(what)
    token = httpcore.CancelToken()
    body = IdleBody(server.said, token.cancel)
    async with httpcore.AsyncConnectionPool(**server.options) as pool:
        with pytest.raises(Aborted):
            await pool.request(
                "POST",
                server.url,
                headers=[framing],
                content=body,
                extensions=extensions(cancel=token),
            )
        assert pool.stats()["active"] == 0
    server.go_on.set()


# --- tasks, and bodies that only wait ---


class StalledBody:
    """A body that gives one part at most, and then waits until it is let.

    Parameters:
        begins: it gives that one.

    Attributes:
        waits: it has begun to wait.
        go_on: lets it give one more part, and end.
        ended: its ``finally`` has run.
    """

    def __init__(self, begins: bool = True) -> None:
        self.begins = begins
        self.waits = threading.Event()
        self.ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.begins:
            yield FIRST
        try:
            self.waits.set()
            await anyio.sleep_forever()
            yield b"never"
        finally:
            self.ended = True


on_asyncio_only = pytest.mark.parametrize("anyio_backend", ASYNCIO, indirect=True)
whether_it_begins = pytest.mark.parametrize("begins", [True, False], ids=["a part", "nothing"])


@pytest.mark.anyio
@on_asyncio_only
@framings
async def test_an_early_answer_while_a_task_waits(start: Start, framing: tuple[str, str]) -> None:
    server = start("refuse")
    body = StalledBody()
    async with httpcore.AsyncConnectionPool(**server.options) as pool:
        response = await pool.request(
            "POST", server.url, headers=[framing], content=body, extensions=extensions()
        )
        assert (response.status, response.content) == (413, b"refused")
        assert body.ended and pool.stats()["active"] == 0


@pytest.mark.anyio
@on_asyncio_only
@framings
async def test_an_answer_in_two_pieces_while_a_task_waits(
    start: Start, framing: tuple[str, str]
) -> None:
    server = start("begin")
    body = StalledBody()
    timer = threading.Timer(0.1, server.go_on.set)
    timer.start()
    async with httpcore.AsyncConnectionPool(**server.options) as pool:
        response = await pool.request(
            "POST", server.url, headers=[framing], content=body, extensions=extensions()
        )
        assert (response.status, response.content) == (413, b"refused")
        assert body.ended and pool.stats()["active"] == 0
    timer.join()


@pytest.mark.anyio
@on_asyncio_only
@framings
async def test_the_server_closes_while_a_task_waits(start: Start, framing: tuple[str, str]) -> None:
    server = start("close")
    body = StalledBody()
    async with httpcore.AsyncConnectionPool(**server.options) as pool:
        with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)):
            await pool.request(
                "POST", server.url, headers=[framing], content=body, extensions=extensions()
            )
        assert body.ended and pool.stats()["connections"] == 0


@pytest.mark.anyio
@framings
@whether_it_begins
async def test_the_total_while_a_task_waits(
    start: Start, framing: tuple[str, str], begins: bool
) -> None:
    server = start("silent")
    body = StalledBody(begins)
    async with httpcore.AsyncConnectionPool(**server.options) as pool:
        with pytest.raises(httpcore.TimeoutException, match=r"^total of 0\.3 s is over: "):
            await pool.request(
                "POST",
                server.url,
                headers=[framing],
                content=body,
                extensions=extensions(total=0.3),
            )
        assert body.ended and pool.stats()["active"] == 0


@pytest.mark.anyio
@framings
@whether_it_begins
@pytest.mark.parametrize("what", ["silent", "begin"])
async def test_a_token_while_a_task_waits(
    start: Start, framing: tuple[str, str], begins: bool, what: str
) -> None:
    """Also from another thread."""
    server = start(what)
    token = httpcore.CancelToken()
    body = StalledBody(begins)

    def cancel() -> None:
        assert body.waits.wait(PATIENCE)
        token.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    async with httpcore.AsyncConnectionPool(**server.options) as pool:
        with pytest.raises(Aborted):
            await pool.request(
                "POST",
                server.url,
                headers=[framing],
                content=body,
                extensions=extensions(cancel=token),
            )
        assert body.ended and pool.stats()["active"] == 0
    thread.join()
    server.go_on.set()


@pytest.mark.anyio
@framings
@whether_it_begins
async def test_a_cancelled_task_that_waits(
    start: Start, framing: tuple[str, str], begins: bool, tasks: Tasks
) -> None:
    server = start("silent")
    body = StalledBody(begins)
    async with httpcore.AsyncConnectionPool(**server.options) as pool:
        begun = tasks.begin(
            pool.request(
                "POST", server.url, headers=[framing], content=body, extensions=extensions()
            )
        )
        await until(body.waits.is_set)
        begun.cancel()
        await begun.end()
        assert begun.cancelled
        assert body.ended and pool.stats()["active"] == 0


@pytest.mark.anyio
@pytest.mark.parametrize("extra", [{}, {"total": None}], ids=["total", "no total"])
async def test_a_body_that_limits_its_own_waits(
    serve: Serve, serve_h2: ServeH2, extra: dict[str, Any]
) -> None:
    """What it cancels in this task is its own affair; the rest goes on."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            with anyio.move_on_after(0.02):
                await anyio.sleep_forever()
            yield FIRST

    def handler(peer: Peer) -> None:
        request = peer.recv_request()
        assert request is not None
        peer.respond(200, request.body)

    for url, options in (
        (serve(handler).url, {}),
        (serve_h2().url + "/echo", {"http1": False, "http2": True}),
    ):
        async with httpcore.AsyncConnectionPool(**options) as pool:
            response = await pool.request(
                "POST", url, content=body(), extensions=extensions(**extra)
            )
            assert response.status == 200 and FIRST * 3 in response.content
