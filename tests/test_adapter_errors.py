"""What goes wrong, told in requests' exceptions.

Owns: class, text, phase, cause and pickling of each failure, seen through a session.
"""

from __future__ import annotations

import errno
import http.client
import pickle
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3.exceptions
from requests.exceptions import ChunkedEncodingError, InvalidHeader, InvalidURL

import httpcore
import httpcore_requests
from httpcore_requests import HTTPAdapter
from tests.support.servers import LocalServer, Peer, ScriptedServer, pattern

Serve = Callable[..., ScriptedServer]


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with httpcore_requests.Session() as made:
        yield made


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
    assert text.endswith(f") failed: [Errno {errno.ECONNREFUSED}] Connection refused")
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
    ("name", "value"),
    [("X-Long", "a\u20ac"), ("X-None", None), ("X Space", "a"), ("X-Line", "a\r\nInjected: b")],
)
def test_headers_that_cannot_be_sent(
    session: requests.Session, server: LocalServer, name: str, value: Any
) -> None:
    prepared = requests.Request("GET", server.url).prepare()
    prepared.headers[name] = value
    with pytest.raises(InvalidHeader, match=name):
        session.send(prepared)
    prepared = requests.Request("GET", server.url, headers={"Authorization": "ok"}).prepare()
    prepared.headers["Authorization"] = "s3cret\u20ac"
    with pytest.raises(InvalidHeader, match="Authorization") as caught:
        session.send(prepared)
    assert "s3cret" not in str(caught.value)
    assert server.requests == []
    assert session.get(server.url).ok


def test_methods_that_cannot_be(session: requests.Session, server: LocalServer) -> None:
    with pytest.raises(ValueError, match="method"):
        session.request("GET /other HTTP/1.1\r\nX: y\r\n\r\nGET", server.url)
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
