"""The pytest plugin that a suite runs with: puts our adapter in place, and proves it was used.

Owns: `install()`, counting what went through it, the checked-in list, the report. Must not
know: which suites there are, environments.

It is loaded by ``-p``, which is before any conftest and any test module is imported, so that a
class that a suite derives from `requests.adapters.HTTPAdapter` derives from ours. It runs in
the suite's own environment, from a directory of its own: the suite's ``tests`` package must not
meet ours.

Told by the environment: ``DOWNSTREAM_MODE`` ("stock": leave requests alone; "http2": switch HTTP/2
on in each adapter; "session": put our session in place, too),
``DOWNSTREAM_CORE`` (not empty: the suite stands on httpcore itself),
``DOWNSTREAM_STAND_IN`` (names that lead to this machine instead of the internet),
``DOWNSTREAM_LIST`` (the suite's list), ``DOWNSTREAM_REPORT`` (where the report goes).
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from listing import read_list
from stand_in import internet

MODE = os.environ["DOWNSTREAM_MODE"]
STOCK = MODE == "stock"
CORE = bool(os.environ.get("DOWNSTREAM_CORE"))
REPORT = Path(os.environ["DOWNSTREAM_REPORT"])
LISTED = read_list(Path(os.environ["DOWNSTREAM_LIST"]))

# Adapters made, requests sent by ours, those of them that were answered over HTTP/2, and requests
# sent by urllib3's own pools: a suite that brings a pool of its own does some of those.
counts = {"adapters": 0, "ours": 0, "http2": 0, "urllib3": 0}
outcomes: dict[str, str] = {}
texts: dict[str, str] = {}
# Listed tests that do not exist.
missing: list[str] = []


def _counted(owner: Any, name: str, count: str) -> None:
    under = getattr(owner, name)

    @functools.wraps(under)
    def counting(*args: Any, **kwargs: Any) -> Any:
        counts[count] += 1
        result = under(*args, **kwargs)
        if count == "ours" and result.extensions.get("http_version") == b"HTTP/2":
            counts["http2"] += 1
        return result

    @functools.wraps(under)
    async def counting_in_tasks(*args: Any, **kwargs: Any) -> Any:
        counts[count] += 1
        return await under(*args, **kwargs)

    setattr(owner, name, counting_in_tasks if inspect.iscoroutinefunction(under) else counting)


# What tells a connection of urllib3's: our pools override its urlopen, which tests may replace.
_counted(urllib3.connection.HTTPConnection, "request", "urllib3")
if CORE:
    import httpcore

    _counted(httpcore.ConnectionPool, "handle_request", "urllib3" if STOCK else "ours")
    _counted(httpcore.AsyncConnectionPool, "handle_async_request", "urllib3" if STOCK else "ours")
elif STOCK:
    import requests

    _counted(requests.adapters.HTTPAdapter, "init_poolmanager", "adapters")
else:
    import httpcore
    import httpcore_requests

    httpcore_requests.install(session=MODE == "session", http2=MODE == "http2")
    _counted(httpcore_requests.HTTPAdapter, "init_poolmanager", "adapters")
    _counted(httpcore.ConnectionPool, "handle_request", "ours")

_internet = internet(tuple(os.environ.get("DOWNSTREAM_STAND_IN", "").split()))


# Of the list, what holds in which mode.
_SECTIONS = {
    "stock": ("both",),
    "ours": ("both", "ours"),
    "http2": ("both", "ours", "http2"),
    "session": ("both", "ours", "session"),
}


def pytest_sessionstart() -> None:
    _internet.__enter__()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing.extend(set(LISTED) - {item.nodeid for item in items})
    for item in items:
        entry = LISTED.get(item.nodeid)
        if entry is not None and entry.section in _SECTIONS[MODE]:
            # Strict: a test that passes all the same fails the run, and its line must go.
            item.add_marker(pytest.mark.xfail(reason=entry.reason, strict=True))


# Of the reports on one test (setup, call, teardown) the worst says what became of it.
_RANK = ["passed", "skipped", "listed", "failed"]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    outcome: str = report.outcome
    if outcome == "skipped" and hasattr(report, "wasxfail") and report.nodeid in LISTED:
        outcome = "listed"
    known = outcomes.get(report.nodeid, "passed")
    outcomes[report.nodeid] = max(known, outcome, key=_RANK.index)
    if report.failed:
        texts[report.nodeid] = report.longreprtext


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        outcomes[report.nodeid] = "failed"
        texts[report.nodeid] = report.longreprtext


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield
    _internet.__exit__(None, None, None)
    report = {
        "outcomes": outcomes,
        "texts": texts,
        "missing": sorted(missing),
        "counts": counts,
        "in_place": _in_place(),
    }
    REPORT.write_text(json.dumps(report), "utf-8")


def _in_place() -> bool:
    """Return whether what is under test still is the one that a suite would get."""
    if CORE:  # only ours has a PoolManager; HTTPX's suite imports the package once more
        return hasattr(sys.modules["httpcore"], "PoolManager") != STOCK
    import requests.adapters
    import requests.sessions

    in_place = requests.adapters.HTTPAdapter is requests.sessions.HTTPAdapter
    if not STOCK:
        in_place = in_place and requests.adapters.HTTPAdapter is httpcore_requests.HTTPAdapter
        session = httpcore_requests.Session
        placed = [found is session for found in (requests.Session, requests.sessions.Session)]
        in_place = in_place and placed == [MODE == "session"] * 2
    return in_place
