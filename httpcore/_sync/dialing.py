"""Carrying out the dial script with blocking calls.

Owns: making the calls, and tracing them. Must not know: which call comes next and how long it may
take (`_core.dial_attempt`), what is done with the connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .._backends.base import NetworkBackend, NetworkStream
from .._core.dial import Dialed
from .._core.dial_attempt import Call, DialAttempts
from .._ssl import offer
from .._trace import Trace


def carry_out(
    attempts: DialAttempts,
    backend: NetworkBackend,
    trace: Trace | None,
    watch: Callable[[NetworkStream | None], None],
) -> Dialed:
    """Make the calls of `attempts` until a stream is open. `watch` is called before each, with the
    stream so far; what it raises ends it."""
    try:
        while attempts.dialed is None:
            watch(attempts.stream)
            call = attempts.next_call(time.monotonic())
            if call.closes is not None:
                call.closes.close()
            try:
                result = _make(call, backend, trace, attempts)
            except Exception as exc:
                attempts.failed(exc, time.monotonic())
            else:
                attempts.succeeded(result, time.monotonic())
        return attempts.dialed
    except BaseException:
        call = None  # its arguments may name what is raised, and be kept by it
        if attempts.stream is not None:
            attempts.stream.close()
        raise


def _make(call: Call, backend: NetworkBackend, trace: Trace | None, attempts: DialAttempts) -> Any:
    """Make a call of the script, traced if it has a name for that."""
    if call.method == "trace":
        return None if trace is None else trace(*call.arguments.values())
    method = getattr(backend if call.stream is None else call.stream, call.method)
    if call.event is None:
        return method(*call.arguments.values())
    result = None
    try:
        if trace is not None:
            trace(f"{call.event}.started", call.arguments)
        if call.method == "start_tls":
            offer(call.arguments["ssl_context"], call.protocols)
        result = method(**call.arguments)
        if trace is not None:
            trace(f"{call.event}.complete", {"return_value": result})
        return result
    except BaseException as exc:
        for stream in attempts.broken(result):
            stream.close()
        if trace is not None:
            trace(f"{call.event}.failed", {"exception": exc})
        raise
