"""The long form: ``scripts/soak``. ``--help`` has its options.

Owns: rounds with faults one after the other, the same process all the time, and its memory. Must
not know: what goes wrong in a round.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import random
import sys
import time
import traceback
import warnings
from importlib.util import find_spec

from . import calm
from .plans import Tally
from .resources import MIB, Resources
from .rounds import KINDS, run_round
from .threads import Interrupted

#: Threads, and tasks, of a round.
THREADS, TASKS = 100, 1000
#: MiB that the process may grow by after its first round of each kind.
GROWTH = 32
#: Seconds after which a round that does not end shows where it is: its own time, and this.
HANGS = 240.0


def parse(words: list[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Send requests for as long as wanted, to servers, relays and proxies that "
        "fail at random; end with status 1 if a response went astray, anything was left open, "
        "memory grew, or a request hung.",
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--rounds", type=int, help="end after so many rounds")
    parser.add_argument("--seconds", type=float, default=30.0, help="of one round (default: 30)")
    parser.add_argument("--seed", type=int, help="of the first round (default: a new one)")
    parser.add_argument("--rate", type=float, default=0.4, help="share of faults (default: 0.4)")
    parser.add_argument("--workers", type=int, help="threads or tasks (default: 100 and 1000)")
    parser.add_argument("--kind", choices=KINDS, help="only this kind of round")
    parser.add_argument(
        "--calm",
        type=int,
        metavar="REQUESTS",
        help="no faults: so many requests to nginx, in threads and in tasks, over HTTP/1.1 and "
        "HTTP/2 each; shows what the process takes meanwhile",
    )
    return parser.parse_args(words)


def soak(options: argparse.Namespace) -> int:
    """Run rounds until the time is up; return the exit status."""
    end = time.monotonic() + options.minutes * 60
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    kinds = [options.kind] if options.kind else _kinds()
    total, done, first = Tally(), 0, None
    while time.monotonic() < end and (options.rounds is None or done < options.rounds):
        kind = kinds[done % len(kinds)]
        tally = _round(kind, seed + done, options)
        done += 1
        now = Resources.now()
        print(f"{seed + done - 1} {kind} {tally.requests} requests, {tally.complete} complete, "
              f"{tally.errors.total()} errors; {now}", flush=True)  # fmt: skip
        for text in tally.wrong:
            print(f"  wrong: {text}", flush=True)
        total.add(tally)
        if done == len(kinds):
            first = now
    last = Resources.now()
    if first is not None and last.resident - first.resident > GROWTH * MIB:
        total.object_to(f"memory grew: {first}, then {last}")
        print(f"  wrong: {total.wrong[-1]}")
    errors = ", ".join(f"{count} {name}" for name, count in total.errors.most_common())
    verdict = f"{len(total.wrong)} wrong" if total.wrong else "nothing wrong"
    print(f"{done} rounds, {total.requests} requests ({errors}), {last}: {verdict}")
    return bool(total.wrong)


def _kinds() -> list[str]:
    needs = {"uvloop": "uvloop", "trio": "trio", "gateway": "uvicorn"}
    return [kind for kind in KINDS if find_spec(needs.get(kind, "asyncio"))]


def _round(kind: str, seed: int, options: argparse.Namespace) -> Tally:
    workers = options.workers or (THREADS if kind == "threads" else TASKS)
    end = time.monotonic() + options.seconds
    faulthandler.dump_traceback_later(options.seconds + HANGS, exit=True)
    try:
        return run_round(kind, seed, workers, lambda sent: time.monotonic() < end, options.rate)
    except Exception:
        tally = Tally()
        tally.object_to(traceback.format_exc())
        return tally
    finally:
        faulthandler.cancel_dump_traceback_later()


def _show_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    if not issubclass(unraisable.exc_type, Interrupted):
        sys.__unraisablehook__(unraisable)


def main() -> int:
    """Run the command; return the exit status."""
    options = parse(sys.argv[1:])
    # The load drops responses on purpose, what it gets is often malformed, and signals strike in
    # destructors as well.
    warnings.filterwarnings("ignore", "unread response", ResourceWarning)
    logging.disable(logging.WARNING)
    sys.unraisablehook = _show_unraisable
    if options.calm is not None:
        return calm.run(options.calm)
    return soak(options)


if __name__ == "__main__":
    sys.exit(main())
