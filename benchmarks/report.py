"""How results look. Must not know: how they were measured."""

from __future__ import annotations

from typing import Any

from . import cases

#: Characters of the column of the contestants, or more where a name is longer.
_LABEL = 16

#: The further columns of a case in which a load generator measures.
_LOAD_HEAD = f"{'p99':>8}{'requests/s':>12}{'p50 ms':>10}{'p99 ms':>10}"

_VERDICTS = {True: "met", False: "MISSED", None: "not measured"}


def case_lines(result: dict[str, Any], targets: list[dict[str, Any]]) -> list[str]:
    """One timed case: a row for each contestant, a line for each target."""
    if "left_out" in result:
        return [f"{result['name']}: {result['title']}: {result['left_out']}"]
    labels = (*result["contestants"], *result["absent"], *result["failed"])
    width = max([_LABEL, *(len(label) + 1 for label in labels)])
    under_load = "seconds" in result
    amount = f"{result['seconds']} s" if under_load else f"{result['requests']} requests"
    lines = [
        f"{result['name']}: {result['title']} ({amount} a round)",
        f"  {'':{width}}{'cpu us':>12}{'wall us':>12}{'ours/it cpu':>15}{'wall':>8}"
        + (_LOAD_HEAD if under_load else ""),
    ]
    for label, summary in result["contestants"].items():
        ratio = result["ratios"].get(label, {})
        lines.append(
            f"  {label:{width}}{summary['cpu_us']:>12.1f}{summary['wall_us']:>12.1f}"
            f"{_number(ratio.get('cpu')):>15}{_number(ratio.get('wall')):>8}"
            + (_load_cells(summary, ratio) if under_load else "")
        )
    lines += [
        f"  {label:{width}}failed {len(reasons)} times, the last with: {reasons[-1]}"
        for label, reasons in result["failed"].items()
        if label not in result["absent"]
    ]
    lines += [f"  {label:{width}}absent: {reason}" for label, reason in result["absent"].items()]
    lines += [f"  target {target_line(target)}" for target in targets]
    return lines


def _load_cells(summary: dict[str, Any], ratio: dict[str, float | None]) -> str:
    rate, half, most = 1e6 / summary["wall_us"], summary["p50_us"] / 1e3, summary["p99_us"] / 1e3
    return f"{_number(ratio.get('p99')):>8}{rate:>12,.0f}{half:>10.1f}{most:>10.1f}"


def memory_lines(result: dict[str, Any]) -> list[str]:
    """One memory check."""
    if "left_out" in result:
        return [f"{result['name']}: {result['title']}: {result['left_out']}"]
    if "error" in result:
        return [f"{result['name']}: {result['title']}: failed: {result['error']}"]
    return [
        f"{result['name']}: {result['title']} ({_moved(result)}): "
        f"grew by {_kilobytes(result['growth'])}, limit {_kilobytes(result['limit'])}: "
        f"{_VERDICTS[result['met']]}"
    ]


def target_line(target: dict[str, Any]) -> str:
    """One target with what was measured."""
    return (
        f"{target['metric']} <= {target['limit']:.4g} x {target['contestant']}: "
        f"{_number(target['measured'])} {_VERDICTS[target['met']]}"
    )


def summary_lines(document: dict[str, Any]) -> list[str]:
    """All targets once more, one line each."""
    lines = [f"{target['case']:24}{target_line(target)}" for target in document["targets"]]
    for result in document["memory"]:
        measured = _kilobytes(result["growth"]) if "growth" in result else "-"
        limit = _kilobytes(result["limit"])
        lines.append(f"{result['name']:24}growth <= {limit}: {measured} {_VERDICTS[result['met']]}")
    met = sum(each["met"] is True for each in (*document["targets"], *document["memory"]))
    total = len(document["targets"]) + len(document["memory"])
    return [*lines, f"{met} of {total} targets met"]


def failures(document: dict[str, Any]) -> list[str]:
    """What of ours could not be run at all, though everything that it needs is installed."""
    failed = [
        f"{result['name']}: {label}: {reason}"
        for result in document["cases"]
        for label, reason in result["absent"].items()
        if label.startswith(cases.OURS) and label not in result.get("skipped", ())
    ]
    failed += [
        f"{result['name']}: {result['error']}" for result in document["memory"] if "error" in result
    ]
    return failed


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _moved(result: dict[str, Any]) -> str:
    if result["streams"]:
        return f"{result['streams']:,} streams"
    stopped = (
        f", of which {_kilobytes(result['held'])} while nobody read" if "held" in result else ""
    )
    return f"{_kilobytes(result['moved'])} moved{stopped}"


def _kilobytes(size: int) -> str:
    return f"{size / cases.KILO:,.0f} kB"
