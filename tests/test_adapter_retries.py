"""`max_retries`: urllib3's Retry policies, decided on how far the request got."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from requests.exceptions import RetryError
from urllib3.util.retry import Retry

from httpcore_requests import HTTPAdapter
from tests.support.servers import LocalServer, Peer, ScriptedServer

Serve = Callable[..., ScriptedServer]


@pytest.fixture
def session_with() -> Iterator[Callable[[Any], requests.Session]]:
    sessions: list[requests.Session] = []

    def make(retries: Any) -> requests.Session:
        session = requests.Session()
        session.mount("http://", HTTPAdapter(max_retries=retries))
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        session.close()


Make = Callable[[Any], requests.Session]


def failing(times: int, status: int = 503, headers: Any = ()) -> Callable[[Peer], None]:
    """A handler that answers `status` for the first `times` requests, then 200 with the body."""
    count = [0]

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            count[0] += 1
            if count[0] <= times:
                peer.respond(status, b"busy", headers)
            else:
                peer.respond(200, request.body)

    return handler


def test_connect_errors_are_retried_for_any_method(
    session_with: Make, closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(requests.ConnectionError) as caught:
        session_with(2).post(f"http://127.0.0.1:{closed_port}/", data=b"x")
    assert "Max retries exceeded" in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert len(caplog.records) == 2
    assert {record.name for record in caplog.records} == {"urllib3.connectionpool"}


def test_what_may_have_been_processed_is_retried_for_allowed_methods_only(
    session_with: Make, serve: Serve
) -> None:
    methods: list[bytes] = []

    def handler(peer: Peer) -> None:
        request = peer.recv_request()
        if request is not None:
            methods.append(request.method)
        if len(methods) == 3:
            peer.respond(200, b"at last")

    session = session_with(Retry(total=5))
    url = serve(handler).url
    with pytest.raises(requests.ConnectionError, match="may have been processed"):
        session.post(url, data=b"x")
    response = session.get(url)
    assert response.text == "at last"
    assert methods == [b"POST", b"GET", b"GET"]
    assert len(response.raw.retries.history) == 1


def test_status_forcelist(session_with: Make, serve: Serve) -> None:
    policy = Retry(total=3, status_forcelist=[503], allowed_methods=None)
    session = session_with(policy)
    server = serve(failing(2))
    response = session.post(server.url, data=b"body")
    assert (response.text, server.accepted) == ("body", 1)
    assert [entry.status for entry in response.raw.retries.history] == [503, 503]
    with pytest.raises(RetryError, match="too many 503 error responses"):
        session.get(serve(failing(9)).url)


def test_no_words_of_retries_when_there_was_none(session_with: Make, serve: Serve) -> None:
    with pytest.raises(RetryError) as caught:
        session_with(Retry(total=0, status_forcelist=[503])).get(serve(failing(9)).url)
    assert str(caught.value) == "too many 503 error responses"
    keep = Retry(total=0, status_forcelist=[503], raise_on_status=False)
    assert session_with(keep).get(serve(failing(9)).url).status_code == 503


def test_retry_after_and_backoff_are_slept(
    session_with: Make, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", slept.append)
    session = session_with(Retry(total=3, status_forcelist=[503], backoff_factor=1))
    assert session.get(serve(failing(2, 503, [("Retry-After", "7")])).url).ok
    assert session.get(serve(failing(3)).url).ok
    assert slept == [7, 7, 2.0, 4.0]


def test_file_is_rewound_to_where_it_was(session_with: Make, serve: Serve) -> None:
    file = io.BytesIO(b"skipped-sent")
    file.seek(8)
    session = session_with(Retry(total=3, status_forcelist=[503], allowed_methods=None))
    assert session.put(serve(failing(1)).url, data=file).text == "sent"


def test_generator_is_never_sent_again(session_with: Make, serve: Serve) -> None:
    session = session_with(Retry(total=3, status_forcelist=[503], allowed_methods=None))
    server = serve(failing(1))
    response = session.put(server.url, data=iter([b"once"]))
    assert (response.status_code, response.raw.retries.history) == (503, ())
    dropping = serve(lambda peer: peer.recv_request() and None)
    with pytest.raises(requests.ConnectionError, match="may have been processed"):
        session.put(dropping.url, data=iter([b"once"]))
    assert dropping.accepted == 1


def test_unseekable_file_is_never_sent_again(session_with: Make, serve: Serve) -> None:
    class Pipe(io.BytesIO):
        def tell(self) -> int:
            raise OSError("a pipe has no position")

        def seek(self, *args: Any) -> int:
            raise OSError("a pipe cannot go back")

    session = session_with(Retry(total=3, status_forcelist=[503], allowed_methods=None))
    assert session.put(serve(failing(1)).url, data=Pipe(b"once")).status_code == 503
    dropping = serve(lambda peer: peer.recv_request() and None)
    with pytest.raises(requests.ConnectionError, match="may have been processed"):
        session.put(dropping.url, data=Pipe(b"once"))
    assert dropping.accepted == 1


def test_retry_subclass_decides(session_with: Make, serve: Serve) -> None:
    asked: list[str] = []

    class Mine(Retry):
        def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
            asked.append(f"{method} {status_code} {has_retry_after}")
            return status_code == 503

        def _is_read_error(self, err: Exception) -> bool:
            asked.append(type(err).__name__)
            return super()._is_read_error(err)

    assert session_with(Mine(3)).post(serve(failing(1)).url).ok
    assert asked == ["POST 503 False", "POST 200 False"]
    dropping = serve(lambda peer: peer.recv_request() and None)
    with pytest.raises(requests.ConnectionError):
        session_with(Mine(1, read=False)).get(dropping.url)
    assert asked[-1] == "ProtocolError"


@pytest.mark.parametrize(
    ("policy", "silence"),
    [
        (0, requests.ReadTimeout),
        (Retry(False), requests.ReadTimeout),
        (Retry(0), requests.ConnectionError),  # as with urllib3: read errors count there
        (Retry(0, connect=False), requests.ConnectionError),
    ],
)
def test_failures_are_requests_errors_under_any_policy(
    session_with: Make, closed_port: int, server: LocalServer, policy: Any, silence: type[Exception]
) -> None:
    session = session_with(policy)
    with pytest.raises(requests.ConnectionError, match="refused") as caught:
        session.get(f"http://127.0.0.1:{closed_port}/")
    assert "retries" not in str(caught.value)
    with pytest.raises(silence, match="Read timed out") as caught_too:
        session.get(server.url + "/hang", timeout=0.05)
    assert type(caught_too.value) is silence
    assert "retries" not in str(caught_too.value)
