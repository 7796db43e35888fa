"""The short form of the made-up inputs; ``scripts/fuzz`` runs the long one.

Owns: how much of it is enough here, and that the command finds what fails. Must not know: what a
target checks.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import targets
from tests.fuzz.__main__ import Faults, fuzz, parse, run_files
from tests.support import ROOT
from tests.support.examples import examples

#: Inputs of each target: a second, in the ordinary run.
FEW = 400

#: Bytes of all seeds of a target: they are read by people.
MAX_SEEDS = 16384


@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_seeds(name: str) -> None:
    target = targets.load(name)
    assert sum(map(len, target.seeds)) <= MAX_SEEDS
    for data in [b"", *target.seeds]:
        target.one(data)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_changed_seeds(name: str) -> None:
    target = targets.load(name)
    targets.try_examples(target, target.one, examples(FEW))


def test_each_target_has_seeds_and_each_folder_a_target() -> None:
    assert {path.name for path in targets.SEEDS.iterdir()} == set(targets.TARGETS)


def failing(data: bytes) -> None:
    assert b"fault" not in data
    int(data)


def test_one_input_is_kept_for_each_place_that_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = targets.Target("none", failing, (), [b""])
    faults = Faults(target, tmp_path / "none")
    for data in (b"fault 1", b"fault 2", b"7", b"x", b"y"):
        faults.one(data)
    assert (faults.inputs, len(faults.places)) == (5, 2)
    kept = sorted(path.read_bytes() for path in (tmp_path / "none").iterdir())
    assert kept == [b"fault 1", b"x"]
    assert 'assert b"fault" not in data' in capsys.readouterr().out


def test_an_input_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"7")
    target = targets.Target("none", failing, (), [b""])
    monkeypatch.setattr(targets, "load", lambda name: target)
    assert run_files("none", [path]) == 0
    path.write_bytes(b"fault")
    with pytest.raises(AssertionError):
        run_files("none", [path])


def test_the_status_says_that_a_fault_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = targets.Target("h1-response", failing, (), [b"7"])
    monkeypatch.setattr(targets, "load", lambda name: target)
    words = ["h1-response", "--minutes", "0", "--engine", "hypothesis", "--found", str(tmp_path)]
    assert fuzz(parse(words)) == 0
    target.seeds.append(b"fault")
    assert fuzz(parse(words)) == 1
    assert "2 inputs, 1 faults" in capsys.readouterr().out


@pytest.mark.no_cover
def test_the_command(tmp_path: Path) -> None:
    """``scripts/fuzz``: with what is installed, for a moment."""
    words = [sys.executable, "-m", "tests.fuzz", "h1-response", "--minutes", "0.02"]
    words += ["--found", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "h1-response: 0.02 minutes" in done.stdout and ", 0 faults, " in done.stdout
