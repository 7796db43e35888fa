"""The ways of a request through a proxy: forwarded, or in a tunnel.

Owns: what is written to a proxy and how its answer is read. Must not know: sockets, locks,
clocks, and what happens before and after (that is `_core.dial`). `connect` is a generator that
yields steps, as `_dial.dial` does.

Credentials go to the proxy they are for and nowhere else: into the head of a forwarded request,
or into the CONNECT; never into the tunnel.

Sources: RFC 9112 section 3.2.2 (absolute-form), RFC 9110 sections 9.3.6 (CONNECT), 11.7
(Proxy-Authorization) and 15.5.8 (407).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from .._exceptions import (
    LocalProtocolError,
    NetworkError,
    ProtocolError,
    ProxyConnectTimeout,
    ProxyError,
    RemoteProtocolError,
    TimeoutException,
    UnsupportedProtocol,
    explained,
)
from .._models import HeaderList, HeaderTypes, Proxy, Request, to_headers
from .._settings import SSLContext
from .._trace import Details
from .._url import URL, Origin
from ..rules import (
    DEFAULT_PORTS,
    MAX_SOCKS_FIELD,
    connect_target,
    fits_socks_field,
    host_header,
)
from .h1 import Head, HeadReader, encode_request

T = TypeVar("T")

# Bytes asked for in one read of a proxy's answer; one holds every usual one.
READ_SIZE = 4096
# Bytes of the body of a refusal that are kept for `ProxyError.body`. It is there for people, and
# for the challenge pages of corporate proxies; a proxy cannot make us read on for ever.
MAX_REFUSAL = 65536
# Seconds without a byte after which the rest of that body is not waited for. A proxy that names no
# length and keeps the connection open would have us wait until the timeout, or for ever; a lost
# packet is sent again within one.
REFUSAL_PATIENCE = 2.0
# Reads of that body, so that one byte at a time is not waited for either. MAX_REFUSAL bytes take
# about 45 in segments of an Ethernet.
MAX_REFUSAL_READS = 64

# Answers to 407 for one tunnel: NTLM takes two, and one more for a stale nonce.
MAX_CHALLENGES = 3

FORWARDED = b"http"  # the scheme whose requests are forwarded; all others go through a tunnel
HTTP = (b"http", b"https")
SOCKS_4 = (b"socks4", b"socks4a")
SOCKS = (b"socks5", b"socks5h", *SOCKS_4)


class ProxyHop(NamedTuple):
    """A proxy on the way. Hashable: as part of a route it keeps connections apart.

    Attributes:
        scheme, host, port: of the proxy.
        headers: for an HTTP proxy, Proxy-Authorization among them.
        forwards: the proxy sends the request on; else it opens a tunnel.
        auth: user name and password for a SOCKS proxy, or None.
        ssl_context: how to verify an https proxy; handed on unseen, None for the default.
        on_challenge: answers a 407, see `Proxy`.
    """

    scheme: bytes
    host: bytes
    port: int
    headers: tuple[tuple[bytes, bytes], ...]
    forwards: bool
    auth: tuple[bytes, bytes] | None = None
    ssl_context: SSLContext | None = None
    on_challenge: Callable[[ProxyError], HeaderTypes] | None = None

    def unverified(self) -> ProxyHop:
        """Return the same without its TLS context."""
        return self._replace(ssl_context=None)

    def verified_by(self, ssl_context: SSLContext) -> ProxyHop:
        """Return the same with another TLS context."""
        return self._replace(ssl_context=ssl_context)

    def __str__(self) -> str:
        return str(Origin(self.scheme, self.host, self.port))

    def __repr__(self) -> str:
        return f"<ProxyHop [{self}]>"  # without the headers: they hold a password


def to_hop(proxy: Proxy, scheme: bytes) -> ProxyHop:
    """Return `proxy` as a hop for requests of this `scheme`.

    Raises:
        TypeError: it is no `Proxy`.
        UnsupportedProtocol: the scheme is none of a proxy.
        LocalProtocolError: credentials that do not fit into SOCKS.
    """
    if not isinstance(proxy, Proxy):
        raise TypeError(f"a proxy must be an httpcore.Proxy or None, not {type(proxy).__name__}")
    url = proxy.url
    port = url.port
    if port is None:
        port = DEFAULT_PORTS.get(url.scheme, 0)
    if url.scheme in HTTP:
        context = proxy.ssl_context if url.scheme == b"https" else None
        headers = tuple(proxy.headers)
        forwards = scheme == FORWARDED
        hook = proxy.on_challenge
        return ProxyHop(url.scheme, url.host, port, headers, forwards, None, context, hook)
    if url.scheme not in SOCKS:
        name = url.scheme.decode("ascii", "backslashreplace")
        raise UnsupportedProtocol(
            f"the proxy scheme {name!r} is not supported; use http, https, socks5, socks5h, "
            "socks4 or socks4a"
        )
    _check_socks_auth(url.scheme, proxy.auth)
    return ProxyHop(url.scheme, url.host, port, (), False, proxy.auth)


def _check_socks_auth(scheme: bytes, auth: tuple[bytes, bytes] | None) -> None:
    """Refuse credentials that SOCKS cannot carry, without showing them."""
    if auth is None:
        return
    if scheme in SOCKS_4:
        if b"\0" in auth[0]:
            raise LocalProtocolError("the user name for a SOCKS 4 proxy has a NUL in it")
        return
    for name, value in zip(("user name", "password"), auth, strict=True):
        if not fits_socks_field(value):
            raise LocalProtocolError(
                f"the {name} for a SOCKS 5 proxy has {len(value)} bytes; 1 to {MAX_SOCKS_FIELD} "
                "can be sent"
            )


def forwarded(request: Request, hop: ProxyHop) -> Request:
    """Return `request` as `hop` takes it: to the proxy, with the absolute URL as its target."""
    url = request.url
    target = url.target
    if target[:1] in (b"/", b"?", b"*"):
        # RFC 9112 section 3.2.4: OPTIONS * is forwarded without a path.
        path = b"" if target == b"*" else target
        authority = host_header(url.scheme, url.host, url.port)
        target = b"%b://%b%b" % (url.scheme, authority, path)
    sent = Request.__new__(Request)
    sent.method = request.method
    sent.url = URL(scheme=hop.scheme, host=hop.host, port=hop.port, target=target)
    sent.headers = request.headers
    if hop.headers:  # the request's own fields go before those of the proxy
        own = {name.lower() for name, _ in request.headers}
        sent.headers = [
            *sent.headers,
            *[line for line in hop.headers if line[0].lower() not in own],
        ]
    sent.stream = request.stream
    sent.extensions = request.extensions
    sent.log = request.log
    return sent


class Write(NamedTuple):
    stream: object
    data: bytes


class Read(NamedTuple):
    """Asks for bytes.

    Attributes:
        patience: the most seconds to wait, where that is less than there are left.
    """

    stream: object
    max_bytes: int
    patience: float | None = None


class Resolve(NamedTuple):
    """Asks for the addresses of a name, as text; or for the name itself, where it cannot be looked
    up here."""

    host: str
    port: int


class TraceEvent(NamedTuple):
    """Report an event to the trace, by its full name."""

    event: str
    details: Details


class Rename(NamedTuple):
    """Name `peer` in the stream's errors from here on."""

    stream: object
    peer: str


Step = Write | Read | Resolve | TraceEvent | Rename
Script = Generator[Step, Any, T]  # each step has a result of its own type


def connect(stream: object, hop: ProxyHop, host: bytes, port: int) -> Script[None]:
    """Ask the proxy at the other end of `stream` for a tunnel to `host`:`port`.

    Raises ProxyError: it refused (`status`, `headers` and `body` say how), ended or broke HTTP;
    ProxyConnectTimeout.
    """
    target = connect_target(host, port)
    what = f"CONNECT {target.decode('ascii')} at the proxy {hop}"
    headers = list(hop.headers)
    try:
        for attempt in range(MAX_CHALLENGES + 1):
            head = yield from _exchange(stream, _connect_request(hop, target, headers))
            if 200 <= head.status < 300:
                break
            body = yield from _read_refusal(stream, head)
            error = _refused(what, head, body)
            answer = _answer(hop, error, head) if attempt < MAX_CHALLENGES else None
            if answer is None:
                try:
                    raise error
                finally:
                    del error  # else it and this frame would keep each other
            replaced = {name.lower() for name, _ in answer}
            headers = [line for line in headers if line[0].lower() not in replaced] + answer
    except TimeoutException as exc:
        raise ProxyConnectTimeout(f"{what} timed out: {exc}") from exc
    except (NetworkError, RemoteProtocolError) as exc:
        raise ProxyError(f"{what} failed: {exc}") from exc
    if head.rest:
        raise ProxyError(f"{what} failed: it sent data before anything was asked for in the tunnel")
    yield Rename(stream, f"{target.decode('ascii')} through the proxy {hop}")


def _connect_request(hop: ProxyHop, target: bytes, headers: HeaderList) -> Request:
    url = URL(scheme=hop.scheme, host=hop.host, port=hop.port, target=target)
    return Request(b"CONNECT", url, headers=[(b"Host", target), *headers])


def _answer(hop: ProxyHop, error: ProxyError, head: Head) -> HeaderList | None:
    """Return the headers to try again with on the same connection; None to give up."""
    if hop.on_challenge is None or head.status != 407:
        return None
    if not head.keep_alive or not head.body.done:
        return None  # the connection is at its end; schemes that are bound to it cannot go on
    answer = hop.on_challenge(error)
    return None if answer is None else to_headers(answer)


def _exchange(stream: object, request: Request) -> Script[Head]:
    """Send `request` and read the head of the answer; the trace gets the events of any other."""
    details = {"request": request}
    head, _, _ = encode_request(request.method, request.url.target, request.headers)
    yield from traced("http11.send_request_headers", details, _send(stream, head))
    yield from traced("http11.send_request_body", details, _send(stream, b""))
    answer = yield from traced(
        "http11.receive_response_headers", details, _receive(stream, request)
    )
    return answer


def traced(name: str, details: Details, work: Script[T]) -> Script[T]:
    """Do `work`; report to the trace that it begins, and how it ends."""
    yield TraceEvent(f"{name}.started", details)
    try:
        result = yield from work
    except Exception as exc:
        yield TraceEvent(f"{name}.failed", {"exception": exc})
        raise
    value: object = result
    if isinstance(result, Head):
        value = (result.http_version, result.status, result.reason, result.headers)
    yield TraceEvent(f"{name}.complete", {"return_value": value})
    return result


def _send(stream: object, data: bytes) -> Script[None]:
    if data:
        yield Write(stream, data)


def _receive(stream: object, request: Request) -> Script[Head]:
    # Leniently: a proxy that writes a field badly has refused or agreed all the same.
    reader = HeadReader(request.method, request.headers, lenient=True, peer=request.url.origin)
    while True:
        data = yield Read(stream, READ_SIZE)
        if not data:
            reader.feed_eof()
        head = reader.feed(data)
        if head is not None:
            return head


def _read_refusal(stream: object, head: Head) -> Script[bytes]:
    """Return the body of a refusal as far as it comes soon, MAX_REFUSAL bytes at most."""
    reader = head.body
    body = b""
    try:
        body += reader.feed(head.rest)
        for _ in range(MAX_REFUSAL_READS):
            if reader.done or len(body) >= MAX_REFUSAL:
                break
            data = yield Read(stream, READ_SIZE, REFUSAL_PATIENCE)
            if not data:
                break
            body += reader.feed(data)
    except (NetworkError, ProtocolError, TimeoutException) as exc:
        if isinstance(exc, RemoteProtocolError):
            body += exc.payload
        # That it refused is known; what is wrong with its words is not worth an error.
    return body[:MAX_REFUSAL]


def _refused(what: str, head: Head, body: bytes) -> ProxyError:
    reason = head.reason.decode("ascii", "backslashreplace")
    answer = f"{head.status} {reason}".rstrip()
    error = explained(ProxyError(answer), f"{what} was refused: {answer}")
    error.status, error.headers, error.body = head.status, head.headers, body
    return error
