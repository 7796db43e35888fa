"""Progress bars: how much of a body has gone or come.

Owns: the bar, and counting what is read from a file. Must not know: what the body is for.
"""

from __future__ import annotations

import types
from typing import IO

from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from .terminal import Terminal
from .text import line

# Columns for the name, so that in 80 the bar is still one.
NAME_WIDTH = 20


class Meter:
    """One bar, from `__enter__` to `__exit__`, where the terminal has bars.

    Parameters:
        name: what is moved.
        total: bytes, None where nobody knows.

    Attributes:
        count: bytes so far.
    """

    def __init__(self, terminal: Terminal, name: str, total: int | None) -> None:
        self.count = 0
        self._total = total
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._shared = terminal.bars is not None
        if terminal.has_progress:
            self._progress = terminal.bars if self._shared else bars(terminal)
            label = Text(line(name))
            label.truncate(NAME_WIDTH, overflow="ellipsis")
            self._task = self._progress.add_task(label.plain, total=total)

    def __enter__(self) -> Meter:
        if self._progress is not None and not self._shared:
            self._progress.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if self._progress is not None:
            if exc_value is None and self._total is None:
                self._progress.update(self._task, total=max(self.count, 1), completed=self.count)
            if not self._shared:
                self._progress.stop()

    def at(self, count: int) -> None:
        """Note that so many bytes have gone or come in all."""
        self.count = count
        if self._progress is not None:
            self._progress.update(self._task, completed=count)

    def add(self, count: int) -> None:
        """Note that so many more have."""
        self.at(self.count + count)


def bars(terminal: Terminal) -> Progress:
    """Return what draws the bars on `terminal`."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        _Share(),
        DownloadColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=terminal.errors,
        expand=True,
    )


class _Share(ProgressColumn):
    """How much of all; nothing where nobody knows how much that is."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.percentage:>3.0f}%")


class _Rate(ProgressColumn):
    """Bytes a second: of late, and in the end of all."""

    def render(self, task: Task) -> Text:
        rate = None if task.finished else task.speed
        if rate is None and task.elapsed:
            rate = task.completed / task.elapsed
        return Text("" if rate is None else f"{decimal(int(rate))}/s", style="progress.data.speed")


class MeteredFile:
    """A file that tells a `Meter` how far it was read. Looks like the file to who sends it."""

    def __init__(self, file: IO[bytes], meter: Meter) -> None:
        self._file = file
        self._meter = meter
        self._start = 0
        if file.seekable():
            self._start = file.tell()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._meter.add(len(data))
        return data

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        position = self._file.seek(offset, whence)
        self._meter.at(max(0, position - self._start))
        return position
