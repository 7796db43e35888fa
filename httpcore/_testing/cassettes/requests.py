"""Reading the requests that a client writes.

Owns: where a request ends, and which URL it is for. Must not know: answers.

Sources: RFC 9112 section 3.2 (the forms of a request target), RFC 9113 section 3.4 (how HTTP/2
begins), RFC 1928 (SOCKS 5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote

import h11

from ..._core.h1 import MAX_HEAD
from ..._core.h1_grammar import Headers
from .exchange import Asked, CassetteError, joined

PREFACE = b"PRI * HTTP/2.0\r\n"
"""How HTTP/2 begins (RFC 9113 section 3.4)."""

looks_like_request = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+ [!-~]+ HTTP/1\.[01]\r\n").match
SOCKS = (b"\x04", b"\x05")  # how a connection to a SOCKS proxy begins; no method does


class Place:
    """The place that a connection leads to, and so the URLs of its requests.

    Parameters:
        authority: host and port, for requests without a Host.
        uds: path of the Unix socket, where it is one.

    Attributes:
        tls: whether the requests go over TLS to where they are for.
    """

    def __init__(self, authority: str, uds: str | None = None) -> None:
        self.authority = authority
        self.uds = uds
        self.tls = False

    def __str__(self) -> str:
        return self.authority

    def url(self, written: Written) -> str:
        """Return the URL that `written` asks for, whichever way it goes there."""
        target = written.target.decode("ascii")
        if written.method == b"CONNECT":
            return target
        if target[:1] not in "/*":
            return target  # in absolute form, for a proxy
        if self.uds is not None:
            return f"http+unix://{quote(self.uds, safe='')}{target}"
        host = joined(written.headers, b"host").decode("latin-1") or self.authority
        return f"{'https' if self.tls else 'http'}://{host}{target}"


@dataclass
class Written:
    """A request as it is being written: its head is complete, its body may not be.

    Attributes:
        raw: its bytes so far, as they are on the wire.
        granted: we sent "100 Continue".
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytearray = field(default_factory=bytearray)
    raw: bytearray = field(default_factory=bytearray)
    complete: bool = False
    granted: bool = False

    @property
    def expects(self) -> bool:
        """Return whether it waits for the server's leave before it sends its body."""
        return not self.granted and joined(self.headers, b"expect").lower() == b"100-continue"

    def asked(self, place: Place) -> Asked:
        """Return the request, as far as it was written, on a connection to this place."""
        url = place.url(self)
        return Asked(
            self.method.decode("ascii"), url, self.headers, bytes(self.body), not self.complete
        )


class RequestReader:
    """Cuts what a client writes into requests.

    Parameters:
        place: for error texts.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._current: Written | None = None
        self._begin()

    def _begin(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._pending = bytearray()  # what came of a head that is not complete
        self._current = None

    def feed(self, data: bytes) -> list[Written]:
        """Take bytes; the requests whose head they complete. Bodies grow as they come.

        Raises CassetteError: this is no HTTP/1.1.
        """
        found: list[Written] = []
        while data:
            data = self._feed(data, found)
        return found

    def _feed(self, data: bytes, found: list[Written]) -> bytes:
        """Read as far as the end of one request; the bytes after it."""
        raw = self._pending if self._current is None else self._current.raw
        raw += data
        try:
            self._h11.receive_data(data)
            while True:
                event = self._h11.next_event()
                if type(event) is h11.Request:
                    if event.http_version[:1] != b"1":
                        raise self._refuse(bytes(raw), "its version")
                    headers = event.headers.raw_items()
                    self._current = Written(event.method, event.target, headers, raw=raw)
                    self._pending = bytearray()
                    found.append(self._current)
                elif type(event) is h11.Data:
                    assert self._current is not None
                    self._current.body += event.data
                else:
                    break
        except h11.RemoteProtocolError as exc:
            # Not from `exc`: its text quotes the line at fault, which may hold a secret.
            raise self._refuse(bytes(raw), str(exc).partition(":")[0]) from None
        if type(event) is not h11.EndOfMessage:
            return b""
        assert self._current is not None
        rest = self._h11.trailing_data[0]
        if rest:
            del raw[-len(rest) :]
        self._current.complete = True
        self._begin()
        return rest

    def _refuse(self, data: bytes, why: str) -> CassetteError:
        if data.startswith(PREFACE[: len(data)]):
            what = "HTTP/2, and cassettes are of HTTP/1.1: use http1=True and http2=False"
        else:
            what = f"no HTTP/1.1 request ({why}); it begins with {data.split(b' ')[0][:16]!r}"
        return CassetteError(
            f"cannot record or replay the connection to {self._place}: it is {what}"
        )
