"""A pool that sends everything through one SOCKS proxy.

Owns: `AsyncSOCKSProxy`; its signature is in `_core.pool_base`. Must not know: how a proxy is spoken
to (`_core.socks`), nor which request gets which connection.
"""

from __future__ import annotations

from .._backends.base import AsyncNetworkBackend
from .._core.pool_base import SOCKSProxyBase
from .connection_pool import AsyncConnectionPool


class AsyncSOCKSProxy(SOCKSProxyBase[AsyncNetworkBackend], AsyncConnectionPool):
    """`AsyncConnectionPool` with ``proxy=Proxy(proxy_url, proxy_auth)``, which must be SOCKS.

    Parameters:
        proxy_url: ``socks5h://host:port`` lets the proxy look names up, ``socks5://`` looks them
            up here; ``socks4a://`` and ``socks4://`` likewise. A user and password in it are
            used as `proxy_auth`.
        proxy_auth: user name and password, for the proxy only.
        The others: see `AsyncConnectionPool`.

    Raises UnsupportedProtocol for a URL of another kind.
    """
