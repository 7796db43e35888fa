"""`python -m tests.downstream`: the command line.

Owns: arguments, what is printed, the exit code. Must not know: pip, pytest.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .environment import Cache, IndexUnreachable, InstallFailed, pinned
from .running import CHECKOUT, Result, run
from .suites import HTTP2, OURS, SESSION, STOCK, SUITES, Suite

# sysexits.h's EX_TEMPFAIL: nothing was found out, because the package index did not answer.
UNREACHABLE = 75

# How many failures are shown with their text, and how many lines of each: the first ones tell,
# and all of it is in the logs.
SHOWN_FAILURES = 20
SHOWN_LINES = 40

# Suites run at the same time. Most of their time is waiting, and more would meet their timeouts.
AT_ONCE = 2

HEADINGS = (
    *("suite", "version", "with", "passed", "failed"),
    *("listed", "skipped", "requests", "seconds"),
)
COLUMNS = "{:<38} {:<10} {:<6} {:>7} {:>7} {:>7} {:>8} {:>9} {:>8}"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/downstream",
        description="Run other projects' test suites with our adapter installed.",
    )
    parser.add_argument("name", nargs="*", help=f"of {', '.join(SUITES)}; all without")
    parser.add_argument("--stock", action="store_true", help="run each with the stock adapter too")
    parser.add_argument("--bump", action="store_true", help="pin the newest of everything first")
    parser.add_argument("-k", metavar="EXPRESSION", help="only tests that match, as in pytest")
    options = parser.parse_args(arguments)
    if unknown := set(options.name) - set(SUITES):
        parser.error(f"no suite is called {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    options = parse()
    cache = Cache(Path(os.environ.get("DOWNSTREAM_CACHE") or CHECKOUT / ".downstream").absolute())
    suites = [SUITES[name] for name in options.name] or list(SUITES.values())
    with (cache.root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            prepare(cache, suites, options.bump)
        except IndexUnreachable as exc:
            print(f"{exc}\nnot run: the package index cannot be reached", file=sys.stderr)
            return UNREACHABLE
        except InstallFailed as exc:
            print(exc, file=sys.stderr)
            return 1
        runs = plan(suites, options.stock)
        return conclude(run_all(cache, runs, ["-k", options.k] if options.k else []))


def prepare(cache: Cache, suites: list[Suite], bump: bool) -> None:
    if bump:
        cache.bump()
    cache.install()
    for suite in suites:
        cache.fetch(suite)


def plan(suites: list[Suite], stock: bool) -> list[tuple[Suite, str]]:
    """Which suites to run in which mode; the one that takes longest first."""
    runs = [(suite, HTTP2) for suite in suites if suite.http2]
    for suite in suites:
        runs.append((suite, OURS))
        if suite.session:
            runs.append((suite, SESSION))
        if stock:
            runs.append((suite, STOCK))
    return runs


def run_all(cache: Cache, plan: list[tuple[Suite, str]], more: list[str]) -> list[Result]:
    """The result of each run, shown as soon as it is there."""
    print(COLUMNS.format(*HEADINGS), flush=True)
    results = []
    # One suite does not run twice at the same time: HTTPX's has a server on a fixed port.
    locks = {suite.name: threading.Lock() for suite, _ in plan}

    def run_one(suite: Suite, mode: str) -> Result:
        with locks[suite.name]:
            return run(suite, cache, mode, more)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        runs = [threads.submit(run_one, suite, mode) for suite, mode in plan]
        for future in runs:
            results.append(future.result())
            show(results[-1])
    return results


def show(result: Result) -> None:
    print(
        COLUMNS.format(
            result.suite,
            pinned(result.suite),
            result.mode,
            result.passed,
            len(result.failed),
            result.listed,
            result.skipped,
            result.requests,
            f"{result.seconds:.1f}",
        ),
        flush=True,
    )


def conclude(results: list[Result]) -> int:
    """Print what failed, and the sum; the exit code."""
    failures = [
        (f"{result.suite} with {result.mode}: {test or 'the run'}", text)
        for result in results
        for test, text in result.failed.items()
    ]
    for name, text in failures[:SHOWN_FAILURES]:
        print(f"\n--- {name}\n" + "\n".join(text.splitlines()[-SHOWN_LINES:]))
    for name, _ in failures[SHOWN_FAILURES:]:
        print(f"--- {name}")
    stock = {result.suite: result for result in results if result.mode == STOCK}
    for result in results:
        if result.mode != STOCK and result.suite in stock:
            for test in sorted(set(result.failed) - set(stock[result.suite].failed) - {""}):
                print(f"fails with {result.mode} only: {result.suite}: {test}")
    failed = sum(len(result.failed) for result in results)
    print(f"{sum(result.passed for result in results)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
