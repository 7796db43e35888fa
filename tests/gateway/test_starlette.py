"""A Starlette program with a gateway inside: the one in docs/gateway.rst, under a real uvicorn.

Owns: that the lines of the page serve both, and end the gateway with the program. Must not know:
private parts of the packages. `test_http` has the prefixes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from httpcore_gateway import Gateway
from tests.support import MIB, PATIENCE, ROOT, gateways, servers
from tests.support.docs import blocks
from tests.support.gateways import Caller
from tests.support.web_sockets import WebSocketServer, closing, connect, echo

pytest.importorskip("starlette")

HEAD = b" HTTP/1.1\r\nHost: example.com\r\n"


class Shop:
    """The program of the page, served.

    Attributes:
        gateway: the one that it mounts.
    """

    def __init__(self, serve: gateways.ServeGateway, upstream: str, **options: Any) -> None:
        [text] = [
            block.text
            for block in blocks(ROOT / "docs" / "gateway.rst")
            if block.caption == "shop.py"
        ]
        namespace: dict[str, Any] = {}
        exec(text.replace("http://127.0.0.1:8001", upstream), namespace)
        self.gateway: Gateway = namespace["gateway"]
        self.served = serve(upstream, wrap=lambda _: namespace["app"], **options)
        self.port = self.served.port


StartShop = Callable[[str], Shop]


@pytest.fixture
def shop(serve_gateway: gateways.ServeGateway) -> StartShop:
    """`shop(upstream)` starts the program."""
    return lambda upstream: Shop(serve_gateway, upstream)


def test_both_are_served(shop: StartShop, server: servers.LocalServer) -> None:
    """The program's own pages, and the upstream's below the prefix; bodies both ways."""
    with Caller(shop(server.url).port) as caller:
        assert caller.ask(b"GET /hello" + HEAD + b"\r\n").body == b"hello\n"
        assert caller.ask(b"GET /nothing" + HEAD + b"\r\n").status == 404
        assert caller.ask(b"GET /shopping" + HEAD + b"\r\n").status == 404
        echoed = caller.ask(b"GET /shop/echo?a=%2Fb" + HEAD + b"\r\n").json()
        assert echoed["target"] == "/echo?a=%2Fb"
        fields = {name.lower(): value for name, value in echoed["headers"]}
        assert fields["x-forwarded-prefix"] == "/shop"
        assert fields["host"] == "example.com"
        head = b"POST /shop/echo" + HEAD + b"Content-Length: %d\r\n\r\n" % MIB
        assert caller.ask(head + b"x" * MIB).json()["body"] == "x" * MIB
        assert caller.ask(b"GET /shop/bytes/1000000" + HEAD + b"\r\n").body == servers.pattern(
            1_000_000
        )


def test_websockets_pass(shop: StartShop) -> None:
    with WebSocketServer(echo) as behind:
        started = shop(behind.url)
        with connect(started.port, "/shop/chat") as connection:
            for message in ("text", b"bytes"):
                connection.send(message)
                assert connection.recv(PATIENCE) == message
            connection.close(4001, "why")
            assert closing(connection) == (4001, "why")
        [upgraded] = behind.connections
        assert upgraded.request is not None
        assert upgraded.request.path == "/chat"
        assert upgraded.request.headers["X-Forwarded-Prefix"] == "/shop"


def test_the_end_of_the_program_ends_the_gateway(
    shop: StartShop, server: servers.LocalServer
) -> None:
    started = shop(server.url)
    with Caller(started.port) as caller:
        assert caller.ask(b"GET /shop/echo" + HEAD + b"\r\n").status == 200
    assert server.open == 1  # it would be used again
    assert not started.gateway.closed
    started.served.stop()
    assert started.gateway.closed
    assert server.wait_for(lambda: server.open == 0, PATIENCE)


def test_a_client_leaves(shop: StartShop, serve: servers.Serve) -> None:
    """Starlette hands the server's own ``receive`` on."""

    def answer(peer: servers.Peer) -> None:
        peer.recv_request()
        reached.set()
        peer.wait_closed()
        left.set()

    behind = serve(answer)
    reached, left = behind.event(), threading.Event()
    started = shop(behind.url)
    with Caller(started.port) as caller:
        caller.send(b"GET /shop/" + HEAD + b"\r\n")
        assert reached.wait(PATIENCE)
    assert left.wait(PATIENCE)
    assert behind.wait_for(lambda: not started.served.tasks(), PATIENCE)
    assert started.gateway.stats()["routes"][0]["client_left"] == 1
