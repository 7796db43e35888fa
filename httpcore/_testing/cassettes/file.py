"""The format of cassettes: JSON Lines, one fact of an exchange in each line.

Owns: how exchanges are written and read. Must not know: files; it takes and gives bytes.

A line for each header and for each line of a body, so that a diff shows what has changed and no
more. Bodies are text where they are clean UTF-8, JSON where that gives the same bytes again, and
base64 otherwise.

Sources: jsonlines.org, RFC 4648 (base64).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ..._core.h1_grammar import Headers
from .exchange import (
    COMPLETE,
    CUT,
    FAILED,
    FAILURES,
    LEFT,
    Answer,
    Asked,
    CassetteError,
    Exchange,
    to_bytes,
    to_text,
)

# A line that was read, or is to be written: a JSON object, of values that are yet to be checked.
Event = dict[str, Any]

FORMAT = "httpcore"
VERSION = 1

# Bytes in one line of base64: 4 KiB of text, which editors and diffs still take for one line.
BASE64_SIZE = 3072

# ---------------------------------------------------------------------------------------------
# Writing

# Made once: json.dumps makes an encoder for each call with a setting, and a body has many lines.
_encode = json.JSONEncoder(ensure_ascii=False).encode

# What makes a body data, and no text to be read: control characters that no text has.
_find_control = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]").search
_find_lines = re.compile(r"[^\n]*\n|[^\n]+").findall


def header_line() -> bytes:
    """Return the first line of a cassette."""
    return _to_line({"cassette": FORMAT, "version": VERSION})


def to_lines(exchange: Exchange) -> bytes:
    """Return an exchange as it stands in a cassette, filtered or not: whole lines."""
    asked, answer = exchange.asked, exchange.answer
    events: list[Event] = [{"request": f"{asked.method} {asked.url}"}]
    events += _fields("header", asked.headers)
    events += _body_events(asked.body)
    if asked.stopped:
        events.append({"stopped": True})
    for status, headers in exchange.interim:
        events.append({"interim": f"HTTP/1.1 {status}"})
        events += _fields("header", headers)
    if answer is not None:
        reason = b" " + answer.reason if answer.reason else b""
        first = b"%b %d%b" % (answer.version, answer.status, reason)
        events.append({"response": to_text(first)})
        events += _fields("header", answer.headers)
        events += _body_events(answer.body)
        events += _fields("trailer", answer.trailers)
    for direction, data in exchange.raw:
        events += [{"raw": direction, **event} for event in _data_events(data)]
    end: Event = {"end": exchange.end}
    if exchange.end == FAILED:
        end["error"], end["text"] = exchange.error
    return b"".join(map(_to_line, [*events, end]))


def _to_line(event: Event) -> bytes:
    """Return one line. Characters that cannot be seen, or that change how their line looks, are
    escaped: what a reviewer sees is what is there."""
    text = _encode(event)
    if not text.isprintable():
        text = json.dumps(event)
    return text.encode("utf-8") + b"\n"


def _fields(kind: str, headers: Headers) -> list[Event]:
    return [{kind: to_text(b"%b: %b" % line).rstrip(" ")} for line in headers]


def _body_events(body: bytes) -> list[Event]:
    """Return a body as JSON where that gives the same bytes again, else as `_data_events`."""
    if body[:1] in (b"{", b"[") and b"\n" not in body[:-1]:  # else it is lines already
        try:
            # Read strictly: NaN is no JSON, and would make a line that others cannot read.
            value = json.loads(body, parse_constant=_refuse_constant)
            for style in _json_styles(body):
                if _write_json(value, style) == body:
                    return [{"json": value, **style}]
        except (ValueError, RecursionError):
            pass
    return _data_events(body)


def _json_styles(body: bytes) -> Iterator[dict[str, bool]]:
    """Return the ways in which `body` may be written, of those that are common enough to be
    distinguished: a space after commas and colons, letters outside ASCII escaped, a line break at
    the end."""
    end = {"newline": True} if body.endswith(b"\n") else {}
    for letters in ({}, {"ascii": True}) if b"\\u" in body else ({},):
        yield {**letters, **end}
        yield {"spaces": True, **letters, **end}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _write_json(value: object, style: Mapping[str, object]) -> bytes:
    separators = (", ", ": ") if style.get("spaces") else (",", ":")
    text = json.dumps(value, ensure_ascii=bool(style.get("ascii")), separators=separators)
    return (text + ("\n" if style.get("newline") else "")).encode("utf-8", "surrogatepass")


def _data_events(data: bytes) -> list[Event]:
    """Return bytes as text, a line in each event, where they are clean UTF-8; else as base64."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if not _find_control(text):
        return [{"text": line} for line in _find_lines(text)]
    starts = range(0, len(data), BASE64_SIZE)
    return [
        {"base64": base64.b64encode(data[at : at + BASE64_SIZE]).decode("ascii")} for at in starts
    ]


# ---------------------------------------------------------------------------------------------
# Reading

_match_status = re.compile(r"(HTTP/1\.[0-9]) ([0-9]{3})(?: ([^\r\n]*))?").fullmatch
_match_interim = re.compile(r"HTTP/1\.1 (1[0-9]{2})").fullmatch
_match_request = re.compile(r"(\S+) (\S+)").fullmatch
_match_field = re.compile(r"([!-9;-~]+):[ \t]*([^\r\n]*)").fullmatch


@dataclass
class Contents:
    """The contents of a file.

    Attributes:
        sound: bytes to keep when more is written: all, or those before an exchange without end.
        torn: why that one was left out, or "".
    """

    exchanges: list[Exchange]
    sound: int
    torn: str = ""


def read_contents(data: bytes, name: str) -> Contents:
    """Read a cassette.

    An exchange that is not there to its end, as a crash leaves it, is left out, and `torn` says
    so. That can only be the last one; everything else that is not as it should be is an error.

    Parameters:
        data: all bytes of the file.
        name: of the file, for error texts.

    Raises CassetteError, naming file and line.
    """
    first, *lines = data.split(b"\n")
    _check_header(first.removeprefix(b"\xef\xbb\xbf"), name)
    offset = sound = len(first) + 1
    exchanges: list[Exchange] = []
    torn = ""
    builder = _Builder(name)
    for number, line in enumerate(lines, 2):
        offset += len(line) + 1
        if not line.strip():
            continue
        try:
            event = _read_line(line)
        except (ValueError, RecursionError) as exc:
            if offset <= len(data):
                raise _broken(name, number, f"this is not a line of JSON: {exc}") from exc
            torn = f"line {number} ends in the middle"
            break
        exchange = builder.add(number, event)
        if exchange is not None:
            exchanges.append(exchange)
            sound = offset
    if builder.open is not None:
        torn = f"the exchange of line {builder.open.line} has no end"
    return Contents(exchanges, min(sound, len(data)) if torn else len(data), torn)


def _broken(name: str, line: int, what: str) -> CassetteError:
    return CassetteError(f"{name}, line {line}: {what}")


def _read_line(line: bytes) -> Event:
    event = json.loads(line.decode("utf-8"))
    if not isinstance(event, dict):
        raise ValueError("not an object in braces")
    return event


def _check_header(line: bytes, name: str) -> None:
    try:
        header = _read_line(line)
    except (ValueError, RecursionError):
        header = {}
    if header.get("cassette") != FORMAT:
        what = "the file is empty" if not line else "the first line is not its header"
        expected = header_line().decode("ascii").strip()
        raise _broken(name, 1, f"this is no cassette: {what}, {expected}")
    version = header.get("version")
    if version != VERSION:
        raise _broken(
            name,
            1,
            f"this cassette is of version {version!r} of the format, and this httpcore reads "
            f"version {VERSION}: record it again, or use the httpcore that wrote it",
        )


class _Builder:
    """Puts exchanges together from the events of a file.

    Attributes:
        open: the exchange that has begun and not ended.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = 0
        self.open: Exchange | None = None
        self._section: Headers | None = None  # where a header line belongs
        self._message: Asked | Answer | None = None  # whose body comes
        self._body: list[bytes] = []

    def add(self, line: int, event: Event) -> Exchange | None:
        """Take one event; the exchange, when this was its end."""
        self._line = line
        kind = next((kind for kind in _EVENTS if kind in event), None)
        if kind is None:
            if "comment" in event:
                return None
            known = ", ".join(_EVENTS)
            self._refuse(f"none of the events {known} or comment, but {', '.join(event) or '{}'}")
        if (kind == "request") != (self.open is None):
            self._refuse(
                f"a request, but that of line {self.open.line} has no end"
                if self.open is not None
                else f"{kind} outside of an exchange: a request has to come before"
            )
        return _EVENTS[kind](self, event)

    def _refuse(self, what: str) -> NoReturn:
        raise _broken(self._name, self._line, what)

    def _string(self, event: Event, kind: str) -> str:
        value = event[kind]
        if not isinstance(value, str):
            self._refuse(f"the {kind} must be a string, not {value!r:.40}")
        try:
            to_bytes(value)
        except UnicodeEncodeError as exc:
            self._refuse(f"the {kind} has half a character in it: {exc}")
        return value

    def _goes_on(
        self, section: Headers | None = None, message: Asked | Answer | None = None
    ) -> None:
        """End what came before; header lines and a body belong to these from here on."""
        if self._message is not None:
            self._message.body = b"".join(self._body)
        self._body = []
        self._section, self._message = section, message

    def _request(self, event: Event) -> None:
        match = _match_request(self._string(event, "request"))
        if match is None:
            self._refuse('a request is "METHOD URL"')
        self.open = Exchange(Asked(match[1], match[2]), line=self._line)
        self._goes_on(self.open.asked.headers, self.open.asked)

    def _header(self, event: Event) -> None:
        if self._section is None:
            self._refuse("a header after the body")
        self._section.append(self._field(event, "header"))

    def _field(self, event: Event, kind: str) -> tuple[bytes, bytes]:
        match = _match_field(self._string(event, kind))
        if match is None:
            self._refuse(f'a {kind} is "Name: value", on one line')
        return to_bytes(match[1]), to_bytes(match[2].rstrip(" \t"))

    def _add_body(self, event: Event) -> None:
        if self._message is None:
            self._refuse("a body where none can be")
        self._section = None
        self._body.append(self._data(event))

    def _data(self, event: Event) -> bytes:
        if "json" in event:
            style = {name: event.get(name, False) for name in ("spaces", "ascii", "newline")}
            try:
                return _write_json(event["json"], style)
            except RecursionError:  # it takes more of the stack to write than to read
                self._refuse("the json is nested too deeply to be written; use text or base64")
        if "text" in event:
            return to_bytes(self._string(event, "text"))
        if "base64" not in event:
            self._refuse("raw needs text or base64")
        try:
            return base64.b64decode(self._string(event, "base64"), validate=True)
        except (binascii.Error, ValueError) as exc:
            self._refuse(f"this is no base64: {exc}")

    def _stopped(self, event: Event) -> None:
        assert self.open is not None
        self._goes_on()
        self.open.asked.stopped = bool(event["stopped"])

    def _interim(self, event: Event) -> None:
        assert self.open is not None
        match = _match_interim(self._string(event, "interim"))
        if match is None:
            self._refuse('an interim response is "HTTP/1.1 1xx"')
        headers: Headers = []
        self.open.interim.append((int(match[1]), headers))
        self._goes_on(headers)

    def _response(self, event: Event) -> None:
        assert self.open is not None
        match = _match_status(self._string(event, "response"))
        if match is None or (match[2] < "200" and match[2] != "101"):
            self._refuse('a response is "HTTP/1.1 STATUS REASON", other 1xx than 101 are interim')
        version, reason = to_bytes(match[1]), to_bytes(match[3] or "")
        answer = self.open.answer = Answer(version, int(match[2]), reason)
        self._goes_on(answer.headers, answer)

    def _trailer(self, event: Event) -> None:
        assert self.open is not None
        if self.open.answer is None:
            self._refuse("a trailer before the response")
        self._goes_on()
        self.open.answer.trailers.append(self._field(event, "trailer"))

    def _raw(self, event: Event) -> None:
        assert self.open is not None
        if event["raw"] not in ("sent", "received"):
            self._refuse('raw is "sent" or "received"')
        self._goes_on()
        data = self._data(event)
        if data:  # else nothing was sent, which is not written either
            self.open.raw.append((event["raw"], data))

    def _end(self, event: Event) -> Exchange:
        assert self.open is not None
        exchange, self.open = self.open, None
        exchange.end = self._string(event, "end")
        if exchange.end not in (COMPLETE, CUT, LEFT, FAILED):
            self._refuse(f"the end is {COMPLETE}, {CUT}, {LEFT} or {FAILED}")
        if exchange.end == FAILED:
            error = event.get("error")
            if not isinstance(error, str) or error not in FAILURES:
                self._refuse(f"the error is one of {', '.join(FAILURES)}")
            exchange.error = (error, str(event.get("text", "")))
        elif exchange.end == COMPLETE and exchange.answer is None and not exchange.raw:
            self._refuse(f"the exchange is {COMPLETE}, but has no response")
        self._goes_on()
        return exchange


# By the name of an event; `raw` and `end` may have a text of their own, so they come first.
_EVENTS: dict[str, Callable[[_Builder, Event], Exchange | None]] = {
    "raw": _Builder._raw,
    "end": _Builder._end,
    "request": _Builder._request,
    "header": _Builder._header,
    "text": _Builder._add_body,
    "json": _Builder._add_body,
    "base64": _Builder._add_body,
    "stopped": _Builder._stopped,
    "interim": _Builder._interim,
    "response": _Builder._response,
    "trailer": _Builder._trailer,
}
