"""What a request tells about itself: trace events, how long each phase took, by which connection.

Owns: how an event is sent, and what is kept about a request and its connection. Must not know: what
the events mean, nor a clock.

A request carries a callable in ``extensions["trace"]``; without one each phase costs one
``is None`` test. The names are ``<room>.<phase>.started``, ``.complete`` and ``.failed``; HTTPX's
command line and its users match on them. The times cost one reading of the clock for each phase,
and are only subtracted when somebody asks.

Sources: httpcore 1.0.9 (names of events), curl's ``--write-out`` (which times people want).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import CO_COROUTINE
from typing import Any

from ._redact import redact_field, redact_text

Trace = Callable[[str, dict[str, Any]], Any]

HOOKS = ("trace", "informational")

# The rooms that events are named after, each with a logger of its own: ``httpcore.http11``.
ROOMS = ("connection", "http11", "http2", "proxy", "socks")

# Looked up once: `logging.getLogger` takes a lock that belongs to all of the program, and an
# interrupt (Ctrl-C) in there may leave it taken for ever.
_LOGGERS = {room: logging.getLogger(f"httpcore.{room}") for room in ROOMS}

_DEEPEST = 4  # levels of tuples and lists that are looked into for fields that are secret


def check_hooks(extensions: Any) -> None:
    """TypeError when a function among the request's extensions cannot be called; asked before
    anything is sent."""
    for name in HOOKS:
        hook = extensions.get(name)
        if hook is not None:
            check_hook(hook, f"extensions[{name!r}]")


def check_hook(hook: Any, what: str) -> None:
    """TypeError, which calls it `what`, unless `hook` is a plain function or another callable."""
    if not callable(hook):
        raise TypeError(f"{what} must be callable, not {type(hook).__name__}")
    code = getattr(hook, "__code__", None)
    if code is not None and code.co_flags & CO_COROUTINE:  # called, it would do nothing
        raise TypeError(f"{what} must be a plain function: an async one is not awaited here")


def combined(first: Trace | None, second: Trace | None) -> Trace | None:
    """One hook that calls both, the first one first."""
    if first is None or second is None:
        return second if first is None else first

    def call_both(name: str, details: dict[str, Any]) -> None:
        first(name, details)
        second(name, details)

    return call_both


def naming(hook: Trace, request: Any) -> Trace:
    """`hook`, told with each event which request it is about: a pool's hears of many at once."""

    def call(name: str, details: dict[str, Any]) -> None:
        hook(name, details if "request" in details else {**details, "request": request})

    return call


def log_hook() -> Trace | None:
    """A hook that logs events at DEBUG, if somebody reads that; None if nobody does."""
    return log_event if any(map(logs_debug, _LOGGERS.values())) else None


def logs_debug(logger: logging.Logger) -> bool:
    """Return what ``logger.isEnabledFor(DEBUG)`` does, without its lock (see `_LOGGERS`)."""
    if logger.disabled or logger.manager.disable >= logging.DEBUG:
        return False
    return logger.getEffectiveLevel() <= logging.DEBUG


def debug(logger: logging.Logger, text: str, *arguments: object) -> None:
    """Log at DEBUG; takes none of logging's locks where that is off."""
    if logs_debug(logger):
        logger.debug(text, *arguments)


def log_event(name: str, details: dict[str, Any]) -> None:
    """Log one event, without passwords and cookies."""
    room, _, event = name.partition(".")
    logger = _LOGGERS.get(room)
    if logger is not None and logs_debug(logger):
        if details.get("return_value", event) is None:  # as in 1.0.9: nothing to show
            logger.debug("%s", event)
            return
        shown = " ".join(f"{key}={masked(value)!r}" for key, value in details.items())
        logger.debug("%s %s" if shown else "%s%s", event, shown)


def masked(value: Any, depth: int = 0) -> Any:
    """`value` with the values of secret header fields replaced, wherever they are in it, and
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


class Opening:
    """How long it took to open a connection, in seconds.

    Attributes:
        dns: the look-up; None where there was none, or nobody measured it.
        connect: TCP or the Unix socket, and what was said to a proxy.
        tls: handshakes; None without TLS.
    """

    __slots__ = ("connect", "dns", "tls")

    def __init__(self) -> None:
        self.dns: float | None = None
        self.connect = 0.0
        self.tls: float | None = None


class Marks:
    """When the phases of one request were over, by `time.monotonic`; None for what was not yet.

    Made without a constructor, which would be a call for each request: `ResponseBody` sets all.

    Attributes:
        began: the request came.
        ready: there was a connection.
        sent: the request was written.
        headed: the response's head was there.
        ended: its body was, too.
        opening: of the connection, if it was opened for this request.
    """

    __slots__ = ("began", "ended", "headed", "opening", "ready", "sent")

    began: float | None
    ready: float | None
    sent: float | None
    headed: float | None
    ended: float | None
    opening: Opening | None


class Timings:
    """How long each phase of a request took, in seconds; in ``response.extensions["timings"]``.

    They follow one another; None for a phase that the request did not have (a reused connection is
    not opened) or that is not over (the body is not read). Of a request that was sent more than
    once, they are those of the last time, and `queue` has what came before.

    Attributes:
        queue: until there was a connection, or leave to open one; with attempts to open one that
            failed, and the pauses between them.
        dns, connect, tls: opening the connection, see `Opening`.
        send: until the request was written.
        first_byte: from then until the head of the response was there.
        last_byte: from then until the end of its body.
        total: all of it, as far as it is over.
    """

    __slots__ = ("_marks",)

    _marks: Marks

    @property
    def queue(self) -> float | None:
        waited = _between(self._marks.began, self._marks.ready)
        opening = self._marks.opening
        if waited is None or opening is None:
            return waited
        return max(0.0, waited - opening.connect - (opening.dns or 0.0) - (opening.tls or 0.0))

    @property
    def dns(self) -> float | None:
        opening = self._marks.opening
        return None if opening is None else opening.dns

    @property
    def connect(self) -> float | None:
        opening = self._marks.opening
        return None if opening is None else opening.connect

    @property
    def tls(self) -> float | None:
        opening = self._marks.opening
        return None if opening is None else opening.tls

    @property
    def send(self) -> float | None:
        return _between(self._marks.ready, self._marks.sent)

    @property
    def first_byte(self) -> float | None:
        return _between(self._marks.sent, self._marks.headed)

    @property
    def last_byte(self) -> float | None:
        return _between(self._marks.headed, self._marks.ended)

    @property
    def total(self) -> float | None:
        marks = self._marks
        return _between(marks.began, marks.ended or marks.headed)

    def as_dict(self) -> dict[str, float | None]:
        """All of them by name, in order."""
        return {name: getattr(self, name) for name in PHASES}

    def __repr__(self) -> str:
        shown = [f"{n} {1000 * s:.3g}" for n, s in self.as_dict().items() if s is not None]
        return f"<{type(self).__name__} [{', '.join(shown)} ms]>"


PHASES = ("queue", "dns", "connect", "tls", "send", "first_byte", "last_byte", "total")


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


class ConnectionInfo:
    """What a response came over; in ``response.extensions["connection"]``. It stays true after the
    connection was closed.

    Attributes:
        protocol: ``"HTTP/1.1"`` or ``"HTTP/2"``.
        local_address, remote_address: as sockets have them; None where the stream does not say.
            Behind a proxy, `remote_address` is the proxy's.
        alpn: what was agreed on by ALPN, or None.
        tls_version, cipher: as `ssl.SSLSocket.version` and ``cipher()[0]`` have them; None without
            TLS.
        certificate: the server's, DER; None without TLS.
    """

    __slots__ = (
        "alpn",
        "certificate",
        "cipher",
        "local_address",
        "protocol",
        "remote_address",
        "tls_version",
    )

    def __init__(self, stream: Any, protocol: str) -> None:
        self.protocol = protocol
        self.local_address = stream.get_extra_info("client_addr")
        self.remote_address = stream.get_extra_info("server_addr")
        tls = stream.get_extra_info("ssl_object")
        self.alpn: str | None = _ask(tls, "selected_alpn_protocol")
        self.tls_version: str | None = _ask(tls, "version")
        cipher = _ask(tls, "cipher")
        self.cipher: str | None = cipher[0] if cipher else None
        self.certificate: bytes | None = _ask(tls, "getpeercert", True)

    def __repr__(self) -> str:
        parts = [self.protocol]
        if self.remote_address is not None:
            parts.append(f"to {_shown(self.remote_address)}")
        if self.tls_version is not None:
            parts.append(f"{self.tls_version} {self.cipher}")
        return f"<{type(self).__name__} [{', '.join(parts)}]>"


def _ask(tls: Any, name: str, *arguments: Any) -> Any:
    """What the TLS object says; it may be of any make, and its connection gone already."""
    method = getattr(tls, name, None)
    try:
        return None if method is None else method(*arguments)
    except (OSError, ValueError, AttributeError):  # the last one: an SSLSocket that was closed
        return None


def _shown(address: Any) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
        return f"{host}:{address[1]}"
    return str(address)
