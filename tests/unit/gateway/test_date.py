"""The Date of responses, on a clock that a test sets. Owns: its text, and where it is added."""

from __future__ import annotations

import pytest

from httpcore_gateway import _date
from httpcore_gateway._date import add_date, make_date


def test_the_date_is_that_of_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the clock is set back."""
    for now, text in ((99.9, b"01:39"), (100.0, b"01:40"), (100.9, b"01:40"), (59.0, b"00:59")):
        monkeypatch.setattr(_date.time, "time", lambda now=now: now)
        assert make_date() == b"Thu, 01 Jan 1970 00:" + text + b" GMT"


def test_a_response_without_a_date_gets_one() -> None:
    fields = [(b"etag", b"x")]
    add_date(fields)
    assert [name for name, _ in fields] == [b"etag", b"date"]
    assert fields[1][1].endswith(b" GMT")
    before = list(fields)
    add_date(fields)
    assert fields == before
