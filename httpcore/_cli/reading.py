"""Reads the texts of the command line: a URL, header fields, a body, credentials.

Owns: reading and checking each. Must not know: click, terminals, connections. What it finds wrong
is a `Problem` with `Exit.USAGE`, or an OSError for a file.

Sources: curl(1) for the spellings, ``-F`` and ``--data-urlencode``; HTTPie's manual for the items;
RFC 3986 section 3 (URL), RFC 7578 (forms), RFC 7617 (Basic).
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urljoin

import httpcore

from .._url import check_port, read_credentials, split_user_info, to_url
from .exits import Exit, Problem, usage
from .text import of_bytes

FORM = b"application/x-www-form-urlencoded"
JSON = b"application/json"
STDIN = STDOUT = FROM_SIZE = "-"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_RESOLVE = re.compile(r"((?:\[[^\]]*\]|[^:]+):[0-9]+):(.+)", re.DOTALL)
# An item is a name, one of these, and a value; the first that occurs counts, the longest of those
# at one place. No name has what only a URL has before them.
_ITEM = re.compile(r"([^:=@/?[]+)(:=@|=@|:=|==|=|:(?!//)|;$)(.*)", re.DOTALL)

# What the package raises for a URL that is none.
UNREADABLE = (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol, TypeError, ValueError)

Auth = tuple[bytes, bytes]
Fields = list[tuple[bytes, bytes]]


class Options(SimpleNamespace):
    """The options for one URL: each as click has read it, or as what its text means."""

    __repr__ = object.__repr__  # some are secret


@dataclass(frozen=True)
class Body:
    """The body to be sent: all of `parts`, bytes and paths of files ("-": standard input)."""

    parts: Sequence[bytes | str] = field(repr=False)
    content_type: bytes | None = None

    @property
    def files(self) -> list[str]:
        return [part for part in self.parts if isinstance(part, str)]


def to_bytes(text: str) -> bytes:
    """Return the bytes that were typed (Python decodes them, and what is no UTF-8 as
    surrogates)."""
    return text.encode("utf-8", "surrogateescape")


def read_data(text: str) -> bytes:
    """Return the text itself, or for ``@file`` and ``@-`` what is in it."""
    if not text.startswith("@"):
        return to_bytes(text)
    if text == f"@{STDIN}":
        return sys.stdin.buffer.read()
    with open(text[1:], "rb") as file:
        return file.read()


# URLs


def read_url(text: str, query: Sequence[str] = ()) -> tuple[httpcore.URL, Auth | None]:
    """Read a URL as people type it, and the credentials in it.

    Without a scheme it is http, as for curl and HTTPie; ``:8080/path`` is on this machine, as for
    HTTPie. `query` is added to its query.
    """
    if text.startswith(":"):
        text = f"localhost{text}"
    if not _SCHEME.match(text):
        text = f"http://{text}"
    text, info = split_user_info(text)
    if query:
        text = text.partition("#")[0]
        text += ("&" if "?" in text else "?") + "&".join(query)
    return to_http(text), None if info is None else read_credentials(info)


def with_file_name(url: httpcore.URL, path: str | None) -> httpcore.URL:
    """Return `url` with the name of the file at `path` behind it, if it ends with a slash."""
    place, mark, query = bytes(url.target).partition(b"?")
    if path in (None, STDIN) or not place.endswith(b"/"):
        return url
    name = quote(to_bytes(os.path.basename(str(path))), "").encode("ascii")
    target = place + name + mark + query
    return httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=target)


def to_http(text: str, code: Exit = Exit.USAGE, what: str = "", base: str = "") -> httpcore.URL:
    """Return a URL that can be requested, which may be relative to `base`. Raises Problem with
    `code`, whose text begins with `what`."""
    try:
        url = to_url(urljoin(base, text))
        check_port(url.port or 0)
    except UNREADABLE as exc:
        raise Problem(code, f"{what}{exc}") from exc
    if url.scheme not in (b"http", b"https"):
        name = url.scheme.decode()
        raise Problem(code, f"{what}the URL scheme {name!r} is not supported; use http or https")
    return url


def check_digest(auth: Auth) -> None:
    """Refuse credentials that Digest cannot hash; it is defined for UTF-8 (RFC 7616 section 4)."""
    try:
        b":".join(auth).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise usage("--digest needs a user name and a password in UTF-8") from exc


def read_proxy(text: str, what: str = "--proxy") -> httpcore.Proxy:
    """Read a proxy's URL, http where it has no scheme; `what` names it where it cannot be."""
    from .._core.http_proxy import to_hop  # loads the codec, which --help does not need

    try:
        proxy = httpcore.Proxy(text if _SCHEME.match(text) else f"http://{text}")
        to_hop(proxy, proxy.url.scheme)  # refuses what cannot be a proxy
    except UNREADABLE as exc:
        raise usage(f"{what}: {exc}") from exc
    return proxy


def read_resolve(texts: Sequence[str]) -> dict[str, str]:
    """Read ``HOST:PORT:ADDRESS`` each, as ``{"HOST:PORT": "ADDRESS"}``."""
    found = {}
    for text in texts:
        match = _RESOLVE.fullmatch(text)
        if match is None:
            raise usage(f"--resolve takes HOST:PORT:ADDRESS, not {text!r}")
        found[match[1]] = match[2]
    from .._settings import read_resolve as check_resolve  # takes a while to load, likewise

    try:
        check_resolve(found)
    except UNREADABLE as exc:  # what is no address
        raise usage(str(exc)) from exc
    return found


def read_offset(text: str | None, path: str | None) -> int | None:
    """Read ``-C``: the offset of the first byte to ask for, None for the whole body; "-" is the
    size of the file at `path`."""
    if text == FROM_SIZE:
        return os.path.getsize(path) if path is not None and os.path.exists(path) else None
    if text is not None and not re.fullmatch("[0-9]{1,18}", text):
        raise usage(f"--continue-at is '{text:.40}', neither - nor a number of bytes")
    return None if text is None else int(text)


def file_name(url: httpcore.URL) -> str:
    """Return the name of a file for ``-O``: the last part of the URL's path, as it is there."""
    name = of_bytes(bytes(url.target)).partition("?")[0].replace("\\", "/").rpartition("/")[2]
    if name in ("", ".", ".."):
        raise usage(f"-O needs a file name at the end of the URL's path; -o FILE gives one ({url})")
    return name


# Header fields


def read_headers(own: dict[bytes, bytes | None], texts: Sequence[str]) -> Fields:
    """Read the fields of ``-H``, and put them behind those of `own` that they do not replace.

    ``Name: value``; ``Name;`` for an empty value; ``Name:`` takes away what would be sent, as curl.
    """
    kept = {name.lower(): (name, value) for name, value in own.items() if value is not None}
    fields: Fields = []
    for number, text in enumerate(texts, 1):
        name, colon, value = to_bytes(text).partition(b":")
        if not colon and not name.endswith(b";"):
            # Not shown: who forgets the colon may have typed a secret.
            raise usage(f"header number {number} is neither 'Name: value' nor 'Name;' nor 'Name:'")
        name, value = name if colon else name[:-1], value.strip(b" \t")
        kept.pop(name.lower(), None)
        if value or not colon:
            fields.append((name, value))
    return [*kept.values(), *fields]


# Bodies


def read_items(arguments: Sequence[str]) -> Options:
    """Return what the arguments ask for: `urls`, `headers` as for ``-H``, what is added to the
    `query`, and a JSON object as `body`.

    The first argument is a URL, and of the others those that are no items.
    """
    found, members = Options(urls=list(arguments[:1]), headers=[], query=[], body=None), {}
    for text in arguments[1:]:
        match = _ITEM.fullmatch(text)
        name, how, value = match.groups() if match else ("", "", "")
        if not match or (how == ":" and ("." in name or name == "localhost")):
            found.urls.append(text)
        elif how in (":", ";"):
            found.headers.append(text)
        elif how == "==":
            found.query.append("=".join(quote(to_bytes(part), "") for part in (name, value)))
        else:
            members[name] = f"{json.dumps(name)}: {_member(name, how, value)}"
            found.body = Body([f"{{{', '.join(members.values())}}}".encode("ascii")], JSON)
    return found


def _member(name: str, how: str, value: str) -> str:
    if how.endswith("@"):
        value = read_data(f"@{value}").decode("utf-8", "replace")
    if how.startswith(":"):
        return _checked_json(value, f"{name}:= takes JSON, and its value is none")
    return json.dumps(value)


def _checked_json(text: str | bytes, otherwise: str) -> str:
    """Return JSON in ASCII; Problem, which says `otherwise`, for what is none."""
    try:
        return json.dumps(json.loads(text))
    except (ValueError, RecursionError) as exc:
        raise usage(f"{otherwise}: {exc}") from exc


def read_json(text: str) -> Body:
    """Read a body of JSON, which is checked."""
    content = read_data(text)
    _checked_json(content, "--data-json is no JSON")
    return Body([content], JSON)


def url_encoded(text: str) -> bytes:
    """Read a value of ``--data-urlencode``: ``content``, ``=content``, ``name=content``, ``@file``
    or ``name@file``; what is the content is percent-encoded."""
    match: Any = re.fullmatch("(?:([^=@]*)([=@]))?(.*)", text, re.DOTALL)  # as any text does
    name, mark, content = match.groups()
    data = read_data(f"@{content}") if mark == "@" else to_bytes(content)
    return to_bytes(f"{name}=" if name else "") + quote(data, "").encode("ascii")


def multipart(texts: Sequence[str]) -> Body:
    """Return the form that the values of ``-F`` make. Files are read when it is sent; urllib3's
    own encoder would have them in memory."""
    from urllib3.fields import RequestField
    from urllib3.filepost import choose_boundary

    boundary = choose_boundary()
    found: list[bytes | str] = []
    for number, text in enumerate(texts, 1):
        name, value, content = _part(number, text)
        head = RequestField.from_tuples(name, value).render_headers()
        found += [to_bytes(f"--{boundary}\r\n{head}"), content, b"\r\n"]
    found.append(f"--{boundary}--\r\n".encode())
    return Body(found, f"multipart/form-data; boundary={boundary}".encode())


def _part(number: int, text: str) -> tuple[str, Any, bytes | str]:
    """Read ``name=value``, ``name=@file`` or ``name=<file``, the latter two with ``;type=`` and
    ``;filename=``. Return the name, what urllib3 calls its value, and the content, or the path of a
    file with it."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        # Not shown: the value of a field may be a secret.
        raise usage(
            f"-F number {number} is neither NAME=VALUE nor NAME=@FILE; -T FILE sends a file"
        )
    if not value.startswith(("@", "<")):
        parts = value.rsplit(";type=", 1)
        return name, (None, b"", parts[1] if parts[1:] else None), to_bytes(parts[0])
    path, *settings = value[1:].split(";")
    told = dict(setting.strip().partition("=")[::2] for setting in settings)
    if not told.keys() <= {"type", "filename"}:
        raise usage(f"-F {name}=@...: after the file, only ;type= and ;filename= can stand")
    from urllib3.fields import guess_content_type

    filename = told.get("filename", os.path.basename(path) if value[0] == "@" else None)
    kind = told.get("type", guess_content_type(filename) if filename else None)
    # What is no file on a disk can be read only once, and its length is not known before.
    content = path if os.path.isfile(path) else read_data(f"@{path}")
    return name, (filename, b"", kind), content
