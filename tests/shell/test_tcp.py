"""Opening a TCP connection: look-ups bounded by a deadline, and the race of addresses.

Owns: `httpcore._backends.tcp`. Must not know: streams, HTTP. `test_backends` has what a backend
says about a connect to one address.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import pytest

import httpcore
from httpcore._backends import tcp
from httpcore._backends.tcp import look_up, open_tcp
from httpcore.exceptions import NameResolutionError
from tests.support import PATIENCE
from tests.support.servers import Peer, Serve, black_hole


def silent(peer: Peer) -> None:
    peer.wait_closed()


def gives(*addresses: str) -> tcp.Resolver:
    return lambda host, port, timeout: addresses


def connect(port: int, *addresses: str, timeout: float | None = PATIENCE) -> socket.socket:
    return open_tcp("h.test", port, timeout, None, [], gives(*addresses))


@pytest.fixture
def holes() -> Iterator[Callable[..., None]]:
    """`holes(port, *hosts)`: nobody answers there until the end of the test."""
    with contextlib.ExitStack() as stack:

        def dig(port: int, *hosts: str) -> None:
            for host in hosts:
                stack.enter_context(black_hole(host, port))

        yield dig


# --- the race ---


def test_a_dead_ipv6_address_costs_a_quarter_of_a_second(
    serve: Serve, holes: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 20: "a host with a black-holed ::-address first and a live IPv4 connects in
    < 500 ms; no thread is started; losers' sockets are closed"."""
    server = serve(silent)
    holes(server.port, "::1")
    made: list[socket.socket] = []

    # The server's threads make sockets and threads too.
    me = threading.current_thread()
    start_thread = threading.Thread.start
    make_socket = socket.socket

    def noted(*args: Any, **options: Any) -> socket.socket:
        sock = make_socket(*args, **options)
        if threading.current_thread() is me:
            made.append(sock)
        return sock

    def start_no_thread(self: threading.Thread) -> None:
        assert threading.current_thread() is not me, f"{self.name} was started"
        start_thread(self)

    found = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in (
        (socket.AF_INET6, ("::1", server.port, 0, 0)),
        (socket.AF_INET, ("127.0.0.1", server.port)),
    )]  # fmt: skip
    monkeypatch.setattr(socket, "socket", noted)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    monkeypatch.setattr(threading.Thread, "start", start_no_thread)
    start = time.monotonic()
    sock = open_tcp("h.test", server.port, None, None, [])
    took = time.monotonic() - start
    monkeypatch.undo()
    with closing(sock):
        assert sock.getpeername() == ("127.0.0.1", server.port)
        assert 0.2 < took < 0.5
        loser, winner = made
        assert (loser.family, loser.fileno()) == (socket.AF_INET6, -1)
        assert winner is sock


def test_the_first_that_answers_wins_and_the_next_is_not_tried(serve: Serve) -> None:
    server = serve(silent)
    with closing(connect(server.port, "127.0.0.1", "127.0.0.2")) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"
        assert sock.gettimeout() == pytest.approx(PATIENCE, abs=1.0)
    assert server.wait_for(lambda: server.accepted == 1)


def test_one_that_refuses_does_not_hold_up_the_next(
    serve: Serve, holes: Callable[..., None]
) -> None:
    # Both refuse at once or never answer; the live one is last, and is reached within the delay
    # of the one that never answers.
    server = serve(silent)
    holes(server.port, "127.0.0.5")
    start = time.monotonic()
    with closing(connect(server.port, "127.0.0.9", "127.0.0.5", "127.0.0.8", "127.0.0.1")):
        assert time.monotonic() - start < 0.5


def test_a_silent_first_address_may_still_win(holes: Callable[..., None]) -> None:
    # The listener's queue is emptied while the second address is being tried.
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        host, port = listener.getsockname()
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect((host, port))
            fillers.append(filler)
        holes(port, "127.0.0.5")
        accepted: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted.append(listener.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            with closing(connect(port, host, "127.0.0.5")) as sock:
                assert sock.getpeername() == (host, port)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in (*fillers, *accepted):
                each.close()


def test_all_that_failed_are_named(closed_port: int) -> None:
    with pytest.raises(httpcore.ConnectError) as caught:
        connect(closed_port, "127.0.0.9", "::1", "127.0.0.8")
    assert str(caught.value) == (
        f"connect to h.test:{closed_port} (127.0.0.9, ::1, 127.0.0.8) failed: "
        "[Errno 111] Connection refused"
    )
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_an_address_is_named_in_brackets(closed_port: int, timeout: float | None) -> None:
    with pytest.raises(httpcore.ConnectError, match=rf"^connect to \[::1\]:{closed_port} \(::1\)"):
        httpcore.SyncBackend().connect_tcp("::1", closed_port, timeout)


def test_the_timeout_covers_the_whole_race(closed_port: int, holes: Callable[..., None]) -> None:
    hosts = [f"127.0.0.{number}" for number in (1, 2, 3, 4)]
    holes(closed_port, *hosts)
    start = time.monotonic()
    with pytest.raises(httpcore.ConnectTimeout) as caught:
        connect(closed_port, *hosts, timeout=0.3)
    assert time.monotonic() - start < 0.5
    # The third one's turn would have come after half a second.
    assert str(caught.value) == (
        f"connect to h.test:{closed_port} (127.0.0.1, 127.0.0.2) timed out after 0.3 s"
    )
    assert isinstance(caught.value.__cause__, TimeoutError)


def test_without_waiting(closed_port: int, holes: Callable[..., None]) -> None:
    holes(closed_port, "127.0.0.1", "127.0.0.2")
    with pytest.raises(httpcore.ConnectTimeout, match="timed out after 0 s"):
        open_tcp("h", closed_port, 0, None, [], gives("127.0.0.1", "127.0.0.2"))


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
def test_an_option_that_cannot_be_set(closed_port: int, addresses: list[str]) -> None:
    with pytest.raises(httpcore.ConnectError, match=r"failed: \[Errno 92\]"):
        open_tcp("h", closed_port, None, None, [(socket.IPPROTO_TCP, 9999, 1)], gives(*addresses))


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
def test_an_interrupt_closes_all_sockets(
    closed_port: int, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    made = []

    class Interrupting(socket.socket):
        def setsockopt(self, *_: Any) -> None:
            made.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(socket, "socket", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        open_tcp("h", closed_port, None, None, [(1, 2, 3)], gives(*addresses))
    assert [sock.fileno() for sock in made] == [-1]


def test_a_socket_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", exhausted)
    with pytest.raises(httpcore.ConnectError, match="Too many open files"):
        connect(1, "127.0.0.1", "127.0.0.2")


def test_a_connect_that_is_through_at_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, holes: Callable[..., None]
) -> None:
    """Some systems complete a non-blocking connect on loopback in the call."""

    class Quick(socket.socket):
        def connect_ex(self, address: Any) -> int:
            if address[0] in ("127.0.0.8", "127.0.0.9"):
                return errno.ENETUNREACH
            self.setblocking(True)
            self.connect(address)
            return 0

    server = serve(silent)
    holes(server.port, "127.0.0.5")
    monkeypatch.setattr(socket, "socket", Quick)
    with closing(connect(server.port, "127.0.0.5", "127.0.0.9", "127.0.0.1")) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"
    with pytest.raises(httpcore.ConnectTimeout, match=r"\(127\.0\.0\.5, 127\.0\.0\.9, 127"):
        connect(server.port, "127.0.0.5", "127.0.0.9", "127.0.0.8", timeout=0.4)


# --- look-ups ---


def test_a_look_up_that_blocks_is_bounded() -> None:
    """Row 9: "a resolver stub that blocks is bounded too"."""
    release = threading.Event()

    def stuck(host: str, port: int, timeout: float | None) -> Iterable[str]:
        release.wait(PATIENCE)
        return ["127.0.0.1"]

    try:
        start = time.monotonic()
        with pytest.raises(httpcore.ConnectTimeout, match=r"look up h timed out after 0\.1 s"):
            open_tcp("h", 80, 0.1, None, [], stuck)
        assert time.monotonic() - start < 0.3
    finally:
        release.set()


def test_the_systems_look_up_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def stuck(*_: Any) -> Any:
        release.wait(PATIENCE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    try:
        with pytest.raises(httpcore.ConnectTimeout, match="look up h timed out"):
            look_up("h", 80, 0.05)
    finally:
        release.set()


@pytest.mark.parametrize(
    ("host", "timeout"), [("h", None), ("127.0.0.1", PATIENCE), ("::1", PATIENCE)]
)
def test_no_thread_without_a_deadline_or_for_an_address(
    monkeypatch: pytest.MonkeyPatch, host: str, timeout: float | None
) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    resolver = gives("127.0.0.1") if host == "h" else None
    assert look_up(host, 80, timeout, None, resolver)


def test_a_resolver_is_told_everything_and_not_asked_for_addresses() -> None:
    asked: list[tuple[str, int, float | None]] = []

    def resolver(host: str, port: int, timeout: float | None) -> Iterable[str]:
        asked.append((host, port, timeout))
        return iter(["::1", "127.0.0.1"])

    assert [str(each) for each in look_up("h", 80, 3.0, None, resolver)] == ["::1", "127.0.0.1"]
    assert [str(each) for each in look_up("h", 80, None, "0.0.0.0", resolver)] == ["127.0.0.1"]
    assert [str(each) for each in look_up("h", 80, None, "::", resolver)] == ["::1"]
    assert [str(each) for each in look_up("127.0.0.3", 80, 3.0, None, resolver)] == ["127.0.0.3"]
    assert asked == [("h", 80, 3.0), ("h", 80, None), ("h", 80, None)]


def raising(host: str, port: int, timeout: float | None) -> Iterable[str]:
    raise LookupError("no such host")


BAD_RESOLVERS: list[tuple[Any, str]] = [
    (raising, r"look up h failed: the resolver raised LookupError\('no such host'\)"),
    (gives(), "look up h failed: it has no address"),
    (gives("elsewhere.test"), "look up h failed: the resolver gave 'elsewhere.test', which is no"),
    (gives(b"127.0.0.1"), "the resolver gave b'127.0.0.1', which is no IP address"),  # type: ignore[arg-type]
    (lambda host, port, timeout: None, "the resolver raised TypeError"),
]


@pytest.mark.parametrize(("resolver", "text"), BAD_RESOLVERS)
@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_a_resolver_that_fails(resolver: tcp.Resolver, text: str, timeout: float | None) -> None:
    with pytest.raises(NameResolutionError, match=text):
        look_up("h", 80, timeout, None, resolver)


def test_an_interrupt_in_the_look_up_reaches_the_caller() -> None:
    def resolver(host: str, port: int, timeout: float | None) -> Iterable[str]:
        raise KeyboardInterrupt

    for timeout in (None, PATIENCE):
        with pytest.raises(KeyboardInterrupt):
            look_up("h", 80, timeout, None, resolver)


def test_a_backend_with_a_resolver(serve: Serve) -> None:
    server = serve(silent)
    backend = httpcore.SyncBackend(resolver=gives("127.0.0.1"))
    with closing(backend.connect_tcp("h.test", server.port, PATIENCE)) as stream:
        assert repr(stream) == f"<httpcore.SyncStream [h.test:{server.port}]>"
