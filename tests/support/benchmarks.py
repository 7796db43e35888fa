"""Small runs of the benchmarks, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import ROOT

#: Rounds of a small run: enough to see that there are several.
ROUNDS = 2


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of the benchmarks."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)


def measure(
    directory: Path, server: str, peers: tuple[str, ...], *names: str, scale: float
) -> tuple[str, dict[str, Any]]:
    """What a small run printed, and its JSON document."""
    file = directory / "results.json"
    finished = run(
        *("--server", server, "--only", ",".join(peers), "--json", str(file)),
        *("--scale", str(scale), "--rounds", str(ROUNDS)),
        *(argument for name in names for argument in ("--case", name)),
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, json.loads(file.read_text())
