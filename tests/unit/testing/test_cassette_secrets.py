"""No secret gets into a cassette: each shape of a message times each place of a secret.

Owns: what `filters`, `bodies` and `_redact` do together, seen from the bytes of the file. What a
single rule writes in the place of a secret is in test_cassettes.py.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import os
import re
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import httpcore
from httpcore._testing.cassettes.exchange import (
    COMPLETE,
    CUT,
    Answer,
    Asked,
    CassetteError,
    Exchange,
)
from httpcore._testing.cassettes.file import Contents, header_line, read_contents, to_lines
from httpcore._testing.cassettes.filters import Filters
from httpcore._testing.cassettes.matching import Cassette, fits
from tests.support.examples import examples

PEM = (
    "-----BEGIN CERTIFICATE-----\r\nAAAA\r\n-----END CERTIFICATE-----\r\n"
    "-----BEGIN PRIVATE KEY-----\r\nS3CRET/key+==\r\n-----END PRIVATE KEY-----\r\n"
)
VALUES = {
    "word": "S3CRET",
    "spaces": "two S3CRET words",
    "quotes": 'it\'s "S3CRET" said',
    "marks": "a&b=S3CRET;c?d#e",
    "comma": "a,{S3CRET}",
    "lines": "x\r\n--S3CRET\r\ny",
    "pem": PEM,
    "percent": "%53S3CRET%25",
    "backslash": "a\\S3CRET\\",
    "accents": "clé-S3CRET-ключ",
    "tags": "<b>S3CRET</b>",
}
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


def escaped(name: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in name)


def percent(name: str) -> str:
    return "".join(f"%{byte:02X}" for byte in name.encode())


def in_html(form: str) -> tuple[str, Callable[[str, str], bytes]]:
    """The media type, and what writes a name and a value as `form` says."""
    return "text/html", lambda n, v: form.format(name=n, value=html.escape(v)).encode()


def multipart(head: str, end: str = "\r\n", boundary: str = "b") -> Callable[[str, str], bytes]:
    def make(name: str, value: str) -> bytes:
        first = head.format(name=name, disposition="Content-Disposition: form-data")
        lines = [f"--{boundary}", first, "", value, f"--{boundary}--", ""]
        return end.join(lines).encode()

    return make


def utf16(name: str, value: str) -> bytes:
    return json.dumps({name: value}, ensure_ascii=False).encode("utf-16")


# By name: Content-Type, and how a body with this name and value is written.
Shape = tuple[str, Callable[[str, str], bytes]]
BODIES: dict[str, Shape] = {
    "json": (JSON, lambda n, v: json.dumps({n: v}).encode()),
    "json letters": (JSON, lambda n, v: json.dumps({n: v}, ensure_ascii=False).encode()),
    "json deep": (JSON, lambda n, v: json.dumps([{"a": {n.upper(): [{"x": [v]}]}}]).encode()),
    "json escaped name": (JSON, lambda n, v: f'{{"{escaped(n)}": {json.dumps(v)}}}'.encode()),
    "json half escaped": (
        JSON,
        lambda n, v: f'{{"{n[0]}{escaped(n[1:])}":{json.dumps(v)}}}'.encode(),
    ),
    "json in json": (JSON, lambda n, v: json.dumps({"a": json.dumps({n: v})}).encode()),
    "json thrice": (JSON, lambda n, v: json.dumps(json.dumps(json.dumps({n: v}))).encode()),
    "json no spaces": (
        JSON,
        lambda n, v: json.dumps(json.dumps({n: v}, separators=(",", ":"))).encode(),
    ),
    "json utf-16": (JSON, utf16),
    "json utf-16-le": (JSON, lambda n, v: json.dumps({n: v}).encode("utf-16-le")),
    "json utf-32": (JSON, lambda n, v: json.dumps({n: v}).encode("utf-32")),
    "json declared utf-16": (
        f"{JSON}; charset=utf-16-be",
        lambda n, v: json.dumps({n: v}).encode("utf-16-be"),
    ),
    "json bom": (JSON, lambda n, v: b"\xef\xbb\xbf" + json.dumps({n: v}).encode()),
    "json lines": (
        JSON,
        lambda n, v: (json.dumps({"a": 1}) + "\n" + json.dumps({n: v}) + "\n").encode(),
    ),
    "json no type": ("", lambda n, v: json.dumps({n: v}).encode()),
    "json form in it": (JSON, lambda n, v: json.dumps({"a": f"x=1&{n}={quote(v)}"}).encode()),
    "events": ("text/event-stream", lambda n, v: f"data: {json.dumps({n: v})}\n\n".encode()),
    "script": ("text/javascript", lambda n, v: f"cb({json.dumps({n: v})});".encode()),
    "stray quote": ("text/plain", lambda n, v: f'5" {json.dumps({n: v})}'.encode()),
    "form": (FORM, lambda n, v: f"a=b&{n}={quote_plus(v)}&c=d".encode()),
    "form first": (FORM, lambda n, v: f"{n}={quote_plus(v)}&c=d".encode()),
    "form percent name": (FORM, lambda n, v: f"{percent(n)}={quote_plus(v)}".encode()),
    "form list": (FORM, lambda n, v: f"{n}[]={quote_plus(v)}&user[{n}]={quote_plus(v)}".encode()),
    "form semicolons": (FORM, lambda n, v: f"a=1;{n}={quote_plus(v)}".encode()),
    "form json in it": (FORM, lambda n, v: f"data={quote_plus(json.dumps({n: v}))}".encode()),
    "form no type": ("", lambda n, v: f"{n}={quote_plus(v)}&c=d".encode()),
    "form as text": ("text/plain", lambda n, v: f"a=1&{n}={quote_plus(v)}".encode()),
    "multipart": (MULTIPART, multipart('{disposition}; name="{name}"')),
    "multipart quoted": (
        'multipart/form-data; boundary="b"',
        multipart('{disposition}; name="{name}"'),
    ),
    "multipart unquoted": (MULTIPART, multipart("Content-Disposition: form-data; name={name}")),
    "multipart lf": (MULTIPART, multipart('{disposition}; name="{name}"', "\n")),
    "multipart file": (
        MULTIPART,
        multipart(
            'content-disposition: form-data; filename="f"; name="{name}"\r\nContent-Type: a/b'
        ),
    ),
    "multipart folded": (MULTIPART, multipart('Content-Disposition: form-data;\r\n name="{name}"')),
    "multipart no type": ("", multipart('{disposition}; name="{name}"')),
    "multipart wrong boundary": (
        "multipart/form-data; boundary=other",
        multipart('{disposition}; name="{name}"'),
    ),
    "multipart encoded name": (
        MULTIPART,
        lambda n, v: multipart("Content-Disposition: form-data; name*=utf-8''{name}")(
            percent(n), v
        ),
    ),
    "multipart with json": (
        MULTIPART,
        lambda n, v: multipart(
            'Content-Disposition: form-data; name="a"\r\nContent-Type: application/json'
        )("", json.dumps({n: v})),
    ),
    "multipart base64": (
        MULTIPART,
        lambda n, v: multipart(
            'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64'
        )("", base64.b64encode(json.dumps({n: v}).encode()).decode()),
    ),
    "multipart in multipart": (
        "multipart/mixed; boundary=o",
        lambda n, v: (
            b"--o\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
            + multipart('{disposition}; name="{name}"')(n, v)
            + b"\r\n--o--\r\n"
        ),
    ),
    "gzip undeclared": ("", lambda n, v: gzip.compress(json.dumps({n: v}).encode())),
    "xml": ("text/xml", lambda n, v: f"<a><x:{n} k='1'>{html.escape(v)}</x:{n}></a>".encode()),
    "html input": in_html('<input name="{name}" value="{value}">'),
    "html textarea": in_html('<p><textarea rows="2" name="{name}">{value}</textarea></p>'),
    "html textarea with a mark": in_html('<TEXTAREA name="{name}">a<b {value}<br>c</TEXTAREA>'),
    "html textarea without an end": in_html('<textarea name="{name}">{value}'),
    "html element": in_html("<b>x</b><span id={name}>{value}</span>"),
    "html link": ("text/html", lambda n, v: f'<a href="/x?a=1&amp;{n}={quote(v)}">x</a>'.encode()),
    "yaml": ("text/yaml", lambda n, v: f"a: 1\n{n}: {quote(v, safe=' ')}\n".encode()),
}


def traces(data: bytes) -> bytes:
    """`data` in all the ways in which somebody may read it, one after another."""
    found = [data]
    for text in re.findall(rb'"base64": "([^"]*)"', data):
        found.append(base64.b64decode(text))
    for piece in list(found):
        if piece[:2] == b"\x1f\x8b":
            found.append(zlib.decompressobj(47).decompress(piece))
        for blob in re.findall(rb"[A-Za-z0-9+/]{16,}={0,2}", piece):
            blob = blob.rstrip(b"=")[: len(blob) // 4 * 4]
            found.append(base64.b64decode(blob + b"=" * (-len(blob) % 4)))
    for piece in list(found):
        plain = piece
        for _ in range(4):
            plain = unquote_to_bytes(plain.replace(b"\0", b"").replace(b"\\", b""))
            found.append(plain)
    return b"\n".join(found)


def written(filters: Filters, exchange: Exchange) -> bytes:
    """What of `exchange` is in the file: nothing, where it was refused."""
    try:
        return to_lines(filters.apply(exchange))
    except CassetteError as exc:
        text = str(exc)
    assert "S3CRET" not in text
    assert re.search("do not record|filter_body|gzip or identity|leave out", text), text
    return b""


def asks(kind: str = "", body: bytes = b"", url: str = "http://h/", **fields: str) -> Asked:
    headers = [(key.replace("_", "-").encode(), value.encode()) for key, value in fields.items()]
    if kind:
        headers.append((b"Content-Type", kind.encode()))
    return Asked("POST", url, headers, body)


@pytest.mark.parametrize("value", VALUES.values(), ids=list(VALUES))
@pytest.mark.parametrize(("kind", "make"), BODIES.values(), ids=list(BODIES))
def test_a_named_field_is_in_no_body(
    kind: str, make: Callable[[str, str], bytes], value: str
) -> None:
    if make is BODIES["yaml"][1] and value == PEM:
        pytest.skip("a value of one line")
    body = make("password", value)
    filters = Filters(fields=["Password"])
    plain = b"S3CRET"
    assert plain in traces(to_lines(Exchange(asks(kind, body)))), "the shape does not hold it"
    for coding in ("", "gzip", "gzip, gzip"):
        packed = body
        for _ in coding.split():
            packed = gzip.compress(packed)
        asked = asks(kind, packed, **({"Content_Encoding": coding} if coding else {}))
        answer = Answer(b"HTTP/1.1", 200, b"OK", asked.headers, packed)
        for end in (COMPLETE, CUT):
            data = written(filters, Exchange(asked, answer=answer, end=end))
            assert plain not in traces(data), data
    cut = body[: body.rindex(b"3") + 4] if b"S3CRET" in body else body
    answer = Answer(b"HTTP/1.1", 200, b"", asks(kind).headers, cut)
    data = written(filters, Exchange(asks(), answer=answer, end=CUT))
    assert plain not in traces(data), data
    raw = b"HTTP/1.1 2OO OK\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + body
    data = written(filters, Exchange(asks(), raw=[("received", raw)]))
    assert plain not in traces(data), data


# Shapes that are taken apart rather than refused, whatever the value.
@pytest.mark.parametrize("value", VALUES.values(), ids=list(VALUES))
@pytest.mark.parametrize(
    "shape",
    [
        "json",
        "json deep",
        "json escaped name",
        "json in json",
        "json utf-16",
        "json lines",
        "form",
        "form percent name",
        "form list",
        "form json in it",
        "multipart",
        "multipart lf",
        "multipart unquoted",
        "multipart with json",
        "multipart no type",
    ],
)
def test_what_can_be_parsed_is_recorded_and_matches_another_secret(shape: str, value: str) -> None:
    kind, make = BODIES[shape]
    end = "\n" if shape == "multipart lf" else "\r\n"
    recorded = Filters(fields=["password"]).apply(Exchange(asks(kind, make("password", value))))
    assert b"[filtered]" in recorded.asked.body or b"\0[\0f" in recorded.asked.body
    data = header_line() + to_lines(recorded)
    [read] = read_contents(data.replace(b'"complete"', b'"cut"'), "c").exchanges
    assert read.asked.body == recorded.asked.body
    if "utf" not in shape and end:
        assert fits(recorded.asked.body, make("password", "another"))


USERS = [
    "https://me:S3CRET@h/x",
    "http://S3CRET@h",
    "HTTPS://me:S3'CRET@h/",
    "ftp://u:S3CRET@[::1]:2/",
]
URL_SHAPES: dict[str, Callable[[str], str]] = {
    "plain": lambda url: f"see {url} for more",
    "json": lambda url: json.dumps({"clone": url}),
    "slashes": lambda url: json.dumps({"clone": url}).replace("/", "\\/"),
    "escaped": lambda url: '{"a": "' + escaped(url) + '"}',
    "html": lambda url: f'<a href="{url}">x</a>',
    "encoded": lambda url: "next=" + quote(url, safe=""),
    "encoded twice": lambda url: "next=" + quote(quote(url, safe=""), safe=""),
    "list": lambda url: f"<{url}>; rel=next, <{url}>",
}


@pytest.mark.parametrize("url", USERS)
@pytest.mark.parametrize("shape", URL_SHAPES.values(), ids=list(URL_SHAPES))
def test_no_user_of_a_url_is_written_without_any_rule(
    shape: Callable[[str], str], url: str
) -> None:
    text = shape(url)
    for coding in ("", "gzip"):
        body = gzip.compress(text.encode()) if coding else text.encode()
        more = {"Content_Encoding": coding} if coding else {}
        asked = asks("text/plain", body, "http://h/?" + quote(url, safe=":/@'"), Link=text, **more)
        data = to_lines(Filters().apply(Exchange(asked)))
        raw = b"HTTP/1.1 200 OK\r\nBad Line\r\nLocation: " + text.encode() + b"\r\n\r\n"
        data += to_lines(Filters().apply(Exchange(asks(), raw=[("received", raw)])))
        assert not re.search(rb"S3.?CRET", traces(data)), data


QUERIES = [
    "?token=S3CRET",
    "?a=1&TOKEN=S3CRET",
    "?t%6Fken=S3CRET",
    "?t%256Fken=S3CRET",
    "?a=1;token=S3CRET",
    "?token[]=S3CRET",
    "?token%5B%5D=S3CRET",
    "?user[token]=S3CRET",
    "#token=S3CRET",
    "?a&token=S3;CRET",
    "?next=%2F%3Ftoken%3DS3CRET",
    "?next=http%3A%2F%2Fh%2F%3Fa%3D1%26token%3DS3CRET",
    "?next=%252F%253Ftoken%253DS3CRET",
    "?token=S3'CRET",
    "?+token=S3CRET",
    "?a=1&amp;token=S3CRET",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_named_parameter_is_nowhere(query: str) -> None:
    filters = Filters(query=["token"])
    for field in ("Location", "Referer", "Content-Location", "Link", "Refresh", "X-Any"):
        value = {"Link": f"<http://h/{query}>; rel=next", "Refresh": f"0; url=/{query}"}.get(
            field, f"http://h/{query}"
        )
        lines = [(field.encode(), value.encode())]
        body = json.dumps({"next": f"/x{query}"}).encode()
        answer = Answer(b"HTTP/1.1", 302, b"", lines, body, trailers=lines)
        exchange = Exchange(
            asks("", query[1:].encode(), "http://h/" + query, **{field.replace("-", "_"): value}),
            [(103, lines)],
            answer,
            [("received", b"HTTP/1.1 200 OK\r\n" + b": ".join(lines[0]) + b"\r\n\r\n" + body)],
        )
        data = written(filters, exchange)
        assert data, "it can be parsed"
        assert not re.search(rb"S3.?CRET", traces(data)), data


FIELDS = [
    ("Authorization", "Bearer S3CRET"),
    ("Authorization", "S3CRETa S3CRETb"),
    ("Authorization", "S3CRET"),
    ("Authorization", "apikey=S3CRET, x=1"),
    ("Authorization", "Digest username=S3CRET, realm=S3CRET"),
    ("proxy-authorization", "Basic S3CRET"),
    ("Cookie", "a=S3CRET; S3CRET; b=S3CRET"),
    ("Cookie", "S3CRET"),
    ("Set-Cookie", "S3CRET"),
    ("Set-Cookie", "a=S3CRET; Path=/; HttpOnly"),
    ("Set-Cookie", "a=S3CRET;b=S3CRET;S3CRET"),
    ("Set-Cookie2", "a=S3CRET"),
    ("X-Key", "S3CRET"),
]


@pytest.mark.parametrize(("name", "value"), FIELDS)
def test_secret_fields_are_nowhere(name: str, value: str) -> None:
    lines = [(name.encode(), value.encode())]
    answer = Answer(b"HTTP/1.1", 200, b"", lines, trailers=lines)
    folded = f"HTTP/1.1 200 OK\r\nBad Line\r\n{name} :\r\n {value}\r\n\t{value}\r\n\r\n".encode()
    exchange = Exchange(
        asks("", b"", "http://h/", **{name.replace("-", "_"): value}),
        [(103, lines)],
        answer,
        [("received", folded)],
    )
    data = to_lines(Filters(headers=["x-key"]).apply(exchange))
    assert b"S3CRET" not in traces(data)
    assert data.count(b"[filtered]") >= 5
    if name == "Set-Cookie" and "Path" in value:
        assert b"; Path=/; HttpOnly" in data


def test_a_secret_that_two_reads_cut_in_two_is_not_written() -> None:
    reads = [b'HTTP/1.1 101 OK\r\n\r\n{"passw', b'ord": "S3C', b'RET"}']
    raw = [("received", data) for data in reads]
    data = written(Filters(fields=["password"]), Exchange(asks(), raw=raw))
    assert b"[filtered]" in data and b"S3C" not in data and b"RET" not in data


def test_bytes_that_are_no_text_are_refused_if_a_rule_matches_in_them() -> None:
    binary = b"\x08\x01\x12\x00password=S3CRET\x00\x01\xff"
    with pytest.raises(CassetteError, match="leave out the rule"):
        Filters(fields=["password"]).apply(Exchange(asks("application/x-protobuf", binary)))
    kept = Filters(fields=["other"]).apply(Exchange(asks("application/x-protobuf", binary)))
    assert kept.asked.body == binary
    taken = Filters(fields=["password"], body=[rb"password=(\w+)"])
    assert b"S3CRET" not in written(taken, Exchange(asks("", binary)))


names = st.sampled_from(["password", "api_key", "Sécret", "x-y", "a.b"])
values = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\x1a\x1b"), max_size=30
)


@settings(max_examples=examples(300))
@given(names, values, values, st.sampled_from(sorted(BODIES)), st.booleans())
def test_whatever_the_secret_it_is_in_no_body(
    name: str, before: str, after: str, shape: str, coded: bool
) -> None:
    secret = f"{before}S3CRET{after}"
    if shape == "yaml":
        secret = re.sub(r"\s", " ", secret)
    kind, make = BODIES[shape]
    if shape in ("multipart unquoted", "xml") and name != "password":
        name = "password"
    try:
        body = make(name, secret)
    except UnicodeError:
        return
    more: dict[str, str] = {}
    if coded:
        body, more = gzip.compress(body), {"Content_Encoding": "gzip"}
    data = written(Filters(fields=[name]), Exchange(asks(kind, body, **more)))
    assert b"S3CRET" not in traces(data)


@pytest.mark.parametrize("mode", ["record", "new"])
def test_a_new_file_is_its_owners(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "c.jsonl"
    before = os.umask(0o022)
    try:
        httpcore.RecordingBackend(None, path, mode=mode).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
        httpcore.RecordingBackend(None, path, mode=mode).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("kind", "make"), [BODIES[name] for name in ("json", "form", "form no type", "json in json")]
)
def test_no_mismatch_shows_a_secret(kind: str, make: Callable[[str, str], bytes]) -> None:
    recorded = asks(kind, make("password", "a"), "http://h/?token=1&page=1")
    sent = asks(kind, make("password", "S3CRET"), "http://u:S3CRET@h/?token=S3CRET&page=2")
    exchange = Exchange(recorded, answer=Answer(b"HTTP/1.1", 200, b""))
    text = Cassette("c", Contents([exchange], 0)).explain(sent)
    assert "page=2" in text and "body differs" in text
    assert "S3CRET" not in text
