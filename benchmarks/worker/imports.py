"""What it costs a program to import a client, in whole processes.

Owns: the program that each contestant runs, and how its time is read. Must not know: requests.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import time
from typing import Any

from job import Job

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_HERE = os.path.dirname(os.path.abspath(__file__))

#: What is imported, by the kind of the case and the client.
PROGRAMS = {
    ("import", "ours"): ("httpcore", "import httpcore"),
    ("import", "httpcore-1.0.9"): ("httpcore", "import httpcore"),
    ("import-adapter", "ours"): ("httpcore", "import requests, httpcore_requests"),
    ("import-adapter", "stock"): ("requests", "import requests"),
}


class Import:
    """One import in a new interpreter."""

    def __init__(self, job: Job) -> None:
        name, code = PROGRAMS[job.kind, job.peer]
        self.version = f"{name} {importlib.metadata.version(name)}"
        # Without `site`, which for a package that is installed as editable loads modules of its
        # own, whoever is imported.
        self._command = [sys.executable, "-S", "-c", code]
        path = os.pathsep.join(entry for entry in sys.path[1:] if entry)
        self._environment = {**os.environ, "PYTHONPATH": path}

    def run(self, count: int) -> dict[str, Any]:
        """Import `count` times; the CPU seconds are those of the new processes."""
        wall, cpu = time.perf_counter(), _children()
        for _ in range(count):
            # A program given by -c finds modules where it stands, too: here there are no clients.
            subprocess.run(self._command, env=self._environment, cwd=_HERE, check=True)
        wall, cpu = time.perf_counter() - wall, _children() - cpu
        return {"requests": count, "wall": wall, "cpu": cpu}


def _children() -> float:
    """The CPU seconds of all child processes that have ended."""
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime
    times = os.times()  # counts in hundredths
    return times.children_user + times.children_system
