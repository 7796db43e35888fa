"""The header fields that a gateway takes out, changes and adds.

Owns: hop-by-hop fields, how a request's body is framed, Forwarded and its kin, Via. Must not
know: ASGI's calls, connections.

Sources: RFC 9110 sections 7.6.1 (Connection), 7.6.2 (Max-Forwards), 7.6.3 (Via), 10.1.1 (Expect)
and 10.1.4 (TE); RFC 9112 sections 6.1 to 6.3 (framing); RFC 7239 (Forwarded).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from ._problems import Refused

Fields = list[tuple[bytes, bytes]]

#: What cannot stand in a name (a token, RFC 9110 section 5.6.2), and in a value, where a tab can.
_NOT_IN_NAMES = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9a-z]")
_NOT_IN_VALUES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

#: Fields that concern one connection and are never passed on. Those of a proxy's credentials are
#: for the next proxy only, which the gateway is.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    )
)

#: What a client can write as it likes, and servers believe: kept only from trusted proxies.
FORWARDED = frozenset(
    (
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
        b"x-request-id",
    )
)

#: Those of a response: the identifier of the request is the gateway's own.
NOT_PASSED_BACK = HOP_BY_HOP | {b"x-request-id"}

#: Digits of a Content-Length: more is an attempt at something (18 digits are an exabyte).
MAX_LENGTH_DIGITS = 18
#: What a higher Max-Forwards is lowered to: no chain of servers is so long.
MAX_HOPS = 9999
#: How often the gateway's own name may stand in Via before that is a loop: each passage adds one.
MAX_PASSAGES = 8
#: Fields of a request: as many as httpcore reads in a response. Browsers send a few dozen; each
#: costs a hundred times the four bytes that it may have.
MAX_FIELDS = 1000
#: Field names whose lower case is remembered: real servers send a few dozen.
MAX_NAMES = 1000
#: Clients, with the host that they ask for, of which the fields for upstreams are remembered; and
#: bytes of such a host, which is the client's to choose: about a megabyte in all.
MAX_KNOWN_CLIENTS, MAX_KNOWN_HOST = 1000, 255


class BadRequest(Refused):
    """A request that cannot be passed on, whatever the settings."""


class ReceivedFields:
    """The fields of a request, sorted by what becomes of them.

    Attributes:
        passed: those that go to the upstream unchanged.
        hops: there is a Max-Forwards.
        host: the Host field; empty without one.
        length: the Content-Length; None without one.
        chunked: the body has no known length.
        expects: the client waits for leave to send its body (100-continue).
        trailers: the client takes trailers (TE).
        via: the Via fields, joined; empty without one.
        forwarded: those that only trusted proxies may set, by name, joined.
    """

    __slots__ = ("chunked", "expects", "forwarded", "hops", "host", "length", "passed", "trailers",
                 "via")  # fmt: skip

    def __init__(self) -> None:
        self.passed: Fields = []
        self.hops = False
        self.host = b""
        self.length: int | None = None
        self.chunked = False
        self.expects = False
        self.trailers = False
        self.via = b""
        self.forwarded: dict[bytes, bytes] = {}


def read_fields(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> ReceivedFields:
    """Return the fields of a request as ASGI has them, names in lower case.

    Parameters:
        name: the gateway's in Via.

    Raises BadRequest for framing that two servers could read differently, for a loop, and for too
    many fields.
    """
    received = ReceivedFields()
    passed = received.passed
    dropped: set[bytes] | None = None
    for field in headers:
        act = _ACTIONS.get(field[0])
        if act is not None:
            act(received, field[1])
            if field[0] == b"connection":
                dropped = (dropped or set()) | _listed(field[1])
        elif b"_" in field[0]:
            _pass_underscored(passed, field)
        else:
            passed.append(field)
    if len(passed) > MAX_FIELDS:
        raise BadRequest(431, f"the request has more than {MAX_FIELDS} header fields")
    if dropped and not dropped <= _USUAL_LISTED:
        received.passed = [field for field in passed if field[0] not in dropped]
    if received.length is not None and received.chunked:
        raise BadRequest(400, "the request has both Content-Length and Transfer-Encoding")
    if received.via and received.via.count(b" " + name) > MAX_PASSAGES:
        raise BadRequest(508, "the request has passed this gateway too often: upstreams lead back")
    return received


#: What Connection lists in nearly every request that has one; dropped, or no field at all.
_USUAL_LISTED = frozenset((b"keep-alive", b"close", b"upgrade", b"te", b"http2-settings"))


def _listed(value: bytes) -> set[bytes]:
    return {option.strip().lower() for option in value.split(b",")}


def _pass_underscored(passed: Fields, field: tuple[bytes, bytes]) -> None:
    """Pass a field on whose name has an underscore, unless a server that reads underscores as
    hyphens (CGI, WSGI) would take it for one that only the gateway may set."""
    name = field[0].replace(b"_", b"-")
    if name not in _ACTIONS:
        passed.append(field)


def _take_host(received: ReceivedFields, value: bytes) -> None:
    if received.host:
        raise BadRequest(400, "the request has more than one Host")
    received.host = check_host(value)


#: Characters of a host and a port (RFC 3986 section 3.2.2).
_HOST = frozenset(
    b"-._~%!$&'()*+,;=:[]0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)


def check_host(value: bytes) -> bytes:
    """Return the host that a request asks for. Raises BadRequest for what cannot be one, and could
    be read as another one behind the gateway."""
    if not _HOST.issuperset(value):
        raise BadRequest(400, "the Host of the request is no host")
    return value


def _take_length(received: ReceivedFields, value: bytes) -> None:
    if not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
        raise BadRequest(400, "the Content-Length is no number of bytes")
    if received.length is not None:
        raise BadRequest(400, "the request has more than one Content-Length")
    received.length = int(value)


def _take_coding(received: ReceivedFields, value: bytes) -> None:
    if received.chunked:
        raise BadRequest(400, "the request has more than one Transfer-Encoding")
    if value.strip().lower() != b"chunked":
        raise BadRequest(501, "the only transfer coding of a request that is read is 'chunked'")
    received.chunked = True


def _take_expect(received: ReceivedFields, value: bytes) -> None:
    if value.lower() != b"100-continue":
        raise BadRequest(417, "the only expectation that can be met is 100-continue")
    received.expects = True


def _take_te(received: ReceivedFields, value: bytes) -> None:
    received.trailers = received.trailers or b"trailers" in _listed(value)


def _take_via(received: ReceivedFields, value: bytes) -> None:
    received.via = received.via + b", " + value if received.via else value


def _take_hops(received: ReceivedFields, value: bytes) -> None:
    received.passed.append((b"max-forwards", value))
    received.hops = True


def count_down(received: ReceivedFields) -> bool:
    """Lower the Max-Forwards of a request by one, if it has one; return whether the request may be
    passed on. Raises BadRequest for what is no number, or several."""
    values = [value for name, value in received.passed if name == b"max-forwards"]
    if not values:  # Connection listed it
        return True
    if len(values) > 1 or not values[0].isdigit():
        raise BadRequest(400, "the Max-Forwards is no number")
    digits = values[0].lstrip(b"0")
    if not digits:
        return False
    left = MAX_HOPS if len(digits) > len(str(MAX_HOPS)) else int(digits) - 1
    fields = [field for field in received.passed if field[0] != b"max-forwards"]
    received.passed = [*fields, (b"max-forwards", b"%d" % left)]
    return True


def _drop(received: ReceivedFields, value: bytes) -> None:
    """Leave a hop-by-hop field out."""


def _forwarded(name: bytes) -> Callable[[ReceivedFields, bytes], None]:
    def take(received: ReceivedFields, value: bytes) -> None:
        before = received.forwarded.get(name)
        received.forwarded[name] = value if before is None else before + b", " + value

    return take


_ACTIONS: dict[bytes, Callable[[ReceivedFields, bytes], None]] = {
    **dict.fromkeys(HOP_BY_HOP, _drop),
    **{name: _forwarded(name) for name in FORWARDED},
    b"host": _take_host,
    b"content-length": _take_length,
    b"transfer-encoding": _take_coding,
    b"expect": _take_expect,
    b"te": _take_te,
    b"max-forwards": _take_hops,
    b"via": _take_via,
}


class Hop(NamedTuple):
    """The connection on which a request came.

    Parameters:
        client: the address of its other end; empty where there is none, as with a Unix socket.
        scheme: ``http`` or ``https``.
        version: of HTTP, such as ``1.1``.
        trusted: the other end is a proxy whose fields are believed.
    """

    client: str
    scheme: str
    version: str
    trusted: bool


def add_forwarded(fields: Fields, received: ReceivedFields, hop: Hop, prefix: bytes) -> None:
    """Add to `fields` where a request came from, for the upstream.

    Parameters:
        prefix: of the path, which was taken away; empty for none.
    """
    host = received.host
    if hop.trusted or prefix or len(host) > MAX_KNOWN_HOST:
        before = received.forwarded if hop.trusted else {}
        fields += _describe_hop(hop.client, hop.scheme, host, before, prefix)
    else:
        fields += _describe_client(hop.client, hop.scheme, host)


@lru_cache(MAX_KNOWN_CLIENTS)
def _describe_client(client: str, scheme: str, host: bytes) -> Fields:
    """Return the fields for a request that came straight from a client; not to be changed."""
    return _describe_hop(client, scheme, host, {}, b"")


def _describe_hop(
    client_text: str, scheme_text: str, host: bytes, before: dict[bytes, bytes], prefix: bytes
) -> Fields:
    """Return the fields that say where a request came from.

    Parameters:
        before: those that a trusted proxy has set.
    """
    fields: Fields = []
    client = client_text.encode("ascii", "replace")
    scheme = scheme_text.encode("ascii")
    node = b'"[' + client + b']"' if b":" in client else client or b"unknown"
    element = b"for=" + node
    if host:
        element += b";host=" + (host if _is_token(host) else _quoted(host))
    element += b";proto=" + scheme
    for name, own in (
        (b"forwarded", element),
        (b"x-forwarded-for", client or b"unknown"),
    ):
        value = before.get(name)
        fields.append((name, own if not value else value + b", " + own))
    # The first proxy of a chain knows best what the client asked for.
    fields.append((b"x-forwarded-proto", before.get(b"x-forwarded-proto") or scheme))
    if host:
        fields.append((b"x-forwarded-host", before.get(b"x-forwarded-host") or host))
    prefix = before.get(b"x-forwarded-prefix", b"") + prefix
    if prefix:
        fields.append((b"x-forwarded-prefix", prefix))
    for name in (b"x-forwarded-port", b"x-forwarded-server", b"x-real-ip"):
        if name in before:
            fields.append((name, before[name]))
    return fields


_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _is_token(value: bytes) -> bool:
    return _TOKEN.issuperset(value)


def _quoted(value: bytes) -> bytes:
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def add_via(fields: Fields, before: bytes, version: str, name: bytes) -> None:
    """Add the Via field, with what it held before."""
    own = version.encode("ascii") + b" " + name
    fields.append((b"via", before + b", " + own if before else own))


_names: dict[bytes, bytes] = {}


def _lower(name: bytes) -> bytes:
    """Return `name` in lower case, empty for a field that is left out, and remember it."""
    lower = name.lower()
    if lower in NOT_PASSED_BACK:
        lower = b""
    if len(_names) < MAX_NAMES:
        _names[name] = lower
    return lower


def response_fields(headers: Iterable[tuple[bytes, bytes]], status: int) -> tuple[Fields, bytes]:
    """Return the fields of a response that go to the client, as ASGI wants them, and its Via.

    Names are in lower case. The length of a 204 or 304 is left out: servers count the bytes that
    follow, and there are none. So is one that stands beside a Transfer-Encoding, which overrides
    it (RFC 9112 section 6.3), and all but the first of several, which are equal (the core sees to
    that).
    """
    fields: Fields = []
    via = b""
    dropped: set[bytes] | None = None
    length, chunked = b"", status in (204, 304)
    for name, value in headers:
        lower = _names.get(name)
        if lower is None:
            lower = _lower(name)
        if not lower:
            name = name.lower()
            if name == b"connection":
                dropped = (dropped or set()) | _listed(value)
            elif name == b"transfer-encoding":
                chunked = True
        elif lower == b"content-length":
            length = value
        elif lower == b"via":
            via = via + b", " + value if via else value
        else:
            fields.append((lower, value))
    if dropped and not dropped <= _USUAL_LISTED:
        fields = [field for field in fields if field[0] not in dropped]
    if length and not chunked:
        fields.append((b"content-length", length))
    return fields, via


def are_well_formed(names: Iterable[bytes], values: Iterable[bytes]) -> bool:
    """Return whether fields, their names in lower case, can be passed on: servers refuse control
    characters, which httpcore leaves in values."""
    return not (_NOT_IN_NAMES.search(b"".join(names)) or _NOT_IN_VALUES.search(b"\t".join(values)))
