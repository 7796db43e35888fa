"""The benchmarks: that they run and say what they should. Never how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cases, report, runner

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("ours", "urllib3", "socket")
ROUNDS = 2


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What a small run printed, and its JSON document."""
    file = tmp_path_factory.mktemp("benchmarks") / "results.json"
    names = ("get", "tls-get", "post-64k", "threads-32", "memory-upload", "memory-content")
    finished = run(
        *("--server", "embedded", "--only", ",".join(PEERS), "--json", str(file)),
        *("--scale", "0.01", "--rounds", str(ROUNDS)),
        *(argument for name in names for argument in ("--case", name)),
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, json.loads(file.read_text())


def test_every_contestant_is_measured_in_every_round(outcome: tuple[str, dict[str, Any]]) -> None:
    document = outcome[1]
    names = [case["name"] for case in document["cases"]]
    assert names == ["get", "tls-get", "post-64k", "threads-32"]
    for case in document["cases"]:
        assert case["absent"] == {}
        assert tuple(case["contestants"]) == PEERS
        for contestant in case["contestants"].values():
            assert len(contestant["rounds"]) == ROUNDS
            assert contestant["wall_us"] > 0
            assert contestant["version"]
        assert set(case["ratios"]) == {"urllib3", "socket"}


def test_a_round_has_a_request_for_each_thread(outcome: tuple[str, dict[str, Any]]) -> None:
    by_name = {case["name"]: case for case in outcome[1]["cases"]}
    for contestant in by_name["threads-32"]["contestants"].values():
        assert [turn["requests"] for turn in contestant["rounds"]] == [32] * ROUNDS


def test_targets_are_judged_where_their_contestant_ran(
    outcome: tuple[str, dict[str, Any]],
) -> None:
    judged = {
        (target["case"], target["metric"], target["contestant"]): target["met"] is not None
        for target in outcome[1]["targets"]
    }
    assert judged[("get", "wall", "urllib3")]
    assert judged[("threads-32", "wall", "urllib3")]
    assert not judged[("get", "wall", "pycurl")]


def test_memory_checks_move_every_byte(outcome: tuple[str, dict[str, Any]]) -> None:
    sizes = {case.name: round(case.size * 0.01) for case in cases.MEMORY_CASES}
    measured = {check["name"]: check["moved"] for check in outcome[1]["memory"]}
    assert measured == {name: sizes[name] for name in ("memory-upload", "memory-content")}


def test_the_printed_table_names_everything(outcome: tuple[str, dict[str, Any]]) -> None:
    printed = outcome[0]
    for word in ("embedded", "get: small GET", "urllib3", "wall <= 0.45 x urllib3", "targets met"):
        assert word in printed


def test_an_unknown_peer_is_refused() -> None:
    finished = run("--only", "ours,curl")
    assert finished.returncode == 2
    assert "unknown peer curl" in finished.stderr


def test_targets_name_cases_and_contestants_that_exist() -> None:
    contestants = {case.name: {each.label for each in case.contestants} for case in cases.CASES}
    for target in cases.TARGETS:
        assert target.contestant in contestants[target.case]
        assert target.metric in runner.METRICS
    assert len(set(cases.NAMES)) == len(cases.NAMES)


def turn(wall: float, cpu: float = 1.0, requests: int = 10) -> dict[str, float]:
    return {"wall": wall, "cpu": cpu, "requests": requests}


def test_a_ratio_is_the_median_over_rounds() -> None:
    turns = {"ours": [turn(1), turn(2), turn(9)], "urllib3": [turn(2), turn(8), turn(9)]}
    assert runner.ratios(turns) == {"urllib3": {"wall": 0.5, "cpu": 1.0}}


def test_a_ratio_compares_single_requests() -> None:
    turns = {"ours": [turn(1, requests=10)], "urllib3": [turn(1, requests=5)]}
    assert runner.ratios(turns)["urllib3"]["wall"] == 0.5


def test_a_clock_too_coarse_gives_no_ratio() -> None:
    turns = {"ours": [turn(1)], "urllib3": [turn(1, cpu=0.0)]}
    assert runner.ratios(turns)["urllib3"] == {"wall": 1.0, "cpu": None}


def test_a_summary_is_in_microseconds_for_one_request() -> None:
    summary = runner.summary([turn(1.0), turn(3.0), turn(2.0)], "1.1.0")
    assert summary["wall_us"] == 200_000
    assert summary["cpu_us"] == 100_000


@pytest.mark.parametrize(("measured", "met"), [(0.45, True), (0.46, False), (None, None)])
def test_a_verdict(measured: float | None, met: bool | None) -> None:
    ratios = {"urllib3": {"wall": measured, "cpu": None}}
    verdicts = runner.judge([{"name": "get", "ratios": ratios}])
    assert (verdicts[0]["limit"], verdicts[0]["measured"], verdicts[0]["met"]) == (
        0.45,
        measured,
        met,
    )


def test_what_of_ours_could_not_run_is_reported() -> None:
    document = {
        "cases": [{"name": "get", "absent": {"ours": "broken", "pycurl": "not installed"}}],
        "memory": [{"name": "memory-upload", "error": "broken"}],
    }
    assert report.failures(document) == ["get: ours: broken", "memory-upload: broken"]
