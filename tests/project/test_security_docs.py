"""The limits in docs/security.rst are those of the code, and setup.cfg asks for safe versions.

Owns: how the table is read, and the first versions without advisories that concern this package.
Each constant has the value shown, and each test named exists.
"""

from __future__ import annotations

import ast
import configparser
import importlib
import re
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.rst").read_text("utf-8")
# Two tables: what has a constant, and what is bounded without one. The first row is the heading.
ROWS, OTHERS = (table.split("   * - ")[2:] for table in PAGE.split(".. list-table::")[1:])
LIMITS = [
    (found[1], None if found[2] == "none" else int(found[2]))
    for row in ROWS
    if (found := re.search(r"- ``([\w.]+)``\n     - (\d+|none)\n", row))
]
TESTS = sorted({name for row in ROWS + OTHERS for name in re.findall(r"``(tests/[\w/.:]+)``", row)})

# The first version in which the advisory named is mended.
SAFE = {
    "h11": (0, 16),  # CVE-2025-43859, ends of chunks
    "h2": (4, 3),  # CVE-2025-57804, line ends in fields of requests
    "idna": (3, 7),  # CVE-2024-3651, time for long names
    "requests": (2, 32, 4),  # CVE-2024-47081, credentials of .netrc
    "urllib3": (2, 7),  # CVE-2026-44432, decompression without a limit
}


def requirements() -> list[str]:
    """Return the lines of setup.cfg that ask for a package, of all extras too."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    return [line for text in texts for line in text.splitlines()]


@pytest.mark.parametrize("name", sorted(SAFE))
def test_versions_with_known_advisories_are_not_asked_for(name: str) -> None:
    pattern = re.compile(rf"{name}(?:\[[\w,]+\])?>=([\d.]+)")
    found = [match[1] for line in requirements() if (match := pattern.match(line))]
    assert found
    for version in found:
        assert tuple(map(int, version.split("."))) >= SAFE[name]


@pytest.mark.parametrize("name", ["h2", "idna"])
def test_the_page_about_libraries_names_these_versions(name: str) -> None:
    page = (ROOT / "docs/libraries.rst").read_text("utf-8")
    asked = [line for line in requirements() if line.startswith(f"{name}>=")]
    shown = re.search(rf"``{name}`` \(>= ([\d.]+)", page)
    assert shown and asked[0].split(">=")[1].split(",")[0] == shown[1]


def test_each_row_has_a_constant_and_a_test() -> None:
    assert len(ROWS) == len(LIMITS) > 10
    assert all("``tests/" in row for row in ROWS + OTHERS)


def found_at(path: str) -> object:
    """Return a constant of a module or of a class in one; of a setting, its default."""
    owner, _, name = path.rpartition(".")
    module, _, kind = owner.rpartition(".")
    if not kind[0].isupper():
        return getattr(importlib.import_module(owner), name)
    settings = getattr(importlib.import_module(module), kind)
    if hasattr(settings, "__struct_fields__"):
        return {field.name: field.default for field in msgspec.structs.fields(settings)}[name]
    return getattr(settings, name)


@pytest.mark.parametrize(("path", "value"), LIMITS)
def test_the_value_shown_is_the_constant(path: str, value: int | None) -> None:
    assert found_at(path) == value


def test_the_policy_leads_to_the_page() -> None:
    assert "(docs/security.rst)" in (ROOT / "SECURITY.md").read_text("utf-8")


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
