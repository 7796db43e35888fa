"""What is secret in an exchange, and how it is taken out.

Owns: the rules. Must not know: where exchanges come from or go to.

A secret is replaced, in place, by FILTERED, which in a recorded request then matches anything: so
whoever plays a cassette need not know by which rules it was filtered.

Sources: RFC 9110 sections 11.6.2 and 11.7.2 (credentials), RFC 6265 (cookies), RFC 3986 section
3.2.1 (user information), RFC 7578 (multipart forms).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from .._h1 import Headers
from .exchange import (
    COMPLETE,
    MARK,
    CassetteError,
    Exchange,
    coding_of,
    decompressed,
    joined,
    to_bytes,
    to_text,
    with_length,
)

_CREDENTIALS = frozenset([b"authorization", b"proxy-authorization"])
DEFAULT_HEADERS = _CREDENTIALS | {b"cookie", b"set-cookie"}

_userinfo = re.compile(rb"//[^/?#\s\"<>]*@")
_json_decoder = json.JSONDecoder(strict=False)  # line breaks in strings, which some servers write
_match_scalar = re.compile(r"[^,}\]\s]*").match

# What may stand before a query parameter, and where its value ends: in a URL by itself, in one in
# a header field, in one in a body, where the ampersand may be escaped as in JSON or HTML.
_IN_URL = rb"([?&#]", rb"=)[^&#]*"
_IN_FIELD = rb"([?&#]", rb"=)[^&#\s\"<>]*"
_IN_BODY = rb"((?:[?&#]|\\u0026|&amp;)", rb"=)[^&#\s\"'<>\\]*"


class Filters:
    """What is taken out of an exchange before anything is written.

    Always: the values of Authorization, Proxy-Authorization, Cookie and Set-Cookie (the names of
    cookies and of the scheme stay), and user names and passwords in URLs.

    Names are found whatever their case.

    Args:
        headers: names of more header fields.
        query: names of query parameters, in URLs wherever they stand.
        url: regular expressions for URLs, in the request and in header fields; as for `body`.
        fields: names of members in JSON, at any depth, and of fields in forms.
        body: regular expressions; what their groups match is taken out, or all that they match
            where they have none.
        decompress: store bodies without their gzip or deflate encoding. Rules that look into
            bodies imply it.

    Raises TypeError for a name that is no str, ValueError for what is no regular expression.
    """

    def __init__(
        self,
        headers: Iterable[str] = (),
        query: Iterable[str] = (),
        fields: Iterable[str] = (),
        body: Iterable[str | bytes] = (),
        url: Iterable[str | bytes] = (),
        decompress: bool = False,
    ) -> None:
        self._headers = DEFAULT_HEADERS | {name.lower() for name in _names("headers", headers)}
        parameters = _names("query", query)
        parameters += [quote_plus(name).encode("ascii") for name in parameters]
        self._fields = frozenset(name.lower() for name in _names("fields", fields))
        self._body = [_compile(pattern) for pattern in _names("body", body, patterns=True)]
        self._url = [_compile(pattern) for pattern in _names("url", url, patterns=True)]
        self._must_see = bool(self._fields or self._body)
        self._decompress = decompress or self._must_see or bool(parameters)
        names = b"|".join(map(re.escape, sorted(self._headers)))
        self._head_lines = re.compile(
            rb"(?im)^([ \t]*(" + names + rb")[ \t]*:[ \t]*)([^\r\n]*(?:\r?\n[ \t]+[^\r\n]*)*)"
        )
        self._in_url, self._in_field, self._in_body = (
            _alternatives(before, parameters, after)
            for before, after in (_IN_URL, _IN_FIELD, _IN_BODY)
        )
        self._in_json = _alternatives(rb'"', self._fields, rb'"\s*:\s*')
        self._in_multipart = _alternatives(
            rb'(name="', self._fields, rb'"[^\r\n]*(?:\r\n[^\r\n]+)*\r\n\r\n).*?(?=\r\n--|\Z)'
        )

    def apply(self, exchange: Exchange) -> Exchange:
        """A copy of `exchange` that can be written.

        Raises CassetteError where a body cannot be looked into.
        """
        asked, answer = exchange.asked, exchange.answer
        asked = replace(asked, url=self.url(asked.url))
        whole = exchange.end == COMPLETE
        headers, body = self._content(
            str(asked), asked.headers, asked.body, whole and not asked.stopped
        )
        asked = replace(asked, headers=headers, body=body)
        if answer is not None:
            headers, body = self._content(
                f"the answer to {asked}", answer.headers, answer.body, whole
            )
            trailers = self.lines(answer.trailers)
            answer = replace(answer, headers=headers, body=body, trailers=trailers)
        return replace(
            exchange,
            asked=asked,
            answer=answer,
            interim=[(status, self.lines(lines)) for status, lines in exchange.interim],
            raw=[(way, self._raw(str(asked), data)) for way, data in exchange.raw],
        )

    def url(self, url: str) -> str:
        """`url` without what is secret in it."""
        return to_text(self._links(to_bytes(url), self._in_url))

    def lines(self, headers: Headers) -> Headers:
        """Header fields without what is secret in them."""
        return [(name, self.value(name, value)) for name, value in headers]

    def hides(self, name: bytes) -> bool:
        """Whether the header `name` has a secret as its value."""
        return name.lower() in self._headers

    def value(self, name: bytes, value: bytes) -> bytes:
        """The value of the header `name`, as it may be shown."""
        name = name.lower()
        if name not in self._headers:
            return self._links(value, self._in_field)
        if name in _CREDENTIALS:
            scheme, space, _ = value.partition(b" ")
            return scheme + space + MARK if space else MARK
        if name == b"cookie":
            return b"; ".join(_hide_cookie(pair.strip()) for pair in value.split(b";"))
        if name == b"set-cookie":
            pair, semicolon, attributes = value.partition(b";")
            return _hide_cookie(pair) + semicolon + attributes
        return MARK

    def _links(self, data: bytes, queries: re.Pattern[bytes] | None) -> bytes:
        """A URL, or a value that may have one, without its secrets."""
        data = _replace(queries, _userinfo.sub(b"//" + MARK + b"@", data))
        for pattern in self._url:
            data = pattern.sub(_hide_groups, data)
        return data

    def _content(
        self, what: str, headers: Headers, body: bytes, whole: bool
    ) -> tuple[Headers, bytes]:
        """Header fields and body as they may be written; the length of a whole body put right."""
        shown = self.lines(headers)
        coding = coding_of(headers)
        if body and coding and self._decompress:
            plain = decompressed(body, coding) if whole else None
            if plain is not None:
                body = plain
                shown = [line for line in shown if line[0].lower() != b"content-encoding"]
            elif self._must_see and whole:
                raise CassetteError(
                    f"{what} cannot be recorded: its body has the Content-Encoding "
                    f"{to_text(coding)}, so the rules for bodies cannot look into it; ask for "
                    "gzip or identity"
                )
            elif self._must_see:
                return shown, b""  # a piece of it, which nobody can look into
        if body:
            body = self._hide(body, joined(headers, b"content-type").lower())
        return with_length(shown, len(body)) if body and whole else shown, body

    def _hide(self, body: bytes, kind: bytes) -> bytes:
        body = _replace(self._in_body, body)
        if self._in_json is not None:
            body = _hide_members(body, self._in_json)
        if self._fields and b"application/x-www-form-urlencoded" in kind:
            pairs = [_hide_pair(pair, self._fields) for pair in body.split(b"&")]
            body = b"&".join(pairs)
        if b"multipart/" in kind:
            body = _replace(self._in_multipart, body)
        for pattern in self._body:
            body = pattern.sub(_hide_groups, body)
        return body

    def _raw(self, what: str, data: bytes) -> bytes:
        """What is no HTTP, or none that could be read: line by line."""
        if self._must_see and re.search(rb"(?im)^content-encoding[ \t]*:[ \t]*\w", data):
            raise CassetteError(
                f"{what} cannot be recorded: its answer is malformed and compressed, so the rules "
                "for bodies cannot look into it"
            )
        data = self._head_lines.sub(lambda found: found[1] + self.value(found[2], found[3]), data)
        return self._hide(data, b"multipart/")


def _names(what: str, given: Any, *, patterns: bool = False) -> list[Any]:
    """Names as they are looked for: header names and patterns as bytes, others as they come."""
    if isinstance(given, (str, bytes)):
        raise TypeError(f"{what} must be a list of names, not one {type(given).__name__}")
    found = []
    for name in given:
        if not isinstance(name, (str, bytes) if patterns else str):
            raise TypeError(f"{what} must be str, not {type(name).__name__}")
        found.append(name.encode("utf-8") if isinstance(name, str) else name)
    return found


def _compile(pattern: bytes) -> re.Pattern[bytes]:
    try:
        return re.compile(pattern)
    except re.error as exc:
        raise ValueError(f"{to_text(pattern)!r} is no regular expression: {exc}") from exc


def _alternatives(before: bytes, names: Iterable[bytes], after: bytes) -> re.Pattern[bytes] | None:
    """A pattern for any of `names` between two others; None where there are none."""
    each = b"|".join(map(re.escape, sorted(names)))
    if not each:
        return None
    return re.compile(before + b"(?:" + each + b")" + after, re.DOTALL | re.IGNORECASE)


def _replace(pattern: re.Pattern[bytes] | None, data: bytes) -> bytes:
    """`data` with FILTERED in place of what `pattern` finds after its first group."""
    return data if pattern is None else pattern.sub(lambda match: match[1] + MARK, data)


def _hide_cookie(pair: bytes) -> bytes:
    name, equals, _ = pair.partition(b"=")
    return name + equals + MARK if equals else MARK


def _hide_pair(pair: bytes, names: frozenset[bytes]) -> bytes:
    name, equals, _ = pair.partition(b"=")
    return name + equals + MARK if to_bytes(unquote_plus(to_text(name)).lower()) in names else pair


def _hide_groups(match: re.Match[bytes]) -> bytes:
    """The match without its groups; all of it where it has none."""
    if not match.re.groups:
        return MARK
    position, parts = match.start(), []
    for number in range(1, match.re.groups + 1):
        start, end = match.span(number)
        if start >= position:  # it took part, and is not inside one before it
            parts += [match.string[position:start], MARK]
            position = end
    return b"".join(parts) + match.string[position : match.end()]


def _hide_members(body: bytes, member: re.Pattern[bytes]) -> bytes:
    """Without the values of JSON members, whatever they are: found by the text, so that lines of
    JSON, event streams and cut-off documents are looked into as well."""
    text = body.decode("latin-1")  # each byte one character, so positions are the same
    position, parts = 0, []
    for match in member.finditer(body):
        start = match.end()
        if start >= position:
            parts += [body[position:start], b'"' + MARK + b'"']
            position = _end_of_value(text, start)
    return b"".join(parts) + body[position:]


def _end_of_value(text: str, start: int) -> int:
    try:
        return _json_decoder.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        if text[start : start + 1] in ('"', "{", "["):
            return len(text)  # it has no end: nothing that follows can be told from it
        match = _match_scalar(text, start)
        assert match is not None
        return match.end()
