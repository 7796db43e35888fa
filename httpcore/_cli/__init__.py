"""The command line: ``python -m httpcore URL``, and the console script ``httpcore``.

Owns: the entry point, and what is said where the extra ``cli`` is not installed. Must not know:
anything else; click and rich are imported by the modules beside this one, and so only by who calls
`main`. docs/cli.rst describes what the command does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Parameters: `arguments`: what follows the command's name; None takes those of the process.
    """
    _open_closed_streams()
    try:
        from .command import run_command

        return run_command(arguments)
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").partition(".")[0]
        if missing not in ("click", "rich", "pygments", "urllib3", "requests"):
            raise
        text = f"the command line needs the package {missing!r}, which is not installed"
        sys.stderr.write(f"httpcore: {text}; run: pip install 'httpcore[cli]'\n")
        sys.stderr.flush()
        return 1
    except KeyboardInterrupt:  # while the modules are loaded
        return 130


def _open_closed_streams() -> None:
    """Put others in place of the streams that the process was started without (``>&-``): the wrong
    ends of pipes, which cannot be read or written, and a standard error that goes nowhere.

    Python has None for them, and the next file or socket would get the descriptor.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.pipe()[1], encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.pipe()[0], "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - to the end
