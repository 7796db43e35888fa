"""How many Python functions one warm request calls.

Owns: the budgets. Must not know: time, so this never flakes.

Counted so, one warm GET takes requests 748 calls, httpcore 1.0.9 473, urllib3 299
(give or take five, with the header fields of the answer).
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import closing
from functools import partial
from operator import attrgetter
from typing import Any

import pytest
import requests

import httpcore
import httpcore_requests
from tests.support.calls import REPEATS, WARM_UP, Calls, count, count_awaited
from tests.support.servers import Peer, Serve
from tests.support.wire import Wire

#: Python calls of `pool.request("GET", url)` on a connection that is open.
CORE_BUDGET = 45
#: Python calls of `adapter.send(prepared)` plus `.content`, likewise.
ADAPTER_BUDGET = 85
#: Python calls of `Session.get` plus `.content`, likewise: half as many again as the adapter's.
SESSION_BUDGET = 140
#: The same with a cookie in the jar.
COOKIE_BUDGET = 152
#: The same through an HTTP proxy that forwards.
PROXY_BUDGET = 100
#: Python calls of `await pool.request("GET", url)` of an asynchronous pool, likewise; with those of
#: the event loop until the response is there.
ASYNC_BUDGET = 85
#: Of the Python calls of `pool.request("GET", url)` over HTTP/2, likewise, those of functions of
#: this package: what h2 and hpack do is not ours to count.
HTTP2_BUDGET = 92

#: What HTTPX sends with each request.
ALL_TIMEOUTS = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), 5.0)}

BODY = b"Hello, world!"
#: The fields that nginx sends with a small answer.
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 01 Jan 2030 00:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 13\r\nConnection: keep-alive\r\n\r\n" + BODY
)


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


@pytest.mark.parametrize("timeout", [None, 5], ids=["plain", "default timeout"])
def test_a_warm_adapter_send_and_content(serve: Serve, timeout: float | None) -> None:
    server = serve(answer)
    prepared = requests.Session().prepare_request(requests.Request("GET", server.url))
    get_content = attrgetter("content")
    with closing(httpcore_requests.HTTPAdapter(timeout=timeout)) as adapter:
        send = partial(adapter.send, prepared)
        assert send().content == BODY
        calls = count(lambda: get_content(send()))
    assert server.accepted == 1
    # One of them is the lambda.
    assert calls.python.total() - 1 <= ADAPTER_BUDGET, calls


@pytest.mark.parametrize("options", [{}, {"timeout": 5}], ids=["plain", "default timeout"])
@pytest.mark.parametrize(("cookies", "budget"), [({}, SESSION_BUDGET), ({"a": "b"}, COOKIE_BUDGET)])
def test_a_warm_session_get(
    serve: Serve, cookies: dict[str, str], budget: int, options: Any
) -> None:
    server = serve(answer)
    with httpcore_requests.Session(**options) as session:
        session.cookies.update(cookies)
        get_content = attrgetter("content")
        get = partial(session.get, server.url)
        assert get().content == BODY
        calls = count(lambda: get_content(get()))
    assert server.accepted == 1
    # One of them is the lambda.
    assert calls.python.total() - 1 <= budget, calls


@pytest.mark.parametrize("user", ["", "user:password@"], ids=["open", "with credentials"])
def test_a_warm_adapter_send_through_a_proxy(serve: Serve, user: str) -> None:
    proxy = serve(answer)
    proxies = {"http": proxy.url.replace("//", f"//{user}")}
    prepared = requests.Session().prepare_request(requests.Request("GET", "http://a.test/b?c=d"))
    get_content = attrgetter("content")
    with closing(httpcore_requests.HTTPAdapter()) as adapter:
        send = partial(adapter.send, prepared, proxies=proxies)
        assert send().content == BODY
        calls = count(lambda: get_content(send()))
    assert proxy.accepted == 1
    # One of them is the lambda.
    assert calls.python.total() - 1 <= PROXY_BUDGET, calls


@pytest.mark.parametrize("extensions", [None, ALL_TIMEOUTS], ids=["plain", "timeouts"])
def test_a_warm_asynchronous_get(serve: Serve, extensions: Any) -> None:
    server = serve(answer)
    url = server.url

    async def main() -> Calls:
        async with httpcore.AsyncConnectionPool() as pool:
            return await count_awaited(lambda: pool.request("GET", url, extensions=extensions))

    calls = asyncio.run(main())
    assert server.accepted == 1
    # One of them is the lambda.
    assert calls.python.total() - 1 <= ASYNC_BUDGET, calls


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
