"""A pool that sends everything through one HTTP proxy.

Owns: `AsyncHTTPProxy`; its signature is in `_core.pool_base`. Must not know: how a proxy is spoken
to (`_core.http_proxy`), nor which request gets which connection.
"""

from __future__ import annotations

from .._backends.base import AsyncNetworkBackend
from .._core.pool_base import HTTPProxyBase
from .connection_pool import AsyncConnectionPool


class AsyncHTTPProxy(HTTPProxyBase[AsyncNetworkBackend], AsyncConnectionPool):
    """`AsyncConnectionPool` with ``proxy=Proxy(proxy_url, proxy_auth, proxy_headers, ...)``.

    Parameters:
        proxy_url: ``http://host:port``; a user and password in it are used as `proxy_auth`.
        proxy_auth: user name and password, for the proxy only.
        proxy_headers: extra headers for the proxy: in each forwarded request, and in CONNECT.
        proxy_ssl_context: how to verify an https proxy; by default `default_ssl_context()`.
        The others: see `AsyncConnectionPool`.
    """
