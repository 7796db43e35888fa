"""Where the command writes: the body to standard output, everything else to standard error.

Owns: both streams, whether they are terminals, whether there are colours, progress bars. Must not
know: what is written.

Colours are the sixteen of the terminal's own theme, so that they can be read on any background.
Sources: no-color.org.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from threading import Lock, RLock
from typing import Any

from rich.console import Console
from rich.text import Text

from .exits import Exit, Problem, unwritable
from .text import line

# Columns where there is no terminal to ask.
DEFAULT_WIDTH = 80
# Columns for the name beside a progress bar, so that in 80 the bar is still one.
NAME_WIDTH = 20


class Terminal:
    """The two streams of the process.

    Parameters:
        color: "never", "auto" (on terminals) or "always".
        silent: no progress and no notes; errors are said all the same.

    Attributes:
        shows_body: standard output is a terminal.
        formats_body: the body is made readable: on a terminal, or where colours were asked for.
        colors_body: it has colours.
        errors: standard error.
        bars: the progress bars.
    """

    def __init__(self, color: str = "auto", silent: bool = False) -> None:
        self._out: Any = sys.stdout.buffer
        self._stdout = self._out  # also while something is kept
        self._lock = RLock()
        self._silent = silent
        self._within_line = False  # of standard output, which ends up where the errors do
        self._mixes = _is_one_place()
        self.shows_body = sys.stdout.isatty()
        self.formats_body = self.shows_body or color == "always"
        self._styles = _console(color, self.shows_body, file=io.StringIO(), width=1000)
        self.colors_body = not self._styles.no_color
        on_terminal = sys.stderr.isatty()
        width = None if on_terminal else DEFAULT_WIDTH
        self.errors = _console(color, on_terminal, file=sys.stderr, width=width)
        draws = on_terminal and not silent and os.environ.get("TERM") != "dumb"
        self.bars = Bars(self.errors if draws else None)

    def keeping(self, file: Any) -> Terminal:
        """Return the same terminal, which keeps in `file` what is for standard output until
        `release`."""
        other = copy.copy(self)
        other._out, other._lock = file, RLock()
        return other

    def release(self) -> None:
        """Write what was kept, and from now on without waiting."""
        with self._lock:
            kept, self._out = self._out, self._stdout
            kept.seek(0)
            shutil.copyfileobj(kept, self)

    def write(self, data: bytes) -> None:
        """Write to standard output, at once: who reads it may be waiting.

        Raises Problem where that fails.
        """
        try:
            with self._lock:
                self._out.write(data)
                self._out.flush()
            if data and self._mixes:
                self._within_line = not data.endswith(b"\n")
        except OSError as exc:
            _give_up_stdout()
            if isinstance(exc, BrokenPipeError):
                raise Problem(Exit.PIPE, "") from exc
            raise unwritable("standard output", exc) from exc

    def write_text(self, text: Text | str) -> None:
        """Write text as `write` does bytes: a str as it is, a Text with its colours if standard
        output has any."""
        if isinstance(text, Text):
            with self._styles.capture() as capture:
                self._styles.print(text, soft_wrap=True, end="")
            text = capture.get()
        self.write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))

    def say(self, text: Text | str, wrap: bool = False) -> None:
        """Write one line, or several, to standard error; `wrap`: on a terminal, between words."""
        # Where nobody listens any more, that is no reason to stop.
        with contextlib.suppress(OSError):
            if self._within_line:
                self._within_line = False
                sys.stderr.write("\n")
                sys.stderr.flush()
            # Above a progress bar, if there is one.
            self.errors.print(text, soft_wrap=not (wrap and self.errors.is_terminal))

    def note(self, text: str) -> None:
        """Say something that the user may want to know."""
        if not self._silent:
            self.say(Text.assemble(("note: ", "yellow"), line(text)), wrap=True)

    def error(self, problem: Problem | None) -> Exit:
        """Say what went wrong, if anything did; return the exit code."""
        if problem is not None and problem.text:
            self.say(Text.assemble(("httpcore: ", "bold red"), line(problem.text)), wrap=True)
        return Exit.OK if problem is None else problem.code


class Bars:
    """The progress bars of all URLs, on `console`, while there are any; none where it is None."""

    def __init__(self, console: Console | None) -> None:
        self.console, self._lock, self._count = console, Lock(), 0

    @contextlib.contextmanager
    def bar(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Draw a bar for something of `total` bytes, None where nobody knows; give what is to be
        called with how many of them have been moved."""
        if self.console is None:
            yield lambda count: None
            return
        from rich import progress  # most runs do not need it

        with self._lock:
            if not self._count:
                self._progress = progress.Progress(
                    progress.TextColumn("{task.description}", markup=False),
                    progress.BarColumn(bar_width=None),
                    progress.TaskProgressColumn(),
                    progress.DownloadColumn(),
                    progress.TransferSpeedColumn(),
                    progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
                    console=self.console,
                    expand=True,
                )
                self._progress.start()
            self._count += 1
            drawn = self._progress
        label = Text(line(name))
        label.truncate(NAME_WIDTH, overflow="ellipsis")
        task = drawn.add_task(label.plain, total=total)
        try:
            yield lambda count: drawn.update(task, completed=count)
            if total is None:
                drawn.update(task, total=max(drawn.tasks[task].completed, 1))
        finally:
            with self._lock:
                self._count -= 1
                if not self._count:
                    drawn.stop()


def _is_one_place() -> bool:
    """Return whether both streams go to one terminal, file or pipe."""
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (OSError, ValueError):  # not a file at all
        return False


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on: that nobody reads the notes is no reason to stop, as it is for rich."""


def _console(color: str, on_terminal: bool, **more: Any) -> Console:
    wanted = on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    colored = color == "always" or (color == "auto" and wanted)
    return _Console(
        force_terminal=on_terminal,
        color_system="standard" if colored else None,
        no_color=not colored,
        # What is printed is data, not markup.
        markup=False,
        highlight=False,
        emoji=False,
        **more,
    )


def _give_up_stdout() -> None:
    """Send nothing more to standard output: else Python would try again at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
