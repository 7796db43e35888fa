"""Async generators that give a request's body are closed with the request.

Owns: how they end where the request ends before them. Must not know: how a body is sent.

One that is left to the garbage collector runs its ``finally`` some time later, and trio warns of
it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import httpcore
from httpcore._backends.awaiting import AwaitingAdapter
from httpcore._backends.closing import await_later, close_generator, close_rest, unclosed
from tests.support import PATIENCE
from tests.support.http2 import Link, ServeH2
from tests.support.servers import Peer, Serve
from tests.support.tasks import Tasks, checkpoint, in_thread, on_asyncio
from tests.support.threads import Worker

pytestmark = pytest.mark.anyio

PATIENT: dict[str, Any] = {"timeout": {"connect": PATIENCE, "read": PATIENCE, "write": PATIENCE}}


class Endless:
    """A body that goes on until it is closed.

    Attributes:
        ending: its ``finally`` has begun.
        closed: its ``finally`` has run to the end.
        given: how many parts were asked for.
    """

    def __init__(self) -> None:
        self.ending = self.closed = False
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.given += 1
                await checkpoint()
                yield b"x" * 65536
        finally:
            self.ending = True
            await checkpoint()
            self.closed = True


@pytest.fixture(params=["http1", "http2"])
def refusing(request: pytest.FixtureRequest, serve: Serve, serve_h2: ServeH2) -> tuple[str, Any]:
    """The URL of a server that says 413 in the middle of a body, and the pool's options."""
    if request.param == "http2":
        return serve_h2().url + "/early/100000", {"http1": False, "http2": True}

    def refuse(peer: Peer) -> None:
        peer.recv_request_head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        peer.wait_closed()

    return serve(refuse).url, {}


@pytest.fixture(params=["http1", "http2"])
def breaking(request: pytest.FixtureRequest, serve: Serve, serve_h2: ServeH2) -> tuple[str, Any]:
    """The URL of a server that goes away in the middle of a body, and the pool's options."""
    if request.param == "http2":

        def leave(link: Link) -> None:
            link.run(until=lambda: link.streams)
            link.close()

        return serve_h2(leave).url, {"http1": False, "http2": True}

    def hang_up(peer: Peer) -> None:
        peer.recv_request_head()
        peer.close()

    return serve(hang_up).url, {}


@pytest.mark.parametrize("held", [True, False])
async def test_a_refusal(refusing: tuple[str, Any], held: bool) -> None:
    url, options = refusing
    body = Endless()
    content = body if held else aiter(body)
    async with httpcore.AsyncConnectionPool(**options) as pool:
        response = await pool.request("POST", url, content=content, extensions=PATIENT)
        assert (response.status, body.closed) == (413, True)
    assert body.given > 1


async def test_a_failure(breaking: tuple[str, Any]) -> None:
    url, options = breaking
    body = Endless()
    async with httpcore.AsyncConnectionPool(**options) as pool:
        with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)):
            await pool.request("POST", url, content=body, extensions=PATIENT)
        assert body.closed


async def test_a_cancellation(tasks: Tasks) -> None:
    """Its ``finally`` may wait where the task is not cancelled again. In a scope of trio that was
    cancelled each wait raises, there as anywhere."""
    blocked = anyio.Event()

    class Full(httpcore.AsyncMockStream):
        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            if b"POST" not in buffer:
                blocked.set()
                await anyio.sleep_forever()

    class Backend(httpcore.AsyncMockBackend):
        async def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
            return Full([])

    body = Endless()
    async with httpcore.AsyncConnectionPool(network_backend=Backend([])) as pool:
        task = tasks.begin(pool.request("POST", "http://a.test/", content=body))
        await blocked.wait()
        task.cancel()
        await task.end()
        assert (task.cancelled, body.ending, body.closed) == (True, True, on_asyncio())


async def test_a_finally_that_waits_for_ever(refusing: tuple[str, Any], tasks: Tasks) -> None:
    """It keeps the request, and not a task that is cancelled."""
    url, options = refusing
    ending = anyio.Event()

    async def parts() -> AsyncIterator[bytes]:
        try:
            while True:
                await checkpoint()
                yield b"x" * 65536
        finally:
            ending.set()
            await anyio.sleep_forever()

    async with httpcore.AsyncConnectionPool(**options) as pool:
        task = tasks.begin(pool.request("POST", url, content=parts(), extensions=PATIENT))
        await ending.wait()
        task.cancel()
        await task.end()
        assert task.cancelled


async def test_a_scope_in_the_generator(refusing: tuple[str, Any]) -> None:
    """It is left in the task that has entered it: in another one that is an error."""
    url, options = refusing

    async def parts() -> AsyncIterator[bytes]:
        with anyio.fail_after(PATIENCE):
            while True:
                await checkpoint()
                yield b"x" * 65536

    async with httpcore.AsyncConnectionPool(**options) as pool:
        with anyio.fail_after(PATIENCE):
            response = await pool.request("POST", url, content=parts(), extensions=PATIENT)
    assert response.status == 413


async def test_a_hook_that_fails_at_the_end(refusing: tuple[str, Any]) -> None:
    async def trace(event: str, details: dict[str, Any]) -> None:
        if event.endswith("response_closed.started"):
            raise ZeroDivisionError(event)

    url, options = refusing
    body = Endless()
    async with httpcore.AsyncConnectionPool(**options) as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.request("POST", url, content=body, extensions={**PATIENT, "trace": trace})
        assert body.closed


async def test_a_generator_of_another_thread() -> None:
    """Its loop runs there, and closes it there."""
    body = Endless()
    parts: Any = aiter(body)
    await anext(parts)
    left, ended = threading.Event(), threading.Event()

    def leave() -> None:
        close_generator(parts)
        left.set()
        assert ended.wait(PATIENCE)

    other = Worker(leave)
    assert left.wait(PATIENCE)
    await close_rest()
    assert not body.ending
    (entry,) = unclosed
    unclosed.append(entry._replace(thread=threading.get_ident()))
    await close_rest()
    assert body.closed and list(unclosed) == [entry]
    ended.set()
    other.result()
    await close_rest()
    assert not unclosed, "nobody can close it where the thread is gone"


async def test_what_another_thread_has_to_await_is_seen_by_it(tasks: Tasks) -> None:
    """... also while something else is awaited here."""
    began, goes_on, said = anyio.Event(), anyio.Event(), []

    class Slow:
        async def aclose(self) -> None:
            began.set()
            await goes_on.wait()

    async def say() -> None:
        said.append(threading.get_ident())

    left, may_look = threading.Event(), threading.Event()

    def other() -> int:
        async def main() -> None:
            await_later(say, True)
            left.set()
            assert may_look.wait(PATIENCE)
            await close_rest()

        asyncio.run(main())
        return threading.get_ident()

    thread = Worker(other)
    assert left.wait(PATIENCE)
    unclosed.append(Slow())
    closing = tasks.begin(close_rest())
    await began.wait()
    may_look.set()
    assert said == [thread.result()]
    goes_on.set()
    await closing.end()
    assert len(said) == 1 and not unclosed


async def test_last_words_are_written_in_the_loop_of_their_stream() -> None:
    """Another one closes the stream, and leaves the transport alone."""

    class Awaited(httpcore.AsyncNetworkStream):
        def __init__(self) -> None:
            self.calls: list[str] = []

        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self.calls.append(f"write {buffer!r}")

        async def aclose(self) -> None:
            self.calls.append("aclose")

    async def leave(stream: Awaited) -> None:
        adapter = AwaitingAdapter(stream)
        adapter.write_ready(b"GOAWAY")
        adapter.close()

    own, others = Awaited(), Awaited()
    await leave(own)
    await close_rest()
    assert own.calls == ["write b'GOAWAY'", "aclose"]
    await in_thread(lambda: asyncio.run(leave(others)))
    await close_rest()
    assert others.calls == ["aclose"]


async def test_what_is_no_generator_stays_open(breaking: tuple[str, Any]) -> None:
    """It may be another response, of which its owner wants more."""

    class Source:
        closed = False

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> bytes:
            await checkpoint()
            return b"x" * 65536

        async def aclose(self) -> None:
            self.closed = True

    url, options = breaking
    source = Source()
    async with httpcore.AsyncConnectionPool(**options) as pool:
        with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)):
            await pool.request("POST", url, content=source, extensions=PATIENT)
    assert not source.closed
