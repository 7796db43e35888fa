"""Row 23: what libraries reach for in `r.raw`.

`tests/adapter/test_raw_users.py` compares with stock, use by use; here stands what the row says.
"""

from __future__ import annotations

import functools
import gzip
import io
import shutil

import pytest
import requests
import urllib3

from tests.downstream.plugin.listing import read_list
from tests.downstream.running import LISTS
from tests.downstream.suites import SUITES
from tests.support.servers import LocalServer, Peer, Serve, pattern

FRAMINGS = ["bytes", "chunked", "close", "gzip"]


@pytest.mark.parametrize("stream", [False, True])
def test_row_23_two_cookies_land_in_the_jar(
    session: requests.Session, server: LocalServer, stream: bool
) -> None:
    """ "Two Set-Cookie lines land in the session jar": and are sent back."""
    url = server.url + "/cookies/set?one=1&two=2"
    response = session.get(url, stream=stream)
    assert response.raw._original_response.msg.get_all("Set-Cookie") == [
        "one=1; Path=/",
        "two=2; Path=/",
    ]
    assert response.cookies.get_dict() == session.cookies.get_dict() == {"one": "1", "two": "2"}
    assert session.get(server.url + "/cookies").json() == {"one": "1", "two": "2"}


def test_row_23_cookies_of_a_redirect(session: requests.Session, serve: Serve) -> None:
    """The jar has them before the next request is made, and no response has another's."""

    def handler(peer: Peer) -> None:
        while (request := peer.recv_request()) is not None:
            if request.path == "/":
                both = [("Set-Cookie", "one=1"), ("Set-Cookie", "two=2"), ("Location", "/next")]
                peer.respond(302, b"", both)
            else:
                peer.respond(200, request.header(b"cookie") or b"")

    response = session.get(serve(handler).url)
    assert sorted(response.text.split("; ")) == ["one=1", "two=2"]
    assert response.cookies.get_dict() == {}
    assert response.history[0].cookies.get_dict() == {"one": "1", "two": "2"}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("decode", [False, True])
def test_row_23_copyfileobj(
    session: requests.Session, server: LocalServer, framing: str, decode: bool
) -> None:
    """ "`shutil.copyfileobj(r.raw)`": undecoded, as urllib3 gives it, or decoded where a user
    asks for that in one of the two usual ways."""
    whole = pattern(300_000)
    response = session.get(f"{server.url}/{framing}/300000", stream=True)
    if decode:
        response.raw.decode_content = True
    copy = io.BytesIO()
    shutil.copyfileobj(response.raw, copy)
    got = copy.getvalue()
    assert (gzip.decompress(got) if framing == "gzip" and not decode else got) == whole

    response = session.get(f"{server.url}/{framing}/300000", stream=True)
    response.raw.read = functools.partial(response.raw.read, decode_content=True)
    copy = io.BytesIO()
    shutil.copyfileobj(response.raw, copy)
    assert copy.getvalue() == whole


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("amount", [None, 1, 4096, 10**6])
def test_row_23_read(
    session: requests.Session, server: LocalServer, framing: str, amount: int | None
) -> None:
    """ "`raw.read(decode_content=)`": whole and in pieces, with and without."""
    whole = pattern(1000)
    for decode in (True, False):
        raw = session.get(f"{server.url}/{framing}/1000", stream=True).raw
        pieces = list(iter(functools.partial(raw.read, amount, decode_content=decode), b""))
        got = b"".join(pieces)
        assert (gzip.decompress(got) if framing == "gzip" and not decode else got) == whole


@pytest.mark.parametrize(("line", "version"), [(b"HTTP/1.0", 10), (b"HTTP/1.1", 11)])
def test_row_23_version_and_repeated_headers(
    session: requests.Session, serve: Serve, line: bytes, version: int
) -> None:
    """ "`raw.version`, `raw.headers.getlist` work." """

    def handler(peer: Peer) -> None:
        peer.recv_request()
        peer.send(line + b" 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX: y\r\n\r\nhi")

    response = session.get(serve(handler).url)
    raw = response.raw
    assert isinstance(raw, urllib3.HTTPResponse)
    assert (raw.version, raw.version_string) == (version, line.decode())
    assert raw._original_response.version == version
    assert raw.headers.getlist("Set-Cookie") == ["a=1", "b=2"]
    assert raw.headers.getlist("nope") == []
    assert raw.headers["x"] == "y"
    assert response.headers["set-cookie"] == "a=1, b=2"


@pytest.mark.parametrize(
    "name", ["cachecontrol", "responses", "requests-mock", "requests-toolbelt"]
)
def test_row_23_the_suites_are_run(name: str) -> None:
    """ "cachecontrol, responses, requests-mock and requests-toolbelt suites pass with our adapter
    mounted": `scripts/downstream` runs them, and no test of theirs is excused."""
    assert name in SUITES
    listed = read_list(LISTS / f"{name}.txt").values()
    assert [entry.reason for entry in listed if entry.section == "ours"] == []
