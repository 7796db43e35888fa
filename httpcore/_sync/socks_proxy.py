"""A pool that sends everything through one SOCKS proxy.

Owns: the signature of httpcore 1.0.9's `SOCKSProxy`. Must not know: how a proxy is spoken to
(`_core.socks`), nor which request gets which connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._backends.base import NetworkBackend
from .._core.http_proxy import SOCKS
from .._exceptions import UnsupportedProtocol
from .._models import Proxy
from .._url import URL
from .connection_pool import ConnectionPool

if TYPE_CHECKING:
    import ssl


class SOCKSProxy(ConnectionPool):
    """`ConnectionPool` with ``proxy=Proxy(proxy_url, proxy_auth)``, which must be SOCKS.

    Parameters:
        proxy_url: ``socks5h://host:port`` lets the proxy look names up, ``socks5://`` looks them
            up here; ``socks4a://`` and ``socks4://`` likewise. A user and password in it are
            used as `proxy_auth`.
        proxy_auth: user name and password, for the proxy only.
        The others: see `ConnectionPool`.

    Raises UnsupportedProtocol for a URL of another kind.
    """

    def __init__(
        self,
        proxy_url: URL | bytes | str,
        proxy_auth: tuple[bytes | str, bytes | str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int | None = 10,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        network_backend: NetworkBackend | None = None,
    ) -> None:
        proxy = Proxy(proxy_url, proxy_auth)
        if proxy.url.scheme not in SOCKS:
            scheme = proxy.url.scheme.decode("ascii", "backslashreplace")
            raise UnsupportedProtocol(f"{scheme}:// is no SOCKS proxy; use httpcore.HTTPProxy")
        super().__init__(
            ssl_context=ssl_context,
            proxy=proxy,
            max_connections=max_connections,
            max_keepalive_connections=max_keepalive_connections,
            keepalive_expiry=keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            network_backend=network_backend,
        )
        self._proxy_url = proxy.url  # HTTPX's tests read it
