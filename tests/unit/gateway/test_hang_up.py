"""That a connection which is not read is watched for its end, with sockets and a played uvicorn.

Owns: when the notice comes, and when not; what is left afterwards. Must not know: servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from httpcore_gateway import _client, _hang_up
from httpcore_gateway._client import Client
from httpcore_gateway._hang_up import watch_client
from tests.support import PATIENCE

needs_epoll = pytest.mark.skipif(
    not hasattr(select, "EPOLLRDHUP"), reason="the system does not say that a peer has hung up"
)


class Cycle:
    """What uvicorn has for one request: it, its transport and its flow in one object."""

    __module__ = "uvicorn.protocols.http.httptools_impl"

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.done: list[str] = []
        self.disconnected = False
        self.message_event = asyncio.Event()
        self.transport = self.flow = self

    async def receive(self) -> Any:
        self.done.append("receive")
        await self.message_event.wait()
        self.message_event.clear()
        return {"type": "http.request", "body": b"more", "more_body": True}

    def is_closing(self) -> bool:
        return self.sock.fileno() < 0

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self.sock

    def pause_reading(self) -> None:
        self.done.append("pause")

    def abort(self) -> None:
        self.done.append("abort")


class Ends:
    """Both ends of a connection."""

    def __init__(self) -> None:
        self.client, self.server = socket.socketpair()
        self.cycle = Cycle(self.server)

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with contextlib.closing(Ends()) as ends:
        yield ends


async def until(condition: Callable[[], object]) -> None:
    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), PATIENCE)


def run(test: Callable[[asyncio.AbstractEventLoop], Awaitable[object]]) -> None:
    """Run a test in a loop; nothing is watched afterwards."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await test(loop)
        assert loop not in _hang_up._watchers

    asyncio.run(main())


@needs_epoll
def test_two_that_hang_up_and_one_that_does_not() -> None:
    """One behind bytes that nobody reads; and each says so once."""

    async def test(loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.ExitStack() as stack:
            three = [stack.enter_context(contextlib.closing(Ends())) for _ in range(3)]
            heard: list[int] = []
            watched: list[Any] = [
                watch_client(ends.cycle.receive, loop, lambda number=number: heard.append(number))
                for number, ends in enumerate(three)
            ]
            assert [ends.cycle.done for ends in three] == [["pause"]] * 3
            three[0].client.send(b"more")
            three[0].client.close()
            three[2].client.shutdown(socket.SHUT_WR)
            await until(lambda: len(heard) == 2)
            assert sorted(heard) == [0, 2]
            watched[0].end_connection()
            assert (three[0].cycle.disconnected, three[0].cycle.done[-1]) == (True, "abort")
            for each in watched * 2:
                each.stop()

    run(test)


@needs_epoll
def test_a_number_that_is_another_connection_now(ends: Ends) -> None:
    """The first one was closed here, and lives on in a process that was forked meanwhile: its end
    says nothing about the second one, which has its number."""

    async def test(loop: asyncio.AbstractEventLoop) -> None:
        heard: list[str] = []
        first: Any = watch_client(ends.cycle.receive, loop, lambda: heard.append("first"))
        number = ends.server.fileno()
        copy = os.dup(number)
        other = Ends()
        os.dup2(other.server.fileno(), number)
        second: Any = watch_client(ends.cycle.receive, loop, lambda: heard.append("second"))
        first.stop()
        ends.client.close()
        await asyncio.sleep(0.05)
        assert heard == []
        second.stop()
        other.close()
        os.close(copy)

    run(test)


@needs_epoll
@pytest.mark.parametrize("how", ["closed", "disconnected"])
@pytest.mark.parametrize("when", ["before", "later"])
def test_the_server_has_seen_the_end_already(how: str, when: str, ends: Ends) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        def end() -> None:
            if how == "closed":
                ends.server.close()
            ends.cycle.disconnected = how == "disconnected"

        heard = asyncio.Event()
        if when == "before":
            end()
            watched: Any = watch_client(ends.cycle.receive, loop, heard.set)
        else:
            watched = watch_client(ends.cycle.receive, loop, heard.set)
            end()
            watched.hold()
        await asyncio.wait_for(heard.wait(), PATIENCE)
        watched.stop()

    run(test)


@pytest.mark.parametrize("where", ["another server", "another system"])
def test_where_nothing_can_be_watched(
    where: str, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def receive() -> Any: ...

    async def test(loop: asyncio.AbstractEventLoop) -> None:
        given = receive if where == "another server" else ends.cycle.receive
        assert watch_client(given, loop, lambda: None) is None
        assert ends.cycle.done == []

    if where == "another system":
        monkeypatch.delattr(select, "EPOLLRDHUP", raising=False)
    run(test)


@needs_epoll
def test_each_loop_has_its_own() -> None:
    def one() -> None:
        with contextlib.closing(Ends()) as ends:

            async def test(loop: asyncio.AbstractEventLoop) -> None:
                heard = asyncio.Event()
                watch_client(ends.cycle.receive, loop, heard.set)
                ready.wait(PATIENCE)
                ends.client.close()
                await asyncio.wait_for(heard.wait(), PATIENCE)
                passed.append(True)

            run(test)

    ready, passed = threading.Barrier(2), list[bool]()
    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passed == [True, True]


@needs_epoll
def test_a_client_that_is_listened_to_is_left_to_the_server(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end stands behind what it has sent. When more waits than is kept, it counts at once."""
    monkeypatch.setattr(_client, "AHEAD", 1)
    monkeypatch.setattr(_client, "WATCH_AFTER", 0)

    async def test(loop: asyncio.AbstractEventLoop) -> None:
        client = Client(ends.cycle.receive, loop)
        ends.cycle.message_event.set()
        await until(lambda: "pause" in ends.cycle.done)
        assert await anext(client) == b"more"
        await until(lambda: ends.cycle.done.count("receive") == 2)
        ends.client.close()
        await until(lambda: not _hang_up._watchers)
        assert not client.gone
        ends.cycle.message_event.set()
        await until(lambda: client.gone)
        assert ends.cycle.done == ["receive", "pause", "receive", "pause", "abort"]
        client.finish()

    run(test)


@needs_epoll
def test_a_notice_that_comes_when_the_request_has_ended(ends: Ends) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        ends.cycle.disconnected = True
        client = Client(ends.cycle.receive, loop, asks=True)
        loop.call_soon(client.finish)
        client._begin_watch()
        await asyncio.sleep(0.01)
        assert not client.gone

    run(test)
