"""No text that the package makes for people holds a secret.

Owns: errors with all that is chained to them, reprs, statistics and the log, each with a marker in
every place of a request or an answer that may hold a secret. Cassettes are in
test_cassette_secrets.py.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import requests
from urllib3 import Retry

import httpcore
from httpcore import _redact
from httpcore_requests import HTTPAdapter
from tests.support.servers import LocalServer, Peer

MARK = "S3CRET"
URLS = [
    f"me:{MARK}@host/x", f"http://me:{MARK}@", f"http://me:a/{MARK}@h/", f"http://me:a?{MARK}@h/",
    f"http://me:a#{MARK}@h/", f"http://me:a@{MARK}@h/", f"http://me:{MARK}@h:x/?t={MARK}",
    f"ftp://me:{MARK}@h/?t={MARK}", f"//me:{MARK}@h/", f"http://me:{MARK} @h x/",
    f"http://mé:{MARK}@{MARK}é@h/", f"http://me:{MARK}@h:99999/", f"http://me:{MARK}@h\0/?t={MARK}",
    f"http://me:{MARK}@[::1/?t={MARK}",
]  # fmt: skip
HEADERS: list[Any] = [
    [(name, value)]
    for name in (b"Authorization", b"X-Api-Key", b"Other")
    for value in (f"a\r\nB: {MARK}".encode(), f"{MARK}\n".encode(), f"\0{MARK}".encode())
] + [
    [(f"Authorization: Bearer {MARK}".encode(), b"")],
    [(b"Content-Length", MARK.encode())],
    [(f"X:{MARK}".encode(), b"")],
    [(f"X-\u20ac: {MARK}", "a")],
    [("Other", f"{MARK}\u20ac")],
]  # fmt: skip
BROKEN = [
    f"-ERR unknown command '{MARK}'\r\n\r\n", f"HTTP/1.1 2x0 {MARK}\r\n\r\n",
    f"HTTP/1.1 200 OK\r\nBad {MARK}\r\n\r\n",
    f"HTTP/1.1 200 OK\r\nSet-Cookie : {MARK}\r\n\r\n",
    f"HTTP/1.1 200 OK\r\nA: {MARK}\0\r\n\r\n", f"HTTP/9.9 200 {MARK}\r\n\r\n",
    f"HTTP/1.1 200 OK\r\nContent-Length: {MARK}\r\n\r\n",
    f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {MARK}\r\n\r\n",
    f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{MARK}\r\n",
    f"HTTP/1.1 200 OK\r\nX-Token: {MARK}\r\nLocation: http://u:{MARK}@h/?t={MARK}\r\n\r\n",
]  # fmt: skip


def everything(error: BaseException) -> str:
    """All that a program may print of an error: the traceback, and each text and repr in it."""
    found = ["".join(traceback.format_exception(error)).replace(__file__, "")]
    # Lines of source are those of this test, and their markers are no values.
    found = [line for line in found[0].splitlines() if not line.startswith("    ")]
    seen: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        found += [str(one), repr(one), repr(one.args)]
        pending += [one.__cause__, one.__context__]
        pending += [arg for arg in one.args if isinstance(arg, BaseException)]
    return "\n".join(found)


def failure(do: Callable[[], Any]) -> str:
    with pytest.raises(Exception) as caught:
        do()
    return everything(caught.value)


@pytest.mark.parametrize("url", URLS)
def test_no_error_about_a_url_shows_a_secret(url: str) -> None:
    with httpcore.ConnectionPool(network_backend=httpcore.MockBackend([])) as pool:
        for do in (
            lambda: pool.request("GET", url),
            lambda: pool.request("GET", url.encode("latin-1", "replace")),
            lambda: httpcore.Proxy(url) if "ftp" not in url else pool.request("GET", url),
        ):
            text = ""
            try:
                do()
            except Exception as exc:
                text = everything(exc)
            assert MARK not in text
    assert MARK not in _redact.redact_url(url)


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("http2", [False, True])
def test_no_error_about_a_header_shows_a_secret(headers: Any, http2: bool) -> None:
    options = {"http1": False, "http2": True} if http2 else {}
    backend = httpcore.MockBackend([b""])
    with httpcore.ConnectionPool(network_backend=backend, **options) as pool:
        text = failure(lambda: pool.request("GET", "http://h/", headers=headers))
    assert MARK not in text
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter())
        request = requests.Request("GET", "http://127.0.0.1:9/").prepare()
        for name, value in headers:
            request.headers[name] = value
        assert MARK not in failure(lambda: session.send(request))


@pytest.mark.parametrize("value", [f"{MARK}\u20ac", 7.5, [MARK]], ids=["letters", "float", "list"])
@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "Any"])
def test_no_error_of_the_adapter_shows_a_value(name: str, value: Any) -> None:
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter())
        request = requests.Request("GET", "http://127.0.0.1:9/").prepare()
        request.headers[name] = value
        with pytest.raises(requests.exceptions.InvalidHeader) as caught:
            session.send(request)
    assert name in str(caught.value)
    assert MARK not in everything(caught.value)


TARGETS = [
    f"/x?token={MARK}&{MARK}#{MARK}", f"http://me:{MARK}@other/x?t={MARK}",
    f"http://me:a/{MARK}@other/x", f"http://é:{MARK}@127.0.0.1/é?t={MARK}#{MARK}",
    f"//me:{MARK}@é/é?t={MARK}", f"x é?t={MARK}", f"http://me:{MARK}@h:99999/?t={MARK}",
    f"http://me:{MARK}@[::1/?t={MARK}",
]  # fmt: skip
ANSWERS = {
    "drop": b"",
    "status": b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
    "redirect": f"HTTP/1.1 307 No\r\nLocation: http://me:{MARK}@127.0.0.1:9/y?t={MARK}#{MARK}\r\n"
    "Content-Length: 0\r\n\r\n".encode(),
}


@pytest.mark.parametrize("body", [None, b"x", iter])
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("target", TARGETS)
def test_no_error_or_log_line_of_the_adapters_pools_shows_a_secret(
    target: str, answer: str, body: Any, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With and without retries; what their failures are chained to, too."""

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None and ANSWERS[answer]:
            peer.send(ANSWERS[answer])

    server = serve(handler)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "urllib3.util.retry")  # not ours, see "What is public"
    found = ""
    with contextlib.closing(HTTPAdapter()) as adapter:
        for same_host in (True, False):
            for count in (0, 2):
                policy = Retry(count, status_forcelist=[500], allowed_methods=None)
                pool = adapter.poolmanager.connection_from_url(server.url)
                content = iter([b"x"]) if body is iter else body
                with contextlib.suppress(Exception):
                    try:
                        pool.urlopen("PUT", target, content, {}, policy, True, same_host, 5)
                    except Exception as exc:
                        found += everything(exc)
                        raise
    assert MARK not in found
    assert [line for line in caplog.messages if MARK in line] == []


@pytest.mark.parametrize("retries", [0, 1, 2])
@pytest.mark.parametrize("path", ["/drop", "/status/500", "/truncated/9", "/bytes/9", "/hang"])
def test_no_error_or_log_line_under_requests_shows_a_secret(
    path: str, retries: int, server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "urllib3.util.retry")
    policy = Retry(retries, status_forcelist=[500])
    url = server.url.replace("//", f"//me:{MARK}@") + f"{path}?token={MARK}&{MARK}#{MARK}"
    found = ""
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=policy))
        try:
            found = repr(session.get(url, timeout=0.2 if path == "/hang" else 10))
        except requests.RequestException as exc:
            found = everything(exc)
    assert found and MARK not in found
    assert [line for line in caplog.messages if MARK in line] == []


@pytest.mark.parametrize("answer", BROKEN)
def test_no_error_or_log_line_shows_what_a_server_sent(
    answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "httpcore")
    backend = httpcore.MockBackend([answer.encode()])
    text = ""
    with httpcore.ConnectionPool(network_backend=backend) as pool:
        try:
            pool.request("GET", f"http://h/?t={MARK}", headers={"X-Token": MARK})
        except httpcore.ProtocolError as exc:
            text = everything(exc)
    assert MARK not in text
    assert [line for line in caplog.messages if MARK in line] == []


def test_no_repr_and_no_figure_shows_a_secret() -> None:
    url = f"http://me:{MARK}@h/p?token={MARK}&{MARK}"
    answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"]
    proxy = httpcore.Proxy(f"http://me:{MARK}@p:1", headers={"X-Token": MARK})
    request = httpcore.Request("GET", url, headers={"Host": "h", "Authorization": MARK})
    shown: list[Any] = [httpcore.URL(url), request, proxy, httpcore.Proxy("http://p", (MARK, MARK))]
    backend = httpcore.MockBackend(answer)
    with httpcore.ConnectionPool(
        network_backend=backend, max_connections=1, timeout={"pool": 0.01}
    ) as pool:
        response = pool.handle_request(request)
        shown += [response, response.stream, pool, pool.connections, pool.stats()]
        with pytest.raises(httpcore.PoolTimeout) as caught:
            pool.request("GET", f"http://h/q?other={MARK}")
        text = str(caught.value)
        assert "http://h:80/p?token=[secure]&[secure]" in text
        shown.append(everything(caught.value))
        response.close()
    assert [one for one in shown if MARK in f"{one!r}"] == []
    assert "target=b'/p?token=[secure]&[secure]'" in repr(httpcore.URL(url))


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_no_error_of_a_proxy_shows_its_password(
    scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "httpcore")
    answer = b"\x05\x02\x01\x01" if scheme == "socks5" else b"HTTP/1.1 407 No\r\n\r\n"
    backend = httpcore.MockBackend([answer])
    proxy = httpcore.Proxy(f"{scheme}://me:{MARK}@p:1")
    with httpcore.ConnectionPool(network_backend=backend, proxy=proxy) as pool:
        text = failure(lambda: pool.request("GET", f"https://h/?t={MARK}"))
    assert MARK not in text
    assert [line for line in caplog.messages if MARK in line or "bWU6" in line] == []
