"""The pictures of benchmark results: that they show what was measured. Not how they look."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import cases, plot
from tests.support import ROOT

pytestmark = pytest.mark.skipif(not plot.is_possible(), reason=plot.MISSING)


def rounds(*seconds: float) -> dict[str, Any]:
    each = [{"requests": 10, "wall": 10 * wall, "cpu": 5 * wall} for wall in seconds]
    middle = sorted(seconds)[len(seconds) // 2]
    return {"version": "1", "rounds": each, "wall_us": middle * 1e6, "cpu_us": middle * 5e5}


def case(name: str, rival: str = cases.URLLIB3, **more: dict[str, Any]) -> dict[str, Any]:
    contestants = {cases.OURS: rounds(1e-4, 2e-4, 3e-4), rival: rounds(4e-4, 4e-4, 4e-4), **more}
    ratio = {rival: {"wall": 0.5, "cpu": 0.5}}
    title = next((each.title for each in cases.CASES if each.name == name), name)
    return {"name": name, "title": title, "contestants": contestants, "ratios": ratio}


def left_out(name: str) -> dict[str, Any]:
    return {"name": name, "title": name, "contestants": {}, "ratios": {}, "left_out": "no nginx"}


@pytest.fixture
def document() -> dict[str, Any]:
    return {
        "when": "2030-01-02T03:04:05+00:00",
        "python": "CPython 3.99.1",
        "machine": "Somewhere, 2 cores",
        "server": "embedded",
        "rounds": 3,
        "cases": [
            case("get", socket=rounds(2e-5, 2e-5, 2e-5)),
            case("session-100m", cases.STOCK),
            left_out("h2-get"),
        ],
    }


def run(*arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
    code = f"{before}\nimport sys, benchmarks.__main__ as b\nsys.exit(b.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)


def texts(path: Path) -> str:
    tree = ElementTree.parse(path)
    return " ".join(" ".join(each.itertext()) for each in tree.iter() if each.tag.endswith("}text"))


def test_an_earlier_run_is_drawn(document: dict[str, Any], tmp_path: Path) -> None:
    file, folder = tmp_path / "run.json", tmp_path / "new" / "pictures"
    file.write_text(json.dumps(document))
    done = run("--from", file, "--plot", folder)
    assert done.returncode == 0, done.stderr
    written = {path.name for path in folder.iterdir()}
    assert written == {"ratios.svg", "core.svg", "requests.svg"}
    assert set(re.findall(r"drew .*/(.*)", done.stdout)) == written
    core = texts(folder / "core.svg")
    assert "small GET" in core and "100 µs" in core and "200 µs" in core and "10 µs" in core
    assert "CPython 3.99.1" in core and "2030-01-02" in core
    assert "socket" in core and "urllib3" in core
    ratios = texts(folder / "ratios.svg")
    assert "small GET (urllib3)" in ratios and "Session.get of 100 MB (stock)" in ratios
    assert ratios.count("0.50") == 2


def test_equal_results_are_equal_files_and_small(document: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(document))
    for name in ("one.svg", "two.svg"):
        assert run("--from", file, "--plot", tmp_path / name).returncode == 0
    one = (tmp_path / "one.svg").read_bytes()
    assert one == (tmp_path / "two.svg").read_bytes()
    assert len(one) < 100_000


def test_ratios_have_the_spread_of_the_rounds(document: dict[str, Any]) -> None:
    first, second = plot.ratios(document)
    assert first.rival == cases.URLLIB3 and second.rival == cases.STOCK
    assert first.wall == pytest.approx((0.5, 0.25, 0.75))


def test_a_run_without_a_rival_has_no_ratios(document: dict[str, Any], tmp_path: Path) -> None:
    for each in document["cases"]:
        each["ratios"] = {}
    file = tmp_path / "run.json"
    file.write_text(json.dumps({**document, "cases": document["cases"][2:]}))
    done = run("--from", file, "--plot", tmp_path / "ratios.svg")
    assert done.returncode == 0 and "nothing" in done.stdout
    assert plot.ratios(document) == []


def test_a_missing_matplotlib_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['matplotlib'] = None"
    done = run("--plot", tmp_path, before=hidden)
    assert done.returncode == 2
    assert done.stderr.endswith(f"--plot: {plot.MISSING}\n")


@pytest.mark.parametrize("content", ["", "[]", '{"cases": []}', "no JSON"])
def test_what_is_no_run_is_refused_by_name(content: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(content)
    done = run("--from", file, "--plot", tmp_path)
    assert done.returncode == 1
    assert f"{file} is not what --json writes" in done.stderr


def test_from_is_for_plot(tmp_path: Path) -> None:
    assert "--from is for --plot" in run("--from", tmp_path / "run.json").stderr
    missing = run("--from", tmp_path / "run.json", "--plot", tmp_path)
    assert missing.returncode == 1 and "No such file" in missing.stderr
