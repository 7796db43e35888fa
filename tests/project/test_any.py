"""How often the packages say `Any`.

Owns: the limits. Where nothing is asked of a value, `object` is its type; `Any` is for what comes
from libraries without types, and for what programs hand in of whatever make.
"""

from __future__ import annotations

import ast

import pytest

from tests.support import ROOT

PER_1000_LINES = {"httpcore": 10.0, "httpcore_requests": 40.0}


def count(text: str) -> int:
    """Return how many annotations, aliases and casts in `text` say `Any`; imports do not count."""
    return sum(
        (isinstance(node, ast.Name) and node.id == "Any")
        or (isinstance(node, ast.Attribute) and node.attr == "Any")
        for node in ast.walk(ast.parse(text))
    )


@pytest.mark.parametrize(("package", "limit"), PER_1000_LINES.items())
def test_any_is_said_seldom(package: str, limit: float) -> None:
    texts = [path.read_text() for path in (ROOT / package).rglob("*.py")]
    said, lines = sum(map(count, texts)), sum(text.count("\n") for text in texts)
    assert said * 1000 / lines <= limit, f"{said} in {lines} lines"


def test_what_counts() -> None:
    text = """
from typing import Any
import typing
def call(one: Any, two: dict[str, typing.Any], three: object) -> None:
    "Any text."
"""
    assert count(text) == 2
