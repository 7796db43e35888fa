"""Results as pictures, drawn by matplotlib.

Owns: what is drawn, and how it looks. Must not know: how anything was measured.

Two kinds of pictures. Bars, one panel for each case: how long a request took each client. And
ratios, one line for each case: ours divided by the client that one would else use, with the spread
over the rounds, because a median of a noisy machine looks more certain than it is.

matplotlib is not needed for anything else here, so it is imported only when something is drawn.
"""

from __future__ import annotations

import importlib
import importlib.util
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import cases, publish

MISSING = "matplotlib is not installed; run: pip install matplotlib"

#: Kinds of files for the ratios alone. A name without one of these endings is a folder.
SUFFIXES = (".svg", ".png", ".pdf")

#: The name of a picture, what is written above it, and which cases begin how.
GROUPS = (
    ("core", "Clients", ("get", "tls-get", "post-", "body-")),
    ("connections", "Threads and new connections", ("threads-", "connect", "tls-connect")),
    ("requests", "Under requests", ("adapter-", "session-")),
    ("http2", "HTTP/2", ("h2-",)),
    ("async", "In an event loop", ("async-",)),
    ("gateway", "Gateways", ("gateway-",)),
)
RATIOS = "ratios"

#: Whom ours is divided by: the first of these that took part.
RIVALS = (
    *(cases.STOCK, cases.URLLIB3, cases.HTTPX, cases.AIOHTTP, cases.HTTPCORE2),
    *(cases.OVER_HTTP1.label, cases.ON_ASYNCIO.label),
)

#: Told apart by lightness too, for those who see no colours.
OURS_CPU, OURS_WALL = "#1b5e82", "#7fb4cf"
THEIRS_CPU, THEIRS_WALL = "#6f6f6f", "#c4c4c4"
LINE = "#b03a2e"

#: Inches.
WIDTH, BARS_HEIGHT, ROW_HEIGHT = 9.5, 0.26, 0.32
#: Characters that fit above a panel, and beside a line.
TITLE_WIDTH, NAME_WIDTH = 52, 50

#: matplotlib puts the date and random names into a file; without them equal results are equal
#: files. Text stays text: it is smaller, and can be searched.
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "httpcore",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


class Ratio(NamedTuple):
    """Ours divided by `rival` in one case: the median, the least and the largest of the rounds."""

    title: str
    rival: str
    wall: tuple[float, float, float]
    cpu: tuple[float, float, float]


def is_possible() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(document: dict[str, Any], target: Path) -> list[Path]:
    """Draw the results of a run; the files that were written.

    Parameters:
        document: what ``--json`` writes.
        target: a file for the ratios alone, its name ending in one of `SUFFIXES`; else a folder
            for all pictures, which are SVG. Made if it is not there.
    """
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")  # never a window
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    run = publish.mark(document)
    with matplotlib.rc_context(STYLE):
        if target.suffix in SUFFIXES:
            target.parent.mkdir(parents=True, exist_ok=True)
            return list(_save(pyplot, target, _draw_ratios(pyplot, document), run))
        target.mkdir(parents=True, exist_ok=True)
        written = list(_save(pyplot, target / f"{RATIOS}.svg", _draw_ratios(pyplot, document), run))
        for name, title, prefixes in GROUPS:
            chosen = [
                case
                for case in document["cases"]
                if case["name"].startswith(prefixes) and case["contestants"]
            ]
            if chosen:
                figure = _draw_bars(pyplot, title, chosen, document)
                written += _save(pyplot, target / f"{name}.svg", figure, run)
    return written


def _save(pyplot: Any, path: Path, figure: Any, run: str) -> Iterator[Path]:
    if figure is None:
        return
    about = {"Date": None, "Description": f"run {run}"} if path.suffix == ".svg" else None
    figure.savefig(path, metadata=about)
    pyplot.close(figure)
    yield path


def _about(document: dict[str, Any]) -> str:
    day = document["when"].partition("T")[0]
    parts = (document["python"], document["machine"], document["server"])
    return f"{', '.join(parts)}; {document['rounds']} rounds, {day}"


# --- bars ---


def _draw_bars(
    pyplot: Any, title: str, chosen: list[dict[str, Any]], document: dict[str, Any]
) -> Any:
    pairs = [chosen[first : first + 2] for first in range(0, len(chosen), 2)]
    # Bars of one height, however many there are in a panel.
    bars = [max(len(case["contestants"]) for case in pair) for pair in pairs]
    figure, axes = pyplot.subplots(
        len(pairs),
        2,
        figsize=(WIDTH, sum(bars) * BARS_HEIGHT + len(pairs) * 0.5 + 0.75),
        squeeze=False,
        layout="constrained",
        gridspec_kw={"height_ratios": bars},
    )
    for number, (place, case) in enumerate(zip(axes.flat, chosen, strict=False)):
        _fill_panel(place, case)
        place.set_ylim(bars[number // 2] - 0.5, -0.5)
    for place in axes.flat[len(chosen) :]:
        place.set_axis_off()
    figure.suptitle(f"{title}: time for a request; shorter is better", fontsize=11)
    figure.supxlabel(
        f"dark and the figures: CPU, light: wall clock. {_about(document)}", fontsize=7.5
    )
    return figure


def _fill_panel(place: Any, case: dict[str, Any]) -> None:
    labels = list(case["contestants"])
    summaries = [case["contestants"][label] for label in labels]
    largest = max(max(each["wall_us"], each["cpu_us"]) for each in summaries)
    unit, factor = ("ms", 1000.0) if largest >= 10_000 else ("µs", 1.0)
    for row, (label, summary) in enumerate(zip(labels, summaries, strict=True)):
        ours = label.startswith(cases.OURS)
        wall, cpu = summary["wall_us"] / factor, summary["cpu_us"] / factor
        place.barh(row - 0.2, cpu, 0.4, color=OURS_CPU if ours else THEIRS_CPU)
        place.barh(row + 0.2, wall, 0.4, color=OURS_WALL if ours else THEIRS_WALL)
        digits = 1 if cpu < 10 else 0
        place.annotate(
            f"{cpu:,.{digits}f} {unit}", (max(wall, cpu), row), xytext=(4, 0), va="center",
            textcoords="offset points", fontweight="bold" if ours else "normal",
        )  # fmt: skip
    place.set_yticks(range(len(labels)), labels)
    place.set_xlim(0, largest / factor * 1.22)
    place.tick_params(axis="y", length=0)
    place.set_xticks([])
    for side in ("bottom", "left"):
        place.spines[side].set_visible(False)
    place.set_title(textwrap.fill(case["title"], TITLE_WIDTH), fontsize=9, loc="left")


# --- ratios ---


def ratios(document: dict[str, Any]) -> list[Ratio]:
    """Ours against the client that one would else use, in each case that has one."""
    found = []
    for case in document["cases"]:
        rival = next((each for each in RIVALS if each in case["ratios"]), None)
        if rival is not None:
            wall, cpu = (_spread(case, rival, metric) for metric in ("wall", "cpu"))
            if wall is not None and cpu is not None:
                found.append(Ratio(case["title"], rival, wall, cpu))
    return found


def _spread(case: dict[str, Any], rival: str, metric: str) -> tuple[float, float, float] | None:
    median = case["ratios"][rival][metric]
    mine, theirs = (case["contestants"][label]["rounds"] for label in (cases.OURS, rival))
    each = [
        (my[metric] / my["requests"]) / (other[metric] / other["requests"])
        for my, other in zip(mine, theirs, strict=True)
        if other[metric] and my[metric]
    ]
    return None if median is None or not each else (median, min(each), max(each))


def _draw_ratios(pyplot: Any, document: dict[str, Any]) -> Any:
    rows = ratios(document)
    if not rows:
        return None
    figure, place = pyplot.subplots(
        figsize=(WIDTH, len(rows) * ROW_HEIGHT + 1.5), layout="constrained"
    )
    for row, ratio in enumerate(rows):
        for (median, least, most), shift, color, marker in (
            (ratio.cpu, -0.14, OURS_CPU, "o"),
            (ratio.wall, 0.14, OURS_WALL, "s"),
        ):
            place.plot([least, most], [row + shift] * 2, color=color, linewidth=1.6)
            place.plot([median], [row + shift], color=color, marker=marker, markersize=5)
        place.annotate(
            f"{ratio.cpu[0]:.2f}", (1, row), xycoords=("axes fraction", "data"), va="center",
            xytext=(6, 0), textcoords="offset points",
        )  # fmt: skip
    place.axvline(1.0, color=LINE, linewidth=1)
    place.set_xscale("log")
    ends = [end for ratio in rows for end in (*ratio.wall, *ratio.cpu)]
    ticks = [each for each in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5) if min(ends) / 2 < each]
    place.set_xticks(ticks, [f"{each:g}" for each in ticks], minor=False)
    place.set_xticks([], minor=True)
    place.set_xlim(min(*ends, 0.5) * 0.85, max(*ends, 1.2) * 1.15)
    names = [textwrap.fill(f"{ratio.title} ({ratio.rival})", NAME_WIDTH) for ratio in rows]
    place.set_yticks(range(len(rows)), names)
    place.set_ylim(len(rows) - 0.4, -0.6)
    place.grid(axis="x", color="#e5e5e5")
    place.set_axisbelow(True)
    place.set_title("Ours divided by (the other): left of the line, ours is faster", fontsize=11)
    place.set_xlabel(
        f"dark circles and the figures: CPU; light squares: wall clock. Medians, and all rounds.\n"
        f"{_about(document)}",
        fontsize=7.5,
    )
    return figure
