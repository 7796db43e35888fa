"""The log at INFO: one line for each request, in either world, over either protocol.

Owns: when a line is written, what stands in it, and who writes none. Must not know: the events that
are logged at DEBUG (`test_trace`).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests
from urllib3.util.retry import Retry

import httpcore
import httpcore_requests
from httpcore import _trace
from httpcore.exceptions import Aborted
from tests.support import ROOT
from tests.support.http2 import Code, Link, ServeH2, Stream
from tests.support.interrupting import interrupt_at
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, Serve, closed_port

#: Returns the name of what the request has raised.
Send = Callable[..., str]


def send(method: str, url: str, how: str = "read", **options: Any) -> str:
    """Send a request from a thread; return the name of what it raised."""
    with httpcore.ConnectionPool(**options) as pool:
        try:
            with pool.stream(method, url) as response:
                if how == "read":
                    response.read()
                elif how == "pieces":
                    list(response.iter_stream())
                elif how == "some":
                    next(response.iter_stream())
        except Exception as exc:
            return type(exc).__name__
    return ""


def send_as_task(method: str, url: str, how: str = "read", **options: Any) -> str:
    """As `send`, from a task."""

    async def main() -> str:
        async with httpcore.AsyncConnectionPool(**options) as pool:
            try:
                async with pool.stream(method, url) as response:
                    if how == "read":
                        await response.aread()
                    elif how == "pieces":
                        [part async for part in response.aiter_stream()]
                    elif how == "some":
                        await response.aiter_stream().__anext__()
            except Exception as exc:
                return type(exc).__name__
        return ""

    return asyncio.run(main())


@pytest.fixture(params=[send, send_as_task], ids=["sync", "async"])
def in_world(request: pytest.FixtureRequest) -> Send:
    function: Send = request.param
    return function


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """All that was logged by anybody; times are ``T``, and the server is ``here``."""
    for record in caplog.records:
        assert (record.name, record.levelno) == ("httpcore.request", logging.INFO), record
    said = [re.sub(r"\d+\.\d ms", "T ms", record.getMessage()) for record in caplog.records]
    return [re.sub(r"127\.0\.0\.1:\d+", "here", line) for line in said]


HTTP2 = {"http1": False, "http2": True}


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def over(
    request: pytest.FixtureRequest, server: LocalServer, serve_h2: ServeH2
) -> tuple[str, dict[str, bool]]:
    """The URL of a server, and the options of a pool for it."""
    if request.param == "HTTP/1.1":
        return server.url, {}
    return serve_h2().url, HTTP2


@pytest.mark.parametrize(
    ("path", "how", "expected"),
    [
        ("/bytes/4", "read", "200 4 bytes T ms new"),
        ("/bytes/200000", "read", "200 200000 bytes T ms new"),
        ("/bytes/200000", "pieces", "200 200000 bytes T ms new"),
        ("/bytes/4", "closed", "200 4 bytes T ms new"),
        ("/status/404", "read", "404 10 bytes T ms new"),
        ("/bytes/0", "read", "200 0 bytes T ms new"),
    ],
)
def test_one_line_for_a_request(
    in_world: Send, over: Any, path: str, how: str, expected: str, caplog: Any
) -> None:
    url, options = over
    assert in_world("GET", url + path, how, **options) == ""
    assert lines(caplog) == [f"GET http://here{path} {expected}"]


def test_a_body_that_was_not_read_to_its_end(in_world: Send, over: Any, caplog: Any) -> None:
    url, options = over
    assert in_world("GET", url + "/bytes/30000000", "some", **options) == ""
    [line] = lines(caplog)
    found = re.fullmatch(r"GET http://here/bytes/30000000 200 (\d+) bytes T ms new (.+)", line)
    assert found is not None, line
    assert 0 < int(found[1]) < 30000000
    assert found[2] == "closed early"


def test_a_body_that_breaks_off(in_world: Send, server: LocalServer, caplog: Any) -> None:
    assert in_world("GET", server.url + "/truncated/200000") == "IncompleteBody"
    [line] = lines(caplog)
    assert line == (
        "GET http://here/truncated/200000 200 100000 bytes T ms new broken off: IncompleteBody"
    )


def test_a_stream_that_breaks_off(in_world: Send, serve_h2: ServeH2, caplog: Any) -> None:
    def reset(stream: Stream) -> None:
        stream.head()
        stream.write(b"abc")
        stream.link.later(0.0, lambda: stream.reset(Code.INTERNAL_ERROR))

    def script(link: Link) -> None:
        link.serve(reset)

    assert in_world("GET", serve_h2(script).url, **HTTP2) == "RemoteProtocolError"
    [line] = lines(caplog)
    assert line.endswith(" T ms new broken off: RemoteProtocolError")


@pytest.mark.parametrize("make", ["/drop", "closed"])
def test_a_request_that_fails(in_world: Send, make: str, server: LocalServer, caplog: Any) -> None:
    if make == "closed":
        url, error, text = f"http://127.0.0.1:{closed_port()}/", "ConnectError", "connect to here"
    else:
        url, error, text = server.url + make, "ServerDisconnected", "http://here closed"
    assert in_world("POST", url) == error
    [line] = lines(caplog)
    assert line.startswith(f"POST http://here{url[url.index('/', 8) :]} failed after T ms: ")
    assert f" {error}: {text}" in line


def test_a_request_that_is_cut_off_by_its_timeout(server: LocalServer, caplog: Any) -> None:
    with httpcore.ConnectionPool(timeout={"read": 0.05}) as pool:
        with pytest.raises(httpcore.ReadTimeout):
            pool.request("GET", server.url + "/hang")
    [line] = lines(caplog)
    assert line.startswith("GET http://here/hang failed after T ms: ReadTimeout: read from here")


def test_a_task_that_is_cancelled(server: LocalServer, caplog: Any) -> None:
    async def main() -> None:
        async with httpcore.AsyncConnectionPool() as pool:
            task = asyncio.create_task(pool.request("GET", server.url + "/hang"))
            while not server.requests:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    [line] = lines(caplog)
    assert line.startswith("GET http://here/hang failed after T ms: CancelledError")


def test_reused_and_sent_again(serve: Serve, caplog: Any) -> None:
    """A connection that turns out to be dead is no request that has failed."""

    def once(peer: Peer) -> None:
        for _ in range(2):
            if peer.recv_request() is not None:
                peer.respond(200, b"ok")
        if peer.number == 1:
            peer.recv_request()

    server = serve(once)
    with httpcore.ConnectionPool() as pool:
        for _ in range(3):
            pool.request("GET", server.url)
    assert server.accepted == 2
    assert lines(caplog) == [
        f"GET http://here/ 200 2 bytes T ms {kind}" for kind in ("new", "reused", "new")
    ]


def test_each_response_of_a_retry_has_a_line(serve: Serve, caplog: Any) -> None:
    def unable(peer: Peer) -> None:
        for status in (503, 200):
            assert peer.recv_request() is not None
            peer.respond(status)

    config = httpcore.RetryConfig(1, statuses=[503], backoff=0)
    with httpcore.ConnectionPool(retries=config) as pool:
        pool.request("GET", serve(unable).url)
    assert [line.split()[2] for line in lines(caplog)] == ["503", "200"]


def test_a_connection_that_changes_hands(serve: Serve, caplog: Any) -> None:
    def switch(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        peer.wait_closed()

    headers = {"Host": "x", "Upgrade": "x", "Connection": "Upgrade"}
    with httpcore.ConnectionPool() as pool:
        with pool.stream("GET", serve(switch).url, headers=headers):
            assert lines(caplog) == ["GET http://here/ 101 0 bytes T ms new"]
    assert len(caplog.records) == 1


def test_a_response_that_is_dropped_has_none(server: LocalServer, caplog: Any) -> None:
    """The garbage collector must not take the lock of a log."""
    with httpcore.ConnectionPool() as pool:
        response: Any = pool.request("GET", server.url + "/bytes/30000000", stream=True)
        with pytest.warns(ResourceWarning, match="was dropped"):
            del response
    assert lines(caplog) == []


def test_secrets_are_not_shown(server: LocalServer, proxy: ProxyServer, caplog: Any) -> None:
    url = server.url.replace("://", "://me:s3cret@") + "/bytes/4?token=s3cret&a=s3cret#s3cret"
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", url)
    through = httpcore.Proxy(f"http://me:s3cret@127.0.0.1:{proxy.port}")
    with httpcore.ConnectionPool(proxy=through) as pool:
        pool.request("GET", url)
    with pytest.raises(httpcore.ConnectError):
        httpcore.request("GET", f"http://me:s3cret@127.0.0.1:{closed_port()}/?token=s3cret")
    first, second, failed = lines(caplog)
    assert first == "GET http://here/bytes/4?token=[secure]&a=[secure] 200 4 bytes T ms new"
    assert second == first
    assert failed.startswith("GET http://here/?token=[secure] failed after")
    assert "s3cret" not in caplog.text


def test_a_request_that_is_cancelled_before_it_began(server: LocalServer, caplog: Any) -> None:
    token = httpcore.CancelToken()
    token.cancel()
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(Aborted):
            pool.request("GET", server.url, extensions={"cancel": token})
    [line] = lines(caplog)
    assert line.startswith("GET http://here/ failed after T ms: Aborted: GET / was ended by")


def test_two_threads_that_close_a_response_write_one_line(server: LocalServer, caplog: Any) -> None:
    with httpcore.ConnectionPool() as pool:
        body = pool.request("GET", server.url).stream
    body.log.write(body)
    assert len(lines(caplog)) == 1


# --- under requests


def test_under_requests(server: LocalServer, caplog: Any) -> None:
    with httpcore_requests.Session() as session:
        session.get(server.url + "/bytes/4?token=s3cret")
        session.get(server.url + "/redirect/1")
        session.get(server.url + "/gzip/100000", stream=True).content  # noqa: B018
        session.get(server.url + "/bytes/4", stream=True).close()
        session.head(server.url + "/bytes/4")
        with pytest.raises(requests.ConnectionError):
            session.get(f"http://127.0.0.1:{closed_port()}/gone?token=s3cret")
    found = lines(caplog)
    assert [line.partition("http://here")[2].partition(" ")[0] for line in found] == [
        "/bytes/4?token=[secure]", "/redirect/1", "/echo", "/gzip/100000", "/bytes/4", "/bytes/4",
        "/gone?token=[secure]",
    ]  # fmt: skip
    assert found[0] == "GET http://here/bytes/4?token=[secure] 200 4 bytes T ms new"
    assert found[5] == "HEAD http://here/bytes/4 200 0 bytes T ms reused"


def test_each_attempt_of_a_policy_of_urllib3_has_a_line(server: LocalServer, caplog: Any) -> None:
    retries = Retry(2, status_forcelist=[503], raise_on_status=False)
    with httpcore_requests.Session(retries=retries) as session:
        session.get(server.url + "/status/503")
    assert len(lines(caplog)) == 3


# --- when there is none


def test_it_is_off_by_default(server: LocalServer, caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    with httpcore.ConnectionPool() as pool:
        response = pool.request("GET", server.url)
        assert response.stream.log is None
        caplog.set_level(logging.INFO)
        pool.request("GET", server.url)
        assert lines(caplog) == [], "it is looked up when a connection is opened"
        pool.retire()
        pool.request("GET", server.url)
        assert len(lines(caplog)) == 1
        caplog.set_level(logging.WARNING)
        pool.request("GET", server.url)
        assert len(lines(caplog)) == 1


def test_it_can_be_switched_off_alone(server: LocalServer, caplog: Any) -> None:
    caplog.set_level(logging.WARNING, "httpcore.request")
    caplog.set_level(logging.DEBUG, "httpcore")
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
    names = {record.name for record in caplog.records}
    assert "httpcore.http11" in names and "httpcore.request" not in names


def test_libraries_with_a_log_of_their_own_write_their_own(
    server: LocalServer, caplog: Any
) -> None:
    assert httpx.get(server.url).status_code == 200
    assert [record.name for record in caplog.records] == ["httpx"]


PROGRAM = """
import asyncio, logging, sys
logging.basicConfig(level=logging.INFO)
import httpcore, httpcore_requests
httpcore.request("GET", sys.argv[1])
httpcore_requests.Session().get(sys.argv[1])
asyncio.run(httpcore.aio.request("GET", sys.argv[1]))
"""


def test_a_program_that_logs_at_info(server: LocalServer) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, server.url],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = done.stderr.splitlines()
    assert len(written) == 3, written
    assert all(line.startswith("INFO:httpcore.request:GET http://127.0.0.1:") for line in written)


def test_an_interrupt_does_not_end_the_log(caplog: Any) -> None:
    """... of all that this thread sends from then on."""
    caplog.set_level(logging.INFO, "httpcore")
    written = 0
    for point in itertools.count(1):
        if not interrupt_at(point, lambda: _trace.info("a line")):
            break
        caplog.clear()
        _trace.info("the next")
        written += caplog.messages == ["the next"]
    assert point > 3 and written == point - 1


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_a_handler_that_ships_the_log_by_http(
    in_world: Send, server: LocalServer, level: int
) -> None:
    """It gets no line for its own requests, or there would be no end of them."""
    shipped: list[str] = []

    class Shipping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shipped.append(record.getMessage())
            assert len(shipped) < 100
            send("POST", f"{server.url}/ship")

    logger, handler = logging.getLogger("httpcore"), Shipping()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        assert in_world("GET", server.url) == ""
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert [text for text in shipped if "/ship" in text] == []
    assert len([text for text in shipped if "200" in text and "ms" in text]) == 1
    assert len(server.requests) == 1 + len(shipped)
