"""What went wrong below, told in urllib3's classes, which is what requests catches.

Owns: the translation of httpcore's exceptions and the classes it answers with. Must not know:
adapters, retries, sockets.

`requests` sorts failures by urllib3's classes (its `HTTPAdapter.send` and
`Response.iter_content`), so each class here is the urllib3 class of the same name, with three
differences: the text is the one sentence that says what happened, ``phase`` says how far the
request got, and the exception pickles whatever it holds. ``__cause__`` is httpcore's exception,
whose own cause is the operating system's.

A caller finds all that under requests' exception: `phase` asks for the one fact, ``args[0]`` is
the exception from here. It is ``__context__`` too, not ``__cause__``: requests' `send`, which
adapters inherit, raises its own while it handles ours, and nothing of ours runs in between.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import urllib3.exceptions as theirs

import httpcore
from httpcore import exceptions as finer

if TYPE_CHECKING:
    from ._pools import HostPool

NOT_SENT = finer.NOT_SENT
MAYBE_PROCESSED = finer.MAYBE_PROCESSED
RESPONSE_STARTED = finer.RESPONSE_STARTED
_PHASES = (NOT_SENT, MAYBE_PROCESSED, RESPONSE_STARTED)  # in the order they come

# Everything a pool or a body may raise on purpose; NotImplementedError and TypeError are the
# caller's mistakes and pass as they are.
FAILURES = (
    httpcore.ConnectionNotAvailable,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)

MAYBE_PROCESSED_NOTE = "the request may have been processed"

# What an exception may hold that neither pickles nor means anything in another process.
_NOT_PICKLED = ("pool", "conn", "response")

Teller = Callable[[Exception, str, str, "HostPool", str], Exception]

_E = TypeVar("_E", bound="_Told")


class _Told(Exception):
    """An exception that is made of one sentence and the facts behind it."""

    text: str = ""
    phase: str = NOT_SENT

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def __reduce__(self) -> Any:
        state = {k: None if k in _NOT_PICKLED else v for k, v in self.__dict__.items()}
        return _rebuild, (type(self), self.args, state)


def _rebuild(cls: type[Any], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


def tell(cls: type[_E], text: str, phase: str, *more: object, **facts: Any) -> _E:
    """`cls` without its own constructor: those take live objects and write their own text."""
    error: _E = _rebuild(cls, (text, *more), {"text": text, "_message": text, "phase": phase})
    error.__dict__.update(facts)
    return error


class NewConnectionError(_Told, theirs.NewConnectionError):
    """The connection could not be opened."""


class NameResolutionError(_Told, theirs.NameResolutionError):
    """The host has no address."""


class ConnectTimeoutError(_Told, theirs.ConnectTimeoutError):
    """The connection was not up in time."""


class PoolTimeoutError(_Told, theirs.EmptyPoolError, theirs.ConnectTimeoutError):
    """No connection became free in time."""


class ReadTimeoutError(_Told, theirs.ReadTimeoutError):
    """The server was silent, or took nothing more, for too long."""


class SSLError(_Told, theirs.SSLError):
    """TLS failed; `args[0]` is the ssl module's exception where there was one."""


class ProxyError(_Told, theirs.ProxyError):
    """The proxy could not be reached, failed or refused.

    Attributes:
        original_error: what urllib3 puts there: its own error where there was no connection to
            the proxy, an OSError where there was one.
        status: what the proxy answered to CONNECT, or None where there was no answer.
        headers, body: of that answer, as bytes; the body as far as it came, 64 KiB at most.
    """

    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class LocationParseError(_Told, theirs.LocationParseError):
    """The URL cannot be one."""


class InvalidHeader(_Told, theirs.InvalidHeader):
    """The request, or the head of the response, is not HTTP."""


class ProtocolError(_Told, theirs.ProtocolError):
    """The connection ended or spoke nonsense; `args[1]` is the exception behind it.

    Attributes:
        partial: body bytes that did arrive, or None before the body.
        expected: the Content-Length, or None where none was announced.
    """

    partial: int | None = None
    expected: int | None = None


class IncompleteRead(_Told, theirs.IncompleteRead):
    """Fewer body bytes than announced: `partial` arrived, `expected` more did not."""


class NotRetriedError(_Told, theirs.MaxRetryError):
    """A failure that no retry was made for.

    requests looks for a `MaxRetryError` and its ``reason``; its text is the reason's, because
    nothing was retried (psf/requests#6576).
    """


class MaxRetryError(_Told, theirs.MaxRetryError):
    """Retries were made, and the last attempt failed too.

    Its ``phase`` is that of the attempt that got furthest, ``reason.phase`` the last one's.
    """


def not_retried(error: Exception, pool: object, url: str | None, phase: str) -> NotRetriedError:
    """`error` in the wrapping that requests unpacks, without the words of a retry."""
    return tell(NotRetriedError, str(error), phase, pool=pool, url=url, reason=error)


def retried(failure: theirs.MaxRetryError, phase: str) -> MaxRetryError:
    """`failure` with a phase, and with a text that pickling keeps."""
    return tell(
        MaxRetryError,
        str(failure),
        phase,
        pool=failure.pool,
        url=failure.url,
        reason=failure.reason,
    )


def phase(error: BaseException) -> str | None:
    """How far the request got before `error`: ``"not_sent"``, ``"maybe_processed"`` (the server
    may have acted on it) or ``"response_started"``.

    Parameters:
        error: what a session raised, or anything under it.

    Returns None where that is not known: for errors that requests raises before it comes to the
    adapter (no such URL), and for those of other adapters. Thread-safe.
    """
    passed: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in passed:
        passed.append(seen)
        found = getattr(seen, "phase", None)
        if found in _PHASES:
            return str(found)
        if getattr(seen, "response", None) is not None:
            return RESPONSE_STARTED
        inner = seen.args[0] if seen.args else None
        seen = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
    return None


def furthest(*phases: str) -> str:
    """The phase that is the latest in the life of a request."""
    return max(phases, key=_PHASES.index)


def from_request(exc: Exception, pool: HostPool, url: str) -> Exception:
    """What urllib3 would have raised for `exc`, when no response has been returned yet.

    Parameters:
        exc: one of `FAILURES`.
        pool, url: go onto the exception, as urllib3 does it.
    """
    phase = getattr(exc, "phase", MAYBE_PROCESSED)
    error: Exception = _teller(exc)(exc, str(exc), phase, pool, url)
    error.__cause__ = exc
    return error


def _noted(text: str, phase: str) -> str:
    if phase != MAYBE_PROCESSED or "may have been processed" in text:
        return text
    return f"{text}; {MAYBE_PROCESSED_NOTE}"


def _connect_failed(exc: Exception, text: str, phase: str, pool: HostPool, url: str) -> Exception:
    cause = exc.__cause__
    if isinstance(exc, finer.TLSError) or isinstance(cause, ssl.SSLError):
        return tls_failed(text, cause, phase)
    if isinstance(exc, finer.NameResolutionError):
        return tell(NameResolutionError, text, phase, _host=pool.host, _reason=cause, conn=None)
    return tell(NewConnectionError, text, phase, conn=None)


def tls_failed(text: str, cause: BaseException | None, phase: str = NOT_SENT) -> SSLError:
    """An SSLError that says `text` and carries `cause` where urllib3 puts it."""
    error = tell(SSLError, text, phase)
    if cause is not None:
        error.args = (cause,)
    return error


def _timed_out(exc: Exception, text: str, phase: str, pool: HostPool, url: str) -> Exception:
    if isinstance(exc, httpcore.ConnectTimeout):
        return tell(ConnectTimeoutError, text, phase)
    if isinstance(exc, httpcore.PoolTimeout):
        return tell(PoolTimeoutError, text, phase, pool=pool)
    # requests has no class for a write that timed out; of what it has, ReadTimeout is the one
    # that says "the server was too slow, and may have acted".
    what = "Write" if isinstance(exc, httpcore.WriteTimeout) else "Read"
    text = f"{pool.peer}: {what} timed out." + (f" ({text})" if text else "")
    return tell(ReadTimeoutError, _noted(text, phase), phase, pool=pool, url=url)


def _network_failed(exc: Exception, text: str, phase: str, pool: HostPool, url: str) -> Exception:
    if isinstance(exc, finer.Aborted):
        return tell(ProtocolError, _noted(text, phase), phase, exc)
    cause = exc.__cause__
    if isinstance(cause, ssl.SSLError):
        return tls_failed(_noted(text, phase), cause, phase)
    # Retry counts what was not sent as a connect error, which any method may repeat.
    unsent = tell(NewConnectionError, text, phase, conn=None) if phase == NOT_SENT else None
    if pool.forwards(url):
        return _proxy_broke(_noted(text, phase), phase, unsent or cause or exc)
    return unsent or tell(ProtocolError, _noted(text, phase), phase, cause or exc)


def _server_broke(exc: Exception, text: str, phase: str, pool: HostPool, url: str) -> Exception:
    if isinstance(exc, finer.ConflictingLengths):
        return tell(InvalidHeader, text, phase)
    behind: Exception = exc
    if isinstance(exc, finer.ServerDisconnected):
        if phase == NOT_SENT:
            return tell(NewConnectionError, text, phase, conn=None)
        # The class that http.client raises here, and that retry policies look for.
        behind = http.client.RemoteDisconnected(text)
        if pool.forwards(url):
            return _proxy_broke(_noted(text, phase), phase, behind)
    return tell(ProtocolError, _noted(text, phase), phase, behind)


def _proxy_broke(text: str, phase: str, original: BaseException) -> ProxyError:
    """The error for a connection that broke before the response, where it was the proxy's: as in
    urllib3, which says so of resets and of an end without a byte."""
    return tell(ProxyError, text, phase, original_error=original)


def _we_broke(exc: Exception, text: str, phase: str, pool: HostPool, url: str) -> Exception:
    if isinstance(exc, finer.InvalidTimeout):
        return ValueError(text)
    if phase == NOT_SENT:
        return tell(InvalidHeader, text, phase)
    return tell(ProtocolError, _noted(text, phase), phase, exc)


def _proxy_failed(exc: Exception, text: str, phase: str, pool: HostPool, url: str) -> Exception:
    cause = exc.__cause__
    original: Exception
    if isinstance(exc, finer.ProxyConnectTimeout) and pool.proxy is None:
        # Through SOCKS, which to urllib3 is part of connecting to the origin.
        return tell(ConnectTimeoutError, text, phase)
    if isinstance(cause, httpcore.TimeoutException) and not isinstance(
        cause, httpcore.ConnectTimeout
    ):
        # The proxy is there, and silent: to urllib3 that is a read timeout.
        return tell(ReadTimeoutError, text, phase, pool=pool, url=url)
    if isinstance(exc, finer.ProxyConnectTimeout):
        original = tell(ConnectTimeoutError, text, phase)
    elif isinstance(exc, finer.ProxyConnectError):
        reached: Any = cause or exc
        original = _connect_failed(reached, text, phase, pool, url)
    else:
        original = OSError(text)
    facts: Any = exc  # an httpcore.ProxyError, in each of its kinds
    return tell(
        ProxyError,
        text,
        phase,
        original_error=original,
        status=facts.status,
        headers=tuple(facts.headers),
        body=facts.body,
    )


def _bad_scheme(exc: Exception, text: str, phase: str, pool: HostPool, url: str) -> Exception:
    return theirs.LocationValueError(text)


def _teller(exc: Exception) -> Teller:
    for classes, told_by in _BY_CLASS:
        if isinstance(exc, classes):
            return told_by
    return _network_failed


_BY_CLASS: list[tuple[type[Exception], Teller]] = [
    (httpcore.ProxyError, _proxy_failed),  # first: some are ConnectErrors or timeouts too
    (httpcore.ConnectError, _connect_failed),
    (httpcore.TimeoutException, _timed_out),
    (httpcore.LocalProtocolError, _we_broke),
    (httpcore.ProtocolError, _server_broke),
    (httpcore.UnsupportedProtocol, _bad_scheme),
]


def from_body(exc: Exception, pool: HostPool | None) -> Exception:
    """What urllib3 would have raised for `exc`, raised while the body was read."""
    text, cause = str(exc), exc.__cause__
    error: Exception
    if isinstance(exc, httpcore.TimeoutException):
        text = "Read timed out." + (f" ({text})" if text else "")
        error = tell(ReadTimeoutError, text, RESPONSE_STARTED, pool=pool, url=None)
    elif isinstance(cause, ssl.SSLError):
        error = tls_failed(text, cause, RESPONSE_STARTED)
    elif isinstance(exc, finer.IncompleteBody):
        error = _incomplete(exc)
    else:
        text = f"Connection broken: {text or repr(cause)}"
        error = tell(ProtocolError, text, RESPONSE_STARTED, cause or exc)
    error.__cause__ = exc
    return error


def _incomplete(exc: finer.IncompleteBody) -> ProtocolError:
    missing = 0 if exc.expected is None else exc.expected - exc.received
    behind = tell(
        IncompleteRead, str(exc), RESPONSE_STARTED, partial=exc.received, expected=missing
    )
    return tell(
        ProtocolError,
        f"Connection broken: {exc}",
        RESPONSE_STARTED,
        behind,
        partial=exc.received,
        expected=exc.expected,
    )
