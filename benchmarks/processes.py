"""The processes that the contestants run in.

Owns: the worker processes and their line of talk, their environment, the virtual environments
of the clients that cannot stand beside ours. Must not know: what is measured.
"""

from __future__ import annotations

import importlib.metadata
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
#: The program of a worker that serves, in place of one that asks.
GATEWAY_PROGRAM = _WORKER / "gateway.py"

#: Seconds for one answer of a worker. The slowest round takes a few.
_PATIENCE = 180.0
#: Seconds for a worker to end by itself once its standard input is closed.
_FAREWELL = 5.0

#: What a worker inherits. requests reads the whole environment on every `Session.get`, and
#: proxies and CA bundles from it: a short fixed list measures the same thing everywhere.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")

#: Distributions and their versions. The first one gives an environment its name.
Pins = dict[str, str]

#: Clients of an earlier day, that put something in the place of urllib3, or that nothing else here
#: needs, each in a virtual environment of its own.
_PINNED: dict[str, Pins] = {
    cases.NIQUESTS: {"niquests": "3.21.2"},
    cases.HTTPCORE_109: {"httpcore": "1.0.9"},
    cases.HTTPCORE2: {"httpcore2": "2.16.2"},
    cases.PYREQWEST: {"pyreqwest": "0.15.1"},
    cases.HTTPX: {"httpx": "0.28.1", "httpcore": "1.0.9"},
    cases.AIOHTTP: {"aiohttp": "3.14.5"},
}

#: What these need beside in the asynchronous cases. They look for it when they are imported, so it
#: does not stand in the environment whose import is measured.
_ASYNCHRONOUS: dict[str, Pins] = {
    cases.HTTPCORE_109: {"anyio": "4.16.0", "trio": "0.35.0"},
    cases.HTTPCORE2: {"anyio": "4.16.0", "trio": "0.35.0"},
}

#: What the gateways by hand run under, in the versions that are installed here, as `h2` is.
_SERVERS = ("uvicorn", "httptools", "uvloop")

#: uvloop is not made for Windows.
if os.name != "nt":
    _ASYNCHRONOUS[cases.AIOHTTP] = {"uvloop": "0.23.0"}


class WorkerError(Exception):
    """A worker could not do what it was asked; the text says why."""


class Skipped(Exception):
    """A contestant cannot take part on this machine; the text says why."""


class Worker:
    """One contestant's process: one JSON line in, one JSON line out.

    Parameters:
        python: the interpreter it runs on.
        job: what it will do, as `worker/job.py` describes, or for a gateway `worker/gateway.py`.
        program: what it runs.

    Raises:
        Skipped: the client is not installed.
        WorkerError: it failed while it was being prepared.
    """

    def __init__(self, python: str, job: dict[str, Any], program: Path = _WORKER) -> None:
        self._process = subprocess.Popen(
            [python, str(program)],
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

    @property
    def process(self) -> subprocess.Popen[str]:
        """Return the process, for those who watch it from outside."""
        return self._process

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
    """Which interpreter runs which contestant; makes those of the pinned clients when needed."""

    def __init__(self) -> None:
        self._made: dict[str, str | Skipped] = {}

    def of(self, peer: str, kind: str = "") -> str:
        """The interpreter for `peer` in a case of that kind.

        Raises:
            Skipped: the pinned client could not be installed.
        """
        pins = pins_of(peer, kind)
        if not pins:
            return sys.executable
        name = _directory_name(pins)
        if name not in self._made:
            try:
                self._made[name] = _interpreter_with(pins)
            except Skipped as reason:
                self._made[name] = reason
        made = self._made[name]
        if isinstance(made, Skipped):
            raise made
        return made


def pins_of(peer: str, kind: str) -> Pins:
    """What has to be installed for `peer`; nothing where it runs in this environment.

    Raises Skipped where a version is to be that of this environment, which has none.

    Ours under HTTPX runs where HTTPX is installed with httpcore 1.0.9, and goes before that one:
    PYTHONPATH comes before what is installed.
    """
    if kind == cases.UNDER_HTTPX:
        return _PINNED[cases.HTTPX]
    pins = _PINNED.get(peer, {})
    if kind == cases.GATEWAY:
        return {**pins, **_server_pins()} if pins else {}
    return {**pins, **_ASYNCHRONOUS.get(peer, {})} if kind == cases.ASYNC else pins


def _server_pins() -> Pins:
    try:
        return {name: importlib.metadata.version(name) for name in _SERVERS}
    except importlib.metadata.PackageNotFoundError as error:
        raise Skipped(f"not installed: {error.name}") from error


def _environment(peer: str) -> dict[str, str]:
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    if peer == cases.OURS:
        environment["PYTHONPATH"] = str(ROOT)
    return environment


def _cache_directory(name: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return Path(home) / "httpcore-benchmarks" / f"{name}-{version}"


def _directory_name(pins: Pins) -> str:
    (name, version), *others = pins.items()
    return "-".join([name, version, *(other for other, _ in others)])


def _interpreter_with(pins: Pins) -> str:
    """Made once, then found in the cache. `h2` is the one that ours has: nobody's merit."""
    directory = _cache_directory(_directory_name(pins))
    bin_directory, program = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    python = str(directory / bin_directory / program)
    versions = {**pins, "h2": importlib.metadata.version("h2")}
    if _has(python, versions):
        return python
    pinned = [f"{each}=={wanted}" for each, wanted in versions.items()]
    print(f"installing {' and '.join(pinned)} into {directory}", file=sys.stderr)
    try:
        venv.create(directory, clear=True, with_pip=True)
        command = [python, "-m", "pip", "install", "--quiet", *pinned]
        subprocess.run(command, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        reason = str(error.stderr or error).strip().rpartition("\n")[2]
        raise Skipped(f"{pinned[0]} could not be installed: {reason}")
    except OSError as error:
        raise Skipped(f"{pinned[0]} could not be installed: {error}")
    return python


def _has(python: str, versions: dict[str, str]) -> bool:
    """Whether the interpreter is there and has exactly these distributions."""
    program = (
        "import importlib.metadata as m, json, sys; "
        "sys.exit(any(m.version(k) != v for k, v in json.loads(sys.argv[1]).items()))"
    )
    command = [python, "-I", "-c", program, json.dumps(versions)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False
