"""Secrets in bodies: where a member or field of a name stands, in each shape that a body has.

Owns: JSON, forms, multipart, markup and plain text, and their encodings. Must not know: which names
are secret (`_redact` does), cassettes, header fields other than those that describe a body.

Values are replaced where they stand, so that everything else keeps its bytes. That goes wrong only
in one direction: what was replaced is gone. What was not is looked at once more, in all ways in
which a reader may see the body (`Bodies.check`), and a body that still shows a secret then is
refused.

Sources: RFC 8259 (JSON), RFC 2046 section 5.1 and RFC 7578 (multipart), the URL standard (forms).
"""

from __future__ import annotations

import codecs
import gzip
import html
import json
import re
import zlib
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from ... import _redact
from ..._redact import FILTERED
from .exchange import CassetteError

_CDATA = "<![CDATA["

# Bytes of a name when each letter is escaped (\\u0061) against those of its letters.
_ESCAPED = 6

_json_decoder = json.JSONDecoder(strict=False)  # line breaks in strings, which some servers write
_match_colon = re.compile(r"\s*:\s*").match
_match_scalar = re.compile(r"[^,}\]\s]*").match
# The end of the text ends a string as well: so each is looked at once.
_strings = re.compile(r'"((?:[^"\\]+|\\.)*)(?:"|\\?\Z)', re.DOTALL)
# It begins where a run does: else a long one is gone through anew from each of its letters.
_percent = re.compile(r"(?<![^\s\"'<>&;?#=])[^\s\"'<>&;?#=]*%[0-9A-Fa-f]{2}[^\s\"'<>&;?#=]*")
_percent_bytes = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_control = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f]")
_tag = re.compile(r"<[^<>]*>")
_attribute = re.compile(r"(?<![\w:\-])([\w:\-]+)\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s>]+)")
# Elements of HTML that have no content: what follows is not theirs.
_VOID = frozenset({"input", "meta", "link", "img", "br"})
_textarea_end = re.compile(r"</textarea", re.IGNORECASE)
_open_tag = re.compile(r"<(?:[\w\-]+:)?([\w.\-]+)(?:\s[^<>]*)?>")
_delimiter_line = re.compile(rb"(?:\A|\n)--([^\r\n]{1,200}?)[ \t]*\r?\n(?i:content-)")
_blank_line = re.compile(rb"\A\r?\n|\r?\n\r?\n")
_backslashes = re.compile(r"\\([\\\"/])")
_json_escapes = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([\\\"/]))")
_slashes = re.compile(r"/\\*/")
_opening = re.compile(r"\\*[\"']").match
# A value in a URL, which an apostrophe ends if something else goes on behind it; and one in text.
_url_value = re.compile(r"(?:[^&\s\"'<>]|'(?![\s>,;)\]}]|\Z))*").match
_line_value = re.compile(r"[^&\r\n\"<>]*").match
_chunk_lines = re.compile(r"\r\n[0-9a-fA-F]{1,8}(?:;[^\r\n]*)?\r\n")


class Bodies:
    """Takes out of bodies what is secret.

    Parameters:
        fields: names of members in JSON and of fields in forms.
        query: names of parameters of queries, in URLs and forms.
    """

    def __init__(self, fields: _redact.Names, query: _redact.Names) -> None:
        self._fields = fields
        self._pairs = fields | query
        longest = max(1, fields.longest) * _ESCAPED
        # Overlapping, so that a stray quotation mark does not turn inside and outside round.
        self._member = re.compile(r'"(?=((?:[^"\\]|\\.){1,' + str(longest) + r'})"\s*:)', re.DOTALL)
        longest = max(1, self._pairs.longest) * _ESCAPED + 40
        self._pair = re.compile(
            # The group is looked for once and not given back letter by letter.
            r"(?<![^\0-\x20\x7f&?;#,(){}<>\"'\[|/-])(?=([^\0-\x20\x7f=&?;#,(){}<>\"':|/]{1,"
            + str(longest)
            + r"}))\1([\"'\]\\]{0,9}\s{0,99}[=:]\s*)"
        )

    def hide(self, body: bytes, kind: str) -> bytes:
        """Return `body` without its secrets.

        Parameters:
            kind: its Content-Type.

        Raises CassetteError, whose text goes on from "its body": it cannot be taken out.
        """
        if body[:2] == b"\x1f\x8b":
            return self._hide_gzip(body, kind)
        if "multipart/" in kind.lower() or _delimiter_line.search(body[:4096]):
            return self._hide_multipart(body, kind)
        return self._hide_text(body, kind)

    def _hide_text(self, body: bytes, kind: str) -> bytes:
        charset = _charset(body, kind)
        text = body.decode(charset, "surrogateescape")
        if not self._can_match(text):
            return body
        form = "x-www-form-urlencoded" in kind.lower()
        hidden = self.text(text, form=form)
        self.check(hidden)
        if hidden == text:
            return body
        if _control.search(text):
            raise CassetteError(
                "is binary, and has what a rule names, or a URL with a password; taking it out "
                "would break it: leave out the rule, or do not record this exchange"
            )
        return hidden.encode(charset, "surrogateescape")

    def text(self, text: str, depth: int = 0, form: bool = False) -> str:
        """Return `text` without its secrets.

        Parameters:
            depth: how many encodings were undone already.
            form: all of it is one form.
        """
        if depth > _redact.MAX_DEPTH:
            return FILTERED
        text = _redact.hide_user_info(text, FILTERED)
        if self._fields:
            text = self._hide_members(text)
            text = self._hide_markup(text)
        if "\\" in text:
            text = _strings.sub(lambda match: self._hide_string(match, depth), text)
        if self._pairs:
            if form:
                text = _redact.hide_pairs(text, self._pairs, FILTERED, self.text, depth)
            text = self._hide_bare(text)
        if "%" in text:
            text = _percent.sub(lambda match: self._hide_percent(match, depth), text)
        return text

    def _can_match(self, text: str) -> bool:
        """Return whether a name of a rule, or a URL with a user, is in `text` in any reading: most
        bodies have none, and that is found out quickly."""
        for _ in range(_redact.MAX_DEPTH):
            for view in (text, text.replace("\0", ""), _chunk_lines.sub("", text)):
                folded = view.casefold()
                if any(name in folded for name in self._pairs):
                    return True
                if "@" in view and _slashes.search(view):
                    return True
            plain = html.unescape(_unquoted(_unescape_json(text)))
            if plain == text:
                return False
            text = plain
        return True

    def check(self, text: str) -> None:
        """Raise CassetteError if `text`, which was hidden, still shows a secret in some reading."""
        for view in _views(text):
            if self.text(view) != view:
                raise CassetteError(
                    "has what a rule names, or a URL with a password, in a shape that cannot be "
                    "taken apart: take it out with filter_body, or do not record this exchange"
                )

    # JSON

    def _hide_members(self, text: str) -> str:
        """Hide the values of members, whatever they are: found by the text, so that lines of JSON,
        event streams and cut-off documents are looked into as well."""
        position, parts = 0, []
        for match in self._member.finditer(text):
            if match.start() < position or match[1] not in self._fields:
                continue
            colon = _match_colon(text, match.end(1) + 1)
            assert colon is not None
            start = colon.end()
            parts += [text[position:start], f'"{FILTERED}"']
            position = _end_of_value(text, start)
        return "".join(parts) + text[position:]

    def _hide_string(self, match: re.Match[str], depth: int) -> str:
        """Return a string with escapes, without what is secret in what it says: JSON, or a URL."""
        if "\\" not in match[1]:
            return match[0]
        try:
            plain = json.loads(match[0], strict=False)
        except ValueError:
            return match[0]
        hidden = self.text(plain, depth + 1)
        if hidden == plain:
            return match[0]
        return json.dumps(hidden, ensure_ascii=match[0].isascii())

    # Forms and plain text

    def _hide_bare(self, text: str) -> str:
        """Hide the values behind ``name=`` and ``name:``."""
        position, parts = 0, []
        for match in self._pair.finditer(text):
            equals = "=" in match[2]
            names = self._pairs if equals else self._fields
            if match.start() < position or match[1] not in names:
                continue
            parts.append(text[position : match.end()])
            before = text[match.start() - 1] if match.start() else ""
            position = _end_of_bare(text, match.end(), before)
            value = text[match.end() : position]
            opening = _opening(value)
            quoted = "" if opening is None else opening[0]
            parts.append(f"{quoted}{FILTERED}{quoted}" if value.strip() else value)
        return "".join(parts) + text[position:]

    def _hide_percent(self, match: re.Match[str], depth: int) -> str:
        return _redact.hide_encoded(match[0], self._pairs, FILTERED, self.text, depth)

    # HTML and XML

    def _hide_markup(self, text: str) -> str:
        if "<" not in text:
            return text
        return _tag.sub(self._hide_tag, self._hide_elements(text))

    def _hide_elements(self, text: str) -> str:
        position, parts = 0, []
        for match in _open_tag.finditer(text):
            if match.start() < position or not self._is_element_of(match):
                continue
            end = _end_of_element(text, match.end(), match[1])
            if text[match.end() : end].strip():
                parts += [text[position : match.end()], FILTERED]
                position = end
        return "".join(parts) + text[position:]

    def _hide_tag(self, match: re.Match[str]) -> str:
        """Return an input whose name or id is one of the fields, without its value; an attribute
        that is one of them."""
        tag = match[0]
        named = self._is_named(tag)

        def hide(attribute: re.Match[str]) -> str:
            secret = attribute[1] in self._fields or (
                named and attribute[1].lower() in ("value", "content")
            )
            if not secret:
                return attribute[0]
            start = attribute.start(2) - attribute.start()
            return f'{attribute[0][:start]}"{FILTERED}"'

        return _attribute.sub(hide, tag)

    def _is_element_of(self, match: re.Match[str]) -> bool:
        """Return whether the content of the element that begins here is that of a field."""
        return match[1] in self._fields or (
            match[1].lower() not in _VOID and self._is_named(match[0])
        )

    def _is_named(self, tag: str) -> bool:
        """Return whether an attribute of the tag says that it is one of the fields."""
        found = {key.lower(): value.strip("\"'") for key, value in _attribute.findall(tag)}
        return any(found.get(key, "") in self._fields for key in ("name", "id", "key", "property"))

    # Multipart

    def _hide_multipart(self, body: bytes, kind: str) -> bytes:
        boundary = _boundary(body, kind)
        if boundary is None:
            if self._fields and re.search(rb"(?i)\bname\*?\s*=", body):
                raise CassetteError(
                    "is multipart, and its boundary is not known: name it in Content-Type, or do "
                    "not record this exchange"
                )
            return self._hide_text(body, "")
        delimiter = re.compile(
            rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(?:--)?[ \t]*(?:\r?\n|\Z)"
        )
        position, parts = 0, []
        for match in delimiter.finditer(body):
            # A line break may end one delimiter and begin the next one.
            parts += [self._hide_part(body[position : match.start()], position > 0), match[0]]
            position = match.end()
        parts.append(self._hide_part(body[position:], position > 0))
        return b"".join(parts)

    def _hide_part(self, part: bytes, has_head: bool) -> bytes:
        if not part:
            return part
        blank = _blank_line.search(part) if has_head else None
        if blank is None:
            return self.hide(part, "")
        head, content = part[: blank.end()], part[blank.end() :]
        name, kind, coding = _describe(head)
        if name is not None and name in self._fields:
            return head + (FILTERED.encode("ascii") if content else b"")
        plain = _without_transfer_coding(content, coding)
        hidden = self.hide(plain, kind) if plain else plain
        if hidden == plain:
            return part
        if coding == "base64":
            return head + codecs.encode(hidden, "base64").replace(b"\n", b"\r\n").rstrip()
        if coding == "quoted-printable":
            return head + codecs.encode(hidden, "quopri")
        return head + hidden

    # Compression that no header field names

    def _hide_gzip(self, body: bytes, kind: str) -> bytes:
        inflate = zlib.decompressobj(47)
        try:
            plain = inflate.decompress(body)
        except zlib.error:
            return body  # it only looks like gzip
        hidden = self.hide(plain, kind)
        if hidden == plain:
            return body
        if not inflate.eof or inflate.unused_data:
            raise CassetteError(
                "is a piece of gzip, and has what a rule names, or a URL with a password: do not "
                "record this exchange"
            )
        return gzip.compress(hidden, mtime=0)


def _unescape_json(text: str) -> str:
    return _json_escapes.sub(lambda match: chr(int(match[1], 16)) if match[1] else match[2], text)


def _unquoted(text: str) -> str:
    """Return what `urllib.parse.unquote_plus` does, which takes apart all of a text that has an
    escape anywhere in it."""
    text = text.replace("+", " ")
    return _percent_bytes.sub(
        lambda match: unquote_to_bytes(match[0]).decode("utf-8", "replace"), text
    )


def _views(text: str) -> list[str]:
    """Return the other ways in which `text` may be read."""
    views: list[str] = []
    undo: tuple[Callable[[str], str], ...] = (
        _unquoted,
        html.unescape,
        lambda given: given.replace("\\\\", "\\").replace('\\"', '"').replace("\\/", "/"),
        lambda given: re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), given),
        lambda given: given.replace("\0", ""),
        lambda given: _chunk_lines.sub("", given),
    )
    for step in undo:
        view = step(text)
        if view != text:
            views.append(view)
    return views


def _end_of_value(text: str, start: int) -> int:
    try:
        # Not raw_decode: its error counts the lines of the text up to there.
        end: int = _json_decoder.scan_once(text, start)[1]  # type: ignore[attr-defined]
        return end
    except (StopIteration, ValueError, RecursionError):
        if text[start : start + 1] in ('"', "{", "["):
            return len(text)  # it has no end: nothing that follows can be separated from it
        match = _match_scalar(text, start)
        assert match is not None
        return match.end()


def _end_of_element(text: str, start: int, name: str) -> int:
    """Return where the content ends of the element `name` whose tag ends at `start`; `start` itself
    where it is no text, as another element begins in it."""
    if name.lower() == "textarea":  # HTML: all of it is text
        found = _textarea_end.search(text, start)
        return len(text) if found is None else found.start()
    end = text.find("<", start)
    while text.startswith(_CDATA, end):
        end = text.find("]]>", end)
        if end < 0:
            return len(text)  # it has no end: nothing that follows can be separated from it
        end = text.find("<", end)
        if end < 0 or not text.startswith((_CDATA, "</"), end):
            return len(text) if end < 0 else end
    return end if text.startswith("</", end) else start


def _end_of_bare(text: str, start: int, before: str) -> int:
    """Return where a value ends that begins at `start`: with its quotation mark, where a URL ends,
    or with its line."""
    first = text[start : start + 1]
    opening = _opening(text, start)
    if opening is not None:
        closing = re.compile(r"(?<!\\)(?:\\\\)*" + re.escape(opening[0]))
        match = closing.search(text, opening.end())
        return len(text) if match is None else match.end()
    if first in ("{", "["):
        return (
            _end_of_value(text, start)
            if not text.startswith(FILTERED, start)
            else (start + len(FILTERED))
        )
    match = (_url_value if before in ("?", "&", "#", ";") else _line_value)(text, start)
    assert match is not None
    return match.end()


def _charset(body: bytes, kind: str) -> str:
    """Return the encoding of a text: one that gives the same bytes again."""
    for mark, name in (
        (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
    ):  # fmt: skip
        if body.startswith(mark):
            return name if _is_lossless(body, name) else "utf-8"
    found = re.search(r"charset\s*=\s*[\"']?([\w.:\-]+)", kind, re.IGNORECASE)
    names = [found[1]] if found else []
    if b"\0" in body:
        names.append(json.detect_encoding(body))
    return next((name for name in names if _is_lossless(body, name)), "utf-8")


def _is_lossless(body: bytes, name: str) -> bool:
    try:
        return body.decode(name).encode(name) == body
    except (LookupError, ValueError, TypeError):
        return False


def _boundary(body: bytes, kind: str) -> bytes | None:
    """Return what separates the parts: as Content-Type says, if it occurs, or as the body
    begins."""
    from email.message import Message

    described = Message()
    described["Content-Type"] = kind.replace("\r", "").replace("\n", "")
    named = described.get_boundary()
    if named is not None:
        boundary = named.encode("latin-1", "replace")
        if b"--" + boundary in body:
            return boundary
    found = _delimiter_line.search(body)
    return None if found is None else found[1]


def _describe(head: bytes) -> tuple[str | None, str, str]:
    """Return name, Content-Type and Content-Transfer-Encoding of a part."""
    from email.parser import HeaderParser
    from email.utils import collapse_rfc2231_value

    fields = HeaderParser().parsestr(head.decode("utf-8", "replace"))  # as browsers send names
    name = fields.get_param("name", header="content-disposition")
    coding = str(fields.get("content-transfer-encoding", "")).strip().lower()
    kind = str(fields.get("content-type", ""))
    return (None if name is None else collapse_rfc2231_value(name)), kind, coding


def _without_transfer_coding(content: bytes, coding: str) -> bytes:
    try:
        if coding == "base64":
            return codecs.decode(content, "base64")
        if coding == "quoted-printable":
            return codecs.decode(content, "quopri")
    except ValueError:
        pass
    return content
