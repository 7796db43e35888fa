"""The figures that the documentation shows, written from the results of one run.

Owns: the tables, where they stand, and the file that keeps the results. Must not know: how anything
was measured, how pictures are drawn.

``docs/benchmarks.json`` is what ``--json`` writes. From it alone come the figures in README, the
page ``docs/benchmarks.rst`` and the pictures in ``docs/plots``, so that they cannot disagree; a
test compares the texts with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import cases

RESULTS = Path("docs/benchmarks.json")
PAGE = Path("docs/benchmarks.rst")
README = Path("README.rst")
PLOTS = Path("docs/plots")

#: The lines between which the table of README stands.
BEGIN = ".. benchmarks begin: written by ``python -m benchmarks --publish``"
END = ".. benchmarks end"

#: What README shows: a case, against whom, which metric, and in words what was done.
HEADLINES = (
    ("session-get", cases.STOCK, "cpu", "``Session.get``, beside requests on urllib3"),
    ("session-threads-32", cases.STOCK, "cpu", "32 threads on one ``Session``, likewise"),
    ("async-tasks-100", cases.AIOHTTP, "cpu", "100 asyncio tasks, beside aiohttp"),
    (
        "async-httpx-tasks-100",
        cases.HTTPX,
        "wall",
        "HTTPX on it, 100 tasks, beside HTTPX as it is",
    ),
    ("gateway-32", cases.HTTPX, "wall", "the gateway, beside one written on HTTPX"),
)

#: Digits after the point of a figure below ten, and of a larger one.
_FEW, _NONE = 1, 0

#: Ratios below it are shown with one digit that counts: 0.004, not 0.00.
_SMALL = 0.01

#: Of a case in which a load generator measures: what was answered, and how late, come first.
_LOAD_HEAD = (
    *("against", "requests/s, ratio", "p99, ratio", "CPU, ratio"),
    *("requests/s, ours and theirs", "p99, likewise", "CPU, likewise"),
)

_HEAD = ("case", "against", "CPU, ratio", "wall, ratio", "CPU, ours and theirs", "wall, likewise")


class Row(NamedTuple):
    """One comparison: ours divided by `rival`, and the times of both, in microseconds."""

    title: str
    rival: str
    cpu: float | None
    wall: float | None
    cpu_us: tuple[float, float]
    wall_us: tuple[float, float]


def rows(case: dict[str, Any], rivals: tuple[str, ...] | None = None) -> Iterator[Row]:
    """One row for each rival that took part; all of them where none are named."""
    mine = case["contestants"].get(cases.OURS)
    if mine is None:
        return
    for rival in case["ratios"] if rivals is None else rivals:
        ratio, theirs = case["ratios"].get(rival), case["contestants"].get(rival)
        if ratio is not None and theirs is not None:
            times = {
                metric: (mine[f"{metric}_us"], theirs[f"{metric}_us"]) for metric in ("cpu", "wall")
            }
            yield Row(
                case["title"], rival, ratio["cpu"], ratio["wall"], times["cpu"], times["wall"]
            )


def publish(document: dict[str, Any], root: Path) -> list[Path]:
    """Write the results, the page and README's table; the files that were written.

    Raises:
        ValueError: README has no place for the table.
    """
    written = [root / RESULTS, root / PAGE, root / README]
    text = dump(document)
    document = json.loads(text)  # rounded, as whoever compares the texts with it reads it
    readme = put_table(written[2].read_text(), document)
    written[0].write_text(text)
    written[1].write_text(page(document))
    written[2].write_text(readme)
    return written


def dump(document: dict[str, Any]) -> str:
    """The results as text: a line for each case, the figures no longer than they are exact."""
    lines = []
    for key, value in _rounded(document).items():
        if isinstance(value, list):
            inner = ",\n".join(f"    {json.dumps(each)}" for each in value)
            lines.append(f"  {json.dumps(key)}: [\n{inner}\n  ]" if value else f'  "{key}": []')
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rounded(value: Any) -> Any:
    """Floats with six digits: the clocks have no more, and files stay small."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def mark(document: dict[str, Any]) -> str:
    """What tells one run from another, for the pictures drawn of it."""
    return hashlib.sha256(dump(document).encode()).hexdigest()[:16]


def put_table(readme: str, document: dict[str, Any]) -> str:
    """README with the figures of `document` in place of the one it has."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README} has no lines {BEGIN!r} and {END!r} for the table")
    return f"{before}{BEGIN}\n\n{table_of_readme(document)}\n{END}{after}"


def table_of_readme(document: dict[str, Any]) -> str:
    """The figures of `HEADLINES`, in words, and ours. Not theirs: a median of the ratios of rounds
    is not the ratio of two medians, and readers would find them to disagree."""
    by_name = {case["name"]: case for case in document["cases"]}
    lines = []
    for name, rival, metric, words in HEADLINES:
        for row in rows(by_name[name], (rival,)) if name in by_name else ():
            ratio, times = (row.cpu, row.cpu_us) if metric == "cpu" else (row.wall, row.wall_us)
            if ratio is not None:
                lines.append((words, f"**{_words(ratio, metric)}**", _spelled(times[0], metric)))
    day = document["when"].partition("T")[0]
    return (
        f"{_list_table(('what', 'how much', 'ours'), lines)}\n\n"
        f"Measured on {day} with {document['server']} on loopback, {document['python']},\n"
        f"{document['machine']}; medians of {document['rounds']} rounds in turn. `All figures\n"
        "<docs/benchmarks.rst>`_ stand on a page of their own, and `how they were measured\n"
        "<docs/performance.rst>`_ on another."
    )


def _words(ratio: float, metric: str) -> str:
    """What a ratio says, for readers in a hurry."""
    if metric == "wall":
        return f"{1 / ratio:.1f} x as many requests"
    return f"{1 / ratio:.1f} x less CPU" if ratio < 1 else f"{ratio:.1f} x more CPU"


def _spelled(time: float, metric: str) -> str:
    """The time of a request, or how many of them went through in a second, with its unit."""
    return f"{time:,.0f} µs of CPU" if metric == "cpu" else f"{1e6 / time:,.0f} requests/s"


def page(document: dict[str, Any]) -> str:
    """The page with every comparison, every check of memory and every target."""
    parts = [
        ".. Written by ``python -m benchmarks --publish``; changes here are lost.",
        _heading("Benchmarks", "="),
        about(document),
        "What the clients are and how they take turns says :doc:`performance`.",
    ]
    for case in document["cases"]:
        found = list(rows(case))
        if found:
            table = _load_table(case) if "seconds" in case else _table(found, titles=False)
            parts += [_heading(case["title"], "-"), table]
            parts += [f"Absent: {name} ({why})." for name, why in case["absent"].items()]
    checks = [each for each in document["memory"] if "growth" in each]
    if checks:
        parts += [
            _heading("Memory", "-"),
            _list_table(("check", "grew by", "limit"), map(_check, checks)),
        ]
    if document["targets"]:
        head = ("case", "metric", "against", "at most", "measured")
        parts += [_heading("Targets", "-"), _list_table(head, map(_target, document["targets"]))]
    return "\n\n".join(parts) + "\n"


def about(document: dict[str, Any]) -> str:
    """Where and when it was measured, and how to read the tables."""
    day = document["when"].partition("T")[0]
    load = "" if document["load"] is None else f", load before {document['load']:.1f}"
    machine = f"{document['python']}, {document['machine']}{load}"
    return (
        f"One run of ``python -m benchmarks`` on {day}: {document['server']} on loopback,\n"
        f"{machine}, medians of {document['rounds']} rounds in turn.\n"
        "Ratios are ours to the other: 0.25 is a quarter. Times are those of one request, in\n"
        "microseconds unless they say ms. Virtual machines are noisy; run it on yours."
    )


def _check(check: dict[str, Any]) -> tuple[str, ...]:
    return check["title"], *(f"{check[key] / cases.KILO:,.0f} kB" for key in ("growth", "limit"))


def _target(target: dict[str, Any]) -> tuple[str, ...]:
    met = {True: "", False: " (missed)", None: ""}[target["met"]]
    return (
        *(target["case"], target["metric"], target["contestant"]),
        *(f"{target['limit']:.4g}", f"{_ratio(target['measured'])}{met}"),
    )


def _table(found: list[Row], titles: bool = True) -> str:
    """A row for each comparison, ratios before times, CPU before wall clock."""
    lines, last = [], ""
    for row in found:
        title = row.title if row.title != last else ""
        last = row.title
        facts = (_ratio(row.cpu), _ratio(row.wall), _times(row.cpu_us), _times(row.wall_us))
        lines.append((title, row.rival, *facts) if titles else (row.rival, *facts))
    return _list_table(_HEAD if titles else _HEAD[1:], lines)


def _load_table(case: dict[str, Any]) -> str:
    """A row for each of the others, where rates and latencies were measured."""
    mine = case["contestants"][cases.OURS]
    lines = []
    for rival, ratio in case["ratios"].items():
        theirs = case["contestants"][rival]
        cpu, wall, most = (
            (mine[f"{metric}_us"], theirs[f"{metric}_us"]) for metric in ("cpu", "wall", "p99")
        )
        # More is better here, so this one is theirs to ours of the time for a request.
        rate = None if ratio["wall"] is None else 1 / ratio["wall"]
        rates = ", ".join(f"{1e6 / each:,.0f}" for each in wall)
        ratios = (_ratio(rate), _ratio(ratio["p99"]), _ratio(ratio["cpu"]))
        lines.append((rival, *ratios, rates, _times(most), _times(cpu)))
    return _list_table(_LOAD_HEAD, lines)


def _list_table(head: tuple[str, ...], lines: Any) -> str:
    text = [".. list-table::", "   :header-rows: 1", ""]
    for line in (head, *lines):
        text += [
            f"   {'  ' if number else '* '}- {cell}".rstrip() for number, cell in enumerate(line)
        ]
    return "\n".join(text)


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}"


def _ratio(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value >= _SMALL else f"{value:.1g}"


def _times(both: tuple[float, float]) -> str:
    """The times of both, in the unit that suits the larger."""
    factor, unit = (1000.0, " ms") if max(both) >= 10_000 else (1.0, "")
    return (
        ", ".join(f"{each / factor:.{_FEW if each / factor < 10 else _NONE}f}" for each in both)
        + unit
    )
