"""Row 20 in the asynchronous half: a host with an address that leads nowhere.

Owns: that. Must not know: private parts of the packages.
"""

from __future__ import annotations

import errno
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import httpcore
from tests.support import PATIENCE, leaks
from tests.support.faults import forget_a_name
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import LocalServer, black_hole
from tests.support.tasks import until

pytestmark = pytest.mark.anyio

Pool = httpcore.AsyncConnectionPool


def both(host: str, port: int, timeout: float | None) -> list[str]:
    """A resolver."""
    return ["::1", "127.0.0.1"]


@pytest.fixture
def way(request: Any, server: LocalServer, server_tls_context: ssl.SSLContext) -> Iterator[Any]:
    """The kind of way, and the server at its first hop."""
    kinds: dict[str, Any] = {"http": ProxyServer, "https": ProxyServer, "socks5h": SocksServer}
    if request.param == "direct":
        yield request.param, server
        return
    tls = server_tls_context if request.param == "https" else None
    with kinds[request.param](tls=tls) as proxy:
        yield request.param, proxy


@pytest.mark.parametrize("way", ["direct", "http", "https", "socks5h"], indirect=True)
async def test_row_20_a_black_hole_first(
    way: Any, server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    """Row 20: "On by default: a host with a black-holed ::-address first and a live IPv4 connects
    [...]; no thread is started; losers' sockets are closed"; the origin or its proxy. Without a
    clock: the limit for connecting is so long that it would end the test. The look-up has a thread
    of its own, and nothing else."""
    kind, first = way
    proxy = None
    if kind != "direct":
        context = client_tls_context if kind == "https" else None
        proxy = httpcore.Proxy(f"{kind}://example.test:{first.port}", ssl_context=context)
    host = "example.test" if kind == "direct" else "127.0.0.1"
    me, started = threading.current_thread(), []
    start_thread = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        # trio is the guest of the tests' own loop, and waits for the network in threads.
        if threading.current_thread() is me and not thread.name.startswith("Trio thread "):
            started.append(thread.name)
        start_thread(thread)

    before = set(leaks.sockets())
    with black_hole("::1", first.port), pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        async with Pool(client_tls_context, resolver=both) as pool:
            extensions = {"proxy": proxy, "timeout": {"connect": PATIENCE * 5}}
            url = f"http://{host}:{server.port}/"
            assert (await pool.request("GET", url, extensions=extensions)).status == 200
        patch.undo()
        await until(lambda: first.open == server.open == 0)
    assert set(leaks.sockets()) <= before
    assert len(started) <= 1 and all("look" in name for name in started), started


async def test_row_20_the_timeout_covers_the_race() -> None:
    """Row 20: "connect timeout covers the whole race"; the text names what was tried."""
    with black_hole() as (_, port), black_hole("::1", port):
        async with Pool(resolver=lambda *asked: both(*asked) * 3) as pool:
            text = r"\(::1, 127\.0\.0\.1.*timed out after 0\.3 s"
            extensions = {"timeout": {"connect": 0.3}}
            with pytest.raises(httpcore.ConnectTimeout, match=text):
                await pool.request("GET", f"http://example.test:{port}/", extensions=extensions)
            assert pool.connections == []


async def test_row_20_the_text_names_every_address_tried(closed_port: int) -> None:
    """Of row 20 only the text: a failed connect says which host, which addresses, and why."""
    async with Pool(resolver=both) as pool:
        with pytest.raises(httpcore.ConnectError) as caught:
            await pool.request("GET", f"http://two.example:{closed_port}/")
        assert str(caught.value) == (
            f"connect to two.example:{closed_port} (::1, 127.0.0.1) failed: "
            f"[Errno {errno.ECONNREFUSED}] Connection refused"
        )


async def test_row_20_an_address_that_refuses_first(server: LocalServer) -> None:
    """It does not keep the next from being tried: nothing listens at the port on ::1."""
    async with Pool(resolver=both) as pool:
        response = await pool.request("GET", f"http://two.example:{server.port}/")
        assert response.status == 200


async def test_row_20_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that cannot be resolved is called that."""
    forget_a_name(monkeypatch)
    async with Pool() as pool:
        with pytest.raises(httpcore.ConnectError, match=r"^look up nowhere\.invalid failed: "):
            await pool.request("GET", "http://nowhere.invalid/")
        assert pool.connections == []
