"""Rows 9, 15, 24 and 33 through requests: one deadline, early answers, ending from outside."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
import urllib3

import httpcore
import httpcore_requests
from tests.support.servers import LocalServer, Peer, Serve

TOTAL = 0.5  # seconds
DRIP = 0.05  # seconds between two bytes of a server that drips
LATEST = TOTAL + 0.3

Timeouts = [httpcore_requests.Timeout, urllib3.Timeout]


@contextmanager
def in_time(kind: type[Exception]) -> Iterator[Any]:
    start = time.monotonic()
    with pytest.raises(kind, match=rf"^total of {TOTAL} s is over") as caught:
        yield caught
    assert TOTAL - 0.02 < time.monotonic() - start < LATEST


@pytest.mark.parametrize("kind", Timeouts)
def test_row_9_a_head_that_drips(serve: Serve, session: requests.Session, kind: Any) -> None:
    """ "`timeout=Timeout(total=2)` against 1 byte/s in headers": urllib3's own class, too, whose
    total says no more than the time between two reads in urllib3."""

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000, DRIP)

    server = serve(handler)
    with in_time(requests.ReadTimeout) as caught:
        session.get(server.url, timeout=kind(total=TOTAL))
    assert caught.value.request is not None


@pytest.mark.parametrize("kind", Timeouts)
@pytest.mark.parametrize("how", ["content", "iter_content"])
def test_row_9_a_body_that_drips(
    serve: Serve, session: requests.Session, kind: Any, how: str
) -> None:
    """ "in body (`.content` and `iter_content`)" """

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        peer.drip(b"x" * 1000, DRIP)

    server = serve(handler)
    with in_time(requests.ConnectionError) as caught:
        if how == "content":
            session.get(server.url, timeout=kind(total=TOTAL))
        else:
            response = session.get(server.url, timeout=kind(total=TOTAL), stream=True)
            for _ in response.iter_content(1):
                pass
    assert httpcore_requests.phase(caught.value) == "response_started"


def test_row_9_a_stalled_upload(serve: Serve, session: requests.Session) -> None:
    """ "in a stalled upload" """

    def handler(peer: Peer) -> None:
        pause = peer.server.event()
        peer.recv_head()
        while peer.recv(4096):
            pause.wait(DRIP)

    server = serve(handler)
    with in_time(requests.ReadTimeout):
        session.post(
            server.url,
            data=bytes(64 * 1024 * 1024),
            timeout=httpcore_requests.Timeout(total=TOTAL),
        )


def test_row_9_a_stuck_handshake(serve: Serve, session: requests.Session) -> None:
    """ "a stuck TLS handshake" """
    server = serve(lambda peer: peer.wait_closed())
    with in_time(requests.ConnectTimeout):
        session.get(
            f"https://127.0.0.1:{server.port}", timeout=httpcore_requests.Timeout(total=TOTAL)
        )


def test_row_9_a_full_pool(server: LocalServer) -> None:
    """ "and a full pool" """
    adapter = httpcore_requests.HTTPAdapter(max_connections=1)
    with requests.Session() as session:
        session.mount("http://", adapter)
        with session.get(server.url + "/bytes/10000000", stream=True):
            with in_time(requests.ConnectTimeout):
                session.get(server.url, timeout=httpcore_requests.Timeout(total=TOTAL))


def test_row_9_all_retries_together(serve: Serve) -> None:
    """A total that began anew with each retry would be no total."""

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.server.event().wait(0.2)  # and closes without an answer

    server = serve(handler)
    retry = urllib3.Retry(total=50, backoff_factor=0)
    with requests.Session() as session:
        session.mount("http://", httpcore_requests.HTTPAdapter(max_retries=retry))
        start = time.monotonic()
        with pytest.raises((requests.ConnectionError, requests.Timeout)):
            session.get(server.url, timeout=httpcore_requests.Timeout(total=TOTAL))
        assert time.monotonic() - start < LATEST
    assert server.accepted <= 4


def test_no_retry_that_could_not_end_in_time(
    serve: Serve, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    def handler(peer: Peer) -> None:
        while peer.recv_request() is not None:
            peer.respond(503, b"busy", [("Retry-After", "60")])

    busy = serve(handler)
    retry = urllib3.Retry(total=5, backoff_factor=30, status_forcelist=[503])
    with requests.Session() as session:
        session.mount("http://", httpcore_requests.HTTPAdapter(max_retries=retry))
        limit = httpcore_requests.Timeout(total=20.0)
        response = session.get(busy.url, timeout=limit)
        assert (response.status_code, response.content) == (503, b"busy")
        with pytest.raises(requests.ConnectionError):
            session.get(f"http://127.0.0.1:{closed_port}", timeout=limit)
    assert slept == []


def test_row_33_cancelling(serve: Serve, session: requests.Session) -> None:
    """Row 33: "thread B calls ... `cancel()`": A raises at once, and nothing is tried again."""
    asked = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_request()
        asked.set()
        peer.wait_closed()

    server = serve(handler)
    session.mount("http://", httpcore_requests.HTTPAdapter(max_retries=5))
    token = httpcore.CancelToken()
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            session.get(server.url, timeout=httpcore_requests.Timeout(cancel=token))
        except requests.ConnectionError as exc:
            failures.append(exc)

    thread = threading.Thread(target=ask)
    thread.start()
    assert asked.wait(5)
    start = time.monotonic()
    token.cancel()
    thread.join(10)
    assert time.monotonic() - start < 0.3
    [failure] = failures
    assert "GET / was ended by a close or a CancelToken" in str(failure)
    assert httpcore_requests.phase(failure) == "maybe_processed"
    assert server.accepted == 1


def test_row_33_closing_the_response(serve: Serve, session: requests.Session) -> None:
    sent = threading.Event()

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        sent.set()
        peer.wait_closed()

    server = serve(handler)
    response = session.get(server.url, stream=True)
    ended: list[float] = []
    within = threading.Event()

    def read() -> None:
        pieces = response.iter_content(None)
        assert next(pieces) == b"hello"
        within.set()
        with pytest.raises(requests.RequestException, match="ended by a close or a CancelToken"):
            next(pieces)
        ended.append(time.monotonic())

    thread = threading.Thread(target=read)
    thread.start()
    assert within.wait(5)
    time.sleep(0.05)  # closed before it reads, it would end by another name
    start = time.monotonic()
    response.close()
    assert time.monotonic() - start < 0.15
    thread.join(10)
    assert ended and ended[0] - start < 0.3


class Parts:
    """A body of one GiB; counts what was taken of it."""

    def __init__(self) -> None:
        self.given = 0

    def __iter__(self) -> Iterator[bytes]:
        block = bytes(65536)
        for _ in range(16384):
            self.given += len(block)
            yield block


@pytest.mark.parametrize("closes", [True, False])
def test_row_15_an_early_answer(serve: Serve, session: requests.Session, closes: bool) -> None:
    """ "the caller gets the 413 with its body, < 10 MiB was sent" """

    def handler(peer: Peer) -> None:
        peer.recv_head()
        peer.recv_exactly(65536)
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
        if not closes:
            peer.server.event().wait(20)

    body = Parts()
    response = session.post(serve(handler).url, data=body, timeout=20)
    assert (response.status_code, response.text) == (413, "too large")
    assert body.given < 10 * 1024 * 1024


def test_row_24_expect(serve: Serve, session: requests.Session) -> None:
    """ "a final 4xx means no body at all" """
    bodies: list[bytes] = []

    def handler(peer: Peer) -> None:
        peer.recv_head()
        peer.respond(401, b"who are you?")
        bodies.append(peer.wait_closed())

    server = serve(handler)
    response = session.put(server.url, data=b"secret", headers={"Expect": "100-continue"})
    assert response.status_code == 401
    assert server.wait_for(lambda: server.open == 0)
    assert bodies == [b""]


# --- the class ---


def test_a_timeout_is_a_value() -> None:
    limit = httpcore_requests.Timeout(10, read=2, write=3, pool=4)
    assert repr(limit) == str(limit) == "Timeout(total=10, read=2, write=3, pool=4)"
    for twin in (pickle.loads(pickle.dumps(limit)), copy.deepcopy(limit)):
        assert repr(twin) == repr(limit)
    assert limit.clone() is limit
    assert isinstance(limit, urllib3.Timeout)


def test_values_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="write"):
        httpcore_requests.Timeout(write=-1)
    with pytest.raises(ValueError, match="total"):
        httpcore_requests.Timeout(total="soon")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"cancel must be an httpcore\.CancelToken, not Event"):
        httpcore_requests.Timeout(cancel=threading.Event())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(httpcore_requests.Timeout(cancel=httpcore.CancelToken()))


def test_each_limit_reaches_the_core(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    handle = httpcore.ConnectionPool.handle_request

    def noted(self: Any, request: httpcore.Request) -> httpcore.Response:
        seen.append(dict(request.extensions["timeout"]))
        return handle(self, request)

    monkeypatch.setattr(httpcore.ConnectionPool, "handle_request", noted)
    with httpcore_requests.Session() as session:
        limit = httpcore_requests.Timeout(None, 1, 2, write=3, pool=4)
        session.get(server.url, timeout=limit)
        session.get(server.url, timeout=httpcore_requests.Timeout(9, 1, 2))
    assert seen[0] == {"connect": 1, "read": 2, "write": 3, "pool": 4}
    total = seen[1].pop("total")
    assert 8 < total <= 9
    assert seen[1] == {"connect": 1, "read": 2, "write": 2, "pool": None}
