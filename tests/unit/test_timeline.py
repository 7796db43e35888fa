"""The phases of a request, by events and a clock that the tests make.

Owns: which event begins and ends which phase. Must not know: which events a pool sends
(shell/test_timeline.py).
"""

from __future__ import annotations

from typing import Any

import pytest

import httpcore
from httpcore.exceptions import NameResolutionError

GET = httpcore.Request("GET", "http://example.com/")
CONNECT = httpcore.Request("CONNECT", "http://proxy/")


class Stream:
    """One that knows where it leads and how long the look-up took."""

    def __init__(self, **facts: Any) -> None:
        self.get_extra_info = {"server_addr": ("192.0.2.1", 80), **facts}.get


def play(
    *events: tuple[str, dict[str, Any]],
    proxied: bool = False,
    on: httpcore.Timeline | None = None,
) -> httpcore.Timeline:
    """Return the timeline of these events, one a second; `on` has those before them."""
    timeline = on or httpcore.Timeline(proxied, iter(range(100)).__next__)
    for name, details in events:
        timeline(name, details)
    return timeline


def opening(step: str, **facts: Any) -> list[tuple[str, dict[str, Any]]]:
    """The events of one step of opening a connection."""
    return [
        (f"connection.{step}.started", {"host": "example.com"}),
        (f"connection.{step}.complete", {"return_value": Stream(**facts)}),
    ]


EXCHANGE = [
    ("http11.send_request_headers.started", {"request": GET}),
    ("http11.send_request_headers.complete", {"request": GET}),
    ("http11.send_request_body.started", {"request": GET}),
    ("http11.send_request_body.complete", {"request": GET}),
    ("http11.receive_response_headers.started", {"request": GET}),
    ("http11.receive_response_headers.complete", {"request": GET}),
    ("http11.receive_response_body.started", {"request": GET}),
    ("http11.receive_response_body.complete", {"request": GET}),
]


def test_a_whole_request() -> None:
    timeline = play(*opening("connect_tcp"), *opening("start_tls"), *EXCHANGE)
    assert timeline.phases == [
        *(("connect", 0, 1), ("tls", 2, 3)),
        *(("send", 4, 7), ("wait", 7, 9), ("receive", 9, 11)),
    ]
    assert (timeline.attempts, timeline.opened, timeline.last) == (1, 1, 11)
    assert timeline.connection is not None
    assert timeline.connection.remote_address == ("192.0.2.1", 80)
    assert repr(timeline).startswith("<Timeline [connect 1e+03 ms, tls 1e+03 ms, send 3e+03 ms, ")


def test_the_look_up_is_a_part_of_connecting() -> None:
    timeline = play(*opening("connect_tcp", lookup_time=0.25))
    assert timeline.phases == [("dns", 0, 0.25), ("connect", 0.25, 1)]


def test_what_is_an_address_is_not_looked_up() -> None:
    facts = {"lookup_time": 0.25, "server_addr": ("example.com", 80)}
    assert play(*opening("connect_tcp", **facts)).phases == [("connect", 0, 1)]


def test_a_stream_that_does_not_know_its_address() -> None:
    """The hook raises nothing: that would end the request."""
    facts = {"lookup_time": 0.25, "server_addr": None}
    assert [phase.name for phase in play(*opening("connect_tcp", **facts)).phases] == [
        "dns",
        "connect",
    ]


@pytest.mark.parametrize(
    ("raised", "name"),
    [(NameResolutionError("no"), "dns"), (httpcore.ConnectError("no"), "connect")],
)
def test_attempts_that_fail(raised: Exception, name: str) -> None:
    failed = [
        ("connection.connect_tcp.started", {"host": "example.com"}),
        ("connection.connect_tcp.failed", {"exception": raised}),
        ("connection.retry.started", {"seconds": 1}),
        ("connection.retry.complete", {"seconds": 1}),
    ]
    timeline = play(*failed, *opening("connect_tcp"), *EXCHANGE[:1])
    assert timeline.phases == [(name, 0, 1), ("connect", 4, 5)]
    assert (timeline.attempts, timeline.opened) == (2, 1)


def test_a_tunnel() -> None:
    events = [
        *opening("connect_tcp"),
        *opening("start_tls"),
        ("http11.send_request_headers.started", {"request": CONNECT}),
        ("http11.send_request_body.complete", {"request": CONNECT}),
        ("http11.receive_response_headers.started", {"request": CONNECT}),
        ("http11.receive_response_headers.complete", answer(200)),
        ("proxy.start_tls.started", {}),
        ("proxy.start_tls.complete", {"return_value": Stream()}),
        *EXCHANGE,
    ]
    timeline = play(*events, proxied=True)
    names = [phase.name for phase in timeline.phases]
    assert names == ["connect", "proxy tls", "tunnel", "tls", "send", "wait", "receive"]
    assert timeline.attempts == 1


def answer(status: int) -> dict[str, Any]:
    """The details of the head of a response to CONNECT."""
    return {"return_value": (b"HTTP/1.1", status, b"", [])}


@pytest.mark.parametrize(
    ("event", "details"),
    [
        ("send_request_headers.failed", {"exception": httpcore.WriteError("no")}),
        ("receive_response_headers.failed", {"exception": httpcore.ReadError("no")}),
        ("receive_response_headers.complete", answer(407)),
    ],
)
def test_an_attempt_ends_with_its_tunnel(event: str, details: dict[str, Any]) -> None:
    """What comes later is another attempt."""
    refused = [
        ("http11.send_request_headers.started", {"request": CONNECT}),
        (f"http11.{event}", details),
    ]
    timeline = play(*refused)
    assert (timeline.phases, timeline.attempts) == ([("tunnel", 0, 1)], 1)
    again = play(*refused, *EXCHANGE)
    assert [phase.name for phase in again.phases] == ["tunnel", "send", "wait", "receive"]
    assert again.attempts == 2


@pytest.mark.parametrize("challenges", [0, 1, 3])
@pytest.mark.parametrize("ends", ["tunnel", "refusal", "another connection"])
def test_challenges_that_are_answered(challenges: int, ends: str) -> None:
    """They are part of one attempt, unless that ends with one."""
    asks = ("http11.send_request_headers.started", {"request": CONNECT})
    answered = "http11.receive_response_headers.complete"
    timeline = play(*opening("connect_tcp"), *[asks, (answered, answer(407))] * challenges)
    assert timeline.attempts == (challenges > 0)
    if ends == "another connection":
        if not challenges:
            return
        play(*opening("connect_tcp"), asks, (answered, answer(200)), *EXCHANGE, on=timeline)
        assert (timeline.attempts, timeline.opened) == (2, 2)
    elif ends == "refusal":
        play(asks, (answered, answer(403)), on=timeline)
        assert timeline.attempts == 1
    else:
        play(asks, (answered, answer(200)), *EXCHANGE, on=timeline)
        assert (timeline.attempts, timeline.opened) == (1, 1)


def test_a_dialogue_with_a_socks_proxy() -> None:
    events = [
        ("socks.connect_tcp.started", {"host": "proxy"}),
        ("socks.connect_tcp.complete", {"return_value": Stream()}),
        ("socks.setup_socks5_connection.started", {}),
        ("socks.setup_socks5_connection.complete", {"return_value": None}),
    ]
    assert play(*events).phases == [("connect", 0, 1), ("tunnel", 2, 3)]


def test_an_answer_to_an_upload_that_broke_off() -> None:
    events = [*EXCHANGE[:3], ("http11.send_request_body.failed", {}), *EXCHANGE[4:6]]
    assert play(*events).phases == [("send", 0, 3), ("wait", 3, 5)]


def test_events_of_the_pool_are_no_phases() -> None:
    timeline = play(("pool.enqueue", {"request": GET}), ("pool.assign", {"request": GET}))
    assert (timeline.phases, timeline.last) == ([], None)
    assert repr(timeline) == "<Timeline []>"
