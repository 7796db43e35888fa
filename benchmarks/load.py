"""The load generator that stands before a gateway: wrk, or oha where wrk is not installed.

Owns: their command lines, and what they print. Must not know: what answers, how often they run.

Both keep a number of connections busy for a number of seconds: the next request of a connection is
sent when its answer is there. What is under way at the end is not counted.

Sources: wrk's SCRIPTING file (`done`, times in microseconds), oha's schema.json.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

MISSING = "left out: needs wrk (apt-get install wrk) or oha"

#: Seconds beyond a round after which an answer counts as lost: the slowest gateway takes four for
#: one of many, which is slow but no error.
_PATIENCE = 30

#: wrk prints for people; this makes it print one line for us.
_WRK_SCRIPT = """\
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '{"requests": %d, "bytes": %.0f, "wall": %f, "p50": %f, "p99": %f, "errors": '
            .. '{"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\\n',
        summary.requests, summary.bytes, summary.duration / 1e6,
        latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
        errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
"""

#: What oha calls a request that was under way at the end.
_OHA_UNDER_WAY = "aborted due to deadline"


class LoadError(Exception):
    """Raised for a round that does not count: a request failed, or none was finished."""


class Load(NamedTuple):
    """What one round did.

    Parameters:
        requests: that were answered.
        received: bytes of these answers.
        wall: seconds that the round took.
        p50: seconds within which half of the answers were there.
        p99: and 99 of 100.
        errors: how many of each kind; those that there were none of may be missing.
    """

    requests: int
    received: int
    wall: float
    p50: float
    p99: float
    errors: dict[str, int]

    def check(self, size: int) -> None:
        """Raise LoadError unless all went well and each body had `size` bytes."""
        found = {kind: count for kind, count in self.errors.items() if count}
        if found:
            raise LoadError(", ".join(f"{kind}: {count} errors" for kind, count in found.items()))
        if not self.requests:
            raise LoadError(f"no request was finished within {self.wall:.1f} seconds")
        if self.received < self.requests * size:
            raise LoadError(f"{self.received} bytes in {self.requests} bodies of {size}")


class Generator(NamedTuple):
    """One of the programs.

    Parameters:
        name: what it is called.
        command: makes its command line from the URL, the connections and the seconds.
        read: makes a `Load` from what it prints.
    """

    name: str
    command: Callable[[str, int, int], list[str]]
    read: Callable[[str], Load]

    def run(self, url: str, connections: int, seconds: int) -> Load:
        """Keep that many connections busy for that long.

        Raises:
            LoadError: the program failed, or said something else than expected.
        """
        command = self.command(url, connections, seconds)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds + 2 * _PATIENCE
            )
        except subprocess.TimeoutExpired as error:
            raise LoadError(f"{self.name} did not end") from error
        if done.returncode:
            raise LoadError(f"{self.name}: {(done.stderr or done.stdout).strip()}")
        try:
            return self.read(done.stdout)
        except (ValueError, LookupError, TypeError) as error:
            raise LoadError(f"{self.name} printed something else: {done.stdout!r}") from error


def find(directory: Path) -> Generator | None:
    """Return the generator that is installed, wrk first; None without one.

    Parameters:
        directory: where the script of wrk is written.
    """
    if program := shutil.which("wrk"):
        script = directory / "wrk.lua"
        script.write_text(_WRK_SCRIPT)
        return Generator("wrk", _wrk_command(program, script), read_wrk)
    if program := shutil.which("oha"):
        return Generator("oha", _oha_command(program), read_oha)
    return None


def _wrk_command(program: str, script: Path) -> Callable[[str, int, int], list[str]]:
    def command(url: str, connections: int, seconds: int) -> list[str]:
        # One thread: it sends many times what a gateway in Python answers.
        options = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s"]
        return [program, *options, "--timeout", f"{seconds + _PATIENCE}s", "-s", str(script), url]

    return command


def read_wrk(text: str) -> Load:
    """Return what wrk measured; it is the last line."""
    document: dict[str, Any] = json.loads(text.strip().rpartition("\n")[2])
    return Load(
        document["requests"],
        document["bytes"],
        *(document[key] for key in ("wall", "p50", "p99", "errors")),
    )


def _oha_command(program: str) -> Callable[[str, int, int], list[str]]:
    def command(url: str, connections: int, seconds: int) -> list[str]:
        options = ["-c", str(connections), "-z", f"{seconds}s", "-t", f"{seconds + _PATIENCE}s"]
        return [program, *options, "--no-tui", "--output-format", "json", url]

    return command


def read_oha(text: str) -> Load:
    """Return what oha measured."""
    document: dict[str, Any] = json.loads(text)
    summary, latency = document["summary"], document["latencyPercentiles"]
    answered: dict[str, int] = document["statusCodeDistribution"]
    errors = {
        kind: count
        for kind, count in document["errorDistribution"].items()
        if kind != _OHA_UNDER_WAY
    }
    errors["status"] = sum(
        count for status, count in answered.items() if not "200" <= status < "400"
    )
    return Load(
        sum(answered.values()),
        summary["totalData"],
        summary["total"],
        latency["p50"] or 0.0,  # null where nothing was answered
        latency["p99"] or 0.0,
        errors,
    )
