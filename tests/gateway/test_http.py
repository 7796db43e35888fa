"""Requests through the gateway: fields, targets, bodies, versions, interim responses, trailers.

Owns: what reaches the upstream and the client when all goes well. Must not know: private parts of
the packages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import gateways, servers
from tests.support.gateways import Caller, Reply

HEAD = b" HTTP/1.1\r\nHost: example.com\r\n"
GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"

Gateways = Callable[..., int]


@pytest.fixture(params=["uvicorn", "granian", "hypercorn"])
def gateway(
    request: pytest.FixtureRequest,
    serve_gateway: gateways.ServeGateway,
    start_gateway: gateways.StartGateway,
) -> Gateways:
    """`gateway(*upstreams, **options)`: the port of a gateway under each of the servers."""

    def start(*upstreams: str, **options: Any) -> int:
        if request.param == "granian":
            return start_gateway(*upstreams, server="granian", **options).ports[0]
        return serve_gateway(*upstreams, server=request.param, **options).port

    return start


def echoed(reply: Reply) -> dict[str, list[str]]:
    """Return the fields that `/echo` of the upstream has seen, by lower-case name."""
    fields: dict[str, list[str]] = {}
    for name, value in reply.json()["headers"]:
        fields.setdefault(name.lower(), []).append(value)
    return fields


# --- fields ---


def test_row_69_hop_by_hop_fields_go_no_further(
    gateway: Gateways, server: servers.LocalServer
) -> None:
    """Those of the request, and those that its Connection lists."""
    with Caller(gateway(server.url)) as caller:
        reply = caller.ask(
            b"GET /echo" + HEAD + b"Connection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n"
            b"Proxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: close\r\nTE: gzip\r\n"
            b"Upgrade: other\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nX-Kept: 2\r\n\r\n"
        )
    fields = echoed(reply)
    assert set(fields) == {
        *("host", "x-kept", "via", "forwarded", "x-request-id"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    }
    assert fields["host"] == ["example.com"]


def test_row_69_hop_by_hop_fields_do_not_come_back(gateway: Gateways, serve: servers.Serve) -> None:
    def answer(peer: servers.Peer) -> None:
        peer.recv_request()
        peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close, x-own\r\nX-Own: 1\r\n"
            b"Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n"
            b"X-Kept: 2\r\nX-Kept: 3\r\nX-Request-ID: other\r\nVia: 1.0 behind\r\n\r\nok"
        )

    with Caller(gateway(serve(answer).url)) as caller:
        reply = caller.ask(GET)
        names = {name for name, _ in reply.fields}
        assert names.isdisjoint({"connection", "x-own", "keep-alive", "upgrade"})
        assert "proxy-authenticate" not in names
        assert reply.all("x-kept") == ["2", "3"]
        assert reply.get("via") == "1.0 behind, 1.1 httpcore-gateway"
        assert reply.get("x-request-id") != "other"
        assert reply.body == b"ok"


SPOOFED = (
    b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
    b"X-Forwarded-Port: 1\r\nX-Forwarded-Server: s\r\nX-Forwarded-Prefix: /p\r\n"
    b"X-Real-IP: 10.0.0.2\r\nForwarded: for=10.0.0.3\r\nX_Forwarded_For: 10.0.0.4\r\n"
    b"X_Real-IP: 10.0.0.5\r\nX-Request-ID: chosen\r\nContent_Length: 5\r\nX_Kept: 1\r\n"
)


def test_row_69_clients_cannot_say_who_they_are(
    gateway: Gateways, server: servers.LocalServer
) -> None:
    with Caller(gateway(server.url)) as caller:
        reply = caller.ask(b"GET /echo" + HEAD + SPOOFED + b"\r\n")
    fields = echoed(reply)
    assert fields["forwarded"] == ["for=127.0.0.1;host=example.com;proto=http"]
    assert fields["x-forwarded-for"] == ["127.0.0.1"]
    assert fields["x-forwarded-proto"] == ["http"]
    assert fields["x-forwarded-host"] == ["example.com"]
    assert fields["x-request-id"] == [reply.get("x-request-id")] != ["chosen"]
    assert fields["via"] == ["1.1 httpcore-gateway"]
    assert not [name for name in fields if "10.0.0" in str(fields[name])]
    # Which server reads an underscore as a hyphen is not known; a name of no meaning is passed on
    # by servers that pass it on.
    assert set(fields) <= {
        *("host", "via", "forwarded", "x-request-id", "x_kept"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    }


def test_row_69_a_trusted_proxy_is_believed(gateway: Gateways, server: servers.LocalServer) -> None:
    with Caller(gateway(server.url, trusted=("127.0.0.0/8",))) as caller:
        reply = caller.ask(b"GET /echo" + HEAD + SPOOFED + b"Via: 1.0 front\r\n\r\n")
    fields = echoed(reply)
    assert fields["forwarded"] == ["for=10.0.0.3, for=127.0.0.1;host=example.com;proto=http"]
    assert fields["x-forwarded-for"] == ["10.0.0.1, 127.0.0.1"]
    assert fields["x-forwarded-proto"] == ["https"]
    assert fields["x-forwarded-host"] == ["evil"]
    assert fields["x-forwarded-port"] == ["1"]
    assert fields["x-forwarded-prefix"] == ["/p"]
    assert fields["x-real-ip"] == ["10.0.0.2"]
    assert fields["x-request-id"] == [reply.get("x-request-id")] == ["chosen"]
    assert fields["via"] == ["1.0 front, 1.1 httpcore-gateway"]


def test_row_69_a_loop_ends(serve_gateway: gateways.ServeGateway) -> None:
    """Two gateways that lead to each other: 508, before there are many requests."""
    port = servers.closed_port()
    first = serve_gateway(f"http://127.0.0.1:{port}")
    settings = gateways.make_settings(first.url)
    with gateways.ServedGateway(settings, listen=port), Caller(first.port) as caller:
        reply = caller.ask(GET)
    assert reply.status == 508
    assert first.active() == [0]


# --- targets ---

TARGETS = [
    *("/a/../b", "/a//b", "//a/b", "/a%2Fb", "/%2e%2e/b", "/a%2fb%00", "/a;b=c,d", "/a?b=%2F&c=?"),
    *("/?", "/a??", "/%41", "/a/./b/.", "/a:b@c", "/~a!$&'()*+,;=", "/a?b=//c/../d"),
]


def test_targets_are_passed_on_byte_for_byte(
    gateway: Gateways, server: servers.LocalServer
) -> None:
    with Caller(gateway(server.url)) as caller:
        for target in TARGETS:
            reply = caller.ask(b"GET " + target.encode() + HEAD + b"\r\n")
            assert reply.status in (200, 404)
            got = server.requests[-1].target.decode()
            # ASGI does not say whether an empty query was there.
            assert got == (target[:-1] if target == "/?" else target)
