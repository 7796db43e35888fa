"""Decides how the sending of a request's body goes on once its response has begun.

Owns: when to send, when only to listen, when the caller gets the response, when to give up.
Must not know: sockets, clocks, locks, which version of HTTP it is.

A server may answer before it has read the body. Three kinds of them have to be served alike:

- one that does not want the body, says so (413, 401) and closes, or stops reading. Whoever sends
  on sends in vain, and the reset that follows may overtake the answer;
- one that reads the body to its end, whatever its answer, and ends the answer then: mitmproxy,
  Node's streams. Whoever stops sending waits for ever;
- one that sends its answer while it reads, such as an echo. Whoever does not read meanwhile blocks
  the server, and is blocked by it.

So the body goes on being sent *while the response is read*, until the response is whole or the
server closes (RFC 9112 section 9.5 asks to stop only then). An answer from 400 on goes to the
caller at once, and the reads of its body send; the bodies of others are collected first, up to
EARLY_LIMIT. When the response is whole, an answer that refused the request ends the upload, and any
other one gets the rest of the body for as long as the server takes something of it.

Sources: RFC 9110 section 10.1.1 (Expect); RFC 9112 sections 9.5 and 9.6; RFC 9113 section 8.1 (a
response that ends before its request); psf/requests#2422.
"""

from __future__ import annotations

EARLY_LIMIT = 1024 * 1024
"""Bytes of a response that are held while its request is still being sent. Then the caller gets it
and sends the rest by reading: memory must not depend on the server."""

STALL_LIMIT = 5.0
"""Seconds. When the response is whole and the server has taken nothing of the body for so long, it
will not take the rest. nginx, too, waits 5 s for more of a body that it only throws away."""

CLOSING_PATIENCE = 1.0
"""Seconds without a byte after which a server that has refused the request and said that it will
close is sent more of the body: it waits for that, or it would have closed. Sending sooner could
make its system reset the connection before the answer was read (RFC 9112 section 9.6). The same
goes for a server that was asked with ``Expect`` and gave its answer at once: it need not read the
body, but it may (RFC 9110 section 10.1.1)."""

# What to do next.
SEND = "send"  # and stop sending as soon as there is something to be read
LISTEN = "listen"  # and send nothing, for CLOSING_PATIENCE
FINISH = "finish"  # send the rest: there is nothing more to be read
HAND_OVER = "hand over"  # give the response to the caller, whose reads go on from here
STOP = "stop"  # send no more


class UploadPlan:
    """What to do next with the body of one request.

    Attributes:
        status: of the final response; None until its head was there.
        complete: all of the response has arrived.
        held: bytes of the response that have arrived and that the caller does not have.
        handed_over: the caller has the response.
        stopped: no more of the body is to be sent.
    """

    __slots__ = ("_closing", "_declined", "_ended", "_listened", "complete", "handed_over", "held",
                 "status", "stopped")  # fmt: skip

    def __init__(self) -> None:
        self.status: int | None = None
        self.complete = False
        self.held = 0
        self.handed_over = False
        self.stopped = False
        self._closing = False
        self._declined = False
        self._ended = False
        self._listened = False

    # What has happened

    def answer(self, status: int, closing: bool) -> None:
        """Note the head of the final response, and whether the connection ends with it."""
        self.status = status
        self._closing = closing

    def decline(self) -> None:
        """Note that the final response came in place of a leave to send that was asked for
        (``Expect: 100-continue``)."""
        self._declined = True

    def end(self, complete: bool) -> None:
        """Note that nothing more will come from the server; whether that completes the response."""
        self._ended = True
        self.complete = self.complete or complete

    def listened(self) -> None:
        """Note that nothing came for CLOSING_PATIENCE."""
        self._listened = True

    def stalled(self) -> bool:
        """Note that the server took nothing for the whole of `patience`; False where that is a
        failure of the request, because its response is still to come."""
        self.stopped = self.stopped or self.complete or (self.handed_over and self.is_refused)
        return self.stopped

    # What follows from it

    @property
    def is_refused(self) -> bool:
        """Whether the response says that the body is of no use. A redirect or a success does not,
        unless the server goes away over a redirect, or has been asked before."""
        status = self.status
        if status is None:
            return False
        return self._declined or status >= 400 or (status >= 300 and self._closing)

    def next_step(self) -> str:
        """One of SEND, LISTEN, FINISH, HAND_OVER and STOP."""
        if self.stopped:
            return STOP
        if self.status is None:
            return SEND
        if self.complete:
            return STOP if self.is_refused else FINISH
        if self._ended:
            return STOP
        if not self.handed_over:
            return HAND_OVER if self.is_refused or self.held >= EARLY_LIMIT else SEND
        may_want_none = self._declined or (self._closing and self.is_refused)
        if may_want_none and not self._listened:
            return LISTEN
        return SEND

    def patience(self, timeout: float | None) -> float | None:
        """Seconds in which the server has to take something, where the caller allows `timeout`."""
        if not self.complete:
            return timeout
        return STALL_LIMIT if timeout is None else min(STALL_LIMIT, timeout)


def smaller(first: float | None, second: float | None) -> float | None:
    """The smaller of two timeouts; None stands for no limit."""
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
