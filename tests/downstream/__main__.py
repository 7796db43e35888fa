"""`python -m tests.downstream`: the command line.

Owns: arguments, what is printed, the exit code. Must not know: pip, pytest.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .environment import Cache, IndexUnreachable, InstallFailed, pinned
from .running import CHECKOUT, Result, run
from .suites import SUITES, Suite

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
COLUMNS = "{:<20} {:<8} {:<6} {:>7} {:>7} {:>7} {:>8} {:>9} {:>8}"


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
        modes = [False, True] if options.stock else [False]
        return conclude(run_all(cache, suites, modes, ["-k", options.k] if options.k else []))


def prepare(cache: Cache, suites: list[Suite], bump: bool) -> None:
    if bump:
        cache.bump()
    cache.install()
    for suite in suites:
        cache.fetch(suite)


def run_all(cache: Cache, suites: list[Suite], modes: list[bool], more: list[str]) -> list[Result]:
    """The result of each suite in each mode, shown as soon as it is there."""
    print(COLUMNS.format(*HEADINGS), flush=True)
    results = []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        runs = [
            threads.submit(run, suite, cache, stock, more) for suite in suites for stock in modes
        ]
        for future in runs:
            results.append(future.result())
            show(results[-1])
    return results


def show(result: Result) -> None:
    print(
        COLUMNS.format(
            result.suite,
            pinned(result.suite),
            "stock" if result.stock else "ours",
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
        (f"{result.suite}{' with stock' if result.stock else ''}: {test or 'the run'}", text)
        for result in results
        for test, text in result.failed.items()
    ]
    for name, text in failures[:SHOWN_FAILURES]:
        print(f"\n--- {name}\n" + "\n".join(text.splitlines()[-SHOWN_LINES:]))
    for name, _ in failures[SHOWN_FAILURES:]:
        print(f"--- {name}")
    stock = {result.suite: result for result in results if result.stock}
    for result in results:
        if not result.stock and result.suite in stock:
            for test in sorted(set(result.failed) - set(stock[result.suite].failed) - {""}):
                print(f"fails with ours only: {result.suite}: {test}")
    failed = sum(len(result.failed) for result in results)
    print(f"{sum(result.passed for result in results)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
