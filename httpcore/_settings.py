"""Everything that a pool passes on to its connections, checked in one place.

Owns: `ConnectionSettings`, and how its values and other arguments of a pool are checked. Must not
know: pools, connections, and what they do with the values.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ._models import Proxy
from ._timeouts import check_timeout
from ._url import check_port, encode_host
from .rules import HTTP2_FIRST, HTTP11_ONLY

if TYPE_CHECKING:
    import ssl

# The type of a TLS context, for modules that only pass it on and do not know `ssl`.
SSLContext: TypeAlias = "ssl.SSLContext"

# One option of a socket: the arguments of `socket.setsockopt`.
SOCKET_OPTION = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

# Seconds in which an HTTP/2 server must answer a PING, unless the caller says otherwise.
PING_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True, eq=False)
class ConnectionSettings:
    """The settings that hold for all connections of a pool. Frozen; equal to itself only, and so
    hashable.

    Raises TypeError or ValueError, naming the argument, for a value that cannot be.

    Attributes:
        protocols: the protocols to offer by ALPN, best first; see `read_protocols`.
        addresses: where to find certain hosts; see `read_resolve`.
        The others: as the parameters of `ConnectionPool` with the same names.
    """

    ssl_context: SSLContext | None = None
    proxy: Proxy | None = None
    keepalive_expiry: float | None = None
    protocols: tuple[str, ...] = HTTP11_ONLY
    retries: int = 0
    local_address: str | None = None
    uds: str | None = None
    network_backend: Any = None  # a `NetworkBackend`, which this layer does not know
    socket_options: Iterable[SOCKET_OPTION] | None = None
    parsing: str = "strict"
    ping_interval: float | None = None
    ping_timeout: float | None = PING_TIMEOUT
    addresses: Mapping[tuple[bytes, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.proxy is not None and self.uds is not None:
            raise ValueError("proxy and uds exclude each other: a Unix socket has no proxy")
        if self.parsing not in ("strict", "lenient"):
            raise ValueError(f"parsing must be 'strict' or 'lenient', not {self.parsing!r}")
        for name in ("keepalive_expiry", "ping_interval", "ping_timeout"):
            object.__setattr__(self, name, check_timeout(getattr(self, name), name))
        if self.ping_timeout is None or self.ping_interval == 0:
            raise ValueError("ping_timeout must be a number of seconds, and ping_interval not zero")
        object.__setattr__(self, "retries", check_count(self.retries, "retries", 0) or 0)
        if self.socket_options is not None:
            object.__setattr__(self, "socket_options", list(self.socket_options))

    @property
    def lenient(self) -> bool:
        """Whether malformed header lines are repaired or skipped."""
        return self.parsing == "lenient"


def read_protocols(http1: bool, http2: bool) -> tuple[str, ...]:
    """Return the protocols to offer by ALPN, best first. Raises ValueError where there is none."""
    if not http1 and not http2:
        raise ValueError("http1 and http2 are both False: set one of them to True")
    return tuple(name for name in HTTP2_FIRST if (http2 if name == "h2" else http1))


def check_backend(backend: Any, asynchronous: bool) -> None:
    """Raise TypeError for a network backend of the other half. One that derives from neither
    `NetworkBackend` nor `AsyncNetworkBackend` says nothing about it."""
    if getattr(backend, "asynchronous", None) is not (not asynchronous):
        return
    kinds = ["synchronous", "asynchronous"]
    base = "AsyncNetworkBackend" if asynchronous else "NetworkBackend"
    raise TypeError(
        f"network_backend must be {kinds[asynchronous]} here, and {type(backend).__name__} is "
        f"{kinds[not asynchronous]}: leave it out, or derive yours from {base}"
    )


def check_count(value: object, name: str, least: int) -> int | None:
    """Return `value` if it is None or an integer from `least` on; raise TypeError or ValueError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        also = "an integer, a RetryConfig" if name == "retries" else "an integer"
        raise TypeError(f"{name} must be {also} or None, not {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return value


def read_resolve(resolve: object) -> dict[tuple[bytes, int], str]:
    """A pool's ``resolve`` as {(host, port): address}, checked.

    Raises TypeError, ValueError or LocalProtocolError, naming the entry.
    """
    if resolve is None:
        return {}
    if not isinstance(resolve, Mapping):
        raise TypeError(f"resolve must be a mapping, not {type(resolve).__name__}")
    found = {}
    for name, address in resolve.items():
        host, _, port = name.rpartition(":") if isinstance(name, str) else ("", "", "")
        if not host or not (port.isascii() and port.isdigit()) or not isinstance(address, str):
            raise ValueError(f'resolve takes {{"host:port": "address"}}, not {name!r}: {address!r}')
        address = address.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(address.partition("%")[0])
        except ValueError as exc:
            raise ValueError(f"resolve: the address of {name!r} is none: {address!r}") from exc
        key = encode_host(host.removeprefix("[").removesuffix("]"))
        found[key, check_port(int(port))] = address
    return found
