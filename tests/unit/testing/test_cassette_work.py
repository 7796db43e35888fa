"""How much work it is to take the secrets out of a body: so much for each byte, whatever stands in
it.

Owns: counts of what is looked at, and bodies that go wrong where a rule looks at all of a body for
each place in it. Must not know: what is secret; test_cassette_secrets.py has that.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from httpcore._redact import FILTERED, Names, hide_pairs
from httpcore._testing.cassettes.bodies import Bodies
from httpcore._testing.cassettes.exchange import Answer, Asked, Exchange
from httpcore._testing.cassettes.filters import Filters

# Characters of a body: a rule that looked at all of it for each of them would take an hour.
SIZE = 300_000

# How often a body may be gone through: to hide, and once more for each way in which it may be read.
MAX_PASSES = 7

USER = b"http://u:p@h/ %41\n"  # with a user, so that the body is looked at at all
RULES = {"fields": ["token"], "query": ["token"]}


def filled(unit: bytes) -> bytes:
    return unit * (SIZE // len(unit))


def recorded(rules: Any, body: bytes, *headers: tuple[bytes, bytes]) -> bytes:
    """Return `body`, as an answer's, as it is written."""
    answer = Answer(b"HTTP/1.1", 200, b"OK", list(headers), body)
    written = Filters(**rules).apply(Exchange(Asked("GET", "http://h/"), answer=answer)).answer
    assert written is not None
    return written.body


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return what tells how many characters of whole bodies were gone through."""
    seen = []
    text_of = Bodies.text

    def counted(self: Bodies, text: str, depth: int = 0, form: bool = False) -> str:
        seen.append(0 if depth else len(text))
        return text_of(self, text, depth, form)

    monkeypatch.setattr(Bodies, "text", counted)
    return lambda: sum(seen)


BODIES = {
    "bytes": bytes(range(1, 256)),
    "text": b"name & value + 100% <b>sure</b>\n",
    "json": b'{"id": 7, "url": "https:\\/\\/h\\/?a=b&c=%20"}\n',
    "utf16": "name+value&amp;\\u0041 ".encode("utf-16-le"),
}


@pytest.mark.parametrize("coding", [b"", b"gzip"])
@pytest.mark.parametrize("shape", BODIES)
def test_a_body_is_gone_through_a_fixed_number_of_times(
    looked_at: Callable[[], int], shape: str, coding: bytes
) -> None:
    body = BODIES[shape] * 500 + b"//a@b"  # what has no such thing is not gone through
    sent = gzip.compress(body) if coding else body
    written = recorded({}, sent, (b"Content-Encoding", coding))
    assert written == sent
    assert 0 < looked_at() <= MAX_PASSES * len(body)


@pytest.mark.parametrize("rules", [{}, RULES], ids=["no rules", "rules"])
@pytest.mark.parametrize(
    "unit", [b"a", b"a=", b"\\", b'"', b"<a ", b"<a", b"/", b"%4", b"&a", b"http://"], ids=repr
)
def test_long_runs_are_gone_through_once(rules: Any, unit: bytes) -> None:
    body = USER + filled(unit)
    assert recorded(rules, body) == body.replace(b"u:p", FILTERED.encode("ascii"))


@pytest.mark.parametrize(
    ("unit", "hidden"),
    [
        (b'"token":true,', b'"token":"[filtered]",'),
        (b'"token":t,', b'"token":"[filtered]",'),
        (b"<token>a</token>", b"<token>[filtered]</token>"),
        (b"token=a&", b"token=[filtered]&"),
    ],
)
def test_many_secrets_are_each_looked_at_once(unit: bytes, hidden: bytes) -> None:
    assert recorded(RULES, filled(unit)) == filled(unit).replace(unit, hidden)


@pytest.mark.parametrize("unit", [b"<token><![CDATA[", b"token=a#", b'"token":['])
def test_what_has_no_end_is_looked_at_once(unit: bytes) -> None:
    written = recorded(RULES, filled(unit), (b"Content-Type", b"x-www-form-urlencoded"))
    assert unit not in written


def test_an_attribute_of_any_length_is_looked_at_once() -> None:
    body = b"<" + filled(b"a") + b' token="x">'
    assert recorded(RULES, body).endswith(b'a token="[filtered]">')


def test_hiding_members_copies_a_body_once() -> None:
    class Counted(str):
        copied = 0

        def __getitem__(self, key: Any) -> str:
            part = super().__getitem__(key)
            Counted.copied += len(part)
            return part

    text = Counted('{"token": 1}' * 1000)
    hidden = Bodies(Names(["token"]), Names([]))._hide_members(text)
    assert hidden == '{"token": "[filtered]"}' * 1000
    assert len(text) / 2 < Counted.copied < 2 * len(text)


def test_fragments_of_any_number_are_each_looked_at() -> None:
    many = "#".join(["a=b;token=1;c=d", "c=d"] * 2000)
    shown = "#".join(["a=b;token=[filtered]", "c=d"] * 2000)
    assert hide_pairs(many, Names(["token"]), FILTERED) == shown


def test_pieces_that_are_no_http_are_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    hide = Bodies.hide

    def counted(self: Bodies, body: bytes, kind: str) -> bytes:
        seen.append(len(body))
        return hide(self, body, kind)

    monkeypatch.setattr(Bodies, "hide", counted)
    raw = [("received", b"http://u:"), ("received", b"p@h/"), *[("sent", b"12345")] * 1000]
    written = Filters().apply(Exchange(Asked("GET", "http://h/"), raw=raw)).raw
    assert written == [("received", b"http://[filtered]@h/"), ("sent", b"12345" * 1000)]
    assert sum(seen) == 2 * sum(len(data) for _, data in raw)


# --- elements with CDATA ---


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("<token>a</token>", "<token>[filtered]</token>"),
        ("<token><![CDATA[a<b>c]]></token>", "<token>[filtered]</token>"),
        ("<token><![CDATA[a]]]]><![CDATA[>b]]></token>", "<token>[filtered]</token>"),
        ("<token>a<![CDATA[b]]>c</token>", "<token>[filtered]</token>"),
        ("<token><![CDATA[a]]>b<i>c</i></token>", "<token>[filtered]<i>c</i></token>"),
        ("<token><![CDATA[a]]> b", "<token>[filtered]"),
        ("<token><![CDATA[a", "<token>[filtered]"),
        ("<token> </token><other>a</other>", "<token> </token><other>a</other>"),
        ("<token><i>a</i></token>", "<token><i>a</i></token>"),
        ("<x:token a='b'>a</x:token>", "<x:token a='b'>[filtered]</x:token>"),
    ],
)
def test_the_text_of_an_element_is_hidden_to_its_end(text: str, hidden: str) -> None:
    assert Bodies(Names(["token"]), Names([])).text(text) == hidden
