"""The state of an HTTP/2 connection and of its requests, without threads, locks and streams.

Owns: `httpcore._core.h2_session`, `h2_exchange`, `h2_upload` and `h2_election`. Must not know: how
anybody waits (that is `shell/test_http2`), frames (`test_h2`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import h2.config
import h2.connection
import h2.settings
import pytest

import httpcore
from httpcore._core.body_state import BodyState
from httpcore._core.deadline import DeadlineMath
from httpcore._core.h2_election import Election
from httpcore._core.h2_exchange import (
    ALL_SENT,
    MORE_TO_SEND,
    TOO_EARLY,
    ExchangeState,
    Wait,
)
from httpcore._core.h2_liveness import Liveness
from httpcore._core.h2_session import ASSUMED_STREAMS, Session
from httpcore._core.h2_upload import CHANGE, LOOK, SEND_PARTS, WAIT, BodyUpload, Script, Step
from httpcore._core.h2_upload import NOW as LOOK_AT_CLOCK
from httpcore._core.limits import ACK_PATIENCE, CONTINUE_PATIENCE
from httpcore._core.prepared import Prepared, prepare
from httpcore._core.upload import CLOSING_PATIENCE
from httpcore.exceptions import Aborted

ORIGIN = httpcore.Origin(b"https", b"example.com", 443)
NOW = 100.0


class Below(httpcore.NetworkStream):
    """Stands for the stream below a session: tests set how many bytes are not acknowledged."""

    unacknowledged: int | None = None
    kept = 0

    def get_extra_info(self, info: str) -> Any:
        return self.unacknowledged if info == "unacknowledged" else None

    def keep_session(self) -> None:
        self.kept += 1


class Peer:
    """The server's end of a session: h2, and no stream between them."""

    def __init__(self, expiry: float | None = None, settled: bool = True, **limits: int) -> None:
        self.session = Session(ORIGIN, Below(), expiry, Liveness(None, 15.0, NOW))
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )
        codes = h2.settings.SettingCodes
        initial = {getattr(codes, name.upper()): value for name, value in limits.items()}
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=initial)
        self.h2.initiate_connection()
        self.events: list[Any] = []
        if settled:
            self.exchange()

    def exchange(self) -> None:
        """Let each side have what the other has written."""
        while data := self.session.codec.data_to_send():
            self.events += self.h2.receive_data(data)
        if data := self.h2.data_to_send():
            self.session.receive(data, NOW)

    def open(self, prepared: Prepared | None = None, now: float = NOW) -> ExchangeState:
        prepared = prepared or get()
        exchange = ExchangeState(self.session, prepared)
        exchange.open(prepared, fields(self.session, prepared), now)
        return exchange

    def head(self, exchange: ExchangeState, status: int = 200, end: bool = False) -> None:
        assert exchange.stream is not None
        self.h2.send_headers(exchange.stream.id, [(b":status", b"%d" % status)], end_stream=end)

    def names(self) -> list[str]:
        """The kinds of what the server has seen since it was asked last."""
        self.exchange()
        seen = [type(event).__name__ for event in self.events]
        self.events.clear()
        return seen


def get(method: str = "GET", content: Any = None, **headers: str) -> Prepared:
    lines = [("Host", "example.com"), *headers.items()]
    if isinstance(content, bytes):
        lines.append(("Content-Length", str(len(content))))
    elif content is not None:
        lines.append(("Transfer-Encoding", "chunked"))
    url = "https://example.com/path"
    return prepare(httpcore.Request(method, url, headers=lines, content=content))


def fields(session: Session, prepared: Prepared) -> Any:
    request = prepared.request
    return session.request_fields(
        request.method, request.url.scheme, request.url.target, request.headers
    )


# --- opening streams ---


def test_a_request_leaves_in_one_step() -> None:
    peer = Peer()
    prepared = get()
    exchange = ExchangeState(peer.session, prepared)
    assert exchange.open(prepared, fields(peer.session, prepared), NOW) == ALL_SENT
    assert peer.session.exchanges == {exchange: None}
    assert (peer.session.request_count, exchange.reused) == (1, False)
    assert peer.open().reused
    assert "RequestReceived" in peer.names()


@pytest.mark.parametrize(
    ("prepared", "outcome"),
    [
        (get("POST", b"body"), ALL_SENT),
        (get("POST", b""), ALL_SENT),
        (get("POST", bytes(70_000)), MORE_TO_SEND),  # more than the window
        (get("POST", b"body", Expect="100-continue"), MORE_TO_SEND),
        (get("POST", iter([b"body"])), MORE_TO_SEND),
    ],
)
def test_a_small_body_leaves_with_the_head(prepared: Prepared, outcome: str) -> None:
    peer = Peer()
    exchange = ExchangeState(peer.session, prepared)
    assert exchange.open(prepared, fields(peer.session, prepared), NOW) == outcome


def test_there_is_one_stream_until_the_server_says_how_many() -> None:
    peer = Peer(settled=False)
    first = peer.open()
    assert peer.session.max_streams == ASSUMED_STREAMS
    second = ExchangeState(peer.session, get())
    assert not second.is_settled()
    assert second.open(get(), fields(peer.session, get()), NOW) == TOO_EARLY
    assert second.stream is None and peer.session.exchanges == {first: None}
    peer.exchange()
    assert second.is_settled()
    assert second.open(get(), fields(peer.session, get()), NOW) == ALL_SENT


def close(session: Session) -> None:
    session.closed = True


@pytest.mark.parametrize(
    ("prevent", "error", "text"),
    [
        (Session.abort_all, httpcore.ReadError, "aborted before it was sent"),
        (close, httpcore.ConnectionNotAvailable, "is closed"),
        (lambda session: session.codec.drain("enough"), httpcore.ConnectionNotAvailable, "enough"),
    ],
)
def test_what_keeps_a_request_from_being_sent(prevent: Any, error: Any, text: str) -> None:
    peer = Peer()
    prevent(peer.session)
    with pytest.raises(error, match=text) as caught:
        peer.open()
    assert peer.session.request_count == 0
    assert getattr(caught.value, "phase", "not_sent") == "not_sent"
    assert peer.session.is_draining and not peer.session.is_available()


def test_an_interrupt_while_a_stream_is_opened_breaks_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = Peer()
    monkeypatch.setattr(peer.session.codec, "send_window", lambda stream: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        peer.open(get("POST", b"body"))
    assert "interrupted" in peer.session.codec.draining


# --- who is woken ---


def test_those_are_woken_that_something_came_for() -> None:
    peer = Peer()
    session = peer.session
    first, second = peer.open(), peer.open()
    peer.exchange()
    session.codec.widened = False
    session.codec.touched.clear()
    session.sleepers = {first: "first", second: "second"}
    peer.head(second)
    peer.exchange()
    session.dispatch()
    assert session.ringing == ["second"]
    assert (first.called, second.called) == (False, True)
    assert list(session.sleepers) == [first]


def test_all_are_woken_where_more_may_be_sent() -> None:
    peer = Peer()
    session = peer.session
    first, second = peer.open(), peer.open()
    session.sleepers = {first: "first", second: "second"}
    session.codec.widened = True
    session.dispatch()
    assert session.ringing == ["first", "second"] and not session.sleepers
    assert not first.called and not session.codec.widened


def test_one_is_woken_to_read_on() -> None:
    session = Peer().session
    session.call_one()
    assert session.ringing == []
    one, other = ExchangeState(session, get()), ExchangeState(session, get())
    session.sleepers = {one: 1, other: 2}
    session.call_one()
    assert session.ringing == [1]
    assert not session.call(one)
    assert session.call(other)


def test_one_reads_at_a_time() -> None:
    election, one, other = Election(), object(), object()
    assert not election.must_wake_to_write()
    assert election.enter(one, 7, True)
    assert not election.enter(other, 8, False)
    assert (election.reader, election.thread) == (one, 7)
    assert election.must_wake_to_write()
    assert not election.must_wake_to_write(), "it waits for room already"
    election.resign(other)
    assert election.reader is one
    election.resign(one)
    assert election.enter(other, 8, False)
    assert not election.must_wake_to_write()


def test_changes_are_reported_once() -> None:
    session = Peer().session
    seen: list[int] = []
    session.report_changes()  # nobody listens
    session.on_change = lambda: seen.append(session.max_streams)
    session.codec.drain("enough")
    assert session.codec.changes != session.changes_reported
    session.report_changes()
    assert session.codec.changes == session.changes_reported
    assert seen == [0]


# --- writing ---


def test_what_the_network_does_not_take_goes_first() -> None:
    session = Peer().session
    session.codec.data_to_send()
    session.codec.out.append(b"later")
    rest = session.took(b"abcdef", 2)
    assert (bytes(rest), session.parts_taken) == (b"cdef", 1)
    session.keep(rest)
    assert session.unsent == b"cdef" and session.times_emptied == 0
    assert session.took(rest, 4) == b"later"
    assert session.parts_taken == 2
    assert session.took(b"later", 5) == b""
    session.codec.widened = False
    session.keep(b"")
    assert (session.unsent, session.times_emptied, session.codec.widened) == (b"", 1, True)


@pytest.mark.parametrize(("partly", "phase"), [(False, "not_sent"), (True, "maybe_processed")])
def test_a_connection_that_cannot_be_written_to(partly: bool, phase: str) -> None:
    peer = Peer()
    session = peer.session
    exchange = peer.open()
    error = httpcore.WriteError("broken pipe")
    error.phase = "not_sent"
    session.unsent = b"x"
    session.fail_to_write(error, partly)
    assert session.write_error is not None and session.write_error.phase == phase
    session.fail_to_write(httpcore.WriteError("again"), False)
    assert str(session.write_error) == "broken pipe", "the first one says why"
    assert session.unsent == b"" and session.is_draining
    assert exchange.is_useless()
    session.receive(b"", NOW)
    failure = exchange.failure()
    assert isinstance(failure, httpcore.WriteError)
    assert failure.phase == "maybe_processed"
    assert str(failure) == "broken pipe (GET /path)"
    assert failure.__cause__ is session.write_error


def test_a_write_that_took_too_long_is_a_timeout() -> None:
    session = Peer().session
    error = httpcore.WriteError("slow")
    error.__cause__ = httpcore.WriteTimeout("slow")
    explained = ExchangeState(session, get()).explain_write_error(error, "maybe_processed")
    assert isinstance(explained, httpcore.WriteTimeout)


# --- timeouts ---


def test_a_late_response_is_followed_by_a_ping() -> None:
    peer = Peer()
    exchange = peer.open()
    error = peer.session.time_out(exchange, 5.0, False, NOW)
    assert isinstance(error, httpcore.ReadTimeout)
    assert "no byte of the response within 5 s" in str(error)
    assert not peer.session.is_available() and peer.session.max_streams == 0
    assert "PingReceived" in peer.names()
    peer.exchange()
    assert peer.session.is_available()


@pytest.mark.parametrize(
    ("unsent", "asks", "why", "pings"),
    [(b"x", False, "no byte taken", True), (b"", True, "has opened no window", False)],
)
def test_an_upload_that_is_not_taken(unsent: bytes, asks: bool, why: str, pings: bool) -> None:
    peer = Peer()
    exchange = peer.open(get("POST", bytes(70_000)))
    exchange.asks = asks
    if not asks:
        exchange.queued = peer.session.times_emptied
    else:
        peer.session.keep(b"")
    peer.session.unsent = unsent
    error = peer.session.time_out(exchange, 5.0, True, NOW)
    assert isinstance(error, httpcore.WriteTimeout)
    assert why in str(error)
    assert (peer.session.liveness.pinged is not None) is pings


def test_progress_of_an_upload() -> None:
    peer = Peer()
    session = peer.session
    exchange = peer.open(get("POST", bytes(70_000)))
    wait = Wait(exchange, 5.0, True, NOW)
    later = NOW

    def was_made() -> bool:
        """Whether the wait has its whole time again, when most of that is over."""
        nonlocal later
        later += 4.0
        left = wait.next(later, 100.0, reads=False)
        if left == 5.0:
            return True
        assert left == 1.0
        later -= 4.0
        return False

    assert not was_made()
    session.parts_taken += 1
    assert was_made() and not was_made()
    session.keep(b"")  # all of it has left; the window is open
    assert not exchange.waits_for_server
    exchange.asks = True
    assert exchange.waits_for_server
    assert not was_made()
    session.parts_taken += 1
    assert not was_made(), "what others send is none while it waits for the server"
    exchange.asks = False
    assert was_made()


# --- silence ---


def doubted(unacknowledged: int | None) -> Peer:
    """The path was silent for long, and a request was sent at NOW."""
    peer = Peer()
    peer.session.network_stream.unacknowledged = unacknowledged
    peer.session.liveness.unproven = True
    peer.open()
    return peer


def test_what_is_not_acknowledged_ends_the_session() -> None:
    session = doubted(5).session
    session.act_on_silence(0.0, NOW + ACK_PATIENCE)
    assert session.is_closed()
    assert "has not acknowledged" in session.codec.draining


def test_what_another_request_sent_is_followed_by_a_ping() -> None:
    peer = doubted(5)
    peer.open()
    peer.session.act_on_silence(0.0, NOW + ACK_PATIENCE)
    assert not peer.session.is_closed() and not peer.session.is_available()
    assert "PingReceived" in peer.names()


@pytest.mark.parametrize("unacknowledged", [0, None])
def test_what_is_acknowledged_proves_the_path(unacknowledged: int | None) -> None:
    session = doubted(unacknowledged).session
    session.act_on_silence(1.0, NOW + ACK_PATIENCE - 1.0)  # a second was not counted
    assert session.is_available() and not session.liveness.watched


# --- the response ---


def test_a_response_and_its_body() -> None:
    peer = Peer()
    exchange = peer.open()
    peer.exchange()
    peer.head(exchange, 204, end=True)
    peer.exchange()
    body = BodyState(None, exchange.request)
    response = exchange.respond(body, 5.0)
    assert response.status == 204
    assert response.extensions["network_stream"] is peer.session.network_stream
    assert response.extensions["connection"] is peer.session.facts
    assert (body.reader, body.timeout, body.reusable) == (exchange.stream, 5.0, True)
    assert body.upload is None


def test_a_response_whose_request_is_still_being_sent() -> None:
    driver = Driver(Peer(), [b"one", b"two"])
    driver.answer(200)
    driver.exchange.upload = driver.upload
    body = BodyState(None, driver.exchange.request)
    driver.exchange.respond(body, None)
    assert body.upload is driver.exchange and not body.reusable


def test_what_is_raised_for_a_failure() -> None:
    peer = Peer()
    exchange = peer.open()
    body = BodyState(None, exchange.request)
    body.source = exchange
    full = httpcore.ConnectionNotAvailable("full")
    exchange.aborted = True
    assert exchange.explain(full, body, NOW) is full
    late = httpcore.ReadTimeout("read timed out within 5 s")
    assert isinstance(exchange.explain(late, body, NOW), Aborted)
    exchange.aborted = False
    assert exchange.explain(late, body, NOW) is late
    exchange.deadline = DeadlineMath(1.0, NOW - 1.0)
    exchange.explain(late, body, NOW)
    assert str(late).startswith("total of 1 s is over")
    body.source = None  # there is no connection here that could learn of its end


def test_the_time_of_a_request() -> None:
    exchange = ExchangeState(Peer().session, get())
    assert (exchange.left(5.0, NOW), exchange.left(None, NOW)) == (5.0, None)
    exchange.deadline = DeadlineMath(3.0, NOW)
    assert exchange.left(5.0, NOW + 1.0) == 2.0


@pytest.mark.parametrize(
    ("timeout", "reads", "seconds"),
    [(None, True, None), (None, False, 2.0), (1.5, True, 1.5), (1.5, False, 1.5), (9.0, True, 2.0)],
)
def test_the_parts_of_a_wait(timeout: float | None, reads: bool, seconds: float | None) -> None:
    """The reader of a quiet connection may wait for ever; others look again."""
    wait = Wait(ExchangeState(Peer().session, get()), timeout, False, NOW)
    assert wait.next(NOW, 2.0, reads) == seconds


def test_a_wait_that_is_over() -> None:
    exchange = ExchangeState(Peer().session, get())
    exchange.deadline = DeadlineMath(3.0, NOW)
    wait = Wait(exchange, 5.0, False, NOW)
    assert wait.next(NOW, 2.0, reads=True) == 2.0
    wait.came_back_empty(NOW + 0.5)
    assert wait.missed == 1.5, "the clock has counted half a second"
    assert exchange.left(None, NOW + 0.5) == 1.0
    assert wait.next(NOW + 0.5, 2.0, reads=True) == 1.0
    with pytest.raises(httpcore.ReadTimeout, match="no byte of the response within 3 s"):
        wait.next(NOW + 1.5, 2.0, reads=True)


def test_a_wait_without_an_end() -> None:
    wait = Wait(ExchangeState(Peer().session, get()), None, False, NOW)
    wait.next(NOW, 2.0, reads=True)
    wait.came_back_empty(NOW)
    assert wait.missed == 0.0


# --- the end ---


def test_the_tls_session_is_kept() -> None:
    session = Peer().session
    session.keep_session()
    assert session.network_stream.kept == 1
    session.network_stream = None  # one that keeps none
    session.keep_session()


@pytest.mark.parametrize(("now", "expired"), [(NOW + 4.9, False), (NOW + 5.0, True)])
def test_it_has_expired_when_idle_for_long(now: float, expired: bool) -> None:
    peer = Peer(expiry=5.0)
    exchange = peer.open()
    assert not peer.session.has_expired_at(1e9)
    exchange.leave(False, NOW)
    assert peer.session.has_expired_at(now) is expired


def test_a_request_that_ends_in_order_leaves_nothing_to_send() -> None:
    peer = Peer(expiry=5.0)
    exchange = peer.open()
    peer.exchange()
    peer.head(exchange, end=True)
    peer.exchange()
    assert exchange.has_news() and exchange.has_payload()
    peer.names()
    assert not exchange.leave(True, NOW)
    assert peer.names() == []
    assert peer.session.is_idle() and peer.session.expires == NOW + 5.0
    assert exchange.stream is not None and exchange.stream.owner is None


def test_a_request_that_ends_early_resets_its_stream() -> None:
    peer = Peer()
    exchange, other = peer.open(), peer.open()
    peer.names()
    assert exchange.leave(False, NOW), "the reader may be waiting for it"
    assert peer.names() == ["StreamReset"]
    assert isinstance(exchange.failure(), httpcore.ReadError)
    assert "GET /path was closed" in str(exchange.failure())
    assert peer.session.exchanges == {other: None}
    peer.session.sleepers = {other: "other"}
    assert not other.leave(False, NOW)
    assert peer.session.ringing == ["other"]


@pytest.mark.parametrize(
    ("earlier", "seconds", "asked"),
    [
        (0.0, ACK_PATIENCE, True),
        (0.0, ACK_PATIENCE - 0.1, False),
        (ACK_PATIENCE, 0.1, True),  # another before it was given up sooner than that
    ],
    ids=["silence", "too soon", "one after the other"],
)
def test_a_request_that_is_given_up_after_silence_is_followed_by_a_ping(
    earlier: float, seconds: float, asked: bool
) -> None:
    """A program may know no timeouts but those of its event loop, and the server may hang."""
    peer = Peer()
    if earlier:
        peer.open().leave(False, NOW + 0.1)
    exchange = peer.open(now=NOW + earlier)
    peer.session.codec.data_to_send()
    exchange.leave(False, NOW + earlier + seconds)
    assert (b"httpcore" in peer.session.codec.data_to_send()) == asked
    assert peer.session.is_available() == (not asked)


def test_a_request_that_is_given_up_where_others_are_answered_is_followed_by_no_ping() -> None:
    peer = Peer()
    exchange, other = peer.open(), peer.open()
    peer.exchange()
    peer.head(other, end=True)
    peer.exchange()
    exchange.leave(False, NOW + ACK_PATIENCE)
    assert "PingReceived" not in peer.names()


def test_a_request_that_never_got_a_stream() -> None:
    peer = Peer(expiry=5.0)
    exchange = ExchangeState(peer.session, get())
    assert not exchange.leave(False, NOW)
    assert peer.session.expires is None, "it was none of the connection's"
    assert "ended by a close or a CancelToken" in str(exchange.failure())


def test_requests_that_the_collector_dropped() -> None:
    peer = Peer()
    dropped = peer.open()
    peer.names()
    peer.session.discarded.append(dropped)
    peer.open()
    assert peer.names() == ["StreamReset", "RequestReceived", "StreamEnded"]
    assert not peer.session.discarded and len(peer.session.exchanges) == 1


def test_everything_is_aborted() -> None:
    peer = Peer()
    exchange = peer.open()
    peer.session.abort_all()
    assert exchange.aborted and exchange.is_useless()
    assert "was ended by a close or a CancelToken" in str(exchange.failure())


def test_a_session_that_is_lost() -> None:
    peer = Peer()
    exchange = peer.open()
    peer.session.sleepers = {exchange: "bell"}
    peer.session.lose("the connection is dead")
    assert peer.session.is_closed() and peer.session.ringing == ["bell"]
    assert "the connection is dead (GET /path was under way)" in str(exchange.failure())


def test_a_session_in_the_child_of_a_fork() -> None:
    """Also what has arrived whole is the parent's."""
    peer = Peer()
    exchange = peer.open()
    peer.exchange()
    peer.head(exchange, end=True)
    peer.exchange()
    peer.session.sleepers = {exchange: "bell"}
    why = peer.session.disown()
    assert "belongs to the parent process" in why
    assert str(exchange.failure()) == f"{why} (GET /path)"
    assert not peer.session.sleepers, "their threads are not in the child"
    assert exchange.stream is not None and not exchange.stream.ended


@pytest.mark.parametrize(("limit", "avoided"), [(1, False), (2, True)])
def test_a_refusal_that_was_not_for_too_many(limit: int, avoided: bool) -> None:
    peer = Peer(max_concurrent_streams=limit)
    peer.open()
    peer.session.be_refused(httpcore.RemoteProtocolError("refused"))
    assert peer.session.is_draining is avoided


def test_what_it_says_about_itself() -> None:
    peer = Peer(max_concurrent_streams=7)
    session = peer.session
    assert session.can_handle_request(ORIGIN)
    assert session.info() == "'https://example.com:443', HTTP/2, IDLE, Request Count: 0"
    assert (session.serving, session.since, session.open_streams) == (None, None, 0)
    exchange = peer.open()
    exchange.since = 3.0
    assert repr(session) == "<Session ['https://example.com:443', ACTIVE, Request Count: 1]>"
    assert (session.serving, session.since) == (exchange.request, 3.0)
    assert (session.open_streams, session.max_streams) == (1, 7)
    session.lose("")
    assert session.state == "CLOSED"


def test_reading_that_is_interrupted() -> None:
    peer = Peer()
    exchange = peer.open()
    peer.session.break_off_reading(KeyboardInterrupt())
    assert "was interrupted: KeyboardInterrupt()" in str(exchange.failure())


# --- uploads ---


NEXT_PART = "next part"  # a part of SEND_PARTS


class Driver:
    """Carries out the steps of an upload, and notes them. What is to happen during a wait is
    given by step: an exception is raised there, anything else is called."""

    def __init__(self, peer: Peer, content: Iterable[bytes], **headers: str) -> None:
        self.peer = peer
        self.parts: Iterator[bytes] = iter(content)
        self.steps: list[str] = []
        prepared = get("POST", iter([b"framed by the driver"]), **headers)
        self.exchange = peer.open(prepared)
        self.upload = BodyUpload(self.exchange, prepared, self.parts)
        peer.exchange()
        peer.session.keep(b"")

    def run(self, script: Script, **during: Any) -> list[str]:
        steps: list[str] = []
        result: Any = None
        try:
            step = next(script)
            while True:
                try:
                    if step.action == SEND_PARTS:
                        result = self.send_parts(step, steps, during.get("wait"))
                    elif step.action == CHANGE:
                        steps.append(CHANGE)
                        result = self.change(step)
                    elif step.action == LOOK_AT_CLOCK:
                        steps.append(LOOK_AT_CLOCK)
                        result = NOW
                    elif step.action == LOOK:
                        steps.append(LOOK)
                        during.get("look", bool)()
                    else:
                        steps.append(WAIT)
                        self.wait(step, during.get("wait"))
                except Exception as exc:
                    step = script.throw(exc)
                else:
                    step = script.send(result)
        except StopIteration:
            return steps

    def send_parts(self, step: Step, steps: list[str], happens: Any) -> None:
        upload = self.upload
        while True:
            if upload.wants_part:
                steps.append(NEXT_PART)
                upload.put(next(self.parts, None))
            steps.append(CHANGE)
            if self.change(Step(CHANGE, upload.send_some)):
                steps.append(WAIT)
                self.wait(Step(WAIT, upload.is_ready, step.timeout), happens)
            if not upload.goes_on():
                return

    def wait(self, step: Step, happens: Any) -> None:
        if isinstance(happens, Exception):
            raise happens
        if happens is not None:
            happens(step)
        if not step.call():
            raise httpcore.WriteTimeout("nothing happened")

    def change(self, step: Step) -> Any:
        result = step.call()
        self.peer.exchange()
        self.peer.session.keep(b"")
        return result

    def answer(self, status: int, end: bool = False) -> None:
        self.peer.head(self.exchange, status, end)
        self.peer.exchange()


def test_a_body_is_sent_part_by_part() -> None:
    peer = Peer()
    driver = Driver(peer, [b"one", b"", b"two"])
    part = [NEXT_PART, CHANGE, WAIT]
    assert driver.run(driver.upload.begin()) == [*part, *part, LOOK, *part, NEXT_PART, CHANGE]
    names = peer.names()
    assert names.count("DataReceived") == 3 and "StreamEnded" in names  # the last is empty
    assert not driver.upload.continue_by_reading()
    assert driver.run(driver.upload.send_while_reading(None)) == []


def test_the_connection_is_looked_at_after_an_empty_part() -> None:
    driver = Driver(Peer(), [b"one", b"", b"never asked for"])
    part = [NEXT_PART, CHANGE, WAIT]
    steps = driver.run(driver.upload.begin(), look=lambda: driver.answer(413, end=True))
    assert steps == [*part, *part, LOOK, CHANGE]
    assert next(driver.parts) == b"never asked for"
    assert not driver.upload.continue_by_reading()


def test_the_connection_is_looked_at_after_an_empty_part_while_the_answer_is_read() -> None:
    driver = Driver(Peer(), [b"", b"never asked for"])
    driver.answer(413)
    assert driver.upload.continue_by_reading()

    def arrive() -> None:
        stream = driver.exchange.stream
        assert stream is not None
        driver.peer.h2.send_data(stream.id, b"no")
        driver.peer.exchange()

    steps = driver.run(driver.upload.send_while_reading(None), look=arrive)
    assert steps == [NEXT_PART, CHANGE, WAIT, LOOK]
    assert next(driver.parts) == b"never asked for"


def test_a_part_is_of_no_use_once_the_whole_answer_has_refused_it() -> None:
    driver = Driver(Peer(), [])
    assert driver.upload.is_wanted()
    driver.answer(413)
    assert driver.upload.is_wanted()  # else it would have to go on elsewhere
    assert driver.exchange.stream is not None
    driver.peer.h2.end_stream(driver.exchange.stream.id)
    driver.peer.exchange()
    assert not driver.upload.is_wanted()


@pytest.mark.parametrize("handed_over", [False, True])
def test_the_total_of_a_body_that_has_nothing_to_give(handed_over: bool) -> None:
    driver = Driver(Peer(), itertools.repeat(b""))
    driver.exchange.deadline = deadline = DeadlineMath(2.0, NOW - 1.0)
    looks: list[None] = []

    def look() -> None:
        looks.append(None)
        if len(looks) == 3:
            deadline.at = NOW

    script = driver.upload.begin()
    if handed_over:
        driver.answer(413)
        assert driver.upload.continue_by_reading()
        script = driver.upload.send_while_reading(5.0)
    error = httpcore.WriteTimeout if not handed_over else httpcore.TimeoutException
    with pytest.raises(error, match=r"^total of 2 s is over: the body of POST /path"):
        driver.run(script, look=look)
    assert len(looks) == 3


def test_leave_to_send_is_asked_for() -> None:
    seen: list[float | None] = []
    driver = Driver(Peer(), [], Expect="100-continue")
    steps = driver.run(driver.upload.begin(), wait=lambda step: seen.append(step.timeout))
    assert steps == [WAIT, NEXT_PART, CHANGE]
    assert seen == [CONTINUE_PATIENCE]


def test_the_answer_came_in_place_of_the_leave() -> None:
    """The body is not sent, unless reading the answer shows that the server waits for it."""
    driver = Driver(Peer(), [b"one"], Expect="100-continue")
    steps = driver.run(driver.upload.begin(), wait=lambda step: driver.answer(413))
    assert steps == [WAIT]
    assert driver.upload.continue_by_reading()
    seen: list[float | None] = []
    steps = driver.run(
        driver.upload.send_while_reading(None), wait=lambda step: seen.append(step.timeout)
    )
    assert steps == [WAIT, NEXT_PART, CHANGE, WAIT, NEXT_PART, CHANGE]
    assert seen == [CLOSING_PATIENCE, None]


@pytest.mark.parametrize(("total", "passes"), [(0.5, True), (5.0, False)])
def test_the_total_ends_while_nothing_is_sent(total: float, passes: bool) -> None:
    """That the wait for leave to send takes its time is no failure, that the total does is one."""
    driver = Driver(Peer(), [], Expect="100-continue")
    driver.exchange.deadline = DeadlineMath(total, NOW - 1.0)
    if passes:
        with pytest.raises(httpcore.WriteTimeout):
            driver.run(driver.upload.begin())
    else:
        steps = driver.run(driver.upload.begin())
        assert steps == [WAIT, LOOK_AT_CLOCK, NEXT_PART, CHANGE]
    assert not driver.exchange.asks


def test_a_whole_answer_ends_the_upload() -> None:
    peer = Peer()
    driver = Driver(peer, [b"one", b"two"])
    steps = driver.run(driver.upload.begin(), wait=lambda step: driver.answer(413, end=True))
    assert steps == [NEXT_PART, CHANGE, WAIT, CHANGE]
    assert not driver.upload.continue_by_reading()


def test_the_server_takes_nothing_more() -> None:
    driver = Driver(Peer(), [b"one"])
    with pytest.raises(httpcore.WriteTimeout, match="nothing"):
        driver.run(driver.upload.begin(), wait=httpcore.WriteTimeout("nothing"))


def test_neither_side_moves_while_the_answer_is_read() -> None:
    driver = Driver(Peer(), [b"one", b"two"])
    driver.answer(200)
    assert driver.upload.continue_by_reading()
    with pytest.raises(httpcore.ReadTimeout, match="nor did a byte of the response to POST /path"):
        driver.run(driver.upload.send_while_reading(3.0), wait=httpcore.WriteTimeout("nothing"))


def test_a_body_that_breaks_its_promise() -> None:
    def parts() -> Iterator[bytes]:
        raise httpcore.LocalProtocolError("too short")
        yield b""

    driver = Driver(Peer(), parts())
    with pytest.raises(httpcore.LocalProtocolError) as caught:
        driver.run(driver.upload.begin())
    assert caught.value.phase == "maybe_processed"


def test_the_rest_of_the_head_goes_first() -> None:
    """Where it has the whole body with it, that is all."""
    peer = Peer()
    exchange = peer.open(get("POST", b"body"))
    peer.session.unsent = b"x"
    upload = BodyUpload(exchange, get("POST", b"body"), iter([]))
    script = upload.begin()
    step = next(script)
    assert step.action == WAIT and not step.call()
    peer.session.keep(b"")
    assert step.call()
    with pytest.raises(StopIteration):
        script.send(None)
    assert not upload.continue_by_reading()


def test_a_closed_window_stops_the_upload_for_a_while() -> None:
    peer = Peer(initial_window_size=2)
    driver = Driver(peer, [b"abcd"])
    exchange = driver.exchange

    def open_window(step: Any) -> None:
        if not step.call():
            assert exchange.waits_for_server and not exchange.may_send()
            assert exchange.stream is not None
            peer.h2.increment_flow_control_window(2, exchange.stream.id)
            peer.exchange()
            assert exchange.may_send()

    steps = driver.run(driver.upload.begin(), wait=open_window)
    assert steps == [NEXT_PART, CHANGE, WAIT, CHANGE, WAIT, NEXT_PART, CHANGE]


def test_an_exchange_that_was_aborted_sends_no_more() -> None:
    driver = Driver(Peer(), [b"one", b"two"])
    driver.exchange.aborted = True
    assert driver.exchange.send_part(b"one", 0, end=False) == -1
    assert driver.run(driver.upload.begin()) == [CHANGE]
