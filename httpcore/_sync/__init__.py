"""The synchronous shells: waiting and locking. They decide nothing."""

from .._backends.cancel_token import CancelToken
from .connection import HTTPConnection
from .connection_pool import ConnectionPool
from .http2 import HTTP2Connection
from .http11 import HTTP11Connection
from .http_proxy import HTTPProxy
from .interfaces import ConnectionInterface
from .pool_manager import PoolManager
from .socks_proxy import SOCKSProxy

__all__ = [
    "CancelToken",
    "ConnectionInterface",
    "ConnectionPool",
    "HTTP2Connection",
    "HTTP11Connection",
    "HTTPConnection",
    "HTTPProxy",
    "PoolManager",
    "SOCKSProxy",
]
