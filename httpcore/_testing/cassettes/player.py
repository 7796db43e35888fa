"""Playing the server's part of a connection from recorded exchanges.

Owns: what is read after what was written. Must not know: which exchange is the right one.

Sources: RFC 9112 (framing), RFC 9110 section 10.1.1 (Expect), RFC 1928 sections 3 and 6 and the
memo of SOCKS 4 (what a proxy says).
"""

from __future__ import annotations

from collections import deque

from ..._core.h1 import encode_chunk
from ..._core.h1_grammar import Headers
from ..._exceptions import MAYBE_PROCESSED
from ...rules import BODYLESS
from .exchange import (
    COMPLETE,
    CUT,
    FAILED,
    FAILURES,
    LEFT,
    Answer,
    CassetteError,
    Exchange,
    NoRecordedAnswer,
    joined,
    with_length,
)
from .matching import Answers
from .requests import SOCKS, Place, RequestReader, Written, looks_like_request


class Live:
    """The result of `Player.next` when the answer has to come from the network."""


LIVE = Live()

# Answers to a SOCKS client: no login is wanted; connected (RFC 1928 sections 3 and 6; SOCKS 4).
_SOCKS_5_HELLO, _SOCKS_5_GRANTED = b"\x05\0", b"\x05\0\0\x01" + bytes(6)
_SOCKS_4_GRANTED = b"\0\x5a" + bytes(6)


class Player:
    """The server's part of one connection, from a cassette.

    A CONNECT succeeds unless its failure was recorded, and so does a SOCKS proxy: a cassette is
    of the origins, whichever way it was recorded and is played.

    Parameters:
        place: where the connection leads.
        answers: where the answers are found.
        live: what they do not know may be asked of the network: `next` gives LIVE then, and the
            shell sends what `forward` gives, reads, and says `heard`.

    Attributes:
        proxied: the connection to the network leads through a proxy by now, so it is not one that
            can be opened again as it was.
        cut: what is read ends because the server closed too early.
    """

    def __init__(self, place: Place, answers: Answers, live: bool = False) -> None:
        self.place = place
        self._answers = answers
        self._may_live = live
        self.proxied = self.cut = False
        self._requests = RequestReader(place)
        self._queue: deque[Written] = deque()  # without an answer, oldest first
        self._pieces: deque[bytes] = deque()  # to be read
        self._ending: bytes | Exception | None = None  # what is read after them
        self._raw = False  # switched: what is written is no HTTP
        self._raw_live = False  # and goes to the network
        self._tunnel = False  # CONNECT has succeeded; what follows is not known yet
        self._begun = False  # something was sent
        self._before = False  # something was answered
        self._preamble = 0  # messages that the client has sent to a SOCKS proxy
        self._forward = bytearray()
        self._forwarding: Written | None = None  # the request whose answer is live
        self._heard_all = False  # and whether it is complete

    @property
    def readable(self) -> bool:
        """Return whether there is something to read, be it the end."""
        return bool(self._pieces) or self._ending is not None

    @property
    def live(self) -> bool:
        """Return whether what is sent goes to the network."""
        if not self._may_live:
            return False
        return self._raw_live or self._preamble > 0 or self._forwarding is not None

    def sent(self, data: bytes) -> None:
        """Take bytes from the client. Raises CassetteError for what is not HTTP/1.1."""
        is_request = looks_like_request(data)
        if self._tunnel and not is_request and self._may_live:
            self._raw = self._raw_live = True
        if self._raw:
            self._forward += data if self._raw_live else b""
            return
        if self._preamble or (data[:1] in SOCKS and not self._begun):
            if not is_request:
                self._greet_proxy(data)
                return
            self._preamble = 0
        self._begun, self._tunnel = True, False
        known = 0 if self._forwarding is None else len(self._forwarding.raw)
        self._queue.extend(self._requests.feed(data))
        if self._forwarding is not None:
            self._forward += self._forwarding.raw[known:]
            self._end_if_done()

    def _greet_proxy(self, data: bytes) -> None:
        self._preamble += 1
        self.proxied = True
        if self._may_live:
            self._forward += data
        elif data[:1] == b"\x04":
            self._pieces.append(_SOCKS_4_GRANTED)
        else:
            self._pieces.append(_SOCKS_5_HELLO if self._preamble == 1 else _SOCKS_5_GRANTED)

    def started_tls(self) -> None:
        """Note that TLS is used from here on."""
        self.place.tls = self._begun = True
        self._tunnel, self._preamble = False, 0

    def next(self, max_bytes: int) -> bytes | Live | None:
        """Return what the client reads: up to `max_bytes` bytes, ``b""`` at the end, LIVE, or None
        while there is nothing.

        Raises NoRecordedAnswer; what was raised when it was recorded; CassetteError where the
        recording ends.
        """
        while not self._pieces:
            if self._ending is not None:
                if isinstance(self._ending, Exception):
                    raise self._ending
                return self._ending
            if self.live:
                return None if self._heard_all else LIVE
            if not self._answer_next():
                return None
        data = self._pieces.popleft()
        if len(data) > max_bytes:
            self._pieces.appendleft(data[max_bytes:])
        return data[:max_bytes]

    def _answer_next(self) -> bool:
        """Answer the request that is due; False when there is none, or none that can be yet."""
        if not self._queue:
            if self._tunnel and self._may_live:  # the other end sends first
                self._raw = self._raw_live = True
            return self.live
        written = self._queue[0]
        if not written.complete and not written.expects:
            return False
        asked = written.asked(self.place)
        found = self._answers.find(asked, partial=not written.complete)
        if found is None and written.method == b"CONNECT" and not self._may_live:
            self._queue.popleft()
            self._open_tunnel()
            self._pieces.append(b"HTTP/1.1 200 OK\r\n\r\n")
        elif found is None and self._may_live:
            self._queue.popleft()
            self._forwarding, self._heard_all = written, False
            self._forward += written.raw
            self.proxied = self.proxied or written.method == b"CONNECT"
        elif found is None:
            raise NoRecordedAnswer(self._answers.explain(asked))
        elif written.complete or found.asked.stopped:
            self._queue.popleft()
            self._play(found, written)
        else:
            written.granted = True
            self._pieces.append(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _open_tunnel(self) -> None:
        self._tunnel = True
        self.place.tls = False

    def _play(self, exchange: Exchange, written: Written) -> None:
        """Make `exchange` what is read next."""
        for status, headers in exchange.interim:
            if status != 100 or not written.granted:
                self._pieces.append(_head(b"HTTP/1.1 %d " % status, headers))
        answer = exchange.answer
        switched = False
        if answer is not None:
            whole = exchange.end == COMPLETE
            data, ends = _framed(answer, written.method, whole)
            self._pieces.append(data)
            switched = answer.status == 101 or (written.method == b"CONNECT" and bool(exchange.raw))
            if (ends or switched) and whole:
                self._ending = b""
        if exchange.lost_keepalive_race and self._before:
            exchange.used = False  # a client that asks again elsewhere gets the same
        self._before = True
        self._raw = switched
        self._pieces.extend(data for way, data in exchange.raw if way == "received" and data)
        if exchange.end == CUT:
            self._ending, self.cut = b"", True
        elif exchange.end == FAILED:
            name, text = exchange.error
            self._ending = FAILURES[name](text)
        elif exchange.end == LEFT:
            self._ending = CassetteError(
                f"there is no more of the answer to {exchange.asked} (line {exchange.line}): when "
                "it was recorded, the client closed the connection here"
            )
            self._ending.phase = MAYBE_PROCESSED

    # The network's part

    def forward(self) -> bytes:
        """Take what has to be sent to the network."""
        data = bytes(self._forward)
        self._forward.clear()
        return data

    def heard(self, idle: bool, switched: bool) -> None:
        """Note that something was read from the network.

        Parameters:
            idle: with it the answer is complete.
            switched: from here on it is no HTTP.
        """
        if switched:
            self._raw = self._raw_live = True
        elif self._forwarding is not None:
            self._heard_all = idle
            self._end_if_done()

    def _end_if_done(self) -> None:
        """Note the end of an exchange with the network, where both sides have sent all."""
        written = self._forwarding
        if written is not None and self._heard_all and written.complete:
            self._forwarding, self._heard_all = None, False
            if written.method == b"CONNECT":
                self._open_tunnel()


def _head(first: bytes, headers: Headers) -> bytes:
    lines = [first, *(b"%b: %b" % line for line in headers), b"", b""]
    return b"\r\n".join(lines)


def _framed(answer: Answer, method: bytes, whole: bool) -> tuple[bytes, bool]:
    """Return an answer as it goes over the wire, and whether its end is that of the connection.

    The length is that of the body that is there: an editor of a cassette need not count.
    """
    headers, body = answer.headers, answer.body
    first = b"%b %d %b" % (answer.version, answer.status, answer.reason)
    coding = joined(headers, b"transfer-encoding").lower()
    length = joined(headers, b"content-length")
    if answer.status in BODYLESS or answer.status == 101 or method in (b"HEAD", b"CONNECT"):
        if method != b"CONNECT" or answer.status // 100 == 2:
            return _head(first, headers), False
    if coding:
        framed = encode_chunk(body)
        if whole:
            framed += _head(b"0", answer.trailers)
        return _head(first, headers) + framed, False
    if not length:
        return _head(first, headers) + body, True
    if whole:
        return _head(first, with_length(headers, len(body))) + body, False
    # Filtering may have made what there is of it longer than all of it was.
    announced = int(length.split(b",")[0]) if length.split(b",")[0].isdigit() else len(body)
    return _head(first, headers) + body[: max(0, announced - 1)], False
