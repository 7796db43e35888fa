"""That a response written in one step is the one that uvicorn would send, or is declined."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("httptools")
import uvicorn
from uvicorn.server import ServerState

from httpcore_gateway._protocol import LimitedProtocol
from httpcore_gateway._writer import MAX_JOINED, write_response

LENGTH = (b"content-length", b"2")
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Wire:
    """A transport that keeps what is written, and how often."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str) -> None: ...


class Played:
    """What became of one request.

    Attributes:
        at_once: what `write_response` has returned; None where it was not asked.
        bytes: that were written.
        writes: how many there were.
        facts: what else the server keeps of it.
    """

    def __init__(self) -> None:
        self.at_once: bool | None = None
        self.bytes = b""
        self.writes = 0
        self.facts: tuple[Any, ...] = ()


def play(whole: bool, head: bytes, status: int, fields: Any, body: bytes, prepare: Any) -> Played:
    """Serve `head`, by one step where that is taken, or by ASGI alone."""
    played = Played()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if whole:
            played.at_once = write_response(send, status, list(fields), body)
        if not played.at_once:
            await send({"type": "http.response.start", "status": status, "headers": list(fields)})
            await send({"type": "http.response.body", "body": body})

    async def run() -> None:
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
        config.max_head, config.head_timeout = 65536, 60.0  # type: ignore[attr-defined]
        state, wire = ServerState(), Wire()
        protocol = LimitedProtocol(config, state, {}, asyncio.get_running_loop())
        # A handler of the process, such as that of the tests, is none of this server.
        protocol.access_log = False
        protocol.connection_made(wire)  # type: ignore[arg-type]
        protocol.data_received(head)
        if prepare is not None:
            prepare(protocol.cycle)
        while protocol.tasks:
            await asyncio.gather(*protocol.tasks)
            # They leave the set in the next turn of the loop; to gather those that are done gives
            # it none.
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        played.bytes, played.writes = b"".join(wire.written), len(wire.written)
        cycle = protocol.cycle
        waits = protocol.timeout_keep_alive_task is not None
        played.facts = (
            *(cycle.response_started, cycle.response_complete, cycle.message_event.is_set()),
            *(wire.closed, state.total_requests, waits),
        )
        protocol.connection_lost(None)

    asyncio.run(run())
    return played


def compare(
    head: bytes, status: int, fields: Any, body: bytes, prepare: Any = None
) -> tuple[bool | None, Played]:
    """Return whether the response was written in one step, which makes no difference."""
    ours = play(True, head, status, fields, body, prepare)
    theirs = play(False, head, status, fields, body, prepare)
    assert (ours.bytes, ours.facts) == (theirs.bytes, theirs.facts)
    return ours.at_once, ours


@pytest.mark.parametrize(
    ("status", "fields", "body"),
    [
        (200, [LENGTH, (b"x-a", b"tab\there, \xff")], b"ab"),
        (200, [(b"a", b""), (b"content-length", b"0"), (b"a", b"2")], b""),
        (299, [LENGTH], b"ab"),
        (599, [LENGTH], b"ab"),
        (404, [(b"content-length", b"%d" % MAX_JOINED)], b"x" * MAX_JOINED),
    ],
)
def test_a_plain_response_is_one_write(status: int, fields: Any, body: bytes) -> None:
    at_once, ours = compare(GET, status, fields, body)
    assert at_once is True
    assert ours.writes == 1


@pytest.mark.parametrize(
    ("head", "status", "fields", "body"),
    [
        (GET, 200, [], b"ab"),  # chunked
        (GET, 200, [(b"transfer-encoding", b"chunked"), LENGTH], b"ab"),
        (GET, 200, [(b"connection", b"close"), LENGTH], b"ab"),
        (GET, 200, [LENGTH, LENGTH], b"ab"),
        (GET, 200, [LENGTH], b"a"),
        (GET, 200, [LENGTH], b"abc"),
        (GET, 200, [(b"content-length", b"02")], b"ab"),
        (GET, 200, [LENGTH, (b"x", b"a\r\nb: c")], b"ab"),
        (GET, 200, [LENGTH, (b"x y", b"a")], b"ab"),
        (GET, 200, [LENGTH, (b"X", b"a")], b"ab"),
        (GET, 204, [], b""),
        (GET, 304, [], b""),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200, [LENGTH], b"ab"),
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", 200, [LENGTH], b"ab"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, [LENGTH], b"ab"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
            *(200, [LENGTH], b"ab"),
        ),
    ],
)
def test_what_is_declined(head: bytes, status: int, fields: Any, body: bytes) -> None:
    assert compare(head, status, fields, body)[0] is False


def _refuse_keep_alive(cycle: Any) -> None:
    cycle.keep_alive = False  # as uvicorn does when it stops


def _disconnect(cycle: Any) -> None:
    cycle.disconnected = True


def _add_default(cycle: Any) -> None:
    cycle.default_headers = [(b"server", b"a")]


def _pause(cycle: Any) -> None:
    cycle.flow.pause_writing()
    asyncio.get_running_loop().call_soon(cycle.flow.resume_writing)


@pytest.mark.parametrize("prepare", [_refuse_keep_alive, _disconnect, _add_default, _pause])
def test_states_of_the_connection_that_are_declined(prepare: Any) -> None:
    assert compare(GET, 200, [LENGTH], b"ab", prepare)[0] is False


def test_requests_that_came_together_are_answered_in_order() -> None:
    assert compare(GET * 3, 200, [LENGTH], b"ab")[0] is True


def test_what_is_held_back_goes_first() -> None:
    def begin(cycle: Any) -> None:
        cycle.transport.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    at_once, ours = compare(GET, 200, [LENGTH], b"ab", begin)
    assert at_once is True
    assert ours.bytes.startswith(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_other_servers_and_middleware_get_messages() -> None:
    async def send(message: Any) -> None: ...

    assert not write_response(send, 200, [LENGTH], b"ab")
