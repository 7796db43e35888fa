"""Recording what passes over a network, and replaying it without one.

Owns: the file of a cassette, the lock around it, and the streams. Must not know: the format, what
is secret, what matches, HTTP (all that is `_testing.cassettes`).

Three kinds of streams:

- `RecordingStream` passes everything on and lets a `Recorder` listen.
- `ReplayStream` has no network: a `Player` answers.
- `SplicedStream` (mode "new") lets the player answer, and asks the network for what it does not
  know; it connects when it first has to, so that a complete cassette needs no network.

An exchange is appended to the file when it ends, in one write of whole lines, and the file is
closed again: a crash leaves what was recorded until then.
"""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .._backends.base import SOCKET_OPTION, NetworkBackend, NetworkStream
from .._backends.closing import close_stream
from .._backends.fork import renew_in_child
from .._backends.sync import SyncBackend
from .._backends.wrapped import WrappedStream
from .._exceptions import MAYBE_PROCESSED, ReadError, ReadTimeout
from .._shared.deferred import OwnedLock
from ..rules import host_and_port
from .cassettes.exchange import CassetteError, Exchange
from .cassettes.file import Contents, header_line, read_contents, to_lines
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


class CassetteFile:
    """A cassette and its file, for any number of connections.

    Attributes:
        lock: held by the user of `cassette`, a recorder or a player.
        cassette: what was recorded.
        failure: why something could not be recorded.
        closed: nothing more is recorded or played.
        keeps: what is recorded may be played, too.
    """

    def __init__(self, path: str, cassette: Cassette, filters: Filters | None = None) -> None:
        self.path = path
        self.cassette = cassette
        self._renew_in_child()
        self.failure: CassetteError | None = None
        self.closed = False
        self.keeps = False
        self._filters = filters
        self._lines = 0
        renew_in_child(self)

    def _renew_in_child(self) -> None:
        self.lock = OwnedLock()
        self._left: deque[Callable[[], Iterable[Exchange] | None]] = deque()

    def record(self, change: Callable[[], Iterable[Exchange] | None]) -> None:
        """Change a recorder, and write down the exchanges that have ended by that. From a signal
        handler that has interrupted this thread in the middle of such a thing, it is done after
        that; each is done once, in the order in which they came."""
        self._left.append(change)
        self.work_off()

    def work_off(self) -> None:
        """Make the changes that were left. To be called after the lock was let go."""
        while self._left and not self.lock.is_owned():
            with self.lock:
                if self._left:  # else another thread was here, too
                    self.add(self._left.popleft()() or ())

    def check(self) -> None:
        """Raise what kept something from being recorded: a program that goes on would end up with
        half a cassette. Refuse once it is closed."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)  # not with the frames of earlier callers
        if self.closed:
            raise CassetteError(f"the cassette {self.path} is closed: no connection is opened")

    def begin(self, keep: int | None) -> None:
        """Make the file ready to be written to.

        Parameters:
            keep: how many of its bytes stay, which are whole lines; None begins anew.
        """
        try:
            if keep is None:
                with open(self.path, "wb", opener=_open_private) as file:
                    file.write(header_line())
                    self._lines = 1
                return
            with open(self.path, "r+b") as file:
                file.truncate(keep)
                kept = file.read()
                if not kept.endswith(b"\n"):
                    file.write(b"\n")
                self._lines = len(kept.removesuffix(b"\n").split(b"\n"))
        except OSError as exc:
            raise _cannot("write", self.path, exc) from exc

    def add(self, exchanges: Iterable[Exchange]) -> None:
        """Write exchanges that have ended, without their secrets. The lock is held."""
        for exchange in exchanges:
            if self.closed or self._filters is None:
                return
            try:
                self._add(self._filters.apply(exchange))
            except CassetteError as exc:
                raise self._fail(exc)
            except OSError as exc:
                raise self._fail(_cannot("write", self.path, exc)) from exc

    def _fail(self, failure: CassetteError) -> CassetteError:
        failure.phase = MAYBE_PROCESSED  # of the request that was not written down
        self.failure = failure
        return failure

    def _add(self, exchange: Exchange) -> None:
        data = to_lines(exchange)
        with open(self.path, "ab", opener=_open_private) as file:
            file.write(data)
        exchange.line, exchange.used = self._lines + 1, True
        self._lines += data.count(b"\n")
        if self.keeps:
            self.cassette.exchanges.append(exchange)


def _open_private(path: str, flags: int) -> int:
    """Open a file; one that is new can be read by its owner only, in case a rule is missing."""
    return os.open(path, flags, 0o600)


def _cannot(do: str, path: str, exc: OSError) -> CassetteError:
    error = CassetteError(f"cannot {do} the cassette {path}: {exc.strerror or exc}")
    error.__cause__ = exc
    return error


def _load(path: str) -> Contents:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as exc:
        raise _cannot("read", path, exc) from exc
    return read_contents(data, path)


# ---------------------------------------------------------------------------------------------
# Recording


class RecordedStream:
    """What is written down of a stream, whether or not it has to be awaited."""

    def _begin_record(self, recorder: Recorder, tape: CassetteFile) -> None:
        self._recorder = recorder
        self._cassette_file = tape
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

    def _record_received(self, data: bytes, unclean: bool) -> None:
        recorder = self._recorder
        if data:
            self._cassette_file.record(partial(recorder.received, data))
        elif not self._aborted:  # else we ended it ourselves
            self._cassette_file.record(partial(recorder.ended, not unclean))

    def _failed(self, doing: str, exc: BaseException) -> None:
        if not self._aborted:
            self._cassette_file.record(partial(self._recorder.failed, exc))

    def _record_secured(self, stream: Any) -> None:
        ssl_object = stream.get_extra_info("ssl_object")
        if ssl_object is not None and ssl_object.selected_alpn_protocol() == "h2":
            close_stream(stream)
            raise CassetteError(
                f"cannot record the connection to {self._recorder.place}: HTTP/2 was offered and "
                "chosen, and cassettes are of HTTP/1.1: use http2=False"
            )
        self._cassette_file.record(self._recorder.started_tls)


class RecordingStream(RecordedStream, WrappedStream):
    """Passes everything on, and writes down what was said."""

    def __init__(self, stream: NetworkStream, recorder: Recorder, tape: CassetteFile) -> None:
        super().__init__(stream)
        self._begin_record(recorder, tape)

    def _received(self, data: bytes, max_bytes: int) -> None:
        self._record_received(data, self.unclean_eof)

    def _secured(self, stream: NetworkStream) -> NetworkStream:
        self._record_secured(stream)
        return RecordingStream(stream, self._recorder, self._cassette_file)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._cassette_file.record(self._recorder.closed)

    def abort(self) -> None:
        self._aborted = True
        super().abort()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._cassette_file.closed:
            return True  # so that it is not used again
        return super().get_extra_info(info)


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
        contents = _load(self.path) if goes_on else Contents([], 0)
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
            raise self._cassette_file.failure

    def __enter__(self: Setup) -> Setup:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<httpcore.{type(self).__name__} [{self.path}]>"


class RecordingBackend(RecordingSetup, NetworkBackend):
    """Writes all that passes over another network layer into a cassette. Thread-safe.

    Over TLS too: what is recorded is what HTTP says, and the certificate is verified as ever. It
    records HTTP/1.1: a pool with ``http2=True`` raises `httpcore.ConnectError` where a server
    chooses HTTP/2.

    The values of Authorization, Proxy-Authorization, Cookie and Set-Cookie, and user names and
    passwords in URLs, are never written; what else is secret has to be named. ``[filtered]`` stands
    in its place, and matches anything when the cassette is played.

    Parameters:
        backend: the network; None for `SyncBackend()`.
        path: the cassette, a text file, see docs/cassettes.rst.
        mode: ``"record"`` begins the file anew. ``"new"`` gives the answers that are in it, and
            asks the network for those that are not, which are added.
        filter_headers: names of header fields with a secret.
        filter_query: names of query parameters with one.
        filter_url: regular expressions for URLs that have one elsewhere; as for `filter_body`.
        filter_fields: names of members in JSON bodies, at any depth, and of fields in forms.
        filter_body: regular expressions for bodies; what their groups match is replaced, or all
            that they match where they have none.
        decompress: True stores gzip and deflate bodies as the text that is in them. The filters
            that look into bodies imply it; a body that they cannot look into is an error.
        match, repeat: as for `ReplayBackend`; for mode "new".

    Raises:
        httpcore.ConnectError: the file cannot be written; or, for mode "new", is no cassette.
            Its text names the file and the line.
        TypeError, ValueError: an argument that cannot be.
    """

    _default = SyncBackend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        return self._open(
            partial(
                self._backend.connect_tcp,
                host,
                port,
                local_address=local_address,
                socket_options=socket_options,
            ),
            timeout,
            host_and_port(host, port),
        )

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        connect = partial(self._backend.connect_unix_socket, path, socket_options=socket_options)
        return self._open(connect, timeout, f"unix:{path}", path)

    def _open(
        self,
        connect: Callable[..., NetworkStream],
        timeout: float | None,
        name: str,
        uds: str | None = None,
    ) -> NetworkStream:
        tape = self._cassette_file
        tape.check()

        def record(timeout: float | None) -> RecordingStream:
            return RecordingStream(connect(timeout=timeout), Recorder(Place(name, uds)), tape)

        if self._splices:
            return SplicedStream(record, Player(Place(name, uds), tape.cassette, live=True), tape)
        return record(timeout)

    def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        found: list[str] = self._backend.resolve(host, port, timeout)
        return found

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


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
    """What a cassette answers, whether or not it is awaited."""

    def _begin_play(self, player: Player, tape: CassetteFile) -> None:
        self._player = player
        self._cassette_file = tape
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

    def _fact(self, info: str) -> Any:
        if info == "is_readable":
            return self._closed or self._cassette_file.closed or self._player.readable
        return self._tls if info == "ssl_object" else None

    def _was_cut(self) -> bool:
        return self._tls is not None and self._player.cut


class ReplayStream(PlayedStream, NetworkStream):
    """A connection whose other end is a cassette."""

    def __init__(self, player: Player, tape: CassetteFile) -> None:
        self._begin_play(player, tape)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._play(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._hear(bytes(buffer))

    def close(self) -> None:
        self._closed = True

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        self._begin_tls()
        return self

    def get_extra_info(self, info: str) -> Any:
        return self._fact(info)

    @property
    def unclean_eof(self) -> bool:
        """Return whether the peer ended TLS without close_notify when it was recorded."""
        return self._was_cut()


class SplicedStream(ReplayStream):
    """A connection that asks the network for what its cassette does not have.

    Parameters:
        record: opens a connection within so many seconds, and records it.
    """

    def __init__(
        self, record: Callable[[float | None], RecordingStream], player: Player, tape: CassetteFile
    ) -> None:
        super().__init__(player, tape)
        self._record = record
        self._handshakes: list[tuple[ssl.SSLContext, str | None]] = []  # to be made up for
        self._live: RecordingStream | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        step = self._next(max_bytes)
        if type(step) is not Live:
            return step if type(step) is bytes else super().read(max_bytes, timeout)
        self._pass_on(timeout)
        stream = self._network(timeout)
        data: bytes = stream.read(max_bytes, timeout)
        with self._cassette_file.lock:
            self._player.heard(stream.idle, stream.switched)
        self._cassette_file.work_off()
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        super().write(buffer, timeout)
        if self._player.live:
            self._pass_on(timeout)

    def _pass_on(self, timeout: float | None) -> None:
        with self._cassette_file.lock:
            data = self._player.forward()
        self._cassette_file.work_off()
        if data:
            self._network(timeout).write(data, timeout)

    def _network(self, timeout: float | None) -> RecordingStream:
        """Return the connection to the network, opened when it is first needed."""
        stream = self._live
        if stream is not None and stream.idle and not self._player.proxied:
            if stream.get_extra_info("is_readable"):  # it died while the cassette gave answers
                stream.close()
                stream = None
        if stream is None:
            stream = self._record(timeout)
            for context, name in self._handshakes:
                stream = _secure(stream, context, name, timeout)
        self._live = stream
        return stream

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        if self._live is None:
            self._handshakes.append((ssl_context, server_hostname))
        else:
            self._live = _secure(self._live, ssl_context, server_hostname, timeout)
        return super().start_tls(ssl_context, server_hostname, timeout)

    def close(self) -> None:
        super().close()
        if self._live is not None:
            self._live.close()

    def abort(self) -> None:
        """End what another thread is doing on the stream."""
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


def _secure(
    stream: RecordingStream, context: ssl.SSLContext, name: str | None, timeout: float | None
) -> RecordingStream:
    secured = stream.start_tls(context, name, timeout)
    assert isinstance(secured, RecordingStream)
    return secured


class ReplaySetup:
    """The cassette of a replaying backend."""

    speaks_http2 = False

    def __init__(
        self, path: Path, *, match: Iterable[str] = DEFAULT_MATCH, repeat: bool = False
    ) -> None:
        self.path = os.fspath(path)
        self._cassette_file = CassetteFile(
            self.path, Cassette(self.path, _load(self.path), match, repeat)
        )

    def _play_at(self, place: Place) -> Player:
        self._cassette_file.check()
        return Player(place, self._cassette_file.cassette)

    @property
    def unused(self) -> list[str]:
        """Return the recorded requests that were not made, as "METHOD URL"."""
        with self._cassette_file.lock:
            return [str(exchange.asked) for exchange in self._cassette_file.cassette.unused]

    def close(self) -> None:
        """Give no more answers: connections of this backend are not used again."""
        self._cassette_file.closed = True

    def __enter__(self: Replay) -> Replay:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<httpcore.{type(self).__name__} [{self.path}]>"


class ReplayBackend(ReplaySetup, NetworkBackend):
    """Gives the answers that a cassette has. There is no network, and no certificate is looked at.
    Thread-safe.

    Each recorded exchange is given once: of several that match, in the order of the file.

    Parameters:
        path: the cassette, see docs/cassettes.rst.
        match: what of a request has to be as recorded: ``"method"``, ``"url"``, ``"scheme"``,
            ``"host"``, ``"path"``, ``"query"`` (in any order), ``"body"``, ``"headers"`` (all of
            them), ``"header:NAME"``; and ``"order"``, when the exchanges are to be asked for in
            theirs.
        repeat: True gives the last exchange that matches again when all were given.

    Raises:
        httpcore.ConnectError: the file cannot be read, or is no cassette; names file and line.
            Later, where the cassette has no answer to a request, with the nearest that it has.
        TypeError, ValueError: a `match` that cannot be.
    """

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        return self._open(Place(host_and_port(host, port)))

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        return self._open(Place(f"unix:{path}", path))

    def _open(self, place: Place) -> NetworkStream:
        return ReplayStream(self._play_at(place), self._cassette_file)

    def sleep(self, seconds: float) -> None:
        """Do nothing: what is waited for was recorded long ago."""
