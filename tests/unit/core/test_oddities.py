"""What is odd in responses is logged once for each peer and kind."""

from __future__ import annotations

import pytest

from httpcore._core import oddities
from httpcore._core.h1 import ChunkedReader, HeadReader
from httpcore._core.oddities import MAX_LOGGED, report


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oddities, "_logged", set())


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.name == "httpcore.http11"]
    caplog.clear()
    return found


def test_each_kind_of_each_peer_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        for peer in ("http://a.test", "http://b.test"):
            report(peer, "one")
            report(peer, "two")
    assert texts(caplog) == [
        f"{kind} (from http://{name}.test; not logged again)"
        for name in "ab"
        for kind in ("one", "two")
    ]


def test_without_a_peer_each_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    report(None, "one")
    report(None, "one")
    assert texts(caplog) == ["one", "one"]


def test_what_is_remembered_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3 * MAX_LOGGED):
        report(f"http://{number}.test", "one")
        assert len(oddities._logged) <= MAX_LOGGED
    assert len(texts(caplog)) == 3 * MAX_LOGGED
    report(f"http://{3 * MAX_LOGGED - 1}.test", "one")
    assert texts(caplog) == []


HEADS = {
    "no number": (b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n", "is no number ignored"),
    "no colon": (b"HTTP/1.1 200 OK\r\nodd\r\n\r\n", "line without colon skipped"),
    "trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nodd\r\n\r\n",
        "line without colon skipped",
    ),
    "chunk line": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n",
        "ends in a bare LF",
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_what_readers_find_odd(name: str, caplog: pytest.LogCaptureFixture) -> None:
    data, said = HEADS[name]
    for peer in ("http://a.test", "http://a.test", "http://b.test"):
        head = HeadReader(b"GET", lenient=True, peer=peer).feed(data)
        assert head is not None
        if type(head.body) is ChunkedReader:
            head.body.feed(head.rest)
    found = texts(caplog)
    assert [said in text for text in found] == [True, True]
    assert ["a.test" in text for text in found] == [True, False]


def test_the_ends_of_heads(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        cut = HeadReader(b"GET", lenient=True, peer="http://a.test")
        cut.feed(b"HTTP/1.1 200 OK\r\n")
        cut.feed_eof()
        interim = HeadReader(b"GET", lenient=True, peer="http://a.test")
        interim.feed(b"HTTP/1.1 199 Odd\r\n\r\n")
        interim.feed_eof()
    assert [text.partition(" (")[0] for text in texts(caplog)] == [
        "malformed response head: ended by the end of the connection",
        "interim response 199 taken for the final one",
    ]
