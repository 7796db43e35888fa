"""The output of the command: the body to a file or standard output, all else to standard error.

Owns: both streams, whether they are terminals, whether there are colours, progress bars; the head
and the body of a response as they are written: to a file, to a pipe as they are, or to a terminal
so that they can be read. Must not know: how the response was got.

Colours are the sixteen of the terminal's own theme, so that they can be read on any background.
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

from .._core.h1 import Headers
from .exits import Exit, Problem, stdout_failed, unwritable
from .text import first_value, line, lines, of_bytes

# Characters of a body that are made readable as a whole, which takes up to a second: what is longer
# nobody reads on a terminal, and is shown as it comes.
MAX_FORMATTED = 256 * 1024
# Bytes that are looked at to tell text from other things.
SAMPLE = 4096

# What is coloured, by the end of the content type; other text is shown as it comes. By pygments'
# names of languages and of tokens.
_LANGUAGES = re.compile("json|html|xml|css|javascript|ecmascript|yaml|toml")
_COLORS = {
    "": "",
    "Comment": "brightblack",
    "Keyword": "magenta",
    "Name.Tag": "brightblue",
    "Name.Attribute": "cyan",
    "Literal.String": "green",
    "Literal.Number": "cyan",
}
_TEXT_TYPES = re.compile(r"text/|.*[/+](json|xml|yaml|javascript|x-www-form-urlencoded)$")
_STATUS_STYLES = {1: "cyan", 2: "green", 3: "cyan", 4: "yellow", 5: "red"}
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
            raise stdout_failed(exc) from exc

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


# Heads and bodies


def status_bytes(response: httpcore.Response) -> bytes:
    """Return the status line as HTTP/1.1 writes it."""
    version = response.extensions["http_version"]
    reason = response.extensions.get("reason_phrase", b"")
    return b" ".join(each for each in (version, b"%d" % response.status, reason) if each)


def status_line(response: httpcore.Response) -> str:
    return of_bytes(status_bytes(response))


def write_head(terminal: Terminal, response: httpcore.Response) -> None:
    """Write the head to standard output."""
    if not terminal.formats_body:
        fields = [b"%b: %b" % field for field in response.headers]
        terminal.write(b"\r\n".join([status_bytes(response), *fields, b"", b""]))
        return
    version, _, rest = status_line(response).partition(" ")
    text = Text.assemble((version, "bold"), " ")
    text.append(rest, _STATUS_STYLES.get(response.status // 100, ""))
    for name, value in response.headers:
        text.append_tokens([("\n", None), (of_bytes(name), "cyan"), (f": {of_bytes(value)}", None)])
    terminal.write_text(text + Text("\n\n"))


def write_file(
    terminal: Terminal, path: str, parts: Iterator[bytes], total: int | None, start: int = 0
) -> None:
    """Write `parts` to the file at `path`, behind its first `start` bytes. `total` is how many
    bytes it has then, if that is known."""
    try:
        # Not before there is something to write: a request that fails leaves an old file alone.
        with (
            open(path, "ab" if start else "wb") as file,
            terminal.bars.bar(path.replace("\\", "/").rpartition("/")[2], total) as moved,
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
    # Without the mark that some put before UTF-8: it would be no JSON.
    charset = "utf-8-sig" if charset == "utf-8" else charset
    decoder = codecs.getincrementaldecoder(charset)("replace")
    reader = io.IncrementalNewlineDecoder(decoder, translate=True)
    texts = (reader.decode(part, not part) for part in itertools.chain(parts, [b""]))
    language = _LANGUAGES.fullmatch(kind.rpartition("/")[2].rpartition("+")[2])
    last = ""
    for text in map(lines, texts) if language is None else _formatted(terminal, language[0], texts):
        if text:
            last = text
            terminal.write_text(text)
    if last and not last.endswith("\n"):
        terminal.write_text("\n")  # else the prompt would stand behind it


def _formatted(terminal: Terminal, language: str, texts: Iterator[str]) -> Iterator[str]:
    """Yield it indented and coloured as a whole, unless it is too long."""
    whole = ""
    for text in texts:
        whole += text
        if len(whole) > MAX_FORMATTED:
            yield from map(lines, itertools.chain([whole], texts))
            return
    shown = lines(indented(whole) if language == "json" else whole)
    yield colored(shown, language) if terminal.colors_body else shown


def colored(text: str, language: str) -> str:
    """Return `text` with the colours of its language (ECMA-48 SGR), which can be read on any
    background."""
    from pygments import formatters, highlight, lexers, token  # type: ignore[import-untyped]

    scheme = {token.string_to_tokentype(kind): (color, color) for kind, color in _COLORS.items()}
    name = language.replace("ecma", "java")  # its old name, which pygments does not know
    lexer = lexers.get_lexer_by_name(name, stripnl=False, ensurenl=False)
    return str(highlight(text, lexer, formatters.TerminalFormatter(colorscheme=scheme)))


def content_type(headers: Headers) -> tuple[str, str]:
    """Return type and charset; UTF-8 where none is given, or one that nobody knows."""
    value = first_value(headers, b"content-type")
    message = Message()
    message["Content-Type"] = value
    charset = str(message.get_param("charset", "utf-8"))
    kind = message.get_content_type() if value else ""
    try:
        b"\xff".decode(charset, "replace")  # some codecs are no character sets
        codecs.getincrementaldecoder(charset)(errors="replace").decode(b"\xff", final=True)
    except (LookupError, ValueError):
        return kind, "utf-8"
    return kind, codecs.lookup(charset).name


def is_text(headers: Headers, sample: bytes) -> bool:
    """Return whether a body that begins with `sample` is text."""
    kind, charset = content_type(headers)
    if charset.startswith(("utf-16", "utf-32")):
        return True
    if b"\0" in sample:
        return False
    if _TEXT_TYPES.match(kind):
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # its last character may be cut
    except UnicodeDecodeError:
        return False
    return True


# JSON

_PIECES = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+)', re.DOTALL)
INDENT = 2  # columns
DEEPEST = 40  # levels that are indented; what is nested deeper is not for reading


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
            parts.append("\n" + " " * (INDENT * min(depth, DEEPEST)))
        parts.append(": " if piece == ":" else piece)
        depth += piece in ("[", "{")
        before = piece
    return "".join(parts) + "\n"


def expected_length(headers: Headers) -> int | None:
    """Return the Content-Length, where there is one that is a number."""
    value = first_value(headers, b"content-length")
    return int(value) if value.isascii() and value.isdigit() else None


def content_range(headers: Headers) -> str:
    """Return the place in Content-Range: ``first-`` of a part, ``*/size`` of none; else empty."""
    value = first_value(headers, b"content-range")
    match = re.fullmatch(r"bytes (?:(\d+-)\d+/.*|(\*/\d+))", value, re.ASCII)
    return "" if match is None else match[1] or match[2]


def describe_binary(headers: Headers) -> str:
    """Return size and type in brackets, for the note that it is not shown."""
    size, kind = expected_length(headers), line(content_type(headers)[0])
    known = ", ".join(each for each in ("" if size is None else f"{size} bytes", kind) if each)
    return f" ({known})" if known else ""
