"""What HTTP/1.1 decides step by step: an upload, a doubted path, the end of a body.

Owns: the scripts of `httpcore._core.upload` and `h1_exchange`, driven by lists in place of a
connection. Must not know: sockets, clocks.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import httpcore
from httpcore._core.body_state import DRAIN_LIMIT, BodyState
from httpcore._core.deadline import DeadlineMath
from httpcore._core.h1 import LengthReader
from httpcore._core.h1_exchange import H1State
from httpcore._core.limits import ACK_PATIENCE, READ_SIZE, WRITE_SIZE
from httpcore._core.prepared import Prepared, prepare
from httpcore._core.upload import (
    EARLY_LIMIT,
    NEXT_PART,
    NOW,
    STALL_LIMIT,
    FileSpan,
    NextPart,
    Read,
    ReadFile,
    SeekFile,
    Unacknowledged,
    UploadScript,
    Write,
    WriteAll,
    WriteParts,
    is_sendable,
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
        if not data:
            return 0


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
    "answers",
    [[SILENCE, 15.0], [SILENCE, 14.9, 0, SILENCE, 15.0]],
    ids=["in the first wait", "in the second"],
)
@pytest.mark.parametrize("read", [None, 10.0])
def test_a_total_that_is_over_says_nothing_of_a_doubted_path(
    read: float | None, answers: list[Any]
) -> None:
    """Whether it has acknowledged anything is of no interest after a few milliseconds."""
    state = H1State(httpcore.Origin(b"http", b"example.com", 80), None, None, False)
    request = prepared(read=read)
    request.deadline = DeadlineMath(5.0, 10.0)
    with pytest.raises(httpcore.ReadTimeout) as caught:
        drive(state.read_doubted(request), *answers)
    assert caught.value is SILENCE


def test_a_system_that_gives_up_by_itself_says_so() -> None:
    state = H1State(httpcore.Origin(b"http", b"example.com", 80), None, None, False)
    with pytest.raises(httpcore.ReadTimeout) as caught:
        drive(state.read_doubted(prepared()), SILENCE, 0, SILENCE)
    assert caught.value is SILENCE


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


# A body that has nothing to give now

REFUSAL = b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno"
LENGTH = (b"Content-Length", b"5")
LISTEN_NOW = Read(READ_SIZE, 0)
frames = pytest.mark.parametrize(
    ("header", "frame"), [(CHUNKED, b"2\r\nde\r\n"), (LENGTH, b"de")], ids=["chunked", "length"]
)


def total_of(seconds: float, upload: UploadScript) -> UploadScript:
    upload.prepared.deadline = DeadlineMath(seconds, 10.0)
    return upload


@frames
def test_the_connection_is_looked_at_after_an_empty_part(
    header: tuple[bytes, bytes], frame: bytes
) -> None:
    upload = UploadScript(prepared(header), lenient=False, deaf=False)
    drive(upload.begin(), b"abc")
    answers = [b"de", len(frame), b"", SILENCE, b"", REFUSAL]
    steps, _ = drive(upload.send(None), *answers, upload=upload)
    assert steps == [NEXT_PART, frame, NEXT_PART, LISTEN_NOW, NEXT_PART, LISTEN_NOW]
    assert upload.head is not None and upload.head.status == 413
    assert not upload.goes_on


@frames
def test_the_head_does_not_wait_for_a_body_that_begins_with_an_empty_part(
    header: tuple[bytes, bytes], frame: bytes
) -> None:
    upload = UploadScript(prepared(header), lenient=False, deaf=False)
    first = drive(upload.begin(), b"")[1]
    assert first == upload.prepared.head
    steps, _ = drive(upload.send(None), SILENCE, b"de", len(frame), b"", REFUSAL, upload=upload)
    assert steps == [LISTEN_NOW, NEXT_PART, frame, NEXT_PART, LISTEN_NOW]


def test_nothing_is_read_for_an_empty_part_where_nothing_can_be_heard() -> None:
    upload = UploadScript(prepared(CHUNKED), lenient=False, deaf=True)
    drive(upload.begin(), b"")
    steps, _ = drive(upload.send(None), b"", b"de", None, None, None)
    assert [type(step) for step in steps] == [NextPart, NextPart, WriteAll, NextPart, WriteAll]
    assert upload.all_sent


def test_the_connection_is_looked_at_after_an_empty_part_while_the_answer_is_read() -> None:
    upload = uploading()
    upload.plan.answer(413, closing=False)
    upload.plan.handed_over = True
    steps, data = drive(upload.receive(100, None), SILENCE, b"", b"more of it")
    assert steps == [Read(100, 0), NEXT_PART, Read(100, 0)]
    assert data == b"more of it"


def test_the_total_of_a_body_that_has_nothing_to_give() -> None:
    upload = total_of(1.0, uploading())
    with pytest.raises(httpcore.WriteTimeout, match=r"^total of 1 s is over: the body of POST /"):
        drive(upload.send(None), b"", SILENCE, 10.5, b"", SILENCE, 11.0, upload=upload)


def test_the_total_of_such_a_body_while_the_answer_is_read() -> None:
    upload = total_of(1.0, uploading())
    upload.plan.answer(413, closing=False)
    upload.plan.handed_over = True
    with pytest.raises(httpcore.ReadTimeout, match=r"^total of 1 s is over: the body of POST /"):
        drive(upload.receive(100, None), SILENCE, b"", 11.0)


@pytest.mark.parametrize("end", [b"", httpcore.ReadError("reset")], ids=["end", "reset"])
def test_a_closed_connection_does_not_wait_for_such_a_body(end: Any) -> None:
    upload = uploading()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    steps, _ = drive(upload.send(None), b"", answer, b"", SILENCE, b"", end, upload=upload)
    assert steps == [NEXT_PART, LISTEN_NOW] * 3
    assert upload.plan.stopped and not upload.all_sent


# A part that is waited for while the server is listened to

BEGUN = b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\n"


def waiting() -> UploadScript:
    """Return an upload that waits for its second part."""
    upload = uploading()
    script = upload.send(None)
    assert type(next(script)) is WriteParts
    return upload


def test_nothing_is_heard_before_the_head_was_sent() -> None:
    assert not uploading().may_hear
    assert waiting().may_hear


def test_a_part_is_of_no_use_once_the_whole_answer_has_refused_it() -> None:
    upload = waiting()
    upload.hear(BEGUN)
    assert upload.may_hear and upload.wants_part()  # else it would have to go on elsewhere
    upload.hear(b"no")
    assert not upload.wants_part()


def test_a_part_is_of_use_after_any_other_answer_until_the_server_closes() -> None:
    upload = waiting()
    upload.hear(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert upload.may_hear and upload.wants_part()
    upload.hear(b"")
    assert not (upload.may_hear or upload.wants_part())


def test_a_failure_to_read_is_the_response_s_where_that_has_begun() -> None:
    reset = httpcore.ReadError("reset")
    with pytest.raises(httpcore.ReadError):
        waiting().break_off(reset)
    upload = waiting()
    upload.hear(BEGUN)
    upload.break_off(reset)
    assert upload.failure is reset and not upload.wants_part()


@pytest.mark.parametrize(
    ("said", "given"), [(b"2\r\nno\r\nnonsense\r\n", b"no"), (b"nonsense\r\n", b"")]
)
def test_what_comes_before_a_fault_is_the_response_s(said: bytes, given: bytes) -> None:
    upload = waiting()
    upload.hear(b"HTTP/1.1 413 No\r\nTransfer-Encoding: chunked\r\n\r\n" + said)
    assert isinstance(upload.failure, httpcore.RemoteProtocolError)
    body: Any = SimpleNamespace(failure=None, pending=b"")
    upload.hand_over(body)
    assert (body.pending, body.failure) == (given, upload.failure)


def test_a_server_that_says_too_much_is_not_heard_on() -> None:
    upload = waiting()
    upload.hear(b"HTTP/1.1 413 No\r\n\r\n" + bytes(EARLY_LIMIT))
    assert upload.wants_part() and not upload.may_hear


def test_what_the_caller_reads_is_not_heard() -> None:
    upload = waiting()
    upload.plan.answer(413, closing=False)
    upload.plan.handed_over = True
    assert not upload.may_hear
    upload.plan.complete = True  # then nobody reads any more
    assert upload.may_hear


# What the server says, and the file does, while a body is sent


def uploading(*, deaf: bool = False) -> UploadScript:
    """Return an upload whose head and first three bytes were sent."""
    upload = UploadScript(prepared(CHUNKED), lenient=False, deaf=deaf)
    drive(upload.begin(), b"abc")
    return upload


def answered(status: int) -> UploadScript:
    """Return an upload whose caller has the response, and goes on with it."""
    upload = uploading()
    upload.put(b"de")
    upload.plan.answer(status, closing=False)
    upload.plan.handed_over = True
    return upload


def test_an_upload_that_asks_in_vain_sends_after_its_patience() -> None:
    upload = UploadScript(prepared(CHUNKED, EXPECT), lenient=False, deaf=False)
    drive_nothing(upload.begin())
    steps, _ = drive(upload.send(None), 10.0, 10.0, SILENCE, None, 5, upload=upload)
    assert steps == [NOW, NOW, Read(READ_SIZE, 1.0), NEXT_PART, b"0\r\n\r\n"]
    assert upload.all_sent


def test_an_answer_that_ends_with_the_connection_is_whole_at_its_end() -> None:
    upload = uploading()
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi"
    # Of the block, three bytes and then two go: each time there is something to be read.
    steps, _ = drive(upload.send(None), b"de", 3, answer, 2, b"", None, None, None, upload=upload)
    assert upload.plan.complete and upload.deaf and upload.goes_on
    assert upload.all_sent  # a success gets the rest of the body, as long as it is taken
    assert steps[-1] == WriteAll(b"0\r\n\r\n", STALL_LIMIT)


def test_what_comes_after_the_whole_answer_is_excess() -> None:
    upload = uploading()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    drive(upload.send(None), b"de", 3, answer, 1, b"more", None, None, None, upload=upload)
    assert upload.head is not None and upload.head.body.excess == b"more"
    assert upload.deaf


def test_nothing_is_heard_after_a_change_of_protocols() -> None:
    request = httpcore.Request(
        "POST",
        URL,
        headers=[(b"Host", b"h"), CHUNKED, (b"Connection", b"upgrade"), (b"Upgrade", b"x")],
        content=iter([]),
    )
    upload = UploadScript(prepare(request), lenient=False, deaf=False)
    drive(upload.begin(), b"abc")
    switch = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nnot HTTP"
    drive(upload.send(None), b"de", 3, switch, None, None, None, upload=upload)
    assert upload.head is not None and upload.head.switched and upload.head.rest == b"not HTTP"
    assert upload.deaf and upload.plan.complete


def test_no_more_is_sent_once_the_body_is_refused_and_its_answer_is_whole() -> None:
    upload = answered(413)
    upload.plan.complete = True
    assert drive_nothing(upload.receive(100, None)) is None
    assert not upload.all_sent


def test_the_caller_reads_what_came_before_writing_failed() -> None:
    upload = answered(413)
    gone = httpcore.WriteError("reset")
    steps, data = drive(upload.receive(100, None), SILENCE, gone)
    assert data is None and upload.plan.stopped
    assert steps[0] == Read(100, 0) and type(steps[1]) is Write


@pytest.mark.parametrize(("status", "goes_on"), [(200, False), (413, True)])
def test_a_server_that_takes_nothing_while_its_answer_is_read(status: int, goes_on: bool) -> None:
    """Where it has refused the body, that is its right."""
    upload = answered(status)
    upload.timeout = 1.0  # shorter than that for reading, so it is writing which was too slow
    script = upload.receive(100, 2.0)
    slow = httpcore.WriteTimeout("1 s")
    if goes_on:
        assert drive(script, SILENCE, slow)[1] is None and upload.plan.stopped
    else:
        with pytest.raises(httpcore.WriteTimeout):
            drive(script, SILENCE, slow)


def sending(length: int, *, deaf: bool) -> UploadScript:
    """Return an upload of a file of `length` bytes whose head was sent."""
    request = httpcore.Request(
        "PUT",
        URL,
        headers=[(b"Host", b"h"), (b"Content-Length", b"%d" % length)],
        content=iter([]),
    )
    upload = UploadScript(prepare(request), lenient=False, deaf=deaf)
    upload.span = FileSpan(0, length, 0)
    return upload


def test_a_file_is_sent_in_parts_where_the_system_cannot_send_it() -> None:
    upload = sending(5, deaf=True)
    steps, _ = drive(upload.send(None), b"abc", None, None, b"de", None, b"", None)
    assert steps == [
        ReadFile(0, 5), SeekFile(3), WriteAll(b"abc", None),
        ReadFile(3, 2), SeekFile(5), ReadFile(5, 1), WriteAll(b"de", None),
    ]  # fmt: skip
    assert upload.all_sent


def test_an_empty_rest_of_a_file_needs_no_step() -> None:
    upload = sending(5, deaf=True)
    upload.span = FileSpan(5, 5, 5)
    drive_nothing(upload.send(None))
    assert upload.all_sent


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([b"abc", None, None, b""], "the body ended after 3 of its announced 5 bytes"),
        ([b"abcde", None, b"f"], "the body is longer than its announced 5 bytes"),
    ],
)
def test_a_file_that_has_changed_its_length(answers: list[Any], text: str) -> None:
    with pytest.raises(httpcore.LocalProtocolError) as failure:
        drive(sending(5, deaf=True).send(None), *answers)
    assert str(failure.value) == text


def test_a_closed_file_is_not_left_to_the_system(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with path.open("rb") as file:
        assert is_sendable(file, WRITE_SIZE + 1)
        assert not is_sendable(file, WRITE_SIZE)
    assert not is_sendable(file, WRITE_SIZE + 1)


# The child of a fork


@pytest.mark.parametrize("serving", [False, True])
def test_the_child_of_a_fork_loses_the_connection(serving: bool) -> None:
    state = H1State(httpcore.Origin(b"http", b"example.com", 80), None, None, False)
    assert state.open_streams == 0
    if serving:
        state.serving = prepared().request
        assert state.open_streams == 1
    what = state.lose_in_child()
    assert state.is_closed() and state.open_streams == 0
    assert ("the response to POST /, as its connection" in what) == serving
    assert what.endswith("the child of a fork must send a request of its own")


def test_a_signal_handler_is_told_that_the_connection_is_being_taken() -> None:
    state = H1State(httpcore.Origin(b"http", b"example.com", 80), None, None, False)
    assert "nothing was sent" in str(state.taken_below())
