"""The processes that the contestants run in.

Owns: the worker processes and their line of talk, their environment, the virtual environment
of httpcore 1.0.9. Must not know: what is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import venv
from pathlib import Path
from typing import Any

from . import cases

ROOT = Path(__file__).resolve().parent.parent
_WORKER = Path(__file__).resolve().parent / "worker"

#: Seconds for one answer of a worker. The slowest round takes a few.
_PATIENCE = 180.0
#: Seconds for a worker to end by itself once its standard input is closed.
_FAREWELL = 5.0

#: What a worker inherits. requests reads the whole environment on every `Session.get`, and
#: proxies and CA bundles from it: a short fixed list measures the same thing everywhere.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")

_PINNED = "httpcore==1.0.9"


class WorkerError(Exception):
    """A worker could not do what it was asked; the text says why."""


class Skipped(Exception):
    """A contestant cannot take part on this machine; the text says why."""


class Worker:
    """One contestant's process: one JSON line in, one JSON line out.

    Args:
        python: the interpreter it runs on.
        job: what it will do, as `worker/job.py` describes.

    Raises:
        Skipped: the client is not installed.
        WorkerError: it failed while it was being prepared.
    """

    def __init__(self, python: str, job: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [python, str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(job["peer"]),
            text=True,
        )
        try:
            self.version: str = self.ask(job)["version"]
        except BaseException:
            self.close()
            raise

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Send one line, wait for the answer.

        Raises:
            Skipped, WorkerError: as the worker says, or when it is gone or silent too long.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        watchdog = threading.Timer(_PATIENCE, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watchdog.cancel()
            watchdog.join()
        if not line:
            raise WorkerError(f"the worker ended, or was silent for {_PATIENCE} seconds")
        answer: dict[str, Any] = json.loads(line)
        if "skip" in answer:
            raise Skipped(answer["skip"])
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Interpreters:
    """Which interpreter runs which contestant; makes the one of httpcore 1.0.9 when needed."""

    def __init__(self) -> None:
        self._httpcore_109: str | Skipped | None = None

    def of(self, peer: str) -> str:
        """The interpreter for `peer`.

        Raises:
            Skipped: httpcore 1.0.9 could not be installed.
        """
        if peer != cases.HTTPCORE_109:
            return sys.executable
        if self._httpcore_109 is None:
            try:
                self._httpcore_109 = _interpreter_with_httpcore_109()
            except Skipped as reason:
                self._httpcore_109 = reason
        if isinstance(self._httpcore_109, Skipped):
            raise self._httpcore_109
        return self._httpcore_109


def _environment(peer: str) -> dict[str, str]:
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    if peer == cases.OURS:
        environment["PYTHONPATH"] = str(ROOT)
    return environment


def _cache_directory() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return Path(home) / "httpcore-benchmarks" / version


def _interpreter_with_httpcore_109() -> str:
    """Made once, then found in the cache."""
    directory = _cache_directory()
    bin_directory, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    python = str(directory / bin_directory / name)
    if _has_httpcore_109(python):
        return python
    print(f"installing {_PINNED} into {directory}", file=sys.stderr)
    try:
        venv.create(directory, clear=True, with_pip=True)
        command = [python, "-m", "pip", "install", "--quiet", _PINNED]
        subprocess.run(command, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        reason = str(error.stderr or error).strip().rpartition("\n")[2]
        raise Skipped(f"{_PINNED} could not be installed: {reason}")
    except OSError as error:
        raise Skipped(f"{_PINNED} could not be installed: {error}")
    return python


def _has_httpcore_109(python: str) -> bool:
    program = "import httpcore; raise SystemExit(httpcore.__version__ != '1.0.9')"
    try:
        return subprocess.run([python, "-I", "-c", program], capture_output=True).returncode == 0
    except OSError:
        return False
