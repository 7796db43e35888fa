"""The sources of the settings: the command line, the environment, one TOML file, and the defaults.

Owns: the settings of the server that runs the gateway, how the sources are put together, and the
place of each setting for the text of an error. Must not know: how options are declared
(`_command`), uvicorn (`_server`).

Source: toml.io, "TOML v1.0.0".
"""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from ._settings import Count, LogForm, Settings, SettingsError, read_settings

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover (the same parser, from a package)
    import tomli as tomllib

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
#: Seconds that uvicorn counts in whole numbers.
WholeSeconds = Annotated[int, msgspec.Meta(ge=1, le=10**9)]


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The addresses of the gateway, and the limits for its clients.

    Parameters:
        host: the name or address to listen on; ``0.0.0.0`` for all of IPv4, ``::`` for all of
            IPv6.
        port: the port to listen on; 0 for one that is free.
        uds: the path of a Unix socket to listen on, in place of host and port.
        workers: how many processes serve; each is a gateway of its own.
        backlog: how many connections may wait to be accepted.
        limit_concurrency: how many connections, or requests, a process has at most; one more is
            answered with 503. None for no limit.
        max_head: bytes of a request's head at most: request line and fields. More is answered
            with 431.
        head_timeout: seconds in which a head has to be complete. Later it is answered with 408.
        keep_alive: seconds that a connection may be idle between two requests. More than the 60
            that load balancers in front keep theirs, so that they close first.
        stop_timeout: seconds that requests have to finish after the signal to stop.
        certificate: a PEM file with the certificate and its chain; with it, clients speak https.
        key: a PEM file with its key, if that is not in the same file. Without a password.
        admin: the ``host:port`` of a listener of its own for health, stats and metrics. Not with
            several workers.
    """

    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Port = 8000
    uds: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    workers: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    backlog: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 2048
    limit_concurrency: Count | None = None
    max_head: Annotated[int, msgspec.Meta(ge=1024, le=2**24)] = 65536
    head_timeout: WholeSeconds = 30
    keep_alive: WholeSeconds = 75
    stop_timeout: Annotated[int, msgspec.Meta(ge=0, le=10**9)] = 30
    certificate: str | None = None
    key: str | None = None
    admin: str | None = None


class Config(Settings, frozen=True, kw_only=True):
    """All settings of ``python -m httpcore_gateway``.

    Parameters:
        server: see `Server`.
        access_log: as in `Settings`; here it is on.
    """

    server: Server = Server()
    access_log: LogForm = "text"


class Given(NamedTuple):
    """A setting from the command line or the environment.

    Parameters:
        value: what is set.
        place: ``--port`` or ``GATEWAY_PORT``.
    """

    value: object
    place: str


class Places:
    """Names the place where a setting was set.

    Parameters:
        file: the configuration file; None without one.
        given: what was given otherwise, by the path of the setting, such as ``server.port``.
    """

    def __init__(self, file: str | None, given: Mapping[str, Given]) -> None:
        self._file = file
        self._given = {path: each.place for path, each in given.items()}

    def name(self, path: str) -> str:
        """Return the place of the setting at `path`."""
        for beginning, place in self._given.items():
            if path == beginning or path.startswith((f"{beginning}.", f"{beginning}[")):
                return place
        if self._file is not None:
            return f"{self._file}: {path}"
        return path

    def error(self, path: str, text: str) -> SettingsError:
        """Return the error for the setting at `path`."""
        return SettingsError(f"{self.name(path)}: {text}")

    def translate(self, exc: SettingsError) -> SettingsError:
        """Return an error that begins with the path of a setting as one that begins with its
        place."""
        match = _PATH.match(str(exc))
        return self.error(match[1], match[2]) if match else SettingsError(f"{self._file}: {exc}")


#: The path of a setting, and the text after it.
_PATH = re.compile(r"((?:[^:\s\[\].]|[.\[\]](?=\S))+\]?): (.*)", re.DOTALL)

#: Where ``--upstream`` leads to.
UPSTREAMS = "routes[0].upstreams"


def read_config(file: Given | None, given: Mapping[str, Given]) -> tuple[Config, Places]:
    """Return all settings, and where they are from.

    Parameters:
        file: the path of a TOML file.
        given: what comes before the file, by the path of the setting.

    Raises SettingsError, which names the place.
    """
    data = {} if file is None else read_file(str(file.value), file.place)
    places = Places(None if file is None else str(file.value), given)
    if UPSTREAMS not in given and "routes" not in data:
        where = "" if file is None else f"{file.value}: "
        raise SettingsError(f"{where}routes: none: name an upstream (--upstream URL)")
    if not isinstance(data.setdefault("server", {}), dict):
        raise places.error("server", "expected a table")
    for path, each in given.items():
        group, _, name = path.rpartition(".")
        if path == UPSTREAMS:
            data["routes"] = [{"upstreams": each.value}]
        elif group:
            data[group][name] = each.value
        else:
            data[name] = each.value
    try:
        config = read_settings(data, kind=Config)
    except SettingsError as exc:
        raise places.translate(exc) from None
    check_certificate(config.server, places)
    check_admin(config.server, places)
    return config, places


def read_file(path: str, place: str) -> dict[str, Any]:
    """Return the contents of a TOML file.

    Parameters:
        path: the file.
        place: the option or variable that named it, for the text of an error.

    Raises SettingsError, which names the place.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
        data = tomllib.loads(text)
    except OSError as exc:
        raise SettingsError(f"{place}: {path}: {exc.strerror or exc}") from None
    except UnicodeDecodeError as exc:
        raise SettingsError(f"{path}: byte {exc.start} is not UTF-8") from None
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(name_line(path, str(exc))) from None
    except RecursionError:
        raise SettingsError(f"{path}: too many brackets inside each other") from None
    except ValueError as exc:  # a path with a zero byte
        raise SettingsError(f"{place}: {path!r}: {exc}") from None
    _read_none(data)
    return data


def name_line(path: str, text: str) -> str:
    """Return the parser's text with the file and the line in front."""
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", text, re.S)
    if match is None:
        return f"{path}: {text}"
    where = f"line {match[2]}, column {match[3]}" if match[2] else "at the end"
    return f"{path}: {where}: {match[1][:1].lower()}{match[1][1:]}"


#: The value in a file for no limit: TOML has no null.
NONE = "none"


def _read_none(data: dict[str, Any]) -> None:
    """Turn NONE into None where it stands for no limit: in the timeouts of routes."""
    routes = data.get("routes")
    for route in routes if isinstance(routes, list) else ():
        timeouts = route.get("timeouts") if isinstance(route, dict) else None
        if isinstance(timeouts, dict):
            for name, value in timeouts.items():
                if value == NONE:
                    timeouts[name] = None


def check_admin(server: Server, places: Places) -> None:
    """Check the place of the admin's listener. Raises SettingsError."""
    if server.admin is None:
        return
    try:
        split_address(server.admin)
    except ValueError as exc:
        raise places.error("server.admin", str(exc)) from None
    if server.workers > 1:
        text = "several workers have figures of their own, and cannot share a port for them"
        raise places.error("server.admin", text)


def split_address(text: str) -> tuple[str, int]:
    """Return host and port. Raises ValueError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r}: write HOST:PORT")
    return host, int(port)


def check_certificate(server: Server, places: Places) -> None:
    """Check that certificate and key are there and belong together. Raises SettingsError."""
    if server.certificate is None:
        if server.key is not None:
            raise places.error("server.key", "there is a key, but no certificate")
        return
    for name, path in (("certificate", server.certificate), ("key", server.key)):
        if path is None:
            continue
        try:
            with open(path, "rb"):
                pass
        except (OSError, ValueError) as exc:
            why = getattr(exc, "strerror", None) or exc
            raise places.error(f"server.{name}", f"{path}: {why}") from None
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Without a password, OpenSSL would ask for one at the terminal.
        context.load_cert_chain(server.certificate, server.key, password="")
    except ssl.SSLError as exc:
        raise places.error("server.certificate", _explain_tls(exc)) from None


def _explain_tls(exc: ssl.SSLError) -> str:
    if exc.reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    return "certificate or key cannot be read: both have to be PEM, the key without a password"
