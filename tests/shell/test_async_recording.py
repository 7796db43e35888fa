"""Cassettes and the log of the network, for asynchronous pools on each event loop.

Owns: the backends and streams of `httpcore._testing.async_recording` and `async_logging_backend`.
Must not know: the format of a cassette, what is secret, what is logged; the synchronous ones share
all that (`test_recording`, `test_logging_backend`).
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

import httpcore
from httpcore._testing.cassettes.exchange import CassetteError
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, Serve, pattern
from tests.support.tasks import Tasks, until

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cassette.jsonl"


async def parts() -> AsyncGenerator[bytes, None]:
    yield b"one,"
    yield b"two"


async def use(pool: httpcore.AsyncConnectionPool, url: str) -> list[bytes]:
    bodies = []
    for number in (1, 2, 200_000):
        bodies.append((await pool.request("GET", f"{url}/bytes/{number}")).content)
    bodies.append((await pool.request("POST", f"{url}/echo", content=parts())).content)
    bodies.append((await pool.request("POST", f"{url}/echo", content=b"x" * 300_000)).content)
    return bodies


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_what_was_recorded_is_replayed(
    scheme: str,
    path: Path,
    origins: dict[str, LocalServer],
    client_tls_context: ssl.SSLContext,
) -> None:
    url = origins[scheme].url
    with httpcore.AsyncRecordingBackend(None, path) as recording:
        async with httpcore.AsyncConnectionPool(
            client_tls_context, network_backend=recording
        ) as pool:
            said = await use(pool, url)
    assert repr(recording) == f"<httpcore.AsyncRecordingBackend [{path}]>"
    with httpcore.AsyncReplayBackend(path) as replay:
        async with httpcore.AsyncConnectionPool(client_tls_context, network_backend=replay) as pool:
            assert await use(pool, url) == said
            assert replay.unused == []
            with pytest.raises(httpcore.ConnectError, match="cassette"):
                await pool.request("GET", f"{url}/never")
    assert origins[scheme].accepted == 1
    # A synchronous pool reads the same cassette.
    with httpcore.ConnectionPool(network_backend=httpcore.ReplayBackend(path)) as other:
        assert other.request("GET", f"{url}/bytes/1").content == said[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_new_answers_are_added(
    scheme: str,
    path: Path,
    origins: dict[str, LocalServer],
    client_tls_context: ssl.SSLContext,
) -> None:
    server = origins[scheme]
    for asked in ((1, 2), (1, 2), (1, 2, 3), (3, 4, 1)):
        with httpcore.AsyncRecordingBackend(None, path, mode="new") as recording:
            async with httpcore.AsyncConnectionPool(
                client_tls_context, network_backend=recording
            ) as pool:
                for number in asked:
                    response = await pool.request("GET", f"{server.url}/bytes/{number}")
                    assert response.content == pattern(number)
                    stream = response.extensions["network_stream"]
                    assert stream.get_extra_info("is_readable") is False
                    assert (stream.get_extra_info("ssl_object") is not None) == (scheme == "https")
    assert server.accepted == 3
    assert [request.target for request in server.requests] == [
        b"/bytes/%d" % number for number in (1, 2, 3, 4)
    ]


async def test_a_connection_that_died_while_the_cassette_answered(path: Path, serve: Serve) -> None:
    def once(peer: Peer) -> None:
        peer.recv_request()
        peer.send(OK)

    server = serve(once)
    with httpcore.AsyncRecordingBackend(None, path, mode="new") as recording:
        async with httpcore.AsyncConnectionPool(network_backend=recording) as pool:
            await pool.request("GET", f"{server.url}/a")
    with httpcore.AsyncRecordingBackend(None, path, mode="new") as recording:
        async with httpcore.AsyncConnectionPool(network_backend=recording) as pool:
            for target in ("b", "a", "c"):
                response = await pool.request("GET", f"{server.url}/{target}")
                assert response.content == b"ok"
                await until(lambda: not server.open)
    assert server.accepted == 3


async def test_ending_a_request(path: Path, server: LocalServer, tasks: Tasks) -> None:
    for mode in ("record", "new"):
        token = httpcore.CancelToken()
        recording = httpcore.AsyncRecordingBackend(None, f"{path}.{mode}", mode=mode)
        async with httpcore.AsyncConnectionPool(network_backend=recording) as pool:
            before = len(server.requests)
            request = tasks.begin(
                pool.request("GET", f"{server.url}/hang", extensions={"cancel": token})
            )
            await until(lambda before=before: len(server.requests) > before)
            token.cancel()
            with pytest.raises(httpcore.NetworkError):
                await request
            with pytest.raises(httpcore.ReadTimeout):
                await pool.request(
                    "GET", f"{server.url}/hang", extensions={"timeout": {"read": 0.05}}
                )
        recording.close()


async def test_a_unix_socket(path: Path, tmp_path: Path) -> None:
    at = str(tmp_path / "socket")
    with LocalServer(uds=Path(at)), httpcore.AsyncRecordingBackend(None, path) as recording:
        async with httpcore.AsyncConnectionPool(uds=at, network_backend=recording) as pool:
            said = (await pool.request("GET", "http://a.test/")).content
    with httpcore.AsyncReplayBackend(path) as replay:
        async with httpcore.AsyncConnectionPool(uds=at, network_backend=replay) as pool:
            assert (await pool.request("GET", "http://a.test/")).content == said


async def test_http2_is_not_recorded(
    path: Path, serve_h2: Any, client_tls_context: ssl.SSLContext
) -> None:
    server = serve_h2(lambda link: link.peer.wait_closed(), secure=True)
    recording = httpcore.AsyncRecordingBackend(None, path)
    stream = await recording.connect_tcp("127.0.0.1", server.port)
    client_tls_context.set_alpn_protocols(["h2"])
    with pytest.raises(httpcore.ConnectError, match="HTTP/2 was offered"):
        await stream.start_tls(client_tls_context, "localhost", 20)
    server.errors.clear()


async def test_over_another_network(path: Path) -> None:
    backend = httpcore.AsyncMockBackend([OK])
    with httpcore.AsyncRecordingBackend(backend, path) as recording:
        other = recording.over(httpcore.AsyncMockBackend([OK.replace(b"ok", b"no")]))
        for network, body in ((recording, b"ok"), (other, b"no")):
            async with httpcore.AsyncConnectionPool(network_backend=network) as pool:
                assert (await pool.request("GET", "http://a.test/")).content == body
        assert await recording.resolve("a.test", 80) == ["a.test"]
        await recording.sleep(1)
    with pytest.raises(httpcore.ConnectError, match="is closed"):
        await recording.connect_tcp("a.test", 80)
    replay = httpcore.AsyncReplayBackend(path)
    await replay.sleep(1)
    stream: Any = await replay.connect_tcp("a.test", 80)
    with pytest.raises(httpcore.ReadTimeout, match="nothing more was recorded"):
        await stream.read(10)
    assert not stream.unclean_eof
    await stream.aclose()
    with pytest.raises(httpcore.ReadError, match="closed"):
        await stream.read(10)


async def test_nothing_is_written_after_close(path: Path, server: LocalServer) -> None:
    """And what was given out is not used again."""
    for make in (httpcore.AsyncRecordingBackend, httpcore.AsyncReplayBackend):
        arguments: Any = (None, path) if make is httpcore.AsyncRecordingBackend else (path,)
        with make(*arguments) as backend:
            async with httpcore.AsyncConnectionPool(network_backend=backend) as pool:
                await pool.request("GET", f"{server.url}/")
                stream = await backend.connect_tcp("127.0.0.1", server.port)
                assert not stream.get_extra_info("is_readable")
                backend.close()
                assert stream.get_extra_info("is_readable")
                with pytest.raises(CassetteError, match="is closed: no connection is opened"):
                    await pool.request("GET", f"{server.url}/")
                await stream.aclose()
    assert path.read_text().count('{"request"') == 1


async def test_a_spliced_stream_that_was_not_needed_yet(path: Path, server: LocalServer) -> None:
    backend = httpcore.AsyncRecordingBackend(None, path, mode="new")
    for end in ("close", "abort"):
        stream: Any = await backend.connect_tcp("127.0.0.1", server.port)
        assert stream.get_extra_info("socket") is None and not stream.unclean_eof
        getattr(stream, end)()
        with pytest.raises(httpcore.ReadError, match="it is closed"):
            await stream.read(1)
    stream = await backend.connect_tcp("127.0.0.1", server.port)
    with pytest.raises(httpcore.ReadTimeout):
        await stream.read(1, 0)
    assert server.accepted == 0
    backend.close()


async def test_new_through_a_proxy(
    path: Path, tls_server: LocalServer, proxy: ProxyServer, client_tls_context: ssl.SSLContext
) -> None:
    for _ in range(2):
        with httpcore.AsyncRecordingBackend(None, path, mode="new") as recording:
            async with httpcore.AsyncConnectionPool(
                client_tls_context, network_backend=recording, proxy=httpcore.Proxy(proxy.url)
            ) as pool:
                for size in (1, 2):
                    response = await pool.request("GET", f"{tls_server.url}/bytes/{size}")
                    assert response.content == pattern(size)
    assert [one.path for one in tls_server.requests] == ["/bytes/1", "/bytes/2"]


async def test_a_dead_tunnel_is_not_used_again(
    path: Path, tls_server: LocalServer, proxy: ProxyServer, client_tls_context: ssl.SSLContext
) -> None:
    with httpcore.AsyncRecordingBackend(None, path, mode="new") as recording:
        async with httpcore.AsyncConnectionPool(
            client_tls_context, network_backend=recording, proxy=httpcore.Proxy(proxy.url)
        ) as pool:
            await pool.request("GET", f"{tls_server.url}/bytes/1")
            tls_server.close_connections()
            await until(lambda: tls_server.open == 0)
            response = await pool.request("GET", f"{tls_server.url}/bytes/2")
            assert response.content == pattern(2)
    assert proxy.tunnels == 2


async def test_an_upload_that_is_refused_before_its_end(path: Path, serve: Serve) -> None:
    """A stream that is recorded while it listens: what went is written down."""

    def refuse(peer: Peer) -> None:
        peer.recv_until(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        peer.wait_closed()

    server = serve(refuse)
    with httpcore.AsyncRecordingBackend(None, path) as recording:
        async with httpcore.AsyncConnectionPool(network_backend=recording) as pool:
            response = await pool.request("POST", server.url, content=bytes(20_000_000))
            assert (response.status, response.content) == (413, b"no")


async def test_writing_fails_while_it_is_recorded(path: Path) -> None:
    """What came until then is asked for, as without a cassette."""

    class Failing(httpcore.AsyncMockStream):
        async def write_until_readable(
            self, buffer: memoryview, timeout: float | None = None, until: float | None = None
        ) -> int:
            raise httpcore.WriteError("broken pipe")

    class Backend(httpcore.AsyncMockBackend):
        async def connect_tcp(self, *arguments: Any, **options: Any) -> Any:
            return Failing([])

    with httpcore.AsyncRecordingBackend(Backend([]), path) as recording:
        async with httpcore.AsyncConnectionPool(network_backend=recording) as pool:
            with pytest.raises(httpcore.RemoteProtocolError) as caught:
                await pool.request("POST", "http://a.test/", content=bytes(300_000))
    assert "before any byte" in httpcore.exceptions.explain(caught.value)


async def test_a_handshake_that_fails_while_it_is_recorded(
    path: Path, serve: Serve, client_tls_context: ssl.SSLContext
) -> None:
    server = serve(lambda peer: peer.wait_closed() and None)
    with httpcore.AsyncRecordingBackend(None, path) as recording:
        stream = await recording.connect_tcp("127.0.0.1", server.port)
        with pytest.raises(httpcore.ConnectTimeout, match="TLS handshake"):
            await stream.start_tls(client_tls_context, "localhost", 0.05)
    assert path.read_text().count('{"request"') == 0


async def test_the_log(
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    tls_server: LocalServer,
    client_tls_context: ssl.SSLContext,
    closed_port: int,
) -> None:
    caplog.set_level(logging.DEBUG, "httpcore.network")
    backend = httpcore.AsyncLoggingBackend(filter_headers=["X-Secret"])
    headers = {"X-Secret": "hidden", "X-Open": "shown"}
    async with httpcore.AsyncConnectionPool(
        client_tls_context, network_backend=backend, retries=1
    ) as pool:
        await pool.request("GET", f"{tls_server.url}/bytes/10", headers=headers)
        with pytest.raises(httpcore.ConnectError):
            await pool.request("GET", f"http://127.0.0.1:{closed_port}/")
        with pytest.raises(httpcore.ReadTimeout):
            await pool.request(
                "GET", f"{tls_server.url}/hang", extensions={"timeout": {"read": 0.05}}
            )
        with pytest.raises(httpcore.ConnectError):
            await pool.request("GET", "http://a.test/", extensions={"uds": str(tmp_path / "none")})
    assert await backend.resolve("127.0.0.1", 80) == ["127.0.0.1"]
    text = "\n".join(record.getMessage() for record in caplog.records)
    for expected in (
        *("#1 127.0.0.1:", "connect done in", "ALPN chose nothing", "write ", "read ", "shown"),
        *("connect failed after", "read failed after", "close", "sleep 0 s", "resolve 127.0.0.1"),
        "unix:",
    ):
        assert expected in text, expected
    assert "hidden" not in text
    assert repr(backend).startswith("<httpcore.AsyncLoggingBackend [")


async def test_a_log_without_previews(
    caplog: pytest.LogCaptureFixture, server: LocalServer, tasks: Tasks
) -> None:
    caplog.set_level(logging.DEBUG, "httpcore.network")
    backend = httpcore.AsyncLoggingBackend(preview=0)
    token = httpcore.CancelToken()
    async with httpcore.AsyncConnectionPool(network_backend=backend) as pool:
        request = tasks.begin(
            pool.request("GET", f"{server.url}/hang", extensions={"cancel": token})
        )
        await until(lambda: server.requests)
        token.cancel()
        with pytest.raises(httpcore.NetworkError):
            await request
    text = caplog.text
    assert "abort" in text
    assert "GET" not in text
    with pytest.raises(ValueError, match="preview must be"):
        httpcore.AsyncLoggingBackend(preview=-1)
