"""What of a URL and of a name stands in a text."""

from __future__ import annotations

import pytest

from httpcore import redact
from httpcore._url import read_credentials, split_user_info

MARK = "s3cret"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/p", "http://h/p"),
        (f"http://h/p?token={MARK}#{MARK}", "http://h/p"),
        (f"http://h/p#{MARK}?{MARK}", "http://h/p"),
        (f"http://me:{MARK}@h:80/p", "http://h:80/p"),
        (f"http://me:{MARK}@[::1]:80/p?{MARK}", "http://[::1]:80/p"),
        (f"http://me:{MARK}/x@h/p", "http://h/p"),
        (f"http://me:{MARK}#x@h/p", "http://h/p"),
        (f"//me:{MARK}@h/p", "//h/p"),
        (f"/p@x?{MARK}", "/p@x"),
        (f"?{MARK}", ""),
        ("", ""),
    ],
)
def test_a_url_is_shown_up_to_its_path(url: str, shown: str) -> None:
    assert redact.without_query(url) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("X-Key", "X-Key"),
        (f"X-Key: {MARK}", "X-Key..."),
        (f"X-Key\n{MARK}".encode(), "X-Key..."),
        ("Größe", "Größe"),
        ("a" * 81, "a" * 80 + "..."),
        (7, "7"),
        ("", ""),
    ],
)
def test_a_name_is_shown_as_far_as_it_is_one(name: object, shown: str) -> None:
    assert redact.plain_start(name) == shown


@pytest.mark.parametrize(
    ("url", "rest", "info"),
    [
        ("http://h/p@x", "http://h/p@x", None),
        ("http://@h/", "http://h/", ""),
        ("http://me:a%40b@h/p@x", "http://h/p@x", "me:a%40b"),
        ("http://me:a@b@h", "http://h", "me:a@b"),
        ("h/p", "h/p", None),
    ],
)
def test_user_information_is_read_in_one_place(url: str, rest: str, info: str | None) -> None:
    assert split_user_info(url) == (rest, info)


def test_credentials_are_percent_decoded() -> None:
    assert read_credentials("m%65:a%40b:c") == (b"me", b"a@b:c")
    assert read_credentials("me") == (b"me", b"")
