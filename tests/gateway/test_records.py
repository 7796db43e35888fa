"""What the record of a request says at its end, in every way that one can end.

Owns: `Record` as an exchange fills it in, and that nothing of the request is left over. A scripted
ASGI server in this process stands in front, real servers on loopback behind. Must not know: how
the figures are shown (``test_admin``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import httpcore
from httpcore_gateway import Breaker, Gateway, Route, Timeouts, Upstream
from httpcore_gateway._record import KINDS, Record
from tests.support import PATIENCE
from tests.support.gateways import Kept, make_settings
from tests.support.loops import ASYNCIO
from tests.support.servers import LocalServer, Peer, Serve
from tests.support.tasks import until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ASYNCIO)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


class FakeServer:
    """The ASGI server and its client, for one request.

    Parameters:
        target: path and query.
        pieces: of the request's body; the client sends no more until it leaves.
        length: its Content-Length; None for that of `pieces`.

    Attributes:
        sent: the messages that the gateway has sent.
    """

    def __init__(
        self,
        target: str = "/",
        method: str = "GET",
        pieces: tuple[bytes, ...] = (),
        length: int | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = ((b"host", b"a.test"),),
    ) -> None:
        path, _, query = target.partition("?")
        total = sum(map(len, pieces))
        length = total if length is None else length
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [*headers, (b"content-length", b"%d" % length)] if pieces else [*headers],
            "client": ("192.0.2.1", 1234),
            "server": ("127.0.0.1", 80),
        }
        self.sent: list[Any] = []
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        given = 0
        for piece in pieces or (b"",):
            given += len(piece)
            more = bool(pieces) and given < length
            self._incoming.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    async def receive(self) -> Any:
        return await self._incoming.get()

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        """Say to the gateway that the client is gone."""
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def call(self, gateway: Gateway) -> None:
        await asyncio.wait_for(gateway(self.scope, self.receive, self.send), PATIENCE)

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


@pytest.fixture
async def make(anyio_backend: Any) -> AsyncIterator[Callable[..., Kept]]:
    """`make(*upstreams, ...)` makes a gateway that is closed with the test, and then has no request
    to an upstream under way."""
    made: list[Kept] = []

    def make(*upstreams: Any, **options: Any) -> Kept:
        made.append(Kept(make_settings(*upstreams, **options)))
        return made[-1]

    yield make
    for gateway in made:
        stats = gateway.stats()
        assert stats["in_flight"] == {"http": 0, "websocket": 0}
        assert [(each["active"], each["waiting"]) for each in stats["upstreams"]] == [
            (0, 0) for _ in gateway.targets
        ]
        await gateway.aclose()


Make = Callable[..., Kept]


def check(record: Record, **expected: Any) -> None:
    """Compare what `expected` names; all that a failure needs has to be there, or nothing."""
    found = {name: getattr(record, name) for name in expected}
    assert found == expected, record.failure
    assert 0 < record.began <= record.ended
    assert bool(record.failure) == bool(record.kind)
    assert not record.kind or record.kind in KINDS


def url_of(record: Record) -> str | None:
    return None if record.member is None else record.member.server.settings.url


# --- a response ---


async def test_a_response(make: Make, server: LocalServer) -> None:
    gateway = make(server.url)
    fake = FakeServer("/upload", "POST", (b"x" * 600, b"y" * 400))
    await fake.call(gateway)
    check(gateway.record, status=200, received=1000, sent=len(fake.body), attempts=1, route=0)
    check(gateway.record, failure="", client_left=False)
    assert url_of(gateway.record) == server.url
    assert fake.body.startswith(b'{"length": 1000')


async def test_a_response_of_another_upstream(
    make: Make, server: LocalServer, closed_port: int
) -> None:
    """The failure of the first one is none of the request's."""
    gateway = make(server.url, f"http://127.0.0.1:{closed_port}")
    await FakeServer("/").call(gateway)  # the second one is asked first
    check(gateway.record, status=200, failure="", kind="", attempts=2)
    assert url_of(gateway.record) == server.url
    [figures, _] = gateway.stats()["routes"]
    assert (figures["retries"], figures["failures"]) == (1, {})
    assert [each["failures"] for each in figures["upstreams"]] == [0, 1]


async def test_a_client_that_is_gone_when_the_response_is_complete(
    make: Make, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers say so to those that listen then: that is no client that did not wait."""
    gateway = make(server.url)
    fake = FakeServer("/drip/3?delay=0.05")  # for longer than until the gateway listens
    close = httpcore.Response.aclose
    cancelled = []

    async def close_slowly(response: Any) -> None:
        await close(response)
        fake.leave()
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            cancelled.append(response)
            raise

    monkeypatch.setattr(httpcore.Response, "aclose", close_slowly)
    await fake.call(gateway)
    assert cancelled
    check(gateway.record, status=200, sent=3, client_left=False, failure="")


# --- problems ---


async def test_no_route(make: Make, server: LocalServer) -> None:
    gateway = make(server.url, path="/api")
    fake = FakeServer("/other")
    await fake.call(gateway)
    check(gateway.record, status=404, kind="no_route", route=None, member=None, attempts=0)
    check(gateway.record, sent=len(fake.body))
    assert gateway.stats()["routes"][-1]["requests"]["4xx"] == 1


async def test_a_bad_request(make: Make, server: LocalServer) -> None:
    gateway = make(server.url)
    await FakeServer("/", headers=()).call(gateway)
    check(gateway.record, status=400, kind="bad_request", route=None, attempts=0)


async def test_a_body_that_is_too_long(make: Make, server: LocalServer) -> None:
    gateway = make(server.url, max_body=10)
    await FakeServer("/upload", "POST", (b"x" * 11,)).call(gateway)
    check(gateway.record, status=413, kind="body_refused", route=0, attempts=0)


@pytest.mark.parametrize(
    ("queue", "kind", "attempts"), [(0, "queue_full", 0), (1, "queue_timeout", 1)]
)
async def test_an_upstream_that_is_full(
    queue: int, kind: str, attempts: int, make: Make, server: LocalServer
) -> None:
    upstream = Upstream(server.url, max_connections=1, max_queue=queue)
    gateway = make(upstream, timeouts=Timeouts(queue=0.05))
    first = FakeServer("/hang")
    task = asyncio.ensure_future(first.call(gateway))
    await until(lambda: server.requests)
    await FakeServer("/").call(gateway)
    check(gateway.record, status=503, kind=kind, attempts=attempts, route=0)
    first.leave()
    await task


async def test_a_breaker_that_is_open(make: Make, closed_port: int) -> None:
    gateway = make(f"http://127.0.0.1:{closed_port}", breaker=Breaker(failures=1, seconds=30.0))
    for _ in range(2):
        await FakeServer("/").call(gateway)
    refused, left_out = gateway.records
    check(refused, status=502, kind="connect_error", attempts=1)
    assert str(closed_port) in refused.failure
    check(left_out, status=503, kind="breaker_open", attempts=0, member=None)


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [("/hang", 504, "timeout"), ("/drop", 502, "network_error")],
)
async def test_no_response(
    path: str, status: int, kind: str, make: Make, server: LocalServer
) -> None:
    gateway = make(server.url, timeouts=Timeouts(read=0.1))
    await FakeServer(path).call(gateway)
    check(gateway.record, status=status, kind=kind, attempts=1, client_left=False)


async def test_no_connection_in_time(make: Make, black_hole: tuple[str, int]) -> None:
    gateway = make("http://{}:{}".format(*black_hole), timeouts=Timeouts(connect=0.1))
    await FakeServer("/").call(gateway)
    check(gateway.record, status=504, kind="connect_timeout", attempts=1)


@pytest.mark.parametrize("answer", [b"SSH-2.0\r\n\r\n", b"HTTP/1.1 700 No\r\n\r\n"])
async def test_what_is_no_response(answer: bytes, make: Make, serve: Serve) -> None:
    def handle(peer: Peer) -> None:
        peer.recv_head()
        peer.send(answer)

    gateway = make(serve(handle).url)
    await FakeServer("/").call(gateway)
    check(gateway.record, status=502, kind="bad_response", attempts=1)


async def test_a_response_that_breaks_off(make: Make, server: LocalServer) -> None:
    gateway = make(server.url)
    fake = FakeServer("/truncated/1000")
    await fake.call(gateway)
    assert fake.sent[-1]["more_body"]  # so the server closes the client's connection
    check(gateway.record, status=200, kind="broken_response", sent=500, client_left=False)


async def test_a_response_that_breaks_off_while_it_is_collected(make: Make, serve: Serve) -> None:
    """For HTTP/1.0, which has to know its length."""

    def handle(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")

    gateway = make(serve(handle).url)
    fake = FakeServer("/")
    fake.scope["http_version"] = "1.0"
    await fake.call(gateway)
    check(gateway.record, status=502, kind="broken_response", sent=len(fake.body))


# --- clients and servers that do not wait ---


async def test_a_client_that_sends_too_slowly(make: Make, server: LocalServer) -> None:
    gateway = make(server.url, timeouts=Timeouts(client=0.1))
    fake = FakeServer("/upload", "POST", (b"x" * 60,), length=100)
    await fake.call(gateway)
    check(gateway.record, status=408, kind="client_timeout", received=60, client_left=False)


async def test_a_client_that_takes_nothing(make: Make, server: LocalServer) -> None:
    gateway = make(server.url, timeouts=Timeouts(client=0.1))
    fake = FakeServer("/bytes/300000")
    send, forever = fake.send, asyncio.Event()

    async def send_two(message: Any) -> None:
        if len(fake.sent) == 2:
            await forever.wait()
        await send(message)

    fake.send = send_two  # type: ignore[method-assign]
    await fake.call(gateway)
    check(gateway.record, status=200, kind="client_timeout", client_left=True, sent=len(fake.body))


async def test_a_client_that_leaves_before_the_response(make: Make, server: LocalServer) -> None:
    gateway = make(server.url)
    fake = FakeServer("/hang")
    task = asyncio.ensure_future(fake.call(gateway))
    await until(lambda: server.requests)
    assert gateway.stats()["in_flight"]["http"] == 1
    fake.leave()
    await task
    check(gateway.record, status=0, sent=0, client_left=True, failure="", attempts=1)
    assert url_of(gateway.record) == server.url


async def test_a_client_that_leaves_within_its_body(make: Make, server: LocalServer) -> None:
    gateway = make(server.url)
    fake = FakeServer("/upload", "POST", (b"x" * 60,), length=100)
    task = asyncio.ensure_future(fake.call(gateway))
    await until(lambda: server.accepted)
    fake.leave()
    await task
    check(gateway.record, status=0, received=60, client_left=True, failure="")


async def test_a_client_that_leaves_within_the_response(make: Make, serve: Serve) -> None:
    def handle(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        peer.wait_closed()

    gateway = make(serve(handle).url)
    fake = FakeServer("/")
    task = asyncio.ensure_future(fake.call(gateway))
    await until(lambda: len(fake.sent) == 2)
    fake.leave()
    await task
    check(gateway.record, status=200, sent=3, client_left=True, failure="")


async def test_a_server_that_raises_when_the_client_has_left(
    make: Make, server: LocalServer
) -> None:
    """As ASGI says from version 2.4 on."""
    gateway = make(server.url)
    fake = FakeServer("/bytes/300000")
    send = fake.send

    async def fail_later(message: Any) -> None:
        if len(fake.sent) == 2:
            raise OSError("the client has left")
        await send(message)

    fake.send = fail_later  # type: ignore[method-assign]
    await fake.call(gateway)
    check(gateway.record, status=200, client_left=True, failure="", sent=len(fake.body))
    assert 0 < gateway.record.sent < 300_000


async def test_a_server_that_cancels_the_request(make: Make, server: LocalServer) -> None:
    gateway = make(server.url)
    fake = FakeServer("/hang")
    task = asyncio.ensure_future(fake.call(gateway))
    await until(lambda: server.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    check(gateway.record, status=0, kind="cancelled", client_left=False, attempts=1)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a mistake"),
        OSError("too many open files"),  # not taken for a client that has left
    ],
    ids=repr,
)
async def test_what_nobody_expects(
    error: Exception, make: Make, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = make(server.url)

    async def fail(request: object) -> None:
        raise error

    monkeypatch.setattr(gateway.targets[0].pool, "handle_async_request", fail)
    with pytest.raises(type(error), match=str(error)):
        await FakeServer("/").call(gateway)
    check(gateway.record, status=0, kind="other", client_left=False)


async def test_two_routes_to_one_upstream(make: Make, server: LocalServer) -> None:
    """Each route has figures of its own."""
    routes = (Route(upstreams=(server.url,)), Route(upstreams=(server.url,), path="/bytes"))
    gateway = make(routes=routes)
    await FakeServer("/bytes/10").call(gateway)
    check(gateway.record, route=1, status=200, sent=10)
    stats = gateway.stats()
    assert [route["bytes_sent"] for route in stats["routes"]] == [0, 10, 0]
    assert [each["opened"] for each in stats["upstreams"]] == [1]
