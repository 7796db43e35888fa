"""What is said to a SOCKS proxy, without sockets; then pools behind a real one on loopback.

Owns: `httpcore._core.socks` and `httpcore._sync.socks_proxy`. Must not know: HTTP proxies.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Generator
from typing import Any

import pytest

import httpcore
from httpcore._core.dial import OpenTCP, Plan, dial
from httpcore._core.http_proxy import ProxyHop, Read, Rename, Resolve, TraceEvent, Write
from httpcore._core.socks import connect
from httpcore._exceptions import (
    NameResolutionError,
    ProxyConnectError,
    ProxyConnectTimeout,
    ProxyError,
    ReadError,
    ReadTimeout,
    TLSError,
    explain,
)
from tests.support.proxies import SocksServer
from tests.support.servers import LocalServer, Peer, Serve

STREAM: Any = object()


def hop(scheme: bytes, auth: tuple[bytes, bytes] | None = None) -> ProxyHop:
    return ProxyHop(scheme, b"proxy.test", 1080, (), False, auth)


def run(script: Generator[Any, Any, Any], replies: bytes | list[Any]) -> list[Any]:
    """Drive a script. Reads get of `replies` what they ask for, at most three bytes at a time; or
    a list's items as they are."""
    steps = []
    position = 0
    step = next(script)
    try:
        while True:
            steps.append(step)
            if not isinstance(step, Read):
                step = script.send(None)
            elif isinstance(replies, bytes):
                end = position + min(3, step.max_bytes)
                answer, position = replies[position:end], end
                step = script.send(answer)
            else:
                item = replies.pop(0)
                step = script.throw(item) if isinstance(item, Exception) else script.send(item)
    except StopIteration:
        if isinstance(replies, bytes):
            assert position == len(replies), "bytes were left, or more were asked for"
        return steps


def written(steps: list[Any]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Write))


FROM_V4 = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
FROM_V6 = b"\x05\x00\x00\x04" + bytes(15) + b"\x01\x00\x50"
FROM_NAME = b"\x05\x00\x00\x03\x04here\x00\x50"
FROM_LONGEST_NAME = b"\x05\x00\x00\x03\xff" + b"x" * 255 + b"\x00\x50"  # no answer is longer
FROM_EMPTY_NAME = b"\x05\x00\x00\x03\x00\x00\x50"


# --- SOCKS 5 ---


@pytest.mark.parametrize("reply", [FROM_V4, FROM_V6, FROM_NAME, FROM_EMPTY_NAME, FROM_LONGEST_NAME])
@pytest.mark.parametrize(
    ("host", "sent"),
    [
        ("origin.test", b"\x03\x0borigin.test"),
        ("192.0.2.1", b"\x01\xc0\x00\x02\x01"),
        ("::1", b"\x04" + bytes(15) + b"\x01"),
        ("fe80::1%eth0", b"\x04\xfe\x80" + bytes(13) + b"\x01"),
    ],
)
def test_a_connection_without_logging_in(reply: bytes, host: str, sent: bytes) -> None:
    steps = run(connect(STREAM, hop(b"socks5h"), host, 443), b"\x05\x00" + reply)
    assert written(steps) == b"\x05\x01\x00" + b"\x05\x01\x00" + sent + b"\x01\xbb"
    assert isinstance(steps[-1], Rename)
    shown = f"[{host}]" if ":" in host else host
    assert steps[-1].peer == f"{shown}:443 through the proxy socks5h://proxy.test:1080"


def test_logging_in() -> None:
    script = connect(STREAM, hop(b"socks5", (b"user", b"pass")), "192.0.2.1", 80)
    steps = run(script, b"\x05\x02\x01\x00" + FROM_V4)
    assert written(steps).startswith(b"\x05\x02\x00\x02" + b"\x01\x04user\x04pass")


def test_a_proxy_that_does_not_want_the_password_does_not_get_it() -> None:
    script = connect(STREAM, hop(b"socks5", (b"user", b"pass")), "192.0.2.1", 80)
    assert b"pass" not in written(run(script, b"\x05\x00" + FROM_V4))


# The texts of httpcore 1.0.9.
WANTED = "Requested {} from proxy server, but got {}."
SAID = "Proxy Server could not connect: {}."

REFUSED_5 = [
    (None, b"\x05\x02", WANTED.format("NO AUTHENTICATION REQUIRED", "USERNAME/PASSWORD")),
    (None, b"\x05\xff", WANTED.format("NO AUTHENTICATION REQUIRED", "NO ACCEPTABLE METHODS")),
    ((b"u", b"p"), b"\x05\xff", WANTED.format("USERNAME/PASSWORD", "NO ACCEPTABLE METHODS")),
    ((b"u", b"p"), b"\x05\x01", WANTED.format("USERNAME/PASSWORD", "GSSAPI")),
    ((b"u", b"p"), b"\x05\x63", WANTED.format("USERNAME/PASSWORD", "UNKNOWN")),
    ((b"u", b"p"), b"\x05\x02\x01\x01", "Invalid username/password"),
    (None, b"\x05\x00\x05\x01\x00\x01\x00", SAID.format("General SOCKS server failure")),
    (
        None,
        b"\x05\x00\x05\x02\x00\x01\x00",
        SAID.format("Connection not allowed by ruleset"),
    ),
    (None, b"\x05\x00\x05\x05\x00\x01\x00", SAID.format("Connection refused")),
    (None, b"\x05\x00\x05\x63\x00\x01\x00", SAID.format("reply code 99")),
]


@pytest.mark.parametrize(("auth", "replies", "reason"), REFUSED_5)
def test_a_refusal(auth: tuple[bytes, bytes] | None, replies: bytes, reason: str) -> None:
    with pytest.raises(ProxyError) as caught:
        run(connect(STREAM, hop(b"socks5h", auth), "origin.test", 443), replies)
    assert str(caught.value) == reason
    assert explain(caught.value) == (
        f"connect to origin.test:443 at the proxy socks5h://proxy.test:1080 was refused: {reason}"
    )
    assert caught.value.phase == "not_sent"


BROKEN: list[tuple[bytes, Any, str]] = [
    (
        b"socks5h",
        b"HTTP/1.1 400 Bad Request\r\n",
        "does not speak SOCKS: .* begins with 0x48; an http:// proxy",
    ),
    (b"socks5h", b"\x05\x00\x04\x00\x00\x01\x00", "does not speak SOCKS: .* begins with 0x04"),
    (b"socks5h", b"\x05\x00\x05\x00\x00\x09\x00", "an address of the unknown type 9"),
    (b"socks5h", [b""], "closed the connection after 0 bytes"),
    (b"socks5h", [b"\x05", b""], "closed the connection after 1 bytes"),
    (b"socks5h", [ReadError("gone")], "failed: gone"),
    (b"socks4a", b"\x05\x00", "does not speak SOCKS: .* begins with 0x05"),
]


@pytest.mark.parametrize(("scheme", "replies", "text"), BROKEN)
def test_a_proxy_that_breaks_the_protocol(scheme: bytes, replies: Any, text: str) -> None:
    with pytest.raises(ProxyError, match=text):
        run(connect(STREAM, hop(scheme), "origin.test", 443), replies)


def test_a_proxy_that_does_not_answer() -> None:
    with pytest.raises(ProxyConnectTimeout, match=r"connect to h:1 at .* timed out: slow"):
        run(connect(STREAM, hop(b"socks5h"), "h", 1), [ReadTimeout("slow")])


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(ProxyError, match="SOCKS 5 takes names of at most 255 bytes"):
        run(connect(STREAM, hop(b"socks5h"), "a." * 128, 1), b"\x05\x00")


# --- SOCKS 4 ---


@pytest.mark.parametrize(
    ("host", "auth", "sent"),
    [
        ("192.0.2.1", None, b"\xc0\x00\x02\x01\x00"),
        ("10.0.0.1", (b"user", b"x"), b"\x0a\x00\x00\x01user\x00"),
        ("origin.test", None, b"\x00\x00\x00\x01\x00origin.test\x00"),
        ("origin.test", (b"user", b""), b"\x00\x00\x00\x01user\x00origin.test\x00"),
    ],
)
def test_socks_4(host: str, auth: tuple[bytes, bytes] | None, sent: bytes) -> None:
    steps = run(connect(STREAM, hop(b"socks4a", auth), host, 443), b"\x00\x5a" + bytes(6))
    assert written(steps) == b"\x04\x01\x01\xbb" + sent


@pytest.mark.parametrize(
    ("code", "reason"), [(91, "Request rejected or failed"), (92, "identd"), (77, "reply code 77")]
)
def test_a_refusal_of_socks_4(code: int, reason: str) -> None:
    with pytest.raises(ProxyError, match=f"^Proxy Server could not connect: .*{reason}"):
        run(connect(STREAM, hop(b"socks4a"), "h", 1), bytes([0, code]) + bytes(6))


def test_socks_4_knows_no_ipv6() -> None:
    with pytest.raises(ProxyError, match=r"SOCKS 4 knows no IPv6; use socks5:// or socks5h://"):
        run(connect(STREAM, hop(b"socks4a"), "::1", 1), b"")


# --- who resolves ---


@pytest.mark.parametrize(
    ("scheme", "resolved", "sent"),
    [
        (b"socks5", ["::1", "192.0.2.1"], b"\x04" + bytes(15) + b"\x01"),
        (b"socks5", ["origin.test"], b"\x03\x0borigin.test"),  # the backend cannot say
        (b"socks4", ["::1", "192.0.2.1"], b"\xc0\x00\x02\x01\x00"),
        (b"socks5h", None, b"\x03\x0borigin.test"),
        (b"socks4a", None, b"\x00\x00\x00\x01\x00origin.test\x00"),
    ],
)
def test_who_resolves_the_name(scheme: bytes, resolved: list[str] | None, sent: bytes) -> None:
    """After the proxy has said that it is one."""
    script = dial(Plan(b"origin.test", 80, None, hop=hop(scheme)))
    step = next(script)
    assert step == OpenTCP("proxy.test", 1080, None, None, "socks")
    step = script.send(STREAM)
    assert isinstance(step, TraceEvent)
    step = script.send(None)
    if scheme.startswith(b"socks5"):
        assert step == Write(STREAM, b"\x05\x01\x00")
        assert script.send(None) == Read(STREAM, 2)
        step = script.send(b"\x05\x00")
    if resolved is not None:
        assert step == Resolve("origin.test", 80)
        step = script.send(resolved)
    assert isinstance(step, Write)
    assert sent in step.data


def test_an_address_is_not_looked_up() -> None:
    steps = run(connect(STREAM, hop(b"socks5"), "192.0.2.1", 80), b"\x05\x00" + FROM_V4)
    assert not any(isinstance(step, Resolve) for step in steps)


# --- the shell ---


@pytest.mark.parametrize(
    ("scheme", "by_name"),
    [("socks5h", True), ("socks5", False), ("socks4a", True), ("socks4", False)],
)
def test_a_pool_behind_a_socks_proxy(
    socks: SocksServer,
    server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    by_name: bool,
) -> None:
    """Row 38: "with socks5h, `getaddrinfo` for the target is never called"."""
    socks.hosts = {"origin.test": "127.0.0.1"}
    looked_up: list[bytes] = []
    ask_system = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any) -> Any:
        looked_up.append(host)
        return ask_system("127.0.0.1" if host == "origin.test" else host, *args)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with httpcore.SOCKSProxy(f"{scheme}://{socks.address}") as pool:
        for _ in range(2):
            assert pool.request("GET", f"http://origin.test:{server.port}/").status == 200
        assert pool.stats()["idle"] == 1
    [request] = socks.requests
    assert (request.by_name, request.port) == (by_name, server.port)
    assert request.host == ("origin.test" if by_name else "127.0.0.1")
    assert ("origin.test" in looked_up) is not by_name
    assert server.requests[0].header("host") == b"origin.test:%d" % server.port


def test_tls_and_a_password(
    socks: SocksServer, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    socks.credentials = ("user", "pass")
    url = f"socks5h://user:pass@{socks.address}"
    with httpcore.SOCKSProxy(url, ssl_context=client_tls_context) as pool:
        assert pool.request("GET", tls_server.url).status == 200
    assert socks.requests[0].password == "pass"


def test_a_wrong_password(socks: SocksServer, server: LocalServer) -> None:
    socks.credentials = ("user", "pass")
    with httpcore.SOCKSProxy(f"socks5h://{socks.address}", ("user", "secret")) as pool:
        with pytest.raises(httpcore.ProxyError, match="Invalid username/password") as caught:
            pool.request("GET", server.url)
        assert "secret" not in str(caught.value)
        assert pool.stats()["connections"] == 0


def test_an_ipv6_target(socks: SocksServer, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.respond(200, b"six")

    six = serve(handler, host="::1")
    with httpcore.SOCKSProxy(f"socks5h://{socks.address}") as pool:
        assert pool.request("GET", six.url).content == b"six"
    assert (socks.requests[0].host, socks.requests[0].by_name) == ("::1", False)


def test_a_socks_proxy_that_stays_silent(serve: Serve) -> None:
    """Row 38: "timeouts cover the handshake"."""

    def handler(peer: Peer) -> None:
        peer.wait_closed()

    silent = serve(handler)
    with httpcore.SOCKSProxy(f"socks5h://127.0.0.1:{silent.port}") as pool:
        with pytest.raises(ProxyConnectTimeout):
            pool.request("GET", "http://h/", extensions={"timeout": {"connect": 0.1}})


def test_failures_say_which_hop(
    socks: SocksServer, tls_server: LocalServer, closed_port: int
) -> None:
    with httpcore.ConnectionPool() as pool:

        def ask(url: str, proxy: str) -> None:
            pool.request("GET", url, extensions={"proxy": httpcore.Proxy(proxy)})

        with pytest.raises(ProxyConnectError, match="cannot reach the proxy socks5h://127"):
            ask("http://h/", f"socks5h://127.0.0.1:{closed_port}")
        with pytest.raises(TLSError, match=r"127.0.0.1:.* through the proxy socks5h://127"):
            ask(tls_server.url, f"socks5h://{socks.address}")
        with pytest.raises(NameResolutionError, match=r"look up no\.such\.invalid failed"):
            ask("http://no.such.invalid/", f"socks5://{socks.address}")
    assert tls_server.wait_for(lambda: bool(tls_server.handshake_errors))
    tls_server.handshake_errors.clear()


def test_other_proxies_are_for_another_class() -> None:
    with pytest.raises(httpcore.UnsupportedProtocol, match="http:// is no SOCKS proxy"):
        httpcore.SOCKSProxy("http://proxy.test")


# --- streams that give more than they are asked for ---

ANSWERS = {
    "socks5h": [b"\x05\x02", b"\x01\x00", b"\x05\x00\x00" + FROM_V4[3:]],
    "socks4a": [b"\x00\x5a" + bytes(6)],
}


@pytest.mark.parametrize("scheme", ANSWERS)
@pytest.mark.parametrize("together", [False, True])
def test_no_surplus_is_lost(scheme: str, together: bool) -> None:
    """A mock gives its next piece whole, as httpcore 1.0.9's does."""
    answers = [b"".join(ANSWERS[scheme])] if together else list(ANSWERS[scheme])
    run(connect(STREAM, hop(scheme.encode(), (b"user", b"pass")), "origin.test", 443), answers)
    assert answers == []


@pytest.mark.parametrize("scheme", ANSWERS)
def test_what_comes_before_anything_was_asked_for(scheme: str) -> None:
    answers = [b"".join(ANSWERS[scheme]) + b"H"]
    with pytest.raises(ProxyError, match="sent data before anything was asked for"):
        run(connect(STREAM, hop(scheme.encode(), (b"user", b"pass")), "origin.test", 443), answers)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_request_over_a_mock(scheme: str) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    network = httpcore.MockBackend([b"\x05\x00", FROM_V4, answer])
    proxy = httpcore.Proxy("socks5h://proxy.test")
    with httpcore.ConnectionPool(proxy=proxy, network_backend=network) as pool:
        assert pool.request("GET", f"{scheme}://origin.test/").content == b"hello"
