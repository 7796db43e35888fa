"""The options of ``python -m httpcore_gateway``, by click.

Owns: their names and help, the order of a run: read, check, listen, serve; what is printed. Must
not know: what settings mean (`_settings`, `_config`).
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

import httpcore

from ._config import UPSTREAMS, Config, Given, Places, read_config
from ._server import CannotListen, listen, listen_admin, serve, write_line
from ._settings import SettingsError, to_upstream

#: The name in front of each line that is printed.
NAME = "httpcore_gateway"
#: Environment variables are called so: ``--stop-timeout`` is ``GATEWAY_STOP_TIMEOUT``.
PREFIX = "GATEWAY"
#: The exit code for wrong settings, or a port in use.
CANNOT_BEGIN = 2
#: As shells count: 128 + SIGINT.
INTERRUPTED = 130

SHORT = """\
Pass HTTP requests and WebSockets on to other servers.

Options come before environment variables (GATEWAY_PORT for --port), those before the file of
--config, that before the defaults. The file has settings that the options have not, routes by host
and path above all: docs/gateway.rst.
"""


def _option(path: str, *names: str, **more: Any) -> click.Option:
    option = click.Option(names, **more)
    PATHS[option.name or ""] = path
    return option


#: Where the value of an option stands among the settings, by the option's name.
PATHS: dict[str, str] = {}

OPTIONS = [
    _option(
        UPSTREAMS,
        *("-u", "--upstream"),
        metavar="URL",
        multiple=True,
        help="Pass everything on to this server. Repeatable; replaces the routes of the file.",
    ),
    click.Option(
        ["-c", "--config"],
        metavar="FILE",
        help="Read settings from this TOML file.",
    ),
    _option("server.host", "--host", metavar="HOST", help="Listen here. Default: 127.0.0.1."),
    _option("server.port", "--port", metavar="PORT", type=int, help="Default: 8000."),
    _option("server.uds", "--uds", metavar="PATH", help="Listen on a Unix socket instead."),
    _option("server.workers", "--workers", metavar="N", type=int, help="Processes. Default: 1."),
    _option("server.backlog", "--backlog", metavar="N", type=int, help="Default: 2048."),
    _option(
        "server.limit_concurrency",
        "--limit-concurrency",
        metavar="N",
        type=int,
        help="Answer with 503 above this many connections of a process.",
    ),
    _option(
        "server.max_head",
        "--max-head",
        metavar="BYTES",
        type=int,
        help="Answer longer heads with 431. Default: 65536.",
    ),
    _option(
        "server.head_timeout",
        "--head-timeout",
        metavar="SECONDS",
        type=int,
        help="Answer heads that take longer with 408. Default: 30.",
    ),
    _option(
        "server.keep_alive",
        "--keep-alive",
        metavar="SECONDS",
        type=int,
        help="Close connections that are idle for so long. Default: 75.",
    ),
    _option(
        "server.stop_timeout",
        "--stop-timeout",
        metavar="SECONDS",
        type=int,
        help="After a signal, let requests finish for so long. Default: 30.",
    ),
    _option("server.certificate", "--certificate", metavar="FILE", help="Speak https: PEM."),
    _option("server.key", "--key", metavar="FILE", help="The certificate's key: PEM."),
    _option(
        "trusted",
        "--trusted",
        metavar="NETWORK",
        multiple=True,
        help="A proxy in front whose X-Forwarded-* are believed: 10.0.0.0/8. Repeatable.",
    ),
    _option("name", "--name", metavar="NAME", help="In Via. Default: httpcore-gateway."),
    _option(
        "access_log",
        "--access-log",
        metavar="text|json|off",
        help="Default: text.",
    ),
    _option(
        "server.admin", "--admin", metavar="HOST:PORT", help="Serve health, stats and metrics here."
    ),
    _option(
        "admin_path", "--admin-path", metavar="PATH", help="Serve them below this path, such as /-."
    ),
]

ACTIONS = [
    click.Option(
        ["--check"],
        is_flag=True,
        allow_from_autoenv=False,
        help="Read and check the settings, and end.",
    ),
    click.Option(
        ["--show"],
        is_flag=True,
        allow_from_autoenv=False,
        help="Print all settings as JSON, and end.",
    ),
    click.Option(["--version"], is_flag=True, allow_from_autoenv=False, help="Print the version."),
]


def variable_of(option: click.Parameter) -> str:
    """Return the environment variable of an option."""
    return f"{PREFIX}_{(option.name or '').upper()}"


def place_of(context: click.Context, option: click.Parameter) -> str:
    """Return where an option was set: the name of its variable, or the option as it is typed."""
    if context.get_parameter_source(option.name or "") is ParameterSource.ENVIRONMENT:
        return variable_of(option)
    return option.opts[-1]


def _main(**values: Any) -> None:
    context = click.get_current_context()
    context.exit(_run(context, values))


command = click.Command(
    NAME,
    params=[*OPTIONS, *ACTIONS],
    callback=_main,
    help=SHORT,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": PREFIX,
        "max_content_width": 90,
    },
)


def run_command(arguments: Sequence[str] | None) -> int:
    """Run the command and return its exit code."""
    try:
        code: int | None = command.main(arguments, prog_name=NAME, standalone_mode=False)
    except click.BadParameter as exc:
        place = place_of(exc.ctx, exc.param) if exc.ctx and exc.param else NAME
        return _refuse(f"{place}: {exc.message.rstrip('.')}")
    except click.ClickException as exc:
        return _refuse(exc.format_message().rstrip("."))
    except SettingsError as exc:
        return _refuse(str(exc))
    except click.Abort:  # Ctrl-C before the server takes signals
        return INTERRUPTED
    return code or 0


def _refuse(text: str) -> int:
    write_line(sys.stderr, f"{NAME}: {text}")
    return CANNOT_BEGIN


def _run(context: click.Context, values: dict[str, Any]) -> int:
    if values["version"]:
        click.echo(f"{NAME} {httpcore.__version__}")
        return 0
    file, given = read_options(context, values)
    config, places = read_config(file, given)
    if values["show"]:
        click.echo(msgspec.json.format(msgspec.json.encode(config), indent=2))
        return 0
    if values["check"]:
        click.echo(f"{NAME}: the settings are right: {summarize(config)}")
        return 0
    return _serve(config, places)


def read_options(
    context: click.Context, values: dict[str, Any]
) -> tuple[Given | None, dict[str, Given]]:
    """Return the configuration file, and what was given by the path of the setting."""
    given = {}
    file = None
    for option in context.command.params:
        value = values.get(option.name or "")
        if value is None or value == ():
            continue
        one = Given(value, place_of(context, option))
        if option.name == "config":
            file = one
        elif option.name in PATHS:
            given[PATHS[option.name]] = one
    return file, given


def _serve(config: Config, places: Places) -> int:
    sockets: list[socket.socket] = []
    try:
        sockets += listen(config.server)
        admin_sockets = listen_admin(config.server)
    except CannotListen as exc:
        for sock in sockets:
            sock.close()
        place = places.name(exc.setting)
        if place == exc.setting:  # a default
            place = "--" + place.rpartition(".")[2]
        return _refuse(f"{place}: {exc}")
    urls = [config.server.uds or url_of(config, sock.getsockname()) for sock in sockets]

    def say() -> None:
        line = f"{NAME}: {', '.join(urls)} serves {summarize(config)}"
        if admin_sockets:
            host, port = admin_sockets[0].getsockname()[:2]
            line += f"; health, stats and metrics: http://{join_address(host, port)}"
        write_line(sys.stderr, line)

    try:
        return serve(config, sockets, admin_sockets, say)
    finally:
        for sock in sockets:
            sock.close()
        if config.server.uds is not None:
            Path(config.server.uds).unlink(missing_ok=True)


def url_of(config: Config, address: Any) -> str:
    """Return the URL of a listening socket."""
    scheme = "http" if config.server.certificate is None else "https"
    return f"{scheme}://{join_address(*address[:2])}"


def join_address(host: str, port: int) -> str:
    """Return host and port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def summarize(config: Config) -> str:
    """Return the routes and where they lead, for one line."""
    routes = []
    for route in config.routes:
        urls = [to_upstream(upstream).url for upstream in route.upstreams]
        routes.append(f"{route.host or '*'}{route.path} -> {' '.join(urls)}")
    return "; ".join(routes)
