"""The attempts of a dial script: which call comes next, and how long it may take.

Owns: the time of each attempt, the times of the steps, and which call each step is. Must not know:
the order of steps (`_core.dial`), clocks (`now` is passed in), how a call is made. A shell asks
for a call, makes it, and reports its result or failure.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .._exceptions import TimeoutException
from .._timings import Opening
from .deadline import DeadlineMath
from .dial import Dialed, OpenTCP, OpenUnix, Plan, Sleep, StartTLS, Step, dial
from .http_proxy import Read, Rename, Resolve, TraceEvent, Write

# Seconds that a step gets at the least: a deadline that has just passed should fail in the
# step, with its error, and zero would mean "do not block" to a socket.
MIN_STEP = 0.001

# The steps that give a stream.
OPENING = (OpenTCP, OpenUnix, StartTLS)


class Call(NamedTuple):
    """The next step of a shell.

    Attributes:
        stream: whose method it is; None for the backend's.
        method: its name; ``"trace"`` for a call of the trace itself.
        arguments: by name, in the order of the method's parameters where `event` is None: such a
            call is made by position.
        event: how the trace names it, as httpcore 1.0.9 does; None where it is not traced.
        protocols: to offer by ALPN before it is made, see `StartTLS`.
        closes: a stream of an attempt that has failed, to be closed first; or None.
    """

    stream: object
    method: str
    arguments: dict[str, Any]
    event: str | None = None
    protocols: tuple[str, ...] | None = None
    closes: Any = None


class DialAttempts:
    """One run of the dial script.

    Parameters:
        plan: what to open.
        timeout: seconds for each attempt; None for no limit.
        deadline: ends all attempts together.
        opening: gets the times of the steps.

    Attributes:
        dialed: the result, once there is one.
        stream: the last one that was opened: to be closed when dialling ends by an exception.

    Raises what `dial` raises for a plan that cannot be carried out; so do `succeeded` and `failed`
    when the script gives up.
    """

    def __init__(
        self,
        plan: Plan,
        timeout: float | None,
        deadline: DeadlineMath | None = None,
        opening: Opening | None = None,
    ) -> None:
        self.dialed: Dialed | None = None
        self.stream: Any = None
        self._timeout = timeout
        self._deadline = deadline
        self._opening = Opening() if opening is None else opening
        self._script = dial(plan)
        self._end: float | None = None  # of this attempt
        self._is_fresh = True  # an attempt begins with the next step
        self._began = 0.0  # the step
        self._granted = 0.0  # seconds that it may take
        self._step: Step = next(self._script)

    def next_call(self, now: float) -> Call:
        """Begin the next step; return the call that it is."""
        step, left, deadline = self._step, self._timeout, self._deadline
        if left is not None:
            if self._is_fresh:
                self._end = now + left
            elif self._end is not None:
                left = max(MIN_STEP, self._end - now)
        if deadline is not None:
            left = max(MIN_STEP, deadline.left_at(now, left))
            if type(step) is Sleep:
                step = Sleep(min(step.seconds, left))
        if type(step) is Read and step.patience is not None:
            left = step.patience if left is None else min(left, step.patience)
        self._is_fresh = type(step) is Sleep
        self._began, self._granted = now, step.seconds if type(step) is Sleep else left or 0.0
        call = to_opening_call(step, left) if type(step) in OPENING else to_call(step, left)
        if type(step) is Sleep and self.stream is not None:
            # The attempt before this pause failed in a proxy, after its stream was opened.
            call, self.stream = call._replace(closes=self.stream), None
        return call

    def broken(self, result: object) -> list[Any]:
        """Return the streams to close after a failure of this step, which has given `result`."""
        if type(self._step) not in OPENING:
            return []
        streams = (result, getattr(self._step, "stream", None))
        return [stream for stream in streams if stream is not None]

    def succeeded(self, result: object, now: float) -> None:
        """Go on with the result of the call."""
        step = self._step
        if type(step) in OPENING:
            self.stream = result
        note_time(self._opening, step, result, now - self._began)
        if self._deadline is not None and type(step) is Sleep:
            self._deadline.count_timeout(self._began, self._granted, now)
        del step  # it may be a trace event that names what is raised now
        self._go_on(result)

    def _go_on(self, result: object) -> None:
        try:
            self._step = self._script.send(result)
            while type(self._step) is Rename:  # nothing that a shell has to do
                if hasattr(self._step.stream, "peer"):
                    self._step.stream.peer = self._step.peer
                self._step = self._script.send(None)
        except StopIteration as stop:
            self.dialed = stop.value
        except BaseException:
            del self._step  # it may be a trace event that names what is raised
            raise

    def failed(self, exc: Exception, now: float) -> None:
        """Go on after a failure of the call."""
        if self._deadline is not None and isinstance(exc, TimeoutException):
            self._deadline.count_timeout(self._began, self._granted, now)
        try:
            self._step = self._script.throw(exc)
        finally:
            del exc  # else it and this frame would keep each other
        self._is_fresh = type(self._step) in (OpenTCP, OpenUnix, Resolve)


def note_time(opening: Opening, step: Step, result: Any, spent: float) -> None:
    """Add the time of a step to the phase that it belongs to."""
    if type(step) is StartTLS:
        opening.tls = (opening.tls or 0.0) + spent
    elif type(step) is Resolve:
        opening.dns = (opening.dns or 0.0) + spent
    elif type(step) is not Sleep:
        looked_up = result.get_extra_info("lookup_time") if type(step) is OpenTCP else None
        if looked_up is not None:
            opening.dns = (opening.dns or 0.0) + looked_up
            spent -= looked_up
        opening.connect += max(0.0, spent)


def to_call(step: Step, timeout: float | None) -> Call:
    """Return the call that carries a step out within `timeout` seconds."""
    if type(step) is Read:
        return Call(step.stream, "read", {"max_bytes": step.max_bytes, "timeout": timeout})
    if type(step) is Write:
        return Call(step.stream, "write", {"buffer": step.data, "timeout": timeout})
    if type(step) is TraceEvent:
        return Call(None, "trace", {"event": step.event, "details": step.details})
    if type(step) is Sleep:
        return Call(None, "sleep", {"seconds": step.seconds}, "connection.retry")
    if type(step) is Resolve:
        arguments = {"host": step.host, "port": step.port, "timeout": timeout}
        return Call(None, "resolve", arguments, "connection.resolve")
    return to_opening_call(step, timeout)


def to_opening_call(step: Step, timeout: float | None) -> Call:
    """As `to_call`, for the steps that give a stream."""
    if type(step) is OpenTCP:
        arguments = {
            "host": step.host,
            "port": step.port,
            "local_address": step.local_address,
            "timeout": timeout,
            "socket_options": step.socket_options,
        }
        return Call(None, "connect_tcp", arguments, f"{step.room}.connect_tcp")
    if type(step) is OpenUnix:
        arguments = {
            "path": step.path,
            "timeout": timeout,
            "socket_options": step.socket_options,
        }
        name = "connect_unix_socket"
        return Call(None, name, arguments, f"connection.{name}")
    assert type(step) is StartTLS
    arguments = {
        "ssl_context": step.ssl_context,
        "server_hostname": step.server_hostname,
        "timeout": timeout,
    }
    return Call(step.stream, "start_tls", arguments, f"{step.room}.start_tls", step.protocols)
