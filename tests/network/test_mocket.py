"""mocket, which puts sockets of its own in the place of Python's, under the core and the adapter.

Owns: that what it mocks is found, TLS included. Must not know: how it does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

import httpcore
from httpcore_requests import HTTPAdapter

# mocket puts pyOpenSSL under urllib3 when it ends, for all of the process. Imported first while
# mocket's sockets are there, it would keep a method of theirs.
pyopenssl = pytest.importorskip("urllib3.contrib.pyopenssl", reason="pyOpenSSL is not installed")
mocket = pytest.importorskip("mocket", reason="mocket is not installed")
mockhttp = pytest.importorskip("mocket.mocks.mockhttp")

# Each of mocket's TLS sockets makes a real socket that it forgets to close.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

HOST = "api.example.test"


@pytest.fixture(autouse=True)
def mocked() -> Iterator[None]:
    # Strict: whatever is not registered is refused, so nothing can come from a real network.
    try:
        with mocket.Mocketizer(strict_mode=True):
            yield
    finally:
        pyopenssl.extract_from_urllib3()


@pytest.fixture(params=["http", "https"])
def url(request: Any) -> str:
    url = f"{request.param}://{HOST}/x"
    for method in ("GET", "POST"):
        mockhttp.Entry.single_register(method, url, body=f"mocked {method}")
    return url


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter())
        yield session


@pytest.mark.parametrize("timeout", [None, 5])
def test_the_adapter_finds_it(session: requests.Session, url: str, timeout: float | None) -> None:
    for _ in range(3):  # the last ones over the connection of the first
        assert session.get(url, timeout=timeout).text == "mocked GET"


@pytest.mark.parametrize(
    "body", [b"x" * 100_000, iter([b"some", b"thing"])], ids=["bytes", "iterator"]
)
def test_a_body_is_sent(session: requests.Session, url: str, body: Any) -> None:
    assert session.post(url, data=body, timeout=5).text == "mocked POST"
    assert "POST" in {request.method for request in mocket.Mocket.request_list()}


def test_the_core_finds_it(url: str) -> None:
    with httpcore.ConnectionPool() as pool:
        for timeout in ({}, {"connect": 5.0, "read": 5.0, "write": 5.0}):
            response = pool.request("GET", url, extensions={"timeout": timeout})
            assert response.content == b"mocked GET"


def test_what_is_not_registered_is_refused(session: requests.Session, url: str) -> None:
    with pytest.raises(mocket.exceptions.StrictMocketException):
        session.get(f"{url.partition(':')[0]}://elsewhere.example.test/", timeout=5)
