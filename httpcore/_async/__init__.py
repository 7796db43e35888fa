"""The asynchronous shells: waiting, in an event loop. They decide nothing."""

from .connection import AsyncHTTPConnection
from .connection_pool import AsyncConnectionPool
from .http2 import AsyncHTTP2Connection
from .http11 import AsyncHTTP11Connection
from .http_proxy import AsyncHTTPProxy
from .interfaces import AsyncConnectionInterface
from .pool_manager import AsyncPoolManager
from .socks_proxy import AsyncSOCKSProxy

__all__ = [
    "AsyncConnectionInterface",
    "AsyncConnectionPool",
    "AsyncHTTP2Connection",
    "AsyncHTTP11Connection",
    "AsyncHTTPConnection",
    "AsyncHTTPProxy",
    "AsyncPoolManager",
    "AsyncSOCKSProxy",
]
