"""The waterfall of ``--timing``: a bar for each phase, to one scale.

Owns: the drawing. Must not know: where the times come from.

A bar begins in the column in which its phase does, and is as long as its phase to an eighth of a
column; what is too short to see has the thinnest bar there is.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from .._redact import FILTERED, SUSPECT, hide_links
from .text import line
from .timings import CONNECT, DNS, PROXY_TLS, RECEIVE, SEND, TLS, TUNNEL, WAIT, Leg, Timeline

STYLES = {DNS: "cyan", CONNECT: "blue", SEND: "yellow", WAIT: "green", RECEIVE: "bright_cyan"}
STYLES |= {PROXY_TLS: "magenta", TUNNEL: "magenta", TLS: "magenta", "total": "bold"}
LABEL_WIDTH = 11  # the longest, and two columns
TIME_WIDTH = 12  # "123456.7 ms", and one column before it
# Columns: wider, and the eye loses the line.
WIDEST = 100
NARROWEST = 40

EIGHTHS = " ▏▎▍▌▋▊▉█"


def draw(timeline: Timeline, width: int, blocks: bool = True) -> Text:
    """Draw all of `timeline`, in `width` columns; without `blocks` in ASCII."""
    width = min(max(width, NARROWEST), WIDEST)
    bars = width - LABEL_WIDTH - TIME_WIDTH
    total = max(timeline.end - timeline.start, 1e-9)

    def row(name: str, seconds: float, bar: str) -> Text:
        time = f"{seconds * 1000:.{2 if seconds < 0.01 else 1}f} ms"
        shown = (f"{bar:<{bars}}", STYLES[name])
        return Text.assemble(f"{name:<{LABEL_WIDTH}}", shown, f"{time:>{TIME_WIDTH}}")

    rows: list[Text] = []
    for leg in timeline.legs:
        rows.append(_title(leg, width))
        for name, start, end in leg.phases:
            scaled = [(moment - timeline.start) / total for moment in (start, end)]
            rows.append(row(name, end - start, _bar(scaled[0], scaled[1], bars, blocks)))
    return Text("\n").join([*rows, row("total", total, "")])


def _title(leg: Leg, width: int) -> Text:
    outcome = line(leg.outcome)
    title = Text(line(hide_links(leg.title, SUSPECT, FILTERED)), style="bold")
    title.truncate(max(width - cell_len(outcome) - 1, 10), overflow="ellipsis", pad=True)
    return Text.assemble(title, " ", outcome)


def _bar(start: float, end: float, width: int, blocks: bool) -> str:
    """Draw a bar from `start` to `end`, both from 0.0 to 1.0, in `width` columns."""
    first = min(int(start * width), width - 1)
    if not blocks:
        return " " * first + "#" * max(1, min(round((end - start) * width), width - first))
    eighths = max(1, round((end - start) * width * 8))
    whole, rest = divmod(min(eighths, (width - first) * 8), 8)
    return " " * first + EIGHTHS[8] * whole + EIGHTHS[rest].strip()
