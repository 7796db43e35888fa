"""The client of one request, on a `receive` that a test plays.

Owns: when it is listened to, what ends the task, the limits of its body. Must not know: servers.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from httpcore_gateway import _client
from httpcore_gateway._client import BodyRefused, Client
from tests.support import PATIENCE
from tests.support.leaping_clock import run_on_leaping_clock


class Played:
    """A server's side of one request: gives the messages of a test, one for each call.

    Attributes:
        calls: how many calls of `receive` there were.
        waiting: how many of them wait now.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.waiting = 0
        self._messages: asyncio.Queue[Any] = asyncio.Queue()

    async def receive(self) -> Any:
        self.calls += 1
        self.waiting += 1
        assert self.waiting == 1, "two calls at once"
        try:
            message = await self._messages.get()
        finally:
            self.waiting -= 1
        if isinstance(message, Exception):
            raise message
        return message

    def body(self, body: bytes = b"", more: bool = False) -> None:
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    def fail(self) -> None:
        self._messages.put_nowait(OSError())

    async def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end
            await asyncio.sleep(0.001)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits."""
    monkeypatch.setattr(_client, "WATCH_AFTER", 0.01)
    monkeypatch.setattr(_client, "PAUSE", 0.01)
    monkeypatch.setattr(_client, "LINGER_SILENT", 0.05)


def play(
    test: Callable[[Played, Client], Awaitable[object]],
    patience: float | None = None,
    max_body: int | None = None,
    **options: Any,
) -> None:
    """Run a test as the task that serves the client; it leaves no task."""

    async def run() -> None:
        played = Played()
        loop = asyncio.get_running_loop()
        client = Client(played.receive, loop, patience, max_body, **options)
        client.serve(asyncio.current_task())
        try:
            await asyncio.wait_for(_in_this_task(test(played, client)), PATIENCE)
        finally:
            client.finish()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def _in_this_task(work: Awaitable[object]) -> None:
        await work

    run_on_leaping_clock(run())


async def ended(client: Client) -> bool:
    """Wait to be cancelled; return whether that was because the client has left."""
    try:
        await asyncio.sleep(PATIENCE)
    except asyncio.CancelledError:
        return client.left()
    return False


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def uncancel() -> None:
    """Take one cancellation back, where tasks count them (Python 3.11)."""
    getattr(this_task(), "uncancel", int)()


def cancelling() -> int:
    return getattr(this_task(), "cancelling", int)()


def serving(client: Client) -> None:
    client.serve(this_task())


@pytest.mark.parametrize("how", ["leave", "fail"])
def test_a_client_that_leaves_ends_the_task(how: str, quick: None) -> None:
    """Also after all of its body, and after an empty message that says nothing."""

    async def test(played: Played, client: Client) -> None:
        serving(client)
        client.expect_no_body()
        played.body()
        await played.until(lambda: played.calls == 2)
        getattr(played, how)()
        assert await ended(client)
        assert client.gone
        assert cancelling() == 0

    play(test)


async def next_piece(client: Client) -> bytes:
    """Return the next piece that is not empty."""
    while not (part := await anext(client)):
        pass
    return part


def test_nobody_listens_to_a_request_that_is_short() -> None:
    async def test(played: Played, client: Client) -> None:
        serving(client)
        client.expect_no_body()
        await asyncio.sleep(0)
        client.finish()
        await asyncio.sleep(_client.WATCH_AFTER * 2)
        assert played.calls == 0

    play(test)


def test_a_client_that_leaves_in_the_first_piece(quick: None) -> None:
    async def test(played: Played, client: Client) -> None:
        serving(client)
        played.leave()
        with pytest.raises(asyncio.CancelledError):
            await client.read_first()
        assert client.left()

    play(test)


def test_the_task_that_others_cancel(quick: None) -> None:
    """It is not taken for a client that has left."""

    async def test(played: Played, client: Client) -> None:
        serving(client)
        asyncio.get_running_loop().call_soon(this_task().cancel)
        assert not await ended(client)
        uncancel()

    play(test)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks do not count cancellations")
def test_the_task_that_others_cancel_as_well(quick: None) -> None:
    """The client has left, and the server wants the task to end: it does."""

    async def test(played: Played, client: Client) -> None:
        serving(client)
        await played.until(lambda: played.waiting)
        played.leave()
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            this_task().cancel()
            assert not client.left()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        uncancel()

    play(test)


def test_a_first_piece_that_comes_late(quick: None) -> None:
    """One call waits for it, and from then on the client is listened to."""

    async def test(played: Played, client: Client) -> None:
        serving(client)
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, played.body, b"a", False)
        assert await client.read_first() == (b"a", True)
        await played.until(lambda: played.waiting)
        assert played.calls == 2
        played.leave()
        assert await ended(client)

    play(test)


def test_a_first_piece_that_comes_while_it_is_listened_to(quick: None) -> None:
    async def test(played: Played, client: Client) -> None:
        serving(client)
        await played.until(lambda: played.waiting)
        asyncio.get_running_loop().call_later(0.05, played.body, b"a", False)
        assert await client.read_first() == (b"a", True)

    play(test)


def test_pieces_and_pauses(quick: None) -> None:
    """An empty piece means that there is none now; then the end, and the client is still heard."""

    async def test(played: Played, client: Client) -> None:
        serving(client)
        played.body(b"a", True)
        assert await client.read_first() == (b"a", False)
        assert [await anext(client), await anext(client)] == [b"", b""]
        played.body(b"b", True)
        got = b""
        while not got:
            got = await anext(client)
        assert got == b"b"
        played.body(b"c", False)
        while not client.ended:
            got = await anext(client)
        assert got == b"c"
        with pytest.raises(StopAsyncIteration):
            await anext(client)
        assert client.received == 3
        await played.until(lambda: played.waiting)
        played.leave()
        assert await ended(client)

    play(test)


def test_pieces_are_taken_ahead_up_to_a_limit(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "AHEAD", 4)

    async def test(played: Played, client: Client) -> None:
        serving(client)
        for _ in range(8):
            played.body(b"ab", True)
        assert await client.read_first() == (b"ab", False)
        await asyncio.sleep(1)
        assert (played.calls, client.received) == (3, 2)  # two of them wait
        for taken in range(2, 7):
            assert await anext(client) == b"ab"
            await asyncio.sleep(1)
            assert played.calls == min(taken + 2, 8)

    play(test)


@pytest.mark.parametrize("whole", [True, False])
def test_a_client_that_leaves_behind_pieces_that_nobody_takes(whole: bool, quick: None) -> None:
    """An upstream that hangs in the middle of an upload does not hide it."""

    async def test(played: Played, client: Client) -> None:
        serving(client)
        played.body(b"a", True)
        assert await client.read_first() == (b"a", False)
        played.body(b"b", True)
        played.body(b"c", not whole)
        await asyncio.sleep(1)
        assert (played.calls, played.waiting, client.gone) == (4, 1, False)
        played.leave()
        assert await ended(client)

    play(test)


def test_what_comes_behind_the_last_piece_is_no_piece(quick: None) -> None:
    async def test(played: Played, client: Client) -> None:
        serving(client)
        played.body(b"a", True)
        await client.read_first()
        played.body(b"b")
        played.body()
        await asyncio.sleep(1)
        assert [part async for part in client] == [b"b"]
        assert client.ended

    play(test)


@pytest.mark.parametrize("first", [True, False])
def test_a_body_that_is_too_long(first: bool, quick: None) -> None:
    async def test(played: Played, client: Client) -> None:
        serving(client)
        played.body(b"abcd" if first else b"a", True)
        played.body(b"bcd", True)
        if not first:
            await client.read_first()
        with pytest.raises(BodyRefused) as info:
            await (client.read_first() if first else anext(client))
        assert info.value.status == 413
        assert "3 bytes" in info.value.reason

    play(test, max_body=3)


@pytest.mark.parametrize("first", [True, False])
def test_a_body_that_comes_too_slowly(first: bool, quick: None) -> None:
    async def test(played: Played, client: Client) -> None:
        serving(client)
        if not first:
            played.body(b"a", True)
            await client.read_first()
        with pytest.raises(BodyRefused) as info:
            await (client.read_first() if first else next_piece(client))
        assert info.value.status == 408
        assert cancelling() == 0

    play(test, patience=0.05)


def test_others_may_cancel_the_wait_for_the_first_piece(quick: None) -> None:
    async def test(played: Played, client: Client) -> None:
        serving(client)
        asyncio.get_running_loop().call_later(0.02, this_task().cancel)
        with pytest.raises(asyncio.CancelledError):
            await client.read_first()
        uncancel()

    play(test, patience=5)


def test_a_client_that_asks_is_not_listened_to(quick: None) -> None:
    """Before the upstream wants its body: the server would give it leave."""

    async def test(played: Played, client: Client) -> None:
        serving(client)
        await asyncio.sleep(0.05)
        assert (played.calls, client.asks) == (0, True)
        played.body(b"a", False)
        got = b""
        while not got:
            got = await anext(client)
        assert (got, client.asks) == (b"a", False)

    play(test, asks=True)


def test_a_client_that_takes_no_piece_is_given_up(quick: None) -> None:
    async def test(played: Played, client: Client) -> None:
        serving(client)
        client.expect_no_body()
        client.taken = 1
        assert await ended(client)
        assert client.failure == "the client does not take the response"

    play(test, patience=0.03)


def test_a_client_that_takes_pieces_slowly_is_not(quick: None) -> None:
    async def test(played: Played, client: Client) -> None:
        serving(client)
        client.expect_no_body()
        for number in range(20):
            client.taken = number
            await asyncio.sleep(0.01)
        client.taken = None  # none is there for it
        await asyncio.sleep(0.2)
        assert not client.gone

    play(test, patience=0.1)


@pytest.mark.parametrize("how", ["ends", "leaves", "silent", "for ever"])
def test_what_is_left_is_taken(how: str, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to its end, or for a while; its limits and the client's leaving count no more."""
    monkeypatch.setattr(_client, "LINGER", 0.2)

    async def test(played: Played, client: Client) -> None:
        serving(client)
        played.body(b"abc", True)
        await client.read_first()
        for _ in range(5):
            played.body(b"abc", True)
        if how == "ends":
            played.body(b"abc", False)
        elif how == "leaves":
            played.leave()
        elif how == "for ever":
            loop = asyncio.get_running_loop()

            def more() -> None:
                played.body(b"abc", True)
                nonlocal timer
                timer = loop.call_later(0.005, more)

            timer = loop.call_later(0.005, more)
        await client.drain()
        if how == "for ever":
            timer.cancel()
        assert client.ended == (how == "ends")
        assert client.received >= 18
        await asyncio.sleep(0)  # where a cancellation would arrive

    play(test, patience=0.03, max_body=4)
