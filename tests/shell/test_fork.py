"""What the child of a fork finds, part by part; `scenarios/test_fork.py` has the whole.

Owns: locks, sockets and objects that a fork catches in an awkward moment. Must not know: how
the requests of a session are answered.
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import socket
import ssl
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

import httpcore
import httpcore_requests
from httpcore import _ssl
from httpcore._backends import fork
from httpcore_requests import _caller_contexts as _contexts
from httpcore_requests import _fork
from tests.support import PATIENCE
from tests.support.forks import Child, in_child
from tests.support.leaks import sockets
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, ScriptedServer, Serve, pattern
from tests.support.threads import until

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.no_cover,
]

SLOW = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), PATIENCE)}
LARGE = 3_000_000  # bytes; more than the kernel holds for a client that does not read


@contextmanager
def held_elsewhere(lock: Any) -> Iterator[None]:
    """While another thread holds `lock`."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            over.wait(PATIENCE * 3)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert held.wait(PATIENCE)
    try:
        yield
    finally:
        over.set()
        thread.join(PATIENCE)


# ---------------------------------------------------------------------------------------------
# Locks that another thread holds at the fork


def take_cookies(session: requests.Session, url: str) -> None:
    assert session.get(url + "/cookies/set?a=1").ok
    assert session.cookies["a"] == "1"


def use_pool(session: requests.Session, url: str) -> None:
    assert session.get(url).ok


def find_host(session: requests.Session, url: str) -> None:
    adapter: Any = session.get_adapter(url)
    adapter.poolmanager.clear()
    assert session.get(url).ok


def make_context(session: requests.Session, url: str) -> None:
    _ssl._contexts.clear()
    assert session.get(url).ok


def make_special_context(session: requests.Session, url: str) -> None:
    adapter: Any = session.get_adapter(url)
    adapter.poolmanager.connection_pool_kw["assert_hostname"] = "localhost"
    assert session.get(url).ok


@pytest.mark.parametrize(
    ("find", "use"),
    [
        (lambda adapter: adapter.pool._slots.lock, use_pool),
        (lambda adapter: adapter.poolmanager.pools.lock, find_host),
        (lambda adapter: _ssl._lock, make_context),
        (lambda adapter: _contexts._lock, make_special_context),
    ],
    ids=["pool", "manager", "contexts", "special contexts"],
)
def test_a_lock_that_another_thread_holds(
    find: Callable[[Any], Any],
    use: Callable[[requests.Session, str], None],
    tls_server: LocalServer,
    ca_bundle: str,
) -> None:
    with httpcore_requests.Session() as session:
        session.verify = ca_bundle
        assert session.get(tls_server.url).ok
        with held_elsewhere(find(session.get_adapter(tls_server.url))):
            in_child(lambda: use(session, tls_server.url))
        use(session, tls_server.url)


@pytest.mark.parametrize("copier", [lambda made: made, copy.deepcopy], ids=["made", "copied"])
def test_a_cookie_jar_that_another_thread_holds(
    copier: Callable[[requests.Session], requests.Session], server: LocalServer
) -> None:
    """It is not ours, but our Session's; and who forks among busy threads would meet it first."""
    with httpcore_requests.Session() as original, copier(original) as session:
        take_cookies(session, server.url)
        jar: Any = session.cookies
        with held_elsewhere(jar._cookies_lock):
            in_child(lambda: take_cookies(session, server.url))
        with held_elsewhere(jar._cookies_lock):
            session.cookies = {}  # type: ignore[assignment]
            in_child(lambda: use_pool(session, server.url))


def test_a_cancel_token_of_the_parent(server: LocalServer) -> None:
    token = httpcore.CancelToken()
    extensions = {"cancel": token}
    with httpcore.ConnectionPool() as pool:
        response = pool.request(
            "GET", f"{server.url}/bytes/{LARGE}", stream=True, extensions=extensions
        )

        def child() -> int:
            status = pool.request("GET", server.url, extensions=extensions).status
            token.cancel()  # of the parent's request, too; but that is not here
            return status

        assert in_child(child) == 200
        assert response.read() == pattern(LARGE)


def test_a_manager_that_a_subclass_made(server: LocalServer) -> None:
    class Own(httpcore_requests.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            self.poolmanager: Any = requests.adapters.PoolManager(*args)

    with requests.Session() as session:
        session.mount("http://", Own())
        assert session.get(server.url).ok
        adapter: Any = session.get_adapter(server.url)
        with held_elsewhere(adapter.poolmanager.pools.lock):
            in_child(lambda: find_host(session, server.url))


def test_an_operation_that_another_thread_is_in(server: LocalServer) -> None:
    """What the Scheduler would first repair is of no interest in the child: it has a new one."""
    with httpcore.ConnectionPool(max_connections=1) as pool:
        assert pool.request("GET", server.url).status == 200

        def child() -> dict[str, int]:
            assert pool.request("GET", server.url).status == 200
            pool._slots.scheduler.check()
            return pool.stats()

        with pool._slots.lock:
            pool._slots.scheduler._mutating = True
            at_fork = Child(child)
        pool._slots.scheduler._mutating = False
        assert at_fork.result()["idle"] == 1
        assert pool.stats()["idle"] == 1


@pytest.mark.skipif(
    "coverage" in sys.modules and sys.modules["coverage"].Coverage.current() is not None,
    reason="coverage has a lock of its own, which another thread holds when the child begins",
)
def test_threads_that_make_pools_all_the_time() -> None:
    """The lists of what there is stand, wherever their writers were."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            pools = [httpcore.ConnectionPool() for _ in range(50)]
            pools.clear()

    crowd = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in crowd:
        thread.start()
    try:
        for _ in range(10):
            assert in_child(lambda: repr(httpcore.ConnectionPool())).startswith("<Conn")
    finally:
        over.set()
        for thread in crowd:
            thread.join(PATIENCE)


def test_what_is_gone_is_forgotten(server: LocalServer) -> None:
    gc.collect()
    before = len(fork._renewables), len(fork._sockets), len(_fork._locks)
    for _ in range(3):
        with httpcore_requests.Session() as session:
            assert session.get(server.url).ok
    del session
    gc.collect()
    assert (len(fork._renewables), len(fork._sockets), len(_fork._locks)) == before


# ---------------------------------------------------------------------------------------------
# Connections that another thread is opening at the fork


def sockets_during(
    dial: Callable[[], object], ready: Callable[[], Any], own: Callable[[], set[int]]
) -> set[str]:
    """The sockets of a client that are open in a child that is forked while `dial` runs in
    another thread; `own()` are the descriptors that belong to servers."""
    before = set(sockets())
    thread = threading.Thread(target=dial, daemon=True)
    thread.start()
    until(ready)
    not_ours = own()
    clients = {name for name, fd in sockets().items() if name not in before and fd not in not_ours}
    assert clients
    left = in_child(lambda: clients & set(sockets()))
    thread.join(PATIENCE)
    return set(left)


def fails(url: str, timeout: float = 0.5, **options: Any) -> Callable[[], None]:
    def dial() -> None:
        with httpcore.ConnectionPool(**options) as pool:
            with pytest.raises((httpcore.NetworkError, httpcore.TimeoutException)):
                pool.request("GET", url, extensions={"timeout": {"connect": timeout}})

    return dial


def test_a_connect_is_not_inherited(black_hole: tuple[str, int]) -> None:
    gc.collect()
    before = len(fork._sockets)
    dial = fails("http://{}:{}/".format(*black_hole))
    assert sockets_during(dial, lambda: len(fork._sockets) > before, set) == set()


def accepted_by(server: ScriptedServer) -> Callable[[], set[int]]:
    return lambda: {peer.sock.fileno() for peer in server._peers}


def test_a_handshake_is_not_inherited(serve: Serve, client_tls_context: ssl.SSLContext) -> None:
    hello = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv()
        hello.set()
        peer.wait_closed()

    server = serve(handler)
    url = server.url.replace("http:", "https:")
    dial = fails(url, ssl_context=client_tls_context)
    assert sockets_during(dial, hello.is_set, accepted_by(server)) == set()


def test_a_tunnel_in_the_making_is_not_inherited(serve: Serve) -> None:
    asked = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_head()
        asked.set()
        peer.wait_closed()

    server = serve(handler)
    dial = fails("https://origin.test/", proxy=httpcore.Proxy(server.url))
    assert sockets_during(dial, asked.is_set, accepted_by(server)) == set()


# ---------------------------------------------------------------------------------------------
# Kinds of connections


def test_a_tunnel(
    proxy: ProxyServer, tls_server: LocalServer, client_tls_context: ssl.SSLContext
) -> None:
    with httpcore.ConnectionPool(client_tls_context, proxy=httpcore.Proxy(proxy.url)) as pool:

        def both() -> list[int]:
            return [pool.request("GET", tls_server.url, extensions=SLOW).status for _ in range(3)]

        assert both() == in_child(both) == both() == [200] * 3
    assert proxy.tunnels == 2
    assert tls_server.accepted == 2


def test_a_unix_socket(serve: Serve, tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    server = serve(numbers, uds=path)
    with httpcore.ConnectionPool(uds=path) as pool:

        def three() -> set[bytes]:
            return {pool.request("GET", "http://localhost/").content for _ in range(3)}

        assert three() == {b"1"}
        assert in_child(three) == {b"2"}
        assert three() == {b"1"}
    assert server.accepted == 2


def numbers(peer: Peer) -> None:
    while peer.recv_request() is not None:
        peer.respond(200, b"%d" % peer.number)


def test_a_child_of_a_child(serve: Serve) -> None:
    server = serve(numbers)
    with httpcore.ConnectionPool() as pool:

        def ask() -> bytes:
            return pool.request("GET", server.url, extensions=SLOW).content

        def child() -> list[bytes]:
            return [ask(), in_child(lambda: [ask(), ask()])[1], ask()]

        assert ask() == b"1"
        assert in_child(child) == [b"2", b"3", b"2"]
        assert ask() == b"1"


def switch(peer: Peer) -> None:
    peer.recv_head()
    peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello"
    )
    while data := peer.recv():
        peer.send(data)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_upgraded_connection_is_the_callers(
    tls: bool, serve: Serve, server_tls_context: ssl.SSLContext, client_tls_context: ssl.SSLContext
) -> None:
    """It is no longer ours, so a child gets what a fork gives it, and may do with it what it
    likes. (Here: talk, which over TLS only one of the two can do.)"""
    server = serve(switch, tls=server_tls_context if tls else None)
    headers = [("Connection", "Upgrade"), ("Upgrade", "echo")]
    with httpcore.ConnectionPool(client_tls_context) as pool:
        response = pool.request("GET", server.url, headers=headers, stream=True)
        stream = response.extensions["network_stream"]

        def talk() -> bytes:
            stream.write(b", world")
            return b"".join(stream.read(100, PATIENCE) for _ in range(2))

        assert in_child(talk) == b"hello, world"
        assert pool.stats()["connections"] == 0
        stream.close()


# ---------------------------------------------------------------------------------------------
# Single connections, driven by hand


def test_a_single_connection(server: LocalServer) -> None:
    url = httpcore.URL(server.url + "/bytes/5")
    with httpcore.HTTPConnection(url.origin) as connection:
        assert connection.request("GET", url).content == pattern(5)

        def child() -> tuple[bool, str]:
            with pytest.raises(httpcore.ConnectionNotAvailable, match="is CLOSED"):
                connection.request("GET", url)
            return connection.is_closed(), connection.info()

        for lock in (connection._lock, connection.opened._lock):  # type: ignore[union-attr]
            with held_elsewhere(lock):
                closed, info = in_child(child)
            assert closed
            assert "CLOSED" in info
        assert connection.request("GET", url).content == pattern(5)
    assert server.accepted == 1


def test_a_single_connection_that_is_not_open_yet(server: LocalServer) -> None:
    """Nothing was opened, so nothing is inherited: parent and child each open their own."""
    url = httpcore.URL(server.url + "/bytes/5")
    with httpcore.HTTPConnection(url.origin) as connection:
        with held_elsewhere(connection._lock):
            assert in_child(lambda: connection.request("GET", url).content) == pattern(5)
        assert connection.request("GET", url).content == pattern(5)


def test_a_half_read_response_of_a_single_connection(server: LocalServer) -> None:
    url = httpcore.URL(f"{server.url}/bytes/{LARGE}")
    with httpcore.HTTPConnection(url.origin) as connection:
        response = connection.request("GET", url, stream=True)
        parts = iter(response.stream)
        first = next(parts)

        def child() -> tuple[str, str]:
            with pytest.raises(httpcore.ReadError) as caught:
                b"".join(parts)
            response.close()
            connection.close()
            return str(caught.value), getattr(caught.value, "phase", "")

        text, phase = in_child(child)
        assert text == (
            f"the response to GET /bytes/{LARGE}, as its connection, belongs to the parent "
            "process; the child of a fork must send a request of its own"
        )
        assert phase == "response_started"
        assert first + b"".join(parts) == pattern(LARGE)


class Watched(httpcore.NetworkStream):
    """A stream of somebody else's making, which notes what is done with it."""

    def __init__(self, stream: httpcore.NetworkStream, seen: list[str]) -> None:
        self._stream = stream
        self._seen = seen

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._seen.append("read")
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._seen.append("write")
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._seen.append("close")
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def __del__(self) -> None:
        self._seen.append("del")


class Watching(httpcore.SyncBackend):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return Watched(super().connect_tcp(*args, **kwargs), self.seen)


@pytest.mark.parametrize("half_read", [False, True])
def test_a_stream_of_another_backend_is_left_alone(half_read: bool, server: LocalServer) -> None:
    """Nobody knows what its `close` sends, so it is never called in the child, nor any other."""
    backend = Watching()
    with httpcore.ConnectionPool(network_backend=backend, max_connections=1) as pool:
        assert pool.request("GET", server.url).status == 200
        response = pool.request("GET", f"{server.url}/bytes/{LARGE}", stream=half_read)

        def child() -> list[str]:
            backend.seen.clear()
            if half_read:
                with pytest.raises(httpcore.ReadError, match="belongs to the parent process"):
                    response.read()
            response.close()
            pool.close()
            return backend.seen

        assert in_child(child) == []
        assert response.read() == pattern(LARGE)
        assert pool.request("GET", server.url).status == 200
    assert server.accepted == 1


# ---------------------------------------------------------------------------------------------
# A fork in the middle of a request, in the very thread that sends it


def fork_inside(send: Callable[[Callable[[], None]], Any]) -> tuple[Any, Any]:
    """What `send(fork)` gives in the parent and in the child, where it calls `fork` in its
    midst: a result, or the text of the exception."""
    reader, writer = os.pipe()
    pids: list[int] = []

    def fork_now() -> None:
        if pids:  # once
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads, since 3.12
            pids.append(os.fork())

    outcome: Any = None
    try:
        outcome = send(fork_now)
    except httpcore.NetworkError as exc:
        outcome = str(exc)
    finally:
        if 0 in pids:
            try:
                os.write(writer, pickle.dumps(outcome))
            finally:
                os._exit(0)
        os.close(writer)
    with open(reader, "rb") as pipe:
        in_the_child = pickle.loads(pipe.read())
    os.waitpid(pids[0], 0)
    return outcome, in_the_child


@pytest.mark.parametrize(
    "event",
    [
        "http11.send_request_headers.started",
        "http11.receive_response_headers.started",
        "http11.receive_response_body.started",
    ],
)
def test_a_trace_hook_that_forks(event: str, server: LocalServer) -> None:
    """The parent's request goes on. The child's copy fails, and says why: the connection is not
    its own, and a POST is not sent twice."""
    with httpcore.ConnectionPool(max_connections=1) as pool:

        def send(fork_now: Callable[[], None]) -> Any:
            def trace(name: str, info: Any) -> None:
                if name == event:
                    fork_now()

            path = f"{server.url}/bytes/{LARGE}"
            return len(pool.request("POST", path, extensions={**SLOW, "trace": trace}).content)

        parent, child = fork_inside(send)
        assert parent == LARGE
        assert "belongs to the parent process" in child
        assert pool.request("GET", server.url).status == 200
    assert server.accepted == 1


@pytest.mark.parametrize("size", [1, 200_000])
@pytest.mark.parametrize("backend", [httpcore.SyncBackend, Watching])
def test_a_body_that_forks(
    server: LocalServer, backend: type[httpcore.SyncBackend], size: int
) -> None:
    """The child's copy sends nothing to the parent's server, whatever the stream."""
    with httpcore.ConnectionPool(max_connections=1, network_backend=backend()) as pool:

        def send(fork_now: Callable[[], None]) -> Any:
            def parts() -> Iterator[bytes]:
                yield b"hello" * size
                fork_now()
                yield b", world" * size

            url = f"{server.url}/echo"
            return len(pool.request("POST", url, content=parts(), extensions=SLOW).content)

        parent, child = fork_inside(send)
        assert parent > len("hello, world") * size
        assert "belongs to the parent process" in child
    assert server.accepted == 1


def test_a_safe_request_is_sent_again_by_the_child(server: LocalServer) -> None:
    """On a connection that had been used: as when the server had closed it."""
    with httpcore.ConnectionPool() as pool:
        assert pool.request("GET", server.url).status == 200

        def send(fork_now: Callable[[], None]) -> Any:
            def trace(name: str, info: Any) -> None:
                if name == "http11.receive_response_headers.started":
                    fork_now()

            return pool.request("GET", server.url, extensions={**SLOW, "trace": trace}).status

        assert fork_inside(send) == (200, 200)
    assert server.accepted == 2


def test_sockets_of_others_are_left_alone() -> None:
    """A socket that this package did not open, and one that is not open any more."""
    ours, other = socket.socketpair()
    with ours, other:
        fork.close_in_child(ours)
        assert in_child(lambda: (ours.fileno() < 0, other.fileno() < 0)) == (True, False)
        fork.keep_in_child(ours)
        fork.keep_in_child(None)
        assert in_child(lambda: ours.fileno() < 0) is False
        fork.close_in_child(ours)
        number = ours.detach()
        try:
            in_child(lambda: os.fstat(number))
        finally:
            os.close(number)
