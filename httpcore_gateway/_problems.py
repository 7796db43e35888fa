"""The gateway's own responses, as problem details.

Owns: their fields and texts. Must not know: ASGI, upstreams. A text never has the address of an
upstream, a path of the file system or the text of an exception in it.

Sources: RFC 9457 (problem details), RFC 9110 sections 15 (status codes) and 6.6.1 (Date).
"""

from __future__ import annotations

import json
import math
from http import HTTPStatus

from ._date import make_date

CONTENT_TYPE = b"application/problem+json"

#: Statuses that `http.HTTPStatus` of some Python versions calls by an older name.
_TITLES = {413: "Content Too Large"}

#: The detail of the response to CONNECT.
NO_TUNNELS = "tunnels are not opened here"


class Refused(Exception):
    """A request that the client has to change before it can be passed on.

    Attributes:
        status: of the response.
        reason: what is wrong, for the client.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Problem:
    """A response that the gateway gives by itself.

    Attributes:
        status: its code.
        detail: what happened and what can be done, for the client.
        retry_after: seconds until another try makes sense; None where that is not known.
        closes: the client's connection has to be closed afterwards.
        allow: the methods that can be used, where one was refused.
    """

    __slots__ = ("allow", "closes", "detail", "retry_after", "status")

    def __init__(
        self,
        status: int,
        detail: str,
        retry_after: float | None = None,
        closes: bool = False,
        allow: bytes = b"",
    ) -> None:
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.closes = closes
        self.allow = allow


def encode_problem(problem: Problem, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the fields and the body of the response for `problem`; 204 has no body."""
    fields = [
        # The server that runs the gateway adds none: that of an upstream's response is passed on.
        (b"date", make_date()),
        (b"x-request-id", request_id.encode("ascii")),
    ]
    if problem.retry_after is not None:
        fields.append((b"retry-after", b"%d" % max(1, math.ceil(problem.retry_after))))
    if problem.allow:
        fields.append((b"allow", problem.allow))
    if problem.status == HTTPStatus.NO_CONTENT:  # all is well
        return fields, b""
    title = _TITLES.get(problem.status) or HTTPStatus(problem.status).phrase
    document = {
        "type": "about:blank",  # RFC 9457 section 4.2.1: no more than the status says
        "title": title,
        "status": problem.status,
        "detail": problem.detail,
        "request_id": request_id,
    }
    body = json.dumps(document).encode("ascii")
    fields += [
        (b"content-type", CONTENT_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    return fields, body


def encode_message(problem: Problem, request_id: str) -> bytes:
    """Return the whole response for `problem`, after which the connection is closed, where no ASGI
    server writes it."""
    fields, body = encode_problem(problem, request_id)
    fields.append((b"connection", b"close"))
    phrase = HTTPStatus(problem.status).phrase.encode("ascii")
    lines = [b"HTTP/1.1 %d %s" % (problem.status, phrase)]
    lines += [name + b": " + value for name, value in fields]
    return b"\r\n".join([*lines, b"", body])
