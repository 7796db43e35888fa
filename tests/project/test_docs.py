"""The documentation, done as it says.

Owns: that every code block of docs/, README and CONTRIBUTING is run, and that the tables name all
there is.
Must not know: what the parts do in detail.

The blocks of a page are run in their order, in one namespace, in an empty folder with a few
certificates, on an internet of our own (`tests.support.docs`):

- python: executed. What a line prints is compared with the comment at its end or below it, or all
  that a block prints with the text block after it. With a caption it is a file of that name.
- console: ``pytest`` and ``python file.py`` are run. Of other commands, and of examples with
  arguments, it is checked that they exist and know their options.
- anything else must follow a block whose output it shows, or have a caption.

A comment ``.. not run: why`` before a block leaves it out; there may be `LEFT_OUT` of them.
"""

from __future__ import annotations

import configparser
import contextlib
import importlib
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner
from urllib3.poolmanager import PoolKey
from urllib3.util import Retry, Timeout

import httpcore
import httpcore.aio
import httpcore.exceptions
import httpcore_requests
from benchmarks import __main__ as benchmarks
from httpcore._cli import main as cli
from httpcore_gateway.__main__ import main as run_gateway
from tests.support import ROOT
from tests.support.docs import DOCKER, Block, Internet, agrees, blocks, redirect

DOCS = ROOT / "docs"

# Pages whose blocks are run by a test file of their own.
ELSEWHERE = {
    "docs/cassettes.rst": "project/test_cassette_docs.py",
    "docs/gateway.rst": "gateway/test_pages.py",
}
# How many blocks of all pages may be left out, and are: drawings, mostly.
LEFT_OUT = 5

# Where a page must have been, so that nothing of it is done for nothing.
VISITS: dict[str, tuple[int | str, ...]] = {
    "README.rst": (443, 1080, DOCKER),
    "docs/quickstart.rst": (443,),
    "docs/async.rst": (443,),
    "docs/loops.rst": (443,),
    "docs/recipes/async.rst": (80, 443, 1080, 3128, DOCKER),
    "docs/recipes/proxies.rst": (443, 1080, 3128, 3129, 3130),
    "docs/recipes/tls.rst": (443, 8443),
    "docs/recipes/unix.rst": (DOCKER,),
    "docs/recipes/connections.rst": (80, 443),
    "docs/cli.rst": (443,),
    "docs/index.rst": (443,),
    "docs/tasks/downloads.rst": (443,),
    "docs/tasks/uploads.rst": (443,),
    "docs/tasks/certificates.rst": (443, 8443),
    "docs/tasks/threads.rst": (443,),
    "docs/troubleshooting.rst": (80, 443),
}

PAGES = [
    page
    for path in (ROOT / "README.rst", ROOT / "CONTRIBUTING.rst", *sorted(DOCS.rglob("*.rst")))
    if (page := str(path.relative_to(ROOT))) not in ELSEWHERE
]


@pytest.fixture
def internet(ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    """Servers for what the pages name; the current folder is an empty one, but for certificates."""
    with Internet(ca, tmp_path) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        redirect(running.ports, running.unix, monkeypatch)
        monkeypatch.chdir(tmp_path)
        yield running
        httpcore_requests.uninstall()
    assert [error for server in running.servers.values() for error in server.errors] == []


class Page:
    """Runs the blocks of one page."""

    def __init__(self, name: str) -> None:
        self.path = ROOT / name
        self.space: dict[str, Any] = {"__name__": "__main__", "print": self._print}
        self._lines = [*self.path.read_text().splitlines(), ""]
        self._printed = ""  # what the next block has to show
        self._logged: list[str] = []

    def run(self) -> None:
        for block in blocks(self.path):
            where = f"{self.path.name}:{block.line}"
            if block.left_out:
                continue
            if block.caption:
                Path(block.caption).write_text(block.text)
            elif block.language in ("text", "http", "json"):
                assert self._printed, f"{where} shows what nothing has printed"
                assert agrees(block.text, self._printed), f"{where}: printed {self._printed}"
                self._printed = ""
            else:
                self._nothing_unseen(where)
                {"python": self._execute, "console": self._type}[block.language](block)
        self._nothing_unseen("the end")

    def _nothing_unseen(self, where: str) -> None:
        assert not self._printed, f"before {where}: nothing shows {self._printed!r}"

    def _execute(self, block: Block) -> None:
        code = "\n" * (block.line - 1) + block.text  # so that tracebacks name the page's lines
        exec(compile(code, self.path, "exec"), self.space)

    def _print(self, *values: Any, sep: str = " ") -> None:
        """`print` of the blocks."""
        text = sep.join(map(str, values))
        frame = sys._getframe(1)
        comment = None
        if frame.f_code.co_filename == str(self.path):
            line, below = self._lines[frame.f_lineno - 1 : frame.f_lineno + 1]
            comment = re.search(r"\)  +# (.*)$", line) or re.match(r" +# (.*)$", below)
        if comment is None:
            self._printed += text + "\n"
        else:
            assert agrees(comment[1], text), f"line {frame.f_lineno} printed {text}"

    def _type(self, block: Block) -> None:
        for line in block.text.splitlines():
            if line.startswith("$ "):
                self._printed = ""
                for part in line[2:].split(" | "):
                    self._printed = command(shlex.split(part, comments=True), self._printed)
            else:
                assert agrees(f"...{line}...", self._printed), f"{line!r} is not in {self._printed}"
        self._printed = ""

    def close(self) -> None:
        """Close what the page has left open: pages are for reading, and sessions few."""
        for value in list(self.space.values()):
            if isinstance(value, (httpcore.ConnectionPool, httpcore.Response)) or hasattr(
                value, "mount"
            ):
                value.close()
        self.space.clear()


# --- commands ---


def command(words: list[str], stdin: str) -> str:
    """Run what can be run here, check the rest. What it prints."""
    match words:
        case ["pytest", *arguments]:
            return run_python("pytest", "-p", "tests.support.docs", *arguments)
        case ["python", file] if file.endswith(".py"):
            return run_python(file)
        case ["python", file, *arguments] if file.startswith("examples/"):
            source = (ROOT / file).read_text()  # it is run by `test_examples`
            for option in arguments:
                assert not option.startswith("-") or f'"{option}"' in source, option
        case ["httpcore", *arguments] | ["python", "-m", "httpcore", *arguments]:
            return run_cli(arguments, stdin)
        case ["python", "-m", "httpcore_gateway", *arguments]:
            assert run_gateway([*arguments, "--check"]) == 0
        case ["python", "-m", "json.tool"]:
            return json.dumps(json.loads(stdin), indent=4)
        case ["tar", "c", folder]:
            return f"an archive of {folder}"
        case ["pip", "install", *wanted]:
            check_install(wanted)
        case ["python", "-m", "benchmarks", *arguments]:
            benchmarks.parse(arguments)
        case [program, *arguments] if program.startswith(("scripts/", ".ci/")):
            assert os.access(ROOT / program, os.X_OK), program
            for name in arguments:  # tests and pages that are named must be there
                if name.startswith(("tests/", "docs/")):
                    assert (ROOT / name).exists(), name
        case _:
            raise AssertionError(f"the test does not know how to check {words}")
    return ""


def run_cli(arguments: list[str], stdin: str) -> str:
    """The command line, in this process: its network is ours."""
    Path("large.iso").write_bytes(bytes(100_000))  # what the page uploads
    with CliRunner().isolation(input=stdin) as streams:
        code = cli(arguments)
        printed, said = streams[0].getvalue().decode(), streams[1].getvalue().decode()
    assert code == 0, said
    return printed


def run_python(*arguments: str) -> str:
    if arguments[0] == "pytest":
        plugin = ("-p", "no:cacheprovider")
        arguments = ("-m", "pytest", *plugin, *arguments[1:])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_install(wanted: list[str]) -> None:
    """Of what is to be installed from here, the extras must be there."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for each in wanted:
        if match := re.fullmatch(r"(?:\.|httpcore)\[(.+)\]", each):
            for extra in match[1].split(","):
                assert extra in setup["options.extras_require"], extra


# --- the tests ---


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page: str, internet: Internet) -> None:
    run = Page(page)
    with fresh_logging():
        try:
            run.run()
        finally:
            run.close()
    for place in VISITS.get(page, ()):
        assert internet.servers[place].accepted, f"nobody has been at {place}"


@contextlib.contextmanager
def fresh_logging() -> Iterator[None]:
    """As in a program that has just begun: `logging.basicConfig` does something. What the page sets
    of the project's loggers does not outlive it."""
    root = logging.getLogger()
    level, handlers, root.handlers = root.level, root.handlers, []
    before = [
        (each, each.level, list(each.handlers), each.propagate, each.disabled)
        for each in root.manager.loggerDict.values()
        if isinstance(each, logging.Logger)
    ]
    try:
        yield
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers = handlers
        root.setLevel(level)
        for each, level, each.handlers, each.propagate, each.disabled in before:
            each.setLevel(level)


def test_few_blocks_are_left_out() -> None:
    """And no page has code in a form that would not be run."""
    left_out = []
    for page in (*PAGES, *ELSEWHERE):
        if not (ROOT / page).exists():
            continue
        lines = (ROOT / page).read_text().splitlines()
        left_out += [(page, block.left_out) for block in blocks(ROOT / page) if block.left_out]
        # A paragraph that ends in "::" begins a block without a language.
        literal = [line for line in lines if line.endswith("::") and ".. " not in line]
        assert not literal, page
        assert not [line for line in lines if ">>> " in line], page
    assert len(left_out) == LEFT_OUT, left_out


def test_pages_that_others_run_are_run() -> None:
    for page, file in ELSEWHERE.items():
        assert Path(page).name in (ROOT / "tests" / file).read_text()


def text_of(page: str) -> str:
    return (DOCS / page).read_text()


def test_the_api_lists_every_public_name() -> None:
    text = text_of("api.rst")
    sections = dict(
        re.findall(r"^\.\. module:: (\S+)\n(.*?)(?=^\.\. module:: |\Z)", text, re.M | re.S)
    )
    for module in (httpcore, httpcore.aio, httpcore.exceptions, httpcore_requests):
        documented = re.findall(r"^\.\. (?:auto\w+|data):: (\w+)$", sections[module.__name__], re.M)
        named = {*documented, *re.findall(r"``(\w+)``", text)}
        assert set(module.__all__) <= named | set(httpcore.exceptions.__all__), module
        if module is httpcore.exceptions:
            assert set(documented) == set(module.__all__)
    for name in ("Session", "HTTPAdapter", "ConnectionPool", "Request", "SyncBackend"):
        assert f":: {name}\n" in text


def test_the_api_finds_what_it_lists() -> None:
    """As the directives do: each name in the module that was named last."""
    module, found = "", 0
    for kind, name in re.findall(r"^\.\. ([a-z]+):: (\S+)$", text_of("api.rst"), re.M):
        if kind in ("module", "currentmodule"):
            module = name
        elif kind.startswith("auto"):
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"
            found += 1
    assert found > 50


def test_the_table_of_settings_names_all_of_urllib3() -> None:
    """Whatever a user may have passed: a pool's keywords, those of `Retry`, `Timeout` and the
    managers."""
    text = text_of("from-urllib3.rst")
    # What says where to connect is no setting.
    of_pools = {name.removeprefix("key_") for name in PoolKey._fields} - {"scheme", "host", "port"}
    of_proxies = {"proxy_headers", "proxy_ssl_context", "proxy_assert_hostname"}
    of_proxies |= {"proxy_assert_fingerprint", "use_forwarding_for_https"}
    of_adapters = {"pool_connections", "pool_maxsize", "pool_block", "max_retries"}
    of_retries = set(Retry.__init__.__code__.co_varnames[1 : Retry.__init__.__code__.co_argcount])
    of_timeouts = set(Timeout.__init__.__code__.co_varnames[1:4])
    for name in of_pools | of_proxies | of_adapters | of_retries | of_timeouts:
        assert f"{name}=" in text, name


def test_the_tables_of_what_is_new_name_what_there_is() -> None:
    """Keyword-only arguments came after httpcore 1.0."""
    text = text_of("from-httpcore.rst")
    for name in httpcore.ConnectionPool.__init__.__kwdefaults__:
        assert f"{name}=" in text, name


def test_the_table_of_events_is_whole(internet: Internet) -> None:
    """Every event that a request by any road tells of is on the page, with its details."""
    rows = re.findall(
        r"^   \* - (.*?)\n     - (.*?)(?=\n\n|\n   \* - )",
        text_of("recipes/observing.rst"),
        re.M | re.S,
    )
    events = {name: told for names, told in rows for name in re.findall(r"``(\w+\.\w+)``", names)}
    seen = set()

    def look(name: str, details: dict[str, Any]) -> None:
        stem = re.sub(r"\.(started|complete|failed)$", "", name)
        seen.add(stem)
        assert stem in events
        # A pool's hook is told the request with each.
        for key in details.keys() - {"return_value", "exception", "stream_id", "request"}:
            assert f"``{key}``" in events[stem], f"{key} of {name}"

    for proxy in (
        None,
        "http://proxy.example.com:3128",
        "https://proxy.example.com:3129",
        "socks5://user:pass@proxy.example.com:1080",
        "socks4a://proxy.example.com:1080",
    ):
        through = None if proxy is None else httpcore.Proxy(proxy)
        for http2 in (False, True):
            with httpcore.ConnectionPool(
                http2=http2, proxy=through, trace=look, retries=1, max_keepalive_connections=0
            ) as pool:
                pool.request("GET", "https://example.com/")
    with httpcore.ConnectionPool(uds="/run/docker.sock", trace=look, retries=1) as pool:
        pool.request("GET", "http://docker/")
        with pytest.raises(httpcore.ConnectError):
            pool.request("GET", "http://example.com:9/", extensions={"uds": None})
    with httpcore.ConnectionPool(max_connections=1, trace=look) as pool:
        with pool.stream("GET", "https://example.com/events"), pytest.raises(httpcore.PoolTimeout):
            pool.request("GET", "https://example.com/", extensions={"timeout": {"pool": 0}})
    assert events.keys() - seen == {"pool.replay"}


def exceptions_page() -> dict[str, list[str]]:
    """Return the rows of the table of exceptions: by name what requests raises, and the phase."""
    rows = re.findall(
        r"^   \* - ``(\w+)``\n     - (\S+)\n     - ``(\w+)``$", text_of("exceptions.rst"), re.M
    )
    assert len({name for name, *_ in rows}) == len(rows)
    return {name: [by_requests.strip("`"), phase] for name, by_requests, phase in rows}


def test_the_table_of_exceptions_is_whole() -> None:
    """It has each class with its phase; only those that are never raised as such are below it."""
    classes = {
        name: found
        for name in httpcore.exceptions.__all__
        if isinstance(found := getattr(httpcore.exceptions, name), type)
    }
    rows = exceptions_page()
    bases = {"TimeoutException", "NetworkError", "ProtocolError"}
    assert rows.keys() == classes.keys() - bases
    assert {name: phase for name, (_, phase) in rows.items()} == {
        name: cls.phase for name, cls in classes.items() if name not in bases
    }


@pytest.mark.parametrize("name", exceptions_page())
def test_requests_raises_what_the_table_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_requests, _ = exceptions_page()[name]
    if by_requests == "none":
        return  # no request through a pool ends with it

    def fail(*args: Any) -> None:
        raise getattr(httpcore.exceptions, name)("failed")

    monkeypatch.setattr(httpcore.ConnectionPool, "handle_request", fail)
    with httpcore_requests.Session() as session, pytest.raises(Exception, match="failed") as caught:
        session.get("http://example.com/")
    assert type(caught.value).__name__ == by_requests


def named_in_layout() -> set[str]:
    """Return the paths of all modules in the drawing of the layout."""
    drawing = text_of("architecture.rst").split("Imports go one way")[0]
    folders: dict[int, str] = {}
    found = set()
    for indent, name in re.findall(r"^( {4,})([\w/]+(?:/|\.py))(?= |$)", drawing, re.M):
        path = "".join(folders[depth] for depth in sorted(folders) if depth < len(indent)) + name
        if name.endswith("/"):
            folders = {depth: kept for depth, kept in folders.items() if depth < len(indent)}
            folders[len(indent)] = name
        else:
            found.add(path)
    return found


def test_the_layout_names_every_module() -> None:
    """Except the `__init__` of packages inside, which have nothing of their own to say."""
    modules = {
        str(path.relative_to(ROOT))
        for package in ("httpcore", "httpcore_requests", "httpcore_gateway")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py" or path.parent.parent == ROOT
    }
    assert named_in_layout() == modules


def test_where_each_question_is_decided() -> None:
    """Each question of the table has one answer, and that exists."""
    rows = re.findall(r"^   \* - (.*)\n     - (.*)$", text_of("architecture.rst"), re.M)
    (head, *answers) = rows
    assert head == ("Question", "Module and name")
    assert len(answers) > 15
    assert len({question for question, _ in answers}) == len(answers)
    for _, answer in answers:
        module, _, names = answer.strip("`").partition("::")
        if not module.startswith(("httpcore_requests.", "httpcore_gateway.")):
            module = f"httpcore.{module}"
        found: Any = importlib.import_module(module)
        for name in filter(None, names.split(".")):
            assert hasattr(found, name), answer
            found = getattr(found, name)


def test_modules_that_texts_name_exist() -> None:
    """In pages, docstrings and comments: `_core.h1` and ``_sync/http11`` name files of today."""
    texts = [ROOT / "README.rst", ROOT / "CONTRIBUTING.rst", *DOCS.rglob("*.rst")]
    texts += [
        path
        for name in ("httpcore", "httpcore_requests", "httpcore_gateway")
        for path in (ROOT / name).rglob("*.py")
    ]
    missing = set()
    for path in texts:
        for room, name in re.findall(
            r"`(?:httpcore[./])?(_core|_shared|_sync|_async|_backends|_testing|_cli)[./](\w+)",
            path.read_text(),
        ):
            folder = ROOT / "httpcore" / room
            if not ((folder / f"{name}.py").exists() or (folder / name).is_dir()):
                missing.add(f"{path.name}: {room}.{name}")
    assert missing == set()
