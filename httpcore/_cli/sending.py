"""The parts of a request before it is sent, and the request that follows a response.

Owns: proxies, header fields, files as bodies, cookies, Digest, the rules of redirects. Must not
know: what is shown of any of it, and in which order things happen; `run` does.

What is secret goes to the origin that it was given for and to no other: not along a redirect to
another host, port or scheme. That holds for ``-u``, for every header field that may be a secret
(`_redact.is_secret`), and for the client certificate.

Sources: RFC 9110 section 15.4 (redirects), RFC 7616 (Digest), curl(1) for the proxy variables.
"""

from __future__ import annotations

import os
import re
import warnings
from base64 import b64encode
from collections.abc import Callable, Sequence
from email.message import Message
from types import SimpleNamespace
from typing import Any, BinaryIO
from urllib.parse import quote

import httpcore

from .._redact import is_secret
from ..rules import HTTP11_ONLY
from .decoding import accepted
from .exits import Exit, Problem, unwritable
from .reading import Auth, Fields, Options, read_headers, read_proxy, to_bytes, to_http
from .report import Leg
from .text import of_bytes

# Fields that speak of a body, and go where it goes.
ABOUT_BODIES = frozenset({b"content-type", b"content-length", b"content-encoding"})

# Scheme and host, where there are any, and the rest.
_LOCATION: Any = re.compile(rb"((?:(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*)?)(?s:(.*))").match
# A part of WWW-Authenticate with which a challenge begins: a scheme, and maybe its first parameter.
_CHALLENGE: Any = re.compile(r"([^\s=\",]+)(?:\s+(.*))?", re.DOTALL).fullmatch
_PRINTABLE = bytes(range(0x21, 0x7F))


def proxy_for(url: httpcore.URL, options: Options) -> httpcore.Proxy | None:
    """Return the proxy to go through: of ``--proxy``, else of ``http_proxy``, ``https_proxy``,
    ``all_proxy`` and ``no_proxy`` in the environment, as for curl."""
    proxy: httpcore.Proxy | None = options.proxy or None
    if options.proxy is None and options.unix_socket is None:
        found = _proxies_of_environment()
        text = found.get(url.scheme.decode("ascii")) or found.get("all")
        host, port = url.origin.host.decode("ascii"), url.origin.port
        if text and not httpcore.bypasses_proxy(found.get("no", ""), host, port):
            proxy = read_proxy(text, "the environment's proxy")
    if proxy is not None and proxy.url.scheme == b"https" and proxy.ssl_context is None:
        verify = options.verify or True  # -k is about the server
        proxy.ssl_context = httpcore.create_ssl_context(verify, protocols=HTTP11_ONLY)
    return proxy


def _proxies_of_environment() -> dict[str, str]:
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}
    from urllib.request import getproxies_environment  # takes a while to load

    return getproxies_environment()


def first_fields(options: Options) -> Fields:
    """Return the header fields for the origin that the command names: what the command adds, and
    what was asked for."""
    authorization = None
    if options.bearer is not None:
        authorization = b"Bearer " + to_bytes(options.bearer)
    elif options.auth and not options.digest:
        authorization = b"Basic " + b64encode(b":".join(options.auth))
    own = {
        b"User-Agent": f"httpcore/{httpcore.__version__}".encode("ascii"),
        b"Accept": b"*/*",
        b"Accept-Encoding": accepted() if options.compressed else None,
        b"Authorization": authorization,
        b"Range": b"bytes=%d-" % options.offset if options.offset else None,
        b"Content-Type": options.body and options.body.content_type,
    }
    return read_headers(own, options.header)


def fields_for(leg: Leg, options: Options, fields: Fields, cookies: bytes) -> Fields:
    """Return those of `fields` that may go with `leg`, and one Cookie, with `cookies` too."""
    found, values = [], [cookies] if cookies else []
    for name, value in fields:
        plain = name.lower()
        if not leg.trusted and (is_secret(name) or plain == b"host"):
            continue
        if plain == b"cookie":
            values.append(value)
        elif leg.body or not options.body or plain not in ABOUT_BODIES:
            found.append((name, value))
    return [*found, (b"Cookie", b"; ".join(values))] if values else found


class Upload:
    """Files that are read as one, from where they stand; the body of `leg`.

    Attributes: `moved`: is called with how many of the bytes have been read.
    """

    moved: Callable[[int], None]

    def __init__(self, leg: Leg, files: Sequence[BinaryIO]) -> None:
        self._leg, self._files, self._rest = leg, files, list(files)

    def tell(self) -> int:
        """Return the position. Raises OSError for a pipe, which has none."""
        return sum(file.tell() for file in self._files)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go back to the start, or to the end."""
        for file in self._files:
            end = file.seek(0, os.SEEK_END)
            if whence == os.SEEK_SET:
                offset -= file.seek(min(offset, end))
        self._leg.sent, self._rest = 0, list(self._files)
        return self.tell()

    def read(self, size: int) -> bytes:
        data = b""
        while self._rest and not data:
            data = self._rest[0].read(size)
            if not data:
                del self._rest[0]  # not asked again: it may grow
        self._leg.sent += len(data)
        self.moved(self._leg.sent)
        return data


class Cookies:
    """The cookies of one run, over all its URLs; from the files `sources` to the file `target`, if
    there is one. Which cookie goes where, the jar decides."""

    def __init__(self, sources: Sequence[str], target: str | None) -> None:
        from http.cookiejar import LoadError, MozillaCookieJar  # few runs need it
        from urllib.request import Request

        self._jar, self._target, self._request = MozillaCookieJar(), target, Request
        for source in sources:
            if not source or (source == target and not os.path.exists(source)):
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # it warns, with a traceback, before it raises
                    self._jar.load(source, ignore_discard=True)
            except (LoadError, ValueError) as exc:
                text = f"{source} is no file of cookies (Netscape format)"
                raise Problem(Exit.READ, text) from exc

    def field(self, url: httpcore.URL) -> bytes:
        """Return the value of Cookie for a request to `url`; empty for none."""
        request = self._request(str(url))  # opens nothing: the jar reads the URL
        self._jar.add_cookie_header(request)
        return request.get_header("Cookie", "").encode("utf-8")

    def take(self, url: httpcore.URL, response: httpcore.Response) -> None:
        """Keep what a response to a request for `url` sets."""
        fields = Message()
        for name, value in response.headers:
            if name.lower().startswith(b"set-cookie"):
                fields[name.decode("latin-1")] = of_bytes(value)
        shown: Any = SimpleNamespace(info=lambda: fields)  # all that the jar asks for
        self._jar.extract_cookies(shown, self._request(str(url)))

    def save(self) -> None:
        """Write the file, if one was asked for, so that only the user may read it."""
        if self._target is not None:
            try:
                os.close(os.open(self._target, os.O_WRONLY | os.O_CREAT, 0o600))
                self._jar.save(self._target, ignore_discard=True)
            except OSError as exc:
                raise unwritable(self._target, exc) from exc


def digest(auth: Auth, response: httpcore.Response, method: str, url: httpcore.URL) -> bytes | None:
    """Return the Authorization that a 401 asks for by Digest; None where it asks for none."""
    values = [v for name, v in response.headers if name.lower() == b"www-authenticate"]
    challenges = [each for value in values for each in _digest_challenges(of_bytes(value))]
    if response.status != 401 or not challenges:
        return None
    from requests.auth import HTTPDigestAuth
    from requests.utils import parse_dict_header

    read: Any = parse_dict_header

    class Challenged(HTTPDigestAuth):
        def answer(self: Any, parts: Any) -> Any:
            if parts.get("realm") is None or parts.get("nonce") is None:
                return None  # missing, or a name without a value
            self.init_per_thread_state()
            self._thread_local.chal = parts
            return self.build_digest_header(method, str(url))

    asked = Challenged(*(part.decode("utf-8") for part in auth))
    made = next(filter(None, (asked.answer(read(each)) for each in challenges)), None)
    if made is None:
        raise httpcore.RemoteProtocolError("the server's Digest challenge cannot be answered")
    return bytes(made, "utf-8")


def _digest_challenges(value: str) -> list[str]:
    """Return the parameters of each Digest challenge in a field's value, which may have several
    challenges of several schemes."""
    from urllib.request import parse_http_list  # takes a while to load

    found: list[list[str]] = []
    for part in parse_http_list(value):
        begins = _CHALLENGE(part)
        if begins or not found:
            found.append([begins[1].lower(), begins[2] or ""] if begins else ["", part])
        else:
            found[-1].append(part)
    return [", ".join(parts) for scheme, *parts in found if scheme == "digest"]


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

    What may not stand in a request is percent-encoded, as browsers do it: in what follows the host,
    that is blanks, control characters and bytes outside of ASCII, whatever their encoding; a host
    outside of ASCII goes through IDNA.
    """
    front, rest = _LOCATION(location.strip()).groups()
    text = front.decode("utf-8", "surrogateescape") + quote(rest, safe=_PRINTABLE)
    what = f"redirected to {of_bytes(location)!r}, which cannot be requested: "
    # RFC 9110 section 10.2.2: relative to what was asked for.
    return to_http(text, Exit.PROTOCOL, what, base=str(url))
