"""Sending requests: from `Options` to a pool, and from one request to the next where a server says
so.

Owns: the pool, TLS contexts, proxies, the request's body, the rules of redirects. Must not know:
what is shown of any of it.

What is secret goes to the origin that it was given for and to no other: not along a redirect to
another host, port or scheme. That holds for ``-u``, for every header field that may be a secret
(`_redact.is_secret`), and for the client certificate.

Sources: RFC 9110 section 15.4 (redirects), curl(1) for the proxy variables.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote, urljoin
from urllib.request import getproxies_environment

import httpcore

from .._core.h1 import Headers
from .._models import content_length
from .._redact import is_secret
from .._settings import read_protocols
from .._url import to_url
from ..rules import HTTP11_ONLY
from .decoding import accepted
from .digest import answer, challenge_of
from .exits import Exit, Problem, unreadable
from .options import (
    STDIN,
    UNREADABLE,
    Body,
    Options,
    basic,
    read_proxy,
    to_bytes,
    usage,
)
from .terminal import Terminal
from .text import of_bytes
from .timings import Details

if TYPE_CHECKING:
    from .cookies import Cookies

# Redirects that are followed at most; as many as browsers.
MAX_REDIRECTS = 20
# Seconds between the attempts to open one connection, in all; curl's five minutes outlast people.
CONNECT_TIMEOUT = 60.0
# Statuses that a second request may not get, as for curl's --retry.
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

# Fields that speak of a body, and go where it goes.
ABOUT_BODIES = frozenset({b"content-type", b"content-length", b"content-encoding"})

_AUTHORITY = re.compile(rb"(?:(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*)?")
_PRINTABLE = bytes(range(0x21, 0x7F))

Trace = Callable[[str, Details], None]


@dataclass(frozen=True)
class Leg:
    """One request of a run.

    Attributes:
        trusted: it goes to the origin that the command names.
    """

    method: str
    url: httpcore.URL
    body: Body | None
    trusted: bool = True


@dataclass
class Sender:
    """Sends the legs of one run. A context manager.

    Attributes:
        trace: is told each trace event.
        informational: is told each 1xx response; or None.
        cookies: where they come from and are kept; or None.
        sent: bytes of the last request's body.
    """

    options: Options
    terminal: Terminal
    pool: httpcore.ConnectionPool
    trace: Trace
    informational: Callable[[int, Headers], None] | None
    cookies: Cookies | None = None
    sent: int = 0
    _authorization: bytes | None = None
    _files: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _end: float | None = None
    _challenged: tuple[str, httpcore.URL] | None = None

    def __post_init__(self) -> None:
        options = self.options
        if options.bearer is not None:
            self._authorization = b"Bearer " + options.bearer
        elif options.auth is not None and not options.digest:
            self._authorization = basic(options.auth)

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._files.close()

    def send(self, leg: Leg, extensions: dict[str, object]) -> httpcore.Response:
        """Return the response to `leg`, its body unread; `extensions` are those of `prepare`."""
        extensions = {**extensions, "timeout": self._timeout()}
        headers, body = self._headers(leg), leg.body

        def send(content: Any) -> httpcore.Response:
            return self.pool.request(
                *(to_bytes(leg.method), leg.url),
                headers=headers,
                content=content,
                stream=True,
                extensions=extensions,
            )

        if body is not None and body.moves_files:
            return self._send_file(send, body)
        content = None if body is None else body.data
        self.sent = len(content or b"")
        return send(content)

    def answers(self, leg: Leg, response: httpcore.Response) -> bool:
        """Take a server's response; return whether `leg` is to be sent again, with what it
        demanded."""
        if self.cookies is not None:
            self.cookies.take(leg.url, response)
        options = self.options
        if not options.digest or options.auth is None or not leg.trusted:
            return False
        challenge = challenge_of(response)
        if challenge is None or self._challenged == (leg.method, leg.url):
            return False
        self._challenged = leg.method, leg.url
        self._authorization = answer(options.auth, challenge, leg.method, leg.url)
        _check_body_again(leg, response)
        return True

    def _send_file(self, send: Callable[[Any], httpcore.Response], body: Body) -> httpcore.Response:
        from .progress import Meter, MeteredFile

        path = body.path
        file = self._open(path) if path else self._join(body.parts)
        name = "standard input" if path == STDIN else os.path.basename(path or "form")
        meter = Meter(self.terminal, name, content_length(file))
        # Where no bar is drawn, the core gets the file itself, which the system may send.
        draws = self.terminal.has_progress or path == STDIN
        content: BinaryIO | MeteredFile = MeteredFile(file, meter) if draws else file
        start = file.tell() if file.seekable() else 0
        with meter:
            try:
                return send(content)
            except OSError as exc:  # of the file: those of the network are the package's own
                raise unreadable(path or "a file of -F", exc) from exc
            finally:
                self.sent = file.tell() - start if file.seekable() else meter.count
                meter.at(self.sent)

    def _open(self, path: str) -> BinaryIO:
        if path == STDIN:
            return sys.stdin.buffer
        try:
            return self._files.enter_context(open(path, "rb"))
        except (OSError, ValueError) as exc:
            raise unreadable(path, exc) from exc

    def _join(self, parts: Sequence[bytes | str]) -> BinaryIO:
        from .forms import Joined

        files = [
            io.BytesIO(each) if isinstance(each, bytes) else self._open(each) for each in parts
        ]
        return cast(BinaryIO, io.BufferedReader(Joined(files)))

    def _headers(self, leg: Leg) -> list[tuple[bytes, bytes]]:
        """Return what the command adds, then what was asked for; of the secrets only what may go
        there."""
        options = self.options
        own = {
            b"User-Agent": f"httpcore/{httpcore.__version__}".encode("ascii"),
            b"Accept": b"*/*",
        }
        if options.compressed:
            own[b"Accept-Encoding"] = accepted()
        if self._authorization is not None and leg.trusted:
            own[b"Authorization"] = self._authorization
        if (offset := options.offset()) is not None:
            own[b"Range"] = b"bytes=%d-" % offset
        if leg.body is not None and leg.body.content_type is not None:
            own[b"Content-Type"] = leg.body.content_type
        asked = [
            (name, value)
            for name, value in options.headers
            if (leg.trusted or not (is_secret(name) or name.lower() == b"host"))
            and (leg.body is not None or name.lower() not in ABOUT_BODIES or options.body is None)
        ]
        without = options.without | {name.lower() for name, _ in asked}
        kept = [line for line in own.items() if line[0].lower() not in without]
        return _with_cookies(kept + asked, self.cookies.field(leg.url) if self.cookies else b"")

    def prepare(self, leg: Leg) -> dict[str, Any]:
        """Read what has to be there before `leg` can be sent, and is no part of how long that
        takes."""
        options = self.options
        extensions: dict[str, Any] = {"trace": self.trace, "proxy": self._proxy_for(leg.url)}
        if self.informational is not None:
            extensions["informational"] = self.informational
        if options.unix_socket is not None:
            extensions["uds"] = options.unix_socket
        if leg.url.scheme == b"https":
            cert = options.cert if leg.trusted else None
            offered = read_protocols(options.http1, options.http2)
            extensions["ssl_context"] = tls_context(options.verify, cert, offered)
        return extensions

    def _timeout(self) -> dict[str, float | None]:
        """Return the limits of the next request; the clock of all begins with the first."""
        connect, limit = self.options.connect_timeout, self.options.max_time
        left = None
        if limit is not None:
            now = monotonic()
            self._end = now + limit if self._end is None else self._end
            left = self._end - now
            if left <= 0:
                text = f"the total of {limit:g} s is over, between two requests"
                raise Problem(Exit.TIMEOUT, text)
        return {"connect": CONNECT_TIMEOUT if connect is None else connect, "total": left}

    def _proxy_for(self, url: httpcore.URL) -> httpcore.Proxy | None:
        """Return the proxy to go through: of ``--proxy``, else of the environment."""
        options = self.options
        if options.unix_socket is not None:
            return None
        proxy = options.proxy
        if proxy is None and options.environment_proxies:
            proxy = environment_proxy(url)
        if proxy is not None and proxy.url.scheme == b"https" and proxy.ssl_context is None:
            trusted = options.verify if isinstance(options.verify, str) else True
            proxy.ssl_context = tls_context(trusted, None, HTTP11_ONLY)
        return proxy


def make_pool(options: Options) -> httpcore.ConnectionPool:
    """Return the pool that the options ask for."""
    count = options.retry
    # One command is no storm: the budget of retries need not hold it back.
    retries = httpcore.RetryConfig(*(count, count, count, count), statuses=TRANSIENT, reserve=count)
    try:
        return httpcore.ConnectionPool(
            http1=options.http1,
            http2=options.http2,
            retries=retries if count else 0,
            resolve=options.resolve,
        )
    except ValueError as exc:  # an address of --resolve that is none
        raise usage(str(exc)) from exc


def _with_cookies(fields: list[tuple[bytes, bytes]], kept: bytes) -> list[tuple[bytes, bytes]]:
    """Return `fields` with one Cookie field, of those that were spelled out and those `kept`."""
    values = [value for name, value in fields if name.lower() == b"cookie"]
    values += [kept] if kept else []
    others = [each for each in fields if each[0].lower() != b"cookie"]
    return [*others, (b"Cookie", b"; ".join(values))] if values else fields


def next_leg(leg: Leg, response: httpcore.Response, first: httpcore.URL) -> Leg | None:
    """Return what the server asks for in place of `leg`; None where it does not.

    Raises Problem for a place that cannot be gone to, or a body that cannot be sent again.
    """
    places = [value for name, value in response.headers if name.lower() == b"location"]
    if response.status not in (301, 302, 303, 307, 308) or not places or not places[0].strip():
        return None  # to browsers and curl, an empty place is none
    url = _place(leg.url, places[0])
    leg = replace(leg, url=url, trusted=url.origin == first.origin)
    becomes_get = response.status == 303 or (response.status < 303 and leg.method == "POST")
    if becomes_get and leg.method != "HEAD":
        return replace(leg, method="GET", body=None)
    _check_body_again(leg, response)
    return leg


def _check_body_again(leg: Leg, response: httpcore.Response) -> None:
    if leg.body is not None and leg.body.path == STDIN:
        text = f"{response.status} asks for the body again, but standard input is read only once"
        raise Problem(Exit.READ, text)


def _escaped(location: bytes) -> str:
    """Return a Location with what may not stand in a request percent-encoded, as curl does it.

    In what follows the host, that is blanks (``+`` in a query), control characters and bytes
    outside of ASCII, whatever their encoding; a host outside of ASCII goes through IDNA.
    """
    match = _AUTHORITY.match(location)
    assert match is not None
    path, mark, query = location[match.end() :].partition(b"?")
    escaped = quote(path + mark + query.replace(b" ", b"+"), safe=_PRINTABLE)
    return match[0].decode("utf-8", "surrogateescape") + escaped


def _place(url: httpcore.URL, location: bytes) -> httpcore.URL:
    shown = of_bytes(location)
    try:
        # RFC 9110 section 10.2.2: relative to what was asked for.
        found = to_url(urljoin(bytes(url).decode("ascii"), _escaped(location.strip())))
    except UNREADABLE as exc:
        raise Problem(Exit.PROTOCOL, f"redirected to {shown!r}, which is no URL: {exc}") from exc
    if found.scheme not in (b"http", b"https"):
        raise Problem(Exit.PROTOCOL, f"redirected to {shown!r}, which is not http or https")
    return found


def environment_proxy(url: httpcore.URL) -> httpcore.Proxy | None:
    """Return what ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` say, as for
    curl."""
    found = getproxies_environment()
    origin = url.origin
    if httpcore.bypasses_proxy(found.get("no", ""), origin.host.decode("ascii"), origin.port):
        return None
    text = found.get(url.scheme.decode("ascii")) or found.get("all")
    return read_proxy(text, "the environment's proxy") if text else None


def tls_context(
    verify: bool | str, cert: str | tuple[str, str] | None, protocols: tuple[str, ...]
) -> ssl.SSLContext:
    """Return the context for these settings; Problem for files that cannot be used."""
    try:
        return httpcore.create_ssl_context(verify, cert, protocols=protocols)
    except ssl.SSLError as exc:
        files = [verify] if isinstance(verify, str) else []
        files += [cert] if isinstance(cert, str) else list(cert or ())
        text = f"the certificates cannot be used ({', '.join(files)}): {exc}"
        raise Problem(Exit.READ, text) from exc
    except OSError as exc:
        raise Problem(Exit.READ, str(exc)) from exc
