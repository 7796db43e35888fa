"""Fixtures for all tests: servers, certificates, a clean environment, and the leak check.

Owns: starting and ending. Must not know: the packages under test.
"""

from __future__ import annotations

import gc
import os
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support import examples, http2, programs, proxies, servers, tls
from tests.support.leaks import LeakCheck

# Variables by which a developer's machine could change what a test sees.
ENVIRONMENT = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY", "WS_PROXY", "WSS_PROXY"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"),
    *("REQUEST_METHOD", "NETRC"),
)

# Importing it registers the profile "long" before hypothesis is asked for it.
assert examples.LONG

#: Fixtures for the client's side.
pytest_plugins = [
    "tests.support.clients",
    "tests.support.gateways",
    "tests.support.loops",
    "tests.support.tasks",
]

_failed = pytest.StashKey[bool]()


def pytest_sessionstart() -> None:
    """Let programs that the tests start be interrupted: what a shell runs in the background ignores
    SIGINT, and they would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Time tests in uvloop by a thread: a signal's handler does not run while it waits in C."""
    for item in items:
        in_tasks = item.get_closest_marker("anyio") is not None
        if in_tasks and "uvloop" in item.name and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(method="thread"))


def pytest_collection_finish() -> None:
    """Take what is loaded by now out of the collector's work.

    Many tests collect garbage to see what is left over. Half a million objects of test modules and
    of pytest, which stay until the end, would be looked at each time: a tenth of a second and more.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    if report.failed:
        item.stash[_failed] = True
    return report


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a thread or a socket behind.

    Autouse and first in this file, so it is set up before and ended after every other fixture of
    the test. A test that failed is left alone: its traceback rightly holds on to things.
    """
    check = LeakCheck()
    yield
    if not request.node.stash.get(_failed, False):
        leaks = check.leftovers()
        assert not leaks, f"left behind: {leaks}"


@pytest.fixture(autouse=True)
def clean_environment(no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no CA variable of the machine reaches a test, in either case of letters."""
    for name in ENVIRONMENT:
        for spelling in (name, name.lower()):
            if spelling in os.environ:
                monkeypatch.delenv(spelling)


# --- TLS ---


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_bundle(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a PEM file that trusts the test CA and nothing else."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="session")
def server_tls_context(ca: trustme.CA) -> ssl.SSLContext:
    return tls.server_context(ca)


@pytest.fixture(scope="session")
def h2_tls_context(ca: trustme.CA) -> ssl.SSLContext:
    """A server-side context that speaks HTTP/2 only."""
    context = tls.server_context(ca)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.fixture(scope="session")
def mutual_tls_context(ca: trustme.CA) -> ssl.SSLContext:
    """A server-side context that insists on a client certificate."""
    return tls.server_context(ca, ask_client=True)


@pytest.fixture
def client_tls_context(ca: trustme.CA) -> ssl.SSLContext:
    """A client-side context that trusts the test CA and nothing else. Not to be changed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    return context


@pytest.fixture(scope="session")
def client_cert(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tls.ClientCert:
    """PEM paths: `.cert`, `.key`, `.combined`."""
    return tls.write_client_cert(ca, tmp_path_factory.mktemp("client"))


@pytest.fixture
def make_client_cert(ca: trustme.CA, tmp_path: Path) -> Callable[[str], tls.ClientCert]:
    """Issue further client certificates: `make_client_cert("b@example.test")`."""
    return lambda name: tls.write_client_cert(ca, tmp_path, name)


# --- servers ---


@pytest.fixture
def serve() -> Iterator[servers.Serve]:
    """`serve(handler, tls=None, uds=None)` starts a ScriptedServer that ends with the test.

    What a handler raised, apart from the client going away, fails the test; a test that expects
    such an error clears `server.errors`.
    """
    started: list[servers.ScriptedServer] = []

    def start(handler: servers.Handler, **options: Any) -> servers.ScriptedServer:
        server = servers.ScriptedServer(handler, **options).start()
        started.append(server)
        return server

    yield start
    for server in reversed(started):
        server.stop()
    errors = [error for server in started for error in server.errors]
    if errors:
        raise AssertionError(f"a server handler raised {errors!r}") from errors[0]


@pytest.fixture
def serve_h2(h2_tls_context: ssl.SSLContext) -> Iterator[http2.ServeH2]:
    """`serve_h2(script, secure=False, settings={})` starts a FrameServer that ends with the test.

    What a script raised fails the test, and so does a client that breaks HTTP/2; a test that
    expects such an error clears `server.errors`.
    """
    started: list[http2.FrameServer] = []

    def start(
        script: Callable[[http2.Link], object] = http2.Link.serve,
        *,
        secure: bool = False,
        **options: Any,
    ) -> http2.FrameServer:
        server = http2.FrameServer(script, tls=h2_tls_context if secure else None, **options)
        server.start()
        started.append(server)
        return server

    yield start
    for server in reversed(started):
        server.stop()
    errors = [error for server in started for error in server.errors]
    if errors:
        raise AssertionError(f"a script raised {errors!r}") from errors[0]


@pytest.fixture
def server() -> Iterator[servers.LocalServer]:
    """The keep-alive server with routes, plain."""
    with servers.LocalServer() as running:
        yield running
    assert not running.errors


@pytest.fixture
def tls_server(server_tls_context: ssl.SSLContext) -> Iterator[servers.LocalServer]:
    """The keep-alive server with routes, over TLS; trust it by `ca_bundle`."""
    with servers.LocalServer(tls=server_tls_context) as running:
        yield running
    assert not running.errors


@pytest.fixture
def proxy() -> Iterator[proxies.ProxyServer]:
    """An HTTP proxy that forwards and tunnels."""
    with proxies.ProxyServer() as running:
        yield running
    assert not running.errors


@pytest.fixture
def origins(
    server: servers.LocalServer, tls_server: servers.LocalServer
) -> dict[str, servers.LocalServer]:
    """By the scheme, the keep-alive server with routes."""
    return {"http": server, "https": tls_server}


@pytest.fixture
def socks() -> Iterator[proxies.SocksServer]:
    """A SOCKS proxy."""
    with proxies.SocksServer() as running:
        yield running
    assert not running.errors


@pytest.fixture
def closed_port() -> int:
    """A loopback port on which nothing listens."""
    return servers.closed_port()


@pytest.fixture
def black_hole() -> Iterator[tuple[str, int]]:
    """(host, port) where a connect neither completes nor fails."""
    with servers.black_hole() as address:
        yield address


# --- real programs, each started once, when first asked for ---


@pytest.fixture(scope="session")
def server_cert_files(
    ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """(chain, key): a certificate of the test CA for loopback, for servers that read files."""
    return tls.write_server_cert(ca, tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="session")
def start_proxy_py(
    server_cert_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], programs.Program]]:
    """`start_proxy_py(kind)`: an HTTP proxy, "open", "auth", or "tls" (which also asks for the
    password); one process of each kind."""
    if not programs.has_module("proxy"):
        pytest.skip("proxy.py is not installed")
    cert, key = server_cert_files
    options: dict[str, dict[str, Any]] = {
        "open": {},
        "auth": {"auth": True},
        "tls": {"auth": True, "cert": cert, "key": key},
    }
    running: dict[str, programs.Program] = {}

    def start(kind: str) -> programs.Program:
        if kind not in running:
            made = programs.proxy_py(tmp_path_factory.mktemp("proxy-py"), **options[kind])
            running[kind] = made.__enter__()
        return running[kind]

    yield start
    for program in running.values():
        program.stop()


@pytest.fixture(scope="session")
def pproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[programs.Program]:
    if not programs.has_module("pproxy"):
        pytest.skip("pproxy is not installed")
    with programs.pproxy(tmp_path_factory.mktemp("pproxy")) as running:
        yield running


@pytest.fixture(scope="session")
def nginx(
    server_cert_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[programs.Program]:
    if programs.nginx_path() is None:
        pytest.skip("nginx is not installed")
    with programs.nginx(tmp_path_factory.mktemp("nginx"), *server_cert_files) as running:
        yield running


@pytest.fixture(scope="session")
def nginx_http2(
    server_cert_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[programs.Program]:
    if programs.nginx_with_http2() is None:
        pytest.skip("nginx with HTTP/2 is not installed")
    folder = tmp_path_factory.mktemp("nginx-http2")
    with programs.nginx_http2(folder, *server_cert_files) as running:
        yield running


@pytest.fixture(scope="session")
def start_nghttpd(
    server_cert_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[bool], programs.Program]]:
    """`start_nghttpd(secure)`: with TLS or without; one process of each kind."""
    if programs.nghttpd_path() is None:
        pytest.skip("nghttpd is not installed (Debian: nghttp2-server)")
    running: dict[bool, programs.Program] = {}

    def start(secure: bool) -> programs.Program:
        if secure not in running:
            files = server_cert_files if secure else ()
            made = programs.nghttpd(tmp_path_factory.mktemp("nghttpd"), *files)
            running[secure] = made.__enter__()
        return running[secure]

    yield start
    for program in running.values():
        program.stop()


@pytest.fixture(scope="session")
def hypercorn(
    server_cert_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[programs.Program]:
    if not programs.has_module("hypercorn"):
        pytest.skip("hypercorn is not installed")
    with programs.hypercorn(tmp_path_factory.mktemp("hypercorn"), *server_cert_files) as running:
        yield running
