"""The parts of a request before it is sent, and the request that follows a response.

Owns: the pool, TLS contexts, proxies, files as bodies, cookies, Digest, the rules of redirects.
Must not know: what is shown of any of it, and in which order things happen; `run` does.

Sources: RFC 9110 section 15.4 (redirects), RFC 7616 (Digest), curl(1) for the proxy variables.
"""

from __future__ import annotations

import os
import re
import ssl
import warnings
from collections.abc import Callable, Sequence
from email.message import Message
from types import SimpleNamespace
from typing import Any, BinaryIO
from urllib.parse import quote, urljoin
from urllib.request import Request, getproxies_environment

import httpcore

from .._url import to_url
from ..rules import HTTP11_ONLY
from .exits import Exit, Problem, unreadable, unwritable, usage
from .reading import UNREADABLE, Auth, Options, read_proxy
from .report import Leg
from .text import of_bytes

# Statuses that a second request may not get, as for curl's --retry.
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

# Scheme and host, where there are any, and the rest.
_LOCATION: Any = re.compile(rb"((?:(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*)?)(?s:(.*))").match
_PRINTABLE = bytes(range(0x21, 0x7F))


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


def tls_context(
    verify: bool | str, cert: str | tuple[str, str] | None, protocols: tuple[str, ...]
) -> ssl.SSLContext:
    """Return the context for these settings; Problem for files that cannot be used."""
    try:
        return httpcore.create_ssl_context(verify, cert, protocols=protocols)
    except OSError as exc:  # `ssl.SSLError` is one; both name the file
        raise Problem(Exit.READ, str(exc)) from exc


def proxy_for(url: httpcore.URL, options: Options) -> httpcore.Proxy | None:
    """Return the proxy to go through: of ``--proxy``, else of ``http_proxy``, ``https_proxy``,
    ``all_proxy`` and ``no_proxy`` in the environment, as for curl."""
    proxy: httpcore.Proxy | None = options.proxy or None
    if options.proxy is None and options.unix_socket is None:
        found, origin = getproxies_environment(), url.origin
        text = found.get(url.scheme.decode("ascii")) or found.get("all")
        names, host = found.get("no", ""), origin.host.decode("ascii")
        if text and not httpcore.bypasses_proxy(names, host, origin.port):
            proxy = read_proxy(text, "the environment's proxy")
    if proxy is not None and proxy.url.scheme == b"https" and proxy.ssl_context is None:
        trusted = options.verify if isinstance(options.verify, str) else True
        proxy.ssl_context = tls_context(trusted, None, HTTP11_ONLY)
    return proxy


class Upload:
    """Several files, read as one, from where the first of them stands.

    Attributes:
        length: bytes in all.
        moved: is called with how many of them were read.
    """

    moved: Callable[[int], None]

    def __init__(self, files: Sequence[BinaryIO]) -> None:
        self._start = self._at = files[0].tell()
        self._files = [(file, file.seek(0, os.SEEK_END)) for file in files]
        self.length = sum(size for _, size in self._files) - self._start
        files[0].seek(self._start)

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (self._start + self.length if whence == os.SEEK_END else 0)
        self.moved(max(0, self._at - self._start))
        return self._at

    def read(self, count: int = -1) -> bytes:
        start = 0
        for file, size in self._files:
            left = start + size - self._at
            if left > 0:
                file.seek(self._at - start)
                data = file.read(left if count < 0 else min(count, left))
                self._at += len(data)
                self.moved(self._at - self._start)
                return data
            start += size
        return b""


class Cookies:
    """The cookies of one run, over all its URLs; from the file `source` to the file `target`, if
    there is one. Which cookie goes where, the jar decides."""

    def __init__(self, source: str | None, target: str | None) -> None:
        from http.cookiejar import LoadError, MozillaCookieJar  # few runs need it

        self._jar, self._target = MozillaCookieJar(), target
        if source is None or (source == target and not os.path.exists(source)):
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the jar warns, with a traceback, before it raises
                self._jar.load(source, ignore_discard=True)
        except LoadError as exc:
            raise Problem(Exit.READ, f"{source} is no file of cookies (Netscape format)") from exc
        except (OSError, ValueError) as exc:
            raise unreadable(source, exc) from exc

    def field(self, url: httpcore.URL) -> bytes:
        """Return the value of Cookie for a request to `url`; empty for none."""
        request = Request(str(url))  # noqa: S310 - opens nothing: the jar reads the URL
        self._jar.add_cookie_header(request)
        return request.get_header("Cookie", "").encode("utf-8")

    def take(self, url: httpcore.URL, response: httpcore.Response) -> None:
        """Keep what a response to a request for `url` sets."""
        fields = Message()
        for name, value in response.headers:
            if name.lower().startswith(b"set-cookie"):
                fields[name.decode("latin-1")] = of_bytes(value)
        shown: Any = SimpleNamespace(info=lambda: fields)  # all that the jar asks for
        self._jar.extract_cookies(shown, Request(str(url)))  # noqa: S310 - as above

    def save(self) -> None:
        """Write the file, if one was asked for, so that only the user may read it."""
        if self._target is None:
            return
        try:
            os.close(os.open(self._target, os.O_WRONLY | os.O_CREAT, 0o600))
            self._jar.save(self._target, ignore_discard=True)
        except (OSError, ValueError) as exc:
            raise unwritable(self._target, exc) from exc


def digest(auth: Auth, response: httpcore.Response, method: str, url: httpcore.URL) -> bytes | None:
    """Return the Authorization that a 401 asks for by Digest; None where it asks for none."""
    values = [v for name, v in response.headers if name.lower() == b"www-authenticate"]
    challenges = [of_bytes(value).strip().partition(" ") for value in values]
    challenge = next((rest for scheme, _, rest in challenges if scheme.lower() == "digest"), None)
    if response.status != 401 or challenge is None:
        return None
    try:
        from requests.auth import HTTPDigestAuth
        from requests.utils import parse_dict_header
    except ModuleNotFoundError as exc:
        raise usage(
            f"--digest needs the package {exc.name!r}: pip install 'httpcore[requests]'"
        ) from exc

    class Challenged(HTTPDigestAuth):
        def answer(self) -> str | None:
            self.init_per_thread_state()
            parts = parse_dict_header(challenge)  # type: ignore[no-untyped-call]
            if parts.get("realm") is None or parts.get("nonce") is None:
                return None  # missing, or a name without a value
            self._thread_local.chal = parts  # type: ignore[attr-defined]
            made: str | None = self.build_digest_header(  # type: ignore[no-untyped-call]
                method, str(url)
            )
            return made

    made = Challenged(*(part.decode("utf-8") for part in auth)).answer()
    if made is None:
        raise httpcore.RemoteProtocolError("the server's Digest challenge cannot be answered")
    return made.encode("utf-8")


def next_leg(leg: Leg, response: httpcore.Response, first: httpcore.URL) -> Leg | None:
    """Return what the server asks for in place of `leg`; None where it does not.

    Raises Problem for a place that cannot be gone to.
    """
    places = [value for name, value in response.headers if name.lower() == b"location"]
    if response.status not in (301, 302, 303, 307, 308) or not places or not places[0].strip():
        return None  # to browsers and curl, an empty place is none
    url = _place(leg.url, places[0])
    trusted = url.origin == first.origin
    becomes_get = response.status == 303 or (response.status < 303 and leg.method == "POST")
    if becomes_get and leg.method != "HEAD":
        return Leg("GET", url, None, trusted)
    return Leg(leg.method, url, leg.body, trusted)


def _place(url: httpcore.URL, location: bytes) -> httpcore.URL:
    """Return where a Location leads to.

    What may not stand in a request is percent-encoded, as curl does it: in what follows the host,
    that is blanks (``+`` in a query), control characters and bytes outside of ASCII, whatever their
    encoding; a host outside of ASCII goes through IDNA.
    """
    shown, (front, rest) = of_bytes(location), _LOCATION(location.strip()).groups()
    path, mark, query = rest.partition(b"?")
    rest = quote(path + mark + query.replace(b" ", b"+"), safe=_PRINTABLE)
    try:
        # RFC 9110 section 10.2.2: relative to what was asked for.
        place = urljoin(bytes(url).decode("ascii"), front.decode("utf-8", "surrogateescape") + rest)
        found = to_url(place)
    except UNREADABLE as exc:
        raise Problem(Exit.PROTOCOL, f"redirected to {shown!r}, which is no URL: {exc}") from exc
    if found.scheme not in (b"http", b"https"):
        raise Problem(Exit.PROTOCOL, f"redirected to {shown!r}, which is not http or https")
    return found
