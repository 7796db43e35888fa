"""`httpcore_requests.Session` beside `requests.Session`: the same program has to come to the same.

Owns: running random programs with both, and saying where they part. Must not know: what programs
do (that is `tests.support.sessions`), which ways our session has.

Compared are prepared requests and settings as the adapter is given them, responses, histories and
cookies, exceptions with their texts, what became of the caller's arguments, and the session's
attributes afterwards.
"""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import httpcore_requests
from httpcore_requests import _session
from tests.support.examples import examples
from tests.support.sessions import CALLS, Program, Runner, draw_program, frozen

#: Calls of the long form.
MANY = 1_000_000
#: Programs of it between two lines of progress.
PROGRESS = 1_000


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with frozen(requests.sessions, _session), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # requests warns of files in text mode, for one
        yield Runner(tmp_path_factory.mktemp("home"))


def assert_same(runner: Runner, program: Program, note: str = "") -> None:
    stock = runner.run(program, requests.Session)
    ours = runner.run(program, httpcore_requests.Session)
    if stock != ours:
        steps = zip(program, stock, ours, strict=True)
        step, expected, got = next(each for each in steps if each[1] != each[2])
        parts = [pair for pair in zip(expected, got, strict=True) if pair[0] != pair[1]]
        texts = [f"requests: {theirs}\nours:     {our}" for theirs, our in parts]
        pytest.fail("\n".join([note, f"{step[0]} {step[1]}", *texts]), pytrace=False)


@settings(
    max_examples=examples(1200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(draw=st.randoms(use_true_random=False))
def test_both_sessions_do_the_same(runner: Runner, draw: random.Random) -> None:
    assert_same(runner, draw_program(draw))


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.no_cover
def test_both_sessions_do_the_same_a_million_times(runner: Runner) -> None:
    first = time.time_ns() // 1000
    calls = seed = 0
    while calls < MANY:
        program = draw_program(random.Random(first + seed))
        calls += sum(kind in CALLS for kind, _ in program)
        assert_same(runner, program, f"seed {first + seed}")
        seed += 1
        if seed % PROGRESS == 0:
            print(f"{calls} calls in {seed} programs from seed {first}", flush=True)  # noqa: T201
    print(f"no difference in {calls} calls of {seed} programs")  # noqa: T201


def test_a_difference_would_be_seen(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared is more than nothing: a session that adds a header is found out."""
    program: Program = [("request", ("GET", "http://a.test/", {}, []))]
    assert_same(runner, program)
    plain = httpcore_requests.Session.get_adapter

    def adding(self: requests.Session, url: str) -> Any:
        self.headers["X-Added"] = "1"
        return plain(self, url)

    monkeypatch.setattr(httpcore_requests.Session, "get_adapter", adding)
    with pytest.raises(pytest.fail.Exception, match="X-Added"):
        assert_same(runner, program)
