"""Requests through the gateway: fields, targets, bodies, versions, interim responses, trailers.

Owns: what reaches the upstream and the client when all goes well. Must not know: private parts of
the packages.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

import httpcore
from httpcore_gateway import Timeouts, Upstream
from tests.support import gateways, programs, servers
from tests.support.gateways import Caller, Reply
from tests.support.raw_http import read_all

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


def test_max_forwards(gateway: Gateways, server: servers.LocalServer) -> None:
    """The gateway answers the last request of a chain itself, without what is in it; other methods
    have no such chain."""
    with Caller(gateway(server.url)) as caller:

        def ask(method: str, value: str) -> Reply:
            head = method.encode() + b" /echo" + HEAD + b"Cookie: secret\r\nMax-Forwards: "
            return caller.ask(head + value.encode() + b"\r\n\r\n")

        for method in ("OPTIONS", "TRACE"):
            assert echoed(ask(method, "2"))["max-forwards"] == ["1"]
            assert echoed(ask(method, "1"))["max-forwards"] == ["0"]
        assert echoed(ask("GET", "0"))["max-forwards"] == ["0"]
        reply = ask("OPTIONS", "0")
        assert (reply.status, reply.body) == (204, b"")
        assert "secret" not in str(reply.fields)
        reply = ask("TRACE", "0")
        assert (reply.status, reply.get("allow")) == (405, "OPTIONS")
        assert "secret" not in str(reply.fields) + str(reply.body)
        assert ask("OPTIONS", "no").status == 400
    assert len(server.requests) == 5


@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn", "granian"])
def test_a_response_has_one_date(
    kind: str,
    serve: servers.Serve,
    serve_gateway: gateways.ServeGateway,
    start_gateway: gateways.StartGateway,
) -> None:
    """That of the upstream, or the time at which it came; also where there is no body."""
    given = "Thu, 01 Jan 2026 00:00:00 GMT"

    def answer(peer: servers.Peer) -> None:
        while (request := peer.recv_request()) is not None:
            date = b"DATE: " + given.encode() + b"\r\n" if request.target == b"/dated" else b""
            peer.send(b"HTTP/1.1 304 Not Modified\r\nETag: a\r\n" + date + b"\r\n")

    behind = serve(answer)
    option = {"uvicorn": "date_header", "hypercorn": "include_date_header", "granian": ""}[kind]
    if option:
        port = serve_gateway(behind.url, server=kind, **{option: False}).port
    else:
        port = start_gateway(behind.url, server=kind).ports[0]
    with Caller(port) as caller:
        assert caller.ask(b"GET /dated" + HEAD + b"\r\n").get("date") == given
        made = caller.ask(GET).get("date")
    assert made is not None
    age = datetime.now(timezone.utc) - parsedate_to_datetime(made)
    assert abs(age) < timedelta(seconds=60)


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


def test_below_a_prefix_of_another_application(
    serve_gateway: gateways.ServeGateway, server: servers.LocalServer
) -> None:
    """Starlette's Mount: the prefix is not passed on, but named; encoded or not."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    served = serve_gateway(
        server.url, wrap=lambda gateway: Starlette(routes=[Mount("/app/é", app=gateway)])
    )
    with Caller(served.port) as caller:
        for target in (b"/app/%C3%A9/echo?a", b"/%61pp/%c3%a9/echo?a"):
            reply = caller.ask(b"GET " + target + HEAD + b"\r\n")
            assert reply.json()["target"] == "/echo?a"
            assert echoed(reply)["x-forwarded-prefix"] == ["/app/%C3%A9"]
        assert caller.ask(b"GET /other" + HEAD + b"\r\n").status == 404
        reply = caller.ask(b"GET /app/%C3%A9/a/../b%2F" + HEAD + b"\r\n")
        assert server.requests[-1].target == b"/a/../b%2F"


def test_a_path_can_be_stripped_and_another_one_put_in_front(
    serve_gateway: gateways.ServeGateway, server: servers.LocalServer
) -> None:
    served = serve_gateway(f"{server.url}/base/", path="/api", strip_path=True)
    with Caller(served.port) as caller:
        for target, expected in [(b"/api/x?y", b"/base/x?y"), (b"/api", b"/base/")]:
            caller.ask(b"GET " + target + HEAD + b"\r\n")
            assert server.requests[-1].target == expected
        assert server.requests[-1].header("x-forwarded-prefix") == b"/api"
        assert caller.ask(b"GET /apis" + HEAD + b"\r\n").status == 404


def test_absolute_targets_and_the_server_as_a_whole(
    gateway: Gateways, server: servers.LocalServer
) -> None:
    with Caller(gateway(server.url)) as caller:
        reply = caller.ask(b"GET http://example.com/echo?q HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert reply.json()["target"] == "/echo?q"
        assert echoed(reply)["host"] == ["example.com"]
        caller.ask(b"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert server.requests[-1].target == b"*"


def test_an_absolute_target_decides_the_host(server: servers.LocalServer) -> None:
    """hypercorn hands it on as a whole; the others leave the host in it out."""
    settings = gateways.make_settings(server.url)
    with (
        gateways.ServedGateway(settings, server="hypercorn") as served,
        Caller(served.port) as caller,
    ):
        reply = caller.ask(b"GET http://one.example HTTP/1.1\r\nHost: two.example\r\n\r\n")
        assert reply.status == 200
        assert server.requests[-1].header("host") == b"one.example"
        assert server.requests[-1].target == b"/"
        assert caller.ask(b"GET mailto:x HTTP/1.1\r\nHost: a\r\n\r\n").status == 400


def test_methods_are_passed_on(gateway: Gateways, server: servers.LocalServer) -> None:
    port = gateway(server.url)
    for method in (b"PROPFIND", b"REPORT", b"TRACE", b"PATCH", b"QUERY", b"X-Y"):
        with Caller(port) as caller:
            reply = caller.ask(method + b" /echo" + HEAD + b"\r\n")
            if reply.status == 400:  # httptools knows a list of them, and no others
                assert method == b"X-Y"
                assert server.requests[-1].method != method
            else:
                assert reply.json()["method"] == method.decode()


def test_upstreams_over_ipv6_and_a_unix_socket(
    serve_gateway: gateways.ServeGateway, tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    with servers.LocalServer(host="::1") as ipv6, servers.LocalServer(uds=path):
        settings = gateways.make_settings(ipv6.url, host_header="upstream")
        served = serve_gateway(settings=settings)
        with Caller(served.port) as caller:
            reply = caller.ask(b"GET /echo" + HEAD + b"\r\n")
            assert echoed(reply)["host"] == [f"[::1]:{ipv6.port}"]
        upstream = Upstream("http://behind", uds=path)
        served = serve_gateway(settings=gateways.make_settings(upstream))
        with Caller(served.port) as caller:
            reply = caller.ask(b"GET /echo" + HEAD + b"\r\n")
            assert echoed(reply)["host"] == ["example.com"]


# --- bodies ---


def test_bodies_both_ways(gateway: Gateways, server: servers.LocalServer) -> None:
    with Caller(gateway(server.url)) as caller:
        for size in (0, 1, 70_000, 3_000_000):
            body = servers.pattern(size)
            caller.send(b"PUT /upload" + HEAD + b"Content-Length: %d\r\n\r\n" % size + body)
            told = caller.reply().json()
            digest = hashlib.sha256(body).hexdigest()
            assert told == {"length": size, "sha256": digest, "framing": "length"}
            caller.send(b"POST /upload" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            for start in range(0, size, 50_000):
                part = body[start : start + 50_000]
                caller.send(b"%x;ext=1\r\n%b\r\n" % (len(part), part))
            caller.send(b"0\r\nX-Trailer: 1\r\n\r\n")
            told = caller.reply().json()
            assert (told["length"], told["sha256"]) == (size, digest)
            for path in ("bytes", "chunked", "close"):
                reply = caller.ask(f"GET /{path}/{size}".encode() + HEAD + b"\r\n")
                assert reply.whole
                assert reply.body == body


def test_responses_without_a_body(gateway: Gateways, serve: servers.Serve) -> None:
    """HEAD, 204 and 304 with whatever lengths; the connection carries the next request."""
    heads = {
        b"/head": b"200 OK\r\nContent-Length: 123",
        b"/chunked": b"200 OK\r\nTransfer-Encoding: chunked",
        b"/204": b"204 No Content",
        b"/304": b"304 Not Modified\r\nContent-Length: 123\r\nETag: x",
        b"/end": b"200 OK\r\nContent-Length: 0",
    }

    def answer(peer: servers.Peer) -> None:
        while (request := peer.recv_request()) is not None:
            peer.send(b"HTTP/1.1 " + heads[request.target] + b"\r\n\r\n")

    with Caller(gateway(serve(answer).url)) as caller:
        reply = caller.ask(b"HEAD /head" + HEAD + b"\r\n", "HEAD")
        assert reply.get("content-length") == "123"
        assert caller.ask(b"HEAD /chunked" + HEAD + b"\r\n", "HEAD").status == 200
        assert caller.ask(b"GET /204" + HEAD + b"\r\n").status == 204
        reply = caller.ask(b"GET /304" + HEAD + b"\r\n")
        assert (reply.status, reply.get("etag")) == (304, "x")
        reply = caller.ask(b"GET /end" + HEAD + b"\r\n")
        assert (reply.status, reply.body, reply.whole) == (200, b"", True)


def test_both_framings_of_a_response_become_one(gateway: Gateways, serve: servers.Serve) -> None:
    """Content-Length beside Transfer-Encoding is an attempt to split the response: whatever the
    core makes of it, the client gets no body that is not framed as it says."""

    def answer(peer: servers.Peer) -> None:
        while peer.recv_request() is not None:
            peer.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5\r\nhello\r\n0\r\n\r\n"
            )

    with Caller(gateway(serve(answer).url)) as caller:
        reply = caller.ask(GET)
        if reply.status == 200:
            assert (reply.body, reply.whole) == (b"hello", True)
        else:
            assert reply.status == 502


def test_equal_lengths_of_a_response_become_one(gateway: Gateways, serve: servers.Serve) -> None:
    def answer(peer: servers.Peer) -> None:
        while peer.recv_request() is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello")

    with Caller(gateway(serve(answer).url)) as caller:
        reply = caller.ask(GET)
        assert reply.get("content-length") in ("5", "83", None)
        assert reply.status in (200, 502)
        assert reply.whole


@pytest.mark.parametrize("value", [b"a\x01b", b"a\x7f", b"\x1b[31m"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n\r\nhello", b"\r\nhello"])
def test_a_control_character_in_a_response(
    gateway: Gateways, serve: servers.Serve, caplog: Any, framing: bytes, value: bytes
) -> None:
    """No server sends it on: it is an answer of the upstream that is wrong, and no error here."""

    def answer(peer: servers.Peer) -> None:
        while peer.recv_request() is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nX-Odd: " + value + b"\r\n" + framing)
            if b"Content-Length" not in framing:
                return

    with Caller(gateway(serve(answer).url)) as caller:
        for _ in range(2):
            reply = caller.ask(GET)
            assert (reply.status, reply.whole) == (502, True)
    assert not [record for record in caplog.records if record.exc_info]


# --- HTTP/1.0 ---


def test_row_69_clients_of_http_1_0(gateway: Gateways, server: servers.LocalServer) -> None:
    """They get no chunks; a response of unknown length ends with the connection."""
    port = gateway(server.url)
    for path, size in [("bytes", 10), ("chunked", 2_000_000), ("close", 2_000_000)]:
        with Caller(port) as caller:
            reply = caller.ask(f"GET /{path}/{size} HTTP/1.0\r\n\r\n".encode())
            assert not reply.chunked
            assert reply.body == servers.pattern(size)
            assert caller.closed()
    assert server.requests[-1].version == b"HTTP/1.1"
    assert server.requests[-1].header("via") == b"1.0 httpcore-gateway"
    assert server.requests[-1].header("host") == server.url.removeprefix("http://").encode()


def test_a_body_for_http_1_0_is_collected_where_the_server_is_not_known(
    serve_gateway: gateways.ServeGateway, server: servers.LocalServer
) -> None:
    served = serve_gateway(server.url, wrap=wrap_send)
    for path, size in [("chunked", 100_000), ("chunked", 0), ("close", 10)]:
        with Caller(served.port) as caller:
            reply = caller.ask(f"GET /{path}/{size} HTTP/1.0\r\n\r\n".encode())
            assert (reply.body, reply.get("content-length")) == (servers.pattern(size), str(size))
    with Caller(served.port) as caller:
        reply = caller.ask(b"GET /chunked/2000000 HTTP/1.0\r\n\r\n")
        assert reply.status == 505
        assert "HTTP/1.1" in reply.json()["detail"]
        assert not reply.chunked
    with Caller(served.port) as caller:
        reply = caller.ask(b"HEAD /chunked/10 HTTP/1.0\r\n\r\n", "HEAD")
        assert (reply.status, reply.get("transfer-encoding")) == (200, None)


def wrap_send(gateway: Any) -> Any:
    """A middleware whose `send` does not show whose it is."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def passing(message: Any) -> None:
            await send(message)

        await gateway(scope, receive, passing)

    return app


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_a_broken_response_to_http_1_0_does_not_look_whole(
    use_uvloop: bool, serve_gateway: gateways.ServeGateway, serve: servers.Serve
) -> None:
    def answer(peer: servers.Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        peer.close()

    behind = serve(answer)
    with Caller(serve_gateway(behind.url, use_uvloop=use_uvloop).port) as caller:
        caller.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            caller.reply()
    with Caller(serve_gateway(behind.url, wrap=wrap_send).port) as caller:
        assert caller.ask(b"GET / HTTP/1.0\r\n\r\n").status == 502


@pytest.mark.parametrize("notify", [True, False], ids=["close_notify", "cut"])
def test_a_response_that_ends_with_its_connection_and_was_cut_does_not_look_whole(
    notify: bool,
    serve_gateway: gateways.ServeGateway,
    serve: servers.Serve,
    server_tls_context: ssl.SSLContext,
    ca_bundle: str,
) -> None:
    """RFC 9112 section 8: without close_notify it is incomplete."""

    def answer(peer: servers.Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        peer.close(notify=notify)

    upstream = Upstream(serve(answer, tls=server_tls_context).url, ca=ca_bundle)
    served = serve_gateway(upstream)
    with Caller(served.port) as caller:
        if notify:
            assert caller.ask(GET).body == b"hello"
        else:
            caller.send(GET)
            data = read_all(caller.sock)
            assert b"hello" in data and not data.endswith(b"0\r\n\r\n")
    with Caller(serve_gateway(upstream, wrap=wrap_send).port) as caller:
        reply = caller.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert reply.status == (200 if notify else 502)


def echo_body(peer: servers.Peer) -> None:
    """Send each part of the request's body back as it comes."""
    request = peer.recv_request_head()
    assert request is not None
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for part in peer.iter_body(request):
        peer.send(b"%x\r\n%s\r\n" % (len(part), part))
    peer.send(b"0\r\n\r\n")


def test_a_response_begins_while_the_upload_goes_on(
    gateway: Gateways, serve: servers.Serve
) -> None:
    """Each part is sent when the one before it has come back."""
    with Caller(gateway(serve(echo_body).url)) as caller:
        caller.send(b"POST /" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        reply = caller.head()
        assert reply.status == 200
        assert caller.recv_exactly(8) == b"3\r\none\r\n"
        for part in (b"two", b"3rd"):
            caller.send(b"3\r\n" + part + b"\r\n")
            assert caller.recv_exactly(8) == b"3\r\n" + part + b"\r\n"
        caller.send(b"0\r\n\r\n")
        assert caller.recv_exactly(5) == b"0\r\n\r\n"


#: It gives leave to send the body at once, by itself.
without_hypercorn = pytest.mark.parametrize("gateway", ["uvicorn", "granian"], indirect=True)

# --- what comes before the final response, and after the body ---


@without_hypercorn
def test_row_69_expect_end_to_end(gateway: Gateways, serve: servers.Serve) -> None:
    """The client is given leave to send its body when the upstream gives it, not before."""
    asked = threading.Event()

    def answer(peer: servers.Peer) -> None:
        request = peer.recv_request_head()
        assert request is not None
        assert request.header("expect") == b"100-continue"
        asked.set()
        allowed.wait(10)
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b"".join(peer.iter_body(request))
        peer.respond(200, body)

    behind = serve(answer)
    allowed = behind.event()
    with Caller(gateway(behind.url)) as caller:
        caller.send(b"POST /" + HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert asked.wait(10)
        caller.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            caller.sock.recv(1, socket.MSG_PEEK)
        caller.sock.settimeout(10)
        allowed.set()
        assert caller.head().status == 100
        reply = caller.ask(b"hello")
        assert (reply.status, reply.body) == (200, b"hello")


@without_hypercorn
def test_row_69_an_expectation_that_is_not_met(gateway: Gateways, serve: servers.Serve) -> None:
    """The upstream refuses the head. The client never sends its body; what it sends next must not
    be taken for it."""

    def answer(peer: servers.Peer) -> None:
        peer.recv_request_head()
        peer.respond(413, b"too large")
        assert peer.wait_closed() == b""

    with Caller(gateway(serve(answer).url)) as caller:
        caller.send(b"POST /" + HEAD + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n")
        reply = caller.reply()
        assert (reply.status, reply.interim, reply.body) == (413, [], b"too large")
        assert reply.get("connection") == "close"
        assert caller.closed()


@without_hypercorn
def test_row_69_a_body_that_is_too_long(gateway: Gateways, server: servers.LocalServer) -> None:
    port = gateway(server.url, max_body=1000)
    for lines in (b"Content-Length: 1001\r\n", b"Content-Length: 1001\r\nExpect: 100-continue\r\n"):
        with Caller(port) as caller:
            caller.send(b"POST /" + HEAD + lines + b"\r\n")
            if b"Expect" not in lines:
                caller.send(b"x" * 1001)
            reply = caller.reply()
            assert (reply.status, reply.interim) == (413, [])
            assert reply.json()["detail"] == "the request's body is longer than 1000 bytes"
    assert not server.requests
    with Caller(port) as caller:
        caller.send(b"POST /" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        # A busy server may have closed before the last of it: the response is there all the same.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(20):
                caller.send(b"64\r\n" + b"x" * 100 + b"\r\n")
            caller.send(b"0\r\n\r\n")
        assert caller.reply().status == 413
    with Caller(port) as caller:
        reply = caller.ask(b"POST /upload" + HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000)
        assert reply.status == 200


def test_row_69_an_early_response_while_the_upload_goes_on(
    gateway: Gateways, serve: servers.Serve
) -> None:
    """The client gets it though it sends before it reads, and its connection is usable or closed
    afterwards, with nothing in between taken for a request."""
    heads: list[bytes] = []

    def answer(peer: servers.Peer) -> None:
        while (request := peer.recv_request_head()) is not None:
            heads.append(request.method)
            if request.method == b"GET":
                peer.respond(200, b"ok")
                continue
            peer.respond(413, b"too large", [("Connection", "close")])
            peer.wait_closed()
            return

    with Caller(gateway(serve(answer).url)) as caller:
        size = 8_000_000
        caller.send(b"POST /" + HEAD + b"Content-Length: %d\r\n\r\n" % size)
        # A busy server may have closed before the last of it: the response is there all the same.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            caller.send(GET[:20] * (size // 20))
        reply = caller.reply()
        assert (reply.status, reply.body) == (413, b"too large")
        try:
            assert caller.ask(GET).status == 200
        except (OSError, EOFError):
            assert heads == [b"POST"]
        else:
            assert heads == [b"POST", b"GET"]


def early_and_trailing(peer: servers.Peer) -> None:
    """Answers with two 103, a 102 and a trailer."""
    while (request := peer.recv_request()) is not None:
        peer.send(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
            b"HTTP/1.1 102 Processing\r\n\r\n"
            b"HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\nX-Other: 1\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n"
            b"X-TE: " + (request.header("te") or b"none") + b"\r\n\r\n"
            b"5\r\nhello\r\n0\r\nX-End: yes\r\nConnection: x\r\n\r\n"
        )


def test_row_69_trailers_and_103_under_hypercorn(
    serve_gateway: gateways.ServeGateway, serve: servers.Serve
) -> None:
    """hypercorn passes both on over HTTP/2."""
    served = serve_gateway(serve(early_and_trailing).url, server="hypercorn")
    hints: list[Any] = []
    with httpcore.ConnectionPool(http1=False, http2=True) as pool:
        for te, trailers in ((b"trailers", [(b"x-end", b"yes")]), (None, [])):
            headers = [] if te is None else [(b"te", te)]
            with pool.stream(
                "GET",
                served.url,
                headers=headers,
                extensions={"informational": lambda status, fields: hints.append((status, fields))},
            ) as response:
                assert response.read() == b"hello"
            assert dict(response.headers)[b"x-te"] == (te or b"none")
            assert response.trailers == trailers
    links = [dict(fields)[b"link"] for status, fields in hints if status == 103]
    assert links == [b"</a.css>; rel=preload", b"</b.css>; rel=preload"] * 2
    assert len(hints) == 4


def test_row_69_trailers_and_103_where_the_server_has_neither(
    gateway: Gateways, serve: servers.Serve
) -> None:
    with Caller(gateway(serve(early_and_trailing).url)) as caller:
        reply = caller.ask(b"GET /" + HEAD + b"TE: trailers\r\n\r\n")
        assert (reply.status, reply.interim, reply.body) == (200, [], b"hello")
        assert reply.whole
        assert reply.get("trailer") is None
        assert reply.get("x-te") == "none"
        assert caller.ask(GET).body == b"hello"


# --- real clients and upstreams ---


@pytest.mark.parametrize("words", [["-0"], ["--http1.1"], ["--http2-prior-knowledge"]])
def test_curl(words: list[str], server: servers.LocalServer, start_gateway: Any) -> None:
    """An upload for which it asks leave, and its response, by each version of HTTP."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    kind = "granian" if "--http2-prior-knowledge" in words else "uvicorn"
    port = start_gateway(server.url, server=kind).ports[0]
    body = servers.pattern(2_000_000)

    def run(*more: str) -> bytes:
        url = f"http://127.0.0.1:{port}"
        command = [curl, "-sS", "-m", "20", *words, *more[:-1], url + more[-1]]
        done = subprocess.run(command, input=body, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = json.loads(run("--data-binary", "@-", "/upload"))
    assert told["sha256"] == hashlib.sha256(body).hexdigest()
    assert run("/chunked/2000000") == body
    told = json.loads(run("/echo"))
    version = {"-0": "1.0", "--http1.1": "1.1"}.get(words[0], "2")
    assert ["via", f"{version} httpcore-gateway"] in told["headers"]


@pytest.mark.parametrize("kind", ["uvicorn", "granian"])
def test_nginx_over_http1(kind: str, nginx: programs.Program, start_gateway: Any) -> None:
    """It closes each connection after ten requests, and takes no body over 1 MB."""
    upstream = f"http://127.0.0.1:{nginx.ports[0]}"
    url = f"http://127.0.0.1:{start_gateway(upstream, server=kind).ports[0]}"
    with httpcore.ConnectionPool() as pool:
        for _ in range(25):
            response = pool.request("GET", url + "/")
            assert (response.status, response.content[:10]) == (200, b"connection")
        body = servers.pattern(100_000)
        path = f"{url}/files/of-{kind}"
        assert pool.request("PUT", path, content=body).status in (201, 204)
        assert pool.request("GET", path).content == body
        assert pool.request("PUT", path, content=b"x" * 2_000_000).status == 413
        assert pool.request("GET", path).content == body


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("behind", ["hypercorn", "nghttpd", "nginx"])
def test_http2_to_the_upstream(
    behind: str,
    secure: bool,
    request: pytest.FixtureRequest,
    ca_bundle: str,
    serve_gateway: gateways.ServeGateway,
) -> None:
    """By ALPN, and with prior knowledge."""
    if behind == "nghttpd":
        port = request.getfixturevalue("start_nghttpd")(secure).ports[0]
    elif behind == "nginx":
        port = request.getfixturevalue("nginx_http2").ports[0 if secure else 1]
    else:
        port = request.getfixturevalue("hypercorn").ports[0 if secure else 1]
    scheme = "https" if secure else "http"
    upstream = Upstream(f"{scheme}://127.0.0.1:{port}", http2=True, ca=ca_bundle)
    served = serve_gateway(settings=gateways.make_settings(upstream))
    body = servers.pattern(300_000)
    with Caller(served.port) as caller:
        if behind == "nginx":
            reply = caller.ask(GET)
            assert reply.body.startswith(b"HTTP/2.0 connection")
        else:
            path = b"/echo" if behind == "hypercorn" else b"/index"
            head = b"POST " + path + HEAD + b"TE: trailers\r\nContent-Length: 300000\r\n\r\n"
            reply = caller.ask(head + body)
            assert reply.body == body
        assert reply.get("via") == "2 httpcore-gateway" or "nghttpx" in (reply.get("via") or "")
        assert reply.status == 200
        if behind != "hypercorn":
            reply = caller.ask(b"GET /large" + HEAD + b"\r\n")
            assert reply.status in (200, 404)


@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn"])
def test_http2_to_the_upstream_from_each_client(
    kind: str, hypercorn: programs.Program, serve_gateway: gateways.ServeGateway
) -> None:
    """A client over HTTP/1.1 or HTTP/2 that takes trailers, and an upstream over HTTP/2."""
    upstream = Upstream(f"http://127.0.0.1:{hypercorn.ports[1]}", http2=True)
    served = serve_gateway(settings=gateways.make_settings(upstream), server=kind)
    http2 = kind == "hypercorn"
    with httpcore.ConnectionPool(http1=not http2, http2=http2) as pool:
        for _ in range(3):
            response = pool.request(
                "POST", f"{served.url}/echo", headers=[(b"te", b"trailers")], content=b"hello"
            )
            assert (response.status, response.content) == (200, b"hello")


@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
def test_row_69_an_early_response_while_the_upload_stalls(
    framing: bytes, gateway: Gateways, serve: servers.Serve
) -> None:
    """The client sends nothing more, and gets the response all the same; so it does where the
    upstream closes without one."""

    def answer(peer: servers.Peer) -> None:
        request = peer.recv_request_head()
        assert request is not None
        first = peer.recv_exactly(5 if b"Content-Length" in framing else 8)
        assert b"he" in first
        if request.target == b"/413":
            peer.respond(413, b"too large", [("Connection", "close")])
        peer.close()

    port = gateway(serve(answer).url, timeouts=Timeouts(client=15.0))
    for target, status in ((b"/413", 413), (b"/closes", 502)):
        with Caller(port) as caller:
            body = b"hello" if b"Content-Length" in framing else b"5\r\nhello\r\n"
            caller.send(b"POST " + target + HEAD + framing + b"\r\n\r\n" + body)
            caller.sock.settimeout(10)
            assert caller.reply().status == status
