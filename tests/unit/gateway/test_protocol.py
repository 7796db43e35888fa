"""That the head of a response leaves together with the body, and never too late."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("httptools")
from httpcore_gateway._protocol import JoiningTransport
from httpcore_gateway._writer import MAX_JOINED


class Recorder:
    """A transport that notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.done.append(bytes(data))

    def writelines(self, parts: list[bytes]) -> None:
        self.done.append(list(parts))

    def write_eof(self) -> None:
        self.done.append("eof")

    def close(self) -> None:
        self.done.append("close")
        self.closing = True

    def abort(self) -> None:
        self.done.append("abort")
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.done.append("pause")

    def resume_reading(self) -> None:
        self.done.append("resume")

    def get_extra_info(self, name: str) -> str:
        return name


def play(*steps: Any) -> list[Any]:
    """Return what a real transport is told: "hold" arms, "tick" lets the loop go round, bytes are
    written, other names are methods."""

    async def run() -> list[Any]:
        recorder = Recorder()
        transport = JoiningTransport(recorder, asyncio.get_running_loop())
        for step in steps:
            if step == "hold":
                transport.holds = True
            elif step == "tick":
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                recorder.done.append("tick")
            elif isinstance(step, bytes):
                transport.write(step)
            elif isinstance(step, list):
                transport.writelines(step)
            else:
                getattr(transport, step)()
        return recorder.done

    return asyncio.run(run())


LARGE = b"x" * (MAX_JOINED + 1)


@pytest.mark.parametrize(
    ("steps", "done"),
    [
        (["hold", b"head", b"body", b"more"], [b"headbody", b"more"]),
        (["hold", b"head", LARGE], [b"head", LARGE]),
        (["hold", b"head", "tick", b"body"], [b"head", "tick", b"body"]),
        (["hold", b"head", b"body", "tick"], [b"headbody", "tick"]),
        ([b"a", b"b"], [b"a", b"b"]),
        (["hold", b"head", "close"], [b"head", "close"]),
        (["hold", b"head", "write_eof"], [b"head", "eof"]),
        (["hold", b"head", [b"a", b"b"]], [b"head", [b"a", b"b"]]),
        (["hold", b"head", "abort", "tick"], ["abort", "tick"]),
        (["hold", "pause_reading", "resume_reading"], ["pause", "resume"]),
        # Two responses in one read: each head with its own body.
        (["hold", b"h1", b"b1", "hold", b"h2", b"b2"], [b"h1b1", b"h2b2"]),
        # The second head begins while the first response is sent still.
        (["hold", b"h1", "hold", b"b1", b"h2", b"b2", "tick"], [b"h1b1", b"h2b2", "tick"]),
    ],
)
def test_what_is_written_together(steps: list[Any], done: list[Any]) -> None:
    assert play(*steps) == done


def test_the_rest_is_that_of_the_transport() -> None:
    async def ask() -> Any:
        transport = JoiningTransport(Recorder(), asyncio.get_running_loop())
        return transport.get_extra_info("socket"), transport.is_closing(), transport.closing

    assert asyncio.run(ask()) == ("socket", False, False)
