"""Who may import whom, and what is public.

Owns: the order of the rooms and the list of public names. Must not know: what is in the rooms.
Imports under ``if TYPE_CHECKING`` count like any other: a reader follows them too. Only those of
httpcore's ``__init__`` do not; they stand for names that are loaded when they are first used.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import httpcore.aio
import httpcore.decoders
import httpcore.exceptions
import httpcore.redact
import httpcore.rules
import httpcore_gateway
import httpcore_requests

PACKAGE = Path(httpcore.__file__).parent
ADAPTER = Path(httpcore_requests.__file__ or "").parent
GATEWAY = Path(httpcore_gateway.__file__ or "").parent

# Rooms in the order of imports: each may import from those on earlier lines, and a package from
# itself. `_testing` and `_cli` come after `__init__`, which loads the former when it is asked to.
ORDER: list[set[str]] = [
    {"_exceptions", "_loading", "decoders", "rules"},
    {"exceptions", "_redact"},  # the public path of the finer ones; what is secret
    {"_url", "redact"},
    {"_timeouts", "_models", "_ssl", "_timings", "_no_proxy"},
    {"_trace", "_config", "_settings", "_timeline"},
    {"_core"},
    {"_backends"},
    {"_shared"},
    {"_sync", "_async"},
    {"_api", "aio"},
    {"__init__"},
    {"_testing"},
    {"pytest_plugin", "_cli"},
    {"__main__"},
]
# The same for the files of the adapter.
ADAPTER_ORDER: list[set[str]] = [
    {
        "_decoded_limit",
        "_fork",
        "_pool_shape",
        "_proxies",
        "_replaced",
        "_requirements",
        "_timeout",
        "_unix",
    },
    {"_session_cookies", "_session_environment", "_session_genuine"},
    {"_session_prepare"},
    {"_caller_contexts", "_errors"},
    {"_request", "_tls_settings", "_wire"},
    {"_raw", "_settings"},
    {"_response", "_retry_policy"},
    {"_host_pool"},
    {"_pool_managers"},
    {"_adapter"},
    {"_session"},
    {"__init__"},
]
# The same for the files of the gateway.
GATEWAY_ORDER: list[set[str]] = [
    {"_asgi", "_date", "_routing"},
    {"_problems"},
    {"_fields", "_hang_up", "_settings"},
    {"_balance", "_client", "_config", "_frames", "_http10", "_writer"},
    {"_record", "_routes"},
    {"_counters", "_log", "_passage", "_protocol", "_upgrade"},
    {"_admin", "_exchange", "_websocket"},
    {"_app"},
    {"_server"},
    {"_command"},
    {"__init__"},
    {"__main__"},
]
ON_TOP = [(ADAPTER, ADAPTER_ORDER), (GATEWAY, GATEWAY_ORDER)]
FILES_ON_TOP = [
    pytest.param(path, root, id=f"{root.name}/{path.name}")
    for root, _ in ON_TOP
    for path in sorted(root.rglob("*.py"))
]
# Parts of the gateway that decide, compute or describe.
GATEWAY_SANS_IO = {"_balance", "_fields", "_frames", "_problems", "_routing"}
SANS_IO = ["_core", "_testing/cassettes"]
IO = {"socket", "ssl", "threading", "_thread", "time", "select", "selectors", "asyncio"}
# Below the line of I/O as well.
PURE = ["rules", "_exceptions", "_redact", "_url", "_models", "_timeouts", "_timings", "_trace"]

# `httpcore.__all__` of 1.0.9.
NAMES_OF_1_0_9 = re.findall(
    r"\w+",
    """
    request stream Origin URL Request Response Proxy AsyncHTTPConnection AsyncConnectionPool
    AsyncHTTPProxy AsyncHTTP11Connection AsyncHTTP2Connection AsyncConnectionInterface
    AsyncSOCKSProxy HTTPConnection ConnectionPool HTTPProxy HTTP11Connection HTTP2Connection
    ConnectionInterface SOCKSProxy SyncBackend AnyIOBackend TrioBackend AsyncMockBackend
    AsyncMockStream MockBackend MockStream AsyncNetworkStream AsyncNetworkBackend NetworkStream
    NetworkBackend default_ssl_context SOCKET_OPTION ConnectionNotAvailable ProxyError
    ProtocolError LocalProtocolError RemoteProtocolError UnsupportedProtocol TimeoutException
    PoolTimeout ConnectTimeout ReadTimeout WriteTimeout NetworkError ConnectError ReadError
    WriteError
""",
)


class Import(NamedTuple):
    """One name that a module imports: ``from module import name`` or ``import module``."""

    module: str
    name: str | None
    line: int


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imports(path: Path, root: Path) -> Iterator[Import]:
    """What `path` imports, relative imports resolved against `root`'s parent."""
    package = path.relative_to(root.parent).with_suffix("").parts[:-1]
    tree = ast.parse(path.read_text())
    for node in run_time_nodes(tree) if path == PACKAGE / "__init__.py" else ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)


def modules_named(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The modules that statements among `nodes` import absolutely."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for part in child.orelse:
                yield part
                yield from run_time_nodes(part)
        else:
            yield child
            yield from run_time_nodes(child)


def rooms_imported(path: Path) -> set[str]:
    """The rooms of httpcore that this file imports from."""
    rooms = set()
    for found in imports(path, PACKAGE):
        parts = found.module.split(".")
        if parts[0] == "httpcore":
            rooms.add(parts[1] if len(parts) > 1 else found.name or "__init__")
    return rooms


def test_every_room_has_its_place() -> None:
    rooms = {room_of(path) for path in files(PACKAGE)}
    assert rooms - set().union(*ORDER) == set()


@pytest.mark.parametrize("path", files(PACKAGE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    rank = next(index for index, rooms in enumerate(ORDER) if room in rooms)
    allowed = set().union(*ORDER[:rank])
    if (PACKAGE / room).is_dir():
        allowed.add(room)
    assert rooms_imported(path) <= allowed


@pytest.mark.parametrize(("root", "order"), ON_TOP, ids=lambda value: getattr(value, "name", ""))
def test_every_file_on_top_has_its_place(root: Path, order: list[set[str]]) -> None:
    assert {path.stem for path in files(root)} == set().union(*order)


@pytest.mark.parametrize(("path", "root"), FILES_ON_TOP)
def test_imports_on_top_go_one_way(path: Path, root: Path) -> None:
    order = dict(ON_TOP)[root]
    rank = next(index for index, names in enumerate(order) if path.stem in names)
    allowed = set().union(*order[:rank])
    assert {name.rpartition(".")[2] for name in files_imported(path, root)} <= allowed


def test_the_gateway_decides_without_io() -> None:
    for path in files(GATEWAY):
        if path.stem in GATEWAY_SANS_IO:
            found = modules_named(ast.walk(ast.parse(path.read_text())))
            assert {name.partition(".")[0] for name in found} & IO == set(), path


def files_imported(path: Path, root: Path) -> set[str]:
    """The files of the same package that `path` imports, as dotted names."""
    names = {name_of(file, root) for file in files(root)}
    found = set()
    for each in imports(path, root):
        inner = f"{each.module}.{each.name}"
        found.add(inner if inner in names else each.module)
    return (found & names) - {name_of(path, root)}


def name_of(path: Path, root: Path) -> str:
    name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
    return name.removesuffix(".__init__") if path.parent != root else name


@pytest.mark.parametrize("root", [PACKAGE, ADAPTER, GATEWAY], ids=lambda root: root.name)
def test_no_file_imports_itself_by_way_of_others(root: Path) -> None:
    graph = {name_of(path, root): files_imported(path, root) for path in files(root)}
    inside = set(graph)
    while free := {name for name in inside if not graph[name] & inside}:
        inside -= free  # imports none that are left: part of no circle
    while unused := {name for name in inside if not any(name in graph[each] for each in inside)}:
        inside -= unused  # imports a circle, and is not in it
    assert inside == set()


@pytest.mark.parametrize("room", SANS_IO + PURE)
def test_rooms_without_io_import_none(room: str) -> None:
    path = PACKAGE / f"{room}.py"
    paths = [path] if path.exists() else files(PACKAGE / room)
    if not paths:
        pytest.skip(f"{room} is not built yet")
    for path in paths:
        tree = ast.parse(path.read_text())
        # The lower rooms may name types of `ssl` in their signatures; the core knows none at all.
        nodes = ast.walk(tree) if room in SANS_IO else run_time_nodes(tree)
        found = {name.partition(".")[0] for name in modules_named(nodes)}
        assert found & IO == set(), path


@pytest.mark.parametrize(("one", "other"), [("_sync", "_async"), ("_async", "_sync")])
def test_the_twins_never_import_each_other(one: str, other: str) -> None:
    paths = files(PACKAGE / one)
    assert paths
    for path in paths:
        assert other not in rooms_imported(path), path


def test_httpcore_never_imports_what_stands_on_it() -> None:
    above = {"httpcore_requests", "requests", "urllib3", "httpcore_gateway", "uvicorn", "msgspec"}
    for path in files(PACKAGE):
        modules = {found.module.partition(".")[0] for found in imports(path, PACKAGE)}
        # The command takes forms, decoders and Digest from there; its extra requires them.
        allowed = {"requests", "urllib3"} if path.parent.name == "_cli" else set()
        allowed |= {"urllib3"} if path.name == "decoders.py" else set()  # wraps those of urllib3
        assert not modules & above - allowed, path


def test_adapter_and_gateway_never_import_each_other() -> None:
    for root, other in ((ADAPTER, GATEWAY), (GATEWAY, ADAPTER)):
        for path in files(root):
            modules = {found.module.partition(".")[0] for found in imports(path, root)}
            assert other.name not in modules, path


# Modules whose path is public, beside the package itself.
PUBLIC_MODULES = {
    "httpcore": {*httpcore.__all__, "__version__", "exceptions", "aio", "redact", "rules"},
    "httpcore.exceptions": set(httpcore.exceptions.__all__),
    "httpcore.aio": set(httpcore.aio.__all__),
    "httpcore.decoders": set(httpcore.decoders.__all__),
    "httpcore.redact": set(httpcore.redact.__all__),
    "httpcore.rules": set(httpcore.rules.__all__),
}


def public_modules_bound(path: Path) -> Iterator[tuple[str, str]]:
    """By which name a file on top of httpcore knows which public module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                if prefix + alias.name in PUBLIC_MODULES:
                    yield alias.asname or alias.name, prefix + alias.name


@pytest.mark.parametrize(("path", "root"), FILES_ON_TOP)
def test_only_public_names_are_used_on_top(path: Path, root: Path) -> None:
    for found in imports(path, root):
        if found.module.partition(".")[0] == "httpcore":
            where = f"{path.name}:{found.line}"
            assert found.module in PUBLIC_MODULES, f"{where} imports {found.module}"
            assert found.name in {None, *PUBLIC_MODULES[found.module]}, f"{where}: {found.name}"
    bound = dict(public_modules_bound(path))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = bound.get(node.value.id)
            assert module is None or node.attr in PUBLIC_MODULES[module], (
                f"{path.name}:{node.lineno} uses {module}.{node.attr}"
            )


# --- what is public ---


def test_all_names_of_1_0_9_are_there() -> None:
    assert set(NAMES_OF_1_0_9) <= set(dir(httpcore))
    assert set(NAMES_OF_1_0_9) <= set(httpcore.__all__)


def test_all_is_what_it_says() -> None:
    assert len(httpcore.__all__) == len(set(httpcore.__all__))
    assert set(httpcore.__all__) <= set(dir(httpcore))
    for name in httpcore.__all__:
        assert getattr(httpcore, name) is vars(httpcore)[name]  # loaded once
    public = {
        name
        for name, value in vars(httpcore).items()
        if not name.startswith("_") and not isinstance(value, type(sys))
    }
    assert public == set(httpcore.__all__)


def test_public_classes_show_the_public_path() -> None:
    modules = {
        name: getattr(httpcore, name).__module__
        for name in httpcore.__all__
        if name != "SOCKET_OPTION"
    }
    assert set(modules.values()) == {"httpcore"}


def test_no_exception_that_httpx_has_no_namesake_for() -> None:
    exceptions = {
        name
        for name, value in vars(httpcore).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    known = {
        name
        for name in NAMES_OF_1_0_9
        if name.endswith(("Error", "Timeout", "Exception", "Protocol"))
    }
    assert exceptions == known | {"ConnectionNotAvailable"}


def test_type_checkers_and_the_interpreter_find_the_same_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "typing.TYPE_CHECKING"
    )
    told = {
        node.module: {alias.name for alias in node.names}
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module is not None
    }
    parts = {
        alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module is None
        for alias in node.names
    }
    assert parts == {name for name in httpcore._SUBMODULES if not name.startswith("_")}
    assert told == {module: set(names) for module, names in httpcore._NAMES.items()}


# Libraries of ours and of Python that take long to load and that few programs need.
HEAVY = {"h11", "idna", "certifi", "tempfile", "gzip", "html", "json", "difflib", "email.utils"}
# Those that a pool needs, or h11, and a bare import does not.
LATER = {"dataclasses", "inspect"}
OPTIONAL = {"h2", "hpack", "anyio", "trio", "socksio", "requests", "urllib3", "asyncio"}
OPTIONAL |= {"click", "rich", "pygments", "pytest"}
# Parts of httpcore that no request needs.
APART = {"_testing", "_cli", "_async", "pytest_plugin"}


def loaded_by(code: str) -> set[str]:
    """The modules that a new interpreter has loaded for `code`, beyond those it starts with."""
    code = f"import sys; before = set(sys.modules)\n{code}\nprint(*set(sys.modules) - before)"
    # -S: an editable install loads some modules by itself, before the program begins.
    command = [sys.executable, "-S", "-c", code]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.split())


def test_importing_httpcore_loads_little() -> None:
    loaded = loaded_by("import httpcore")
    assert parts(loaded) == {"_exceptions", "_loading"}
    assert not loaded & {*HEAVY, *LATER, *OPTIONAL, "ssl", "socket", "logging"}


def parts(modules: set[str]) -> set[str]:
    """The parts of httpcore among `modules`."""
    return {name.split(".")[1] for name in modules if name.startswith("httpcore.")}


def test_sending_a_request_loads_no_optional_part() -> None:
    loaded = loaded_by("import httpcore; httpcore.ConnectionPool(http2=False)")
    assert {"httpcore._sync.connection_pool", "h11"} <= loaded  # at once, see test_loading
    assert not loaded & {*HEAVY, *OPTIONAL} - {"h11"}
    assert not parts(loaded) & APART


def test_the_asynchronous_front_door_loads_its_classes() -> None:
    """So that naming one in a running loop does not hold that up."""
    loaded = loaded_by("import httpcore.aio")
    assert {"httpcore._async.connection_pool", "httpcore._async.http2"} <= loaded
    assert not loaded & {"h2", "hpack", "anyio", "trio"}
    used = "before = set(sys.modules); httpcore.AsyncConnectionPool; httpcore.AsyncHTTPConnection"
    assert loaded_by(f"import httpcore.aio; {used}") == set()


def test_importing_the_adapter_loads_nothing_that_requests_does_not() -> None:
    loaded = loaded_by("import requests; before = set(sys.modules); import httpcore_requests")
    foreign = {name for name in loaded if not name.startswith(("httpcore.", "httpcore_requests."))}
    assert parts(loaded) <= {
        *("_exceptions", "_loading", "exceptions", "_redact", "redact", "rules", "decoders"),
    }
    assert not foreign & {*HEAVY, *LATER, *OPTIONAL}


def test_each_name_can_be_the_first_one_that_is_used() -> None:
    """In an interpreter of its own: this one may have loaded a module twice (pytester does)."""
    code = (
        "for name in [*httpcore._MODULE_OF, *httpcore._SUBMODULES]:\n"
        "    known = getattr(httpcore, name)\n"
        "    del vars(httpcore)[name]\n"
        "    assert getattr(httpcore, name) is known, name\n"
    )
    loaded_by(f"import httpcore\n{code}")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'httpcore' has no attribute 'Conection'$"):
        httpcore.Conection  # type: ignore[attr-defined] # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Conection'"):
        exec("from httpcore import Conection")
