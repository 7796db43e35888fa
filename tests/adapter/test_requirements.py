"""`httpcore_requests` with an old requests, and without one.

Owns: the sentence that is said then, and that it agrees with setup.cfg. Must not know: the adapter.
Each import is made in a process of its own, with another requests before the real one.
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

OLDEST = _requirements.OLDEST
SENTENCE = (
    f"httpcore_requests needs requests {OLDEST} or later, and {{}}: "
    "pip install 'httpcore[requests]'"
)


def import_with(folder: Path, text: str) -> tuple[int, str]:
    """Import the package beside a requests that is made of `text`. How it ended: exit code, last
    line."""
    (folder / "requests.py").write_text(text)
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
    code, said = import_with(tmp_path, f"__version__ = {version!r}")
    assert (code, said) == (1, f"ImportError: {SENTENCE.format(f'this is {version}')}")


def test_no_requests_is_said_in_one_sentence(tmp_path: Path) -> None:
    missing = "raise ModuleNotFoundError('No module named requests', name='requests')"
    code, said = import_with(tmp_path, missing)
    assert (code, said) == (1, f"ModuleNotFoundError: {SENTENCE.format('there is none')}")


def test_what_a_requests_lacks_itself_is_left_to_it(tmp_path: Path) -> None:
    code, said = import_with(tmp_path, "import charset_normalizer_of_nobody")
    assert code == 1
    assert said == "ModuleNotFoundError: No module named 'charset_normalizer_of_nobody'"


@pytest.mark.parametrize("version", [OLDEST, "2.32.10", "2.33", "3.0.0.dev1"])
def test_newer_ones_are_taken(version: str, tmp_path: Path) -> None:
    _, said = import_with(tmp_path, f"__version__ = {version!r}")
    assert said == (
        "ModuleNotFoundError: No module named 'requests.adapters'; 'requests' is not a package"
    )


def test_pip_is_told_the_same_version() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = setup["options.extras_require"]["requests"].splitlines()
    assert f"requests>={OLDEST}" in wanted


@pytest.mark.parametrize(
    ("module", "error", "found"),
    [
        (SimpleNamespace(__version__="2.9"), ImportError, "this is 2.9"),
        (None, ModuleNotFoundError, "there is none"),
        (SimpleNamespace(__version__="99"), None, ""),
    ],
)
def test_the_check_alone(
    module: object, error: type[Exception] | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, where nothing else imports what it replaces."""
    monkeypatch.setitem(sys.modules, "requests", module)
    path = str(_requirements.__file__)
    if error is None:
        runpy.run_path(path)
        return
    with pytest.raises(ImportError) as caught:
        runpy.run_path(path)
    # Python raises one without a name for a module that is None.
    assert type(caught.value) is error
    assert found in str(caught.value) or module is None


def test_the_check_alone_leaves_what_requests_lacks_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requests.py").write_text("import charset_normalizer_of_nobody")
    monkeypatch.delitem(sys.modules, "requests")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError) as caught:
        runpy.run_path(str(_requirements.__file__))
    assert caught.value.name == "charset_normalizer_of_nobody"
