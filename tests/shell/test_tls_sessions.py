"""Resumed TLS sessions: when they are, and when they must not be.

Owns: `httpcore._backends.tls_sessions`, and the pool's part in it. Must not know: contexts.
"""

from __future__ import annotations

import gc
import ssl
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import trustme

import httpcore
from httpcore._backends import tls_sessions
from httpcore._backends.tls_sessions import (
    MAX_SESSIONS,
    REFRESH,
    forget_session,
    keep_session,
    session_for,
)
from httpcore_requests import HTTPAdapter
from tests.support import tls
from tests.support.proxies import ProxyServer
from tests.support.servers import LocalServer, Peer, Serve

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def resuming_server(request: Any, ca: trustme.CA) -> Iterator[LocalServer]:
    context = tls.server_context(ca)
    context.minimum_version = context.maximum_version = request.param
    with LocalServer(tls=context) as server:
        yield server


def client_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    return httpcore.resume_tls_sessions(context)


def reused(pool: httpcore.ConnectionPool, url: str, **extensions: Any) -> bool:
    """Whether a new connection to `url` resumes a session."""
    pool.close()
    response = pool.request("GET", url, extensions=extensions)
    found: bool = response.extensions["network_stream"].get_extra_info("ssl_object").session_reused
    return found


def test_the_second_connection_resumes(resuming_server: LocalServer, ca: trustme.CA) -> None:
    with httpcore.ConnectionPool(ssl_context=client_context(ca)) as pool:
        assert [reused(pool, resuming_server.url) for _ in range(4)] == [False, True, True, True]
    assert resuming_server.accepted == 4


@pytest.mark.parametrize("limits", [{}, {"total": 20.0}])
def test_a_connection_that_the_server_closes_is_resumed(
    serve: Serve, ca: trustme.CA, limits: dict[str, float | None]
) -> None:
    """Servers that close each connection are where it is worth most."""

    seen: list[Any] = []

    def handler(peer: Peer) -> None:
        assert isinstance(peer.sock, ssl.SSLSocket)
        seen.append(peer.sock.session_reused)
        peer.recv_request()
        peer.respond(200, b"bye", [("Connection", "close")])

    server = serve(handler, tls=tls.server_context(ca))
    with httpcore.ConnectionPool(ssl_context=client_context(ca), timeout=limits) as pool:
        for _ in range(2):
            assert pool.request("GET", server.url).content == b"bye"
    assert seen == [False, True]


def test_nothing_is_resumed_elsewhere(resuming_server: LocalServer, ca: trustme.CA) -> None:
    """Another context, another name, another road: a full handshake."""
    port = resuming_server.port
    local = {f"example.test:{port}": "127.0.0.1", f"a.example.test:{port}": "127.0.0.1"}
    mine, other = client_context(ca), client_context(ca)
    with httpcore.ConnectionPool(ssl_context=mine, resolve=local) as pool:
        assert not reused(pool, f"https://example.test:{port}")
        assert reused(pool, f"https://example.test:{port}")
        assert not reused(pool, f"https://a.example.test:{port}")
        assert not reused(pool, f"https://example.test:{port}", ssl_context=other)
        assert not reused(pool, f"https://example.test:{port}", sni_hostname="localhost")
        with ProxyServer() as proxy:
            through = httpcore.Proxy(proxy.url)
            assert not reused(pool, f"https://example.test:{port}", proxy=through)
            assert reused(pool, f"https://example.test:{port}", proxy=through)
        assert reused(pool, f"https://example.test:{port}")


def test_a_resumed_session_is_still_of_the_name_that_was_checked(
    resuming_server: LocalServer, ca: trustme.CA
) -> None:
    """OpenSSL does not look at the certificate again, so a wrong name must not get that far."""
    wrong = f"elsewhere.invalid:{resuming_server.port}"
    with httpcore.ConnectionPool(
        ssl_context=client_context(ca), resolve={wrong: "127.0.0.1"}
    ) as pool:
        assert not reused(pool, resuming_server.url)
        for _ in range(2):
            with pytest.raises(httpcore.ConnectError, match="certificate verify failed"):
                pool.request("GET", f"https://{wrong}")
    resuming_server.handshake_errors.clear()


def test_inside_the_tls_of_a_proxy(resuming_server: LocalServer, ca: trustme.CA) -> None:
    context = client_context(ca)
    with ProxyServer(tls=tls.server_context(ca)) as proxy:
        with httpcore.HTTPProxy(proxy.url, ssl_context=context, proxy_ssl_context=context) as pool:
            assert [reused(pool, resuming_server.url) for _ in range(3)] == [False, True, True]


def test_a_server_that_forgot_the_session(serve: Serve, ca: trustme.CA) -> None:
    """A restarted server has new keys: the handshake is a full one, and nothing fails."""

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(200, b"ok")

    server = serve(handler, tls=tls.server_context(ca))
    with httpcore.ConnectionPool(ssl_context=client_context(ca)) as pool:
        assert [reused(pool, server.url) for _ in range(2)] == [False, True]
        server.tls = tls.server_context(ca)
        assert [reused(pool, server.url) for _ in range(2)] == [False, True]


# --- contexts that the caller made ---


def plain_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    return context


@pytest.fixture
def proxy(ca: trustme.CA) -> Iterator[ProxyServer]:
    with ProxyServer(tls=tls.server_context(ca)) as server:
        yield server


@pytest.fixture(params=["pool", "extension", "sni", "proxied", "TLS in TLS"])
def connect(request: Any, proxy: ProxyServer, ca: trustme.CA) -> Iterator[Any]:
    """A function that makes a new connection with a context, in each of the ways that lead to one,
    and says whether it resumed a session."""
    way = request.param
    pools: dict[ssl.SSLContext, httpcore.ConnectionPool] = {}
    ours = httpcore.create_ssl_context(ca_data=ca.cert_pem.bytes().decode())

    def make(context: ssl.SSLContext) -> httpcore.ConnectionPool:
        if way == "TLS in TLS":
            return httpcore.HTTPProxy(proxy.url, ssl_context=context, proxy_ssl_context=ours)
        if way == "proxied":  # what the proxy itself is verified with
            return httpcore.HTTPProxy(proxy.url, proxy_ssl_context=context)
        return httpcore.ConnectionPool(ssl_context=ours if way == "extension" else context)

    def go(context: ssl.SSLContext, url: str) -> bool:
        if context not in pools:
            pools[context] = make(context)
        pool = pools[context]
        if way == "extension":
            return reused(pool, url, ssl_context=context)
        if way == "sni":
            return reused(pool, url, sni_hostname="localhost")
        if way == "proxied":
            pool.close()
            response = pool.request("GET", url.replace("https", "http"))
            stream = response.extensions["network_stream"]
            return bool(stream.get_extra_info("ssl_object").session_reused)
        return reused(pool, url)

    yield go
    for pool in pools.values():
        pool.close()


@pytest.fixture
def target(request: Any, ca: trustme.CA) -> Iterator[LocalServer]:
    """The server that `connect` asks for: it speaks plain HTTP where the proxy's TLS is tried."""
    proxied = "proxied" in request.node.name
    with LocalServer(tls=None if proxied else tls.server_context(ca)) as server:
        yield server


def test_nothing_is_resumed_on_a_callers_context(
    connect: Any, target: LocalServer, ca: trustme.CA
) -> None:
    """He may load a client certificate into it at any time, and nobody can see that."""
    mine = plain_context(ca)
    assert [connect(mine, target.url) for _ in range(3)] == [False, False, False]


def test_a_caller_asks_for_it(connect: Any, target: LocalServer, ca: trustme.CA) -> None:
    mine = httpcore.resume_tls_sessions(plain_context(ca))
    assert [connect(mine, target.url) for _ in range(3)] == [False, True, True]


def require_a_certificate(context: ssl.SSLContext) -> None:
    context.verify_mode = ssl.CERT_REQUIRED


def check_the_name(context: ssl.SSLContext) -> None:
    context.verify_mode, context.check_hostname = ssl.CERT_REQUIRED, True


def be_strict(context: ssl.SSLContext) -> None:
    context.verify_flags |= ssl.VERIFY_X509_STRICT


def raise_the_least_version(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3


def set_the_highest_version(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_3


def set_an_option(context: ssl.SSLContext) -> None:
    context.options |= ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize(
    "change",
    [
        require_a_certificate,
        check_the_name,
        be_strict,
        raise_the_least_version,
        set_the_highest_version,
        set_an_option,
    ],
    ids=lambda change: change.__name__,
)
def test_a_changed_context_shakes_hands_anew(
    connect: Any, target: LocalServer, ca: trustme.CA, change: Any
) -> None:
    mine = httpcore.resume_tls_sessions(plain_context(ca))
    mine.check_hostname = False
    mine.verify_mode = ssl.CERT_NONE
    assert [connect(mine, target.url) for _ in range(2)] == [False, True]
    change(mine)
    assert [connect(mine, target.url) for _ in range(2)] == [False, True]


@pytest.mark.parametrize("asked", [True, False])
def test_verifying_that_is_switched_on_refuses(
    connect: Any, target: LocalServer, proxy: ProxyServer, asked: bool
) -> None:
    mine = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it trusts nobody
    mine.check_hostname = False
    mine.verify_mode = ssl.CERT_NONE
    if asked:
        httpcore.resume_tls_sessions(mine)
    connect(mine, target.url)
    connect(mine, target.url)
    mine.verify_mode = ssl.CERT_REQUIRED
    for _ in range(2):
        with pytest.raises(
            (httpcore.ConnectError, httpcore.ProxyError), match="certificate verify failed"
        ):
            connect(mine, target.url)
    target.handshake_errors.clear()
    proxy.handshake_errors.clear()


def test_a_client_certificate_that_was_loaded_later_is_shown(
    serve: Serve, ca: trustme.CA, tmp_path: Any
) -> None:
    shown = []

    def handler(peer: Peer) -> None:
        shown.append(bool(peer.sock.getpeercert(True)))  # type: ignore[attr-defined]
        peer.recv_request()
        peer.respond(200, b"", [("Connection", "close")])

    context = tls.server_context(ca, ask_client=True)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = serve(handler, tls=context)
    mine = plain_context(ca)
    with httpcore.ConnectionPool(ssl_context=mine) as pool:
        pool.request("GET", server.url)
        mine.load_cert_chain(tls.write_client_cert(ca, tmp_path).combined)
        pool.request("GET", server.url)
    assert shown == [False, True]


class Fickle(ssl.SSLContext):
    """Its owner changes it just before it wraps."""

    change = False

    def wrap_socket(self, *args: Any, **kw: Any) -> ssl.SSLSocket:
        if self.change:
            self.verify_flags ^= ssl.VERIFY_X509_STRICT
        return super().wrap_socket(*args, **kw)


def test_a_context_that_is_changed_meanwhile(resuming_server: LocalServer, ca: trustme.CA) -> None:
    mine = httpcore.resume_tls_sessions(Fickle(ssl.PROTOCOL_TLS_CLIENT))
    ca.configure_trust(mine)
    with httpcore.ConnectionPool(ssl_context=mine) as pool:
        assert [reused(pool, resuming_server.url) for _ in range(2)] == [False, True]
        mine.change = True
        assert [reused(pool, resuming_server.url) for _ in range(2)] == [False, False]


@pytest.mark.parametrize("keyword", [True, False])
@pytest.mark.parametrize("asked", [True, False])
def test_an_adapters_context(serve: Serve, ca: trustme.CA, asked: bool, keyword: bool) -> None:
    mine = plain_context(ca)
    if asked:
        httpcore.resume_tls_sessions(mine)
    found = []

    def handler(peer: Peer) -> None:
        found.append(peer.sock.session_reused)  # type: ignore[attr-defined]
        peer.recv_request()
        peer.respond(200, b"", [("Connection", "close")])

    class Keyword(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kw: Any) -> None:
            super().init_poolmanager(*args, ssl_context=mine, **kw)

    server = serve(handler, tls=tls.server_context(ca))
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", Keyword() if keyword else HTTPAdapter(ssl_context=mine))
        for _ in range(3):
            session.get(server.url)
    assert found == [False, asked, asked]


def test_what_cannot_be_told_from_others_cannot_be_resumed() -> None:
    class Odd:
        __slots__ = ()

    assert not httpcore.resumes_tls_sessions(Odd())
    with pytest.raises(TypeError, match="sessions of a Odd cannot be resumed"):
        httpcore.resume_tls_sessions(Odd())


# --- what is kept ---


class Session:
    def __init__(self, has_ticket: bool = True, id: bytes = b"") -> None:
        self.has_ticket = has_ticket
        self.id = id


class Socket:
    def __init__(self, session: Any) -> None:
        self.session = session


class Context:
    pass


KEY = ("name", "peer:443")


@pytest.mark.parametrize(
    ("session", "kept"),
    [
        (Session(), True),
        (Session(False, b"id"), True),
        (Session(False), False),
        (None, False),
    ],
)
def test_what_can_be_resumed_is_kept(session: Any, kept: bool) -> None:
    context = Context()
    keep_session(context, KEY, Socket(session))
    assert session_for(context, KEY) is (session if kept else None)
    forget_session(context, KEY)
    assert session_for(context, KEY) is None
    forget_session(context, KEY)


def test_a_session_serves_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading one costs half a handshake, so it is not done after each."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    context = Context()
    first, second, third = Session(), Session(), Session()
    keep_session(context, KEY, Socket(first))
    resumed = Socket(second)
    resumed.session_reused = True  # type: ignore[attr-defined]
    now[0] = REFRESH - 1
    keep_session(context, KEY, resumed)
    assert session_for(context, KEY) is first
    now[0] = REFRESH
    keep_session(context, KEY, resumed)
    assert session_for(context, KEY) is second
    keep_session(context, KEY, Socket(third))  # a full handshake: the server has forgotten
    assert session_for(context, KEY) is third


def test_a_socket_without_sessions() -> None:
    context = Context()
    keep_session(context, KEY, object())
    assert session_for(context, KEY) is None


def test_sessions_go_with_their_context() -> None:
    context = Context()
    keep_session(context, KEY, Socket(Session()))
    gone = weakref.ref(context)
    before = len(tls_sessions._kept)
    del context
    gc.collect()
    assert gone() is None
    assert len(tls_sessions._kept) == before - 1


def test_there_is_a_limit() -> None:
    context = Context()
    for number in range(MAX_SESSIONS + 5):
        keep_session(context, (None, str(number)), Socket(Session()))
    assert len(tls_sessions._kept[context]) == MAX_SESSIONS
    assert session_for(context, (None, "4")) is None
    assert session_for(context, (None, "5")) is not None


def test_a_context_that_cannot_be_a_key() -> None:
    class Odd:
        __slots__ = ()

    keep_session(Odd(), KEY, Socket(Session()))
    assert session_for(Odd(), KEY) is None
    forget_session(Odd(), KEY)
