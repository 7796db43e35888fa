"""What type checkers say of the programs in tests/typing, and that the programs run.

Owns: running the checkers and the programs. Must not know: what the programs do. `refused.py` has
mistakes only: mypy, in strict mode, complains of a ``type: ignore`` that finds none.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.servers import LocalServer

PROGRAMS = sorted(path for path in (ROOT / "tests" / "typing").glob("*.py"))
NAMES = {path.stem for path in PROGRAMS} - {"__init__"}
NOT_RUN = {"refused"}
#: Seconds for a checker that reads everything for the first time, on a machine that is busy.
LONGEST = 240

#: What the programs print.
PRINTS = {
    "session": [
        "200 4 HTTP/1.1 True", "200 5 HTTP/1.1 True", "POST True []", "opened 1",
        "sent 1 HTTP/1.1, IDLE, Request Count: 1", "not_sent",
    ],
    "plain_requests": ["b'hello from the local server\\n'"] * 2 + ["200"] * 4,
    "pool": [
        "200 28 HTTP/1.1 True", "100000", "1 [True]", "NameResolutionError not_sent", "True",
        "28 False", "200 28",
    ],
    "tasks": ["[200, 200, 200, 200]", "100000", "0 True", "200", "200 200", "200 True"],
    "cassettes": ["True True", "b'ok'"],
}  # fmt: skip


def run(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MYPYPATH": str(ROOT), **more}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST
    )


def test_each_program_has_its_output_here() -> None:
    assert PRINTS.keys() == NAMES - NOT_RUN


@pytest.mark.timeout(LONGEST + 30)
def test_mypy_accepts_them(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    done = run(
        sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}",
        *map(str, PROGRAMS),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(LONGEST + 30)
def test_pyright_accepts_them() -> None:
    if find_spec("pyright") is None:
        pytest.skip("pyright is not installed")
    try:
        version = run(sys.executable, "-m", "pyright", "--version")
    except subprocess.TimeoutExpired:
        version = None
    if version is None or version.returncode:
        pytest.skip("pyright could not load Node.js, which it runs on")
    done = run(
        sys.executable, "-m", "pyright", "--pythonpath", sys.executable, *map(str, PROGRAMS),
        PYRIGHT_PYTHON_IGNORE_WARNINGS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(NAMES - NOT_RUN))
def test_it_runs(name: str, server: LocalServer) -> None:
    path = str(ROOT / "tests" / "typing" / f"{name}.py")
    done = run(sys.executable, "-W", "error", path, server.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    printed = re.sub(r"(?m)^(sent \d+) .*?(HTTP)", r"\1 \2", done.stdout).splitlines()
    assert printed == PRINTS[name]
