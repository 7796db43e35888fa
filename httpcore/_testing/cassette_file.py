"""A cassette and its file, for any number of connections.

Owns: reading and writing the file, and the lock around the cassette. Must not know: streams, the
format, what is secret, what matches, HTTP (all that is `_testing.cassettes`).

An exchange is appended to the file when it ends, in one write of whole lines, and the file is
closed again: a crash leaves what was recorded until then.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable

from .._backends.fork import renew_in_child
from .._exceptions import MAYBE_PROCESSED, raised_anew
from .._shared.deferred import OwnedLock
from .cassettes.exchange import CassetteError, Exchange
from .cassettes.file import Contents, header_line, read_contents, to_lines
from .cassettes.filters import Filters
from .cassettes.matching import Cassette


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
            raise raised_anew(self.failure)
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
            raise cannot("write", self.path, exc) from exc

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
                raise self._fail(cannot("write", self.path, exc)) from exc

    def _fail(self, failure: CassetteError) -> CassetteError:
        failure.phase = MAYBE_PROCESSED  # of the request that was not written down
        self.failure = raised_anew(failure)
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


def cannot(do: str, path: str, exc: OSError) -> CassetteError:
    error = CassetteError(f"cannot {do} the cassette {path}: {exc.strerror or exc}")
    error.__cause__ = exc
    return error


def load(path: str) -> Contents:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as exc:
        raise cannot("read", path, exc) from exc
    return read_contents(data, path)
