"""Where the settings come from, and what is said of wrong ones.

Owns: that each wrong setting gives one line with its place, whatever the source. Must not know: the
server.
"""

from __future__ import annotations

import copy
import datetime
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from httpcore_gateway import Settings, SettingsError, Upstream
from httpcore_gateway._command import run_command
from httpcore_gateway._config import Config, Given, Server, name_line, read_config
from httpcore_gateway._settings import Breaker, Route, Timeouts

ROUTES = '[[routes]]\nupstreams = ["http://127.0.0.1:1"]\n'
#: All that a file can say.
WHOLE = {
    "trusted": ["10.0.0.0/8"],
    "name": "edge",
    "admin_path": "/-",
    "access_log": "json",
    "websocket_max_message": 1000,
    "server": {
        "host": "::1",
        "port": 9000,
        "uds": "/run/gateway.sock",
        "workers": 2,
        "backlog": 100,
        "limit_concurrency": 1000,
        "max_head": 8192,
        "head_timeout": 5,
        "keep_alive": 10,
        "stop_timeout": 3,
    },
    "routes": [
        {
            "host": "*.example.com",
            "path": "/api",
            "strip_path": True,
            "host_header": "upstream",
            "retries": 2,
            "max_body": 1000,
            "upstreams": [
                {
                    "url": "https://10.0.0.1:8443/base",
                    "http2": True,
                    "max_connections": 10,
                    "max_queue": 20,
                    "verify": False,
                    "uds": "/run/app.sock",
                },
                "http://10.0.0.2:8080",
            ],
            "timeouts": {
                "connect": 1.5,
                "read": 2,
                "write": 3.0,
                "queue": 4.0,
                "client": 5.0,
                "total": 6.0,
            },
            "breaker": {"failures": 5, "seconds": 0.5, "longest": 10.0},
        },
        {"upstreams": ["http://10.0.0.3"], "timeouts": {"read": "none"}},
    ],
}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and no variables that say something to the gateway."""
    for name in list(os.environ):
        if name.startswith("GATEWAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def to_toml(value: Any) -> str:
    """Return a value as TOML has it inline."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {to_toml(each)}" for key, each in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, (bool, str)):
        return json.dumps(value)
    return str(value)


def write(data: dict[str, Any], path: str = "gateway.toml") -> str:
    lines = [f"{json.dumps(key)} = {to_toml(value)}\n" for key, value in data.items()]
    Path(path).write_text("".join(lines), "utf-8")
    return path


def test_all_settings_from_a_file() -> None:
    config, _ = read_config(Given(write(WHOLE), "--config"), {})
    assert config == msgspec.convert(
        {
            **WHOLE,
            "routes": [WHOLE["routes"][0], {**WHOLE["routes"][1], "timeouts": {"read": None}}],
        },
        Config,
    )
    assert config.server.port == 9000
    assert config.routes[0].timeouts == Timeouts(
        connect=1.5, read=2.0, write=3.0, queue=4.0, client=5.0, total=6.0
    )
    assert config.routes[1].timeouts.read is None


def test_the_file_of_these_tests_is_whole() -> None:
    """A setting that is new has to be here; those of TLS are in tests of their own."""
    route: Any = WHOLE["routes"][0]  # type: ignore[index]
    for kind, data, elsewhere in (
        (Config, WHOLE, set()),
        (Server, WHOLE["server"], {"certificate", "key", "admin"}),
        (Route, route, set()),
        (Upstream, route["upstreams"][0], {"ca"}),
        (Timeouts, route["timeouts"], set()),
        (Breaker, route["breaker"], set()),
    ):
        fields = {field.name for field in msgspec.structs.fields(kind)}
        assert fields - set(data) == elsewhere, kind  # type: ignore[call-overload]


def test_defaults() -> None:
    config, _ = read_config(None, {"routes[0].upstreams": Given(["http://a"], "-u")})
    assert config.server == Server()
    assert (config.access_log, Settings(routes=()).access_log) == ("text", "off")


def show(*arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the settings that a command line leads to."""
    code = run_command([*arguments, "--show"])
    printed, said = capsys.readouterr()
    assert (code, said) == (0, "")
    settings: dict[str, Any] = json.loads(printed)
    return settings


def test_precedence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Option, variable, file, default."""
    write({"name": "file", "server": {"port": 1, "backlog": 2, "keep_alive": 3}})
    with open("gateway.toml", "a") as file:
        file.write(ROUTES)
    monkeypatch.setenv("GATEWAY_CONFIG", "gateway.toml")
    monkeypatch.setenv("GATEWAY_PORT", "10")
    monkeypatch.setenv("GATEWAY_BACKLOG", "20")
    found = show("--port", "100", capsys=capsys)
    server = found["server"]
    assert (server["port"], server["backlog"], server["keep_alive"]) == (100, 20, 3)
    assert server["stop_timeout"] == Server().stop_timeout
    assert found["name"] == "file"
    assert found["routes"][0]["upstreams"] == ["http://127.0.0.1:1"]


def test_upstreams_come_before_the_routes_of_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(WHOLE)
    monkeypatch.setenv("GATEWAY_UPSTREAM", "http://127.0.0.1:5 http://127.0.0.1:6")
    routes = show("-c", "gateway.toml", capsys=capsys)["routes"]
    assert [route["upstreams"] for route in routes] == [
        ["http://127.0.0.1:5", "http://127.0.0.1:6"]
    ]
    routes = show("-u", "http://127.0.0.1:7", capsys=capsys)["routes"]
    assert [route["upstreams"] for route in routes] == [["http://127.0.0.1:7"]]


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that is said, without the program's name."""
    code = run_command(arguments)
    printed, said = capsys.readouterr()
    assert (code, printed) == (2, "")
    name, _, line = said.removesuffix("\n").partition(": ")
    assert name == "httpcore_gateway"
    assert line.isprintable(), said
    return line


UP = "upstreams = ['http://a']\n"
FILES = [
    ("", "routes: none: name an upstream (--upstream URL)"),
    ("routes = []", "routes: none: name at least one upstream"),
    ("routes = 3", "routes: expected a list, got a whole number"),
    ("[[routes]]", "routes[0].upstreams: is missing"),
    ("[[routes]]\nupstreams = []", "routes[0].upstreams: none: name at least one"),
    (ROUTES + "a b = 1", "line 3, column 3: expected "),
    ("a = [1,", "at the end: "),
    (
        ROUTES + "\n[server]\nport = 'x'",
        "server.port: expected a whole number, got a text",
    ),
    (
        ROUTES + "[server]\nport = 65536",
        "server.port: expected a whole number <= 65535",
    ),
    (ROUTES + "[server]\nprot = 1", "server.prot: there is no such setting"),
    (ROUTES + "[server]\nhost = ''", "server.host: expected a text of length >= 1"),
    (ROUTES + "[server]\nadmin = '9'", "server.admin: '9': write HOST:PORT"),
    (
        ROUTES + "[server]\nadmin = 'a:1'\nworkers = 2",
        "server.admin: several workers have figures of their own",
    ),
    ("server = 1\n" + ROUTES, "server: expected a table"),
    ("'a\\nb' = 1\n" + ROUTES, "a\\nb: there is no such setting"),
    ('"a\\nb" = 1\n' + ROUTES, "a\\nb: there is no such setting"),
    ("nmae = 'x'\n" + ROUTES, "nmae: there is no such setting"),
    ("name = 'a b'\n" + ROUTES, "name: 'a b': use letters"),
    (
        "access_log = 'xml'\n" + ROUTES,
        "access_log: 'xml': use 'text' or 'json' or 'off'",
    ),
    ("admin_path = '-'\n" + ROUTES, "admin_path: '-' does not begin with '/'"),
    ("trusted = ['x']\n" + ROUTES, "trusted[0]: 'x' does not appear to be"),
    (ROUTES + ROUTES, "routes[1]: an earlier route has the same host and path"),
    (ROUTES + "path = 'x'", "routes[0].path: 'x' does not begin with '/'"),
    (ROUTES + "host = 'a:1'", "routes[0].host: 'a:1': leave the port out"),
    (ROUTES + "host = '[::1]:1'", "routes[0].host: '[::1]:1': leave the port out"),
    (
        ROUTES + "host_header = 'x'",
        "routes[0].host_header: 'x': use 'keep' or 'upstream'",
    ),
    (ROUTES + "retries = -1", "routes[0].retries: expected a whole number >= 0"),
    (
        ROUTES + "timeouts.read = 0",
        "routes[0].timeouts.read: expected a number > 0",
    ),
    (
        ROUTES + "timeouts.read = inf",
        "routes[0].timeouts.read: expected a number <= 1",
    ),
    (
        ROUTES + "timeouts.read = nan",
        "routes[0].timeouts.read: expected a number > 0",
    ),
    (
        ROUTES + "timeouts.read = 2026-11-30",
        "routes[0].timeouts.read: expected a number, got",
    ),
    (
        ROUTES + "[[routes]]\npath = '/a'\nupstreams = [{url = 'a:80'}]",
        "routes[1].upstreams[0].url: 'a:80' has no scheme: write 'http://a:80'",
    ),
    (
        ROUTES + "[[routes]]\npath = '/a'\nupstreams = ['http://a', {uri = 'http://a'}]",
        "routes[1].upstreams[1].uri: there is no such setting",
    ),
    (
        ROUTES + "[[routes]]\npath = '/a'\nupstreams = [{url = 'https://a', ca = 'none.pem'}]",
        "routes[1].upstreams[0].ca: none.pem: No such file or directory",
    ),
    ("[[routes]]\nupstreams = ['ftp://a']", "routes[0].upstreams[0]: 'ftp://a': use"),
    ("[[routes]]\nupstreams = ['http://']", "routes[0].upstreams[0]: "),
    ("[[routes]]\nupstreams = ['http://a:70000']", "routes[0].upstreams[0]: "),
    ("[[routes]]\nupstreams = ['http://a?b']", "routes[0].upstreams[0]: "),
    ("[[routes]]\nupstreams = ['http://é']", "routes[0].upstreams[0]: "),
    ("[[routes]]\nupstreams = ['http://me:secret@a']", "routes[0].upstreams[0]: the"),
]


@pytest.mark.parametrize(("text", "says"), FILES)
def test_wrong_files(text: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("gateway.toml").write_text(text, "utf-8")
    line = refusal(["--config", "gateway.toml", "--check"], capsys)
    assert line.startswith(f"gateway.toml: {says}"), line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "--config: gateway.toml: No such file or directory"),
        (lambda path: path.mkdir(), "--config: gateway.toml: Is a directory"),
        (lambda path: path.write_bytes(b"a = '\xff'"), "gateway.toml: byte 5 is not UTF-8"),
        (lambda path: path.write_text("a = " + "[" * 5000), "gateway.toml: "),
    ],
)
def test_files_that_cannot_be_read(
    make: Any, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(Path("gateway.toml"))
    line = refusal(["--config", "gateway.toml", "--check"], capsys)
    assert line.startswith(says), line


OPTIONS = [
    ("port", "x", "'x' is not a valid integer"),
    ("port", "-1", "expected a whole number >= 0"),
    ("port", "65536", "expected a whole number <= 65535"),
    ("workers", "0", "expected a whole number >= 1"),
    ("backlog", "1.5", "'1.5' is not a valid integer"),
    ("limit-concurrency", "0", "expected a whole number >= 1"),
    ("max-head", "1", "expected a whole number >= 1024"),
    ("head-timeout", "0", "expected a whole number >= 1"),
    ("keep-alive", "soon", "'soon' is not a valid integer"),
    ("stop-timeout", "-1", "expected a whole number >= 0"),
    ("certificate", "none.pem", "none.pem: No such file or directory"),
    ("key", "none.pem", "there is a key, but no certificate"),
    ("trusted", "10.0.0.1/8", "10.0.0.1/8 has host bits set"),
    ("name", "a b", "'a b': use letters, digits, '-', '.' and '_'"),
    ("access-log", "xml", "'xml': use 'text' or 'json' or 'off'"),
    ("admin", "localhost", "'localhost': write HOST:PORT"),
    ("admin-path", "x", "'x' does not begin with '/'"),
    ("config", "none.toml", "none.toml: No such file or directory"),
]


@pytest.mark.parametrize(("name", "value", "says"), OPTIONS)
def test_wrong_options_and_variables(
    name: str,
    value: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = ["--upstream", "http://127.0.0.1:1", "--check"]
    assert refusal([*base, f"--{name}", value], capsys) == f"--{name}: {says}"
    variable = "GATEWAY_" + name.upper().replace("-", "_")
    monkeypatch.setenv(variable, value)
    assert refusal(base, capsys) == f"{variable}: {says}"


def test_wrong_upstreams(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "'b:1' has no scheme: write 'http://b:1' or 'https://b:1'"
    assert refusal(["-u", "http://a", "-u", "b:1"], capsys) == f"--upstream: {says}"
    monkeypatch.setenv("GATEWAY_UPSTREAM", "http://a b:1")
    assert refusal([], capsys) == f"GATEWAY_UPSTREAM: {says}"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "routes: none: name an upstream (--upstream URL)"),
        (["--prot", "1"], "No such option"),
        (["--port"], "Option '--port' requires an argument"),
        (["extra"], "Got unexpected extra argument"),
        (["--config", "a\0b"], "--config: 'a\\x00b': "),
    ],
)
def test_wrong_command_lines(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(arguments, capsys)
    assert line.startswith(says), line


def test_certificates(ca: trustme.CA, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["-u", "http://127.0.0.1:1", "--check"]
    for name in ("one", "other"):
        pair = ca.issue_cert("gateway.example")
        pair.cert_chain_pems[0].write_to_path(f"{name}.pem")
        pair.private_key_pem.write_to_path(f"{name}.key")
    Path("garbage.pem").write_text("garbage")
    assert run_command([*base, "--certificate", "one.pem", "--key", "one.key"]) == 0
    both = Path("one.pem").read_text() + Path("one.key").read_text()
    Path("both.pem").write_text(both)
    assert run_command([*base, "--certificate", "both.pem"]) == 0
    capsys.readouterr()
    for certificate, key, says in (
        ("one.pem", "other.key", "--certificate: the key does not belong to the certificate"),
        ("garbage.pem", "one.key", "--certificate: certificate or key cannot be read"),
        ("one.pem", "none.key", "--key: none.key: No such file or directory"),
        ("none\0.pem", "one.key", "--certificate: none\\x00.pem: embedded null byte"),
    ):
        line = refusal([*base, "--certificate", certificate, "--key", key], capsys)
        assert line.startswith(says), line


# --- any value in any place ---


def places_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values inside `value`."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    below = [place for key, each in items for place in places_of(each, (*path, key))]
    return [path, *below] if path else below


def spell(path: tuple[Any, ...]) -> str:
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.lstrip(".")


SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "/", "http://a", "none", "::", "a:b", "http://[", "10.0.0.0/8"]),
    st.dates(),
    st.datetimes(timezones=st.just(datetime.timezone.utc)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def test_what_the_parser_says_without_a_place() -> None:
    assert name_line("gateway.toml", "it is odd") == "gateway.toml: it is odd"


@given(place=st.sampled_from(places_of(WHOLE)), value=VALUES)
@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_value_in_any_place_is_taken_or_named(
    place: tuple[Any, ...], value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data: Any = copy.deepcopy(WHOLE)
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with monkeypatch.context() as patch:
        patch.setattr("httpcore_gateway._config.tomllib.loads", lambda text: data)
        Path("gateway.toml").touch()
        line = error_of("gateway.toml")
    # Two routes may come to be the same: then the later one is named.
    if line and "an earlier route has the same host and path" not in line:
        assert line.startswith(f"gateway.toml: {spell(place)}")


def error_of(path: str) -> str:
    """Return what is wrong in a file; empty for nothing."""
    try:
        read_config(Given(path, "--config"), {})
    except SettingsError as exc:
        return str(exc)
    return ""
