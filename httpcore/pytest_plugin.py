"""pytest: a cassette for each test that asks for one.

Owns: the mark and the fixture ``httpcore_cassette``, the option ``--httpcore-cassettes``, where the
file of each test is, and putting a cassette under everything that would go to the network. Must not
know: what is in a cassette.

A test suite asks for the plugin: ``pytest_plugins = ["httpcore.pytest_plugin"]`` in the conftest.py
at its root. All names begin with ``httpcore``, so they do not meet those of other plugins.

While a test has its cassette, every `SyncBackend` uses it, those of pools that exist as well: their
idle connections are closed before, and after. So do requests' sessions, with requests' own adapters
too: what these are to send goes through `httpcore_requests`. Without the mark nothing is touched.

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
from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest

import httpcore

from ._backends import fork
from ._shared.pool_slots import PoolSlots

# The name of the mark and of the fixture.
CASSETTE = "httpcore_cassette"
OPTION = "--httpcore-cassettes"

REPLAY, RECORD, NEW, OFF = MODES = ("replay", "record", "new", "off")

# Characters of a file name that is made of a test's: file systems take 255 bytes.
MAX_NAME = 150

# Keywords of `RecordingBackend`, each of its own type.
Settings = dict[str, Any]

# Functions of a `SyncBackend`, by name.
Methods = dict[str, Callable[..., object]]

_recorded = pytest.StashKey[set[Path]]()


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


class Cassette:
    """What a test has of its cassette.

    Attributes:
        path: the file.
        mode: "replay", "record", "new" or "off".
        backend: what plays or records it, for a pool or an adapter with a network of its own:
            ``HTTPAdapter(network_backend=cassette.backend)``.
    """

    def __init__(self, path: Path, mode: str, backend: httpcore.NetworkBackend) -> None:
        self.path = path
        self.mode = mode
        self.backend = backend

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
        yield Cassette(file, mode, httpcore.SyncBackend())
        return
    backend = _open(file, mode, settings, request)
    with contextlib.ExitStack() as stack:
        stack.enter_context(backend)
        stack.enter_context(_in_place(backend))
        yield Cassette(file, mode, backend)


def _read_mark(args: tuple[object, ...], keywords: Settings) -> tuple[Any, Any, Settings]:
    settings = dict(keywords)
    if len(args) > 1 or (args and "path" in settings):
        raise pytest.UsageError(f"the mark `{CASSETTE}` takes one path, not {args!r}")
    path = args[0] if args else settings.pop("path", None)
    return path, settings.pop("mode", None), settings


def _file_of(item: pytest.Item) -> Path:
    """Where a test's cassette is, relative to the test's file."""
    module, *names = item.nodeid.split("::")
    name = re.sub(r"[^\w.\[\]=,+-]+", "-", ".".join(names))
    if len(name) > MAX_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        name = f"{name[:MAX_NAME]}-{digest}"
    return Path("cassettes", Path(module).stem, f"{name}.jsonl")


def _open(
    file: Path, mode: str, settings: Settings, request: pytest.FixtureRequest
) -> httpcore.RecordingBackend | httpcore.ReplayBackend:
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
    network = _Network(httpcore.SyncBackend(), _methods())
    return httpcore.RecordingBackend(network, file, mode=mode, **settings)


# ---------------------------------------------------------------------------------------------
# In place of the network


class _Network(httpcore.NetworkBackend):
    """The network as a `SyncBackend` would use it if it were left alone."""

    def __init__(self, backend: httpcore.SyncBackend, methods: Methods) -> None:
        for name, method in methods.items():
            setattr(self, name, types.MethodType(method, backend))


def _methods() -> Methods:
    """What a `SyncBackend` can do; to be asked for before a cassette is put in its place."""
    names = ("connect_tcp", "connect_unix_socket", "resolve", "sleep")
    return {name: getattr(httpcore.SyncBackend, name) for name in names}


@contextlib.contextmanager
def _in_place(backend: httpcore.RecordingBackend | httpcore.ReplayBackend) -> Iterator[None]:
    """Have every `SyncBackend`, and requests' own adapters, use `backend` meanwhile."""
    methods = _methods()

    def stand_in(
        self: httpcore.SyncBackend, name: str, *args: object, **keywords: object
    ) -> object:
        used: httpcore.NetworkBackend = backend
        if isinstance(backend, httpcore.RecordingBackend):
            used = backend.over(_Network(self, methods))
        return getattr(used, name)(*args, **keywords)

    _close_idle()
    with pytest.MonkeyPatch.context() as patch, _under_requests(patch):
        for name in methods:
            patch.setattr(httpcore.SyncBackend, name, partialmethod(stand_in, name))
        patch.setattr(httpcore.SyncBackend, "speaks_http2", False, raising=False)
        try:
            yield
        finally:
            _close_idle()


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
    except ImportError:  # there is no requests
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
