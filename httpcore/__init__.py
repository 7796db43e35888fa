"""httpcore: a pooled HTTP transport.

Public names only. The names, signatures and reprs of httpcore 1.0.9 are kept; `PoolManager`,
`SSLConfig`, `TimeoutConfig` and `PoolLimits` are the front door of 2019.

The exceptions are here from the start; HTTPX reads them from ``vars(httpcore)``. Any other name
is loaded when it is first used (PEP 562): a program that imports httpcore, or a library that
does, and sends nothing, loads no TLS and no codec.
"""

import importlib
import typing

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
from ._loading import while_loading as _while_loading

if typing.TYPE_CHECKING:
    # For type checkers; `_NAMES` is the same list for the interpreter, `_SUBMODULES` that of what
    # comes first.
    from . import aio as aio
    from . import exceptions as exceptions
    from . import redact as redact
    from . import rules as rules

    # Sending
    from ._api import request, stream

    # The asynchronous side
    from ._async import (
        AsyncConnectionInterface,
        AsyncConnectionPool,
        AsyncHTTP2Connection,
        AsyncHTTP11Connection,
        AsyncHTTPConnection,
        AsyncHTTPProxy,
        AsyncSOCKSProxy,
    )
    from ._backends.anyio import AnyIOBackend

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
    from ._backends.trio import TrioBackend

    # Configuration, 2019
    from ._config import PoolLimits, SSLConfig, TimeoutConfig
    from ._core.retry import RetryConfig
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
    from ._testing.async_logging_backend import AsyncLoggingBackend
    from ._testing.async_recording import AsyncRecordingBackend, AsyncReplayBackend
    from ._testing.logging_backend import LoggingBackend
    from ._testing.recording import RecordingBackend, ReplayBackend

    # What is known of a request afterwards
    from ._timeline import Timeline
    from ._timings import ConnectionInfo, Timings

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
    "AsyncLoggingBackend",
    "AsyncMockBackend",
    "AsyncMockStream",
    "AsyncNetworkBackend",
    "AsyncNetworkStream",
    "AsyncRecordingBackend",
    "AsyncReplayBackend",
    "AsyncSOCKSProxy",
    "CancelToken",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionInfo",
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
    "Timeline",
    "Timings",
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

# Where the names are that are loaded when they are first used.
_NAMES = {
    "_url": ("URL", "Origin"),
    "_models": ("Proxy", "Request", "Response"),
    "_config": ("PoolLimits", "SSLConfig", "TimeoutConfig"),
    "_ssl": (
        "create_ssl_context",
        "default_ssl_context",
        "load_roots",
        "resume_tls_sessions",
        "resumes_tls_sessions",
    ),
    "_no_proxy": ("bypasses_proxy",),
    "_timings": ("ConnectionInfo", "Timings"),
    "_timeline": ("Timeline",),
    "_core.retry": ("RetryConfig",),
    "_backends.base": (
        "SOCKET_OPTION",
        "AsyncNetworkBackend",
        "AsyncNetworkStream",
        "NetworkBackend",
        "NetworkStream",
    ),
    "_backends.sync": ("SyncBackend",),
    "_backends.tls_begin": ("wrap_bio", "wrap_socket"),
    "_sync": (
        "CancelToken",
        "ConnectionInterface",
        "ConnectionPool",
        "HTTP2Connection",
        "HTTP11Connection",
        "HTTPConnection",
        "HTTPProxy",
        "PoolManager",
        "SOCKSProxy",
    ),
    "_api": ("request", "stream"),
    "_async": (
        "AsyncConnectionInterface",
        "AsyncConnectionPool",
        "AsyncHTTP2Connection",
        "AsyncHTTP11Connection",
        "AsyncHTTPConnection",
        "AsyncHTTPProxy",
        "AsyncSOCKSProxy",
    ),
    "_backends.anyio": ("AnyIOBackend",),
    "_backends.trio": ("TrioBackend",),
    "_backends.mock": ("AsyncMockBackend", "AsyncMockStream", "MockBackend", "MockStream"),
    "_testing.logging_backend": ("LoggingBackend",),
    "_testing.recording": ("RecordingBackend", "ReplayBackend"),
    "_testing.async_logging_backend": ("AsyncLoggingBackend",),
    "_testing.async_recording": ("AsyncRecordingBackend", "AsyncReplayBackend"),
}
# Each of these is loaded by itself. All others are what any request needs: they are loaded
# together, so that a class shows its public path however the program came to it.
_APART = {
    *("_timeline", "_async", "_backends.anyio", "_backends.trio", "_backends.mock"),
    *("_testing.logging_backend", "_testing.recording"),
    *("_testing.async_logging_backend", "_testing.async_recording"),
}
_TOGETHER = [module for module in _NAMES if module not in _APART]
# Parts that are attributes of the package without an import of their own.
_SUBMODULES = {
    *(
        "aio",
        "exceptions",
        "redact",
        "rules",
        "_redact",
        "_timeouts",
        "_timings",
        "_trace",
        "_core",
        "_testing",
    ),
    *("_backends", *(name for name in _NAMES if "." not in name)),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def _publish(names: typing.Iterable[str], values: dict[str, typing.Any]) -> None:
    """Make `names` of a module's `values` ours: errors and reprs then show the public path."""
    for name in names:
        value = globals()[name] = values[name]
        if name != "SOCKET_OPTION":
            value.__module__ = "httpcore"


# Hidden from type checkers, for which any name of a module with a `__getattr__` would exist.
if not typing.TYPE_CHECKING:

    def __getattr__(name):
        """Load what `name` belongs to."""
        if name in _SUBMODULES:
            return importlib.import_module(f"httpcore.{name}")
        wanted = _MODULE_OF.get(name)
        if wanted is None:
            raise AttributeError(f"module 'httpcore' has no attribute {name!r}")
        return _while_loading(f"httpcore.{name}", lambda: _load(name, wanted))

    def _load(name, wanted):
        if name in globals():
            return globals()[name]  # another thread was faster
        for module in [wanted] if wanted in _APART else _TOGETHER:
            try:
                loaded = importlib.import_module(f"httpcore.{module}")
            except ModuleNotFoundError as exc:
                if exc.name is None or module != f"_backends.{exc.name}":
                    raise
                # It is loaded when the package has been installed: nothing is kept here.
                return importlib.import_module("httpcore._backends.missing").stand_in(
                    name, exc.name
                )
            _publish(_NAMES[module], vars(loaded))
        return globals()[name]

    def __dir__():
        return sorted({*globals(), *__all__})


_publish([name for name in __all__ if name in globals()], globals())
