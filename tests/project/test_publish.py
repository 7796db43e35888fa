"""The published figures: that all texts show what one run measured. Not how fast anything is."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import cases, plot, publish

ROOT = Path(__file__).parents[2]

README = f"Title\n=====\n\nBefore.\n\n{publish.BEGIN}\n\nold\n{publish.END}\n\nAfter.\n"


def contestant(cpu: float, wall: float) -> dict[str, Any]:
    rounds = [{"requests": 10, "wall": wall / 1e5, "cpu": cpu / 1e5}] * 3
    return {"version": "1", "rounds": rounds, "cpu_us": cpu, "wall_us": wall}


def case(name: str, ours: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    ratios = {
        label: {metric: ours[f"{metric}_us"] / other[f"{metric}_us"] for metric in ("cpu", "wall")}
        for label, other in others.items()
    }
    contestants = {cases.OURS: ours, **others}
    more = {"contestants": contestants, "ratios": ratios, "absent": {"pycurl": "not installed"}}
    return {"name": name, "title": f"title of {name}", **more}


@pytest.fixture
def document() -> dict[str, Any]:
    ours, other = contestant(50.0, 1.0 / 3.0), contestant(200.0, 300.0)
    slow = contestant(20_000.0, 1432.5000001)  # rounded at once 1433, by way of 1432.5 1432
    target = {**cases.TARGETS[0]._asdict(), "measured": 0.251, "met": False}
    return {
        "when": "2030-01-02T03:04:05+00:00",
        "python": "CPython 3.99.1",
        "machine": "Somewhere, 2 cores",
        "load": 0.25,
        "server": "nginx/1.2.3",
        "rounds": 3,
        "cases": [
            case("get", ours, urllib3=other, socket=ours),
            case("post-64k", ours, urllib3=slow),
            {**case("h2-get", ours), "contestants": {}, "left_out": "no HTTP/2"},
        ],
        "memory": [
            {"name": "m", "title": "1 GB down", "growth": 4096, "limit": 8192, "met": True},
            {"name": "n", "title": "failed", "limit": 8192, "met": None, "error": "no"},
        ],
        "targets": [target],
    }


def test_readme_says_it_in_words(document: dict[str, Any]) -> None:
    name, rival, metric, words = publish.HEADLINES[0]
    assert (rival, metric) == ("stock", "cpu")
    document["cases"].append(case(name, contestant(50.0, 60.0), stock=contestant(210.0, 300.0)))
    text = publish.table_of_readme(document)
    assert f"   * - {words}\n     - **4.2 x less CPU**\n     - 50 µs of CPU\n" in text
    assert "on 2030-01-02 with nginx/1.2.3 on loopback" in text
    assert "medians of 3 rounds" in text
    assert "socket" not in text  # what was not chosen is on the page only


def test_readme_does_not_hide_what_is_slower(document: dict[str, Any]) -> None:
    name, rival, metric, _ = publish.HEADLINES[3]
    assert metric == "wall"
    slower, faster = contestant(1.0, 500.0), contestant(1.0, 250.0)
    document["cases"].append(case(name, slower, **{rival: faster}))
    text = publish.table_of_readme(document)
    assert "**0.5 x as many requests**\n     - 2,000 requests/s" in text


def test_the_page_has_ratios_before_times_and_cpu_before_wall(document: dict[str, Any]) -> None:
    text = publish.page(document)
    row = text[text.index("   * - urllib3") :].splitlines()[:5]
    assert [line[7:] for line in row] == ["urllib3", "0.25", "0.001", "50, 200", "0.3, 300"]
    assert "2030-01-02: nginx/1.2.3 on loopback" in text
    assert "load before 0.2, medians of 3 rounds" in text


def test_the_page_has_everything(document: dict[str, Any]) -> None:
    text = publish.page(document)
    assert "title of post-64k\n-----------------" in text
    assert "     - 0.1, 20 ms" in text
    assert "Absent: pycurl (not installed)." in text
    assert "   * - 1 GB down\n     - 4 kB\n     - 8 kB" in text
    assert "   * - get\n     - cpu\n     - urllib3\n     - 0.25\n     - 0.25 (missed)" in text
    assert "failed" not in text
    assert "h2-get" not in text


def test_what_is_written_comes_back(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.rst").write_text(README)
    written = publish.publish(document, tmp_path)
    assert [path.relative_to(tmp_path) for path in written] == [
        *(publish.RESULTS, publish.PAGE, publish.README),
    ]
    again = json.loads((tmp_path / publish.RESULTS).read_text())
    assert again["cases"][0]["contestants"]["ours"]["wall_us"] == 0.333333
    # From what was kept come the same texts and the same mark.
    assert publish.page(again) == (tmp_path / publish.PAGE).read_text()
    readme = (tmp_path / publish.README).read_text()
    assert publish.put_table(readme, again) == readme
    assert readme.startswith("Title\n=====\n\nBefore.\n\n")
    assert readme.endswith(f"{publish.END}\n\nAfter.\n")
    assert "old" not in readme
    assert publish.mark(again) == publish.mark(document)


def test_another_run_has_another_mark(document: dict[str, Any]) -> None:
    other = copy.deepcopy(document)
    other["cases"][0]["contestants"]["ours"]["cpu_us"] = 51.0
    assert publish.mark(other) != publish.mark(document)


def test_all_that_was_published_is_of_one_run() -> None:
    published = json.loads((ROOT / publish.RESULTS).read_text())
    assert (ROOT / publish.PAGE).read_text() == publish.page(published)
    readme = (ROOT / publish.README).read_text()
    assert publish.put_table(readme, published) == readme
    pictures = sorted((ROOT / publish.PLOTS).glob("*.svg"))
    measured = [case["name"] for case in published["cases"] if case["contestants"]]
    names = {
        name
        for name, _, prefixes in plot.GROUPS
        if any(each.startswith(prefixes) for each in measured)
    } | {plot.RATIOS}
    assert {each.stem for each in pictures} == names
    for picture in pictures:
        assert f"run {publish.mark(published)}" in picture.read_text(), picture


@pytest.mark.parametrize("readme", ["", publish.BEGIN, publish.END])
def test_a_readme_without_a_place_is_left_alone(
    document: dict[str, Any], tmp_path: Path, readme: str
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.rst").write_text(readme)
    with pytest.raises(ValueError, match=r"README\.rst has no lines"):
        publish.publish(document, tmp_path)
    assert (tmp_path / "README.rst").read_text() == readme
    assert not (tmp_path / publish.RESULTS).exists()


@pytest.mark.parametrize("more", [("--case", "get"), ("--only", "ours"), ("--server", "embedded")])
def test_a_part_is_not_published(more: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.parse(["--publish", *more])
    assert "one run of everything" in capsys.readouterr().err


def test_chosen_rows_exist() -> None:
    by_name = {case.name: case for case in cases.CASES}
    for name, rival, _, _ in publish.HEADLINES:
        assert rival in {each.label for each in by_name[name].contestants}, name


@pytest.mark.skipif(not plot.is_possible(), reason=plot.MISSING)
def test_a_picture_says_of_which_run_it_is(document: dict[str, Any], tmp_path: Path) -> None:
    for path in plot.draw(document, tmp_path):
        assert f"run {publish.mark(document)}" in path.read_text()
