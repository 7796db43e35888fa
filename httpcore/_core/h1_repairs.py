"""Reads the fields of a response that h11 refuses, as http.client and urllib3 do.

Owns: what an odd line is taken for, what an odd length means, whether the framing of a response
with either is certain, and the names of the oddities.
Must not know: connections, bodies, settings, h11, the log. Bytes go in, and what they mean comes
out; the caller decides whether to read leniently, and logs the oddities.
Sources: RFC 9112 sections 5.1, 5.2 and 6.3 and RFC 9110 section 5.5, which describe most of the
repairs; http.client.

What requests reads today and h11 does not: names such as ``a[0]``, white space before the colon,
line folds, control characters in a value, lines that are no field at all, and lengths that are no
number. Reports: python-hyper/h11#113, #130, encode/httpx#1363, #1862, psf/requests#3852.

`h1` loads it with the first response that is not plain: most programs never meet one.
"""

from __future__ import annotations

import contextlib
import re
from typing import NamedTuple

from .h1_grammar import (
    CONFLICTING,
    CONTROLS_TO_SPACES,
    MAX_LENGTH_DIGITS,
    Headers,
    broken,
    is_loose_name,
    is_token,
    match_loose_status,
    shown_length,
    tokens,
)

_mentions_framing = re.compile(rb"(?i)content-length|transfer-encoding|connection").search


class Fields(NamedTuple):
    """Fields that were read from lines.

    Attributes:
        fields: name and value pairs, as they came for the user.
        trusted: whether the framing can be trusted enough to reuse the connection.
        oddities: a few words for each kind of oddness, once, in the order of the lines. Without
            values: they may be secrets.
    """

    fields: Headers
    trusted: bool
    oddities: list[str]


def split_lines(block: bytes) -> list[bytes]:
    """Return the lines of a section, without line ends and without the blank one, split as by
    h11."""
    return [line[:-1] if line.endswith(b"\r") else line for line in block.split(b"\n")][:-2]


def repair_head(block: bytes) -> tuple[bytes, Fields] | None:
    """Rewrite a head that h11 refuses into one that means what http.client reads in it.

    Parameters:
        block: the head, blank line included.

    Returns:
        The rewritten head for h11, and the fields. None when even the status line is beyond repair.

    Raises:
        ConflictingLengths: two different Content-Lengths and no chunked coding.
        RemoteProtocolError: readers of this head may see its body end in different places.
    """
    lines = split_lines(block)
    match = match_loose_status(lines[0].translate(CONTROLS_TO_SPACES)) if lines else None
    if match is None:
        return None
    fields, trusted, oddities = read_fields(lines[1:])
    framing, is_plain, odd_length = settle_framing(fields)
    others = [
        field
        for field in fields
        if field[0].lower() not in (b"content-length", b"transfer-encoding")
        and is_token(field[0]) is not None  # another decides nothing, and h11 would refuse it
    ]
    status_line = b"HTTP/%b %b %b" % (match[1], match[2], (match[3] or b"").strip())
    text = [status_line, *(b"%b: %b" % field for field in others + framing), b"", b""]
    trusted = trusted and is_plain and b"\r" not in lines[0]
    return b"\r\n".join(text), Fields(fields, trusted, oddities + odd_length)


def read_fields(lines: list[bytes]) -> Fields:
    """Return the fields that can be read in these lines, a head's or a trailer section's."""
    fields: list[tuple[bytes, bytearray]] = []
    oddities: dict[str, None] = {}
    trusted = True
    skipping = True
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            oddity = "folded line without a field skipped" if skipping else "folded line joined"
            if not skipping:
                trusted = trusted and _mentions_framing(fields[-1][0]) is None
                fields[-1][1].extend(b" " + line.strip(b" \t").translate(CONTROLS_TO_SPACES))
        else:
            name, value, oddity = read_line(line)
            skipping = name is None
            if name is not None:
                fields.append((name, bytearray(value)))
            elif b":" not in line:
                trusted = False
        if oddity:
            oddities[oddity] = None
            # http.client and others take a CR by itself for the end of a line: they see more fields
            # than are here, or the end of the head.
            trusted = trusted and b"\r" not in line and _mentions_framing(line) is None
    read = [(name, bytes(value).strip(b" \t")) for name, value in fields]
    return Fields(read, trusted, list(oddities))


def read_line(line: bytes) -> tuple[bytes | None, bytes, str]:
    """Return the name, the value and the oddity of a line that does not continue another one. The
    name is None where it is to be skipped, the oddity empty where there is none."""
    name, colon, value = line.partition(b":")
    bare_name = name.rstrip(b" \t")
    if not colon:
        return None, b"", "line without colon skipped"
    if is_loose_name(bare_name) is None:
        return None, b"", "line with a bad field name skipped"
    cleaned = value.translate(CONTROLS_TO_SPACES)
    oddity = ""
    if bare_name != name:
        oddity = "space before colon removed"
    elif cleaned != value:
        oddity = "control character in a value replaced"
    elif is_token(bare_name) is None:
        oddity = "field name that is no token kept"
    return bare_name, cleaned.strip(b" \t"), oddity


def settle_framing(fields: Headers) -> tuple[Headers, bool, list[str]]:
    """Return the one framing field, or none, that http.client and urllib3 would go by; whether all
    readers see the same in it; and what is odd about it.

    Chunked wins over a length, as in RFC 9112 section 6.3 rule 3; other codings are passed
    through undecoded; a length that is no number means that the body ends with the connection.
    What one reader of this head takes for a frame and another does not is refused (RFC 9112
    sections 6.1 and 6.3): chunked twice, and a length that only Python's int() can read.
    """
    values = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    codings = [token for value in values for token in tokens(value)]
    lengths = [
        part.strip()
        for name, value in fields
        if name.lower() == b"content-length"
        for part in value.split(b",")
    ]
    if b"chunked" in codings:
        if codings.count(b"chunked") > 1:
            raise broken("the coding chunked is named twice in Transfer-Encoding")
        # An empty member or a second field is nothing to us; others go by the first field alone.
        is_plain = [value.lower() for value in values] == [b"chunked"] and not lengths
        return [(b"Transfer-Encoding", b"chunked")], is_plain, []
    if not lengths:
        return [], not values, []
    odd = [part for part in lengths if not part.isdigit()]
    for part in odd:
        if _is_number_to_python(part):
            raise broken(f"Content-Length is {shown_length(part)}, which is not digits alone")
    if odd:
        return [], False, ["Content-Length that is no number ignored"]
    # h11 counts digits, and zeros in front are not worth a refusal. int() would raise at thousands.
    numbers = {part.lstrip(b"0") or b"0" for part in lengths}
    if len(numbers) > 1:
        raise broken(CONFLICTING)
    return [(b"Content-Length", numbers.pop())], not values, []


def _is_number_to_python(value: bytes) -> bool:
    """Return whether int() reads it, with a sign, underscores or digits of other scripts."""
    for encoding in ("utf-8", "latin-1"):
        with contextlib.suppress(ValueError):  # bytes that are no text, or text that is no number
            int(value[: 2 * MAX_LENGTH_DIGITS].decode(encoding))
            return True
    return False
