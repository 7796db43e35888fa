"""Asks a SOCKS proxy for a connection.

Owns: the messages of SOCKS 4, 4A and 5, their order, and what a refusal means. Must not know:
sockets, locks, clocks, how a name is resolved.

    socks5, socks4      the name is resolved by us, the proxy gets an address
    socks5h, socks4a    the proxy resolves it: no look-up of the origin is made by us

Each message is read to its exact length, and not a byte of what follows it is asked for. A stream
that gives more all the same (one of a test, mostly) loses nothing: `Answers` keeps it.

Sources: RFC 1928 (SOCKS 5), RFC 1929 (user name and password), the memos of SOCKS 4 and 4A
(openssh.com/txt/socks4.protocol, socks4a.protocol); curl for the meaning of the four names.
"""

from __future__ import annotations

import ipaddress

from .._exceptions import (
    NetworkError,
    ProxyConnectTimeout,
    ProxyError,
    TimeoutException,
    explained,
)
from .._redact import SECURE
from ..rules import MAX_SOCKS_FIELD, host_and_port
from .http_proxy import SOCKS_4, ProxyHop, Read, Rename, Resolve, Script, Write, traced

RESOLVED_HERE = (b"socks5", b"socks4")

CONNECT = b"\x01"
NO_LOGIN, PASSWORD = 0, 2  # RFC 1928 section 3
IPV4, NAME, IPV6 = 1, 3, 4  # RFC 1928 section 5
GRANTED_4 = 90

# RFC 1928 section 3.
_LOGINS = {
    NO_LOGIN: "NO AUTHENTICATION REQUIRED",
    1: "GSSAPI",
    PASSWORD: "USERNAME/PASSWORD",
    255: "NO ACCEPTABLE METHODS",
}

# In the words of RFC 1928 section 6, as httpcore 1.0 has them.
_REFUSALS = {
    1: "General SOCKS server failure",
    2: "Connection not allowed by ruleset",
    3: "Network unreachable",
    4: "Host unreachable",
    5: "Connection refused",
    6: "TTL expired",
    7: "Command not supported",
    8: "Address type not supported",
    # SOCKS 4, whose numbers begin elsewhere
    91: "Request rejected or failed",
    92: "It cannot reach our identd",
    93: "Our identd gives another user",
}

# Why a proxy did not connect, as httpcore 1.0 says it; "" when it did.
Refusal = str


class _Broken(Exception):
    """The proxy's answer is not SOCKS, or ended in the middle, or SOCKS cannot express the
    request."""


class Answers:
    """The answers of the proxy, message by message."""

    def __init__(self, stream: object) -> None:
        self._stream = stream
        self._held = b""  # came with the last message, and is the beginning of the next

    def read(self, count: int, first: int | None = None) -> Script[bytes]:
        """Return exactly `count` bytes, of which the first is to be `first`."""
        data = self._held
        while len(data) < count:
            part = yield Read(self._stream, count - len(data))
            if not part:
                raise _Broken(f"it closed the connection after {len(data)} bytes of an answer")
            data += part
            self._check(data, first)
        self._check(data, first)
        self._held = data[count:]
        return data[:count]

    def _check(self, data: bytes, first: int | None) -> None:
        if first is not None and data[0] != first:
            hint = "; an http:// proxy?" if data[:1] == b"H" else ""
            raise _Broken(f"it does not speak SOCKS: its answer begins with 0x{data[0]:02x}{hint}")

    def end(self) -> None:
        """Refuse bytes after the last message: they cannot be given back to the stream."""
        if self._held:
            raise _Broken("it sent data before anything was asked for")


def connect(stream: object, hop: ProxyHop, host: str, port: int) -> Script[None]:
    """Ask the proxy at the other end of `stream` for a connection to `host`:`port`.

    Parameters:
        host: a name or an address.

    Raises ProxyError: it refused, ended or broke SOCKS; ProxyConnectTimeout; and what a look-up
    raises.
    """
    where = host_and_port(host, port)
    # As httpcore 1.0 reports it, without the password.
    auth = None if hop.auth is None else (hop.auth[0], SECURE.encode("ascii"))
    details = {"stream": stream, "host": host, "port": port, "auth": auth}
    name = f"socks.setup_socks{4 if hop.scheme in SOCKS_4 else 5}_connection"
    yield from traced(name, details, _set_up(stream, hop, host, port, where))
    yield Rename(stream, f"{where} through the proxy {hop}")


def _set_up(stream: object, hop: ProxyHop, host: str, port: int, where: str) -> Script[object]:
    what = f"connect to {where} at the proxy {hop}"
    answers = Answers(stream)
    if hop.scheme not in SOCKS_4:
        yield from _as_proxy_errors(what, _log_in(stream, hop, answers))
    # Not before: a proxy that is none need not wait for a name that cannot be found.
    if hop.scheme in RESOLVED_HERE and _ip(host) is None:
        host = _pick((yield Resolve(host, port)), hop)
    ask = _ask_4 if hop.scheme in SOCKS_4 else _ask_5
    yield from _as_proxy_errors(what, ask(stream, hop, host, port, answers))
    return stream


def _as_proxy_errors(what: str, work: Script[Refusal]) -> Script[None]:
    """Do `work`; raise its failures as those of the proxy."""
    try:
        refusal = yield from work
    except TimeoutException as exc:
        raise ProxyConnectTimeout(f"{what} timed out: {exc}") from exc
    except (NetworkError, _Broken) as exc:
        raise ProxyError(f"{what} failed: {exc}") from exc
    if refusal:
        raise explained(ProxyError(refusal), f"{what} was refused: {refusal}")


def _pick(addresses: list[str], hop: ProxyHop) -> str:
    """Return the address to ask the proxy for: the first, and for SOCKS 4 the first IPv4 one."""
    if hop.scheme in SOCKS_4:
        return next((each for each in addresses if ":" not in each), addresses[0])
    return addresses[0]


def _log_in(stream: object, hop: ProxyHop, answers: Answers) -> Script[Refusal]:
    """Agree on a method and log in (RFC 1928 section 3, RFC 1929)."""
    offered = [NO_LOGIN] if hop.auth is None else [NO_LOGIN, PASSWORD]
    yield Write(stream, bytes([5, len(offered), *offered]))
    chosen = (yield from answers.read(2, first=5))[1]
    if chosen not in offered:
        got = _LOGINS.get(chosen, "UNKNOWN")
        return f"Requested {_LOGINS[offered[-1]]} from proxy server, but got {got}."
    if chosen == PASSWORD and hop.auth is not None:
        user, password = hop.auth
        yield Write(stream, b"\x01" + _counted(user) + _counted(password))
        if (yield from answers.read(2))[1]:
            return "Invalid username/password"
    return ""


def _ask_5(
    stream: object, hop: ProxyHop, host: str, port: int, answers: Answers
) -> Script[Refusal]:
    """Ask a SOCKS 5 proxy for the connection (RFC 1928 sections 4 to 6)."""
    yield Write(stream, b"\x05" + CONNECT + b"\0" + _address_5(host) + port.to_bytes(2, "big"))
    reply = yield from answers.read(5, first=5)
    if reply[1]:
        return _not_connected(reply[1])
    # The address that the proxy connects from follows, of which one byte is here already.
    size = {IPV4: 4, IPV6: 16, NAME: 1 + reply[4]}.get(reply[3])
    if size is None:
        raise _Broken(f"its reply has an address of the unknown type {reply[3]}")
    yield from answers.read(size + 2 - 1)
    answers.end()
    return ""


def _ask_4(
    stream: object, hop: ProxyHop, host: str, port: int, answers: Answers
) -> Script[Refusal]:
    user = hop.auth[0] if hop.auth is not None else b""
    address = _ip(host)
    if address is not None and address.version == 6:
        raise _Broken("SOCKS 4 knows no IPv6; use socks5:// or socks5h://")
    # 4A: an address that cannot be, 0.0.0.x, says that a name follows.
    numbers = bytes([0, 0, 0, 1]) if address is None else address.packed
    message = b"\x04" + CONNECT + port.to_bytes(2, "big") + numbers + user + b"\0"
    yield Write(stream, message if address is not None else message + host.encode("ascii") + b"\0")
    code = (yield from answers.read(8, first=0))[1]
    if code != GRANTED_4:
        return _not_connected(code)
    answers.end()
    return ""


def _not_connected(code: int) -> Refusal:
    return f"Proxy Server could not connect: {_REFUSALS.get(code, f'reply code {code}')}."


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _address_5(host: str) -> bytes:
    address = _ip(host)
    if address is None:
        return bytes([NAME]) + _counted(host.encode("ascii"))
    return bytes([IPV4 if address.version == 4 else IPV6]) + address.packed


def _counted(value: bytes) -> bytes:
    if len(value) > MAX_SOCKS_FIELD:  # a host name; user and password were checked before
        raise _Broken(f"SOCKS 5 takes names of at most {MAX_SOCKS_FIELD} bytes")
    return bytes([len(value)]) + value
