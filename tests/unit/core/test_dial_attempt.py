"""The time of each attempt to connect, and the call that each step is, without a clock.

Owns: `httpcore._core.dial_attempt`. Must not know: the order of steps (see test_dial.py).
"""

from __future__ import annotations

from typing import Any

import pytest

import httpcore
from httpcore._core.deadline import DeadlineMath
from httpcore._core.dial import OpenTCP, OpenUnix, Plan, Sleep, StartTLS
from httpcore._core.dial_attempt import MIN_STEP, Call, DialAttempts, note_time, to_call
from httpcore._core.http_proxy import REFUSAL_PATIENCE, ProxyHop, Read, Resolve, TraceEvent, Write
from httpcore._exceptions import ConnectError, ConnectTimeout, ProxyConnectTimeout, ReadTimeout
from httpcore._sync.dialing import carry_out
from httpcore._timings import Opening

CONTEXT: Any = object()  # never touched, only passed on


class Stream:
    def __init__(self, lookup_time: float | None = None) -> None:
        self.lookup_time = lookup_time
        self.peer = "where it was opened to"

    def get_extra_info(self, info: str) -> Any:
        return self.lookup_time if info == "lookup_time" else None


STREAM = Stream()


SOCKS = ProxyHop(b"socks5h", b"p", 1080, (), False)
PROXY = ProxyHop(b"http", b"p", 3128, (), False)


def plan(**more: Any) -> Plan:
    return Plan(**{"host": b"a", "port": 80, "ssl_context": None, **more})


def timeout_of(call: Call) -> Any:
    return call.arguments["timeout"]


@pytest.mark.parametrize(
    ("step", "call"),
    [
        (
            OpenTCP("a", 80, "::1", None, "socks"),
            Call(
                None,
                "connect_tcp",
                {
                    "host": "a",
                    "port": 80,
                    "local_address": "::1",
                    "timeout": 3.0,
                    "socket_options": None,
                },
                "socks.connect_tcp",
            ),
        ),
        (
            OpenUnix("/s", None),
            Call(
                None,
                "connect_unix_socket",
                {"path": "/s", "timeout": 3.0, "socket_options": None},
                "connection.connect_unix_socket",
            ),
        ),
        (
            StartTLS(STREAM, CONTEXT, "a", "proxy", ("h2",)),
            Call(
                STREAM,
                "start_tls",
                {"ssl_context": CONTEXT, "server_hostname": "a", "timeout": 3.0},
                "proxy.start_tls",
                ("h2",),
            ),
        ),
        (
            Resolve("a", 80),
            Call(None, "resolve", {"host": "a", "port": 80, "timeout": 3.0}, "connection.resolve"),
        ),
        (Sleep(0.5), Call(None, "sleep", {"seconds": 0.5}, "connection.retry")),
        (Read(STREAM, 9), Call(STREAM, "read", {"max_bytes": 9, "timeout": 3.0})),
        (Write(STREAM, b"x"), Call(STREAM, "write", {"buffer": b"x", "timeout": 3.0})),
        (TraceEvent("e", {"k": 1}), Call(None, "trace", {"event": "e", "details": {"k": 1}})),
    ],
    ids=lambda each: type(each).__name__,
)
def test_each_step_is_one_call(step: Any, call: Call) -> None:
    assert to_call(step, 3.0) == call


def test_the_steps_of_an_attempt_share_its_timeout() -> None:
    attempts = DialAttempts(plan(ssl_context=CONTEXT), 5.0)
    assert timeout_of(attempts.next_call(100.0)) == 5.0
    attempts.succeeded(STREAM, 102.0)
    assert attempts.stream is STREAM
    assert timeout_of(attempts.next_call(102.0)) == 3.0
    assert timeout_of(attempts.next_call(106.0)) == MIN_STEP
    attempts.succeeded(STREAM, 106.0)
    assert attempts.dialed is not None
    assert attempts.dialed.stream is STREAM


def test_each_attempt_has_a_timeout_of_its_own() -> None:
    attempts = DialAttempts(plan(retries=2), 5.0)
    for sleep in (0.0, 0.5):
        assert timeout_of(attempts.next_call(100.0)) == 5.0
        attempts.failed(ConnectError("no"), 104.0)
        assert attempts.next_call(104.0).arguments == {"seconds": sleep}
        attempts.succeeded(None, 104.0 + sleep)
    attempts.next_call(200.0)
    with pytest.raises(ConnectError, match="the last"):
        attempts.failed(ConnectError("the last"), 204.0)


def test_no_timeout() -> None:
    attempts = DialAttempts(plan(), None)
    assert timeout_of(attempts.next_call(100.0)) is None


@pytest.mark.parametrize(
    ("timeout", "granted"), [(None, REFUSAL_PATIENCE), (9.0, REFUSAL_PATIENCE), (1.0, 1.0)]
)
def test_a_read_with_a_patience_of_its_own(timeout: float | None, granted: float) -> None:
    attempts = DialAttempts(plan(hop=PROXY), timeout)
    call = attempts.next_call(0.0)
    while call.method != "read":
        attempts.succeeded(STREAM if call.method == "connect_tcp" else None, 0.0)
        call = attempts.next_call(0.0)
    assert timeout_of(call) == timeout
    attempts.succeeded(b"HTTP/1.1 403 No\r\n\r\n", 0.0)
    while (call := attempts.next_call(0.0)).method != "read":
        attempts.succeeded(None, 0.0)
    assert timeout_of(call) == granted


def test_a_deadline_ends_all_attempts_and_cuts_the_pauses() -> None:
    deadline = DeadlineMath(6.0, 100.0)
    attempts = DialAttempts(plan(retries=2), 5.0, deadline)
    assert timeout_of(attempts.next_call(100.0)) == 5.0
    attempts.failed(ConnectTimeout(), 105.0)
    attempts.next_call(105.0)
    attempts.succeeded(None, 105.0)
    assert timeout_of(attempts.next_call(105.0)) == 1.0
    attempts.failed(ConnectTimeout(), 105.9)
    assert attempts.next_call(105.9).arguments["seconds"] == pytest.approx(0.1)
    attempts.succeeded(None, 106.0)
    assert timeout_of(attempts.next_call(106.5)) == MIN_STEP


def test_a_clock_that_stands_still_is_not_believed() -> None:
    deadline = DeadlineMath(9.0, 100.0)
    attempts = DialAttempts(plan(retries=2), 4.0, deadline)
    attempts.next_call(100.0)
    attempts.failed(ConnectTimeout(), 100.0)
    assert deadline.left_at(100.0) == 5.0
    attempts.next_call(100.0)
    attempts.succeeded(None, 100.0)
    attempts.next_call(100.0)
    attempts.failed(ConnectTimeout(), 100.0)
    attempts.next_call(100.0)
    attempts.succeeded(None, 100.0)  # the pause of half a second
    assert deadline.left_at(100.0) == 0.5


def test_what_to_close_when_an_opening_step_fails() -> None:
    attempts = DialAttempts(plan(ssl_context=CONTEXT), None)
    attempts.next_call(0.0)
    assert attempts.broken(None) == []
    assert attempts.broken(STREAM) == [STREAM]  # opened, then the trace failed
    attempts.succeeded(STREAM, 0.0)
    attempts.next_call(0.0)
    inner = Stream()
    assert attempts.broken(inner) == [inner, STREAM]


def test_a_new_attempt_closes_what_the_last_one_has_opened() -> None:
    attempts = DialAttempts(plan(hop=SOCKS, retries=1), 5.0)
    stream = Stream()
    assert attempts.next_call(0.0).method == "connect_tcp"
    attempts.succeeded(stream, 0.0)
    assert attempts.next_call(0.0).method == "trace"
    attempts.succeeded(None, 0.0)
    assert attempts.next_call(0.0).method == "write"
    assert attempts.broken(None) == []
    attempts.failed(ReadTimeout("silence"), 0.0)
    assert attempts.next_call(0.0).method == "trace"  # of the failure
    assert attempts.stream is stream
    attempts.succeeded(None, 0.0)
    pause = attempts.next_call(0.0)
    assert (pause.method, pause.closes) == ("sleep", stream)
    assert attempts.stream is None


def test_the_shell_closes_what_a_failed_attempt_has_opened() -> None:
    """A proxy that says nothing: `httpcore.ReadTimeout` is what its stream raises."""
    backend = httpcore.MockBackend([httpcore.ReadTimeout("silence")])
    with pytest.raises(ProxyConnectTimeout):
        carry_out(DialAttempts(plan(hop=SOCKS, retries=2), 5.0), backend, None, lambda _: None)
    assert [stream.closed for stream in backend.streams] == [True] * 3


def test_the_name_of_the_peer_is_set_without_a_call() -> None:
    attempts = DialAttempts(plan(address="127.0.0.1"), None)
    stream = Stream()
    assert attempts.next_call(0.0).arguments["host"] == "127.0.0.1"
    attempts.succeeded(stream, 0.0)
    assert stream.peer == "a:80"
    assert attempts.dialed is not None


def test_the_times_of_the_steps() -> None:
    opening = Opening()
    note_time(opening, OpenTCP("a", 80, None, None), Stream(0.25), 1.0)
    note_time(opening, StartTLS(STREAM, CONTEXT, "a"), STREAM, 2.0)
    note_time(opening, Sleep(1.0), None, 1.0)
    note_time(opening, Resolve("a", 80), [], 0.5)
    note_time(opening, Write(STREAM, b""), None, 4.0)
    assert (opening.dns, opening.connect, opening.tls) == (0.75, 4.75, 2.0)
