"""What stands in a text for people in place of a URL, a header field or a name.

Owns: `httpcore._redact`, rule by rule. Must not know: cassettes, errors, logs. That no secret gets
through, whatever it looks like, is the business of tests/shell/test_no_secrets.py.
"""

from __future__ import annotations

from urllib.parse import quote

import pytest

from httpcore import _redact


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/p", "http://h/p"),
        ("http://h/p#token", "http://h/p#[secure]"),
        ("http://u:p@h/p#token", "http://[secure]@h/p#[secure]"),
        ("http://h/p?a=1&b=&c#d", "http://h/p?a=[secure]&b=&[secure]#[secure]"),
        ("http://h/p#a?b@c", "http://h/p#[secure]"),
        # An "@" in a path is the path's own.
        ("http://h/@name", "http://h/@name"),
        ("/@name/x", "/@name/x"),
        ("/@name?a=b@c", "/@name?a=[secure]"),
        ("//u:p@h/x", "//[secure]@h/x"),
        # What cannot be parsed may be a password up to its last "@".
        ("u:p@h", "[secure]@h"),
        ("http://u:p@ss@[broken/x", "http://[secure]@[broken/x"),
        (b"http://u:p@h/", "http://[secure]@h/"),
    ],
)
def test_a_url(url: str | bytes, shown: str) -> None:
    assert _redact.redact_url(url) == shown


@pytest.mark.parametrize("name", [b":path", b"location", b"content-location", b"referer"])
def test_a_field_that_holds_a_target(name: bytes) -> None:
    assert _redact.redact_field(name, b"/p?key=S3CRET") == b"/p?key=[secure]"


def test_a_field() -> None:
    assert _redact.redact_field(b"authorization", b"Basic S3CRET") == b"[secure]"
    assert _redact.redact_field(b"accept", b"text/html") == b"text/html"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("accept", "'accept'"),
        (b"accept", "b'accept'"),
        ("X-Key: S3CRET", "'X-Key'..."),
        (None, "of type NoneType"),
    ],
)
def test_the_name_of_a_field(name: object, shown: str) -> None:
    assert _redact.shown_name(name) == shown


def test_every_name_is_one_of_every() -> None:
    assert "anything" in _redact.EVERY
    assert (_redact.EVERY | _redact.Names(["a"])) is _redact.EVERY


def test_a_name_is_found_in_each_of_its_spellings() -> None:
    names = _redact.Names(["token"])
    for spelling in ("TOKEN", "t%6Fken", "t\\u006fken", "token[]", "user[token]"):
        assert spelling in names
    assert "tokens" not in names


def test_a_name_loses_as_many_encodings_as_are_looked_at() -> None:
    name = "token%"
    for _ in range(_redact.MAX_DEPTH + 1):
        name = quote(name)
    assert _redact.plain_name(name) == "token%25"


def test_what_is_encoded_is_hidden_as_far_as_it_can_be_decoded() -> None:
    names = _redact.Names(["token"])
    link = quote("http://h/?token=S3CRET", safe="")
    assert _redact.hide_encoded(link, names, "[-]").endswith("token%3D[-]")
    assert _redact.hide_encoded("plain", names, "[-]") == "plain"
    assert _redact.hide_encoded(quote("äöü"), names, "[-]") == quote("äöü")
    assert _redact.hide_encoded(link, names, "[-]", depth=_redact.MAX_DEPTH) == "[-]"
