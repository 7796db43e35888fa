"""Which failures are retried, and which bodies are sent again, through requests.

Owns: scenarios 22 and 47, and of 17 what happens between two attempts. Must not know: private
parts of the packages.
Sources: the scenario rows; urllib3#1059, #2982, psf/requests#2975, requests/toolbelt!393.
"""

from __future__ import annotations

import functools
import io
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

import httpcore
import httpcore_requests
from httpcore import exceptions as finer
from tests.support import PATIENCE
from tests.support.clients import MakeSession
from tests.support.proxies import ProxyServer
from tests.support.servers import Peer, ScriptedServer, Serve, pattern

# Seconds for a timeout that a test is about.
SOON = 0.05

NOT_SENT, MAYBE_PROCESSED, RESPONSE_STARTED = "not_sent", "maybe_processed", "response_started"


class Dialling(httpcore.SyncBackend):
    """Counts the connections that are asked for; `refuses` that many before it opens any."""

    def __init__(self, refuses: int = 0) -> None:
        super().__init__()
        self.asked = 0
        self.refuses = refuses

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        self.asked += 1
        if self.asked <= self.refuses:
            raise httpcore.ConnectError("refused")
        return super().connect_tcp(*args, **kwargs)


# ---------------------------------------------------------------------------------------------
# 22: not sent

METHODS = ["GET", "PUT", "POST", "PATCH"]


class World:
    """Places to which no request can be sent; each returns a URL and what else `request` takes."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.fixture = request.getfixturevalue

    def refused_port(self) -> tuple[str, dict[str, Any]]:
        return f"http://127.0.0.1:{self.fixture('closed_port')}/", {}

    def refused_port_of_https(self) -> tuple[str, dict[str, Any]]:
        return f"https://127.0.0.1:{self.fixture('closed_port')}/", {}

    def silent_host(self) -> tuple[str, dict[str, Any]]:
        host, port = self.fixture("black_hole")
        return f"http://{host}:{port}/", {"timeout": (SOON, PATIENCE)}

    def unknown_name(self) -> tuple[str, dict[str, Any]]:
        def fail(*args: Any, **kwargs: Any) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        self.fixture("monkeypatch").setattr(socket, "getaddrinfo", fail)
        return "http://nowhere.test/", {}

    def untrusted_certificate(self) -> tuple[str, dict[str, Any]]:
        context = self.fixture("server_tls_context")
        return self.fixture("serve")(lambda peer: None, tls=context).url, {}

    def silent_handshake(self) -> tuple[str, dict[str, Any]]:
        server = self.fixture("serve")(lambda peer: peer.wait_closed() and None)
        return server.url.replace("http:", "https:"), {"timeout": (SOON, PATIENCE)}

    def no_tls_at_all(self) -> tuple[str, dict[str, Any]]:
        server = self.fixture("serve")(lambda peer: peer.send(b"HTTP/1.1 400 Bad\r\n\r\n"))
        return server.url.replace("http:", "https:"), {}

    def refused_proxy(self) -> tuple[str, dict[str, Any]]:
        proxy = f"http://127.0.0.1:{self.fixture('closed_port')}"
        return "http://origin.test/", {"proxies": {"http": proxy}}

    def refused_tunnel(self) -> tuple[str, dict[str, Any]]:
        proxy: ProxyServer = self.fixture("proxy")
        proxy.refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        return "https://origin.test/", {"proxies": {"https": proxy.url}}

    def silent_proxy(self) -> tuple[str, dict[str, Any]]:
        proxy = self.fixture("serve")(lambda peer: peer.wait_closed() and None)
        return "https://origin.test/", {"proxies": {"https": proxy.url}, "timeout": SOON}


PLACES = [name for name in vars(World) if not name.startswith("_")]


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    return World(request)


@pytest.mark.parametrize("place", PLACES)
def test_row_22_what_was_not_sent_is_retried_for_any_method(
    world: World, place: str, make_session: MakeSession
) -> None:
    """ "Each failure carries phase not_sent [...]; not_sent is retried for any method under
    `connect=`." Under nothing else: no other count allows a retry, nor do the methods."""
    url, options = getattr(world, place)()
    policy = Retry(None, connect=2, read=0, status=0, redirect=0, other=9, allowed_methods={"GET"})
    for method in METHODS:
        dialling = Dialling()
        session = make_session(max_retries=policy, network_backend=dialling)
        with pytest.raises(requests.RequestException, match="Max retries exceeded") as caught:
            session.request(method, url, data=b"x", **options)
        assert dialling.asked == 3
        assert httpcore_requests.phase(caught.value) == NOT_SENT
        assert caught.value.args[0].phase == caught.value.args[0].reason.phase == NOT_SENT
        assert caught.value.request.method == method


@pytest.mark.parametrize("policy", [Retry(5, connect=0), Retry(5, connect=False), Retry(False), 0])
@pytest.mark.parametrize("place", PLACES)
def test_row_22_and_not_without_a_connect_count(
    world: World, place: str, policy: Any, make_session: MakeSession
) -> None:
    """ "Under `connect=`": where that allows none, there is none, and no word of one."""
    url, options = getattr(world, place)()
    dialling = Dialling()
    session = make_session(max_retries=policy, network_backend=dialling)
    with pytest.raises(requests.RequestException) as caught:
        session.get(url, **options)
    assert dialling.asked == 1
    assert "retries" not in str(caught.value)
    assert caught.value.request is not None
    assert httpcore_requests.phase(caught.value) == NOT_SENT


def test_row_22_a_full_pool(serve: Serve, make_session: MakeSession) -> None:
    """Nor is anything sent while all connections are busy."""
    waits: list[str] = []

    def trace(name: str, info: Any) -> None:
        waits.append(name)

    server = serve(lambda peer: peer.recv_request() and peer.send(b"HTTP/1.1 200 OK\r\n\r\n"))
    policy = Retry(5, connect=2, read=0, allowed_methods={"GET"})
    session = make_session(
        max_retries=policy, pool_block=True, pool_maxsize=1, pool_timeout=0.01, trace=trace
    )
    with session.get(server.url, stream=True):
        with pytest.raises(requests.ConnectTimeout, match="Max retries exceeded") as caught:
            session.post(server.url, data=b"x")
    assert httpcore_requests.phase(caught.value) == NOT_SENT
    assert server.accepted == 1


# ---------------------------------------------------------------------------------------------
# 22: may have been processed


class Failing:
    """A handler that fails each request as its target says, and notes the requests."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, peer: Peer) -> None:
        request = peer.recv_request()
        if request is None:
            return
        self.seen.append(request.method.decode())
        getattr(self, request.path.strip("/").replace("-", "_"))(peer)

    def dropped(self, peer: Peer) -> None:
        pass

    def reset(self, peer: Peer) -> None:
        peer.reset()

    def silence(self, peer: Peer) -> None:
        peer.wait_closed()

    def nonsense(self, peer: Peer) -> None:
        peer.send(b"SSH-2.0-OpenSSH_9.9\r\n")

    def half_a_head(self, peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-")
        peer.shutdown_write()
        peer.wait_closed()

    def half_a_head_and_silence(self, peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-")
        peer.wait_closed()

    def busy(self, peer: Peer) -> None:
        peer.respond(503, b"busy", [("Connection", "close")])


BEFORE_THE_ANSWER = ["dropped", "reset", "silence"]
IN_THE_ANSWER = ["nonsense", "half-a-head", "half-a-head-and-silence", "busy"]


@pytest.mark.parametrize("how", BEFORE_THE_ANSWER + IN_THE_ANSWER)
def test_row_22_what_may_have_been_processed_is_retried_for_allowed_methods_only(
    how: str, serve: Serve, make_session: MakeSession
) -> None:
    """ "Maybe_processed only for allowed methods", and what has begun to be answered, too."""
    handler = Failing()
    server = serve(handler)
    session = make_session(
        max_retries=Retry(
            None, connect=0, read=2, status=2, other=2,
            status_forcelist=[503], raise_on_status=True, allowed_methods={"GET", "PATCH"},
        )
    )  # fmt: skip
    for method in METHODS:
        allowed = method in ("GET", "PATCH")
        send = functools.partial(session.request, method, f"{server.url}/{how}", data=b"x")
        if how == "busy" and not allowed:
            assert send().status_code == 503
        else:
            with pytest.raises(requests.RequestException) as caught:
                send(timeout=SOON * 2)
            text = str(caught.value)
            phase = httpcore_requests.phase(caught.value)
            assert phase == (MAYBE_PROCESSED if how in BEFORE_THE_ANSWER else RESPONSE_STARTED)
            assert ("may have been processed" in text) is (phase == MAYBE_PROCESSED)
            assert ("Max retries exceeded" in text) is allowed
        assert handler.seen == [method] * (3 if allowed else 1)
        handler.seen.clear()


class Core:
    """Stands in for the core's pool: every attempt fails, as far along as `phase` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failure: Any = None
        self.attempts = 0
        monkeypatch.setattr(httpcore.ConnectionPool, "handle_request", self)

    def __call__(self, *args: Any) -> None:
        self.attempts += 1
        make, phase, cause = self.failure
        error = make("it failed")
        error.phase = phase
        raise error from cause


# Every class that the core raises on purpose, in every phase that it is seen in.
FAILURES: list[tuple[type[Exception], str, Exception | None]] = [
    (httpcore.ConnectError, NOT_SENT, ConnectionRefusedError(111, "refused")),
    (httpcore.ConnectTimeout, NOT_SENT, None),
    (httpcore.PoolTimeout, NOT_SENT, None),
    (httpcore.ProxyError, NOT_SENT, None),
    (finer.ProxyConnectError, NOT_SENT, httpcore.ConnectError("refused")),
    (finer.ProxyConnectTimeout, NOT_SENT, None),
    (finer.NameResolutionError, NOT_SENT, socket.gaierror(-2, "unknown")),
    (finer.TLSError, NOT_SENT, ssl.SSLError(1, "handshake failure")),
    (httpcore.WriteError, NOT_SENT, BrokenPipeError(32, "broken pipe")),
    (httpcore.ReadError, NOT_SENT, None),
    (finer.ServerDisconnected, NOT_SENT, None),
    (httpcore.WriteError, MAYBE_PROCESSED, BrokenPipeError(32, "broken pipe")),
    (httpcore.WriteTimeout, MAYBE_PROCESSED, None),
    (httpcore.ReadTimeout, MAYBE_PROCESSED, None),
    (httpcore.ReadError, MAYBE_PROCESSED, ConnectionResetError(104, "reset")),
    (httpcore.ReadError, MAYBE_PROCESSED, ssl.SSLError(1, "bad record mac")),
    (finer.ServerDisconnected, MAYBE_PROCESSED, None),
    (httpcore.RemoteProtocolError, MAYBE_PROCESSED, None),
    (httpcore.ReadError, RESPONSE_STARTED, ConnectionResetError(104, "reset")),
    (httpcore.ReadError, RESPONSE_STARTED, ssl.SSLError(1, "bad record mac")),
    (httpcore.ReadTimeout, RESPONSE_STARTED, None),
    (httpcore.RemoteProtocolError, RESPONSE_STARTED, None),
]


@pytest.mark.parametrize(
    ("make", "phase", "cause"),
    FAILURES,
    ids=[f"{make.__name__}-{phase}-{type(cause).__name__}" for make, phase, cause in FAILURES],
)
def test_row_22_the_phase_decides_not_the_class(
    monkeypatch: pytest.MonkeyPatch,
    make_session: MakeSession,
    make: type[Exception],
    phase: str,
    cause: Exception | None,
) -> None:
    """The sentence of row 22 for each failure there is: a connect error is what was not sent."""
    core = Core(monkeypatch)
    core.failure = (make, phase, cause)
    connects = Retry(None, connect=2, read=0, other=9, allowed_methods={"GET"})
    others = Retry(None, connect=0, read=2, other=2, allowed_methods={"GET"})
    for policy in (connects, others):
        for method in METHODS:
            core.attempts = 0
            with pytest.raises(requests.RequestException, match="it failed") as caught:
                make_session(max_retries=policy).request(method, "http://origin.test/", data=b"x")
            if phase == NOT_SENT:
                expected = 3 if policy is connects else 1
            else:
                expected = 3 if method == "GET" and policy.read == 2 else 1
                # What TLS broke is to urllib3 neither: nine more, for the allowed method.
                if isinstance(cause, ssl.SSLError) and method == "GET" and policy is connects:
                    expected = 10
            assert core.attempts == expected, (method, policy)
            assert httpcore_requests.phase(caught.value) == phase
            assert caught.value.request.method == method


def test_row_22_bodies_that_fail_have_begun(serve: Serve, make_session: MakeSession) -> None:
    """The phase of what fails after the head, by each way to read; and of a bad status."""

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.target == b"/busy":
                peer.respond(503)
                continue
            coding = b"Content-Encoding: gzip\r\n" if request.target == b"/garbled" else b""
            peer.send(
                b"HTTP/1.1 200 OK\r\n" + coding + b"Content-Length: 20\r\n\r\nno gzip, no end"
            )
            if request.target == b"/silent":
                peer.wait_closed()
            return

    server = serve(handler)
    session = make_session()
    ways: list[Callable[[requests.Response], Any]] = [
        lambda response: response.content,
        lambda response: response.text,
        lambda response: list(response.iter_content(3)),
        lambda response: list(response.iter_content(None)),
        lambda response: list(response.iter_lines()),
        lambda response: response.raw.read(decode_content=True),
    ]
    for target in ("/cut", "/silent", "/garbled"):
        for way in ways:
            timeout = SOON if target == "/silent" else PATIENCE
            with session.get(server.url + target, stream=True, timeout=timeout) as response:
                with pytest.raises((requests.RequestException, HTTPError)) as caught:
                    way(response)
            if isinstance(caught.value, requests.RequestException) or target != "/garbled":
                assert httpcore_requests.phase(caught.value) == RESPONSE_STARTED
    with pytest.raises(requests.HTTPError) as refused:
        session.get(server.url + "/busy").raise_for_status()
    assert httpcore_requests.phase(refused.value) == RESPONSE_STARTED


def test_row_22_no_phase_where_nobody_knows(closed_port: int, make_session: MakeSession) -> None:
    """Errors that requests raises by itself, another adapter's, and anybody else's."""
    session = make_session()
    for url in ("nowhere", "http://", "gopher://origin.test"):
        with pytest.raises(requests.RequestException) as caught:
            session.get(url)
        assert httpcore_requests.phase(caught.value) is None
    session.mount("http://", requests.adapters.HTTPAdapter())
    with pytest.raises(requests.ConnectionError) as stock:
        session.get(f"http://127.0.0.1:{closed_port}/")
    assert httpcore_requests.phase(stock.value) is None
    assert httpcore_requests.phase(ValueError("phase")) is None
    assert httpcore_requests.phase(httpcore.ReadTimeout("slow")) == MAYBE_PROCESSED
    first, second = KeyError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert httpcore_requests.phase(first) is None


# ---------------------------------------------------------------------------------------------
# 47: bodies that are sent again, and from where

OFFSET = 100
# Bytes. More than the buffers between client and server hold, so that a server which stops
# reading stops the client in the middle.
LARGE = 24 * 1024 * 1024


class Receiving:
    """A handler that lets the first request end as `how` says, and answers all others with 200.

    Attributes:
        bodies: what arrived of each; None where the server did not read on.
        methods, targets: of each.
    """

    def __init__(self, how: str) -> None:
        self.how = how
        self.bodies: list[bytes | None] = []
        self.targets: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        while (request := peer.recv_request_head()) is not None:
            self.targets.append(request.target)
            if request.target == b"/warm":
                peer.respond(200)
                continue
            if not self.bodies and self.how == "mid-send":
                peer.recv_exactly(1000)
                self.bodies.append(None)
                peer.reset()
                return
            first = not self.bodies
            self.bodies.append(b"".join(peer.iter_body(request)))
            if not first:
                peer.respond(200)
            elif self.how == "stale":
                return
            else:
                peer.respond(int(self.how), b"", [("Location", "/next")])


def put(session: requests.Session, server: ScriptedServer, how: str, **body: Any) -> Any:
    if how == "stale":
        assert session.get(server.url + "/warm", timeout=PATIENCE).ok
    return session.put(server.url + "/first", timeout=PATIENCE, **body)


def policy_for(how: str) -> Any:
    """What makes a second attempt: a policy, requests (redirects), or the core by itself."""
    if how in ("stale", "307", "308"):
        return 0
    return Retry(3, status_forcelist=[503], allowed_methods=None)


WAYS = ["mid-send", "503", "307", "308", "stale"]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_row_47_a_file_starts_where_it_stood(
    how: str, kind: str, serve: Serve, make_session: MakeSession, tmp_path: Any
) -> None:
    """ "A file at offset 100 fails mid-send: the retry starts at 100." And so do the attempts after
    a status, after redirects, and the core's own replay."""
    data = pattern(LARGE if how == "mid-send" else 5000)
    handler = Receiving(how)
    server = serve(handler)
    path = tmp_path / "body"
    path.write_bytes(data)
    with io.BytesIO(data) if kind == "memory" else open(path, "rb") as file:
        file.seek(OFFSET)
        session = make_session(max_retries=policy_for(how))
        assert put(session, server, how, data=file).status_code == 200
    assert len(handler.bodies) == 2
    assert handler.bodies[1] == data[OFFSET:]
    if how != "mid-send":
        assert handler.bodies[0] == data[OFFSET:]


def test_row_47_a_pool_that_follows_redirects_starts_there_too(
    serve: Serve, make_session: MakeSession
) -> None:
    """Without requests, whose sessions follow redirects themselves."""
    handler = Receiving("307")
    server = serve(handler)
    file = io.BytesIO(pattern(5000))
    file.seek(OFFSET)
    pool = make_session().get_adapter("http://").poolmanager.connection_from_url(server.url)
    assert pool.urlopen("PUT", "/first", body=file, chunked=True).status == 200
    assert handler.bodies == [pattern(5000)[OFFSET:]] * 2


class Reader:
    """A body of which requests knows nothing but `read`."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(1000), b"")


class Sized(Reader):
    """... and its length, as the encoders of requests-toolbelt tell it."""

    @property
    def len(self) -> int:
        return len(self.file.getvalue()) - self.file.tell()


class Telling(Reader):
    """... and where it stands, but not how to go back."""

    def tell(self) -> int:
        return self.file.tell()


class Untold(io.BytesIO):
    def tell(self) -> int:
        raise OSError("it has no position")


class Unsought(io.BytesIO):
    def seek(self, *args: Any) -> int:
        raise OSError("it does not go back")


class ClosedAtTheEnd(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            self.close()
        return data


def pieces(data: bytes) -> list[bytes]:
    return [data[at : at + 1000] for at in range(0, len(data), 1000)]


def generator(data: bytes) -> Iterator[bytes]:
    yield from pieces(data)


ONCE: dict[str, Callable[[bytes], Any]] = {
    "generator": generator,
    "iterator": lambda data: iter(pieces(data)),
    "map": lambda data: map(bytes, pieces(data)),
    "reader": Reader,
    "sized-reader": Sized,
    "telling-reader": Telling,
    "no-tell": Untold,
    "no-seek": Unsought,
}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", ONCE)
def test_row_47_what_cannot_go_back_is_never_sent_again(
    kind: str, how: str, serve: Serve, make_session: MakeSession
) -> None:
    """ "A generator or an unseekable file is never re-sent and the first error is kept." After a
    redirect it is requests' own error, which says so; a status that would be retried is kept."""
    data = pattern(LARGE if how == "mid-send" else 5000)
    handler = Receiving(how)
    server = serve(handler)
    session = make_session(max_retries=policy_for(how))
    if how == "503":
        response = put(session, server, how, data=ONCE[kind](data))
        assert (response.status_code, response.raw.retries.history) == (503, ())
    elif how in ("307", "308"):
        with pytest.raises(requests.exceptions.UnrewindableBodyError):
            put(session, server, how, data=ONCE[kind](data))
    else:
        with pytest.raises(requests.ConnectionError, match="may have been processed") as caught:
            put(session, server, how, data=ONCE[kind](data))
        assert "retries" not in str(caught.value)
        assert httpcore_requests.phase(caught.value) == MAYBE_PROCESSED
    assert handler.bodies == [None if how == "mid-send" else data]
    assert b"/next" not in handler.targets


def test_row_47_a_file_that_was_closed_meanwhile(serve: Serve, make_session: MakeSession) -> None:
    """Nor does this one go back; what it raises is not the first error."""

    def handler(peer: Peer) -> None:
        if peer.recv_request() is not None and peer.number == 1:
            peer.respond(503, b"busy", [("Connection", "close")])

    session = make_session(max_retries=policy_for("503"))
    server = serve(handler)
    response = session.put(server.url, data=ClosedAtTheEnd(b"once"))
    assert (response.status_code, server.accepted) == (503, 1)
    with pytest.raises(requests.ConnectionError, match="may have been processed"):
        session.put(server.url, data=ClosedAtTheEnd(b"once"))
    assert server.accepted == 2


def test_row_47_a_pipe_is_never_sent_again(serve: Serve, make_session: MakeSession) -> None:
    """A file of the operating system that cannot go back."""
    handler = Receiving("503")
    server = serve(handler)
    reading, writing = os.pipe()
    with open(reading, "rb") as file:
        os.write(writing, b"once")
        os.close(writing)
        response = put(make_session(max_retries=policy_for("503")), server, "503", data=file)
    assert response.status_code == 503
    assert handler.bodies == [b"once"]


@pytest.mark.parametrize("kind", ["generator", "iterator", "reader", "no-tell", "no-seek"])
def test_row_47_what_was_not_begun_is_sent(
    kind: str, serve: Serve, make_session: MakeSession
) -> None:
    """A connection that could not be opened took nothing of the body: another may be tried."""
    handler = Receiving("200")
    server = serve(handler)
    session = make_session(max_retries=Retry(connect=2), network_backend=Dialling(refuses=2))
    assert put(session, server, "200", data=ONCE[kind](pattern(5000))).ok
    assert handler.bodies == [pattern(5000)]


class Again:
    """A body that gives its pieces each time it is asked."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __iter__(self) -> Iterator[bytes]:
        return iter(pieces(self.data))


@pytest.mark.parametrize("how", ["mid-send", "503", "307", "308"])
@pytest.mark.parametrize("kind", [Again, bytearray, memoryview, bytes])
def test_row_47_what_gives_the_same_again_is_sent_again(
    kind: Callable[[bytes], Any], how: str, serve: Serve, make_session: MakeSession
) -> None:
    """Only what is used up is not sent again."""
    data = pattern(LARGE if how == "mid-send" else 5000)
    handler = Receiving(how)
    server = serve(handler)
    session = make_session(max_retries=policy_for(how))
    assert put(session, server, how, data=kind(data)).status_code == 200
    assert handler.bodies == [None if how == "mid-send" else data, data]


@pytest.mark.filterwarnings("ignore::requests.exceptions.FileModeWarning")
@pytest.mark.parametrize("how", ["503", "307", "308"])
def test_row_47_a_text_file_starts_where_it_stood(
    how: str, serve: Serve, make_session: MakeSession, tmp_path: Any
) -> None:
    """Its position is no number of characters, and goes back all the same."""
    path = tmp_path / "text"
    path.write_text("skipped: déjà vu\n" * 50, encoding="utf-8")
    handler = Receiving(how)
    server = serve(handler)
    with open(path, encoding="utf-8") as file:
        file.read(len("skipped: "))
        assert put(make_session(max_retries=policy_for(how)), server, how, data=file).ok
    assert handler.bodies == [path.read_bytes()[len("skipped: ") :]] * 2


@pytest.mark.parametrize("how", WAYS)
def test_row_47_forms_and_uploads_are_sent_again(
    how: str, serve: Serve, make_session: MakeSession
) -> None:
    """Multipart bodies and forms are in memory, whatever they were made of."""
    file = io.BytesIO(pattern(LARGE if how == "mid-send" else 5000))
    file.seek(OFFSET)
    handler = Receiving(how)
    server = serve(handler)
    session = make_session(max_retries=policy_for(how))
    assert put(session, server, how, files={"file": file}, data={"a": "b"}).status_code == 200
    first, second = handler.bodies
    assert second is not None
    assert pattern(LARGE if how == "mid-send" else 5000)[OFFSET:] in second
    assert first in (None, second)


# ---------------------------------------------------------------------------------------------
# 17: between two attempts


@pytest.mark.parametrize("answer", ["short", "long", "cut", "chunked"])
@pytest.mark.parametrize("stream", [False, True])
def test_row_17_attempts_do_not_wait_for_each_other(
    answer: str, stream: bool, serve: Serve, make_session: MakeSession
) -> None:
    """ "Pool_block, maxsize=3 [...] never hang", with one: what a policy repeats has given its
    connection back, and so have the redirects of a session, streamed or not."""
    targets: list[bytes] = []

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            targets.append(request.target)
            status = {0: 503, 1: 302}.get((len(targets) - 1) % 3, 200)
            fields = [("Location", "/next")] if status == 302 else []
            if status == 200 or answer == "short":
                peer.respond(status, b"body", fields)
            elif answer == "chunked":
                peer.respond(status, [pattern(70_000)] * 3, fields)
            elif answer == "long":
                peer.respond(status, pattern(200_000), fields)
            else:
                peer.respond(status, b"half", [*fields, ("Content-Length", "8")], framing="close")
                return

    server = serve(handler)
    session = make_session(
        max_retries=Retry(2, status_forcelist=[503]), pool_block=True, pool_maxsize=1,
        pool_timeout=PATIENCE,
    )  # fmt: skip
    for _ in range(3):
        with session.get(server.url + "/first", stream=stream, timeout=PATIENCE) as response:
            assert (response.status_code, response.content) == (200, b"body")
            assert [past.status_code for past in response.history] == [302]
    assert targets == [b"/first", b"/first", b"/next"] * 3
    assert session.get_adapter("http://").pool.stats()["active"] == 0


def test_row_17_threads_that_retry_share_a_small_pool(
    serve: Serve, make_session: MakeSession
) -> None:
    """The same from many threads: none waits for a connection that another one's retry holds."""
    count = [0]

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            count[0] += 1
            peer.respond(503 if count[0] % 3 else 200, b"x" * (count[0] % 100_000))

    server = serve(handler)
    session = make_session(
        max_retries=Retry(50, status_forcelist=[503]), pool_block=True, pool_maxsize=3,
        pool_timeout=PATIENCE,
    )  # fmt: skip
    statuses: list[int] = []

    def work() -> None:
        for _ in range(10):
            statuses.append(session.get(server.url, timeout=PATIENCE).status_code)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == [200] * 100
    assert session.get_adapter("http://").pool.stats()["active"] == 0
