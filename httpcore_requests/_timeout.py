"""`Timeout`: what requests' ``timeout=`` can be to say more than (connect, read).

Owns: the class. Must not know: what is done with it.

requests hands a `urllib3.Timeout` on as it is, so a subclass of it is the way for a single request
to say something to the adapter.
"""

from __future__ import annotations

from typing import Any

import urllib3

import httpcore


class Timeout(urllib3.Timeout):
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
