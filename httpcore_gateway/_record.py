"""The facts of one request, for the log and the figures.

Owns: the object that an exchange fills in, and that the log and the counters read. Must not know:
how it is shown (`_log`, `_counters`).
"""

from __future__ import annotations

import itertools
import secrets
from typing import Any

from ._asgi import Scope
from ._balance import Member

#: Kinds of failures, for figures: of the request itself, or of a client that does not go on,
BAD_REQUEST, BODY_REFUSED, NO_ROUTE = "bad_request", "body_refused", "no_route"
CLIENT_TIMEOUT = "client_timeout"
#: of upstreams that take no request,
QUEUE_FULL, QUEUE_TIMEOUT, BREAKER_OPEN = "queue_full", "queue_timeout", "breaker_open"
#: of an upstream that was asked, before it answered
CONNECT_ERROR, CONNECT_TIMEOUT = "connect_error", "connect_timeout"
NETWORK_ERROR, TIMEOUT, BAD_RESPONSE = "network_error", "timeout", "bad_response"
#: and after that,
BROKEN_RESPONSE = "broken_response"
#: of the server that runs the gateway, and any other.
CANCELLED, OTHER = "cancelled", "other"
KINDS = (
    BAD_REQUEST, BODY_REFUSED, NO_ROUTE, CLIENT_TIMEOUT, QUEUE_FULL, QUEUE_TIMEOUT, BREAKER_OPEN,
    CONNECT_ERROR, CONNECT_TIMEOUT, NETWORK_ERROR, TIMEOUT, BAD_RESPONSE, BROKEN_RESPONSE,
    CANCELLED, OTHER,
)  # fmt: skip


class Record:
    """The facts of one request.

    Attributes:
        scope: ASGI's.
        request_id: stands in the response, in problem details and in the log.
        began: when its head was there, by the clock of the event loop.
        ended: when the response was complete or given up; 0.0 before.
        route: the place of the route in the settings; None where none fits.
        member: the upstream that it was passed to last; None for none.
        attempts: how often it was passed to an upstream.
        status: of the response; 0 where the client got none.
        received: bytes of the request's body that came.
        sent: bytes of the response's body that were given to the server.
        failure: why there is no whole response, or why it is one of the gateway's own: a text for
            the log, which may name upstreams; empty where all went well, with another upstream
            too.
        kind: of the failure, one of `KINDS`; empty where all went well.
        client_left: the client did not wait for the end.
    """

    __slots__ = ("attempts", "began", "client_left", "ended", "failure", "kind", "member",
                 "received", "request_id", "route", "scope", "sent", "status")  # fmt: skip

    def __init__(self, scope: Scope, request_id: str, began: float) -> None:
        self.scope: Any = scope
        self.request_id = request_id
        self.began = began
        self.ended = 0.0
        self.route: int | None = None
        self.member: Member | None = None
        self.attempts = 0
        self.status = 0
        self.received = 0
        self.sent = 0
        self.failure = ""
        self.kind = ""
        self.client_left = False

    def fail(self, kind: str, failure: str) -> None:
        """Note why there is no whole response of an upstream."""
        self.kind = kind
        self.failure = failure

    def recover(self) -> None:
        """Note that an upstream answers, whatever others did before."""
        self.kind = self.failure = ""


class RequestIds:
    """Makes identifiers that no other process and no earlier run has made.

    Within a process they are numbered. The numbers begin at random, so that an identifier does not
    show how many requests there were.
    """

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count(secrets.randbelow(1 << 24))

    def make(self) -> str:
        """Return a new one."""
        return f"{self._prefix}{next(self._numbers):08x}"


#: Characters of an identifier that a trusted proxy gave; longer ones are replaced.
MAX_ID = 128


def accepts_id(value: bytes) -> bool:
    """Return whether an identifier can stand in a log and a header as it is."""
    return 0 < len(value) <= MAX_ID and all(
        48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 or c in b"-._~:=+/@" for c in value
    )
