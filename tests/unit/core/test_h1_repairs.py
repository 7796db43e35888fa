"""What odd fields of a response are taken for, line by line.

Owns: the repairs by themselves. Must not know: readers; test_h1.py has what they make of repairs,
and compares it with http.client.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from httpcore._core.h1_repairs import (
    read_fields,
    read_line,
    repair_head,
    settle_framing,
    split_lines,
)
from httpcore.exceptions import ConflictingLengths, RemoteProtocolError


def test_lines_may_end_in_either_way() -> None:
    assert split_lines(b"a\r\nb\nc\r\r\n\r\n") == [b"a", b"b", b"c\r"]
    assert split_lines(b"\r\n") == []


@pytest.mark.parametrize(
    ("line", "name", "value", "oddity"),
    [
        (b"A: b", b"A", b"b", ""),
        (b"A:\t b\t", b"A", b"b", ""),
        (b"A:", b"A", b"", ""),
        (b"A \t: b", b"A", b"b", "space before colon removed"),
        (b"A: b\0c\rd", b"A", b"b c d", "control character in a value replaced"),
        (b"a[0]: b", b"a[0]", b"b", "field name that is no token kept"),
        (b"a b: c", None, b"", "line with a bad field name skipped"),
        (b": c", None, b"", "line with a bad field name skipped"),
        (b"odd", None, b"", "line without colon skipped"),
        (b"", None, b"", "line without colon skipped"),
    ],
)
def test_a_line(line: bytes, name: bytes | None, value: bytes, oddity: str) -> None:
    assert read_line(line) == (name, value, oddity)


@pytest.mark.parametrize(
    ("lines", "fields", "trusted", "oddities"),
    [
        ([], [], True, []),
        ([b"A: b", b" c", b"\td"], [(b"A", b"b c d")], True, ["folded line joined"]),
        ([b" c", b"A: b"], [(b"A", b"b")], True, ["folded line without a field skipped"]),
        (
            [b"a b: c", b" d"],
            [],
            True,
            ["line with a bad field name skipped", "folded line without a field skipped"],
        ),
        ([b"odd"], [], False, ["line without colon skipped"]),
        ([b"A: b\rC: d"], [(b"A", b"b C: d")], False, ["control character in a value replaced"]),
        (
            [b"Content-Length: 1", b" 2"],
            [(b"Content-Length", b"1 2")],
            False,
            ["folded line joined"],
        ),
        (
            [b"A : b", b"connection : c"],
            [(b"A", b"b"), (b"connection", b"c")],
            False,
            ["space before colon removed"],
        ),
    ],
)
def test_lines_together(
    lines: list[bytes],
    fields: list[tuple[bytes, bytes]],
    trusted: bool,
    oddities: list[str],
) -> None:
    assert read_fields(lines) == (fields, trusted, oddities)


@pytest.mark.parametrize(
    ("fields", "framing", "is_plain", "oddities"),
    [
        ([], None, True, []),
        ([(b"Content-Length", b"5")], (b"Content-Length", b"5"), True, []),
        ([(b"content-length", b"5, 05")], (b"Content-Length", b"5"), True, []),
        ([(b"Content-Length", b"0000")], (b"Content-Length", b"0"), True, []),
        ([(b"Content-Length", b"0" * 5000 + b"5")], (b"Content-Length", b"5"), True, []),
        # h11 refuses it.
        ([(b"Content-Length", b"1" * 5000)], (b"Content-Length", b"1" * 5000), True, []),
        (
            [(b"Content-Length", b"five")],
            None,
            False,
            ["Content-Length that is no number ignored"],
        ),
        ([(b"Transfer-Encoding", b"chunked")], (b"Transfer-Encoding", b"chunked"), True, []),
        ([(b"Transfer-Encoding", b"gzip, Chunked")], (b"Transfer-Encoding", b"chunked"), False, []),
        ([(b"Transfer-Encoding", b"gzip")], None, False, []),
        (
            [(b"Transfer-Encoding", b"gzip"), (b"Content-Length", b"5")],
            (b"Content-Length", b"5"),
            False,
            [],
        ),
        (
            [(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"five")],
            (b"Transfer-Encoding", b"chunked"),
            False,
            [],
        ),
    ],
)
def test_framing(
    fields: list[tuple[bytes, bytes]],
    framing: tuple[bytes, bytes] | None,
    is_plain: bool,
    oddities: list[str],
) -> None:
    assert settle_framing(fields) == ([framing] if framing else [], is_plain, oddities)


@pytest.mark.parametrize(
    ("fields", "error", "reason"),
    [
        ([(b"Content-Length", b"5, 6")], ConflictingLengths, "conflicting"),
        ([(b"Content-Length", b"1" * 5000 + b",5")], ConflictingLengths, "conflicting"),
        ([(b"Content-Length", b"+5")], RemoteProtocolError, "not digits alone"),
        ([(b"Content-Length", b"1_0")], RemoteProtocolError, "not digits alone"),
        ([(b"Transfer-Encoding", b"chunked, chunked")], RemoteProtocolError, "named twice"),
    ],
)
def test_framing_that_readers_see_differently(
    fields: list[tuple[bytes, bytes]], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        settle_framing(fields)


def test_a_head() -> None:
    repaired = repair_head(
        b" HTTP/1.1  200   Fine \r\nA : b\r\na[0]: c\r\nContent-Length: 05\r\nodd\r\n\r\n"
    )
    assert repaired is not None
    head, (fields, trusted, oddities) = repaired
    assert head == b"HTTP/1.1 200 Fine\r\nA: b\r\nContent-Length: 5\r\n\r\n"
    assert fields == [(b"A", b"b"), (b"a[0]", b"c"), (b"Content-Length", b"05")]
    assert not trusted
    assert oddities == [
        "space before colon removed",
        "field name that is no token kept",
        "line without colon skipped",
    ]


@pytest.mark.parametrize("block", [b"\r\n", b"HTTP/2 200\r\n\r\n", b"ICY 200 OK\r\n\r\n"])
def test_a_head_beyond_repair(block: bytes) -> None:
    assert repair_head(block) is None


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"A: b", b" c", b"A : b", b"odd"])))
@example([b" ", b":", b"A:"])
def test_what_is_read_is_fields(lines: list[bytes]) -> None:
    """Whatever the lines are: names and values that can be shown, and no oddity twice."""
    lines = [line.replace(b"\n", b"") for line in lines]
    fields, _, oddities = read_fields(lines)
    for name, value in fields:
        assert name and not set(name) & set(b"\0\t\r\n :")
        assert value == value.strip(b" \t") and not set(value) & set(b"\0\v\f\r\n")
    assert len(oddities) == len(set(oddities))
