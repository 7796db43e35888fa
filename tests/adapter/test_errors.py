"""What goes wrong, told in requests' exceptions.

Owns: class, text, phase, cause and pickling of each failure, seen through a session.
"""

from __future__ import annotations

import errno
import gc
import http.client
import pickle
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import requests
import urllib3.exceptions
from requests.exceptions import (
    ChunkedEncodingError,
    ContentDecodingError,
    InvalidHeader,
    InvalidURL,
)
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

import httpcore
import httpcore_requests
from httpcore_requests import HTTPAdapter
from tests.support import PATIENCE
from tests.support.proxies import SocksServer
from tests.support.servers import LocalServer, Peer, Serve, pattern


@pytest.fixture
def socks_server() -> Iterator[SocksServer]:
    with SocksServer() as running:
        yield running


def chain(error: BaseException) -> Iterator[BaseException]:
    """`error`, its cause, that one's cause, ... (requests raises inside an `except`, so its own
    link is the context)."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def answering(data: bytes) -> Callable[[Peer], None]:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(data)

    return handler


def check_pickles(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_refused_connection(session: requests.Session, closed_port: int) -> None:
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(f"http://localhost:{closed_port}/")
    error = caught.value
    assert not isinstance(error, requests.Timeout)
    text = str(error)
    assert text.startswith(f"connect to localhost:{closed_port} (")
    assert text.endswith(
        f") failed: [Errno {errno.ECONNREFUSED}] Connection refused "
        "(GET /, NewConnectionError, Failed to establish a new connection)"
    )
    assert "retries" not in text
    assert error.args[0].phase == "not_sent"
    assert isinstance(error.args[0].reason, urllib3.exceptions.NewConnectionError)
    assert error.request is not None
    assert error.request.url == f"http://localhost:{closed_port}/"
    causes = list(chain(error))
    assert isinstance(causes[-1], ConnectionRefusedError)
    assert any(isinstance(cause, httpcore.ConnectError) for cause in causes)
    check_pickles(error)
    check_pickles(error.args[0])
    check_pickles(error.args[0].reason)


def test_connect_timeout(session: requests.Session, black_hole: tuple[str, int]) -> None:
    host, port = black_hole
    with pytest.raises(requests.ConnectTimeout, match="timed out") as caught:
        session.get(f"http://{host}:{port}/", timeout=(0.05, 5))
    assert isinstance(caught.value, requests.ConnectionError)
    assert caught.value.args[0].phase == "not_sent"
    check_pickles(caught.value)


def test_name_that_does_not_resolve(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(requests.ConnectionError, match=r"nowhere\.test") as caught:
        session.get("http://nowhere.test/")
    reason = caught.value.args[0].reason
    assert isinstance(reason, urllib3.exceptions.NameResolutionError)
    assert isinstance(list(chain(caught.value))[-1], socket.gaierror)
    check_pickles(reason)


def test_read_timeout(session: requests.Session, server: LocalServer) -> None:
    with pytest.raises(requests.ReadTimeout, match="Read timed out") as caught:
        session.get(server.url + "/hang", timeout=0.05)
    assert "the request may have been processed" in str(caught.value)
    assert caught.value.args[0].phase == "maybe_processed"
    check_pickles(caught.value)


def test_read_timeout_inside_the_body(session: requests.Session, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.")
        peer.wait_closed()

    with pytest.raises(requests.ConnectionError, match="Read timed out") as caught:
        session.get(serve(handler).url, timeout=0.05)
    assert isinstance(caught.value.args[0], urllib3.exceptions.ReadTimeoutError)
    check_pickles(caught.value)


def test_post_that_was_dropped_may_have_been_processed(
    session: requests.Session, server: LocalServer
) -> None:
    session.get(server.url + "/")  # so that the next request finds an open connection
    with pytest.raises(requests.ConnectionError, match="may have been processed") as caught:
        session.post(server.url + "/drop", data=b"once")
    assert caught.value.args[0].phase == "maybe_processed"
    assert isinstance(caught.value.args[0], urllib3.exceptions.ProtocolError)
    assert isinstance(caught.value.args[0].args[1], http.client.RemoteDisconnected)
    assert [request.method for request in server.requests] == [b"GET", b"POST"]
    check_pickles(caught.value)


def test_get_on_a_stale_connection_is_replayed(session: requests.Session, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.respond(200, b"ok")
        if peer.recv_request() is not None and peer.number > 1:
            peer.respond(200, b"again")

    url = serve(handler).url
    assert [session.get(url).text for _ in range(2)] == ["ok", "ok"]


TRUNCATED = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.", "5 of 10 body bytes", 5),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe",
        "closed .*after 7 body bytes, chunk incomplete",
        7,
    ),
}


@pytest.mark.parametrize("how", ["content", "iter_content", "raw"])
@pytest.mark.parametrize("framing", TRUNCATED)
def test_truncated_body(session: requests.Session, serve: Serve, framing: str, how: str) -> None:
    answer, text, partial = TRUNCATED[framing]
    response = session.get(serve(answering(answer)).url, stream=True)
    if how == "raw":
        with pytest.raises(urllib3.exceptions.ProtocolError, match=text) as seen:
            response.raw.read()
        assert seen.value.args[1].partial == partial
        check_pickles(seen.value)
        return
    with pytest.raises(ChunkedEncodingError, match=text) as caught:
        response.content if how == "content" else list(response.iter_content(3))
    error: Any = caught.value
    assert error.partial == error.args[0].partial == error.args[0].args[1].partial == partial
    assert isinstance(error.args[0].args[1], urllib3.exceptions.IncompleteRead)
    check_pickles(error)
    if how == "content":
        with pytest.raises(ChunkedEncodingError, match=text):
            response.text  # noqa: B018


def test_truncated_body_is_forgiven_on_demand(session: requests.Session, serve: Serve) -> None:
    response = session.get(serve(answering(TRUNCATED["length"][0])).url, stream=True)
    response.raw.enforce_content_length = False
    assert response.raw.read() == b"half."
    response = session.get(serve(answering(TRUNCATED["length"][0])).url, stream=True)
    response.raw.enforce_content_length = False
    assert response.content == b"half."


def test_bad_chunk(session: requests.Session, serve: Serve) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n"
    with pytest.raises((ChunkedEncodingError, requests.ConnectionError)) as caught:
        session.get(serve(answering(data)).url)
    check_pickles(caught.value)


def test_reset_inside_the_body(session: requests.Session, serve: Serve) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.")
        assert peer.recv(1) == b"x"
        peer.reset()

    response = session.get(serve(handler).url, stream=True)
    assert response.raw.read(5) == b"half."
    response.raw.connection.sock.sendall(b"x")
    with pytest.raises(ChunkedEncodingError) as caught:
        response.content  # noqa: B018
    assert any(isinstance(cause, ConnectionResetError) for cause in chain(caught.value))
    check_pickles(caught.value)


def test_conflicting_lengths(session: requests.Session, serve: Serve) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\nContent-Length: 13\r\n\r\n-- 16 bytes! --"
    with pytest.raises(InvalidHeader):
        session.get(serve(answering(data)).url)


@pytest.mark.parametrize("data", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nServer: x"])
def test_no_valid_head(session: requests.Session, serve: Serve, data: bytes) -> None:
    with pytest.raises(requests.ConnectionError) as caught:
        session.post(serve(answering(data)).url)
    assert caught.value.args[0].phase in ("maybe_processed", "response_started")
    check_pickles(caught.value)


def test_undecodable_content(session: requests.Session, serve: Serve) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\nno gzip!"
    with pytest.raises(requests.exceptions.ContentDecodingError):
        session.get(serve(answering(data)).url)


def test_too_many_encodings(session: requests.Session, serve: Serve) -> None:
    coding = b", ".join([b"gzip"] * 6)
    data = b"HTTP/1.1 200 OK\r\nContent-Encoding: " + coding + b"\r\nContent-Length: 1\r\n\r\nx"
    with pytest.raises(requests.exceptions.ContentDecodingError, match="Too many"):
        session.get(serve(answering(data)).url)


@pytest.mark.parametrize(
    "url",
    ["http://.example.test/", "http://" + "a" * 64 + ".test/", "http://a..b.test/", "http:///x"],
)
def test_hosts_that_cannot_be(session: requests.Session, url: str) -> None:
    with pytest.raises(InvalidURL):
        session.get(url)


def test_schemes_that_nobody_mounted(session: requests.Session) -> None:
    with pytest.raises(requests.exceptions.InvalidSchema):
        session.get("gopher://example.test/")
    session.mount("gopher://", HTTPAdapter())
    with pytest.raises(InvalidURL, match="gopher"):
        session.get("gopher://example.test/")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("X-Long", "a\u20ac", "has a value with characters outside latin-1"),
        ("X-\u20ac", "a", "has a name with characters outside ASCII"),
        ("X-None", None, "must have a value of str or bytes, not NoneType"),
        ("X-List", ["a"], "must have a value of str or bytes, not list"),
        ("X Space", "a", "illegal header name"),
        ("X-Line", "a\r\nInjected: b", "illegal value"),
    ],
)
def test_headers_that_cannot_be_sent(
    session: requests.Session, server: LocalServer, name: str, value: Any, problem: str
) -> None:
    prepared = requests.Request("GET", server.url).prepare()
    prepared.headers[name] = value
    with pytest.raises(InvalidHeader, match=name.partition(" ")[0]) as wrong:
        session.send(prepared)
    assert problem in str(wrong.value)
    prepared = requests.Request("GET", server.url, headers={"Authorization": "ok"}).prepare()
    prepared.headers["Authorization"] = "s3cret\u20ac"
    with pytest.raises(InvalidHeader, match="Authorization") as caught:
        session.send(prepared)
    assert "s3cret" not in str(caught.value)
    assert server.requests == []
    assert session.get(server.url).ok


@pytest.mark.parametrize("method", ["GET /other HTTP/1.1\r\nX: y\r\n\r\nGET", "G\xcbT", "G\u20acT"])
def test_methods_that_cannot_be(
    session: requests.Session, server: LocalServer, method: str
) -> None:
    with pytest.raises(InvalidHeader, match="illegal character in the method"):
        session.request(method, server.url)
    assert server.requests == []


def test_body_of_another_length_than_announced(
    session: requests.Session, server: LocalServer
) -> None:
    prepared = requests.Request("PUT", server.url + "/upload", data=iter([b"four"])).prepare()
    prepared.headers["Content-Length"] = "10"
    with pytest.raises(requests.RequestException, match="10 bytes"):
        session.send(prepared)
    assert session.get(server.url).ok


def test_failing_body_raises_its_own_error(session: requests.Session, server: LocalServer) -> None:
    def body() -> Iterator[bytes]:
        yield b"first"
        raise LookupError("my own")

    with pytest.raises(LookupError, match="my own"):
        session.post(server.url + "/upload", data=body())
    assert session.get(server.url).ok


def test_untrusted_certificate(session: requests.Session, tls_server: LocalServer) -> None:
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        session.get(tls_server.url)
    error = caught.value
    assert error.args[0].phase == "not_sent"
    assert isinstance(error.args[0].reason, urllib3.exceptions.SSLError)
    assert isinstance(error.args[0].reason.args[0], ssl.SSLCertVerificationError)
    assert any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain(error))
    check_pickles(error)


def test_early_answer_is_read_although_the_upload_broke(
    session: requests.Session, serve: Serve
) -> None:
    def handler(peer: Peer) -> None:
        peer.recv_request_head()
        peer.recv(65536)
        peer.respond(413, b"too large", [("Connection", "close")])
        peer.shutdown_write()
        peer.wait_closed()

    response = session.post(serve(handler).url, data=iter([pattern(65536)] * 64))
    assert (response.status_code, response.text) == (413, "too large")


@pytest.mark.parametrize(
    ("raised", "phase", "told", "by_requests"),
    [
        (
            httpcore.WriteTimeout("slow"),
            "maybe_processed",
            "ReadTimeoutError",
            requests.ReadTimeout,
        ),
        (httpcore.WriteError("gone"), "maybe_processed", "ProtocolError", requests.ConnectionError),
        (httpcore.WriteError("gone"), "not_sent", "NewConnectionError", requests.ConnectionError),
        (httpcore.ReadError("gone"), "maybe_processed", "ProtocolError", requests.ConnectionError),
        (
            httpcore.ConnectTimeout("slow"),
            "not_sent",
            "ConnectTimeoutError",
            requests.ConnectTimeout,
        ),
        (httpcore.PoolTimeout("full"), "not_sent", "PoolTimeoutError", requests.ConnectTimeout),
        (httpcore.ProxyError("no"), "not_sent", "ProxyError", requests.exceptions.ProxyError),
        (httpcore.LocalProtocolError("no"), "not_sent", "InvalidHeader", InvalidHeader),
        (
            httpcore.LocalProtocolError("no"),
            "maybe_processed",
            "ProtocolError",
            requests.ConnectionError,
        ),
    ],
)
def test_each_failure_of_the_core(
    session: requests.Session,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    phase: str,
    told: str,
    by_requests: type[requests.RequestException],
) -> None:
    raised.phase = phase  # type: ignore[attr-defined]

    def fail(*args: Any) -> None:
        raise raised

    monkeypatch.setattr(httpcore.ConnectionPool, "handle_request", fail)
    with pytest.raises(by_requests, match=str(raised)) as caught:
        session.put("http://example.test/", data=b"x")
    assert type(caught.value) is by_requests
    wrapped = caught.value.args[0]
    inner = getattr(wrapped, "reason", wrapped)
    assert type(inner).__name__ == told
    if by_requests is not InvalidHeader:
        assert (wrapped.phase, inner.phase) == (phase, phase)
    assert ("may have been processed" in str(caught.value)) is (phase == "maybe_processed")
    assert raised in list(chain(caught.value))
    check_pickles(caught.value)


def test_timeouts_that_cannot_be(session: requests.Session, server: LocalServer) -> None:
    for timeout in (-1, float("nan"), (1, 2, 3), "soon"):
        with pytest.raises(ValueError):
            session.get(server.url, timeout=timeout)  # type: ignore[arg-type]
    assert server.requests == []


# ---------------------------------------------------------------------------------------------
# Every failure, through the stock adapter and ours


class Failing:
    """A handler that fails each request in the way that its path names."""

    BODIES = {
        "cut-length": b"Content-Length: 10\r\n\r\nhalf.",
        "cut-chunk": b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf.",
        "bad-chunk": b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n",
        "reset-body": b"Content-Length: 10\r\n\r\nhalf.",
        "no-last-chunk": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhalf.\r\n",
        "no-gzip": b"Content-Encoding: gzip\r\nContent-Length: 8\r\n\r\nno gzip!",
        "no-gzip-pending": b"Content-Encoding: gzip\r\nContent-Length: 80\r\n\r\nno gzip!",
        "cut-gzip": b"Content-Encoding: gzip\r\nContent-Length: 80\r\n\r\n\x1f\x8b",
        "six-codings": b"Content-Encoding: gzip, gzip, gzip, gzip, gzip, gzip\r\n"
        b"Content-Length: 1\r\n\r\nx",
    }

    def __call__(self, peer: Peer) -> None:
        request = peer.recv_request_head()
        if request is None:
            return
        if request.path == "/unread":
            peer.server.event().wait(5)
            return
        list(peer.iter_body(request))
        how = request.path[1:]
        if how in self.BODIES:
            peer.send(b"HTTP/1.1 200 OK\r\nX-Kept: yes\r\n" + self.BODIES[how])
        elif how == "nonsense":
            peer.send(b"nonsense\r\n\r\n")
        elif how == "two-lengths":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")
        elif how == "around":
            peer.respond(302, b"", [("Location", "/around"), ("Connection", "close")])
        elif how in ("cut-status", "hello"):
            peer.send(b"HTTP/" if how == "cut-status" else b"hello\n")
        elif how in ("busy", "busy-no-retry"):
            peer.respond(503, b"busy", [("Connection", "close")])
        elif how in ("half-head-reset", "half-head-silent"):
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        elif how == "silent-body":
            peer.send(b"HTTP/1.1 200 OK\r\nX-Kept: yes\r\nContent-Length: 10\r\n\r\nhalf.")
        if how in (
            "silent",
            "silent-twice",
            "hello",
            "silent-body",
            "half-head-silent",
            "no-gzip-pending",
        ):
            peer.wait_closed()
        elif how in ("reset", "reset-twice", "half-head-reset", "reset-body"):
            peer.reset()


# What programs look for in the texts of the stock adapter, and what else it names there.
WORDS = (
    "BadStatusLine",
    "CERTIFICATE_VERIFY_FAILED",
    "ConnectTimeoutError",
    "Connection aborted",
    "Connection broken",
    "Connection refused",
    "ConnectionResetError",
    "Failed to establish a new connection",
    "Failed to resolve",
    "IncompleteRead",
    "InvalidChunkLength",
    "Name or service not known",
    "NameResolutionError",
    "NewConnectionError",
    "ProxyError",
    "Read timed out.",
    "Remote end closed connection without response",
    "RemoteDisconnected",
    "Response ended prematurely",
    "ResponseError",
    "SSLCertVerificationError",
    "SSLError",
    "Tunnel connection failed: 403 Forbidden",
    "Tunnel connection failed: 407 Proxy Authentication Required",
    "Unable to connect to proxy",
    "WRONG_VERSION_NUMBER",
    "failed to decode",
    "reset by peer",
    "timed out",
    "too many 503 error responses",
)


def check_words(text: str, by_stock: str, case: Case) -> None:
    """Each word of the stock adapter's text is in ours; where it names the URL, ours does."""
    assert [word for word in WORDS if word in by_stock and word not in text] == []
    retries = "Max retries exceeded with url: "
    assert (retries in text) is (case.options.get("max_retries") is AGAIN)
    if retries in text:
        url = by_stock.partition(retries)[2].split(" ")[0]
        assert f"{retries}{url}" in text


class Case(NamedTuple):
    """What is told: the class, that of the stock adapter, the text, and the phase."""

    ours: type[BaseException]
    stock: type[BaseException]
    text: str  # a pattern
    phase: str | None
    options: dict[str, Any] = {}


def like(told: type[BaseException], text: str, phase: str | None, **options: Any) -> Case:
    """A failure that both adapters tell in the same class."""
    return Case(told, told, text, phase, options)


LOST = "; the request may have been processed"
NOT_SENT, MAYBE_PROCESSED, RESPONSE_STARTED = "not_sent", "maybe_processed", "response_started"
CONNECTION_ERROR = requests.ConnectionError
REFUSED = rf"connect to \S+ \(127.0.0.1\) failed: \[Errno {errno.ECONNREFUSED}\] Connection refused"
AGAIN = Retry(1, status_forcelist=[503])

# Where the two classes differ, the reason stands there.
CASES = {
    "refused": like(CONNECTION_ERROR, REFUSED, NOT_SENT),
    "refused-twice": like(
        CONNECTION_ERROR,
        rf"{REFUSED} \(GET /, .*\); after 1 retry: Max retries exceeded with url: /",
        NOT_SENT,
        max_retries=AGAIN,
    ),
    "refused-no-retry": like(CONNECTION_ERROR, REFUSED, NOT_SENT, max_retries=0),
    "no-such-name": like(CONNECTION_ERROR, "look up nowhere.test failed: .*", NOT_SENT),
    "black-hole": like(requests.ConnectTimeout, "connect to .* timed out after .* s", NOT_SENT),
    "untrusted": like(
        requests.exceptions.SSLError, "TLS .* failed: .*CERTIFICATE_VERIFY_FAILED.*", NOT_SENT
    ),
    # A handshake belongs to connecting: nothing was sent, and the connect timeout bounds it.
    "silent-handshake": Case(
        requests.ConnectTimeout, requests.ReadTimeout, "TLS .* timed out.*", NOT_SENT
    ),
    "proxy-refused": like(requests.exceptions.ProxyError, ".*Connection refused", NOT_SENT),
    "tunnel-refused": like(requests.exceptions.ProxyError, ".* 403 Forbidden", NOT_SENT),
    "/dropped": like(CONNECTION_ERROR, f".* closed the connection .*{LOST}", MAYBE_PROCESSED),
    "/reset": like(CONNECTION_ERROR, f".*reset by peer{LOST}", MAYBE_PROCESSED),
    "/silent": like(requests.ReadTimeout, rf"read from \S+ timed out: .*{LOST}", MAYBE_PROCESSED),
    # The stock adapter calls it a broken connection; it is the server that is too slow.
    "/unread": Case(
        requests.ReadTimeout,
        CONNECTION_ERROR,
        rf"write to \S+ timed out: .*{LOST}",
        MAYBE_PROCESSED,
    ),
    "/nonsense": like(CONNECTION_ERROR, ".*nonsense.*", RESPONSE_STARTED),
    "/half-head-reset": like(CONNECTION_ERROR, ".*reset by peer", RESPONSE_STARTED),
    "/half-head-silent": like(requests.ReadTimeout, ".*Read timed out.*", RESPONSE_STARTED),
    "wrong-host": like(
        requests.exceptions.SSLError, "TLS .* failed: .*CERTIFICATE_VERIFY_FAILED.*", NOT_SENT
    ),
    "plain-as-https": like(requests.exceptions.SSLError, "TLS .* failed: .*", NOT_SENT),
    "proxy-unknown": like(
        requests.exceptions.ProxyError, "cannot reach the proxy .*: look up .* failed: .*", NOT_SENT
    ),
    # Stock says ConnectionError, of which a ProxyError is one.
    "proxy-closes": Case(
        requests.exceptions.ProxyError, CONNECTION_ERROR, "CONNECT .* failed: .*", NOT_SENT
    ),
    "proxy-greets": Case(
        requests.exceptions.ProxyError,
        CONNECTION_ERROR,
        "CONNECT .* failed: .*an SSH server.*",
        NOT_SENT,
    ),
    "proxy-asks": like(requests.exceptions.ProxyError, "CONNECT .* was refused: 407 .*", NOT_SENT),
    # Stock has NewConnectionError from PySocks, in a ConnectionError, of which this is one.
    "socks-refuses": Case(
        requests.exceptions.ProxyError, CONNECTION_ERROR,
        "connect to 127.0.0.1:9 at the proxy .* was refused: .*", NOT_SENT,
    ),
    "socks-refused": Case(
        requests.exceptions.ProxyError, CONNECTION_ERROR, "cannot reach the proxy .*", NOT_SENT
    ),
    "/two-lengths": like(InvalidHeader, ".*Content-Length.*", RESPONSE_STARTED),
    "/busy": like(
        requests.exceptions.RetryError,
        r"too many 503 error responses \(GET /busy\); after 1 retry: Max retries .*: /busy",
        RESPONSE_STARTED, max_retries=AGAIN,
    ),
    "/busy-no-retry": like(
        requests.exceptions.RetryError, "too many 503 error responses",
        RESPONSE_STARTED, max_retries=Retry(0, status_forcelist=[503]),
    ),
    "/reset-twice": like(
        CONNECTION_ERROR,
        rf".*reset by peer{LOST} \(GET /reset-twice, .*\); after 1 retry: Max retries exceeded .*",
        MAYBE_PROCESSED, max_retries=AGAIN,
    ),
    "/silent-twice": like(
        CONNECTION_ERROR, rf"read from .*{LOST} .*; after 1 retry: Max retries exceeded .*",
        MAYBE_PROCESSED, max_retries=AGAIN,
    ),
    "/cut-status": like(CONNECTION_ERROR, ".* after 5 bytes of an incomplete .*", RESPONSE_STARTED),
    "/hello": like(CONNECTION_ERROR, r"illegal status line: .* b'hello\\n' .*", RESPONSE_STARTED),
    "/around": like(requests.TooManyRedirects, "Exceeded 3 redirects.", RESPONSE_STARTED),
    # The stock adapter lets an exception of http.client out, and one of urllib3.
    "bad-header": Case(InvalidHeader, ValueError, ".*X-Line.*line break.*", NOT_SENT),
    "bad-host": Case(
        InvalidURL,
        urllib3.exceptions.LocationParseError,
        "Failed to parse: 'abbb.*', label empty or too long",
        NOT_SENT,
    ),
}  # fmt: skip

BODY_CASES = {
    "/cut-length": like(ChunkedEncodingError, ".* 5 of 10 body bytes.*", RESPONSE_STARTED),
    "/cut-chunk": like(
        ChunkedEncodingError, ".* after 5 body bytes, chunk incomplete.*", RESPONSE_STARTED
    ),
    "/no-last-chunk": like(ChunkedEncodingError, ".* after 5 body bytes.*", RESPONSE_STARTED),
    "/silent-body": like(CONNECTION_ERROR, "read from .* timed out: .*", RESPONSE_STARTED),
    "/bad-chunk": like(ChunkedEncodingError, "illegal chunk line.*", RESPONSE_STARTED),
    "/reset-body": like(ChunkedEncodingError, "read from .* reset by peer", RESPONSE_STARTED),
    "/no-gzip": like(ContentDecodingError, "Error -3 while decompressing .*", RESPONSE_STARTED),
    "/cut-gzip": like(ChunkedEncodingError, ".* 2 of 80 body bytes.*", RESPONSE_STARTED),
    "/six-codings": like(ContentDecodingError, "Too many.*", RESPONSE_STARTED),
}


class Aim:
    """Sends the request that fails as `case` says, through whichever adapter."""

    def __init__(self, request: pytest.FixtureRequest, case: str) -> None:
        self.fixture = request.getfixturevalue
        self.case = case
        slow = "silent" in case or case == "/unread"
        self.options: dict[str, Any] = {"timeout": 0.1 if slow else 5}
        prepare = getattr(self, case.replace("-", "_"), None)
        if prepare is not None:
            self.url = prepare()
        else:
            self.url = self.fixture("serve")(Failing()).url + case

    def refused(self) -> str:
        return f"http://127.0.0.1:{self.fixture('closed_port')}/"

    refused_twice = refused_no_retry = refused

    def no_such_name(self) -> str:
        def fail(*args: Any, **kwargs: Any) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        self.fixture("monkeypatch").setattr(socket, "getaddrinfo", fail)
        return "http://nowhere.test/"

    def proxy_unknown(self) -> str:
        self.options["proxies"] = {"http": "http://nowhere.test:3128"}
        self.no_such_name()
        return "http://origin.test/"

    def proxy_closes(self) -> str:
        self.options["proxies"] = {"https": self.fixture("serve")(answering(b"")).url}
        return "https://origin.test/"

    def proxy_greets(self) -> str:
        greets = answering(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        self.options["proxies"] = {"https": self.fixture("serve")(greets).url}
        return "https://origin.test/"

    def proxy_asks(self) -> str:
        proxy = self.fixture("proxy")
        proxy.refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        self.options["proxies"] = {"https": proxy.url}
        return "https://origin.test/"

    def socks_refuses(self) -> str:
        pytest.importorskip("socks", reason="the stock adapter needs PySocks")
        server = self.fixture("socks_server")
        server.reply = 5
        self.options["proxies"] = {"http": f"socks5h://{server.address}"}
        return "http://127.0.0.1:9/"

    def socks_refused(self) -> str:
        pytest.importorskip("socks", reason="the stock adapter needs PySocks")
        self.options["proxies"] = {"http": f"socks5h://127.0.0.1:{self.fixture('closed_port')}"}
        return "http://127.0.0.1:9/"

    def wrong_host(self) -> str:
        real = socket.getaddrinfo

        def find(host: Any, *args: Any, **kwargs: Any) -> Any:
            return real("127.0.0.1" if host == "wrong.test" else host, *args, **kwargs)

        self.fixture("monkeypatch").setattr(socket, "getaddrinfo", find)
        self.options["verify"] = self.fixture("ca_bundle")
        return f"https://wrong.test:{self.fixture('tls_server').port}/"

    def plain_as_https(self) -> str:
        def refuse(peer: Peer) -> None:
            peer.recv()
            peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        url: str = self.fixture("serve")(refuse).url
        return url.replace("http:", "https:")

    def black_hole(self) -> str:
        host, port = self.fixture("black_hole")
        self.options["timeout"] = (0.1, 5)
        return f"http://{host}:{port}/"

    def untrusted(self) -> str:
        url: str = self.fixture("tls_server").url
        return url

    def silent_handshake(self) -> str:
        url: str = self.fixture("serve")(lambda peer: peer.wait_closed() and None).url
        return url.replace("http:", "https:")

    def proxy_refused(self) -> str:
        self.options["proxies"] = {"http": f"http://127.0.0.1:{self.fixture('closed_port')}"}
        return "http://origin.test/"

    def tunnel_refused(self) -> str:
        proxy = self.fixture("proxy")
        proxy.refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        self.options["proxies"] = {"https": proxy.url}
        return "https://origin.test/"

    def bad_header(self) -> str:
        url: str = self.fixture("server").url
        return url

    def bad_host(self) -> str:
        return "http://a" + 64 * "b" + ".test/"

    def failure(self, adapter: Any, way: Any = None) -> tuple[Any, requests.PreparedRequest]:
        """What is raised, and the request that was sent."""
        with requests.Session() as session:
            session.max_redirects = 3
            for scheme in ("http://", "https://"):
                session.mount(scheme, adapter)
            large = {"method": "PUT", "data": pattern(24 * 1024 * 1024)}
            kind: dict[str, Any] = large if self.case == "/unread" else {"method": "GET"}
            prepared = session.prepare_request(requests.Request(url="http://x.test/", **kind))
            prepared.url = self.url
            if self.case == "bad-header":
                prepared.headers["X-Line"] = "a\r\nInjected: b"
            with pytest.raises((requests.RequestException, ValueError, HTTPError)) as caught:
                self.send(session, prepared, way)
        return caught.value, prepared

    def send(self, session: requests.Session, prepared: Any, way: Any) -> None:
        if way is None:
            session.send(prepared, **self.options)
            return
        with session.send(prepared, stream=True, **self.options) as response:
            way(response)

    def by_stock(self, way: Any = None, **options: Any) -> tuple[type[BaseException] | None, str]:
        """Class and text of the stock adapter's exception, (None, "") where it has none; it
        leaves sockets to the garbage collector."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                error, _ = self.failure(requests.adapters.HTTPAdapter(**options), way)
            except pytest.fail.Exception:
                return None, ""
            told = type(error), str(error)
            del error
            gc.collect()
        return told


def check_told(error: Any, case: Case) -> None:
    """The text, and that nothing of it is lost in a pickle."""
    # What happened; then, in parentheses, the request and the words of the stock adapter.
    assert re.fullmatch(case.text + r"( \(.*\))?", str(error), re.DOTALL), str(error)
    assert "object at 0x" not in str(error)
    assert (LOST in str(error)) is (case.phase == MAYBE_PROCESSED)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert (type(again), str(again)) == (type(error), str(error))
        assert again.request.url == error.request.url
        assert httpcore_requests.phase(again) == httpcore_requests.phase(error)


def check_request_is_named(error: BaseException, prepared: requests.PreparedRequest) -> None:
    """Method and path, behind what has happened."""
    path = prepared.path_url.partition("?")[0]
    named = re.search(rf"{prepared.method} (http://[^/ ]+)?{re.escape(path)}(?![\w/])", str(error))
    assert named is not None and named.start() > 0, error


@pytest.mark.parametrize("name", CASES)
def test_each_failure_is_told_in_requests_exceptions(
    request: pytest.FixtureRequest, name: str
) -> None:
    case = CASES[name]
    aim = Aim(request, name)
    error, prepared = aim.failure(HTTPAdapter(**case.options))
    assert type(error) is case.ours
    check_told(error, case)
    assert httpcore_requests.phase(error) == case.phase
    if name == "/around":
        assert (error.response.status_code, error.request.url) == (302, prepared.url)
    else:
        assert (error.request, error.response) == (prepared, None)
    if name not in ("/around", "bad-header", "bad-host"):  # requests' own; and what is no request
        check_request_is_named(error, prepared)
    stock, text = aim.by_stock(**case.options)
    assert stock is case.stock
    if name not in ("silent-handshake", "bad-header"):  # another failure there
        check_words(str(error), text, case)


READING: dict[str, Callable[[requests.Response], Any] | None] = {
    "get": None,
    "content": lambda response: response.content,
    "text": lambda response: response.text,
    "iter_content": lambda response: list(response.iter_content(3)),
    "iter_content-none": lambda response: list(response.iter_content(None)),
    "iter_content-text": lambda response: list(response.iter_content(3, decode_unicode=True)),
    "iter_lines": lambda response: list(response.iter_lines()),
}


@pytest.mark.parametrize("way", READING)
@pytest.mark.parametrize("name", BODY_CASES)
def test_each_failure_of_a_body_is_told_in_requests_exceptions(
    request: pytest.FixtureRequest, name: str, way: str
) -> None:
    """With the request, and with the head of the response, which the stock adapter leaves out."""
    case = BODY_CASES[name]
    aim = Aim(request, name)
    adapter = HTTPAdapter()
    error, prepared = aim.failure(adapter, way=READING[way])
    assert type(error) is case.ours
    check_told(error, case)
    assert httpcore_requests.phase(error) == RESPONSE_STARTED
    assert error.__cause__ is error.args[0]
    assert error.request is prepared
    assert (error.response.status_code, error.response.headers["X-Kept"]) == (200, "yes")
    assert (error.response.content, error.response.url) == (b"", prepared.url)
    assert pickle.loads(pickle.dumps(error)).response.headers == error.response.headers
    assert adapter.pool.stats()["active"] == 0
    check_request_is_named(error, prepared)
    stock, text = aim.by_stock(READING[way])
    assert stock is case.stock
    check_words(str(error), text, case)


RAW = {
    "read": lambda raw: raw.read(decode_content=True),
    "read-amt": lambda raw: [raw.read(3, decode_content=True) for _ in range(9)],
    "read1": lambda raw: [raw.read1(decode_content=True) for _ in range(9)],
    "stream": lambda raw: list(raw.stream(3, decode_content=True)),
    "data": lambda raw: raw.data,
}


@pytest.mark.parametrize("way", RAW)
@pytest.mark.parametrize("name", BODY_CASES)
def test_each_failure_of_raw_is_told_in_urllib3s(
    request: pytest.FixtureRequest, name: str, way: str
) -> None:
    aim = Aim(request, name)

    def read(response: requests.Response) -> None:
        response.raw.decode_content = True
        RAW[way](response.raw)

    error, _ = aim.failure(HTTPAdapter(), read)
    by_stock, _ = aim.by_stock(read)
    if by_stock is None:  # urllib3's read1 takes what was cut for the whole
        assert (name, way) == ("/cut-length", "read1")
    else:
        assert isinstance(error, by_stock)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_a_body_that_broke_off_stays_broken(session: requests.Session, serve: Serve) -> None:
    """... for `.content`, after an iteration that failed."""
    with session.get(serve(answering(TRUNCATED["length"][0])).url, stream=True) as response:
        for use in (lambda: list(response.iter_content(3)), lambda: response.content):
            with pytest.raises(ChunkedEncodingError, match="5 of 10 body bytes"):
                use()


@pytest.mark.parametrize("fault", [b"zz\r\n", b"3\r\nabcX\r\n", b"0\r\n" + b"x" * 200_000])
@pytest.mark.parametrize("at_once", [True, False])
def test_what_came_before_a_bad_chunk_is_given_first(
    session: requests.Session, serve: Serve, fault: bytes, at_once: bool
) -> None:
    """It is given whether head and body arrive together or apart. The error follows although the
    server sends nothing more."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    got = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_request()
        if not at_once:
            peer.send(head)
            assert got.wait(PATIENCE)
        peer.send(head * at_once + b"4\r\ngood\r\n" + fault)
        peer.recv_until(b"never")

    response = session.get(serve(handler).url, stream=True, timeout=PATIENCE)
    got.set()
    pieces = response.iter_content(None)
    assert next(pieces).startswith(b"good")
    with pytest.raises(ChunkedEncodingError, match=r"chunk|trailer"):
        list(pieces)


@pytest.mark.parametrize("framing", TRUNCATED)
def test_a_body_that_broke_off_in_raw_is_not_an_empty_one(
    session: requests.Session, serve: Serve, framing: str
) -> None:
    """... for whatever gives all of the body. `raw.read` finds an end, as urllib3's does: requests
    calls it for a redirect whose content it could not read."""
    answer, text, _ = TRUNCATED[framing]
    with session.get(serve(answering(answer)).url, stream=True) as response:
        with pytest.raises(urllib3.exceptions.ProtocolError):
            list(iter(lambda: response.raw.read(3), b""))
        assert response.raw.read() == b""
        for whole in (lambda: list(response.raw.stream()), lambda: response.raw.data,
                      lambda: response.raw.json()):  # fmt: skip
            with pytest.raises(urllib3.exceptions.ProtocolError, match=text):
                whole()
        for use in (lambda: response.content, lambda: list(response.iter_content(3))):
            for _ in range(2):
                with pytest.raises(ChunkedEncodingError, match=text):
                    use()


def test_what_could_not_be_decoded_is_put_away(session: requests.Session, serve: Serve) -> None:
    """Nobody has the response that `session.get` did not return: it is not left unread."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        url = serve(Failing()).url + "/no-gzip-pending"
        with pytest.raises(ContentDecodingError):
            session.get(url, timeout=5)
        with pytest.raises(ContentDecodingError):
            list(session.get(url, timeout=5, stream=True).iter_content(3))
        gc.collect()
    assert caught == []
