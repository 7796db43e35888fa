"""The benchmarks: that they run and say what they should. Never how fast anything is."""

from __future__ import annotations

import importlib.metadata
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import httpcore
from benchmarks import cases, processes, report, runner, servers
from tests.support.benchmarks import ROUNDS, measure, run

PEERS = ("ours", "urllib3", "socket")
ASYNC_PEERS = ("ours", "asyncio")
HTTP2_PEERS = ("ours", "bare-h2", "stock")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    timed = ("get", "tls-get", "post-64k", "threads-32", "h2-get")
    checks = ("memory-upload", "memory-content", "memory-h2-closed")
    directory = tmp_path_factory.mktemp("benchmarks")
    return measure(directory, "embedded", PEERS, *timed, *checks, scale=0.01)


@pytest.fixture(scope="module")
def async_outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    names = ("async-get", "async-tasks-1000", "async-tls-get", "async-trio-get")
    directory = tmp_path_factory.mktemp("benchmarks-async")
    return measure(directory, "embedded", ASYNC_PEERS, *names, scale=0.01)[1]


@pytest.fixture(scope="module")
def http2_outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    program = servers.nginx_path()
    if program is None or not servers.ask_nginx(program)[1]:
        pytest.skip("nginx with HTTP/2 is not installed")
    timed = ("h2-get", "h2-threads-16", "h2-session-get", "async-h2-tasks-100")
    checks = ("memory-h2-closed", "memory-h2-unread")
    directory = tmp_path_factory.mktemp("benchmarks-http2")
    return measure(directory, "nginx", HTTP2_PEERS, *timed, *checks, scale=0.02)


def test_every_contestant_is_measured_in_every_round(outcome: tuple[str, dict[str, Any]]) -> None:
    document = outcome[1]
    names = [case["name"] for case in document["cases"]]
    assert names == ["get", "tls-get", "post-64k", "threads-32", "h2-get"]
    for case in document["cases"]:
        assert case["absent"] == {}
        assert tuple(case["contestants"]) == (() if case["name"] == "h2-get" else PEERS)
        for contestant in case["contestants"].values():
            assert len(contestant["rounds"]) == ROUNDS
            assert contestant["wall_us"] > 0
            assert contestant["version"]
        assert set(case["ratios"]) == {*case["contestants"]} - {"ours"}


def test_imports_are_measured_in_processes_of_their_own(tmp_path: Path) -> None:
    peers = ("ours", "stock")
    document = measure(tmp_path, "embedded", peers, "import", "import-adapter", scale=0.01)[1]
    alone, adapter = document["cases"]
    assert tuple(alone["contestants"]) == ("ours",)
    assert tuple(adapter["contestants"]) == peers
    for contestant in adapter["contestants"].values():
        assert all(turn["requests"] == 1 for turn in contestant["rounds"])


def test_every_contestant_of_an_event_loop_is_measured(async_outcome: dict[str, Any]) -> None:
    by_name = {case["name"]: case for case in async_outcome["cases"]}
    for case in by_name.values():
        assert set(case["absent"]) == set(case["skipped"])
        assert "ours" in case["contestants"]
        assert all(len(each["rounds"]) == ROUNDS for each in case["contestants"].values())
    assert "asyncio" in by_name["async-get"]["ratios"]
    assert "asyncio" in by_name["async-tls-get"]["ratios"]
    assert "ours-asyncio" in by_name["async-trio-get"]["ratios"]


def test_a_round_has_a_request_for_each_task(async_outcome: dict[str, Any]) -> None:
    by_name = {case["name"]: case for case in async_outcome["cases"]}
    crowd = by_name["async-tasks-1000"]["contestants"]
    assert [turn["requests"] for turn in crowd["ours"]["rounds"]] == [1000] * ROUNDS
    assert [turn["requests"] for turn in crowd["ours-100-on-100"]["rounds"]] == [100] * ROUNDS


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[servers.Server]:
    servers.make_certificates(tmp_path)
    server = servers.start_embedded(tmp_path)
    yield server
    server.stop()


def open_worker(server: servers.Server, **fields: Any) -> processes.Worker:
    """A worker of three tasks in the interpreter of the tests."""
    length = len(cases.SMALL_BODY)
    job = {"url": server.url("/small"), "received": length, "threads": 3, "connections": 2}
    return processes.Worker(sys.executable, {**job, **fields})


def test_httpx_runs_on_ours(embedded: servers.Server) -> None:
    worker = open_worker(embedded, peer=cases.OURS, kind=cases.UNDER_HTTPX)
    try:
        assert worker.version.endswith(f" on httpcore {httpcore.__version__}")
        turn = worker.ask({"requests": 7})
        assert turn["requests"] == 6
        assert turn["wall"] > 0
    finally:
        worker.close()


def test_an_answer_too_short_is_found_in_a_task(embedded: servers.Server) -> None:
    with pytest.raises(processes.WorkerError, match="13 of 14 bytes came"):
        open_worker(embedded, peer=cases.ASYNCIO, kind=cases.ASYNC, received=14)


def test_a_server_that_closes_fails_the_floor(embedded: servers.Server) -> None:
    worker = open_worker(embedded, peer=cases.ASYNCIO, kind=cases.ASYNC)
    try:
        embedded.stop()
        with pytest.raises(processes.WorkerError, match=r"ConnectionError|ConnectionReset"):
            worker.ask({"requests": 3})
    finally:
        worker.close()


def test_http2_is_left_out_without_nginx_and_says_so(outcome: tuple[str, dict[str, Any]]) -> None:
    printed, document = outcome
    case, check = document["cases"][-1], document["memory"][-1]
    assert "does not speak HTTP/2; it needs nginx" in case["left_out"]
    assert check["left_out"] == case["left_out"]
    for name in ("h2-get", "memory-h2-closed"):
        assert any(
            line.startswith(f"{name}: ") and line.endswith(case["left_out"])
            for line in printed.splitlines()
        )
    assert check["met"] is None
    assert all(each["met"] is None for each in document["targets"] if each["case"] == "h2-get")


def test_http2_is_spoken_by_those_who_should(http2_outcome: tuple[str, dict[str, Any]]) -> None:
    """Each of them looks at the version once; one that falls back is absent."""
    by_name = {case["name"]: case for case in http2_outcome[1]["cases"]}
    assert set(by_name) == {"h2-get", "h2-threads-16", "h2-session-get", "async-h2-tasks-100"}
    for case in by_name.values():
        assert case["absent"] == {}
    assert set(by_name["h2-get"]["ratios"]) == {"bare-h2"}
    assert set(by_name["h2-session-get"]["ratios"]) == {"stock", "ours-http1"}


def test_http2_memory_checks_move_every_stream(
    http2_outcome: tuple[str, dict[str, Any]],
) -> None:
    printed, document = http2_outcome
    closed, unread = document["memory"]
    assert closed["moved"] == closed["streams"] == 20
    assert "(20 streams): grew by" in printed
    assert unread["moved"] == 9 * 2 * cases.MEGA


def test_a_round_has_a_request_for_each_thread(outcome: tuple[str, dict[str, Any]]) -> None:
    by_name = {case["name"]: case for case in outcome[1]["cases"]}
    for contestant in by_name["threads-32"]["contestants"].values():
        assert [turn["requests"] for turn in contestant["rounds"]] == [32] * ROUNDS


def test_targets_are_judged_where_their_contestant_ran(
    outcome: tuple[str, dict[str, Any]],
) -> None:
    judged = {
        (target["case"], target["metric"], target["contestant"]): target["met"] is not None
        for target in outcome[1]["targets"]
    }
    assert judged[("get", "wall", "urllib3")]
    assert judged[("threads-32", "wall", "urllib3")]
    assert not judged[("get", "cpu", "pycurl")]


def test_memory_checks_move_every_byte(outcome: tuple[str, dict[str, Any]]) -> None:
    sizes = {case.name: round(case.size * 0.01) for case in cases.MEMORY_CASES}
    checks = [check for check in outcome[1]["memory"] if "left_out" not in check]
    measured = {check["name"]: check["moved"] for check in checks}
    assert measured == {name: sizes[name] for name in ("memory-upload", "memory-content")}


def test_the_printed_table_names_everything(outcome: tuple[str, dict[str, Any]]) -> None:
    printed = outcome[0]
    for word in ("embedded", "get: small GET", "urllib3", "wall <= 0.45 x urllib3", "targets met"):
        assert word in printed


def test_an_unknown_peer_is_refused() -> None:
    finished = run("--only", "ours,curl")
    assert finished.returncode == 2
    assert "unknown peer curl" in finished.stderr


def test_targets_name_cases_and_contestants_that_exist() -> None:
    contestants = {case.name: {each.label for each in case.contestants} for case in cases.CASES}
    for target in cases.TARGETS:
        assert target.contestant in contestants[target.case]
        assert target.metric in runner.METRICS
    assert len(set(cases.NAMES)) == len(cases.NAMES)


#: Seconds that the link of the test adds to each way.
DELAY = 0.05


#: Bytes a second that a slow link carries, and how many are sent over it: 0.2 s' worth.
RATE = 400_000
SENT = b"".join(number.to_bytes(4, "big") for number in range(20_000))


@contextmanager
def open_link(rate: float = 0.0) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a link."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = servers.Server("", None, 0, 0, listener.getsockname()[1])  # type: ignore[arg-type]
        link = servers.start_link(server, DELAY, rate)
        try:
            with socket.create_connection(("127.0.0.1", link.port)) as near:
                far, _ = listener.accept()
                with far:
                    yield near, far
        finally:
            link.stop()


def receive(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def test_a_link_delays_both_ways() -> None:
    with open_link() as (near, far):
        start = time.monotonic()
        near.sendall(b"ping")
        assert far.recv(4) == b"ping"
        assert time.monotonic() - start >= DELAY
        far.sendall(b"pong")
        assert near.recv(4) == b"pong"
        assert time.monotonic() - start >= 2 * DELAY


def test_a_link_keeps_every_byte_in_order() -> None:
    # Less than fits into the buffers on the way: one thread can send it all, then read it.
    with open_link() as (near, far):
        for source, target in ((near, far), (far, near)):
            source.sendall(SENT)
            source.shutdown(socket.SHUT_WR)
            assert receive(target) == SENT


def test_a_link_has_a_rate() -> None:
    with open_link(RATE) as (near, far):
        start = time.monotonic()
        near.sendall(SENT)
        near.shutdown(socket.SHUT_WR)
        assert receive(far) == SENT
        assert time.monotonic() - start >= len(SENT) / RATE


def test_an_environment_is_known_by_its_versions() -> None:
    installed = {"h2": importlib.metadata.version("h2")}
    assert processes._has(sys.executable, installed)
    assert not processes._has(sys.executable, {"h2": "0.1"})
    assert not processes._has(sys.executable, {**installed, "no-such-distribution": "1"})
    assert not processes._has("no-such-interpreter", installed)


def test_an_asynchronous_half_has_what_it_needs_in_an_environment_of_its_own() -> None:
    assert processes.pins_of(cases.OURS, cases.ASYNC) == {}
    alone = processes.pins_of(cases.HTTPCORE_109, "import")
    assert alone == {"httpcore": "1.0.9"}
    beside = processes.pins_of(cases.HTTPCORE_109, cases.ASYNC)
    assert {**alone, **beside} == beside
    assert {"anyio", "trio"} < set(beside)
    assert processes._directory_name(alone) == "httpcore-1.0.9"
    assert processes._directory_name(beside) == "httpcore-1.0.9-anyio-trio"


def test_ours_under_httpx_runs_where_httpx_is() -> None:
    for peer in (cases.OURS, cases.HTTPX):
        pins = processes.pins_of(peer, cases.UNDER_HTTPX)
        assert pins == {"httpx": "0.28.1", "httpcore": "1.0.9"}


def turn(wall: float, cpu: float = 1.0, requests: int = 10) -> dict[str, float]:
    return {"wall": wall, "cpu": cpu, "requests": requests}


def test_a_ratio_is_the_median_over_rounds() -> None:
    turns = {"ours": [turn(1), turn(2), turn(9)], "urllib3": [turn(2), turn(8), turn(9)]}
    assert runner.ratios(turns) == {"urllib3": {"wall": 0.5, "cpu": 1.0}}


def test_a_ratio_compares_single_requests() -> None:
    turns = {"ours": [turn(1, requests=10)], "urllib3": [turn(1, requests=5)]}
    assert runner.ratios(turns)["urllib3"]["wall"] == 0.5


def test_a_clock_too_coarse_gives_no_ratio() -> None:
    turns = {"ours": [turn(1)], "urllib3": [turn(1, cpu=0.0)]}
    assert runner.ratios(turns)["urllib3"] == {"wall": 1.0, "cpu": None}


def test_a_summary_is_in_microseconds_for_one_request() -> None:
    summary = runner.summary([turn(1.0), turn(3.0), turn(2.0)], "1.1.0")
    assert summary["wall_us"] == 200_000
    assert summary["cpu_us"] == 100_000


def fail_times(count: int) -> Callable[[], str]:
    """Something that fails so often, then succeeds."""
    left = iter(range(count))

    def action() -> str:
        for number in left:
            raise processes.WorkerError(f"failure {number}")
        return "done"

    return action


def test_others_have_another_try_which_is_told() -> None:
    failed: dict[str, list[str]] = {}
    other = cases.Contestant("other", cases.HTTPCORE2)
    assert runner.persist(fail_times(runner.TRIES - 1), other, failed) == "done"
    assert failed == {"other": ["failure 0", "failure 1"]}
    result = {"name": "n", "title": "t", "requests": 1, "contestants": {}, "ratios": {}}
    printed = report.case_lines({**result, "absent": {}, "failed": failed}, [])
    assert "  other           failed 2 times, the last with: failure 1" in printed
    with pytest.raises(processes.WorkerError, match="failure 2"):
        runner.persist(fail_times(runner.TRIES), other, {})


def test_ours_has_one_try() -> None:
    ours = cases.Contestant("ours", cases.OURS)
    with pytest.raises(processes.WorkerError, match="failure 0"):
        runner.persist(fail_times(1), ours, {})


@pytest.mark.parametrize(("measured", "met"), [(0.45, True), (0.46, False), (None, None)])
def test_a_verdict(measured: float | None, met: bool | None) -> None:
    ratios = {"urllib3": {"wall": measured, "cpu": None}}
    verdicts = runner.judge([{"name": "get", "ratios": ratios}])
    (verdict,) = (v for v in verdicts if (v["metric"], v["contestant"]) == ("wall", "urllib3"))
    assert (verdict["limit"], verdict["measured"], verdict["met"]) == (
        0.45,
        measured,
        met,
    )


def test_what_of_ours_could_not_run_is_reported() -> None:
    document = {
        "cases": [{"name": "get", "absent": {"ours": "broken", "pycurl": "not installed"}}],
        "memory": [{"name": "memory-upload", "error": "broken"}],
    }
    assert report.failures(document) == ["get: ours: broken", "memory-upload: broken"]


def test_ours_without_a_loop_that_is_not_installed_is_no_failure() -> None:
    absent = {"ours": "broken", "ours-uvloop": "not installed: No module named 'uvloop'"}
    case = {"name": "async-get", "absent": absent, "skipped": ["ours-uvloop"]}
    assert report.failures({"cases": [case], "memory": []}) == ["async-get: ours: broken"]


def test_a_long_name_does_not_move_the_columns() -> None:
    summary = {"cpu_us": 1.0, "wall_us": 2.0}
    long = "httpcore2-2.16.2-trio"
    result = {"name": "n", "title": "t", "requests": 1, "ratios": {}, "absent": {}, "failed": {}}
    result["contestants"] = {"ours": summary, long: summary}
    _, head, mine, theirs = report.case_lines(result, [])
    assert len({len(head), len(mine), len(theirs)}) == 1
