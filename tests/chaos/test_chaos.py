"""The short form of the load with faults; ``scripts/soak`` runs the long one.

Owns: how much of it is enough here. Must not know: what goes wrong.
"""

from __future__ import annotations

import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.chaos.faults import FATAL, HTTP2, HTTP11, Chance, find_nonces, make_nonce
from tests.chaos.http11 import Asked, Server11, head
from tests.chaos.plans import Plan, Tally, Thrown, make_plan
from tests.chaos.rounds import KINDS, run_round
from tests.chaos.threads import Dropped, Interrupted

#: Threads or tasks, and requests of each.
FEW, EACH = 20, 8
LOOPS = [
    pytest.param(kind, marks=pytest.mark.skipif(not find_spec(kind), reason=f"no {kind}"))
    if kind in ("uvloop", "trio")
    else kind
    for kind in KINDS
]


@pytest.mark.no_cover
@pytest.mark.filterwarnings("ignore:unread response:ResourceWarning")
# A signal may strike in a destructor, where Python drops it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("rate", [0.0, 0.5], ids=["calm", "faults"])
@pytest.mark.parametrize("kind", LOOPS)
def test_nothing_is_lost_and_no_response_goes_astray(kind: str, rate: float) -> None:
    tally = run_round(kind, seed=1, workers=FEW, goes_on=lambda sent: sent < EACH, rate=rate)
    assert not tally.wrong
    assert tally.requests >= FEW * EACH
    assert tally.complete > 20


def a_plan(**changes: object) -> Plan:
    plan = make_plan(random.Random(1), ["http11"], 0.0)
    plan.fault, plan.size, plan.proxied = "", 40, False
    for name, value in changes.items():
        setattr(plan, name, value)
    return plan


def check(plan: Plan, body: bytes, fields: bytes = b"", whole: bool = True) -> list[str]:
    tally = Tally()
    tally.check(plan, 200, fields, body, whole)
    return tally.wrong


def test_a_right_response_is_right() -> None:
    plan = a_plan()
    assert check(plan, plan.nonce * 2, b"x-nonce:" + plan.nonce) == []
    assert check(plan, plan.nonce[:5], whole=False) == []


@pytest.mark.parametrize("by_field", [False, True])
def test_a_response_that_went_astray_is_found(by_field: bool) -> None:
    plan, other = a_plan(), make_nonce(random.Random(2))
    # A fault that garbles is no excuse.
    for fault in ("", "garble-head"):
        plan.fault = fault
        body, fields = (plan.nonce * 2, other) if by_field else (plan.nonce + other, b"")
        (text,) = check(plan, body, fields)
        assert "got the response to" in text and str(other) in text


def test_a_wrong_body_is_found() -> None:
    plan = a_plan()
    assert "is not the one" in check(plan, plan.nonce)[0]
    assert "is not the one" in check(plan, b"other", whole=False)[0]
    assert check(a_plan(fault="garble-chunks"), b"other") == []
    assert check(a_plan(way="http11-relay"), b"other") == []


@pytest.mark.parametrize("fault", sorted(FATAL))
def test_a_response_that_was_cut_and_seems_complete_is_found(fault: str) -> None:
    plan = a_plan(fault=fault)
    assert "seemed complete" in check(plan, plan.nonce * 2)[0]
    assert fault in HTTP11 + HTTP2


@pytest.mark.parametrize("size", [0, 1])
def test_no_head_is_cut_where_a_line_ends(size: int) -> None:
    server = Server11(Chance(random.Random(0), 1.0))
    first = head(Asked(f"/{make_nonce(random.Random(1)).decode()}/{size}/cut"))
    cuts = {server._somewhere(first, size) for _ in range(2000)}
    ends = {at for at in range(len(first)) if first[:at].endswith((b"\n", b"\n\r"))}
    assert len(ends) == 4 and cuts == set(range(1, len(first))) - ends


def test_an_error_that_no_request_may_raise_is_found() -> None:
    tally = Tally()
    tally.fail(a_plan(), Thrown(), (Thrown,))
    assert not tally.wrong
    tally.fail(a_plan(), KeyError("x"), (Thrown,))
    assert "KeyError('x')" in tally.wrong[0]
    assert dict(tally.errors) == {"Thrown": 1, "KeyError": 1}


def test_changed_digits_make_no_other_nonce() -> None:
    nonce = make_nonce(random.Random(3))
    assert find_nonces(b"a" + nonce + b"b") == {nonce}
    for at in range(1, len(nonce) - 1):
        digit = b"0" if nonce[at : at + 1] != b"0" else b"1"
        assert find_nonces(nonce[:at] + digit + nonce[at + 1 :]) == set()


@pytest.mark.no_cover
def test_the_command(tmp_path: Path) -> None:
    """``scripts/soak``: a round of each kind, and the end of it."""
    words = [sys.executable, "-m", "tests.chaos", "--rounds", "5", "--seconds", "0.5"]
    words += ["--workers", "8", "--seed", "5"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    *rounds, last = done.stdout.splitlines()
    assert [line.split()[1] for line in rounds[:2]] == ["threads", "asyncio"]
    assert last.startswith("5 rounds, ") and last.endswith("nothing wrong")


def test_what_python_drops_is_a_fault() -> None:
    """But for interrupts, which may strike anywhere."""

    class Thing:
        def __init__(self, raised: type[BaseException]) -> None:
            self.raised = raised

        def __del__(self) -> None:
            raise self.raised("here")

    with Dropped() as dropped:
        Thing(Interrupted)
        assert not dropped.texts
        Thing(RuntimeError)
    (text,) = dropped.texts
    assert text.endswith("Thing.__del__ and dropped: RuntimeError('here')")
