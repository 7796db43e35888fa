"""The configuration objects of 2019, and the numbers they accept.

Owns: `httpcore._config`. Must not know: what a pool makes of them (`test_connection_pool`).
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest

import httpcore
from httpcore import _config
from httpcore._exceptions import InvalidTimeout
from httpcore._timeouts import check_timeout, read_timeouts


@pytest.mark.parametrize(
    "config",
    [
        httpcore.SSLConfig(cert=("c", "k"), verify=False),
        httpcore.TimeoutConfig(5),
        httpcore.PoolLimits(max_hosts=2),
    ],
)
def test_configs_are_frozen_hashable_and_equal_by_value(config: Any) -> None:
    assert hash(config) == hash(dataclasses.replace(config))
    assert config == dataclasses.replace(config)
    name = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, name, None)


def test_ssl_config_defaults() -> None:
    config = httpcore.SSLConfig()
    assert (config.cert, config.verify) == (None, True)


def test_a_password_is_not_shown() -> None:
    config = httpcore.SSLConfig(cert=("a.pem", "a.key", "secret"), verify=False)
    assert repr(config) == "SSLConfig(cert=('a.pem', 'a.key', '[secure]'), verify=False)"
    assert repr(httpcore.SSLConfig("a.pem")) == "SSLConfig(cert='a.pem', verify=True)"


# --- timeouts ---


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (httpcore.TimeoutConfig(), (None, None, None, None, None)),
        (httpcore.TimeoutConfig(5), (5, 5, 5, 5, None)),
        (httpcore.TimeoutConfig(5, read_timeout=1), (5, 1, 5, 5, None)),
        (httpcore.TimeoutConfig(5, read_timeout=None), (5, None, 5, 5, None)),
        (httpcore.TimeoutConfig(5, total_timeout=9), (5, 5, 5, 5, 9)),
        (
            httpcore.TimeoutConfig(
                connect_timeout=1, read_timeout=2, write_timeout=3.5, pool_timeout=0
            ),
            (1, 2, 3.5, 0, None),
        ),
    ],
)
def test_timeout_config(config: httpcore.TimeoutConfig, expected: tuple[float | None, ...]) -> None:
    extension = config.as_extension()
    keys = ("connect", "read", "write", "pool", "total")
    assert tuple(extension[key] for key in keys) == expected
    assert read_timeouts(extension) == expected
    assert (
        config.connect_timeout,
        config.read_timeout,
        config.write_timeout,
        config.pool_timeout,
        config.total_timeout,
    ) == expected


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, -math.inf])
def test_timeouts_that_cannot_be_waited(value: float) -> None:
    with pytest.raises(InvalidTimeout, match="read timeout must not be negative or NaN") as caught:
        httpcore.TimeoutConfig(read_timeout=value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, httpcore.LocalProtocolError)


@pytest.mark.parametrize("value", ["5", True, (1, 2), object()])
def test_timeouts_that_are_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match="connect timeout must be a number of seconds or None"):
        httpcore.TimeoutConfig(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), (0, 0), (0.5, 0.5), (9e9, 9e9), (9.1e9, None), (math.inf, None)],
)
def test_check_timeout(value: float | None, expected: float | None) -> None:
    assert check_timeout(value, "x") == expected


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        ({}, (None, None, None, None, None)),
        ({"read": 1.5}, (None, 1.5, None, None, None)),
        ({"connect": 1.0, "read": 2.0, "write": 3.0, "pool": 4.0}, (1.0, 2.0, 3.0, 4.0, None)),
        ({"connect": 1, "pool": math.inf, "total": 5}, (1, None, None, None, 5)),
    ],
)
def test_read_timeouts(extension: dict[str, Any], expected: tuple[float | None, ...]) -> None:
    assert read_timeouts(extension) == expected


@pytest.mark.parametrize("name", ["connect", "read", "write", "pool", "total"])
def test_read_timeouts_names_the_wrong_one(name: str) -> None:
    with pytest.raises(InvalidTimeout, match=f"{name} timeout"):
        read_timeouts({name: -1.0})
    with pytest.raises(TypeError, match=f"{name} timeout"):
        read_timeouts({name: "1"})


@pytest.mark.parametrize("name", ["connect", "read", "write", "pool", "total"])
def test_read_timeouts_refuses_a_truth_value(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} timeout must be a number"):
        read_timeouts({name: True})


def test_integers_are_read_as_quickly_as_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "check_timeout", None)  # what a slower path would call
    assert read_timeouts({"connect": 3, "read": 27, "total": 0}) == (3, 27, None, None, 0)


@pytest.mark.parametrize("key", ["reed", "Read", "read_timeout", "timeout", b"read", 1, None])
def test_read_timeouts_names_an_unknown_key(key: Any) -> None:
    expected = (
        f"extensions['timeout'] has the unknown key {key!r}; "
        "known are connect, read, write, pool, total"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        read_timeouts({"read": 1.0, key: 1.0})


def test_unknown_keys_are_refused_before_anything_is_opened() -> None:
    wrong: Any = {"conect": 1.0}
    with pytest.raises(ValueError, match=r"^timeout has the unknown key 'conect'"):
        httpcore.ConnectionPool(timeout=wrong)
    backend = httpcore.MockBackend([])
    with httpcore.ConnectionPool(network_backend=backend) as pool:
        with pytest.raises(ValueError, match="has the unknown key 'conect'"):
            pool.request("GET", "http://example.com/", extensions={"timeout": wrong})
        assert pool.connections == []


@pytest.mark.parametrize("extension", [5, 5.0, (1, 2), "5"])
def test_read_timeouts_wants_a_mapping(extension: Any) -> None:
    with pytest.raises(TypeError, match=r"extensions\['timeout'\] must be a dict"):
        read_timeouts(extension)


# --- limits ---


@pytest.mark.parametrize(
    ("limits", "total", "per_host", "keepalive"),
    [
        (httpcore.PoolLimits(), None, None, 100),
        (httpcore.PoolLimits(2, 3), None, None, 6),
        (httpcore.PoolLimits(2, 3, hard_limit=True), 6, 3, 6),
        (httpcore.PoolLimits(hard_limit=7), 7, None, 100),
        (httpcore.PoolLimits(hard_limit=7, soft_limit=4), 7, None, 4),
        (httpcore.PoolLimits(hard_limit=None, soft_limit=0), None, None, 0),
        (httpcore.PoolLimits(2, 3, hard_limit=True, soft_limit=1), 6, 3, 1),
    ],
)
def test_pool_limits(
    limits: httpcore.PoolLimits, total: int | None, per_host: int | None, keepalive: int
) -> None:
    assert limits.as_pool_arguments() == {
        "max_connections": total,
        "max_connections_per_host": per_host,
        "max_keepalive_connections": keepalive,
    }


@pytest.mark.parametrize(
    "arguments",
    [{"max_hosts": 0}, {"conns_per_host": 0}, {"hard_limit": -1}, {"soft_limit": -1}],
)
def test_pool_limits_that_are_too_small(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        httpcore.PoolLimits(**arguments)


@pytest.mark.parametrize("name", ["max_hosts", "conns_per_host", "hard_limit", "soft_limit"])
def test_pool_limits_that_are_no_number(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be an integer, not str"):
        httpcore.PoolLimits(**{name: "5"})  # type: ignore[arg-type]
