"""The files by which others join: workflows, scripts, notes for the changelog, the metadata.

Owns: that the workflows run scripts of this checkout and nothing else, on the versions of Python
that the package says it supports, and that pages name files that exist. Must not know: what GitHub
does with them.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in load(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_scripts_only(path: Path) -> None:
    runs = [step["run"] for step in steps(path) if "run" in step]
    assert runs
    for run in runs:
        script = run.split()[0]
        assert re.fullmatch(r"scripts/[\w-]+", script), run
        assert os.access(ROOT / script, os.X_OK), f"{script} is missing or cannot be executed"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_only_the_upload_may_write(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    more = {
        name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job
    }
    assert more == ({"publish": {"id-token": "write"}} if path.stem == "release" else {})


def test_each_version_of_python_is_tested() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    claimed = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    matrix = load(ROOT / ".github/workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == claimed
    assert setup["options"]["python_requires"] == f">={claimed[0]}"


def test_the_licence_is_an_spdx_expression() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["license_expression"] == "BSD-3-Clause"
    assert "license" not in setup["metadata"]  # the old field, which may hold any text


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*.rst"), *(ROOT / "docs").rglob("*.rst")])
NAMED_FILE = re.compile(
    r"(?<![\w./-])(?:docs|scripts|tests|examples|benchmarks|httpcore\w*)/[\w./-]*\w"
)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_name_files_that_exist(path: Path) -> None:
    missing = {
        name
        for name in NAMED_FILE.findall(path.read_text())
        if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()
    }
    assert not missing


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").iterdir()), ids=lambda path: path.name)
def test_scripts_are_shell_that_parses(path: Path) -> None:
    assert path.read_text().startswith("#!/bin/sh\n# ")
    assert os.access(path, os.X_OK)
    subprocess.run(["sh", "-n", str(path)], check=True, timeout=30)


def test_notes_make_a_changelog(tmp_path: Path) -> None:
    """In a copy, since the tool takes the notes away."""
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    before = (ROOT / "CHANGELOG.rst").read_text()
    (tmp_path / "CHANGELOG.rst").write_text(before)
    (tmp_path / "changes").mkdir()
    (tmp_path / "changes/7.fix.rst").write_text("Something is mended.\n")
    command = [sys.executable, "-m", "towncrier", "build", "--yes", "--version", "9.9.9"]
    subprocess.run(
        command, cwd=tmp_path, check=True, capture_output=True, timeout=30,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)},
    )  # fmt: skip
    after = (tmp_path / "CHANGELOG.rst").read_text()
    assert "9.9.9" in after
    assert "- Something is mended. (#7)" in after
    assert after.endswith(before.rpartition("release notes start\n")[2])


def test_names_of_notes_have_a_kind() -> None:
    kinds = {"feature", "change", "fix", "removal"}
    for path in (ROOT / "changes").iterdir():
        assert path.name == "README.rst" or path.name.split(".")[-2] in kinds, path.name
