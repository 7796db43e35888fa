"""The cache: one virtual environment, and the source distributions.

Owns: what is installed and downloaded, and when that has to be done again. Must not know: how
suites are run, what their results mean.

Everything is installed at the versions of ``requirements.txt`` and only when that file or the
interpreter changed; a run with a warm cache reads nothing from the network.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from .suites import COMMON, SUITES, UNPINNED, Suite

HERE = Path(__file__).parent
PINS = HERE / "requirements.txt"

# Seconds for one answer of the index, and how often pip asks again. Its defaults would have a
# machine without a network wait for minutes before it says so.
_PATIENCE = ("--timeout", "30", "--retries", "2")

# pip's words when its last attempt at a connection failed, as against a package that is missing.
_UNREACHABLE = re.compile(
    r"Retry\(total=0\b.*after connection broken by|Could not fetch URL|(Read|Connect)TimeoutError"
)

_HEADER = f"""\
# What scripts/downstream installs. Written by `scripts/downstream --bump`, which takes the
# newest of everything; run the suites with --stock afterwards and see what changed.
# Made with Python {sys.version_info.major}.{sys.version_info.minor}.
"""


class IndexUnreachable(Exception):
    """Something had to be downloaded and the package index did not answer."""


class InstallFailed(Exception):
    """pip failed for another reason than the network."""


def clean_environ() -> dict[str, str]:
    """The environment without what could change a result: proxies, CA files, other paths."""
    unwanted = re.compile(r"(?i)(.*_proxy|.*_ca_bundle|ssl_cert_.*|python.*|pytest_.*|netrc)")
    return {name: value for name, value in os.environ.items() if not unwanted.fullmatch(name)}


class Cache:
    """The cache directory.

    Parameters:
        root: where it is; made if it is missing. Not for two processes at a time.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sdists = root / "sdists"
        self.logs = root / "logs"
        self.work = root / "work"
        for directory in (self.sdists, self.logs, self.work):
            directory.mkdir(parents=True, exist_ok=True)
        # The cache may lie in a checkout, and tools that look for tests and lint walk those.
        (root / ".gitignore").write_text("*\n")
        self.python = root / "env" / "bin" / "python"

    def install(self) -> None:
        """Make the environment, unless it is there.

        Raises IndexUnreachable or InstallFailed.
        """
        stamp = self.root / "env" / "installed"
        wanted = "\n".join([sys.version, str(self.root), *needs(), PINS.read_text("utf-8")])
        if stamp.is_file() and stamp.read_text("utf-8") == wanted and self._works():
            return
        self._make_env()
        self._pip("install", *needs(), "--constraint", str(PINS))
        stamp.write_text(wanted, "utf-8")

    def bump(self) -> None:
        """Install the newest of everything and write that down as the pins."""
        self._make_env()
        self._pip("install", "--upgrade", *needs())
        frozen = self._pip("freeze").splitlines()
        kept = [line for line in frozen if re.split("==", line)[0].lower() not in UNPINNED]
        PINS.write_text(_HEADER + "\n".join(kept) + "\n", "utf-8")

    def unpack(self, suite: Suite, directory: Path) -> Path:
        """The files of `suite`, fresh, under `directory`: tests leave things behind.

        Raises IndexUnreachable or InstallFailed.
        """
        shutil.rmtree(directory, ignore_errors=True)
        with tarfile.open(self._sdist(suite)) as archive:
            if hasattr(tarfile, "data_filter"):
                archive.extractall(directory, filter="data")
            else:
                archive.extractall(directory)
        (top,) = directory.iterdir()
        for name in suite.without:
            unwanted = top / name
            shutil.rmtree(unwanted) if unwanted.is_dir() else unwanted.unlink()
        if not _configures_pytest(top):
            # Else pytest looks further up, and may find the settings of our own tests.
            (top / "pytest.ini").write_text("[pytest]\n")
        return top

    def fetch(self, suite: Suite) -> None:
        """Download the source distribution of `suite`, unless it is there.

        Raises IndexUnreachable or InstallFailed.
        """
        self._sdist(suite)

    def _sdist(self, suite: Suite) -> Path:
        version = suite.tests_of or pinned(suite.name)
        # The name in a file name is spelled in several ways (PEP 625 came late).
        spelled = re.compile(
            re.escape(f"{suite.name}-{version}.tar.gz").replace("\\-", "[-_]"), re.I
        )
        for _ in range(2):
            for path in self.sdists.iterdir():
                if spelled.fullmatch(path.name):
                    return path
            self._pip(
                "download", "--no-deps", "--no-binary", ":all:", "--dest", str(self.sdists),
                f"{suite.name}=={version}",
            )  # fmt: skip
        raise InstallFailed(f"no source distribution of {suite.name} {version}")

    def _works(self) -> bool:
        """Whether the environment's interpreter still is where it was."""
        try:
            return subprocess.run([str(self.python), "-c", ""]).returncode == 0
        except OSError:
            return False

    def _make_env(self) -> None:
        environment = self.root / "env"
        shutil.rmtree(environment, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)

    def _pip(self, command: str, *arguments: str) -> str:
        options = [] if command == "freeze" else ["--quiet", *_PATIENCE]
        pip = [str(self.python), "-m", "pip", "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, command, *options, *arguments],
            env={**os.environ, "PIP_NO_INPUT": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            return done.stdout
        what = f"pip {command} failed:\n{done.stderr.strip()}"
        raise (IndexUnreachable if _UNREACHABLE.search(done.stderr) else InstallFailed)(what)


def _configures_pytest(top: Path) -> bool:
    places = {
        "pytest.ini": "",
        "pyproject.toml": "[tool.pytest",
        "tox.ini": "[pytest]",
        "setup.cfg": "[tool:pytest]",
    }
    return any(
        (top / name).is_file() and text in (top / name).read_text("utf-8")
        for name, text in places.items()
    )


def needs() -> list[str]:
    """Everything to install, without versions."""
    names = {*COMMON}
    for suite in SUITES.values():
        names.update((suite.name, *suite.needs))
    return sorted(names)


def pinned(name: str) -> str:
    """The version that `name` is pinned to; "?" where it is not."""
    spelled = re.compile(re.escape(name).replace("\\-", "[-_.]") + r"==(\S+)", re.I)
    for line in PINS.read_text("utf-8").splitlines():
        match = spelled.fullmatch(line)
        if match:
            return match[1]
    return "?"
