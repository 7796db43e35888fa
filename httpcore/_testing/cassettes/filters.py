"""The parts of an exchange that are taken out before it is written.

Owns: which rules there are, and where each of them looks. Must not know: what is secret in a
header field or a URL (`_redact` does), the shapes of bodies (`bodies`), where exchanges come from
or go to.

A secret is replaced, in place, by FILTERED, which in a recorded request then matches anything: so
playing a cassette needs no knowledge of the rules by which it was filtered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from typing import Any

from ... import _redact
from ..._core.h1_grammar import Headers
from ..._redact import FILTERED
from .bodies import Bodies
from .exchange import (
    COMPLETE,
    MARK,
    CassetteError,
    Exchange,
    beginning,
    coding_of,
    decompressed,
    joined,
    to_bytes,
    to_text,
    with_length,
)

# Header fields whose value is one URL, whatever stands in it.
_URL_FIELDS = (b"location", b"content-location", b"referer")


class Filters:
    """The rules by which parts of an exchange are taken out before anything is written.

    Always: the values of Authorization, Proxy-Authorization, Cookie and Set-Cookie (the names of
    cookies and of the scheme stay), and user names and passwords in URLs.

    Names are found whatever their case.

    Parameters:
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
        added = _names("headers", headers)
        self._headers = _redact.SECRET_FIELDS | {to_bytes(name.lower()) for name in added}
        self._query = _redact.Names(_names("query", query))
        members = _redact.Names(_names("fields", fields))
        self._bodies = Bodies(members, self._query)
        self._body = [_compile(pattern) for pattern in _names("body", body, patterns=True)]
        self._url = [_compile(pattern) for pattern in _names("url", url, patterns=True)]
        self._must_see = bool(members or self._body or self._query)
        self._decompress = decompress or self._must_see
        names = b"|".join(map(re.escape, sorted(self._headers)))
        self._head_lines = re.compile(
            rb"(?im)^([ \t]*(" + names + rb")[ \t]*:[ \t]*)([^\r\n]*(?:\r?\n[ \t]+[^\r\n]*)*)"
        )

    def apply(self, exchange: Exchange) -> Exchange:
        """Return a copy of `exchange` that can be written.

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
            reason = self.value(b"", answer.reason)
            answer = replace(answer, headers=headers, body=body, trailers=trailers, reason=reason)
        return replace(
            exchange,
            asked=asked,
            answer=answer,
            interim=[(status, self.lines(lines)) for status, lines in exchange.interim],
            raw=self._raw(str(asked), exchange.raw),
        )

    def url(self, url: str) -> str:
        """Return `url` without what is secret in it."""
        url = _redact.hide_user_info(url, FILTERED)
        return to_text(self._patterns(to_bytes(self._one_url(url))))

    def lines(self, headers: Headers) -> Headers:
        """Return header fields without what is secret in them."""
        return [(name, self.value(name, value)) for name, value in headers]

    def hides(self, name: bytes) -> bool:
        """Return whether the header `name` has a secret as its value."""
        return name.lower() in self._headers

    def value(self, name: bytes, value: bytes) -> bytes:
        """Return the value of the header `name`, as it may be written."""
        name, text = name.lower(), to_text(value)
        if name in self._headers:
            return to_bytes(_redact.hide_field(name, text, FILTERED))
        text = _redact.hide_links(text, self._query, FILTERED)
        if name in _URL_FIELDS:
            text = self._one_url(text)
        return self._patterns(to_bytes(text))

    def _one_url(self, text: str) -> str:
        if self._query:
            return _redact.hide_pairs(text, self._query, FILTERED)
        return _redact.hide_links(text, self._query, FILTERED)

    def _patterns(self, data: bytes) -> bytes:
        for pattern in self._url:
            data = pattern.sub(_hide_groups, data)
        return data

    def _content(
        self, what: str, headers: Headers, body: bytes, whole: bool
    ) -> tuple[Headers, bytes]:
        """Return header fields and body as they may be written; the length of a whole body put
        right."""
        shown = self.lines(headers)
        coding = coding_of(headers)
        if body and coding:
            plain = decompressed(body, coding) if whole else None
            if plain is not None:
                hidden = self._hide(what, plain, headers) if plain else plain
                if not self._decompress and hidden == plain:
                    return shown, body
                shown = [line for line in shown if line[0].lower() != b"content-encoding"]
                return with_length(shown, len(hidden)) if hidden else shown, hidden
            if self._must_see and whole:
                raise CassetteError(
                    f"{what} cannot be recorded: its body has the Content-Encoding "
                    f"{to_text(coding)}, so the rules for bodies cannot look into it; ask for "
                    "gzip or identity"
                )
            piece = beginning(body, coding)
            if self._must_see or self._hide(what, piece, headers) != piece:
                return shown, b""  # a piece of it, which cannot be looked into
            return shown, body
        return self._finish(what, headers, shown, body, whole)

    def _finish(
        self, what: str, headers: Headers, shown: Headers, body: bytes, whole: bool
    ) -> tuple[Headers, bytes]:
        if body:
            body = self._hide(what, body, headers)
        return with_length(shown, len(body)) if body and whole else shown, body

    def _hide(self, what: str, body: bytes, headers: Headers) -> bytes:
        # The patterns come first, so that they can take out what `Bodies` refuses.
        for pattern in self._body:
            body = pattern.sub(_hide_groups, body)
        try:
            return self._bodies.hide(body, to_text(joined(headers, b"content-type")))
        except CassetteError as exc:
            raise CassetteError(f"{what} cannot be recorded: its body {exc}") from None

    def _raw(self, what: str, pieces: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Filter what is not HTTP, or could not be read. If a secret goes on from one piece into
        the next, they become one."""
        hidden = [(way, self._raw_data(what, data)) for way, data in pieces]
        merged = [
            (way, b"".join(data for _, data in run))
            for way, run in groupby(pieces, key=lambda piece: piece[0])
        ]
        if len(merged) == len(pieces):
            return hidden
        whole = [(way, self._raw_data(what, data)) for way, data in merged]
        same = {way: b"".join(d for w, d in hidden if w == way) for way, _ in hidden}
        if all(same[way] == b"".join(d for w, d in whole if w == way) for way in same):
            return hidden
        return whole

    def _raw_data(self, what: str, data: bytes) -> bytes:
        if self._must_see and re.search(rb"(?im)^content-encoding[ \t]*:[ \t]*\w", data):
            raise CassetteError(
                f"{what} cannot be recorded: its answer is malformed and compressed, so the rules "
                "for bodies cannot look into it"
            )
        data = self._head_lines.sub(self._hide_line, data)
        return self._hide(what, self._patterns(data), [])

    def _hide_line(self, match: re.Match[bytes]) -> bytes:
        """Return a line of a head that could not be read, with those that continue it."""
        return match[1] + self.value(match[2], re.sub(rb"\r?\n[ \t]+", b" ", match[3].strip()))


def _names(what: str, given: Iterable[object], *, patterns: bool = False) -> list[Any]:
    """Return the names as they were given; patterns as bytes."""
    if isinstance(given, (str, bytes)):
        raise TypeError(f"{what} must be a list of names, not one {type(given).__name__}")
    found = []
    for name in given:
        if not isinstance(name, (str, bytes) if patterns else str):
            raise TypeError(f"{what} must be str, not {type(name).__name__}")
        found.append(name.encode("utf-8") if patterns and isinstance(name, str) else name)
    return found


def _compile(pattern: bytes) -> re.Pattern[bytes]:
    try:
        return re.compile(pattern)
    except re.error as exc:
        raise ValueError(f"{to_text(pattern)!r} is no regular expression: {exc}") from exc


def _hide_groups(match: re.Match[bytes]) -> bytes:
    """Return the match without its groups; all of it where it has none."""
    if not match.re.groups:
        return MARK
    position, parts = match.start(), []
    for number in range(1, match.re.groups + 1):
        start, end = match.span(number)
        if start >= position:  # it took part, and is not inside one before it
            parts += [match.string[position:start], MARK]
            position = end
    return b"".join(parts) + match.string[position : match.end()]
