"""`Timeout`: what requests' ``timeout=`` can be to say more than (connect, read).

Owns: the class, and how an adapter's default is read. Must not know: what is done with it.

requests hands a `urllib3.Timeout` on as it is, so a subclass of it is the way for a single request
to say something to the adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import urllib3

import httpcore

if TYPE_CHECKING:
    from typing_extensions import Self

#: What an adapter, a session and `install` take as ``timeout=``.
TimeoutGiven = float | tuple[float | None, float | None] | urllib3.Timeout | None


if TYPE_CHECKING:

    class _Base(urllib3.Timeout, float):
        """The class that type checkers see: to requests' own types a timeout is a number or a
        tuple, though requests takes a `urllib3.Timeout` and passes it on. So ``requests.get(url,
        timeout=Timeout(10))`` is accepted; no number it is, all the same."""

        def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...

else:
    _Base = urllib3.Timeout


class Timeout(_Base):
    """Limits for one request: ``session.get(url, timeout=Timeout(total=10))``.

    Parameters:
        total: seconds for all of it: look-up, wait for a connection, connect, proxy, TLS, upload,
            head and body, and all retries. Each hop of a redirect is a request of its own. None
            for no limit.
        connect: seconds to connect, TLS included.
        read: seconds without a byte from the server.
        write: seconds in which the server takes no byte of the body; as `read` if left out.
        pool: seconds to wait for a connection; as the adapter's ``pool_timeout`` if left out.
        cancel: an `httpcore.CancelToken`; its ``cancel()`` ends the request from another thread.

    A request that is given one does not get the adapter's default for what this leaves out:
    ``Timeout(None)`` is no limit at all.

    It may be used for any number of requests: nothing in it ticks. Thread-safe.

    Raises ValueError for a value that cannot be waited, TypeError for a `cancel` that is none.
    """

    def __init__(
        self,
        total: float | None = None,
        connect: float | None = None,
        read: float | None = None,
        *,
        write: float | None = None,
        pool: float | None = None,
        cancel: httpcore.CancelToken | None = None,
    ) -> None:
        super().__init__(total=total, connect=connect, read=read)
        self.write = self._validate_timeout(write, "write")
        self.pool = self._validate_timeout(pool, "pool")
        if cancel is not None and not isinstance(cancel, httpcore.CancelToken):
            raise TypeError(f"cancel must be an httpcore.CancelToken, not {type(cancel).__name__}")
        self.cancel = cancel

    def clone(self) -> Timeout:
        """Return itself: urllib3 copies a Timeout because its own starts to tick."""
        return self

    def __repr__(self) -> str:
        given = {
            "total": self.total,
            "connect": self._connect,
            "read": self._read,
            "write": self.write,
            "pool": self.pool,
            "cancel": self.cancel,
        }
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)
        return f"{type(self).__name__}({shown})"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        if self.cancel is not None:
            raise TypeError("a Timeout with a cancel token cannot be pickled or copied")
        return _rebuild, (self.total, self._connect, self._read, self.write, self.pool)


def _rebuild(
    total: float | None,
    connect: float | None,
    read: float | None,
    write: float | None,
    pool: float | None,
) -> Timeout:
    return Timeout(total, connect, read, write=write, pool=pool)


def default_timeout(given: object) -> urllib3.Timeout | None:
    """Return the default timeout that an adapter is `given`; None for none.

    Raises TypeError for what is no timeout, ValueError for seconds that cannot be waited.
    """
    if given is None:
        return None
    if isinstance(given, urllib3.Timeout):
        return given.clone()  # its own may tick, once somebody else uses it
    pair: Any = given if isinstance(given, tuple) and len(given) == 2 else (given, given)
    for seconds in pair:
        if seconds is None:
            continue
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise TypeError(
                "timeout must be a number of seconds, a tuple (connect, read), a Timeout or None, "
                f"not {given!r}"
            )
        if not seconds > 0:  # NaN compares false
            raise ValueError(f"timeout must be more than 0 seconds, not {given!r}")
    connect, read = pair
    return Timeout(connect=connect, read=read)


def says_nothing(timeout: urllib3.Timeout) -> bool:
    """Return whether `timeout` is what requests makes of ``timeout=None``, or urllib3's default.

    One of a class of its own was made by the caller, and means what it says, also that there is no
    limit.
    """
    return (
        type(timeout) is urllib3.Timeout
        and timeout.total is None
        and timeout.connect_timeout in _UNSAID
        and timeout.read_timeout is None
    )


_UNSAID = (None, urllib3.Timeout.DEFAULT_TIMEOUT)
