"""A program that records what it does, and plays it again."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

import httpcore
from httpcore_requests import Session


@pytest.mark.httpcore_cassette
def test_with_a_cassette(httpcore_cassette: Path) -> None:
    """As tests of programs are marked; it is not run here."""
    assert httpcore_cassette.name


def fetch(url: str, backend: httpcore.NetworkBackend) -> str:
    with Session(network_backend=backend) as session:
        return session.get(url).text


def main(url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cassette.jsonl"
        first = fetch(url, httpcore.RecordingBackend(httpcore.SyncBackend(), path))
        again = fetch(url, httpcore.ReplayBackend(path))
        print(first == again, path.stat().st_size > 0)
    mock = httpcore.MockBackend([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
    with httpcore.ConnectionPool(network_backend=httpcore.LoggingBackend(mock)) as pool:
        print(pool.request("GET", "http://example.com/").content)


if __name__ == "__main__":
    main(sys.argv[1])
