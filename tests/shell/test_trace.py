"""What a trace hook is told, and that it can break nothing.

Owns: the list of httpcore 1.0.9's events, hooks that raise at each of them, the pool's own events,
and what is logged. Must not know: how the events are made.

The list was taken from httpcore 1.0.9 (h11 0.16, h2 4.4, socksio 1.0) talking to the same servers.
"""

from __future__ import annotations

import gc
import logging
import select
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

import httpcore
from httpcore._core.limits import READ_SIZE
from httpcore._sync.response_body import ResponseBody
from httpcore._trace import combined, log_hook, masked
from tests.support import PATIENCE
from tests.support.http2 import Code, FrameServer, Link, ServeH2
from tests.support.proxies import ProxyServer, SocksServer
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve, closed_port, pattern

Event = tuple[str, tuple[str, ...]]


class Note:
    """A hook that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, details: dict[str, Any]) -> None:
        self.events.append((name, details))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def of(self, name: str) -> dict[str, Any]:
        """The details of the only event of that name."""
        [found] = [details for told, details in self.events if told == name]
        return found


# --- the events of httpcore 1.0.9 ---


def phase(name: str, keys: str = "", ends: str = "complete") -> list[Event]:
    result = "return_value" if ends == "complete" else "exception"
    return [(f"{name}.started", tuple(keys.split())), (f"{name}.{ends}", (result,))]


TCP = "host local_address port socket_options timeout"
CONNECT = phase("connection.connect_tcp", TCP)
REFUSED = phase("connection.connect_tcp", TCP, "failed")
RETRY = phase("connection.retry", TCP)
UNIX = phase("connection.connect_unix_socket", "path socket_options timeout")
HANDSHAKE = "server_hostname ssl_context timeout"
SECURED = phase("connection.start_tls", HANDSHAKE)

SENT_11 = [
    *phase("http11.send_request_headers", "request"),
    *phase("http11.send_request_body", "request"),
]
HEAD_11 = [*SENT_11, *phase("http11.receive_response_headers", "request")]
NO_HEAD_11 = [*SENT_11, *phase("http11.receive_response_headers", "request", "failed")]
CLOSED_11 = phase("http11.response_closed")
WHOLE_11 = [*HEAD_11, *phase("http11.receive_response_body", "request"), *CLOSED_11]

OF_STREAM = "request stream_id"
BEGUN_2 = phase("http2.send_connection_init", "request")
SETTINGS_2 = phase("http2.receive_remote_settings")
SENT_2 = [
    *phase("http2.send_request_headers", OF_STREAM),
    *phase("http2.send_request_body", OF_STREAM),
]
HEADS_2 = phase("http2.receive_response_headers", OF_STREAM)
FIRST_HEAD_2 = [*SENT_2, HEADS_2[0], *SETTINGS_2, HEADS_2[1]]
CLOSED_2 = phase("http2.response_closed", "stream_id")
BODY_2 = [*phase("http2.receive_response_body", OF_STREAM), *CLOSED_2]

TUNNEL = [*CONNECT, *HEAD_11, *phase("proxy.start_tls", HANDSHAKE)]
SOCKS = [
    *phase("socks.connect_tcp", "host port timeout"),
    *phase("socks.setup_socks5_connection", "auth host port stream"),
    *phase("socks.start_tls", HANDSHAKE),
]

FROZEN: dict[str, list[Event]] = {
    "plain": [*CONNECT, *WHOLE_11],
    "reused": WHOLE_11,
    "post": [*CONNECT, *WHOLE_11],
    "chunked": [*CONNECT, *WHOLE_11],
    "closed early": [*CONNECT, *HEAD_11, *CLOSED_11],
    "tls": [*CONNECT, *SECURED, *WHOLE_11],
    "unix": [*UNIX, *WHOLE_11],
    "upgrade": [*CONNECT, *HEAD_11, *CLOSED_11],
    "by hand": [*CONNECT, *WHOLE_11],
    "forwarded": [*CONNECT, *WHOLE_11],
    "tunnel": [*TUNNEL, *WHOLE_11],
    "tunnel refused": [*CONNECT, *HEAD_11],
    "socks": [*SOCKS, *WHOLE_11],
    "refused": REFUSED,
    "refused twice": [*REFUSED, *RETRY, *REFUSED],
    "refused thrice": [*REFUSED, *RETRY, *REFUSED, *RETRY, *REFUSED],
    "not trusted": [*CONNECT, *phase("connection.start_tls", HANDSHAKE, "failed")],
    "no answer": [*CONNECT, *NO_HEAD_11, *CLOSED_11],
    "late answer": [*CONNECT, *NO_HEAD_11, *CLOSED_11],
    "cut short": [
        *CONNECT,
        *HEAD_11,
        *phase("http11.receive_response_body", "request", "failed"),
        *CLOSED_11,
    ],
    "no room": [],
    "http2": [*CONNECT, *SECURED, *BEGUN_2, *FIRST_HEAD_2, *BODY_2],
    "http2 reused": [*SENT_2, *HEADS_2, *BODY_2],
    "http2 post": [*CONNECT, *BEGUN_2, *FIRST_HEAD_2, *BODY_2],
    "http2 closed early": [*CONNECT, *BEGUN_2, *FIRST_HEAD_2, *CLOSED_2],
    "http2 late answer": [
        *CONNECT,
        *BEGUN_2,
        *SENT_2,
        HEADS_2[0],
        *SETTINGS_2,
        ("http2.receive_response_headers.failed", ("exception",)),
        *CLOSED_2,
    ],
    "http2 reset": [
        *CONNECT,
        *BEGUN_2,
        *FIRST_HEAD_2,
        *phase("http2.receive_response_body", OF_STREAM, "failed"),
        *CLOSED_2,
    ],
}

# Where we depart from it, and why, is in docs/architecture.rst.
NOT_TOLD = {name for name, _ in SETTINGS_2}
OTHER_KEYS = {
    "connection.retry.started": ("seconds",),
    "socks.connect_tcp.started": tuple(TCP.split()),
}


def ours(events: list[Event]) -> list[Event]:
    return [(name, OTHER_KEYS.get(name, keys)) for name, keys in events if name not in NOT_TOLD]


class Site(NamedTuple):
    """What the stories below talk to."""

    plain: LocalServer
    secure: LocalServer
    untrusted: LocalServer
    unix: LocalServer
    upgrading: ScriptedServer
    proxy: ProxyServer
    refusing: ScriptedServer
    socks: SocksServer
    http2: FrameServer
    secure_http2: FrameServer
    resetting: FrameServer
    dropping: ScriptedServer
    leaving: FrameServer
    trusted: ssl.SSLContext


def switch(peer: Peer) -> None:
    if peer.recv_request() is not None:
        peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello"
        )
        peer.wait_closed()


def refuse(peer: Peer) -> None:
    if peer.recv_request() is not None:
        peer.respond(403, b"no", [("Connection", "close")])


def answer_once(peer: Peer) -> None:
    """Closes the connection when the second request comes."""
    if peer.recv_request() is not None:
        peer.respond(200, b"once")
        peer.recv_request()


def answer_one_stream(link: Link) -> None:
    """Has left before the second one: it was not processed."""

    def answer(stream: Any) -> None:
        if stream.id == link.opened[0]:
            stream.respond(200, b"once")
        else:
            link.goaway(last=link.opened[0])

    link.serve(answer)


def reset_in_the_body(link: Link) -> None:
    if link.serve(lambda stream: None, until=lambda: link.opened):
        link.headers(link.opened[0], [(":status", "200"), ("content-length", "9")])
        link.data(link.opened[0], b"half")
        link.reset(link.opened[0], Code.INTERNAL_ERROR)
        link.run()


@pytest.fixture
def site(
    server: LocalServer,
    tls_server: LocalServer,
    proxy: ProxyServer,
    serve: Serve,
    serve_h2: ServeH2,
    client_tls_context: ssl.SSLContext,
    h2_tls_context: ssl.SSLContext,
    tmp_path: Any,
) -> Iterator[Site]:
    with (
        SocksServer() as socks,
        LocalServer(uds=str(tmp_path / "s")) as unix,
        LocalServer(tls=h2_tls_context) as untrusted,
    ):
        yield Site(
            plain=server,
            secure=tls_server,
            untrusted=untrusted,
            unix=unix,
            upgrading=serve(switch),
            proxy=proxy,
            refusing=serve(refuse),
            socks=socks,
            http2=serve_h2(),
            secure_http2=serve_h2(secure=True),
            resetting=serve_h2(reset_in_the_body),
            dropping=serve(answer_once),
            leaving=serve_h2(answer_one_stream),
            trusted=client_tls_context,
        )
        untrusted.handshake_errors.clear()


def fresh_context(site: Site) -> ssl.SSLContext:
    """For pools that offer HTTP/2, which set ALPN on their context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for der in site.trusted.get_ca_certs(binary_form=True):
        context.load_verify_locations(cadata=der)
    return context


Story = Callable[[Site, Any], None]
STORIES: dict[str, Story] = {}


def story(name: str) -> Callable[[Story], Story]:
    def add(tell: Story) -> Story:
        STORIES[name] = tell
        return tell

    return add


def get(
    pool: Any, url: str, trace: Any, method: str = "GET", seconds: float = PATIENCE, **options: Any
) -> bytes:
    extensions = {"trace": trace, "timeout": {"read": seconds, "pool": seconds}}
    content: bytes = pool.request(method, url, extensions=extensions, **options).content
    return content


@story("plain")
def _(site: Site, trace: Any) -> None:
    with httpcore.ConnectionPool() as pool:
        get(pool, site.plain.url, trace)


@story("reused")
def _(site: Site, trace: Any) -> None:
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", site.plain.url)
        get(pool, site.plain.url, trace)


@story("post")
def _(site: Site, trace: Any) -> None:
    with httpcore.ConnectionPool() as pool:
        get(pool, site.plain.url + "/upload", trace, "POST", content=b"hello")


@story("chunked")
def _(site: Site, trace: Any) -> None:
    with httpcore.ConnectionPool() as pool:
        get(pool, site.plain.url + "/chunked/100000", trace)


@story("closed early")
def _(site: Site, trace: Any) -> None:
    with httpcore.ConnectionPool() as pool:
        with pool.stream("GET", site.plain.url + "/bytes/3000000", extensions={"trace": trace}):
            pass


@story("tls")
def _(site: Site, trace: Any) -> None:
    with httpcore.ConnectionPool(site.trusted) as pool:
        get(pool, site.secure.url, trace)


@story("unix")
def _(site: Site, trace: Any) -> None:
    with httpcore.ConnectionPool(uds=site.unix.uds) as pool:
        get(pool, "http://localhost/", trace)


@story("upgrade")
def _(site: Site, trace: Any) -> None:
    headers = {"Host": "x", "Connection": "Upgrade", "Upgrade": "x"}
    extensions = {"trace": trace}
    url = site.upgrading.url
    with httpcore.ConnectionPool() as pool:
        with pool.stream("GET", url, headers=headers, extensions=extensions) as response:
            assert response.extensions["network_stream"].read(5, PATIENCE) == b"hello"


@story("by hand")
def _(site: Site, trace: Any) -> None:
    with httpcore.HTTPConnection(httpcore.URL(site.plain.url).origin) as connection:
        get(connection, site.plain.url, trace)


@story("forwarded")
def _(site: Site, trace: Any) -> None:
    with httpcore.HTTPProxy(site.proxy.url) as pool:
        get(pool, site.plain.url, trace)


@story("tunnel")
def _(site: Site, trace: Any) -> None:
    with httpcore.HTTPProxy(site.proxy.url, ssl_context=site.trusted) as pool:
        get(pool, site.secure.url, trace)


@story("tunnel refused")
def _(site: Site, trace: Any) -> None:
    with httpcore.HTTPProxy(site.refusing.url, ssl_context=site.trusted) as pool:
        with pytest.raises(httpcore.ProxyError):
            get(pool, site.secure.url, trace)


@story("socks")
def _(site: Site, trace: Any) -> None:
    url = f"socks5://{site.socks.address}"
    with httpcore.SOCKSProxy(url, ssl_context=site.trusted) as pool:
        get(pool, site.secure.url, trace)


@story("refused")
def _(site: Site, trace: Any) -> None:
    refused(0, trace)


@story("refused twice")
def _(site: Site, trace: Any) -> None:
    refused(1, trace)


@story("refused thrice")
def _(site: Site, trace: Any) -> None:
    refused(2, trace)


def refused(retries: int, trace: Any) -> None:
    backend = httpcore.SyncBackend()
    backend.sleep = lambda seconds: None  # type: ignore[method-assign]
    with httpcore.ConnectionPool(retries=retries, network_backend=backend) as pool:
        with pytest.raises(httpcore.ConnectError):
            get(pool, f"http://127.0.0.1:{closed_port()}/", trace)


@story("not trusted")
def _(site: Site, trace: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with httpcore.ConnectionPool(context) as pool:
        with pytest.raises(httpcore.ConnectError):
            get(pool, site.untrusted.url, trace)


@story("no answer")
def _(site: Site, trace: Any) -> None:
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            get(pool, site.plain.url + "/drop", trace)


@story("late answer")
def _(site: Site, trace: Any) -> None:
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(httpcore.ReadTimeout):
            get(pool, site.plain.url + "/hang", trace, seconds=0.01)


@story("cut short")
def _(site: Site, trace: Any) -> None:
    with httpcore.ConnectionPool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            get(pool, site.plain.url + "/truncated/1000", trace)


@story("no room")
def _(site: Site, trace: Any) -> None:
    with httpcore.ConnectionPool(max_connections=1) as pool:
        with pool.stream("GET", site.plain.url + "/bytes/3000000"):
            with pytest.raises(httpcore.PoolTimeout):
                get(pool, site.plain.url, trace, seconds=0.01)


def http2_pool(site: Site) -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(fresh_context(site), http2=True)


def known_pool() -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(http1=False, http2=True)


@story("http2")
def _(site: Site, trace: Any) -> None:
    with http2_pool(site) as pool:
        get(pool, site.secure_http2.url, trace)


@story("http2 reused")
def _(site: Site, trace: Any) -> None:
    with http2_pool(site) as pool:
        pool.request("GET", site.secure_http2.url)
        get(pool, site.secure_http2.url, trace)


@story("http2 post")
def _(site: Site, trace: Any) -> None:
    with known_pool() as pool:
        get(pool, site.http2.url + "/upload", trace, "POST", content=b"hello")


@story("http2 closed early")
def _(site: Site, trace: Any) -> None:
    with known_pool() as pool:
        with pool.stream("GET", site.http2.url + "/bytes/3000000", extensions={"trace": trace}):
            pass


@story("http2 late answer")
def _(site: Site, trace: Any) -> None:
    with known_pool() as pool:
        with pytest.raises(httpcore.ReadTimeout):
            get(pool, site.http2.url + "/hold", trace, seconds=0.1)


@story("http2 reset")
def _(site: Site, trace: Any) -> None:
    with known_pool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            get(pool, site.resetting.url, trace)


@pytest.mark.parametrize("name", FROZEN)
def test_the_events_are_those_of_httpcore_1_0_9(site: Site, name: str) -> None:
    """Names, order and keys; the pool's own events are left out."""
    note = Note()
    STORIES[name](site, note)
    told = [(event, tuple(sorted(details))) for event, details in note.events]
    assert [event for event in told if not event[0].startswith("pool.")] == ours(FROZEN[name])


# --- a hook that raises, at each event of each story ---


class HookError(Exception):
    pass


class Strike:
    """A hook that raises at its `number`-th call, from 1, since it was armed; `at` is the event's
    name then."""

    def __init__(self, number: int, error: type[BaseException]) -> None:
        self.left = number
        self.error = error
        self.armed = False
        self.at = ""

    def __call__(self, name: str, details: dict[str, Any]) -> None:
        self.left -= self.armed
        if not self.left and not self.at:
            self.at = name
            raise self.error(name)


LONG = 150_000  # bytes: more than comes with the head, and than is read away on closing


def over_http(site: Site, trace: Any) -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(site.trusted, max_connections=2, retries=1, trace=trace)


def through_http(site: Site, trace: Any) -> httpcore.ConnectionPool:
    proxy = httpcore.Proxy(site.proxy.url)
    return httpcore.ConnectionPool(site.trusted, proxy, max_connections=2, trace=trace)


def through_socks(site: Site, trace: Any) -> httpcore.ConnectionPool:
    proxy = httpcore.Proxy(f"socks5://{site.socks.address}", auth=("user", "secret"))
    return httpcore.ConnectionPool(site.trusted, proxy, max_connections=2, trace=trace)


def over_http2(site: Site, trace: Any) -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(http1=False, http2=True, max_connections=2, trace=trace)


def over_https2(site: Site, trace: Any) -> httpcore.ConnectionPool:
    context = fresh_context(site)
    return httpcore.ConnectionPool(context, http2=True, max_connections=2, trace=trace)


def fetch(pool: httpcore.ConnectionPool, url: str, method: str = "GET", content: Any = None) -> Any:
    timeout = {"read": PATIENCE, "pool": PATIENCE}
    return pool.request(method, url, content=content, extensions={"timeout": timeout})


def a_get(site: Site, pool: httpcore.ConnectionPool) -> None:
    assert fetch(pool, site.plain.url + "/chunked/200000").content == pattern(200_000)


def a_warm_get(site: Site, pool: httpcore.ConnectionPool) -> None:
    fetch(pool, site.plain.url)
    fetch(pool, site.plain.url)


def a_large_read(site: Site, pool: httpcore.ConnectionPool) -> None:
    with pool.stream("GET", f"{site.plain.url}/bytes/{LONG}") as response:
        assert response.stream.read() == pattern(LONG)


def an_upload(site: Site, pool: httpcore.ConnectionPool) -> None:
    fetch(pool, site.plain.url + "/upload", "POST", pattern(500_000))


def an_early_close(site: Site, pool: httpcore.ConnectionPool) -> None:
    with pool.stream("GET", f"{site.plain.url}/bytes/{LONG}"):
        pass


def an_unread_rest(site: Site, pool: httpcore.ConnectionPool) -> None:
    """The end of the body does not fit into the read that the head came with, and is read away when
    the response is closed."""
    with pool.stream("GET", f"{site.plain.url}/bytes/{READ_SIZE}") as response:
        sock = response.extensions["network_stream"].get_extra_info("socket")
        assert select.select([sock], [], [], PATIENCE)[0]


def an_upgrade(site: Site, pool: httpcore.ConnectionPool) -> None:
    headers = {"Host": "x", "Connection": "Upgrade", "Upgrade": "x"}
    with pool.stream("GET", site.upgrading.url, headers=headers) as response:
        assert response.extensions["network_stream"].read(5, PATIENCE) == b"hello"


def an_answer_that_never_comes(site: Site, pool: httpcore.ConnectionPool) -> None:
    with pytest.raises(httpcore.RemoteProtocolError):
        fetch(pool, site.plain.url + "/drop")


def a_cut_body(site: Site, pool: httpcore.ConnectionPool) -> None:
    with pytest.raises(httpcore.RemoteProtocolError):
        fetch(pool, site.plain.url + "/truncated/200000")


def a_refused_connect(site: Site, pool: httpcore.ConnectionPool) -> None:
    with pytest.raises(httpcore.ConnectError):
        fetch(pool, f"http://127.0.0.1:{closed_port()}/")


def a_get_over_tls(site: Site, pool: httpcore.ConnectionPool) -> None:
    assert fetch(pool, site.secure.url + "/chunked/200000").content == pattern(200_000)


def a_look_up_for_socks(site: Site, pool: httpcore.ConnectionPool) -> None:
    assert fetch(pool, f"http://localhost:{site.plain.port}/").status == 200


def a_wait_for_room(site: Site, pool: httpcore.ConnectionPool) -> None:
    held: list[httpcore.Response] = []

    def let_go(name: str, details: dict[str, Any]) -> None:
        if name == "pool.enqueue":
            held.pop().close()

    try:
        while pool.stats()["active"] < 2:
            held.append(pool.request("GET", f"{site.plain.url}/bytes/{LONG}", stream=True))
        pool._slots.hook = combined(pool._slots.hook, let_go)
        pool.request("GET", site.plain.url, extensions={"timeout": {"pool": PATIENCE}})
    finally:
        for response in held:
            response.close()


def a_replay(site: Site, pool: httpcore.ConnectionPool) -> None:
    for _ in range(2):
        assert fetch(pool, site.dropping.url).content == b"once"


def a_move_2(site: Site, pool: httpcore.ConnectionPool) -> None:
    for _ in range(2):
        assert fetch(pool, site.leaving.url).status == 200


def a_get_2(site: Site, pool: httpcore.ConnectionPool) -> None:
    assert fetch(pool, f"{site.http2.url}/bytes/{LONG}").content == pattern(LONG)


def two_gets_2(site: Site, pool: httpcore.ConnectionPool) -> None:
    fetch(pool, site.http2.url)
    fetch(pool, site.http2.url)


def an_upload_2(site: Site, pool: httpcore.ConnectionPool) -> None:
    fetch(pool, site.http2.url + "/upload", "POST", pattern(500_000))


def an_early_close_2(site: Site, pool: httpcore.ConnectionPool) -> None:
    with pool.stream("GET", site.http2.url + "/bytes/3000000"):
        pass


def a_read_timeout_2(site: Site, pool: httpcore.ConnectionPool) -> None:
    with pytest.raises(httpcore.ReadTimeout):
        pool.request("GET", site.http2.url + "/hold", extensions={"timeout": {"read": 0.005}})


def a_reset_body_2(site: Site, pool: httpcore.ConnectionPool) -> None:
    with pytest.raises(httpcore.RemoteProtocolError):
        fetch(pool, site.resetting.url)


def a_get_over_tls_2(site: Site, pool: httpcore.ConnectionPool) -> None:
    assert fetch(pool, f"{site.secure_http2.url}/bytes/{LONG}").content == pattern(LONG)


Act = Callable[[Site, httpcore.ConnectionPool], None]
Open = Callable[[Site, Any], httpcore.ConnectionPool]
RAISING: list[tuple[Open, Act]] = [
    (over_http, a_get),
    (over_http, a_warm_get),
    (over_http, a_large_read),
    (over_http, an_upload),
    (over_http, an_early_close),
    (over_http, an_unread_rest),
    (over_http, an_upgrade),
    (over_http, an_answer_that_never_comes),
    (over_http, a_cut_body),
    (over_http, a_refused_connect),
    (over_http, a_get_over_tls),
    (over_http, a_wait_for_room),
    (over_http, a_replay),
    (through_http, a_get),
    (through_http, a_get_over_tls),
    (through_socks, a_get_over_tls),
    (through_socks, a_look_up_for_socks),
    (over_http2, a_get_2),
    (over_http2, two_gets_2),
    (over_http2, an_upload_2),
    (over_http2, an_early_close_2),
    (over_http2, a_read_timeout_2),
    (over_http2, a_reset_body_2),
    (over_http2, a_move_2),
    (over_https2, a_get_over_tls_2),
]


# Over HTTP/2, beside another response: whatever is raised ends no more than its stream.
ON_ONE_CONNECTION = {a_get_2, two_gets_2, an_upload_2, an_early_close_2, a_get_over_tls_2}


def busy(pool: httpcore.ConnectionPool) -> tuple[int, ...]:
    stats = pool.stats()
    return tuple(stats[name] for name in ("active", "dialing", "waiting", "requests"))


class Other:
    """Another response of the pool, read half when the hook raises."""

    def __init__(self, site: Site, pool: httpcore.ConnectionPool) -> None:
        self.server: Any = site.plain
        if pool._settings.protocols == ("h2",):
            self.server = site.http2
        elif "h2" in pool._settings.protocols:
            self.server = site.secure_http2
        self.url = f"{self.server.url}/bytes/{LONG}"
        self.pool = pool
        self.response = self.open()
        self.first = self.response.stream.read(1000)

    def open(self) -> httpcore.Response:
        extensions = {"timeout": {"pool": 0.0, "read": PATIENCE}}
        return self.pool.request("GET", self.url, extensions=extensions, stream=True)

    def check(self) -> None:
        """It is whole; then all of the pool is free again, and both its slots can be used."""
        assert busy(self.pool) == (1, 0, 0, 1)
        assert self.first + self.response.stream.read() == pattern(LONG)
        assert busy(self.pool) == (0, 0, 0, 0)
        both = [self.open() for _ in range(2)]
        assert [response.stream.read() for response in both] == [pattern(LONG)] * 2


@pytest.mark.parametrize(
    ("error", "beside"), [(HookError, False), (HookError, True), (KeyboardInterrupt, True)]
)
@pytest.mark.parametrize(
    ("open_pool", "act"), [pytest.param(*each, id=f"{each[1].__name__} {each[0].__name__}")
                           for each in RAISING]
)  # fmt: skip
def test_a_hook_that_raises_loses_nothing(
    site: Site, open_pool: Open, act: Act, beside: bool, error: type[BaseException]
) -> None:
    """No connection, no slot, no stream, and no byte of another response; at each event there is
    in the story."""
    number, events = 0, set()
    while True:
        number += 1
        strike = Strike(number, error)
        with open_pool(site, strike) as pool:
            other = Other(site, pool) if beside else None
            before = other.server.accepted if other is not None else 0
            strike.armed = True
            raised = ""
            try:
                act(site, pool)
            except error as exc:
                raised = str(exc)
            strike.armed = False
            # Evicting serves other requests than the one in whose thread it happens.
            assert raised == strike.at or strike.at == "pool.evict"
            if other is None:
                assert busy(pool) == (0, 0, 0, 0), strike.at
                other = Other(site, pool)
            other.check()
            if before and act in ON_ONE_CONNECTION:
                assert other.server.accepted == before, strike.at
        for server in (site.plain, site.secure, site.http2, site.secure_http2, site.leaving):
            assert server.wait_for(lambda server=server: server.open == 0), strike.at
        if not strike.at:
            break
        events.add(strike.at)
    assert len(events) >= 3


# --- one hook, or two ---


def test_both_hooks_are_told_the_pools_first(server: LocalServer) -> None:
    told: list[tuple[str, str]] = []
    with httpcore.ConnectionPool(trace=lambda name, _: told.append(("pool", name))) as pool:
        extensions = {"trace": lambda name, _: told.append(("request", name))}
        pool.request("GET", server.url, extensions=extensions)
        told.remove(("pool", "pool.assign"))  # nobody else gets it
        assert [who for who, _ in told] == ["pool", "request"] * (len(told) // 2)
        assert [name for who, name in told if who == "pool"] == [
            name for who, name in told if who == "request"
        ]
        del told[:]
        pool.request("GET", server.url)
        assert {who for who, _ in told} == {"pool"}


class Empty(list[str]):
    """A hook that is falsy until it has been told something."""

    def __call__(self, name: str, details: dict[str, Any]) -> None:
        self.append(name)


def test_a_hook_may_be_falsy(server: LocalServer) -> None:
    own, pools = Empty(), Empty()
    with httpcore.ConnectionPool(trace=pools) as pool:
        pool.request("GET", server.url)
        pool.request("GET", server.url, extensions={"trace": own})
        assert own and own == pools[-len(own) :]
    assert combined(Empty(), None) == [] and combined(None, Empty()) == []
    assert combined(None, None) is None


async def nobody_awaits(name: str, details: dict[str, Any]) -> None:
    raise AssertionError


@pytest.mark.parametrize("hook", [5, nobody_awaits])
def test_a_hook_that_cannot_be_one_is_refused(server: LocalServer, hook: Any) -> None:
    """An async function would be called, and nothing would happen."""
    reason = "must be callable, not int" if hook == 5 else "an async one is not awaited"
    with pytest.raises(TypeError, match=f"trace must be .*{reason}|trace {reason}"):
        httpcore.ConnectionPool(trace=hook)
    with httpcore.ConnectionPool() as pool:
        for name in ("trace", "informational"):
            with pytest.raises(TypeError, match=reason) as caught:
                pool.request("GET", server.url, extensions={name: hook})
            assert f"extensions['{name}'] must be" in str(caught.value)
    assert server.accepted == 0


@pytest.mark.parametrize("version", ["http11", "http2"])
def test_a_hook_may_look_at_the_pool_and_use_it(site: Site, version: str) -> None:
    """No lock is held while it is called."""
    url = site.plain.url if version == "http11" else site.http2.url
    looked: list[str] = []

    def trace(name: str, details: dict[str, Any]) -> None:
        pool.stats()
        looked.append(repr(pool) + repr(pool.connections))
        if name == f"{version}.receive_response_headers.complete":
            assert pool.request("GET", url).status == 200
            details["return_value"][-1].clear()  # it is the response's own

    known = version == "http2"
    with httpcore.ConnectionPool(http1=not known, http2=known) as pool:
        assert pool.request("GET", url, extensions={"trace": trace}).headers == []
    assert len(looked) > 10


# --- the pool's own events ---


def test_what_the_pool_tells(site: Site) -> None:
    note = Note()
    url = site.plain.url
    with httpcore.ConnectionPool(max_connections=1, trace=note) as pool:
        held = pool.request("GET", url + "/bytes/300000", stream=True)
        del note.events[:]

        def let_go(name: str, details: dict[str, Any]) -> None:
            if name == "pool.enqueue":
                assert pool.stats()["waiting"] == 1
                held.close()

        pool._slots.hook = combined(note, let_go)
        pool.request("GET", url, extensions={"timeout": {"pool": PATIENCE}})
        pool._slots.hook = note
        [connection] = pool.connections
        enqueued, assigned = note.of("pool.enqueue"), note.of("pool.assign")
        assert enqueued["route"] == url
        assert enqueued["request"].url.target == b"/"
        assert assigned == {"request": enqueued["request"], "connection": connection}
        names = [name for name in note.names if name.startswith("pool.")]
        assert names == ["pool.enqueue", "pool.assign"]
        del note.events[:]
        pool.request("GET", site.dropping.url)
        assert note.of("pool.evict") == {"connection": connection}
        assert connection.is_closed()


def test_a_replay_is_told_and_counted(site: Site) -> None:
    note = Note()
    with httpcore.ConnectionPool(trace=note) as pool:
        pool.request("GET", site.dropping.url)
        pool.request("GET", site.dropping.url)
        replay = note.of("pool.replay")
        assert isinstance(replay["exception"], httpcore.RemoteProtocolError)
        assert replay["request"].url.port == site.dropping.port
        assert pool.stats()["totals"]["replayed"] == 1


def test_a_move_is_told_and_counted(site: Site) -> None:
    note = Note()
    with httpcore.ConnectionPool(http1=False, http2=True, trace=note) as pool:
        pool.request("POST", site.leaving.url, content=b"1")
        pool.request("POST", site.leaving.url, content=b"2")
        assert note.of("pool.replay")["exception"].phase == "not_sent"
        assert pool.stats()["totals"]["replayed"] == 1


def test_retries_are_told_and_counted(server: LocalServer) -> None:
    """Those of a `RetryConfig`; after a status there is no exception."""
    note = Note()
    retries = httpcore.RetryConfig(attempts=2, statuses=[503], backoff=0.0)
    with httpcore.ConnectionPool(retries=retries, trace=note) as pool:
        assert pool.request("GET", server.url + "/status/503").status == 503
        told = [details for name, details in note.events if name == "pool.replay"]
        assert [details["exception"] for details in told] == [None, None]
        with pytest.raises(httpcore.RemoteProtocolError) as caught:
            pool.request("GET", server.url + "/drop", extensions={"timeout": {"pool": 1.0}})
        told = [details for name, details in note.events if name == "pool.replay"][2:]
        assert told and all(type(each["exception"]) is type(caught.value) for each in told)
        assert pool.stats()["totals"]["replayed"] == 2 + len(told)


def test_a_hook_that_raises_at_an_eviction(
    server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It meets somebody else's request, so it is logged; the connection is closed all the same."""

    def trace(name: str, details: dict[str, Any]) -> None:
        if name == "pool.evict":
            raise HookError

    with httpcore.ConnectionPool(max_keepalive_connections=0, trace=trace) as pool:
        pool.request("GET", server.url)
        assert pool.stats()["connections"] == 0
    assert server.wait_for(lambda: server.open == 0)
    [record] = caplog.records
    assert (record.name, record.levelno) == ("httpcore.pool", logging.ERROR)
    assert record.exc_info is not None and record.exc_info[0] is HookError


# --- the log ---


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.name} {record.getMessage()}" for record in caplog.records]


def debugged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Without what is logged at INFO, which `test_request_log` is about."""
    found = [record for record in caplog.records if record.levelno == logging.DEBUG]
    return [f"{record.name} {record.getMessage()}" for record in found]


def test_what_is_logged_at_debug(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The same as a request's hook gets, by the room that it comes from; and how connections are
    closed, as in 1.0.9."""
    caplog.set_level(logging.DEBUG, "httpcore")
    note = Note()
    with httpcore.ConnectionPool(site.trusted) as pool:
        get(pool, site.secure.url, note)
    events = [".".join(line.split()[:2]).removeprefix("httpcore.") for line in debugged(caplog)]
    assert events == [*note.names, "connection.close.started", "connection.close.complete"]
    assert not [line for line in logged(caplog) if "return_value=None" in line]


def test_no_hook_but_the_pools_gets_the_pools_own_events(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A queue, a replay, an eviction, a failure: programs that count a request's events, or match
    the lines of the log, know the names of 1.0.9."""
    caplog.set_level(logging.DEBUG, "httpcore")
    note, own = Note(), Note()
    with httpcore.ConnectionPool(max_connections=1, trace=note) as pool:
        held = pool.request("GET", site.plain.url + "/bytes/300000", stream=True)

        def let_go(name: str, details: dict[str, Any]) -> None:
            if name == "pool.enqueue":
                held.close()

        pool._slots.hook = combined(note, let_go)
        for url in (site.plain.url, site.dropping.url, site.dropping.url):
            get(pool, url, own)
        with pytest.raises(httpcore.ConnectError):
            get(pool, f"http://127.0.0.1:{closed_port()}/", own)
    of_pool = {name for name in note.names if name.startswith("pool.")}
    assert of_pool == {
        *("pool.enqueue", "pool.assign", "pool.replay", "pool.evict", "pool.fail"),
    }
    assert own.names and not [name for name in own.names if name.startswith("pool.")]
    assert not [record for record in caplog.records if record.name == "httpcore.pool"]


def test_one_logger_may_be_on_alone(server: LocalServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "httpcore.http11")
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
    assert {record.name for record in caplog.records} == {"httpcore.http11"}
    assert len(caplog.records) == 10


@pytest.mark.parametrize("kind", ["HTTPConnection", "HTTP11Connection", "HTTP2Connection"])
def test_a_connection_by_hand_is_logged_too(
    site: Site, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.DEBUG, "httpcore")
    server: Any = site.http2 if kind == "HTTP2Connection" else site.plain
    origin = httpcore.URL(server.url).origin
    stream: Any = ()
    if kind != "HTTPConnection":
        stream = (httpcore.SyncBackend().connect_tcp("127.0.0.1", server.port),)
    with getattr(httpcore, kind)(origin, *stream) as connection:
        connection.request("GET", server.url)
    rooms = {record.name for record in caplog.records}
    assert ("httpcore.http2" if kind == "HTTP2Connection" else "httpcore.http11") in rooms
    assert ("httpcore.connection" in rooms) == (kind == "HTTPConnection")


def test_no_hook_is_made_while_nobody_reads_the_log(
    server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is looked up when the pool is made and when it opens a connection, not for each
    request."""
    caplog.set_level(logging.INFO, "httpcore")
    assert log_hook() is None
    with httpcore.ConnectionPool() as pool:
        pool.request("GET", server.url)
        assert pool._trace is None
        caplog.set_level(logging.DEBUG, "httpcore")
        pool.request("GET", server.url)
        assert not debugged(caplog)
        pool.retire()
        caplog.clear()
        pool.request("GET", server.url)  # opens one
        assert "httpcore.http11 response_closed.complete" in logged(caplog)
        caplog.set_level(logging.INFO, "httpcore")
        caplog.clear()
        pool.request("GET", server.url)
        assert not debugged(caplog)


@contextmanager
def locked_logging() -> Iterator[None]:
    """Another thread is inside of the logging module, and does not come out before the end; what
    our loggers remember is forgotten, as after each change of a level. (No fixture: pytest takes
    the lock itself between a test's fixtures and the test.)"""
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with logging._lock:  # type: ignore[attr-defined]
            for name, logger in logging.root.manager.loggerDict.items():
                if name.startswith("httpcore") and isinstance(logger, logging.Logger):
                    logger._cache.clear()  # type: ignore[attr-defined]
            inside.set()
            done.wait(20.0)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(20.0)
    try:
        yield
    finally:
        done.set()
        holder.join()


@pytest.mark.parametrize("http2", [False, True])
def test_no_request_takes_the_lock_of_the_logging_module(site: Site, http2: bool) -> None:
    """An interrupt may have left it taken: dials, requests and what fails go on."""
    server: Any = site.http2 if http2 else site.plain
    statuses: list[Any] = []

    def job() -> None:
        with httpcore.ConnectionPool(http1=not http2, http2=http2) as pool:
            statuses.append(pool.request("GET", server.url).status)
            pool.retire()
            statuses.append(pool.request("GET", server.url).status)
            with pytest.raises(httpcore.ConnectError):
                pool.request("GET", f"http://127.0.0.1:{closed_port()}/")
        statuses.append("ended")

    # hpack, which this server uses too, looks up at its first use what its own loggers let pass.
    with httpcore.ConnectionPool(http1=not http2, http2=http2) as pool:
        pool.request("GET", server.url)
    thread = threading.Thread(target=job, daemon=True)
    with locked_logging():
        thread.start()
        thread.join(10.0)
        seen = list(statuses)
    thread.join(10.0)
    assert seen == [200, 200, "ended"]


SECRETS = ["s3cret", "czNjcmV0"]  # what must not be seen, and what begins its base64


def secretive(peer: Peer) -> None:
    while (request := peer.recv_request()) is not None:
        assert request.header("authorization") or request.header("x-late")
        headers = [
            ("Set-Cookie", "session=s3cret; Path=/"),
            ("Location", "https://me:s3cret@other.test/?a=b@c"),
            ("X-Fine", "this@is://fine"),
        ]
        peer.respond(200, b"ok", headers)


@pytest.mark.parametrize("road", ["direct", "http", "socks5"])
def test_no_secret_is_logged(
    site: Site, serve: Serve, caplog: pytest.LogCaptureFixture, road: str
) -> None:
    caplog.set_level(logging.DEBUG, "httpcore")
    server = serve(secretive)
    site.proxy.credentials = "me", "s3cret"
    site.socks.credentials = "me", "s3cret"
    proxy = None
    if road == "http":
        proxy = httpcore.Proxy(f"http://me:s3cret@127.0.0.1:{site.proxy.port}")
    elif road == "socks5":
        proxy = httpcore.Proxy(f"socks5://me:s3cret@{site.socks.address}")
    headers = {"Host": "x", "Authorization": "Basic czNjcmV0", "Cookie": "session=s3cret"}
    note = Note()
    with httpcore.ConnectionPool(site.trusted, proxy, max_connections=1, trace=note) as pool:
        url = server.url.replace("://", "://me:s3cret@")
        assert pool.request("GET", url, headers=headers).status == 200
        with pool.stream("GET", server.url, headers=headers):
            pass
        with pytest.raises(httpcore.ProxyError if proxy else httpcore.ConnectError):
            pool.request("GET", f"https://127.0.0.1:{closed_port()}/", headers=headers)
        seen = [*logged(caplog), repr(pool), repr(pool.stats()), repr(pool.connections)]
    assert any("Set-Cookie" in line for line in seen)
    assert any("https://[secure]@other.test/?a=[secure]" in line for line in seen)
    assert any("this@is://fine" in line for line in seen)
    for secret in SECRETS:
        assert [line for line in seen if secret in line] == []
    if road == "socks5":
        details = [told for name, told in note.events if name.endswith("socks5_connection.started")]
        assert details and all(told["auth"] == (b"me", b"[secure]") for told in details)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([(b"COOKIE", b"a=b"), (b"a", b"b")], [(b"COOKIE", b"[secure]"), (b"a", b"b")]),
        ((b"Proxy-Authorization", b"x"), (b"Proxy-Authorization", b"[secure]")),
        ((200, [(b"set-cookie", b"x")]), (200, [(b"set-cookie", b"[secure]")])),
        (b"http://u:p@h/", b"http://[secure]@h/"),
        ("text", "text"),
        (None, None),
        ([], []),
    ],
)
def test_masking(value: Any, shown: Any) -> None:
    assert masked(value) == shown


def test_masking_does_not_change_what_is_told() -> None:
    headers = [(b"Set-Cookie", b"a=b")]
    masked((b"HTTP/1.1", 200, b"OK", headers))
    assert headers == [(b"Set-Cookie", b"a=b")]


# --- of which request ---


def test_a_pools_hook_is_told_the_request_with_each_event(site: Site) -> None:
    """Except that of an eviction, and those for a tunnel, which have one of their own."""
    note, own = Note(), Note()
    proxy = httpcore.Proxy(site.proxy.url)
    request = httpcore.Request(
        "GET", site.secure.url, headers={"Host": "x"}, extensions={"trace": own}
    )
    with httpcore.ConnectionPool(site.trusted, proxy=proxy, trace=note) as pool:
        pool.handle_request(request).read()
        assert [name for name in note.names if name != "pool.assign"] == own.names
        of_request = [details["request"] for _, details in note.events]
        assert {each.method for each in of_request} == {b"GET", b"CONNECT"}
        assert all(each is request for each in of_request if each.method == b"GET")
        # A request's own hook is told what httpcore 1.0.9 tells.
        assert "request" not in own.of("connection.connect_tcp.started")
        assert note.of("connection.connect_tcp.started")["request"] is request
        del note.events[:]
    assert note.events[0][0] == "pool.evict" and "request" not in note.events[0][1]


def test_hooks_of_two_requests_at_once_keep_apart(site: Site) -> None:
    note = Note()
    with httpcore.ConnectionPool(http1=False, http2=True, trace=note) as pool:
        with pool.stream("GET", site.http2.url + "/bytes/300000") as first:
            with pool.stream("GET", site.http2.url + "/bytes/300000"):
                pass
            first.read()
    ended = [told for name, told in note.events if name == "http2.response_closed.complete"]
    begun = [told for name, told in note.events if name == "http2.send_request_headers.started"]
    assert len({id(told["request"]) for told in begun}) == 2
    assert [told["request"] for told in ended] == [told["request"] for told in begun][::-1]


@pytest.mark.parametrize("retries", [0, httpcore.RetryConfig(attempts=2, backoff=0.0)])
def test_a_request_that_fails_is_told_once(site: Site, retries: Any) -> None:
    """The last event, with what is raised."""
    note = Note()
    url = f"http://127.0.0.1:{closed_port()}/"
    with httpcore.ConnectionPool(retries=retries, trace=note) as pool:
        with pytest.raises(httpcore.ConnectError) as caught:
            pool.request("GET", url)
        assert note.of("pool.fail")["exception"] is caught.value
        assert note.names[-1] == "pool.fail"
        assert note.of("pool.fail")["request"].url.port == httpcore.URL(url).port
        assert note.names.count("pool.replay") == (2 if retries else 0)
        with pool.stream("GET", site.plain.url):
            pass
        assert note.names.count("pool.fail") == 1


def test_a_request_that_is_refused_unsent_is_not_told(site: Site) -> None:
    """Nothing has begun."""
    note = Note()
    with httpcore.ConnectionPool(trace=note) as pool:
        with pytest.raises(httpcore.LocalProtocolError):
            pool.request("GET", site.plain.url, headers={"a b": "c"})
    assert note.events == []


@pytest.mark.parametrize("retries", [0, httpcore.RetryConfig(attempts=1, backoff=0.0)])
def test_a_failure_leaves_no_cycle(server: LocalServer, retries: Any) -> None:
    """What a request that was sent again holds is freed with it, not by the collector."""
    gc.collect()
    before = bodies()
    gc.disable()
    try:
        with httpcore.ConnectionPool(retries=retries, trace=lambda name, details: None) as pool:
            with pytest.raises(httpcore.RemoteProtocolError) as caught:
                pool.request("GET", server.url + "/drop")
            assert bodies() > before, "the traceback has one"
            del caught
            assert bodies() == before
    finally:
        gc.enable()


def bodies() -> int:
    return sum(type(each) is ResponseBody for each in gc.get_objects())
