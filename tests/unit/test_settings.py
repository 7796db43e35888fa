"""The settings that a pool passes on to its connections.

Owns: `httpcore._settings`. Must not know: what connections make of them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import httpcore
from httpcore._settings import PING_TIMEOUT, ConnectionSettings, check_count, read_protocols


def test_the_defaults() -> None:
    settings = ConnectionSettings()
    assert settings.protocols == ("http/1.1",)
    assert settings.retries == 0
    assert settings.ping_interval is None
    assert settings.ping_timeout == PING_TIMEOUT
    assert settings.addresses == {}
    assert not settings.lenient
    assert ConnectionSettings(parsing="lenient").lenient


def test_they_are_frozen_and_hashable() -> None:
    settings: Any = ConnectionSettings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.retries = 1
    assert len({settings, settings, ConnectionSettings()}) == 2


def test_socket_options_are_kept_for_more_than_one_connection() -> None:
    assert ConnectionSettings(socket_options=iter([(1, 2, 3)])).socket_options == [(1, 2, 3)]


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"parsing": "loose"}, ValueError, "parsing must be 'strict' or 'lenient', not 'loose'"),
        ({"keepalive_expiry": -1}, ValueError, "keepalive_expiry must not be negative"),
        ({"keepalive_expiry": "1"}, TypeError, "keepalive_expiry must be a number"),
        ({"ping_interval": 0}, ValueError, "ping_interval not zero"),
        ({"ping_timeout": None}, ValueError, "ping_timeout must be a number"),
        ({"ping_interval": True}, TypeError, "ping_interval must be a number"),
        ({"retries": -1}, ValueError, "retries must be at least 0"),
        ({"retries": 1.5}, TypeError, "retries must be an integer, a RetryConfig or None"),
        ({"uds": "/s", "proxy": httpcore.Proxy("http://p/")}, ValueError, "exclude each other"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    given: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        ConnectionSettings(**given)


def test_both_constructors_check_alike() -> None:
    origin = httpcore.Origin(b"http", b"example.com", 80)
    with pytest.raises(ValueError, match="parsing must be"):
        httpcore.HTTPConnection(origin, parsing="loose")
    with pytest.raises(ValueError, match="parsing must be"):
        httpcore.ConnectionPool(parsing="loose")


def test_protocols_are_listed_best_first() -> None:
    assert read_protocols(True, True) == ("h2", "http/1.1")
    assert read_protocols(False, True) == ("h2",)
    with pytest.raises(ValueError, match="both False"):
        read_protocols(False, False)


def test_counts() -> None:
    assert check_count(None, "n", 1) is None
    assert check_count(1, "n", 1) == 1
    with pytest.raises(TypeError, match="n must be an integer or None, not bool"):
        check_count(True, "n", 1)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("ConnectionPool", ()),
        ("HTTPConnection", (httpcore.Origin(b"http", b"a.test", 80),)),
        ("HTTPProxy", ("http://proxy.test",)),
        ("SOCKSProxy", ("socks5://proxy.test",)),
    ],
)
def test_a_network_backend_of_the_other_half_is_refused(name: str, first: Any) -> None:
    """By each constructor: used, it would fail somewhere inside."""
    ours: Any = getattr(httpcore, name)
    theirs: Any = getattr(httpcore, f"Async{name}")
    text = (
        "network_backend must be asynchronous here, and MockBackend is synchronous: leave it out, "
        "or derive yours from AsyncNetworkBackend"
    )
    with pytest.raises(TypeError, match=f"^{text}$"):
        theirs(*first, network_backend=httpcore.MockBackend([]))
    with pytest.raises(TypeError, match="must be synchronous here, and AsyncMockBackend is async"):
        ours(*first, network_backend=httpcore.AsyncMockBackend([]))
    # One of its own kind, and one that derives from neither, are taken.
    ours(*first, network_backend=httpcore.MockBackend([]))
    for backend in (httpcore.AsyncMockBackend([]), object()):
        theirs(*first, network_backend=backend)
