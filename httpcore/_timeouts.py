"""The five timeouts of a request, and how they are read and checked.

Owns: `Timeouts`. Must not know: clocks, deadlines, connections.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ._exceptions import InvalidTimeout


def check_timeout(value: object, name: str) -> float | None:
    """`value` if it is None or a number of seconds that can be waited."""
    if value is None:
        return None
    what = f"{name} timeout" if name in TIMEOUT_NAMES else name
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} must be a number of seconds or None, not {type(value).__name__}")
    if not value >= 0:  # NaN compares false
        raise InvalidTimeout(f"{what} must not be negative or NaN, got {value!r} s")
    # Python's sockets and locks overflow beyond about 292 years; inf means no limit.
    return None if value > 9e9 else value


class Timeouts(NamedTuple):
    """The five limits of a request, in seconds; None for no limit.

    Attributes:
        connect: for each attempt to open a connection.
        read: how long the server may be silent.
        write: how long it may take nothing of what is sent.
        pool: for the wait for a connection.
        total: for all of the request, from the wait to the last byte of the response.
    """

    connect: float | None = None
    read: float | None = None
    write: float | None = None
    pool: float | None = None
    total: float | None = None


NO_TIMEOUTS = Timeouts()


TIMEOUT_NAMES = ("connect", "read", "write", "pool", "total")


_is_known = frozenset(TIMEOUT_NAMES).issuperset


def read_timeouts(timeout: Any, argument: str = "extensions['timeout']") -> Timeouts:
    """Return a request's ``extensions["timeout"]`` as `Timeouts`, checked.

    Parameters:
        argument: what to call it in error texts.

    Raises TypeError, InvalidTimeout, or ValueError for a key that is not known.
    """
    try:
        get = timeout.get
        known = _is_known(timeout)
    except (AttributeError, TypeError):
        raise TypeError(
            f"{argument} must be a dict of connect, read, write, pool and total seconds, "
            f"not {type(timeout).__name__}"
        ) from None
    if not known:
        raise ValueError(_explain_key(timeout, argument))
    values = get("connect"), get("read"), get("write"), get("pool"), get("total")
    for value in values:
        if value is None:
            continue
        kind = type(value)  # that of True is bool, which is refused
        if not ((kind is float or kind is int) and 0.0 <= value <= 9e9):
            connect, read, write, pool, total = values
            return Timeouts(
                check_timeout(connect, "connect"),
                check_timeout(read, "read"),
                check_timeout(write, "write"),
                check_timeout(pool, "pool"),
                check_timeout(total, "total"),
            )
    # As `Timeouts(*values)` does, without calling its Python code on the warm path.
    return tuple.__new__(Timeouts, values)


def _explain_key(timeout: Iterable[object], argument: str) -> str:
    """Name the first key of `timeout` that has no meaning, and those that have one."""
    wrong = next(key for key in timeout if key not in TIMEOUT_NAMES)
    return f"{argument} has the unknown key {wrong!r}; known are {', '.join(TIMEOUT_NAMES)}"
