"""The programs in examples/, run as their first lines say, with small numbers.

Owns: that they do what they say, also where something fails or is not installed. Must not know: how
they do it. ``examples/opentelemetry_spans.py`` is tested in ``tests/adapter``,
``examples/gateway_tracing.py`` in ``tests/gateway``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import ROOT
from tests.support.servers import LocalServer, pattern

DEMO = ROOT / "examples" / "demo.py"
DOWNLOADS = ROOT / "examples" / "many_downloads.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, where a warning is an error."""
    command = [sys.executable, "-W", "error", str(DOWNLOADS), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)


@pytest.fixture
def downloads() -> ModuleType:
    spec = importlib.util.spec_from_file_location("many_downloads", DOWNLOADS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_many_downloads_from_its_own_server(tmp_path: Path) -> None:
    """In a process of its own: the bar of rich, and a server that ends with the program."""
    done = run("--number", 30, "--connections", 4, "--size", 3000, "--to", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"30 of 30 files, 90000 bytes, (\d) connections, [\d.]+ s\n", done.stdout)
    assert found is not None, done.stdout
    assert 1 <= int(found[1]) <= 4
    assert "30/30 files, 0.1 MB" in done.stderr  # rich is in the dev extra
    files = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in files] == [f"{at:04}-3000" for at in range(1, 31)]
    assert {file.read_bytes() for file in files} == {pattern(3000)}


def test_downloads_that_fail_are_named_and_leave_no_file(
    downloads: ModuleType,
    server: LocalServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others go on. Here without rich: a line, as on no terminal."""
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    good, missing, cut = (
        f"{server.url}{path}" for path in ("/bytes/500", "/status/404", "/truncated/9000")
    )
    status = downloads.main([good, missing, cut, good, "--to", str(tmp_path)])
    printed, said = capsys.readouterr()
    assert status == 1
    assert re.fullmatch(r"1 of 3 files, \d+ bytes, \d connections, [\d.]+ s\n", printed)
    assert "3 of 3 files, 0.0 MB\n" in said
    assert f"{missing}: ValueError: the status is 404\n" in said
    assert f"{cut}: IncompleteBody: " in said
    assert [file.name for file in tmp_path.iterdir()] == ["0001-500"]
    assert (tmp_path / "0001-500").read_bytes() == pattern(500)


def test_without_task_groups(
    downloads: ModuleType,
    server: LocalServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On Python 3.10, where asyncio has none."""
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    urls = [f"{server.url}/bytes/{size}" for size in range(10, 20)]
    assert downloads.run(urls, tmp_path, 2, plain=True) == 0
    assert sorted(file.stat().st_size for file in tmp_path.iterdir()) == [*range(10, 20)]
    assert server.accepted <= 2


def test_names_of_files(downloads: ModuleType) -> None:
    """Nothing of a URL leads out of the folder."""
    urls = ["http://a.test/", "http://a.test/x/%2e%2e/a%20b?c=/d", "http://a.test/.."]
    names = [str(path) for path in downloads.name_files(urls, Path("to")).values()]
    assert names == ["to/0001-index", "to/0002-a-20b", "to/0003-.."]


def test_the_demo_shows_what_it_says() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(DEMO)],
        cwd=ROOT, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    ratios = [
        line for line in lines if re.search(r"[\d.]+ x (less|more) (CPU|time) \(.* ms\)", line)
    ]
    assert len(ratios) == 6
    five = lines[lines.index("Five things that requests on urllib3 cannot do:") + 1 :]
    assert [line[:2] for line in five[::2]] == ["1.", "2.", "3.", "4.", "5."]
    assert len(five) == 10  # each in two lines
    assert "FAILED" not in done.stdout


def test_the_demo_against_urls(server: LocalServer) -> None:
    good, bad = server.url + "/bytes/10", server.url + "/drop"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(DEMO), good, bad],
        cwd=ROOT, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(rf"{good}:\n +.* CPU", done.stdout)
    assert f"{bad}: failed: ConnectionError: " in done.stdout


def test_the_demo_needs_ten_packages() -> None:
    """What `scripts/demo` installs: this distribution and what the extra `requests` brings."""
    seen, ahead = {"httpcore"}, ["httpcore"]
    while ahead:
        name = ahead.pop()
        for line in importlib.metadata.requires(name) or []:
            extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
            if extra and (name, extra[1]) != ("httpcore", "requests"):
                continue
            other = re.match(r"[\w-]+", line)
            assert other is not None
            if other[0].lower() not in seen:
                seen.add(other[0].lower())
                ahead.append(other[0])
    assert len(seen) <= 10, sorted(seen)
