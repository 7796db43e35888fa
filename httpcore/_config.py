"""The configuration objects of 2019, and what they mean for a pool of today.

Owns: `SSLConfig`, `TimeoutConfig`, `PoolLimits`. All frozen and hashable: a configuration
does not tick, a deadline is made per request. Must not know: connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._redact import SECURE
from ._ssl import Cert, Verify
from ._timeouts import check_timeout

_UNSET: Any = object()


@dataclass(frozen=True)
class SSLConfig:
    """The verification of servers, and the client's certificate.

    Parameters:
        cert: client certificate: path, ``(cert, key)`` or ``(cert, key, password)``.
        verify: True (certifi), False, or a path to a CA bundle file or directory.
    """

    cert: Cert = None
    verify: Verify = True

    def __repr__(self) -> str:
        cert: object = self.cert
        if isinstance(cert, (tuple, list)) and len(cert) > 2:
            cert = (*cert[:2], SECURE)  # the key's password
        return f"{type(self).__name__}(cert={cert!r}, verify={self.verify!r})"


@dataclass(frozen=True, init=False)
class TimeoutConfig:
    """Seconds to wait; None waits for ever.

    Parameters:
        timeout: for all of connect, read, write and pool, where these are not given.
        connect_timeout, read_timeout, write_timeout, pool_timeout: each on its own.
        total_timeout: for the whole request, from the wait for a connection to the last byte of
            the body, whatever the others say.

    Raises InvalidTimeout (a LocalProtocolError and ValueError) for a negative or NaN value,
    TypeError for one that is no number.
    """

    connect_timeout: float | None
    read_timeout: float | None
    write_timeout: float | None
    pool_timeout: float | None
    total_timeout: float | None

    def __init__(
        self,
        timeout: float | None = None,
        *,
        connect_timeout: float | None = _UNSET,
        read_timeout: float | None = _UNSET,
        write_timeout: float | None = _UNSET,
        pool_timeout: float | None = _UNSET,
        total_timeout: float | None = None,
    ) -> None:
        object.__setattr__(self, "total_timeout", check_timeout(total_timeout, "total"))
        for name, value in (
            ("connect", connect_timeout),
            ("read", read_timeout),
            ("write", write_timeout),
            ("pool", pool_timeout),
        ):
            chosen = timeout if value is _UNSET else value
            object.__setattr__(self, f"{name}_timeout", check_timeout(chosen, name))

    def as_extension(self) -> dict[str, float | None]:
        """The same as a request's ``extensions["timeout"]``."""
        return {
            "connect": self.connect_timeout,
            "read": self.read_timeout,
            "write": self.write_timeout,
            "pool": self.pool_timeout,
            "total": self.total_timeout,
        }


@dataclass(frozen=True)
class PoolLimits:
    """The numbers of connections. 2019 had two spellings; both work.

    Parameters:
        max_hosts, conns_per_host: how many hosts, and connections to each; their product
            bounds the total.
        hard_limit: True makes requests wait at these limits; False opens more, and the
            product says how many stay open when idle. A number is the total at which
            requests wait (``max_connections``).
        soft_limit: how many connections stay open when idle (``max_keepalive_connections``).

    Raises TypeError for a value that is no number, ValueError for one that is too small.
    """

    max_hosts: int = 10
    conns_per_host: int = 10
    hard_limit: bool | int | None = False
    soft_limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_hosts", "conns_per_host", "hard_limit", "soft_limit"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
            least = 0 if name == "soft_limit" or value is False else 1
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")

    def as_pool_arguments(self) -> dict[str, int | None]:
        """The same as arguments of `ConnectionPool`."""
        total = self.max_hosts * self.conns_per_host
        waits = self.hard_limit is True
        limit = self.hard_limit if type(self.hard_limit) is int else None
        return {
            "max_connections": total if waits else limit,
            "max_connections_per_host": self.conns_per_host if waits else None,
            "max_keepalive_connections": total if self.soft_limit is None else self.soft_limit,
        }
