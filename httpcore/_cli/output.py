"""Where a response goes: a file, a pipe as it is, or a terminal so that it can be read.

Owns: the head and the body as they are written, and which of the three it is. Must not know: how
the response was got.
"""

from __future__ import annotations

import codecs
import functools
import io
import itertools
import json
import re
from collections.abc import Iterator
from email.message import Message

from rich.text import Text

import httpcore

from .._core.h1 import Headers
from .exits import Exit, Problem
from .terminal import Terminal
from .text import line, lines, of_bytes

# Characters of a body that are made readable as a whole, which takes up to a second: what is longer
# nobody reads on a terminal, and is shown as it comes.
MAX_FORMATTED = 256 * 1024
# Bytes that are looked at to tell text from other things.
SAMPLE = 4096

# By content type: what knows how to colour it. Others are shown as they come, piece by piece.
LEXERS = {
    "json": "json",
    "html": "html",
    "xml": "xml",
    "svg+xml": "xml",
    "css": "css",
    "javascript": "javascript",
    "ecmascript": "javascript",
    "yaml": "yaml",
    "toml": "toml",
}

# Of pygments' tokens, by their names; colours that can be read on any background.
STYLES = {
    "Token.Comment": "90",
    "Token.Keyword": "35",
    "Token.Name.Tag": "94",
    "Token.Name.Attribute": "36",
    "Token.Literal.String": "32",
    "Token.Literal.Number": "36",
}

_TEXT_TYPES = re.compile(r"text/|.*[/+](json|xml|yaml|javascript|x-www-form-urlencoded)$")

STATUS_STYLES = {1: "cyan", 2: "green", 3: "cyan", 4: "yellow", 5: "red"}


# The head


def head_lines(response: httpcore.Response) -> list[bytes]:
    """Return status line and fields, as HTTP/1.1 writes them."""
    version = response.extensions["http_version"]
    reason = response.extensions.get("reason_phrase", b"")
    first = b" ".join(part for part in (version, b"%d" % response.status, reason) if part)
    return [first, *(b"%b: %b" % field for field in response.headers)]


def write_head(terminal: Terminal, response: httpcore.Response) -> None:
    """Write the head to standard output."""
    if not terminal.formats_body:
        terminal.write(b"\r\n".join([*head_lines(response), b"", b""]))
        return
    version, *rest = of_bytes(head_lines(response)[0]).split(" ", 1)
    text = Text.assemble((version, "bold"), " ")
    text.append(" ".join(rest), STATUS_STYLES.get(response.status // 100, ""))
    for name, value in response.headers:
        text.append("\n")
        text.append(of_bytes(name), "cyan")
        text.append(f": {of_bytes(value)}")
    terminal.write_text(text + Text("\n\n"))


# The body


def write_file(
    terminal: Terminal, path: str, parts: Iterator[bytes], total: int | None, start: int = 0
) -> None:
    """Write `parts` to the file at `path`, behind its first `start` bytes. `total` is how many
    bytes it has then, if that is known."""
    from .progress import Meter  # brings rich.progress, which most runs do not need

    meter = Meter(terminal, path.replace("\\", "/").rpartition("/")[2], total)
    try:
        # Not before there is something to write: a request that fails leaves an old file alone.
        file = open(path, "ab" if start else "wb")  # noqa: SIM115 - closed below, and its errors told from others
    except (OSError, ValueError) as exc:
        raise _unwritable(path, exc) from exc
    with meter:
        try:
            meter.at(start)
            for part in parts:
                try:
                    file.write(part)
                except OSError as exc:
                    raise _unwritable(path, exc) from exc
                meter.add(len(part))
        finally:
            try:
                file.close()
            except OSError as exc:
                raise _unwritable(path, exc) from exc


def _unwritable(path: str, exc: Exception) -> Problem:
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
    return Problem(Exit.WRITE, f"write to {path} failed: {reason}")


def write_raw(terminal: Terminal, parts: Iterator[bytes]) -> None:
    """Write `parts` to standard output as they are."""
    for part in parts:
        terminal.write(part)


def read_away(parts: Iterator[bytes]) -> None:
    """Read `parts` and keep nothing."""
    for _ in parts:
        pass


def write_readable(terminal: Terminal, headers: Headers, parts: Iterator[bytes]) -> None:
    """Show `parts` as text: indented and coloured where we know how."""
    kind, charset = content_type(headers)
    lexer = LEXERS.get(kind.rpartition("/")[2].rpartition("+")[2])
    texts = _read(charset, parts)
    if lexer is None:
        last = _write_lines(terminal, texts)
    else:
        last = _write_formatted(terminal, lexer, texts)
    if last and not last.endswith("\n"):
        terminal.write_text("\n")  # else the prompt would stand behind it


def _write_formatted(terminal: Terminal, lexer: str, texts: Iterator[str]) -> str:
    """Indent and colour it as a whole, unless it is too long; returns how it ends."""
    whole = ""
    for text in texts:
        whole += text
        if len(whole) > MAX_FORMATTED:
            break
    else:
        shown = lines(indented(whole) if lexer == "json" else whole)
        terminal.write_text(colored(shown, lexer) if terminal.colors_body else shown)
        return shown
    return _write_lines(terminal, itertools.chain([whole], texts))


def _write_lines(terminal: Terminal, texts: Iterator[str]) -> str:
    """Show texts as they come; returns how the last of them ends."""
    last = ""
    for text in texts:
        if text:
            last = lines(text)
            terminal.write_text(last)
    return last


def colored(text: str, language: str) -> str:
    """Return `text` with the colours of its language (ECMA-48 SGR)."""
    from rich.syntax import Syntax  # brings pygments, for what is coloured only

    lexer = Syntax("", language).lexer
    assert lexer is not None  # all in LEXERS are there
    parts: list[str] = []
    for kind, piece in lexer.get_tokens(text):
        style = "" if piece.isspace() else _style(str(kind))
        parts.append(f"\x1b[{style}m{piece}\x1b[0m" if style else piece)
    shown = "".join(parts)
    # The lexer adds a line break at the end.
    return shown if text.endswith("\n") else shown.removesuffix("\n")


@functools.cache
def _style(kind: str) -> str:
    """Return the style of a kind of token, "Token.Name.Tag", or else of what it is one of."""
    while kind:
        if kind in STYLES:
            return STYLES[kind]
        kind = kind.rpartition(".")[0]
    return ""


def _read(charset: str, parts: Iterator[bytes]) -> Iterator[str]:
    """Yield bytes as text, piece by piece, with line breaks of one kind."""
    # Without the mark that some put before UTF-8: it would be no JSON.
    name = "utf-8-sig" if charset == "utf-8" else charset
    decoder = codecs.getincrementaldecoder(name)(errors="replace")
    reader = io.IncrementalNewlineDecoder(decoder, translate=True)
    for part in parts:
        yield reader.decode(part)
    yield reader.decode(b"", final=True)


def content_type(headers: Headers) -> tuple[str, str]:
    """Return type and charset; UTF-8 where none is given, or one that nobody knows."""
    value = first_value(headers, b"content-type")
    message = Message()
    message["Content-Type"] = of_bytes(value)
    charset = str(message.get_param("charset", "utf-8"))
    kind = message.get_content_type() if value else ""
    try:
        b"\xff".decode(charset, "replace")  # some codecs are no character sets
        codecs.getincrementaldecoder(charset)(errors="replace").decode(b"\xff", final=True)
    except (LookupError, ValueError):
        return kind, "utf-8"
    return kind, codecs.lookup(charset).name


def peek(parts: Iterator[bytes]) -> tuple[Iterator[bytes], bytes]:
    """Return `parts` unchanged, and how they begin."""
    first = next(parts, b"")

    def again() -> Iterator[bytes]:
        yield first
        yield from parts

    return again(), first[:SAMPLE]


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
    parts: list[str] = []
    depth = 0
    pieces = _PIECES.findall(text)
    for at, piece in enumerate(pieces):
        before = pieces[at - 1] if at else ""
        if piece in ("]", "}"):
            depth -= 1
            if before not in ("[", "{"):
                parts.append(_new_line(depth))
        elif before in ("[", "{", ","):
            parts.append(_new_line(depth))
        parts.append(piece)
        if piece == ":":
            parts.append(" ")
        elif piece in ("[", "{"):
            depth += 1
    return "".join(parts) + "\n"


def _new_line(depth: int) -> str:
    return "\n" + " " * (INDENT * min(depth, DEEPEST))


def expected_length(headers: Headers) -> int | None:
    """Return the Content-Length, where there is one that is a number."""
    for name, value in headers:
        if name.lower() == b"content-length" and value.isdigit():
            return int(value)
    return None


def first_value(headers: Headers, wanted: bytes) -> bytes:
    """Return the value of the first field of that name, in lower case; empty for none."""
    return next((value for name, value in headers if name.lower() == wanted), b"")


def content_range(headers: Headers) -> str:
    """Return the place in Content-Range: ``first-`` of a part, ``*/size`` of none; else empty."""
    value = first_value(headers, b"content-range")
    match = re.fullmatch(r"bytes (?:(\d+-)\d+/.*|(\*/\d+))", of_bytes(value), re.ASCII)
    return "" if match is None else match[1] or match[2]


def describe_binary(headers: Headers) -> str:
    """Return size and type in brackets, for the note that it is not shown."""
    size = expected_length(headers)
    kind, _ = content_type(headers)
    parts = [f"{size} bytes" if size is not None else "", line(kind)]
    known = ", ".join(part for part in parts if part)
    return f" ({known})" if known else ""
