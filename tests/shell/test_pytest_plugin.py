"""The mark `httpcore_cassette`: pytest in pytest.

Owns: `httpcore.pytest_plugin`. Must not know: what is in a cassette.

Each test writes a test file of its own and runs it, first with ``--httpcore-cassettes=record``
while there is a server, then without both.
"""

from __future__ import annotations

import configparser
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

import httpcore
from httpcore import pytest_plugin
from httpcore_requests import HTTPAdapter, Session
from tests.support.servers import LocalServer

pytest_plugins = ["pytester"]

ROOT = Path(httpcore.__file__).parent.parent

# pytester forgets the modules that the inner pytest was the first to load; a second copy of them
# would have other classes.
for _name in httpcore.__all__:
    getattr(httpcore, _name)

Run = Callable[..., pytest.RunResult]

IMPORTS = """
import os, pytest, requests, httpcore, httpcore_requests
URL = os.environ["TEST_URL"]
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, server: LocalServer) -> Run:
    """`run(text, *args)`: run this test file; `URL` in it is the server's."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("TEST_URL", server.url)
    for name in ("CI", "BUILD_NUMBER"):  # with one of them the summary shows whole texts
        monkeypatch.delenv(name, raising=False)

    def run(text: str | None, *args: str) -> pytest.RunResult:
        if text is not None:
            pytester.makepyfile(test_it=IMPORTS + text)
        args = ("-W", "error", "-p", "no:cacheprovider", *args)
        return pytester.runpytest_inprocess(*args, plugins=[pytest_plugin])

    return run


def cassettes(pytester: pytest.Pytester) -> list[str]:
    return sorted(str(p.relative_to(pytester.path)) for p in pytester.path.rglob("*.jsonl"))


ALL_ROADS = """
session = requests.Session()          # they were here before
pool = httpcore.ConnectionPool()
ours = httpcore_requests.Session()

@pytest.mark.httpcore_cassette
def test_requests():
    assert requests.get(URL + "/bytes/1").content == b"n"
    assert len(session.get(URL + "/bytes/2").content) == 2

@pytest.mark.httpcore_cassette
def test_our_adapter():
    assert len(ours.get(URL + "/bytes/3").content) == 3
    with httpcore_requests.Session() as other:
        assert len(other.get(URL + "/bytes/4").content) == 4

@pytest.mark.httpcore_cassette
def test_httpcore(httpcore_cassette):
    assert httpcore.request("GET", URL + "/bytes/5").status == 200
    assert len(pool.request("GET", URL + "/bytes/6").content) == 6
    with httpcore.ConnectionPool(network_backend=httpcore_cassette.backend) as other:
        assert len(other.request("GET", URL + "/bytes/7").content) == 7

def test_end():
    session.close(), pool.close(), ours.close()
"""


def test_all_that_goes_to_the_network_is_recorded_and_replayed(
    run: Run, pytester: pytest.Pytester, server: LocalServer
) -> None:
    genuine = httpcore.SyncBackend.connect_tcp
    run(ALL_ROADS, "--httpcore-cassettes=record").assert_outcomes(passed=4)
    assert [one.path for one in server.requests] == [f"/bytes/{n}" for n in range(1, 8)]
    assert cassettes(pytester) == [
        "cassettes/test_it/test_httpcore.jsonl",
        "cassettes/test_it/test_our_adapter.jsonl",
        "cassettes/test_it/test_requests.jsonl",
    ]
    recorded = [path.read_bytes() for path in sorted(pytester.path.rglob("*.jsonl"))]
    assert [data.count(b'"request"') for data in recorded] == [3, 2, 2]
    server.stop()
    for args in ((), ("--httpcore-cassettes=new",), ("--httpcore-cassettes=replay",)):
        run(None, *args).assert_outcomes(passed=4)
    assert [path.read_bytes() for path in sorted(pytester.path.rglob("*.jsonl"))] == recorded
    assert httpcore.SyncBackend.connect_tcp is genuine
    assert "sleep" not in vars(httpcore.SyncBackend)
    assert not hasattr(httpcore.SyncBackend, "speaks_http2")
    assert requests.adapters.HTTPAdapter.send.__module__ == "requests.adapters"


def test_httpx_on_httpcore_is_recorded(run: Run, server: LocalServer) -> None:
    text = """
import httpx

@pytest.mark.httpcore_cassette
def test_a():
    assert httpx.get(URL + "/bytes/1").content == b"n"
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(URL + "/hang", timeout=0.05)
    if os.environ.get("MORE"):
        with pytest.raises(httpx.ConnectError, match="has no answer for GET"):
            httpx.get(URL + "/bytes/2")
"""
    run(text, "--httpcore-cassettes=record").assert_outcomes(passed=1)
    server.stop()
    # It expects that the second is missing; that still fails it in the end.
    run(text.replace('os.environ.get("MORE")', "True")).assert_outcomes(passed=1, errors=1)


ASYNCHRONOUS = """
import asyncio, trio, httpx
from httpcore import aio
pool = httpcore.AsyncConnectionPool()          # it was here before
mine = httpcore.AsyncMockBackend([b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"])

async def main():
    assert (await aio.request("GET", URL + "/bytes/1")).body == b"n"
    assert len((await pool.request("GET", URL + "/bytes/2")).content) == 2
    async with httpx.AsyncClient(trust_env=False) as client:
        assert len((await client.get(URL + "/bytes/3")).content) == 3
    async with httpcore.AsyncConnectionPool(network_backend=mine) as own:
        assert (await own.request("GET", URL)).content == b"ok"
    pool.retire()

@pytest.mark.httpcore_cassette
def test_asyncio():
    asyncio.run(main())

@pytest.mark.httpcore_cassette
def test_trio():
    trio.run(main)

@pytest.mark.httpcore_cassette
def test_both_halves(httpcore_cassette):
    async def other():
        backend = httpcore_cassette.async_backend
        async with httpcore.AsyncConnectionPool(network_backend=backend) as own:
            assert len((await own.request("GET", URL + "/bytes/5")).content) == 5
    assert len(httpcore.request("GET", URL + "/bytes/4").content) == 4
    asyncio.run(other())
    assert len(requests.get(URL + "/bytes/6").content) == 6
    assert httpcore_cassette.unused == []
"""


def test_asynchronous_pools_are_recorded_and_replayed(
    run: Run, pytester: pytest.Pytester, server: LocalServer
) -> None:
    run(ASYNCHRONOUS, "--httpcore-cassettes=record").assert_outcomes(passed=3)
    recorded = server.requests.copy()
    assert len(recorded) == 3 + 3 + 3
    assert len(cassettes(pytester)) == 3
    run(ASYNCHRONOUS).assert_outcomes(passed=3)
    assert server.requests == recorded
    # What was not recorded fails, and does not go to the network.
    found = run(ASYNCHRONOUS.replace("/bytes/2", "/bytes/22"))
    found.assert_outcomes(passed=1, failed=2)
    found.stdout.fnmatch_lines(["*has no answer for GET */bytes/22*"])
    assert server.requests == recorded
    # Without it they are as before.
    run(ASYNCHRONOUS, "--httpcore-cassettes=off").assert_outcomes(passed=3)
    assert len(server.requests) == 2 * len(recorded)


def test_without_a_cassette_it_says_how_to_record_one(run: Run, pytester: pytest.Pytester) -> None:
    result = run("@pytest.mark.httpcore_cassette\ndef test_a(): pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            f"there is no cassette {pytester.path}/cassettes/test_it/test_a.jsonl: record it with",
            "    pytest --httpcore-cassettes=record 'test_it.py::test_a'",
        ]
    )
    assert "Traceback" not in result.stdout.str() and cassettes(pytester) == []


def test_nothing_is_touched_without_the_mark(run: Run, server: LocalServer) -> None:
    text = (
        "def test_a():\n    assert requests.get(URL + '/').ok\n    httpcore.request('GET', URL)\n"
    )
    for args in ((), ("--httpcore-cassettes=record",)):
        run(text, *args).assert_outcomes(passed=1)
    assert len(server.requests) == 4


def test_a_request_that_was_not_recorded_fails(run: Run, server: LocalServer) -> None:
    text = "@pytest.mark.httpcore_cassette\ndef test_a():\n    requests.get(URL + '/bytes/{}')\n"
    run(text.format(1), "--httpcore-cassettes=record").assert_outcomes(passed=1)
    result = run(text.format(2))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"*test_a.jsonl has no answer for GET {server.url}/bytes/2:*", "*the nearest, in line 2*"]
    )
    run(None, "--httpcore-cassettes=new").assert_outcomes(passed=1)
    run(None).assert_outcomes(passed=1)
    run(text.format(1)).assert_outcomes(passed=1)
    assert len(server.requests) == 2


CAUGHT = """
@pytest.mark.httpcore_cassette
def test_a():
    requests.get(URL + '/bytes/1')
    for _ in range(OTHERS):
        try:
            requests.get(URL + '/bytes/2')
        except requests.RequestException:
            pass
"""


def test_a_request_that_was_not_recorded_fails_though_it_was_caught(run: Run) -> None:
    run(CAUGHT.replace("OTHERS", "0"), "--httpcore-cassettes=record").assert_outcomes(passed=1)
    result = run(CAUGHT.replace("OTHERS", "2"))
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_a*", "*has no answer for GET *"])
    assert str(result.stdout).count("the nearest, in line 2") == 1


def test_the_report_of_one_that_was_not_recorded_is_short(run: Run) -> None:
    text = "@pytest.mark.httpcore_cassette\ndef test_a():\n    requests.get(URL + '/bytes/{}')\n"
    run(text.format(1), "--httpcore-cassettes=record")
    result = run(text.format(2))
    result.assert_outcomes(failed=1)
    lines = result.outlines
    begin = next(n for n, line in enumerate(lines) if "= FAILURES =" in line)
    end = next(n for n, line in enumerate(lines) if "short test summary" in line)
    assert end - begin < 12
    assert "sent by test_it.py:5: in test_a" in lines[begin:end]
    assert "    requests.get(URL + '/bytes/2')" in lines[begin:end]
    assert lines[begin + 2].startswith("cassettes/test_it/test_a.jsonl has no answer for GET ")
    # All of it is there for those who ask.
    result = run(None, "--tb=long")
    assert len(result.outlines) > 100


def test_what_was_caught_is_named_where_the_test_fails_for_another_reason(run: Run) -> None:
    run(CAUGHT.replace("OTHERS", "0"), "--httpcore-cassettes=record")
    result = run(CAUGHT.replace("OTHERS", "1") + "    assert 1 + 1 == 3\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*assert (1 + 1) == 3", "*requests that test_a.jsonl lacks*", "*has no answer for GET *"]
    )


def test_files(run: Run, pytester: pytest.Pytester) -> None:
    text = """
@pytest.mark.httpcore_cassette
class TestOfAClass:
    @pytest.mark.parametrize("what", ["a/b", "ä ö", pytest.param(1, id="x" * 180)])
    def test_params(self, what): pass

pytestmark = []

@pytest.mark.httpcore_cassette("mine.jsonl")
def test_named(): pass

@pytest.mark.httpcore_cassette(path="deep/er/other.jsonl")
def test_deep(httpcore_cassette):
    assert httpcore_cassette.path.name == "other.jsonl"
    tape = httpcore_cassette
    assert repr(tape) == f"<Cassette {tape.path} [{tape.mode}]>"
"""
    run(text, "--httpcore-cassettes=record").assert_outcomes(passed=5)
    *params, deep, named = cassettes(pytester)
    assert (deep, named) == ("deep/er/other.jsonl", "mine.jsonl")
    names = [name.removeprefix("cassettes/test_it/") for name in params]
    assert "TestOfAClass.test_params[a-b].jsonl" in names
    assert max(map(len, names)) == 150 + 1 + 12 + len(".jsonl")
    assert len(names) == 3
    run(None).assert_outcomes(passed=5)


def test_tests_may_share_a_cassette(
    run: Run, pytester: pytest.Pytester, server: LocalServer
) -> None:
    text = """
pytestmark = pytest.mark.httpcore_cassette("shared.jsonl")

def test_a():
    assert len(requests.get(URL + "/bytes/1").content) == 1

def test_b():
    assert len(requests.get(URL + "/bytes/1").content) == 1
    assert len(requests.get(URL + "/bytes/2").content) == 2
"""
    for _ in range(2):
        run(text, "--httpcore-cassettes=record").assert_outcomes(passed=2)
    assert (pytester.path / "shared.jsonl").read_text().count('{"request"') == 2
    server.stop()
    run(None).assert_outcomes(passed=2)


def test_a_mark_of_some_parameters_leaves_the_others_alone(run: Run, server: LocalServer) -> None:
    text = """
@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.httpcore_cassette)])
def test_a(n):
    assert len(requests.get(f"{URL}/bytes/{n}").content) == n
"""
    run(text, "--httpcore-cassettes=record").assert_outcomes(passed=2)
    run(None).assert_outcomes(passed=2)
    assert [one.path for one in server.requests] == ["/bytes/1", "/bytes/2", "/bytes/1"]


def test_the_fixture_works_without_the_mark(run: Run, server: LocalServer) -> None:
    text = """
def test_a(httpcore_cassette):
    assert requests.get(URL + "/").ok
    if httpcore_cassette.mode == "replay":
        assert httpcore_cassette.unused == []
    else:
        assert httpcore_cassette.unused == [] and httpcore_cassette.mode == "record"

def test_b(httpcore_cassette):
    if httpcore_cassette.mode == "record":
        requests.get(URL + "/bytes/1")
    else:
        assert httpcore_cassette.unused == ["GET " + URL + "/bytes/1"]
"""
    run(text, "--httpcore-cassettes=record").assert_outcomes(passed=2)
    server.stop()
    run(None).assert_outcomes(passed=2)


def test_modes(run: Run, pytester: pytest.Pytester, server: LocalServer) -> None:
    text = "@pytest.mark.httpcore_cassette(mode={!r})\ndef test_a():\n    requests.get(URL)\n"
    run(text.format("off")).assert_outcomes(passed=1)
    assert cassettes(pytester) == [] and len(server.requests) == 1
    run(text.format("new")).assert_outcomes(passed=1)
    run(text.format("new")).assert_outcomes(passed=1)
    assert len(cassettes(pytester)) == 1 and len(server.requests) == 2
    run(text.format("record"), "--httpcore-cassettes=replay").assert_outcomes(passed=1)
    run(text.format("record"), "--httpcore-cassettes=off").assert_outcomes(passed=1)
    assert len(server.requests) == 3
    result = run(text.format("rewind"))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the mode of a cassette is one of*, not 'rewind'*"])
    result = run("@pytest.mark.httpcore_cassette('a', 'b')\ndef test_a(): pass\n")
    result.stdout.fnmatch_lines(["*the mark `httpcore_cassette` takes one path, not ('a', 'b')*"])


def test_settings(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "import pytest\n\n@pytest.fixture\ndef httpcore_cassette_settings():\n"
        "    return {'filter_query': ['key'], 'match': ['method', 'path']}\n"
    )
    text = """
@pytest.mark.httpcore_cassette(filter_headers=["X-Key"])
def test_a(httpcore_cassette):
    key = httpcore_cassette.mode * 3
    url = URL + "/bytes/1?key=" + key
    assert requests.get(url, headers={"X-Key": key}, params={"mode": httpcore_cassette.mode}).ok
"""
    run(text, "--httpcore-cassettes=record").assert_outcomes(passed=1)
    (path,) = pytester.path.rglob("*.jsonl")
    assert "recordrecord" not in path.read_text()
    assert '{"header": "X-Key: [filtered]"}' in path.read_text()
    run(None).assert_outcomes(passed=1)


def test_idle_connections_of_before_and_after_are_not_used(run: Run, server: LocalServer) -> None:
    text = """
pool = httpcore.ConnectionPool()

def get(n):
    return len(pool.request("GET", f"{URL}/bytes/{n}").content) == n

def test_before():
    assert get(1)

@pytest.mark.httpcore_cassette
def test_with():
    assert get(2)
    assert get(3)
    assert len(pool.connections) == 1

def test_after():
    assert pool.connections == []
    assert get(4)
    pool.close()
"""
    run(text, "--httpcore-cassettes=record").assert_outcomes(passed=3)
    assert server.accepted == 3
    run(None).assert_outcomes(passed=3)
    assert [one.path[-1] for one in server.requests] == ["1", "2", "3", "4", "1", "4"]


def test_idle_connections_of_an_event_loop_that_goes_on(run: Run, server: LocalServer) -> None:
    """A loop for all tests, as plugins for asyncio can be told to have."""
    text = """
import asyncio

loop = asyncio.new_event_loop()
pool = httpcore.AsyncConnectionPool()

def get(size):
    return len(loop.run_until_complete(pool.request("GET", URL + f"/bytes/{size}")).content)

def test_before():
    assert get(1) == 1
    assert pool.stats()["idle"] == 1

@pytest.mark.httpcore_cassette
def test_with():
    assert pool.stats()["idle"] == 0
    assert get(2) == 2

def test_after():
    assert pool.stats()["idle"] == 0
    pool.close()
    loop.close()
"""
    run(text, "--httpcore-cassettes=record").assert_outcomes(passed=3)
    assert server.accepted == 2
    run(None).assert_outcomes(passed=3)
    assert server.accepted == 3  # that of the first test


def test_requests_settings_are_kept(run: Run, server: LocalServer) -> None:
    """The stand-in for an adapter of requests repeats as often as that does, and an adapter in the
    mark is closed after it."""
    text = """
from urllib3.util import Retry

@pytest.mark.httpcore_cassette
def test_a():
    session = requests.Session()
    policy = Retry(2, status_forcelist=[503], raise_on_status=False)
    session.mount("http://", requests.adapters.HTTPAdapter(max_retries=policy))
    for _ in range(2):
        assert session.get(URL + "/status/503").status_code == 503
"""
    run(text, "--httpcore-cassettes=record").assert_outcomes(passed=1)
    assert len(server.requests) == 6
    run(None).assert_outcomes(passed=1)


def test_retries_do_not_wait_in_a_replay(run: Run, pytester: pytest.Pytester) -> None:
    text = """
import time

@pytest.mark.httpcore_cassette
def test_a(httpcore_cassette, monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with httpcore.ConnectionPool(retries=httpcore.RetryConfig(statuses={503})) as pool:
        assert pool.request("GET", URL + "/status/503").status == 503
    assert bool(waits) == (httpcore_cassette.mode == "record")
"""
    run(text, "--httpcore-cassettes=record").assert_outcomes(passed=1)
    run(None).assert_outcomes(passed=1)


def test_a_resolver_is_kept(run: Run, server: LocalServer) -> None:
    text = """
@pytest.mark.httpcore_cassette
def test_a():
    url = URL.replace("127.0.0.1", "nowhere.test") + "/bytes/1"
    with httpcore.ConnectionPool(resolver=lambda *args: ["127.0.0.1"]) as pool:
        assert pool.request("GET", url).status == 200
"""
    run(text, "--httpcore-cassettes=record").assert_outcomes(passed=1)
    server.stop()
    run(None).assert_outcomes(passed=1)


def test_a_broken_cassette_names_file_and_line(run: Run, pytester: pytest.Pytester) -> None:
    path = pytester.path / "c.jsonl"
    path.write_text('{"cassette": "httpcore", "version": 1}\n<<<<<<< HEAD\n')
    result = run("@pytest.mark.httpcore_cassette('c.jsonl')\ndef test_a(): pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{path}, line 2: this is not a line of JSON*"])


def test_what_could_not_be_recorded_is_an_error(run: Run) -> None:
    text = """
@pytest.mark.httpcore_cassette(filter_fields=["token"])
def test_a():
    try:
        requests.get(URL + "/headers?Content-Encoding=br&X=y", stream=True)
        requests.post(URL + "/echo", data=b"{}", headers={"Content-Encoding": "br"})
    except requests.ConnectionError:
        pass
"""
    result = run(text, "--httpcore-cassettes=record")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*cannot be recorded: its body has the Content-Encoding br*"])


def test_it_works_where_there_is_no_requests(
    run: Run, monkeypatch: pytest.MonkeyPatch, server: LocalServer
) -> None:
    text = "@pytest.mark.httpcore_cassette\ndef test_a():\n    httpcore.request('GET', URL)\n"
    for args in (("--httpcore-cassettes=record",), ()):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "httpcore_requests", None)
            run(text.replace("URL", f"{server.url!r}"), *args)
    # The imports at the top of the file are of requests, so it is the plugin's own part here.
    backend = httpcore.RecordingBackend(None, Path("c.jsonl"))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "httpcore_requests", None)
        genuine = requests.adapters.HTTPAdapter.send
        with pytest_plugin._in_place(backend, pytest_plugin._twin_of(backend)):
            assert requests.adapters.HTTPAdapter.send is genuine
            assert httpcore.request("GET", server.url).status == 200
    assert '{"request"' in Path("c.jsonl").read_text()


def test_our_own_adapters_are_left_as_they_are(server: LocalServer, tmp_path: Path) -> None:
    """With `install()` too, where requests' name for its adapter is ours."""
    with httpcore.RecordingBackend(None, tmp_path / "c.jsonl") as backend:
        with (
            pytest_plugin._in_place(backend, pytest_plugin._twin_of(backend)),
            Session() as session,
        ):
            assert session.get(server.url).ok
            assert type(session.get_adapter(server.url)) is HTTPAdapter
            assert len(session.get_adapter(server.url).pool.connections) == 1
            session.close()


def test_it_comes_only_when_it_is_asked_for(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that every run of pytest loads may meet names of other plugins, and costs time."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert "pytest11" not in setup["options.entry_points"]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest('pytest_plugins = ["httpcore.pytest_plugin"]')
    shown = pytester.runpytest("--markers", "--fixtures", "-p", "no:cacheprovider")
    shown.stdout.fnmatch_lines(["@pytest.mark.httpcore_cassette(path=None, *"])
    shown = pytester.runpytest("--help")
    shown.stdout.fnmatch_lines(["*--httpcore-cassettes=MODE*"])


def test_its_names_meet_nobody_elses() -> None:
    assert pytest_plugin.OPTION.startswith("--httpcore-")
    assert pytest_plugin.CASSETTE.startswith("httpcore_")
    fixtures = [
        name
        for name, value in vars(pytest_plugin).items()
        if type(value).__name__ == "FixtureFunctionDefinition"
    ]
    assert fixtures == ["httpcore_cassette_settings", "httpcore_cassette"]


def test_it_lives_beside_a_plugin_with_the_names_that_it_had(
    run: Run, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest(
        "import pytest\n\ndef pytest_addoption(parser):\n"
        "    parser.addoption('--cassette')\n\n"
        "def pytest_configure(config):\n"
        "    config.addinivalue_line('markers', 'cassette: of somebody else')\n\n"
        "@pytest.fixture\ndef cassette():\n    return 'theirs'\n"
    )
    text = (
        "@pytest.mark.cassette\ndef test_a(cassette):\n    assert cassette == 'theirs'\n"
        "@pytest.mark.httpcore_cassette\ndef test_b(cassette, httpcore_cassette):\n"
        "    assert cassette == 'theirs' and httpcore_cassette.mode == 'record'\n"
    )
    run(text, "--httpcore-cassettes=record", "--cassette=x").assert_outcomes(passed=2)
