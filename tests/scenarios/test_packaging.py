"""Row 11: what the distribution installs, and what is left as it was."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.servers import LocalServer

# What the distribution is built from.
SOURCES = ("httpcore", "httpcore_requests", "setup.cfg", "setup.py", "pyproject.toml")
SOURCES += ("README.rst", "LICENSE")


def copy_sources(folder: Path) -> None:
    """Put there what the distribution is built from."""
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


@pytest.mark.parametrize("url", ["", "https://forge.example/us/httpcore/"])
def test_a_release_names_its_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTPCORE_PROJECT_URL", url)
    copy_sources(tmp_path)
    command = [sys.executable, "setup.py", "-q", "egg_info"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    told = (tmp_path / "httpcore.egg-info" / "PKG-INFO").read_text("utf-8")
    named = dict(re.findall(r"^Project-URL: (\w+), (.*)$", told, re.MULTILINE))
    link = "downloads <{}docs/tasks/downloads.rst>"
    if url:
        blob = "https://forge.example/us/httpcore/blob/main/"
        assert named["Source"] == "https://forge.example/us/httpcore"
        assert named["Issues"] == "https://forge.example/us/httpcore/issues"
        assert {named["Changelog"], named["Documentation"]} == {
            f"{blob}CHANGELOG.rst",
            f"{blob}docs/index.rst",
        }
        assert link.format(blob) in told and "<docs/" not in told
    else:
        assert not named and link.format("") in told


def test_row_11_what_is_installed_has_names_of_its_own_only(tmp_path: Path) -> None:
    """No path that another distribution has, and nothing that runs when Python starts."""
    copy_sources(tmp_path)
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", "b", "--build-lib", "lib"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    names = {path.relative_to(tmp_path / "lib") for path in (tmp_path / "lib").rglob("*.*")}
    assert {path.parts[0] for path in names} == {"httpcore", "httpcore_requests"}
    assert {path.suffix for path in names} == {".py", ".typed"}


def test_row_11_requirements_are_others_own_distributions() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"] + config["options.extras_require"]["requests"]
    assert not {"urllib3-future", "niquests"} & set(lines.split())


CLIENTS = {
    "requests": "import requests; print(requests.get(url).status_code)",
    "urllib3": "import urllib3; print(urllib3.PoolManager().request('GET', url).status)",
    "httpx": "import httpx; print(httpx.get(url).status_code)",
}


@pytest.mark.parametrize("client", CLIENTS)
def test_row_11_other_clients_are_what_they_were(server: LocalServer, client: str) -> None:
    """The same module in the same file, before and after the import of ours; and it works."""
    code = f"""
import sys
url = {server.url!r}
def state():
    import requests, requests.adapters, urllib3, urllib3.connectionpool, urllib3.poolmanager
    named = (requests.adapters.HTTPAdapter.send, requests.Session.send, urllib3.PoolManager.urlopen)
    named += (urllib3.HTTPResponse.read, urllib3.HTTPConnectionPool._make_request)
    return urllib3, urllib3.__file__, requests.__file__, named
before = state()
import httpcore, httpcore_requests
assert state() == before
assert sys.modules["urllib3"] is before[0]
{CLIENTS[client]}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("200\n", "")
