"""What the parts of the HTTP/1.1 codec share: names, lengths, a status line, and the errors.

Owns: the patterns and limits that more than one part reads by, and the error for a response that is
not HTTP. Must not know: messages as a whole, what is sent, what is repaired.
Sources: RFC 9110 section 5 (names and values), RFC 9112 section 4 (status line).
"""

from __future__ import annotations

import re

from .._exceptions import (
    RESPONSE_STARTED,
    ConflictingLengths,
    IllegalStatusLine,
    RemoteProtocolError,
)

Headers = list[tuple[bytes, bytes]]

MAX_LENGTH_DIGITS = 20
"""Digits of a Content-Length, as h11 limits it: enough for 2**64, and int() stays cheap."""

TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
is_token = re.compile(TOKEN).fullmatch
# A name that is no token and still cannot be taken for anything but a name: visible ASCII without
# the colon. http.client reads the same; it sends more than that (spaces, control characters).
is_loose_name = re.compile(rb"[!-9;-~]+").fullmatch

# A status line as http.client splits one: white space around it and between its parts, control
# characters made spaces.
match_loose_status = re.compile(
    rb"[ \t]*HTTP/(1\.[0-9])[ \t]+([1-9][0-9][0-9])(?:[ \t]+(.*))?"
).fullmatch
CONTROLS_TO_SPACES = bytes.maketrans(b"\0\n\v\f\r", b"     ")

# What an attempt at a number may hold: it is shown. All else may be a value of another field.
_is_like_number = re.compile(rb"[0-9+\-., ]*").fullmatch

ILLEGAL_STATUS_LINE = "illegal status line"
CONFLICTING = "conflicting Content-Length headers"


def tokens(value: bytes) -> list[bytes]:
    """Return the lower-case members of a comma-separated field value."""
    return [part for part in (piece.strip() for piece in value.lower().split(b",")) if part]


def shown_length(value: bytes) -> str:
    """Return a length that is none, as an error may show it."""
    if _is_like_number(value) is None:
        return f"{len(value)} bytes that are no number"
    return repr(value[:40])


def broken(reason: str) -> RemoteProtocolError:
    """Return the error for a response that began and is not HTTP."""
    # h11 has no class for this one; a test holds the text in place. It also quotes the whole
    # offending line elsewhere, which may be long.
    kind = RemoteProtocolError
    if reason == CONFLICTING:
        kind = ConflictingLengths
    elif reason.startswith(ILLEGAL_STATUS_LINE):
        kind = IllegalStatusLine
    error = kind(reason if len(reason) <= 200 else reason[:200] + "...")
    error.phase = RESPONSE_STARTED
    return error
