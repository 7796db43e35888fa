"""``python -m httpcore_gateway``: the command line.

Owns: the error text where the extra ``gateway`` is not installed. Must not know: the options
(`_command`), the server (`_server`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

#: The exit code of a command that could not begin: wrong settings, a port in use.
CANNOT_BEGIN = 2
#: Packages that the command needs, all in the extra ``gateway``.
NEEDED = ("click", "msgspec", "tomli", "uvicorn", "websockets")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Parameters:
        arguments: those after the command's name; None for those of the process.
    """
    try:
        from ._command import run_command
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").partition(".")[0]
        if missing not in NEEDED:
            raise
        sys.stderr.write(
            f"httpcore_gateway: the package {missing!r} is not installed; "
            'run: pip install "httpcore[gateway]"\n'
        )
        return CANNOT_BEGIN
    return run_command(arguments)


if __name__ == "__main__":
    sys.exit(main())
