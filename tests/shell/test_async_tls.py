"""TLS over another asynchronous stream, on a server in memory.

Owns: `httpcore._backends.async_tls` and `tls_records`: the order of records, and what each failure
becomes. Must not know: sockets and event loops (`test_async_streams`), what is said to a proxy.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

import pytest

import httpcore
from httpcore._backends import tls_records
from httpcore._backends.async_tls import AsyncTLSStream
from httpcore.exceptions import TLSError
from tests.support.far_end import AsyncFarEnd, spoil
from tests.support.servers import pattern

pytestmark = pytest.mark.anyio


@pytest.fixture
def far_end(server_tls_context: ssl.SSLContext) -> AsyncFarEnd:
    return AsyncFarEnd(server_tls_context)


@pytest.fixture
async def near_end(
    anyio_backend: Any, far_end: AsyncFarEnd, client_tls_context: ssl.SSLContext
) -> Any:
    below: Any = far_end
    stream = await AsyncTLSStream.begin(below, client_tls_context, "localhost", None)
    assert stream.read_ready(100) is None  # tickets
    return stream


class Below(httpcore.AsyncNetworkStream):
    """A stream that gives out `data`, then its end; or fails."""

    def __init__(self, data: bytes = b"", failure: BaseException | None = None) -> None:
        self.data = data
        self.failure = failure
        self.closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.failure is not None:
            raise self.failure
        data, self.data = self.data[:max_bytes], self.data[max_bytes:]
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Take all."""

    def close(self) -> None:
        self.closed = True


class Stop(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


# --- the handshake ---


@pytest.mark.parametrize(
    ("data", "failure", "kind", "text"),
    [
        (b"", None, TLSError, "EOF occurred"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", None, TLSError, "failed: .*SSL"),
        (b"", httpcore.ReadError("gone"), TLSError, "failed: gone"),
        (b"", httpcore.ReadTimeout("late"), httpcore.ConnectTimeout, "not done within 7 s"),
        (b"", Stop("here"), Stop, "here"),
    ],
)
async def test_a_handshake_that_fails(
    data: bytes,
    failure: BaseException | None,
    kind: type[BaseException],
    text: str,
    client_tls_context: ssl.SSLContext,
) -> None:
    below = Below(data, failure)
    with pytest.raises(kind, match=text):
        await AsyncTLSStream.begin(below, client_tls_context, "localhost", 7)
    assert below.closed


async def test_a_context_that_is_changed_while_a_session_begins(
    far_end: AsyncFarEnd, client_tls_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session is none to be resumed: nobody knows by which settings it was checked."""
    real = tls_records.wrap_bio

    def changing(context: ssl.SSLContext, *arguments: Any, **options: Any) -> Any:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return real(context, *arguments, **options)

    kept: list[Any] = []
    monkeypatch.setattr(tls_records, "wrap_bio", changing)
    monkeypatch.setattr(tls_records, "session_key", lambda context, *_: context.maximum_version)
    monkeypatch.setattr(tls_records, "keep_session", lambda context, key, tls: kept.append(key))
    below: Any = far_end
    stream = await AsyncTLSStream.begin(below, client_tls_context, "localhost", None)
    stream.keep_session()
    assert kept == [None]


# --- without waiting ---


async def test_a_record_counts_when_all_of_it_was_taken(
    far_end: AsyncFarEnd, near_end: AsyncTLSStream
) -> None:
    data = pattern(40_000)
    far_end.room = 0
    assert near_end.write_ready(data) == 0
    assert not await near_end.wait(False, 5)
    assert far_end.waits == [(True, 5)]  # it has something to send, whatever is asked
    far_end.room = 16_500  # one record, and the beginning of the next
    assert near_end.write_ready(data + b"more") == 16_384
    far_end.room = None
    assert near_end.write_ready(data[16_384:] + b"more") == 40_004 - 16_384
    assert far_end.received == data + b"more"


async def test_what_tls_answers_is_sent(far_end: AsyncFarEnd, near_end: AsyncTLSStream) -> None:
    """Also when there is no room at first: who reads on sees to it."""
    far_end.room = 0
    assert near_end.write_ready(b"x") == 0
    far_end.room = None
    assert near_end.read_ready(100) is None
    assert far_end.received == b"x"
    assert near_end.write_ready(b"x") == 1
    assert far_end.received == b"x"


async def test_failures_without_waiting(far_end: AsyncFarEnd, near_end: AsyncTLSStream) -> None:
    far_end.failure = httpcore.WriteError("gone")
    far_end.failure.phase = "not_sent"  # type: ignore[attr-defined]
    with pytest.raises(httpcore.WriteError, match="gone") as caught:
        near_end.write_ready(b"x")
    assert caught.value.phase == "not_sent"  # type: ignore[attr-defined]  # no whole record
    # What there is to say cannot be said; what the peer says is read all the same.
    far_end.server.write(b"word")
    assert near_end.read_ready(100) == b"word"
    far_end.failure = None
    assert near_end.write_ready(b"x") == 1
    real = far_end.write_ready

    def fails_later(buffer: Any) -> int:
        far_end.failure = httpcore.WriteError("gone")
        far_end.write_ready = real  # type: ignore[method-assign]
        return len(buffer)

    far_end.write_ready = fails_later  # type: ignore[method-assign]
    with pytest.raises(httpcore.WriteError) as caught:
        near_end.write_ready(bytes(20_000))
    assert caught.value.phase == "maybe_processed"  # type: ignore[attr-defined]


async def test_records_that_are_none(far_end: AsyncFarEnd, near_end: AsyncTLSStream) -> None:
    """The peer gets an alert that says why."""
    far_end._out.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(httpcore.ReadError, match="failed"):
        near_end.read_ready(100)
    assert near_end.get_extra_info("is_readable")  # in no state to be used again
    assert "ALERT" in str(far_end.alert)


@pytest.mark.parametrize("notify", [False, True])
async def test_an_end(notify: bool, far_end: AsyncFarEnd, near_end: AsyncTLSStream) -> None:
    far_end.server.write(b"last words")
    if notify:
        with contextlib.suppress(ssl.SSLError):
            far_end.server.unwrap()
    far_end.ended = True
    assert near_end.read_ready(100) == b"last words"
    for _ in range(2):
        assert near_end.read_ready(100) == b""
    assert near_end.unclean_eof is not notify
    assert near_end.has_arrived() and near_end.get_extra_info("is_readable")


# --- writing until there is something to read ---


async def test_the_rest_of_a_record_goes_first(
    far_end: AsyncFarEnd, near_end: AsyncTLSStream
) -> None:
    """What `write_until_readable` has begun is ended by `write`, with the same bytes."""
    data = pattern(40_000)
    far_end.room = 16_500  # one record, and the beginning of the next
    assert near_end.write_until_readable is not None
    sent = await near_end.write_until_readable(memoryview(data), 1.0)
    assert sent == 16_384
    far_end.room = None
    await near_end.write(data[sent:], 1.0)
    assert far_end.received == data
    assert near_end.read_ready(100) == b"!"


async def test_failures_while_listening(far_end: AsyncFarEnd, near_end: AsyncTLSStream) -> None:
    write = near_end.write_until_readable
    assert write is not None
    far_end.failure = httpcore.WriteError("gone")
    with pytest.raises(httpcore.WriteError, match="gone") as caught:
        await write(memoryview(b"x"), 1.0)
    assert caught.value.phase == "maybe_processed"  # type: ignore[attr-defined]
    far_end.failure = None
    near_end._pump.claimed, near_end._pump.behind = 0, b""
    spoil(near_end, ssl.SSLWantReadError())  # it wants to be answered first
    assert await write(memoryview(b"x"), 1.0) == 0
    spoil(near_end, ssl.SSLError(1, "bad record mac"))
    with pytest.raises(httpcore.WriteError, match=r"write to .* failed: .*bad record mac"):
        await write(memoryview(b"x"), 1.0)
    with pytest.raises(httpcore.WriteError, match="bad record mac"):
        near_end.write_ready(b"x")
