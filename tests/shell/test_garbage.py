"""What a request that failed leaves to the garbage collector: no frame.

A frame that names the exception which goes through it is kept by it, through the traceback, and the
other way round; with it what the frame has: bodies, responses, sockets. All of that would wait for
the collector, which may come late, and in any thread.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests

import httpcore
import httpcore_requests
from tests.support.servers import Peer, Serve, closed_port

PACKAGES = tuple(
    os.path.dirname(package.__file__ or "") + os.sep for package in (httpcore, httpcore_requests)
)

SETTINGS = b"\0\0\0\4\0\0\0\0\0"
PART = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# What the server sends to a request; None: it says nothing, until the client has gone.
ANSWERS: dict[str, bytes | None] = {
    "nothing": b"",
    "no HTTP": b"xx\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nA",
    "half a body": PART,
    "half a chunk": CHUNKED + b"5\r\nab",
    "a wrong chunk": CHUNKED + b"xx\r\n",
    "a wrong chunk behind another": CHUNKED + b"2\r\nok\r\nxx\r\n",
    "a wrong chunk, which is not whole": CHUNKED + b"xx",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "no name of a field": b"HTTP/1.1 200 OK\r\nno name: x\r\n\r\n",
    "refused": b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
    "silence": None,
}
ANSWERS_2: dict[str, bytes | None] = {
    "nothing": b"",
    "no HTTP/2": b"HTTP/1.1 400 Bad\r\n\r\n",
    "goaway": SETTINGS + b"\0\0\x08\7\0\0\0\0\0" + b"\0\0\0\0\0\0\0\2",
    "reset": SETTINGS + b"\0\0\x04\3\0\0\0\0\1" + b"\0\0\0\2",
    "silence": None,
}


def kept_by(frame: types.FrameType) -> list[str]:
    """Return the names in `frame` of exceptions that went through it."""
    names = []
    for name, value in frame.f_locals.items():
        traceback = value.__traceback__ if isinstance(value, BaseException) else None
        while traceback is not None:
            if traceback.tb_frame is frame:
                names.append(name)
            traceback = traceback.tb_next
    return names


@pytest.fixture
def garbage() -> Iterator[Callable[[], list[str]]]:
    """`garbage()`: the functions of our frames that only the collector has freed since the last
    call; with the names by which some of them kept what went through them."""

    def collect() -> list[str]:
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(0)
        frames = [each for each in gc.garbage if isinstance(each, types.FrameType)]
        ours = [each for each in frames if each.f_code.co_filename.startswith(PACKAGES)]
        found = [f"{each.f_code.co_qualname}: {', '.join(kept_by(each))}" for each in ours]
        frames.clear()
        ours.clear()
        gc.garbage.clear()
        return sorted(found, key=lambda text: text.endswith(": "))

    gc.collect()
    gc.disable()
    yield collect
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def answering(serve: Serve, answer: bytes | None) -> Any:
    def handler(peer: Peer) -> None:
        with suppress(OSError):
            peer.sock.recv(65536)
            if answer is None:
                peer.wait_closed()
            else:
                peer.send(answer)

    return serve(handler)


def limits(timeout: float) -> dict[str, Any]:
    return {"timeout": {"connect": timeout, "read": timeout}}


def send(url: str, options: dict[str, Any], timeout: float) -> None:
    with httpcore.ConnectionPool(**options) as pool:
        with suppress(httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError,
                      httpcore.ProxyError):  # fmt: skip
            pool.request("POST", url, content=b"x", extensions=limits(timeout))
            raise AssertionError("it did not fail")


async def asend(url: str, options: dict[str, Any], timeout: float) -> None:
    async with httpcore.AsyncConnectionPool(**options) as pool:
        with suppress(httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError,
                      httpcore.ProxyError):  # fmt: skip
            await pool.request("POST", url, content=b"x", extensions=limits(timeout))
            raise AssertionError("it did not fail")


def send_by_requests(url: str, options: dict[str, Any], timeout: float) -> None:
    with httpcore_requests.Session() as session:
        session.trust_env = False
        with suppress(requests.RequestException):
            session.post(url, data=b"x", timeout=(5, timeout))
            raise AssertionError("it did not fail")


def fails(kind: str, url: str, timeout: float = 5.0, **options: Any) -> None:
    if kind == "threads":
        send(url, options, timeout)
    elif kind == "tasks":
        asyncio.run(asend(url, options, timeout))
    else:
        send_by_requests(url, options, timeout)


KINDS = ["threads", "tasks", "requests"]


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "refused"])
@pytest.mark.parametrize("kind", KINDS)
def test_http11(serve: Serve, garbage: Callable[[], list[str]], kind: str, name: str) -> None:
    server = answering(serve, ANSWERS[name])
    if kind == "requests" and name == "no name of a field":
        pytest.skip("that line is left out, as by urllib3")
    if kind == "requests" and name == "half a chunk":
        pytest.skip("requests takes that for the end of the body")
    if kind == "requests" and (name == "half a body" or "wrong chunk" in name):
        pytest.skip("the response keeps its error, to raise it again")
    for _ in range(2):  # the first loads modules
        garbage()
        fails(kind, server.url, 0.05 if name == "silence" else 5.0)
    assert garbage() == []


@pytest.mark.parametrize("name", ANSWERS_2)
@pytest.mark.parametrize("kind", KINDS[:2])
def test_http2(serve: Serve, garbage: Callable[[], list[str]], kind: str, name: str) -> None:
    server = answering(serve, ANSWERS_2[name])
    for _ in range(2):
        garbage()
        fails(kind, server.url, 0.05 if name == "silence" else 5.0, http1=False, http2=True)
    assert garbage() == []


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks4"])
@pytest.mark.parametrize("name", ["nothing", "no HTTP", "refused", "half a head"])
@pytest.mark.parametrize("kind", KINDS[:2])
def test_proxies(
    serve: Serve, garbage: Callable[[], list[str]], kind: str, name: str, scheme: str
) -> None:
    server = answering(serve, ANSWERS[name])
    proxy = httpcore.Proxy(f"{scheme}://127.0.0.1:{server.port}")
    for _ in range(2):
        garbage()
        fails(kind, "https://a.test/", proxy=proxy)
    assert garbage() == []


@pytest.mark.parametrize("name", ["nothing", "no TLS", "untrusted", "silence"])
@pytest.mark.parametrize("kind", KINDS[:2])
def test_tls_in_tls(
    serve: Serve,
    garbage: Callable[[], list[str]],
    server_tls_context: ssl.SSLContext,
    client_tls_context: ssl.SSLContext,
    kind: str,
    name: str,
) -> None:
    def handler(peer: Peer) -> None:
        with suppress(OSError):
            peer.recv_head()
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            if name == "silence":
                peer.wait_closed()
            elif name == "untrusted":
                answer_hello(peer, server_tls_context)
            else:
                peer.recv()
                peer.send(b"HTTP/1.1 400 Bad\r\n\r\n" if name == "no TLS" else b"")

    server = serve(handler, tls=server_tls_context)
    proxy = httpcore.Proxy(server.url, ssl_context=client_tls_context)
    trusts_nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for _ in range(2):
        garbage()
        wait = 0.1 if name == "silence" else 5.0
        fails(kind, "https://a.test/", wait, proxy=proxy, ssl_context=trusts_nobody)
    assert garbage() == []


def answer_hello(peer: Peer, context: ssl.SSLContext) -> None:
    """Do the server's half of a handshake inside of the peer's TLS, and send what it answers."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    inner = context.wrap_bio(incoming, outgoing, server_side=True)
    with suppress(ssl.SSLError):
        while received := peer.recv():
            incoming.write(received)
            with suppress(ssl.SSLWantReadError):
                inner.do_handshake()
            peer.send(outgoing.read())


@pytest.mark.parametrize("where", ["refused", "two addresses", "no name", "no TLS", "untrusted"])
@pytest.mark.parametrize("kind", KINDS)
def test_connecting(
    serve: Serve,
    garbage: Callable[[], list[str]],
    tls_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    where: str,
) -> None:
    port = closed_port()
    if where == "two addresses":
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))] * 2
        monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: found)
    url = {
        "refused": f"http://127.0.0.1:{port}/",
        "two addresses": f"http://a.test:{port}/",
        "no name": "http://a.invalid/",
        "no TLS": answering(serve, b"HTTP/1.1 400 Bad\r\n\r\n").url.replace("http:", "https:"),
        "untrusted": tls_server.url,
    }[where]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for _ in range(2):
        garbage()
        fails(kind, url, ssl_context=context, retries=1)
    assert garbage() == []


@pytest.mark.parametrize("kind", KINDS[:2])
def test_a_unix_socket(garbage: Callable[[], list[str]], kind: str) -> None:
    for _ in range(2):
        garbage()
        fails(kind, "http://a.test/", uds="/no/such/socket")
    assert garbage() == []
