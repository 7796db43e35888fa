"""Runs of the command line: in this process (`run`), on a pseudo-terminal (`Screen`) and as a
process of its own (`start`).

Owns: how the command is started, and its output caught. Must not know: what it does.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from httpcore._cli import main
from tests.support.servers import LocalServer, Peer

try:
    import fcntl
    import pty
    import termios
except ImportError:  # pragma: no cover - Windows
    pty = None  # type: ignore[assignment]

needs_pty = pytest.mark.skipif(pty is None, reason="this system has no pseudo-terminals")


class Done(NamedTuple):
    """What came of a run."""

    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: object, stdin: bytes = b"") -> Done:
    """The command in this process, not on a terminal."""
    with CliRunner().isolation(input=stdin) as streams:
        code = main([str(each) for each in arguments])
        return Done(code, streams[0].getvalue(), streams[1].getvalue().decode())


def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """The command as a process."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    line = [sys.executable, "-m", "httpcore", *map(str, arguments)]
    return subprocess.Popen(line, stdin=subprocess.DEVNULL, **options)


def run_apart(*arguments: object, **options: Any) -> Done:
    with start(*arguments, **options) as process:
        out, err = process.communicate(timeout=30)
    return Done(process.returncode, out or b"", (err or b"").decode())


class Screen:
    """A pseudo-terminal of 80 columns that stands in for both output streams of this process.

    Attributes: `seen`: what was written, once the `with` is over.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "80"), ("LINES", "24")):
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("NO_COLOR", raising=False)
        self.seen = ""
        self._monkeypatch = monkeypatch

    def __enter__(self) -> Screen:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._streams = [os.fdopen(each, "w", encoding="utf-8") for each in (slave, os.dup(slave))]
        self._monkeypatch.setattr(sys, "stdout", self._streams[0])
        self._monkeypatch.setattr(sys, "stderr", self._streams[1])
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def _read(self) -> None:
        data = b""
        with contextlib.suppress(OSError):  # Linux says so when the other end is closed
            while part := os.read(self._master, 65536):
                data += part
        self.seen = data.decode("utf-8", "backslashreplace").replace("\r\n", "\n")

    def __exit__(self, *exc_info: object) -> None:
        self._monkeypatch.undo()
        for stream in self._streams:
            stream.close()
        self._reader.join()
        os.close(self._master)

    @property
    def plain(self) -> str:
        """`seen` without colours, and with each state of a line as a line."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen).replace("\r", "\n")


@pytest.fixture
def on_screen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Screen]]:
    def show(*arguments: object, **environment: str) -> tuple[int, Screen]:
        with pytest.MonkeyPatch.context() as patch:
            screen = Screen(patch)
            for name, value in environment.items():
                patch.setenv(name, value)
            with screen:
                code = main([str(each) for each in arguments])
        return code, screen

    return show


@pytest.fixture
def other_server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running


def answering(data: bytes) -> Callable[[Peer], None]:
    """A handler that answers one request with these bytes, and closes."""

    def handler(peer: Peer) -> None:
        if peer.recv_request() is not None:
            peer.send(data)

    return handler


def plain(body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode("latin-1") + body
