"""The lines of the access log.

Owns: what stands in them, and that one request is one line whatever a client sends. Must not know:
servers.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from httpcore_gateway import Gateway
from httpcore_gateway import _log as log
from httpcore_gateway._record import Record
from tests.support import ROOT
from tests.support.examples import examples

UPSTREAM = "http://127.0.0.1:8001"
MEMBER: Any = Gateway([UPSTREAM]).route_states[0].balancer.members[0]

#: The keys of a JSON line, in their order: programs of others count on them.
KEYS = [
    "time",
    "type",
    "client",
    "method",
    "path",
    "version",
    "status",
    "received",
    "sent",
    "milliseconds",
    "route",
    "upstream",
    "attempts",
    "request_id",
    "failure",
    "kind",
    "client_left",
]

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
QUOTED = r'"((?:[^"\\]|\\.)*)"'
TEXT = re.compile(
    rf"{TIME} (\S+) {QUOTED} (\d+|-) (\d+) ([\d.]+)ms upstream=(\S+) attempts=(\d+) id=(\S+)"
    rf"(?: failure={QUOTED})?( client=left)?"
)


def make_record(**given: Any) -> Record:
    """Return a record; what is no attribute of it is of its scope."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/a",
        "raw_path": b"/a",
        "query_string": b"",
        "http_version": "1.1",
        "client": ("192.0.2.1", 1234),
    }
    facts = {key: given.pop(key) for key in list(given) if key in Record.__slots__}
    record = Record({**scope, **given}, "id-1", 10.0)
    values = {"ended": 10.0123, "status": 200, "sent": 5, "attempts": 1, "route": 0, **facts}
    for name, value in {"member": MEMBER, **values}.items():
        setattr(record, name, value)
    return record


def show(record: Record) -> str:
    """Return the text of a record without its time."""
    time, _, rest = log.text_line(record).partition(" ")
    assert re.fullmatch(TIME, time)
    return rest


def test_a_text() -> None:
    assert show(make_record()) == (
        '192.0.2.1 "GET /a HTTP/1.1" 200 5 12.3ms upstream=http://127.0.0.1:8001 attempts=1 id=id-1'
    )


def test_a_text_of_a_failure() -> None:
    record = make_record(
        client=None, member=None, status=0, failure='no "a"', kind="other", client_left=True
    )
    assert show(record) == (
        '- "GET /a HTTP/1.1" - 5 12.3ms upstream=- attempts=1 id=id-1'
        ' failure="no \\"a\\"" client=left'
    )


def test_json() -> None:
    record = make_record(received=7)
    found = json.loads(log.json_line(record))
    assert list(found) == KEYS
    assert re.fullmatch(TIME, found.pop("time"))
    assert found == {
        "type": "http",
        "client": "192.0.2.1",
        "method": "GET",
        "path": "/a",
        "version": "1.1",
        "status": 200,
        "received": 7,
        "sent": 5,
        "milliseconds": 12.3,
        "route": 0,
        "upstream": UPSTREAM,
        "attempts": 1,
        "request_id": "id-1",
        "failure": None,
        "kind": None,
        "client_left": False,
    }


def test_json_of_a_failure() -> None:
    record = make_record(
        client=None, member=None, route=None, status=0, failure="x", kind="other", client_left=True
    )
    found = json.loads(log.json_line(record))
    assert [found[key] for key in ("client", "upstream", "route", "status")] == [None] * 4
    assert (found["failure"], found["kind"], found["client_left"]) == ("x", "other", True)


def test_websockets_have_no_method() -> None:
    record = make_record(type="websocket", status=101)
    del record.scope["method"]
    assert '"websocket /a HTTP/1.1" 101 ' in log.text_line(record)
    found = json.loads(log.json_line(record))
    assert (found["type"], found["method"]) == ("websocket", None)


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of a second is kept for that second only."""
    for now, text in (
        (1e9, "2001-09-09T01:46:40.000Z"),
        (1e9 + 0.9996, "2001-09-09T01:46:40.999Z"),
        (1e9 + 1.25, "2001-09-09T01:46:41.250Z"),
    ):
        monkeypatch.setattr("time.time", lambda now=now: now)
        assert json.loads(log.json_line(make_record()))["time"] == text


def test_the_page_names_all_keys() -> None:
    text = (ROOT / "docs" / "recipes" / "gateway-observing.rst").read_text()
    table = text[text.index('``access_log="json"``') : text.index("\nHealth, stats")]
    assert re.findall(r"^``(\w+)``  ", table, re.MULTILINE) == KEYS


# --- what is secret ---


@pytest.mark.parametrize("make", [log.text_line, log.json_line])
def test_values_of_a_query_are_not_shown(make: Any) -> None:
    line = make(make_record(raw_path=b"/a", query_string=b"token=hunter2&b=hunter3&hunter4"))
    assert "hunter" not in line
    assert "/a?token=[secure]&b=[secure]&[secure]" in line


def test_a_server_without_raw_paths() -> None:
    """Some keep the decoded path only."""
    assert log.shown_path({"path": "/a b\n\udc80", "query_string": b""}) == "/a%20b%0A%3F"
    assert log.shown_path({"path": "/a", "raw_path": None}) == "/a"


# --- what clients send ---

TEXTS = st.text(max_size=30) | st.sampled_from(
    ('"', "\\", '\\"', "\r\n", '" 200 5', "\x1b[31m", "\x85\u2028", "%s", "a b", "\udc80")
)
BYTES = st.binary(max_size=40) | TEXTS.map(lambda text: text.encode("utf-8", "replace"))
RECORDS = st.builds(
    make_record,
    client=st.none() | st.tuples(TEXTS.filter(bool), st.just(1)),
    method=TEXTS,
    raw_path=BYTES.map(lambda path: b"/" + path),
    query_string=BYTES,
    http_version=TEXTS,
    status=st.sampled_from((0, 200, 502)),
    request_id=TEXTS.filter(bool),
    failure=TEXTS,
    client_left=st.booleans(),
)


@given(RECORDS)
@settings(max_examples=examples(2000))
def test_one_request_is_one_line(record: Record) -> None:
    line = log.text_line(record)
    assert line.isascii()
    assert line.isprintable()
    match = TEXT.fullmatch(line)
    assert match is not None
    assert match[3] == (str(record.status) if record.status else "-")
    assert match[6] == UPSTREAM
    assert bool(match[9]) == bool(record.failure)
    assert bool(match[10]) == record.client_left


@given(RECORDS)
@settings(max_examples=examples(2000))
def test_one_request_is_one_object(record: Record) -> None:
    line = log.json_line(record)
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line)
    assert list(found) == KEYS
    assert found["method"] == (record.scope["method"] or None)
    assert found["failure"] == (record.failure or None)
    assert found["status"] == (record.status or None)


# --- the logger ---


class Kept(logging.Handler):
    """A handler that keeps what it would write."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def kept() -> Iterator[Kept]:
    """The handler of the access log, which takes INFO."""
    handler, logger = Kept(), logging.getLogger("httpcore_gateway.access")
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)


def test_the_logger_decides(kept: Kept) -> None:
    access = log.AccessLog("text")
    access.write(make_record(raw_path=b"/%s%d"))
    [line] = kept.lines
    assert line.startswith("INFO httpcore_gateway.access ")
    assert ' 192.0.2.1 "GET /%s%d HTTP/1.1" 200' in line
    log.AccessLog("json").write(make_record())
    assert json.loads(kept.lines[-1].split(" ", 2)[2])["path"] == "/a"


def test_no_line_is_made_for_nobody(kept: Kept) -> None:
    log.logger.setLevel(logging.WARNING)
    log.AccessLog("text").write(make_record(scope=None))  # of which none could be made
    assert kept.lines == []


# --- the handler ---


class Stream(io.StringIO):
    """Counts how often it is flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed = 0

    def flush(self) -> None:
        self.flushed += 1


def handle(handler: log.LineHandler, text: str) -> None:
    handler.handle(logging.LogRecord("a", logging.INFO, "", 0, text, (), None))


def test_lines_of_one_round_are_written_at_once() -> None:
    stream = Stream()
    handler = log.LineHandler(stream)

    async def run() -> None:
        handle(handler, "one")
        handle(handler, "two %s")
        assert stream.getvalue() == ""
        await asyncio.sleep(0)
        assert (stream.getvalue(), stream.flushed) == ("one\ntwo %s\n", 1)
        handle(handler, "three")
        await asyncio.sleep(0)
        assert (stream.getvalue(), stream.flushed) == ("one\ntwo %s\nthree\n", 2)

    asyncio.run(run())


def test_lines_outside_of_a_loop_are_written_at_once() -> None:
    stream = Stream()
    handler = log.LineHandler(stream)
    handle(handler, "one")
    assert (stream.getvalue(), stream.flushed) == ("one\n", 1)
    handler.flush()  # as at the end of the program
    assert stream.flushed == 1


def test_lines_of_a_loop_that_has_ended() -> None:
    """They come with the next ones."""
    stream = Stream()
    handler = log.LineHandler(stream)
    loop = asyncio.new_event_loop()
    loop.call_soon(handle, handler, "one")
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert stream.getvalue() == ""

    async def run() -> None:
        handle(handler, "two")
        await asyncio.sleep(0)

    asyncio.run(run())
    assert stream.getvalue() == "one\ntwo\n"


def test_a_stream_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """Is reported as by logging's own handlers, and the program goes on."""
    stream = Stream()
    handler = log.LineHandler(stream)
    stream.close()
    handle(handler, "one")
    assert "Message: 'one'" in capsys.readouterr().err
    handle(handler, "two")
    assert "Message: 'two'" in capsys.readouterr().err
