"""A small internet on this machine, for suites that talk to httpbin.org and the like.

Owns: which names lead where, and the server behind them. Must not know: the adapter, pytest.

Only name lookup is replaced: the requests, their Host and the verified TLS stay as they are. So
these tests need no network, and say the same on every machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

WEB = ("httpbin.org", "api.github.com", "www.amazon.com")

# An address that requests' own suite uses because packets to it vanish; on a machine without a
# network, and on some with one, they are refused at once instead.
TARPIT = "10.255.255.1"

# What stands at paths that httpbin does not have: JSON that is compressed, and text that is not
# ASCII, which is what the tests that ask for them are about.
ELSEWHERE = {"api.github.com": "/gzip", "www.amazon.com": "/encoding/utf8"}

Address = tuple[str, int]


@contextlib.contextmanager
def internet(names: tuple[str, ...]) -> Iterator[None]:
    """Lead `names`, of those above, to servers on this machine."""
    with contextlib.ExitStack() as stack:
        places: dict[str, dict[int, Address]] = {}
        if TARPIT in names:
            places[TARPIT] = {80: stack.enter_context(_tarpit())}
        web = [name for name in names if name in WEB]
        if web:
            addresses = stack.enter_context(_web(web))
            places.update((name, addresses) for name in web)
        stack.enter_context(_lookups(places))
        yield


@contextlib.contextmanager
def _lookups(places: dict[str, dict[int, Address]]) -> Iterator[None]:
    under = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode("ascii") if isinstance(host, bytes) else host
        if name in places and port in places[name]:
            host, port = places[name][port]
        return under(host, port, *args, **kwargs)

    # By this one HTTPie's suite finds out whether there is an internet for more of its tests.
    by_name = socket.gethostbyname

    def gethostbyname(hostname: str) -> str:
        if hostname != "localhost" and not hostname.replace(".", "").isdigit():
            raise socket.gaierror(socket.EAI_NONAME, "there is no internet")
        return by_name(hostname)

    socket.getaddrinfo = getaddrinfo
    socket.gethostbyname = gethostbyname
    try:
        yield
    finally:
        socket.getaddrinfo = under
        socket.gethostbyname = by_name


@contextlib.contextmanager
def _tarpit() -> Iterator[Address]:
    """Where a connect neither completes nor fails: a listener whose queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):  # more than any kernel adds to a backlog of 0
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


@contextlib.contextmanager
def _web(names: list[str]) -> Iterator[dict[int, Address]]:
    """httpbin on two ports, one of them with a certificate for `names` that is trusted."""
    import httpbin
    import trustme

    authority = trustme.CA()
    app = _elsewhere(httpbin.app)
    with tempfile.TemporaryDirectory() as directory:
        bundle, own = os.path.join(directory, "ca.pem"), os.path.join(directory, "own.pem")
        authority.cert_pem.write_to_path(bundle)
        authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(own)
        os.environ["REQUESTS_CA_BUNDLE"] = bundle
        try:
            with _served(app) as plain, _served(app, own) as secure:
                yield {80: plain, 443: secure}
        finally:
            del os.environ["REQUESTS_CA_BUNDLE"]


def _elsewhere(app: Callable[..., Any]) -> Callable[..., Any]:
    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        path = ELSEWHERE.get(environ.get("HTTP_HOST", ""))
        if path is not None:
            environ["PATH_INFO"] = path
        return app(environ, start_response)

    return answer


@contextlib.contextmanager
def _served(app: Callable[..., Any], certificate: str | None = None) -> Iterator[Address]:
    """`app` behind a server that keeps connections open, which is what httpbin.org does.

    Parameters:
        certificate: path of a PEM file with key and chain, for TLS.
    """
    from cheroot import wsgi
    from cheroot.ssl.builtin import BuiltinSSLAdapter

    server = wsgi.Server(("127.0.0.1", 0), app, numthreads=4)
    if certificate is not None:
        server.ssl_adapter = BuiltinSSLAdapter(certificate, certificate)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server.bind_addr
    finally:
        server.stop()
        thread.join()


@contextlib.contextmanager
def served_over_http2(app: Callable[..., Any], certificate: str) -> Iterator[Address]:
    """`app` behind a server that speaks HTTP/2 with whoever offers it, and HTTP/1.1 else.

    Parameters:
        certificate: path of a PEM file with key and chain.
    """
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    def answer(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        body = app(environ, start_response)
        try:
            yield from body
        finally:
            body.close()
        yield b""  # of a response without any piece, hypercorn makes a 500

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    address = listener.getsockname()
    listener.listen()
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.certfile = config.keyfile = certificate
    config.alpn_protocols = ["h2", "http/1.1"]
    config.errorlog = None
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # it ends in the middle of everything
    running: Any = serve(answer, config, shutdown_trigger=asyncio.Event().wait, mode="wsgi")  # type: ignore[arg-type]
    task = loop.create_task(running)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield address
    finally:
        # Not by its trigger: it would wait half a minute for the clients to say goodbye.
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        del task  # the loop itself refers to it weakly
