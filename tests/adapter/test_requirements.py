"""`httpcore_requests` with an old requests or urllib3, and without them.

Owns: the sentence that is said then, and that it agrees with setup.cfg. Must not know: the adapter.
Each import is made in a process of its own, with other modules before the real ones.
"""

from __future__ import annotations

import configparser
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from httpcore_requests import _requirements
from tests.support import PATIENCE, ROOT

OLDEST = {"requests": _requirements.OLDEST, "urllib3": _requirements.OLDEST_URLLIB3}


def sentence(name: str, found: str) -> str:
    return (
        f"httpcore_requests needs {name} {OLDEST[name]} or later, and {found}: "
        "pip install 'httpcore[requests]'"
    )


def import_with(folder: Path, **texts: str) -> tuple[int, str]:
    """Import the package beside modules that are made of `texts`. How it ended: exit code, last
    line."""
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", "import httpcore_requests"],
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stderr.strip().rpartition("\n")[2]


@pytest.mark.parametrize("version", ["2.32.3", "2.31.0", "2.9.1", "1.0"])
def test_an_old_requests_is_refused_in_one_sentence(version: str, tmp_path: Path) -> None:
    code, said = import_with(tmp_path, requests=f"__version__ = {version!r}")
    assert (code, said) == (1, f"ImportError: {sentence('requests', f'this is {version}')}")


@pytest.mark.parametrize("version", ["2.6.3", "2.6", "1.26.20"])
def test_an_old_urllib3_is_refused_in_one_sentence(version: str, tmp_path: Path) -> None:
    code, said = import_with(
        tmp_path,
        urllib3=f"__version__ = {version!r}",
        requests=f"import urllib3\n__version__ = {OLDEST['requests']!r}",
    )
    assert (code, said) == (1, f"ImportError: {sentence('urllib3', f'this is {version}')}")


def test_no_requests_is_said_in_one_sentence(tmp_path: Path) -> None:
    missing = "raise ModuleNotFoundError('No module named requests', name='requests')"
    code, said = import_with(tmp_path, requests=missing)
    assert (code, said) == (1, f"ModuleNotFoundError: {sentence('requests', 'there is none')}")


def test_what_a_requests_lacks_itself_is_left_to_it(tmp_path: Path) -> None:
    code, said = import_with(tmp_path, requests="import charset_normalizer_of_nobody")
    assert code == 1
    assert said == "ModuleNotFoundError: No module named 'charset_normalizer_of_nobody'"


@pytest.mark.parametrize("version", [OLDEST["requests"], "2.32.10", "2.33", "3.0.0.dev1"])
def test_newer_ones_are_taken(version: str, tmp_path: Path) -> None:
    _, said = import_with(tmp_path, requests=f"__version__ = {version!r}")
    assert said == (
        "ModuleNotFoundError: No module named 'requests.adapters'; 'requests' is not a package"
    )


@pytest.mark.parametrize("extra", ["requests", "cli"])
def test_pip_is_told_the_same_versions(extra: str) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = setup["options.extras_require"][extra].splitlines()
    assert {f"{name}>={oldest}" for name, oldest in OLDEST.items()} <= set(wanted)


@pytest.mark.parametrize(
    ("module", "urllib3", "error", "found"),
    [
        ("2.9", "99", ImportError, "requests 2.32.4 or later, and this is 2.9:"),
        ("99", "2.6.3", ImportError, "urllib3 2.7 or later, and this is 2.6.3:"),
        (None, "99", ModuleNotFoundError, ""),
        ("99", "2.7", None, ""),
        ("99", "2.7.0", None, ""),
        ("99", "10.0", None, ""),
    ],
)
def test_the_check_alone(
    module: str | None,
    urllib3: str,
    error: type[Exception] | None,
    found: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In this process, where nothing else imports what it replaces."""
    made = None if module is None else SimpleNamespace(__version__=module)
    monkeypatch.setitem(sys.modules, "requests", made)
    monkeypatch.setitem(sys.modules, "urllib3", SimpleNamespace(__version__=urllib3))
    path = str(_requirements.__file__)
    if error is None:
        runpy.run_path(path)
        return
    with pytest.raises(ImportError) as caught:
        runpy.run_path(path)
    # Python raises one without a name for a module that is None.
    assert type(caught.value) is error
    assert found in str(caught.value)


def test_the_check_alone_leaves_what_requests_lacks_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requests.py").write_text("import charset_normalizer_of_nobody")
    monkeypatch.delitem(sys.modules, "requests")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError) as caught:
        runpy.run_path(str(_requirements.__file__))
    assert caught.value.name == "charset_normalizer_of_nobody"
