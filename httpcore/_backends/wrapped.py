"""Streams around other ones.

Owns: passing everything on, with what a stream may offer beyond `NetworkStream`
(`_backends.capabilities`). Must not know: what its subclasses do with what passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import NetworkStream
from .capabilities import ABILITIES
from .interrupt import abort

if TYPE_CHECKING:
    import ssl

# What `ForwardingStream` has itself: facts that may change, and what does no harm where the stream
# inside has no such thing.
_LIVE = ("sends_files", "unclean_eof", "peer", "abort", "keep_session")


class ForwardingStream(NetworkStream):
    """Passes on everything, optional abilities too. Subclasses replace what they change.

    Where a subclass replaces `read` or `write`, the abilities that stand in for them are offered
    only if it replaces those too. It has to bring an ability as a whole; where the stream inside
    does not have that, the subclass does not offer it either.

    Attributes:
        stream: the stream inside.
    """

    # Of the abilities, what is forwarded, and what is offered only where the stream inside has it.
    _forwarded: tuple[str, ...] = tuple(
        name for _, names, _ in ABILITIES for name in names if name not in _LIVE
    )
    _replaced: tuple[str, ...] = ()
    _passes_files = True

    def __init_subclass__(cls, **keywords: object) -> None:
        super().__init_subclass__(**keywords)
        replaced = {
            name
            for kind in cls.__mro__[: cls.__mro__.index(ForwardingStream)]
            for name in vars(kind)
        }
        forwarded: list[str] = []
        own: list[str] = []
        for _, names, basics in ABILITIES:
            if replaced.issuperset(set(names).difference(_LIVE)):
                own += names
            elif not replaced.intersection(basics):
                forwarded += names
        cls._forwarded = tuple(name for name in forwarded if name not in _LIVE)
        cls._replaced = tuple(name for name in own if name not in _LIVE)
        cls._passes_files = "send_file" in forwarded + own

    def __init__(self, stream: NetworkStream) -> None:
        self.stream = stream
        # As attributes of the instance: what is called often is called without a detour.
        own = self.__dict__
        for name in self._forwarded:
            own[name] = getattr(stream, name, None)
        for name in self._replaced:
            if getattr(stream, name, None) is None:
                own[name] = None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, timeout)

    def close(self) -> None:
        self.stream.close()

    def abort(self) -> None:
        """End what another thread is doing on the stream."""
        abort(self.stream)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        return self.stream.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)

    def keep_session(self) -> None:
        """Do as `KeepsSession.keep_session` does, where the stream inside has it."""
        keep = getattr(self.stream, "keep_session", None)
        if keep is not None:
            keep()

    @property
    def sends_files(self) -> bool:
        """Return whether the stream inside sends files, and this one lets it."""
        return self._passes_files and bool(getattr(self.stream, "sends_files", False))

    @property
    def unclean_eof(self) -> bool:
        """Return whether a TLS peer has closed without close_notify."""
        return bool(getattr(self.stream, "unclean_eof", False))

    @property
    def peer(self) -> str:
        """Return the name of the peer for texts, if the stream inside has one."""
        inside: Any = self.stream
        name: str = inside.peer
        return name

    @peer.setter
    def peer(self, name: str) -> None:
        inside: Any = self.stream
        inside.peer = name


class WrappedStream(ForwardingStream):
    """Passes on every call, and lets its subclass see it. Subclasses fill in the methods that
    begin with an underscore.

    It offers to listen while it writes where the stream inside can; it sends no files and reads
    into no buffers by itself, so that all bytes are seen.
    """

    # What passes

    def _sending(self, data: bytes) -> None:
        """Look at `data`, which is about to be sent. Nothing is sent after an exception from
        here."""

    def _received(self, data: bytes, max_bytes: int) -> None:
        """Look at `data`, which has arrived; ``b""`` at the end."""

    def _failed(self, doing: str, exc: BaseException) -> None:
        """Note that an operation ("read", "write", "start_tls") has failed with `exc`."""

    def _secured(self, stream: NetworkStream) -> NetworkStream:
        """Return the wrapper for `stream`, which is the one inside under TLS."""
        raise AssertionError(f"{type(self).__name__} does not say what is around TLS")

    # Passing it on

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data = self.stream.read(max_bytes, timeout)
        except BaseException as exc:
            if timeout != 0:  # else it was asked what is there, and that was nothing
                self._failed("read", exc)
            raise
        self._received(data, max_bytes)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._sending(bytes(buffer))
        try:
            self.stream.write(buffer, timeout)
        except BaseException as exc:
            self._failed("write", exc)
            raise

    def write_until_readable(
        self, buffer: memoryview, timeout: float | None = None, until: float | None = None
    ) -> int:
        """Do as `WritesUntilReadable.write_until_readable` does."""
        inside: Any = self.stream
        try:
            sent: int = inside.write_until_readable(buffer, timeout, until)
        except BaseException as exc:
            self._failed("write", exc)
            raise
        if sent:
            self._sending(bytes(buffer[:sent]))
        return sent

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        try:
            stream = self.stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException as exc:
            self._failed("start_tls", exc)
            raise
        return self._secured(stream)
