"""Small rules of the core, each asked by itself.

Owns: what no connection shows, or only a rare one: steps that come in an unusual order, values of
other types than the announced ones, operations after an interrupt. Must not know: sockets, locks.
"""

from __future__ import annotations

import enum
import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import httpcore
from httpcore._core.body_state import BodyState
from httpcore._core.checkout import is_running
from httpcore._core.deadline import DeadlineMath
from httpcore._core.dial import Plan
from httpcore._core.dial_attempt import DialAttempts
from httpcore._core.h1 import CHUNKED, HeadReader, encode_request
from httpcore._core.prepared import framed_parts, prepare
from httpcore._core.scheduler import Route, Scheduler, Waiter
from httpcore._core.slot_ends import _wake
from httpcore._core.upload import UploadPlan
from httpcore._exceptions import DISCONNECTED, Aborted, ServerDisconnected, explain
from httpcore._models import name_request
from httpcore._trace import logs_debug, masked

URL = "http://example.com/path"
HOST = (b"Host", b"example.com")


def request(**more: Any) -> httpcore.Request:
    return httpcore.Request("GET", URL, headers=[HOST], **more)


# -- bodies and requests


def test_an_abort_explains_failures_of_the_network_alone() -> None:
    body = BodyState(None, request())
    interrupt = KeyboardInterrupt()
    assert body.explain_abort(interrupt) is interrupt
    failure = httpcore.ReadError("reset")
    failure.phase = "response_started"
    error = body.explain_abort(failure)
    assert isinstance(error, Aborted) and error.phase == "response_started"
    assert str(error) == "GET /path was ended by a close or a CancelToken"


def test_the_blocks_of_a_body_as_they_go_on_the_wire() -> None:
    fields = [HOST, (b"Transfer-Encoding", b"chunked")]
    parts = [b"ab", b"", b"c"]
    prepared = prepare(httpcore.Request("POST", URL, headers=fields, content=iter(parts)))
    assert prepared.length == CHUNKED
    assert list(framed_parts(prepared)) == [b"2\r\nab\r\n", b"", b"1\r\nc\r\n", b"0\r\n\r\n"]


def test_an_answer_that_never_came_refuses_nothing() -> None:
    assert not UploadPlan().is_refused


def test_an_error_names_its_request_once() -> None:
    failure = ServerDisconnected(DISCONNECTED)
    name_request(failure, request())
    text = explain(failure)
    assert "(in the answer to GET /path)" in text
    name_request(failure, request())
    assert explain(failure) == text
    other = httpcore.RemoteProtocolError("malformed")
    for _ in range(2):
        name_request(other, request())
    assert str(other) == "malformed (in the answer to GET /path)"


def test_a_port_is_not_negative() -> None:
    with pytest.raises(httpcore.LocalProtocolError, match="URL port -1 is negative"):
        httpcore.URL(scheme=b"http", host=b"h", port=-1, target=b"/")
    assert httpcore.URL(scheme=b"http", host=b"h", port=81, target=b"/").port == 81


def test_a_port_of_a_class_of_its_own() -> None:
    class Port(enum.IntEnum):
        SERVICE = 8080

    url = httpcore.URL(scheme=b"http", host=b"h", port=Port.SERVICE, target=b"/")
    assert bytes(url) == b"http://h:8080/"


@pytest.mark.parametrize("port", [True, "80", 80.0])
def test_a_port_is_a_number(port: Any) -> None:
    with pytest.raises(TypeError, match="port must be a number or None, not"):
        httpcore.URL(scheme=b"http", host=b"h", port=port, target=b"/")


def test_headers_of_which_each_can_be_sent_and_not_all() -> None:
    class Fields:
        def __init__(self) -> None:
            self.rounds = 0

        def __iter__(self) -> Any:
            self.rounds += 1
            return iter([(b"a", 5 if self.rounds == 1 else b"b")])

    fields: Any = Fields()
    with pytest.raises(TypeError, match="headers must be a mapping or sequence of two-tuples: "):
        httpcore.Request("GET", URL, headers=fields)


# -- what is traced


def test_what_is_shown_of_a_value() -> None:
    secret = (b"authorization", b"S3CRET")
    shown = (b"authorization", b"[secure]")
    assert masked([secret, "x", 5]) == [shown, "x", 5]
    assert masked((b"authorization", 5)) == (b"authorization", 5)
    assert masked((secret,)) == (shown,)


def test_a_logger_that_is_switched_off_logs_nothing() -> None:
    logger = logging.Logger("by hand", logging.DEBUG)
    logger.manager = logging.Manager(logger)  # type: ignore[arg-type]
    assert logs_debug(logger)
    logger.disabled = True
    assert not logs_debug(logger)
    logger.disabled = False
    logger.manager.disable = logging.CRITICAL
    assert not logs_debug(logger)


# -- waiting and dialling


class Interrupted:
    def outer(self) -> bool:
        return self.inner()

    def inner(self) -> bool:
        return is_running(Interrupted.outer.__code__, self, sys._getframe())


def test_the_code_that_was_interrupted_is_found_among_the_callers() -> None:
    one = Interrupted()
    assert one.outer()
    assert not one.inner()
    assert not is_running(Interrupted.outer.__code__, Interrupted(), sys._getframe())


def test_a_step_of_an_attempt_that_has_not_begun_has_the_whole_timeout() -> None:
    attempts = DialAttempts(Plan(b"example.com", 80, None), 5.0, DeadlineMath(3.0, 100.0))
    attempts._is_fresh = False  # as after an interrupt
    assert attempts.next_call(101.0).arguments["timeout"] == 2.0


@pytest.mark.parametrize("operation", ["hand_back", "discard"])
def test_giving_back_repairs_what_an_interrupt_left(operation: str) -> None:
    scheduler = Scheduler(max_connections=1)
    owner: Any = SimpleNamespace(slot=None, aborted=False)
    scheduler.acquire(Route(b"http", b"example.com", 80), owner, 1.0)
    scheduler._mutating = True  # an operation was interrupted before its last act
    getattr(scheduler, operation)(owner, 2.0)
    scheduler.check()
    assert not scheduler._mutating and owner.slot is None


def test_a_waiter_that_does_not_sleep_yet_needs_no_waking() -> None:
    waiter: Any = Waiter.__new__(Waiter)
    waiter.event = None
    _wake(waiter)


# -- HTTP/1.1


def test_a_version_that_is_not_http_1() -> None:
    reader = HeadReader(b"GET", [HOST], lenient=True)
    with pytest.raises(httpcore.RemoteProtocolError):
        reader.feed(b"HTTP/2.0 200 OK\r\n\r\n")


def test_a_head_of_which_not_even_the_status_can_be_read() -> None:
    reader = HeadReader(b"GET", [HOST], lenient=True)
    with pytest.raises(httpcore.RemoteProtocolError):
        reader.feed(b"nonsense\r\n\r\n")


def test_h11_cannot_read_an_answer_to_what_it_cannot_send() -> None:
    reader = HeadReader(b"GET", [HOST, (b"Connection", b"\0")])
    with pytest.raises(httpcore.LocalProtocolError):
        reader.feed(b"HTTP/1.1 200 OK\r\nFold: a\r\n b\r\n\r\n")


def test_a_field_that_is_no_pair_is_a_mistake_of_the_caller() -> None:
    fields: Any = [HOST, (b"a", 5)]
    with pytest.raises(TypeError):
        encode_request(b"GET", b"/", fields)
