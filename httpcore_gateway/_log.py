"""The access log: one line for each request.

Owns: what stands in a line, as text and as JSON, and that nothing a client sends makes two of one;
a handler that writes them. Must not know: where lines go; that is up to the logger
``httpcore_gateway.access``.

A line is made by hand, and given to the logger as a whole: for a small request the search for the
calling function, which `logging` does for each call, costs as much as all the rest.

Values of a query are not shown, as in all texts of `httpcore`: see `httpcore.redact`.

Sources: the access logs of nginx (log_format combined) and Caddy; RFC 8259 (JSON), RFC 3339
(times).
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import Any, TextIO
from urllib.parse import quote

from httpcore.redact import redact_url

from ._record import Record

logger = logging.getLogger("httpcore_gateway.access")

#: Stands for a value that is not there.
NONE = "-"
#: Finds a character that is escaped inside quotes: controls, quotes, backslashes, non-ASCII.
_find_in_quotes = re.compile(r"[^ !#-\[\]-~]").search
#: Finds a character that is escaped in a value without quotes: spaces, too.
_find_in_word = re.compile(r"[^!#-\[\]-~]").search


class AccessLog:
    """Writes the lines.

    Parameters:
        form: ``"text"`` or ``"json"``.

    A text has, in this order: the time of the end; the client's address; method, path and version
    in quotes; the status; the bytes of the response's body; the milliseconds; the upstream; how
    many were tried; the request's id; where something went wrong, ``failure="..."``;
    ``client=left`` for one that did not wait for the end. ``-`` stands for what there is not; in
    place of a method WebSockets have ``websocket``::

        2026-11-30T22:13:02.417Z 192.0.2.1 "GET /a?b=[secure] HTTP/1.1" 200 1234 5.7ms
        upstream=http://127.0.0.1:8001 attempts=1 id=8f4e...

    (in one line). Each JSON object has these keys: ``time``, ``type`` (``http`` or
    ``websocket``), ``client``, ``method``, ``path``, ``version``, ``status``, ``received`` and
    ``sent`` (bytes of the bodies), ``milliseconds``, ``route`` (its place in the settings),
    ``upstream``, ``attempts``, ``request_id``, ``failure`` (a text), ``kind`` (of the failure)
    and ``client_left``. null stands for what there is not.
    """

    def __init__(self, form: str) -> None:
        self._make: Callable[[Record], str] = json_line if form == "json" else text_line

    def write(self, record: Record) -> None:
        """Write the line of a request that has ended."""
        if logger.isEnabledFor(logging.INFO):
            line = self._make(record)
            # Without arguments, logging does not read a % in the line as a format.
            entry = logger.makeRecord(logger.name, logging.INFO, __file__, 0, line, (), None)
            logger.handle(entry)


class LineHandler(logging.Handler):
    """A handler of `logging` that writes lines as they are, without a formatter.

    Those of one round of the event loop are written at once: the system call costs as much as all
    the rest of a line.

    Parameters:
        stream: to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # that will flush

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line at the end of this round; at once where no event loop runs."""
        self._lines.append(record.getMessage())
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
        else:
            if loop is not self._loop:
                self._loop = loop
                loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what is there."""
        self.acquire()
        try:
            lines, self._lines, self._loop = self._lines, [], None
            if lines:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()
        except Exception:  # as StreamHandler does it: a program goes on without its log
            self.handleError(logging.makeLogRecord({"msg": lines[-1]}))
        finally:
            self.release()


def text_line(record: Record) -> str:
    """Return the line for people."""
    scope = record.scope
    client = scope.get("client")
    member = record.member
    line = (
        f"{_now()} {_word(client[0]) if client else NONE}"
        f' "{_quoted(scope.get("method") or scope["type"])}'
        f' {_word(shown_path(scope))} HTTP/{_word(scope.get("http_version", NONE))}"'
        f" {record.status or NONE} {record.sent} {(record.ended - record.began) * 1000:.1f}ms"
        f" upstream={NONE if member is None else _word(member.server.settings.url)}"
        f" attempts={record.attempts} id={_word(record.request_id)}"
    )
    if record.failure:
        line += f' failure="{_quoted(record.failure)}"'
    if record.client_left:
        line += " client=left"
    return line


def json_line(record: Record) -> str:
    """Return the line for programs: an object in ASCII."""
    scope = record.scope
    client = scope.get("client")
    member = record.member
    return (
        f'{{"time":"{_now()}","type":{_string(scope["type"])}'
        f',"client":{_string(client and client[0])},"method":{_string(scope.get("method"))}'
        f',"path":{_string(shown_path(scope))},"version":{_string(scope.get("http_version"))}'
        f',"status":{record.status or "null"},"received":{record.received},"sent":{record.sent}'
        f',"milliseconds":{(record.ended - record.began) * 1000:.3f}'
        f',"route":{"null" if record.route is None else record.route}'
        f',"upstream":{_string(member and member.server.settings.url)}'
        f',"attempts":{record.attempts},"request_id":{_string(record.request_id)}'
        f',"failure":{_string(record.failure)},"kind":{_string(record.kind)}'
        f',"client_left":{"true" if record.client_left else "false"}}}'
    )


def shown_path(scope: Any) -> str:
    """Return path and query as the client has sent them, without what may be secret. A byte that
    is not ASCII is one character."""
    path = scope.get("raw_path")
    target: str = quote(scope["path"], errors="replace") if path is None else path.decode("latin-1")
    query = scope.get("query_string")
    return redact_url(f"{target}?{query.decode('latin-1')}" if query else target)


def _string(value: Any) -> str:
    """Return a string for JSON; null for none and for an empty one."""
    return encode_basestring_ascii(value) if value else "null"


def _quoted(text: str) -> str:
    return text if _find_in_quotes(text) is None else _escaped(text)


def _word(text: str) -> str:
    return text if _find_in_word(text) is None else _escaped(text).replace(" ", "\\x20")


def _escaped(text: str) -> str:
    """Return `text` with what is no plain ASCII as in a literal of Python."""
    text = text.encode("unicode_escape").decode("ascii")  # of backslashes, too
    return text.replace('"', '\\"')


# The last second, and its text: there are many requests in one.
_second = (0, "")


def _now() -> str:
    """Return the time, in UTC and as RFC 3339 has it."""
    global _second
    now = time.time()
    whole = int(now)
    second, text = _second
    if second != whole:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        _second = whole, text  # in one step: other threads may have gateways, too
    return f"{text}.{int((now - whole) * 1000):03d}Z"
