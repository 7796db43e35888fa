"""A thousand downloads at once, in tasks of one group, with a progress bar.

    python examples/many_downloads.py                         from a server of its own
    python examples/many_downloads.py -n 5000 -c 50           more files, more connections
    python examples/many_downloads.py --to FOLDER URL...      those URLs, into that folder

Each download is a task. The pool's `max_connections` is the limit, and the tasks wait in its
queue, first come, first served. A file is opened when the head of the response is there, so there
are never more open files than connections. Downloads that fail are listed at the end and do not
stop the others; the status is 1 then. The bar needs rich (the extra `cli`); without it there is one
line of text.

Works from Python 3.10 on: there, `asyncio.gather` does what `asyncio.TaskGroup`, which came with
3.11, does here. The server needs the `dev` extra.

Owns: what this example asks for, and how it is shown. Must not know: anything but public names of
httpcore.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpcore

# Seconds. There is no "pool": to wait for a connection is what most of the tasks do.
TIMEOUT = {"connect": 10.0, "read": 30.0, "write": 30.0}
# Seconds between two states of the plain line.
REFRESH = 0.1


# --- the downloads ---


class Progress(Protocol):
    """What the downloads report to."""

    def received(self, count: int) -> None:
        """So many bytes of a body have come."""

    def ended(self) -> None:
        """One download is over, well or not."""


async def download(
    pool: httpcore.AsyncConnectionPool, url: str, path: Path, progress: Progress
) -> None:
    """Write what `url` leads to into `path`. A file that is not whole does not stay."""
    async with pool.stream("GET", url) as response:
        if response.status != 200:
            raise ValueError(f"the status is {response.status}")
        try:
            with path.open("wb") as file:
                async for piece in response.aiter_stream():
                    file.write(piece)  # into the system's memory: short enough for the loop
                    progress.received(len(piece))
        except BaseException:  # a cancellation, too
            path.unlink(missing_ok=True)
            raise


async def download_all(
    files: dict[str, Path], connections: int, progress: Progress
) -> tuple[dict[str, str], int]:
    """Download each URL of `files` to its path. Returns the failures by URL, and how many
    connections were opened."""
    failures: dict[str, str] = {}

    async def attempt(url: str, path: Path) -> None:
        try:
            await download(pool, url, path, progress)
        except Exception as exc:  # a cancellation is none, and goes on
            failures[url] = f"{type(exc).__name__}: {exc}"
        progress.ended()

    # What is safe to repeat is sent again, within a budget.
    retries = httpcore.RetryConfig(attempts=3, statuses={502, 503, 504})
    async with httpcore.AsyncConnectionPool(
        max_connections=connections, retries=retries, timeout=TIMEOUT
    ) as pool:
        await run_all([attempt(url, path) for url, path in files.items()])
        return failures, pool.stats()["totals"]["opened"]


async def run_all(work: list[Coroutine[Any, Any, None]]) -> None:
    """Run each in a task of its own, until all have ended."""
    if sys.version_info >= (3, 11):
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    else:
        await asyncio.gather(*work)


# --- the bar ---


class PlainLine:
    """A line on stderr; on a terminal it is written over and over."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.files = self.bytes = 0
        self._shown = 0.0

    def __enter__(self) -> PlainLine:
        return self

    def __exit__(self, *exc_info: object) -> None:
        print(f"\r{self}" if sys.stderr.isatty() else self, file=sys.stderr)

    def __str__(self) -> str:
        return f"{self.files} of {self.total} files, {self.bytes / 1e6:.1f} MB"

    def received(self, count: int) -> None:
        self.bytes += count
        self._show()

    def ended(self) -> None:
        self.files += 1
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown >= REFRESH and sys.stderr.isatty():
            self._shown = now
            print(f"\r{self}", end="", file=sys.stderr, flush=True)


class Bar:
    """A bar of rich's, on stderr. Raises ImportError where rich is not installed."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.bytes = 0
        self._bar = RichProgress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files, {task.fields[megabytes]:.1f} MB"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=total, megabytes=0.0)

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.update(self._task, megabytes=self.bytes / 1e6)
        self._bar.stop()

    def received(self, count: int) -> None:
        self.bytes += count

    def ended(self) -> None:
        self._bar.update(self._task, advance=1, megabytes=self.bytes / 1e6)


def make_progress(total: int, plain: bool) -> PlainLine | Bar:
    """Return a bar, or a line if that is wanted or rich is not installed."""
    if not plain:
        with contextlib.suppress(ImportError):
            return Bar(total)
    return PlainLine(total)


# --- the server of our own ---


def serve() -> None:
    """The server's process: says on stdout where it listens, and ends when stdin does."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.support.servers import LocalServer

    with LocalServer(record=False) as server:
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()


@contextlib.contextmanager
def local_server() -> Iterator[str]:
    """Run `serve` in a process of its own, for as long as the block lasts. Gives its URL."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise SystemExit("the local server did not start; its error stands above")
        try:
            yield url
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


# --- the command ---


def name_files(urls: list[str], folder: Path) -> dict[str, Path]:
    """Return a path for each URL: its number, and what of the URL may be part of a name."""
    files = {}
    for number, url in enumerate(urls, 1):
        name = re.sub(r"[^\w.-]+", "-", urlsplit(url).path.rpartition("/")[2])[-100:]
        files[url] = folder / f"{number:04}-{name or 'index'}"
    return files


def run(urls: list[str], folder: Path, connections: int, plain: bool) -> int:
    """Download `urls` and say how it went. Returns the status of the program."""
    begun = time.monotonic()
    with make_progress(len(urls), plain) as progress:
        failures, opened = asyncio.run(
            download_all(name_files(urls, folder), connections, progress)
        )
    for url, failure in failures.items():
        print(f"{url}: {failure}", file=sys.stderr)
    seconds = time.monotonic() - begun
    print(
        f"{len(urls) - len(failures)} of {len(urls)} files, {progress.bytes} bytes, "
        f"{opened} connections, {seconds:.2f} s"
    )
    return 1 if failures else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("urls", nargs="*", metavar="URL")
    parser.add_argument("-n", "--number", type=int, default=1000, help="of files without URLs")
    parser.add_argument("-c", "--connections", type=int, default=20, help="at most, default 20")
    parser.add_argument("--size", type=int, default=50_000, help="in bytes, of our own files")
    parser.add_argument("--to", type=Path, help="the folder; by default one that is deleted")
    parser.add_argument("--plain", action="store_true", help="a line in place of the bar")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    if options.serve:
        serve()
        return 0
    with contextlib.ExitStack() as stack:
        urls = list(dict.fromkeys(options.urls))  # each once
        if not urls:
            site = stack.enter_context(local_server())
            urls = [f"{site}/bytes/{options.size}?file={at}" for at in range(options.number)]
        folder = options.to or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return run(urls, folder, options.connections, options.plain)
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
