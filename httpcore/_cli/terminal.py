"""Where the command writes: the body to standard output, everything else to standard error.

Owns: both streams, whether they are terminals, whether there are colours. Must not know: what is
written.

Colours are the sixteen of the terminal's own theme, so that they can be read on any background.
Sources: no-color.org.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from .exits import Exit, Problem, unwritable
from .options import ALWAYS, AUTO
from .text import line

# Columns where there is no terminal to ask.
DEFAULT_WIDTH = 80


class Terminal:
    """The two streams of the process.

    Parameters:
        color: NEVER, AUTO or ALWAYS.
        silent: no progress and no notes; errors are said all the same.

    Attributes:
        shows_body: standard output is a terminal.
        formats_body: the body is made readable: on a terminal, or where colours were asked for.
        colors_body: it has colours.
        has_progress: progress bars are drawn.
        errors: standard error, for what draws on it itself.
        bars: the progress bars of all URLs, where there are several; or None.
    """

    def __init__(self, color: str = AUTO, silent: bool = False) -> None:
        self._out: Any = sys.stdout.buffer
        self.bars: Any = None
        self._silent = silent
        self._within_line = False  # of standard output, which ends up where the errors do
        self._mixes = _is_one_place()
        self.shows_body = sys.stdout.isatty()
        self.formats_body = self.shows_body or color == ALWAYS
        on_terminal = sys.stderr.isatty()
        self.has_progress = on_terminal and not silent and os.environ.get("TERM") != "dumb"
        self._styles = _console(color, self.shows_body, file=io.StringIO(), width=1000)
        self.colors_body = not self._styles.no_color
        width = None if on_terminal else DEFAULT_WIDTH
        self.errors = _console(color, on_terminal, file=sys.stderr, width=width)

    def writing_to(self, out: object) -> Terminal:
        """Return the same terminal, but for standard output, which is `out`."""
        other = copy.copy(self)
        other._out = out
        return other

    # Standard output

    def write(self, data: bytes) -> None:
        """Write to standard output, at once: who reads it may be waiting.

        Raises Problem where that fails.
        """
        try:
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

    # Standard error

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

    def error(self, text: str) -> None:
        """Say why the command ends."""
        self.say(Text.assemble(("httpcore: ", "bold red"), line(text)), wrap=True)

    @property
    def draws_blocks(self) -> bool:
        """Return whether standard error can show block characters."""
        try:
            "▏█".encode(sys.stderr.encoding or "ascii")
        except UnicodeEncodeError:
            return False
        return True


def _is_one_place() -> bool:
    """Return whether both streams go to one terminal, file or pipe."""
    if sys.stdout.isatty() and sys.stderr.isatty():
        return True
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (OSError, ValueError):  # not a file at all
        return False


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on: that nobody reads the notes is no reason to stop, as it is for rich."""


def _console(color: str, on_terminal: bool, **more: Any) -> Console:
    wanted = on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    colored = color == ALWAYS or (color == AUTO and wanted)
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
