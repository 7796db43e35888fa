"""The benchmarks of gateways: that they measure what they say. Never how fast anything is."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks import (
    cases,
    gateways,
    load,
    processes,
    publish,
    report,
    runner,
    servers,
    slow_peers,
)
from tests.support import MIB, PATIENCE
from tests.support.benchmarks import ROUNDS, measure

pytest.importorskip("uvicorn", reason="the extra gateway is not installed")
pytest.importorskip("httptools")
pytest.importorskip("uvloop")

PEERS = (cases.OURS, cases.HELLO, cases.NGINX)
CHECKS = ("memory-gateway-download", "memory-gateway-upload")

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
needs_proc = pytest.mark.skipif(not gateways.has_proc(), reason="needs /proc")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    if shutil.which("wrk") is None or servers.nginx_path() is None:
        pytest.skip("wrk or nginx is not installed")
    directory = tmp_path_factory.mktemp("benchmarks-gateway")
    return measure(directory, "nginx", PEERS, "gateway-32", *CHECKS, scale=0.1)


@needs_proc
def test_every_gateway_is_measured_under_load(outcome: tuple[str, dict[str, Any]]) -> None:
    (case,) = outcome[1]["cases"]
    assert set(case["absent"]) == set(case["skipped"]) <= {"ours-granian"}
    assert {*PEERS} <= set(case["contestants"])
    assert case["seconds"] == 1
    for label, contestant in case["contestants"].items():
        assert len(contestant["rounds"]) == ROUNDS
        for turn in contestant["rounds"]:
            assert turn["requests"] > 0
            assert 0 < turn["p50"] <= turn["p99"] <= turn["wall"]
            # Without its worker process it would burn nothing.
            assert turn["cpu"] > 0, label
    assert set(case["ratios"]["nginx"]) == {"wall", "cpu", "p50", "p99"}


def test_the_table_shows_rates_and_latencies(outcome: tuple[str, dict[str, Any]]) -> None:
    printed = outcome[0]
    for word in ("requests/s", "p99 ms", "(1 s a round)", "wall <= 6.667 x nginx"):
        assert word in printed


@needs_proc
def test_memory_checks_move_every_byte_after_the_sender_had_to_stop(
    outcome: tuple[str, dict[str, Any]],
) -> None:
    printed, document = outcome
    assert [check["name"] for check in document["memory"]] == list(CHECKS)
    for check in document["memory"]:
        assert check["moved"] == round(cases.GIGA * 0.1)
        assert 0 < check["held"] < check["moved"]
    assert printed.count("while nobody read") == len(CHECKS)


# --- the proxies by hand ---


class Upstream(BaseHTTPRequestHandler):
    """Says what came, and sends fields that concern one connection only."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        if self.headers["Transfer-Encoding"] != "chunked":
            self.answer(self.rfile.read(int(self.headers["Content-Length"])))
            return
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.answer(body)

    def answer(self, received: bytes) -> None:
        status = 302 if self.path == "/moved" else 404 if self.path == "/lost" else 200
        document = {
            "line": self.requestline,
            "fields": [[name.lower(), value] for name, value in self.headers.items()],
            "body": received.decode(),
        }
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "keep-alive, X-Secret")
        self.send_header("X-Secret", "of one connection")
        # No client may decode it on the way: it could not.
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Set-Cookie", "a=1; Path=/")
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = False  # so that its end waits for them
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class Here(processes.Interpreters):
    """Every contestant in the interpreter of the tests."""

    def of(self, peer: str, kind: str = "") -> str:
        return sys.executable


@contextmanager
def open_proxy(peer: str, upstream: int) -> Iterator[int]:
    """A proxy by hand under uvicorn; its port."""
    (port,) = servers.free_ports(1)
    contestant = cases.Contestant(peer, peer, connections=4)
    process = gateways.start(contestant, gateways.Place(upstream, "/", 0, Path()), port, Here())
    try:
        yield port
    finally:
        process.close()


@pytest.fixture(params=[cases.HTTPX, cases.AIOHTTP])
def proxy(request: pytest.FixtureRequest) -> Iterator[int]:
    pytest.importorskip(request.param)
    with serve(Upstream) as upstream, open_proxy(request.param, upstream) as port:
        yield port


def ask(
    port: int, method: str, path: str, body: Any = None, **fields: str
) -> tuple[http.client.HTTPResponse, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, path, body, headers, encode_chunked=True)
        response = connection.getresponse()
        return response, json.loads(response.read())
    finally:
        connection.close()


def test_a_proxy_by_hand_passes_a_request_on_as_it_is(proxy: int) -> None:
    for _ in range(2):  # no cookie of the first answer in the second
        response, document = ask(proxy, "GET", "/a%2Fb/../c?d=%20", Host="name.example")
        assert response.status == 200
        assert document["line"] == "GET /a%2Fb/../c?d=%20 HTTP/1.1"
        fields = dict(document["fields"])
        fields.pop("connection", None)  # of the client's own
        assert fields == {
            "host": "name.example",
            "accept-encoding": "identity",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-proto": "http",
            "x-forwarded-host": "name.example",
        }


def test_a_proxy_by_hand_takes_out_what_concerns_one_connection(proxy: int) -> None:
    sent = {"X_Own": "1", "X_Kept": "2", "TE": "trailers", "X_Forwarded_For": "192.0.2.1"}
    response, document = ask(proxy, "GET", "/", Connection="X-Own, TE", **sent)
    names = [name for name, _ in document["fields"]]
    assert "x-kept" in names
    assert not {"x-own", "te"} & {*names}
    assert dict(document["fields"])["x-forwarded-for"] == "127.0.0.1"
    assert response.headers["X-Secret"] is None
    assert response.headers["Content-Encoding"] == "gzip"


def test_a_proxy_by_hand_follows_no_redirect(proxy: int) -> None:
    response, document = ask(proxy, "GET", "/moved")
    assert (response.status, response.headers["Location"]) == (302, "/elsewhere")
    assert document["line"].startswith("GET /moved ")


@pytest.mark.parametrize("body", ["abc", [b"ab", b"c"]], ids=["length", "chunked"])
def test_a_proxy_by_hand_passes_a_body_on(proxy: int, body: Any) -> None:
    fields = {} if isinstance(body, str) else {"Transfer_Encoding": "chunked"}
    _, document = ask(proxy, "POST", "/", body, **fields)
    assert document["body"] == "abc"
    framing = {name for name, _ in document["fields"]} & {"content-length", "transfer-encoding"}
    assert framing == {"content-length" if isinstance(body, str) else "transfer-encoding"}


@pytest.mark.parametrize("peer", [cases.HTTPX, cases.AIOHTTP])
def test_a_proxy_by_hand_answers_for_an_upstream_that_is_gone(peer: str) -> None:
    pytest.importorskip(peer)
    (nothing,) = servers.free_ports(1)
    with open_proxy(peer, nothing) as port:
        with pytest.raises(processes.WorkerError, match="status 502, 0 of 13 bytes came"):
            gateways.check_answer(f"http://127.0.0.1:{port}/small", 13)


def test_what_is_not_installed_here_cannot_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    pins = processes.pins_of(cases.HTTPX, cases.GATEWAY)
    assert {"httpx", "httpcore", "uvicorn", "httptools", "uvloop"} == set(pins)
    assert pins["httpcore"] == "1.0.9"
    assert processes.pins_of(cases.OURS, cases.GATEWAY) == {}
    monkeypatch.setattr(processes, "_SERVERS", ("no-such-distribution",))
    with pytest.raises(processes.Skipped, match="not installed: no-such-distribution"):
        processes.pins_of(cases.HTTPX, cases.GATEWAY)


# --- load ---

WRK = """\
Running 1s test @ http://127.0.0.1:1/
  1 threads and 32 connections
  2000 requests in 1.00s, 2MB read
{"requests": 2000, "bytes": 60000, "wall": 1.01, "p50": 0.002, "p99": 0.004, "errors": \
{"connect": 0, "read": 0, "write": 0, "timeout": 0, "status": 0}}
"""

OHA = {
    "summary": {"total": 1.01, "totalData": 26000, "successRate": 1.0},
    "latencyPercentiles": {"p50": 0.002, "p99": 0.004},
    "statusCodeDistribution": {"200": 1990, "304": 10},
    "errorDistribution": {"aborted due to deadline": 32},
}


def test_both_generators_say_the_same() -> None:
    wrk, oha = load.read_wrk(WRK), load.read_oha(json.dumps(OHA))
    assert wrk[:1] + wrk[2:5] == oha[:1] + oha[2:5] == (2000, 1.01, 0.002, 0.004)
    for each in (wrk, oha):
        each.check(13)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"errors": {"status": 2, "read": 0, "timeout": 1}}, "status: 2 errors, timeout: 1 errors"),
        ({"requests": 0}, "no request was finished within 1.0 seconds"),
        ({"received": 12 * 2000}, "24000 bytes in 2000 bodies of 13"),
    ],
)
def test_a_round_with_an_error_is_void(change: dict[str, Any], text: str) -> None:
    with pytest.raises(load.LoadError, match=text):
        load.read_wrk(WRK)._replace(**change).check(13)


def test_oha_counts_what_was_refused_and_what_failed() -> None:
    statuses, errors = {"200": 7, "503": 2, "100": 1}, {"connection refused": 3}
    document = {**OHA, "statusCodeDistribution": statuses, "errorDistribution": errors}
    document["latencyPercentiles"] = {"p50": None, "p99": None}
    found = load.read_oha(json.dumps(document))
    assert found.errors == {"connection refused": 3, "status": 3}
    assert (found.requests, found.p50) == (10, 0.0)


def test_a_generator_that_fails_says_why() -> None:
    def command(url: str, connections: int, seconds: int) -> list[str]:
        return [sys.executable, "-c", url]

    generator = load.Generator("some", command, load.read_wrk)
    with pytest.raises(load.LoadError, match="some: out of order"):
        generator.run("import sys; sys.exit('out of order')", 1, 1)
    with pytest.raises(load.LoadError, match="some printed something else: 'hello"):
        generator.run("print('hello')", 1, 1)


def test_without_a_generator_the_case_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    server = servers.Server("none", None, 1, 2)  # type: ignore[arg-type]
    bench = runner.Bench(server, server, tmp_path, tmp_path, runner.Settings(1, 0.1))
    case = next(case for case in cases.CASES if case.name == "gateway-32")
    result = bench.time(case)
    (line,) = report.case_lines(result, [])
    assert line.endswith("needs wrk (apt-get install wrk) or oha")
    assert report.failures({"cases": [result], "memory": []}) == []


def test_oha_stands_in_for_wrk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "oha"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(OHA)}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(shutil, "which", lambda name: str(program) if name == "oha" else None)
    generator = load.find(tmp_path)
    assert generator is not None
    assert generator.run("http://127.0.0.1:1/", 2, 1) == load.read_oha(json.dumps(OHA))


class Itself:
    """This process in the place of a gateway."""

    pid = os.getpid()
    version = "1"

    def close(self) -> None:
        """End nothing."""


@needs_wrk
def test_a_gateway_that_refuses_gives_no_figures(tmp_path: Path) -> None:
    generator = load.find(tmp_path)
    assert generator is not None
    with serve(Upstream) as port:
        url = f"http://127.0.0.1:{port}/lost"
        gateway = gateways.Gateway(Itself(), url, 2, 0, generator)
        with pytest.raises(processes.WorkerError, match=r"status: \d+ errors"):
            gateway.ask({"seconds": 1})
        with pytest.raises(processes.WorkerError, match="status 404"):
            gateway.warm_up()


# --- what is watched from outside ---

BURN = "import time\nwhile time.process_time() < 1: pass"
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])\ninput()"


@needs_proc
def test_what_children_burn_counts_while_they_run_and_after() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE) as parent:
        seen: set[int] = set()
        deadline = time.monotonic() + PATIENCE
        while gateways.cpu_seconds(parent.pid) < 1 and time.monotonic() < deadline:
            seen |= {*gateways.family(parent.pid)}
        assert len(seen) == 2
        gateways.settle(parent.pid)
        assert gateways.cpu_seconds(parent.pid) >= 1
        parent.communicate(b"\n")


@pytest.mark.parametrize("move", [slow_peers.download, slow_peers.upload])
def test_a_slow_peer_makes_the_other_one_stop(move: Any) -> None:
    size = 64 * MIB
    with slow_peers.open_upstream(size) as upstream:
        slow_peers.warm_up(upstream.port)
        moved, held = move(upstream.port, upstream, size)
    assert moved == size
    assert 0 < held < size


# --- what becomes of the figures ---


def turn(requests: int, p99: float) -> dict[str, float]:
    return {"requests": requests, "wall": 2.0, "cpu": 1.0, "p50": p99 / 2, "p99": p99}


def result() -> dict[str, Any]:
    turns = {cases.OURS: [turn(3000, 0.01)] * 2, cases.HTTPX: [turn(500, 0.04)] * 2}
    contestants = {label: runner.summary(rounds, "1") for label, rounds in turns.items()}
    more = {"contestants": contestants, "ratios": runner.ratios(turns), "absent": {}, "failed": {}}
    return {"name": "gateway-32", "title": "a gateway", "seconds": 2, **more}


def test_a_rate_is_shared_by_the_requests_and_a_latency_is_not() -> None:
    ratio = result()["ratios"][cases.HTTPX]
    assert {metric: round(value, 3) for metric, value in ratio.items()} == {
        "wall": 0.167,
        "cpu": 0.167,
        "p50": 0.25,
        "p99": 0.25,
    }
    assert result()["contestants"][cases.OURS]["p99_us"] == 10_000


def test_six_times_the_rate_is_a_sixth_of_the_time() -> None:
    verdicts = {
        (each["metric"], each["contestant"]): each["met"] for each in runner.judge([result()])
    }
    assert verdicts == {
        ("wall", cases.HTTPX): True,
        ("wall", cases.AIOHTTP): None,
        ("wall", cases.NGINX): None,
        ("p99", cases.AIOHTTP): None,
    }


def test_the_page_has_rates_before_the_rest() -> None:
    document = {
        "when": "2030-01-02T03:04:05+00:00",
        "python": "CPython 3",
        "machine": "Somewhere",
        "load": None,
        "server": "nginx",
        "rounds": 2,
        "memory": [],
        "targets": [],
        "cases": [result()],
    }
    text = publish.page(document)
    row = text[text.index("   * - httpx") :].splitlines()[:7]
    values = ("httpx", "6.00", "0.25", "0.17", "1,500, 250", "10, 40 ms", "333, 2000")
    assert [line[7:] for line in row] == list(values)
