"""Trace events: the hooks that get them, and the log.

Owns: how an event is sent, and what of it is logged. Must not know: what the events mean, nor a
clock.

A request carries a callable in ``extensions["trace"]``; without one each phase costs one
``is None`` test. The names are ``<part>.<phase>.started``, ``.complete`` and ``.failed``; HTTPX's
command line and its users match on them.

Sources: httpcore 1.0.9 (names of events).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any

from ._redact import redact_field, redact_text

Details = dict[str, Any]  # of an event
Trace = Callable[[str, Details], object]
AsyncTrace = Callable[[str, Details], Awaitable[object]]

HOOKS = ("trace", "informational")

# The parts that events are named after, each with a logger of its own: ``httpcore.http11``.
PARTS = ("connection", "http11", "http2", "proxy", "socks")

# Looked up once: `logging.getLogger` takes a lock that belongs to all of the program, and an
# interrupt (Ctrl-C) in there may leave it taken for ever.
_LOGGERS = {part: logging.getLogger(f"httpcore.{part}") for part in PARTS}

# Has a line for each request, see `_shared.request_log`.
_REQUESTS = logging.getLogger("httpcore.request")

# Whether this thread or task is in a handler of one of our lines.
_is_logging: ContextVar[bool] = ContextVar("httpcore_is_logging", default=False)

CO_COROUTINE = 0x80  # of `inspect`, which takes as long to import as all of our shells

_DEEPEST = 4  # levels of tuples and lists that are looked into for fields that are secret


def check_hooks(extensions: Mapping[str, object], asynchronous: bool = False) -> None:
    """Raise TypeError when a function among the request's extensions cannot be called; asked before
    anything is sent.

    Parameters:
        asynchronous: the trace is awaited. What a class or a partial returns is seen then.
    """
    for name in HOOKS:
        hook = extensions.get(name)
        if hook is None:
            continue
        if not asynchronous or name != "trace":
            check_hook(hook, f"extensions[{name!r}]")
        elif not callable(hook):
            raise TypeError(f"extensions[{name!r}] must be callable, not {type(hook).__name__}")


def check_hook(hook: object, what: str) -> None:
    """Raise TypeError, which calls it `what`, unless `hook` is a plain function or another
    callable."""
    if not callable(hook):
        raise TypeError(f"{what} must be callable, not {type(hook).__name__}")
    code = getattr(hook, "__code__", None)
    if code is not None and code.co_flags & CO_COROUTINE:  # called, it would do nothing
        raise TypeError(f"{what} must be a plain function: an async one is not awaited here")


def combined(first: Trace | None, second: Trace | None) -> Trace | None:
    """Return one hook that calls both, the first one first."""
    if first is None or second is None:
        return second if first is None else first

    def call_both(name: str, details: Details) -> None:
        first(name, details)
        second(name, details)

    return call_both


def awaited(plain: Trace | None, own: AsyncTrace | None) -> AsyncTrace | None:
    """Return one hook to be awaited that calls `plain`, a pool's or the log, and awaits `own`, a
    request's; None where there is neither."""
    if plain is None and own is None:
        return None

    async def call_both(name: str, details: Details) -> None:
        if plain is not None:
            plain(name, details)
        if own is not None:
            waiting = own(name, details)
            if not hasattr(waiting, "__await__"):
                raise TypeError(
                    "extensions['trace'] must be an async function: a plain one is for the "
                    "synchronous API"
                )
            await waiting

    return call_both


def naming(hook: Trace, request: object) -> Trace:
    """Return `hook` with the request added to each event: the hook of a pool gets the events of
    many at once."""

    def call(name: str, details: Details) -> None:
        hook(name, details if "request" in details else {**details, "request": request})

    return call


def log_hook() -> Trace | None:
    """Return a hook that logs events at DEBUG, or None while the logger does not log at that
    level."""
    return log_event if any(map(logs_debug, _LOGGERS.values())) else None


def logs_debug(logger: logging.Logger) -> bool:
    """Return what ``logger.isEnabledFor(DEBUG)`` does, without its lock (see `_LOGGERS`)."""
    return _logs(logger, logging.DEBUG)


def logs_requests() -> bool:
    """Return whether there is to be a line for each request."""
    return _logs(_REQUESTS, logging.INFO)


def _logs(logger: logging.Logger, level: int) -> bool:
    if logger.disabled or logger.manager.disable >= level:
        return False
    return logger.getEffectiveLevel() <= level and not _is_logging.get()


def _log(logger: logging.Logger, level: int, text: str, arguments: tuple[object, ...]) -> None:
    """Log, and nothing of requests that are sent meanwhile: some handlers ship what they get by
    HTTP, and each of their requests would be one more line."""
    try:
        _is_logging.set(True)
        logger.log(level, text, *arguments)
    finally:
        _is_logging.set(False)  # as it was, or we would not be here


def debug(logger: logging.Logger, text: str, *arguments: object) -> None:
    """Log at DEBUG; takes none of logging's locks where that is off."""
    if logs_debug(logger):
        _log(logger, logging.DEBUG, text, arguments)


def info(text: str, *arguments: object) -> None:
    """Log a request; takes none of logging's locks where that is off."""
    if logs_requests():
        _log(_REQUESTS, logging.INFO, text, arguments)


def log_event(name: str, details: Details) -> None:
    """Log one event, without passwords and cookies."""
    part, _, event = name.partition(".")
    logger = _LOGGERS.get(part)
    if logger is not None and logs_debug(logger):
        shown = described(details)
        _log(logger, logging.DEBUG, "%s %s" if shown else "%s%s", (event, shown))


def described(details: Details) -> str:
    """Return the details of an event as the log has them; empty where there is nothing to show."""
    if details.get("return_value", details) is None:  # as in 1.0.9
        return ""
    return " ".join(f"{key}={masked(value)!r}" for key, value in details.items())


def masked(value: Any, depth: int = 0) -> object:
    """Return `value` with the values of secret header fields replaced, wherever they are in it, and
    everything secret taken out of URLs in others."""
    if type(value) is bytes:
        return redact_text(value.decode("latin-1")).encode("latin-1")
    if type(value) is str:
        return redact_text(value)
    if depth == _DEEPEST or type(value) not in (list, tuple):
        return value
    if type(value) is tuple and len(value) == 2 and type(value[0]) is bytes:
        if type(value[1]) is bytes:
            return value[0], redact_field(value[0], value[1])
    return type(value)([masked(part, depth + 1) for part in value])
