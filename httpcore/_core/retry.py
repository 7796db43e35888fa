"""Decides when to send a request again, by how far it got.

Owns: `RetryConfig`, what it says about a failure or a status, how long to wait, and the budget.
Must not know: connections, clocks, sleeping, random numbers (they are passed in).

A failure says how far the request got (``phase``, see `_exceptions`):

- ``not_sent``: the server saw nothing of it. Sending it again is safe whatever it is.
- ``maybe_processed``: the server may have acted. Safe for what may be repeated: the idempotent
  methods of RFC 9110 section 9.2.2, unless `methods` says otherwise.
- ``response_started``: the server did act, and answered. It is not sent again.

A client that retries makes a bad hour of a server worse, so there is a budget for all requests of a
pool together: each first attempt earns a part of a retry, and a retry costs one. While a server is
down, retries are then at most that part of what is sent.

Sources: RFC 9110 sections 9.2.2 (idempotent methods) and 10.2.3 (Retry-After); "Exponential Backoff
And Jitter" (AWS Architecture Blog) for full jitter; Twitter's Finagle for the budget.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from .._exceptions import (
    NOT_SENT,
    RESPONSE_STARTED,
    Aborted,
    ConnectError,
    ConnectTimeout,
    NetworkError,
    PoolTimeout,
    RemoteProtocolError,
    TimeoutException,
    TLSError,
)
from .._models import HeaderList

# RFC 9110 section 9.2.2: repeating these has the effect of doing them once.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
# Statuses that say "not now"; with a Retry-After the server has said when. RFC 9110 section
# 15.6.4, RFC 6585 section 4.
BUSY = frozenset({429, 503})


@dataclass(frozen=True)
class RetryConfig:
    """The rules by which a pool sends requests again by itself.

    Parameters:
        attempts: how often at the most, over all reasons together.
        connect: how often for failures before anything was sent, of any method.
        read: how often for failures after that, of `methods` only.
        status: how often for a response with one of `statuses`, of `methods` only.
        statuses: the status codes to try again for.
        methods: the methods that may be repeated although the server may have acted.
        backoff: seconds; before the n-th retry a random time between 0 and
            ``backoff * 2**(n - 1)`` is waited (full jitter).
        max_backoff: seconds; the longest that is waited.
        retry_after: obey a Retry-After of a response with one of `statuses`.
        max_retry_after: seconds; for a longer one the response is returned instead.
        budget: retries for each first attempt of the pool, in the long run.
        reserve: retries that the budget begins with, and holds at the most.

    Body and deadline have the last word: what cannot be rewound is not sent twice, and no retry
    begins that could not end before a request's ``total``.

    Raises TypeError or ValueError for a value that cannot be.
    """

    attempts: int = 3
    connect: int = 3
    read: int = 3
    status: int = 3
    statuses: Collection[int] = BUSY
    methods: Collection[str] = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
    backoff: float = 0.5
    max_backoff: float = 30.0
    retry_after: bool = True
    max_retry_after: float = 60.0
    budget: float = 0.2
    reserve: int = 10

    def __post_init__(self) -> None:
        for name in ("attempts", "connect", "read", "status", "reserve"):
            self._check(name, int)
        for name in ("backoff", "max_backoff", "max_retry_after", "budget"):
            self._check(name, (int, float))
        for name, kind in (("statuses", int), ("methods", str)):
            values = getattr(self, name)
            if isinstance(values, (str, bytes)) or not isinstance(values, Collection):
                raise TypeError(f"{name} must be a collection, not {type(values).__name__}")
            for value in values:
                if not isinstance(value, kind):
                    raise TypeError(f"{name} must contain only {kind.__name__}, not {value!r}")
            object.__setattr__(self, name, frozenset(values))

    def _check(self, name: str, kinds: Any) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, kinds):
            what = "an integer" if kinds is int else "a number"
            raise TypeError(f"{name} must be {what}, not {type(value).__name__}")
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, got {value!r}")


class RetryBudget:
    """The retries that a pool has left. Not thread-safe: call it under a lock."""

    def __init__(self, config: RetryConfig) -> None:
        self._earned = config.budget
        self._most = float(config.reserve)
        self.left = self._most

    def earn(self) -> None:
        """Note that a first attempt was made."""
        self.left = min(self._most, self.left + self._earned)

    def spend(self) -> bool:
        """Pay for a retry; return whether it may be made."""
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


class Retries:
    """The retries of one request, and whether there may be one more."""

    def __init__(self, config: RetryConfig, method: bytes) -> None:
        self._config = config
        self._repeatable = method.decode("ascii", "replace") in config.methods
        self.made = 0
        self._by_reason = {"connect": 0, "read": 0, "status": 0}

    def after_failure(self, exc: BaseException, random: float) -> float | None:
        """Return the seconds to wait before the next attempt, or None when there is none.

        Parameters:
            random: from 0.0 to 1.0.
        """
        reason = self._reason(exc)
        if reason is None or not self._count(reason):
            return None
        return self._delay(random)

    def after_status(
        self, status: int, headers: HeaderList, random: float, wall_clock: float
    ) -> float | None:
        """Do as `after_failure` does, for a response.

        Parameters:
            headers: its fields, pairs of bytes.
            wall_clock: the time of day in seconds since 1970, for a Retry-After that is a date.
        """
        config = self._config
        if status not in config.statuses or not self._repeatable:
            return None
        after = retry_after(headers, wall_clock) if config.retry_after else None
        if after is not None and after > config.max_retry_after:
            return None
        if not self._count("status"):
            return None
        return self._delay(random) if after is None else after

    def _reason(self, exc: BaseException) -> str | None:
        if not isinstance(exc, (NetworkError, RemoteProtocolError, TimeoutException)):
            return None
        if isinstance(exc, (Aborted, PoolTimeout, TLSError)) or exc.phase == RESPONSE_STARTED:
            return None  # it was meant, or would be the same again
        if isinstance(exc, (ConnectError, ConnectTimeout)) or exc.phase == NOT_SENT:
            return "connect"
        return "read" if self._repeatable else None

    def _count(self, reason: str) -> bool:
        limit: int = getattr(self._config, reason)
        if self.made >= self._config.attempts or self._by_reason[reason] >= limit:
            return False
        self.made += 1
        self._by_reason[reason] += 1
        return True

    def _delay(self, random: float) -> float:
        ceiling = self._config.backoff * 2.0 ** min(self.made - 1, 60)
        return random * min(self._config.max_backoff, ceiling)


def retry_after(headers: HeaderList, wall_clock: float) -> float | None:
    """Return the seconds that Retry-After asks for, or None where there is none, or nonsense."""
    value = next((value for name, value in headers if name.lower() == b"retry-after"), None)
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])  # a billion seconds is long enough
    from email.utils import parsedate_to_datetime  # slow to import, and few servers send dates

    try:
        return float(max(0.0, parsedate_to_datetime(text).timestamp() - wall_clock))
    except (TypeError, ValueError, OverflowError):
        return None
