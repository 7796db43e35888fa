"""When a request is sent again: the policy without I/O, then a pool that follows it.

Owns: `httpcore._core.retry`, and the pool's part in it. Must not know: urllib3's `Retry`, which the
adapter runs.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import httpcore
from httpcore._core.retry import Retries, RetryBudget, retry_after
from httpcore._exceptions import Aborted, ServerDisconnected, TLSError
from tests.support.servers import Peer, ScriptedServer, Serve


def failure(kind: type[Exception], phase: str | None = None) -> Exception:
    error = kind("why")
    if phase is not None:
        error.phase = phase  # type: ignore[attr-defined]
    return error


# --- which failures ---


@pytest.mark.parametrize(
    ("error", "get", "post"),
    [
        (failure(httpcore.ConnectError), True, True),
        (failure(httpcore.ConnectTimeout), True, True),
        (failure(httpcore.WriteError, "not_sent"), True, True),
        (failure(httpcore.WriteError), True, False),
        (failure(httpcore.WriteTimeout), True, False),
        (failure(httpcore.ReadError), True, False),
        (failure(httpcore.ReadTimeout), True, False),
        (failure(ServerDisconnected), True, False),
        (failure(httpcore.ReadError, "response_started"), False, False),
        (failure(httpcore.RemoteProtocolError, "response_started"), False, False),
        (failure(httpcore.PoolTimeout), False, False),
        (failure(TLSError), False, False),
        (failure(Aborted), False, False),
        (failure(httpcore.LocalProtocolError), False, False),
        (failure(httpcore.ProxyError), False, False),
        (ValueError("mine"), False, False),
    ],
)
def test_what_is_tried_again(error: Exception, get: bool, post: bool) -> None:
    config = httpcore.RetryConfig()
    for method, expected in ((b"GET", get), (b"POST", post)):
        delay = Retries(config, method).after_failure(error, 0.5)
        assert (delay is not None) is expected


def test_each_reason_has_a_limit_and_all_have_one() -> None:
    config = httpcore.RetryConfig(attempts=3, connect=2, read=2, status=2)
    refused, lost = failure(httpcore.ConnectError), failure(httpcore.ReadError)
    retries = Retries(config, b"GET")
    assert [retries.after_failure(refused, 1.0) is not None for _ in range(3)] == [
        True,
        True,
        False,
    ]
    assert retries.after_failure(lost, 1.0) is not None
    assert retries.after_failure(lost, 1.0) is None
    assert retries.after_status(503, [], 1.0, 0.0) is None
    assert retries.made == 3


@pytest.mark.parametrize("name", ["attempts", "connect"])
def test_none_at_all(name: str) -> None:
    config = httpcore.RetryConfig(**{name: 0})
    assert Retries(config, b"GET").after_failure(failure(httpcore.ConnectError), 1.0) is None


def test_methods_of_ones_own() -> None:
    config = httpcore.RetryConfig(methods=["POST"])
    lost = failure(httpcore.ReadError)
    assert Retries(config, b"POST").after_failure(lost, 1.0) is not None
    assert Retries(config, b"GET").after_failure(lost, 1.0) is None


# --- how long ---


def test_full_jitter_below_a_ceiling_that_doubles() -> None:
    config = httpcore.RetryConfig(attempts=9, connect=9, backoff=0.5, max_backoff=3.0)
    retries = Retries(config, b"GET")
    refused = failure(httpcore.ConnectError)
    assert [retries.after_failure(refused, 1.0) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert retries.after_failure(refused, 0.0) == 0.0
    assert retries.after_failure(refused, 0.5) == 1.5


@given(st.integers(0, 100), st.floats(0, 1), st.floats(0, 100), st.floats(0, 100))
def test_never_longer_than_the_longest(
    attempts: int, random: float, backoff: float, longest: float
) -> None:
    config = httpcore.RetryConfig(
        attempts=attempts, connect=attempts, backoff=backoff, max_backoff=longest
    )
    retries = Retries(config, b"GET")
    for _ in range(attempts):
        delay = retries.after_failure(failure(httpcore.ConnectError), random)
        assert delay is not None and 0 <= delay <= longest
    assert retries.after_failure(failure(httpcore.ConnectError), random) is None


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"7", 7.0),
        (b" 7 ", 7.0),
        (b"0", 0.0),
        (b"9" * 50, 999_999_999.0),
        (formatdate(NOW + 90, usegmt=True).encode(), 90.0),
        (formatdate(NOW - 90, usegmt=True).encode(), 0.0),
        (b"soon", None),
        (b"-5", None),
        (b"1.5", None),
        (b"\xb2", None),
        (b"Fri, 99 Foo 2030 00:00:00 GMT", None),
        (b"", None),
    ],
)
def test_retry_after(value: bytes, seconds: float | None) -> None:
    assert retry_after([(b"X", b"1"), (b"Retry-After", value)], NOW) == seconds


@given(st.binary(max_size=40))
def test_no_retry_after_breaks_it(value: bytes) -> None:
    found = retry_after([(b"retry-after", value)], NOW)
    assert found is None or (0 <= found < math.inf)


def test_a_status_with_and_without_retry_after() -> None:
    config = httpcore.RetryConfig(statuses={500, 503}, max_retry_after=20, status=9, attempts=9)
    asked = [(b"retry-after", b"20")]
    too_long = [(b"retry-after", b"21")]

    def after(status: int, headers: Any, method: bytes = b"GET") -> float | None:
        return Retries(config, method).after_status(status, headers, 1.0, NOW)

    assert after(503, []) == 0.5
    assert after(503, asked) == 20.0
    assert after(503, too_long) is None
    assert after(502, asked) is None
    assert after(503, asked, b"POST") is None
    disobedient = httpcore.RetryConfig(retry_after=False)
    assert Retries(disobedient, b"GET").after_status(503, too_long, 1.0, NOW) == 0.5


# --- the budget ---


def test_a_budget_runs_out_and_is_earned_again() -> None:
    budget = RetryBudget(httpcore.RetryConfig(budget=0.5, reserve=2))
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    budget.earn()
    assert not budget.spend()
    budget.earn()
    assert budget.spend()
    for _ in range(100):
        budget.earn()
    assert [budget.spend() for _ in range(3)] == [True, True, False]


# --- values that cannot be ---


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"attempts": -1}, ValueError, "attempts must not be negative, got -1"),
        ({"attempts": 1.5}, TypeError, "attempts must be an integer, not float"),
        ({"connect": True}, TypeError, "connect must be an integer, not bool"),
        ({"backoff": "1"}, TypeError, "backoff must be a number, not str"),
        ({"backoff": math.nan}, ValueError, "backoff must not be negative, got nan"),
        ({"statuses": 503}, TypeError, "statuses must be a collection, not int"),
        ({"statuses": ["503"]}, TypeError, "statuses must contain only int, not '503'"),
        ({"methods": "GET"}, TypeError, "methods must be a collection, not str"),
        ({"methods": [b"GET"]}, TypeError, "methods must contain only str, not b'GET'"),
    ],
)
def test_settings_that_cannot_be(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        httpcore.RetryConfig(**arguments)


def test_it_is_a_value() -> None:
    assert httpcore.RetryConfig(statuses=[500]) == httpcore.RetryConfig(statuses={500})
    assert hash(httpcore.RetryConfig()) == hash(httpcore.RetryConfig())


# --- a pool that follows it ---


class Sleeping(httpcore.SyncBackend):
    """Notes how long it was to sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def backend() -> Sleeping:
    return Sleeping()


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("httpcore._sync.connection_pool.jitter", lambda: 1.0)


def pool_of(backend: Sleeping, **config: Any) -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(retries=httpcore.RetryConfig(**config), network_backend=backend)


def failing(times: int) -> Callable[[Peer], None]:
    """Closes without an answer so many times, and answers then."""

    def handler(peer: Peer) -> None:
        request = peer.recv_request()
        assert request is not None
        if peer.number > times:
            peer.respond(200, request.body)

    return handler


def test_a_server_that_comes_back(serve: Serve, backend: Sleeping) -> None:
    server = serve(failing(2))
    with pool_of(backend) as pool:
        assert pool.request("PUT", server.url, content=b"again").content == b"again"
    assert server.accepted == 3
    assert backend.slept == [0.5, 1.0]


def test_one_that_does_not(closed_port: int, backend: Sleeping) -> None:
    with pool_of(backend, connect=2) as pool:
        with pytest.raises(httpcore.ConnectError):
            pool.request("POST", f"http://127.0.0.1:{closed_port}", content=b"x")
        assert pool.stats()["connections"] == 0
    assert backend.slept == [0.5, 1.0]


def test_a_post_is_sent_once(serve: Serve, backend: Sleeping) -> None:
    server = serve(failing(2))
    with pool_of(backend) as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            pool.request("POST", server.url, content=b"once")
    assert server.accepted == 1
    assert backend.slept == []


def test_a_busy_server_is_obeyed(serve: Serve, backend: Sleeping) -> None:
    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            if peer.served < 3:
                peer.respond(503, b"busy", [("Retry-After", "7")])
            else:
                peer.respond(200, b"now")

    server = serve(handler)
    with pool_of(backend) as pool:
        assert pool.request("GET", server.url).content == b"now"
    assert server.accepted == 1  # the refused responses gave their connection back
    assert backend.slept == [7.0, 7.0]


def test_the_last_response_is_returned(serve: Serve, backend: Sleeping) -> None:
    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(503, b"busy")

    with pool_of(backend, status=1) as pool:
        response = pool.request("GET", serve(handler).url)
        assert (response.status, response.content) == (503, b"busy")
    assert len(backend.slept) == 1


class Unseekable(io.RawIOBase):
    """A body that can be read once."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


def parts() -> Iterator[bytes]:
    yield b"hel"
    yield b"lo"


@pytest.mark.parametrize("make", [parts, lambda: Unseekable(b"hello")], ids=["parts", "unseekable"])
def test_a_body_that_is_gone_is_not_sent_again(
    serve: Serve, backend: Sleeping, make: Callable[[], Any]
) -> None:
    """Row 47, in the core: "a generator or an unseekable file is never re-sent and the first error
    is kept"."""
    server = serve(failing(1))
    with pool_of(backend) as pool:
        with pytest.raises(httpcore.RemoteProtocolError, match="Server disconnected"):
            pool.request("PUT", server.url, content=make())
    assert server.accepted == 1


def test_a_body_that_was_not_asked_for_is_sent(closed_port: int, backend: Sleeping) -> None:
    class Opening(Sleeping):
        def sleep(self, seconds: float) -> None:
            server.start()

    started: list[ScriptedServer] = []
    server = ScriptedServer(failing(0))
    started.append(server)
    refusing = Opening()
    refused: list[int] = []

    def connect_tcp(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if not server.port:
            refused.append(port)
            raise httpcore.ConnectError("refused")
        return httpcore.SyncBackend.connect_tcp(refusing, host, server.port, *args, **kwargs)

    refusing.connect_tcp = connect_tcp  # type: ignore[method-assign]
    try:
        with pool_of(refusing) as pool:
            response = pool.request("PUT", "http://127.0.0.1:1/", content=parts())
            assert response.content == b"hello"
    finally:
        server.stop()
    assert refused == [1]


def test_a_file_is_sent_from_where_it_stood(serve: Serve, backend: Sleeping) -> None:
    """Row 47: "A file at offset 100 fails mid-send: the retry starts at 100"."""
    file = io.BytesIO(b"x" * 100 + b"y" * 50)
    file.seek(100)
    server = serve(failing(2))
    with pool_of(backend) as pool:
        assert pool.request("PUT", server.url, content=file).content == b"y" * 50


def test_no_retry_that_could_not_end_in_time(closed_port: int, backend: Sleeping) -> None:
    with pool_of(backend, backoff=10.0) as pool:
        with pytest.raises(httpcore.ConnectError):
            pool.request(
                "GET", f"http://127.0.0.1:{closed_port}", extensions={"timeout": {"total": 5.0}}
            )
    assert backend.slept == []


def test_a_dead_server_is_not_hammered(closed_port: int, backend: Sleeping) -> None:
    """The budget is the pool's, so a hundred requests are not four hundred attempts."""
    with pool_of(backend, budget=0.1, reserve=5) as pool:
        for _ in range(100):
            with pytest.raises(httpcore.ConnectError):
                pool.request("GET", f"http://127.0.0.1:{closed_port}")
    assert 5 <= len(backend.slept) <= 5 + 100 * 0.1


def test_cancelling_ends_the_wait(closed_port: int) -> None:
    token = httpcore.CancelToken()
    waited: list[float] = []
    token.sleep = lambda seconds: (waited.append(seconds), token.cancel())  # type: ignore[method-assign,func-returns-value,return-value]
    with httpcore.ConnectionPool(retries=httpcore.RetryConfig()) as pool:
        with pytest.raises(Aborted):
            pool.request("GET", f"http://127.0.0.1:{closed_port}", extensions={"cancel": token})
    assert waited == [0.5]
    httpcore.CancelToken.sleep(token, 30.0)  # which is over at once
