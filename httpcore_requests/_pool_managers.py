"""The managers that find an adapter's pools, as urllib3's users know them.

Owns: which manager hands out pools of ours, and for which schemes. Must not know: requests, what
a pool does with a request.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import urllib3
from urllib3.poolmanager import pool_classes_by_scheme

import httpcore

from . import _unix
from ._fork import renew_in_child
from ._host_pool import HostPool
from ._proxies import DEFAULT_PORTS, to_core
from ._settings import Transports, check_keywords, check_proxy_config


class PoolManager(urllib3.PoolManager):
    """A `urllib3.PoolManager` whose pools are `HostPool`.

    Parameters: the adapter's transports, then those of `urllib3.PoolManager`; and `through`, a
    SOCKS proxy on the way to every host, or None.
    """

    def __init__(
        self,
        transports: Transports,
        num_pools: int = 10,
        *,
        through: httpcore.Proxy | None = None,
        **kw: Any,
    ) -> None:
        super().__init__(num_pools, **kw)
        self._transports = transports
        self._through = through
        adopt(self, transports, through)

    def clear(self) -> None:
        """Forget all pools; idle connections are closed, busy ones when their response ends."""
        super().clear()
        if self._through is None:
            self._transports.close()
        else:
            self._transports.leave(self._through)


class ProxyManager(urllib3.ProxyManager):
    """A `urllib3.ProxyManager` whose pools are `HostPool`.

    Parameters: the adapter's transports, then those of `urllib3.ProxyManager`.
    """

    def __init__(self, transports: Transports, proxy_url: str, **kw: Any) -> None:
        super().__init__(proxy_url, **kw)
        self._transports = transports
        adopt(self, transports)

    def clear(self) -> None:
        """Forget all pools, and close the idle connections through this proxy."""
        super().clear()
        leave(self, self._transports)


def adopt(
    manager: urllib3.PoolManager, transports: Transports, through: httpcore.Proxy | None = None
) -> None:
    """Make `manager` hand out pools of ours from now on, unless it was given its own classes.

    Adapters that build a plain `urllib3.PoolManager` themselves are served this way;
    ``pool_classes_by_scheme`` is what urllib3 lets its users set for this.

    Raises TypeError for a keyword that cannot be honoured, ValueError for a value that cannot.
    """
    if manager.pool_classes_by_scheme is pool_classes_by_scheme:
        if manager.proxy is None:
            keys: Any = manager.key_fn_by_scheme
            keys[_unix.SCHEME] = _unix.pool_key
        manager.pool_classes_by_scheme = _Classes(transports, through)
        renew_in_child(manager.pools, "lock", threading.RLock)
    if type(manager.pool_classes_by_scheme) is _Classes:
        check_keywords(manager.connection_pool_kw)
        check_proxy_config(manager.proxy, manager.proxy_config)


class _Classes(dict[str, Any]):
    """The makers of a manager's pools, by scheme."""

    def __init__(self, transports: Transports, through: httpcore.Proxy | None) -> None:
        for scheme in (*DEFAULT_PORTS, _unix.SCHEME):
            self[scheme] = functools.partial(HostPool, transports, scheme, _socks=through)


def leave(manager: urllib3.ProxyManager, transports: Transports) -> None:
    """Close the idle connections through the proxy of `manager`."""
    if manager.proxy is not None:
        hook = transports.settings.on_proxy_challenge
        transports.leave(to_core(manager.proxy, manager.proxy_headers, hook))
