"""``python -m httpcore_gateway`` as a process: its start, its limits, its end.

Owns: what a user and a service manager see of it: lines, exit codes, signals. Must not know: how
requests are passed on.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import websockets.exceptions
import websockets.sync.client
import websockets.sync.server

from tests.support import ROOT
from tests.support.raw_http import WAIT, Waiting, ask, read_all, read_until, until_refused
from tests.support.servers import LocalServer, closed_port


class Running:
    """A gateway of its own process.

    Attributes:
        line: what it says when it serves.
        port: where it listens; 0 for a Unix socket.
    """

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "httpcore_gateway", *arguments],
            cwd=folder,
            env={**clean_environment(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self.process.stderr is not None
        self.line = self.process.stderr.readline().decode()
        self.said = b""
        # Nothing blocks on a pipe that nobody reads.
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        found = re.search(r"https?://[^ /]*:(\d+) serves", self.line)
        self.port = int(found[1]) if found else 0

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.said = self.process.stderr.read()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), WAIT)

    def get(self, path: str = "/") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def wait(self) -> int:
        return self.process.wait(WAIT)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


def clean_environment() -> dict[str, str]:
    """Return the variables of this process without those that a gateway reads."""
    variables = {name: value for name, value in os.environ.items() if "GATEWAY" not in name}
    return {**variables, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """`start(*arguments, **variables)` starts a gateway that ends with the test."""
    started: list[Running] = []

    def begin(*arguments: str, **variables: str) -> Running:
        running = Running(tmp_path, *arguments, **variables)
        started.append(running)
        return running

    yield begin
    for running in started:
        running.end()


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    with Waiting() as server:
        yield server


# --- the start ---


def test_it_starts_with_one_option(start: Any, server: LocalServer) -> None:
    running = start("--upstream", server.url, "--port", "0")
    assert running.line == (
        f"httpcore_gateway: http://127.0.0.1:{running.port} serves */ -> {server.url}\n"
    )
    assert running.get("/bytes/10")[0] == 200
    running.process.send_signal(signal.SIGTERM)
    assert running.wait() == 0
    running.end()
    assert running.said == b""


def test_it_starts_from_the_environment(start: Any, server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:  # by a gateway that was killed
        left_behind.bind(str(path))
    running = start(GATEWAY_UPSTREAM=server.url, GATEWAY_UDS=str(path))
    assert running.line == f"httpcore_gateway: {path} serves */ -> {server.url}\n"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(WAIT)
        sock.connect(str(path))
        ask(sock, "/status/204")
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 204 ")
    second = start(GATEWAY_UPSTREAM=server.url, GATEWAY_UDS=str(path))
    assert second.line == f"httpcore_gateway: GATEWAY_UDS: '{path}': Address already in use\n"
    assert second.wait() == 2
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
    assert not path.exists()


def test_https(start: Any, server: LocalServer, ca: trustme.CA, tmp_path: Path) -> None:
    pair = ca.issue_cert("127.0.0.1")
    pair.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    running = start("-u", server.url, "--port", "0", "--certificate", "both.pem")
    assert running.line.startswith("httpcore_gateway: https://127.0.0.1:")
    context = ssl.create_default_context()
    ca.configure_trust(context)
    with (
        running.connect() as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        ask(sock, "/echo")
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_port_in_use(start: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = str(sock.getsockname()[1])
        running = start("-u", "http://127.0.0.1:1", GATEWAY_PORT=port)
        assert running.wait() == 2
    running.end()
    line = f"httpcore_gateway: GATEWAY_PORT: {port}: Address already in use\n"
    assert (running.line, running.said) == (line, b"")


def test_a_host_that_is_none(start: Any) -> None:
    running = start("-u", "http://127.0.0.1:1", "--host", "no such host")
    assert running.wait() == 2
    running.end()
    assert running.line.startswith("httpcore_gateway: --host: 'no such host': ")
    assert running.said == b""


@pytest.mark.parametrize("missing", ["click", "msgspec", "uvicorn", "websockets"])
def test_a_package_that_is_not_installed(missing: str) -> None:
    code = (
        f"import runpy, sys; sys.modules[{missing!r}] = None; sys.argv = ['x', '--version'];"
        "runpy.run_module('httpcore_gateway', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, timeout=WAIT
    )
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"httpcore_gateway: the package '{missing}' is not installed; "
        'run: pip install "httpcore[gateway]"\n'
    )


def test_the_admin_listens_elsewhere(start: Any, server: LocalServer) -> None:
    running = start("-u", server.url, "--port", "0", "--admin", f"127.0.0.1:{closed_port()}")
    found = re.search(r"stats and metrics: http://127.0.0.1:(\d+)\n", running.line)
    assert found is not None
    admin = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=WAIT)
    with contextlib.closing(admin):
        admin.request("GET", "/health")
        assert admin.getresponse().read() == b'{"status": "ok"}'
    assert running.get("/health")[0] == 404  # of the upstream
    running.process.send_signal(signal.SIGTERM)
    assert running.wait() == 0


def test_several_workers(start: Any, server: LocalServer) -> None:
    running = start("-u", server.url, "--port", "0", "--workers", "2")
    assert running.get("/bytes/10")[0] == 200
    arguments = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    if arguments.exists():
        children = arguments.read_text().split()
        assert len(children) >= 2
        for child in children:
            assert server.url.encode() not in Path(f"/proc/{child}/cmdline").read_bytes()
    running.process.send_signal(signal.SIGTERM)
    assert running.wait() == 0


# --- the end ---


def test_a_stop_tells_websockets_to_come_back(start: Any) -> None:
    def echo(connection: websockets.sync.server.ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with websockets.sync.server.serve(echo, "127.0.0.1", 0) as upstream:
        serving = threading.Thread(target=upstream.serve_forever)
        serving.start()
        try:
            running = start(
                "-u", f"http://127.0.0.1:{upstream.socket.getsockname()[1]}", "--port", "0"
            )
            url = f"ws://127.0.0.1:{running.port}/"
            with websockets.sync.client.connect(url, proxy=None) as client:
                client.send("a")
                assert client.recv(WAIT) == "a"
                running.process.send_signal(signal.SIGTERM)
                with pytest.raises(websockets.exceptions.ConnectionClosed):
                    client.recv(WAIT)
                assert client.close_code == 1012
            assert running.wait() == 0
        finally:
            upstream.shutdown()
            serving.join(WAIT)


def test_a_stop_lets_a_request_finish(start: Any, waiting: Waiting) -> None:
    running = start("-u", waiting.url, "--port", "0")
    with running.connect() as slow, running.connect() as idle:
        ask(idle, "/status/204")
        read_until(idle, b"\r\n\r\n")
        ask(slow, "/wait")
        read_until(slow, b"\r\n1\r\n")
        running.process.send_signal(signal.SIGTERM)
        until_refused(running.port)
        assert read_all(idle) == b""  # a connection without a request is closed at once
        assert running.process.poll() is None
        waiting.go.set()
        assert read_all(slow).endswith(b"2\r\n0\r\n\r\n")
    assert running.wait() == 0


def test_a_request_that_takes_too_long_is_cut(start: Any, waiting: Waiting) -> None:
    running = start("-u", waiting.url, "--port", "0", "--stop-timeout", "1")
    with running.connect() as slow:
        ask(slow, "/wait")
        read_until(slow, b"\r\n1\r\n")
        running.process.send_signal(signal.SIGTERM)
        assert read_all(slow) == b""  # without the chunk that would say that it is whole
    assert running.wait() == 0
    running.end()
    assert b"Traceback" not in running.said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_it_at_once(start: Any, waiting: Waiting, workers: str) -> None:
    running = start(
        "-u", waiting.url, "--port", "0", "--stop-timeout", "1000", "--workers", workers
    )
    with running.connect() as slow:
        ask(slow, "/wait")
        read_until(slow, b"\r\n1\r\n")
        running.process.send_signal(signal.SIGTERM)
        until_refused(running.port)  # else the two signals could become one
        running.process.send_signal(signal.SIGTERM)
        assert read_all(slow) == b""
    assert running.wait() == 0
    running.end()
    assert b"Traceback" not in running.said
