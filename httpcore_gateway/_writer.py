"""A whole response in one step, under the command's own server.

Owns: the bytes of a response that is complete, and uvicorn's bookkeeping for it. Must not know:
where the response is from.

ASGI gives a response to the server in two messages at least, and each of them is a coroutine, a
dict and a number of checks. A small response that is there as a whole is written at once instead:
the same bytes that uvicorn's ``send`` would write, after the same checks. Whatever is not plain is
declined before anything has happened, and goes the way of ASGI, as all responses do under other
servers and behind middleware.

Source: uvicorn, `protocols.http.httptools_impl`, class RequestResponseCycle.
"""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Any

from ._asgi import Send
from ._fields import Fields, are_well_formed

#: Bytes of a piece of a body that are copied to be sent with the head: a large one costs less in a
#: write of its own.
MAX_JOINED = 16384
#: Fields that decide how the connection goes on.
_OF_THE_CONNECTION = frozenset((b"connection", b"transfer-encoding"))


def write_response(send: Send, status: int, fields: Fields, body: bytes) -> bool:
    """Write a response as a whole and end it; return False where it has to go by `send`.

    Parameters:
        send: ASGI's, which shows the server.
        fields: with names in lower case.
        body: at most MAX_JOINED bytes.
    """
    cycle: Any = getattr(send, "__self__", None)
    write = getattr(getattr(cycle, "transport", None), "write_whole", None)
    if write is None or not _is_plain(cycle, status):
        return False
    names = [name for name, _ in fields]
    values = [value for _, value in fields]
    if names.count(b"content-length") != 1 or not _OF_THE_CONNECTION.isdisjoint(names):
        return False
    if values[names.index(b"content-length")] != b"%d" % len(body):
        return False
    if not are_well_formed(names, values):
        return False
    lines = [b"%b: %b\r\n" % field for field in fields]
    write(b"".join((_status_line(status), *lines, b"\r\n", body)))
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()
    return True


def _is_plain(cycle: Any, status: int) -> bool:
    """Return whether the response has a body, and the connection stays open and can be written to.

    Parameters:
        cycle: uvicorn's object for the request.
    """
    return not (
        cycle.response_started
        or cycle.disconnected
        or cycle.waiting_for_100_continue
        or cycle.flow.write_paused
        or not cycle.keep_alive
        or cycle.access_log
        or cycle.default_headers
        or status in (204, 304)
        or cycle.scope["method"] == "HEAD"
    )


@lru_cache(600)
def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")
