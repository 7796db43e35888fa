"""The command line: ``python -m httpcore URL``, and the console script ``httpcore``.

Owns: the entry point, and what is said where the extra ``cli`` is not installed. Must not know:
anything else; click and rich are imported by the modules beside this one, and so only by who calls
`main`. docs/cli.rst describes what the command does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

# The exit code where the command cannot even begin (`exits` cannot be imported before that).
CANNOT_BEGIN = 1
# The one for Ctrl-C before the modules are loaded; likewise.
INTERRUPTED = 130


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
        sys.stderr.write(
            f"httpcore: the command line needs the package {missing!r}, which is not installed; "
            "run: pip install 'httpcore[cli]'\n"
        )
        sys.stderr.flush()
        return CANNOT_BEGIN
    except KeyboardInterrupt:
        return INTERRUPTED


def _open_closed_streams() -> None:
    """Give the process streams in place of those that it was started without (``>&-``): ones that
    cannot be read or written, and a standard error that goes nowhere.

    Python has None for them, and the next file or socket would get the descriptor.
    """
    if sys.stdin is None:
        reading, writing = os.pipe()
        os.dup2(writing, reading)
        os.close(writing)
        sys.stdin = os.fdopen(reading, encoding="utf-8")
    for name, flags in {"stdout": os.O_RDONLY, "stderr": os.O_WRONLY}.items():
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), "w", encoding="utf-8"))
