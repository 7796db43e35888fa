"""What may be shown: no control characters, no secrets.

Owns: how text of a server is made harmless for a terminal. Must not know: where it is shown, and
what is secret (`_redact` does).

A terminal obeys what it is given: a server could recolour, overwrite, or in some terminals type on
the user's behalf. So what a server says is shown with its control characters written out.

Sources: ECMA-48 (C0 and C1 control functions), Unicode TR 36 section 2.6 (bidirectional text).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .._redact import FILTERED, SECRET_FIELDS, SUSPECT, hide_field, hide_links, is_secret

if TYPE_CHECKING:
    from .._core.h1 import Headers  # which loads the codec

# DEL and C1 controls, what reorders text, line separators, and lone surrogates, which cannot be
# encoded.
_BEYOND_C0 = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_HARMFUL = re.compile(f"[\x00-\x1f{_BEYOND_C0}]")
_HARMFUL_IN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f{_BEYOND_C0}]")


def line(text: str) -> str:
    """Return `text` as one line."""
    return _HARMFUL.sub(_written_out, text)


def lines(text: str) -> str:
    """Return `text` with its line breaks and tabs, else as `line`. A carriage return before a line
    break is left out."""
    return _HARMFUL_IN_LINES.sub(_written_out, text.replace("\r\n", "\n"))


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def of_bytes(data: bytes) -> str:
    """Return bytes of a header as one line: UTF-8 where they are that, else latin-1 as HTTP once
    said."""
    try:
        return line(data.decode("utf-8"))
    except UnicodeDecodeError:
        return line(data.decode("latin-1"))


def target(data: bytes) -> str:
    """Return a request target as it may be shown in a log: without values whose names sound
    secret."""
    return hide_links(of_bytes(data), SUSPECT, FILTERED)


def masked(headers: Headers) -> list[tuple[str, str]]:
    """Return header fields as they may be shown in a log."""
    return [(of_bytes(name), _masked_value(name, value)) for name, value in headers]


def _masked_value(name: bytes, value: bytes) -> str:
    text, name = of_bytes(value), name.lower()
    if name in SECRET_FIELDS:
        return hide_field(name, text, FILTERED)
    return FILTERED if is_secret(name) else hide_links(text, SUSPECT, FILTERED)
