"""Turns failures of the core into urllib3's exceptions, which requests catches.

Owns: the translation of httpcore's exceptions and the classes it answers with. Must not know:
adapters, retries, sockets.

`requests` sorts failures by urllib3's classes (its `HTTPAdapter.send` and
`Response.iter_content`), so each class here is the urllib3 class of the same name, with three
differences: the text begins with what happened, ``phase`` says how far the request got, and the
exception pickles whatever it holds. Programs look for words in the texts of the stock adapter
("Connection aborted", "RemoteDisconnected", "Read timed out"); so the text ends, in parentheses,
with the request's method and path and with the words that stock would have used. "Max retries
exceeded" is said where retries were made; stock says it always. ``__cause__`` is httpcore's
exception, whose own cause is the operating system's.

A caller finds all that under requests' exception: `phase` asks for the one fact, ``args[0]`` is
the exception from here. It is ``__context__`` too, not ``__cause__``: requests' `send`, which
adapters inherit, raises its own while it handles ours, and nothing of ours runs in between.
"""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import urllib3.exceptions as theirs

import httpcore
from httpcore import exceptions as finer
from httpcore.redact import plain_start, without_query

if TYPE_CHECKING:
    from ._pool_shape import PoolShape

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


class Attempt(NamedTuple):
    """The request that failed: of this method and URL, as `HostPool.urlopen` was given them."""

    pool: PoolShape
    method: str
    url: str

    def complete(self, text: str, *words: str) -> str:
        """Return `text`, then the request unless it names it, then the words of the stock
        adapter."""
        return complete(text, name_request(self.method, self.url), *words)


Translator = Callable[[Exception, str, str, Attempt], Exception]

_E = TypeVar("_E", bound="_PicklableError")


class _PicklableError(Exception):
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


def make_error(cls: type[_E], text: str, phase: str, *more: object, **facts: Any) -> _E:
    """Return `cls` without its own constructor: those take live objects and write their own
    text."""
    error: _E = _rebuild(cls, (text, *more), {"text": text, "_message": text, "phase": phase})
    error.__dict__.update(facts)
    return error


class NewConnectionError(_PicklableError, theirs.NewConnectionError):
    """The connection could not be opened."""


class NameResolutionError(_PicklableError, theirs.NameResolutionError):
    """The host has no address."""


class ConnectTimeoutError(_PicklableError, theirs.ConnectTimeoutError):
    """The connection was not up in time."""


class PoolTimeoutError(_PicklableError, theirs.EmptyPoolError, theirs.ConnectTimeoutError):
    """No connection became free in time."""


class ReadTimeoutError(_PicklableError, theirs.ReadTimeoutError):
    """The server was silent, or took nothing more, for too long."""


class SSLError(_PicklableError, theirs.SSLError):
    """TLS failed; `args[0]` is the ssl module's exception where there was one."""


class ProxyError(_PicklableError, theirs.ProxyError):
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


class LocationParseError(_PicklableError, theirs.LocationParseError):
    """The URL cannot be one."""


class InvalidHeader(_PicklableError, theirs.InvalidHeader):
    """The request, or the head of the response, is not HTTP."""


class ProtocolError(_PicklableError, theirs.ProtocolError):
    """The connection ended or spoke nonsense; `args[1]` is the exception behind it.

    Attributes:
        partial: body bytes that did arrive, or None before the body.
        expected: the Content-Length, or None where none was announced.
    """

    partial: int | None = None
    expected: int | None = None


class IncompleteRead(_PicklableError, theirs.IncompleteRead):
    """Fewer body bytes than announced: `partial` arrived, `expected` more did not."""


class DecodeError(_PicklableError, theirs.DecodeError):
    """The body is not what its Content-Encoding says; `args[1]` is the decoder's exception where
    there was one."""


class DecodedTooLarge(DecodeError):
    """The body is compressed, and decodes to more than `max_decoded` bytes."""


class NotRetriedError(_PicklableError, theirs.MaxRetryError):
    """A failure that no retry was made for.

    requests looks for a `MaxRetryError` and its ``reason``; its text is the reason's, because
    nothing was retried (psf/requests#6576).
    """


class MaxRetryError(_PicklableError, theirs.MaxRetryError):
    """Retries were made, and the last attempt failed too.

    Its ``phase`` is that of the attempt that got furthest, ``reason.phase`` the last one's.
    """


def name_request(method: str, url: str | None) -> str:
    """Return method and path, as they stand in texts."""
    return f"{plain_start(method)} {without_query(url or '')}"


def not_retried(
    error: Exception, pool: object, method: str, url: str | None, phase: str
) -> NotRetriedError:
    """Return `error` in the wrapping that requests unpacks, without the words of a retry."""
    text = str(error)
    if isinstance(error, theirs.ResponseError):
        text = complete(text, name_request(method, url), "ResponseError")
    return make_error(NotRetriedError, text, phase, pool=pool, url=url, reason=error)


def retried(failure: theirs.MaxRetryError, method: str, phase: str, count: int) -> MaxRetryError:
    """Return `failure` after `count` retries: with a phase, and with a text that pickling keeps."""
    path = without_query(failure.url or "")
    times = "1 retry" if count == 1 else f"{count} retries"
    words = f"after {times}: Max retries exceeded with url: {path}"
    text = str(failure.reason)
    if isinstance(failure.reason, theirs.ResponseError):
        text = complete(text, name_request(method, failure.url))
        words += " (Caused by ResponseError)"
    return make_error(
        MaxRetryError,
        f"{text}; {words}" if failure.reason is not None else words,
        phase,
        pool=failure.pool,
        url=failure.url,
        reason=failure.reason,
    )


def phase(error: BaseException) -> str | None:
    """Return how far the request got before `error`: ``"not_sent"``, ``"maybe_processed"`` (the
    server may have acted on it) or ``"response_started"``.

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
    """Return the phase that is the latest in the life of a request."""
    return max(phases, key=_PHASES.index)


def from_request(exc: Exception, attempt: Attempt) -> Exception:
    """Return what urllib3 would have raised for `exc`, when no response has been returned yet.

    Parameters:
        exc: one of `FAILURES`.
        attempt: its pool and URL go onto the exception, as urllib3 does it.
    """
    phase = getattr(exc, "phase", MAYBE_PROCESSED)
    error: Exception = _translator_for(exc)(exc, finer.explain(exc), phase, attempt)
    error.__cause__ = exc
    return error


def complete(text: str, request: str, *words: str) -> str:
    """Return `text`, then in parentheses `request` and those of `words` that it does not have
    yet."""
    more = [part for part in dict.fromkeys((request, *words)) if part and part not in text]
    return f"{text} ({', '.join(more)})" if more else text


def _noted(text: str, phase: str) -> str:
    if phase != MAYBE_PROCESSED or "may have been processed" in text:
        return text
    return f"{text}; {MAYBE_PROCESSED_NOTE}"


def _connect_failed(exc: Exception, text: str, phase: str, attempt: Attempt) -> Exception:
    cause = exc.__cause__
    if isinstance(exc, finer.TLSError) or isinstance(cause, ssl.SSLError):
        text = text.replace("a CA that is trusted here", f"a CA {_trusted(attempt.pool)}")
        return tls_failed(attempt.complete(text, *_tls_words(cause)), cause, phase)
    host = attempt.pool.host
    if isinstance(exc, finer.NameResolutionError):
        text = attempt.complete(text, "NameResolutionError", f"Failed to resolve {host!r}")
        return make_error(NameResolutionError, text, phase, _host=host, _reason=cause, conn=None)
    return make_error(NewConnectionError, attempt.complete(text, *_NO_CONNECTION), phase, conn=None)


_PROXY = ("ProxyError", "Unable to connect to proxy")
_DISCONNECTED = ("RemoteDisconnected", "Remote end closed connection without response")
_NO_CONNECTION = ("NewConnectionError", "Failed to establish a new connection")


def _trusted(pool: PoolShape) -> str:
    """Say which authorities `verify` named; a variable may have been what did."""
    path = getattr(pool, "ca_certs", None) or getattr(pool, "ca_cert_dir", None)
    if not path:
        return "that is trusted here"
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    variable = next((name for name in names if os.environ.get(name) == path), None)
    behind = "" if variable is None else f" ({variable}, which goes before session.verify)"
    return f"in {path!r}{behind}"


def _tls_words(cause: BaseException | None) -> tuple[str, ...]:
    return ("SSLError", type(cause).__name__) if isinstance(cause, ssl.SSLError) else ("SSLError",)


def tls_failed(text: str, cause: BaseException | None, phase: str = NOT_SENT) -> SSLError:
    """Return an SSLError that says `text` and carries `cause` where urllib3 puts it."""
    error = make_error(SSLError, text, phase)
    if cause is not None:
        error.args = (cause,)
    return error


def _timed_out(exc: Exception, text: str, phase: str, attempt: Attempt) -> Exception:
    pool, _, url = attempt
    if isinstance(exc, httpcore.ConnectTimeout):
        words = "ConnectTimeoutError", f"Connection to {pool.host} timed out."
        return make_error(ConnectTimeoutError, attempt.complete(text, *words), phase)
    if isinstance(exc, httpcore.PoolTimeout):
        return make_error(
            PoolTimeoutError, attempt.complete(text, "EmptyPoolError"), phase, pool=pool
        )
    # requests has no class for a write that timed out; of what it has, ReadTimeout is the one
    # that says "the server was too slow, and may have acted".
    words = ("ReadTimeoutError", "Read timed out.")
    if isinstance(exc, httpcore.WriteTimeout):
        words = ("Connection aborted", "Write timed out.")
    text = attempt.complete(_noted(text or f"{pool.peer} was too slow", phase), *words)
    return make_error(ReadTimeoutError, text, phase, pool=pool, url=url)


def _network_failed(exc: Exception, text: str, phase: str, attempt: Attempt) -> Exception:
    if isinstance(exc, finer.Aborted):
        return make_error(ProtocolError, attempt.complete(_noted(text, phase)), phase, exc)
    cause = exc.__cause__
    if isinstance(cause, ssl.SSLError):
        return tls_failed(attempt.complete(_noted(text, phase), *_tls_words(cause)), cause, phase)
    behind = cause or exc
    words: tuple[str, ...] = ("Connection aborted", type(behind).__name__)
    if phase == NOT_SENT:
        words = ("NewConnectionError", *words)
    forwarded = attempt.pool.forwards(attempt.url)
    if forwarded:
        words = (*_PROXY, *words)
    text = attempt.complete(_noted(text, phase), *words)
    # Retry counts what was not sent as a connect error, which any method may repeat.
    unsent = make_error(NewConnectionError, text, phase, conn=None) if phase == NOT_SENT else None
    if forwarded:
        return _proxy_broke(text, phase, unsent or behind)
    return unsent or make_error(ProtocolError, text, phase, behind)


def _server_broke(exc: Exception, text: str, phase: str, attempt: Attempt) -> Exception:
    if isinstance(exc, finer.ConflictingLengths):
        return make_error(InvalidHeader, attempt.complete(text), phase)
    behind: Exception = exc
    # The classes that http.client raises here, and that retry policies look for.
    if isinstance(exc, finer.ServerDisconnected):
        behind = http.client.RemoteDisconnected(text)
        return _disconnected(behind, text, phase, attempt)
    if isinstance(exc, finer.IllegalStatusLine):
        behind = http.client.BadStatusLine(text)
    words = ["Connection aborted", type(behind).__name__]
    if "incomplete response head" in text:
        words.append("BadStatusLine")  # http.client's word for a line that ends too early
    return make_error(ProtocolError, attempt.complete(_noted(text, phase), *words), phase, behind)


def _disconnected(behind: Exception, text: str, phase: str, attempt: Attempt) -> Exception:
    forwarded = attempt.pool.forwards(attempt.url)
    words = (*(_PROXY if forwarded else ()), "Connection aborted", *_DISCONNECTED)
    text = attempt.complete(_noted(text, phase), *words)
    if phase == NOT_SENT:
        return make_error(NewConnectionError, text, phase, conn=None)
    if forwarded:
        return _proxy_broke(text, phase, behind)
    return make_error(ProtocolError, text, phase, behind)


def _proxy_broke(text: str, phase: str, original: BaseException) -> ProxyError:
    """Return the error for a connection that broke before the response, where it was the proxy's:
    as in urllib3, which says so of resets and of an end without a byte."""
    return make_error(ProxyError, text, phase, original_error=original)


def _we_broke(exc: Exception, text: str, phase: str, attempt: Attempt) -> Exception:
    if isinstance(exc, finer.InvalidTimeout):
        return ValueError(text)
    text = attempt.complete(_noted(text, phase))
    if phase == NOT_SENT:
        return make_error(InvalidHeader, text, phase)
    return make_error(ProtocolError, text, phase, exc)


def _proxy_failed(exc: Exception, text: str, phase: str, attempt: Attempt) -> Exception:
    pool, _, url = attempt
    cause = exc.__cause__
    original: Exception
    if isinstance(exc, finer.ProxyConnectTimeout) and pool.proxy is None:
        # Through SOCKS, which to urllib3 is part of connecting to the origin.
        return make_error(ConnectTimeoutError, attempt.complete(text, "ConnectTimeoutError"), phase)
    if isinstance(cause, httpcore.TimeoutException) and not isinstance(
        cause, httpcore.ConnectTimeout
    ):
        # The proxy is there, and silent: to urllib3 that is a read timeout.
        text = attempt.complete(text, "ReadTimeoutError", "Read timed out.")
        return make_error(ReadTimeoutError, text, phase, pool=pool, url=url)
    facts: Any = exc  # an httpcore.ProxyError, in each of its kinds
    text = attempt.complete(text, *_proxy_words(exc, facts.status, pool))
    if isinstance(exc, finer.ProxyConnectTimeout):
        original = make_error(ConnectTimeoutError, text, phase)
    elif isinstance(exc, finer.ProxyConnectError):
        reached: Any = cause or exc
        original = _connect_failed(reached, text, phase, attempt)
    else:
        original = OSError(text)
    return make_error(
        ProxyError,
        text,
        phase,
        original_error=original,
        status=facts.status,
        headers=tuple(facts.headers),
        body=facts.body,
    )


def _proxy_words(exc: Exception, status: int | None, pool: PoolShape) -> tuple[str, ...]:
    """Return what urllib3 says about a proxy that could not be reached, or that failed."""
    if pool.proxy is None:  # SOCKS
        return ("ProxyError", *_NO_CONNECTION)
    words: tuple[str, ...] = _PROXY
    cause = exc.__cause__
    if isinstance(exc, finer.ProxyConnectTimeout):
        return (*words, "ConnectTimeoutError")
    if isinstance(exc, finer.ProxyConnectError):
        if isinstance(cause, finer.TLSError):
            return (*words, *_tls_words(cause.__cause__))
        if isinstance(cause, finer.NameResolutionError):
            return (*words, "NameResolutionError", "Failed to resolve")
        return (*words, *_NO_CONNECTION)
    if status is not None:
        refusal = finer.explain(exc).rpartition(" was refused: ")[2] or str(status)
        return (*words, f"Tunnel connection failed: {refusal}")
    if cause is None:
        return words
    words = (*words, "Connection aborted")
    if isinstance(cause, finer.ServerDisconnected):
        return (*words, *_DISCONNECTED)
    if isinstance(cause, finer.IllegalStatusLine):
        return (*words, "BadStatusLine")
    return (*words, type(cause.__cause__ or cause).__name__)


def _bad_scheme(exc: Exception, text: str, phase: str, attempt: Attempt) -> Exception:
    return theirs.LocationValueError(text)


def _translator_for(exc: Exception) -> Translator:
    for classes, told_by in _BY_CLASS:
        if isinstance(exc, classes):
            return told_by
    return _network_failed


_BY_CLASS: list[tuple[type[Exception], Translator]] = [
    (httpcore.ProxyError, _proxy_failed),  # first: some are ConnectErrors or timeouts too
    (httpcore.ConnectError, _connect_failed),
    (httpcore.TimeoutException, _timed_out),
    (httpcore.LocalProtocolError, _we_broke),
    (httpcore.ProtocolError, _server_broke),
    (httpcore.UnsupportedProtocol, _bad_scheme),
]


def from_body(exc: Exception, pool: PoolShape | None, request: str) -> Exception:
    """Return what urllib3 would have raised for `exc`, raised while the body was read.

    Parameters:
        request: its method and path, for the text.
    """
    text, cause = finer.explain(exc), exc.__cause__
    error: Exception
    if isinstance(exc, httpcore.TimeoutException):
        text = complete(text or "the server was too slow", request, "Read timed out.")
        error = make_error(ReadTimeoutError, text, RESPONSE_STARTED, pool=pool, url=None)
    elif isinstance(cause, ssl.SSLError):
        error = tls_failed(complete(text, request, *_tls_words(cause)), cause, RESPONSE_STARTED)
    elif isinstance(exc, finer.IncompleteBody):
        error = _incomplete(exc, request)
    else:
        behind = cause or exc
        name = "InvalidChunkLength" if "illegal chunk line" in text else type(behind).__name__
        text = complete(text or repr(cause), request, f"Connection broken: {name}")
        error = make_error(ProtocolError, text, RESPONSE_STARTED, behind)
    error.__cause__ = exc
    return error


def undecodable(exc: theirs.DecodeError, request: str) -> DecodeError:
    """Return urllib3's `exc` with the decoder's words first, and with the request.

    Parameters:
        request: its method and path.
    """
    words, *causes = exc.args
    text = complete(str(causes[0]), request, str(words)) if causes else complete(words, request)
    error = make_error(DecodeError, text, RESPONSE_STARTED, *causes)
    error.__cause__ = exc.__cause__
    return error


def decoded_too_large(
    limit: int | None, pool: PoolShape | None, method: str, url: str
) -> DecodedTooLarge:
    """Return the error for a body that decodes to more than `limit` bytes."""
    peer = "the server" if pool is None else pool.peer
    text = (
        f"the body from {peer} decodes to more than max_decoded={limit} bytes and was not read "
        "further: raise max_decoded if it is meant to be that large"
    )
    return make_error(DecodedTooLarge, complete(text, name_request(method, url)), RESPONSE_STARTED)


def coding_cut_short(
    codings: str, received: int, decoded: int, pool: PoolShape | None, method: str, url: str
) -> Exception:
    """Return the error for a body that ended before its coding did.

    Parameters:
        codings: its Content-Encoding.
        received: bytes that came.
        decoded: bytes that they were decoded to.
    """
    peer = "the server" if pool is None else pool.peer
    shown = ", ".join(plain_start(each.strip()) for each in codings.split(","))
    text = (
        f"the body from {peer} ended after {received} bytes, decoded to {decoded}, in the middle "
        f"of its coding ({shown}): ask for it again, or without one (Accept-Encoding: identity)"
    )
    return from_body(finer.IncompleteBody(text, received), pool, name_request(method, url))


def _incomplete(exc: finer.IncompleteBody, request: str) -> ProtocolError:
    missing = 0 if exc.expected is None else exc.expected - exc.received
    behind = make_error(
        IncompleteRead, str(exc), RESPONSE_STARTED, partial=exc.received, expected=missing
    )
    words = [f"Connection broken: IncompleteRead({exc.received} bytes read"]
    if exc.expected is None:
        words = [words[0] + ")", "Response ended prematurely"]
    else:
        words[0] += f", {missing} more expected)"
    return make_error(
        ProtocolError,
        complete(str(exc), request, *words),
        RESPONSE_STARTED,
        behind,
        partial=exc.received,
        expected=exc.expected,
    )
