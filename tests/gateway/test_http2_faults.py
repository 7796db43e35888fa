"""Upstreams over HTTP/2 that fail in the ways that HTTP/2 has.

Owns: what the client of the gateway gets then, and that nothing stays under way. Must not know: how
the gateway works.

Sources: RFC 9113 sections 5.4 (errors), 6.8 (GOAWAY), 8.1 (RST_STREAM) and 8.7 (repeating).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from httpcore_gateway import Timeouts, Upstream
from tests.support import gateways
from tests.support.gateways import Caller
from tests.support.http2 import Code, Link, ServeH2, Stream
from tests.support.servers import LocalServer

HEAD = b" HTTP/1.1\r\nHost: a\r\n"


def reset_by(code: int) -> Callable[[Stream], None]:
    return lambda stream: stream.reset(code)


def gateway_to(serve_gateway: gateways.ServeGateway, *urls: str, **options: Any) -> Any:
    upstreams = [Upstream(urls[0], http2=True), *urls[1:]]
    return serve_gateway(settings=gateways.make_settings(*upstreams, **options))


@pytest.mark.parametrize("code", [Code.INTERNAL_ERROR, Code.ENHANCE_YOUR_CALM, Code.CANCEL])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_stream_that_is_reset(
    code: int, method: bytes, serve_h2: ServeH2, serve_gateway: gateways.ServeGateway
) -> None:
    upstream = serve_h2(lambda link: link.serve(reset_by(code)))
    served = gateway_to(serve_gateway, upstream.url)
    with Caller(served.port) as caller:
        for _ in range(2):
            reply = caller.ask(method + b" /" + HEAD + b"Content-Length: 0\r\n\r\n")
            assert reply.status == 502
            assert reply.get("content-type") == "application/problem+json"
    assert served.active() == [0]


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_refused_stream_goes_elsewhere(
    method: bytes, serve_h2: ServeH2, server: LocalServer, serve_gateway: gateways.ServeGateway
) -> None:
    """REFUSED_STREAM says that nothing was done: also a POST may be sent again."""
    upstream = serve_h2(lambda link: link.serve(reset_by(Code.REFUSED_STREAM)))
    served = gateway_to(serve_gateway, upstream.url, server.url)
    with Caller(served.port) as caller:
        for _ in range(4):
            reply = caller.ask(method + b" /echo" + HEAD + b"Content-Length: 2\r\n\r\nhi")
            assert (reply.status, reply.json()["body"]) == (200, "hi")
    assert served.active() == [0, 0]


def test_goaway_between_requests(serve_h2: ServeH2, serve_gateway: gateways.ServeGateway) -> None:
    def script(link: Link) -> None:
        link.serve(until=lambda: len(link.opened) == 3)
        link.goaway(last=link.opened[-1])
        link.serve()

    upstream = serve_h2(script)
    served = gateway_to(serve_gateway, upstream.url)
    with Caller(served.port) as caller:
        for _ in range(10):
            assert caller.ask(b"GET /" + HEAD + b"\r\n").status == 200
    assert upstream.accepted >= 3
    assert served.active() == [0]


def test_a_response_that_is_reset_in_its_middle(
    serve_h2: ServeH2, serve_gateway: gateways.ServeGateway
) -> None:
    def answer(stream: Stream) -> None:
        stream.head(200, [("content-length", "100")])
        stream.write(b"x" * 10)
        stream.link.later(0.05, lambda: stream.reset(Code.INTERNAL_ERROR))

    served = gateway_to(serve_gateway, serve_h2(lambda link: link.serve(answer)).url)
    with Caller(served.port) as caller:
        caller.send(b"GET /" + HEAD + b"\r\n")
        reply = caller.reply()
        assert (reply.status, reply.whole, reply.body) == (200, False, b"x" * 10)
        assert caller.closed()
    assert served.active() == [0]


def test_a_server_that_does_not_speak_it(
    server: LocalServer, serve_gateway: gateways.ServeGateway
) -> None:
    served = gateway_to(serve_gateway, server.url, timeouts=Timeouts(read=5.0), retries=0)
    with Caller(served.port) as caller:
        assert caller.ask(b"GET /" + HEAD + b"\r\n").status == 502
    assert served.active() == [0]
