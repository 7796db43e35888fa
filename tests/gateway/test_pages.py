"""docs/gateway.rst and examples/gateway_mounted.py, done as they say.

Owns: that each command of the page runs and prints what is shown, with other ports in place of
the page's; that its tables have all settings with their defaults. Must not know: the gateway's
inside.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from httpcore_gateway import Breaker, Route, Settings, Timeouts, Upstream
from httpcore_gateway._command import run_command
from httpcore_gateway._config import Config, Server
from tests.support import ROOT
from tests.support.docs import agrees, blocks
from tests.support.programs import Program
from tests.support.servers import LocalServer, closed_port

PAGE = ROOT / "docs" / "gateway.rst"
# The page's ports, which may be in use here.
PORTS = ("8000", "8001", "8002", "8003")
# Seconds for a server to listen, or to end.
WAIT = 30


class Shell:
    """What is typed on the page: jobs in the background, as many as there are.

    Attributes:
        jobs: the processes that run, by their numbers.
    """

    def __init__(self, folder: Path) -> None:
        self.ports = {port: str(closed_port()) for port in PORTS}
        self.jobs: dict[int, subprocess.Popen[bytes]] = {}
        self._folder = folder
        (folder / "bin").mkdir()
        for name in ("python", "python3"):
            (folder / "bin" / name).symlink_to(sys.executable)
        variables = {name: text for name, text in os.environ.items() if "GATEWAY" not in name}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environment = {**variables, "PATH": path, "PYTHONPATH": str(ROOT)}

    def here(self, text: str) -> str:
        """Return a text of the page with the ports of this run."""
        return re.sub(r"\b800\d\b", lambda match: self.ports[match[0]], text)

    def type(self, line: str) -> str:
        """Run a line; return what is printed."""
        words = shlex.split(line)
        if words[:2] == ["pip", "install"]:
            extra = words[2].removeprefix(".[").removesuffix("]")
            assert f"\n{extra} =\n" in (ROOT / "setup.cfg").read_text()
            return ""
        if words[:2] == ["python", "examples/gateway_mounted.py"]:
            return ""  # a test below
        if words[0] == "kill":
            self.end(int(words[1].removeprefix("%")))
            return ""
        line = self.here(line)
        if line.endswith(" &"):
            return self._begin(line.removesuffix(" &"))
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=WAIT,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _begin(self, line: str) -> str:
        number = max(self.jobs, default=0) + 1  # as bash does
        output = self._folder / f"job{number}.txt"
        with output.open("wb") as file:
            job = subprocess.Popen(
                ["bash", "-c", f"exec env {line}"],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        self.jobs[number] = job
        port = re.findall(r"(?:GATEWAY_PORT=|--port |--bind 127.0.0.1:|http.server )(\d+)", line)
        wait_for(int((port or [self.ports["8000"]])[0]), job)
        if "httpcore_gateway" not in line:
            return ""
        wait_until(lambda: output.read_text().endswith("\n"), job)  # its line follows
        return output.read_text()

    def end(self, number: int) -> None:
        job = self.jobs.pop(number)
        job.send_signal(signal.SIGTERM)
        try:
            job.wait(WAIT)
        finally:
            job.kill()

    def close(self) -> None:
        for job in self.jobs.values():
            if job.poll() is None:
                job.kill()
            job.wait()


def wait_for(port: int, job: subprocess.Popen[bytes]) -> None:
    """Wait until a port accepts connections."""

    def listens() -> bool:
        with socket.socket() as sock:
            sock.settimeout(WAIT)
            return sock.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, job)


def wait_until(check: Callable[[], bool], job: subprocess.Popen[bytes]) -> None:
    for _ in range(WAIT * 50):
        if check():
            return
        assert job.poll() is None, "it has ended"
        threading.Event().wait(0.02)
    raise AssertionError("it has waited in vain")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_page_is_true(shell: Shell, tmp_path: Path) -> None:
    ran = 0
    for block in blocks(PAGE):
        if block.left_out:
            continue
        if block.caption:
            (tmp_path / block.caption).write_text(shell.here(block.text))
            continue
        assert block.language == "console"
        printed = ""
        for line in block.text.splitlines():
            if line.startswith("$ "):
                ran += 1
                typed = line[2:]
                if "httpcore_gateway --upstream" in typed:  # at the default port, on the page
                    typed = "GATEWAY_PORT=8000 " + typed
                printed = shell.type(typed)
            else:
                assert agrees(f"...{shell.here(line)}...", printed), (block.line, line, printed)
    assert ran > 25


def documented() -> dict[str, list[tuple[str, str]]]:
    """Return names and defaults by the title of each table."""
    found: dict[str, list[tuple[str, str]]] = {}
    title = ""
    for line in PAGE.read_text().split("\n   * - "):
        row = re.match(r"``(\w+)``\n     -(.*)\n     - ", line)
        if row:
            found.setdefault(title, []).append((row[1], row[2].strip().strip("`")))
        if after := re.search(r"^\.\. list-table:: (.+)$", line, re.MULTILINE):
            title = after[1]
    return found


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("At the top of the file", Config),
        ("``[[routes]]``", Route),
        ("``upstreams`` of a route", Upstream),
        ("``timeouts`` of a route, in seconds", Timeouts),
        ("``breaker`` of a route", Breaker),
        ("``[server]``, or options of the command", Server),
    ],
)
def test_the_tables_have_all_settings(title: str, kind: Any) -> None:
    rows = documented()[title]
    for (name, default), field in zip(rows, msgspec.structs.fields(kind), strict=True):
        assert name == field.name
        value = field.default
        if value is None:
            assert default == "none", name
        elif value is msgspec.NODEFAULT or isinstance(value, msgspec.Struct):
            assert default == "", name
        else:
            assert json.loads(default) == (list(value) if isinstance(value, tuple) else value), name


def test_the_settings_in_the_page_are_those_of_python() -> None:
    names = {field.name for field in msgspec.structs.fields(Config)}
    assert names - {field.name for field in msgspec.structs.fields(Settings)} == {"server"}


def test_unit_and_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their commands are understood, with a file that is there."""
    files = {block.caption: block.text for block in blocks(PAGE) if block.caption}
    unit = files["gateway.service"]
    commands = re.findall(r"^ExecStart\w*=\S+ -m httpcore_gateway (.*)$", unit, re.MULTILINE)
    assert len(commands) == 2
    (tmp_path / "gateway.toml").write_text(files["gateway.toml"])
    for command in commands:
        arguments = command.replace("/etc/", f"{tmp_path}/").split()
        assert run_command([*arguments, "--check"]) == 0
    stop = int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0])
    assert stop > Server().stop_timeout
    for name, value in re.findall(r"(GATEWAY_\w+)=(\S+)", files["Dockerfile"]):
        monkeypatch.setenv(name, value)
    assert run_command(["-u", "http://127.0.0.1:1", "--check"]) == 0


def test_the_mounted_gateway(server: LocalServer, tmp_path: Path) -> None:
    example = ROOT / "examples" / "gateway_mounted.py"

    def command(ports: list[int]) -> list[str]:
        code = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r});"
        code += f"runpy.run_path({str(example)!r}, run_name='__main__')"
        return [sys.executable, "-c", code, "--upstream", server.url, "--port", str(ports[0])]

    with Program(command, tmp_path) as program:
        connection = http.client.HTTPConnection("127.0.0.1", program.ports[0], timeout=WAIT)
        try:
            for path, status in (("/hello", 200), ("/nothing", 404), ("/shopping", 404)):
                connection.request("GET", path)
                response = connection.getresponse()
                assert (response.status, path) == (status, path)
                response.read()
            connection.request("GET", "/shop/echo?a=b")
            echoed = json.loads(connection.getresponse().read())
        finally:
            connection.close()
    assert echoed["target"] == "/echo?a=b"
    assert ["x-forwarded-prefix", "/shop"] in echoed["headers"]
