"""Scripted networks: what a script may say, and what is kept of what was done.

Owns: `httpcore._backends.mock`, both twins by the same tests. Must not know: pools; one test at the
end has a pool follow a script. What 1.0.9 has of it is in `test_backends`.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Callable
from typing import Any

import pytest

import httpcore

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Awaited:
    """An asynchronous stream or backend, its coroutines run to their end at each call."""

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inside, {"close": "aclose"}.get(name, name))
        if not inspect.iscoroutinefunction(found):
            return found

        def call(*args: Any, **keywords: Any) -> Any:
            result = asyncio.run(found(*args, **keywords))
            is_stream = isinstance(result, httpcore.AsyncMockStream)
            return Awaited(result) if is_stream else result

        return call


def make_sync(kind: str, *args: Any, **options: Any) -> Any:
    return getattr(httpcore, f"Mock{kind}")(*args, **options)


def make_async(kind: str, *args: Any, **options: Any) -> Any:
    return Awaited(getattr(httpcore, f"AsyncMock{kind}")(*args, **options))


Make = Callable[..., Any]


@pytest.fixture(params=[make_sync, make_async], ids=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Make:
    maker: Make = request.param
    return maker


def test_pieces_arrive_whole_as_in_1_0_9(make: Make) -> None:
    stream = make("Stream", [b"hello", bytearray(b"world")])
    assert [stream.read(1) for _ in range(3)] == [b"hello", b"world", b""]


def test_short_reads(make: Make) -> None:
    stream = make("Stream", [b"hello", b"!"], read_size=2)
    assert [stream.read(9), stream.read(1), stream.read(9)] == [b"he", b"l", b"lo"]
    assert [stream.read(9), stream.read(9)] == [b"!", b""]


def test_an_end_in_the_middle(make: Make) -> None:
    stream = make("Stream", [b"", b"more"])
    assert [stream.read(9), stream.read(9)] == [b"", b"more"]


@pytest.mark.parametrize(
    "error", [httpcore.ReadError("reset"), httpcore.ReadError, KeyboardInterrupt]
)
def test_errors(make: Make, error: Any) -> None:
    kind = error if isinstance(error, type) else type(error)
    stream = make("Stream", [b"a", error, b"b"], writes=[None, error], handshakes=[error])
    assert stream.read(9) == b"a"
    with pytest.raises(kind):
        stream.read(9)
    assert stream.read(9) == b"b"
    stream.write(b"one")
    with pytest.raises(kind):
        stream.write(b"two")
    stream.write(b"three")
    assert stream.written == [b"one", b"three"]
    assert not stream.closed
    with pytest.raises(kind):
        stream.start_tls(CONTEXT)
    assert stream.closed


def test_delays_are_timeouts_where_they_are_too_long(make: Make) -> None:
    stream = make("Stream", [3, b"a", 2.5, 2.5, b"b"], writes=[9], handshakes=[9])
    assert stream.read(9, 5.0) == b"a"
    with pytest.raises(httpcore.ReadTimeout, match="nothing within 4 s"):
        stream.read(9, 4.0)
    assert stream.read(9, 1.0) == b"b"  # what was left of the pause
    with pytest.raises(httpcore.WriteTimeout, match="write to a mock stream timed out"):
        stream.write(b"x", 8.0)
    assert stream.written == []
    with pytest.raises(httpcore.ConnectTimeout, match="TLS handshake with a mock stream"):
        stream.start_tls(CONTEXT, "a", 0)
    assert make("Stream", [7, b"a"]).read(9) == b"a"  # without a timeout nothing is too long


def test_nobody_waits_unless_sleep_is_given(make: Make) -> None:
    waits: list[float] = []
    backend = make(
        "Backend",
        [1, b"a", 2],
        connects=[3],
        writes=[4],
        handshakes=[5],
        sleep=waits.append,
    )
    stream = backend.connect_tcp("a", 80)
    stream.start_tls(CONTEXT)
    stream.write(b"x")
    assert [stream.read(9), stream.read(9)] == [b"a", b""]
    backend.sleep(6)
    assert waits == [3, 5, 4, 1, 2, 6]
    silent = make("Backend", [1, b"a"])
    silent.sleep(1000)
    assert silent.connect_tcp("a", 80).read(9) == b"a"


def test_an_asynchronous_sleep() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def main() -> None:
        backend = httpcore.AsyncMockBackend([1, b"a"], connects=[2], sleep=sleep)
        stream = await backend.connect_tcp("a", 80)
        assert await stream.read(9) == b"a"

    asyncio.run(main())
    assert waits == [2, 1]


def test_connects(make: Make) -> None:
    error = httpcore.ConnectError("refused")
    backend = make("Backend", [b"usual"], connects=[error, [b"own"], None, 9, None])
    with pytest.raises(httpcore.ConnectError, match="refused"):
        backend.connect_tcp("a", 80)
    assert backend.connect_unix_socket("/run/s").read(9) == b"own"
    assert backend.connect_tcp("b", 443).read(9) == b"usual"
    with pytest.raises(httpcore.ConnectTimeout, match="connect to c:1 timed out: nothing within 5"):
        backend.connect_tcp("c", 1, 5.0)
    assert [backend.connect_tcp("d", 1, 5.0).read(9) for _ in range(2)] == [b"usual", b"usual"]
    assert backend.opened == ["a:80", "unix:/run/s", "b:443", "c:1", "d:1", "d:1"]
    assert len(backend.streams) == 4


def test_each_connection_has_a_script_of_its_own(make: Make) -> None:
    own = [b"own"]
    backend = make("Backend", [b"usual"], writes=[httpcore.WriteError], connects=[own])
    for expected in (b"own", b"usual"):
        stream = backend.connect_tcp("a", 80)
        assert stream.read(9) == expected
        with pytest.raises(httpcore.WriteError):
            stream.write(b"x")
    assert own == [b"own"]


def test_what_was_done_is_kept_in_its_order(make: Make) -> None:
    backend = make("Backend", [b"a"])
    stream = backend.connect_tcp("a", 80)
    stream.start_tls(CONTEXT, "name")
    stream.write(memoryview(b"x"))
    stream.read(9)
    stream.close()
    with pytest.raises(httpcore.ReadError, match="that is closed"):
        stream.read(7)
    assert backend.streams[0].log == [
        ("start_tls", "name"),
        ("write", b"x"),
        ("read", 9),
        ("close", None),
        ("read", 7),
    ]
    assert stream.closed


@pytest.mark.parametrize("step", ["text", object(), OSError.__mro__, b"x"])
def test_steps_that_mean_nothing(make: Make, step: Any) -> None:
    with pytest.raises(TypeError, match="the writes of a mock stream has"):
        make("Stream", [], writes=[step]).write(b"x")
    with pytest.raises(TypeError, match="the connects of a mock backend has"):
        make("Backend", [], connects=[step]).connect_tcp("a", 80)
    if step != b"x":
        with pytest.raises(TypeError, match="the buffer of a mock stream has"):
            make("Stream", [step]).read(9)


def test_alpn(make: Make) -> None:
    for http2, chosen in ((False, "http/1.1"), (True, "h2")):
        stream = make("Stream", [], http2=http2)
        assert stream.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
        assert stream.get_extra_info("socket") is None


def test_a_pool_follows_a_script() -> None:
    """A refused connect is tried again at once and later, a dead connection is replaced, and a
    request is as it was sent."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    backend = httpcore.MockBackend(
        [answer],
        connects=[httpcore.ConnectError("refused"), httpcore.ConnectError("refused"), None],
        read_size=1,
    )
    with httpcore.ConnectionPool(network_backend=backend, retries=2) as pool:
        for _ in range(2):
            assert pool.request("GET", "http://example.com/").content == b"ok"
    assert len(backend.opened) == 4 and len(backend.streams) == 2
    request = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
    # On the first connection the second one went unanswered.
    assert [stream.written for stream in backend.streams] == [[request, request], [request]]
