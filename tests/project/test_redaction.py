"""No module but `_redact` has a rule of its own about what is secret.

Owns: the shapes that such a rule has in code, and the exceptions, each with its reason. The shapes
are: cutting a text at "?" or "@", a regular expression about user information or words for secrets,
a list of secret header fields, a mark that stands for a secret.

A rule that stands twice is mended once: the other one goes on showing the secret.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import httpcore
import httpcore_gateway
import httpcore_requests

CORE = Path(httpcore.__file__).parent
ROOTS = [
    Path(module.__file__ or "").parent for module in (httpcore, httpcore_requests, httpcore_gateway)
]
FILES = sorted(path for root in ROOTS for path in root.rglob("*.py"))

# The exceptions, by file and what is found: they read what they find, and hide nothing.
ALLOWED = {
    ("httpcore/_url.py", "pattern with @"): "what is a URL, and where its user information is",
    ("httpcore/_cli/reading.py", "pattern with @"): "the marks of items: @ is before a file's name",
    ("httpcore/_cli/reading.py", "cut at '?'"): "a file's name is the end of the path",
    (
        "httpcore/_core/h2_request.py",
        "list of secret fields",
    ): "their numbers in HPACK's table; which fields are secret it asks",
    ("httpcore_requests/_unix.py", "cut at '@'"): "the path of the socket is what follows the user",
}

CUTS = {"partition", "rpartition", "split", "rsplit", "find", "rfind", "index", "rindex"}
FIELDS = {"authorization", "proxy-authorization", "cookie", "cookie2", "set-cookie", "set-cookie2"}
MARKS = re.compile(r"\[(secure|filtered|redacted|hidden|masked)\]|\*\*\*\*|<(redacted|hidden)>")
CLASSES = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
WORDS = re.compile(r"(?i)secret|passw|token[|)]|[|(]token|api.?key|credential|jwt")


def rules_in(source: str) -> Iterator[tuple[int, str]]:
    """Return line and kind of whatever in `source` looks like a rule of redaction."""
    tree = ast.parse(source)
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        kind = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            kind = kind_of_call(node.func, node.args)
        elif isinstance(node, (ast.Set, ast.List, ast.Tuple, ast.Dict)):
            named = [str(text_of(part)).lower() for part in ast.iter_child_nodes(node)]
            kind = "list of secret fields" if len(FIELDS & set(named)) > 1 else None
        elif id(node) not in prose:
            kind = "mark" if MARKS.search(text_of(node) or "") else None
        if kind is not None:
            yield node.lineno, kind  # type: ignore[attr-defined]


def kind_of_call(function: ast.Attribute, arguments: list[ast.expr]) -> str | None:
    """Return what a method's call looks like: text that is cut, or a pattern about secrets."""
    first = (text_of(arguments[0]) if arguments else None) or ""
    if function.attr in CUTS and first in ("?", "@"):
        return f"cut at {first!r}"
    if ast.unparse(function).startswith("re."):
        if "@" in CLASSES.sub("", first):  # in a class it is one of many
            return "pattern with @"
        if WORDS.search(first):
            return "pattern with words for secrets"
    return None


def text_of(node: ast.AST) -> str | None:
    """Return the text of a literal, or of the literals in an expression that joins them."""
    if isinstance(node, ast.Constant):
        value = node.value
        return value.decode("latin-1") if isinstance(value, bytes) else str(value)
    if isinstance(node, (ast.BinOp, ast.JoinedStr)):
        return "".join(text_of(part) or "" for part in ast.iter_child_nodes(node))
    return None


def name_of(path: Path) -> str:
    return next(
        path.relative_to(root.parent) for root in ROOTS if path.is_relative_to(root)
    ).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_module_but_one_has_a_rule_of_redaction(path: Path) -> None:
    if name_of(path) == "httpcore/_redact.py":
        assert list(rules_in(path.read_text()))
        return
    found = [
        f"{name_of(path)}:{line}: {kind}; move it to httpcore/_redact.py"
        for line, kind in rules_in(path.read_text())
        if (name_of(path), kind) not in ALLOWED
    ]
    assert found == []


def test_every_exception_is_still_needed() -> None:
    found = {(name_of(path), kind) for path in FILES for _, kind in rules_in(path.read_text())}
    assert set(ALLOWED) - found == set()


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("url.partition('?')[0]", "cut at '?'"),
        ("target.split(b'?', 1)", "cut at '?'"),
        ("authority.rpartition('@')[2]", "cut at '@'"),
        ("re.sub('//[^/]*@', '//', url)", "pattern with @"),
        ("re.compile(r'//[^/?#]*' + '@')", "pattern with @"),
        ("re.compile(rb'(?i)passwd|secret')", "pattern with words for secrets"),
        ("SECRET = {'authorization', 'cookie'}", "list of secret fields"),
        ("SECRET = frozenset([b'Set-Cookie', b'Cookie'])", "list of secret fields"),
        ("SECRET = ('x-key', 'Proxy-Authorization', 'Cookie')", "list of secret fields"),
        ("text = f'auth=[secure]'", "mark"),
        ("text = name + ': ****'", "mark"),
    ],
)
def test_a_rule_is_recognized(source: str, kind: str) -> None:
    assert kind in [found for _, found in rules_in(source)]


@pytest.mark.parametrize(
    "source",
    [
        '"""Shows [secure] for a password."""',
        "name.partition('=')",
        "headers['authorization'] = value",
        "re.compile('/[a-z@]+')",
    ],
)
def test_other_code_is_no_rule(source: str) -> None:
    assert list(rules_in(source)) == []
