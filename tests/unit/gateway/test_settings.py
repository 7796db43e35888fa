"""The checks of a gateway's settings, which types alone do not make.

Owns: each text for a value that cannot be. Must not know: where settings come from.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from httpcore_gateway import Gateway, Route, Settings, SettingsError, Upstream
from httpcore_gateway._settings import check_settings, read_settings

GOOD = "http://127.0.0.1:8001"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("127.0.0.1:8001", "has no scheme: write 'http://127.0.0.1:8001'"),
        ("ftp://127.0.0.1", "use http:// or https://"),
        ("http://", "host"),
        ("http://a:99999", "a port is a number from 1 to 65535"),
        ("http://a b/", "host"),
        ("http://exämple/", "write the host in ASCII, as xn--"),
        ("http://user:secret@a/", "cannot have a user or password"),
        ("http://a/?b", "only scheme, host, port and path"),
        ("http://a/#b", "only scheme, host, port and path"),
    ],
)
def test_upstreams_that_cannot_be(url: str, text: str) -> None:
    with pytest.raises(
        SettingsError, match=f"(?i)^routes\\[0\\].upstreams\\[0\\].*{re.escape(text)}"
    ) as caught:
        check_settings(Settings(routes=(Route(upstreams=(url,)),)))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"path": "a"}, "routes[0].path: 'a' does not begin with '/'"),
        ({"path": "/a?b"}, "routes[0].path: '/a?b': write it in ASCII"),
        ({"path": "/%2e"}, "routes[0].path: '/%2e': write it in ASCII"),
        ({"host": "a/b"}, "routes[0].host: 'a/b' is no host"),
        ({"host": ""}, "routes[0].host: '' is no host"),
        ({"host": "a:80"}, "routes[0].host: 'a:80': leave the port out"),
        ({"host": "[::1]:80"}, "routes[0].host: '[::1]:80': leave the port out"),
        ({"upstreams": ()}, "routes[0].upstreams: "),
        ({"upstreams": (Upstream("https://a", ca="/no/such/file"),)}, "routes[0].upstreams[0]"),
    ],
)
def test_routes_that_cannot_be(options: dict[str, Any], place: str) -> None:
    route = Route(**{"upstreams": (GOOD,), **options})
    with pytest.raises(SettingsError) as caught:
        check_settings(Settings(routes=(route,)), "gateway.toml")
    assert str(caught.value).startswith(f"gateway.toml: {place}")


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"routes": ()}, "routes: "),
        ({"trusted": ("10.0.0.0/99",)}, "trusted"),
        ({"name": "a b"}, "name: 'a b': use letters"),
        ({"name": ""}, "name: '': use letters"),
        ({"admin_path": "-"}, "admin_path: '-' does not begin with '/'"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], place: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_settings(Settings(**{"routes": (Route(upstreams=(GOOD,)),), **options}))
    assert str(caught.value).startswith(place)


def test_two_routes_to_one_place() -> None:
    routes = (
        Route(upstreams=(GOOD,), host="A", path="/b"),
        Route(upstreams=(GOOD,), host="a", path="/b/"),
    )
    with pytest.raises(SettingsError, match=r"^routes\[1\]: an earlier route"):
        check_settings(Settings(routes=tuple(routes)))


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({}, "x: "),
        ({"routes": [{"upstreams": [GOOD], "retries": -1}]}, "x: routes[0].retries: "),
        ({"routes": [{"upstreams": [GOOD], "retry": 1}]}, "x: routes[0]"),
        ({"routes": [{"upstreams": [5]}]}, "x: routes[0].upstreams[0]: "),
        (
            {"routes": [{"upstreams": [GOOD], "timeouts": {"read": 0}}]},
            "x: routes[0].timeouts.read: ",
        ),
        ({"routes": "a"}, "x: routes: "),
    ],
)
def test_values_of_a_wrong_type(data: object, place: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(data, "x")
    assert str(caught.value).startswith(place)
    assert "\n" not in str(caught.value)
    assert "`" not in str(caught.value)


def test_upstreams_and_settings_exclude_each_other() -> None:
    settings = Settings(routes=(Route(upstreams=(GOOD,)),))
    with pytest.raises(TypeError, match="give either upstreams or settings"):
        Gateway([GOOD], settings=settings)
