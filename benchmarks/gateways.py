"""The contestants of a gateway case: a process each, before the same server, under the same load.

Owns: starting them, what a round costs their processes, how far one grows. Must not know: how a
gateway works, the order of the rounds.

A gateway answers the same questions as a worker (`processes.Worker`), so that `runner` lets both
take turns alike: `ask({"seconds": n})` puts load on it for so long.

Sources: proc(5) for CPU (`stat`), children (`task/TID/children`) and the peak of the resident set
(`clear_refs`, `VmHWM`).
"""

from __future__ import annotations

import contextlib
import http.client
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from . import cases, load, servers, slow_peers
from .processes import GATEWAY_PROGRAM, Interpreters, Skipped, Worker, WorkerError

_PROC = Path("/proc")

#: Seconds of CPU in one tick of /proc/PID/stat.
_TICK = 1.0 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01

#: Seconds between two looks at a process that finishes what was under way when a round ended, and
#: for which it may do so: the slowest gateway has a hundred requests left, at 15 ms each.
_LOOK, _PATIENCE = 0.05, 10.0

#: Seconds of load before the first round: connections are opened, lazy imports done.
_WARM_UP = 1


class Place(NamedTuple):
    """Where gateways stand.

    Parameters:
        upstream: the server behind them.
        path: what they are asked for.
        size: bytes in the body of each answer.
        directory: where one may put its files.
    """

    upstream: int
    path: str
    size: int
    directory: Path


class Process(Protocol):
    """A gateway that was started."""

    pid: int
    version: str

    def close(self) -> None: ...


class Program(Worker):
    """Ours, or one written by hand."""

    def __init__(self, python: str, job: dict[str, Any]) -> None:
        super().__init__(python, job, GATEWAY_PROGRAM)
        self.pid = self.process.pid


class Nginx:
    """nginx as a gateway."""

    def __init__(self, place: Place, port: int) -> None:
        program = servers.nginx_path()
        if program is None:
            raise Skipped("nginx is not installed")
        directory = place.directory / f"gateway-{port}"
        directory.mkdir()
        self._server = servers.start_nginx_gateway(directory, program, place.upstream, port)
        self.pid = self._server.process.pid
        self.version = self._server.name

    def close(self) -> None:
        self._server.stop()


def start(
    contestant: cases.Contestant, place: Place, port: int, interpreters: Interpreters
) -> Process:
    """Start a gateway and wait until it listens.

    Raises:
        Skipped: something that it needs is not installed.
        WorkerError: it did not start.
    """
    if contestant.peer == cases.NGINX:
        try:
            return Nginx(place, port)
        except RuntimeError as error:
            raise WorkerError(str(error)) from error
    job = {
        "peer": contestant.peer,
        "port": port,
        "upstream": f"http://127.0.0.1:{place.upstream}",
        "connections": contestant.connections,
        "received": place.size,
        "variant": contestant.variant,
    }
    program = Program(interpreters.of(contestant.peer, cases.GATEWAY), job)
    try:
        servers.wait_until_listening(program.process, port)
    except RuntimeError as error:
        program.close()
        raise WorkerError(f"the gateway: {error}") from error
    return program


class Gateway:
    """One gateway under load.

    Parameters:
        process: what was started.
        url: what it is asked for.
        connections: how many are kept busy.
        size: bytes in the body of each answer.
        generator: what keeps them busy.

    Raises:
        WorkerError: it does not answer as it should.
    """

    def __init__(
        self, process: Process, url: str, connections: int, size: int, generator: load.Generator
    ) -> None:
        self.version = process.version
        self._process = process
        self._url = url
        self._connections = connections
        self._size = size
        self._generator = generator

    def warm_up(self) -> None:
        """Ask once, look at the answer, then put load on it."""
        check_answer(self._url, self._size)
        self.ask({"seconds": _WARM_UP})

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Run one round of `question["seconds"]`.

        Raises:
            WorkerError: a request failed, or none was finished.
        """
        pid = self._process.pid
        before = cpu_seconds(pid)
        try:
            done = self._generator.run(self._url, self._connections, question["seconds"])
            cpu = cpu_seconds(pid) - before
            done.check(self._size)
        except load.LoadError as error:
            raise WorkerError(str(error)) from error
        finally:
            settle(pid)
        times = {"wall": done.wall, "cpu": cpu, "p50": done.p50, "p99": done.p99}
        return {"requests": done.requests, **times}

    def close(self) -> None:
        self._process.close()


def open_gateway(
    contestant: cases.Contestant,
    place: Place,
    generator: load.Generator,
    interpreters: Interpreters,
) -> Gateway:
    """Start a gateway and warm it up.

    Raises:
        Skipped, WorkerError: as `start` does, or because it does not answer as it should.
    """
    (port,) = servers.free_ports(1)
    process = start(contestant, place, port, interpreters)
    url = f"http://127.0.0.1:{port}{place.path}"
    gateway = Gateway(process, url, contestant.threads, place.size, generator)
    try:
        gateway.warm_up()
    except BaseException:
        gateway.close()
        raise
    return gateway


def check_answer(url: str, size: int) -> None:
    """Raise WorkerError unless what is there is a 200 with a body of `size` bytes."""
    address, slash, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(address, timeout=_PATIENCE)
    try:
        connection.request("GET", slash + path)
        response = connection.getresponse()
        received = len(response.read())
    except (OSError, http.client.HTTPException) as error:
        raise WorkerError(f"the gateway did not answer: {error!r}") from error
    finally:
        connection.close()
    if response.status != 200 or received != size:
        raise WorkerError(f"status {response.status}, {received} of {size} bytes came")


# --- memory ---


def weigh(kind: str, size: int, interpreters: Interpreters) -> dict[str, int]:
    """Move a body of `size` bytes through ours, with a peer that is slow at first.

    Returns:
        `moved`: bytes; `held`: those that had left the sender when it had to stop because the
        receiver did not read; `growth`: bytes by which the gateway grew.

    Raises:
        Skipped: something is not installed, or cannot be seen here.
        WorkerError: the bytes did not all arrive.
    """
    if not has_proc():
        raise Skipped("needs /proc, as Linux has it")
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(slow_peers.open_upstream(size))
        (port,) = servers.free_ports(1)
        ours = cases.Contestant(cases.OURS, cases.OURS)
        process = start(ours, Place(peer.port, "/", 0, Path()), port, interpreters)
        stack.callback(process.close)
        try:
            slow_peers.warm_up(port)
            forget_peak(process.pid)
            before = peak(process.pid)
            moved, held = _MOVES[kind](port, peer, size)
            growth = peak(process.pid) - before
        except (OSError, slow_peers.PeerError) as error:
            raise WorkerError(f"{type(error).__name__}: {error}") from error
    return {"moved": moved, "held": held, "growth": growth}


_MOVES: dict[str, Callable[[int, slow_peers.Upstream, int], tuple[int, int]]] = {
    cases.GATEWAY_DOWNLOAD: slow_peers.download,
    cases.GATEWAY_UPLOAD: slow_peers.upload,
}


# --- what /proc says ---


def has_proc() -> bool:
    """Return whether this machine says what other processes burn and hold."""
    return (_PROC / "self" / "stat").exists()


def family(pid: int) -> Iterator[int]:
    """Yield a process and what it has started, as far as that is still running."""
    yield pid
    for file in _PROC.glob(f"{pid}/task/*/children"):
        with contextlib.suppress(OSError):  # the thread has just ended
            for child in file.read_text().split():
                yield from family(int(child))


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and its children so far; 0.0 without /proc."""
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            # The second field is a name in parentheses, which may hold anything.
            fields = (_PROC / str(each) / "stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))  # its own and its waited children's
    return total * _TICK


def settle(pid: int) -> None:
    """Wait until a process burns nothing any more, so that the next one has the machine."""
    deadline = time.monotonic() + _PATIENCE
    before, now = -1.0, cpu_seconds(pid)
    while now > before and time.monotonic() < deadline:
        time.sleep(_LOOK)
        before, now = now, cpu_seconds(pid)


def forget_peak(pid: int) -> None:
    """Set the peak of the resident set back to what is there now."""
    with contextlib.suppress(OSError):
        (_PROC / str(pid) / "clear_refs").write_text("5")


def peak(pid: int) -> int:
    """Return the largest resident set of a process so far, in bytes."""
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * cases.KILO
    raise WorkerError("the gateway has ended")
