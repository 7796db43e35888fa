"""The parts that recording and replaying have in common, whether or not the network is awaited.

Owns: the cassette of a backend, and what its streams write down and answer. Must not know: the file
(`cassette_file`), what a cassette holds and what matches (`_testing.cassettes`), waiting:
`recording` and `async_recording` read, write and connect.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .._backends.closing import close_stream
from .._backends.interrupt import abort
from .._exceptions import ReadError, ReadTimeout, raised_anew
from ..rules import host_and_port
from .cassette_file import CassetteFile, load
from .cassettes.exchange import CassetteError
from .cassettes.file import Contents
from .cassettes.filters import Filters
from .cassettes.matching import DEFAULT_MATCH, Cassette
from .cassettes.player import Live, Player
from .cassettes.recorder import Recorder
from .cassettes.requests import Place

if TYPE_CHECKING:
    import ssl

Path = str | os.PathLike[str]
Setup = TypeVar("Setup", bound="RecordingSetup")
Replay = TypeVar("Replay", bound="ReplaySetup")

RECORD, NEW = "record", "new"


def host_place(host: str, port: int) -> Place:
    """Return where a TCP connection leads. Each connection has a `Place` of its own."""
    return Place(host_and_port(host, port))


def path_place(path: str) -> Place:
    """Return where a connection to a Unix socket leads."""
    return Place(f"unix:{path}", path)


# ---------------------------------------------------------------------------------------------
# Recording


class RecordedStream:
    """Passes everything on, and writes down what was said. To be mixed into a `WrappedStream` of
    either world."""

    stream: Any

    def _begin_record(self, recorder: Recorder, cassette_file: CassetteFile) -> None:
        self._recorder = recorder
        self._cassette_file = cassette_file
        self._aborted = False

    @property
    def idle(self) -> bool:
        """Return whether no exchange is under way."""
        return self._recorder.idle

    @property
    def switched(self) -> bool:
        """Return whether the connection has changed to another protocol than HTTP."""
        return self._recorder.switched

    def _sending(self, data: bytes) -> None:
        self._cassette_file.record(partial(self._recorder.sent, data))

    def _received(self, data: bytes, max_bytes: int) -> None:
        recorder = self._recorder
        if data:
            self._cassette_file.record(partial(recorder.received, data))
        elif not self._aborted:  # else we ended it ourselves
            unclean = getattr(self.stream, "unclean_eof", False)
            self._cassette_file.record(partial(recorder.ended, not unclean))

    def _failed(self, doing: str, exc: BaseException) -> None:
        if not self._aborted:
            self._cassette_file.record(partial(self._recorder.failed, exc))

    def _secured(self, stream: Any) -> Any:
        ssl_object = stream.get_extra_info("ssl_object")
        if ssl_object is not None and ssl_object.selected_alpn_protocol() == "h2":
            close_stream(stream)
            raise CassetteError(
                f"cannot record the connection to {self._recorder.place}: HTTP/2 was offered and "
                "chosen, and cassettes are of HTTP/1.1: use http2=False"
            )
        self._cassette_file.record(self._recorder.started_tls)
        make: Any = type(self)
        return make(stream, self._recorder, self._cassette_file)

    def close(self) -> None:
        """Close the stream inside, without waiting."""
        try:
            close_stream(self.stream)
        finally:
            self._cassette_file.record(self._recorder.closed)

    def abort(self) -> None:
        """End what another thread or task is doing on the stream."""
        self._aborted = True
        abort(self.stream)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._cassette_file.closed:
            return True  # so that it is not used again
        return self.stream.get_extra_info(info)


class RecordingSetup:
    """The cassette of a recording backend, and its network."""

    speaks_http2 = False
    _default: Callable[[], object]

    def __init__(
        self,
        backend: Any,
        path: Path,
        *,
        mode: str = RECORD,
        filter_headers: Iterable[str] = (),
        filter_query: Iterable[str] = (),
        filter_url: Iterable[str | bytes] = (),
        filter_fields: Iterable[str] = (),
        filter_body: Iterable[str | bytes] = (),
        decompress: bool = False,
        match: Iterable[str] = DEFAULT_MATCH,
        repeat: bool = False,
    ) -> None:
        if mode not in (RECORD, NEW):
            raise ValueError(f"mode must be {RECORD!r} or {NEW!r}, not {mode!r}")
        self.path = os.fspath(path)
        self._backend: Any = self._default() if backend is None else backend
        self._splices = mode == NEW
        filters = Filters(
            filter_headers, filter_query, filter_fields, filter_body, filter_url, decompress
        )
        goes_on = self._splices and os.path.exists(self.path)
        contents = load(self.path) if goes_on else Contents([], 0)
        cassette = Cassette(self.path, contents, match, repeat)
        self._cassette_file = CassetteFile(self.path, cassette, filters)
        self._cassette_file.keeps = self._splices
        self._cassette_file.begin(contents.sound if goes_on else None)

    def over(self: Setup, backend: Any) -> Setup:
        """Return another backend for the same cassette, over another network."""
        other = copy.copy(self)
        other._backend = backend
        return other

    def close(self) -> None:
        """Record nothing more: connections of this backend are not used again.

        Raises httpcore.ConnectError where something could not be recorded.
        """
        self._cassette_file.closed = True
        if self._cassette_file.failure is not None:
            raise raised_anew(self._cassette_file.failure)

    def __enter__(self: Setup) -> Setup:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<httpcore.{type(self).__name__} [{self.path}]>"


# ---------------------------------------------------------------------------------------------
# Replaying


class ReplayTLS:
    """Stands where an `ssl.SSLObject` would: there was no handshake, so it knows little."""

    def selected_alpn_protocol(self) -> str:
        return "http/1.1"

    def version(self) -> None:
        return None

    def cipher(self) -> None:
        return None

    def getpeercert(self, binary_form: bool = False) -> None:
        return None


class PlayedStream:
    """A stream of a cassette's answers, whether or not it is awaited."""

    def _begin_play(self, player: Player, cassette_file: CassetteFile) -> None:
        self._player = player
        self._cassette_file = cassette_file
        self._tls: ReplayTLS | None = None
        self._closed = False
        self.peer = str(player.place)

    def _play(self, max_bytes: int) -> bytes:
        step = self._next(max_bytes)
        if type(step) is not bytes:
            raise ReadTimeout(f"read from {self.peer} timed out: nothing more was recorded")
        return step

    def _next(self, max_bytes: int) -> bytes | Live | None:
        with self._cassette_file.lock:
            if self._closed or self._cassette_file.closed:
                raise ReadError(f"read from {self.peer} failed: it is closed")
            step = self._player.next(max_bytes)
        self._cassette_file.work_off()
        return step

    def _hear(self, data: bytes) -> None:
        with self._cassette_file.lock:
            self._player.sent(data)
        self._cassette_file.work_off()

    def _begin_tls(self) -> None:
        with self._cassette_file.lock:
            self._player.started_tls()
        self._cassette_file.work_off()
        self._tls = ReplayTLS()

    def close(self) -> None:
        """Close it, without waiting."""
        self._closed = True

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._closed or self._cassette_file.closed or self._player.readable
        return self._tls if info == "ssl_object" else None

    @property
    def unclean_eof(self) -> bool:
        """Return whether the peer ended TLS without close_notify when it was recorded."""
        return self._tls is not None and self._player.cut


class SplicedParts(PlayedStream):
    """A stream of a cassette's answers, and of the network's where it has none.

    Attributes:
        _live: the connection to the network, a `RecordedStream`, once it was needed.
        _handshakes: with which TLS contexts and names it has to catch up then.
    """

    def _begin_splice(self, record: Callable[[float | None], Any]) -> None:
        self._record = record
        self._live: Any = None
        self._handshakes: list[tuple[ssl.SSLContext, str | None]] = []

    def _answer(self, max_bytes: int) -> bytes | None:
        """Return what the cassette answers; None where the network has to."""
        step = self._next(max_bytes)
        if type(step) is Live:
            return None
        return step if type(step) is bytes else self._play(max_bytes)

    def _take_forward(self) -> bytes:
        """Return what was written here and the network has not got yet."""
        with self._cassette_file.lock:
            data = self._player.forward()
        self._cassette_file.work_off()
        return data

    def _note_heard(self, stream: Any) -> None:
        """Note that `stream`, the connection to the network, has answered."""
        with self._cassette_file.lock:
            self._player.heard(stream.idle, stream.switched)
        self._cassette_file.work_off()

    def _usable_network(self) -> Any:
        """Return the connection to the network; None where it has to be opened, maybe again."""
        stream = self._live
        if stream is not None and stream.idle and not self._player.proxied:
            if stream.get_extra_info("is_readable"):  # it died while the cassette gave answers
                stream.close()
                return None
        return stream

    def close(self) -> None:
        super().close()
        if self._live is not None:
            self._live.close()

    def abort(self) -> None:
        """End what another thread or task is doing on the stream."""
        self._closed = True
        if self._live is not None:
            self._live.abort()

    @property
    def unclean_eof(self) -> bool:
        live = self._live
        return super().unclean_eof or (live is not None and live.unclean_eof)

    def get_extra_info(self, info: str) -> Any:
        stream = self._live
        if info == "is_readable":
            # A dead connection to the network is opened again, unless it was a proxy's.
            dead = self._player.proxied and stream is not None and stream.get_extra_info(info)
            return super().get_extra_info(info) or bool(dead)
        return super().get_extra_info(info) if stream is None else stream.get_extra_info(info)


class ReplaySetup:
    """The cassette of a replaying backend."""

    speaks_http2 = False

    def __init__(
        self, path: Path, *, match: Iterable[str] = DEFAULT_MATCH, repeat: bool = False
    ) -> None:
        self.path = os.fspath(path)
        self._cassette_file = CassetteFile(
            self.path, Cassette(self.path, load(self.path), match, repeat)
        )

    def _play_at(self, place: Place) -> Player:
        self._cassette_file.check()
        return Player(place, self._cassette_file.cassette)

    @property
    def unused(self) -> list[str]:
        """Return the recorded requests that were not made, as "METHOD URL"."""
        with self._cassette_file.lock:
            return [str(exchange.asked) for exchange in self._cassette_file.cassette.unused]

    @property
    def missed(self) -> list[str]:
        """Return why requests got no answer: a text for each that was not recorded, once each."""
        with self._cassette_file.lock:
            return list(self._cassette_file.cassette.missed)

    def close(self) -> None:
        """Give no more answers: connections of this backend are not used again."""
        self._cassette_file.closed = True

    def __enter__(self: Replay) -> Replay:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<httpcore.{type(self).__name__} [{self.path}]>"
