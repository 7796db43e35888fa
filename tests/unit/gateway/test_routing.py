"""Which route a request takes, and the path that it has there.

Owns: the match of host and path, mounts. Must not know: upstreams, servers.
"""

from __future__ import annotations

from typing import Any

import pytest

from httpcore_gateway._passage import path_of
from httpcore_gateway._routing import RouteTable, host_name

TABLE = RouteTable(
    [
        (None, "/", "any"),
        (None, "/api", "any api"),
        (None, "/api/v2/", "any v2"),
        ("a.example", "/", "a"),
        ("A.example", "/x", "a x"),
        ("*.example", "/", "below"),
        ("*.b.example", "/", "below b"),
        ("*.c.example", "/only", "below c"),
    ]
)


@pytest.mark.parametrize(
    ("host", "path", "found"),
    [
        (b"other", b"/", "any"),
        (b"", b"/", "any"),
        (b"other", b"*", "any"),
        (b"other", b"/api", "any api"),
        (b"other", b"/api/", "any api"),
        (b"other", b"/apis", "any"),
        (b"other", b"/API", "any"),
        (b"other", b"/api/v2", "any v2"),
        (b"other", b"/api/v2/x", "any v2"),
        (b"other", b"/api/v22", "any api"),
        (b"a.example", b"/", "a"),
        (b"A.EXAMPLE:8080", b"/", "a"),
        (b"a.example.", b"/x/y", "a x"),
        (b"a.example", b"/api", "a"),
        (b"z.example", b"/", "below"),
        (b"y.z.example", b"/", "below"),
        (b"x.b.example", b"/", "below b"),
        (b"b.example", b"/", "below"),
        (b"x.c.example", b"/only", "below c"),
        (b"x.c.example", b"/", "below"),
        (b"example", b"/", "any"),
        (b"[::1]:80", b"/", "any"),
    ],
)
def test_the_most_specific_route(host: bytes, path: bytes, found: str) -> None:
    assert TABLE.find(host, path) == found


def test_nothing_is_found() -> None:
    table = RouteTable([("a", "/x", 1), (None, "/y", 2)])
    assert table.find(b"b", b"/x") is None
    assert table.find(b"a", b"/y") == 2
    assert RouteTable([(None, "/y", 2)]).find(b"a", b"/") is None


@pytest.mark.parametrize("host", ["::1", "[::1]", "0:0::1", "[0:0::1]"])
def test_a_route_of_an_ipv6_address(host: str) -> None:
    table = RouteTable([(host, "/", 1)])
    assert table.find(b"[::1]:8000", b"/") == table.find(b"[::1]", b"/") == 1
    assert table.find(b"[::2]", b"/") is None


@pytest.mark.parametrize(("host", "asked"), [("A.example.", b"a.example"), ("*.b.", b"x.b")])
def test_a_route_with_a_dot_at_its_end(host: str, asked: bytes) -> None:
    table = RouteTable([(host, "/", 1)])
    assert table.find(asked, b"/") == table.find(asked + b".", b"/") == 1


def test_one_route_for_everything() -> None:
    table = RouteTable([(None, "/", 1)])
    assert table.find(b"any", b"/x") == table.find(b"", b"") == 1


@pytest.mark.parametrize(
    ("host", "name"),
    [(b"A:1", b"a"), (b"[::1]:80", b"[::1]"), (b"[::1]", b"[::1]"), (b"a.", b"a"), (b"", b"")],
)
def test_host_name(host: bytes, name: bytes) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    ("scope", "path", "mount"),
    [
        ({"raw_path": b"/a%2Fb", "path": "/a/b"}, b"/a%2Fb", b""),
        ({"path": "/a b/é%"}, b"/a%20b/%C3%A9%25", b""),
        ({"raw_path": b"/m/a", "root_path": "/m"}, b"/a", b"/m"),
        ({"raw_path": b"/m/a", "root_path": "/m/"}, b"/a", b"/m"),
        ({"raw_path": b"/m", "root_path": "/m"}, b"/", b"/m"),
        ({"raw_path": b"/%6D/a", "root_path": "/m"}, b"/a", b"/m"),
        ({"raw_path": b"/%6d", "root_path": "/m"}, b"/", b"/m"),
        ({"raw_path": b"/m%2Fn/a", "root_path": "/m/n"}, b"/a", b"/m/n"),
        ({"raw_path": b"/%C3%A9/a", "root_path": "/é"}, b"/a", b"/%C3%A9"),
        ({"raw_path": b"/other", "root_path": "/m"}, b"/other", b"/m"),
        ({"raw_path": b"/mm/a", "root_path": "/m"}, b"/mm/a", b"/m"),
        ({"path": "/m/a", "root_path": "/m"}, b"/a", b"/m"),
    ],
)
def test_path_of(scope: dict[str, Any], path: bytes, mount: bytes) -> None:
    """`root_path` is where the gateway is mounted; servers put it in front of the path or not."""
    assert path_of(scope) == (path, mount)
