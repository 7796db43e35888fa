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
from .suites import Suite

LISTS = HERE / "lists"
CHECKOUT = HERE.parent.parent

# Seconds for one test, and for one suite. The slowest test takes 20 (it waits for its server),
# the slowest suite 90.
TEST_TIMEOUT = 60
SUITE_TIMEOUT = 400


@dataclass
class Result:
    """What came of one run.

    Attributes:
        suite: the suite's name.
        stock: whether it ran with requests' own adapter.
        seconds: how long it took.
        passed, skipped, listed: tests; `listed` failed as the list says.
        failed: what failed, by test id, with the text; "" for the run as a whole.
        requests: sent by our adapter (by urllib3's connections, if `stock`).
    """

    suite: str
    stock: bool
    seconds: float = 0.0
    passed: int = 0
    skipped: int = 0
    listed: int = 0
    requests: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def run(suite: Suite, cache: Cache, stock: bool, more: list[str]) -> Result:
    """Run `suite` once; everything it prints goes to a file under ``cache.logs``.

    Parameters:
        stock: leave requests' own adapter in place.
        more: further arguments for pytest, such as ``-k NAME``; the rules that hold for a
            whole suite do not apply then.
    """
    label = f"{suite.name}-{'stock' if stock else 'ours'}"
    place = cache.work / label
    report = cache.work / f"{label}.json"
    report.unlink(missing_ok=True)
    top = cache.unpack(suite, place / "files")
    started = time.monotonic()
    log = cache.logs / f"{label}.txt"
    with log.open("w", encoding="utf-8") as output:
        try:
            code: int | None = subprocess.run(
                _command(suite, cache, more),
                cwd=top,
                env=_environment(suite, place, report, stock),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=SUITE_TIMEOUT,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    result = Result(suite.name, stock, seconds=time.monotonic() - started)
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
    result.requests = report["counts"]["urllib3" if result.stock else "ours"]
    for test, outcome in outcomes.items():
        if outcome == "failed":
            result.failed[test] = report["texts"].get(test, "")
    problems = []
    if whole:
        problems += [f"{test} is listed, and there is no such test" for test in report["missing"]]
        if not report["counts"]["adapters"]:
            problems.append("no adapter was made")
        if result.requests < suite.requests:
            problems.append(f"only {result.requests} requests were sent, not {suite.requests}")
    if not report["in_place"]:
        problems.append("at its end another adapter was in place")
    if code not in (0, 1) or (code == 1 and not result.failed):
        problems.append(f"pytest exited with {code}")
    if problems:
        result.failed[""] = "; ".join(problems)


def _command(suite: Suite, cache: Cache, more: list[str]) -> list[str]:
    plugins = ("downstream_plugin", "pytest_timeout", *suite.plugins)
    return [
        str(cache.python), "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "-q", "-rfE",
        f"--timeout={TEST_TIMEOUT}",
        *(word for plugin in plugins for word in ("-p", plugin)), *suite.arguments, *more,
    ]  # fmt: skip


def _environment(suite: Suite, place: Path, report: Path, stock: bool) -> dict[str, str]:
    # Ours is not installed, so that one cache serves any checkout. It is a copy, so that a file
    # may be saved meanwhile; with nothing beside it, as the checkout has a package called tests
    # and the suites have too.
    ours = place / "ours"
    shutil.rmtree(ours, ignore_errors=True)
    for package in ("httpcore", "httpcore_requests"):
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / package, ours / package, ignore=unwanted)
    return {
        **clean_environ(),
        **dict(suite.environment),
        "PYTHONPATH": os.pathsep.join([str(ours), str(HERE / "plugin")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "DOWNSTREAM_STOCK": str(int(stock)),
        "DOWNSTREAM_STAND_IN": " ".join(suite.stand_in),
        "DOWNSTREAM_LIST": str(LISTS / f"{suite.name}.txt"),
        "DOWNSTREAM_REPORT": str(report),
    }
