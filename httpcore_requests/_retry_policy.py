"""The step after an attempt: the policy for another one, or the error that is reported.

Owns: how a urllib3 `Retry` policy is asked, how far what it counts got, and what of a body may be
sent again. Must not know: how a request is sent, connections, requests.

The policy decides, a subclass with all that it overrides; three things are added to it:

- A failure counts by how far the request got. Where nothing was sent it is a connect error,
  whatever broke and whatever the method: ``connect`` limits it. Where the server may have acted,
  only ``allowed_methods`` are repeated.
- A body is sent again from where it started, or not at all: an iterator, a pipe, a file that does
  not go back keep the first failure, or the response that would have been repeated.
- "Max retries exceeded" is said only where there was a retry.

Sources: urllib3's `HTTPConnectionPool.urlopen` for the order of steps, RFC 9110 section 9.2.2 for
what may be repeated, section 15.4 for redirects.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPHeaderDict
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    ProxyError,
    ResponseError,
    SSLError,
    UnrewindableBodyError,
)
from urllib3.util.request import rewind_body

import httpcore
from httpcore import exceptions as finer
from httpcore.redact import without_query

from ._errors import (
    NOT_SENT,
    RESPONSE_STARTED,
    Attempt,
    InvalidHeader,
    ProtocolError,
    from_request,
    furthest,
    make_error,
    not_retried,
    retried,
)
from ._errors import ConnectTimeoutError as ConnectTimeout
from ._request import is_replayable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from urllib3.util.retry import Retry

    from ._pool_shape import PoolShape
    from ._raw import RawResponse

# urllib3's name: pip and others filter and rewrite the retry warning there.
log = logging.getLogger("urllib3.connectionpool")

# Bytes of an unread answer that are worth reading away; more cost longer than a new connection.
DRAIN_LIMIT = 65536

# Retries of one request. A policy may know no limit, such as ``Retry(total=None, status=3)`` for a
# host that refuses connections; urllib3 ends that with a RecursionError, some hundred retries on.
MAX_RETRIES = 1000

# Failures before the first byte of a body was asked for.
_BEFORE_THE_BODY = (
    httpcore.ConnectError,
    httpcore.ConnectTimeout,
    httpcore.PoolTimeout,
    httpcore.ProxyError,
)

# What requests' `send` sorts only when it comes in a MaxRetryError; bare, these reach the caller
# as urllib3's, or without their request.
_TOLD_WRAPPED = (ConnectTimeoutError, ProxyError)

# What describes a body that a redirect leaves behind.
_ABOUT_THE_BODY = frozenset(
    [
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-type",
        "digest",
        "last-modified",
        "transfer-encoding",
    ]
)


def after_failure(
    exc: Exception,
    pool: PoolShape,
    retries: Retry,
    method: str,
    url: str,
    body: object,
    body_pos: object,
    end: float | None = None,
) -> Retry:
    """Return the policy for the next attempt, the body ready for it; raises when there is none.

    Parameters:
        exc: one of `FAILURES`.
        body_pos: where `body` stood before it was first sent, if it is a file that knows it.
        end: by `time.monotonic`, when there is no time for another attempt; None for never.
    """
    error: Any = from_request(exc, Attempt(pool, method, url))
    again: Retry | HTTPError | None = None
    try:
        if isinstance(error, (ValueError, InvalidHeader)):
            raise error from exc  # the request itself is wrong
        if isinstance(exc, finer.Aborted):
            raise error from exc  # it was meant
        in_place = isinstance(exc, _BEFORE_THE_BODY)
        if not in_place and not is_replayable(body, body_pos):
            raise _reported(error, pool, method, url, retries) from exc
        again = _asked(partial(_count, error, exc, pool, retries, method, url))
        if isinstance(again, HTTPError):
            cause = again.reason if isinstance(again, MaxRetryError) else exc
            raise _reported(again, pool, method, url, retries, error.phase) from cause
        if not in_place and not _rewound(body, body_pos):
            raise _reported(error, pool, method, url, retries) from exc
        if end is not None and time.monotonic() + again.get_backoff_time() >= end:
            raise _reported(error, pool, method, url, retries) from exc
        again.sleep()
        log.warning(
            "Retrying (%r) after connection broken by '%r': %s",
            again,
            error,
            without_query(url),
            extra={"__urllib3-retry-warning": {"host": pool.host}},
        )
        return again
    finally:
        del error, again  # else they and this frame would keep each other


def _asked(policy: Callable[[], Retry]) -> Retry | HTTPError:
    """Return what `policy` returns, or the error that it raises. Raised while that is handled, ours
    would be chained to it, and urllib3's own text has the whole URL."""
    try:
        return policy()
    except HTTPError as failure:
        return failure.with_traceback(None)  # else it and frames that name it would keep each other


def _increment(retries: Retry, pool: PoolShape, method: str, url: str, **seen: Any) -> Retry:
    """Return `retries` less one for what was `seen`.

    Raises MaxRetryError where none are left, or where there is no `total` and there were too many
    to believe that they are meant.
    """
    if retries.total is None and len(retries.history) >= MAX_RETRIES:
        why = f"a policy without a limit of all (total=None), and {MAX_RETRIES} retries"
        raise MaxRetryError(pool, url, seen.get("error") or ResponseError(why))
    return retries.increment(method, url, _pool=pool, **seen)


def _count(
    error: Any, exc: Exception, pool: PoolShape, retries: Retry, method: str, url: str
) -> Retry:
    """Return `retries` less this failure; raises `error` or MaxRetryError when they are used up."""
    unsent = error.phase == NOT_SENT
    # A connection that TLS or a proxy broke counts under `other`, which asks for no method.
    other = isinstance(error, (SSLError, ProxyError)) and not unsent
    if other and not retries._is_method_retryable(method):
        raise error
    counted = error
    if unsent and retries._is_read_error(error):
        # A proxy that is silent to CONNECT. requests' users know it as a read timeout.
        counted = make_error(ConnectTimeout, str(error), NOT_SENT)
        counted.__cause__ = exc
    again = _asked(
        lambda: _increment(retries, pool, method, url, error=counted, _stacktrace=exc.__traceback__)
    )
    if isinstance(again, HTTPError):
        raise again if counted is error or retries.history else error
    if not unsent or again.connect is None or retries._is_connection_error(counted):
        return again
    # A failed handshake, or a proxy that refuses: urllib3 counts these under `other` alone. They
    # are what `connect` is for, too: nothing was sent.
    if again.connect is False:
        raise error
    again = again.new(connect=again.connect - 1)
    if again.is_exhausted():
        raise MaxRetryError(pool, url, error)
    return again


def after_status(
    raw: RawResponse,
    pool: PoolShape,
    retries: Retry,
    method: str,
    url: str,
    body: object,
    body_pos: object,
    end: float | None = None,
) -> Retry | None:
    """Return the policy for asking again because of the response's status; None to keep it."""
    has_retry_after = "retry-after" in raw.folded and bool(raw.folded["retry-after"][1])
    if not retries.is_retry(method, raw.status, has_retry_after):
        return None
    if not is_replayable(body, body_pos):
        return None
    again = _asked(lambda: _increment(retries, pool, method, url, response=raw))
    if isinstance(again, MaxRetryError):
        if not retries.raise_on_status:
            return None
        _put_away(raw)
        raise _reported(again, pool, method, url, retries, RESPONSE_STARTED) from again.reason
    if isinstance(again, HTTPError):
        raise again
    if end is not None:
        wait = (again.get_retry_after(raw) or 0) if again.respect_retry_after_header else 0
        if time.monotonic() + (wait or again.get_backoff_time()) >= end:
            return None  # it would be too late
    if not _rewound(body, body_pos):
        return None
    _put_away(raw)
    again.sleep(raw)
    log.debug("Retry: %s", without_query(url))
    return again


def after_redirect(
    raw: RawResponse,
    pool: PoolShape,
    retries: Retry,
    method: str,
    url: str,
    location: str,
    body: object,
    body_pos: object,
) -> Retry | None:
    """Return the policy for following a redirect to `location`; None to keep the response.

    Raises UnrewindableBodyError for a body that would have to be sent again and cannot.
    """
    again = _asked(lambda: _increment(retries, pool, method, url, response=raw))
    if isinstance(again, MaxRetryError):
        if not retries.raise_on_redirect:
            return None
        _put_away(raw)
        raise _reported(again, pool, method, url, retries, RESPONSE_STARTED) from again.reason
    if isinstance(again, HTTPError):
        raise again
    _put_away(raw)
    # A file that does not know its position has one that is no number; `urlopen` says so.
    if body_pos is None and not is_replayable(body, body_pos):
        raise UnrewindableBodyError(
            f"cannot follow the redirect to {without_query(location)}: "
            f"the body, {type(body).__name__}, "
            "cannot be sent again"
        )
    again.sleep_for_retry(raw)
    log.debug("Redirecting %s -> %s", without_query(url), without_query(location))
    return again


def _put_away(raw: RawResponse) -> None:
    """Finish a response that is not handed out: read away a short rest, so that the connection
    serves the next attempt, or close it. An error page may be long, or have no end."""
    wire = raw.wire
    budget = DRAIN_LIMIT
    if wire.left is None or wire.left <= budget:
        try:
            while budget > 0 and not wire.closed:
                budget -= len(wire.read1(budget))
        except HTTPError:
            pass  # it broke off, or is late: not worth keeping
    raw.close()


def refuse_spent(body: object) -> None:
    """Raise ProtocolError for a generator that has run: its body went with an earlier request.

    What comes here again with one (a digest handler, a caller's own loop) would send nothing in
    its place, and be told that all is well.
    """
    if getattr(body, "gi_frame", body) is None:
        raise make_error(
            ProtocolError,
            "cannot send the body again: it is a generator, and an earlier request used it up",
            NOT_SENT,
        )


def _rewound(body: Any, body_pos: Any) -> bool:
    """Put a file back to where it was before it was sent; False if it does not go back."""
    if not isinstance(body_pos, int) or not hasattr(body, "seek"):
        return True
    try:
        rewind_body(body, body_pos)
    except (UnrewindableBodyError, ValueError):  # the second: it was closed meanwhile
        return False
    return True


def _reported(
    failure: Exception,
    pool: PoolShape,
    method: str,
    url: str,
    retries: Retry,
    phase: str | None = None,
) -> Exception:
    """Return `failure` as requests' `send` can sort it, and no word of retries if there was none.

    Its phase is that of the attempt that got furthest: the last one may have been refused after
    an earlier one was read.
    """
    past = [getattr(entry.error, "phase", RESPONSE_STARTED) for entry in retries.history]
    if phase is None:
        phase = getattr(failure, "phase", NOT_SENT)
    phase = furthest(str(phase), *past)
    if type(failure) is MaxRetryError:
        if retries.history or failure.reason is None:
            return retried(failure, method, phase, len(retries.history))
        return not_retried(failure.reason, pool, method, url, phase)
    if isinstance(failure, _TOLD_WRAPPED):
        return not_retried(failure, pool, method, url, phase)
    if hasattr(failure, "phase"):
        failure.phase = phase
    return failure


def without_body(headers: Mapping[str, str]) -> HTTPHeaderDict:
    """Return `headers` for a request that leaves the body behind."""
    return without(headers, _ABOUT_THE_BODY)


def without(headers: Mapping[str, str], names: Iterable[str]) -> HTTPHeaderDict:
    """Return `headers` less those called one of `names`, in any case."""
    kept = HTTPHeaderDict(headers)
    for name in names:
        kept.pop(name, None)
    return kept
