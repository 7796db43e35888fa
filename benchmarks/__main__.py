"""`python -m benchmarks`: the command line.

Owns: arguments, the life of the servers, the JSON file. Must not know: clients, arithmetic.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import cases, plot, publish, report, runner, servers
from .processes import ROOT


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--case",
        action="append",
        choices=cases.NAMES,
        metavar="NAME",
        help=f"run only this one; may be given more than once ({', '.join(cases.NAMES)})",
    )
    parser.add_argument("--rounds", type=int, default=9, help="turns of each contestant (9)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiplies the requests of a round (1)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    parser.add_argument(
        "--only", default="", metavar="PEER,...", help=f"of {', '.join(cases.PEERS)}"
    )
    parser.add_argument(
        "--server",
        choices=("auto", "nginx", "embedded"),
        default="auto",
        help="auto takes nginx where it is installed",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE|DIR",
        help="draw the results (needs matplotlib): a folder for all pictures, or a .svg, .png or "
        ".pdf for ours against the others",
    )
    parser.add_argument(
        "--from",
        dest="earlier",
        type=Path,
        metavar="FILE",
        help="measure nothing: draw or publish what --json has written there",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="write the results into docs/benchmarks.json, and from it the figures in README, the "
        "page and the pictures (needs matplotlib and nginx)",
    )
    options = parser.parse_args(arguments)
    options.only = frozenset(filter(None, options.only.split(",")))
    if unknown := options.only.difference(cases.PEERS):
        parser.error(f"unknown peer {', '.join(sorted(unknown))}")
    if options.rounds < 1 or options.scale <= 0:
        parser.error("--rounds and --scale must be above zero")
    if options.earlier is not None and options.plot is None and not options.publish:
        parser.error("--from is for --plot and --publish")
    if options.publish and (options.case or options.only or options.server == "embedded"):
        parser.error("--publish is for one run of everything: not with --case, --only or --server")
    # Not after ten minutes of measuring.
    if (options.plot is not None or options.publish) and not plot.is_possible():
        parser.error(f"{'--publish' if options.publish else '--plot'}: {plot.MISSING}")
    if options.publish and options.earlier is None:
        options.server = "nginx"
    return options


@contextmanager
def open_bench(options: argparse.Namespace) -> Iterator[tuple[runner.Bench, str]]:
    """The servers and everything they need, and the name of the main one."""
    settings = runner.Settings(options.rounds, options.scale, options.only)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        directory = Path(name)
        (directory / "files").mkdir()
        authorities = servers.make_certificates(directory)
        sink = servers.start_embedded(directory)
        try:
            server = _start_server(options.server, directory, sink)
            try:
                bench = runner.Bench(server, sink, directory, authorities, settings)
                yield bench, server.name
            finally:
                server.stop()
        finally:
            sink.stop()


def _start_server(choice: str, directory: Path, embedded: servers.Server) -> servers.Server:
    program = servers.nginx_path() if choice != "embedded" else None
    if program is not None:
        return servers.start_nginx(directory, program)
    if choice == "nginx":
        raise SystemExit("nginx is not installed")
    return embedded


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run what was asked for, print it as it comes; the JSON document."""
    wanted = options.case or cases.NAMES
    with open_bench(options) as (bench, server):
        document = _about(options, server)
        print(", ".join(document[key] for key in ("python", "machine", "server")))
        print(f"{options.rounds} rounds at scale {options.scale}; load before: {document['load']}")
        for case in cases.CASES:
            if case.name in wanted:
                result = bench.time(case)
                verdicts = runner.judge([result])
                document["cases"].append(result)
                document["targets"] += verdicts
                print("", *report.case_lines(result, verdicts), sep="\n", flush=True)
        for check in cases.MEMORY_CASES:
            if check.name in wanted and bench.settings.admits(cases.OURS):
                result = bench.weigh(check)
                document["memory"].append(result)
                print("", *report.memory_lines(result), sep="\n", flush=True)
    return document


def _about(options: argparse.Namespace, server: str) -> dict[str, Any]:
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        # What else ran in the last minute: ratios of a busy machine are not worth much.
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "server": server,
        "rounds": options.rounds,
        "scale": options.scale,
        "cases": [],
        "memory": [],
        "targets": [],
    }


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 1 when something of ours could not be run; a missed target is not that."""
    options = parse(arguments)
    if options.earlier is not None:
        return _show(_read(options.earlier), options)
    document = run(options)
    print("", *report.summary_lines(document), sep="\n")
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    failed = report.failures(document)
    if failed:
        print("", "could not be run:", *failed, sep="\n", file=sys.stderr)
        options.publish = False
    _show(document, options)
    return 1 if failed else 0


def _read(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        document["cases"], document["when"]
    except OSError as error:
        raise SystemExit(f"--from: {error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise SystemExit(f"--from: {path} is not what --json writes: {error!r}") from error
    return document


def _show(document: dict[str, Any], options: argparse.Namespace) -> int:
    """Publish and draw, as far as that was asked for."""
    drawn: list[Path] = []
    if options.publish:
        try:
            written = publish.publish(document, ROOT)
        except ValueError as error:
            raise SystemExit(f"--publish: {error}") from error
        print("", *(f"wrote {path}" for path in written), sep="\n")
        drawn = plot.draw(document, ROOT / publish.PLOTS)
    if options.plot is not None:
        drawn += plot.draw(document, options.plot)
    if options.publish or options.plot is not None:
        print(
            "", *(f"drew {path}" for path in drawn or ["nothing: no case was measured"]), sep="\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
