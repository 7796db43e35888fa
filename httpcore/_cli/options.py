"""What was asked for, read and checked.

Owns: `Options`, and how texts of the command line become a URL, header fields, a body, credentials.
Must not know: click, terminals, connections. What it finds wrong is a `Problem` with `Exit.USAGE`,
or `Exit.READ` for a file.

Sources: curl(1) for the spellings, RFC 3986 section 3 (URL), RFC 7617 (Basic).
"""

from __future__ import annotations

import json
import os
import re
import sys
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpcore

from .._url import MAX_PORT, read_credentials, split_user_info, to_url
from .exits import Exit, Problem, unreadable
from .text import of_bytes

FORM = b"application/x-www-form-urlencoded"
JSON = b"application/json"
STDIN = STDOUT = FROM_SIZE = "-"
# When there are colours.
NEVER, AUTO, ALWAYS = "never", "auto", "always"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_RESOLVE = re.compile(r"(?P<host>\[[^\]]*\]|[^:]+):(?P<port>[0-9]+):(?P<address>.+)", re.DOTALL)

# What the package raises for a URL that is none.
UNREADABLE = (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol, TypeError, ValueError)

Auth = tuple[bytes, bytes]


@dataclass(frozen=True)
class Body:
    """What is to be sent: `data`, the file at `path` ("-": standard input), or all of `parts`."""

    data: bytes | None = field(default=None, repr=False)
    path: str | None = None
    content_type: bytes | None = None
    parts: Sequence[bytes | str] = field(default=(), repr=False)  # bytes, and paths of files

    @property
    def moves_files(self) -> bool:
        return bool(self.path or self.parts)


@dataclass(frozen=True)
class Options:
    """All that one run has to do. Times are seconds, None for no limit."""

    url: httpcore.URL
    method: str = "GET"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list, repr=False)
    without: frozenset[bytes] = frozenset()  # names, in lower case, of fields not to send
    auth: Auth | None = field(default=None, repr=False)
    digest: bool = False  # `auth` is for Digest, once the server asks
    bearer: bytes | None = field(default=None, repr=False)
    body: Body | None = None
    # Connection
    http1: bool = True
    http2: bool = False
    proxy: httpcore.Proxy | None = None
    environment_proxies: bool = True
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    resolve: dict[str, str] = field(default_factory=dict)
    unix_socket: str | None = None
    # Limits
    max_time: float | None = None
    connect_timeout: float | None = None
    retry: int = 0
    follow: bool = False
    # Output
    output: str | None = None
    resume: str | None = None  # the offset to begin at; "-": the size of the file `output`
    write_out: str | None = None
    include: bool = False
    head: bool = False  # show the head of the response, and no more
    fail: bool = False
    compressed: bool = False
    verbose: bool = False
    trace: bool = False
    timing: bool = False
    json: bool = False

    def offset(self) -> int | None:
        """Return the offset of the first byte to ask for; None for the whole body."""
        if self.resume != FROM_SIZE:
            return None if self.resume is None else int(self.resume)
        found = self.output is not None and os.path.exists(self.output)
        return os.path.getsize(str(self.output)) if found else None


def usage(text: str) -> Problem:
    return Problem(Exit.USAGE, text)


def read_url(text: str, query: Sequence[str] = ()) -> tuple[httpcore.URL, Auth | None]:
    """Read a URL as people type it, and the credentials in it.

    Without a scheme it is http, as for curl and HTTPie; ``:8080/path`` is on this machine, as for
    HTTPie. `query` is added to its query.
    """
    if text.startswith(":"):
        port, slash, path = text[1:].partition("/")
        text = f"localhost{':' + port if port else ''}{slash}{path}"
    if not _SCHEME.match(text):
        text = f"http://{text}"
    text, info = split_user_info(text)
    if query:
        text, hash, fragment = text.partition("#")
        text += ("&" if "?" in text else "?") + "&".join(query) + hash + fragment
    auth = None if info is None else read_credentials(info)
    try:
        url = to_url(text)
    except UNREADABLE as exc:
        raise usage(str(exc)) from exc
    if url.scheme not in (b"http", b"https"):
        raise usage(f"the URL scheme {url.scheme.decode()!r} is not supported; use http or https")
    if url.port is not None and url.port > MAX_PORT:
        raise usage(f"the port {url.port} is above {MAX_PORT}")
    return url, auth


def read_headers(
    texts: Sequence[str],
) -> tuple[list[tuple[bytes, bytes]], frozenset[bytes]]:
    """Read the fields of ``-H``, and the names of those that are not to be sent.

    ``Name: value``; ``Name;`` for an empty value; ``Name:`` takes away what would be sent, as curl.
    """
    fields: list[tuple[bytes, bytes]] = []
    without = set()
    for number, text in enumerate(texts, 1):
        data = to_bytes(text)
        name, colon, value = data.partition(b":")
        if colon and value.strip(b" \t"):
            fields.append((name, value.strip(b" \t")))
        elif colon:
            without.add(name.lower())
        elif data.endswith(b";"):
            fields.append((data[:-1], b""))
        else:
            # Not shown: who forgets the colon may have typed a secret.
            raise usage(f"header number {number} is neither 'Name: value' nor 'Name;' nor 'Name:'")
    return fields, frozenset(without)


def read_auth(text: str, ask: Callable[[str], str]) -> Auth:
    """Read ``user:password``; without a colon, `ask(user)` is called for the password."""
    user, colon, password = text.partition(":")
    return to_bytes(user), to_bytes(password if colon else ask(user))


def basic(auth: Auth) -> bytes:
    """Return the value of Authorization for `auth`."""
    return b"Basic " + b64encode(b":".join(auth))


def read_resolve(texts: Sequence[str]) -> dict[str, str]:
    """Read ``HOST:PORT:ADDRESS`` each, as ``{"HOST:PORT": "ADDRESS"}``."""
    found = {}
    for text in texts:
        match = _RESOLVE.fullmatch(text)
        if match is None:
            raise usage(f"--resolve takes HOST:PORT:ADDRESS, not {text!r}")
        found[f"{match['host']}:{match['port']}"] = match["address"]
    return found


def read_proxy(text: str, what: str = "--proxy") -> httpcore.Proxy:
    """Read a proxy's URL, http where it has no scheme; `what` names it where it cannot be."""
    if not _SCHEME.match(text):
        text = f"http://{text}"
    try:
        proxy = httpcore.Proxy(text)
    except UNREADABLE as exc:
        raise usage(f"{what}: {exc}") from exc
    if proxy.url.scheme not in PROXY_SCHEMES:
        known = ", ".join(scheme.decode() for scheme in PROXY_SCHEMES)
        name = proxy.url.scheme.decode()
        raise usage(f"{what}: the scheme {name!r} is not supported; {known} are")
    return proxy


PROXY_SCHEMES = (b"http", b"https", b"socks5", b"socks5h", b"socks4", b"socks4a")


def read_json(text: str) -> Body:
    """Read a body of JSON, which is checked."""
    content = read_data(text)
    try:
        json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise usage(f"--data-json is no JSON: {exc}") from exc
    return Body(content, content_type=JSON)


def read_cookies(texts: Sequence[str]) -> tuple[list[bytes], str | None]:
    """Read ``-b``: the cookies that are spelled out, and the one file."""
    files = [text for text in texts if "=" not in text]
    if len(files) > 1:
        raise usage("-b reads one file of cookies")
    return [to_bytes(text) for text in texts if "=" in text], files[0] if files else None


def file_name(url: httpcore.URL) -> str:
    """Return the name of a file for ``-O``: the last part of the URL's path, as it is there."""
    name = of_bytes(bytes(url.target)).partition("?")[0].replace("\\", "/").rpartition("/")[2]
    if name in ("", ".", ".."):
        raise usage(f"-O needs a file name at the end of the URL's path; -o FILE gives one ({url})")
    return name


def read_data(text: str) -> bytes:
    """Return the text itself, or for ``@file`` and ``@-`` what is in it."""
    if not text.startswith("@"):
        return to_bytes(text)
    path = text[1:]
    try:
        if path == STDIN:
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as exc:
        raise unreadable(path, exc) from exc


def to_bytes(text: str) -> bytes:
    """Return the bytes that were typed (Python decodes them, and what is no UTF-8 as
    surrogates)."""
    return text.encode("utf-8", "surrogateescape")
