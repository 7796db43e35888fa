"""respx, HTTPX's mock library, on top: what it patches is what requests go through.

Owns: that its patches hit, sync and async, on every pool and connection. Must not know: how respx
patches, what HTTPX makes of a mocked response.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import httpcore
from tests.support.servers import LocalServer

respx: Any = pytest.importorskip("respx", reason="respx is not installed")

URL = "http://mocked.test/path"
ORIGIN = httpcore.Origin(b"http", b"mocked.test", 80)


@pytest.fixture
def mocked() -> Iterator[Any]:
    """A route for POST to `URL`; anything else raises."""
    with respx.mock(using="httpcore") as router:
        router.post(URL, content=b"question").respond(203, text="answer", headers={"X-By": "respx"})
        yield router


# Everything that respx patches, and what is made on top of it.
MAKERS: dict[str, Callable[[], Any]] = {
    "ConnectionPool": httpcore.ConnectionPool,
    "HTTPProxy": lambda: httpcore.HTTPProxy("http://127.0.0.1:1"),
    "SOCKSProxy": lambda: httpcore.SOCKSProxy("socks5://127.0.0.1:1"),
    "PoolManager": httpcore.PoolManager,
    "HTTPConnection": lambda: httpcore.HTTPConnection(ORIGIN),
    "AsyncConnectionPool": httpcore.AsyncConnectionPool,
    "AsyncHTTPProxy": lambda: httpcore.AsyncHTTPProxy("http://127.0.0.1:1"),
    "AsyncSOCKSProxy": lambda: httpcore.AsyncSOCKSProxy("socks5://127.0.0.1:1"),
    "aio.PoolManager": httpcore.aio.PoolManager,
    "AsyncHTTPConnection": lambda: httpcore.AsyncHTTPConnection(ORIGIN),
}


async def finished(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


@pytest.mark.anyio
@pytest.mark.parametrize("name", MAKERS)
async def test_what_is_mocked(mocked: Any, name: str) -> None:
    pool = MAKERS[name]()
    response = await finished(pool.request("POST", URL, content=b"question"))
    assert (response.status, response.content) == (203, b"answer")
    assert (b"X-By", b"respx") in response.headers
    assert getattr(pool, "connections", []) == []
    with pytest.raises(AssertionError, match="not mocked"):
        await finished(pool.request("GET", URL))
    assert mocked.calls.call_count == 1


def test_the_front_door(mocked: Any) -> None:
    assert httpcore.request("POST", URL, content=b"question").status == 203
    with httpcore.stream("POST", URL, content=b"question") as response:
        assert b"".join(response.iter_stream()) == b"answer"


@pytest.mark.anyio
async def test_the_asynchronous_front_door(mocked: Any) -> None:
    response = await httpcore.aio.request("POST", URL, content=b"question")
    assert response.status == 203
    async with httpcore.AsyncConnectionPool() as pool:
        async with pool.stream("POST", URL, content=b"question") as streamed:
            assert [part async for part in streamed.aiter_stream()] == [b"answer"]


@pytest.mark.parametrize("options", [{}, {"proxy": "http://127.0.0.1:1"}, {"http2": True}])
def test_httpx(mocked: Any, options: Any) -> None:
    with httpx.Client(trust_env=False, **options) as client:
        assert client.post(URL, content=b"question").text == "answer"
        mocked.get(URL).mock(side_effect=httpx.ConnectTimeout)
        with pytest.raises(httpx.ConnectTimeout):
            client.get(URL)
        with client.stream("POST", URL, content=iter([b"ques", b"tion"])) as response:
            assert "".join(response.iter_text()) == "answer"


@pytest.mark.anyio
@pytest.mark.parametrize("options", [{}, {"proxy": "http://127.0.0.1:1"}, {"http2": True}])
async def test_asynchronous_httpx(mocked: Any, options: Any) -> None:
    async with httpx.AsyncClient(trust_env=False, **options) as client:
        assert (await client.post(URL, content=b"question")).text == "answer"
        mocked.get(URL).mock(side_effect=httpx.ConnectTimeout)
        with pytest.raises(httpx.ConnectTimeout):
            await client.get(URL)


@pytest.mark.anyio
async def test_what_is_not_mocked_passes_through(server: LocalServer) -> None:
    with respx.mock(using="httpcore") as router:
        router.post(host="127.0.0.1").pass_through()
        with httpx.Client(trust_env=False) as client:
            assert client.post(server.url + "/echo", content=b"one").json()["body"] == "one"
        async with httpx.AsyncClient(trust_env=False) as asynchronous:
            response = await asynchronous.post(server.url + "/echo", content=b"two")
            assert response.json()["body"] == "two"
    assert server.accepted == 2


def test_nothing_is_left_behind() -> None:
    names = ("ConnectionPool", "HTTPProxy", "HTTPConnection")
    before = [vars(getattr(httpcore, name)).get("handle_request") for name in names]
    with respx.mock(using="httpcore"):
        assert httpcore.ConnectionPool.handle_request is not before[0]
    assert [vars(getattr(httpcore, name)).get("handle_request") for name in names] == before
