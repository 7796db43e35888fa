"""The pool as 2019 designed it.

Owns: `PoolManager`. Must not know: how a pool works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._config import PoolLimits, SSLConfig, TimeoutConfig
from .._ssl import create_ssl_context
from .._timeouts import read_timeouts
from .connection_pool import ConnectionPool

if TYPE_CHECKING:
    import ssl


class PoolManager(ConnectionPool):
    """The pool as 2019 designed it: three configuration objects. Thread-safe.

    Parameters:
        ssl: how to verify servers and who we are.
        timeout: for requests that bring none of their own in ``extensions["timeout"]``.
        limits: how many connections.
    """

    def __init__(
        self,
        *,
        ssl: SSLConfig | None = None,
        timeout: TimeoutConfig | None = None,
        limits: PoolLimits | None = None,
    ) -> None:
        for name, value, kind in (
            ("ssl", ssl, SSLConfig),
            ("timeout", timeout, TimeoutConfig),
            ("limits", limits, PoolLimits),
        ):
            if value is not None and not isinstance(value, kind):
                raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")
        super().__init__(**(limits or PoolLimits()).as_pool_arguments())  # type: ignore[arg-type]
        self._ssl_config = ssl or SSLConfig()
        if timeout is not None:
            self._default_timeouts = read_timeouts(timeout.as_extension())

    def _make_ssl_context(self) -> ssl.SSLContext | None:
        config = self._ssl_config
        return create_ssl_context(config.verify, config.cert, protocols=self._settings.protocols)
