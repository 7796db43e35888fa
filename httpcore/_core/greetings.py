"""Explains the first bytes of a peer where they are not those that were expected.

Owns: the text about such bytes. Must not know: sockets, the codecs that found the bytes.
Sources: RFC 8446 section 5.1 (TLS records), RFC 9113 section 3.4 (HTTP/2 preface).
"""

from __future__ import annotations

import re

MAX_QUOTED = 13
"""Bytes of an answer that are quoted: the name of a protocol and a status, and nothing behind it,
for that may be a secret."""

MAX_QUOTED_BINARY = 12
"""The same for a binary protocol: a frame header and a little more."""

_is_request = re.compile(rb"[A-Z]+ [!-~]+ HTTP/").match
_is_version = re.compile(rb"[ \t]*(HTTP/[0-9]+(?:\.[0-9]+)?)(?![0-9.])").match

# What the answer of a server begins with, and what is known about the server then.
_GREETINGS = (
    (re.compile(rb"[\x15\x16]\x03").match, "a TLS record: the scheme should be https"),
    (
        re.compile(rb"\0..\x04.\0{4}", re.DOTALL).match,
        "an HTTP/2 frame: the server may need http1=False and http2=True",
    ),
    (re.compile(rb"HTTP/1\.").match, "an HTTP/1.1 server: use http1=True, the default"),
    (re.compile(rb"SSH-").match, "an SSH server: check the port"),
    (re.compile(rb"220[ -]").match, "an SMTP or FTP server: check the port"),
    (re.compile(rb"\+OK|\* OK").match, "a mail server: check the port"),
    (re.compile(rb"(?i)\s*<(?:!doctype|html)").match, "a page without a head, as in HTTP/0.9"),
)


def explain_start(start: bytes, expected: str = "HTTP/1") -> str:
    """Return what `start`, the first bytes of an answer, is, and what to try if that is known.

    Parameters:
        expected: the protocol that should have been there, ``"HTTP/1"`` or ``"HTTP/2"``.
    """
    if _is_request(start):
        return "the server sent a request back, perhaps ours"  # not shown: it may hold secrets
    version = _is_version(start)
    if expected == "HTTP/1" and version is not None and not version[1].startswith(b"HTTP/1."):
        return f"{version[1].decode('ascii')} is not HTTP/1.x"
    line = start[: start.index(b"\n") + 1] if b"\n" in start else start
    quoted = line[: MAX_QUOTED if start[:1] >= b" " else MAX_QUOTED_BINARY]
    cut = "..." if len(quoted) < len(line) else ""
    return f"the answer begins with {quoted!r}{cut} ({_recognised(start, expected)})"


def _recognised(start: bytes, expected: str) -> str:
    for matches, hint in _GREETINGS:
        if matches(start) and not hint.startswith(f"an {expected}"):
            return hint
    return f"no {expected} server, or one with another scheme or port"
