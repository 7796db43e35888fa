"""Where a response goes: a file, a pipe as it is, or a terminal so that it can be read.

Owns: the head and the body as they are written. Must not know: how the response was got.
"""

from __future__ import annotations

import codecs
import io
import itertools
import json
import re
from collections.abc import Iterator
from email.message import Message

from rich.text import Text

import httpcore

from .._core.h1 import Headers
from .exits import unwritable
from .terminal import Terminal
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
