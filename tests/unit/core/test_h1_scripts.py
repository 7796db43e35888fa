"""What HTTP/1.1 decides step by step: an upload, a doubted path, the end of a body.

Owns: the scripts of `httpcore._core.upload` and `h1_exchange`, driven by lists in place of a
connection. Must not know: sockets, clocks.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import httpcore
from httpcore._core.body_state import DRAIN_LIMIT, BodyState
from httpcore._core.h1 import LengthReader
from httpcore._core.h1_exchange import H1State
from httpcore._core.limits import ACK_PATIENCE, READ_SIZE
from httpcore._core.prepared import Prepared, prepare
from httpcore._core.upload import (
    NEXT_PART,
    NOW,
    Read,
    Unacknowledged,
    UploadScript,
    WriteParts,
)

URL = "http://example.com/"
SILENCE = httpcore.ReadTimeout("nothing came")


def prepared(*headers: tuple[bytes, bytes], read: float | None = None) -> Prepared:
    fields = [(b"Host", b"example.com"), *headers]
    content = iter([]) if headers else None
    extensions = {"timeout": {"read": read}}
    return prepare(
        httpcore.Request("POST", URL, headers=fields, content=content, extensions=extensions)
    )


def drive(script: Any, *answers: Any, upload: UploadScript | None = None) -> tuple[list[Any], Any]:
    """Return the steps of `script`, which are answered in turn, and what it returns. Of writes
    the bytes are shown, and what is taken from the body between them."""
    step = next(script)
    steps = []
    waiting = list(answers)
    while True:
        if type(step) is WriteParts:
            assert upload is not None
            answer = write_parts(bytes(step.data), upload, steps, waiting)
        else:
            steps.append(step)
            answer = waiting.pop(0)
        try:
            is_failure = isinstance(answer, BaseException)
            step = script.throw(answer) if is_failure else script.send(answer)
        except StopIteration as end:
            assert not waiting
            return steps, end.value


def write_parts(data: bytes, upload: UploadScript, steps: list[Any], waiting: list[Any]) -> int:
    sent = 0
    while True:
        if data:
            steps.append(data)
            sent = waiting.pop(0)
        if sent < len(data) or upload.framing.ended:
            return sent
        steps.append(NEXT_PART)
        data, sent = upload.put(waiting.pop(0)), 0


CHUNKED = (b"Transfer-Encoding", b"chunked")
EXPECT = (b"Expect", b"100-continue")


def test_an_upload_sends_its_parts_and_listens_where_one_was_not_taken_as_a_whole() -> None:
    upload = UploadScript(prepared(CHUNKED), lenient=False, deaf=False)
    assert drive(upload.begin(), b"abc")[1].endswith(b"\r\n\r\n3\r\nabc\r\n")
    steps, _ = drive(upload.send(None), b"de", 3, SILENCE, 4, None, 5, upload=upload)
    assert steps == [
        NEXT_PART, b"2\r\nde\r\n", Read(READ_SIZE, 0), b"de\r\n", NEXT_PART, b"0\r\n\r\n"
    ]  # fmt: skip
    assert upload.all_sent


def test_an_upload_that_asks_first_waits_for_leave() -> None:
    upload = UploadScript(
        prepared(CHUNKED, (b"Expect", b"100-continue")), lenient=False, deaf=False
    )
    assert drive_nothing(upload.begin()).endswith(b"\r\n\r\n")
    leave = b"HTTP/1.1 100 Continue\r\n\r\n"
    steps, _ = drive(upload.send(None), 10.0, 10.25, leave, None, 5, upload=upload)
    assert steps == [NOW, NOW, Read(READ_SIZE, 0.75), NEXT_PART, b"0\r\n\r\n"]


def test_an_upload_that_is_declined_sends_nothing() -> None:
    upload = UploadScript(
        prepared(CHUNKED, (b"Expect", b"100-continue")), lenient=False, deaf=False
    )
    drive_nothing(upload.begin())
    answer = b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno"
    steps, _ = drive(upload.send(None), 10.0, 10.0, answer)
    assert steps == [NOW, NOW, Read(READ_SIZE, 1.0)]
    assert not upload.all_sent and not upload.goes_on


def drive_nothing(script: Any) -> Any:
    with pytest.raises(StopIteration) as end:
        next(script)
    return end.value.value


@pytest.mark.parametrize(
    ("read", "answers", "waits"),
    [
        (2.0, [b"x"], [2.0]),
        (None, [b"x"], [ACK_PATIENCE]),
        (5.0, [SILENCE, 0, b"x"], [ACK_PATIENCE, 5.0 - ACK_PATIENCE]),
        (None, [SILENCE, None, b"x"], [ACK_PATIENCE, None]),
    ],
)
def test_a_doubted_path_is_given_time_to_acknowledge(
    read: float | None, answers: list[Any], waits: list[float | None]
) -> None:
    state = H1State(httpcore.Origin(b"http", b"example.com", 80), None, None, False)
    steps, data = drive(state.read_doubted(prepared(read=read)), *answers)
    assert data == b"x"
    assert [step.timeout for step in steps if type(step) is Read] == waits


def test_a_path_that_acknowledges_nothing_is_dead() -> None:
    state = H1State(httpcore.Origin(b"http", b"example.com", 80), None, None, False)
    script = state.read_doubted(prepared())
    next(script)
    assert script.throw(SILENCE) == Unacknowledged()
    with pytest.raises(httpcore.ReadError, match="the idle connection is dead"):
        script.send(17)


@pytest.mark.parametrize(
    ("length", "reusable", "budget"),
    [(DRAIN_LIMIT, True, DRAIN_LIMIT), (DRAIN_LIMIT + 1, True, 0), (1, False, 0)],
)
def test_what_is_worth_reading_away(length: int, reusable: bool, budget: int) -> None:
    body = BodyState(None, httpcore.Request("GET", URL))
    assert body.drain_budget() == 0
    body.source = SimpleNamespace(protocol="http11")
    body.reader = LengthReader(length)
    body.reusable = reusable
    assert body.drain_budget() == budget
