"""How the tests are laid out.

Owns: that no test module imports another, and that the table of scenarios is complete.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support import ROOT

TESTS = ROOT / "tests"
# Folders that test modules may import from: the shared kit, the runner of others' suites, the load
# with faults, and the targets of made-up inputs.
SHARED = {"support", "downstream", "chaos", "fuzz"}


def modules() -> list[Path]:
    return sorted(TESTS.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The modules of tests/ that it imports, each with its name: `tests.support.servers.Peer`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            module = ".".join([*package, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "tests"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_module_imports_another(path: Path) -> None:
    for name in imported(path):
        parts = name.split(".")
        assert parts[1] in SHARED, name
        assert not any(part.startswith("test_") for part in parts), name


def table() -> dict[int, set[str]]:
    """By the number of each row, the modules that it names."""
    text = (TESTS / "scenarios" / "README.rst").read_text()
    rows = re.findall(r"^(\d+)\n((?:    .*\n)+)", text, re.MULTILINE)
    numbers = [int(number) for number, _ in rows]
    # 65 says of others that they hold in the asynchronous half; their tests have their numbers.
    assert numbers == sorted(set(numbers))
    assert set(range(1, 65)) <= set(numbers)
    return {int(number): set(re.findall(r"\w+/test_\w+", promise)) for number, promise in rows}


def test_every_row_of_the_table_has_tests_and_every_test_a_row() -> None:
    tested: dict[int, set[str]] = defaultdict(set)
    for path in modules():
        for number in re.findall(
            r"^ *(?:async )?def test_row_(\d+)_", path.read_text(), re.MULTILINE
        ):
            tested[int(number)].add(path.relative_to(TESTS).with_suffix("").as_posix())
    assert dict(tested) == table()
