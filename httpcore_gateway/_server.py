"""Runs the gateway under uvicorn.

Owns: uvicorn's settings, listening sockets, processes, the stop, where log records go, how often
the process looks for garbage. Must not know: where the settings are from (`_config`), options
(`_command`).

Sources: uvicorn.dev, "Settings" and "Deployment"; signal(7); Python's `gc` and devguide, "Garbage
collector design".
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import errno
import gc
import importlib.util
import logging
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, TextIO

import msgspec
import uvicorn
from uvicorn.supervisors import Multiprocess

from ._admin import Admin
from ._app import Gateway
from ._config import Config, Server, split_address
from ._upgrade import AnsweringWebSocket

#: The environment variable with the settings for the processes of several workers, as JSON. Not
#: their command line, which other users of the machine can read.
VARIABLE = "_HTTPCORE_GATEWAY_SETTINGS"
#: The function that makes the application in each of them.
FACTORY = "httpcore_gateway._server:make_app"

#: uvicorn's exit code of a process that could not start.
STARTUP_FAILURE = 3
#: Seconds that responses of the admin's listener have to finish at the end: they are small.
ADMIN_STOP = 2


#: Objects that are made and not freed before Python looks for garbage in circles: more than some
#: hundred requests hold at once. They are in no circle, and with Python's own 700 they would all
#: be looked at again and again while they are served.
COLLECT_AFTER = 20_000


def relieve_collector() -> None:
    """Let Python look for garbage in circles less often, and never in what is there at the start:
    the modules, which are most of what a gateway holds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


def restore_collector(thresholds: tuple[int, int, int]) -> None:
    """Take `relieve_collector` back."""
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def make_app() -> Gateway:
    """Return the application of one worker, by the settings in the environment. The process
    belongs to it alone."""
    relieve_collector()
    return Gateway(settings=msgspec.json.decode(os.environ[VARIABLE], type=Config))


def serve(
    config: Config,
    sockets: list[socket.socket],
    admin_sockets: list[socket.socket],
    say: Callable[[], None],
) -> int:
    """Serve until a signal ends it; return the exit code.

    Parameters:
        sockets: to accept connections on; they are closed at the end.
        admin_sockets: those for health, stats and metrics.
        say: called when connections are accepted.
    """
    if config.server.workers == 1:
        app = Gateway(settings=config)
        server = GatewayServer(UvicornConfig(config, app), app, admin_sockets, say)
        thresholds = gc.get_threshold()
        relieve_collector()
        try:
            server.run(sockets)
        finally:
            restore_collector(thresholds)
        return 0
    options = UvicornConfig(config, FACTORY)
    os.environ[VARIABLE] = msgspec.json.encode(config).decode("utf-8")
    for sock in sockets:
        sock.set_inheritable(True)
    say()
    workers = Workers(options, sockets)
    workers.run()
    return STARTUP_FAILURE if workers.failed else 0


class UvicornConfig(uvicorn.Config):
    """uvicorn's settings, with the two of `LimitedProtocol`. Each worker gets a copy by pickle."""

    def __init__(self, config: Config, app: Gateway | Admin | str) -> None:
        server = config.server
        self.max_head = server.max_head
        self.head_timeout = server.head_timeout
        super().__init__(
            app,
            factory=isinstance(app, str),
            workers=server.workers,
            interface="asgi3",
            lifespan="on",
            http=choose_protocol(),
            ws=AnsweringWebSocket,
            ws_max_size=config.websocket_max_message,
            h11_max_incomplete_event_size=server.max_head,
            backlog=server.backlog,
            limit_concurrency=server.limit_concurrency,
            timeout_keep_alive=server.keep_alive,
            timeout_graceful_shutdown=server.stop_timeout,
            ssl_certfile=server.certificate,
            ssl_keyfile=server.key,
            # The gateway reads X-Forwarded-* itself, and passes the upstream's Server and Date on.
            proxy_headers=False,
            server_header=False,
            date_header=False,
            access_log=False,
            log_config=make_log_config(),
        )

    def for_admin(self, app: Admin) -> uvicorn.Config:
        """Return the settings of a server for health, stats and metrics."""
        config = copy.copy(self)
        config.app = app
        config.lifespan = "off"
        config.limit_concurrency = None
        config.timeout_graceful_shutdown = ADMIN_STOP
        config.ssl_certfile = config.ssl_keyfile = None
        return config


def is_installed(name: str) -> bool:
    """Return whether a module could be imported."""
    return importlib.util.find_spec(name) is not None


def choose_protocol() -> Any:
    """Return uvicorn's HTTP: httptools with our limits; h11, which has one of its own, without."""
    if not is_installed("httptools"):
        return "h11"
    from ._protocol import LimitedProtocol

    return LimitedProtocol


class GatewayServer(uvicorn.Server):
    """uvicorn's server, which ends with the second signal of any kind, and returns.

    Parameters:
        app: the gateway.
        admin_sockets: for health, stats and metrics; empty for none.
        say: called when connections are accepted.
    """

    def __init__(
        self,
        config: UvicornConfig,
        app: Gateway,
        admin_sockets: list[socket.socket],
        say: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._app = app
        self._admin = AdminServer(config.for_admin(app.admin), admin_sockets)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._say = say

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)
        if self.started:
            self._admin.begin()
            self._say()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let requests finish. Health says meanwhile that the gateway stops."""
        self._app.stopping = True
        try:
            await super().shutdown(sockets=sockets)
        finally:
            await self._admin.end()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal. uvicorn's own would raise it again at the end, so that a service that
        stopped in order would look as if it had been killed."""
        if self.should_exit:
            self.force_exit = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._end_all)
        self.should_exit = True

    def _end_all(self) -> None:
        """End all requests now. The loop waits for connections that are open (Python 3.12)."""
        for task in list(self.server_state.tasks):
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class AdminServer(uvicorn.Server):
    """A server beside another one in the same loop, which leaves signals to that.

    Parameters:
        config: uvicorn's settings.
        sockets: to accept connections on; without any, it does nothing.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config)
        self._sockets = sockets
        self._serving: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take no signals."""
        yield

    def begin(self) -> None:
        """Begin to serve in the running loop."""
        if self._sockets:
            self._serving = asyncio.ensure_future(self.serve(self._sockets))

    async def end(self) -> None:
        """Stop, and let responses finish that are under way."""
        self.should_exit = True
        if self._serving is not None:
            await self._serving


class Workers(Multiprocess):
    """uvicorn's parent of several processes, which kills them with the second signal.

    Parameters:
        config, sockets: uvicorn's.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets=sockets)
        self._stops = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take_stop)

    @property
    def failed(self) -> bool:
        """Whether it ended because a process could not start."""
        return any(worker.process.exitcode == STARTUP_FAILURE for worker in self.processes)

    def terminate_all(self) -> None:
        """Tell all processes to stop, and refuse new connections."""
        super().terminate_all()
        for sock in self.sockets:
            sock.close()

    def _take_stop(self, number: int, frame: FrameType | None) -> None:
        self._stops += 1
        self.signal_queue.append(number)
        if self._stops > 1:
            for worker in self.processes:
                worker.process.kill()


# --- sockets ---


class CannotListen(Exception):
    """A socket could not be opened.

    Attributes:
        setting: the one that has to be changed.
    """

    def __init__(self, setting: str, text: str) -> None:
        super().__init__(text)
        self.setting = setting


def listen(server: Server) -> list[socket.socket]:
    """Return sockets that listen, one for each address. Raises CannotListen."""
    if server.uds is not None:
        return [_listen_unix(server.uds, server.backlog)]
    try:
        found = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as exc:
        why = getattr(exc, "strerror", None) or "is no host name"
        raise CannotListen("server.host", f"{server.host!r}: {why}") from None
    sockets: list[socket.socket] = []
    port = server.port
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            sockets.append(_listen_at(family, (address[0], port, *address[2:]), server.backlog))
            port = sockets[0].getsockname()[1]  # that of all, where it was 0
    except OSError as exc:
        for sock in sockets:
            sock.close()
        unknown = exc.errno == errno.EADDRNOTAVAIL
        where = f"{server.host}: " if unknown else f"{port}: "
        raise CannotListen(
            "server.host" if unknown else "server.port", where + os.strerror(exc.errno or 0)
        ) from None
    return sockets


def listen_admin(server: Server) -> list[socket.socket]:
    """Return the sockets of the admin's listener; empty without one. Raises CannotListen."""
    if server.admin is None:
        return []
    host, port = split_address(server.admin)
    try:
        return listen(Server(host=host, port=port))
    except CannotListen as exc:
        raise CannotListen("server.admin", str(exc)) from None


def _listen_at(family: int, address: tuple[Any, ...], backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two programs have the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen_unix(path: str, backlog: int) -> socket.socket:
    """Return a listening Unix socket; one that an earlier run has left behind is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_left_behind(path):
            os.unlink(path)
        sock.bind(path)
        # As nginx and uvicorn do: the permissions of the folder limit the access.
        os.chmod(path, 0o666)  # noqa: S103
        sock.listen(backlog)
    except (OSError, ValueError) as exc:
        sock.close()
        why = getattr(exc, "strerror", None) or str(exc)
        raise CannotListen("server.uds", f"{path!r}: {why}") from None
    return sock


def _is_left_behind(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except (OSError, ValueError):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


# --- logs ---


#: uvicorn's log line for a response that broke off in the middle.
INCOMPLETE = "ASGI callable returned without completing response."


class NotOurs(logging.Filter):
    """Leaves out two reports of uvicorn: of a response that broke off in the middle, which the
    gateway has logged already, and the tracebacks of requests that the stop has cancelled."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is shown."""
        exc = record.exc_info[1] if record.exc_info else None
        return record.msg != INCOMPLETE and not isinstance(exc, asyncio.CancelledError)


def make_log_config() -> dict[str, Any]:
    """Return the configuration of `logging`: problems to standard error, the access log to
    standard output."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"purpose": {"()": "httpcore_gateway._server.NotOurs"}},
        "formatters": {
            "problem": {"format": "%(asctime)s %(levelname)s %(message)s"},
        },
        "handlers": {
            "problems": {
                "class": "logging.StreamHandler",
                "formatter": "problem",
                "filters": ["purpose"],
                "stream": "ext://sys.stderr",
            },
            "access": {"()": "httpcore_gateway._log.LineHandler", "stream": "ext://sys.stdout"},
        },
        "loggers": {
            "uvicorn": {"handlers": ["problems"], "level": "WARNING", "propagate": False},
            "httpcore_gateway": {"handlers": ["problems"], "level": "INFO", "propagate": False},
            "httpcore_gateway.access": {
                "handlers": ["access"],
                "level": "INFO",
                "propagate": False,
            },
        },
    }


def write_line(stream: TextIO, text: str) -> None:
    """Write one line, whatever is in the text."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    stream.write(shown + "\n")
    stream.flush()
