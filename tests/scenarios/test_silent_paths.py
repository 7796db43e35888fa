"""Row 2: a path that is gone without a sign is found at the next request, not after its timeout.

Owns: what happens to a request on a connection that was idle, when its bytes are not even
acknowledged. Must not know: how long three seconds are; the streams here have no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import httpcore
from httpcore._core.limits import ACK_PATIENCE
from httpcore._shared import pool_actions, pool_slots
from httpcore._sync import connection_pool
from tests.support.servers import Peer, ScriptedServer

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


class Path(httpcore.NetworkStream):
    """Answers each request until it is cut; from then on it is silent."""

    def __init__(self, number: int, unacknowledged: int | None) -> None:
        self.body = b"%02d" % number
        self.unacknowledged = unacknowledged
        self.cut = False
        self.answers_after: float | None = None
        self.waited: list[float | None] = []
        self.closed = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.cut and (self.answers_after is None or len(self.waited) < 1):
            self.waited.append(timeout)
            raise httpcore.ReadTimeout("silence")
        return ANSWER + self.body

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, info: str) -> Any:
        return {"is_readable": False, "unacknowledged": self.unacknowledged}.get(info)


class Network(httpcore.NetworkBackend):
    def __init__(self, unacknowledged: int | None) -> None:
        self.paths: list[Path] = []
        self.unacknowledged = unacknowledged

    def connect_tcp(self, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        self.paths.append(Path(len(self.paths) + 1, self.unacknowledged))
        return self.paths[-1]


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    clock = SimpleNamespace(now=1000.0)
    for module in (connection_pool, pool_actions, pool_slots):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def pass_by(seconds: float) -> None:
        clock.now += seconds

    return pass_by


def silent_pool(unacknowledged: int | None, idle: Any, seconds: float = 30.0) -> Any:
    network = Network(unacknowledged)
    pool = httpcore.ConnectionPool(network_backend=network)
    assert pool.request("GET", "http://a.test/").content == b"01"
    idle(seconds)
    network.paths[0].cut = True
    return pool, network


@pytest.mark.parametrize("timeout", [None, 300.0])
def test_row_2_a_silent_path_costs_one_fresh_connect(idle: Any, timeout: float | None) -> None:
    """Row 2: "when the idle path is black-holed the next request finishes within one fresh
    connect, not after the read timeout"."""
    pool, network = silent_pool(60, idle)
    extensions = {"timeout": {"read": timeout}}
    assert pool.request("GET", "http://a.test/", extensions=extensions).content == b"02"
    assert network.paths[0].waited == [ACK_PATIENCE]
    assert network.paths[0].closed
    assert pool.stats()["connections"] == 1


def test_a_post_without_a_body_is_not_sent_again(idle: Any) -> None:
    pool, network = silent_pool(60, idle)
    with pytest.raises(httpcore.ReadError, match="has not acknowledged POST /") as caught:
        pool.request("POST", "http://a.test/", headers={"Content-Length": "0"})
    assert caught.value.phase == "maybe_processed"
    assert len(network.paths) == 1


@pytest.mark.parametrize("unacknowledged", [0, None])
def test_a_server_that_is_only_slow_is_waited_for(idle: Any, unacknowledged: int | None) -> None:
    pool, network = silent_pool(unacknowledged, idle)
    network.paths[0].answers_after = 1
    extensions = {"timeout": {"read": 300.0}}
    assert pool.request("GET", "http://a.test/", extensions=extensions).content == b"01"
    assert network.paths[0].waited == [ACK_PATIENCE]


def test_a_server_that_stays_slow_has_the_whole_timeout(idle: Any) -> None:
    pool, network = silent_pool(0, idle)
    with pytest.raises(httpcore.ReadTimeout, match="no byte within 300 s"):
        pool.request("GET", "http://a.test/", extensions={"timeout": {"read": 300.0}})
    assert network.paths[0].waited == [ACK_PATIENCE, 300.0 - ACK_PATIENCE]


@pytest.mark.parametrize(
    ("seconds", "timeout", "content"),
    [(0.5, 300.0, None), (30.0, 2.0, None), (30.0, 300.0, b"body")],
    ids=["just used", "short timeout", "with a body"],
)
def test_without_doubt_the_timeout_is_the_callers(
    idle: Any, seconds: float, timeout: float, content: bytes | None
) -> None:
    pool, network = silent_pool(60, idle, seconds)
    with pytest.raises(httpcore.ReadTimeout):
        pool.request(
            "PUT", "http://a.test/", content=content, extensions={"timeout": {"read": timeout}}
        )
    assert network.paths[0].waited == [timeout]
    assert len(network.paths) == 1


def test_what_a_live_peer_was_sent_is_acknowledged(
    serve: Callable[..., ScriptedServer],
) -> None:
    def answer(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, b"ok")

    server = serve(answer)
    with httpcore.ConnectionPool() as pool:
        response = pool.request("GET", server.url)
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("unacknowledged") in (0, None)
    assert stream.get_extra_info("unacknowledged") is None
