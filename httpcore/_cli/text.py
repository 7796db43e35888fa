"""Makes texts fit to be shown: no control characters, no secrets.

Owns: how text of a server is made harmless for a terminal, which would obey it: recolour,
overwrite, in some terminals type on the user's behalf. Must not know: where it is shown, and what
is secret (`_redact` does).

Sources: ECMA-48 (C0 and C1 control functions), Unicode TR 36 section 2.6 (bidirectional text).
"""

from __future__ import annotations

import re

from .._core.h1_grammar import Headers
from .._redact import FILTERED, SUSPECT, hide_field, hide_links, is_secret

# C0, DEL and C1 controls, what reorders text, line separators, and lone surrogates, which cannot be
# encoded.
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def line(text: str) -> str:
    """Return `text` as one line: what is harmful as Python writes it in a literal."""
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def lines(text: str) -> str:
    """Return `text` with its line breaks and tabs, else as `line`. A carriage return before a line
    break is left out."""
    return re.sub(r"[^\n\t]+", lambda part: line(part[0]), text.replace("\r\n", "\n"))


def of_bytes(data: bytes) -> str:
    """Return bytes of a header as one line: UTF-8 where they are that, else latin-1 as HTTP once
    said."""
    try:
        return line(data.decode("utf-8"))
    except UnicodeDecodeError:
        return line(data.decode("latin-1"))


def hidden(text: str) -> str:
    """Return a URL, or text with some, as it may be shown in a log: without values whose names
    sound secret."""
    return hide_links(text, SUSPECT, FILTERED)


def masked(headers: Headers) -> list[str]:
    """Return header fields as they may be shown in a log."""
    shown = []
    for name, data in headers:
        value = of_bytes(data)
        value = hide_field(name.lower(), value, FILTERED) if is_secret(name) else hidden(value)
        shown.append(f"{of_bytes(name)}: {value}")
    return shown


def first_value(headers: Headers, wanted: bytes) -> str:
    """Return the value of the first field of that name, in lower case; empty for none."""
    return next((of_bytes(value) for name, value in headers if name.lower() == wanted), "")
