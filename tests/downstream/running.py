"""One run of one suite, and what came of it.

Owns: the pytest process and the verdict. Must not know: the cache, the command line.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .environment import HERE, Cache, clean_environ
from .suites import HTTP2, OURS, SESSION, STOCK, Suite

LISTS = HERE / "lists"
CHECKOUT = HERE.parent.parent

# Seconds for one test, and for one suite. The slowest test takes 20 (it waits for its server),
# the slowest suite 90, and three times that on a machine that has other things to do.
TEST_TIMEOUT = 60
SUITE_TIMEOUT = 600


@dataclass
class Result:
    """What came of one run.

    Attributes:
        suite: the suite's name.
        mode: `OURS`, `HTTP2`, `SESSION` or `STOCK`.
        seconds: how long it took.
        passed, skipped, listed: tests; `listed` failed as the list says.
        failed: what failed, by test id, with the text; "" for the run as a whole.
        requests: sent by our adapter (`STOCK`: by urllib3's connections; `HTTP2`: those that
            were answered over HTTP/2).
    """

    suite: str
    mode: str
    seconds: float = 0.0
    passed: int = 0
    skipped: int = 0
    listed: int = 0
    requests: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def run(suite: Suite, cache: Cache, mode: str, more: list[str]) -> Result:
    """Run `suite` once; everything it prints goes to a file under ``cache.logs``.

    Parameters:
        mode: `OURS`; `HTTP2`, with HTTP/2 in each adapter that is made; `SESSION`, with our session
            in place too; `STOCK`, with requests' own adapter left in place.
        more: further arguments for pytest, such as ``-k NAME``; the rules that hold for a
            whole suite do not apply then.
    """
    label = f"{suite.name}-{mode}"
    place = cache.work / label
    report = cache.work / f"{label}.json"
    report.unlink(missing_ok=True)
    top = cache.unpack(suite, place / "files")
    started = time.monotonic()
    log = cache.logs / f"{label}.txt"
    with log.open("w", encoding="utf-8") as output:
        try:
            code: int | None = subprocess.run(
                _command(suite, cache, mode, more),
                cwd=top,
                env=_environment(suite, top, place, report, mode),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=SUITE_TIMEOUT,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    result = Result(suite.name, mode, seconds=time.monotonic() - started)
    found = json.loads(report.read_text("utf-8")) if report.is_file() else None
    judge(result, suite, code, found, whole=not more)
    if "" in result.failed:
        result.failed[""] += f"; its output is in {log}"
    return result


def judge(
    result: Result, suite: Suite, code: int | None, report: dict[str, Any] | None, whole: bool
) -> None:
    """Fill `result` from what pytest returned (None: it was ended) and the plugin wrote."""
    if report is None:
        how = f"did not end in {SUITE_TIMEOUT} s" if code is None else f"exited with {code}"
        result.failed[""] = f"pytest {how} and left no report"
        return
    outcomes = report["outcomes"]
    tally = Counter(outcomes.values())
    result.passed, result.skipped = tally["passed"], tally["skipped"]
    result.listed = tally["listed"]
    result.requests = report["counts"][_COUNTS[result.mode]]
    least = suite.http2 if result.mode == HTTP2 else suite.requests
    for test, outcome in outcomes.items():
        if outcome == "failed":
            result.failed[test] = report["texts"].get(test, "")
    problems = []
    if whole:
        problems += [f"{test} is listed, and there is no such test" for test in report["missing"]]
        if not report["counts"]["adapters"] and not suite.core:
            problems.append("no adapter was made")
        if result.requests < least:
            problems.append(f"only {result.requests} requests were sent, not {least}")
    if not report["in_place"]:
        problems.append("at its end another adapter was in place")
    if code not in (0, 1) or (code == 1 and not result.failed):
        problems.append(f"pytest exited with {code}")
    if problems:
        result.failed[""] = "; ".join(problems)


# What of the plugin's counts is the number of requests.
_COUNTS = {OURS: "ours", HTTP2: "http2", SESSION: "ours", STOCK: "urllib3"}

# Stands in the place of pytest-httpbin's fixtures, whose servers speak HTTP/1 only.
_WITH_HTTP2 = {"pytest_httpbin.plugin": "http2_httpbin"}


def _command(suite: Suite, cache: Cache, mode: str, more: list[str]) -> list[str]:
    own = [_WITH_HTTP2.get(name, name) if mode == HTTP2 else name for name in suite.plugins]
    plugins = ("downstream_plugin", "pytest_timeout", *own)
    return [
        str(cache.python), "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "-q", "-rfE",
        f"--timeout={TEST_TIMEOUT}",
        *(word for plugin in plugins for word in ("-p", plugin)), *suite.arguments, *more,
    ]  # fmt: skip


def _environment(suite: Suite, top: Path, place: Path, report: Path, mode: str) -> dict[str, str]:
    # Ours is not installed, so that one cache serves any checkout. It is a copy, so that a file
    # may be saved meanwhile; with nothing beside it, as the checkout has a package called tests
    # and the suites have too.
    ours = place / "ours"
    shutil.rmtree(ours, ignore_errors=True)
    for package in ("httpcore", "httpcore_requests"):
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / package, ours / package, ignore=unwanted)
    # What is under test with the stock httpcore is the one that is installed.
    path = [] if suite.core and mode == STOCK else [str(ours)]
    return {
        **clean_environ(),
        **dict(suite.environment),
        "PYTHONPATH": os.pathsep.join(
            [*path, str(HERE / "plugin"), *(str(top / name) for name in suite.path)]
        ),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "DOWNSTREAM_MODE": mode,
        "DOWNSTREAM_CORE": "1" if suite.core else "",
        "DOWNSTREAM_STAND_IN": " ".join(suite.stand_in),
        "DOWNSTREAM_LIST": str(LISTS / f"{suite.name}.txt"),
        "DOWNSTREAM_REPORT": str(report),
    }
