"""Progress bars: how much of a body has gone or come.

Owns: the bar, and counting what is read from a file. Must not know: what the body is for.
"""

from __future__ import annotations

from typing import IO

from rich import progress
from rich.filesize import decimal
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
        self._own = terminal.has_progress and terminal.bars is None
        self._bars = bars(terminal) if self._own else terminal.bars
        if self._bars is not None:
            label = Text(line(name))
            label.truncate(NAME_WIDTH, overflow="ellipsis")
            self._task = self._bars.add_task(label.plain, total=total)

    def __enter__(self) -> Meter:
        if self._own:
            self._bars.start()
        return self

    def __exit__(self, kind: object, exc: object, traceback: object) -> None:
        if self._bars is not None and exc is None and self._total is None:
            self._bars.update(self._task, total=max(self.count, 1), completed=self.count)
        if self._own:
            self._bars.stop()

    def at(self, count: int) -> None:
        """Note that so many bytes have gone or come in all."""
        self.count = count
        if self._bars is not None:
            self._bars.update(self._task, completed=count)

    def add(self, count: int) -> None:
        """Note that so many more have."""
        self.at(self.count + count)


def bars(terminal: Terminal) -> progress.Progress:
    """Return what draws the bars on `terminal`."""
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=None),
        _Share(),
        progress.DownloadColumn(),
        _Rate(),
        progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=terminal.errors,
        expand=True,
    )


class _Share(progress.ProgressColumn):
    """How much of all; nothing where nobody knows how much that is."""

    def render(self, task: progress.Task) -> Text:
        return Text("" if task.total is None else f"{task.percentage:>3.0f}%")


class _Rate(progress.ProgressColumn):
    """Bytes a second: of late, and in the end of all, which rich's own column leaves out."""

    def render(self, task: progress.Task) -> Text:
        of_all = task.completed / (task.elapsed or 1)
        rate = of_all if task.finished else task.speed or of_all
        return Text(f"{decimal(int(rate))}/s", style="progress.data.speed")


class MeteredFile:
    """A file that tells a `Meter` how far it was read. Looks like the file to who sends it."""

    def __init__(self, file: IO[bytes], meter: Meter) -> None:
        self._file, self._meter = file, meter
        self._start = file.tell() if file.seekable() else 0
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._meter.add(len(data))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        position = self._file.seek(offset, whence)
        self._meter.at(max(0, position - self._start))
        return position
