"""A network layer that says in the log what it does.

Owns: what is logged, and what of it must not be seen. Must not know: pools, what the bytes mean
beyond where a line with a secret begins.

Each operation is one DEBUG record: what, with which peer, how many bytes, how long it took, and how
the bytes begin. A preview is text: bytes that do not begin as text (compressed bodies, HTTP/2
frames, the messages of SOCKS, of which one is a password) are counted only. Which header line it is
in, a `Preview` knows over the ends of reads and writes, so no value is shown because its name came
with the bytes before.

Sources: RFC 9112 section 5 (field lines), RFC 9113 section 3.4 (how HTTP/2 begins).
"""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from .._backends.base import SOCKET_OPTION, NetworkBackend, NetworkStream
from .._backends.sync import SyncBackend
from .._backends.wrapped import WrappedStream
from .._redact import FILTERED, SUSPECT, hide_links, is_secret
from .._trace import logs_debug
from .._url import shown_path
from ..rules import host_and_port
from .cassettes.exchange import MARK, to_bytes, to_text
from .cassettes.filters import Filters
from .cassettes.requests import PREFACE

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")  # what an action returns

# Bytes of an unfinished line that are remembered: no header with a secret has a longer name.
MAX_NAME = 256

_match_name = re.compile(rb"([!-9;-~]+):[ \t]*").match
_TEXT = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\r\n")


class Preview:
    """Shows the bytes of one direction as text.

    Parameters:
        filters: what is secret.
        size: how many bytes are shown of each read or write.
    """

    def __init__(self, filters: Filters, size: int) -> None:
        self._filters = filters
        self._size = size
        self._line = b""  # how the unfinished line begins
        self._secret = False  # it has a secret, or goes on from one that had

    def show(self, data: bytes) -> str:
        """Return how `data` begins, as a literal; "" where that is no text."""
        shown = bytearray()
        *lines, last = data.split(b"\n")
        for line in lines:
            shown += self._mask(line, True) + b"\n"
            self._line = b""
        shown += self._mask(last, False)
        self._line = (self._line + last)[:MAX_NAME]
        if data[:1] and data[0] not in _TEXT:
            return ""
        return repr(bytes(shown[: self._size])) + ("..." if len(shown) > self._size else "")

    def skip(self) -> None:
        """Note that bytes went by unseen: what comes may be the end of a secret."""
        self._line, self._secret = b" ", True

    def _mask(self, piece: bytes, ends: bool) -> bytes:
        """Return a piece of a line without its secret; `ends` says that it is its last."""
        known = len(self._line)
        line = self._line + piece
        if not line and not ends:
            return b""  # whether it goes on from the line before is not known yet
        match = _match_name(line)
        if line[:1] not in (b" ", b"\t"):  # else it continues the line before
            self._secret = match is not None and (
                self._filters.hides(match[1]) or is_secret(match[1])
            )
        if not self._secret:
            shown = to_text(self._filters.value(b"", piece))
            return to_bytes(hide_links(shown, SUSPECT, FILTERED))
        if match is None or not piece.strip():
            return MARK if piece.strip() else piece
        if ends and not known:
            value, end = line[match.end() :].removesuffix(b"\r"), line[-1:]
            hides = self._filters.hides(match[1])
            shown_value = self._filters.value(match[1], value) if hides else MARK
            return match[0] + shown_value + (end if end == b"\r" else b"")
        return piece[: max(0, match.end() - known)] + MARK


class LoggedStream:
    """The log of a stream, whether or not it has to be awaited.

    Attributes:
        quiet: no bytes are shown.
    """

    def _begin_log(self, name: str, backend: LoggingSetup) -> None:
        self._name = name
        self._backend = backend
        self._incoming, self._outgoing = backend._previews(), backend._previews()
        self._started = 0.0
        self.quiet = False  # HTTP/2: its headers are compressed, not hidden

    def _log(self, text: str, *arguments: object) -> None:
        self._backend._log(f"%s {text}", self._name, *arguments)

    def _show(self, preview: Preview, data: bytes) -> str:
        if self.quiet or not self._backend._on():
            preview.skip()
            return ""
        shown = preview.show(data)
        return f": {shown}" if shown else ""

    def _received(self, data: bytes, max_bytes: int) -> None:
        shown = self._show(self._incoming, data) if data else ", the end"
        self._log("read %d of %d bytes in %s%s", len(data), max_bytes, self._took(), shown)

    def _sending(self, data: bytes) -> None:
        self._started = time.perf_counter()
        self.quiet = self.quiet or data.startswith(PREFACE)
        self._log("write %d bytes%s", len(data), self._show(self._outgoing, data))

    def _log_secured(self, stream: Any) -> bool:
        """Log the handshake; return whether what follows is HTTP/2."""
        ssl_object = stream.get_extra_info("ssl_object")
        chosen = None if ssl_object is None else ssl_object.selected_alpn_protocol()
        self._log("start_tls done in %s, ALPN chose %s", self._took(), chosen or "nothing")
        return bool(chosen == "h2")

    def _failed(self, doing: str, exc: BaseException) -> None:
        self._log("%s failed after %s: %s: %s", doing, self._took(), type(exc).__name__, exc)

    def _took(self) -> str:
        return milliseconds_since(self._started)


class LoggingStream(LoggedStream, WrappedStream):
    """Passes everything on, and logs it."""

    def __init__(self, stream: NetworkStream, name: str, backend: LoggingSetup) -> None:
        super().__init__(stream)
        self._begin_log(name, backend)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._started = time.perf_counter()
        return super().read(max_bytes, timeout)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        self._started = time.perf_counter()
        return super().start_tls(ssl_context, server_hostname, timeout)

    def _secured(self, stream: NetworkStream) -> NetworkStream:
        secured = LoggingStream(stream, self._name, self._backend)
        secured.quiet = self._log_secured(stream)
        return secured

    def close(self) -> None:
        self._log("close")
        super().close()

    def abort(self) -> None:
        self._log("abort")
        super().abort()


class LoggingSetup:
    """The settings of a logging backend, and its logger."""

    def __init__(
        self,
        backend: Any,
        logger: str,
        preview: int,
        filter_headers: Iterable[str],
        filter_query: Iterable[str],
    ) -> None:
        if not isinstance(preview, int) or preview < 0:
            raise ValueError(f"preview must be a number of bytes, not {preview!r}")
        self._backend = backend
        self._logger = logging.getLogger(logger)
        self._preview = preview
        self._filters = Filters(filter_headers, filter_query)
        self._numbers = itertools.count(1)

    @property
    def speaks_http2(self) -> bool:
        """Return whether HTTP/2 can be used over it: as over the backend inside."""
        return bool(getattr(self._backend, "speaks_http2", True))

    def _on(self) -> bool:
        return self._preview > 0 and logs_debug(self._logger)

    def _log(self, text: str, *arguments: object) -> None:
        self._logger.debug(text, *arguments)

    def _previews(self) -> Preview:
        return Preview(self._filters, self._preview)

    def _log_failure(self, what: str, started: float, exc: BaseException) -> None:
        took, kind = milliseconds_since(started), type(exc).__name__
        self._log("%s failed after %s: %s: %s", what, took, kind, exc)

    def __repr__(self) -> str:
        return f"<httpcore.{type(self).__name__} [{self._backend!r}]>"


class LoggingBackend(LoggingSetup, NetworkBackend):
    """Logs each operation of another network layer at DEBUG. Thread-safe.

    Values of header fields and query parameters that sound like a secret, and user names and
    passwords in URLs, are not shown. Bodies are.

    Parameters:
        backend: the network; None for `SyncBackend()`.
        logger: the name of the logger.
        preview: how many bytes of each read and write are shown, where they are text; 0 for none.
        filter_headers, filter_query: names of more header fields, and of query parameters, whose
            values are not shown.

    Raises TypeError or ValueError for an argument that cannot be.
    """

    def __init__(
        self,
        backend: NetworkBackend | None = None,
        *,
        logger: str = "httpcore.network",
        preview: int = 120,
        filter_headers: Iterable[str] = (),
        filter_query: Iterable[str] = (),
    ) -> None:
        network = SyncBackend() if backend is None else backend
        super().__init__(network, logger, preview, filter_headers, filter_query)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        return self._connect(
            host_and_port(host, port),
            lambda: self._backend.connect_tcp(host, port, timeout, local_address, socket_options),
        )

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        return self._connect(
            f"unix:{shown_path(path)}",
            lambda: self._backend.connect_unix_socket(path, timeout, socket_options),
        )

    def _connect(self, where: str, connect: Callable[[], NetworkStream]) -> NetworkStream:
        name = f"#{next(self._numbers)} {where}"
        stream = self._timed(f"{name} connect", connect)
        return LoggingStream(stream, name, self)

    def _timed(self, what: str, action: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            result = action()
        except BaseException as exc:
            self._log_failure(what, started, exc)
            raise
        self._log("%s done in %s", what, milliseconds_since(started))
        return result

    def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        found: list[str] = self._timed(
            f"resolve {host}", lambda: self._backend.resolve(host, port, timeout)
        )
        return found

    def sleep(self, seconds: float) -> None:
        self._log("sleep %.3g s", seconds)
        self._backend.sleep(seconds)


def milliseconds_since(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.1f} ms"
