"""Gateways under real ASGI servers on loopback: uvicorn, hypercorn and granian.

Owns: starting them on free ports, what runs in their loop, their end. Must not know: how the
gateway is made, beyond `Gateway` and `Settings`.
Sources: www.uvicorn.org/deployment, hypercorn.readthedocs.io, `python -m granian --help`.

- `ServedGateway` runs a server in a thread of this process with a loop of its own, so that its
  coverage is measured and a test can look into it (`call`).
- `gateway_program` runs one in a process of its own, and is the only way with granian.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from httpcore_gateway import Gateway, Route, Settings
from httpcore_gateway._record import Record
from tests.support import ROOT
from tests.support.programs import Program

T = TypeVar("T")

# Seconds until a server listens, or has ended; reached only by a broken test.
WAIT = 20.0
# Seconds in which a server that stops lets requests finish.
GRACE = 1

#: What a server in this process can be.
SERVERS = ("uvicorn", "hypercorn")
#: Where a gateway answers requests in a process of its own.
PROGRAMS = ("uvicorn", "granian", "hypercorn")

Application = Callable[[Any, Any, Any], Any]


def make_settings(*upstreams: str, **options: Any) -> Settings:
    """Return settings with one route; `options` are those of `Route` and of `Settings`."""
    whole = {key: options.pop(key) for key in list(options) if key in Settings.__struct_fields__}
    if "routes" not in whole:
        whole["routes"] = (Route(upstreams=upstreams, **options),)
    return Settings(**whole)


class ServedGateway:
    """A gateway under a server in a thread of this process.

    Parameters:
        settings: the gateway's.
        server: one of SERVERS.
        use_uvloop: run it in a loop of uvloop.
        wrap: makes the application that is served from the gateway; for middleware and mounts.
        tls: paths of a certificate and its key.
        trace: the gateway's.
        listen: the port, or 0 for any that is free.
        options: of the server's own configuration.

    Attributes:
        gateway: the `Gateway`.
        loop: its event loop.
        port: where it listens, on 127.0.0.1.
        problems: what the loop was told of by its handler of exceptions, and the tasks that were
            left over at the end.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        server: str = "uvicorn",
        use_uvloop: bool = False,
        wrap: Callable[[Gateway], Application] | None = None,
        tls: tuple[Path, Path] | None = None,
        trace: Callable[..., object] | None = None,
        listen: int = 0,
        **options: Any,
    ) -> None:
        self.gateway = Gateway(settings=settings, trace=trace)
        self.problems: list[str] = []
        self.port = listen
        self.loop: asyncio.AbstractEventLoop = _new_loop(use_uvloop)
        self._app: Application = self.gateway if wrap is None else wrap(self.gateway)
        self._options = options
        self._run = {"uvicorn": self._run_uvicorn, "hypercorn": self._run_hypercorn}[server]
        self._scheme = "http" if tls is None else "https"
        self._tls = tls
        self._listens = threading.Event()
        self._failure: BaseException | None = None
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._main, name=f"gateway under {server}")

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> ServedGateway:
        self._thread.start()
        if not self._listens.wait(WAIT) or self._failure is not None:
            self.stop()
            raise RuntimeError("the server does not listen") from self._failure
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server, and wait for its end. Idempotent."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(lambda: self._stop())
        self._thread.join(WAIT)
        if self._thread.is_alive():
            raise RuntimeError("the server does not end")

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a plain function in the gateway's loop; return its result."""

        async def run() -> T:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(WAIT)

    def active(self) -> list[int]:
        """Return how many requests are under way to each upstream."""
        return self.call(lambda: [target.active for target in self.gateway.targets])

    def tasks(self) -> list[str]:
        """Return the tasks of the loop that run code of the gateway."""

        def look() -> list[str]:
            tasks = asyncio.all_tasks(self.loop)
            return [text for text in map(repr, tasks) if "httpcore_gateway" in text]

        return self.call(look)

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(lambda _, context: self.problems.append(str(context)))
        try:
            self.loop.run_until_complete(self._run())
            left = self.loop.run_until_complete(_end_tasks())
            self.problems += [f"left over: {task}" for task in left]
        except BaseException as exc:
            self._failure = exc
        finally:
            self._listens.set()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            asyncio.set_event_loop(None)

    async def _run_uvicorn(self) -> None:
        import uvicorn

        options: dict[str, Any] = {
            "http": "httptools",
            "lifespan": "on",
            "log_config": None,
            "access_log": False,
            "timeout_graceful_shutdown": GRACE,
            # Else uvicorn believes the X-Forwarded-For of each client on this machine.
            "proxy_headers": False,
        }
        if self._tls is not None:
            options["ssl_certfile"], options["ssl_keyfile"] = map(str, self._tls)
        config = uvicorn.Config(self._app, **{**options, **self._options})
        server = uvicorn.Server(config)

        def stop() -> None:
            server.should_exit = True

        self._stop = stop
        with _listener(self.port) as sock:
            self.port = sock.getsockname()[1]
            serving = asyncio.ensure_future(server.serve([sock]))
            while not server.started and not serving.done():
                await asyncio.sleep(0.005)
            self._listens.set()
            await serving

    async def _run_hypercorn(self) -> None:
        import hypercorn.asyncio
        import hypercorn.config

        config = hypercorn.config.Config()
        config.graceful_timeout = GRACE
        config.errorlog = logging.getLogger("hypercorn.error")
        if self._tls is not None:
            config.certfile, config.keyfile = map(str, self._tls)
        for name, value in self._options.items():
            setattr(config, name, value)
        ended = asyncio.Event()
        self._stop = ended.set
        sock = _listener(self.port)
        self.port = sock.getsockname()[1]
        config.bind = [f"fd://{sock.detach()}"]  # which hypercorn closes
        app: Any = self._app
        serving = asyncio.ensure_future(
            hypercorn.asyncio.serve(app, config, shutdown_trigger=ended.wait, mode="asgi")
        )
        # It listens already; what connects before hypercorn accepts waits in the kernel.
        self._listens.set()
        await serving


def _new_loop(use_uvloop: bool) -> asyncio.AbstractEventLoop:
    if use_uvloop:
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def _listener(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(1024)
    return sock


async def _end_tasks() -> list[str]:
    """Cancel the tasks of this loop that go on; return what they were."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    texts = [repr(task) for task in tasks]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return [text for text in texts if "httpcore" in text]


_PROGRAM = """
import json, sys
sys.path.insert(0, {root!r})
from httpcore_gateway import Gateway
from httpcore_gateway._settings import read_settings
app = Gateway(settings=read_settings(json.loads({settings!r})))
"""


def gateway_program(
    folder: Path,
    settings: Settings,
    *,
    server: str = "uvicorn",
    tls: tuple[Path, Path] | None = None,
    options: tuple[str, ...] = (),
) -> Program:
    """Return a server with a gateway in a process of its own, not started yet.

    Parameters:
        server: one of PROGRAMS.
        tls: paths of a certificate and its key.
        options: more words for the server's command line.
    """
    text = _PROGRAM.format(root=str(ROOT), settings=msgspec.json.encode(settings).decode("utf-8"))
    (folder / "served.py").write_text(text)
    python = [sys.executable, "-m", server]
    cert, key = map(str, tls) if tls is not None else ("", "")

    def uvicorn(port: int) -> list[str]:
        words = [*python, "--host", "127.0.0.1", "--port", str(port), "--http", "httptools"]
        words += ["--no-access-log", "--no-proxy-headers", "--timeout-graceful-shutdown", "1"]
        words += ["--ssl-certfile", cert, "--ssl-keyfile", key] if cert else []
        return [*words, *options, "served:app"]

    def granian(port: int) -> list[str]:
        words = [*python, "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)]
        words += ["--workers-kill-timeout", "1"]
        words += ["--ssl-certificate", cert, "--ssl-keyfile", key] if cert else []
        return [*words, *options, "served:app"]

    def hypercorn(port: int) -> list[str]:
        words = [*python, "--bind", f"127.0.0.1:{port}", "--graceful-timeout", "1"]
        words += ["--certfile", cert, "--keyfile", key] if cert else []
        return [*words, *options, "served:app"]

    command = {"uvicorn": uvicorn, "granian": granian, "hypercorn": hypercorn}[server]
    return Program(lambda ports: command(ports[0]), folder)


@dataclass
class Reply:
    """One response as it came over the wire, read by a few lines that share no code with the
    packages under test. Names of fields are in lower case.

    Attributes:
        interim: statuses of the 1xx responses before it.
        whole: it has ended where its framing says.
        chunked: its body came in chunks.
    """

    status: int
    version: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    whole: bool = True
    chunked: bool = False
    interim: list[int] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """Return the only value of a field; None without one."""
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """A client of HTTP/1 that sends whatever a test wants; to be entered by ``with``."""

    def __init__(self, port: int, timeout: float = WAIT) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self._file = self.sock.makefile("rb")

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def begin_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._file.close()
        self.sock = context.wrap_socket(self.sock)
        self._file = self.sock.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self.sock.close()

    def reset(self) -> None:
        """Close with RST in place of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(self, data: bytes, method: str = "GET") -> Reply:
        """Send a request, and return its response."""
        self.send(data)
        return self.reply(method)

    def reply(self, method: str = "GET") -> Reply:
        """Return the next final response."""
        interim = []
        reply = self.head()
        while 100 <= reply.status < 200 and reply.status != 101:
            interim.append(reply.status)
            reply = self.head()
        reply.interim = interim
        if method != "HEAD" and reply.status not in (204, 304):
            self._read_body(reply)
        return reply

    def head(self) -> Reply:
        """Return the next response without its body. Raises EOFError where there is none."""
        line = self._file.readline()
        if not line:
            raise EOFError
        version, status = line.decode("latin-1").split(None, 2)[:2]
        fields = []
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            fields.append((name.lower(), value.strip()))
        return Reply(int(status), version, fields)

    def recv(self, size: int) -> bytes:
        """Return some bytes of what follows. Raises EOFError at the end."""
        data = self._file.read1(size)
        if not data:
            raise EOFError
        return data

    def recv_exactly(self, size: int) -> bytes:
        """Return so many bytes of what follows; fewer at the end."""
        return self._file.read(size)

    def _read_body(self, reply: Reply) -> None:
        length = reply.get("content-length")
        reply.chunked = reply.get("transfer-encoding") == "chunked"
        if length is not None:
            assert not reply.chunked
            reply.body = self._file.read(int(length))
            reply.whole = len(reply.body) == int(length)
        elif reply.chunked:
            reply.whole = False
            while line := self._file.readline():
                size = int(line, 16)
                reply.body += self._file.read(size)
                if self._file.read(2) == b"\r\n" and not size:
                    reply.whole = True
                    return
        else:
            reply.body = self._file.read()

    def closed(self) -> bool:
        """Wait until the server closes; return whether it has sent nothing before."""
        try:
            return not self._file.read()
        except ConnectionError:
            return True


#: The fixtures `serve_gateway` and `start_gateway`.
ServeGateway = Callable[..., ServedGateway]
StartGateway = Callable[..., Program]

_SETTINGS = frozenset((*Route.__struct_fields__, *Settings.__struct_fields__))


def _split(upstreams: tuple[str, ...], options: dict[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Return the settings that `options` hold, and the rest of them."""
    given = {name: value for name, value in options.items() if name in _SETTINGS}
    rest = {name: value for name, value in options.items() if name not in _SETTINGS}
    return rest.pop("settings", None) or make_settings(*upstreams, **given), rest


@pytest.fixture
def serve_gateway() -> Iterator[ServeGateway]:
    """`serve_gateway(*upstreams, server="uvicorn", ...)` starts a ServedGateway that ends with the
    test; the rest are options of `Route`, `Settings` and `ServedGateway`.

    Tasks of the gateway that are left over fail the test, and so does what its loop reports.
    """
    started: list[ServedGateway] = []

    def start(*upstreams: str, **options: Any) -> ServedGateway:
        settings, rest = _split(upstreams, options)
        served = ServedGateway(settings, **rest).__enter__()
        started.append(served)
        return served

    yield start
    for served in reversed(started):
        served.stop()
    problems = [problem for served in started for problem in served.problems]
    assert not problems, problems


@pytest.fixture
def start_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartGateway]:
    """`start_gateway(*upstreams, server="granian", ...)` starts a gateway in a process of its own
    that ends with the test; the rest are options of `Route`, `Settings` and `gateway_program`."""
    started: list[Program] = []

    def start(*upstreams: str, **options: Any) -> Program:
        settings, rest = _split(upstreams, options)
        folder = tmp_path_factory.mktemp("gateway")
        program = gateway_program(folder, settings, **rest).__enter__()
        started.append(program)
        return program

    yield start
    for program in reversed(started):
        program.stop()


class Kept(Gateway):
    """A gateway that keeps its records."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings=settings)
        self.records: list[Record] = []

    def done(self, record: Record) -> None:
        super().done(record)
        self.records.append(record)

    @property
    def record(self) -> Record:
        [record] = self.records
        return record
