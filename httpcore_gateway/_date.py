"""The Date of responses.

Owns: its text, and which response gets it. Must not know: what else stands in a response.

Source: RFC 9110 section 6.6.1.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from operator import itemgetter

_date = (0, b"")  # the second of the last one, and its text


def make_date() -> bytes:
    """Return the value of Date now. The text is made once a second."""
    global _date
    second = int(time.time())
    known, text = _date
    if second != known:
        text = formatdate(second, usegmt=True).encode("ascii")
        _date = (second, text)
    return text


_name_of = itemgetter(0)


def add_date(fields: list[tuple[bytes, bytes]]) -> None:
    """Add the time to a response that comes without it: a server with a clock that passes it on has
    to."""
    if b"date" not in map(_name_of, fields):
        fields.append((b"date", make_date()))
