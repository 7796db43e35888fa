"""The long form: ``scripts/fuzz``. ``--help`` has its options.

Owns: time, counting, and keeping the inputs that show a fault. Must not know: what a target checks.

atheris leads the inputs by what they cover, in a process of its own, since it ends the one that it
runs in. Where it is missing, hypothesis changes the seeds at random.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import re
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import targets

#: Where the inputs are kept that show a fault, and those that cover more; git ignores it.
FOUND = Path(".fuzz")
#: Seconds that one input may take, and MiB that all of them together may.
PATIENCE, MEMORY = 20, 1024
#: Inputs of which hypothesis makes one batch.
BATCH = 200


class Faults:
    """The inputs that show a fault: one for each place that fails.

    Parameters:
        target: what is tried.
        folder: where they are kept.
    """

    def __init__(self, target: targets.Target, folder: Path) -> None:
        self.target = target
        self.folder = folder
        self.places: set[tuple[str, str, int | None]] = set()
        self.inputs = 0

    def one(self, data: bytes) -> None:
        """Try one input; keep it if it is the first that fails where it does."""
        self.inputs += 1
        try:
            self.target.one(data)
        except Exception as exc:
            last = traceback.extract_tb(exc.__traceback__)[-1]
            place = type(exc).__name__, last.filename, last.lineno
            if place not in self.places:
                self.places.add(place)
                self.keep(data)

    def keep(self, data: bytes) -> None:
        """Write an input to a file that is named after it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"fault-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        print(f"FAULT {path}: {traceback.format_exc()}", flush=True)


def parse(words: list[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Try inputs that nobody wrote; end with status 1 if one shows a fault.",
    )
    parser.add_argument("target", nargs="?", choices=sorted(targets.TARGETS), help="default: all")
    parser.add_argument("files", nargs="*", type=Path, help="try these inputs, once, and nothing")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target (default: 1)")
    parser.add_argument("--found", type=Path, default=FOUND, help=f"folder (default: {FOUND})")
    parser.add_argument(
        "--engine", choices=["atheris", "hypothesis"], help="default: what is there"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def with_hypothesis(name: str, minutes: float, found: Path) -> tuple[int, int, str]:
    """Try changed seeds until the time is up; return inputs, faults, and what was covered."""
    faults = Faults(targets.load(name), found / name)
    end = time.monotonic() + minutes * 60
    for data in faults.target.seeds:
        faults.one(data)
    while time.monotonic() < end:
        targets.try_examples(faults.target, faults.one, BATCH, seed=time.time_ns())
    return faults.inputs, len(faults.places), "coverage not measured"


def with_atheris(name: str, minutes: float, found: Path) -> tuple[int, int, str]:
    """Run a process in which atheris leads; return inputs, faults, and what was covered."""
    words = [sys.executable, "-m", __package__, name, "--child"]
    words += ["--minutes", str(minutes), "--found", str(found)]
    inputs, faults, covered = 0, 0, "coverage unknown"
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        assert child.stdout is not None
        shown = False
        for line in child.stdout:
            match = re.match(r"#(\d+)\s.*cov: (\d+) ft: (\d+)", line)
            if match is not None:
                inputs, covered = int(match[1]), f"{match[2]} edges, {match[3]} features"
            starts = line.startswith(("FAULT", "=="))  # ours, and what ends libFuzzer
            faults += starts
            shown = (shown or starts) and not line.startswith("#")
            if shown:
                print(line, end="", flush=True)
    return inputs, faults or int(child.returncode != 0), covered


def lead(name: str, minutes: float, found: Path) -> None:
    """Give this process to atheris, which ends it."""
    atheris: Any = __import__("atheris")
    with atheris.instrument_imports(include=["httpcore", "httpcore_requests"]):
        target = targets.load(name)
    faults = Faults(target, found / name)
    corpus = found / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    tokens = found / name / "tokens"
    escaped = ["".join(f"\\x{byte:02x}" for byte in token) for token in target.tokens]
    tokens.write_text("".join(f'"{token}"\n' for token in escaped))
    words = [f"-max_total_time={max(1, round(minutes * 60))}", f"-timeout={PATIENCE}"]
    words += [f"-rss_limit_mb={MEMORY}", f"-max_len={targets.MAX_INPUT}", f"-dict={tokens}"]
    words += [f"-artifact_prefix={found / name}/", str(corpus), str(targets.SEEDS / name)]
    atheris.Setup([sys.argv[0], *words], faults.one)
    atheris.Fuzz()


def run_files(name: str, files: list[Path]) -> int:
    """Try these inputs, and let the first fault be seen with its traceback."""
    target = targets.load(name)
    for path in files:
        print(path)
        target.one(path.read_bytes())
    print(f"{name}: {len(files)} inputs, no fault")
    return 0


def fuzz(options: argparse.Namespace) -> int:
    """Run the targets one after the other; return the exit status."""
    has_atheris = find_spec("atheris") is not None
    engine = options.engine or ("atheris" if has_atheris else "hypothesis")
    if not has_atheris and options.engine is None:
        print("atheris is not installed (pip install -e '.[fuzz]'): inputs are changed at random")
    run: Callable[..., tuple[int, int, str]]
    run = with_atheris if engine == "atheris" else with_hypothesis
    total = 0
    for name in [options.target] if options.target else targets.TARGETS:
        before = _processor_seconds()
        inputs, faults, covered = run(name, options.minutes, options.found)
        minutes = (_processor_seconds() - before) / 60
        print(
            f"{name}: {options.minutes:g} minutes ({minutes:.1f} of a processor), {inputs} inputs, "
            f"{faults} faults, {covered} ({engine})",
            flush=True,
        )
        total += faults
    return bool(total)


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> int:
    """Run the command; return the exit status."""
    options = parse(sys.argv[1:])
    logging.disable(logging.WARNING)  # one line for each odd head
    if options.files:
        return run_files(options.target, options.files)
    if options.child:
        lead(options.target, options.minutes, options.found)
    return fuzz(options)


if __name__ == "__main__":
    sys.exit(main())
