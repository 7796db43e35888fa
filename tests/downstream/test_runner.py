"""`scripts/downstream`: that it cannot be green for nothing.

Owns: the list's format, the verdict, the plugin. The suites themselves are run by the script.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.downstream import __main__ as command
from tests.downstream import environment, running
from tests.downstream.environment import Cache, IndexUnreachable, InstallFailed
from tests.downstream.plugin import stand_in
from tests.downstream.plugin.listing import Entry, read_list
from tests.downstream.running import Result, judge
from tests.downstream.suites import HTTP2, OURS, SESSION, STOCK, SUITES, Suite

WANTED = {
    "requests",
    "requests-toolbelt",
    "responses",
    "requests-mock",
    "cachecontrol",
    "betamax",
    "requests-unixsocket",
    "httpcore",
    "httpx",
    "httpie",
    "docker",
    "yt-dlp",
    "sphinx",
    "azure-core",
    "opentelemetry-instrumentation-requests",
    "streamlink",
}


def test_each_suite_has_a_list_and_a_pin() -> None:
    assert set(SUITES) == WANTED
    assert {path.stem for path in running.LISTS.iterdir()} == WANTED
    for name in SUITES:
        read_list(running.LISTS / f"{name}.txt")
        assert environment.pinned(name) != "?"
    assert environment.pinned("no-such-thing") == "?"


# --- the list ---


def test_a_list(tmp_path: Path) -> None:
    path = tmp_path / "suite.txt"
    path.write_text(
        "# a comment\n\n[ours]\na.py::test[x#y]  # asserts on a private\n[both]\nb.py::t  # 2\n"
        "[both >= 3.0]\nc.py::t  # 3\n[ours >= 99.0]\nd.py::t  # 4\n"
    )
    assert read_list(path) == {
        "a.py::test[x#y]": Entry("ours", "asserts on a private"),
        "b.py::t": Entry("both", "2"),
        "c.py::t": Entry("both", "3"),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a.py::t  # early", "suite.txt:1: .* below a"),
        ("[ours]\na.py::t", "suite.txt:2: a line is"),
        ("[ours]\na.py::t  #  ", "suite.txt:2: a line is"),
        ("[theirs]\n", "no section"),
        ("[both >= 3]\n", "no section"),
        ("[ours]\na.py::t  # 1\na.py::t  # 2", "suite.txt:3: a.py::t is listed twice"),
    ],
)
def test_a_bad_list(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "suite.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=problem):
        read_list(path)


# --- the verdict ---

GOOD: dict[str, Any] = {
    "outcomes": {"a": "passed", "b": "passed", "c": "skipped", "d": "listed"},
    "texts": {},
    "missing": [],
    "counts": {"adapters": 2, "ours": 7, "http2": 5, "urllib3": 3},
    "in_place": True,
}


def judged(code: int | None = 0, mode: str = OURS, whole: bool = True, **changes: Any) -> Result:
    result = Result("a-suite", mode)
    judge(result, Suite("a-suite", requests=3, http2=4), code, {**GOOD, **changes}, whole)
    return result


def test_a_good_run() -> None:
    result = judged()
    assert (result.passed, result.skipped, result.listed, result.failed) == (2, 1, 1, {})
    assert [judged(mode=mode).requests for mode in (OURS, HTTP2, SESSION, STOCK)] == [7, 5, 7, 3]


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"code": 1, "outcomes": {"a": "failed"}, "texts": {"a": "boom"}}, {"a": "boom"}),
        ({"missing": ["z"]}, {"": "z is listed, and there is no such test"}),
        (
            {"counts": {"adapters": 0, "ours": 2, "http2": 0, "urllib3": 0}},
            {"": "no adapter was made; only 2 requests were sent, not 3"},
        ),
        (
            {"mode": HTTP2, "counts": {"adapters": 1, "ours": 9, "http2": 3, "urllib3": 0}},
            {"": "only 3 requests were sent, not 4"},
        ),
        ({"in_place": False}, {"": "at its end another adapter was in place"}),
        ({"code": 5, "outcomes": {}}, {"": "pytest exited with 5"}),
        ({"code": 1}, {"": "pytest exited with 1"}),
    ],
)
def test_a_bad_run(changes: dict[str, Any], failed: dict[str, str]) -> None:
    assert judged(**changes).failed == failed


def test_a_run_without_a_report() -> None:
    for code, how in ((3, "exited with 3"), (None, "did not end in")):
        result = Result("a-suite", OURS)
        judge(result, Suite("a-suite"), code, None, whole=True)
        assert how in result.failed[""]


def test_part_of_a_suite_need_not_meet_its_rules() -> None:
    counts = {"adapters": 0, "ours": 0, "http2": 0, "urllib3": 0}
    assert judged(whole=False, missing=["z"], counts=counts).failed == {}


def test_the_conclusion(capsys: pytest.CaptureFixture[str]) -> None:
    ours = Result("a", OURS, passed=3, failed={f"t{n}": "text" for n in range(30)})
    http2 = Result("a", HTTP2, passed=1, failed={"t1": "text", "t99": "text"})
    stock = Result("a", STOCK, passed=4, failed={"t1": "text"})
    assert command.conclude([Result("b", OURS, passed=1)]) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed\n"
    assert command.conclude([ours, http2, stock]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "8 passed, 33 failed"
    assert "fails with ours only: a: t2" in lines
    assert "fails with http2 only: a: t99" in lines
    assert not {f"fails with {mode} only: a: t1" for mode in (OURS, HTTP2)} & set(lines)
    assert lines.count("text") == command.SHOWN_FAILURES


def test_what_is_run() -> None:
    once, twice = Suite("once"), Suite("twice", http2=1)
    assert command.plan([once, twice], stock=False) == [
        (twice, HTTP2), (once, OURS), (twice, OURS)
    ]  # fmt: skip
    assert (once, STOCK) in command.plan([once], stock=True)
    both = Suite("both", session=True)
    assert command.plan([both], stock=False) == [(both, OURS), (both, SESSION)]
    assert SUITES["requests"].session
    assert SUITES["requests"].http2 > 100


@pytest.mark.parametrize("core", [False, True])
def test_only_a_suite_of_requests_has_to_make_adapters(core: bool) -> None:
    counts = {"adapters": 0, "ours": 9, "http2": 0, "urllib3": 9}
    result = Result("a-suite", OURS)
    judge(result, Suite("a-suite", core=core), 0, {**GOOD, "counts": counts}, whole=True)
    assert result.failed == ({} if core else {"": "no adapter was made"})


@pytest.mark.parametrize("mode", [OURS, STOCK])
def test_stock_httpcore_is_the_installed_one(tmp_path: Path, mode: str) -> None:
    suite = Suite("a-suite", core=True)
    environ = running._environment(suite, tmp_path, tmp_path, tmp_path / "report", mode)
    assert (str(tmp_path / "ours") in environ["PYTHONPATH"]) == (mode == OURS)
    assert environ["DOWNSTREAM_CORE"]


def test_what_a_suite_imports_is_found_after_ours(tmp_path: Path) -> None:
    suite = Suite("a-suite", path=("tests/kit",))
    top = tmp_path / "files"
    environ = running._environment(suite, top, tmp_path, tmp_path / "report", OURS)
    path = environ["PYTHONPATH"].split(os.pathsep)
    assert (path[0], path[-1]) == (str(tmp_path / "ours"), str(top / "tests" / "kit"))


def test_http2_takes_other_servers() -> None:
    """pytest-httpbin's speak HTTP/1 only, and nothing would be tested."""
    cache: Any = argparse.Namespace(python="python")
    found = {mode: running._command(SUITES["requests"], cache, mode, []) for mode in (OURS, HTTP2)}
    assert "pytest_httpbin.plugin" in found[OURS]
    assert "pytest_httpbin.plugin" not in found[HTTP2]
    assert "http2_httpbin" in found[HTTP2]


# --- the cache ---


def test_what_pip_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ""

    def run(*args: Any, **kwargs: Any) -> Any:
        return subprocess.CompletedProcess(args, 1, stdout="", stderr=said)

    monkeypatch.setattr(subprocess, "run", run)
    cache = Cache(tmp_path / "cache")
    said = "WARNING: Retrying (Retry(total=0, ...)) after connection broken by 'NewConnectionError'"
    with pytest.raises(IndexUnreachable, match="pip download failed"):
        cache.fetch(SUITES["requests"])
    said = "WARNING: Retrying (Retry(total=1, ...)) after connection broken by 'ProtocolError'\nno"
    with pytest.raises(InstallFailed, match=r"no$"):
        cache.fetch(SUITES["requests"])


@pytest.mark.parametrize("own", ["", "[tool.pytest.ini_options]\n"])
def test_unpacking(tmp_path: Path, own: str) -> None:
    """A suite without settings for pytest must not find ours, further up."""
    cache = Cache(tmp_path / "cache")
    suite = Suite("a-suite", tests_of="1.0", without=("left_over.txt", "package"))
    with tarfile.open(cache.sdists / "A_Suite-1.0.tar.gz", "w:gz") as archive:
        for name in ("left_over.txt", "package/a.py", "tests/test_a.py", "pyproject.toml"):
            member = tarfile.TarInfo(f"a_suite-1.0/{name}")
            member.size = len(own)
            archive.addfile(member, io.BytesIO(own.encode()))
    for _ in range(2):  # fresh each time
        top = cache.unpack(suite, cache.work / "a-suite")
        assert (top / "pytest.ini").exists() is (own == "")
        assert not (top / "left_over.txt").exists()
        assert not (top / "package").exists()
        (top / "tests" / "test_a.py").unlink()


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "no_proxy", "REQUESTS_CA_BUNDLE", "PYTHONPATH", "PYTEST_ADDOPTS"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("KEPT", "x")
    clean = environment.clean_environ()
    assert "KEPT" in clean
    assert not {"HTTPS_PROXY", "no_proxy", "REQUESTS_CA_BUNDLE", "PYTHONPATH"} & set(clean)


# --- the plugin ---


def test_the_tarpit() -> None:
    genuine = socket.getaddrinfo
    with stand_in.internet((stand_in.TARPIT,)):
        with pytest.raises(TimeoutError):
            socket.create_connection((stand_in.TARPIT, 80), timeout=0.05)
        assert socket.getaddrinfo("127.0.0.1", 80)[0][4] == ("127.0.0.1", 80)
    assert socket.getaddrinfo is genuine


def test_a_suite_that_asks_finds_no_internet() -> None:
    genuine = socket.gethostbyname
    with stand_in.internet(()):
        with pytest.raises(socket.gaierror, match="no internet"):
            socket.gethostbyname("example.org")
        found = [socket.gethostbyname(name) for name in ("localhost", "127.0.0.2")]
    assert found == ["127.0.0.1", "127.0.0.2"]
    assert socket.gethostbyname is genuine


TESTS = """
import pytest, requests

def test_sends():
    with pytest.raises(requests.ConnectionError):
        requests.get("http://127.0.0.1:1/")

def test_class():
    assert requests.sessions.HTTPAdapter.__module__ == "WANTED"

def test_listed():
    assert False, "as the list says"

def test_stale():
    pass

def test_over_http2():
    settings = getattr(requests.Session().adapters["https://"], "_settings", None)
    assert settings is None or not settings.http2

def test_class_of_session():
    assert requests.Session is requests.sessions.Session
    assert requests.Session.__module__ == "requests.sessions"
"""
LIST = """
[http2]
test_it.py::test_over_http2  # says the list
[session]
test_it.py::test_class_of_session  # says the list, too
[ours]
test_it.py::test_stale  # passes all the same
test_it.py::test_gone  # there is no such test
[both]
test_it.py::test_listed  # fails everywhere
"""


def run_plugin(
    folder: Path, **environ: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run pytest with the plugin on the tests in `folder`; return that, and the plugin's report."""
    report = folder / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "downstream_plugin", "-p", "no:cacheprovider"],
        cwd=folder,
        env={
            **environment.clean_environ(),
            "PYTHONPATH": os.pathsep.join(
                [str(running.CHECKOUT), str(environment.HERE / "plugin")]
            ),
            "DOWNSTREAM_LIST": str(folder / "list.txt"),
            "DOWNSTREAM_REPORT": str(report),
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=50,
    )
    return done, json.loads(report.read_text())


@pytest.mark.parametrize(
    ("mode", "passed", "listed", "sent"),
    [(OURS, 4, 1, 1), (HTTP2, 3, 2, 0), (SESSION, 3, 2, 1), (STOCK, 5, 1, 1)],
)
def test_the_plugin(tmp_path: Path, mode: str, passed: int, listed: int, sent: int) -> None:
    module = "requests.adapters" if mode == STOCK else "httpcore_requests"
    (tmp_path / "test_it.py").write_text(TESTS.replace("WANTED", module))
    (tmp_path / "list.txt").write_text(LIST)
    done, report = run_plugin(tmp_path, DOWNSTREAM_MODE=mode)
    result = Result("a-suite", mode)
    judge(result, Suite("a-suite"), done.returncode, report, whole=True)
    stale = {} if mode == STOCK else {"test_it.py::test_stale"}
    assert set(result.failed) == {"", *stale}, done.stdout
    assert result.failed[""] == "test_it.py::test_gone is listed, and there is no such test"
    assert (result.passed, result.listed, result.requests) == (passed, listed, sent)


TESTS_OF_CORE = """
import asyncio, httpcore

ANSWER = [b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"]

def test_threads():
    with httpcore.ConnectionPool(network_backend=httpcore.MockBackend(ANSWER)) as pool:
        pool.request("GET", "http://a.test/")

def test_tasks():
    async def main():
        backend = httpcore.AsyncMockBackend(ANSWER)
        async with httpcore.AsyncConnectionPool(network_backend=backend) as pool:
            await pool.request("GET", "http://a.test/")
    asyncio.run(main())
"""


def test_requests_of_both_halves_are_counted(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS_OF_CORE)
    (tmp_path / "list.txt").write_text("")
    done, report = run_plugin(tmp_path, DOWNSTREAM_MODE=OURS, DOWNSTREAM_CORE="1")
    assert list(report["outcomes"].values()) == ["passed", "passed"], done.stdout
    assert report["counts"]["ours"] == 2
