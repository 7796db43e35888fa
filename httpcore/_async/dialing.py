"""Carrying out the dial script with calls that are awaited.

Owns: making the calls, and tracing them. Must not know: which call comes next and how long it may
take (`_core.dial_attempt`), what is done with the connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .._backends.base import AsyncNetworkBackend, AsyncNetworkStream
from .._backends.closing import close_stream
from .._core.dial import Dialed
from .._core.dial_attempt import Call, DialAttempts
from .._ssl import offer
from .._trace import AsyncTrace


async def carry_out(
    attempts: DialAttempts,
    backend: AsyncNetworkBackend,
    trace: AsyncTrace | None,
    watch: Callable[[AsyncNetworkStream | None], None],
) -> Dialed:
    """Make the calls of `attempts` until a stream is open. `watch` is called before each, with the
    stream so far; what it raises ends it."""
    try:
        while attempts.dialed is None:
            watch(attempts.stream)
            call = attempts.next_call(time.monotonic())
            if call.closes is not None:
                close_stream(call.closes)
            try:
                result = await _make(call, backend, trace, attempts)
            except Exception as exc:
                attempts.failed(exc, time.monotonic())
            else:
                attempts.succeeded(result, time.monotonic())
        return attempts.dialed
    except BaseException:
        call = None  # its arguments may name what is raised, and be kept by it
        if attempts.stream is not None:
            close_stream(attempts.stream)
        raise


async def _make(
    call: Call, backend: AsyncNetworkBackend, trace: AsyncTrace | None, attempts: DialAttempts
) -> Any:
    """Make a call of the script, traced if it has a name for that."""
    if call.method == "trace":
        return None if trace is None else await trace(*call.arguments.values())
    method = getattr(backend if call.stream is None else call.stream, call.method)
    if call.event is None:
        return await method(*call.arguments.values())
    result = None
    try:
        if trace is not None:
            await trace(f"{call.event}.started", call.arguments)
        if call.method == "start_tls":
            offer(call.arguments["ssl_context"], call.protocols)
        result = await method(**call.arguments)
        if trace is not None:
            await trace(f"{call.event}.complete", {"return_value": result})
        return result
    except BaseException as exc:
        for stream in attempts.broken(result):
            close_stream(stream)
        if trace is not None:
            await trace(f"{call.event}.failed", {"exception": exc})
        raise
