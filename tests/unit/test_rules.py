"""The rules that more than one layer keeps: what they say, and that each is stated once.

Owns: `httpcore.rules`. Must not know: who uses them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import httpcore
import httpcore_requests
from httpcore import rules

ROOTS = [Path(httpcore.__file__).parent, Path(httpcore_requests.__file__ or "").parent]
STATED = [
    sorted(rules.BODYLESS),
    sorted(rules.HTTP11_ONLY),
    sorted(rules.HTTP2_FIRST),
    sorted(rules.UNTRUSTED, key=repr),
]


#: `{host}:{port}` in an f-string, and the same in bytes.
HOST_AND_PORT = re.compile(r"host\}\]?:\{|b\"(\[%b\]|%b:%d)\" %")


def collections(tree: ast.AST) -> Iterator[list[object]]:
    """The values of each tuple, list and set that a module spells out."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            values = [each.value for each in node.elts if isinstance(each, ast.Constant)]
            if len(values) == len(node.elts) and len({type(value) for value in values}) == 1:
                yield sorted(values, key=repr)


def numbers(tree: ast.AST) -> Iterator[object]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            yield node.value


@pytest.mark.parametrize(
    "path",
    [path for root in ROOTS for path in sorted(root.rglob("*.py")) if path.name != "rules.py"],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_each_rule_is_stated_once(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for values in collections(tree):
        assert values not in STATED
    assert not {443, 1080, 63} & {*numbers(tree)}, "a default port, or the limit of a label"
    if path.name != "_url.py":  # the text of a whole URL
        assert not HOST_AND_PORT.search(path.read_text()), "use host_and_port() or host_header()"


@pytest.mark.parametrize(
    ("scheme", "host", "port", "text"),
    [
        (b"http", b"a.example", None, b"a.example"),
        (b"http", b"a.example", 80, b"a.example"),
        (b"https", b"a.example", 80, b"a.example:80"),
        (b"https", b"::1", 443, b"[::1]"),
        (b"http", b"fe80::1%eth0", 8080, b"[fe80::1]:8080"),
        (b"other", b"a.example", 80, b"a.example:80"),
    ],
)
def test_host_header(scheme: bytes, host: bytes, port: int | None, text: bytes) -> None:
    assert rules.host_header(scheme, host, port) == text


def test_host_and_port() -> None:
    assert rules.host_and_port("a.example", 80) == "a.example:80"
    assert rules.host_and_port("::1", 80) == "[::1]:80"


@pytest.mark.parametrize(
    ("host", "fit"),
    [
        *((b"a.example", True), (b"a.example.", True), (b"a..b", False), (b"", False)),
        *((b"a" * 63 + b".b", True), (b"a" * 64 + b".b", False)),
    ],
)
def test_labels(host: bytes, fit: bool) -> None:
    assert rules.labels_fit(host) is fit


def test_socks_fields() -> None:
    assert [rules.fits_socks_field(bytes(size)) for size in (0, 1, 255, 256)] == [
        *(False, True, True, False)
    ]
