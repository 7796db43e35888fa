"""Recording what passes over a network, and replaying it without one.

Owns: the streams and backends that block. Must not know: what they have in common with those that
are awaited (`recording_parts`), the file of a cassette.

Three kinds of streams:

- `RecordingStream` passes everything on and lets a `Recorder` listen.
- `ReplayStream` has no network: a `Player` answers.
- `SplicedStream` (mode "new") lets the player answer, and asks the network for what it does not
  know; it connects when it first has to, so that a complete cassette needs no network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from .._backends.base import SOCKET_OPTION, NetworkBackend, NetworkStream
from .._backends.sync import SyncBackend
from .._backends.wrapped import WrappedStream
from .cassette_file import CassetteFile
from .cassettes.player import Player
from .cassettes.recorder import Recorder
from .cassettes.requests import Place
from .recording_parts import (
    PlayedStream,
    RecordedStream,
    RecordingSetup,
    ReplaySetup,
    SplicedParts,
    host_place,
    path_place,
)

if TYPE_CHECKING:
    import ssl


class RecordingStream(RecordedStream, WrappedStream):
    """Passes everything on, and writes down what was said."""

    def __init__(
        self, stream: NetworkStream, recorder: Recorder, cassette_file: CassetteFile
    ) -> None:
        super().__init__(stream)
        self._begin_record(recorder, cassette_file)


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
        connect = partial(
            self._backend.connect_tcp,
            host,
            port,
            local_address=local_address,
            socket_options=socket_options,
        )
        return self._open(connect, timeout, partial(host_place, host, port))

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        connect = partial(self._backend.connect_unix_socket, path, socket_options=socket_options)
        return self._open(connect, timeout, partial(path_place, path))

    def _open(
        self,
        connect: Callable[..., NetworkStream],
        timeout: float | None,
        make_place: Callable[[], Place],
    ) -> NetworkStream:
        cassette_file = self._cassette_file
        cassette_file.check()

        def record(timeout: float | None) -> RecordingStream:
            return RecordingStream(connect(timeout=timeout), Recorder(make_place()), cassette_file)

        if self._splices:
            return SplicedStream(
                record, Player(make_place(), cassette_file.cassette, live=True), cassette_file
            )
        return record(timeout)

    def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        found: list[str] = self._backend.resolve(host, port, timeout)
        return found

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class ReplayStream(PlayedStream, NetworkStream):
    """A connection whose other end is a cassette."""

    def __init__(self, player: Player, cassette_file: CassetteFile) -> None:
        self._begin_play(player, cassette_file)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._play(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._hear(bytes(buffer))

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        self._begin_tls()
        return self


class SplicedStream(SplicedParts, ReplayStream):
    """A connection that asks the network for what its cassette does not have.

    Parameters:
        record: opens a connection within so many seconds, and records it.
    """

    def __init__(
        self,
        record: Callable[[float | None], RecordingStream],
        player: Player,
        cassette_file: CassetteFile,
    ) -> None:
        self._begin_play(player, cassette_file)
        self._begin_splice(record)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        answer = self._answer(max_bytes)
        if answer is not None:
            return answer
        self._pass_on(timeout)
        stream = self._network(timeout)
        data = stream.read(max_bytes, timeout)
        self._note_heard(stream)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._hear(bytes(buffer))
        if self._player.live:
            self._pass_on(timeout)

    def _pass_on(self, timeout: float | None) -> None:
        data = self._take_forward()
        if data:
            self._network(timeout).write(data, timeout)

    def _network(self, timeout: float | None) -> NetworkStream:
        """Return the connection to the network, opened when it is first needed."""
        stream: NetworkStream | None = self._usable_network()
        if stream is None:
            stream = self._record(timeout)
            for context, name in self._handshakes:
                stream = stream.start_tls(context, name, timeout)
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
            self._live = self._live.start_tls(ssl_context, server_hostname, timeout)
        self._begin_tls()
        return self


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
        return self._open(host_place(host, port))

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        return self._open(path_place(path))

    def _open(self, place: Place) -> NetworkStream:
        return ReplayStream(self._play_at(place), self._cassette_file)

    def sleep(self, seconds: float) -> None:
        """Do nothing: what is waited for was recorded long ago."""
