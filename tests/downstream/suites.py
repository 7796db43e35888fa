"""The suites: which there are, and what each needs to run.

Owns: facts about other projects' tests. Must not know: how they are run.

To add one: an entry here, a ``lists/NAME.txt`` (empty at first), its packages into
``requirements.txt`` by ``scripts/downstream --bump``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """One project's test suite.

    Attributes:
        name: the project on the package index; its pinned version is the one that is tested.
        tests_of: the version whose source distribution has the tests, where that is another.
        without: files and directories of the source distribution that must not be there.
        needs: requirements beside the project itself, without versions.
        plugins: pytest plugins by module name; none is found by itself.
        arguments: further arguments for pytest.
        environment: variables that the suite asks for.
        path: directories of the source distribution that hold what its tests import.
        stand_in: names that lead to servers on this machine, see `plugin/stand_in.py`.
        requests: the least number of requests that our adapter must have sent. 0 where the
            suite only makes adapters, or brings connection pools of its own.
        core: it stands on httpcore itself, not on requests: ours takes the place of 1.0.9, and
            `requests` counts what goes through its pools.
        http2: it is run a second time with HTTP/2 switched on in every adapter; so many
            responses, at the least, must have come over it then. 0: it is not run again.
        session: it is run once more with our session in the place of requests', too.
    """

    name: str
    tests_of: str = ""
    without: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()
    stand_in: tuple[str, ...] = ()
    requests: int = 0
    core: bool = False
    http2: int = 0
    session: bool = False


SUITES = {
    suite.name: suite
    for suite in [
        Suite(
            "requests",
            needs=(
                *("requests[socks]", "pytest-httpbin", "httpbin", "pytest-mock", "trustme"),
                "hypercorn",
            ),
            plugins=("pytest_httpbin.plugin", "pytest_mock"),
            arguments=("tests",),
            stand_in=("10.255.255.1",),
            requests=250,
            http2=200,
            session=True,
        ),
        Suite(
            "requests-toolbelt",
            needs=("betamax", "pyopenssl", "trustme"),
            # Stands in recorded bodies for the address of whoever recorded them, and must be as
            # long: the bodies are read by their recorded Content-Length.
            environment=(("IPADDR", "198.51.100.100"),),
            session=True,
        ),
        Suite(
            "responses",
            needs=("pyyaml", "tomli-w", "pytest-asyncio", "pytest-httpserver"),
            plugins=("pytest_asyncio.plugin", "pytest_httpserver.pytest_plugin"),
            arguments=("--asyncio-mode=auto",),
            requests=10,
            session=True,
        ),
        Suite(
            "requests-mock",
            needs=("fixtures", "purl", "testtools", "requests-futures"),
            plugins=("requests_mock.contrib._pytest_plugin",),
            session=True,
        ),
        Suite(
            "cachecontrol",
            # The source distribution of 0.14.4 has an empty directory in the place of its tests.
            # The tests of 0.14.3 are run with the code of the pinned version.
            tests_of="0.14.3",
            without=("cachecontrol",),
            needs=("cachecontrol[filecache,redis]", "cherrypy", "cheroot"),
            requests=50,
            session=True,
        ),
        Suite(
            "betamax",
            # Left over from a run, and in the way of the test that records it.
            without=("tests/cassettes/test_record_once.json",),
            needs=("httpbin", "cheroot", "trustme"),
            plugins=("betamax.fixtures.pytest",),
            stand_in=("httpbin.org", "api.github.com", "www.amazon.com"),
            requests=20,
            session=True,
        ),
        # Its adapter overrides get_connection with a urllib3 pool of its own: ours must let it.
        Suite("requests-unixsocket", needs=("waitress",)),
        Suite(
            "httpcore",
            without=("httpcore",),
            needs=(
                "httpcore[asyncio,http2,socks,trio]",
                "pytest-httpbin",
                "httpbin",
                "pytest-trio",
            ),
            plugins=("anyio.pytest_plugin", "pytest_httpbin.plugin", "pytest_trio.plugin"),
            arguments=("tests",),
            requests=120,
            core=True,
        ),
        Suite(
            "httpx",
            # Without its extra cli, which wants an older rich than the others. requests warns of
            # chardet 6 and later, and HTTPX's tests know what 5 guesses.
            needs=(
                *("httpx[brotli,http2,socks,zstd]", "click", "pygments", "rich"),
                *("uvicorn", "trustme", "trio", "chardet<6"),
            ),
            plugins=("anyio.pytest_plugin",),
            # "network" marks what needs the internet. test_pool_timeout wants a connection to be
            # taken until a response of 13 bytes is closed. Ours is free as soon as all of it is
            # there, so that the test passes or fails with how the server's bytes fall into packets.
            arguments=(
                *("tests", "-m", "not network"),
                "--deselect=tests/test_timeouts.py::test_pool_timeout",
            ),
            requests=85,
            core=True,
        ),
        Suite(
            "httpie",
            needs=("pytest-httpbin", "pytest-mock", "responses", "pyopenssl"),
            plugins=("pytest_httpbin.plugin", "pytest_mock"),
            # The tests of its plugin manager let pip install things. One test fails for root, who
            # may read every file; another one gives a subprocess a tenth of a second.
            arguments=(
                *("tests", "--ignore=tests/test_plugins_cli.py"),
                *("-k", "not test_config_file_inaccessible and not test_stdin_read_warning"),
            ),
            requests=400,
        ),
        Suite(
            "docker",
            # Later source distributions have no tests. Those of 6.1.3 are run with the code of the
            # pinned version, which no longer has the module that one file tests.
            tests_of="6.1.3",
            without=("docker", "tests/unit/ssladapter_test.py"),
            needs=("docker[ssh]",),
            arguments=("tests/unit",),
            requests=5,
        ),
        Suite(
            "yt-dlp",
            # It has settings for pytest that pytest 9.2 does not take.
            without=("pyproject.toml",),
            needs=("brotlicffi", "pysocks"),
            # What its requests handler does; its other handlers have nothing to do with us. Two
            # tests need a network in which packets to 10.255.255.255 vanish.
            arguments=(
                *("test/test_networking.py", "test/test_http_proxy.py", "test/test_socks.py"),
                *("-k", "Requests and not test_connect_timeout and not test_allproxy"),
            ),
            requests=50,
        ),
        Suite(
            "sphinx",
            needs=("defusedxml",),
            arguments=("tests/test_builders/test_build_linkcheck.py",),
            requests=120,
        ),
        Suite(
            "azure-core",
            needs=("flask", "opentelemetry-sdk"),
            path=("tests", "tests/specs_sdk/modeltypes", "tests/testserver_tests/coretestserver"),
            # Without what is asynchronous, and without what asks for Azure's own test tools. And
            # without a test that replaces urllib3's connecting, and passes with ours as long as
            # the loopback takes more than the 0.1 ms that it allows.
            arguments=(
                *("tests", "--ignore=tests/async_tests", "--ignore=tests/perf_tests"),
                *("--ignore=tests/test_tracing_live.py", "-k"),
                "not test_get_running_async_module and not test_requests_timeout_request",
            ),
            requests=150,
        ),
        Suite(
            "opentelemetry-instrumentation-requests",
            needs=("opentelemetry-test-utils", "mocket"),
            arguments=("tests",),
            requests=60,
            session=True,
        ),
        # Its tests of requests go through requests-mock; what is left are its subclass of the
        # adapter, its TLS settings and its proxies.
        Suite(
            "streamlink",
            needs=("pytest-trio", "requests-mock", "freezegun"),
            arguments=("tests/session", "tests/stream"),
        ),
    ]
}

# How a suite is run: with our adapter, with ours and HTTP/2, with our session and adapter, with
# those of requests.
OURS, HTTP2, SESSION, STOCK = "ours", "http2", "session", "stock"

# What the adapter itself stands on, and what every suite runs under.
COMMON = ("h11", "h2", "certifi", "idna", "requests", "urllib3", "pytest", "pytest-timeout")

# Not pinned, with the reason.
UNPINNED = {"greenlet": "httpbin asks for another version under each version of Python"}
