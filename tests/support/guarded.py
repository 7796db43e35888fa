"""Programs that end when the process that started them is gone, however it ended.

Owns: the pipe by which that is noticed, on every system with fork(). Must not know: the programs.

A process that gets SIGKILL runs no fixture and no exit handler. What remains is that the system
closes its end of a pipe: a watcher in the program's process group reads the other end, and kills
the group, itself included, at its end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own; its standard input is empty.

    Parameters:
        options: of Popen.

    Returns: the process of the program itself. Its `stdin` is the pipe: give it to `release`.
    """
    # Isolated and without site-packages: it starts in a few milliseconds.
    guarded = [sys.executable, "-I", "-S", __file__, *command]
    return subprocess.Popen(
        guarded, stdin=subprocess.PIPE, start_new_session=True, bufsize=0, **options
    )


def release(process: subprocess.Popen[bytes]) -> None:
    """End the watcher of a program that has ended, and what the program left in its group."""
    assert process.stdin is not None
    process.stdin.close()


def main() -> None:
    """Become the program of the command line, with a watcher beside it."""
    if os.fork() == 0:
        os.closerange(1, 3)  # a pipe that the program prints to ends with the program
        os.read(0, 1)
        os.killpg(0, signal.SIGKILL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
