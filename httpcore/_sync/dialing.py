"""Carrying out the dial script with blocking calls.

Owns: the clock of each attempt, and which call each step of the script is. Must not know: the order
of steps (that is `_core.dial`), what is done with the connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._backends.base import NetworkBackend
from .._backends.clock import Deadline
from .._core.dial import Dialed, OpenTCP, OpenUnix, Plan, Sleep, StartTLS, Step, dial
from .._core.http_proxy import (
    Read,
    Rename,
    Resolve,
    Tell,
    Write,
)
from .._exceptions import (
    TimeoutException,
)
from .._ssl import offer
from .._timings import Opening
from .._trace import Trace

if TYPE_CHECKING:
    pass

# Seconds that a step gets at the least: a deadline that has just passed should fail in the
# step, with its error, and zero would mean "do not block" to a socket.
MIN_STEP = 0.001


# The steps that give a stream.
OPENING = (OpenTCP, OpenUnix, StartTLS)


def carry_out(
    plan: Plan,
    backend: NetworkBackend,
    timeout: float | None,
    trace: Trace | None,
    deadline: Deadline | None = None,
    watch: Callable[[Any], None] | None = None,
    opening: Opening | None = None,
) -> Dialed:
    """Run the dial script with blocking calls; each attempt has `timeout` seconds in all, and
    all of them together have until `deadline`. `watch` is called before each step, with the
    stream so far; what it raises ends it. The times of the steps are added to `opening`."""
    script = dial(plan)
    end = None  # of this attempt
    fresh = True  # an attempt begins with the next step
    stream = None  # the last that was opened, to be closed when something fails
    step = next(script)
    try:
        while True:
            left = timeout
            if timeout is not None:
                if fresh:
                    end = time.monotonic() + timeout
                elif end is not None:
                    left = max(MIN_STEP, end - time.monotonic())
            if deadline is not None:
                left = max(MIN_STEP, deadline.left(left))
                if type(step) is Sleep:
                    step = Sleep(min(step.seconds, left))
            if type(step) is Read and step.patience is not None:
                left = step.patience if left is None else min(left, step.patience)
            fresh = type(step) is Sleep
            if watch is not None:
                watch(stream)
            began = time.monotonic()
            try:
                result = _carry_out_step(step, backend, left, trace)
                if type(step) in OPENING:
                    stream = result
            except Exception as exc:
                if deadline is not None and isinstance(exc, TimeoutException):
                    deadline.timed_out(began, left or 0.0)
                step = script.throw(exc)
                fresh = type(step) in (OpenTCP, OpenUnix, Resolve)
            else:
                if opening is not None:
                    _note(opening, step, result, time.monotonic() - began)
                if deadline is not None and type(step) is Sleep:
                    deadline.timed_out(began, step.seconds)
                step = script.send(result)
    except StopIteration as stop:
        dialed: Dialed = stop.value
        return dialed
    except BaseException:
        if stream is not None:
            stream.close()
        raise


def _note(opening: Opening, step: Step, result: Any, spent: float) -> None:
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


def _carry_out_step(
    step: Step, backend: NetworkBackend, timeout: float | None, trace: Trace | None
) -> Any:
    if type(step) is Read:
        return step.stream.read(step.max_bytes, timeout)
    if type(step) is Write:
        return step.stream.write(step.data, timeout)
    if type(step) is Tell:
        return None if trace is None else trace(step.event, step.details)
    if type(step) is Rename:
        if hasattr(step.stream, "peer"):
            step.stream.peer = step.peer
        return None
    name, arguments, call = _as_call(step, backend, timeout)
    result = None
    try:
        if trace is not None:
            trace(f"{name}.started", arguments)
        if type(step) is StartTLS:
            offer(step.ssl_context, step.protocols)
        result = call(**arguments)
        if trace is not None:
            trace(f"{name}.complete", {"return_value": result})
        return result
    except BaseException as exc:
        if type(step) in OPENING:
            for stream in (result, getattr(step, "stream", None)):
                if stream is not None:
                    stream.close()
        if trace is not None:
            trace(f"{name}.failed", {"exception": exc})
        raise


def _as_call(
    step: Step, backend: NetworkBackend, timeout: float | None
) -> tuple[str, dict[str, Any], Any]:
    """A step as trace name, arguments, and what takes them; names as in httpcore 1.0.9."""
    if type(step) is OpenTCP:
        arguments = {
            "host": step.host,
            "port": step.port,
            "local_address": step.local_address,
            "timeout": timeout,
            "socket_options": step.socket_options,
        }
        return f"{step.room}.connect_tcp", arguments, backend.connect_tcp
    if type(step) is OpenUnix:
        arguments = {
            "path": step.path,
            "timeout": timeout,
            "socket_options": step.socket_options,
        }
        return "connection.connect_unix_socket", arguments, backend.connect_unix_socket
    if type(step) is StartTLS:
        arguments = {
            "ssl_context": step.ssl_context,
            "server_hostname": step.server_hostname,
            "timeout": timeout,
        }
        return f"{step.room}.start_tls", arguments, step.stream.start_tls
    if type(step) is Resolve:
        arguments = {"host": step.host, "port": step.port, "timeout": timeout}
        return "connection.resolve", arguments, backend.resolve
    assert type(step) is Sleep
    return "connection.retry", {"seconds": step.seconds}, backend.sleep
