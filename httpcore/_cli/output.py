"""The output of the command: the body to a file or standard output, all else to standard error.

Owns: both streams, progress bars, colours; the head and the body of a response as they are written:
to a file, to a pipe as they are, or to a terminal so that they can be read. Must not know: how the
response was got.

Sources: no-color.org.
"""

from __future__ import annotations

import codecs
import contextlib
import copy
import io
import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from email.message import Message
from threading import Lock, RLock
from typing import Any

from rich.console import Console
from rich.text import Text

import httpcore

from .._core.h1_grammar import Headers
from .exits import Exit, Problem, stdout_failed, unwritable
from .text import first_value, line, lines, of_bytes

# Characters of a body that are made readable as a whole, which takes up to a second: what is longer
# nobody reads on a terminal, and is shown as it comes.
MAX_FORMATTED = 256 * 1024
# Levels of JSON that are indented; what is nested deeper is not for reading, and would grow a lot.
DEEPEST = 40

# The types that are coloured, with pygments' names of their languages.
_LANGUAGES = re.compile(r"[^/]+/(?:.*\+)?(json|html|xml|css|javascript|yaml|toml)")
# Colours of the terminal's own theme that can be read on any background, by pygments' tokens.
_COLORS = {
    "": "",
    "Comment": "brightblack",
    "Keyword": "magenta",
    "Name.Tag": "brightblue",
    "Name.Attribute": "cyan",
    "Literal.String": "green",
    "Literal.Number": "cyan",
}


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
        self._stdout = sys.stdout  # which rich replaces while a bar is drawn
        self._out: Any = sys.stdout.buffer
        self._lock, self._silent = RLock(), silent
        self.shows_body = sys.stdout.isatty()
        self.formats_body = self.shows_body or color == "always"
        self.colors_body = _Console(sys.stdout, color).color_system is not None
        self.errors = _Console(sys.stderr, color)
        self.bars = Bars(self.errors if self.errors.is_interactive and not silent else None)

    def keeping(self, file: Any) -> Terminal:
        """Return the same terminal, which keeps in `file` what is for standard output until
        `release`."""
        other = copy.copy(self)
        other._out, other._lock = file, RLock()
        return other

    def release(self) -> None:
        """Write what was kept, and from now on without waiting."""
        with self._lock:
            kept, self._out = self._out, self._stdout.buffer
            kept.seek(0)
            shutil.copyfileobj(kept, self)

    def write(self, data: bytes | str) -> None:
        """Write to standard output, at once: who reads it may be waiting.

        Raises Problem where that fails.
        """
        if isinstance(data, str):
            data = data.encode(self._stdout.encoding, "backslashreplace")
        try:
            with self._lock:
                self._out.write(data)
                self._out.flush()
        except OSError as exc:
            raise stdout_failed(exc) from exc

    def say(self, text: Text | str, wrap: bool = False) -> None:
        """Write one line, or several, to standard error; above a progress bar, if there is one.
        `wrap`: on a terminal, between words."""
        # Where nobody listens any more, that is no reason to stop.
        with contextlib.suppress(OSError):
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
        from rich import progress, table  # most runs do not need it

        with self._lock:
            if not self._count:
                column = table.Column(max_width=20, no_wrap=True)  # in 80, a bar is still one
                self._progress = progress.Progress(
                    progress.TextColumn("{task.description}", markup=False, table_column=column),
                    *progress.Progress.get_default_columns()[1:],
                    progress.DownloadColumn(),
                    progress.TransferSpeedColumn(),
                    console=self.console,
                )
                self._progress.start()
            self._count += 1
            drawn = self._progress
        task = drawn.add_task(line(name), total=total)
        try:
            yield lambda count: drawn.update(task, completed=count)
            if total is None:
                drawn.update(task, total=drawn.tasks[task].completed)
        finally:
            with self._lock:
                self._count -= 1
                if not self._count:
                    drawn.stop()


class _Console(Console):
    """A stream that data is printed to, and no markup; with or without colours."""

    def __init__(self, file: Any, color: str) -> None:
        plain = color == "never" or (color == "auto" and os.environ.get("NO_COLOR"))
        super().__init__(
            file=file,
            force_terminal=file.isatty(),
            color_system=None if plain else "standard" if color == "always" else "auto",
            no_color=False,
            markup=False,
            highlight=False,
            emoji=False,
        )

    def on_broken_pipe(self) -> None:
        """Go on: that nobody reads the notes is no reason to stop, as it is for rich."""


# Heads and bodies


def status_line(response: httpcore.Response) -> str:
    """Return the status line as HTTP/1.1 writes it."""
    version = response.extensions["http_version"]
    reason = response.extensions.get("reason_phrase", b"")
    return of_bytes(b"%b %d %b" % (version, response.status, reason)).rstrip()


def write_head(terminal: Terminal, response: httpcore.Response) -> None:
    """Write the head to standard output."""
    first, fields = status_line(response), [b"%b: %b" % field for field in response.headers]
    if terminal.formats_body:
        text = "".join(f"{row}\n" for row in [first, *map(of_bytes, fields), ""])
        terminal.write(colored(text, "http") if terminal.colors_body else text)
    else:
        terminal.write(b"\r\n".join([first.encode("utf-8"), *fields, b"", b""]))


def write_file(
    terminal: Terminal, path: str, parts: Iterator[bytes], total: int | None, start: int = 0
) -> None:
    """Write `parts` to the file at `path`, behind its first `start` bytes. `total` is how many
    bytes it has then, if that is known."""
    try:
        # Not before there is something to write: a request that fails leaves an old file alone.
        with (
            open(path, "ab" if start else "wb") as file,
            terminal.bars.bar(os.path.basename(path), total) as moved,
        ):
            moved(start)
            for part in parts:
                file.write(part)
                start += len(part)
                moved(start)
    except (OSError, ValueError) as exc:  # of the file: the network's are the package's own
        raise unwritable(path, exc) from exc


def write_readable(terminal: Terminal, headers: Headers, parts: Iterator[bytes]) -> None:
    """Show `parts` as text: indented and coloured where we know how."""
    kind, charset = content_type(headers)
    decoder = codecs.getincrementaldecoder(charset)("replace")
    reader = io.IncrementalNewlineDecoder(decoder, translate=True)
    texts = (lines(reader.decode(part, not part)) for part in itertools.chain(parts, [b""]))
    language = _LANGUAGES.fullmatch(kind)
    last = "\n"
    try:
        for text in texts if language is None else _formatted(terminal, texts, language[1]):
            terminal.write(text)
            last = text or last
    finally:
        if not last.endswith("\n"):
            terminal.write("\n")  # else what is said next, or the prompt, would stand behind it


def _formatted(terminal: Terminal, texts: Iterator[str], language: str) -> Iterator[str]:
    """Yield it indented and coloured as a whole, unless it is too long."""
    whole = ""
    for text in texts:
        whole += text
        if len(whole) > MAX_FORMATTED:
            yield whole
            yield from texts
            return
    whole = indented(whole) if language == "json" else whole
    yield colored(whole, language) if terminal.colors_body else whole


def colored(text: str, language: str) -> str:
    """Return `text` with the colours of its language (ECMA-48 SGR)."""
    from pygments import formatters, highlight, lexers, token  # type: ignore[import-untyped]

    scheme = {token.string_to_tokentype(kind): (color, color) for kind, color in _COLORS.items()}
    lexer = lexers.get_lexer_by_name(language, stripnl=False, ensurenl=False)
    return str(highlight(text, lexer, formatters.TerminalFormatter(colorscheme=scheme)))


def content_type(headers: Headers) -> tuple[str, str]:
    """Return type and charset; UTF-8 where none is given, or one that nobody knows."""
    message = Message()
    message["Content-Type"] = first_value(headers, b"content-type") or "application/octet-stream"
    charset = message.get_content_charset("utf-8")
    try:
        b"\xff".decode(charset, "replace")  # some codecs are no character sets
        charset = codecs.lookup(charset).name
    except (LookupError, ValueError):
        charset = "utf-8"
    # Some put a mark before UTF-8, with which it would be no JSON.
    return message.get_content_type(), "utf-8-sig" if charset == "utf-8" else charset


def is_text(headers: Headers, sample: bytes) -> bool:
    """Return whether a body that begins with `sample` is text."""
    kind, charset = content_type(headers)
    errors = "replace" if kind.startswith("text/") or _LANGUAGES.fullmatch(kind) else "strict"
    if charset in ("utf-16", "utf-32") and len(sample) < 4:
        return not sample  # too short for the mark of the byte order, which these two need
    try:
        return "\0" not in codecs.getincrementaldecoder(charset)(errors).decode(sample)
    except UnicodeError:  # also where there is no such mark
        return False


_PIECES = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+)', re.DOTALL)


def indented(text: str) -> str:
    """Return JSON with one member a line. Only white space changes: numbers stay as they were
    written, and so do names that occur twice. What is no JSON stays as it is."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    parts, depth, before = [], 0, ""
    for piece in _PIECES.findall(text):
        depth -= piece in ("]", "}")
        # An empty list or object stays on its line.
        if before == "," or (before in ("[", "{")) != (piece in ("]", "}")):
            parts.append("\n" + "  " * min(depth, DEEPEST))
        parts.append(": " if piece == ":" else piece)
        depth += piece in ("[", "{")
        before = piece
    return "".join(parts) + "\n"
