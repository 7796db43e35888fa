"""The responses of the gateway itself, and the identifiers of requests.

Owns: RFC 9457, which identifiers are kept. Must not know: ASGI.
"""

from __future__ import annotations

import json

import pytest

from httpcore_gateway._problems import Problem, encode_problem
from httpcore_gateway._record import RequestIds, accepts_id


@pytest.mark.parametrize(
    ("status", "title"),
    [(400, "Bad Request"), (413, "Content Too Large"), (503, "Service Unavailable"),
     (508, "Loop Detected"), (505, "HTTP Version Not Supported"), (417, "Expectation Failed"),
     (431, "Request Header Fields Too Large")],
)  # fmt: skip
def test_problem_details(status: int, title: str) -> None:
    fields, body = encode_problem(Problem(status, "why é"), "id")
    assert json.loads(body) == {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": "why é",
        "request_id": "id",
    }
    named = dict(fields)
    assert named[b"content-type"] == b"application/problem+json"
    assert named[b"content-length"] == b"%d" % len(body)
    assert named[b"x-request-id"] == b"id"
    assert named[b"cache-control"] == b"no-store"
    assert b"retry-after" not in named


@pytest.mark.parametrize(
    ("seconds", "value"), [(0.0, 1), (0.2, 1), (0.7, 1), (1.0, 1), (1.2, 2), (29.5, 30), (30.0, 30)]
)
def test_retry_after_is_not_too_early(seconds: float, value: int) -> None:
    fields, _ = encode_problem(Problem(503, "why", seconds), "id")
    assert dict(fields)[b"retry-after"] == b"%d" % value


def test_identifiers_do_not_repeat() -> None:
    ids = RequestIds()
    made = {ids.make() for _ in range(1000)} | {RequestIds().make() for _ in range(100)}
    assert len(made) == 1100
    assert all(accepts_id(each.encode()) for each in made)


@pytest.mark.parametrize(
    ("value", "accepted"),
    [(b"a-b_c.d~e:f=g+h/i@j", True), (b"A9" * 64, True), (b"A" * 129, False), (b"", False),
     (b"a b", False), (b"a\n", False), (b'a"', False), (b"\xe9", False), (b"a,b", False)],
)  # fmt: skip
def test_which_identifiers_are_kept(value: bytes, accepted: bool) -> None:
    assert accepts_id(value) == accepted
