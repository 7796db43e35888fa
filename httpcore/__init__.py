"""httpcore: a pooled HTTP transport.

Public names only. The names, signatures and reprs of httpcore 1.0.9 are kept; `PoolManager`,
`SSLConfig`, `TimeoutConfig` and `PoolLimits` are the front door of 2019.
"""

# Sending
from ._api import request, stream

# The asynchronous side: names that say they are not built yet
from ._async import (
    AnyIOBackend,
    AsyncConnectionInterface,
    AsyncConnectionPool,
    AsyncHTTP2Connection,
    AsyncHTTP11Connection,
    AsyncHTTPConnection,
    AsyncHTTPProxy,
    AsyncSOCKSProxy,
    TrioBackend,
)

# The network layer
from ._backends.base import (
    SOCKET_OPTION,
    AsyncNetworkBackend,
    AsyncNetworkStream,
    NetworkBackend,
    NetworkStream,
)
from ._backends.mock import AsyncMockBackend, AsyncMockStream, MockBackend, MockStream
from ._backends.sync import SyncBackend
from ._backends.tls_begin import wrap_bio, wrap_socket

# Configuration, 2019
from ._config import PoolLimits, SSLConfig, TimeoutConfig
from ._core.retry import RetryConfig

# Errors
from ._exceptions import (
    ConnectError,
    ConnectionNotAvailable,
    ConnectTimeout,
    LocalProtocolError,
    NetworkError,
    PoolTimeout,
    ProtocolError,
    ProxyError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    TimeoutException,
    UnsupportedProtocol,
    WriteError,
    WriteTimeout,
)
from ._models import Proxy, Request, Response
from ._no_proxy import bypasses_proxy
from ._ssl import (
    create_ssl_context,
    default_ssl_context,
    load_roots,
    resume_tls_sessions,
    resumes_tls_sessions,
)

# Pools and connections
from ._sync import (
    CancelToken,
    ConnectionInterface,
    ConnectionPool,
    HTTP2Connection,
    HTTP11Connection,
    HTTPConnection,
    HTTPProxy,
    PoolManager,
    SOCKSProxy,
)
from ._testing.logging_backend import LoggingBackend
from ._testing.recording import RecordingBackend, ReplayBackend

# Nouns
from ._url import URL, Origin

__version__ = "1.1.0"

__all__ = [
    "SOCKET_OPTION",
    "URL",
    "AnyIOBackend",
    "AsyncConnectionInterface",
    "AsyncConnectionPool",
    "AsyncHTTP2Connection",
    "AsyncHTTP11Connection",
    "AsyncHTTPConnection",
    "AsyncHTTPProxy",
    "AsyncMockBackend",
    "AsyncMockStream",
    "AsyncNetworkBackend",
    "AsyncNetworkStream",
    "AsyncSOCKSProxy",
    "CancelToken",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionInterface",
    "ConnectionNotAvailable",
    "ConnectionPool",
    "HTTP2Connection",
    "HTTP11Connection",
    "HTTPConnection",
    "HTTPProxy",
    "LocalProtocolError",
    "LoggingBackend",
    "MockBackend",
    "MockStream",
    "NetworkBackend",
    "NetworkError",
    "NetworkStream",
    "Origin",
    "PoolLimits",
    "PoolManager",
    "PoolTimeout",
    "ProtocolError",
    "Proxy",
    "ProxyError",
    "ReadError",
    "ReadTimeout",
    "RecordingBackend",
    "RemoteProtocolError",
    "ReplayBackend",
    "Request",
    "Response",
    "RetryConfig",
    "SOCKSProxy",
    "SSLConfig",
    "SyncBackend",
    "TimeoutConfig",
    "TimeoutException",
    "TrioBackend",
    "UnsupportedProtocol",
    "WriteError",
    "WriteTimeout",
    "bypasses_proxy",
    "create_ssl_context",
    "default_ssl_context",
    "load_roots",
    "request",
    "resume_tls_sessions",
    "resumes_tls_sessions",
    "stream",
    "wrap_bio",
    "wrap_socket",
]

# Errors and reprs show the public path, not the room a class happens to live in.
for _name in __all__:
    if _name != "SOCKET_OPTION":
        globals()[_name].__module__ = "httpcore"
del _name
