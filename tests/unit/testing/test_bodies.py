"""How a body is taken apart to hide what a rule names: its parts, codings and encodings.

Owns: `httpcore._testing.cassettes.bodies`, for shapes that servers send by mistake. Must not know:
files, exchanges. All shapes times all places of a secret are in test_cassette_secrets.py.
"""

from __future__ import annotations

import gzip
from urllib.parse import quote

import pytest

from httpcore._redact import FILTERED, MAX_DEPTH, Names
from httpcore._testing.cassettes.bodies import Bodies
from httpcore._testing.cassettes.exchange import CassetteError

NONE = Names([])
BODIES = Bodies(Names(["token"]), NONE)
MARK = FILTERED.encode("ascii")
MULTIPART = "multipart/form-data; boundary=b"


def part(head: str, content: bytes) -> bytes:
    return b"--b\r\n" + head.encode("ascii") + b"\r\n\r\n" + content + b"\r\n--b--\r\n"


def test_multipart_whose_boundary_is_unknown_is_refused_where_a_field_may_be_in_it() -> None:
    body = b'Content-Disposition: form-data; name="token"\r\n\r\nS3CRET\r\n'
    with pytest.raises(CassetteError, match="its boundary is not known"):
        BODIES.hide(body, "multipart/form-data")


def test_multipart_whose_boundary_is_unknown_is_text_where_no_field_can_be_in_it() -> None:
    assert BODIES.hide(b"nothing", "multipart/form-data") == b"nothing"
    hidden = Bodies(NONE, NONE).hide(b'name="x" http://u:p@h/', "multipart/form-data")
    assert hidden == b'name="x" http://' + MARK + b"@h/"


@pytest.mark.parametrize("coding", ["quoted-printable", "base64"])
def test_a_part_keeps_its_coding(coding: str) -> None:
    import codecs

    name = "quopri" if coding == "quoted-printable" else "base64"
    head = f"Content-Type: application/json\r\nContent-Transfer-Encoding: {coding}"
    secret = codecs.encode(b'{"token": "S3CRET"}', name)
    hidden = BODIES.hide(part(head, secret), MULTIPART)
    content = hidden.partition(b"\r\n\r\n")[2].partition(b"\r\n--b--")[0]
    assert codecs.decode(content, name) == b'{"token": "' + MARK + b'"}'


def test_a_part_that_has_not_the_coding_it_claims_is_taken_as_it_is() -> None:
    body = part("Content-Transfer-Encoding: base64", b"abc")  # its padding is missing
    assert BODIES.hide(body, MULTIPART) == body


def test_a_part_without_a_secret_keeps_its_bytes() -> None:
    body = part("Content-Transfer-Encoding: quoted-printable", b"a=\r\nb=20")
    assert BODIES.hide(body, MULTIPART) == body


def test_what_only_looks_like_gzip_keeps_its_bytes() -> None:
    body = b"\x1f\x8b and no gzip"
    assert BODIES.hide(body, "") == body


def test_gzip_without_a_secret_keeps_its_bytes() -> None:
    body = gzip.compress(b"nothing")
    assert BODIES.hide(body, "") == body


def test_a_piece_of_gzip_with_a_secret_is_refused() -> None:
    body = gzip.compress(b'{"token": "S3CRET"}')
    assert gzip.decompress(BODIES.hide(body, "")) == b'{"token": "' + MARK + b'"}'
    with pytest.raises(CassetteError, match="is a piece of gzip"):
        BODIES.hide(body + b"more", "")


def test_what_is_encoded_too_often_to_be_looked_at_is_hidden() -> None:
    assert BODIES.text("anything", MAX_DEPTH + 1) == FILTERED
    text = "% no name"
    for _ in range(MAX_DEPTH + 1):
        text = quote(text)
    assert FILTERED.encode("ascii") in BODIES.hide(text.encode("ascii"), "")
