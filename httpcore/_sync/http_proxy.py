"""A pool that sends everything through one HTTP proxy.

Owns: the signature of httpcore 1.0.9's `HTTPProxy`. Must not know: how a proxy is spoken to
(`_core.http_proxy`), nor which request gets which connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._backends.base import SOCKET_OPTION, NetworkBackend
from .._models import HeaderTypes, Proxy
from .._url import URL
from .connection_pool import ConnectionPool

if TYPE_CHECKING:
    import ssl


class HTTPProxy(ConnectionPool):
    """`ConnectionPool` with ``proxy=Proxy(proxy_url, proxy_auth, proxy_headers, ...)``.

    Parameters:
        proxy_url: ``http://host:port``; a user and password in it are used as `proxy_auth`.
        proxy_auth: user name and password, for the proxy only.
        proxy_headers: extra headers for the proxy: in each forwarded request, and in CONNECT.
        proxy_ssl_context: how to verify an https proxy; by default `default_ssl_context()`.
        The others: see `ConnectionPool`.
    """

    def __init__(
        self,
        proxy_url: URL | bytes | str,
        proxy_auth: tuple[bytes | str, bytes | str] | None = None,
        proxy_headers: HeaderTypes = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy_ssl_context: ssl.SSLContext | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        network_backend: NetworkBackend | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> None:
        proxy = Proxy(proxy_url, proxy_auth, proxy_headers, proxy_ssl_context)
        super().__init__(
            ssl_context=ssl_context,
            proxy=proxy,
            max_connections=max_connections,
            max_keepalive_connections=max_keepalive_connections,
            keepalive_expiry=keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            local_address=local_address,
            uds=uds,
            network_backend=network_backend,
            socket_options=socket_options,
        )
        self._proxy_url = proxy.url  # HTTPX's tests read it
