"""Keeps what is secret out of every text.

Owns: every rule about it: header fields, user information in URLs, parameters of queries, the parts
of Authorization and Set-Cookie. Must not know: which code shows a text or writes a file. Errors,
reprs, statistics, the log, cassettes and the command line all ask here.

Two marks, because they mean two things. SECURE stands in texts for people; httpcore 1.0 writes the
same. FILTERED stands in cassettes, where it matches anything when they are played.

The rule for URLs in errors, reprs, events and figures: scheme, host, port, path and the names of
the query's parameters are shown. User information, fragment and all values of the query are not: no
list of names would be complete, and a text may be about another caller's request. What shows
the wire because it was asked to (``LoggingBackend``, ``-v``) hides the values of names that sound
like a secret.

Sources: RFC 9110 sections 4.2.4 (user information), 11.6.2 and 11.7.2 (credentials), RFC 6265
sections 4.1 and 4.2 (cookies), RFC 3986 section 3 (the parts of a URL), the registry of HTTP
authentication schemes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote, unquote, unquote_plus, unquote_to_bytes

SECURE = "[secure]"
FILTERED = "[filtered]"

CREDENTIALS = frozenset([b"authorization", b"proxy-authorization"])
COOKIES = frozenset([b"cookie", b"cookie2"])
SET_COOKIES = frozenset([b"set-cookie", b"set-cookie2"])
SECRET_FIELDS = CREDENTIALS | COOKIES | SET_COOKIES
"""Header fields whose values are secret whatever they say."""

# Header fields that may be secret, by their names. Wide on purpose: a value hidden without need
# can be looked up elsewhere, a value shown without need stays in a log.
_may_be_secret = re.compile(
    rb"(?!access-control-).*"
    rb"(auth(?!enticate)|cookie|token|secret|passw|credential|session|signature|jwt|"
    rb"(api|access|account|app|application|client|customer|encryption|functions?|license|master|"
    rb"private|subscription)[-_]?key(?!-md5))",
    re.IGNORECASE,
).match

# Schemes of Authorization that are shown. Any other first word may be the secret itself.
_SCHEMES = frozenset(
    re.findall(
        r"\S+",
        """
        apikey aws aws4-hmac-sha256 aws4-ecdsa-p256-sha256 basic bearer concealed digest dpop
        gnap googlelogin hawk hoba key mutual negotiate ntlm oauth privatetoken scram-sha-1
        scram-sha-256 sharedkey sharedkeylite signature token vapid
        """,
    )
)

# Attributes of Set-Cookie; anything else behind a semicolon is what a client might send back.
_ATTRIBUTES = frozenset(
    re.findall(
        r"\S+",
        """
        path domain expires max-age secure httponly samesite partitioned priority version
        comment commenturl discard port
        """,
    )
)

# Levels of encoding (a URL in the query of a URL in ...) that are undone; below, all is hidden.
MAX_DEPTH = 8


def is_secret(name: bytes) -> bool:
    """Return whether the header field `name` may hold a secret."""
    return name.lower() in SECRET_FIELDS or _may_be_secret(name) is not None


is_secret_field = lru_cache(512)(is_secret)
"""`is_secret`, for the warm path: it remembers some names, as they were spelled. Programs and
servers use a few dozen."""


# ---------------------------------------------------------------------------------------------
# Names of parameters

# Escapes that may stand in a name: JSON's, and HTML's with a number.
_escapes = re.compile(r"\\u([0-9a-fA-F]{4})|&#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));")
_brackets = re.compile(r"[\[\]]+")

# Parameters whose values are hidden where the rest of a query is shown.
_looks_secret = re.compile(
    r"auth|token|secret|passw|passphrase|pwd|key|credential|session|sid$|sig$|signature|jwt|cookie"
    r"|^(?:code|state|nonce|otp|pin|pass|user|assertion|ticket)$"
).search


class Names:
    """Names of parameters, members or fields, found whatever their case and spelling.

    ``token`` is found as ``TOKEN``, ``t%6Fken``, ``t\\u006fken``, ``token[]`` and ``user[token]``.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.casefold().strip() for name in names)
        self.longest = max(map(len, self._names), default=0)

    def __bool__(self) -> bool:
        return bool(self._names)

    def __or__(self, other: Names) -> Names:
        return Names(self._names | other._names)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __contains__(self, name: str) -> bool:
        plain = plain_name(name)
        if plain in self._names:
            return True
        return any(part in self._names for part in _brackets.split(plain) if part)


class _Every(Names):
    def __init__(self) -> None:
        super().__init__(())
        self.longest = 40  # letters; those of programs are shorter

    def __bool__(self) -> bool:
        return True

    def __or__(self, other: Names) -> Names:
        return self

    def __contains__(self, name: str) -> bool:
        return True


class _Suspect(_Every):
    def __contains__(self, name: str) -> bool:
        return _looks_secret(plain_name(name)) is not None


EVERY: Names = _Every()
"""Any name: for errors, reprs, events and figures, where no value of a query is shown."""

SUSPECT: Names = _Suspect()
"""Names that sound like a secret: for what shows, on request, what goes over the wire."""


def plain_name(name: str) -> str:
    """Return `name` without its encodings, in the one spelling that is compared."""
    for _ in range(MAX_DEPTH):
        plain = _escapes.sub(_unescaped, unquote_plus(name))
        if plain == name:
            break
        name = plain
    return name.strip(" \t\r\n\"'\\").casefold()


def _unescaped(match: re.Match[str]) -> str:
    code = int(match[1] or match[2] or "", 16) if match[1] or match[2] else int(match[3])
    return chr(code) if code < 0x110000 else ""


# ---------------------------------------------------------------------------------------------
# URLs

# User information: with JSON's way of writing a slash, in a URL that stands anywhere in a text.
# Behind a scheme any @ ends it; without one a colon is asked for, as //comments@ are no URLs.
_user_info = re.compile(r"((?<=[A-Za-z0-9+.\-]):\\?/\\?/|//(?=[^\s\"<>/?#\\@]*:))[^\s\"<>/?#\\]*@")
# A password with a character that should have been escaped: no port reads like this.
_broken_user_info = re.compile(
    r"((?<=[A-Za-z0-9+.\-]):\\?/\\?/)[^\s\"<>/?#\\@\[\]:]*:"
    r"(?![0-9]*(?:[/?#\s\"'<>,;&]|$))[^\s\"<>]{0,1000}@"
)
_ampersands = re.compile(r"(&(?:amp;)?|\\u0026)", re.IGNORECASE)
_runs = re.compile(r"[^\s\"'<>]+")


def hide_user_info(text: str, mark: str) -> str:
    """Return `text` with `mark` in place of users and passwords in all URLs in it."""
    if "@" not in text:
        return text
    text = _user_info.sub(lambda match: f"{match[1]}{mark}@", text)
    return _broken_user_info.sub(lambda match: f"{match[1]}{mark}@", text)


def hide_links(
    text: str,
    names: Names,
    mark: str,
    inner: Callable[[str, int], str] | None = None,
    depth: int = 0,
) -> str:
    """Return `text` without what is secret in the URLs in it: user information, and the values of
    parameters called one of `names`.

    Parameters:
        mark: stands in their place.
        inner: hides what is in a value, once it is decoded; None for the same as here.
    """
    text = hide_user_info(text, mark)
    if names:
        text = _runs.sub(lambda run: hide_pairs(run[0], names, mark, inner, depth), text)
    elif "%" in text:  # a whole URL, encoded
        text = _runs.sub(lambda run: hide_encoded(run[0], names, mark, inner, depth), text)
    return text


def hide_pairs(
    text: str,
    names: Names,
    mark: str,
    inner: Callable[[str, int], str] | None = None,
    depth: int = 0,
) -> str:
    """Return `text`, one URL or form, without the values of parameters called one of `names`.

    A value that is hidden ends at the next ampersand: whether a semicolon separates is up to the
    server.
    """
    pieces = []
    for piece in _ampersands.split(text):
        hidden = _hide_first(piece, names, mark)
        if hidden is None:
            hidden = _hide_values(piece, names, mark, inner, depth)
        pieces.append(hidden)
    return "".join(pieces)


def _hide_first(piece: str, names: Names, mark: str) -> str | None:
    """Return what stands between two ampersands, less the value of the first of `names` and all
    behind it up to the fragment, and the same in each fragment; None where none of them is in it.
    """
    shown, found = [], False
    for section in piece.split("#"):
        start = _start_of_value(section, names)
        found = found or start is not None
        shown.append(section if start is None else section[:start] + mark)
    return "#".join(shown) if found else None


def _start_of_value(section: str, names: Names) -> int | None:
    start = 0
    for part in re.split(r"([?;])", section):
        name, equals, _ = part.partition("=")
        if equals and name and re.split(r"[,({]", name)[-1] in names:
            return start + len(name) + 1
        start += len(part)
    return None


def _hide_values(
    piece: str, names: Names, mark: str, inner: Callable[[str, int], str] | None, depth: int
) -> str:
    if "%" not in piece:
        return piece
    parts = re.split(r"([?;#=])", piece)
    return "".join(
        hide_encoded(part, names, mark, inner, depth) if "%" in part else part for part in parts
    )


def hide_encoded(
    text: str,
    names: Names,
    mark: str,
    inner: Callable[[str, int], str] | None = None,
    depth: int = 0,
) -> str:
    """Return `text`, which is percent-encoded, without what is secret in it once it is decoded."""
    plain = unquote_plus(text) if inner is not None else unquote(text)
    if plain in (text, text.replace("+", " ")):
        return text
    if depth >= MAX_DEPTH:
        return mark
    if inner is not None:
        hidden = inner(plain, depth + 1)
    else:
        hidden = hide_links(plain, names, mark, None, depth + 1)
    return text if hidden == plain else _encoded_like(text, hidden)


_encoded_bytes = re.compile(r"%[0-9A-Fa-f]{2}|.", re.DOTALL)


def _encoded_like(text: str, hidden: str) -> str:
    """Return `hidden` percent-encoded; where it begins and ends like what `text` decodes to, as it
    is spelt there. The mark stays as it is, so that it is found."""
    units = _encoded_bytes.findall(text)
    old = [unquote_to_bytes(unit.replace("+", " ")) for unit in units]
    new = [bytes([byte]) for byte in hidden.encode("utf-8", "surrogateescape")]
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    middle = quote(b"".join(new[start : len(new) - end]), safe="[]")
    return "".join(units[:start]) + middle + "".join(units[len(units) - end :])


def redact_url(url: str | bytes) -> str:
    """Return `url` as it may stand in an error, a log or a report.

    Scheme, host, port, path and the names in the query are kept. User information, the values in
    the query and the fragment are replaced by ``[secure]``. Use it for any text: a URL that cannot
    be parsed loses whatever may be a password. Thread-safe; raises nothing for str and bytes.
    """
    text = url.decode("latin-1") if isinstance(url, bytes) else url
    front, mark, query = text.partition("?")
    front, sharp, _ = front.partition("#")
    if "@" in text and (not mark or "@" in query or "@" in front):
        front, mark, query, sharp = _without_user(text)
    if sharp:
        return f"{front}#{SECURE}"
    if not mark:
        return front
    return f"{front}?{_redact_query(query)}"


def _without_user(text: str) -> tuple[str, str, str, str]:
    """Return the part before the query, "?" where there is one, the query, "#" where a fragment
    comes first; without user information."""
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        scheme, rest = "", text
        slashes = "//" if text.startswith("//") else ""
        rest = text.removeprefix("//")
    authority = re.match(r"[^/?#]*", rest)[0]  # type: ignore[index]
    host = authority.rpartition("@")[2]
    sound = re.fullmatch(r"(?:\[[0-9A-Fa-f:.%]*\]|[^:@\[\]\s]*)(?::[0-9]*)?", host)
    if text.startswith("/") and not text.startswith("//"):
        rest_hidden = text  # a path: its @ are its own
        scheme = slashes = ""
    elif sound is None or (not slashes and "@" in rest):
        rest_hidden = f"{SECURE}@{rest.rpartition('@')[2]}" if "@" in rest else rest
    elif "@" in authority:
        rest_hidden = f"{SECURE}@{rest[len(authority) - len(host) :]}"
    else:
        rest_hidden = rest
    front, mark, query = (scheme + slashes + rest_hidden).partition("?")
    front, sharp, _ = front.partition("#")
    return front, mark, query, sharp


def _redact_query(query: str) -> str:
    query, sharp, _ = query.partition("#")
    shown = []
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        if equals:
            shown.append(f"{name}={SECURE}" if value else pair)
        else:
            shown.append(SECURE if name else "")  # a name or a value: unknown
    return "&".join(shown) + (f"#{SECURE}" if sharp else "")


_absolute = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.\-]*:)?//)([^/?#]*)(.*)", re.DOTALL).fullmatch
_host_and_port = re.compile(r"(?:\[[^\]]*\]|[^:@\[\]]*)(?::[0-9]*)?").fullmatch


def without_query(url: str) -> str:
    """Return `url` up to its path: without query and fragment, where keys and tokens travel, and
    without user and password.

    For texts in which the names of parameters would be too long; `redact_url` keeps them.
    Thread-safe; raises nothing.
    """
    match = _absolute(url)
    if match is not None:
        start, authority, rest = match.groups()
        authority = authority.rpartition("@")[2]
        # A password with a "/", "?" or "#" in it that should have been escaped.
        if _host_and_port(authority) is None and "@" in rest:
            authority, rest = "", rest.rpartition("@")[2]
        url = start + authority + rest
    return url.partition("?")[0].partition("#")[0]


def redact_target(target: bytes) -> bytes:
    """Return a request target as it may stand in a text, see `redact_url`."""
    return redact_url(target).encode("latin-1")


_urls = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.\-]{0,40}:)?//[^\s\"'<>]+|/[^\s\"'<>]*[?#][^\s\"'<>]*")


def redact_text(text: str) -> str:
    """Return `text` with each URL and path in it as by `redact_url`."""
    return _urls.sub(lambda match: redact_url(match[0]), text)


# ---------------------------------------------------------------------------------------------
# Header fields


def hide_credentials(value: str, mark: str) -> str:
    """Return a value of Authorization: the scheme stays if it is one."""
    scheme, space, rest = value.partition(" ")
    if scheme.lower() not in _SCHEMES:
        return mark
    return scheme + space + mark if rest.strip() else scheme


def hide_cookies(value: str, mark: str) -> str:
    """Return a value of Cookie: the names stay."""
    return "; ".join(_hide_pair(pair.strip(), mark) for pair in value.split(";"))


def hide_set_cookie(value: str, mark: str) -> str:
    """Return a value of Set-Cookie: the name and the attributes stay."""
    pair, *attributes = value.split(";")
    shown = [_hide_pair(pair, mark)]
    for attribute in attributes:
        name = attribute.partition("=")[0].strip().lower()
        known = name in _ATTRIBUTES or not name
        shown.append(attribute if known else _hide_pair(attribute, mark))
    return ";".join(shown)


def _hide_pair(pair: str, mark: str) -> str:
    name, equals, _ = pair.partition("=")
    if not equals or len(name.split()) > 1:  # no name has a space in it
        return mark if pair.strip() else pair
    return name + equals + mark


def hide_field(name: bytes, value: str, mark: str) -> str:
    """Return the value of a header field that is secret, with what may stay of it.

    Parameters:
        name: in lower case.
    """
    if name in CREDENTIALS:
        return hide_credentials(value, mark)
    if name in COOKIES:
        return hide_cookies(value, mark)
    if name in SET_COOKIES:
        return hide_set_cookie(value, mark)
    return mark


def redact_field(name: bytes, value: bytes) -> bytes:
    """Return the value of any header field, as it may stand in a text for people."""
    if is_secret(name):
        return SECURE.encode("ascii")
    if name in (b":path", b"location", b"content-location", b"referer"):
        return redact_target(value)
    return redact_text(value.decode("latin-1")).encode("latin-1")


_name_begins = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{0,80}").match


def shown_name(name: object) -> str:
    """Return the name of a header field for an error: as far as it is one, for a secret may stand
    behind a colon or a line break that should not be in it."""
    data = name.encode("utf-8", "backslashreplace") if isinstance(name, str) else name
    if not isinstance(data, (bytes, bytearray)):
        return f"of type {type(name).__name__}"
    match = _name_begins(bytes(data))
    assert match is not None
    shown = match[0].decode("ascii") if isinstance(name, str) else match[0]
    return repr(shown) + ("..." if len(match[0]) < len(data) else "")


_plain = re.compile(r"[^\0-\x20\x7f:;,=()<>@\[\]?{}/\\\"]{0,80}").match


def plain_start(name: object) -> str:
    """Return `name`, of a method or a field, up to the first character that none may have, such as
    a colon or a line break: what comes behind it may be a value, and so a secret.

    Letters outside ASCII are kept, which `shown_name` cuts off. Thread-safe; raises nothing for
    str and bytes.
    """
    text = name.decode("latin-1") if isinstance(name, bytes) else str(name)
    match = _plain(text)
    assert match is not None
    return match[0] + ("..." if len(match[0]) < len(text) else "")
