"""The script of opening a connection.

Owns: which steps lead to a usable stream, in which order, and when to try again. Must not
know: sockets, locks, clocks. `dial` is a generator that yields steps; a shell carries each
out with its own network layer and sends the result back, or throws the failure in. So one
script serves sync and async code, and a test drives it with lists.

Sources: RFC 9112 section 9.1 (connections), RFC 6066 section 3 (SNI carries names only),
RFC 7301 (ALPN), RFC 9113 section 3.3 (HTTP/2 by prior knowledge).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Generator, Iterable
from typing import Any, NamedTuple

from .._exceptions import ConnectError, ConnectTimeout, ProxyConnectError, ProxyConnectTimeout
from .._settings import SOCKET_OPTION, SSLContext
from .._url import MAX_PORT, check_host
from ..rules import host_and_port
from . import http_proxy as _proxy
from . import socks as _socks
from .http_proxy import SOCKS, ProxyHop, Read, Rename, Resolve, T, TraceEvent, Write

# Seconds before the second retry, doubled for each one after; the first retry comes at once.
# The same ladder as httpcore 1.0 and urllib3's backoff_factor=0.5.
BACKOFF_FACTOR = 0.5

# What `Plan.protocols` is where nothing else may be used.
HTTP2_ONLY = ("h2",)


class OpenTCP(NamedTuple):
    host: str
    port: int
    local_address: str | None
    socket_options: Iterable[SOCKET_OPTION] | None
    room: str = "connection"  # the part of trace names before the dot


class OpenUnix(NamedTuple):
    path: str
    socket_options: Iterable[SOCKET_OPTION] | None


class StartTLS(NamedTuple):
    stream: object
    ssl_context: SSLContext
    server_hostname: str
    room: str = "connection"
    protocols: tuple[str, ...] | None = None  # to offer by ALPN; None: HTTP/1.1


class Sleep(NamedTuple):
    seconds: float


Step = OpenTCP | OpenUnix | StartTLS | Resolve | Sleep | Read | Write | TraceEvent | Rename
Script = Generator[Step, Any, T]  # each step has a result of its own type


class Plan(NamedTuple):
    """The connection to open: everything the script needs, decided beforehand."""

    host: bytes
    port: int
    ssl_context: SSLContext | None  # None: plain
    server_hostname: str | None = None  # None: the host
    uds: str | None = None
    local_address: str | None = None
    socket_options: Iterable[SOCKET_OPTION] | None = None
    retries: int = 0
    hop: ProxyHop | None = None  # the proxy; when it forwards, host and port are its own
    address: str | None = None  # where `host` is to be found, instead of looking it up
    protocols: tuple[str, ...] | None = None  # to offer to the origin; None: HTTP/1.1


class Dialed(NamedTuple):
    """An open stream and what was agreed on it."""

    stream: Any
    protocol: str | None  # what ALPN chose, or "h2" by prior knowledge; None: nothing was agreed on


def dial(plan: Plan) -> Script[Dialed]:
    """Open what `plan` says, retrying failed connects up to ``plan.retries`` times.

    Yields steps, returns `Dialed`. Raises LocalProtocolError for a host that cannot be one,
    ConnectError for such a port, and whatever the last attempt was thrown.
    """
    check_host(plan.host)
    if plan.port > MAX_PORT:
        raise ConnectError(_port_too_high(plan.host, plan.port))
    host = _to_system(plan.host)
    for attempt in range(plan.retries + 1):
        if attempt:  # the first comes at once; the trace gets it like the others
            yield Sleep(BACKOFF_FACTOR * 2 ** (attempt - 2) if attempt > 1 else 0.0)
        try:
            return (yield from _attempt(plan, host))
        except (ConnectError, ConnectTimeout):
            if attempt == plan.retries:
                raise
    raise AssertionError("unreachable")  # pragma: no cover


def _attempt(plan: Plan, host: str) -> Script[Dialed]:
    hop = plan.hop
    if plan.uds is not None:
        stream = yield OpenUnix(plan.uds, plan.socket_options)
    elif hop is not None:
        stream = yield from _go_through(hop, plan, host)
    else:
        target = plan.address or host
        stream = yield OpenTCP(target, plan.port, plan.local_address, plan.socket_options)
        if plan.address is not None:
            yield Rename(stream, host_and_port(host, plan.port))
    known = "h2" if plan.protocols == HTTP2_ONLY else None
    if plan.ssl_context is None:
        return Dialed(stream, known)
    name = plan.server_hostname or _tls_name(host)
    # The trace has another name for TLS inside a tunnel, as in httpcore 1.0.
    room = "connection" if hop is None else "socks" if hop.scheme in SOCKS else "proxy"
    stream = yield StartTLS(stream, plan.ssl_context, name, room, plan.protocols)
    ssl_object = stream.get_extra_info("ssl_object")
    chosen = None if ssl_object is None else ssl_object.selected_alpn_protocol()
    # If the caller allows HTTP/2 only, a server without ALPN is taken to use it, as in httpcore
    # 1.0.
    return Dialed(stream, chosen or known)


def _go_through(hop: ProxyHop, plan: Plan, host: str) -> Script[object]:
    """Return a stream to `host`, or to the proxy that forwards to it."""
    target = plan.address or host
    stream = yield from _reach(hop, plan)
    if hop.scheme in SOCKS:
        yield from _socks.connect(stream, hop, target, plan.port)
    elif not hop.forwards:
        yield from _proxy.connect(stream, hop, target.encode("ascii"), plan.port)
    return stream


def _reach(hop: ProxyHop, plan: Plan) -> Script[object]:
    """Return a stream to the proxy. Its failures say that the proxy failed: the origin was not even
    asked for."""
    check_host(hop.host)
    if hop.port > MAX_PORT:
        raise ProxyConnectError(
            f"cannot reach the proxy {hop}: {_port_too_high(hop.host, hop.port)}"
        )
    host = _to_system(hop.host)
    try:
        room = "socks" if hop.scheme in SOCKS else "connection"
        stream = yield OpenTCP(host, hop.port, plan.local_address, plan.socket_options, room)
        if hop.ssl_context is not None:
            stream = yield StartTLS(stream, hop.ssl_context, _tls_name(host))
    except ConnectTimeout as exc:
        raise ProxyConnectTimeout(f"cannot reach the proxy {hop}: {exc}") from exc
    except ConnectError as exc:
        raise ProxyConnectError(f"cannot reach the proxy {hop}: {exc}") from exc
    return stream


def _port_too_high(host: bytes, port: int) -> str:
    where = host.decode("ascii", "backslashreplace")
    return f"cannot connect to {where}: port {port} is above {MAX_PORT}"


def _to_system(host: bytes) -> str:
    """Return a URL's host as the system takes it: the % before an IPv6 zone may be escaped there
    (RFC 6874 section 2)."""
    address, escaped, zone = host.decode("ascii").partition("%25")
    return f"{address}%{zone}" if zone and ":" in address else address + escaped + zone


def _tls_name(host: str) -> str:
    """Return the name to verify and, where it is no address, to put into SNI.

    A trailing dot says "fully qualified" to DNS and is not part of a certificate's name
    (RFC 6066 section 3); a zone id is local (RFC 6874 section 4).
    """
    name = host.partition("%")[0]
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return host.removesuffix(".")
