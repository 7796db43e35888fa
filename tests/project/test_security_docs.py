"""The table of limits in docs/security.rst is that of the code.

Owns: how the table is read. Each constant has the value shown, and each test named exists.
"""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = (ROOT / "docs/security.rst").read_text("utf-8").split("   * - ")[2:]
LIMITS = [
    (found[1], found[2], int(found[3]))
    for row in ROWS
    if (found := re.search(r"- ``([\w.]+)\.(\w+)``\n     - (\d+)\n", row))
]
TESTS = sorted({name for row in ROWS for name in re.findall(r"``(tests/[\w/.:]+)``", row)})


def test_each_row_has_a_constant_and_a_test() -> None:
    assert len(ROWS) == len(LIMITS) > 10
    assert all("``tests/" in row for row in ROWS)


@pytest.mark.parametrize(("module", "name", "value"), LIMITS)
def test_the_value_shown_is_the_constant(module: str, name: str, value: int) -> None:
    assert getattr(importlib.import_module(module), name) == value


@pytest.mark.parametrize("test", TESTS)
def test_the_test_named_exists(test: str) -> None:
    file, *names = test.split("::")
    body = ast.parse((ROOT / file).read_text("utf-8")).body
    for name in names:
        found = [
            node
            for node in body
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and node.name == name
        ]
        assert found, f"{name} is not in {file}"
        body = found[0].body
