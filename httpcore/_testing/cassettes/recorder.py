"""Listening to a connection: which exchanges pass by on it.

Owns: where each answer ends, and what an exchange that failed is worth. Must not know: what
becomes of an exchange.

Sources: RFC 9112 sections 6.3 (the length of a body) and 9.3 (several requests on a connection),
RFC 9110 sections 7.8 (upgrades) and 9.3.6 (CONNECT).
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import replace

from ..._core.h1 import ChunkedReader, Head, HeadReader
from ..._core.h1_grammar import Headers
from ..._exceptions import RemoteProtocolError
from .exchange import COMPLETE, CUT, FAILED, FAILURES, LEFT, Answer, Asked, Exchange
from .requests import SOCKS, Place, RequestReader, Written, looks_like_request


class _Open:
    """An exchange that is under way.

    Attributes:
        written: its request, and `asked`, the same as it was when it began.
        head: the head of its final response, once it is there.
        silent: nothing came.
        broken: what came is no HTTP that could be read, and is kept as it is.
        failure: what the network did last, if it was a failure.
        raw: what came after the protocol was switched, or instead of HTTP.
    """

    def __init__(self, written: Written, asked: Asked) -> None:
        self.written = written
        self.asked = asked
        self.interim: list[tuple[int, Headers]] = []
        note = self.interim.append  # not `self`: that would be a cycle, with all bytes in it
        self._reader = HeadReader(
            written.method,
            written.headers,
            informational=lambda status, headers: note((status, headers)),
        )
        self.head: Head | None = None
        self._body = bytearray()
        self._received = bytearray()
        self.silent = True
        self.broken = False
        self.failure: tuple[str, str] | None = None
        self.raw: list[tuple[str, bytes]] = []

    def receive(self, data: bytes) -> bytes | None:
        """Take bytes of the answer. When they end it: the bytes after it."""
        self.failure = None
        self.silent = False
        if self.head is None or type(self.head.body) is ChunkedReader:  # it may turn out broken
            self._received += data
        if self.broken:
            return None
        try:
            if self.head is None:
                self.head = self._reader.feed(data)
                if self.head is None:
                    return None
                data = self.head.rest
                if self.head.switched:
                    return data
            body = self.head.body
            if data:
                self._body += body.feed(data)
        except RemoteProtocolError:
            self.broken = True
            return None
        return body.excess if body.done else None

    def ends_with_connection(self) -> bool:
        """Note the end of the connection; whether it is the proper end of the answer, too."""
        if self.head is None or self.broken:
            return False
        body = self.head.body
        try:
            body.feed_eof()
        except RemoteProtocolError:
            if type(body) is ChunkedReader:
                body.lenient = True
                with contextlib.suppress(RemoteProtocolError):
                    body.feed_eof()
                    self.broken = True  # to some readers it is complete: it is kept as it is
            return False
        return True

    def finish(self, end: str) -> Exchange:
        """Return the exchange, which has come to this end."""
        body, stopped = bytes(self.written.body), not self.written.complete
        asked = replace(self.asked, body=body, stopped=stopped)
        exchange = Exchange(asked, self.interim, raw=self.raw, end=end)
        if end == FAILED and self.failure is not None:
            exchange.error = self.failure
        head = self.head
        if self.broken or (head is None and not self.silent):
            exchange.interim = []
            exchange.raw = [("received", bytes(self._received))]
        elif head is not None:
            exchange.answer = Answer(
                head.http_version,
                head.status,
                head.reason,
                head.headers,
                bytes(self._body),
                head.body.trailers,
            )
        return exchange


class Recorder:
    """Listens to one connection and says which exchanges have ended.

    Each method takes what happened and gives the exchanges that it ended, unfiltered.

    Parameters:
        place: where the connection leads.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._requests = RequestReader(place)
        self._waiting: deque[_Open] = deque()  # without their whole answer, oldest first
        self._raw: _Open | None = None  # switched: what follows is no HTTP
        self._tunnel: _Open | None = None  # CONNECT has succeeded; what follows is not known yet
        self._begun = False  # something was sent
        self._preamble = False  # a SOCKS proxy is being talked to
        self._before = False  # an exchange has ended

    @property
    def idle(self) -> bool:
        """Return whether no exchange is under way."""
        return not self._waiting and self._raw is None

    @property
    def switched(self) -> bool:
        """Return whether the connection is not HTTP any more."""
        return self._raw is not None

    def sent(self, data: bytes) -> list[Exchange]:
        """Take bytes from the client. Call it before they are sent: it refuses what is not
        HTTP/1.1, with CassetteError."""
        if self._tunnel is not None:
            if looks_like_request(data):
                self._tunnel = None
            else:
                self._raw, self._tunnel = self._tunnel, None
        if self._raw is not None:
            self._raw.raw.append(("sent", data))
            return []
        if self._preamble or (data[:1] in SOCKS and not self._begun):
            self._preamble = not looks_like_request(data)
            if self._preamble:
                return []
        self._begun = True
        done = []
        for written in self._requests.feed(data):
            if self._waiting and self._waiting[0].broken:  # then it is over, wherever it ended
                done.append(self._finish(self._waiting.popleft(), COMPLETE))
            self._waiting.append(_Open(written, written.asked(self.place)))
        return done

    def received(self, data: bytes) -> list[Exchange]:
        """Take bytes from the server."""
        if self._tunnel is not None:  # it sends first, so it is neither HTTP nor TLS
            self._raw, self._tunnel = self._tunnel, None
        if self._raw is not None:
            self._raw.failure = None
            self._raw.raw.append(("received", data))
            return []
        done = []
        rest: bytes | None = data
        while rest and self._waiting:  # unasked bytes are no answer
            current = self._waiting[0]
            rest = current.receive(rest)
            if rest is None:
                break
            self._waiting.popleft()
            if current.head is not None and current.head.switched:
                self._switch(current, rest)
                break
            done.append(self._finish(current, COMPLETE))
        return done

    def _switch(self, current: _Open, rest: bytes) -> None:
        self.place.tls = False if current.written.method == b"CONNECT" else self.place.tls
        if rest:
            current.raw.append(("received", rest))
        if current.written.method == b"CONNECT" and not rest:
            self._tunnel = current
        else:
            self._raw = current

    def started_tls(self) -> None:
        """Note that TLS is used from here on, to the proxy or to the origin."""
        self._tunnel = None  # a way to the origin, and no exchange with it
        self._begun, self._preamble = True, False
        self.place.tls = True

    def ended(self, clean: bool = True) -> list[Exchange]:
        """Note that the server closed the connection.

        Parameters:
            clean: False under TLS when it did not say goodbye, so that what came may be cut off.
        """
        if self._raw is not None:
            current, self._raw = self._raw, None
            return [self._finish(current, COMPLETE)]
        if not self._waiting:
            return []
        current = self._waiting[0]
        self._waiting.clear()  # what was asked after it has no answer, and never was asked for
        if current.ends_with_connection() and clean:
            return [self._finish(current, COMPLETE)]
        return self._if_telling(current, CUT)

    def failed(self, exc: BaseException) -> None:
        """Note that the network failed, or was too slow for the client."""
        current = self._raw or (self._waiting[0] if self._waiting else None)
        if current is not None and type(exc).__name__ in FAILURES:
            current.failure = (type(exc).__name__, str(exc))

    def closed(self) -> list[Exchange]:
        """Note that the client closed the connection."""
        current = self._raw or (self._waiting[0] if self._waiting else None)
        self._raw = self._tunnel = None
        self._waiting.clear()
        if current is None:
            return []
        if current.failure is not None:
            return self._if_telling(current, FAILED)
        if current.silent:
            return []  # nothing came of it
        return [self._finish(current, COMPLETE if current.broken else LEFT)]

    def _if_telling(self, current: _Open, end: str) -> list[Exchange]:
        """Return an exchange that failed, unless that says nothing about the server."""
        before = self._before
        exchange = self._finish(current, end)
        return [] if before and exchange.lost_keepalive_race else [exchange]

    def _finish(self, current: _Open, end: str) -> Exchange:
        self._before = True
        return current.finish(end)
