"""pytest: a cassette for each test that asks for one.

Owns: the mark and the fixture ``httpcore_cassette``, the option ``--httpcore-cassettes``, where the
file of each test is, and putting a cassette under everything that would go to the network. Must not
know: what is in a cassette.

A test suite asks for the plugin: ``pytest_plugins = ["httpcore.pytest_plugin"]`` in the conftest.py
at its root. All names begin with ``httpcore``, so they do not meet those of other plugins.

While a test has its cassette, every `SyncBackend` uses it, and so does every `AutoBackend`, which
asynchronous pools have by default. Pools that exist use it as well: their idle connections are
closed before, and after. So do requests' sessions, with requests' own adapters too: what these are
to send goes through `httpcore_requests`. Without the mark nothing is touched.

requests is not required, and httpcore does not depend on what stands on top of it: both are
imported here by name, when a cassette is put in place, and left out where they are missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import re
import types
import weakref
from collections.abc import Callable, Generator, Iterator
from functools import partialmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import httpcore

from ._backends import fork
from ._backends.auto import AutoBackend
from ._shared.pool_slots import PoolSlots

# The name of the mark and of the fixture.
CASSETTE = "httpcore_cassette"
OPTION = "--httpcore-cassettes"

REPLAY, RECORD, NEW, OFF = MODES = ("replay", "record", "new", "off")

# Characters of a file name that is made of a test's: file systems take 255 bytes.
MAX_NAME = 150

# Keywords of `RecordingBackend`, each of its own type.
Settings = dict[str, Any]

# Functions of a `SyncBackend` or an `AutoBackend`, by name.
Methods = dict[str, Callable[..., object]]

if TYPE_CHECKING:  # cassettes are loaded with the first of them
    # What plays or records a cassette.
    Backend = httpcore.RecordingBackend | httpcore.ReplayBackend
    AsyncBackend = httpcore.AsyncRecordingBackend | httpcore.AsyncReplayBackend

_recorded = pytest.StashKey[set[Path]]()
_cassette = pytest.StashKey["Cassette"]()  # of a test, while it runs


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("httpcore").addoption(
        OPTION,
        choices=MODES,
        default=None,
        metavar="MODE",
        help=f"what tests marked with `{CASSETTE}` do: replay what was recorded (default), record "
        "it anew, record what is new and replay the rest, or turn cassettes off and use the "
        "network (replay, record, new, off)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_recorded] = set()
    config.addinivalue_line(
        "markers",
        f"{CASSETTE}(path=None, *, mode=None, **settings): httpcore and requests sessions replay "
        f"what was recorded in a file next to the test; `pytest {OPTION}=record` records it",
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    # A list of its own: the item's is shared with those of other parameters.
    names = getattr(item, "fixturenames", None)
    if names is not None and item.get_closest_marker(CASSETTE) is not None:
        item.fixturenames = [CASSETTE, *(name for name in names if name != CASSETTE)]  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show in a few lines that a request was not recorded, without the frames that it came
    through."""
    report = yield
    cassette = item.stash.get(_cassette, None)
    if cassette is None or not (call.when == "call" and report.failed) or call.excinfo is None:
        return report
    missed = cassette.missed
    cassette.reported = len(missed)
    text = _shorten(missed, cassette, item)
    if any(_is_about(call.excinfo.value, each) for each in missed):
        if item.config.getoption("tbstyle") == "auto":
            report.longrepr = f"{text}\n{_place_of(call.excinfo, item)}"
    elif missed:  # the test caught it, and failed for what came of it
        report.sections.append((f"requests that {cassette.path.name} lacks", text))
    return report


def _is_about(error: BaseException | None, text: str) -> bool:
    """Return whether `error`, or one of those behind it, says `text`."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if text.splitlines()[0] in str(error):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def _place_of(excinfo: pytest.ExceptionInfo[BaseException], item: pytest.Item) -> str:
    """Return file, line and source of the last line of the test's file that was under way."""
    own = [entry for entry in excinfo.traceback if Path(str(entry.path)) == item.path]
    if not own:
        return ""
    source = str(own[-1].statement).strip()
    return f"sent by {item.location[0]}:{own[-1].lineno + 1}: in {own[-1].name}\n    {source}"


def _shorten(missed: list[str], cassette: Cassette, item: pytest.Item) -> str:
    """Return the texts `missed`, with the file's name as pytest shows names."""
    whole, root = str(cassette.path), f"{item.config.rootpath}/"
    return "\n".join(missed).replace(whole, whole.removeprefix(root))


class Cassette:
    """The cassette of a test.

    Attributes:
        path: the file.
        mode: "replay", "record", "new" or "off".
        backend: what plays or records it, for a pool or an adapter with a network of its own:
            ``HTTPAdapter(network_backend=cassette.backend)``.
        async_backend: the same for an asynchronous pool.
    """

    def __init__(
        self,
        path: Path,
        mode: str,
        backend: httpcore.NetworkBackend,
        async_backend: httpcore.AsyncNetworkBackend,
    ) -> None:
        self.path = path
        self.mode = mode
        self.backend = backend
        self.async_backend = async_backend
        self.reported = 0  # so many of `missed` stand in the test's report

    @property
    def missed(self) -> list[str]:
        """Why requests got no answer: a text for each that was not recorded. Such a test fails when
        it ends, even if the program caught the error."""
        return self.backend.missed if isinstance(self.backend, httpcore.ReplayBackend) else []

    @property
    def unused(self) -> list[str]:
        """The recorded requests that were not made, as "METHOD URL"; empty unless replaying."""
        return self.backend.unused if isinstance(self.backend, httpcore.ReplayBackend) else []

    def __repr__(self) -> str:
        return f"<Cassette {self.path} [{self.mode}]>"


@pytest.fixture
def httpcore_cassette_settings() -> Settings:
    """Keywords of `RecordingBackend` for every cassette; override it in a conftest.py."""
    return {}


@pytest.fixture
def httpcore_cassette(
    request: pytest.FixtureRequest, httpcore_cassette_settings: Settings
) -> Iterator[Cassette]:
    """The test's cassette, in place of the network until the test has ended."""
    mark = request.node.get_closest_marker(CASSETTE)
    path, mode, settings = _read_mark(mark.args if mark else (), mark.kwargs if mark else {})
    settings = {**httpcore_cassette_settings, **settings}
    mode = request.config.getoption(OPTION) or mode or REPLAY
    if mode not in MODES:
        raise pytest.UsageError(f"the mode of a cassette is one of {MODES}, not {mode!r}")
    file = request.path.parent / (path or _file_of(request.node))
    if mode == OFF:
        yield Cassette(file, mode, httpcore.SyncBackend(), AutoBackend())
        return
    backend = _open(file, mode, settings, request)
    async_backend = _twin_of(backend)
    with contextlib.ExitStack() as stack:
        stack.enter_context(backend)
        stack.enter_context(_in_place(backend, async_backend))
        cassette = Cassette(file, mode, backend, async_backend)
        request.node.stash[_cassette] = cassette
        yield cassette
    if missed := cassette.missed[cassette.reported :]:
        pytest.fail(_shorten(missed, cassette, request.node), pytrace=False)


def _read_mark(args: tuple[object, ...], keywords: Settings) -> tuple[Any, Any, Settings]:
    settings = dict(keywords)
    if len(args) > 1 or (args and "path" in settings):
        raise pytest.UsageError(f"the mark `{CASSETTE}` takes one path, not {args!r}")
    path = args[0] if args else settings.pop("path", None)
    return path, settings.pop("mode", None), settings


def _file_of(item: pytest.Item) -> Path:
    """Return where a test's cassette is, relative to the test's file."""
    module, *names = item.nodeid.split("::")
    name = re.sub(r"[^\w.\[\]=,+-]+", "-", ".".join(names))
    if len(name) > MAX_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        name = f"{name[:MAX_NAME]}-{digest}"
    return Path("cassettes", Path(module).stem, f"{name}.jsonl")


def _open(file: Path, mode: str, settings: Settings, request: pytest.FixtureRequest) -> Backend:
    if mode == REPLAY:
        if not file.exists():
            pytest.fail(
                f"there is no cassette {file}: record it with\n"
                f"    pytest {OPTION}=record '{request.node.nodeid}'",
                pytrace=False,
            )
        known = {name: settings[name] for name in ("match", "repeat") if name in settings}
        return httpcore.ReplayBackend(file, **known)
    recorded = request.config.stash[_recorded]
    if file in recorded:
        mode = NEW  # another test has recorded its part of it in this run
    recorded.add(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    network = _Network(httpcore.SyncBackend(), _methods_of(httpcore.SyncBackend))
    return httpcore.RecordingBackend(network, file, mode=mode, **settings)


def _twin_of(backend: Backend) -> AsyncBackend:
    """Return what plays or records the cassette of `backend` for asynchronous pools."""
    twin: AsyncBackend
    if isinstance(backend, httpcore.ReplayBackend):
        twin = httpcore.AsyncReplayBackend.__new__(httpcore.AsyncReplayBackend)
        vars(twin).update(vars(backend))
        return twin
    twin = httpcore.AsyncRecordingBackend.__new__(httpcore.AsyncRecordingBackend)
    vars(twin).update(vars(backend))
    return twin.over(_AsyncNetwork(AutoBackend(), _methods_of(AutoBackend)))


# ---------------------------------------------------------------------------------------------
# In place of the network


class _Network(httpcore.NetworkBackend):
    """The network as a `SyncBackend` would use it if it were left alone."""

    def __init__(self, backend: httpcore.SyncBackend, methods: Methods) -> None:
        _borrow(self, backend, methods)


class _AsyncNetwork(httpcore.AsyncNetworkBackend):
    """The network as an `AutoBackend` would use it if it were left alone."""

    def __init__(self, backend: AutoBackend, methods: Methods) -> None:
        _borrow(self, backend, methods)


def _borrow(network: object, backend: object, methods: Methods) -> None:
    """Let `network` do by `methods` what they do for `backend`."""
    for name, method in methods.items():
        setattr(network, name, types.MethodType(method, backend))


def _methods_of(kind: type) -> Methods:
    """Return what a backend can do; to be asked for before a cassette is put in its place."""
    names = ("connect_tcp", "connect_unix_socket", "resolve", "sleep")
    return {name: getattr(kind, name) for name in names}


@contextlib.contextmanager
def _in_place(backend: Backend, async_backend: AsyncBackend) -> Iterator[None]:
    """Have every `SyncBackend`, and requests' own adapters, use `backend` meanwhile, and every
    `AutoBackend` the other one."""
    _close_idle()
    with pytest.MonkeyPatch.context() as patch, _under_requests(patch):
        _replace(httpcore.SyncBackend, backend, _Network, patch)
        _replace(AutoBackend, async_backend, _AsyncNetwork, patch)
        try:
            yield
        finally:
            _close_idle()


def _replace(
    kind: type, backend: Backend | AsyncBackend, network: Callable[..., Any], patch: Any
) -> None:
    """Have all of a `kind` of network use `backend`, which records what they would do."""
    methods = _methods_of(kind)

    def stand_in(self: object, name: str, *args: object, **keywords: object) -> object:
        used: Any = backend
        if isinstance(backend, (httpcore.RecordingBackend, httpcore.AsyncRecordingBackend)):
            used = backend.over(network(self, methods))
        return getattr(used, name)(*args, **keywords)  # of an asynchronous one: to be awaited

    for name in methods:
        patch.setattr(kind, name, partialmethod(stand_in, name))
    patch.setattr(kind, "speaks_http2", False, raising=False)


def _close_idle() -> None:
    """Close the idle connections of all pools: they lead elsewhere than new ones."""
    for slots in fork.renewed_in_child():
        if isinstance(slots, PoolSlots):
            slots.close_idle(None)


@contextlib.contextmanager
def _under_requests(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Send what requests' own adapters are to send through ours, which know `SyncBackend`."""
    try:
        ours: Any = importlib.import_module("httpcore_requests").HTTPAdapter
    except ModuleNotFoundError:  # there is no requests; one that is too old says so
        yield
        return
    stock = next(kind for kind in ours.__mro__ if kind.__module__ == "requests.adapters")
    genuine = stock.send
    stand_ins: weakref.WeakKeyDictionary[object, Any] = weakref.WeakKeyDictionary()

    def send(self: Any, *args: object, **keywords: object) -> object:
        if isinstance(self, ours):
            return genuine(self, *args, **keywords)
        if self not in stand_ins:
            stand_ins[self] = ours(max_retries=self.max_retries)
        return stand_ins[self].send(*args, **keywords)

    patch.setattr(stock, "send", send)
    try:
        yield
    finally:
        for adapter in stand_ins.values():
            adapter.close()
