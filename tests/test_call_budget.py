"""How many Python functions one warm request calls.

Owns: the two budgets, and the way of counting. Must not know: time, so this never flakes.

What is counted are `call` events of `sys.setprofile`: functions written in Python that are
entered, generators each time they are resumed. Functions written in C are not; they are shown
beside it. Counted so, one warm GET takes requests 748 calls, httpcore 1.0.9 473, urllib3 299
(give or take five, with the header fields of the answer).
Only the calling thread is seen, so the server may run in this process.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from operator import attrgetter
from types import FrameType
from typing import Any, NamedTuple

import requests

import httpcore
import httpcore_requests
from tests.support.servers import Peer, ScriptedServer
from tests.support.wire import Wire

#: Python calls of `pool.request("GET", url)` on a connection that is open.
CORE_BUDGET = 60
#: Python calls of `adapter.send(prepared)` plus `.content`, likewise.
ADAPTER_BUDGET = 170
#: Of the Python calls of `pool.request("GET", url)` over HTTP/2, likewise, those of functions of
#: this package: what h2 and hpack do is not ours to count.
HTTP2_BUDGET = 92

#: Requests before the one that is counted: the connection is opened, caches are filled.
WARM_UP = 3
#: Times that the warm request is counted; the smallest count is free of chance events such as
#: a weak reference that dies just then.
REPEATS = 5

Serve = Callable[..., ScriptedServer]

BODY = b"Hello, world!"
#: The fields that nginx sends with a small answer.
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 01 Jan 2030 00:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 13\r\nConnection: keep-alive\r\n\r\n" + BODY
)


class Calls(NamedTuple):
    """What one call of an action led to: entered Python functions by name, and C functions."""

    python: Counter[str]
    c: int

    def __str__(self) -> str:
        rows = [f"{count:5} {name}" for name, count in self.python.most_common()]
        return "\n".join([f"{self.python.total()} Python calls, {self.c} C calls:", *rows])


def count_once(action: Callable[[], object]) -> Calls:
    python: Counter[str] = Counter()
    c = 0

    def see(frame: FrameType, event: str, _: Any) -> None:
        nonlocal c
        if event == "call":
            code = frame.f_code
            python[f"{code.co_filename}:{code.co_firstlineno} {code.co_name}"] += 1
        elif event == "c_call":
            c += 1

    previous = sys.getprofile()
    sys.setprofile(see)
    try:
        action()
    finally:
        sys.setprofile(previous)
    return Calls(python, c - 1)  # less the `setprofile` that ended it


def count(action: Callable[[], object]) -> Calls:
    """The calls of `action` once it is warm."""
    for _ in range(WARM_UP):
        action()
    gc.disable()
    try:
        return min((count_once(action) for _ in range(REPEATS)), key=lambda c: c.python.total())
    finally:
        gc.enable()


def answer(peer: Peer) -> None:
    while peer.recv_head() is not None:
        peer.send(ANSWER)


def test_what_is_counted() -> None:
    def inner() -> list[int]:
        return sorted([2, 1])

    def outer() -> None:
        inner()
        inner()

    calls = count(outer)
    assert calls.python.total() == 3
    assert calls.c == 2


def test_a_warm_core_get(serve: Serve) -> None:
    server = serve(answer)
    with httpcore.ConnectionPool() as pool:
        request = partial(pool.request, "GET", server.url)
        assert request().content == BODY
        calls = count(request)
    assert server.accepted == 1
    assert calls.python.total() <= CORE_BUDGET, calls


def test_a_warm_adapter_send_and_content(serve: Serve) -> None:
    server = serve(answer)
    prepared = requests.Session().prepare_request(requests.Request("GET", server.url))
    get_content = attrgetter("content")
    with closing(httpcore_requests.HTTPAdapter()) as adapter:
        send = partial(adapter.send, prepared)
        assert send().content == BODY
        calls = count(lambda: get_content(send()))
    assert server.accepted == 1
    # One of them is the lambda.
    assert calls.python.total() - 1 <= ADAPTER_BUDGET, calls


class OneWire(httpcore.NetworkBackend):
    """Opens this stream, whose server is in this process; it is not counted."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return self.wire


def test_a_warm_http2_get() -> None:
    folder = os.path.dirname(httpcore.__file__) + os.sep
    wire = Wire(lambda wire, number: wire.respond(number, BODY))
    backend = OneWire(wire)
    with httpcore.ConnectionPool(http1=False, http2=True, network_backend=backend) as pool:
        request = partial(pool.request, "GET", "http://example.com/")
        assert request().content == BODY
        calls = count(request)
    assert len(set(wire.opened)) == 1 + WARM_UP + REPEATS
    ours = Counter({name: n for name, n in calls.python.items() if name.startswith(folder)})
    assert ours.total() <= HTTP2_BUDGET, Calls(ours, calls.c)
